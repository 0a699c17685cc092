"""The gate language: from the words of a gate to a `Test` that can be judged and explained.

A gate is read against a `Vocabulary` (every name of the program) and a `Context` (the place
that uses it), because a name reads the innermost enclosing place that records it. Whatever is
wrong is a `Problem` at an exact place of the text, with a way out; nothing of the text is ever
executed. What a gate means is in `truth`, why it stands as it does in `why`.

    expression := term ("and" term)* | term ("or" term)*
    term       := "not" term | "(" expression ")" | "always" | GATE | predicate
                | sum SIGN sum | reading SIGN sum | reading verdict
    reading    := "every" FACT "of last" SPAN | "any" FACT "of last" SPAN
                | "last" N "of" FACT | "ever" FACT
    predicate  := FACT verdict | FACT "is" ["not"] "recorded" | STEP "is" ["not"] OUTCOME
                | "consent" NAME "in force"
    verdict    := "is" ["not"] WORD | "has" ["not"] OPTION
    sum        := product (("+" | "-") product)*     product := [NUMBER "*"] atom
    atom       := FACT | LIMIT | NUMBER [UNIT] | "age of" FACT | "time since" moment
                | "count of" STEP OUTCOME | "count of" SESSION EVENT
                | "total of" FACT "within" SPAN | "program day" | "round" | "given"
    moment     := FACT | STEP OUTCOME | SESSION EVENT | "entering" [PHASE]
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, Literal, NoReturn, Protocol, cast

from attrs import evolve, field, frozen

from kat_workflow.errors import Clause
from kat_workflow.program import why
from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import FieldType, Form, Raw
from kat_workflow.program.truth import (
    SECONDS,
    All,
    Always,
    Atom,
    Compare,
    Count,
    Elapsed,
    Entering,
    Fact,
    Facts,
    Given,
    Has,
    InForce,
    Is,
    Judge,
    Kind,
    Leaf,
    Moment,
    Node,
    Not,
    Number,
    Over,
    ProgramDay,
    Recorded,
    Round,
    Scope,
    SessionMoment,
    Settled,
    Side,
    Sign,
    Some,
    StepMoment,
    Sum,
    Total,
    Use,
    Window,
    elapsed_span,
    judge,
)
from kat_workflow.program.units import NONE, POINTS, Unit, nearest_unit, unit

__all__ = [
    "RESERVED",
    "Context",
    "Facts",
    "Problem",
    "SessionInfo",
    "StepInfo",
    "Test",
    "Vocabulary",
    "compile_test",
]

RESERVED = frozenset(
    [
        "and",
        "or",
        "not",
        "always",
        "is",
        "has",
        "in",
        "of",
        "within",
        "every",
        "any",
        "last",
        "ever",
        "age",
        "time",
        "count",
        "total",
        "since",
        "consent",
        "force",
        "program",
        "round",
        "given",
        "entering",
        "recorded",
        "watch",
    ]
)
"""Words of the language: no gate, limit, step, session, phase or form may be called so."""

MOST_CHARACTERS, MOST_TERMS, MOST_IN_ALL, DEEPEST, MOST_PROBLEMS = 2_000, 200, 2_000, 30, 20
SESSION_COUNTS = ("held", "started", "counted", "aborted")
SESSION_MOMENTS = ("started", "given", "released")
MOMENT_OF = {"given": "dosed"}
"""`given` is when something was first given; the older word `dosed` means the same and is read."""
_LONGEST = 100 * 366 * 86_400  # a span of more than a lifetime is a slip


class NamedLimit(Protocol):
    """What the language needs of a limit."""

    @property
    def value(self) -> Decimal: ...

    @property
    def unit(self) -> str: ...


class Overriders(Protocol):
    """Who may override a gate."""

    @property
    def by(self) -> Collection[str]: ...


class NamedGate(Protocol):
    """What the language needs of a gate."""

    @property
    def says(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def override(self) -> Overriders | None: ...


@frozen(eq=False)
class StepInfo:
    """What a gate may know of a step.

    `path` are the phases around it, outermost first; `session` is the kind of session that owns
    it, `holds` the kind that it holds. `outcomes` are those it may have beside `done`.
    """

    name: str
    form: str = ""
    path: tuple[str, ...] = ()
    session: str = ""
    consent: str = ""
    holds: str = ""
    signed: bool = False
    outcomes: frozenset[str] = frozenset()
    if_skipped: Mapping[str, Raw] = field(factory=dict)


@frozen(eq=False)
class SessionInfo:
    """What a gate may know of a kind of session; `path` are the phases around what holds it."""

    name: str
    dose_unit: str = ""
    watch_step: str = ""
    steps: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


@frozen(eq=False)
class Vocabulary:
    """Every name of a program. `repeated` are the phases that have rounds."""

    forms: Mapping[str, Form] = field(factory=dict)
    steps: Mapping[str, StepInfo] = field(factory=dict)
    sessions: Mapping[str, SessionInfo] = field(factory=dict)
    limits: Mapping[str, NamedLimit] = field(factory=dict)
    gates: Mapping[str, NamedGate] = field(factory=dict)
    consents: Collection[str] = ()
    phases: Mapping[str, tuple[str, ...]] = field(factory=dict)
    repeated: Collection[str] = ()


@frozen(eq=False)
class Context:
    """Where a gate is used: inside which phases (outermost first) and session, for which side.

    `prefix` is that of a contained program: its own names are looked up first.
    """

    path: tuple[str, ...] = ()
    session: str = ""
    side: Side = "go"
    prefix: str = ""


@frozen
class Problem:
    """One thing that is wrong with a gate, with a way out.

    `start` and `end` are offsets into the text that was compiled. `gate` is set when the fault
    is in a gate that the text uses: then they mean the use, and `message` says what is wrong
    inside.
    """

    code: str
    start: int
    end: int
    message: str
    hint: str = ""
    gate: str = ""


@frozen(eq=False)
class Test:
    """A gate as it is used in one place.

    `truth(facts)` is True, False or None for unknown. `always` says that it is true whatever
    the facts. `tree` is the gate as plain values (see `truth`). `gates` are those it uses, with
    their sentences in `says`; `steps` those whose settlement it reads; `tallies` what it counts
    (`step:outcome`, `session:event`); `reads` how much of each form's past it needs: (form,
    the last n readings, those of a span, all); `facts` which fields it reads:
    (form, field, step or "" for any, the phase or session in which it looks, "" for anywhere);
    `consents` those it asks for; `timed` the comparisons that time alone could turn.
    """

    __test__: ClassVar[bool] = False  # it is no test case, whatever its name suggests to pytest

    text: str
    side: Side
    tree: Node
    truth: Judge
    always: bool
    temporal: bool
    gates: tuple[str, ...]
    says: Mapping[str, str]
    steps: tuple[str, ...]
    tallies: tuple[str, ...]
    reads: tuple[tuple[str, int, Duration | None, bool], ...]
    facts: tuple[tuple[str, str, str, str], ...] = ()
    consents: tuple[str, ...] = ()
    timed: tuple[Leaf, ...] = ()

    def explain(self, facts: Facts) -> tuple[Clause, ...]:
        """Every comparison with its truth, what was read, and what would make it true."""
        return self._explain(facts)

    def turns_at(self, facts: Facts) -> datetime | None:
        """The next instant after now at which the truth could turn through time alone.

        Never later than the real one; perhaps earlier. The end of an override is not foreseen
        here: it is a timer of its own.
        """
        return self._turns_at(facts)

    @cached_property
    def _explain(self) -> why.Explain:
        return why.explaining(self.tree, self.side)

    @cached_property
    def _turns_at(self) -> why.Turn:
        return why.turning(self.timed, self.side)

    def prose(self) -> str:
        """The condition in plain words."""
        return why.prose(self.tree)


def compile_test(
    text: str, vocabulary: Vocabulary, context: Context
) -> tuple[Test | None, tuple[Problem, ...]]:
    """The test that a text means in a place, or every problem with it."""
    reader = _Reader(text, vocabulary, context, {}, ())
    tree = reader.read()
    if tree is None or reader.problems:
        return None, tuple(sorted(reader.problems, key=lambda p: (p.start, p.end, p.code)))
    needs = why.needs(tree)
    return Test(
        text=text,
        side=context.side,
        tree=tree,
        truth=judge(tree, context.side),
        always=_always(tree),
        temporal=needs.temporal,
        gates=tuple(needs.gates),
        says=needs.gates,
        steps=tuple(needs.steps),
        tallies=tuple(needs.tallies),
        facts=tuple(needs.facts),
        consents=tuple(needs.consents),
        timed=why.timed(tree),
        reads=tuple(needs.reads),
    ), ()


def _always(node: Node) -> bool:
    match node:
        case Always():
            return True
        case All(nodes):
            return all(_always(n) for n in nodes)
        case Some(nodes):
            return any(_always(n) for n in nodes)
        case Use(_, _, inner):
            return _always(inner)
        case _:
            return False


# Words.


@frozen
class _Token:
    kind: Literal["word", "number", "unit", "sign", "mark", "end"]
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?(?![\w.]))"
    r"|(?P<word>[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*(?![\w.]))"
    r"|(?P<sign><=|>=|!=|<(?![=>])|>|=(?![=>]))"
    r"|(?P<mark>[()+*-])"
)
_UNIT = re.compile(r"[ \t\r\n]+(/?[A-Za-zµμ°%][A-Za-zµμ°%0-9/.]*)")
_SPACE = re.compile(r"[ \t\r\n]+")
_RUN = re.compile(r"\w[\w.]*|[^\w\s()]+|.", re.DOTALL)
_INSTEAD = {
    "==": "write =",
    "=>": "write >=",
    "=<": "write <=",
    "≥": "write >=",
    "≤": "write <=",
    "≠": "write !=",
    "<>": "write !=",
    "&&": "write and",
    "&": "write and",
    "||": "write or",
    "|": "write or",
    "!": "write not",
    "[": "use round brackets; units have plain names such as mmHg",
    "{": "use round brackets",
    "/": "divide by multiplying, as in 0.5 * x",
}


def _words(text: str) -> Iterator[_Token]:
    """The words of a gate; raises `_FaultError` at the first that is none."""
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        found = _TOKEN.match(text, at)
        if found is None:
            run = next(_RUN.finditer(text, at, at + 40))[0]
            raise _FaultError(_misspelt(run, at, at + len(run)))
        kind = cast("Literal['word', 'number', 'sign', 'mark']", found.lastgroup)
        yield _Token(kind, found[0], at, found.end())
        at = found.end()
        if kind == "number" and (named := _UNIT.match(text, at)) and named[1] not in RESERVED:
            yield _Token("unit", named[1], named.start(1), named.end(1))
            at = named.end()
    yield _Token("end", "", len(text), len(text))


def _misspelt(run: str, start: int, end: int) -> Problem:
    folded = run.casefold()
    hint = _INSTEAD.get(run, "")
    if not hint and re.match(r"[0-9.]+[A-Za-z%/]", run):
        hint = "put one space between a number and its unit"
    elif not hint and run[0].isalpha() and folded != run:
        hint = f"names are written in small letters: {folded}"
    elif not hint:
        hint = "a gate is made of words, numbers with units, brackets and < <= > >= = !="
    return Problem("gate-syntax", start, end, f'"{run}" cannot be read here', hint)


class _FaultError(Exception):
    """The reading of a text has to stop here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


# Sentences.

_Span = tuple[int, int]


class _Reader:
    """Reads one text in one context, resolving and typing every name as it comes.

    What cannot be resolved is noted and read on as None, so that all problems come at once;
    only a sentence that makes no sense ends the reading.
    """

    def __init__(
        self,
        text: str,
        vocabulary: Vocabulary,
        context: Context,
        known: dict[str, tuple[Node | None, int]],
        within: tuple[str, ...],
    ) -> None:
        self.text, self.vocabulary, self.context = text, vocabulary, context
        self.known, self.within = known, within
        self.problems: list[Problem] = []
        self.tokens: list[_Token] = []
        self.at = self.depth = self.terms = self.size = 0

    def read(self) -> Node | None:
        """The tree of the whole text; None if there are problems."""
        try:
            if len(self.text) > MOST_CHARACTERS:
                raise _FaultError(
                    Problem(
                        "gate-too-long",
                        MOST_CHARACTERS,
                        MOST_CHARACTERS + 1,
                        f"a gate has at most {MOST_CHARACTERS:,} characters; this one has "
                        f"{len(self.text):,}",
                        "give its parts names of their own under gates",
                    )
                )
            self.tokens = list(_words(self.text))
            tree = self.expression()
            if self.peek.kind != "end":
                self.stop(self.peek, "does not fit here", self.expected_after())
        except _FaultError as fault:
            self.problems.append(fault.problem)
            return None
        return None if self.problems else tree

    # Small steps.

    @property
    def peek(self) -> _Token:
        return self.tokens[self.at]

    def ahead(self, by: int) -> _Token:
        return self.tokens[min(self.at + by, len(self.tokens) - 1)]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def taken(self, *words: str) -> bool:
        """Takes these words if they come next."""
        if all(self.ahead(i).text == word for i, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def need(self, *words: str) -> None:
        for word in words:
            if not self.taken(word):
                self.stop(self.peek, f'comes where "{word}" is expected')

    def name(self, what: str) -> _Token:
        if self.peek.kind != "word" or self.peek.text in RESERVED:
            self.stop(self.peek, f"comes where the name of {what} is expected")
        return self.take()

    def stop(self, token: _Token, says: str, hint: str = "") -> NoReturn:
        shown = f'"{token.text[:40]}"' if token.text else "the end"
        end = max(token.end, token.start + 1) if token.text else token.end
        raise _FaultError(Problem("gate-syntax", token.start, end, f"{shown} {says}", hint))

    def problem(self, code: str, span: _Span, message: str, hint: str = "") -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(code, *span, message, hint))

    def unknown(
        self, span: _Span, what: str, name: str, names: Collection[str], otherwise: str = ""
    ) -> None:
        near = get_close_matches(name[:64], names, n=1, cutoff=0.6)
        own = self.context.prefix + "."
        if near:
            hint = f'did you mean "{near[0].removeprefix(own)}"?'
        else:
            known = ", ".join(name.removeprefix(own) for name in itertools.islice(names, 12))
            hint = otherwise or (f"it may be {known}" if known else "the program has none")
        self.problem("unknown-name", span, f'there is no {what} "{name[:64]}"', hint)

    def full(self, name: str, names: Collection[str]) -> str | None:
        """A name as the whole program knows it: of the contained program first."""
        if self.context.prefix and f"{self.context.prefix}.{name}" in names:
            return f"{self.context.prefix}.{name}"
        return name if name in names else None

    def expected_after(self) -> str:
        if self.peek.text == ")":
            return "one bracket too many is closed"
        if self.peek.kind == "sign":
            return "compare twice and join with and: a < b and b < c"
        return "join conditions with and, or"

    # Sentences.

    def expression(self) -> Node | None:
        nodes = [self.term()]
        joined = ""
        while self.peek.text in ("and", "or"):
            word = self.take()
            if joined and word.text != joined:
                self.problem(
                    "mixed-and-or",
                    (word.start, word.end),
                    "and and or are mixed without brackets",
                    "put brackets around what belongs together: a and (b or c)",
                )
            joined = joined or word.text
            nodes.append(self.term())
        good = tuple(node for node in nodes if node is not None)
        if len(good) < len(nodes):
            return None
        if len(good) == 1:
            return good[0]
        return All(good) if joined == "and" else Some(good)

    def term(self) -> Node | None:
        self.reckon()
        self.depth += 1
        if self.depth > DEEPEST:
            self.too_long(f"brackets and not are nested at most {DEEPEST} deep")
        node = self.condition()
        self.depth -= 1
        return node

    def reckon(self) -> None:
        """One condition or summand more."""
        self.terms += 1
        self.size += 1
        if self.terms > MOST_TERMS:
            self.too_long(f"a gate has at most {MOST_TERMS} conditions")

    def too_long(self, says: str) -> NoReturn:
        hint = "give its parts names of their own under gates"
        raise _FaultError(Problem("gate-too-long", self.peek.start, self.peek.end, says, hint))

    def condition(self) -> Node | None:
        if self.taken("not"):
            inner = self.term()
            return None if inner is None else Not(inner)
        if self.taken("("):
            inner = self.expression()
            if not self.taken(")"):
                self.stop(self.peek, "comes where a bracket must be closed", "close it with )")
            return inner
        if self.taken("always"):
            return Always()
        if self.taken("consent"):
            return self.consent()
        if self.peek.text in ("every", "any", "last", "ever"):
            return self.over()
        first, after = self.peek, self.ahead(1)
        if first.kind == "word" and first.text not in RESERVED:
            if after.text in ("is", "has"):
                return self.predicate()
            if after.kind != "sign" and after.text not in ("+", "-", "*"):
                return self.dotted(self.take()) if "." in first.text else self.use(self.take())
        return self.comparison()

    def consent(self) -> Node | None:
        token = self.name("a consent")
        self.need("in", "force")
        full = self.full(token.text, self.vocabulary.consents)
        if full is None:
            self.unknown((token.start, token.end), "consent", token.text, self.vocabulary.consents)
            return None
        if not any(step.consent == full for step in self.vocabulary.steps.values()):
            self.problem(
                "never-obtained",
                (token.start, token.end),
                f'no step obtains the consent "{token.text}", so this is always unknown',
                f"add a step with obtain: {token.text}",
            )
            return None
        return InForce(full)

    def over(self) -> Node | None:
        start = self.peek.start
        which = cast("Literal['every', 'any', 'last', 'ever']", self.take().text)
        count, window, ok = 0, None, True
        if which == "last":
            number = self.take()
            if number.kind != "number":
                self.stop(number, "comes where how many readings is expected", "last 3 of …")
            if not number.text.isdigit() or not 1 <= int(number.text) <= 100:
                self.problem(
                    "gate-syntax",
                    (number.start, number.end),
                    "it reads a whole number of readings from 1 to 100",
                )
                ok = False
            else:
                count = int(number.text)
            self.need("of")
        fact = self.fact(self.name("a fact"))
        if which in ("every", "any"):
            self.need("of", "last")
            window = self.window()
            ok = ok and window is not None
        test: Node | None
        if self.peek.text in ("is", "has"):
            test = self.verdict(fact)
        else:
            left: Sum | None = None if fact is None else ((Fraction(1), fact),)
            test = self.compare(left, (start, self.tokens[self.at - 1].end))
            if isinstance(test, Compare) and not (
                fact is not None
                and fact.kind == "number"
                and all(isinstance(atom, Number | Fact) for _, atom in test.right)
            ):
                self.problem(
                    "type-mismatch",
                    (start, self.tokens[self.at - 1].end),
                    "several readings are compared with numbers, limits and recorded numbers only",
                )
                return None
        if fact is None or not ok or not isinstance(test, Compare | Is | Has):
            return None
        return Over(which, test, fact, count, window)

    def predicate(self) -> Node | None:
        token = self.take()
        last = self.ahead(2) if self.ahead(1).text == "not" else self.ahead(1)
        step = self.full(token.text, self.vocabulary.steps)
        if step is None and "." in token.text:
            fact = self.fact(token, recorded=last.text == "recorded")
            if self.peek.text == "is" and last.text == "recorded":
                self.take()
                negated = self.taken("not")
                self.take()
                return None if fact is None else Recorded(fact, negated)
            return self.verdict(fact)
        span = (token.start, token.end)
        if self.taken("has"):
            self.problem("type-mismatch", span, f'"{token.text}" is no field', "name.field has …")
            self.take()
            return None
        self.need("is")
        negated = self.taken("not")
        outcome = self.take()
        if outcome.kind != "word":
            self.stop(outcome, "comes where an outcome such as done is expected")
        if step is None:
            self.unknown(span, "step", token.text, self.vocabulary.steps, "a field is form.field")
            return None
        if not self.outcome(step, outcome):
            return None
        return Settled(step, outcome.text, self.place((step,))[0], negated)

    def outcome(self, step: str, outcome: _Token) -> bool:
        possible = {"done", *self.vocabulary.steps[step].outcomes}
        if outcome.text in possible:
            return True
        self.problem(
            "wrong-outcome",
            (outcome.start, outcome.end),
            f'the step "{step}" never ends as "{outcome.text}"',
            f"it may be {', '.join(sorted(possible))}",
        )
        return False

    def verdict(self, fact: Fact | None) -> Is | Has | None:
        verb = self.take()
        negated = self.taken("not")
        word = self.take()
        if word.kind != "word":
            self.stop(word, f'comes where a word is expected after "{verb.text}"', "compare with =")
        if fact is None:
            return None
        span, options = (word.start, word.end), [name for name, _ in fact.options]
        wanted = ("choice", "yes_no") if verb.text == "is" else ("choices",)
        if fact.kind not in wanted:
            way = {
                "choices": f"write {fact.name} has {word.text}",
                "choice": f"write {fact.name} is {word.text}",
                "yes_no": f"write {fact.name} is yes",
            }.get(fact.kind, "compare it with < <= > >= =")
            self.problem(
                "type-mismatch",
                (verb.start, word.end),
                f'"{fact.name}" is {_KINDS[fact.kind]}; it cannot be asked with "{verb.text}"',
                way,
            )
            return None
        if word.text not in options:
            near = get_close_matches(word.text[:64], options, n=1, cutoff=0.6)
            self.problem(
                "unknown-name",
                span,
                f'"{fact.name}" has no option "{word.text[:64]}"',
                f'did you mean "{near[0]}"?' if near else f"it may be {', '.join(options[:12])}",
            )
            return None
        if verb.text == "has":
            return Has(fact, word.text, negated)
        return Is(fact, word.text == "yes" if fact.kind == "yes_no" else word.text, negated)

    def comparison(self) -> Node | None:
        start = self.peek.start
        left = self.sum()
        return self.compare(left, (start, self.tokens[self.at - 1].end))

    def compare(self, left: Sum | None, where: _Span) -> Compare | None:
        sign = self.peek
        if sign.kind != "sign":
            self.stop(sign, "comes where < <= > >= = != is expected")
        self.take()
        start = self.peek.start
        right = self.sum()
        if left is None or right is None:
            return None
        node = Compare(left, cast("Sign", sign.text), right)
        span = (start, self.tokens[self.at - 1].end)
        return node if self.typed(node, where, span) else None

    def sum(self) -> Sum | None:
        terms: list[tuple[Fraction, Atom]] = []
        good, sign = True, Fraction(-1 if self.taken("-") else 1)
        while True:
            self.reckon()
            factor = Fraction(1)
            if self.peek.kind == "number" and self.ahead(1).text == "*":
                factor = Fraction(self.take().text)
                self.take()
            start = self.peek.start
            atom = self.atom()
            if atom is None:
                good = False
            else:
                terms.append((sign * factor, atom))
            if self.peek.text == "*":
                span = (start, self.peek.end)
                self.problem(
                    "gate-syntax",
                    span,
                    "only a plain number may multiply",
                    "write 2 * x, not x * 2",
                )
                raise _FaultError(self.problems.pop())
            if self.peek.text not in ("+", "-"):
                return tuple(terms) if good else None
            sign = Fraction(1 if self.take().text == "+" else -1)

    def atom(self) -> Atom | None:
        token = self.peek
        span = (token.start, token.end)
        if token.kind == "number":
            return self.number()
        if self.taken("age", "of"):
            fact = self.fact(self.name("a fact"), recorded=True)
            return None if fact is None else Elapsed(fact, age=True)
        if self.taken("time", "since"):
            moment = self.moment()
            return None if moment is None else Elapsed(moment)
        if self.taken("count", "of"):
            return self.count()
        if self.taken("total", "of"):
            return self.total()
        if self.taken("program", "day"):
            return ProgramDay()
        if self.taken("round"):
            return self.round(span)
        if self.taken("given"):
            return self.given(span)
        if token.kind != "word" or token.text in RESERVED:
            self.stop(
                token,
                "comes where a fact, a limit or a number is expected",
                _REMINDERS.get(token.text, ""),
            )
        self.take()
        limit = self.full(token.text, self.vocabulary.limits)
        if limit is not None:
            return self.limit(limit, span)
        if "." in token.text:
            return self.fact(token)
        self.bare(token, "limit", self.vocabulary.limits)
        return None

    def number(self) -> Number | None:
        token = self.take()
        if self.peek.kind != "unit":
            return Number(Decimal(token.text))
        named = self.take()
        measured = unit(named.text)
        if measured is None:
            near = nearest_unit(named.text)
            self.problem(
                "unit-unknown",
                (named.start, named.end),
                f'there is no unit "{named.text[:40]}"',
                f'did you mean "{near}"?' if near else "",
            )
            return None
        return Number(Decimal(token.text), measured)

    def limit(self, name: str, span: _Span) -> Number | None:
        limit = self.vocabulary.limits[name]
        measured = unit(limit.unit)
        if measured is None:
            self.problem(
                "unit-unknown", span, f'the limit "{name}" has an unknown unit "{limit.unit[:40]}"'
            )
            return None
        return Number(limit.value, measured, name)

    def window(self) -> Window | None:
        """A span back from now: a written duration or a limit."""
        token = self.peek
        if token.kind == "number":
            number = self.number()
        else:
            token = self.name("a limit or a duration such as 24 h")
            limit = self.full(token.text, self.vocabulary.limits)
            if limit is None:
                self.bare(token, "limit", self.vocabulary.limits)
                return None
            number = self.limit(limit, (token.start, token.end))
        if number is None:
            return None
        span, code = (token.start, self.tokens[self.at - 1].end), number.unit.code
        whole = number.value == int(number.value)
        if code not in ("s", "min", "h", "d", "wk") or not whole or not self.lifetime(number):
            self.problem(
                "type-mismatch",
                span,
                f'"{number}" is no span of time to look back',
                "write a whole number of min, h, d or wk, such as 24 h",
            )
            return None
        return Window(Duration(int(number.value), code), number.limit)  # type: ignore[arg-type]

    @staticmethod
    def lifetime(number: Number) -> bool:
        return 0 < Fraction(number.value) * number.unit.factor <= _LONGEST

    def moment(self) -> Moment | None:
        if self.taken("entering"):
            span = (self.tokens[self.at - 1].start, self.tokens[self.at - 1].end)
            if self.peek.kind != "word" or self.peek.text in RESERVED:
                if self.context.path:
                    return Entering(self.context.path[-1])
                self.problem(
                    "not-in-scope", span, "no phase is around this gate", "name it: entering stay"
                )
                return None
            token = self.take()
            phase = self.full(token.text, self.vocabulary.phases)
            if phase is None:
                span = (token.start, token.end)
                self.unknown(span, "phase", token.text, self.vocabulary.phases)
                return None
            return Entering(phase)
        token = self.name("a step, a session or a recorded instant")
        span = (token.start, token.end)
        event = self.peek
        if event.kind == "word" and (event.text not in RESERVED or event.text in MOMENT_OF):
            step = self.full(token.text, self.vocabulary.steps)
            session = self.full(token.text, self.vocabulary.sessions)
            moments = (*SESSION_MOMENTS, *MOMENT_OF.values())
            if session is not None and (step is None or event.text in moments):
                self.take()
                if event.text in MOMENT_OF.values() or self.event(session, event, SESSION_MOMENTS):
                    return SessionMoment(session, MOMENT_OF.get(event.text, event.text))
                return None
            if step is not None:
                self.take()
                if self.outcome(step, event):
                    return StepMoment(step, event.text, self.place((step,))[0])
                return None
            self.take()
            names = [*self.vocabulary.steps, *self.vocabulary.sessions]
            self.unknown(span, "step or session", token.text, names)
            return None
        if "." not in token.text:
            self.problem(
                "gate-syntax",
                span,
                f'"{token.text}" is no moment',
                f"write {token.text} done, {token.text} started or form.field",
            )
            return None
        fact = self.fact(token)
        if fact is not None and fact.kind not in ("instant", "date"):
            self.problem(
                "type-mismatch",
                span,
                f'"{fact.name}" is {_KINDS[fact.kind]}, not an instant',
                f"to ask how old the recording is write age of {fact.name}",
            )
            return None
        return fact

    def event(self, session: str, event: _Token, possible: tuple[str, ...]) -> bool:
        if event.text in possible:
            return True
        self.problem(
            "wrong-outcome",
            (event.start, event.end),
            f'the session "{session}" cannot be asked for "{event.text}" here',
            f"write {', '.join(possible)}",
        )
        return False

    def count(self) -> Count | None:
        token = self.name("a step or session")
        event = self.take()
        if event.kind != "word" or event.text in RESERVED:
            self.stop(event, "comes where an outcome such as done or held is expected")
        step = self.full(token.text, self.vocabulary.steps)
        session = self.full(token.text, self.vocabulary.sessions)
        if session is not None and (step is None or event.text in SESSION_COUNTS):
            good = self.event(session, event, SESSION_COUNTS)
            return Count(session, event.text) if good else None
        if step is not None:
            return Count(step, event.text) if self.outcome(step, event) else None
        names = [*self.vocabulary.steps, *self.vocabulary.sessions]
        self.unknown((token.start, token.end), "step or session", token.text, names)
        return None

    def total(self) -> Total | None:
        token = self.name("a fact")
        fact = self.fact(token)
        self.need("within")
        window = self.window()
        if fact is not None and (fact.kind != "number" or fact.unit.offset):
            self.problem(
                "type-mismatch",
                (token.start, token.end),
                f'"{fact.name}" is {_KINDS[fact.kind]} that cannot be summed up',
            )
            return None
        return None if fact is None or window is None else Total(fact, window)

    def round(self, span: _Span) -> Round | None:
        path = self.context.path
        around = [phase for phase in path if phase in self.vocabulary.repeated] or (
            [] if self.vocabulary.repeated else list(path)
        )
        if around:
            return Round(around[-1])
        self.problem("not-in-scope", span, "no phase with rounds is around this gate")
        return None

    def given(self, span: _Span) -> Given | None:
        session = self.vocabulary.sessions.get(self.context.session)
        measured = unit(session.dose_unit) if session and session.dose_unit else None
        if session is None or measured is None:
            self.problem(
                "not-in-scope",
                span,
                '"given" is what the session around a gate has given so far; here none gives',
            )
            return None
        return Given(session.name, measured)

    # Names.

    def use(self, token: _Token) -> Node | None:
        """A named gate, read anew in this context."""
        full = self.full(token.text, self.vocabulary.gates)
        span = (token.start, token.end)
        if full is None:
            self.bare(token, "gate", self.vocabulary.gates)
            return None
        if full in self.within:
            ring = " uses ".join([*self.within[self.within.index(full) :], full])
            self.problem(
                "gate-cycle", span, f"a gate cannot use itself: {ring}", "write one of them out"
            )
            return None
        gate = self.vocabulary.gates[full]
        if full not in self.known:
            if len(self.within) >= DEEPEST:
                hint = "write some of them out"
                message = f"gates use each other more than {DEEPEST} deep"
                raise _FaultError(Problem("gate-too-long", *span, message, hint))
            context = evolve(self.context, prefix=full.rpartition(".")[0])
            within = (*self.within, full)
            inner = _Reader(gate.text, self.vocabulary, context, self.known, within)
            node = inner.read()
            self.known[full] = node, inner.size
            for found in inner.problems[: MOST_PROBLEMS - len(self.problems)]:
                named = found.gate or full
                message = found.message if found.gate else f'in gate "{full}": {found.message}'
                self.problems.append(
                    evolve(found, start=span[0], end=span[1], message=message, gate=named)
                )
        node, size = self.known[full]
        self.size += size
        if self.size > MOST_IN_ALL:
            raise _FaultError(
                Problem(
                    "gate-too-long",
                    *span,
                    f"with the gates it uses, this one has more than {MOST_IN_ALL:,} conditions",
                    "use fewer gates in it",
                )
            )
        if node is None:
            return None
        may = gate.override.by if gate.override is not None and self.context.side == "go" else ()
        return Use(full, gate.says, node, tuple(may))

    def bare(self, token: _Token, wanted: str, names: Collection[str]) -> None:
        """A name without a dot that is none of those wanted here."""
        span, word = (token.start, token.end), token.text
        other = self.what_is(word)
        if other:
            way = {
                "gate": "a gate stands alone: it is not compared",
                "limit": f"compare a fact with it: form.field < {word}",
                "step": f"write {word} is done, or {word}.field",
                "form": f"write {word}.field",
                "session": f"write count of {word} held",
                "consent": f"write consent {word} in force",
                "phase": f"write time since entering {word}",
            }[other]
            self.problem("type-mismatch", span, f'"{word}" is a {other}, not a {wanted}', way)
        else:
            otherwise = _UNDECLARED.get(wanted, "")
            self.unknown(span, wanted, word, names, otherwise)

    def what_is(self, word: str) -> str:
        known = self.vocabulary
        tables: tuple[tuple[str, Collection[str]], ...] = (
            ("gate", known.gates),
            ("limit", known.limits),
            ("step", known.steps),
            ("form", known.forms),
            ("session", known.sessions),
            ("consent", known.consents),
            ("phase", known.phases),
        )
        return next((what for what, names in tables if self.full(word, names)), "")

    def dotted(self, token: _Token) -> Node | None:
        """A name with a dot that stands alone: a contained gate, or a field in need of a verb."""
        if self.full(token.text, self.vocabulary.gates) is not None:
            return self.use(token)
        fact = self.fact(token, recorded=True)
        if fact is not None:
            ways = {
                "yes_no": f"write {fact.name} is yes",
                "choice": f"write {fact.name} is … ",
                "choices": f"write {fact.name} has …",
            }
            self.problem(
                "gate-syntax",
                (token.start, token.end),
                f'"{fact.name}" is {_KINDS[fact.kind]}, not a condition',
                ways.get(fact.kind, f"compare it: {fact.name} < … ").strip(),
            )
        return None

    def fact(self, token: _Token, *, recorded: bool = False) -> Fact | None:
        """The field that `name.field` means here; with `recorded`, text will do as well."""
        span = (token.start, token.end)
        name, _, wanted = token.text.rpartition(".")
        if not name:
            if self.what_is(token.text):
                self.bare(token, "field", ())
            else:
                names = [*self.vocabulary.steps, *self.vocabulary.forms]
                self.unknown(span, "field", token.text, names, "a field is written form.field")
            return None
        found = self.recorder(name, span)
        if found is None:
            return None
        form_name, step = found
        form = self.vocabulary.forms.get(form_name)
        if form is None:
            self.problem("unknown-name", span, f'there is no form "{form_name}"')
            return None
        fact = self.field(form, wanted, token)
        if fact is None:
            return None
        if fact.kind == "text" and not recorded:
            self.problem(
                "type-mismatch",
                span,
                f'"{token.text}" is free text, which no gate can judge',
                f"ask whether {token.text} is recorded, or make it a choice",
            )
            return None
        steps = (
            (step,)
            if step
            else tuple(s.name for s in self.vocabulary.steps.values() if s.form == form_name)
        )
        if not steps and not (form.any_time or form.by):
            self.problem(
                "never-recorded",
                span,
                f'no step records "{form_name}", so this is always unknown',
                f"add a step with record: {form_name}",
            )
            return None
        scope, inside = self.place(steps)
        skipped = tuple(
            (s, _declared(fact.kind, self.vocabulary.steps[s].if_skipped[wanted]))
            for s in inside
            if wanted in self.vocabulary.steps[s].if_skipped
        )
        return evolve(
            fact,
            step=step,
            scope=scope,
            by=inside,
            skipped=skipped,
            expires=self.context.side == "go" and bool(form.valid_for),
        )

    def recorder(self, name: str, span: _Span) -> tuple[str, str] | None:
        """The form and the step (or "") that the first half of a fact names."""
        session = self.vocabulary.sessions.get(self.context.session)
        watches = [s.watch_step for s in self.vocabulary.sessions.values() if s.watch_step]
        step = self.full(name, self.vocabulary.steps)
        if name == "watch":
            if session is None or not session.watch_step:
                self.problem(
                    "not-in-scope",
                    span,
                    '"watch" is the watch of the session around a gate; here there is none',
                    "elsewhere read the form: last 1 of form.field",
                )
                return None
            step = session.watch_step
        elif step in watches:
            self.problem(
                "not-in-scope",
                span,
                f'"{name}" is not read by this name',
                "write watch.field inside the session, last 1 of form.field elsewhere",
            )
            return None
        if step is not None:
            info = self.vocabulary.steps.get(step)
            if info is None or not info.form:
                self.problem("never-recorded", span, f'the step "{name}" records no form')
                return None
            return info.form, step
        if name in self.vocabulary.forms:
            return name, ""
        names = [*self.vocabulary.steps, *self.vocabulary.forms]
        self.unknown(span, "step or form", name, names)
        return None

    def field(self, form: Form, wanted: str, token: _Token) -> Fact | None:
        """A field or score of a form, without its place yet."""
        if wanted in form.fields:
            asked = form.fields[wanted]
            kind = _KIND_OF[asked.type]
            measured = SECONDS if asked.type == "duration" else unit(asked.unit)
            if measured is None:
                self.problem(
                    "unit-unknown",
                    (token.start, token.end),
                    f'"{token.text}" has an unknown unit "{asked.unit[:40]}"',
                )
                return None
            options = tuple(asked.options.items()) if kind != "yes_no" else _YES_NO
            return Fact(
                name=token.text,
                form=form.name,
                field=wanted,
                kind=kind,
                unit=measured,
                label=asked.label,
                options=options,
            )
        for score in form.computed:
            if wanted == score.name:
                name, label = token.text, score.label
                return Fact(name, form.name, wanted, "number", unit=POINTS, label=label)
            if wanted == f"{score.name}_band" and score.bands:
                return Fact(
                    name=token.text,
                    form=form.name,
                    field=wanted,
                    kind="choice",
                    label=f"{score.label} band",
                    options=tuple((band.name, band.label) for band in score.bands),
                )
        scores = [name for s in form.computed for name in (s.name, f"{s.name}_band")]
        span = (token.start + token.text.rindex(".") + 1, token.end)
        self.unknown(span, f'field of "{form.name}" called', wanted, [*form.fields, *scores])
        return None

    def place(self, steps: tuple[str, ...]) -> tuple[Scope, tuple[str, ...]]:
        """The innermost enclosing place in which one of the steps is done, and which are."""
        known, session = self.vocabulary, self.context.session
        infos = [known.steps[name] for name in steps]
        path = self.context.path
        if session:
            inside = tuple(s.name for s in infos if s.session == session)
            if inside:
                return Scope(session, "session"), inside
            path = path or known.sessions[session].path
        for phase in reversed(path):
            held = tuple(
                kind
                for kind, info in known.sessions.items()
                if phase in info.path
                or any(s.holds == kind and phase in s.path for s in known.steps.values())
            )
            inside = tuple(s.name for s in infos if phase in s.path or s.session in held)
            if inside:
                return Scope(phase, "phase"), inside
        return Scope(), steps

    # Types.

    def typed(self, node: Compare, left: _Span, right: _Span) -> bool:
        """Whether two sides can be compared; notes why not."""
        sides = ((node.left, left), (node.right, right))
        if all(isinstance(atom, Number) for side, _ in sides for _, atom in side):
            whole = (left[0], right[1])
            self.problem("no-fact", whole, "this compares no fact, so it never changes")
            return False
        kinds = {a.kind for side, _ in sides for _, a in side if isinstance(a, Fact)}
        points = kinds & {"instant", "date"}
        if others := sorted(kinds - {"number", "instant", "date"}):
            fact = next(
                a for s, _ in sides for _, a in s if isinstance(a, Fact) and a.kind == others[0]
            )
            span = left if any(a is fact for _, a in node.left) else right
            way = "has" if fact.kind == "choices" else "is"
            self.problem(
                "type-mismatch",
                span,
                f'"{fact.name}" is {_KINDS[fact.kind]} and not a number',
                f"write {fact.name} {way} {fact.options[0][0] if fact.options else '…'}",
            )
            return False
        if points:
            atoms = [a for side, _ in sides for _, a in side]
            alike = len(kinds) == 1 and all(isinstance(a, Fact) for a in atoms)
            if alike and all(len(side) == 1 and side[0][0] == 1 for side, _ in sides):
                return True
            kind = sorted(points)[-1]
            fact = next(a for a in atoms if isinstance(a, Fact) and a.kind == kind)
            self.problem(
                "type-mismatch",
                (left[0], right[1]),
                f'"{fact.name}" is {_KINDS[kind]}; it can only be compared with another one',
                f"to compare a length of time write time since {fact.name}",
            )
            return False
        return self.measured(node, left, right)

    def measured(self, node: Compare, left: _Span, right: _Span) -> bool:
        """Whether the units of all that is added and compared are of one dimension."""
        every = [(a, left) for _, a in node.left] + [(a, right) for _, a in node.right]
        first = next((a for a, _ in every if not isinstance(a, Number)))
        for atom, span in every:
            if atom.unit.dimension == first.unit.dimension:
                continue
            if isinstance(atom, Number) and atom.unit == NONE and not atom.limit:
                name = why.written_atom(first)
                self.problem(
                    "unit-missing",
                    span,
                    f'"{name}" is measured in {first.unit.written}; {atom.value} has no unit',
                    f"write {atom.value} {first.unit.written}",
                )
                return False
            one, other = (why.written_atom(a) for a in (first, atom))
            self.problem(
                "unit-mismatch",
                span,
                f'"{one}" is {_amount(first.unit)} and "{other}" is {_amount(atom.unit)}',
                f"write a {first.unit.measures}"
                + (f" in {first.unit.written}" if first.unit.written else ""),
            )
            return False
        added = len(every) > 2 or any(f != 1 for f, _ in (*node.left, *node.right))
        if added and any(a.unit.offset for a, _ in every):
            self.problem(
                "unit-mismatch", (left[0], right[1]), "temperatures can be compared, not added"
            )
            return False
        timed = any(isinstance(a, Elapsed) for a, _ in every)
        days = [a for a, _ in every if isinstance(a, Number) and a.unit.code in ("d", "wk")]
        single = elapsed_span(node)
        if timed and days and not (single and single[1].calendar):
            self.problem(
                "unit-mismatch",
                (left[0], right[1]),
                f"{days[0]} counts dates on the calendar and cannot be reckoned with here",
                "write h: 24 h are elapsed time",
            )
            return False
        if timed and any(
            isinstance(a, Number) and a.value and not self.lifetime(a) for a, _ in every
        ):
            self.problem("type-mismatch", right, "this is no length of time that anybody waits for")
            return False
        return True


_KIND_OF: Mapping[FieldType, Kind] = {
    "integer": "number",
    "decimal": "number",
    "duration": "number",
    "choice": "choice",
    "choices": "choices",
    "yes_no": "yes_no",
    "text": "text",
    "date": "date",
    "instant": "instant",
}
_YES_NO = (("yes", "yes"), ("no", "no"))
_KINDS: Mapping[Kind, str] = {
    "number": "a number",
    "instant": "an instant",
    "date": "a date",
    "choice": "a choice",
    "choices": "a list of choices",
    "yes_no": "a yes or no",
    "text": "free text",
}
_UNDECLARED = {
    "gate": "declare it under gates, or write the condition out",
    "limit": "write a number, or declare it under limits",
}
_REMINDERS = {
    "in": "a consent is asked so: consent nad in force",
    "watch": "write watch.field",
    "recorded": "write form.field is recorded",
}


def _declared(kind: Kind, raw: Raw) -> Raw:
    """What a skipped field reads as, from the word of the file."""
    if kind == "yes_no" and isinstance(raw, str):
        return raw == "yes"
    if kind == "choices" and isinstance(raw, str):
        return [raw]
    return raw


def _amount(measured: Unit) -> str:
    if measured == NONE:
        return "a plain number"
    return f"a {measured.measures} ({measured.written})"
