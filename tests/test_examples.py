"""The examples: real stays where the data is at hand, made-up ones everywhere."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared" / "data" / "ctn0094"


@pytest.fixture(scope="module")
def replay() -> ModuleType:
    """The example as a module."""
    file = ROOT / "examples" / "detox_stays" / "replay.py"
    spec = importlib.util.spec_from_file_location("detox_stays_replay", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, stays: str, ratings: str) -> None:
    (folder / "detox_stays.csv").write_text("who,what,when\n" + stays, encoding="utf-8")
    (folder / "withdrawal_ratings.csv").write_text("who,withdrawal,when\n" + ratings, "utf-8")


def test_two_stays_are_lived_to_their_real_length(replay: ModuleType, tmp_path: Path) -> None:
    write(
        tmp_path, "7,admission,-1\n7,discharge,1\n8,admission,2\n8,discharge,7\n", "8,2,3\n8,1,9\n"
    )

    report = replay.run(tmp_path)

    assert [stay["program_day"] for stay in report["each"]] == [3, 6]
    assert report["classes_recorded"] == 1  # the second rating lies outside the stay
    assert (report["with_withdrawal_class"], report["without_withdrawal_class"]) == (1, 1)
    assert report["outcome"] == {"left early": 1, "stayed longer, as the program allows": 1}
    assert report["flagged"]["deviations"] == {"moved-past-gates": 2}
    assert report["refused"] == {}


@pytest.mark.parametrize("rows", ["7,discharge,1\n", "7,admission,1\n", "7,admission,x\n"])
def test_a_stay_without_its_pair_is_told(
    replay: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str
) -> None:
    write(tmp_path, rows, "")

    assert replay.main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_every_real_stay_is_accounted_for(
    replay: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    if not REAL.is_dir():
        pytest.skip(f"the trial data is not here ({REAL}); only made-up stays were replayed")
    with (REAL / "detox_stays.csv").open(newline="") as file:
        days: dict[str, list[int]] = {}
        for row in csv.DictReader(file):
            days.setdefault(row["who"], []).append(int(row["when"]))

    assert replay.main([str(REAL), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["stays"] == len(days) == 60
    assert {s["patient"]: s["nights"] for s in report["each"]} == {
        who: max(both) - min(both) for who, both in days.items()
    }
    assert all(stay["program_day"] == stay["nights"] + 1 for stay in report["each"])
    assert sum(report["outcome"].values()) == 60
    assert report["with_withdrawal_class"] + report["without_withdrawal_class"] == 60
    assert report["refused"] == {}
    assert replay.main([str(REAL)]) == 0
    assert "60 stays replayed" in capsys.readouterr().out
