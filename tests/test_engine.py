"""The engine, as a clinic system imports it: alone, in several processes, beside a host's data."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from kat_workflow import (
    Actor,
    Conflict,
    Engine,
    Happened,
    JournalError,
    ProgramError,
    Refused,
    Site,
)
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.state import decode_row, replay
from kat_workflow.journal import Append, CensusRow, Receipt
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import Files

MONDAY = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
ANN = Actor("ann", frozenset({"nurse"}))
DOC = Actor("doc", frozenset({"doctor"}))

FIRST = """\
language: 1
program: first
version: "1.0.0"
title: First
decided_by: [doctor]
hold_by: [doctor]
roles: {nurse: Nurse, doctor: Doctor}
sources:
  practice: {title: Practice, trust: C}
forms:
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {type: integer, unit: mmHg, from: 50, to: 300}
  answer:
    title: Answer
    fields:
      fine: {type: yes_no}
start: screening
phases:
  screening:
    steps:
      intake: {by: [nurse], record: answer, due: 24 h, source: practice}
    next: [{to: stay, when: intake.fine is yes}, {to: refused, when: always}]
  stay:
    title: In the house
    admits: true
    steps:
      check: {by: [nurse], record: vitals, source: practice, every: [{interval: 4 h, when: always}]}
      baseline: {by: [nurse], record: vitals}
      farewell: {by: [nurse], record: answer, signed: true}
    next: [{to: well, when: farewell.fine is yes and age of baseline.systolic < 24 h},
      {to: ill, when: always}]
ends:
  well: {kind: completed}
  ill: {kind: transferred, by: [nurse]}
  refused: {kind: not_eligible}
leaving: {by: [nurse]}
"""


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **how_long: float) -> None:
        self.now += timedelta(**how_long)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    (folder / "first").mkdir(parents=True)
    (folder / "first" / "first.yaml").write_text(FIRST)
    return folder


def clinic(
    where: Path | None, programs: Path, clock: Clock, keys: dict[str, bytes] | None = None
) -> Engine:
    return Engine.open(
        where,
        keys=keys,
        programs=programs,
        clock=clock,
        sites=[Site("main", "America/Los_Angeles"), Site("north")],
    )


@pytest.fixture(params=["memory", "sqlite", "encrypted"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, programs: Path, clock: Clock
) -> Iterator[Engine]:
    where = None if request.param == "memory" else tmp_path / "clinic.db"
    keys = {"k1": bytes(32)} if request.param == "encrypted" else None
    with clinic(where, programs, clock, keys) as opened:
        yield opened


def admitted(engine: Engine, patient: str = "P-1") -> str:
    id_ = engine.enroll("first", patient=patient, by=ANN)
    engine.record(id_, "intake", {"fine": True}, by=ANN)
    return id_


def last_position(engine: Engine) -> int:
    return max((x.position for x in engine.follow()), default=0)


# The first program, from the door to the way out


def test_a_patient_goes_through_the_first_program(engine: Engine, clock: Clock) -> None:
    id_ = engine.enroll("first", patient="P-1", by=ANN)
    assert [i.item for i in engine.worklist("nurse").items] == ["screening.1/intake.1"]
    outcome = engine.record(id_, "intake", {"fine": True}, by=ANN)
    assert isinstance(outcome.events[0], e.ObservationRecorded)
    assert not outcome.again
    status = engine.status(id_)
    assert (status.standing, status.phases, status.day, status.program) == (
        "active",
        ("stay",),
        1,
        "first",
    )
    engine.do(id_, "record baseline", by=ANN, given={"systolic": 120})
    engine.do(id_, "record farewell", by=ANN, given={"fine": True}, signed=True)
    assert engine.status(id_).end == "well"
    assert engine.enrollment(id_).standing == "closed"
    assert engine.worklist().items == ()
    assert engine.census() == ()
    assert [r.standing for r in engine.census(everybody=True)] == ["closed"]


def test_what_stands_in_the_way_is_told_and_nothing_is_written(engine: Engine) -> None:
    id_ = admitted(engine)
    before = last_position(engine)
    refusal = engine.why(id_, "record farewell", by=DOC, given={"fine": True})
    assert refusal is not None
    assert refusal.code == "wrong-role"
    with pytest.raises(Refused) as refused:
        engine.do(id_, "record farewell", by=DOC, given={"fine": True})
    assert refused.value.refusal == refusal
    assert engine.why(id_, "record farewell", by=ANN, given={"fine": True}) is None
    assert last_position(engine) == before


def test_a_phrase_that_is_none_is_refused(engine: Engine) -> None:
    id_ = admitted(engine)
    with pytest.raises(Refused, match="bad-phrase"):
        engine.do(id_, "dance tango", by=ANN)
    with pytest.raises(Refused, match="bad-phrase"):
        engine.why(id_, "start", by=ANN)


def test_what_is_not_there_is_refused(engine: Engine) -> None:
    for ask in (
        engine.status,
        engine.history,
        engine.enrollment,
        engine.program_of,
        engine.site_of,
    ):
        with pytest.raises(Refused, match="unknown-enrollment"):
            ask("e-none")
    with pytest.raises(Refused, match="unknown-site"):
        engine.enroll("first", patient="P", by=ANN, site="moon")
    with pytest.raises(ProgramError):
        engine.enroll("moon", patient="P", by=ANN)


def test_the_history_says_who_did_what_in_which_role_and_why(engine: Engine, clock: Clock) -> None:
    id_ = engine.enroll("first", patient="P-1", by=ANN, command_id="c-enroll")
    clock.wait(hours=1)
    engine.record(id_, "intake", {"fine": True}, by=ANN, command_id="c-intake")
    history = engine.history(id_)
    assert [x.version for x in history] == list(range(1, len(history) + 1))
    assert {(x.cause, x.person, x.role, x.recorded) for x in history} == {
        ("c-enroll", "ann", "nurse", MONDAY),
        ("c-intake", "ann", "nurse", MONDAY + timedelta(hours=1)),
    }
    assert engine.history(id_, after_version=3) == history[3:]
    assert engine.enrollment(id_) == replay(x.event for x in history)


def test_a_finished_phase_says_what_it_waits_for(engine: Engine, clock: Clock) -> None:
    id_ = admitted(engine)
    engine.do(id_, "record baseline", by=ANN, given={"systolic": 120})
    engine.do(id_, "hold", by=DOC, given={"reason": "x"})
    engine.do(id_, "record farewell", by=ANN, given={"fine": True}, signed=True)
    assert engine.status(id_).holds == ("hold.1",)
    (resident,) = engine.census()
    assert resident.holds == ("hold.1",)
    engine.do(id_, "lift", by=DOC)
    assert engine.status(id_).end == "well"


def test_a_row_that_is_unknown_is_shown_with_its_clauses(programs: Path, clock: Clock) -> None:
    text = FIRST.replace("farewell.fine is yes and age", "age").replace(
        "record: vitals}\n      farewell", "record: vitals, optional: true}\n      farewell"
    )
    (programs / "first" / "first.yaml").write_text(text)
    with clinic(None, programs, clock) as engine:
        id_ = admitted(engine)
        engine.do(id_, "record farewell", by=ANN, given={"fine": True}, signed=True)
        (waiting,) = engine.status(id_).waiting
        assert (waiting.phase, waiting.to) == ("stay", "well")
        assert waiting.clauses[0].truth is None


# Lists


def test_the_worklist_comes_in_pages_by_what_is_due_first(engine: Engine, clock: Clock) -> None:
    ids = []
    for n in range(5):
        ids.append(engine.enroll("first", patient=f"P-{n}", by=ANN))
        clock.wait(minutes=1)
    seen = []
    page = engine.worklist("nurse", limit=2)
    while True:
        seen += [item.patient for item in page.items]
        if page.next is None:
            break
        page = engine.worklist("nurse", limit=2, after=page.next)
    assert seen == [f"P-{n}" for n in range(5)]
    assert [i.enrollment for i in engine.worklist(enrollment=ids[3]).items] == [ids[3]]
    assert [i.patient for i in engine.worklist(patient="P-4").items] == ["P-4"]
    assert engine.worklist("doctor").items == ()
    assert engine.worklist(site="north").items == ()


def test_items_grow_late_without_anybody_writing(engine: Engine, clock: Clock) -> None:
    engine.enroll("first", patient="P-1", by=ANN)
    assert [i.timeliness for i in engine.worklist().items] == ["open"]
    clock.wait(hours=24)
    assert [i.timeliness for i in engine.worklist().items] == ["late"]
    clock.wait(hours=-25)
    assert [i.timeliness for i in engine.worklist().items] == ["early"]


def test_the_census_counts_days_by_the_sites_dates(engine: Engine, clock: Clock) -> None:
    id_ = admitted(engine)
    clock.now = datetime(2026, 3, 4, 7, 59, tzinfo=UTC)  # 23:59 of the second day there
    (resident,) = engine.census()
    assert (resident.enrollment, resident.patient, resident.day, resident.phases) == (
        id_,
        "P-1",
        2,
        ("stay",),
    )
    clock.wait(minutes=1)
    assert engine.census()[0].day == 3
    assert engine.status(id_).day == 3
    assert engine.census("north") == ()
    assert engine.site_of(id_).zone == "America/Los_Angeles"
    assert [site.name for site in engine.sites] == ["main", "north"]


def test_somebody_not_yet_admitted_has_no_day(engine: Engine) -> None:
    id_ = engine.enroll("first", patient="P-1", by=ANN, site="north")
    assert engine.status(id_).day is None
    assert [r.day for r in engine.census("north")] == [None]


# Time


def test_nothing_depends_on_when_or_whether_timers_are_run(programs: Path, clock: Clock) -> None:
    states = []
    for worker in (False, True):
        clock.now = MONDAY
        with clinic(None, programs, clock) as engine:
            id_ = engine.enroll("first", patient="P-1", by=ANN, command_id="c-1")
            engine.record(id_, "intake", {"fine": True}, by=ANN, command_id="c-2")
            for n in range(5):
                clock.wait(hours=5)
                if worker:
                    engine.run_due()
                engine.do(
                    id_,
                    "record vitals",
                    by=ANN,
                    given={"systolic": 100 + n},
                    command_id=f"c-{n + 3}",
                )
            states.append(
                ([(x.cause, x.event) for x in engine.history(id_)], engine.enrollment(id_))
            )
    assert states[0] == states[1]


def test_a_worker_runs_what_is_due_and_says_how_much(engine: Engine, clock: Clock) -> None:
    ids = [admitted(engine, f"P-{n}") for n in range(3)]
    assert engine.run_due() == 0
    clock.wait(hours=9)
    assert engine.run_due(limit=1) == 2
    assert engine.run_due() == 4
    assert engine.run_due() == 0
    assert all(engine.history(id_)[-1].cause.startswith("timer:") for id_ in ids)
    assert {x.person for x in engine.history(ids[0]) if x.cause.startswith("timer:")} == {"system"}


def test_looking_runs_nothing(engine: Engine, clock: Clock) -> None:
    id_ = admitted(engine)
    clock.wait(hours=9)
    before = last_position(engine)
    assert [i.item for i in engine.status(id_).items if i.step == "check"] == ["stay.1/check.3"]
    assert engine.why(id_, "record check", by=ANN, given={"systolic": 120}) is None
    assert last_position(engine) == before


def test_a_command_that_is_refused_leaves_the_timers_that_were_due(
    engine: Engine, clock: Clock
) -> None:
    id_ = admitted(engine)
    clock.wait(hours=5)
    before = last_position(engine)
    with pytest.raises(Refused):
        engine.do(id_, "record check", by=DOC, given={"systolic": 120})
    after = engine.follow(before)
    assert after
    assert all(x.cause.startswith("timer:") for x in after)


def test_a_clock_without_a_zone_is_an_error_of_the_host(programs: Path) -> None:
    with (
        Engine.open(programs=programs, clock=lambda: datetime(2026, 3, 2)) as engine,
        pytest.raises(ValueError, match="without a zone"),
    ):
        engine.enroll("first", patient="P", by=ANN)


def test_without_a_clock_it_is_now(programs: Path) -> None:
    with Engine.open(programs=programs) as engine:
        id_ = engine.enroll("first", patient="P", by=ANN)
        enrolled = engine.enrollment(id_).enrolled
        assert enrolled is not None
        assert abs(datetime.now(UTC) - enrolled) < timedelta(minutes=1)


# R14 Again


def test_the_same_command_again_changes_nothing_and_answers_the_same(
    engine: Engine, clock: Clock
) -> None:
    id_ = engine.enroll("first", patient="P-1", by=ANN, command_id="c-1")
    assert engine.enroll("first", patient="P-1", by=ANN, command_id="c-1") == id_
    first = engine.record(id_, "intake", {"fine": True}, by=ANN, command_id="c-2")
    before = last_position(engine)
    clock.wait(hours=1)
    again = engine.record(id_, "intake", {"fine": True}, by=ANN, command_id="c-2")
    assert again.again
    assert again.events == first.events
    assert last_position(engine) == before


def test_a_report_that_would_succeed_anew_is_still_the_same_command(engine: Engine) -> None:
    id_ = admitted(engine)
    first = engine.do(id_, "record vitals", by=ANN, given={"systolic": 120}, command_id="c-9")
    again = engine.do(id_, "record vitals", by=ANN, given={"systolic": 120}, command_id="c-9")
    assert again.again
    assert again.events == first.events


@pytest.mark.parametrize("systolic", [121, 900])
def test_the_same_id_for_something_else_is_refused(engine: Engine, systolic: int) -> None:
    id_ = admitted(engine)
    engine.do(id_, "record vitals", by=ANN, given={"systolic": 120}, command_id="c-9")
    before = last_position(engine)
    with pytest.raises(Refused, match="id-reused") as refused:
        engine.do(id_, "record vitals", by=ANN, given={"systolic": systolic}, command_id="c-9")
    assert refused.value.refusal.reasons[0].unblock
    assert last_position(engine) == before


def test_a_refused_command_is_not_remembered(engine: Engine) -> None:
    id_ = admitted(engine)
    with pytest.raises(Refused, match="wrong-role"):
        engine.do(id_, "record check", by=DOC, given={"systolic": 120}, command_id="c-9")
    assert not engine.do(
        id_, "record check", by=ANN, given={"systolic": 120}, command_id="c-9"
    ).again


def test_two_enrollments_do_not_share_a_command(engine: Engine) -> None:
    one, two = admitted(engine, "P-1"), admitted(engine, "P-2")
    engine.do(one, "record vitals", by=ANN, given={"systolic": 120}, command_id="c-9")
    with pytest.raises(Refused, match="id-reused"):
        engine.do(two, "record vitals", by=ANN, given={"systolic": 120}, command_id="c-9")


def test_a_command_that_changes_nothing_is_remembered_too(engine: Engine) -> None:
    id_ = admitted(engine)
    engine.do(id_, "hold", by=DOC, given={"reason": "x"}, command_id="c-9")
    assert engine.do(id_, "hold", by=DOC, given={"reason": "x"}, command_id="c-9").again
    assert engine.status(id_).holds == ("hold.1",)


def test_what_no_form_accepts_is_refused_and_not_a_crash(engine: Engine) -> None:
    id_ = admitted(engine)
    for odd in (object(), float("nan"), b"\x00", {1: 2}, [[]], 10**30, "\ud800"):
        with pytest.raises(Refused):
            engine.do(id_, "record vitals", by=ANN, given={"systolic": odd})


# Programs by digest


def test_a_patient_goes_on_by_the_files_they_were_enrolled_with(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    where = tmp_path / "clinic.db"
    with clinic(where, programs, clock) as engine:
        id_ = admitted(engine)
    (programs / "first" / "first.yaml").write_text(
        FIRST.replace("1.0.0", "2.0.0").replace("In the house", "Elsewhere")
    )
    with clinic(where, programs, clock) as engine:
        assert engine.status(id_).version == "1.0.0"
        assert engine.program_of(id_).phases["stay"].title == "In the house"
        assert engine.program("first").version == "2.0.0"
        engine.do(id_, "record baseline", by=ANN, given={"systolic": 120})
        other = engine.enroll("first", patient="P-2", by=ANN)
        assert engine.status(other).version == "2.0.0"
    (programs / "first" / "first.yaml").unlink()
    with clinic(where, programs, clock) as engine:
        engine.do(id_, "record farewell", by=ANN, given={"fine": True}, signed=True)
        assert engine.status(id_).end == "well"


def test_a_version_never_changes_once_somebody_is_in_it(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    where = tmp_path / "clinic.db"
    with clinic(where, programs, clock) as engine:
        admitted(engine)
    (programs / "first" / "first.yaml").write_text(FIRST.replace("In the house", "Elsewhere"))
    with clinic(where, programs, clock) as engine:
        with pytest.raises(Refused, match="version-changed") as refused:
            engine.enroll("first", patient="P-2", by=ANN)
        assert refused.value.refusal.reasons[0].unblock == (
            "give the changed program a new version",
        )
        assert len(engine.census(everybody=True)) == 1


def test_an_enrollment_that_is_sent_again_after_its_files_changed_is_the_same_one(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    where = tmp_path / "clinic.db"
    with clinic(where, programs, clock) as engine:
        id_ = engine.enroll("first", patient="P-1", by=ANN, command_id="c-1")
    (programs / "first" / "first.yaml").write_text(FIRST.replace("In the house", "Elsewhere"))
    with clinic(where, programs, clock) as engine:
        assert engine.enroll("first", patient="P-1", by=ANN, command_id="c-1") == id_


def test_a_program_may_be_called_as_its_file_is(clock: Clock) -> None:
    files = Files({"first/first@1.0.0.yaml": FIRST})
    with Engine(MemoryJournal(), files, clock) as engine:
        id_ = engine.enroll("first@1.0.0", patient="P", by=ANN)
        fresh = Engine(engine.journal, Files({}), clock)
        assert fresh.status(id_).program == "first"


def test_a_journal_without_the_program_of_an_enrollment_says_so(clock: Clock) -> None:
    engine = Engine(MemoryJournal(), Files({"first/first.yaml": FIRST}), clock)
    id_ = engine.enroll("first", patient="P", by=ANN)
    lost = MemoryJournal()
    row = engine.journal.row(f"enrollment:{id_}")
    assert row is not None
    bodies = tuple(entry.body for entry in engine.journal.read(f"enrollment:{id_}"))
    lost.append(
        (Append(f"enrollment:{id_}", 0, bodies),),
        command="c",
        digest="d",
        recorded=MONDAY,
        person="",
        role="",
    )
    with pytest.raises(JournalError, match="does not hold the program"):
        Engine(lost, Files({}), clock).status(id_)


@pytest.mark.parametrize("row", [None, b"\x93 of another version"])
def test_without_its_row_a_state_is_folded_from_its_entries(
    clock: Clock, row: bytes | None
) -> None:
    engine = Engine(MemoryJournal(), Files({"first/first.yaml": FIRST}), clock)
    id_ = admitted(engine)
    stream = f"enrollment:{id_}"
    body, values = e.encode(e.DeviationNoted("early", "written by hand", clock.now))
    engine.journal.append(
        (Append(stream, engine.journal.version(stream), (body,), row, values=(values,)),),
        command="by-hand",
        digest="d",
        recorded=clock.now,
        person="",
        role="",
    )
    engine = Engine(engine.journal, Files({"first/first.yaml": FIRST}), clock)

    phases = engine.status(id_).phases
    engine.do(id_, "record baseline", by=ANN, given={"systolic": 120})

    assert phases == ("stay",)
    written = engine.journal.row(stream)
    assert written is not None
    assert decode_row(written[1]).version == written[0]


def test_the_programs_that_ship_are_there_without_a_folder() -> None:
    with Engine.open() as engine:
        assert engine.program("detox-4-day").id == "detox-4-day"


# Following


# Corrections


def test_a_record_is_corrected_and_the_decision_it_led_to_is_questioned(engine: Engine) -> None:
    id_ = admitted(engine)
    outcome = engine.do(
        id_, "correct intake", by=DOC, given={"fine": False, "reason": "misread"}, command_id="k"
    )
    (question,) = [x for x in outcome.events if isinstance(x, e.DecisionQuestioned)]
    assert (question.decision, question.was, question.would_be) == ("move", "stay", "refused")
    assert [i.title for i in engine.worklist("doctor").items] == [
        "Review: questioned move: screening"
    ]
    assert engine.status(id_).phases == ("stay",)
    again = engine.do(
        id_, "correct intake", by=DOC, given={"fine": False, "reason": "misread"}, command_id="k"
    )
    assert again.again
    (record,) = engine.records(id_)
    assert [version.said.values for version in record.versions] == [
        {"fine": True},
        {"fine": False},
    ]


def test_a_late_entry_reads_the_history_also_after_timers_that_were_due(
    engine: Engine, clock: Clock
) -> None:
    id_ = admitted(engine)
    clock.wait(hours=9)
    before = MONDAY - timedelta(minutes=5)
    outcome = engine.record(id_, "vitals", {"systolic": 120}, by=ANN, occurred=before)
    (reading,) = [x for x in outcome.events if isinstance(x, e.ObservationRecorded)]
    assert reading.late
    assert not [x for x in outcome.events if isinstance(x, e.DecisionQuestioned)]
    clock.wait(minutes=1)
    engine.record(id_, "farewell", {"fine": True}, by=ANN, signed=True)
    late = clock.now - timedelta(minutes=1)
    engine.record(id_, "baseline", {"systolic": 130}, by=ANN)
    assert engine.status(id_).end == "well"
    clock.wait(hours=9)
    outcome = engine.record(id_, "vitals", {"systolic": 120}, by=ANN, occurred=late)
    assert [x.late for x in outcome.events if isinstance(x, e.ObservationRecorded)] == [True]


def test_why_judges_a_correction_by_the_timers_that_are_due_in_memory(
    engine: Engine, clock: Clock
) -> None:
    id_ = admitted(engine)
    clock.wait(hours=9)
    given = {"fine": False, "reason": "misread"}
    assert engine.why(id_, "correct intake", by=ANN, given=given) is None
    refusal = engine.why(id_, "correct check", by=ANN, given={"reason": "misread"})
    assert refusal is not None
    assert refusal.code == "unknown-record"


def test_a_past_instant_is_shown_as_it_was_known_and_as_it_was(
    engine: Engine, clock: Clock
) -> None:
    id_ = admitted(engine)
    clock.wait(hours=1)
    engine.record(id_, "baseline", {"systolic": 130}, by=ANN)
    clock.wait(hours=1)
    noon = clock.now
    clock.wait(hours=1)
    engine.do(id_, "correct baseline", by=ANN, given={"systolic": 150, "reason": "typed wrong"})
    engine.do(id_, "retract intake", by=ANN, given={"reason": "another patient's"})

    known, true = engine.as_known_at(id_, noon), engine.as_true_at(id_, noon)

    assert known.readings["vitals"][0].values == {"systolic": 130}
    assert true.readings["vitals"][0].values == {"systolic": 150}
    assert "answer" in known.readings or "answer" not in true.readings
    assert engine.as_known_at(id_, clock.now) == engine.enrollment(id_)
    assert engine.status(id_, known_at=noon).phases == ("stay",)
    assert engine.status(id_, true_at=noon).day == 1
    before = engine.status(id_, known_at=MONDAY - timedelta(days=1))
    assert (before.standing, before.phases, before.items) == ("new", (), ())
    with pytest.raises(ValueError, match="zone"):
        engine.as_known_at(id_, datetime(2026, 3, 2))
    for ask in (engine.as_known_at, engine.as_true_at):
        with pytest.raises(Refused):
            ask("e-0", noon)
    with pytest.raises(Refused):
        engine.records("e-0")


def test_a_correction_of_what_no_form_accepts_is_refused(engine: Engine) -> None:
    id_ = admitted(engine)
    for odd in ("\ud800", object(), {"x": object()}):
        with pytest.raises(Refused):
            engine.do(id_, "correct intake", by=ANN, given={"fine": odd, "reason": "x"})
    for reason in ("\ud800", 7):
        with pytest.raises(Refused):
            engine.do(id_, "correct intake", by=ANN, given={"fine": False, "reason": reason})
    assert [r.retracted for r in engine.records(id_)] == [None]


def test_a_follower_loses_nothing_and_sees_the_order_of_commits(
    engine: Engine, clock: Clock
) -> None:
    admitted(engine, "P-1")
    clock.wait(hours=5)
    engine.run_due()
    admitted(engine, "P-2")
    seen: list[Happened] = []
    while more := engine.follow(seen[-1].position if seen else 0, limit=3):
        assert len(more) <= 3
        seen.extend(more)
    assert [x.position for x in seen] == list(range(1, len(seen) + 1))
    assert {x.enrollment for x in seen} == {r.enrollment for r in engine.census()} | {""}
    assert {x.stream for x in seen if not x.enrollment} == {"patient:P-1", "patient:P-2"}


def test_a_listener_hears_each_entry_once_after_its_commit(engine: Engine) -> None:
    heard: list[Happened] = []
    engine.listen(heard.append)
    id_ = admitted(engine)
    assert tuple(x for x in heard if x.enrollment) == engine.history(id_)
    before = len(heard)
    engine.do(id_, "record vitals", by=ANN, given={"systolic": 120}, command_id="c")
    engine.do(id_, "record vitals", by=ANN, given={"systolic": 120}, command_id="c")
    assert len(heard) == before + 1


def test_a_listener_that_fails_is_logged_and_nobody_else_notices(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Happened] = []

    def fails(happened: Happened) -> None:
        raise RuntimeError("no pager")

    engine.listen(fails)
    engine.listen(heard.append)
    with caplog.at_level(logging.ERROR, "kat_workflow"):
        id_ = admitted(engine)
    assert engine.status(id_).standing == "active"
    assert tuple(x for x in heard if x.enrollment) == engine.history(id_)
    assert "a listener failed on position 1" in caplog.text


# Several at once


def test_eight_threads_on_one_enrollment_lose_nothing(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    with clinic(tmp_path / "clinic.db", programs, clock) as engine:
        id_ = admitted(engine)

        def work(n: int) -> int:
            for each in range(6):
                engine.do(
                    id_,
                    "record vitals",
                    by=ANN,
                    given={"systolic": 100 + n},
                    command_id=f"{n}-{each}",
                )
            return n

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(work, range(8))) == list(range(8))
        history = engine.history(id_)
        assert [x.version for x in history] == list(range(1, len(history) + 1))
        assert len({x.cause for x in history if "-" in x.cause and x.cause[0].isdigit()}) == 48
        assert engine.enrollment(id_) == replay(x.event for x in history)


def test_of_many_who_answer_one_item_at_once_one_does(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    with clinic(tmp_path / "clinic.db", programs, clock) as engine:
        id_ = engine.enroll("first", patient="P", by=ANN)

        def work(n: int) -> str:
            try:
                engine.record(id_, "intake", {"fine": True}, by=ANN)
            except Refused as refused:
                return refused.code
            return "done"

        with ThreadPoolExecutor(8) as pool:
            outcomes = sorted(pool.map(work, range(8)))
        assert outcomes.count("done") == 1
        assert set(outcomes) <= {"done", "already-settled", "not-open"}


def test_many_workers_run_each_timer_once(tmp_path: Path, programs: Path, clock: Clock) -> None:
    with clinic(tmp_path / "clinic.db", programs, clock) as engine:
        ids = [admitted(engine, f"P-{n}") for n in range(3)]
        clock.wait(hours=13)
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda _: engine.run_due(), range(4))) == 9
        causes = [
            x.cause
            for id_ in ids
            for x in engine.history(id_)
            if isinstance(x.event, e.TimerElapsed)
        ]
        assert len(causes) == len(set(causes)) == 9


def test_two_engines_on_one_file_see_each_other(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    where = tmp_path / "clinic.db"
    with clinic(where, programs, clock) as one, clinic(where, programs, clock) as two:
        id_ = admitted(one)
        two.do(id_, "record baseline", by=ANN, given={"systolic": 120})
        assert "baseline" not in {i.step for i in one.status(id_).items}
        one.do(id_, "hold", by=DOC, given={"reason": "x"})
        assert two.why(id_, "lift", by=DOC) is None
        two.do(id_, "lift", by=DOC)
        one.do(id_, "record farewell", by=ANN, given={"fine": True}, signed=True)
        assert two.status(id_).end == "well"
        assert one.enrollment(id_) == two.enrollment(id_)


def test_two_engines_that_write_in_turn_never_judge_by_what_is_no_longer_so(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    where = tmp_path / "clinic.db"
    with clinic(where, programs, clock) as one, clinic(where, programs, clock) as two:
        id_ = admitted(one)
        one.do(id_, "hold", by=DOC, given={"reason": "x"})
        two.do(id_, "lift", by=DOC)
        one.do(id_, "hold", by=DOC, given={"reason": "y"})
        with pytest.raises(Refused, match="which-hold"):
            two.do(id_, "lift hold.1", by=DOC)
        clock.wait(hours=5)
        two.run_due()
        one.do(id_, "lift hold.2", by=DOC)
        history = one.history(id_)
        assert [x.version for x in history] == list(range(1, len(history) + 1))


def test_another_process_is_another_engine(tmp_path: Path, programs: Path, clock: Clock) -> None:
    where = tmp_path / "clinic.db"
    script = dedent(
        """
        import sys
        from datetime import UTC, datetime
        from kat_workflow import Actor, Engine
        where, programs, id_ = sys.argv[1:]
        now = datetime(2026, 3, 2, 16, 30, tzinfo=UTC)
        bob = Actor("bob", {"nurse"})
        with Engine.open(where, programs=programs, clock=lambda: now) as engine:
            for n in range(20):
                engine.do(id_, "record vitals", by=bob, given={"systolic": 200 + n})
        """
    )
    with clinic(where, programs, clock) as engine:
        id_ = admitted(engine)
        clock.wait(minutes=30)
        other = subprocess.Popen([sys.executable, "-c", script, str(where), str(programs), id_])
        for n in range(20):
            engine.do(id_, "record vitals", by=ANN, given={"systolic": 100 + n})
        assert other.wait(60) == 0
        history = engine.history(id_)
        by = [
            x.person
            for x in history
            if isinstance(x.event, e.ObservationRecorded) and x.event.form == "vitals"
        ]
        assert (by.count("ann"), by.count("bob")) == (20, 20)
        assert engine.enrollment(id_) == replay(x.event for x in history)


class Overtaken(MemoryJournal):
    """A journal in which somebody else is always faster."""

    def append(self, *_: Any, **__: Any) -> Receipt:
        raise Conflict("somebody else was faster")


def test_who_is_overtaken_for_ever_is_told(clock: Clock) -> None:
    engine = Engine(Overtaken(), Files({"first/first.yaml": FIRST}), clock)
    with pytest.raises(Conflict, match="try again"):
        engine.enroll("first", patient="P", by=ANN)


# Beside a host's own data


def test_a_command_joins_the_transaction_of_its_host(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    connection = sqlite3.connect(tmp_path / "host.db", isolation_level=None)
    connection.execute("CREATE TABLE bill (patient TEXT)")
    with Engine.open(connection=connection, programs=programs, clock=clock) as engine:
        id_ = admitted(engine)
        before = engine.history(id_)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO bill VALUES ('P-1')")
        engine.do(id_, "record baseline", by=ANN, given={"systolic": 120})
        connection.execute("ROLLBACK")
        assert engine.history(id_) == before
        assert connection.execute("SELECT count(*) FROM bill").fetchone() == (0,)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO bill VALUES ('P-1')")
        engine.do(id_, "record baseline", by=ANN, given={"systolic": 121})
        connection.execute("COMMIT")
        assert len(engine.history(id_)) > len(before)
        assert connection.execute("SELECT count(*) FROM bill").fetchone() == (1,)
        assert engine.enrollment(id_) == replay(x.event for x in engine.history(id_))
    connection.close()


def test_what_was_rolled_back_is_not_remembered_by_the_engine(
    tmp_path: Path, programs: Path, clock: Clock
) -> None:
    connection = sqlite3.connect(tmp_path / "host.db", isolation_level=None)
    with Engine.open(connection=connection, programs=programs, clock=clock) as engine:
        id_ = admitted(engine)
        connection.execute("BEGIN IMMEDIATE")
        engine.do(id_, "hold", by=DOC, given={"reason": "x"})
        connection.execute("ROLLBACK")
        engine.do(id_, "hold", by=DOC, given={"reason": "y"})
        assert engine.status(id_).holds == ("hold.1",)
        with pytest.raises(Refused):
            engine.do(id_, "lift hold.2", by=DOC)
    connection.close()


# All or nothing


def test_entries_rows_and_lists_are_written_together(engine: Engine, clock: Clock) -> None:
    id_ = admitted(engine)
    stream = f"enrollment:{id_}"
    state = engine.enrollment(id_)
    assert engine.journal.row(stream) is not None
    assert engine.journal.version(stream) == state.version
    listed = {i.item: (i.opens, i.due, i.roles) for i in engine.worklist(enrollment=id_).items}
    assert set(listed) == set(state.items)
    assert engine.journal.due(clock.now + timedelta(days=9), 9) == [(stream, state.wake)]
    (row,) = engine.journal.census("main", "active")
    assert row == CensusRow(stream, "main", "P-1", "first", "active", ("stay",), state.admitted, ())


def test_a_list_shows_what_still_needs_a_signature(engine: Engine) -> None:
    id_ = admitted(engine)
    engine.do(id_, "record farewell", by=ANN, given={"fine": True})
    (item,) = [i for i in engine.worklist("nurse").items if i.step == "farewell"]
    assert item.title == "Farewell"
    engine.do(id_, "record baseline", by=ANN, given={"systolic": 120})
    engine.handle(id_, c.Sign("farewell"), by=ANN)
    assert engine.worklist("nurse").items == ()


def test_an_engine_is_closed_once_and_again() -> None:
    engine = Engine.open()
    engine.close()
    engine.close()
