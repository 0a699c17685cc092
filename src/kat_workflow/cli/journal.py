"""The verbs under `kat journal`: what keeps the record."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from kat_workflow.cli.patients import actor, on_clinic
from kat_workflow.cli.screen import echo_json, json_option, keys, takes_keys
from kat_workflow.engine import Engine
from kat_workflow.journal import shown
from kat_workflow.journal.keeping import Held, Part2

__all__ = ["COMMANDS"]

EXIT_UNSOUND = 5
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def journal() -> None:
    """Keep the record: verify it, back it up and restore it, export and import it.

    \b
    Examples:
      kat journal backup clinic-monday.db
      kat journal verify
      kat journal restore clinic-monday.db --db clinic.db
      kat journal export all.jsonl
      kat journal export p.jsonl --patient MRN-1042 --purpose "referral" --recipient "Dr. Wu"
    """


def at_db(verb: Callable[..., None]) -> Callable[..., None]:
    """Where the record is, for verbs that do not open it as a clinic does."""
    return click.option(
        "--db",
        metavar="FILE|URL",
        envvar="KAT_DB",
        default="clinic.db",
        show_default=True,
        help="The record (or KAT_DB): a SQLite file or postgresql://…",
    )(verb)


def by_whom(verb: Callable[..., None]) -> Callable[..., None]:
    """Who takes a copy, for the access log."""

    @wraps(verb)
    def given(*args: Any, by: str | None, **more: Any) -> None:
        verb(*args, by=None if by is None else actor(by), **more)

    return click.option(
        "--by", default=None, envvar="KAT_BY", help="Who takes it, as PERSON:ROLE (or KAT_BY)."
    )(given)


@journal.command()
@at_db
def init(db: str) -> None:
    """Make a new record, with nothing in it."""
    from kat_workflow.journal import open_journal

    if "://" not in db and Path(db).exists():
        raise click.UsageError(f"{db} is there already")
    open_journal(db).close()
    click.echo(f"{db} is a new record.")


@journal.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--id", "name", metavar="ID", help="What the key is called; else today's date.")
def key(file: Path, name: str | None) -> None:
    """Add a new key to a file of keys, made if it is not there; from then on it writes.

    The keys before it go on reading what they wrote: keep them all, in their order, and a copy of
    the file where the record is not. Whoever loses it loses the record. Give the file to every
    process before one of them is started with it.

    \b
    Examples:
      kat journal key clinic.keys
      kat census --keys clinic.keys
    """
    from kat_workflow.journal.encrypting import Keys, add_key

    name = name or f"{datetime.now(UTC):%Y-%m-%d}"
    old = file.read_bytes() if file.exists() else b"{}"
    try:
        text = add_key(old, name)
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    click.echo(f'{file} holds the key "{Keys.parse(text).writes}", which writes from now on.')


@journal.command()
@at_db
@click.option("--backup", "copy", metavar="FILE", help="Where the old record is copied first.")
def migrate(db: str, copy: str | None) -> None:
    """Bring a record of an older release to this one's schema: all of it, or nothing.

    The old record is copied first, beside it unless --backup says where.
    """
    from kat_workflow.engine.migrating import migrate as bring

    before, after, kept = bring(db, copy)
    if before == after:
        click.echo(f"{db} is of schema {after} already.")
    else:
        click.echo(f"{db} was brought from schema {before} to {after}; the old one is {kept}.")


@journal.command()
@click.option("--checkpoints", type=_FILE, help="The lines that were kept elsewhere.")
@click.option("--key", type=_FILE, help="The public key that they are signed with, a PEM file.")
@json_option
@on_clinic
def verify(
    ctx: click.Context, engine: Engine, checkpoints: Path | None, key: Path | None, as_json: bool
) -> None:
    """Say whether the record is sound: the file, the chains, programs and all rows.

    Others may write meanwhile: what is verified is the record as it was at the beginning. It also
    says what could not be seen.

    \b
    Examples:
      kat journal verify
      kat journal verify --checkpoints checkpoints.txt --key clinic.pem.pub
    """
    from kat_workflow.engine.auditing import verify as verified

    if (checkpoints is None) != (key is None):
        raise click.UsageError("checkpoints are verified with their --key, and it with them")
    public, lines = None, []
    if checkpoints is not None and key is not None:
        from kat_workflow.journal.sealing import public_key

        public, lines = public_key(key.read_bytes()), checkpoints.read_bytes().split()
    with engine.journal.snapshot() as still:
        found = verified(still, lines, public)
    if as_json:
        faults = [
            {**msgspec.to_builtins(fault), "stream": shown(fault.stream)} for fault in found.faults
        ]
        plain = {**msgspec.to_builtins(found), "faults": faults, "held": _held(found.held)}
        echo_json({"format": 1, **plain})
    else:
        for fault in found.faults:
            click.secho(str(fault), fg="red")
        word = "NOT SOUND" if found.faults else "Sound"
        click.echo(f"{word}: {_said(found.held)}")
        if found.erased:
            click.echo(f"{found.erased} entries were erased.")
        for unseen in found.unchecked:
            click.echo(f"not seen: {unseen}")
    ctx.exit(EXIT_UNSOUND if found.faults else 0)


@journal.command()
@click.argument("file", type=click.Path(dir_okay=False))
@by_whom
@on_clinic
def backup(_: click.Context, engine: Engine, file: str, by: Any) -> None:
    """Copy the record as it is now, while others write, and verify the copy."""
    from kat_workflow.engine.keeping import backup as copied

    held = copied(engine, file, by=by)
    click.echo(f"{file} holds {_said(held)}")


@journal.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@at_db
@takes_keys
@click.pass_context
def restore(ctx: click.Context, file: str, db: str) -> None:
    """Make a record of a backup or an export, verified first. It overwrites nothing.

    One that is encrypted stays so, and needs no keys; with them, its rows are verified too.
    """
    from kat_workflow.engine.keeping import restore as made

    held = made(file, db, keys(ctx))
    click.echo(f"{db} holds {_said(held)}; what came later is not in it.")


@journal.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--patient", default="", help="Only this patient, under any of their ids.")
@click.option("--purpose", default="", help="What it is for; needed for a patient.")
@click.option("--recipient", default="", help="Who gets it; needed for a patient.")
@click.option(
    "--part2",
    "status",
    type=click.Choice(["covered", "not covered", "unknown"]),
    default="covered",
    show_default=True,
    help="Whether 42 CFR Part 2 covers it.",
)
@by_whom
@on_clinic
def export(
    _: click.Context,
    engine: Engine,
    file: str,
    patient: str,
    purpose: str,
    recipient: str,
    status: str,
    by: Any,
) -> None:
    """Write the record, or that of one patient, as JSON Lines.

    A patient's export is a disclosure: it needs a purpose and a recipient, and the access log
    accounts for it.
    """
    from kat_workflow import __version__
    from kat_workflow.engine.keeping import export as written

    held = written(
        engine,
        file,
        patient=patient,
        by=by,
        purpose=purpose,
        recipient=recipient,
        part2=Part2(status),
        tool=f"kat-workflow {__version__}",
    )
    click.echo(f"{file} holds {_said(held)}")
    click.echo(Part2(status).notice)


@journal.command()
@click.argument("where", metavar="FILE|URL")
@click.option("--new-keys", required=True, type=_FILE, help="The keys that write from now on.")
@by_whom
@on_clinic
def rekey(_: click.Context, engine: Engine, where: str, new_keys: Path, by: Any) -> None:
    """Write the whole record anew, under other keys, where no record is yet.

    Stop every process first. Nothing in the new record can be read with the keys before, so that
    they can be destroyed: with the old record, its backups and its exports. All of it is written,
    or nothing: if it is interrupted, ask again. Do the same with the access log, then sign a
    checkpoint: those of the old record do not vouch for the new one.

    \b
    Examples:
      kat journal key new.keys
      kat journal rekey new.db --db clinic.db --keys clinic.keys --new-keys new.keys
      kat checkpoint --db new.db --key clinic.pem >> checkpoints-new.txt
    """
    from kat_workflow.engine.keeping import rekey as written
    from kat_workflow.journal.encrypting import Keys

    try:
        new = Keys.parse(new_keys.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"{new_keys}: {error}") from None
    held = written(engine, where, new, by=by)
    click.echo(f"{where} holds {_said(held)}")
    click.echo("Sign a checkpoint of it now: those before vouch for the old record alone.")


@journal.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@at_db
@takes_keys
@click.pass_context
def import_(ctx: click.Context, file: str, db: str) -> None:
    """Take an export of a whole record into a new one, verified: all of it or nothing."""
    from kat_workflow.engine.keeping import restore as made

    held = made(file, db, keys(ctx))
    click.echo(f"{db} holds {_said(held)}")


@journal.command()
@json_option
@on_clinic
def stats(_: click.Context, engine: Engine, as_json: bool) -> None:
    """Say how large the record is and what is in it."""
    from kat_workflow.journal.keeping import stats as counted

    with engine.journal.snapshot() as still:
        found = counted(still)
    if as_json:
        echo_json({"format": 1, **msgspec.to_builtins(found), "root": found.root.hex()})
        return
    each = found.bytes_of_entries / found.entries if found.entries else 0
    on_disk = found.size / found.entries if found.entries else 0
    rows = {
        "schema": found.schema,
        "entries": f"{found.entries} ({each:.0f} bytes each, {on_disk:.0f} on the disk)",
        "streams": _counts(found.streams),
        "enrollments": _counts(found.standings),
        "commands": found.commands,
        "open items": found.items,
        "programs": found.programs,
        "oldest wake-up": found.oldest_wake or "none",
        "size": f"{found.size} bytes",
        "chain head": found.root.hex() or "none",
        "last checkpoint": found.checkpoint or "none",
    }
    for name, value in rows.items():
        click.echo(f"{name:16s} {value}")


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items())) or "none"


def _held(held: Held) -> dict[str, Any]:
    return {**msgspec.to_builtins(held), "root": held.root.hex()}


def _said(held: Held) -> str:
    checkpoint = f"checkpoint {held.checkpoint}" if held.checkpoint else "no checkpoint"
    return (
        f"{held.entries} entries to position {held.position}, {checkpoint},"
        f" chain head {held.root.hex()[:16] or 'none'}."
    )


COMMANDS = {"journal": journal}
