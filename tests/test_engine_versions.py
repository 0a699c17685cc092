"""Another version of a program, for those who are in one: foreseen, done, taken back, flagged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from walk_in import ANN, BO, EIGHT, TEXT

from kat_workflow import Actor, Engine, Refused
from kat_workflow.cli import kat
from kat_workflow.engine.access import AccessLog
from kat_workflow.enrollment import events as e
from kat_workflow.program.clock import Site

LEE = Actor("dr-lee", {"medical_director"})
NEXT = TEXT.replace('version: "1.0.0"', 'version: "1.1.0"').replace("180 mmHg", "160 mmHg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "programs" / "walk-in"
    place.mkdir(parents=True)
    (place / "walk-in.yaml").write_text(TEXT)
    return place.parent


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "clinic.db"


def clinic(store: Path | None, folder: Path, **how: object) -> Engine:
    return Engine.open(
        store, programs=folder, clock=lambda: EIGHT, sites=(Site(), Site("coast")), **how  # type: ignore[arg-type]
    )  # fmt: skip


def publish(folder: Path, text: str = NEXT) -> None:
    """The next version comes out; the one before stays beside it."""
    file = folder / "walk-in" / "walk-in.yaml"
    shutil.copy(file, folder / "walk-in" / "walk-in@1.0.0.yaml")
    file.write_text(text)


def test_a_patient_goes_on_by_the_next_version_and_back(store: Path | None, folder: Path) -> None:
    with clinic(store, folder) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        engine.record(patient, "look", {"systolic": 170}, by=ANN)
        publish(folder)

        engine.do(patient, "change version 1.1.0", given={"reason": "safer"}, by=BO)

        assert engine.program_of(patient).version == "1.1.0"
        engine.record(patient, "rest", {"systolic": 170}, by=ANN)
        engine.record(patient, "talk", {"story": "long"}, by=BO)
        assert engine.enrollment(patient).visits  # 170 is calm no longer
        with pytest.raises(Refused, match="unknown-version"):
            engine.do(patient, "change version 3.0.0", given={"reason": "x"}, by=BO)
        engine.do(patient, "change version 1.0.0", given={"reason": "as before"}, by=BO)
        assert engine.program_of(patient).version == "1.0.0"
        assert engine.status(patient).standing == "closed"
        versions = [
            x.event for x in engine.history(patient) if isinstance(x.event, e.VersionChanged)
        ]
        assert [(x.was, x.version) for x in versions] == [("1.0.0", "1.1.0"), ("1.1.0", "1.0.0")]


def test_what_another_version_would_do_is_foreseen_and_nothing_is_written(
    store: Path | None, folder: Path
) -> None:
    log = AccessLog()
    with clinic(store, folder, access=log) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        engine.record(patient, "look", {"systolic": 120}, by=ANN)
        more = "      weigh: {by: [nurse], record: interview}\n      rest:"
        publish(folder, NEXT.replace("      rest:", more, 1))
        before = engine.history(patient)

        seen = engine.foresee_version(patient, "1.1.0", by=BO, reason="safer")

        assert [x.step for x in seen if isinstance(x, e.ItemOpened)] == ["weigh"]
        assert engine.history(patient) == before
        (look,) = log.by_person("bo")
        assert (look.through, look.why, look.patients) == ("foresee_version", "safer", ("P",))
        with pytest.raises(Refused, match="wrong-role"):
            engine.foresee_version(patient, "1.1.0", by=ANN, reason="safer")


def test_worklists_show_what_is_open_as_the_version_calls_it(
    store: Path | None, folder: Path
) -> None:
    with clinic(store, folder) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        publish(folder, NEXT.replace("look: {by: [nurse]", "look: {title: First look, by: [nurse]"))

        engine.do(patient, "change version 1.1.0", given={"reason": "safer"}, by=BO)

        assert "First look" in [item.title for item in engine.worklist("nurse").items]


def test_in_production_nobody_goes_on_by_what_is_not_signed_off(
    store: Path | None, folder: Path
) -> None:
    with clinic(store, folder, signed_only=True) as engine:
        engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        publish(folder)

        with pytest.raises(Refused) as refused:
            engine.do(patient, "change version 1.1.0", given={"reason": "safer"}, by=BO)

        assert refused.value.code == "not-signed-off"

    with clinic(store, folder, signed_only=True) as engine:
        if store is None:
            return  # what was in memory is gone
        engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        engine.do(patient, "change version 1.1.0", given={"reason": "safer"}, by=BO)
        assert engine.program_of(patient).version == "1.1.0"


def test_after_a_fault_everybody_of_that_version_is_looked_at(
    store: Path | None, folder: Path
) -> None:
    with clinic(store, folder) as engine:
        here = engine.enroll("walk-in", patient="P", by=ANN)
        there = engine.enroll("walk-in", patient="Q", by=ANN, site="coast")
        moved = engine.enroll("walk-in", patient="R", by=ANN)
        publish(folder)
        engine.do(moved, "change version 1.1.0", given={"reason": "safer"}, by=BO)

        found = engine.flag_version(
            "walk-in", "1.0.0", by=BO, reason="a limit was wrong", command_id="f-1"
        )

        assert set(found) == {here, there}
        assert [x.enrollment for x in engine.on_version("walk-in", "1.1.0")] == [moved]
        for each in found:
            assert "Review: version-flagged" in [i.title for i in engine.status(each).items]
        again = engine.flag_version(
            "walk-in", "1.0.0", by=BO, reason="a limit was wrong", command_id="f-1"
        )
        assert set(again) == set(found)
        assert len([i for i in engine.status(here).items if "flagged" in i.title]) == 1


def test_whoever_signs_a_program_off_shows_who_they_are(store: Path | None, folder: Path) -> None:
    asked: list[object] = []

    def ask(by: Actor, act: object) -> bool:
        asked.append(act)
        return len(asked) > 1

    with clinic(store, folder, authenticate=ask) as engine:
        with pytest.raises(Refused) as refused:
            engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        assert refused.value.code == "not-authenticated"
        assert engine.register("walk-in").signed == {}

        digest = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")

    assert digest in str(asked[1])


def test_the_command_line_foresees_changes_and_flags(folder: Path, tmp_path: Path) -> None:
    db = str(tmp_path / "clinic.db")

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(
            kat, ["--programs", str(folder), *words, "--db", db], catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result.output

    patient = json.loads(run("enroll", "walk-in", "--patient", "P", "--by", "ann:nurse", "--json"))[
        "enrollment"
    ]
    publish(folder)
    change = ("change version 1.1.0", "reason=safer", "--by", "bo:doctor")

    assert "goes on by version 1.1.0 instead of 1.0.0 (safer)" in run(
        "why", patient, *change, "--foresee"
    )
    assert json.loads(run("why", patient, *change, "--foresee", "--json"))["events"]
    assert "1 in treatment by walk-in@1.0.0\n" in run("on-version", "walk-in@1.0.0")
    assert "goes on by version 1.1.0" in run("do", patient, *change)
    flag = ("on-version", "walk-in@1.1.0", "--flag", "a fault")
    assert "and flagged" in run(*flag, "--by", "bo:doctor")
    shown = json.loads(run("on-version", "walk-in@1.1.0", "--json"))
    assert shown["enrollments"] == [patient]
    assert "names no version" in run("on-version", "walk-in", code=2)
    assert "--by" in run(*flag, code=2)
    assert "--foresee tells" in run(
        "why", patient, "start x", "--foresee", "--by", "bo:doctor", code=2
    )
