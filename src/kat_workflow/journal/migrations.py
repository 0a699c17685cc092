"""Bringing a journal in a SQLite file from an older schema to this one, step by step.

All steps that a file needs run in one transaction under SQLite's write lock: of several processes
that begin at once one migrates, and the others find it done. What was there is copied before. A
file of an older schema is never changed by merely opening it: a migration cannot be taken back by
the release that wrote the file, so that somebody asks for it, with `kat journal migrate`.

Journals in PostgreSQL began with schema 2.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from kat_workflow.errors import JournalError
from kat_workflow.journal import ItemRow, open_journal
from kat_workflow.journal.chain import SALT, commitment, frame, genesis, link, sealed
from kat_workflow.journal.sqlite import SCHEMA, SCHEMA_VERSION

__all__ = ["STEPS", "Split", "migrate"]

Split = Callable[[bytes], tuple[bytes, bytes]]
"""A body that holds everything, as its body and its values: what knows events can tell them."""

_PATIENCE = 60.0
_decode_item = msgspec.json.Decoder(ItemRow).decode


def migrate(
    where: str | os.PathLike[str], split: Split, backup: str | os.PathLike[str] | None = None
) -> tuple[int, int, str]:
    """Bring a journal to this release's schema: the schema before, the one after, the copy.

    Raises JournalError, and changes nothing, for a file of a newer release, for one that is no
    journal, and where the copy is there already.
    """
    if isinstance(where, str) and "://" in where:
        open_journal(where).close()
        return SCHEMA_VERSION, SCHEMA_VERSION, ""
    path = Path(where)
    if not path.is_file():
        raise JournalError(f"{path} is not there")
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as connection:
            return _migrated(path, connection, split, backup)
    except sqlite3.Error as error:
        raise JournalError(
            f"{path} cannot be migrated ({error.sqlite_errorname}); it is as it was"
        ) from error


def _migrated(
    path: Path,
    connection: sqlite3.Connection,
    split: Split,
    backup: str | os.PathLike[str] | None,
) -> tuple[int, int, str]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        before = _schema(connection, path)
        if before == SCHEMA_VERSION:
            return before, before, ""
        copy = Path(backup) if backup else path.with_name(f"{path.name}.schema-{before}")
        _copy(path, copy)
        for version in range(before, SCHEMA_VERSION):
            STEPS[version](connection, split)
        connection.execute("UPDATE kat_schema SET version = ?", (SCHEMA_VERSION,))
        connection.execute("COMMIT")
        return before, SCHEMA_VERSION, str(copy)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'kat_schema'").fetchone():
        raise JournalError(f"{path} is no journal")
    (version,) = connection.execute("SELECT version FROM kat_schema").fetchone()
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} is of schema {version}, this release knows {SCHEMA_VERSION}: use the release"
            " that wrote it, or a newer one"
        )
    return int(version)


def _copy(path: Path, copy: Path) -> None:
    """Copy what is committed, by a connection that only reads."""
    if copy.exists():
        raise JournalError(f"{copy} is there already; name another file for the old record")
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


_CHANGED = ("kat_entries", "kat_commands", "kat_streams", "kat_items")
_OLD = (
    "DROP INDEX kat_wakes",
    "DROP INDEX kat_items_role",
    "DROP INDEX kat_items_site",
    "DROP INDEX kat_items_patient",
    "ALTER TABLE kat_entries RENAME TO kat_old_entries",
    "ALTER TABLE kat_commands RENAME TO kat_old_commands",
    "ALTER TABLE kat_streams RENAME TO kat_old_streams",
    "ALTER TABLE kat_items RENAME TO kat_old_items",
)
_NEW = tuple(
    statement
    for statement in SCHEMA
    if any(name in statement.partition("(")[0] for name in (*_CHANGED, "kat_wakes", "kat_check"))
)
"""The tables of schema 2; when there is a schema 3, their text is to be kept here."""

_GONE = (
    "DROP TABLE kat_old_entries",
    "DROP TABLE kat_old_commands",
    "DROP TABLE kat_old_streams",
    "DROP TABLE kat_old_items",
)


def _chained(connection: sqlite3.Connection, split: Split) -> None:
    """Schema 1 to 2: entries get values of their own and links, commands a salt.

    State rows are left out: they may be of another make, and come again with the next entry.
    """
    for statement in (*_OLD, *_NEW):
        connection.execute(statement)
    for command, digest, first, last in connection.execute(
        "SELECT command, digest, first, last FROM kat_old_commands"
    ):
        salt = os.urandom(SALT)
        held = commitment(salt, digest.encode())
        connection.execute(
            "INSERT INTO kat_commands VALUES (?, ?, ?, ?, ?)", (command, held, salt, first, last)
        )
    stream, origin, end, reached = "", b"", b"", 0
    for row in connection.execute(
        """SELECT position, e.stream, version, recorded, cause, person, role, body, c.salt, c.digest
        FROM kat_old_entries AS e LEFT JOIN kat_commands AS c ON c.command = e.cause
        ORDER BY e.stream, version"""
    ):
        position, own, version, recorded, cause, person, role, old, seal, held = row
        if held is None:
            raise JournalError(f"the command of entry {position} is not there; restore a backup")
        if own != stream:
            _ended(connection, stream, origin, end, reached)
            stream, origin = own, os.urandom(SALT)
            end = genesis(origin, stream)
        try:
            body, values = split(old)
        except JournalError as error:
            raise JournalError(f"entry {position} cannot be migrated: {error}") from None
        salt = os.urandom(SALT) if values else b""
        framed = frame(recorded, cause, sealed(seal, held), person, role)
        end, reached = link(end, version, framed, commitment(salt, values), body), version
        connection.execute(
            "INSERT INTO kat_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (position, own, version, recorded, cause, person, role, body, values, salt, end),
        )
    _ended(connection, stream, origin, end, reached)
    for name, item, role, lead, site, patient, sort, body in connection.execute(
        "SELECT stream, item, role, lead, site, patient, sort, body FROM kat_old_items"
    ):
        assigned = _decode_item(body).assigned
        connection.execute(
            "INSERT INTO kat_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (name, item, role, lead, site, patient, assigned, sort, body),
        )
    for statement in _GONE:
        connection.execute(statement)


def _ended(
    connection: sqlite3.Connection, stream: str, origin: bytes, end: bytes, reached: int
) -> None:
    connection.execute(
        """INSERT INTO kat_streams
        SELECT stream, ?, ?, ?, NULL, wake FROM kat_old_streams WHERE stream = ?""",
        (reached, end, origin, stream),
    )


STEPS: Mapping[int, Callable[[sqlite3.Connection, Split], None]] = {1: _chained}
"""The step from each schema to the next one."""
