"""`python -m benchmarks [GROUP ...]`: one line a figure.

name value unit reference ratio[interval] target ok|short
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections.abc import Callable, Sequence

from benchmarks.figures import GROUPS
from benchmarks.measure import Effort, measure


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = print) -> None:
    """Measure what is asked for, everything if nothing is, and say each figure when it is known."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of: {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, default=11, help="at least 7 for a verdict")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual work in a round")
    parser.add_argument("--profile", metavar="GROUP", help="show where our side spends its time")
    asked = parser.parse_args(arguments)
    for name in (*asked.groups, asked.profile or "chart"):
        if name not in GROUPS:
            parser.error(f"there is no {name}; there are {', '.join(GROUPS)}")
    if asked.profile:
        return profile(asked.profile, Effort(asked.rounds, asked.share))
    effort = Effort(asked.rounds, asked.share)
    for name in asked.groups or GROUPS:
        for figure in GROUPS[name](effort):
            say(str(measure(figure, effort.rounds)))
    return None


def profile(name: str, effort: Effort) -> None:
    """Where our side of a group's first figure spends its time, warm, dearest functions first."""
    figure = next(GROUPS[name](effort))
    figure.ours()
    profiler = cProfile.Profile()
    profiler.runcall(figure.ours)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
