"""Judging gates: what is true, what is false and what nobody can know yet.

Doubt may restrict and never permit: that is claimed here for every kind of doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest
from attrs import evolve
from gate_cases import (
    IN_DAY,
    IN_SESSION,
    IN_STAY,
    IN_TAPER,
    NOW,
    WHOLE,
    Patient,
    ago,
    compiled,
    reading,
)
from gate_patients import CONDITIONS, patients, texts
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kat_workflow.program.clock import Site
from kat_workflow.program.forms import Observation, Raw
from kat_workflow.program.gates import Context
from kat_workflow.program.truth import (
    All,
    Facts,
    Is,
    Node,
    Not,
    Recorded,
    Side,
    Some,
    Truth,
    Use,
    judge,
    look,
)
from kat_workflow.program.why import leaves

TRUTHS: tuple[Truth, ...] = (True, False, None)


def truth(
    text: str, *recorded: Observation, context: Context = IN_DAY, side: Side = "go", **facts: Any
) -> Truth:
    patient = Patient(**{"recorded": list(recorded), **facts})
    return compiled(text, context, side).truth(patient)


# Kleene's three values.


def answered(**answers: Truth) -> Patient:
    """A patient with a yes, a no or no answer to each of three questions."""
    forms = {"a": "baseline.settled", "b": "ward_round.settled", "c": "alcohol_check"}
    assert set(answers) <= set(forms)
    return Patient(
        recorded=[
            reading("vitals", step=forms[name].partition(".")[0], settled=answer)
            for name, answer in answers.items()
            if name != "c"
        ]
        + [reading("intake", pregnant=answers.get("c"))]
    )


A, B, C = "baseline.settled is yes", "ward_round.settled is yes", "intake.pregnant is yes"


def kleene_and(*truths: Truth) -> Truth:
    return False if False in truths else None if None in truths else True


def kleene_or(*truths: Truth) -> Truth:
    return True if True in truths else None if None in truths else False


def kleene_not(value: Truth) -> Truth:
    return None if value is None else not value


@pytest.mark.parametrize(("a", "b"), list(product(TRUTHS, TRUTHS)))
def test_and_and_or_of_two_follow_kleene(a: Truth, b: Truth) -> None:
    patient = answered(a=a, b=b)

    assert compiled(A).truth(patient) is a
    assert compiled(f"not {A}").truth(patient) is kleene_not(a)
    assert compiled(f"{A} and {B}").truth(patient) is kleene_and(a, b)
    assert compiled(f"{A} or {B}").truth(patient) is kleene_or(a, b)


@pytest.mark.parametrize(("a", "b", "c"), list(product(TRUTHS, TRUTHS, TRUTHS)))
def test_and_and_or_of_three_follow_kleene(a: Truth, b: Truth, c: Truth) -> None:
    patient = answered(a=a, b=b, c=c)

    assert compiled(f"{A} and {B} and {C}").truth(patient) is kleene_and(a, b, c)
    assert compiled(f"{A} or {B} or {C}").truth(patient) is kleene_or(a, b, c)
    assert compiled(f"({A} and {B}) or {C}").truth(patient) is kleene_or(kleene_and(a, b), c)


def test_always_is_true_and_not_always_never() -> None:
    assert truth("always") is True
    assert truth("not always") is False


# Comparisons.


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
        (">", (False, False, True)),
        (">=", (False, True, True)),
        ("=", (False, True, False)),
        ("!=", (True, False, True)),
    ],
)
@pytest.mark.parametrize(
    ("field", "values", "bound"),
    [
        ("vitals.systolic", (179, 180, 181), "180 mmHg"),
        ("vitals.systolic", (179, 180, 181), "high_systolic"),
        ("vitals.temperature", ("38.4", "38.5", "38.6"), "fever"),
        ("vitals.temperature", ("37.9", "38", "38.0000001"), "100.4 degF"),  # 311.15 K exactly
        ("vitals.weight", ("0.45359236", "0.45359237", "0.45359238"), "1 lb"),
        ("vitals.systolic", (89, 90, 91), "0.5 * 180 mmHg"),
        ("vitals.pulse", (119, 120, 121), "7200 /h"),
        ("ciwa_ar.total", (7, 8, 9), "settled_ciwa"),
        ("ciwa_ar.tremor", (2, 3, 4), "bare"),
        ("intake.sleep", (28_799, 28_800, 28_801), "8 h"),
        ("intake.sleep", (86_399, 86_400, 86_401), "1 d"),
    ],
)
def test_a_field_is_compared_exactly_from_both_sides(
    field: str,
    values: tuple[Any, Any, Any],
    bound: str,
    sign: str,
    expected: tuple[bool, bool, bool],
) -> None:
    form, name = field.split(".")
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(sign, sign)

    for raw, holds in zip(values, expected, strict=True):
        recorded = reading(form, **dict[str, Any]({name: raw}))
        assert truth(f"{field} {sign} {bound}", recorded) is holds
        assert truth(f"{bound} {turned} {field}", recorded) is holds


def test_a_third_of_a_unit_is_never_rounded() -> None:
    """20 °F are -6 2/3 °C: no decimal is equal to them, and every decimal is on one side."""
    warm = reading("vitals", temperature="-6.6666666666666666666666666666666666")
    cold = reading("vitals", temperature="-6.6666666666666666666666666666666667")

    assert truth("vitals.temperature > 20 degF", warm) is True
    assert truth("vitals.temperature > 20 degF", cold) is False
    assert truth("vitals.temperature = 20 degF", cold) is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vitals.systolic - vitals.diastolic >= 40 mmHg", True),
        ("vitals.systolic - vitals.diastolic > 40 mmHg", False),
        ("vitals.systolic = 1.5 * vitals.diastolic", True),
        ("- vitals.systolic + 2 * vitals.diastolic - 40 mmHg = 0 kPa", True),
        ("vitals.systolic <= vitals.diastolic", False),
        ("0.1 * vitals.weight + 0.2 * vitals.weight = 0.3 * vitals.weight", True),
        ("vitals.weight + 1 g > vitals.weight", True),
    ],
)
def test_linear_arithmetic_is_exact(text: str, expected: bool) -> None:
    recorded = reading("vitals", systolic=120, diastolic=80, weight="70.1")

    assert truth(text, recorded) is expected


def test_a_sum_with_one_unknown_part_is_unknown() -> None:
    half = reading("vitals", systolic=120)

    assert truth("vitals.systolic - vitals.diastolic >= 40 mmHg", half) is None
    assert truth("vitals.systolic > vitals.diastolic", half) is None


def test_instants_and_dates_are_compared_as_such_and_not_as_text() -> None:
    recorded = reading(
        "intake",
        last_use="2026-03-01T01:00:00+02:00",
        first_use="2026-03-01T00:00:00Z",
        born="1990-12-01",
        moved="2020-01-31",
    )

    assert truth("intake.last_use < intake.first_use", recorded) is True
    assert truth("intake.last_use = intake.first_use", recorded) is False
    assert truth("intake.born < intake.moved", recorded) is True
    assert truth("intake.born < intake.moved", reading("intake", born="1990-12-01")) is None
    assert truth("intake.born < intake.moved", reading("intake", moved="1990-12-01")) is None


def test_choices_bands_and_answers_are_what_was_recorded() -> None:
    recorded = (
        reading("intake", substance="alcohol", substances=["alcohol", "opioid"], pregnant=False),
        reading("ciwa_ar", total_band="severe"),
    )

    assert truth("intake.substance is alcohol", *recorded) is True
    assert truth("intake.substance is opioid", *recorded) is False
    assert truth("intake.substance is not opioid", *recorded) is True
    assert truth("intake.substances has opioid", *recorded) is True
    assert truth("intake.substances has not opioid", *recorded) is False
    assert truth("intake.substances has not stimulant", *recorded) is True
    assert truth("intake.pregnant is no", *recorded) is True
    assert truth("intake.pregnant is not no", *recorded) is False
    assert truth("ciwa_ar.total_band is severe", *recorded) is True


# Doubt.


READ_ON_GO = {
    "unsigned": reading("intake", signed=False, substance="alcohol", substances=["alcohol"]),
    "expired": reading("intake", valid_hours=1, substance="alcohol", substances=["alcohol"]),
}


@pytest.mark.parametrize("doubt", READ_ON_GO)
@pytest.mark.parametrize(
    "text", ["intake.substance is alcohol", "intake.substance is opioid",
             "intake.substances has opioid", "age of intake.substance < 4 h"]
)  # fmt: skip
def test_what_is_unsigned_or_expired_opens_nothing_but_stops(text: str, doubt: str) -> None:
    recorded = READ_ON_GO[doubt]

    assert truth(text, recorded) is None
    assert truth(text, recorded, side="stop") is not None


def test_a_result_is_good_until_it_expires_and_not_at_that_instant() -> None:
    recorded = reading("laboratory", 24, valid_hours=24, potassium="4.1")
    earlier = Patient(recorded=[recorded], now=NOW - timedelta(microseconds=1))
    normal = compiled("laboratory.potassium > 3.5 mmol/L")

    assert normal.truth(earlier) is True
    assert normal.truth(Patient(recorded=[recorded])) is None


@pytest.mark.parametrize("newest", [{"signed": False, "systolic": 200}, {"systolic": None}, {}])
def test_an_older_reading_never_stands_in_for_a_doubtful_new_one(newest: dict[str, Any]) -> None:
    older = reading("vitals", 3, systolic=120)

    assert truth("vitals.systolic < 180 mmHg", older) is True
    assert truth("vitals.systolic < 180 mmHg", older, reading("vitals", 1, **newest)) is None


@pytest.mark.parametrize("newest", [{"signed": False}, {"valid_hours": 0.5}])
def test_nor_does_an_older_one_of_the_whole_enrollment(newest: dict[str, Any]) -> None:
    older = reading("laboratory", 3, potassium="4.1")
    newer = reading("laboratory", 1, potassium="4.2", **newest)

    assert truth("laboratory.potassium > 3.5 mmol/L", older, context=WHOLE) is True
    assert truth("laboratory.potassium > 3.5 mmol/L", older, newer, context=WHOLE) is None


def test_a_value_that_is_missing_from_a_reading_is_never_normal() -> None:
    partial = reading("vitals", systolic=120)

    assert truth("vitals.systolic < 180 mmHg and vitals.pulse < 120 /min", partial) is None
    assert truth("vitals.systolic > 180 mmHg or vitals.pulse > 120 /min", partial) is None
    assert truth("vitals.systolic > 180 mmHg and vitals.pulse < 120 /min", partial) is False


def test_the_latest_reading_is_the_one_that_was_taken_last() -> None:
    late_entry, now = reading("vitals", 5, systolic=200), reading("vitals", 1, systolic=120)

    assert truth("vitals.systolic < 180 mmHg", now, late_entry) is True


# Where facts are read.


def test_the_pressure_of_an_earlier_day_says_nothing_today() -> None:
    before = reading("vitals", 30, place="stay.1/day.2", systolic=120)
    today = reading("vitals", 1, place="stay.1/day.3", systolic=200)

    assert truth("baseline.systolic < 180 mmHg", before) is None
    assert truth("baseline.systolic < 180 mmHg", before, today) is False
    assert truth("baseline.systolic < 180 mmHg", today, before, context=IN_STAY) is False
    assert truth("baseline.systolic < 180 mmHg", before, context=IN_STAY) is True
    assert truth("last 1 of baseline.systolic < 180 mmHg", before) is True
    assert truth("ever baseline.systolic < 180 mmHg", before, today) is True


def test_the_tenth_day_is_not_inside_the_first() -> None:
    tenth = reading("vitals", place="stay.1/day.10", systolic=120)

    assert truth("baseline.systolic < 180 mmHg", tenth, places={"day": "stay.1/day.1"}) is None
    assert truth("baseline.systolic < 180 mmHg", tenth, places={"day": "stay.1/day.10"}) is True


def test_where_the_patient_is_not_nothing_is_known() -> None:
    recorded = reading("vitals", systolic=120)

    assert truth("baseline.systolic < 180 mmHg", recorded, places={}) is None
    assert truth("baseline.systolic is recorded", recorded, places={}) is False
    assert truth("watch.pulse < 100 /min", recorded, places={}, context=IN_SESSION) is None
    assert truth("nad_consent is done", places={}, settlements=DONE, context=SCREENING) is None


def test_the_watch_is_that_of_the_session_around_it() -> None:
    last_time = reading(
        "vitals", 30, step="nad_infusion.watch", place="stay.1/day.2/nad_infusion.2", pulse=150
    )
    before_it = reading("vitals", 2, step="line_check", pulse=150)
    now = reading("vitals", 1, step="nad_infusion.watch", pulse=90)

    for text in (
        "watch.pulse < 130 /min",
        "last 1 of watch.pulse < 130 /min",
        "any watch.pulse of last 48 h < 130 /min",
        "ever watch.pulse < 130 /min",
    ):
        assert truth(text, last_time, before_it, context=IN_SESSION) is None
        assert truth(text, last_time, before_it, now, context=IN_SESSION) is True
        assert truth(text, now, context=IN_SESSION, places={}) is None
    assert (
        truth("every watch.pulse of last 20 h < 130 /min", last_time, now, context=IN_SESSION)
        is None
    )
    assert truth("vitals.pulse < 130 /min", last_time, before_it, context=IN_SESSION) is False


def test_what_is_recorded_in_a_session_belongs_to_the_day_that_holds_it() -> None:
    watched = reading("vitals", 1, step="nad_infusion.watch", pulse=150)
    baseline = reading("vitals", 4, pulse=80)

    assert truth("vitals.pulse > 130 /min", baseline, watched) is True
    assert truth("baseline.pulse > 130 /min", baseline, watched) is False


def test_a_reading_without_a_step_belongs_to_the_visit_it_fell_into() -> None:
    loose = reading("vitals", 2, step="", systolic=200)
    entered = {"day": ago(3)}

    assert truth("vitals.systolic > 180 mmHg", loose, entries=entered) is True
    assert truth("vitals.systolic > 180 mmHg", loose, entries={"day": ago(1)}) is None
    assert truth("vitals.systolic > 180 mmHg", loose) is None
    assert truth("baseline.systolic > 180 mmHg", loose, entries=entered) is None
    assert truth("vitals.systolic > 180 mmHg", loose, context=IN_SESSION, entries=entered) is None
    assert truth("vitals.systolic > 180 mmHg", loose, context=WHOLE) is True
    assert truth("event.grave is yes", reading("event", grave=True), context=SCREENING) is None


def test_a_contained_program_reads_its_own_recordings() -> None:
    outer = reading("vitals", systolic=120)
    inner = reading("vitals", 2, step="taper.baseline", place="taper.1", systolic=170)
    there = {"taper": "taper.1"}

    assert truth("taper.baseline.systolic < high_systolic", inner, outer, context=WHOLE) is True
    assert truth("taper.baseline.systolic < high_systolic", outer, context=WHOLE) is None
    assert truth("baseline.systolic < high_systolic", outer, context=IN_TAPER, places=there) is None
    assert (
        truth("baseline.systolic < high_systolic", outer, inner, context=IN_TAPER, places=there)
        is False
    )


# Several readings.


def ciwa(*totals: Raw, every: float = 4, newest: float = 1, **more: Any) -> list[Observation]:
    """Readings every few hours, the newest last."""
    times = [newest + every * n for n in range(len(totals))]
    return [
        reading("ciwa_ar", hours, total=total, **more)
        for hours, total in zip(reversed(times), totals, strict=True)
    ]


@pytest.mark.parametrize(
    ("totals", "last3", "every", "some", "ever"),
    [
        ((), None, None, None, None),
        ((3,), None, None, True, True),
        ((9,), None, None, False, False),
        ((3, 3), None, None, True, True),
        ((3, 3, 3), True, None, True, True),
        ((3, 9, 3), False, None, True, True),
        ((9, 9, 9), False, None, False, False),
        ((9, 3, 3, 3), True, True, True, True),  # the 9 is 13 h old: it shows how far it reaches
        ((3, 3, 3, 9), False, False, True, True),
        ((3, 3, None, 3), None, None, True, True),
        ((3, 9, None, 3), False, False, True, True),
        ((3, 9, None, 9), False, False, None, True),
    ],
)
def test_several_readings_are_judged_together(
    totals: tuple[Raw, ...], last3: Truth, every: Truth, some: Truth, ever: Truth
) -> None:
    recorded = ciwa(*totals)

    assert truth("last 3 of ciwa_ar.total < 8 points", *recorded) is last3
    assert truth("every ciwa_ar.total of last 12 h < 8 points", *recorded) is every
    assert truth("any ciwa_ar.total of last 12 h < 8 points", *recorded) is some
    assert truth("ever ciwa_ar.total < 8 points", *recorded) is ever


def test_an_unsigned_reading_among_several_is_unknown_on_the_go_side() -> None:
    signed, unsigned = ciwa(3, 3, newest=5), ciwa(3, signed=False)

    for text in (
        "last 3 of ciwa_ar.total < 8 points",
        "every ciwa_ar.total of last 8 h < 8 points",
    ):
        assert truth(text, *signed, *unsigned) is None
        assert truth(text, *signed, *unsigned, side="stop") is True
    assert truth("ever ciwa_ar.total < 8 points", *unsigned) is None
    assert truth("any ciwa_ar.total of last 8 h < 8 points", *signed, *unsigned) is True


def test_the_newest_of_the_last_readings_must_not_have_expired() -> None:
    old = reading("laboratory", 40, valid_hours=24, potassium="4.0")
    new = reading("laboratory", 20, valid_hours=24, potassium="4.1")
    text = "last 2 of laboratory.potassium > 3.5 mmol/L"

    assert truth(text, old, new) is True
    assert truth(text, old, new, now=NOW + timedelta(hours=4)) is None
    assert truth(text, old, new, now=NOW + timedelta(hours=4), side="stop") is True
    assert truth("ever laboratory.potassium > 3.5 mmol/L", old) is True


def test_a_window_holds_what_is_less_than_its_length_ago() -> None:
    edge, inside = reading("ciwa_ar", 24, total=9), reading("ciwa_ar", 23.99, total=9)

    assert truth("any ciwa_ar.total of last 24 h > 8 points", edge) is None
    assert truth("any ciwa_ar.total of last 24 h > 8 points", inside) is True
    assert truth("every ciwa_ar.total of last 24 h > 8 points", edge, inside) is True
    assert truth("every ciwa_ar.total of last 24 h > 8 points", inside) is None


def test_every_reading_must_reach_back_within_the_present_stay() -> None:
    """A reading at screening does not show that the first day of the stay was calm."""
    screening = reading("ciwa_ar", 40, step="alcohol_check", place="screening.1", total=3)
    stay = reading("ciwa_ar", 1, total=3)
    first = reading("ciwa_ar", 25, total=3)

    assert truth("every ciwa_ar.total of last 24 h < 8 points", screening, stay) is None
    assert truth("every ciwa_ar.total of last 24 h < 8 points", screening, first, stay) is True


def test_a_window_of_days_is_counted_on_the_calendar() -> None:
    """Across the change to summer time a day has 23 hours."""
    site = Site(zone="Europe/Berlin")
    now = NOW.replace(month=3, day=29)
    yesterday = replace(reading("drinks", taken="100"), occurred=now - timedelta(hours=23))

    day, hours = (f"total of drinks.taken within {span} >= 100 mL" for span in ("1 d", "24 h"))

    assert truth(hours, yesterday, now=now, site=site) is True
    assert truth(day, yesterday, now=now, site=site) is False


def test_a_total_is_the_sum_of_a_window_and_nought_when_all_is_over() -> None:
    recorded = [reading("drinks", hours, taken=taken) for hours, taken in
                ((30, "400"), (20, "300"), (10, "250.5"))]  # fmt: skip

    assert truth("total of drinks.taken within 24 h = 0.5505 L", *recorded) is True
    assert truth("total of drinks.taken within 36 h = 950.5 mL", *recorded) is True
    assert truth("total of drinks.taken within 5 h = 0 mL", *recorded) is True
    assert truth("total of drinks.taken within 5 h = 0 mL") is None
    assert truth("total of drinks.taken within 5 h = 0 mL", reading("drinks", taken=None)) is None
    unsigned = reading("drinks", signed=False, taken="5")
    assert truth("total of drinks.taken within 5 h = 5 mL", unsigned) is None
    assert truth("total of drinks.taken within 5 h = 5 mL", unsigned, side="stop") is True


def test_several_readings_are_compared_with_other_facts_too() -> None:
    recorded = [reading("vitals", h, systolic=s) for h, s in ((3, 130), (2, 140), (1, 120))]
    weighed = reading("vitals", 0.5, diastolic=60)

    text = "any vitals.systolic of last 4 h > 2 * vitals.diastolic"
    assert truth(text, *recorded, weighed) is True
    assert truth(text, *recorded) is None
    assert truth("last 2 of vitals.symptoms has nausea", reading("vitals", 2, symptoms=["nausea"]),
                 reading("vitals", 1, symptoms=[])) is False  # fmt: skip
    assert (
        truth("ever intake.substance is not opioid", reading("intake", substance="alcohol")) is True
    )


# Steps, sessions, consents and time.

SCREENING = Context(("screening",))
DONE = {"nad_consent": ("done", ago(2), "screening.1")}
DECLINED = {"nad_consent": ("declined", ago(2), "screening.1")}


def test_how_a_step_ended_is_unknown_until_it_ended() -> None:
    for context in (SCREENING, IN_DAY):
        assert truth("nad_consent is done", context=context) is None
        assert truth("nad_consent is done", settlements=DONE, context=context) is True
        assert truth("nad_consent is done", settlements=DECLINED, context=context) is False
        assert truth("nad_consent is not done", settlements=DECLINED, context=context) is True
    other = {"nad_consent": ("done", ago(2), "screening.2")}
    assert truth("nad_consent is done", settlements=other, context=SCREENING) is None


def test_a_skipped_item_reads_as_declared_and_a_declined_one_as_nothing() -> None:
    skipped = {"pregnancy_check": ("skipped", ago(1), "screening.1")}
    declined = {"pregnancy_check": ("declined", ago(1), "screening.1")}
    elsewhere = {"pregnancy_check": ("skipped", ago(1), "screening.2")}
    text = "pregnancy_check.grave is no"

    assert truth(text, settlements=skipped, context=SCREENING) is True
    assert truth("event.signs has rash", settlements=skipped, context=SCREENING) is True
    assert truth("event.signs has fever", settlements=skipped, context=SCREENING) is False
    assert truth(text, settlements=declined, context=SCREENING) is None
    assert truth(text, settlements=elsewhere, context=SCREENING) is None
    assert truth(text, context=SCREENING) is None
    assert truth(text, settlements=skipped, places={}, context=SCREENING) is None


def test_the_last_word_counts_whether_it_was_a_reading_or_a_skip() -> None:
    recorded = reading("drinks", 2, taken="100")
    text = "drinks_check.taken > 50 mL"

    for hours, expected in ((3, True), (1, False)):
        skipped = {"drinks_check": ("skipped", ago(hours), "stay.1/day.3")}
        assert truth(text, recorded, settlements=skipped) is expected
    missed = {"drinks_check": ("declined", ago(1), "stay.1/day.3")}
    assert truth(text, recorded, settlements=missed) is True


def test_what_is_recorded_stays_so_but_not_before_it_is_signed() -> None:
    expired = reading("intake", valid_hours=1, note="as told")
    unsigned = reading("intake", signed=False, note="as told")

    assert truth("intake.note is recorded") is False
    assert truth("intake.note is not recorded") is True
    assert truth("intake.note is recorded", reading("intake")) is False
    assert truth("intake.note is recorded", expired) is True
    assert truth("intake.note is not recorded", expired) is False
    assert truth("intake.note is recorded", unsigned) is None
    assert truth("intake.note is not recorded", unsigned) is None
    assert truth("intake.note is recorded", unsigned, side="stop") is True


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        (None, None),
        (("given", None), True),
        (("given", NOW + timedelta(microseconds=1)), True),
        (("given", NOW), None),
        (("declined", None), False),
        (("revoked", NOW + timedelta(hours=1)), False),
    ],
)
def test_a_consent_is_in_force_from_being_given_until_it_is_revoked_or_expires(
    consent: tuple[str, None] | None, expected: Truth
) -> None:
    consents = {} if consent is None else {"nad": consent}

    assert truth("consent nad in force", consents=consents) is expected


def test_counts_are_of_the_whole_enrollment() -> None:
    tallies = {"nad_infusion:held": 2, "alcohol_check:missed": 1}

    assert truth("count of nad_infusion held >= 2", tallies=tallies) is True
    assert truth("count of nad_infusion counted >= 1", tallies=tallies) is False
    assert truth("count of alcohol_check missed + 1 = 2", tallies=tallies) is True


def test_what_has_been_given_is_nought_as_long_as_nothing_was() -> None:
    given_ = {"stay.1/day.3/nad_infusion.3": "250.5"}

    assert truth("given > 0 mg", context=IN_SESSION) is False
    assert truth("given = 250.5 mg", context=IN_SESSION, amounts=given_) is True
    assert truth("given < 0.2505 g", context=IN_SESSION, amounts=given_) is False
    assert truth("given > 0 mg", context=IN_SESSION, amounts=given_, places={}) is None


def test_rounds_and_program_days_are_those_of_now() -> None:
    assert truth("round >= 3", rounds={"day": 3}) is True
    assert truth("round >= 3") is None
    assert truth("program day = 3", admitted=date(2026, 3, 3)) is True
    assert truth("program day = 3", admitted=None) is None
    phoenix = Site(zone="America/Phoenix")
    early = NOW.replace(hour=5)
    assert truth("program day = 2", admitted=date(2026, 3, 3), site=phoenix, now=early) is True


@pytest.mark.parametrize(
    ("moment", "facts"),
    [
        ("intake.last_use", {"recorded": [reading("intake", last_use=ago(96).isoformat())]}),
        ("intake_evaluation done", {"settlements": {"intake_evaluation": ("done", ago(96), "")}}),
        ("nad_infusion dosed", {"instants": {"nad_infusion:dosed": ago(96)}}),
        ("nad_infusion given", {"instants": {"nad_infusion:dosed": ago(96)}}),
        ("entering", {"entries": {"day": ago(96)}}),
        ("entering stay", {"entries": {"stay": ago(96)}}),
    ],
)
def test_time_runs_from_every_kind_of_moment(moment: str, facts: dict[str, Any]) -> None:
    assert truth(f"time since {moment} >= danger_time", **facts) is True
    assert truth(f"time since {moment} > danger_time", **facts) is False
    assert truth(f"danger_time <= time since {moment}", **facts) is True
    assert truth(f"time since {moment} >= 4 d", **facts) is True
    assert truth(f"time since {moment} >= 5 d", **facts) is False
    assert truth(f"time since {moment} + 1 h > 97 h", **facts) is False
    assert truth(f"time since {moment} >= danger_time") is None
    assert truth(f"time since {moment} >= 4 d") is None


def test_time_since_another_outcome_of_a_step_is_unknown() -> None:
    assert truth("time since nad_consent done >= 1 h", settlements=DONE) is True
    assert truth("time since nad_consent done >= 1 h", settlements=DECLINED) is None


def test_days_since_a_moment_count_dates_and_hours_elapsed_time() -> None:
    """From noon before the change to summer time to noon after it are 23 hours and one day."""
    site = Site(zone="Europe/Berlin")
    start, now = ago(0).replace(day=28, hour=11), ago(0).replace(day=29, hour=10)
    facts: dict[str, Any] = {"entries": {"day": start}, "now": now, "site": site}

    assert truth("time since entering >= 1 d", **facts) is True
    assert truth("time since entering >= 24 h", **facts) is False


def test_time_since_a_date_runs_from_its_midnight_at_the_site() -> None:
    born = reading("intake", born="2026-03-05")
    phoenix = Site(zone="America/Phoenix")

    assert truth("time since intake.born = 12 h", born) is True
    assert truth("time since intake.born = 5 h", born, site=phoenix) is True


def test_the_age_of_a_reading_runs_from_when_it_was_taken() -> None:
    recorded = replace(reading("vitals", 5, systolic=120), recorded=NOW)

    assert truth("age of vitals.systolic >= 5 h", recorded) is True
    assert truth("age of vitals.systolic > 5 h", recorded) is False
    assert truth("age of vitals.pulse > 5 h", recorded) is None


# Overrides.


@pytest.mark.parametrize("systolic", [120, 200, None])
def test_an_override_makes_its_gate_true_and_no_other(systolic: Raw) -> None:
    recorded = reading("vitals", systolic=systolic)
    over: dict[str, Any] = {"overrides": {"pressure_allows", "calm"}}

    assert truth("pressure_allows", recorded, **over) is True
    assert truth("not pressure_allows", recorded, **over) is False
    assert truth("calm", recorded, **over) is None
    stop = truth("pressure_allows", recorded, side="stop", **over)
    assert stop is (None if systolic is None else systolic == 120)


# What holds of every gate and every patient.


def reckoned(node: Node, facts: Facts, side: Side) -> Truth:
    """The truth of a tree by the book, each comparison by itself."""
    match node:
        case Not(inner):
            return kleene_not(reckoned(inner, facts, side))
        case All(nodes):
            return kleene_and(*(reckoned(n, facts, side) for n in nodes))
        case Some(nodes):
            return kleene_or(*(reckoned(n, facts, side) for n in nodes))
        case Use(gate, _, inner, by):
            held = reckoned(inner, facts, side)
            return True if by and facts.overridden(gate) else held
        case _:
            return judge(node, side)(facts)


@given(texts(), patients(), st.sampled_from(["go", "stop"]))
def test_the_fast_truth_is_the_truth_by_the_book(text: str, patient: Patient, side: Side) -> None:
    test = compiled(text, IN_SESSION, side)

    assert test.truth(patient) is reckoned(test.tree, patient, side)


@given(texts(), texts(), patients())
def test_de_morgan_holds_in_three_values(one: str, two: str, patient: Patient) -> None:
    def of(text: str) -> Truth:
        return compiled(text, IN_SESSION).truth(patient)

    assert of(f"not (({one}) and ({two}))") is of(f"(not ({one})) or (not ({two}))")
    assert of(f"not (({one}) or ({two}))") is of(f"(not ({one})) and (not ({two}))")
    assert of(f"not not ({one})") is of(one)


@given(texts(), patients())
def test_the_stop_side_knows_all_that_the_go_side_knows(text: str, patient: Patient) -> None:
    """The go side only ever doubts more: where it is sure, the stop side is as sure."""
    patient.overrides.clear()  # an override is leave and not knowledge
    go = compiled(text, IN_SESSION).truth(patient)
    stop = compiled(text, IN_SESSION, "stop").truth(patient)

    assert go is None or go is stop


def without_doubt(patient: Patient) -> Iterator[Patient]:
    """The same patient, each time one doubt better known; no known value is changed."""
    for n, one in enumerate(patient.recorded):
        better: list[Observation] = []
        if not one.signed:
            better.append(replace(one, signed=True))
        if one.valid_until is not None:
            better.append(replace(one, valid_until=None))
        better.extend(
            replace(one, values=one.values | {name: value})
            for name, value in (("systolic", 150), ("total", 5), ("taken", "1"), ("settled", True))
            if one.values.get(name, 0) is None
        )
        for new in better:
            recorded = [*patient.recorded[:n], new, *patient.recorded[n + 1 :]]
            yield evolve(patient, recorded=recorded)
    if "nad" not in patient.consents:
        yield evolve(patient, consents={"nad": ("given", None)})
    if patient.admitted is None:
        yield evolve(patient, admitted=date(2026, 3, 1))


@given(texts([c for c in CONDITIONS if "recorded" not in c]), patients())
def test_to_know_more_never_turns_what_was_known_already(text: str, patient: Patient) -> None:
    test = compiled(text, IN_SESSION)
    known = test.truth(patient)

    for better in without_doubt(patient):
        assert known is None or test.truth(better) is known


@given(texts(), patients())
def test_what_is_seen_and_what_is_judged_agree_on_what_is_known(
    text: str, patient: Patient
) -> None:
    for side in ("go", "stop"):
        for leaf in leaves(compiled(text, IN_SESSION, side).tree):
            if isinstance(leaf, Is):
                seen = look(leaf.fact, patient, side)
                assert (judge(leaf, side)(patient) is None) == (seen.state != "known")
            if isinstance(leaf, Recorded) and side == "stop":
                assert judge(leaf, side)(patient) is not None
