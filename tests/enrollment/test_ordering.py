"""Orders: what a prescriber may order, with which weight, and how long it stands."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from bedside import Patient, program
from drugs import held, noted, ordered, text, weighed
from hypothesis import given
from hypothesis import strategies as st

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.state import decode_row, encode_row

FIXED = """
  ketamine_order:
    drug: ketamine
    route: intravenous
    by: [doctor]
    amount: {from: 10 mg, to: 60 mg}
    times: 3
    source: practice"""
KETAMINE = program(text())


def order(p: Patient, amount: str, **details: Any) -> e.Ordered:
    """An order is placed."""
    return next(
        x
        for x in p.do("order ketamine_order", by="doctor", amount=amount, **details)
        if isinstance(x, e.Ordered)
    )


def refused(p: Patient, amount: str, **details: Any) -> list[str]:
    return p.codes("order ketamine_order", by="doctor", amount=amount, **details)


# With a weight


def test_a_dose_by_body_weight_uses_the_latest_weight_and_is_rounded_down() -> None:
    p = weighed(KETAMINE, "71.9")

    placed = order(p, "0.5 mg/kg")

    assert (placed.total, placed.unit, placed.amount, placed.basis) == ("35", "mg", "0.5", "mg/kg")
    assert (placed.weight, placed.weight_unit) == ("71.9", "kg")
    recorded = p.events(e.ObservationRecorded)[0]
    assert placed.evidence == recorded.observation


def test_an_order_never_comes_to_more_than_its_cap_whatever_the_weight() -> None:
    p = weighed(KETAMINE, "150")

    placed = order(p, "0.8 mg/kg")

    assert (placed.total, placed.capped) == ("70", True)
    assert not order(p, "0.4 mg/kg").capped


def test_an_order_of_exactly_its_cap_is_not_called_less_than_was_asked_for() -> None:
    placed = order(weighed(KETAMINE, "70"), "1 mg/kg")

    assert (placed.total, placed.capped) == ("70", False)


def test_units_are_converted_exactly() -> None:
    p = weighed(KETAMINE, "70")
    assert order(p, "500 ug/kg").total == "35"


def test_a_weight_in_pounds_serves_as_well() -> None:
    pounds = (
        text().replace("phases:", _POUNDS + "phases:", 1).replace("amount.weight", "scale.body")
    )
    pounds = pounds.replace("record: amount", "record: scale")
    p = Patient(program(pounds))
    p.do("record weigh", body="154.5")  # 70.08 kg
    assert order(p, "0.5 mg/kg").total == "35"


_POUNDS = """forms:
  scale:
    title: Scale
    fields:
      body: {type: decimal, unit: lb, from: 2, to: 700}
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {type: integer, unit: mmHg, from: 50, to: 300}
"""


def test_without_a_weight_nothing_is_ordered_by_weight() -> None:
    p = Patient(KETAMINE)
    refusal = p.refused("order ketamine_order", by="doctor", amount="0.5 mg/kg")
    assert [reason.code for reason in refusal.reasons] == ["weight-missing"]
    assert refusal.reasons[0].unblock == ("record amount",)


def test_a_weight_is_too_old_after_its_time_and_a_new_one_serves() -> None:
    p = weighed(KETAMINE)
    p.wait("14 d")
    says = p.refused("order ketamine_order", by="doctor", amount="0.5 mg/kg").reasons[0]
    assert says.code == "weight-missing"
    assert p.events(e.ObservationRecorded)[0].observation in says.says
    p.do("record weigh", weight="80")
    assert order(p, "0.5 mg/kg").total == "40"


def test_an_order_stands_no_longer_than_its_weight() -> None:
    p = weighed(KETAMINE)
    p.wait("10 d")
    placed = order(p, "0.5 mg/kg")
    assert placed.until == p.at("2026-03-16 09:00")
    p.until("2026-03-16 09:00")
    assert p.codes("start drip") == ["no-order"]


def test_a_weight_is_as_old_as_when_it_was_taken_whenever_it_is_told() -> None:
    p = weighed(KETAMINE, "60")
    p.wait("20 d")

    p.do("record weigh", weight="70", occurred=p.now - timedelta(days=13))

    placed = order(p, "0.5 mg/kg")
    assert (placed.weight, placed.until) == ("70", p.now + timedelta(days=1))
    p.wait("1 d")
    assert p.codes("order ketamine_order", by="doctor", amount="0.5 mg/kg") == ["weight-missing"]


def test_an_unsigned_weight_opens_no_order() -> None:
    signed = program(text().replace("record: amount\n", "record: amount\n        signed: true\n"))
    p = Patient(signed)
    p.do("record weigh", weight="70")
    assert refused(p, "0.5 mg/kg") == ["weight-missing"]
    p.do("sign weigh")
    assert order(p, "0.5 mg/kg").total == "35"


def test_a_weight_that_is_valid_for_a_shorter_time_ends_the_order_with_it() -> None:
    short = text().replace("phases:", _SHORT + "phases:", 1)
    p = weighed(program(short))
    assert order(p, "0.5 mg/kg").until == p.at("2026-03-04 09:00")


_SHORT = """forms:
  amount:
    title: Amount
    valid_for: 48 h
    fields:
      weight: {type: decimal, unit: kg, from: 1, to: 300}
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {type: integer, unit: mmHg, from: 50, to: 300}
"""


# Within limits


def test_an_order_within_the_limits_is_placed_without_a_weight() -> None:
    p = Patient(program(text(order=FIXED)))
    placed = order(p, "33.5 mg")
    assert (placed.total, placed.until, placed.times, placed.weight) == ("33.5", None, 3, "")


@pytest.mark.parametrize("amount", ["0.09 mg/kg", "1.01 mg/kg", "2 g/kg"])
def test_what_the_program_does_not_let_be_ordered_is_refused(amount: str) -> None:
    assert refused(weighed(KETAMINE), amount) == ["amount-outside"]


@pytest.mark.parametrize("amount", ["", "much", "50 mg", "0.5 mg/h"])
def test_an_order_says_its_amount_in_its_own_unit(amount: str) -> None:
    assert refused(weighed(KETAMINE), amount) == ["bad-value"]


def test_an_order_that_rounds_down_to_nothing_is_none() -> None:
    p = weighed(KETAMINE, "5")
    assert refused(p, "0.1 mg/kg") == ["bad-value"]


def test_only_a_prescriber_orders() -> None:
    p = weighed(KETAMINE)
    assert p.codes("order ketamine_order", amount="0.5 mg/kg") == ["wrong-role"]
    assert p.codes("order moonshine", by="doctor", amount="1 mg") == ["unknown-order"]


def test_nothing_is_ordered_under_a_hold_or_after_the_end() -> None:
    p = weighed(KETAMINE)
    p.do("hold", by="doctor", reason="storm")
    assert refused(p, "0.5 mg/kg") == ["on-hold"]
    p.do("lift", by="doctor")
    p.do("leave against_advice")
    assert refused(p, "0.5 mg/kg") == ["not-in-treatment"]


# Titration


def test_from_order_to_order_a_dose_is_raised_by_no_more_than_the_program_says() -> None:
    p = weighed(KETAMINE)
    order(p, "0.3 mg/kg")
    reason = p.refused("order ketamine_order", by="doctor", amount="0.61 mg/kg").reasons[0]
    assert reason.code == "raised-too-much"
    assert reason.unblock == ("at most 0.6 mg/kg after 0.3 mg/kg",)
    assert order(p, "0.6 mg/kg").number == 2


def test_a_dose_may_always_be_lowered() -> None:
    p = weighed(KETAMINE)
    order(p, "1 mg/kg")
    assert order(p, "0.1 mg/kg").total == "7"


def test_an_order_takes_effect_at_the_next_start() -> None:
    p = ordered(KETAMINE, "0.5 mg/kg")
    p.do("start drip")
    order(p, "0.7 mg/kg")
    assert p.session("drip.1").ordered == "35"
    p.do("dose drip", amount="36 mg", last=True)
    assert noted(p) == ["over-order"]
    p.do("release drip")
    p.do("start drip")
    assert (p.session("drip.2").order, p.session("drip.2").ordered) == ("ketamine_order.2", "49")


# Bolus, infusion, rate


def test_an_order_has_a_bolus_and_an_infusion() -> None:
    p = weighed(KETAMINE, "80")
    placed = order(p, "0.71 mg/kg", bolus="0.11 mg/kg", bolus_over="2 min", infusion_over="50 min")
    assert (placed.total, placed.bolus) == ("56", "8")
    assert (placed.bolus_over, placed.infusion_over) == ("2 min", "50 min")
    state = p.s.orders["ketamine_order"]
    assert (state.bolus, state.infusion_over) == ("8", "50 min")


def test_a_bolus_of_more_than_is_ordered_is_refused() -> None:
    p = weighed(KETAMINE, "70")

    assert p.codes("order ketamine_order", by="doctor", amount="0.1 mg/kg", bolus="0.15 mg/kg") == [
        "amount-outside"
    ]


def test_the_pace_of_an_infusion_is_that_of_what_is_left_after_the_bolus() -> None:
    p = weighed(KETAMINE, "70")  # 70 mg, 14 of them at once: 56 mg at no more than 100 mg/h
    how: dict[str, Any] = {"by": "doctor", "amount": "1 mg/kg", "bolus": "0.2 mg/kg"}

    assert p.codes("order ketamine_order", infusion_over="33 min", **how) == ["rate-outside"]
    p.do("order ketamine_order", infusion_over="34 min", **how)


def test_a_bolus_is_never_more_than_the_whole() -> None:
    p = weighed(program(text().replace("bolus_at_most: 0.2", "bolus_at_most: 1")), "150")
    assert order(p, "0.9 mg/kg", bolus="0.9 mg/kg").bolus == "70"


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ({"bolus": "0.21 mg/kg"}, "amount-outside"),
        ({"bolus": "10 mg"}, "bad-value"),
        ({"bolus_over": "a while"}, "bad-value"),
        ({"infusion_over": "2 d"}, "bad-value"),
        ({"infusion_over": "0 min"}, "bad-value"),
        ({"infusion_over": "10 min"}, "rate-outside"),  # 35 mg in 10 min are 210 mg/h
        ({"infusion_over": "5 h"}, "rate-outside"),
        ({"rate": "101 mg/h"}, "rate-outside"),
        ({"rate": "fast"}, "bad-value"),
        ({"rate": "50 mg/h", "infusion_over": "42 min"}, "bad-value"),
    ],
)
def test_how_fast_is_ordered_within_the_program(details: dict[str, str], code: str) -> None:
    assert refused(weighed(KETAMINE), "0.5 mg/kg", **details) == [code]


@pytest.mark.parametrize("rate", ["10 mg/h", "50 mg/h", "100 mg/h"])
def test_a_rate_within_the_limits_is_ordered(rate: str) -> None:
    assert order(weighed(KETAMINE), "0.5 mg/kg", rate=rate).rate == rate


def test_where_the_program_knows_no_bolus_none_is_ordered() -> None:
    p = Patient(program(text(order=FIXED)))
    assert refused(p, "30 mg", bolus="5 mg") == ["amount-outside"]


def test_where_the_session_has_no_rates_any_pace_is_ordered() -> None:
    p = weighed(program(text().replace("rate: {from: 10 mg/h, to: 100 mg/h}", "")))
    assert order(p, "0.5 mg/kg", infusion_over="1 min").infusion_over == "1 min"


# In force


def test_without_an_order_in_force_no_session_starts() -> None:
    p = weighed(KETAMINE)
    reason = p.refused("start drip").reasons[0]
    assert (reason.code, reason.unblock) == ("no-order", ("order ketamine_order (by Doctor)",))
    order(p, "0.5 mg/kg")
    p.do("start drip")
    assert p.session("drip.1").order == "ketamine_order.1"


def test_an_order_is_given_as_often_as_it_may_be() -> None:
    p = Patient(program(text(order=FIXED)))
    order(p, "10 mg")
    for _ in range(3):
        held(p, "10 mg")
        p.wait("2 h")
    assert p.codes("start drip") == ["no-order"]


def test_an_order_for_as_often_as_needed_ends_with_its_time() -> None:
    often = FIXED.replace("times: 3", "lasts: 2 d")
    p = Patient(program(text(order=often)))
    order(p, "10 mg")
    for _ in range(4):
        held(p, "10 mg")
        p.wait("2 h")
    p.wait("2 d")
    assert p.codes("start drip") == ["no-order"]


def test_a_stopped_order_opens_nothing() -> None:
    p = ordered(KETAMINE)
    assert p.codes("stop order ketamine_order", by="doctor") == ["reason-missing"]
    assert p.codes("stop order ketamine_order", reason="x") == ["wrong-role"]
    p.do("stop order ketamine_order", by="doctor", reason="fever")
    assert p.codes("start drip") == ["no-order"]
    assert p.codes("stop order ketamine_order", by="doctor", reason="again") == ["no-order"]


def test_an_order_is_stopped_under_a_hold() -> None:
    p = ordered(KETAMINE)
    p.do("hold", by="doctor", reason="fever")
    p.do("stop order ketamine_order", by="doctor", reason="fever")
    assert p.events(e.OrderStopped)[0].number == 1


def test_a_session_that_was_started_and_in_which_nothing_was_given_gives_its_order_back() -> None:
    p = ordered(KETAMINE)
    p.do("start drip")
    p.do("cancel drip", reason="patient unwell")
    p.do("start drip")
    assert p.session("drip.2").order == "ketamine_order.1"
    p.do("dose drip", amount="35 mg", last=True)
    p.do("release drip")
    p.wait("2 h")
    assert p.codes("start drip") == ["no-order"]


def test_what_a_newer_order_has_replaced_is_not_given_back() -> None:
    p = ordered(KETAMINE)
    p.do("start drip")
    order(p, "0.6 mg/kg")
    p.do("cancel drip", reason="patient unwell")
    held(p, "30 mg")
    assert p.codes("start drip") == ["no-order"]


def test_orders_end_with_the_treatment() -> None:
    p = ordered(KETAMINE)
    p.do("leave against_advice")
    assert not p.s.orders


# A step that orders


ORDER_STEP = """
      prescribe: {by: [doctor], order: ketamine_order, different_person_from: [talk]}"""


def test_placing_the_order_settles_the_step_that_asks_for_it() -> None:
    p = weighed(program(text(steps=ORDER_STEP)))
    assert p.is_open("prescribe")
    order(p, "0.5 mg/kg")
    assert p.outcome("prescribe") == "done"
    order(p, "0.6 mg/kg")
    assert p.outcomes("prescribe") == ["done"]


def test_a_step_that_orders_is_done_in_no_other_way() -> None:
    p = weighed(program(text(steps=ORDER_STEP)))
    refusal = p.refused("done prescribe", by="doctor").reasons[0]
    assert (refusal.code, refusal.unblock) == ("not-done-so", ("order ketamine_order",))
    refusal = p.refused("record prescribe", by="doctor").reasons[0]
    assert (refusal.code, refusal.unblock) == ("nothing-to-record", ("order ketamine_order",))


def test_who_must_not_have_done_another_step_does_not_order() -> None:
    p = weighed(program(text(steps=ORDER_STEP)))
    p.do("done talk", by="ann:doctor")
    assert p.codes("order ketamine_order", by="ann:doctor", amount="0.5 mg/kg") == ["same-person"]
    p.do("order ketamine_order", by="ben:doctor", amount="0.5 mg/kg")


@given(
    st.decimals("30", "200", places=1),
    st.decimals("0.1", "1", places=2),
)
def test_what_an_order_comes_to_is_never_more_than_was_asked_for(
    kilograms: Decimal, amount: Decimal
) -> None:
    p = weighed(KETAMINE, str(kilograms))

    placed = order(p, f"{amount} mg/kg")

    total = Decimal(placed.total)
    assert total == total.to_integral_value()
    assert total <= kilograms * amount
    assert total <= 70
    assert total > kilograms * amount - 1 or placed.capped


def test_orders_are_kept_in_the_row_of_the_enrollment() -> None:
    p = ordered(KETAMINE)
    p.do("start drip")
    assert decode_row(encode_row(p.s)) == p.s
    assert p.s.orders["ketamine_order"].total == "35"


# A weight that was wrong


@pytest.mark.parametrize(
    ("act", "details", "would_be"),
    [
        ("correct", {"weight": "100"}, "50 mg"),
        ("correct", {"weight": "300"}, "70 mg"),
        ("retract", {}, "unknown"),
    ],
)
def test_an_order_that_a_wrong_weight_went_into_is_questioned_and_stands(
    act: str, details: dict[str, Any], would_be: str
) -> None:
    p = ordered(KETAMINE)
    p.do(f"{act} weigh", reason="read off the wrong scales", **details)
    (question,) = p.events(e.DecisionQuestioned)
    assert (question.decision, question.what) == ("order", "ketamine_order.1")
    assert (question.was, question.would_be) == ("35 mg", would_be)
    assert p.s.orders["ketamine_order"].total == "35"
    assert p.is_open("questioned order: ketamine_order.1")


def test_a_correction_that_changes_nothing_of_the_order_questions_nothing() -> None:
    p = ordered(KETAMINE)
    p.do("correct weigh", reason="a slip", weight="70.5")
    assert not p.events(e.DecisionQuestioned)
