"""The program that `kat new` begins with: short, commented, complete, and clean under `check`."""

from __future__ import annotations

__all__ = ["starter"]


def starter(name: str) -> dict[str, str]:
    """The files of a new program: path inside its folder → text."""
    title = name.replace("-", " ").capitalize()
    return {
        f"{name}.yaml": _PROGRAM.replace("NAME", name).replace("TITLE", title),
        "scenarios/from-the-first-look-to-the-goal.yaml": _SCENARIO.replace("TITLE", title),
    }


_PROGRAM = """\
# yaml-language-server: $schema=../program.schema.json
language: 1
program: NAME
version: "0.1.0"
title: TITLE
about: >-
  What it treats, whom, and how long. This is an example to change, not medical advice; a clinic's
  medical director must sign a program off before a patient is treated by it.
start: intake
decided_by: [clinician] # who chooses where no way on holds
hold_by: [clinician, nurse]

sources: # where every number comes from; trust A (regulator, trial), B (practice), C (other)
  practice: {title: Our clinic's practice, trust: B}

roles:
  clinician: Treating clinician
  nurse: Registered nurse

consents:
  treatment: {title: Consent to treatment}

limits: # every number that decides, once, with its unit and source
  high_systolic: {is: 180 mmHg, source: practice}
  low_craving: {is: 3 points, source: practice}

gates: # "says" is the sentence that is true when the gate holds
  agreed: {says: The patient agrees to treatment, when: consent treatment in force}
  pressure_too_high:
    says: The blood pressure is too high to be treated here
    when: first_look.systolic >= high_systolic
  goal_reached: {says: Craving is low, when: last 2 of craving.score <= low_craving}

forms: # what is recorded; from and to are the limits of the plausible, not of the normal
  vitals:
    title: Vital signs
    source: practice
    fields:
      systolic: {label: Systolic pressure, type: integer, unit: mmHg, from: 50, to: 300}
      pulse: {label: Pulse, type: integer, unit: /min, from: 20, to: 250}
  craving:
    title: Craving
    source: practice
    fields:
      score: {label: Craving from 0 (none) to 10, type: integer, unit: points, from: 0, to: 10}
  follow_up:
    title: Follow-up
    fields:
      how_it_goes: {label: How is it going?, type: text}

phases: # where a patient can be
  intake:
    title: Intake
    steps: # what is done there
      first_look: {title: First look, by: [nurse], record: vitals, due: 24 h, source: practice}
      agreement:
        title: Consent
        by: [clinician]
        obtain: treatment
        after: [first_look]
        may_be: [declined]
    next: # the first that holds is gone; one that is not known yet stops here
      - {to: not_for_us, when: pressure_too_high}
      - {to: weeks, when: agreed}
      - {to: not_for_us, when: always}

  weeks:
    title: Weekly visits
    admits: true # entering it is the admission: program day 1
    repeat: {at_least: 2, at_most: 12, until: goal_reached} # rounds
    steps:
      craving: {title: Craving, by: [nurse], record: craving, due: 7 d, source: practice}
    next:
      - {to: goal, when: goal_reached}
      - {to: not_yet, when: always}

ends: # against advice, transferred, died ... exist in every program
  goal: {title: Goal reached, kind: completed, work: [call]}
  not_yet: {title: Goal not reached, kind: completed, work: [call]}
  not_for_us: {title: Not for this program, kind: not_eligible}

leaving: # who may report another end, and what is done then
  by: [clinician]
  work: [call]

work_after_leaving: # never keeps a patient here
  call:
    title: Follow-up call
    by: [nurse]
    record: follow_up
    due: 30 d
    may_be: [declined, missed]
    source: practice

rules: # properties that must hold on every way through the program
  always_possible: [goal]
"""

_SCENARIO = """\
scenario: From the first look to the goal
about: Two calm weeks reach the goal; TITLE ends with a follow-up call.
starts: 2026-03-02 09:00
people:
  Nadia: [nurse]
  Clara: [clinician]
steps:
  - {enroll: P-001, by: Clara, expect: {phase: intake, open: [first_look]}}
  - do: record first_look
    by: Nadia
    with: {systolic: 128, pulse: 72}
    expect: {open: [agreement]}
  - {do: done agreement, by: Clara, expect: {phase: weeks}}
  - {after: 2 d, do: record craving, by: Nadia, with: {score: 3}}
  - {after: 7 d, do: record craving, by: Nadia, with: {score: 2}, expect: {end: goal, open: [call]}}
"""
