"""A patient's whole course on PostgreSQL: through the engine, and as the SQL written by hand.

The references write the rows that the engine writes for the script, taken down once: each command
and each timer is one transaction, on an identical schema, that reads nothing, decides nothing,
links nothing and checks nothing. `by_statements` is written as one writes it with the driver:
`transaction()`, prepared statements, `executemany` where there are many rows. `by_call` is one call
of a function that inserts what it is given, so that it is one round trip, as an append of the
journal is: what is compared is then what is done at both ends of it. Its arrays stand ready, and go
by the journal's own quick way with arrays. All begin with a new database in every round, on one
server that forces every commit to the disk.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import psycopg

from benchmarks.durable_fixture import Commit, Script, by_engine, rows
from kat_workflow.journal.postgres import PostgresJournal, _Blobs, _cursor, _Numbers, _Texts

__all__ = ["by_call", "by_engine", "by_statements", "rows"]

_STREAM = 'INTO kat_streams (version, link, salt, "row", wake, stream)'
_BEGIN = f"INSERT {_STREAM} VALUES (%b, %b, %b, %b, %b, %b)"  # noqa: S608
_MOVE = 'UPDATE kat_streams SET version = %b, link = %b, "row" = %b, wake = %b WHERE stream = %b'
_ENTRY = f"INSERT INTO kat_entries VALUES ({', '.join(['%b'] * 11)})"  # noqa: S608
_GONE = "DELETE FROM kat_items WHERE stream = %b AND item = %b"
_ITEM = "INSERT INTO kat_items VALUES (%b, %b, %b, %b::int::bool, %b, %b, %b, %b, %b)"
_CENSUS = """INSERT INTO kat_census VALUES (%b, %b, %b, %b) ON CONFLICT (stream) DO UPDATE
    SET site = excluded.site, standing = excluded.standing, body = excluded.body"""
_COMMAND = "INSERT INTO kat_commands VALUES (%b, %b, %b, %b, %b)"

# The n-th elements of the arrays of a group are the columns of its n-th row.
_FUNCTION = """CREATE FUNCTION bare_write(
        b1 BIGINT[], b2 BYTEA[], b3 BYTEA[], b4 BYTEA[], b5 BIGINT[], b6 TEXT[],
        s1 BIGINT[], s2 BYTEA[], s3 BYTEA[], s4 BIGINT[], s5 TEXT[],
        e1 BIGINT[], e2 TEXT[], e3 BIGINT[], e4 BIGINT[], e5 TEXT[], e6 TEXT[], e7 TEXT[],
        e8 BYTEA[], e9 BYTEA[], e10 BYTEA[], e11 BYTEA[],
        g1 TEXT[], g2 TEXT[],
        i1 TEXT[], i2 TEXT[], i3 TEXT[], i4 BIGINT[], i5 TEXT[], i6 TEXT[], i7 TEXT[],
        i8 BIGINT[], i9 BYTEA[],
        c1 TEXT[], c2 TEXT[], c3 TEXT[], c4 BYTEA[],
        command TEXT, digest BYTEA, salt BYTEA, first BIGINT, last BIGINT)
    RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        FOR n IN 1 .. cardinality(b1) LOOP
            INSERT INTO kat_streams (version, link, salt, "row", wake, stream)
                VALUES (b1[n], b2[n], b3[n], b4[n], b5[n], b6[n]);
        END LOOP;
        FOR n IN 1 .. cardinality(s1) LOOP
            UPDATE kat_streams SET version = s1[n], link = s2[n], "row" = s3[n], wake = s4[n]
                WHERE stream = s5[n];
        END LOOP;
        FOR n IN 1 .. cardinality(e1) LOOP
            INSERT INTO kat_entries VALUES (e1[n], e2[n], e3[n], e4[n], e5[n], e6[n], e7[n],
                e8[n], e9[n], e10[n], e11[n]);
        END LOOP;
        FOR n IN 1 .. cardinality(g1) LOOP
            DELETE FROM kat_items WHERE stream = g1[n] AND item = g2[n];
        END LOOP;
        FOR n IN 1 .. cardinality(i1) LOOP
            INSERT INTO kat_items VALUES (i1[n], i2[n], i3[n], i4[n] = 1, i5[n], i6[n], i7[n],
                i8[n], i9[n]);
        END LOOP;
        FOR n IN 1 .. cardinality(c1) LOOP
            INSERT INTO kat_census VALUES (c1[n], c2[n], c3[n], c4[n])
                ON CONFLICT (stream) DO UPDATE
                SET site = excluded.site, standing = excluded.standing, body = excluded.body;
        END LOOP;
        INSERT INTO kat_commands VALUES (command, digest, salt, first, last);
    END $$"""
_COLUMNS: dict[str, tuple[type[list[Any]], ...]] = {
    "begun": (_Numbers, _Blobs, _Blobs, _Blobs, _Numbers, _Texts),
    "streams": (_Numbers, _Blobs, _Blobs, _Numbers, _Texts),
    "entries": (_Numbers, _Texts, _Numbers, _Numbers, *(_Texts,) * 3, *(_Blobs,) * 4),
    "gone": (_Texts, _Texts),
    "items": (_Texts, _Texts, _Texts, _Numbers, *(_Texts,) * 3, _Numbers, _Blobs),
    "census": (_Texts, _Texts, _Texts, _Blobs),
}
"""The columns of each kind of rows, in the order in which a `Commit` has them."""
_CALL = f"SELECT bare_write({', '.join(['%b'] * 42)})"


def by_statements(url: str, script: Script) -> float:
    """Seconds for the same rows of the same patient, row by row, after the other's."""
    PostgresJournal(url).close()  # it makes the tables
    with psycopg.connect(url, autocommit=True) as connection:
        for commit in script.before:
            _write(connection, commit)
        began = perf_counter()
        for commit in script.timed:
            _write(connection, commit)
        return perf_counter() - began


def by_call(url: str, script: Script) -> float:
    """Seconds for the same rows of the same patient, in one call each, after the other's."""
    PostgresJournal(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FUNCTION)
        execute = _cursor(connection).execute
        for commit in script.before:
            execute(_CALL, _values(commit), prepare=True)
        ready = [_values(commit) for commit in script.timed]
        began = perf_counter()
        for values in ready:
            execute(_CALL, values, prepare=True)
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


def _values(commit: Commit) -> tuple[object, ...]:
    """What is written by one call."""
    arrays = [
        each(row[number] for row in getattr(commit, kind))
        for kind, columns in _COLUMNS.items()
        for number, each in enumerate(columns)
    ]
    return (*arrays, *commit.command)
