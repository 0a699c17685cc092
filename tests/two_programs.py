"""Two programs that one patient may be in at once: infusions by day, and a sedating therapy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from kat_workflow.language import compile_files
from kat_workflow.program.model import Program

_HEAD = """\
language: 1
program: {name}
version: "1.0.0"
title: Of two programs
roles: {{nurse: Nurse, doctor: Doctor, therapist: Therapist}}
sources:
  practice: {{title: Practice, trust: C}}
leaving: {{by: [nurse, doctor]}}
ends:
  well: {{kind: completed}}
forms:
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {{type: integer, unit: mmHg, from: 50, to: 300}}
  score:
    title: Score
    fields:
      points: {{type: integer, unit: points, from: 0, to: 60}}
  answer:
    title: Answer
    fields:
      word: {{type: choice, options: {{one: One, two: Two}}}}
  test:
    title: Test
    valid_for: 72 h
    fields:
      result: {{type: choice, options: {{negative: Negative, positive: Positive}}}}
  note:
    title: Note
    fields:
      text: {{type: text}}
"""
HOUSE = """\
hold_by: [nurse]
decided_by: [doctor]
start: stay
phases:
  stay:
    admits: true
    steps:
      drips:
        by: [nurse]
        session: drip
        optional: true
        source: practice
        every: [{interval: 24 h, when: always}]
      pills:
        by: [nurse]
        session: pill
        optional: true
        source: practice
        every: [{interval: 24 h, when: always}]
      syrups:
        by: [nurse]
        session: syrup
        optional: true
        source: practice
        every: [{interval: 24 h, when: always}]
      walks:
        by: [nurse]
        session: walk
        optional: true
        source: practice
        every: [{interval: 24 h, when: always}]
      plan: {by: [doctor], record: score, signed: true}
      rounds:
        by: [nurse]
        record: note
        source: practice
        every: [{daily_at: ["09:00", "21:00"], when: always}]
        due: 30 min
      look:
        by: [nurse]
        record: note
        optional: true
        on_day: 3
        at: "09:00"
        due: 1 h
        closes: 4 h
        may_be: [missed]
        source: practice
    next: [{to: well, when: plan.points >= 1 points}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose: {drug: saline, route: intravenous, most: 1 g}
    watch: {by: [nurse], record: vitals, at: [15 min], then_every: 30 min, late_after: 10 min}
    release: {earliest: 30 min, signed_by: [nurse]}
  pill:
    by: [nurse]
    source: practice
    sedating: true
    dose: {drug: pill, route: oral, most: 1 g}
    watch: {by: [nurse], record: vitals, at: [15 min], then_every: 30 min, late_after: 10 min}
    release: {earliest: 30 min, signed_by: [nurse]}
  syrup:
    by: [nurse]
    source: practice
    sedating: true
    dose: {drug: syrup, route: oral, most: 1 g}
    watch: {by: [nurse], record: vitals, at: [15 min], then_every: 30 min, late_after: 10 min}
    release: {earliest: 30 min, signed_by: [nurse]}
  walk:
    by: [nurse]
    source: practice
    release: {earliest: 0 min, signed_by: [nurse]}
"""
THERAPY = """\
hold_by: [doctor]
decided_by: [doctor]
start: course
phases:
  course:
    steps:
      fit: {by: [doctor], record: score, signed: true}
      agreed: {by: [doctor], record: answer, cosigned_by: [therapist], after: [fit]}
      tested: {by: [nurse], record: test}
      days:
        by: [nurse]
        session: day
        optional: true
        source: practice
        every: [{interval: 24 h, when: always}]
    next: [{to: late, when: agreed.word is one}]
  late:
    steps:
      farewell: {by: [doctor], record: score}
    next: [{to: well, when: always}]
sessions:
  day:
    by: [nurse]
    source: practice
    sedating: true
    dose: {drug: ketamine, route: intravenous, most: 100 mg}
    watch: {by: [nurse], record: vitals, at: [15 min], then_every: 30 min, late_after: 10 min}
    release: {earliest: 60 min, signed_by: [nurse]}
"""
TEXTS = {
    name: _HEAD.format(name=name) + text for name, text in (("house", HOUSE), ("therapy", THERAPY))
}
"""Both files, by name."""


@lru_cache
def program(name: str) -> Program:
    """One of the two."""
    return compile_files({f"{name}/{name}.yaml": TEXTS[name]}, f"{name}/{name}.yaml")


def house() -> Program:
    """Infusions by day."""
    return program("house")


def therapy() -> Program:
    """A sedating therapy."""
    return program("therapy")


def folder(at: Path) -> Path:
    """A folder of programs with both in it."""
    for name, text in TEXTS.items():
        file = at / "programs" / name / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return at / "programs"
