"""Calls that nobody answers: who is called next, until when, and what remains for people."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bedside import Patient, program

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.escalating import TOLD, notification
from kat_workflow.enrollment.worklist import changed

MINUTE = timedelta(minutes=1)

_THEN = "then: [{tell: [doctor], answer_within: 10 min}, {tell: [therapist], answer_within: 5 min}]"


def ward(alert: str = _THEN, more: str = "") -> str:
    """A stay in which a high pressure calls a nurse within 5 minutes."""
    tell = f"{{tell: [nurse], answer_within: 5 min, {_THEN}}}"
    return f"""
start: stay
decided_by: [doctor]
hold_by: [doctor]
limits:
  high: {{is: 180 mmHg, source: practice}}
{more}
alerts:
  - {{when: vitals.systolic > high, says: High, tell: [nurse], answer_within: 5 min, {alert}}}
phases:
  stay:
    steps:
      check: {{by: [nurse], record: vitals, due: 1 h, when_late: {tell}, source: practice}}
      done_with: {{by: [doctor]}}
    next: [{{to: well, when: always}}]
"""


def called(p: Patient) -> list[tuple[str, ...]]:
    """Who was called, in order."""
    p.look()
    return [x.tell for x in p.log if isinstance(x, e.AlertRaised | e.AlertEscalated)]


def test_when_nobody_answers_others_are_called_one_after_the_other() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)
    begun = p.now

    p.wait("5 min")
    assert called(p) == [("nurse",), ("doctor",)]
    p.wait("9 min")
    assert called(p) == [("nurse",), ("doctor",)]
    p.wait("1 min")

    assert called(p) == [("nurse",), ("doctor",), ("therapist",)]
    raised = next(x for x in p.log if isinstance(x, e.AlertRaised))
    later = p.events(e.AlertEscalated)
    assert raised.answer_by == begun + 5 * MINUTE
    assert [(x.level, x.answer_by - begun) for x in later] == [(1, 15 * MINUTE), (2, 20 * MINUTE)]
    assert {raised.call, *(x.call for x in later)} == {p.item("program.alert.1").id}


def test_whoever_was_called_may_answer_and_who_did_stands_in_the_record() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)
    p.wait("6 min")
    call = p.item("program.alert.1")
    assert call.roles == ("nurse", "doctor")
    assert p.codes(f"done {call.id}", by="therapist") == ["wrong-role"]

    p.do(f"done {call.id}", by="eve:doctor", reason="seen, given labetalol")
    p.wait("30 min")

    assert called(p) == [("nurse",), ("doctor",)]
    answer = next(x for x in p.log if isinstance(x, e.ItemSettled) and x.item == call.id)
    assert (answer.person, answer.outcome) == ("eve", "done")


def test_when_nobody_is_left_to_be_called_those_who_decide_must_look() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)

    p.wait("20 min")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["unanswered-call"]
    assert p.item("unanswered-call").roles == ("doctor",)
    assert p.is_open("program.alert.1")
    assert called(p) == [("nurse",), ("doctor",), ("therapist",)]
    p.do("done program.alert.1", by="nurse")


def test_a_call_with_nobody_after_it_stays_open_and_late() -> None:
    p = Patient(program(ward("then: []")))
    p.do("record vitals", systolic=200)

    p.wait("1 d")

    assert p.is_open("program.alert.1")
    assert not [x for x in p.events(e.AlertEscalated) if x.alert == "program.alert.1"]
    assert p.item("program.alert.1").due == p.now - timedelta(days=1) + 5 * MINUTE


def test_a_chain_has_a_name_and_its_last_call_may_be_repeated() -> None:
    chain = """
escalations:
  duty:
    source: practice
    then: [{tell: [doctor], answer_within: 10 min}, {tell: [therapist], answer_within: 5 min}]
    repeat_last: 2
"""
    p = Patient(program(ward("escalation: duty", chain)))
    p.do("record vitals", systolic=200)

    p.wait("35 min")

    assert called(p) == [("nurse",), ("doctor",), *[("therapist",)] * 3]
    assert p.item("program.alert.1").roles == ("nurse", "doctor", "therapist")
    assert p.is_open("unanswered-call")


def test_lateness_goes_on_calling_too() -> None:
    p = Patient(program(ward()))

    p.wait("65 min")

    assert called(p) == [("nurse",), ("doctor",)]
    assert p.events(e.AlertEscalated)[0].alert == "late.check"


def test_no_hold_stops_a_call() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)
    p.do("hold", by="doctor", reason="fever")

    p.wait("5 min")

    assert called(p) == [("nurse",), ("doctor",)]


def test_a_reading_that_is_high_again_does_not_begin_the_calls_anew() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)
    p.wait("6 min")

    p.do("record vitals", systolic=210)

    assert called(p) == [("nurse",), ("doctor",)]


def test_a_call_ends_with_the_treatment() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)
    p.do("leave against_advice", reason="goes home")

    p.wait("1 d")

    assert called(p) == [("nurse",)]


@pytest.mark.parametrize("rule", ["alerts", "pause_when", "stop_when"])
def test_rows_of_a_session_and_of_a_step_go_on_calling_too(rule: str) -> None:
    text = f"""
start: stay
limits:
  high: {{is: 180 mmHg, source: practice}}
phases:
  stay:
    steps:
      mood:
        by: [nurse]
        record: score
        alerts: [{{when: mood.points > 20 points, tell: [nurse], answer_within: 5 min, {_THEN}}}]
      drips: {{by: [nurse], session: drip}}
    next: [{{to: well, when: always}}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose: {{drug: NAD+, route: intravenous, amount: 500 mg, rate: {{from: 1 mg/h, to: 2 mg/h}}}}
    watch: {{by: [nurse], record: vitals, at: [0 min], then_every: 30 min}}
    {rule}:
      - {{when: watch.systolic > high, says: High, tell: [nurse], answer_within: 5 min, {_THEN}}}
    release: {{earliest: 0 min, signed_by: [nurse]}}
"""
    p = Patient(program(text))
    p.do("start drip")
    p.do("dose drip", rate="1 mg/h")
    p.do("record drip.watch", systolic=200)
    p.do("record mood", points=30)

    p.wait("5 min")

    names = [x.alert for x in p.events(e.AlertEscalated)]
    kind = {"alerts": "alert", "pause_when": "pause", "stop_when": "stop"}[rule]
    assert sorted(names) == [f"drip.{kind}.1", "mood.alert.1"]


def test_a_worklist_shows_a_call_to_those_who_are_called_next() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=200)
    p.wait("5 min")
    before = len(p.log)

    p.look()

    came, gone, moved = changed(p.log[before:])
    assert came == [p.item("program.alert.1").id]
    assert (gone, moved) == ([], False)


def test_a_notification_says_whom_to_tell_and_no_value_of_the_patient() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=203)
    p.wait("5 min")
    p.look()

    found = [n for v, x in enumerate(p.log, 1) if (n := notification(x, "e-1", v, 100 + v))]

    first, second = found
    assert (first.roles, first.level, second.roles, second.level) == (("nurse",), 0, ("doctor",), 1)
    assert first.item == second.item == p.item("program.alert.1").id
    assert first.urgent_until == second.at
    assert first.key != second.key
    assert first.position == 100 + int(first.key.rpartition(":")[2])
    assert "203" not in f"{found}"


def test_nothing_that_is_to_be_told_is_overlooked_in_the_journal() -> None:
    p = Patient(program(ward()))
    p.do("record vitals", systolic=203)
    p.wait("1 d")
    p.look()

    for event in p.log:
        told = notification(event, "e-1", 1, 1) is not None
        assert e.encode(event)[0].startswith(TOLD) == told
