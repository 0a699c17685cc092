"""Scenario files: what they may say, and that each expectation can fail."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from kat_workflow.language import Files, Folder, shipped
from kat_workflow.program.clock import Site
from kat_workflow.scenarios import BadScenario, Result, load_scenario, run

HEAD = """\
scenario: A patient
program: detox-4-day
starts: 2026-03-02 08:00
site: {zone: America/Los_Angeles}
people: {ann: [nurse_practitioner, nurse]}
steps:
  - {enroll: M, by: ann}
"""
INTAKE = (
    "{substances: [alcohol], last_drink: day 0 07:00, pawss: 2, seizure_or_delirium: no, "
    "unstable: no, could_be_pregnant: no, medicines: none}"
)
RECORDED = f"  - {{do: record intake_evaluation, by: ann, with: {INTAKE}, signed: true}}\n"


def told(text: str) -> Result:
    return run(load_scenario(Path("x.yaml"), text), shipped())


def differences(text: str) -> list[str]:
    return [f"{each.line}: {each.expected} | {each.found}" for each in told(text).mismatches]


@pytest.mark.parametrize(
    "right",
    [
        "phase: screening",
        "phase: [screening]",
        "open: [tests, suicide_screen]",
        "not_open: [admission]",
        "standing: applied",
        "late: []",
        "settled: {intake_evaluation: done}",
        "end: null",
        "sessions: {nad_infusion: {held: 0}}",
        "missed: []",
        "holds: 0",
        "day: null",
        "deviations: []",
        "alerts: []",
        "questioned: []",
        "escalated: []",
        "facts: {intake.pawss: 2}",
    ],
)
def test_what_is_so_passes(right: str) -> None:
    assert differences(f"{HEAD}{RECORDED}  - {{expect: {{{right}}}}}\n") == []


@pytest.mark.parametrize(
    "wrong",
    [
        "phase: stay",
        "open: [admission]",
        "not_open: [tests]",
        "standing: closed",
        "late: [tests]",
        "settled: {intake_evaluation: declined}",
        "settled: {tests: done}",
        "end: hospital",
        "sessions: {nad_infusion: {held: 1}}",
        "missed: [tests]",
        "holds: 1",
        "day: 1",
        "deviations: [over-cap]",
        "alerts: [late]",
        "escalated: [late]",
        "facts: {intake.pawss: 3}",
        "facts: {nothing.at_all: 3}",
    ],
)
def test_what_is_not_so_is_told_with_its_line(wrong: str) -> None:
    (difference,) = differences(f"{HEAD}{RECORDED}  - {{expect: {{{wrong}}}}}\n")

    assert difference.startswith("9: ")


PREGNANT = (
    f"{HEAD}{RECORDED}"
    "  - {do: correct intake_evaluation, by: ann, signed: true,\n"
    "     with: {could_be_pregnant: yes, reason: misheard}, expect: {facts: %s}}\n"
)


def test_a_record_is_corrected_by_the_name_of_its_step_and_reads_as_corrected() -> None:
    assert differences(PREGNANT % "{intake.could_be_pregnant: true, intake.pawss: 2}") == []
    (told_,) = differences(PREGNANT % "{intake.could_be_pregnant: false}")
    assert "intake.could_be_pregnant False | True" in told_


def test_a_retracted_record_is_no_fact_and_a_questioned_decision_is_expected_by_name() -> None:
    text = (
        f"{HEAD}{RECORDED}"
        "  - {do: correct intake_evaluation, by: ann, with: {values: {last_drink: day 0 06:00},"
        " reason: an hour earlier}, signed: true, expect: {questioned: []}}\n"
        "  - {do: retract intake_evaluation, by: ann, with: {reason: another patient's},"
        " expect: {facts: {intake.pawss: null}, questioned: [%s]}}\n"
    )
    assert differences(text % "skip pregnancy_check") == []
    (line,) = differences(text % "start nad_infusion")
    found = "start nad_infusion questioned | questioned since the last look: "
    assert f"{found}['skip pregnancy_check']" in line
    (line,) = differences(text % "")
    assert "no decision questioned | ['skip pregnancy_check']" in line


def test_no_deviations_means_none() -> None:
    recorded = RECORDED.replace(", signed: true", ", occurred: day 0 07:30, signed: true")
    (difference,) = differences(f"{HEAD}{recorded}  - {{expect: {{deviations: []}}}}\n")

    assert difference.startswith("9: no deviations")


def test_a_lot_may_come_in_before_anybody_is_enrolled() -> None:
    begins, _, rest = HEAD.partition("steps:\n")
    lot = "{receive: {drug: ketamine, lot: K1, amount: 5 mg, expires: 2027-01-31}, by: ann}"

    assert differences(f"{begins}steps:\n  - {lot}\n{rest}") == []
    with pytest.raises(BadScenario, match="receive"):
        told(f"{begins}steps:\n  - {lot.replace('lot:', 'batch:')}\n{rest}")


def test_a_refusal_that_nobody_expected_is_told() -> None:
    (difference,) = differences(f"{HEAD}  - {{do: start nad_infusion, by: nurse}}\n")

    assert "not-open" in difference


@pytest.mark.parametrize(
    ("refused", "passes"),
    [
        ("not-open", True),
        ("{code: not-open}", True),
        ("{code: not-open, says: infusion}", True),
        ("{code: gate-closed}", False),
        ("{gate: nad_agreed}", False),
        ("null", False),
    ],
)
def test_a_refusal_must_be_the_one_that_was_expected(refused: str, passes: bool) -> None:
    text = f"{HEAD}  - {{do: start nad_infusion, by: nurse, refused: {refused}}}\n"

    assert (differences(text) == []) == passes


def test_a_command_that_should_be_refused_and_is_not_is_told() -> None:
    text = f"{HEAD}  - {{do: hold a bed, by: nurse, refused: on-hold}}\n"

    assert "it was carried out" in differences(text)[0]


def test_time_that_falls_is_told() -> None:
    assert differences(f"{HEAD}  - {{at: day 1 07:00}}\n")


@pytest.mark.parametrize("step", ["after: 2 h", "pass: 2 h", "pass: until day 1 10:00"])
def test_time_passes_as_it_is_said(step: str) -> None:
    result = told(f"{HEAD}  - {{{step}, do: hold a bed, by: nurse}}\n")

    assert result.passed
    assert f"{result.happened[-1].recorded:%H:%M}" == "18:00"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "is a mapping"),
        ("scenario: x\nstarts: 2026-03-02 08:00\n", '"steps:" is missing'),
        (f"{HEAD}  - 3\n", "8: a step is a mapping"),
        (f"{HEAD}  - {{du: hold}}\n", 'has no "du"'),
        (f"{HEAD}  - {{expect: {{fase: x}}}}\n", 'has no "fase"'),
        (HEAD.replace("2026-03-02 08:00", "soon"), "no date"),
        (HEAD.replace("site: {", "site: {quiet: [late], "), "site: "),
        ("a: [\n", "x.yaml"),
    ],
)
def test_a_file_that_is_no_scenario_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(BadScenario, match=r"x\.yaml") as told_:
        load_scenario(Path("x.yaml"), text)

    assert says in str(told_.value)


def test_a_call_that_went_on_although_none_was_expected_is_told() -> None:
    folder = Path(__file__).parent.parent / "programs/ketamine-assisted-therapy/scenarios"
    text = (folder / "nobody-answers-a-call.yaml").read_text(encoding="utf-8")
    wrong = text.replace("escalated: [kat_session.pause]", "escalated: []")

    result = run(load_scenario(folder / "x.yaml", wrong), shipped())

    assert [each.expected for each in result.mismatches] == ["escalated: []"] * 2


def test_a_scenario_may_say_when_its_site_is_closed_and_quiet() -> None:
    text = HEAD.replace("site: {", 'site: {closed: [2026-03-03], quiet: ["22:00", "07:00"], ')

    site = load_scenario(Path("x.yaml"), text).site

    assert site == Site("main", "America/Los_Angeles", (date(2026, 3, 3),), (time(22), time(7)))


def test_a_duration_that_is_none_is_told() -> None:
    assert "no duration" in differences(f"{HEAD}  - {{after: soon}}\n")[0]


QUIET = """\
language: 1
program: quiet
version: "1.0.0"
title: Quiet
start: stay
decided_by: [nurse]
roles: {nurse: Nurse}
sources: {practice: {title: Practice, trust: C}}
forms:
  vitals: {title: Vitals, fields: {pulse: {type: integer}}}
phases:
  stay:
    steps: {drip: {by: [nurse], session: infusion}}
    next: [{to: well, when: always}]
sessions:
  infusion:
    by: [nurse]
    source: practice
    dose: {drug: Water, route: intravenous, amount: 1 mL}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
    release: {earliest: 30 min, signed_by: [nurse]}
ends: {well: {kind: completed}}
leaving: {by: [nurse], work: []}
rules: {always_after: [{from: infusion.given, then: infusion.released, within: 2 h}]}
"""
DOSED = """\
scenario: Nobody is released
program: quiet
starts: 2026-03-02 08:00
steps:
  - {enroll: M, by: nurse}
  - {do: start infusion, by: nurse}
  - {do: dose infusion, by: nurse, with: {amount: 1 mL}}
"""


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        ("  - {pass: 1 h}\n", True),
        ("  - {after: 1 h, do: release infusion, by: nurse}\n  - {pass: 3 h}\n", True),
        ("  - {after: 1 h, do: leave against_advice, by: nurse}\n  - {pass: 3 h}\n", True),
        ("  - {pass: 3 h}\n", False),
        ("  - {after: 3 h, do: release infusion, by: nurse}\n", False),
        ("  - {after: 3 h, do: leave against_advice, by: nurse}\n", False),
    ],
)
def test_what_a_rule_promises_after_a_dose_is_held_against_the_record(
    rest: str, kept: bool
) -> None:
    """A release or an end in time, or a time that is not over yet: else somebody must be told. What
    comes afterwards does not mend it."""
    result = run(load_scenario(Path("x.yaml"), DOSED + rest), Files({"quiet/quiet.yaml": QUIET}))

    assert result.passed == kept
    assert all("rule" in mismatch.expected for mismatch in result.mismatches)


def test_pytest_collects_scenarios_and_reports_their_differences(
    pytester: pytest.Pytester,
) -> None:
    folder = pytester.path / "mine"
    (folder / "scenarios").mkdir(parents=True)
    detox = (shipped().root / "detox-4-day" / "detox-4-day.yaml").read_text(encoding="utf-8")
    text = detox.replace("program: detox-4-day", "program: mine", 1)
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    head = HEAD.replace("program: detox-4-day\n", "")
    (folder / "scenarios" / "right.yaml").write_text(head, encoding="utf-8")
    wrong = f"{head}  - {{expect: {{standing: closed}}}}\n"
    (folder / "scenarios" / "wrong.yaml").write_text(wrong, encoding="utf-8")

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*expected standing closed; found applied*"])


# Several patients, and groups

CIRCLE = """\
scenario: Two in a circle
program: ketamine-circle
starts: 2026-03-02 09:00
people: {ann: [nurse], tom: [therapist]}
steps:
  - {enroll: P-1, as: anna, by: ann}
  - {do: done agreement, by: ann}
  - {enroll: P-2, as: ben, by: ann}
  - {do: done agreement, by: ann}
  - {group: {plan: circle, room: mats, as: monday}, by: tom}
  - {group: {plan: circle, when: day 2 09:00, room: mats, as: tuesday}, by: tom}
  - {group: {in: monday, join: anna}, by: ann}
  - {group: {join: ben}, by: ann}
"""


def in_a_circle(step: str) -> list[str]:
    folder = Folder(Path(__file__).parent / "programs", shipped())
    result = run(load_scenario(Path("x.yaml"), f"{CIRCLE}  - {step}\n"), folder)
    return [f"{each.line}: {each.expected} | {each.found}" for each in result.mismatches]


@pytest.mark.parametrize(
    "right",
    [
        "{for: ben, expect: {sessions: {ketamine_session: {booked: 1}}}}",
        "{expect: {group: {state: planned, room: mats, members: 2, waiting: 0, offered: 0}}}",
        "{group: {in: tuesday, call_off: ill}, by: tom, expect: {group: {state: called off}}}",
        "{group: {drop: ben, reason: a cold}, by: ann, expect: {group: {members: 1}}}",
        "{group: {do: start ketamine_session}, by: ann, refused: group-not-started}",
        "{group: {do: arrive ketamine_session}, by: ann}",
    ],
)
def test_what_is_so_of_a_group_passes(right: str) -> None:
    assert in_a_circle(right) == []


@pytest.mark.parametrize(
    ("wrong", "told_"),
    [
        ("{for: zoe, expect: {day: 1}}", 'nobody was enrolled as "zoe"; known: anna, ben'),
        ("{group: {join: zoe}, by: ann}", 'nobody was enrolled as "zoe"'),
        ("{expect: {group: {members: 3}}}", "group members 3 | 2"),
        ("{expect: {group: {colour: red}}}", "group colour red | no colour"),
        ("{group: {do: start ketamine_session}, by: ann}", "[group-not-started]"),
        (
            "{group: {do: arrive ketamine_session}, by: ann, refused: wrong-role}",
            "a refusal (wrong-role) | it was carried out",
        ),
        ("{group: {start: []}, by: tom, refused: room-taken}", "[staff-short]"),
    ],
)
def test_what_is_not_so_of_a_group_is_told(wrong: str, told_: str) -> None:
    (difference,) = in_a_circle(wrong)

    assert difference.startswith("14: ")
    assert told_ in difference


def test_a_group_is_told_in_known_words() -> None:
    with pytest.raises(BadScenario, match='group has no "jion"'):
        load_scenario(Path("x.yaml"), f"{CIRCLE}  - {{group: {{jion: anna}}, by: ann}}\n")


# Several programs, sites and numbers of one patient

TWO = """\
scenario: Two programs
program: ketamine-by-weight
starts: 2026-03-02 09:00
site: {name: main, zone: America/Los_Angeles}
sites: {coast: {zone: America/New_York}, annex: null}
steps:
  - {enroll: P-1, as: weight, by: nurse}
  - {enroll: P-1, as: detox, program: detox-4-day, by: nurse_practitioner}
"""
BY_WEIGHT = Folder(str(Path(__file__).parent / "clinics"), shipped())


def differ(text: str) -> list[str]:
    return [str(each) for each in run(load_scenario(Path("x.yaml"), text), BY_WEIGHT).mismatches]


def test_one_patient_is_told_of_in_two_programs_and_each_counts_its_own_sessions() -> None:
    text = (
        f"{TWO}  - {{expect: {{phase: screening, sessions: {{nad_infusion: {{booked: 0}}}}}}}}\n"
        "  - {for: weight, expect: {phase: course, sessions: {infusion: {booked: 0}}}}\n"
    )

    result = run(load_scenario(Path("x.yaml"), text), BY_WEIGHT)

    assert not result.mismatches
    assert result.coverage.phases == {"course"}


def test_a_patient_goes_on_at_another_site_of_the_story() -> None:
    assert differ(f"{TWO}  - {{for: weight, do: transfer coast, by: prescriber}}\n") == []
    (refused,) = differ(f"{TWO}  - {{for: weight, do: transfer moon, by: prescriber}}\n")
    assert "unknown-site" in refused


def test_numbers_are_merged_and_taken_apart_with_a_reason() -> None:
    merged = "{duplicate: P-2, into: P-1, reason: the same}"
    told_ = f"{TWO}  - {{enroll: P-2, by: nurse}}\n  - {{merge: {merged}, by: prescriber}}\n"

    assert differ(f"{told_}  - {{unmerge: {merged}, by: prescriber}}\n") == []
    (refused,) = differ(f"{told_}  - {{unmerge: {{duplicate: P-2, into: P-1}}, by: prescriber}}\n")
    assert "reason-missing" in refused
    with pytest.raises(BadScenario, match="merge has no"):
        differ(f"{TWO}  - {{merge: {{from: P-2}}, by: prescriber}}\n")
