"""Timers run when they are due, by a thread of this process.

No outcome depends on it (R2): a command catches up with what was due before it, and views run it
in memory. A scheduler makes worklists, calls and the census true without anybody asking.

A timer is known by its id, which is the id of the command that it is in the journal. So it may be
run twice, by two schedulers, or by one that was killed and its successor: it is written once.
Which timers wait is in the journal alone (`Journal.due`), so that a million of them cost a
scheduler no memory, and one that starts after two days finds what was due in them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from threading import Condition, Thread, current_thread
from time import monotonic
from typing import Protocol, Self

from kat_workflow.engine.commands import said
from kat_workflow.journal import Journal

__all__ = ["Scheduler", "ThreadScheduler"]

PAGE = 200
_EVER = datetime.max.replace(tzinfo=UTC)
_log = logging.getLogger("kat_workflow")


class Scheduler(Protocol):
    """Runs timers when they are due: each at least once, in the journal exactly once.

    An enrollment whose timers cannot be run is said in the log, without anything of the patient,
    and tried again; it holds up no other. Any number of schedulers may run on one journal.
    """

    def start(self) -> None:
        """Begin, with what came due while nobody ran; a second time does nothing."""
        ...

    def stop(self) -> bool:
        """Begin nothing more and wait for what runs; whether it all ended. It may start again."""
        ...

    def look(self) -> None:
        """Look now at what is due, for a host that knows more than the scheduler."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Clinic(Protocol):
    """What a scheduler needs of an engine."""

    journal: Journal
    wakers: list[Callable[[datetime], None]]

    @property
    def now(self) -> datetime:
        """The instant by the engine's clock."""
        ...

    def run_due_in(self, enrollment: str) -> int:
        """Run the timers that are due in one enrollment."""
        ...


class ThreadScheduler:
    """A `Scheduler` that is one thread beside the engine, in its process.

    It wakes at the next instant that anything waits for, or when a commit of this engine brings
    a nearer one. What others commit, and that the clock was set, it finds by looking `every` so
    many seconds; so long it leaves an enrollment alone that failed. `waits_for` is the instant
    of the next timer (the end of time where none waits), None while it looks and runs.
    """

    def __init__(self, engine: Clinic, every: float = 1.0) -> None:
        self._engine = engine
        self._every = every
        self._thread: Thread | None = None
        self._change = Condition()
        self._stopping = False
        self._asked = False
        self.waits_for: datetime | None = None
        self._resting: dict[str, float] = {}  # streams that failed, and until when
        self._said: dict[str, str] = {}  # of each what was said, once

    def start(self) -> None:
        """See `Scheduler.start`."""
        if self._thread is None:
            self._stopping = False
            self._engine.wakers.append(self._nearer)
            self._thread = Thread(target=self._work, name="kat-scheduler", daemon=True)
            self._thread.start()

    def stop(self) -> bool:
        """See `Scheduler.stop`; a listener, which the thread itself calls, does not wait."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._engine.wakers.remove(self._nearer)
        with self._change:
            self._stopping = True
            self._change.notify()
        if thread is current_thread():
            return False
        thread.join()
        return True

    def look(self) -> None:
        """See `Scheduler.look`."""
        with self._change:
            self._asked = True
            self._change.notify()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _nearer(self, wake: datetime) -> None:
        """Hear of an instant that an enrollment waits for since a commit of this engine."""
        if self._thread is not current_thread() and (
            self.waits_for is None or wake < self.waits_for
        ):
            self.look()

    def _work(self) -> None:
        while not self._stopping:
            # What is committed from here on is found by this look, or asks for another.
            self._asked, self.waits_for = False, None
            pause = self._every
            try:
                self._run()
                pause = self._pause()
            except Exception as error:  # the journal may be back by the next look
                _log.error("the scheduler cannot look: %s", said(error))
            with self._change:
                self._change.wait_for(lambda: self._asked or self._stopping, pause)

    def _run(self) -> None:
        """Run what is due, earliest first, but for what has just failed."""
        began = monotonic()
        self._resting = {x: until for x, until in self._resting.items() if until > began}
        passed = set(self._resting)  # what it is no use to try again in this look
        while found := self._due(self._engine.now, passed, PAGE):
            for stream, _ in found:
                if self._stopping:
                    return
                try:
                    ran = self._engine.run_due_in(stream.partition(":")[2])
                except Exception as error:  # also what nobody thought of: the others go on
                    passed.add(stream)
                    self._rest(stream, said(error))
                else:
                    self._said.pop(stream, None)
                    if not ran:  # another was faster, or the clock went back
                        passed.add(stream)

    def _rest(self, stream: str, why: str) -> None:
        self._resting[stream] = monotonic() + self._every
        if self._said.get(stream) != why:
            self._said[stream] = why
            _log.error("the timers of %s cannot be run, they are tried again: %s", stream, why)

    def _pause(self) -> float:
        """Seconds until something is due."""
        for _, wake in self._due(_EVER, self._resting, 1):
            self.waits_for = wake
            return min(self._every, max(0.0, (wake - self._engine.now).total_seconds()))
        self.waits_for = _EVER
        return self._every

    def _due(self, until: datetime, but: Collection[str], limit: int) -> list[tuple[str, datetime]]:
        found = self._engine.journal.due(until, limit + len(but))
        return [each for each in found if each[0] not in but]
