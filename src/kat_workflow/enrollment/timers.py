"""Which instants an enrollment waits for: worked out from its state, never stored as truth.

A timer's consequences are entries written when it is run as the command `Elapsed` (R2). Early,
due and late need no timer: they are a function of an item's instants and now.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, to_builtins

if TYPE_CHECKING:
    from kat_workflow.enrollment.state import Enrollment, Item

What = Literal["late", "closes", "next", "lapses", "recheck", "elsewhere"]
_WATCH, _WINDOW, _SCHEDULE, _RECHECK = range(4)


class Timer(Struct, frozen=True, order=True, gc=False):
    """An instant at which something follows.

    Timers run by due instant, then watch < window < schedule < recheck, then place, then what
    waits: `about` is the id of the item or session, `what` the instant of it that has come.
    """

    due: datetime
    kind: int
    place: str
    about: str
    what: What

    def id(self, enrollment: str) -> str:
        """An id that is unique within the store: the cause of what follows (R2)."""
        due: str = to_builtins(self.due)  # what `isoformat` says of it, for a tenth of the time
        if due.endswith("Z"):
            due = due[:-1] + "+00:00"
        return f"timer:{enrollment}/{self.about}/{self.what}@{due}"


def timers(s: Enrollment, at: datetime | None = None) -> list[Timer]:
    """Every instant the enrollment waits for, or those at one instant, in no particular order.

    While a session is under way no timer cuts it: the step that holds it neither closes nor
    recurs before the release (R12).
    """
    found: list[Timer] = []
    held = bool(s.holds)
    busy = {x.item for x in s.sessions.values() if x.under_way} if s.sessions else ()
    items: Iterable[Item] = s.items.values()
    if at is not None:  # nearly all of them wait for another
        items = [x for x in items if at in (x.closes, x.next, x.due)]
    for item in items:
        if held and item.on_hold != "runs":
            continue
        due, closes, following = item.due, item.closes, item.next
        watch = item.kind == "watch"
        if item.calls and due is not None and (at is None or due == at):
            found.append(Timer(due, _WATCH if watch else _WINDOW, item.place, item.id, "late"))
        if item.id in busy:
            continue
        if closes is not None and (at is None or closes == at):
            found.append(Timer(closes, _WINDOW, item.place, item.id, "closes"))
        if following is not None and (at is None or following == at):
            kind = _WATCH if watch else _SCHEDULE
            found.append(Timer(following, kind, item.place, item.id, "next"))
    for session in s.sessions.values():
        lapses = session.lapses
        if lapses is not None and not held and (at is None or lapses == at):
            found.append(Timer(lapses, _WINDOW, session.place, session.id, "lapses"))
    if s.recheck is not None and (at is None or s.recheck == at):
        found.append(Timer(s.recheck, _RECHECK, "", "", "recheck"))
    for told in s.elsewhere.values():
        if at is None or told.at == at:
            found.append(Timer(told.at, _WATCH, "", told.call, "elsewhere"))
    return found


def next_timer(s: Enrollment) -> Timer | None:
    """The timer that runs first."""
    return None if s.wake is None else min(timers(s, s.wake), default=None)


def wake(s: Enrollment) -> datetime | None:
    """The instant of `next_timer`, found without making any: it is asked after every command."""
    first = _NEVER if s.recheck is None else s.recheck
    items: Iterable[Item] = s.items.values()
    held = bool(s.holds)
    if held:
        items = [item for item in items if item.on_hold == "runs"]
    if s.sessions:
        busy = []
        for session in s.sessions.values():
            if not held and (lapses := session.lapses) is not None and lapses < first:
                first = lapses
            if session.under_way:
                busy.append(session.item)
        for item in items:
            if item.id in busy and item.calls and (due := item.due) is not None and due < first:
                first = due
        items = [item for item in items if item.id not in busy]
    for item in items:
        if item.calls and (due := item.due) is not None and due < first:
            first = due
        if (closes := item.closes) is not None and closes < first:
            first = closes
        if (following := item.next) is not None and following < first:
            first = following
    for told in s.elsewhere.values():
        first = min(first, told.at)
    return None if first is _NEVER else first


_NEVER = datetime.max.replace(tzinfo=UTC)
