"""The verbs about who may use a program: diff, sheet, sign-off, retire, register."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from kat_workflow.cli.patients import (
    actor,
    as_option,
    instant_of,
    local,
    on_clinic,
    open_clinic,
    reader_of,
    site_of,
)
from kat_workflow.cli.screen import (
    ProgramName,
    echo_json,
    echo_rich,
    json_option,
    library,
    takes_programs,
    write,
)
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.register import SIGNER

if TYPE_CHECKING:
    from kat_workflow.program.model import Program

__all__ = ["COMMANDS"]

_by = click.option(
    "--by",
    required=True,
    metavar="PERSON",
    envvar="KAT_BY",
    help=f"Who signs; it is taken that they are a {SIGNER.replace('_', ' ')} (or KAT_BY).",
)


@click.command()
@click.argument("program", type=ProgramName(), metavar="PROGRAM")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; else standard output.",
)  # fmt: skip
@on_clinic
def sheet(ctx: click.Context, engine: Engine, program: str, output: Path | None) -> None:
    """Write a program as one printable page to sign.

    It is HTML that needs nothing else, with the whole digest that a signature is for, and what
    the clinic's register says of it.

    \b
    Examples:
      kat sheet detox-4-day -o detox.html
    """
    from kat_workflow.protocol import protocol
    from kat_workflow.protocol.sheet import page

    found = engine.program(program)
    text = page(protocol(found), found, engine.register(found.id).signed.get(found.digest))
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)


@click.command("sign-off")
@click.argument("program", type=ProgramName(), metavar="PROGRAM")
@click.option("--name", help="The printed name beside the signature.")
@click.option("--meaning", default="approved for use in this clinic", show_default=True)
@click.option("--changes", is_flag=True, help="Only say what changed since the last signature.")
@click.option("--lines", is_flag=True, help="With --changes: the changed lines of the files.")
@_by
@on_clinic
def sign_off(
    ctx: click.Context,
    engine: Engine,
    program: str,
    name: str | None,
    meaning: str,
    changes: bool,
    lines: bool,
    by: str,
) -> None:
    """Sign a program off, as its files say now.

    What is signed is the digest of all its files: whoever changes one has a draft again. See
    first what changed since the last signature with --changes: in words, as kat diff says it.

    \b
    Examples:
      kat sign-off detox-4-day --changes --by dr-lee
      kat sign-off detox-4-day --by dr-lee --name "Kim Lee, MD"
    """
    if changes:
        _tell_changes(engine, program, lines)
        return
    if not name:
        raise click.UsageError("a signature needs the printed --name of whoever signs", ctx)
    digest = engine.sign_off(program, by=_director(by), name=name, meaning=meaning)
    click.echo(f"{program} is approved; digest {digest}")


def _director(by: str) -> Actor:
    return actor(by if ":" in by else f"{by}:{SIGNER}")


def _tell_changes(engine: Engine, program: str, lines: bool) -> None:
    """What changed since the digest that was approved last."""
    found = engine.program(program)
    last = engine.approved(found.id)
    if last is None:
        click.echo(f"{found.id} was never signed off: everything is new")
    elif last.digest == found.digest:
        click.echo(f"nothing has changed since {found.id} was approved")
    elif lines:
        click.echo(_lines(last.files, found.files), nl=False)
    else:
        _tell(last, found)


def _lines(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The lines that are others, as a unified diff."""
    said: list[str] = []
    for name in sorted({*before, *now}):
        said += difflib.unified_diff(
            before.get(name, "").splitlines(keepends=True),
            now.get(name, "").splitlines(keepends=True),
            f"approved/{name}",
            f"now/{name}",
            n=1,
        )
    return "".join(said)


def _tell(old: Program, new: Program, markdown: bool = False) -> None:
    from kat_workflow.protocol import as_markdown, as_rich
    from kat_workflow.protocol.changes import in_words

    if markdown:
        click.echo(as_markdown(in_words(old, new)), nl=False)
    else:
        echo_rich(as_rich(in_words(old, new)))


@click.command()
@click.argument("old", type=ProgramName(), metavar="OLD")
@click.argument("new", type=ProgramName(), metavar="[NEW]", required=False)
@click.option("--markdown", is_flag=True, help="Markdown, for a document or a pull request.")
@json_option
@click.option("--db", type=click.Path(dir_okay=False), envvar="KAT_DB", default="clinic.db")
@takes_programs
@click.pass_context
def diff(
    ctx: click.Context, old: str, new: str | None, markdown: bool, as_json: bool, db: str
) -> None:
    """Say what changed between two versions of a program, as a clinician reads it.

    What loosens a safeguard stands first: a wider role, a higher limit, a dropped signature. Of
    each change it says what it is for patients under way. OLD and NEW are ids or files; without
    NEW, what the clinic signed off is told from what the files say now.

    \b
    Examples:
      kat diff detox-4-day@1.0.0 detox-4-day
      kat diff programs/detox-4-day/detox-4-day.yaml draft/detox-4-day.yaml
      kat diff detox-4-day
      kat diff detox-4-day --json
    """
    from kat_workflow.language.compiler import load
    from kat_workflow.protocol.changes import as_data

    now = load(new or old, library(ctx))
    if new is not None:
        before = load(old, library(ctx))
    else:
        with open_clinic(ctx, db, None, None) as engine:
            signed = engine.approved(now.id)
        if signed is None:
            says = f"no version of {now.id} is approved; name the NEW one too"
            raise click.UsageError(says, ctx)
        before = signed
    if as_json:
        echo_json(as_data(before, now))
    else:
        _tell(before, now, markdown)


@click.command()
@click.argument("program", type=ProgramName(), metavar="PROGRAM")
@click.argument("digest")
@click.option("--reason", required=True, help="Why nobody new may be enrolled in it.")
@_by
@on_clinic
def retire(
    ctx: click.Context, engine: Engine, program: str, digest: str, reason: str, by: str
) -> None:
    """Let an approved version take nobody new; whoever is in it stays.

    DIGEST may be its beginning.

    \b
    Examples:
      kat retire detox-4-day 3f9a11c2 --by dr-lee --reason "the new one is safer"
    """
    id_ = program.partition("@")[0]
    known = [each for each in engine.register(id_).signed if each.startswith(digest)]
    if len(known) != 1:
        found = f"{len(known)} digests of {id_} begin with {digest}" if known else "none does"
        raise click.UsageError(f'"{digest}" names no one version: {found}; see kat register', ctx)
    engine.retire(id_, known[0], by=_director(by), reason=reason)
    click.echo(f"{id_} ({known[0][:12]}) is retired")


@click.command("on-version")
@click.argument("program", metavar="PROGRAM@VERSION")
@click.option("--flag", "reason", metavar="REASON", help="Let somebody look at each of them.")
@click.option("--by", metavar="PERSON:ROLE", envvar="KAT_BY", help="Who flags them (or KAT_BY).")
@json_option
@on_clinic
def on_version(
    ctx: click.Context,
    engine: Engine,
    program: str,
    reason: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """List who is in treatment by a version of a program, and flag them after a fault.

    \b
    Examples:
      kat on-version detox-4-day@1.0.0
      kat on-version detox-4-day@1.0.0 --flag "a limit was wrong" --by eve:prescriber
    """
    id_, _, version = program.partition("@")
    if not version:
        raise click.UsageError(f'"{program}" names no version: write {id_}@1.0.0', ctx)
    found = engine.on_version(id_, version, by=actor(by) if by else None, why=reason or "")
    if reason is not None:
        if not by:
            raise click.UsageError("whoever flags them is named: --by PERSON:ROLE", ctx)
        engine.flag_version(id_, version, by=actor(by), reason=reason)
    if as_json:
        echo_json(
            {"format": 1, "enrollments": [x.enrollment for x in found], "flagged": bool(reason)}
        )
        return
    for each in found:
        where = ", ".join(each.phases)
        click.echo(f"{each.enrollment}  {each.patient}  {where}")
    flagged = " and flagged" if reason is not None else ""
    click.echo(f"{len(found)} in treatment by {program}{flagged}")


@click.command()
@click.argument("program", required=False, type=ProgramName(), metavar="[PROGRAM]")
@json_option
@on_clinic
def register(ctx: click.Context, engine: Engine, program: str | None, as_json: bool) -> None:
    """List what was signed off: draft, approved or retired, by whom and when.

    \b
    Examples:
      kat register
      kat register detox-4-day --json
    """
    from rich.table import Table

    from kat_workflow.cli.screen import ids

    names = (
        [program.partition("@")[0]]
        if program
        else sorted({name.partition("@")[0] for name in ids(library(ctx).names())})
    )
    rows = []
    for name in names:
        now = engine.program(name)
        signed = engine.register(name).signed
        if now.digest not in signed:
            rows.append((name, now.version, now.digest, "draft", "", "", ""))
        rows += [
            (
                name,
                each.version,
                digest,
                each.standing,
                each.name,
                f"{each.at:%Y-%m-%d}",
                each.meaning,
            )
            for digest, each in signed.items()
        ]
    keys = ("program", "version", "digest", "standing", "name", "on", "meaning")
    if as_json:
        echo_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    grid = Table("Program", "Version", "Digest", "Standing", "Signed by", "On", "Meaning")
    for row in rows:
        grid.add_row(*row[:2], row[2][:12], *row[3:])
    echo_rich(grid)


@click.command()
@click.option("--program", default="", metavar="ID", help="Of one program.")
@click.option("--site", default="", help="Of those at one site; of all sites by default.")
@click.option("--since", metavar="INSTANT", help="Recorded then or later.")
@click.option("--until", metavar="INSTANT", help="Recorded before then.")
@as_option
@json_option
@on_clinic
def deviations(
    ctx: click.Context,
    engine: Engine,
    program: str,
    site: str,
    since: str | None,
    until: str | None,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """List deviations, overrides and emergencies of all patients, and who has looked at them.

    \b
    Examples:
      kat deviations --program detox-4-day --since 2026-03-01
      kat deviations --site main --json
    """
    engine.run_due()
    zone = next((each for each in engine.sites if each.name == site), engine.sites[0])
    first, last = (None if text is None else instant_of(text, zone) for text in (since, until))
    found = engine.deviations(
        program.partition("@")[0], site, since=first, until=last, by=reader_of(reader), why=why
    )
    if as_json:
        echo_json({"format": 1, "deviations": msgspec.to_builtins(found)})
        return
    for each in found:
        place = site_of(engine, each.enrollment)
        what = f"{each.code}: {each.says}" if each.code else each.says
        by = f"{each.person} and {each.cosigner}" if each.cosigner else each.person
        seen = ""
        if each.reviewed is not None:
            seen = f"; {each.reviewed_by} looked at it on {local(each.reviewed, place)}"
        elif each.review:
            seen = "; nobody has looked at it yet"
        click.echo(f"{local(each.recorded, place)}  {each.patient}  {each.program}  {each.kind}")
        click.echo(f"  {what} (by {by}{seen})")
    click.echo(f"{len(found)} in all")


COMMANDS = {
    "diff": diff,
    "sheet": sheet,
    "sign-off": sign_off,
    "retire": retire,
    "register": register,
    "on-version": on_version,
    "deviations": deviations,
}
