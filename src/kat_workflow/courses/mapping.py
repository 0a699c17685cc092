"""The mapping: how the rows of a source become commands, written down in a YAML file.

A source is a folder of CSV tables in which a column names the patient and days are counted from
some day zero. For each table the mapping says which rows mean what: enroll, do a phrase with
values, tell only a fact (an arm), or be compared with a number of a program. What no rule takes,
and what is left out on purpose, is counted with its reason. Columns become words of the program
through tables in the mapping, never in code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from kat_workflow.courses.typed import typed
from kat_workflow.errors import KatError

__all__ = ["Action", "BadMapping", "Column", "Fact", "LeftOut", "Rule", "SourceMapping", "Table"]

Where = Mapping[str, str | tuple[str, ...]]
"""Columns or facts by name, and the text (one of the texts) that each must be; "" is empty."""

_UNSET = frozenset(["", "0", "no", "false"])

Words = Mapping[str, Mapping[str, str]]
"""Lists by name: what is written in the source, and the word for it."""


class BadMapping(KatError):
    """A mapping that cannot be read; the text names the file and the place."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What every part of a mapping is: a mapping of known keys."""


class Column(_Part, frozen=True):
    """A further column of a table, made of others.

    `of` is translated by the list of `words`; a text that is not in the list is kept as it is.
    `flags` joins the words of those columns that are set: not empty, nor a zero or a "no". `none`
    is what it is without any.
    """

    of: str = ""
    words: str = ""
    flags: Mapping[str, str] = {}
    none: str = ""

    def value(self, row: Mapping[str, str], lists: Words) -> str:
        """What it is in a row."""
        if self.flags:
            said = [
                word for name, word in self.flags.items() if row.get(name, "").lower() not in _UNSET
            ]
            return ", ".join(said) or self.none
        found = row.get(self.of, "")
        return lists.get(self.words, {}).get(found, found) or self.none


class Fact(_Part, frozen=True):
    """What one row of a table says about a patient, known to the rows of all tables."""

    table: str
    column: str
    where: Where = {}
    words: str = ""


class Action(_Part, frozen=True):
    """A phrase with its values, or an enrollment in a program."""

    do: str = ""
    enroll: str = ""
    values: Mapping[str, str] = field(default={}, name="with")
    reason: str = ""


class Comparison(_Part, frozen=True):
    """A number of the source that a limit of a program must equal."""

    program: str
    limit: str
    equals: str


class Rule(_Part, frozen=True):
    """What rows that fit `where` mean; the first rule that fits is the one.

    The row is applied if `do`, or else the first of `otherwise` that is not refused, was carried
    out. `before` and `then` are done around it and are no rows. `fact: true`: the row is used as
    a fact alone. Without a day of its own a row may happen on the `first` day of the patient's
    rows, or when a step was `planned`.
    """

    where: Where = {}
    do: str = ""
    enroll: str = ""
    values: Mapping[str, str] = field(default={}, name="with")
    reason: str = ""
    before: tuple[Action, ...] = ()
    otherwise: tuple[Action, ...] = ()
    then: tuple[Action, ...] = ()
    fact: bool = False
    compare: Comparison | None = None
    first: bool = False
    planned: str = ""

    @property
    def action(self) -> Action:
        """What the row itself is."""
        return Action(self.do, self.enroll, self.values, self.reason)


class LeftOut(_Part, frozen=True):
    """Rows that are not mapped, and the code of why."""

    where: Where
    because: str


class Table(_Part, frozen=True):
    """A CSV file of the source. `day` is the column of the study day, "" where it has none."""

    about: str = ""
    day: str = ""
    patient: bool = True
    columns: Mapping[str, Column] = {}
    left_out: tuple[LeftOut, ...] = ()
    rules: tuple[Rule, ...] = ()


class Doses(_Part, frozen=True):
    """The table whose amounts must add up to what the journal says was given."""

    table: str
    amount: str


class Person(_Part, frozen=True):
    """By whom everything is reported."""

    name: str
    roles: tuple[str, ...]


class SourceMapping(_Part, frozen=True):
    """A whole mapping, as read.

    `program` is the program of a patient, with facts in it: `ctn-{fact.project}-{fact.arm}`.
    `anchors` tell on which day (a fact) a step was done from which others are counted. `seen`
    are the forms that prove that a patient was there, for the lengths of stages; `empty` the texts
    that a source writes where it has nothing.
    """

    replay: int
    title: str
    patient: str
    day_zero: str
    clock: str
    person: Person
    program: str
    tables: Mapping[str, Table]
    about: str = ""
    zone: str = "UTC"
    site: str = ""
    empty: tuple[str, ...] = ()
    words: Words = {}
    facts: Mapping[str, Fact] = {}
    anchors: Mapping[str, str] = {}
    left_out: tuple[LeftOut, ...] = ()
    seen: tuple[str, ...] = ()
    doses: Doses | None = None
    file: str = ""

    @property
    def noon(self) -> datetime:
        """The instant of day zero, in UTC."""
        local = datetime.fromisoformat(f"{self.day_zero} {self.clock}")
        return local.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)

    @staticmethod
    def load(path: str | Path) -> SourceMapping:
        """Read a mapping file. Raises BadMapping, which names the place."""
        path = Path(path)
        mapping, document = typed(path, SourceMapping, BadMapping, _text)
        mapping = msgspec.structs.replace(mapping, file=str(path))
        try:
            mapping.noon.utcoffset()
        except (ValueError, KeyError) as error:
            raise BadMapping(f"{path}: day_zero, clock or zone: {error}") from error
        if mapping.replay != 1:
            raise BadMapping(f"{path}: this release reads replay: 1, not {mapping.replay}")
        for name, table in mapping.tables.items():
            for count, rule in enumerate(table.rules):
                place, _, _ = document.place(("tables", name, "rules", count), "value")
                _sound(path, place.line, rule)
        return mapping


def _sound(path: Path, line: int, rule: Rule) -> None:
    said = [bool(rule.do), bool(rule.enroll), rule.fact, rule.compare is not None]
    if sum(said) != 1:
        raise BadMapping(f"{path}:{line}: a rule says one of do:, enroll:, fact: true and compare:")
    for action in (*rule.before, *rule.otherwise, *rule.then):
        if bool(action.do) == bool(action.enroll):
            raise BadMapping(f"{path}:{line}: an action says do: or enroll:, one of them")


def _text(value: Any) -> Any:
    """Numbers of the file as the texts that the tables hold; truth values stay what they are."""
    if value is None:
        return ""
    return value if isinstance(value, bool) else str(value)
