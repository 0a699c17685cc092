"""Orders, medicines, ledgers and caps: what a file says of drugs, and what can be wrong with it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import frozen

from kat_workflow.language import Checked, Files, check
from kat_workflow.language.findings import EXPLAINED
from kat_workflow.program.clock import Duration

MAIN = "clinic/clinic.yaml"
CLINIC = """\
language: 1
program: clinic
version: "1.0.0"
title: A clinic for drugs
start: stay
decided_by: [doctor]
hold_by: [doctor]
sources:
  book: {title: A book of figures, trust: A}
roles: {nurse: Nurse, doctor: Doctor}
forms:
  body:
    title: Body
    any_time: true
    source: book
    fields:
      weight: {type: decimal, unit: kg, from: 1, to: 300}
      height: {type: decimal, unit: cm, from: 30, to: 250}
      mood: {type: text, optional: true}
  vitals:
    title: Vitals
    any_time: true
    source: book
    fields:
      pulse: {type: integer, unit: /min, from: 20, to: 300}
orders:
  ketamine_order:
    drug: ketamine
    route: intravenous
    by: [doctor]
    amount: {from: 0.3 mg/kg, to: 800 ug/kg}
    most: 0.1 g
    weight: body.weight
    weight_lasts: 14 d
    rounded_to: 1 mg
    raise_by_at_most: 0.2 mg/kg
    bolus_at_most: 0.1 mg/kg
    times: 1
    lasts: 30 d
    source: book
  calm_order:
    drug: hydroxyzine
    route: oral
    by: [doctor, nurse]
    amount: {from: 1 mg, to: 2 mg}
    lasts: 72 h
    source: book
medicines:
  calming:
    by: [nurse]
    order: calm_order
    for: Agitation
    apart: 4 h
    cap: [{most: 8 mg, per: 24 h}]
    source: book
ledgers:
  book_of_ketamine: {title: Ketamine, drug: Ketamine, schedule: III, witnessed_by: [nurse, doctor]}
phases:
  stay:
    steps:
      prescribe: {by: [doctor], order: ketamine_order}
      drips: {by: [nurse], session: drip}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    source: book
    dose:
      drug: ketamine
      route: intravenous
      order: ketamine_order
      ledger: book_of_ketamine
      checked_by: [nurse, doctor]
      rate: {from: 10 mg/h, to: 0.1 g/h}
      cap:
        - {most: 0.1 g, per: program day}
        - {most: 100 mg, per: 24 h}
        - {most: 500 mg, per: enrollment}
        - {most: 600 mg, per: course}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
    release: {earliest: 1 h, signed_by: [nurse]}
    counts_when: given > 10 mg
ends: {well: {kind: completed, work: [letter]}}
leaving: {by: [nurse], work: [letter]}
work_after_leaving: {letter: {by: [doctor]}}
"""
DOSE = "      order: ketamine_order\n      ledger"
"""What only the dose says."""


def checked(old: str = "", new: str = "") -> Checked:
    assert not old or CLINIC.count(old) == 1, old
    return check("clinic", Files({MAIN: CLINIC.replace(old, new) if old else CLINIC}))


def test_a_program_of_drugs_has_no_findings_and_all_is_in_the_units_of_what_is_given() -> None:
    program = checked().program

    assert checked().findings == ()
    assert program is not None
    order = program.orders["ketamine_order"]
    assert (order.unit, order.basis) == ("mg", "mg/kg")
    assert (order.amount_from, order.amount_to) == (Decimal("0.3"), Decimal("0.8"))
    assert (order.most, order.rounded_to) == (Decimal(100), Decimal(1))
    assert (order.weight, order.weight_unit) == (("body", "weight"), "kg")
    assert (order.times, order.lasts) == (1, Duration(30, "d"))
    assert program.orders["calm_order"].weight is None
    dose = program.sessions["drip"].dose
    assert dose is not None
    assert (dose.unit, dose.order, dose.ledger) == ("mg", "ketamine_order", "book_of_ketamine")
    assert [(cap.most, cap.per) for cap in dose.caps] == [
        (Decimal(100), "program day"),
        (Decimal(100), "hours"),
        (Decimal(500), "enrollment"),
        (Decimal(600), "course"),
    ]
    assert dose.caps[0].source == "book"
    assert dose.checked_by == ("nurse", "doctor")
    assert program.medicines["calming"].caps[0].hours == Duration(24, "h")
    assert program.ledgers["book_of_ketamine"].witnessed_by == ("nurse", "doctor")
    assert program.steps["prescribe"].order == "ketamine_order"


def test_a_weight_is_kept_as_long_as_somebody_could_order_with_it() -> None:
    program = checked().program
    assert program is not None
    assert program.retention["body"].fields == ("weight", "weight?")
    assert program.find("orders", "calm_order") == "calm_order"


@frozen
class Case:
    """One way to break the program; what is wrong stands in «…», in `new` or in `mark`."""

    code: str
    old: str
    new: str
    hint: str = ""
    mark: str = ""


ORDER_MARK = "  «ketamine_order»:\n    drug"
DRUG = "    dose:\n      drug: ketamine\n"
BEFORE = DRUG, "    before: {{bagged: {{by: [nurse], record: body}}}}\n" + DRUG + "      lot: {}\n"
CASES = [
    # names
    Case("unknown-order", DOSE, "      order: «ketamin_order»\n      ledger", "ketamine_order"),
    Case("unknown-order", "order: calm_order", "order: «calming»", '"calming" is a medicine'),
    Case("unknown-order", "[doctor], order: ketamine_order", "[doctor], order: «x»", "known"),
    Case("unknown-step", DOSE, "      lot: «bag.mood»\n" + DOSE, "lot: bag_check.lot"),
    Case("unknown-step", BEFORE[0], BEFORE[1].format("«bag.mood»"), 'did you mean "bagged"?'),
    Case("unknown-field", BEFORE[0], BEFORE[1].format("«bagged.modo»"), 'did you mean "mood"?'),
    Case("type-mismatch", BEFORE[0], BEFORE[1].format("«bagged.weight»"), "the number of the lot"),
    Case("unknown-ledger", "ledger: book_of_ketamine", "ledger: «a_book»", "known: book_of"),
    Case("unknown-role", "witnessed_by: [nurse, doctor]", "witnessed_by: [«nurze»]", "nurse"),
    Case("unknown-role", "checked_by: [nurse, doctor]", "checked_by: [nurse, «docter»]", "doctor"),
    Case("unknown-form", "weight: body.weight", "weight: «bodie.weight»", "body"),
    Case("unknown-field", "weight: body.weight", "weight: «body.wait»", "weight"),
    Case("name-taken", "  calm_order:\n    drug", "  «vitals»:\n    drug", "used once"),
    Case("name-taken", "  calming:\n", "  «vitals»:\n", "used once"),
    Case("name-taken", "  book_of_ketamine: {", "  «vitals»: {", "used once"),
    # roles
    Case("order-by", "prescribe: {by: [doctor]", "prescribe: {by: [«nurse»]", "are by: doctor"),
    Case("by-nobody", "intravenous\n    by: [doctor]", "intravenous\n    «by»: []", "one role"),
    # units and ranges
    Case("unit-mismatch", "to: 800 ug/kg", "to: «800 ug»", "use such a unit"),
    Case("unit-mismatch", "from: 0.3 mg/kg", "from: «0.3 mL/kg»", "use such a unit"),
    Case("unit-mismatch", "most: 0.1 g\n", "most: «1 mg/kg»\n", "use such a unit"),
    Case("unit-mismatch", "bolus_at_most: 0.1 mg/kg", "bolus_at_most: «7 mg»", "use such a unit"),
    Case("unit-mismatch", "most: 600 mg", "most: «6 mL»", "use such a unit"),
    Case("unit-mismatch", "weight: body.weight", "weight: «body.height»", "kg"),
    Case("unit-mismatch", "weight: body.weight", "weight: «body.mood»", "kg"),
    Case("unit-mismatch", "      checked_by", "      most: 5 mL\n      checked_by", "one unit"),
    Case("impossible-range", "to: 800 ug/kg", "to: «0.2 mg/kg»", "lower one first"),
    Case("impossible-range", "from: 0.3 mg/kg", "from: «0 mg/kg»", "more than 0"),
    Case("impossible-range", "to: 0.1 g/h", "to: «1 mg/h»", "lower one first"),
    Case("rate-times", "to: 0.1 g/h", "to: «100 mg/min»", "both per h"),
    Case("impossible-range", "most: 8 mg, per: 24 h", "most: 8 mg, per: «169 h»", "168 h"),
    Case("bad-duration", "per: course", "per: «year»", "24 h"),
    Case("bad-duration", "lasts: 72 h", "lasts: «for ever»"),
    Case("bad-quantity", "to: 800 ug/kg", "to: «plenty»", "180 mmHg"),
    Case("bad-quantity", "from: 0.3 mg/kg", "from: «plenty»", "180 mmHg"),
    Case("unit-unknown", "most: 8 mg", "most: «8 mgs»", "did you mean"),
    Case("unit-unknown", "rounded_to: 1 mg", "rounded_to: «1 mgs»", "did you mean"),
    # what belongs together
    Case("order-endless", "    lasts: 72 h\n", "", "times: 1", "  «calm_order»:\n    drug"),
    Case("order-weight", "    rounded_to: 1 mg\n", "", "rounded_to: 1 mg", ORDER_MARK),
    Case("order-weight", "    weight_lasts: 14 d\n", "", "weight_lasts: 14 d", ORDER_MARK),
    Case("order-weight", "    weight: body.weight\n", "", "weight: vitals.weight", ORDER_MARK),
    Case("order-weight", "lasts: 72 h\n", "lasts: 72 h\n    weight: body.weight\n", "mg/kg"),
    Case("other-drug", DRUG, DRUG.replace("ketamine", "lorazepam"), "of lorazepam"),
    Case("other-drug", "drug: Ketamine,", "drug: Midazolam,", "of ketamine"),
    Case("ambiguous-step", "[doctor], order:", "[doctor], record: vitals, «order»:", "second step"),
    # sources
    Case("no-source", "    lasts: 72 h\n    source: book", "    lasts: 72 h", "source"),
    Case("no-source", "24 h}]\n    source: book", "24 h}]", "source", "most: «8 mg», per: 24 h}]"),
    # nobody uses it
    Case("unused", "order: calm_order", "order: ketamine_order"),
    Case("unused", "      ledger: book_of_ketamine\n", ""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}: {case.new[:40]}")
def test_what_is_wrong_is_found_at_its_place_with_a_way_out(case: Case) -> None:
    plain = case.new.replace("«", "").replace("»", "")

    found = [f for f in checked(case.old, plain).findings if f.code == case.code]

    assert found, checked(case.old, plain).findings
    assert case.code in EXPLAINED
    assert any(case.hint in f.hint for f in found), found
    if "«" in (shown := case.mark or case.new):
        marked = shown[shown.index("«") + 1 : shown.index("»")]
        pointed = [f.source[f.place.column - 1 :][: len(marked)] for f in found]
        assert marked in pointed, pointed


def test_a_drug_that_is_known_to_be_controlled_stands_in_a_ledger_of_its_schedule() -> None:
    in_none = checked("drug: hydroxyzine", "drug: lorazepam").findings
    unsaid = checked("drug: Ketamine, schedule: III", "drug: Ketamine").findings
    other = checked("schedule: III", "schedule: V").findings

    found = [(x.code, x.severity) for x in (*in_none, *unsaid, *other)]
    assert found == [("controlled-drug", "warning")] * 3
    assert "lorazepam is in schedule IV" in in_none[0].message
    assert "ketamine is in schedule III" in unsaid[0].message


def test_a_rate_whose_ends_are_per_different_times_is_a_warning_and_is_read_as_written() -> None:
    slip = checked("to: 0.1 g/h", "to: 100 mg/min")
    spelt = checked("rate: {from: 10 mg/h, to: 0.1 g/h}", "rate: {from: 10 mg/hour, to: 0.1 g/h}")

    assert [(x.code, x.severity) for x in slip.findings] == [("rate-times", "warning")]
    assert spelt.findings == ()
    assert slip.program is not None
    dose = slip.program.sessions["drip"].dose
    assert dose is not None
    assert (dose.rate_unit, dose.rate_to) == ("mg/h", Decimal(6000))


def test_a_cap_may_look_back_a_whole_week() -> None:
    assert checked("most: 8 mg, per: 24 h", "most: 8 mg, per: 168 h").findings == ()


def test_what_a_pharmacy_keeps_is_not_accounted_for_here() -> None:
    program = checked("drug: Ketamine,", "drug: Ketamine, kept_by: the pharmacy,").program

    assert program is not None
    dose = program.sessions["drip"].dose
    assert dose is not None
    assert dose.ledger == ""
    assert program.ledgers["book_of_ketamine"].kept_by == "the pharmacy"


def test_one_fault_in_an_order_is_said_once() -> None:
    """Whatever uses an order that could not be read is not at fault."""
    broken = checked("from: 0.3 mg/kg", "from: plenty")
    assert [f.code for f in broken.findings if f.severity == "error"] == ["bad-quantity"]


def test_a_dose_may_be_ordered_in_a_unit_of_its_own() -> None:
    program = checked("      checked_by", "      most: 0.05 g\n      checked_by").program
    assert program is not None
    dose = program.sessions["drip"].dose
    assert dose is not None
    assert (dose.unit, dose.most) == ("g", Decimal("0.05"))


def test_drugs_of_a_contained_program_keep_their_names_apart() -> None:
    outer = """\
language: 1
program: outer
version: "1.0.0"
title: Outer
start: inside
roles: {nurse: Nurse, doctor: Doctor}
sources:
  book: {title: A book of figures, trust: A}
phases:
  inside:
    contains: {program: clinic, ends: {well: over}}
    next: [{to: over, when: always}]
ends: {over: {kind: completed}}
leaving: {by: [nurse]}
"""
    program = check("outer", Files({MAIN: CLINIC, "outer/outer.yaml": outer})).program
    assert program is not None
    dose = program.sessions["inside.drip"].dose
    assert dose is not None
    assert (dose.order, dose.ledger) == ("inside.ketamine_order", "inside.book_of_ketamine")
    assert program.medicines["inside.calming"].order == "inside.calm_order"
    assert program.find("medicines", "calming") == "inside.calming"
