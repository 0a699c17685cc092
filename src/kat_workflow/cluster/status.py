"""How a fleet is: its workers, how far it is behind, and what somebody must look at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dbos import DBOSClient
from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.cluster.upkeep import FAILED, MANY, SILENCE, SKEW
from kat_workflow.cluster.wakes import APPLICATION, PROTOCOL, QUEUE, connect, translated
from kat_workflow.errors import JournalError

_WORKERS = """SELECT executor, host, process, protocol, started, seen, ahead,
    seen < now() - make_interval(secs => %s), lock FROM kat_workers ORDER BY started, executor"""
_LOCKS = """SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory'
    AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND granted"""
_WAITS = """SELECT count(*), count(*) FILTER (WHERE wake <= extract(epoch FROM now()) * 1000000),
    coalesce(extract(epoch FROM now()) - min(wake) / 1000000.0, 0)
    FROM kat_streams WHERE wake IS NOT NULL"""


class WorkerSeen(Struct, frozen=True):
    """A worker as its peers see it.

    `standing` is `works`, `silent` (it holds its lock, but gives no sign of life: frozen, or cut
    off) or `dead` (a peer will take over and forget it). `ahead` is how many seconds its clock is
    ahead of the database's.
    """

    name: str
    host: str
    process: int
    protocol: str
    started: datetime
    seen: datetime
    ahead: float
    standing: str


class ClusterStatus(Struct, frozen=True):
    """What `kat cluster status` shows.

    `armed` enrollments wait for an instant; that of `overdue` ones has come, `lag` seconds ago
    for the first of them. `queued` wake-ups wait for a worker, `running` ones are in the hands of
    one, `orphans` in those of one that is not there. `errors` failed until they were given up;
    `failing` are the first enrollments of these. Numbers of wake-ups stop at 10,000. `alarms` is
    what somebody must look at, in words.
    """

    workers: tuple[WorkerSeen, ...]
    armed: int
    overdue: int
    lag: float
    queued: int
    running: int
    orphans: int
    errors: int
    failing: tuple[str, ...]
    alarms: tuple[str, ...]


def status(url: str, lag: float = 60.0) -> ClusterStatus:
    """How the fleet on a database is; `lag` is the delay in seconds that is an alarm.

    Raises JournalError, also where there never was a worker.
    """
    with connect(url) as connection, translated("tell of the cluster"):
        there = connection.execute("SELECT to_regclass('kat_workers') IS NOT NULL").fetchone()
        if there != (True,):
            raise JournalError("no worker was ever started on this database; see kat worker --help")
        held = {
            lock - (1 << 64) if lock >= 1 << 63 else lock
            for (lock,) in connection.execute(_LOCKS).fetchall()
        }
        workers = []
        for *seen, silent, lock in connection.execute(_WORKERS, (SILENCE,)).fetchall():
            standing = "dead" if lock not in held else "silent" if silent else "works"
            workers.append(WorkerSeen(*[*seen, standing]))
        armed, overdue, behind = connection.execute(_WAITS).fetchone() or (0, 0, 0)
    client = DBOSClient(
        system_database_url=url, application_name=APPLICATION, retry_connection_errors=False
    )
    try:
        queued, running, failed = (
            client.list_workflows(
                status=which, queue_name=QUEUE, limit=MANY, load_input=False, load_output=False
            )
            for which in (["ENQUEUED"], ["PENDING"], FAILED)
        )
    finally:
        client.destroy()
    alive = {worker.name for worker in workers if worker.standing == "works"}
    found = ClusterStatus(
        tuple(workers),
        int(armed),
        int(overdue),
        max(0.0, round(float(behind), 1)),
        len(queued),
        len(running),
        sum(row.executor_id not in alive for row in running),
        len(failed),
        tuple(dict.fromkeys(row.queue_partition_key or "" for row in failed))[:10],
        (),
    )
    return replace(found, alarms=tuple(_alarms(found, lag)))


def _alarms(seen: ClusterStatus, lag: float) -> Iterator[str]:
    if seen.armed and not any(worker.standing == "works" for worker in seen.workers):
        yield f"no worker runs, and {seen.armed} enrollments wait for an instant: start one"
    for worker in seen.workers:
        where = f"{worker.name} (process {worker.process} on {worker.host})"
        if worker.standing == "silent":
            yield f"{where} gives no sign of life since {worker.seen:%H:%M:%S}: end that process"
        if worker.standing == "works" and abs(worker.ahead) > SKEW:
            yield f"the clock of {where} is {worker.ahead:+.1f} s ahead: see to its time service"
        if worker.protocol != PROTOCOL:
            yield f"{where} speaks {worker.protocol}, this release {PROTOCOL}: update one of them"
    if seen.lag > lag:
        yield f"the oldest timer is {seen.lag:.0f} s overdue"
    if seen.errors:
        named = ", ".join(seen.failing)
        yield f"{seen.errors} wake-ups failed until they were given up, of {named}: see the log"
