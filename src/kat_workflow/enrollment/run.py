"""One run to completion: a draft of the enrollment, the events so far, and the rules R4 to R8.

A `Run` is the private workbench of `decide`: it folds each event at once (R4), answers the gates'
questions (`Facts`), and settles (R5): alerts and stop rules on each new reading first, then items,
then `at_once` rows, then finished phases, starting over after each single action until nothing
applies. It is made for one command and thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import alerts, crossing, groups, moving, opening, watching
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Addition, Beside, Unread
from kat_workflow.enrollment.reach import reach_of, tables_of
from kat_workflow.enrollment.renaming import in_names_of_now
from kat_workflow.enrollment.signing import asks_for_signatures, content_of
from kat_workflow.enrollment.state import (
    FOLDS,
    ConsentState,
    Enrollment,
    Item,
    ItemKind,
    Session,
    copy_of,
    is_within,
)
from kat_workflow.program import Cause, Outcome
from kat_workflow.program.clock import Day, Site, day_at, parse_duration, plus

if TYPE_CHECKING:  # a program is made elsewhere, and only by those who load one
    from kat_workflow.enrollment.around import Around, Past
    from kat_workflow.enrollment.reach import Reach, Tables
    from kat_workflow.program.chart import Chart
    from kat_workflow.program.forms import Form, Observation, Raw
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import (
        Lateness,
        Program,
        Retention,
        Step,
    )

EVERY_GATE = "*"


class Run(Struct, eq=False):
    """The workbench of one command, which `Run.of` begins; `s` is the draft of the enrollment."""

    program: Program
    tables: Tables
    chart: Chart
    around: Around
    site: Site
    s: Enrollment
    now: datetime
    since: datetime
    """When what the command tells happened."""
    command: str = ""
    person: str = ""
    emergency: bool = False
    """Whether what can be passed in an emergency counts as passed."""
    role: str = ""
    acting_for: str = ""
    """The person whose role is acted in, where that is another's."""
    events: list[e.Event] = []
    new: list[tuple[str, str, str]] = []
    """Readings that nothing was set off by yet: form, step and id."""
    waiting: list[Test] = []
    beside: dict[str, Addition] = {}
    looked: int = 0
    """How many of the events an open step has been looked for after."""
    lifted: datetime | None = None
    """Since when the last hold, lifted now, had stood."""
    ignored: str = ""
    """The gate whose override does not count now, or `EVERY_GATE`."""
    entries: set[str] = set()
    looped: bool = False
    passed: list[str] = []
    """What an emergency has passed."""
    late: dict[str, Run] = {}
    """By what a corrected or late reading is judged: its time."""
    unbalanced: list[str] = []
    """Sessions that ended, whose ledger was not looked at yet."""
    _day: Day | None = None

    @classmethod
    def of(
        cls,
        program: Program,
        enrollment: Enrollment,
        around: Around,
        now: datetime,
        command: str = "",
        person: str = "",
        emergency: bool = False,
    ) -> Run:
        """A workbench for an enrollment, which is left as it is."""
        tables = tables_of(program)
        return cls(
            program,
            tables,
            tables.chart,
            around,
            around.site,
            copy_of(enrollment),
            now,
            now,
            command,
            person,
            emergency,
        )

    def emit(self, event: e.Event) -> None:
        """Write an event and fold it at once, so that every later gate sees it (R4)."""
        s = self.s
        s.version += 1
        FOLDS[type(event)](s, event)
        self.events.append(event)

    def stream(self, what: Beside, key: str = "") -> Addition:
        """A stream around the enrollment, to be read or written to in the same commit.

        `key` says which, where the enrollment alone does not. Raises Unread where the shell has
        not read it.
        """
        name = f"{what}:{key}" if key else what
        found = self.beside.get(name)
        if found is None:
            state = self.around.known(what, key)
            if state is None:
                raise Unread(what, key)
            found = self.beside[name] = Addition(what, state.version, state, key=key)
        return found

    def history(self) -> tuple[Past, ...]:
        """All entries of the enrollment before this run, by the names of the version that holds.

        Raises Unread where the shell has not read them.
        """
        history = self.around.history
        if history is None:
            raise Unread("history")
        return in_names_of_now(history)

    def is_late(self, occurred: datetime) -> bool:
        """Whether something happened before a decision that has been taken since."""
        decided = self.s.decided
        return decided is not None and occurred < decided

    def is_active(self, place: str) -> bool:
        """Whether a visit or session is not over."""
        s = self.s
        return any(x.place == place for x in s.visits.values()) or any(
            x.place == place for x in s.sessions.values()
        )

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
        for session in self.s.sessions.values():
            if session.kind == scope:
                return session.place
        return None

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
        if until is None or self.now >= until:
            known = self.emergency and self.program.gates.get(gate)
            if not known or known.override is None:
                return False
        return self.ignored not in (gate, EVERY_GATE)

    def session_of(self, kind: str) -> Session | None:
        """The session of a kind that is not over; there is at most one."""
        for session in self.s.sessions.values():
            if session.kind == kind:
                return session
        return None

    # ---- R5: settle -----------------------------------------------------------------------

    def settle(self) -> None:
        """Repeat, one action at a time, until nothing applies; then set the recheck timer."""
        s = self.s
        while True:
            if self.waiting:
                self.waiting.clear()
            if self.new:
                alerts.act_on_readings(self)
                continue
            active = tuple(s.visits)
            reach = self.tables.reaches.get(active) or reach_of(self.program, active)
            if not (
                opening.open_items(self, reach)
                or (reach.urgent and moving.go_at_once(self, reach))
                or moving.finish_phases(self, reach)
                or (self.unbalanced and self._flag_imbalance())
                or (s.standing == "discharged" and moving.close(self))
            ):
                break
        self._set_recheck(reach)

    def truth(self, test: Test) -> bool | None:
        """A gate's truth; one that could turn by time alone is remembered for the recheck."""
        if test.temporal:
            self.waiting.append(test)
        return test.truth(self)

    def alert(
        self,
        name: str,
        says: str,
        tell: tuple[str, ...],
        within: timedelta,
        source: str,
        item: str = "",
        escalates: bool = False,
    ) -> None:
        """Call somebody, unless the same call is still unanswered. `escalates`: somebody else is
        called where nobody answers in time."""
        late = source in self.late
        if not any(i.kind == "alert" and i.about == name for i in self.s.items.values()):
            id_ = f"alert.{self.s.version + 1}"
            answer_by = self.now + within
            self.emit(e.AlertRaised(name, says, tell, self.now, source, item, late, id_, answer_by))
            self.special(id_, "alert", tell, name, within, calls=escalates)

    def review(self, about: str, roles: tuple[str, ...] = ()) -> Item:
        """Somebody must look at what was written."""
        who = roles or self.program.decided_by or self.program.staff
        id_ = f"review.{self.s.version}"
        self.special(id_, "review", who, about, None)
        return self.s.items[id_]

    def deviation(self, code: str, says: str, record: str = "") -> None:
        """A report is kept although it departs from the program."""
        self.emit(e.DeviationNoted(code, says, self.now, record))
        self.review(code)

    def special(
        self,
        id_: str,
        kind: ItemKind,
        roles: tuple[str, ...],
        about: str,
        within: timedelta | None,
        not_by: str = "",
        calls: bool = False,
        opens: datetime | None = None,
        closes: datetime | None = None,
    ) -> None:
        """Open an item that no step asks for: a call, a review, a way to be chosen. `opens`: from
        when it is to be answered, where that is later; `closes`: until when it can be."""
        due = None if within is None else self.now + within
        self.emit(
            e.ItemOpened(
                id_,
                "",
                kind,
                roles,
                self.now,
                opens or self.now,
                due,
                closes,
                on_hold="runs",
                calls=calls,
                about=about,
                not_by=not_by,
            )
        )

    def masked(self, away: bool = False) -> bool:
        """Whether a hold stands. What is done on an excursion (`away`) is not masked by the hold
        that the excursion itself brought."""
        holds = self.s.holds
        if not holds or not away:
            return bool(holds)
        return any(not id_.startswith(moving.EXCURSION) for id_ in holds)

    def settle_item(self, item: Item, outcome: Outcome, at: datetime, reason: str = "") -> None:
        """Answer an item for good. What opens next is found by the rules, not here."""
        step = self.program.steps.get(item.step)
        hands = () if item.pending is None else item.pending.hands
        taken = "" if item.details is None else item.details.assigned
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
                hands,
                step is not None and step.compared,
                taken if taken != self.person and taken not in hands else "",
            )
        )
        if self.s.groups:
            groups.over(self, item.id, outcome == "done")

    def cancel_session(
        self, session: Session, reason: str, cause: Cause = "", short: bool = False
    ) -> None:
        """A session in which nothing was given does not take place."""
        self.emit(e.SessionCancelled(session.id, self.now, reason, cause, short, session.order))
        crossing.over(self, session)
        self._leave_open(session)
        if self.s.groups:
            groups.over(self, session.id, held=False)
        self.settle_session_items(session, reason)

    def _leave_open(self, session: Session) -> None:
        """A session is over: whether its ledger balances is looked at when the run settles."""
        dose = self.program.sessions[session.kind].dose
        if dose is not None and dose.ledger:
            self.unbalanced.append(session.id)

    def _flag_imbalance(self) -> bool:
        from kat_workflow.enrollment import ledger  # noqa: PLC0415  # seldom needed

        ledger.flag_imbalance(self, self.unbalanced.pop(0))
        return True

    def settle_session_items(self, session: Session, reason: str) -> None:
        """Whatever is still open in a session that is over is left."""
        for item in list(self.s.items.values()):
            if item.place == session.place:
                self.settle_item(item, "left", self.now, reason)

    def use_overrides(self, tests: Iterable[Test], then: Run | None = None) -> None:
        """Overrides without which a gate would not hold (`then`, of what is told late) are used
        up."""
        at = then or self
        for test in tests:
            for gate in test.gates:
                if at.overridden(gate):
                    at.ignored = gate
                    needed = test.truth(at) is not True
                    at.ignored = ""
                    if needed:
                        if gate not in self.s.overrides:
                            self.passed.append(f"gate: {gate}")
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

    def stop_dosing(
        self, session_id: str, reason: str, rule: str = "", at: datetime | None = None
    ) -> None:
        """End the dose of a session early: aborted if something was given, else cancelled.
        `at`: when that was, where it is told later."""
        session = self.s.sessions[session_id]
        if session.dosed is None:
            self.cancel_session(session, reason)
        else:
            told = None if at is None else self.now
            self.emit(e.SessionAborted(session_id, at or self.now, reason, rule, told))

    def release(
        self,
        session: Session,
        final: Literal["released", "aborted"],
        counted: bool,
        reason: str = "",
        judged: int = 0,
        at: datetime | None = None,
    ) -> e.SessionReleased:
        """A session is over: its items are left, the step that held it is done if it counted.
        `judged` is the version at which the gates of a release were asked; `at` when it was, where
        it is told later."""
        rule = self.program.sessions[session.kind].release
        tests = () if rule is None or rule.when is None else (rule.when,)
        evidence = self.evidence(tests)
        released = e.SessionReleased(
            session.id,
            at or self.now,
            final,
            counted,
            reason,
            evidence,
            judged,
            None if at is None else self.now,
        )
        self.emit(released)
        if session.told is not None:
            watching.note_untold(self, session, released.at)
        crossing.over(self, session)
        self._leave_open(session)
        if self.s.groups:
            groups.over(self, session.id, held=True)
        self.settle_session_items(session, reason or "released")
        item = self.s.items.get(session.item)
        if item is not None and counted:
            self.settle_item(item, "done", released.at)
        return released

    def counts(self, session: Session) -> bool:
        """Whether a session counts, by the program's word."""
        test = self.program.sessions[session.kind].counts_when
        return test is None or test.truth(self) is True

    # ---- R8: the next instant at which a waiting gate could turn -------------------------------

    def _set_recheck(self, reach: Reach) -> None:
        s = self.s
        first: datetime | None = None
        for test in self.waiting:
            at = test.turns_at(self)
            if at is not None and at > self.now and (first is None or at < first):
                first = at
        if not s.holds:
            for name, at_most in reach.daily:
                if s.visits[name].round < at_most:
                    midnight = self.day().ends
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
        carried: e.Carried = "",
        source: str = "",
    ) -> e.ObservationRecorded:
        """Write a recording of a form, with the hash that its signatures are put under."""
        id_ = f"o{self.s.version + 1}"
        until = self.valid_until(self.program.forms[form], occurred)
        retention = self.program.retention.get(form)
        by = self.program.steps.get(step)
        kept = tuple(filter(values.__contains__, readable_fields(by, retention)))
        late = self.is_late(occurred)
        kept_in = "" if by is None or not by.kept_in else self.where(by.kept_in) or ""
        if late and kept_in and not is_within(place, kept_in):
            kept, kept_in = (), place  # of a visit that is over, and read only in it
        drops = self._drops(form, step, occurred, retention)
        recorded = e.ObservationRecorded(
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
            late=late,
            carried=carried,
            source=source,
        )
        if by is not None and asks_for_signatures(by):
            recorded = replace(recorded, content=content_of(self.s.id, recorded))
        self.emit(recorded)
        self.new.append((form, step, id_))
        return recorded

    def valid_until(self, form: Form, occurred: datetime) -> datetime | None:
        """When a result expires, if ever."""
        if form.valid_for and (lasts := _lasting(form.valid_for)) is not None:
            return plus(occurred, lasts, self.site)
        return None

    def _drops(
        self, form: str, step: str, occurred: datetime, retention: Retention | None
    ) -> tuple[str, ...]:
        """Recordings of the form that no gate can read any more once there is a newer one."""
        kept = self.s.readings.get(form)
        if not kept or retention is None or retention.all:
            return ()
        own = [o for o in kept if o.step == step]
        excess = max(0, len(own) + 1 - retention.last)
        if excess and own[excess - 1].occurred > occurred:
            excess -= 1  # the new one is older than what there is, and pushes nothing newer out
        spare = _forgettable(own[:excess], occurred, retention) if excess else ()
        if not spare:
            return ()
        pending = {i.pending.observation for i in self.s.items.values() if i.pending is not None}
        return tuple(o.id for o in spare if o.id not in pending)

    def lateness(self, item: Item) -> Lateness | None:
        """What the program says about an item that became late."""
        step = self.program.steps.get(item.step)
        return None if step is None else step.when_late

    def started_on(self, kind: str, day: date) -> int:
        """How many sessions of a kind were started on a local date, or since."""
        tally = self.s.tallies.get(kind)
        return tally.today if tally is not None and tally.on is not None and tally.on >= day else 0

    def go_on_at(self, site: Site) -> None:
        """From now on another site's zone tells the dates and clock times."""
        self.site, self._day = site, None

    def go_on_by(self, program: Program) -> None:
        """From now on another version of the program says what follows."""
        self.program = program
        self.tables = tables_of(program)
        self.chart = self.tables.chart

    def day(self) -> Day:
        """The site's date now, with its midnights."""
        if self._day is None:
            self._day = day_at(self.now, self.site)
        return self._day

    def today(self) -> date:
        """The site's date now."""
        return self.day().on


def readable_fields(step: Step | None, retention: Retention | None) -> tuple[str, ...]:
    """The fields of a recording that some gate can read."""
    if step is not None:
        return step.keeps
    return () if retention is None else retention.fields


def _forgettable(
    spare: list[Observation], newest: datetime, retention: Retention
) -> list[Observation]:
    """Of readings beyond the last ones, oldest first, those that no span reaches back to."""
    if retention.span is None:
        return spare
    # One reading from before the span stays: it tells that the span is covered. A local day may
    # have 25 hours.
    opens = newest - retention.span.elapsed
    if retention.span.calendar:
        opens -= timedelta(hours=1)
    return [o for o in spare if o.occurred <= opens][:-1]


def readable_of(program: Program, reading: Observation) -> dict[str, Raw]:
    """The values of a reading that some gate can read."""
    fields = readable_fields(program.steps.get(reading.step), program.retention.get(reading.form))
    return {name: reading.values[name] for name in fields if name in reading.values}


def retained(program: Program, readings: Sequence[Observation]) -> list[Observation]:
    """Of all readings of one form, oldest first, those that some gate can still read."""
    gone: set[str] = set()
    for step in dict.fromkeys(each.step for each in readings):
        retention = program.retention.get(readings[0].form)
        if retention is None or retention.all:
            continue
        own = [each for each in readings if each.step == step]
        spare = own[: max(0, len(own) - retention.last)]
        gone.update(each.id for each in _forgettable(spare, own[-1].occurred, retention))
    return [each for each in readings if each.id not in gone]


def consents_at(events: Iterable[e.Event], at: datetime) -> dict[str, ConsentState]:
    """The consents as they were at an instant, by all that these events tell."""
    found: dict[str, tuple[datetime, ConsentState]] = {}
    for x in events:
        if type(x) is e.ConsentChanged and x.at <= at:
            before = found.get(x.consent)
            if before is None or before[0] <= x.at:
                found[x.consent] = x.at, ConsentState(x.state, x.version, x.until)
    return {name: state for name, (_, state) in found.items()}


def taken_by(s: Enrollment, at: datetime) -> dict[str, tuple[Observation, ...]]:
    """Of the readings that gates can read, those that had been taken by an instant."""
    return {
        form: tuple(each for each in kept if each.occurred <= at)
        for form, kept in s.readings.items()
    }


_lasting = lru_cache(maxsize=1024)(parse_duration)


def names(items: Iterable[Item]) -> str:
    """Item ids for a message."""
    return ", ".join(item.id for item in items)
