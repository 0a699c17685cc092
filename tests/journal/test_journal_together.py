"""What several threads append at once: one transaction in SQLite, and to each its own outcome."""

from __future__ import annotations

import signal
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Event, Semaphore, Thread, main_thread
from typing import Any

import pytest
from journal_cases import NOON, item, write

from kat_workflow.errors import Conflict, JournalError, Refused
from kat_workflow.journal import Append, Receipt
from kat_workflow.journal.sqlite import SqliteJournal

Work = Callable[[], Receipt]


class Line(deque[Any]):
    """The line of those who wait, which says when somebody has come to stand in it."""

    def __init__(self) -> None:
        super().__init__()
        self.came = Semaphore(0)

    def append(self, turn: Any) -> None:
        super().append(turn)
        self.came.release()


class Crowd:
    """A journal and threads that write to it at once, since another process held them all up."""

    def __init__(self, path: Path) -> None:
        self.journal = SqliteJournal(path)
        self.line = self.journal._line = Line()
        self.statements: list[str] = []
        self.begun = Event()
        self._other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._threads = ThreadPoolExecutor(8)

    def hears(self, statement: str) -> None:
        self.statements.append(statement)
        self.begun.set()

    def in_front(self, work: Work) -> Future[Receipt]:
        """Somebody who would write, but is held up by another process."""
        self._other.execute("BEGIN IMMEDIATE")
        self.begun.clear()
        self.journal._connection.set_trace_callback(self.hears)
        first = self._threads.submit(work)
        assert self.begun.wait(60)
        return first

    def lets_go(self) -> None:
        self._other.execute("ROLLBACK")

    def at_once(self, *works: Work) -> list[Future[Receipt]]:
        """Do them in one transaction, the first in front of the line; when all are done."""
        futures = [self.in_front(works[0])]
        for work in works[1:]:
            futures.append(self._threads.submit(work))
            assert self.line.came.acquire(timeout=60)
        self.lets_go()
        for future in futures:
            future.exception(timeout=60)
        self.journal._connection.set_trace_callback(None)
        return futures

    def close(self) -> None:
        self._threads.shutdown()
        self._other.close()
        self.journal.close()


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with closing(Crowd(tmp_path / "journal.db")) as crowd:
        yield crowd


def begins(crowd: Crowd, name: str, command: str = "", digest: str = "d1") -> Work:
    """Begin a stream with one entry and one item."""
    append = Append(name, 0, (name.encode(),), b"row", NOON, items=(item("vitals", name),))
    return lambda: write(crowd.journal, append, command=command or f"c-{name}", digest=digest)


def streams(crowd: Crowd) -> list[str]:
    """What is in the file, for one who opens it now; it must be sound."""
    (path,) = [row[2] for row in crowd.journal._select("PRAGMA database_list", ())]
    with SqliteJournal(path) as journal:
        entries = journal.follow(0, 100)
        assert [x.position for x in entries] == list(range(1, len(entries) + 1))
        assert [x.stream for x in journal.worklist()[0]] == sorted(x.stream for x in entries)
        return [x.stream for x in entries]


def test_what_is_appended_at_once_is_one_commit_and_each_has_its_own_receipt(crowd: Crowd) -> None:
    done = crowd.at_once(*(begins(crowd, f"s{n}") for n in range(5)))

    assert [x.result().command for x in done] == [f"c-s{n}" for n in range(5)]
    assert [(x.result().first, x.result().last) for x in done] == [(n, n) for n in range(1, 6)]
    assert crowd.statements.count("COMMIT") == 1
    assert streams(crowd) == ["s0", "s1", "s2", "s3", "s4"]


def test_who_writes_alone_needs_no_savepoint(crowd: Crowd) -> None:
    crowd.journal._connection.set_trace_callback(crowd.statements.append)
    begins(crowd, "s0")()

    assert [x for x in crowd.statements if x.startswith(("BEGIN", "SAVE", "REL", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_conflict_undoes_its_own_command_wherever_it_stood_in_line(
    crowd: Crowd, place: int
) -> None:
    works = [begins(crowd, "s0"), begins(crowd, "s1")]
    late = Append("s9", 0, (b"9",), items=(item("vitals", "s9"),)), Append("s99", 7, (b"x",))
    works.insert(place, lambda: write(crowd.journal, *late, command="late"))

    done = crowd.at_once(*works)

    assert isinstance(done.pop(place).exception(), Conflict)
    assert [x.result().again for x in done] == [False, False]
    assert streams(crowd) == ["s0", "s1"]
    assert crowd.journal.receipt("late", "d1") is None
    assert crowd.statements.count("COMMIT") == 1
    assert "SAVEPOINT kat" not in crowd.statements  # it was seen before it wrote anything


def test_the_second_of_two_who_write_one_stream_at_once_is_told(crowd: Crowd) -> None:
    first, second = crowd.at_once(begins(crowd, "s0", "c1"), begins(crowd, "s0", "c2"))

    assert first.result().last == 1
    with pytest.raises(Conflict):
        second.result()


def test_a_command_sent_again_while_it_is_written_gets_the_first_receipt(crowd: Crowd) -> None:
    first, again, other = crowd.at_once(
        begins(crowd, "s0", "c"), begins(crowd, "s0", "c"), begins(crowd, "s1", "c", digest="d2")
    )

    assert (first.result().again, again.result().again) == (False, True)
    assert first.result().last == again.result().last
    with pytest.raises(Refused, match="id-reused"):
        other.result()
    assert streams(crowd) == ["s0"]


def test_a_commit_that_fails_fails_for_all_and_nothing_is_remembered(crowd: Crowd) -> None:
    connection = crowd.journal._connection
    connection.execute("PRAGMA foreign_keys=ON")
    for statement in (
        "CREATE TABLE bed (name TEXT PRIMARY KEY)",
        "CREATE TABLE stay (bed REFERENCES bed DEFERRABLE INITIALLY DEFERRED)",
        """CREATE TRIGGER stays AFTER INSERT ON kat_entries WHEN NEW.stream = 's1'
           BEGIN INSERT INTO stay VALUES ('no such bed'); END""",
    ):
        connection.execute(statement)
    works = [begins(crowd, f"s{n}") for n in range(3)]

    failed = crowd.at_once(*works)

    assert all(isinstance(x.exception(), JournalError) for x in failed)
    assert len({id(x.exception()) for x in failed}) == 3
    assert streams(crowd) == []
    connection.execute("DROP TRIGGER stays")
    assert [x.result().again for x in crowd.at_once(*works)] == [False] * 3
    assert streams(crowd) == ["s0", "s1", "s2"]


def test_one_whose_write_fails_in_sqlite_is_told_so_alone(crowd: Crowd) -> None:
    crowd.journal._connection.execute(
        """CREATE TRIGGER full BEFORE INSERT ON kat_entries WHEN NEW.stream = 's1'
           BEGIN SELECT RAISE(ABORT, 'no room'); END"""
    )

    one, two, three = crowd.at_once(*(begins(crowd, f"s{n}") for n in range(3)))

    with pytest.raises(JournalError, match="cannot append"):
        two.result()
    assert (one.result().last, three.result().last) == (1, 2)
    assert streams(crowd) == ["s0", "s2"]


def test_a_write_that_undoes_the_transaction_fails_for_all(crowd: Crowd) -> None:
    crowd.journal._connection.execute(
        """CREATE TRIGGER full BEFORE INSERT ON kat_entries WHEN NEW.stream = 's1'
           BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END"""
    )

    done = crowd.at_once(*(begins(crowd, f"s{n}") for n in range(3)))

    assert all(isinstance(x.exception(), JournalError) for x in done)
    assert streams(crowd) == []


class Instant(datetime):
    """A wake-up whose writing can be told, or stopped."""

    def used(self) -> None:
        """Called when it is written."""

    def __sub__(self, other: Any) -> Any:
        self.used()
        return datetime.fromtimestamp(self.timestamp(), self.tzinfo) - other


def at_instant(crowd: Crowd, used: Callable[[], None]) -> Work:
    class Told(Instant):
        def used(self) -> None:
            used()

    at = Told.fromtimestamp(NOON.timestamp(), NOON.tzinfo)
    append = Append("s9", 0, (b"9",), b"row", at, items=(item("vitals", "s9"),))
    return lambda: write(crowd.journal, append, command="told")


def test_when_who_writes_for_all_is_interrupted_the_others_are_written(crowd: Crowd) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    interrupted, *others = crowd.at_once(
        at_instant(crowd, interrupt), begins(crowd, "s1"), begins(crowd, "s2")
    )

    assert isinstance(interrupted.exception(), KeyboardInterrupt)
    assert [x.result().last for x in others] == [1, 2]
    assert streams(crowd) == ["s1", "s2"]


def test_who_is_interrupted_in_line_writes_nothing_and_holds_up_nobody(crowd: Crowd) -> None:
    interrupted = Event()

    def once(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def interrupts() -> None:
        assert crowd.line.came.acquire(timeout=60)
        while not interrupted.wait(0.01):  # one that comes an instant before the wait is not felt
            signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)

    first = crowd.in_front(begins(crowd, "s0"))
    interrupter = Thread(target=interrupts)
    before = signal.signal(signal.SIGINT, once)
    try:
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            begins(crowd, "s1")()
    finally:
        interrupter.join()
        signal.signal(signal.SIGINT, before)
    crowd.lets_go()

    assert first.result(timeout=60).last == 1
    assert begins(crowd, "s2")().last == 2
    assert streams(crowd) == ["s0", "s2"]


def test_who_is_interrupted_while_another_writes_for_them_holds_up_nobody(crowd: Crowd) -> None:
    within, interrupted, go_on = Event(), Event(), Event()
    behind: list[Future[Receipt]] = []

    def stands_still() -> None:
        within.set()
        assert go_on.wait(60)

    def once(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def interrupts() -> None:
        assert crowd.line.came.acquire(timeout=60)
        behind.append(crowd._threads.submit(begins(crowd, "s2")))
        assert crowd.line.came.acquire(timeout=60)
        crowd.lets_go()
        assert within.wait(60)
        while not interrupted.wait(0.01):
            signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)

    first = crowd.in_front(at_instant(crowd, stands_still))
    interrupter = Thread(target=interrupts)
    before = signal.signal(signal.SIGINT, once)
    try:
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            begins(crowd, "s1")()
    finally:
        interrupter.join()
        signal.signal(signal.SIGINT, before)
    go_on.set()

    assert first.result(timeout=60).last == 1
    assert behind[0].result(timeout=60).last == 3
    assert begins(crowd, "s3")().last == 4
    assert streams(crowd) == ["s9", "s1", "s2", "s3"]


class InterruptedWhenCalled:
    """What a turn is called by, where its thread is interrupted in the very instant."""

    def __init__(self, called: Any) -> None:
        self._called = called

    def acquire(self) -> None:
        self._called.acquire()
        raise KeyboardInterrupt

    def release(self) -> None:
        self._called.release()


def interrupted_when_called(crowd: Crowd) -> None:
    """Whoever stands in line first is."""
    come = crowd.line.append

    def append(turn: Any) -> None:
        crowd.line.append = come  # type: ignore[method-assign]
        turn.called = InterruptedWhenCalled(turn.called)
        come(turn)

    crowd.line.append = append  # type: ignore[method-assign]


def test_who_is_interrupted_when_told_holds_up_nobody(crowd: Crowd) -> None:
    interrupted_when_called(crowd)

    first, interrupted, other = crowd.at_once(*(begins(crowd, f"s{n}") for n in range(3)))

    assert isinstance(interrupted.exception(), KeyboardInterrupt)
    assert (first.result().last, other.result().last) == (1, 3)
    assert streams(crowd) == ["s0", "s1", "s2"]


def test_who_is_interrupted_when_it_is_theirs_to_write_holds_up_nobody(crowd: Crowd) -> None:
    within, go_on = Event(), Event()

    def stands_still() -> None:
        within.set()
        assert go_on.wait(60)

    first = crowd._threads.submit(at_instant(crowd, stands_still))
    assert within.wait(60)
    interrupted_when_called(crowd)
    behind = []
    for name in ("s1", "s2"):
        behind.append(crowd._threads.submit(begins(crowd, name)))
        assert crowd.line.came.acquire(timeout=60)
    go_on.set()

    assert first.result(timeout=60).last == 1
    assert isinstance(behind[0].exception(timeout=60), KeyboardInterrupt)
    assert behind[1].result(timeout=60).last == 2
    assert streams(crowd) == ["s9", "s2"]


def test_a_journal_is_joined_to_no_transaction_of_another_thread(crowd: Crowd) -> None:
    within, go_on = Event(), Event()

    def stands_still() -> None:
        within.set()
        assert go_on.wait(60)

    writing = crowd._threads.submit(at_instant(crowd, stands_still))
    assert within.wait(60)

    assert not crowd.journal.joined
    go_on.set()
    assert writing.result(timeout=60).last == 1
