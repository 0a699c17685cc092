"""One run to completion: a draft of the enrollment, the events so far, and the rules R4 to R8.

A `Run` is the private workbench of `decide`: it folds each event at once (R4), answers the gates'
questions (`Facts`), and settles (R5): alerts and stop rules on each new reading first, then items,
then `at_once` rows, then finished phases, starting over after each single action until nothing
applies. It is made for one command and thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import SYSTEM
from kat_workflow.enrollment.state import (
    FOLDS,
    Enrollment,
    Item,
    ItemKind,
    Session,
    Settlement,
    Visit,
    copy_of,
    is_within,
)
from kat_workflow.errors import Clause
from kat_workflow.program import Outcome
from kat_workflow.program.chart import Goes, NextRound, Undecided, Ways, chart_of
from kat_workflow.program.clock import Site, at_clock, local_date, parse_duration, plus

if TYPE_CHECKING:  # a program is made elsewhere, and only by those who load one
    from kat_workflow.enrollment.around import Around
    from kat_workflow.program.forms import Observation, Raw
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import (
        End,
        Lateness,
        Phase,
        Program,
        Retention,
        Row,
        SessionKind,
        SessionRule,
        Step,
    )

EXCURSION = "excursion."
"""What the ids of holds begin with that stand while a patient is on an excursion."""
EVERY_GATE = "*"
_SKIPPED = 0  # the number of an opening that branching skipped: it never opened


class Run:
    """The workbench of one command."""

    __slots__ = (
        "_entered",
        "_today",
        "_waiting",
        "around",
        "chart",
        "command",
        "events",
        "ignored",
        "looped",
        "new",
        "now",
        "person",
        "program",
        "role",
        "s",
        "site",
        "steps",
    )

    def __init__(
        self, program: Program, enrollment: Enrollment, around: Around, now: datetime
    ) -> None:
        self.program = program
        self.chart = chart_of(program)
        self.steps = _steps_of(program)
        self.around = around
        self.site: Site = around.site
        self.s = copy_of(enrollment)
        self.now = now
        self.command = ""
        self.person = ""
        self.role = ""
        self.looped = False
        self.ignored = ""  # the gate whose override does not count now, or `EVERY_GATE`
        self.events: list[e.Event] = []
        self.new: list[tuple[str, str, str]] = []
        self._entered: set[str] = set()
        self._waiting: list[Test] = []
        self._today: date | None = None

    def emit(self, event: e.Event) -> None:
        """Write an event and fold it at once, so that every later gate sees it (R4)."""
        self.events.append(event)
        self.s.version += 1
        FOLDS[type(event)](self.s, event)

    # ---- Facts: what gates may read -------------------------------------------------------

    @property
    def admitted(self) -> date | None:
        """See `Facts`."""
        return self.s.admitted

    def readings(self, form: str) -> Sequence[Observation]:
        """See `Facts`."""
        return self.s.readings.get(form, ())

    def where(self, scope: str) -> str | None:
        """See `Facts`."""
        visit = self.s.visits.get(scope)
        if visit is not None:
            return visit.place
        session = self.session_of(scope)
        return None if session is None else session.place

    def settled(self, step: str) -> tuple[str, datetime, str] | None:
        """See `Facts`."""
        last = self.s.settled.get(step)
        return None if last is None else (last.outcome, last.at, last.place)

    def tally(self, what: str) -> int:
        """See `Facts`."""
        name, _, event = what.rpartition(":")
        tally = self.s.tallies.get(name)
        return self.s.counts.get(what, 0) if tally is None else getattr(tally, event, 0)

    def session_instant(self, kind: str, event: str) -> datetime | None:
        """See `Facts`."""
        tally = self.s.tallies.get(kind)
        return None if tally is None else getattr(tally, event + "_at")

    def given(self, kind: str, scope: str | None) -> str | None:
        """See `Facts`."""
        session = self.session_of(kind)
        return None if session is None else session.given or None

    def consent(self, name: str) -> tuple[str, datetime | None] | None:
        """See `Facts`."""
        state = self.s.consents.get(name)
        return None if state is None else (state.state, state.until)

    def entered(self, phase: str) -> datetime | None:
        """See `Facts`."""
        visit = self.s.visits.get(phase)
        return None if visit is None else visit.entered

    def round(self, phase: str) -> int | None:
        """See `Facts`."""
        visit = self.s.visits.get(phase)
        return None if visit is None else visit.round

    def overridden(self, gate: str) -> bool:
        """See `Facts`."""
        until = self.s.overrides.get(gate)
        return until is not None and self.now < until and self.ignored not in (gate, EVERY_GATE)

    def session_of(self, kind: str) -> Session | None:
        """The session of a kind that is not over; there is at most one."""
        return next((x for x in self.s.sessions.values() if x.kind == kind), None)

    # ---- R5: settle -----------------------------------------------------------------------

    def settle(self) -> None:
        """Repeat, one action at a time, until nothing applies; then set the recheck timer."""
        while True:
            del self._waiting[:]
            if not (
                self._act_on_readings()
                or self._open_items()
                or self._go_at_once()
                or self._finish_phases()
                or self._close()
            ):
                break
        self._set_recheck()

    def truth(self, test: Test) -> bool | None:
        """A gate's truth; one that could turn by time alone is remembered for the recheck."""
        if test.temporal:
            self._waiting.append(test)
        return test.truth(self)

    # (a) readings

    def _act_on_readings(self) -> bool:
        if not self.new:
            return False
        form, by_step, record = self.new.pop(0)
        for session in list(self.s.sessions.values()):
            if session.under_way:
                self._watch_rules(session, self.program.sessions[session.kind], form, record)
        for alert in self.program.alerts:
            if _reads(alert.when, form) and alert.when.truth(self):
                self.alert(alert.name, alert.says, alert.tell, alert.answer_within.elapsed, record)
        step = self.program.steps.get(by_step)
        for alert in step.alerts if step is not None else ():
            if alert.when.truth(self):
                self.alert(alert.name, alert.says, alert.tell, alert.answer_within.elapsed, record)
        return True

    def _watch_rules(self, session: Session, kind: SessionKind, form: str, record: str) -> None:
        for rule in kind.stop_when:
            if _reads(rule.when, form) and rule.when.truth(self):
                self._call(rule, record)
                now = self.s.sessions.get(session.id)
                if now is not None and now.state == "under_way":
                    self.stop_dosing(session.id, rule.says, rule.name)
        if self._is_dosing(session.id):
            for rule in kind.pause_when:
                if _reads(rule.when, form) and rule.when.truth(self):
                    self._call(rule, record)
                    if self._is_dosing(session.id):
                        self.emit(e.DosingPaused(session.id, self.now, rule.name))
        for alert in kind.alerts:
            if _reads(alert.when, form) and alert.when.truth(self):
                self.alert(alert.name, alert.says, alert.tell, alert.answer_within.elapsed, record)

    def _is_dosing(self, session: str) -> bool:
        now = self.s.sessions.get(session)
        return now is not None and now.dosing == "running"

    def _call(self, rule: SessionRule, record: str) -> None:
        if rule.tell and rule.answer_within is not None:
            self.alert(rule.name, rule.says, rule.tell, rule.answer_within.elapsed, record)

    def alert(
        self,
        name: str,
        says: str,
        tell: tuple[str, ...],
        within: timedelta,
        source: str,
        item: str = "",
    ) -> None:
        """Call somebody, unless the same call is still unanswered."""
        if not any(i.kind == "alert" and i.about == name for i in self.s.items.values()):
            self.emit(e.AlertRaised(name, says, tell, self.now, source, item))
            self._special(f"alert.{self.s.version}", "alert", tell, name, within)

    def review(self, about: str, roles: tuple[str, ...] = ()) -> None:
        """Somebody must look at what was written."""
        who = roles or self.program.decided_by or tuple(self.program.roles)
        self._special(f"review.{self.s.version}", "review", who, about, None)

    def deviation(self, code: str, says: str, record: str = "") -> None:
        """A report is kept although it departs from the program."""
        self.emit(e.DeviationNoted(code, says, self.now, record))
        self.review(code)

    def _special(
        self, id_: str, kind: ItemKind, roles: tuple[str, ...], about: str, within: timedelta | None
    ) -> None:
        due = None if within is None else self.now + within
        self.emit(
            e.ItemOpened(
                id_, "", kind, roles, self.now, self.now, due=due, on_hold="runs", about=about
            )
        )

    # (b) items

    def _open_items(self) -> bool:
        """Open what can open now; whether a step was skipped, which others may depend on.

        That an item is open changes nothing a gate can read and finishes no phase, so that all
        of them are opened at once, without starting over.
        """
        s = self.s
        if s.standing == "discharged":
            return False
        open_ = {item.step for item in s.items.values()}
        settled = s.settled
        for visit in s.visits.values():
            place = visit.place
            away = visit.region == "excursion"
            for name, recurs, first, step in self.steps[visit.phase]:
                if name in open_:
                    continue
                last = settled.get(name)
                if last is not None and last.place == place:
                    if not recurs:
                        continue
                elif first and first not in settled:
                    continue
                if self._open(step, place, visit.entered, away=away):
                    return True
        for session in s.sessions.values():
            if session.state in ("arrived", "recovering", "stopping"):
                part = "before" if session.state == "arrived" else "after"
                since = session.ended or self.now
                for name, _, _, step in self.steps[session.kind]:
                    if (
                        step.part == part
                        and name not in open_
                        and not self._is_settled(name, session.place)
                        and self._open(step, session.place, since, runs=session.under_way)
                    ):
                        return True
            if session.dosed is not None and session.under_way:
                self._open_watch(session, open_)
        return False

    def _is_settled(self, step: str, place: str) -> bool:
        last = self.s.settled.get(step)
        return last is not None and last.place == place

    def _open(
        self, step: Step, place: str, entered: datetime, away: bool = False, runs: bool = False
    ) -> bool:
        """Open a step of a place if it is time for it; whether it was skipped instead.

        `away`: on an excursion; `runs`: no hold masks it, as in a session under way (R11).
        """
        last = self.s.settled.get(step.name)
        if last is not None and last.place == place:
            number = last.number + 1
            if number == _SKIPPED + 1 or number > step.at_most:
                return False
        else:
            last, number = None, 1
        runs = runs or step.on_hold == "runs"
        if not runs and self.masked(away):
            return False
        if last is None:
            if not all(self._answered(other) for other in step.after):
                return False
            if step.only_if is not None:
                verdict = self.truth(step.only_if)
                if verdict is False:
                    self._skip(step, place)
                    return True
                if verdict is None:
                    return False
        anchor = self._anchor(step, entered)
        if anchor is None:
            return False
        opens, due, closes, following = self._times(step, anchor, last, number)
        self.emit(
            e.ItemOpened(
                f"{place}/{step.name}.{number}",
                step.name,
                "step",
                step.by,
                self.now,
                opens,
                due,
                closes,
                following,
                "runs" if away or runs else step.on_hold,
                step.when_late is not None and due is not None,
            )
        )
        return False

    def _skip(self, step: Step, place: str) -> None:
        """Branching leaves a step out of a visit: settled without having been open."""
        self.emit(
            e.ItemSettled(
                f"{place}/{step.name}.{_SKIPPED}",
                step.name,
                place,
                "skipped",
                self.now,
                reason="only_if",
                keep=step.remembered,
                tally=step.tallied,
            )
        )

    def _times(
        self, step: Step, anchor: datetime, last: Settlement | None, number: int
    ) -> tuple[datetime, datetime | None, datetime | None, datetime | None]:
        """When an item opens, is due, closes, and when its successor opens."""
        if not step.every:
            return (
                anchor if step.opens is None else plus(anchor, step.opens, self.site),
                None if step.due is None else plus(anchor, step.due, self.site),
                None if step.closes is None else plus(anchor, step.closes, self.site),
                None,
            )
        interval, clocks = self._pace(step)
        # Whose time ran out is followed at once; what a person settles, also as missed, is
        # followed when the next is planned.
        missed = last is not None and last.outcome == "missed" and last.hands[-1] == SYSTEM.person
        base = anchor if last is None else last.at
        if interval is not None:
            opens = base if last is None or missed else base + interval
            following = opens + interval
        else:
            if missed:
                opens = self._clock_before(clocks, base)
            else:
                opens = self._clock_after(clocks, base, strict=last is not None)
            following = self._clock_after(clocks, opens, strict=True)
        due = None if step.due is None else plus(opens, step.due, self.site)
        if number >= step.at_most:
            return opens, due, None, None
        # One that is missed before it would be late is late: somebody is called (R9).
        return opens, None if due is None else min(due, following), None, following

    def masked(self, away: bool = False) -> bool:
        """Whether a hold stands. What is done on an excursion (`away`) is not masked by the hold
        that the excursion itself brought."""
        return any(not (away and id_.startswith(EXCURSION)) for id_ in self.s.holds)

    def _answered(self, other: str) -> bool:
        """Whether a step that another waits for is settled where it now matters."""
        last = self.s.settled.get(other)
        if last is None:
            return False
        owner = self.program.steps[other]
        now_at = self.where(owner.owner)
        return now_at is None or last.place == now_at

    def _anchor(self, step: Step, entered: datetime) -> datetime | None:
        """The instant a step's times count from; None while it is not known."""
        anchor = step.counted_from
        if step.on_day is not None or step.at is not None:
            if step.on_day is None:
                day = self.today()
            elif self.s.admitted is None:
                return None
            else:
                day = self.s.admitted + timedelta(days=step.on_day - 1)
            while step.at is not None and day in self.site.closed:
                day += timedelta(days=1)
            return at_clock(day, step.at or time(0), self.site)
        if anchor.kind == "opening":
            return self.now
        if anchor.kind == "entering":
            return entered
        if anchor.kind == "step":
            last = self.s.settled.get(anchor.name)
            return None if last is None or not self._answered(anchor.name) else last.at
        if anchor.kind == "session":
            at = self.session_instant(anchor.name, anchor.event)
            return None if at is None or at < entered else at
        return self._instant_of(anchor.name)

    def _instant_of(self, fact: str) -> datetime | None:
        form, _, name = fact.rpartition(".")
        for reading in reversed(self.readings(form)):
            value = reading.values.get(name)
            if isinstance(value, str):
                if self.program.forms[form].fields[name].type == "date":
                    return at_clock(date.fromisoformat(value), time(0), self.site)
                return datetime.fromisoformat(value)
        return None

    def _pace(self, step: Step) -> tuple[timedelta | None, tuple[time, ...]]:
        """The cadence that holds now; unknown rows are passed over, the last is unconditional."""
        for row in step.every[:-1]:
            if row.when is None or row.when.truth(self):
                break
        else:
            row = step.every[-1]
        return (None if row.interval is None else row.interval.elapsed), row.daily_at

    def _clock_after(self, clocks: tuple[time, ...], at: datetime, strict: bool) -> datetime:
        day = local_date(at, self.site)
        while True:
            if day not in self.site.closed:
                for clock in sorted(clocks):
                    instant = at_clock(day, clock, self.site)
                    if instant > at or (instant == at and not strict):
                        return instant
            day += timedelta(days=1)

    def _clock_before(self, clocks: tuple[time, ...], at: datetime) -> datetime:
        day = local_date(at, self.site)
        while True:
            if day not in self.site.closed:
                for clock in sorted(clocks, reverse=True):
                    instant = at_clock(day, clock, self.site)
                    if instant <= at:
                        return instant
            day -= timedelta(days=1)

    def _open_watch(self, session: Session, open_: set[str]) -> None:
        watch = self.program.sessions[session.kind].watch
        if watch is None or watch.step in open_ or session.dosed is None:
            return
        last = self.s.settled.get(watch.step)
        number = 1
        if last is not None and last.place == session.place:
            number = last.number + 1
        step = self.program.steps[watch.step]

        def planned(n: int) -> datetime:
            assert session.dosed is not None
            at = watch.at[min(n, len(watch.at)) - 1].elapsed
            return session.dosed + at + max(0, n - len(watch.at)) * watch.then_every.elapsed

        # One that is missed before it would be late is late: somebody is called (R9).
        opens, following = planned(number), planned(number + 1)
        self.emit(
            e.ItemOpened(
                f"{session.place}/{watch.step}.{number}",
                watch.step,
                "watch",
                step.by,
                self.now,
                opens,
                min(opens + watch.late_after.elapsed, following),
                None,
                following,
                "runs",
                step.when_late is not None,
            )
        )

    def settle_item(self, item: Item, outcome: Outcome, at: datetime, reason: str = "") -> None:
        """Answer an item for good. What opens next is found by the rules, not here."""
        step = self.program.steps.get(item.step)
        self.emit(
            e.ItemSettled(
                item.id,
                item.step,
                item.place,
                outcome,
                at,
                self.person,
                reason,
                step is not None and step.remembered,
                step is not None and step.tallied,
                () if item.pending is None else item.pending.hands,
                step is not None and step.compared,
            )
        )

    # (c) rows that are asked all the time

    def _go_at_once(self) -> bool:
        urgent = _urgent(self.program)
        if urgent.isdisjoint(self.s.visits):
            return False
        for name in self.chart.outermost_first(tuple(self.s.visits)):
            phase = self.program.phases[name]
            if name in urgent:
                masked = self.masked(phase.excursion)
                ways = self.chart.safety(name) if masked else self.chart.at_once(name)
                outcome = ways.ask(self)
                if isinstance(outcome, Goes) and self._go(phase, outcome):
                    return True
                self._wait_for(ways)
        return False

    def _wait_for(self, ways: Ways) -> None:
        self._waiting.extend(r.when for r in ways.rows if r.when is not None and r.when.temporal)

    def undecided(self) -> Iterable[tuple[str, str, tuple[Clause, ...]]]:
        """The finished phases that wait for a gate: phase, where it would lead, clauses."""
        for name, visit in self.s.visits.items():
            phase = self.program.phases[name]
            if self._is_finished(phase, visit):
                outcome = self.chart.finished(name).ask(self, visit.round)
                if isinstance(outcome, Goes):
                    for session in self.s.sessions.values():
                        if session.under_way:
                            says = f"{session.id} is under way"
                            way = f"release {session.id}"
                            row = outcome.row
                            yield name, row.to or row.to_kind, (Clause(says, False, unblock=way),)
                if isinstance(outcome, Undecided):
                    to = outcome.row.to or outcome.row.to_kind if outcome.row is not None else ""
                    yield name, to, outcome.test.explain(self)

    # (d) finished phases

    def _finish_phases(self) -> bool:
        phases, visits = self.program.phases, self.s.visits
        for name in self.chart.innermost_first(tuple(visits)):
            phase, visit = phases[name], visits[name]
            if phase.kind == "sequence" and not visit.ended:
                continue
            if self._is_finished(phase, visit) and self._way_on(phase, visit):
                return True
        return False

    def _is_finished(self, phase: Phase, visit: Visit) -> bool:
        if phase.kind == "sequence" and not visit.ended:
            return False
        settled = self.s.settled
        for name in phase.required_steps:
            last = settled.get(name)
            if last is None or last.place != visit.place:
                return False
        if phase.kind == "tracks":
            ended = visit.ended
            for track in phase.children:
                if track not in ended and self.program.phases[track].required:
                    return False
        return not self._unreleased(visit.place)

    def _unreleased(self, place: str) -> Session | None:
        for session in self.s.sessions.values():
            if is_within(session.place, place):
                return session
        return None

    def _way_on(self, phase: Phase, visit: Visit) -> bool:
        if self.masked(phase.excursion):
            return False
        ways = self.chart.finished(phase.name)
        outcome = ways.ask(self, visit.round)
        again = isinstance(outcome, NextRound)
        repeat = phase.repeat
        if repeat is not None:
            if repeat.until is not None and repeat.until.temporal:
                self._waiting.append(repeat.until)
            if repeat.one_per:
                today = self.today()
                over = local_date(visit.entered, self.site) < today
                if again and not over:
                    return False  # the next round begins with the next local date: _set_recheck
                # A day that is over is not waited for: while `until` is unknown, nobody leaves.
                again = again or (over and isinstance(outcome, Undecided) and outcome.row is None)
        if again:
            return self._next_round(phase, visit)
        if isinstance(outcome, Goes):
            return self._go(phase, outcome)
        self._wait_for(ways)
        if isinstance(outcome, Undecided):
            return False
        if not phase.next and phase.parent:
            self._leave_tree(phase.name, "finished", finishes=phase.parent)
            return True
        return self._ask_the_way(phase, visit)

    def _ask_the_way(self, phase: Phase, visit: Visit) -> bool:
        id_ = f"{visit.place}/way-on"
        if id_ in self.s.items:
            return False
        roles = phase.decided_by or self.program.decided_by or tuple(self.program.roles)
        self._special(id_, "decide", roles, phase.name, None)
        return True

    def _next_round(self, phase: Phase, visit: Visit) -> bool:
        if not self._once(phase.name):
            return False
        self._leave_tree(phase.name, "next round")
        self.enter(self.chart.enter(phase.name), "next round", visit.visit, visit.round + 1)
        return True

    # ---- R6, R7: moves --------------------------------------------------------------------

    def _go(self, phase: Phase, outcome: Goes) -> bool:
        """Follow a row, unless a session under way would be cut (R12); whether anything moved."""
        row = outcome.row
        around = self.left_behind(phase, row)
        if any(x.under_way and is_within(x.place, around) for x in self.s.sessions.values()):
            return False
        if row.to_kind == "phase" and not self._once(row.to):
            return False
        self.follow(phase, row)
        return True

    def left_behind(self, phase: Phase, row: Row) -> str:
        """The place that is left where a row of a phase is followed; "" for all of them."""
        return "" if row.to_kind == "end" else self.s.visits[self._left_by(phase, row)].place

    def follow(self, phase: Phase, row: Row) -> None:
        """Move from a phase as a row of its says, in one step (R6)."""
        if row.when is not None:
            self.use_overrides((row.when,))
        if row.to_kind == "end":
            evidence = () if row.when is None else self.evidence((row.when,))
            self.discharge(self.program.ends[row.to], row.says, row.name, evidence)
        elif row.to_kind == "finish":
            left = self._left_by(phase, row)
            outer = self.program.phases[left].parent
            self._leave_tree(left, "finished", finishes=outer, row=row.name)
        elif row.to_kind == "back":
            self._leave_tree(phase.name, "back", row=row.name)
            for id_ in [id_ for id_ in self.s.holds if id_.startswith(EXCURSION)]:
                self.lift(id_)
        else:
            evidence = () if row.when is None else self.evidence((row.when,))
            self._leave_tree(self._left_by(phase, row), "moved on")
            self.enter(self.chart.enter(row.to), row.name, evidence=evidence)

    def _left_by(self, phase: Phase, row: Row) -> str:
        """The phase that a row leaves: its own, or, where an end of a contained program leads
        further out, the one around it that is a sibling of the target."""
        if row.to_kind == "phase":
            outer = self.program.phases[row.to].parent
        else:
            outer = row.to or phase.parent
        return phase.path[phase.path.index(outer) + 1] if outer in phase.path else phase.path[0]

    def move_to(self, name: str) -> None:
        """Go to a phase from wherever the patient is: leave what cannot stay, enter what is not
        entered yet, outermost inwards."""
        path = self.program.phases[name].path
        shared = 0
        while path[shared] in self.s.visits:
            shared += 1
        parent = path[shared - 1] if shared else ""
        if not parent or self.program.phases[parent].kind == "sequence":
            for other in list(self.s.visits):
                phase = self.program.phases[other]
                if phase.parent == parent and not phase.excursion:
                    self._leave_tree(other, "moved")
        for outer in path[shared:-1]:
            beside = self.program.phases[outer]
            self.enter((outer,), "moved")
            if beside.kind == "tracks":
                for track in beside.children:
                    if track not in path:
                        self.enter(self.chart.enter(track), "start")
        self.enter(self.chart.enter(name), "moved")

    def _once(self, phase: str) -> bool:
        """R7: a phase is entered at most once per run; a breach asks a person to look."""
        if phase not in self._entered:
            return True
        self.looped = True
        if not any(i.about == "program-loops" for i in self.s.items.values()):
            self.review("program-loops")
        return False

    def _leave_tree(self, name: str, reason: str, finishes: str = "", row: str = "") -> None:
        """Leave a phase and all that is active inside, innermost first, settling its items."""
        for left in self.chart.leave(name, tuple(self.s.visits)):
            visit = self.s.visits[left]
            self._settle_items_of(visit, reason)
            up, by = (finishes, row) if left == name else ("", "")
            self.emit(e.PhaseLeft(left, visit.place, self.now, reason, up, by))

    def _settle_items_of(self, visit: Visit, reason: str) -> None:
        for session in list(self.s.sessions.values()):
            if session.state in ("booked", "arrived") and is_within(session.place, visit.place):
                self.cancel_session(session, reason)
        inside = visit.place + "/"
        for item in [item for item in self.s.items.values() if item.id.startswith(inside)]:
            self.settle_item(item, "left", self.now, reason)

    def cancel_session(self, session: Session, reason: str) -> None:
        """A session in which nothing was given does not take place."""
        self.emit(e.SessionCancelled(session.id, self.now, reason))
        self.settle_session_items(session, reason)

    def settle_session_items(self, session: Session, reason: str) -> None:
        """Whatever is still open in a session that is over is left."""
        for item in list(self.s.items.values()):
            if item.place == session.place:
                self.settle_item(item, "left", self.now, reason)

    def enter(
        self,
        names: Iterable[str],
        row: str,
        visit: int = 0,
        round_: int = 1,
        evidence: tuple[str, ...] = (),
    ) -> None:
        """Enter phases, outermost inwards. `visit` and `round_` are the first's, where it begins
        another round instead of a new visit; `evidence` is what led to the move."""
        for name in names:
            self._entered.add(name)
            phase = self.program.phases[name]
            parent = self.s.visits.get(phase.parent) if phase.parent else None
            base = f"{parent.place}/{name}" if parent is not None else name
            entries = self.s.counts if parent is None else parent.inside
            number = entries.get(name, 0) + 1
            place = f"{base}.{number}"
            visit = visit or number - entries.get(name + "#", 0)
            self.emit(
                e.PhaseEntered(name, place, phase.region, self.now, visit, round_, row, evidence)
            )
            if phase.admits and self.s.admitted is None:
                self.emit(e.Admitted(self.today(), self.now))
            visit, round_, row, evidence = 0, 1, "start", ()

    def use_overrides(self, tests: Iterable[Test]) -> None:
        """Overrides without which a gate would not hold are used up."""
        for test in tests:
            for gate in test.gates:
                if self.overridden(gate):
                    self.ignored = gate
                    needed = test.truth(self) is not True
                    self.ignored = ""
                    if needed:
                        self.emit(e.OverrideUsed(gate, self.command, self.now))

    def evidence(self, tests: Iterable[Test]) -> tuple[str, ...]:
        """The observations that gates relied on: the last of each form they read."""
        found: list[str] = []
        for test in tests:
            for read in test.reads:
                kept = self.readings(read[0])
                if kept and kept[-1].id not in found:
                    found.append(kept[-1].id)
        return tuple(found)

    def stop_dosing(self, session_id: str, reason: str, rule: str = "") -> None:
        """End the dose of a session early: aborted if something was given, else cancelled."""
        session = self.s.sessions[session_id]
        if session.dosed is None:
            self.cancel_session(session, reason)
        else:
            self.emit(e.SessionAborted(session_id, self.now, reason, rule))

    def release(
        self,
        session: Session,
        final: Literal["released", "aborted"],
        counted: bool,
        reason: str = "",
    ) -> None:
        """A session is over: its items are left, the step that held it is done if it counted."""
        rule = self.program.sessions[session.kind].release
        tests = () if rule is None or rule.when is None else (rule.when,)
        evidence = self.evidence(tests)
        self.emit(e.SessionReleased(session.id, self.now, final, counted, reason, evidence))
        self.settle_session_items(session, reason or "released")
        item = self.s.items.get(session.item)
        if item is not None and counted:
            self.settle_item(item, "done", self.now)

    def discharge(
        self, end: End, reason: str, row: str = "", evidence: tuple[str, ...] = ()
    ) -> None:
        """Every end, from everywhere, in one commit."""
        s = self.s
        left_early = False
        for session in list(s.sessions.values()):
            if session.under_way and session.dosed is not None:
                if session.state == "under_way":
                    self.emit(e.SessionAborted(session.id, self.now, end.name))
                counted = self.counts(s.sessions[session.id])
                self.release(s.sessions[session.id], "aborted", counted, "left before release")
                left_early = True
            else:
                self.cancel_session(session, end.name)
        for item in list(s.items.values()):
            self.settle_item(item, "left", self.now, end.name)
        for name in self.chart.innermost_first(tuple(s.visits)):
            self.emit(e.PhaseLeft(name, s.visits[name].place, self.now, end.name))
        self.emit(e.Discharged(end.name, end.kind, self.now, reason, row, evidence))
        if left_early and end.kind not in ("died", "entered_in_error"):  # these close at once
            roles = self.program.decided_by or tuple(self.program.roles)
            self.alert(
                "left-before-release",
                "The patient left before being released from a session",
                roles,
                timedelta(hours=1),
                "",
            )
        for name in end.work:
            self._open_work(self.program.steps[name])

    def _open_work(self, step: Step) -> None:
        at, site = self.now, self.site
        due = None if step.due is None else plus(at, step.due, site)
        self.emit(
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

    def counts(self, session: Session) -> bool:
        """Whether a session counts, by the program's word."""
        test = self.program.sessions[session.kind].counts_when
        return test is None or test.truth(self) is True

    def _close(self) -> bool:
        if self.s.standing == "discharged" and not self.s.items:
            self.emit(e.Closed(self.now))
            return True
        return False

    # ---- holds and excursions -------------------------------------------------------------

    def hold(self, id_: str, reason: str) -> None:
        """Mask requests and moves; stop any dosing at once."""
        self.emit(e.Held(id_, reason, self.now, self.person))
        for session in list(self.s.sessions.values()):
            if session.dosing == "running":
                self.emit(e.DosingPaused(session.id, self.now, "hold"))

    def lift(self, id_: str) -> None:
        """Take a hold away; with the last one the paused and restarted times are re-planned."""
        since = self.s.holds[id_].masks
        self.emit(e.HoldLifted(id_, self.now, self.person))
        if self.s.holds:
            return
        for item in list(self.s.items.values()):
            if item.on_hold != "runs":
                self._replan(item, since)
        for session in list(self.s.sessions.values()):
            if session.lapses is not None and session.booked_for is not None:
                lapses = session.lapses + (self.now - since)
                self.emit(e.SessionMoved(session.id, session.booked_for, self.now, lapses))

    def _replan(self, item: Item, held: datetime) -> None:
        """Give a paused item its remaining time back, or let a restarted one begin anew."""
        shift = self.now - (held if item.opened is None else item.opened)

        def later(at: datetime | None) -> datetime | None:
            passed = at is not None and item.on_hold == "pauses" and at <= held
            return at if at is None or passed else at + shift

        opens, due, following = later(item.opens) or item.opens, later(item.due), later(item.next)
        step = self.program.steps[item.step]
        clocks = self._pace(step)[1] if step.every else ()
        if clocks:  # what the clock says does not move; what it said under the hold is not done
            if item.opens <= held:
                opens = item.opens
                coming = self._clock_after(clocks, self.now, strict=False)
            else:
                opens = self._clock_after(clocks, self.now, strict=False)
                due = None if step.due is None else plus(opens, step.due, self.site)
                coming = self._clock_after(clocks, opens, strict=True)
            following = None if item.next is None else coming
        closes, anew = later(item.closes), None if item.opened is None else self.now
        calls = item.calls or (anew is not None and step.when_late is not None and due is not None)
        self.emit(
            e.ItemReplanned(item.id, opens, due, closes, following, "hold lifted", anew, calls)
        )

    # ---- R8: the next instant at which a waiting gate could turn -------------------------------

    def _set_recheck(self) -> None:
        s = self.s
        first: datetime | None = None
        for test in self._waiting:
            at = test.turns_at(self)
            if at is not None and at > self.now and (first is None or at < first):
                first = at
        if not s.holds:
            for visit in s.visits.values():
                repeat = self.program.phases[visit.phase].repeat
                if repeat is not None and repeat.one_per and visit.round < repeat.at_most:
                    midnight = _midnight_after(self.today(), self.site)
                    if first is None or midnight < first:
                        first = midnight
        if first != s.recheck:
            self.emit(e.RecheckSet(first))

    # ---- recording ------------------------------------------------------------------------

    def observe(
        self,
        form: str,
        step: str,
        place: str,
        values: dict[str, Raw],
        occurred: datetime,
        item: str,
        needs: tuple[str, ...],
    ) -> str:
        """Write a recording of a form; returns the observation's id."""
        id_ = f"o{self.s.version + 1}"
        valid = self.program.forms[form].valid_for
        until = None
        if valid and (lasts := parse_duration(valid)) is not None:
            until = plus(occurred, lasts, self.site)
        retention = self.program.retention.get(form)
        by = self.program.steps.get(step)
        fields = by.keeps if by is not None else retention.fields if retention is not None else ()
        kept = tuple(name for name in fields if name in values)
        kept_in = "" if by is None or not by.kept_in else self.where(by.kept_in) or ""
        drops = self._drops(form, step, occurred, retention)
        self.emit(
            e.ObservationRecorded(
                id_,
                form,
                step,
                place,
                values,
                occurred,
                self.now,
                self.person,
                self.role,
                item,
                needs,
                until,
                kept,
                kept_in,
                drops,
            )
        )
        self.new.append((form, step, id_))
        return id_

    def _drops(
        self, form: str, step: str, occurred: datetime, retention: Retention | None
    ) -> tuple[str, ...]:
        """Recordings of the form that no gate can read any more once there is a newer one."""
        kept = self.s.readings.get(form)
        if not kept or retention is None or retention.all:
            return ()
        own = [o for o in kept if o.step == step]
        spare = own[: max(0, len(own) + 1 - retention.last)]
        if retention.span is not None:
            # One reading from before the span stays: it tells that the span is covered. A local
            # day may have 25 hours.
            opens = occurred - retention.span.elapsed
            if retention.span.calendar:
                opens -= timedelta(hours=1)
            before = [o for o in spare if o.occurred <= opens]
            spare = before[:-1]
        pending = {i.pending.observation for i in self.s.items.values() if i.pending is not None}
        return tuple(o.id for o in spare if o.id not in pending)

    def lateness(self, item: Item) -> Lateness | None:
        """What the program says about an item that became late."""
        step = self.program.steps.get(item.step)
        return None if step is None else step.when_late

    def started_today(self, kind: str) -> int:
        """How many sessions of a kind were started on this local date."""
        tally = self.s.tallies.get(kind)
        return tally.today if tally is not None and tally.on == self.today() else 0

    def today(self) -> date:
        """The site's date now."""
        if self._today is None:
            self._today = local_date(self.now, self.site)
        return self._today


@lru_cache(maxsize=256)
def _steps_of(program: Program) -> dict[str, tuple[tuple[str, bool, str, Step], ...]]:
    """The steps of each phase and session kind with what is asked of each on every command: its
    name, whether it recurs, and the first step that it waits for."""
    owners: dict[str, Phase | SessionKind] = {**program.phases, **program.sessions}
    return {
        name: tuple(
            (step.name, bool(step.every), step.after[0] if step.after else "", step)
            for step in (program.steps[each] for each in owner.steps)
        )
        for name, owner in owners.items()
    }


@lru_cache(maxsize=256)
def _urgent(program: Program) -> frozenset[str]:
    """The phases that have `at_once` rows."""
    return frozenset(name for name, phase in program.phases.items() if phase.at_once)


@lru_cache(maxsize=1024)
def _midnight_after(day: date, site: Site) -> datetime:
    return at_clock(day + timedelta(days=1), time(0), site)


def _reads(test: Test, form: str) -> bool:
    return any(read[0] == form for read in test.reads)


def names(items: Iterable[Item]) -> str:
    """Item ids for a message."""
    return ", ".join(item.id for item in items)
