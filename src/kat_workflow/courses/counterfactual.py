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
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from attrs import asdict, define, field, frozen
from msgspec.structs import replace

from kat_workflow.engine import Engine, Happened
from kat_workflow.engine.views import as_happened
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.state import Enrollment
from kat_workflow.errors import KatError, Place, Reason, Refusal, Refused
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import compile_files
from kat_workflow.language.library import Files, Library
from kat_workflow.program.clock import Site
from kat_workflow.program.model import Alert, Program, SessionRule
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
    "called-earlier",
    "called-later",
    "released-earlier",
    "released-later",
    "other-way",
    "other-end",
]
"""How a candidate may differ: it refuses, does not know the step or session, calls or does not
call, or at another time, could release earlier or only later, leads to another phase, or to another
end."""


@frozen
class Said:
    """A command as it was carried out: what, by whom, when. `call` is of what kind an item is that
    it settles and no step asks for (a call, a review), and what that is about: such items are
    numbered otherwise each time."""

    act: c.Act
    person: str
    role: str
    at: datetime
    occurred: datetime | None = None
    call: tuple[str, str] | None = None


@frozen
class Difference:
    """One thing that would have been otherwise in an enrollment. `at` is when; what no longer
    happens, and a release, has the instant at which it did. `line` is where the candidate says so
    (`file:line:column`), "" where no line does; `minutes` is by how much, for a call or a release
    at another time."""

    enrollment: str
    what: What
    about: str
    at: datetime
    code: str = ""
    gate: str = ""
    line: str = ""
    minutes: int = 0


@frozen
class Call:
    """Somebody who is called; `level` counts the calls before that nobody answered. `occasion` is
    what the first of them was about: the item that is late, or the instant of a reading."""

    alert: str
    says: str
    tell: tuple[str, ...]
    at: datetime
    level: int
    occasion: str | datetime


@define
class Told:
    """What a program made of one enrollment; `free` is from when on a session could have been
    released, `released` when it was."""

    refused: dict[int, Refusal] = field(factory=dict)
    calls: list[Call] = field(factory=list)
    occasions: dict[str, str | datetime] = field(factory=dict)
    entered: list[e.PhaseEntered] = field(factory=list)
    discharged: e.Discharged | None = None
    free: dict[str, datetime] = field(factory=dict)
    released: dict[str, datetime] = field(factory=dict)


class NoEnrollments(KatError):
    """There is nobody to look at; the text says whom it was looked for."""


# What was said


def commands_of(happened: Sequence[Happened]) -> Iterator[Said | None]:
    """The commands that people gave an enrollment, in order; None for one that is not known again
    (of groups, of other enrollments, corrections)."""
    calls = {
        each.event.item: (each.event.kind, each.event.about)
        for each in happened
        if isinstance(each.event, e.ItemOpened) and not each.event.step
    }
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
            call = calls.get(_settles(act, [each.event for each in whole]))
            yield Said(act, first.person, first.role, first.recorded, occurred, call)


def _settles(act: c.Act, events: Sequence[e.Event]) -> str:
    """The item that an act is about, for those that name one."""
    if not isinstance(act, c.Settle | c.Sign | c.Assign):
        return ""
    kinds = e.ItemSettled | e.Signed | e.ItemAssigned
    return next((event.item for event in events if isinstance(event, kinds)), "")


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

    def open_call(self, enrollment: str, kind: str, about: str) -> str:
        """The open call or review about the same, else the only one there is; "" for none."""
        _, state = self._read(enrollment)
        same_kind = [x for x in state.items.values() if x.kind == kind]
        found = [x for x in same_kind if x.about == about]
        if not found and len(same_kind) == 1:
            found = same_kind
        return found[0].id if found else ""

    def release_turns(self, enrollment: str, besides: Container[str]) -> datetime | None:
        """The next instant at which time alone could make a release possible (R8), but for these
        sessions; None if none is under way."""
        program, state = self._read(enrollment)
        under_way = [
            x for x in state.sessions.values() if x.started is not None and x.id not in besides
        ]
        if not under_way:
            return None

        def turns(
            program: Program, state: Enrollment, around: Around, now: datetime
        ) -> list[datetime | None]:
            run = Run.of(program, state, around, now)
            found = [state.wake]  # a timer may settle what is asked for before the release
            for session in under_way:
                rule, begun = program.sessions[session.kind].release, session.dosed
                begun = session.started if begun is None else begun
                assert rule is not None  # the language asks for it
                assert begun is not None  # it is under way
                found.append(begun + rule.earliest.elapsed)
                found.append(None if rule.when is None else rule.when.turns_at(run))
            return found

        now = self._instant()
        _, found = self._ask(turns, program, state, self._around(state), now)
        return min((at for at in found if at is not None and at > now), default=None)


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
            if each.call is not None and isinstance(act, c.Settle | c.Sign | c.Assign):
                act = replace(act, step=self.clinic.open_call(enrollment, *each.call) or act.step)
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
        """Let time pass, and look whenever it alone could have made a release possible."""
        while (at := self.clinic.release_turns(enrollment, self.told.free)) is not None:
            if at > until:
                break
            self.now = at
            self.clinic.run_due()
            self._look(enrollment)
        self.now = max(self.now, until)

    def _look(self, enrollment: str) -> None:
        """From when on each session that is under way could have been released."""
        for session in self.clinic.status(enrollment).sessions:
            kind = self.program.sessions[session.kind]
            if session.id in self.told.free:
                continue
            assert kind.release is not None  # the language asks for it
            by = c.Actor("the record", kind.release.signed_by)
            if self.clinic.why(enrollment, f"release {kind.name}", by=by) is None:
                self.told.free[session.id] = self.now

    def _take_in(self, event: e.Event) -> None:
        if isinstance(event, e.AlertRaised | e.AlertEscalated):
            level = 0
            if isinstance(event, e.AlertRaised):
                self.told.occasions[event.call] = event.item or event.at
            else:
                level = event.level
            occasion = self.told.occasions[event.call]
            self.told.calls.append(
                Call(event.alert, event.says, event.tell, event.at, level, occasion)
            )
        elif isinstance(event, e.PhaseEntered):
            self.told.entered.append(event)
        elif isinstance(event, e.Discharged):
            self.told.discharged = event


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
    lines = _lines(candidate)
    for had, has in _paired(control.calls, other.calls):
        call = has or had
        assert call is not None
        line, minutes = lines.get(call.alert, ""), 0
        what: What = "called" if had is None else "not-called"
        if had is not None and has is not None:
            minutes = _minutes(has.at - had.at)
            what = "called-earlier" if minutes < 0 else "called-later"
        if minutes or had is None or has is None:
            yield Difference(enrollment, what, call.alert, call.at, line=line, minutes=minutes)
    for session, at in sorted(control.released.items()):
        free = other.free.get(session)
        could = control.free.get(session)
        if free is None or could is None or not (minutes := _minutes(free - could)):
            continue
        what = "released-earlier" if minutes < 0 else "released-later"
        line = lines.get(f"release {_kind(session)}", "")
        yield Difference(enrollment, what, session, at, line=line, minutes=minutes)
    before = {entry.phase for entry in control.entered}
    for entry in other.entered:
        if entry.phase not in before:
            line = lines.get(entry.row) or str(candidate.phases[entry.phase].place or "")
            yield Difference(enrollment, "other-way", entry.phase, entry.at, line=line)
    was, now = control.discharged, other.discharged
    if (was and was.end) != (now and now.end):
        if now is None:
            yield Difference(enrollment, "other-end", "under way", until)
        else:
            line = lines.get(now.row) or str(candidate.ends[now.end].place or "")
            yield Difference(enrollment, "other-end", now.end, now.at, line=line)


def _minutes(length: timedelta) -> int:
    return round(length / timedelta(minutes=1))


def _paired(
    before: Sequence[Call], after: Sequence[Call]
) -> Iterator[tuple[Call | None, Call | None]]:
    """Calls of two programs side by side; None for what one of them does not make.

    Alerts are named by their number in their list, which another version counts otherwise: what a
    call says is asked first, and its name where the words are others. Calls at another time are a
    pair if they are of the same occasion.
    """
    left, right = list(before), list(after)
    alike: tuple[Callable[[Call], tuple[object, ...]], ...] = (
        lambda x: (x.level, x.at, x.says, x.tell),
        lambda x: (x.level, x.at, x.alert),
        lambda x: (x.level, x.occasion, x.says, x.tell),
        lambda x: (x.level, x.occasion, x.alert),
    )
    for same in alike:
        for call in list(left):
            found = next((each for each in right if same(each) == same(call)), None)
            if found is not None:
                left.remove(call)
                right.remove(found)
                yield call, found
    yield from ((call, None) for call in left)
    yield from ((None, call) for call in right)


def _lines(program: Program) -> dict[str, str]:
    """Where a program says whom to call, by which row somebody goes, when a session is released."""
    places: dict[str, Place | None] = {each.name: each.place for each in program.alerts}
    for step in program.steps.values():
        places[f"late.{step.name}"] = step.place
        places.update({each.name: each.place for each in step.alerts})
    for kind in program.sessions.values():
        rules: tuple[Alert | SessionRule, ...] = (*kind.alerts, *kind.pause_when, *kind.stop_when)
        places.update({each.name: each.place for each in rules})
        assert kind.release is not None  # the language asks for it
        places[f"release {kind.name}"] = kind.release.place
    for phase in program.phases.values():
        places.update({row.name: row.place for row in phase.next})
    return {name: str(place) for name, place in places.items() if place is not None}


_NO_PLACE = ("unknown-step", "unknown-session", "unknown-order", "unknown-medicine", "not-open",
             "no-session", "already-settled")  # fmt: skip


def _line(candidate: Program, reason: Reason, act: c.Act) -> str:
    """The line of the candidate by which something is refused: of the gate, or of the session and
    its release."""
    gate = candidate.gates.get(reason.gate)
    place = gate.place if gate is not None else None
    kind = candidate.sessions.get(str(getattr(act, "session", "")))
    if place is None and kind is not None:
        release = kind.release if isinstance(act, c.Release) else None
        place = release.place if release is not None else kind.place
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
        ("enrollment", "when", "what", "about", "minutes", "code", "line"),
        [
            (
                x["enrollment"],
                f"{x['at']:%Y-%m-%d %H:%M}",
                x["what"],
                x["about"],
                x["minutes"] or "",
                x["code"],
                x["line"],
            )
            for x in found["differences"]
        ],
    )
    return made.html()
