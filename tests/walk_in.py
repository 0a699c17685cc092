"""A program small enough to be known by heart: a look, a talk, rounds every four hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from kat_workflow import Actor

ANN = Actor("ann", {"nurse"})
BO = Actor("bo", {"doctor"})
EIGHT = datetime(2026, 3, 2, 8, tzinfo=UTC)
TEXT = """\
language: 1
program: walk-in
version: "1.0.0"
title: Walk-in
start: watching
decided_by: [doctor]
hold_by: [nurse, doctor]
sources:
  practice: {title: Clinic practice, trust: C}
roles: {nurse: Nurse, doctor: Doctor}
limits:
  high: {is: 180 mmHg, source: practice}
gates:
  calm: {says: The pressure is calm, when: rest.systolic < high}
forms:
  pressure:
    title: Pressure
    source: practice
    any_time: true
    by: [nurse]
    fields:
      systolic: {label: Systolic pressure, type: integer, unit: mmHg, from: 50, to: 300}
      remark: {label: Remark, type: text, optional: true}
  interview:
    title: Interview
    source: practice
    fields:
      story: {label: Story, type: text}
phases:
  watching:
    admits: true
    steps:
      look: {by: [nurse], record: pressure}
      talk: {by: [doctor], record: interview, after: [look]}
      rest: {by: [nurse], record: pressure, optional: true}
      rounds:
        by: [nurse]
        source: practice
        every: [{interval: 4 h, when: always}]
        due: 30 min
    next:
      - {to: home, when: calm}
ends:
  home: {kind: completed}
leaving: {by: [nurse, doctor]}
"""


class Clock:
    """A clinic's clock, which somebody sets."""

    def __init__(self, at: datetime = EIGHT) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def goes_on(self, hours: float) -> None:
        self.at += timedelta(hours=hours)


def programs(folder: Path, *changes: tuple[str, str]) -> Path:
    """A folder of programs with this one in it, some of its text replaced."""
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "programs" / "walk-in" / "walk-in.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return folder / "programs"
