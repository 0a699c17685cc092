"""Quantities as callers write them, in the units of a program; exact decimals throughout."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge


def quantity(j: Judge, text: str, unit: str, what: str) -> Decimal | None:
    """A quantity as a caller wrote it, converted exactly to the program's unit; a reason against
    the command where it is none."""
    if not text:
        return None
    # Only doses need the table of units; whoever gives none does not load it.
    from kat_workflow.program import units  # noqa: PLC0415

    if not unit:
        j.against("bad-value", f"the program says no unit for the {what}", f"leave the {what} out")
        return None
    found, to = units.parse_quantity(text), units.unit(unit)
    if found is None or to is None or found.unit.dimension != to.dimension or found.value < 0:
        j.against("bad-value", f"the {what} is not a quantity in {unit}", f"write it as: 50 {unit}")
        return None
    if found.unit == to:  # nearly always
        return found.value
    exact = found.unit.convert(found.value, to)
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def in_unit(amount: str, unit: str, to: str) -> str | None:
    """An amount in another unit, as decimal text; None where that measures something else."""
    if unit == to:
        return amount
    from kat_workflow.program import units  # noqa: PLC0415

    its, other = units.unit(unit), units.unit(to)
    if its is None or other is None or its.dimension != other.dimension:
        return None
    exact = its.convert(Decimal(amount), other)
    return plain(Decimal(exact.numerator) / Decimal(exact.denominator))


def plain(amount: Decimal) -> str:
    """A number as people write it: no exponent, no trailing zeros."""
    return format(amount.normalize(), "f")
