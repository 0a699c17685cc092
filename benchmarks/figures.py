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
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import yaml

from benchmarks import (
    chart_fixture,
    durable_fixture,
    journal_fixture,
    large_fixture,
    postgres_fixture,
    simulation_fixture,
    workload,
)
from benchmarks.measure import Effort, Figure, Side, cost
from benchmarks.server import Databases, Server
from kat_workflow.enrollment.events import decode as decode_event
from kat_workflow.enrollment.state import Enrollment, decode_row, encode_row, replay
from kat_workflow.journal import Append, Journal, auditing, open_journal
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
    """What 50 threads that append at once gain over one, against the bare SQL, 50 a transaction;
    and what a host gains that appends 50 commands in a transaction of its own."""
    together = 50
    commands = together * effort.times(40)

    def gain(of: Callable[[Path, int, int], float]) -> Side:
        def side() -> float:
            with TemporaryDirectory() as directory:
                return of(Path(directory) / "journal.db", together, commands)

        return side

    threads, host = gain(journal_fixture.gain_of_journal), gain(journal_fixture.gain_of_host)
    bare = gain(journal_fixture.gain_of_bare)
    yield Figure("groupcommit", "times", threads, bare, 0.7, at_least=True)
    yield Figure("batch", "times", host, bare, 0.7, at_least=True)


def postgres(_: Effort) -> Iterator[Figure]:
    """Commands on PostgreSQL (read, decide, commit), against the SQL written by hand: statement by
    statement, and in one call."""
    rows = postgres_fixture.rows()
    commits = len(rows.timed)
    with closing(Server()) as server:
        databases = Databases(server.url())

        def ours() -> float:
            return commits / postgres_fixture.by_engine(databases.fresh())

        def bare(write: Callable[[str, durable_fixture.Script], float]) -> Side:
            return lambda: commits / write(databases.fresh(), rows)

        statements, call = map(bare, (postgres_fixture.by_statements, postgres_fixture.by_call))
        yield Figure("postgres", "commits/s", ours, statements, 0.8, at_least=True)
        yield Figure("postgres-call", "commits/s", ours, call, 0.8, at_least=True)


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


def long(effort: Effort) -> Iterator[Figure]:
    """An enrollment with 5,000 entries: from its state row, from its entries, on the disk; and
    whether every link of its record holds."""
    for mark, stores in large_fixture.STORES.items():
        with stores() as fresh:
            yield from _long(mark, fresh(), effort)


def _long(mark: str, where: str, effort: Effort) -> Iterator[Figure]:
    enrollment = large_fixture.write_long(where, effort.times(5_000))
    stream, reads = f"enrollment:{enrollment}", effort.times(2_000)
    one, all_, sums = (
        large_fixture.written_for(where, statement)
        for statement in (
            'SELECT version, "row" FROM kat_streams WHERE stream = ?',
            "SELECT body FROM kat_entries WHERE stream = ? ORDER BY version",
            "SELECT count(*), CAST(sum(length(body)) AS INT) FROM kat_entries WHERE stream = ?",
        )
    )
    with open_journal(where) as journal, closing(large_fixture.connect(where)) as connection:
        bare = large_fixture.bare(where, connection)
        entries, told = bare(sums, (stream,)).fetchone()

        def comes_back() -> int:
            for _ in range(reads):
                for row in (journal.row(stream) or ())[1:]:
                    decode_row(row)
            return reads

        def bare_row() -> int:
            for _ in range(reads):
                bare(one, (stream,)).fetchone()
            return reads

        def replayed() -> int:
            return replay(decode_event(x.body) for x in journal.read(stream)).version

        def read_only() -> int:
            return len([decode_event(body) for (body,) in bare(all_, (stream,)).fetchall()])

        sides = (cost(comes_back, perf_counter), cost(bare_row, perf_counter))
        yield Figure(f"long-comes-back{mark}", "us/patient", *sides, 4)
        if not mark:  # the row is the same in every store
            size = float(len((journal.row(stream) or (0, b""))[1]))
            yield Figure("long-row", "bytes", lambda: size, _kib, 8)
        both = (cost(replayed, perf_counter), cost(read_only, perf_counter))
        yield Figure(f"long-replay{mark}", "us/entry", *both, 3)
        rows = large_fixture.written_for(where, large_fixture.BARE_ROWS)

        def verified() -> int:
            finding = auditing.verify(auditing.recorded(journal))
            assert not finding.faults
            return finding.entries

        def hashed() -> int:
            found, end = bare(rows).fetchall(), b""
            for *_, told, salt, body, values in found:
                end = sha256(end + told + salt + body + values).digest()
            return len(found)

        proof = (cost(verified, perf_counter), cost(hashed, perf_counter))
        yield Figure(f"verify{mark}", "us/entry", *proof, 3.5)
        each, text = large_fixture.bytes_of(where) / entries, told / entries
        yield Figure(f"long-entry{mark}", "bytes", lambda: each, lambda: text, 5 if mark else 3)


def worklist(effort: Effort) -> Iterator[Figure]:
    """The first 50 items of a role at one of 100 sites, among a million enrollments."""
    for mark, stores in large_fixture.STORES.items():
        with stores() as fresh:
            yield from _worklist(mark, fresh, effort)


def _worklist(mark: str, fresh: Callable[[], str], effort: Effort) -> Iterator[Figure]:
    small, large, none = fresh(), fresh(), fresh()
    large_fixture.write_clinic(small, effort.times(10_000))
    large_fixture.write_clinic(large, effort.times(1_000_000))
    open_journal(none).close()
    lists = effort.times(300)
    statement = large_fixture.written_for(large, large_fixture.BARE_LIST)
    with (
        open_journal(small) as few,
        open_journal(large) as many,
        closing(large_fixture.connect(large)) as connection,
    ):
        execute = large_fixture.bare(large, connection)

        def listed(journal: Journal) -> Side:
            def work() -> int:
                for number in range(lists):
                    journal.worklist(role="nurse", site=f"site-{number % 100:02d}")
                return lists

            return cost(work, perf_counter)

        def bare() -> int:
            for number in range(lists):
                execute(statement, ("nurse", f"site-{number % 100:02d}")).fetchall()
            return lists

        yield Figure(f"worklist{mark}", "us/list", listed(many), cost(bare, perf_counter), 2)
        yield Figure(f"worklist-growth{mark}", "us/list", listed(many), listed(few), 1.2)

    def waits(where: str) -> Side:
        return lambda: _child({}, "-m", "benchmarks.waiting", where)

    yield Figure(f"waiting{mark}", "kib", waits(large), waits(none), 1.05)


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


def simulation(effort: Effort) -> Iterator[Figure]:
    """Simulated clinics: the engine's part and the whole, two cores, any size."""
    patients = effort.times(30)
    told = simulation_fixture.of_detox(patients)

    def each(seconds: Callable[[simulation_fixture.Recorded], float]) -> Side:
        return lambda: seconds(told) / told.entries * 1e6

    engine, core = each(simulation_fixture.by_engine), each(simulation_fixture.by_core)
    yield Figure("simulation", "us/event", engine, core, 1.5)
    yield Figure("simulation-clinic", "us/event", simulation_fixture.whole(patients), core, 3)
    clinics = effort.times(8)
    one, two = (simulation_fixture.shared(clinics, workers) for workers in (1, 2))
    yield Figure("simulation-scaling", "s", one, two, 1.6, at_least=True)
    sizes = [effort.times(number) for number in (100, 500, 2_500)]
    grows = partial(simulation_fixture.growth, sizes)
    yield Figure("simulation-growth", "exponent", grows, lambda: 1.0, 1.1)
    many, few = (
        _child({}, "-m", "benchmarks.simulated", "--peak", str(effort.times(number)))
        for number in (10_000, 1_000)
    )
    yield Figure("simulation-memory", "kib", lambda: many, lambda: few, 1.2)


GROUPS: dict[str, Callable[[Effort], Iterator[Figure]]] = {
    "chart": chart,
    "decide": decide,
    "durable": durable,
    "groupcommit": groupcommit,
    "postgres": postgres,
    "state": state,
    "long": long,
    "worklist": worklist,
    "import": importing,
    "compile": compiling,
    "scale": scaling,
    "simulation": simulation,
}
"""What can be asked for by name; `groupcommit` and `postgres` have two figures, `state` four,
`simulation` five, `worklist` six and `long` nine."""


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
