"""Clinical time: a day is a date of the site, an hour is an hour, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kat_workflow.program.clock import (
    Duration,
    Site,
    after_quiet,
    at_clock,
    day_at,
    local_date,
    parse_duration,
    plus,
    program_day,
    site_from,
)

ZONES = (
    "UTC",
    "America/Phoenix",  # the first clinic: no summer time
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour of summer time
    "America/Santiago",  # midnight does not exist once a year
    "Africa/Cairo",  # nor here
    "Asia/Kathmandu",  # a quarter past the hour
    "Pacific/Chatham",
    "America/Havana",  # midnight exists twice
    "Pacific/Apia",  # a whole date was left out in 2011
    "America/St_Johns",  # in 2011 clocks were set back a minute after midnight
)
sites = st.sampled_from([Site(zone=zone) for zone in ZONES])
days = st.dates(date(2011, 1, 1), date(2037, 12, 31))
instants = st.datetimes(datetime(2011, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "seconds", "calendar"),
    [
        ("0 min", 0, False),
        ("90 s", 90, False),
        ("15 min", 900, False),
        ("24 h", 86_400, False),
        ("3 d", 259_200, True),
        ("2 wk", 1_209_600, True),
    ],
)
def test_a_duration_reads_as_it_is_written(text: str, seconds: int, calendar: bool) -> None:
    duration = parse_duration(text)

    assert duration is not None
    assert str(duration) == text
    assert duration.seconds == seconds
    assert duration.elapsed == timedelta(seconds=seconds)
    assert duration.calendar is calendar


@pytest.mark.parametrize(
    "text",
    ["", "15", "min", "15min", "15  min", " 15 min", "15 min ", "1.5 h", "-1 h", "+1 h", "015 min",
     "15 minutes", "1 month", "1234567 h", "\u0661\u0665 min", "15 min\n"],
)  # fmt: skip
def test_whatever_is_no_whole_number_of_one_unit_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("zone", "day", "clock", "instant"),
    [
        # A clock time that does not exist runs at the first instant after the gap.
        ("Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "02:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "02:00:01", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "02:11:07", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "02:47:13", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "02:00:00.500000", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "02:59:59.999999", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "01:59:59.999999", "2026-03-29T00:59:59.999999Z"),
        ("Europe/Berlin", "2026-03-29", "03:00", "2026-03-29T01:00:00Z"),
        ("America/New_York", "2026-03-08", "02:30", "2026-03-08T07:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30:00Z"),
        ("America/Santiago", "2026-09-06", "00:00", "2026-09-06T04:00:00Z"),
        ("America/Santiago", "2026-09-06", "00:30", "2026-09-06T04:00:00Z"),
        ("Africa/Cairo", "2026-04-24", "00:00", "2026-04-23T22:00:00Z"),
        ("Pacific/Apia", "2011-12-30", "09:00", "2011-12-30T10:00:00Z"),
        # One that exists twice runs at the first.
        ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T00:30:00Z"),
        ("America/New_York", "2026-11-01", "01:30", "2026-11-01T05:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04T14:45:00Z"),
        ("America/Havana", "2026-11-01", "00:00", "2026-11-01T04:00:00Z"),
        # All others are what they are.
        ("America/Phoenix", "2026-03-08", "02:30", "2026-03-08T09:30:00Z"),
        ("Asia/Kathmandu", "2026-06-01", "09:00", "2026-06-01T03:15:00Z"),
    ],
)
def test_every_clock_time_of_a_site_is_one_instant(
    zone: str, day: str, clock: str, instant: str
) -> None:
    found = at_clock(date.fromisoformat(day), time.fromisoformat(clock), Site(zone=zone))

    assert found == at(instant)


@given(sites, days, st.times())
def test_a_clock_time_is_kept_unless_it_does_not_exist_and_then_nothing_is_earlier(
    site: Site, day: date, clock: time
) -> None:
    zone = ZoneInfo(site.zone)
    instant = at_clock(day, clock, site)
    wall = instant.astimezone(zone).replace(tzinfo=None)
    asked = datetime.combine(day, clock)

    if wall != asked:  # the clocks jumped over it, and had not yet reached it just before
        assert wall > asked
        before = (instant - timedelta(microseconds=1)).astimezone(zone).replace(tzinfo=None)
        assert before < asked
    else:
        earlier = instant - timedelta(hours=1)
        assert earlier.astimezone(zone).replace(tzinfo=None) != asked


@given(sites, days, st.times(), st.times())
def test_a_later_clock_time_of_a_day_is_never_an_earlier_instant_but_where_the_clocks_go_back(
    site: Site, day: date, one: time, two: time
) -> None:
    first, second = sorted((one, two))
    zone = ZoneInfo(site.zone)
    offsets = {
        datetime.combine(day, clock, tzinfo=zone).replace(fold=fold).utcoffset()
        for clock in (time(), first, second, time(23, 59))
        for fold in (0, 1)
    }
    if len(offsets) == 1:
        assert at_clock(day, first, site) <= at_clock(day, second, site)


@given(sites, instants, st.integers(0, 400))
def test_a_day_later_is_the_next_date_at_the_same_clock_time(
    site: Site, instant: datetime, amount: int
) -> None:
    zone = ZoneInfo(site.zone)
    later = plus(instant, Duration(amount, "d"), site)

    if amount == 0:
        assert later == instant
    else:
        wall = instant.astimezone(zone)
        day = wall.date() + timedelta(days=amount)
        assert later == at_clock(day, wall.time(), site)


@given(sites, instants, st.integers(0, 10_000))
def test_hours_are_elapsed_time_whatever_the_clocks_do(
    site: Site, instant: datetime, amount: int
) -> None:
    assert plus(instant, Duration(amount, "h"), site) - instant == timedelta(hours=amount)


@given(sites, instants, st.integers(0, 50))
def test_a_week_is_seven_days(site: Site, instant: datetime, amount: int) -> None:
    week = plus(instant, Duration(amount, "wk"), site)

    assert week == plus(instant, Duration(7 * amount, "d"), site)


def test_a_day_across_the_change_to_summer_time_has_23_hours_and_back_25() -> None:
    berlin = Site(zone="Europe/Berlin")
    spring, autumn = at("2026-03-28T12:00+01:00"), at("2026-10-24T12:00+02:00")

    assert plus(spring, Duration(1, "d"), berlin) - spring == timedelta(hours=23)
    assert plus(autumn, Duration(1, "d"), berlin) - autumn == timedelta(hours=25)


def test_a_reading_from_the_second_of_two_hours_is_due_again_at_its_clock_time() -> None:
    berlin = Site(zone="Europe/Berlin")
    second = at("2026-10-25T02:30+01:00")

    assert plus(second, Duration(1, "d"), berlin) == at("2026-10-26T02:30+01:00")
    assert plus(second, Duration(0, "d"), berlin) == second
    # 154 days on the clock time does not exist: the fold of today means nothing there.
    assert plus(second, Duration(154, "d"), berlin) == at("2027-03-28T03:00+02:00")
    assert plus(second, Duration(155, "d"), berlin) == at("2027-03-29T02:30+02:00")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["h", "d", "wk"])
def test_what_lies_beyond_the_calendar_is_its_last_day(zone: str, unit: str) -> None:
    now, site = at("2026-03-05T12:00Z"), Site(zone=zone)

    far = plus(at("9990-01-01T12:00Z"), Duration(999_999, unit), site)  # type: ignore[arg-type]
    farther = plus(far, Duration(1, unit), site)  # type: ignore[arg-type]

    assert farther >= far > now
    assert farther.year == far.year == 9999
    assert at_clock(date.max, time(23), site).year == 9999
    assert at_clock(date.min, time(1), site).year == 1


@given(sites, instants)
def test_the_program_day_of_admission_is_1_and_turns_at_the_midnight_of_the_site(
    site: Site, now: datetime
) -> None:
    today = local_date(now, site)
    midnight = at_clock(today + timedelta(days=1), time(), site)

    assert program_day(today, now, site) == 1
    assert program_day(today + timedelta(days=1), now, site) == 0
    assert program_day(today - timedelta(days=3), now, site) == 4
    assert now < midnight
    assert local_date(midnight - timedelta(microseconds=1), site) == today
    assert local_date(midnight, site) > today


@given(sites, st.lists(st.integers(0, 72 * 60), min_size=2, max_size=12), instants)
def test_a_date_is_the_same_whatever_was_asked_before(
    site: Site, minutes: list[int], start: datetime
) -> None:
    for after in minutes:
        now = start + timedelta(minutes=after)
        today = local_date(now, site)

        day = day_at(now, site)

        assert day.on == today
        assert day.begins == at_clock(today, time(), site)
        assert day.ends == at_clock(today + timedelta(days=1), time(), site)


def test_a_minute_past_midnight_that_clocks_take_back_is_not_of_the_day_after() -> None:
    site = Site(zone="America/St_Johns")
    midnight = at("2010-11-07T02:30:00Z")

    dates = [day_at(midnight + timedelta(minutes=each), site).on for each in (0, 1, 30, 61, 1440)]

    assert dates == [date(2010, 11, day) for day in (7, 6, 6, 7, 7)]
    assert day_at(datetime(9999, 12, 31, 23, tzinfo=UTC), site).on == date(9999, 12, 31)


# Quiet hours


NIGHT, NOON = (time(22), time(7)), (time(12), time(14))


@pytest.mark.parametrize(
    ("quiet", "clock", "opens"),
    [
        (None, "23:00", "2 23:00"),
        (NIGHT, "21:59", "2 21:59"),
        (NIGHT, "22:00", "3 07:00"),
        (NIGHT, "23:59", "3 07:00"),
        (NIGHT, "00:00", "2 07:00"),
        (NIGHT, "06:59", "2 07:00"),
        (NIGHT, "07:00", "2 07:00"),
        (NOON, "11:59", "2 11:59"),
        (NOON, "12:00", "2 14:00"),
        (NOON, "14:00", "2 14:00"),
        ((time(9), time(9)), "09:00", "2 09:00"),
    ],
)
def test_what_waits_for_the_end_of_the_quiet_hours(
    quiet: tuple[time, time] | None, clock: str, opens: str
) -> None:
    site = Site("main", "America/New_York", (), quiet)
    day, _, until = opens.partition(" ")

    found = after_quiet(at_clock(date(2026, 3, 2), time.fromisoformat(clock), site), site)

    assert found == at_clock(date(2026, 3, int(day)), time.fromisoformat(until), site)


def test_a_site_is_written_with_its_zone_its_closed_days_and_its_quiet_hours() -> None:
    written = {"zone": "Europe/Vienna", "closed": ["2026-12-25"], "quiet": ["22:00", "07:00"]}

    assert site_from("main", written) == Site("main", "Europe/Vienna", (date(2026, 12, 25),), NIGHT)
    assert site_from("main", {}) == Site()


@pytest.mark.parametrize("wrong", [{"closed": ["Xmas"]}, {"quiet": ["22:00"]}, {"quiet": "night"}])
def test_a_site_that_cannot_be_read_says_so(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        site_from("main", wrong)
