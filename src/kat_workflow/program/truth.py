"""What a gate is once it has been read, and how it is judged: true, false or unknown.

A gate is a small tree of plain values. Its truth is asked at every command, so each tree is
also turned once into nested functions that answer in a fraction of a microsecond. What reads
slowly and says more (why it stands as it does, when time alone could turn it, what it says in
plain words) walks the same tree.

Doubt may restrict, never permit. On the go side a fact is what the latest recording in its
scope says, and unknown where that is unsigned, expired or has no answer; an older recording
never stands in for it. On the stop side every recorded value is read. Quantifiers combine their
readings by Kleene's rules; a window `within 24 h` holds what occurred after now - 24 h. The age
of the single readings of a quantifier is bounded by its window, so only `last n of` asks
whether its newest reading has expired.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from attrs import frozen
from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.program.clock import Duration, Site, at_clock, plus, program_day
from kat_workflow.program.forms import Observation, Raw
from kat_workflow.program.units import NONE, Quantity, Unit

Truth = bool | None
Side = Literal["go", "stop"]
Sign = Literal["<", "<=", ">", ">=", "=", "!="]
Kind = Literal["number", "instant", "date", "choice", "choices", "yes_no", "text"]


class Facts(Protocol):
    """What a gate may read of one enrollment at one instant."""

    @property
    def now(self) -> datetime:
        """The instant at which is judged."""

    @property
    def site(self) -> Site:
        """The place of treatment, which owns the calendar."""

    @property
    def admitted(self) -> date | None:
        """The local date of admission, None before it."""

    def readings(self, form: str) -> Sequence[Observation]:
        """Kept recordings of a form, oldest first by `occurred`."""

    def where(self, scope: str) -> str | None:
        """The id of the current visit of a phase or session of a kind (`stay.1/day.3`), or None."""

    def settled(self, step: str) -> tuple[str, datetime, str] | None:
        """The last settlement of a step: outcome, instant, id of the visit it belongs to."""

    def tally(self, what: str) -> int:
        """How often `step:outcome` or `session:event` has happened, over the whole enrollment."""

    def session_instant(self, kind: str, event: str) -> datetime | None:
        """When a session of this kind was last started, dosed or released."""

    def given(self, kind: str, scope: str | None) -> str | None:
        """Total given (decimal text, in the dose rule's unit) in the current session of a kind;
        None before anything is given."""

    def consent(self, name: str) -> tuple[str, datetime | None] | None:
        """`given` | `declined` | `revoked`, and when it expires; None if never asked."""

    def entered(self, phase: str) -> datetime | None:
        """When the current visit of a phase was entered."""

    def round(self, phase: str) -> int | None:
        """The current round of a phase."""

    def overridden(self, gate: str) -> bool:
        """Whether an override of this gate is granted and not expired."""


# What a gate is: a tree of plain values.


@frozen
class Scope:
    """Where a fact is read: the current visit of a phase, the current session of a kind, or,
    with the name "", the whole enrollment.
    """

    name: str = ""
    kind: Literal["enrollment", "phase", "session"] = "enrollment"


@frozen
class Fact:
    """A recorded field: the latest reading of `form` (by `step` only, if set) in its scope.

    `by` are the steps in the scope that record it; `skipped` what it reads as when one of them
    is skipped. `name` is how it is written.
    """

    name: str
    form: str
    field: str
    kind: Kind
    step: str = ""
    unit: Unit = NONE
    scope: Scope = Scope()
    label: str = ""
    by: tuple[str, ...] = ()
    skipped: tuple[tuple[str, Raw], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    expires: bool = False


@frozen
class Number:
    """A number with its unit, written out or named as a limit."""

    value: Decimal
    unit: Unit = NONE
    limit: str = ""

    def __str__(self) -> str:
        return str(Quantity(self.value, self.unit))


@frozen
class Window:
    """How far back from now, written out or named as a limit."""

    span: Duration
    limit: str = ""

    def __str__(self) -> str:
        return self.limit or str(self.span)


@frozen
class StepMoment:
    """When a step was last settled, if with this outcome."""

    step: str
    outcome: str
    scope: Scope = Scope()


@frozen
class SessionMoment:
    """When a session of the kind was last started, dosed or released."""

    session: str
    event: str


@frozen
class Entering:
    """When the current visit of the phase was entered."""

    phase: str


Moment = Fact | StepMoment | SessionMoment | Entering
SECONDS = Unit("s", "s", (("time", 1),))
_TICK = timedelta(microseconds=1)
_TICKS = Unit("us", "us", (("time", 1),), Fraction(1, 1_000_000))


@frozen
class Elapsed:
    """The time since a moment; as an `age`, since a fact was recorded."""

    since: Moment
    age: bool = False
    unit: ClassVar[Unit] = SECONDS


@frozen
class Count:
    """How often a step was settled so, or a session came so far, in the whole enrollment."""

    what: str
    event: str
    unit: ClassVar[Unit] = NONE


@frozen
class Total:
    """The sum of all readings in a window; unknown before the first reading."""

    fact: Fact
    within: Window

    @property
    def unit(self) -> Unit:
        """The unit of what is summed."""
        return self.fact.unit


@frozen
class ProgramDay:
    """The program day at the site: 1 on the day of admission."""

    unit: ClassVar[Unit] = NONE


@frozen
class Round:
    """The current round of a phase."""

    phase: str
    unit: ClassVar[Unit] = NONE


@frozen
class Given:
    """The amount given so far in the current session."""

    session: str
    unit: Unit


Measure = Fact | Elapsed | Count | Total | ProgramDay | Round | Given
Atom = Number | Measure
Sum = tuple[tuple[Fraction, Atom], ...]
"""A linear sum: factors and what they multiply."""


@frozen
class Always:
    """What is always true."""


@frozen
class Compare:
    """Two sums compared. Both sides are single facts where instants or dates are compared."""

    left: Sum
    sign: Sign
    right: Sum


@frozen
class Is:
    """A choice, a band or a yes/no compared with one word."""

    fact: Fact
    word: str | bool
    negated: bool = False


@frozen
class Has:
    """Whether an option is among those chosen."""

    fact: Fact
    option: str
    negated: bool = False


@frozen
class Over:
    """A comparison over several readings of its left fact."""

    which: Literal["every", "any", "last", "ever"]
    test: Compare | Is | Has
    fact: Fact
    count: int = 0
    window: Window | None = None


@frozen
class Recorded:
    """Whether a fact has been recorded; old or expired, it still has been."""

    fact: Fact
    negated: bool = False


@frozen
class InForce:
    """Whether a consent is given, not revoked and not expired."""

    consent: str


@frozen
class Settled:
    """Whether a step was last settled so, in its scope."""

    step: str
    outcome: str
    scope: Scope = Scope()
    negated: bool = False


@frozen
class Not:
    """The opposite."""

    node: Node


@frozen
class All:
    """Every one of them holds."""

    nodes: tuple[Node, ...]


@frozen
class Some:
    """At least one of them holds."""

    nodes: tuple[Node, ...]


@frozen
class Use:
    """A named gate, read where it is used. `by` are the roles that may override it (go side)."""

    gate: str
    says: str
    node: Node
    by: tuple[str, ...] = ()


Leaf = Always | Compare | Is | Has | Over | Recorded | InForce | Settled
Node = Leaf | Not | All | Some | Use

Judge = Callable[[Facts], Truth]
_Figure = Callable[[Facts], Fraction | int | None]
_Meets = Callable[[Facts], Callable[[Any], Truth]]
_T = TypeVar("_T")
_SIGNS: Mapping[Sign, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


TURNED: Mapping[Sign, Sign] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
"""The sign when the two sides change places."""


# Truth, as fast functions.


def judge(node: Node, side: Side) -> Judge:
    """A function that tells the truth of a tree for some facts."""
    match node:
        case Always():
            return lambda facts: True
        case Not(inner):
            opposite = judge(inner, side)

            def denied(facts: Facts) -> Truth:
                truth = opposite(facts)
                return None if truth is None else not truth

            return denied
        case All(nodes):
            return _together(nodes, side, False) or _joined([judge(n, side) for n in nodes], False)
        case Some(nodes):
            return _together(nodes, side, True) or _joined([judge(n, side) for n in nodes], True)
        case Use(gate, _, inner, by):
            held = judge(inner, side)
            if not by:
                return held
            return lambda facts: True if facts.overridden(gate) else held(facts)
        case Compare() | Is() | Has():
            plain = _plain(node)
            if plain is not None:
                return _read(*plain, side)
            assert isinstance(node, Compare)  # the others are plain
            return _compared(node, side)
        case Over():
            meets = _element(node.test, side)
            return lambda facts: over(node, facts, side, meets).truth
        case Recorded(fact):
            return lambda facts: _recorded(node, look(fact, facts, side))
        case InForce(consent):
            return lambda facts: _in_force(facts.consent(consent), facts.now)
        case _:
            return lambda facts: _settled(node, facts)


def _plain(node: Node) -> tuple[Fact, Callable[[Any], bool]] | None:
    """The one recorded value that a comparison judges, and how; None where it asks for more."""
    if isinstance(node, Is | Has):
        return node.fact, _meets(node)
    if isinstance(node, Compare):
        for one, two, sign in (
            (node.left, node.right, node.sign),
            (node.right, node.left, TURNED[node.sign]),
        ):
            fact, bound = _single(one), _single(two)
            if isinstance(fact, Fact) and isinstance(bound, Number):
                return fact, _bounded(bound, fact.unit, _SIGNS[sign])
    return None


def _together(nodes: tuple[Node, ...], side: Side, decisive: bool) -> Judge | None:
    """See `_joined`, for comparisons that all judge values of one reading: it is looked for once.
    None where they do not."""
    plain = [each for each in map(_plain, nodes) if each is not None]
    first = plain[0][0] if len(plain) == len(nodes) else None
    if first is None or any(
        fact.skipped or (fact.form, fact.step, fact.scope) != (first.form, first.step, first.scope)
        for fact, _ in plain
    ):
        return None
    tests = tuple((fact.field, holds) for fact, holds in plain)

    def judged(values: Mapping[str, Raw]) -> Truth:
        result: Truth = not decisive
        for name, holds in tests:
            raw = values.get(name)
            if raw is None:
                result = None
            elif holds(raw) is decisive:
                return decisive
        return result

    return _vouched(first, side, judged)


def _joined(judges: list[Judge], decisive: bool) -> Judge:
    """`and` is decided by one false, `or` by one true; else an unknown makes them unknown."""
    if len(judges) == 2:
        first, second = judges

        def both(facts: Facts) -> Truth:
            truth = first(facts)
            if truth is decisive:
                return truth
            other = second(facts)
            if other is decisive or truth is not None:
                return other
            return None

        return both

    def joined(facts: Facts) -> Truth:
        result: Truth = not decisive
        for one in judges:
            truth = one(facts)
            if truth is decisive:
                return truth
            if truth is None:
                result = None
        return result

    return joined


def _compared(node: Compare, side: Side) -> Judge:
    """A comparison; with as little arithmetic as possible left to be done while judging."""
    compare, left, right = _SIGNS[node.sign], _single(node.left), _single(node.right)
    if isinstance(left, Fact) and isinstance(right, Fact) and left.kind != "number":
        point: Callable[[str], object] = _instant if left.kind == "instant" else date.fromisoformat
        one, two = _read(left, point, side), _read(right, point, side)

        def ordered(facts: Facts) -> Truth:
            a, b = one(facts), two(facts)
            return None if a is None or b is None else compare(a, b)

        return ordered
    if (timed := elapsed_span(node)) is not None:
        return _lasted(*timed, side)
    gap, _ = _gap(node.left, node.right, side)

    def summed(facts: Facts) -> Truth:
        amount = gap(facts)
        return None if amount is None else compare(amount, 0)

    return summed


def _lasted(elapsed: Elapsed, span: Duration, sign: Sign, side: Side) -> Judge:
    """The time since a moment compared with a span: on the calendar, or exactly."""
    compare, start = _SIGNS[sign], beginning(elapsed, side)

    def reached(facts: Facts) -> Truth:
        moment = start(facts)
        return None if moment is None else compare(facts.now, plus(moment, span, facts.site))

    def lasted(facts: Facts) -> Truth:
        moment = start(facts)
        return None if moment is None else compare(facts.now - moment, span.elapsed)

    return reached if span.calendar else lasted


def _bounded(
    bound: Number, unit: Unit, compare: Callable[[Any, Any], bool]
) -> Callable[[Any], bool]:
    """A kept number compared with a constant, in the unit in which it is kept."""
    exact = bound.unit.convert(bound.value, unit)
    rounded = Decimal(exact.numerator) / Decimal(exact.denominator)
    fits = Fraction(rounded) == exact
    number: Callable[[str], object] = Decimal if fits else Fraction
    limit = exact.numerator if exact.denominator == 1 else rounded if fits else exact

    def bounded(raw: Any) -> bool:
        return compare(number(raw) if raw.__class__ is str else raw, limit)

    return bounded


def _single(side: Sum) -> Atom | None:
    """The one thing that a side is, or None if there is arithmetic in it."""
    return side[0][1] if len(side) == 1 and side[0][0] == 1 else None


def elapsed_span(node: Compare) -> tuple[Elapsed, Duration, Sign] | None:
    """The time since a moment compared with one span: whole days and weeks count local dates,
    whole seconds are elapsed time. None where anything else is compared."""
    for one, two, sign in (
        (node.left, node.right, node.sign),
        (node.right, node.left, TURNED[node.sign]),
    ):
        elapsed, bound = _single(one), _single(two)
        if isinstance(elapsed, Elapsed) and isinstance(bound, Number):
            seconds = _based(bound.value, bound.unit)
            if bound.unit.code in ("d", "wk") and bound.value == int(bound.value):
                return elapsed, Duration(int(seconds) // 86_400, "d"), sign
            if seconds.denominator == 1:
                return elapsed, Duration(int(seconds), "s"), sign
    return None


def difference(left: Sum, right: Sum, side: Side) -> Callable[[Facts], Fraction | None]:
    """One sum less another, exactly, in the base unit of their dimension."""
    gap, parts = _gap(left, right, side)
    return lambda facts: None if (amount := gap(facts)) is None else Fraction(amount) / parts


def _gap(left: Sum, right: Sum, side: Side) -> tuple[_Figure, int]:
    """One sum less another, counted in parts of the base unit so small that every factor is
    whole; and how many of them that unit has."""
    constant = Fraction(0)
    exact: list[tuple[Fraction, _Figure]] = []
    for factor, atom in (*left, *((-factor, atom) for factor, atom in right)):
        if isinstance(atom, Number):
            constant += factor * _based(atom.value, atom.unit)
        else:
            unit = _TICKS if isinstance(atom, Elapsed) else atom.unit
            constant += factor * unit.offset
            exact.append((factor * unit.factor, _figure(atom, side)))
    parts = lcm(constant.denominator, *(factor.denominator for factor, _ in exact))
    start, whole = int(constant * parts), [(int(f * parts), figure) for f, figure in exact]

    def summed(facts: Facts) -> Fraction | int | None:
        total: Fraction | int = start
        for factor, figure in whole:
            value = figure(facts)
            if value is None:
                return None
            total += factor * value
        return total

    return summed, parts


def _based(value: Decimal | str | int, unit: Unit) -> Fraction:
    """A value in the base unit of its dimension."""
    return Fraction(value) * unit.factor + unit.offset


def _figure(atom: Measure, side: Side) -> _Figure:
    """What an atom measures, in its own unit; times in `_TICKS`."""
    match atom:
        case Fact():
            return _read(atom, _exact, side)
        case Elapsed():
            start = beginning(atom, side)
            return lambda facts: (
                None if (moment := start(facts)) is None else (facts.now - moment) // _TICK
            )
        case Count(what, event):
            key = f"{what}:{event}"
            return lambda facts: facts.tally(key)
        case Total():
            return lambda facts: _total(atom, facts, side)
        case ProgramDay():
            return lambda facts: (
                None
                if facts.admitted is None
                else program_day(facts.admitted, facts.now, facts.site)
            )
        case Round(phase):
            return lambda facts: facts.round(phase)
        case _:
            session = atom.session
            return lambda facts: _given(session, facts)


def _exact(raw: Any) -> Fraction | int:
    return raw if raw.__class__ is int else Fraction(raw)


def _given(session: str, facts: Facts) -> Fraction | int | None:
    """Nothing given yet in a session that is there is an amount of 0."""
    here = facts.where(session)
    return None if here is None else _exact(facts.given(session, here) or 0)


def _meets(node: Is | Has) -> Callable[[Any], bool]:
    if isinstance(node, Is):
        word = node.word
        return (lambda raw: raw != word) if node.negated else (lambda raw: raw == word)
    option = node.option
    return (lambda raw: option not in raw) if node.negated else (lambda raw: option in raw)


def _read(fact: Fact, then: Callable[[Any], _T], side: Side) -> Callable[[Facts], _T | None]:
    """What `then` makes of the value of a fact, as it is kept; None while that is unknown."""
    name = fact.field

    def of(values: Mapping[str, Raw]) -> _T | None:
        raw = values.get(name)
        return None if raw is None else then(raw)

    def declared(facts: Facts) -> _T | None:
        seen = look(fact, facts, side)
        return then(seen.raw) if seen.state == "known" else None

    return declared if fact.skipped else _vouched(fact, side, of)


def _vouched(
    fact: Fact, side: Side, then: Callable[[Mapping[str, Raw]], _T | None]
) -> Callable[[Facts], _T | None]:
    """What `then` makes of the latest reading in the scope of a fact; None where there is none
    that counts.

    This is the hottest path of all: what vouches for a reading is written out in both readers.
    """
    form, step, go, scope = fact.form, fact.step, side == "go", fact.scope.name

    def scoped(facts: Facts) -> _T | None:
        place = facts.where(scope)
        if place is None:
            return None
        for reading in reversed(facts.readings(form)):
            if step and reading.step != step:
                continue
            if reading.place == place or _inside(reading, place, fact, facts):
                if go and not (
                    reading.signed
                    and (reading.valid_until is None or facts.now < reading.valid_until)
                ):
                    return None
                return then(reading.values)
        return None

    def whole(facts: Facts) -> _T | None:
        for reading in reversed(facts.readings(form)):
            if not step or reading.step == step:
                if go and not (
                    reading.signed
                    and (reading.valid_until is None or facts.now < reading.valid_until)
                ):
                    return None
                return then(reading.values)
        return None

    return scoped if scope else whole


def _inside(reading: Observation, place: str, fact: Fact, facts: Facts) -> bool:
    """Whether a reading belongs to a visit or session.

    One that was taken without a step belongs to the visits it fell into, for whoever asks for
    the form and not for a step's recording of it.
    """
    if reading.place:
        return reading.place == place or reading.place.startswith(place + "/")
    if fact.step or fact.scope.kind == "session":
        return False
    entered = facts.entered(fact.scope.name)
    return entered is not None and reading.occurred >= entered


# What is seen: the same reading with all its circumstances.


class Seen(Struct, frozen=True):
    """What a fact or moment reads at one instant, and why it does not if it does not."""

    raw: Raw = None
    state: Literal["known", "unknown", "expired", "unsigned"] = "unknown"
    reading: Observation | None = None
    instant: datetime | None = None
    step: str = ""
    remark: str = ""


def look(fact: Fact, facts: Facts, side: Side) -> Seen:
    """The latest reading of a fact in its scope."""
    place = facts.where(fact.scope.name) if fact.scope.name else ""
    if place is None:
        return Seen(remark=f"no current {fact.scope.name}")
    reading = next(
        (r for r in reversed(facts.readings(fact.form)) if _counts(r, fact, place, facts)), None
    )
    unsettled = ""
    for step in fact.by:
        last = facts.settled(step)
        if last is None or not _here(last[2], place):
            continue
        outcome, instant, _ = last
        if reading is not None and reading.occurred > instant:
            continue
        for skipped, raw in fact.skipped:
            if skipped == step and outcome == "skipped":
                return Seen(raw, "known", None, instant, step, "skipped")
        if outcome not in ("done", "skipped"):
            unsettled = outcome
    if reading is None:
        return Seen(remark=unsettled)
    seen = Seen(reading.values.get(fact.field), "known", reading, reading.occurred, reading.step)
    if side == "go" and not reading.signed:
        return replace(seen, state="unsigned")
    if side == "go" and reading.valid_until is not None and facts.now >= reading.valid_until:
        return replace(seen, state="expired")
    if seen.raw is None:
        why = reading.unanswered(fact.field) or "no answer"
        return replace(seen, state="unknown", remark=why.replace("_", " "))
    return seen


def began(elapsed: Elapsed, facts: Facts, side: Side) -> Seen:
    """The instant that a time is counted from; `instant` is None while it is unknown."""
    match elapsed.since:
        case Fact() as fact:
            seen = look(fact, facts, side)
            if seen.state != "known":
                return replace(seen, instant=None)
            if elapsed.age:
                return seen
            if fact.kind == "date":
                day = date.fromisoformat(str(seen.raw))
                return replace(seen, instant=at_clock(day, time(), facts.site))
            return replace(seen, instant=_instant(str(seen.raw)))
        case StepMoment(step, outcome, scope):
            last = settlement(step, scope, facts)
            if last is None or last[0] != outcome:
                return Seen(step=step, remark=last[0] if last else "")
            return Seen(instant=last[1], state="known", step=step)
        case SessionMoment(session, event):
            instant = facts.session_instant(session, event)
        case _:
            instant = facts.entered(elapsed.since.phase)
    return Seen(instant=instant, state="unknown" if instant is None else "known")


def beginning(elapsed: Elapsed, side: Side) -> Callable[[Facts], datetime | None]:
    """A function that tells the instant alone that a time is counted from."""
    match elapsed.since:
        case Fact(kind="instant") as fact if not elapsed.age:
            return _read(fact, _instant, side)
        case SessionMoment(session, event):
            return lambda facts: facts.session_instant(session, event)
        case Entering(phase):
            return lambda facts: facts.entered(phase)
        case _:
            return lambda facts: began(elapsed, facts, side).instant


def _counts(reading: Observation, fact: Fact, place: str, facts: Facts) -> bool:
    if fact.step and reading.step != fact.step:
        return False
    return not place or _inside(reading, place, fact, facts)


def settlement(step: str, scope: Scope, facts: Facts) -> tuple[str, datetime, str] | None:
    """The last settlement of a step, if it belongs to the current place of the scope."""
    place = facts.where(scope.name) if scope.name else ""
    last = facts.settled(step)
    return None if place is None or last is None or not _here(last[2], place) else last


def _here(visit: str, place: str) -> bool:
    """Whether a settlement in some visit or session belongs to the current place of a scope."""
    return not place or visit == place or visit.startswith(place + "/")


def _settled(node: Settled, facts: Facts) -> Truth:
    last = settlement(node.step, node.scope, facts)
    return None if last is None else (last[0] == node.outcome) is not node.negated


def _recorded(node: Recorded, seen: Seen) -> Truth:
    """Two-valued, but for what still lacks its signature on the go side."""
    if seen.state == "unsigned":
        return None
    return (seen.reading is not None and seen.raw is not None) is not node.negated


def _in_force(consent: tuple[str, datetime | None] | None, now: datetime) -> Truth:
    """Declined and revoked are false; never asked and expired are unknown."""
    if consent is None:
        return None
    state, expires = consent
    if state != "given":
        return False
    return True if expires is None or now < expires else None


# Several readings.


class Span(Struct, frozen=True):
    """The truth of a quantified comparison, and the readings it was taken over, oldest first."""

    truth: Truth
    over: tuple[tuple[Observation, Truth], ...] = ()
    remark: str = ""
    state: Literal["known", "unknown", "expired", "unsigned"] = "known"


def over(node: Over, facts: Facts, side: Side, meets: _Meets | None = None) -> Span:
    """A quantified comparison, with the readings that were compared."""
    fact, which = node.fact, node.which
    readings = history(fact, facts)
    if which == "last":
        readings = readings[-node.count :]
        if len(readings) < node.count:
            return Span(None, (), f"{len(readings)} of {node.count} readings", "unknown")
        if side == "go" and not _fresh(readings[-1], facts.now):
            return Span(None, ((readings[-1], None),), "", "expired")
    elif node.window is not None:
        span = node.window.span
        recent = within(readings, span, facts)
        if not recent:
            return Span(None, (), f"no reading within {span}", "unknown")
        here = _scoped(fact, readings, facts) if which == "every" else ()
        if which == "every" and len(within(here, span, facts)) == len(here):
            return Span(None, (), f"readings do not reach back {span}", "unknown")
        readings = recent
    elif not readings:
        return Span(None, (), "never recorded", "unknown")
    test, go, name = (meets or _element(node.test, side))(facts), side == "go", fact.field
    compared = tuple(
        (r, None if raw is None or (go and not r.signed) else test(raw))
        for r in readings
        for raw in (r.values.get(name),)
    )
    truths = {truth for _, truth in compared}
    decisive = which in ("any", "ever")
    if decisive in truths:
        return Span(decisive, compared)
    if None not in truths:
        return Span(not decisive, compared)
    unsigned = go and any(truth is None and not r.signed for r, truth in compared)
    return Span(None, compared, "", "unsigned" if unsigned else "unknown")


def _element(test: Compare | Is | Has, side: Side) -> _Meets:
    """The comparison of one reading of several, once the rest of the facts is known."""
    if not isinstance(test, Compare):
        holds = _meets(test)
        return lambda facts: holds
    ((_, fact),) = test.left
    compare, unit, only = _SIGNS[test.sign], fact.unit, _single(test.right)
    if isinstance(only, Number):
        one = _bounded(only, unit, compare)
        return lambda facts: one
    bound = difference(test.right, (), side)

    def meets(facts: Facts) -> Callable[[Any], Truth]:
        limit = bound(facts)
        return lambda raw: None if limit is None else compare(_based(raw, unit), limit)

    return meets


def history(fact: Fact, facts: Facts) -> Sequence[Observation]:
    """All readings of a fact, oldest first: of the whole enrollment, or for `watch` of the
    current session."""
    if _watched(fact):
        return _scoped(fact, facts.readings(fact.form), facts)
    readings = facts.readings(fact.form)
    return [r for r in readings if r.step == fact.step] if fact.step else readings


def _watched(fact: Fact) -> bool:
    return fact.name.startswith("watch.")


def _scoped(fact: Fact, readings: Sequence[Observation], facts: Facts) -> Sequence[Observation]:
    place = facts.where(fact.scope.name) if fact.scope.name else ""
    if place is None:
        return []
    return [r for r in readings if _counts(r, fact, place, facts)]


def _fresh(reading: Observation, now: datetime) -> bool:
    return reading.valid_until is None or now < reading.valid_until


def within(readings: Sequence[Observation], span: Duration, facts: Facts) -> Sequence[Observation]:
    """The readings of the last span: what occurred less than that ago.

    For days and weeks the calendar says when that is, for every reading by itself: across the
    end of summer time the order of two readings and of their dates may differ.
    """
    if not span.calendar:
        opens = facts.now - span.elapsed
        return [r for r in readings if r.occurred > opens]
    return [r for r in readings if plus(r.occurred, span, facts.site) > facts.now]


def _total(atom: Total, facts: Facts, side: Side) -> Fraction | int | None:
    readings = history(atom.fact, facts)
    total: Fraction | int = 0
    for reading in within(readings, atom.within.span, facts):
        raw = reading.values.get(atom.fact.field)
        if raw is None or (side == "go" and not reading.signed):
            return None
        total += _exact(raw)
    return total if readings else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
