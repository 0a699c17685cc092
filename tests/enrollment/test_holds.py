"""Holds and excursions: what they mask, what goes on, and what happens to each time (R11)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from bedside import MONDAY, Patient, program
from test_sessions import clinic, under_way

from kat_workflow.enrollment import events as e

HOUR = timedelta(hours=1)


def stay(steps: str, more: str = "", next_: str = "{to: well, when: always}") -> str:
    """One phase with the steps that a test is about, and an excursion to a ward."""
    body = "".join(f"\n      {line}" for line in steps.strip().splitlines())
    return f"""
start: stay
decided_by: [doctor]
hold_by: [doctor]
phases:
  stay:
    admits: true
    steps:
      farewell: {{by: [nurse], record: answer}}{body}
    next: [{next_}]
excursions:
  ward:
    by: [nurse]
    steps:
      seen: {{by: [nurse], record: answer}}
      rounds: {{by: [nurse], record: score, every: [{{interval: 2 h, when: always}}]}}
    next: [{{to: back, when: seen.word is one}}, {{to: elsewhere, when: seen.word is two}}]
{more}"""


def held(p: Patient) -> None:
    p.do("hold", reason="fire alarm", by="doctor")


def lift(p: Patient) -> None:
    p.do("lift", by="doctor")


# What a hold masks and what it does not


def test_a_hold_masks_requests_and_says_how_it_is_lifted() -> None:
    p = Patient(
        program(clinic(steps="more: {by: [nurse], record: note, may_be: [waived, declined]}"))
    )
    held(p)
    for phrase in ("start drip", "book drip", "waive more", "go well"):
        refusal = p.refused(phrase, given={"reason": "x"} if "waive" in phrase else {})
        assert refusal.code == "on-hold"
        assert refusal.reasons[0].unblock == ("lift hold.1",)


def test_reports_go_on_under_a_hold() -> None:
    p = Patient(program(stay("check: {by: [nurse], record: note, may_be: [declined]}")))
    held(p)
    p.do("record check", text="done before the alarm")
    assert p.outcome("check") == "done"


def test_a_hold_needs_a_reason_and_somebody_who_may() -> None:
    p = Patient(program(stay("")))
    assert p.codes("hold", by="doctor") == ["reason-missing"]
    assert p.codes("hold", reason="x") == ["wrong-role"]
    held(p)
    assert p.codes("lift") == ["wrong-role"]


def test_nothing_new_opens_under_a_hold_and_it_opens_with_the_lifting() -> None:
    p = Patient(
        program(
            stay("one: {by: [nurse], record: note}\ntwo: {by: [nurse], record: note, after: [one]}")
        )
    )
    held(p)
    p.do("record one", text="x")
    assert not p.is_open("two")
    assert p.codes("record two", text="x") == ["on-hold", "not-open"]
    lift(p)
    assert p.is_open("two")


def test_what_runs_on_hold_opens_under_it() -> None:
    p = Patient(
        program(
            stay(
                "one: {by: [nurse], record: note}\ntwo: {by: [nurse], record: note, "
                "after: [one], on_hold: runs}"
            )
        )
    )
    held(p)
    p.do("record one", text="x")
    assert p.is_open("two")


def test_a_finished_phase_waits_for_the_lifting() -> None:
    p = Patient(program(stay("")))
    held(p)
    p.do("record farewell", word="one")
    assert p.phases == ["stay"]
    lift(p)
    assert p.s.end == "well"


def test_an_urgent_row_waits_too_unless_it_is_for_safety() -> None:
    urgent = "{to: elsewhere, when: farewell.word is two, at_once: true}, {to: well, when: always}"
    p = Patient(program(stay("more: {by: [nurse], record: note}", next_=urgent)))
    held(p)
    p.do("record farewell", word="two")
    assert p.phases == ["stay"]
    safe = urgent.replace("at_once: true", "at_once: true, safety: true")
    q = Patient(program(stay("more: {by: [nurse], record: note}", next_=safe)))
    held(q)
    q.do("record farewell", word="two")
    assert q.s.end == "elsewhere"


def test_ends_go_on_under_a_hold() -> None:
    p = Patient(program(stay("")))
    held(p)
    p.do("leave against_advice")
    assert p.s.end == "against_advice"
    assert not p.s.holds


def test_several_holds_stand_each_lifted_by_itself() -> None:
    p = Patient(program(stay("")))
    held(p)
    p.do("hold", reason="second", by="doctor")
    p.do("record farewell", word="one")
    assert p.codes("lift", by="doctor") == ["which-hold"]
    assert p.codes("lift hold.7", by="doctor") == ["which-hold"]
    p.do("lift hold.1", by="doctor")
    assert p.phases == ["stay"]
    lift(p)
    assert p.s.end == "well"
    q = Patient(p.program)
    assert q.codes("lift", by="doctor") == ["which-hold"]


def test_a_hold_stops_dosing_at_once_and_takes_the_rest_at_release() -> None:
    p = under_way()
    held(p)
    assert (p.session("drip.1").dosing, p.session("drip.1").paused_by) == ("paused", "hold")
    assert p.codes("resume drip") == ["on-hold"]
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("release drip")
    p.do("record baseline", systolic=120)
    assert p.phases == ["stay"]
    lift(p)
    assert p.s.end == "well"


def test_lifting_does_not_resume_a_dose_by_itself() -> None:
    p = under_way()
    held(p)
    lift(p)
    assert p.session("drip.1").dosing == "paused"
    p.do("resume drip")


# What it does to each time

_TIMES = (
    "visit: {{by: [nurse], record: note, opens: 1 h, due: 4 h, closes: 6 h, "
    "may_be: [missed], on_hold: {on_hold}}}"
)


def _times(p: Patient) -> list[timedelta]:
    item = p.item("visit")
    assert item.due is not None
    assert item.closes is not None
    return [item.opens - MONDAY, item.due - MONDAY, item.closes - MONDAY]


@pytest.mark.parametrize(
    ("on_hold", "after"),
    [("runs", [1, 4, 6]), ("pauses", [1, 7, 9]), ("restarts", [6, 9, 11])],
)
def test_each_time_runs_on_pauses_or_begins_anew(on_hold: str, after: list[int]) -> None:
    p = Patient(program(stay(_TIMES.format(on_hold=on_hold))))
    p.wait("2 h")
    held(p)
    p.wait("3 h")
    lift(p)
    assert _times(p) == [hours * HOUR for hours in after]


def test_a_pause_keeps_the_remaining_time_also_to_the_opening() -> None:
    p = Patient(program(stay(_TIMES.format(on_hold="pauses"))))
    held(p)
    p.wait("3 h")
    lift(p)
    assert _times(p) == [4 * HOUR, 7 * HOUR, 9 * HOUR]


def test_a_paused_time_does_not_run_out_under_a_hold_and_one_that_runs_does() -> None:
    for on_hold, open_ in (("pauses", True), ("restarts", True), ("runs", False)):
        p = Patient(program(stay(_TIMES.format(on_hold=on_hold))))
        held(p)
        p.wait("2 d")
        assert p.is_open("visit") is open_


_NEXT = """\
one: {{by: [nurse], record: note}}
two: {{by: [nurse], record: note, after: [one], on_hold: {on_hold}, counted_from: one done,
  opens: 12 h, due: 72 h, closes: 8 d, may_be: [missed], source: practice}}"""


def done_under_a_hold(on_hold: str) -> Patient:
    """What `two` counts from is done in a hold, which is lifted ten days later."""
    p = Patient(program(stay(_NEXT.format(on_hold=on_hold))))
    held(p)
    p.wait("1 h")
    p.do("record one", text="x")
    p.wait("10 d")
    lift(p)
    return p


@pytest.mark.parametrize("on_hold", ["pauses", "restarts"])
def test_a_time_that_would_have_begun_under_a_hold_begins_with_its_lifting(on_hold: str) -> None:
    p = done_under_a_hold(on_hold)

    assert p.is_open("two")
    assert p.item("two").due == p.now + 72 * HOUR


def test_a_time_that_runs_on_begins_under_a_hold_and_may_end_there() -> None:
    p = done_under_a_hold("runs")

    assert p.outcome("two") == "missed"


def test_what_a_time_had_run_before_the_hold_stays_run() -> None:
    steps = _NEXT.format(on_hold="pauses").replace("after: [one]", "after: [one, three]")
    p = Patient(program(stay(f"{steps}\nthree: {{by: [nurse], record: note}}")))
    p.do("record one", text="x")
    p.wait("10 h")
    held(p)
    p.do("record three", text="x")
    p.wait("10 d")

    lift(p)

    assert p.item("two").due == p.now + 62 * HOUR


@pytest.mark.parametrize(
    ("cadence", "after"), [("interval: 4 h", 4), ('daily_at: ["09:00"]', 19)], ids=["pace", "clock"]
)
def test_a_round_that_was_done_under_a_hold_is_followed_after_it(cadence: str, after: int) -> None:
    row = f"{{{cadence}, when: always}}"
    p = Patient(
        program(stay(f"checks: {{by: [nurse], record: note, every: [{row}], due: 30 min}}"))
    )
    p.wait(timedelta(days=1))
    held(p)
    p.do("record checks", text="done all the same")
    p.wait("5 h")
    assert not p.is_open("checks")

    lift(p)

    assert p.item("checks").opens == p.now + after * HOUR


def test_a_clock_time_under_the_hold_is_not_done_after_it_where_the_step_could_not_open() -> None:
    row = '{daily_at: ["14:30"], when: always}'
    p = Patient(
        program(
            stay(
                "one: {by: [nurse], record: note}\n"
                f"checks: {{by: [nurse], record: note, after: [one], every: [{row}], "
                "due: 30 min, counted_from: entering, source: practice}"
            )
        )
    )
    p.wait("1 h")
    held(p)
    p.do("record one", text="x")
    p.wait("5 h")

    lift(p)

    assert p.item("checks").opens == p.at("2026-03-03 14:30")


def test_a_time_that_restarts_begins_with_the_lifting_whatever_had_run_before_the_hold() -> None:
    steps = _NEXT.format(on_hold="restarts").replace("after: [one]", "after: [one, three]")
    p = Patient(program(stay(f"{steps}\nthree: {{by: [nurse], record: note}}")))
    p.do("record one", text="x")
    p.wait("10 h")
    held(p)
    p.do("record three", text="x")
    p.wait("10 d")

    lift(p)

    assert p.item("two").due == p.now + 72 * HOUR


@pytest.mark.parametrize(("since", "until"), [("12:00", "17:59"), ("11:00", "12:00")])
def test_a_clock_time_at_either_end_of_a_hold_is_not_under_it(since: str, until: str) -> None:
    row = '{daily_at: ["12:00", "18:00"], when: always}'
    p = Patient(
        program(stay(f"checks: {{by: [nurse], record: note, every: [{row}], due: 30 min}}"))
    )
    p.until(f"2026-03-02 {since}")
    held(p)

    p.until(f"2026-03-02 {until}")
    lift(p)

    assert p.item("checks").opens == p.at("2026-03-02 12:00")


def test_two_holds_that_overlap_are_one_pause() -> None:
    p = Patient(program(stay(_TIMES.format(on_hold="pauses"))))
    held(p)
    p.wait("1 h")
    p.do("hold", reason="second", by="doctor")
    p.wait("1 h")
    p.do("lift hold.1", by="doctor")
    p.wait("1 h")
    lift(p)
    assert _times(p) == [4 * HOUR, 7 * HOUR, 9 * HOUR]


def test_two_holds_one_after_the_other_are_two_pauses() -> None:
    p = Patient(program(stay(_TIMES.format(on_hold="pauses"))))
    for _ in range(2):
        held(p)
        p.wait("1 h")
        lift(p)
        p.wait("30 min")
    assert _times(p) == [3 * HOUR, 6 * HOUR, 8 * HOUR]


def test_clock_times_inside_a_hold_are_not_opened_and_the_clock_is_kept() -> None:
    p = Patient(
        program(
            stay(
                'check: {by: [nurse], record: score, every: [{daily_at: ["12:00", "18:00"], '
                "when: always}]}"
            )
        )
    )
    p.wait("1 h")
    held(p)
    p.wait("5 h")  # until 15:00
    assert p.item("check").id.endswith(".1")
    lift(p)
    assert p.item("check").opens == p.at("2026-03-02 18:00")
    assert p.item("check").next == p.at("2026-03-03 12:00")
    assert not p.outcomes("check")


def test_a_clock_time_that_was_open_when_the_hold_began_stays_open_until_the_next_one() -> None:
    p = Patient(
        program(
            stay(
                'check: {by: [nurse], record: score, due: 1 h, every: [{daily_at: ["12:00", '
                '"18:00"], when: always}]}'
            )
        )
    )
    p.until("2026-03-02 12:30")
    held(p)
    p.until("2026-03-02 19:00")
    lift(p)
    item = p.item("check")
    assert item.opens == p.at("2026-03-02 12:00")
    assert item.due == p.at("2026-03-02 19:30")
    assert item.next == p.at("2026-03-03 12:00")


def test_a_booked_session_does_not_lapse_under_a_hold() -> None:
    p = Patient(program(clinic("no_show_after: 30 min")))
    p.do("book drip", given={"for": p.now + 2 * HOUR})
    p.wait("1 h")
    held(p)
    p.wait("1 d")
    lift(p)
    p.wait("1 h")
    assert p.session("drip.1").state == "booked"
    p.wait("31 min")
    assert not p.look().sessions


# Excursions


def test_on_an_excursion_everything_else_is_on_hold_and_its_own_steps_are_not() -> None:
    p = Patient(
        program(
            stay("one: {by: [nurse], record: note}\ntwo: {by: [nurse], record: note, after: [one]}")
        )
    )
    p.do("go ward")
    assert p.phases == ["stay", "ward"]
    assert p.is_open("seen")
    p.do("record one", text="x")
    assert not p.is_open("two")
    p.wait("5 h")
    assert p.item("rounds").id == "ward.1/rounds.3"


def test_the_way_back_leads_to_where_the_patient_was() -> None:
    p = Patient(
        program(
            stay("one: {by: [nurse], record: note}\ntwo: {by: [nurse], record: note, after: [one]}")
        )
    )
    p.do("go ward")
    p.do("record one", text="x")
    p.do("record seen", word="one")
    assert p.phases == ["stay"]
    assert not p.s.holds
    assert p.is_open("two")
    p.do("go ward")
    assert p.s.visits["ward"].place == "ward.2"


def test_an_excursion_may_lead_out_of_treatment() -> None:
    p = Patient(program(stay("")))
    p.do("go ward")
    p.do("record seen", word="two")
    assert p.s.end == "elsewhere"


def test_where_no_row_of_an_excursion_holds_somebody_chooses_and_may() -> None:
    p = Patient(program(stay("")))
    p.do("go ward")
    p.do("record seen", word="three")
    assert p.item("ward").roles == ("doctor",)
    assert p.codes("go back") == ["wrong-role"]
    p.do("go back", by="doctor")
    assert p.phases == ["stay"]
    assert not p.s.holds


def test_a_hold_on_top_of_an_excursion_masks_its_way_back() -> None:
    p = Patient(program(stay("")))
    p.do("go ward")
    held(p)
    p.do("record seen", word="one")
    assert p.phases == ["stay", "ward"]
    lift(p)
    assert p.phases == ["stay"]


def test_a_chosen_way_back_is_masked_by_a_hold_too() -> None:
    p = Patient(program(stay("")))
    p.do("go ward")
    p.do("record seen", word="three")
    held(p)
    assert p.codes("go back", by="doctor") == ["on-hold"]


def test_nobody_is_on_two_excursions_at_once() -> None:
    p = Patient(program(stay("")))
    p.do("go ward")
    assert p.codes("go ward") == ["away"]


def test_the_hold_of_an_excursion_is_lifted_by_coming_back_only() -> None:
    p = Patient(
        program(
            clinic(
                more="excursions:\n  ward: {by: [nurse], steps: {seen: {by: [nurse], "
                "record: answer}}, next: [{to: back, when: always}]}\n"
            )
        )
    )
    p.do("go ward")
    assert p.codes("lift", by="doctor") == ["which-hold"]
    assert p.codes("lift excursion.1", by="doctor") == ["which-hold"]
    assert p.refused("start drip").reasons[0].unblock == ("come back from the excursion",)


def test_nobody_goes_on_an_excursion_while_a_session_is_under_way() -> None:
    text = clinic(
        more="excursions:\n  ward: {by: [nurse], steps: {seen: {by: [nurse], record: answer}}, "
        "next: [{to: back, when: always}]}\n"
    )
    p = under_way(text)
    assert p.codes("go ward") == ["session-under-way"]


def test_the_times_at_home_pause_while_the_patient_is_away() -> None:
    p = Patient(program(stay(_TIMES.format(on_hold="pauses"))))
    p.do("go ward")
    p.wait("3 h")
    p.do("record seen", word="one")
    assert _times(p) == [4 * HOUR, 7 * HOUR, 9 * HOUR]


def test_only_who_may_send_somebody_on_an_excursion() -> None:
    p = Patient(program(stay("")))
    assert p.codes("go ward", by="doctor") == ["wrong-role"]


def test_leaving_from_an_excursion_leaves_everything() -> None:
    p = Patient(program(stay("")))
    p.do("go ward")
    p.do("leave died", by="doctor")
    assert not p.s.visits
    assert [x.phase for x in p.events(e.PhaseLeft)] == ["stay", "ward"]


def test_a_time_that_begins_anew_does_so_after_every_hold() -> None:
    p = Patient(program(stay(_TIMES.format(on_hold="restarts"))))
    for _ in range(2):
        p.wait("1 h")
        held(p)
        p.wait("1 h")
        lift(p)
    assert _times(p) == [5 * HOUR, 8 * HOUR, 10 * HOUR]


def test_a_review_of_a_hold_waits_for_its_date_and_goes_with_the_hold() -> None:
    p = Patient(program(stay("")))
    at = p.now + timedelta(days=2)

    p.do("hold fever", by="doctor", review_by=at)

    review = p.item("hold.1")
    assert (review.kind, review.opens, review.due) == ("review", at, None)
    p.do("lift", by="doctor")
    assert not p.is_open("hold.1")
    assert [x.outcome for x in p.log if isinstance(x, e.ItemSettled)][-1] == "cancelled"


def test_a_review_of_a_hold_lies_ahead_and_has_a_zone() -> None:
    p = Patient(program(stay("")))

    assert p.codes("hold fever", by="doctor", review_by=p.now) == ["past"]
    assert p.codes("hold fever", by="doctor", review_by=datetime(2027, 1, 1)) == ["naive-instant"]
