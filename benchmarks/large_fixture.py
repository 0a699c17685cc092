"""Large records: an enrollment with thousands of entries, a clinic of a million enrollments.

The long enrollment is the patient of the workload on the evening of day 20, whose vital signs are
then taken minute after minute. It is written by the engine, without waiting for the disk.

The large clinic is made by bulk SQL, since only how many rows there are matters to a list: each
enrollment has a state row with a wake-up, and an item of the nurse. They are spread over a
hundred sites and over a year, so that each list is a small stretch of a large index.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.workload import PROGRAM, SITE, TEAM, VITALS, plan
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import Enroll
from kat_workflow.errors import Refused
from kat_workflow.journal import ItemRow
from kat_workflow.journal.sqlite import SqliteJournal

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SITES = 100
_EVENING = NOON + timedelta(days=18, hours=13)


def write_long(file: Path, entries: int) -> str:
    """A record in which one enrollment has at least so many entries; returns which."""
    now = plan()[0].at
    with Engine.open(file, clock=lambda: now, sites=[SITE]) as engine:
        assert isinstance(engine.journal, SqliteJournal)
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


def write_clinic(file: Path, enrollments: int) -> None:
    """A record of so many enrollments, of which there are only rows."""
    with SqliteJournal(file):
        pass
    stream, patient = "enrollment:##########", "patient-##########"
    shown = ItemRow("vitals", stream, "site-##", ("nurse",), NOON, NOON, patient=patient)
    values = {
        "enrollments": enrollments,
        "sites": SITES,
        "from": int(NOON.timestamp()) * 1_000_000,
        "apart": 365 * 86_400 * 1_000_000 // enrollments,
        "body": msgspec.json.encode(msgspec.structs.replace(shown, title="Vital signs")).decode(),
    }
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        indexes = connection.execute(_INDEXES).fetchall()
        for name, _ in indexes:  # to make them of what is there is quicker
            connection.execute(f"DROP INDEX {name}")
        for statement in _BULK:
            connection.execute(statement, values)
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_INDEXES = """SELECT name, sql FROM sqlite_master
    WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('kat_streams', 'kat_items')"""
_BULK = (
    """WITH RECURSIVE counted(n) AS
        (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :enrollments)
    INSERT INTO kat_streams (stream, version, link, salt, row, wake)
    SELECT printf('enrollment:%010d', n), 1, x'', x'', x'', :from + n * :apart FROM counted""",
    """WITH RECURSIVE counted(n) AS
        (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :enrollments)
    INSERT INTO kat_items
        (stream, item, role, lead, site, patient, assigned, sort, body)
    SELECT printf('enrollment:%010d', n), 'vitals', 'nurse', 1, printf('site-%02d', n % :sites),
        printf('patient-%010d', n), '', :from + n * :apart,
        CAST(replace(:body, '##########', printf('%010d', n)) AS BLOB) FROM counted""",
)
BARE_LIST = """SELECT body FROM kat_items WHERE role = ? AND site = ?
    ORDER BY sort, stream, item LIMIT 51"""
"""What a worklist comes down to: its rows, read by the index that has them in order."""
