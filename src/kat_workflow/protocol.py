"""A Program as a protocol that a clinician can read, print and sign.

`protocol(program)` is a tree of sections with paragraphs, points and tables: plain values that
`as_markdown`, `as_rich` and `as_text` render. `as_data(program)` is the same program for other
programs. `Words` turns names, gates and schedules into sentences; the drawings use it as well.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from kat_workflow.errors import Place
from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import Field, Form, Score
from kat_workflow.program.model import (
    Alert,
    Anchor,
    DoseRule,
    End,
    Gate,
    Lateness,
    Phase,
    Program,
    Repeat,
    Row,
    SessionKind,
    SessionRule,
    Step,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = [
    "Point",
    "Points",
    "Section",
    "Table",
    "Words",
    "as_data",
    "as_markdown",
    "as_rich",
    "as_text",
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


def as_data(program: Program) -> dict[str, Any]:
    """The program as JSON values.

    Keys are the attribute names of `kat_workflow.program.model`; tables keep the order of the
    file. Gates are texts, durations as written (`24 h`), numbers text (`"0.5"`). Steps, rows,
    repeats and sessions also have `in_words`. `format` counts up if this shape ever changes.
    """
    words = Words(program)
    data: dict[str, Any] = {"format": 1, **_plain(program)}
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
            f"{point.lead}: {point.text}" for point in words.course(session)
        ]
    return data


# --- words ------------------------------------------------------------------------------------

_SIGNS = {
    "<": "is below",
    "<=": "is at most",
    ">": "is above",
    ">=": "is at least",
    "=": "is equal to",
    "!=": "is other than",
}
_ENDS = {
    "completed": "treatment is completed",
    "not_eligible": "not eligible",
    "transferred": "transferred",
    "against_advice": "left against advice",
    "administrative": "administrative",
    "withdrew_consent": "withdrew consent",
    "lost_to_follow_up": "lost to follow-up",
    "other": "left for another or an unknown reason",
    "died": "died",
    "entered_in_error": "entered in error",
}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[A-Za-z_][\w.]*|<=|>=|!=|[<>=()+*]|\S")
_BESIDES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text without what could move a terminal's cursor or turn its reading direction."""
    return _BESIDES.sub("\N{REPLACEMENT CHARACTER}", text)


def spoken(name: str) -> str:
    """A name as words: `detox.first_day` is `first day`."""
    return name.rpartition(".")[2].replace("_", " ")


def listed(words: Iterable[str], join: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    parts = list(words)
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {join} {parts[-1]}"


def sentence(text: str) -> str:
    """With a capital at the front and a full stop at the end."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


class Words:
    """The sentences of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    # names

    def role(self, name: str) -> str:
        """A role's title."""
        return clean(self.program.roles.get(name) or spoken(name))

    def roles(self, names: Iterable[str], join: str = "or") -> str:
        """Several roles."""
        return listed((self.role(name) for name in names), join)

    def named(self, table: str, name: str) -> str:
        """The title of a phase, step, session, end, consent or form, else its name in words."""
        full = self.program.find(table, name) or name
        each = getattr(self.program, table).get(full)
        return clean(getattr(each, "title", "") or spoken(full).capitalize())

    def source(self, name: str) -> str:
        """A source with its trust, `Hospital order set (A)`."""
        each = self.program.sources.get(name)
        return clean(f"{each.title} ({each.trust})") if each else clean(name)

    def fact(self, name: str, near: str = "") -> str:
        """What a fact name such as `baseline.systolic` means: `Baseline systolic pressure`."""
        whose, _, item = name.rpartition(".")
        title, form = self._whose(whose, near)
        label = _label(form, item)
        if label.endswith("?"):
            return f"“{label}” ({title})"
        if not title or label.casefold().startswith(title.casefold()):
            return label
        return f"{title} {_small(label)}" if title.count(" ") < 3 else f"{label} ({title})"

    def _whose(self, name: str, near: str) -> tuple[str, Form | None]:
        program = self.program
        if name == "watch" or name.endswith(".watch"):
            sessions = program.sessions
            kind = sessions.get(name.removesuffix("watch").rstrip(".") or near)
            watched = kind.watch if kind else None
            step = program.steps.get(watched.step) if watched else None
            return "watch", program.forms.get(step.form) if step else None
        full = self._full("steps", name, near)
        if full in program.steps:
            step = program.steps[full]
            return self.named("steps", full), program.forms.get(step.form)
        form = program.forms.get(name)
        return (clean(form.title) if form else spoken(name).capitalize()), form

    def _full(self, table: str, name: str, near: str) -> str:
        """The full name that `name` means when it is written beside `near`."""
        names = getattr(self.program, table)
        prefix = near.rpartition(".")[0]
        while prefix:
            if f"{prefix}.{name}" in names:
                return f"{prefix}.{name}"
            prefix = prefix.rpartition(".")[0]
        return self.program.find(table, name) or name

    # gates

    def condition(self, text: str, near: str = "") -> str:
        """An expression of the gate language as a sentence without a full stop.

        Named gates stand in quotation marks with their own sentence; limits are replaced by
        their figures, facts by their labels.
        """
        return _Sentence(self, clean(text), near).read()

    def gate(self, name: str) -> str:
        """The sentence of a named gate, in quotation marks."""
        return f"“{clean(self.program.gates[name].says).rstrip('.')}”"

    # steps

    def work(self, step: Step) -> list[str]:
        """What is done, by whom and under which conditions."""
        said = [self._deed(step)]
        if step.cosigned_by:
            said.append(f"A second person signs as well: {self.roles(step.cosigned_by)}")
        if step.different_person_from:
            others = listed(self.quoted("steps", each) for each in step.different_person_from)
            said.append(f"It is done by another person than {others}")
        if step.after:
            said.append(f"Begins after {listed(self.quoted('steps', s) for s in step.after)}")
        if step.only_if is not None:
            said.append(f"Only if {self.condition(step.only_if.text, step.name)}")
            if step.if_skipped:
                reads = listed(f"{spoken(k)} reads as {v}" for k, v in step.if_skipped.items())
                said.append(f"Where it is skipped, {reads}")
        if not step.required:
            said.append("It is optional")
        if step.may_be:
            ways = listed(sorted(step.may_be), "or")
            said.append(f"It may also end as {ways}")
        if step.about:
            said.append(clean(step.about))
        return [sentence(each) for each in said]

    def _deed(self, step: Step) -> str:
        who = self.roles(step.by) or "Somebody"
        signs = " and signs it" if step.signed else ""
        if step.form:
            return f"{who} records “{self.named('forms', step.form)}”{signs}"
        if step.consent:
            return f"{who} asks for the consent “{self.named('consents', step.consent)}”{signs}"
        if step.session:
            return f"{who} holds the session “{self.named('sessions', step.session)}”{signs}"
        return f"{who} does it{signs}"

    def quoted(self, table: str, name: str) -> str:
        """A title in quotation marks."""
        return f"“{self.named(table, name)}”"

    def schedule(self, step: Step) -> list[str]:
        """When it is done, how often, who hears of it when it is late, and what it triggers."""
        said = []
        if step.on_day is not None:
            said.append(f"Opens on program day {step.on_day}{self._clock(step.at)}")
        elif step.at is not None:
            said.append(f"Opens{self._clock(step.at)}")
        said.extend(self._window(step))
        said.extend(self._recurrence(step))
        if step.when_late:
            said.append(f"When it is late, {self.call(step.when_late)}")
        for alert in step.alerts:
            said.append(self.alert(alert, step.name))
        if step.on_hold != "pauses":
            said.append(
                "Its times run on during a hold"
                if step.on_hold == "runs"
                else "After a hold its times begin anew"
            )
        return [sentence(each) for each in said]

    def _clock(self, at: time | None) -> str:
        return f" at {at:%H:%M}" if at is not None else ""

    def _window(self, step: Step) -> Iterator[str]:
        edges = []
        if step.opens:
            edges.append(f"may be done from {step.opens}")
        if step.due:
            edges.append(f"is due within {step.due}")
        if step.closes:
            edges.append(f"counts as missed from {step.closes}")
        if edges:
            yield f"It {listed(edges)} after {self.anchor(step.counted_from, step)}"

    def anchor(self, anchor: Anchor, step: Step) -> str:
        """The instant that times count from."""
        if anchor.kind == "opening":
            return "it opens"
        if anchor.kind == "entering":
            return f"{self.quoted('phases', anchor.name or step.owner)} is entered"
        if anchor.kind == "step":
            return f"{self.quoted('steps', anchor.name)} is {anchor.event or 'done'}"
        if anchor.kind == "session":
            return f"{self.quoted('sessions', anchor.name)} is {anchor.event or 'released'}"
        return f"the instant “{self.fact(anchor.name, step.name)}”"

    def _recurrence(self, step: Step) -> Iterator[str]:
        if not step.every:
            return
        paces = []
        for row in step.every:
            pace = (
                f"every {row.interval}"
                if row.interval
                else f"daily at {listed(f'{at:%H:%M}' for at in row.daily_at)}"
            )
            always = row.when is None or row.when.text == "always"
            if always or row.when is None:
                paces.append(f"otherwise {pace}" if paces else pace)
            else:
                paces.append(f"{pace} while {self.condition(row.when.text, step.name)}")
        yield f"Repeated {'; '.join(paces)}"
        if step.at_most > 1:
            yield f"At most {step.at_most} times"

    def call(self, late: Lateness) -> str:
        """Who is called and how soon somebody answers."""
        return f"{self.roles(late.tell)} is called and answers within {late.answer_within}"

    def alert(self, alert: Alert, near: str) -> str:
        """What a reading means and whom it calls."""
        means = f" ({clean(alert.says).rstrip('.')})" if alert.says else ""
        when = self.condition(alert.when.text, near)
        called = f"{self.roles(alert.tell)} is called and answers within {alert.answer_within}"
        return f"Alert{means}: when {when}, {called}"

    # phases

    def passage(self, phase: Phase) -> list[str]:
        """How the phase is gone through."""
        said = []
        if phase.admits:
            said.append("Entering it is the admission: program day 1 begins")
        if phase.by:
            said.append(f"{self.roles(phase.by)} may send a patient here at any time")
        if phase.kind == "sequence":
            said.append(
                "Its phases come one at a time, beginning with "
                f"{self.quoted('phases', phase.start or phase.children[0])}"
            )
        if phase.kind == "tracks":
            names = listed(self.quoted("phases", child) for child in phase.children)
            said.append(f"Its tracks run side by side: {names}")
        if not phase.required:
            said.append("It is optional: the others may end without it")
        if phase.repeat:
            said.append(self.rounds(phase.repeat, phase.name))
        return [sentence(each) for each in said]

    def rounds(self, repeat: Repeat, near: str) -> str:
        """How often a phase is gone through."""
        least, most = repeat.at_least, repeat.at_most
        times = f"{least} times" if least == most else f"at least {least} and at most {most} times"
        said = f"It is gone through {times}"
        if repeat.one_per:
            said += f", one round per {repeat.one_per}"
        if repeat.until is not None:
            said += f", until {self.condition(repeat.until.text, near)}"
        return said

    def target(self, row: Row, phase: Phase) -> str:
        """Where a row leads."""
        if row.to_kind == "end":
            return f"the end {self.quoted('ends', row.to)}"
        if row.to_kind == "phase":
            return self.quoted("phases", row.to)
        if row.to_kind == "back":
            return "back to where the patient was"
        return f"{self.quoted('phases', phase.parent)} is finished" if phase.parent else "finished"

    def when(self, row: Row, phase: Phase, first: bool = False) -> str:
        """The condition of a row: `If …`, `As soon as …`, `Otherwise`."""
        open_ = row.when is None or row.when.text == "always"
        if open_ or row.when is None:
            return "At once" if row.at_once else "Then" if first else "Otherwise"
        said = self.condition(row.when.text, phase.name)
        return f"As soon as {said}" if row.at_once else f"If {said}"

    def way_on(self, row: Row, phase: Phase, first: bool = False) -> str:
        """A row as a sentence."""
        also = f" ({clean(row.says).rstrip('.')})" if row.says else ""
        held = ", even while a hold stands" if row.safety else ""
        return sentence(f"{self.when(row, phase, first)}{also}{held}: {self.target(row, phase)}")

    # sessions

    def course(self, session: SessionKind) -> list[Point]:
        """A session from booking to release."""
        said = list(self._beginning(session))
        if session.dose:
            said.append(Point("Dose", self.dose(session.dose)))
        if session.watch:
            said.append(Point("Watch", self._watch(session)))
        for lead, rules in (("Pause", session.pause_when), ("Stop", session.stop_when)):
            said.extend(
                Point(lead, sentence(self.session_rule(rule, session.name))) for rule in rules
            )
        said.extend(
            Point("Call", sentence(self.alert(alert, session.name))) for alert in session.alerts
        )
        if session.release:
            said.append(Point("Release", self._release(session)))
        if session.counts_when is not None:
            counts = session.counts_when.text
            said.append(
                Point(
                    "Counts",
                    "Every session counts, also an aborted one."
                    if counts == "always"
                    else sentence(
                        f"It counts, also when it was aborted, if "
                        f"{self.condition(counts, session.name)}"
                    ),
                )
            )
        return said

    def _beginning(self, session: SessionKind) -> Iterator[Point]:
        if session.at_most or session.apart:
            said = []
            if session.at_most:
                often = f"At most {session.at_most.times} per {session.at_most.per}"
                said.append(sentence(often))
            if session.apart:
                said.append(f"At least {session.apart} between two starts.")
            yield Point("How often", " ".join(said))
        if session.no_show_after:
            yield Point("Booking", f"Not arrived {session.no_show_after} after the time: no-show.")
        if session.ready:
            gates = listed(self.condition(test.text, session.name) for test in session.ready)
            yield Point("Ready", sentence(f"It may start only if {gates}"))
        if session.by or session.present:
            said = [f"{self.roles(session.by)} starts it and gives the dose."] if session.by else []
            if session.present:
                said.append(f"Present at the start: {self.roles(session.present, 'and')}.")
            yield Point("People", " ".join(said))

    def dose(self, dose: DoseRule) -> str:
        """What is given, how much and how fast."""
        said = f"{clean(dose.drug)}, {dose.route}"
        if dose.amount is not None:
            said += f", {_number(dose.amount)} {dose.unit}"
        elif dose.amount_from is not None or dose.amount_to is not None:
            said += f", {_between(dose.amount_from, dose.amount_to)} {dose.unit}"
        if dose.rate_from is not None or dose.rate_to is not None:
            said += f", at {_between(dose.rate_from, dose.rate_to)} {dose.rate_unit}"
        if dose.most is not None:
            said += f"; never more than {_number(dose.most)} {dose.unit} in one session"
        return sentence(said)

    def _watch(self, session: SessionKind) -> str:
        watch = session.watch
        assert watch is not None
        step = self.program.steps.get(watch.step)
        what = f"{self._deed(step)} " if step else "Readings "
        at = listed(str(each) for each in watch.at)
        first = f"at {at} after the first drug given, " if at else ""
        then = "then " if at else ""
        return sentence(
            f"{what}{first}{then}every {watch.then_every} until release; "
            f"a reading is late after {watch.late_after}"
        )

    def session_rule(self, rule: SessionRule, near: str) -> str:
        """When a dose is paused or stopped, and who hears of it."""
        said = f"When {self.condition(rule.when.text, near)}"
        if rule.says:
            said += f" ({clean(rule.says).rstrip('.')})"
        if rule.tell:
            within = f" and answers within {rule.answer_within}" if rule.answer_within else ""
            said += f"; {self.roles(rule.tell)} is called{within}"
        return said

    def _release(self, session: SessionKind) -> str:
        release = session.release
        assert release is not None
        said = f"At the earliest {release.earliest} after the first drug given"
        if release.when is not None:
            said += f", only if {self.condition(release.when.text, session.name)}"
        return sentence(f"{said}, signed by {self.roles(release.signed_by)}")

    # ends

    def end_kind(self, end: End) -> str:
        """What kind of end it is."""
        return _ENDS.get(end.kind, spoken(end.kind))


class _Sentence:
    """Reads an expression token by token and says each in words."""

    def __init__(self, words: Words, text: str, near: str) -> None:
        self.words = words
        self.near = near
        self.tokens = _TOKEN.findall(text)
        self.at = 0
        self.field: Field | Score | None = None

    def read(self) -> str:
        said = []
        while self.at < len(self.tokens):
            said.append(self.next())
        text = " ".join(said)
        return re.sub(r"\( | \)", lambda found: found[0].strip(), text)

    def ahead(self, count: int = 0) -> str:
        at = self.at + count
        return self.tokens[at] if at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.ahead()
        self.at += 1
        return token

    def next(self) -> str:
        token = self.take()
        match token, self.ahead():
            case "consent", name if self.ahead(1) == "in":
                self.at += 3
                consent = self.words._full("consents", name, self.near)
                return f"the consent {self.words.quoted('consents', consent)} is in force"
            case "age", "of":
                self.at += 1
                return f"the age of {self.atom()}"
            case "time", "since":
                self.at += 1
                return f"the time since {self.moment()}"
            case "count", "of":
                self.at += 1
                return f"the number of times {self.thing()} was {self.take()}"
            case "total", "of":
                self.at += 1
                fact = self.atom()
                self.at += 1
                return f"the total of {fact} within {self.span()}"
            case ("every" | "any") as quantity, _:
                fact = self.atom()
                self.at += 2
                which = "every reading" if quantity == "every" else "any reading"
                return f"{which} of {fact} in the last {self.span()}"
            case "last", count:
                self.at += 2
                return f"each of the last {count} readings of {self.atom()}"
            case "ever", _:
                return f"any reading so far of {self.atom()}"
            case "program", "day":
                self.at += 1
                return "the program day"
            case "round", _:
                return "the round"
            case "given", _:
                return "the amount given"
            case "is", "recorded":
                self.at += 1
                return "is recorded"
            case ("is" | "has") as verb, _:
                return self.answer(verb)
            case "-", _:
                return "minus"
            case "+", _:
                return "plus"
            case "*", _:
                return "times"
        if token in _SIGNS:
            return _SIGNS[token]
        return self.name(token)

    def span(self) -> str:
        token = self.take()
        if token[:1].isdigit():
            return f"{token} {self.take()}"
        return self.name(token)

    def atom(self) -> str:
        return self.name(self.take())

    def thing(self) -> str:
        """A step or a session, in quotation marks."""
        name = self.take()
        session = self.words._full("sessions", name, self.near)
        if session in self.words.program.sessions:
            return self.words.quoted("sessions", session)
        return self.words.quoted("steps", self.words._full("steps", name, self.near))

    def moment(self) -> str:
        name = self.ahead()
        if name == "entering":
            self.at += 1
            phase = self.words._full("phases", self.ahead(), self.near)
            if phase in self.words.program.phases:
                self.at += 1
                return f"entering {self.words.quoted('phases', phase)}"
            return "entering this phase"
        if self.ahead(1) in ("done", "declined", "missed", "skipped", "waived", "withheld"):
            thing = self.thing()
            return f"{thing} was {self.take()}"
        if self.ahead(1) in ("started", "dosed", "released"):
            thing = self.thing()
            return f"{thing} was {self.take()}"
        return self.atom()

    def name(self, token: str) -> str:
        program, near = self.words.program, self.near
        gate = self.words._full("gates", token, near)
        if gate in program.gates:
            return self.words.gate(gate)
        limit = self.words._full("limits", token, near)
        if limit in program.limits:
            return clean(f"{_number(program.limits[limit].value)} {program.limits[limit].unit}")
        if "." in token and not token[0].isdigit():
            whose, _, item = token.rpartition(".")
            form = self.words._whose(whose, near)[1]
            self.field = _item(form, item)
            return self.words.fact(token, near)
        step = self.words._full("steps", token, near)
        if step in program.steps:
            self.field = None
            return self.words.quoted("steps", step)
        return token

    def answer(self, verb: str) -> str:
        """`is yes`, `is not alcohol`, `has nausea` with the label of the option."""
        denied = ""
        if self.ahead() == "not":
            self.at += 1
            denied = " not"
        word = self.take()
        label = word.replace("_", " ")
        if isinstance(self.field, Field):
            label = self.field.options.get(word, label)
        if isinstance(self.field, Score):
            label = next((b.label for b in self.field.bands if b.name == word), label)
        plain = word in ("yes", "no") or self.field is None
        return f"{verb}{denied} {label if plain else f'“{clean(label)}”'}"


def _item(form: Form | None, name: str) -> Field | Score | None:
    if form is None:
        return None
    scores = {score.name: score for score in form.computed}
    return form.fields.get(name) or scores.get(name.removesuffix("_band")) or scores.get(name)


def _label(form: Form | None, name: str) -> str:
    item = _item(form, name)
    return clean((item.label if item else "") or spoken(name))


def _small(label: str) -> str:
    """Without its capital, unless it is an abbreviation."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def _number(value: Decimal) -> str:
    return f"{value:f}"


def _between(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return f"up to {_number(high)}" if high is not None else f"from {_number(low or Decimal())}"
    return f"{_number(low)} to {_number(high)}"


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
            self.people(),
            self.consents(),
            self.way(),
            *self.phases(),
            self.excursions(),
            self.sessions(),
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
            ways = [Point("", self.words.way_on(row, phase)) for row in phase.at_once]
            ways += [
                Point("", self.words.way_on(row, phase, first=count == 0 and not phase.at_once))
                for count, row in enumerate(phase.next)
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
            calls = [alert.tell for alert in step.alerts]
            calls += [step.when_late.tell] if step.when_late else []
            if not self.concerns(step.by, step.cosigned_by, *calls):
                continue
            said = [*self.words.work(step), *self.words.schedule(step)]
            if step.source:
                said.append(sentence(f"Source: {self.words.source(step.source)}"))
            points.append(Point(self.words.named("steps", name), " ".join(said)))
        return tuple(points)

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
                blocks.append(Points(tuple(self.words.course(session))))
            for title, steps in (("Before:", before), ("Watch:", watch), ("Afterwards:", after)):
                if steps:
                    blocks += [title, Points(steps)]
            if session.source:
                blocks.append(sentence(f"Source: {self.words.source(session.source)}"))
            parts.append(Section(self.words.named("sessions", name), tuple(blocks)))
        return Section("Sessions", (), tuple(parts)) if parts else None

    def ends(self) -> Section | None:
        points = []
        for name, end in self.program.ends.items():
            if self.role and not self.concerns(end.by):
                continue
            said = [sentence(self.words.end_kind(end))]
            if end.by:
                said.append(f"Reported by {self.words.roles(end.by)}.")
            if end.work:
                work = listed(self.words.quoted("steps", step) for step in end.work)
                said.append(f"Work that follows and never blocks leaving: {work}.")
            title = self.words.named("ends", name)
            points.append(Point(title, " ".join(said) if end.declared or end.work or end.by else ""))
        leaving = [s.name for s in self.program.steps.values() if s.owner_kind == "leaving"]
        work = self.steps(leaving)
        blocks: list[str | Points | Table] = [Points(tuple(points))] if points else []
        parts = (Section("Work after leaving", (Points(work),)),) if work else ()
        return Section("Ends", tuple(blocks), parts)

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
        return f"{said} {by} may override it for {lasts}, with a reason."

    def limits(self) -> Section | None:
        if self.role or not self.program.limits:
            return None
        rows = tuple(
            (
                spoken(name).capitalize(),
                clean(f"{_number(limit.value)} {limit.unit}".strip()),
                self.words.source(limit.source),
                clean(limit.about),
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
            (clean(each.label or spoken(name)), _answers(each))
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
                "Medical director: ........................................   Date: ...............",
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


def _answers(asked: Field) -> str:
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
        said += f" {asked.unit}"
    more = []
    if not asked.required:
        more.append("optional")
    if asked.may_be:
        more.append(f"or {listed((each.replace('_', ' ') for each in sorted(asked.may_be)), 'or')}")
    if asked.asked_if:
        other, values = asked.asked_if
        answers = listed((_raw(value) for value in values), "or")
        more.append(f"only if {spoken(other)} is {answers}")
    return clean("; ".join([said, *more]))


def _range(low: Decimal | None, high: Decimal | None) -> str:
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    return f"from {_number(low)}" if low is not None else f"up to {_number(high or Decimal())}"


def _raw(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _scored(score: Score, form: Form) -> Point:
    if score.method == "count_at_least":
        how = f"the number of answers of at least {score.threshold} among {len(score.items)}"
    else:
        how = {"sum": "the sum of", "highest": "the highest of"}[score.method]
        how += f" {len(score.items)} answers"
    said = [sentence(how)]
    if score.reversed:
        labels = (f"“{_label(form, each)}”" for each in score.items if each in score.reversed)
        said.append(f"Counted in reverse: {listed(labels)}.")
    bands = [
        f"from {_number(each.low)} {_small(each.label or spoken(each.name))}"
        for each in score.bands
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
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table as Grid
    from rich.text import Text

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
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

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
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    console.print(as_rich(section))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip("\n") + "\n"


# --- data -------------------------------------------------------------------------------------

_INTERNAL = frozenset({"place", "files", "retention", "remembered", "tallied"})


def _plain(value: Any) -> Any:
    """Anything of the model as JSON values."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (Decimal, Duration)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, Place):
        return str(value)
    text = getattr(value, "text", None)
    if isinstance(text, str) and not isinstance(value, Gate):
        return text  # a compiled gate: what it says is its text
    return {
        each.name: _plain(getattr(value, each.name))
        for each in attrs.fields(type(value))
        if each.name not in _INTERNAL
    }
