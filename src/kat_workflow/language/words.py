"""What the words of a file mean: names looked up, numbers with units, and gates as tests.

`Words` knows every name of a program. All parts are built through it, so that each kind of word
is read, and found wanting, in one way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import time
from typing import Any, Literal

from attrs import evolve, frozen

from kat_workflow.errors import Place
from kat_workflow.language import grammar
from kat_workflow.language.findings import closest
from kat_workflow.language.layout import Job, Layout
from kat_workflow.language.names import Path, Unit
from kat_workflow.program import model
from kat_workflow.program.clock import Duration, parse_duration
from kat_workflow.program.forms import Field, Form
from kat_workflow.program.gates import (
    MOMENT_OF,
    Context,
    Problem,
    SessionInfo,
    StepInfo,
    Test,
    Vocabulary,
    compile_test,
)
from kat_workflow.program.units import Quantity, nearest_unit, parse_quantity

__all__ = ["Around", "Use", "Words", "clock_time", "duration", "unless_always"]

# How the gates of a place are read.


@frozen(eq=False)
class Around:
    """The phases and the kind of session around a place that uses gates."""

    path: tuple[str, ...] = ()
    session: str = ""


@frozen(eq=False)
class Use:
    """A test with the place that uses it."""

    test: Test
    around: Around


class Words:
    """The names and gates of one program, for whatever part asks."""

    def __init__(self, layout: Layout, unit: Unit) -> None:
        self.layout, self.unit = layout, unit
        self.names, self.report = layout.names, layout.report
        self.consents: dict[str, model.Consent] = {}
        self.limits: dict[str, model.Limit] = {}
        self.gates: dict[str, model.Gate] = {}
        self.escalations: dict[str, tuple[model.Call, ...]] = {}
        self.uses: list[Use] = []
        self.vocabulary = Vocabulary()
        self._gate_units: dict[str, tuple[Unit, Path]] = {}
        self._held_by: dict[str, list[str]] = {name: [] for name in layout.kinds}

    # Tables

    def declare_tables(self, unit: Unit) -> None:
        """Consents, limits and gates of a file."""
        written, tables = unit.written, self.names.tables
        for name, consent in written.consents.items():
            full = unit.prefix + name
            if full in tables["consents"]:
                lasts = duration(consent.lasts)
                self.consents[full] = model.Consent(full, consent.title, consent.version, lasts)
        for name, limit in written.limits.items():
            full, path = unit.prefix + name, ("limits", name)
            if full in tables["limits"]:
                quantity = self.quantity(unit, limit.is_, (*path, "is"))
                source = self.source(unit, limit.source, path, "is")
                if quantity is not None:
                    said_in = unit.document.place((*path, "is"))[0].file
                    self.limits[full] = model.Limit(
                        full,
                        quantity.value,
                        quantity.unit.written,
                        source,
                        limit.about,
                        self.layout.overlays.get(said_in, ""),
                    )
        for name, gate in written.gates.items():
            full = unit.prefix + name
            if full in tables["gates"]:
                self.gates[full] = self._gate(unit, full, gate, ("gates", name))
                self._gate_units[full] = unit, ("gates", name)
        for name, chain in written.escalations.items():
            path = ("escalations", name)
            self.source(unit, chain.source, path, "then")
            if not chain.then and self.stands(unit, (*path, "then")) == []:
                message = "nobody is called"
                hint = "write then: [{tell: [doctor], answer_within: 10 min}]"
                self.report.add(unit.document, "by-nobody", (*path, "then"), message, hint)
            if not 0 <= chain.repeat_last <= MOST_REPEATS:
                message = f"the last call cannot be repeated {chain.repeat_last} times"
                hint = f"write 0 to {MOST_REPEATS}"
                self.report.add(
                    unit.document, "impossible-range", (*path, "repeat_last"), message, hint
                )
                continue
            calls = self._calls(unit, chain.then, (*path, "then"))
            self.escalations[unit.prefix + name] = calls + calls[-1:] * chain.repeat_last

    def _gate(self, unit: Unit, full: str, gate: grammar.Gate, path: Path) -> model.Gate:
        override = None
        if gate.override is not None:
            by = self.roles(unit, gate.override.by, (*path, "override", "by"))
            lasts = duration(gate.override.lasts)
            second = self.roles(unit, gate.override.cosigned_by, (*path, "override", "cosigned_by"))
            if lasts is not None:
                override = model.Override(by, lasts, second, dict(gate.override.reasons))
        return model.Gate(full, gate.says, gate.when, override, self.place(unit, path))

    def learn(self) -> None:
        """What gates may know of the whole: the vocabulary."""
        layout, steps = self.layout, {}
        for job in layout.jobs.values():
            kind = job.unit.full("sessions", job.written.session)
            if job.written.session and kind in self._held_by and job.owner_kind == "phase":
                self._held_by[kind].append(job.owner)
        for name, job in layout.jobs.items():
            its, unit = job.written, job.unit
            around = self.around(job)
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
            amount = parse_quantity(self.dose_quantity(held.unit, dose)) if dose else None
            sessions[name] = SessionInfo(
                name,
                amount.unit.written if amount is not None else "",
                watch_step,
                tuple(own),
                self.held_in(name),
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

    def held_in(self, kind: str) -> tuple[str, ...]:
        """The phases around every step that holds a session of this kind."""
        trails = [self.layout.spots[owner].trail for owner in self._held_by[kind]]
        if not trails:
            return ()
        return tuple(name for name in trails[0] if all(name in trail for trail in trails))

    def around(self, job: Job) -> Around:
        """What is around a step."""
        if job.owner_kind == "phase":
            return Around(self.layout.spots[job.owner].trail)
        if job.owner_kind == "session":
            return Around(self.held_in(job.owner), job.owner)
        return Around()

    # Small parts

    def place(self, unit: Unit, path: Path) -> Place:
        """Where something is declared."""
        return unit.document.place(path, on="key")[0]

    def stands(self, unit: Unit, path: Path) -> object:
        """What is written at a path; None where nothing is, which has its finding already."""
        at: Any = unit.document.tree
        for part in path:
            try:
                at = at[part]
            except (KeyError, IndexError, TypeError):
                return None
        return at

    def roles(self, unit: Unit, written: Iterable[str], path: Path) -> tuple[str, ...]:
        """The roles of a list that there are."""
        found = [
            self.names.find("roles", unit, role, (*path, count))
            for count, role in enumerate(written)
        ]
        return tuple(role for role in found if role is not None)

    def needed_roles(self, unit: Unit, written: Collection[str], path: Path) -> tuple[str, ...]:
        """Roles of which at least one must be named, or nobody could do it."""
        if not written and self.stands(unit, path) == []:
            message = "nobody is named who may do this"
            self.report.add(unit.document, "by-nobody", path, message, "name one role at least")
        return self.roles(unit, written, path)

    def source(
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

    def quantity(self, unit: Unit, written: str, path: Path) -> Quantity | None:
        """A number with its unit; None and a finding if it is none."""
        quantity = parse_quantity(written)
        if quantity is None and written:
            number, _, rest = written.partition(" ")
            if rest and parse_quantity(number) is not None:
                message = f'there is no unit "{rest}"'
                near = nearest_unit(rest)
                hint = f'did you mean "{near}"?' if near else ""
                self.report.add(unit.document, "unit-unknown", path, message, hint)
            else:
                message = f'"{written}" is no number with a unit'
                self.report.add(
                    unit.document, "bad-quantity", path, message, "write it as in 180 mmHg"
                )
        return quantity

    def test(
        self,
        unit: Unit,
        text: str,
        path: Path,
        around: Around,
        side: Literal["go", "stop"] = "go",
    ) -> Test | None:
        """The test that a condition means in a place; its problems become findings."""
        if not text:
            return None
        context = Context(around.path, around.session, side, unit.prefix.removesuffix("."))
        test, problems = compile_test(text, self.vocabulary, context)
        for problem in problems:
            self._problem(unit, path, text, problem, context)
        self._mention(unit, text)
        if test is not None:
            self.uses.append(Use(test, around))
        return test

    def read_unused_gates(self) -> None:
        """Gates that nobody uses are read too, as if by the program itself."""
        unused = {full for full, _ in self.names.unused("gates")}
        for full, (unit, path) in self._gate_units.items():
            text = self.gates[full].text
            self._mention(unit, text)
            if full in unused:
                context = Context((), "", "go", unit.prefix.removesuffix("."))
                _, problems = compile_test(text, self.vocabulary, context)
                for problem in problems:
                    if problem.code != "not-in-scope":
                        self._problem(unit, (*path, "when"), text, problem, context)

    def _mention(self, unit: Unit, text: str) -> None:
        """What a condition names is used."""
        words = set(_WORD.findall(text))
        for table in ("limits", "consents", "gates"):
            full = {unit.prefix + word for word in words} | words
            self.names.use(table, full & self.names.tables[table].keys())

    def _problem(
        self, unit: Unit, path: Path, text: str, problem: Problem, context: Context
    ) -> None:
        """A finding at the very word; a fault inside a gate is said at that gate."""
        if problem.gate:
            owner, its_path = self._gate_units[problem.gate]
            inner = evolve(context, prefix=owner.prefix.removesuffix("."))
            its_text = self.gates[problem.gate].text
            _, problems = compile_test(its_text, self.vocabulary, inner)
            own = [each for each in problems if not each.gate]
            for each in own:
                self._problem(owner, (*its_path, "when"), its_text, each, inner)
            if own:
                return
        if self._is_said(unit, text[problem.start : problem.end], problem.code):
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

    def _is_said(self, unit: Unit, word: str, code: str) -> bool:
        """Whether what a gate stumbles over has a finding where it is declared."""
        if code == "unit-unknown" and "." in word:
            return True  # the unit of a field
        full = unit.prefix + word
        unbuilt = full in self.names.tables["limits"] and full not in self.limits
        return unbuilt or unit.prefix + word.partition(".")[0] in self.names.lost

    def tell(self, unit: Unit, written: grammar.Tell | None, path: Path) -> model.Lateness | None:
        """Who is called when something becomes late."""
        if written is None:
            return None
        tell = self.needed_roles(unit, written.tell, (*path, "tell"))
        within = duration(written.answer_within)
        then = self.then(unit, written, path)
        return None if within is None else model.Lateness(tell, within, then)

    def alerts(
        self,
        unit: Unit,
        written: Iterable[grammar.Alert | grammar.WatchAlert],
        path: Path,
        name: str,
        around: Around,
    ) -> tuple[model.Alert, ...]:
        """Readings that set something off, judged on any recorded value."""
        found = []
        for count, alert in enumerate(written):
            at: Path = (*path, count)
            test = self.test(unit, alert.when, (*at, "when"), around, "stop")
            recheck, everywhere = None, False
            if isinstance(alert, grammar.WatchAlert):
                tell = self.roles(unit, alert.tell, (*at, "tell"))
                recheck = self.recheck(unit, alert, at)
            else:
                tell = self.needed_roles(unit, alert.tell, (*at, "tell"))
                everywhere = alert.everywhere
            then = self.then(unit, alert, at)
            if test is not None:
                within = duration(alert.answer_within)
                says, own = alert.says or alert.when, f"{name}.alert.{count + 1}"
                place = self.place(unit, (*at, "when"))
                found.append(
                    model.Alert(own, says, test, tell, within, then, recheck, everywhere, place)
                )
        return tuple(found)

    def recheck(
        self, unit: Unit, written: grammar.WatchAlert | grammar.SessionRule, path: Path
    ) -> Duration | None:
        """How soon a watch looks again; a call says by when it must be answered, and a row that
        neither calls nor looks again says nothing."""
        recheck = duration(written.recheck)
        if recheck is not None and recheck.seconds == 0:
            message = "a reading 0 minutes after the last is no new one"
            self.report.add(
                unit.document, "impossible-range", (*path, "recheck"), message, "say 5 min"
            )
        if bool(written.tell) != bool(written.answer_within):
            message = "a call needs somebody who is called and a time by which they answer"
            key = "tell" if written.tell else "answer_within"
            hint = "write tell: [doctor], answer_within: 5 min"
            self.report.add(unit.document, "half-a-call", (*path, key), message, hint, on="key")
        elif not written.tell and not recheck and isinstance(written, grammar.WatchAlert):
            message = "nothing follows from this"
            hint = "write tell: [doctor], answer_within: 5 min, or recheck: 5 min"
            self.report.add(unit.document, "half-a-call", path, message, hint)
        return recheck

    def then(
        self,
        unit: Unit,
        written: grammar.Tell | grammar.Alert | grammar.WatchAlert | grammar.SessionRule,
        path: Path,
    ) -> tuple[model.Call, ...]:
        """Who is called, one after the other, while nobody answers."""
        chain = self.names.find("escalations", unit, written.escalation, (*path, "escalation"))
        if (written.then or written.escalation) and not written.tell:
            key = "then" if written.then else "escalation"
            message = "who is called first is not said"
            self.report.add(
                unit.document, "half-a-call", (*path, key), message, "write tell: […]", on="key"
            )
        if written.then and written.escalation:
            message = "who is called next is said twice"
            hint = "take then: or escalation: out"
            self.report.add(
                unit.document, "half-a-call", (*path, "escalation"), message, hint, on="key"
            )
        if chain is not None:
            return self.escalations.get(chain, ())
        return self._calls(unit, written.then, (*path, "then"))

    def _calls(
        self, unit: Unit, written: Iterable[grammar.Call], path: Path
    ) -> tuple[model.Call, ...]:
        found = []
        for count, call in enumerate(written):
            tell = self.needed_roles(unit, call.tell, (*path, count, "tell"))
            within = duration(call.answer_within)
            if within is not None and within.seconds == 0:
                message = "nobody can answer in no time"
                at: Path = (*path, count, "answer_within")
                self.report.add(unit.document, "impossible-range", at, message, "say 5 min")
            elif within is not None:
                found.append(model.Call(tell, within))
        return tuple(found)

    def dose_quantity(self, unit: Unit, dose: grammar.Dose) -> str:
        """A quantity in the unit of what is given: the dose's own, or that of its order."""
        its = unit.written.orders.get(dose.order)
        ordered = "" if its is None else its.most or its.rounded_to or its.amount.from_
        return dose.amount or dose.most or ordered

    def recorded(self, unit: Unit, written: str, path: Path) -> tuple[Form, Field] | None:
        """The field that `form.field` or `step.field` names; None and a finding without one."""
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
        return form, form.fields[wanted]

    def _fact(self, unit: Unit, written: str, path: Path) -> str | None:
        """`form.field` for a recorded instant or date named by a form or a step."""
        found = self.recorded(unit, written, path)
        if found is None:
            return None
        form, field = found
        if field.type not in ("instant", "date"):
            message = f'"{written}" is {field.type}, not an instant'
            hint = "count from a field whose type is instant"
            self.report.add(unit.document, "type-mismatch", path, message, hint)
            return None
        return f"{form.name}.{field.name}"

    def anchor(self, unit: Unit, written: str, path: Path) -> model.Anchor:
        """What `counted_from` names; the opening where it names nothing that there is."""
        match written.split():
            case [] | ["opening"]:
                return model.Anchor("opening")
            case ["entering"]:
                return model.Anchor("entering")
            case [step, "done"]:
                found = self.names.find("steps", unit, step, path)
                return model.Anchor("step", found) if found else model.Anchor("opening")
            case [session, ("started" | "given" | "dosed" | "released") as event]:
                found = self.names.find("sessions", unit, session, path)
                moment = MOMENT_OF.get(event, event)
                return model.Anchor("session", found, moment) if found else model.Anchor("opening")
            case [fact] if "." in fact:
                found = self._fact(unit, fact, path)
                return model.Anchor("fact", found) if found else model.Anchor("opening")
            case _:
                message = f'"{written}" is no moment to count from'
                hint = "write opening, entering, STEP done, SESSION released or form.field"
                self.report.add(unit.document, "bad-anchor", path, message, hint)
                return model.Anchor("opening")


MOST_REPEATS = 100
"""How often the last call of a chain may be repeated: a page every 5 minutes for a night."""

_WORD = re.compile(r"[a-z][a-z0-9_.]*")


def duration(written: str) -> Duration | None:
    """A duration; one that cannot be read has its finding already."""
    return parse_duration(written) if written else None


def clock_time(written: str) -> time | None:
    """A clock time; one that cannot be read has its finding already."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", written)
    return time(int(found[1]), int(found[2])) if found else None


def unless_always(test: Test | None) -> Test | None:
    """None for what always holds, as the model says it."""
    return None if test is None or test.always else test
