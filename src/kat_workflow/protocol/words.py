"""The sentences of a program: its names, gates, schedules and ways on, in the clinic's words.

The protocol and the drawings say everything about a program through `Words`, so that a gate
reads the same wherever it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import time
from decimal import Decimal
from itertools import groupby

from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import Field, Form, Score
from kat_workflow.program.model import (
    Alert,
    Anchor,
    Call,
    CapRule,
    DoseRule,
    End,
    GroupKind,
    Lateness,
    Ledger,
    Medicine,
    OrderRule,
    Phase,
    Program,
    Release,
    Repeat,
    Row,
    SessionKind,
    SessionRule,
    Step,
    Watch,
)

__all__ = [
    "Words",
    "clean",
    "item_of",
    "label_of",
    "listed",
    "number",
    "raw_in_words",
    "rows_of",
    "sentence",
    "small",
    "spoken",
    "unit_in_words",
]

_UNBOUNDED = 10_000  # what the compiler writes where the file sets no bound
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


def unit_in_words(unit: str) -> str:
    """A unit as it is printed."""
    return {"Cel": "°C", "mm[Hg]": "mmHg"}.get(unit, clean(unit))


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


def rows_of(phase: Phase) -> tuple[Row, ...]:
    """The ways on in the order in which they are asked: those that are asked all the time first."""
    return tuple(dict.fromkeys((*phase.at_once, *phase.next)))


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
        title, form = self.whose(whose, near)
        label = label_of(form, item)
        if label.endswith("?"):
            return f"“{label}” ({title})"
        if not title or label.casefold().startswith(title.casefold()):
            return label
        short = title.count(" ") < 3 and label.count(" ") < 3
        return f"{title} {small(label)}" if short else f"{small(label)} ({title})"

    def whose(self, name: str, near: str) -> tuple[str, Form | None]:
        """Which step or form records a fact: its title, and the form."""
        program = self.program
        if name == "watch" or name.endswith(".watch"):
            sessions = program.sessions
            kind = sessions.get(name.removesuffix("watch").rstrip(".") or near)
            watched = kind.watch if kind else None
            step = program.steps.get(watched.step) if watched else None
            return "watch", program.forms.get(step.form) if step else None
        full = self.full("steps", name, near)
        if full in program.steps:
            step = program.steps[full]
            return self.named("steps", full), program.forms.get(step.form)
        form = program.forms.get(name)
        return (_brief(form.title) if form else spoken(name).capitalize()), form

    def full(self, table: str, name: str, near: str) -> str:
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
        if step.group:
            group = self.quoted("groups", step.group)
            said.append(f"It is done in a group {group}, and recorded for each patient alone")
        if step.cosigned_by:
            said.append(f"A second person signs as well: {self.roles(step.cosigned_by)}")
        if step.witnessed_by:
            said.append(f"A second person witnesses it: {self.roles(step.witnessed_by)}")
        if step.read_by:
            said.append(f"What is recorded is read by {self.roles(step.read_by)} alone")
        if step.different_person_from:
            others = listed(self.quoted("steps", each) for each in step.different_person_from)
            said.append(f"It is done by another person than {others}")
        if step.after:
            said.append(f"Begins after {listed(self.quoted('steps', s) for s in step.after)}")
        if step.only_if is not None:
            said.append(f"Only if {self.condition(step.only_if.text, step.name)}")
            if step.if_skipped:
                form = self.program.forms.get(step.form)
                reads = listed(
                    f"“{label_of(form, name)}” reads as {_answer(form, name, value)}"
                    for name, value in step.if_skipped.items()
                )
                said.append(f"Where it is skipped, {reads}")
        if not step.required:
            said.append("It is optional")
        if step.may_be:
            ways = listed(sorted(step.may_be), "or")
            said.append(f"It may also end as {ways}")
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
        if step.order:
            return f"{who} orders “{self.named('orders', step.order)}”"
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
        said.extend(self.recurrence(step))
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
        if step.early_by:
            yield f"It may be done {step.early_by} before it opens"
        if step.quiet:
            yield "It does not open in the quiet hours, but at their end"

    def anchor(self, anchor: Anchor, step: Step) -> str:
        """The instant that times count from."""
        if anchor.kind == "opening":
            return "it opens"
        if anchor.kind == "entering":
            return f"{self.quoted('phases', anchor.name or step.owner)} is entered"
        if anchor.kind == "step":
            return f"{self.quoted('steps', anchor.name)} is {anchor.event or 'done'}"
        if anchor.kind == "session" and anchor.event == "dosed":
            return f"the first drug of {self.quoted('sessions', anchor.name)} is given"
        if anchor.kind == "session":
            return f"{self.quoted('sessions', anchor.name)} is {anchor.event or 'released'}"
        return f"the instant “{self.fact(anchor.name, step.name)}”"

    def recurrence(self, step: Step) -> Iterator[str]:
        """How often it is done."""
        if not step.every:
            return
        paces: list[str] = []
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
        if 1 < step.at_most < _UNBOUNDED:
            yield f"At most {step.at_most} times"

    def call(self, late: Lateness) -> str:
        """Who is called and how soon somebody answers."""
        return self._called(late.tell, late.answer_within, late.then)

    def _called(
        self, tell: tuple[str, ...], within: Duration | None, then: tuple[Call, ...]
    ) -> str:
        """Who is called, by when they answer, and who is called while nobody does."""
        said = f"{self.roles(tell)} is called"
        if within is not None:
            said += f" and answers within {within}"
        for call, again in ((call, len(list(same))) for call, same in groupby(then)):
            often = f", up to {again} times" if again > 1 else ""
            said += f"; if nobody does, {self.roles(call.tell)} ({call.answer_within}{often})"
        return said

    def _followed(self, rule: Alert | SessionRule) -> str:
        """What a row sets off besides the dose."""
        said = []
        if rule.recheck is not None:
            said.append(f"the watch looks again within {rule.recheck}")
        if rule.tell:
            said.append(self._called(rule.tell, rule.answer_within, rule.then))
        if getattr(rule, "everywhere", False):
            said.append("the patient's other programs call somebody too")
        return "; ".join(said)

    def alert(self, alert: Alert, near: str) -> str:
        """What a reading means and whom it calls."""
        means = f" ({clean(alert.says).rstrip('.')})" if alert.says else ""
        when = self.condition(alert.when.text, near)
        return f"Alert{means}: when {when}, {self._followed(alert)}"

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
        if repeat.until is not None and repeat.until.text != "not always":
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

    def course(self, session: SessionKind) -> list[tuple[str, str]]:
        """A session from booking to release: what each sentence is about, and the sentence."""
        said = list(self._beginning(session))
        if session.dose:
            said.append(("Dose", self.dose(session.dose)))
            said.extend(self._around_the_dose(session.dose))
        if session.watch:
            said.append(("Watch", self._watch(session.watch)))
        for lead, rules in (("Pause", session.pause_when), ("Stop", session.stop_when)):
            said.extend((lead, sentence(self.session_rule(rule, session.name))) for rule in rules)
        said.extend(("Call", sentence(self.alert(alert, session.name))) for alert in session.alerts)
        if session.release:
            said.append(("Release", self._release(session.release, session.name)))
        if session.counts_when is not None:
            counts = session.counts_when.text
            said.append(
                (
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

    def group(self, kind: GroupKind) -> list[tuple[str, str]]:
        """A kind of group: what each sentence is about, and the sentence."""
        seats = f"{kind.capacity} seats; it starts with {kind.minimum} members or more"
        planned = f"{self.roles(kind.by)} plans and leads it; it lasts {kind.lasts}"
        said = [("Seats", sentence(seats)), ("People", sentence(planned))]
        if kind.staff:
            present = listed(
                f"{self.role(each.role)} for every {each.one_per} members" for each in kind.staff
            )
            said.append(("Present", sentence(f"At the start: one {present}")))
        if kind.rooms:
            said.append(("Room", sentence(listed((clean(room) for room in kind.rooms), "or"))))
        if kind.override_by:
            who = self.roles(kind.override_by)
            said.append(
                (
                    "Override",
                    sentence(f"{who} may start it smaller or short of staff, with a reason"),
                )
            )
        return said

    def _beginning(self, session: SessionKind) -> Iterator[tuple[str, str]]:
        if session.group:
            yield (
                "Group",
                sentence(
                    f"It is held in a group {self.quoted('groups', session.group)}: each "
                    "patient has a session, a dose and a record of their own"
                ),
            )
        if session.at_most or session.apart or session.sedating:
            said = []
            if session.at_most:
                often = f"At most {session.at_most.times} per {session.at_most.per}"
                said.append(sentence(often))
            if session.apart:
                said.append(f"At least {session.apart} between two starts.")
            if session.sedating:
                said.append("One sedating session a date for a patient, in whatever program.")
            yield ("How often", " ".join(said))
        booked = []
        if session.no_show_after:
            booked.append(f"Not arrived {session.no_show_after} after the time: no-show.")
        if session.no_shows:
            booked.append(f"After every {session.no_shows} no-shows somebody looks at it.")
        if session.short_notice:
            booked.append(f"Cancelled less than {session.short_notice} before: at short notice.")
        if session.plan_within:
            booked.append(f"The next is proposed within {session.plan_within} of the last start.")
        if booked:
            yield ("Booking", " ".join(booked))
        if session.ready:
            gates = listed(self.condition(test.text, session.name) for test in session.ready)
            yield ("Ready", sentence(f"It may start only if {gates}"))
        if session.by or session.present:
            said = [f"{self.roles(session.by)} starts it and gives the dose."] if session.by else []
            if session.present:
                said.append(f"Present at the start: {self.roles(session.present, 'and')}.")
            yield ("People", " ".join(said))

    def dose(self, dose: DoseRule) -> str:
        """What is given, how much and how fast."""
        said = f"{clean(dose.drug)}, {dose.route}"
        if dose.amount is not None:
            said += f", {number(dose.amount)} {dose.unit}"
        if dose.rate_from is not None or dose.rate_to is not None:
            said += f", at {_between(dose.rate_from, dose.rate_to)} {dose.rate_unit}"
        if dose.most is not None:
            said += f"; never more than {number(dose.most)} {dose.unit} in one session"
        return sentence(said)

    def _around_the_dose(self, dose: DoseRule) -> Iterator[tuple[str, str]]:
        if dose.order:
            yield (
                "Order",
                f"Given on the order {self.quoted('orders', dose.order)}; without one in force "
                "nothing starts.",
            )
        if dose.caps:
            yield ("Caps", sentence(self.caps(dose.caps, dose.unit)))
        if dose.checked_by:
            yield (
                "Check",
                f"Before it is given a second person checks it: {self.roles(dose.checked_by)}.",
            )
        if dose.lot is not None:
            yield ("Lot", f"Recorded before it is given: {self.fact('.'.join(dose.lot))}.")
        if dose.ledger:
            yield (
                "Ledger",
                f"Stands in the ledger {self.quoted('ledgers', dose.ledger)}: nobody is released "
                "before what was drawn is given, wasted or returned.",
            )

    def caps(self, caps: Iterable[CapRule], unit: str) -> str:
        """The most over each time: `at most 100 mg in 24 h and 600 mg per course`."""
        spans = {
            "program day": "on a program day",
            "enrollment": "in this program",
            "course": "in all programs together",
        }
        return "at most " + listed(
            f"{number(cap.most)} {unit} {f'in {cap.hours}' if cap.hours else spans[cap.per]}"
            for cap in caps
        )

    def order(self, rule: OrderRule) -> str:
        """What may be ordered, by whom, and how it is worked out."""
        amount = _between(rule.amount_from, rule.amount_to)
        said = [f"{clean(rule.drug)}, {rule.route}, {amount} {rule.basis}"]
        if rule.weight is not None:
            weight = self.fact(".".join(rule.weight))
            said.append(f"by {small(weight)}, no older than {rule.weight_lasts}")
        if rule.rounded_to is not None:
            said.append(f"rounded down to a multiple of {number(rule.rounded_to)} {rule.unit}")
        if rule.most is not None:
            said.append(f"never more than {number(rule.most)} {rule.unit}")
        if rule.raise_at_most is not None:
            said.append(f"raised by at most {number(rule.raise_at_most)} {rule.basis} at a time")
        if rule.bolus_at_most is not None:
            said.append(f"at most {number(rule.bolus_at_most)} {rule.basis} of it as a bolus")
        often = "given once" if rule.times == 1 else f"given at most {rule.times} times"
        ends = [often] if rule.times else []
        ends += [f"in force for {rule.lasts}"] if rule.lasts is not None else []
        said.append(listed(ends))
        return f"{sentence('; '.join(said))} Ordered by {self.roles(rule.by)}."

    def medicine(self, medicine: Medicine) -> str:
        """A medicine given as needed."""
        rule = self.program.orders[medicine.order]
        why = f" for {small(clean(medicine.reason))}" if medicine.reason else ""
        said = [f"As needed{why}, on the order {self.quoted('orders', medicine.order)}"]
        if medicine.only_if is not None:
            said.append(f"only if {self.condition(medicine.only_if.text)}")
        if medicine.ledger:
            said.append(f"accounted for in the ledger {self.quoted('ledgers', medicine.ledger)}")
        if medicine.apart is not None:
            said.append(f"at least {medicine.apart} apart")
        if medicine.caps:
            said.append(self.caps(medicine.caps, rule.unit))
        return f"{sentence('; '.join(said))} Given by {self.roles(medicine.by)}."

    def ledger(self, ledger: Ledger) -> str:
        """The book of a controlled drug."""
        drug = clean(ledger.drug) + (f" (schedule {ledger.schedule})" if ledger.schedule else "")
        if ledger.kept_by:
            return sentence(f"{drug}: kept by {clean(ledger.kept_by)}, and not in this record")
        said = f"{drug}: drawn = given + wasted + returned."
        if not ledger.witnessed_by:
            return said
        return f"{said} Another person witnesses what is wasted: {self.roles(ledger.witnessed_by)}."

    def _watch(self, watch: Watch) -> str:
        step = self.program.steps.get(watch.step)
        what = f"{self._deed(step)} " if step else "Readings "
        at = listed(str(each) for each in watch.at)
        first = f"at {at} after the first drug given, " if at else ""
        then = "then " if at else ""
        during = (
            f"{then}every {watch.during_every} until the dose has ended, "
            if (watch.during_every)
            else ""
        )
        then = "then " if during else then
        early = step.early_by if step else None
        soon = f"; it may be taken {early} before its time" if early else ""
        return sentence(
            f"{what}{first}{during}{then}every {watch.then_every} until release{soon}; "
            f"a reading is late after {watch.late_after}"
        )

    def session_rule(self, rule: SessionRule, near: str) -> str:
        """When a dose is paused or stopped, and who hears of it."""
        said = f"When {self.condition(rule.when.text, near)}"
        if rule.says:
            said += f" ({clean(rule.says).rstrip('.')})"
        followed = self._followed(rule)
        return f"{said}; {followed}" if followed else said

    def _release(self, release: Release, near: str) -> str:
        said = f"At the earliest {release.earliest} after the first drug given"
        if release.when is not None:
            said += f", only if {self.condition(release.when.text, near)}"
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
                consent = self.words.full("consents", name, self.near)
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
        session = self.words.full("sessions", name, self.near)
        if session in self.words.program.sessions:
            return self.words.quoted("sessions", session)
        return self.words.quoted("steps", self.words.full("steps", name, self.near))

    def moment(self) -> str:
        name = self.ahead()
        if name == "entering":
            self.at += 1
            phase = self.words.full("phases", self.ahead(), self.near)
            if phase in self.words.program.phases:
                self.at += 1
                return f"entering {self.words.quoted('phases', phase)}"
            return "entering this phase"
        if self.ahead(1) in ("done", "declined", "missed", "skipped", "waived", "withheld"):
            thing = self.thing()
            return f"{thing} was {self.take()}"
        if self.ahead(1) in ("started", "given", "dosed", "released"):
            thing = self.thing()
            return f"{thing} was {self.take().replace('dosed', 'given')}"
        return self.atom()

    def name(self, token: str) -> str:
        program, near = self.words.program, self.near
        gate = self.words.full("gates", token, near)
        if gate in program.gates:
            return self.words.gate(gate)
        limit = self.words.full("limits", token, near)
        if limit in program.limits:
            figure = program.limits[limit]
            return f"{number(figure.value)} {unit_in_words(figure.unit)}".strip()
        if "." in token and not token[0].isdigit():
            whose, _, item = token.rpartition(".")
            form = self.words.whose(whose, near)[1]
            self.field = item_of(form, item)
            return self.words.fact(token, near)
        step = self.words.full("steps", token, near)
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


def _brief(title: str) -> str:
    """The abbreviation of a title such as `Clinical Opiate Withdrawal Scale (COWS)`."""
    found = re.search(r"\(([^\s()]{2,12})\)$", title)
    return clean(found[1] if found else title)


def item_of(form: Form | None, name: str) -> Field | Score | None:
    """The field or score of a form that a fact names."""
    if form is None:
        return None
    scores = {score.name: score for score in form.computed}
    return form.fields.get(name) or scores.get(name.removesuffix("_band")) or scores.get(name)


def label_of(form: Form | None, name: str) -> str:
    """What a form calls one of its fields or scores."""
    item = item_of(form, name)
    return clean((item.label if item else "") or spoken(name))


def _answer(form: Form | None, name: str, value: object) -> str:
    """A recorded value in the words of its field."""
    item = item_of(form, name)
    options = item.options if isinstance(item, Field) else {}
    return clean(options.get(str(value)) or raw_in_words(value))


def small(label: str) -> str:
    """Without its capital, unless it is an abbreviation."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def number(value: Decimal) -> str:
    """A number as it is printed."""
    return f"{value:f}"


def _between(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return f"up to {number(high)}" if high is not None else f"from {number(low or Decimal())}"
    return f"{number(low)} to {number(high)}"


def raw_in_words(value: object) -> str:
    """A recorded value as it is printed."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return spoken(str(value))
