"""What keeps a fleet whole: signs of life, adoption of the dead, the net below, the broom.

Every worker does all of it; nothing depends on one of them. Each holds an advisory lock of its
session, which PostgreSQL lets go when the process or its host dies, and writes a sign of life
every second. A peer that gets the lock, or misses the sign, takes over what the dead one had in
hand. Whoever is declared dead wrongly has its work done twice, which the journal tells by cause.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import psycopg
from dbos import DBOS
from dbos import WorkflowStatus as Row

from kat_workflow.cluster.wakes import PROTOCOL, QUEUE, connect, translated
from kat_workflow.errors import JournalError

EVERY = 1.0
"""Seconds between two rounds."""
SILENCE = 15.0
"""Seconds without a sign of life after which a worker that still holds its lock (frozen, or on a
host that is cut off) has its work taken over."""
SKEW = 2.0
"""Seconds by which a worker's clock may differ from the database's before it is told."""
PAGE = 1000
MANY = 10_000
FAILED = ["ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

_log = logging.getLogger("kat_workflow")

_TAKE, _LET_GO = "SELECT pg_try_advisory_lock(%s)", "SELECT pg_advisory_unlock(%s)"
_BEAT = """INSERT INTO kat_workers (executor, lock, host, process, protocol, ahead)
    VALUES (%s, %s, %s, %s, %s, %s - extract(epoch FROM clock_timestamp()))
    ON CONFLICT (executor) DO UPDATE SET seen = now(), ahead = excluded.ahead RETURNING ahead"""
_PEERS = """SELECT executor, lock, seen < now() - make_interval(secs => %s)
    FROM kat_workers WHERE executor <> %s"""
_OVERDUE = """SELECT substr(stream, 12), version, wake FROM kat_streams
    WHERE wake <= (extract(epoch FROM now()) - %s) * 1000000 AND stream LIKE 'enrollment:%%'
    ORDER BY wake LIMIT %s"""


def lock_of(executor: str) -> int:
    """The advisory lock that says that an executor lives."""
    digest = hashlib.sha256(b"kat-worker " + executor.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


_NET = lock_of("the net below")


class Upkeep:
    """The rounds of one worker, on a thread and a session of their own.

    `silence` is after how many seconds without a sign of life a peer's work is taken over even if
    its lock is held. `grace` is how many seconds a wake-up may be overdue, and not waiting in the
    queue, before it is armed again; `keep` how long the rows of finished ones are kept,
    `keep_failed` those of failed ones. `in_hand` tells which wake-ups this worker is running.
    """

    def __init__(
        self,
        url: str,
        executor: str,
        silence: float,
        grace: float,
        keep: timedelta,
        keep_failed: timedelta,
        in_hand: Callable[[], set[str]],
    ) -> None:
        self._url, self._executor, self._silence = url, executor, silence
        self._grace, self._keep, self._keep_failed = grace, keep, keep_failed
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._locked = False
        self._stopping = Event()
        self._thread = Thread(target=self._rounds, name="kat-upkeep", daemon=True)
        self._netted = time.monotonic()  # what came due before it started is queued by then
        self._told: dict[str, float] = {}
        self._in_hand = in_hand
        self._unheard: set[str] = set()

    def start(self) -> None:
        """Show the first sign of life, then go on by itself. Raises JournalError."""
        self._beat(self._session())
        self._thread.start()

    def stop(self) -> None:
        """End the rounds; the lock stays until `leave`, so that nobody adopts what still runs."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=10.0)

    def look(self) -> None:
        """Arm again whatever is due and not in the queue. Raises JournalError."""
        with connect(self._url) as connection, translated("look at what is due"):
            reconcile(connection, 0.0)

    def leave(self, empty: bool) -> None:
        """Let the lock go; with nothing in hand no trace is left, else a peer takes over."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(psycopg.Error):
            if empty:
                connection.execute("DELETE FROM kat_workers WHERE executor = %s", (self._executor,))
        connection.close()

    def _rounds(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                connection = self._session()
                self._beat(connection)
                self._adopt(connection)
                self._net(connection)
            except (psycopg.Error, JournalError) as error:
                # The database is away: there is nothing to keep up until it is back.
                self._tell("upkeep", "the upkeep waits for the database (%s)", type(error).__name__)
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
            except Exception as error:  # the next round may go better; without rounds none will
                self._tell("upkeep", "a round of upkeep failed: %s", type(error).__name__)

    def _session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The session that holds our lock; a new one after it was lost."""
        if self._connection is None:
            connection = connect(self._url)
            # A sign of life need not outlive the server.
            connection.execute("SET synchronous_commit = off")
            self._connection, self._locked = connection, False
        return self._connection

    def _beat(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        if not self._locked:
            taken = connection.execute(_TAKE, (lock_of(self._executor),)).fetchone()
            self._locked = taken == (True,)
            if not self._locked:
                return  # a peer is just adopting what we had before the session was lost
        found = connection.execute(
            _BEAT,
            (
                self._executor,
                lock_of(self._executor),
                socket.gethostname(),
                os.getpid(),
                PROTOCOL,
                time.time(),
            ),
        ).fetchone()
        ahead = float(found[0]) if found else 0.0
        if abs(ahead) > SKEW:
            self._tell("clock", "this host's clock is %.1f s ahead of the database's", ahead)

    # ---- the dead ---------------------------------------------------------------------------

    def _adopt(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Take over what workers that have died, or fallen silent, had in hand."""
        peers = connection.execute(_PEERS, (self._silence, self._executor)).fetchall()
        for executor, lock, silent in peers:
            gone = connection.execute(_TAKE, (lock,)).fetchone() == (True,)
            try:
                if gone or silent:
                    self._take_over(executor)
                if gone:
                    connection.execute("DELETE FROM kat_workers WHERE executor = %s", (executor,))
            finally:
                if gone:
                    connection.execute(_LET_GO, (lock,))

    def _take_over(self, executor: str) -> None:
        orphans = DBOS.list_workflows(
            executor_id=executor,
            status="PENDING",
            queue_name=QUEUE,
            load_input=False,
            load_output=False,
        )
        ours = [row.workflow_id for row in orphans if row.app_version in (None, PROTOCOL)]
        others = [row.workflow_id for row in orphans if row.app_version not in (None, PROTOCOL)]
        if ours:
            DBOS.resume_workflows(ours, queue_name=QUEUE)
        if others:
            # Claimed under another protocol it would wait for a worker of that one, perhaps for
            # ever, and hold up its enrollment. What is still due is armed again by the net.
            DBOS.delete_workflows(others)
        if orphans:
            _log.warning("took over %d wake-ups of worker %s", len(orphans), executor)

    # ---- the net and the broom --------------------------------------------------------------

    def _net(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Reconcile and purge, in every third part of the grace, one worker at a time."""
        if time.monotonic() - self._netted < self._grace / 3:
            return
        self._netted = time.monotonic()
        self._claim_anew()
        if connection.execute(_TAKE, (_NET,)).fetchone() != (True,):
            return
        try:
            self._stand_in(connection)
            reconcile(connection, self._grace)
            now = datetime.now(UTC)
            purge(["SUCCESS"], now - self._keep, self._stopping.is_set)
            purge(FAILED, now - self._keep_failed, self._stopping.is_set)
        finally:
            connection.execute(_LET_GO, (_NET,))

    def _claim_anew(self) -> None:
        """What is ours in the tables and runs nowhere goes back to the queue: a claim that was
        committed just before the server died, and whose answer never came.

        Seen twice running, for what was claimed this instant has not begun yet.
        """
        rows = DBOS.list_workflows(
            executor_id=self._executor,
            status="PENDING",
            queue_name=QUEUE,
            load_input=False,
            load_output=False,
        )
        idle = {row.workflow_id for row in rows} - self._in_hand()
        unheard, self._unheard = idle & self._unheard, idle
        if unheard:
            DBOS.resume_workflows(sorted(unheard), queue_name=QUEUE)
            _log.warning("put %d wake-ups back that were claimed and not begun", len(unheard))

    def _stand_in(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Wake-ups go to the newest protocol; where its workers were taken back, to ours."""
        newest = DBOS.get_latest_application_version()["version_name"]
        spoken = connection.execute("SELECT DISTINCT protocol FROM kat_workers").fetchall()
        if (newest,) not in spoken:
            _log.warning("no worker speaks %s any more; wake-ups go to %s", newest, PROTOCOL)
            DBOS.set_latest_application_version(PROTOCOL)

    def _tell(self, about: str, text: str, *values: object) -> None:
        """Log what may go on for long once a minute."""
        now = time.monotonic()
        if now - self._told.get(about, -60.0) >= 60.0:
            self._told[about] = now
            _log.error(text, *values)


def reconcile(connection: psycopg.Connection[tuple[Any, ...]], grace: float) -> int:
    """Arm again what is overdue by more than `grace` seconds and not in the queue; how many.

    So a wake-up is lost neither with its row nor by a failure that lasts longer than the retries.
    What failed n times is armed again after n times the grace, and is told: somebody must look.
    """
    if connection.execute(_OVERDUE, (grace, 1)).fetchone() is None:
        return 0
    waiting = _rows(["ENQUEUED", "PENDING"], MANY)
    if len(waiting) == MANY:
        return 0  # the workers are behind; what is overdue stands in line
    # Asked after the queue: what a worker has run meanwhile is not overdue any more.
    overdue = connection.execute(_OVERDUE, (grace, PAGE)).fetchall()
    queued = {row.queue_partition_key for row in waiting if row.app_version in (None, PROTOCOL)}
    failures: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in _rows(FAILED, MANY):
        failures[row.queue_partition_key].append(row)
    armed = 0
    now = time.time()
    for enrollment, version, wake in overdue:
        if enrollment in queued:
            continue
        failed = failures[enrollment]
        last = max((row.completed_at or row.updated_at or 0 for row in failed), default=0) / 1000
        if failed and now - last < min(grace * len(failed), 3600.0):
            continue
        if failed:
            _log.error("the timers of enrollment:%s failed %d times", enrollment, len(failed))
        id_ = f"wake:{enrollment}:{version}:{wake}:{now:.0f}"
        connection.execute("SELECT kat_wake_up(%s, %s, %s)", (enrollment, wake, id_))
        armed += 1
    if armed:
        _log.warning("armed %d wake-ups again that were overdue and not in the queue", armed)
    return armed


def purge(status: Sequence[str], before: datetime, stopping: Callable[[], bool]) -> int:
    """Delete the rows of wake-ups that ended before an instant; how many."""
    gone = 0
    while not stopping():
        rows = DBOS.list_workflows(
            status=list(status),
            queue_name=QUEUE,
            completed_before=before.isoformat(),
            limit=PAGE,
            load_input=False,
            load_output=False,
        )
        if rows:
            DBOS.delete_workflows([row.workflow_id for row in rows])
            gone += len(rows)
        if len(rows) < PAGE:
            break
    return gone


def _rows(status: Sequence[str], limit: int) -> list[Row]:
    return DBOS.list_workflows(
        status=list(status), queue_name=QUEUE, limit=limit, load_input=False, load_output=False
    )
