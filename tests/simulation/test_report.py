"""What a report of a cohort says, reckoned by hand; and it is the same on every machine."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from kat_workflow.simulation.clinic import Course, Tallies, Work
from kat_workflow.simulation.cohort import (
    MEASURES,
    Answer,
    Cohort,
    CsvTables,
    ParquetTables,
    Plan,
    compared,
    opened,
    simulate,
)
from kat_workflow.simulation.report import difference_page, page, summary

DETOX = Path(__file__).parents[2] / "examples" / "simulation" / "detox.yaml"
OPEN = datetime(2026, 3, 2, tzinfo=UTC)


def at(days: float = 0, hours: float = 0, minutes: float = 0) -> datetime:
    return OPEN + timedelta(days=days, hours=hours, minutes=minutes)


@pytest.fixture
def two_clinics(tmp_path: Path) -> Plan:
    """Two clinics of two patients, for three days."""
    lines = DETOX.read_text(encoding="utf-8").splitlines()
    file = tmp_path / "profile.yaml"
    smaller = ("clinic_size: 2" if x.startswith("clinic_size:") else x for x in lines)
    file.write_text("\n".join([*smaller, ""]), encoding="utf-8")
    return Plan("detox-4-day", file, 4, 3, 7)


LEFT = [
    Course(
        0, 0, at(hours=8), at(hours=9), discharged=at(2, 9), end="linked_to_care",
        kind="completed", phase="day", sessions=2, aborted=1,
    ),
    Course(
        0, 1, at(hours=10), at(hours=13), discharged=at(1, 13), end="against_advice",
        kind="against_advice", phase="stay",
    ),
]  # fmt: skip
DONE = [
    ("record vitals", "nurse", at(hours=9), at(0, 9, 10), at(0, 9, 15), at(0, 9, 12), "done"),
    ("record vitals", "nurse", at(hours=10), at(hours=12), at(0, 12, 5), at(hours=13), "done"),
    ("see to it", "doctor", at(hours=9), at(hours=9), at(0, 9, 30), None, "gone"),
]
FIRST = Answer(
    0,
    LEFT,
    [Work(0, 0, *each) for each in DONE],
    Tallies(
        census=Counter({0: 2, 1: 1}),
        left_from=Counter({("day", "linked_to_care"): 1, ("stay", "against_advice"): 1}),
        busy=Counter({("nurse", 9): 3600, ("nurse", 12): 900, ("doctor", 9): 3600}),
        shift=Counter({("nurse", 9): 2, ("nurse", 12): 1, ("doctor", 9): 1, ("doctor", 10): 1}),
        held=Counter({"bed": 3, "chair": 2}),
        queued=Counter({"bed": 1}),
        violations=Counter({"given, then released": 1}),
    ),
    "files",
)
SECOND = Answer(
    1,
    [Course(1, 0, at(hours=8)), Course(1, 1, at(hours=9), at(hours=9))],
    [Work(1, 1, "record vitals", "nurse", at(1), at(1, 1), at(1, 1, 5), at(1, 0, 30), "done")],
    Tallies(census=Counter({1: 1, 2: 1}), held=Counter({"bed": 1})),
    "files",
)


@pytest.fixture
def both(two_clinics: Plan) -> Cohort:
    cohort = Cohort(two_clinics)
    cohort.add(FIRST)
    cohort.add(SECOND)
    return cohort


def test_census_and_length_of_stay_are_those_of_the_courses(both: Cohort) -> None:
    found = summary(both)

    assert (found["arrived"], found["enrolled"], found["discharged"]) == (4, 3, 2)
    assert found["census"] == [[0, 1.0], [1, 1.0], [2, 0.5]]  # of a clinic, at noon
    assert found["stays"] == [(0.0, 1.0), (1.0, 0.5), (2.0, 0.0)]
    assert found["length_of_stay"] == {
        "mean": 1.5, "25%": 1.0, "50%": 1.0, "75%": 2.0, "95%": 2.0, "most": 2.0,
    }  # fmt: skip
    assert found["sessions"] == {"aborted": 1, "held": 2}


def test_where_patients_leave_is_counted_by_phase_and_end(both: Cohort) -> None:
    found = summary(both)

    assert found["ends"] == {"linked_to_care": 1, "against_advice": 1}
    assert found["leaving"] == [
        {"phase": "day", "end": "linked_to_care", "count": 1},
        {"phase": "stay", "end": "against_advice", "count": 1},
    ]


def counts(histogram: list[dict[str, Any]]) -> dict[int, int]:
    return {each["from"]: each["count"] for each in histogram if each["count"]}


def test_waits_and_overdue_are_those_of_the_work(both: Cohort) -> None:
    found = summary(both)

    vitals, seen = found["work"]
    assert (vitals["what"], vitals["count"]) == ("record vitals", 3)
    assert vitals["outcomes"] == {"done": 3}
    assert vitals["wait_minutes"] == {
        "mean": 63.333, "25%": 10.0, "50%": 60.0, "75%": 120.0, "95%": 120.0, "most": 120.0,
    }  # fmt: skip
    assert (vitals["due"], vitals["late"], vitals["late_share"]) == (3, 2, 0.6667)
    assert vitals["late_minutes"]["most"] == 35.0
    assert vitals["late_minutes"]["mean"] == 19.0  # 3 and 35 minutes
    assert counts(vitals["overdue"]) == counts(found["overdue"]) == {0: 1, 30: 1}
    assert counts(vitals["waits"]) == {5: 1, 60: 1, 120: 1}
    assert counts(found["waits"]) == {0: 1, 5: 1, 60: 1, 120: 1}
    assert (seen["due"], seen["late"], seen["outcomes"]) == (0, 0, {"gone": 1})


def test_load_is_by_role_and_hour_and_bottlenecks_are_ranked(both: Cohort) -> None:
    found = summary(both)

    assert found["load"] == {"doctor": [[9, 1.0], [10, 0.0]], "nurse": [[9, 0.5], [12, 0.25]]}
    assert found["bottlenecks"] == [
        {"what": "nurse", "hours_waited": 3.2, "mean_wait_minutes": 63.3, "busy_share": 0.4167},
        {"what": "doctor", "hours_waited": 0.0, "mean_wait_minutes": 0.0, "busy_share": 0.5},
        {"what": "bed", "held": 4, "queued": 1, "queued_share": 0.25},
        {"what": "chair", "held": 2, "queued": 0, "queued_share": 0.0},
    ]


def test_work_counts_for_the_hours_of_the_clinics_clock_in_which_it_was_done(
    two_clinics: Plan,
) -> None:
    text = two_clinics.profile.read_text(encoding="utf-8")
    assert "zone: America/Los_Angeles" in text
    clinic = opened(two_clinics, 0)
    person = clinic._people[0]
    role = min(person.actor.roles)
    job = type("Job", (), {"roles": (role,)})
    begun = clinic.begins + timedelta(hours=9, minutes=50)

    clinic.now = begun + timedelta(minutes=90)
    clinic._busy(job, person, begun)  # type: ignore[arg-type]

    assert clinic.tallies.busy == {(role, 9): 600, (role, 10): 3600, (role, 11): 1200}


def test_what_a_broken_rule_is_stands_in_the_account_and_on_the_page(both: Cohort) -> None:
    found = summary(both)

    assert found["violations"] == {"given, then released": 1}
    assert "Rules broken: {&#x27;given, then released&#x27;: 1}" in page(found)


def test_the_page_has_every_table_of_the_account(both: Cohort) -> None:
    made = page(summary(both))

    for words in ("linked_to_care", "record vitals", "2 of 3", "63.3", "0.42", "chair"):
        assert words in made, words
    for plot in (
        "Patients in treatment at noon", "Length of stay", "Busy share", "How long work waited",
        "How late was what was late: 2 of 3",
    ):  # fmt: skip
        assert plot in made, plot
    assert made.count("<svg") == 5


def test_clinics_are_measured_by_what_happened_in_them(both: Cohort) -> None:
    first, second = both.measures

    assert first == pytest.approx(
        {
            "enrolled": 1, "hours_to_enrolling": 2, "length_of_stay": 1.5, "completed": 0.5,
            "left_early": 0.5, "wait": 130 / 3, "late": 0.5, "census": 1,
        }
    )  # fmt: skip
    assert second == pytest.approx(
        {
            "enrolled": 0.5, "hours_to_enrolling": 0, "length_of_stay": 0, "completed": 0,
            "left_early": 0, "wait": 60, "late": 1, "census": 2 / 3,
        }
    )  # fmt: skip
    assert set(first) == set(MEASURES)


def of_measures(plan: Plan, *values: float) -> Cohort:
    return Cohort(plan, measures=[dict.fromkeys(MEASURES, value) for value in values])


def test_the_same_clinics_are_compared_and_the_interval_is_that_of_95_in_100(
    two_clinics: Plan,
) -> None:
    before = of_measures(two_clinics, *(float(number * 10) for number in range(40)))
    one_more = of_measures(two_clinics, *(float(number * 10 + 1) for number in range(40)))
    half = of_measures(two_clinics, *(float(number * 10 + number % 2) for number in range(40)))

    by_one, by_half = compared(before, one_more)["wait"], compared(before, half)["wait"]

    # Clinics differ by hundreds, and each from itself by one: only pairs show that.
    assert (by_one["before"], by_one["after"]) == (195.0, 196.0)
    assert by_one["low"] == by_one["difference"] == by_one["high"] == 1.0
    # The mean of 40 draws of 0 or 1 has a standard error of 0.079.
    assert by_half["difference"] == 0.5
    assert 0.31 < by_half["low"] < 0.39
    assert 0.61 < by_half["high"] < 0.69
    uneven = of_measures(two_clinics, *(number**1.9 for number in range(40)))
    assert compared(before, uneven) == compared(before, uneven)  # draws are those of the seed
    shown = difference_page(before, half, ("as it is", "otherwise"))
    for bound in ("low", "high"):
        assert f"{by_half[bound]:,.2f}" in shown


def test_tables_have_a_row_for_each_patient_and_each_piece_of_work_with_instants_in_utc(
    tmp_path: Path,
) -> None:
    with CsvTables(tmp_path / "csv") as tables:
        tables.add(FIRST)
        tables.add(SECOND)
    with ParquetTables(tmp_path / "parquet") as parquet_tables:
        parquet_tables.add(FIRST)
        parquet_tables.add(SECOND)

    for name, rows in (("patients", 4), ("work", 4)):
        with (tmp_path / "csv" / f"{name}.csv").open(encoding="utf-8") as file:
            written = list(csv.DictReader(file))
        stored = parquet.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pylist()
        assert len(written) == len(stored) == rows
        for text, value in zip(written, stored, strict=True):
            assert text == {k: "" if v is None else str(v) for k, v in value.items()}
    assert written[0]["begun"] == "2026-03-02 09:10:00+00:00"
    assert stored[0]["due"] == at(0, 9, 12)


CHILD = """
import json, sys
from pathlib import Path
from kat_workflow.simulation.cohort import CsvTables, Plan, simulate
from kat_workflow.simulation.report import page, summary

if __name__ == "__main__":
    plan = Plan("detox-4-day", Path(sys.argv[1]), 4, 9, 7)
    folder = Path(sys.argv[2])
    with CsvTables(folder) as tables:
        found = summary(simulate(plan, tables=tables, workers=int(sys.argv[3])))
    (folder / "account.json").write_text(json.dumps(found))
    (folder / "page.html").write_text(page(found))
"""


def test_the_same_seed_gives_the_same_bytes_whatever_seed_hashes_have_and_where_the_machine_is(
    two_clinics: Plan, tmp_path: Path
) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD, encoding="utf-8")

    made = []
    for seed, zone, workers in (("1", "UTC", "1"), ("4242", "Asia/Tokyo", "2")):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, str(script), str(two_clinics.profile), str(folder), workers],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            check=True,
        )
        made.append({file.name: file.read_bytes() for file in sorted(folder.iterdir())})

    assert made[0] == made[1]
    assert set(made[0]) == {"account.json", "page.html", "patients.csv", "work.csv"}
    assert json.loads(made[0]["account.json"])["arrived"] > 0


def test_what_an_interrupt_keeps_are_the_first_bytes_of_what_there_would_have_been(
    two_clinics: Plan, tmp_path: Path
) -> None:
    def stop_after_one(_: int) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    with CsvTables(tmp_path / "kept") as tables:
        kept = simulate(two_clinics, tables=tables, watch=stop_after_one)
    with CsvTables(tmp_path / "whole") as tables:
        whole = simulate(two_clinics, tables=tables)

    assert (kept.clinics, whole.clinics) == (1, 2)
    assert kept.measures == whole.measures[:1]
    for name in ("patients.csv", "work.csv"):
        first, all_of_it = ((tmp_path / x / name).read_bytes() for x in ("kept", "whole"))
        assert all_of_it.startswith(first)
        assert len(first) < len(all_of_it)
