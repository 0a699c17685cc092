"""Patients and gates at random, for what must hold of every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from gate_cases import FORMS, NOW, PLACES, Patient, ago, reading
from hypothesis import strategies as st

from kat_workflow.program.clock import Site
from kat_workflow.program.forms import Observation, Raw

CONDITIONS = [
    "always",
    "pressure_allows",
    "calm",
    "ready",
    "vitals.systolic < high_systolic",
    "baseline.systolic >= 24 kPa",
    "watch.systolic - watch.diastolic > 40 mmHg",
    "vitals.systolic > vitals.diastolic",
    "vitals.settled is yes",
    "vitals.settled is not recorded",
    "ward_round.settled is no",
    "intake.substance is alcohol",
    "intake.substances has not opioid",
    "intake.last_use < intake.first_use",
    "intake.note is recorded",
    "laboratory.potassium > 3.5 mmol/L",
    "laboratory.clean is yes",
    "age of laboratory.potassium < 20 h",
    "age of vitals.systolic <= 2 h",
    "ciwa_ar.total_band is severe",
    "last 2 of ciwa_ar.total < settled_ciwa",
    "last 2 of laboratory.potassium > 3.5 mmol/L",
    "every ciwa_ar.total of last calm_time < 8 points",
    "every watch.systolic of last 2 h < high_systolic",
    "any ciwa_ar.total of last 2 d >= 8 points",
    "any vitals.systolic of last 3 h > vitals.diastolic",
    "ever ciwa_ar.total > 20 points",
    "ever vitals.symptoms has nausea",
    "total of drinks.taken within 6 h > 1 mL",
    "total of drinks.taken within 1 d <= 0 mL",
    "drinks_check.taken < 1 mL",
    "nad_consent is declined",
    "consent nad in force",
    "count of nad_infusion held >= 2",
    "given > 0 mg",
    "round >= 2",
    "program day >= 3",
    "program day != 4",
    "time since intake.last_use >= danger_time",
    "time since intake.last_use < 4 d",
    "time since intake.born > 1 wk",
    "time since entering = 26 h",
    "time since entering stay - time since nad_infusion dosed > 1 h",
    "2 * time since entering stay - time since nad_infusion dosed > 90 h",
    "100 h - time since intake_evaluation done >= 30 min",
]


def texts(conditions: Sequence[str] = CONDITIONS) -> st.SearchStrategy[str]:
    """Gates of a few conditions, for use inside the infusion."""
    one = st.sampled_from(conditions)
    return st.recursive(
        one,
        lambda inner: st.one_of(
            inner.map("not ({})".format),
            st.lists(inner, min_size=2, max_size=3).map(
                lambda parts: " and ".join(f"({part})" for part in parts)
            ),
            st.lists(inner, min_size=2, max_size=3).map(
                lambda parts: " or ".join(f"({part})" for part in parts)
            ),
        ),
        max_leaves=4,
    )


_minutes = st.integers(0, 5 * 24 * 60) | st.sampled_from([0, 60, 120, 180, 1440, 1560, 2880])
_times = _minutes.map(lambda minutes: NOW - timedelta(minutes=minutes))
_answers: dict[str, dict[str, st.SearchStrategy[Raw]]] = {
    "vitals": {
        "systolic": st.sampled_from([None, 120, 180, 200]),
        "diastolic": st.sampled_from([None, 80, 180]),
        "settled": st.sampled_from([None, True, False]),
        "symptoms": st.sampled_from([None, [], ["nausea"]]),
    },
    "ciwa_ar": {
        "total": st.sampled_from([None, 3, 8, 21]),
        "total_band": st.sampled_from([None, "mild", "severe"]),
    },
    "intake": {
        "substance": st.sampled_from([None, "alcohol", "opioid"]),
        "substances": st.sampled_from([None, ["alcohol"], ["alcohol", "opioid"]]),
        "last_use": st.none() | _times.map(lambda t: t.isoformat()),
        "first_use": st.none() | _times.map(lambda t: t.isoformat()),
        "born": st.sampled_from([None, "1990-01-01", "2026-03-01"]),
        "note": st.sampled_from([None, "as told"]),
    },
    "laboratory": {
        "potassium": st.sampled_from([None, "3.1", "4.0"]),
        "clean": st.sampled_from([None, True, False]),
    },
    "drinks": {"taken": st.sampled_from([None, "0", "0.5", "500"])},
}
_steps = {
    "vitals": ("baseline", "ward_round", "line_check", "nad_infusion.watch", ""),
    "ciwa_ar": ("alcohol_check",),
    "intake": ("intake_evaluation",),
    "laboratory": ("bloods",),
    "drinks": ("drinks_check",),
}


@st.composite
def recordings(draw: st.DrawFn) -> Observation:
    form = draw(st.sampled_from(sorted(_answers)))
    values = {name: draw(raws) for name, raws in _answers[form].items() if draw(st.booleans())}
    elsewhere = draw(st.sampled_from([None, None, None, "stay.1/day.2", "", "stay.1/day.30"]))
    return reading(
        form,
        (NOW - draw(_times)) / timedelta(hours=1),
        step=draw(st.sampled_from(_steps[form])),
        place=elsewhere,
        signed=draw(st.sampled_from([True, True, True, False])),
        valid_hours=draw(st.sampled_from([3, 24, 50])) if FORMS[form].valid_for else None,
        **values,
    )


def _some(names: Sequence[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names), values)


@st.composite
def patients(draw: st.DrawFn) -> Patient:
    """Anything a patient's record may say, consistent or not."""
    outcomes = st.sampled_from(["done", "declined", "skipped"])
    places = st.sampled_from([*PLACES.values(), "stay.1/day.2", ""])
    return Patient(
        site=Site(zone=draw(st.sampled_from(["UTC", "America/Phoenix", "Europe/Berlin"]))),
        admitted=draw(st.sampled_from([None, ago(72).date(), ago(24).date()])),
        recorded=draw(st.lists(recordings(), max_size=8)),
        places={name: place for name, place in PLACES.items() if draw(st.integers(0, 9)) != 0},
        settlements=draw(
            _some(
                ["nad_consent", "intake_evaluation", "drinks_check"],
                st.tuples(outcomes, _times, places),
            )
        ),
        tallies=draw(_some(["nad_infusion:held"], st.integers(0, 3))),
        instants=draw(_some(["nad_infusion:dosed", "nad_infusion:started"], _times)),
        amounts=draw(_some([PLACES["nad_infusion"]], st.sampled_from(["0", "1.5"]))),
        consents=draw(
            _some(
                ["nad"],
                st.tuples(
                    st.sampled_from(["given", "given", "declined", "revoked"]),
                    st.none() | st.integers(-60, 600).map(lambda m: NOW + timedelta(minutes=m)),
                ),
            )
        ),
        entries=draw(_some(["stay", "day"], _times)),
        rounds=draw(_some(["day"], st.integers(1, 4))),
        overrides=draw(st.sets(st.sampled_from(["pressure_allows"]))),
    )
