"""What every scheduler owes to a clinic, and what the thread beside the engine does besides.

The first part holds for each scheduler that `ward` is given. Time is the machine's: a patient is
enrolled by a clock that was put back, so that what follows from it is due now.
"""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, local
from time import monotonic
from typing import Self

import pytest
from walk_in import ANN, programs

from kat_workflow import Engine, Site, replay
from kat_workflow.engine.scheduling import Scheduler, ThreadScheduler
from kat_workflow.journal import Append

FOUR_HOURS = timedelta(hours=4)
SOON = timedelta(milliseconds=300)


class Hands(local):
    """The machine's clock, which a thread may put back for itself."""

    back = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.back


class Ward:
    """A clinic of one or more engines on one journal, and what was heard of them."""

    def __init__(self, folder: Path, make: Callable[[Engine], Scheduler], where: str = "") -> None:
        self.where = where or str(folder / "clinic.db")
        self.programs = programs(folder)
        self.hands = Hands()
        self._make = make
        self._heard = Condition()
        self._open = ExitStack()
        self.engine = self.another_engine()

    def another_engine(self, *sites: Site) -> Engine:
        engine = Engine.open(
            self.where, programs=self.programs, clock=self.hands, sites=sites or [Site()]
        )
        engine.listen(lambda _: self.hear())
        return self._open.enter_context(engine)

    def scheduler(self, engine: Engine | None = None) -> Scheduler:
        """A scheduler that has begun."""
        return self._open.enter_context(self._make(engine or self.engine))

    def enrolled(self, patient: str, ago: timedelta, **more: str) -> str:
        """Enroll somebody so long ago; rounds come every four hours, and are missed."""
        self.hands.back = ago
        try:
            return self.engine.enroll("walk-in", patient=patient, by=ANN, **more)
        finally:
            self.hands.back = timedelta(0)

    def does(self, patient: str, phrase: str, ago: timedelta) -> None:
        self.hands.back = ago
        self.engine.do(patient, phrase, by=ANN)
        self.hands.back = timedelta(0)

    def timers(self, patient: str) -> list[str]:
        """The timers that the journal says were run, in order."""
        causes = dict.fromkeys(x.cause for x in self.engine.history(patient))
        return [cause for cause in causes if cause.startswith("timer:")]

    def hear(self) -> None:
        with self._heard:
            self._heard.notify_all()

    def until(self, so: Callable[[], bool]) -> None:
        """Wait for what schedulers do; that it takes a minute is no claim but a way out."""
        tried = monotonic() + 60
        with self._heard:
            while not so():
                assert monotonic() < tried
                self._heard.wait(0.1)  # what other processes commit is not heard

    def close(self) -> None:
        self._open.close()


class WorkerElsewhere:
    """A worker of a fleet in a process of its own, since a process has one."""

    def __init__(self, url: str, programs: Path) -> None:
        code = "from kat_workflow.cli import main; main()"
        words = (sys.executable, "-c", code, "worker", url, "--programs", str(programs))
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL)

    def stop(self) -> bool:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()
        return True

    def look(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def thread(folder: Path, _: pytest.FixtureRequest) -> Ward:
    return Ward(folder, ThreadScheduler)


def thread_on_postgres(folder: Path, request: pytest.FixtureRequest) -> Ward:
    return Ward(folder, ThreadScheduler, request.getfixturevalue("database"))


def cluster(folder: Path, request: pytest.FixtureRequest) -> Ward:
    """A fleet on PostgreSQL, whose first worker is in this process."""
    pytest.importorskip("dbos", reason="pip install kat-workflow[cluster]")
    from kat_workflow.cluster import Worker  # noqa: PLC0415  # without the extra it is not there

    url = request.getfixturevalue("database")
    at = programs(folder)
    began: list[Scheduler] = []

    def make(engine: Engine) -> Scheduler:
        began.append(WorkerElsewhere(url, at) if began else Worker(engine, url))
        return began[-1]

    return Ward(folder, make, url)


@pytest.fixture(params=[thread, thread_on_postgres, cluster])
def ward(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    ward = request.param(tmp_path, request)
    yield ward
    ward.close()


def is_sound(ward: Ward, patient: str) -> bool:
    """Whether no version is missing or doubled and the state row is what the entries say."""
    history = ward.engine.history(patient)
    versions = [x.version for x in history]
    return versions == list(range(1, len(history) + 1)) and ward.engine.enrollment(
        patient
    ) == replay(x.event for x in history)


def spoil(ward: Ward, patient: str) -> str:
    """Write what is no event to the patient's stream, which is due; returns its name."""
    stream = f"enrollment:{patient}"
    wake = ward.engine.now - timedelta(hours=8)
    ward.engine.journal.append(
        [Append(stream, ward.engine.journal.version(stream), (b'{"event": "?"}',), None, wake)],
        command=f"spoils {patient}",
        digest="",
        recorded=wake,
        person="",
        role="",
    )
    return stream


# Every scheduler


def test_what_came_due_while_nobody_ran_is_run_once_and_in_order(ward: Ward) -> None:
    patients = [ward.enrolled(f"P-{n}", timedelta(days=2, minutes=n)) for n in range(5)]

    ward.scheduler()
    ward.until(lambda: all(len(ward.timers(x)) >= 12 for x in patients))

    for patient in patients:
        rounds = [f"rounds.{n}/next" for n in range(1, 13)]
        assert [timer.split("@")[0].split("/", 2)[2] for timer in ward.timers(patient)] == rounds
        assert is_sound(ward, patient)


def test_a_timer_is_run_when_its_instant_comes_though_nobody_asks(ward: Ward) -> None:
    ward.scheduler()

    patient = ward.enrolled("P", FOUR_HOURS - SOON)
    due = ward.engine.enrollment(patient).wake
    ward.until(lambda: len(ward.timers(patient)) > 0)

    assert due is not None
    assert ward.engine.history(patient)[-1].recorded >= due
    assert len(ward.timers(patient)) == 1


def test_a_timer_that_was_cancelled_is_not_run(ward: Ward) -> None:
    left = ward.enrolled("P-1", timedelta(hours=5))
    stays = ward.enrolled("P-2", timedelta(hours=4, minutes=30))
    ward.does(left, "leave against_advice", timedelta(hours=4, minutes=30))

    scheduler = ward.scheduler()
    ward.until(lambda: bool(ward.timers(stays)))
    scheduler.stop()

    assert ward.timers(left) == []


def test_a_timer_that_was_moved_is_run_at_its_new_instant_only(ward: Ward) -> None:
    moved = ward.enrolled("P-1", timedelta(hours=9))
    ward.does(moved, "done rounds", 2 * FOUR_HOURS - SOON)
    due = ward.engine.enrollment(moved).wake
    assert due is not None
    assert due > datetime.now(UTC) - SOON

    scheduler = ward.scheduler()
    ward.until(lambda: bool(ward.timers(moved)))
    scheduler.stop()

    (timer,) = ward.timers(moved)
    assert timer.endswith(due.isoformat())
    assert is_sound(ward, moved)


def test_two_schedulers_on_one_journal_run_each_timer_once(ward: Ward) -> None:
    patients = [ward.enrolled(f"P-{n}", timedelta(hours=9)) for n in range(20)]
    other = ward.another_engine()

    ward.scheduler()
    ward.scheduler(other)
    ward.until(lambda: all(len(ward.timers(x)) >= 2 for x in patients))

    assert all(len(ward.timers(x)) == 2 and is_sound(ward, x) for x in patients)


def test_an_enrollment_that_cannot_be_read_holds_up_no_other_and_is_named(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = ward.enrolled("told-in-confidence", timedelta(hours=9))
    sound = [ward.enrolled(f"P-{n}", timedelta(hours=5)) for n in range(3)]
    stream = spoil(ward, spoilt)

    with caplog.at_level(logging.ERROR, "kat_workflow"):
        scheduler = ward.scheduler()
        ward.until(lambda: all(ward.timers(x) for x in sound))
        scheduler.stop()

    assert stream in caplog.text
    assert "told-in-confidence" not in caplog.text


def test_a_scheduler_that_was_stopped_runs_nothing_until_it_is_started_again(ward: Ward) -> None:
    scheduler = ward.scheduler()
    assert scheduler.stop()
    assert scheduler.stop()
    patient = ward.enrolled("P", timedelta(hours=5))

    assert ward.timers(patient) == []
    scheduler.start()
    scheduler.start()
    ward.until(lambda: bool(ward.timers(patient)))

    assert scheduler.stop()
    assert len(ward.timers(patient)) == 1


# The thread beside the engine


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Ward]:
    """A clinic whose thread looks by itself only once in an hour."""
    ward = Ward(tmp_path, lambda engine: ThreadScheduler(engine, every=3600))
    yield ward
    ward.close()


def test_the_thread_wakes_at_the_next_instant_and_at_a_nearer_one(alone: Ward) -> None:
    later = alone.enrolled("P-1", FOUR_HOURS - 2 * SOON)
    alone.scheduler()

    nearer = alone.enrolled("P-2", FOUR_HOURS - SOON)
    alone.until(lambda: bool(alone.timers(nearer)) and bool(alone.timers(later)))

    timers = [x.cause for x in alone.engine.follow() if x.cause.startswith("timer:")]
    assert timers[0] == alone.timers(nearer)[0]
    assert len(set(timers)) == 2


def test_the_thread_looks_when_the_host_says_that_the_clock_was_set(alone: Ward) -> None:
    patient = alone.enrolled("P", timedelta(0))
    scheduler = alone.scheduler()

    Hands.back = -timedelta(hours=5)
    try:
        scheduler.look()
        alone.until(lambda: bool(alone.timers(patient)))
    finally:
        Hands.back = timedelta(0)

    assert len(alone.timers(patient)) == 1


def test_what_another_engine_commits_is_found_by_looking(tmp_path: Path) -> None:
    ward = Ward(tmp_path, lambda engine: ThreadScheduler(engine, every=0.01))
    ward.scheduler(ward.another_engine())

    patient = ward.enrolled("P", timedelta(hours=5))
    ward.until(lambda: bool(ward.timers(patient)))

    ward.close()
    with Engine.open(ward.where, programs=ward.programs) as engine:
        assert [x.person for x in engine.history(patient) if x.cause.startswith("timer")][0:1]


def test_an_enrollment_at_a_site_of_another_engine_is_said_once_and_left_to_it(
    alone: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    north = alone.another_engine(Site("main"), Site("north"))
    alone.hands.back = timedelta(hours=9)
    other = north.enroll("walk-in", patient="P-1", by=ANN, site="north")
    own = alone.enrolled("P-2", timedelta(hours=5))

    with caplog.at_level(logging.ERROR, "kat_workflow"):
        with ThreadScheduler(alone.engine, every=0.01) as scheduler:
            alone.until(lambda: bool(alone.timers(own)))
            late = alone.enrolled("P-3", timedelta(hours=5))
            alone.until(lambda: bool(alone.timers(late)))
        said = [x.getMessage() for x in caplog.records]
        alone.scheduler(north)
        alone.until(lambda: bool(alone.timers(other)))

    assert len(said) == 1
    assert f"enrollment:{other} cannot be run" in said[0]
    assert "unknown-site" in said[0]
    assert scheduler.stop()


def test_the_thread_survives_a_journal_that_is_away(
    alone: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Condition()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with heard:
                heard.notify()

    ear = Ear()
    logging.getLogger("kat_workflow").addHandler(ear)
    try:
        with heard, caplog.at_level(logging.ERROR, "kat_workflow"):
            scheduler = alone.scheduler()
            alone.engine.journal.close()
            scheduler.look()
            assert heard.wait_for(lambda: "the scheduler cannot look" in caplog.text, 60)
    finally:
        logging.getLogger("kat_workflow").removeHandler(ear)

    assert scheduler.stop()


def test_however_many_cannot_be_read_run_due_reaches_the_others(alone: Ward) -> None:
    for number in range(3):
        spoil(alone, alone.enrolled(f"P-{number}", timedelta(hours=9)))
    sound = alone.enrolled("P", timedelta(hours=5))

    assert alone.engine.run_due(limit=1) == 1

    assert len(alone.timers(sound)) == 1


def test_a_listener_may_stop_the_scheduler(alone: Ward) -> None:
    patients = [alone.enrolled(f"P-{n}", timedelta(hours=5)) for n in range(3)]
    scheduler = ThreadScheduler(alone.engine)
    answers: list[bool] = []
    alone.engine.listen(lambda _: answers.append(scheduler.stop()))

    scheduler.start()
    alone.until(lambda: bool(answers))

    assert answers[0] is False
    assert scheduler.stop()
    assert sum(bool(alone.timers(x)) for x in patients) == 1


def test_on_a_host_s_connection_the_host_runs_the_timers(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "host.db")

    with Engine.open(connection=connection) as engine, pytest.raises(ValueError, match="run_due"):
        engine.scheduler()

    connection.close()


def test_an_engine_gives_a_scheduler_of_its_own(alone: Ward) -> None:
    patient = alone.enrolled("P", timedelta(hours=5))

    with alone.engine.scheduler():
        alone.until(lambda: bool(alone.timers(patient)))

    assert len(alone.timers(patient)) == 1
