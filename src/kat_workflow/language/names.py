"""Names: what is declared where, who uses it, and what a writer may have meant.

Every file of a program is compiled as a `Unit`: the program's own file, and one for each
program it contains, whose names all get a prefix (`detox.day`). A name is looked up with the
prefix of the file it stands in, so that a contained file reads as it does alone; what is shared
(roles, sources, forms) has no prefix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from attrs import frozen

from kat_workflow.errors import Finding
from kat_workflow.language import grammar
from kat_workflow.language.findings import closest
from kat_workflow.language.reader import Document
from kat_workflow.program import gates

__all__ = ["KINDS", "RESERVED", "SHARED", "Entry", "Names", "Path", "Report", "Unit", "in_words"]

Path = tuple[str | int, ...]
"""Where something stands in a file: keys of mappings and indices of lists."""

KINDS: Mapping[str, str] = {
    "roles": "role",
    "sources": "source",
    "consents": "consent",
    "limits": "limit",
    "gates": "gate",
    "forms": "form",
    "phases": "phase",
    "steps": "step",
    "sessions": "session",
    "groups": "group",
    "ends": "end",
    "escalations": "escalation",
    "orders": "order",
    "medicines": "medicine",
    "ledgers": "ledger",
}
"""The tables of names, and what one of their names is called."""

SHARED = frozenset({"roles", "sources", "forms"})
"""Tables whose names mean the same in a program and in those it contains."""

RESERVED = gates.RESERVED | {"finish", "back", "opening", "yes", "no"}
"""Words that gates, `to` and `counted_from` use themselves."""

_APART = frozenset({"roles", "sources"})


@frozen(eq=False)
class Unit:
    """One program file as a part of the whole.

    `inside` is the full name of the phase that contains it ("" for the program itself), `prefix`
    what its names begin with, `outer` the file that contains it.
    """

    document: Document
    written: grammar.Program
    prefix: str = ""
    outer: Unit | None = None
    inside: str = ""

    def full(self, table: str, word: str) -> str:
        """What a name of this file is called in the whole."""
        return word if table in SHARED else self.prefix + word


@frozen(eq=False)
class Entry:
    """Where a name was declared."""

    document: Document
    path: Path


class Report:
    """All findings, as they are found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(
        self,
        document: Document,
        code: str,
        path: Path,
        message: str,
        hint: str = "",
        *,
        on: Literal["key", "value"] = "value",
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """One more finding, at the value (or the key) that a path leads to."""
        finding = document.finding(code, path, message, hint, on=on, severity=severity)
        self.findings.append(finding)


class Names:
    """The tables of names, and which of them have been used.

    `lost` are those that could not be given: whoever asks for them is not at fault.
    """

    def __init__(self, report: Report) -> None:
        self.tables: dict[str, dict[str, Entry]] = {table: {} for table in KINDS}
        self._report = report
        self.lost: set[str] = set()
        self._used: set[tuple[str, str]] = set()

    def declare(
        self,
        table: str,
        unit: Unit,
        name: str,
        path: Path,
        document: Document,
        *,
        same_as: str = "",
    ) -> bool:
        """Whether the name could be given; a finding if it is reserved or taken.

        Names are used once in a program; only a step may be called as the form it records
        (`same_as`). Roles and sources are tables of their own.
        """
        kind = KINDS[table]
        full = unit.full(table, name)
        if name in RESERVED and table not in _APART:
            code, message = "name-reserved", f'"{name}" is a word of the language, not a {kind}'
            hint = f'call it "the_{name}", or better'
        else:
            other = self._taken(table, full, same_as)
            if not other:
                self.tables[table][full] = Entry(document, path)
                return True
            code, message = "name-taken", f'there is a {other} "{name}" already'
            hint = "every name is used once in a program, so that a gate can mean only one thing"
        self._report.add(document, code, path, message, hint, on="key")
        self.lost.add(full)
        return False

    def _taken(self, table: str, full: str, same_as: str) -> str:
        """What else is called so, in words, or ""."""
        rivals = (table,) if table in _APART else tuple(KINDS.keys() - _APART)
        for other in sorted(rivals):
            its_form = table == "steps" and other == "forms" and full == same_as
            if full in self.tables[other] and not its_form:
                return KINDS[other]
        return ""

    def find(
        self,
        table: str,
        unit: Unit,
        word: str,
        path: Path,
        *,
        among: Collection[str] | None = None,
        where: str = "",
    ) -> str | None:
        """The full name that a word means, or None and a finding.

        `among` narrows what may be meant here, and `where` says so in words. A word that is
        missing has its finding already.
        """
        if not word:
            return None
        full = unit.full(table, word)
        if full in self.lost and full not in self.tables[table]:
            return None
        kind = KINDS[table]
        known = self.known(table, unit)
        if full in self.tables[table]:
            self._used.add((table, full))
            if among is None or full in among:
                return full
        if among is not None:
            known = [name for name in known if unit.full(table, name) in among]
        hint = closest(word, known) or self._elsewhere(table, unit, word)
        if not hint and 0 < len(known) <= 8:
            hint = f"known: {', '.join(known)}"
        message = f'there is no {kind} "{word}"' + (f" {where}" if where else "")
        self._report.add(unit.document, f"unknown-{kind}", path, message, hint)
        return None

    def _elsewhere(self, table: str, unit: Unit, word: str) -> str:
        for other, kind in KINDS.items():
            if other != table and unit.full(other, word) in self.tables[other]:
                return f'"{word}" is a {kind}'
        return ""

    def known(self, table: str, unit: Unit) -> list[str]:
        """The names of a table as they are written in this file."""
        if table in SHARED:
            return list(self.tables[table])
        names = self.tables[table]
        return [full.removeprefix(unit.prefix) for full in names if full.startswith(unit.prefix)]

    def use(self, table: str, full: Iterable[str]) -> None:
        """Somebody uses names that were not looked up with `find`."""
        self._used.update((table, name) for name in full)

    def unused(self, table: str) -> list[tuple[str, Entry]]:
        """The names that nobody uses."""
        return [
            (full, entry)
            for full, entry in self.tables[table].items()
            if (table, full) not in self._used
        ]


def in_words(name: str) -> str:
    """`intake_evaluation` → `Intake evaluation`."""
    return name.replace("_", " ").capitalize()
