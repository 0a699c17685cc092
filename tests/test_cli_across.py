"""The verbs about a patient across programs, run as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from two_programs import folder

from kat_workflow.cli import kat

NOW = ["--now", "2026-03-02T12:00"]
NURSE = ["--by", "nan:nurse", *NOW]
DOCTOR = ["--by", "dot:doctor", *NOW]
Kat = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kat:
    """`kat`, beside two programs and two sites."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAT_PROGRAMS", str(folder(tmp_path)))
    Path("sites.yaml").write_text("main: {zone: UTC}\ncoast: {zone: America/Los_Angeles}\n")

    def kat_(*words: str) -> Result:
        done = CliRunner().invoke(kat, list(words), catch_exceptions=True)
        assert done.exit_code in (0, 3), done.output
        return done

    return kat_


def enrolled(run: Kat, program: str, patient: str) -> str:
    return run("enroll", program, "--patient", patient, *NURSE).output.strip()


def data(result: Result) -> Any:
    return json.loads(result.output)


def test_a_patient_is_shown_across_programs(run: Kat) -> None:
    house = enrolled(run, "house", "P")
    therapy = enrolled(run, "therapy", "P")
    run("do", house, "hold fever", "everywhere=yes", *NURSE)
    run("do", house, "lift hold.1", *NURSE)
    run("do", therapy, "start day", *NURSE)
    run("do", house, "hold fever", "everywhere=yes", *NURSE)
    run("do", house, "leave against_advice", "reason=home", *NURSE)

    shown = run("patient", "P", *NOW).output

    assert f"{house}  house at main: Mon 02 Mar 2026 12:00, against_advice on Mon 02 Mar" in shown
    assert f"{therapy}  therapy at main: Mon 02 Mar 2026 12:00, in treatment" in shown
    assert "Session day.1 of therapy is not over" in shown
    assert "Hold everywhere: hold.2 of house (fever)" in shown
    assert data(run("patient", "P", "--json"))["holds"][0]["hold"] == "hold.2"


def test_two_ids_are_merged_and_taken_apart_again(run: Kat) -> None:
    enrolled(run, "house", "A")
    therapy = enrolled(run, "therapy", "B")

    merged = run("merge", "A", "B", "--reason", "same", *DOCTOR).output
    assert merged.startswith("A (also B)\n")
    assert f"{therapy}  therapy at main as B:" in merged
    assert "Review: patient-merged" in run("worklist", *NOW).output

    parted = run("unmerge", "A", "B", "--reason", "twins", *DOCTOR).output
    assert parted.startswith("A\n")
    assert "\nB\n" in parted
    again = data(run("merge", "A", "B", "--reason", "same", "--json", *DOCTOR))
    assert again["merged"] == ["B"]
    both = data(run("unmerge", "A", "B", "--reason", "twins", "--json", *DOCTOR))
    assert [x["patient"] for x in both["patients"]] == ["A", "B"]


def test_what_was_found_out_elsewhere_is_attested_offered_and_adopted(run: Kat) -> None:
    first = enrolled(run, "therapy", "P")
    told = run(
        "do", first, "attest fit", "points=7", "source=County Hospital", "--signed",
        "--occurred", "2026-03-01T10:00", *DOCTOR,
    )  # fmt: skip
    assert "attested fit from County Hospital" in told.output
    told = run("do", first, "offer therapy", "steps=fit", *DOCTOR)
    assert "evaluations handed over to therapy" in told.output
    assert "Handed over to therapy: fit of therapy" in run("patient", "P", *NOW).output
    second = enrolled(run, "therapy", "P")

    told = run("do", second, "adopt fit", "--signed", *DOCTOR)

    assert f"adopted fit from {first}/" in told.output
    assert "2026-03-01T10:00" in run("history", second, "--json", *NOW).output


def test_a_transfer_is_told_where_the_patient_goes_on(run: Kat) -> None:
    house = enrolled(run, "house", "P")

    told = run("do", house, "transfer coast", "reason=a bed is free", *DOCTOR)

    assert "goes on at coast" in told.output
    assert "P" in run("census", "--site", "coast", *NOW).output
