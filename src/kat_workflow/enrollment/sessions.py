"""Acts about sessions: booked, arrived, under way, dosed, paused, aborted, released (R12)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import crossing, groups, signing
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.run import EVERY_GATE
from kat_workflow.errors import Reason
from kat_workflow.program.chart import SESSION
from kat_workflow.program.clock import plus

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Item, Session
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
    j.end()
    if open_ is None:
        open_session(j, kind, item, when)
    elif when is not None:
        rebook(j, kind, open_, when)


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


def _lapses(j: Judge, kind: SessionKind, booked_for: datetime | None) -> datetime | None:
    """When whoever has not arrived counts as not having come."""
    if booked_for is None or kind.no_show_after is None:
        return None
    return plus(booked_for, kind.no_show_after, j.run.site)


def rebook(j: Judge, kind: SessionKind, session: Session, booked_for: datetime) -> None:
    """Give a booked session another time."""
    j.run.emit(e.SessionMoved(session.id, booked_for, j.at, _lapses(j, kind, booked_for)))


def open_session(
    j: Judge, kind: SessionKind, item: Item, booked_for: datetime | None = None
) -> Session:
    """A new session of a kind, booked; it answers the item of a step."""
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


def cancel(j: Judge, act: c.Cancel) -> None:
    """See `commands.Cancel`."""
    kind, session = j.session(act.session, "cancel")
    j.actor_in(kind.by, f"cancelling {kind.name}")
    if session.dosed is not None:
        j.against("session-state", f"something was given in {session.id}", f"abort {session.id}")
    j.end()
    j.run.cancel_session(session, act.reason)


def arrive(j: Judge, act: c.Arrive) -> None:
    """See `commands.Arrive`."""
    j.treated()
    kind = j.kind_of(act.session)
    j.actor_in((), "recording an arrival")
    session = j.run.session_of(kind.name)
    if session is not None and session.state != "booked":
        j.not_now(session)
    item = j.session_item(kind)
    j.end()
    if session is None:
        session = open_session(j, kind, item)
    j.run.emit(e.SessionArrived(session.id, j.at))


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
    if kind.group:
        groups.judge_start(j, kind, session)
    _before_steps(j, kind, session)
    _spacing(j, kind)
    crossing.judge_start(j, kind)
    for test in kind.ready:
        j.gate(test, "gate-closed", f"{kind.name} is ready")
    for rule in j.program.never:
        if rule.start == kind.name:
            run.ignored = EVERY_GATE
            j.gate(rule.unless, "rule", rule.says or f"the rule {rule.name} allows a start")
            run.ignored = ""
    j.end()
    judged = j.s.version
    run.use_overrides(kind.ready)
    if session is None:
        session = open_session(j, kind, item)
    evidence = run.evidence(kind.ready)
    run.emit(e.SessionStarted(session.id, j.at, run.today(), act.present, evidence, judged))
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


def dose(j: Judge, act: c.Dose) -> None:
    """See `commands.Dose`."""
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
        session = open_session(j, kind, item)
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
    if session.dosed is None:
        crossing.dosed(run, kind, session, j.occurred)
    _dose_limits(j, kind, total, rate)
    last = act.last if act.last is not None else rule.rate_from is None
    if last and run.s.sessions[session.id].state == "under_way":
        run.emit(e.DosingEnded(session.id, j.at, str(total), rule.unit))


def _amount(j: Judge, text: str, unit: str, what: str) -> Decimal | None:
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


def _dose_limits(j: Judge, kind: SessionKind, total: Decimal, rate: Decimal | None) -> None:
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


def pause(j: Judge, act: c.Pause) -> None:
    """See `commands.Pause`."""
    kind, session = j.session(act.session, "pause")
    j.actor_in(kind.by, f"pausing {kind.name}")
    if session.dosing != "running":
        j.against("not-running", "nothing is being given", "dosing must be running")
    j.end()
    j.run.emit(e.DosingPaused(session.id, j.at, act.reason or "a person's decision"))


def resume(j: Judge, act: c.Resume) -> None:
    """See `commands.Resume`."""
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


def end_dosing(j: Judge, act: c.EndDosing) -> None:
    """See `commands.EndDosing`."""
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
        crossing.dosed(j.run, kind, session, j.occurred)
    j.run.emit(e.DosingEnded(session.id, j.at, str(total), unit))
    _dose_limits(j, kind, total, None)


def abort(j: Judge, act: c.Abort) -> None:
    """See `commands.Abort`."""
    kind, session = j.session(act.session, "abort")
    j.actor_in((), f"aborting {kind.name}")
    if not act.reason:
        j.against("reason-missing", "an abort needs a reason", "say why")
    j.end()
    j.run.stop_dosing(session.id, act.reason)


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
    judged = j.s.version
    if rule.when is not None:
        run.use_overrides((rule.when,))
    final: Literal["aborted", "released"] = "aborted" if session.state == "stopping" else "released"
    released = run.release(session, final, run.counts(session), judged=judged)
    signing.put(j, "release", signing.content_of(j.s.id, released), session=session.id)
