"""The figures: what each measures, against what, and what it must reach.

Each group is a generator, so that what its figures need is there while they are measured and gone
afterwards.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import yaml

from benchmarks import chart_fixture, durable_fixture, journal_fixture, workload
from benchmarks.measure import Effort, Figure, Side, cost
from kat_workflow.enrollment.state import Enrollment, decode_row, encode_row
from kat_workflow.journal import Append
from kat_workflow.journal.sqlite import SqliteJournal
from kat_workflow.language import load

ROOT = Path(__file__).parent.parent


def chart(effort: Effort) -> Iterator[Figure]:
    """The chart alone, guards and nested moves, against a table written by hand."""
    ours, by_hand = chart_fixture.sides(repeats=effort.times(20))
    yield Figure("chart", "us/event", cost(ours), cost(by_hand), 2.5)


def decide(effort: Effort) -> Iterator[Figure]:
    """Full decisions in memory, for each event emitted, against one bare stock trigger."""
    program, commands = load(workload.PROGRAM), workload.plan()
    walks, triggers = effort.times(4), effort.times(20_000)

    def walk() -> int:
        return sum(workload.walk(program, commands).events for _ in range(walks))

    def trigger() -> int:
        return chart_fixture.stock_triggers(triggers)

    yield Figure("decide", "us/event", cost(walk), cost(trigger), 1)


def durable(_: Effort) -> Iterator[Figure]:
    """Commands on SQLite (read, decide, commit), against bare SQL that writes the same rows."""
    rows = durable_fixture.rows()
    commits = len(rows.timed)

    def ours() -> float:
        with TemporaryDirectory() as directory:
            return commits / durable_fixture.by_engine(Path(directory) / "journal.db")

    def bare() -> float:
        with TemporaryDirectory() as directory:
            return commits / durable_fixture.bare(Path(directory) / "bare.db", rows)

    yield Figure("durable", "commits/s", ours, bare, 0.7, at_least=True)


def groupcommit(effort: Effort) -> Iterator[Figure]:
    """What 50 threads that append at once gain over one, against the bare SQL, 50 a transaction."""
    together = 50
    commands = together * effort.times(20)

    def gain(of: Callable[[Path, int, int], float]) -> Side:
        def side() -> float:
            with TemporaryDirectory() as directory:
                return of(Path(directory) / "journal.db", together, commands)

        return side

    ours, bare = gain(journal_fixture.gain_of_journal), gain(journal_fixture.gain_of_bare)
    yield Figure("groupcommit", "times", ours, bare, 0.7, at_least=True)


def state(effort: Effort) -> Iterator[Figure]:
    """How the patient of day 20 comes back from the state row, and how large patients are."""
    program = load(workload.PROGRAM)
    patient = workload.on_day(program, 20)
    row = encode_row(patient)
    fresh = encode_row(workload.walk(program, workload.plan()[:1]).enrollment)
    reads, copies = effort.times(4_000), effort.times(200)
    with TemporaryDirectory() as directory:
        file = Path(directory) / "journal.db"
        with SqliteJournal(file) as journal, closing(sqlite3.connect(file)) as connection:
            journal.append(
                [Append("e", 0, (b"{}",), row)],
                command="c",
                digest="",
                recorded=patient.last or workload.plan()[0].at,
                person="",
                role="",
            )

            def comes_back() -> int:
                for _ in range(reads):
                    for row in (journal.row("e") or ())[1:]:
                        decode_row(row)
                return reads

            def bare_read() -> int:
                for _ in range(reads):
                    connection.execute(
                        "SELECT version, row FROM kat_streams WHERE stream = ?", ("e",)
                    ).fetchone()
                return reads

            sides = (cost(comes_back, perf_counter), cost(bare_read, perf_counter))
            yield Figure("comes-back", "us/patient", *sides, 4)
    yield Figure("row-day-20", "bytes", lambda: float(len(row)), _kib, 6)
    yield Figure("live-day-20", "bytes", lambda: _live(row, copies), _kib, 12)
    yield Figure("live-fresh", "bytes", lambda: _live(fresh, copies), _kib, 2)


def importing(_: Effort) -> Iterator[Figure]:
    """Importing the library, against what it cannot do without; each in a fresh process.

    What is imported has been compiled to bytecode before, as it is once a package is installed.
    """
    code = "from time import process_time as t; a = t(); import {}; print((t() - a) * 1e3)"
    with TemporaryDirectory() as directory:
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": directory}

        def ours() -> float:
            return _child(bytecode, "-c", code.format("kat_workflow"))

        def needed() -> float:
            return _child(bytecode, "-c", code.format("attrs, yaml, transitions"))

        yield Figure("import", "ms", ours, needed, 1.3)


def compiling(effort: Effort) -> Iterator[Figure]:
    """The program read, checked and compiled, against the C parser on the same files."""
    texts = list(load(workload.PROGRAM).files.values())
    times = effort.times(4)

    def ours() -> int:
        for _ in range(times):
            load(workload.PROGRAM)
        return times

    def parse() -> int:
        for _ in range(times):
            for text in texts:
                yaml.load(text, Loader=yaml.CSafeLoader)
        return times

    yield Figure("compile", "us/program", cost(ours), cost(parse), 6)


def scaling(effort: Effort) -> Iterator[Figure]:
    """An event among 100,000 patients, against one among 1,000; each in a fresh process."""

    def among(patients: int) -> Side:
        return lambda: _child({}, "-m", "benchmarks.scale", str(effort.times(patients)))

    yield Figure("scale", "us/event", among(100_000), among(1_000), 1.3)


GROUPS: dict[str, Callable[[Effort], Iterator[Figure]]] = {
    "chart": chart,
    "decide": decide,
    "durable": durable,
    "groupcommit": groupcommit,
    "state": state,
    "import": importing,
    "compile": compiling,
    "scale": scaling,
}
"""What can be asked for by name; `state` has four figures, the others one."""


def _kib() -> float:
    return 1024.0


def _live(row: bytes, copies: int) -> float:
    """Bytes that one patient takes: the mean of many that were read back, each by itself."""
    kept: list[Enrollment] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept.extend(decode_row(row) for _ in range(copies))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / copies


def _child(settings: dict[str, str], *arguments: str) -> float:
    """The number that a fresh interpreter prints."""
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path} | settings,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(done.stdout)
