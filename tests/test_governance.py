"""Who may use a program: drafts, signatures, retirement, what changed since; sheets to sign."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path

import pytest
from click.testing import CliRunner
from walk_in import ANN, TEXT

from kat_workflow import Actor, Engine, Refused
from kat_workflow.cli import kat
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Addition
from kat_workflow.enrollment.register import Register, sign_off
from kat_workflow.enrollment.register import evolve as fold
from kat_workflow.errors import ProgramError
from kat_workflow.language import load
from kat_workflow.protocol import Points, Section, protocol
from kat_workflow.protocol.sheet import day_sheet, page

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEE = Actor("dr-lee", {"medical_director"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "programs" / "walk-in"
    place.mkdir(parents=True)
    (place / "walk-in.yaml").write_text(TEXT)
    return place.parent


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "clinic.db"


def clinic(store: Path | None, folder: Path, signed_only: bool = True) -> Engine:
    return Engine.open(store, programs=folder, clock=lambda: NOON, signed_only=signed_only)


def change(folder: Path, version: str) -> None:
    changed = TEXT.replace("180 mmHg", "170 mmHg").replace('"1.0.0"', f'"{version}"')
    (folder / "walk-in" / "walk-in.yaml").write_text(changed)


def test_in_production_nobody_is_enrolled_in_a_draft(store: Path | None, folder: Path) -> None:
    with clinic(store, folder) as engine:
        with pytest.raises(Refused) as refused:
            engine.enroll("walk-in", patient="P", by=ANN)
        assert refused.value.code == "not-signed-off"
        assert "is draft" in refused.value.explanation

        engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")

        assert engine.enroll("walk-in", patient="P", by=ANN)


def test_elsewhere_a_draft_may_be_tried(folder: Path) -> None:
    with clinic(None, folder, signed_only=False) as engine:
        assert engine.enroll("walk-in", patient="P", by=ANN)


def test_a_retired_version_takes_nobody_new_and_keeps_whom_it_has(
    store: Path | None, folder: Path
) -> None:
    with clinic(store, folder) as engine:
        digest = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        patient = engine.enroll("walk-in", patient="P", by=ANN)

        engine.retire("walk-in", digest, by=LEE, reason="a safer one is there")

        with pytest.raises(Refused) as refused:
            engine.enroll("walk-in", patient="Q", by=ANN)
        assert "is retired" in refused.value.explanation
        engine.record(patient, "look", {"systolic": 120}, by=ANN)
        assert engine.register("walk-in").approved() == ""


def test_a_changed_file_is_a_draft_again_and_the_register_tells_both(
    tmp_path: Path, folder: Path
) -> None:
    db = tmp_path / "clinic.db"
    with clinic(db, folder) as engine:
        first = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
    change(folder, "1.1.0")

    with clinic(db, folder) as engine:
        with pytest.raises(Refused, match="not-signed-off"):
            engine.enroll("walk-in", patient="P", by=ANN)
        second = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD", meaning="lower limit")

        register = engine.register("walk-in")
        assert list(register.signed) == [first, second]
        assert register.approved() == second
        assert register.signed[second].meaning == "lower limit"
        assert register.signed[first].standing == "approved"
        kept = engine.kept_files(first)
        assert kept is not None
        assert "180 mmHg" in kept["walk-in/walk-in.yaml"]
        assert engine.kept_files("nothing") is None


def test_who_is_no_medical_director_or_gives_no_name_signs_nothing(folder: Path) -> None:
    with clinic(None, folder) as engine:
        with pytest.raises(Refused) as refused:
            engine.sign_off("walk-in", by=ANN, name="")
        assert [r.code for r in refused.value.refusal.reasons] == ["wrong-role", "name-missing"]
        with pytest.raises(Refused) as refused:
            engine.retire("walk-in", "0" * 64, by=ANN, reason="")
        codes = [r.code for r in refused.value.refusal.reasons]
        assert codes == ["wrong-role", "not-approved", "reason-missing"]
        assert engine.follow() == ()


def test_what_was_signed_cannot_be_signed_again_nor_its_version_reused(
    tmp_path: Path, folder: Path
) -> None:
    db = tmp_path / "clinic.db"
    with clinic(db, folder) as engine:
        digest = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD", command_id="s")
        assert engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD", command_id="s") == digest
        with pytest.raises(Refused, match="signed-already"):
            engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
    change(folder, "1.0.0")

    with clinic(db, folder) as engine, pytest.raises(Refused, match="version-changed"):
        engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")


def test_what_nobody_was_enrolled_in_nor_signed_may_still_be_mended(
    tmp_path: Path, folder: Path
) -> None:
    db = tmp_path / "clinic.db"
    with clinic(db, folder) as engine:
        with pytest.raises(Refused, match="not-signed-off"):
            engine.enroll("walk-in", patient="P", by=ANN)
        with pytest.raises(Refused, match="wrong-role"):
            engine.sign_off("walk-in", by=ANN, name="Ann")
    change(folder, "1.0.0")

    with clinic(db, folder) as engine:
        digest = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")

        assert engine.enroll("walk-in", patient="P", by=ANN)
        kept = engine.kept_files(digest)
        assert kept is not None
        assert "170 mmHg" in kept["walk-in/walk-in.yaml"]


@pytest.mark.parametrize("now", ["1.0.0", "1.1.0"])
def test_the_signed_version_runs_whatever_the_files_say_now(
    tmp_path: Path, folder: Path, now: str
) -> None:
    db = tmp_path / "clinic.db"
    with clinic(db, folder) as engine:
        signed = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        before = engine.enroll("walk-in", patient="P", by=ANN)
    change(folder, now)

    with clinic(db, folder) as engine:
        later = engine.enroll("walk-in@1.0.0", patient="Q", by=ANN)

        approved = engine.approved("walk-in")
        assert approved is not None
        assert approved.limits["high"].value == 180
        for each in (before, later):
            assert engine.program_of(each).digest == signed == approved.digest
        with pytest.raises(Refused, match=r"not-signed-off|version-changed"):
            engine.enroll("walk-in", patient="R", by=ANN)
        engine.retire("walk-in", signed, by=LEE, reason="a safer one is there")
        with pytest.raises((Refused, ProgramError)):
            engine.enroll("walk-in@1.0.0", patient="R", by=ANN)
        assert engine.approved("walk-in") is None


def test_a_version_is_signed_with_one_set_of_files_only() -> None:
    book = Addition("program", 0, Register())
    signed = sign_off(book, "walk-in", "1.0.0", "a" * 64, LEE, "Kim Lee, MD", "approved", NOON)
    assert signed is None

    again = sign_off(book, "walk-in", "1.0.0", "b" * 64, LEE, "Kim Lee, MD", "approved", NOON)

    assert again is not None
    assert [reason.code for reason in again.reasons] == ["version-changed"]
    assert len(book.events) == 1


def test_two_directors_at_once_one_signs_and_the_other_is_told(
    tmp_path: Path, folder: Path
) -> None:
    db = tmp_path / "clinic.db"
    with clinic(db, folder) as one, clinic(db, folder) as other:
        one.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        with pytest.raises(Refused, match="signed-already"):
            other.sign_off("walk-in", by=Actor("dr-ode", {"medical_director"}), name="Ode")


def test_the_register_is_replayed_from_its_entries(folder: Path) -> None:
    with clinic(None, folder) as engine:
        digest = engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        engine.retire("walk-in", digest, by=LEE, reason="old")
        told = engine.follow()
        assert [x.stream for x in told] == ["program:walk-in"] * 2
        assert [type(x.event) for x in told] == [e.ProgramSignedOff, e.ProgramRetired]
        register = Register()
        for each in told:
            register = fold(register, each.event)
        assert register == engine.register("walk-in")


# --- sheets ---------------------------------------------------------------------------------------


def titles(sheet: Section) -> dict[str, list[str]]:
    return {
        part.title: [p.lead for b in part.blocks if isinstance(b, Points) for p in b.points]
        for part in sheet.parts
    }


def test_a_nurses_sheet_of_a_day_has_what_is_daily_and_what_opens() -> None:
    program = load("detox-4-day")

    second, ninth = (titles(day_sheet(program, "nurse", day)) for day in (2, 9))

    assert "Baseline" in " ".join(second["Every day"])
    assert set(ninth.get("Every day", [])) < set(second["Every day"])
    assert all(part in ("On day 2", "Every day", "When it opens") for part in second)
    assert titles(day_sheet(program, "", 2)) != second


def test_a_step_of_one_day_is_on_the_sheet_of_that_day_only(folder: Path) -> None:
    text = TEXT.replace(
        "      talk: {by: [doctor], record: interview, after: [look]}",
        "      talk: {by: [doctor], record: interview, on_day: 3, source: practice}",
    )
    (folder / "walk-in" / "walk-in.yaml").write_text(text)
    program = load(folder / "walk-in" / "walk-in.yaml")

    assert titles(day_sheet(program, "doctor", 3))["On day 3"] == ["Talk"]
    assert "On day 2" not in titles(day_sheet(program, "doctor", 2))


def test_whoever_only_signs_as_well_or_witnesses_has_it_on_their_sheet(folder: Path) -> None:
    text = TEXT.replace(
        "      talk: {by: [doctor], record: interview, after: [look]}",
        "      talk: {by: [doctor], record: interview, cosigned_by: [nurse]}\n"
        "      weigh: {by: [doctor], record: pressure, witnessed_by: [nurse]}",
    )
    (folder / "walk-in" / "walk-in.yaml").write_text(text)
    program = load(folder / "walk-in" / "walk-in.yaml")

    mine = titles(day_sheet(program, "nurse", 1))["When it opens"]

    assert {"Talk", "Weigh"} <= set(mine)


def test_the_page_to_sign_has_the_whole_digest_and_hides_no_markup(folder: Path) -> None:
    text = TEXT.replace("title: Walk-in", 'title: "Walk <b>in</b>"')
    (folder / "walk-in" / "walk-in.yaml").write_text(text)
    with clinic(None, folder) as engine:
        program = engine.program("walk-in")
        draft = page(protocol(program), program)
        engine.sign_off("walk-in", by=LEE, name="Kim Lee, MD")
        signed = page(protocol(program), program, engine.register("walk-in").signed[program.digest])

    assert program.digest in draft
    assert "Draft: nobody has signed" in draft
    assert "Walk &lt;b&gt;in&lt;/b&gt;" in draft
    assert "<b>in</b>" not in draft
    assert "Approved. Signed by Kim Lee, MD on 2026-03-02 12:00 UTC" in signed


def headings(section: Section) -> list[str]:
    return [section.title, *(title for part in section.parts for title in headings(part))]


@pytest.mark.parametrize("name", ["detox-4-day", "residential-30-day"])
def test_the_page_has_every_section_of_the_protocol(name: str) -> None:
    program = load(name)
    text = page(protocol(program), program)

    found = re.findall(r"<h[1-6]>(.*?)</h[1-6]>", text)

    assert found == [escape(title) for title in headings(protocol(program))]


# --- the command line -----------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(kat, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def test_the_verbs_sign_tell_what_changed_retire_and_list(tmp_path: Path, folder: Path) -> None:
    place = ("--programs", str(folder), "--db", str(tmp_path / "c.db"))

    assert "everything is new" in run("sign-off", "walk-in", "--changes", "--by", "lee", *place)[1]
    code, said = run("sign-off", "walk-in", "--by", "lee", "--name", "Kim Lee", *place)
    assert code == 0
    digest = said.split()[-1]
    assert (
        "nothing has changed" in run("sign-off", "walk-in", "--changes", "--by", "lee", *place)[1]
    )
    change(folder, "1.1.0")
    changed = ("sign-off", "walk-in", "--changes", "--by", "lee", *place)
    assert "Limit “High”: from 180 mmHg to 170 mmHg." in run(*changed)[1]
    lines = run(*changed, "--lines")[1]
    assert "-  high: {is: 180 mmHg" in lines
    assert "+  high: {is: 170 mmHg" in lines
    listed = run("register", "walk-in", *place)[1]
    assert "approved" in listed
    assert "draft" in listed
    assert run("register", "--json", *place)[0] == 0
    assert run("retire", "walk-in", digest[:8], "--by", "lee", "--reason", "old", *place)[0] == 0
    assert "retired" in run("register", "walk-in", *place)[1]
    assert run("retire", "walk-in", "ffff", "--by", "lee", "--reason", "old", *place)[0] == 2
    assert run("sign-off", "walk-in", "--by", "lee", *place)[0] == 2
    out = tmp_path / "walk-in.html"
    assert run("sheet", "walk-in", "-o", str(out), *place)[0] == 0
    assert "Draft" in out.read_text()
    assert "<html" in run("sheet", "walk-in", *place)[1]


def test_show_tells_a_day_and_the_plan_of_a_patient(tmp_path: Path, folder: Path) -> None:
    db = tmp_path / "c.db"
    with Engine.open(db, programs=folder, clock=lambda: NOON) as engine:
        patient = engine.enroll("walk-in", patient="P-1", by=ANN)
        engine.do(patient, "hold", by=ANN, given={"reason": "out of the house"})
    later = (NOON + timedelta(hours=1)).isoformat()
    place = ("--programs", str(folder), "--db", str(db), "--now", later)

    plan = run("show", "--patient", patient, *place)[1]

    assert "P-1: Walk-in" in plan
    assert "Look" in plan
    assert "On hold" in plan
    assert "Day 1" in plan
    assert "Look" in run("show", "--patient", patient, "--markdown", *place)[1]
    assert "Every day" in run("show", "detox-4-day", "--role", "nurse", "--day", "2")[1]
    assert run("show")[0] == 2
    assert run("show", "detox-4-day", "--day", "2", "--json")[0] == 2
    shutil.rmtree(folder)
