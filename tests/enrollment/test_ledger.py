"""The controlled-drug ledger: drawn = given + wasted + returned, with a witness; lots; counts."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bedside import MONDAY, Patient, RefusedHereError, program
from drugs import noted, ordered, stocked, text
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kat_workflow.enrollment import cupboard, patients, state
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Addition
from kat_workflow.enrollment.commands import Actor, parse
from kat_workflow.enrollment.cupboard import Cupboard, Lot, Out
from kat_workflow.enrollment.decide import Decision
from kat_workflow.errors import Refusal

LEDGER = """
ledgers:
  ketamine_book: {title: Ketamine, drug: Ketamine, witnessed_by: [nurse, doctor]}
"""
IN_BOOK = "\n      ledger: ketamine_book"
CONTROLLED = program(text(dose=IN_BOOK, more=LEDGER))
ANN, BEN = "ann:nurse", "ben:nurse"


def drawn(amount: str = "50 mg", *, order: str = "0.5 mg/kg") -> Patient:
    """A patient in a session for which ketamine was drawn."""
    p = ordered(CONTROLLED, order)
    stocked(p)
    p.do("start drip", by=ANN)
    p.do("draw drip", by=ANN, amount=amount, lot="K1")
    return p


def book(p: Patient) -> Cupboard:
    assert p.around.cupboard is not None
    return p.around.cupboard


def on_hand(p: Patient, lot: str = "K1") -> str:
    kept = book(p).lot("ketamine", lot)
    assert kept is not None
    return kept.on_hand


# It balances


def test_a_session_is_released_once_what_was_drawn_is_accounted_for() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="35 mg", last=True)
    p.do("waste drip", by=ANN, amount="10 mg")
    p.do("return drip", by=ANN, amount="5 mg")
    p.do("witness waste drip", by=BEN)
    assert book(p).out == {}
    assert on_hand(p) == "455"
    p.do("release drip", by=ANN)
    assert noted(p) == []


def test_a_release_is_refused_with_the_numbers_while_some_is_not_accounted_for() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="35 mg", last=True)

    reason = p.refused("release drip", by=ANN).reasons[0]

    assert reason.code == "ledger-open"
    assert "50 mg drawn, 35 mg given, 0 mg wasted, 0 mg returned" in reason.says
    assert reason.unblock == ("waste drip.1 or return drip.1: 15 mg",)


def test_a_release_is_refused_until_another_person_has_witnessed_the_waste() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="35 mg", last=True)
    p.do("waste drip", by=ANN, amount="15 mg")
    reason = p.refused("release drip", by=ANN).reasons[0]
    assert reason.unblock == ("witness waste drip.1 (another person: Nurse, Doctor)",)
    assert p.codes("witness waste drip", by=ANN) == ["same-person"]
    assert p.codes("witness waste drip", by="theo:therapist") == ["wrong-role"]
    p.do("witness waste drip", by=BEN)
    assert p.codes("witness waste drip", by=BEN) == ["nothing-to-sign"]
    p.do("release drip", by=ANN)


def test_two_who_each_wasted_some_need_a_third_as_witness() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="35 mg", last=True)
    p.do("waste drip", by=ANN, amount="10 mg")
    p.do("waste drip", by=BEN, amount="5 mg")
    assert p.codes("witness waste drip", by=BEN) == ["same-person"]
    assert p.codes("witness waste drip", by=ANN) == ["same-person"]
    p.do("witness waste drip", by="eve:doctor")


def test_where_the_clinic_wants_no_witness_none_is_waited_for() -> None:
    alone = text(dose=IN_BOOK, more=LEDGER.replace("[nurse, doctor]", "[]"))
    p = ordered(program(alone))
    stocked(p)
    p.do("start drip")
    p.do("draw drip", amount="40 mg", lot="K1")
    p.do("dose drip", amount="35 mg", last=True)
    p.do("waste drip", amount="5 mg")
    p.do("release drip")


def test_what_was_given_without_having_been_drawn_is_drawn_in_a_late_entry() -> None:
    p = ordered(CONTROLLED)
    stocked(p)
    p.do("start drip", by=ANN)
    p.do("dose drip", by=ANN, amount="35 mg", last=True)
    reason = p.refused("release drip", by=ANN).reasons[0]
    assert reason.unblock == ("draw drip.1: 35 mg were given undrawn",)
    p.do("draw drip", by=ANN, amount="35 mg", lot="K1", occurred=MONDAY)
    p.do("release drip", by=ANN)


def test_a_dose_takes_its_lot_from_what_was_drawn_unless_there_are_two() -> None:
    p = drawn("20 mg")
    p.do("dose drip", by=ANN, amount="10 mg", last=False)
    stocked(p, "K2")
    p.do("draw drip", by=ANN, amount="20 mg", lot="K2")
    p.do("draw drip", by=ANN, amount="5 mg", lot="K2")
    assert p.events(e.DoseGiven)[0].lot == "K1"
    assert book(p).out["e-1/drip.1"].lots == ("K1", "K2")
    p.do("return drip", by=ANN, amount="5 mg", lot="K2")
    assert on_hand(p, "K2") == "480"
    p.do("return drip", by=ANN, amount="5 mg")  # of which lot is not known: no count changes
    assert (on_hand(p, "K1"), on_hand(p, "K2")) == ("480", "480")
    fresh = drawn("20 mg")
    stocked(fresh, "K2")
    fresh.do("draw drip", by=ANN, amount="20 mg", lot="K2")
    fresh.do("dose drip", by=ANN, amount="10 mg")
    assert fresh.events(e.DoseGiven)[0].lot == ""


def test_a_rate_alone_takes_nothing_out_of_what_was_drawn() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, rate="50 mg/h")
    assert book(p).out["e-1/drip.1"].given == "0"


def test_no_more_is_put_away_than_is_out() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="35 mg", last=True)
    assert p.codes("waste drip", by=ANN, amount="16 mg") == ["implausible"]
    assert p.codes("return drip", by=ANN, amount="16 mg") == ["implausible"]
    fresh = ordered(CONTROLLED)
    fresh.do("start drip")
    assert fresh.codes("waste drip", amount="1 mg") == ["implausible"]


@pytest.mark.parametrize("amount", ["", "0 mg", "a drop", "5 mL"])
def test_an_amount_of_a_controlled_drug_is_a_quantity(amount: str) -> None:
    p = drawn()
    assert p.codes("draw drip", by=ANN, amount=amount, lot="K1") == ["bad-value"]
    assert p.codes("waste drip", by=ANN, amount=amount) == ["bad-value"]


def test_a_draw_names_its_lot_and_is_of_a_role() -> None:
    p = drawn()
    assert p.codes("draw drip", by=ANN, amount="5 mg") == ["missing-value"]
    assert p.codes("draw drip", by="eve:doctor", amount="5 mg", lot="K1") == ["wrong-role"]


def test_a_drug_without_a_ledger_is_not_drawn() -> None:
    p = ordered(program(text()))
    p.do("start drip")
    assert p.codes("draw drip", amount="5 mg", lot="K1") == ["no-ledger"]
    assert p.codes("witness waste drip") == ["no-ledger"]
    undosed = Patient(program(_undosed()))
    assert undosed.codes("draw drip", amount="5 mg", lot="K1") == ["no-ledger"]


def _undosed() -> str:
    bare = text(order=" {}")
    at = bare.index("    dose:")
    return bare[:at] + bare[bare.index("    release:") :]


def test_a_drug_is_drawn_before_the_patient_is_there() -> None:
    p = ordered(CONTROLLED)
    stocked(p)
    p.do("draw drip", by=ANN, amount="35 mg", lot="K1")
    assert p.session("drip.1").state == "booked"
    p.do("start drip", by=ANN)
    p.do("dose drip", by=ANN, amount="35 mg", last=True)
    p.do("release drip", by=ANN)


# It does not balance


def test_whoever_leaves_with_an_open_ledger_is_flagged_and_it_can_be_settled_afterwards() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="20 mg")
    p.do("leave against_advice", by=ANN)
    assert noted(p) == ["ledger-imbalance"]
    assert p.is_open("ledger-imbalance")
    assert "30" in p.events(e.DeviationNoted)[0].says or book(p).out["e-1/drip.1"].left == 30

    p.do("waste drip.1", by=ANN, amount="30 mg")
    p.do("witness waste drip.1", by=BEN)

    assert book(p).out == {}
    assert p.codes("waste drip", by=ANN, amount="1 mg") == ["no-session"]
    assert p.codes("waste drip.7", by=ANN, amount="1 mg") == ["no-session"]


def test_a_death_closes_at_once_and_the_imbalance_stays_written() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="20 mg")
    p.do("leave died", by=ANN)
    assert noted(p) == ["ledger-imbalance"]
    assert p.s.standing == "closed"
    assert book(p).out["e-1/drip.1"].left == Decimal(30)


def test_a_session_that_does_not_take_place_after_the_draw_is_flagged() -> None:
    p = drawn("50 mg")
    p.do("cancel drip", by=ANN, reason="patient unwell")
    assert noted(p) == ["ledger-imbalance"]
    p.do("return drip.1", by=ANN, amount="50 mg")
    assert (book(p).out, on_hand(p)) == ({}, "500")


def test_an_abort_keeps_the_ledger_open_until_release() -> None:
    p = drawn("50 mg")
    p.do("dose drip", by=ANN, amount="20 mg")
    p.do("abort drip", by=ANN, reason="chest pain")
    assert p.codes("release drip", by=ANN) == ["ledger-open"]
    p.do("waste drip", by=ANN, amount="30 mg")
    p.do("witness waste drip", by=BEN)
    p.do("release drip", by=ANN)
    assert noted(p) == []


def test_what_was_given_undrawn_is_drawn_for_a_session_that_is_over() -> None:
    p = ordered(CONTROLLED)
    stocked(p)
    p.do("start drip", by=ANN)
    p.do("dose drip", by=ANN, amount="20 mg")
    p.do("leave against_advice", by=ANN)
    assert noted(p) == ["ledger-imbalance"]

    p.do("draw drip.1", by=ANN, amount="20 mg", lot="K1")

    assert (book(p).out, on_hand(p)) == ({}, "480")
    assert noted(p) == ["ledger-imbalance"]


def test_what_was_given_and_drawn_after_the_end_is_in_the_book() -> None:
    p = ordered(CONTROLLED)
    stocked(p)
    p.do("leave against_advice", by=ANN)

    p.do("dose drip", by=ANN, amount="20 mg")

    assert noted(p) == ["dose-not-planned", "ledger-imbalance"]
    assert book(p).out["e-1/drip"].left == Decimal(-20)
    p.do("draw drip", by=ANN, amount="25 mg", lot="K1")
    assert noted(p)[2:] == ["ledger-imbalance"]
    p.do("return drip", by=ANN, amount="5 mg")
    assert (book(p).out, on_hand(p)) == ({}, "480")


def test_what_was_drawn_and_nobody_had_asked_for_is_out_until_it_is_put_away() -> None:
    again = "        every: [{interval: 1 h, when: always}]\n"
    p = ordered(program(text(dose=IN_BOOK, more=LEDGER).replace(again, "")))
    stocked(p)
    p.do("decline drips", by=ANN, reason="not today")

    p.do("draw drip", by=ANN, amount="20 mg", lot="K1")

    assert book(p).out["e-1/drip"].left == Decimal(20)
    p.do("leave against_advice", by=ANN)
    assert noted(p) == ["ledger-imbalance"]


# What a record of a controlled drug holds (21 CFR 1304.22)

SCHEDULED = program(
    text(dose=IN_BOOK, more=LEDGER.replace("drug: Ketamine", "drug: Ketamine, schedule: III"))
)
VIAL = e.Product("solution for injection", "50 mg/mL", "10 mL vial", "III")
TABLET = e.Product("tablet", "8 mg", "bottle of 30", "III")


def entry(p: Patient, phrase: str, by: str | Actor = ANN, **how: Any) -> e.LotUsed:
    """A phrase is carried out; what it writes into the site's cupboard."""
    decision = p.ask(parse(phrase, how), by=by)
    assert isinstance(decision, Decision)
    (found,) = [x for each in decision.beside for x in each.events if isinstance(x, e.LotUsed)]
    p.do(phrase, by=by, **how)
    return found


def test_every_entry_names_product_volume_date_patient_and_person() -> None:
    p = ordered(SCHEDULED)
    stocked(p, product=VIAL)
    nina = Actor("ann", frozenset({"nurse"}), name="Ann Bell, RN")
    p.do("start drip", by=ANN)

    told_of = [
        entry(p, "draw drip", nina, amount="50 mg", lot="K1"),
        entry(p, "dose drip", nina, amount="35 mg", last=True),
        entry(p, "waste drip", nina, amount="15 mg", manner="in the waste container"),
        entry(p, "witness waste drip", BEN),
    ]

    assert [(x.what, x.amount, x.volume) for x in told_of] == [
        ("drawn", "50", "1 mL"),
        ("given", "35", "0.7 mL"),
        ("wasted", "15", "0.3 mL"),
        ("witnessed", "0", ""),
    ]
    assert {(x.product, x.at, x.patient) for x in told_of if x.lot} == {(VIAL, p.now, p.s.patient)}
    assert (told_of[1].person, told_of[1].name, told_of[1].role) == ("ann", "Ann Bell, RN", "nurse")
    assert told_of[2].manner == p.events(e.DrugHandled)[1].manner == "in the waste container"
    assert noted(p) == []


def test_waste_of_a_scheduled_drug_says_how_it_was_disposed_of() -> None:
    p = ordered(SCHEDULED)
    stocked(p, product=VIAL)
    p.do("draw drip", by=ANN, amount="50 mg", lot="K1")

    p.do("waste drip", by=ANN, amount="15 mg")

    assert noted(p) == ["no-manner"]


def test_a_scheduled_drug_of_an_undescribed_lot_is_drawn_and_looked_at() -> None:
    p = ordered(SCHEDULED)
    stocked(p)

    drawn_ = entry(p, "draw drip", amount="50 mg", lot="K1")

    assert noted(p) == ["lot-undescribed"]
    assert (drawn_.product, drawn_.volume) == (e.Product(schedule="III"), "")


@pytest.mark.parametrize(
    ("product", "amount", "unit", "volume"),
    [
        (VIAL, "35", "mg", "0.7 mL"),
        (VIAL, "0.035", "g", "0.7 mL"),
        (VIAL, "10", "mg", "0.2 mL"),
        (e.Product(strength="30 mg/mL"), "10", "mg", "0.333 mL"),
        (TABLET, "16", "mg", "2 of tablet"),
        (TABLET, "4", "mg", "0.5 of tablet"),
        (TABLET, "800", "mg", "100 of tablet"),
        (e.Product(), "35", "mg", ""),
        (e.Product(strength="much"), "35", "mg", ""),
        (e.Product(strength="0 mg/mL"), "35", "mg", ""),
        (VIAL, "35", "mL", ""),
        (VIAL, "35", "spoons", ""),
    ],
)
def test_an_amount_is_so_much_of_the_finished_form(
    product: e.Product, amount: str, unit: str, volume: str
) -> None:
    assert Lot("ketamine", "K1", "500", "mg", product=product).volume(amount, unit) == volume


@pytest.mark.parametrize(
    "what", ["form", "strength", "container", "number of containers", "supplier"]
)
def test_what_comes_in_of_a_scheduled_drug_is_described(what: str) -> None:
    shelf = Addition("cupboard", 0, Cupboard())
    how: dict[str, Any] = {"supplier": "Wholesale", "expires": None, "at": MONDAY, "person": "pat"}
    product, containers = VIAL, 2
    match what:
        case "supplier":
            how["supplier"] = ""
        case "number of containers":
            containers = 0
        case _:
            product = replace(VIAL, **{what: ""})

    refusal = cupboard.receive(
        shelf, "ketamine", "K1", "500 mg", product=product, containers=containers, **how
    )

    assert refusal is not None
    assert [(x.code, what in x.says) for x in refusal.reasons] == [("missing-value", True)]
    full = cupboard.receive(
        shelf, "ketamine", "K1", "500 mg", product=VIAL, containers=2, **{**how, "supplier": "W"}
    )
    assert full is None


def test_a_lot_is_one_product_and_its_strength_is_of_what_came() -> None:
    shelf = Addition("cupboard", 0, Cupboard())
    how: dict[str, Any] = {"supplier": "W", "expires": None, "at": MONDAY, "person": "pat"}

    wrong = cupboard.receive(
        shelf, "ketamine", "K1", "5 mL", product=VIAL, containers=1, witness="ann", **how
    )
    first = cupboard.receive(
        shelf, "ketamine", "K1", "500 mg", product=VIAL, containers=1, witness="ann", **how
    )
    other = cupboard.receive(shelf, "ketamine", "K1", "500 mg", product=TABLET, containers=1, **how)

    assert wrong is not None
    assert "is none of what comes in mL" in wrong.reasons[0].says
    assert first is None
    assert other is not None
    assert "as solution for injection 50 mg/mL 10 mL vial" in other.reasons[0].says
    (received,) = shelf.events
    assert isinstance(received, e.StockReceived)
    assert (received.product, received.containers, received.witness) == (VIAL, 1, "ann")


def test_a_second_person_at_the_cupboard_is_another_one() -> None:
    shelf = Addition("cupboard", 0, Cupboard())
    how: dict[str, Any] = {"at": MONDAY, "person": "pat"}

    came = cupboard.receive(
        shelf, "NAD+", "N1", "5 g", supplier="", expires=None, witness="pat", **how
    )
    cupboard.receive(shelf, "NAD+", "N1", "5 g", supplier="", expires=None, **how)
    alone = cupboard.count(shelf, "NAD+", "N1", "5 g", reason="", witness="pat", **how)
    counted = cupboard.count(shelf, "NAD+", "N1", "5 g", reason="", witness="ann", **how)

    assert came is not None
    assert alone is not None
    assert [came.reasons[0].code, alone.reasons[0].code] == ["same-person"] * 2
    assert counted is None
    last = shelf.events[-1]
    assert isinstance(last, e.StockCounted)
    assert last.witness == "ann"


# Lots


def test_what_is_wrong_with_a_lot_is_kept_and_looked_at() -> None:
    p = ordered(CONTROLLED)
    stocked(p, "OLD", "10 mg", expires=MONDAY.date() - timedelta(days=1))
    p.do("start drip")
    p.do("draw drip", amount="20 mg", lot="OLD")
    p.do("draw drip", amount="20 mg", lot="NONE")
    assert noted(p) == ["lot-expired", "stock-short", "lot-unknown"]
    assert on_hand(p, "OLD") == "-10"


def test_a_lot_is_good_until_the_end_of_its_date_and_kept_in_its_own_unit() -> None:
    p = ordered(CONTROLLED)
    stocked(p, "K1", "1 g", expires=MONDAY.date())
    p.do("start drip")
    p.do("draw drip", amount="20 mg", lot="K1")
    assert noted(p) == []
    assert on_hand(p) == "0.98"


def test_a_lot_is_judged_by_the_day_on_which_it_was_used_not_told() -> None:
    p = ordered(program(text()))
    stocked(p, "K1", "1 g", expires=MONDAY.date())
    p.do("start drip")
    p.do("dose drip", amount="5 mg", lot="K1")
    p.wait("1 d")

    p.do("dose drip", amount="5 mg", lot="K1", occurred=MONDAY + timedelta(hours=1))
    assert noted(p) == []
    p.do("dose drip", amount="5 mg", lot="K1")

    assert noted(p) == ["lot-expired"]


def test_all_of_a_lot_may_be_drawn() -> None:
    p = ordered(CONTROLLED)
    stocked(p, "K1", "20 mg")
    p.do("start drip")

    p.do("draw drip", amount="20 mg", lot="K1")

    assert noted(p) == []


def test_a_lot_that_is_kept_in_another_measure_is_not_the_one_that_was_drawn() -> None:
    p = ordered(CONTROLLED)
    stocked(p, "K1", "10 mL")
    p.do("start drip")
    p.do("draw drip", amount="20 mg", lot="K1")
    assert noted(p) == ["lot-unknown"]
    assert on_hand(p) == "10"


def test_a_lot_used_without_a_ledger_is_counted_down_and_found_again() -> None:
    p = ordered(program(text()))
    stocked(p, "N1", "500 mg", expires=MONDAY.date() - timedelta(days=1))
    p.do("start drip")
    p.do("dose drip", amount="20 mg", lot="N1")
    assert noted(p) == ["lot-expired"]
    assert on_hand(p, "N1") == "480"
    assert book(p).out == {}


# At the cupboard


def _shelf(state: Cupboard | None = None) -> Addition:
    return Addition("cupboard", 0, state or Cupboard(), [])


def _receive(shelf: Addition, amount: str = "500 mg", **how: Any) -> Refusal | None:
    said = {"drug": "ketamine", "lot": "K1", "supplier": "W", "expires": None, **how}
    return cupboard.receive(shelf, amount=amount, at=MONDAY, person="pat", **said)


def _filled() -> Addition:
    shelf = _shelf()
    assert _receive(shelf) is None
    return shelf


def _codes(answer: Refusal | None) -> list[str]:
    assert answer is not None
    assert all(reason.unblock for reason in answer.reasons)
    return [reason.code for reason in answer.reasons]


def test_more_of_a_lot_adds_up_under_any_writing_of_the_drug() -> None:
    shelf = _filled()
    _receive(shelf, "100 mg", drug="Ketamine")
    assert shelf.state.lot("KETAMINE", "K1") == Lot("Ketamine", "K1", "600", "mg", "W", None)


@pytest.mark.parametrize(
    ("how", "codes"),
    [
        ({"amount": "lots"}, ["bad-value"]),
        ({"amount": "5"}, ["bad-value"]),
        ({"amount": "-5 mg"}, ["bad-value"]),
        ({"amount": "0 mg"}, ["bad-value"]),
        ({"amount": "1 mL"}, ["bad-value"]),
        ({"expires": date(2027, 1, 1)}, ["bad-value"]),
        ({"supplier": "Another"}, ["bad-value"]),
        ({"drug": " ", "lot": ""}, ["missing-value", "missing-value"]),
    ],
)
def test_what_comes_in_is_a_quantity_of_a_named_lot(how: dict[str, Any], codes: list[str]) -> None:
    shelf = _filled()
    assert _codes(_receive(shelf, **how)) == codes
    assert len(shelf.events) == 1


def _count(shelf: Addition, found: str, lot: str = "K1", reason: str = "") -> Refusal | None:
    return cupboard.count(shelf, "ketamine", lot, found, reason=reason, at=MONDAY, person="pat")


def test_a_count_that_differs_is_kept_with_its_reason() -> None:
    shelf = _filled()
    assert _count(shelf, "490 mg", reason="a vial broke") is None
    counted = shelf.events[-1]
    assert isinstance(counted, e.StockCounted)
    assert (counted.found, counted.expected) == ("490", "500")
    assert shelf.state.lot("ketamine", "K1").on_hand == "490"
    assert _count(shelf, "490 mg") is None


def test_a_count_is_of_a_known_lot_in_its_unit_and_a_difference_has_a_reason() -> None:
    assert _codes(_count(_filled(), "490 mg")) == ["reason-missing"]
    assert _codes(_count(_filled(), "490 mL")) == ["bad-value"]
    assert _codes(_count(_filled(), "some")) == ["bad-value"]
    assert _codes(_count(_filled(), "5 mg", lot="X")) == ["unknown-lot"]
    assert _codes(_count(_shelf(), "5 mg", lot="X")) == ["unknown-lot"]


def test_more_than_there_should_be_is_a_difference_too() -> None:
    assert _codes(_count(_filled(), "510 mg")) == ["reason-missing"]


def test_lots_that_are_used_up_and_expired_are_dropped() -> None:
    old = Lot("ketamine", "OLD", "0", "mg", "", MONDAY.date() - timedelta(days=1))
    left = Lot("ketamine", "LEFT", "1", "mg", "", MONDAY.date() - timedelta(days=1))
    fresh = Lot("ketamine", "NEW", "0", "mg", "", MONDAY.date())
    shelf = Cupboard(0, {"ketamine OLD": old, "ketamine LEFT": left, "ketamine NEW": fresh})
    addition = _shelf(shelf)
    _receive(addition)
    assert list(addition.state.lots) == ["ketamine LEFT", "ketamine NEW", "ketamine K1"]


def test_every_event_belongs_to_one_stream_but_an_erasure_to_any() -> None:
    streams = [set(each.FOLDS) - {e.Erased} for each in (state, patients, cupboard)]
    assert sum(map(len, streams)) == len(set.union(*streams))


def test_what_is_out_says_its_numbers() -> None:
    out = Out("ketamine", "mg", "50", "35", "10", "0")
    assert str(out) == "50 mg drawn, 35 mg given, 10 mg wasted, 0 mg returned"
    assert (out.left, out.balances) == (Decimal(5), False)


# The ledger always balances at release


_DOING = st.sampled_from(["draw", "dose", "waste", "return", "witness", "end", "release", "abort"])


@settings(max_examples=80)
@given(st.lists(st.tuples(_DOING, st.integers(1, 5), st.sampled_from([ANN, BEN])), max_size=25))
def test_whoever_is_released_left_a_ledger_that_balances(
    course: list[tuple[str, int, str]],
) -> None:
    p = ordered(CONTROLLED)
    stocked(p)
    p.do("start drip", by=ANN)

    for what, number, who in course:
        amount = {"amount": f"{number * 5} mg"}
        if "drip.1" not in p.s.sessions:
            break
        ways: dict[str, tuple[str, dict[str, Any]]] = {
            "draw": ("draw drip", {**amount, "lot": "K1"}),
            "dose": ("dose drip", {**amount, "last": False}),
            "waste": ("waste drip", amount),
            "return": ("return drip", amount),
            "witness": ("witness waste drip", {}),
            "end": ("end dosing drip", {}),
            "release": ("release drip", {}),
            "abort": ("abort drip", {"reason": "x"}),
        }
        phrase, how = ways[what]
        with suppress(RefusedHereError):
            p.do(phrase, by=who, given=how)

    sums = {what: Decimal(0) for what in ("drawn", "wasted", "returned")}
    for event in p.events(e.DrugHandled):
        if event.what != "witnessed":
            sums[event.what] += Decimal(event.amount)
    given_ = sum((Decimal(x.amount) for x in p.events(e.DoseGiven)), Decimal(0))
    if p.events(e.SessionReleased):
        assert sums["drawn"] == given_ + sums["wasted"] + sums["returned"]
        assert not book(p).out
        assert "ledger-imbalance" not in noted(p)
    left = sums["drawn"] - given_ - sums["wasted"] - sums["returned"]
    out = book(p).out.get("e-1/drip.1")
    assert (out.left if out is not None else 0) == left
