"""What the benchmarks claim of themselves; how fast anything is, no test says."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from postgres import Databases

from benchmarks import chart_fixture, durable_fixture, postgres_fixture, workload
from benchmarks.__main__ import main
from benchmarks.figures import GROUPS, ROOT
from benchmarks.measure import Figure, Measured, measure, peak
from kat_workflow.language import load
from kat_workflow.program.model import Program

LINE = re.compile(
    r"[a-z0-9-]+ [0-9.]+ [a-z/]+ [0-9.]+ [0-9.]+\[[0-9.]+\.\.[0-9.]+\] (<=|>=)[0-9.]+ (ok|short)"
)
# All that is written but what is random: links, salts, and what is hashed with them.
WRITTEN = (
    'SELECT stream, version, "row", wake FROM kat_streams ORDER BY stream',
    """SELECT position, stream, version, recorded, cause, person, role, body, "values"
    FROM kat_entries ORDER BY position""",
    "SELECT * FROM kat_items ORDER BY stream, item, role",
    "SELECT command, first, last FROM kat_commands ORDER BY command",
    "SELECT * FROM kat_census ORDER BY stream",
)


@pytest.fixture(scope="module")
def program() -> Program:
    return load(workload.PROGRAM)


def measured(*ratios: float, target: float = 1, at_least: bool = False) -> Measured:
    figure = Figure("some", "us/event", float, float, target, at_least)
    return Measured(figure, list(ratios), [1.0] * len(ratios))


class TestThePatientOfTheWorkload:
    def test_completes_the_program_and_is_refused_only_where_the_script_says_so(
        self, program: Program
    ) -> None:
        walked = workload.check(program)
        assert walked.enrollment.end == "completed"
        assert walked.commands == len(workload.SCRIPT)
        assert walked.refused == sum(bool(line.refused) for line in workload.SCRIPT) > 0

    def test_goes_through_detox_a_ketamine_session_and_aftercare(self, program: Program) -> None:
        phrases = {line.phrase for line in workload.SCRIPT}
        assert {"record stabilisation.review", "release kat.kat_session"} <= phrases
        patient = workload.check(program).enrollment
        assert patient.tallies["kat.kat_session"].counted == 1

    def test_leaves_work_to_timers(self, program: Program) -> None:
        assert workload.walk(program, workload.plan()).timers > 50

    def test_goes_the_same_way_every_time(self, program: Program) -> None:
        one, other = (workload.walk(program, workload.plan()) for _ in range(2))
        assert one == other

    def test_is_in_treatment_on_day_20_with_work_open(self, program: Program) -> None:
        patient = workload.on_day(program, 20)
        assert patient.standing == "active"
        assert patient.items

    def test_is_found_out_when_the_program_goes_another_way(self, program: Program) -> None:
        twice = next(at for at, line in enumerate(workload.SCRIPT) if "belongings" in line.phrase)
        line = workload.SCRIPT[twice]
        script = (*workload.SCRIPT[:twice], line, *workload.SCRIPT[twice:])
        with pytest.raises(AssertionError, match=f"day {line.day}, {line.phrase}"):
            workload.check(program, script)


class TestAFigure:
    def test_is_short_only_when_the_whole_interval_misses_the_target(self) -> None:
        assert measured(1.1, 1.2, 1.3).short
        assert not measured(0.9, 1.2, 1.3).short
        assert measured(0.5, 0.6, target=0.7, at_least=True).short
        assert not measured(0.5, 0.8, target=0.7, at_least=True).short

    def test_has_an_interval_that_one_wild_round_of_eleven_does_not_move(self) -> None:
        calm = [1 + number / 100 for number in range(10)]
        assert measured(*calm, 9.0).interval == (1.01, 1.09)

    def test_times_both_sides_in_turn_and_each_first_in_every_other_round(self) -> None:
        order: list[str] = []

        def side(name: str) -> float:
            order.append(name)
            return 2.0 if name == "ours" else 1.0

        figure = Figure("some", "us", lambda: side("ours"), lambda: side("theirs"), 1)
        told = measure(figure, 2)
        assert told.ratios == [2.0, 2.0]
        assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


class TestTheReferences:
    def test_by_hand_and_by_chart_go_the_same_way_over_the_same_events(self) -> None:
        ours, by_hand = chart_fixture.sides(repeats=1)
        assert ours() == by_hand() > 0

    def test_bare_sql_writes_the_rows_that_the_engine_writes(self, tmp_path: Path) -> None:
        durable_fixture.by_engine(tmp_path / "engine.db")
        durable_fixture.bare(tmp_path / "bare.db", durable_fixture.rows())
        with (
            closing(sqlite3.connect(tmp_path / "engine.db")) as engine,
            closing(sqlite3.connect(tmp_path / "bare.db")) as bare,
        ):
            for select in WRITTEN:
                assert engine.execute(select).fetchall() == bare.execute(select).fetchall()

    @pytest.mark.parametrize(
        "write", [postgres_fixture.by_statements, postgres_fixture.by_call], ids=["rows", "call"]
    )
    def test_sql_by_hand_writes_the_rows_that_the_engine_writes_to_postgresql(
        self, databases: Databases, write: Callable[[str, durable_fixture.Script], float]
    ) -> None:
        ours, by_hand = databases.fresh(), databases.fresh()
        postgres_fixture.by_engine(ours)
        write(by_hand, postgres_fixture.rows())
        with psycopg.connect(ours) as engine, psycopg.connect(by_hand) as bare:
            for select in WRITTEN:
                assert engine.execute(select).fetchall() == bare.execute(select).fetchall()


def test_every_figure_is_said_in_one_line_of_seven_words() -> None:
    said: list[str] = []
    main(["--rounds", "1", "--share", "0.01"], said.append)
    assert all(LINE.fullmatch(line) for line in said), said
    names = [line.split()[0] for line in said]
    assert len(set(names)) == len(names) >= len(GROUPS) + 3


def test_a_group_that_does_not_exist_is_refused_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "decide" in capsys.readouterr().err


def test_a_profile_names_the_functions_of_our_side(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--profile", "decide", "--share", "0.01"])
    assert "decide" in capsys.readouterr().out


def test_the_peak_of_a_child_is_its_own_and_not_its_parents() -> None:
    ballast = bytearray(300 << 20)
    code = "from benchmarks.measure import peak; print(peak())"

    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT
    )

    assert int(child.stdout) < len(ballast) >> 10 < peak()
