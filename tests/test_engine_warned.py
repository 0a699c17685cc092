"""A flag that a patient's programs share: a high risk seen in one calls somebody in the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from walk_in import ANN, BO, EIGHT, TEXT

from kat_workflow import Engine
from kat_workflow.cli.telling import said
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import patients

RISK = """\
alerts:
  - when: pressure.systolic >= high
    says: High risk
    tell: [doctor, warden]
    answer_within: 15 min
    everywhere: true
phases:
"""
HERE = TEXT.replace("phases:\n", RISK, 1).replace("doctor: Doctor}", "doctor: Doctor, warden: W}")
THERE = TEXT.replace("program: walk-in", "program: day-room")
ELSEWHERE = (
    TEXT.replace("program: walk-in", "program: night-room")
    .replace("doctor: Doctor}", "healer: Healer}")
    .replace("[nurse, doctor]", "[nurse, healer]")
    .replace("[doctor]", "[healer]")
)


@pytest.fixture(params=["memory", "sqlite"])
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    for name, text in (("walk-in", HERE), ("day-room", THERE), ("night-room", ELSEWHERE)):
        place = tmp_path / "programs" / name
        place.mkdir(parents=True)
        (place / f"{name}.yaml").write_text(text)
    where = None if request.param == "memory" else tmp_path / "clinic.db"
    with Engine.open(where, programs=tmp_path / "programs", clock=lambda: EIGHT) as engine:
        yield engine


def calls(engine: Engine, enrollment: str) -> list[e.AlertRaised]:
    found = (each.event for each in engine.history(enrollment))
    return [x for x in found if isinstance(x, e.AlertRaised)]


def test_a_high_risk_in_one_program_calls_somebody_in_the_others(clinic: Engine) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))
    elsewhere = clinic.enroll("night-room", patient="P", by=ANN)
    other = clinic.enroll("day-room", patient="Q", by=ANN)

    clinic.record(here, "look", {"systolic": 190}, by=ANN)

    assert [x.tell for x in calls(clinic, here)] == [("doctor", "warden")]
    (call,) = calls(clinic, there)
    assert call.says == "High risk (in walk-in)"
    assert call.tell == ("doctor",)  # whom this program has of those who were called
    assert [x.tell for x in calls(clinic, elsewhere)] == [("healer",)]  # and it has none of them
    assert calls(clinic, other) == []
    told = [x for x in clinic.outbox().notifications if x.enrollment == there]
    assert [x.roles for x in told] == [("doctor",)]


def test_it_is_called_once_for_a_reading_and_again_for_the_next(clinic: Engine) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))

    clinic.record(here, "look", {"systolic": 190}, by=ANN, command_id="c1")
    clinic.record(here, "look", {"systolic": 190}, by=ANN, command_id="c1")
    clinic.do(here, "hold", given={"reason": "x", "everywhere": True}, by=ANN)
    clinic.do(here, "lift", by=ANN)

    assert len(calls(clinic, there)) == 1
    for id_ in (here, there):
        (item,) = [x.item for x in clinic.worklist(enrollment=id_).items if x.item[:6] == "alert."]
        clinic.do(id_, f"done {item}", by=BO)
    clinic.record(here, "rest", {"systolic": 191}, by=ANN)
    assert len(calls(clinic, there)) == 2


def test_what_is_no_risk_is_told_to_nobody(clinic: Engine) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))

    clinic.record(here, "look", {"systolic": 120}, by=ANN)

    assert calls(clinic, here) == calls(clinic, there) == []


def test_the_flag_is_in_the_patients_record_and_says_so(clinic: Engine) -> None:
    here = clinic.enroll("walk-in", patient="P", by=ANN)

    clinic.record(here, "look", {"systolic": 190}, by=ANN)

    events = [x.event for x in clinic.follow() if isinstance(x.event, e.PatientWarned)]
    assert [said(x) for x in events] == ["called everywhere: High risk (in walk-in)"]
    state = patients.PatientRecord(patient="P")
    for entry in clinic.journal.read("patient:P"):
        state = patients.evolve(state, e.decode(entry.body, entry.values))
    assert clinic._own_record("P") == state
    assert list(state.known.warned) == [here]
