"""A small program built by hand, with every construct that a protocol or a drawing shows.

It is made from the model alone, so that what it says does not depend on the file language.
"""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal

from attrs import evolve, frozen

from kat_workflow.errors import Clause
from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import Band, Field, Form, Score
from kat_workflow.program.gates import Facts
from kat_workflow.program.model import (
    AfterRule,
    Alert,
    Anchor,
    Cadence,
    Consent,
    DoseRule,
    End,
    Gate,
    Lateness,
    Limit,
    NeverRule,
    Override,
    Phase,
    Program,
    Release,
    Repeat,
    Row,
    SessionKind,
    SessionRule,
    Source,
    Spacing,
    Step,
    Watch,
)


@frozen(eq=False)
class Says:
    """A test that is only read, never judged."""

    text: str

    def truth(self, facts: Facts) -> bool | None:
        raise NotImplementedError

    def explain(self, facts: Facts) -> tuple[Clause, ...]:
        raise NotImplementedError

    def turns_at(self, facts: Facts) -> datetime | None:
        raise NotImplementedError


def minutes(amount: int) -> Duration:
    return Duration(amount, "min")


def hours(amount: int) -> Duration:
    return Duration(amount, "h")


NURSE, DOCTOR = ("nurse",), ("prescriber",)

FORMS = (
    Form(
        "intake",
        "Intake",
        {
            "substance": Field(
                "substance", "Substance", "choice", options={"alcohol": "Alcohol", "opioid": "Opioids"}
            ),
            "last_use": Field("last_use", "Last use", "instant"),
            "pregnant": Field("pregnant", "Is the patient pregnant?", "yes_no"),
        },
    ),
    Form(
        "ciwa_ar",
        "CIWA-Ar",
        {
            "nausea": Field("nausea", "Nausea", "integer", low=Decimal(0), high=Decimal(7)),
            "tremor": Field("tremor", "Tremor", "integer", low=Decimal(0), high=Decimal(7)),
        },
        (
            Score(
                "total",
                "CIWA-Ar total",
                ("nausea", "tremor"),
                bands=(Band(Decimal(0), "mild", "Mild"), Band(Decimal(8), "severe", "Severe")),
            ),
        ),
        version="1989",
        answered_by="clinician",
    ),
    Form(
        "vitals",
        "Vitals",
        {
            "systolic": Field(
                "systolic",
                "Systolic pressure",
                "integer",
                "mmHg",
                low=Decimal(50),
                high=Decimal(300),
            ),
            "symptoms": Field(
                "symptoms",
                "Symptoms",
                "choices",
                options={"chest_tightness": "Chest tightness"},
                required=False,
                may_be=frozenset({"refused"}),
            ),
        },
    ),
)

STEPS = (
    Step(
        "intake_evaluation",
        "Intake evaluation",
        "screening",
        "phase",
        DOCTOR,
        form="intake",
        signed=True,
        cosigned_by=NURSE,
        due=hours(24),
        when_late=Lateness(DOCTOR, hours(1)),
    ),
    Step(
        "agree",
        "Consent to NAD+",
        "screening",
        "phase",
        DOCTOR,
        consent="nad",
        after=("intake_evaluation",),
        may_be=frozenset({"declined"}),
    ),
    Step(
        "alcohol_check",
        "Alcohol check",
        "stay",
        "phase",
        NURSE,
        form="ciwa_ar",
        only_if=Says("intake.substance is alcohol"),
        on_hold="runs",
        source="ccjm",
        every=(
            Cadence(hours(8), when=Says("last 6 of ciwa_ar.total < settled_ciwa")),
            Cadence(hours(2), when=Says("always")),
        ),
        alerts=(
            Alert(
                "alcohol_check.alert_1",
                "Severe withdrawal",
                Says("ciwa_ar.total >= severe_ciwa"),
                DOCTOR,
                minutes(15),
            ),
        ),
    ),
    Step("baseline", "Baseline", "day", "phase", NURSE, form="vitals"),
    Step(
        "infusion",
        "Infusion",
        "day",
        "phase",
        NURSE,
        session="nad_infusion",
        after=("baseline",),
        may_be=frozenset({"declined", "withheld"}),
    ),
    Step(
        "talk",
        "Counselling",
        "counselling",
        "phase",
        NURSE,
        required=False,
        on_day=2,
        at=time(9),
        different_person_from=("baseline",),
    ),
    Step("group", "Group", "evenings", "phase", NURSE, every=(Cadence(daily_at=(time(18),)),)),
    Step(
        "nad_infusion.watch",
        "Readings",
        "nad_infusion",
        "session",
        NURSE,
        form="vitals",
        part="watch",
    ),
    Step("meal", "Shared meal", "nad_infusion", "session", NURSE, part="after"),
    Step(
        "naloxone",
        "Naloxone kit",
        "",
        "leaving",
        NURSE,
        counted_from=Anchor("session", "nad_infusion", "released"),
        due=hours(1),
        closes=hours(24),
    ),
)

STAY = ("care", "stay")
PHASES = (
    Phase(
        "screening",
        "Screening",
        "leaf",
        ("screening",),
        "",
        steps=("intake_evaluation", "agree"),
        at_once=(Row("screening.1", "redirected", "end", Says("unsafe_here"), at_once=True),),
        next=(
            Row("screening.2", "care", "phase", Says("nad_consented")),
            Row("screening.3", "redirected", "end", Says("always")),
        ),
    ),
    Phase(
        "care",
        "Care",
        "tracks",
        ("care",),
        "",
        ("stay", "counselling"),
        admits=True,
        next=(
            Row("care.1", "screening", "phase", Says("intake.pregnant is yes"), says="Look again"),
            Row("care.2", "home", "end", Says("settled")),
        ),
        decided_by=DOCTOR,
    ),
    Phase(
        "stay",
        "Withdrawal",
        "sequence",
        STAY,
        "stay",
        ("day", "evenings"),
        "day",
        steps=("alcohol_check",),
    ),
    Phase(
        "day",
        "Day",
        "leaf",
        (*STAY, "day"),
        "stay",
        steps=("baseline", "infusion"),
        repeat=Repeat(2, 4, Says("settled"), "program day"),
        next=(Row("day.1", "evenings", "phase", Says("always")),),
    ),
    Phase(
        "evenings",
        "Evenings",
        "leaf",
        (*STAY, "evenings"),
        "stay",
        steps=("group",),
        next=(Row("evenings.1", "", "finish", Says("always")),),
    ),
    Phase(
        "counselling",
        "Counselling",
        "leaf",
        ("care", "counselling"),
        "counselling",
        steps=("talk",),
        required=False,
    ),
    Phase(
        "hospital",
        "Hospital",
        "leaf",
        ("hospital",),
        "excursion",
        excursion=True,
        by=DOCTOR,
        next=(Row("hospital.1", "", "back", Says("always")),),
    ),
)

INFUSION = SessionKind(
    "nad_infusion",
    "NAD+ infusion",
    ready=(Says("nad_consented"), Says("pressure_allows")),
    present=("nurse", "prescriber"),
    steps=("nad_infusion.watch", "meal"),
    after=("meal",),
    dose=DoseRule(
        "NAD+",
        "intravenous",
        "mg",
        Decimal(500),
        most=Decimal(750),
        rate_unit="mg/h",
        rate_from=Decimal(100),
        rate_to=Decimal(200),
    ),
    at_most=Spacing(1, "program day"),
    apart=hours(20),
    watch=Watch(
        "nad_infusion.watch",
        (minutes(0), minutes(15), minutes(30)),
        minutes(30),
        minutes(10),
    ),
    pause_when=(
        SessionRule("p1", "Chest tightness", Says("watch.symptoms has chest_tightness"), DOCTOR),
    ),
    stop_when=(SessionRule("s1", "Pressure too high", Says("watch.systolic > high_systolic")),),
    release=Release(minutes(30), Says("watch.systolic < high_systolic"), NURSE),
    counts_when=Says("given > 0 mg"),
    no_show_after=minutes(30),
    by=NURSE,
    source="practice",
)

DETOX = Program(
    id="short-detox",
    version="1.0.0",
    title="Short detox",
    about="Two to four days of withdrawal monitoring.",
    digest="0123456789abcdef" * 4,
    files={},
    start="screening",
    roles={"nurse": "Registered nurse", "prescriber": "Prescribing clinician"},
    sources={
        "ccjm": Source("ccjm", "Hospital order set", "A", "https://www.ccjm.org"),
        "practice": Source("practice", "Clinic practice", "C"),
    },
    consents={"nad": Consent("nad", "NAD+ infusions", lasts=Duration(30, "d"))},
    forms={form.name: form for form in FORMS},
    limits={
        "settled_ciwa": Limit("settled_ciwa", Decimal(8), "points", "ccjm"),
        "severe_ciwa": Limit("severe_ciwa", Decimal(20), "points", "ccjm", "Think of hospital."),
        "high_systolic": Limit("high_systolic", Decimal(180), "mmHg", "practice"),
        "calm_time": Limit("calm_time", Decimal(24), "h", "practice"),
    },
    gates={
        "unsafe_here": Gate(
            "unsafe_here", "Withdrawal is not safe here", "intake.pregnant is yes"
        ),
        "nad_consented": Gate(
            "nad_consented", "Consent to NAD+ is in force", "consent nad in force"
        ),
        "pressure_allows": Gate(
            "pressure_allows",
            "The pressure allows an infusion",
            "baseline.systolic < high_systolic",
            Override(DOCTOR, hours(4)),
        ),
        "settled": Gate(
            "settled",
            "Withdrawal has settled",
            "every ciwa_ar.total of last calm_time < settled_ciwa "
            "and time since intake.last_use >= 96 h",
        ),
    },
    phases={phase.name: phase for phase in PHASES},
    steps={step.name: step for step in STEPS},
    sessions={"nad_infusion": INFUSION},
    ends={
        "home": End("home", "Home", "completed", ("naloxone",)),
        "redirected": End("redirected", "Redirected", "not_eligible"),
        "died": End("died", "Died", "died", by=DOCTOR, declared=False),
    },
    never=(NeverRule("never_1", "nad_infusion", Says("nad_consented")),),
    always_after=(
        AfterRule("after_1", ("nad_infusion", "given"), ("nad_infusion", "released"), hours(4)),
    ),
    always_possible=("home",),
    decided_by=DOCTOR,
    hold_by=("nurse", "prescriber"),
)


def with_phase(name: str, **changes: object) -> Program:
    """The program with one phase changed."""
    return evolve(DETOX, phases={**DETOX.phases, name: evolve(DETOX.phases[name], **changes)})
