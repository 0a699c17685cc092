"""Acts of a prescriber: a drug is ordered within the program's limits, or an order is stopped.

An order is resolved when it is placed: amount per body weight times the latest weight, rounded
down, never more than the cap. What was used stands in the entry. It takes effect at the next
start; a session under way goes on as it was ordered.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import exposure
from kat_workflow.enrollment.dosing import refuse_beyond
from kat_workflow.enrollment.quantities import in_unit, plain, quantity
from kat_workflow.program.clock import parse_duration, plus

if TYPE_CHECKING:
    from datetime import datetime

    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.forms import Observation
    from kat_workflow.program.model import CapRule, DoseRule, OrderRule, Program


def order(j: Judge, act: c.Order) -> None:
    """See `commands.Order`."""
    j.treated()
    j.not_held()
    rule = _rule(j, act.order)
    j.actor_in(rule.by, f"ordering {rule.drug}")
    item = _item(j, rule)
    if item is not None:
        j.other_person(j.program.steps[item.step])
    amount = _within(j, rule, act)
    weight = _weight(j, rule)
    j.end()
    assert amount is not None  # else it was refused
    total, capped = _total(rule, amount, weight)
    if not total:
        j.against("bad-value", f"it rounds down to 0 {rule.unit}", "order more")
    bolus = _bolus(j, rule, act, amount, total, weight)
    _pace(j, rule, act, total - (bolus or 0))
    _room(j, rule, total)
    j.end()
    before = j.s.orders.get(rule.name)
    number = 1 if before is None else before.number + 1
    until = None if rule.lasts is None else plus(j.at, rule.lasts, j.run.site)
    if weight is not None:
        lapses = _lapses(j.run, rule, weight)
        until = lapses if until is None else min(until, lapses)
    j.run.emit(
        e.Ordered(
            order=rule.name,
            number=number,
            drug=rule.drug,
            amount=plain(amount),
            basis=rule.basis,
            total=plain(total),
            unit=rule.unit,
            at=j.at,
            person=j.actor.person,
            role=j.run.role,
            until=until,
            times=rule.times,
            capped=capped,
            weight="" if weight is None else _value(rule, weight),
            weight_unit="" if weight is None else rule.weight_unit,
            evidence="" if weight is None else weight.id,
            bolus="" if bolus is None else plain(bolus),
            bolus_over=act.bolus_over,
            infusion_over=act.infusion_over,
            rate=act.rate,
            reason=act.reason,
        )
    )
    if item is not None:
        j.run.settle_item(item, "done", j.at)


def stop_order(j: Judge, act: c.StopOrder) -> None:
    """See `commands.StopOrder`."""
    rule = _rule(j, act.order)
    j.actor_in(rule.by, f"stopping {rule.name}")
    state = j.s.orders.get(rule.name)
    if state is None or not state.stands(j.occurred):
        raise j.stop("no-order", f"no order {rule.name} is in force", "there is nothing to stop")
    if not act.reason:
        j.against("reason-missing", "an order is stopped for a reason", "say why")
    j.end()
    j.run.emit(
        e.OrderStopped(
            rule.name, state.number, j.occurred, j.actor.person, act.reason, recorded=j.told
        )
    )


def comes_to(run: Run, order: e.Ordered) -> str:
    """What an order comes to with the weight as it is known in a run; `unknown` without one."""
    rule = run.program.orders[order.order]
    assert rule.weight is not None  # it was worked out with one
    weight = _latest(run, rule.weight)
    if weight is None or not weight.signed or run.now >= _lapses(run, rule, weight):
        return "unknown"
    return f"{plain(_total(rule, Decimal(order.amount), weight)[0])} {rule.unit}"


def _rule(j: Judge, name: str) -> OrderRule:
    full = j.program.find("orders", name)
    if full is None:
        known = ", ".join(j.program.orders) or "none"
        raise j.stop("unknown-order", f'there is no order "{name}"', f"orders: {known}")
    return j.program.orders[full]


def _item(j: Judge, rule: OrderRule) -> Item | None:
    """The open item that asks for the order, if one does."""
    for item in j.s.items.values():
        step = j.program.steps.get(item.step)
        if step is not None and step.order == rule.name:
            return item
    return None


def _within(j: Judge, rule: OrderRule, act: c.Order) -> Decimal | None:
    """The amount, within the limits of the program and of a raise."""
    amount = quantity(j, act.amount, rule.basis, "amount")
    if amount is None:
        if not act.amount:
            j.against("bad-value", "the amount is missing", f"write it as: 1 {rule.basis}")
        return None
    low, high = rule.amount_from, rule.amount_to
    if not low <= amount <= high:
        limits = f"{plain(low)} to {plain(high)} {rule.basis}"
        j.against("amount-outside", f"{rule.drug} is ordered from {limits}", f"order {limits}")
    elif rule.raise_at_most is not None and (before := j.s.orders.get(rule.name)) is not None:
        highest = Decimal(before.amount) + rule.raise_at_most
        if amount > highest:
            says = f"an order is raised by at most {plain(rule.raise_at_most)} {rule.basis}"
            way = f"at most {plain(highest)} {rule.basis} after {before.amount} {rule.basis}"
            j.against("raised-too-much", says, way)
    return amount


def _weight(j: Judge, rule: OrderRule) -> Observation | None:
    """The latest weight: it must be signed where that is asked, in force, and not too old."""
    if rule.weight is None:
        return None
    form, field = rule.weight
    latest, way = _latest(j.run, rule.weight), f"record {form}"
    if latest is None:
        j.against("weight-missing", f"no {field} is recorded in {form}", way)
    elif not latest.signed:
        says = f"the {field} recorded as {latest.id} is not signed"
        j.against("weight-missing", says, "sign it", way)
    elif j.at >= _lapses(j.run, rule, latest):
        says = f"the {field} of {latest.occurred:%Y-%m-%d %H:%M} UTC ({latest.id}) is too old"
        j.against("weight-missing", f"{says}: it serves for {rule.weight_lasts}", way)
    return latest


def _latest(run: Run, weight: tuple[str, str]) -> Observation | None:
    form, field = weight
    kept = reversed(run.readings(form))
    return next((each for each in kept if each.values.get(field) is not None), None)


def _lapses(run: Run, rule: OrderRule, weight: Observation) -> datetime:
    """Until when a weight serves."""
    assert rule.weight_lasts is not None  # the language asks for it
    lapses = plus(weight.occurred, rule.weight_lasts, run.site)
    return lapses if weight.valid_until is None else min(lapses, weight.valid_until)


def _value(rule: OrderRule, weight: Observation) -> str:
    assert rule.weight is not None
    return str(weight.values[rule.weight[1]])


def _resolved(rule: OrderRule, amount: Decimal, weight: Observation | None) -> Fraction:
    """An amount in the unit of what is given, exactly."""
    from kat_workflow.program import units  # noqa: PLC0415  # only doses need the table

    if weight is None:
        return Fraction(amount)
    basis, unit, scale = units.unit(rule.basis), units.unit(rule.unit), units.unit(rule.weight_unit)
    assert basis is not None  # the language read all three
    assert unit is not None
    assert scale is not None
    body = Fraction(Decimal(_value(rule, weight))) * scale.factor
    return Fraction(amount) * basis.factor * body / unit.factor


def _total(rule: OrderRule, amount: Decimal, weight: Observation | None) -> tuple[Decimal, bool]:
    """What one administration comes to, and whether the cap made it less."""
    total = _rounded(rule, _resolved(rule, amount, weight))
    if rule.most is not None and total > rule.most:
        return rule.most, True
    return total, False


def _rounded(rule: OrderRule, exact: Fraction) -> Decimal:
    """Down to a multiple of what the program says: never more than was ordered."""
    if rule.rounded_to is None:
        return Decimal(exact.numerator) / Decimal(exact.denominator)
    return int(exact // Fraction(rule.rounded_to)) * rule.rounded_to


def _bolus(
    j: Judge,
    rule: OrderRule,
    act: c.Order,
    amount: Decimal,
    total: Decimal,
    weight: Observation | None,
) -> Decimal | None:
    """The first part of the order, in the unit of what is given."""
    if not act.bolus:
        return None
    part = quantity(j, act.bolus, rule.basis, "bolus")
    if part is None:
        return None
    most = Decimal(0) if rule.bolus_at_most is None else min(rule.bolus_at_most, amount)
    if part > most:
        says = f"at most {plain(most)} {rule.basis} of it may be a bolus"
        j.against("amount-outside", says, "order a smaller bolus, or none")
    return min(_rounded(rule, _resolved(rule, part, weight)), total)


def _pace(j: Judge, rule: OrderRule, act: c.Order, infused: Decimal) -> None:
    """How fast it is to go, within the rates of the sessions that give it."""
    for what in ("bolus_over", "infusion_over"):
        text = getattr(act, what)
        lasts = parse_duration(text)
        if text and (lasts is None or lasts.calendar or not lasts.amount):
            j.against("bad-value", f"{what} is no length of time", "write it as: 40 min")
    over = parse_duration(act.infusion_over)
    if act.rate and act.infusion_over:
        j.against("bad-value", "both a rate and infusion_over are given", "leave one out")
    for dose in _users(j.program, rule.name).doses:
        if not dose.rate_unit:
            continue
        rate: Fraction | None = None
        if act.rate:
            given = quantity(j, act.rate, dose.rate_unit, "rate")
            rate = None if given is None else Fraction(given)
        elif over is not None and not over.calendar and over.amount:
            rate = _rate(infused, over.seconds, rule, dose)
        if rate is not None and not _in_limits(dose, rate):
            limits = f"{dose.rate_from} to {dose.rate_to} {dose.rate_unit}"
            j.against("rate-outside", f"the rate is outside {limits}", f"order {limits}")


def _rate(amount: Decimal, seconds: int, rule: OrderRule, dose: DoseRule) -> Fraction:
    """An amount over a time as a rate in the dose's unit, exactly."""
    from kat_workflow.program import units  # noqa: PLC0415

    unit, per = units.unit(rule.unit), units.unit(dose.rate_unit)
    assert unit is not None  # the language read both
    assert per is not None
    return Fraction(amount) * unit.factor / seconds / per.factor


def _in_limits(dose: DoseRule, rate: Fraction) -> bool:
    assert dose.rate_from is not None  # a rate has both ends
    assert dose.rate_to is not None
    return Fraction(dose.rate_from) <= rate <= Fraction(dose.rate_to)


def _room(j: Judge, rule: OrderRule, total: Decimal) -> None:
    """Whether the caps of all that is given on the order leave room for it."""
    users, times = _users(j.program, rule.name), rule.times or 1
    for dose in users.doses:
        text = in_unit(plain(total), rule.unit, dose.unit)
        assert text is not None  # the language compares the two units
        amount = Decimal(text)
        if dose.most is not None and amount > dose.most:
            most = f"{plain(dose.most)} {dose.unit}"
            j.against("dose-cap", f"one session gives at most {most}", f"order at most {most}")
        _caps(j, dose.drug, dose.unit, dose.caps, amount, times, rule.name)
    for caps in users.medicines:
        _caps(j, rule.drug, rule.unit, caps, total, times, rule.name)


def _caps(
    j: Judge,
    name: str,
    unit: str,
    caps: tuple[CapRule, ...],
    amount: Decimal,
    times: int,
    own: str,
) -> None:
    drug = exposure.drug_of(name, unit)
    # What was given today says nothing of the day on which the order is given: over hours and
    # days only the amount itself is judged here, and everything again at the start.
    for cap in caps:
        if cap.per in ("program day", "hours") and amount > cap.most:
            refuse_beyond(j, drug, [exposure.Broken(cap, Decimal(0), Decimal(0))], amount)
    whole = [cap for cap in caps if cap.per in ("enrollment", "course")]
    if whole:
        broken = exposure.exceeded(j.run, drug, whole, amount, at=j.at, times=times, own=own)
        refuse_beyond(j, drug, broken, amount * times)


class _Users(Struct, frozen=True):
    """What is given on an order: the doses of sessions, and the caps of medicines."""

    doses: tuple[DoseRule, ...]
    medicines: tuple[tuple[CapRule, ...], ...]


@lru_cache(maxsize=256)
def _users(program: Program, order: str) -> _Users:
    doses = [kind.dose for kind in program.sessions.values() if kind.dose is not None]
    return _Users(
        tuple(dose for dose in doses if dose.order == order),
        tuple(each.caps for each in program.medicines.values() if each.order == order),
    )
