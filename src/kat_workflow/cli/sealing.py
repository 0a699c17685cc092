"""The verbs about what the record proves and forgets: checkpoint, erase."""

from __future__ import annotations

import os
from pathlib import Path

import click

from kat_workflow.cli.patients import on_clinic
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import Actor

__all__ = ["COMMANDS"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--key", required=True, type=_FILE, help="The key to sign with, a PEM file.")
@click.option("--new", is_flag=True, help="Make the key first, and KEY.pub to verify with.")
@on_clinic
def checkpoint(_: click.Context, engine: Engine, key: Path, new: bool) -> None:
    """Sign what the record holds now: one line, to be kept where nobody can change it.

    Without such a line nobody can see that the end of a record was cut off, or that an old copy
    was put back.

    \b
    Examples:
      kat checkpoint --key clinic.pem --new >> checkpoints.txt
      kat checkpoint --key clinic.pem >> checkpoints.txt
    """
    from kat_workflow.journal.sealing import checkpoint as signed
    from kat_workflow.journal.sealing import new_keys, signing_key

    if new:
        private, public = new_keys()
        try:
            secret = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise click.UsageError(f"{key} is there already; sign with it without --new") from None
        with open(secret, "wb") as file:
            file.write(private)
        key.with_name(key.name + ".pub").write_bytes(public)
    if not key.is_file():
        raise click.UsageError(f"there is no {key}; make it with --new")
    click.echo(signed(engine.journal, signing_key(key.read_bytes()), engine.now))


@click.command()
@click.argument("patient")
@click.option("--ground", required=True, help="The lawful ground; it stays, and names nobody.")
@click.option("--by", required=True, metavar="PERSON", envvar="KAT_BY", help="Who erases.")
@click.option("--command-id", help="The same again finishes what was left half done.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@on_clinic
def erase(
    _: click.Context,
    engine: Engine,
    patient: str,
    ground: str,
    by: str,
    command_id: str | None,
    yes: bool,
) -> None:
    """Take a patient out of the record, for good; the course stays, without them.

    \b
    Examples:
      kat erase MRN-1042 --ground "GDPR Art. 17, request 2026-114" --by dora
    """
    if not yes:
        click.confirm("Nobody can take this back. Erase the patient?", abort=True)
    person = by.partition(":")[0]
    done = engine.erase(
        patient, by=Actor(person, frozenset()), ground=ground, command_id=command_id
    )
    click.echo(f"Erased, in {len(done.streams)} streams.")
    if not done.scrubbed:
        click.echo("Another process reads an older state: bytes may be left until it is through.")


COMMANDS = {"checkpoint": checkpoint, "erase": erase}
