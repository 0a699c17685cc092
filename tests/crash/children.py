"""Processes that write and are killed, frozen or starved; and where in a commit that happens.

Each is forked from a server that has loaded everything (`multiprocessing`'s forkserver), so that a
fault at every statement costs milliseconds. What a child is told it passes on through a pipe: what
is in the pipe when it dies is heard none the less.

No hook is in the library. A child has its own way to SQLite (`sqlite3.connect` with a factory),
which counts the statements as SQLite traces them, and ends the process at the one that was named.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from threading import Lock, Thread, Timer
from time import monotonic
from typing import Any, Literal, Self

from msgspec import Struct

from kat_workflow import KatError
from kat_workflow.journal import Journal
from kat_workflow.journal.postgres import PostgresJournal
from kat_workflow.journal.sqlite import SqliteJournal

from .clinic import Hands, carry_out, deed, open_clinic

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    # A child imports what it is made of, and what runs here as `__main__`, which may be pytest.
    [__name__, "kat_workflow.language", *(["pytest"] if "pytest" in sys.modules else [])]
)


def _serve() -> None:
    """Start the server of forks, which is to find its modules where we find them."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # Python 3.11 does not tell it
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


class Trap(Struct, frozen=True):
    """An instant of a command, and what befalls the process there.

    It is before the `count`th statement, or where the `statement` begins (with `after`, so many
    microseconds later, by an alarm that nothing in the process sees), or between the commit and
    its `answer`.
    """

    count: int = 0
    statement: str = ""
    after: int = 0
    answer: bool = False
    signal: signal.Signals = signal.SIGKILL


class Job(Struct, frozen=True):
    """What a child does: `whos` deeds from `first` on, one thread for each name.

    `until` is the number before which they end. `patience` is how long the store waits for others
    or for its server. A `trap` is set once the store is open. No file may grow beyond `room`
    bytes. If it `waits`, it stops once it is ready, until it is let go on. With `due` it runs the
    timers until that instant instead, as one worker of a `fleet` until it is killed; if it
    `freezes`, it stops a millisecond after the first of them, wherever it is then. `broken` is a
    way in which a store must never be built (see `test_crash`).
    """

    where: str
    whos: tuple[str, ...] = ()
    first: tuple[int, ...] = ()
    until: int = sys.maxsize
    jumping: bool = False
    patience: float = 60.0
    trap: Trap | None = None
    room: int = 0
    waits: bool = False
    due: datetime | None = None
    freezes: bool = False
    fleet: bool = False
    broken: Literal["", "answers-first", "unsynced"] = ""


class Child:
    """A process at its job, and what was heard of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.acknowledged: list[str] = []
        self.sent: set[str] = set()
        self.failed: list[tuple[str, str]] = []
        self.timers = 0
        _serve()
        self._ears, mouth = _context.Pipe(duplex=False)
        self.process = _context.Process(target=_work, args=(job, mouth), daemon=True)
        self.process.start()
        mouth.close()
        self._hear()  # it is ready

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def in_flight(self) -> set[str]:
        """What was sent and not acknowledged."""
        return self.sent - set(self.acknowledged)

    def hears(self, count: int) -> None:
        """Wait until it has acknowledged so many, or failed, or ended."""
        while len(self.acknowledged) + self.timers < count and not self.failed and self._hear():
            pass

    def hears_more(self, count: int) -> None:
        """As `hears`, so many more than until now."""
        self.hears(len(self.acknowledged) + self.timers + count)

    def hears_for(self, seconds: float) -> None:
        """Listen for so long, or until it fails or ends."""
        until = monotonic() + seconds
        while not (self.failed or self._ears.closed):
            if not self._ears.poll(max(0, until - monotonic())) or not self._hear():
                return

    def stops(self) -> None:
        """Freeze it, wherever it is."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        self.freezes()

    def freezes(self) -> None:
        """Wait until it has stopped."""
        while not (state := self._state()).startswith("T"):
            assert state[:1] not in ("", "Z"), "it ended and did not stop"

    def thaws(self) -> None:
        """Let it go on."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def _state(self) -> str:
        words = ("ps", "-o", "state=", "-p", str(self.process.pid))
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()

    def kill(self) -> None:
        """End it, unless it has ended, and hear what it said before."""
        if self.process.is_alive():
            self.process.kill()
        self.ends()

    def ends(self) -> None:
        """Wait for its end, and hear what it said before."""
        while self._hear():
            pass
        self.process.join()

    def _hear(self) -> bool:
        if self._ears.closed:
            return False
        try:
            what, id_, text = self._ears.recv()
        except (EOFError, OSError):
            self._ears.close()
            return False
        if what == "sent":
            self.sent.add(id_)
        elif what == "done":
            self.acknowledged.append(id_)
        elif what == "failed":
            self.failed.append((id_, text))
        elif what == "timers":
            self.timers += int(id_)
        return True


# In the child


def _work(job: Job, mouth: Connection) -> None:
    says, lock = mouth.send, Lock()

    def say(what: str, id_: str = "", text: str = "") -> None:
        with lock:
            says((what, id_, text))

    if job.room:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.room, job.room))
    sprung = _spring(job.trap) if job.trap else None
    if job.broken == "unsynced":
        setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Unsynced))  # noqa: B010
    if job.fleet:
        _serve_in_fleet(job, say)
        return
    hands, late = Hands(), None
    journal: Journal
    if job.broken == "answers-first":
        late = sqlite3.connect(job.where, isolation_level=None, timeout=job.patience)
        late.execute("BEGIN IMMEDIATE")
        journal = SqliteJournal(connection=late)
    else:
        try:
            journal = _opened(job.where, job.patience)
        except KatError as error:
            say("failed", "", str(error))
            return
    with closing(open_clinic(journal, hands)) as engine:
        say("ready")
        if job.waits:
            os.kill(os.getpid(), signal.SIGSTOP)
        if sprung:
            sprung()
        if job.due is not None:
            hands.at = job.due
            # It does so itself: whoever is told of a timer and has to wait for a busy machine may
            # find that none is left.
            freeze = Timer(0.001, os.kill, (os.getpid(), signal.SIGSTOP)) if job.freezes else None
            while ran := engine.run_due(limit=10):
                say("timers", str(ran))
                if freeze is not None:
                    freeze.start()
                    freeze = None
            return

        def write(who: str, number: int) -> None:
            while number < job.until:
                this = deed(who, number, job.jumping)
                say("sent", this.id)
                try:
                    carry_out(engine, hands, this)
                except KatError as error:
                    say("failed", this.id, str(error))
                    return
                if job.trap and job.trap.answer:
                    os.kill(os.getpid(), job.trap.signal)
                say("done", this.id)
                number += 1
                if late is not None and number % 20 == 0:
                    late.execute("COMMIT")
                    late.execute("BEGIN IMMEDIATE")

        if len(job.whos) == 1:
            write(job.whos[0], job.first[0])
            return
        crew = [Thread(target=write, args=each) for each in zip(job.whos, job.first, strict=True)]
        for each in crew:
            each.start()
        for each in crew:
            each.join()


def _serve_in_fleet(job: Job, say: Callable[..., None]) -> None:
    """Be one of a cluster's workers, until the end; the clinic's clock stands at `due`."""
    from kat_workflow.cluster import Worker  # noqa: PLC0415  # it costs a second, of these alone

    logging.getLogger("kat_workflow").setLevel(logging.ERROR)  # of takeovers the table tells
    hands = Hands()
    engine = open_clinic(job.where, hands)

    class Clinic:
        def run_due_in(self, enrollment: str) -> int:
            hands.at = job.due or hands.at  # on whichever thread it is called
            ran = engine.run_due_in(enrollment)
            say("timers", str(ran))
            return ran

    Worker(Clinic(), job.where).start()
    say("ready")
    signal.pause()


def _opened(where: str, patience: float) -> Journal:
    store = PostgresJournal if "://" in where else SqliteJournal
    return store(where, patience=patience)


def _spring(trap: Trap) -> Callable[[], None]:
    """Lay the trap on every connection that is opened from now on; call the answer to set it."""
    seen = 0
    set_ = False

    def trace(statement: str) -> None:
        nonlocal seen, set_
        if not set_:
            return
        seen += 1
        if seen == trap.count or (trap.statement and statement.startswith(trap.statement)):
            set_ = False  # a process that was only frozen goes on
            if trap.after:
                signal.setitimer(signal.ITIMER_REAL, trap.after / 1e6)
            else:
                os.kill(os.getpid(), trap.signal)

    class Watched(sqlite3.Connection):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.set_trace_callback(trace)

    def spring() -> None:
        nonlocal set_
        set_ = True

    setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Watched))  # noqa: B010
    return spring


class _Unsynced(sqlite3.Connection):
    """A connection that says it waits for the disk and does not."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous=FULL", "synchronous=OFF"), *values)
