"""The workload: one patient, day by day, through the 30-day program that ships.

A fixed script, the same in every run: application, a wait for no bed, admission, a stabilisation
without drugs to taper, days, weeks with their instruments, one ketamine session, discharge and the
calls afterwards. Four of the commands are refused, as they are in a clinic. What nobody records in
time is missed by a timer, and those timers are decisions as well: they are run, timed and counted.

`SCRIPT` is the only place that knows the program; `plan` makes commands of it, `walk` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.commands import Act, Actor, Command, Enroll, parse
from kat_workflow.enrollment.decide import Behind, Decision, decide, elapse
from kat_workflow.enrollment.events import Event
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


def _week(day: int, decision: dict[str, str]) -> tuple[Line, ...]:
    """The last two days of a week: therapy, the instruments, the team's review."""
    return (
        Line(day - 1, "10:00", "tess", "record individual_therapy", NOTE),
        Line(day - 1, "11:00", "tess", "record mood", PHQ9),
        Line(day - 1, "11:05", "tess", "record anxiety", GAD7),
        Line(day - 1, "11:10", "tess", "decline trauma", {"reason": "Not today"}),
        Line(day - 1, "11:20", "cora", "record addiction", BAM),
        Line(day, "15:00", "tess", "record weekly_review", decision),
        Line(day, "16:00", "pia", "cosign weekly_review"),
    )


SCRIPT: tuple[Line, ...] = (
    Line(-3, "10:00", "cora", "enroll"),
    Line(-3, "10:20", "tess", "record application", {}, "wrong-role"),
    Line(
        -3,
        "10:30",
        "cora",
        "record application",
        {"problem": "Cocaine", "goals": "Sleep", "setting_fits": "yes", "decision": "accept"},
    ),
)


def plan(enrollment: str = "e-bench", script: tuple[Line, ...] = SCRIPT) -> list[Command]:
    """The script as commands of one patient."""
    zone = ZoneInfo(SITE.zone)
    commands = []
    for number, line in enumerate(script):
        hour, minute = line.clock.split(":")
        day = ADMITTED + timedelta(days=line.day - 1)
        local = datetime(day.year, day.month, day.day, int(hour), int(minute), tzinfo=zone)
        act: Act
        if line.phrase == "enroll":
            act = Enroll(enrollment, f"patient:{enrollment}", SITE.name)
        else:
            act = parse(line.phrase, line.given, line.signed)
        at = local.astimezone(UTC)
        commands.append(Command(f"{enrollment}.{number}", act, TEAM[line.who], at))
    return commands
