"""PostgreSQL: its server killed under load, cut off from its workers, out of room, or locked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from time import monotonic
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg
from msgspec.structs import replace

from benchmarks.server import Server
from kat_workflow.journal import open_journal

from .children import Child, Job
from .clinic import BLOCK, deed
from .line import Line, Side
from .suite import Ground, Row, Trial, is_root, mounted, skipped
from .timing import LATER


class ServerGround(Ground, kw_only=True):
    """A ground whose stores are databases of a server; every commit is forced to its disk."""

    server: Server

    def fresh(self, name: str) -> str:
        """A database that is not there yet."""
        return make(self.server, name)


@contextmanager
def started(synced: bool = True) -> Iterator[Server]:
    """A server of our own, on a unix socket. Raises NoServer where there is none to start.

    One that is killed leaves its writes to the system, so that for the short form it need not be
    `synced`.
    """
    server = Server() if synced else Server("fsync=off")
    try:
        yield server
    finally:
        server.close()


def on(server: Server, like: Ground) -> ServerGround:
    """That ground, on the server."""
    return ServerGround(
        like.directory, like.short, like.seed, like.threads, like.store, like.until, server=server
    )


def make(server: Server, name: str, *more: str) -> str:
    """Make a database; its URL."""
    database = f"crash_{name}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        words = ("CREATE DATABASE", database, "TEMPLATE template0 ENCODING 'UTF8'", *more)
        connection.execute(" ".join(words).encode())
    return server.url(database)


def directory(server: Server) -> str:
    """Where its socket is."""
    return parse_qs(urlsplit(server.url()).query)["host"][0]


def through(line: Line, job: Job) -> Job:
    """The same job, by way of the line."""
    parts = urlsplit(job.where)
    return replace(job, where=urlunsplit(parts._replace(query=f"host={line.directory}")))


def killed(ground: ServerGround) -> Row:
    """kill -9 of the server and all its processes while workers write; it is started again."""
    trial = Trial("kill -9 of the server", ground, ground.fresh("killed"))
    rounds = 0
    with ExitStack() as stack:
        crews = [tuple(f"{crew}{who}" for who in ground.whos) for crew in "ab"]
        children = [stack.enter_context(Child(trial.job(*crew))) for crew in crews]
        for number in ground.rounds(1, 8):
            rounds = number + 1
            for child in children:
                child.hears_more(ground.times(10, 100))
            ground.server.kill()
            down = monotonic()
            for child in children:
                child.hears_for(0)
            ground.server.start()
            for child in children:  # each looks for the server by itself
                child.hears_more(ground.threads)
            trial.row.seconds = max(trial.row.seconds, monotonic() - down)
            trial.unharmed(*children)
        ground.server.kill()
        trial.heard(*children)
        ground.server.start()
        trial.recovers(*children)
    return trial.ended(note=f"{rounds + 1} times, under two processes")


def cut_off(ground: ServerGround) -> Row:
    """Nothing comes through between a worker and the server; the others go on."""
    trial = Trial("network cut", ground, ground.fresh("cut"))
    rounds = 0
    with Line(directory(ground.server)) as line, ExitStack() as stack:
        here = stack.enter_context(Child(trial.job("a")))
        there = stack.enter_context(Child(through(line, trial.job("b"))))
        for number in ground.rounds(2, 6):
            rounds = number + 1
            there.hears_more(ground.times(20, 50))
            line.cut()
            there.hears_for(0)
            here.hears_for(0)
            here.hears_more(ground.times(20, 100))
            healed = monotonic()
            line.heal()
            there.hears_more(2)  # one may have been on its way
            trial.row.seconds = max(trial.row.seconds, monotonic() - healed)
            trial.unharmed(here, there)
        trial.recovers(here, there)
    return trial.ended(note=f"{rounds} times; what was on its way is lost")


def at_every_message(ground: ServerGround) -> Row:
    """A worker is killed before a message reaches the server, and before its answer comes back."""
    trial = Trial("kill -9 at every message", ground, ground.fresh("messages"))
    kills = 0
    kinds = (0, 2, 4, 7, 9)[: ground.times(1, 5)]
    with Line(directory(ground.server)) as line:
        for number in ground.rounds(len(kinds), len(kinds)):
            sides: tuple[Side, Side] = ("asked", "answered")
            for side in sides:
                count, survived = 0, False
                while not survived:
                    count += 1
                    survived = _killed(trial, kinds[number], line, side, count)
                    kills += not survived
    return trial.ended(note=f"{kills} kills, of {len(kinds)} kinds of command")


def _killed(trial: Trial, kind: int, line: Line, side: Side, count: int) -> bool:
    number = trial.next("w") // BLOCK * BLOCK + kind
    if number < trial.next("w"):
        number += BLOCK
    trial.do_until("w", number)
    job = through(line, trial.job("w", until=number + 1, waits=True))
    with Child(job) as child:
        child.freezes()
        line.at(side, count, child.process.kill)
        child.thaws()
        child.ends()
        line.free()
        survived = child.acknowledged == [deed("w", number).id]
        trial.recovers(child)
    return survived


def full(ground: ServerGround) -> Row:
    """The disk of the database has no room; then it has, and what was refused is sent again."""
    fault, folder = "disk full", ground.directory / "small"
    if not is_root():
        return skipped(fault, ground, "not root: no small file system can be mounted")
    with mounted(folder, "-t", "tmpfs", "-o", "size=32m", "tmpfs"):
        owner = os.stat(directory(ground.server)).st_uid
        os.chown(folder, owner, -1)
        ground.directory.chmod(0o755)
        with psycopg.connect(ground.server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'".encode())
        trial = Trial(fault, ground, make(ground.server, "full", "TABLESPACE small"))
        times, others = 0, folder / "others"
        for _ in ground.rounds(1, 4):
            times += 1
            with others.open("wb") as file:  # what takes up nearly all room
                file.write(bytes(shutil.disk_usage(folder).free - 100_000))
            with Child(trial.job("w")) as child:
                child.ends()
                trial.told(child, "the disk is full; make room and send the command again")
                others.unlink()
                trial.recovers(child)
        row = trial.ended(note=f"a tablespace on a small file system, {times} times")
        with psycopg.connect(ground.server.url(), autocommit=True) as connection:
            connection.execute("DROP DATABASE crash_full WITH (FORCE)")
            connection.execute("DROP TABLESPACE small")
    return row


def frozen(ground: ServerGround) -> Row:
    """A writer stops anywhere, then a worker amid its timers; the others go on, and both later."""
    trial = Trial("process frozen and thawed", ground, ground.fresh("frozen"))
    rounds = 0
    with ExitStack() as stack:
        stops, goes = (stack.enter_context(Child(trial.job(who))) for who in "ab")
        for number in ground.rounds(1, 10):
            rounds = number + 1
            stops.hears_more(ground.times(5, 20))
            stops.stops()
            stops.hears_for(0)
            goes.hears_for(0)
            goes.hears_more(ground.times(10, 50))
            # Its client has meanwhile sent to another process what it has in hand.
            trial.do(stops.in_flight)
            thawed = monotonic()
            stops.thaws()
            stops.hears_more(1)
            trial.row.seconds = max(trial.row.seconds, monotonic() - thawed)
            trial.unharmed(stops, goes)
        trial.recovers(stops, goes)
    with Child(Job(trial.where, due=LATER, freezes=True)) as worker:
        worker.freezes()
        with Child(Job(trial.where, due=LATER)) as other:
            other.ends()
        worker.thaws()
        worker.ends()
    told = other.timers + worker.timers
    return trial.ended(LATER, told, f"a writer, {rounds} times; a worker amid its timers")


def fleet(ground: ServerGround) -> Row:
    """As the storm of timers, of a cluster's own workers: the third takes over from the dead."""
    fault = "kill -9 of 2 of 3 workers"
    if find_spec("dbos") is None:
        return skipped(fault, ground, "pip install 'kat-workflow[cluster]'")
    from kat_workflow.cluster import install  # noqa: PLC0415  # without the extra it is not there

    trial = Trial(fault, ground, ground.fresh("fleet"))
    install(trial.where)
    patients, chance, killed_at = ground.times(12, 60), ground.chance, monotonic()
    job = Job(trial.where, due=LATER, fleet=True)
    with ExitStack() as stack:
        workers = [stack.enter_context(Child(job)) for _ in range(3)]
        for third, worker in enumerate(workers):
            trial.do(deed(f"p{third}.{number}", 0).id for number in range(patients // 3))
            if third < 2:
                worker.hears_for(chance.random() / 5)
                worker.kill()
                killed_at = monotonic()
        with open_journal(trial.where) as journal:
            while journal.due(LATER, 1):
                workers[2].hears_for(0.05)
        trial.row.seconds = monotonic() - killed_at
        workers[2].kill()
    told = sum(worker.timers for worker in workers)
    return trial.ended(LATER, told, f"a cluster's: {patients} patients, {told} timers told")


def locked(ground: ServerGround) -> Row:
    """Another transaction holds the lock, for longer than a writer waits, and for less."""
    trial = Trial("locked database", ground, ground.fresh("locked"))
    for patience in (0.3, 60.0):
        with psycopg.connect(trial.where) as other:
            other.execute("LOCK TABLE kat_entries IN EXCLUSIVE MODE")
            job = trial.job("w", until=trial.next("w") + 25, patience=patience)
            with Child(job) as child:
                if patience < 1:
                    child.ends()
                    trial.told(child, "another transaction holds it", "try again")
                other.rollback()
                let_go = monotonic()
                child.ends()
                trial.recovers(child, since=let_go)
    return trial.ended(note="beyond the writer's patience, and within")
