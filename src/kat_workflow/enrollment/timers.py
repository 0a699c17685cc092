"""Which instants an enrollment waits for: worked out from its state, never stored as truth.

A timer's consequences are entries written when it is run as the command `Elapsed` (R2). Early,
due and late need no timer: they are a function of an item's instants and now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct

from kat_workflow.enrollment.state import Enrollment, Item

Kind = Literal["watch", "window", "schedule", "recheck"]
_ORDER: dict[str, int] = {"watch": 0, "window": 1, "schedule": 2, "recheck": 3}


class Timer(Struct, frozen=True):
    """An instant at which something follows. `id` is unique within the store; `about` is the id
    of the item or session that waits for it."""

    due: datetime
    kind: Kind
    place: str
    id: str
    what: Literal["late", "closes", "next", "lapses", "recheck"]
    about: str = ""

    @property
    def order(self) -> tuple[datetime, int, str, str]:
        """Timers run by due instant, then watch < window < schedule < recheck, place and id."""
        return (self.due, _ORDER[self.kind], self.place, self.id)


def timers(s: Enrollment) -> Iterator[Timer]:
    """Every instant the enrollment waits for, in no particular order."""
    for item in s.items.values():
        if not (s.holds and item.on_hold != "runs"):
            yield from _of_item(s, item)
    for session in s.sessions.values():
        if session.lapses is not None and not s.holds:
            due = session.lapses
            id_ = f"timer:{s.id}/{session.id}/lapses@{due.isoformat()}"
            yield Timer(due, "window", session.place, id_, "lapses", session.id)
    if s.recheck is not None:
        due = s.recheck
        yield Timer(due, "recheck", "", f"timer:{s.id}/recheck@{due.isoformat()}", "recheck")


def _of_item(s: Enrollment, item: Item) -> Iterator[Timer]:
    watch = item.kind == "watch"
    if item.calls and item.due is not None:
        yield _timer(s, item.due, "watch" if watch else "window", "late", item)
    if item.closes is not None:
        yield _timer(s, item.closes, "window", "closes", item)
    if item.next is not None:
        yield _timer(s, item.next, "watch" if watch else "schedule", "next", item)


def next_timer(s: Enrollment) -> Timer | None:
    """The timer that runs first."""
    at = wake(s)
    if at is None:
        return None
    return min((each for each in timers(s) if each.due == at), key=lambda each: each.order)


def wake(s: Enrollment) -> datetime | None:
    """The instant of the first timer: what the timer row of the enrollment holds."""
    first = s.recheck
    held = bool(s.holds)
    for item in s.items.values():
        if held and item.on_hold != "runs":
            continue
        for at in (item.due if item.calls else None, item.closes, item.next):
            if at is not None and (first is None or at < first):
                first = at
    if not held:
        for session in s.sessions.values():
            at = session.lapses
            if at is not None and (first is None or at < first):
                first = at
    return first


def _timer(
    s: Enrollment, due: datetime, kind: Kind, what: Literal["late", "closes", "next"], item: Item
) -> Timer:
    return Timer(
        due, kind, item.place, f"timer:{s.id}/{item.id}/{what}@{due.isoformat()}", what, item.id
    )
