"""Why a gate stands as it does, when time alone could turn it, and what it says in plain words.

An explanation takes the gate apart into its comparisons. What stands under `not` is turned
round first (`not a < b` is `a >= b`), so that every clause wants to be true and its way out
says how. All of this walks the tree of `truth`, and asks `truth` for every verdict. What is
asked again and again (`explaining`, `turning`) walks it once and returns a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import cast

from attrs import evolve, field, frozen
from msgspec.structs import replace

from kat_workflow.errors import Clause
from kat_workflow.program.clock import Duration, at_clock, local_date, plus
from kat_workflow.program.forms import Raw
from kat_workflow.program.truth import (
    TURNED,
    All,
    Always,
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
    Moment,
    Node,
    Not,
    Number,
    Over,
    ProgramDay,
    Recorded,
    Round,
    Seen,
    SessionMoment,
    Settled,
    Side,
    Sign,
    Some,
    StepMoment,
    Sum,
    Total,
    Use,
    began,
    beginning,
    difference,
    elapsed_span,
    history,
    judge,
    look,
    over,
    settlement,
    within,
)
from kat_workflow.program.units import Unit

__all__ = ["Needs", "explaining", "leaves", "needs", "prose", "turning", "written", "written_atom"]

_OPPOSITE: dict[Sign, Sign] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "!=", "!=": "="}
_IN_WORDS: dict[Sign, str] = {
    "<": "below",
    "<=": "at most",
    ">": "above",
    ">=": "at least",
    "=": "exactly",
    "!=": "other than",
}
_STARTS = {"started": "start", "dosed": "dose", "released": "release"}
_WORDS_OF = {"dosed": "given"}
_ENDS = {
    "done": "done",
    "declined": "decline",
    "skipped": "skip",
    "missed": "miss",
    "waived": "waive",
    "withheld": "withhold",
}
"""The verbs by which a session comes so far and a step ends so (see the command phrases)."""
_FAR = 64  # how many turns ahead a way out by waiting is looked for


# What a gate needs to know.


@frozen
class Needs:
    """What a tree reads; every table is in the order of the text, without repetition."""

    temporal: bool
    gates: dict[str, str] = field(factory=dict)
    steps: dict[str, None] = field(factory=dict)
    tallies: dict[str, None] = field(factory=dict)
    consents: dict[str, None] = field(factory=dict)
    reads: dict[tuple[str, int, Duration | None, bool], None] = field(factory=dict)
    facts: dict[tuple[str, str, str, str], None] = field(factory=dict)


def needs(node: Node) -> Needs:
    """The gates, steps, tallies and readings that a tree uses, and whether time can turn it."""
    found = Needs(False)
    temporal = False
    for used in uses(node):
        found.gates.setdefault(used.gate, used.says)
    for leaf in leaves(node):
        match leaf:
            case Over(which, _, fact, count, window):
                span = window.span if window else None
                found.reads[fact.form, max(count, 1), span, which == "ever"] = None
                found.facts[_read(fact, wide=True)] = None
                temporal = temporal or window is not None or (which == "last" and fact.expires)
            case Settled(step):
                found.steps[step] = None
            case InForce(consent):
                found.consents[consent] = None
                temporal = True
            case _:
                pass
        for atom in _atoms(leaf):
            match atom:
                case Count(what, event):
                    found.tallies[f"{what}:{event}"] = None
                case Total(fact, within):
                    found.reads[fact.form, 1, within.span, False] = None
                    found.facts[_read(fact, wide=True)] = None
                    temporal = True
                case Elapsed() | ProgramDay():
                    temporal = True
                    if isinstance(atom, Elapsed) and isinstance(atom.since, StepMoment):
                        found.steps[atom.since.step] = None
                case _:
                    pass
        for fact in latest_facts(leaf):
            found.reads[fact.form, 1, None, False] = None
            found.facts[_read(fact, wide=False)] = None
            temporal = temporal or (fact.expires and not isinstance(leaf, Recorded))
            for step, _ in fact.skipped:
                found.steps[step] = None
    return evolve(found, temporal=temporal)


def _read(fact: Fact, wide: bool) -> tuple[str, str, str, str]:
    """Form, field, step and the name of the place in which a fact is read ("" for anywhere).

    Quantifiers and totals look beyond the scope, except at the readings of a session's watch.
    """
    watched = fact.step.endswith(".watch")
    return fact.form, fact.field, fact.step, fact.scope.name if watched or not wide else ""


def leaves(node: Node) -> Iterator[Leaf]:
    """Every comparison of a tree, in the order of the text, through the gates it uses."""
    match node:
        case Not(inner) | Use(_, _, inner):
            yield from leaves(inner)
        case All(nodes) | Some(nodes):
            for one in nodes:
                yield from leaves(one)
        case _:
            yield node


def uses(node: Node) -> Iterator[Use]:
    """Every use of a named gate, the outer before the inner."""
    match node:
        case Use():
            yield node
            yield from uses(node.node)
        case Not(inner):
            yield from uses(inner)
        case All(nodes) | Some(nodes):
            for one in nodes:
                yield from uses(one)
        case _:
            pass


def _atoms(leaf: Leaf) -> Iterator[Atom]:
    """What the sums of a comparison are made of; of a quantified one, those of its bound."""
    if isinstance(leaf, Compare):
        yield from (atom for _, atom in (*leaf.left, *leaf.right))
    elif isinstance(leaf, Over) and isinstance(leaf.test, Compare):
        yield from (atom for _, atom in leaf.test.right)


def latest_facts(leaf: Leaf) -> Iterator[Fact]:
    """The facts of which a comparison reads the latest value."""
    if isinstance(leaf, Is | Has | Recorded):
        yield leaf.fact
    for atom in _atoms(leaf):
        match atom:
            case Fact():
                yield atom
            case Elapsed(Fact() as fact):
                yield fact
            case _:
                pass


# Why.


Explain = Callable[[Facts], tuple[Clause, ...]]


@frozen
class _Asking:
    """What is asked of a part of a tree: `wanted` is whether it should hold, `ways` are those
    out of the gates around it, the innermost of which is `gate`."""

    side: Side
    wanted: bool = True
    gate: str = ""
    ways: tuple[str, ...] = ()


def explaining(node: Node, side: Side) -> Explain:
    """A function that tells every comparison as it stands, in the order of the text."""
    return _explaining(node, _Asking(side))


def _explaining(node: Node, asking: _Asking) -> Explain:
    match node:
        case Not(inner):
            return _explaining(inner, evolve(asking, wanted=not asking.wanted))
        case All(nodes) | Some(nodes):
            parts = tuple(_explaining(one, asking) for one in nodes)
            return lambda facts: tuple(clause for part in parts for clause in part(facts))
        case Use(name, _, inner, by):
            ways = asking.ways
            if by and asking.wanted:  # an override makes a gate true: no way to its opposite
                ways = (*ways, f"{_article(by)} may override {name}")
            told = _explaining(inner, evolve(asking, gate=name, ways=ways))
            if not by:
                return told
            overridden = (Clause(text=f"{name}: overridden", truth=asking.wanted),)
            return lambda facts: overridden if facts.overridden(name) else told(facts)
        case _:
            return _clause(node, asking)


def _article(roles: tuple[str, ...]) -> str:
    words = [f"{'an' if r[0] in 'aeiou' else 'a'} {r.replace('_', ' ')}" for r in roles]
    return " or ".join(words)


def turned(leaf: Leaf) -> Node:
    """The opposite of a comparison, as a comparison where there is one."""
    match leaf:
        case Compare(left, sign, right):
            return Compare(left, _OPPOSITE[sign], right)
        case Is() | Has() | Recorded() | Settled():
            return evolve(leaf, negated=not leaf.negated)
        case _:
            return Not(leaf)


def _clause(leaf: Leaf, asking: _Asking) -> Explain:
    node, side = leaf if asking.wanted else turned(leaf), asking.side
    judged, way_out = judge(node, side), _way_out(node, side)
    text = f"{asking.gate}: {written(node)}" if asking.gate else written(node)

    def told(facts: Facts) -> tuple[Clause, ...]:
        truth = judged(facts)
        name, seen, value = _seen(leaf, facts, side)
        reading, state, ways = seen.reading, seen.state, ""
        if truth is not None:
            state = "known"
        elif state == "known":
            state = "unknown"
        if not truth:
            ways = " or ".join(way for way in (way_out(seen, facts), *asking.ways) if way)
        return (
            Clause(
                text=text,
                truth=truth,
                state=state,
                fact=name,
                value=value,
                recorded=seen.instant if reading is None else reading.occurred,
                step=seen.step,
                record=reading.id if reading else "",
                unblock=ways,
            ),
        )

    return told


def _seen(leaf: Leaf, facts: Facts, side: Side) -> tuple[str, Seen, str]:
    """What a comparison reads: its fact, how that is seen, and its value for people."""
    match leaf:
        case Is(fact) | Has(fact) | Recorded(fact):
            seen = look(fact, facts, side)
            return fact.name, seen, _value(fact, seen)
        case Settled(step, _, scope):
            last = settlement(step, scope, facts)
            outcome = last[0] if last else ""
            return step, Seen(state="known", step=step, instant=last[1] if last else None), outcome
        case InForce(consent):
            given = facts.consent(consent)
            expired = given is not None and given[0] == "given"
            state = given[0] if given else "never asked"
            return consent, Seen(state="expired" if expired else "unknown"), state
        case Over():
            return _seen_over(leaf, facts, side)
        case Always():
            return "", Seen(state="known"), ""
        case _:
            return _seen_sums(leaf, facts, side)


def _seen_sums(leaf: Compare, facts: Facts, side: Side) -> tuple[str, Seen, str]:
    """What both sides of a comparison read; the first that is in doubt stands for all."""
    found: list[tuple[str, Seen, str]] = []
    for atom in _atoms(leaf):
        match atom:
            case Fact():
                seen = look(atom, facts, side)
                found.append((atom.name, seen, _value(atom, seen)))
            case Elapsed():
                seen = began(atom, facts, side)
                shown = _elapsed(facts.now - seen.instant) if seen.instant else seen.remark
                found.append((written_atom(atom), seen, shown))
            case Number():
                pass
            case _:
                amount = difference(((Fraction(1), atom),), (), side)(facts)
                seen = Seen(state="known" if amount is not None else "unknown")
                shown = "" if amount is None else _figure(amount / atom.unit.factor, atom.unit)
                found.append((written_atom(atom), seen, shown))
    doubtful = [one for one in found if one[1].state != "known"]
    name, seen, _ = (doubtful or found)[0]
    values = [shown if len(found) == 1 else f"{n} {shown}" for n, _, shown in found if shown]
    return name, seen, ", ".join(values)


def _seen_over(leaf: Over, facts: Facts, side: Side) -> tuple[str, Seen, str]:
    span = over(leaf, facts, side)
    telling = [r for r, truth in span.over if truth is span.truth] or [r for r, _ in span.over]
    seen = Seen(state=span.state, remark=span.remark)
    if telling:
        newest = telling[-1]
        seen = replace(seen, reading=newest, step=newest.step, instant=newest.occurred)
    shown = [_raw(leaf.fact, r.values.get(leaf.fact.field)) for r, _ in span.over[-6:]]
    more = f" (the last 6 of {len(span.over)})" if len(span.over) > 6 else ""
    return leaf.fact.name, seen, span.remark or ", ".join(shown) + more


def _value(fact: Fact, seen: Seen) -> str:
    shown = _raw(fact, seen.raw) if seen.raw is not None else ""
    return f"{shown} ({seen.remark})" if shown and seen.remark else shown or seen.remark


def _raw(fact: Fact, raw: Raw) -> str:
    match raw:
        case None:
            return "no answer"
        case bool():
            return "yes" if raw else "no"
        case list():
            return ", ".join(raw) or "none"
        case _ if fact.kind == "number":
            if fact.unit.code == "s":
                return _elapsed(timedelta(seconds=float(raw)))
            return f"{raw} {fact.unit.written}".rstrip()  # as precisely as it was recorded
        case _ if fact.kind == "instant":
            return _when(datetime.fromisoformat(str(raw)))
        case _:
            return str(raw)


def _figure(amount: Fraction, unit: Unit) -> str:
    if unit.code == "s":
        return _elapsed(timedelta(seconds=float(amount)))
    value = Decimal(amount.numerator) / Decimal(amount.denominator)
    return f"{value:f} {unit.written}".rstrip()


def _elapsed(length: timedelta) -> str:
    """A length of time, rounded down to whole minutes; in seconds below one minute."""
    minutes = length // timedelta(minutes=1)
    if length < timedelta(minutes=1):
        return f"{length // timedelta(seconds=1)} s"
    hours, rest = divmod(minutes, 60)
    if hours >= 240:
        return f"{hours // 24} d {hours % 24} h"
    return " ".join(part for part, n in ((f"{hours} h", hours), (f"{rest} min", rest)) if n)


def _when(instant: datetime) -> str:
    """An instant for people, never earlier than it is."""
    exact = instant.astimezone(UTC)
    if exact.microsecond:
        exact = exact.replace(microsecond=0) + timedelta(seconds=1)
    return f"{exact:%Y-%m-%d %H:%M:%S} UTC" if exact.second else f"{exact:%Y-%m-%d %H:%M} UTC"


# Ways out.


_Way = Callable[[Seen, Facts], str]


def _way_out(node: Node, side: Side) -> _Way:
    """What would make a comparison true; "" where nothing that anybody does would."""
    signed, way = judge(node, "stop"), _way(node, side)
    waiting = _waiting(node, side) if isinstance(node, Compare) else None

    def way_out(seen: Seen, facts: Facts) -> str:
        if seen.state == "unsigned" and signed(facts):
            return f"sign {seen.step or (seen.reading.form if seen.reading else '')}".strip()
        if waiting is not None and (until := waiting(facts)):
            return f"wait until {_when(until)}"
        return way if isinstance(way, str) else way(seen, facts)

    return way_out


def _way(node: Node, side: Side) -> str | _Way:
    """What somebody would have to do."""
    match node:
        case Compare():
            return lambda seen, _: _way_to(node, seen)
        case Is() | Has():
            return f"record {node.fact.name} {_answer(node)}"
        case Recorded(fact, negated):
            return "" if negated else f"record {fact.name}"
        case InForce(consent):
            return f"obtain consent {consent}"
        case Not(InForce(consent)):
            return f"revoke consent {consent}"
        case Settled(step, outcome, _, negated):
            return f"settle {step} other than {outcome}" if negated else _settle(step, outcome)
        case Over():
            return lambda _, facts: _way_over(node, True, facts, side)
        case Not(Over() as leaf):
            return lambda _, facts: _way_over(leaf, False, facts, side)
        case _:
            return ""


def _answer(node: Is | Has) -> str:
    if isinstance(node, Is):
        return f"{'other than' if node.negated else 'as'} {_word(node.word)}"
    return f"{'without' if node.negated else 'with'} {node.option}"


def _way_to(node: Compare, seen: Seen) -> str:
    readable = [atom for atom in _atoms(node) if not isinstance(atom, Number)]
    if len(readable) > 1:
        return f"bring about that {written(node)}"
    atom, alone, sign, other = readable[0], node.left, node.sign, node.right
    if all(one is not atom for _, one in alone):
        alone, sign, other = node.right, TURNED[sign], node.left
    plain = len(alone) == len(other) == 1 and alone[0][0] == 1
    bound = f"{_IN_WORDS[sign]} {_bounds(other)}" if plain else f"so that {written(node)}"
    match atom:
        case Fact():
            again = " again" if seen.state == "expired" else ""
            return f"record {atom.name}{again} {bound}"
        case Elapsed(since):
            return _way_begin(since, seen)
        case Given(session):
            return f"dose {session} {bound}"
        case Count(what, event):
            return f"bring the count of {what} {event} to {bound}"
        case _:
            return f"bring {written_atom(atom)} to {bound}"


def _way_begin(moment: Moment, seen: Seen) -> str:
    again = " again" if seen.instant else ""
    match moment:
        case Fact(name):
            return f"record {name}{again}"
        case StepMoment(step, outcome):
            return _settle(step, outcome) + again
        case SessionMoment(session, event):
            return f"{_STARTS[event]} {session}{again}"
        case _:
            return f"enter {moment.phase}{again}"


def _settle(step: str, outcome: str) -> str:
    verb = _ENDS.get(outcome)
    return f"{verb} {step}" if verb else f"settle {step} as {outcome}"


def _way_over(leaf: Over, wanted: bool, facts: Facts, side: Side) -> str:
    fact, test = leaf.fact, leaf.test if wanted else turned(leaf.test)
    if isinstance(test, Compare):
        bound = f"{_IN_WORDS[test.sign]} {_bounds(test.right)}"
    else:
        bound = _answer(cast("Is | Has", test))
    if wanted is (leaf.which in ("any", "ever")):  # a single reading is enough
        return f"record {fact.name} {bound}"
    if leaf.which == "last":
        return f"record {fact.name} {bound} {leaf.count} times in a row"
    if leaf.window is None:
        return ""  # what has ever been recorded stays so
    failing = [r for r, truth in over(leaf, facts, side).over if truth is not wanted]
    start = failing[-1:] or history(fact, facts)[:1]
    if not start:
        return f"record {fact.name} {bound} for {leaf.window.span}"
    until = plus(start[0].occurred, leaf.window.span, facts.site)
    if until <= facts.now:
        return f"record {fact.name} {bound}"
    return f"wait until {_when(until)} with each {fact.name} {bound}"


def _word(word: str | bool) -> str:
    return word if isinstance(word, str) else "yes" if word else "no"


def _bounds(side: Sum) -> str:
    """A bound for people: the number itself, not the name of its limit."""
    match side:
        case ((Fraction(numerator=1, denominator=1), Number() as only),):
            return str(only)
        case _:
            return written_sum(side)


def _waiting(node: Compare, side: Side) -> Turn:
    """A function that tells when waiting alone makes a comparison true, if it does."""
    truth, turns_at = judge(node, side), turning((node,), side)

    def waiting(facts: Facts) -> datetime | None:
        later = facts
        for _ in range(_FAR):
            turn = turns_at(later)
            if turn is None:
                return None
            later = _Later(facts, turn)
            if truth(later):
                return turn
        return None

    return waiting


class _Later:
    """The same facts at a later instant."""

    def __init__(self, facts: Facts, now: datetime) -> None:
        self.now, self.site, self.admitted = now, facts.site, facts.admitted
        self.readings, self.where, self.settled = facts.readings, facts.where, facts.settled
        self.tally, self.session_instant = facts.tally, facts.session_instant
        self.given, self.consent, self.entered = facts.given, facts.consent, facts.entered
        self.round, self.overridden = facts.round, facts.overridden


# When.


def timed(node: Node) -> tuple[Leaf, ...]:
    """The comparisons of a tree that time alone could turn."""

    def could(leaf: Leaf) -> bool:
        if isinstance(leaf, Recorded):
            return False
        if isinstance(leaf, InForce | Over) or any(fact.expires for fact in latest_facts(leaf)):
            return True
        return any(isinstance(atom, Elapsed | Total | ProgramDay) for atom in _atoms(leaf))

    return tuple(leaf for leaf in leaves(node) if could(leaf))


Turn = Callable[[Facts], datetime | None]
_Turns = Callable[[Facts], Iterable[datetime]]
_TICK = timedelta(microseconds=1)


def turning(leaves: Iterable[Leaf], side: Side) -> Turn:
    """A function that tells the next instant after now at which time alone could turn one of
    these comparisons, or an earlier one."""
    every = tuple(turns for leaf in leaves for turns in _turns(leaf, side))

    def turns_at(facts: Facts) -> datetime | None:
        now = facts.now
        return min((turn for turns in every for turn in turns(facts) if turn > now), default=None)

    return turns_at


def _turns(leaf: Leaf, side: Side) -> Iterator[_Turns]:
    """Where a comparison could turn, for each of its reasons; what is past does no harm."""
    for fact in latest_facts(leaf) if side == "go" else ():
        if fact.expires:
            yield _expiring(fact, side)
    match leaf:
        case InForce(consent):
            yield lambda facts: () if (given := facts.consent(consent)) is None else _at(given[1])
        case Over(which, _, fact, _, window):
            if window is not None:
                yield _leaving(fact, window.span)
            if which == "last" and side == "go":
                yield _expiring_last(fact)
        case Compare():
            if (timed := elapsed_span(leaf)) is not None:
                yield _meeting(timed[0], timed[1], side)
            else:
                yield from _crossing(leaf, side)
        case _:
            pass
    for atom in _atoms(leaf):
        match atom:
            case Total():
                yield _leaving(atom.fact, atom.within.span)
            case ProgramDay():
                yield _midnight
            case _:
                pass


def _at(instant: datetime | None) -> tuple[datetime, ...]:
    return () if instant is None else (instant,)


def _expiring(fact: Fact, side: Side) -> _Turns:
    """Where the latest reading of a fact expires."""

    def expires(facts: Facts) -> Iterable[datetime]:
        reading = look(fact, facts, side).reading
        return () if reading is None else _at(reading.valid_until)

    return expires


def _expiring_last(fact: Fact) -> _Turns:
    """Where the newest of several readings expires."""
    return lambda facts: [r.valid_until for r in history(fact, facts)[-1:] if r.valid_until]


def _leaving(fact: Fact, span: Duration) -> _Turns:
    """Where the readings in a window leave it; of elapsed time, the oldest does so first."""

    def leaves(facts: Facts) -> Iterable[datetime]:
        inside = within(history(fact, facts), span, facts)
        first = inside if span.calendar else inside[:1]
        return [plus(reading.occurred, span, facts.site) for reading in first]

    return leaves


def _midnight(facts: Facts) -> Iterable[datetime]:
    """Where the program day ends."""
    if facts.admitted is None:
        return ()
    tomorrow = local_date(facts.now, facts.site) + timedelta(days=1)
    return (at_clock(tomorrow, time(), facts.site),)


def _meeting(elapsed: Elapsed, span: Duration, side: Side) -> _Turns:
    """Where elapsed time meets its bound, and the tick after, at which `>` and `=` turn."""
    start = beginning(elapsed, side)

    def meets(facts: Facts) -> Iterable[datetime]:
        moment = start(facts)
        if moment is None:
            return ()
        try:
            turn = plus(moment, span, facts.site) if span.calendar else moment + span.elapsed
        except OverflowError:  # beyond the calendar: nobody waits for it
            return ()
        return turn, turn + _TICK

    return meets


def _crossing(node: Compare, side: Side) -> Iterator[_Turns]:
    """The same for a sum of several times."""
    slope = sum((f for f, a in node.left if isinstance(a, Elapsed)), Fraction(0))
    slope -= sum((f for f, a in node.right if isinstance(a, Elapsed)), Fraction(0))
    if not slope:
        return
    gap = difference(node.left, node.right, side)

    def crosses(facts: Facts) -> Iterator[datetime]:
        amount = gap(facts)
        if amount is None:
            return
        ticks = -amount / slope * 1_000_000
        for after in (ceil(ticks), floor(ticks) + 1):
            if after > 0:
                try:
                    yield facts.now + after * _TICK
                except OverflowError:  # see above
                    return

    yield crosses


# In words.


def written(node: Node) -> str:
    """The gate language for a tree: reading it again gives the same tree."""
    match node:
        case Always():
            return "always"
        case Not(inner):
            return f"not {_bracketed(inner)}"
        case All(nodes):
            return " and ".join(_bracketed(n) for n in nodes)
        case Some(nodes):
            return " or ".join(_bracketed(n) for n in nodes)
        case Use(gate):
            return gate
        case Compare(left, sign, right):
            return f"{written_sum(left)} {sign} {written_sum(right)}"
        case Over(which, test, fact, count, window):
            name = written(test).removeprefix(fact.name)
            match which:
                case "last":
                    return f"last {count} of {fact.name}{name}"
                case "ever":
                    return f"ever {fact.name}{name}"
                case _:
                    return f"{which} {fact.name} of last {window}{name}"
        case Is(fact, word, negated):
            return f"{fact.name} is{' not' if negated else ''} {_word(word)}"
        case Has(fact, option, negated):
            return f"{fact.name} has{' not' if negated else ''} {option}"
        case Recorded(fact, negated):
            return f"{fact.name} is{' not' if negated else ''} recorded"
        case InForce(consent):
            return f"consent {consent} in force"
        case _:
            return f"{node.step} is{' not' if node.negated else ''} {node.outcome}"


def _bracketed(node: Node) -> str:
    return f"({written(node)})" if isinstance(node, All | Some) else written(node)


def written_sum(side: Sum) -> str:
    """A linear sum as the gate language writes it."""
    text = ""
    for factor, atom in side:
        size = abs(factor)
        times = "" if size == 1 else f"{Decimal(size.numerator) / size.denominator:f} * "
        sign = "-" if factor < 0 else "+"
        text += f" {sign} " if text else "- " if factor < 0 else ""
        text += times + written_atom(atom)
    return text


def written_atom(atom: Atom) -> str:
    """One fact, number or measure as the gate language writes it."""
    match atom:
        case Fact(name):
            return name
        case Number(_, _, limit):
            return limit or str(atom)
        case Elapsed(since, age):
            return f"{'age of' if age else 'time since'} {_moment(since)}"
        case Count(what, event):
            return f"count of {what} {event}"
        case Total(fact, within):
            return f"total of {fact.name} within {within}"
        case ProgramDay():
            return "program day"
        case Round():
            return "round"
        case _:
            return "given"


def _moment(moment: Moment) -> str:
    match moment:
        case Fact(name):
            return name
        case StepMoment(step, outcome):
            return f"{step} {outcome}"
        case SessionMoment(session, event):
            return f"{session} {_WORDS_OF.get(event, event)}"
        case _:
            return f"entering {moment.phase}"


def prose(node: Node) -> str:
    """A condition in plain words; named gates say their own sentence."""
    match node:
        case Always():
            return "always"
        case Not(Compare() | Is() | Has() | Recorded() | Settled() as leaf):
            return prose(turned(leaf))
        case Not(inner):
            return f"it does not hold that {_grouped(inner)}"
        case All(nodes):
            return ", and ".join(_grouped(n) for n in nodes)
        case Some(nodes):
            return ", or ".join(_grouped(n) for n in nodes)
        case Use(_, says):
            return says
        case Compare(left, sign, right):
            words = _IN_WORDS[sign]
            if isinstance(left[0][1], Fact) and left[0][1].kind in ("instant", "date"):
                words = words.replace("below", "before").replace("above", "after")
            return f"{_sum_prose(left)} is {words} {_sum_prose(right)}"
        case Over(which, test, fact, count, window):
            rest = prose(test).removeprefix(_fact_prose(fact))
            back = window.span if window else ""
            match which:
                case "every":
                    return f"every {_fact_prose(fact)} of the last {back}{rest}"
                case "any":
                    return f"at least one {_fact_prose(fact)} of the last {back}{rest}"
                case "last":
                    return f"each of the last {count} readings of {_fact_prose(fact)}{rest}"
                case _:
                    return f"at least one {_fact_prose(fact)} ever recorded{rest}"
        case Is(fact, word, negated):
            named = dict(fact.options).get(_word(word)) or _word(word)
            return f"{_fact_prose(fact)} is{' not' if negated else ''} {named}"
        case Has(fact, option, negated):
            named = dict(fact.options).get(option) or option
            verb = "does not include" if negated else "includes"
            return f"{_fact_prose(fact)} {verb} {named}"
        case Recorded(fact, negated):
            return f"{_fact_prose(fact)} has {'not ' if negated else ''}been recorded"
        case InForce(consent):
            return f"consent {consent} is in force"
        case _:
            return f"{node.step} is{' not' if node.negated else ''} settled as {node.outcome}"


def _grouped(node: Node) -> str:
    return f"({prose(node)})" if isinstance(node, All | Some) else prose(node)


def _fact_prose(fact: Fact) -> str:
    where = fact.name.rpartition(".")[0]
    return f"{fact.label or fact.field} ({where})"


def _sum_prose(side: Sum) -> str:
    text = ""
    for factor, atom in side:
        size = abs(factor)
        sign = "minus" if factor < 0 else "plus"
        text += f" {sign} " if text else "minus " if factor < 0 else ""
        text += "" if size == 1 else f"{Decimal(size.numerator) / size.denominator:f} times "
        match atom:
            case Fact():
                text += _fact_prose(atom)
            case Number():
                text += str(atom)
            case Elapsed(Fact() as fact, age):
                text += f"the time since {_fact_prose(fact)}{' was recorded' if age else ''}"
            case Count(what, event):
                text += f"the number of times {what} was {event}"
            case Total(fact, within):
                text += f"the total of {_fact_prose(fact)} within {within.span}"
            case ProgramDay() | Round():
                text += f"the {written_atom(atom)}"
            case Given():
                text += "the amount given so far"
            case _:
                text += f"the {written_atom(atom)}"
    return text
