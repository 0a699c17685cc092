"""Doses: orders, medicines, ledgers and caps, and what a session gives.

Every amount is brought to one unit while the file is read, exactly; what cannot be compared is a
finding. An order per body weight names the weight, how old it may be, and how it is rounded.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from kat_workflow.language import grammar
from kat_workflow.language.findings import closest
from kat_workflow.language.layout import Held, Layout
from kat_workflow.language.names import Path, Unit, in_words
from kat_workflow.language.words import Around, Words, duration
from kat_workflow.program import model
from kat_workflow.program.clock import parse_duration
from kat_workflow.program.units import Quantity
from kat_workflow.program.units import Unit as Measure
from kat_workflow.program.units import unit as unit_of

__all__ = ["LONGEST", "Doses"]

LONGEST = 168
"""Hours: the longest rolling window of a cap; single amounts are not kept much longer."""

CONTROLLED = {
    "methadone": "II",
    "buprenorphine": "III",
    "esketamine": "III",
    "ketamine": "III",
    "chlordiazepoxide": "IV",
    "diazepam": "IV",
    "lorazepam": "IV",
    "midazolam": "IV",
    "phenobarbital": "IV",
}
"""Drugs of treatment programs that are scheduled in the United States (21 CFR 1308.12 to 1308.14):
a reminder and no list of them all. What a program says is what holds."""

_PER_WEIGHT = ("mass", -1)


class Doses(Words):
    """Builds the orders, medicines and ledgers of a program, and the doses of its sessions."""

    def __init__(self, layout: Layout, unit: Unit) -> None:
        super().__init__(layout, unit)
        self.orders: dict[str, model.OrderRule] = {}
        self.medicines: dict[str, model.Medicine] = {}
        self.ledgers: dict[str, model.Ledger] = {}
        self.lots: dict[str, tuple[str, str]] = {}
        """Of which step and field a session's dose has its lot."""

    def declare_drugs(self, unit: Unit) -> None:
        """The orders, medicines and ledgers of a file."""
        written, tables = unit.written, self.names.tables
        for name, order in written.orders.items():
            if unit.prefix + name in tables["orders"]:
                self._order(unit, unit.prefix + name, order, ("orders", name))
        for name, ledger in written.ledgers.items():
            full, path = unit.prefix + name, ("ledgers", name)
            if full in tables["ledgers"]:
                witnesses = self.roles(unit, ledger.witnessed_by, (*path, "witnessed_by"))
                title = ledger.title or in_words(name)
                self.ledgers[full] = model.Ledger(
                    full, title, ledger.drug, witnesses, ledger.schedule, ledger.kept_by
                )
        for name, medicine in written.medicines.items():
            if unit.prefix + name in tables["medicines"]:
                self._medicine(unit, unit.prefix + name, medicine, ("medicines", name))

    # Orders

    def _order(self, unit: Unit, name: str, its: grammar.Order, path: Path) -> None:
        source = self.source(unit, its.source, path, "amount")
        by = self.needed_roles(unit, its.by, (*path, "by"))
        low = self.quantity(unit, its.amount.from_, (*path, "amount", "from"))
        high = self.quantity(unit, its.amount.to, (*path, "amount", "to"))
        rounded = self.quantity(unit, its.rounded_to, (*path, "rounded_to"))
        most = self.quantity(unit, its.most, (*path, "most"))
        if not its.times and not its.lasts:
            message, hint = "the order never ends", "write times: 1, or lasts: 30 d, or both"
            self.report.add(unit.document, "order-endless", path, message, hint, on="key")
        if low is None:
            return
        basis, weighed = low.unit, _PER_WEIGHT in low.unit.dimension
        if weighed and rounded is None:
            if not its.rounded_to:
                message = "a dose per body weight comes to any fraction"
                hint = "say what it is rounded down to: rounded_to: 1 mg"
                self.report.add(unit.document, "order-weight", path, message, hint, on="key")
            return
        given = rounded.unit if weighed and rounded is not None else basis
        per_weight = tuple(sorted((*given.dimension, _PER_WEIGHT)))
        if weighed and basis.dimension != per_weight:
            message = f"{low} is no {given.measures} per body weight"
            at: Path = (*path, "amount", "from")
            self.report.add(unit.document, "unit-mismatch", at, message, "use such a unit")
            return
        amounts = {
            key: self._in(unit, (*path, *where), found, basis)
            for key, where, found in (
                ("from", ("amount", "from"), low),
                ("to", ("amount", "to"), high),
                *(
                    (key, (key,), self.quantity(unit, getattr(its, key), (*path, key)))
                    for key in ("raise_by_at_most", "bolus_at_most")
                ),
            )
        }
        lowest, highest = amounts["from"], amounts["to"]
        if lowest is None or highest is None:
            return
        if highest < lowest:
            message = f"the amount goes from {low} down to {high}"
            at = (*path, "amount", "to")
            self.report.add(
                unit.document, "impossible-range", at, message, "write the lower one first"
            )
        weight = self._weight(unit, its, weighed, path)
        self.orders[name] = model.OrderRule(
            name=name,
            title=its.title or in_words(name.rpartition(".")[2]),
            drug=its.drug,
            route=its.route,
            by=by,
            unit=given.written,
            basis=basis.written,
            amount_from=lowest,
            amount_to=highest,
            most=self._in(unit, (*path, "most"), most, given),
            rounded_to=self._in(unit, (*path, "rounded_to"), rounded, given),
            weight=weight and weight[0],
            weight_unit=weight[1] if weight else "",
            weight_lasts=duration(its.weight_lasts),
            raise_at_most=amounts["raise_by_at_most"],
            bolus_at_most=amounts["bolus_at_most"],
            times=its.times,
            lasts=duration(its.lasts),
            source=source,
        )

    def _weight(
        self, unit: Unit, its: grammar.Order, weighed: bool, path: Path
    ) -> tuple[tuple[str, str], str] | None:
        """The form and field of the weight, and its unit."""
        if bool(its.weight) != weighed or bool(its.weight_lasts) != weighed:
            message = (
                "a dose per body weight needs weight: and weight_lasts:"
                if weighed
                else "no weight is used: the amount is not per body weight"
            )
            hint = "write weight: vitals.weight, weight_lasts: 14 d, amounts in mg/kg"
            self.report.add(unit.document, "order-weight", path, message, hint, on="key")
            return None
        found = self.recorded(unit, its.weight, (*path, "weight")) if weighed else None
        if found is None:
            return None
        form, field = found
        measure = unit_of(field.unit)
        if measure is None or measure.dimension != (("mass", 1),):
            message = f'"{its.weight}" is no weight'
            hint = "name a number whose unit is kg"
            self.report.add(unit.document, "unit-mismatch", (*path, "weight"), message, hint)
            return None
        return (form.name, field.name), field.unit

    def ordered(self, unit: Unit, its: grammar.Step, path: Path) -> str:
        """The order that a step places; whoever has the step must be able to place it."""
        name = self.names.find("orders", unit, its.order, (*path, "order")) or ""
        rule = self.orders.get(name)
        for count, role in enumerate(its.by):
            if rule is not None and rule.by and role not in rule.by:
                message = f'"{role}" may not order {its.order}'
                hint = f"orders are by: {', '.join(rule.by)}"
                at: Path = (*path, "by", count)
                self.report.add(unit.document, "order-by", at, message, hint)
        return name

    # Medicines and caps

    def _medicine(self, unit: Unit, name: str, its: grammar.Medicine, path: Path) -> None:
        numbers = next((key for key in ("apart", "cap") if getattr(its, key)), "")
        source = self.source(unit, its.source, path, numbers)
        by = self.needed_roles(unit, its.by, (*path, "by"))
        order = self.names.find("orders", unit, its.order, (*path, "order"))
        apart = duration(its.apart)
        if order is None or order not in self.orders:
            return
        measure = unit_of(self.orders[order].unit)
        assert measure is not None  # it was read from the order
        caps = self._caps(unit, its.cap, (*path, "cap"), measure, source)
        title = its.title or in_words(name.rpartition(".")[2])
        drug = self.orders[order].drug
        self.medicines[name] = model.Medicine(
            name,
            title,
            by,
            order,
            its.for_,
            apart,
            caps,
            source,
            self.test(unit, its.only_if, (*path, "only_if"), Around(())),
            self._ledger(unit, its.ledger, drug, path),
        )

    def _caps(
        self, unit: Unit, written: list[grammar.Cap], path: Path, measure: Measure, inherited: str
    ) -> tuple[model.CapRule, ...]:
        found = []
        for count, its in enumerate(written):
            at: Path = (*path, count)
            source = self.source(unit, its.source, at, "most", inherited)
            most = self._in(
                unit, (*at, "most"), self.quantity(unit, its.most, (*at, "most")), measure
            )
            hours = parse_duration(its.per)
            if hours is not None and hours.amount > LONGEST:
                message, hint = f"{hours} are too long to look back", f"write {LONGEST} h or less"
                self.report.add(unit.document, "impossible-range", (*at, "per"), message, hint)
            if most is not None and its.per:
                per = "hours" if hours is not None else its.per
                found.append(model.CapRule(most, per, hours, source))  # type: ignore[arg-type]
        return tuple(found)

    # Doses

    def dose(self, held: Held, inherited: str) -> model.DoseRule | None:
        """What a session gives."""
        its: grammar.Dose | None = held.written.dose
        unit, path = held.unit, (*held.path, "dose")
        if its is None:
            return None
        source = self.source(unit, its.source, path, inherited=inherited)
        order = self.names.find("orders", unit, its.order, (*path, "order")) or ""
        rule = self.orders.get(order)
        checks = self.roles(unit, its.checked_by, (*path, "checked_by"))
        ledger = self._ledger(unit, its.ledger, its.drug, path)
        if not its.amount and not its.most and not its.order:
            message = "it is not said how much is given"
            hint = "write amount: 500 mg, or order: … and most: … where a prescriber decides"
            self.report.add(unit.document, "dose-amount", path, message, hint, on="key")
            return None
        amount = self.quantity(unit, its.amount, (*path, "amount")) if its.amount else None
        most = self.quantity(unit, its.most, (*path, "most")) if its.most else None
        first = amount or most
        measure = first.unit if first else unit_of(rule.unit) if rule else None
        if measure is None:
            return None
        for key, quantity in (("amount", amount), ("most", most)):
            self._measures(unit, (*path, key), quantity, measure.dimension, measure.measures)
        low, high = self._rates(unit, its, path, measure)
        limit = None
        if most is not None and most.unit.dimension == measure.dimension:
            limit = _decimal(most.unit.convert(most.value, measure))
            if amount is not None and limit < amount.value:
                message = f"the amount {amount} is more than the most, {most}"
                self.report.add(
                    unit.document, "impossible-range", (*path, "most"), message, "raise it"
                )
        if rule is not None:
            self._same_drug(unit, path, its.drug, rule.drug, "order")
            ordered = unit_of(rule.unit)
            if ordered is not None and ordered.dimension != measure.dimension:
                message = f"it is given as {measure.measures}, but ordered as {ordered.measures}"
                hint = "use one unit for both"
                self.report.add(unit.document, "unit-mismatch", (*path, "order"), message, hint)
        return model.DoseRule(
            drug=its.drug,
            route=its.route,
            unit=measure.written,
            amount=amount.value if amount is not None else None,
            most=limit,
            rate_unit=low.unit.written if low is not None else "",
            rate_from=low.value if low is not None else None,
            rate_to=high.value if high is not None else None,
            source=source,
            order=order,
            caps=self._caps(unit, its.cap, (*path, "cap"), measure, source),
            ledger=ledger,
            checked_by=checks,
            lot=self._lot(held, its.lot, (*path, "lot")) if its.lot else None,
        )

    def _lot(self, held: Held, written: str, path: Path) -> tuple[str, str] | None:
        """The step of this session, and its field, in which the lot is recorded."""
        unit, name = held.unit, written.rpartition(".")[0]
        if name not in held.written.before:
            message = f'"{name}" is no step before this session'
            hint = (
                closest(name, held.written.before) or "write lot: bag_check.lot, a step of before"
            )
            self.report.add(unit.document, "unknown-step", path, message, hint)
            return None
        found = self.recorded(unit, written, path)
        if found is None:
            return None
        _, field = found
        if field.type != "text":
            message = f'"{written}" is {field.type}, not text'
            hint = "name the field that holds the number of the lot"
            self.report.add(unit.document, "type-mismatch", path, message, hint)
            return None
        lot = unit.prefix + name, field.name
        self.lots[unit.prefix + str(held.path[-1])] = lot
        return lot

    def _ledger(self, unit: Unit, ledger: str, drug: str, path: Path) -> str:
        """The ledger that is kept here for a drug. A drug that is known to be controlled stands in
        one, here or elsewhere, that names its schedule."""
        name = self.names.find("ledgers", unit, ledger, (*path, "ledger")) or ""
        its, schedule = self.ledgers.get(name), CONTROLLED.get(drug.casefold(), "")
        if not ledger and schedule:
            message = f"{drug} is in schedule {schedule}, and what is given stands in no ledger"
            hint = f"write ledger: … and under ledgers: drug: {drug}, schedule: {schedule}"
            self._controlled(unit, path, message, hint)
        if its is None:
            return name
        self._same_drug(unit, path, drug, its.drug, "ledger")
        if schedule and its.schedule != schedule:
            message = f"{drug} is in schedule {schedule}, and the ledger {ledger} says otherwise"
            self._controlled(unit, (*path, "ledger"), message, f"write schedule: {schedule}")
        return "" if its.kept_by else name

    def _controlled(self, unit: Unit, path: Path, message: str, hint: str) -> None:
        self.report.add(
            unit.document, "controlled-drug", path, message, hint, on="key", severity="warning"
        )

    def _same_drug(self, unit: Unit, path: Path, drug: str, other: str, key: str) -> None:
        if drug.casefold() != other.casefold():
            message = f'{drug} is given, but the {key} is for "{other}"'
            hint = f"name the {key} of {drug}"
            self.report.add(unit.document, "other-drug", (*path, key), message, hint)

    def _rates(
        self, unit: Unit, its: grammar.Dose, path: Path, measure: Measure
    ) -> tuple[Quantity | None, Quantity | None]:
        """The lowest and the highest rate, in one unit."""
        if its.rate is None:
            return None, None
        low = self.quantity(unit, its.rate.from_, (*path, "rate", "from"))
        high = self.quantity(unit, its.rate.to, (*path, "rate", "to"))
        per_time = tuple(sorted((*measure.dimension, ("time", -1))))
        good = [
            self._measures(
                unit, (*path, "rate", key), rate, per_time, f"{measure.measures} per time"
            )
            for key, rate in (("from", low), ("to", high))
        ]
        if low is not None and high is not None and all(good):
            slow, fast = (each.unit.written.rpartition("/")[2] for each in (low, high))
            if unit_of(slow) != unit_of(fast):
                message = f"the rate goes from one per {slow} to one per {fast}"
                hint = f"write both per {slow}"
                at: Path = (*path, "rate", "to")
                self.report.add(unit.document, "rate-times", at, message, hint, severity="warning")
            high = Quantity(_decimal(high.unit.convert(high.value, low.unit)), low.unit)
            if high.value < low.value:
                message = f"the rate goes from {low} down to {high}"
                at = (*path, "rate", "to")
                self.report.add(
                    unit.document, "impossible-range", at, message, "write the lower one first"
                )
        return low, high

    def _in(
        self, unit: Unit, path: Path, found: Quantity | None, measure: Measure
    ) -> Decimal | None:
        """A quantity in a unit; None and a finding where it measures something else."""
        if not self._measures(unit, path, found, measure.dimension, measure.measures):
            return None
        assert found is not None  # it was measured
        return _decimal(found.unit.convert(found.value, measure))

    def _measures(
        self, unit: Unit, path: Path, found: Quantity | None, wanted: object, in_words: str
    ) -> bool:
        """Whether a quantity is of the dimension that is wanted, and more than nothing."""
        if found is None:
            return False
        if found.unit.dimension != wanted:
            message = f"{found} is a {found.unit.measures}, not a {in_words}"
            self.report.add(unit.document, "unit-mismatch", path, message, "use such a unit")
            return False
        if found.value <= 0:
            message = f"{found} is nothing"
            self.report.add(unit.document, "impossible-range", path, message, "write more than 0")
            return False
        return True


def _decimal(exact: Fraction) -> Decimal:
    """A quantity in another unit of its dimension; all factors are decimal."""
    return Decimal(exact.numerator) / Decimal(exact.denominator)
