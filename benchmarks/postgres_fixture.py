"""A patient's whole course on PostgreSQL: through the engine, and as the SQL written by hand.

The reference writes the rows that the engine writes for the script, taken down once: each command
and each timer is one call of a function that inserts what it is given, on an identical schema, and
reads nothing, decides nothing, links nothing and checks nothing. So it is one round trip and one
commit, as an append of the journal is: with a statement for each row, or a pipeline of them, the
driver and the way to the server would be compared and not what is done there. The arrays stand
ready, and go by the journal's own quick way with arrays. Both sides begin with a new database in
every round, on one server that forces every commit to the disk.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import psycopg

from benchmarks.durable_fixture import Commit, Script, by_engine, rows
from kat_workflow.journal.postgres import PostgresJournal, _Blobs, _cursor, _Numbers, _Texts

__all__ = ["bare", "by_engine", "rows"]

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


def bare(url: str, script: Script) -> float:
    """Seconds for the same rows of the same patient, written by hand, after the other's."""
    PostgresJournal(url).close()  # it makes the tables
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


def _values(commit: Commit) -> tuple[object, ...]:
    """What is written by one call."""
    arrays = [
        each(row[number] for row in getattr(commit, kind))
        for kind, columns in _COLUMNS.items()
        for number, each in enumerate(columns)
    ]
    return (*arrays, *commit.command)
