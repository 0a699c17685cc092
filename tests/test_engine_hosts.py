"""What a host may do to an engine: pass odd words, roll back, lose its files, be killed."""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from walk_in import ANN, EIGHT, TEXT, Clock, programs

from kat_workflow import Actor, Engine, Happened, Refused, Site, replay
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Record

MARKER = "told-in-confidence"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return programs(tmp_path)


@pytest.fixture(params=["memory", "postgres"])
def engine(request: pytest.FixtureRequest, folder: Path, clock: Clock) -> Iterator[Engine]:
    where = request.getfixturevalue("database") if request.param == "postgres" else None
    with Engine.open(where, programs=folder, clock=clock) as engine:
        yield engine


@pytest.fixture(params=["sqlite", "postgres"])
def host(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[sqlite3.Connection | psycopg.Connection[Any]]:
    """A host's own connection, in which it begins and ends transactions itself."""
    connection: sqlite3.Connection | psycopg.Connection[Any]
    if request.param == "sqlite":
        connection = sqlite3.connect(tmp_path / "host.db", isolation_level=None)
    else:
        connection = psycopg.connect(request.getfixturevalue("database"), autocommit=True)
    with closing(connection):
        yield connection


# What could be written but never read again


@pytest.mark.parametrize("reason", [5, ["a"], {"a": 1}, "\ud800"])
def test_a_reason_that_is_no_text_is_refused_and_the_record_stays_readable(
    engine: Engine, reason: Any
) -> None:
    patient = engine.enroll("walk-in", patient="P", by=ANN)
    before = engine.follow()

    with pytest.raises(Refused) as refused:
        engine.do(patient, "hold", by=ANN, given={"reason": reason})

    assert refused.value.code == "bad-phrase"
    assert engine.history(patient) == tuple(x for x in before if x.enrollment)
    assert engine.follow() == before
    assert engine.status(patient).holds == ()


@pytest.mark.parametrize("name", [5, "\ud800"])
def test_persons_patients_and_ids_are_text(engine: Engine, name: Any) -> None:
    patient = engine.enroll("walk-in", patient="P", by=ANN)
    before = engine.follow()
    odd = Actor(name, {"nurse"})
    tries: list[Callable[[], object]] = [
        lambda: engine.record(patient, "look", {"systolic": 120}, by=odd),
        lambda: engine.enroll("walk-in", patient=name, by=ANN),
        lambda: engine.enroll("walk-in", patient="Q", by=odd),
    ]

    for attempt in tries:
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.code == "bad-phrase"

    assert engine.follow() == before


@pytest.mark.parametrize(
    "odd",
    [{"step": 5}, {"step": "\ud800"}, {"signed": 1}, {"also": "bp"}, {"also": (5,)}],
)
def test_what_a_recording_says_beside_its_values_is_of_its_kind(
    engine: Engine, odd: dict[str, Any]
) -> None:
    patient = engine.enroll("walk-in", patient="P", by=ANN)
    before = engine.follow()

    with pytest.raises(Refused) as refused:
        engine.handle(
            patient, Record(**{"step": "look", "values": {"systolic": 120}, **odd}), by=ANN
        )

    assert refused.value.code == "bad-phrase"
    assert engine.follow() == before


@pytest.mark.parametrize("present", [5, "nurse"])
def test_who_is_present_is_a_list(engine: Engine, present: Any) -> None:
    patient = engine.enroll("walk-in", patient="P", by=ANN)

    with pytest.raises(Refused) as refused:
        engine.do(patient, "start infusion", by=ANN, given={"present": present})

    assert refused.value.code == "bad-phrase"


# Sent again


def test_an_enrollment_in_another_program_is_another_command(engine: Engine, folder: Path) -> None:
    (folder / "run-in").mkdir()
    other = TEXT.replace("program: walk-in", "program: run-in")
    (folder / "run-in" / "run-in.yaml").write_text(other, encoding="utf-8")
    engine.enroll("walk-in", patient="P", by=ANN, command_id="k")

    with pytest.raises(Refused) as refused:
        engine.enroll("run-in", patient="P", by=ANN, command_id="k")

    assert refused.value.code == "id-reused"


def test_an_enrollment_is_sent_again_after_its_files_vanished(
    tmp_path: Path, folder: Path, clock: Clock
) -> None:
    with Engine.open(tmp_path / "clinic.db", programs=folder, clock=clock) as first:
        patient = first.enroll("walk-in", patient="P", by=ANN, command_id="k")
    folder.rename(tmp_path / "gone")

    with Engine.open(tmp_path / "clinic.db", programs=folder, clock=clock) as second:
        assert second.enroll("walk-in", patient="P", by=ANN, command_id="k") == patient
        assert second.record(patient, "look", {"systolic": 120}, by=ANN).events


# A host's own transaction


def test_after_a_rolled_back_enrollment_the_program_is_kept_with_the_next(
    host: sqlite3.Connection | psycopg.Connection[Any], folder: Path, clock: Clock
) -> None:
    with Engine.open(programs=folder, clock=clock, connection=host) as engine:
        host.execute("BEGIN")
        engine.enroll("walk-in", patient="P", by=ANN)
        host.execute("ROLLBACK")
        patient = engine.enroll("walk-in", patient="P", by=ANN)

    with Engine.open(programs=folder, clock=clock, connection=host) as another:
        assert another.status(patient).standing == "active"


def test_nobody_hears_of_what_may_still_be_rolled_back(
    host: sqlite3.Connection | psycopg.Connection[Any], folder: Path, clock: Clock
) -> None:
    heard: list[Happened] = []
    with Engine.open(programs=folder, clock=clock, connection=host) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        engine.listen(heard.append)
        host.execute("BEGIN")
        engine.record(patient, "look", {"systolic": 120}, by=ANN)
        host.execute("ROLLBACK")
        assert heard == []
        engine.record(patient, "look", {"systolic": 121}, by=ANN)
        assert heard


# What a patient said stays in the record


def test_no_log_and_no_error_repeats_what_was_recorded(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    patient = engine.enroll("walk-in", patient="P", by=ANN)

    def fails(happened: Happened) -> None:
        raise ValueError(str(happened))

    engine.listen(fails)
    texts = []
    with caplog.at_level(logging.DEBUG):
        engine.record(patient, "pressure", {"systolic": 120, "remark": MARKER}, by=ANN)
        for values in ({"systolic": MARKER}, {"systolic": 120, "remark": [MARKER]}):
            with pytest.raises(Refused) as refused:
                engine.record(patient, "pressure", values, by=ANN)
            texts.append(str(refused.value))
        with pytest.raises(Refused) as refused:
            engine.do(patient, "hold", by=ANN, given={"reason": [MARKER]})
        texts.append(str(refused.value))

    assert "a listener failed on position" in caplog.text
    assert MARKER in str(engine.history(patient))
    assert MARKER not in caplog.text + "".join(texts)


# Killed

CHILD = """\
import sys
from walk_in import ANN, Clock
from kat_workflow import Engine

db, folder, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = Engine.open(db, programs=folder, clock=Clock())
print("ready", flush=True)
while True:
    id_ = f"n{number}"
    if number % 10 == 0:
        engine.enroll("walk-in", patient=id_, by=ANN, command_id=id_)
    else:
        patient = engine.enroll(
            "walk-in", patient=f"n{number - number % 10}", by=ANN,
            command_id=f"n{number - number % 10}",
        )
        values = {"systolic": 120, "remark": id_}
        engine.record(patient, "pressure", values, by=ANN, command_id=id_)
    print(number, flush=True)
    number += 1
"""
KILLS = 10


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_what_was_acknowledged_survives_a_kill_exactly_once(
    request: pytest.FixtureRequest, tmp_path: Path, folder: Path, clock: Clock, store: str
) -> None:
    """After each kill the next process sends the last command, not acknowledged, again."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # pytest shows it where this fails
    chance = random.Random(seed)
    db = str(tmp_path / "clinic.db")
    if store == "postgres":
        db = request.getfixturevalue("database")
    acknowledged = -1

    for _ in range(KILLS):
        words = [sys.executable, "-c", CHILD, db, str(folder), str(acknowledged + 1)]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            last = acknowledged + chance.randrange(1, 25)
            while acknowledged < last:
                acknowledged = int(child.stdout.readline())
            for _ in range(chance.randrange(20_000)):
                pass  # somewhere within the next command
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:  # what it said before it died counts too
                acknowledged = int(line) if line.endswith("\n") else acknowledged

    with Engine.open(db, programs=folder, clock=clock) as engine:
        entries = engine.follow(limit=10**6)
        remarks = Counter(
            x.event.values["remark"] for x in entries if isinstance(x.event, e.ObservationRecorded)
        )
        enrolled = Counter(x.event.patient for x in entries if isinstance(x.event, e.Enrolled))
        sent = range(acknowledged + 1)
        assert acknowledged >= KILLS
        assert {f"n{n}" for n in sent if n % 10} <= set(remarks)
        assert {f"n{n}" for n in sent if n % 10 == 0} <= set(enrolled)
        assert set((remarks + enrolled).values()) == {1}
        assert len(remarks) + len(enrolled) - len(sent) in (0, 1)  # one may be unacknowledged
        assert [x.position for x in entries] == list(range(1, len(entries) + 1))
        for patient in {x.enrollment for x in entries if x.enrollment}:
            told = replay(x.event for x in engine.history(patient))
            assert engine.enrollment(patient) == told
            assert told.last == EIGHT


# Sites


def test_no_zone_is_guessed_for_a_site_that_the_engine_was_not_opened_with(
    folder: Path, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A day of Los Angeles counted in UTC would be the wrong program day, and nobody would see."""
    file = tmp_path / "clinic.db"
    west, east = Site("west", "America/Los_Angeles"), Site("east", "America/New_York")
    with Engine.open(file, programs=folder, clock=clock, sites=[west, east]) as whole:
        there = whole.enroll("walk-in", patient="P-1", by=ANN, site="west")
        here = whole.enroll("walk-in", patient="P-2", by=ANN, site="east")

    clock.at += timedelta(hours=9)
    with Engine.open(file, programs=folder, clock=clock, sites=[east]) as one:
        for ask in (
            lambda: one.status(there),
            lambda: one.why(there, "hold", by=ANN),
            lambda: one.do(there, "hold", by=ANN, given={"reason": "-"}),
            lambda: one.census("west"),
        ):
            with pytest.raises(Refused, match="unknown-site"):
                ask()
        ran = one.run_due()

        assert ran == 2  # two lost rounds of the patient whose site it knows
        assert one.status(here).day == 1
        assert f"the timers of enrollment:{there} were not run" in caplog.text


def test_the_first_day_of_a_patient_is_that_of_their_own_site(folder: Path, clock: Clock) -> None:
    """At eleven in the evening in Los Angeles it is tomorrow already where `main` is."""
    west = Site("west", "America/Los_Angeles")
    clock.at -= timedelta(hours=1)
    with Engine.open(programs=folder, clock=clock, sites=[Site("main"), west]) as clinic:
        patient = clinic.enroll("walk-in", patient="P", by=ANN, site="west")

        assert str(clinic.enrollment(patient).admitted) == "2026-03-01"
        assert clinic.status(patient).day == 1


def test_threads_that_are_the_first_to_read_anything_do_not_kill_the_process(
    tmp_path: Path, folder: Path
) -> None:
    """Each in a fresh process, since what is once learned of a type is never learned again."""
    where = tmp_path / "clinic.db"
    with Engine.open(where, programs=folder) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
    script = f"""
import sys
from threading import Barrier, Thread
from kat_workflow import Engine
sys.setswitchinterval(1e-6)
with Engine.open({str(where)!r}, programs={str(folder)!r}) as engine:
    barrier, read = Barrier(8), []
    def work(n):
        barrier.wait()
        read.append(engine.history({patient!r}) if n % 2 else engine.enrollment({patient!r}))
    threads = [Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(len(read))
"""

    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
