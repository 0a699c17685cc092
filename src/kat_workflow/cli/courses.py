"""The verbs for whole courses of treatment: replay."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from kat_workflow.cli.screen import echo_json, folder, json_option, takes_programs, watched, write

__all__ = ["COMMANDS"]


@click.command()
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the tables are.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report as a page with plots.",
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
    from kat_workflow.replay.conformance import account, adds_up, page
    from kat_workflow.replay.driving import replay as told
    from kat_workflow.replay.mapping import SourceMapping

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


COMMANDS = {"replay": replay}
