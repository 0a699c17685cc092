"""The one place where a command meets a program: judge (R3), apply (R4), settle (R5).

`decide(program, enrollment, around, command)` is pure. It answers a `Decision` (what happened and
the enrollment after it), a `Refusal` that explains itself, or `Behind` when a timer is due first
(R2: `catch_up` runs those). A request with any reason against it is refused and nothing is
written; a report is refused only for identity, type, an implausible value, a future instant or a
reporter who may not report: what breaks a gate or a cap is kept, with a deviation to review.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.run import EVERY_GATE, EXCURSION, Run, names
from kat_workflow.enrollment.state import NOBODY, Enrollment, Item, Session, is_within
from kat_workflow.enrollment.timers import Timer, next_timer, wake
from kat_workflow.errors import Reason, Refusal
from kat_workflow.program.chart import ENROLLMENT, ITEM, SESSION
from kat_workflow.program.clock import plus
from kat_workflow.program.forms import Form, accept

if TYPE_CHECKING:  # a program is made elsewhere, and only by those who load one
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import Program, Row, SessionKind, Step

TOLERANCE = timedelta(minutes=2)
"""How far in the future `occurred` may lie: clocks of two devices differ a little."""

REPORTS = frozenset({"done", "declined", "missed", "unable"})
"""Settlements that say what happened; the others ask leave."""


class Decision(Struct, frozen=True, gc=False):
    """What a command did: its events and the enrollment after them."""

    events: tuple[e.Event, ...]
    enrollment: Enrollment
    role: str = ""


class Behind(Struct, frozen=True):
    """The enrollment is behind: this timer must be run first (R2)."""

    timer: Timer


class _Refused(Exception):  # never leaves this module
    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = tuple(reasons)


def decide(
    program: Program, enrollment: Enrollment, around: Around, command: c.Command
) -> Decision | Refusal | Behind:
    """What follows from a command, without a trace anywhere else."""
    act = command.act
    now = command.at
    if enrollment.last is not None and enrollment.last > now:
        now = enrollment.last
    is_timer = type(act) is c.Elapsed
    if not is_timer and enrollment.wake is not None and enrollment.wake <= now:
        timer = next_timer(enrollment)
        assert timer is not None  # it is due at `wake`
        return Behind(timer)
    run = Run(program, enrollment, around, now)
    run.command, run.person = command.id, command.by.person
    try:
        _ACTS[type(act)](_Judge(run, command), act)
        run.settle()
        if run.looped and _asks_leave(act):
            raise _Refused((_LOOPS,))
        run.s.wake = wake(run.s)
    except _Refused as refused:
        return Refusal(command.words, refused.reasons)
    return Decision(tuple(run.events), run.s, run.role)


def catch_up(
    program: Program, enrollment: Enrollment, around: Around, now: datetime
) -> tuple[list[tuple[Timer, Decision]], Enrollment]:
    """Run every timer that is due by now (R2), each as a command of its own.

    Returns what each did, in order, and the enrollment after the last. Raises AssertionError
    only for a defect of this library: a timer whose run leaves it due.
    """
    ran: list[tuple[Timer, Decision]] = []
    while enrollment.wake is not None and enrollment.wake <= now:
        timer = next_timer(enrollment)
        assert timer is not None
        decision = elapse(program, enrollment, around, timer)
        ran.append((timer, decision))
        enrollment = decision.enrollment
    return ran, enrollment


def elapse(program: Program, enrollment: Enrollment, around: Around, timer: Timer) -> Decision:
    """Run one timer at max(due, last); its cause is the timer's id."""
    id_ = timer.id(enrollment.id)
    act = c.Elapsed(id_, timer.what, timer.about)
    command = c.Command(id_, act, c.SYSTEM, timer.due)
    decision = decide(program, enrollment, around, command)
    assert isinstance(decision, Decision)  # a timer is never refused
    return decision


_REQUESTS = (
    c.Enroll,
    c.Book,
    c.Start,
    c.Resume,
    c.Release,
    c.Go,
    c.Override,
    c.Hold,
    c.Lift,
)
_LOOPS = Reason(
    "program-loops",
    "the program's gates would go in a circle",
    unblock=(
        "let the author of the program see the circle",
        "report where the patient is: move PHASE",
    ),
)


def _asks_leave(act: c.Act) -> bool:
    """Whether an act is a request; the others say what happened, and are kept."""
    if isinstance(act, c.Settle):
        return act.outcome not in REPORTS
    return isinstance(act, _REQUESTS)


class _Judge:
    """The command at hand: finds what it names and gathers the reasons against it, in order."""

    __slots__ = ("actor", "at", "command", "occurred", "program", "reasons", "run", "s")

    def __init__(self, run: Run, command: c.Command) -> None:
        self.run = run
        self.program = run.program
        self.s = run.s
        self.command = command
        self.actor = command.by
        self.at = run.now
        self.reasons: list[Reason] = []
        occurred = self.instant(command.occurred, "it happened")
        if occurred is not None and occurred > command.at + TOLERANCE:
            self.against("future", "it is said to have happened in the future", "correct the time")
        # Nothing has happened after now, whatever another clock shows: time never runs ahead.
        self.occurred = self.at if occurred is None else min(occurred, self.at)

    def instant(self, given: datetime | None, what: str) -> datetime | None:
        """An instant that a caller gave; one without a zone names no moment."""
        if given is not None and given.tzinfo is None:
            self.against("naive-instant", f"the time when {what} has no zone", "give its offset")
            return None
        return given

    def against(self, code: str, says: str, *unblock: str) -> None:
        """Note one reason against the command."""
        self.reasons.append(Reason(code, says, unblock=unblock))

    def stop(self, code: str, says: str, *unblock: str) -> _Refused:
        """A reason after which nothing more can be judged."""
        self.against(code, says, *unblock)
        return _Refused(self.reasons)

    def end(self) -> None:
        """Refuse if there is any reason."""
        if self.reasons:
            raise _Refused(self.reasons)

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
            self.against(
                "on-hold",
                f"{id_} stands since {hold.since:%Y-%m-%d %H:%M} UTC",
                f"lift {id_}" if not id_.startswith(EXCURSION) else "come back from the excursion",
            )

    # actor

    def actor_in(self, roles: Iterable[str], what: str) -> None:
        """The actor must act in one of these roles (any role of the program, where none)."""
        allowed = tuple(roles) or tuple(self.program.roles)
        asked, held = self.command.role, self.actor.roles
        for role in allowed:
            if role in held and (not asked or role == asked):
                self.run.role = role
                return
        titles = ", ".join(self.program.roles.get(role, role) for role in allowed)
        self.against("wrong-role", f"{what} is for: {titles}", f"ask one of: {titles}")

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
        full = self.program.find("steps", name)
        if full is not None:
            open_ = [each for each in self.s.items.values() if each.step == full]
        else:
            open_ = [each for each in self.s.items.values() if each.about == name]
        if len(open_) > 1:
            raise self.stop(
                "which-item", f"several items of {name} are open: {names(open_)}", "name the item"
            )
        return open_[0] if open_ else None

    def not_open(self, name: str) -> _Refused:
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
                f"{full} was settled as {last.outcome} on {last.at:%Y-%m-%d %H:%M} UTC",
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
            return _Refused(self.reasons)
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
            raise _Refused(self.reasons)
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

    def session_item(self, kind: SessionKind) -> Item:
        """The open item of a step that holds sessions of this kind."""
        for item in self.s.items.values():
            step = self.program.steps.get(item.step)
            if step is not None and step.session == kind.name:
                return item
        steps = [x.name for x in self.program.steps.values() if x.session == kind.name]
        raise self.not_open(steps[0])

    # gates

    def gate(self, test: Test, code: str, says: str) -> None:
        """A go-side gate: unknown opens nothing."""
        if test.truth(self.run) is True:
            return
        gates = self.program.gates
        name = test.text if test.text in gates else next((g for g in test.gates if g in gates), "")
        ways: tuple[str, ...] = ()
        if name:
            says, rule = gates[name].says, gates[name].override
            if rule is not None:
                roles = ", ".join(self.program.roles.get(role, role) for role in rule.by)
                ways = (f"an override by {roles} for at most {rule.lasts}",)
        clauses = test.explain(self.run)
        self.reasons.append(Reason(code, f"it does not hold that: {says}", name, clauses, ways))


# ---- enrolling -----------------------------------------------------------------------------------


def _enroll(j: _Judge, act: c.Enroll) -> None:
    program, run = j.program, j.run
    if j.s.standing != NOBODY.standing:
        raise j.stop("already-enrolled", f"{j.s.id} exists", "use another command id")
    j.actor_in((), "enrolling")
    if not act.patient:
        j.against("no-patient", "the patient's id is missing", "say whom to enroll")
    j.end()
    run.emit(
        e.Enrolled(
            act.enrollment,
            program.id,
            program.version,
            program.digest,
            act.patient,
            act.site,
            j.at,
        )
    )
    run.enter(run.chart.enter(program.start), "start")


# ---- items ---------------------------------------------------------------------------------------


def _record(j: _Judge, act: c.Record) -> None:
    program, run = j.program, j.run
    item = j.item(act.step)
    step = program.steps[item.step] if item is not None and item.step else None
    if item is None or step is None:
        return _record_unscheduled(j, act)
    form = program.forms.get(step.form)
    if form is None:
        raise j.stop("nothing-to-record", f"{step.name} records no form", f"done {step.name}")
    if item.pending is not None:
        raise j.stop("already-recorded", f"{item.id} waits for a signature", f"sign {step.name}")
    j.actor_in(step.by, step.name)
    j.other_person(step)
    values = _values(j, form, act)
    also = [_also(j, form, name) for name in act.also]
    needs = _needs(step, act)
    j.end()
    if j.occurred < item.opens and (form.any_time or step.every):
        run.observe(form.name, step.name, item.place, values, j.occurred, "", needs)
        return None
    record = run.observe(form.name, step.name, item.place, values, j.occurred, item.id, needs)
    if step.signed and act.signed:
        run.emit(e.Signed(item.id, record, "signature", j.actor.person, run.role, j.at))
    if j.occurred < item.opens:
        run.deviation("early", f"{step.name} was recorded before it opened", record)
    if not needs:
        run.settle_item(item, "done", j.occurred)
    for other in also:
        run.settle_item(other, "done", j.occurred)
    return None


def _needs(step: Step, act: c.Record) -> tuple[str, ...]:
    """The signatures that a recording of a step still needs."""
    signature = ("signature",) if step.signed and not act.signed else ()
    return (*signature, "cosignature") if step.cosigned_by else signature


def _also(j: _Judge, form: Form, name: str) -> Item:
    other = j.item(name)
    if other is None:
        raise j.not_open(name)
    if j.program.steps[other.step].form != form.name:
        j.against("other-form", f"{other.id} records another form", "record it by itself")
    return other


def _record_unscheduled(j: _Judge, act: c.Record) -> None:
    """A form marked `any_time` may be recorded without an item, under any standing."""
    program = j.program
    full = program.find("steps", act.step)
    form = program.forms.get(program.steps[full].form if full else act.step)
    if form is None or not form.any_time or j.s.standing == "new":
        raise j.not_open(act.step)
    j.actor_in(form.by or (program.steps[full].by if full else ()), form.name)
    values = _values(j, form, act)
    j.end()
    place = (j.run.where(program.steps[full].owner) or "") if full else ""
    # Without an item nobody will be asked to sign it: it stays unsigned, and opens nothing.
    needs = _needs(program.steps[full], act) if full else ()
    j.run.observe(form.name, full or "", place, values, j.occurred, "", needs)


def _values(j: _Judge, form: Form, act: c.Record) -> dict[str, Any]:
    values, slips = accept(form, act.values)
    for slip in slips:
        j.against(slip.code, slip.says, slip.unblock)
    return values


def _sign(j: _Judge, act: c.Sign) -> None:
    item = j.item(act.step)
    if item is None:
        raise j.not_open(act.step)
    as_ = "cosignature" if act.cosign else "signature"
    pending = item.pending
    if pending is None or as_ not in pending.needs:
        raise j.stop(
            "nothing-to-sign", f"{item.id} waits for no {as_}", f"record {item.step} first"
        )
    step = j.program.steps[item.step]
    if act.cosign:
        j.actor_in(step.cosigned_by, f"cosigning {step.name}")
        others = pending.hands
    else:
        j.actor_in(step.by, f"signing {step.name}")
        j.other_person(step)
        others = pending.hands[1:]  # whoever recorded it may sign it
    if j.actor.person in others:
        j.against("same-person", "a cosignature is another person's", "ask another person")
    j.end()
    j.run.emit(e.Signed(item.id, pending.observation, as_, j.actor.person, j.run.role, j.at))
    if pending.needs == (as_,):
        j.run.settle_item(item, "done", j.at)


def _settle(j: _Judge, act: c.Settle) -> None:
    item = j.item(act.step)
    if item is None:
        raise j.not_open(act.step)
    if item.kind in ("alert", "review", "decide"):
        return _answer(j, act, item)
    step = j.program.steps[item.step]
    if act.outcome not in REPORTS and j.s.standing != "discharged":
        j.not_held()
    j.actor_in(step.by, step.name)
    if act.outcome == "done":
        if step.form or step.session:
            verb = "record" if step.form else "start"
            raise j.stop("not-done-so", f"{step.name} is done otherwise", f"{verb} {step.name}")
        j.other_person(step)
    elif not (act.outcome in step.may_be or (step.consent and act.outcome == "declined")):
        ways = ", ".join(sorted(step.may_be)) or "done"
        j.against(
            "outcome-not-allowed", f"{step.name} may not be {act.outcome}", f"it may be: {ways}"
        )
    elif ITEM.next("open" if item.pending is None else "recorded", act.outcome) is None:
        j.against("already-recorded", f"{item.id} was recorded", f"sign {step.name}")
    elif not act.reason and item.place != "after":
        j.against("reason-missing", f"{act.outcome} needs a reason", "say why")
    under_way = next((x for x in j.s.sessions.values() if x.item == item.id and x.under_way), None)
    if under_way is not None:
        j.against("session-under-way", f"{under_way.id} is under way", "release or abort it first")
    j.end()
    if step.consent:
        _consent(j, step, "given" if act.outcome == "done" else act.outcome)
    for session in list(j.s.sessions.values()):
        if session.item == item.id:
            j.run.cancel_session(session, act.outcome)
    j.run.settle_item(item, act.outcome, j.occurred, act.reason)
    return None


def _answer(j: _Judge, act: c.Settle, item: Item) -> None:
    j.actor_in(item.roles, item.about or item.id)
    if item.kind == "decide":
        raise j.stop("choose-the-way", f"{item.id} is answered by choosing", "go PHASE or END")
    if act.outcome != "done":
        j.against(
            "outcome-not-allowed", f"{item.id} is answered, not {act.outcome}", f"done {item.id}"
        )
    j.end()
    j.run.settle_item(item, "done", j.occurred, act.reason)


def _consent(j: _Judge, step: Step, state: str) -> None:
    consent = j.program.consents[step.consent]
    until = None
    if state == "given" and consent.lasts is not None:
        until = plus(j.occurred, consent.lasts, j.run.site)
    j.run.emit(e.ConsentChanged(consent.name, state, consent.version, j.at, j.actor.person, until))


def _revoke(j: _Judge, act: c.Revoke) -> None:
    full = j.program.find("consents", act.consent)
    if full is None:
        known = ", ".join(j.program.consents)
        raise j.stop(
            "unknown-consent", f'there is no consent "{act.consent}"', f"consents: {known}"
        )
    state = j.s.consents.get(full)
    if state is None or state.state != "given":
        raise j.stop(
            "not-given", f"the consent {full} is not in force", "there is nothing to revoke"
        )
    j.actor_in((), "recording a revocation")
    j.end()
    j.run.emit(e.ConsentChanged(full, "revoked", state.version, j.at, j.actor.person))
    for session in list(j.s.sessions.values()):
        ready = j.program.sessions[session.kind].ready
        if session.state == "under_way" and any(full in test.consents for test in ready):
            j.run.stop_dosing(session.id, "consent revoked", "consent-revoked")


# ---- sessions ------------------------------------------------------------------------------------


def _book(j: _Judge, act: c.Book) -> None:
    j.treated()
    j.not_held()
    kind = j.kind_of(act.session)
    j.actor_in(kind.by, f"booking {kind.name}")
    open_ = j.run.session_of(kind.name)
    if open_ is not None and open_.state != "booked":
        j.not_now(open_, "session-open")
    when = j.instant(act.booked_for, "it is booked for")
    if when is not None and when < j.at:
        j.against("past", "the booked time is in the past", "choose a later time")
    item = j.session_item(kind)
    j.end()
    if open_ is None:
        _open_session(j, kind, item, when)
    elif when is not None:
        j.run.emit(e.SessionMoved(open_.id, when, j.at, _lapses(j, kind, when)))


def _lapses(j: _Judge, kind: SessionKind, booked_for: datetime | None) -> datetime | None:
    """When whoever has not arrived counts as not having come."""
    if booked_for is None or kind.no_show_after is None:
        return None
    return plus(booked_for, kind.no_show_after, j.run.site)


def _open_session(
    j: _Judge, kind: SessionKind, item: Item, booked_for: datetime | None = None
) -> Session:
    number = j.run.tally(kind.name + ":booked") + 1
    id_ = f"{kind.name}.{number}"
    j.run.emit(
        e.SessionBooked(
            id_,
            kind.name,
            number,
            f"{item.place}/{id_}",
            item.id,
            j.at,
            booked_for,
            _lapses(j, kind, booked_for),
        )
    )
    return j.s.sessions[id_]


def _cancel(j: _Judge, act: c.Cancel) -> None:
    kind, session = j.session(act.session, "cancel")
    j.actor_in(kind.by, f"cancelling {kind.name}")
    if session.dosed is not None:
        j.against("session-state", f"something was given in {session.id}", f"abort {session.id}")
    j.end()
    j.run.cancel_session(session, act.reason)


def _arrive(j: _Judge, act: c.Arrive) -> None:
    j.treated()
    kind = j.kind_of(act.session)
    j.actor_in((), "recording an arrival")
    session = j.run.session_of(kind.name)
    if session is not None and session.state != "booked":
        j.not_now(session)
    item = j.session_item(kind)
    j.end()
    if session is None:
        session = _open_session(j, kind, item)
    j.run.emit(e.SessionArrived(session.id, j.at))


def _start(j: _Judge, act: c.Start) -> None:
    j.treated()
    j.not_held()
    run = j.run
    kind = j.kind_of(act.session)
    item = j.session_item(kind)
    j.actor_in(kind.by, f"starting {kind.name}")
    session = run.session_of(kind.name)
    present = {run.role, *act.present}
    for role in kind.present:
        if role not in present:
            title = j.program.roles.get(role, role)
            j.against("role-missing", f"{title} must be present", f"call: {title}")
    if session is not None and SESSION.next(session.state, "start") is None:
        j.not_now(session)
    j.none_under_way("release", session)
    _before_steps(j, kind, session)
    _spacing(j, kind)
    for test in kind.ready:
        j.gate(test, "gate-closed", f"{kind.name} is ready")
    for rule in j.program.never:
        if rule.start == kind.name:
            run.ignored = EVERY_GATE
            j.gate(rule.unless, "rule", rule.says or f"the rule {rule.name} allows a start")
            run.ignored = ""
    j.end()
    run.use_overrides(kind.ready)
    if session is None:
        session = _open_session(j, kind, item)
    run.emit(e.SessionStarted(session.id, j.at, run.today(), act.present, run.evidence(kind.ready)))


def _before_steps(j: _Judge, kind: SessionKind, session: Session | None) -> None:
    for name in kind.before:
        if not j.program.steps[name].required:
            continue
        last = j.s.settled.get(name)
        if session is None or last is None or last.place != session.place:
            way = f"settle {name}" if session is not None else f"arrive {kind.name}, then {name}"
            j.against("steps-open", f"{name} comes before the start", way)


def _spacing(j: _Judge, kind: SessionKind) -> None:
    last = j.run.session_instant(kind.name, "started")
    if kind.apart is not None and last is not None:
        earliest = plus(last, kind.apart, j.run.site)
        if j.at < earliest:
            j.against(
                "too-soon",
                f"two sessions {kind.name} are at least {kind.apart} apart",
                f"wait until {earliest:%Y-%m-%d %H:%M} UTC",
            )
    cap = kind.at_most
    if cap is None:
        return
    if cap.per == "enrollment":
        held = j.run.tally(kind.name + ":dosed")
        if held >= cap.times:
            says = f"at most {cap.times} sessions {kind.name} in an enrollment"
            j.against("cap", says, "go on without a further one")
    elif cap.times <= j.run.started_today(kind.name):
        j.against(
            "cap",
            f"at most {cap.times} sessions {kind.name} a program day",
            "wait until the next program day",
        )


def _dose(j: _Judge, act: c.Dose) -> None:
    kind = j.kind_of(act.session)
    session = j.run.session_of(kind.name)
    item = j.session_item(kind) if session is None else None
    j.none_under_way("release", session)
    rule = kind.dose
    if rule is None:
        raise j.stop("no-dose", f"nothing is given in {kind.name}", "record it with another form")
    j.actor_in(kind.by, f"giving {rule.drug}")
    amount = _amount(j, act.amount, rule.unit, "amount")
    rate = _amount(j, act.rate, rule.rate_unit, "rate") if act.rate else None
    if not amount and rate is None:
        j.against("bad-value", "an amount or a rate is missing", "say what was given")
    j.end()
    run = j.run
    if session is None and item is not None:
        session = _open_session(j, kind, item)
    assert session is not None
    if not session.under_way:
        run.emit(e.SessionStarted(session.id, j.at, run.today()))
        run.deviation("dose-without-start", f"{rule.drug} was given before the session was started")
    elif run.s.holds and session.dosed is None:
        run.deviation("dose-on-hold", f"{rule.drug} was given although a hold stood")
    elif session.dosing in ("paused", "ended"):
        run.deviation(
            f"dose-while-{session.dosing}",
            f"{rule.drug} was given although dosing was {session.dosing}",
        )
    total = Decimal(session.given or 0) + (amount or 0)
    run.emit(
        e.DoseGiven(
            session.id,
            j.occurred,
            str(amount or 0),
            rule.unit,
            str(total),
            str(rate) if rate is not None else "",
            session.dosed is None,
        )
    )
    _dose_limits(j, kind, total, rate)
    last = act.last if act.last is not None else rule.rate_from is None
    if last and run.s.sessions[session.id].state == "under_way":
        run.emit(e.DosingEnded(session.id, j.at, str(total), rule.unit))


def _amount(j: _Judge, text: str, unit: str, what: str) -> Decimal | None:
    """A quantity as a caller wrote it, converted exactly to the program's unit."""
    if not text:
        return None
    # Only doses need the table of units; whoever gives none does not load it.
    from kat_workflow.program import units  # noqa: PLC0415

    found, to = units.parse_quantity(text), units.unit(unit)
    if found is None or to is None or found.unit.dimension != to.dimension or found.value < 0:
        j.against("bad-value", f"the {what} is not a quantity in {unit}", f"write it as: 50 {unit}")
        return None
    exact = found.unit.convert(found.value, to)
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def _dose_limits(j: _Judge, kind: SessionKind, total: Decimal, rate: Decimal | None) -> None:
    rule = kind.dose
    assert rule is not None
    most = rule.amount if rule.most is None else rule.most
    if most is not None and total > most:
        j.run.deviation("over-cap", f"more than {most} {rule.unit} was given in a session")
    outside = rate is not None and (
        (rule.rate_from is not None and rate < rule.rate_from)
        or (rule.rate_to is not None and rate > rule.rate_to)
    )
    if outside:
        j.run.deviation("rate-outside", f"the rate of {rule.drug} was outside the program's limits")


def _pause(j: _Judge, act: c.Pause) -> None:
    kind, session = j.session(act.session, "pause")
    j.actor_in(kind.by, f"pausing {kind.name}")
    if session.dosing != "running":
        j.against("not-running", "nothing is being given", "dosing must be running")
    j.end()
    j.run.emit(e.DosingPaused(session.id, j.at, act.reason or "a person's decision"))


def _resume(j: _Judge, act: c.Resume) -> None:
    j.not_held()
    kind, session = j.session(act.session, "resume")
    j.actor_in(kind.by, f"resuming {kind.name}")
    if session.dosing != "paused":
        j.against("not-paused", "nothing is paused", "the dose goes on, or has not begun")
    rate = None
    if kind.dose is not None and act.rate:
        rate = _amount(j, act.rate, kind.dose.rate_unit, "rate")
    for rule in (*kind.stop_when, *kind.pause_when):
        if rule.when.truth(j.run):
            j.reasons.append(
                Reason(
                    "pause-rule",
                    f"it still holds that: {rule.says}",
                    rule.name,
                    rule.when.explain(j.run),
                    ("record a new reading",),
                )
            )
    j.end()
    j.run.emit(e.DosingResumed(session.id, j.at, str(rate) if rate is not None else ""))
    if rate is not None:
        _dose_limits(j, kind, Decimal(session.given or 0), rate)


def _end_dosing(j: _Judge, act: c.EndDosing) -> None:
    kind, session = j.session(act.session, "end_dosing")
    if kind.dose is None:
        raise j.stop("no-dose", f"nothing is given in {kind.name}", f"release {kind.name}")
    j.actor_in(kind.by, f"ending the dose of {kind.name}")
    unit = kind.dose.unit
    total = _amount(j, act.amount, unit, "amount")
    if total is not None and total < Decimal(session.given or 0):
        j.against("bad-value", "the total is less than was given already", "leave it out")
    if session.dosed is None and not total:
        j.against("session-state", f"nothing was given in {session.id}", f"cancel {session.id}")
    j.end()
    if total is None:
        total = Decimal(session.given or 0)
    if session.dosed is None:
        j.run.emit(e.DoseGiven(session.id, j.occurred, str(total), unit, str(total), first=True))
    j.run.emit(e.DosingEnded(session.id, j.at, str(total), unit))
    _dose_limits(j, kind, total, None)


def _abort(j: _Judge, act: c.Abort) -> None:
    kind, session = j.session(act.session, "abort")
    j.actor_in((), f"aborting {kind.name}")
    if not act.reason:
        j.against("reason-missing", "an abort needs a reason", "say why")
    j.end()
    j.run.stop_dosing(session.id, act.reason)


def _release(j: _Judge, act: c.Release) -> None:
    kind, session = j.session(act.session, "release")
    rule = kind.release
    assert rule is not None  # the language asks for it
    run = j.run
    if kind.dose is not None and session.state == "under_way":
        way = "cancel" if session.dosed is None else "end dosing"
        j.against("session-state", "the dose has not been ended", f"{way} {session.id}")
    j.actor_in(rule.signed_by, f"releasing from {kind.name}")
    start = session.dosed or session.started
    if start is not None and j.at < start + rule.earliest.elapsed:
        j.against(
            "too-early",
            f"a release is possible {rule.earliest} after the first dose",
            f"wait until {start + rule.earliest.elapsed:%Y-%m-%d %H:%M} UTC",
        )
    for name in kind.after:
        last = j.s.settled.get(name)
        settled = last is not None and last.place == session.place
        if j.program.steps[name].required and not settled:
            j.against("steps-open", f"{name} comes before the release", f"settle {name}")
    if rule.when is not None:
        j.gate(rule.when, "not-ready-to-leave", f"the criteria of {kind.name} for leaving are met")
    j.end()
    if rule.when is not None:
        run.use_overrides((rule.when,))
    run.release(
        session, "aborted" if session.state == "stopping" else "released", run.counts(session)
    )


# ---- the whole -----------------------------------------------------------------------------------


def _go(j: _Judge, act: c.Go) -> None:
    j.treated()
    run, s = j.run, j.s
    full = j.program.find("phases", act.to)
    if full is not None and j.program.phases[full].excursion:
        return _go_on_excursion(j, full)
    for item in list(s.items.values()):
        if item.kind != "decide":
            continue
        phase = j.program.phases[item.about]
        row = next((r for r in phase.next if act.to in _called(r)), None)
        if row is not None:
            j.not_held(away=phase.excursion)
            j.actor_in(item.roles, f"choosing the way on from {phase.name}")
            j.none_under_way("release", around=run.left_behind(phase, row))
            j.end()
            run.settle_item(item, "done", j.at, act.reason)
            run.follow(phase, row)
            return None
    ways = [
        _called(row)[0]
        for item in s.items.values()
        if item.kind == "decide"
        for row in j.program.phases[item.about].next
    ]
    j.not_held()
    raise j.stop(
        "no-way",
        f'"{act.to}" cannot be chosen now',
        f"possible: {', '.join(ways)}" if ways else "the program moves on by its gates",
    )


def _called(row: Row) -> tuple[str, ...]:
    """What the way of a row may be called: its target, or what it does."""
    return (row.to, row.to.rpartition(".")[2]) if row.to else (row.to_kind,)


def _go_on_excursion(j: _Judge, name: str) -> None:
    phase = j.program.phases[name]
    j.actor_in(phase.by, f"sending a patient to {name}")
    if any(id_.startswith(EXCURSION) for id_ in j.s.holds):
        j.against("away", "the patient is on an excursion", "come back first")
    j.none_under_way("release")
    j.end()
    j.run.hold(f"{EXCURSION}{j.s.counts.get('hold', 0) + 1}", name)
    j.run.enter(j.run.chart.enter(name), "go")


def _move(j: _Judge, act: c.Move) -> None:
    """A report: where the patient is, past the gates."""
    j.treated()
    run, full = j.run, j.program.find("phases", act.to)
    if full is None or j.program.phases[full].excursion:
        phases = ", ".join(n for n, p in j.program.phases.items() if not p.excursion)
        raise j.stop("unknown-phase", f'there is no phase "{act.to}" to be in', f"phases: {phases}")
    if full in j.s.visits:
        raise j.stop("there-already", f"the patient is in {full}", "name another phase")
    j.actor_in(j.program.decided_by, "reporting where a patient is")
    if not act.reason:
        j.against("reason-missing", "a move past the gates needs a reason", "say why")
    j.none_under_way("release")
    j.end()
    run.move_to(full)
    run.deviation("moved-past-gates", f"the patient was moved to {full} past the program's gates")


def _override(j: _Judge, act: c.Override) -> None:
    j.treated()
    j.not_held()
    full = j.program.find("gates", act.gate)
    if full is None:
        raise j.stop(
            "unknown-gate", f'there is no gate "{act.gate}"', f"gates: {', '.join(j.program.gates)}"
        )
    rule = j.program.gates[full].override
    if rule is None:
        raise j.stop(
            "absolute-gate", f"nobody may override {full}", "record what the gate asks for"
        )
    j.actor_in(rule.by, f"overriding {full}")
    if not act.reason:
        j.against("reason-missing", "an override needs a reason", "say why")
    j.end()
    until = plus(j.at, rule.lasts, j.run.site)
    j.run.emit(e.OverrideGranted(full, act.reason, until, j.actor.person, j.run.role, j.at))


def _hold(j: _Judge, act: c.Hold) -> None:
    j.treated()
    j.actor_in(j.program.hold_by, "holding")
    if not act.reason:
        j.against("reason-missing", "a hold needs a reason", "say why")
    j.end()
    j.run.hold(f"hold.{j.s.counts.get('hold', 0) + 1}", act.reason)


def _lift(j: _Judge, act: c.Lift) -> None:
    own = [id_ for id_ in j.s.holds if not id_.startswith(EXCURSION)]
    if act.hold:
        found = act.hold if act.hold in own else None
    else:
        found = own[0] if len(own) == 1 else None
    if found is None:
        raise j.stop(
            "which-hold",
            f"{len(own)} holds stand",
            f"name one of: {', '.join(own)}" if own else "none stands",
        )
    j.actor_in(j.program.hold_by, "lifting a hold")
    j.end()
    j.run.lift(found)


def _leave(j: _Judge, act: c.Leave) -> None:
    j.treated()
    full = j.program.find("ends", act.end)
    end = j.program.ends[full] if full is not None else None
    if end is None or end.kind in ("completed", "not_eligible"):
        able = [
            x.name for x in j.program.ends.values() if x.kind not in ("completed", "not_eligible")
        ]
        raise j.stop("unknown-end", f'"{act.end}" cannot be reported', f"ends: {', '.join(able)}")
    j.actor_in(end.by, f"reporting {end.name}")
    j.end()
    j.run.discharge(end, act.reason)


def _elapsed(j: _Judge, act: c.Elapsed) -> None:
    run = j.run
    run.emit(e.TimerElapsed(act.timer, j.at, act.about if act.what == "late" else ""))
    item = j.s.items.get(act.about)
    if act.what == "lapses":
        run.cancel_session(j.s.sessions[act.about], "no-show")
    elif act.what == "late" and item is not None:
        late = run.lateness(item)
        assert late is not None
        says = f"{item.step} is late"
        within = late.answer_within.elapsed
        run.alert(f"late.{item.step}", says, late.tell, within, item.id, item.id)
    elif item is not None:
        reason = "closed" if act.what == "closes" else "next opened"
        for session in list(j.s.sessions.values()):
            if session.item == item.id:  # not under way: then the timer would wait
                run.cancel_session(session, reason)
        run.settle_item(item, "missed", j.at, reason)


_ACTS: dict[type, Callable[[_Judge, Any], None]] = {
    c.Enroll: _enroll,
    c.Record: _record,
    c.Sign: _sign,
    c.Settle: _settle,
    c.Revoke: _revoke,
    c.Book: _book,
    c.Cancel: _cancel,
    c.Arrive: _arrive,
    c.Start: _start,
    c.Dose: _dose,
    c.Pause: _pause,
    c.Resume: _resume,
    c.EndDosing: _end_dosing,
    c.Abort: _abort,
    c.Release: _release,
    c.Go: _go,
    c.Move: _move,
    c.Override: _override,
    c.Hold: _hold,
    c.Lift: _lift,
    c.Leave: _leave,
    c.Elapsed: _elapsed,
}
