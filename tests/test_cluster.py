"""A fleet of workers on one PostgreSQL record: each timer once, whoever dies.

Everything runs on a real server. Workers are this process and others; what is waited for is a
condition, and that it may take a minute is no claim but a way out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner, Result
from postgres import Databases, NoServer, Server
from walk_in import ANN, programs

from kat_workflow import Engine, Site, replay

dbos = pytest.importorskip("dbos", reason="pip install kat-workflow[cluster]")
psycopg = pytest.importorskip("psycopg")

from kat_workflow import cluster  # noqa: E402
from kat_workflow.cli import kat as kat_command  # noqa: E402
from kat_workflow.cluster import Worker, install, status, upkeep, wakes  # noqa: E402
from kat_workflow.errors import JournalError  # noqa: E402
from kat_workflow.journal.encrypting import Keys, add_key  # noqa: E402
from kat_workflow.journal.postgres import PostgresJournal  # noqa: E402

ROUNDS = timedelta(hours=4)
SOON = timedelta(milliseconds=300)
OFTEN = 0.2
"""Seconds between two rounds of a worker's upkeep here: nobody waits longer than need be."""

CHILD = """
import logging, sys, time
from datetime import timedelta
from kat_workflow import Engine
from kat_workflow.cluster import Worker, upkeep, worker

url, programs, how, protocol, every = sys.argv[1:]
worker.PROTOCOL = upkeep.PROTOCOL = protocol
upkeep.EVERY = float(every)
engine = Engine.open(url, programs=programs)
class Clinic:
    def run_due_in(self, enrollment):
        if how == "holds":
            sys.stdout.write("holds\\n"); sys.stdout.flush()
            time.sleep(600)
        time.sleep(0.02)
        return engine.run_due_in(enrollment)
Worker(Clinic(), url, name="child").start()
print("ready", flush=True)
time.sleep(600)
"""
"""A worker in a process of its own, which may hold on to what it is given."""


class Bedside:
    """A clinic that begins what it is woken for, and goes on when it is let: not, if `holds` says
    so, before `goes_on`. Whoever closes the fleet must have let it."""

    def __init__(self, engine: Engine, holds: Callable[[str], bool] = lambda _: True) -> None:
        self.engine, self._holds = engine, holds
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._may = Event()

    def goes_on(self) -> None:
        self._may.set()

    def run_due_in(self, enrollment: str) -> int:
        self.begun.append(enrollment)
        if self._holds(enrollment):
            assert self._may.wait(60)
        ran = self.engine.run_due_in(enrollment)
        self.ended.append(enrollment)
        return ran


class Fleet:
    """A database with what a fleet needs, an engine on it, and workers beside."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.programs = programs(folder)
        self.back = timedelta(0)
        self._open = ExitStack()
        self.engine = self._open.enter_context(
            Engine.open(url, programs=self.programs, clock=lambda: datetime.now(UTC) - self.back)
        )
        self.client = dbos.DBOSClient(
            system_database_url=url, application_name=wakes.APPLICATION, lazy=True
        )
        self._open.callback(self.client.destroy)

    def enrolled(self, patient: str, ago: timedelta, site: str = "main") -> str:
        """Enroll somebody so long ago; rounds come every four hours, and are missed."""
        self.back = ago
        try:
            return self.engine.enroll("walk-in", patient=patient, by=ANN, site=site)
        finally:
            self.back = timedelta(0)

    def timers(self, enrollment: str) -> list[str]:
        causes = dict.fromkeys(x.cause for x in self.engine.history(enrollment))
        return [cause for cause in causes if cause.startswith("timer:")]

    def rows(self, *standing: str) -> list[Any]:
        found: list[Any] = self.client.list_workflows(status=list(standing) or None)
        return found

    def worker(self, at: Bedside | None = None, **options: object) -> Worker:
        """A worker in this process, on an engine of its own."""
        engine = self._open.enter_context(Engine.open(self.url, programs=self.programs))
        worker = Worker(at or engine, self.url, **options)  # type: ignore[arg-type]
        self._open.callback(worker.stop)
        worker.start()
        return worker

    def child(self, how: str = "works", protocol: str = wakes.PROTOCOL) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, self.url, str(self.programs), how, protocol, str(OFTEN)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._open.callback(end, child)
        says(child, "ready")
        return child

    def is_sound(self, enrollment: str) -> bool:
        """Whether no version is missing or doubled and the state row is what the entries say."""
        history = self.engine.history(enrollment)
        return [x.version for x in history] == list(range(1, len(history) + 1)) and (
            self.engine.enrollment(enrollment) == replay(x.event for x in history)
        )

    def ran(self, enrollments: list[str], times: int) -> bool:
        return all(len(self.timers(x)) >= times for x in enrollments)

    def each_once(self, enrollments: list[str], times: int) -> bool:
        return all(len(self.timers(x)) == times and self.is_sound(x) for x in enrollments)

    def close(self) -> None:
        self._open.close()


def says(child: subprocess.Popen[str], what: str) -> None:
    assert child.stdout is not None
    assert child.stdout.readline().strip() == what


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def until(so: Callable[[], bool]) -> None:
    tried = time.monotonic() + 60
    while not so():
        assert time.monotonic() < tried
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "EVERY", OFTEN)


@pytest.fixture(scope="module")
def prepared(databases: Databases) -> str:
    """A database with the tables of a journal and of the fleet, to copy."""
    url = databases.with_journal()
    install(url)
    return url


@pytest.fixture(scope="module")
def mortal() -> Iterator[tuple[Server, Databases, str]]:
    """A server that may be killed, and a database on it to copy.

    Killing it leaves what it wrote to the system, so that it need not force it to the disk.
    """
    try:
        server = Server("fsync=off")
    except NoServer as error:
        pytest.skip(f"PostgreSQL is NOT tested: {error}")
    held = Databases(server.url())
    url = held.with_journal()
    install(url)
    yield server, held, url
    server.close()


@pytest.fixture
def fleet(databases: Databases, prepared: str, tmp_path: Path) -> Iterator[Fleet]:
    url = databases.fresh(prepared)
    fleet = Fleet(url, tmp_path)
    yield fleet
    fleet.close()
    databases.drop(url)


# Arming


def test_a_commit_arms_the_wake_up_and_names_the_enrollment_and_the_instant_only(
    fleet: Fleet,
) -> None:
    enrollment = fleet.enrolled("told-in-confidence", timedelta(0))
    (armed,) = fleet.rows()
    due = fleet.engine.enrollment(enrollment).wake
    assert due is not None
    micros = (due - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    assert armed.status == "DELAYED"
    assert armed.input is not None
    assert list(armed.input["args"]) == [enrollment, micros]
    assert armed.queue_partition_key == enrollment
    assert armed.delay_until_epoch_ms is not None
    assert 0 <= armed.delay_until_epoch_ms * 1000 - micros < 1000
    with psycopg.connect(fleet.url) as connection:
        told = connection.execute("SELECT w::text FROM dbos.workflow_status w").fetchall()
    assert "told-in-confidence" not in str(told)


def test_a_wake_up_that_stays_is_armed_once_and_one_that_moves_again(fleet: Fleet) -> None:
    enrollment = fleet.enrolled("P", timedelta(0))
    before = fleet.engine.enrollment(enrollment).wake

    fleet.engine.record(enrollment, "look", {"systolic": 120}, by=ANN)
    assert fleet.engine.enrollment(enrollment).wake == before
    assert len(fleet.rows()) == 1
    fleet.engine.do(enrollment, "done rounds", by=ANN)

    assert fleet.engine.enrollment(enrollment).wake != before
    assert len({x.workflow_id for x in fleet.rows()}) == 2


def test_what_is_rolled_back_leaves_neither_entries_nor_wake_up(fleet: Fleet) -> None:
    with psycopg.connect(fleet.url) as connection:
        hosted = Engine(PostgresJournal(connection=connection), fleet.engine._library)
        connection.execute("SELECT 'a transaction of the host'")
        enrollment = hosted.enroll("walk-in", patient="P", by=ANN)
        (armed,) = connection.execute(
            "SELECT count(*) FROM dbos.workflow_status WHERE queue_partition_key = %s",
            (enrollment,),
        ).fetchone() or (0,)
        connection.rollback()

    assert armed == 1
    assert fleet.engine.journal.streams("enrollment:") == []
    assert fleet.rows() == []


def test_whoever_may_write_the_journal_arms_without_a_right_on_the_tables_of_dbos(
    fleet: Fleet,
) -> None:
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        role = f"kat_host_{os.getpid()}"
        connection.execute(f"CREATE ROLE {role}")
        try:
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
            connection.execute(f"SET ROLE {role}")
            hosted = Engine(PostgresJournal(connection=connection), fleet.engine._library)
            hosted.enroll("walk-in", patient="P", by=ANN)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM dbos.workflow_status")
        finally:
            connection.execute("RESET ROLE")
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")

    assert len(fleet.rows("DELAYED")) == 1


def test_installing_arms_what_waits_already_and_a_second_time_nothing(
    database: str, tmp_path: Path
) -> None:
    fleet = Fleet(database, tmp_path)
    for n in range(3):
        fleet.enrolled(f"P-{n}", timedelta(0))

    assert install(database) == 3
    assert install(database) == 0
    assert len(fleet.rows("DELAYED")) == 3

    cluster.remove(database)
    fleet.enrolled("P-3", timedelta(0))
    assert len(fleet.rows()) == 3
    assert install(database) == 4
    assert len(fleet.rows()) == 4
    fleet.close()


def test_whoever_prepares_the_database_waits_for_whoever_does_so_already(
    database: str, tmp_path: Path
) -> None:
    fleet = Fleet(database, tmp_path)
    fleet.enrolled("P", timedelta(0))
    asked: set[Any] = set()

    with psycopg.connect(database, autocommit=True) as peer, ThreadPoolExecutor(1) as host:
        peer.execute("SELECT pg_advisory_lock(%s)", (wakes._INSTALLING,))
        armed = host.submit(install, database)

        def again_and_again() -> bool:
            asked.update(
                peer.execute(
                    """SELECT query_start FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'kat-workflow'
                    AND query LIKE 'SELECT pg_try_advisory_lock%'"""
                ).fetchall()
            )
            return len(asked) > 1

        try:
            until(again_and_again)
            made = peer.execute("SELECT to_regclass('kat_workers') IS NOT NULL").fetchone()
        finally:
            peer.execute("SELECT pg_advisory_unlock(%s)", (wakes._INSTALLING,))
        assert armed.result(60) == 1

    assert made == (False,)
    fleet.close()


def test_erasing_arms_nothing_and_takes_no_other_timer_away(fleet: Fleet) -> None:
    """The patient's own stream gets another name, and a note is taken out of a course."""
    left = fleet.enrolled("P-1", timedelta(0))
    stays = fleet.enrolled("P-2", ROUNDS - 5 * SOON)
    fleet.engine.do(left, "leave against_advice", by=ANN)
    fleet.engine.do(stays, "hold", by=ANN, given={"reason": "Her brother called"})
    fleet.engine.do(stays, "lift", by=ANN)
    before = [(x.workflow_id, x.status) for x in fleet.rows()]

    fleet.engine.erase("P-1", by=ANN, ground="Art. 17")
    told = [x for x in fleet.engine.journal.read(f"enrollment:{stays}") if b"brother" in x.values]
    fleet.engine.erase_entry(stays, told[0].version, by=ANN, ground="Art. 17")

    assert [(x.workflow_id, x.status) for x in fleet.rows()] == before
    fleet.worker()
    until(lambda: fleet.ran([stays], 1))
    assert len(fleet.timers(stays)) == 1
    assert fleet.timers(left) == []
    assert fleet.engine.journal.streams("patient:P-1") == []


# Running


def test_two_workers_run_each_timer_once(fleet: Fleet) -> None:
    patients = [fleet.enrolled(f"P-{n}", 2 * ROUNDS + timedelta(minutes=n)) for n in range(20)]
    soon = fleet.enrolled("P", ROUNDS - SOON)

    fleet.child()
    fleet.worker()
    until(lambda: fleet.ran(patients, 2) and fleet.ran([soon], 1))

    assert fleet.each_once(patients, 2)
    assert fleet.each_once([soon], 1)
    until(lambda: {x.status for x in fleet.rows()} == {"SUCCESS", "DELAYED"})


def test_what_a_killed_worker_had_in_hand_is_taken_over(fleet: Fleet) -> None:
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(4)]
    child = fleet.child("holds")
    says(child, "holds")

    child.kill()
    fleet.worker(silence=3600)  # its lock tells, without waiting for a sign of life
    until(lambda: fleet.ran(patients, 1))

    assert fleet.each_once(patients, 1)
    until(lambda: len(status(fleet.url).workers) == 1)
    assert status(fleet.url).orphans == 0


def test_a_worker_that_was_taken_for_dead_is_known_again_when_it_is_back(fleet: Fleet) -> None:
    """Frozen, it lost its session: a peer forgot it, and has let its lock go."""
    child = fleet.child()
    fleet.worker(silence=3600)
    until(lambda: len(status(fleet.url).workers) == 2)
    os.kill(child.pid, signal.SIGSTOP)
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        ended = connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_locks JOIN kat_workers
            ON lock = (classid::bigint << 32 | objid::bigint) AND executor LIKE 'child-%'
            WHERE locktype = 'advisory' AND objsubid = 1"""
        ).fetchall()
    assert ended == [(True,)]
    until(lambda: [x.process for x in status(fleet.url).workers] == [os.getpid()])

    os.kill(child.pid, signal.SIGCONT)

    until(lambda: [x.standing for x in status(fleet.url).workers] == ["works", "works"])


def test_what_a_frozen_worker_had_in_hand_is_taken_over(fleet: Fleet) -> None:
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(4)]
    child = fleet.child("holds")
    says(child, "holds")

    os.kill(child.pid, signal.SIGSTOP)
    fleet.worker(silence=0.7)
    until(lambda: fleet.ran(patients, 1))

    assert fleet.each_once(patients, 1)


def test_what_was_claimed_under_another_protocol_is_armed_again_under_this_one(
    fleet: Fleet,
) -> None:
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(4)]
    child = fleet.child("holds", protocol="kat-0")
    says(child, "holds")
    assert {x.app_version for x in fleet.rows("PENDING")} == {"kat-0"}

    child.kill()
    fleet.worker(grace=0.1)
    until(lambda: fleet.ran(patients, 1))

    assert fleet.each_once(patients, 1)
    until(lambda: fleet.rows("PENDING", "ENQUEUED") == [])


def test_where_a_newer_protocol_was_taken_back_the_wake_ups_go_to_this_one(fleet: Fleet) -> None:
    fleet.worker().stop()  # this protocol was there before
    newer = fleet.child(protocol="kat-9")
    newer.kill()
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(4)]

    fleet.worker(grace=0.5)
    until(lambda: fleet.ran(patients, 1))

    assert fleet.each_once(patients, 1)


def test_a_worker_that_is_stopped_gives_back_what_it_has_in_hand(fleet: Fleet) -> None:
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(60)]
    worker = fleet.worker()
    until(lambda: any(fleet.timers(x) for x in patients))

    assert worker.stop()
    assert fleet.rows("PENDING", "ERROR") == []
    assert status(fleet.url).workers == ()
    worker.start()
    until(lambda: fleet.ran(patients, 1))

    assert fleet.each_once(patients, 1)


def test_a_process_has_one_worker(fleet: Fleet) -> None:
    first = fleet.worker()

    with pytest.raises(RuntimeError, match="in this process already"):
        fleet.worker()

    patient = fleet.enrolled("P", ROUNDS + SOON)
    until(lambda: fleet.ran([patient], 1))
    assert [x.name for x in status(fleet.url).workers] == [first.name]


def test_a_server_that_is_killed_and_started_again_loses_no_timer(
    mortal: tuple[Server, Databases, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server, databases, prepared = mortal
    fleet = Fleet(databases.fresh(prepared), tmp_path)
    request.addfinalizer(fleet.close)  # a worker that is left would fail all tests after it
    patients = [fleet.enrolled(f"P-{n}", ROUNDS * 5 + SOON) for n in range(10)]
    fleet.worker(grace=1.0)
    until(lambda: any(fleet.timers(x) for x in patients))

    server.kill()
    server.start()
    until(lambda: fleet.ran(patients, 5))

    assert fleet.each_once(patients, 5)


def test_a_worker_stops_while_the_database_is_away_and_its_work_is_taken_over(
    mortal: tuple[Server, Databases, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server, databases, prepared = mortal
    fleet = Fleet(databases.fresh(prepared), tmp_path)
    request.addfinalizer(fleet.close)  # a worker that is left would fail all tests after it
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(20)]
    worker = fleet.worker(grace=1.0)
    until(lambda: any(fleet.timers(x) for x in patients))

    server.kill()
    worker.stop(1.0)
    server.start()
    fleet.worker(grace=1.0)
    until(lambda: fleet.ran(patients, 1))

    assert fleet.each_once(patients, 1)
    until(lambda: len(status(fleet.url).workers) == 1)


# The net below


def test_what_is_overdue_without_a_wake_up_is_armed_again(fleet: Fleet) -> None:
    lost = fleet.enrolled("P-1", ROUNDS + SOON)
    fleet.client.delete_workflows([x.workflow_id for x in fleet.rows()])

    fleet.worker(grace=0.5)
    until(lambda: fleet.ran([lost], 1))

    assert fleet.each_once([lost], 1)


def test_what_was_claimed_without_the_worker_hearing_of_it_goes_back_to_the_queue(
    fleet: Fleet,
) -> None:
    """As when the server dies between the commit of a claim and its answer."""
    worker = fleet.worker(grace=0.5)
    patient = fleet.enrolled("P", ROUNDS - 10 * SOON)
    with psycopg.connect(fleet.url) as connection:
        claimed = connection.execute(
            "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = %s", (worker.name,)
        )
        assert claimed.rowcount == 1

    until(lambda: fleet.ran([patient], 1))

    assert fleet.each_once([patient], 1)


def test_a_worker_that_is_told_to_look_does_not_wait_for_the_grace(fleet: Fleet) -> None:
    worker = fleet.worker(grace=3600)
    lost = fleet.enrolled("P-1", ROUNDS - timedelta(seconds=1))
    fleet.client.delete_workflows([x.workflow_id for x in fleet.rows()])
    until(lambda: fleet.engine.enrollment(lost).wake < datetime.now(UTC))  # type: ignore[operator]

    worker.look()
    until(lambda: fleet.ran([lost], 1))

    assert fleet.each_once([lost], 1)


def test_what_is_in_the_queue_or_in_hand_is_not_armed_again(fleet: Fleet) -> None:
    fleet.enrolled("P", ROUNDS + timedelta(minutes=1))
    clinic = Bedside(fleet.engine)
    fleet.worker(clinic, grace=3600)
    until(lambda: len(clinic.begun) == 1)

    try:
        with wakes.connect(fleet.url) as connection:
            assert upkeep.reconcile(connection, 0.0) == 0
            # Under another protocol it waits for a worker of that one, and is no wake-up here.
            connection.execute(
                "UPDATE dbos.workflow_status SET application_version = 'kat-0'"
                " WHERE status = 'PENDING'"
            )
            assert upkeep.reconcile(connection, 0.0) == 1
    finally:
        clinic.goes_on()


def test_while_the_workers_are_behind_nothing_is_armed_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is overdue then stands in a line longer than is looked at."""
    fleet.enrolled("P-1", ROUNDS + timedelta(minutes=1))
    clinic = Bedside(fleet.engine)
    fleet.worker(clinic, grace=3600)
    until(lambda: len(clinic.begun) == 1)
    fleet.enrolled("P-2", ROUNDS - timedelta(seconds=1))
    fleet.client.delete_workflows([x.workflow_id for x in fleet.rows("DELAYED", "ENQUEUED")])
    until(lambda: status(fleet.url).overdue == 2)

    try:
        with wakes.connect(fleet.url) as connection:
            monkeypatch.setattr(upkeep, "MANY", 1)
            assert upkeep.reconcile(connection, 0.0) == 0
            monkeypatch.setattr(upkeep, "MANY", 1000)
            assert upkeep.reconcile(connection, 0.0) == 1
    finally:
        clinic.goes_on()


def test_what_failed_is_left_alone_for_the_grace_and_then_armed_again(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    enrollment = fleet.enrolled("P", ROUNDS + timedelta(minutes=10))
    clinic = Bedside(fleet.engine)
    fleet.worker(clinic, grace=3600)
    until(lambda: len(clinic.begun) == 1)
    failed = """UPDATE dbos.workflow_status SET status = 'ERROR', completed_at = %s,
        updated_at = %s WHERE queue_partition_key = %s"""
    now = int(time.time() * 1000)

    try:
        with wakes.connect(fleet.url) as connection:
            connection.execute(failed, (now, now, enrollment))
            assert upkeep.reconcile(connection, 100.0) == 0
            connection.execute(failed, (now - 101_000, now - 101_000, enrollment))
            assert upkeep.reconcile(connection, 100.0) == 1
    finally:
        clinic.goes_on()

    assert f"the timers of enrollment:{enrollment} failed 1 times" in caplog.text


def test_what_a_worker_runs_for_long_is_not_taken_for_forgotten(fleet: Fleet) -> None:
    fleet.enrolled("P", ROUNDS + SOON)
    clinic = Bedside(fleet.engine)
    worker = fleet.worker(clinic, grace=3600)
    until(lambda: len(clinic.begun) == 1)
    assert worker._upkeep is not None

    try:
        for _ in range(3):
            worker._upkeep._claim_anew()
        assert [x.status for x in fleet.rows("PENDING", "ENQUEUED")] == ["PENDING"]
    finally:
        clinic.goes_on()

    until(lambda: len(clinic.ended) == 1)
    assert len(clinic.begun) == 1


def test_one_worker_at_a_time_looks_for_what_was_lost(fleet: Fleet) -> None:
    worker = fleet.worker(grace=3600)
    lost = fleet.enrolled("P", ROUNDS - timedelta(hours=1))
    fleet.client.delete_workflows([x.workflow_id for x in fleet.rows()])
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        # As if it had stood there for two hours.
        connection.execute("UPDATE kat_streams SET wake = wake - 10800000000 WHERE stream = %s",
                           (f"enrollment:{lost}",))  # fmt: skip
    fleet.client.delete_workflows([x.workflow_id for x in fleet.rows()])
    keeper = worker._upkeep
    assert keeper is not None

    with (
        psycopg.connect(fleet.url, autocommit=True) as peer,
        wakes.connect(fleet.url) as connection,
    ):
        peer.execute("SELECT pg_advisory_lock(%s)", (upkeep._NET,))
        keeper._netted -= 3600
        keeper._net(connection)
        meanwhile = fleet.rows()
        peer.execute("SELECT pg_advisory_unlock(%s)", (upkeep._NET,))
        keeper._netted -= 3600
        keeper._net(connection)

    assert meanwhile == []
    until(lambda: len(fleet.rows()) == 1)


def test_two_wake_ups_of_one_enrollment_are_run_one_after_the_other(fleet: Fleet) -> None:
    """Others, each called after the one before it has ended, show that there was time enough."""
    twice = fleet.enrolled("twice", timedelta(0))
    others = [fleet.enrolled(f"P-{n}", timedelta(0)) for n in range(4)]
    clinic = Bedside(fleet.engine, lambda enrollment: enrollment == twice)
    fleet.worker(clinic, grace=3600)

    try:
        with psycopg.connect(fleet.url, autocommit=True) as connection:
            for number, each in enumerate((twice, twice, *others)):
                id_ = f"wake:{each}:{number}"
                connection.execute("SELECT kat_wake_up(%s, 1, %s)", (each, id_))
                if each is not twice:
                    until(lambda each=each: each in clinic.ended)  # type: ignore[misc]
        assert clinic.begun.count(twice) == 1
    finally:
        clinic.goes_on()

    until(lambda: clinic.ended.count(twice) == 2)


def test_rows_are_kept_as_long_as_they_are_to_be(fleet: Fleet) -> None:
    patient = fleet.enrolled("P", ROUNDS + SOON)
    fleet.worker(grace=3600)
    until(lambda: fleet.ran([patient], 1) and len(fleet.rows("SUCCESS")) == 1)
    now = datetime.now(UTC)

    assert upkeep.purge(["SUCCESS"], now - timedelta(minutes=5), lambda: False) == 0
    assert upkeep.purge(upkeep.FAILED, now, lambda: False) == 0
    assert len(fleet.rows("SUCCESS")) == 1
    assert upkeep.purge(["SUCCESS"], datetime.now(UTC), lambda: False) == 1
    assert fleet.rows("SUCCESS") == []


def test_rows_of_finished_wake_ups_are_purged(fleet: Fleet) -> None:
    patients = [fleet.enrolled(f"P-{n}", ROUNDS + SOON) for n in range(4)]

    fleet.worker(grace=0.5, keep=timedelta(0))
    until(lambda: fleet.ran(patients, 1) and fleet.rows("SUCCESS") == [])

    assert len(fleet.rows("DELAYED")) == 4


def test_an_enrollment_that_fails_for_good_is_told_and_tried_again(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine.open(
        fleet.url,
        programs=fleet.programs,
        sites=[Site("north")],
        clock=lambda: datetime.now(UTC) - ROUNDS - SOON,
    ) as north:
        elsewhere = north.enroll("walk-in", patient="told", by=ANN, site="north")

    fleet.worker(grace=0.5, keep=timedelta(0))  # which is how long successes are kept
    until(lambda: len(fleet.rows("ERROR")) >= 2)
    seen = status(fleet.url)

    assert seen.failing == (elsewhere,)
    assert any(elsewhere in alarm for alarm in seen.alarms)
    assert f"enrollment:{elsewhere} cannot be run" in caplog.text
    assert "told" not in caplog.text
    assert f"the timers of enrollment:{elsewhere} failed" in caplog.text


def test_a_wake_up_for_nobody_is_no_failure(fleet: Fleet) -> None:
    fleet.worker()

    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("SELECT kat_wake_up('e-gone', 1, 'wake:e-gone:1:1')")
    until(lambda: [x.status for x in fleet.rows()] == ["SUCCESS"])


def test_a_host_whose_clock_is_behind_waits_for_the_instant(fleet: Fleet) -> None:
    patient = fleet.enrolled("P", ROUNDS - 3 * SOON)
    due = fleet.engine.enrollment(patient).wake
    assert due is not None
    fleet.client.delete_workflows([x.workflow_id for x in fleet.rows()])
    called = {"workflow_name": wakes.WORKFLOW, "queue_name": wakes.QUEUE}

    fleet.worker()
    fleet.client.enqueue(
        {**called, "queue_partition_key": patient}, patient, int(due.timestamp() * 1e6)
    )
    until(lambda: fleet.ran([patient], 1))

    assert fleet.each_once([patient], 1)
    assert fleet.engine.history(patient)[-1].recorded >= due


def test_a_host_whose_clock_is_far_behind_is_told(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    patient = fleet.enrolled("P", timedelta(0))
    called = {"workflow_name": wakes.WORKFLOW, "queue_name": wakes.QUEUE}

    fleet.worker()
    fleet.client.enqueue(
        {**called, "queue_partition_key": patient}, patient, int((time.time() + 3600) * 1e6)
    )
    until(lambda: "the clocks of two hosts differ" in caplog.text)

    assert fleet.timers(patient) == []


def test_a_host_whose_clock_is_not_that_of_the_database_is_told_without_any_timer(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "SKEW", -1.0)  # so that any clock is off

    fleet.worker()

    assert "ahead of the database's" in caplog.text


# The command line


def kat(*words: str) -> Result:
    return CliRunner().invoke(kat_command, words)


def test_a_worker_is_started_and_stopped_from_the_command_line(fleet: Fleet) -> None:
    patient = fleet.enrolled("P", ROUNDS + SOON)
    child = subprocess.Popen(
        [sys.executable, "-c", "from kat_workflow.cli import main; main()", "worker", fleet.url,
         "--programs", str(fleet.programs), "--name", "desk"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: fleet.ran([patient], 1))
        shown = kat("cluster", "status", fleet.url)
        seen = json.loads(kat("cluster", "status", fleet.url, "--json").stdout)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    finally:
        end(child)

    assert shown.exit_code == 0
    assert "1 enrollments wait for an instant; 0 are overdue" in shown.output
    assert [x["standing"] for x in seen["workers"]] == ["works"]
    assert seen["workers"][0]["name"].startswith("desk-")
    assert fleet.rows("PENDING", "ENQUEUED") == []
    after = kat("cluster", "status", fleet.url)
    assert after.exit_code == 5
    assert "no worker runs, and 1 enrollments wait" in after.stderr


def test_a_worker_runs_the_timers_of_an_encrypted_record_with_its_keys_and_not_without(
    fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "clinic.keys").write_bytes(add_key(b"{}", "k"))
    keys = Keys.parse((tmp_path / "clinic.keys").read_bytes())
    words = ["worker", fleet.url, "--programs", str(fleet.programs)]
    ago = datetime.now(UTC) - ROUNDS - SOON
    with Engine.open(fleet.url, programs=fleet.programs, clock=lambda: ago, keys=keys) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        without = kat(*words)
        child = subprocess.Popen(
            [sys.executable, "-c", "from kat_workflow.cli import main; main()", *words],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "KAT_KEYS": str(tmp_path / "clinic.keys")},
        )  # fmt: skip
        try:
            until(lambda: any(x.cause.startswith("timer:") for x in engine.history(patient)))
            child.send_signal(signal.SIGTERM)
            assert child.wait(60) == 0
        finally:
            end(child)

    assert isinstance(without.exception, JournalError)
    assert "KAT_KEYS" in str(without.exception)


def test_the_status_names_what_somebody_must_look_at(fleet: Fleet) -> None:
    fleet.enrolled("P", ROUNDS + timedelta(minutes=5))
    child = fleet.child("holds", protocol="kat-0")
    says(child, "holds")
    child.kill()
    until(lambda: status(fleet.url).workers[0].standing == "dead")

    seen = status(fleet.url)

    assert (seen.overdue, seen.orphans, seen.running) == (1, 1, 1)
    assert seen.lag > 299
    assert len(seen.alarms) == 3
    assert "speaks kat-0" in seen.alarms[1]


def test_the_status_names_workers_that_are_silent_and_clocks_that_are_off(fleet: Fleet) -> None:
    child = fleet.child()
    os.kill(child.pid, signal.SIGSTOP)

    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("UPDATE kat_workers SET ahead = 7.5")
        (off,) = status(fleet.url).alarms
        connection.execute("UPDATE kat_workers SET seen = now() - interval '1 minute'")
        (silent,) = status(fleet.url).alarms

    assert f"the clock of {status(fleet.url).workers[0].name}" in off
    assert "+7.5 s ahead" in off
    assert "gives no sign of life" in silent


def test_what_is_no_fleet_is_told(database: str, tmp_path: Path) -> None:
    nowhere = database.replace("?host=", "?host=/nowhere")

    with pytest.raises(JournalError, match="no worker was ever started"):
        status(database)
    with pytest.raises(JournalError, match="cannot be reached"):
        status(nowhere)
    assert "no postgresql:// URL" in kat("worker", str(tmp_path / "clinic.db")).output


def test_without_the_extra_the_way_out_is_named() -> None:
    code = (
        "import sys; sys.modules['dbos'] = None\n"
        "from kat_workflow.cli import main; main(['cluster', 'status', 'postgresql://x/y'])"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert told.returncode == 5
    assert "pip install 'kat-workflow[cluster]'" in told.stderr
