"""What `kat show` writes: a protocol that a clinician reads, prints and signs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from short_detox import detox
from two_programs import therapy

from kat_workflow.language import compile_files, load
from kat_workflow.program.model import Program
from kat_workflow.protocol import as_data, as_markdown, as_text, protocol
from kat_workflow.protocol.words import Words, clean, listed, sentence

DETOX = detox()


def written(program: Program = DETOX, role: str = "") -> str:
    """The protocol as one flow of words, so that line breaks do not matter."""
    return " ".join(as_text(protocol(program, role)).split())


def chapter(title: str, program: Program = DETOX) -> str:
    """One top chapter of the protocol."""
    (found,) = [part for part in protocol(program).parts if part.title == title]
    return " ".join(as_text(found).split())


@pytest.mark.parametrize(
    "sentence",
    [
        "Prescribing clinician records “Intake” and signs it. A second person signs as well: "
        "Registered nurse. It is due within 24 h after it opens. When it is late, Prescribing "
        "clinician is called and answers within 1 h. Source: Clinic practice (C).",
        "Prescribing clinician asks for the consent “NAD+ infusions”.",
        "It may also end as declined.",
        "Only if Intake substance is “Alcohol”.",
        "Repeated every 8 h while each of the last 6 readings of CIWA total is below 8 points; "
        "otherwise every 2 h.",
        "Alert (Severe withdrawal): when CIWA total is at least 20 points, Prescribing clinician "
        "is called and answers within 15 min.",
        "Its times run on during a hold.",
        "Registered nurse holds the session “NAD+ infusion”. Begins after “Baseline”.",
        "It is done by another person than “Baseline”. It is optional. Opens on program day 2 at "
        "09:00.",
        "Repeated daily at 18:00.",
        "It is due within 1 h and counts as missed from 24 h after “NAD+ infusion” is released.",
    ],
)
def test_a_step_says_who_does_what_when_and_who_hears_of_it(sentence: str) -> None:
    assert sentence in written()


def test_a_step_says_who_witnesses_it_and_who_alone_reads_it() -> None:
    ward = load(Path(__file__).parent / "people" / "night-ward" / "night-ward.yaml")

    assert "A second person witnesses it: Nurse or Doctor." in written(ward)
    assert "What is recorded is read by Therapist alone." in written(ward)
    assert "Agreement" in written(ward, "doctor")  # who witnesses it has to know of it


@pytest.mark.parametrize(
    "sentence",
    [
        "As soon as “Withdrawal is not safe here”, even while a hold stands: the end “Redirected”.",
        "If “Consent to NAD+ is in force”: “Care”.",
        "Otherwise: the end “Redirected”.",
        "If “Is the patient pregnant?” (Intake) is yes (Look again): “Screening”.",
        "If none holds, Prescribing clinician decides.",
        "Entering it is the admission: program day 1 begins.",
        "Its tracks run side by side: “Withdrawal” and “Counselling”.",
        "Its phases come one at a time, beginning with “Day”.",
        "It is gone through at least 2 and at most 4 times, one round per program day, until "
        "“Withdrawal has settled”.",
        "When it is finished: “Evenings”.",
        "When it is finished: “Withdrawal” is finished.",
        "It is optional: the others may end without it.",
        "Prescribing clinician may send a patient here at any time.",
        "When it is finished: back to where the patient was.",
    ],
)
def test_a_phase_says_how_it_is_gone_through_and_every_way_on_in_order(sentence: str) -> None:
    assert sentence in written()


def test_a_way_on_that_is_asked_all_the_time_is_written_once_and_first() -> None:
    assert written().count("As soon as “Withdrawal is not safe here”") == 1


@pytest.mark.parametrize(
    "sentence",
    [
        "At most 1 per program day. At least 20 h between two starts.",
        "Not arrived 30 min after the time: no-show.",
        "It may start only if “Consent to NAD+ is in force” and “The pressure allows an infusion”.",
        "Present at the start: Registered nurse and Prescribing clinician.",
        "NAD+, intravenous, 500 mg, at 100 to 200 mg/h; never more than 750 mg in one session.",
        "Registered nurse records “Vitals” at 0 min, 15 min and 30 min after the first drug given, "
        "then every 30 min until release; a reading is late after 10 min.",
        "Pause: When watch symptoms has “Chest tightness” (Tight chest); Prescribing clinician is "
        "called and answers within 5 min.",
        "Stop: When watch systolic pressure is above 180 mmHg (Pressure too high).",
        "At the earliest 30 min after the first drug given, only if watch systolic pressure is "
        "below 180 mmHg, signed by Registered nurse.",
        "It counts, also when it was aborted, if the amount given is above 0 mg.",
        "Shared meal: Registered nurse does it.",
    ],
)
def test_a_session_is_told_from_booking_to_release(sentence: str) -> None:
    assert sentence in chapter("Sessions")


def test_that_a_session_sedates_is_said_before_anybody_signs() -> None:
    said = "One sedating session a date for a patient, in whatever program."

    assert said in chapter("Sessions", therapy())
    assert said not in chapter("Sessions")


def circle() -> Program:
    """The circle of the tests."""
    return load(Path(__file__).parent / "programs" / "ketamine-circle" / "ketamine-circle.yaml")


@pytest.mark.parametrize(
    "sentence",
    [
        "3 seats; it starts with 2 members or more.",
        "Therapist plans and leads it; it lasts 4 h.",
        "At the start: one Nurse for every 3 members and Therapist for every 2 members.",
        "Mats or garden.",
        "Prescriber may start it smaller or short of staff, with a reason.",
        "Source: Group practices as published: 4 to 6, or 4 to 8, in a room of 6 mats (B).",
    ],
)
def test_a_group_is_told_with_its_seats_its_people_and_its_rooms(sentence: str) -> None:
    assert sentence in chapter("Groups", circle())


def test_what_is_held_in_a_group_says_so() -> None:
    told = written(circle())

    assert "It is held in a group “Ketamine circle”: each patient has a session" in told
    assert "done in a group “Shared meal”, and recorded for each patient alone." in told
    assert "Groups" not in [part.title for part in protocol(DETOX).parts]
    nurse = [part.title for part in protocol(circle(), "nurse").parts]
    assert "Groups" in nurse


def test_a_condition_is_told_in_words_with_its_figures_and_who_may_override_it() -> None:
    told = chapter("Conditions")

    assert (
        "Holds if Baseline systolic pressure is below 180 mmHg. Prescribing clinician may override "
        "it for 4 h, with a reason."
    ) in told
    assert (
        "Holds if every reading of CIWA total in the last 24 h is below 8 points and the time "
        "since Intake last use is at least 96 h."
    ) in told


def test_every_limit_stands_with_its_unit_and_its_source() -> None:
    told = chapter("Limits")

    assert "Severe ciwa 20 points Hospital order set (A) Think of hospital." in told
    assert "High systolic 180 mmHg Clinic practice (C)" in told


def test_ends_are_told_and_those_of_every_program_are_gathered() -> None:
    told = chapter("Ends")

    assert "Home: Treatment is completed. Work that follows and never blocks leaving" in told
    assert told.count("At any time:") == 2  # with work that follows, and without
    assert "Died or entered in error. Reported by Prescribing clinician." in told


def test_safety_rules_are_sentences() -> None:
    told = chapter("Safety rules")

    assert "Never: “NAD+ infusion” unless “Consent to NAD+ is in force”." in told
    assert "Once “NAD+ infusion” is given, “NAD+ infusion” is released within 4 h." in told
    assert "Always possible: To reach the end “Home”." in told


def test_forms_say_what_is_asked_what_is_plausible_and_how_it_is_scored() -> None:
    told = chapter("Forms")

    assert "Systolic pressure whole number 50 to 300 mmHg" in told
    assert "Symptoms any of: Chest tightness; optional; or refused" in told
    assert "CIWA total: The sum of 2 answers. From 0 mild and from 8 severe." in told


def test_a_protocol_can_be_signed_and_says_which_version_it_is() -> None:
    assert "Medical director: ...." in written()
    assert f"Version 1.0.0, digest {DETOX.digest[:12]}." in written()


def test_a_role_reads_only_what_it_does_decides_or_is_called_to() -> None:
    told = written(role="prescriber")

    assert "What concerns the role Prescribing clinician." in told
    assert "Intake evaluation" in told  # does it
    assert "Alcohol check" in told  # is called by its alert
    assert "The pressure allows an infusion: Holds if" in told  # may override it
    assert "If none holds, Prescribing clinician decides." in told
    assert "Baseline: Registered nurse" not in told
    assert "Limits" not in told


def test_markdown_cannot_be_broken_by_what_a_program_says() -> None:
    program = detox(
        ("title: Shared meal", 'title: "a | b *c* <script> [x](y)"'),
        ("about: Think of hospital.", 'about: "1 | 2"'),
    )

    markdown = as_markdown(protocol(program))

    assert r"**a \| b \*c\* \<script\> \[x\](y)**" in markdown
    assert r"| Severe ciwa | 20 points | Hospital order set (A) | 1 \| 2 |" in markdown
    assert markdown.startswith("# Short detox\n\n")
    assert "\n### 2.1 Withdrawal\n" in markdown


def test_text_cannot_move_the_cursor_of_a_terminal() -> None:
    assert clean("a\x1b[2Jb\u202ec\nd") == "a\ufffd[2Jb\ufffdc\nd"


def test_a_program_as_data_is_json_with_sentences_beside_the_values() -> None:
    data = json.loads(json.dumps(as_data(DETOX)))

    assert data["format"] == 1
    assert data["limits"]["high_systolic"]["value"] == "180"
    assert data["gates"]["nad_consented"]["text"] == "consent nad in force"
    assert data["steps"]["intake_evaluation"]["due"] == "24 h"
    assert data["steps"]["alcohol_check"]["only_if"] == "intake.substance is alcohol"
    assert "Only if Intake substance is “Alcohol”." in data["steps"]["alcohol_check"]["in_words"]
    assert data["phases"]["care"]["next"][1]["in_words"] == (
        "If “Withdrawal has settled”: the end “Home”."
    )
    assert not {"files", "retention"} & set(data)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("always", "always"),
        ("not settled", "not “Withdrawal has settled”"),
        (
            "(settled and nad_consented)",
            "(“Withdrawal has settled” and “Consent to NAD+ is in force”)",
        ),
        ("ever ciwa.total >= 20 points", "any reading so far of CIWA total is at least 20 points"),
        (
            "any ciwa.total of last 24 h > 8 points",
            "any reading of CIWA total in the last 24 h is above 8 points",
        ),
        ("age of intake.substance <= 7 d", "the age of Intake substance is at most 7 d"),
        ("count of infusion missed > 1", "the number of times “Infusion” was missed is above 1"),
        (
            "count of nad_infusion counted = 4",
            "the number of times “NAD+ infusion” was counted is equal to 4",
        ),
        (
            "total of vitals.systolic within calm_time < 3",
            "the total of Vitals systolic pressure within 24 h is below 3",
        ),
        (
            "time since nad_infusion released > 1 h",
            "the time since “NAD+ infusion” was released is above 1 h",
        ),
        ("time since infusion done > 1 h", "the time since “Infusion” was done is above 1 h"),
        ("time since entering day > 1 h", "the time since entering “Day” is above 1 h"),
        ("time since entering > 1 h", "the time since entering this phase is above 1 h"),
        (
            "program day >= 4 or round != 2",
            "the program day is at least 4 or the round is other than 2",
        ),
        ("intake.substance is not opioid", "Intake substance is not “Opioids”"),
        ("ciwa.total_band is severe", "CIWA total is “Severe”"),
        ("intake.pregnant is recorded", "“Is the patient pregnant?” (Intake) is recorded"),
        ("infusion is declined", "“Infusion” is declined"),
        (
            "2 * ciwa.nausea + ciwa.tremor - 1 < 8",
            "2 times CIWA nausea plus CIWA tremor minus 1 is below 8",
        ),
    ],
)
def test_every_kind_of_condition_has_its_words(expression: str, words: str) -> None:
    assert Words(DETOX).condition(expression) == words


def test_lists_and_sentences_are_punctuated_as_people_do() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert sentence("it is so") == "It is so."
    assert sentence("") == ""


_CLOCKED = detox(
    (
        "at: [0 min, 15 min, 30 min], then_every: 30 min}",
        "at: [0 min], during_every: 10 min, then_every: 15 min, early_by: 2 min}\n"
        "    alerts:\n"
        "      - {when: watch.systolic > high_systolic, says: Look again, recheck: 5 min}",
    ),
    (
        "        tell: [prescriber]\n        answer_within: 5 min",
        "        recheck: 5 min\n        tell: [prescriber]\n        answer_within: 5 min\n"
        "        escalation: duty",
    ),
    (
        "excursions:",
        "escalations:\n  duty: {source: practice, repeat_last: 2, then: "
        "[{tell: [prescriber, nurse], answer_within: 5 min}]}\nexcursions:",
    ),
    (
        "    no_show_after: 30 min",
        "    no_show_after: 30 min\n    no_shows: 3\n    short_notice: 24 h\n    plan_within: 3 d",
    ),
    ("counted_from: nad_infusion released", "counted_from: nad_infusion given"),
    ("optional: true\n            different", "early_by: 10 min\n            quiet: waits\n"
     "            optional: true\n            different"),
)  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    [
        "at 0 min after the first drug given, then every 10 min until the dose has ended, then "
        "every 15 min until release; it may be taken 2 min before its time; a reading is late "
        "after 10 min.",
        "Alert (Look again): when watch systolic pressure is above 180 mmHg, the watch looks again "
        "within 5 min.",
        "(Tight chest); the watch looks again within 5 min; Prescribing clinician is called and "
        "answers within 5 min; if nobody does, Prescribing clinician or Registered nurse (5 min, "
        "up to 3 times).",
        "Not arrived 30 min after the time: no-show. After every 3 no-shows somebody looks at it. "
        "Cancelled less than 24 h before: at short notice. The next is proposed within 3 d of the "
        "last start.",
        "after the first drug of “NAD+ infusion” is given.",
        "It may be done 10 min before it opens. It does not open in the quiet hours, but at their "
        "end.",
    ],
)
def test_the_clock_of_a_session_and_the_calls_are_told(sentence: str) -> None:
    assert sentence in written(_CLOCKED)


def test_whoever_is_called_last_reads_of_it_too() -> None:
    program = detox(
        (
            "                tell: [prescriber]\n                answer_within: 15 min",
            "                tell: [nurse]\n                answer_within: 15 min\n"
            "                then: [{tell: [prescriber], answer_within: 5 min}]",
        )
    )

    assert "if nobody does, Prescribing clinician (5 min)" in written(program, "prescriber")


# Drugs

DRUGS = compile_files(
    {
        "d/d.yaml": """
language: 1
program: d
version: "1.0.0"
title: D
sources:
  practice: {title: Practice, trust: C}
roles: {nurse: Nurse, doctor: Doctor}
forms:
  body:
    title: Body
    any_time: true
    fields: {weight: {type: decimal, unit: kg, from: 1, to: 300, label: Weight}}
orders:
  ketamine_order:
    drug: ketamine
    route: intravenous
    by: [doctor]
    amount: {from: 0.3 mg/kg, to: 0.8 mg/kg}
    most: 100 mg
    weight: body.weight
    weight_lasts: 14 d
    rounded_to: 1 mg
    raise_by_at_most: 0.2 mg/kg
    bolus_at_most: 0.1 mg/kg
    times: 1
    lasts: 30 d
    source: practice
  calm_order:
    drug: lorazepam
    route: oral
    by: [doctor]
    amount: {from: 1 mg, to: 2 mg}
    lasts: 72 h
    source: practice
medicines:
  calming:
    by: [nurse]
    order: calm_order
    for: Agitation
    apart: 4 h
    cap: [{most: 8 mg, per: 24 h}]
    source: practice
  plain: {by: [nurse], order: calm_order}
ledgers:
  book: {title: Ketamine, drug: ketamine, witnessed_by: [nurse]}
  open_book: {drug: ketamine, witnessed_by: []}
start: stay
phases:
  stay:
    steps:
      prescribe: {by: [doctor], order: ketamine_order}
      drips: {by: [nurse], session: drip}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose:
      drug: ketamine
      route: intravenous
      order: ketamine_order
      ledger: book
      checked_by: [nurse, doctor]
      cap:
        - {most: 100 mg, per: program day}
        - {most: 600 mg, per: course}
    watch: {by: [nurse], record: body, at: [0 min], then_every: 30 min}
    release: {earliest: 1 h, signed_by: [nurse]}
ends: {well: {kind: completed}}
leaving: {by: [nurse]}
"""
    },
    "d/d.yaml",
)


@pytest.mark.parametrize(
    "sentence",
    [
        "Doctor orders “Ketamine order”.",
        "Ketamine order: Ketamine, intravenous, 0.3 to 0.8 mg/kg; by body weight, no older than "
        "14 d; rounded down to a multiple of 1 mg; never more than 100 mg; raised by at most 0.2 "
        "mg/kg at a time; at most 0.1 mg/kg of it as a bolus; given once and in force "
        "for 30 d. Ordered by Doctor.",
        "Calm order: Lorazepam, oral, 1 to 2 mg; in force for 72 h. Ordered by Doctor.",
        "Calming: As needed for agitation, on the order “Calm order”; at least 4 h apart; at most "
        "8 mg in 24 h. Given by Nurse.",
        "Plain: As needed, on the order “Calm order”. Given by Nurse.",
        "Ketamine: ketamine: drawn = given + wasted + returned. Another person witnesses what is "
        "wasted: Nurse.",
        "Open book: ketamine: drawn = given + wasted + returned.",
        "Given on the order “Ketamine order”; without one in force nothing starts.",
        "At most 100 mg on a program day and 600 mg in all programs together.",
        "Before it is given a second person checks it: Nurse or Doctor.",
        "Stands in the ledger “Ketamine”: nobody is released before what was drawn is given, "
        "wasted or returned.",
    ],
)
def test_orders_medicines_and_ledgers_are_said_in_words(sentence: str) -> None:
    assert sentence in written(DRUGS)


def test_a_role_sees_the_orders_and_medicines_that_are_its_own() -> None:
    nurse = written(DRUGS, "nurse")
    assert "Calming: As needed" in nurse
    assert "Ordered by" not in nurse
