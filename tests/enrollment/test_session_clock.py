"""The session clock: paces of the watch, looking again, what goes on, and bookings that fail."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from bedside import MONDAY, Patient, program

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.booking import next_slot
from kat_workflow.enrollment.state import Session
from kat_workflow.enrollment.watching import planned_after
from kat_workflow.program.clock import Duration, Site
from kat_workflow.program.model import Watch

MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE


def clinic(*lines: str, watch: str = "", form: str = "watched", dose: str = "") -> str:
    """A program of drips, every 10 minutes looked at while they run and every 15 after."""
    pace = watch or "at: [0 min], during_every: 10 min, then_every: 15 min"
    given = dose or "amount: 500 mg, rate: {from: 100 mg/h, to: 200 mg/h}"
    more = "".join(f"\n    {line}" for line in lines)
    release = (
        ""
        if any(line.startswith("release") for line in lines)
        else ("\n    release: {earliest: 30 min, signed_by: [nurse]}")
    )
    return f"""
start: stay
decided_by: [doctor]
hold_by: [doctor]
limits:
  raised: {{is: 140 mmHg, source: practice}}
  high: {{is: 180 mmHg, source: practice}}
forms:
  watched:
    title: Watch
    fields:
      systolic: {{type: integer, unit: mmHg, from: 50, to: 300}}
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {{type: integer, unit: mmHg, from: 50, to: 300}}
gates:
  agreed: {{says: Consent is in force, when: consent drug in force}}
phases:
  stay:
    admits: true
    steps:
      agreement: {{by: [doctor], obtain: drug}}
      drips: {{by: [nurse], session: drip, may_be: [declined]}}
      needles: {{by: [nurse], session: needle, may_be: [declined]}}
    next: [{{to: well, when: always}}]
sessions:
  drip:
    by: [nurse]
    source: practice
    ready: [agreed]
    dose: {{drug: NAD+, route: intravenous, {given}}}
    watch: {{by: [nurse], record: {form}, {pace}}}{more}{release}
  needle:
    by: [nurse]
    source: practice
    dose: {{drug: B12, route: intramuscular, amount: 1 mg}}
    watch: {{by: [nurse], record: watched, at: [0 min, 15 min, 40 min], then_every: 30 min}}
    release: {{earliest: 30 min, signed_by: [nurse]}}
"""


def patient(text: str, at: datetime = MONDAY, zone: str = "UTC") -> Patient:
    p = Patient(program(text), at=at, zone=zone)
    p.do("done agreement", by="doctor")
    return p


def under_way(*lines: str, at: datetime = MONDAY, zone: str = "UTC", **how: str) -> Patient:
    """A patient whose drip has begun just now."""
    p = patient(clinic(*lines, **how), at, zone)
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    return p


def watch(p: Patient, systolic: int = 120, kind: str = "drip", by: str = "nurse") -> None:
    p.do(f"record {kind}.watch", by=by, systolic=systolic)


def minutes(p: Patient, since: datetime, kind: str = "drip") -> float:
    """For when the open reading of the watch is planned, in minutes."""
    return (p.item(f"{kind}.watch").opens - since) / MINUTE


# Paces


def test_the_watch_has_one_pace_while_the_dose_runs_and_another_after_it() -> None:
    p = under_way()
    begun, planned = p.now, []

    for _ in range(3):
        planned.append(minutes(p, begun))
        watch(p)
        p.now = p.item("drip.watch").opens
    p.wait("2 min")
    p.do("end dosing drip", amount="80 mg")
    for _ in range(4):
        planned.append(minutes(p, begun))
        p.now = max(p.now, p.item("drip.watch").opens)
        watch(p)

    assert planned == [0, 10, 20, 30, 40, 55, 70]


def test_a_reading_that_was_planned_is_not_put_off_by_the_end_of_the_dose() -> None:
    p = under_way()
    begun = p.now
    watch(p)
    assert (p.item("drip.watch").next or begun) - begun == 20 * MINUTE

    p.wait("4 min")
    p.do("end dosing drip", amount="20 mg")

    assert minutes(p, begun) == 10
    assert (p.item("drip.watch").next or begun) - begun == 25 * MINUTE


def test_an_abort_ends_the_pace_of_the_dose_too() -> None:
    p = under_way()
    begun = p.now
    watch(p)
    p.wait("12 min")

    p.do("abort drip", reason="asks to stop")
    watch(p)

    assert minutes(p, begun) == 20
    p.now = begun + 20 * MINUTE
    watch(p)
    assert minutes(p, begun) == 35


def test_the_watch_of_each_route_is_planned_by_its_own_kind_of_session() -> None:
    p = patient(clinic())
    p.do("start needle")
    p.do("dose needle", amount="1 mg")
    begun, planned = p.now, []

    for _ in range(5):
        planned.append(minutes(p, begun, "needle"))
        p.now = p.item("needle.watch").opens
        watch(p, kind="needle")

    assert planned == [0, 15, 40, 70, 100]


def test_a_late_reading_shifts_none_of_those_that_follow() -> None:
    p = under_way()
    begun = p.now
    watch(p)
    p.wait("17 min")

    watch(p)

    assert minutes(p, begun) == 20


def span(amount: int) -> Duration:
    return Duration(amount, "min")


@pytest.mark.parametrize(
    ("at", "during", "ended", "after", "expected"),
    [
        ([0, 15], None, None, None, 0),
        ([5], None, None, None, 5),
        ([], 10, None, None, 10),
        ([], None, None, None, 15),
        ([0, 15], None, None, 0, 15),
        ([0, 15], None, None, 15, 30),
        ([0, 15], None, None, 44, 45),
        ([0], 10, None, 35, 40),
        ([0], 10, 35, 35, 40),
        ([0], 10, 35, 40, 55),
        ([0], 10, 40, 40, 55),
        ([0], 10, 40, 30, 40),
        ([0, 60], 10, 35, 0, 60),
        ([0, 60], 10, 35, 60, 75),
        ([0], 10, 35, 100, 115),
    ],
)
def test_every_reading_has_its_minute(
    at: list[int], during: int | None, ended: int | None, after: int | None, expected: int
) -> None:
    pace = None if during is None else span(during)
    its = Watch("x", tuple(map(span, at)), span(15), span(5), pace)

    found = planned_after(
        its,
        MONDAY,
        None if ended is None else MONDAY + ended * MINUTE,
        None if after is None else MONDAY + after * MINUTE,
    )

    assert found == MONDAY + expected * MINUTE


@pytest.mark.parametrize(
    "change",
    [datetime(2026, 3, 29, 0, 40, tzinfo=UTC), datetime(2026, 10, 25, 0, 40, tzinfo=UTC)],
)
def test_quarters_of_an_hour_are_quarters_of_an_hour_also_when_the_clocks_change(
    change: datetime,
) -> None:
    p = under_way(at=change, zone="Europe/Vienna", watch="at: [0 min], then_every: 15 min")
    taken = []

    for _ in range(8):
        p.now = p.item("drip.watch").opens
        taken.append(p.now)
        watch(p)

    assert [b - a for a, b in pairwise(taken)] == [15 * MINUTE] * 7


def test_a_record_that_does_not_know_its_plan_goes_on_from_the_last_reading() -> None:
    """A state row of the first version did not keep for when a reading was planned."""
    p = under_way()
    begun = p.now
    watch(p)
    p.wait("11 min")
    act = p.item("drip.watch")
    session = p.s.sessions["drip.1"]
    known = (getattr(session, name) for name in Session.__struct_fields__[:-2])
    p.s.sessions = {"drip.1": Session(*known)}

    watch(p)

    assert act.opens == begun + 10 * MINUTE
    assert minutes(p, begun) == 20


# Early


def test_a_reading_a_little_before_its_time_is_that_reading() -> None:
    p = under_way(watch="at: [0 min], then_every: 15 min, early_by: 2 min")
    begun = p.now
    watch(p)
    p.wait("13 min")

    watch(p)

    assert not p.events(e.DeviationNoted)
    assert minutes(p, begun) == 30


def test_a_reading_long_before_its_time_is_looked_at() -> None:
    p = under_way(watch="at: [0 min], then_every: 15 min, early_by: 2 min")
    watch(p)
    p.wait("12 min")

    watch(p)

    assert [x.code for x in p.events(e.DeviationNoted)] == ["early"]


# Looking again


RAISED = "alerts: [{when: watch.systolic > raised, says: Raised, recheck: 5 min}]"


def test_a_raised_reading_is_taken_again_sooner_and_then_as_planned() -> None:
    p = under_way(RAISED, watch="at: [0 min], then_every: 30 min")
    begun = p.now

    watch(p, 150)
    assert minutes(p, begun) == 5
    p.wait("5 min")
    watch(p, 130)

    assert minutes(p, begun) == 30
    asked = p.events(e.ReadingAsked)
    assert [(x.because, x.due - begun) for x in asked] == [("drip.alert.1", 5 * MINUTE)]
    assert not p.events(e.AlertRaised)


def test_a_reading_that_stays_raised_is_taken_again_and_again() -> None:
    p = under_way(RAISED, watch="at: [0 min], then_every: 30 min")
    begun, planned = p.now, []

    for _ in range(4):
        watch(p, 150)
        planned.append(minutes(p, begun))
        p.now = p.item("drip.watch").opens

    assert planned == [5, 10, 15, 20]


def test_a_planned_reading_that_comes_sooner_is_not_put_off() -> None:
    p = under_way(RAISED, watch="at: [0 min, 3 min], then_every: 30 min")
    begun = p.now

    watch(p, 150)

    assert minutes(p, begun) == 3


def test_what_is_found_between_two_readings_brings_the_open_one_forward() -> None:
    p = under_way(RAISED, watch="at: [0 min], then_every: 30 min", form="vitals")
    begun = p.now
    watch(p)
    p.wait("10 min")

    watch(p, 150)

    assert minutes(p, begun) == 15
    assert p.item("drip.watch").due == begun + 25 * MINUTE
    assert p.events(e.ItemReplanned)[-1].because == "a reading asks for it"
    p.wait("5 min")
    watch(p, 150)
    p.wait("2 min")
    watch(p, 150)
    assert minutes(p, begun) == 20  # of two rows that ask, the sooner one


@pytest.mark.parametrize(("answered", "then"), [(3, 6), (6, 32), (7, 32)])
def test_a_reading_taken_since_is_not_asked_for_again(answered: int, then: int) -> None:
    p = under_way(RAISED, watch="at: [2 min], then_every: 30 min", form="vitals")
    begun = p.now
    p.wait("1 min")
    watch(p, 150)  # unscheduled: the first is planned for the second minute
    assert minutes(p, begun) == 2
    p.now = begun + answered * MINUTE

    watch(p)

    assert minutes(p, begun) == then


@pytest.mark.parametrize(("first", "second", "asked"), [(5, 10, [5]), (10, 5, [10, 5])])
def test_of_two_rows_that_ask_the_sooner_one_is_followed(
    first: int, second: int, asked: list[int]
) -> None:
    p = under_way(
        f"alerts: [{{when: watch.systolic > raised, recheck: {first} min}}, "
        f"{{when: watch.systolic > high, recheck: {second} min}}]",
        watch="at: [0 min], then_every: 30 min",
    )
    begun = p.now

    watch(p, 200)

    assert minutes(p, begun) == 5
    assert [(x.due - begun) / MINUTE for x in p.events(e.ReadingAsked)] == asked


@pytest.mark.parametrize("ended", [False, True])
def test_the_end_of_the_dose_does_not_forget_that_somebody_must_look_again(ended: bool) -> None:
    p = under_way(
        RAISED, watch="at: [0 min], during_every: 20 min, then_every: 30 min", form="vitals"
    )
    begun = p.now
    watch(p)
    p.wait("17 min")
    watch(p, 150)  # between two readings: again at 22, and as planned at 20
    p.wait("1 min")
    if ended:
        p.do("end dosing drip", amount="20 mg")
    p.now = begun + 20 * MINUTE

    watch(p, 130)

    assert minutes(p, begun) == 22


def test_a_reading_that_is_corrected_long_after_asks_for_nothing_that_was_done_since() -> None:
    p = under_way(RAISED)
    begun = p.now
    watch(p)
    first = p.events(e.ObservationRecorded)[-1].observation
    p.wait("10 min")
    watch(p)
    p.wait("2 min")

    p.do(f"correct {first}", systolic=150, reason="typed wrong")

    assert minutes(p, begun) == 20
    assert not p.events(e.ReadingAsked)


def test_a_reading_that_is_corrected_at_once_is_taken_again_sooner() -> None:
    p = under_way(RAISED)
    begun = p.now
    watch(p)
    first = p.events(e.ObservationRecorded)[-1].observation
    p.wait("2 min")

    p.do(f"correct {first}", systolic=150, reason="typed wrong")

    assert minutes(p, begun) == 5


def test_a_missed_second_look_calls_somebody() -> None:
    p = under_way(
        RAISED,
        watch="at: [0 min], then_every: 30 min, late_after: 2 min, "
        "when_late: {tell: [doctor], answer_within: 5 min}",
    )
    watch(p, 150)

    p.wait("7 min")

    assert p.is_open("late.drip.watch")


def test_a_row_may_look_again_and_act_at_once() -> None:
    p = under_way(
        "pause_when: [{when: watch.systolic > high, says: Dangerous, recheck: 5 min, "
        "tell: [doctor], answer_within: 5 min}]",
        watch="at: [0 min], then_every: 30 min",
    )
    begun = p.now

    watch(p, 200)

    assert p.session("drip.1").dosing == "paused"
    assert minutes(p, begun) == 5
    assert p.is_open("drip.pause.1")


def test_a_reading_before_the_first_drug_asks_for_no_second_look() -> None:
    p = patient(clinic(RAISED, form="vitals"))
    p.do("start drip")

    p.do("record drip.watch", systolic=150)

    assert not p.events(e.ReadingAsked)


def test_a_row_that_stops_a_session_before_its_first_drug_looks_at_nothing_again() -> None:
    p = patient(
        clinic(
            "stop_when: [{when: watch.systolic > high, says: No, recheck: 5 min}]",
            "alerts: [{when: watch.systolic > raised, recheck: 5 min}]",
            form="vitals",
        )
    )
    p.do("start drip")

    p.do("record drip.watch", systolic=200)

    assert not p.look().sessions
    assert not p.events(e.ReadingAsked)


def test_a_row_that_pauses_still_calls_while_nothing_is_given() -> None:
    p = under_way(
        "pause_when: [{when: watch.systolic > high, says: High, tell: [doctor], "
        "answer_within: 5 min}]"
    )
    watch(p, 200)
    p.do("done drip.pause.1", by="doctor")
    p.wait("10 min")
    watch(p, 200)
    assert p.is_open("drip.pause.1")
    assert len(p.events(e.DosingPaused)) == 1
    p.do("done drip.pause.1", by="doctor")
    p.do("end dosing drip", amount="20 mg")
    p.wait("10 min")

    watch(p, 200)

    assert p.is_open("drip.pause.1")


# What nothing stops


def test_the_watch_goes_on_over_a_change_of_shift() -> None:
    p = under_way()
    begun = p.now
    watch(p, by="ann:nurse")
    p.wait("10 min")

    watch(p, by="bea:nurse")

    assert minutes(p, begun) == 20
    settled = [x for x in p.events(e.ItemSettled) if x.step == "drip.watch"]
    assert [x.person for x in settled] == ["ann", "bea"]


@pytest.mark.parametrize("what", ["abort", "hold", "revoke"])
def test_the_watch_goes_on_whatever_ends_the_dose(what: str) -> None:
    p = under_way()
    begun = p.now
    watch(p)
    p.wait("3 min")

    if what == "abort":
        p.do("abort drip", reason="asks to stop")
    elif what == "hold":
        p.do("hold", by="doctor", reason="fever")
    else:
        p.do("revoke drug", by="doctor", reason="has changed their mind")
    p.wait("7 min")
    watch(p)

    pace = 10 if what == "hold" else 15  # a hold does not end the dose: it may go on
    assert minutes(p, begun) == 10 + pace
    assert p.session("drip.1").under_way


def test_an_abort_after_the_end_of_the_dose_leaves_that_end_and_its_pace() -> None:
    p = under_way()
    begun = p.now
    watch(p)
    p.wait("10 min")
    watch(p)
    p.do("end dosing drip", amount="25 mg")
    p.wait("12 min")

    p.do("abort drip", reason="unwell")

    assert p.session("drip.1").ended == begun + 10 * MINUTE


def test_a_consent_that_is_withdrawn_after_the_dose_aborts_nothing() -> None:
    p = under_way()
    p.do("end dosing drip", amount="100 mg")

    p.do("revoke drug", reason="had enough")

    assert p.session("drip.1").state == "recovering"
    assert p.is_open("drip.watch")
    assert p.events(e.SessionAborted) == []


def test_a_missing_reading_is_late_then_missed_and_never_normal() -> None:
    p = under_way(
        "release: {earliest: 0 min, when: last 2 of watch.systolic < raised, signed_by: [nurse]}",
        watch="at: [0 min], then_every: 15 min, late_after: 5 min, "
        "when_late: {tell: [doctor], answer_within: 5 min}",
    )
    watch(p)
    p.do("end dosing drip", amount="100 mg")

    p.wait("20 min")
    assert p.is_open("late.drip.watch")
    p.wait("15 min")

    assert p.outcomes("drip.watch") == ["done", "missed"]
    assert p.codes("release drip") == ["not-ready-to-leave"]


def test_a_reading_that_is_missed_before_it_would_be_late_calls_all_the_same() -> None:
    p = under_way(
        watch="at: [0 min], then_every: 15 min, late_after: 20 min, "
        "when_late: {tell: [doctor], answer_within: 5 min}"
    )

    p.wait("15 min")

    assert p.outcomes("drip.watch") == ["missed"]
    assert p.is_open("late.drip.watch")


def test_of_what_comes_at_one_instant_the_watch_is_first() -> None:
    ask = "ask: {by: [nurse], record: vitals, closes: 30 min, may_be: [missed], source: practice}"
    text = clinic(watch="at: [0 min], then_every: 30 min")
    p = patient(text.replace("      needles:", f"      {ask}\n      needles:"))
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")

    p.wait("30 min")

    settled = [x.item.rpartition("/")[2] for x in p.events(e.ItemSettled)]
    assert settled[-2:] == ["drip.watch.1", "ask.1"]


def test_a_reading_that_ends_the_dose_calls_for_that_alone() -> None:
    """What would only have paused it says nothing more."""
    p = under_way(
        "pause_when: [{when: watch.systolic > raised, says: Raised, tell: [doctor], "
        "answer_within: 5 min}]",
        "stop_when: [{when: watch.systolic > high, says: High, tell: [doctor], "
        "answer_within: 5 min}]",
    )

    watch(p, 190)

    assert [x.alert for x in p.events(e.AlertRaised)] == ["drip.stop.1"]


# Two sessions at once


def test_what_was_given_while_another_session_was_under_way_is_kept_and_both_are_watched() -> None:
    p = under_way()
    p.wait("3 min")

    p.do("dose needle", amount="1 mg")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["dose-without-start", "second-session"]
    assert {x.kind for x in p.s.sessions.values() if x.under_way} == {"drip", "needle"}
    assert p.is_open("drip.watch")
    assert p.is_open("needle.watch")
    watch(p, kind="needle")
    p.do("dose needle", amount="1 mg")
    assert len([x for x in p.events(e.DeviationNoted) if x.code == "second-session"]) == 1
    p.do("end dosing drip", amount="10 mg")
    p.wait("40 min")
    p.do("release needle")
    p.do("release drip")
    assert not p.s.sessions


def test_neither_of_two_sessions_under_way_is_cut_by_a_timer() -> None:
    text = clinic().replace(
        "session: needle, may_be: [declined]",
        "session: needle, closes: 10 min, source: practice, may_be: [declined, missed]",
    )
    text = text.replace(
        "session: drip, may_be: [declined]",
        "session: drip, closes: 10 min, source: practice, may_be: [declined, missed]",
    )
    p = patient(text)
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("dose needle", amount="1 mg")

    p.wait("20 min")

    assert {x.kind for x in p.look().sessions.values() if x.under_way} == {"drip", "needle"}


def test_a_step_does_not_close_under_its_session_whatever_else_comes_at_that_instant() -> None:
    rounds = "{by: [nurse], record: vitals, every: [{interval: 7 min, when: always}]"
    text = clinic().replace("session: drip,", "session: drip, closes: 7 min, source: practice,")
    text = text.replace("may_be: [declined]", "may_be: [declined, missed]")
    p = patient(
        text.replace(
            "      needles:", f"      rounds: {rounds}, source: practice}}\n      needles:"
        )
    )
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")

    p.wait("7 min")

    assert p.outcomes("rounds") == ["missed"]
    assert p.session("drip.1").under_way
    assert p.is_open("drips")


def test_a_second_session_is_still_not_started_on_purpose() -> None:
    p = under_way()

    assert p.codes("start needle") == ["session-under-way"]


# Bookings


@pytest.mark.parametrize(
    ("cause", "ahead", "short"),
    [
        ("patient", 30, False),
        ("patient", 24, False),
        ("patient", 23, True),
        ("clinic", 2, True),
        ("unfit", 0, True),
    ],
)
def test_who_cancels_and_how_shortly_before_stands_in_the_record(
    cause: str, ahead: int, short: bool
) -> None:
    p = patient(clinic("short_notice: 24 h"))
    p.do("book drip", given={"for": p.now + 48 * HOUR})
    p.wait((48 - ahead) * HOUR)

    p.do("cancel drip", reason="has a fever", cause=cause)

    cancelled = p.events(e.SessionCancelled)[-1]
    assert (cancelled.cause, cancelled.short, cancelled.reason) == (cause, short, "has a fever")
    assert p.is_open("drips")


def test_without_a_booked_time_nothing_is_cancelled_at_short_notice() -> None:
    p = patient(clinic("short_notice: 24 h"))
    p.do("arrive drip")

    p.do("cancel drip", reason="has eaten", cause="unfit")

    assert not p.events(e.SessionCancelled)[-1].short


def no_show(p: Patient) -> None:
    p.do("book drip", given={"for": p.now + HOUR})
    p.wait("2 h")
    p.look()


def test_after_some_no_shows_somebody_must_look_and_nobody_is_discharged() -> None:
    p = patient(clinic("no_show_after: 30 min", "no_shows: 2"))

    no_show(p)
    assert not p.is_open("no-shows.drip")
    no_show(p)

    review = p.item("no-shows.drip")
    assert (review.kind, review.roles) == ("review", ("doctor",))
    assert p.s.standing == "active"
    assert [(x.cause, x.short) for x in p.events(e.SessionCancelled)] == [("no-show", False)] * 2
    p.do(f"done {review.id}", by="doctor", reason="called at home")
    no_show(p)
    assert not p.is_open("no-shows.drip")
    no_show(p)
    assert p.is_open("no-shows.drip")


def test_a_no_show_may_be_reported_before_its_grace_is_over() -> None:
    p = patient(clinic("no_show_after: 30 min", "no_shows: 1"))
    p.do("book drip", given={"for": p.now + HOUR})

    p.do("cancel drip", reason="does not answer the phone", cause="no-show")

    assert p.is_open("no-shows.drip")
    assert p.s.tallies["drip"].no_shows == 1


def test_nobody_is_a_no_show_under_a_hold_whatever_else_comes_at_that_instant() -> None:
    every = "every: [{interval: 30 min, when: always}], on_hold: runs, source: practice"
    rounds = f"      rounds: {{by: [nurse], record: vitals, {every}}}\n"
    p = patient(
        clinic("no_show_after: 30 min").replace("      needles:", rounds + "      needles:")
    )
    p.do("book drip", given={"for": p.now + HOUR})

    p.do("hold", reason="fire alarm", by="doctor")
    p.wait("3 h")

    assert p.outcomes("rounds") == ["missed"] * 6
    assert p.session("drip.1").state == "booked"


def test_whoever_does_not_come_has_not_cancelled_at_short_notice() -> None:
    p = patient(clinic("short_notice: 24 h", "no_show_after: 30 min"))
    p.do("book drip", given={"for": p.now + HOUR})

    p.wait("2 h")

    cancelled = p.events(e.SessionCancelled)[-1]
    assert (cancelled.cause, cancelled.short) == ("no-show", False)


def test_a_session_may_be_booked_for_now_and_not_for_before() -> None:
    p = patient(clinic())

    assert p.codes("book drip", given={"for": p.now - MINUTE}) == ["past"]
    p.do("book drip", given={"for": p.now})


def test_whoever_is_being_treated_is_no_no_show_though_nobody_wrote_the_arrival_down() -> None:
    p = patient(clinic("no_show_after: 30 min"))
    p.do("book drip", given={"for": p.now + HOUR})
    p.wait("1 h")

    p.do("start drip")
    p.wait("31 min")

    assert p.session("drip.1").state == "under_way"


# The next slot


def slot(p: Patient, site: Site | None = None) -> tuple[datetime, datetime, datetime | None] | None:
    found = next_slot(p.program, p.look(), site or p.around.site, "drip", p.now)
    return None if found is None else (found.earliest, found.proposed, found.latest)


def held(p: Patient) -> None:
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("end dosing drip", amount="100 mg")
    p.wait("30 min")
    p.do("release drip")


SPACED = "apart: 7 d", "plan_within: 21 d", "counts_when: given > 400 mg"


def test_before_the_first_session_the_next_may_be_now() -> None:
    p = patient(clinic(*SPACED))

    assert slot(p) == (p.now, p.now, None)


def test_the_next_session_is_proposed_at_the_same_clock_time_within_its_distances() -> None:
    p = patient(clinic(*SPACED))
    begun = p.now

    held(p)

    day = timedelta(days=1)
    assert slot(p) == (begun + 7 * day, begun + 7 * day, begun + 21 * day)
    p.wait(9 * day)
    assert slot(p) == (p.now, begun + 10 * day, begun + 21 * day)
    found = next_slot(p.program, p.look(), p.around.site, "drip", begun + 30 * day)
    assert found is not None
    assert found.beyond


def test_no_session_is_proposed_on_a_closed_day() -> None:
    p = patient(clinic(*SPACED))
    held(p)
    closed = Site("main", "UTC", (date(2026, 3, 9), date(2026, 3, 10)))

    found = slot(p, closed)

    assert found is not None
    assert found[0] == datetime(2026, 3, 11, tzinfo=UTC)
    assert found[1] == datetime(2026, 3, 11, 9, tzinfo=UTC)
    p.until("2026-03-09 12:00")
    only = Site("main", "UTC", (date(2026, 3, 10),))
    later = slot(p, only)
    assert later is not None
    assert later[1] == datetime(2026, 3, 11, 9, tzinfo=UTC)


def test_where_closed_days_lead_beyond_what_is_planned_the_proposal_says_so() -> None:
    p = patient(clinic("apart: 7 d", "plan_within: 8 d", "counts_when: given > 400 mg"))
    held(p)
    weekend = Site("main", "UTC", (date(2026, 3, 9), date(2026, 3, 10)))

    near = next_slot(p.program, p.look(), p.around.site, "drip", p.now)
    far = next_slot(p.program, p.look(), weekend, "drip", p.now)

    assert near is not None
    assert not near.beyond
    assert far is not None
    assert far.beyond


def test_a_day_whose_session_is_used_up_proposes_the_next_and_a_course_none() -> None:
    p = patient(clinic("at_most: {times: 1, per: program day}", "counts_when: given > 400 mg"))
    held(p)
    assert slot(p) == (
        datetime(2026, 3, 3, tzinfo=UTC),
        datetime(2026, 3, 3, 9, tzinfo=UTC),
        None,
    )
    p.wait("1 d")
    assert slot(p) == (p.now, datetime(2026, 3, 4, 9, tzinfo=UTC), None)
    q = patient(clinic("at_most: {times: 1, per: enrollment}", "counts_when: given > 400 mg"))
    assert slot(q) is not None
    held(q)

    assert slot(q) is None


def test_an_attempt_in_which_nothing_was_given_uses_nothing_up() -> None:
    p = patient(clinic("at_most: {times: 1, per: enrollment}", "counts_when: given > 400 mg"))

    p.do("start drip")
    p.do("cancel drip", reason="no vein")

    assert slot(p) is not None


def test_a_gap_that_is_too_long_is_decided_by_a_gate_and_whoever_may_override_it() -> None:
    text = clinic("counts_when: given > 400 mg").replace("ready: [agreed]", "ready: [near_enough]")
    text = text.replace(
        "gates:\n",
        "gates:\n  near_enough:\n    says: The last session was not too long ago\n"
        "    when: count of drip started = 0 or time since drip given <= 21 d\n"
        "    override: {by: [doctor], lasts: 24 h}\n",
    )
    p = patient(text)
    held(p)
    p.wait("22 d")

    assert p.codes("start drip") == ["gate-closed"]
    p.do("override near_enough", by="doctor", reason="evaluated anew")
    p.do("start drip")
