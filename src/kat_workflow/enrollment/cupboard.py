"""A site's drug cupboard: its stock by lot, and the ledger of controlled drugs (`cupboard:…`).

The ledger balances when, of what was drawn for a session, nothing is left: drawn = given + wasted
+ returned, and another person has witnessed what was wasted. Until then the session has an `Out`
here, also after the patient has gone. `receive` and `count` judge what is done at the cupboard
itself; what is done for a patient is judged with the patient's commands.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.errors import Reason, Refusal

if TYPE_CHECKING:
    from kat_workflow.enrollment.around import Addition
    from kat_workflow.program.units import Quantity


class Lot(Struct, frozen=True, array_like=True, gc=False):
    """A lot as the cupboard keeps it: how much should be there. It must not be used after the
    date on which it `expires`."""

    drug: str
    lot: str
    on_hand: str
    unit: str
    supplier: str = ""
    expires: date | None = None
    product: e.Product = e.NO_PRODUCT

    def volume(self, amount: str, unit: str) -> str:
        """How much of the finished form an amount is: `0.7 mL` of a solution, `2 of tablet`; to a
        thousandth. "" where its strength is not kept, or measures something else."""
        from kat_workflow.program import units  # noqa: PLC0415  # see `_quantity`

        strength, _, per = self.product.strength.partition("/")
        whole, its = units.parse_quantity(strength.strip()), units.unit(unit)
        if not whole or not whole.value or its is None:
            return ""
        if its.dimension != whole.unit.dimension:
            return ""
        exact = its.convert(Decimal(amount), whole.unit) / Fraction(whole.value)
        number = round(Decimal(exact.numerator) / Decimal(exact.denominator), 3)
        of = f" {per.strip()}" if per else f" of {self.product.form}"
        return f"{number.normalize():f}{of}"


class Out(Struct, frozen=True, array_like=True, gc=False):
    """What of a controlled drug is out of the cupboard for one session, and why. `unwitnessed`
    are the people who wasted some without a witness so far."""

    drug: str
    unit: str
    drawn: str = "0"
    given: str = "0"
    wasted: str = "0"
    returned: str = "0"
    lots: tuple[str, ...] = ()
    unwitnessed: tuple[str, ...] = ()

    @property
    def left(self) -> Decimal:
        """What is not accounted for; less than nothing where more was given than drawn."""
        gone = Decimal(self.given) + Decimal(self.wasted) + Decimal(self.returned)
        return Decimal(self.drawn) - gone

    @property
    def balances(self) -> bool:
        """Whether nothing is left, and what was wasted was witnessed."""
        return not self.left and not self.unwitnessed

    def __str__(self) -> str:
        parts = ("drawn", "given", "wasted", "returned")
        return ", ".join(f"{getattr(self, part)} {self.unit} {part}" for part in parts)


class Cupboard(Struct, frozen=True, array_like=True, gc=False):
    """A cupboard as of `version` events: lots by drug and number, and what is out, by enrollment
    and session (`e-1/kat_session.2`)."""

    version: int = 0
    lots: dict[str, Lot] = {}
    out: dict[str, Out] = {}

    def lot(self, drug: str, number: str) -> Lot | None:
        """A lot of a drug, None if it never came here or is long used up."""
        return self.lots.get(_key(drug, number))


def _key(drug: str, lot: str) -> str:
    return f"{drug.casefold()} {lot}"


def evolve(cupboard: Cupboard, event: e.Event) -> Cupboard:
    """The cupboard after one more event; the old one is left as it was."""
    return FOLDS[type(event)](replace(cupboard, version=cupboard.version + 1), event)


def _received(c: Cupboard, x: e.StockReceived) -> Cupboard:
    key, today = _key(x.drug, x.lot), x.at.date()
    before = c.lots.get(key)
    there = Decimal(x.amount) + (Decimal(before.on_hand) if before is not None else 0)
    lots = {
        name: lot
        for name, lot in c.lots.items()
        if Decimal(lot.on_hand) or lot.expires is None or lot.expires >= today
    }
    lots[key] = Lot(x.drug, x.lot, str(there), x.unit, x.supplier, x.expires, x.product)
    return replace(c, lots=lots)


def _counted(c: Cupboard, x: e.StockCounted) -> Cupboard:
    key = _key(x.drug, x.lot)
    return replace(c, lots={**c.lots, key: replace(c.lots[key], on_hand=x.found)})


def _used(c: Cupboard, x: e.LotUsed) -> Cupboard:
    lots, out = c.lots, c.out
    if x.stock:
        key = _key(x.drug, x.lot)
        there = Decimal(lots[key].on_hand) + Decimal(x.stock)
        lots = {**lots, key: replace(lots[key], on_hand=str(there))}
    if x.what not in UNLEDGERED:
        about = f"{x.enrollment}/{x.about}"
        its = out.get(about) or Out(x.drug, x.unit)
        if x.what == "witnessed":
            its = replace(its, unwitnessed=())
        else:
            its = replace(its, **{x.what: str(Decimal(getattr(its, x.what)) + Decimal(x.amount))})
        if x.what == "drawn" and x.lot not in its.lots:
            its = replace(its, lots=(*its.lots, x.lot))
        if x.witness:
            its = replace(its, unwitnessed=(*its.unwitnessed, x.person))
        out = {key: each for key, each in out.items() if key != about}
        if not its.balances:
            out[about] = its
    return Cupboard(c.version, lots, out)


UNLEDGERED = ("used", "corrected")
"""What is done with a lot beside any ledger."""


def _erased(shelf: Cupboard, _: e.Erased) -> Cupboard:
    return shelf  # for whom a lot was used is no part of the stock


FOLDS: dict[type, Callable[[Cupboard, Any], Cupboard]] = {
    e.StockReceived: _received,
    e.StockCounted: _counted,
    e.LotUsed: _used,
    e.Erased: _erased,
}


# At the cupboard itself: requests without a patient.


def receive(
    shelf: Addition,
    drug: str,
    lot: str,
    amount: str,
    *,
    supplier: str,
    expires: date | None,
    at: datetime,
    person: str,
    product: e.Product = e.NO_PRODUCT,
    containers: int = 0,
    witness: str = "",
) -> Refusal | None:
    """Some of a lot comes in. Refused: no amount, no name, or a lot that is kept in another unit,
    of another product, from another supplier or until another date; and of a scheduled drug what
    its record must hold (21 CFR 1304.22: form, strength, container, how many, from whom)."""
    named = [("drug", drug), ("lot", lot)]
    if product.schedule:
        number = str(containers or "")
        named += [("form", product.form), ("strength", product.strength)]
        named += [("container", product.container), ("number of containers", number)]
        named += [("supplier", supplier)]
    reasons = [
        Reason("missing-value", f"the {what} is not named", unblock=(f"name the {what}",))
        for what, word in named
        if not word.strip()
    ]
    reasons += _witness(witness, person)
    quantity, slips = _quantity(amount)
    kept = shelf.state.lot(drug, lot)
    if quantity is not None and not quantity.value:
        slips.append(_bad("the amount is nothing", "write it as: 500 mg"))
    elif quantity is not None and kept is not None:
        same = (quantity.unit.written, supplier, expires, product)
        if same != (kept.unit, kept.supplier, kept.expires, kept.product):
            its = kept.product
            what = " ".join(filter(None, (its.form, its.strength, its.container))) or "no product"
            says = (
                f"lot {lot} is kept in {kept.unit}, of {kept.supplier}, until {kept.expires}, "
                f"as {what}"
            )
            slips.append(_bad(says, "say the same, or correct the number of the lot"))
    if quantity is not None and product.strength:
        unit = quantity.unit.written
        if not Lot(drug, lot, "0", unit, product=product).volume("1", unit):
            says = f"the strength {product.strength} is none of what comes in {unit}"
            slips.append(_bad(says, "write it as: 50 mg/mL, or 8 mg of a tablet"))
    if quantity is None or slips or reasons:
        return Refusal("receive", (*reasons, *slips))
    unit, value = quantity.unit.written, str(quantity.value)
    shelf.emit(
        e.StockReceived(
            drug, lot, value, unit, at, person, supplier, expires, product, containers, witness
        )
    )
    return None


def count(
    shelf: Addition,
    drug: str,
    lot: str,
    found: str,
    *,
    reason: str,
    at: datetime,
    person: str,
    witness: str = "",
) -> Refusal | None:
    """The cupboard is counted. Refused: an unknown lot, another unit, or a difference without a
    reason."""
    kept: Lot | None = shelf.state.lot(drug, lot)
    if kept is None:
        known = ", ".join(each.lot for each in shelf.state.lots.values()) or "none"
        says = f"the cupboard has no lot {lot} of {drug}"
        return Refusal("count", (Reason("unknown-lot", says, unblock=(f"lots: {known}",)),))
    quantity, reasons = _quantity(found)
    if quantity is not None and quantity.unit.written != kept.unit:
        reasons.append(_bad(f"the lot is kept in {kept.unit}", f"count it in {kept.unit}"))
    elif quantity is not None and quantity.value != Decimal(kept.on_hand) and not reason:
        says = f"{kept.on_hand} {kept.unit} should be there"
        reasons.append(Reason("reason-missing", says, unblock=("say why there is another amount",)))
    reasons += _witness(witness, person)
    if quantity is None or reasons:
        return Refusal("count", tuple(reasons))
    value, expected, unit = str(quantity.value), kept.on_hand, kept.unit
    shelf.emit(
        e.StockCounted(
            kept.drug, kept.lot, value, expected, unit, at, person, reason, kept.product, witness
        )
    )
    return None


def _witness(witness: str, person: str) -> list[Reason]:
    if witness != person:
        return []
    return [Reason("same-person", "a witness is another person", unblock=("ask another person",))]


def _quantity(text: str) -> tuple[Quantity | None, list[Reason]]:
    # Only who handles drugs needs the table of units; whoever does not, does not load it.
    from kat_workflow.program.units import parse_quantity  # noqa: PLC0415

    found = parse_quantity(text)
    if found is None or found.value < 0 or not found.unit.dimension:
        return None, [_bad("the amount is no quantity", "write it as: 500 mg")]
    return found, []


def _bad(says: str, way: str) -> Reason:
    return Reason("bad-value", says, unblock=(way,))
