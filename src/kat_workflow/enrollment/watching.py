"""The watch of a session: when its readings are planned, and when it looks again sooner.

Readings are planned by elapsed time from the first drug given until the release, at one pace
while the dose goes on and at another after its end (IV: every 10 minutes during, every 15 after;
domain §1.4). What is planned for after a reading is worked out from when that reading was
planned, not from when it was taken, so that a late reading shifts nothing.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kat_workflow.enrollment import events as e

if TYPE_CHECKING:
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Item, Session
    from kat_workflow.program.model import Watch


def planned_after(
    watch: Watch, dosed: datetime, ended: datetime | None, after: datetime | None
) -> datetime:
    """The first planned reading after an instant, or the very first one (None).

    `dosed` is when the first drug was given, `ended` when the dose ended. The first reading at
    or after that end is still one of the pace before it: nobody waits longer for it.
    """
    for span in watch.at:
        at = dosed + span.elapsed
        if after is None or at > after:
            return at
    base = dosed + watch.at[-1].elapsed if watch.at else dosed
    after = base if after is None else after
    pace = watch.during_every
    if pace is not None and (ended is None or base < ended):
        at = base + _beyond(after - base, pace.elapsed) * pace.elapsed
        if ended is None:
            return at
        last = base - (base - ended) // pace.elapsed * pace.elapsed
        if at <= last:
            return at
        base = last
    pace = watch.then_every
    return base + _beyond(after - base, pace.elapsed) * pace.elapsed


def _beyond(span: timedelta, pace: timedelta) -> int:
    """How many paces lead beyond a span; at least one."""
    return max(1, span // pace + 1)


def open_reading(run: Run, session: Session, watch: Watch, open_: Set[str]) -> None:
    """Open the next reading of a session's watch, or plan the open one anew where the dose has
    ended or it was asked for sooner."""
    if watch.step in open_:
        item = next(item for item in run.s.items.values() if item.step == watch.step)
        _plan_anew(run, session, watch, item)
        return
    last = run.s.settled.get(watch.step)
    here = last is not None and last.place == session.place
    number = last.number + 1 if last is not None and here else 1
    opens = session.watched and _following(run, session, watch, session.watched)
    opens = opens or _first(session, watch)
    asked = session.recheck
    if asked is not None and asked < opens and (last is None or not here or last.at < asked):
        opens = asked
    following = _following(run, session, watch, opens)
    step = run.program.steps[watch.step]
    run.emit(
        e.ItemOpened(
            f"{session.place}/{watch.step}.{number}",
            watch.step,
            "watch",
            step.by,
            run.now,
            opens,
            _late(watch, opens, following),
            None,
            following,
            "runs",
            step.when_late is not None,
        )
    )


def _first(session: Session, watch: Watch) -> datetime:
    """The first reading that is asked for: of a session that was told late, the first that was
    not late by then. Those before it can only be told; see `note_untold`."""
    assert session.dosed is not None
    told = session.told
    if told is None:
        return planned_after(watch, session.dosed, session.ended, None)
    since = told - watch.late_after.elapsed
    opens = planned_after(
        watch, session.dosed, session.ended, None if since < session.dosed else since
    )
    while (following := planned_after(watch, session.dosed, session.ended, opens)) <= told:
        opens = following
    return opens


def note_untold(run: Run, session: Session, until: datetime) -> None:
    """Say once how many readings of a session that was told late nobody has told: those planned
    before it was told, and before the release, in whose time there is no reading (R9)."""
    watch = run.program.sessions[session.kind].watch
    assert watch is not None
    assert session.dosed is not None
    end = min(until, _first(session, watch))
    planned: list[datetime] = []
    at = planned_after(watch, session.dosed, session.ended, None)
    while at < end:
        planned.append(at)
        at = planned_after(watch, session.dosed, session.ended, at)
    if not planned:
        return
    from kat_workflow.enrollment import correcting  # noqa: PLC0415  # see `recording`

    form = run.program.steps[watch.step].form
    taken = [
        record.newest.occurred
        for record in correcting.records(past.event for past in run.history())
        if record.retracted is None and record.newest.form == form
    ]
    early = run.program.steps[watch.step].early_by
    first = timedelta(0) if early is None else early.elapsed
    missing = [
        since
        for since, before in zip(planned, (*planned[1:], at), strict=True)
        if not any(since - first <= each < before for each in taken)
    ]
    if missing:
        says = (
            f"of {len(planned)} readings planned before {session.id} was told of, {len(missing)} "
            f"were not told, the first for {missing[0]:%Y-%m-%d %H:%M} UTC"
        )
        run.deviation("readings-not-told", says)


def _following(run: Run, session: Session, watch: Watch, after: datetime | None) -> datetime:
    """The reading planned after another, of which one taken a little early is no second."""
    early_by = run.program.steps[watch.step].early_by
    if after is not None and early_by is not None:
        after += early_by.elapsed
    assert session.dosed is not None
    return planned_after(watch, session.dosed, session.ended, after)


def _late(watch: Watch, opens: datetime, following: datetime) -> datetime:
    """When a reading is late; one that is missed before that calls somebody too (R9)."""
    return min(opens + watch.late_after.elapsed, following)


def _plan_anew(run: Run, session: Session, watch: Watch, item: Item) -> None:
    opens, because = item.opens, "the dose has ended"
    if session.recheck is not None and session.recheck < opens:
        opens, because = session.recheck, "a reading asks for it"
    following = _following(run, session, watch, opens)
    if (opens, following) != (item.opens, item.next):
        due = _late(watch, opens, following)
        run.emit(
            e.ItemReplanned(item.id, opens, due, None, following, because, item.opened, item.calls)
        )


def look_again(run: Run, session: str, within: timedelta, because: str, record: str) -> None:
    """Let the watch look again so long after the reading that asks for it."""
    its = run.s.sessions[session]
    watch = run.program.sessions[its.kind].watch
    assert watch is not None  # the language asks for it
    if its.dosed is None:
        return  # nobody watches yet
    asked = within + next(
        event.occurred
        for event in reversed(run.events)
        if isinstance(event, e.ObservationRecorded | e.ObservationCorrected)
        and event.observation == record
    )
    last = run.s.settled.get(watch.step)
    if last is not None and last.place == its.place and asked <= last.at:
        return  # of what was corrected or told late, somebody has looked again since
    if its.recheck is None or asked < its.recheck:
        run.emit(e.ReadingAsked(session, asked, run.now, because, record))
