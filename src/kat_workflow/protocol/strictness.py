"""Whether a condition holds in more cases than another, as far as their form tells.

Nothing is guessed: what differs in any other way than by figures, or by parts that were put to
an `and` or an `or`, is unclear, and a reader is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Literal

import attrs

from kat_workflow.program.clock import Duration
from kat_workflow.program.gates import Test
from kat_workflow.program.truth import (
    All,
    Always,
    Compare,
    Fact,
    Node,
    Not,
    Number,
    Over,
    Some,
    Sum,
    Use,
    Window,
)
from kat_workflow.program.units import Unit

__all__ = ["Way", "compare", "flipped", "holding", "raising", "within"]

Way = Literal["same", "weaker", "stronger", "unclear"]
"""`weaker`: the newer one holds wherever the older did, and elsewhere too."""

_NOTHING: frozenset[str] = frozenset()
_UNCLEAR = frozenset(("weaker", "stronger"))
_FLIPPED: Mapping[str, Way] = {"weaker": "stronger", "stronger": "weaker"}


def compare(old: Test | Node | None, new: Test | Node | None, names: Mapping[str, str]) -> Way:
    """How a condition differs from an older one; none at all always holds.

    `names` are those that are other ones now, by the older. What stands for a limit is the same
    whatever the limit's figure is: that is told with the limit.
    """
    return _way(_Comparison(names).nodes(_tree(old), _tree(new)))


def raising(node: Node, limit: str) -> Way:
    """What becomes of a condition where a limit's figure is a higher one; `same`: it does not
    stand there."""
    return _way(_raised(node, limit))


def holding(node: Node, gate: str) -> Way:
    """What becomes of a condition where a named gate holds in more cases; `same`: it does not
    stand there."""
    return _way(_held(node, gate))


def flipped(way: Way) -> Way:
    """The other way round."""
    return _FLIPPED.get(way, way)


def within(part: object) -> Iterator[object]:
    """A part of a condition and everything inside it."""
    yield part
    if isinstance(part, tuple):
        for each in part:
            yield from within(each)
    elif attrs.has(kind := type(part)):
        for field in attrs.fields(kind):
            yield from within(getattr(part, field.name))


def _tree(said: Test | Node | None) -> Node:
    if said is None:
        return Always()
    return said.tree if isinstance(said, Test) else said


def _way(found: frozenset[str]) -> Way:
    if len(found) > 1:
        return "unclear"
    return "weaker" if "weaker" in found else "stronger" if found else "same"


def _flip(found: Iterable[str]) -> frozenset[str]:
    return frozenset(_FLIPPED[each] for each in found)


def _bigger(by: Fraction | int, sign: str) -> frozenset[str]:
    """A comparison whose right side is bigger by so much."""
    if not by:
        return _NOTHING
    if sign not in ("<", "<=", ">", ">="):
        return _UNCLEAR
    return frozenset(("weaker",)) if (by > 0) is (sign in ("<", "<=")) else frozenset(("stronger",))


class _Comparison:
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def nodes(self, old: Node, new: Node) -> frozenset[str]:
        if self.key(old, self.names) == self.key(new, {}):
            return _NOTHING
        match old, new:
            case Use(), _:
                return self.nodes(old.node, new)
            case _, Use():
                return self.nodes(old, new.node)
            case (Always(), _) | (_, Not(Always())):
                return frozenset(("stronger",))
            case (_, Always()) | (Not(Always()), _):
                return frozenset(("weaker",))
            case Not(), Not():
                return _flip(self.nodes(old.node, new.node))
            case All(), _:
                return self.parts(old.nodes, new.nodes if isinstance(new, All) else (new,), All)
            case _, All():
                return self.parts((old,), new.nodes, All)
            case Some(), _:
                return self.parts(old.nodes, new.nodes if isinstance(new, Some) else (new,), Some)
            case _, Some():
                return self.parts((old,), new.nodes, Some)
            case Compare(), Compare():
                return self.comparisons(old, new)
            case Over(), Over():
                return self.quantifiers(old, new)
        return _UNCLEAR

    def parts(
        self, old: tuple[Node, ...], new: tuple[Node, ...], of: type[All | Some]
    ) -> frozenset[str]:
        gone, come = list(old), []
        for each in new:
            key = self.key(each, {})
            same = next((x for x in gone if self.key(x, self.names) == key), None)
            if same is None:
                come.append(each)
            else:
                gone.remove(same)
        if not gone and not come:  # in another order
            return _NOTHING
        if not gone:
            return frozenset(("stronger",)) if of is All else frozenset(("weaker",))
        if not come:
            return frozenset(("weaker",)) if of is All else frozenset(("stronger",))
        if len(gone) != len(come):
            return _UNCLEAR
        found = [self.nodes(*pair) for pair in zip(gone, come, strict=True)]
        return frozenset().union(*found)

    def comparisons(self, old: Compare, new: Compare) -> frozenset[str]:
        left = self.terms(old.left, self.names), self.terms(new.left, {})
        right = self.terms(old.right, self.names), self.terms(new.right, {})
        loose = {"<": "<=", ">": ">="}
        if left[0] != left[1] or right[0] != right[1]:
            return _UNCLEAR
        by = (_constant(new.right) - _constant(new.left)) - (
            _constant(old.right) - _constant(old.left)
        )
        found = _bigger(by, new.sign)
        if old.sign == new.sign:
            return found
        if loose.get(old.sign) == new.sign:
            return found | {"weaker"}
        if loose.get(new.sign) == old.sign:
            return found | {"stronger"}
        return _UNCLEAR

    def quantifiers(self, old: Over, new: Over) -> frozenset[str]:
        same = self.key(old.fact, self.names) == self.key(new.fact, {}) and old.which == new.which
        if not same:
            return _UNCLEAR
        found = self.nodes(old.test, new.test)
        if old.count != new.count:
            found |= {"stronger" if new.count > old.count else "weaker"}
        longer = _seconds(new.window) - _seconds(old.window)
        if not longer and _calendar(old.window) is not _calendar(new.window):
            return _UNCLEAR  # a day of the calendar has not always 24 hours
        if longer:
            found |= {"stronger" if (longer > 0) is (old.which == "every") else "weaker"}
        return found

    def terms(self, sum_: Sum, names: Mapping[str, str]) -> list[object]:
        """All but the figures."""
        return [
            (factor, self.key(atom, names)) for factor, atom in sum_ if not isinstance(atom, Number)
        ]

    def key(self, part: object, names: Mapping[str, str]) -> object:
        """What a part is, whatever its labels are and however its figures are written."""
        if isinstance(part, str):
            return names.get(part, part)
        if isinstance(part, tuple):
            return tuple(self.key(each, names) for each in part)
        if isinstance(part, Number):
            value = (_base(part), part.unit.dimension)
            return ("limit", names.get(part.limit, part.limit)) if part.limit else value
        if isinstance(part, Window) and part.limit:
            return ("limit", names.get(part.limit, part.limit))
        if isinstance(part, Window):
            return ("window", part.span.seconds, part.span.calendar)
        if isinstance(part, Use):
            overridden = names.get(part.gate, part.gate) if part.by else ""
            return (
                ("gate", overridden, self.key(part.node, names))
                if overridden
                else (self.key(part.node, names))
            )
        if isinstance(part, Fact):
            own = (part.form, part.step, part.scope.name)
            return ("fact", *(self.key(each, names) for each in own), part.field)
        if isinstance(part, Unit):
            return ("unit", part.dimension)
        kind = type(part)
        if attrs.has(kind):
            values = (getattr(part, field.name) for field in attrs.fields(kind))
            return (kind.__name__, *(self.key(each, names) for each in values))
        return part


def _base(number: Number) -> Fraction:
    return Fraction(number.value) * number.unit.factor + number.unit.offset


def _constant(sum_: Sum) -> Fraction:
    return sum(
        (factor * _base(atom) for factor, atom in sum_ if isinstance(atom, Number)), Fraction()
    )


def _seconds(window: Window | None) -> int:
    span: Duration | None = None if window is None else window.span
    return 0 if span is None else span.seconds


def _calendar(window: Window | None) -> bool:
    return window is not None and window.span.calendar


def _raised(node: Node, limit: str) -> frozenset[str]:
    match node:
        case Not():
            return _flip(_raised(node.node, limit))
        case All() | Some():
            return frozenset().union(*(_raised(each, limit) for each in node.nodes))
        case Use():
            return _raised(node.node, limit)
        case Over():
            found = _raised(node.test, limit)
            if node.window is not None and node.window.limit == limit:
                found |= {"stronger" if node.which == "every" else "weaker"}
            return found
        case Compare():
            by = _factor(node.right, limit) - _factor(node.left, limit)
            spans = [x for x in within((node.left, node.right)) if isinstance(x, Window)]
            unclear = _UNCLEAR if any(x.limit == limit for x in spans) else _NOTHING
            return _bigger(by, node.sign) | unclear
    return _NOTHING


def _held(node: Node, gate: str) -> frozenset[str]:
    match node:
        case Not():
            return _flip(_held(node.node, gate))
        case All() | Some():
            return frozenset().union(*(_held(each, gate) for each in node.nodes))
        case Use():
            return frozenset(("weaker",)) if node.gate == gate else _held(node.node, gate)
    return _NOTHING


def _factor(sum_: Sum, limit: str) -> Fraction:
    return sum(
        (factor for factor, atom in sum_ if isinstance(atom, Number) and atom.limit == limit),
        Fraction(),
    )
