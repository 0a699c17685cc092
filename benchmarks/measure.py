"""How a figure is measured: two sides in turn, many rounds, the median and what bounds it.

A round times our side and then the reference, the next one the other way about. A round gives one
ratio, so that a machine that others use as well slows both sides of it. Said of the rounds are the
median and the narrowest pair of order statistics that holds the true median with at least 95 %.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from math import comb
from statistics import median
from time import process_time

from msgspec import Struct

Side = Callable[[], float]
"""Does its work once and says what one unit of it cost, in the unit of its figure."""


class Effort(Struct, frozen=True):
    """How much is measured: `rounds` of everything, and a share of the usual work in a round."""

    rounds: int = 11
    share: float = 1.0

    def times(self, number: int) -> int:
        """A number of repetitions, made smaller by the share."""
        return max(1, int(number * self.share))


class Figure(Struct, frozen=True):
    """A figure of both sides, round by round, and the target for their ratio."""

    name: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    target: float
    at_least: bool = False

    @property
    def ratios(self) -> list[float]:
        """One for each round."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def interval(self) -> tuple[float, float]:
        """What holds the true median with at least 95 %, or all there is of few rounds."""
        ordered = sorted(self.ratios)
        skip = _skipped(len(ordered))
        return ordered[skip], ordered[-1 - skip]

    @property
    def short(self) -> bool:
        """Whether the interval excludes the target."""
        low, high = self.interval
        return high < self.target if self.at_least else low > self.target

    def __str__(self) -> str:
        low, high = self.interval
        return " ".join(
            (
                self.name,
                _number(median(self.ours)),
                self.unit,
                _number(median(self.theirs)),
                f"{median(self.ratios):.2f}[{low:.2f}..{high:.2f}]",
                f"{'>=' if self.at_least else '<='}{self.target:g}",
                "short" if self.short else "ok",
            )
        )


def in_turn(ours: Side, theirs: Side, rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Both sides, once to warm up and then `rounds` times, each first in every other round."""
    ours()
    theirs()
    told: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 else (1, 0):
            gc.collect()  # what one side has left lying about is not the other's to clear
            told[side].append((ours, theirs)[side]())
    return tuple(told[0]), tuple(told[1])


def cpu(work: Callable[[], int]) -> Side:
    """CPU microseconds for one of what `work` says it has done; the collector stays on."""

    def side() -> float:
        began = process_time()
        done = work()
        return (process_time() - began) / done * 1e6

    return side


def _skipped(rounds: int) -> int:
    """How many of the lowest and of the highest ratios the interval leaves out."""
    skip = 0
    while skip + 1 <= (rounds - 1) // 2:
        beyond = sum(comb(rounds, count) for count in range(skip + 2))
        if 2 * beyond > 0.05 * 2**rounds:
            break
        skip += 1
    return skip


def _number(value: float) -> str:
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"
