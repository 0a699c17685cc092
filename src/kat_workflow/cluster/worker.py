"""One worker of a fleet: it runs the timers that are due, whoever committed them."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Condition, Event
from typing import Self

from dbos import DBOS, DBOSClient, DBOSConfig

from kat_workflow.cluster.upkeep import Upkeep
from kat_workflow.cluster.wakes import APPLICATION, PROTOCOL, QUEUE, WORKFLOW, install, session
from kat_workflow.errors import Conflict, JournalError, KatError

CONCURRENCY, POLL = 100, 0.1
"""How many wake-ups one worker has in hand, and how often it asks for more: it can begin no more
than the quotient in a second. They stand in the database, for all workers alike."""
ATTEMPTS, FIRST_PAUSE = 10, 0.5
"""A run that fails is tried again after 0.5, 1, 2, … seconds, for four minutes in all."""
EARLY = 2.0
"""Seconds that a wake-up may be waited for whose host's clock was ahead of ours."""

_log = logging.getLogger("kat_workflow")


class NotRun(KatError):
    """Timers that are due were not run; `lasting` if trying again soon cannot help."""

    def __init__(self, text: str, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(text)


class Worker:
    """A worker in this process; a process has one at most, since DBOS is one per process.

    `run_due` runs what is due in one enrollment and returns how many timers ran. Started, it
    works on threads of its own until it is stopped. What it dies with in hand, others take over.
    """

    def __init__(
        self,
        url: str,
        run_due: Callable[[str], int],
        *,
        name: str | None = None,
        grace: float = 30.0,
        keep: timedelta = timedelta(minutes=10),
        keep_failed: timedelta = timedelta(days=7),
    ) -> None:
        # A name is used once: what a dead process had in hand is never its successor's.
        self.name = f"{name or socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._url = url
        self._run_due = run_due
        self._upkeep = Upkeep(url, self.name, grace, keep, keep_failed)
        self._stopping = Event()
        self._running = 0
        self._idle = Condition()

    def start(self) -> None:
        """Prepare the database where that is not done yet, and begin. Raises JournalError."""
        install(self._url)
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._url,
            "application_version": PROTOCOL,
            "executor_id": self.name,
            "run_migrations": False,
            "log_level": "WARNING",
            "db_engine_kwargs": {"connect_args": session(self._url)},
            # A frozen process must not keep the sweep of all others waiting for a minute.
            "sys_db_idle_transaction_timeout_sec": 10.0,
        }
        DBOS(config=config)
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
            self.stop(drain=0.0)
            raise

    def stop(self, drain: float = 10.0) -> bool:
        """Begin nothing more, wait for what runs, and leave; whether it all ended in time.

        What did not end goes back to the queue: others run it.
        """
        self._stopping.set()
        self._upkeep.stop()
        deadline = time.monotonic() + drain
        # It begins nothing more at once, and counts what runs once a second.
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=round(drain))
        with self._idle:
            drained = self._idle.wait_for(
                lambda: not self._running, max(0.0, deadline - time.monotonic())
            )
        self._upkeep.leave(empty=self._handed_back())
        return drained

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

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
        def lasting(error: BaseException) -> bool:
            return not (isinstance(error, NotRun) and error.lasting)

        @DBOS.step(
            name="kat_run_due",
            retries_allowed=True,
            max_attempts=ATTEMPTS,
            interval_seconds=FIRST_PAUSE,
            backoff_rate=2.0,
            should_retry=lasting,
        )
        def run_due(enrollment: str, wake: int) -> int:
            return self._run(enrollment, wake)

        @DBOS.workflow(name=WORKFLOW)
        def woken(enrollment: str, wake: int) -> int:
            return run_due(enrollment, wake)

    def _run(self, enrollment: str, wake: int) -> int:
        """What is due in an enrollment now; nothing, where the wake-up is stale."""
        with self._idle:
            self._running += 1
        try:
            early = wake / 1e6 - time.time()
            if early > 0:  # DBOS asks the clock of whichever host sweeps
                self._stopping.wait(min(early, EARLY))
                if (early := wake / 1e6 - time.time()) > 0:
                    raise NotRun(f"the clocks of two hosts differ: woken {early:.1f} s early")
            return self._run_due(enrollment)
        except NotRun:
            raise
        except (JournalError, Conflict) as error:
            raise NotRun(str(error)) from None
        except KatError as error:  # refused, or a program that does not compile: it will be again
            raise NotRun(str(error), lasting=True) from None
        except Exception as error:
            # Its text would go into the engine's tables, and may quote a patient's value.
            raise NotRun(f"{type(error).__name__} in the timers of {enrollment}") from None
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
