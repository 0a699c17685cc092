"""A Program as a picture: Mermaid text, or one SVG file that needs nothing else.

`mermaid(program)` is a stateDiagram-v2. `svg(program)` is laid out here: phases are boxes inside
boxes, read from top to bottom; tracks stand side by side; each way on is a row at the foot of
its box, with its condition in words, and leads to a rounded end or along the margin to a sibling
box. Sessions, excursions and ends have strips of their own below. The same program always gives
the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Literal

from attrs import define, evolve, field, frozen

from kat_workflow.program.model import Phase, Program, Row, SessionKind, SessionRule
from kat_workflow.protocol.words import Words, clean, listed, rows_of, sentence

__all__ = ["mermaid", "svg"]


# --- Mermaid ----------------------------------------------------------------------------------


def mermaid(program: Program) -> str:
    """The program as a Mermaid stateDiagram-v2."""
    return "\n".join(_Mermaid(program).lines()) + "\n"


class _Mermaid:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.words = Words(program)

    def lines(self) -> list[str]:
        phases = self.program.phases.values()
        tops = [each for each in phases if not each.parent and not each.excursion]
        out = ["stateDiagram-v2", f"    accTitle: {_safe(self.program.title)}", "    direction TB"]
        out.append(f"    [*] --> {_id('p', self.program.start)}")
        for phase in tops:
            out += self.phase(phase, "    ")
        for phase in (each for each in phases if each.excursion):
            out += self.phase(phase, "    ")
            title = _id("p", phase.name)
            out.append(f"    note right of {title}")
            out.append("        from anywhere, and back")
            out.append("    end note")
        out += self.ways([each for each in phases if not each.parent], "    ")
        drawn = {row.to for each in phases for row in rows_of(each) if row.to_kind == "end"}
        for name in self.program.ends:
            if name in drawn:
                identity = _id("e", name)
                out.append(f'    state "{_safe(self.words.named("ends", name))}" as {identity}')
                out.append(f"    {identity} --> [*]")
        return out

    def phase(self, phase: Phase, indent: str) -> list[str]:
        identity = _id("p", phase.name)
        title = self.words.named("phases", phase.name)
        if phase.repeat:
            title += f" ({_rounds(phase)})"
        out = [f'{indent}state "{_safe(title)}" as {identity}']
        inner = [self.program.phases[name] for name in phase.children]
        if not inner:
            return out
        out[0] += " {"
        within = indent + "    "
        if phase.kind == "sequence":
            out.append(f"{within}[*] --> {_id('p', phase.start or phase.children[0])}")
        for count, child in enumerate(inner):
            if phase.kind == "tracks" and count:
                out.append(f"{within}--")
            out += self.phase(child, within)
        out += self.ways(inner, within)
        return [*out, f"{indent}}}"]

    def ways(self, phases: Iterable[Phase], indent: str) -> list[str]:
        """The arrows between siblings, where they are declared; ends are drawn from here too."""
        out = []
        for phase in phases:
            for count, row in enumerate(rows_of(phase)):
                said = _safe(_condition(self.words, row, phase, count))
                start = _id("p", phase.name)
                if row.to_kind in ("finish", "back"):
                    target = "[*]"
                else:
                    target = _id("e" if row.to_kind == "end" else "p", row.to)
                out.append(f"{indent}{start} --> {target} : {said}")
        return out


def _id(kind: str, name: str) -> str:
    return f"{kind}_{re.sub('[^A-Za-z0-9]', lambda found: f'_{ord(found[0]):x}_', name)}"


def _safe(text: str) -> str:
    """Text in which nothing can be taken for Mermaid's grammar: all else is a character code."""
    flat = " ".join(clean(text).split())
    return re.sub(r"[^\w .,()/+-]|--+", lambda f: "".join(f"#{ord(c)};" for c in f[0]), flat)


def _rounds(phase: Phase) -> str:
    repeat = phase.repeat
    if repeat is None:
        return ""
    least, most = repeat.at_least, repeat.at_most
    said = f"{least} rounds" if least == most else f"{least} to {most} rounds"
    return f"{said}, one per {repeat.one_per}" if repeat.one_per else said


def _condition(words: Words, row: Row, phase: Phase, count: int) -> str:
    said = words.when(row, phase, first=count == 0)
    return f"{said} ({clean(row.says).rstrip('.')})" if row.says else said


# --- SVG --------------------------------------------------------------------------------------

_PAD = 14
_GAP = 22
_LEAF = 380
_LANE = 16
_SIZE = {"big": 22, "title": 15, "text": 13, "small": 11.5}

_LIGHT = {
    "ground": "#ffffff",
    "ink": "#1c2733",
    "soft": "#5a6878",
    "edge": "#9fb0c0",
    "leaf": "#f4f8fc",
    "nest0": "#e9eff6",
    "nest1": "#dfe8f1",
    "line": "#46708f",
    "good": "#dff2e4",
    "done": "#2f7d4a",
    "other": "#fbe9dc",
    "left": "#a2571f",
    "session": "#efe9fa",
    "held": "#6a4bb0",
}
_DARK = {
    "ground": "#12181f",
    "ink": "#e6edf4",
    "soft": "#9fb0c0",
    "edge": "#4a5b6c",
    "leaf": "#1b2530",
    "nest0": "#18212b",
    "nest1": "#202c38",
    "line": "#7fb2d6",
    "good": "#173a24",
    "done": "#6fc48d",
    "other": "#40291a",
    "left": "#e2a477",
    "session": "#2a2340",
    "held": "#b39cf0",
}


def svg(program: Program) -> str:
    """The program as one SVG document, for light and dark grounds."""
    return _Picture(program).draw()


@frozen
class _Line:
    """A wrapped line of text; `bold` and `style` as in the style sheet."""

    text: str
    style: str = "text"
    tint: str = "ink"
    bold: bool = False
    mark: str = ""
    indent: int = 0


@define
class _Box:
    """A laid out phase: its size, what it says, what is inside and its ways on."""

    phase: Phase
    depth: int
    width: float = 0
    height: float = 0
    x: float = 0
    y: float = 0
    head: list[_Line] = field(factory=list)
    inner: list[_Box] = field(factory=list)
    foot: list[tuple[Row, list[_Line]]] = field(factory=list)
    lanes: dict[str, int] = field(factory=dict)
    inner_top: float = 0
    foot_top: float = 0


@define
class _Canvas:
    """What is drawn, from back to front."""

    parts: list[str] = field(factory=list)

    def box(self, x: float, y: float, w: float, h: float, css: str, *, round_: float = 8) -> None:
        self.parts.append(
            f'<rect class="{css}" x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}"'
            f' rx="{_n(round_)}"/>'
        )

    def path(self, steps: str, css: str = "way", arrow: bool = True) -> None:
        marker = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(f'<path class="{css}" d="{steps}"{marker}/>')

    def dot(self, x: float, y: float, r: float, css: str) -> None:
        self.parts.append(f'<circle class="{css}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}"/>')

    def text(self, x: float, y: float, line: _Line) -> None:
        css = f"{line.style} {line.tint}{' bold' if line.bold else ''}"
        if line.mark:
            self.parts.append(
                f'<text class="{line.style} soft" x="{_n(x)}" y="{_n(y)}">{line.mark}</text>'
            )
        said = escape(clean(line.text), quote=True)
        at = _n(x + line.indent)
        self.parts.append(f'<text class="{css}" x="{at}" y="{_n(y)}">{said}</text>')

    def lines(self, x: float, y: float, lines: Iterable[_Line]) -> float:
        """Lines below each other; where the next would begin."""
        for line in lines:
            y += _height(line)
            self.text(x, y - 4, line)
        return y


class _Picture:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.words = Words(program)
        self.canvas = _Canvas()

    def draw(self) -> str:
        program, canvas = self.program, self.canvas
        phases = program.phases
        tops = [each for each in phases.values() if not each.parent and not each.excursion]
        main = self.stack([self.measure(each, 0) for each in tops])
        strips = [self.session_strip(each) for each in program.sessions.values()]
        width = max([main.width, *(strip.width for strip in strips), 3 * 240])
        y: float = _PAD
        heading = [_Line(clean(program.title), "big", bold=True)]
        heading += _wrap(
            f"Version {program.version}. {program.about}", width, "text", "soft", most=4
        )
        y = canvas.lines(_PAD, y, heading) + _GAP
        self.place(main, _PAD, y)
        self.paint_inner(main, program.start)
        y += main.height + _GAP
        aside = [self.measure(each, 0) for each in phases.values() if each.excursion]
        if aside:
            y = self.title(y, "Excursions: from anywhere, and back")
            y = self.flow(aside, y, width)
        if strips:
            y = self.title(y, "Sessions")
            for strip in strips:
                y = self.paint_strip(strip, y) + _GAP
        y = self.ends(y, width)
        return self.document(width + 2 * _PAD, y + _PAD)

    def title(self, y: float, said: str) -> float:
        return self.canvas.lines(_PAD, y, [_Line(said, "title", "soft", bold=True)]) + 6

    # measuring, from the inside out

    def measure(self, phase: Phase, depth: int) -> _Box:
        children = [self.measure(self.program.phases[name], depth + 1) for name in phase.children]
        if phase.kind == "tracks":
            box = self.side_by_side(phase, depth, children)
        elif children:
            box = self.stack(children, phase, depth)
        else:
            box = _Box(phase, depth, width=_LEAF)
        box.head = self.head(phase, box.width - 2 * _PAD)
        box.foot = [
            (row, self.row_lines(row, phase, count, box.width - 2 * _PAD - 10))
            for count, row in enumerate(rows_of(phase))
        ]
        top = _PAD + sum(map(_height, box.head))
        box.inner_top = top + (_PAD if children else 0)
        below = box.inner_top + (box.height if children else 0)
        box.foot_top = below + (10 if box.foot else 0)
        foot = sum(sum(map(_height, lines)) + 5 for _, lines in box.foot)
        box.height = box.foot_top + foot + _PAD
        return box

    def stack(self, children: list[_Box], phase: Phase | None = None, depth: int = -1) -> _Box:
        """Boxes below each other, with a lane in the right margin for each sibling gone to."""
        names = [child.phase.name for child in children]
        spans: list[tuple[int, int, str]] = []
        for at, child in enumerate(children):
            for row in rows_of(child.phase):
                if row.to_kind == "phase" and row.to in names:
                    spans.append((at, names.index(row.to), row.to))
        lanes = _lanes(spans)
        margin = 12 + _LANE * (max(lanes.values()) + 1) if lanes else 0
        widest = max((child.width for child in children), default=_LEAF)
        stretched = [self.stretch(child, widest) for child in children]
        height = sum(child.height for child in stretched) + _GAP * (len(children) - 1)
        around = 2 * _PAD if phase else 0
        outer = phase or _NOWHERE
        width = widest + margin + around + 18
        return _Box(outer, depth, width, height, inner=stretched, lanes=lanes)

    def side_by_side(self, phase: Phase, depth: int, children: list[_Box]) -> _Box:
        width = sum(child.width for child in children) + _PAD * (len(children) + 1)
        tallest = max(child.height for child in children)
        return _Box(phase, depth, width, tallest, inner=children)

    def stretch(self, box: _Box, width: float) -> _Box:
        """The same box, as wide as its siblings, with its text wrapped anew where it is a leaf."""
        if box.inner or box.width == width:
            return box if not box.inner else evolve(box, width=width)
        again = _Box(box.phase, box.depth, width=width)
        again.head = self.head(box.phase, width - 2 * _PAD)
        again.foot = [
            (row, self.row_lines(row, box.phase, count, width - 2 * _PAD - 10))
            for count, row in enumerate(rows_of(box.phase))
        ]
        again.inner_top = _PAD + sum(map(_height, again.head))
        again.foot_top = again.inner_top + (10 if again.foot else 0)
        foot = sum(sum(map(_height, lines)) + 5 for _, lines in again.foot)
        again.height = again.foot_top + foot + _PAD
        return again

    def head(self, phase: Phase, width: float) -> list[_Line]:
        lines = _wrap(self.words.named("phases", phase.name), width, "title", bold=True)
        notes = []
        parent = self.program.phases.get(phase.parent)
        if parent and parent.kind == "tracks":
            notes.append("track")
        if phase.admits:
            notes.append("admission: program day 1")
        if phase.repeat:
            notes.append(_rounds(phase))
            if phase.repeat.until is not None and phase.repeat.until.text != "not always":
                until = self.words.condition(phase.repeat.until.text, phase.name)
                notes.append(f"until {until}")
        if not phase.required:
            notes.append("optional")
        if phase.by:
            notes.append(f"sent by {self.words.roles(phase.by)}")
        if notes:
            lines += _wrap(", ".join(notes), width, "small", "soft")
        for name in phase.steps:
            lines += self.step_lines(name, width)
        return lines

    def step_lines(self, name: str, width: float) -> list[_Line]:
        step = self.program.steps[name]
        title = self.words.named("steps", name)
        said = f"{title} – {self.words.roles(step.by)}"  # noqa: RUF001
        facts = []
        if step.due:
            facts.append(f"due within {step.due}")
        if step.every:
            pace = step.every[-1]
            clock = listed(f"{at:%H:%M}" for at in pace.daily_at)
            often = f"every {pace.interval}" if pace.interval else f"daily at {clock}"
            facts.append(often if len(step.every) == 1 else f"{often} or less often")
        if step.on_day is not None:
            facts.append(f"program day {step.on_day}")
        if not step.required:
            facts.append("optional")
        mark = "◆" if step.session else "•"
        more = f" ({', '.join(facts)})" if facts else ""
        tint = "held" if step.session else "ink"
        wrapped = _wrap(said + more, width - 16, "text", tint)
        return [
            evolve(line, indent=16, mark=mark if count == 0 else "")
            for count, line in enumerate(wrapped)
        ]

    def row_lines(self, row: Row, phase: Phase, count: int, width: float) -> list[_Line]:
        said = _condition(self.words, row, phase, count)
        lines = _wrap(f"{said}:", width, "small", "soft")
        tint = "line"
        if row.to_kind == "end":
            title = f"{self.words.named('ends', row.to)}"
            tint = "done" if self.program.ends[row.to].kind == "completed" else "left"
        elif row.to_kind == "phase":
            title = self.words.named("phases", row.to)
        else:
            title = self.words.target(row, phase)
        return [*lines, _Line(_cut(title, width - 40, "text"), "text", tint, bold=True, indent=34)]

    # placing, from the outside in

    def place(self, box: _Box, x: float, y: float) -> None:
        box.x, box.y = x, y
        at_x, at_y = x + (_PAD if box.phase is not _NOWHERE else 0), y + box.inner_top
        tallest = max((child.height for child in box.inner), default=0)
        for child in box.inner:
            if box.phase.kind == "tracks":
                child.height = tallest
                self.place(child, at_x, at_y)
                at_x += child.width + _PAD
            else:
                self.place(child, at_x + 18, at_y)
                at_y += child.height + _GAP

    # painting

    def paint(self, box: _Box) -> None:
        canvas, phase = self.canvas, box.phase
        canvas.parts.append(f'<g id="{_id("p", phase.name)}">')
        about = phase.about or " ".join(self.words.passage(phase))
        if about:
            canvas.parts.append(f"<title>{escape(clean(about))}</title>")
        css = f"phase nest{box.depth % 2}" if box.inner else "phase leaf"
        canvas.box(box.x, box.y, box.width, box.height, css)
        canvas.lines(box.x + _PAD, box.y + _PAD - 4, box.head)
        self.paint_inner(box, phase.start)
        self.paint_foot(box)
        canvas.parts.append("</g>")

    def paint_inner(self, box: _Box, start: str) -> None:
        for child in box.inner:
            self.paint(child)
            if child.phase.name == start and box.phase.kind != "tracks":
                at = child.y + 20
                self.canvas.dot(child.x - 13, at, 4.5, "begin")
                self.canvas.path(f"M{_n(child.x - 9)} {_n(at)}H{_n(child.x - 2)}")
        self.paint_lanes(box)

    def paint_lanes(self, box: _Box) -> None:
        """The arrows between siblings: out at the row, along the margin, in at the head."""
        placed = {child.phase.name: child for child in box.inner}
        for target, lane in box.lanes.items():
            into = placed[target]
            x = into.x + into.width + 10 + _LANE * lane
            arrive = into.y + 20
            starts = []
            for child in box.inner:
                at = child.y + child.foot_top
                for row, lines in child.foot:
                    at += sum(map(_height, lines)) + 5
                    if row.to == target and row.to_kind == "phase":
                        starts.append((child.x + child.width, at - 13))
            for edge, at in starts:
                self.canvas.path(f"M{_n(edge)} {_n(at)}H{_n(x)}V{_n(arrive)}", arrow=False)
            self.canvas.path(f"M{_n(x)} {_n(arrive)}H{_n(into.x + into.width + 2)}")

    def paint_foot(self, box: _Box) -> None:
        canvas = self.canvas
        if not box.foot:
            return
        x, y = box.x + _PAD, box.y + box.foot_top
        canvas.path(f"M{_n(x)} {_n(y - 3)}H{_n(box.x + box.width - _PAD)}", "rule", arrow=False)
        for row, lines in box.foot:
            end = y + sum(map(_height, lines))
            target = lines[-1]
            wide = _measure(target.text, "text", bold=True) + 20
            if row.to_kind == "end":
                css = "pill good" if target.tint == "done" else "pill other"
                canvas.box(x + 26, end - 18, wide, 19, css, round_=9.5)
            canvas.lines(x, y, lines)
            canvas.path(f"M{_n(x + 4)} {_n(end - 8.5)}H{_n(x + 22)}")
            if row.to_kind == "phase":
                canvas.path(
                    f"M{_n(x + 34 + wide - 10)} {_n(end - 8)}H{_n(box.x + box.width)}",
                    "lead",
                    arrow=False,
                )
            y = end + 5

    def flow(self, boxes: list[_Box], y: float, width: float) -> float:
        """Boxes side by side, in as many lines as it takes."""
        x: float = _PAD
        tallest: float = 0
        for box in boxes:
            if x > _PAD and x + box.width > width + _PAD:
                x, y, tallest = _PAD, y + tallest + _GAP, 0
            self.place(box, x, y)
            self.paint(box)
            x += box.width + _GAP
            tallest = max(tallest, box.height)
        return y + tallest + _GAP

    # sessions

    def session_strip(self, session: SessionKind) -> _Strip:
        words = self.words
        said: dict[str, list[str]] = {}
        for lead, text in words.course(session):
            said.setdefault(lead, []).append(text)
        steps = {
            part: [words.named("steps", name) for name in getattr(session, part)]
            for part in ("before", "after")
        }
        cells = [
            ("Booked", [*said.get("How often", []), *said.get("Booking", [])]),
            ("Arrived", [sentence(listed(steps["before"])), *said.get("Ready", [])]),
            (
                "Under way",
                [
                    *said.get("People", []),
                    *said.get("Dose", []),
                    *(f"Pause: {self.rule(rule, session)}" for rule in session.pause_when),
                    *(f"Stop: {self.rule(rule, session)}" for rule in session.stop_when),
                ],
            ),
            ("Recovering", [*said.get("Watch", []), sentence(listed(steps["after"]))]),
            ("Released", [*said.get("Release", []), *said.get("Counts", [])]),
        ]
        width = 196.0
        columns = []
        for title, texts in cells:
            lines = [_Line(title, "title", "held", bold=True)]
            for text in texts:
                lines += _wrap(text, width - 2 * 10, "small") if text else []
            columns.append(lines)
        height = max(sum(map(_height, lines)) for lines in columns) + 18
        total = len(columns) * width + (len(columns) - 1) * 24
        return _Strip(session, columns, width, total, height)

    def rule(self, rule: SessionRule, session: SessionKind) -> str:
        """What a pause or stop rule means; its condition where no words say it."""
        return sentence(clean(rule.says) or self.words.session_rule(rule, session.name))

    def paint_strip(self, strip: _Strip, y: float) -> float:
        canvas = self.canvas
        title = self.words.named("sessions", strip.session.name)
        canvas.parts.append(f'<g id="{_id("s", strip.session.name)}">')
        y = canvas.lines(_PAD, y, [_Line(title, "title", bold=True)]) + 4
        x: float = _PAD
        for count, lines in enumerate(strip.columns):
            canvas.box(x, y, strip.column, strip.height, "phase session", round_=10)
            canvas.lines(x + 10, y + 6, lines)
            if count:
                canvas.path(f"M{_n(x - 23)} {_n(y + 20)}H{_n(x - 2)}")
            x += strip.column + 24
        y += strip.height
        note = (
            "Cancelled: ended before anything was given. "
            "Aborted: ended after something was given; the watch goes on until release."
        )
        y = canvas.lines(_PAD, y + 2, [_Line(note, "small", "soft")])
        canvas.parts.append("</g>")
        return y

    # ends

    def ends(self, y: float, width: float) -> float:
        shown = [each for each in self.program.ends.values() if each.declared]
        others = [each for each in self.program.ends.values() if not each.declared]
        canvas = self.canvas
        y = self.title(y, "Ends")
        column, x, tallest = 230.0, float(_PAD), 0.0
        for end in shown:
            if x + column > width + _PAD and x > _PAD:
                x, y, tallest = float(_PAD), y + tallest + 12, 0.0
            css = "good" if end.kind == "completed" else "other"
            tint = "done" if end.kind == "completed" else "left"
            lines = _wrap(self.words.named("ends", end.name), column - 28, "title", tint, bold=True)
            kind = self.words.end_kind(end)
            work = [self.words.named("steps", step) for step in end.work]
            more = f"{kind}; then {listed(work)}" if work else kind
            lines += _wrap(sentence(more), column - 28, "small")
            height = sum(map(_height, lines)) + 16
            canvas.parts.append(f'<g id="{_id("e", end.name)}">')
            canvas.box(x, y, column, height, f"phase {css}", round_=18)
            canvas.lines(x + 14, y + 5, lines)
            canvas.parts.append("</g>")
            x, tallest = x + column + 12, max(tallest, height)
        y += tallest + 8
        if others:
            kinds = listed(self.words.end_kind(end) for end in others)
            lines = _wrap(f"Possible from anywhere as well: {kinds}.", width, "small", "soft")
            y = canvas.lines(_PAD, y, lines)
        return y

    # the document

    def document(self, width: float, height: float) -> str:
        title = escape(clean(self.program.title))
        about = f"{self.program.id} {self.program.version}, digest {self.program.digest}"
        size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
        arrow = (
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
                'aria-labelledby="title about">',
                f'<title id="title">{title}</title>',
                f'<desc id="about">{escape(clean(about))}</desc>',
                f"<style>\n{_style()}\n</style>",
                arrow,
                f'<rect class="ground" width="{_n(width)}" height="{_n(height)}"/>',
                *self.canvas.parts,
                "</svg>\n",
            ]
        )


@frozen(eq=False)
class _Strip:
    session: SessionKind
    columns: list[list[_Line]]
    column: float
    width: float
    height: float


_NOWHERE = Phase("", "", "sequence", (), "")


def _lanes(spans: Iterable[tuple[int, int, str]]) -> dict[str, int]:
    """A lane for each target: shortest spans innermost, none over another in the same lane."""
    reach: dict[str, tuple[int, int]] = {}
    for start, end, target in spans:
        low, high = reach.get(target, (end, end))
        reach[target] = (min(low, start), max(high, start))
    lanes: dict[str, int] = {}
    taken: list[list[tuple[int, int]]] = []
    for target, (low, high) in sorted(reach.items(), key=lambda e: (e[1][1] - e[1][0], e[1], e[0])):
        free = (
            lane
            for lane, others in enumerate(taken)
            if all(high < other[0] or low > other[1] for other in others)
        )
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        lanes[target] = lane
    return lanes


# Widths of characters in hundredths of the font size, on the generous side: the reader's font
# is not known, and text that is too wide would leave its box.
_WIDTHS = {
    **dict.fromkeys("iljtfr'|!.,:;()[]{}` ", 36),
    **dict.fromkeys("mwMW@%", 95),
    **dict.fromkeys("ABCDEFGHKNOPQRSTUVXYZ&+<>=–", 74),  # noqa: RUF001
}


def _measure(text: str, style: str, bold: bool = False) -> float:
    size = _SIZE[style]
    wide = sum(_WIDTHS.get(c, 58 if ord(c) < 0x1100 else 104) for c in text)
    return wide * size / 100 * (1.13 if bold else 1.0)


def _wrap(
    text: str,
    width: float,
    style: Literal["big", "title", "text", "small"],
    tint: str = "ink",
    *,
    bold: bool = False,
    most: int = 12,
) -> list[_Line]:
    """The text in lines that fit; words that do not are broken; an ellipsis after `most`."""
    lines: list[str] = []
    line = ""
    for word in clean(text).split():
        for part in _broken(word, width, style, bold):
            longer = f"{line} {part}" if line else part
            if line and _measure(longer, style, bold) > width:
                lines.append(line)
                longer = part
            line = longer
    if line:
        lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], _cut(f"{lines[most - 1]} …", width, style, bold)]
    return [_Line(each, style, tint, bold) for each in lines]


def _broken(word: str, width: float, style: str, bold: bool) -> list[str]:
    """A word in pieces that each fit; nearly always the word itself."""
    pieces = [""]
    for sign in word:
        if pieces[-1] and _measure(pieces[-1] + sign, style, bold) > width:
            pieces.append("")
        pieces[-1] += sign
    return pieces


def _cut(text: str, width: float, style: str, bold: bool = True) -> str:
    if _measure(text, style, bold) <= width:
        return text
    while text and _measure(f"{text}…", style, bold) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _height(line: _Line) -> float:
    return round(_SIZE[line.style] * 1.38)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _style() -> str:
    fixed = [
        'text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}',
        *(f".{name}{{font-size:{size}px}}" for name, size in _SIZE.items()),
        ".bold{font-weight:600}",
        ".phase{stroke-width:1.2}",
        ".way{fill:none;stroke-width:1.5}",
        ".lead{fill:none;stroke-width:1;stroke-dasharray:1 4}",
        ".rule{fill:none;stroke-width:1}",
    ]
    dark = "\n".join(_palette(_DARK))
    return "\n".join(
        [*fixed, *_palette(_LIGHT), f"@media (prefers-color-scheme:dark){{\n{dark}\n}}"]
    )


def _palette(colours: dict[str, str]) -> list[str]:
    fills = ("ground", "leaf", "nest0", "nest1", "good", "other", "session")
    texts = ("ink", "soft", "line", "done", "left", "held")
    return [
        *(f".{name}{{fill:{colours[name]}}}" for name in fills),
        *(f"text.{name}{{fill:{colours[name]}}}" for name in texts),
        f".phase{{stroke:{colours['edge']}}}",
        f".good{{stroke:{colours['done']}}}",
        f".other{{stroke:{colours['left']}}}",
        f".session{{stroke:{colours['held']}}}",
        f".way{{stroke:{colours['line']}}}",
        f".lead{{stroke:{colours['line']}}}",
        f".rule{{stroke:{colours['edge']}}}",
        f".tip,.begin{{fill:{colours['line']}}}",
    ]
