"""The workload: one patient, day by day, through the 30-day program that ships.

A fixed script, the same in every run: application, a wait for no bed, admission, a stabilisation
without drugs to taper, days, weeks with their instruments, one ketamine session, discharge and the
calls afterwards. Four of the commands are refused, as they are in a clinic. What nobody records in
time is missed by a timer, and those timers are decisions as well: they are run, timed and counted.

`SCRIPT` is the only place that knows the program; `plan` makes commands of it, `walk` runs them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.commands import Act, Actor, Command, Enroll, parse
from kat_workflow.enrollment.decide import Behind, Decision, catch_up, decide, elapse
from kat_workflow.enrollment.state import NOBODY, Enrollment
from kat_workflow.errors import Refusal
from kat_workflow.program.clock import Site
from kat_workflow.program.model import Program

PROGRAM = "residential-30-day"
SITE = Site("main", "America/Denver")
ADMITTED = date(2026, 3, 2)

TEAM = {
    name: Actor(name, roles)
    for name, *roles in (
        ("nora", "nurse"),
        ("pia", "nurse_practitioner"),
        ("nils", "naturopathic_doctor"),
        ("paul", "prescriber"),
        ("tess", "therapist"),
        ("cora", "counselor"),
    )
}


def _items(count: int, score: int) -> dict[str, int]:
    return {f"item_{number}": score for number in range(1, count + 1)}


VITALS = {"systolic": 128, "diastolic": 82, "pulse": 76, "temperature": "36.8"}
NO_RISK = {"q1": "no", "q2": "no", "q6": "no"}
NOTE = {"themes": "Family", "plan": "A call on Sunday", "worse": "no"}
PHQ9 = _items(8, 1) | {"item_9": 0}
GAD7 = _items(7, 1)
PCL5 = _items(20, 1)
BAM = _items(17, 1) | {"item_7": "none", "item_14": 4}
PLAN = {"home": "With her sister", "care": "Clinic, in a week", "medication": "None", "firm": "no"}
WATCH = {
    "systolic": 134,
    "diastolic": 84,
    "pulse": 82,
    "oxygen": 97,
    "breaths": 14,
    "alertness": 4,
    "symptoms": [],
}
MORNING = {"slept": "well", "mood": "Calm"}
EVENING = {"words": "A long walk"}
GROUPS = {"attended": "all_groups"}
CALLED = {"reached": "reached", "days_used": 0}
APPLICATION = {"problem": "Cocaine", "goals": "Sleep", "setting_fits": "yes", "decision": "accept"}
EXAM = {
    "findings": "Underweight",
    "medicines": "None",
    "withdrawal_expected": "yes",
    "level_of_care": "l3_7",
}
INTAKE = {
    "substances": ["stimulant"],
    "seizure_or_delirium": "no",
    "unstable": "no",
    "could_be_pregnant": "no",
    "medicines": "None",
}
TESTS = {"blood": "acceptable", "ecg": "acceptable", "urine_screen": "Cocaine"}
ADMITS = {"decision": "admit", "reason": "Safe here"}
MEDICINES = {"standing": "None", "as_needed": "Melatonin", "thiamine": "yes"}
EVALUATION = {
    "substance": "stimulant",
    "last_use": "2026-02-27T20:00:00Z",
    "exclusion": "none",
    "concern": "none",
    "could_be_pregnant": "no",
    "medicines": "None",
    "hopes": "To stop",
}
APPROVAL = {"decision": "approve", "reason": "Nothing against it"}
CHECK_IN = {"unwanted": "None", "urinary": "no", "new_reason": "no", "used": "no"}
ORDER = {"amount": "0.7 mg/kg", "rate": "75 mg/h"}  # 71.5 kg: 50 mg
READY = {
    "identity": "yes",
    "last_meal": "2026-03-12T20:00:00-06:00",
    "last_fluid": "2026-03-13T06:00:00-06:00",
    "breath_alcohol": 0,
    "drug_screen": "clear",
    "medicines_changed": "no",
    "way_back": "yes",
}
VIAL = {"lot": "K12", "supplier": "Pharmacy", "use_by": "2027-01-31", "sterile": "yes"}
PRESENT = {"present": ["therapist"]}
WATCHED = ("09:34", "09:43", "09:53", "10:03", "10:13")
WATCHED_AFTER = ("10:23", "10:38", "10:53", "11:08", "11:23")
RECOVERED = dict.fromkeys(("activity", "respiration", "circulation", "consciousness", "oxygen"), 2)
LEAVES = dict.fromkeys(
    ("pressure_back", "oriented", "steady", "drinks", "safe", "instructed"), "yes"
)
SAFETY = {"warning_signs": "No sleep", "what_helps": "Walks", "whom_to_call": "Her sister"}
CONTACTS = {"phone": "By post", "next_contact": "2026-03-30T16:00:00Z", "told_risk": "yes"}
GOES_ON = {"summary": "Settling in", "decision": "go_on"}


class Line(Struct, frozen=True):
    """One line of the script. `refused` is the code of the reason it must be refused for."""

    day: int
    clock: str
    who: str
    phrase: str
    given: dict[str, Any] = {}
    refused: str = ""
    signed: bool = True


def _week(day: int, hour: str, decision: dict[str, str]) -> tuple[Line, ...]:
    """The last two days of a week: therapy, the instruments, the team's review."""
    return (
        Line(day - 1, "10:00", "tess", "record individual_therapy", NOTE),
        Line(day - 1, "11:00", "tess", "record mood", PHQ9),
        Line(day - 1, "11:05", "tess", "record anxiety", GAD7),
        Line(day - 1, "11:10", "tess", "decline trauma", {"reason": "Not today"}),
        Line(day - 1, "11:20", "cora", "record addiction", BAM),
        Line(day, f"{hour}:00", "tess", "record weekly_review", decision),
        Line(day, f"{hour}:10", "pia", "cosign weekly_review"),
    )


def _check_up(day: int, hour: str = "08") -> tuple[Line, ...]:
    """A day of stabilisation, but for the vital signs that a timer finds missed."""
    return (
        Line(day, f"{hour}:40", "nora", "record stabilisation.baseline", VITALS),
        Line(day, f"{hour}:45", "nora", "record stabilisation.craving_score", {"score": 5}),
    )


SCRIPT: tuple[Line, ...] = (
    # Application and admission.
    Line(1, "09:00", "cora", "enroll"),
    Line(1, "09:20", "tess", "record application", APPLICATION, "wrong-role"),
    Line(1, "09:30", "cora", "record application", APPLICATION),
    Line(1, "10:00", "nora", "record first_vitals", VITALS),
    Line(1, "10:05", "nora", "done residence_consent"),
    Line(1, "10:06", "nora", "decline telling_consent", {"reason": "Not now"}),
    Line(1, "10:20", "nora", "record suicide_screen", NO_RISK),
    Line(1, "10:40", "cora", "record belongings", {"list": "A bag", "medicines_locked": "yes"}),
    Line(1, "11:00", "pia", "record examination", EXAM),
    # Stabilisation: four days, without alcohol, opioids or NAD+.
    Line(1, "11:20", "pia", "record stabilisation.intake_evaluation", INTAKE),
    Line(1, "11:30", "pia", "record stabilisation.tests", TESTS),
    Line(1, "11:40", "pia", "record stabilisation.suicide_screen", NO_RISK),
    Line(1, "11:45", "pia", "done stabilisation.treatment_consent"),
    Line(1, "11:46", "pia", "decline stabilisation.nad_consent", {"reason": "Does not want it"}),
    Line(1, "11:50", "pia", "record stabilisation.admission", ADMITS),
    Line(1, "12:30", "paul", "record stabilisation.withdrawal_medicines", MEDICINES),
    *_check_up(1, "13"),
    *_check_up(2),
    *_check_up(3),
    *_check_up(4),
    Line(4, "10:00", "pia", "record stabilisation.review", {"ready": "yes", "summary": "Quiet"}),
    Line(4, "10:05", "paul", "decline stabilisation.medication", {"reason": "None exists"}),
    Line(4, "10:10", "cora", "decline stabilisation.next_step_of_care", {"reason": "Stays here"}),
    # Days and weeks.
    Line(4, "15:00", "tess", "record treatment_plan", {"goals": "Sleep", "means": "Groups"}),
    Line(4, "17:00", "pia", "cosign treatment_plan"),
    Line(5, "07:30", "cora", "record morning_check", MORNING),
    Line(5, "17:00", "cora", "record groups", GROUPS),
    Line(5, "20:00", "cora", "record evening_reflection", EVENING),
    Line(7, "07:30", "cora", "record morning_check", MORNING),
    Line(7, "10:00", "cora", "record first_plan", PLAN),
    Line(7, "11:00", "tess", "record ketamine_talk", {"bonded": "yes", "wanted": "yes"}),
    # Ketamine: two evaluations, consent, preparation.
    Line(8, "09:00", "pia", "record kat.intake_evaluation", EVALUATION),
    Line(8, "09:10", "nora", "record kat.evaluation_vitals", VITALS),
    Line(8, "09:20", "pia", "record kat.suicide_screen", NO_RISK),
    Line(8, "09:30", "tess", "record kat.mood", PHQ9),
    Line(8, "09:40", "tess", "decline kat.alcohol", {"reason": "Does not drink"}),
    Line(8, "09:41", "tess", "decline kat.drugs", {"reason": "Asked before"}),
    Line(9, "09:00", "nils", "record kat.second_evaluation", APPROVAL),
    Line(9, "09:30", "pia", "done kat.ketamine_consent"),
    *_week(10, "16", GOES_ON),
    Line(10, "18:30", "tess", "record kat.preparation_session", NOTE),
    Line(10, "19:00", "tess", "record kat.ground_rules", {"text": "Read and agreed"}),
    # One session.
    Line(11, "09:00", "nora", "record kat.since_last", CHECK_IN | {"course": "go_on"}),
    Line(11, "09:10", "nora", "record kat.weighing", {"kilograms": "71.5"}),
    Line(11, "09:30", "paul", "order kat.ketamine_order", ORDER),
    Line(12, "09:00", "nora", "arrive kat.kat_session"),
    Line(12, "09:05", "nora", "record kat.arrival_vitals", VITALS),
    Line(12, "09:10", "nora", "record kat.ready_today", READY),
    Line(12, "09:12", "nora", "start kat.kat_session", PRESENT, "steps-open"),
    Line(12, "09:15", "nora", "record kat.vial_check", VIAL),
    Line(12, "09:20", "tess", "record kat.set_intention", {"words": "To look at it"}),
    Line(12, "09:25", "nora", "draw kat.kat_session", {"amount": "50 mg", "lot": "K42"}),
    Line(12, "09:26", "pia", "done lot-unknown"),  # the script stocks no cupboard
    Line(12, "09:27", "paul", "check kat.kat_session"),
    Line(12, "09:28", "nora", "start kat.kat_session", {}, "role-missing"),
    Line(12, "09:30", "nora", "start kat.kat_session", PRESENT),
    Line(12, "09:32", "nora", "dose kat.kat_session", {"rate": "75 mg/h"}),
    *(Line(12, clock, "nora", "record kat.kat_session.watch", WATCH) for clock in WATCHED),
    Line(12, "10:15", "nora", "end dosing kat.kat_session", {"amount": "50 mg"}),
    Line(12, "10:20", "nora", "release kat.kat_session", {}, "too-early"),
    *(Line(12, clock, "nora", "record kat.kat_session.watch", WATCH) for clock in WATCHED_AFTER),
    Line(12, "11:29", "nora", "record kat.meal", {"ate": "well"}),
    Line(12, "11:30", "nora", "record kat.recovery_score", RECOVERED),
    Line(12, "11:35", "nora", "record kat.ready_to_leave", LEAVES),
    Line(12, "11:40", "nora", "release kat.kat_session"),
    Line(13, "10:00", "tess", "record kat.integration", NOTE),
    Line(14, "10:00", "nora", "record kat.since_last", CHECK_IN | {"course": "stop"}),
    Line(14, "11:00", "tess", "decline kat.mood_again", {"reason": "Asked on Tuesday"}),
    Line(14, "12:00", "nils", "record kat.review", {"effect": "Calmer", "decision": "complete"}),
    # The rest of the stay.
    *_week(17, "14", GOES_ON),
    Line(18, "10:00", "cora", "record firm_plan", PLAN | {"firm": "yes"}),
    Line(18, "12:00", "pia", "cosign firm_plan"),
    Line(20, "07:30", "cora", "record morning_check", MORNING),
    *_week(24, "12", GOES_ON | {"decision": "finish"}),
    Line(24, "19:00", "pia", "record stay_review", {"decision": "leave", "reason": "Ready"}),
    Line(25, "09:00", "paul", "record medication", {"offered": "None", "accepted": "no"}),
    Line(25, "09:10", "nora", "record last_suicide_screen", NO_RISK),
    Line(25, "09:20", "nora", "done belongings_back"),
    Line(25, "10:00", "pia", "record summary", {"course": "Steady", "medicines": "None"}),
    # Afterwards.
    Line(25, "10:10", "nora", "record naloxone", {"given": "yes", "taught": "yes"}),
    Line(25, "10:20", "nora", "record safety_plan", SAFETY),
    Line(25, "10:30", "cora", "record contacts", CONTACTS),
    Line(30, "10:00", "cora", "record aftercare_7_days", CALLED),
    Line(55, "10:00", "cora", "record aftercare_30_days", CALLED),
    Line(110, "10:00", "cora", "record aftercare_90_days", CALLED),
)


def plan(enrollment: str = "e-bench", script: tuple[Line, ...] = SCRIPT) -> list[Command]:
    """The script as commands of one patient."""
    zone = ZoneInfo(SITE.zone)
    commands = []
    for number, line in enumerate(script):
        day = ADMITTED + timedelta(days=line.day - 1)
        local = datetime.combine(day, time.fromisoformat(line.clock), zone)
        act: Act
        if line.phrase == "enroll":
            act = Enroll(enrollment, f"patient:{enrollment}", SITE.name)
        else:
            act = parse(line.phrase, line.given, line.signed)
        at = local.astimezone(UTC)
        commands.append(Command(f"{enrollment}.{number}", act, TEAM[line.who], at))
    return commands


class Walked(Struct, frozen=True):
    """What came of a walk: where the patient stands, and how much had to be decided."""

    enrollment: Enrollment
    events: int
    commands: int
    timers: int
    refused: int


def walk(program: Program, commands: list[Command], start: Enrollment = NOBODY) -> Walked:
    """Decide the commands one after another, running the timers that are due before each."""
    around = Around(SITE)
    state = start
    events = timers = refused = 0
    for command in commands:
        answer = decide(program, state, around, command)
        while isinstance(answer, Behind):
            ran = elapse(program, state, around, answer.timer)
            state = ran.enrollment
            events += len(ran.events)
            timers += 1
            answer = decide(program, state, around, command)
        if isinstance(answer, Refusal):
            refused += 1
        else:
            state = answer.enrollment
            events += len(answer.events)
    return Walked(state, events, len(commands), timers, refused)


def check(program: Program, script: tuple[Line, ...] = SCRIPT) -> Walked:
    """Walk a script and see that it goes as planned; AssertionError where it does not.

    Every command that should be refused must be, for the reason it names, and no other; the
    patient must end as one whose treatment is completed and whose aftercare is over.
    """
    around, state = Around(SITE), NOBODY
    commands = plan(script=script)
    for line, command in zip(script, commands, strict=True):
        _, state = catch_up(program, state, around, command.at)
        answer = decide(program, state, around, command)
        codes = [reason.code for reason in answer.reasons] if isinstance(answer, Refusal) else []
        if codes[:1] != ([line.refused] if line.refused else []):
            raise AssertionError(f"day {line.day}, {line.phrase}: {codes or 'not refused'}")
        if isinstance(answer, Decision):
            state = answer.enrollment
    if (state.standing, state.end_kind) != ("closed", "completed"):
        raise AssertionError(f"the patient ends as {state.standing}, {state.end or 'without end'}")
    return walk(program, commands)


def on_day(program: Program, day: int) -> Enrollment:
    """The patient on the evening of a day, with all timers run that are due."""
    evening = datetime.combine(ADMITTED + timedelta(days=day - 1), time(18), ZoneInfo(SITE.zone))
    commands = [command for command in plan() if command.at <= evening]
    state = walk(program, commands).enrollment
    return catch_up(program, state, Around(SITE), evening.astimezone(UTC))[1]
