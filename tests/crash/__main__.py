"""Break a store in every way that we can think of, and count what is lost or doubled.

The last line is `lost 0 doubled 0`; with anything else in it the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from secrets import randbits

import msgspec

from .faults import FAULTS, run
from .suite import Row

_LINE = "{:<28} {:<18} {:>12} {:>5} {:>8} {:>8}  {}"


def main() -> int:
    """Print the table; the exit code is 0 if nothing was lost, doubled or otherwise wrong."""
    reader = argparse.ArgumentParser("python -m tests.crash", description=__doc__)
    reader.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    reader.add_argument("--seconds", type=float, default=120, help="about how long in all (120)")
    reader.add_argument("--short", action="store_true", help="only what every `make test` does")
    reader.add_argument("--json", action="store_true", help="each row as a line of JSON")
    reader.add_argument("--seed", type=int, default=randbits(32), help="for what is left to chance")
    asked = reader.parse_args()
    if unknown := set(asked.faults) - set(FAULTS):
        reader.error(f"no fault {', '.join(sorted(unknown))}; there are: {', '.join(FAULTS)}")

    rows: list[Row] = []
    if not asked.json:
        print(f"seed {asked.seed}")
        print(_LINE.format("fault", "store", "acknowledged", "lost", "doubled", "seconds", ""))
    for row in run(asked.faults, asked.seconds, asked.short, asked.seed):
        rows.append(row)
        print(msgspec.json.encode(row).decode() if asked.json else line(row), flush=True)
    print(verdict(rows))
    return 0 if sound(rows) else 1


def line(row: Row) -> str:
    """A row as a line of the table, and a line for each thing that is wrong."""
    if row.skipped:
        return _LINE.format(row.fault, row.store, "-", "-", "-", "-", f"SKIPPED: {row.skipped}")
    counts = (row.acknowledged, row.lost, row.doubled, f"{row.seconds:.3f}")
    lines = [_LINE.format(row.fault, row.store, *counts, row.note)]
    return "\n".join([*lines, *(f"  WRONG: {each}" for each in row.wrong)])


def verdict(rows: list[Row]) -> str:
    """The last line: what all faults together lost and doubled, and how much else is wrong."""
    wrong = sum(len(row.wrong) for row in rows)
    lost, doubled = sum(row.lost for row in rows), sum(row.doubled for row in rows)
    return f"lost {lost} doubled {doubled}" + (f" otherwise wrong {wrong}" if wrong else "")


def sound(rows: list[Row]) -> bool:
    """Whether something was tried, and nothing is the matter."""
    return bool(rows) and not any(row.lost or row.doubled or row.wrong for row in rows)


if __name__ == "__main__":
    sys.exit(main())
