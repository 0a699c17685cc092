"""Acts about giving: orders and caps at the start, doses, rates, medicines as needed.

Given is not ordered: what was given is always kept, and what departs from the order, the caps or
the checks becomes a deviation. A request (a start) that would break a cap is refused with its
numbers.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import crossing, exposure, ledger
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.exposure import Broken, Drug, drug_of
from kat_workflow.enrollment.quantities import in_unit, plain, quantity
from kat_workflow.enrollment.state import OrderState, is_within, order_state
from kat_workflow.errors import Reason
from kat_workflow.program.clock import local_date, plus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Session
    from kat_workflow.program.model import DoseRule, SessionKind


# Before: what may be given


def may_be_given(j: Judge, rule: DoseRule) -> tuple[str, str]:
    """Whether a session may start, as far as order and caps go; the order and its amount, in the
    dose's unit, that the session is held on ("" for none)."""
    id_, ordered = order_of(j.run, rule, j.occurred)
    if rule.order and not id_:
        _no_order(j, rule.order)
    amount = Decimal(ordered) if ordered else rule.amount or rule.most
    if rule.caps and amount is not None:
        state = in_force(j.run, rule.order, j.occurred)
        times = state.left or 1 if state is not None else 1
        drug, caps = drug_of(rule.drug, rule.unit), rule.caps
        too_much = exposure.exceeded(
            j.run, drug, caps, amount, at=j.occurred, times=times, own=rule.order
        )
        refuse_beyond(j, drug, too_much, amount)
    return id_, ordered


def order_of(run: Run, rule: DoseRule, at: datetime) -> tuple[str, str]:
    """The order in force for a dose: its id, and what it comes to in the dose's unit."""
    order = in_force(run, rule.order, at)
    if order is None:
        return "", ""
    ordered = in_unit(order.total, order.unit, rule.unit)
    assert ordered is not None  # the language compares the two units
    return f"{rule.order}.{order.number}", ordered


def in_force(run: Run, name: str, at: datetime) -> OrderState | None:
    """The order of a name that stood at an instant: the last one, or, of what is told late, one
    that it has superseded since."""
    order = run.s.orders.get(name)
    if order is None or order.since is None or order.since <= at:
        return order if order is not None and order.stands(at) else None
    return superseded(run, name, at) if order.number > 1 else None


def superseded(run: Run, name: str, at: datetime) -> OrderState | None:
    """The order that stood before the last one was placed, as far as it was not used up by what
    has been told before."""
    found: OrderState | None = None
    for past in run.history():
        match past.event:
            case e.Ordered() as x if x.order == name and x.at <= at:
                found = order_state(x)
            case e.OrderStopped(order=its, number=number, at=until) if found is not None and (
                its,
                number,
            ) == (name, found.number):
                found = replace(found, until=until)
            case e.SessionStarted() | e.SessionCancelled() | e.MedicineGiven() as x if (
                found is not None and x.order == f"{name}.{found.number}"
            ):
                found = found.used(-1 if isinstance(x, e.SessionCancelled) else 1)
            case _:
                pass
    return found if found is not None and found.stands(at) else None


def _no_order(j: Judge, name: str) -> None:
    order, rule = j.s.orders.get(name), j.program.orders[name]
    who = ", ".join(j.program.roles.get(role, role) for role in rule.by)
    if order is None:
        says = f"nobody has ordered {name}"
    elif order.since is not None and j.occurred < order.since:
        says = f"{name} was ordered later, on {order.since:%Y-%m-%d %H:%M} UTC"
    elif order.left == 0:
        says = f"the order {name}.{order.number} has been given as often as it may be"
    else:
        says = f"the order {name}.{order.number} ended on {order.until:%Y-%m-%d %H:%M} UTC"
    j.against("no-order", says, f"order {name} (by {who})")


def refuse_beyond(j: Judge, drug: Drug, broken: Iterable[Broken], amount: Decimal) -> None:
    """The reasons against an amount that would break caps, with their numbers."""
    unit = drug.unit
    for each in broken:
        room = max(each.cap.most - each.given - each.reserved, Decimal(0))
        ways = [f"at most {plain(room)} {unit} more is possible"]
        if each.opens is not None and not each.reserved:
            ways = [f"wait until {each.opens:%Y-%m-%d %H:%M} UTC", *ways]
        elif each.cap.per == "program day" and amount <= each.cap.most:
            ways = ["wait until the next program day", *ways]
        if each.reserved:
            ways.append("stop the order, or end the dose, that reserves the rest")
        j.against(
            "dose-cap",
            f"at most {plain(each.cap.most)} {unit} of {drug.name} {each.over()}: "
            f"{plain(each.given)} {unit} given, {plain(each.reserved)} {unit} reserved, "
            f"{plain(amount)} {unit} more wanted",
            *ways,
        )


# During: what was given


def check(j: Judge, act: c.Check) -> None:
    """See `commands.Check`."""
    kind = j.kind_of(act.session)
    session = j.run.session_of(kind.name)
    if session is None:
        raise j.stop("no-session", f"no session {kind.name} is open", f"arrive {kind.name}")
    if kind.dose is None or not kind.dose.checked_by:
        says = f"the program asks for no check of {kind.name}"
        raise j.stop("no-dose", says, f"dose {kind.name}")
    j.actor_in(kind.dose.checked_by, f"checking {kind.dose.drug}")
    if session.dosed is not None and (j.told is None or j.occurred > session.dosed):
        j.against("session-state", f"{session.id} was given already", "give first, check no more")
    j.end()
    j.run.emit(e.DoseChecked(session.id, j.occurred, j.actor.person, j.run.role, j.told))


def dose(j: Judge, act: c.Dose) -> None:
    """See `commands.Dose`."""
    kind = j.kind_of(act.session)
    session = j.run.session_of(kind.name)
    item = j.asks_for(kind) if session is None else None
    other = next((x for x in j.s.sessions.values() if x.under_way and x.kind != kind.name), None)
    rule = kind.dose
    if rule is None:
        raise j.stop("no-dose", f"nothing is given in {kind.name}", "record it with another form")
    j.actor_in(kind.by, f"giving {rule.drug}")
    amount = quantity(j, act.amount, rule.unit, "amount")
    rate = quantity(j, act.rate, rule.rate_unit, "rate") if act.rate else None
    if not amount and rate is None:
        j.against("bad-value", "an amount or a rate is missing", "say what was given")
    j.end()
    run = j.run
    if session is None and not run.s.visits:
        _after_all(j, kind, amount or Decimal(0), act.lot)
        return
    if session is None:
        session = j.open_session(kind, item)
        if item is None:
            run.deviation("dose-not-planned", f"{rule.drug} was given and no step was open for it")
    if not session.under_way:
        id_, ordered = order_of(run, rule, j.occurred)
        on = local_date(j.occurred, run.site)
        run.emit(
            e.SessionStarted(
                session.id, j.occurred, on, order=id_, ordered=ordered, recorded=j.told
            )
        )
        run.deviation("dose-without-start", f"{rule.drug} was given before the session was started")
    elif run.s.holds and session.dosed is None:
        run.deviation("dose-on-hold", f"{rule.drug} was given although a hold stood")
    elif session.dosing in ("paused", "ended"):
        run.deviation(
            f"dose-while-{session.dosing}",
            f"{rule.drug} was given although dosing was {session.dosing}",
        )
    if other is not None and session.dosed is None:
        run.deviation("second-session", f"{rule.drug} was given while {other.id} was under way")
    _give(j, kind, run.s.sessions[session.id], amount or Decimal(0), rate, act.lot)
    last = act.last if act.last is not None else rule.rate_from is None
    now = run.s.sessions[session.id]
    if last and now.state == "under_way":
        run.emit(e.DosingEnded(session.id, j.occurred, now.given, rule.unit, j.told))


def _after_all(j: Judge, kind: SessionKind, amount: Decimal, lot: str) -> None:
    """What was given once the patient had left is in no session; it counts all the same."""
    rule, run = kind.dose, j.run
    assert rule is not None  # something was given
    drug, text = drug_of(rule.drug, rule.unit), str(amount)
    broken = exposure.exceeded(run, drug, rule.caps, amount, at=j.occurred, reserves=False)
    person, role = j.actor.person, run.role
    run.emit(
        e.MedicineGiven(
            kind.name, rule.drug, text, rule.unit, j.occurred, j.at, person, role, "", lot
        )
    )
    run.deviation("dose-not-planned", f"{rule.drug} was given after the treatment had ended")
    _over_caps(j, drug, broken)
    ledger.given(j, rule, kind.name, amount, lot)
    if rule.ledger:
        run.unbalanced.append(kind.name)


def _give(
    j: Judge, kind: SessionKind, session: Session, amount: Decimal, rate: Decimal | None, lot: str
) -> None:
    """Write what was given, and what departs from the order, the checks and the caps."""
    rule, run = kind.dose, j.run
    assert rule is not None  # something was given
    first = session.dosed is None
    total = Decimal(session.given or 0) + amount
    lot = lot or session.lot or ledger.lot_of(run, rule, session) or _recorded_lot(j, rule, session)
    run.emit(
        e.DoseGiven(
            session.id,
            j.occurred,
            str(amount),
            rule.unit,
            str(total),
            str(rate) if rate is not None else "",
            first,
            lot,
            j.told,
        )
    )
    if first:
        crossing.dosed(run, kind, session, j.occurred)
        _departures(j, rule, session)
    ledger.given(j, rule, session.id, amount, lot)
    _dose_limits(j, rule, session, total, amount)
    if _rate_outside(rule, rate):
        run.deviation("rate-outside", f"the rate of {rule.drug} was outside the program's limits")


def _recorded_lot(j: Judge, rule: DoseRule, session: Session) -> str:
    """The lot that was recorded for this session, if the program says where."""
    if rule.lot is None:
        return ""
    step, field = rule.lot
    kept = reversed(j.run.readings(j.program.steps[step].form))
    here = (x for x in kept if x.step == step and is_within(x.place, session.place))
    reading = next(here, None)
    return "" if reading is None else str(reading.values.get(field) or "")


def _departures(j: Judge, rule: DoseRule, session: Session) -> None:
    """What should have come before the first drug given."""
    run = j.run
    if rule.order and not session.order:
        run.deviation("no-order", f"{rule.drug} was given without an order in force")
    if rule.checked_by and session.checked in ("", j.actor.person):
        run.deviation("unchecked", f"{rule.drug} was given and no second person had checked it")


def _dose_limits(
    j: Judge, rule: DoseRule, session: Session, total: Decimal, amount: Decimal
) -> None:
    """Deviations where more was given than the order, the session or a cap allows."""
    run = j.run
    if session.ordered and total > Decimal(session.ordered):
        run.deviation(
            "over-order", f"more than the {session.ordered} {rule.unit} ordered was given"
        )
    most = rule.amount if rule.most is None else rule.most
    if most is not None and total > most:
        run.deviation("over-cap", f"more than {plain(most)} {rule.unit} was given in a session")
    drug = drug_of(rule.drug, rule.unit)
    _over_caps(
        j, drug, exposure.exceeded(run, drug, rule.caps, amount, at=j.occurred, reserves=False)
    )


def _over_caps(j: Judge, drug: Drug, broken: Iterable[Broken]) -> None:
    for each in broken:
        says = (
            f"more than {plain(each.cap.most)} {drug.unit} of {drug.name} {each.over()} was given"
        )
        j.run.deviation("over-cap", says)


def _rate_outside(rule: DoseRule, rate: Decimal | None) -> bool:
    return rate is not None and (
        (rule.rate_from is not None and rate < rule.rate_from)
        or (rule.rate_to is not None and rate > rule.rate_to)
    )


def pause(j: Judge, act: c.Pause) -> None:
    """See `commands.Pause`."""
    kind, session = j.session(act.session, "pause")
    j.actor_in(kind.by, f"pausing {kind.name}")
    if session.dosing != "running":
        j.against("not-running", "nothing is being given", "dosing must be running")
    j.not_before(session.dosed, "the first dose")
    j.end()
    reason = act.reason or "a person's decision"
    j.run.emit(e.DosingPaused(session.id, j.occurred, reason, j.told))


def resume(j: Judge, act: c.Resume) -> None:
    """See `commands.Resume`."""
    j.not_held()
    kind, session = j.session(act.session, "resume")
    j.actor_in(kind.by, f"resuming {kind.name}")
    if session.dosing != "paused":
        j.against("not-paused", "nothing is paused", "the dose goes on, or has not begun")
    rate, rule = None, kind.dose
    if rule is not None and act.rate:
        rate = quantity(j, act.rate, rule.rate_unit, "rate")
        if _rate_outside(rule, rate):
            limits = f"{rule.rate_from} to {rule.rate_to} {rule.rate_unit}"
            j.against("rate-outside", f"the rate is outside {limits}", f"resume at {limits}")
    for each in (*kind.stop_when, *kind.pause_when):
        if each.when.truth(j.run):
            j.reasons.append(
                Reason(
                    "pause-rule",
                    f"it still holds that: {each.says}",
                    each.name,
                    each.when.explain(j.run),
                    ("record a new reading",),
                )
            )
    j.end()
    j.run.emit(e.DosingResumed(session.id, j.at, str(rate) if rate is not None else ""))


def end_dosing(j: Judge, act: c.EndDosing) -> None:
    """See `commands.EndDosing`."""
    kind, session = j.session(act.session, "end_dosing")
    rule = kind.dose
    if rule is None:
        raise j.stop("no-dose", f"nothing is given in {kind.name}", f"release {kind.name}")
    j.actor_in(kind.by, f"ending the dose of {kind.name}")
    total, before = quantity(j, act.amount, rule.unit, "amount"), Decimal(session.given or 0)
    if total is not None and total < before:
        j.against("bad-value", "the total is less than was given already", "leave it out")
    if session.dosed is None and not total:
        j.against("session-state", f"nothing was given in {session.id}", f"cancel {session.id}")
    j.not_before(session.dosed or session.started, "the session began")
    j.end()
    if total is not None and (total > before or session.dosed is None):
        _give(j, kind, session, total - before, None, "")
    total = before if total is None else total
    j.run.emit(e.DosingEnded(session.id, j.occurred, str(total), rule.unit, j.told))


# Medicines as needed


def give(j: Judge, act: c.Give) -> None:
    """See `commands.Give`."""
    program, run = j.program, j.run
    full = program.find("medicines", act.medicine)
    if full is None:
        known = ", ".join(program.medicines) or "none"
        says = f'there is no medicine "{act.medicine}"'
        raise j.stop("unknown-medicine", says, f"medicines: {known}")
    medicine = program.medicines[full]
    rule = program.orders[medicine.order]
    j.actor_in(medicine.by, f"giving {rule.drug}")
    amount = quantity(j, act.amount, rule.unit, "amount")
    if not amount:
        j.against("bad-value", "the amount is missing", f"write it as: 1 {rule.unit}")
    j.end()
    assert amount is not None  # it would have been refused
    drug, order = drug_of(rule.drug, rule.unit), in_force(run, rule.name, j.occurred)
    last = _last_given(run, drug, j.occurred)
    indicated = medicine.only_if is None or medicine.only_if.truth(j.then) is True
    broken = exposure.exceeded(run, drug, medicine.caps, amount, at=j.occurred, reserves=False)
    run.emit(
        e.MedicineGiven(
            medicine.name,
            rule.drug,
            str(amount),
            rule.unit,
            j.occurred,
            j.at,
            j.actor.person,
            run.role,
            "" if order is None else f"{rule.name}.{order.number}",
            act.lot,
            act.reason,
        )
    )
    if order is None:
        run.deviation("no-order", f"{rule.drug} was given without an order in force")
    elif amount > Decimal(order.total):
        run.deviation("over-order", f"more than the {order.total} {rule.unit} ordered was given")
    apart = medicine.apart
    if apart is not None and last is not None and j.occurred < plus(last, apart, run.site):
        run.deviation("too-soon", f"two of {medicine.name} are at least {apart} apart")
    _over_caps(j, drug, broken)
    if not indicated:
        says = f"{medicine.name} was given although its condition did not hold, or was unknown"
        run.deviation("not-indicated", says)
    if medicine.ledger:
        ledger.medicine_given(j, medicine, rule, amount, act.lot)
    elif act.lot:
        ledger.used(j, drug.name, act.lot, amount, rule.unit, medicine.name)


def _last_given(run: Run, drug: Drug, at: datetime) -> datetime | None:
    """When the patient last got a drug by then, in whichever program."""
    recent = exposure.exposure_of(run, drug).recent
    return max((each.at for each in recent if each.at <= at), default=None)
