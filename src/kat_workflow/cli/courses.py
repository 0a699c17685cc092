"""The verbs for whole courses of treatment: replay, simulate, counterfactual."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kat_workflow.cli.patients import as_option, on_clinic, reader_of
from kat_workflow.cli.screen import (
    ProgramName,
    echo_json,
    folder,
    json_option,
    library,
    takes_programs,
    watched,
    write,
)
from kat_workflow.engine import Engine

__all__ = ["COMMANDS"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("mapping", type=_FILE)
@click.option(
    "--data",
    required=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the tables are.",
)
@click.option(
    "--html", metavar="FILE", type=_NEW, help="Also write the report as a page with plots."
)
@json_option
@takes_programs
@click.pass_context
def replay(ctx: click.Context, mapping: Path, data: Path, html: Path | None, as_json: bool) -> None:
    """Tell the tables of real courses to the real engine, and account for every row.

    MAPPING says which rows mean what (see examples/ctn0094/mapping.yaml). It ends with 1 if rows
    or doses do not add up.

    \b
    Examples:
      kat replay examples/ctn0094/mapping.yaml --data FOLDER
      kat replay examples/ctn0094/mapping.yaml --data FOLDER --html report.html
      kat replay examples/ctn0094/mapping.yaml --data FOLDER --json
    """
    from kat_workflow.courses.conformance import account, adds_up, page
    from kat_workflow.courses.driving import replay as told
    from kat_workflow.courses.mapping import SourceMapping

    began = time.perf_counter()
    read = SourceMapping.load(mapping)
    source, replayed = told(
        read, data, programs=folder(ctx), watch=lambda them: watched(them, "Replaying")
    )
    found = account(read, source, replayed, time.perf_counter() - began)
    if html is not None:
        write(html, page(found))
    wrong = adds_up(found)
    if as_json:
        echo_json(found)
    else:
        _show(found)
        for each in wrong:
            click.secho(f"does not add up: {each}", fg="red")
    ctx.exit(1 if wrong else 0)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"{found['title']}\n", style="bold")
    rows = Table("table", box=None)
    for name in ("rows", "applied", "refused", "not mapped"):
        rows.add_column(name, justify="right")
    rows.add_column("because")
    for name, its in (*found["tables"].items(), ("all", found)):
        because = {**its["refused_because"], **its["not_mapped_because"]}
        said = ", ".join(f"{code} {count}" for code, count in because.items())
        counts = (its[key] for key in ("rows", "applied", "refused", "not_mapped"))
        rows.add_row(name, *(f"{count:,}" for count in counts), said)
    console.print(rows)
    programs = Table("\nprogram", box=None)
    for name in ("\npatients", "\nentries", "\ndoses"):
        programs.add_column(name, justify="right")
    for name in ("\nends", "\ndeviations"):
        programs.add_column(name)
    for name, its in found["programs"].items():
        programs.add_row(
            name,
            f"{its['patients']:,}",
            f"{its['entries']:,}",
            f"{its['doses']:,}",
            ", ".join(f"{end} {count}" for end, count in its["ends"].items()),
            ", ".join(f"{code} {count}" for code, count in its["deviations"].items()),
        )
    console.print(programs)
    console.print(f"\n{found['patients']:,} patients in {found['seconds']} s.")


@click.command()
@click.argument("program", type=ProgramName())
@click.option("--profile", required=True, type=_FILE, help="How patients and clinic behave.")
@click.option("--patients", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--days", type=click.IntRange(1), default=60, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes; as many as there are cores.")
@click.option("--html", type=_NEW, metavar="FILE", help="Also write a page with plots.")
@click.option(
    "--out", type=_FOLDER, metavar="FOLDER", help="Also write patients and work as tables."
)
@click.option(
    "--tables", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True
)
@click.option("--against", type=ProgramName(), help="What if it were this program?")
@click.option("--against-profile", type=_FILE, help="What if the clinic were like this?")
@json_option
@takes_programs
@click.pass_context
def simulate(
    ctx: click.Context,
    program: str,
    profile: Path,
    patients: int,
    days: int,
    seed: int,
    workers: int | None,
    html: Path | None,
    out: Path | None,
    tables: str,
    against: str | None,
    against_profile: Path | None,
    as_json: bool,
) -> None:
    """Send simulated patients through a program, in virtual time, through the real engine.

    The same seed gives the same results, however many processes share the work. With --against
    or --against-profile a second cohort is simulated and compared with the first. Interrupted
    (Ctrl-C), what is done is told. It ends with 1 if a rule of the program was broken.

    \b
    Examples:
      kat simulate detox-4-day --profile examples/simulation/detox.yaml --patients 200 --seed 7
      kat simulate detox-4-day --profile detox.yaml --patients 10000 --html report.html --out tables
      kat simulate detox-4-day --profile detox.yaml --against-profile two-more-beds.yaml
    """
    from kat_workflow.simulation.cohort import Cohort, CsvTables, ParquetTables, Plan, compared
    from kat_workflow.simulation.cohort import simulate as simulated
    from kat_workflow.simulation.report import difference_page, page, summary

    def cohort(of: str, its: Path, folder_: Path | None) -> Cohort:
        plan = Plan(of, its, patients, days, seed, folder(ctx))

        def watch(count: int) -> Iterator[None]:
            return (None for _ in watched(range(count), f"Simulating {of}"))

        many = workers or os.cpu_count() or 1
        if folder_ is None:
            return simulated(plan, workers=many, watch=watch)
        with (ParquetTables if tables == "parquet" else CsvTables)(folder_) as written:
            return simulated(plan, workers=many, tables=written, watch=watch)

    one = cohort(program, profile, out)
    found = summary(one)
    broken = dict(found["violations"])
    if against is None and against_profile is None:
        if html is not None:
            write(html, page(found))
        if as_json:
            echo_json(found)
        else:
            _show_cohort(found)
    else:
        names = (against or program, against_profile or profile)
        other = cohort(*names, None if out is None else out / "against")
        after = summary(other)
        broken.update(after["violations"])
        said = compared(one, other)
        if html is not None:
            write(
                html,
                difference_page(
                    one, other, (f"{program} ({profile.stem})", f"{names[0]} ({names[1].stem})")
                ),
            )
        if as_json:
            echo_json({"format": 1, "before": found, "after": after, "compared": said})
        else:
            _show_differences(said)
    ctx.exit(1 if broken else 0)


def _show_cohort(found: dict[str, Any]) -> None:
    click.secho(
        f"{found['program']}: {found['arrived']:,} patients in {found['clinics']} clinics,"
        f" {found['days']} days, seed {found['seed']}",
        bold=True,
    )
    if found["interrupted"]:
        click.secho(
            f"interrupted after {found['clinics']} of {found['clinics_planned']} clinics",
            fg="yellow",
        )
    stay = found["length_of_stay"]
    ends = ", ".join(f"{end} {count}" for end, count in found["ends"].items())
    click.echo(f"enrolled {found['enrolled']:,}, discharged {found['discharged']:,}: {ends}")
    if stay:
        click.echo(f"length of stay: median {stay['50%']} d, 95 % {stay['95%']} d")
    click.echo(f"{found['commands']:,} commands, {found['entries']:,} entries")
    from rich.console import Console
    from rich.table import Table

    shown = Table("waited for", box=None)
    for name in ("hours", "mean wait", "busy", "queued"):
        shown.add_column(name, justify="right")
    for each in found["bottlenecks"]:
        shown.add_row(
            each["what"],
            f"{each['hours_waited']:,.0f}" if "hours_waited" in each else "",
            f"{each['mean_wait_minutes']:.0f} min" if "hours_waited" in each else "",
            f"{each['busy_share']:.0%}" if "hours_waited" in each else "",
            f"{each['queued_share']:.0%}" if "held" in each else "",
        )
    Console(highlight=False).print(shown)
    late = sum(each["late"] for each in found["work"])
    due = sum(each["due"] for each in found["work"])
    click.echo(
        f"late: {late:,} of {due:,} that had a time; missed: {sum(found['missed'].values()):,}"
    )
    if found["violations"]:
        click.secho(f"rules broken: {found['violations']}", fg="red")
    else:
        click.secho("no rule of the program was broken", fg="green")
    click.echo("Simulated: it claims no effect of any treatment and is not medical advice.")


def _show_differences(said: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table("measure", box=None)
    for name in ("before", "after", "difference", "95 % interval"):
        shown.add_column(name, justify="right")
    for name, its in said.items():
        shown.add_row(
            name.replace("_", " "),
            f"{its['before']:.3f}",
            f"{its['after']:.3f}",
            f"{its['difference']:+.3f}",
            f"{its['low']:+.3f} to {its['high']:+.3f}",
        )
    Console(highlight=False).print(shown)


@click.command()
@click.argument("candidate", type=ProgramName())
@click.option("--of", metavar="PROGRAM", help="Whose enrollments; those of the same program.")
@click.option("--html", type=_NEW, metavar="FILE", help="Also write a page with plots.")
@as_option
@json_option
@on_clinic
def counterfactual(
    ctx: click.Context,
    engine: Engine,
    candidate: str,
    of: str | None,
    html: Path | None,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """Say what a candidate program would have done with the patients of a record.

    What people did is told to it again: what would it have refused, whom would it have called,
    who could have been released earlier or only later, and by which line. The record is only read.

    \b
    Examples:
      kat counterfactual detox-4-day@1.1.0
      kat counterfactual stricter-detox --of detox-4-day --html report.html
    """
    from kat_workflow.courses.counterfactual import account, enrolled_in, page
    from kat_workflow.courses.counterfactual import counterfactual as told_again
    from kat_workflow.language import load

    found = library(ctx)
    program = load(candidate, found)
    differences, counts = told_again(
        engine,
        program,
        found,
        of=enrolled_in(engine, of or program.id),
        watch=lambda them: watched(them, "Telling it again"),
        by=reader_of(reader),
        why=why,
    )
    said = account(program, differences, counts)
    if html is not None:
        write(html, page(said))
    if as_json:
        echo_json({**said, "differences": [{**x, "at": str(x["at"])} for x in said["differences"]]})
        return
    _show_otherwise(said)


def _show_otherwise(said: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    click.secho(f"What {said['candidate']} would have done", bold=True)
    click.echo(
        f"{said['enrollments']:,} enrollments, {said['otherwise']:,} of them otherwise;"
        f" {said['commands']:,} commands, {said['not_known_again'] + said['not_given_again']:,} of"
        " which cannot be told again: about them nothing is said"
    )
    shown = Table("what", box=None)
    for name in ("about", "gate", "line"):
        shown.add_column(name, overflow="fold")
    shown.add_column("times", justify="right")
    for each in said["by_line"]:
        shown.add_row(each["what"], each["about"], each["gate"], each["line"], str(each["times"]))
    Console(highlight=False).print(shown)
    click.echo("It shows what a program asks for; it claims no effect of any treatment.")


COMMANDS = {"replay": replay, "simulate": simulate, "counterfactual": counterfactual}
