"""Real courses through the real engine, in virtual time, as reports of what happened.

Each patient's rows are put in the order of their days and told to the engine, one row one
command, with the clock at that day. Nothing is invented: what the source does not have stays
unknown, and what the engine refuses is counted by its code. Every row ends in exactly one of
three ways: applied, refused (why), not mapped (why). Not mapped is what the mapping leaves out by
name, and what has no day; a row that says something of which no rule knows is refused.
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
from kat_workflow.errors import ProgramError, Refused
from kat_workflow.language.library import program_names
from kat_workflow.language.reader import number
from kat_workflow.program.clock import Site, parse_duration
from kat_workflow.program.model import Limit, Program

__all__ = ["Fate", "Line", "Replayed", "Source", "replay"]

Fate = Literal["applied", "refused", "not_mapped"]
AFTER = timedelta(days=400)
"""How long after a patient's last row the clock goes on: what is still planned is missed then."""

FAR = 36_500
"""The days beyond which a day of the source is a slip of the pen."""

_NAMED = re.compile(r"([a-z][a-z0-9_-]*)(?:@([0-9A-Za-z.+_-]+))?")
"""How a program is named: an id, perhaps with a version."""

_WHOLE = re.compile(r"([-+]?[0-9]+)\.0*")

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
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            known = [column.strip() for column in next(reader, [])]
            if len(set(known)) < len(known):
                raise BadMapping(f"{path}: two columns have the same name")
            for column in sorted(_needed(table, mapping) - set(known)):
                raise BadMapping(f"{path}: it has no column {column}")
            found = []
            for row in reader:
                if not row:
                    continue  # an empty line is no row
                if len(row) != len(known):
                    says = f"{len(row)} cells under {len(known)} columns"
                    raise BadMapping(f"{path}:{reader.line_num}: {says}")
                columns = dict(zip(known, (_cell(each, mapping) for each in row), strict=True))
                for made, how in table.columns.items():
                    columns[made] = how.value(columns, mapping.words)
                found.append(Line(name, reader.line_num, columns))
            return found
    except OSError as error:
        raise BadMapping(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadMapping(f"{path}: it is no CSV table: {error}") from error


def _cell(text: str, mapping: SourceMapping) -> str:
    """What a cell says. A whole number is one however it is written: `27.0` is 27."""
    said = text.strip()
    whole = _WHOLE.fullmatch(said)
    return whole[1] if whole is not None else "" if said in mapping.empty else said


def _needed(table: Table, mapping: SourceMapping) -> set[str]:
    """The columns that a table must have: all that the mapping names for it."""
    named = {table.day, mapping.patient if table.patient else ""}
    for rule in table.rules:
        named |= set(rule.where) | set(_PLACEHOLDER.findall(rule.planned))
        for action in (rule.action, *rule.before, *rule.otherwise, *rule.then):
            for text in (action.do, action.enroll, action.reason, *action.values.values()):
                named |= set(_PLACEHOLDER.findall(text))
        if rule.compare is not None:
            for text in (rule.compare.program, rule.compare.equals):
                named |= set(_PLACEHOLDER.findall(text))
    for out in table.left_out:
        named |= set(out.where)
    for column in table.columns.values():
        named |= {column.of, *column.flags}
    made = {"", *table.columns, *(f"fact.{name}" for name in mapping.facts)}
    return named - made


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
    `held` are the steps, by enrollment, of which something was recorded, at whatever time.
    """

    fates: dict[tuple[str, int], tuple[Fate, str, str]] = field(factory=dict)
    courses: list[Course] = field(factory=list)
    further: Counter[tuple[str, Fate, str]] = field(factory=Counter)
    held: set[tuple[str, str]] = field(factory=set)


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
            own = columns.get(table.day, "")
            if because:
                self.fate(line, "not_mapped", because)
            elif rule is None:
                self.fate(line, "refused", "no-rule")
            elif rule.fact:
                self.fate(line, "applied", "")
            elif rule.first:
                waiting.append((line, rule, columns))
            elif own and _day(own) is None:
                self.fate(line, "refused", "bad-day")
            elif (day := _day(own) if own else self.planned(rule, columns)) is None:
                self.fate(line, "not_mapped", "no-day")
            else:
                found.append(self.task(day, line, rule, columns))
        first = min((task.day for task in found), default=0)
        found += [self.task(first, *each) for each in waiting]
        return sorted(found, key=lambda task: (task.day, task.order))

    def task(self, day: int, line: Line, rule: Rule, columns: Mapping[str, str]) -> _Task:
        return _Task(day, (self.order[line.table], line.number), line, rule, columns)

    def planned(self, rule: Rule, columns: Mapping[str, str]) -> int | None:
        """The day on which the program means the step to be done, counted from its anchor."""
        program = self.known(filled(self.mapping.program, columns)) if rule.planned else None
        step = program.steps.get(filled(rule.planned, columns)) if program is not None else None
        if step is None or step.due is None:
            return None
        fact = self.mapping.anchors.get(step.counted_from.name, "")
        anchor = _day(columns.get(f"fact.{fact}", ""))
        return None if anchor is None else anchor + step.due.elapsed // timedelta(days=1)

    def known(self, name: str) -> Program | None:
        """A program, None for one that there is not: rows may name arms that nobody has written."""
        named = _NAMED.fullmatch(name)
        if named is None:
            return None  # no program is called so, and what a row says is no file to be read
        try:
            return self.clinic.program(name)
        except ProgramError as error:
            first = error.findings[0]
            own = program_names(named[1], named[2] or "")
            if first.code == "unknown-file" and any(map(Path(first.place.file).match, own)):
                return None
            raise

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
                program = filled(action.enroll, columns)
                if self.known(program) is None:
                    return "unknown-program"
                site = columns.get(f"fact.{self.mapping.site}", "") or "main"
                self.enrollment = self.clinic.enroll(
                    program, patient=patient, by=self.by, site=site
                )
                self.program = program
                own.append((program, self.enrollment))
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
            phrase = filled(action.do, columns)
            self.clinic.do(self.enrollment, phrase, by=self.by, given=given)
            verb, _, step = phrase.partition(" ")
            if verb == "record":
                self.result.held.add((self.enrollment, step))
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
                    self.fate(line, "refused", "no-rule")
                elif rule.compare is None:
                    raise BadMapping(f"{self.mapping.file}: {name} is of no patient: compare only")
                else:
                    program = self.known(filled(rule.compare.program, line.columns))
                    limits = {} if program is None else program.limits
                    limit = limits.get(rule.compare.limit)
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
    patients, to show how far it is. Raises BadMapping, and ProgramError for a program that cannot
    be used; a program that is not there refuses the rows that name it.
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
