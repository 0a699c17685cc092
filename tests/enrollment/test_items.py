"""Items: openings of steps, their windows, who answers them and how (R5, R9, persons, calendar)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from bedside import MONDAY, Patient, program

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Record
from kat_workflow.enrollment.worklist import timeliness

HOUR = timedelta(hours=1)


def phase(steps: str, more: str = "") -> str:
    """A program with one phase that never ends by itself."""
    body = "".join(f"\n      {line}" for line in steps.strip().splitlines())
    return f"""
start: stay
phases:
  stay:
    admits: true
    steps:{body}
      farewell: {{by: [nurse], record: note}}
    next: [{{to: well, when: always}}]
{more}"""


# Opening and settling


def test_a_step_opens_once_the_steps_before_it_are_settled_in_any_way() -> None:
    p = Patient(
        program(
            phase(
                """
first: {by: [nurse], record: score, may_be: [declined]}
second: {by: [nurse], record: score, after: [first]}
"""
            )
        )
    )
    assert not p.is_open("second")
    p.do("decline first", reason="tired")
    assert p.is_open("second")


def test_a_step_waits_while_its_condition_is_unknown_and_is_skipped_when_it_is_false() -> None:
    p = Patient(
        program(
            phase(
                """
asked: {by: [nurse], record: answer}
extra: {by: [nurse], record: score, only_if: asked.word is one}
"""
            )
        )
    )
    assert not p.is_open("extra")
    assert "extra" not in p.s.settled
    p.do("record asked", word="two")
    assert p.outcome("extra") == "skipped"


def test_a_step_opens_when_its_condition_turns_true() -> None:
    p = Patient(
        program(
            phase(
                """
asked: {by: [nurse], record: answer}
extra: {by: [nurse], record: score, only_if: asked.word is one}
"""
            )
        )
    )
    p.do("record asked", word="one")
    assert p.is_open("extra")


def test_a_skipped_step_reads_as_the_program_says() -> None:
    p = Patient(
        program(
            """
start: stay
phases:
  stay:
    steps:
      asked: {by: [nurse], record: answer}
      lab: {by: [nurse], record: test, only_if: asked.word is one, if_skipped: {result: negative}}
    next:
      - {to: well, when: lab.result is negative}
      - {to: elsewhere, when: always}
"""
        )
    )
    p.do("record asked", word="two")
    assert p.s.end == "well"


def test_items_have_ids_that_tell_their_place_and_number() -> None:
    p = Patient(
        program(
            phase("check: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}")
        )
    )
    assert p.open == ["stay.1/check.1", "stay.1/farewell.1"]
    p.wait("4 h")
    assert "stay.1/check.2" in p.open


def test_a_step_is_done_only_once_it_is_signed() -> None:
    p = Patient(program(phase("plan: {by: [doctor], record: note, signed: true}")))
    p.do("record plan", text="x", by="doctor")
    assert p.is_open("plan")
    p.do("sign plan", by="doctor")
    assert p.outcome("plan") == "done"


def test_an_unsigned_recording_opens_no_gate() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      plan: {by: [doctor], record: answer, signed: true}
      later: {by: [nurse], record: note, only_if: plan.word is one}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record plan", word="one", by="doctor")
    assert not p.is_open("later")
    p.do("sign plan", by="doctor")
    assert p.is_open("later")


def test_a_cosignature_is_another_persons() -> None:
    p = Patient(
        program(phase("plan: {by: [nurse], record: note, signed: true, cosigned_by: [doctor]}"))
    )
    p.do("record plan", text="x", signed=True, by="ann:nurse,doctor")
    assert p.codes("cosign plan", by="ann:nurse,doctor") == ["same-person"]
    p.do("cosign plan", by="doctor")
    assert p.outcome("plan") == "done"


def test_whoever_signs_cannot_cosign_although_somebody_else_wrote_it() -> None:
    p = Patient(
        program(phase("plan: {by: [nurse], record: note, signed: true, cosigned_by: [doctor]}"))
    )
    p.do("record plan", text="x", by="nurse")
    p.do("sign plan", by="ann:nurse,doctor")
    assert p.codes("cosign plan", by="ann:nurse,doctor") == ["same-person"]


def test_whoever_cosigned_first_cannot_sign_as_well() -> None:
    p = Patient(
        program(phase("plan: {by: [nurse], record: note, signed: true, cosigned_by: [doctor]}"))
    )
    p.do("record plan", text="x", by="nurse")
    p.do("cosign plan", by="ann:nurse,doctor")
    assert p.codes("sign plan", by="ann:nurse,doctor") == ["same-person"]
    p.do("sign plan", by="nurse")
    assert p.outcome("plan") == "done"


def test_a_cosignature_alone_may_be_asked() -> None:
    p = Patient(program(phase("plan: {by: [nurse], record: note, cosigned_by: [doctor]}")))
    p.do("record plan", text="x")
    assert p.codes("sign plan") == ["nothing-to-sign"]
    p.do("cosign plan", by="doctor")
    assert p.outcome("plan") == "done"


_TWO = """
first: {by: [doctor, nurse], record: answer, signed: true}
second: {by: [doctor, nurse], record: answer, signed: true, different_person_from: [first]}
task: {by: [doctor], different_person_from: [first]}
"""


def test_two_people_do_what_two_people_must_do() -> None:
    p = Patient(program(phase(_TWO)))
    p.do("record first", word="one", signed=True, by="ann:doctor")
    assert p.codes("record second", word="one", signed=True, by="ann:doctor") == ["same-person"]
    assert p.codes("done task", by="ann:doctor") == ["same-person"]
    p.do("record second", word="one", by="bob:doctor")
    assert p.codes("sign second", by="ann:doctor") == ["same-person"]
    p.do("sign second", by="bob:doctor")


def test_a_person_in_two_roles_is_one_person() -> None:
    p = Patient(program(phase(_TWO)))
    p.do("record first", word="one", signed=True, by="ann:doctor")
    assert p.codes("record second", word="one", by="ann:nurse") == ["same-person"]


def test_whoever_wrote_the_first_may_not_do_the_second_although_somebody_else_signed_it() -> None:
    p = Patient(program(phase(_TWO)))
    p.do("record first", word="one", by="ann:doctor")
    p.do("sign first", by="bob:doctor")
    assert p.codes("record second", word="one", by="ann:doctor") == ["same-person"]
    assert p.codes("record second", word="one", by="bob:doctor") == ["same-person"]
    p.do("record second", word="one", by="cid:doctor")


@pytest.mark.parametrize(
    "outcome", ["declined", "skipped", "missed", "waived", "withheld", "unable"]
)
def test_a_step_ends_only_as_the_program_allows_and_with_a_reason(outcome: str) -> None:
    verb = {
        "declined": "decline",
        "skipped": "skip",
        "missed": "miss",
        "waived": "waive",
        "withheld": "withhold",
    }
    phrase = f"{verb.get(outcome, outcome)} craving"
    p = Patient(program(phase(f"craving: {{by: [nurse], record: score, may_be: [{outcome}]}}")))
    assert p.codes(phrase) == ["reason-missing"]
    p.do(phrase, reason="so it was")
    assert p.outcome("craving") == outcome
    strict = Patient(program(phase("craving: {by: [nurse], record: score}")))
    assert strict.codes(phrase, reason="so it was") == ["outcome-not-allowed"]


def test_the_reason_stands_in_the_record() -> None:
    p = Patient(program(phase("craving: {by: [nurse], record: score, may_be: [declined]}")))
    p.do("decline craving", reason="asleep")
    assert [x.reason for x in p.events(e.ItemSettled)] == ["asleep"]


def test_one_reading_answers_only_the_items_that_are_named() -> None:
    p = Patient(
        program(
            phase(
                "one: {by: [nurse], record: score}\ntwo: {by: [nurse], record: score}\n"
                "three: {by: [nurse], record: note}"
            )
        )
    )
    p.act(Record("one", {"points": 3}))
    assert p.is_open("two")
    fresh = Patient(p.program)
    fresh.act(Record("one", {"points": 3}, also=("two",)))
    assert fresh.outcome("two") == "done"
    again = Patient(p.program)
    refusal = again.ask(Record("one", {"points": 3}, also=("three",)))
    assert [r.code for r in refusal.reasons] == ["other-form"]  # type: ignore[union-attr]
    refusal = again.ask(Record("one", {"points": 3}, also=("nine",)))
    assert [r.code for r in refusal.reasons] == ["unknown-step"]  # type: ignore[union-attr]


# Windows


def test_an_item_is_early_then_open_then_late_and_its_windows_are_half_open() -> None:
    p = Patient(program(phase("visit: {by: [nurse], record: note, opens: 1 h, due: 2 h}")))
    item = p.item("visit")
    assert timeliness(item, MONDAY) == "early"
    assert timeliness(item, MONDAY + HOUR - timedelta(seconds=1)) == "early"
    assert timeliness(item, MONDAY + HOUR) == "open"
    assert timeliness(item, MONDAY + 2 * HOUR - timedelta(seconds=1)) == "open"
    assert timeliness(item, MONDAY + 2 * HOUR) == "late"


def test_a_step_that_closes_is_missed_at_its_last_instant() -> None:
    p = Patient(
        program(
            phase("visit: {by: [nurse], record: note, due: 2 h, closes: 3 h, may_be: [missed]}")
        )
    )
    p.wait(3 * HOUR - timedelta(seconds=1))
    assert p.is_open("visit")
    p.wait(timedelta(seconds=1))
    assert not p.is_open("visit")
    assert p.outcome("visit") == "missed"
    settled = p.events(e.ItemSettled)[0]
    assert (settled.at, settled.reason) == (MONDAY + 3 * HOUR, "closed")


def test_early_what_may_be_recorded_at_any_time_is_an_unscheduled_reading() -> None:
    p = Patient(program(phase("check: {by: [nurse], record: vitals, opens: 1 h}")))
    p.do("record check", systolic=120)
    assert p.is_open("check")
    assert not p.events(e.DeviationNoted)
    assert [x.step for x in p.events(e.ObservationRecorded)] == ["check"]


def test_early_what_needs_its_item_answers_it_and_is_looked_at() -> None:
    p = Patient(program(phase("visit: {by: [nurse], record: note, opens: 1 h}")))
    p.do("record visit", text="came early")
    assert p.outcome("visit") == "done"
    assert [x.code for x in p.events(e.DeviationNoted)] == ["early"]
    assert p.item("early").kind == "review"


def test_punctuality_is_judged_by_when_it_happened_not_by_when_it_was_written() -> None:
    p = Patient(
        program(
            phase("check: {by: [nurse], record: vitals, every: [{interval: 4 h, when: always}]}")
        )
    )
    p.wait("4 h")
    p.wait("10 min")
    p.do("record check", systolic=120, occurred=p.now - timedelta(minutes=20))
    assert p.outcomes("check") == ["missed"]
    p.do("record check", systolic=120, occurred=p.now - timedelta(minutes=5))
    assert p.outcomes("check") == ["missed", "done"]


def test_a_late_reading_of_the_last_round_does_not_answer_this_one() -> None:
    p = Patient(
        program(
            phase("check: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}")
        )
    )
    p.wait("4 h")
    p.wait("10 min")
    p.do("record check", points=3, occurred=p.now - timedelta(minutes=20))
    assert p.item("check").id == "stay.1/check.2"
    assert len(p.events(e.ObservationRecorded)) == 1


@pytest.mark.parametrize(
    ("anchor", "due"),
    [
        ("opening", MONDAY + 5 * HOUR),
        ("entering", MONDAY + 3 * HOUR),
        ("ask done", MONDAY + 4 * HOUR),
        ("ask.last_use", MONDAY - 7 * HOUR),
        ("ask.born", datetime(1980, 5, 1, 3, 0, tzinfo=UTC)),
    ],
)
def test_a_window_counts_from_what_the_program_says(anchor: str, due: datetime) -> None:
    p = Patient(
        program(
            phase(
                f"""
ask: {{by: [nurse], record: history}}
wait: {{by: [nurse], record: note}}
visit: {{by: [nurse], record: note, after: [ask, wait], counted_from: {anchor}, due: 3 h}}
"""
            )
        )
    )
    p.wait("1 h")
    p.do("record ask", last_use="2026-03-01T23:00:00Z", born="1980-05-01")
    p.wait("1 h")
    p.do("record wait", text="x")
    assert p.item("visit").due == due


def test_a_window_counts_from_a_step_of_this_round_and_not_of_the_last_one() -> None:
    p = Patient(
        program(
            """
            start: day
            phases:
              day:
                admits: true
                repeat: {at_least: 2, at_most: 2}
                steps:
                  asked: {by: [nurse], record: note}
                  sent:
                    by: [nurse]
                    record: answer
                    counted_from: asked done
                    due: 2 h
                    source: practice
                next: [{to: well, when: always}]
            """
        )
    )
    p.do("record asked", text="x")
    p.do("record sent", word="one")

    p.wait("1 h")

    assert p.s.visits["day"].round == 2
    assert not p.is_open("sent")
    p.do("record asked", text="x")
    assert p.item("sent").due == p.now + 2 * HOUR


def test_a_window_that_counts_from_what_is_not_recorded_yet_waits_for_it() -> None:
    p = Patient(
        program(
            phase(
                """
ask: {by: [nurse], record: history}
visit: {by: [nurse], record: note, counted_from: ask.born, due: 3 h}
ring: {by: [nurse], record: note, counted_from: ask done, due: 3 h}
"""
            )
        )
    )
    assert not p.is_open("visit")
    assert not p.is_open("ring")
    p.do("record ask", last_use="2026-03-02T05:00:00Z")
    assert not p.is_open("visit")
    assert p.is_open("ring")


def test_a_step_of_a_program_day_opens_at_its_clock_time() -> None:
    p = Patient(
        program(phase('visit: {by: [nurse], record: note, on_day: 3, at: "08:30"}')),
        zone="America/Los_Angeles",
    )
    assert p.item("visit").opens == p.at("2026-03-04 08:30")


def test_a_step_of_a_clock_time_opens_then_on_the_day_of_its_phase() -> None:
    p = Patient(program(phase('visit: {by: [nurse], record: note, at: "14:00", due: 1 h}')))
    assert p.item("visit").opens == p.at("2026-03-02 14:00")
    assert p.item("visit").due == p.at("2026-03-02 15:00")


def test_the_day_of_admission_is_the_date_of_the_site() -> None:
    evening = datetime(2026, 3, 3, 1, 0, tzinfo=UTC)

    p = Patient(program(phase("visit: {by: [nurse]}")), zone="America/Los_Angeles", at=evening)

    assert p.s.admitted == date(2026, 3, 2)


def test_a_program_day_counts_from_admission_in_every_phase() -> None:
    p = Patient(
        program(
            """
start: stay
phases:
  stay:
    admits: true
    steps: {first: {by: [nurse], record: note}}
    next: [{to: later, when: always}]
  later:
    steps: {visit: {by: [nurse], record: note, on_day: 3, at: "08:30"}}
    next: [{to: well, when: always}]
"""
        )
    )
    p.wait("1 d")

    p.do("record first", text="x")

    assert p.item("visit").opens == p.at("2026-03-04 08:30")


def test_a_step_of_a_program_day_waits_for_admission() -> None:
    p = Patient(
        program(
            """
start: before
phases:
  before:
    steps:
      ready: {by: [nurse], record: note}
      visit: {by: [nurse], record: note, on_day: 2, optional: true}
    next: [{to: stay, when: always}]
  stay:
    admits: true
    steps:
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""
        )
    )
    assert not p.is_open("visit")


def test_a_clock_time_on_a_closed_day_moves_to_the_next_open_one() -> None:
    closed = (date(2026, 3, 4), date(2026, 3, 5))
    p = Patient(
        program(phase('visit: {by: [nurse], record: note, on_day: 3, at: "08:30"}')), closed=closed
    )
    assert p.item("visit").opens == p.at("2026-03-06 08:30")


# Recurrence (R9)

_FOUR = "check: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}"


def test_a_recurring_step_has_one_open_item_and_the_old_one_is_missed() -> None:
    p = Patient(program(phase(_FOUR)))
    p.wait("4 h")
    assert [i for i in p.open if "check" in i] == ["stay.1/check.2"]
    assert p.outcomes("check") == ["missed"]


def test_the_next_reading_counts_from_the_last_actual_one() -> None:
    p = Patient(program(phase(_FOUR)))
    p.wait("1 h")
    p.do("record check", points=3, occurred=p.now - timedelta(minutes=15))
    assert p.item("check").opens == MONDAY + timedelta(hours=4, minutes=45)


def test_two_days_of_down_time_write_every_lost_occurrence_once_and_call_once() -> None:
    p = Patient(
        program(
            phase(
                "check: {by: [nurse], record: score, every: [{interval: 4 h, when: always}], "
                "due: 1 h, "
                "when_late: {tell: [doctor], answer_within: 30 min}}"
            )
        )
    )
    p.wait("2 d")
    p.look()
    missed = [x for x in p.events(e.ItemSettled) if x.step == "check"]
    assert [x.outcome for x in missed] == ["missed"] * 12
    assert [x.at for x in missed] == [MONDAY + 4 * HOUR * n for n in range(1, 13)]
    assert len(p.events(e.AlertRaised)) == 1
    assert [i for i in p.open if i.startswith("alert")] == [p.item("late.check").id]


def test_lateness_calls_once_for_each_item_and_again_after_an_answer() -> None:
    p = Patient(
        program(
            phase(
                "check: {by: [nurse], record: score, every: [{interval: 4 h, when: always}], "
                "due: 1 h, "
                "when_late: {tell: [doctor], answer_within: 30 min}}"
            )
        )
    )
    p.wait("2 h")
    call = p.item("late.check")
    assert call.roles == ("doctor",)
    assert call.due == MONDAY + timedelta(minutes=90)
    p.do(f"done {call.id}", by="doctor")
    p.wait("1 h")
    assert len(p.events(e.AlertRaised)) == 1
    p.wait("3 h")
    assert len(p.events(e.AlertRaised)) == 2


def test_a_step_recurs_no_more_often_than_at_most() -> None:
    p = Patient(
        program(
            phase(
                "check: {by: [nurse], record: score, at_most: 3, every: [{interval: 4 h, "
                "when: always}]}"
            )
        )
    )
    p.wait("3 d")
    assert p.item("check").id == "stay.1/check.3"
    assert p.item("check").next is None
    p.do("record check", points=1)
    assert not p.is_open("check")
    p.wait("3 d")
    assert not p.is_open("check")


_SCORES = """
check:
  by: [nurse]
  record: score
  every:
    - {interval: 8 h, when: last 2 of score.points < 8 points}
    - {interval: 2 h, when: score.points < 11 points}
    - {interval: 1 h, when: always}
"""


def test_the_pace_follows_the_recent_scores() -> None:
    p = Patient(program(phase(_SCORES)))
    assert p.item("check").next == MONDAY + HOUR  # unknown rows are passed over
    p.do("record check", points=15)
    assert p.item("check").opens == MONDAY + HOUR
    p.wait("1 h")
    p.do("record check", points=7)
    assert p.item("check").opens == p.now + 2 * HOUR
    p.wait("2 h")
    p.do("record check", points=7)
    assert p.item("check").opens == p.now + 8 * HOUR
    assert p.item("check").next == p.now + 16 * HOUR


def test_steps_that_recur_never_keep_a_phase_open_and_are_left_when_it_ends() -> None:
    p = Patient(program(phase(_FOUR)))
    p.do("record farewell", text="bye")
    assert p.s.end == "well"
    assert p.outcomes("check") == ["left"]


_CLOCK = (
    'check: {by: [nurse], record: score, every: [{daily_at: ["06:00", "18:00"], when: always}]}'
)


def test_readings_at_clock_times_come_at_the_clock_times_of_the_site() -> None:
    p = Patient(program(phase(_CLOCK)), zone="America/Los_Angeles")  # 01:00 there
    assert p.item("check").opens == p.at("2026-03-02 06:00")
    assert p.item("check").next == p.at("2026-03-02 18:00")
    p.until("2026-03-02 18:00")
    assert p.item("check").opens == p.at("2026-03-02 18:00")
    p.wait("10 min")
    p.do("record check", points=1)
    assert p.item("check").opens == p.at("2026-03-03 06:00")


def test_a_clock_time_that_does_not_exist_runs_at_the_first_instant_after_the_gap() -> None:
    p = Patient(
        program(
            phase(
                'check: {by: [nurse], record: score, every: [{daily_at: ["02:30"], when: always}]}'
            )
        ),
        zone="America/Los_Angeles",
        at=datetime(2026, 3, 7, 20, 0, tzinfo=UTC),
    )
    assert p.item("check").opens == datetime(2026, 3, 8, 10, 0, tzinfo=UTC)  # 03:00 of the new time
    assert p.item("check").next == p.at("2026-03-09 02:30")


def test_a_clock_time_that_exists_twice_runs_once_at_the_first() -> None:
    p = Patient(
        program(
            phase(
                'check: {by: [nurse], record: score, every: [{daily_at: ["01:30"], when: always}]}'
            )
        ),
        zone="America/Los_Angeles",
        at=datetime(2026, 10, 31, 20, 0, tzinfo=UTC),
    )
    assert p.item("check").opens == datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    p.now = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)  # 01:30 for the second time
    assert p.item("check").id.endswith(".1")
    assert p.item("check").next == datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def test_clock_times_come_in_the_order_of_the_day_however_they_are_written() -> None:
    row = '{daily_at: ["20:00", "08:00"], when: always}'
    p = Patient(program(phase(f"check: {{by: [nurse], record: vitals, every: [{row}]}}")))

    assert p.item("check").opens == p.at("2026-03-02 20:00")
    p.until("2026-03-02 20:30")
    p.do("record check", systolic=120)
    assert p.item("check").opens == p.at("2026-03-03 08:00")
    p.until("2026-03-03 08:30")
    p.do("record check", systolic=120)
    assert p.item("check").opens == p.at("2026-03-03 20:00")


def test_a_round_that_a_person_calls_missed_is_followed_when_the_next_is_planned() -> None:
    every = "every: [{interval: 4 h, when: always}], may_be: [missed]"
    p = Patient(program(phase(f"check: {{by: [nurse], record: vitals, {every}}}")))
    p.wait("1 h")

    p.do("miss check", reason="asleep")

    assert p.item("check").opens == p.now + 4 * HOUR


def test_clock_times_are_not_read_on_closed_days() -> None:
    p = Patient(program(phase(_CLOCK)), closed=(date(2026, 3, 3), date(2026, 3, 4)))
    p.until("2026-03-02 18:00")
    p.wait("1 min")
    p.do("record check", points=1)
    assert p.item("check").opens == p.at("2026-03-05 06:00")


def test_lost_clock_times_are_each_missed_at_their_own_instant() -> None:
    p = Patient(program(phase(_CLOCK)), closed=(date(2026, 3, 3),))
    p.until("2026-03-04 19:00")
    p.look()
    missed = [x for x in p.events(e.ItemSettled) if x.step == "check"]
    assert [x.at for x in missed] == [p.at("2026-03-04 06:00"), p.at("2026-03-04 18:00")]
    assert p.item("check").opens == p.at("2026-03-04 18:00")


def test_a_refused_round_of_a_recurring_step_opens_again_in_time() -> None:
    p = Patient(
        program(
            phase(
                "check: {by: [nurse], record: score, may_be: [declined], "
                "every: [{interval: 4 h, when: always}]}"
            )
        )
    )
    p.wait("1 h")
    p.do("decline check", reason="asleep")
    assert p.item("check").opens == p.now + 4 * HOUR


def test_a_recurring_step_that_does_not_apply_never_opens() -> None:
    p = Patient(
        program(
            phase(
                """
asked: {by: [nurse], record: answer}
check: {by: [nurse], record: score, only_if: asked.word is one, every: [{interval: 4 h,
  when: always}]}
"""
            )
        )
    )
    p.do("record asked", word="two")
    p.wait("1 d")
    assert not p.is_open("check")
    assert p.outcomes("check") == ["skipped"]


# Alerts

_ALERT = """
check:
  by: [nurse]
  record: vitals
  every: [{interval: 4 h, when: always}]
  alerts: [{when: check.systolic >= 180 mmHg, says: High, tell: [doctor], answer_within: 15 min}]
"""


def test_a_dangerous_reading_calls_somebody_by_an_instant() -> None:
    p = Patient(program(phase(_ALERT)))
    p.do("record check", systolic=190)
    call = p.item("check.alert.1")
    assert (call.kind, call.roles, call.due) == (
        "alert",
        ("doctor",),
        MONDAY + timedelta(minutes=15),
    )
    assert p.codes("done check.alert.1") == ["wrong-role"]
    assert p.codes(f"done {call.id}") == ["wrong-role"]
    p.do(f"done {call.id}", by="doctor")
    assert not p.is_open("check.alert.1")


def test_an_alert_that_nobody_has_answered_is_not_raised_twice() -> None:
    p = Patient(program(phase(_ALERT)))
    p.do("record check", systolic=190)
    p.do("record check", systolic=195)
    assert len(p.events(e.AlertRaised)) == 1
    p.do(f"done {p.item('check.alert.1').id}", by="doctor")
    p.do("record check", systolic=195)
    assert len(p.events(e.AlertRaised)) == 2


def test_a_call_is_answered_and_nothing_else() -> None:
    p = Patient(program(phase(_ALERT)))
    p.do("record check", systolic=190)
    call = p.item("check.alert.1").id
    assert p.codes(f"decline {call}", by="doctor", reason="x") == ["outcome-not-allowed"]
    assert p.codes(f"record {call}", by="doctor") == ["unknown-step"]


def test_a_reading_within_limits_calls_nobody() -> None:
    p = Patient(program(phase(_ALERT)))
    p.do("record check", systolic=120)
    assert not p.events(e.AlertRaised)
