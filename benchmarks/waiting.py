"""KiB that a process takes whose scheduler waits for so many timers: `waiting STORE`.

The store was made by `large_fixture`; nothing in it is due yet.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from threading import Event

from benchmarks.large_fixture import NOON
from benchmarks.measure import peak
from kat_workflow.engine import Engine
from kat_workflow.engine.scheduling import ThreadScheduler


def waiting(where: str) -> int:
    """The most that the process took until its scheduler waits."""
    with Engine.open(where, clock=lambda: NOON - timedelta(days=1)) as engine:
        with ThreadScheduler(engine, every=3600) as scheduler:
            while scheduler.waits_for is None:
                Event().wait(0.01)
        return peak()


if __name__ == "__main__":
    print(waiting(sys.argv[1]))
