"""Bookings that come to nothing, and when the next session could be.

Whoever does not come, or cancels, closes that session and not the program: the step that holds it
stays open for another one. Many no-shows ask a person to look; they discharge nobody.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from kat_workflow.program.clock import Site, at_clock, local_clock, local_date, plus

if TYPE_CHECKING:
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Enrollment, Session
    from kat_workflow.program import Cause
    from kat_workflow.program.model import Program


def cancel(run: Run, session: Session, reason: str, cause: Cause) -> None:
    """A session does not take place. It is known whether that was said shortly before, and how
    often nobody came."""
    kind = run.program.sessions[session.kind]
    notice, booked = kind.short_notice, session.booked_for
    short = (
        notice is not None
        and booked is not None
        and cause != "no-show"
        and run.now > booked - notice.elapsed
    )
    run.cancel_session(session, reason, cause, short)
    if cause == "no-show" and kind.no_shows:
        number = run.s.tallies[kind.name].no_shows
        if number % kind.no_shows == 0:
            run.review(f"no-shows.{kind.name}")


class Slot(Struct, frozen=True):
    """When the next session of a kind could be held.

    `earliest` is the first instant at which its distance and its numbers allow a start, on a day
    that is not closed; `proposed` is at the clock time of the last start; `latest` is what the
    program plans for (None: it says nothing), and `beyond` whether that is over.
    """

    session: str
    earliest: datetime
    proposed: datetime
    latest: datetime | None = None
    beyond: bool = False


def next_slot(
    program: Program, enrollment: Enrollment, site: Site, kind: str, now: datetime
) -> Slot | None:
    """When the next session of a kind could be; None where there may be none any more.

    Only distances, numbers and closed days are looked at; its gates are judged at the start.
    """
    rules, tally = program.sessions[kind], enrollment.tallies.get(kind)
    started = None if tally is None else tally.started_at
    earliest, cap = now, rules.at_most
    if tally is not None and cap is not None:
        if cap.per == "enrollment" and tally.dosed >= cap.times:
            return None
        today = local_date(now, site)
        if cap.per == "program day" and tally.on == today and tally.today >= cap.times:
            earliest = at_clock(today + timedelta(days=1), time(0), site)
    if started is not None and rules.apart is not None:
        earliest = max(earliest, plus(started, rules.apart, site))
    day = local_date(earliest, site)
    if day in site.closed:
        while day in site.closed:
            day += timedelta(days=1)
        earliest = at_clock(day, time(0), site)
    if started is None:
        return Slot(kind, earliest, earliest)
    clock = local_clock(started, site)
    proposed = at_clock(day, clock, site)
    while proposed < earliest or day in site.closed:
        day += timedelta(days=1)
        proposed = at_clock(day, clock, site)
    latest = None if rules.plan_within is None else plus(started, rules.plan_within, site)
    return Slot(kind, earliest, proposed, latest, latest is not None and latest < earliest)
