"""How a figure is measured: two sides in turn, many rounds, the median and what bounds it.

A round times our side and then the reference, the next one the other way about. A round gives one
ratio, so that a machine that others use as well slows both sides of it. Said of the rounds are the
median and the narrowest pair of order statistics that holds the true median with at least 95 %.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from math import comb
from pathlib import Path
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
    """What is compared: our side, the reference, and what their ratio must keep to."""

    name: str
    unit: str
    ours: Side
    theirs: Side
    target: float
    at_least: bool = False


class Measured(Struct, frozen=True):
    """A figure and what both sides cost, round by round."""

    figure: Figure
    ours: list[float]
    theirs: list[float]

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
        return high < self.figure.target if self.figure.at_least else low > self.figure.target

    def __str__(self) -> str:
        figure = self.figure
        low, high = self.interval
        return " ".join(
            (
                figure.name,
                _number(median(self.ours)),
                figure.unit,
                _number(median(self.theirs)),
                f"{median(self.ratios):.2f}[{low:.2f}..{high:.2f}]",
                f"{'>=' if figure.at_least else '<='}{figure.target:g}",
                "short" if self.short else "ok",
            )
        )


def measure(figure: Figure, rounds: int) -> Measured:
    """Both sides, once to warm up and then `rounds` times, each first in every other round."""
    sides: tuple[tuple[Side, list[float]], ...] = ((figure.ours, []), (figure.theirs, []))
    for side, _ in sides:
        side()
    for turn in range(rounds):
        for side, told in sides if turn % 2 else reversed(sides):
            gc.collect()  # what one side has left lying about is not the other's to clear
            told.append(side())
    return Measured(figure, sides[0][1], sides[1][1])


def cost(work: Callable[[], int], clock: Callable[[], float] = process_time) -> Side:
    """Microseconds for one of what `work` says it has done; the collector stays on."""

    def side() -> float:
        began = clock()
        done = work()
        return (clock() - began) / done * 1e6

    return side


def peak() -> int:
    """The most KiB that this process took. What getrusage says would be its parent's, if that was
    higher: it outlives the exec."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])


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
