"""One worker of a fleet: it runs the timers that are due, whoever committed them."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from contextlib import suppress
from datetime import timedelta
from threading import Condition, Event
from typing import Protocol, Self

from dbos import DBOS, DBOSClient, DBOSConfig
from dbos import error as dbos_errors

from kat_workflow.cluster.upkeep import SILENCE, Upkeep
from kat_workflow.cluster.wakes import APPLICATION, PROTOCOL, QUEUE, WORKFLOW, install, session
from kat_workflow.engine.commands import said
from kat_workflow.errors import JournalError, KatError, Refused

CONCURRENCY, POLL = 100, 0.1
"""How many wake-ups one worker has in hand, and how often it asks for more: it can begin no more
than the quotient in a second. They stand in the database, for all workers alike."""
ATTEMPTS, FIRST_PAUSE = 8, 0.5
"""What cannot be run is tried again after 0.5, 1, 2, … seconds, for about a minute in all."""
SESSIONS = 8
"""Sessions with the database for DBOS, beside those of the journal and the one of the upkeep."""
EARLY = 2.0
"""Seconds that a wake-up is waited for which a host called whose clock is ahead of ours."""

_log = logging.getLogger("kat_workflow")


class Clinic(Protocol):
    """What a worker needs of an engine; its journal is in the database of the fleet."""

    def run_due_in(self, enrollment: str) -> int:
        """Run the timers that are due in one enrollment."""
        ...


class NotRun(KatError):
    """Timers that are due were not run; `lasting` if trying again soon cannot help."""

    def __init__(self, text: str, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(text)


class Worker:
    """A `Scheduler` that shares its work with all workers on the same database.

    A process has one at a time, since DBOS is one per process. `name` says in the status whose
    it is. What a peer had in hand that gives no sign of life for `silence` seconds is taken over
    even if it holds its lock. A wake-up that is overdue by `grace` seconds and not in the queue
    is armed again; the rows of finished ones are kept for `keep`, those of failed ones for
    `keep_failed`.
    """

    def __init__(
        self,
        engine: Clinic,
        url: str,
        *,
        name: str = "",
        silence: float = SILENCE,
        grace: float = 30.0,
        keep: timedelta = timedelta(minutes=10),
        keep_failed: timedelta = timedelta(days=7),
    ) -> None:
        self.name = ""
        self._engine, self._url = engine, url
        self._called = name or socket.gethostname()
        self._kept = silence, grace, keep, keep_failed
        self._upkeep: Upkeep | None = None
        self._stopping, self._left = Event(), Event()
        self._running = 0
        self._in_hand: set[str] = set()  # the workflows that this process goes through
        self._idle = Condition()
        self._said: dict[str, str] = {}  # of each enrollment what was said, once
        logging.getLogger("dbos").addFilter(self._is_news)

    def start(self) -> None:
        """See `Scheduler.start`; prepares the database where that is not done.

        Raises JournalError, and RuntimeError where DBOS runs in this process already.
        """
        if self._upkeep is not None:
            return
        install(self._url)
        # A name is used once: what a dead process had in hand is never its successor's.
        self.name = f"{self._called}-{os.getpid()}-{secrets.token_hex(4)}"
        self._upkeep = Upkeep(self._url, self.name, *self._kept, in_hand=self._in_hand.copy)
        self._stopping.clear()
        self._left.clear()
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._url,
            "application_version": PROTOCOL,
            "executor_id": self.name,
            "run_migrations": False,
            "log_level": "ERROR",  # what is tried again is told by us, in a line
            "sys_db_pool_size": SESSIONS,
            "db_engine_kwargs": {"connect_args": session(self._url), "hide_parameters": True},
            # A process that is frozen in the sweep must not keep all others waiting for a minute.
            "sys_db_idle_transaction_timeout_sec": 10.0,
        }
        DBOS(config=config)
        if DBOS.executor_id != self.name:  # it is somebody else's, and goes on as it was
            self._upkeep = None
            raise RuntimeError("DBOS runs in this process already: give a worker one of its own")
        try:
            self._register()
            self._upkeep.start()
            DBOS.launch()
            DBOS.register_queue(
                QUEUE,
                partition_concurrency=1,
                worker_concurrency=CONCURRENCY,
                polling_interval_sec=POLL,
            )
        except BaseException:
            self.stop(0.0)
            raise

    def stop(self, drain: float = 10.0) -> bool:
        """See `Scheduler.stop`; waits up to `drain` seconds for what runs.

        What has not ended then goes back to the queue, and others run it.
        """
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is None:
            return True
        self._stopping.set()
        upkeep.stop()
        with self._idle:
            busy = self._running > 0
        # In the second that it gives the short ones end. What goes on longer cannot tell DBOS any
        # more how it ended, and need not: whoever runs it next finds it done.
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=1 if busy else 0)
        self._left.set()
        with self._idle:
            drained = self._idle.wait_for(lambda: not self._running, drain)
        upkeep.leave(empty=self._handed_back())
        return drained

    def look(self) -> None:
        """See `Scheduler.look`: arm again whatever is due and not in the queue."""
        if self._upkeep is not None:
            self._upkeep.look()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether DBOS logs anything but, with a traceback, what we know or have said in a line."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, NotRun | dbos_errors.DBOSMaxStepRetriesExceeded):
            return False
        return not (self._left.is_set() and isinstance(error, dbos_errors.DBOSException))

    def _handed_back(self) -> bool:
        """Give what is in hand back to the queue; false where the database is away."""
        with suppress(Exception):  # of SQLAlchemy's many; whatever is left, a peer takes over
            client = DBOSClient(
                system_database_url=self._url,
                application_name=APPLICATION,
                retry_connection_errors=False,
            )
            try:
                left = client.list_workflows(
                    executor_id=self.name, status="PENDING", load_input=False, load_output=False
                )
                if left:
                    client.resume_workflows([row.workflow_id for row in left], queue_name=QUEUE)
            finally:
                client.destroy()
            return True
        return False

    def _register(self) -> None:
        def passing(error: BaseException) -> bool:
            return not (isinstance(error, NotRun) and error.lasting)

        @DBOS.step(
            name="kat_run_due",
            retries_allowed=True,
            max_attempts=ATTEMPTS,
            interval_seconds=FIRST_PAUSE,
            backoff_rate=2.0,
            should_retry=passing,
        )
        def run_due(enrollment: str, wake: int) -> int:
            return self._run(enrollment, wake)

        @DBOS.workflow(name=WORKFLOW)
        def woken(enrollment: str, wake: int) -> int:
            id_ = DBOS.workflow_id or ""
            self._in_hand.add(id_)
            try:
                return run_due(enrollment, wake)
            finally:
                self._in_hand.discard(id_)

    def _run(self, enrollment: str, wake: int) -> int:
        """What is due in an enrollment now; a wake-up that is stale finds nothing."""
        with self._idle:
            if self._left.is_set():  # another try, of what was given back to the queue
                raise NotRun("the worker has stopped", lasting=True)
            self._running += 1
        try:
            self._await(wake)
            ran = self._engine.run_due_in(enrollment)
        except Exception as error:
            if isinstance(error, Refused) and error.code == "unknown-enrollment":
                return 0
            why = said(error)
            if self._said.get(enrollment) != why:
                self._said[enrollment] = why
                _log.error(
                    "the timers of enrollment:%s cannot be run, they are tried again: %s",
                    enrollment,
                    why,
                )
            # The text goes into the engine's tables: nothing of a patient may be in it. What is
            # refused, and a program that does not compile, are the same in a minute.
            lasting = isinstance(error, KatError) and not isinstance(error, JournalError | NotRun)
            raise NotRun(why, lasting) from None
        else:
            self._said.pop(enrollment, None)
            return ran
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _await(self, wake: int) -> None:
        """The instant of the wake-up by this host's clock; DBOS asks that of any host."""
        early = wake / 1e6 - time.time()
        if early > 0:
            self._stopping.wait(min(early, EARLY))
            if wake / 1e6 > time.time():
                raise NotRun("it is woken before its instant: the clocks of two hosts differ")
