"""Comparisons and their turns worked out the slow and plain way, to measure the fast one by.

Everything is read anew, reckoned in fractions of the base unit, and nothing is prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, time, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

from kat_workflow.program.clock import Duration, at_clock, local_date, plus, program_day
from kat_workflow.program.truth import (
    Atom,
    Compare,
    Count,
    Elapsed,
    Fact,
    Facts,
    Given,
    Has,
    InForce,
    Is,
    Leaf,
    Number,
    Over,
    ProgramDay,
    Recorded,
    Round,
    Side,
    Sum,
    Total,
    Truth,
    began,
    history,
    look,
)

TICK = timedelta(microseconds=1)
HOLDS: dict[str, Callable[[Fraction | int], bool]] = {
    "<": lambda gap: gap < 0,
    "<=": lambda gap: gap <= 0,
    ">": lambda gap: gap > 0,
    ">=": lambda gap: gap >= 0,
    "=": lambda gap: gap == 0,
    "!=": lambda gap: gap != 0,
}
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def truth(node: Compare, facts: Facts, side: Side) -> Truth:
    """A comparison of sums; of single times with days and weeks by the calendar."""
    if (days := _calendar(node)) is not None:
        elapsed, span, sign = days
        start = began(elapsed, facts, side).instant
        if start is None:
            return None
        return HOLDS[sign]((facts.now - plus(start, span, facts.site)) // TICK)
    gap = _sum(node.left, node.right, facts, side)
    return None if gap is None else HOLDS[node.sign](gap)


def _calendar(node: Compare) -> tuple[Elapsed, Duration, str] | None:
    for one, two, sign in (
        (node.left, node.right, node.sign),
        (node.right, node.left, TURNED.get(node.sign, node.sign)),
    ):
        match one, two:
            case (((_, Elapsed() as elapsed),), ((_, Number() as bound),)):
                if bound.unit.code in ("d", "wk"):
                    days = int(bound.value) * (7 if bound.unit.code == "wk" else 1)
                    return elapsed, Duration(days, "d"), sign
    return None


def _sum(left: Sum, right: Sum, facts: Facts, side: Side) -> Fraction | None:
    total = Fraction(0)
    for factor, atom in (*left, *((-factor, atom) for factor, atom in right)):
        value = _figure(atom, facts, side)
        if value is None:
            return None
        total += factor * value
    return total


def _figure(atom: Atom, facts: Facts, side: Side) -> Fraction | None:
    """In the base unit."""
    unit = atom.unit
    raw: Any = None
    match atom:
        case Number(value):
            raw = value
        case Fact():
            seen = look(atom, facts, side)
            raw = seen.raw if seen.state == "known" else None
        case Elapsed():
            start = began(atom, facts, side).instant
            raw = None if start is None else Fraction((facts.now - start) // TICK, 1_000_000)
        case Count(what, event):
            raw = facts.tally(f"{what}:{event}")
        case Total(fact, window):
            return _total(fact, window.span, facts, side)
        case ProgramDay():
            if facts.admitted is not None:
                raw = program_day(facts.admitted, facts.now, facts.site)
        case Round(phase):
            raw = facts.round(phase)
        case Given(session):
            here = facts.where(session)
            raw = None if here is None else facts.given(session, here) or "0"
    return None if raw is None else Fraction(raw) * unit.factor + unit.offset


def _total(fact: Fact, span: Duration, facts: Facts, side: Side) -> Fraction | None:
    total, readings = Fraction(0), history(fact, facts)
    for reading in readings:
        if plus(reading.occurred, span, facts.site) > facts.now:
            raw: Any = reading.values.get(fact.field)
            if raw is None or (side == "go" and not reading.signed):
                return None
            total += Fraction(raw) * fact.unit.factor
    return total if readings else None


def turns_at(leaves: Iterable[Leaf], facts: Facts, side: Side) -> datetime | None:
    """The next instant after now around which time alone could turn one of them."""
    turns = [turn for leaf in leaves for turn in _turns(leaf, facts, side)]
    return min((turn for turn in turns if turn is not None and turn > facts.now), default=None)


def _turns(leaf: Leaf, facts: Facts, side: Side) -> Iterator[datetime | None]:
    atoms: list[Atom] = []
    match leaf:
        case InForce(consent):
            given = facts.consent(consent)
            yield given and given[1]
        case Over(which, _, fact, _, window):
            readings = history(fact, facts)
            if window is not None:
                yield from (plus(r.occurred, window.span, facts.site) for r in readings)
            if which == "last" and side == "go" and readings:
                yield readings[-1].valid_until
            if isinstance(leaf.test, Compare):
                atoms = [atom for _, atom in leaf.test.right]
        case Compare():
            yield from _crossings(leaf, facts, side)
            atoms = [atom for _, atom in (*leaf.left, *leaf.right)]
        case Is(fact) | Has(fact) | Recorded(fact):
            atoms = [fact]
    for atom in atoms:
        match atom:
            case Fact(expires=True) | Elapsed(Fact(expires=True)) if side == "go":
                reads = atom.since if isinstance(atom, Elapsed) else atom
                assert isinstance(reads, Fact)
                latest = look(reads, facts, side).reading
                yield None if latest is None else latest.valid_until
            case Total(fact, within):
                for reading in history(fact, facts):
                    yield plus(reading.occurred, within.span, facts.site)
            case ProgramDay() if facts.admitted is not None:
                tomorrow = local_date(facts.now, facts.site) + timedelta(days=1)
                yield at_clock(tomorrow, time(), facts.site)


def _crossings(node: Compare, facts: Facts, side: Side) -> Iterator[datetime]:
    if (days := _calendar(node)) is not None:
        start = began(days[0], facts, side).instant
        if start is not None:
            meeting = plus(start, days[1], facts.site)
            yield from (meeting, meeting + TICK)
        return
    slope = sum((f for f, a in node.left if isinstance(a, Elapsed)), Fraction(0))
    slope -= sum((f for f, a in node.right if isinstance(a, Elapsed)), Fraction(0))
    gap = _sum(node.left, node.right, facts, side) if slope else None
    if gap is not None:
        ticks = -gap / slope * 1_000_000
        for after in (ceil(ticks), floor(ticks) + 1):
            if after > 0:
                yield facts.now + after * TICK
