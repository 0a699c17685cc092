"""Units: the clinic's words are UCUM, conversion is exact, and different things stay apart."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kat_workflow.program.units import (
    NONE,
    POINTS,
    Quantity,
    Unit,
    nearest_unit,
    parse_quantity,
    unit,
)

WRITTEN = re.findall(
    r"\S+",
    "mmHg mm[Hg] kPa cmH2O /min bpm breaths/min mg mcg µg g kg lb oz ng mg/h mg/min mg/kg mg/kg/h "
    "mcg/kg/min mL mL/h dL L mmol/L mg/dL meq/L kg/m2 points % Cel °C degF K IU mIU/L IU/L cm in "
    "ms s min h d wk mo a years drinks tablets cigarettes kcal J mA mC Hz mg.h/L 1",
)


def known(text: str) -> Unit:
    found = unit(text)
    assert found is not None, text
    return found


@pytest.mark.parametrize("text", WRITTEN)
def test_every_unit_of_the_clinic_is_known_and_its_code_means_the_same(text: str) -> None:
    found = known(text)

    assert found.written == ("" if text == "1" else text)
    assert known(found.code) == found


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("mmHg", "mm[Hg]"),
        ("mcg", "ug"),
        ("mcg/kg/min", "ug/kg/min"),
        ("bpm", "/min"),
        ("IU/L", "[iU]/L"),
        ("points", "{points}"),
        ("°F", "[degF]"),
        ("ml/h", "mL/h"),
    ],
)
def test_the_words_of_the_clinic_are_written_as_ucum_codes(word: str, code: str) -> None:
    assert known(word).code == code


@pytest.mark.parametrize(
    ("amount", "one", "other", "same"),
    [
        (180, "mmHg", "kPa", Fraction("23.99796")),
        (1, "g", "mcg", Fraction(1_000_000)),
        (1, "mcg/kg/min", "mg/kg/h", Fraction("0.06")),
        (60, "mg/h", "mg/min", Fraction(1)),
        (38, "Cel", "degF", Fraction("100.4")),
        (212, "°F", "Cel", Fraction(100)),
        (0, "Cel", "K", Fraction("273.15")),
        (1, "lb", "kg", Fraction("0.45359237")),
        (72, "/min", "/h", Fraction(4320)),
        (1, "wk", "h", Fraction(168)),
        (18, "years", "months", Fraction(216)),
        (1, "in", "cm", Fraction("2.54")),
        (100, "mg/dL", "g/L", Fraction(1)),
    ],
)
def test_the_same_quantity_in_another_unit_is_exact(
    amount: int, one: str, other: str, same: Fraction
) -> None:
    assert known(one).convert(amount, known(other)) == same
    assert known(other).convert(Decimal(1), known(other)) == 1


@given(
    st.sampled_from([(a, b) for a in WRITTEN for b in WRITTEN]),
    st.decimals(-1000, 1000, places=3),
)
def test_there_and_back_again_is_the_same_number_or_not_allowed_at_all(
    pair: tuple[str, str], amount: Decimal
) -> None:
    one, other = known(pair[0]), known(pair[1])

    if one.dimension != other.dimension:
        with pytest.raises(ValueError, match="is not"):
            one.convert(amount, other)
    else:
        there = one.convert(amount, other)
        back = (there * other.factor + other.offset - one.offset) / one.factor
        assert back == Fraction(amount)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mmHg", "mg"),
        ("points", "1"),
        ("points", "drinks"),
        ("%", "1"),
        ("IU", "mg"),
        ("mg/kg", "1"),  # a dose per weight is no plain number
        ("mg/kg/h", "/min"),  # and a rate per weight no pulse
        ("mg/h", "mg"),
        ("a", "d"),  # no year has a fixed number of days
        ("mmol/L", "mg/dL"),
        ("kg/m2", "kg"),
    ],
)
def test_what_measures_different_things_is_never_the_same_dimension(one: str, other: str) -> None:
    assert known(one).dimension != known(other).dimension


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mmHg", "pressure"),
        ("mg/h", "mass per time"),
        ("/min", "count per time"),
        ("kg/m2", "mass per length^2"),
        ("mg.h", "mass times time"),
        ("1", "plain number"),
    ],
)
def test_a_unit_says_what_it_measures(text: str, words: str) -> None:
    assert known(text).measures == words


def test_a_rate_is_what_is_per_time() -> None:
    assert known("mg/h").per_time
    assert known("/min").per_time
    assert not known("mg/kg").per_time
    assert not known("h").per_time


@pytest.mark.parametrize(
    ("text", "value", "code"),
    [
        ("180 mmHg", "180", "mm[Hg]"),
        ("100 mg/h", "100", "mg/h"),
        ("0.5 mg/kg", "0.5", "mg/kg"),
        ("-2.5 Cel", "-2.5", "Cel"),
        ("4", "4", "1"),
        ("10 1", "10", "1"),
    ],
)
def test_a_quantity_is_a_number_a_space_and_a_unit(text: str, value: str, code: str) -> None:
    quantity = parse_quantity(text)

    assert quantity is not None
    assert quantity.value == Decimal(value)
    assert quantity.unit.code == code
    assert str(quantity) == text.removesuffix(" 1")


@pytest.mark.parametrize(
    "text",
    ["", "mmHg", "180mmHg", "180  mmHg", "180 mmHg ", " 180 mmHg", "1,5 mg", ".5 mg", "5. mg",
     "05 mg", "1e3 mg", "180 nonsense", "NaN mg", "180 mm Hg", "1234567890123 mg", "+1 mg"],
)  # fmt: skip
def test_whatever_else_is_no_quantity(text: str) -> None:
    assert parse_quantity(text) is None


@pytest.mark.parametrize(
    "text",
    ["mmhg", "mG", "/", "mg/", "mg//h", "mg/h/", ".mg", "mg 2", "mg5", "m1", "Cel/h", "/Cel",
     "Cel2", "/degF", "mg/Cel", "[", "[]", "{}", "{sheep}", "%%", "-mg",
     "mg" * 20, "mg/h" * 1000],
)  # fmt: skip
def test_what_no_table_knows_is_no_unit(text: str) -> None:
    assert unit(text) is None


@given(st.text(max_size=40))
def test_no_text_at_all_breaks_the_reading_of_units_and_quantities(text: str) -> None:
    found, quantity = unit(text), parse_quantity(text)

    assert found is None or found.factor > 0
    assert quantity is None or parse_quantity(str(quantity)) == quantity


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("mmhg", "mmHg"),
        ("MG", "mg"),
        ("iu", "IU"),
        ("point", "point"),
        ("ponits", "points"),
        ("mgh", "mg/h"),
        ("sheep", ""),
        ("x" * 10_000, ""),
    ],
)
def test_the_nearest_unit_is_offered(slip: str, meant: str) -> None:
    assert nearest_unit(slip) == meant


def test_a_plain_number_and_a_score_have_their_units() -> None:
    assert known("1") == known("") == NONE
    assert known("points") == known("point") == POINTS
    assert str(Quantity(Decimal("1E+2"), NONE)) == "100"
