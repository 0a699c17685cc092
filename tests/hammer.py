"""Many threads and processes at the same patients: nothing lost, doubled or out of order.

    python -m tests.hammer [STORE] [--seconds 60] [--threads 8] [--processes 4]

Every process opens an engine of its own on the store (a path, or a URL of PostgreSQL), runs a
scheduler, and as many threads send commands to a hundred enrollments: readings, rounds, holds.
A third of all commands are sent by two threads of different processes under one id, and some are
sent once more later. Afterwards the journal is judged against what was acknowledged.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

sys.path.append(str(Path(__file__).parent))  # where pytest looks as well: the tests' programs

from walk_in import ANN, BO, EIGHT, TEXT

from kat_workflow import Conflict, Engine, Happened, Refused, replay
from kat_workflow.enrollment.events import encode

ENROLLMENTS = 100
FASTER = 10_000
"""How much faster the clinic's clock goes, so that rounds are missed while the hammer falls."""


class Blow(Struct, frozen=True):
    """One command that was sent and what was answered: the digest of its events, or a code."""

    id: str
    enrollment: str
    events: str = ""
    again: bool = False
    refused: str = ""
    seconds: float = 0.0


class Report(Struct, frozen=True):
    """What came of it. `wrong` names everything that must not be; sound is who has nothing."""

    sent: int
    acknowledged: int
    again: int
    refused: int
    gave_up: int
    timers: int
    entries: int
    seconds: float
    p50: float
    p99: float
    longest: float
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(
            (
                f"sent {self.sent} in {self.seconds:.1f} s: acknowledged {self.acknowledged}"
                f" (a second time {self.again}), refused {self.refused}, gave up {self.gave_up}",
                f"entries {self.entries}, timers run {self.timers}",
                f"milliseconds for a command: p50 {self.p50 * 1e3:.1f}, p99 {self.p99 * 1e3:.1f},"
                f" longest {self.longest * 1e3:.0f}",
                *self.wrong[:20],
                f"lost, doubled or out of order: {len(self.wrong)}",
            )
        )


class Clock:
    """The clinic's time, the same in every process: hours for each second of the machine's."""

    def __init__(self, began: float) -> None:
        self._began = began

    def __call__(self) -> datetime:
        return EIGHT + timedelta(seconds=(time.time() - self._began) * FASTER)


def hammer(
    where: str, seconds: float = 60.0, threads: int = 8, processes: int = 4, count: int = 10**9
) -> Report:
    """Send commands for so many seconds, or so many by each thread, and judge the journal."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "walk-in" / "walk-in.yaml"
        file.parent.mkdir()
        file.write_text(TEXT, encoding="utf-8")
        began = time.time()
        with _engine(where, folder, began) as engine:
            patients = [
                engine.enroll("walk-in", patient=f"P-{n}", by=ANN, command_id=f"enroll-{n}")
                for n in range(ENROLLMENTS)
            ]
        spawned = multiprocessing.get_context("spawn")
        started = time.monotonic()
        with ProcessPoolExecutor(processes, spawned) as pool:
            works = [
                pool.submit(_process, where, folder, began, patients, n, threads, seconds, count)
                for n in range(processes)
            ]
            told = [blows for work in works for blows in work.result()]
        took = time.monotonic() - started
        with _engine(where, folder, began) as engine:
            return _judged(engine, patients, told, took)


def _engine(where: str, folder: str, began: float) -> Engine:
    return Engine.open(where, programs=folder, clock=Clock(began))


def _process(
    where: str,
    folder: str,
    began: float,
    patients: list[str],
    number: int,
    threads: int,
    seconds: float,
    count: int,
) -> list[list[Blow]]:
    """What one process does; for each thread what it was told, in order."""
    with _engine(where, folder, began) as engine, engine.scheduler(every=0.05):
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(threads) as pool:
            works = [
                pool.submit(_thread, engine, patients, f"{number}.{n}", n, until, count)
                for n in range(threads)
            ]
            return [work.result() for work in works]


def _thread(
    engine: Engine, patients: list[str], name: str, number: int, until: float, count: int
) -> list[Blow]:
    told: list[Blow] = []
    for turn in range(count):
        if time.monotonic() > until:
            break
        # The threads of one number, in all processes, send these under the same ids.
        id_ = f"all.{number}-{turn}" if turn % 3 == 0 else f"{name}-{turn}"
        told.append(_send(engine, patients, id_))
        if turn % 10 == 9:  # as a client does that has not heard the answer
            told.append(_send(engine, patients, told[turn // 2].id))
    return told


def _send(engine: Engine, patients: list[str], id_: str) -> Blow:
    """Send the command of that id: what it asks for follows from the id alone."""
    chance = Random(id_)
    patient = chance.choice(patients)
    kind = chance.choice(("reading", "reading", "reading", "rounds", "hold", "lift"))
    began = time.monotonic()
    try:
        if kind == "reading":
            values = {"systolic": chance.randint(90, 160)}
            done = engine.record(patient, "pressure", values, by=ANN, command_id=id_)
        elif kind == "hold":
            given = {"reason": "Asked for"}
            done = engine.do(patient, "hold", by=BO, given=given, command_id=id_)
        else:
            phrase = "done rounds" if kind == "rounds" else "lift"
            done = engine.do(patient, phrase, by=BO if kind == "lift" else ANN, command_id=id_)
    except Refused as refused:
        return Blow(id_, patient, refused=refused.code, seconds=time.monotonic() - began)
    except Conflict:
        return Blow(id_, patient, refused="conflict", seconds=time.monotonic() - began)
    digest = _digest(done.events)
    return Blow(id_, patient, digest, done.again, seconds=time.monotonic() - began)


def _digest(events: Any) -> str:
    return hashlib.sha256(b"".join(b"".join(encode(event)) for event in events)).hexdigest()


def _judged(engine: Engine, patients: list[str], told: list[list[Blow]], took: float) -> Report:
    entries: list[Happened] = []
    while page := engine.follow(entries[-1].position if entries else 0, 10_000):
        entries += page
    wrong: list[str] = []
    if [x.position for x in entries] != list(range(1, len(entries) + 1)):
        wrong.append("positions have gaps")

    written: defaultdict[str, list[Happened]] = defaultdict(list)
    streams: defaultdict[str, list[Happened]] = defaultdict(list)
    for entry in entries:
        written[entry.cause].append(entry)
        streams[entry.stream].append(entry)
    for cause, own in written.items():
        if own[-1].position - own[0].position != len(own) - 1:
            wrong.append(f"{cause} is in the journal twice, or in pieces")
    for stream, own in streams.items():
        if [x.version for x in own] != list(range(1, len(own) + 1)):
            wrong.append(f"{stream}: its versions have gaps")
        if any(a.recorded > b.recorded for a, b in pairwise(own)):
            wrong.append(f"{stream}: time falls")

    blows = [blow for own in told for blow in own]
    acknowledged = [blow for blow in blows if blow.events]
    for blow in acknowledged:
        events = [x.event for x in written[blow.id] if x.enrollment == blow.enrollment]
        if not events:
            wrong.append(f"{blow.id} is lost")
        elif _digest(events) != blow.events:
            wrong.append(f"{blow.id} was answered otherwise than it is written")
    firsts = Counter(blow.id for blow in acknowledged if not blow.again)
    wrong += [f"{id_} was first {times} times" for id_, times in firsts.items() if times > 1]
    known = {blow.id for blow in acknowledged} | {f"enroll-{n}" for n in range(ENROLLMENTS)}
    timers = [cause for cause in written if cause.startswith("timer:")]
    wrong += [f"{cause} nobody knows of" for cause in written.keys() - known - set(timers)]
    for thread in told:
        positions = [written[x.id][0].position for x in thread if x.events and not x.again]
        if positions != sorted(positions):
            wrong.append("a thread's commands are not in the order in which it sent them")
    for patient in patients:
        if engine.enrollment(patient) != replay(x.event for x in streams[f"enrollment:{patient}"]):
            wrong.append(f"the state row of {patient} is not what its entries say")

    took_each = sorted(blow.seconds for blow in blows) or [0.0]
    return Report(
        sent=len(blows),
        acknowledged=len(acknowledged),
        again=sum(blow.again for blow in acknowledged),
        refused=len(blows) - len(acknowledged),
        gave_up=sum(blow.refused == "conflict" for blow in blows),
        timers=len(timers),
        entries=len(entries),
        seconds=took,
        p50=took_each[len(took_each) // 2],
        p99=took_each[len(took_each) * 99 // 100],
        longest=took_each[-1],
        wrong=tuple(wrong),
    )


def main() -> int:
    """Hammer a store, a new SQLite file if none is named, and print the report."""
    reader = argparse.ArgumentParser(prog="python -m tests.hammer", description=__doc__)
    reader.add_argument("store", nargs="?", help="an empty one")
    reader.add_argument("--seconds", type=float, default=60.0)
    reader.add_argument("--threads", type=int, default=8)
    reader.add_argument("--processes", type=int, default=4)
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = asked.store or str(Path(folder) / "clinic.db")
        report = hammer(store, asked.seconds, asked.threads, asked.processes)
    print(report)
    return bool(report.wrong)


if __name__ == "__main__":
    sys.exit(main())
