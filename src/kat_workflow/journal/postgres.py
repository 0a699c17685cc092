"""The journal in a PostgreSQL database: for many hosts, or beside a host's own tables.

An append is one statement that commits by itself: a call of the function `kat_append`, which the
schema brings along. So it costs one round trip, and nothing of it can be open when a client is
lost. The function first takes a lock for the length of the transaction, then looks, then writes:
whoever holds the lock sees all that was committed before. So positions have no gaps and stand in
commit order, two appends cannot lock each other out, and an append that finds its command known
or a stream moved on has written nothing and says so in its answer. The links of the chains are
made there too, from the last ones that the tables hold, never from what a client remembers.

A server that is lost is looked for again, for as long as there is `patience`. An append whose
answer was lost is then sent again as it was: if it had been written, it is found by its command's
id, and its salt tells that it was this one.

A host that keeps tables of its own in the same database hands in its connection. Inside a
transaction of the host an append is a savepoint: it becomes durable, or is undone, with the
host's own writes. The lock is then held until the host ends its transaction: keep it short.

No text of the server reaches an error of ours, since it quotes what was written; but for why a
session could not be opened, when nothing had been.
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from itertools import islice
from queue import Empty, LifoQueue
from struct import pack
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
from msgspec.structs import astuple

from kat_workflow.errors import Conflict, JournalError, KatError
from kat_workflow.journal import (
    Append,
    Chain,
    Entry,
    Journal,
    KeptProgram,
    Receipt,
    Written,
    in_order,
    micros,
    reused,
    shown,
)
from kat_workflow.journal.chain import SALT, commitment, frame, sealed
from kat_workflow.journal.records import (
    KeptCheckpoint,
    Record,
    Standing,
    not_empty,
)
from kat_workflow.journal.sql import SELECT_COMMANDS, SqlJournal

try:
    import psycopg
    from psycopg import pq
    from psycopg.adapt import Dumper
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.rows import tuple_row
    from psycopg.types.numeric import Int8BinaryDumper
except ImportError as error:
    raise JournalError(
        "a journal in PostgreSQL needs a driver: pip install 'kat-workflow[postgres]'"
    ) from error

if TYPE_CHECKING:
    Connection = psycopg.Connection[Any]
    Rows = psycopg.Cursor[tuple[Any, ...]]

__all__ = ["SCHEMA", "SCHEMA_VERSION", "PostgresJournal"]

SCHEMA_VERSION = 2

SCHEMA = (
    "CREATE TABLE kat_schema (version INTEGER NOT NULL)",
    f"INSERT INTO kat_schema VALUES ({SCHEMA_VERSION:d})",  # noqa: S608  # our own number
    # Names are compared byte by byte, whatever the database's language: so SQLite orders them.
    """CREATE TABLE kat_entries (
        position BIGINT PRIMARY KEY,
        stream TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,
        recorded BIGINT NOT NULL,
        cause TEXT NOT NULL,
        person TEXT NOT NULL,
        role TEXT NOT NULL,
        body BYTEA NOT NULL,
        "values" BYTEA NOT NULL,
        salt BYTEA NOT NULL,
        link BYTEA NOT NULL,
        UNIQUE (stream, version))""",
    """CREATE TABLE kat_commands (
        command TEXT COLLATE "C" PRIMARY KEY,
        digest BYTEA NOT NULL,
        salt BYTEA NOT NULL,
        first BIGINT NOT NULL,
        last BIGINT NOT NULL)""",
    """CREATE TABLE kat_streams (
        stream TEXT COLLATE "C" PRIMARY KEY,
        version BIGINT NOT NULL,
        link BYTEA NOT NULL,
        salt BYTEA NOT NULL,
        "row" BYTEA,
        wake BIGINT)""",
    "CREATE INDEX kat_wakes ON kat_streams (wake, stream) WHERE wake IS NOT NULL",
    # One row per role, so that the list of one role at one site is one stretch of one index.
    # `lead` marks one of them, by which the item is found when no role is asked for.
    """CREATE TABLE kat_items (
        stream TEXT COLLATE "C" NOT NULL,
        item TEXT COLLATE "C" NOT NULL,
        role TEXT COLLATE "C" NOT NULL,
        lead BOOLEAN NOT NULL,
        site TEXT COLLATE "C" NOT NULL,
        patient TEXT COLLATE "C" NOT NULL,
        assigned TEXT COLLATE "C" NOT NULL,
        sort BIGINT NOT NULL,
        body BYTEA NOT NULL,
        PRIMARY KEY (stream, item, role))""",
    "CREATE INDEX kat_items_role ON kat_items (site, role, sort, stream, item)",
    "CREATE INDEX kat_items_site ON kat_items (site, sort, stream, item) WHERE lead",
    "CREATE INDEX kat_items_patient ON kat_items (patient)",
    """CREATE TABLE kat_census (
        stream TEXT COLLATE "C" PRIMARY KEY,
        site TEXT COLLATE "C" NOT NULL,
        standing TEXT COLLATE "C" NOT NULL,
        body BYTEA NOT NULL)""",
    "CREATE INDEX kat_census_site ON kat_census (site, standing)",
    """CREATE TABLE kat_programs (
        digest TEXT COLLATE "C" PRIMARY KEY,
        id TEXT COLLATE "C" NOT NULL,
        version TEXT COLLATE "C" NOT NULL,
        main TEXT NOT NULL,
        files BYTEA NOT NULL)""",
    """CREATE TABLE kat_checkpoints (
        kept BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        position BIGINT NOT NULL,
        body BYTEA NOT NULL)""",
    # Element n of each array of a group belongs to the n-th stream, entry, item and so on.
    #
    # The lock is of this journal's own table: several may lie in the schemas of one database. It
    # is let go after the commit can be seen, and every statement of the function sees what can be
    # seen when it begins; so what is read after the lock stays true until the end.
    """CREATE FUNCTION kat_append(
        a_command TEXT, a_digest BYTEA, a_salt BYTEA, a_framed BYTEA,
        a_recorded BIGINT, a_person TEXT, a_role TEXT,
        a_streams TEXT[], a_expected BIGINT[], a_counts BIGINT[], a_salts BYTEA[],
        a_rows BYTEA[], a_wakes BIGINT[], a_from BIGINT[], a_through BIGINT[], a_names TEXT[],
        e_bodies BYTEA[], e_values BYTEA[], e_salts BYTEA[],
        g_streams TEXT[], g_items TEXT[],
        i_streams TEXT[], i_items TEXT[], i_roles TEXT[], i_leads BIGINT[], i_sites TEXT[],
        i_patients TEXT[], i_assigned TEXT[], i_sorts BIGINT[], i_bodies BYTEA[],
        c_streams TEXT[], c_sites TEXT[], c_standings TEXT[], c_bodies BYTEA[],
        OUT o_digest BYTEA, OUT o_salt BYTEA, OUT o_first BIGINT, OUT o_last BIGINT,
        OUT o_behind TEXT, OUT o_version BIGINT)
    LANGUAGE plpgsql AS $$
    DECLARE
        ends BYTEA[];
        prior BYTEA;
        reached BIGINT;
        entry INT := 0;
    BEGIN
        PERFORM pg_advisory_xact_lock(7037300, 'kat_entries'::regclass::oid::int);
        SELECT digest, salt, first, last INTO o_digest, o_salt, o_first, o_last
            FROM kat_commands WHERE command = a_command;
        IF FOUND THEN
            RETURN;
        END IF;
        FOR n IN 1 .. cardinality(a_streams) LOOP
            SELECT version, link INTO reached, prior FROM kat_streams WHERE stream = a_streams[n];
            IF coalesce(reached, 0) <> a_expected[n] THEN
                o_behind := a_streams[n];
                o_version := coalesce(reached, 0);
                RETURN;
            END IF;
            ends[n] := coalesce(
                prior, sha256('kat'::bytea || a_salts[n] || convert_to(a_streams[n], 'UTF8')));
        END LOOP;

        SELECT coalesce(max(position), 0) + 1 INTO o_first FROM kat_entries;
        o_last := o_first - 1 + cardinality(e_bodies);
        INSERT INTO kat_commands VALUES (a_command, a_digest, a_salt, o_first, o_last);
        FOR n IN 1 .. cardinality(a_streams) LOOP
            CONTINUE WHEN a_counts[n] = 0 AND a_rows[n] IS NULL;
            prior := ends[n];
            reached := a_expected[n];
            FOR _ IN 1 .. a_counts[n] LOOP
                entry := entry + 1;
                reached := reached + 1;
                prior := sha256(
                    prior || convert_to('[' || reached, 'UTF8') || a_framed
                    || CASE WHEN e_values[entry] = '' THEN ''::bytea ELSE convert_to(
                        encode(sha256(e_salts[entry] || e_values[entry]), 'hex'), 'UTF8') END
                    || '",'::bytea || e_bodies[entry] || ']'::bytea);
                INSERT INTO kat_entries VALUES (
                    o_first - 1 + entry, a_streams[n], reached, a_recorded, a_command, a_person,
                    a_role, e_bodies[entry], e_values[entry], e_salts[entry], prior);
            END LOOP;
            IF a_expected[n] = 0 THEN
                INSERT INTO kat_streams
                    VALUES (a_streams[n], reached, prior, a_salts[n], a_rows[n], a_wakes[n]);
            ELSE
                UPDATE kat_streams
                    SET version = reached, link = prior, "row" = a_rows[n], wake = a_wakes[n]
                    WHERE stream = a_streams[n];
            END IF;
            IF a_through[n] > 0 THEN
                DELETE FROM kat_items WHERE stream = a_streams[n];
                DELETE FROM kat_census WHERE stream = a_streams[n];
            END IF;
        END LOOP;
        FOR n IN 1 .. cardinality(g_streams) LOOP
            DELETE FROM kat_items WHERE stream = g_streams[n] AND item = g_items[n];
        END LOOP;
        FOR n IN 1 .. cardinality(i_streams) LOOP
            INSERT INTO kat_items VALUES (
                i_streams[n], i_items[n], i_roles[n], i_leads[n] = 1, i_sites[n], i_patients[n],
                i_assigned[n], i_sorts[n], i_bodies[n]);
        END LOOP;
        FOR n IN 1 .. cardinality(c_streams) LOOP
            INSERT INTO kat_census VALUES (c_streams[n], c_sites[n], c_standings[n], c_bodies[n])
                ON CONFLICT (stream) DO UPDATE
                SET site = excluded.site, standing = excluded.standing, body = excluded.body;
        END LOOP;
        FOR n IN 1 .. cardinality(a_streams) LOOP
            CONTINUE WHEN a_through[n] = 0;
            UPDATE kat_commands SET salt = sha256(salt) WHERE length(salt) = 16 AND command IN (
                SELECT cause FROM kat_entries
                WHERE stream = a_streams[n] AND version BETWEEN a_from[n] AND a_through[n]);
            UPDATE kat_entries SET salt = sha256(salt || "values"), "values" = ''
                WHERE stream = a_streams[n] AND version BETWEEN a_from[n] AND a_through[n]
                AND "values" <> '';
            CONTINUE WHEN a_names[n] = '';
            UPDATE kat_entries SET stream = a_names[n] WHERE stream = a_streams[n];
            UPDATE kat_streams SET stream = a_names[n],
                salt = CASE WHEN length(salt) = 16
                    THEN sha256('kat'::bytea || salt || convert_to(stream, 'UTF8'))
                    ELSE salt END
                WHERE stream = a_streams[n];
        END LOOP;
    END $$""",
)

_LOCK = "SELECT pg_advisory_xact_lock(7037300, 'kat_entries'::regclass::oid::int)"
"""The lock that every append holds until its commit can be seen."""
_SCRUB = "VACUUM (FULL) kat_entries, kat_commands, kat_streams, kat_items, kat_census"

_APPEND = f"SELECT * FROM kat_append({', '.join(['%b'] * 34)})"  # noqa: S608  # our own text
_TABLES = (
    "kat_entries", "kat_commands", "kat_streams", "kat_items", "kat_census", "kat_programs",
    "kat_checkpoints",
)  # fmt: skip
_SELECT_ANY = "SELECT 1 FROM kat_commands UNION ALL SELECT 1 FROM kat_entries LIMIT 1"
_KEEP_CHECKPOINT = "INSERT INTO kat_checkpoints (position, body) VALUES (%b, %b)"
_TAKE_COMMAND = "INSERT INTO kat_commands VALUES (%b, %b, %b, %b, %b)"
_TAKE_ENTRY = "INSERT INTO kat_entries VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)"
_TAKE_STREAM = "INSERT INTO kat_streams VALUES (%b, %b, %b, %b, %b, %b)"
_TAKE_ITEM = "INSERT INTO kat_items VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b)"
_TAKE_CENSUS = "INSERT INTO kat_census VALUES (%b, %b, %b, %b)"
_KEEP_PROGRAM = "INSERT INTO kat_programs VALUES (%b, %b, %b, %b, %b) ON CONFLICT DO NOTHING"

_SESSION = {
    # What the other end of a cut line held is let go after seconds, not after hours.
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "kat-workflow",
}
"""How a session is opened, where the URL does not say otherwise."""

_SETTINGS = """SELECT set_config('lock_timeout', %s, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
    set_config('tcp_keepalives_idle', '5', false),
    set_config('tcp_keepalives_interval', '2', false),
    set_config('tcp_keepalives_count', '3', false),
    set_config('tcp_user_timeout', '10000', false)"""

_PAUSE = 0.1
"""Seconds between two looks for a server that is lost."""

_AGAIN = ("40001", "40P01")
"""Somebody else's transaction stood in the way: ours has done nothing and may begin again."""

_CONTRADICTS = "the tables contradict themselves; keep them and restore the last backup"
_DAMAGED = "the database is damaged; keep it and restore the last backup"
_WAYS_OUT = {
    "22021": "a text in it holds a NUL character, which PostgreSQL cannot keep; leave it out",
    "23505": _CONTRADICTS,
    "23502": _CONTRADICTS,
    "25006": "this server takes no writes; name the primary, or end its recovery",
    "25P02": "the host's transaction has failed; roll it back and begin again",
    "42501": "give this account the right to use the tables of the journal",
    "42P01": "its tables are gone; name the database and schema of the journal",
    "42883": "its functions are gone; keep the tables and restore the last backup",
    "53100": "the disk is full; make room and send the command again",
    "53200": "the server is out of memory; see its log before trying again",
    "55P03": "another transaction holds it; end that one and try again",
    "57014": "the server's time limit was reached, or somebody cancelled it; try again",
    "58030": "the disk failed; see the server's log before trying again",
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}

_IDLE = pq.TransactionStatus.IDLE

_Answer = TypeVar("_Answer")
_Element = TypeVar("_Element")

_encode = msgspec.json.Encoder(order="deterministic").encode


class PostgresJournal(SqlJournal):
    """A `Journal` in the database at a URL, or in that of a host's own `connection`.

    `patience` is how many seconds to wait for a transaction that writes, for one of the
    `connections` of this journal that is free, and for a server that is lost. Threads share the
    journal; a process that was forked opens its own. The tables lie in the first schema of the
    search path, which a URL may set (`?options=-csearch_path%3Dname`).
    """

    KEPT = "kept"

    def __init__(
        self,
        url: str | None = None,
        *,
        connection: Connection | None = None,
        patience: float = 10.0,
        connections: int = 8,
    ) -> None:
        self._process = os.getpid()
        self._patience = patience
        self._lock = RLock()
        self._hosted = connection
        self._closed = False
        self._sessions: LifoQueue[Rows | None] = LifoQueue()
        if connection is not None and url is None:
            self._name = "the host's database"
            self._cursor = _cursor(connection)
        elif url is not None and connection is None:
            self._conninfo, self._name = _named(url)
            for session in (*[None] * (connections - 1), self._opened()):
                self._sessions.put(session)
        else:
            raise ValueError("a journal is opened by a URL or by a connection, one of them")
        try:
            found = self._carry_out("open", _schema)
            if found is None:
                found = self._carry_out("create", _create, whole=True)
            if found != SCHEMA_VERSION:
                newer = found > SCHEMA_VERSION
                raise JournalError(
                    f"{self._name} is a journal of schema {found}, this release reads"
                    f" {SCHEMA_VERSION}; open it with "
                    + ("a newer release" if newer else "the release that wrote it")
                )
        except BaseException:
            self.close()
            raise

    @property
    def joined(self) -> bool:
        """Whether an append now would join a transaction that the host has open."""
        return self._hosted is not None and _status(self._hosted) != _IDLE

    def append(
        self,
        appends: Sequence[Append],
        *,
        command: str,
        digest: str,
        recorded: datetime,
        person: str,
        role: str,
    ) -> Receipt:
        """See `Journal.append`; in a transaction of the host, durable when the host commits."""
        ordered = in_order(appends, recorded)
        salt = os.urandom(SALT)
        values = _values(ordered, command, digest, salt, recorded, person, role)

        def write(rows: Rows) -> Receipt:
            found = rows.execute(_APPEND, values, prepare=True).fetchone()
            assert found is not None
            held, written, first, last, behind, version = found
            if behind is not None:
                expected = next(a.expected for a in ordered if a.stream == behind)
                raise Conflict(f"{shown(behind)} is at version {version}, not {expected}")
            # A command that is known by our own salt is this one, whose answer was lost.
            if held is not None and written != salt:
                return _known(rows, Written(command, held, written, first, last), digest)
            return Receipt(command, first, last, tuple(sorted(versions)))

        versions = [(a.rename or a.stream, a.expected + len(a.bodies)) for a in ordered if a.bodies]
        return self._carry_out("append", write)

    def receipt(self, command: str, digest: str) -> Receipt | None:
        """See `Journal.receipt`."""

        def look(rows: Rows) -> Receipt | None:
            query = SELECT_COMMANDS + " WHERE command = %b"
            found = rows.execute(query, (command,), prepare=True).fetchone()
            return None if found is None else _known(rows, Written(*found), digest)

        return self._carry_out("read", look)

    def written_by(self, causes: Iterable[str]) -> list[Written]:
        """See `Journal.written_by`."""
        found = self._select(f"{SELECT_COMMANDS} WHERE command = ANY(?)", (_Texts(set(causes)),))
        return [Written(*row) for row in found]

    def keep_checkpoint(self, position: int, body: bytes) -> None:
        """See `Journal.keep_checkpoint`."""
        row = position, body
        self._carry_out("keep a checkpoint", lambda rows: rows.execute(_KEEP_CHECKPOINT, row))

    def scrub(self) -> bool:
        """See `Journal.scrub`; nobody can use the journal while its tables are written anew.

        The server's log of writes, its replicas and its backups are the operator's.
        """
        if self.joined:
            return False
        self._carry_out("scrub", lambda rows: rows.execute(_SCRUB))
        return True

    @contextmanager
    def snapshot(self) -> Iterator[Journal]:
        """See `Journal.snapshot`; by a session of its own, while others write."""
        if self._hosted is not None:  # what the host has not committed is nobody else's to see
            raise JournalError(f"{self._name}: take a snapshot by the URL, not of a connection")
        connection = self._opened().connection
        try:
            connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Its first look, for the schema, holds the instant.
            yield PostgresJournal(connection=connection)
        finally:
            connection.close()

    def load(self, records: Iterable[Record], check: Callable[[Journal], None]) -> None:
        """See `Journal.load`."""
        begun = False

        def write(rows: Rows) -> None:
            nonlocal begun
            if begun:  # the records that were read are gone with the session that was lost
                raise JournalError(f"{self._name}: the server was lost; take the records in again")
            begun = True
            rows.execute(_LOCK)
            if rows.execute(_SELECT_ANY).fetchone():
                raise not_empty(self._name)
            for taken in _batches(records):
                for statement, values in taken.items():
                    rows.executemany(statement, values)
            check(PostgresJournal(connection=rows.connection))

        self._carry_out("take in records", write, whole=True)

    def faults(self) -> list[str]:
        """See `Journal.faults`; the server checks its pages itself, when they are read."""
        return []

    def size(self) -> int:
        """See `Journal.size`."""
        ((size,),) = self._select(
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(?) AS name",
            (_Texts(_TABLES),),
        )
        return int(size)

    def keep_program(
        self,
        digest: str,
        id: str,  # noqa: A002
        version: str,
        main: str,
        files: Mapping[str, str],
    ) -> None:
        """See `Journal.keep_program`."""
        row = digest, id, version, main, _encode(dict(files))
        self._carry_out("keep a program", lambda rows: rows.execute(_KEEP_PROGRAM, row))

    def close(self) -> None:
        """See `Journal.close`; a host's connection stays open."""
        self._closed = True
        if self._process == os.getpid():
            self._empty()

    # Reading and writing

    def _select(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        query = statement.replace("?", "%b")
        return self._carry_out(
            "read", lambda rows: rows.execute(query, values, prepare=True).fetchall()
        )

    def _page(self, given: tuple[str, ...], values: list[object], later: bool, rows: int) -> Any:
        return self._select(_worklist(given, later, rows), values)

    def _carry_out(
        self, what: str, work: Callable[[Rows], _Answer], whole: bool = False
    ) -> _Answer:
        """What `work` answers; nothing of it stays if it fails.

        It is one statement that commits by itself, or the `whole` of it is one transaction; a
        host's connection gets a savepoint or a transaction. On a session of ours it is carried
        out again after it met another one, or lost the server.
        """
        if self._process != os.getpid():
            raise JournalError(f"{self._name} was opened before a fork; open it again here")
        if self._closed:
            raise JournalError(f"{self._name} is closed; open it again")
        if self._hosted is not None:
            return self._joined(what, work, self._hosted)
        until = 0.0
        while True:
            rows = self._taken(what)
            try:
                if rows is None:
                    rows = self._opened()
                if whole:
                    with rows.connection.transaction():
                        return work(rows)
                return work(rows)
            except psycopg.Error as error:
                failure = self._ours(error, what)
                assert rows is not None
                lost = rows.connection.closed
                again = lost or error.sqlstate in _AGAIN
            except _Lost as error:
                failure, lost, again = error, True, True
            finally:
                self._given_back(rows)
            if lost:
                self._empty()  # the others were lost with it
            now = time.monotonic()
            until = until or now + self._patience
            if not again or now >= until:
                raise failure
            if lost:
                time.sleep(min(_PAUSE, until - now))

    def _joined(
        self, what: str, work: Callable[[Rows], _Answer], connection: Connection
    ) -> _Answer:
        """As `_carry_out`, in the host's transaction or in one of our own."""
        with self._lock:
            try:
                with connection.transaction():
                    return work(self._cursor)
            except psycopg.Error as error:
                failure = self._ours(error, what)
                if error.sqlstate in _AGAIN or (error.sqlstate == "23505" and self._frozen()):
                    failure = Conflict(
                        f"{self._name}: somebody wrote since the host's transaction began;"
                        " roll it back and begin again"
                    )
        raise failure

    def _frozen(self) -> bool:
        """Whether the host's transaction sees only what there was when it began."""
        assert self._hosted is not None
        with self._hosted.transaction():
            found = self._cursor.execute("SHOW transaction_isolation").fetchone()
        return found != ("read committed",)

    def _ours(self, error: psycopg.Error, what: str) -> KatError:
        """An error of the driver as one of ours: what could not be done, and a way out.

        Its own text is left out: it quotes what was written.
        """
        kind = error.sqlstate or type(error).__name__
        way = _WAYS_OUT.get(kind, "")
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            way = "the server was lost; what was sent may be sent again, it is written once"
        return JournalError(f"{self._name}: cannot {what} ({kind})" + (f"; {way}" if way else ""))

    # Sessions

    def _taken(self, what: str) -> Rows | None:
        """The session that was used last of those that are free; None: one may be opened."""
        try:
            return self._sessions.get(timeout=self._patience)
        except Empty:
            raise JournalError(
                f"{self._name}: cannot {what}; all connections of this journal were busy for"
                f" {self._patience:g} s; open it with more `connections`"
            ) from None

    def _given_back(self, rows: Rows | None) -> None:
        # One that was interrupted may not be idle: what it had begun is undone with it.
        if rows is not None and (self._closed or _status(rows.connection) != _IDLE):
            rows.connection.close()
            rows = None
        self._sessions.put(rows)

    def _empty(self) -> None:
        """Close the sessions that are free; others will be opened in their places."""
        free = []
        with suppress(Empty):
            while True:
                free.append(self._sessions.get_nowait())
        for rows in free:
            if rows is not None:
                rows.connection.close()
            self._sessions.put(None)

    def _opened(self) -> Rows:
        """A new session, whose commits are durable when they return. Raises JournalError."""
        failure: JournalError
        connection = None
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True)
            rows = _cursor(connection)
            rows.execute(_SETTINGS, (f"{max(1, round(self._patience * 1000))}ms",))
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            # Nothing has been written yet that its text could quote.
            told = " ".join(str(error).split())
            failure = _Lost(
                f"{self._name}: cannot connect: {told}; see that the server runs, that the URL"
                " names it, and that it takes this account"
            )
        else:
            if connection.info.parameter_status("server_encoding") == "UTF8":
                return rows
            connection.close()
            failure = JournalError(
                f"{self._name} cannot keep every text; make the database with ENCODING 'UTF8'"
            )
        raise failure


class _Lost(JournalError):
    """No session could be opened."""


def _named(url: str) -> tuple[str, str]:
    """How to connect, and what to call the database in errors: never with its password."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        given = None
    if given is None:
        raise JournalError(
            "the URL of the journal cannot be read; write postgresql://account@host:port/database"
        )
    where = given.get("host") or given.get("hostaddr") or "this machine"
    name = f"{given.get('dbname') or given.get('user') or 'the database'} at {where}"
    return make_conninfo(url, **{k: v for k, v in _SESSION.items() if k not in given}), name


def _status(connection: Connection) -> pq.TransactionStatus:
    return connection.info.transaction_status


def _schema(rows: Rows) -> int | None:
    # Not to_regclass: it may remember for a while that a table was not there.
    found = rows.execute(
        """SELECT FROM pg_tables
        WHERE tablename = 'kat_schema' AND schemaname = ANY(current_schemas(false))"""
    ).fetchone()
    if found is None:
        return None
    (version,) = rows.execute("SELECT version FROM kat_schema").fetchone() or (0,)
    return int(version)


def _create(rows: Rows) -> int:
    """Make the tables, unless somebody was faster; the schema that is there then."""
    rows.execute("SELECT pg_advisory_xact_lock(7037300, 0)")
    found = _schema(rows)
    if found is not None:
        return found
    for statement in SCHEMA:
        rows.execute(statement)
    return SCHEMA_VERSION


def _values(
    appends: Sequence[Append],
    command: str,
    digest: str,
    salt: bytes,
    recorded: datetime,
    person: str,
    role: str,
) -> tuple[object, ...]:
    """What `kat_append` is called with."""
    streams: list[tuple[object, ...]] = []
    entries: list[tuple[object, ...]] = []
    gone: list[tuple[object, ...]] = []
    items: list[tuple[object, ...]] = []
    census: list[tuple[object, ...]] = []
    for append in appends:
        stream, expected, bodies = append.stream, append.expected, append.bodies
        origin = b"" if expected else os.urandom(SALT)
        wake = None if append.wake is None else micros(append.wake)
        erased = append.erase_from, append.erase_through, append.rename
        streams.append((stream, expected, len(bodies), origin, append.row, wake, *erased))
        for number, body in enumerate(bodies):
            told = append.values[number] if append.values else b""
            entries.append((body, told, os.urandom(SALT) if told else b""))
        for name in append.items_gone:
            gone.append((stream, name))
        for item in append.items:
            gone.append((stream, item.item))
            sort, body, lead = micros(item.sort), _encode(item), 1
            for one in dict.fromkeys(item.roles) or ("",):
                key = stream, item.item, one, lead
                items.append((*key, item.site, item.patient, item.assigned, sort, body))
                lead = 0
        if append.census is not None:
            seen = append.census
            census.append((stream, seen.site, seen.standing, _encode(seen)))
    at = micros(recorded)
    held = commitment(salt, digest.encode())
    return (
        command,
        held,
        salt,
        frame(at, command, sealed(salt, held), person, role),
        at,
        person,
        role,
        *_columns(
            streams,
            _Texts,
            _Numbers,
            _Numbers,
            _Blobs,
            _Blobs,
            _Numbers,
            _Numbers,
            _Numbers,
            _Texts,
        ),
        *_columns(entries, _Blobs, _Blobs, _Blobs),
        *_columns(gone, _Texts, _Texts),
        *_columns(
            items, _Texts, _Texts, _Texts, _Numbers, _Texts, _Texts, _Texts, _Numbers, _Blobs
        ),
        *_columns(census, _Texts, _Texts, _Texts, _Blobs),
    )


def _columns(table: list[tuple[object, ...]], *kinds: type[_Array[Any]]) -> list[_Array[Any]]:
    """The columns of rows, each as the array that it is sent as."""
    columns = zip(*table, strict=True) if table else [()] * len(kinds)
    return [kind(column) for kind, column in zip(kinds, columns, strict=True)]


def _batches(records: Iterable[Record]) -> Iterator[dict[str, list[tuple[object, ...]]]]:
    """Statements, each with the rows to write by it: some hundred records at a time."""
    rest = iter(records)
    while records_ := list(islice(rest, 500)):
        taken: dict[str, list[tuple[object, ...]]] = {}
        for record in records_:
            for statement, values in _taken_in(record):
                taken.setdefault(statement, []).append(values)
        yield taken


def _taken_in(record: Record) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What writes one record of another journal as it is."""
    match record:
        case Entry():
            head = record.position, record.stream, record.version, micros(record.recorded)
            yield _TAKE_ENTRY, (*head, *astuple(record)[len(head) :])
        case KeptProgram(digest, name, version, main, files):
            yield _KEEP_PROGRAM, (digest, name, version, main, _encode(files))
        case Written():
            yield _TAKE_COMMAND, astuple(record)
        case Standing(Chain(stream, version, end, salt), row, wake, items, census):
            at = None if wake is None else micros(wake)
            yield _TAKE_STREAM, (stream, version, end, salt, row, at)
            for item in items:
                about = item.site, item.patient, item.assigned, micros(item.sort), _encode(item)
                for number, role in enumerate(dict.fromkeys(item.roles) or ("",)):
                    yield _TAKE_ITEM, (stream, item.item, role, number == 0, *about)
            if census is not None:
                yield _TAKE_CENSUS, (stream, census.site, census.standing, _encode(census))
        case KeptCheckpoint():
            yield _KEEP_CHECKPOINT, astuple(record)


def _known(rows: Rows, known: Written, digest: str) -> Receipt:
    """The receipt of a command that was written before."""
    if known.digest != commitment(known.salt, digest.encode()):
        raise reused(known.command, erased=len(known.salt) > SALT)
    reached = rows.execute(
        """SELECT stream, max(version) FROM kat_entries WHERE position BETWEEN %b AND %b
        GROUP BY stream ORDER BY stream""",
        (known.first, known.last),
        prepare=True,
    ).fetchall()
    return Receipt(known.command, known.first, known.last, tuple(reached), again=True)


@lru_cache(maxsize=64)
def _worklist(given: tuple[str, ...], later: bool, rows: int) -> str:
    # How many rows stands in the text. Were it a value, the server would take a tenth of the list
    # for it, find any plan of the moment cheaper than one for good, and plan for each question.
    terms = [f"{name} = ?" for name in given]
    if "role" not in given:
        terms.append("lead")
    if later:
        terms.append("(sort, stream, item) > (?, ?, ?)")
    return (
        f"SELECT body FROM kat_items WHERE {' AND '.join(terms)}"  # noqa: S608  # our own names
        f" ORDER BY sort, stream, item LIMIT {int(rows)}"
    )


# What the driver is told of our values


def _oids(name: str) -> tuple[int, int]:
    """The numbers of a type's arrays and of the type."""
    kind = psycopg.adapters.types[name]
    return kind.array_oid, kind.oid


class _Array(list[_Element]):
    """An array of one dimension, sent as PostgreSQL keeps it.

    The driver's own way with lists finds out for each element what it is, which costs more than
    the rest of an append on this side.
    """


class _Texts(_Array[str]):
    pass


class _Numbers(_Array[int | None]):
    pass


class _Blobs(_Array[bytes | None]):
    pass


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY
    element: ClassVar[int]

    @abstractmethod
    def binary(self, each: Any) -> bytes:
        """An element as PostgreSQL keeps it."""

    def dump(self, obj: _Array[Any]) -> bytes:
        if not obj:
            return pack("!iiI", 0, 0, self.element)
        parts = [pack("!iiIii", 1, 1, self.element, len(obj), 1)]
        for each in obj:
            if each is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                data = self.binary(each)
                parts += pack("!i", len(data)), data
        return b"".join(parts)


class _TextsDumper(_ArrayDumper):
    oid, element = _oids("text")

    def binary(self, each: str) -> bytes:
        return each.encode()


class _NumbersDumper(_ArrayDumper):
    oid, element = _oids("int8")

    def binary(self, each: int) -> bytes:
        return each.to_bytes(8, signed=True)


class _BlobsDumper(_ArrayDumper):
    oid, element = _oids("bytea")

    def binary(self, each: bytes) -> bytes:
        return each


def _cursor(connection: Connection) -> Rows:
    """A cursor that takes and gives values as the journal writes them; a host's may differ."""
    rows = connection.cursor(binary=True, row_factory=tuple_row)
    for kind, dumper in (
        (int, Int8BinaryDumper),
        (_Texts, _TextsDumper),
        (_Numbers, _NumbersDumper),
        (_Blobs, _BlobsDumper),
    ):
        rows.adapters.register_dumper(kind, dumper)
    return rows
