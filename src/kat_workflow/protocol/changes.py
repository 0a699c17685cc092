"""What is otherwise between two versions of a program, as a clinician reads it.

Compiled programs are compared, never texts: a file that is only written otherwise has no changes.
Every attribute of the model stands in one of the tables here, or among those that follow from
others. What loosens a safeguard says so and stands first; where a condition's form does not tell
whether it is stricter, that is said too, and it stands there as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
from attrs import frozen

from kat_workflow.enrollment.renaming import names_between
from kat_workflow.program import model as m
from kat_workflow.program.forms import Band, Field, Form
from kat_workflow.program.gates import Test
from kat_workflow.program.truth import Node, Use
from kat_workflow.program.units import parse_quantity
from kat_workflow.protocol import Point, Points, Section, plain
from kat_workflow.protocol.aspects import (
    KINDS,
    PROGRAM,
    READY,
    TABLES,
    UNTOLD,
    Aspect,
    Entries,
    Inner,
    Patients,
    Table,
    Versions,
    alerts,
    conditions_of,
    figure,
)
from kat_workflow.protocol.strictness import (
    Way,
    compare,
    flipped,
    holding,
    raising,
    within,
)
from kat_workflow.protocol.words import (
    Words,
    clean,
    listed,
    number,
    raw_in_words,
    spoken,
)

__all__ = ["Change", "Patients", "as_data", "changes", "in_words"]

_FOR_PATIENTS: Mapping[Patients, str] = {
    "none": "nothing",
    "now": "from the change of version on",
    "next": "from the next item or session on; what is open stays as it is",
    "mapping": "whoever is in the midst of it is not moved before it is over",
}


@frozen
class Change:
    """One thing that is otherwise.

    `kind` is what it is about (`step`, `limit`, …), `name` its name in the newer version (in the
    older, if it is gone), `what` the same in words with the part that is otherwise; `before` and
    `now` are in words, "" where nothing stands. `loosens` says which safeguard it loosens, or may
    loosen; "" for none.
    """

    kind: str
    name: str
    what: str
    before: str
    now: str
    loosens: str
    patients: Patients


def changes(old: m.Program, new: m.Program) -> tuple[Change, ...]:
    """Everything that is otherwise in a newer version, what loosens a safeguard first."""
    found = list(_Comparing(old, new).all())
    return tuple(sorted(found, key=lambda each: not each.loosens))


def as_data(old: m.Program, new: m.Program) -> dict[str, Any]:
    """The same as JSON values; `format` counts up if this shape ever changes."""
    return {
        "format": 1,
        "before": {"program": old.id, "version": old.version, "digest": old.digest},
        "now": {"program": new.id, "version": new.version, "digest": new.digest},
        "changes": [attrs.asdict(each) for each in changes(old, new)],
    }


def in_words(old: m.Program, new: m.Program) -> Section:
    """The same as a text to read: see `protocol.as_markdown` and `as_rich`."""
    found = changes(old, new)
    names = [f"{each.id} {each.version} (digest {each.digest[:12]})" for each in (old, new)]
    title = f"What changed from {clean(names[0])} to {clean(names[1])}"
    if not found:
        same = "Nothing: both mean the same."
        anew = " The files are written otherwise, so that the digest is another."
        return Section(title, (same if old.digest == new.digest else same + anew,))
    about = (
        "Patients under way stay with the version they have. What a change is for them holds for "
        "those whom somebody lets go on by the newer one (change version)."
    )
    first = tuple(_point(each) for each in found if each.loosens)
    parts = [Section("Safeguards that are loosened, or may be", (Points(first),))] if first else []
    for kind, heading in _HEADINGS.items():
        points = tuple(_point(x) for x in found if x.kind == kind and not x.loosens)
        parts += [Section(heading, (Points(points),))] if points else []
    return Section(title, (about,), tuple(parts))


def _point(change: Change) -> Point:
    before, now = change.before.rstrip("."), change.now.rstrip(".")
    under: tuple[Point, ...] = ()
    if not before:
        said = f"new: {now}" if now else "new"
    elif not now:
        said = f"gone; it was: {before}"
    elif len(before) + len(now) < _LONG:
        said = f"from {before} to {now}"
    else:
        said, under = "changed", (Point("before", before), Point("now", now))
    loosens = f" Safety: {change.loosens}." if change.loosens else ""
    under_way = _FOR_PATIENTS[change.patients]
    text = f"{said}.{loosens} Patients under way: {under_way}."
    return Point(change.what, text, under)


_LONG = 100  # what is longer than a line is read one under the other
_HEADINGS = {
    "program": "The program",
    "phase": "Phases",
    "step": "Steps",
    "session": "Sessions",
    "limit": "Limits",
    "gate": "Conditions",
    "form": "Forms",
    "order": "Orders",
    "medicine": "Medicines",
    "ledger": "Ledgers",
    "group": "Groups",
    "consent": "Consents",
    "rule": "Safety rules",
    "end": "Ends",
    "role": "Roles",
    "source": "Sources",
}


# --- comparing ------------------------------------------------------------------------------------


_FREE = frozenset(("title", "about", "says", "label", "options", "reason"))
"""Attributes that are words for people, in which no name of the program stands."""


class _Comparing:
    def __init__(self, old: m.Program, new: m.Program) -> None:
        self.old, self.new = old, new
        phases, steps, forms = names_between(old, new)
        self.names: Mapping[str, str] = {**forms, **phases, **steps}
        self.both = Versions(old, new, self.names)
        self.was, self.now = Words(old), Words(new)

    def all(self) -> Iterator[Change]:
        yield from self.aspects("program", self.new.id, "The program", self.old, self.new, PROGRAM)
        for table in TABLES:
            yield from self.table(table)
        yield from self.roles()
        yield from self.rules()
        its = alerts("an alert at any time")
        pair = (self.old.alerts, self.new.alerts)
        yield from self.entries("program", self.new.id, "", self.old, self.new, *pair, its)

    def table(self, table: Table) -> Iterator[Change]:
        was, now = getattr(self.old, table.attr), getattr(self.new, table.attr)
        before = {self.names.get(name, name): each for name, each in was.items()}
        for name, each in now.items():
            whole = self.title(table, self.now, each)
            if name not in before:
                said = table.says(self.now, each)
                yield Change(table.kind, name, whole, "", said, "", table.come)
                continue
            old = before[name]
            if old.name != name:
                what = f"{whole}, its name in the record"
                yield Change(table.kind, name, what, old.name, name, "", "now")
            yield from self.aspects(table.kind, name, whole, old, each, KINDS[type(each)])
            if isinstance(each, m.Limit):
                yield from self.limit(whole, old, each)
            elif isinstance(each, m.Gate):
                yield from self.gate(whole, old, each)
            elif isinstance(each, Form):
                yield from self.fields(whole, old, each)
        for name, each in before.items():
            if name not in now:
                whole = self.title(table, self.was, each)
                said = table.says(self.was, each)
                yield Change(table.kind, each.name, whole, said, "", table.gone, table.goes)

    def title(self, table: Table, words: Words, each: Any) -> str:
        if isinstance(each, m.Gate):
            return f"{table.called} {words.gate(each.name)}"
        return f"{table.called} {words.quoted(table.attr, each.name)}"

    # a thing and its parts

    def aspects(
        self,
        kind: str,
        name: str,
        whole: str,
        old: Any,
        new: Any,
        table: Mapping[str, Aspect | Inner | Entries],
    ) -> Iterator[Change]:
        for attr, aspect in table.items():
            was, now = getattr(old, attr), getattr(new, attr)
            if isinstance(aspect, Entries):
                if aspect.label:
                    yield from self.entries(kind, name, whole, old, new, was, now, aspect)
            elif isinstance(aspect, Inner):
                yield from self.inner(kind, name, whole, old, new, was, now, aspect)
            elif not self.same(was, now, attr):
                says = aspect.says or _as_it_is
                before, after = says(self.was, old, was), says(self.now, new, now)
                loosens = aspect.loosens(self.both, new, was, now)
                what = f"{whole}, {aspect.label}"
                yield Change(kind, name, what, before, after, loosens, aspect.patients)

    def inner(
        self, kind: str, name: str, whole: str, old: Any, new: Any, was: Any, now: Any, its: Inner
    ) -> Iterator[Change]:
        what = f"{whole}, {its.label}"
        if was is not None and now is not None:
            yield from self.aspects(kind, name, what, was, now, KINDS[type(now)])
        elif was is not None:
            said = its.says(self.was, old, was) if its.says else _whole(self.was, was)
            yield Change(kind, name, what, said, "", its.gone, its.patients)
        elif now is not None:
            said = its.says(self.now, new, now) if its.says else _whole(self.now, now)
            yield Change(kind, name, what, "", said, its.come, its.patients)

    def entries(
        self,
        kind: str,
        name: str,
        whole: str,
        old: Any,
        new: Any,
        was: Sequence[Any],
        now: Sequence[Any],
        its: Entries,
    ) -> Iterator[Change]:
        gone, come, pairs = self.paired(was, now, its)
        before_at, now_at = ({id(x): at for at, x in enumerate(each)} for each in (was, now))
        pairs.sort(key=lambda pair: now_at[id(pair[1])])
        order = [before_at[id(pair[0])] for pair in pairs]
        moved = order != sorted(order)
        if len(gone) == len(come):  # each in another's place
            pairs += zip(gone, come, strict=True)
            gone, come = [], []
        what = f"{whole}, {its.label}".removeprefix(", ")
        for before, after in pairs:
            said = its.says(self.was, old, before), its.says(self.now, new, after)
            if isinstance(after, Test):
                if not self.same(before, after, ""):
                    loosens = READY(self.both, new, before, after)
                    yield Change(kind, name, what, *said, loosens, its.patients)
                continue
            if its.title is not None:
                part = f"{what} {its.title(self.now, new, after)}".strip()
                yield from self.aspects(kind, name, part, before, after, KINDS[type(after)])
                continue
            found_ = list(self.aspects(kind, name, what, before, after, KINDS[type(after)]))
            if found_:
                loosens = "; ".join(dict.fromkeys(x.loosens for x in found_ if x.loosens))
                patients: Patients = "now"
                if all(x.patients == "none" for x in found_):
                    patients = "none"
                yield Change(kind, name, what, *said, loosens, patients)
        for each in gone:
            said_ = its.says(self.was, old, each)
            yield Change(kind, name, what, said_, "", its.gone, its.patients)
        for each in come:
            said_ = its.says(self.now, new, each)
            yield Change(kind, name, what, "", said_, its.come, its.patients)
        if moved and its.ordered:
            before = "; ".join(its.says(self.was, old, x) for x in was)
            after = "; ".join(its.says(self.now, new, x) for x in now)
            yield Change(kind, name, f"{what}, in which order", before, after, its.ordered, "now")

    def paired(
        self, was: Sequence[Any], now: Sequence[Any], its: Entries
    ) -> tuple[list[Any], list[Any], list[tuple[Any, Any]]]:
        """Which entries went, which came, and which are compared: the same, then those that are
        called the same."""
        gone, come, pairs = list(was), list(now), []
        for key in (lambda x: _unnamed(plain(x)), its.called):
            for each in list(come):
                found = next((x for x in gone if self.renamed(key(x)) == key(each)), None)
                if found is not None:
                    gone.remove(found)
                    come.remove(each)
                    pairs.append((found, each))
        return gone, come, pairs

    # what is told in a way of its own

    def limit(self, whole: str, old: m.Limit, new: m.Limit) -> Iterator[Change]:
        if (old.value, old.unit) == (new.value, new.unit):
            return
        was, now = (parse_quantity(f"{x.value} {x.unit}".strip()) for x in (old, new))
        where: list[str] = []
        if was is None or now is None or was.unit.dimension != now.unit.dimension:
            where = [UNTOLD]
        else:
            up = now.unit.convert(now.value, was.unit) - Fraction(was.value)
            for test, judge, place in conditions_of(self.new):
                way = raising(test.tree, new.name)
                where += [
                    f"{place}: {said}"
                    for said in [judge.said(way if up > 0 else flipped(way))]
                    if said and up
                ]
        loosens = f"a limit is loosened ({'; '.join(dict.fromkeys(where))})" if where else ""
        yield Change("limit", new.name, whole, figure(old), figure(new), loosens, "now")

    def gate(self, whole: str, old: m.Gate, new: m.Gate) -> Iterator[Change]:
        if self.plain(old.text, "text") == new.text:
            return
        was, now = (self.node(of, gate.name) for of, gate in ((self.old, old), (self.new, new)))
        way: Way = "unclear" if was is None or now is None else compare(was, now, self.names)
        if way == "same":
            return
        where = []
        for test, judge, place in conditions_of(self.new):
            effect = holding(test.tree, new.name)
            if effect != "same" and (said := judge.said(_both(way, effect))):
                where.append(f"{place}: {said}".removesuffix(f": {UNTOLD}"))
        said_ = (
            self.was.condition(old.text, old.name),
            self.now.condition(new.text, new.name),
        )
        places = "; ".join(dict.fromkeys(where))
        unclear = f"a condition is another one, and {UNTOLD}"
        says = unclear if way == "unclear" else "a condition is loosened"
        loosens = f"{says} ({places})" if places else ""
        yield Change("gate", new.name, whole, *said_, loosens, "now")

    def node(self, program: m.Program, gate: str) -> Node | None:
        """A gate's condition where it is used."""
        for test, _, _ in conditions_of(program):
            for each in within(test.tree):
                if isinstance(each, Use) and each.gate == gate:
                    return each.node
        return None

    def fields(self, whole: str, old: Form, new: Form) -> Iterator[Change]:
        for name, field in new.fields.items():
            what = f"{whole}, “{clean(field.label or spoken(name))}”"
            was = old.fields.get(name)
            if was is None:
                yield Change("form", new.name, what, "", "asked as well", "", "now")
            else:
                yield from self.aspects("form", new.name, what, was, field, KINDS[Field])
        for name, field in old.fields.items():
            if name not in new.fields:
                what = f"{whole}, “{clean(field.label or spoken(name))}”"
                gone = "a question is dropped"
                yield Change("form", new.name, what, "asked", "", gone, "now")

    def roles(self) -> Iterator[Change]:
        was, now = self.old.roles, self.new.roles
        for name in dict.fromkeys((*now, *was)):
            before, after = clean(was.get(name, "")), clean(now.get(name, ""))
            if before != after:
                yield Change("role", name, f"Role “{after or before}”", before, after, "", "none")

    def rules(self) -> Iterator[Change]:
        entries = {
            "never": Entries("Never", lambda words, _, x: f"{words.quoted('sessions', x.start)} "
                              f"unless {words.condition(x.unless.text)}",
                              lambda x: x.start, gone="a safety rule is dropped"),
            "always_after": Entries("Always", lambda words, _, x: f"{' '.join(x.then)} within "
                                     f"{x.within} after {' '.join(x.source)}",
                                     lambda x: (x.source, x.then), gone="a safety rule is dropped"),
        }  # fmt: skip
        for attr, its in entries.items():
            pair = getattr(self.old, attr), getattr(self.new, attr)
            yield from self.entries("rule", attr, "", self.old, self.new, *pair, its)
        was, now = self.old.always_possible, self.new.always_possible
        what = "Always possible"
        for name in was:
            if name not in now:
                gone = "an end need not stay reachable"
                said = self.was.quoted("ends", name)
                yield Change("rule", "always_possible", what, said, "", gone, "none")
        for name in now:
            if name not in was:
                said = self.now.quoted("ends", name)
                yield Change("rule", "always_possible", what, "", said, "", "none")

    # names that are other ones now

    def same(self, was: Any, now: Any, attr: str) -> bool:
        """Whether a value means the same in both versions, however it is written."""
        if self.plain(was, attr) == plain(now):
            return True
        conditions = isinstance(was, Test | None) and isinstance(now, Test | None)
        return conditions and compare(was, now, self.names) == "same"

    def plain(self, value: Any, attr: str) -> Any:
        """A value of the older version, with the names of the newer."""
        return plain(value) if attr in _FREE else self.renamed(plain(value))

    def renamed(self, value: Any) -> Any:
        if not self.names:
            return value
        if isinstance(value, str):
            return _NAME.sub(lambda found: self.name(found[0]), value)
        if isinstance(value, (tuple, list)):
            return type(value)(map(self.renamed, value))
        if isinstance(value, dict):
            return {self.renamed(key): self.renamed(each) for key, each in value.items()}
        return value

    def name(self, name: str) -> str:
        """A name, or the name with which a fact's begins."""
        if name in self.names:
            return self.names[name]
        head, dot, tail = name.rpartition(".")
        return f"{self.name(head)}.{tail}" if dot else name


_NAME = re.compile(r"[A-Za-z_][\w.]*")


def _unnamed(entry: Any) -> Any:
    """Without the name that only says at which place it is."""
    return {**entry, "name": ""} if isinstance(entry, dict) else entry


def _both(way: Way, effect: Way) -> Way:
    """A gate became so, and stands in a condition to this effect."""
    return "unclear" if effect == "unclear" else way if effect == "weaker" else flipped(way)


def _as_it_is(_: Words, __: Any, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{spoken(key)}: {raw_in_words(each)}" for key, each in value.items())
    if isinstance(value, frozenset):
        value = sorted(value)
    if isinstance(value, (tuple, list)):
        return listed(_as_it_is(_, __, each) for each in value)
    if isinstance(value, Band):
        return f"{number(value.low)} {spoken(value.name)}"
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return "" if value is None else clean(str(value))


def _whole(words: Words, thing: Any) -> str:
    """A thing that has no sentence of its own: its parts."""
    said = []
    for attr, aspect in KINDS[type(thing)].items():
        value = getattr(thing, attr)
        if isinstance(aspect, Aspect) and value:
            says = aspect.says or _as_it_is
            said.append(f"{aspect.label}: {says(words, thing, value)}")
    return "; ".join(said)
