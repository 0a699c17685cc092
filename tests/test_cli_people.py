"""People on the command line: shifts, cover, readers, signatures, emergencies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kat_workflow.cli import kat

HERE = Path(__file__).parent / "people"
NOW = ["--now", "2026-03-02T18:00"]
ANN, DEE, THEA = ["--by", "ann:nurse"], ["--by", "dee:doctor"], ["--by", "thea:therapist"]

Kat = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kat:
    """`kat`, in a folder of its own that holds the night ward."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES", "KAT_PROGRAMS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(HERE, tmp_path / "programs")

    def kat_(*words: str) -> Result:
        return CliRunner().invoke(kat, list(words), catch_exceptions=True)

    return kat_


@pytest.fixture
def patient(run: Kat) -> str:
    done = run("enroll", "night-ward", "--patient", "P-1", *ANN, *NOW)
    assert done.exit_code == 0, done.output
    return done.output.strip()


def data(result: Result) -> Any:
    return json.loads(result.output)


def test_a_shift_is_listed_with_what_will_open_in_it_and_whose_each_thing_is(
    run: Kat, patient: str
) -> None:
    run("do", patient, "claim check", *ANN, *NOW)
    assert run("do", patient, "hand over all to bo", *ANN, *NOW).exit_code == 0

    # seven in the evening to seven in the morning: the shift that comes
    shift = run("worklist", "--role", "nurse", "--shift", "19:00-07:00", *NOW)
    asked = data(run("worklist", "--role", "nurse", "--shift", "19:00-07:00", "--json", *NOW))

    assert shift.output.startswith("Shift from Mon 02 Mar 2026 19:00 to Tue 03 Mar 2026 07:00")
    assert "bo from ann" in shift.output
    assert "Will open meanwhile:" in shift.output
    assert [item["opens"][11:16] for item in asked["coming"]] == ["22:00", "02:00", "06:00"]


@pytest.mark.parametrize(
    ("now", "shift", "begins"),
    [
        ("2026-03-03T03:00", "19:00-07:00", "Mon 02 Mar 2026 19:00"),  # it is on
        ("2026-03-02T12:00", "07:00-19:00", "Mon 02 Mar 2026 07:00"),
        ("2026-03-02T20:00", "07:00-19:00", "Tue 03 Mar 2026 07:00"),  # the next one
    ],
)
def test_the_shift_that_is_on_is_meant_or_else_the_next(
    run: Kat, patient: str, now: str, shift: str, begins: str
) -> None:
    result = run("worklist", "--shift", shift, "--site", "main", "--now", now)

    assert result.output.startswith(f"Shift from {begins}")


def test_work_is_listed_by_whose_it_is(run: Kat, patient: str) -> None:
    run("do", patient, "claim check", *ANN, *NOW)

    def steps(*words: str) -> set[str]:
        found = data(run("worklist", "--role", "nurse", *words, "--json", *NOW))
        return {item["step"] for item in found["items"]}

    assert steps("--person", "ann") == {"check"}
    assert "check" not in steps("--unassigned")
    assert "baseline" in steps("--unassigned")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["worklist", "--shift", "nights"], "no shift"),
        (["worklist", "--shift", "19:00-07:00", "--patient", "P-1"], "leave out --patient"),
        (["cover", "bo", "doctor", "--until", "soon", *DEE], "no instant"),
        (["cover", "bo", "doctor", "--until", "2026-03-03T07:00", *ANN, *NOW], "wrong-role"),
    ],
)
def test_what_cannot_be_meant_ends_in_a_sentence(run: Kat, words: list[str], says: str) -> None:
    result = run(*words)

    assert result.exit_code != 0
    assert says in result.output + str(result.exception)


def test_a_cover_is_granted_and_what_is_done_in_it_is_told(run: Kat, patient: str) -> None:
    until = ["--until", "2026-03-03T07:00", "--reason", "night duty", "--for", "dee"]
    done = run("cover", "bo", "doctor", *until, *DEE, *NOW)
    again = run(
        "cover", "cleo", "doctor", *until, "--since", "2026-03-02T19:00", "--json", *DEE, *NOW
    )
    run("do", patient, "hold", "reason=fever", "--by", "bo:orderly", *NOW)

    assert done.output.startswith("cover-")
    assert data(again)["cover"].startswith("cover-")
    assert "as doctor for dee" in run("history", patient, *NOW).output


def test_notes_are_withheld_from_whom_the_program_does_not_name(run: Kat, patient: str) -> None:
    run("record", patient, "counselling", "text=a secret", "--signed", *THEA, *NOW)

    assert "a secret" in run("history", patient, "--json", *NOW).output
    assert "a secret" in run("history", patient, "--as", "therapist", "--json", *NOW).output
    assert "a secret" not in run("history", patient, "--as", "nurse", "--json", *NOW).output
    assert run("status", patient, "--as", "nurse", *NOW).exit_code == 0
    assert run("status", patient, "--as", "P-2:patient", *NOW).exit_code != 0


def test_signatures_are_listed_with_whether_they_hold(run: Kat, patient: str) -> None:
    run("record", patient, "counselling", "text=x", "--signed", *THEA, *NOW)

    listed = run("signatures", patient, *NOW)
    asked = data(run("signatures", patient, "--json", *NOW))["signatures"]

    assert "thea (therapist): authored stay.1/counselling.1: holds" in listed.output
    assert asked[0]["valid"] is True


def test_an_emergency_is_told_with_what_it_passed(run: Kat, patient: str) -> None:
    assert run("do", patient, "go hospital", *THEA, *NOW).exit_code != 0

    done = run("do", patient, "go hospital", "--emergency", "no breath", *THEA, *NOW)
    run("record", patient, "news", "text=x", "--emergency", "no breath", *THEA, *NOW)

    assert "emergency: no breath; passed role: sending a patient to hospital" in done.output
    assert run("history", patient, *NOW).output.count("emergency: no breath") == 2
