"""A patient's whole course on SQLite: through the engine, and as the bare SQL it comes down to.

The reference writes the rows that the engine writes for the script, taken down once: each command
and each timer is one transaction of prepared statements, on an identical schema with the same
pragmas, that reads nothing, decides nothing and checks nothing. Both sides begin with an empty file
in every round, and each command is durable before the next (`synchronous=FULL`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.journal_fixture import LINK, SALT, bare_connection
from benchmarks.workload import PROGRAM, SITE, plan
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import Enroll
from kat_workflow.errors import Refused
from kat_workflow.journal import Append, Journal, Receipt, micros

Row = tuple[object, ...]


class Commit(Struct, frozen=True):
    """The rows of one transaction, ready to be written."""

    begun: list[Row]
    streams: list[Row]
    entries: list[Row]
    gone: list[tuple[str, str]]
    items: list[Row]
    census: list[Row]
    command: Row


class Script(Struct, frozen=True):
    """The rows of a patient who comes first, and of the one who is timed."""

    before: list[Commit]
    timed: list[Commit]


def by_engine(file: Path | str, noted: Script | None = None) -> float:
    """Seconds for the script of one patient through an engine; `noted` takes down its rows.

    Another patient has gone through it before: the program is read, its chart is built, the file
    is there. A clinic that is running is what a command meets.
    """
    now = plan()[0].at
    with Engine.open(file, clock=lambda: now, sites=[SITE]) as engine:
        journal = engine.journal
        seconds = 0.0
        for name in ("before", "timed"):
            if noted is not None:
                into: list[Commit] = getattr(noted, name)
                engine.journal = _Noting(journal, into, len(journal.follow(0, 10_000)))
            script, enrollment = plan(name), ""
            began = perf_counter()
            for command in script:
                now = command.at
                act, by = command.act, command.by
                if isinstance(act, Enroll):
                    enrollment = engine.enroll(
                        PROGRAM, patient=act.patient, by=by, command_id=command.id
                    )
                else:
                    with suppress(Refused):
                        engine.handle(enrollment, act, by=by, command_id=command.id)
            seconds = perf_counter() - began
        return seconds


def bare(file: Path, script: Script) -> float:
    """Seconds for the same rows of the same patient, written by hand, after the other's."""
    with closing(bare_connection(file)) as connection:
        for commit in script.before:
            _write(connection, commit)
        began = perf_counter()
        for commit in script.timed:
            _write(connection, commit)
        return perf_counter() - began


def rows() -> Script:
    """The rows that the script comes down to, one transaction for each command and timer."""
    noted = Script([], [])
    with TemporaryDirectory() as directory:
        by_engine(Path(directory) / "journal.db", noted)
    return noted


def _write(connection: sqlite3.Connection, commit: Commit) -> None:
    execute, many = connection.execute, connection.executemany
    execute("BEGIN IMMEDIATE")
    for row in commit.begun:
        execute(
            "INSERT INTO kat_streams (version, link, salt, row, wake, stream)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
    for row in commit.streams:
        execute(
            "UPDATE kat_streams SET version = ?, link = ?, row = ?, wake = ? WHERE stream = ?", row
        )
    many("INSERT INTO kat_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", commit.entries)
    if commit.gone:
        many("DELETE FROM kat_items WHERE stream = ? AND item = ?", commit.gone)
    if commit.items:
        many("INSERT INTO kat_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", commit.items)
    if commit.census:
        many("INSERT OR REPLACE INTO kat_census VALUES (?, ?, ?, ?)", commit.census)
    execute("INSERT INTO kat_commands VALUES (?, ?, ?, ?, ?)", commit.command)
    execute("COMMIT")


class _Noting:
    """A journal that takes down what is appended to it, and appends it."""

    def __init__(self, journal: Journal, noted: list[Commit], position: int) -> None:
        self._journal = journal
        self._noted = noted
        self._position = position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def append(self, appends: Sequence[Append], **about: Any) -> Receipt:
        cause, at = about["command"], micros(about["recorded"])
        who = (cause, about["person"], about["role"])
        first = self._position + 1
        commit = Commit([], [], [], [], [], [], ())
        for append in sorted(appends, key=lambda each: each.stream):
            if not append.bodies:  # it was read for the decision
                continue
            stream, version = append.stream, append.expected + len(append.bodies)
            rest = (append.row, append.wake and micros(append.wake), stream)
            if append.expected:
                commit.streams.append((version, LINK, *rest))
            else:
                commit.begun.append((version, LINK, SALT, *rest))
            for number, body in enumerate(append.bodies):
                self._position += 1
                values = append.values[number] if append.values else b""
                entry = (self._position, stream, append.expected + number + 1, at, *who, body)
                commit.entries.append((*entry, values, SALT if values else b"", LINK))
            commit.gone.extend((stream, name) for name in append.items_gone)
            for item in append.items:
                commit.gone.append((stream, item.item))
                body = msgspec.json.encode(item)
                for lead, role in enumerate(item.roles or ("",)):
                    key = (stream, item.item, role, int(not lead), item.site, item.patient)
                    commit.items.append((*key, item.assigned, micros(item.sort), body))
            if (seen := append.census) is not None:
                body = msgspec.json.encode(seen)
                commit.census.append((stream, seen.site, seen.standing, body))
        done = (cause, LINK, SALT, first, self._position)
        self._noted.append(msgspec.structs.replace(commit, command=done))
        return self._journal.append(appends, **about)
