"""Simulated clinics: what one asks of the engine, told again; cohorts of many sizes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import log
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, cast

from msgspec import Struct

from benchmarks.measure import Side
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.decide import Behind, Decision, decide, elapse
from kat_workflow.enrollment.events import Event
from kat_workflow.enrollment.state import NOBODY, Enrollment
from kat_workflow.enrollment.timers import next_timer
from kat_workflow.errors import Refused
from kat_workflow.language import load, shipped
from kat_workflow.program.clock import Site
from kat_workflow.simulation.clinic import Clinic
from kat_workflow.simulation.cohort import Plan, opened, simulate
from kat_workflow.simulation.virtual import VirtualEngine

ROOT = Path(__file__).parent.parent
PROGRAM = "detox-4-day"
PROFILE = ROOT / "examples" / "simulation" / "detox.yaml"
PROGRAMS = ROOT / "benchmarks" / "programs"
SHORT = PROGRAMS / "short-visit" / "profile.yaml"


class Said(Struct, frozen=True):
    """What the engine was asked to do at an instant; without an act, to run what was due there."""

    at: datetime
    enrollment: str
    act: c.Act | None
    by: c.Actor
    id: str = ""


class Recorded(Struct, frozen=True):
    """A clinic's commands in their order, and how many entries they came to."""

    said: list[Said]
    site: Site
    entries: int


class _Recording:
    """An engine that writes down what it is asked to do; all else is the engine's own."""

    def __init__(self, clinic: Clinic) -> None:
        self.said: list[Said] = []
        self._clinic, self._engine = clinic, clinic.engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def enroll(self, program: str, *, patient: str, by: c.Actor, command_id: str) -> str:
        enrollment = self._engine.enroll(program, patient=patient, by=by, command_id=command_id)
        act = c.Enroll(enrollment, patient)
        self.said.append(Said(self._clinic.now, enrollment, act, by, command_id))
        return enrollment

    def handle(self, enrollment: str, act: c.Act, *, by: c.Actor, command_id: str) -> Any:
        self.said.append(Said(self._clinic.now, enrollment, act, by, command_id))
        return self._engine.handle(enrollment, act, by=by, command_id=command_id)

    def run_due_in(self, enrollment: str) -> int:
        self.said.append(Said(self._clinic.now, enrollment, None, c.SYSTEM))
        return self._engine.run_due_in(enrollment)


def recorded(clinic: Clinic) -> Recorded:
    """What a simulated clinic asks of its engine from the first day to the last."""
    engine = _Recording(clinic)
    clinic.engine = cast("VirtualEngine", engine)
    clinic.run()
    return Recorded(engine.said, clinic.site, clinic.tallies.entries)


def of_detox(patients: int) -> Recorded:
    """Twenty days of the detox's example, with as many patients as may have come by then."""
    return recorded(opened(Plan(PROGRAM, PROFILE, patients, 20, seed=7), 0))


def by_engine(of: Recorded) -> float:
    """Seconds that the commands take the engine, as a simulation has it."""
    now = of.said[0].at
    heard: list[tuple[str, Event]] = []
    engine = VirtualEngine(load(PROGRAM), shipped(), lambda: now, of.site, heard.append)
    began = process_time()
    for said in of.said:
        now = said.at
        if said.act is None:
            engine.run_due_in(said.enrollment)
        elif isinstance(said.act, c.Enroll):
            engine.enroll(PROGRAM, patient=said.act.patient, by=said.by, command_id=said.id)
        else:
            with suppress(Refused):
                engine.handle(said.enrollment, said.act, by=said.by, command_id=said.id)
    seconds = process_time() - began
    assert engine.entries == of.entries
    return seconds


def by_core(of: Recorded) -> float:
    """Seconds that it takes to decide and fold the same in memory, with nothing around the core."""
    program = load(PROGRAM)
    states: dict[str, tuple[Enrollment, Around]] = {}
    entries = 0
    began = process_time()
    for said in of.said:
        state, around = states.get(said.enrollment) or (NOBODY, Around(of.site))
        at = said.at.astimezone(UTC)
        command = None if said.act is None else c.Command(said.id, said.act, said.by, at)
        while True:
            answer: Any
            if command is not None:
                answer = decide(program, state, around, command)
            elif state.wake is not None and state.wake <= at:
                timer = next_timer(state)
                assert timer is not None
                answer = Behind(timer)
            else:
                break
            if isinstance(answer, Behind):
                answer = elapse(program, state, around, answer.timer)
            else:
                command = None
                if not isinstance(answer, Decision):
                    break
            state, around = answer.enrollment, around.after(answer.beside)
            entries += len(answer.events) + sum(len(x.events) for x in answer.beside)
        states[said.enrollment] = state, around
    seconds = process_time() - began
    assert entries == of.entries
    return seconds


def whole(patients: int) -> Side:
    """CPU microseconds for an entry of a whole clinic: patients, people and the engine."""
    plan = Plan(PROGRAM, PROFILE, patients, 20, seed=7)

    def side() -> float:
        clinic = opened(plan, 0)
        began = process_time()
        clinic.run()
        return (process_time() - began) / clinic.tallies.entries * 1e6

    return side


def shared(clinics: int, workers: int) -> Side:
    """Seconds on the clock for clinics of 15 patients, shared by so many processes."""
    with TemporaryDirectory() as folder:
        profile = Path(folder) / "profile.yaml"
        text = PROFILE.read_text(encoding="utf-8")
        profile.write_text(text.replace("clinic_size: 50", "clinic_size: 15"), encoding="utf-8")
        plan = Plan(PROGRAM, profile, 15 * clinics, 20, seed=7)
        assert plan.clinics == clinics  # it is read now, and the processes inherit it

    def side() -> float:
        began = perf_counter()
        simulate(plan, workers=workers)
        return perf_counter() - began

    return side


def short(patients: int) -> Plan:
    """A cohort of the shortest course there is."""
    return Plan("short-visit", SHORT, patients, 6, 7, PROGRAMS)


def growth(sizes: Sequence[int]) -> float:
    """The exponent of CPU time in the number of patients."""
    seconds = []
    for patients in sizes:
        began = process_time()
        simulate(short(patients))
        seconds.append(process_time() - began)
    return exponent(sizes, seconds)


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The slope of the logarithms: 1 is linear."""
    return linear_regression([log(x) for x in sizes], [log(x) for x in costs]).slope
