"""A Program as a protocol that a clinician can read, print and sign.

`protocol(program)` is a tree of sections with paragraphs, points and tables: plain values that
`as_markdown`, `as_rich` and `as_text` render. `as_data(program)` is the same program for other
programs. The sentences come from `words`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from kat_workflow.errors import Place
from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import Field, Form, Score
from kat_workflow.program.model import (
    Alert,
    Gate,
    Lateness,
    Limit,
    Phase,
    Program,
)
from kat_workflow.protocol.words import (
    Words,
    clean,
    label_of,
    listed,
    number,
    raw_in_words,
    rows_of,
    sentence,
    small,
    spoken,
    unit_in_words,
)

__all__ = [
    "Point",
    "Points",
    "Section",
    "Table",
    "as_data",
    "as_markdown",
    "as_rich",
    "as_text",
    "plain",
    "protocol",
]


@frozen
class Point:
    """One entry of a list: a name, what is said about it, and what belongs under it."""

    lead: str
    text: str = ""
    under: tuple[Point, ...] = ()


@frozen
class Points:
    """A list; `numbered` where the order decides."""

    points: tuple[Point, ...]
    numbered: bool = False


@frozen
class Table:
    """Rows of equal length under a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@frozen
class Section:
    """A heading, its paragraphs (plain text), lists and tables, and its sub-sections."""

    title: str
    blocks: tuple[str | Points | Table, ...] = ()
    parts: tuple[Section, ...] = ()


def protocol(program: Program, role: str = "") -> Section:
    """The whole program; with `role`, only what this role does, decides or is called to."""
    return _Writer(program, role).whole()


def _whose(limit: Limit) -> str:
    """Who gave the number, where that is not the program."""
    return f"Set by the overlay {limit.overlay}." if limit.overlay else ""


def as_data(program: Program) -> dict[str, Any]:
    """The program as JSON values.

    Keys are the attribute names of `kat_workflow.program.model`; tables keep the order of the
    file. Gates are texts, durations as written (`24 h`), numbers text (`"0.5"`). Steps, rows,
    repeats and sessions also have `in_words`. `format` counts up if this shape ever changes.
    """
    words = Words(program)
    data: dict[str, Any] = {"format": 1, **plain(program)}
    for name, gate in program.gates.items():
        data["gates"][name]["in_words"] = words.condition(gate.text, name)
    for name, step in program.steps.items():
        data["steps"][name]["in_words"] = [*words.work(step), *words.schedule(step)]
    for name, phase in program.phases.items():
        entry = data["phases"][name]
        entry["in_words"] = words.passage(phase)
        for key in ("at_once", "next"):
            for row, each in zip(entry[key], getattr(phase, key), strict=True):
                row["in_words"] = words.way_on(each, phase)
    for name, session in program.sessions.items():
        data["sessions"][name]["in_words"] = [
            f"{lead}: {said}" for lead, said in words.course(session)
        ]
    return data


# --- the document -----------------------------------------------------------------------------


class _Writer:
    """Writes a program down, section by section; a role narrows it to what concerns it."""

    def __init__(self, program: Program, role: str) -> None:
        self.program = program
        self.role = role
        self.words = Words(program)

    def whole(self) -> Section:
        program = self.program
        about = [f"Version {clean(program.version)}, digest {program.digest[:12]}."]
        if self.role:
            about.insert(0, sentence(f"What concerns the role {self.words.role(self.role)}"))
        if program.about:
            about.append(clean(program.about))
        parts = [
            self.differences(),
            self.people(),
            self.consents(),
            self.way(),
            *self.phases(),
            self.excursions(),
            self.calls(),
            self.sessions(),
            self.groups(),
            self.drugs(),
            self.ends(),
            self.rules(),
            self.gates(),
            self.limits(),
            self.forms(),
            self.sources(),
            self.sign_off(),
        ]
        kept = tuple(part for part in parts if part is not None and (part.blocks or part.parts))
        return Section(clean(program.title), tuple(about), kept)

    def differences(self) -> Section | None:
        """What a variant or an overlay says otherwise, as it is written."""
        program = self.program
        if self.role or not (program.based_on or program.differences):
            return None
        base = program.based_on or f"{program.id} as it is written"
        rows = tuple(
            (clean(each.path), clean(each.before) or "nothing", clean(each.now) or "nothing")
            for each in program.differences
        )
        table = (Table(("Where", "In the base", "Here"), rows),) if rows else ()
        said = "Everything else is that of the base." if rows else "Nothing but the name."
        return Section(f"What is different from {clean(base)}", (*table, said))

    def concerns(self, *groups: Iterable[str]) -> bool:
        """Whether these roles are of interest: all, unless one role is asked for."""
        return not self.role or any(self.role in group for group in groups)

    def people(self) -> Section | None:
        program, words = self.program, self.words
        said = []
        if program.decided_by and self.concerns(program.decided_by):
            said.append(
                f"Where no way on is written down, {words.roles(program.decided_by)} decides."
            )
        if program.hold_by and self.concerns(program.hold_by):
            said.append(f"{words.roles(program.hold_by)} may hold treatment and lift a hold.")
        titles = tuple(Point(clean(title)) for title in program.roles.values())
        listing = () if self.role else (Points(titles),)
        return Section("Who takes part", (*listing, *said))

    def consents(self) -> Section | None:
        if self.role:
            return None
        points = tuple(
            Point(
                self.words.named("consents", name),
                f"version {clean(each.version)}, in force "
                + (f"for {each.lasts}." if each.lasts else "until it is revoked."),
            )
            for name, each in self.program.consents.items()
        )
        return Section("Consents", (Points(points),)) if points else None

    def way(self) -> Section | None:
        """All phases at a glance."""
        if self.role:
            return None
        numbers = self.numbers()

        def below(names: Iterable[str]) -> tuple[Point, ...]:
            return tuple(
                Point(
                    f"{numbers[name]} {self.words.named('phases', name)}",
                    self.glance(self.program.phases[name]),
                    below(self.program.phases[name].children),
                )
                for name in names
            )

        return Section("The way through", (Points(below(self.tops())),))

    def tops(self) -> list[str]:
        """The outermost phases, the first one first."""
        phases = self.program.phases.values()
        return [each.name for each in phases if not each.parent and not each.excursion]

    def numbers(self) -> dict[str, str]:
        found: dict[str, str] = {}

        def number(names: Iterable[str], before: str) -> None:
            for count, name in enumerate(names, 1):
                found[name] = f"{before}{count}"
                number(self.program.phases[name].children, f"{before}{count}.")

        number(self.tops(), "")
        return found

    def glance(self, phase: Phase) -> str:
        said = []
        parent = self.program.phases.get(phase.parent)
        if parent and parent.kind == "tracks":
            said.append("track")
        if phase.name == (parent.start if parent else self.program.start):
            said.append("begins here")
        if phase.admits:
            said.append("admission")
        if phase.repeat:
            least, most = phase.repeat.at_least, phase.repeat.at_most
            said.append(f"{least} rounds" if least == most else f"{least} to {most} rounds")
        if not phase.required:
            said.append("optional")
        return ", ".join(said)

    def phases(self) -> list[Section | None]:
        return [self.phase(self.program.phases[name], self.numbers()) for name in self.tops()]

    def phase(self, phase: Phase, numbers: Mapping[str, str]) -> Section | None:
        parts = [self.phase(self.program.phases[name], numbers) for name in phase.children]
        kept = tuple(part for part in parts if part is not None)
        blocks: list[str | Points | Table] = []
        if not self.role:
            blocks += [clean(phase.about)] if phase.about else []
            blocks += [" ".join(self.words.passage(phase))] if self.words.passage(phase) else []
        steps = self.steps(phase.steps)
        blocks += [Points(steps)] if steps else []
        blocks += self.ways_on(phase)
        if not blocks and not kept:
            return None
        number = f"{numbers[phase.name]} " if phase.name in numbers else ""
        return Section(f"{number}{self.words.named('phases', phase.name)}", tuple(blocks), kept)

    def ways_on(self, phase: Phase) -> list[str | Points | Table]:
        decided = phase.decided_by or self.program.decided_by
        if not self.concerns(phase.decided_by):
            return []
        blocks: list[str | Points | Table] = []
        if phase.at_once or phase.next:
            ways = [
                Point("", self.words.way_on(row, phase, first=count == 0))
                for count, row in enumerate(rows_of(phase))
            ]
            if len(ways) == 1 and ways[0].text.startswith("Then: "):
                blocks.append(f"When it is finished: {self.words.target(phase.next[0], phase)}.")
            else:
                blocks += ["From here, the first that holds:", Points(tuple(ways), numbered=True)]
            last = phase.next[-1].when if phase.next else None
            if phase.next and last is not None and last.text != "always" and decided:
                blocks.append(f"If none holds, {self.words.roles(decided)} decides.")
        elif phase.parent and not self.role:
            parent = self.program.phases[phase.parent]
            if parent.kind == "sequence":
                title = self.words.quoted("phases", phase.parent)
                blocks.append(f"When it is finished, {title} is finished.")
        return blocks

    def steps(self, names: Iterable[str]) -> tuple[Point, ...]:
        points = []
        for name in names:
            step = self.program.steps[name]
            rows: list[Alert | Lateness] = [*step.alerts]
            rows += [step.when_late] if step.when_late else []
            calls = [call.tell for row in rows for call in (row, *row.then)]
            if not self.concerns(step.by, step.cosigned_by, step.witnessed_by, *calls):
                continue
            said = [*self.words.work(step), *self.words.schedule(step)]
            if step.about:
                said.append(sentence(clean(step.about)))
            if step.source:
                said.append(sentence(f"Source: {self.words.source(step.source)}"))
            points.append(Point(self.words.named("steps", name), " ".join(said)))
        return tuple(points)

    def calls(self) -> Section | None:
        """The alerts that are judged wherever the patient is."""
        points = tuple(
            Point("", sentence(self.words.alert(alert, "")))
            for alert in self.program.alerts
            if self.concerns(alert.tell)
        )
        return Section("Calls at any time", (Points(points),)) if points else None

    def excursions(self) -> Section | None:
        found = [each for each in self.program.phases.values() if each.excursion]
        parts = tuple(part for part in (self.phase(each, {}) for each in found) if part)
        return Section("Excursions", (), parts) if parts else None

    def sessions(self) -> Section | None:
        parts = []
        for name, session in self.program.sessions.items():
            before, after = self.steps(session.before), self.steps(session.after)
            watch = self.steps([session.watch.step]) if session.watch and self.role else ()
            signed = session.release.signed_by if session.release else ()
            mine = self.concerns(session.by, session.present, signed)
            if not (mine or before or after or watch):
                continue
            blocks: list[str | Points | Table] = []
            if session.about:
                blocks.append(clean(session.about))
            if mine:
                blocks.append(
                    Points(tuple(Point(lead, said) for lead, said in self.words.course(session)))
                )
            for title, steps in (("Before:", before), ("Watch:", watch), ("Afterwards:", after)):
                if steps:
                    blocks += [title, Points(steps)]
            if session.source:
                blocks.append(sentence(f"Source: {self.words.source(session.source)}"))
            parts.append(Section(self.words.named("sessions", name), tuple(blocks)))
        return Section("Sessions", (), tuple(parts)) if parts else None

    def groups(self) -> Section | None:
        parts = []
        for name, kind in self.program.groups.items():
            staff = [each.role for each in kind.staff]
            if not self.concerns(kind.by, staff, kind.override_by):
                continue
            blocks: list[str | Points | Table] = [clean(kind.about)] if kind.about else []
            blocks.append(Points(tuple(Point(lead, said) for lead, said in self.words.group(kind))))
            if kind.source:
                blocks.append(sentence(f"Source: {self.words.source(kind.source)}"))
            parts.append(Section(self.words.named("groups", name), tuple(blocks)))
        return Section("Groups", (), tuple(parts)) if parts else None

    def drugs(self) -> Section | None:
        """Orders, medicines given as needed, and the ledgers of controlled drugs."""
        words, program = self.words, self.program
        points = [
            *(
                Point(words.named("orders", name), words.order(rule))
                for name, rule in program.orders.items()
                if self.concerns(rule.by)
            ),
            *(
                Point(words.named("medicines", name), words.medicine(each))
                for name, each in program.medicines.items()
                if self.concerns(each.by)
            ),
            *(
                Point(words.named("ledgers", name), words.ledger(each))
                for name, each in program.ledgers.items()
                if self.concerns(each.witnessed_by)
            ),
        ]
        return Section("Orders and medicines", (Points(tuple(points)),)) if points else None

    def ends(self) -> Section | None:
        points = []
        everywhere: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for name, end in self.program.ends.items():
            if not self.concerns(end.by):
                continue
            if end.declared:
                said = [sentence(self.words.end_kind(end)), *self.leaving(end.by, end.work)]
                points.append(Point(self.words.named("ends", name), " ".join(said)))
            else:
                everywhere.setdefault((end.by, end.work), []).append(self.words.end_kind(end))
        for (by, work_after), kinds in everywhere.items():
            said = [sentence(listed(kinds, "or")), *self.leaving(by, work_after)]
            points.append(Point("At any time", " ".join(said)))
        leaving = [s.name for s in self.program.steps.values() if s.owner_kind == "leaving"]
        work = self.steps(leaving)
        blocks: list[str | Points | Table] = [Points(tuple(points))] if points else []
        parts = (Section("Work after leaving", (Points(work),)),) if work else ()
        return Section("Ends", tuple(blocks), parts)

    def leaving(self, by: tuple[str, ...], work: tuple[str, ...]) -> Iterator[str]:
        """Who reports an end, and what follows it."""
        if by:
            yield f"Reported by {self.words.roles(by)}."
        if work:
            steps = listed(self.words.quoted("steps", step) for step in work)
            yield f"Work that follows and never blocks leaving: {steps}."

    def rules(self) -> Section | None:
        if self.role:
            return None
        words, program = self.words, self.program
        points = []
        for never in program.never:
            because = f" ({clean(never.says).rstrip('.')})" if never.says else ""
            what = words.quoted("sessions", never.start)
            condition = words.condition(never.unless.text)
            points.append(Point("Never", sentence(f"{what} unless {condition}{because}")))
        for after in program.always_after:
            points.append(
                Point(
                    "Always",
                    f"Once {self.event(after.source)}, {self.event(after.then)} "
                    f"within {after.within}.",
                )
            )
        for end in program.always_possible:
            points.append(
                Point("Always possible", f"To reach the end {words.quoted('ends', end)}.")
            )
        return Section("Safety rules", (Points(tuple(points)),)) if points else None

    def event(self, what: tuple[str, str]) -> str:
        name, event = what
        table = "sessions" if self.program.find("sessions", name) else "steps"
        return f"{self.words.quoted(table, name)} is {event}"

    def gates(self) -> Section | None:
        points = tuple(
            Point(clean(gate.says).rstrip("."), self.gate(name, gate))
            for name, gate in self.program.gates.items()
            if not self.role or (gate.override and self.role in gate.override.by)
        )
        return Section("Conditions", (Points(points),)) if points else None

    def gate(self, name: str, gate: Gate) -> str:
        said = sentence(f"Holds if {self.words.condition(gate.text, name)}")
        if gate.override is None:
            return said
        by, lasts = self.words.roles(gate.override.by), gate.override.lasts
        reasons = listed((clean(x) for x in gate.override.reasons.values()), "or")
        why = f"for one of these reasons: {reasons}" if reasons else "with a reason"
        said = f"{said} {by} may override it for {lasts}, {why}."
        if not gate.override.cosigned_by:
            return said
        return f"{said} It counts once {self.words.roles(gate.override.cosigned_by)} has agreed."

    def limits(self) -> Section | None:
        if self.role or not self.program.limits:
            return None
        rows = tuple(
            (
                spoken(name).capitalize(),
                f"{number(limit.value)} {unit_in_words(limit.unit)}".strip(),
                self.words.source(limit.source),
                clean(" ".join(filter(None, (limit.about, _whose(limit))))),
            )
            for name, limit in self.program.limits.items()
        )
        head = ("Limit", "Figure", "Source", "Remark")
        if not any(row[3] for row in rows):
            return Section("Limits", (Table(head[:3], tuple(row[:3] for row in rows)),))
        return Section("Limits", (Table(head, rows),))

    def forms(self) -> Section | None:
        recorded = {step.form for step in self.program.steps.values() if self.concerns(step.by)}
        parts = [
            self.form(form)
            for name, form in self.program.forms.items()
            if not self.role or name in recorded
        ]
        return Section("Forms", (), tuple(parts)) if parts else None

    def form(self, form: Form) -> Section:
        said = []
        if form.version:
            said.append(f"Edition {form.version}.")
        if form.answered_by:
            said.append(f"Answered by the {form.answered_by}.")
        if form.recall:
            said.append(sentence(f"Asks about: {form.recall}"))
        if form.valid_for:
            said.append(f"Its result may be relied on for {form.valid_for}.")
        if form.any_time:
            by = f" by {self.words.roles(form.by)}" if form.by else ""
            said.append(f"It may be recorded at any time{by}.")
        if form.about:
            said.append(clean(form.about))
        rows = tuple(
            (clean(each.label or spoken(name)), _answers(each, form))
            for name, each in form.fields.items()
        )
        blocks: list[str | Points | Table] = [clean(" ".join(said))] if said else []
        blocks.append(Table(("Question", "Answer"), rows))
        scores = tuple(_scored(score, form) for score in form.computed)
        blocks += [Points(scores)] if scores else []
        return Section(clean(form.title), tuple(blocks))

    def sources(self) -> Section | None:
        if self.role or not self.program.sources:
            return None
        rows = tuple(
            (clean(each.title), _TRUST[each.trust], clean(each.url))
            for each in self.program.sources.values()
        )
        head = ("Source", "Trust", "Where")
        if not any(row[2] for row in rows):
            return Section("Sources", (Table(head[:2], tuple(row[:2] for row in rows)),))
        return Section("Sources", (Table(head, rows),))

    def sign_off(self) -> Section | None:
        if self.role:
            return None
        return Section(
            "Sign-off",
            (
                "This protocol is written out from the program itself. It is not medical advice: "
                "a clinic's medical director signs it off before a patient is treated by it.",
                "Medical director: ..................................   Date: ...............",
            ),
        )


_TRUST = {
    "A": "A: regulator, trial",
    "B": "B: practice",
    "C": "C: other",
}
_KINDS = {
    "integer": "whole number",
    "decimal": "number",
    "yes_no": "yes or no",
    "text": "text",
    "date": "date",
    "instant": "date and time",
    "duration": "duration",
}


def _answers(asked: Field, form: Form) -> str:
    if asked.type in ("choice", "choices"):
        some = "one of: " if asked.type == "choice" else "any of: "
        said = some + ", ".join(asked.options.values())
    else:
        said = _KINDS[asked.type]
    if asked.allowed:
        said = listed((str(each) for each in asked.allowed), "or")
    elif asked.low is not None or asked.high is not None:
        said += f" {_range(asked.low, asked.high)}"
    if asked.unit:
        said += f" {unit_in_words(asked.unit)}"
    more = []
    if not asked.required:
        more.append("optional")
    if asked.may_be:
        more.append(f"or {listed((each.replace('_', ' ') for each in sorted(asked.may_be)), 'or')}")
    if asked.asked_if:
        other, values = asked.asked_if
        answers = listed((raw_in_words(value) for value in values), "or")
        more.append(f"only if “{label_of(form, other)}” is {answers}")
    return clean("; ".join([said, *more]))


def _range(low: Decimal | None, high: Decimal | None) -> str:
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    return f"from {number(low)}" if low is not None else f"up to {number(high or Decimal())}"


def _scored(score: Score, form: Form) -> Point:
    if score.method == "count_at_least":
        how = f"the number of answers of at least {score.threshold} among {len(score.items)}"
    else:
        how = {"sum": "the sum of", "highest": "the highest of"}[score.method]
        how += f" {len(score.items)} answers"
    said = [sentence(how)]
    if score.reversed:
        labels = (f"“{label_of(form, each)}”" for each in score.items if each in score.reversed)
        said.append(f"Counted in reverse: {listed(labels)}.")
    bands = [
        f"from {number(each.low)} {small(each.label or spoken(each.name))}" for each in score.bands
    ]
    if bands:
        said.append(sentence(listed(bands)))
    return Point(clean(score.label or spoken(score.name).capitalize()), clean(" ".join(said)))


# --- rendering --------------------------------------------------------------------------------


def as_markdown(section: Section, level: int = 1) -> str:
    """The section and its parts as CommonMark with tables."""
    lines = [f"{'#' * min(level, 6)} {_md(section.title)}", ""]
    for block in section.blocks:
        if isinstance(block, str):
            lines.append(_md(block))
        elif isinstance(block, Points):
            lines += _md_points(block.points, block.numbered, "")
        else:
            lines.append(f"| {' | '.join(map(_md_cell, block.head))} |")
            lines.append(f"|{' --- |' * len(block.head)}")
            lines += [f"| {' | '.join(map(_md_cell, row))} |" for row in block.rows]
        lines.append("")
    text = "\n".join(lines)
    below = [as_markdown(part, level + 1) for part in section.parts]
    return "\n".join([text.rstrip("\n") + "\n", *below])


def _md_points(points: tuple[Point, ...], numbered: bool, indent: str) -> list[str]:
    lines = []
    for count, point in enumerate(points, 1):
        mark = f"{count}. " if numbered else "- "
        lead = f"**{_md(point.lead)}**" if point.lead else ""
        text = _md(point.text)
        between = ": " if lead and text else ""
        lines.append(f"{indent}{mark}{lead}{between}{text}")
        lines += _md_points(point.under, False, indent + " " * len(mark))
    return lines


def _md(text: str) -> str:
    flat = " ".join(text.split())
    flat = re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", flat)
    return re.sub(r"^([#+-]|\d+(?=[.)]))", r"\\\1", flat) if flat[:1] in "#+-" else flat


def _md_cell(text: str) -> str:
    return _md(text) or " "


def as_rich(section: Section, level: int = 1) -> RenderableType:
    """The section and its parts for a terminal."""

    style = {1: "bold underline", 2: "bold cyan", 3: "bold"}.get(level, "italic")
    lines: list[RenderableType] = [Text(section.title, style)]
    for block in section.blocks:
        if isinstance(block, str):
            lines.append(Text(block))
        elif isinstance(block, Points):
            lines.append(_rich_points(block.points, block.numbered))
        else:
            grid = Grid(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
            for title in block.head:
                grid.add_column(title, overflow="fold")
            for row in block.rows:
                grid.add_row(*(Text(cell) for cell in row))
            lines.append(grid)
    below = [as_rich(part, level + 1) for part in section.parts]
    body = Group(lines[0], Padding(Group(*lines[1:]), (0, 0, 0, 2))) if lines[1:] else lines[0]
    return Group(body, Text(""), *below)


def _rich_points(points: tuple[Point, ...], numbered: bool) -> RenderableType:

    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for count, point in enumerate(points, 1):
        said = Text(point.lead, "bold")
        if point.lead and point.text:
            said.append(": ", "bold")
        said.append(point.text, "none" if point.lead else "")
        below = [_rich_points(point.under, False)] if point.under else []
        grid.add_row(f"{count}." if numbered else "•", Group(said, *below))
    return grid


def as_text(section: Section, width: int = 100) -> str:
    """The section and its parts as plain text."""

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    console.print(as_rich(section))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip("\n") + "\n"


# --- data -------------------------------------------------------------------------------------

_INTERNAL = frozenset({"place", "files", "retention", "remembered", "tallied"})


def plain(value: Any) -> Any:
    """Anything of the model as JSON values."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (Decimal, Duration)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, Place):
        return str(value)
    text = getattr(value, "text", None)
    if isinstance(text, str) and not isinstance(value, Gate):
        return text  # a compiled gate: what it says is its text
    kind = type(value)
    if attrs.has(kind):
        names = tuple(each.name for each in attrs.fields(kind))
    else:
        names = kind.__struct_fields__
    return {name: plain(getattr(value, name)) for name in names if name not in _INTERNAL}
