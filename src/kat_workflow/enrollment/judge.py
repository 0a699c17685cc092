"""The judge of a command (R3): finds what it names and gathers the reasons against it, in order.

Standing and hold first, then the item or place, the actor, the values, the gates. *All* reasons
are gathered before anything is refused, so that a person hears them once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.moving import EXCURSION
from kat_workflow.enrollment.run import Run, consents_at, names
from kat_workflow.enrollment.state import is_within
from kat_workflow.errors import Reason
from kat_workflow.program import PATIENT
from kat_workflow.program.chart import ENROLLMENT, SESSION
from kat_workflow.program.clock import plus

if TYPE_CHECKING:  # a program is made elsewhere, and only by those who load one
    from kat_workflow.enrollment import commands as c
    from kat_workflow.enrollment.state import Enrollment, Item, Session
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import Program, SessionKind, Step

TOLERANCE = timedelta(minutes=2)
"""How far in the future `occurred` may lie: clocks of two devices differ a little."""


class Refused(Exception):
    """Carries the reasons to `decide`, which answers a Refusal; it goes no further."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = tuple(reasons)


class Judge(Struct, eq=False):
    """The command at hand: finds what it names and gathers the reasons against it, in order."""

    run: Run
    program: Program
    s: Enrollment
    command: c.Command
    actor: c.Actor
    at: datetime
    occurred: datetime
    reasons: list[Reason] = []

    @classmethod
    def of(cls, run: Run, command: c.Command) -> Judge:
        """Who judges a command on a workbench."""
        now = run.now
        judge = cls(run, run.program, run.s, command, command.by, now, now)
        if command.occurred is not None:
            judge._happened(command.occurred, command.at)
            run.since = judge.occurred
        return judge

    def _happened(self, at: datetime, now: datetime) -> None:
        """When it happened, where somebody says so."""
        occurred = self.instant(at, "it happened")
        if occurred is None:
            return
        if occurred > now + TOLERANCE:
            self.against("future", "it is said to have happened in the future", "correct the time")
        # Nothing has happened after now, whatever another clock shows: time never runs ahead.
        self.occurred = min(occurred, self.at)

    @property
    def told(self) -> datetime | None:
        """When it is told, where that is later than when it happened."""
        return self.at if self.occurred < self.at else None

    @property
    def then(self) -> Run:
        """What was so when it happened: the readings that had been taken by then, at the age that
        they had, and the consents in force. What is told at once is judged on the workbench
        itself."""
        run = self.run
        if self.told is None:
            return run
        then = Run.of(run.program, self.s, run.around, self.occurred)
        then.emergency = run.emergency
        if any(kept[-1].occurred > self.occurred for kept in self.s.readings.values()):
            # With a newer reading an older one that gates could read then may have been forgotten.
            from kat_workflow.enrollment import correcting  # noqa: PLC0415  # seldom needed

            found = correcting.records(past.event for past in run.history())
            then.s.readings = correcting.true_readings(found, self.occurred)
        if self.s.consents:
            past = (past.event for past in run.history())
            then.s.consents = consents_at(past, self.occurred)
        return then

    def not_before(self, at: datetime | None, what: str) -> None:
        """It cannot have happened before what it follows upon."""
        if at is not None and self.occurred < at:
            says = f"it is said to have happened before {what}, at {at:%Y-%m-%d %H:%M} UTC"
            self.against("implausible", says, "correct the time")

    def instant(self, given: datetime | None, what: str) -> datetime | None:
        """An instant that a caller gave; one without a zone names no moment."""
        if given is not None and given.tzinfo is None:
            self.against("naive-instant", f"the time when {what} has no zone", "give its offset")
            return None
        return given

    def against(self, code: str, says: str, *unblock: str) -> None:
        """Note one reason against the command."""
        self.reasons.append(Reason(code, says, unblock=unblock))

    def stop(self, code: str, says: str, *unblock: str) -> Refused:
        """A reason after which nothing more can be judged."""
        self.against(code, says, *unblock)
        return Refused(self.reasons)

    def end(self) -> None:
        """Refuse if there is any reason."""
        if self.reasons:
            raise Refused(self.reasons)

    # standing, hold

    def treated(self) -> None:
        """The enrollment must be applied or active."""
        if ENROLLMENT.next(self.s.standing, "discharge") is None:
            raise self.stop(
                "not-in-treatment",
                f"the enrollment is {self.s.standing}",
                "a re-admission is a new enrollment",
            )

    def not_held(self, away: bool = False) -> None:
        """No hold may stand, for requests; of what is done on an excursion (`away`), none but
        that of the excursion."""
        for id_, hold in self.s.holds.items():
            if away and id_.startswith(EXCURSION):
                continue
            if self.run.emergency:
                self.run.passed.append(f"hold: {id_}")
                continue
            self.against(
                "on-hold",
                f"{id_} stands since {hold.since:%Y-%m-%d %H:%M} UTC",
                f"lift {id_}" if not id_.startswith(EXCURSION) else "come back from the excursion",
            )

    # actor

    def actor_in(self, roles: Iterable[str], what: str) -> None:
        """The actor must act in one of these roles (any of the program's staff, where none)."""
        allowed = tuple(roles) or self.program.staff
        asked, actor = self.command.role, self.actor
        if not (actor.until or actor.sites or actor.covers):
            held = actor.roles
            for role in allowed:
                if role in held and role != PATIENT and (not asked or role == asked):
                    self.run.role = role
                    return
        from kat_workflow.enrollment.people import find_role  # noqa: PLC0415  # seldom needed

        find_role(self, allowed, what)

    def other_person(self, step: Step) -> None:
        """Somebody else must have done the steps this one must differ from."""
        for other in step.different_person_from:
            last = self.s.settled.get(other)
            if last is not None and self.actor.person in last.hands:
                self.against(
                    "same-person",
                    f"{step.name} must be done by another person than {other}",
                    "ask another person",
                )

    # names

    def item(self, name: str) -> Item | None:
        """The open item of that id, or the only open one of that step or about that matter (a
        call, a review); None where none is open."""
        item = self.s.items.get(name)
        if item is not None:
            return item
        full = name if name in self.program.steps else self.program.find("steps", name)
        items = self.s.items.values()
        if full is not None:
            open_ = [each for each in items if each.step == full]
            # Else a new version of what was recorded may wait to be signed.
            open_ = open_ or [each for each in items if each.about == full and each.pending]
        else:
            open_ = [each for each in items if each.about == name]
        if len(open_) > 1:
            raise self.stop(
                "which-item", f"several items of {name} are open: {names(open_)}", "name the item"
            )
        return open_[0] if open_ else None

    def by_whom(self, step: str) -> str:
        """Who settled a step last, in words, where the entries were read: no state keeps it.

        A patient who did it is not named: a refusal may be shown to others.
        """
        for past in reversed(self.run.around.history or ()):
            event = past.event
            if isinstance(event, e.ItemSettled) and event.step == step:
                person = "the patient" if event.person == self.s.patient else event.person
                return f" by {person}" if person else ""
        return ""

    def not_open(self, name: str) -> Refused:
        """Why nothing of that name is open."""
        full = self.program.find("steps", name)
        if full is None:
            steps = ", ".join(sorted({i.step for i in self.s.items.values() if i.step}))
            return self.stop(
                "unknown-step",
                f'there is no step or item "{name}"',
                f"open now: {steps or 'nothing'}",
            )
        step = self.program.steps[full]
        last = self.s.settled.get(full)
        if last is not None and (self.run.where(step.owner) or last.place) == last.place:
            return self.stop(
                "already-settled",
                f"{full} was settled as {last.outcome}{self.by_whom(full)}"
                f" on {last.at:%Y-%m-%d %H:%M} UTC",
                "record what was found besides with a form that may be recorded at any time",
            )
        if self.s.holds and step.on_hold != "runs":
            self.not_held()
        waits = [other for other in step.after if other not in self.s.settled]
        ways = [f"settle {other} first" for other in waits]
        if step.owner_kind == "phase" and step.owner not in self.s.visits:
            ways.append(f"it opens in the phase {step.owner}")
        elif step.owner_kind == "session":
            ways.append(f"it opens in the session {step.owner}")
        if step.only_if is not None and step.only_if.truth(self.run) is not True:
            self.reasons.append(
                Reason(
                    "not-open",
                    f"{full} is not open: its condition does not hold",
                    clauses=step.only_if.explain(self.run),
                    unblock=tuple(ways),
                )
            )
            return Refused(self.reasons)
        return self.stop("not-open", f"{full} is not open", *ways)

    def kind_of(self, name: str) -> SessionKind:
        """The session kind of that name; a step that holds sessions names its kind too."""
        full = self.program.find("sessions", name)
        if full is None:
            step = self.program.find("steps", name)
            full = (step and self.program.steps[step].session) or None
        if full is None and name in self.s.sessions:
            full = self.s.sessions[name].kind
        if full is None:
            raise self.stop(
                "unknown-session",
                f'there is no session "{name}"',
                f"sessions: {', '.join(self.program.sessions)}",
            )
        return self.program.sessions[full]

    def session(self, name: str, event: str) -> tuple[SessionKind, Session]:
        """The open session that a session event is about; refused where its chart forbids it."""
        kind = self.kind_of(name)
        found = self.run.session_of(kind.name)
        if found is None:
            raise self.stop("no-session", f"no session {kind.name} is open", f"start {kind.name}")
        if SESSION.next(found.state, event) is None:
            self.not_now(found)
            raise Refused(self.reasons)
        return kind, found

    def not_now(self, session: Session, code: str = "session-state") -> None:
        """A session is not in a state in which this can happen; what can is told."""
        able = ", ".join(each.replace("_", " ") for each in SESSION.events_from(session.state))
        says = f"{session.id} is {session.state.replace('_', ' ')}"
        self.against(code, says, f"possible now: {able}")

    def none_under_way(self, way: str, but: Session | None = None, around: str = "") -> None:
        """No session (inside a place) may be under way, except one."""
        for session in self.s.sessions.values():
            if session.under_way and session is not but and is_within(session.place, around):
                says = f"{session.id} is under way"
                self.against("session-under-way", says, f"{way} {session.id} first")

    def asks_for(self, kind: SessionKind) -> Item | None:
        """The open item of a step that holds sessions of this kind, if one is open."""
        for item in self.s.items.values():
            step = self.program.steps.get(item.step)
            if step is not None and step.session == kind.name:
                return item
        return None

    def session_item(self, kind: SessionKind) -> Item:
        """The open item of a step that holds sessions of this kind."""
        item = self.asks_for(kind)
        if item is not None:
            return item
        steps = [x.name for x in self.program.steps.values() if x.session == kind.name]
        raise self.not_open(steps[0])

    def not_yet(self, item: Item, at: datetime) -> None:
        """What its step's times do not open before a certain instant is not begun before it. (How
        far apart sessions are that recur is said by `apart`; their pace only proposes.)"""
        step = self.program.steps[item.step]
        opens = item.opens if step.early_by is None else item.opens - step.early_by.elapsed
        timed = step.opens is not None or step.on_day is not None or step.at is not None
        if timed and at < opens and not step.every:
            says = f"{item.step} opens on {item.opens:%Y-%m-%d %H:%M} UTC"
            self.against("not-yet", says, f"wait until {opens:%Y-%m-%d %H:%M} UTC")

    def open_session(
        self, kind: SessionKind, item: Item | None, booked_for: datetime | None = None
    ) -> Session:
        """A session gets its number and its place, for the item that asks for it. Where none does
        and something was given all the same, it belongs to the whole stay."""
        number = self.run.tally(kind.name + ":booked") + 1
        id_ = f"{kind.name}.{number}"
        if item is None:
            around, for_ = next(iter(self.s.visits.values())).place, ""
        else:
            around, for_ = item.place, item.id
        place, lapses = f"{around}/{id_}", self.lapses(kind, booked_for)
        self.run.emit(
            e.SessionBooked(id_, kind.name, number, place, for_, self.occurred, booked_for, lapses)
        )
        return self.s.sessions[id_]

    def lapses(self, kind: SessionKind, booked_for: datetime | None) -> datetime | None:
        """When whoever has not arrived counts as not having come."""
        if booked_for is None or kind.no_show_after is None:
            return None
        return plus(booked_for, kind.no_show_after, self.run.site)

    # gates

    def gate(self, test: Test, code: str, says: str, then: Run | None = None) -> None:
        """A go-side gate: unknown opens nothing. `then`: judged by what was so at another time."""
        run = self.run if then is None else then
        if test.truth(run) is True:
            return
        gates = self.program.gates
        name = test.text if test.text in gates else next((g for g in test.gates if g in gates), "")
        ways: tuple[str, ...] = ()
        if name:
            says, rule = gates[name].says, gates[name].override
            if rule is not None:
                roles = ", ".join(self.program.roles.get(role, role) for role in rule.by)
                ways = (f"an override by {roles} for at most {rule.lasts}",)
        clauses = test.explain(run)
        self.reasons.append(Reason(code, f"it does not hold that: {says}", name, clauses, ways))
