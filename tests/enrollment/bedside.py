"""A bedside for tests: small programs, one patient in memory, and people who act by role.

`program(text)` compiles a program whose forms, roles and consents are shared by all tests;
a test writes only what it is about. `Patient` drives one enrollment through the pure core
(`decide`, `catch_up`) on a clock that only the test moves, and holds every command to what is
true of all of them: replay ≡ live, a refusal changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from textwrap import dedent
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around, Past, Unread
from kat_workflow.enrollment.commands import Actor, Command, parse
from kat_workflow.enrollment.decide import Behind, Decision, catch_up, decide, elapse
from kat_workflow.enrollment.state import NOBODY, Enrollment, Item, Session, replay
from kat_workflow.enrollment.timers import Timer
from kat_workflow.errors import Refusal
from kat_workflow.language import compile_files
from kat_workflow.program.clock import Site, parse_duration
from kat_workflow.program.model import Program

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When a patient enrolls, unless a test says otherwise."""

_HEAD = """
language: 1
program: x
version: "1.0.0"
title: X
sources:
  practice: {title: Practice, trust: C}
roles:
  nurse: Nurse
  doctor: Doctor
  therapist: Therapist
consents:
  care: {title: Care}
  drug: {title: The drug, lasts: 30 d}
forms:
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {type: integer, unit: mmHg, from: 50, to: 300}
      pulse: {type: integer, unit: /min, from: 20, to: 300, optional: true}
  score:
    title: Score
    fields:
      points: {type: integer, unit: points, from: 0, to: 60}
  answer:
    title: Answer
    fields:
      word: {type: choice, options: {one: One, two: Two, three: Three}}
  test:
    title: Test
    any_time: true
    valid_for: 72 h
    fields:
      result: {type: choice, options: {negative: Negative, positive: Positive}}
  history:
    title: History
    fields:
      last_use: {type: instant}
      born: {type: date, optional: true}
  note:
    title: Note
    fields:
      text: {type: text}
  amount:
    title: Amount
    fields:
      weight: {type: decimal, unit: kg, from: 1, to: 300}
"""
_ENDS = """
ends:
  well: {kind: completed}
  elsewhere: {kind: not_eligible}
"""
_LEAVING = "leaving: {by: [nurse, doctor]}\n"


def source(text: str) -> str:
    """The whole file of a test's program."""
    text = dedent(text)
    head = _HEAD
    for key in ("roles", "consents", "forms"):
        if re.search(rf"^{key}:", text, re.MULTILINE):
            head = re.sub(rf"^{key}:\n(  .*\n)+", "", head, flags=re.MULTILINE)
    ends = "" if re.search("^ends:", text, re.MULTILINE) else _ENDS
    leaving = "" if re.search("^leaving:", text, re.MULTILINE) else _LEAVING
    return head + text + ends + leaving


@lru_cache(maxsize=256)
def program(text: str) -> Program:
    """The program that a test is about."""
    return compile_files({"x/x.yaml": source(text)}, "x/x.yaml")


def person(who: str | Actor) -> Actor:
    """`nurse` is a nurse of that name; `ann:nurse,doctor` is Ann, in two roles."""
    if isinstance(who, Actor):
        return who
    name, _, roles = who.partition(":")
    return Actor(name, frozenset((roles or name).split(",")))


Some = TypeVar("Some", bound=e.Event)


class RefusedHereError(AssertionError):
    """A command that a test expected to be carried out was refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.explanation)
        self.refusal = refusal


class Patient:
    """One patient, driven by hand."""

    def __init__(
        self,
        program: Program,
        *,
        at: datetime = MONDAY,
        zone: str = "UTC",
        closed: Sequence[date] = (),
        by: str | Actor = "nurse",
        beside: Patient | None = None,
        enroll: c.Enroll | None = None,
    ) -> None:
        """`beside` is the same patient in another program that was begun before."""
        self.program = program
        self.around = Around(Site("main", zone, tuple(closed)))
        self.beside = [self]
        if beside is not None:
            self.beside = beside.beside
            self.beside.append(self)
            self.around = self.around.read("patient", beside.around.patient)
        self._now = at
        self.zone = ZoneInfo(zone)
        self.s = NOBODY
        self.log: list[e.Event] = []
        self.past: list[Past] = []
        self.asked_for_history = 0
        self.commands = 0
        self.act(enroll or c.Enroll(f"e-{len(self.beside)}", "P-1", "main"), by=by)

    # time

    @property
    def now(self) -> datetime:
        """What every clock of the house shows."""
        return self.beside[0]._now

    @now.setter
    def now(self, at: datetime) -> None:
        self.beside[0]._now = at

    def wait(self, how_long: str | timedelta) -> None:
        """Time passes; nobody looks."""
        if isinstance(how_long, str):
            span = parse_duration(how_long)
            assert span is not None
            how_long = span.elapsed
        self.now += how_long

    def until(self, wall: str) -> None:
        """Time passes until a wall clock of the site shows `2026-03-04 06:00`."""
        self.now = self.at(wall)

    def at(self, wall: str) -> datetime:
        """The instant of a wall clock of the site."""
        return datetime.fromisoformat(wall).replace(tzinfo=self.zone).astimezone(UTC)

    def look(self) -> Enrollment:
        """Run the timers that are due, as every command does first, and keep what they did."""
        ran, after = catch_up(self.program, self.s, self.around, self.now)
        for _, decision in ran:
            self._take(decision)
        assert self.s == after
        return self.s

    # commands

    def act(
        self,
        act: c.Act,
        *,
        by: str | Actor = "nurse",
        occurred: datetime | None = None,
        role: str = "",
        id_: str = "",
        emergency: str = "",
    ) -> tuple[e.Event, ...]:
        """Carry out an act; its own events. Fails where it is refused."""
        answer = self.ask(act, by=by, occurred=occurred, role=role, id_=id_, emergency=emergency)
        if isinstance(answer, Refusal):
            raise RefusedHereError(answer)
        self._take(answer)
        return answer.events

    def ask(
        self,
        act: c.Act,
        *,
        by: str | Actor = "nurse",
        occurred: datetime | None = None,
        role: str = "",
        id_: str = "",
        emergency: str = "",
    ) -> Decision | Refusal:
        """What an act would lead to, after the timers that are due."""
        self.look()
        self.commands += 1
        id_ = id_ or f"c{self.commands}"
        command = Command(id_, act, person(by), self.now, occurred, role, emergency)
        before = self.s
        for each in self.beside:
            if each is not self:
                self.around = self.around.read("enrollment", each.s, each.s.id)
        try:
            answer = decide(self.program, before, self.around, command)
        except Unread:
            self.asked_for_history += 1
            around = self.around.read("history", tuple(self.past))
            answer = decide(self.program, before, around, command)
        assert not isinstance(answer, Behind)
        assert before is self.s
        return answer

    def do(
        self,
        phrase: str,
        *,
        by: str | Actor = "nurse",
        signed: bool = False,
        occurred: datetime | None = None,
        role: str = "",
        emergency: str = "",
        given: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> tuple[e.Event, ...]:
        """Carry out a phrase; its own events. Fails where it is refused."""
        act = parse(phrase, {**(given or {}), **more}, signed)
        return self.act(act, by=by, occurred=occurred, role=role, emergency=emergency)

    def refused(
        self,
        phrase: str,
        *,
        by: str | Actor = "nurse",
        signed: bool = False,
        occurred: datetime | None = None,
        role: str = "",
        emergency: str = "",
        given: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Refusal:
        """Why a phrase is refused. Fails where it is carried out."""
        act = parse(phrase, {**(given or {}), **more}, signed)
        answer = self.ask(act, by=by, occurred=occurred, role=role, emergency=emergency)
        assert isinstance(answer, Refusal), f"{phrase} was carried out"
        return answer

    def codes(self, phrase: str, **how: Any) -> list[str]:
        """The codes of the reasons against a phrase, in order."""
        return [reason.code for reason in self.refused(phrase, **how).reasons]

    def _take(self, decision: Decision) -> None:
        assert replay(decision.events, self.s) == decision.enrollment
        self.log.extend(decision.events)
        at = decision.enrollment.last
        assert at is not None
        self.past.extend(Past(at, event) for event in decision.events)
        self.s = decision.enrollment
        for addition in decision.beside:
            for each in self.beside:
                if addition.what != "enrollment":  # the patient's stream is one
                    each.around = each.around.read(addition.what, addition.state)
                elif addition.key == each.s.id:
                    each.s = addition.state
                    each.log.extend(addition.events)
                    each.past.extend(Past(at, event) for event in addition.events)

    # what is there to see

    def events(self, kind: type[Some]) -> list[Some]:
        """Everything of a kind that has happened until now."""
        self.look()
        return [event for event in self.log if isinstance(event, kind)]

    @property
    def open(self) -> list[str]:
        """The ids of what is open, in order of opening."""
        return list(self.look().items)

    def item(self, name: str) -> Item:
        """The one open item of a step, or that is about something."""
        self.look()
        found = [i for i in self.s.items.values() if name in (i.id, i.step, i.about)]
        assert len(found) == 1, f"{name}: {[i.id for i in self.s.items.values()]}"
        return found[0]

    def is_open(self, name: str) -> bool:
        """Whether anything of a step, or about something, is open."""
        self.look()
        return any(name in (i.id, i.step, i.about) for i in self.s.items.values())

    @property
    def phases(self) -> list[str]:
        """Where the patient is, outermost first."""
        return list(self.look().visits)

    def session(self, id_: str) -> Session:
        """A session that is open or the last of its kind."""
        return self.look().sessions[id_]

    def outcome(self, step: str) -> str:
        """How a step was last settled."""
        return self.look().settled[step].outcome

    def outcomes(self, step: str) -> list[str]:
        """How every opening of a step was settled, in order."""
        self.look()
        return [x.outcome for x in self.events(e.ItemSettled) if x.step == step]


def elapsed(patient: Patient, timer: Timer) -> Decision:
    """What one timer does, without keeping it."""
    return elapse(patient.program, patient.s, patient.around, timer)
