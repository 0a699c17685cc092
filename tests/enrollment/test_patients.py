"""One patient in several programs: what holds between the enrollments, and what is carried over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Literal

import pytest
from bedside import MONDAY, Patient, RefusedHereError, program
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_items import phase
from test_sessions import clinic
from two_programs import TEXTS, house, therapy

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import patients
from kat_workflow.enrollment.around import Past
from kat_workflow.enrollment.carrying import carries, evaluations, suggestions
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.enrollment.state import evolve
from kat_workflow.errors import Refusal
from kat_workflow.language import compile_files
from kat_workflow.program.clock import Site
from kat_workflow.program.model import Program

HOUR = timedelta(hours=1)


def both(zone: str = "UTC") -> tuple[Patient, Patient]:
    """One patient in both programs, the house first."""
    first = Patient(house(), zone=zone)
    return first, Patient(therapy(), zone=zone, beside=first)


def session(p: Patient, kind: str) -> None:
    """A whole session, up to its release."""
    p.do(f"start {kind}")
    p.do(f"dose {kind}", amount="10 mg")
    p.wait("60 min")
    p.do(f"release {kind}")


def deviations(p: Patient) -> list[str]:
    return [x.code for x in p.events(e.DeviationNoted)]


def known(p: Patient) -> e.Known:
    record = p.around.patient
    assert record is not None
    return record.known


# One sedating session a date


def test_a_sedating_session_does_not_start_on_a_date_that_had_one_in_another_program() -> None:
    there, here = both()
    session(there, "pill")

    refusal = here.refused("start day")

    assert [r.code for r in refusal.reasons] == ["one-sedating-a-day"]
    assert "pill.1 of house" in refusal.reasons[0].says
    here.until("2026-03-03 00:00")
    here.do("start day")


def test_nor_does_one_of_another_kind_of_the_same_enrollment() -> None:
    p = Patient(house())
    session(p, "pill")

    assert p.codes("start syrup") == ["one-sedating-a-day"]


def test_what_does_not_sedate_may_follow_once_the_patient_was_released() -> None:
    there, here = both()
    session(here, "day")

    session(there, "drip")

    assert deviations(there) == []


def test_a_sedating_session_may_follow_what_does_not_sedate() -> None:
    there, here = both()
    session(there, "drip")

    here.do("start day")


def test_a_session_in_which_nothing_was_given_uses_up_no_day() -> None:
    there, here = both()
    there.do("start pill")
    there.do("cancel pill", reason="not today")

    here.do("start day")

    assert list(known(here).sessions) == ["e-2/day.1"]


def test_the_date_is_that_of_the_first_drug() -> None:
    there, here = both()
    there.until("2026-03-02 23:50")
    there.do("start pill")
    there.wait("20 min")
    there.do("dose pill", amount="1 g")
    there.wait("2 h")
    there.do("release pill")

    assert here.codes("start day") == ["one-sedating-a-day"]
    here.until("2026-03-04 00:00")
    here.do("start day")


def test_an_aborted_sedating_session_is_the_one_of_its_date() -> None:
    there, here = both()
    there.do("start pill")
    there.do("dose pill", amount="1 mg")
    there.do("abort pill", reason="dizzy")
    there.wait("60 min")
    there.do("release pill")

    assert here.codes("start day") == ["one-sedating-a-day"]


def containing() -> Program:
    """The house, after the therapy as a part of it."""
    inner = """\
phases:
  inner:
    contains: {program: therapy, ends: {well: finish}}
    next: [{to: stay, when: always}]
"""
    text = TEXTS["house"].replace("program: house", "program: outer")
    text = text.replace("start: stay", "start: inner").replace("phases:\n", inner)
    files = {"outer/outer.yaml": text, "therapy/therapy.yaml": TEXTS["therapy"]}
    return compile_files(files, "outer/outer.yaml")


def test_a_contained_program_obeys_the_same_rule() -> None:
    p = Patient(containing())
    session(p, "inner.day")
    p.do("move stay", reason="back", by="doctor")

    assert p.codes("start pill") == ["one-sedating-a-day"]


def test_a_contained_program_and_one_beside_it_obey_it_together() -> None:
    outer = Patient(containing())
    beside = Patient(house(), beside=outer)
    session(beside, "pill")

    assert outer.codes("start inner.day") == ["one-sedating-a-day"]
    outer.do("dose inner.day", amount="1 mg")
    assert deviations(outer)[-1] == "one-sedating-a-day"
    assert "inner.day.1 of outer" in beside.refused("start drip").explanation


# Nothing is started while the patient is watched elsewhere


@pytest.mark.parametrize("kind", ["drip", "pill"])
def test_nothing_is_started_before_the_release_from_a_session_in_another_program(kind: str) -> None:
    there, here = both()
    here.do("start day")

    assert there.codes(f"start {kind}") == ["monitored-elsewhere"]
    here.do("dose day", amount="10 mg")
    here.wait("50 min")
    assert "monitored-elsewhere" in there.codes(f"start {kind}")
    assert "day.1 of therapy" in there.refused(f"start {kind}").explanation
    here.wait("10 min")
    here.do("release day")
    assert "monitored-elsewhere" not in _codes(there, f"start {kind}")


def _codes(p: Patient, phrase: str) -> list[str]:
    try:
        p.do(phrase)
    except RefusedHereError as error:
        return [r.code for r in error.refusal.reasons]
    return []


def test_a_session_in_which_nothing_is_given_is_nobodys_else_concern() -> None:
    there, here = both()
    here.do("start day")

    there.do("start walk")

    assert list(known(there).sessions) == ["e-2/day.1"]


def test_what_was_given_all_the_same_is_kept_and_looked_at() -> None:
    there, here = both()
    session(there, "pill")
    there.do("start drip")
    there.do("dose drip", amount="1 g")

    here.do("dose day", amount="10 mg")

    expected = ["dose-without-start", "monitored-elsewhere", "one-sedating-a-day"]
    assert deviations(here) == expected
    assert here.session("day.1").given == "10"
    assert [here.is_open(code) for code in expected] == [True] * 3
    assert known(here).sessions["e-2/day.1"].dosed == date(2026, 3, 2)


def test_a_dose_beside_a_session_in_which_nothing_was_given_yet_harms_nobody() -> None:
    there, here = both()
    there.do("start drip")

    here.do("dose day", amount="10 mg")

    assert deviations(here) == ["dose-without-start"]


def test_a_total_that_is_told_at_the_end_counts_as_the_first_drug() -> None:
    there, here = both()
    here.do("start day")
    here.do("end dosing day", amount="50 mg")

    assert "monitored-elsewhere" in there.codes("start drip")
    assert known(here).sessions["e-2/day.1"].dosed == date(2026, 3, 2)


def test_leaving_before_release_frees_the_other_program() -> None:
    there, here = both()
    there.do("start drip")
    there.do("dose drip", amount="1 g")
    there.do("leave against_advice", reason="went home")

    here.do("start day")

    assert known(here).enrollments["e-1"].end == "against_advice"


def test_last_weeks_sessions_are_not_carried_along_for_ever() -> None:
    there, here = both()
    for day in range(3, 9):
        session(there, "pill")
        there.until(f"2026-03-0{day} 09:00")

    session(here, "day")

    assert list(known(here).sessions) == ["e-1/pill.6", "e-2/day.1"]


def test_a_session_that_began_before_the_patients_record_is_told_with_its_first_drug() -> None:
    p = Patient(house())
    p.do("start drip")
    p.around = p.around.read("patient", PatientRecord())

    p.do("dose drip", amount="1 g")
    assert known(p).sessions["e-1/drip.1"].dosed == date(2026, 3, 2)
    p.around = p.around.read("patient", PatientRecord())
    p.wait("1 h")
    p.do("release drip")
    p.do("leave against_advice", reason="went home")

    assert known(p) == e.Known()


_MOVES = st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 600))


@given(st.lists(_MOVES, max_size=40))
def test_no_two_sedating_sessions_are_on_one_date_by_request(
    moves: list[tuple[int, int, int]],
) -> None:
    there, here = both("America/New_York")

    for which, what, minutes in moves:
        p, kinds = (there, ("pill", "syrup", "drip")) if which == 0 else (here, ("day",))
        p.wait(timedelta(minutes=minutes))
        kind = Random(minutes).choice(kinds)
        found = (
            p.s.sessions.get(f"{kind}.{p.s.tallies[kind].booked}") if kind in p.s.tallies else None
        )
        if what < 3:
            _codes(p, f"start {kind}")
        elif found is not None and found.under_way and what < 5:
            p.do(f"dose {kind}", amount="1 mg")
        elif found is not None and what == 5:
            _codes(p, f"release {kind}")
        else:
            _codes(p, f"cancel {kind}")

    dates = _sedating_dates(there, {"pill", "syrup"}) + _sedating_dates(here, {"day"})
    assert len(dates) == len(set(dates))
    broken = {*deviations(there), *deviations(here)}
    assert not broken & {"monitored-elsewhere", "one-sedating-a-day"}


def _sedating_dates(p: Patient, kinds: set[str]) -> list[date]:
    return [
        x.at.astimezone(p.zone).date()
        for x in p.events(e.DoseGiven)
        if x.first and x.session.partition(".")[0] in kinds
    ]


# Holds of the patient


def heed(p: Patient, ids: Literal["", "merged", "parted"] = "") -> None:
    """What a merge, or an unmerge, lets follow in an enrollment."""
    p.look()
    told = e.IdsChanged(f"m-{p.s.version}", ids, (), "ann", p.now)
    p.s = evolve(p.s, told)
    p.log.append(told)
    p.past.append(Past(p.now, told))
    p.look()
    assert p.s.elsewhere == {}


def test_a_hold_everywhere_stops_starts_elsewhere_even_before_they_have_heard_of_it() -> None:
    _, here = both()
    held = e.PatientHeld("e-1", "hold.1", "house", "fever", "ann", MONDAY)
    assert here.around.patient is not None
    here.around = here.around.read("patient", patients.evolve(here.around.patient, held))

    refusal = here.refused("start day")

    assert here.s.holds == {}
    assert [r.code for r in refusal.reasons] == ["on-hold"]
    assert refusal.reasons[0].unblock == ("lift hold.1 in house",)


def test_the_other_programs_are_told_of_a_hold_in_its_own_commit() -> None:
    there, here = both()

    there.do("hold fever", everywhere=True)

    assert here.s.holds == {}
    assert here.s.wake == here.now  # due at once, and before anything else is done there
    assert here.codes("start day") == ["on-hold"]
    assert list(here.s.holds) == ["hold.1@e-1"]
    assert here.s.elsewhere == {}


def test_an_ordinary_hold_is_of_one_program() -> None:
    there, here = both()
    there.do("hold fever")
    heed(here)

    here.do("start day")

    assert here.s.holds == {}


def test_a_hold_that_was_heard_of_stands_and_stops_what_is_being_given() -> None:
    there, here = both()
    here.do("start day")
    here.do("dose day", amount="10 mg", last=False)
    there.do("hold fever", everywhere=True)

    heed(here)
    heed(here)

    assert list(here.s.holds) == ["hold.1@e-1"]
    assert here.s.holds["hold.1@e-1"].person == "nurse"
    assert here.session("day.1").dosing == "paused"
    assert here.codes("start day")[0] == "on-hold"


def test_it_is_lifted_where_it_was_made_and_then_everywhere() -> None:
    there, here = both()
    there.do("hold fever", everywhere=True)
    heed(here)

    assert here.codes("lift", by="doctor") == ["held-elsewhere"]
    there.do("lift")
    assert list(here.s.holds) == ["hold.1@e-1"]
    heed(here)
    assert here.s.holds == {}
    here.do("start day")


def test_each_hold_is_lifted_by_itself() -> None:
    there, here = both()
    here.do("hold rest", by="doctor")
    there.do("hold fever", everywhere=True)
    heed(here)
    there.do("lift")

    heed(here)

    assert list(here.s.holds) == ["hold.1"]


def test_once_the_program_that_made_it_is_over_another_may_lift_it() -> None:
    there, here = both()
    there.do("hold fever", everywhere=True)
    heed(here)
    there.do("leave against_advice", reason="went home")

    here.do("lift", by="doctor")

    assert known(here).holds == {}
    assert here.s.holds == {}


def test_a_program_that_is_begun_under_a_hold_of_the_patient_begins_held() -> None:
    there = Patient(house())
    there.do("hold fever", everywhere=True)

    here = Patient(therapy(), beside=there, by="ann:nurse")

    assert list(here.s.holds) == ["hold.1@e-1"]
    assert here.s.holds["hold.1@e-1"].person == "nurse"  # who held, not who enrolled
    assert here.codes("start day")[0] == "on-hold"


def test_a_hold_of_an_enrollment_older_than_the_patients_record_can_be_lifted_elsewhere() -> None:
    here = Patient(therapy())
    held = e.PatientHeld("e-0", "hold.1", "old", "fever", "ann", MONDAY)
    assert here.around.patient is not None
    here.around = here.around.read("patient", patients.evolve(here.around.patient, held))
    heed(here)

    here.do("lift", by="doctor")

    assert known(here).holds == {}


def test_nothing_follows_from_a_merge_for_who_has_left() -> None:
    _, here = both()
    here.do("leave against_advice", reason="went home")

    heed(here, "merged")

    assert here.s.items == {}
    assert here.s.holds == {}


# Duplicate ids: merged, and taken apart again


def began(patient: str, enrollment: str) -> e.EnrollmentBegan:
    return e.EnrollmentBegan(patient, enrollment, "house", "main", MONDAY)


def record_of(patient: str, *events: e.Event) -> PatientRecord:
    record = PatientRecord(patient=patient)
    for event in events:
        record = patients.evolve(record, event)
    return record


def merged(
    survivor: PatientRecord, duplicate: PatientRecord
) -> tuple[PatientRecord, PatientRecord]:
    event = patients.merge(survivor, duplicate, "the same birth", "ann", MONDAY)
    assert isinstance(event, e.PatientMerged)
    return patients.evolve(survivor, event), patients.evolve(duplicate, event)


def unmerged(
    survivor: PatientRecord, duplicate: PatientRecord
) -> tuple[PatientRecord, PatientRecord]:
    event = patients.unmerge(survivor, duplicate, "twins", "ann", MONDAY)
    assert isinstance(event, e.PatientUnmerged)
    return patients.evolve(survivor, event), patients.evolve(duplicate, event)


_OFFERED = e.Evaluation("o1", "fit", "score", "", MONDAY, {"points": 3})


def _told(enrollment: str) -> list[list[e.Event]]:
    """What may be told of one enrollment, one thing after the other."""
    return [
        [
            e.SessionUnderWay(enrollment, "pill.1", "house", True, MONDAY),
            e.SessionDosed(enrollment, "pill.1", MONDAY.date(), MONDAY),
            e.SessionOver(enrollment, "pill.1", MONDAY),
        ],
        [
            e.PatientHeld(enrollment, "hold.1", "house", "fever", "ann", MONDAY),
            e.PatientFreed(enrollment, "hold.1", "ann", MONDAY),
        ],
        [e.EvaluationsOffered(enrollment, "house", "therapy", (_OFFERED,), "ann", MONDAY)],
        [e.PatientWarned(enrollment, "house", "a", "Risk", ("doctor",), 900, "o1", MONDAY)],
        [e.EnrollmentMoved(enrollment, "north", MONDAY)],
        [e.EnrollmentEnded(enrollment, "well", "completed", MONDAY)],
    ]


@st.composite
def _record(draw: st.DrawFn, patient: str, *enrollments: str) -> PatientRecord:
    """A patient of whom some of that was told."""
    events: list[e.Event] = [began(patient, each) for each in enrollments]
    for each in enrollments:
        for part in _told(each):
            events.extend(part[: draw(st.integers(0, len(part)))])
    return record_of(patient, *events)


@given(_record("A", "e-1", "e-2"), _record("B", "e-3"), _record("C", "e-4"))
def test_taking_apart_what_was_joined_gives_back_both(
    a: PatientRecord, b: PatientRecord, c: PatientRecord
) -> None:
    b_with_c, gone_c = merged(b, c)
    a_with_all, gone_b = merged(a, b_with_c)

    a_again, b_again = unmerged(a_with_all, gone_b)
    b_alone, c_again = unmerged(b_again, gone_c)

    assert set(a_with_all.known.enrollments) == {"e-1", "e-2", "e-3", "e-4"}
    assert a_with_all.known.merged == {"B": "A", "C": "B"}
    assert gone_b.known == gone_c.known == e.Known()
    assert (a_again.known, a_again.survivor) == (a.known, "")
    assert (b_again.known, b_again.survivor) == (b_with_c.known, "")
    assert (b_alone.known, c_again.known) == (b.known, c.known)
    assert c_again.survivor == ""


def test_what_happened_since_goes_with_the_id_it_happened_under() -> None:
    a, b = merged(record_of("A", began("A", "e-1")), record_of("B", began("B", "e-2")))
    for event in (
        began("B", "e-3"),
        e.SessionUnderWay("e-3", "pill.1", "house", True, MONDAY),
        e.SessionUnderWay("e-1", "pill.1", "house", True, MONDAY),
    ):
        a = patients.evolve(a, event)

    assert (a.patient, list(a.known.sessions)) == ("A", ["e-3/pill.1", "e-1/pill.1"])
    a, b = unmerged(a, b)

    assert list(a.known.enrollments) == ["e-1"]
    assert list(a.known.sessions) == ["e-1/pill.1"]
    assert list(b.known.enrollments) == ["e-2", "e-3"]
    assert list(b.known.sessions) == ["e-3/pill.1"]


def test_a_chain_of_duplicates_goes_with_the_one_it_hangs_on() -> None:
    a, b, c, d = (record_of(x, began(x, f"e-{x}")) for x in "ABCD")
    c, _ = merged(c, d)
    b, _ = merged(b, c)
    a, gone = merged(a, b)

    a, b = unmerged(a, gone)

    assert list(a.known.enrollments) == ["e-A"]
    assert list(b.known.enrollments) == ["e-B", "e-C", "e-D"]
    assert b.known.merged == {"C": "B", "D": "C"}


def test_a_survivor_need_not_have_been_enrolled() -> None:
    a, _ = merged(record_of("A"), record_of("B", began("B", "e-1")))

    assert (a.patient, a.in_treatment) == ("A", ("e-1",))


def test_a_session_of_before_the_record_stays_where_it_was_told() -> None:
    session_ = e.SessionUnderWay("e-0", "pill.1", "old", True, MONDAY)
    a, b = merged(record_of("A", session_), record_of("B", began("B", "e-1")))

    a, b = unmerged(a, b)

    assert list(a.known.sessions) == ["e-0/pill.1"]
    assert b.known.sessions == {}


def _why_not(
    rule: object, survivor: PatientRecord, duplicate: PatientRecord, why: str = "x"
) -> str:
    assert callable(rule)
    answer = rule(survivor, duplicate, why, "ann", MONDAY)
    assert isinstance(answer, Refusal)
    assert answer.reasons[0].unblock
    return answer.reasons[0].code


def test_what_cannot_be_joined_or_parted_says_why() -> None:
    a, b, c = (record_of(x, began(x, f"e-{x}")) for x in "ABC")
    a_with_b, gone_b = merged(a, b)
    _, gone_a = merged(c, a_with_b)

    assert _why_not(patients.merge, a, a) == "same-patient"
    assert _why_not(patients.merge, record_of(""), a) == "no-patient"
    assert _why_not(patients.merge, c, gone_b) == "already-merged"
    assert _why_not(patients.merge, a, record_of("D")) == "unknown-patient"
    assert _why_not(patients.merge, a, b, "") == "reason-missing"
    assert _why_not(patients.unmerge, a, b) == "not-merged"
    assert _why_not(patients.unmerge, c, gone_b) == "not-merged"
    assert _why_not(patients.unmerge, gone_a, gone_b) == "not-merged"
    assert _why_not(patients.unmerge, a_with_b, gone_b, "") == "reason-missing"


def test_a_merge_lets_the_rules_hold_for_both_and_asks_somebody_to_look() -> None:
    p = Patient(therapy())
    other = record_of(
        "P-2",
        began("P-2", "e-9"),
        e.SessionUnderWay("e-9", "pill.1", "house", True, MONDAY),
        e.SessionDosed("e-9", "pill.1", MONDAY.date(), MONDAY),
        e.SessionOver("e-9", "pill.1", MONDAY),
    )
    assert p.around.patient is not None
    survivor, _ = merged(p.around.patient, other)

    p.around = p.around.read("patient", survivor)
    heed(p, "merged")
    heed(p, "merged")

    assert "one-sedating-a-day" in p.codes("start day")
    assert [x.about for x in p.s.items.values() if x.kind == "review"] == ["patient-merged"]
    p.do("done patient-merged", by="doctor")


def test_what_was_done_while_two_were_one_is_looked_at_once_they_are_parted() -> None:
    p = Patient(therapy())

    heed(p, "parted")
    heed(p, "parted")

    assert [x.about for x in p.s.items.values() if x.kind == "review"] == ["patient-parted"]


# What was found out elsewhere


def given_evaluations(p: Patient, *steps: str) -> tuple[e.Evaluation, ...]:
    return evaluations(p.program, p.log, steps)


def handed_over() -> tuple[Patient, Patient]:
    """A patient whom the therapy has found fit, handed over to a second course of it."""
    first = Patient(therapy())
    first.do("record fit", points=7, signed=True, by="doctor")
    first.do("record tested", result="negative")
    first.do("leave transferred", reason="moved to the coast")
    first.act(c.Offer("therapy", (), given_evaluations(first)), by="doctor")
    first.wait("24 h")
    return first, Patient(therapy(), beside=first)


def suggested(p: Patient) -> list[tuple[str, str]]:
    p.look()
    return suggestions(p.program, p.s, known(p), p.now, p.around.site)


def test_what_was_handed_over_is_suggested_and_counts_only_once_it_is_confirmed() -> None:
    first, p = handed_over()

    assert [item for item, _ in suggested(p)] == ["course.1/fit.1", "course.1/tested.1"]
    assert p.s.settled == {}
    p.do("adopt fit", signed=True, by="doctor")

    found = p.events(e.ObservationRecorded)[0]
    assert (found.carried, found.values, found.person) == ("adopted", {"points": 7}, "doctor")
    assert found.source == first.s.id + "/" + first.events(e.ObservationRecorded)[0].observation
    assert found.occurred == first.events(e.ObservationRecorded)[0].occurred
    assert p.outcome("fit") == "done"
    assert [item for item, _ in suggested(p)] == ["course.1/tested.1"]


def test_a_step_that_is_signed_asks_for_a_signature_under_what_is_adopted_too() -> None:
    _, p = handed_over()
    p.do("adopt fit", by="doctor")

    assert p.is_open("fit")
    assert suggested(p)[0][0] != "course.1/fit.1"
    assert p.codes("adopt fit", by="doctor") == ["already-recorded"]
    p.do("sign fit", by="doctor")
    assert p.outcome("fit") == "done"


def test_only_who_may_do_the_step_confirms_it() -> None:
    _, p = handed_over()

    assert p.codes("adopt fit") == ["wrong-role"]


def test_what_has_expired_meanwhile_is_not_suggested() -> None:
    _, p = handed_over()
    p.wait("48 h")

    assert [item for item, _ in suggested(p)] == ["course.1/fit.1"]
    assert p.codes("adopt tested") == ["no-suggestion"]


def test_of_several_the_latest_is_taken_unless_another_is_named() -> None:
    first, p = handed_over()
    offered = known(p).offered
    fits = [name for name, each in offered.items() if each.evaluation.step == "fit"]
    later = e.Evaluation("o99", "fit", "score", "", p.now - HOUR, {"points": 9})
    first.act(c.Offer("therapy", (), (later,)), by="doctor")

    assert p.codes("adopt fit", evaluation="e-7/o7", by="doctor") == ["no-suggestion"]
    p.do("adopt fit", evaluation=fits[0], signed=True, by="doctor")
    assert p.events(e.ObservationRecorded)[0].values == {"points": 7}

    third = Patient(therapy(), beside=p)
    third.do("adopt fit", signed=True, by="doctor")
    assert third.events(e.ObservationRecorded)[0].values == {"points": 9}


def test_another_edition_of_the_form_is_another_question() -> None:
    first = Patient(therapy())
    other = e.Evaluation("o9", "fit", "score", "2nd", MONDAY, {"points": 9})
    first.act(c.Offer("therapy", (), (other,)), by="doctor")
    p = Patient(therapy(), beside=first)

    assert suggested(p) == []


def test_nobody_hands_over_to_the_very_enrollment_or_to_another_program() -> None:
    p, there = both()
    own = e.Evaluation("o9", "fit", "score", "", MONDAY, {"points": 9})
    p.act(c.Offer("house", (), (own,)), by="doctor")
    there.act(c.Offer("therapy", (), (own,)), by="doctor")

    assert suggested(p) == suggested(there) == []


def test_the_last_evaluation_is_the_one_that_happened_last() -> None:
    p = Patient(house())
    for hours, text in ((1, "late"), (0, "early")):
        p.log.append(
            e.ObservationRecorded(
                f"x{hours}", "note", "rounds", "stay.1", {"text": text}, MONDAY + hours * HOUR,
                MONDAY, "nurse", "nurse",
            )
        )  # fmt: skip

    (found,) = given_evaluations(p, "rounds")

    assert found.values == {"text": "late"}


def test_an_answer_that_the_form_no_longer_takes_is_not_taken_over() -> None:
    first = Patient(therapy())
    odd = e.Evaluation("o9", "fit", "score", "", MONDAY, {"points": 900})
    first.act(c.Offer("therapy", (), (odd,)), by="doctor")
    p = Patient(therapy(), beside=first)

    assert p.codes("adopt fit", by="doctor") == ["implausible"]


def test_only_what_is_finished_and_asked_once_in_a_course_is_handed_over() -> None:
    p = Patient(therapy())
    p.do("record fit", points=7, by="doctor")
    assert given_evaluations(p) == ()
    p.do("sign fit", by="doctor")
    p.do("record agreed", word="two", by="doctor")
    assert [x.step for x in given_evaluations(p)] == ["fit"]
    p.do("cosign agreed", by="therapist")
    assert [x.step for x in given_evaluations(p)] == ["fit", "agreed"]
    assert [x.step for x in given_evaluations(p, "agreed")] == ["agreed"]

    ward = Patient(house())
    ward.do("record rounds", text="quiet")
    ward.do("record vitals", systolic=120)
    assert given_evaluations(ward) == ()


def test_what_was_corrected_is_handed_over_as_it_is_now_and_what_was_retracted_not_at_all() -> None:
    p = Patient(therapy())
    p.do("record fit", points=7, signed=True, by="doctor")
    p.do("correct fit", points=17, reason="a slip of the pen", by="doctor")
    assert given_evaluations(p) == ()
    p.do("sign fit", by="doctor")
    (found,) = given_evaluations(p)
    assert found.values == {"points": 17}

    p.do("retract fit", reason="another patient's", by="doctor")

    assert given_evaluations(p) == ()


def test_what_comes_late_from_elsewhere_is_marked_as_late() -> None:
    p = Patient(therapy())
    p.do("record fit", points=7, signed=True, by="doctor")
    p.wait("1 h")
    p.do("move late", reason="taken over", by="doctor")
    p.wait("1 h")

    p.do(
        "attest farewell",
        values={"points": 3},
        source="County Hospital",
        occurred=p.now - 90 * HOUR / 60,
        by="doctor",
    )

    assert p.events(e.ObservationRecorded)[-1].late
    assert p.s.end == "well"


def test_nothing_is_handed_over_of_what_is_not_there() -> None:
    p = Patient(therapy())

    assert p.codes("offer house", by="doctor") == ["nothing-to-offer"]
    assert p.codes("offer house", by="doctor", steps=["fit"]) == ["nothing-to-offer"]
    assert p.codes("offer house", by="doctor", steps=["moon"]) == ["unknown-step"]
    assert p.codes("offer house", by="nurse")[0] == "wrong-role"
    p.do("record fit", points=7, signed=True, by="doctor")
    p.do("leave entered_in_error", reason="another patient")
    answer = p.ask(c.Offer("house", (), given_evaluations(p)), by="doctor")
    assert isinstance(answer, Refusal)
    assert answer.reasons[0].code == "nothing-to-offer"


def test_a_hand_over_stands_in_both_records() -> None:
    first = Patient(therapy())
    first.do("record fit", points=7, signed=True, by="doctor")

    first.act(c.Offer("house", ("fit",), given_evaluations(first, "fit")), by="doctor")

    over = first.events(e.OfferMade)[0]
    assert (over.to, len(over.observations)) == ("house", 1)
    assert list(known(first).offered) == [f"e-1/{over.observations[0]}"]


def test_what_another_house_found_out_is_attested_with_its_date_and_paper() -> None:
    p = Patient(therapy())
    there = p.now - 20 * HOUR

    p.do(
        "attest tested",
        values={"result": "negative"},
        source="County Hospital, letter of 1 March",
        occurred=there,
    )

    found = p.events(e.ObservationRecorded)[0]
    assert (found.carried, found.occurred) == ("attested", there)
    assert found.source == "County Hospital, letter of 1 March"
    assert found.valid_until == there + 72 * HOUR
    assert p.outcome("tested") == "done"


def test_an_attestation_without_date_paper_or_plausible_value_is_not_kept() -> None:
    p = Patient(therapy())
    there = p.now - HOUR

    assert p.codes("attest tested", values={"result": "negative"}) == ["no-source", "when-unknown"]
    assert p.codes("attest tested", values={"result": "x"}, source="A", occurred=there) == [
        "not-an-option"
    ]
    assert p.codes("attest agreed", values={}, source="A", occurred=there) == ["not-open"]


@pytest.mark.parametrize("name", ["rounds", "drips", "pill"])
def test_a_reading_of_its_own_time_is_not_taken_from_elsewhere(name: str) -> None:
    p = Patient(house())
    if name == "pill":
        p.do("start pill")
        p.do("dose pill", amount="1 g")
        name = "pill.watch"

    assert p.codes(f"attest {name}", source="A", occurred=p.now) == ["not-carried"]


def test_a_call_or_review_is_not_answered_from_elsewhere() -> None:
    _, p = both()
    heed(p, "merged")

    assert p.codes("attest patient-merged", source="A", occurred=p.now) == ["not-carried"]


def test_steps_of_rounds_days_and_clock_times_carry_nothing() -> None:
    steps = house().steps

    assert [name for name, step in steps.items() if carries(house(), step)] == ["plan"]
    assert [name for name, step in therapy().steps.items() if carries(therapy(), step)] == [
        "fit",
        "agreed",
        "tested",
        "farewell",
    ]


# Admissions in the past


def test_the_program_day_counts_from_the_true_admission() -> None:
    p = Patient(therapy())

    p.do("admit 2026-02-20", reason="came to us on the tenth day", by="doctor")

    assert p.s.admitted == date(2026, 2, 20)
    assert p.s.standing == "active"
    assert deviations(p) == ["admitted-otherwise"]


def test_an_admission_is_not_in_the_future_and_lets_no_day_fall() -> None:
    p = Patient(house())

    assert p.codes("admit 2026-03-03", reason="x", by="doctor") == ["future", "day-would-fall"]
    assert p.codes("admit 2026-03-01", by="doctor") == ["reason-missing"]
    p.do("admit 2026-03-01", reason="arrived on Sunday", by="doctor")
    assert p.codes("admit 2026-03-02", reason="x", by="doctor") == ["day-would-fall"]


# Transfer to another site


def transferred(p: Patient, to: Site, reason: str = "") -> tuple[e.Event, ...]:
    p.around = replace(p.around, to=to)
    events = p.do(f"transfer {to.name}", by="doctor", reason=reason)
    p.around = replace(p.around, site=to)
    return events


COAST = Site("coast", "America/Los_Angeles")
RIVER = Site("river", "America/New_York")
EAST = Site("east", "Europe/Berlin")


def test_a_transfer_is_no_discharge_and_keeps_what_is_open() -> None:
    p = Patient(house())
    open_ = p.open

    transferred(p, Site("north"), reason="a bed is free")

    assert (p.s.site, p.s.standing) == ("north", "active")
    assert p.open == open_
    assert known(p).enrollments["e-1"].site == "north"


def test_bookings_at_the_old_site_are_called_off() -> None:
    p = Patient(house())
    p.do("book drip", given={"for": p.now + HOUR})

    transferred(p, Site("north"))

    assert p.s.sessions == {}
    assert p.events(e.SessionCancelled)[0].reason == "transferred"
    p.do("start drip")


def test_the_clock_of_the_new_site_tells_when_what_goes_by_the_clock_is_due() -> None:
    p = Patient(house(), zone="America/New_York", at=datetime(2026, 3, 2, 15, tzinfo=UTC))
    look, rounds = p.item("look"), p.item("rounds")
    assert (look.opens.hour, rounds.opens.hour) == (14, 14) or rounds.opens.hour in (2, 14)

    transferred(p, COAST)

    look, rounds = p.item("look"), p.item("rounds")
    assert look.opens == datetime(2026, 3, 4, 17, tzinfo=UTC)  # 09:00 in Los Angeles
    assert look.due == look.opens + HOUR
    assert look.closes == look.opens + 4 * HOUR
    assert rounds.next is not None
    assert rounds.next.astimezone(UTC).hour in (5, 17)  # 21:00 or 09:00 there


def test_an_open_round_stays_open_and_is_followed_by_the_new_clock() -> None:
    p = Patient(house(), zone="America/New_York", at=datetime(2026, 3, 2, 14, tzinfo=UTC))
    assert p.item("rounds").opens == datetime(2026, 3, 2, 14, tzinfo=UTC)
    p.wait("10 min")

    transferred(p, COAST)

    rounds = p.item("rounds")
    assert rounds.opens == datetime(2026, 3, 2, 14, tzinfo=UTC)
    assert rounds.due == datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    assert rounds.next == datetime(2026, 3, 2, 17, tzinfo=UTC)  # 09:00 in Los Angeles


def test_what_the_new_clock_showed_before_the_transfer_is_not_done_again() -> None:
    p = Patient(house(), zone="America/New_York", at=datetime(2026, 3, 2, 14, tzinfo=UTC))
    p.until("2026-03-02 20:00")  # 17:00 in Los Angeles, after the round of 09:00

    transferred(p, COAST)

    assert p.item("rounds").next == datetime(2026, 3, 3, 5, tzinfo=UTC)  # 21:00 there
    assert p.outcomes("rounds") == []


def test_what_is_followed_sooner_by_the_new_clock_is_late_sooner() -> None:
    text = (
        "rounds: {by: [nurse], record: note, source: practice, due: 11 h, "
        'every: [{daily_at: ["09:00", "21:00"], when: always}]}'
    )
    start = datetime(2026, 3, 2, 14, tzinfo=UTC)
    p = Patient(program(phase(text)), zone="America/New_York", at=start)
    p.wait("1 h")

    transferred(p, EAST)

    evening = datetime(2026, 3, 2, 20, tzinfo=UTC)  # 21:00 in Berlin
    assert (p.item("rounds").due, p.item("rounds").next) == (evening, evening)


def test_a_cadence_that_ends_has_no_next_by_the_new_clock_either() -> None:
    p = Patient(
        program(
            phase(
                "once: {by: [nurse], record: note, source: practice, at_most: 1, "
                'every: [{daily_at: ["09:00"], when: always}]}'
            )
        )
    )
    assert p.item("once").next is None

    transferred(p, COAST)

    assert p.item("once").next is None


def test_a_flight_to_the_west_gives_no_further_session_of_a_program_day() -> None:
    p = Patient(
        program(clinic("at_most: {times: 1, per: program day}")),
        zone="America/New_York",
    )
    p.until("2026-03-06 00:10")
    p.do("start drip")
    p.do("cancel drip")

    transferred(p, COAST)

    assert p.codes("start drip") == ["cap"]


def test_the_program_day_never_falls_on_a_flight_to_the_west() -> None:
    p = Patient(house(), zone="America/New_York")
    p.until("2026-03-06 00:30")  # day 5; the evening of the day before in Los Angeles

    transferred(p, COAST)

    assert p.s.admitted == date(2026, 3, 1)


def test_a_review_goes_along_as_it_is() -> None:
    p = Patient(house(), zone="America/New_York")
    p.do("admit 2026-03-01", reason="arrived on Sunday", by="doctor")
    review = p.item("admitted-otherwise")

    transferred(p, COAST)

    assert p.item("admitted-otherwise") == review


def test_a_flight_to_the_east_leaves_the_date_of_admission() -> None:
    p = Patient(house(), zone="America/New_York")
    p.until("2026-03-06 12:00")

    transferred(p, EAST)

    assert p.s.admitted == date(2026, 3, 2)


def test_who_is_not_admitted_yet_may_be_transferred_too() -> None:
    p = Patient(therapy())

    transferred(p, COAST)

    assert (p.s.site, p.s.admitted) == ("coast", None)


def test_a_flight_to_the_west_gives_no_second_sedating_session_of_a_date() -> None:
    p = Patient(house(), zone="America/New_York")
    p.until("2026-03-06 00:10")
    p.do("start pill")
    p.do("dose pill", amount="1 g")
    p.wait("60 min")
    p.do("release pill")

    transferred(p, COAST)  # there it is the fifth of March again

    assert p.codes("start syrup") == ["one-sedating-a-day"]


def test_what_forbids_a_transfer() -> None:
    p = Patient(house())
    p.around = replace(p.around, to=Site("north"))
    assert p.codes("transfer south", by="doctor") == ["unknown-site"]
    assert p.codes("transfer north", by="nurse") == ["wrong-role"]
    p.around = replace(p.around, to=Site("main"))
    assert p.codes("transfer main", by="doctor") == ["at-that-site"]
    p.around = replace(p.around, to=None)
    assert p.codes("transfer main", by="doctor") == ["unknown-site"]

    p.around = replace(p.around, to=Site("north"))
    p.do("start drip")
    assert p.codes("transfer north", by="doctor") == ["session-under-way"]
    p.do("hold fever")
    assert p.codes("transfer north", by="doctor")[0] == "on-hold"


def test_an_enrollment_older_than_the_patients_record_may_be_transferred() -> None:
    p = Patient(house())
    p.around = p.around.read("patient", PatientRecord())

    transferred(p, Site("north"))

    assert p.s.site == "north"
    assert known(p).enrollments == {}
