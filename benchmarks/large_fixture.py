"""Large records: an enrollment with thousands of entries, a clinic of a million enrollments.

The long enrollment is the patient of the workload on the evening of day 20, whose vital signs are
then taken minute after minute. It is written by the engine, without waiting for the disk.

The large clinic is made by bulk SQL, since only how many rows there are matters to a list: each
enrollment has a state row with a wake-up, and an item of the nurse. They are spread over a
hundred sites and over a year, so that each list is a small stretch of a large index.

Both are made in a SQLite file and in a PostgreSQL database. Its server does not wait for the disk,
since nothing that is measured on these records writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import psycopg

from benchmarks.server import WITHOUT_FSYNC, Databases, Server
from benchmarks.workload import PROGRAM, SITE, TEAM, VITALS, plan
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import Enroll
from kat_workflow.errors import Refused
from kat_workflow.journal import ItemRow, open_journal
from kat_workflow.journal.sqlite import SqliteJournal

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SITES = 100
_EVENING = NOON + timedelta(days=18, hours=13)


@contextmanager
def sqlite_stores() -> Iterator[Callable[[], str]]:
    """What names a new SQLite file at each call."""
    numbers = count()
    with TemporaryDirectory() as directory:
        yield lambda: str(Path(directory) / f"{next(numbers)}.db")


@contextmanager
def postgres_stores() -> Iterator[Callable[[], str]]:
    """What makes a new PostgreSQL database at each call."""
    with closing(Server(*WITHOUT_FSYNC)) as server:
        yield Databases(server.url()).fresh


STORES = {"": sqlite_stores, "-postgres": postgres_stores}
"""The kinds of stores, by what is put to the names of their figures."""


def bare(where: str, connection: Any) -> Callable[..., Any]:
    """The shortest way to the rows of a statement: what the driver does by itself."""
    if not is_postgres(where):
        return connection.execute  # type: ignore[no-any-return]
    return partial(connection.cursor(binary=True).execute, prepare=True)


def connect(where: str) -> Any:
    """A connection of the driver, which commits each statement by itself."""
    if is_postgres(where):
        return psycopg.connect(where, autocommit=True)
    return sqlite3.connect(where, isolation_level=None)


def written_for(where: str, statement: str) -> str:
    """A statement with the marks for values that the store's driver knows."""
    return statement.replace("?", "%b") if is_postgres(where) else statement


def is_postgres(where: str) -> bool:
    """Whether it is the URL of a database, else it is the path of a file."""
    return "://" in where


def bytes_of(where: str) -> int:
    """What a record takes on the disk, its indexes among it."""
    sized = (
        """SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
        WHERE relkind = 'r' AND relname LIKE 'kat%'"""
        if is_postgres(where)
        else "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    )
    with closing(connect(where)) as connection:
        return int(connection.execute(sized).fetchone()[0])


def write_long(where: str, entries: int) -> str:
    """A record in which one enrollment has at least so many entries; returns which."""
    now = plan()[0].at
    with Engine.open(where, clock=lambda: now, sites=[SITE]) as engine:
        if isinstance(engine.journal, SqliteJournal):
            engine.journal._connection.execute("PRAGMA synchronous=OFF")
        enrollment = ""
        for command in plan():
            if command.at > _EVENING:
                break
            now = command.at
            if isinstance(command.act, Enroll):
                enrollment = engine.enroll(PROGRAM, patient="p", by=command.by)
                continue
            with suppress(Refused):
                engine.handle(enrollment, command.act, by=command.by)
        nurse = TEAM["nora"]
        while engine.journal.version(f"enrollment:{enrollment}") < entries:
            now += timedelta(minutes=1)
            engine.record(enrollment, "vitals", VITALS, by=nurse)
        return enrollment


def write_clinic(where: str, enrollments: int) -> None:
    """A record of so many enrollments, of which there are only rows."""
    open_journal(where).close()
    stream, patient = "enrollment:##########", "patient-##########"
    shown = ItemRow("vitals", stream, "site-##", ("nurse",), NOON, NOON, patient=patient)
    values = {
        "enrollments": enrollments,
        "sites": SITES,
        "begin": int(NOON.timestamp()) * 1_000_000,
        "apart": 365 * 86_400 * 1_000_000 // enrollments,
        "body": msgspec.json.encode(msgspec.structs.replace(shown, title="Vital signs")).decode(),
    }
    made, bulk, ready = _POSTGRES if is_postgres(where) else _SQLITE
    with closing(connect(where)) as connection:
        if not is_postgres(where):
            connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        indexes = connection.execute(made).fetchall()
        for name, _ in indexes:  # to make them of what is there is quicker
            connection.execute(f"DROP INDEX {name}")
        for statement in bulk:
            connection.execute(statement, values)
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute(ready)


_SQLITE = (
    """SELECT name, sql FROM sqlite_master
    WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('kat_streams', 'kat_items')""",
    (
        """WITH RECURSIVE counted(n) AS
            (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :enrollments)
        INSERT INTO kat_streams (stream, version, link, salt, row, wake)
        SELECT printf('enrollment:%010d', n), 1, x'', x'', x'', :begin + n * :apart FROM counted""",
        """WITH RECURSIVE counted(n) AS
            (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :enrollments)
        INSERT INTO kat_items
            (stream, item, role, lead, site, patient, assigned, sort, body)
        SELECT printf('enrollment:%010d', n), 'vitals', 'nurse', 1, printf('site-%02d', n % :sites),
            printf('patient-%010d', n), '', :begin + n * :apart,
            CAST(replace(:body, '##########', printf('%010d', n)) AS BLOB) FROM counted""",
    ),
    "PRAGMA wal_checkpoint(TRUNCATE)",
)
"""The indexes that are not a key's, the bulk, and what makes the record ready to be read."""
_POSTGRES = (
    """SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename IN ('kat_streams', 'kat_items') AND indexname NOT LIKE '%pkey'""",
    (
        """INSERT INTO kat_streams (stream, version, link, salt, "row", wake)
        SELECT 'enrollment:' || lpad(n::text, 10, '0'), 1, '', '', '',
            %(begin)s::bigint + n * %(apart)s::bigint
        FROM generate_series(0, %(enrollments)s::bigint - 1) n""",
        """INSERT INTO kat_items
            (stream, item, role, lead, site, patient, assigned, sort, body)
        SELECT 'enrollment:' || lpad(n::text, 10, '0'), 'vitals', 'nurse', true,
            'site-' || lpad((n %% %(sites)s)::text, 2, '0'),
            'patient-' || lpad(n::text, 10, '0'), '', %(begin)s::bigint + n * %(apart)s::bigint,
            convert_to(replace(%(body)s::text, '##########', lpad(n::text, 10, '0')), 'UTF8')
        FROM generate_series(0, %(enrollments)s::bigint - 1) n""",
    ),
    "VACUUM ANALYZE kat_streams, kat_items",
)
BARE_ROWS = """SELECT e.position, e.stream, e.version, e.recorded, e.cause, e.person, e.role,
    e.link, e.salt, c.first, c.last, c.digest, c.salt, e.body, e."values"
    FROM kat_entries e JOIN kat_commands c ON c.command = e.cause ORDER BY e.position"""
"""What verifying a record comes down to: its entries, each with what is kept of its command."""
BARE_LIST = """SELECT body FROM kat_items WHERE role = ? AND site = ?
    ORDER BY sort, stream, item LIMIT 51"""
"""What a worklist comes down to: its rows, read by the index that has them in order."""
