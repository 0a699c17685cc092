"""What the journal costs above the bare SQL transaction that writes the same rows.

The reference is plain `sqlite3` on an identical schema with the same pragmas: it writes prepared
rows and checks nothing. Both write one command after another, each durable when it returns, to a
file of their own; the two take turns, so that a busy machine slows both. Read the ratio; the
rates are this machine's.

    python benchmarks/journal_fixture.py [rounds] [commands per round] [directory]
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter

import msgspec

from kat_workflow.journal import Append, ItemRow, Journal
from kat_workflow.journal.sqlite import SCHEMA, SqliteJournal

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ENROLLMENTS = 200
BODY = b'{"event":"observation_recorded","v":1,"place":"' + b"x" * 120 + b'"}'
VALUES = b'{"values":"' + b"x" * 120 + b'"}'
SALT, LINK = b"s" * 16, b"l" * 32
ROW = b'{"state":"' + b"y" * 440 + b'"}'


class Rates(msgspec.Struct, frozen=True):
    """Commands per second, journal and bare, by round; the order within a round alternates."""

    journal: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: 1 means that the journal costs nothing."""
        return median(ours / theirs for ours, theirs in zip(self.journal, self.bare, strict=True))


def rates(directory: Path, rounds: int = 9, commands: int = 300) -> Rates:
    """Both rates, measured in turn: 3 entries, a state row, 2 item rows and a wake-up each."""
    measured = Rates([], [])
    with SqliteJournal(directory / "journal.db") as journal:
        bare = bare_connection(directory / "bare.db")
        ours, theirs = write_by_journal(journal), write_bare(bare)
        sides: list[tuple[Iterator[None], list[float]]] = [
            (ours, measured.journal),
            (theirs, measured.bare),
        ]
        for write, _ in sides:  # every stream begins, outside the measurement
            _rate(write, ENROLLMENTS)
        for turn in range(rounds):
            for write, kept in sides if turn % 2 else reversed(sides):
                kept.append(_rate(write, commands))
        bare.close()
    return measured


def write_by_journal(journal: Journal, first: int = 0, step: int = 1) -> Iterator[None]:
    """Each step appends one command through the journal: the first, and every so many after it."""
    for number in count(first, step):
        stream, version = _target(number)
        now = NOON + timedelta(seconds=number)
        journal.append(
            (
                Append(
                    stream,
                    expected=version,
                    bodies=(BODY, BODY, BODY),
                    values=(VALUES, VALUES, VALUES),
                    row=ROW,
                    wake=now + timedelta(minutes=15),
                    items=tuple(
                        ItemRow(
                            item=f"stay.1/day.1/{step}",
                            stream=stream,
                            site="main",
                            roles=("nurse",),
                            opens=now,
                            due=now + timedelta(minutes=15),
                            step=step,
                            title="Vital signs",
                            patient=f"patient:{stream[-6:]}",
                            program="detox-4-day",
                        )
                        for step in ("vitals", "scores")
                    ),
                ),
            ),
            command=f"command-{number:032d}",
            digest="d" * 64,
            recorded=now,
            person="nora",
            role="nurse",
        )
        yield


def bare_connection(path: Path) -> sqlite3.Connection:
    """An empty database with the journal's schema and the journal's pragmas."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for statement in SCHEMA:
        connection.execute(statement)
    return connection


def write_bare(connection: sqlite3.Connection, first: int = 0, together: int = 1) -> Iterator[None]:
    """Each step writes the rows of one command and checks nothing; so many are a transaction."""
    for number in count(first):
        stream, version = _target(number)
        now = int((NOON + timedelta(seconds=number)).timestamp()) * 1_000_000
        due = now + 900_000_000
        body = b'{"item":"' + b"z" * 300 + b'"}'
        cause = f"command-{number:032d}"
        position = 3 * number + 1
        entries = [
            (
                position + i,
                stream,
                version + i + 1,
                now,
                cause,
                "nora",
                "nurse",
                BODY,
                VALUES,
                SALT,
                LINK,
            )
            for i in range(3)
        ]
        names = [(stream, f"stay.1/day.1/{step}") for step in ("vitals", "scores")]
        patient = f"patient:{stream[-6:]}"
        items = [(*name, "nurse", 1, "main", patient, "", due, body) for name in names]
        if number % together == 0:
            connection.execute("BEGIN IMMEDIATE")
        if version:
            connection.execute(
                "UPDATE kat_streams SET version = ?, link = ?, row = ?, wake = ? WHERE stream = ?",
                (version + 3, LINK, ROW, due, stream),
            )
        else:
            connection.execute(
                "INSERT INTO kat_streams VALUES (?, ?, ?, ?, ?, ?)",
                (stream, 3, LINK, SALT, ROW, due),
            )
        connection.executemany(
            "INSERT INTO kat_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", entries
        )
        connection.executemany("DELETE FROM kat_items WHERE stream = ? AND item = ?", names)
        connection.executemany("INSERT INTO kat_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", items)
        connection.execute(
            "INSERT INTO kat_commands VALUES (?, ?, ?, ?, ?)",
            (cause, LINK, SALT, position, position + 2),
        )
        if (number + 1) % together == 0:
            connection.execute("COMMIT")
        yield


def gain_of_journal(path: Path, together: int, commands: int) -> float:
    """How many times faster so many threads write at once than one that writes alone."""
    with SqliteJournal(path) as journal:
        alone = write_by_journal(journal)
        _rate(alone, ENROLLMENTS)  # every stream begins
        rate = _rate(alone, commands)
        each, began = commands // together, ENROLLMENTS + commands
        threads = [
            Thread(target=_rate, args=(write_by_journal(journal, began + k, together), each))
            for k in range(together)
        ]
        begun = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return each * together / (perf_counter() - begun) / rate


def gain_of_host(path: Path, together: int, commands: int) -> float:
    """How many times faster a host is that has so many commands in a transaction of its own."""
    with closing(bare_connection(path)) as connection:
        write = write_by_journal(SqliteJournal(connection=connection))
        _rate(write, ENROLLMENTS)
        rate = _rate(write, commands)
        return _rate(_in_transactions(connection, write, together), commands) / rate


def _in_transactions(
    connection: sqlite3.Connection, write: Iterator[None], together: int
) -> Iterator[None]:
    while True:
        connection.execute("BEGIN IMMEDIATE")
        for number in range(together):
            next(write)
            if number == together - 1:
                connection.execute("COMMIT")
            yield


def gain_of_bare(path: Path, together: int, commands: int) -> float:
    """How many times faster the bare SQL is with so many commands in a transaction."""
    with closing(bare_connection(path)) as connection:
        alone = write_bare(connection)
        _rate(alone, ENROLLMENTS)
        rate = _rate(alone, commands)
        return _rate(write_bare(connection, ENROLLMENTS + commands, together), commands) / rate


def _target(number: int) -> tuple[str, int]:
    """The stream of a command, in turn, and the version it has reached by then."""
    turn, enrollment = divmod(number, ENROLLMENTS)
    return f"enrollment:{enrollment:032d}", 3 * turn


def _rate(write: Iterator[None], commands: int) -> float:
    begun = perf_counter()
    for _ in range(commands):
        next(write)
    return commands / (perf_counter() - begun)


def main(argv: list[str], say: Callable[[str], object] = print) -> None:
    """Measure and say the rates and their ratio."""
    rounds = int(argv[0]) if argv else 9
    commands = int(argv[1]) if len(argv) > 1 else 300
    with TemporaryDirectory(dir=argv[2] if len(argv) > 2 else None) as directory:
        measured = rates(Path(directory), rounds, commands)
    say(f"journal {median(measured.journal):8.0f} commands/s (median of {rounds} rounds)")
    say(f"bare    {median(measured.bare):8.0f} commands/s")
    say(f"ratio   {measured.ratio:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
