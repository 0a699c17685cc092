"""Program files → a compiled `Program`, or everything that is wrong with them at once.

`layout` has read all files and given everything its full name; here every part is built, names
are looked up, gates are compiled anew for each place that uses them, and `checks` looks at the
whole. A part with a fault is left out and the rest is still looked at; there is a `Program`
only when no finding is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path as OsPath
from typing import Literal, NamedTuple

from attrs import evolve, frozen
from msgspec.structs import replace

from kat_workflow.errors import Finding, ProgramError
from kat_workflow.language import grammar
from kat_workflow.language.checks import (
    check_chart,
    check_forms,
    check_orders,
    check_rows,
    check_unused,
)
from kat_workflow.language.findings import closest
from kat_workflow.language.layout import Layout, Spot
from kat_workflow.language.library import (
    Files,
    Folder,
    Library,
    digest_of,
    program_names,
    shipped,
    stated_version,
    with_overlay,
)
from kat_workflow.language.names import Path, Unit, in_words
from kat_workflow.language.parts import Parts
from kat_workflow.language.stops import check_stops
from kat_workflow.language.variants import Composed
from kat_workflow.language.words import Around, duration, unless_always
from kat_workflow.program import model

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


_FILES = frozenset({"unknown-file", "file-outside", "file-kind", "language-too-new"})
WITHOUT_CHART = frozenset(
    {
        "ambiguous-phase",
        "contains-itself",
        "name-reserved",
        "name-taken",
        "start-missing",
        "unknown-phase",
        "unknown-program",
        "unknown-target",
        "unmapped-end",
    }
)
"""With these findings a way may be missing, so that nothing is said of the chart as a whole."""

CONSEQUENCES: Mapping[str, frozenset[str]] = {
    "unknown-form": _FILES,
    "unknown-name": _FILES,  # of `form.field`
    "never-recorded": _FILES | {"unknown-form"},
    "never-obtained": frozenset({"unknown-consent"}),
    "not-in-scope": frozenset(
        {"bad-quantity", "dose-amount", "dose-without-monitoring", "unit-unknown"}
    ),
    "never-possible": frozenset({"unreachable", "no-way-out"}),
}
"""Findings that may only follow from others: they are said once those are mended."""


@frozen(eq=False)
class Checked:
    """What came of looking at a program; there is no `program` when a finding is an error."""

    program: model.Program | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep the program from being used."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def load(
    path_or_id: str | OsPath,
    programs: Library | None = None,
    overlay: str | OsPath | None = None,
) -> model.Program:
    """The program in a file, or with an id (`detox-4-day`, `detox-4-day@1.0.0`).

    `overlay` is as in `check`. Raises ProgramError with all errors of all its files.
    """
    return _usable(check(path_or_id, programs, overlay))


def check(
    path_or_id: str | OsPath,
    programs: Library | None = None,
    overlay: str | OsPath | None = None,
) -> Checked:
    """The program and every finding, warnings too; it raises nothing.

    A file is looked at with the files around it. What is not there, and every id, is looked for
    in `programs`, or without that among the programs that ship.

    `overlay` is a file with a clinic's own figures, in the library or anywhere. What comes of
    it is another version of the program, named after both: `1.0.0+north`, with its own digest.
    """
    text, library = str(path_or_id), programs or shipped()
    # A file that is here is meant, though a program that ships may have the same name.
    library, name = _around(text, library) if _is_here(text) else _located(text, library)
    if overlay is not None:
        library, name = with_overlay(library, name, str(overlay))
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
        found = next((name for name in older if name in names), plain)
        if version and found == plain and stated_version(programs, plain) not in ("", version):
            found = older[0]  # which is not there: no other version stands in for one that is named
        return programs, found
    return _around(text, programs)


def _is_here(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) and OsPath(text).is_file()


def _around(text: str, programs: Library) -> tuple[Library, str]:
    """The folder in which a file lies, as a library, and its name there."""
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
        _without_consequences(dict.fromkeys(layout.report.findings)),
        key=lambda f: (order.get(f.place.file, -1), f.place.line, f.place.column, f.code),
    )
    broken = any(finding.severity == "error" for finding in findings)
    return Checked(None if broken else program, tuple(findings))


def _without_consequences(findings: Collection[Finding]) -> list[Finding]:
    """The findings that say something of their own."""
    codes = {finding.code for finding in findings}
    return [
        finding
        for finding in findings
        if not codes & CONSEQUENCES.get(finding.code, frozenset())
        or (finding.code == "unknown-name" and "." not in _meant(finding))
    ]


def _meant(finding: Finding) -> str:
    start = finding.place.column - 1
    return finding.source[start : start + finding.width]


class _Builder(Parts):
    """Builds the parts of one program, each from its place in the layout."""

    def __init__(self, layout: Layout, unit: Unit) -> None:
        super().__init__(layout, unit)
        self.ends: dict[str, model.End] = {}
        self._ways_out: dict[str, dict[str, tuple[str, str] | None]] = {}

    def program(self) -> model.Program:
        """The whole, as far as it can be built; what is wrong is in the report."""
        layout, written = self.layout, self.unit.written
        for unit in layout.units:
            self.declare_tables(unit)
        check_forms(layout)
        for name, its in layout.written.items():
            self.earlier_names("forms", its.document, layout.forms[name].renamed_from, its.path)
        self.learn()
        for unit in layout.units:
            self.declare_drugs(unit)
        self._ends()
        for spot in layout.spots.values():
            self._map_ends(spot)
        for name, job in layout.jobs.items():
            self.steps[name] = self.step(name, job)
        sessions = {name: self.session(name) for name in layout.kinds}
        groups = {name: self.group(name) for name in layout.groups}
        phases = {name: self._phase(spot) for name, spot in layout.spots.items()}
        start = self._start(self.unit, written.start, ("start",), written.phases)
        never, after, possible = self._rules()
        alerts = self._alerts_anywhere()
        whole = self.unit.document
        self.read_unused_gates()
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
            steps=self._keeping(self._remembering(never), phases),
            sessions=sessions,
            ends=self.ends,
            never=never,
            always_after=after,
            always_possible=possible,
            decided_by=self.roles(self.unit, written.decided_by, ("decided_by",)),
            hold_by=self.roles(self.unit, written.hold_by, ("hold_by",)),
            alerts=alerts,
            retention=self._retention(),
            based_on=whole.based_on if isinstance(whole, Composed) else "",
            differences=whole.differences if isinstance(whole, Composed) else (),
            orders=self.orders,
            medicines=self.medicines,
            ledgers=self.ledgers,
            groups=groups,
        )
        check_orders(layout, program)
        check_rows(layout, program)
        check_stops(layout, program)
        if self._is_whole(program):
            check_chart(layout, program)
        check_unused(layout, program)
        return program

    def _alerts_anywhere(self) -> tuple[model.Alert, ...]:
        """The alerts of all programs; one that a contained program repeats is one."""
        found: dict[tuple[str, tuple[str, ...]], model.Alert] = {}
        for unit in self.layout.units:
            written, name = unit.written.alerts, f"{unit.prefix}program"
            for alert in self.alerts(unit, written, ("alerts",), name, Around(())):
                found.setdefault((alert.when.text, alert.tell), alert)
        return tuple(found.values())

    def _is_whole(self, program: model.Program) -> bool:
        """Whether no way and no first phase is missing for a fault of its own."""
        phases = program.phases
        starts = [program.start, *(p.start for p in phases.values() if p.kind == "sequence")]
        codes = {finding.code for finding in self.report.findings}
        return not codes & WITHOUT_CHART and all(start in phases for start in starts)

    # Phases

    def _phase(self, spot: Spot) -> model.Phase:
        its, unit, path = spot.written, spot.unit, spot.path
        around = Around(spot.trail)
        repeat, admits = None, False
        by: tuple[str, ...] = ()
        decided_by: list[str] = []
        if not isinstance(its, grammar.Track):
            decided_by = its.decided_by
        if isinstance(its, grammar.Phase):
            repeat = self._repeat(spot, its.repeat, around)
            if its.contains is not None and its.renamed_from:
                message = "what is contained has the phase's name in front of its own"
                hint = "keep the phase's name, and give it another title"
                self.report.add(
                    unit.document, "renamed-container", (*path, "renamed_from"), message, hint
                )
            admits = its.admits and not self._admitted_outside(unit)
        if isinstance(its, grammar.Excursion):
            by = self.needed_roles(unit, its.by, (*path, "by"))
        decided = self.roles(unit, decided_by, (*path, "decided_by"))
        if not decided and unit.outer is not None:
            decided = self.roles(unit, unit.written.decided_by, ("decided_by",))
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
            repeat=repeat,
            next=rows,
            at_once=tuple(row for row in rows if row.at_once),
            required=not (isinstance(its, grammar.Track) and its.optional),
            admits=admits,
            excursion=isinstance(its, grammar.Excursion),
            by=by,
            decided_by=decided,
            about=its.about,
            place=self.place(unit, path),
            renamed_from=self.earlier_names(
                "phases", unit.document, its.renamed_from, path, unit.prefix
            ),
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
            if not phases or path == ("start",):
                return ""  # what is missing has its finding already
            if len(phases) == 1:
                return unit.prefix + next(iter(phases))
            message = "it is not said which phase is the first"
            hint = f"write start: {next(iter(phases))}"
            self.report.add(unit.document, "start-missing", path[:-1], message, hint, on="key")
            return ""
        among = {unit.prefix + name for name in phases}
        return self.names.find("phases", unit, word, path, among=among, where="inside") or ""

    def _repeat(
        self, spot: Spot, its: grammar.Repeat | None, around: Around
    ) -> model.Repeat | None:
        if its is None:
            return None
        document, path = spot.unit.document, (*spot.path, "repeat")
        until = self.test(spot.unit, its.until, (*path, "until"), around)
        bounded = self.stands(spot.unit, (*path, "at_most")) is not None
        if bounded and (its.at_least < 1 or its.at_most < its.at_least):
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

    def _rows(self, spot: Spot, around: Around) -> tuple[model.Row, ...]:
        its = spot.written
        if isinstance(its, grammar.Track):
            return ()
        found = []
        for count, row in enumerate(its.next):
            path: Path = (*spot.path, "next", count)
            target = self._target(spot, row.to, (*path, "to"))
            side: Literal["go", "stop"] = "stop" if row.safety else "go"
            test = self.test(spot.unit, row.when, (*path, "when"), around, side)
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
                    unless_always(test),
                    row.at_once,
                    row.safety,
                    row.says,
                    self.place(spot.unit, (*path, "to")),
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
        elif word in self._ways_out.get(unit.prefix, {}):
            return self._ways_out[unit.prefix][word]
        if word == "finish":
            hint = "a program is finished by an end: name one"
            message = "no phase is around this one that could be finished"
        elif word == "back":
            hint = "only an excursion leads back"
            message = "there is nowhere to go back to"
        elif full in self.names.lost:
            return None
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
        self._ways_out[inner.prefix] = ways

    # Ends and rules

    def _ends(self) -> None:
        """Those that are declared, then those that every program has."""
        unit, written = self.unit, self.unit.written
        leaving = written.leaving
        by: tuple[str, ...] = tuple(self.layout.roles)
        work: tuple[str, ...] = ()
        if leaving is not None:
            by = self.needed_roles(unit, leaving.by, ("leaving", "by"))
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
            if end.work and end.kind in WITHOUT_WORK:
                message = f"nothing is left to do after an end of the kind {end.kind}"
                hint = "take work: out; the enrollment is closed at once"
                self.report.add(
                    unit.document, "work-after-death", (*path, "work"), message, hint, on="key"
                )
            reporters = self.roles(unit, end.by, (*path, "by"))
            if not reporters and end.kind in STANDARD_ENDS:
                reporters = by
            ends[name] = model.End(
                name,
                end.title or in_words(name),
                end.kind,  # type: ignore[arg-type]
                self._work(end.work, (*path, "work")),
                reporters,
                declared=True,
                place=self.place(unit, path),
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
                around = Around() if kind is None else Around(self.held_in(kind), kind)
                unless = self.test(unit, rule.unless, (*path, "unless"), around)
                if kind is not None and unless is not None:
                    name = f"{unit.prefix}never.{count + 1}"
                    never.append(model.NeverRule(name, kind, unless, rule.says))
            for count, then in enumerate(rules.always_after):
                path = ("rules", "always_after", count)
                source = self._moment(unit, then.from_, (*path, "from"))
                follows = self._moment(unit, then.then, (*path, "then"))
                within = duration(then.within)
                if source is not None and follows is not None and within is not None:
                    name = f"{unit.prefix}always_after.{count + 1}"
                    after.append(model.AfterRule(name, source, follows, within))
            if unit.outer is None:
                for count, end in enumerate(rules.always_possible):
                    path = ("rules", "always_possible", count)
                    if end in self.ends:
                        possible.append(end)
                    elif end not in self.names.lost:
                        message = f'there is no end "{end}"'
                        hint = closest(end, self.ends)
                        self.report.add(unit.document, "unknown-end", path, message, hint)
        return tuple(never), tuple(after), tuple(possible)

    def _moment(self, unit: Unit, written: str, path: Path) -> tuple[str, str] | None:
        """A session's `started`, `given` (also `dosed`) or `released`, or a step's `done`."""
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
        compared = {name for step in self.steps.values() for name in step.different_person_from}
        return {
            name: evolve(
                step,
                remembered=name in remembered,
                tallied=name in tallied,
                compared=name in compared,
            )
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
        for rule in self.orders.values():
            if rule.weight is not None:
                kept.setdefault(rule.weight[0], model.Retention())
        for step, _ in self.lots.values():
            kept.setdefault(self.steps[step].form, model.Retention())
        return {
            form: evolve(kept[form], fields=_with_reasons(read))
            for form in self.layout.forms
            if form in kept and (read := {f.field for f in self._facts if f.form == form})
        }

    @cached_property
    def _facts(self) -> tuple[_Read, ...]:
        """Every fact that the program reads, gates and anchors alike."""
        read = {_Read(*fact) for use in self.uses for fact in use.test.facts}
        for step in self.steps.values():
            if step.counted_from.kind == "fact":
                source, _, name = step.counted_from.name.rpartition(".")
                form = self.steps[source].form if source in self.steps else source
                read.add(_Read(form, name, source if source in self.steps else "", ""))
        read.update(_Read(*rule.weight, "", "") for rule in self.orders.values() if rule.weight)
        for session, (asked, lot) in self.lots.items():
            read.add(_Read(self.steps[asked].form, lot, asked, session))
        return tuple(sorted(read))

    def _keeping(
        self, steps: dict[str, model.Step], phases: dict[str, model.Phase]
    ) -> dict[str, model.Step]:
        """The steps with the fields that are read of them, and until which place is left."""
        holders: dict[str, list[str]] = {}
        for step in steps.values():
            if step.session and step.owner_kind == "phase":
                holders.setdefault(step.session, []).append(step.owner)
        found = {}
        for name, step in steps.items():
            around: tuple[str, ...] = ()
            if step.owner_kind == "phase":
                around = phases[step.owner].path
            elif step.owner_kind == "session" and len(held := holders.get(step.owner, [])) == 1:
                around = (*phases[held[0]].path, step.owner)
            elif step.owner_kind == "session":
                around = (step.owner,)
            read = [
                fact
                for fact in self._facts
                if fact.form == step.form
                and fact.step in ("", name)
                and (not fact.scope or fact.scope in around)
            ]
            scopes = {fact.scope for fact in read}
            outermost = "" if "" in scopes else next((at for at in around if at in scopes), "")
            fields = _with_reasons({fact.field for fact in read})
            found[name] = evolve(step, keeps=fields, kept_in=outermost)
        return found


class _Read(NamedTuple):
    """A field that is read: of which step ("" for any), and in which place ("" for anywhere)."""

    form: str
    field: str
    step: str
    scope: str


def _with_reasons(fields: set[str]) -> tuple[str, ...]:
    """Fields, each with the reason why it was not answered."""
    return tuple(key for name in sorted(fields) for key in (name, f"{name}?"))
