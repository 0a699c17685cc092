"""`python -m tests.crash [FAULT ...] [--seconds N] [--json]`: the table of faults."""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from secrets import randbits
from time import monotonic

import msgspec

from . import killing
from .suite import Fault, Ground, Row

SINGLE = ("SQLite", 1)
GROUP = ("SQLite, 8 threads", 8)
FAULTS: dict[str, list[tuple[Fault, tuple[str, int]]]] = {
    "statements": [(killing.at_every_statement, SINGLE)],
    "commit": [(killing.within_the_commit, SINGLE)],
    "load": [(killing.under_load, SINGLE), (killing.under_load, GROUP)],
}


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    reader.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    reader.add_argument("--short", action="store_true")
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as d:
        for name in asked.faults or FAULTS:
            for fault, (store, threads) in FAULTS[name]:
                t = monotonic()
                row = fault(Ground(Path(d), asked.short, 1, threads, store))
                print(row, f"{monotonic()-t:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
