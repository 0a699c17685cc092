"""Clinical time: durations, the site's calendar, program days and clock times.

Instants are aware datetimes in UTC. `min` and `h` are elapsed time; `d` and `wk` count local
dates of the site, so that a day across a change to or from summer time is still one day. A
clock time that does not exist runs at the first instant after the gap; one that exists twice
at the first. Windows are half-open: [opens, closes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = [
    "Day",
    "Duration",
    "Site",
    "after_quiet",
    "at_clock",
    "day_at",
    "local_clock",
    "local_date",
    "parse_duration",
    "plus",
    "program_day",
    "same_clock",
    "site_from",
]

Unit = Literal["s", "min", "h", "d", "wk"]
_SECONDS: dict[str, int] = {"s": 1, "min": 60, "h": 3600, "d": 86400, "wk": 604800}
# Two days short of what Python can tell, so that every zone can tell it too.
_FIRST, _LAST = date(1, 1, 3), date(9999, 12, 29)
_END = datetime(9999, 12, 30, tzinfo=UTC)
_A_DAY = timedelta(days=1)
_WRITTEN = re.compile(r"(0|[1-9][0-9]{0,5}) (s|min|h|d|wk)")


class Duration(Struct, frozen=True, dict=True):
    """A whole number of one unit, as written: `24 h` is elapsed time, `1 d` is the next date.

    What follows from the two is worked out once: durations belong to programs and live long.
    """

    amount: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"

    @cached_property
    def calendar(self) -> bool:
        """Whether it counts local dates instead of elapsed time."""
        return self.unit in ("d", "wk")

    @property
    def seconds(self) -> int:
        """Its length; for days and weeks the nominal one of 24 hours a day."""
        return self.amount * _SECONDS[self.unit]

    @cached_property
    def elapsed(self) -> timedelta:
        """Its length as elapsed time; for days and weeks the nominal one."""
        return timedelta(seconds=self.seconds)


class Day(Struct, frozen=True, gc=False):
    """A local date: from when until when (UTC) it lasts."""

    on: date
    begins: datetime
    ends: datetime


class Site(Struct, frozen=True, dict=True, cache_hash=True):
    """A place of treatment; it owns the zone, the closed days and the quiet hours.

    `zone` is an IANA name. `closed` are local dates on which clock-time occurrences move to the
    next open date. `quiet` are the local clock times at which the quiet hours begin and end, over
    midnight where the first is the later one.
    """

    name: str = "main"
    zone: str = "UTC"
    closed: tuple[date, ...] = ()
    quiet: tuple[time, time] | None = None

    @cached_property
    def tz(self) -> ZoneInfo:
        """The zone itself."""
        from zoneinfo import ZoneInfo  # noqa: PLC0415  # loaded on first use

        return ZoneInfo(self.zone)

    @cached_property
    def _latest(self) -> list[Day]:
        """The one day that was asked for last (`day_at`): until midnight everybody asks for it."""
        return [Day(date.min, _END, _END)]


def site_from(name: str, written: Mapping[str, Any]) -> Site:
    """A site as files write it: `zone`, `closed` (dates) and `quiet` (two clock times).

    Raises ValueError for what is no date or clock time; the zone is not looked up.
    """
    closed = tuple(date.fromisoformat(str(each)) for each in written.get("closed") or ())
    quiet = tuple(time.fromisoformat(str(each)) for each in written.get("quiet") or ())
    if len(quiet) not in (0, 2):
        raise ValueError("quiet hours have a beginning and an end")
    zone = str(written.get("zone", "UTC"))
    return Site(name, zone, closed, (quiet[0], quiet[1]) if quiet else None)


def parse_duration(text: str) -> Duration | None:
    """`"15 min"` → Duration(15, "min"); None if it is not one number, one space and a unit."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    return Duration(int(found[1]), found[2])  # type: ignore[arg-type]  # the pattern is the type


def local_date(instant: datetime, site: Site) -> date:
    """The site's date at this instant."""
    return instant.astimezone(site.tz).date()


def day_at(instant: datetime, site: Site) -> Day:
    """The site's date at this instant, with its midnights. Of a date that begins twice, as where
    clocks are set back after midnight, the first midnight is told."""
    day = site._latest[0]
    if not day.begins <= instant < day.ends:
        on = local_date(instant, site)
        begins, ends = (at_clock(each, time(0), site) for each in (on, min(on, _LAST) + _A_DAY))
        day = Day(on, begins, ends)
        if ends - begins == _A_DAY:  # else its clocks change, and not all between is of this date
            site._latest[0] = day
    return day


@lru_cache(maxsize=4096)
def at_clock(day: date, clock: time, site: Site) -> datetime:
    """The instant (UTC) of a clock time on a local date.

    In a gap it is the first instant after it; of two it is the first. Dates at the very ends of
    the calendar are taken as the last that every zone can tell.
    """
    zone = site.tz
    day = min(max(day, _FIRST), _LAST)
    wall = datetime.combine(day, clock.replace(fold=0), tzinfo=zone)
    instant = wall.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    # The wall time does not exist. Read with the offset before the gap it lies after the gap's
    # end, read with the one after it (fold=1) before. Offsets change at whole seconds, and a
    # gap is the only change between its two readings.
    after = wall.replace(fold=1)
    low, high = int(after.timestamp()), int(instant.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == after.utcoffset():
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def local_clock(instant: datetime, site: Site) -> time:
    """The site's clock time at this instant."""
    return instant.astimezone(site.tz).time()


def after_quiet(instant: datetime, site: Site) -> datetime:
    """The instant itself, or the end of the site's quiet hours where it falls into them."""
    if site.quiet is None:
        return instant
    begins, ends = site.quiet
    wall = instant.astimezone(site.tz)
    day, clock = wall.date(), wall.time()
    if begins <= ends:
        return at_clock(day, ends, site) if begins <= clock < ends else instant
    if clock >= begins:
        day += timedelta(days=1)
    elif clock >= ends:
        return instant
    return at_clock(day, ends, site)


def plus(instant: datetime, duration: Duration, site: Site) -> datetime:
    """The instant a duration after another; days and weeks keep the local clock time.

    What would lie beyond the calendar is its last day.
    """
    if duration.amount == 0:
        return instant
    length = duration.elapsed
    if duration.calendar:
        wall = instant.astimezone(site.tz)
        day = wall.date()
        day = _LAST if length > _LAST - day else day + length
        return at_clock(day, wall.time(), site)
    return _END if length > _END - instant else instant + length


def same_clock(instant: datetime, here: Site, there: Site) -> datetime:
    """When the clocks there show what those here show at an instant."""
    wall = instant.astimezone(here.tz)
    return at_clock(wall.date(), wall.time(), there)


def program_day(admitted: date, now: datetime, site: Site) -> int:
    """1 on the local date of admission, 2 on the next, …; below 1 before it."""
    return (local_date(now, site) - admitted).days + 1
