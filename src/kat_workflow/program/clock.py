"""Clinical time: durations, the site's calendar, program days and clock times.

Instants are aware datetimes in UTC. `min` and `h` are elapsed time; `d` and `wk` count local
dates of the site, so that a day across a change to or from summer time is still one day. A
clock time that does not exist runs at the first instant after the gap; one that exists twice
at the first. Windows are half-open: [opens, closes).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

__all__ = ["Duration", "Site", "at_clock", "local_date", "parse_duration", "plus", "program_day"]

Unit = Literal["s", "min", "h", "d", "wk"]
_SECONDS: dict[str, int] = {"s": 1, "min": 60, "h": 3600, "d": 86400, "wk": 604800}
_WRITTEN = re.compile(r"(0|[1-9][0-9]{0,5}) (s|min|h|d|wk)")


class Duration(Struct, frozen=True):
    """A whole number of one unit, as written: `24 h` is elapsed time, `1 d` is the next date."""

    amount: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"

    @property
    def calendar(self) -> bool:
        """Whether it counts local dates instead of elapsed time."""
        return self.unit in ("d", "wk")

    @property
    def seconds(self) -> int:
        """Its length; for days and weeks the nominal one of 24 hours a day."""
        return self.amount * _SECONDS[self.unit]

    @property
    def elapsed(self) -> timedelta:
        """Its length as elapsed time; for days and weeks the nominal one."""
        return timedelta(seconds=self.seconds)


class Site(Struct, frozen=True):
    """A place of treatment; it owns the zone, the closed days and the quiet hours.

    `zone` is an IANA name. `closed` are local dates on which clock-time occurrences move to the
    next open date.
    """

    name: str = "main"
    zone: str = "UTC"
    closed: tuple[date, ...] = ()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def parse_duration(text: str) -> Duration | None:
    """`"15 min"` → Duration(15, "min"); None if it is not one number, one space and a unit."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    return Duration(int(found[1]), found[2])  # type: ignore[arg-type]  # the pattern is the type


def local_date(instant: datetime, site: Site) -> date:
    """The site's date at this instant."""
    return instant.astimezone(_zone(site.zone)).date()


def at_clock(day: date, clock: time, site: Site) -> datetime:
    """The instant (UTC) of a clock time on a local date.

    In a gap it is the first instant after it; of two it is the first.
    """
    zone = _zone(site.zone)
    wall = datetime.combine(day, clock, tzinfo=zone)  # fold=0: the first of two
    instant = wall.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    # The wall time does not exist. With fold=1 it is read with the offset after the gap, which
    # lands before it; the gap ends where the two readings' offsets meet.
    before = wall.utcoffset()
    after = wall.replace(fold=1).utcoffset()
    assert before is not None and after is not None
    low = wall.replace(fold=1).astimezone(UTC)
    high = instant
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


def plus(instant: datetime, duration: Duration, site: Site) -> datetime:
    """The instant a duration after another; days and weeks keep the local clock time."""
    if not duration.calendar:
        return instant + duration.elapsed
    wall = instant.astimezone(_zone(site.zone))
    days = duration.amount * (7 if duration.unit == "wk" else 1)
    return at_clock(wall.date() + timedelta(days=days), wall.timetz().replace(tzinfo=None), site)


def program_day(admitted: date, now: datetime, site: Site) -> int:
    """1 on the local date of admission, 2 on the next, …; below 1 before it."""
    return (local_date(now, site) - admitted).days + 1
