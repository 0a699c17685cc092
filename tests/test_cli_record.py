"""`kat checkpoint`, `kat journal verify`, `kat erase`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kat_workflow import Engine
from kat_workflow.cli import kat
from kat_workflow.language import Folder, shipped
from kat_workflow.scenarios import load_scenario, run

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "programs/ketamine-assisted-therapy/scenarios/straight-way-through.yaml"
Kat = Callable[..., Result]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kat:
    """A clinic in the working directory in which a course has ended, and its `kat`."""
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario(COURSE)
    Path("sites.yaml").write_text(f"{scenario.site.name}: {{zone: {scenario.site.zone}}}\n")
    with Engine.open("clinic.db", sites=(scenario.site,)) as engine:
        run(scenario, Folder(ROOT / "programs", shipped()), engine.journal)
    return lambda *words, **more: CliRunner().invoke(kat, list(words), **more)


def patient() -> str:
    with closing(sqlite3.connect("clinic.db")) as connection:
        ((stream,),) = connection.execute(
            "SELECT stream FROM kat_streams WHERE stream LIKE 'patient:%'"
        ).fetchall()
    return str(stream).partition(":")[2]


def test_a_record_is_signed_and_audited_and_a_change_is_named(said: Kat) -> None:
    signed = said("checkpoint", "--key", "clinic.pem", "--new")
    Path("lines.txt").write_text(signed.output)
    assert Path("clinic.pem").stat().st_mode & 0o077 == 0

    sound = said("journal", "verify", "--checkpoints", "lines.txt", "--key", "clinic.pem.pub")
    with closing(sqlite3.connect("clinic.db")) as connection, connection:
        connection.execute("UPDATE kat_entries SET person = 'x' WHERE position = 7")
    changed = said("journal", "verify")
    told = json.loads(said("journal", "verify", "--json").output)

    assert (sound.exit_code, sound.output[:6]) == (0, "Sound:")
    assert changed.exit_code == 5
    assert "(position 7, " in changed.output
    assert "not seen: no checkpoint was given" in changed.output
    assert told["faults"][0]["position"] == 7


def test_a_patient_is_erased_once_it_is_confirmed(said: Kat) -> None:
    words = ("erase", patient(), "--ground", "Art. 17", "--by", "dora")

    assert said(*words, input="n\n").exit_code == 1
    assert said(*words, input="y\n").output.endswith("Erased, in 2 streams.\n")
    assert said(*words, "--yes").exit_code != 0
    assert "entries were erased" in said("journal", "verify").output


def test_keys_and_lines_go_together(said: Kat) -> None:
    Path("lines.txt").write_text("")

    assert "make it with --new" in said("checkpoint", "--key", "none.pem").output
    assert said("checkpoint", "--key", "a.pem", "--new").exit_code == 0
    assert "is there already" in said("checkpoint", "--key", "a.pem", "--new").output
    assert "with their --key" in said("journal", "verify", "--checkpoints", "lines.txt").output
