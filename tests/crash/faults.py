"""Which faults there are, each on the stores that it can befall."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Literal

from msgspec import Struct

from benchmarks.server import NoServer, Server

from . import damage, disks, killing, servers, timing
from .suite import Ground, Row, skipped

SQLITE, POSTGRES = "SQLite", "PostgreSQL"


class Case(Struct, frozen=True):
    """A fault by its name, the store that it is to befall, and in which form of the suite.

    What takes long is tried in the `full` form alone, or only if it is `asked` for by name.
    """

    name: str
    fault: Callable[[Any], Row]
    store: str = SQLITE
    threads: int = 1
    form: Literal["short", "full", "asked"] = "short"


CASES = (
    Case("statements", killing.at_every_statement),
    Case("commit", killing.within_the_commit),
    Case("load", killing.under_load),
    Case("load", killing.under_load, "SQLite, 8 threads", 8),
    Case("storm", timing.storm),
    Case("frozen", timing.frozen),
    Case("clock", timing.clock),
    Case("full", disks.full),
    Case("read-only", disks.read_only),
    Case("locked", disks.locked),
    Case("power", disks.power_cut),
    Case("page", damage.spoiled_page),
    Case("log", damage.spoiled_log),
    Case("messages", servers.at_every_message, POSTGRES),
    Case("load", killing.under_load, POSTGRES),
    Case("storm", timing.storm, POSTGRES),
    Case("server", servers.killed, "PostgreSQL, 4 threads", 4),
    Case("network", servers.cut_off, POSTGRES),
    Case("locked", servers.locked, POSTGRES),
    Case("full", servers.full, POSTGRES),
    Case("frozen", servers.frozen, POSTGRES),
    Case("fleet", servers.fleet, POSTGRES, form="full"),
    Case("hammer", timing.hammered, form="asked"),
    Case("hammer", timing.hammered, POSTGRES, form="asked"),
)

FAULTS = tuple(dict.fromkeys(case.name for case in CASES))


def run(
    names: Iterable[str] = (),
    seconds: float = inf,
    short: bool = False,
    seed: int = 0,
    store: str = "",
) -> Iterator[Row]:
    """Try the faults of these names, or all that need not be asked for, on this store, or all; a
    row as each is done.

    What is left of the seconds is shared out among the faults that are still to come; a fault ends
    the round that it is in.
    """
    forms = ("short",) if short else ("short", "full")
    names = set(names) or {case.name for case in CASES if case.form in forms}
    cases = [case for case in CASES if case.name in names and case.store.startswith(store)]
    end = monotonic() + seconds
    memory = Path("/dev/shm")  # a process that is killed leaves the same on any file system
    base = memory if short and os.access(memory, os.W_OK) else None
    with ExitStack() as stack:
        server: Server | None = None
        for done, case in enumerate(cases):
            now = monotonic()
            until = now + (end - now) / (len(cases) - done)
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="kat-crash-", dir=base)))
            ground = Ground(folder, short, seed, case.threads, case.store, until)
            try:
                if case.store.startswith(POSTGRES):
                    server = server or stack.enter_context(servers.started(not short))
                    ground = servers.on(server, ground)
                row = case.fault(ground)
            except NoServer as error:
                row = skipped(case.name, ground, str(error))
            except Exception as error:  # one fault that cannot be judged hides no other
                row = Row(case.name, case.store, wrong=[f"it came to no verdict: {error!r}"])
            yield row
