"""A candidate program over a journal's real history: who would have fared otherwise, by which line.

What people asked and told is read out of the entries of each enrollment, command by command, and
said again at the same instants, by the same persons in the same roles: once to the program that was
in force (the control) and once to the candidate. What the control does not give again, the
method cannot tell about, and says so. The rest is the candidate's doing: a command that it would
have refused (with the gate and its line), a call it would have made or not, a release that would
have been possible earlier or only later, another phase or end.

It shows what a program asks for, with the readings that were taken under another one. It does not
show what patients or staff would have done then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from attrs import asdict, define, field, frozen
from msgspec.structs import replace

from kat_workflow.engine import Engine, Happened
from kat_workflow.engine.views import as_happened
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Actor
from kat_workflow.errors import KatError, Reason, Refusal, Refused
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import compile_files
from kat_workflow.language.library import Files, Library
from kat_workflow.program.clock import Site
from kat_workflow.program.model import Program
from kat_workflow.reporting import Page

__all__ = [
    "Difference",
    "NoEnrollments",
    "Said",
    "account",
    "commands_of",
    "counterfactual",
    "enrolled_in",
    "page",
]

What = Literal[
    "blocked",
    "no-place",
    "called",
    "not-called",
    "released-earlier",
    "released-later",
    "other-way",
    "other-end",
]
"""How a candidate may differ: it refuses, does not know the step or session, calls or does not
call, could or would not release, leads to another phase, or to another end."""


@frozen
class Said:
    """A command as it was carried out: what, by whom, when."""

    act: c.Act
    person: str
    role: str
    at: datetime
    occurred: datetime | None = None


@frozen
class Difference:
    """One thing that would have been otherwise in an enrollment. `line` is where the candidate
    says so (`file:line`), "" where no line does; `minutes` is by how much, for a release."""

    enrollment: str
    what: What
    about: str
    at: datetime
    code: str = ""
    gate: str = ""
    line: str = ""
    minutes: int = 0


@define
class Told:
    """What a program made of one enrollment."""

    refused: dict[int, Refusal] = field(factory=dict)
    calls: Counter[str] = field(factory=Counter)
    phases: list[str] = field(factory=list)
    end: str = ""
    free: dict[str, datetime] = field(factory=dict)
    released: dict[str, datetime] = field(factory=dict)


class NoEnrollments(KatError):
    """There is nobody to look at; the text says whom it was looked for."""


# What was said


def commands_of(happened: Sequence[Happened]) -> Iterator[Said | None]:
    """The commands that people gave an enrollment, in order; None for one that is not known again
    (of groups, of other enrollments, corrections)."""
    entries = (each for each in happened if each.person != c.SYSTEM.person)
    for _, group in groupby(entries, key=lambda each: each.cause):
        whole = list(group)
        act = _act([each.event for each in whole])
        if isinstance(act, c.Enroll):
            continue
        first = whole[0]
        if act is None:
            yield None
        else:
            occurred = _occurred(first.event)
            yield Said(act, first.person, first.role, first.recorded, occurred)


def _occurred(event: e.Event) -> datetime | None:
    return event.occurred if isinstance(event, e.ObservationRecorded) else None


def _act(events: Sequence[e.Event]) -> c.Act | None:
    """The act that these events came of, by the first of them."""
    signs = any(isinstance(event, e.Signed) and event.as_ == "signature" for event in events)
    for event in events:
        match event:
            case e.Enrolled():
                return c.Enroll(event.enrollment, event.patient, event.site)
            case e.ObservationRecorded() if not event.carried:
                return c.Record(event.step or event.form, dict(event.values), signs)
            case e.ItemAnswered():
                return c.Settle(event.step, "done", signed=signs)
            case e.ConsentChanged() if event.state == "revoked":
                return c.Revoke(event.consent)
            case e.Signed() if event.item and event.as_ != "release":
                by_second = event.as_ == "cosignature"
                return c.Sign(_step(event.item), cosign=by_second, witness=event.as_ == "witness")
            case e.ItemSettled() if not event.step:
                return _way(events) or c.Settle(_step(event.item), "done", event.reason)
            case e.ItemSettled():
                return c.Settle(event.step, event.outcome, event.reason, signed=signs)
            case e.PhaseLeft() | e.PhaseEntered():
                return _way(events)
            case e.SessionBooked() if event.booked_for is not None:
                return c.Book(event.kind, event.booked_for)
            case e.SessionMoved():
                return c.Book(_kind(event.session), event.booked_for)
            case e.SessionArrived():
                return c.Arrive(_kind(event.session))
            case e.SessionStarted() if not any(isinstance(x, e.DoseGiven) for x in events):
                return c.Start(_kind(event.session), event.present)
            case e.DoseGiven():
                ended = any(isinstance(x, e.DosingEnded) for x in events)
                rate = f"{event.rate} {event.unit}/h" if event.rate else ""
                amount = f"{event.amount} {event.unit}" if event.amount.strip("0.") else ""
                return c.Dose(_kind(event.session), amount, rate, ended, event.lot)
            case e.DosingPaused():
                return c.Pause(_kind(event.session), event.because)
            case e.DosingResumed():
                return c.Resume(_kind(event.session))
            case e.DosingEnded():
                return c.EndDosing(_kind(event.session), f"{event.total} {event.unit}")
            case e.SessionAborted():
                return c.Abort(_kind(event.session), event.reason)
            case e.SessionCancelled():
                return c.Cancel(_kind(event.session), event.reason, event.cause)
            case e.SessionReleased():
                return c.Release(_kind(event.session))
            case e.Ordered():
                return _order(event)
            case e.OrderStopped():
                return c.StopOrder(event.order, event.reason)
            case e.DoseChecked():
                return c.Check(_kind(event.session))
            case e.DrugHandled():
                return _handled(event)
            case e.MedicineGiven():
                amount = f"{event.amount} {event.unit}"
                return c.Give(event.medicine, amount, event.lot, event.reason)
            case e.Held():
                return c.Hold(event.reason)
            case e.HoldLifted():
                return c.Lift(event.hold)
            case e.OverrideGranted():
                return c.Override(event.gate, event.reason)
            case e.Discharged() if not event.row:
                return c.Leave(event.end, event.reason)
            case e.ItemAssigned():
                return c.Assign(event.item, event.person) if event.person else None
            case _:
                continue
    return None


def _way(events: Sequence[e.Event]) -> c.Act | None:
    """A way that somebody chose, or a report of where the patient is."""
    moved = any(isinstance(x, e.DeviationNoted) and x.code == "moved-past-gates" for x in events)
    for event in events:
        if isinstance(event, e.PhaseEntered) and not event.row:
            says = "as the record says"
            return c.Move(event.phase, says) if moved else c.Go(event.phase, says)
        if isinstance(event, e.Discharged) and not event.row:
            return c.Go(event.end, event.reason)
    return None


def _kind(session: str) -> str:
    return session.rpartition(".")[0]


def _step(item: str) -> str:
    """The step of an item's id (`stay.1/baseline.2`), which another program numbers otherwise."""
    return item.rpartition("/")[2].rpartition(".")[0] or item


def _order(event: e.Ordered) -> c.Order:
    amount, bolus = f"{event.amount} {event.basis}", event.bolus and f"{event.bolus} {event.unit}"
    return c.Order(
        event.order, amount, bolus, event.bolus_over, event.infusion_over, event.rate, event.reason
    )


def _handled(event: e.DrugHandled) -> c.Act:
    session, amount = _kind(event.session), f"{event.amount} {event.unit}"
    match event.what:
        case "drawn":
            return c.Draw(session, amount, event.lot)
        case "wasted":
            return c.Waste(session, amount, event.lot)
        case "returned":
            return c.Return(session, amount, event.lot)
        case "witnessed":
            return c.WitnessWaste(session)


# Saying it again


class _Clinic(Engine):
    """An engine that knows one program already: thousands of courses need not read its files."""

    def __init__(
        self, program: Program, library: Library, clock: Callable[[], datetime], site: Site
    ) -> None:
        super().__init__(MemoryJournal(), library, clock, (site,))
        self._named[program.id] = self._by_digest[program.digest] = program


class _Again:
    """One program, told the commands of one enrollment in virtual time."""

    def __init__(self, program: Program, library: Library, site: Site) -> None:
        self.program = program
        self.now = datetime.min
        self.clinic = _Clinic(program, library, lambda: self.now, site)
        self.told = Told()

    def live(self, begun: e.Enrolled, said: Sequence[Said | None], until: datetime) -> Told:
        """Everything that was said, then until the last instant of the record."""
        self.now = begun.at
        by = c.Actor("the record", self.program.staff)
        enrollment = self.clinic.enroll(
            self.program.id, patient=begun.patient, by=by, site=begun.site
        )
        for number, each in enumerate(said):
            if each is None:
                continue
            self._wait(enrollment, each.at)
            self._stock(each.act)
            actor = c.Actor(each.person, {each.role} - {""} or self.program.staff)
            if isinstance(each.act, c.Release):
                self.told.released.setdefault(self._session(enrollment, each.act.session), each.at)
            act = self._asked(each.act) if isinstance(each.act, c.Record) else each.act
            try:
                self.clinic.handle(enrollment, act, by=actor, occurred=each.occurred)
            except Refused as refused:
                self.told.refused[number] = refused.refusal
            self._look(enrollment)
        self._wait(enrollment, until)
        self.clinic.run_due()
        for happened in self.clinic.history(enrollment):
            self._take_in(happened.event)
        return self.told

    def _asked(self, act: c.Record) -> c.Record:
        """A recording without its scores: this program computes its own."""
        step = self.program.steps.get(self.program.find("steps", act.step) or "")
        form = self.program.forms.get(step.form if step is not None else act.step)
        if form is None:
            return act
        computed = {score.name for score in form.computed}
        computed |= {f"{name}_band" for name in computed}
        said = {name: value for name, value in act.values.items() if name not in computed}
        whole = {name: value for name, value in said.items() if not name.endswith("?")}
        # Why there is no answer (`phone?`) is what was said in place of one.
        whole |= {name[:-1]: why for name, why in said.items() if name.endswith("?")}
        return replace(act, values=whole)

    def _stock(self, act: c.Act) -> None:
        """What is drawn was in the cupboard: the record is of one patient, not of the site."""
        if isinstance(act, c.Draw) and act.lot:
            kind = self.program.sessions.get(act.session)
            if kind is not None and kind.dose is not None:
                steward = c.Actor("the record", self.program.staff)
                self.clinic.receive(kind.dose.drug, act.lot, act.amount, by=steward)

    def _session(self, enrollment: str, kind: str) -> str:
        open_ = self.clinic.status(enrollment).sessions
        return next((x.id for x in open_ if x.kind == kind), kind)

    def _wait(self, enrollment: str, until: datetime) -> None:
        """Let time pass, and look whenever a session has lasted as long as its release asks for."""
        lasting = []
        for session in self.clinic.status(enrollment).sessions:
            rule, begun = self.program.sessions[session.kind].release, session.dosed
            begun = session.started if begun is None else begun
            if rule is not None and begun is not None:
                lasting.append(begun + rule.earliest.elapsed)
        for at in sorted(lasting):
            if self.now < at < until:
                self.now = at
                self._look(enrollment)
        self.now = max(self.now, until)

    def _look(self, enrollment: str) -> None:
        """From when on each session that is under way could have been released."""
        for session in self.clinic.status(enrollment).sessions:
            kind = self.program.sessions[session.kind]
            if kind.release is None or session.id in self.told.free:
                continue
            by = c.Actor("the record", kind.release.signed_by)
            if self.clinic.why(enrollment, f"release {kind.name}", by=by) is None:
                self.told.free[session.id] = self.now

    def _take_in(self, event: e.Event) -> None:
        if isinstance(event, e.AlertRaised):
            self.told.calls[event.alert] += 1
        elif isinstance(event, e.PhaseEntered):
            self.told.phases.append(event.phase)
        elif isinstance(event, e.Discharged):
            self.told.end = event.end


def counterfactual(
    clinic: Engine,
    candidate: Program,
    library: Library,
    *,
    of: Iterable[str],
    watch: Callable[[Sequence[str]], Iterable[str]] = iter,
    by: Actor | None = None,
    why: str = "",
) -> tuple[list[Difference], dict[str, Any]]:
    """What the candidate would have made of enrollments of another program or version.

    `clinic` holds the record and knows its sites; `library` finds the candidate and what it
    contains. Returns the differences, and how much of the record could be said again. They hold
    ids and words of the program, but are worked out of all that is recorded of everybody: that
    `by` asked for it, and `why`, is written to the clinic's access log first, as one look.
    """
    of = sorted(of)
    clinic.looked("counterfactual", of, by=by, why=why)
    places = {site.name: site for site in clinic.sites}
    differences: list[Difference] = []
    counts: Counter[str] = Counter()
    in_force: dict[str, tuple[Program, Library]] = {}
    for enrollment in watch(of):
        happened = [as_happened(each) for each in clinic.journal.read(f"enrollment:{enrollment}")]
        begun = happened[0].event
        assert isinstance(begun, e.Enrolled)  # every enrollment begins so
        said = list(commands_of(happened))
        until = happened[-1].recorded
        site = places.get(begun.site) or Site(begun.site)
        if begun.digest not in in_force:
            in_force[begun.digest] = _in_force(clinic, begun)
        control = _Again(*in_force[begun.digest], site).live(begun, said, until)
        other = _Again(candidate, library, site).live(begun, said, until)
        counts["enrollments"] += 1
        counts["commands"] += len(said)
        counts["not_known_again"] += sum(each is None for each in said)
        counts["not_given_again"] += len(control.refused)
        found = list(_differences(enrollment, candidate, said, control, other, until))
        counts["otherwise"] += bool(found)
        differences += found
    return differences, dict(counts)


def _in_force(clinic: Engine, begun: e.Enrolled) -> tuple[Program, Library]:
    """The program that an enrollment was begun with, from the files that its journal keeps."""
    kept = clinic.journal.program(begun.digest)
    if kept is None:
        raise NoEnrollments(f"the journal does not hold the program of {begun.enrollment}")
    return compile_files(kept.files, kept.main), Files(kept.files)


def enrolled_in(clinic: Engine, program: str) -> list[str]:
    """The enrollments in any version of a program. Raises NoEnrollments where there is none."""
    found = []
    for stream in clinic.journal.streams("enrollment:"):
        first = clinic.journal.read(stream)[0]
        begun = e.decode(first.body, first.values)
        if isinstance(begun, e.Enrolled) and begun.program == program:
            found.append(begun.enrollment)
    if not found:
        raise NoEnrollments(f'the journal has no enrollment in "{program}"; name one with --of')
    return found


def _differences(
    enrollment: str,
    candidate: Program,
    said: Sequence[Said | None],
    control: Told,
    other: Told,
    until: datetime,
) -> Iterator[Difference]:
    for number, refusal in sorted(other.refused.items()):
        each = said[number]
        if number in control.refused or each is None:
            continue
        reason = refusal.reasons[0]
        missing = reason.code in _NO_PLACE
        yield Difference(
            enrollment,
            "no-place" if missing else "blocked",
            c.words(each.act),
            each.at,
            reason.code,
            reason.gate,
            _line(candidate, reason, each.act),
        )
    for alert in sorted(control.calls.keys() | other.calls.keys()):
        more = other.calls[alert] - control.calls[alert]
        for _ in range(abs(more)):
            yield Difference(enrollment, "called" if more > 0 else "not-called", alert, until)
    for session, at in sorted(control.released.items()):
        free = other.free.get(session)
        could = control.free.get(session)
        if free is None or could is None or free == could:
            continue
        minutes = int((free - could).total_seconds() // 60)
        what: What = "released-earlier" if minutes < 0 else "released-later"
        kind = candidate.sessions.get(_kind(session))
        line = str(kind.place) if kind is not None and kind.place is not None else ""
        yield Difference(enrollment, what, session, at, line=line, minutes=minutes)
    for phase in other.phases:
        if phase not in control.phases:
            place = candidate.phases[phase].place
            yield Difference(enrollment, "other-way", phase, until, line=str(place or ""))
    if control.end != other.end:
        end = candidate.ends.get(other.end)
        line = str(end.place or "") if end is not None else ""
        yield Difference(enrollment, "other-end", other.end or "under way", until, line=line)


_NO_PLACE = ("unknown-step", "unknown-session", "unknown-order", "unknown-medicine", "not-open",
             "no-session", "already-settled")  # fmt: skip


def _line(candidate: Program, reason: Reason, act: c.Act) -> str:
    """The line of the candidate by which something is refused: of the gate, or of the session."""
    gate = candidate.gates.get(reason.gate)
    place = gate.place if gate is not None else None
    if place is None:
        kind = candidate.sessions.get(str(getattr(act, "session", "")))
        place = kind.place if kind is not None else None
    return str(place) if place is not None else ""


def account(
    candidate: Program, differences: Sequence[Difference], counts: Mapping[str, int]
) -> dict[str, Any]:
    """The differences as plain JSON values, and how often each line made one."""
    lines = Counter((x.what, x.about, x.gate, x.line) for x in differences)
    return {
        "format": 1,
        "candidate": f"{candidate.id}@{candidate.version}",
        **counts,
        "by_line": [
            {"what": what, "about": about, "gate": gate, "line": line, "times": times}
            for (what, about, gate, line), times in sorted(
                lines.items(), key=lambda each: (-each[1], each[0])
            )
        ],
        "differences": [asdict(each) for each in differences],
    }


def page(found: Mapping[str, Any]) -> str:
    """An account as a page. Raises NoPlots without the extra `reports`."""
    made = Page(
        f"What {found['candidate']} would have done",
        "Readings were taken under another program; what people would have done under this one, no"
        " record shows. It claims no effect of any treatment and is not medical advice.",
    )
    made.note(
        f"{found.get('enrollments', 0)} enrollments, {found.get('otherwise', 0)} of them otherwise;"
        f" {found.get('commands', 0)} commands, of which {found.get('not_known_again', 0)} are not"
        f" known again and {found.get('not_given_again', 0)} are not carried out again even by the"
        " program that was in force: about these nothing is said."
    )
    made.table(
        ("what", "about", "gate", "line", "times"),
        [(x["what"], x["about"], x["gate"], x["line"], x["times"]) for x in found["by_line"]],
    )
    kinds = Counter(x["what"] for x in found["differences"])
    if kinds:
        made.bars("What would have been otherwise", "times", kinds)
    made.heading("Each")
    made.table(
        ("enrollment", "when", "what", "about", "code", "line"),
        [
            (
                x["enrollment"],
                f"{x['at']:%Y-%m-%d %H:%M}",
                x["what"],
                x["about"],
                x["code"],
                x["line"],
            )
            for x in found["differences"]
        ],
    )
    return made.html()
