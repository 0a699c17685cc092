"""A clinic whose record is encrypted: everything works as it does, and the disk tells nothing."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from postgres import Databases
from walk_in import ANN, BO, Clock, programs

from kat_workflow import Actor, Engine, JournalError, Refused
from kat_workflow.cli import kat
from kat_workflow.engine.access import AccessLog
from kat_workflow.engine.auditing import verify
from kat_workflow.engine.keeping import backup, export, import_record, rekey, restore
from kat_workflow.enrollment import events as e
from kat_workflow.journal import Journal, is_payload, open_journal, rekeying, stored
from kat_workflow.journal.encrypting import EncryptedJournal, Keys
from kat_workflow.journal.keeping import opened_export, records
from kat_workflow.journal.rekeying import rekeyed
from kat_workflow.language import Folder, shipped
from kat_workflow.scenarios import Result as Told
from kat_workflow.scenarios import load_scenario, run

ROOT = Path(__file__).parents[1]
KEYS = {"2026": bytes(range(32))}
DPO = Actor("dora", frozenset())
SCENARIOS = [
    "programs/ketamine-assisted-therapy/scenarios/straight-way-through.yaml",
    "programs/residential-30-day/scenarios/to-hospital-and-back.yaml",
    "tests/programs/ketamine-circle/scenarios/three-members-one-drops-out-one-aborts.yaml",
]
MARK, WHO = "Xq7Canary", "Xq7Mrn"
CENSUS = ("census", "--now", "2026-03-02T08:00+00:00")


def told(name: str, journal: Journal) -> Told:
    scenario = load_scenario(ROOT / name)
    return run(scenario, Folder((ROOT / name).parents[2], shipped()), journal)


def on_disk(folder: Path) -> bytes:
    """Every byte that lies in a folder, of write-ahead logs too."""
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


# A whole course


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_goes_as_it_goes_and_no_value_of_it_lies_on_the_disk(
    tmp_path: Path, name: str
) -> None:
    for folder in ("plain", "encrypted"):
        (tmp_path / folder).mkdir()
    with open_journal(tmp_path / "plain" / "j.db") as plain:
        expected = told(name, plain)
        secrets = {entry.values for entry in plain.follow(0, 100_000) if entry.values}
        secrets |= {stream.encode() for stream in plain.streams("patient:")}
        secrets |= {b'{"event":"observation-recorded"', b'{"event":"item-opened"', b'"step":"'}
        assert all(secret in on_disk(tmp_path / "plain") for secret in secrets)

    with open_journal(tmp_path / "encrypted" / "j.db", keys=KEYS) as journal:
        found = told(name, journal)

        on = on_disk(tmp_path / "encrypted")
        with journal.snapshot() as still:
            assert verify(still).faults == ()
        assert verify(stored(journal)).faults == ()
    assert (found.mismatches, expected.mismatches) == ((), ())
    assert [x.event for x in found.happened] == [x.event for x in expected.happened]
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in on] == []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A clinic with two patients, everything private of which is marked, and an access log."""
    (tmp_path / "disk").mkdir()
    with Engine.open(
        tmp_path / "disk" / "clinic.db",
        programs=programs(tmp_path),
        clock=Clock(),
        access=tmp_path / "disk" / "access.db",
        keys=KEYS,
    ) as engine:
        for number in range(2):
            id_ = engine.enroll("walk-in", patient=f"{WHO}-{number}", by=ANN)
            engine.record(id_, "look", {"systolic": 120 + number, "remark": MARK}, by=ANN)
        yield engine


def test_who_the_patients_are_and_what_was_written_of_them_lies_nowhere(
    engine: Engine, tmp_path: Path
) -> None:
    engine.merge(f"{WHO}-0", f"{WHO}-1", by=ANN, reason=MARK)
    engine.worklist(patient=f"{WHO}-0", by=ANN, why=MARK)
    engine.census(by=ANN, why=MARK)

    on = on_disk(tmp_path / "disk")

    assert engine.access is not None
    assert {look.why for look in engine.access.of_patient(f"{WHO}-0")} == {MARK}
    assert engine.patient(f"{WHO}-1").patient == f"{WHO}-0"
    assert (MARK.encode() in on, WHO.encode() in on) == (False, False)


def test_an_erasure_leaves_a_record_that_proves_and_a_course_that_is_read(engine: Engine) -> None:
    (course,) = engine.patient(f"{WHO}-0").courses
    engine.do(course.enrollment, "leave against_advice", given={"reason": MARK}, by=BO)

    erasure = engine.erase(f"{WHO}-0", by=DPO, ground="Art. 17", command_id="erase")

    assert engine.erase(f"{WHO}-0", by=DPO, ground="Art. 17", command_id="erase") == erasure
    history = engine.history(course.enrollment)
    assert isinstance(history[-1].event, e.Erased)
    assert len(history) > 5
    assert engine.status(course.enrollment).patient == ""
    for journal in (engine.journal, stored(engine.journal)):
        found = verify(journal)
        assert (found.faults, found.erased > 2) == ((), True)
    assert engine.access is not None
    assert engine.access.of_patient(f"{WHO}-0")[-1].through == "erase"
    assert not any(MARK in repr(each) for each in history)
    assert not any(f"{WHO}-0" in repr(each) for each in engine.follow())


def test_one_entry_is_erased_and_the_rows_are_encrypted_again(engine: Engine) -> None:
    (course,) = engine.patient(f"{WHO}-0").courses
    id_ = course.enrollment
    recorded = [x for x in engine.history(id_) if isinstance(x.event, e.ObservationRecorded)]
    version = recorded[0].version
    engine.do(id_, "retract o7", given={"reason": "the wrong patient"}, by=ANN)

    engine.erase_entry(id_, version, by=DPO, ground="Art. 17")

    assert engine.history(id_)[version - 1].event.values == {}  # type: ignore[union-attr]
    assert verify(engine.journal).faults == ()
    assert all(is_payload(row.title.encode()) for row in stored(engine.journal).worklist()[0])


# Copies


def test_a_backup_is_made_and_restored_without_the_keys_and_read_with_them(
    engine: Engine, tmp_path: Path
) -> None:
    where = tmp_path / "disk" / "clinic.db"
    with Engine.open(where) as locked:
        held = backup(locked, tmp_path / "copy.db")
        assert export(locked, tmp_path / "all.jsonl") == held
    assert backup(engine, tmp_path / "keyed.db") == held

    restore(tmp_path / "copy.db", tmp_path / "one.db")
    restore(tmp_path / "all.jsonl", tmp_path / "two.db", keys=KEYS)

    assert MARK.encode() not in on_disk(tmp_path)
    for name in ("one.db", "two.db"):
        with open_journal(tmp_path / name) as without:
            found = verify(without)
            assert (found.faults, found.held) == ((), held)
            assert "which are encrypted: give the keys" in found.unchecked[-1]
        with Engine.open(tmp_path / name, keys=KEYS, clock=Clock()) as again:
            assert again.follow() == engine.follow()
            assert again.worklist() == engine.worklist()
            assert verify(again.journal).faults == ()


def test_an_export_says_that_it_is_encrypted_and_is_imported_into_another_store(
    engine: Engine, tmp_path: Path, databases: Databases
) -> None:
    export(engine, tmp_path / "all.jsonl")

    with opened_export(tmp_path / "all.jsonl") as (header, _):
        assert header.encrypted
    url = databases.with_journal()
    try:
        with open_journal(url, keys=KEYS) as other:
            import_record(tmp_path / "all.jsonl", other)
            assert verify(other).faults == ()
            assert list(records(other)) == list(records(engine.journal))
            assert other.read(f"patient:{WHO}-0") == engine.journal.read(f"patient:{WHO}-0")
    finally:
        databases.drop(url)


def test_a_patients_export_is_for_its_reader_and_needs_the_keys(
    engine: Engine, tmp_path: Path
) -> None:
    given = {"patient": f"{WHO}-0", "purpose": "referral", "recipient": "Dr. Wu"}
    with Engine.open(tmp_path / "disk" / "clinic.db") as locked:
        with pytest.raises(JournalError, match="KAT_KEYS"):
            export(locked, tmp_path / "p.jsonl", **given)  # type: ignore[arg-type]
        assert not (tmp_path / "p.jsonl").exists()

    export(engine, tmp_path / "p.jsonl", **given)  # type: ignore[arg-type]

    with opened_export(tmp_path / "p.jsonl") as (header, found):
        assert not header.encrypted
        streams = {entry["stream"] for entry in _entries(tmp_path / "p.jsonl")}
        assert len(list(found)) > len(streams) == 2
    text = (tmp_path / "p.jsonl").read_text()
    assert (MARK in text, f"patient:{WHO}-0" in streams, f"{WHO}-1" in text) == (True, True, False)
    assert '"encrypted"' not in text


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    lines = map(json.loads, path.read_text().splitlines())
    return (line["entry"] for line in lines if "entry" in line)


def test_a_copy_whose_rows_were_changed_is_not_made_by_whoever_has_the_keys(
    engine: Engine, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "disk" / "clinic.db")) as connection, connection:
        connection.execute("DELETE FROM kat_items")

    with pytest.raises(JournalError, match=r"the copy is not sound: .*work items are not"):
        backup(engine, tmp_path / "copy.db")


# Without the keys


def test_without_the_keys_no_patient_is_shown_and_none_is_begun(
    engine: Engine, tmp_path: Path
) -> None:
    (course,) = engine.patient(f"{WHO}-0").courses
    with Engine.open(
        tmp_path / "disk" / "clinic.db", programs=programs(tmp_path), clock=Clock()
    ) as locked:
        deeds: list[Callable[[], object]] = [
            lambda: locked.status(course.enrollment),
            lambda: locked.history(course.enrollment),
            lambda: locked.enroll("walk-in", patient="P-9", by=ANN),
            lambda: locked.record(course.enrollment, "rest", {"systolic": 120}, by=ANN),
            lambda: locked.patient(f"{WHO}-0"),
            locked.worklist,
            locked.census,
            locked.follow,
            locked.outbox,
        ]
        before = locked.journal.chains()

        for deed in deeds:
            with pytest.raises(JournalError, match=r"the journal is encrypted; give its keys"):
                deed()

        assert locked.journal.chains() == before
    with (
        closing(AccessLog(tmp_path / "disk" / "access.db")) as log,
        pytest.raises(JournalError, match="give its keys"),
    ):
        log.by_person("ann")


def test_a_process_that_opened_the_record_before_it_was_encrypted_says_what_it_needs(
    tmp_path: Path,
) -> None:
    given: dict[str, Any] = {"programs": programs(tmp_path), "clock": Clock()}
    with Engine.open(tmp_path / "j.db", **given) as early:
        with Engine.open(tmp_path / "j.db", keys=KEYS, **given) as engine:
            id_ = engine.enroll("walk-in", patient=WHO, by=ANN)

        for ask in (early.status, early.history):
            with pytest.raises(JournalError, match="give its keys"):
                ask(id_)


def test_timers_are_found_by_what_is_plain_and_run_with_the_keys(tmp_path: Path) -> None:
    clock = Clock()
    with Engine.open(programs=programs(tmp_path), clock=clock, keys=KEYS) as engine:
        id_ = engine.enroll("walk-in", patient="P-1", by=ANN)
        clock.at += timedelta(days=30)

        assert stored(engine.journal).due(clock.at, 9)[0][0] == f"enrollment:{id_}"
        assert engine.run_due() > 0


def test_a_host_may_keep_an_encrypted_record_in_its_own_transaction(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "host.db", isolation_level=None)) as connection:
        engine = Engine.open(
            connection=connection, programs=programs(tmp_path), clock=Clock(), keys=KEYS
        )
        connection.execute("BEGIN")
        engine.enroll("walk-in", patient=WHO, by=ANN)
        connection.execute("ROLLBACK")
        id_ = engine.enroll("walk-in", patient=WHO, by=ANN)

        assert [course.enrollment for course in engine.patient(WHO).courses] == [id_]
        assert engine.journal.version(f"patient:{WHO}") == 1


def test_commands_of_a_plain_record_go_on_encrypted(tmp_path: Path) -> None:
    path, given = tmp_path / "clinic.db", {"programs": programs(tmp_path), "clock": Clock()}
    with Engine.open(path, **given) as plain:  # type: ignore[arg-type]
        id_ = plain.enroll("walk-in", patient="P-1", by=ANN, command_id="first")
        before = plain.history(id_)

    with Engine.open(path, keys=KEYS, **given) as engine:  # type: ignore[arg-type]
        assert engine.enroll("walk-in", patient="P-1", by=ANN, command_id="first") == id_
        engine.record(id_, "look", {"systolic": 120, "remark": MARK}, by=ANN)
        engine.enroll("walk-in", patient=f"{WHO}-2", by=ANN)

        assert engine.history(id_)[: len(before)] == before
        assert {row.patient for row in engine.census()} == {"P-1", f"{WHO}-2"}
        assert verify(engine.journal).faults == ()
        assert MARK.encode() not in on_disk(tmp_path)
    with Engine.open(path, **given) as locked:  # type: ignore[arg-type]
        assert isinstance(locked.journal, EncryptedJournal)
        assert verify(locked.journal).faults == ()


# By hand


@pytest.fixture
def kat_(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path / "disk")
    for name in ("KAT_BY", "KAT_SITES", "KAT_PROGRAMS", "KAT_ACCESS", "KAT_KEYS", "KAT_DB"):
        monkeypatch.delenv(name, raising=False)
    keys = {name: msgspec.to_builtins(key) for name, key in KEYS.items()}
    (tmp_path / "clinic.keys").write_text(json.dumps(keys))
    return lambda *words: CliRunner().invoke(kat, words)


def test_a_record_is_read_with_a_file_of_keys_and_kept_without(
    kat_: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = str(tmp_path / "clinic.keys")
    without = kat_(*CENSUS)
    assert isinstance(without.exception, JournalError)
    assert "--keys FILE or KAT_KEYS" in str(without.exception)
    for words in (
        ("verify",), ("stats",), ("backup", "copy.db"), ("export", "all.jsonl"),
        ("restore", "copy.db", "--db", "again.db"), ("import", "all.jsonl", "--db", "third.db"),
    ):  # fmt: skip
        answer = kat_("journal", *words)
        assert answer.exit_code == 0, answer.output
    assert "which are encrypted: give the keys" in kat_("journal", "verify").output
    assert "give the keys" not in kat_("journal", "verify", "--keys", file).output
    assert kat_("checkpoint", "--key", "clinic.pem", "--new").exit_code == 0

    assert WHO in kat_(*CENSUS, "--keys", file).output
    monkeypatch.setenv("KAT_KEYS", file)
    assert WHO in kat_(*CENSUS).output
    assert kat_("journal", "restore", "copy.db", "--db", "again2.db").exit_code == 0


def test_keys_are_made_by_hand_and_the_last_one_writes(
    kat_: Callable[..., Result], tmp_path: Path, engine: Engine
) -> None:
    file = tmp_path / "clinic.keys"

    assert 'holds the key "2027"' in kat_("journal", "key", str(file), "--id", "2027").output
    assert WHO in kat_(*CENSUS, "--keys", str(file)).output
    assert "already" in kat_("journal", "key", str(file), "--id", "2027").output
    fresh = kat_("journal", "key", "new.keys")

    assert fresh.exit_code == 0
    assert list(json.loads(file.read_text())) == ["2026", "2027"]
    assert ((tmp_path / "disk" / "new.keys").stat().st_mode & 0o077) == 0
    (tmp_path / "disk" / "bad.keys").write_text(MARK)
    bad = kat_(*CENSUS, "--keys", "bad.keys")
    assert (bad.exit_code, "keys are a JSON mapping" in bad.output, MARK in bad.output) == (
        2, True, False,
    )  # fmt: skip
    assert engine.journal.version(f"patient:{WHO}-0") == 1


# Other keys


NEW = {"new": bytes(range(1, 33))}


def whole(engine: Engine) -> tuple[object, ...]:
    """What a clinic tells of itself and its patients, and nothing of how it is stored."""
    return (
        engine.follow(),
        engine.worklist(),
        engine.census(everybody=True),
        engine.run_due(),
        [engine.journal.row(stream) for stream in engine.journal.streams()],
    )


def erased_one(engine: Engine) -> None:
    (course,) = engine.patient(f"{WHO}-0").courses
    engine.do(course.enrollment, "leave against_advice", given={"reason": MARK}, by=BO)
    engine.erase(f"{WHO}-0", by=DPO, ground="Art. 17")


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("before", [KEYS, None, {**KEYS, "another": bytes(31) + b"1"}])
def test_a_record_that_is_written_anew_is_the_same_and_needs_the_new_keys_alone(
    before: dict[str, bytes] | None, store: str, tmp_path: Path, databases: Databases
) -> None:
    """Also of what was erased, and of what was written before there were keys."""
    where: str | Path = tmp_path / "new.db" if store == "sqlite" else databases.fresh()
    with Engine.open(
        tmp_path / "old.db", programs=programs(tmp_path), clock=Clock(), keys=before
    ) as engine:
        for number in range(2):
            id_ = engine.enroll("walk-in", patient=f"{WHO}-{number}", by=ANN)
            engine.record(id_, "look", {"systolic": 120 + number, "remark": MARK}, by=ANN)
        erased_one(engine)

        held = rekey(engine, where, NEW)

        with Engine.open(where, clock=Clock(), keys=NEW) as anew:
            assert whole(anew) == whole(engine)
            assert anew.patient(f"{WHO}-1").courses == engine.patient(f"{WHO}-1").courses
            for journal in (anew.journal, stored(anew.journal)):
                found = verify(journal)
                assert (found.faults, found.held) == ((), held)
            assert found.erased >= verify(engine.journal).erased > 2  # names are values, too
            links = {entry.link for entry in stored(engine.journal).follow(0, 1000)}
            assert not any(x.link in links for x in stored(anew.journal).follow(0, 1000))
            assert all(is_payload(x.body) or b'"erased"' in x.body for x in
                       stored(anew.journal).follow(0, 1000))  # fmt: skip
            anew.record(id_, "rest", {"systolic": 190}, by=ANN)
    if before is not None:
        with pytest.raises(JournalError, match="give"):
            open_journal(where, keys=before)


def test_a_patient_who_was_known_by_no_key_is_found_once_the_record_is_written_anew(
    tmp_path: Path,
) -> None:
    with Engine.open(tmp_path / "old.db", programs=programs(tmp_path), clock=Clock()) as plain:
        first = plain.enroll("walk-in", patient=WHO, by=ANN)
    with Engine.open(
        tmp_path / "old.db", programs=programs(tmp_path), clock=Clock(), keys=KEYS
    ) as mixed:
        mixed.record(first, "look", {"systolic": 120, "remark": MARK}, by=ANN)
        rekey(mixed, tmp_path / "new.db", NEW)

    with Engine.open(tmp_path / "new.db", clock=Clock(), keys=NEW) as anew:
        assert [x.enrollment for x in anew.patient(WHO).courses] == [first]
        assert verify(anew.journal).faults == ()
    assert WHO.encode() not in (tmp_path / "new.db").read_bytes()
    assert MARK.encode() not in (tmp_path / "new.db").read_bytes()


def test_a_command_that_is_sent_again_after_that_is_not_carried_out_twice(
    engine: Engine, tmp_path: Path
) -> None:
    (course,) = engine.patient(f"{WHO}-0").courses
    engine.record(course.enrollment, "rest", {"systolic": 190}, by=ANN, command_id="again")
    rekey(engine, tmp_path / "new.db", NEW)

    with (
        Engine.open(tmp_path / "new.db", clock=Clock(), keys=NEW) as anew,
        pytest.raises(Refused) as refused,
    ):
        anew.record(course.enrollment, "rest", {"systolic": 190}, by=ANN, command_id="again")

    assert refused.value.code == "id-reused"


def test_nothing_stays_of_a_record_that_was_not_written_wholly(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption leaves no file that could be taken for the record."""

    def half(journal: Journal, keys: Keys) -> Iterator[Any]:
        yield from islice(rekeyed(journal, keys), 10)
        raise KeyboardInterrupt

    monkeypatch.setattr(rekeying, "rekeyed", half)
    with pytest.raises(KeyboardInterrupt):
        rekey(engine, tmp_path / "new.db", NEW)
    monkeypatch.undo()

    assert [x.name for x in tmp_path.iterdir() if "new.db" in x.name] == []
    rekey(engine, tmp_path / "new.db", NEW)
    with pytest.raises(JournalError, match="there already"):
        rekey(engine, tmp_path / "new.db", NEW)


def test_what_was_changed_is_not_vouched_for_by_new_links(engine: Engine, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "disk" / "clinic.db")) as connection, connection:
        connection.execute("UPDATE kat_entries SET person = 'eve' WHERE position = 3")

    with pytest.raises(JournalError, match="not sound"):
        rekey(engine, tmp_path / "new.db", NEW)

    assert not (tmp_path / "new.db").exists()


def test_a_record_and_its_access_log_are_written_anew_from_the_command_line(
    engine: Engine, tmp_path: Path
) -> None:
    for name, keys in (("old.keys", KEYS), ("new.keys", NEW)):
        text = {key: b64encode(value).decode() for key, value in keys.items()}
        (tmp_path / name).write_text(json.dumps(text))
    disk = tmp_path / "disk"
    engine.patient(f"{WHO}-0", by=ANN, why=MARK)
    words = ["--keys", str(tmp_path / "old.keys"), "--new-keys", str(tmp_path / "new.keys")]

    for name in ("clinic", "access"):
        new, old = str(tmp_path / f"{name}.new"), str(disk / f"{name}.db")
        done = CliRunner().invoke(kat, ["journal", "rekey", new, "--db", old, *words])
        assert (done.exit_code, "Sign a checkpoint" in done.output) == (0, True), done.output

    looked = []
    for where, keys in ((disk / "access.db", KEYS), (tmp_path / "access.new", NEW)):
        with closing(AccessLog(where, keys)) as log:
            looked.append(log.of_patient(f"{WHO}-0"))
    assert looked[0] == looked[1] != ()
    with Engine.open(tmp_path / "clinic.new", clock=Clock(), keys=NEW) as anew:
        assert anew.follow() == engine.follow()


# What the key alone does not see


@pytest.mark.parametrize(
    ("table", "says"),
    [("kat_items", "work items are not"), ("kat_census", "census row is not"),
     ("kat_streams", "cannot be read with the key")],
)  # fmt: skip
def test_an_older_row_that_is_put_back_in_its_place_is_found_by_an_audit_with_the_keys(
    engine: Engine, tmp_path: Path, table: str, says: str
) -> None:
    """It was written by the clinic itself, for this very place: every key reads it."""
    where = tmp_path / "disk" / "clinic.db"
    (course,) = engine.patient(f"{WHO}-0").courses
    stream = f"enrollment:{course.enrollment}"
    columns = "row" if table == "kat_streams" else "*"
    read = f"SELECT {columns} FROM {table} WHERE stream = ?"
    with closing(sqlite3.connect(where)) as connection:
        older = connection.execute(read, (stream,)).fetchall()
    engine.do(course.enrollment, "hold", given={"reason": MARK}, by=ANN)
    engine.do(course.enrollment, "leave against_advice", given={"reason": MARK}, by=BO)
    assert verify(engine.journal).faults == ()

    with closing(sqlite3.connect(where)) as connection, connection:
        if table == "kat_streams":
            connection.execute(f"UPDATE {table} SET row = ? WHERE stream = ?", (*older[0], stream))
        else:
            connection.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))
            marks = ", ".join("?" * len(older[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", older)

    found = verify(engine.journal).faults
    assert any(says in fault.says and fault.stream == stream for fault in found), found
    assert verify(stored(engine.journal)).faults == ()
