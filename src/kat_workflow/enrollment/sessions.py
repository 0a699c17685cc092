"""Acts about sessions: booked, arrived, under way, aborted, released (R12)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from kat_workflow.enrollment import booking, crossing, groups, signing
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.run import EVERY_GATE
from kat_workflow.program.chart import SESSION
from kat_workflow.program.clock import local_date, plus

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Session
    from kat_workflow.program.model import SessionKind


def book(j: Judge, act: c.Book) -> None:
    """See `commands.Book`."""
    j.treated()
    if not j.s.groups:
        j.not_held()
    kind = j.kind_of(act.session)
    leaders = j.program.groups[kind.group].by if kind.group else ()
    j.actor_in((*kind.by, *leaders), f"booking {kind.name}")
    open_ = j.run.session_of(kind.name)
    if open_ is not None and open_.state != "booked":
        j.not_now(open_, "session-open")
    when = j.instant(act.booked_for, "it is booked for")
    if kind.group:  # a booking follows its group under a hold, too, or it would lapse
        when = _as_the_group(j, kind, open_, when)
    else:
        if j.s.groups:
            j.not_held()
        if when is not None and when < j.at:
            j.against("past", "the booked time is in the past", "choose a later time")
    item = j.session_item(kind)
    if when is not None:
        j.not_yet(item, when)
    j.end()
    if open_ is None:
        j.open_session(kind, item, when)
    elif when is not None:
        j.run.emit(e.SessionMoved(open_.id, when, j.at, j.lapses(kind, when)))


def _as_the_group(
    j: Judge, kind: SessionKind, session: Session | None, when: datetime | None
) -> datetime | None:
    """What is held in a group is booked by joining one, and for no other time than its own."""
    for id_, place in j.s.groups.items():
        if session is not None and place.about == session.id:
            at: datetime | None = j.run.stream("group", id_).state.at
            if when not in (None, at):
                j.against("held-in-group", f"{session.id} is held with {id_}", f"move {id_}")
            return at if at is not None and at > j.at else None
    j.against("held-in-group", f"{kind.name} is held in a group", f"join a group {kind.group}")
    return None


def cancel(j: Judge, act: c.Cancel) -> None:
    """See `commands.Cancel`."""
    kind, session = j.session(act.session, "cancel")
    j.actor_in(kind.by, f"cancelling {kind.name}")
    if session.dosed is not None:
        j.against("session-state", f"something was given in {session.id}", f"abort {session.id}")
    j.end()
    booking.cancel(j.run, session, act.reason, act.cause)


def arrive(j: Judge, act: c.Arrive) -> None:
    """See `commands.Arrive`."""
    if j.s.end_kind in ("died", "entered_in_error"):  # whoever came is somebody else
        j.treated()
    kind = j.kind_of(act.session)
    j.actor_in((), "recording an arrival")
    session = j.run.session_of(kind.name)
    if session is not None and session.state != "booked":
        j.not_now(session)
    item = j.asks_for(kind)
    j.end()
    if session is None and item is None:
        # Nothing opens: it could be gone on with by no step, and would hold up the way on.
        says = f"the patient came for {kind.name} at {j.occurred:%Y-%m-%d %H:%M} UTC"
        j.run.deviation("arrival-not-planned", f"{says}, and no step asks for it")
        return
    if session is None:
        session = j.open_session(kind, item)
    j.run.emit(e.SessionArrived(session.id, j.occurred, j.told))


def start(j: Judge, act: c.Start) -> None:
    """See `commands.Start`."""
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
    j.not_yet(item, j.occurred)
    if kind.group:
        groups.judge_start(j, kind, session)
    _before_steps(j, kind, session)
    _spacing(j, kind)
    crossing.judge_start(j, kind)
    order, then = ("", ""), j.then
    if kind.dose is not None:
        from kat_workflow.enrollment import dosing  # noqa: PLC0415  # on first use

        order = dosing.may_be_given(j, kind.dose)
    for test in kind.ready:
        j.gate(test, "gate-closed", f"{kind.name} is ready", then)
    for rule in j.program.never:
        if rule.start == kind.name:
            then.ignored = EVERY_GATE
            j.gate(rule.unless, "rule", rule.says or f"the rule {rule.name} allows a start", then)
            then.ignored = ""
    j.end()
    judged = j.s.version
    run.use_overrides(kind.ready, then)
    if session is None:
        session = j.open_session(kind, item)
    evidence = then.evidence(kind.ready)
    run.emit(
        e.SessionStarted(
            session.id, j.occurred, then.today(), act.present, evidence, judged, *order, j.told
        )
    )
    crossing.started(run, kind, session)


def _before_steps(j: Judge, kind: SessionKind, session: Session | None) -> None:
    for name in kind.before:
        if not j.program.steps[name].required:
            continue
        last = j.s.settled.get(name)
        if session is None or last is None or last.place != session.place:
            way = f"settle {name}" if session is not None else f"arrive {kind.name}, then {name}"
            j.against("steps-open", f"{name} comes before the start", way)


def _spacing(j: Judge, kind: SessionKind) -> None:
    last = j.run.session_instant(kind.name, "started")
    if kind.apart is not None and last is not None:
        earliest = plus(last, kind.apart, j.run.site)
        if j.occurred < earliest:
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
    elif cap.times <= j.run.started_on(kind.name, local_date(j.occurred, j.run.site)):
        j.against(
            "cap",
            f"at most {cap.times} sessions {kind.name} a program day",
            "wait until the next program day",
        )


def abort(j: Judge, act: c.Abort) -> None:
    """See `commands.Abort`."""
    kind, session = j.session(act.session, "abort")
    j.actor_in((), f"aborting {kind.name}")
    if not act.reason:
        j.against("reason-missing", "an abort needs a reason", "say why")
    j.not_before(session.dosed or session.started, "the session began")
    j.end()
    j.run.stop_dosing(session.id, act.reason, at=j.occurred if j.told is not None else None)


def release(j: Judge, act: c.Release) -> None:
    """See `commands.Release`."""
    kind, session = j.session(act.session, "release")
    rule = kind.release
    assert rule is not None  # the language asks for it
    run = j.run
    if kind.dose is not None and session.state == "under_way":
        way = "cancel" if session.dosed is None else "end dosing"
        j.against("session-state", "the dose has not been ended", f"{way} {session.id}")
    j.actor_in(rule.signed_by, f"releasing from {kind.name}")
    start = session.dosed or session.started
    j.not_before(session.ended, "the dose ended")
    if start is not None and j.occurred < start + rule.earliest.elapsed:
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
    if kind.dose is not None and kind.dose.ledger:
        from kat_workflow.enrollment import ledger  # noqa: PLC0415  # on first use

        ledger.must_balance(j, kind.dose, session)
    then = j.then
    if rule.when is not None:
        says = f"the criteria of {kind.name} for leaving are met"
        j.gate(rule.when, "not-ready-to-leave", says, then)
    j.end()
    judged = j.s.version
    if rule.when is not None:
        run.use_overrides((rule.when,), then)
    final: Literal["aborted", "released"] = "aborted" if session.state == "stopping" else "released"
    at = None if j.told is None else j.occurred
    released = run.release(session, final, run.counts(session), judged=judged, at=at)
    signing.put(j, "release", signing.content_of(j.s.id, released), session=session.id)
