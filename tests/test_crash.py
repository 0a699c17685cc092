"""The short form of the crash suite; and that the suite notices a store that is built wrong."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path

import pytest
from crash.children import Child, Trap
from crash.disks import power_cut
from crash.faults import POSTGRES, SQLITE, run
from crash.suite import Ground, Trial


@pytest.mark.filterwarnings("default::pytest.PytestWarning")  # what is skipped is said
@pytest.mark.parametrize("store", [SQLITE, POSTGRES])
def test_a_fault_loses_no_acknowledged_command_and_doubles_none(store: str) -> None:
    for row in run(short=True, store=store):
        if row.skipped:
            told = pytest.PytestWarning(f"{row.fault} is NOT tested on {row.store}: {row.skipped}")
            warnings.warn(told, stacklevel=1)
            continue
        assert not row.wrong, row.fault
        assert (row.lost, row.doubled) == (0, 0)
        assert row.acknowledged > 0


# What the suite must not fail to see


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A sound store with the course of one patient, and one after whom a day was lost."""
    trial = Trial("none", Ground(tmp_path, True, 1), str(tmp_path / "clinic.db"))
    trial.do_until("w", 12)
    trial.judged()
    assert not trial.row.wrong
    return trial


def test_a_store_that_answers_before_it_commits_is_seen_to_lose(trial: Trial) -> None:
    # It commits every twentieth command, and ends with the seventeenth after the last of them:
    # were it killed wherever it is, on a busy machine that could be right after a commit.
    job = trial.job("w", until=57, broken="answers-first")
    with Child(job) as child:
        child.ends()
        in_flight = trial.heard(child)

    trial.judged(in_flight)

    row = trial.ended()
    assert row.lost
    assert row.doubled == 0


def test_a_client_that_sends_again_under_another_id_is_seen_to_double(trial: Trial) -> None:
    trial.do_until("w", 14)
    with Child(trial.job("w", trap=Trap(answer=True))) as child:
        child.ends()
    assert child.in_flight == {"w-14"}

    trial.recovers(child)
    twice = trial.job("w", trap=Trap(answer=True))
    with Child(twice) as child:
        child.ends()
        trial.recovers(child, under="/again")

    assert trial.ended().doubled == 1


def test_a_store_that_does_not_wait_for_the_disk_is_seen_to_lose_when_the_power_fails(
    tmp_path: Path,
) -> None:
    row = power_cut(Ground(tmp_path, True, 1), "unsynced")

    if row.skipped:
        pytest.skip(row.skipped)
    assert row.lost


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        ("DELETE FROM kat_entries WHERE cause = 'w-5'", "lost"),
        ("DELETE FROM kat_entries WHERE cause = 'w-2' AND version % 2", "lost"),
        ("UPDATE kat_entries SET cause = 'nobody-1' WHERE cause = 'w-8'", "doubled"),
        ("UPDATE kat_entries SET position = position + 1000 WHERE cause = 'w-11'", "wrong"),
        (
            "UPDATE kat_streams SET row = (SELECT row FROM kat_streams"
            " WHERE stream LIKE 'enrollment:%' ORDER BY version LIMIT 1)",
            "wrong",
        ),
        ("UPDATE kat_streams SET wake = wake + 1", "wrong"),
        ("DELETE FROM kat_items", "wrong"),
        ("UPDATE kat_census SET standing = 'closed'", "wrong"),
        ("DELETE FROM kat_census", "wrong"),
    ],
)
def test_a_store_that_is_not_what_was_commanded_is_seen(
    trial: Trial, damage: str, seen: str
) -> None:
    with closing(sqlite3.connect(trial.where)) as connection, connection:
        assert connection.execute(damage).rowcount

    row = trial.ended()

    assert getattr(row, seen)


def test_the_table_ends_in_what_was_lost_and_doubled_and_its_code_says_so() -> None:
    words = [sys.executable, "-m", "tests.crash", "locked", "--short"]
    root = Path(__file__).parents[1]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root)

    assert done.stdout.splitlines()[-1] == "lost 0 doubled 0"
    assert done.returncode == 0
