"""A small program that says a little of everything, and ways to break it in one place.

`broken(old, new)` replaces one text by another and compiles the result. In `new`, or in any
other text of the broken file, «…» stands around what the finding has to point to.
"""

from __future__ import annotations

from attrs import frozen

from kat_workflow.errors import Finding
from kat_workflow.language import Checked, Files, check

MAIN = "clinic/clinic.yaml"
INNER = "inner/inner.yaml"

CLINIC = """\
language: 1
program: clinic
version: "1.2.0"
title: A small clinic
files: [instruments/mood.yaml, forms/shared.yaml]
start: screening
decided_by: [doctor]
hold_by: [doctor]
sources:
  book: {title: A book of figures, trust: A}
roles:
  nurse: Nurse
  doctor: Doctor
consents:
  infusing: {title: The infusion, lasts: 30 d}
limits:
  high: {is: 160 mmHg, source: book}
  low_mood: {is: 8 points, source: book}
  calm_time: {is: 24 h, source: book}
gates:
  fit:
    says: The patient is fit
    when: intake.accepted is yes and intake.pressure < high
    override: {by: [doctor], lasts: 4 h}
  calm:
    says: The mood has been good
    when: every mood.total of last calm_time < low_mood
  consented:
    says: Consent is in force
    when: consent infusing in force
forms:
  intake:
    title: Intake
    source: book
    fields:
      accepted: {type: yes_no}
      pressure: {type: integer, unit: mmHg, from: 50, to: 260}
      last_use: {type: instant}
      kind:
        type: choice
        options: {light: Light, heavy: Heavy}
        asked_if: {field: accepted, is: [yes]}
groups:
  circle:
    {capacity: 6, minimum: 3, lasts: 2 h, rooms: [hall], staff: [{role: nurse, one_per: 3}],
     by: [nurse], override: {by: [doctor]}, source: book}
phases:
  screening:
    steps:
      intake: {by: [nurse], record: intake, signed: true, due: 24 h, source: book}
      agreeing: {by: [nurse], obtain: infusing, after: [intake], may_be: [declined]}
      second_look: {by: [doctor], record: note, different_person_from: [intake], after: [agreeing]}
    next:
      - {to: unfit, when: not fit, at_once: true}
      - {to: stay, when: fit}
      - {to: unfit, when: always}
  stay:
    admits: true
    start: days
    steps:
      mood_check:
        by: [nurse]
        record: mood
        source: book
        every:
          - {interval: 8 h, when: calm}
          - {daily_at: ["09:00", "21:00"], when: always}
        alerts:
          - {when: mood.total >= low_mood, tell: [doctor], answer_within: 15 min, escalation: duty}
    phases:
      days:
        repeat: {at_least: 2, at_most: 5, until: calm, one_per: program day}
        steps:
          morning:
            {by: [nurse], record: vitals, opens: 1 h, due: 2 h, closes: 3 h, may_be: [missed],
             source: book}
          drip: {by: [nurse], session: infusion, after: [morning]}
        next: [{to: sides, when: always}]
      sides:
        tracks:
          rest:
            optional: true
            steps: {nap: {by: [nurse]}}
          talk:
            start: first_talk
            phases:
              first_talk:
                steps:
                  talking: {by: [doctor], counted_from: intake.last_use, due: 10 d, source: book}
                next: [{to: last_talk, when: always}]
              last_talk:
                steps:
                  closing: {by: [doctor], group: circle, on_day: 2, at: "10:00", source: book}
    next:
      - {to: sleeping, when: always}
  sleeping:
    contains: {program: inner, ends: {awake: finish, restless: unfit}}
    next: [{to: well, when: always}]
excursions:
  hospital:
    by: [doctor]
    steps: {report: {by: [nurse], record: note}}
    next: [{to: back, when: always}]
sessions:
  infusion:
    by: [nurse]
    source: book
    ready: [fit, consented]
    before: {fasting: {by: [nurse]}}
    dose:
      {drug: Saline, route: intravenous, amount: 500 mg, most: 1 g,
       rate: {from: 100 mg/h, to: 0.2 g/h}}
    at_most: {times: 1, per: program day}
    watch: {by: [nurse], record: vitals, at: [0 min, 15 min], then_every: 30 min}
    pause_when:
      - {when: watch.pulse > 130 /min, says: Fast, tell: [doctor], answer_within: 5 min}
    stop_when: [{when: watch.pulse > 150 /min, says: Too fast}]
    after: {looking_back: {by: [doctor], record: note, counted_from: infusion released, due: 24 h}}
    release: {earliest: 30 min, when: watch.pulse < 100 /min, signed_by: [nurse]}
    counts_when: given > 0 mg
escalations:
  duty:
    source: book
    then: [{tell: [nurse], answer_within: 10 min}]
    repeat_last: 1
ends:
  well: {kind: completed, work: [letter]}
  unfit: {kind: not_eligible}
  moved: {kind: transferred, work: [letter]}
leaving: {by: [nurse, doctor], work: [letter]}
work_after_leaving:
  letter: {by: [doctor], due: 7 d, closes: 30 d, source: book}
rules:
  never: [{start: infusion, unless: consented, says: Nobody is infused without consent}]
  always_after: [{from: infusion.given, then: infusion.released, within: 4 h}]
  always_possible: [well, died]
"""

SLEEP = """\
language: 1
program: inner
version: "1.0"
title: Sleeping
start: night
sources:
  book: {title: A book of figures, trust: A}
roles:
  nurse: Nurse
limits:
  enough: {is: 6 h, source: book}
gates:
  slept: {says: The patient slept, when: time since lying_down done >= enough}
phases:
  night:
    admits: true
    start: dark
    phases:
      dark:
        steps: {lying_down: {by: [nurse]}}
        next:
          - {to: awake, when: slept}
          - {to: restless, when: not slept}
          - {to: finish, when: always}
    next: [{to: awake, when: always}]
ends:
  awake: {kind: completed}
  restless: {kind: not_eligible}
leaving: {by: [nurse], work: [call]}
work_after_leaving:
  call: {by: [nurse]}
rules:
  always_after: [{from: lying_down.done, then: lying_down.done, within: 1 d}]
"""

MOOD = """\
language: 1
instrument: mood
version: "2"
title: Mood scale
answered_by: patient
sources:
  scale: {title: The scale itself, trust: A}
source: scale
fields:
  sad: {type: integer, from: 0, to: 3, source: scale}
  tense: {type: integer, allowed: [0, 2]}
scores:
  total:
    source: scale
    reversed: [sad]
    bands: [{from: 0, name: good}, {from: 4, name: bad}]
"""

SHARED = """\
language: 1
forms:
  vitals:
    title: Vital signs
    fields:
      pulse: {type: integer, unit: /min}
  note:
    title: A note
    by: [visitor]
    fields:
      text: {type: text}
"""

FILES = {
    MAIN: CLINIC,
    INNER: SLEEP,
    "instruments/mood.yaml": MOOD,
    "forms/shared.yaml": SHARED,
}


@frozen
class Broken:
    """A program with one change, what was found in it, and the place that was marked."""

    checked: Checked
    files: dict[str, str]
    marked: tuple[str, int, int, int] | None

    def finding(self, code: str) -> Finding:
        """The only finding with a code."""
        (found,) = [each for each in self.checked.findings if each.code == code]
        return found


def broken(old: str, new: str, file: str = MAIN, mark: str = "") -> Broken:
    """The program with `old` replaced by `new` in a file.

    `mark` is a text of the changed file with the place of the finding in «…», where that is not
    in `new`.
    """
    text = FILES[file]
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    changed = text.replace(old, new)
    if mark:
        plain = mark.replace("«", "").replace("»", "")
        assert changed.count(plain) == 1, f"{plain!r} stands {changed.count(plain)} times"
        changed = changed.replace(plain, mark)
    marked = None
    if "«" in changed:
        start, end = changed.index("«"), changed.index("»") - 1
        changed = changed.replace("«", "").replace("»", "")
        line = changed.count("\n", 0, start) + 1
        column = start - changed.rfind("\n", 0, start)
        marked = (file, line, column, end - start)
    files = {**FILES, file: changed}
    return Broken(check(MAIN, Files(files)), files, marked)
