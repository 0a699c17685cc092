"""Real courses through the real engine, in virtual time, as reports of what happened.

Each patient's rows are put in the order of their days and told to the engine, one row one
command, with the clock at that day. Nothing is invented: what the source does not have stays
unknown, and what the engine refuses is counted by its code. Every row ends in exactly one of
three ways: applied, refused (why), not mapped (why).
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen

from kat_workflow.courses.mapping import Action, BadMapping, Rule, SourceMapping, Table, Where
from kat_workflow.engine import Engine, Happened
from kat_workflow.enrollment.commands import Actor
from kat_workflow.errors import Refused
from kat_workflow.language.reader import number
from kat_workflow.program.clock import Site, parse_duration
from kat_workflow.program.model import Limit

__all__ = ["Fate", "Line", "Replayed", "Source", "replay"]

Fate = Literal["applied", "refused", "not_mapped"]
AFTER = timedelta(days=400)
"""How long after a patient's last row the clock goes on: what is still planned is missed then."""

FAR = 36_500
"""The days beyond which a day of the source is a slip of the pen."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_0-9.]+)\}")


@frozen
class Line:
    """A row of the source: its table, its line in the file, its columns with those made of them."""

    table: str
    number: int
    columns: Mapping[str, str]


@define
class Source:
    """The tables of a folder, read once: rows by patient, and the facts about each of them."""

    rows: dict[str, list[Line]] = field(factory=dict)
    patients: dict[str, list[Line]] = field(factory=dict)
    facts: dict[str, dict[str, str]] = field(factory=dict)

    @staticmethod
    def read(mapping: SourceMapping, folder: Path) -> Source:
        """All tables that the mapping names. Raises BadMapping for one that is not there, or
        that lacks the column of the patient or of the day."""
        source = Source()
        for name, table in mapping.tables.items():
            source.rows[name] = _rows(folder / name, name, table, mapping)
            if table.patient:
                for line in source.rows[name]:
                    source.patients.setdefault(line.columns[mapping.patient], []).append(line)
        for patient in source.patients:
            source.facts[patient] = {f"fact.{name}": "" for name in mapping.facts}
        for name, fact in mapping.facts.items():
            if fact.table not in source.rows:
                raise BadMapping(f"{mapping.file}: the fact {name} is of no table that is read")
            for line in source.rows[fact.table]:
                value = line.columns.get(fact.column)
                if value is None:
                    raise BadMapping(f"{folder / fact.table}: it has no column {fact.column}")
                about = source.facts[line.columns[mapping.patient]]
                if value and not about[f"fact.{name}"] and fits(fact.where, line.columns):
                    about[f"fact.{name}"] = mapping.words.get(fact.words, {}).get(value, value)
        return source


def _rows(path: Path, name: str, table: Table, mapping: SourceMapping) -> list[Line]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            known = reader.fieldnames or ()
            needed = {mapping.patient} if table.patient else set()
            lacking = needed | ({table.day} - {""})
            for column in sorted(lacking - set(known)):
                raise BadMapping(f"{path}: it has no column {column}")
            found = []
            for row in reader:
                columns = {key: (row[key] or "").strip() for key in known}
                for made, how in table.columns.items():
                    columns[made] = how.value(columns, mapping.words)
                found.append(Line(name, reader.line_num, columns))
            return found
    except OSError as error:
        raise BadMapping(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadMapping(f"{path}: it is no CSV table: {error}") from error


def fits(where: Where, columns: Mapping[str, str]) -> bool:
    """Whether a row is as it should be. A name that is not there is empty."""
    for name, meant in where.items():
        value = columns.get(name, "")
        if value not in ((meant,) if isinstance(meant, str) else meant):
            return False
    return True


@frozen
class Course:
    """One enrollment of a patient, as the journal tells it."""

    patient: str
    program: str
    enrollment: str
    happened: tuple[Happened, ...]


def filled(text: str, columns: Mapping[str, str]) -> str:
    """A text with the columns and facts that it names."""
    return _PLACEHOLDER.sub(lambda found: columns.get(found[1], ""), text)


@define
class Replayed:
    """What became of every row, and every enrollment.

    `fates` are by table and line: how the row ended, the code of why, and the program of the
    enrollment that it was told to ("": none). `further` counts what was told around the rows.
    """

    fates: dict[tuple[str, int], tuple[Fate, str, str]] = field(factory=dict)
    courses: list[Course] = field(factory=list)
    further: Counter[tuple[str, Fate, str]] = field(factory=Counter)


@frozen
class _Task:
    """A row and when it happens; the order of tables, rules and lines decides within a day."""

    day: int
    order: tuple[int, int]
    line: Line
    rule: Rule
    columns: Mapping[str, str]


class _Driver:
    """One engine in memory, whose clock is wherever the patient at hand is."""

    def __init__(self, mapping: SourceMapping, source: Source, programs: Path | None) -> None:
        self.mapping, self.source = mapping, source
        self.now = mapping.noon
        sites = {facts.get(f"fact.{mapping.site}", "") for facts in source.facts.values()}
        at = [Site(name or "main", mapping.zone) for name in sorted(sites | {""})]
        self.clinic = Engine.open(programs=programs, clock=lambda: self.now, sites=at)
        self.by = Actor(mapping.person.name, mapping.person.roles)
        self.result = Replayed()
        self.order = {name: place for place, name in enumerate(mapping.tables)}
        self.enrollment = ""
        self.program = ""

    # Which rows mean what

    def tasks(self, patient: str) -> list[_Task]:
        """The rows of a patient that mean something, in the order in which it happened."""
        found: list[_Task] = []
        waiting: list[tuple[Line, Rule, Mapping[str, str]]] = []
        facts = self.source.facts[patient]
        for line in self.source.patients[patient]:
            table = self.mapping.tables[line.table]
            columns = {**facts, **line.columns}
            because = next(
                (
                    out.because
                    for out in (*self.mapping.left_out, *table.left_out)
                    if fits(out.where, columns)
                ),
                "",
            )
            rule = next((rule for rule in table.rules if fits(rule.where, columns)), None)
            if because or rule is None:
                self.fate(line, "not_mapped", because or "no-rule")
            elif rule.fact:
                self.fate(line, "applied", "")
            elif rule.first:
                waiting.append((line, rule, columns))
            elif (day := self.day(line, rule, columns)) is None:
                self.fate(line, "not_mapped", "no-day")
            else:
                found.append(self.task(day, line, rule, columns))
        first = min((task.day for task in found), default=0)
        found += [self.task(first, *each) for each in waiting]
        return sorted(found, key=lambda task: (task.day, task.order))

    def task(self, day: int, line: Line, rule: Rule, columns: Mapping[str, str]) -> _Task:
        return _Task(day, (self.order[line.table], line.number), line, rule, columns)

    def day(self, line: Line, rule: Rule, columns: Mapping[str, str]) -> int | None:
        """The study day of a row: its own, or that on which its step was planned."""
        own = columns.get(self.mapping.tables[line.table].day, "")
        found = _day(own)
        return self.planned(rule, columns) if found is None and rule.planned else found

    def planned(self, rule: Rule, columns: Mapping[str, str]) -> int | None:
        """When the program means the step to be done, counted from the anchor of the step."""
        program = self.clinic.program(filled(self.mapping.program, columns))
        step = program.steps.get(filled(rule.planned, columns))
        if step is None or step.due is None:
            return None
        fact = self.mapping.anchors.get(step.counted_from.name, "")
        anchor = _day(columns.get(f"fact.{fact}", ""))
        return None if anchor is None else anchor + step.due.elapsed // timedelta(days=1)

    # Telling it

    def live(self, patient: str) -> None:
        """Tell the rows of a patient in their order, then let the time run out."""
        self.enrollment = self.program = ""
        own: list[tuple[str, str]] = []
        for task in self.tasks(patient):
            self.now = self.mapping.noon + timedelta(days=task.day)
            self.row(patient, task, own)
        if own:
            self.now += AFTER
            self.clinic.run_due()
        for program, enrollment in own:
            happened = self.clinic.history(enrollment)
            self.result.courses.append(Course(patient, program, enrollment, happened))

    def row(self, patient: str, task: _Task, own: list[tuple[str, str]]) -> None:
        """Tell one row, with what goes before and comes after it."""
        rule, columns = task.rule, task.columns
        for action in rule.before:
            self.around(action, patient, columns, own)
        code = ""
        for action in (rule.action, *rule.otherwise):
            refused = self.told(action, patient, columns, own)
            code = code or refused
            if not refused:
                self.fate(task.line, "applied", "")
                break
        else:
            self.fate(task.line, "refused", code)
        for action in rule.then:
            self.around(action, patient, columns, own)

    def around(
        self,
        action: Action,
        patient: str,
        columns: Mapping[str, str],
        own: list[tuple[str, str]],
    ) -> None:
        """Tell something that is no row of its own."""
        code = self.told(action, patient, columns, own)
        said = action.do.partition(" ")[0] or "enroll"
        self.result.further[said, "refused" if code else "applied", code] += 1

    def told(
        self,
        action: Action,
        patient: str,
        columns: Mapping[str, str],
        own: list[tuple[str, str]],
    ) -> str:
        """Tell the engine; the code of the refusal, "" where it was carried out."""
        try:
            if action.enroll:
                self.program = filled(action.enroll, columns)
                site = columns.get(f"fact.{self.mapping.site}", "") or "main"
                self.enrollment = self.clinic.enroll(
                    self.program, patient=patient, by=self.by, site=site
                )
                own.append((self.program, self.enrollment))
                return ""
            given: dict[str, Any] = {}
            for name, value in action.values.items():
                said = filled(value, columns)
                if said:
                    given[name] = _number(said) if value.startswith("{") else said
            if action.reason:
                given["reason"] = filled(action.reason, columns)
            if not self.enrollment:
                return "not-enrolled"
            self.clinic.do(self.enrollment, filled(action.do, columns), by=self.by, given=given)
        except Refused as refused:
            return refused.code
        return ""

    def fate(self, line: Line, fate: Fate, because: str) -> None:
        """A row has ended; it does so once."""
        key = line.table, line.number
        assert key not in self.result.fates
        self.result.fates[key] = fate, because, self.program if fate != "not_mapped" else ""

    def compare(self) -> None:
        """Rows that define the trial: each must say what the program says."""
        for name, table in self.mapping.tables.items():
            if table.patient:
                continue
            for line in self.source.rows[name]:
                rule = next((r for r in table.rules if fits(r.where, line.columns)), None)
                if rule is None:
                    self.fate(line, "not_mapped", "no-rule")
                elif rule.compare is None:
                    raise BadMapping(f"{self.mapping.file}: {name} is of no patient: compare only")
                else:
                    program = self.clinic.program(filled(rule.compare.program, line.columns))
                    limit = program.limits.get(rule.compare.limit)
                    same = limit is not None and _same(
                        limit, filled(rule.compare.equals, line.columns)
                    )
                    self.fate(line, "applied" if same else "refused", "" if same else "differs")


def replay(
    mapping: SourceMapping,
    folder: Path,
    *,
    programs: Path | None = None,
    watch: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> tuple[Source, Replayed]:
    """Tell every row of a folder to the engine; what became of each.

    `programs` is a folder of programs that goes before those that ship. `watch` may wrap the
    patients, to show how far it is. Raises BadMapping, and ProgramError for a program that is
    not there.
    """
    source = Source.read(mapping, folder)
    driver = _Driver(mapping, source, programs)
    driver.compare()
    for patient in watch(list(source.patients)):
        driver.live(patient)
    return source, driver.result


def _same(limit: Limit, said: str) -> bool:
    """Whether a limit is what the source says, in whatever unit: 168 d are 24 wk."""
    ours, theirs = parse_duration(f"{limit.value} {limit.unit}"), parse_duration(said)
    return ours is not None and theirs is not None and ours.elapsed == theirs.elapsed


def _day(text: str) -> int | None:
    """A study day; None for what is none."""
    found = number(text)
    whole = None if found is None else int(found)
    return whole if whole is not None and whole == found and -FAR < whole < FAR else None


def _number(text: str) -> Any:
    """A number where the text is one, as a form wants it."""
    found = number(text)
    return text if found is None else found
