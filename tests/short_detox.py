"""A small program with every construct that a protocol or a drawing shows."""

from __future__ import annotations

from kat_workflow.language.compiler import compile_files
from kat_workflow.program.model import Program

TEXT = """\
language: 1
program: short-detox
version: "1.0.0"
title: Short detox
about: Two to four days of withdrawal monitoring.
start: screening
decided_by: [prescriber]
hold_by: [nurse, prescriber]
sources:
  ccjm: {title: Hospital order set, trust: A, url: "https://www.ccjm.org"}
  practice: {title: Clinic practice, trust: C}
roles: {nurse: Registered nurse, prescriber: Prescribing clinician}
consents:
  nad: {title: NAD+ infusions, lasts: 30 d}
limits:
  settled_ciwa: {is: 8 points, source: ccjm}
  severe_ciwa: {is: 20 points, source: ccjm, about: Think of hospital.}
  high_systolic: {is: 180 mmHg, source: practice}
  calm_time: {is: 24 h, source: practice}
gates:
  unsafe_here: {says: Withdrawal is not safe here, when: intake.pregnant is yes}
  nad_consented: {says: Consent to NAD+ is in force, when: consent nad in force}
  pressure_allows:
    says: The pressure allows an infusion
    when: baseline.systolic < high_systolic
    override: {by: [prescriber], lasts: 4 h}
  settled:
    says: Withdrawal has settled
    when: every ciwa.total of last calm_time < settled_ciwa and time since intake.last_use >= 96 h
forms:
  intake:
    title: Intake
    source: practice
    fields:
      substance: {label: Substance, type: choice, options: {alcohol: Alcohol, opioid: Opioids}}
      last_use: {label: Last use, type: instant}
      pregnant: {label: Is the patient pregnant?, type: yes_no}
  ciwa:
    title: Withdrawal Assessment (CIWA)
    source: ccjm
    fields:
      nausea: {label: Nausea, type: integer, from: 0, to: 7}
      tremor: {label: Tremor, type: integer, from: 0, to: 7}
    scores:
      total:
        label: CIWA total
        bands: [{from: 0, name: mild}, {from: 8, name: severe, label: Severe}]
  vitals:
    title: Vitals
    source: practice
    fields:
      systolic: {label: Systolic pressure, type: integer, unit: mmHg, from: 50, to: 300}
      symptoms:
        label: Symptoms
        type: choices
        options: {chest_tightness: Chest tightness}
        optional: true
        may_be: [refused]
phases:
  screening:
    steps:
      intake_evaluation:
        by: [prescriber]
        record: intake
        signed: true
        cosigned_by: [nurse]
        due: 24 h
        when_late: {tell: [prescriber], answer_within: 1 h}
        source: practice
      agree: {by: [prescriber], obtain: nad, after: [intake_evaluation], may_be: [declined]}
    next:
      - {to: redirected, when: unsafe_here, at_once: true, safety: true}
      - {to: care, when: nad_consented}
      - {to: redirected, when: always}
  care:
    admits: true
    decided_by: [prescriber]
    tracks:
      stay:
        title: Withdrawal
        steps:
          alcohol_check:
            by: [nurse]
            record: ciwa
            only_if: intake.substance is alcohol
            on_hold: runs
            source: ccjm
            every:
              - {interval: 8 h, when: last 6 of ciwa.total < settled_ciwa}
              - {interval: 2 h, when: always}
            alerts:
              - when: ciwa.total >= severe_ciwa
                says: Severe withdrawal
                tell: [prescriber]
                answer_within: 15 min
        start: day
        phases:
          day:
            repeat: {at_least: 2, at_most: 4, until: settled, one_per: program day}
            steps:
              baseline: {by: [nurse], record: vitals}
              infusion: {by: [nurse], session: nad_infusion, after: [baseline], may_be: [declined]}
            next: [{to: evenings, when: always}]
          evenings:
            steps:
              last_look: {by: [nurse], record: vitals}
            next: [{to: finish, when: always}]
      counselling:
        optional: true
        steps:
          talk:
            by: [nurse]
            on_day: 2
            at: 09:00
            optional: true
            different_person_from: [baseline]
            source: practice
          group: {by: [nurse], source: practice, every: [{daily_at: [18:00], when: always}]}
    next:
      - {to: screening, when: intake.pregnant is yes, says: Look again}
      - {to: home, when: settled}
excursions:
  hospital:
    by: [prescriber]
    steps:
      back_again: {by: [nurse]}
    next: [{to: back, when: always}]
sessions:
  nad_infusion:
    title: NAD+ infusion
    source: practice
    by: [nurse]
    ready: [nad_consented, pressure_allows]
    present: [nurse, prescriber]
    no_show_after: 30 min
    dose:
      drug: NAD+
      route: intravenous
      amount: 500 mg
      most: 750 mg
      rate: {from: 100 mg/h, to: 200 mg/h}
    at_most: {times: 1, per: program day}
    apart: 20 h
    watch: {by: [nurse], record: vitals, at: [0 min, 15 min, 30 min], then_every: 30 min}
    pause_when:
      - when: watch.symptoms has chest_tightness
        says: Tight chest
        tell: [prescriber]
        answer_within: 5 min
    stop_when:
      - {when: watch.systolic > high_systolic, says: Pressure too high}
    after:
      meal: {title: Shared meal, by: [nurse]}
    release: {earliest: 30 min, when: watch.systolic < high_systolic, signed_by: [nurse]}
    counts_when: given > 0 mg
ends:
  home: {kind: completed, work: [naloxone]}
  redirected: {kind: not_eligible}
leaving: {by: [prescriber], work: [naloxone]}
work_after_leaving:
  naloxone:
    title: Naloxone kit
    by: [nurse]
    counted_from: nad_infusion released
    due: 1 h
    closes: 24 h
    may_be: [missed]
    source: practice
rules:
  never: [{start: nad_infusion, unless: nad_consented}]
  always_after: [{from: nad_infusion.given, then: nad_infusion.released, within: 4 h}]
  always_possible: [home]
"""


def detox(*changes: tuple[str, str]) -> Program:
    """The program, with some of its text replaced."""
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return compile_files({"short-detox/short-detox.yaml": text}, "short-detox")
