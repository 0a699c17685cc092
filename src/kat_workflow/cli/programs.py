"""The verbs about programs: check, explain, show, draw, new, fmt, schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kat_workflow.cli.screen import (
    ProgramName,
    echo_findings,
    echo_json,
    echo_rich,
    folder,
    ids,
    json_option,
    library,
    own,
    takes_keys,
    takes_programs,
    watched,
    write,
)

if TYPE_CHECKING:
    from kat_workflow.protocol import Section

__all__ = ["COMMANDS"]


def _overlay_file(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """The path of a file, or its name in the folder of programs."""
    if value is None or Path(value).is_file() or value in set(library(ctx).names()):
        return value
    raise click.BadParameter(f'there is no file "{value}"')


overlay_option = click.option(
    "--overlay",
    metavar="FILE",
    callback=_overlay_file,
    help="A file with a clinic's own figures.",
)


# --- check ------------------------------------------------------------------------------------


@click.command()
@click.argument("programs", nargs=-1, type=ProgramName(), metavar="[PROGRAM]...")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@overlay_option
@json_option
@takes_programs
@click.pass_context
def check(
    ctx: click.Context,
    programs: tuple[str, ...],
    strict: bool,
    overlay: str | None,
    as_json: bool,
) -> None:
    """Say everything that is wrong with program files.

    Every finding of every file comes at once, with its place, the line of the file and a way
    out. Without a PROGRAM, all programs of the folder are checked.

    \b
    Examples:
      kat check
      kat check detox-4-day residential-30-day
      kat check drafts/detox-4-day.yaml --strict
      kat check detox-4-day --overlay sites/north.yaml
      kat check --json | jq '.findings[].code'
    """
    from kat_workflow.language.compiler import check as look

    found = library(ctx)
    names = programs or tuple(ids(own(ctx).names()))
    if not names:
        raise click.UsageError(f'there are no programs in "{own(ctx).root}"', ctx)
    if overlay and not programs:
        raise click.UsageError("--overlay needs the PROGRAM whose figures it sets", ctx)
    checked = {name: look(name, found, overlay) for name in watched(names, "Checking")}
    findings = list(dict.fromkeys(each for one in checked.values() for each in one.findings))
    wrong = [each for each in findings if strict or each.severity == "error"]
    if as_json:
        echo_json(
            {
                "format": 1,
                "ok": not wrong,
                "programs": [
                    {
                        "name": name,
                        "ok": one.program is not None,
                        "id": one.program.id if one.program else None,
                        "version": one.program.version if one.program else None,
                        "digest": one.program.digest if one.program else None,
                    }
                    for name, one in checked.items()
                ],
                "findings": [
                    {
                        "code": each.code,
                        "severity": each.severity,
                        "file": each.place.file,
                        "line": each.place.line,
                        "column": each.place.column,
                        "width": each.width,
                        "message": each.message,
                        "hint": each.hint,
                        "source": each.source,
                    }
                    for each in findings
                ],
            }
        )
    else:
        echo_findings(findings)
        errors = sum(1 for each in findings if each.severity == "error")
        warnings = len(findings) - errors
        said = f"{_count(len(names), 'program')} checked: "
        said += f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
        click.secho(said, fg="red" if wrong else "green")
        if findings:
            click.echo(f"What a code means: kat explain {(wrong or findings)[0].code}")
    ctx.exit(1 if wrong else 0)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


# --- explain ----------------------------------------------------------------------------------


@click.command()
@click.argument("code", required=False)
@json_option
@click.pass_context
def explain(ctx: click.Context, code: str | None, as_json: bool) -> None:
    """Explain the code of a finding, a refusal or a deviation.

    Without a CODE, all codes are listed.

    \b
    Examples:
      kat explain
      kat explain unknown-role
      kat explain gate-closed
    """
    kinds = _explained()
    if code is None:
        _list_codes(kinds, as_json)
        return
    from kat_workflow.language.findings import closest

    found = [(kind, *codes[code]) for kind, codes in kinds.items() if code in codes]
    if not found:
        hint = closest(code, [each for codes in kinds.values() for each in codes])
        message = f'no finding, refusal or deviation has the code "{code}"'
        raise click.UsageError(f"{message}; {hint or 'kat explain lists them all'}", ctx)
    if as_json:
        echo_json([{"code": code, "kind": kind, "title": a, "text": b} for kind, a, b in found])
        return
    for count, (kind, title, text) in enumerate(found):
        if count:
            click.echo()
        click.echo(f"{click.style(code, bold=True)} ({kind})")
        click.echo(click.wrap_text(f"{title}\n\n{text}".strip(), 88, "  ", "  ", True))


def _explained() -> dict[str, dict[str, tuple[str, str]]]:
    """kind → code → title and text."""
    from kat_workflow.enrollment.refusals import DEVIATIONS, REFUSALS
    from kat_workflow.language.findings import EXPLAINED

    return {
        "finding": {code: (each.title, each.text) for code, each in EXPLAINED.items()},
        "refusal": {code: ("", text) for code, text in REFUSALS.items()},
        "deviation": {code: ("", text) for code, text in DEVIATIONS.items()},
    }


_KINDS = {
    "finding": "Findings: what can be wrong with a program file",
    "refusal": "Refusals: why a command is not carried out",
    "deviation": "Deviations: what happened otherwise than the program says, and is kept",
}


def _list_codes(kinds: dict[str, dict[str, tuple[str, str]]], as_json: bool) -> None:
    if as_json:
        echo_json(
            [
                {"code": code, "kind": kind, "title": title, "text": text}
                for kind, codes in kinds.items()
                for code, (title, text) in codes.items()
            ]
        )
        return
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown: list[Text | Table] = []
    for kind, codes in kinds.items():
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        for code, (title, text) in sorted(codes.items()):
            first = title or re.split(r"(?<=[.]) |: ", text, maxsplit=1)[0].rstrip(".") + "."
            grid.add_row(Text(f"  {code}", "bold"), Text(first))
        shown += [Text(_KINDS[kind], "bold cyan"), grid, Text("")]
    echo_rich(Group(*shown[:-1]))


# --- show and draw ----------------------------------------------------------------------------


@click.command()
@click.argument("program", required=False, type=ProgramName(), metavar="[PROGRAM]")
@click.option("--role", help="Only what this role does, decides or is called to.")
@click.option("--day", type=click.IntRange(1), help="Only what is done on this program day.")
@click.option("--patient", metavar="ENROLLMENT", help="Today's plan of one patient.")
@click.option("--db", type=click.Path(dir_okay=False), envvar="KAT_DB", default="clinic.db")
@click.option("--sites", type=click.Path(dir_okay=False), envvar="KAT_SITES", hidden=True)
@click.option("--now", metavar="INSTANT", hidden=True)
@click.option("--markdown", is_flag=True, help="Markdown, for a document or a pull request.")
@overlay_option
@json_option
@takes_programs
@takes_keys
@click.pass_context
def show(
    ctx: click.Context,
    program: str | None,
    role: str | None,
    day: int | None,
    patient: str | None,
    db: str,
    sites: str | None,
    now: str | None,
    markdown: bool,
    overlay: str | None,
    as_json: bool,
) -> None:
    """Write a program out as a protocol to read and print.

    \b
    Examples:
      kat show detox-4-day
      kat show detox-4-day --role nurse
      kat show detox-4-day --role nurse --day 2
      kat show --patient e-3f9a11c2
      kat show detox-4-day --markdown > protocol.md
      kat show detox-4-day --overlay sites/north.yaml
      kat show detox-4-day --json | jq .limits
    """
    from kat_workflow.language.compiler import load
    from kat_workflow.protocol import as_data, protocol

    if (program is None) is (patient is None):
        raise click.UsageError("name a PROGRAM, or an enrollment with --patient", ctx)
    if as_json and (markdown or role or day or patient):
        raise click.UsageError("--json shows the whole program, and only that", ctx)
    if patient is not None:
        from kat_workflow.cli.patients import open_clinic
        from kat_workflow.protocol.sheet import plan_of_today

        with open_clinic(ctx, db, sites, now) as clinic:
            plan = plan_of_today(
                clinic.program_of(patient),
                clinic.status(patient),
                clinic.site_of(patient),
                clinic.now,
            )
        _tell(plan, markdown)
        return
    assert program is not None  # one of the two is given
    loaded = load(program, library(ctx), overlay)
    if role is not None and role not in loaded.roles:
        from kat_workflow.language.findings import closest

        hint = closest(role, loaded.roles) or f"its roles are {', '.join(loaded.roles)}"
        raise click.UsageError(f'the program has no role "{role}"; {hint}', ctx)
    if as_json:
        echo_json(as_data(loaded))
        return
    if day is not None:
        from kat_workflow.protocol.sheet import day_sheet

        _tell(day_sheet(loaded, role or "", day), markdown)
    else:
        _tell(protocol(loaded, role or ""), markdown)


def _tell(section: Section, markdown: bool) -> None:
    from kat_workflow.protocol import as_markdown, as_rich

    if markdown:
        click.echo(as_markdown(section), nl=False)
    else:
        echo_rich(as_rich(section))


@click.command()
@click.argument("program", type=ProgramName(), metavar="PROGRAM")
@click.option(
    "--format", "kind", type=click.Choice(["mermaid", "svg"]),
    help="By the name of the output file; else mermaid.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; else standard output.",
)  # fmt: skip
@takes_programs
@click.pass_context
def draw(ctx: click.Context, program: str, kind: str | None, output: Path | None) -> None:
    """Draw a program.

    An SVG needs nothing else: no fonts, no scripts, no network. Mermaid text is for documents
    that draw it themselves.

    \b
    Examples:
      kat draw detox-4-day -o detox.svg
      kat draw detox-4-day --format mermaid
    """
    from kat_workflow.drawing import mermaid, svg
    from kat_workflow.language.compiler import load

    loaded = load(program, library(ctx))
    chosen = kind or ("svg" if output and output.suffix.lower() == ".svg" else "mermaid")
    drawn = svg(loaded) if chosen == "svg" else mermaid(loaded)
    if output is None or str(output) == "-":
        click.echo(drawn, nl=False)
        return
    write(output, drawn)
    click.echo(f"Written: {output}", err=True)


# --- new --------------------------------------------------------------------------------------


@click.command()
@click.argument("name")
@takes_programs
@click.pass_context
def new(ctx: click.Context, name: str) -> None:
    """Begin a program: a small commented one that checks clean.

    It is written with a first scenario to the folder of programs (./programs if none is named).
    Nothing is ever overwritten.

    \b
    Examples:
      kat new smoking-cessation
      kat new smoking-cessation --programs clinic
    """
    from kat_workflow.cli.starter import starter

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 60:
        raise click.UsageError(
            f'"{name}" cannot be the id of a program: small letters, digits and hyphens, '
            "such as smoking-cessation",
            ctx,
        )
    root = (folder(ctx) or Path("programs")) / name
    if root.exists():
        raise click.UsageError(f'"{root}" is there already', ctx)
    for file, text in starter(name).items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text)
        click.echo(f"Written: {path}")
    click.echo(f"Next: change it, then kat check {name} and kat show {name}")


# --- fmt and schema ---------------------------------------------------------------------------


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 1 if one would be.")
@click.pass_context
def fmt(ctx: click.Context, files: tuple[Path, ...], only_check: bool) -> None:
    """Lay program files out in the one usual way.

    Only spaces, line breaks and quotes change: comments stay, and what a file means is the same.

    \b
    Examples:
      kat fmt programs/*/*.yaml
      kat fmt --check programs/*/*.yaml
    """
    from kat_workflow.language.fmt import formatted

    changed = 0
    for file in watched(files, "Formatting"):
        text = file.read_bytes().decode(errors="surrogateescape")
        better = formatted(text, str(file))
        if better == text:
            continue
        changed += 1
        if not only_check:
            write(file, better)
        click.echo(f"{'Would change' if only_check else 'Changed'}: {file}")
    same = len(files) - changed
    click.echo(f"{_count(changed, 'file')} changed, {same} as before", err=True)
    ctx.exit(1 if only_check and changed else 0)


@click.command()
@click.option(
    "--write", "target", type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; else standard output.",
)  # fmt: skip
def schema(target: Path | None) -> None:
    """Print the JSON Schema by which editors know the language.

    An editor uses it if a program's first line is
    # yaml-language-server: $schema=../program.schema.json

    \b
    Examples:
      kat schema --write programs/program.schema.json
    """
    import json

    from kat_workflow.language.schema import program_schema

    text = json.dumps(program_schema(), ensure_ascii=False, indent=2) + "\n"
    if target is None:
        click.echo(text, nl=False)
        return
    write(target, text)
    click.echo(f"Written: {target}", err=True)


COMMANDS = {
    "check": check,
    "explain": explain,
    "show": show,
    "draw": draw,
    "new": new,
    "fmt": fmt,
    "schema": schema,
}
