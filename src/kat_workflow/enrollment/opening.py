"""Which items open, and when they are due (R5 b, R9): windows, anchors, cadences, watches.

Every instant is resolved here and written into the event that opens the item, so that nothing
has to be worked out again when it is read.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import watching
from kat_workflow.enrollment.commands import SYSTEM
from kat_workflow.enrollment.reach import ANY, steps_among
from kat_workflow.program.clock import after_quiet, at_clock, local_date, plus, same_clock

if TYPE_CHECKING:
    from kat_workflow.enrollment.reach import Names, Reach
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Item, Settlement
    from kat_workflow.program.clock import Site
    from kat_workflow.program.model import Step

_step_of = attrgetter("step")
Times = tuple[datetime, datetime | None, datetime | None, datetime | None]
"""When an item opens, is due, closes, and when its successor opens."""
Plans = dict[str, Times]
"""The times of open items, by id, as they count from what was recorded."""
SKIPPED = 0  # the number of an opening that branching skipped: it never opened


def open_items(run: Run, reach: Reach) -> bool:
    """Open what can open now; whether a step was skipped, which others may depend on.

    That an item is open changes nothing a gate can read and finishes no phase, so that all
    of them are opened at once, without starting over.
    """
    s, wanted = run.s, _wanted(run, reach)
    if not wanted or s.standing == "discharged":
        return False
    open_ = set(map(_step_of, s.items.values()))
    settled, visits = s.settled, s.visits
    for name, phase, recurs, first, step in (
        reach.steps if wanted is ANY else steps_among(reach, wanted)
    ):
        if name in open_:
            continue
        visit = visits[phase]
        last = settled.get(name)
        if last is not None and last.place == visit.place:
            if not recurs:
                continue
        elif first and first not in settled:
            continue
        else:
            last = None
        if _open(run, step, visit.place, visit.entered, last, away=visit.away):
            run.looked = 0  # all that is left is looked at anew
            return True
    for session in s.sessions.values():
        if session.state in ("arrived", "recovering", "stopping"):
            part = "before" if session.state == "arrived" else "after"
            since = session.ended or run.now
            for step in run.tables.parts[session.kind]:
                if (
                    step.part == part
                    and step.name not in open_
                    and (wanted is ANY or step.name in wanted)
                    and not _is_settled(run, step.name, session.place)
                    and _open(run, step, session.place, since, None, runs=session.under_way)
                ):
                    run.looked = 0
                    return True
        if session.dosed is not None and session.under_way:
            watch = run.program.sessions[session.kind].watch
            assert watch is not None  # a program that gives something without watching is none
            if wanted is ANY or watch.step in wanted:
                watching.open_reading(run, session, watch, open_)
    return False


def _wanted(run: Run, reach: Reach) -> Names:
    """The steps that what has happened since the last look could have let open.

    Before the command nothing was left to open, so that most recordings need no look at all.
    """
    opens = run.tables.opens
    events: list[Any] = run.events
    wanted, recorded, moved = _NOTHING, "", False
    for event in events[run.looked :] if run.looked else events:
        kind = type(event)  # exactly: `isinstance` would ask each class for its subclasses
        if kind is e.ItemSettled:
            steps = opens.by_step.get(event.step)
        elif kind in _OPEN_NOTHING:
            continue
        elif kind is e.ObservationRecorded:
            steps, recorded = opens.by_form.get(event.form), event.observation
        elif kind is e.PhaseEntered or kind is e.PhaseLeft:
            steps, moved = opens.by_phase[event.phase], True
        elif kind is e.Signed and event.observation == recorded:
            continue  # signed in the act that recorded it: it never was without that signature
        else:
            run.looked = len(events)
            return ANY
        if steps:
            wanted = wanted | steps if wanted else steps
    run.looked = len(events)
    further = reach.judged if moved else reach.timed
    if further:
        wanted = wanted | further
    if run.s.sessions:
        by_kind = opens.judged if moved else opens.timed
        for session in run.s.sessions.values():
            wanted = wanted | by_kind.get(session.kind, _NOTHING)
    return wanted


_NOTHING: Names = frozenset()
_OPEN_NOTHING = frozenset(
    [
        e.ItemOpened,
        e.AlertRaised,
        e.AlertEscalated,
        e.DeviationNoted,
        e.RecheckSet,
        e.TimerElapsed,
    ]
)


def _is_settled(run: Run, step: str, place: str) -> bool:
    last = run.s.settled.get(step)
    return last is not None and last.place == place


def _open(
    run: Run,
    step: Step,
    place: str,
    entered: datetime,
    last: Settlement | None,
    away: bool = False,
    runs: bool = False,
) -> bool:
    """Open a step of a place if it is time for it; whether it was skipped instead.

    `last`: how it was last settled there; `away`: on an excursion; `runs`: no hold masks it, as in
    a session under way (R11).
    """
    number = 1
    if last is not None:
        number = last.number + 1
        if number == SKIPPED + 1 or number > step.at_most:
            return False
    runs = runs or step.on_hold == "runs"
    if not runs and run.s.holds and run.masked(away):
        return False
    if last is None:
        for other in step.after:
            if not _answered(run, other):
                return False
        if step.only_if is not None:
            verdict = run.truth(step.only_if)
            if verdict is False:
                _skip(run, step, place)
                return True
            if verdict is None:
                return False
    anchor = _anchor(run, step, entered)
    if anchor is None:
        return False
    held = None if away or runs or step.at is not None or step.on_day is not None else run.lifted
    opens, due, closes, following = _times(run, step, anchor, last, number, held)
    if run.since < run.now and opens == run.now and not step.every:
        opens = _let_open(run, step, entered)
    run.emit(
        e.ItemOpened(
            f"{place}/{step.name}.{number}",
            step.name,
            "step",
            step.by,
            run.now,
            opens,
            due,
            closes,
            following,
            "runs" if away or runs else step.on_hold,
            step.when_late is not None and due is not None,
        )
    )
    return False


def _let_open(run: Run, step: Step, entered: datetime) -> datetime:
    """Since when a step could have been done that what is told late lets open: what followed on
    paper is told next, and is not early. A day's own steps are not of the day before."""
    if step.quiet or step.owner_kind != "phase":
        return run.now if step.quiet else run.since
    if run.tables.daily.keys().isdisjoint(run.program.phases[step.owner].path):
        return run.since
    return max(run.since, at_clock(local_date(entered, run.site), time(0), run.site))


def _skip(run: Run, step: Step, place: str) -> None:
    """Branching leaves a step out of a visit: settled without having been open."""
    run.emit(
        e.ItemSettled(
            f"{place}/{step.name}.{SKIPPED}",
            step.name,
            place,
            "skipped",
            run.now,
            reason="only_if",
            keep=step.remembered,
            tally=step.tallied,
        )
    )


def _times(
    run: Run,
    step: Step,
    anchor: datetime,
    last: Settlement | None,
    number: int,
    held: datetime | None = None,
) -> Times:
    """`held`: since when the hold had stood whose lifting lets the step open."""
    if not step.every:
        if held is not None:
            anchor = _paused(run, step, anchor, held)
        opens = anchor if step.opens is None else plus(anchor, step.opens, run.site)
        due = None if step.due is None else plus(anchor, step.due, run.site)
        closes = None if step.closes is None else plus(anchor, step.closes, run.site)
        if not step.quiet:
            return opens, due, closes, None
        later = after_quiet(opens, run.site)
        shift = later - opens
        return later, due and due + shift, closes and closes + shift, None
    interval, clocks = pace(run, step)
    # Whose time ran out is followed at once; what a person settles, also as missed, is
    # followed when the next is planned.
    missed = last is not None and last.outcome == "missed" and last.hands[-1] == SYSTEM.person
    base = anchor if last is None else last.at
    if held is not None:  # what the clock says under a hold is not done
        base = run.now if interval is None else _paused(run, step, base, held)
    if interval is not None:
        opens = _quietly(run, step, base if last is None or missed else base + interval)
        following = opens + interval
    else:
        if missed:
            opens = _clock_before(run, clocks, base)
        else:
            # What was done a little before its clock time is not asked for again at that time.
            early = step.early_by is not None and last is not None
            since = base + step.early_by.elapsed if early and step.early_by else base
            opens = _clock_after(run, clocks, since, strict=last is not None)
        opens = _quietly(run, step, opens)
        following = _clock_after(run, clocks, opens, strict=True)
    due = None if step.due is None else plus(opens, step.due, run.site)
    if number >= step.at_most:
        return opens, due, None, None
    # One that is missed before it would be late is late: somebody is called (R9).
    return opens, None if due is None else min(due, following), None, following


def _paused(run: Run, step: Step, since: datetime, held: datetime) -> datetime:
    """What a time counts from that a hold has kept from beginning: the hold's part of it is taken
    out, or all of it where the time begins anew (R11)."""
    return run.now if step.on_hold == "restarts" else since + (run.now - max(since, held))


def _quietly(run: Run, step: Step, opens: datetime) -> datetime:
    """When a step opens that can wait for the end of the quiet hours."""
    return after_quiet(opens, run.site) if step.quiet else opens


def _answered(run: Run, other: str) -> bool:
    """Whether a step that another waits for is settled where it now matters."""
    last = run.s.settled.get(other)
    if last is None:
        return False
    owner = run.program.steps[other]
    now_at = run.where(owner.owner)
    return now_at is None or last.place == now_at


def _anchor(run: Run, step: Step, entered: datetime) -> datetime | None:
    """The instant a step's times count from; None while it is not known."""
    anchor = step.counted_from
    if step.on_day is not None or step.at is not None:
        if step.on_day is None:
            day = run.today()
        elif run.s.admitted is None:
            return None
        else:
            day = run.s.admitted + timedelta(days=step.on_day - 1)
        while step.at is not None and day in run.site.closed:
            day += timedelta(days=1)
        return at_clock(day, step.at or time(0), run.site)
    if anchor.kind == "opening":
        return run.now
    if anchor.kind == "entering":
        return entered
    if anchor.kind == "step":
        last = run.s.settled.get(anchor.name)
        return None if last is None or not _answered(run, anchor.name) else last.at
    if anchor.kind == "session":
        at = run.session_instant(anchor.name, anchor.event)
        # A session's own steps after the dose open when it has ended: they count from the dose of
        # this very session, which lies before that.
        own = run.session_of(anchor.name) if step.owner == anchor.name else None
        since = entered if own is None else own.started
        return None if at is None or since is None or at < since else at
    return _instant_of(run, anchor.name)


def _instant_of(run: Run, fact: str) -> datetime | None:
    form, _, name = fact.rpartition(".")
    for reading in reversed(run.readings(form)):
        value = reading.values.get(name)
        if isinstance(value, str):
            if run.program.forms[form].fields[name].type == "date":
                return at_clock(date.fromisoformat(value), time(0), run.site)
            return datetime.fromisoformat(value)
    return None


def pace(run: Run, step: Step) -> tuple[timedelta | None, tuple[time, ...]]:
    """The cadence that holds now; unknown rows are passed over, the last is unconditional."""
    for row in step.every[:-1]:
        if row.when is None or row.when.truth(run):
            break
    else:
        row = step.every[-1]
    return (None if row.interval is None else row.interval.elapsed), row.daily_at


def _clock_after(run: Run, clocks: tuple[time, ...], at: datetime, strict: bool) -> datetime:
    day = local_date(at, run.site)
    while True:
        if day not in run.site.closed:
            for clock in sorted(clocks):
                instant = at_clock(day, clock, run.site)
                if instant > at or (instant == at and not strict):
                    return instant
        day += timedelta(days=1)


def _clock_before(run: Run, clocks: tuple[time, ...], at: datetime) -> datetime:
    day = local_date(at, run.site)
    while True:
        if day not in run.site.closed:
            for clock in sorted(clocks, reverse=True):
                instant = at_clock(day, clock, run.site)
                if instant <= at:
                    return instant
        day -= timedelta(days=1)


def coming(run: Run, item: Item, end: datetime) -> tuple[datetime, ...]:
    """When further openings of an item are planned before an instant, if its pace stays so."""
    step = run.program.steps.get(item.step)
    if item.next is None or step is None or not step.every:
        return ()
    interval, clocks = pace(run, step)
    found: list[datetime] = []
    at = item.next
    while at < end:
        found.append(at)
        at = at + interval if interval is not None else _clock_after(run, clocks, at, strict=True)
    return tuple(found)


def open_work(run: Run, step: Step, at: datetime) -> None:
    """Open work that is due after leaving, `at` some instant."""
    site = run.site
    due = None if step.due is None else plus(at, step.due, site)
    run.emit(
        e.ItemOpened(
            f"after/{step.name}.1",
            step.name,
            "step",
            step.by,
            at,
            at if step.opens is None else plus(at, step.opens, site),
            due,
            None if step.closes is None else plus(at, step.closes, site),
            calls=step.when_late is not None and due is not None,
            on_hold="runs",
        )
    )


def is_time_for(run: Run, step: Step, place: str) -> bool:
    """Whether a step of a place can still be done there: its visit lasts, or its session has come
    to the part that it belongs to."""
    if step.owner_kind == "phase":
        return run.is_active(place)
    states = ("arrived",) if step.part == "before" else ("recovering", "stopping")
    return any(x.place == place and x.state in states for x in run.s.sessions.values())


def reopen(run: Run, step: Step, place: str) -> None:
    """Open a step again whose recording was retracted, unless it is open: what settled it is
    void, and somebody must be able to do it."""
    if step.part == "watch" or any(item.step == step.name for item in run.s.items.values()):
        return
    number = run.s.settled[step.name].number + 1
    opens, due, closes, following = _times(run, step, run.now, None, number)
    run.emit(
        e.ItemOpened(
            f"{place}/{step.name}.{number}",
            step.name,
            "step",
            step.by,
            run.now,
            opens,
            due,
            closes,
            following,
            "runs" if place in [x.place for x in run.s.sessions.values()] else step.on_hold,
            step.when_late is not None and due is not None,
        )
    )


def anchored(run: Run, form: str) -> Plans:
    """The times of the open items that count from a recording of a form: from an instant in it,
    or from when its step was done."""
    plans: Plans = {}
    for item in run.s.items.values():
        step = run.program.steps.get(item.step)
        if step is None or step.on_day is not None or step.at is not None:
            continue
        kind, name = step.counted_from.kind, step.counted_from.name
        counts = (kind == "fact" and name.rpartition(".")[0] == form) or (
            kind == "step" and run.program.steps[name].form == form
        )
        number = int(item.id.rpartition(".")[2])
        if not counts or (step.every and number > 1):
            continue  # the next of a cadence counts from the one before it
        anchor = _anchor(run, step, run.now)
        if anchor is not None:
            plans[item.id] = _times(run, step, anchor, None, number)
    return plans


def plan_anew(run: Run, plans: Plans) -> None:
    """Move open items as far as what they count from has moved; a hold's pause stays in them."""
    for id_, old in plans.items():
        item = run.s.items[id_]
        step = run.program.steps[item.step]
        anchor = _anchor(run, step, run.now)
        if anchor is None:
            continue
        new = _times(run, step, anchor, None, int(id_.rpartition(".")[2]))
        if new == old:
            continue
        opens, due, closes, following = (
            at if at is None or was is None or now is None else at + (now - was)
            for at, was, now in zip(
                (item.opens, item.due, item.closes, item.next), old, new, strict=True
            )
        )
        calls = item.calls or (step.when_late is not None and due is not None and due > run.now)
        run.emit(
            e.ItemReplanned(
                id_, opens or item.opens, due, closes, following, "corrected", item.opened, calls
            )
        )


def replan(run: Run, item: Item, held: datetime) -> None:
    """Give a paused item its remaining time back, or let a restarted one begin anew."""
    shift = run.now - (held if item.opened is None else item.opened)

    def later(at: datetime | None) -> datetime | None:
        passed = at is not None and item.on_hold == "pauses" and at <= held
        return at if at is None or passed else at + shift

    opens, due, following = later(item.opens) or item.opens, later(item.due), later(item.next)
    step = run.program.steps[item.step]
    clocks = pace(run, step)[1] if step.every else ()
    if clocks:  # what the clock says does not move; what it said under the hold is not done
        if item.opens <= held:
            opens = item.opens
            coming = _clock_after(run, clocks, run.now, strict=False)
        else:
            opens = _clock_after(run, clocks, run.now, strict=False)
            due = None if step.due is None else plus(opens, step.due, run.site)
            coming = _clock_after(run, clocks, opens, strict=True)
        following = None if item.next is None else coming
    closes, anew = later(item.closes), None if item.opened is None else run.now
    quiet = _quietly(run, step, opens) - opens if opens > run.now else None
    if quiet:
        opens += quiet
        due, closes, following = (at and at + quiet for at in (due, closes, following))
    calls = item.calls or (anew is not None and step.when_late is not None and due is not None)
    run.emit(e.ItemReplanned(item.id, opens, due, closes, following, "hold lifted", anew, calls))


def by_the_clock(run: Run, item: Item, before: Site) -> None:
    """What a clock of the wall says of an item is told by that of another site from now on."""
    step = run.program.steps.get(item.step)
    if step is None:
        return
    opens, due, closes, following = item.opens, item.due, item.closes, item.next
    clocks = pace(run, step)[1] if step.every else ()
    if clocks:
        if opens > run.now:
            opens = _clock_after(run, clocks, run.now, strict=False)
            due = None if step.due is None else plus(opens, step.due, run.site)
        if following is not None:
            following = _clock_after(run, clocks, max(opens, run.now), strict=True)
            due = None if due is None else min(due, following)
    elif (step.at is not None or step.on_day is not None) and opens > run.now:
        opens = same_clock(opens, before, run.site)
        due = None if due is None else same_clock(due, before, run.site)
        closes = None if closes is None else same_clock(closes, before, run.site)
    if (opens, due, closes, following) != (item.opens, item.due, item.closes, item.next):
        run.emit(
            e.ItemReplanned(
                item.id, opens, due, closes, following, "transferred", item.opened, item.calls
            )
        )
