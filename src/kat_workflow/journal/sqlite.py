"""The journal in one SQLite file: for one clinic, any number of threads and processes.

SQLite lets one transaction write at a time, and a position is taken only inside it. So positions
are given in commit order, and a reader that has seen position n will never see a smaller one
appear: `follow` needs no more than that. Every append is in a transaction that was forced to the
disk before it returns (write-ahead log, `synchronous=FULL`); a lost process or a power cut leaves
whole commands only. What several threads append while one of them waits for the disk is one
transaction, written by few statements; each command has its own outcome.

Entries stand in columns that plain SQL can read. Of item and census rows only what is searched
by is a column; the row itself is JSON, so that it may grow without a new schema.

A host that keeps tables of its own in the same file hands in its connection. Inside a transaction
of the host an append becomes durable, or is undone, with the host's own writes. A Conflict or a
refusal leaves those alone; where SQLite fails in the midst of a command, as on a full disk, the
host's transaction is undone as a whole, and the error says so. Durability is then as the host has
set up its connection, and nothing is written together.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from random import uniform
from threading import Lock, RLock
from time import monotonic, sleep
from typing import Any, TypeVar

import msgspec
from msgspec.structs import astuple

from kat_workflow.errors import Conflict, JournalError, KatError, Refused
from kat_workflow.journal import (
    Append,
    Chain,
    Entry,
    ItemRow,
    Journal,
    KeptProgram,
    Receipt,
    Written,
    in_order,
    micros,
    reused,
    shown,
)
from kat_workflow.journal.chain import SALT, commitment, frame, genesis, hidden, link, sealed
from kat_workflow.journal.records import (
    KeptCheckpoint,
    Record,
    Standing,
    damaged,
    not_empty,
)
from kat_workflow.journal.sql import SELECT_COMMANDS, SqlJournal

__all__ = ["SCHEMA", "SCHEMA_VERSION", "SqliteJournal"]

SCHEMA_VERSION = 2
"""Kept in a table, because `PRAGMA user_version` belongs to a host that shares the file."""

SCHEMA = (
    "CREATE TABLE kat_schema (version INTEGER NOT NULL)",
    f"INSERT INTO kat_schema VALUES ({SCHEMA_VERSION:d})",  # noqa: S608  # our own number
    """CREATE TABLE kat_entries (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        recorded INTEGER NOT NULL,
        cause TEXT NOT NULL,
        person TEXT NOT NULL,
        role TEXT NOT NULL,
        body BLOB NOT NULL,
        "values" BLOB NOT NULL,
        salt BLOB NOT NULL,
        link BLOB NOT NULL,
        UNIQUE (stream, version))""",
    """CREATE TABLE kat_commands (
        command TEXT PRIMARY KEY,
        digest BLOB NOT NULL,
        salt BLOB NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE kat_streams (
        stream TEXT PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL,
        link BLOB NOT NULL,
        salt BLOB NOT NULL,
        row BLOB,
        wake INTEGER)""",
    "CREATE INDEX kat_wakes ON kat_streams (wake, stream) WHERE wake IS NOT NULL",
    # One row per role, so that the list of one role at one site is one stretch of one index.
    # `lead` marks one of them, by which the item is found when no role is asked for.
    """CREATE TABLE kat_items (
        stream TEXT NOT NULL,
        item TEXT NOT NULL,
        role TEXT NOT NULL,
        lead INTEGER NOT NULL,
        site TEXT NOT NULL,
        patient TEXT NOT NULL,
        assigned TEXT NOT NULL,
        sort INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (stream, item, role)) WITHOUT ROWID""",
    "CREATE INDEX kat_items_role ON kat_items (site, role, sort, stream, item)",
    "CREATE INDEX kat_items_site ON kat_items (site, sort, stream, item) WHERE lead = 1",
    "CREATE INDEX kat_items_patient ON kat_items (patient)",
    """CREATE TABLE kat_census (
        stream TEXT PRIMARY KEY NOT NULL,
        site TEXT NOT NULL,
        standing TEXT NOT NULL,
        body BLOB NOT NULL)""",
    "CREATE INDEX kat_census_site ON kat_census (site, standing)",
    """CREATE TABLE kat_programs (
        digest TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        version TEXT NOT NULL,
        main TEXT NOT NULL,
        files BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE kat_checkpoints (position INTEGER NOT NULL, body BLOB NOT NULL)",
)

_INSERT_ENTRY = "INSERT INTO kat_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_ITEM = "INSERT INTO kat_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE_ITEM = "DELETE FROM kat_items WHERE stream = ? AND item = ?"
_INSERT_STREAM = "INSERT INTO kat_streams VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE_STREAM = """UPDATE kat_streams SET version = ?, link = ?, row = ?, wake = ?
    WHERE stream = ?"""
_SELECT_ENDS = """SELECT NULL, max(position), NULL FROM kat_entries UNION ALL
    SELECT stream, version, link FROM kat_streams WHERE stream IN"""
_AMONG = " WHERE command IN (SELECT value FROM json_each(?))"
_SELECT_NAMES = "SELECT command FROM kat_commands WHERE command IN"
_SELECT_COMMAND = SELECT_COMMANDS + " WHERE command = ?"
_INSERT_COMMAND = "INSERT INTO kat_commands VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SELECT_CAUSES = """SELECT salt, command FROM kat_commands WHERE command IN
    (SELECT cause FROM kat_entries WHERE stream = ? AND version BETWEEN ? AND ?)"""
_FORGET_COMMAND = "UPDATE kat_commands SET salt = ? WHERE command = ?"
_SELECT_VALUES = """SELECT salt, "values", position FROM kat_entries
    WHERE stream = ? AND version BETWEEN ? AND ? AND "values" <> x''"""
_ERASE_VALUES = """UPDATE kat_entries SET "values" = x'', salt = ? WHERE position = ?"""
_ERASE_ROWS = (
    "DELETE FROM kat_items WHERE stream = ?",
    "DELETE FROM kat_census WHERE stream = ?",
)
_SELECT_ANY = "SELECT 1 FROM kat_commands UNION ALL SELECT 1 FROM kat_entries LIMIT 1"
_SELECT_SALT = "SELECT salt FROM kat_streams WHERE stream = ?"
_RENAME = (
    "UPDATE kat_entries SET stream = ? WHERE stream = ?",
    "UPDATE kat_streams SET stream = ?, salt = ? WHERE stream = ?",
)
_KEEP_CHECKPOINT = "INSERT INTO kat_checkpoints VALUES (?, ?)"
_KEEP_PROGRAM = "INSERT INTO kat_programs VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_UPSERT_CENSUS = "INSERT OR REPLACE INTO kat_census VALUES (?, ?, ?, ?)"

_NEW = (0, b"")
"""Where a stream ends that is not there."""

_ASKED = 512
"""As many keys are asked for at once; a power of two, below what any SQLite takes."""

_Answer = TypeVar("_Answer")

_encode = msgspec.json.Encoder(order="deterministic").encode

_WAYS_OUT = {
    sqlite3.SQLITE_BUSY: "another process holds it; end that one's transaction and try again",
    sqlite3.SQLITE_LOCKED: "another connection holds it; end that one's transaction and try again",
    sqlite3.SQLITE_READONLY: "give this account leave to write to the file and its directory",
    sqlite3.SQLITE_IOERR: "the disk failed; see the system's log before trying again",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; keep it and restore the last backup",
    sqlite3.SQLITE_FULL: "the disk is full; make room and send the command again",
    sqlite3.SQLITE_CANTOPEN: "see that its directory is there and may be written to",
    sqlite3.SQLITE_NOTADB: "it is some other file; name a journal or a new file",
    sqlite3.SQLITE_CONSTRAINT: "the file contradicts itself; keep it and restore the last backup",
}

_FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What a failure of SQLite is raised as; the second where it names damaged text that is none."""


class _Turn:
    """What a thread wants written while another writes, and what came of it.

    It is `called` when it was written, or when it `leads`: then it is its own thread's to write.
    Either way its thread has the `floor` then.
    """

    __slots__ = ("answer", "called", "error", "floor", "gone", "leads", "what", "write")

    def __init__(self, what: str, write: Callable[[sqlite3.Cursor], Any]) -> None:
        self.what = what
        self.write = write
        self.answer: Any = None
        self.error: Exception | None = None
        self.leads = self.gone = self.floor = False
        self.called = Lock()
        self.called.acquire()

    def outcome(self) -> Any:
        """What the write answered, or its error."""
        if self.error is not None:
            raise self.error
        return self.answer


class SqliteJournal(SqlJournal):
    """A `Journal` in a SQLite file, or in the database of a host's own `connection`.

    `patience` is how many seconds to wait for another process that writes. Threads share the
    journal; a process that was forked opens its own.
    """

    KEPT = "rowid"

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        connection: sqlite3.Connection | None = None,
        patience: float = 10.0,
    ) -> None:
        self._lock = RLock()  # the connection
        self._door = Lock()  # the three below
        self._writing = False  # whether a thread has the floor; see `_hand_on`
        self._line: deque[_Turn] = deque()
        self._to_tell: deque[_Turn] = deque()  # what was written, its threads not called yet
        self._patience = patience
        self._process = os.getpid()
        self._hosted = connection is not None
        if connection is not None and path is None:
            self._name = "the host's database"
            self._connection = connection
        elif path is not None and connection is None:
            self._name = os.fspath(path)
            self._connection = self._opened(patience)
        else:
            raise ValueError("a journal is opened by a path or by a connection, one of them")
        try:
            with self._doing("open"):
                if self._schema() is None:
                    self._create()
                found = self._schema()
            if found != SCHEMA_VERSION:
                newer = found is not None and found > SCHEMA_VERSION
                raise JournalError(
                    f"{self._name} is a journal of schema {found}, this release reads"
                    f" {SCHEMA_VERSION}; "
                    + ("open it with a newer release" if newer else "run kat journal migrate")
                )
        except BaseException:
            self.close()
            raise

    @property
    def joined(self) -> bool:
        """Whether an append now would join a transaction that the host has open."""
        return self._hosted and self._connection.in_transaction

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
        told = _Command(ordered, command, digest, recorded, person, role)
        return self._join(told) if self.joined else self._written("append", told)

    def receipt(self, command: str, digest: str) -> Receipt | None:
        """See `Journal.receipt`."""
        with self._doing("read") as cursor:
            return self._patiently(lambda: _known(cursor, command, digest))

    def written_by(self, causes: Iterable[str]) -> list[Written]:
        """See `Journal.written_by`."""
        asked = _encode(sorted(set(causes))).decode()
        found = self._select(SELECT_COMMANDS + _AMONG, (asked,))
        return [Written(*row) for row in found]

    def keep_checkpoint(self, position: int, body: bytes) -> None:
        """See `Journal.keep_checkpoint`."""
        row = position, body
        self._written("keep a checkpoint", lambda cursor: cursor.execute(_KEEP_CHECKPOINT, row))

    def scrub(self) -> bool:
        """See `Journal.scrub`; in a transaction of the host, it is asked again after its commit.

        What SQLite deletes it overwrites (`secure_delete`), and the log is emptied here. Whatever
        another program deleted from the file without that is overwritten by a `VACUUM` alone.
        """
        if self.joined:
            return False
        ((busy, _, _),) = self._select("PRAGMA wal_checkpoint(TRUNCATE)", ())
        return not busy

    @contextmanager
    def snapshot(self) -> Iterator[Journal]:
        """See `Journal.snapshot`; by a connection of its own, while others write."""
        if self._hosted:  # what the host has not committed yet is nobody else's to see
            raise JournalError(f"{self._name}: take a snapshot of the file, not of a connection")
        connection = self._opened(self._patience)
        try:
            connection.execute("BEGIN")
            with SqliteJournal(
                connection=connection
            ) as journal:  # its first look holds the instant
                yield journal
        finally:
            connection.close()

    def load(self, records: Iterable[Record], check: Callable[[Journal], None]) -> None:
        """See `Journal.load`."""

        def write(cursor: sqlite3.Cursor) -> None:
            if cursor.execute(_SELECT_ANY).fetchone():
                raise not_empty(self._name)
            for record in records:
                _take_in(cursor, record)
            check(self)

        self._written("take in records", write)

    def faults(self) -> list[str]:
        """See `Journal.faults`: what SQLite finds when it goes through every page and index."""
        found = [told for (told,) in self._select("PRAGMA integrity_check", ())]
        return [] if found == ["ok"] else found

    def size(self) -> int:
        """See `Journal.size`."""
        ((pages, each),) = self._select(
            "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size", ()
        )
        return int(pages) * int(each)

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """A copy of the whole file as it is at one instant, while others write."""
        with self._translated("copy"), closing(sqlite3.connect(os.fspath(path))) as target:
            with self._lock:
                self._connection.backup(target)
            # A copy is one file: it is moved about by itself.
            target.execute("PRAGMA journal_mode=DELETE")

    def keep_program(
        self,
        digest: str,
        id: str,  # noqa: A002
        version: str,
        main: str,
        files: Mapping[str, str],
    ) -> None:
        """See `Journal.keep_program`."""
        if self.program(digest) is not None:
            return
        row = digest, id, version, main, _encode(dict(files))
        self._written("keep a program", lambda cursor: cursor.execute(_KEEP_PROGRAM, row))

    def close(self) -> None:
        """See `Journal.close`; a host's connection stays open."""
        if not self._hosted and self._process == os.getpid():
            with self._lock, suppress(sqlite3.Error):
                self._connection.close()

    # Opening

    def _opened(self, patience: float) -> sqlite3.Connection:
        """A connection to the file, in the write-ahead mode that every journal is kept in."""
        if self._name in ("", ":memory:"):
            raise JournalError("a SQLite journal needs a file; use MemoryJournal without one")
        with self._translated("open"):
            connection = sqlite3.connect(
                self._name, timeout=patience, isolation_level=None, check_same_thread=False
            )
            try:
                self._write_ahead(connection, monotonic() + patience)
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA busy_timeout=0")  # see `_patiently`
                connection.execute("PRAGMA secure_delete=ON")
            except BaseException:
                connection.close()
                raise
        return connection

    def _write_ahead(self, connection: sqlite3.Connection, until: float) -> None:
        """Switch a new file to the write-ahead log; a file is switched once and stays so.

        Of several processes that switch the same new file one succeeds and the others are told
        "busy" without a wait. They wait for a lock instead, and look again.
        """
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or monotonic() > until:
                    raise
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            else:
                if mode != "wal":
                    raise JournalError(
                        f"{self._name}: its file system cannot keep a write-ahead log;"
                        " put the journal on a local disk"
                    )

    def _schema(self) -> int | None:
        found = self._select("SELECT 1 FROM sqlite_master WHERE name = 'kat_schema'", ())
        if not found:
            return None
        match self._select("SELECT version FROM kat_schema", ()):
            case [(int(version),)]:
                return version
        raise damaged("the number of the schema")

    def _create(self) -> None:
        def create(cursor: sqlite3.Cursor) -> None:
            if self._schema() is None:  # nobody was faster
                for statement in SCHEMA:
                    cursor.execute(statement)

        self._written("create", create)

    # Reading and writing

    def _select(self, statement: str, values: Sequence[object]) -> list[Any]:
        """Rows of a question; as `_doing`, but without what entering two contexts costs."""
        if self._process != os.getpid():
            raise self._forked()
        with self._lock:
            try:
                cursor = self._connection.cursor()
                cursor.row_factory = None
                return self._patiently(lambda: cursor.execute(statement, values).fetchall())
            except _FAILURES as error:
                raise self._ours(error, "read") from error

    def _page(self, given: tuple[str, ...], values: list[object], later: bool, rows: int) -> Any:
        return self._select(_worklist(given, later), (*values, rows))

    def _forked(self) -> JournalError:
        return JournalError(f"{self._name} was opened before a fork; open it again here")

    @contextmanager
    def _doing(self, what: str) -> Iterator[sqlite3.Cursor]:
        """A cursor for this thread alone, whose failures are the journal's."""
        if self._process != os.getpid():
            raise self._forked()
        with self._lock, self._translated(what):
            cursor = self._connection.cursor()
            cursor.row_factory = None  # a host may have set one of its own
            yield cursor

    def _written(self, what: str, write: Callable[[sqlite3.Cursor], _Answer]) -> _Answer:
        """What `write` answers, all of whose writes are durable then; nothing stays if it fails.

        It runs in a transaction, or in a savepoint within the host's. Who comes while
        another thread writes stands in line, and is written together with all others there by
        the one in front. The code of the usual case stands in one function, since after the wait
        for a disk every further one is dear to enter.
        """
        if self._process != os.getpid():
            raise self._forked()
        if self._hosted:
            return self._within(what, write)
        floor, turn = False, None
        try:
            with self._door:
                if self._writing:
                    turn = _Turn(what, write)
                    self._line.append(turn)
                else:
                    floor = self._writing = True
            if turn is not None:
                turn.called.acquire()
                floor = True
                if not turn.leads:  # another has written it
                    written: _Answer = turn.outcome()
                    return written
            with self._lock:
                try:
                    cursor = self._connection.cursor()
                    cursor.row_factory = None
                    self._patiently(lambda: cursor.execute("BEGIN IMMEDIATE"))
                    try:
                        if self._line:
                            turn = _Turn(what, write)
                            self._write_together(cursor, turn)
                            answer: _Answer = turn.outcome()
                        else:
                            answer = write(cursor)
                            cursor.execute("COMMIT")
                    except BaseException:
                        self._undo(cursor)
                        raise
                except _FAILURES as error:
                    raise self._ours(error, what) from error
            return answer
        except BaseException:
            if turn is not None and not floor:
                self._leave_line(turn)
            raise
        finally:
            if floor:
                self._hand_on()

    def _within(self, what: str, write: Callable[[sqlite3.Cursor], _Answer]) -> _Answer:
        """As `_written`, on a host's connection: the host commits, if it has begun."""
        with self._lock:
            try:
                cursor = self._connection.cursor()
                cursor.row_factory = None
                joined = self._connection.in_transaction
                cursor.execute("SAVEPOINT kat" if joined else "BEGIN IMMEDIATE")
                try:
                    answer = write(cursor)
                    cursor.execute("RELEASE kat" if joined else "COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        if self._connection.in_transaction:
                            if joined:
                                cursor.execute("ROLLBACK TO kat")
                            cursor.execute("RELEASE kat" if joined else "ROLLBACK")
                    raise
            except _FAILURES as error:
                raise self._ours(error, what) from error
        return answer

    def _join(self, command: _Command) -> Receipt:
        """Write a command in the transaction that the host has begun; never half of it stays.

        SQLite keeps a copy of each page that changes after a savepoint, which costs as much as
        the rows of a command. None is needed for Conflict and Refused, which are raised before
        anything is written. Where SQLite itself fails in the midst of a command, the host's
        transaction is undone.
        """
        if self._process != os.getpid():
            raise self._forked()
        with self._lock:
            before = self._connection.total_changes
            try:
                cursor = self._connection.cursor()
                cursor.row_factory = None
                try:
                    return command(cursor)
                except BaseException as error:
                    if self._connection.total_changes != before:
                        self._undo(cursor)
                        said = "the host's transaction was undone with it; begin it again"
                        if isinstance(error, _FAILURES):
                            ours = self._ours(error, "append")
                            raise JournalError(f"{ours}; {said}") from error
                    elif isinstance(error, _FAILURES):
                        # Where nothing can be written any more, one that is sent again is answered.
                        known = _known(cursor, command.command, command.digest)
                        if known is not None:
                            return known
                    raise
            except _FAILURES as error:
                raise self._ours(error, "append") from error

    def _undo(self, cursor: sqlite3.Cursor) -> None:
        """Roll back, unless SQLite has undone everything itself, as on a full disk."""
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")

    def _patiently(self, do: Callable[[], _Answer]) -> _Answer:
        """Do it when no other process is in the way.

        SQLite's own wait sleeps longer each time, up to a tenth of a second: of several processes
        that are busy it lets some wait for seconds. Short sleeps of chance lengths are fair.
        """
        began = 0.0
        while True:
            try:
                return do()
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or self._hosted:
                    raise
                waited = monotonic() - (began := began or monotonic())
                if waited > self._patience:
                    raise
                sleep(uniform(0, 0.0006 if waited < 1 else 0.01))  # noqa: S311  # no secret

    # Writing together: one transaction, and one wait for the disk, for all that stand in line

    def _leave_line(self, turn: _Turn) -> None:
        """Nobody waits for this turn any more; whoever is interrupted holds up nobody behind."""
        with self._door:
            turn.gone = True
            if turn in self._line:
                self._line.remove(turn)
        if turn.floor:
            self._hand_on()

    def _write_together(self, cursor: sqlite3.Cursor, own: _Turn) -> None:
        """Write this turn and all that stand in line, in the transaction that has begun.

        Nobody is told anything before the commit; if that fails, it fails for all. Conflict and
        Refused are raised before anything is written. What else one of them raises undoes that
        one alone: then all is written again, each in a savepoint. Always to have savepoints would
        cost more than writing together saves.
        """
        with self._door:
            others = list(self._line)
            self._line.clear()
        turns = (own, *others)
        try:
            try:
                _write_all(cursor, turns)
                cursor.execute("COMMIT")
            except Exception:
                self._undo(cursor)
                self._patiently(lambda: cursor.execute("BEGIN IMMEDIATE"))
                for turn in turns:
                    self._write_apart(cursor, turn)
                cursor.execute("COMMIT")
        except Exception as error:
            self._undo(cursor)
            for turn in turns:
                turn.error = error
        except BaseException:  # this thread is interrupted, and another must write the others
            with self._door:
                self._line.extendleft(turn for turn in reversed(others) if not turn.gone)
            raise
        for turn in turns:
            if isinstance(turn.error, _FAILURES):
                cause, turn.error = turn.error, self._ours(turn.error, turn.what)
                turn.error.__cause__ = cause
        self._to_tell.extend(others)

    def _write_apart(self, cursor: sqlite3.Cursor, turn: _Turn) -> None:
        """Write a turn so that what it raises leaves the others' writes alone."""
        turn.error = None
        cursor.execute("SAVEPOINT kat")
        try:
            turn.answer = turn.write(cursor)
        except Exception as error:
            if not self._connection.in_transaction:
                raise
            cursor.execute("ROLLBACK TO kat")
            turn.error = error
        cursor.execute("RELEASE kat")

    def _hand_on(self) -> None:
        """Hand the floor on: to the next of those who were written for, each of whom hands it on
        in turn, and after the last of them to the next in line, who writes.

        Called at once, all would wake at once, only to wait for Python's lock and be woken again,
        one by one; and many would not be back in line yet when the next one writes.
        """
        with self._door:
            while self._to_tell:
                turn = self._to_tell.popleft()
                if not turn.gone:
                    break
            else:
                self._writing = bool(self._line)
                if not self._writing:
                    return
                turn = self._line.popleft()
                turn.leads = True
            turn.floor = True
            turn.called.release()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise self._ours(error, what) from error

    def _ours(self, error: sqlite3.Error | UnicodeDecodeError, what: str) -> KatError:
        """An error of SQLite as one of ours, naming the file and a way out."""
        # Both quote what they could not decode.
        if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
            return JournalError(f"{self._name}: cannot {what}; {_WAYS_OUT[sqlite3.SQLITE_CORRUPT]}")
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return Conflict(
                f"{self._name}: somebody wrote since the host's transaction began;"
                " roll it back and begin again"
            )
        way = _WAYS_OUT.get(_code(error), "")
        return JournalError(f"{self._name}: cannot {what}: {error}" + (f"; {way}" if way else ""))


class _Command:
    """A command that is to be written, with all of its rows that can be made before.

    What depends on where the streams end is made in the transaction. All else is made
    here, while another thread may be waiting for the disk and nobody waits for this one.

    Called, it is written by itself; what then raises Conflict or Refused does so before anything
    is written.
    """

    __slots__ = (
        "appends",
        "census",
        "command",
        "digest",
        "erased",
        "framed",
        "gone",
        "head",
        "held",
        "listed",
        "salt",
        "told",
    )

    def __init__(
        self,
        appends: list[Append],
        command: str,
        digest: str,
        recorded: datetime,
        person: str,
        role: str,
    ) -> None:
        self.appends = appends
        self.command = command
        self.digest = digest
        self.erased = [append for append in appends if append.erase_through]
        # To ask for random bytes is to ask the system: once, for the salts of all.
        salts = os.urandom(SALT * (1 + sum([len(append.values) for append in appends])))
        self.salt = salt = salts[:SALT]
        self.held = held = commitment(salt, digest.encode())
        written = micros(recorded)
        self.head = written, command, person, role
        self.framed = frame(written, command, sealed(salt, held), person, role)
        told: list[tuple[bytes, bytes, bytes]] = []
        self.told = told
        self.gone: list[tuple[str, str]] = []
        self.listed: list[tuple[object, ...]] = []
        self.census: list[tuple[object, ...]] = []
        used = SALT
        for append in appends:
            stream = append.stream
            for values in append.values or repeat(b"", len(append.bodies)):
                salt = b""
                if values:
                    salt, used = salts[used : used + SALT], used + SALT
                told.append((values, salt, commitment(salt, values)))
            for name in append.items_gone:
                self.gone.append((stream, name))
            for item in append.items:
                self.gone.append((stream, item.item))
                _list(self.listed, item)
            if append.census is not None:
                row = append.census
                self.census.append((stream, row.site, row.standing, _encode(row)))

    def __call__(self, cursor: sqlite3.Cursor) -> Receipt:
        last, ends = _ends(cursor, [append.stream for append in self.appends])
        rows = _Rows()
        try:
            self.late(ends)
        except Conflict:  # also where it is sent again, and others have written since
            if (known := _known(cursor, self.command, self.digest)) is not None:
                return known
            raise
        receipt = self.add_to(rows, last, ends)
        # A command that is new, as nearly all are, is found out by writing it.
        cursor.execute(_INSERT_COMMAND, rows.commands[0])
        if not cursor.rowcount:
            known = _known(cursor, self.command, self.digest)
            assert known is not None
            return known
        rows.write(cursor, self.gone, self.listed, self.census, self.erased)
        return receipt

    def late(self, ends: Mapping[str, tuple[int, bytes]]) -> None:
        """Conflict where a stream is not at the version expected."""
        for append in self.appends:
            now = ends.get(append.stream, _NEW)[0]
            if now != append.expected:
                raise Conflict(f"{shown(append.stream)} is at version {now}, not {append.expected}")

    def add_to(self, rows: _Rows, last: int, ends: dict[str, tuple[int, bytes]]) -> Receipt:
        """Add its rows, after the `last` position; `ends` are where streams end then."""
        recorded, command, person, role = self.head
        framed, told, entries = self.framed, iter(self.told), rows.entries
        first = position = last + 1
        versions: list[tuple[str, int]] = []
        for append in self.appends:
            stream, version, bodies = append.stream, append.expected, append.bodies
            if bodies:
                if version:
                    end, origin = ends[stream][1], b""
                else:
                    origin = os.urandom(SALT)
                    end = genesis(origin, stream)
                for body in bodies:
                    values, salt, held = next(told)
                    version += 1
                    end = link(end, version, framed, held, body)
                    entry = (position, stream, version, recorded, command, person, role, body)
                    entries.append((*entry, values, salt, end))
                    position += 1
                ends[stream] = version, end
                versions.append((append.rename or stream, version))
            elif append.row is None:  # it was read for the decision
                continue
            else:
                end = ends[stream][1]
            wake = None if append.wake is None else micros(append.wake)
            if append.expected:
                rows.changed.append((version, end, append.row, wake, stream))
            else:
                rows.begun.append((stream, version, end, origin, append.row, wake))
        rows.commands.append((command, self.held, self.salt, first, position - 1))
        if self.erased:
            versions.sort()  # one may have another name now
        return Receipt(command, first, position - 1, tuple(versions))


class _Rows:
    """Rows of commands that depend on where the streams end, on their way into the file."""

    __slots__ = ("begun", "changed", "commands", "entries")

    def __init__(self) -> None:
        self.commands: list[tuple[object, ...]] = []
        self.begun: list[tuple[object, ...]] = []
        self.changed: list[tuple[object, ...]] = []
        self.entries: list[tuple[object, ...]] = []

    def write(
        self,
        cursor: sqlite3.Cursor,
        gone: Sequence[tuple[str, str]],
        listed: Sequence[tuple[object, ...]],
        census: Sequence[tuple[object, ...]],
        erased: Sequence[Append] = (),
    ) -> None:
        """Write them, but for the commands, and the rows that lists show."""
        many = cursor.executemany
        if self.begun:
            many(_INSERT_STREAM, self.begun)
        if self.changed:
            many(_UPDATE_STREAM, self.changed)
        for append in erased:
            cursor.execute("PRAGMA secure_delete=ON")  # a host's connection may not have it
            for statement in _ERASE_ROWS:
                cursor.execute(statement, (append.stream,))
        if self.entries:
            many(_INSERT_ENTRY, self.entries)
        if gone:
            many(_DELETE_ITEM, gone)
        if listed:
            many(_INSERT_ITEM, listed)
        if census:
            many(_UPSERT_CENSUS, census)
        for append in erased:
            _erase(cursor, append)


class _Group:
    """Commands that are written together, by as few statements as it takes."""

    def __init__(self, cursor: sqlite3.Cursor, commands: Sequence[_Command]) -> None:
        streams = [append.stream for told in commands for append in told.appends]
        names = [told.command for told in commands]
        self._cursor = cursor
        self._last, self._ends = _ends(cursor, streams)
        self._known = {name for (name,) in _among(cursor, _SELECT_NAMES, names)}
        self._streams: set[str] = set()
        self._added: list[_Command] = []
        self._rows = _Rows()

    def takes(self, told: _Command) -> bool:
        """Whether a command can be written with others: it is new and erases nothing."""
        return not told.erased and told.command not in self._known

    def add(self, told: _Command) -> Receipt:
        """Add a command; Conflict, with none of its rows added, where it comes late."""
        told.late(self._ends)
        streams = {append.stream for append in told.appends}
        if not self._streams.isdisjoint(streams):  # each is to find the rows of the one before
            self.write()
        receipt = told.add_to(self._rows, self._last, self._ends)
        self._last = receipt.last
        self._known.add(told.command)
        self._streams |= streams
        self._added.append(told)
        return receipt

    def write(self) -> None:
        """Write what was added."""
        added, rows = self._added, self._rows
        self._cursor.executemany(_INSERT_COMMAND, rows.commands)
        rows.write(
            self._cursor,
            [row for told in added for row in told.gone],
            [row for told in added for row in told.listed],
            [row for told in added for row in told.census],
        )
        self._streams, self._added, self._rows = set(), [], _Rows()


def _write_all(cursor: sqlite3.Cursor, turns: Sequence[_Turn]) -> None:
    """Write turns in order, as many together as can be; Conflict and Refused are each one's own."""
    group: _Group | None = None
    for number, turn in enumerate(turns):
        write = turn.write
        try:
            if isinstance(write, _Command):
                if group is None:
                    rest = [x.write for x in turns[number:] if isinstance(x.write, _Command)]
                    group = _Group(cursor, rest)
                if group.takes(write):
                    turn.answer = group.add(write)
                    continue
            if group is not None:  # this one is to find all that was written before it
                group.write()
                group = None
            turn.answer = write(cursor)
        except (Conflict, Refused) as error:
            turn.error = error
    if group is not None:
        group.write()


def _ends(
    cursor: sqlite3.Cursor, streams: Sequence[str]
) -> tuple[int, dict[str, tuple[int, bytes]]]:
    """The last position, and where each of these streams ends that is there."""
    found = _among(cursor, _SELECT_ENDS, streams or ("",))
    ends = {stream: (version, end) for stream, version, end in found}
    return ends.pop(None, _NEW)[0] or 0, ends


def _among(cursor: sqlite3.Cursor, statement: str, keys: Sequence[str]) -> Iterable[Any]:
    """The rows of a question that ends with IN, for these keys."""
    if len(keys) == 1:
        question = _of_keys(statement, 1)
        return cursor.execute(question, keys)
    found: list[Any] = []
    for start in range(0, len(keys), _ASKED):
        asked = list(keys[start : start + _ASKED])
        # Of few lengths, so that SQLite need not prepare a statement for each.
        length = 1 << (len(asked) - 1).bit_length()
        asked += asked[-1:] * (length - len(asked))
        question = _of_keys(statement, length)
        found += cursor.execute(question, asked).fetchall()
    return found


@lru_cache(maxsize=64)
def _of_keys(statement: str, length: int) -> str:
    """A question of ours with as many places for keys."""
    return f"{statement} ({', '.join('?' * length)})"


def _take_in(cursor: sqlite3.Cursor, record: Record) -> None:
    """Write one record of another journal as it is."""
    match record:
        case Entry():
            recorded = micros(record.recorded)
            head = record.position, record.stream, record.version, recorded
            cursor.execute(_INSERT_ENTRY, (*head, *astuple(record)[len(head) :]))
        case KeptProgram(digest, name, version, main, files):
            cursor.execute(_KEEP_PROGRAM, (digest, name, version, main, _encode(files)))
        case Written():
            cursor.execute(_INSERT_COMMAND, astuple(record))
        case Standing(Chain(stream, version, end, salt), row, wake, items, census):
            at = None if wake is None else micros(wake)
            cursor.execute(_INSERT_STREAM, (stream, version, end, salt, row, at))
            listed: list[tuple[object, ...]] = []
            for item in items:
                _list(listed, item)
            cursor.executemany(_INSERT_ITEM, listed)
            if census is not None:
                seen = stream, census.site, census.standing, _encode(census)
                cursor.execute(_UPSERT_CENSUS, seen)
        case KeptCheckpoint():
            cursor.execute(_KEEP_CHECKPOINT, astuple(record))


def _erase(cursor: sqlite3.Cursor, append: Append) -> None:
    """Take away what the append erases; its own entries are written."""
    stream, name = append.stream, append.rename
    span = stream, append.erase_from, append.erase_through
    causes = cursor.execute(_SELECT_CAUSES, span).fetchall()
    cursor.executemany(_FORGET_COMMAND, [(hidden(salt), command) for salt, command in causes])
    told = cursor.execute(_SELECT_VALUES, span).fetchall()
    cursor.executemany(_ERASE_VALUES, [(commitment(salt, values), at) for salt, values, at in told])
    if name:
        (salt,) = cursor.execute(_SELECT_SALT, (stream,)).fetchone()
        origin = genesis(salt, stream) if len(salt) == SALT else salt
        for statement, values in zip(
            _RENAME, ((name, stream), (name, origin, stream)), strict=True
        ):
            cursor.execute(statement, values)


def _known(cursor: sqlite3.Cursor, command: str, digest: str) -> Receipt | None:
    """The receipt of a command that was written before."""
    known = cursor.execute(_SELECT_COMMAND, (command,)).fetchone()
    if known is None:
        return None
    _, held, salt, first, last = known
    if held != commitment(salt, digest.encode()):
        raise reused(command, erased=len(salt) > SALT)
    reached = cursor.execute(
        """SELECT stream, max(version) FROM kat_entries WHERE position BETWEEN ? AND ?
        GROUP BY stream ORDER BY stream""",
        (first, last),
    ).fetchall()
    return Receipt(command, first, last, tuple(reached), again=True)


def _list(listed: list[tuple[object, ...]], item: ItemRow) -> None:
    """Add the rows of an item: one per role, one without if it has none."""
    sort, body = micros(item.sort), _encode(item)
    lead = 1
    for role in dict.fromkeys(item.roles) or ("",):
        key = item.stream, item.item, role, lead
        listed.append((*key, item.site, item.patient, item.assigned, sort, body))
        lead = 0


@lru_cache(maxsize=64)
def _worklist(given: tuple[str, ...], later: bool) -> str:
    # A patient, like a stream, has few items: they are found first and then sifted and sorted. The
    # plus sign keeps SQLite from going through the long list of a role at a site instead.
    few = "stream" in given or "patient" in given
    sifted = ("role", "site") if few else ()
    terms = [f"{'+' if name in sifted else ''}{name} = ?" for name in given]
    if "role" not in given:
        terms.append("lead = 1")
    if later:
        terms.append("(sort, stream, item) > (?, ?, ?)")
    return (
        f"SELECT body FROM kat_items WHERE {' AND '.join(terms)}"  # noqa: S608  # our own names
        " ORDER BY sort, stream, item LIMIT ?"
    )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code; its extended ones say where, not what."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
