"""Rows and programs beside the entries: an auditor sees where they say something else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kat_workflow import Actor
from kat_workflow.engine import Engine
from kat_workflow.engine.auditing import Verified, verify
from kat_workflow.language import Folder, shipped
from kat_workflow.scenarios import load_scenario, run

ROOT = Path(__file__).parents[1]
ENDED = "programs/ketamine-assisted-therapy/scenarios/straight-way-through.yaml"
OPEN = "programs/residential-30-day/scenarios/to-hospital-and-back.yaml"
SEVERAL = "tests/programs/ketamine-circle/scenarios/three-members-one-drops-out-one-aborts.yaml"


def clinic(where: Path, name: str) -> Engine:
    scenario = load_scenario(ROOT / name)
    library = Folder((ROOT / name).parents[2], shipped())
    engine = Engine.open(where, sites=(scenario.site, *scenario.others))
    run(scenario, library, engine.journal)
    return engine


def audit(engine: Engine) -> Verified:
    with engine.journal.snapshot() as still:
        return verify(still)


@pytest.mark.parametrize("name", [ENDED, SEVERAL])
def test_a_clinic_as_it_was_written_is_sound_also_after_an_erasure(
    tmp_path: Path, name: str
) -> None:
    with clinic(tmp_path / "journal.db", name) as engine:
        assert audit(engine).faults == ()

        erased = 0
        for stream in engine.journal.streams("patient:"):
            patient = stream.partition(":")[2]
            if all(course.end for course in engine.patient(patient).courses):
                engine.erase(patient, by=Actor("dora", frozenset()), ground="Art. 17")
                erased += 1

        assert erased
        found = audit(engine)
        assert (found.faults, found.erased > 10) == ((), True)


CHANGES = [
    (SEVERAL, "state row is not", "UPDATE kat_streams SET row = (SELECT row FROM kat_streams WHERE"
     " stream LIKE 'enrollment:%' LIMIT 1) WHERE stream LIKE 'enrollment:%'"),
    (SEVERAL, "state row is not", "UPDATE kat_streams SET row = (SELECT row FROM kat_streams WHERE"
     " stream LIKE 'patient:%' LIMIT 1) WHERE stream LIKE 'patient:%'"),
    (OPEN, "wake-up", "UPDATE kat_streams SET wake = 1 WHERE stream LIKE 'enrollment:%'"),
    (OPEN, "work items are not", "DELETE FROM kat_items"),
    (OPEN, "and nothing else", "UPDATE kat_items SET stream = 'enrollment:x',"
     " body = CAST(replace(CAST(body AS TEXT), 'enrollment:e', 'enrollment:x') AS BLOB)"),
    (OPEN, "census row is missing", "DELETE FROM kat_census"),
    (OPEN, "census row is not", "UPDATE kat_census SET"
     " body = CAST(replace(CAST(body AS TEXT), 'active', 'closed') AS BLOB)"),
    (OPEN, "does not list who", "UPDATE kat_census SET standing = 'closed'"),
    (OPEN, "does not list who", "UPDATE kat_census SET site = 'elsewhere'"),
    (OPEN, "work items are not", "UPDATE kat_items SET role = 'cook' || role"),
    (OPEN, "work items are not", "UPDATE kat_items SET patient = 'another'"),
    (OPEN, "work items are not", "UPDATE kat_items SET assigned = 'another'"),
    (OPEN, "work items are not", "UPDATE kat_items SET sort = -sort"),
    (OPEN, "state row cannot", "UPDATE kat_streams SET row = x'90'"),
    (OPEN, "is not the one", "UPDATE kat_programs SET"
     " files = CAST(replace(CAST(files AS TEXT), 'title: ', 'title: X') AS BLOB)"),
    (OPEN, "is not the one", "UPDATE kat_programs SET files = CAST('{\"x\": \"y\"}' AS BLOB)"),
    (OPEN, "is not kept", "DELETE FROM kat_programs"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "says", "change"), CHANGES)
def test_a_row_that_says_something_else_than_the_entries_is_found(
    tmp_path: Path, name: str, says: str, change: str
) -> None:
    path = tmp_path / "journal.db"
    with clinic(path, name) as engine:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(change)

        found = audit(engine).faults

    assert any(says in fault.says for fault in found), found
