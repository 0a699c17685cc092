"""What every program that ships owes to whoever opens it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from kat_workflow.language import check, shipped
from kat_workflow.language.compiler import Checked
from kat_workflow.scenarios import Scenario, load_scenario

ROOT = Path(__file__).parents[2] / "programs"
NAMES = sorted(path.stem for path in ROOT.glob("*/*.yaml") if path.stem == path.parent.name)
TRIALS = sorted(path.stem for path in ROOT.glob("trials/*/*.yaml") if path.stem == path.parent.name)
each_program = pytest.mark.parametrize("name", NAMES)


@cache
def checked(name: str) -> Checked:
    return check(name, shipped())


def stories(name: str) -> list[Scenario]:
    return [load_scenario(path) for path in sorted((ROOT / name / "scenarios").glob("*.yaml"))]


def ends(scenario: Scenario) -> set[str]:
    return {step["expect"]["end"] for step in scenario.steps if "end" in step.get("expect", {})}


def test_the_programs_that_the_clinic_asked_for_ship() -> None:
    assert set(NAMES) >= {
        "detox-4-day",
        "ketamine-assisted-therapy",
        "residential-30-day",
        "kat-alcohol",
        "kat-stimulant",
        "kat-opioid",
        "kat-prescription-opioid",
        "ptsd-variant",
        "ketamine-group-therapy",
        "spravato-session",
    }


@pytest.mark.parametrize("name", [*NAMES, *TRIALS])
def test_a_shipped_program_has_no_finding(name: str) -> None:
    assert checked(name).findings == ()


@each_program
def test_a_shipped_program_says_that_it_is_no_advice_and_is_to_be_signed_off(name: str) -> None:
    program = checked(name).program

    assert program is not None
    assert "not medical advice" in program.about
    assert "sign" in program.about
    if any(kind.dose and "ketamine" in kind.dose.drug for kind in program.sessions.values()):
        assert "off-label" in program.about or "Neither NAD+ nor ketamine" in program.about


@each_program
def test_every_number_that_decides_has_its_source(name: str) -> None:
    program = checked(name).program

    assert program is not None
    assert all(limit.source in program.sources for limit in program.limits.values())


@each_program
def test_a_shipped_program_tells_a_way_through_a_way_out_and_a_refusal(name: str) -> None:
    program, told = checked(name).program, stories(name)

    assert program is not None
    reached = {end: program.ends[end].kind for story in told for end in ends(story) if end}
    assert len(told) >= 3
    assert "completed" in reached.values()
    assert "not_eligible" in reached.values()
    assert any("refused" in step for story in told for step in story.steps)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("trial-")])
def test_a_study_names_its_own_report_beside_what_studies_leave_open(name: str) -> None:
    study, base = checked(name).program, checked("ketamine-study").program

    assert study is not None
    assert base is not None
    assert set(study.sources) - set(base.sources)
    assert "claims no effect" in " ".join(study.about.split())


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_arm_claims_nothing_and_says_where_its_numbers_come_from(name: str) -> None:
    program = checked(name).program

    assert program is not None
    assert "claims no effect" in program.about.replace("\n", " ")
    assert "medical advice" in program.about.replace("\n", " ")
    assert all(limit.source in program.sources for limit in program.limits.values())
    assert program.medicines["study_drug"].source in program.sources


def test_the_arms_of_three_opioid_trials_stand_on_a_shelf_of_their_own() -> None:
    assert TRIALS == [
        "ctn-0027-buprenorphine",
        "ctn-0027-methadone",
        "ctn-0030-emm",
        "ctn-0030-smm",
        "ctn-0051-buprenorphine",
        "ctn-0051-naltrexone",
    ]
    assert shipped().file("ctn-0030-smm/ctn-0030-smm.yaml") is not None
    assert "ctn-0030-smm/ctn-0030-smm.yaml" in shipped().names()
    assert shipped().file("../trials/ctn-0030-smm.yaml") is None
