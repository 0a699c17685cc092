"""A clinic to try gates in: its words, and a patient whose facts are written down by hand.

The clinic holds a screening, a stay of days with an infusion each, and a contained program
`taper`, so that every kind of name and every scope occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import Factory, define

from kat_workflow.program.clock import Duration, Site
from kat_workflow.program.forms import Band, Field, Form, Observation, Score
from kat_workflow.program.gates import (
    Context,
    Problem,
    SessionInfo,
    StepInfo,
    Test,
    Vocabulary,
    compile_test,
)
from kat_workflow.program.model import Gate, Limit, Override
from kat_workflow.program.truth import Side

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)

INTAKE = Form(
    "intake",
    "Intake",
    {
        "substance": Field(
            "substance", "Main substance", "choice", options={"alcohol": "Alcohol", "opioid": ""}
        ),
        "substances": Field(
            "substances",
            "All substances",
            "choices",
            options={"alcohol": "Alcohol", "opioid": "Opioids", "stimulant": "Stimulants"},
        ),
        "pregnant": Field("pregnant", "Pregnant", "yes_no"),
        "last_use": Field("last_use", "Last use", "instant"),
        "first_use": Field("first_use", "First use", "instant"),
        "born": Field("born", "Date of birth", "date"),
        "moved": Field("moved", "Date of moving in", "date"),
        "note": Field("note", "Note", "text"),
        "pawss": Field("pawss", "PAWSS", "integer", unit="points"),
        "children": Field("children", "Children", "integer"),
        "sleep": Field("sleep", "Sleep", "duration"),
        "odd": Field("odd", "Odd", "integer", unit="sheep"),
    },
)
VITALS = Form(
    "vitals",
    "Vitals",
    {
        "systolic": Field("systolic", "Systolic pressure", "integer", unit="mmHg"),
        "diastolic": Field("diastolic", "Diastolic pressure", "integer", unit="mmHg"),
        "pulse": Field("pulse", "Pulse", "integer", unit="/min"),
        "temperature": Field("temperature", "Temperature", "decimal", unit="Cel"),
        "weight": Field("weight", "", "decimal", unit="kg"),
        "symptoms": Field(
            "symptoms", "Symptoms", "choices", options={"chest_tightness": "", "nausea": "Nausea"}
        ),
        "settled": Field("settled", "Settled", "yes_no"),
    },
    any_time=True,
)
CIWA = Form(
    "ciwa_ar",
    "CIWA-Ar",
    {"tremor": Field("tremor", "Tremor", "integer")},
    computed=(
        Score(
            "total",
            "CIWA-Ar total",
            ("tremor",),
            bands=(Band(Decimal(0), "mild", "Mild"), Band(Decimal(8), "severe", "Severe")),
        ),
        Score("plain", "Without bands", ("tremor",)),
    ),
)
LABORATORY = Form(
    "laboratory",
    "Laboratory",
    {
        "potassium": Field("potassium", "Potassium", "decimal", unit="mmol/L"),
        "clean": Field("clean", "Urine without drugs", "yes_no"),
    },
    valid_for="24 h",
)
DRINKS = Form("drinks", "Drinks", {"taken": Field("taken", "Taken", "decimal", unit="mL")})
UNUSED = Form("unused", "Unused", {"x": Field("x", "X", "integer")})
SIGNS = Field("signs", "Signs", "choices", options={"rash": "Rash", "fever": "Fever"})
EVENT = Form(
    "event",
    "Event",
    {
        "grave": Field("grave", "Grave", "yes_no"),
        "signs": Field("signs", "Signs", "choices", options={"rash": "Rash", "fever": "Fever"}),
    },
    any_time=True,
)
FORMS = {form.name: form for form in (INTAKE, VITALS, CIWA, LABORATORY, DRINKS, UNUSED, EVENT)}

STAY, DAY = ("stay",), ("stay", "day")
MAY_BE = frozenset({"declined", "skipped"})
STEPS = {
    step.name: step
    for step in (
        StepInfo("intake_evaluation", "intake", ("screening",), signed=True),
        StepInfo("nad_consent", consent="nad", path=("screening",), outcomes=MAY_BE),
        StepInfo("bloods", "laboratory", ("screening",)),
        StepInfo(
            "pregnancy_check",
            "event",
            ("screening",),
            outcomes=MAY_BE | {"unable"},
            if_skipped={"grave": "no", "signs": "rash"},
        ),
        StepInfo("alcohol_check", "ciwa_ar", STAY, outcomes=frozenset({"missed"})),
        StepInfo("baseline", "vitals", DAY),
        StepInfo("ward_round", "vitals", STAY),
        StepInfo("drinks_check", "drinks", DAY, outcomes=MAY_BE, if_skipped={"taken": "0"}),
        StepInfo("infusion", path=DAY, holds="nad_infusion", outcomes=MAY_BE),
        StepInfo("line_check", "vitals", session="nad_infusion"),
        StepInfo("nad_infusion.watch", "vitals", session="nad_infusion"),
        StepInfo("taper.baseline", "vitals", ("taper",)),
        StepInfo("talk", session="talk"),
        StepInfo("talking", path=("screening",), holds="talk"),
    )
}
SESSIONS = {
    "nad_infusion": SessionInfo(
        "nad_infusion", "mg", "nad_infusion.watch", ("line_check", "nad_infusion.watch"), DAY
    ),
    "talk": SessionInfo("talk", steps=("talk",)),
}
LIMITS = {
    limit.name: limit
    for limit in (
        Limit("high_systolic", Decimal(180), "mmHg"),
        Limit("settled_ciwa", Decimal(8), "points"),
        Limit("calm_time", Decimal(24), "h"),
        Limit("danger_time", Decimal(96), "h"),
        Limit("some_days", Decimal(3), "d"),
        Limit("fever", Decimal("38.5"), "Cel"),
        Limit("bare", Decimal(3), ""),
        Limit("odd_limit", Decimal(3), "sheep"),
        Limit("taper.high_systolic", Decimal(160), "mmHg"),
    )
}
GATES = {
    gate.name: gate
    for gate in (
        Gate(
            "pressure_allows",
            "The blood pressure allows an infusion",
            "vitals.systolic < high_systolic",
            Override(("prescriber", "attending_nurse"), Duration(4, "h")),
        ),
        Gate(
            "calm",
            "Withdrawal has settled",
            "every ciwa_ar.total of last calm_time < settled_ciwa "
            "and time since intake.last_use >= danger_time",
        ),
        Gate("ready", "All is ready", "pressure_allows and (calm or intake.substance is opioid)"),
        Gate("forever", "Whatever happens", "always or pressure_allows"),
        Gate("broken", "Broken", "vitals.sistolic < high_systolic and vitals.pulse < 100"),
        Gate("around", "Around", "vitals.pulse < 100 /min and and_around"),
        Gate("and_around", "And around", "not around"),
        Gate("watched", "Watched", "watch.pulse < 100 /min"),
        Gate("on_broken", "On a broken one", "broken or calm"),
        Gate("taper.pressure_allows", "Pressure allows", "baseline.systolic < high_systolic"),
        Gate("taper.fine", "Fine", "pressure_allows and calm"),
    )
}
VOCABULARY = Vocabulary(
    FORMS,
    STEPS,
    SESSIONS,
    LIMITS,
    GATES,
    ("nad", "ketamine"),
    {"screening": ("screening",), "stay": STAY, "day": DAY, "taper": ("taper",)},
    ("day",),
)
WHOLE = Context()
IN_STAY = Context(STAY)
IN_DAY = Context(DAY)
IN_SESSION = Context(DAY, "nad_infusion")
IN_TAPER = Context(("taper",), prefix="taper")
PLACES = {
    "screening": "screening.1",
    "stay": "stay.1",
    "day": "stay.1/day.3",
    "nad_infusion": "stay.1/day.3/nad_infusion.3",
}


@define
class Patient:
    """One enrollment's facts, as a gate may read them."""

    now: datetime = NOW
    site: Site = Factory(Site)
    admitted: date | None = date(2026, 3, 3)
    recorded: list[Observation] = Factory(list)
    places: dict[str, str] = Factory(lambda: dict(PLACES))
    settlements: dict[str, tuple[str, datetime, str]] = Factory(dict)
    tallies: dict[str, int] = Factory(dict)
    instants: dict[str, datetime] = Factory(dict)
    amounts: dict[str, str] = Factory(dict)
    consents: dict[str, tuple[str, datetime | None]] = Factory(dict)
    entries: dict[str, datetime] = Factory(dict)
    rounds: dict[str, int] = Factory(dict)
    overrides: set[str] = Factory(set)

    def readings(self, form: str) -> Sequence[Observation]:
        return sorted((o for o in self.recorded if o.form == form), key=lambda o: o.occurred)

    def where(self, scope: str) -> str | None:
        return self.places.get(scope)

    def settled(self, step: str) -> tuple[str, datetime, str] | None:
        return self.settlements.get(step)

    def tally(self, what: str) -> int:
        return self.tallies.get(what, 0)

    def session_instant(self, kind: str, event: str) -> datetime | None:
        return self.instants.get(f"{kind}:{event}")

    def given(self, kind: str, scope: str | None) -> str | None:
        return self.amounts.get(scope or "")

    def consent(self, name: str) -> tuple[str, datetime | None] | None:
        return self.consents.get(name)

    def entered(self, phase: str) -> datetime | None:
        return self.entries.get(phase)

    def round(self, phase: str) -> int | None:
        return self.rounds.get(phase)

    def overridden(self, gate: str) -> bool:
        return gate in self.overrides


_STEP_OF = {"vitals": "baseline", "ciwa_ar": "alcohol_check", "intake": "intake_evaluation",
            "laboratory": "bloods", "drinks": "drinks_check", "event": ""}  # fmt: skip
_PLACE_OF = {
    "baseline": "stay.1/day.3",
    "ward_round": "stay.1",
    "alcohol_check": "stay.1",
    "drinks_check": "stay.1/day.3",
    "line_check": "stay.1/day.3/nad_infusion.3",
    "nad_infusion.watch": "stay.1/day.3/nad_infusion.3",
    "intake_evaluation": "screening.1",
    "bloods": "screening.1",
    "": "",
}


def reading(
    form: str,
    hours_ago: float = 1,
    /,
    *,
    step: str | None = None,
    place: str | None = None,
    signed: bool = True,
    valid_hours: float | None = None,
    **values: Any,
) -> Observation:
    """A recording so many hours before NOW, by the form's usual step and in its usual place."""
    step = _STEP_OF[form] if step is None else step
    occurred = NOW - timedelta(hours=hours_ago)
    return Observation(
        id=f"{form}@{hours_ago:g}",
        form=form,
        step=step,
        place=_PLACE_OF[step] if place is None else place,
        values=values,
        occurred=occurred,
        recorded=occurred,
        signed=signed,
        valid_until=None if valid_hours is None else occurred + timedelta(hours=valid_hours),
    )


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def compiled(text: str, context: Context = IN_DAY, side: Side = "go") -> Test:
    """The test of a text that is known to be right."""
    place = Context(context.path, context.session, side, context.prefix)
    test, problems = compile_test(text, VOCABULARY, place)
    assert test is not None, problems
    assert not problems
    return test


def problems(text: str, context: Context = IN_DAY) -> tuple[Problem, ...]:
    """Everything that is wrong with a text, which must be something."""
    test, found = compile_test(text, VOCABULARY, context)
    assert test is None
    assert found
    return found
