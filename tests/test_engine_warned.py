"""A flag that a patient's programs share: a high risk seen in one calls somebody in the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from walk_in import ANN, BO, EIGHT, TEXT, Clock

from kat_workflow import Engine, Enrollment, Site, replay
from kat_workflow.cli.telling import said
from kat_workflow.engine.auditing import verify
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.crossing import heed_elsewhere
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.state import decode_row, encode_row, evolve
from kat_workflow.language import compile_files

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


AFTER = """\
leaving: {by: [nurse, doctor], work: [call]}
work_after_leaving:
  call: {by: [nurse], record: interview, due: 1 d, closes: 7 d, source: practice}
"""


def _programs(folder: Path) -> Path:
    after = THERE.replace("day-room", "after-room")
    after = after.replace("leaving: {by: [nurse, doctor]}\n", AFTER)
    texts = {"walk-in": HERE, "day-room": THERE, "night-room": ELSEWHERE, "after-room": after}
    for name, text in texts.items():
        place = folder / "programs" / name
        place.mkdir(parents=True)
        (place / f"{name}.yaml").write_text(text)
    return folder / "programs"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    where: str | Path | None = tmp_path / "clinic.db"
    if request.param != "sqlite":
        where = request.getfixturevalue("database") if request.param == "postgres" else None
    with Engine.open(where, programs=_programs(tmp_path), clock=lambda: EIGHT) as engine:
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


def test_two_ids_that_are_one_patient_share_it_and_two_again_do_not(clinic: Engine) -> None:
    here = clinic.enroll("walk-in", patient="P", by=ANN)
    there = clinic.enroll("day-room", patient="Q", by=ANN)
    clinic.merge("P", "Q", by=BO, reason="one birth certificate")
    clinic.record(here, "look", {"systolic": 190}, by=ANN)
    assert len(calls(clinic, there)) == 1
    for id_ in (here, there):
        (item,) = [x.item for x in clinic.worklist(enrollment=id_).items if x.item[:6] == "alert."]
        clinic.do(id_, f"done {item}", by=BO)

    clinic.unmerge("P", "Q", by=BO, reason="twins")
    clinic.record(here, "rest", {"systolic": 191}, by=ANN)

    assert len(calls(clinic, here)) == 2
    assert len(calls(clinic, there)) == 1


def test_what_is_no_risk_is_told_to_nobody(clinic: Engine) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))

    clinic.record(here, "look", {"systolic": 120}, by=ANN)

    assert calls(clinic, here) == calls(clinic, there) == []


def test_the_call_stands_in_the_others_records_in_the_very_commit_of_the_reading(
    clinic: Engine,
) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))

    clinic.record(here, "look", {"systolic": 190}, by=ANN, command_id="c1")

    (told,) = [x for x in clinic.history(there) if isinstance(x.event, e.WarnedElsewhere)]
    assert told.cause == "c1"  # a command is one commit
    assert said(told.event) == "called in walk-in: High risk"


def test_whoever_has_only_work_after_leaving_is_called_and_whoever_is_closed_is_not(
    clinic: Engine,
) -> None:
    here, after, over = (
        clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "after-room", "day-room")
    )
    for each in (after, over):
        clinic.do(each, "leave against_advice", by=ANN, given={"reason": "x"})
    assert [clinic.enrollment(x).standing for x in (after, over)] == ["discharged", "closed"]

    clinic.record(here, "look", {"systolic": 190}, by=ANN)

    assert len(calls(clinic, after)) == 1
    assert calls(clinic, over) == []


def alarm(engine: Engine, enrollment: str) -> str:
    """The phrase that answers the open call of an enrollment."""
    (item,) = [x.item for x in engine.worklist(enrollment=enrollment).items if "alert" in x.item]
    return f"done {item}"


def test_a_program_that_is_begun_after_a_call_that_nobody_has_answered_is_told_of_it(
    clinic: Engine,
) -> None:
    here = clinic.enroll("walk-in", patient="P", by=ANN)
    clinic.record(here, "look", {"systolic": 190}, by=ANN)

    there = clinic.enroll("day-room", patient="P", by=ANN)
    other = clinic.enroll("day-room", patient="Q", by=ANN)

    (call,) = calls(clinic, there)
    assert call.says == "High risk (in walk-in)"
    assert call.tell == ("doctor",)
    assert call.answer_by == EIGHT + timedelta(minutes=15)
    assert calls(clinic, other) == []
    assert verify(clinic.journal).faults == ()


def test_what_was_answered_before_a_program_is_begun_is_not_told_there(clinic: Engine) -> None:
    here = clinic.enroll("walk-in", patient="P", by=ANN)
    clinic.record(here, "look", {"systolic": 190}, by=ANN)
    clinic.do(here, alarm(clinic, here), by=BO)

    there = clinic.enroll("day-room", patient="P", by=ANN)

    assert calls(clinic, there) == []


def test_a_call_that_outlives_the_program_it_came_from_in_another_reaches_a_third(
    clinic: Engine,
) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))
    clinic.record(here, "look", {"systolic": 190}, by=ANN)
    clinic.do(here, "leave against_advice", by=ANN, given={"reason": "x"})

    third = clinic.enroll("night-room", patient="P", by=ANN)
    assert [x.says for x in calls(clinic, third)] == ["High risk (in walk-in)"]

    clinic.do(there, alarm(clinic, there), by=BO)
    clinic.do(third, "leave against_advice", by=ANN, given={"reason": "x"})
    assert calls(clinic, clinic.enroll("day-room", patient="P", by=ANN)) == []


def test_a_second_high_reading_is_told_to_a_program_begun_after_it(clinic: Engine) -> None:
    here = clinic.enroll("walk-in", patient="P", by=ANN)
    clinic.record(here, "look", {"systolic": 190}, by=ANN)
    clinic.do(here, alarm(clinic, here), by=BO)
    clinic.record(here, "rest", {"systolic": 191}, by=ANN)

    there = clinic.enroll("day-room", patient="P", by=ANN)

    assert len(calls(clinic, there)) == 1


def test_what_was_due_there_before_runs_first_and_at_its_own_time(tmp_path: Path) -> None:
    clock = Clock()
    with Engine.open(None, programs=_programs(tmp_path), clock=clock) as engine:
        here, there = (engine.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))
        clock.goes_on(9)  # nobody has looked at the other program meanwhile

        engine.record(here, "look", {"systolic": 190}, by=ANN)

        events = [x.event for x in engine.history(there)]
        missed = [x.at for x in events if isinstance(x, e.ItemSettled)]
        assert missed == [EIGHT + timedelta(hours=n) for n in (4, 8)]
        assert replay(events) == engine.enrollment(there)
        assert [x.at for x in calls(engine, there)] == [clock.at]


def test_an_enrollment_at_a_site_of_another_host_is_called_by_that_host(tmp_path: Path) -> None:
    sites = Site("main"), Site("hill")
    where, programs = tmp_path / "clinic.db", _programs(tmp_path)

    def opened(*sites: Site) -> Engine:
        return Engine.open(where, programs=programs, clock=lambda: EIGHT, sites=sites)

    with opened(*sites) as both:
        here = both.enroll("walk-in", patient="P", by=ANN)
        there = both.enroll("day-room", patient="P", by=ANN, site="hill")
    with opened(sites[0]) as main:
        main.record(here, "look", {"systolic": 190}, by=ANN)
        assert calls(main, there) == []
    with opened(sites[1]) as hill:
        assert hill.run_due() == 1
        assert len(calls(hill, there)) == 1
        assert verify(hill.journal).faults == ()


DIES = """\
import os, sys
from kat_workflow import Engine
from kat_workflow.enrollment import events as e
from walk_in import ANN, BO, EIGHT
file, programs, here, what = sys.argv[1:]
engine = Engine.open(file, programs=programs, clock=lambda: EIGHT)
deadly = (e.AlertRaised, e.Held, e.HoldLifted, e.PatientMerged, e.PatientUnmerged)
engine.listen(lambda x: isinstance(x.event, deadly) and os._exit(9))
if what == "merge":
    engine.merge("P", "Q", by=BO, reason="one birth certificate", command_id="m")
elif what == "unmerge":
    engine.unmerge("P", "Q", by=BO, reason="twins", command_id="u")
elif what == "record":
    engine.record(here, "look", {"systolic": 190}, by=ANN)
elif what == "hold":
    engine.do(here, "hold fever", by=ANN, given={"everywhere": True})
else:
    engine.do(here, "lift", by=ANN)
"""


def dies(file: Path, programs: Path, here: str, what: str) -> None:
    """A process commits something about a patient, and dies before it does anything else."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    died = subprocess.run(
        [sys.executable, "-c", DIES, file, programs, here, what],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert died.returncode == 9


def test_a_process_that_dies_right_after_the_commit_leaves_nobody_untold(tmp_path: Path) -> None:
    file, programs = tmp_path / "clinic.db", _programs(tmp_path)
    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        here, there = (engine.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))

    dies(file, programs, here, "record")

    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        assert len(calls(engine, here)) == 1
        assert calls(engine, there) == []  # it died before anybody was told there
        assert verify(engine.journal).faults == ()
        shown = engine.status(there)  # what is due is seen before any scheduler runs
        assert [x.title for x in shown.items if x.item.startswith("alert.")]
        assert engine.run_due() == 1
        assert len(calls(engine, there)) == 1
        assert engine.run_due() == 0
        engine.record(here, "rest", {"systolic": 190}, by=ANN)
        assert len(calls(engine, there)) == 1  # it is still unanswered, in both


def test_nor_does_a_hold_everywhere_or_its_end_get_lost_with_a_process(tmp_path: Path) -> None:
    file, programs = tmp_path / "clinic.db", _programs(tmp_path)

    def holds(there: str) -> list[str]:
        with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
            assert engine.run_due() == 1
            assert verify(engine.journal).faults == ()
            return list(engine.enrollment(there).holds)

    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        here, there = (engine.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))

    dies(file, programs, here, "hold")
    assert holds(there) == [f"hold.1@{here}"]

    dies(file, programs, here, "lift")
    assert holds(there) == []
    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        lifted = [x.event for x in engine.history(there) if isinstance(x.event, e.HoldLifted)]
        assert [x.person for x in lifted] == ["ann"]


def test_a_process_that_dies_right_after_a_merge_leaves_nothing_unlooked_at(tmp_path: Path) -> None:
    file, programs = tmp_path / "clinic.db", _programs(tmp_path)

    def then(here: str, there: str) -> list[list[str]]:
        with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
            assert engine.run_due() == 2
            assert verify(engine.journal).faults == ()
            return [
                sorted(i.about for i in engine.enrollment(id_).items.values() if i.about)
                for id_ in (here, there)
            ]

    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        here = engine.enroll("walk-in", patient="P", by=ANN)
        there = engine.enroll("day-room", patient="Q", by=ANN)
        engine.record(here, "look", {"systolic": 190}, by=ANN)
        engine.do(here, "hold fever", by=ANN, given={"everywhere": True})

    dies(file, programs, here, "merge")
    assert then(here, there) == [
        ["patient-merged", "program.alert.1"],
        [
            "patient-merged",
            f"program.alert.1@{here}",
        ],  # the call is unanswered, and now theirs as well
    ]
    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        assert list(engine.enrollment(there).holds) == [f"hold.1@{here}"]
        engine.merge("P", "Q", by=BO, reason="one birth certificate", command_id="m")  # again
        assert engine.run_due() == 0

    dies(file, programs, here, "unmerge")
    reviews = ["patient-merged", "patient-parted"]
    assert then(here, there) == [
        [*reviews, "program.alert.1"],
        [*reviews, f"program.alert.1@{here}"],
    ]
    with Engine.open(file, programs=programs, clock=lambda: EIGHT) as engine:
        assert list(engine.enrollment(there).holds) == []


def test_a_merge_calls_nobody_again_who_has_answered_in_a_program_of_their_own(
    clinic: Engine,
) -> None:
    here, there = (clinic.enroll(x, patient="P", by=ANN) for x in ("walk-in", "day-room"))
    clinic.enroll("night-room", patient="Q", by=ANN)
    clinic.record(here, "look", {"systolic": 190}, by=ANN)
    clinic.do(there, alarm(clinic, there), by=BO)

    clinic.merge("Q", "P", by=BO, reason="one birth certificate")

    assert len(calls(clinic, there)) == 1
    assert not [x for x in clinic.status(there).items if x.item.startswith("alert.")]


def test_a_merge_tells_an_enrollment_at_a_site_of_another_host_by_that_host(
    tmp_path: Path,
) -> None:
    where, programs = tmp_path / "clinic.db", _programs(tmp_path)
    main, hill = Site("main"), Site("hill")
    with Engine.open(where, programs=programs, clock=lambda: EIGHT, sites=(main, hill)) as both:
        here = both.enroll("walk-in", patient="P", by=ANN)
        there = both.enroll("day-room", patient="Q", by=ANN, site="hill")

    def reviews(engine: Engine, enrollment: str) -> list[str]:
        return [i.about for i in engine.enrollment(enrollment).items.values() if i.about]

    with Engine.open(where, programs=programs, clock=lambda: EIGHT, sites=(main,)) as one:
        one.merge("P", "Q", by=BO, reason="one birth certificate")
        assert (reviews(one, here), reviews(one, there)) == (["patient-merged"], [])
    with Engine.open(where, programs=programs, clock=lambda: EIGHT, sites=(hill,)) as other:
        assert other.run_due() == 1
        assert reviews(other, there) == ["patient-merged"]


def test_who_has_left_by_what_was_due_before_is_held_no_more() -> None:
    program = compile_files({"day-room/day-room.yaml": THERE}, "day-room")
    run = Run.of(program, Enrollment(id="e-2", standing="discharged"), Around(), EIGHT)
    run.s.elsewhere = {"3@e-1": e.HeldElsewhere("3@e-1", "ann", EIGHT)}

    heed_elsewhere(run, "timer:x", run.s.elsewhere["3@e-1"])

    assert not run.s.elsewhere
    assert not run.s.holds


def test_a_call_that_is_to_be_passed_on_is_in_the_row_and_in_every_replay(tmp_path: Path) -> None:
    warned = e.WarnedElsewhere("3@e-1", "e-1", "p", "a", "Risk", ("doctor",), 900, "o1", EIGHT)
    state = Enrollment(id="e-2")

    after = evolve(state, warned)

    assert after.wake == EIGHT
    assert after.last is None  # no clock was moved
    assert decode_row(encode_row(after)) == after
    heeded = e.TimerElapsed("timer:x", EIGHT, heeded="3@e-1")
    assert evolve(after, heeded).elsewhere == {}
    assert evolve(after, heeded).wake is None
