"""How much of a drug a patient was given and may still be given, across programs, against caps.

`tell` writes what a command did about drugs to the patient's own stream: what was given, what is
reserved by orders in force and by sessions under way, and what is no longer. `exceeded` answers
which caps one more amount would break.

Over hours and days count what was given and what sessions under way may still give: an order says
how much, not when, and is judged again when its session starts. Over an enrollment or a course,
orders in force count too, so that the last of them is not ordered twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kat_workflow.enrollment import events as e
from kat_workflow.program.clock import local_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kat_workflow.enrollment.run import Run
    from kat_workflow.program.model import CapRule

REMEMBERED = timedelta(days=8)
"""How long single amounts are kept: longer than any rolling window (the language allows 168 h).
The last one is kept until the next is given, whenever that is: a spacing may be of any length."""

NOTHING = e.Exposure()


class Drug(Struct, frozen=True, gc=False):
    """A drug in the unit of one program, and how it is called across programs."""

    name: str
    key: str
    unit: str
    factor: Decimal

    def base(self, amount: Decimal) -> str:
        """An amount in the base unit of its measure, as the patient's stream holds it."""
        return format((amount * self.factor).normalize(), "f")

    def own(self, amount: Decimal) -> Decimal:
        """An amount of the patient's stream in this program's unit."""
        return amount / self.factor


@lru_cache(maxsize=256)
def drug_of(name: str, unit: str) -> Drug:
    """A drug as a program gives it."""
    from kat_workflow.program import units  # noqa: PLC0415  # only doses need the table

    measured = units.unit(unit)
    assert measured is not None  # the language read it
    factor = Decimal(measured.factor.numerator) / Decimal(measured.factor.denominator)
    return Drug(name, f"{name.casefold()} ({measured.measures})", unit, factor)


class Broken(Struct, frozen=True):
    """A cap that would be, or was, exceeded: `given` and `reserved` so far, in the program's
    unit; `opens` is when enough will have left a rolling window."""

    cap: CapRule
    given: Decimal
    reserved: Decimal
    opens: datetime | None = None

    def over(self) -> str:
        """The time over which it counts, in words."""
        return f"in {self.cap.hours}" if self.cap.hours is not None else f"per {self.cap.per}"


def exposure_of(run: Run, drug: Drug) -> e.Exposure:
    """What the patient was given of a drug, in all programs."""
    known: e.Known = run.stream("patient").state.known
    return known.exposures.get(drug.key, NOTHING)


def exceeded(
    run: Run,
    drug: Drug,
    caps: Iterable[CapRule],
    more: Decimal,
    *,
    at: datetime,
    times: int = 1,
    own: str = "",
    reserves: bool = True,
) -> list[Broken]:
    """The caps that `more` (in the program's unit) at an instant would break.

    Over an enrollment or course it counts `times`; what the order `own` has reserved is not
    counted besides. `reserves=False` counts only what was given: for a dose that was given.
    """
    broken = []
    for cap in caps:
        given, held, amounts = _counted(run, exposure_of(run, drug), cap, at, own)
        reserved = held if reserves else Decimal(0)
        whole = more * times if cap.per in ("enrollment", "course") else more
        over = given + reserved + (whole - cap.most) * drug.factor
        if over > 0:
            opens = _opens(cap, amounts, over)
            broken.append(Broken(cap, drug.own(given), drug.own(reserved), opens))
    return broken


def _counted(
    run: Run, its: e.Exposure, cap: CapRule, at: datetime, own: str
) -> tuple[Decimal, Decimal, list[tuple[datetime, Decimal]]]:
    """What counts for a cap, in base units: given, reserved, and the single amounts of a rolling
    window."""
    me = run.s.id
    amounts: list[tuple[datetime, Decimal]] = []
    totals: list[Decimal] = []
    if cap.per in ("enrollment", "course"):
        alone = cap.per == "enrollment"
        totals = [Decimal(x) for who, x in its.totals.items() if who == me or not alone]
        held = [
            Decimal(kept.amount) * kept.times
            for key, kept in its.reserved.items()
            if (kept.enrollment == me or not alone)
            and key != f"{me}/{own}"
            and (kept.until is None or run.now < kept.until)
        ]
    else:
        if cap.hours is not None:
            since = at - cap.hours.elapsed
            recent = [each for each in its.recent if since < each.at <= at]
        else:
            day = local_date(at, run.site)
            recent = [each for each in its.recent if local_date(each.at, run.site) == day]
        amounts = [(each.at, Decimal(each.amount)) for each in recent]
        totals = [amount for _, amount in amounts]
        held = [Decimal(kept.amount) for kept in its.reserved.values() if not kept.ordered]
    return sum(totals, Decimal(0)), sum(held, Decimal(0)), amounts


def _opens(cap: CapRule, amounts: list[tuple[datetime, Decimal]], over: Decimal) -> datetime | None:
    """When a rolling window will have room for what is too much now, None if waiting alone does
    not help."""
    if cap.hours is None:
        return None
    for at, amount in sorted(amounts):
        over -= amount
        if over <= 0:
            return at + cap.hours.elapsed
    return None


# What a command did, for the patient's own stream


def tell(run: Run) -> None:
    """Write what the run's events say about drugs to the patient's stream."""
    for event in run.events:
        teller = TELLERS.get(type(event))
        if teller is not None:
            teller(run, event)


def _drug_of_session(run: Run, session: str) -> Drug | None:
    rule = run.program.sessions[session.rpartition(".")[0]].dose
    return None if rule is None else drug_of(rule.drug, rule.unit)


def _reserve(run: Run, drug: Drug, about: str, amount: Decimal, **how: Any) -> None:
    held = e.DrugReserved(run.s.id, about, drug.key, drug.base(amount), run.now, **how)
    run.stream("patient").emit(held)


def _free(run: Run, drug: Drug, about: str) -> None:
    if f"{run.s.id}/{about}" in exposure_of(run, drug).reserved:
        run.stream("patient").emit(e.DrugFreed(run.s.id, about, drug.key, run.now))


def _give(run: Run, drug: Drug, about: str, amount: str, at: datetime) -> None:
    if Decimal(amount):
        # What was told long after it was given may be the last one: it is not forgotten at once.
        given, forgets = drug.base(Decimal(amount)), min(run.now, at) - REMEMBERED
        run.stream("patient").emit(e.DrugGiven(run.s.id, about, drug.key, given, at, forgets))


def _reserve_order(run: Run, id_: str) -> None:
    """What an order in force reserves after one of its administrations was used or given back."""
    name, _, number = id_.rpartition(".")
    state = run.s.orders.get(name)
    if state is None or state.left is None or number != str(state.number):
        return  # it reserves the same, or a newer one has its place
    rule = run.program.orders[name]
    drug = drug_of(rule.drug, rule.unit)
    if not state.left:
        _free(run, drug, name)
    elif state.stands(run.now):
        how = {"ordered": True, "times": state.left, "until": state.until}
        _reserve(run, drug, name, Decimal(state.total), **how)


def _started(run: Run, x: e.SessionStarted) -> None:
    rule = run.program.sessions[x.session.rpartition(".")[0]].dose
    if rule is None:
        return
    _reserve_order(run, x.order)
    amount = Decimal(x.ordered) if x.ordered else rule.amount or rule.most
    if amount:
        _reserve(run, drug_of(rule.drug, rule.unit), x.session, amount)


def _dose(run: Run, x: e.DoseGiven) -> None:
    drug = _drug_of_session(run, x.session)
    assert drug is not None  # something was given
    _give(run, drug, x.session, x.amount, x.at)


def _over(run: Run, x: e.DosingEnded | e.SessionAborted | e.SessionReleased) -> None:
    drug = _drug_of_session(run, x.session)
    if drug is not None:
        _free(run, drug, x.session)


def _cancelled(run: Run, x: e.SessionCancelled) -> None:
    drug = _drug_of_session(run, x.session)
    if drug is not None:
        _free(run, drug, x.session)
        _reserve_order(run, x.order)


def _ordered(run: Run, x: e.Ordered) -> None:
    how = {"ordered": True, "times": x.times or 1, "until": x.until}
    _reserve(run, drug_of(x.drug, x.unit), x.order, Decimal(x.total), **how)


def _stopped(run: Run, x: e.OrderStopped) -> None:
    rule = run.program.orders[x.order]
    _free(run, drug_of(rule.drug, rule.unit), x.order)


def _medicine(run: Run, x: e.MedicineGiven) -> None:
    drug = drug_of(x.drug, x.unit)
    _reserve_order(run, x.order)
    _give(run, drug, x.medicine, x.amount, x.at)


TELLERS: dict[type, Callable[[Run, Any], None]] = {
    e.SessionStarted: _started,
    e.DoseGiven: _dose,
    e.DosingEnded: _over,
    e.SessionAborted: _over,
    e.SessionCancelled: _cancelled,
    e.SessionReleased: _over,
    e.Ordered: _ordered,
    e.OrderStopped: _stopped,
    e.MedicineGiven: _medicine,
}
