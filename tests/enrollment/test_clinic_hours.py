"""The clock of a site: quiet hours, what is a little early, and days on which nobody is there."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from bedside import MONDAY, Patient, program

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around
from kat_workflow.program.clock import Site

HOUR = timedelta(hours=1)
NIGHT = (time(22), time(7))


def stay(
    steps: str, *, at: datetime = MONDAY, zone: str = "UTC", closed: tuple[date, ...] = ()
) -> Patient:
    """A patient of a house that is quiet from 22 to 7 o'clock."""
    body = "".join(f"\n      {line}" for line in steps.strip().splitlines())
    text = f"""
start: stay
hold_by: [doctor]
phases:
  stay:
    admits: true
    steps:{body}
      farewell: {{by: [doctor]}}
    next: [{{to: well, when: always}}]
"""
    p = Patient(program(text), at=at, zone=zone, closed=closed)
    p.around = Around(Site("main", zone, closed, NIGHT))
    return p


def opened(p: Patient, step: str) -> list[datetime]:
    return [x.opens for x in p.events(e.ItemOpened) if x.step == step]


# Quiet hours


def test_what_can_wait_does_not_open_in_the_quiet_hours_and_its_window_moves_along() -> None:
    p = stay(
        "talk: {by: [nurse]}\n"
        "letter: {by: [nurse], after: [talk], quiet: waits, opens: 1 h, due: 3 h, closes: 5 h, "
        "may_be: [missed], source: practice}\n"
        "pill: {by: [nurse], after: [talk], opens: 1 h, due: 3 h, source: practice}"
    )
    p.until("2026-03-02 23:00")

    p.do("done talk")

    letter, pill = p.item("letter"), p.item("pill")
    assert letter.opens == p.at("2026-03-03 07:00")
    assert letter.due == p.at("2026-03-03 09:00")
    assert letter.closes == p.at("2026-03-03 11:00")
    assert pill.opens == p.at("2026-03-03 00:00")


def test_what_opens_by_day_is_not_touched_by_the_night() -> None:
    p = stay("letter: {by: [nurse], quiet: waits, due: 3 h, source: practice}")

    assert p.item("letter").opens == p.now


def test_rounds_that_can_wait_sleep_through_the_night() -> None:
    p = stay(
        "walk: {by: [nurse], quiet: waits, every: [{interval: 5 h, when: always}], "
        "source: practice}"
    )

    p.until("2026-03-03 13:00")
    p.look()

    assert opened(p, "walk") == [
        p.at("2026-03-02 09:00"),
        p.at("2026-03-02 14:00"),
        p.at("2026-03-02 19:00"),
        p.at("2026-03-03 07:00"),
        p.at("2026-03-03 12:00"),
    ]


def test_clock_times_of_the_night_are_one_in_the_morning() -> None:
    p = stay(
        "walk: {by: [nurse], quiet: waits, source: practice, "
        'every: [{daily_at: ["05:00", "06:00", "20:00"], when: always}]}'
    )

    p.until("2026-03-04 06:30")
    p.look()

    assert opened(p, "walk")[:4] == [
        p.at("2026-03-02 20:00"),
        p.at("2026-03-03 07:00"),
        p.at("2026-03-03 20:00"),
        p.at("2026-03-04 07:00"),
    ]


def test_after_a_hold_the_night_is_quiet_too() -> None:
    p = stay("letter: {by: [nurse], quiet: waits, opens: 10 h, due: 12 h, source: practice}")
    assert p.item("letter").opens == p.at("2026-03-02 19:00")
    p.do("hold", by="doctor", reason="fever")
    p.wait("6 h")

    p.do("lift", by="doctor")

    assert p.item("letter").opens == p.at("2026-03-03 07:00")
    assert p.item("letter").due == p.at("2026-03-03 09:00")


@pytest.mark.parametrize(
    ("night", "morning"), [("2026-03-28 23:00", "2026-03-29"), ("2026-10-24 23:00", "2026-10-25")]
)
def test_the_quiet_hours_end_by_the_clock_of_the_site_also_when_it_changes(
    night: str, morning: str
) -> None:
    begun = datetime.fromisoformat(night).replace(hour=8, tzinfo=UTC)
    p = stay(
        "talk: {by: [nurse]}\nletter: {by: [nurse], after: [talk], quiet: waits}",
        at=begun,
        zone="Europe/Vienna",
    )
    p.until(night)

    p.do("done talk")

    assert p.item("letter").opens == p.at(f"{morning} 07:00")


# Rounds of the clock over a change of it, closed days


@pytest.mark.parametrize(
    ("first", "hours"),
    [(datetime(2026, 3, 28, 7, tzinfo=UTC), 23), (datetime(2026, 10, 24, 6, tzinfo=UTC), 25)],
)
def test_nine_in_the_morning_stays_nine_in_the_morning(first: datetime, hours: int) -> None:
    p = stay(
        'walk: {by: [nurse], source: practice, every: [{daily_at: ["09:00"], when: always}]}',
        at=first,
        zone="Europe/Vienna",
    )

    p.wait("2 d")
    p.look()

    one, two = opened(p, "walk")[:2]
    assert two - one == hours * HOUR
    assert {x.astimezone(p.zone).time() for x in (one, two)} == {time(9)}


def test_rounds_of_the_clock_leave_out_holidays_and_program_days_count_them() -> None:
    p = stay(
        'walk: {by: [nurse], source: practice, every: [{daily_at: ["09:30"], when: always}]}\n'
        "third: {by: [nurse], on_day: 3, source: practice}",
        closed=(date(2026, 3, 3), date(2026, 3, 4)),
    )

    p.until("2026-03-05 12:00")
    p.look()

    assert [x.date().day for x in opened(p, "walk")] == [2, 5]
    assert opened(p, "third") == [p.at("2026-03-04 00:00")]


# A little early, late, missed


def test_what_is_done_a_little_early_is_in_time() -> None:
    p = stay(
        "letter: {by: [nurse], record: note, opens: 2 h, early_by: 10 min, due: 3 h, "
        "source: practice}"
    )
    p.wait("110 min")

    p.do("record letter", text="x")

    assert p.outcome("letter") == "done"
    assert not p.events(e.DeviationNoted)


def test_what_is_done_much_too_early_is_looked_at() -> None:
    p = stay(
        "letter: {by: [nurse], record: note, opens: 2 h, early_by: 10 min, due: 3 h, "
        "source: practice}"
    )
    p.wait("109 min")

    p.do("record letter", text="x")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["early"]


def test_a_round_done_a_little_before_its_clock_time_is_not_asked_for_again_then() -> None:
    p = stay(
        "walk: {by: [nurse], record: vitals, early_by: 20 min, source: practice, "
        'every: [{daily_at: ["09:30", "20:00"], when: always}]}'
    )
    p.until("2026-03-02 09:15")

    p.do("record walk", systolic=120)

    assert p.item("walk").opens == p.at("2026-03-02 20:00")


def test_a_reading_too_early_for_its_round_leaves_the_round_open() -> None:
    p = stay(
        "walk: {by: [nurse], record: vitals, early_by: 5 min, source: practice, "
        'every: [{daily_at: ["09:30", "20:00"], when: always}]}'
    )
    p.until("2026-03-02 09:15")

    p.do("record walk", systolic=120)

    assert p.item("walk").opens == p.at("2026-03-02 09:30")
    assert not p.events(e.DeviationNoted)


def test_how_a_window_came_to_its_end_stands_in_the_record_as_a_code() -> None:
    p = stay(
        "letter: {by: [nurse], closes: 2 h, may_be: [missed, declined], source: practice}\n"
        "walk: {by: [nurse], every: [{interval: 3 h, when: always}], source: practice}"
    )

    p.wait("3 h")
    p.look()

    missed = {x.step: x.reason for x in p.events(e.ItemSettled) if x.outcome == "missed"}
    assert missed == {"letter": "closed", "walk": "next opened"}
