"""Which items open, and when they are due (R5 b, R9): windows, anchors, cadences, watches.

Every instant is resolved here and written into the event that opens the item, so that nothing
has to be worked out again when it is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from datetime import date, datetime, time, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import Struct

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import SYSTEM
from kat_workflow.program.clock import at_clock, local_date, plus

if TYPE_CHECKING:
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Item, Session, Settlement
    from kat_workflow.program.model import Phase, Program, SessionKind, Step

_step_of = attrgetter("step")
_SKIPPED = 0  # the number of an opening that branching skipped: it never opened


def open_items(run: Run) -> bool:
    """Open what can open now; whether a step was skipped, which others may depend on.

    That an item is open changes nothing a gate can read and finishes no phase, so that all
    of them are opened at once, without starting over.
    """
    s, wanted = run.s, _wanted(run)
    if s.standing == "discharged" or not wanted:
        return False
    open_ = set(map(_step_of, s.items.values()))
    settled, everything = s.settled, wanted is _EVERYTHING
    for visit in s.visits.values():
        names, steps = run.tables.steps[visit.phase]
        if not names or (not everything and wanted.isdisjoint(names)):
            continue
        place = visit.place
        away = visit.region == "excursion"
        for name, recurs, first, step in steps:
            if name in open_ or not (everything or name in wanted):
                continue
            last = settled.get(name)
            if last is not None and last.place == place:
                if not recurs:
                    continue
            elif first and first not in settled:
                continue
            if _open(run, step, place, visit.entered, away=away):
                run.looked = 0  # all that is left is looked at anew
                return True
    for session in s.sessions.values():
        if session.state in ("arrived", "recovering", "stopping"):
            part = "before" if session.state == "arrived" else "after"
            since = session.ended or run.now
            for name, _, _, step in run.tables.steps[session.kind][1]:
                if (
                    step.part == part
                    and name not in open_
                    and (everything or name in wanted)
                    and not _is_settled(run, name, session.place)
                    and _open(run, step, session.place, since, runs=session.under_way)
                ):
                    run.looked = 0
                    return True
        if session.dosed is not None and session.under_way:
            _open_watch(run, session, open_)
    return False


def _wanted(run: Run) -> Set[str]:
    """The steps that what has happened since the last look could have let open.

    Before the command nothing was left to open, so that most recordings need no look at all.
    """
    opens, seen = run.tables.opens, run.looked
    run.looked = len(run.events)
    wanted: set[str] = set()
    recorded: str | None = None
    for event in run.events[seen:]:
        # An event is of one class exactly: `isinstance` would ask each class for its subclasses.
        if type(event) is e.ItemSettled:
            wanted.update(opens.by_step.get(event.step, ()))
        elif type(event) is e.ObservationRecorded:
            wanted.update(opens.by_form.get(event.form, ()))
            recorded = event.observation
        elif type(event) is e.Signed and event.observation == recorded:
            pass  # signed in the act that recorded it: it never was without that signature
        elif type(event) not in _OPEN_NOTHING:
            return _EVERYTHING
    visits, sessions = run.s.visits, run.s.sessions
    for owner, steps in opens.timed.items():
        if owner in visits or (sessions and run.session_of(owner) is not None):
            wanted.update(steps)
    return wanted


_EVERYTHING = frozenset(["*"])
_OPEN_NOTHING = frozenset(
    [e.ItemOpened, e.AlertRaised, e.DeviationNoted, e.RecheckSet, e.TimerElapsed]
)


class Opens(Struct, frozen=True):
    """Which steps of a program could open when a step is settled or a form is recorded; `timed`,
    by phase or session kind, also by the mere passing of time."""

    by_step: dict[str, set[str]]
    by_form: dict[str, set[str]]
    timed: dict[str, set[str]]


def opens_of(program: Program) -> Opens:
    """What can open when, worked out once per program."""
    by_step: defaultdict[str, set[str]] = defaultdict(set)
    by_form: defaultdict[str, set[str]] = defaultdict(set)
    timed: defaultdict[str, set[str]] = defaultdict(set)
    for step in program.steps.values():
        name, test, anchor = step.name, step.only_if, step.counted_from
        steps, forms = set(step.after), set()
        if step.every or step.at_most > 1 or step.part == "watch":
            steps.add(name)
        if anchor.kind == "step":
            steps.add(anchor.name)
        elif anchor.kind == "fact":
            forms.add(anchor.name.rpartition(".")[0])
        if test is not None:
            forms.update(read[0] for read in test.reads)
            steps.update(test.steps)
            steps.update(tally.partition(":")[0] for tally in test.tallies)
            if test.temporal:
                timed[step.owner].add(name)
        for other in steps:
            by_step[other].add(name)
        for form in forms:
            by_form[form].add(name)
    return Opens(dict(by_step), dict(by_form), dict(timed))


def _is_settled(run: Run, step: str, place: str) -> bool:
    last = run.s.settled.get(step)
    return last is not None and last.place == place


def _open(
    run: Run, step: Step, place: str, entered: datetime, away: bool = False, runs: bool = False
) -> bool:
    """Open a step of a place if it is time for it; whether it was skipped instead.

    `away`: on an excursion; `runs`: no hold masks it, as in a session under way (R11).
    """
    last = run.s.settled.get(step.name)
    if last is not None and last.place == place:
        number = last.number + 1
        if number == _SKIPPED + 1 or number > step.at_most:
            return False
    else:
        last, number = None, 1
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
    opens, due, closes, following = _times(run, step, anchor, last, number)
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


def _skip(run: Run, step: Step, place: str) -> None:
    """Branching leaves a step out of a visit: settled without having been open."""
    run.emit(
        e.ItemSettled(
            f"{place}/{step.name}.{_SKIPPED}",
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
    run: Run, step: Step, anchor: datetime, last: Settlement | None, number: int
) -> tuple[datetime, datetime | None, datetime | None, datetime | None]:
    """When an item opens, is due, closes, and when its successor opens."""
    if not step.every:
        return (
            anchor if step.opens is None else plus(anchor, step.opens, run.site),
            None if step.due is None else plus(anchor, step.due, run.site),
            None if step.closes is None else plus(anchor, step.closes, run.site),
            None,
        )
    interval, clocks = _pace(run, step)
    # Whose time ran out is followed at once; what a person settles, also as missed, is
    # followed when the next is planned.
    missed = last is not None and last.outcome == "missed" and last.hands[-1] == SYSTEM.person
    base = anchor if last is None else last.at
    if interval is not None:
        opens = base if last is None or missed else base + interval
        following = opens + interval
    else:
        if missed:
            opens = _clock_before(run, clocks, base)
        else:
            opens = _clock_after(run, clocks, base, strict=last is not None)
        following = _clock_after(run, clocks, opens, strict=True)
    due = None if step.due is None else plus(opens, step.due, run.site)
    if number >= step.at_most:
        return opens, due, None, None
    # One that is missed before it would be late is late: somebody is called (R9).
    return opens, None if due is None else min(due, following), None, following


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
        return None if at is None or at < entered else at
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


def _pace(run: Run, step: Step) -> tuple[timedelta | None, tuple[time, ...]]:
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


def _open_watch(run: Run, session: Session, open_: set[str]) -> None:
    watch = run.program.sessions[session.kind].watch
    if watch is None or watch.step in open_ or session.dosed is None:
        return
    last = run.s.settled.get(watch.step)
    number = 1
    if last is not None and last.place == session.place:
        number = last.number + 1
    step = run.program.steps[watch.step]

    def planned(n: int) -> datetime:
        assert session.dosed is not None
        at = watch.at[min(n, len(watch.at)) - 1].elapsed
        return session.dosed + at + max(0, n - len(watch.at)) * watch.then_every.elapsed

    # One that is missed before it would be late is late: somebody is called (R9).
    opens, following = planned(number), planned(number + 1)
    run.emit(
        e.ItemOpened(
            f"{session.place}/{watch.step}.{number}",
            watch.step,
            "watch",
            step.by,
            run.now,
            opens,
            min(opens + watch.late_after.elapsed, following),
            None,
            following,
            "runs",
            step.when_late is not None,
        )
    )


def coming(run: Run, item: Item, end: datetime) -> tuple[datetime, ...]:
    """When further openings of an item are planned before an instant, if its pace stays so."""
    step = run.program.steps.get(item.step)
    if item.next is None or step is None or not step.every:
        return ()
    interval, clocks = _pace(run, step)
    found: list[datetime] = []
    at = item.next
    while at < end:
        found.append(at)
        at = at + interval if interval is not None else _clock_after(run, clocks, at, strict=True)
    return tuple(found)


def open_work(run: Run, step: Step) -> None:
    """Open work that is due after leaving."""
    at, site = run.now, run.site
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


def replan(run: Run, item: Item, held: datetime) -> None:
    """Give a paused item its remaining time back, or let a restarted one begin anew."""
    shift = run.now - (held if item.opened is None else item.opened)

    def later(at: datetime | None) -> datetime | None:
        passed = at is not None and item.on_hold == "pauses" and at <= held
        return at if at is None or passed else at + shift

    opens, due, following = later(item.opens) or item.opens, later(item.due), later(item.next)
    step = run.program.steps[item.step]
    clocks = _pace(run, step)[1] if step.every else ()
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
    calls = item.calls or (anew is not None and step.when_late is not None and due is not None)
    run.emit(e.ItemReplanned(item.id, opens, due, closes, following, "hold lifted", anew, calls))


def steps_of(
    program: Program,
) -> dict[str, tuple[frozenset[str], tuple[tuple[str, bool, str, Step], ...]]]:
    """The steps of each phase and session kind: their names, and what is asked of each on every
    command: its name, whether it recurs, and the first step that it waits for."""
    owners: dict[str, Phase | SessionKind] = {**program.phases, **program.sessions}
    return {
        name: (
            frozenset(owner.steps),
            tuple(
                (step.name, bool(step.every), step.after[0] if step.after else "", step)
                for step in (program.steps[each] for each in owner.steps)
            ),
        )
        for name, owner in owners.items()
    }
