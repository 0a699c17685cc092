"""Corrections, retractions and late entries: the original stays, decisions are judged again."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from bedside import MONDAY, Patient, person, program
from test_sessions import clinic
from test_ways import walked
from ways import AROUND, BEGINS, Way

from kat_workflow.enrollment import correcting
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around, Past, Unread
from kat_workflow.enrollment.commands import Command, Correct, Record, Retract
from kat_workflow.enrollment.decide import decide
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.state import NOBODY, decode_row, encode_row, replay
from kat_workflow.enrollment.worklist import changed, who
from kat_workflow.program.gates import Test
from kat_workflow.program.model import Program

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

WARD = """
start: screening
decided_by: [doctor]
hold_by: [doctor]
phases:
  screening:
    steps:
      pregnancy: {by: [nurse], record: test}
      weigh: {by: [nurse], record: amount}
    next:
      - {to: elsewhere, when: pregnancy.result is positive}
      - {to: stay, when: always}
  stay:
    admits: true
    steps:
      baseline: {by: [nurse], record: vitals}
      drips: {by: [nurse], session: drip}
      plan: {by: [doctor], record: note, signed: true, cosigned_by: [therapist]}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    source: practice
    ready:
      - weigh.weight >= 50 kg
      - last 1 of vitals.systolic < 180 mmHg
    dose: {drug: NAD+, route: intravenous, amount: 500 mg, rate: {from: 100 mg/h, to: 200 mg/h}}
    watch: {by: [nurse], record: vitals, at: [0 min, 15 min], then_every: 30 min}
    stop_when: [{when: vitals.systolic >= 220 mmHg, says: Dangerously high}]
    release: {earliest: 30 min, signed_by: [nurse], when: vitals.systolic < 160 mmHg}
alerts:
  - {when: vitals.systolic >= 200 mmHg, says: Very high, tell: [doctor], answer_within: 15 min}
"""


def at_the_drip(weight: str = "80", systolic: int = 120) -> Patient:
    """A patient whose drip was started at 10:00, an hour after the enrollment."""
    p = Patient(program(WARD))
    p.do("record pregnancy", result="negative")
    p.do("record weigh", weight=weight)
    p.do("record baseline", systolic=systolic)
    p.wait("1 h")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("10 min")
    return p


def after_the_drip() -> Patient:
    """The same patient, released at 11:00."""
    p = at_the_drip()
    p.do("record watch", systolic=125)
    p.do("end dosing drip", amount="100 mg")
    p.wait("50 min")
    p.do("release drip")
    return p


def questioned(p: Patient) -> list[tuple[str, str, str, str]]:
    """Every decision that was questioned: which, of what, what it was and would be."""
    return [(x.decision, x.what, x.was, x.would_be) for x in p.events(e.DecisionQuestioned)]


# The record


def test_a_weight_that_was_typed_wrong_before_a_dose_is_corrected_and_the_start_questioned() -> (
    None
):
    p = at_the_drip(weight="80")
    (original,) = [x for x in p.events(e.ObservationRecorded) if x.form == "amount"]

    p.do("correct weigh", weight="48", reason="scale read in the wrong unit")

    assert questioned(p) == [("start", "drip.1", "true", "false")]
    (question,) = p.events(e.DecisionQuestioned)
    assert question.gates == ("weigh.weight >= 50 kg",)
    assert p.log[question.entry - 1] == p.events(e.SessionStarted)[0]
    assert question.at == MONDAY + HOUR
    review = p.item("questioned start: drip.1")
    assert (review.kind, review.roles) == ("review", ("doctor",))
    assert p.session("drip.1").under_way, "nothing that was done is undone"
    assert original in p.log, "the entry stays"
    (corrected,) = p.events(e.ObservationCorrected)
    assert (corrected.corrects, corrected.occurred) == (original.observation, original.occurred)
    assert (corrected.recorded, corrected.person) == (p.now, "nurse")
    assert corrected.reason == "scale read in the wrong unit"
    assert p.s.readings["amount"][0].values["weight"] == "48"
    p.do("done questioned start: drip.1", by="doctor")
    assert not p.is_open("questioned start: drip.1")


def test_a_correction_that_turns_nothing_questions_nothing() -> None:
    p = after_the_drip()
    p.do("correct weigh", weight="81", reason="typed wrong")
    assert not questioned(p)
    assert not [item for item in p.s.items.values() if item.kind == "review"]


def test_a_positive_pregnancy_test_that_was_retracted_lets_the_way_be_looked_at() -> None:
    """The test was another patient's: without it nobody knows, and nobody had been turned away."""
    p = Patient(program(WARD))
    p.do("record weigh", weight="80")
    p.do("record pregnancy", result="positive")
    assert p.s.end == "elsewhere"

    p.do("retract pregnancy", reason="another patient's sample")

    assert questioned(p) == [("end", "screening", "elsewhere", "unknown")]
    assert p.s.end == "elsewhere"
    assert p.is_open("questioned end: screening")


def test_a_pregnancy_that_was_overlooked_questions_the_way_that_always_holds() -> None:
    """The row that was gone holds whatever the test says; the row above it would have held."""
    p = at_the_drip()
    p.do("correct pregnancy", result="positive", reason="read wrong")
    assert questioned(p) == [("move", "screening", "stay", "elsewhere")]
    assert p.item("questioned move: screening").roles == ("doctor",)


def test_a_pressure_entered_late_questions_the_session_that_was_given_over_it() -> None:
    p = after_the_drip()

    p.do("record vitals", systolic=205, occurred=MONDAY + HOUR - MINUTE)

    assert p.events(e.ObservationRecorded)[-1].late
    assert questioned(p) == [("start", "drip.1", "true", "false")]
    (alert,) = p.events(e.AlertRaised)
    assert (alert.says, alert.late) == ("Very high", True)
    assert p.s.readings["vitals"][-1].values["systolic"] == 125, "the newest is still the newest"


def test_a_pressure_entered_late_that_allows_everything_questions_nothing() -> None:
    p = after_the_drip()
    p.do("record vitals", systolic=110, occurred=MONDAY + HOUR - MINUTE)
    assert not questioned(p)
    assert not p.events(e.AlertRaised)


def test_a_release_on_a_wrong_value_alone_is_questioned() -> None:
    p = after_the_drip()
    reading = next(x for x in reversed(p.events(e.ObservationRecorded)) if x.step)
    p.do(f"correct {reading.observation}", systolic=165, reason="arm and leg mixed up")
    assert questioned(p) == [("release", "drip.1", "true", "false")]


def test_a_session_that_a_wrong_reading_stopped_is_looked_at() -> None:
    p = at_the_drip()
    p.do("record watch", systolic=240)
    assert p.session("drip.1").state == "stopping"
    p.do("correct vitals", systolic=140, reason="typed wrong")
    assert questioned(p) == [("stop", "drip.1", "true", "false")]
    assert p.session("drip.1").state == "stopping"


def test_a_change_is_asked_about_once_and_again_when_it_turns_again() -> None:
    p = at_the_drip()
    p.do("correct weigh", weight="48", reason="typed wrong")
    p.do("correct weigh", weight="47", reason="typed wrong again")
    assert len(questioned(p)) == 1, "it is in question already"
    p.do("correct weigh", weight="60", reason="it was right before")
    assert len(questioned(p)) == 1, "it stands"
    p.do("correct weigh", weight="46", reason="another scale")
    assert len(questioned(p)) == 2


def test_an_override_answers_for_a_person_and_not_for_what_was_so() -> None:
    text = clinic("ready: [pressure_ok]")
    p = Patient(program(text))
    p.do("record baseline", systolic=200)
    p.do("override pressure_ok", by="doctor", reason="known")
    p.do("start drip")
    p.do("correct baseline", systolic=120, reason="wrong arm")
    assert questioned(p) == [("start", "drip.1", "false", "true")]
    p.do("correct baseline", systolic=190, reason="wrong arm again")
    assert len(questioned(p)) == 1, "the doctor knew that it was too high"


def test_a_step_that_was_skipped_by_a_wrong_answer_is_looked_at() -> None:
    p = Patient(
        program(
            """
start: stay
phases:
  stay:
    steps:
      asked: {by: [nurse], record: answer}
      lab: {by: [nurse], record: score, only_if: asked.word is one}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""
        )
    )
    p.do("record asked", word="two")
    assert p.outcome("lab") == "skipped"
    p.do("correct asked", word="one", reason="misheard")
    assert questioned(p) == [("skip", "lab", "false", "true")]


SKIPS = """
start: stay
phases:
  stay:
    admits: true
    steps:
      asked: {by: [nurse], record: answer}
      lab: {by: [nurse], record: test, only_if: asked.word is one, if_skipped: {result: negative}}
      drips: {by: [nurse], session: drip}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    source: practice
    ready: [lab.result is negative]
    before: {bag: {by: [nurse], record: note, only_if: asked.word is two}}
    dose: {drug: NAD+, route: intravenous, amount: 500 mg, rate: {from: 100 mg/h, to: 200 mg/h}}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
    after: {look: {by: [nurse], record: note, only_if: asked.word is two}}
    release: {earliest: 30 min, signed_by: [nurse]}
"""


def test_a_test_that_a_wrong_answer_skipped_is_asked_for_and_no_longer_reads_as_negative() -> None:
    p = Patient(program(SKIPS))
    p.do("record asked", word="two")
    assert p.outcome("lab") == "skipped"

    p.do("correct asked", word="one", reason="misheard")

    assert [x.step for x in p.events(e.SkipVoided)] == ["lab"]
    settled = [x.outcome for x in p.log if isinstance(x, e.ItemSettled) and x.step == "lab"]
    assert settled == ["skipped"], "what was written stays"
    assert p.is_open("lab")
    p.do("arrive drip")
    assert p.codes("start drip") == ["gate-closed"], "she could be pregnant"
    p.do("record lab", result="negative")
    p.do("start drip")


def test_what_was_skipped_while_its_answer_is_unknown_waits() -> None:
    p = Patient(program(SKIPS))
    p.do("record asked", word="two")
    p.do("retract asked", reason="another patient's")
    assert not p.is_open("lab")
    assert "lab" not in p.s.settled
    p.do("record asked", word="three")
    assert p.outcome("lab") == "skipped"


def test_steps_of_a_session_are_asked_for_again_only_while_they_can_be_done() -> None:
    p = Patient(program(SKIPS))
    p.do("record asked", word="three")
    p.do("arrive drip")
    assert p.outcome("bag") == "skipped"
    p.do("correct asked", word="two", reason="misheard")
    assert p.is_open("bag")

    p = Patient(program(SKIPS))
    p.do("record asked", word="three")
    p.do("arrive drip")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("correct asked", word="two", reason="misheard")
    assert p.outcome("bag") == "skipped", "the drip runs: it is too late for that"
    p.do("correct asked", word="three", reason="no")
    p.do("end dosing drip", amount="20 mg")
    assert p.outcome("look") == "skipped"
    p.do("correct asked", word="two", reason="after all")
    assert p.is_open("look")


def test_what_a_person_left_out_stays_left_out() -> None:
    text = SKIPS.replace(
        "only_if: asked.word is one,", "only_if: asked.word is one, may_be: [skipped],"
    )
    p = Patient(program(text))
    p.do("record asked", word="two")
    p.do("correct asked", word="one", reason="misheard")
    p.do("skip lab", reason="she asked to")
    p.do("correct asked", word="three", reason="misheard")
    p.do("correct asked", word="one", reason="misheard")
    assert [x.step for x in p.events(e.SkipVoided)] == ["lab"]
    assert p.outcome("lab") == "skipped"


ROUNDS = """
start: stay
decided_by: [doctor]
phases:
  stay:
    admits: true
    start: day
    phases:
      day:
        repeat: {at_least: 1, at_most: 3, until: morning.points < 10 points}
        decided_by: [therapist]
        steps:
          morning: {by: [nurse], record: score}
        next: [{to: finish, when: always}]
    steps: {farewell: {by: [nurse], record: note}}
    next:
      - {to: well, when: always}
"""


def test_a_round_too_many_and_a_way_out_too_early_are_looked_at_by_who_decides_there() -> None:
    p = Patient(program(ROUNDS))
    p.do("record morning", points=20)
    p.do("record morning", points=5)
    assert p.phases == ["stay"]
    first, second = (x.observation for x in p.events(e.ObservationRecorded))

    p.do(f"correct {first}", points=5, reason="typed wrong")
    p.do(f"correct {second}", points=30, reason="typed wrong")

    assert questioned(p) == [
        ("move", "day", "next round", "finish"),
        ("move", "day", "finish", "next round"),
    ]
    assert p.item(f"review.{p.s.version - 1}").roles == ("therapist",)


AT_ONCE = """
start: stay
decided_by: [doctor]
phases:
  stay:
    admits: true
    steps:
      asked: {by: [nurse], record: answer}
      check: {by: [nurse], record: vitals, optional: true}
    next:
      - {to: elsewhere, when: vitals.systolic >= 200 mmHg, at_once: true, safety: true}
      - {to: after, when: asked.word is one}
  after:
    steps: {farewell: {by: [nurse], record: note}}
    next: [{to: well, when: always}]
"""


def test_what_would_have_gone_at_once_is_before_what_a_finished_phase_does() -> None:
    p = Patient(program(AT_ONCE))
    p.do("record check", systolic=120)
    p.do("record asked", word="one")
    p.do("correct check", systolic=210, reason="typed wrong")
    assert questioned(p) == [("move", "stay", "after", "elsewhere")]


def test_who_was_sent_away_at_once_by_a_wrong_value_would_be_nowhere_else_yet() -> None:
    p = Patient(program(AT_ONCE))
    p.do("record check", systolic=210)
    assert p.s.end == "elsewhere"
    p.do("correct check", systolic=120, reason="typed wrong")
    assert questioned(p) == [("end", "stay", "elsewhere", "nowhere yet")]


def test_a_way_that_somebody_chose_is_looked_at_when_a_row_would_have_held() -> None:
    p = Patient(program(AT_ONCE))
    p.do("record check", systolic=120)
    p.do("record asked", word="two")
    p.do("go after", by="doctor")
    p.do("correct asked", word="one", reason="misheard")
    assert questioned(p) == [("move", "stay", "nobody has said", "after")]


def test_a_move_past_the_gates_was_nobodys_gate() -> None:
    p = Patient(program(AT_ONCE))
    p.do("record check", systolic=150)
    p.do("move after", by="doctor", reason="by night")
    p.do("correct check", systolic=250, reason="typed wrong")
    assert not questioned(p)


# What gates read from now on


def test_a_reading_that_was_forgotten_is_read_again_when_the_newer_one_was_an_error() -> None:
    p = Patient(program(WARD))
    p.do("record weigh", weight="80")
    p.do("record vitals", systolic=120)
    p.wait("5 min")
    p.do("record vitals", systolic=190)
    assert [o.values["systolic"] for o in p.s.readings["vitals"]] == [190]

    p.do("retract vitals", reason="the neighbour's cuff")

    assert [o.values["systolic"] for o in p.s.readings["vitals"]] == [120]
    p.do("retract vitals", reason="the neighbour's cuff too")
    assert "vitals" not in p.s.readings


def test_a_correction_of_the_time_puts_a_reading_where_it_belongs() -> None:
    p = Patient(program(WARD))
    p.wait("1 h")
    p.do("record vitals", systolic=120, occurred=MONDAY)
    p.do("record vitals", systolic=150)
    old = p.events(e.ObservationRecorded)[0].observation

    p.do(f"correct {old}", reason="the clock was wrong", occurred=p.now, systolic=130)
    assert [o.values["systolic"] for o in p.s.readings["vitals"]] == [130]
    old = p.events(e.ObservationCorrected)[0].observation
    p.do(f"correct {old}", reason="it was right", occurred=MONDAY)
    assert [o.values["systolic"] for o in p.s.readings["vitals"]] == [150]


def test_a_late_reading_takes_the_place_of_none_that_is_newer() -> None:
    p = Patient(program(WARD))
    p.wait("1 h")
    p.do("record vitals", systolic=120)
    p.do("record vitals", systolic=190, occurred=MONDAY + MINUTE)
    assert p.s.readings["vitals"][-1].values["systolic"] == 120


def test_a_late_reading_belongs_to_the_visit_in_which_it_happened() -> None:
    text = """
start: stay
phases:
  stay:
    admits: true
    start: day
    phases:
      day:
        repeat: {at_least: 3, at_most: 3}
        steps:
          morning: {by: [nurse], record: vitals}
          calm: {by: [nurse], record: note, only_if: morning.systolic < 140 mmHg}
        next: [{to: finish, when: always}]
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record morning", systolic=120)
    p.wait("1 h")
    p.do("record calm", text="x")
    assert p.s.visits["day"].round == 2

    p.do("record morning", systolic=150, occurred=MONDAY + MINUTE)

    late = p.events(e.ObservationRecorded)[-1]
    assert late.late
    assert (late.place, late.item) == ("stay.1/day.1", "")
    assert "vitals" not in p.s.readings, "the second day has no reading yet"
    assert p.is_open("morning")
    p.do("record morning", systolic=130)
    assert p.is_open("calm")


def test_a_late_reading_of_a_session_belongs_to_that_session() -> None:
    p = after_the_drip()
    p.do("record vitals", systolic=120)
    started = p.events(e.SessionStarted)[0].at
    history = tuple(p.past)
    run = Run.of(p.program, p.s, Around(history=history), p.now)
    assert correcting.place_then(run, "drip", started) == "stay.1/drip.1"
    assert correcting.place_then(run, "drip", p.now) == ""
    assert correcting.place_then(run, "drip", MONDAY) == ""
    assert correcting.place_then(run, "stay", started) == "stay.1"
    assert correcting.place_then(run, "screening", started) == ""


def test_a_late_reading_in_a_session_calls_but_does_not_stop_what_goes_well_now() -> None:
    p = at_the_drip()
    p.do("record watch", systolic=230, occurred=MONDAY + HOUR - MINUTE)
    assert p.session("drip.1").dosing == "running", "it was before the session"
    p = at_the_drip()
    p.do("record watch", systolic=120)
    p.wait("1 min")
    p.do("hold", by="doctor", given={"reason": "a look"})
    p.do("correct watch", systolic=230, reason="typed wrong")
    assert p.session("drip.1").state == "stopping", "it is the newest: it holds now"

    p = at_the_drip()
    p.do("record watch", systolic=125)
    first = p.events(e.ObservationRecorded)[-1].observation
    p.wait("5 min")
    p.do("record watch", systolic=130)
    p.do(f"correct {first}", systolic=230, reason="typed wrong")

    assert p.session("drip.1").dosing == "running"
    assert [(x.says, x.late, x.tell) for x in p.events(e.AlertRaised)] == [
        ("Dangerously high", True, ("doctor",)),
        ("Very high", True, ("doctor",)),
    ]


# Items


def test_a_corrected_record_that_waits_for_a_signature_waits_for_all_of_them_again() -> None:
    p = at_the_drip()
    p.do("record plan", text="x", by="doctor", signed=True)
    assert who(p.program, p.item("plan")) == ("therapist",)

    p.do("correct plan", text="y", by="doctor", reason="wrong name")

    pending = p.item("plan").pending
    assert pending is not None
    assert pending.needs == ("signature", "cosignature")
    p.do("sign plan", by="doctor")
    p.do("cosign plan", by="therapist")
    assert p.outcome("plan") == "done"


def test_a_corrected_record_may_be_signed_in_the_same_act() -> None:
    p = Patient(program("start: stay\n" + SIGNED))
    p.do("record plan", points=3)
    p.do("correct plan", points=4, reason="typed wrong", signed=True)
    assert p.outcome("plan") == "done"
    assert p.events(e.Signed)[0].observation == p.events(e.ObservationCorrected)[0].observation
    assert p.s.readings["score"][0].signed


SIGNED = """
decided_by: [doctor]
phases:
  stay:
    steps:
      plan: {by: [nurse], record: score, signed: true}
      more: {by: [nurse], record: note, only_if: plan.points >= 10 points}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""


def test_a_signed_record_that_is_corrected_opens_nothing_until_it_is_signed_again() -> None:
    p = Patient(program("start: stay\n" + SIGNED.replace("only_if", "after: [farewell], only_if")))
    p.do("record plan", points=3, signed=True)
    events = p.do("correct plan", points=12, reason="typed wrong")
    review = p.item("plan")
    assert (review.kind, review.roles) == ("review", ("nurse",))
    assert review.id in changed(events)[0], "a worklist shows it"
    assert p.codes(f"done {review.id}") == ["already-recorded"], "it is signed, not ticked off"
    assert p.outcome("plan") == "done", "what was settled stays settled"
    assert not p.s.readings["score"][0].signed

    p.do("sign plan", by="bob:nurse")

    assert p.s.readings["score"][0].signed
    assert not p.is_open("plan")


def test_a_settled_record_that_is_corrected_and_signed_at_once_waits_for_nobody() -> None:
    p = Patient(program("start: stay\n" + SIGNED.replace("only_if", "after: [farewell], only_if")))
    p.do("record plan", points=3, signed=True)
    events = p.do("correct plan", points=12, reason="typed wrong", signed=True)
    assert p.s.readings["score"][0].signed
    assert not [item for item in p.s.items.values() if item.kind == "review"]
    assert changed(events) == ([], [], False)


def test_a_cosigned_record_that_is_corrected_is_cosigned_again() -> None:
    p = at_the_drip()
    p.do("record plan", text="x", by="doctor", signed=True)
    p.do("cosign plan", by="therapist")
    p.do("correct plan", text="y", by="doctor", reason="wrong name", signed=True)
    assert p.item("plan").roles == ("therapist",)
    p.do("correct plan", text="z", by="doctor", reason="wrong again", signed=True)
    p.do("cosign plan", by="therapist")
    assert not p.is_open("plan")


def test_a_new_version_that_waits_to_be_signed_and_is_retracted_waits_no_more() -> None:
    p = Patient(program("start: stay\n" + SIGNED.replace("only_if", "after: [farewell], only_if")))
    p.do("record plan", points=3, signed=True)
    p.do("correct plan", points=12, reason="typed wrong")
    p.do("retract plan", reason="another patient's")
    assert p.item("plan").id == "stay.1/plan.2", "it must be done anew"


def test_a_retracted_record_that_waited_for_a_signature_is_to_be_recorded_again() -> None:
    p = Patient(program("start: stay\n" + SIGNED))
    p.do("record plan", points=3)
    assert p.codes("record plan", points=5) == ["already-recorded"]
    p.do("retract plan", reason="another patient's")
    assert p.item("plan").pending is None
    p.do("record plan", points=5, signed=True)
    assert p.outcome("plan") == "done"


def test_a_step_whose_record_was_an_error_can_be_done_again() -> None:
    p = at_the_drip()
    p.do("record farewell", text="x")
    assert p.codes("record farewell", text="y") == ["already-settled"]
    p.do("retract farewell", reason="another patient's")
    assert p.item("farewell").id == "stay.1/farewell.2"
    p.do("record farewell", text="y")


def test_what_is_over_or_open_anyway_is_not_opened_again() -> None:
    p = at_the_drip()
    p.do("retract weigh", reason="another patient's")  # screening is over
    assert not p.is_open("weigh")
    p.do("record watch", systolic=120)
    p.do("retract watch", reason="another patient's")
    assert p.item("drip.watch").id.endswith("watch.2"), "the watch keeps its grid"


def test_a_step_of_a_session_that_is_done_again_is_under_no_hold() -> None:
    p = Patient(program(clinic("before: {bag: {by: [nurse], record: note}}")))
    p.do("arrive drip")
    p.do("record bag", text="x")
    p.do("retract bag", reason="the other bag")
    assert p.item("bag").on_hold == "runs"
    assert p.item("bag").id == "stay.1/drip.1/bag.2"


ANCHORED = """
start: stay
decided_by: [doctor]
phases:
  stay:
    steps:
      ask: {by: [nurse], record: history}
      visit: {by: [nurse], record: note, counted_from: history.last_use, opens: 24 h, due: 48 h,
        when_late: {tell: [doctor], answer_within: 1 h}}
      taste: {by: [nurse], record: score, counted_from: ask done, due: 2 h}
      often: {by: [nurse], record: note, counted_from: ask done,
        every: [{interval: 4 h, when: always}]}
      plain: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""


def test_a_corrected_instant_moves_what_counts_from_it() -> None:
    p = Patient(program(ANCHORED))
    p.do("record ask", last_use="2026-03-02T06:00:00Z")
    six = MONDAY - 3 * HOUR
    assert p.item("visit").due == six + 48 * HOUR

    p.do("correct ask", last_use="2026-03-02T03:00:00Z", reason="it was at three")

    moved = p.item("visit")
    assert (moved.opens, moved.due) == (six + 21 * HOUR, six + 45 * HOUR)
    (entry,) = p.events(e.ItemReplanned)
    assert entry.because == "corrected"


def test_a_step_that_was_done_at_another_time_moves_what_counts_from_it() -> None:
    p = Patient(program(ANCHORED))
    p.wait("1 h")
    p.do("record ask", last_use="2026-03-02T06:00:00Z")
    p.do("correct ask", reason="charted an hour later", occurred=MONDAY)
    assert p.s.settled["ask"].at == MONDAY
    assert p.item("taste").due == MONDAY + 2 * HOUR
    assert p.item("often").opens == MONDAY
    p.do("record often", text="x")
    p.do("correct ask", reason="no, later", occurred=MONDAY + 10 * MINUTE)
    assert p.item("often").opens == MONDAY + 5 * HOUR, "the next counts from the one before it"


def test_what_was_called_late_calls_again_when_its_time_has_moved() -> None:
    p = Patient(program(ANCHORED))
    p.do("record ask", last_use="2026-03-02T06:00:00Z")
    p.wait("60 h")
    assert [x.alert for x in p.events(e.AlertRaised)] == ["late.visit"]
    p.do("correct ask", last_use="2026-03-02T09:00:00Z", reason="later", occurred=p.now)
    assert p.item("visit").due == MONDAY + 48 * HOUR
    assert not p.item("visit").calls, "it is late still"
    p.do("correct ask", last_use="2026-03-04T09:00:00Z", reason="again on wednesday")
    assert p.item("visit").calls


def test_what_counts_from_a_retracted_instant_stays_as_it_was_planned() -> None:
    p = Patient(program(ANCHORED))
    p.do("record ask", last_use="2026-03-02T06:00:00Z")
    before = p.item("visit")
    p.do("retract ask", reason="another patient's")
    assert p.item("visit") == before
    p.do("record ask", last_use="2026-03-02T06:00:00Z")


def test_what_counts_from_nothing_any_more_is_not_planned_anew() -> None:
    p = Patient(
        program(
            """
start: stay
phases:
  stay:
    steps:
      ask: {by: [nurse], record: history}
      again: {by: [nurse], record: history}
      party: {by: [nurse], record: note, counted_from: history.born, due: 99999 d}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""
        )
    )
    p.do("record ask", last_use="2026-03-02T06:00:00Z", born="1980-01-01")
    planned = p.item("party")
    p.do("record again", last_use="2026-03-02T06:00:00Z")
    p.do("retract ask", reason="another patient's")
    p.do("correct again", last_use="2026-03-02T05:00:00Z", reason="typed wrong")
    assert p.item("party") == planned
    p.do("correct again", born="1980-01-02", reason="asked again")
    assert p.item("party") == planned


# After the end


def test_vitals_that_arrive_after_the_discharge_are_kept_and_looked_at() -> None:
    p = after_the_drip()
    p.do("leave against_advice", by="nurse")
    assert p.s.standing == "closed"
    p.wait("1 h")

    p.do("record vitals", systolic=150)
    assert [x.code for x in p.events(e.DeviationNoted)] == ["after-discharge"]
    assert not p.events(e.ObservationRecorded)[-1].late

    p.do("record vitals", systolic=230, occurred=MONDAY + 30 * MINUTE)
    assert p.events(e.ObservationRecorded)[-1].late
    assert questioned(p) == [("start", "drip.1", "true", "false")]
    assert {i.about for i in p.s.items.values()} >= {
        "after-discharge",
        "questioned start: drip.1",
        "very-high",
    } or p.is_open("after-discharge")
    p.do("done questioned start: drip.1", by="doctor")


def test_a_record_is_corrected_after_the_discharge() -> None:
    p = after_the_drip()
    p.do("leave against_advice", by="nurse")
    p.do("correct weigh", weight="48", reason="typed wrong")
    assert questioned(p) == [("start", "drip.1", "true", "false")]


# Who may, what, and why not


def test_whoever_may_record_or_decides_may_correct() -> None:
    p = at_the_drip()
    p.do("correct weigh", weight="81", reason="typed wrong", by="doctor")
    assert p.events(e.ObservationCorrected)[0].role == "doctor"
    assert p.codes("correct weigh", weight="82", reason="x", by="therapist") == ["wrong-role"]
    assert p.codes("retract weigh", reason="x", by="therapist") == ["wrong-role"]


def test_only_who_may_sign_a_step_signs_its_correction() -> None:
    p = Patient(program("start: stay\n" + SIGNED))
    p.do("record plan", points=3)
    assert p.codes("correct plan", points=4, reason="x", by="doctor", signed=True) == ["wrong-role"]


def test_who_must_differ_from_another_step_does_not_correct_it() -> None:
    p = Patient(
        program(
            """
start: stay
phases:
  stay:
    steps:
      first: {by: [nurse], record: score}
      second: {by: [nurse], record: score, different_person_from: [first]}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""
        )
    )
    p.do("record first", points=3, by="ann:nurse")
    p.do("record second", points=3, by="bob:nurse")
    assert p.codes("correct second", points=4, reason="x", by="ann:nurse") == ["same-person"]


def test_a_correction_says_why_and_changes_something() -> None:
    p = at_the_drip()
    assert p.codes("correct weigh", weight="81") == ["reason-missing"]
    assert p.codes("retract weigh") == ["reason-missing"]
    assert p.codes("correct weigh", weight="80", reason="x") == ["nothing-corrected"]
    assert p.codes("correct weigh", weight="800", reason="x") == ["implausible"]
    assert p.codes("correct weigh", weight="81", reason="x", occurred=p.now + HOUR) == ["future"]


def test_an_addendum_adds_and_changes_nothing_that_was_said() -> None:
    p = at_the_drip()
    before = p.s.readings

    p.do("addend baseline", text="left arm, sitting", occurred=MONDAY)

    (added,) = p.events(e.ObservationAddended)
    assert (added.values, added.occurred, added.recorded) == (
        {"text": "left arm, sitting"}, MONDAY, p.now,
    )  # fmt: skip
    found = next(x for x in correcting.records(p.log) if x.newest.step == "baseline")
    assert found.addenda == (added,)
    assert p.s.readings == before
    assert p.events(e.DecisionQuestioned) == []
    p.do("correct baseline", systolic=121, reason="typed wrong")
    found = next(x for x in correcting.records(p.log) if x.newest.step == "baseline")
    assert found.addenda == (added,)


def test_an_addendum_is_for_those_who_may_record_and_says_something() -> None:
    p = at_the_drip()
    p.do("record vitals", systolic=130)

    assert p.codes("addend weigh", text="x", by="therapist") == ["wrong-role"]
    assert p.codes("addend weigh") == ["missing-value"]
    assert p.codes("addend o99", text="x") == ["unknown-record"]
    p.do("addend vitals", text="after coffee")
    p.do("retract weigh", reason="of another patient")
    assert p.codes("addend weigh", text="x") == ["already-retracted"]


def test_what_was_never_recorded_is_not_corrected() -> None:
    p = at_the_drip()
    refusal = p.refused("correct o99", weight="81", reason="x")
    assert [r.code for r in refusal.reasons] == ["unknown-record"]
    last = p.events(e.ObservationRecorded)[-1].observation
    assert last in refusal.reasons[0].unblock[0]
    assert p.codes("retract plan", reason="x") == ["unknown-record"]
    fresh = Patient(program(WARD))
    assert "none" in fresh.refused("retract o1", reason="x").explanation


def test_only_the_newest_version_is_corrected_and_the_refusal_names_it() -> None:
    p = at_the_drip()
    (old,) = [x.observation for x in p.events(e.ObservationRecorded) if x.form == "amount"]
    p.do(f"correct {old}", weight="81", reason="typed wrong")
    new = p.events(e.ObservationCorrected)[0].observation
    for phrase in (f"correct {old}", f"retract {old}"):
        refusal = p.refused(phrase, reason="x")
        assert refusal.code == "already-corrected"
        assert new in refusal.reasons[0].unblock[0]
    p.do(f"retract {new}", reason="another patient's")
    for name in (old, new, "weigh", "amount"):
        assert p.codes(f"correct {name}", reason="x") == ["already-retracted"]


def test_a_step_or_form_names_its_newest_record_that_stands() -> None:
    p = Patient(program(WARD))
    p.do("record vitals", systolic=120)
    p.do("record vitals", systolic=130)
    first, second = (x.observation for x in p.events(e.ObservationRecorded))
    p.do("retract vitals", reason="x")
    p.do("retract vitals", reason="x")
    assert [x.observation for x in p.events(e.ObservationRetracted)] == [second, first]


def test_what_is_not_named_stays_and_what_is_no_longer_asked_goes() -> None:
    text = """
forms:
  intake:
    title: Intake
    any_time: true
    fields:
      smokes: {type: yes_no}
      packs: {type: integer, unit: "{packs}", from: 1, to: 9,
        asked_if: {field: smokes, is: ["yes"]}}
      drugs: {type: choices, options: {a: A, b: B}}
      since: {type: duration, may_be: [refused]}
      weight: {type: decimal, unit: kg, from: 1, to: 300}
  note:
    title: Note
    fields: {text: {type: text}}
start: stay
phases:
  stay:
    steps: {farewell: {by: [nurse], record: note}}
    next: [{to: well, when: always}]
"""
    text = text.replace('"{packs}"', "points")
    p = Patient(program(text))
    p.do("record intake", smokes="yes", packs=2, drugs=["a"], since="refused", weight="71.5")
    p.do("correct intake", smokes=False, reason="stopped")
    assert p.events(e.ObservationCorrected)[-1].values == {
        "smokes": False,
        "drugs": ["a"],
        "since": None,
        "since?": "refused",
        "weight": "71.5",
    }
    p.do("correct intake", since=timedelta(minutes=90), weight="72", reason="asked again")
    p.do("correct intake", drugs=["a", "b"], reason="asked again")
    assert p.events(e.ObservationCorrected)[-1].values == {
        "smokes": False,
        "drugs": ["a", "b"],
        "since": 5400,
        "weight": "72",
    }


# The journal


def test_an_ordinary_recording_reads_no_history_and_a_late_one_does() -> None:
    p = at_the_drip()
    p.do("record watch", systolic=120)
    p.do("record vitals", systolic=120, occurred=p.now - MINUTE)
    assert p.asked_for_history == 0
    p.do("record vitals", systolic=120, occurred=MONDAY + HOUR - MINUTE)
    assert p.asked_for_history == 1


def test_whoever_has_not_read_the_history_is_told_to() -> None:
    p = at_the_drip()
    for act in (Correct("weigh", {}, "x"), Retract("weigh", "x")):
        with pytest.raises(Unread, match="history"):
            decide(p.program, p.s, Around(), Command("c", act, person("nurse"), p.now))


def test_a_history_that_has_grown_is_read_again() -> None:
    around = Around(history=())
    assert around.after([]).history is None
    assert Around().after([]) == Around()


def test_every_version_of_a_record_is_legible() -> None:
    p = at_the_drip()
    p.do("record plan", text="x", by="doctor")
    p.do("correct plan", text="y", by="doctor", reason="first", signed=True)
    p.do("cosign plan", by="therapist")
    p.do("retract weigh", reason="second")
    found = {record.versions[0].said.step: record for record in correcting.records(p.log)}
    plan, weigh = found["plan"], found["weigh"]
    assert [each.said.values for each in plan.versions] == [{"text": "x"}, {"text": "y"}]
    assert plan.newest.values == {"text": "y"}
    assert [each.signed > 0 for each in plan.versions] == [False, True]
    assert plan.ids == tuple(each.said.observation for each in plan.versions)
    assert weigh.retracted is not None
    assert weigh.retracted.reason == "second"
    assert weigh.versions[0].said.values == {"weight": "80"}


def test_any_past_instant_is_there_as_it_was_known_and_as_it_was() -> None:
    p = at_the_drip()
    known = p.s
    when = p.now
    p.wait("1 h")
    p.do("correct weigh", weight="48", reason="typed wrong")
    p.do("record vitals", systolic=205, occurred=MONDAY + HOUR - MINUTE)
    p.do("retract pregnancy", reason="another patient's")

    then = correcting.as_known(p.past, when)
    true = correcting.as_true(p.past, when)

    assert then == known
    assert {form: o[-1].values for form, o in true.readings.items()} == {
        "amount": {"weight": "48"},
        "vitals": {"systolic": 205},
    }
    assert (true.visits, true.items, true.wake) == (then.visits, then.items, then.wake)
    assert correcting.as_known(p.past, p.now) == p.s
    assert correcting.as_known(p.past, MONDAY - HOUR) == NOBODY
    assert correcting.as_true(p.past, MONDAY - HOUR).readings == {}


def test_a_clock_that_was_set_back_brings_no_entry_forward() -> None:
    p = at_the_drip()
    past = [*p.past, Past(MONDAY - HOUR, e.RecheckSet(MONDAY))]
    assert correcting.as_known(past, MONDAY) == replay(
        x.event for x in p.past if x.recorded <= MONDAY
    )


def test_a_corrected_record_folds_the_same_from_the_journal() -> None:
    p = after_the_drip()
    p.do("correct weigh", weight="48", reason="typed wrong")
    p.do("retract vitals", reason="another patient's")
    assert replay(e.decode(*e.encode(x)) for x in p.log) == p.s
    assert decode_row(encode_row(p.s)) == p.s
    half = replay(p.log[:-3])
    assert replay(p.log[-3:], half) == p.s


def test_also_names_items_of_late_entries_too() -> None:
    p = at_the_drip()
    p.act(Record("watch", {"systolic": 120}), occurred=MONDAY + HOUR - 2 * MINUTE)
    assert p.events(e.ObservationRecorded)[-1].late


# Whatever way a patient goes


@walked(40, 1500)
def test_no_way_loses_what_was_recorded_and_all_of_it_is_legible(way: Way) -> None:
    said = [x for x in way.events if isinstance(x, e.ObservationRecorded | e.ObservationCorrected)]
    found = correcting.records(way.events)
    versions = sorted((v for r in found for v in r.versions), key=lambda v: v.entry)
    assert [version.said for version in versions] == said
    for record in found:
        first, *later = (version.said for version in record.versions)
        assert isinstance(first, e.ObservationRecorded)
        for before, after in pairwise((first, *later)):
            assert isinstance(after, e.ObservationCorrected)
            assert after.corrects == before.observation
            assert (after.form, after.step) == (first.form, first.step)
            assert after.person
            assert after.reason


@walked(40, 1500)
def test_on_every_way_gates_read_what_is_so(way: Way) -> None:
    """What is kept beside the journal answers as all that was recorded and stands does."""
    state = way.last
    now = state.last
    assert now is not None
    run = Run.of(way.program, state, AROUND, now)
    true = Run.of(way.program, state, AROUND, now)
    true.s.readings = correcting.true_readings(correcting.records(way.events), now)
    for test in _tests(way.program):
        assert test.truth(run) == test.truth(true), test.text


@walked(40, 1500)
def test_what_was_decided_is_judged_again_as_it_was(way: Way) -> None:
    """By what was known at its instant every decision is what it was; and where nothing was late,
    corrected or retracted, nothing that is known today differs."""
    plain = not any(
        isinstance(x, e.ObservationCorrected | e.ObservationRetracted)
        or (isinstance(x, e.ObservationRecorded) and x.late)
        for x in way.events
    )
    found = correcting.records(way.events)
    overridden = any(isinstance(x, e.OverrideUsed) for x in way.events)
    here = Run.of(way.program, NOBODY, AROUND, BEGINS)
    for entry, event in enumerate(way.events, 1):
        decision = correcting._decision(way.program, event)
        if decision is None:
            continue
        version = decision.judged or entry - 1
        state = replay(way.events[:version])
        known = decision.judge(correcting._then(here, state, decision.at, None))
        true = correcting.true_readings(found, decision.at, version)
        if plain:
            assert decision.judge(correcting._then(here, state, decision.at, true)) == known
        if overridden:
            continue
        if isinstance(event, e.PhaseEntered):
            assert known[""] in (event.phase, event.row, "nobody has said", *_around(way, event))
        elif isinstance(event, e.Discharged):
            assert known[""] in (event.end, "nobody has said")
        elif isinstance(event, e.SessionStarted | e.SessionAborted):
            assert set(known.values()) <= {"true"}
        elif isinstance(event, e.ItemSettled):
            assert set(known.values()) <= {"false"}


def _around(way: Way, event: e.PhaseEntered) -> tuple[str, ...]:
    """A row that leads to a phase is told by it."""
    return way.program.phases[event.phase].path


def _tests(program: Program) -> list[Test]:
    """Every gate that a program asks while it drives somebody."""
    found: list[Test | None] = [alert.when for alert in program.alerts]
    for phase in program.phases.values():
        found += [row.when for row in phase.next]
        found.append(None if phase.repeat is None else phase.repeat.until)
    for step in program.steps.values():
        found += [step.only_if, *(row.when for row in step.every), *(a.when for a in step.alerts)]
    for kind in program.sessions.values():
        found += [*kind.ready, *(rule.when for rule in (*kind.stop_when, *kind.pause_when))]
        found += [kind.counts_when, *(alert.when for alert in kind.alerts)]
        found.append(None if kind.release is None else kind.release.when)
    return [test for test in found if test is not None]


def test_what_is_moved_past_a_decision_is_missing_from_it() -> None:
    p = at_the_drip()

    # it was read five minutes after the start, not an hour before it
    p.do("correct weigh", occurred=MONDAY + HOUR + 5 * MINUTE, reason="wrong hour")

    assert questioned(p) == [("start", "drip.1", "true", "unknown")]


def test_what_was_read_in_the_instant_of_a_decision_but_after_it_had_no_part_in_it() -> None:
    p = Patient(program(WARD))
    p.do("record pregnancy", result="negative")
    p.do("record weigh", weight="80")
    p.do("record baseline", systolic=120)
    p.do("start drip")
    p.do("record vitals", systolic=130)
    p.wait("10 min")

    p.do("correct vitals", systolic=190, reason="typed wrong")

    assert questioned(p) == []
