"""Where sessions, holds, excursions, ends and moves meet: what happens because of another."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from bedside import MONDAY, Patient, program
from test_holds import held, lift, stay
from test_sessions import clinic, under_way

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.moving import undecided
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.state import decode_row, encode_row
from kat_workflow.errors import JournalError

HOUR = timedelta(hours=1)


def waiting(p: Patient) -> list[tuple[str, str, list[str]]]:
    """The finished phases that wait: phase, where it would lead, which comparisons are missing."""
    run = Run.of(p.program, p.look(), p.around, p.now)
    return [(phase, to, [c.text for c in clauses]) for phase, to, clauses in undecided(run)]


def deviations(p: Patient) -> list[str]:
    return [x.code for x in p.events(e.DeviationNoted)]


# Sessions and holds


def test_a_first_dose_under_a_hold_is_kept_and_looked_at() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    held(p)
    p.do("dose drip", rate="150 mg/h")
    assert deviations(p) == ["dose-on-hold"]
    assert p.item("dose-on-hold").kind == "review"
    assert p.is_open("drip.watch")


def test_a_dose_that_a_hold_has_paused_and_that_goes_on_all_the_same_is_looked_at() -> None:
    p = under_way()
    held(p)
    p.do("dose drip", amount="10 mg")
    assert deviations(p) == ["dose-while-paused"]


def test_a_session_is_brought_to_its_end_under_a_hold() -> None:
    p = under_way(clinic("after: {meal: {by: [nurse], record: note}}"))
    held(p)
    p.do("end dosing drip", amount="100 mg")
    p.wait("30 min")
    assert p.codes("release drip") == ["steps-open"]
    p.do("record meal", text="soup")
    p.do("release drip")
    assert not p.s.sessions
    assert p.outcome("drips") == "done"
    assert p.phases == ["stay"]


def test_a_stop_rule_ends_a_dose_that_a_hold_has_paused() -> None:
    p = under_way(clinic("stop_when: [{when: watch.systolic > 200 mmHg, says: Too high}]"))
    held(p)
    p.do("record drip.watch", systolic=220)
    assert p.session("drip.1").state == "stopping"


def test_nobody_overrides_a_gate_while_a_hold_stands() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    held(p)
    assert p.codes("override pressure_ok", by="doctor", reason="known") == ["on-hold"]
    lift(p)
    p.do("override pressure_ok", by="doctor", reason="known")


def test_what_begins_anew_with_the_lifting_calls_anew_when_it_is_late_again() -> None:
    text = (
        "visit: {by: [nurse], record: note, due: 1 h, on_hold: restarts, "
        "when_late: {tell: [doctor], answer_within: 1 h}}"
    )
    p = Patient(program(stay(text)))
    p.wait("2 h")
    p.do("done late.visit", by="doctor")
    held(p)
    p.wait("1 h")
    lift(p)
    p.wait("59 min")
    assert not p.is_open("late.visit")
    p.wait("1 min")
    assert p.is_open("late.visit")


def test_what_was_late_before_a_hold_that_pauses_calls_nobody_twice() -> None:
    text = (
        "visit: {by: [nurse], record: note, due: 1 h, when_late: {tell: [doctor], "
        "answer_within: 1 h}}"
    )
    p = Patient(program(stay(text)))
    p.wait("2 h")
    p.do("done late.visit", by="doctor")
    held(p)
    p.wait("1 h")
    lift(p)
    p.wait("1 d")
    assert len(p.events(e.AlertRaised)) == 1


def test_a_booked_session_outlasts_an_excursion() -> None:
    ward = (
        "excursions:\n  ward: {by: [nurse], steps: {seen: {by: [nurse], "
        "record: note}}, next: [{to: back, when: always}]}\n"
    )
    p = Patient(program(clinic(more=ward)))
    p.do("book drip")
    p.do("go ward")
    assert p.codes("start drip") == ["on-hold"]
    p.do("record seen", text="x")
    p.do("start drip")


# The watch and lateness


def test_a_reading_that_is_missed_before_it_would_be_late_calls_somebody_all_the_same() -> None:
    p = under_way(
        clinic(
            "watch: {by: [nurse], record: vitals, at: [0 min], "
            "then_every: 5 min, late_after: 10 min, "
            "when_late: {tell: [doctor], answer_within: 5 min}}"
        )
    )
    p.wait("5 min")
    assert p.outcomes("drip.watch") == ["missed"]
    assert p.item("late.drip.watch").roles == ("doctor",)
    p.wait("1 h")
    assert len(p.events(e.AlertRaised)) == 1  # an open call is not made twice


def test_a_recurring_step_that_is_missed_before_it_would_be_late_calls_somebody_too() -> None:
    text = (
        "check: {by: [nurse], record: score, due: 2 h, every: [{interval: 1 h, "
        "when: always}], when_late: {tell: [doctor], answer_within: 1 h}}"
    )
    p = Patient(program(stay(text)))
    p.wait("1 h")
    assert p.outcomes("check") == ["missed"]
    assert p.is_open("late.check")


def test_the_last_opening_of_a_recurring_step_has_nothing_after_it() -> None:
    text = (
        "check: {by: [nurse], record: score, due: 2 h, at_most: 1, "
        "every: [{interval: 1 h, when: always}], when_late: {tell: [doctor], "
        "answer_within: 1 h}}"
    )
    p = Patient(program(stay(text)))
    assert p.item("check").next is None
    assert p.item("check").due == MONDAY + 2 * HOUR


def test_two_pause_rules_that_hold_at_once_pause_once_and_each_calls() -> None:
    p = under_way(
        clinic(
            "pause_when: [{when: watch.systolic > 180 mmHg, says: High, "
            "tell: [doctor], answer_within: 5 min}, "
            "{when: watch.pulse > 130 /min, says: Fast, tell: [doctor], answer_within: 5 min}]"
        )
    )
    p.do("record drip.watch", systolic=190, pulse=140)
    assert len(p.events(e.DosingPaused)) == 1
    assert len(p.events(e.AlertRaised)) == 2
    assert p.codes("resume drip") == ["pause-rule", "pause-rule"]


def test_times_after_an_aborted_dose_count_from_its_end() -> None:
    p = under_way(
        clinic(
            "after: {meal: {by: [nurse], record: note}, rest: {by: [nurse], "
            "record: note, after: [meal], counted_from: entering, due: 1 h}}"
        )
    )
    p.do("abort drip", reason="dizzy")
    end = p.now
    p.wait("30 min")
    p.do("record meal", text="soup")
    assert p.item("rest").due == end + HOUR


def test_a_step_before_the_start_is_skipped_where_its_condition_is_false() -> None:
    before = (
        "before: {look: {by: [nurse], record: answer}, more: {by: [nurse], "
        "record: note, only_if: look.word is one}}"
    )
    p = Patient(program(clinic(before)))
    p.do("arrive drip")
    p.do("record look", word="two")
    assert p.outcome("more") == "skipped"
    p.do("start drip")


# The dose


def test_a_total_cannot_be_less_than_what_was_given_already() -> None:
    p = under_way()
    p.do("dose drip", amount="300 mg")
    assert p.codes("end dosing drip", amount="100 mg") == ["bad-value"]
    p.do("end dosing drip", amount="400 mg")


def test_a_session_that_gives_nothing_has_no_dose_to_end() -> None:
    p = Patient(program(clinic("dose: ~\nwatch: ~")))
    p.do("start drip")
    assert p.codes("end dosing drip", amount="5 mg") == ["no-dose"]
    p.wait("30 min")
    p.do("release drip")
    assert p.outcome("drips") == "done"


def test_a_rule_about_one_kind_of_session_does_not_bind_another() -> None:
    more = """
  puff:
    by: [nurse]
    source: practice
    release: {earliest: 0 min, signed_by: [nurse]}
rules:
  never: [{start: puff, unless: pressure_ok, says: No puff without a pressure}]
"""
    p = Patient(program(clinic(steps="puffs: {by: [nurse], session: puff}").rstrip() + more))
    assert p.codes("start puff") == ["rule"]
    p.do("start drip")


# Sessions and ends


@pytest.mark.parametrize("end", ["died", "entered_in_error"])
def test_a_death_or_an_error_closes_at_once_also_during_a_session(end: str) -> None:
    p = under_way()
    p.do(f"leave {end}")
    assert p.s.standing == "closed"
    assert not p.s.items
    assert [x.final for x in p.events(e.SessionReleased)] == ["aborted"]


def test_leaving_under_a_hold_ends_the_hold_too() -> None:
    p = under_way()
    held(p)
    p.do("leave against_advice")
    assert not p.s.holds
    assert p.item("left-before-release").roles == ("doctor",)


def test_a_step_declined_cancels_only_its_own_session() -> None:
    more = (
        "\n  puff: {by: [nurse], source: practice, release: {earliest: 0 min, "
        "signed_by: [nurse]}}\n"
    )
    p = Patient(
        program(
            clinic(steps="puffs: {by: [nurse], session: puff, may_be: [declined]}").rstrip() + more
        )
    )
    p.do("book drip")
    p.do("book puff")
    p.do("decline puffs", reason="no")
    assert list(p.s.sessions) == ["drip.1"]


# Moves and places

_NESTED = """
start: door
decided_by: [doctor]
phases:
  door:
    steps: {knock: {by: [nurse], record: answer}}
    next: [{to: house, when: knock.word is one}]
  house:
    admits: true
    tracks:
      body:
        start: wash
        phases:
          wash: {steps: {clean: {by: [nurse], record: note}}, next: [{to: dry, when: always}]}
          dry:
            steps:
              towel: {by: [nurse], record: note}
              drips: {by: [nurse], session: drip, optional: true}
            next: []
      mind:
        start: talk
        phases:
          talk: {steps: {word: {by: [nurse], record: answer}}, next: []}
    next:
      - {to: hall, when: word.word is three, at_once: true}
      - {to: well, when: word.word is one}
  hall: {steps: {wave: {by: [nurse], record: note}}, next: [{to: house, when: always}]}
sessions:
  drip: {by: [nurse], source: practice, release: {earliest: 30 min, signed_by: [nurse]}}
"""


def test_a_patient_found_deep_inside_is_entered_from_the_outside_with_all_tracks_beside() -> None:
    p = Patient(program(_NESTED))
    p.do("move dry", by="doctor", reason="found there")
    assert [x.phase for x in p.events(e.PhaseEntered)] == [
        "door",
        "house",
        "mind",
        "talk",
        "body",
        "dry",
    ]
    assert p.phases == ["house", "mind", "talk", "body", "dry"]
    assert p.s.admitted == MONDAY.date()
    assert p.outcomes("knock") == ["left"]
    assert deviations(p) == ["moved-past-gates"]


def test_a_move_out_of_a_phase_cancels_the_session_that_was_booked_in_it() -> None:
    p = Patient(program(_NESTED))
    p.do("record knock", word="one")
    p.do("record clean", text="x")
    p.do("book drip")
    p.do("record word", word="three")
    assert p.phases == ["hall"]
    assert [x.reason for x in p.events(e.SessionCancelled)] == ["moved on"]
    assert not p.s.sessions


def test_a_session_under_way_in_one_track_keeps_the_whole_where_it_is_and_why_says_so() -> None:
    p = Patient(program(_NESTED))
    p.do("record knock", word="one")
    p.do("record clean", text="x")
    p.do("start drip")
    p.do("record word", word="three")
    assert "house" in p.phases
    assert p.codes("move hall", by="doctor", reason="x") == ["session-under-way"]
    p.wait("30 min")
    p.do("release drip")
    assert p.phases == ["hall"]


def test_one_track_ends_while_a_session_is_open_in_another() -> None:
    p = Patient(program(_NESTED))
    p.do("record knock", word="one")
    p.do("record clean", text="x")
    p.do("book drip")
    p.do("record word", word="one")
    assert "mind" not in p.phases
    assert "body" in p.phases


# What waits


def test_a_finished_phase_that_waits_says_for_what() -> None:
    p = Patient(
        program(
            stay(
                "more: {by: [nurse], record: score, optional: true}",
                next_="{to: well, when: more.points > 3 points}",
            )
        )
    )
    assert waiting(p) == []
    p.do("record farewell", word="one")
    assert waiting(p) == [("stay", "well", ["more.points > 3 points"])]
    p.do("record more", points=5)
    assert waiting(p) == []


def test_a_round_that_waits_for_its_condition_says_so() -> None:
    text = """
start: stay
phases:
  stay:
    repeat: {at_most: 3, until: extra.points > 3 points}
    steps:
      ask: {by: [nurse], record: answer}
      extra: {by: [nurse], record: score, optional: true}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record ask", word="one")
    assert waiting(p) == [("stay", "", ["extra.points > 3 points"])]


def test_an_end_that_waits_for_a_session_elsewhere_says_so() -> None:
    text = _NESTED.replace(
        "talk: {steps: {word: {by: [nurse], record: answer}}, next: []}",
        "talk: {steps: {word: {by: [nurse], record: answer}}, "
        "next: [{to: elsewhere, when: word.word is two}]}",
    )
    p = Patient(program(text))
    p.do("record knock", word="one")
    p.do("record clean", text="x")
    p.do("start drip")
    p.do("record word", word="two")
    assert p.s.standing == "active"
    assert waiting(p) == [("talk", "elsewhere", ["drip.1 is under way"])]
    p.wait("30 min")
    p.do("release drip")
    assert p.s.end == "elsewhere"


def test_a_round_may_wait_for_time_alone() -> None:
    text = """
start: stay
phases:
  stay:
    repeat: {at_most: 3, until: time since ask.last_use >= 24 h}
    steps:
      ask: {by: [nurse], record: history}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record ask", last_use=(p.now - timedelta(hours=25)).isoformat())
    assert p.s.end == "well"


def test_gates_may_ask_for_the_round_and_for_the_time_in_a_phase() -> None:
    text = """
start: stay
decided_by: [doctor]
phases:
  stay:
    repeat: {at_most: 2}
    steps:
      ask: {by: [nurse], record: answer}
      second: {by: [nurse], record: note, only_if: round >= 2}
    next: [{to: well, when: time since entering stay >= 2 h}, {to: elsewhere, when: not always}]
"""
    p = Patient(program(text))
    assert p.outcome("second") == "skipped"
    p.do("record ask", word="one")
    p.do("record second", text="x")
    p.do("record ask", word="one")
    p.wait("1 h")
    assert p.look().standing == "applied"
    p.wait("1 h")
    assert p.look().end == "well"


# Why something is not open


def test_what_is_not_open_says_where_it_will_be() -> None:
    p = Patient(program(_NESTED))
    refusal = p.refused("record word", word="one")
    assert refusal.reasons[0].unblock == ("it opens in the phase talk",)


def test_a_step_of_a_session_says_which_session_opens_it() -> None:
    p = Patient(program(clinic("before: {bag: {by: [nurse], record: note}}")))
    refusal = p.refused("record bag", text="x")
    assert refusal.code == "not-open"
    assert refusal.reasons[0].unblock == ("it opens in the session drip",)


def test_a_step_whose_condition_is_unknown_says_which_fact_is_missing() -> None:
    p = Patient(
        program(
            stay(
                "more: {by: [nurse], record: note, "
                "only_if: farewell.word is one}\nfinal: {by: [nurse], "
                "record: note}"
            )
        )
    )
    reason = p.refused("record more", text="x").reasons[0]
    assert reason.code == "not-open"
    assert [c.text for c in reason.clauses] == ["farewell.word is one"]


def test_a_step_that_a_hold_keeps_closed_says_so() -> None:
    p = Patient(
        program(
            stay("one: {by: [nurse], record: note}\ntwo: {by: [nurse], record: note, after: [one]}")
        )
    )
    held(p)
    p.do("record one", text="x")
    assert p.codes("record two", text="x") == ["on-hold", "not-open"]


def test_nothing_is_signed_that_is_not_open() -> None:
    p = Patient(
        program(
            stay(
                "one: {by: [nurse], record: note, "
                "signed: true}\ntwo: {by: [nurse], record: note, after: [one]}"
            )
        )
    )
    assert p.codes("sign two") == ["not-open"]
    assert p.codes("sign moon") == ["unknown-step"]


# Times that count from what was recorded


def test_times_may_count_from_a_date_or_an_instant_that_was_recorded() -> None:
    steps = """
intake: {by: [nurse], record: history}
birthday: {by: [nurse], record: note, optional: true, counted_from: history.born, opens: 7300 d}
look: {by: [nurse], record: note, optional: true, counted_from: history.last_use, due: 72 h}
"""
    p = Patient(program(stay(steps)))
    assert not p.is_open("look")
    p.do("record intake", last_use=(MONDAY - HOUR).isoformat())
    assert p.item("look").due == MONDAY + 71 * HOUR
    assert not p.is_open("birthday")


def test_a_recorded_date_begins_at_midnight_of_the_site() -> None:
    steps = """
intake: {by: [nurse], record: history}
birthday: {by: [nurse], record: note, optional: true, counted_from: history.born, opens: 1 d}
"""
    p = Patient(program(stay(steps)), zone="America/Los_Angeles")
    p.do("record intake", last_use=MONDAY.isoformat(), born=date(2026, 3, 10).isoformat())
    assert p.item("birthday").opens == p.at("2026-03-11 00:00")


# The stored row


def test_a_patient_in_the_middle_of_everything_comes_back_from_the_stored_row() -> None:
    p = under_way(
        clinic(
            "before: {bag: {by: [nurse], record: note, optional: true}}",
            steps="agree: {by: [nurse], obtain: drug}",
        )
    )
    p.do("done agree")
    p.do("record drip.watch", systolic=120)
    held(p)
    assert decode_row(encode_row(p.s)) == p.s


def test_a_row_that_is_none_is_told_apart_from_an_empty_patient() -> None:
    with pytest.raises(JournalError, match="replay the entries"):
        decode_row(b"\x00")


# Small print


def test_a_reading_that_somebody_reports_as_missed_is_followed_by_the_next_planned() -> None:
    text = (
        "check: {by: [nurse], record: score, may_be: [missed], "
        'every: [{daily_at: ["12:00", "18:00"], when: always}]}'
    )
    p = Patient(program(stay(text)))
    p.until("2026-03-02 12:30")
    p.do("miss check", reason="asleep")
    assert p.item("check").opens == p.at("2026-03-02 18:00")
    text = (
        "check: {by: [nurse], record: score, may_be: [missed], "
        "every: [{interval: 4 h, when: always}]}"
    )
    p = Patient(program(stay(text)))
    p.do("miss check", reason="asleep")
    assert p.item("check").opens == MONDAY + 4 * HOUR


def test_a_refusal_that_was_long_ago_is_followed_by_the_last_planned_reading() -> None:
    text = (
        "check: {by: [nurse], record: score, may_be: [declined], "
        'every: [{daily_at: ["12:00", "18:00"], when: always}]}'
    )
    p = Patient(program(stay(text)))
    p.until("2026-03-04 03:00")
    p.do("decline check", reason="asleep", occurred=p.at("2026-03-02 17:00"))
    assert p.item("check").opens == p.at("2026-03-03 18:00")
    assert p.item("check").next == p.at("2026-03-04 12:00")

    p = Patient(program(stay(text)), closed=[date(2026, 3, 4)])
    p.until("2026-03-04 03:00")
    p.do("decline check", reason="asleep", occurred=p.at("2026-03-02 17:00"))
    assert p.item("check").opens == p.at("2026-03-03 18:00")
    assert p.item("check").next == p.at("2026-03-05 12:00")


def test_a_gate_that_nobody_may_override_offers_no_override() -> None:
    text = clinic("ready: [plain, pressure_ok]").replace(
        "gates:", "gates:\n  plain: {says: Plain, when: baseline.systolic > 90 mmHg}"
    )
    plain, pressure = Patient(program(text)).refused("start drip").reasons
    assert plain.unblock == ()
    assert pressure.unblock == ("an override by Doctor for at most 4 h",)


def test_what_was_recorded_and_waits_for_a_signature_is_not_declined_any_more() -> None:
    p = Patient(
        program(stay("plan: {by: [nurse], record: note, signed: true, may_be: [declined]}"))
    )
    p.do("record plan", text="x")
    assert p.codes("decline plan", reason="no") == ["already-recorded"]


def test_an_alert_of_the_whole_program_calls_wherever_the_patient_is() -> None:
    p = Patient(
        program(
            stay(
                "",
                more=(
                    "alerts: [{when: vitals.systolic > 200 mmHg, says: Very high, "
                    "tell: [doctor], answer_within: 5 min}]\n"
                ),
            )
        )
    )
    p.do("record vitals", systolic=120)
    assert not p.events(e.AlertRaised)
    p.do("go ward")
    p.do("record vitals", systolic=210)
    assert [x.says for x in p.events(e.AlertRaised)] == ["Very high"]
    p.do("leave against_advice")
    p.do("record vitals", systolic=220)
    assert len(p.events(e.AlertRaised)) == 2


def test_work_after_a_session_counts_from_its_release() -> None:
    steps = (
        "talk: {by: [therapist], record: note, counted_from: drip released, opens: 1 h, due: 72 h}"
    )
    p = under_way(clinic(steps=steps))
    p.do("end dosing drip", amount="100 mg")
    assert not p.is_open("talk")
    p.wait("30 min")
    p.do("release drip")
    assert p.item("talk").opens == p.now + HOUR
    assert p.item("talk").due == p.now + 72 * HOUR


def test_a_hold_keeps_a_finished_phase_and_nothing_else_is_missing() -> None:
    text = _NESTED.replace(
        "talk: {steps: {word: {by: [nurse], record: answer}}, next: []}",
        "talk: {steps: {word: {by: [nurse], record: answer}}, "
        "next: [{to: elsewhere, when: word.word is two}]}",
    ).replace("decided_by: [doctor]", "decided_by: [doctor]\nhold_by: [doctor]")
    p = Patient(program(text))
    p.do("record knock", word="one")
    p.do("record clean", text="x")
    p.do("book drip")
    held(p)
    p.do("record word", word="two")
    assert waiting(p) == []
    assert "talk" in p.phases
    lift(p)
    assert p.s.end == "elsewhere"


def test_rounds_in_which_nothing_is_to_be_done_are_stopped_and_looked_at() -> None:
    text = """
start: door
decided_by: [doctor]
phases:
  door:
    steps: {knock: {by: [nurse], record: answer}}
    next: [{to: stay, when: always}]
  stay:
    repeat: {at_most: 3}
    steps: {ask: {by: [nurse], record: note, only_if: knock.word is one}}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record knock", word="two")
    assert p.item("program-loops").roles == ("doctor",)
    assert p.phases == ["stay"]


def test_a_patient_may_be_found_in_a_track_that_had_ended() -> None:
    p = Patient(program(_NESTED))
    p.do("record knock", word="one")
    p.do("record word", word="two")
    assert "mind" not in p.phases
    p.do("move talk", by="doctor", reason="more to say")
    assert p.phases == ["house", "body", "wash", "mind", "talk"]


def test_a_gate_that_time_opens_before_midnight_does_not_wait_for_the_next_round() -> None:
    text = """
start: stay
phases:
  stay:
    admits: true
    start: day
    phases:
      day:
        repeat: {at_most: 4, one_per: program day}
        steps: {ask: {by: [nurse], record: note}}
    next:
      - {to: elsewhere, when: time since entering stay >= 2 h, at_once: true}
      - {to: well, when: always}
"""
    p = Patient(program(text))
    p.do("record ask", text="x")
    p.wait("119 min")
    assert p.look().standing == "active"
    p.wait("1 min")
    assert p.look().end == "elsewhere"


def test_what_is_read_only_inside_a_phase_is_forgotten_with_it_and_the_rest_is_kept() -> None:
    text = """
start: stay
phases:
  stay:
    steps: {base: {by: [nurse], record: score}}
    start: a
    phases:
      a:
        steps: {look: {by: [nurse], record: score}}
        next: [{to: b, when: look.points > 3 points}, {to: elsewhere, when: always}]
      b: {steps: {more: {by: [nurse], record: note}}, next: []}
    next: [{to: well, when: base.points > 3 points}, {to: elsewhere, when: always}]
"""
    p = Patient(program(text))
    p.do("record base", points=5)
    p.do("record look", points=7)
    assert "b" in p.phases
    assert [o.step for o in p.s.readings["score"]] == ["base"]
    p.do("record more", text="x")
    assert p.s.end == "well"


def test_a_signature_makes_its_own_reading_count_and_no_other() -> None:
    text = """
start: stay
decided_by: [doctor]
phases:
  stay:
    steps:
      first: {by: [nurse], record: score, signed: true}
      second: {by: [nurse], record: score, signed: true}
    next: [{to: well, when: first.points > 3 points and second.points > 3 points}]
"""
    p = Patient(program(text))
    p.do("record first", points=5)
    p.do("record second", points=5)
    p.do("sign second")
    assert [(o.step, o.signed) for o in p.s.readings["score"]] == [
        ("first", False),
        ("second", True),
    ]
    p.do("sign first")
    assert p.s.end == "well"


def test_readings_of_the_last_days_are_kept_for_an_hour_more_than_a_day_has() -> None:
    steps = "check: {by: [nurse], record: score, every: [{interval: 30 min, when: always}]}"
    p = Patient(
        program(stay(steps, next_="{to: well, when: every check.points of last 1 d < 9 points}"))
    )
    for _ in range(60):
        p.do("record check", points=3)
        p.wait("30 min")
    kept = p.s.readings["score"]
    covered = kept[-1].occurred - kept[0].occurred
    assert timedelta(hours=25) <= covered <= timedelta(hours=26)
    p.do("record farewell", word="one")
    assert p.s.end == "well"
