"""A patient's whole course on PostgreSQL: through the engine, and as the SQL written by hand.

The reference writes the rows that the engine writes for the script, taken down once: each command
and each timer is one transaction of prepared statements, on an identical schema, that reads
nothing, decides nothing and checks nothing. It is written as one writes it with the driver:
`transaction()`, and `executemany` where there are many rows. Both sides begin with a new database
in every round, on one server that forces every commit to the disk.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import psycopg

from benchmarks.durable_fixture import Commit, Script, by_engine, rows
from kat_workflow.journal.postgres import PostgresJournal

__all__ = ["bare", "by_engine", "rows"]

_STREAM = 'INTO kat_streams (version, link, salt, "row", wake, stream)'
_BEGIN = f"INSERT {_STREAM} VALUES (%b, %b, %b, %b, %b, %b)"  # noqa: S608
_MOVE = 'UPDATE kat_streams SET version = %b, link = %b, "row" = %b, wake = %b WHERE stream = %b'
_ENTRY = f"INSERT INTO kat_entries VALUES ({', '.join(['%b'] * 11)})"  # noqa: S608
_GONE = "DELETE FROM kat_items WHERE stream = %b AND item = %b"
_ITEM = "INSERT INTO kat_items VALUES (%b, %b, %b, %b::int::bool, %b, %b, %b, %b, %b)"
_CENSUS = """INSERT INTO kat_census VALUES (%b, %b, %b, %b) ON CONFLICT (stream) DO UPDATE
    SET site = excluded.site, standing = excluded.standing, body = excluded.body"""
_COMMAND = "INSERT INTO kat_commands VALUES (%b, %b, %b, %b, %b)"


def bare(url: str, script: Script) -> float:
    """Seconds for the same rows of the same patient, written by hand, after the other's."""
    PostgresJournal(url).close()  # it makes the tables
    with psycopg.connect(url, autocommit=True) as connection:
        for commit in script.before:
            _write(connection, commit)
        began = perf_counter()
        for commit in script.timed:
            _write(connection, commit)
        return perf_counter() - began


def _write(connection: psycopg.Connection[Any], commit: Commit) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        for row in commit.begun:
            cursor.execute(_BEGIN, row, prepare=True)
        for row in commit.streams:
            cursor.execute(_MOVE, row, prepare=True)
        for statement, many in (
            (_ENTRY, commit.entries),
            (_GONE, commit.gone),
            (_ITEM, commit.items),
            (_CENSUS, commit.census),
        ):
            if len(many) == 1:
                cursor.execute(statement, many[0], prepare=True)
            elif many:
                cursor.executemany(statement, many)
        cursor.execute(_COMMAND, commit.command, prepare=True)
