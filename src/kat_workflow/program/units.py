"""Units of measurement: UCUM codes, the clinic's words for them, and exact conversion.

A unit is a product of the parts in one table (`mg/kg/h` is mg, per kg, per h). Its dimension
is what it measures; only units of one dimension can be compared, and the factors are exact
fractions, so that no comparison is ever decided by rounding. Points, per cents, international
units and counted things are dimensions of their own: four points are never four drinks.
"""

from __future__ import annotations

import re
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache

from attrs import field, frozen

__all__ = [
    "NONE",
    "POINTS",
    "Dimension",
    "Quantity",
    "Unit",
    "nearest_unit",
    "parse_quantity",
    "unit",
]

Dimension = tuple[tuple[str, int], ...]
"""What is measured: base dimensions with their powers, by name (`(("mass", 1), ("time", -1))`).

What is above the line and what is below it never cancel: mg/kg is a dose per body weight and
not a plain number, mg/kg/h is not a pulse.
"""


@frozen
class Unit:
    """A unit: as it is written, as UCUM writes it, and how to convert it.

    A value in this unit is `value * factor + offset` in the base unit of its dimension; only
    temperatures have an offset.
    """

    written: str = field(eq=False)
    code: str
    dimension: Dimension
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    @property
    def measures(self) -> str:
        """What it measures, in words: `pressure`, `mass per time`."""
        up = [_power(name, n) for name, n in self.dimension if n > 0]
        down = [_power(name, -n) for name, n in self.dimension if n < 0]
        if not down:
            return " times ".join(up) or "plain number"
        return " per ".join([" times ".join(up) or "count", *down])

    @property
    def per_time(self) -> bool:
        """Whether it is a rate (`mg/h`, `/min`)."""
        return any(base == "time" and n < 0 for base, n in self.dimension)

    def convert(self, value: Decimal | int, to: Unit) -> Fraction:
        """The same quantity in another unit of the same dimension, exactly.

        Raises ValueError when the dimensions differ.
        """
        if self.dimension != to.dimension:
            raise ValueError(f"{self.written} is not {to.written}: {self.measures}, {to.measures}")
        return (Fraction(value) * self.factor + self.offset - to.offset) / to.factor


NONE = Unit("", "1", ())
"""The unit of a plain number."""

POINTS = Unit("points", "{points}", (("points", 1),))
"""The unit of every score."""


@frozen
class Quantity:
    """A number with its unit (`180 mmHg`), or a plain one with `NONE`."""

    value: Decimal
    unit: Unit

    def __str__(self) -> str:
        return f"{self.value:f} {self.unit.written}".rstrip()


@lru_cache(maxsize=1024)
def unit(text: str) -> Unit | None:
    """The unit that is written so (`mmHg`, `mm[Hg]`, `mcg/kg/min`, `/min`), None if unknown.

    `""` and `1` are the unit of plain numbers.
    """
    if text in ("", "1"):
        return NONE
    whole = _ALIASES.get(text, text)
    if len(whole) > 32 or _SHAPE.fullmatch(whole) is None:
        return None
    factor, offset, powers, code = Fraction(1), Fraction(0), dict[tuple[str, bool], int](), ""
    parts = _PART.findall(whole)
    for sign, name, digits in parts:
        part = _PARTS.get(_ALIASES.get(name, name))
        if part is None:
            return None
        if part.offset and whole not in (name, part.code):
            return None  # a temperature per something is a difference, which we have no use for
        power = int(digits or 1) * (-1 if sign == "/" else 1)
        factor *= part.factor**power
        offset = part.offset
        for base, n in part.dimension:
            powers[base, power > 0] = powers.get((base, power > 0), 0) + n * power
        code += f"{sign if sign == '/' or code else ''}{part.code}{digits}"
    dimension = tuple(sorted((base, n) for (base, _), n in powers.items()))
    return Unit(text, code, dimension, factor, offset)


def parse_quantity(text: str) -> Quantity | None:
    """`"180 mmHg"`, `"100 mg/h"`, `"38.5 Cel"`, `"4"`; None unless a number, a space, a unit."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    known = unit(found[2] or "")
    return None if known is None else Quantity(Decimal(found[1]), known)


def nearest_unit(text: str) -> str:
    """The known unit whose writing is nearest (`mmhg` → `mmHg`), or ""."""
    folded = {name.casefold(): name for name in sorted(_WORDS)}
    if text.casefold() in folded:
        return folded[text.casefold()]
    near = get_close_matches(text[:32].casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else ""


def _power(name: str, n: int) -> str:
    return name if n == 1 else f"{name}^{n}"


def _one(code: str, base: str, factor: str = "1", offset: str = "0") -> Unit:
    return Unit(code, code, ((base, 1),), Fraction(factor), Fraction(offset))


_PARTS: dict[str, Unit] = {
    part.code: part
    for part in (
        _one("kg", "mass", "1000"),
        _one("g", "mass"),
        _one("mg", "mass", "1/1000"),
        _one("ug", "mass", "1/1000000"),
        _one("ng", "mass", "1/1000000000"),
        _one("pg", "mass", "1/1000000000000"),
        _one("[lb_av]", "mass", "453.59237"),
        _one("[oz_av]", "mass", "28.349523125"),
        _one("L", "volume"),
        _one("dL", "volume", "1/10"),
        _one("cL", "volume", "1/100"),
        _one("mL", "volume", "1/1000"),
        _one("uL", "volume", "1/1000000"),
        _one("m", "length"),
        _one("cm", "length", "1/100"),
        _one("mm", "length", "1/1000"),
        _one("km", "length", "1000"),
        _one("[in_i]", "length", "0.0254"),
        _one("[ft_i]", "length", "0.3048"),
        _one("ms", "time", "1/1000"),
        _one("s", "time"),
        _one("min", "time", "60"),
        _one("h", "time", "3600"),
        _one("d", "time", "86400"),
        _one("wk", "time", "604800"),
        # Months and years of an age have no fixed length in days, so they convert to each
        # other and to nothing else.
        _one("mo", "age"),
        _one("a", "age", "12"),
        # UCUM: a metre of mercury is 133.3220 kPa, a metre of water 9.80665 kPa.
        _one("mm[Hg]", "pressure", "133.322"),
        _one("cm[H2O]", "pressure", "98.0665"),
        _one("Pa", "pressure"),
        _one("kPa", "pressure", "1000"),
        _one("Cel", "temperature", "1", "273.15"),
        _one("K", "temperature"),
        Unit("[degF]", "[degF]", (("temperature", 1),), Fraction(5, 9), Fraction("459.67") * 5 / 9),
        _one("mol", "substance"),
        _one("mmol", "substance", "1/1000"),
        _one("umol", "substance", "1/1000000"),
        _one("nmol", "substance", "1/1000000000"),
        _one("eq", "equivalents"),
        _one("meq", "equivalents", "1/1000"),
        _one("kcal", "energy", "4184"),
        _one("kJ", "energy", "1000"),
        _one("J", "energy"),
        _one("Hz", "frequency"),
        _one("mA", "current", "1/1000"),
        _one("mC", "charge", "1/1000"),
        _one("[iU]", "international units"),
        _one("m[iU]", "international units", "1/1000"),
        _one("k[iU]", "international units", "1000"),
        _one("%", "per cent"),
        _one("{points}", "points"),
        _one("{drinks}", "drinks"),
        _one("{tablets}", "tablets"),
        _one("{cigarettes}", "cigarettes"),
        _one("{injections}", "injections"),
    )
}

_ALIASES: dict[str, str] = {
    "mmHg": "mm[Hg]",
    "cmH2O": "cm[H2O]",
    "mcg": "ug",
    "µg": "ug",
    "μg": "ug",
    "µmol": "umol",
    "lb": "[lb_av]",
    "oz": "[oz_av]",
    "in": "[in_i]",
    "ft": "[ft_i]",
    "l": "L",
    "dl": "dL",
    "ml": "mL",
    "°C": "Cel",
    "°F": "[degF]",
    "degC": "Cel",
    "degF": "[degF]",
    "IU": "[iU]",
    "mIU": "m[iU]",
    "kIU": "k[iU]",
    "mEq": "meq",
    "percent": "%",
    "point": "{points}",
    "points": "{points}",
    "drink": "{drinks}",
    "drinks": "{drinks}",
    "injection": "{injections}",
    "injections": "{injections}",
    "tablet": "{tablets}",
    "tablets": "{tablets}",
    "cigarettes": "{cigarettes}",
    "sec": "s",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "week": "wk",
    "weeks": "wk",
    "month": "mo",
    "months": "mo",
    "year": "a",
    "years": "a",
    "bpm": "/min",
    "beats/min": "/min",
    "breaths/min": "/min",
    "{beats}/min": "/min",
    "{breaths}/min": "/min",
}
_WORDS = frozenset(_PARTS) | frozenset(_ALIASES) | {"/min", "/h", "mg/h", "mg/kg", "mg/min"}
_NAME = r"(?:[A-Za-zµμ°%]|\[[A-Za-z0-9_]+\])(?:[A-Za-z%]|\[[A-Za-z0-9_]+\]|H2O)*|\{[a-z]+\}"
_SHAPE = re.compile(rf"/?(?:{_NAME})[2-4]?(?:[/.](?:{_NAME})[2-4]?)*")
_PART = re.compile(rf"([/.]?)({_NAME})([2-4]?)")
_QUANTITY = re.compile(r"(-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?)(?: ([^\s]{1,32}))?")
