"""How a simulation grows: `simulated [--peak] PATIENTS …`, each number in a fresh process.

A line for each: patients, seconds on the clock, entries a second, peak MiB; then the exponent of
the seconds. Tables are written to a folder. With `--peak`, of one number, only the peak KiB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.measure import peak
from benchmarks.simulation_fixture import exponent, short
from kat_workflow.simulation.cohort import CsvTables, simulate


def once(patients: int) -> tuple[float, int, int]:
    """Seconds, entries and the peak KiB of this process for so many patients."""
    with TemporaryDirectory() as folder, CsvTables(Path(folder)) as tables:
        began = perf_counter()
        cohort = simulate(short(patients), tables=tables)
        seconds = perf_counter() - began
    return seconds, cohort.tallies.entries, peak()


def main(asked: list[str]) -> None:
    """Print what is asked for."""
    if asked[0] in ("--peak", "--once"):
        seconds, entries, most = once(int(asked[1]))
        print(most if asked[0] == "--peak" else f"{seconds} {entries} {most}")
        return
    sizes, costs = [int(each) for each in asked], []
    for patients in sizes:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.simulated", "--once", str(patients)],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        seconds, entries, most = (float(each) for each in done.stdout.split())
        costs.append(seconds)
        print(f"{patients} {seconds:.1f} s {entries / seconds:.0f} entries/s {most / 1024:.0f} MiB")
    if len(sizes) > 1:
        print(f"exponent {exponent(sizes, costs):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
