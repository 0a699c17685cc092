"""Program files → a compiled `Program`, or everything that is wrong with them at once.

`layout` has read all files and given everything its full name; here every part is built, names
are looked up, gates are compiled anew for each place that uses them, and `checks` looks at the
whole. A part with a fault is left out and the rest is still looked at; there is a `Program`
only when no finding is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path as OsPath
from typing import Any, Literal

from attrs import evolve, frozen
from msgspec.structs import replace

from kat_workflow.errors import Finding, Place, ProgramError
from kat_workflow.language import grammar
from kat_workflow.language.checks import check_chart, check_forms, check_orders, check_unused
from kat_workflow.language.findings import closest
from kat_workflow.language.layout import Job, Layout, Spot
from kat_workflow.language.library import Files, Folder, Library, digest_of, program_names, shipped
from kat_workflow.language.names import Path, Unit, in_words
from kat_workflow.program import model
from kat_workflow.program.clock import Duration, parse_duration
from kat_workflow.program.gates import (
    Context,
    Problem,
    SessionInfo,
    StepInfo,
    Test,
    Vocabulary,
    compile_test,
)
from kat_workflow.program.units import Quantity, parse_quantity

__all__ = ["STANDARD_ENDS", "Checked", "check", "compile_files", "load"]

STANDARD_ENDS: tuple[model.EndKind, ...] = (
    "against_advice",
    "administrative",
    "transferred",
    "withdrew_consent",
    "lost_to_follow_up",
    "other",
    "died",
    "entered_in_error",
)
"""The kinds of end that every program has, whether it says so or not."""

WITHOUT_WORK = ("died", "entered_in_error")
"""Ends after which nothing is left to do for the patient."""

OFTEN = 10_000
"""How many openings a recurring step has at the most where its file says nothing."""


@frozen(eq=False)
class Checked:
    """What came of looking at a program; there is no `program` when a finding is an error."""

    program: model.Program | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep the program from being used."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def load(path_or_id: str | OsPath, programs: Library | None = None) -> model.Program:
    """The program in a file, or with an id (`detox-4-day`, `detox-4-day@1.0.0`).

    Raises ProgramError with all errors of all its files.
    """
    return _usable(check(path_or_id, programs))


def check(path_or_id: str | OsPath, programs: Library | None = None) -> Checked:
    """The program and every finding, warnings too; it raises nothing.

    A file is looked at with the files around it. What is not there, and every id, is looked for
    in `programs`, or without that among the programs that ship.
    """
    library, name = _located(str(path_or_id), programs or shipped())
    checked = _compile(library, name)
    return Checked(
        checked.program,
        tuple(
            replace(found, place=replace(found.place, file=library.shown(found.place.file)))
            for found in checked.findings
        ),
    )


def compile_files(files: Mapping[str, str], main: str) -> model.Program:
    """The program that these files (name → text, as in `Program.files`) are.

    `main` is the name of the program's own file, or its id. The same files give the same
    Program with the same digest, wherever they are kept. Raises ProgramError.
    """
    library, name = _located(main, Files(files))
    return _usable(_compile(library, name))


def _usable(checked: Checked) -> model.Program:
    if checked.program is None:
        raise ProgramError(checked.errors)
    return checked.program


def _located(text: str, programs: Library) -> tuple[Library, str]:
    """The library in which a program is looked for, and the name of its file there."""
    names = set(programs.names())
    if text in names:
        return programs, text
    if not text.endswith((".yaml", ".yml")):
        program, _, version = text.partition("@")
        plain, *older = program_names(program, version)
        return programs, next((name for name in older if name in names), plain)
    file = OsPath(text).absolute()
    own_folder = file.parent.name == file.stem.partition("@")[0]
    root = file.parent.parent if own_folder else file.parent
    return Folder(root, programs), file.relative_to(root).as_posix()


def _compile(library: Library, main: str) -> Checked:
    layout = Layout(library)
    unit = layout.read(main)
    program = None if unit is None else _Builder(layout, unit).program()
    order = {name: count for count, name in enumerate(layout.files)}
    findings = sorted(
        dict.fromkeys(layout.report.findings),
        key=lambda f: (order.get(f.place.file, -1), f.place.line, f.place.column, f.code),
    )
    broken = any(finding.severity == "error" for finding in findings)
    return Checked(None if broken else program, tuple(findings))


# How the gates of a place are read.


@frozen(eq=False)
class _Around:
    """The phases and the kind of session around a place that uses gates."""

    path: tuple[str, ...] = ()
    session: str = ""


@frozen(eq=False)
class _Use:
    """A test with the place that uses it."""

    test: Test
    around: _Around


class _Builder:
    """Builds the parts of one program, each from its place in the layout."""

    def __init__(self, layout: Layout, unit: Unit) -> None:
        self.layout, self.unit = layout, unit
        self.names, self.report = layout.names, layout.report
        self.uses: list[_Use] = []
        self.steps: dict[str, model.Step] = {}
        self.ways_out: dict[str, dict[str, tuple[str, str] | None]] = {}
        self.reported: set[tuple[str, _Around]] = set()
        self.consents: dict[str, model.Consent] = {}
        self.limits: dict[str, model.Limit] = {}
        self.gates: dict[str, model.Gate] = {}
        self.gate_units: dict[str, tuple[Unit, Path]] = {}
        self.held_by: dict[str, list[str]] = {name: [] for name in layout.kinds}
        self.vocabulary = Vocabulary()
        self.ends: dict[str, model.End] = {}

    def program(self) -> model.Program:
        """The whole, as far as it can be built; what is wrong is in the report."""
        layout, written = self.layout, self.unit.written
        for unit in layout.units:
            self._tables(unit)
        check_forms(layout)
        self._learn()
        self._ends()
        for spot in layout.spots.values():
            self._map_ends(spot)
        for name, job in layout.jobs.items():
            self.steps[name] = self._step(name, job)
        sessions = {name: self._session(name) for name in layout.kinds}
        phases = {name: self._phase(spot) for name, spot in layout.spots.items()}
        start = self._start(self.unit, written.start, ("start",), written.phases)
        never, after, possible = self._rules()
        self._unused_gates()
        program = model.Program(
            id=written.program,
            version=written.version,
            title=written.title,
            about=written.about,
            digest=digest_of(layout.files),
            files=dict(layout.files),
            start=start,
            roles=layout.roles,
            sources=layout.sources,
            consents=self.consents,
            forms=layout.forms,
            limits=self.limits,
            gates=self.gates,
            phases=phases,
            steps=self._remembering(never),
            sessions=sessions,
            ends=self.ends,
            never=never,
            always_after=after,
            always_possible=possible,
            decided_by=self._roles(self.unit, written.decided_by, ("decided_by",)),
            hold_by=self._roles(self.unit, written.hold_by, ("hold_by",)),
            retention=self._retention(),
        )
        check_orders(layout, program)
        check_chart(layout, program)
        check_unused(layout, program)
        return program

    # Tables

    def _tables(self, unit: Unit) -> None:
        written, tables = unit.written, self.names.tables
        for name, consent in written.consents.items():
            full = unit.prefix + name
            if full in tables["consents"]:
                lasts = _duration(consent.lasts)
                self.consents[full] = model.Consent(full, consent.title, consent.version, lasts)
        for name, limit in written.limits.items():
            full, path = unit.prefix + name, ("limits", name)
            if full in tables["limits"]:
                quantity = self._quantity(unit, limit.is_, (*path, "is"))
                source = self._source(unit, limit.source, path, "is")
                if quantity is not None:
                    self.limits[full] = model.Limit(
                        full, quantity.value, quantity.unit.written, source, limit.about
                    )
        for name, gate in written.gates.items():
            full = unit.prefix + name
            if full in tables["gates"]:
                self.gates[full] = self._gate(unit, full, gate, ("gates", name))
                self.gate_units[full] = unit, ("gates", name)

    def _gate(self, unit: Unit, full: str, gate: grammar.Gate, path: Path) -> model.Gate:
        override = None
        if gate.override is not None:
            by = self._roles(unit, gate.override.by, (*path, "override", "by"))
            lasts = _duration(gate.override.lasts)
            if lasts is not None:
                override = model.Override(by, lasts)
        return model.Gate(full, gate.says, gate.when, override, self._place(unit, path))

    def _learn(self) -> None:
        """What gates may know of the whole: the vocabulary."""
        layout, steps = self.layout, {}
        for job in layout.jobs.values():
            kind = job.unit.full("sessions", job.written.session)
            if job.written.session and kind in self.held_by and job.owner_kind == "phase":
                self.held_by[kind].append(job.owner)
        for name, job in layout.jobs.items():
            its, unit = job.written, job.unit
            around = self._around(job)
            steps[name] = StepInfo(
                name,
                its.record if its.record in layout.forms else "",
                around.path if job.owner_kind == "phase" else (),
                around.session,
                unit.full("consents", its.obtain) if its.obtain else "",
                unit.full("sessions", its.session) if its.session else "",
                its.signed,
                frozenset(its.may_be) | frozenset(["skipped"] if its.only_if else []),
                dict(its.if_skipped),
            )
        sessions = {}
        for name, held in layout.kinds.items():
            watch, dose = held.written.watch, held.written.dose
            watch_step = f"{name}.watch" if watch is not None else ""
            own = [held.unit.prefix + s for s in (*held.written.before, *held.written.after)]
            if watch is not None:
                steps[watch_step] = StepInfo(
                    watch_step, watch.record if watch.record in layout.forms else "", session=name
                )
                own.append(watch_step)
            amount = parse_quantity(dose.amount or dose.most) if dose is not None else None
            sessions[name] = SessionInfo(
                name,
                amount.unit.written if amount is not None else "",
                watch_step,
                tuple(own),
                self._held_in(name),
            )
        self.vocabulary = Vocabulary(
            layout.forms,
            steps,
            sessions,
            self.limits,
            self.gates,
            self.consents,
            {name: spot.trail for name, spot in layout.spots.items()},
            tuple(
                name
                for name, spot in layout.spots.items()
                if isinstance(spot.written, grammar.Phase) and spot.written.repeat is not None
            ),
        )

    def _held_in(self, kind: str) -> tuple[str, ...]:
        """The phases around every step that holds a session of this kind."""
        trails = [self.layout.spots[owner].trail for owner in self.held_by[kind]]
        if not trails:
            return ()
        return tuple(name for name in trails[0] if all(name in trail for trail in trails))

    def _around(self, job: Job) -> _Around:
        if job.owner_kind == "phase":
            return _Around(self.layout.spots[job.owner].trail)
        if job.owner_kind == "session":
            return _Around(self._held_in(job.owner), job.owner)
        return _Around()

    # Small parts

    def _place(self, unit: Unit, path: Path) -> Place:
        return unit.document.place(path, on="key")[0]

    def _roles(self, unit: Unit, written: Iterable[str], path: Path) -> tuple[str, ...]:
        found = [
            self.names.find("roles", unit, role, (*path, count))
            for count, role in enumerate(written)
        ]
        return tuple(role for role in found if role is not None)

    def _needed_roles(self, unit: Unit, written: Collection[str], path: Path) -> tuple[str, ...]:
        """Roles of which at least one must be named, or nobody could do it."""
        if not written:
            message = "nobody is named who may do this"
            self.report.add(unit.document, "by-nobody", path, message, "name one role at least")
        return self._roles(unit, written, path)

    def _source(
        self, unit: Unit, written: str, path: Path, number: str = "", inherited: str = ""
    ) -> str:
        """The source of what stands at a path; a warning where its `number` has none."""
        if written:
            return self.names.find("sources", unit, written, (*path, "source")) or ""
        if number and not inherited:
            message = "this number has no source"
            hint = "say where it comes from: source: …"
            self.report.add(
                unit.document, "no-source", (*path, number), message, hint, severity="warning"
            )
        return inherited

    def _quantity(self, unit: Unit, written: str, path: Path) -> Quantity | None:
        quantity = parse_quantity(written)
        if quantity is None:
            number, _, rest = written.partition(" ")
            if rest and parse_quantity(number) is not None:
                message = f'there is no unit "{rest}"'
                self.report.add(
                    unit.document, "unit-unknown", path, message, closest(rest, _COMMON_UNITS)
                )
            else:
                message = f'"{written}" is no number with a unit'
                self.report.add(
                    unit.document, "bad-quantity", path, message, "write it as in 180 mmHg"
                )
        return quantity

    def _test(
        self,
        unit: Unit,
        text: str,
        path: Path,
        around: _Around,
        side: Literal["go", "stop"] = "go",
    ) -> Test | None:
        """The test that a condition means in a place; its problems become findings."""
        if not text:
            return None
        context = Context(around.path, around.session, side, unit.prefix.removesuffix("."))
        test, problems = compile_test(text, self.vocabulary, context)
        for problem in problems:
            self._problem(unit, path, problem, context)
        self._mention(unit, text)
        if test is None:
            return None
        self.names.use("gates", test.gates)
        self.uses.append(_Use(test, around))
        return test

    def _mention(self, unit: Unit, text: str) -> None:
        """Limits and consents that a condition names are used."""
        words = set(_WORD.findall(text))
        for table in ("limits", "consents"):
            full = {unit.prefix + word for word in words} | words
            self.names.use(table, full & self.names.tables[table].keys())

    def _problem(self, unit: Unit, path: Path, problem: Problem, context: Context) -> None:
        """A finding at the very word; a fault inside a gate is said at that gate, once."""
        if problem.gate and problem.gate in self.gate_units:
            owner, its_path = self.gate_units[problem.gate]
            inner = evolve(context, prefix=owner.prefix.removesuffix("."))
            text = self.gates[problem.gate].text
            _, problems = compile_test(text, self.vocabulary, inner)
            for found in problems:
                if not found.gate:
                    self._problem(owner, (*its_path, "when"), found, inner)
            if problems:
                return
        self.report.findings.append(
            unit.document.finding(
                problem.code,
                path,
                problem.message,
                problem.hint,
                offset=problem.start,
                width=max(problem.end - problem.start, 1),
            )
        )

    def _unused_gates(self) -> None:
        """Gates that nobody uses are read too, as if by the program itself."""
        for full, (unit, path) in self.gate_units.items():
            self._mention(unit, self.gates[full].text)
            if not self.names.is_used("gates", full):
                context = Context((), "", "go", unit.prefix.removesuffix("."))
                _, problems = compile_test(self.gates[full].text, self.vocabulary, context)
                for problem in problems:
                    if problem.code != "not-in-scope":
                        self._problem(unit, (*path, "when"), problem, context)

    def _tell(self, unit: Unit, written: grammar.Tell | None, path: Path) -> model.Lateness | None:
        if written is None:
            return None
        tell = self._needed_roles(unit, written.tell, (*path, "tell"))
        within = _duration(written.answer_within)
        return None if within is None else model.Lateness(tell, within)

    def _alerts(
        self,
        unit: Unit,
        written: list[grammar.Alert],
        path: Path,
        name: str,
        around: _Around,
    ) -> tuple[model.Alert, ...]:
        found = []
        for count, alert in enumerate(written):
            at: Path = (*path, count)
            test = self._test(unit, alert.when, (*at, "when"), around, "stop")
            tell = self._needed_roles(unit, alert.tell, (*at, "tell"))
            within = _duration(alert.answer_within)
            if test is not None and within is not None:
                says = alert.says or alert.when
                found.append(model.Alert(f"{name}.alert.{count + 1}", says, test, tell, within))
        return tuple(found)

    def _fact(self, unit: Unit, written: str, path: Path) -> str | None:
        """`form.field` for a recorded instant or date named by a form or a step."""
        name, _, wanted = written.rpartition(".")
        job = self.layout.jobs.get(unit.prefix + name)
        form = self.layout.forms.get(name)
        if form is None and job is not None:
            form = self.layout.forms.get(job.written.record)
        if form is None:
            known = [*self.layout.forms, *self.names.known("steps", unit)]
            message = f'there is no form "{name}"'
            self.report.add(unit.document, "unknown-form", path, message, closest(name, known))
            return None
        if wanted not in form.fields:
            message = f'the form "{form.name}" has no field "{wanted}"'
            hint = closest(wanted, form.fields)
            self.report.add(unit.document, "unknown-field", path, message, hint)
            return None
        if form.fields[wanted].type not in ("instant", "date"):
            message = f'"{written}" is {form.fields[wanted].type}, not an instant'
            hint = "count from a field whose type is instant"
            self.report.add(unit.document, "type-mismatch", path, message, hint)
            return None
        return f"{form.name}.{wanted}"

    def _anchor(self, unit: Unit, written: str, path: Path) -> model.Anchor:
        """What `counted_from` names; the opening where it names nothing that there is."""
        match written.split():
            case [] | ["opening"]:
                return model.Anchor("opening")
            case ["entering"]:
                return model.Anchor("entering")
            case [step, "done"]:
                found = self.names.find("steps", unit, step, path)
                return model.Anchor("step", found) if found else model.Anchor("opening")
            case [session, ("started" | "dosed" | "released") as event]:
                found = self.names.find("sessions", unit, session, path)
                return model.Anchor("session", found, event) if found else model.Anchor("opening")
            case [fact] if "." in fact:
                found = self._fact(unit, fact, path)
                return model.Anchor("fact", found) if found else model.Anchor("opening")
            case _:
                message = f'"{written}" is no moment to count from'
                hint = "write opening, entering, STEP done, SESSION released or form.field"
                self.report.add(unit.document, "bad-anchor", path, message, hint)
                return model.Anchor("opening")

    # Steps

    def _step(self, name: str, job: Job) -> model.Step:
        its, unit, path = job.written, job.unit, job.path
        around = self._around(job)
        inherited = self._inherited(job)
        number = next((key for key in _STEP_NUMBERS if getattr(its, key)), "")
        source = self._source(unit, its.source, path, number, inherited)
        kinds = [key for key in ("record", "obtain", "session") if getattr(its, key)]
        if len(kinds) > 1:
            message = f"the step says {' and '.join(kinds)}; it can be only one of them"
            hint = "make a second step of it, `after` the first"
            self.report.add(
                unit.document, "ambiguous-step", (*path, kinds[1]), message, hint, on="key"
            )
        form = self._named("forms", unit, its.record, (*path, "record"))
        consent = self._named("consents", unit, its.obtain, (*path, "obtain"))
        session = self._named("sessions", unit, its.session, (*path, "session"))
        if session and job.owner_kind != "phase":
            message = "a session is held by a step of a phase"
            hint = "move the step into a phase"
            self.report.add(unit.document, "session-elsewhere", (*path, "session"), message, hint)
        steps = {
            key: tuple(
                found
                for count, other in enumerate(getattr(its, key))
                if (found := self.names.find("steps", unit, other, (*path, key, count)))
            )
            for key in ("after", "different_person_from")
        }
        return model.Step(
            name=name,
            title=its.title or in_words(name.rpartition(".")[2]),
            owner=job.owner,
            owner_kind=job.owner_kind,
            by=self._needed_roles(unit, its.by, (*path, "by")),
            form=form,
            consent=consent,
            session=session,
            signed=its.signed,
            cosigned_by=self._roles(unit, its.cosigned_by, (*path, "cosigned_by")),
            different_person_from=steps["different_person_from"],
            after=steps["after"],
            only_if=self._test(unit, its.only_if, (*path, "only_if"), around),
            required=not its.optional,
            may_be=frozenset(its.may_be),
            counted_from=self._anchor(unit, its.counted_from, (*path, "counted_from")),
            opens=_duration(its.opens),
            due=_duration(its.due),
            closes=_duration(its.closes),
            on_day=its.on_day,
            at=_clock(its.at),
            every=self._cadence(job, around),
            at_most=its.at_most or (OFTEN if its.every else 1),
            alerts=self._alerts(unit, its.alerts, (*path, "alerts"), name, around),
            when_late=self._tell(unit, its.when_late, (*path, "when_late")),
            on_hold=its.on_hold,  # type: ignore[arg-type]  # one of the words of its key
            part=job.part,
            if_skipped=self._if_skipped(job, form),
            source=source,
            about=its.about,
            place=self._place(unit, path),
        )

    def _inherited(self, job: Job) -> str:
        """The source of the session around a step covers its numbers."""
        table = self.layout.sources
        return job.source if job.source in table else ""

    def _named(self, table: str, unit: Unit, word: str, path: Path) -> str:
        return (self.names.find(table, unit, word, path) or "") if word else ""

    def _cadence(self, job: Job, around: _Around) -> tuple[model.Cadence, ...]:
        found = []
        for count, row in enumerate(job.written.every):
            path: Path = (*job.path, "every", count)
            if bool(row.interval) == bool(row.daily_at):
                message = "a row says either interval or daily_at"
                self.report.add(
                    job.unit.document, "cadence-pace", path, message, "write interval: 4 h"
                )
            test = self._test(job.unit, row.when, (*path, "when"), around)
            if count == len(job.written.every) - 1 and test is not None and not test.always:
                message = "the last row must hold always"
                hint = "add a last row with when: always, the tightest of all"
                self.report.add(job.unit.document, "cadence-open", (*path, "when"), message, hint)
            clocks = tuple(clock for each in row.daily_at if (clock := _clock(each)) is not None)
            found.append(model.Cadence(_duration(row.interval), clocks, _unless_always(test)))
        return tuple(found)

    def _if_skipped(self, job: Job, form: str) -> dict[str, object]:
        """What fields read as when the step is skipped, each in its own type."""
        values: dict[str, object] = {}
        for key, word in job.written.if_skipped.items():
            path: Path = (*job.path, "if_skipped", key)
            asked = self.layout.forms[form].fields.get(key) if form else None
            if asked is None:
                message = f'the step records no field "{key}"'
                known = self.layout.forms[form].fields if form else ()
                self.report.add(
                    job.unit.document, "unknown-field", path, message, closest(key, known), on="key"
                )
            elif asked.type == "yes_no" and word in ("yes", "no"):
                values[key] = word == "yes"
            elif asked.type == "integer" and word.lstrip("-").isdecimal():
                values[key] = int(word)
            elif asked.type == "choice" and word in asked.options:
                values[key] = word
            elif asked.type == "choices" and word in asked.options:
                values[key] = [word]
            else:
                message = f'"{word}" is no answer to "{key}"'
                hint = closest(word, ("yes", "no") if asked.type == "yes_no" else asked.options)
                self.report.add(job.unit.document, "unknown-option", path, message, hint)
        return values

    # Phases

    def _phase(self, spot: Spot) -> model.Phase:
        its, unit, path = spot.written, spot.unit, spot.path
        around = _Around(spot.trail)
        repeat, admits = None, False
        by: tuple[str, ...] = ()
        decided_by: list[str] = []
        if not isinstance(its, grammar.Track):
            decided_by = its.decided_by
        if isinstance(its, grammar.Phase):
            repeat = self._repeat(spot, its.repeat, around)
            admits = its.admits and not self._admitted_outside(unit)
        if isinstance(its, grammar.Excursion):
            by = self._needed_roles(unit, its.by, (*path, "by"))
        decided = self._roles(unit, decided_by, (*path, "decided_by"))
        if not decided and unit.outer is not None:
            decided = self._roles(unit, unit.written.decided_by, ("decided_by",))
        rows = self._rows(spot, around)
        own = [self.steps[name] for name in spot.steps]
        return model.Phase(
            name=spot.name,
            title=its.title or in_words(spot.name.rpartition(".")[2]),
            kind=spot.kind,
            path=spot.trail,
            region=spot.region,
            children=tuple(spot.children),
            start=self._first(spot),
            steps=tuple(spot.steps),
            required_steps=tuple(step.name for step in own if step.required and not step.every),
            recurring_steps=tuple(step.name for step in own if step.every),
            repeat=repeat,
            next=rows,
            at_once=tuple(row for row in rows if row.at_once),
            required=not (isinstance(its, grammar.Track) and its.optional),
            admits=admits,
            excursion=isinstance(its, grammar.Excursion),
            by=by,
            decided_by=decided,
            about=its.about,
            place=self._place(unit, path),
        )

    def _admitted_outside(self, unit: Unit) -> bool:
        """Whether a program around this one admits: program day 1 is then that one's."""
        around = []
        while unit.outer is not None:
            unit = unit.outer
            around.append(unit)
        return any(
            isinstance(spot.written, grammar.Phase) and spot.written.admits
            for spot in self.layout.spots.values()
            if spot.unit in around
        )

    def _first(self, spot: Spot) -> str:
        """The first of the phases inside."""
        its, unit = spot.written, spot.unit
        if isinstance(its, grammar.Excursion):
            return ""
        if isinstance(its, grammar.Phase):
            inside = [key for key in ("phases", "tracks", "contains") if getattr(its, key)]
            if len(inside) > 1:
                message = f"the phase has {' and '.join(inside)}; it can have only one of them"
                hint = "put one of them into a phase of its own"
                self.report.add(
                    unit.document,
                    "ambiguous-phase",
                    (*spot.path, inside[1]),
                    message,
                    hint,
                    on="key",
                )
            if its.contains is not None:
                inner = [u for u in self.layout.units if u.inside == spot.name]
                if not inner:
                    return ""
                start = inner[0].written.start
                return self._start(inner[0], start, ("start",), inner[0].written.phases)
        if its.phases or its.start:
            return self._start(unit, its.start, (*spot.path, "start"), its.phases)
        return ""

    def _start(self, unit: Unit, word: str, path: Path, phases: Mapping[str, object]) -> str:
        if not word:
            if len(phases) == 1:
                return unit.prefix + next(iter(phases))
            message = "it is not said which phase is the first"
            hint = f"write start: {next(iter(phases))}"
            self.report.add(unit.document, "start-missing", path[:-1], message, hint, on="key")
            return ""
        among = {unit.prefix + name for name in phases}
        return self.names.find("phases", unit, word, path, among=among, where="inside") or ""

    def _repeat(
        self, spot: Spot, its: grammar.Repeat | None, around: _Around
    ) -> model.Repeat | None:
        if its is None:
            return None
        document, path = spot.unit.document, (*spot.path, "repeat")
        until = self._test(spot.unit, its.until, (*path, "until"), around)
        if its.at_least < 1 or its.at_most < its.at_least:
            message = f"rounds from {its.at_least} to {its.at_most} cannot be"
            hint = "at_least is 1 or more, at_most not below it"
            self.report.add(document, "impossible-range", (*path, "at_most"), message, hint)
        if its.at_least < its.at_most and not its.until:
            message = "nothing says after which round to stop"
            hint = "write until, or the same number for at_least and at_most"
            self.report.add(
                document, "repeat-open", (*path, "at_most"), message, hint, severity="warning"
            )
        one_per: Literal["", "program day"] = "program day" if its.one_per else ""
        return model.Repeat(its.at_least, its.at_most, until, one_per)

    def _rows(self, spot: Spot, around: _Around) -> tuple[model.Row, ...]:
        its = spot.written
        if isinstance(its, grammar.Track):
            return ()
        found = []
        for count, row in enumerate(its.next):
            path: Path = (*spot.path, "next", count)
            target = self._target(spot, row.to, (*path, "to"))
            side: Literal["go", "stop"] = "stop" if row.safety else "go"
            test = self._test(spot.unit, row.when, (*path, "when"), around, side)
            if target is None:
                continue
            to, kind = target
            if kind == "finish" and to == spot.parent:
                to = ""
            found.append(
                model.Row(
                    f"{spot.name}.next.{count + 1}",
                    to,
                    kind,  # type: ignore[arg-type]
                    _unless_always(test),
                    row.at_once,
                    row.safety,
                    row.says,
                    self._place(spot.unit, (*path, "to")),
                )
            )
        return tuple(found)

    def _target(self, spot: Spot, word: str, path: Path) -> tuple[str, str] | None:
        """Where `to` leads from a phase: a name and what it is; None and a finding if nowhere."""
        unit = spot.unit
        excursion = isinstance(spot.written, grammar.Excursion)
        if word == "finish" and not excursion and not spot.outermost:
            return "", "finish"
        if word == "back" and excursion:
            return "", "back"
        full = unit.prefix + word
        if full in spot.beside:
            return full, "phase"
        if unit.outer is None:
            if full in self.ends:
                self.names.use("ends", [full])
                return full, "end"
        elif word in self.ways_out.get(unit.prefix, {}):
            return self.ways_out[unit.prefix][word]
        if word == "finish":
            hint = "a program is finished by an end: name one"
            message = "no phase is around this one that could be finished"
        elif word == "back":
            hint = "only an excursion leads back"
            message = "there is nowhere to go back to"
        elif full in self.names.tables["phases"]:
            message = f'the phase "{word}" is not beside this one'
            hint = "lead to the phase around it, or to one beside this one"
        else:
            known = [name.removeprefix(unit.prefix) for name in spot.beside]
            known += unit.written.ends if unit.outer else self.ends
            known += [] if spot.outermost else ["finish"]
            message = f'there is no phase or end "{word}"'
            hint = closest(word, known)
        self.report.add(unit.document, "unknown-target", path, message, hint)
        return None

    # Contained programs

    def _map_ends(self, spot: Spot) -> None:
        """Where the ends of the program in a phase lead; each is looked up once, at the mapping."""
        its = spot.written
        inner = next((u for u in self.layout.units if u.inside == spot.name), None)
        if not isinstance(its, grammar.Phase) or its.contains is None or inner is None:
            return
        path: Path = (*spot.path, "contains", "ends")
        ways: dict[str, tuple[str, str] | None] = {}
        for end, word in its.contains.ends.items():
            if end not in inner.written.ends and end not in STANDARD_ENDS:
                message = f'the program "{inner.written.program}" has no end "{end}"'
                hint = closest(end, inner.written.ends)
                self.report.add(
                    spot.unit.document, "unknown-end", (*path, end), message, hint, on="key"
                )
                continue
            finished = (spot.name, "finish")
            ways[end] = finished if word == "finish" else self._target(spot, word, (*path, end))
        for end in inner.written.ends:
            if end not in ways:
                ways[end] = None
                message = f'the end "{end}" of "{inner.written.program}" leads nowhere'
                hint = f"write {end}: finish, or name a phase or an end"
                at: Path = path if its.contains.ends else path[:-1]
                self.report.add(spot.unit.document, "unmapped-end", at, message, hint, on="key")
        self.ways_out[inner.prefix] = ways

    # Sessions

    def _session(self, name: str) -> model.SessionKind:
        held = self.layout.kinds[name]
        its, unit, path = held.written, held.unit, held.path
        around = _Around(self._held_in(name), name)
        number = next((key for key in _SESSION_NUMBERS if getattr(its, key)), "release")
        source = self._source(unit, its.source, path, number)
        ready = [
            self._test(unit, text, (*path, "ready", count), around)
            for count, text in enumerate(its.ready)
        ]
        before = tuple(unit.prefix + step for step in its.before)
        after = tuple(unit.prefix + step for step in its.after)
        watch = self._watch(name, around, source)
        steps = tuple(
            step
            for step in (*before, *([watch.step] if watch else []), *after)
            if step in self.steps
        )
        earliest = _duration(its.release.earliest)
        at_most = None
        if its.at_most is not None:
            at_most = model.Spacing(its.at_most.times, its.at_most.per)  # type: ignore[arg-type]
        if its.dose is not None and its.watch is None:
            message = "something is given here, but nobody watches afterwards"
            hint = "add watch: who records what, at which minutes"
            self.report.add(
                unit.document, "dose-without-monitoring", (*path, "dose"), message, hint, on="key"
            )
        return model.SessionKind(
            name=name,
            title=its.title or in_words(name.rpartition(".")[2]),
            ready=tuple(test for test in ready if test is not None),
            present=self._roles(unit, its.present, (*path, "present")),
            steps=steps,
            before=tuple(step for step in before if step in self.steps),
            after=tuple(step for step in after if step in self.steps),
            dose=self._dose(held, source),
            at_most=at_most,
            apart=_duration(its.apart),
            watch=watch,
            pause_when=self._session_rules(held, name, "pause", around),
            stop_when=self._session_rules(held, name, "stop", around),
            alerts=self._alerts(unit, its.alerts, (*path, "alerts"), name, around),
            release=model.Release(
                earliest or Duration(0, "min"),
                self._test(unit, its.release.when, (*path, "release", "when"), around),
                self._needed_roles(unit, its.release.signed_by, (*path, "release", "signed_by")),
            ),
            counts_when=_unless_always(
                self._test(unit, its.counts_when, (*path, "counts_when"), around)
            ),
            no_show_after=_duration(its.no_show_after),
            by=self._needed_roles(unit, its.by, (*path, "by")),
            source=source,
            about=its.about,
            place=self._place(unit, path),
        )

    def _watch(self, name: str, around: _Around, source: str) -> model.Watch | None:
        """The watch of a session, and the step that its readings are."""
        held = self.layout.kinds[name]
        its, unit, path = held.written.watch, held.unit, (*held.path, "watch")
        if its is None:
            return None
        full = f"{name}.watch"
        at = tuple(span for each in its.at if (span := _duration(each)) is not None)
        if any(a.seconds >= b.seconds for a, b in pairwise(at)):
            message = "the readings are not in the order in which they are taken"
            self.report.add(
                unit.document, "watch-order", (*path, "at"), message, "write the earliest first"
            )
        self.steps[full] = model.Step(
            name=full,
            title=f"Watch: {held.written.title or in_words(name.rpartition('.')[2])}",
            owner=name,
            owner_kind="session",
            by=self._needed_roles(unit, its.by, (*path, "by")),
            form=self._named("forms", unit, its.record, (*path, "record")),
            when_late=self._tell(unit, its.when_late, (*path, "when_late")),
            on_hold="runs",
            part="watch",
            at_most=OFTEN,
            source=source,
            place=self._place(unit, path),
        )
        then_every, late_after = _duration(its.then_every), _duration(its.late_after)
        if then_every is None or late_after is None:
            return None
        if then_every.seconds == 0:
            message = "readings every 0 minutes never end"
            self.report.add(
                unit.document, "impossible-range", (*path, "then_every"), message, "say 15 min"
            )
        return model.Watch(full, at, then_every, late_after)

    def _session_rules(
        self, held: Any, name: str, what: Literal["pause", "stop"], around: _Around
    ) -> tuple[model.SessionRule, ...]:
        found = []
        rules: list[grammar.SessionRule] = getattr(held.written, f"{what}_when")
        for count, rule in enumerate(rules):
            path: Path = (*held.path, f"{what}_when", count)
            test = self._test(held.unit, rule.when, (*path, "when"), around, "stop")
            tell = self._roles(held.unit, rule.tell, (*path, "tell"))
            if test is not None:
                found.append(
                    model.SessionRule(
                        f"{name}.{what}.{count + 1}",
                        rule.says,
                        test,
                        tell,
                        _duration(rule.answer_within),
                    )
                )
        return tuple(found)

    def _dose(self, held: Any, inherited: str) -> model.DoseRule | None:
        its: grammar.Dose | None = held.written.dose
        unit, path = held.unit, (*held.path, "dose")
        if its is None:
            return None
        source = self._source(unit, its.source, path, inherited=inherited)
        if not its.amount and not its.most:
            message = "it is not said how much is given"
            hint = "write amount: 500 mg, or most: … where the prescriber decides"
            self.report.add(unit.document, "dose-amount", path, message, hint, on="key")
            return None
        amount = self._quantity(unit, its.amount, (*path, "amount")) if its.amount else None
        most = self._quantity(unit, its.most, (*path, "most")) if its.most else None
        given = amount or most
        if given is None:
            return None
        for key, quantity in (("amount", amount), ("most", most)):
            self._measures(unit, (*path, key), quantity, given.unit.dimension, given.unit.measures)
        low = high = None
        if its.rate is not None:
            low = self._quantity(unit, its.rate.from_, (*path, "rate", "from"))
            high = self._quantity(unit, its.rate.to, (*path, "rate", "to"))
            per_time = tuple(sorted((*given.unit.dimension, ("time", -1))))
            good = [
                self._measures(
                    unit, (*path, "rate", key), rate, per_time, f"{given.unit.measures} per time"
                )
                for key, rate in (("from", low), ("to", high))
            ]
            if low is not None and high is not None and all(good):
                high = Quantity(_decimal(high.unit.convert(high.value, low.unit)), low.unit)
                if high.value < low.value:
                    message = f"the rate goes from {low} down to {high}"
                    at: Path = (*path, "rate", "to")
                    self.report.add(
                        unit.document, "impossible-range", at, message, "write the lower one first"
                    )
        limit = None
        if most is not None and most.unit.dimension == given.unit.dimension:
            limit = _decimal(most.unit.convert(most.value, given.unit))
            if amount is not None and limit < amount.value:
                message = f"the amount {amount} is more than the most, {most}"
                self.report.add(
                    unit.document, "impossible-range", (*path, "most"), message, "raise it"
                )
        return model.DoseRule(
            drug=its.drug,
            route=its.route,
            unit=given.unit.written,
            amount=amount.value if amount is not None else None,
            most=limit,
            rate_unit=low.unit.written if low is not None else "",
            rate_from=low.value if low is not None else None,
            rate_to=high.value if high is not None else None,
            source=source,
        )

    def _measures(
        self, unit: Unit, path: Path, found: Quantity | None, wanted: object, in_words: str
    ) -> bool:
        """Whether a quantity is of the dimension that is wanted, and more than nothing."""
        if found is None:
            return False
        if found.unit.dimension != wanted:
            message = f"{found} is a {found.unit.measures}, not a {in_words}"
            self.report.add(unit.document, "unit-mismatch", path, message, "use such a unit")
            return False
        if found.value <= 0:
            message = f"{found} is nothing"
            self.report.add(unit.document, "impossible-range", path, message, "write more than 0")
            return False
        return True

    # Ends and rules

    def _ends(self) -> None:
        """Those that are declared, then those that every program has."""
        unit, written = self.unit, self.unit.written
        leaving = written.leaving
        by: tuple[str, ...] = tuple(self.layout.roles)
        work: tuple[str, ...] = ()
        if leaving is not None:
            by = self._needed_roles(unit, leaving.by, ("leaving", "by"))
            work = self._work(leaving.work, ("leaving", "work"))
        if not work:
            at: Path = ("leaving",) if leaving is not None else ("ends",)
            message = "whoever leaves in another way than the program says gets no work done"
            hint = "write leaving: {by: […], work: […]}"
            self.report.add(
                unit.document,
                "leaving-without-work",
                at,
                message,
                hint,
                on="key",
                severity="warning",
            )
        ends: dict[str, model.End] = {}
        for name, end in written.ends.items():
            if name not in self.names.tables["ends"]:
                continue
            path: Path = ("ends", name)
            if name in STANDARD_ENDS and end.kind != name:
                message = f'"{name}" is an end that every program has, of the kind {name}'
                hint = f"write kind: {name}, or rename this one"
                self.report.add(unit.document, "name-taken", path, message, hint, on="key")
            reporters = self._roles(unit, end.by, (*path, "by"))
            if not reporters and end.kind in STANDARD_ENDS:
                reporters = by
            ends[name] = model.End(
                name,
                end.title or in_words(name),
                end.kind,  # type: ignore[arg-type]
                self._work(end.work, (*path, "work")),
                reporters,
                declared=True,
                place=self._place(unit, path),
            )
        kinds = {end.kind for end in ends.values()}
        for kind in STANDARD_ENDS:
            if kind not in kinds and kind not in ends:
                its_work = () if kind in WITHOUT_WORK else work
                ends[kind] = model.End(kind, in_words(kind), kind, its_work, by, declared=False)
        self.ends = ends

    def _work(self, written: list[str], path: Path) -> tuple[str, ...]:
        among = [name for name, job in self.layout.jobs.items() if job.owner_kind == "leaving"]
        found = [
            self.names.find(
                "steps",
                self.unit,
                step,
                (*path, count),
                among=among,
                where="in work_after_leaving",
            )
            for count, step in enumerate(written)
        ]
        return tuple(step for step in found if step is not None)

    def _rules(
        self,
    ) -> tuple[tuple[model.NeverRule, ...], tuple[model.AfterRule, ...], tuple[str, ...]]:
        """The rules of the program and, prefixed, of those it contains."""
        never, after, possible = [], [], []
        for unit in self.layout.units:
            rules = unit.written.rules
            if rules is None:
                continue
            for count, rule in enumerate(rules.never):
                path: Path = ("rules", "never", count)
                kind = self.names.find("sessions", unit, rule.start, (*path, "start"))
                around = _Around() if kind is None else _Around(self._held_in(kind), kind)
                unless = self._test(unit, rule.unless, (*path, "unless"), around)
                if kind is not None and unless is not None:
                    name = f"{unit.prefix}never.{count + 1}"
                    never.append(model.NeverRule(name, kind, unless, rule.says))
            for count, then in enumerate(rules.always_after):
                path = ("rules", "always_after", count)
                source = self._moment(unit, then.from_, (*path, "from"))
                follows = self._moment(unit, then.then, (*path, "then"))
                within = _duration(then.within)
                if source is not None and follows is not None and within is not None:
                    name = f"{unit.prefix}always_after.{count + 1}"
                    after.append(model.AfterRule(name, source, follows, within))
            if unit.outer is None:
                for count, end in enumerate(rules.always_possible):
                    path = ("rules", "always_possible", count)
                    if end in self.ends:
                        possible.append(end)
                    else:
                        message = f'there is no end "{end}"'
                        hint = closest(end, self.ends)
                        self.report.add(unit.document, "unknown-end", path, message, hint)
        return tuple(never), tuple(after), tuple(possible)

    def _moment(self, unit: Unit, written: str, path: Path) -> tuple[str, str] | None:
        """A session's `given`, `started`, `dosed` or `released`, or a step's `done`."""
        name, _, event = written.rpartition(".")
        table = "steps" if event == "done" else "sessions"
        if name and event in ("done", "given", "started", "dosed", "released"):
            found = self.names.find(table, unit, name, path)
            return None if found is None else (found, event)
        message = f'"{written}" is no moment'
        hint = "write SESSION.given, SESSION.started, SESSION.released or STEP.done"
        self.report.add(unit.document, "bad-anchor", path, message, hint)
        return None

    # What the parts need of each other

    def _remembering(self, never: tuple[model.NeverRule, ...]) -> dict[str, model.Step]:
        """The steps, with what is read of them from outside their own visits."""
        remembered: set[str] = set()
        tallied: set[str] = set()
        for use in self.uses:
            inside = {use.around.session, *use.around.path[-1:]}
            remembered.update(
                step for step in use.test.steps if self.steps[step].owner not in inside
            )
            tallied.update(what.rpartition(":")[0] for what in use.test.tallies)
        for step in self.steps.values():
            others = {*step.after, *step.different_person_from}
            if step.counted_from.kind == "step":
                others.add(step.counted_from.name)
            remembered.update(
                other
                for other in others
                if other in self.steps and self.steps[other].owner != step.owner
            )
        for rule in self.layout.units:
            rules = rule.written.rules
            for then in rules.always_after if rules is not None else ():
                for moment in (then.from_, then.then):
                    name, _, event = moment.rpartition(".")
                    if event == "done":
                        remembered.add(rule.prefix + name)
        return {
            name: evolve(step, remembered=name in remembered, tallied=name in tallied)
            for name, step in self.steps.items()
        }

    def _retention(self) -> dict[str, model.Retention]:
        """How much of each form's past the program can still ask for."""
        kept: dict[str, model.Retention] = {}
        for use in self.uses:
            for form, last, span, everything in use.test.reads:
                before = kept.get(form, model.Retention())
                longest = before.span
                if span is not None and (longest is None or span.seconds > longest.seconds):
                    longest = span
                kept[form] = model.Retention(
                    max(before.last, last, 1), longest, before.all or everything
                )
        return {form: kept[form] for form in self.layout.forms if form in kept}


_STEP_NUMBERS = ("opens", "due", "closes", "every", "on_day", "at", "when_late")
"""Keys of a step whose numbers need a source."""

_SESSION_NUMBERS = ("dose", "at_most", "apart", "watch", "no_show_after", "release")
_COMMON_UNITS = ("mmHg", "/min", "mg", "mcg", "g", "kg", "mL", "mg/h", "mg/kg", "points", "h", "d")
_WORD = re.compile(r"[a-z][a-z0-9_.]*")


def _duration(written: str) -> Duration | None:
    """A duration; one that cannot be read has its finding already."""
    return parse_duration(written) if written else None


def _clock(written: str) -> time | None:
    """A clock time; one that cannot be read has its finding already."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", written)
    return time(int(found[1]), int(found[2])) if found else None


def _unless_always(test: Test | None) -> Test | None:
    """None for what always holds, as the model says it."""
    return None if test is None or test.always else test


def _decimal(exact: Fraction) -> Decimal:
    """A quantity in another unit of its dimension; all factors are decimal."""
    return Decimal(exact.numerator) / Decimal(exact.denominator)
