"""Many writers at the same patients; `python -m tests.hammer` is the long form of it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from hammer import hammer
from walk_in import ANN, BO, Clock, programs

from kat_workflow import Actor, Engine, Refused

CY = Actor("cy", {"doctor"})


def sqlite(folder: Path, _: pytest.FixtureRequest) -> str:
    return str(folder / "clinic.db")


def postgres(_: Path, request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("database")
    return url


@pytest.fixture(params=[sqlite, postgres])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url: str = request.param(tmp_path, request)
    return url


def test_threads_and_processes_at_the_same_patients_lose_double_and_reorder_nothing(
    store: str,
) -> None:
    report = hammer(store, threads=4, processes=3, count=30)

    assert report.wrong == ()
    assert report.sent == 3 * 4 * 33
    assert report.acknowledged > 100
    assert report.again > 30
    assert report.gave_up == 0


def test_of_two_nurses_at_one_item_one_wins_and_the_other_is_told_who_and_when(
    store: str, tmp_path: Path
) -> None:
    clock = Clock()
    folder = programs(tmp_path)
    with (
        Engine.open(store, programs=folder, clock=clock) as one,
        Engine.open(store, programs=folder, clock=clock) as two,
    ):
        patient = one.enroll("walk-in", patient="P", by=ANN)
        one.record(patient, "look", {"systolic": 120}, by=ANN)
        two.enrollment(patient)

        one.record(patient, "talk", {"story": "Tired"}, by=BO)
        one.record(patient, "pressure", {"systolic": 121}, by=ANN)
        with pytest.raises(Refused) as refused:
            two.record(patient, "talk", {"story": "Asleep"}, by=CY)

    (reason,) = refused.value.refusal.reasons
    assert reason.code == "already-settled"
    assert "done by bo on 2026-03-02 08:00 UTC" in reason.says


def test_a_patient_who_answered_is_not_named_to_who_comes_second(tmp_path: Path) -> None:
    folder = programs(
        tmp_path,
        ("talk: {by: [doctor]", "talk: {by: [patient, doctor]"),
        ("doctor: Doctor}", "doctor: Doctor, patient: Patient}"),
    )
    own = Actor("P-17", {"patient"})
    with Engine.open(programs=folder, clock=Clock()) as engine:
        patient = engine.enroll("walk-in", patient="P-17", by=ANN)
        engine.record(patient, "look", {"systolic": 120}, by=ANN)
        engine.record(patient, "talk", {"story": "Tired"}, by=own)

        with pytest.raises(Refused) as refused:
            engine.record(patient, "talk", {"story": "Asleep"}, by=CY)

    assert "by the patient on" in refused.value.explanation
    assert "P-17" not in refused.value.explanation


def test_a_command_sent_again_while_it_runs_has_the_outcome_of_the_first(
    tmp_path: Path,
) -> None:
    """The first is held up by another process in its commit, so that both are at it at once."""
    folder, path = programs(tmp_path), tmp_path / "clinic.db"
    begun = Event()
    with (
        Engine.open(path, programs=folder, clock=Clock()) as one,
        Engine.open(path, programs=folder, clock=Clock()) as two,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        ThreadPoolExecutor(3) as pool,
    ):
        patient = one.enroll("walk-in", patient="P", by=ANN)
        other.execute("BEGIN IMMEDIATE")

        def record(engine: Engine) -> bool:
            begun.set()
            return engine.record(
                patient, "look", {"systolic": 120}, by=ANN, command_id="sent-thrice"
            ).again

        sent = [pool.submit(record, engine) for engine in (one, one, two)]
        assert begun.wait(60)
        other.execute("ROLLBACK")
        again = [each.result(timeout=60) for each in sent]

        assert sorted(again) == [False, True, True]
        causes = [x.cause for x in one.history(patient)]
        assert causes.count("sent-thrice") == len(
            one.record(patient, "look", {"systolic": 120}, by=ANN, command_id="sent-thrice").events
        )
