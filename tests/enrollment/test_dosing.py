"""Doses: given is not ordered, caps count what any program gave or may still give, medicines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bedside import Patient, RefusedHereError, program
from drugs import held, noted, ordered, stocked, text, weighed
from hypothesis import given, settings
from hypothesis import strategies as st

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import exposure
from kat_workflow.enrollment.decide import ABOUT_DRUGS
from kat_workflow.enrollment.exposure import REMEMBERED
from kat_workflow.enrollment.patients import PatientRecord, evolve
from kat_workflow.program.model import Program

FIXED = """
  ketamine_order:
    drug: ketamine
    route: intravenous
    by: [doctor]
    amount: {from: 10 mg, to: 60 mg}
    lasts: 30 d
    source: practice"""
NO_ORDER = """
      drug: ketamine
      route: intravenous
      amount: 50 mg"""


def capped(most: str, per: str, *, order: str = FIXED) -> str:
    """A program that caps what is given."""
    return text(order=order, dose=f"\n      cap: [{{most: {most}, per: {per}}}]")


def fixed(the_text: str, amount: str = "50 mg") -> Patient:
    """A patient for whom a fixed amount is ordered."""
    p = Patient(program(the_text))
    p.do("order ketamine_order", by="doctor", amount=amount)
    return p


def record_of(p: Patient) -> PatientRecord:
    assert p.around.patient is not None
    return p.around.patient


def reserved(p: Patient) -> dict[str, str]:
    """What is reserved of ketamine, in grams."""
    its = record_of(p).known.exposures["ketamine (mass)"].reserved
    return {about: kept.amount for about, kept in its.items()}


# Given is not ordered


def test_what_was_given_and_what_was_ordered_are_two_facts() -> None:
    p = ordered(program(text()))
    p.do("start drip")
    p.do("dose drip", amount="20 mg", rate="50 mg/h")
    p.do("pause drip", reason="nausea")
    p.do("resume drip", rate="30 mg/h")
    p.do("end dosing drip", amount="28.5 mg")
    session = p.session("drip.1")
    assert (session.ordered, session.given, session.rate) == ("35", "28.5", "30")
    assert [x.amount for x in p.events(e.DoseGiven)] == ["20", "8.5"]
    assert noted(p) == []


def test_where_the_program_knows_no_rate_the_refusal_of_one_says_so() -> None:
    p = fixed(text(order=FIXED).replace("rate: {from: 10 mg/h, to: 100 mg/h}", ""))
    p.do("start drip")

    (reason,) = p.refused("dose drip", amount="20 mg", rate="50 mg/h").reasons

    assert (reason.code, reason.says) == ("bad-value", "the program says no unit for the rate")
    p.do("dose drip", amount="20 mg")


def test_more_than_ordered_is_kept_and_looked_at() -> None:
    p = ordered(program(text()))
    held(p, "36 mg")
    assert noted(p) == ["over-order"]


def test_more_than_a_session_may_give_is_kept_and_looked_at() -> None:
    p = ordered(program(text(dose="\n      most: 30 mg")), "0.4 mg/kg")
    held(p, "31 mg")
    assert noted(p) == ["over-order", "over-cap"]


def test_parts_of_a_dose_are_too_much_together_where_no_single_one_is() -> None:
    p = ordered(program(text(dose="\n      most: 30 mg")), "0.4 mg/kg")
    p.do("start drip")

    p.do("dose drip", amount="28 mg", rate="10 mg/h")
    p.do("dose drip", amount="2 mg", rate="100 mg/h")
    assert noted(p) == ["over-order"]
    p.do("dose drip", amount="0.5 mg", last=True)

    assert noted(p) == ["over-order", "over-order", "over-cap"]


@pytest.mark.parametrize(
    ("rate", "found"), [("9.9 mg/h", 1), ("10 mg/h", 0), ("100 mg/h", 0), ("100.1 mg/h", 1)]
)
def test_a_rate_is_outside_the_limits_of_the_program_beyond_them(rate: str, found: int) -> None:
    p = ordered(program(text()))
    p.do("start drip")

    p.do("dose drip", rate=rate)

    assert noted(p) == ["rate-outside"] * found


def test_no_more_is_ordered_than_a_session_may_give() -> None:
    p = weighed(program(text(dose="\n      most: 30 mg")))
    assert p.codes("order ketamine_order", by="doctor", amount="0.5 mg/kg") == ["dose-cap"]


def test_a_dose_without_an_order_is_kept_and_looked_at() -> None:
    p = Patient(program(text()))
    p.do("dose drip", amount="20 mg")
    assert noted(p) == ["dose-without-start", "no-order"]


def test_a_dose_that_was_given_before_the_start_uses_the_order() -> None:
    p = ordered(program(text()))
    p.do("dose drip", amount="35 mg", last=True)
    assert noted(p) == ["dose-without-start"]
    p.do("release drip")
    assert p.codes("start drip") == ["no-order"]


def test_amounts_are_given_in_any_unit_of_mass() -> None:
    p = ordered(program(text()))
    held(p, "0.035 g")
    assert p.events(e.DoseGiven)[0].total == "35"
    assert noted(p) == []


def test_an_order_in_another_unit_of_mass_than_the_dose_is_converted() -> None:
    micrograms = FIXED.replace("{from: 10 mg, to: 60 mg}", "{from: 10000 ug, to: 60000 ug}")
    p = Patient(program(text(order=micrograms, dose="\n      most: 60 mg")))
    p.do("order ketamine_order", by="doctor", amount="50000 ug")
    p.do("start drip")
    assert p.session("drip.1").ordered == "50"


def test_the_lot_of_a_dose_is_kept_and_goes_on_for_the_rest() -> None:
    p = ordered(program(text()))
    p.do("start drip")
    p.do("dose drip", amount="20 mg", lot="N7")
    p.do("end dosing drip", amount="25 mg")
    assert [x.lot for x in p.events(e.DoseGiven)] == ["N7", "N7"]


def with_bags() -> Program:
    """A program whose dose comes from the bag that was looked at before it."""
    bag = "before: {bag: {by: [nurse], record: note}}"
    return program(text(dose="\n      lot: bag.text", session=bag))


def test_a_dose_is_of_the_lot_that_was_recorded_for_its_session() -> None:
    p = ordered(with_bags())
    p.do("arrive drip")
    p.do("record bag", text="A17")
    held(p, "20 mg")
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="0.5 mg/kg")
    p.do("arrive drip")
    p.do("record bag", text="A18")
    held(p, "20 mg")

    assert [x.lot for x in p.events(e.DoseGiven)] == ["A17", "A18"]


def test_what_was_said_with_the_dose_is_its_lot_whatever_was_recorded_before() -> None:
    p = ordered(with_bags())
    p.do("arrive drip")
    p.do("record bag", text="A17")
    p.do("start drip")
    p.do("dose drip", amount="20 mg", lot="N7", last=True)

    assert [x.lot for x in p.events(e.DoseGiven)] == ["N7"]


def test_the_bag_of_the_session_before_is_not_that_of_this_one() -> None:
    p = ordered(with_bags())
    p.do("arrive drip")
    p.do("record bag", text="A17")
    held(p, "20 mg")
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="0.5 mg/kg")
    p.do("dose drip", amount="20 mg", last=True)

    assert [x.lot for x in p.events(e.DoseGiven)] == ["A17", ""]


def test_a_check_that_was_in_error_says_nothing_of_the_session_after_it() -> None:
    p = ordered(with_bags())
    p.do("arrive drip")
    p.do("record bag", text="A17")
    held(p, "20 mg")
    p.do("retract bag", reason="another patient's")
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="0.5 mg/kg")
    p.do("arrive drip")
    p.do("dose drip", amount="20 mg", lot="A17", last=True)

    p.do("record bag", text="A18")

    assert p.events(e.LotCorrected) == []  # what was said with the dose is its lot


def test_what_was_given_under_a_hold_is_kept_and_looked_at() -> None:
    p = ordered(program(text()))
    p.do("start drip")
    p.do("hold", by="doctor", reason="fire alarm")
    p.do("dose drip", amount="20 mg")
    assert noted(p) == ["dose-on-hold"]


def test_a_dose_ends_with_no_less_than_was_given_and_only_where_something_is_given() -> None:
    p = ordered(program(text()))
    p.do("start drip")
    p.do("dose drip", amount="20 mg", rate="50 mg/h")
    assert p.codes("end dosing drip", amount="19 mg") == ["bad-value"]
    p.do("end dosing drip")
    assert p.session("drip.1").given == "20"
    bare = Patient(program(_bare()))
    bare.do("start drip")
    assert bare.codes("end dosing drip", amount="5 mg") == ["no-dose"]


def _bare() -> str:
    """A program whose sessions give nothing."""
    bare = text(order=" {}")
    at = bare.index("    dose:")
    return bare[:at] + bare[bare.index("    release:") :]


# Two people


CHECKED = "\n      checked_by: [nurse, doctor]"


def test_a_dose_that_a_second_person_has_checked_is_in_order() -> None:
    p = ordered(program(text(dose=CHECKED)))
    p.do("arrive drip")
    p.do("check drip", by="ben:nurse")
    p.do("start drip", by="ann:nurse")
    p.do("dose drip", by="ann:nurse", amount="35 mg")
    assert p.session("drip.1").checked == "ben"
    assert noted(p) == []


@pytest.mark.parametrize("checker", ["", "ann:nurse"])
def test_a_dose_that_no_second_person_has_checked_is_looked_at(checker: str) -> None:
    p = ordered(program(text(dose=CHECKED)))
    p.do("start drip", by="ann:nurse")
    if checker:
        p.do("check drip", by=checker)
    p.do("dose drip", by="ann:nurse", amount="35 mg")
    assert noted(p) == ["unchecked"]


def test_a_check_comes_before_the_dose_and_where_the_program_asks_for_it() -> None:
    p = ordered(program(text(dose=CHECKED)))
    assert p.codes("check drip") == ["no-session"]
    p.do("start drip")
    assert p.codes("check drip", by="theo:therapist") == ["wrong-role"]
    p.do("dose drip", amount="35 mg")
    assert p.codes("check drip") == ["session-state"]
    other = ordered(program(text()))
    other.do("start drip")
    assert other.codes("check drip") == ["no-dose"]


# Caps


def test_over_rolling_hours_a_start_is_refused_with_the_numbers_until_there_is_room() -> None:
    p = fixed(capped("100 mg", "24 h"))
    first = p.now
    held(p, "50 mg")
    p.wait("2 h")
    held(p, "40 mg")
    p.wait("2 h")

    reason = p.refused("start drip").reasons[0]

    assert reason.code == "dose-cap"
    assert reason.says == (
        "at most 100 mg of ketamine in 24 h: 90 mg given, 0 mg reserved, 50 mg more wanted"
    )
    assert reason.unblock == (
        f"wait until {first + timedelta(hours=24):%Y-%m-%d %H:%M} UTC",
        "at most 10 mg more is possible",
    )
    p.now = first + timedelta(hours=24)
    p.do("start drip")


def test_waiting_does_not_help_where_one_dose_alone_is_too_much() -> None:
    p = fixed(capped("100 mg", "24 h"), "10 mg")
    p.do("start drip")
    p.do("dose drip", amount="300 mg", last=True)
    p.do("release drip")
    assert p.refused("start drip").reasons[0].unblock[0].startswith("wait until")
    assert "over-cap" in noted(p)
    p = Patient(program(capped("40 mg", "24 h")))
    reason = p.refused("order ketamine_order", by="doctor", amount="50 mg").reasons[0]
    assert (reason.code, reason.unblock) == ("dose-cap", ("at most 40 mg more is possible",))


def test_a_program_day_is_a_date_of_the_site() -> None:
    p = Patient(program(capped("100 mg", "program day")), zone="America/Los_Angeles")
    p.do("order ketamine_order", by="doctor", amount="50 mg")
    held(p, "50 mg")  # 01:00 at night there
    p.wait("2 h")
    held(p, "50 mg")
    p.wait("2 h")
    reason = p.refused("start drip").reasons[0]
    assert reason.unblock[0] == "wait until the next program day"
    assert "per program day" in reason.says
    p.until("2026-03-03 00:30")
    p.do("start drip")


def test_more_than_a_day_may_have_is_not_ordered_on_any_day() -> None:
    p = Patient(program(capped("40 mg", "program day")))

    reason = p.refused("order ketamine_order", by="doctor", amount="50 mg").reasons[0]

    assert (reason.code, reason.unblock) == ("dose-cap", ("at most 40 mg more is possible",))
    p.do("order ketamine_order", by="doctor", amount="40 mg")


def test_a_dose_that_is_told_the_day_after_counts_on_its_own_day() -> None:
    p = fixed(capped("100 mg", "program day"))
    p.wait("1 d")
    held(p, "50 mg")
    p.wait("1 h")
    held(p, "50 mg")

    p.do("dose drip", amount="50 mg", last=True, occurred=p.now - timedelta(days=1))

    assert noted(p) == ["dose-without-start"]


def test_a_program_day_is_no_date_of_another_zone() -> None:
    p = Patient(
        program(capped("100 mg", "program day")),
        zone="America/Los_Angeles",
        at=datetime(2026, 3, 3, 1, 0, tzinfo=UTC),
    )
    p.do("order ketamine_order", by="doctor", amount="60 mg")
    held(p, "60 mg")  # on Monday afternoon there, on Tuesday in Greenwich
    p.wait("2 h")

    assert p.codes("start drip") == ["dose-cap"]
    p.until("2026-03-03 00:00")
    p.do("start drip")


def test_over_an_enrollment_everything_counts() -> None:
    p = fixed(capped("120 mg", "enrollment"))
    held(p, "50 mg")
    p.wait("3 d")
    held(p, "50 mg")
    p.wait("20 d")
    assert p.codes("start drip") == ["dose-cap"]
    p.do("order ketamine_order", by="doctor", amount="20 mg")
    held(p, "20 mg")
    assert p.codes("order ketamine_order", by="doctor", amount="10 mg") == ["dose-cap"]


def test_over_a_course_counts_what_another_program_gave_and_reserved() -> None:
    p = fixed(capped("120 mg", "course"))
    stock = record_of(p)
    for event in (
        e.DrugGiven("e-9", "drip.1", "ketamine (mass)", "0.05", p.now, p.now - REMEMBERED),
        e.DrugReserved("e-9", "other_order", "ketamine (mass)", "0.015", p.now, ordered=True),
    ):
        p.around = p.around.read("patient", _evolved(p, event))
    assert record_of(p).version == stock.version + 2

    held(p, "50 mg")
    reason = p.refused("start drip").reasons[0]

    assert reason.says == (
        "at most 120 mg of ketamine per course: 100 mg given, 15 mg reserved, 50 mg more wanted"
    )
    assert reason.unblock == (
        "at most 5 mg more is possible",
        "stop the order, or end the dose, that reserves the rest",
    )


def test_over_a_course_counts_all_that_another_program_may_still_give() -> None:
    times = FIXED.replace("lasts: 30 d", "times: 3\n    lasts: 30 d")
    p = fixed(text(order=times), "50 mg")
    q = Patient(program(capped("180 mg", "course")), beside=p)

    assert q.codes("order ketamine_order", by="doctor", amount="40 mg") == ["dose-cap"]
    q.do("order ketamine_order", by="doctor", amount="30 mg")


def test_a_cap_over_a_week_remembers_the_whole_week() -> None:
    p = fixed(capped("100 mg", "168 h"), "40 mg")
    held(p, "60 mg")
    p.wait("3 d")
    held(p, "20 mg")
    p.wait(timedelta(days=4, minutes=-1))

    assert p.codes("start drip") == ["dose-cap"]
    p.wait("1 min")
    p.do("start drip")


def test_over_an_enrollment_another_program_does_not_count() -> None:
    p = fixed(capped("60 mg", "enrollment"))
    for event in (
        e.DrugGiven("e-9", "drip.1", "ketamine (mass)", "0.05", p.now, p.now - REMEMBERED),
        e.DrugReserved("e-9", "other_order", "ketamine (mass)", "0.015", p.now, ordered=True),
    ):
        p.around = p.around.read("patient", _evolved(p, event))
    p.do("start drip")


def _evolved(p: Patient, event: e.Event) -> PatientRecord:
    return evolve(record_of(p), event)


def test_a_session_under_way_elsewhere_counts_with_what_it_may_still_give() -> None:
    p = fixed(capped("90 mg", "24 h"))
    p.around = p.around.read(
        "patient",
        _evolved(p, e.DrugReserved("e-9", "drip.1", "ketamine (mass)", "0.05", p.now)),
    )
    reason = p.refused("start drip").reasons[0]
    assert "50 mg reserved" in reason.says
    assert not any(way.startswith("wait") for way in reason.unblock)
    p.around = p.around.read(
        "patient", _evolved(p, e.DrugFreed("e-9", "drip.1", "ketamine (mass)", p.now))
    )
    p.do("start drip")


def test_an_order_that_has_lapsed_reserves_nothing() -> None:
    p = fixed(capped("90 mg", "course"))
    later = p.now + timedelta(hours=1)
    p.around = p.around.read(
        "patient",
        _evolved(
            p,
            e.DrugReserved("e-9", "o", "ketamine (mass)", "0.05", p.now, ordered=True, until=later),
        ),
    )
    assert p.codes("start drip") == ["dose-cap"]
    p.wait("1 h")
    p.do("start drip")


def test_an_order_for_several_times_is_judged_with_all_of_them() -> None:
    thrice = FIXED.replace("lasts: 30 d", "times: 3")
    p = Patient(program(capped("120 mg", "course", order=thrice)))
    reason = p.refused("order ketamine_order", by="doctor", amount="50 mg").reasons[0]
    assert (reason.code, reason.says[-18:]) == ("dose-cap", "150 mg more wanted")
    p.do("order ketamine_order", by="doctor", amount="40 mg")
    for _ in range(3):
        held(p, "40 mg")
        p.wait("2 h")
    assert noted(p) == []


def test_a_start_is_judged_anew_where_more_was_given_since_the_order() -> None:
    p = fixed(capped("100 mg", "course"))
    held(p, "60 mg")
    assert noted(p) == ["over-order"]
    assert p.codes("start drip") == ["dose-cap"]


def test_room_comes_with_the_first_of_the_earlier_doses_that_is_large_enough() -> None:
    p = fixed(capped("100 mg", "24 h"))
    held(p, "10 mg")
    p.wait("2 h")
    second = p.now
    held(p, "50 mg")
    p.wait("2 h")
    reason = p.refused("start drip").reasons[0]
    assert reason.unblock[0] == f"wait until {p.now + timedelta(hours=20):%Y-%m-%d %H:%M} UTC"
    p.wait("2 h")
    p.do("order ketamine_order", by="doctor", amount="60 mg")
    reason = p.refused("start drip").reasons[0]
    assert reason.unblock[0] == f"wait until {second + timedelta(hours=24):%Y-%m-%d %H:%M} UTC"


def test_a_dose_over_a_cap_is_kept_and_looked_at() -> None:
    p = fixed(capped("100 mg", "24 h"))
    held(p, "50 mg")
    p.wait("2 h")
    p.do("start drip")
    p.do("dose drip", amount="51 mg", last=True)
    assert noted(p) == ["over-order", "over-cap"]
    assert p.events(e.DeviationNoted)[-1].says == "more than 100 mg of ketamine in 24 h was given"


def test_a_fixed_dose_without_an_order_is_capped_as_well() -> None:
    p = Patient(program(_without_order("\n      cap: [{most: 90 mg, per: program day}]")))
    held(p, "50 mg")
    p.wait("2 h")
    assert p.codes("start drip") == ["dose-cap"]


def test_more_than_a_fixed_dose_is_kept_and_looked_at() -> None:
    p = Patient(program(_without_order()))

    held(p, "51 mg")

    assert noted(p) == ["over-cap"]


def _without_order(more: str = "") -> str:
    plain = text(order=" {}")
    return plain.replace("order: ketamine_order\n", f"amount: 50 mg{more}\n").replace(
        "      rate: {from: 10 mg/h, to: 100 mg/h}", ""
    )


def test_a_cap_is_in_any_unit_of_the_measure() -> None:
    p = fixed(capped("0.09 g", "24 h"))
    held(p, "50 mg")
    p.wait("2 h")
    assert "at most 90 mg" in p.refused("start drip").reasons[0].says


# What the patient's own stream holds


def test_orders_reserve_and_sessions_take_over_what_is_given_is_no_longer_reserved() -> None:
    p = fixed(text(order=FIXED.replace("lasts: 30 d", "times: 2")), "50 mg")
    assert reserved(p) == {"e-1/ketamine_order": "0.05"}
    p.do("start drip")
    assert reserved(p) == {"e-1/ketamine_order": "0.05", "e-1/drip.1": "0.05"}
    its = record_of(p).known.exposures["ketamine (mass)"]
    assert its.reserved["e-1/ketamine_order"].times == 1
    p.do("dose drip", amount="20 mg")
    assert reserved(p)["e-1/drip.1"] == "0.03"
    p.do("dose drip", amount="40 mg")
    assert reserved(p)["e-1/drip.1"] == "0"
    p.do("end dosing drip")
    assert "e-1/drip.1" not in reserved(p)
    p.do("release drip")
    p.wait("2 h")
    p.do("start drip")
    assert list(reserved(p)) == ["e-1/drip.2"]
    p.do("cancel drip", reason="unwell")
    assert list(reserved(p)) == ["e-1/ketamine_order"]
    p.do("stop order ketamine_order", by="doctor", reason="done")
    assert reserved(p) == {}


def test_an_order_for_several_times_reserves_what_is_left_of_it() -> None:
    p = fixed(text(order=FIXED.replace("lasts: 30 d", "times: 3\n    lasts: 30 d")), "50 mg")

    def left() -> int:
        its = record_of(p).known.exposures["ketamine (mass)"].reserved
        return its["e-1/ketamine_order"].times

    assert left() == 3
    p.do("start drip")
    assert left() == 2
    p.do("cancel drip", reason="unwell")
    assert left() == 3


def test_a_fixed_dose_without_an_order_is_reserved_from_its_start_on() -> None:
    p = Patient(program(_without_order()))

    p.do("start drip")
    assert reserved(p) == {"e-1/drip.1": "0.05"}
    p.do("dose drip", amount="20 mg", last=False)
    assert reserved(p) == {"e-1/drip.1": "0.03"}
    p.do("end dosing drip")

    assert reserved(p) == {}


def test_an_abort_and_an_end_reserve_nothing() -> None:
    p = fixed(text(order=FIXED))
    p.do("start drip")
    p.do("dose drip", amount="20 mg")
    p.do("abort drip", reason="chest pain")
    assert list(reserved(p)) == ["e-1/ketamine_order"]
    p.do("leave against_advice")
    assert reserved(p) == {}
    assert record_of(p).known.exposures["ketamine (mass)"].totals == {"e-1": "0.02"}


def test_an_order_that_lapsed_under_its_session_is_not_reserved_again() -> None:
    p = fixed(text(order=FIXED.replace("lasts: 30 d", "times: 2\n    lasts: 1 h")), "50 mg")
    p.do("start drip")
    p.wait("2 h")
    p.do("cancel drip", reason="unwell")
    assert p.codes("start drip") == ["no-order"]


def test_a_rate_alone_gives_nothing_yet() -> None:
    p = fixed(text(order=FIXED))
    p.do("start drip")
    p.do("dose drip", rate="50 mg/h")
    assert record_of(p).known.exposures["ketamine (mass)"].totals == {}


def test_what_the_patients_stream_keeps_is_bounded() -> None:
    p = fixed(text(order=FIXED))
    for _ in range(12):
        held(p, "10 mg")
        p.wait("1 d")
    its = record_of(p).known.exposures["ketamine (mass)"]
    assert len(its.recent) == 8
    assert its.totals == {"e-1": "0.12"}


def test_a_session_without_a_drug_touches_no_streams_around() -> None:
    p = Patient(program(_bare()))
    before = record_of(p)
    p.do("start drip")
    p.do("release drip")
    p.wait("2 h")
    p.do("arrive drip")
    p.do("cancel drip", reason="x")
    assert record_of(p) is before


# Medicines as needed


MEDICINE = """
medicines:
  calming:
    title: Lorazepam as needed
    by: [nurse]
    order: calming_order
    for: Agitation
    apart: 4 h
    cap: [{most: 4 mg, per: 24 h}]
    source: practice
"""
CALMING = """
  calming_order:
    drug: lorazepam
    route: oral
    by: [doctor]
    amount: {from: 0.5 mg, to: 2 mg}
    lasts: 72 h
    source: practice"""


def calm() -> Patient:
    """A patient who may be given lorazepam."""
    p = Patient(program(text(order=FIXED + CALMING, more=MEDICINE)))
    p.do("order calming_order", by="doctor", amount="2 mg")
    return p


def test_a_medicine_is_given_as_needed_on_its_order() -> None:
    p = calm()
    p.do("give calming", amount="2 mg", reason="restless")
    p.wait("4 h")
    p.do("give calming", amount="1 mg")
    first = p.events(e.MedicineGiven)[0]
    assert (first.order, first.amount, first.reason) == ("calming_order.1", "2", "restless")
    assert noted(p) == []


def test_a_medicine_that_departs_from_order_spacing_and_cap_is_kept_and_looked_at() -> None:
    p = calm()
    p.do("give calming", amount="2.5 mg")
    p.wait("3 h")
    p.do("give calming", amount="1.6 mg")
    assert noted(p) == ["over-order", "too-soon", "over-cap"]
    p.wait("3 d")
    p.do("give calming", amount="1 mg")
    assert noted(p)[3:] == ["no-order"]


def test_a_medicine_given_without_any_order_is_kept_and_looked_at() -> None:
    p = Patient(program(text(order=FIXED + CALMING, more=MEDICINE)))
    p.do("give calming", amount="1 mg")
    assert noted(p) == ["no-order"]


DEPOT = MEDICINE.replace("apart: 4 h", "apart: 28 d").replace(
    "most: 4 mg, per: 24 h", "most: 4 mg, per: 1 h"
)
DEPOT_ORDER = CALMING.replace("lasts: 72 h", "lasts: 400 d")


def depot() -> Patient:
    """A patient who is given something that lasts four weeks."""
    p = Patient(program(text(order=FIXED + DEPOT_ORDER, more=DEPOT)))
    p.do("order calming_order", by="doctor", amount="2 mg")
    return p


@pytest.mark.parametrize(("days", "found"), [(27, ["too-soon"]), (28, []), (200, [])])
def test_a_depot_is_spaced_by_weeks_and_one_amount_is_kept_for_it(
    days: int, found: list[str]
) -> None:
    p = depot()
    p.do("give calming", amount="2 mg")
    p.wait(f"{days} d")

    p.do("give calming", amount="2 mg")

    assert noted(p) == found
    (its,) = record_of(p).known.exposures.values()
    assert len(its.recent) == 1


def test_a_depot_that_was_told_weeks_late_still_keeps_its_distance() -> None:
    p = depot()
    p.wait("60 d")
    p.do("give calming", amount="2 mg", occurred=p.now - timedelta(days=20))
    p.wait("1 d")

    p.do("give calming", amount="2 mg")

    assert noted(p) == ["too-soon"]


def test_a_late_entry_is_judged_by_when_it_was_given() -> None:
    p = calm()
    p.wait("5 h")
    p.do("give calming", amount="1 mg")
    p.do("give calming", amount="1 mg", occurred=p.now - timedelta(hours=4, minutes=30))
    assert noted(p) == []


def test_a_late_entry_counts_against_the_hours_before_it_was_given() -> None:
    p = calm()
    p.wait("30 h")
    p.do("give calming", amount="2 mg")
    p.wait("4 h")
    p.do("give calming", amount="2 mg")

    p.do("give calming", amount="1 mg", occurred=p.now - timedelta(hours=29))

    assert noted(p) == []
    p.do("give calming", amount="2 mg", occurred=p.now - timedelta(hours=20))
    assert noted(p) == []
    p.do("give calming", amount="1.5 mg", occurred=p.now - timedelta(hours=16))
    assert noted(p) == ["over-cap"]


def test_a_late_entry_that_was_too_soon_then_is_looked_at() -> None:
    p = calm()
    p.do("give calming", amount="1 mg")
    p.wait("6 h")

    p.do("give calming", amount="1 mg", occurred=p.now - timedelta(hours=3))

    assert noted(p) == ["too-soon"]


def test_an_order_for_a_number_of_times_is_used_up_by_a_medicine() -> None:
    once = CALMING.replace("lasts: 72 h", "times: 1")
    p = Patient(program(text(order=FIXED + once, more=MEDICINE)))
    p.do("order calming_order", by="doctor", amount="2 mg")
    p.do("give calming", amount="1 mg")
    p.wait("5 h")
    p.do("give calming", amount="1 mg")
    assert noted(p) == ["no-order"]


def test_what_a_medicine_has_used_of_its_order_is_no_longer_reserved() -> None:
    twice = CALMING.replace("lasts: 72 h", "times: 2")
    p = Patient(program(text(order=FIXED + twice, more=MEDICINE)))
    p.do("order calming_order", by="doctor", amount="2 mg")

    def left() -> list[int]:
        return [x.times for x in record_of(p).known.exposures["lorazepam (mass)"].reserved.values()]

    assert left() == [2]
    p.do("give calming", amount="2 mg")
    assert left() == [1]
    p.wait("5 h")
    p.do("give calming", amount="1 mg")
    assert left() == []


def test_a_medicine_of_a_lot_that_expired_is_kept_and_looked_at() -> None:
    p = calm()
    stocked(p, "L1", expires=p.now.date() - timedelta(days=1))
    p.do("give calming", amount="1 mg", lot="L1")  # another drug's lot: nothing is known of it
    assert noted(p) == []


def test_what_a_medicine_is_and_how_much_is_said() -> None:
    p = calm()
    assert p.codes("give aspirin", amount="1 mg") == ["unknown-medicine"]
    assert p.codes("give calming") == ["bad-value"]
    assert p.codes("give calming", amount="a bit") == ["bad-value", "bad-value"]
    assert p.codes("give calming", by="theo:therapist", amount="1 mg") == ["wrong-role"]


def test_medicines_cap_what_is_ordered_for_them() -> None:
    tight = MEDICINE.replace("most: 4 mg, per: 24 h", "most: 1 mg, per: 24 h")
    p = Patient(program(text(order=FIXED + CALMING, more=tight)))
    assert p.codes("order calming_order", by="doctor", amount="2 mg") == ["dose-cap"]


# Caps are never exceeded by requests alone


_DOING = st.sampled_from(["whole", "whole", "order", "start", "give", "cancel", "stop", "wait"])
_COURSE = st.lists(st.tuples(_DOING, st.integers(1, 6)), min_size=8, max_size=30)


@settings(max_examples=60)
@given(_COURSE)
def test_caps_are_never_exceeded_by_requests_alone(course: list[tuple[str, int]]) -> None:
    """Whoever gives no more than was ordered, and starts only when let, exceeds no cap."""
    caps = (
        "[{most: 70 mg, per: 24 h}, {most: 60 mg, per: program day}, {most: 150 mg, per: course}]"
    )
    p = Patient(program(text(order=FIXED, dose=f"\n      cap: {caps}")))

    for what, number in course:
        for phrase, how in _asked(p, what, number):
            with suppress(RefusedHereError):
                p.do(phrase, **how)

    given_ = [(x.at, Decimal(x.amount)) for x in p.events(e.DoseGiven)]
    assert sum(amount for _, amount in given_) <= 150
    for at, _ in given_:
        assert sum(a for t, a in given_ if at - timedelta(hours=24) < t <= at) <= 70
        assert sum(a for t, a in given_ if t.date() == at.date()) <= 60
    assert "over-cap" not in noted(p)


def _asked(p: Patient, what: str, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    order = "order ketamine_order", {"by": "doctor", "amount": f"{number * 10} mg"}
    if what == "wait":
        p.wait(f"{number * 2} h")
    if what in ("order", "whole"):
        yield order
    if what == "stop":
        yield "stop order ketamine_order", {"by": "doctor", "reason": "x"}
    if what == "cancel":
        yield "cancel drip", {"reason": "x"}
    if what in ("start", "whole"):
        yield "start drip", {}
    session = next(iter(p.s.sessions.values()), None)
    if what in ("give", "whole") and session is not None and session.under_way:
        if session.dosed is None:
            yield "dose drip", {"amount": f"{session.ordered} mg"}
        yield "end dosing drip", {}
        yield "release drip", {}


def test_every_event_about_drugs_is_told_to_the_patient() -> None:
    assert set(exposure.TELLERS) == ABOUT_DRUGS


# What was given before its order, or where nobody had asked for it


def test_a_dose_that_was_given_before_its_order_was_given_without_one() -> None:
    p = weighed(program(text()))
    given_at = p.now
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="0.5 mg/kg")

    p.do("dose drip", amount="20 mg", last=True, occurred=given_at)

    assert noted(p) == ["dose-without-start", "no-order"]
    assert (p.session("drip.1").order, p.session("drip.1").ordered) == ("", "")
    assert p.s.orders["ketamine_order"].left == 1


def test_a_start_before_its_order_is_refused_and_says_when_it_was_placed() -> None:
    p = weighed(program(text()))
    started = p.now
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="0.5 mg/kg")

    (reason,) = p.refused("start drip", occurred=started).reasons

    assert (reason.code, "was ordered later" in reason.says) == ("no-order", True)


def test_a_dose_told_after_the_next_order_was_given_on_the_one_before_it() -> None:
    p = fixed(text(order=FIXED.replace("lasts", "times: 1\n    lasts")), "20 mg")
    given_at = p.now + timedelta(minutes=10)
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="50 mg")

    p.do("dose drip", amount="30 mg", last=True, occurred=given_at)

    assert noted(p) == ["dose-without-start", "over-order"]
    assert (p.session("drip.1").order, p.session("drip.1").ordered) == ("ketamine_order.1", "20")
    assert p.s.orders["ketamine_order"].left == 1


def test_what_became_of_the_next_order_does_not_touch_the_one_before_it() -> None:
    p = fixed(text(order=FIXED.replace("lasts", "times: 1\n    lasts")), "20 mg")
    given_at = p.now + timedelta(minutes=10)
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="50 mg")
    p.do("start drip")
    p.do("cancel drip", reason="nausea")
    p.do("stop order ketamine_order", by="doctor", reason="fever")

    p.do("dose drip", amount="20 mg", last=True, occurred=given_at)

    assert noted(p) == ["dose-without-start"]
    assert p.session("drip.2").order == "ketamine_order.1"


@pytest.mark.parametrize("how", ["used", "given back", "stopped", "expired"])
def test_an_order_of_before_counts_as_far_as_it_stood_then(how: str) -> None:
    p = fixed(text(order=FIXED.replace("lasts: 30 d", "times: 1\n    lasts: 2 h")), "20 mg")
    match how:
        case "used":
            p.do("start drip")
            p.do("dose drip", amount="20 mg", last=True)
            p.do("release drip")
        case "given back":
            p.do("start drip")
            p.do("cancel drip", reason="nausea")
        case "stopped":
            p.do("stop order ketamine_order", by="doctor", reason="fever")
        case _:
            p.wait("3 h")
    given_at = p.now
    p.wait("10 min")
    p.do("order ketamine_order", by="doctor", amount="50 mg")
    before = len(noted(p))

    p.do("dose drip", amount="20 mg", last=True, occurred=given_at)

    assert ("no-order" not in noted(p)[before:]) is (how == "given back")


def test_a_medicine_that_was_given_before_its_order_is_looked_at() -> None:
    more = "\nmedicines:\n  rescue: {by: [nurse], order: ketamine_order, source: practice}\n"
    p = Patient(program(text(order=FIXED, more=more)))
    given_at = p.now
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="50 mg")

    p.do("give rescue", amount="10 mg", occurred=given_at)

    assert noted(p) == ["no-order"]


def test_what_was_given_though_no_step_was_open_is_a_session_that_is_watched() -> None:
    again = "        every: [{interval: 1 h, when: always}]\n"
    p = fixed(text(order=FIXED).replace(again, ""))
    p.do("decline drips", reason="not today")

    p.do("dose drip", amount="20 mg", last=True)

    assert noted(p) == ["dose-not-planned", "dose-without-start"]
    assert p.is_open("drip.watch")
    p.do("record drip.watch", systolic=120)
    p.do("release drip")
    assert p.outcome("drips") == "declined"
    assert record_of(p).known.exposures["ketamine (mass)"].recent[0].amount == "0.02"


@pytest.mark.parametrize("end", ["against_advice", "died"])
def test_what_was_given_is_kept_after_the_end_and_counts(end: str) -> None:
    p = fixed(capped("10 mg", "enrollment"), "10 mg")
    given_at = p.now
    p.wait("1 h")
    p.do(f"leave {end}", reason="gone")

    p.do("dose drip", amount="20 mg", lot="K1", occurred=given_at)

    assert noted(p)[-2:] == ["dose-not-planned", "over-cap"]
    (told_of,) = p.events(e.MedicineGiven)
    assert (told_of.medicine, told_of.amount, told_of.at) == ("drip", "20", given_at)
    assert record_of(p).known.exposures["ketamine (mass)"].recent[0].amount == "0.02"


def test_an_order_is_not_stopped_before_it_was_placed() -> None:
    p = Patient(program(text(order=FIXED)))
    before = p.now
    p.wait("1 h")
    p.do("order ketamine_order", by="doctor", amount="50 mg")

    codes = p.codes("stop order ketamine_order", by="doctor", reason="fever", occurred=before)

    assert codes == ["no-order"]
    assert p.s.orders["ketamine_order"].stands(p.now)
