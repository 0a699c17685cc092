"""What is looked at once all parts are known: forms, orders of steps, the chart, what is unused.

A program can be right in every part and still be wrong as a whole: a phase that no way leads
to, a circle that never waits, two steps that wait for each other, a number that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Literal

from msgspec.structs import replace

from kat_workflow.language import grammar
from kat_workflow.language.findings import closest
from kat_workflow.language.layout import Layout, Written
from kat_workflow.language.names import KINDS, Path
from kat_workflow.program import model
from kat_workflow.program.forms import Form
from kat_workflow.program.units import nearest_unit, unit

__all__ = ["check_chart", "check_forms", "check_orders", "check_rows", "check_unused"]


# Forms and instruments


def check_forms(layout: Layout) -> None:
    """What is wrong with each form, said once for all programs that use it."""
    for name, its in layout.written.items():
        _FormCheck(layout, its).check()
        layout.forms[name] = _with_sources(layout.forms[name], its.own_sources)


def _with_sources(form: Form, own: Mapping[str, str]) -> Form:
    """The form with its sources as the whole program calls them."""
    if not own:
        return form
    return replace(
        form,
        source=own.get(form.source, form.source),
        fields={
            name: replace(field, source=own[field.source]) if field.source in own else field
            for name, field in form.fields.items()
        },
        computed=tuple(
            replace(score, source=own[score.source]) if score.source in own else score
            for score in form.computed
        ),
    )


class _FormCheck:
    """One form or instrument and its file."""

    def __init__(self, layout: Layout, its: Written) -> None:
        self.layout, self.its, self.form = layout, its, its.written

    def add(
        self,
        code: str,
        path: Path,
        message: str,
        hint: str = "",
        *,
        on: Literal["key", "value"] = "value",
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        self.layout.report.add(
            self.its.document,
            code,
            (*self.its.path, *path),
            message,
            hint,
            on=on,
            severity=severity,
        )

    def check(self) -> None:
        form = self.form
        self.source(form.source, ("source",))
        if not self.its.shared:  # a file of forms is shared by programs with other roles
            for count, role in enumerate(form.by):
                path = (*self.its.path, "by", count)
                self.layout.names.find("roles", self.its.unit, role, path)
        if not form.fields:
            self.add("form-empty", ("fields",), "the form asks nothing", "add a field", on="key")
        earlier: dict[str, grammar.Field] = {}
        for name, field in form.fields.items():
            self.field(name, field, earlier)
            earlier[name] = field
        for name, score in form.scores.items():
            self.score(name, score)

    def source(self, written: str, path: Path) -> None:
        names = self.layout.names
        if not written or written in self.its.own_sources:
            return
        known = [*self.its.own_sources, *names.known("sources", self.its.unit)]
        if written in known:
            names.use("sources", [written])
            return
        message = f'there is no source "{written}"'
        self.add("unknown-source", path, message, closest(written, known))

    def field(self, name: str, field: grammar.Field, earlier: Mapping[str, grammar.Field]) -> None:
        path: Path = ("fields", name)
        self.source(field.source, (*path, "source"))
        numeric = field.type in ("integer", "decimal")
        for key in ("unit", "allowed"):
            wanted = numeric if key == "unit" else field.type == "integer"
            if getattr(field, key) and field.type and not wanted:
                message = f"a field of type {field.type} has no {key}"
                self.add("field-type", (*path, key), message, "remove it", on="key")
        if field.unit and unit(field.unit) is None:
            near = nearest_unit(field.unit)
            message = f'there is no unit "{field.unit}"'
            hint = f'did you mean "{near}"?' if near else ""
            self.add("unit-unknown", (*path, "unit"), message, hint)
        chosen = field.type in ("choice", "choices")
        if chosen != bool(field.options) and field.type:
            if chosen:
                message = f"a field of type {field.type} needs options"
                self.add("field-type", path, message, "add options: {yes: Yes}", on="key")
            else:
                message = f"a field of type {field.type} has no options"
                self.add("field-type", (*path, "options"), message, "write type: choice", on="key")
        ranged = [key for key in ("from", "to") if getattr(field, _attribute(key)) is not None]
        if ranged and field.type and not numeric and field.type != "duration":
            message = f"a field of type {field.type} has no range"
            self.add("field-type", (*path, ranged[0]), message, "remove it", on="key")
        if field.from_ is not None and field.to is not None and field.from_ > field.to:
            message = f"the range goes from {field.from_} down to {field.to}"
            self.add("impossible-range", (*path, "to"), message, "write the lower end first")
        if ranged and not field.source and not self.form.source:
            hint = "write source: … on the field or on the form"
            message = "this number has no source"
            self.add("no-source", (*path, ranged[0]), message, hint, severity="warning")
        if field.asked_if is not None:
            self.branching(field.asked_if, (*path, "asked_if"), earlier)

    def branching(
        self, asked: grammar.AskedIf, path: Path, earlier: Mapping[str, grammar.Field]
    ) -> None:
        governing = earlier.get(asked.field)
        if governing is None:
            if not asked.field:
                return
            message = f'no earlier field is called "{asked.field}"'
            hint = closest(asked.field, earlier) or "a field can only depend on one above it"
            self.add("unknown-field", (*path, "field"), message, hint)
            return
        answers: Iterable[str] | None = None
        if governing.type == "yes_no":
            answers = ("yes", "no")
        elif governing.type in ("choice", "choices"):
            answers = governing.options
        if answers is None:
            return
        for count, answer in enumerate(asked.is_):
            if answer not in answers:
                message = f'"{asked.field}" is never answered "{answer}"'
                self.add("unknown-option", (*path, "is", count), message, closest(answer, answers))

    def score(self, name: str, score: grammar.Score) -> None:
        path: Path = ("scores", name)
        fields = self.form.fields
        self.source(score.source, (*path, "source"))
        if name in fields:
            message = f'there is a field "{name}" already'
            self.add("name-taken", path, message, "rename the score", on="key")
        countable = [key for key, field in fields.items() if field.type in ("integer", "yes_no")]
        for key in ("items", "reversed", "weights"):
            on: Literal["key", "value"] = "key" if key == "weights" else "value"
            for part, item in _parts(getattr(score, key)):
                where: Path = (*path, key, part)
                if item not in fields:
                    message = f'there is no field "{item}"'
                    self.add("unknown-field", where, message, closest(item, countable), on=on)
                elif item not in countable:
                    message = f'"{item}" is {fields[item].type}, which cannot be counted'
                    self.add("field-type", where, message, "leave it out", on=on)
                elif key == "reversed" and not _highest(fields[item]):
                    message = f'"{item}" is counted reversed but has no highest value'
                    self.add("field-type", where, message, f"write to: … on {item}")
                elif key != "items" and score.items and item not in score.items:
                    message = f'"{item}" is not among the items of the score'
                    self.add("unknown-field", where, message, "add it to items", on=on)
        lows = [band.from_ for band in score.bands]
        for count, (low, high) in enumerate(pairwise(lows)):
            if low >= high:
                message = f"the bands go from {low} to {high}"
                at: Path = (*path, "bands", count + 1, "from")
                self.add("impossible-range", at, message, "write the lowest band first")
        seen: set[str] = set()
        for count, band in enumerate(score.bands):
            if band.name in seen:
                message = f'there is a band "{band.name}" already'
                self.add("name-taken", (*path, "bands", count, "name"), message, "rename it")
            seen.add(band.name)


def _highest(field: grammar.Field) -> bool:
    """Whether a field has a highest value that it can be counted down from."""
    return field.type == "yes_no" or field.to is not None or bool(field.allowed)


def _attribute(key: str) -> str:
    return "from_" if key == "from" else key


def _parts(written: list[str] | Mapping[str, int]) -> list[tuple[str | int, str]]:
    if isinstance(written, list):
        return list(enumerate(written))
    return [(key, key) for key in written]


# The order of steps


def check_orders(layout: Layout, program: model.Program) -> None:
    """Windows, waiting in circles, and persons who would have to differ from themselves."""
    steps = program.steps
    for name, job in layout.jobs.items():
        step, document, path = steps[name], job.unit.document, job.path
        known = [
            (key, span)
            for key in ("opens", "due", "closes")
            if (span := getattr(step, key)) is not None
        ]
        for (first, low), (then, high) in pairwise(known):
            if low.seconds > high.seconds:
                message = f"it {_DOES[first]} after {low}, but {_DOES[then]} after {high}"
                hint = "opens comes first, then due, then closes"
                layout.report.add(document, "window-order", (*path, then), message, hint)
        may_expire = step.every or step.owner_kind == "leaving" or "missed" in step.may_be
        if step.closes is not None and not may_expire:
            message = "it closes, but it may not be missed"
            hint = "add missed to may_be, and say in next what follows"
            layout.report.add(document, "closes-without-missed", (*path, "closes"), message, hint)
        if name in step.different_person_from:
            at = (*path, "different_person_from", step.different_person_from.index(name))
            message = "nobody is a different person from oneself"
            layout.report.add(document, "different-from-itself", at, message, "name another step")
        circle = _circle(name, lambda n: steps[n].after if n in steps else ())
        if circle and circle[0] == min(circle):
            message = f"these steps wait for each other: {' → '.join((*circle, name))}"
            hint = "take one of them out of after"
            layout.report.add(document, "after-cycle", (*path, "after"), message, hint)
        if step.owner_kind == "leaving" and step.every:
            message = "work after leaving is done once"
            layout.report.add(
                document, "leaving-recurs", (*path, "every"), message, "write due: …", on="key"
            )
    if not any(phase.admits for phase in program.phases.values()):
        _days_before_admission(layout, program)


_DOES = {"opens": "opens", "due": "is due", "closes": "closes"}


def _days_before_admission(layout: Layout, program: model.Program) -> None:
    """Program days count from enrolment where no phase admits: perhaps not what was meant."""
    hint = "write admits: true on the phase that admits"
    for name, job in layout.jobs.items():
        if program.steps[name].on_day is not None:
            layout.report.add(
                job.unit.document,
                "no-admission",
                (*job.path, "on_day"),
                "no phase admits, so program days count from enrolment",
                hint,
                severity="warning",
            )
    for name, spot in layout.spots.items():
        repeat = program.phases[name].repeat
        if repeat is not None and repeat.one_per:
            layout.report.add(
                spot.unit.document,
                "no-admission",
                (*spot.path, "repeat", "one_per"),
                "no phase admits, so program days count from enrolment",
                hint,
                severity="warning",
            )


def _circle(start: str, ways: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """The shortest way from a name back to itself, beginning with it; () if there is none."""
    before: dict[str, str] = {}
    queue = [start]
    for name in queue:
        for other in ways(name):
            if other == start:
                found = [name]
                while found[-1] != start:
                    found.append(before[found[-1]])
                return tuple(reversed(found))
            if other not in before:
                before[other] = name
                queue.append(other)
    return ()


# The chart


def check_rows(layout: Layout, program: model.Program) -> None:
    """Whether somebody or something always leads on, and whether every row is ever asked."""
    for name in layout.spots:
        _check_rows_of(layout, program, name)


def _check_rows_of(layout: Layout, program: model.Program, name: str) -> None:
    """Whether somebody or something always leads on, and whether every row is ever asked."""
    phase, spot = program.phases[name], layout.spots[name]
    if isinstance(spot.written, grammar.Track) or not spot.written.next:
        return
    written = spot.written.next
    path: Path = (*spot.path, "next")
    for count, row in enumerate(written[:-1]):
        if row.when.strip() == "always" and not row.at_once:
            message = "this row holds always, so those below it are never asked"
            layout.report.add(
                spot.unit.document, "unreachable", (*path, count + 1), message, "move it up"
            )
            break
    decided = phase.decided_by or program.decided_by
    last = phase.next[-1] if len(phase.next) == len(written) else None
    if last is not None and last.when is not None and not decided:
        message = "if no row holds, nobody is named who decides the way on"
        hint = "end with when: always, or name decided_by"
        at: Path = (*path, len(written) - 1, "when")
        layout.report.add(spot.unit.document, "nobody-decides", at, message, hint)


_BY_ROWS_ONLY = ("completed", "not_eligible")


def check_chart(layout: Layout, program: model.Program) -> None:
    """Ways that lead nowhere, phases that no way leads to, circles in which nothing waits."""
    chart = _Ways(program)
    covered = set(chart.reached)
    trapped: set[str] = set()
    for name, spot in layout.spots.items():
        phase = program.phases[name]
        if name not in covered and (not phase.parent or phase.parent in chart.reached):
            covered |= chart.reach([name])  # what only it leads to is no fault of its own
            message = f'no way leads to "{name}"'
            hint = "lead to it in next, or take it out"
            layout.report.add(spot.unit.document, "unreachable", spot.path, message, hint, on="key")
        if chart.is_trap(name) and name not in trapped:
            trapped |= chart.onward(name)
            message = f'no end can be reached from "{name}"'
            hint = "lead on in next to a phase or an end"
            layout.report.add(spot.unit.document, "no-way-out", spot.path, message, hint, on="key")
        circle = _circle(name, chart.passing)
        if circle and circle[0] == min(circle):
            message = f"nothing waits in this circle: {' → '.join((*circle, name))}"
            hint = "let one of these phases wait: a required step, or one round per program day"
            layout.report.add(
                spot.unit.document, "endless-cycle", spot.path, message, hint, on="key"
            )
    rules = layout.units[0].written.rules
    for count, end in enumerate(rules.always_possible if rules is not None else ()):
        known = program.ends.get(end)
        if known is not None and end not in chart.ends and known.kind in _BY_ROWS_ONLY:
            message = f'no way leads to the end "{end}"'
            at: Path = ("rules", "always_possible", count)
            document = layout.units[0].document
            layout.report.add(document, "never-possible", at, message, "lead to it in next")


class _Ways:
    """Where the phases of a program lead.

    `reached` are those that some way leads to, `leaving` those from which an end can be reached,
    `ends` the ends that some way leads to.
    """

    def __init__(self, program: model.Program) -> None:
        self.phases = program.phases
        self.steps = program.steps
        excursions = [phase.name for phase in self.phases.values() if phase.excursion]
        self.reached = self.reach([program.start, *excursions])
        self.ends = {
            row.to
            for name in self.reached
            for row in self.phases[name].next
            if row.to_kind == "end"
        }
        self.leaving: set[str] = set()
        more = True
        while more:
            more = False
            for phase in self.phases.values():
                if phase.name not in self.leaving and self._leaves(phase):
                    self.leaving.add(phase.name)
                    more = True

    def reach(self, names: list[str]) -> set[str]:
        """The phases that ways lead to from these, with what is inside them."""
        reached: set[str] = set()
        for name in names:
            if name in reached:
                continue
            phase = self.phases[name]
            reached.add(name)
            names.extend(phase.children if phase.kind == "tracks" else filter(None, [phase.start]))
            names.extend(row.to for row in phase.next if row.to_kind == "phase")
        return reached

    def _leaves(self, phase: model.Phase) -> bool:
        if not phase.next:
            return phase.parent in self.leaving
        return any(
            row.to_kind in ("end", "back")
            or (row.to_kind == "phase" and row.to in self.leaving)
            or (row.to_kind == "finish" and (row.to or phase.parent) in self.leaving)
            for row in phase.next
        )

    def is_trap(self, name: str) -> bool:
        """Whether no end can be reached from here, nor any place from where there is no return."""
        return name not in self.leaving and all(
            name in self.onward(other) for other in self.onward(name)
        )

    def onward(self, name: str) -> set[str]:
        """Where a phase leads in the end: to those beside it, and to the one around it."""
        onward: set[str] = set()
        names = [name]
        for each in names:
            phase = self.phases[each]
            leads = [row.to for row in phase.next if row.to_kind == "phase"]
            if phase.parent and (not phase.next or any(r.to_kind == "finish" for r in phase.next)):
                leads.append(phase.parent)
            names.extend(other for other in leads if other not in onward)
            onward.update(leads)
        return onward

    def passing(self, name: str) -> list[str]:
        """Where a phase can lead on at once, without anything that waits."""
        waits = self._waits(name)
        return [
            row.to
            for row in self.phases[name].next
            if row.to_kind == "phase" and (not waits or (row.at_once and row.when is None))
        ]

    def _waits(self, name: str) -> bool:
        """Whether something in a phase keeps it from being finished as soon as it is entered."""
        phase = self.phases[name]
        if any(self.steps[step].only_if is None for step in phase.required_steps):
            return True
        if phase.repeat is not None and phase.repeat.one_per:
            return True
        if phase.kind == "tracks":
            tracks = [track for track in phase.children if self.phases[track].required]
            return any(self._waits(track) for track in tracks)
        return phase.kind == "sequence" and not self._passes(phase)

    def _passes(self, around: model.Phase) -> bool:
        """Whether the phases inside can be gone through to the last without waiting."""
        names = [around.start]
        for name in names:
            if self._waits(name):
                continue
            phase = self.phases[name]
            if not phase.next or any(row.to_kind == "finish" for row in phase.next):
                return True
            leads = [row.to for row in phase.next if row.to_kind == "phase"]
            names.extend(other for other in leads if other not in names)
        return False


# What nobody uses


def check_unused(layout: Layout, program: model.Program) -> None:
    """Warnings for what is declared and never used; most often it is a forgotten rule."""
    names, main = layout.names, layout.units[0]
    used = {step.form for step in program.steps.values()}
    tables = ("roles", "sources", "consents", "limits", "gates", "sessions", "groups", "ends")
    for table in (*tables, "escalations", "orders", "ledgers"):
        for full, entry in names.unused(table):
            if entry.document is not main.document:
                continue  # a contained program stands by itself, too
            if table == "ends" and program.ends[full].kind not in _BY_ROWS_ONLY:
                continue
            code = "unused-session" if table == "sessions" else "unused"
            message = f'nothing uses the {KINDS[table]} "{full}"'
            hint = "use it, or take it out"
            layout.report.add(
                entry.document, code, entry.path, message, hint, on="key", severity="warning"
            )
    for name, its in layout.written.items():
        free = program.forms[name].any_time or program.forms[name].by
        if its.document is main.document and name not in used and not free:
            message = f'nothing records the form "{name}"'
            hint = "record it in a step, or take it out"
            layout.report.add(
                its.document, "unused", its.path, message, hint, on="key", severity="warning"
            )
    for count, file in enumerate(main.written.files):
        its_forms = [n for n, its in layout.written.items() if its.document.file == file]
        at_any_time = [n for n in its_forms if program.forms[n].any_time or program.forms[n].by]
        if its_forms and not used & set(its_forms) and not at_any_time:
            message = f'nothing records a form of "{file}"'
            hint = "record one in a step, or take the file out"
            layout.report.add(
                main.document, "unused", ("files", count), message, hint, severity="warning"
            )
    work = {step for end in program.ends.values() for step in end.work}
    for name, job in layout.jobs.items():
        if job.owner_kind == "leaving" and name not in work:
            message = f'no end opens the work "{name}"'
            hint = "name it in work: of an end or of leaving"
            layout.report.add(
                job.unit.document, "unused", job.path, message, hint, on="key", severity="warning"
            )
