"""Keeping a clinic's record: what is verified, copied and given away, by hand and by `kat`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from walk_in import ANN, BO, EIGHT, Clock, programs

from kat_workflow import Engine, JournalError, Refused
from kat_workflow.cli import kat
from kat_workflow.engine.access import AccessLog
from kat_workflow.engine.auditing import verify
from kat_workflow.engine.keeping import backup, export, import_record, restore
from kat_workflow.engine.migrating import migrate
from kat_workflow.enrollment.events import ItemAssigned, encode
from kat_workflow.journal import open_journal
from kat_workflow.journal.keeping import NOTICE, Part2, opened_export, records

WHOLE = """CASE WHEN length("values") = 0 THEN body ELSE CAST(
    substr(CAST(body AS TEXT), 1, length(CAST(body AS TEXT)) - 1) || ','
    || substr(CAST("values" AS TEXT), 2) AS BLOB) END"""
"""A body as schema 1 had it: with the values."""

OLD = Path(__file__).parent / "journal" / "schema_1.sql"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A clinic with three patients, two ids of which are one, and an access log."""
    with Engine.open(
        tmp_path / "clinic.db",
        programs=programs(tmp_path),
        clock=Clock(),
        access=AccessLog(tmp_path / "access.db"),
    ) as engine:
        for number in range(3):
            id_ = engine.enroll("walk-in", patient=f"P-{number}", by=ANN)
            engine.record(id_, "look", {"systolic": 120 + number, "remark": "ok"}, by=ANN)
        engine.merge("P-0", "P-1", by=ANN, reason="same person")
        yield engine


def everything(engine: Engine) -> list[Any]:
    return list(records(engine.journal))


# Sound, or not


def test_a_record_is_sound(engine: Engine) -> None:
    found = verify(engine.journal)

    assert found.faults == ()
    assert found.held.position == engine.follow()[-1].position


BROKEN = {
    "UPDATE kat_entries SET body = replace(CAST(body AS TEXT), '120', '121')": "cannot be read",
    "UPDATE kat_entries SET person = 'eve' WHERE position = 3": "(position 3, ",
    "UPDATE kat_streams SET row = (SELECT row FROM kat_streams WHERE stream LIKE 'enr%'"
    " ORDER BY stream DESC LIMIT 1) WHERE stream LIKE 'enr%'": "its state row is not what",
    "UPDATE kat_streams SET row = x'90' WHERE stream LIKE 'enr%'": "its state row cannot be read",
    "UPDATE kat_streams SET wake = wake + 1": "its wake-up is not when",
    "DELETE FROM kat_items WHERE item LIKE '%talk%'": "its work items are not what",
    "UPDATE kat_census SET body = replace(CAST(body AS TEXT), 'active', 'applied')":
    "its census row is not what",
    "DELETE FROM kat_programs": "is not kept",
    "UPDATE kat_programs SET files = '{\"walk-in/walk-in.yaml\":\"x\"}'": "is not the one that",
    "UPDATE kat_programs SET files = x'7b2261223a22e025227d'": "the files of a program cannot be",
    "UPDATE kat_programs SET files = x'7b'": "the files of a program cannot be read",
    "UPDATE kat_streams SET row = (SELECT max(row) FROM kat_streams WHERE stream LIKE 'pat%')"
    " WHERE stream LIKE 'pat%'": "a patient's own stream: its state row is not what",
    "UPDATE kat_streams SET row = x'90' WHERE stream LIKE 'pat%'": "a patient's own stream",
    "UPDATE kat_census SET body = x'00'": "a row of the census cannot be read",
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN)
def test_what_is_not_sound_is_named_and_never_copied(
    engine: Engine, tmp_path: Path, change: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "clinic.db")) as connection, connection:
        assert connection.execute(change).rowcount > 0

    found = verify(engine.journal)

    assert any(BROKEN[change] in str(fault) for fault in found.faults), found.faults
    assert not any("P-" in str(fault) for fault in found.faults)
    with pytest.raises(JournalError, match=r"not sound|cannot be read"):
        backup(engine, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_entries_that_no_course_could_have_are_named_and_end_no_audit(
    engine: Engine, tmp_path: Path
) -> None:
    body, _ = encode(ItemAssigned("nobody-opened-it", "ann", "ann", EIGHT))
    with closing(sqlite3.connect(tmp_path / "clinic.db")) as connection, connection:
        changed = connection.execute(
            """UPDATE kat_entries SET body = ? WHERE position =
            (SELECT max(position) FROM kat_entries WHERE stream LIKE 'enrollment:%')""",
            (body,),
        )
        assert changed.rowcount == 1

    said = [str(fault) for fault in verify(engine.journal).faults]

    assert any("it is not as it was written" in each for each in said)
    assert any("does not go with what was written before it" in each for each in said)


def test_a_patient_whose_row_is_spoiled_is_read_from_the_entries(
    engine: Engine, tmp_path: Path
) -> None:
    """The decoder's own error would have quoted what it could not read."""
    before = engine.patient("P-1")
    with closing(sqlite3.connect(tmp_path / "clinic.db")) as connection, connection:
        spoiled = b"\x81\xa7patient\xa1\xff"
        connection.execute(
            "UPDATE kat_streams SET row = ? WHERE stream = 'patient:P-1'", (spoiled,)
        )

    with Engine.open(tmp_path / "clinic.db", programs=tmp_path / "programs") as again:
        assert again.patient("P-1") == before


def test_an_access_log_is_kept_as_a_record_is(engine: Engine, tmp_path: Path) -> None:
    engine.patient("P-1", by=ANN)
    engine.census(by=ANN)

    restored = tmp_path / "log.db"
    with Engine.open(tmp_path / "access.db") as log:
        backup(log, tmp_path / "copy.db")
        assert verify(log.journal).faults == ()
    restore(tmp_path / "copy.db", restored)

    with closing(AccessLog(restored)) as log:
        looks = log.of_patient("P-1", "P-0")
    assert [look.through for look in looks] == ["patient", "patient", "census"]
    with closing(sqlite3.connect(restored)) as connection, connection:
        connection.execute("UPDATE kat_entries SET person = 'bo' WHERE position = 1")
    with Engine.open(restored) as log:
        assert "its first entry is not as it was" in str(verify(log.journal).faults[0])


# Copies


def test_a_restored_backup_is_the_clinic_as_it_was(engine: Engine, tmp_path: Path) -> None:
    held = backup(engine, tmp_path / "copy.db", by=ANN)
    restored = restore(tmp_path / "copy.db", tmp_path / "again.db")

    assert held == restored
    with Engine.open(tmp_path / "again.db", programs=tmp_path / "programs") as again:
        assert everything(again) == everything(engine)


def test_an_export_of_everything_is_imported_as_the_same_clinic(
    engine: Engine, tmp_path: Path
) -> None:
    export(engine, tmp_path / "all.jsonl", by=ANN, tool="kat-workflow test")

    with open_journal() as other:
        header, _ = import_record(tmp_path / "all.jsonl", other)

        assert list(records(other)) == everything(engine)
        assert verify(other).faults == ()
    assert (header.of, header.tool, header.person) == ("store", "kat-workflow test", "ann")
    assert header.part2 == Part2("covered", NOTICE)


def test_a_patients_export_holds_all_of_them_under_every_id_and_nothing_of_others(
    engine: Engine, tmp_path: Path
) -> None:
    export(
        engine, tmp_path / "p.jsonl", patient="P-1", by=BO, purpose="referral", recipient="Dr. Wu"
    )

    with opened_export(tmp_path / "p.jsonl") as (header, found):
        streams = {r.stream for r in found if hasattr(r, "stream")}
    text = (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    own = {x.enrollment for x in engine.patient("P-1").courses}
    assert streams == {"patient:P-0", "patient:P-1", *(f"enrollment:{id_}" for id_ in own)}
    assert len(own) == 2
    assert "P-2" not in text
    assert '"program":{' in text
    assert (header.patient, header.purpose, header.recipient) == ("P-1", "referral", "Dr. Wu")
    with open_journal() as other, pytest.raises(JournalError, match="of one patient"):
        import_record(tmp_path / "p.jsonl", other)


def test_what_is_given_away_is_accounted_for(engine: Engine, tmp_path: Path) -> None:
    export(engine, tmp_path / "p", patient="P-1", by=BO, purpose="referral", recipient="Dr. Wu")
    export(engine, tmp_path / "all", by=ANN, purpose="audit", recipient="the state")
    backup(engine, tmp_path / "copy.db", by=ANN)

    assert engine.access is not None
    of_one = engine.access.disclosures(*engine.patient_ids("P-0"))
    of_other = engine.access.disclosures("P-2")
    assert [(x.person, x.why, x.recipient) for x in of_one] == [
        ("bo", "referral", "Dr. Wu"),
        ("ann", "audit", "the state"),
    ]
    assert [x.recipient for x in of_other] == ["the state"]
    assert [x.through for x in engine.access.of_patient("P-2")] == ["export", "backup"]


def test_an_erasure_is_accounted_for_or_not_done(engine: Engine, tmp_path: Path) -> None:
    assert engine.access is not None
    for course in engine.patient("P-0").courses:
        engine.do(course.enrollment, "leave against_advice", given={"reason": "moved away"}, by=BO)

    engine.erase("P-1", by=BO, ground="Art. 17", command_id="x")
    engine.erase("P-1", by=BO, ground="Art. 17", command_id="x")

    (look,) = [look for look in engine.access.of_patient("P-1") if look.through == "erase"]
    assert (look.person, look.why, set(look.patients)) == ("bo", "Art. 17", {"P-0", "P-1"})
    assert verify(engine.journal).faults == ()
    backup(engine, tmp_path / "copy.db", by=ANN)
    (course,) = engine.patient("P-2").courses
    engine.do(course.enrollment, "leave against_advice", given={"reason": "moved away"}, by=BO)
    engine.access.close()
    with pytest.raises(JournalError, match="access log cannot be written"):
        engine.erase("P-2", by=BO, ground="Art. 17")
    assert engine.journal.version("patient:P-2")


@pytest.mark.parametrize(
    ("patient", "purpose", "recipient", "code"),
    [
        ("P-1", "", "Dr. Wu", "no-purpose"),
        ("P-1", "referral", "", "no-purpose"),
        ("P-9", "referral", "Dr. Wu", "unknown-patient"),
    ],
)
def test_a_disclosure_without_a_reason_is_refused_and_nothing_is_written(
    engine: Engine, tmp_path: Path, patient: str, purpose: str, recipient: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        export(engine, tmp_path / "p", patient=patient, purpose=purpose, recipient=recipient)

    assert refused.value.code == code
    assert not (tmp_path / "p").exists()


def test_an_export_overwrites_nothing_and_is_not_begun_where_it_cannot_be_accounted_for(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(JournalError, match="overwrites nothing"):
        export(engine, tmp_path / "mine")
    assert engine.access is not None
    engine.access.close()

    with pytest.raises(JournalError, match="nothing is shown"):
        export(engine, tmp_path / "other")

    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "other").exists()


# Older records


def test_a_record_of_schema_1_is_migrated_with_its_patients(engine: Engine, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
        connection.execute("ATTACH ? AS new", (str(tmp_path / "clinic.db"),))
        for table, columns in {
            "kat_entries": f"position, stream, version, recorded, cause, person, role, {WHOLE}",
            "kat_commands": "command, 'd', first, last",
            "kat_streams": "stream, version, row, wake",
            "kat_items": "stream, item, role, lead, site, patient, sort, body",
            "kat_census": "*",
            "kat_programs": "*",
        }.items():
            connection.execute(f"INSERT INTO main.{table} SELECT {columns} FROM new.{table}")

    assert migrate(old)[:2] == (1, 2)

    with Engine.open(old, programs=tmp_path / "programs", clock=Clock()) as again:
        assert verify(again.journal).faults == ()
        assert [x.event for x in again.follow()] == [x.event for x in engine.follow()]
        (first, *_) = again.census()
        assert again.status(first.enrollment) == engine.status(first.enrollment)
        again.record(first.enrollment, "rest", {"systolic": 130}, by=ANN)
        assert verify(again.journal).faults == ()


# The command line


@pytest.fixture
def kat_(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES", "KAT_PROGRAMS", "KAT_ACCESS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(kat, words)


def test_the_record_is_kept_by_hand(kat_: Callable[..., Result], tmp_path: Path) -> None:
    steps = [
        ("verify",),
        ("stats",),
        ("backup", "copy.db"),
        ("restore", "copy.db", "--db", "again.db"),
        ("verify", "--db", "again.db"),
        ("export", "all.jsonl", "--by", "ann:nurse", "--access", "access.db"),
        ("import", "all.jsonl", "--db", "third.db"),
        ("init", "--db", "new.db"),
        ("migrate",),
    ]

    said = [kat_("journal", *step) for step in steps]

    assert [answer.exit_code for answer in said] == [0] * len(steps), [a.output for a in said]
    sound, counted, copied, restored, again, exported, imported, new, migrated = (
        answer.output for answer in said
    )
    assert sound.startswith("Sound: ")
    assert sound == again
    assert "3 active" in counted
    assert "chain head" in counted
    assert sound.splitlines()[0].removeprefix("Sound: ") in copied
    assert "what came later is not in it" in restored
    assert NOTICE in exported
    assert "third.db holds" in imported
    assert "new record" in new
    assert "schema 2 already" in migrated


def test_what_is_wrong_is_said_with_an_exit_code_of_its_own(
    kat_: Callable[..., Result], tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "clinic.db")) as connection, connection:
        connection.execute("UPDATE kat_entries SET person = 'eve' WHERE position = 3")

    said, data = kat_("journal", "verify"), kat_("journal", "verify", "--json")

    assert said.exit_code == data.exit_code == 5
    assert "(position 3, " in said.output
    assert "NOT SOUND" in said.output
    assert len(json.loads(data.output)["faults"]) >= 1


def test_a_patients_export_by_hand_needs_a_purpose(kat_: Callable[..., Result]) -> None:
    words = ("journal", "export", "p.jsonl", "--patient", "P-1")

    refused = kat_(*words)
    done = kat_(*words, "--purpose", "referral", "--recipient", "Dr. Wu", "--access", "access.db")
    report = kat_("access", "--access", "access.db", "--patient", "P-0", "--disclosures")

    assert isinstance(refused.exception, Refused)
    assert done.exit_code == 0
    assert "for Dr. Wu: referral" in report.output


def test_numbers_as_json(kat_: Callable[..., Result]) -> None:
    data = json.loads(kat_("journal", "stats", "--json").output)

    assert data["standings"] == {"active": 3}
    assert data["schema"] == 2


def test_a_record_that_is_there_is_not_made_anew(kat_: Callable[..., Result]) -> None:
    answer = kat_("journal", "init", "--db", "clinic.db")

    assert answer.exit_code == 2
    assert "is there already" in answer.output
