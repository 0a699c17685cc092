"""The access log: who looked at whom, when, why and through what; and what it is not for."""

from __future__ import annotations

import inspect
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from walk_in import ANN, BO, EIGHT, Clock, programs

from kat_workflow import Actor, Engine, JournalError, Refused
from kat_workflow.cli import kat
from kat_workflow.engine.access import AccessLog, Look
from kat_workflow.journal import Append, open_journal
from kat_workflow.journal.sqlite import SqliteJournal

ROUND = "ward round"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    """A clinic with an access log in a file of its own."""
    with Engine.open(
        tmp_path / "clinic.db",
        programs=programs(tmp_path),
        clock=clock,
        access=tmp_path / "access.db",
    ) as engine:
        yield engine


@pytest.fixture
def log(engine: Engine) -> AccessLog:
    assert engine.access is not None
    return engine.access


@pytest.fixture
def patient(engine: Engine) -> str:
    return engine.enroll("walk-in", patient="P-1", by=ANN)


def entries(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM kat_entries").fetchone()[0])


# What is written down

ASKED: dict[str, Callable[[Engine, str, dict[str, Any]], object]] = {
    "status": lambda engine, id_, who: engine.status(id_, **who),
    "enrollment": lambda engine, id_, who: engine.enrollment(id_, **who),
    "as_known_at": lambda engine, id_, who: engine.as_known_at(id_, EIGHT, **who),
    "as_true_at": lambda engine, id_, who: engine.as_true_at(id_, EIGHT, **who),
    "records": lambda engine, id_, who: engine.records(id_, **who),
    "signatures": lambda engine, id_, who: engine.signatures(id_, **who),
    "history": lambda engine, id_, who: engine.history(id_, **who),
    "suggestions": lambda engine, id_, who: engine.suggestions(id_, **who),
    "foresee_hold": lambda engine, id_, who: engine.foresee_hold(id_, reason="fever", **who),
    "on_version": lambda engine, _, who: engine.on_version("walk-in", "1.0.0", **who),
    "patient": lambda engine, _, who: engine.patient("P-1", **who),
    "worklist": lambda engine, _, who: engine.worklist(**who),
    "shift": lambda engine, _, who: engine.shift(start=EIGHT, end=clock_end(), **who),
    "census": lambda engine, _, who: engine.census(**who),
    "why": lambda engine, id_, who: engine.why(id_, "record look", by=who["by"], reason=who["why"]),
}
"""Every question about a patient or a list of them, that the walk-in can answer."""

ELSEWHERE = {
    "next_slot", "deviations", "foresee_version", "group", "groups", "ledger", "lots"
}  # fmt: skip
"""The same, for which the walk-in has no session, group, drug, deviation or other
version."""

HOST = {
    "follow", "listen", "outbox", "looked", "program_of", "site_of", "program", "approved",
    "register", "roster", "cupboard", "kept_files", "patient_ids", "open", "close", "run_due",
    "run_due_in", "scheduler",
}  # fmt: skip
"""What is for the host itself, or shows nothing of a patient."""


def clock_end() -> Any:
    return EIGHT + timedelta(hours=12)


@pytest.mark.parametrize("question", ASKED)
def test_whoever_asks_is_written_down_with_when_why_and_of_whom(
    engine: Engine, log: AccessLog, patient: str, question: str
) -> None:
    ASKED[question](engine, patient, {"by": ANN, "why": ROUND})

    (look,) = log.of_patient("P-1")
    assert (look.through, look.person, look.roles, look.why) == (question, "ann", ("nurse",), ROUND)
    assert (look.at, look.patients) == (EIGHT, ("P-1",))
    assert look in log.by_person("ann")
    assert log.of_patient("P-2") == log.by_person("bo") == ()


def test_there_is_no_question_about_patients_that_goes_unwritten() -> None:
    public = {
        name: inspect.signature(method).parameters
        for name, method in inspect.getmembers(Engine, inspect.isfunction)
        if not name.startswith("_")
    }

    commands = {name for name, takes in public.items() if "command_id" in takes}
    questions = set(public) - commands - HOST - {"hand_over"}
    assert questions == ASKED.keys() | ELSEWHERE
    assert all({"by"} < set(public[name]) for name in questions)
    assert all({"why", "reason"} & set(public[name]) for name in questions)


def test_a_question_that_names_nobody_is_the_hosts_own(
    engine: Engine, log: AccessLog, patient: str
) -> None:
    engine.status(patient)

    (look,) = log.of_patient("P-1")
    assert (look.person, look.roles, look.why) == ("", (), "")


def test_what_a_host_shows_of_its_own_feed_is_written_down_by_one_call(
    engine: Engine, log: AccessLog, patient: str
) -> None:
    other = engine.enroll("walk-in", patient="P-2", by=ANN)

    engine.looked("dashboard", (patient, other, patient), by=BO, why=ROUND)
    engine.looked("pager", (patient,))
    engine.looked("dashboard", (), by=BO)

    own, both = log.of_patient("P-1")
    assert (both.through, both.patients, both.person) == ("dashboard", ("P-1", "P-2"), "bo")
    assert (own.through, own.enrollment, own.person) == ("pager", patient, "")
    assert log.by_person("bo") == (both,)


def test_a_list_says_everybody_who_was_on_it_in_one_entry(
    engine: Engine, log: AccessLog, tmp_path: Path
) -> None:
    for number in range(5):
        engine.enroll("walk-in", patient=f"P-{number}", by=ANN)

    engine.worklist(site="main", by=BO)

    assert entries(tmp_path / "access.db") == 1
    (look,) = log.of_patient("P-3")
    assert sorted(look.patients) == [f"P-{number}" for number in range(5)]


def test_a_merged_patients_looks_are_found_under_either_id(
    engine: Engine, log: AccessLog, patient: str
) -> None:
    engine.enroll("walk-in", patient="P-2", by=ANN)
    engine.status(patient, by=ANN)
    engine.merge("P-1", "P-2", by=ANN, reason="same person")

    looks = log.of_patient(*engine.patient_ids("P-2"))

    assert [look.through for look in looks] == ["status", "patient"]
    assert looks == log.of_patient(*engine.patient_ids("P-1"))


def test_since_leaves_out_what_was_before(
    engine: Engine, log: AccessLog, patient: str, clock: Clock
) -> None:
    engine.status(patient, by=ANN)
    clock.goes_on(1)
    engine.status(patient, by=BO)

    assert [x.person for x in log.of_patient("P-1", since=clock.at)] == ["bo"]


def test_two_processes_may_write_the_same_log(tmp_path: Path) -> None:
    logs = [AccessLog(tmp_path / "access.db") for _ in range(2)]
    look = Look(EIGHT, "status", ("P-1",), "ann")

    for log in (*logs, *logs):
        log.note(look)

    assert logs[0].of_patient("P-1") == (look,) * 4
    for log in logs:
        log.close()


# What is refused


def test_a_refused_reader_is_shown_nothing(engine: Engine, log: AccessLog, patient: str) -> None:
    elsewhere = Actor("cleo", {"nurse"}, sites={"coast"})

    with pytest.raises(Refused):
        engine.history(patient, by=elsewhere)

    assert log.of_patient("P-1") == ()


@pytest.fixture
def unwritable(tmp_path: Path, engine: Engine, patient: str) -> Iterator[sqlite3.Connection]:
    """Another connection that may keep the log from being written."""
    assert engine.access is not None
    engine.access.close()
    engine.access = AccessLog(SqliteJournal(tmp_path / "access.db", patience=0))
    connection = sqlite3.connect(tmp_path / "access.db", isolation_level=None)
    with closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.mark.usefixtures("unwritable")
def test_where_the_log_cannot_be_written_nothing_is_shown_and_commands_go_on(
    engine: Engine, patient: str
) -> None:
    for question in ASKED.values():
        with pytest.raises(JournalError, match="access log cannot be written"):
            question(engine, patient, {"by": ANN, "why": ROUND})
    with pytest.raises(JournalError, match="access log cannot be written"):
        engine.looked("dashboard", (patient,))

    engine.record(patient, "look", {"systolic": 120}, by=ANN)


def test_whoever_breaks_the_glass_is_shown_it_and_the_look_is_written_later(
    engine: Engine,
    patient: str,
    unwritable: sqlite3.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    seen = engine.status(patient, by=BO, emergency="not breathing")

    assert seen.patient == "P-1"
    assert [r.getMessage() for r in caplog.records] == [
        "the access log cannot be written: 1 looks wait"
    ]
    unwritable.execute("ROLLBACK")
    engine.status(patient, by=ANN)
    assert engine.access is not None
    first, second = engine.access.of_patient("P-1")
    assert (first.person, first.emergency, second.person) == ("bo", "not breathing", "ann")
    assert engine.access.broken() == (first,)


def test_in_an_emergency_somebody_without_a_role_here_reads_but_no_other_patient_does(
    engine: Engine, log: AccessLog, patient: str
) -> None:
    visitor = Actor("cleo", {"nurse"}, sites={"coast"})
    neighbour = Actor("P-2", {"patient"})

    assert engine.history(patient, by=visitor, emergency="fire")
    with pytest.raises(Refused):
        engine.history(patient, by=neighbour, emergency="curious")

    (look,) = log.of_patient("P-1")
    assert (look.person, look.emergency) == ("cleo", "fire")


@pytest.mark.parametrize("body", [b'{"event":"x"}', b'{"at":"\xff","through":"\xff"}'])
def test_an_entry_that_is_no_look_is_named(tmp_path: Path, body: bytes) -> None:
    journal = open_journal(tmp_path / "other.db")
    journal.append(
        [Append("patient:P-1", 0, (body,))],
        command="c", digest="d", recorded=EIGHT, person="p", role="",
    )  # fmt: skip

    with pytest.raises(JournalError, match="entry 1 of the access log is no look"):
        AccessLog(journal).of_patient("P-1")
    journal.close()


# What it costs


def test_a_clinic_without_a_log_and_every_command_write_nothing(
    engine: Engine, patient: str, tmp_path: Path
) -> None:
    engine.record(patient, "look", {"systolic": 120}, by=ANN)
    engine.run_due()
    engine.follow()
    engine.outbox()

    assert entries(tmp_path / "access.db") == 0
    with Engine.open(tmp_path / "clinic.db", programs=tmp_path / "programs") as bare:
        assert bare.access is None
        assert bare.status(patient).patient == "P-1"
        bare.looked("dashboard", (patient,), by=ANN)


def test_a_log_that_cannot_be_opened_gives_the_journal_back(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"this is no database, but long enough to be read as one" * 9)

    with pytest.raises(JournalError):
        Engine.open(tmp_path / "clinic.db", access=tmp_path / "no.db")

    (tmp_path / "clinic.db").unlink()


# The command line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    programs(tmp_path)
    monkeypatch.setenv("KAT_ACCESS", "access.db")
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES", "KAT_PROGRAMS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(kat, [*words, "--now", "2026-03-02T08:00"])


def test_the_report_of_a_patient_tells_who_looked_and_why(run: Callable[..., Any]) -> None:
    id_ = run("enroll", "walk-in", "--patient", "P-1", "--by", "ann:nurse").output.strip()
    run("status", id_, "--as", "bo:doctor", "--why", ROUND)
    run("history", id_, "--as", "cleo:doctor", "--emergency", "fire")
    run("census")

    said = run("access", "--patient", "P-1").output.splitlines()
    person = run("access", "--person", "bo", "--json")
    broken = run("access", "--emergencies").output
    disclosed = run("access", "--patient", "P-1", "--disclosures").output

    assert "bo (doctor) status of " + id_ + ": ward round" in said[0]
    assert "cleo (doctor) history" in said[1]
    assert said[1].endswith("[glass broken: fire]")
    assert "the host itself census of P-1" in said[-1]
    assert [look["through"] for look in json.loads(person.output)["looks"]] == ["status"]
    assert "cleo" in broken
    assert "bo" not in broken
    assert disclosed == ""


def test_the_outbox_is_drained_whatever_the_log_says_but_a_person_who_reads_it_is_written_down(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    """Who is to be called is not kept waiting by a log; a machine that sends is nobody's look."""
    programs(
        tmp_path,
        (
            "phases:",
            "alerts:\n  - {when: pressure.systolic > high, says: Come now, tell: [doctor],"
            " answer_within: 5 min}\nphases:",
        ),
    )
    id_ = run("enroll", "walk-in", "--patient", "P-1", "--by", "ann:nurse").output.strip()
    run("record", id_, "look", "systolic=120", "--by", "ann:nurse")
    run("record", id_, "pressure", "systolic=190", "--by", "ann:nurse")

    drained = run("outbox")
    read = run("outbox", "--as", "bo:doctor", "--why", ROUND)

    assert "Come now" in drained.output
    assert read.output == drained.output
    looks = json.loads(run("access", "--patient", "P-1", "--json").output)["looks"]
    (look,) = [x for x in looks if x["through"] == "outbox"]
    assert (look["person"], look["why"], look["patients"]) == ("bo", ROUND, ["P-1"])


def test_a_report_of_deviations_says_who_asked_for_it(run: Callable[..., Any]) -> None:
    id_ = run("enroll", "walk-in", "--patient", "P-1", "--by", "ann:nurse").output.strip()
    late = ("record", id_, "look", "systolic=120", "--emergency", "fire", "--by", "bo:doctor")
    assert run(*late).exit_code == 0

    said = run("deviations", "--as", "cleo:doctor", "--why", "audit")

    assert "1 in all" in said.output
    looks = json.loads(run("access", "--person", "cleo", "--json").output)["looks"]
    assert [(x["through"], x["why"]) for x in looks] == [("deviations", "audit")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say --patient ID"),
        (("--patient", "P", "--person", "bo"), "say --patient ID"),
        (("--person", "bo", "--disclosures"), "are of a patient"),
    ],
)
def test_a_report_of_nobody_is_no_report(
    run: Callable[..., Any], words: tuple[str, ...], says: str
) -> None:
    answer = run("access", *words)

    assert answer.exit_code == 2
    assert says in answer.output


def test_a_report_needs_a_log(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAT_ACCESS")

    assert "name the access log" in run("access", "--patient", "P-1").output
