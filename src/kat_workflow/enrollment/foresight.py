"""What a hold would do, told before it is set: to each time that runs, and to each dose (R11).

It is worked out from the same plans as the lifting itself, so that the two cannot disagree: a
time that pauses keeps what remains of it, one that restarts begins anew at the lifting, and one
that runs is not touched. What the clock says does not move; it is not opened under the hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from kat_workflow.enrollment import opening
from kat_workflow.enrollment.run import Run

if TYPE_CHECKING:
    from kat_workflow.enrollment.around import Around
    from kat_workflow.enrollment.state import Enrollment, Item
    from kat_workflow.program.model import Program

What = Literal["opens", "due", "closes", "next", "no-show"]
Fate = Literal["runs", "pauses", "restarts", "clock"]


class HeldTime(Struct, frozen=True):
    """A time of an open item or a booked session, and what a hold would do to it.

    `what` comes at `at`: the item opens, is due, closes, or is followed by the next; a session
    becomes a no-show. `then`: it runs on; it pauses, and `remaining` is left of it at the
    lifting; it restarts, and `remaining` is its whole length; or it keeps to the clock, and is
    not opened as long as the hold stands.
    """

    about: str
    what: What
    at: datetime
    then: Fate
    remaining: timedelta | None = None


class Foresight(Struct, frozen=True):
    """What a hold would do: the times that run, and the sessions whose dose it would stop."""

    times: tuple[HeldTime, ...]
    stops: tuple[str, ...]


def foresee_hold(
    program: Program, enrollment: Enrollment, around: Around, now: datetime
) -> Foresight:
    """What a hold that is set now would do. The timers that are due have been run."""
    run = Run.of(program, enrollment, around, now)
    # Several holds that overlap are one pause, from the first of them on.
    since = next((hold.masks for hold in run.s.holds.values()), now)
    times = [each for item in run.s.items.values() for each in _times(run, item, since)]
    times += [
        HeldTime(x.id, "no-show", x.lapses, "pauses", x.lapses - since)
        for x in run.s.sessions.values()
        if x.lapses is not None
    ]
    stops = tuple(x.id for x in run.s.sessions.values() if x.dosing == "running")
    return Foresight(tuple(times), stops)


def _times(run: Run, item: Item, since: datetime) -> Iterator[HeldTime]:
    step = run.program.steps.get(item.step)
    clocked = step is not None and bool(step.every) and bool(opening.pace(run, step)[1])
    early = item.opens > since
    plans: tuple[tuple[What, datetime | None], ...] = (
        ("opens", item.opens),
        ("due", item.due),
        ("closes", item.closes),
        ("next", item.next),
    )
    for what, at in plans:
        if at is None:
            continue
        if item.on_hold == "restarts" and item.opened is not None:
            if what != "opens" or early:
                yield HeldTime(item.id, what, at, "restarts", at - item.opened)
        elif at <= since:
            continue  # it has come: a hold does not take it back
        elif item.on_hold == "runs":
            yield HeldTime(item.id, what, at, "runs")
        elif clocked and (early or what == "next"):
            yield HeldTime(item.id, what, at, "clock")
        else:
            yield HeldTime(item.id, what, at, "pauses", at - since)
