"""Ends, what is left to do after leaving, rounds, and ways that a person chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bedside import MONDAY, Patient, program
from test_holds import held, lift, stay
from test_sessions import clinic, under_way

from kat_workflow.enrollment import events as e

HOUR = timedelta(hours=1)

_WORK = """
work_after_leaving:
  kit: {by: [nurse], record: note, may_be: [declined, missed], due: 1 h, closes: 7 d,
    source: practice}
  ring: {by: [therapist], record: note, may_be: [missed], opens: 1 d, due: 7 d, closes: 14 d,
    source: practice, when_late: {tell: [doctor], answer_within: 1 d}}
ends:
  well: {kind: completed, work: [kit, ring]}
  elsewhere: {kind: not_eligible}
  hospital: {kind: transferred, by: [nurse], work: [kit]}
leaving: {by: [nurse, doctor], work: [kit]}
"""


# Ends


def test_leaving_is_one_entry_after_which_no_treatment_item_is_open() -> None:
    p = Patient(
        program(stay("check: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}"))
    )
    events = p.do("leave against_advice", reason="wants to go")
    assert [type(x) for x in events] == [
        e.ItemSettled,
        e.ItemSettled,
        e.PhaseLeft,
        e.Discharged,
        e.Closed,
    ]
    assert not p.s.items
    assert not p.s.visits
    assert p.s.wake is None
    assert (p.s.end, p.s.standing) == ("against_advice", "closed")


def test_every_item_says_with_which_end_it_was_left() -> None:
    p = Patient(program(stay("")))
    p.do("leave against_advice")
    assert [(x.outcome, x.reason) for x in p.events(e.ItemSettled)] == [("left", "against_advice")]


@pytest.mark.parametrize("end", ["well", "elsewhere"])
def test_a_way_of_the_program_is_not_reported_as_leaving(end: str) -> None:
    p = Patient(program(stay("")))
    refusal = p.refused(f"leave {end}")
    assert refusal.code == "unknown-end"
    assert "against_advice" in refusal.reasons[0].unblock[0]


def test_only_who_may_reports_an_end() -> None:
    p = Patient(program(stay("", more=_WORK)))
    assert p.codes("leave hospital", by="doctor") == ["wrong-role"]
    assert p.codes("leave died", by="therapist") == ["wrong-role"]


def test_after_an_end_a_readmission_is_a_new_enrollment() -> None:
    p = Patient(program(stay("", more=_WORK)))
    p.do("leave hospital")
    for phrase in (
        "leave died",
        "hold",
        "go well",
        "override x",
        "start x",
        "book x",
        "move stay",
    ):
        refusal = p.refused(
            phrase, given={"reason": "x"} if phrase.split()[0] in ("hold", "move") else {}
        )
        assert refusal.code == "not-in-treatment"
        assert refusal.reasons[0].unblock == ("a re-admission is a new enrollment",)


def test_what_is_left_to_do_opens_with_the_end_and_does_not_keep_anybody() -> None:
    p = Patient(program(stay("", more=_WORK)))
    p.do("record farewell", word="one")
    assert p.s.standing == "discharged"
    assert p.open == ["after/kit.1", "after/ring.1"]
    assert p.item("kit").due == MONDAY + HOUR
    assert p.item("ring").opens == MONDAY + timedelta(days=1)
    p.do("record kit", text="given")
    assert p.s.standing == "discharged"
    p.wait("2 d")
    p.do("record ring", text="well", by="therapist")
    assert p.look().standing == "closed"


def test_work_after_leaving_may_be_declined_and_expires() -> None:
    p = Patient(program(stay("", more=_WORK)))
    p.do("record farewell", word="one")
    p.do("decline kit", reason="has one")
    p.wait("7 d")
    assert p.item("late.ring").roles == ("doctor",)
    p.do(f"done {p.item('late.ring').id}", by="doctor")
    p.wait("7 d")
    assert p.look().standing == "closed"
    assert p.outcome("ring") == "missed"


@pytest.mark.parametrize("end", ["died", "entered_in_error"])
def test_nothing_is_left_to_do_after_a_death_or_an_error(end: str) -> None:
    p = Patient(program(stay("", more=_WORK)))
    p.do(f"leave {end}")
    assert p.s.standing == "closed"


def test_a_hold_does_not_stop_the_work_after_leaving() -> None:
    p = Patient(program(stay("", more=_WORK)))
    held(p)
    p.do("leave hospital")
    p.wait("7 d")
    assert p.look().standing == "closed"


def test_what_may_be_recorded_at_any_time_may_be_after_the_end_too() -> None:
    p = Patient(program(stay("")))
    p.do("leave died", by="doctor")
    p.do("record vitals", systolic=120)
    assert p.s.standing == "closed"
    assert len(p.events(e.ObservationRecorded)) == 1


def test_leaving_during_a_session_aborts_it_and_raises_a_safety_event() -> None:
    p = under_way()
    p.do("record drip.watch", systolic=120)
    p.do("leave against_advice")
    assert [x.final for x in p.events(e.SessionReleased)] == ["aborted"]
    assert [x.reason for x in p.events(e.SessionReleased)] == ["left before release"]
    assert p.outcomes("drip.watch") == ["done", "left"]
    call = p.item("left-before-release")
    assert call.kind == "alert"
    assert p.s.standing == "discharged"
    p.do(f"done {call.id}", by="doctor")
    assert p.look().standing == "closed"


def test_the_watch_says_that_somebody_left_before_release() -> None:
    p = under_way()
    p.do("leave against_advice")
    watch = [x for x in p.events(e.ItemSettled) if x.step == "drip.watch"]
    assert [(x.outcome, x.reason) for x in watch] == [("left", "left before release")]


def test_leaving_during_recovery_is_leaving_before_release_too() -> None:
    p = under_way(clinic("counts_when: given > 10 mg"))
    p.do("end dosing drip", amount="300 mg")
    p.do("leave against_advice")
    assert not p.events(e.SessionAborted)
    assert [(x.final, x.counted) for x in p.events(e.SessionReleased)] == [("aborted", True)]
    assert p.is_open("left-before-release")


@pytest.mark.parametrize("first", [("book drip",), ("arrive drip",), ("start drip",)])
def test_leaving_cancels_a_session_in_which_nothing_was_given(first: tuple[str, ...]) -> None:
    p = Patient(program(clinic()))
    for phrase in first:
        p.do(phrase)
    p.do("leave against_advice")
    assert p.events(e.SessionCancelled)
    assert not p.events(e.SessionReleased)
    assert p.s.standing == "closed"


# Ways on

_WAYS = """
start: ask
decided_by: [doctor]
phases:
  ask:
    steps:
      question: {by: [nurse], record: answer}
      more: {by: [nurse], record: score, optional: true}
    next:
      - {to: second, when: question.word is one}
      - {to: elsewhere, when: more.points > 20 points}
      - {to: well, when: question.word is two}
  second:
    admits: true
    steps:
      again: {by: [nurse], record: answer}
    next: [{to: ask, when: again.word is two}, {to: well, when: always}]
"""


def test_rows_are_asked_top_to_bottom_and_an_unknown_one_stops() -> None:
    p = Patient(program(_WAYS))
    p.do("record question", word="two")
    assert p.phases == ["ask"]
    assert not p.is_open("ask")
    p.do("record more", points=10)
    assert p.s.end == "well"


def test_a_row_that_says_that_its_reading_may_be_left_out_does_not_stop_those_below_it() -> None:
    asks = "more.points is recorded and more.points > 20 points"
    p = Patient(program(_WAYS.replace("more.points > 20 points", asks)))

    p.do("record question", word="two")

    assert p.s.end == "well"


def test_where_no_row_holds_a_person_chooses_among_the_rows() -> None:
    p = Patient(program(_WAYS))
    p.do("record more", points=10)
    p.do("record question", word="three")
    item = p.item("ask")
    assert (item.kind, item.roles) == ("decide", ("doctor",))
    assert p.codes(f"done {item.id}", by="doctor") == ["choose-the-way"]
    assert p.codes("go second") == ["wrong-role"]
    refusal = p.refused("go home", by="doctor")
    assert refusal.code == "no-way"
    assert refusal.reasons[0].unblock == ("possible: second, elsewhere, well",)
    p.do("go second", by="doctor", reason="judgement")
    assert p.phases == ["second"]


def test_nobody_chooses_a_way_while_the_gates_decide() -> None:
    p = Patient(program(_WAYS))
    refusal = p.refused("go second", by="doctor")
    assert refusal.code == "no-way"
    assert refusal.reasons[0].unblock == ("the program moves on by its gates",)


def test_a_way_that_opens_by_itself_is_gone_without_waiting_for_a_choice() -> None:
    p = Patient(
        program(
            _WAYS.replace(
                "record: answer}\n      more", "record: answer, optional: true}\n      more"
            )
        )
    )
    p.do("record question", word="three")
    assert not p.is_open("ask")
    p.do("record more", points=10)
    assert p.is_open("ask")


def test_a_move_keeps_the_readings_it_relied_on_and_the_row() -> None:
    p = Patient(program(_WAYS))
    p.do("record question", word="one")
    entered = p.events(e.PhaseEntered)[-1]
    assert entered.phase == "second"
    assert entered.row == "ask.next.1"
    assert entered.evidence == (p.events(e.ObservationRecorded)[0].observation,)


def test_a_second_visit_has_a_number_of_its_own_and_begins_with_nothing_recorded() -> None:
    p = Patient(program(_WAYS))
    p.do("record question", word="one")
    p.do("record again", word="two")
    assert p.s.visits["ask"].place == "ask.2"
    assert p.s.visits["ask"].visit == 2
    p.do("record more", points=10)
    assert p.phases == ["ask"]


def test_the_program_day_never_falls_when_a_phase_that_admits_is_entered_again() -> None:
    p = Patient(program(_WAYS))
    p.do("record question", word="one")
    admitted = p.s.admitted
    p.do("record again", word="two")
    p.wait("3 d")
    p.do("record question", word="one")
    assert p.s.admitted == admitted


# Moves past the gates (a report)


def test_where_a_patient_really_is_may_be_reported_and_is_looked_at() -> None:
    p = Patient(program(_WAYS))
    p.do("move second", reason="sent by the doctor", by="doctor")
    assert p.phases == ["second"]
    assert [x.code for x in p.events(e.DeviationNoted)] == ["moved-past-gates"]


def test_a_move_past_the_gates_needs_a_reason_a_role_and_a_place() -> None:
    p = Patient(program(_WAYS))
    assert p.codes("move second", by="nurse") == ["wrong-role", "reason-missing"]
    assert p.codes("move nowhere", by="doctor") == ["unknown-phase"]
    assert p.codes("move ask", by="doctor") == ["there-already"]


# Rounds

_ROUNDS = """
start: course
decided_by: [doctor]
phases:
  course:
    admits: true
    start: day
    phases:
      day:
        repeat: {at_least: 2, at_most: 4, until: calm.points < 8 points%s}
        steps:
          calm: {by: [nurse], record: score}
        next: []
    next: [{to: well, when: always}]
"""


def test_rounds_go_on_until_the_condition_holds_but_not_before_the_least() -> None:
    p = Patient(program(_ROUNDS % ""))
    p.do("record calm", points=2)
    assert p.s.visits["day"].round == 2
    p.do("record calm", points=20)
    assert p.s.visits["day"].round == 3
    p.do("record calm", points=2)
    assert p.s.end == "well"


def test_rounds_end_with_the_most_whatever_the_condition_says() -> None:
    p = Patient(program(_ROUNDS % ""))
    for _ in range(4):
        p.do("record calm", points=20)
    assert p.s.end == "well"


def test_each_round_is_a_place_of_its_own_in_one_visit() -> None:
    p = Patient(program(_ROUNDS % ""))
    p.do("record calm", points=20)
    visit = p.s.visits["day"]
    assert (visit.place, visit.visit, visit.round) == ("course.1/day.2", 1, 2)


def test_one_round_a_day_begins_with_the_local_date() -> None:
    p = Patient(
        program(_ROUNDS % ", one_per: program day"),
        zone="America/Los_Angeles",
        at=datetime(2026, 3, 2, 20, 0, tzinfo=UTC),
    )
    p.do("record calm", points=20)
    assert p.s.visits["day"].round == 1
    p.until("2026-03-02 23:59")
    assert p.look().visits["day"].round == 1
    p.until("2026-03-03 00:00")
    assert p.look().visits["day"].round == 2


def test_a_day_that_is_not_finished_is_not_followed_by_the_next() -> None:
    p = Patient(program(_ROUNDS % ", one_per: program day"))
    p.wait("3 d")
    assert p.look().visits["day"].round == 1


def test_the_last_day_ends_when_it_is_finished_without_waiting_for_midnight() -> None:
    p = Patient(program(_ROUNDS % ", one_per: program day"))
    for _ in range(2):
        p.do("record calm", points=2)
        p.wait("1 d")
    assert p.look().end == "well"


def test_a_day_whose_score_was_refused_is_followed_by_the_next_and_does_not_end_the_stay() -> None:
    may = (_ROUNDS % ", one_per: program day").replace("score}", "score, may_be: [declined]}")
    p = Patient(program(may))
    p.do("decline calm", reason="asleep")
    p.until("2026-03-03 10:00")
    p.do("decline calm", reason="asleep")

    p.until("2026-03-03 23:59")
    assert p.look().visits["day"].round == 2  # it is not known whether the patient is calm
    p.until("2026-03-04 00:00")
    assert p.look().visits["day"].round == 3
    p.do("record calm", points=2)
    assert p.s.end == "well"


def test_a_round_that_ended_under_a_hold_is_followed_after_it() -> None:
    text = (_ROUNDS % ", one_per: program day").replace(
        "decided_by", "hold_by: [doctor]\ndecided_by"
    )
    p = Patient(program(text))
    p.do("record calm", points=20)
    held(p)
    p.wait("1 d")
    assert p.look().visits["day"].round == 1
    lift(p)
    assert p.s.visits["day"].round == 2


def test_a_phase_left_and_entered_again_begins_with_its_first_round() -> None:
    p = Patient(
        program(
            """
start: course
decided_by: [doctor]
phases:
  course:
    admits: true
    repeat: {at_least: 3, at_most: 3}
    steps:
      calm: {by: [nurse], record: answer}
    next: [{to: pause, when: calm.word is two, at_once: true}, {to: well, when: always}]
  pause:
    steps:
      rest: {by: [nurse], record: note}
    next: [{to: course, when: always}]
"""
        )
    )
    p.do("record calm", word="one")
    p.do("record calm", word="two")
    assert p.phases == ["pause"]
    p.do("record rest", text="x")
    visit = p.s.visits["course"]
    assert (visit.place, visit.visit, visit.round) == ("course.3", 2, 1)
    for _ in range(3):
        p.do("record calm", word="one")
    assert p.s.end == "well"


# Tracks

_TRACKS = """
start: stay
decided_by: [doctor]
phases:
  stay:
    admits: true
    tracks:
      body:
        start: wash
        phases:
          wash: {steps: {clean: {by: [nurse], record: note}}, next: [{to: dry, when: always}]}
          dry: {steps: {towel: {by: [nurse], record: note}}, next: []}
      mind:
        steps: {mood: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}}
        start: talk
        phases:
          talk: {steps: {word: {by: [therapist], record: answer}}, next: [{to: finish,
            when: word.word is one}]}
      play:
        optional: true
        phases:
          game: {steps: {chess: {by: [nurse], record: note}}, next: []}
    next: [{to: well, when: always}]
"""


def test_tracks_run_side_by_side_and_all_that_are_required_must_end() -> None:
    p = Patient(program(_TRACKS))
    assert p.phases == ["stay", "body", "wash", "mind", "talk", "play", "game"]
    p.do("record clean", text="x")
    p.do("record towel", text="x")
    assert "body" not in p.phases
    assert "stay" in p.phases
    assert p.is_open("mood")
    p.do("record word", word="one", by="therapist")
    assert p.s.end == "well"
    assert p.outcomes("chess") == ["left"]


def test_tracks_end_in_the_order_of_the_file_innermost_first() -> None:
    p = Patient(program(_TRACKS))
    p.do("leave against_advice")
    assert [x.phase for x in p.events(e.PhaseLeft)] == [
        "wash",
        "talk",
        "game",
        "body",
        "mind",
        "play",
        "stay",
    ]


def test_a_patient_may_be_found_in_a_track() -> None:
    p = Patient(program(_TRACKS))
    p.do("move dry", reason="was there", by="doctor")
    assert "dry" in p.phases
    assert "wash" not in p.phases
    assert "talk" in p.phases
