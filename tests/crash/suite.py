"""What a fault is tried on, how its outcome is counted, and its row in the table."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from math import inf
from pathlib import Path
from random import Random
from time import monotonic

import psycopg
from msgspec import Struct

from .children import Child, Job
from .clinic import SHARED, Hands, carry_out, deed, named, open_clinic
from .judge import Judge

_ENDS = (0, -signal.SIGKILL, -signal.SIGALRM)


class Row(Struct):
    """What a fault did to a store. `seconds` is the longest that it took until what had been
    under way was acknowledged; `skipped` says why the fault could not be made to happen here."""

    fault: str
    store: str
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    note: str = ""
    wrong: list[str] = []
    skipped: str = ""


class Ground(Struct):
    """Where a fault is tried: a kind of store, a folder for its files, and how thoroughly.

    `short` is the form that every run of the tests can afford. Chance comes from a seed, which
    is printed, so that what was found once can be looked for again; where a process is at an
    instant is chance that no seed brings back. After `until` (of the monotonic clock) nothing is
    repeated any more.
    """

    directory: Path
    short: bool
    seed: int
    threads: int = 1
    store: str = "SQLite"
    until: float = inf

    def fresh(self, name: str) -> str:
        """A store that is not there yet."""
        return str(self.directory / f"{name}-{self.threads}.db")

    @property
    def chance(self) -> Random:
        """Chance for one fault."""
        return Random(f"{self.seed}")

    def times(self, short: int, full: int) -> int:
        """How much of something: in the short form, or in the full one."""
        return short if self.short else full

    def rounds(self, short: int, full: int) -> Iterator[int]:
        """The numbers of the repetitions of a fault: one at least, no new one out of time."""
        for number in range(self.times(short, full)):
            if number and monotonic() > self.until:
                return
            yield number

    @property
    def whos(self) -> tuple[str, ...]:
        """The names of one process's writers, each a thread."""
        return tuple(f"w{number}" for number in range(self.threads))


Fault = Callable[[Ground], Row]


class Trial:
    """A store from its first command to its last verdict, with what its clients were told."""

    def __init__(self, fault: str, ground: Ground, where: str, jumping: bool = False) -> None:
        self.where = where
        self.acknowledged: set[str] = set()
        self.row = Row(fault, ground.store)
        self._jumping = jumping
        self._judge = Judge(jumping)
        self._lost: set[str] = set()
        self._doubled: set[str] = set()
        self.do([SHARED])

    def job(self, *whos: str, **more: object) -> Job:
        """The writers go on where they were."""
        first = tuple(self.next(who) for who in whos)
        return Job(self.where, whos, first, jumping=self._jumping, **more)  # type: ignore[arg-type]

    def next(self, who: str) -> int:
        """The number of a writer's first deed that is not acknowledged."""
        done = [named(id_).number for id_ in self.acknowledged if named(id_).who == who]
        return max(done, default=-1) + 1

    def do(self, ids: Iterable[str], under: str = "") -> None:
        """Do these deeds, in their order; sent again, where they were sent before."""
        hands = Hands()
        with closing(open_clinic(self.where, hands)) as engine:
            for id_ in sorted(ids, key=lambda id_: (named(id_).who, named(id_).number)):
                carry_out(engine, hands, named(id_, self._jumping), under and id_ + under)
                self.acknowledged.add(id_)

    def do_until(self, who: str, number: int) -> None:
        """Do a writer's deeds up to that number, without it."""
        self.do(deed(who, n).id for n in range(self.next(who), number))

    def recovers(self, *children: Child, since: float | None = None, under: str = "") -> None:
        """After a fault: see that what was acknowledged is there, then send again what was not.

        The seconds are those until a process that has read its programs is told that all of it
        is done; they count from `since`, or from here.
        """
        in_flight = self.heard(*children)
        began = monotonic()
        with closing(open_clinic(self.where, Hands())):
            opened = monotonic()
        _settled(self.where)
        self.judged(in_flight)
        again = monotonic()
        self.do(in_flight, under)
        took = (monotonic() - again) + (opened - (began if since is None else since))
        self.row.seconds = max(self.row.seconds, took)

    def heard(self, *children: Child) -> set[str]:
        """End them and take down what they were told; what they sent besides."""
        sent: set[str] = set()
        for child in children:
            child.kill()
            sent |= child.sent
            self.acknowledged.update(child.acknowledged)
            if (code := child.process.exitcode) not in _ENDS:
                self.row.wrong.append(f"a process ended by an error of its own (code {code})")
        return sent - self.acknowledged

    def judged(self, in_flight: Iterable[str] = (), due: datetime | None = None) -> None:
        """Count what is lost, doubled or wrong now."""
        verdict = self._judge(self.where, self.acknowledged, in_flight, due)
        self._lost |= verdict.lost
        self._doubled |= verdict.doubled
        self.row.wrong += [each for each in verdict.wrong if each not in self.row.wrong]

    def told(self, child: Child, *words: str) -> None:
        """A process that could not write said so, in words that name the file and a way out."""
        if not child.failed:
            self.row.wrong.append(f"nobody was told of {self.row.fault}")
        for _, text in child.failed:
            named = "://" in self.where or self.where in text
            if not named or not all(word in text for word in words):
                self.row.wrong.append(f"it was told as: {text}")

    def unharmed(self, *children: Child) -> None:
        """Processes that were to ride it out have not failed."""
        self.row.wrong += [f"it gave up: {text}" for x in children for _, text in x.failed]

    def ended(self, due: datetime | None = None, timers: int = 0, note: str = "") -> Row:
        """The last verdict, with nothing under way any more, and the row."""
        self.judged(due=due)
        self.row.acknowledged = len(self.acknowledged) + timers
        self.row.lost, self.row.doubled = len(self._lost), len(self._doubled)
        self.row.note = note
        return self.row


def _settled(where: str) -> None:
    """Wait for what a server still does for clients that are gone: it may yet commit."""
    if "://" not in where:
        return
    with psycopg.connect(where, autocommit=True) as connection:
        others = "SELECT pg_stat_clear_snapshot(), 1 FROM pg_stat_activity WHERE datname ="
        others += " current_database() AND pid <> pg_backend_pid() AND backend_type ="
        others += " 'client backend' AND state <> 'idle'"
        while connection.execute(others).fetchone():
            pass


def skipped(fault: str, ground: Ground, why: str) -> Row:
    """The row of a fault that cannot be made to happen here."""
    return Row(fault, ground.store, skipped=why)


def is_root() -> bool:
    """Whether file systems may be mounted."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[None]:
    """A file system of our own on that folder; OSError where none can be mounted."""
    folder.mkdir(exist_ok=True)
    system("mount", *how, str(folder))
    try:
        yield
    finally:
        system("umount", str(folder))


def system(*words: str) -> None:
    """Run a command of the system; OSError with what it says where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{words[0]}: {done.stderr.strip()}")
