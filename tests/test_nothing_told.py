"""No patient's value in a log or in the text of an error, whatever is sent and whatever fails.

Everything that may tell about a patient is marked before it is sent: readings, remarks, reasons,
ids. Then the engine, the stores and the command line are driven into every kind of trouble, and
what they log (at DEBUG) and what their errors say, with all causes, is searched for the mark.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from walk_in import ANN, BO, EIGHT, Clock, programs

from kat_workflow import Actor, Engine, Refused
from kat_workflow.cli import kat
from kat_workflow.enrollment.commands import VERBS
from kat_workflow.journal import Append, Journal, open_journal

MARK = "Xq7Canary"
"""What stands for everything that a patient told in confidence."""

WHO = "Xq7Mrn"
"""What stands for who a patient is. A reason may say it again to whoever asked by it."""


class Told:
    """What was said in logs and errors while something was tried."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        self.caplog = caplog
        self.errors: list[str] = []
        self.kinds: set[str] = set()

    def trying(self, deed: Callable[[], object]) -> None:
        try:
            deed()
        except Exception as error:
            self.kinds.add(type(error).__name__)
            self.errors += [repr(error), *traceback.format_exception(error)]
            if isinstance(error, Refused):
                # What a reason says is for everybody; only its clauses may quote a value.
                said = [reason.says for reason in error.refusal.reasons]
                self.errors += [says.replace(WHO, "") for says in said]

    @property
    def mark(self) -> list[str]:
        """Where the mark was said."""
        logged = [f"{r.getMessage()} {r.exc_text or ''} {r.args!r}" for r in self.caplog.records]
        return [text for text in (*logged, *self.errors) if MARK in text or WHO in text]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clinic.db"


@pytest.fixture
def engine(tmp_path: Path, file: Path) -> Iterator[Engine]:
    with Engine.open(file, programs=programs(tmp_path), clock=Clock()) as engine:
        yield engine


@pytest.fixture
def patient(engine: Engine) -> str:
    return engine.enroll("walk-in", patient=f"MRN-{WHO}", by=ANN, command_id="first")


MARKED = {"reason": MARK, "note": MARK, "source": MARK, "values": {"remark": MARK}}


def deeds(engine: Engine, id_: str) -> Iterator[Callable[[], object]]:
    """Everything somebody may send, right and wrong, with the mark wherever they write freely."""
    yield lambda: engine.record(id_, "look", {"systolic": 500, "remark": MARK}, by=ANN)
    yield lambda: engine.record(id_, "look", {"systolic": MARK}, by=ANN)
    yield lambda: engine.record(id_, "look", {"systolic": [MARK], "remark": 5}, by=ANN)
    yield lambda: engine.record(id_, "look", {"systolic": 120, MARK: 1}, by=ANN)
    yield lambda: engine.record(id_, "look", {"systolic": 120, "remark": MARK}, by=BO)
    yield lambda: engine.record(id_, "talk", {"story": MARK}, by=BO)
    yield lambda: engine.record(id_, "look", {"systolic": 199, "remark": MARK}, by=ANN)
    yield lambda: engine.record(id_, "rest", {"systolic": 250, "remark": MARK}, by=ANN)
    for verb in VERBS:
        for details in (MARKED, {"reason": MARK}, {"reason": {MARK: MARK}}, {}):
            for name in ("look", "o1", "home", "all to bo", ""):
                yield lambda v=verb, n=name, d=details: engine.do(  # type: ignore[misc]
                    id_, f"{v} {n}".strip(), by=ANN, given=d
                )
                yield lambda v=verb, n=name, d=details: engine.do(  # type: ignore[misc]
                    id_, f"{v} {n}".strip(), by=BO, given=d, emergency=MARK
                )
    yield lambda: engine.enroll("walk-in", patient=f"MRN-{WHO}", by=ANN)
    yield lambda: engine.enroll("walk-in", patient=f"MRN-{WHO}\ud800", by=ANN)
    yield lambda: engine.enroll("walk-in", patient=f"MRN-{WHO}", by=ANN, command_id="first")
    yield lambda: engine.enroll("walk-in", patient=f"{WHO}-2", by=ANN, command_id="first")
    yield lambda: engine.patient(f"nobody-{WHO}")
    yield lambda: engine.merge(f"MRN-{WHO}", f"none-{WHO}", by=ANN, reason=MARK)
    yield lambda: engine.unmerge(f"MRN-{WHO}", f"none-{WHO}", by=ANN, reason=MARK)
    yield lambda: engine.merge(f"MRN-{WHO}", f"MRN-{WHO}", by=ANN, reason=MARK)
    yield lambda: engine.history(id_, by=Actor(f"MRN-{WHO}-2", {"patient"}))
    yield lambda: engine.why(id_, "leave home", by=ANN, given={"reason": MARK})
    yield engine.run_due


def test_whatever_is_sent_nothing_of_it_is_told(engine: Engine, patient: str, told: Told) -> None:
    for deed in deeds(engine, patient):
        told.trying(deed)

    assert sorted(set(told.mark)) == []
    assert told.kinds == {"Refused"}


TEXTS = st.text(max_size=20).map(lambda text: f"{text}{MARK}{text}")
ANYTHING = st.recursive(
    TEXTS | st.integers() | st.floats() | st.booleans() | st.none() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["reason", "note", "values", "source", "present", "for", "steps", "rate"])


@given(
    verb=st.sampled_from(sorted(VERBS)),
    name=st.sampled_from(["look", "talk", "o1", "watching", "home", ""]),
    details=st.dictionaries(NAMES, ANYTHING, max_size=4),
    fields=st.dictionaries(st.sampled_from(["systolic", "remark", "story"]), ANYTHING, max_size=3),
    emergency=st.just("") | TEXTS,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_whatever_anybody_might_send_nothing_of_it_is_told(
    engine: Engine,
    patient: str,
    told: Told,
    verb: str,
    name: str,
    details: dict[str, Any],
    fields: dict[str, Any],
    emergency: str,
) -> None:
    phrase = f"{verb} {name}".strip()

    told.trying(lambda: engine.do(patient, phrase, by=ANN, given=details, emergency=emergency))
    told.trying(lambda: engine.record(patient, name, fields, by=ANN))

    assert sorted(set(told.mark)) == []


# Stores that fail

BROKEN = {
    "no room": "PRAGMA max_page_count=1",
    "entries gone": "DROP TABLE kat_entries",
    "streams gone": "DROP TABLE kat_streams",
    "refused by a trigger": """CREATE TRIGGER no BEFORE INSERT ON kat_entries
        BEGIN SELECT RAISE(ABORT, 'no'); END""",
    "an entry twice": "UPDATE kat_streams SET version = version - 1",
    "bodies cut": "UPDATE kat_entries SET body = substr(body, 1, length(body) / 2)",
    "rows cut": "UPDATE kat_streams SET row = substr(row, 1, length(row) / 2)",
    "bodies of another kind": """UPDATE kat_entries
        SET body = replace(CAST(body AS TEXT), '"event":"', '"event":"Xq7Canary')""",
    "items cut": "UPDATE kat_items SET body = substr(body, 1, length(body) / 2)",
    "census cut": "UPDATE kat_census SET body = substr(body, 1, length(body) / 2)",
    "numbers that are texts": "UPDATE kat_entries SET recorded = 'Xq7Canary'",
}

MENDED = {"rows cut"}
"""What nobody notices, since the entries tell the same."""


def questions(engine: Engine, id_: str) -> Iterator[Callable[[], object]]:
    yield lambda: engine.status(id_)
    yield lambda: engine.history(id_)
    yield lambda: engine.records(id_)
    yield lambda: engine.signatures(id_)
    yield lambda: engine.as_known_at(id_, EIGHT)
    yield lambda: engine.patient(f"MRN-{WHO}")
    yield engine.worklist
    yield engine.census
    yield engine.follow
    yield engine.outbox
    yield lambda: engine.lots("K1")


@pytest.mark.parametrize("how", BROKEN)
def test_whatever_fails_in_the_store_nothing_is_told(
    engine: Engine, patient: str, file: Path, told: Told, how: str, tmp_path: Path
) -> None:
    engine.record(patient, "look", {"systolic": 120, "remark": MARK}, by=ANN)
    engine.listen(lambda happened: json.loads(repr(happened)))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(BROKEN[how])

    with Engine.open(file, programs=tmp_path / "programs", clock=Clock()) as again:
        for each in (engine, again):
            if how == "no room":
                each.journal._connection.execute(BROKEN[how])  # type: ignore[attr-defined]
            for deed in (*questions(each, patient), *deeds(each, patient)):
                told.trying(deed)

    assert sorted(set(told.mark)) == []
    assert (told.kinds - {"Refused"} == set()) == (how in MENDED)
    assert told.kinds <= {"Refused", "Conflict", "JournalError"}


# The command line


def test_the_command_line_tells_nothing_where_it_fails(
    engine: Engine, patient: str, file: Path, tmp_path: Path, told: Told
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(BROKEN["refused by a trigger"])
    words = [
        ("record", patient, "look", "systolic=120", f"remark={MARK}"),
        ("record", patient, "look", f"systolic={MARK}"),
        ("do", patient, "leave", "--reason", MARK),
        ("enroll", "walk-in", "--patient", f"MRN-{WHO}-2"),
    ]
    for each in words:
        answer = CliRunner().invoke(
            kat,
            [*each, "--by", "ann:nurse", "--db", str(file), "--now", "2026-03-02T08:00"],
            env={"KAT_PROGRAMS": str(tmp_path / "programs")},
        )
        assert answer.exit_code
        if answer.exception is not None:
            told.errors.append(repr(answer.exception))

    assert sorted(set(told.mark)) == []


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_no_store_tells_whose_stream_it_is_or_what_was_written(
    tmp_path: Path, told: Told, request: pytest.FixtureRequest, kind: str
) -> None:
    where: Path | str | None = None if kind == "memory" else tmp_path / "journal.db"
    if kind == "postgres":
        where = request.getfixturevalue("database")
    stream, body = f"patient:MRN-{WHO}", f'{{"says":"{MARK}"}}'.encode()
    good = Append(stream, 0, (body,), body, values=(body,))
    wrong: list[Append] = [
        good,  # it is there already
        Append(stream, 7, (body,)),
        Append(stream, 1, (body,), None, EIGHT.replace(tzinfo=None)),
        Append(stream, 1, (), None, EIGHT),
        Append(stream, 0, (), body),
        Append(stream, 1, (body,), values=(body, body)),
        Append(stream, 1, (MARK,)),  # type: ignore[arg-type]
        Append(stream, 1, (body,), MARK),  # type: ignore[arg-type]
        Append(f"{stream}\0", 0, (body,)),
        Append(f"{stream}\ud800", 0, (body,)),
        Append(stream, 2**70, (body,)),
    ]

    def write(journal: Journal, append: Append, number: int) -> None:
        journal.append(
            [append],
            command=f"c{number}", digest="d", recorded=EIGHT, person=f"P-{WHO}", role="patient",
        )  # fmt: skip

    with open_journal(where) as journal:
        write(journal, good, 0)
        for number, each in enumerate(wrong, 1):
            told.trying(lambda each=each, number=number: write(journal, each, number))  # type: ignore[misc]
        if kind == "postgres":
            with psycopg.connect(str(where), autocommit=True) as connection:
                connection.execute("ALTER TABLE kat_entries ADD CHECK (length(body) < 5) NOT VALID")
                connection.execute("ALTER TABLE kat_commands ADD CHECK (command < 'c5') NOT VALID")
            told.trying(lambda: write(journal, Append(stream, 1, (body,)), 99))
            told.trying(lambda: write(journal, Append(stream, 1, (b"{}",)), 99))

    assert told.mark == []
    assert {"Conflict", "ValueError"} <= told.kinds
    assert len(told.errors) > 6
