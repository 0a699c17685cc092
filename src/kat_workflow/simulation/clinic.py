"""One simulated clinic: patients, people and what is scarce, around the real engine.

Time jumps from one thing that happens to the next: a timer of the engine, an arrival, somebody who
is done with something. What the engine opens becomes work for whoever has the role, is on shift and
is free; the most urgent first. What a person does is a command like any other, and may be
refused: then it is tried again, given to another person, or left. Every draw of chance belongs to
one patient, so that what befalls one never depends on who else is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from attrs import define, field, frozen

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.errors import Refused
from kat_workflow.language.library import Library
from kat_workflow.program.clock import at_clock, local_date, plus
from kat_workflow.program.forms import Field, Form
from kat_workflow.program.model import Program, SessionKind, Step
from kat_workflow.scenarios import broken_rules
from kat_workflow.simulation.profile import Crew, Profile
from kat_workflow.simulation.story import Beat, Story
from kat_workflow.simulation.virtual import VirtualEngine

__all__ = ["Clinic", "Course", "Tallies", "Work"]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_BY_ANOTHER = {"check", "witness waste"}
STEWARD = "steward"
"""Whoever reports what needs nobody's time."""


@frozen
class Work:
    """Something that was done, or given up: who waited for it how long, in minutes."""

    clinic: int
    patient: int
    what: str
    role: str
    ready: datetime
    begun: datetime
    ended: datetime
    due: datetime | None
    outcome: str


@define
class Course:
    """One patient's way; instants in UTC."""

    clinic: int
    patient: int
    arrived: datetime
    enrolled: datetime | None = None
    admitted: datetime | None = None
    discharged: datetime | None = None
    end: str = ""
    kind: str = ""
    phase: str = ""
    sessions: int = 0
    aborted: int = 0


@define
class Tallies:
    """What is counted as it happens, so that memory does not grow with the patients."""

    commands: int = 0
    entries: int = 0
    refusals: Counter[tuple[str, str]] = field(factory=Counter)
    deviations: Counter[str] = field(factory=Counter)
    alerts: Counter[str] = field(factory=Counter)
    missed: Counter[str] = field(factory=Counter)
    given_up: Counter[str] = field(factory=Counter)
    violations: Counter[str] = field(factory=Counter)
    census: Counter[int] = field(factory=Counter)
    left_from: Counter[tuple[str, str]] = field(factory=Counter)
    busy: Counter[tuple[str, int]] = field(factory=Counter)
    shift: Counter[tuple[str, int]] = field(factory=Counter)
    held: Counter[str] = field(factory=Counter)
    queued: Counter[str] = field(factory=Counter)


@define(eq=False)
class _Person:
    actor: c.Actor
    crew: Crew
    free: bool = True
    there: bool = False


@define(eq=False)
class _Patient:
    number: int
    enrollment: str
    course: Course
    chance: Random
    open: dict[str, e.ItemOpened] = field(factory=dict)
    times: Counter[str] = field(factory=Counter)
    own: dict[str, float] = field(factory=dict)
    held: Counter[str] = field(factory=Counter)
    orders: dict[str, str] = field(factory=dict)
    sessions: dict[str, str] = field(factory=dict)
    started: dict[str, datetime] = field(factory=dict)
    holding: dict[str, list[str]] = field(factory=lambda: defaultdict(list))


@define(eq=False)
class _Job:
    """Work that waits for somebody. `act` is done when they are finished; it may be refused."""

    patient: _Patient
    what: str
    roles: tuple[str, ...]
    ready: datetime
    due: datetime | None
    act: Callable[[c.Actor], None]
    item: str = ""
    barred: set[str] = field(factory=set)
    tries: int = 0
    step: Step | None = None
    then: Callable[[str], None] | None = None


class Clinic:
    """A clinic with its own patients, numbered from `first`, from the profile's start on."""

    def __init__(
        self,
        program: Program,
        library: Library,
        profile: Profile,
        story: Story,
        *,
        seed: int,
        number: int,
        patients: int,
        days: int,
    ) -> None:
        self.program, self.profile, self.story = program, profile, story
        self.seed, self.number, self.count = seed, number, patients
        self.site = profile.site
        self.now = self.begins = profile.start
        self.ends = self.begins + days * DAY
        self._news: list[tuple[str, e.Event]] = []
        self.engine = VirtualEngine(
            program, library, lambda: self.now, self.site, self._news.append
        )
        self.tallies = Tallies()
        self.courses: list[Course] = []
        self.work: list[Work] = []
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = count()
        self._waiting: list[tuple[datetime, int, _Job]] = []
        self._patients: dict[str, _Patient] = {}
        self._people = [
            _Person(c.Actor(f"{crew.name} {number}", crew.roles), crew)
            for crew in profile.crews
            for number in range(1, crew.count + 1)
        ]
        self._scarce = {name: its.count for name, its in profile.resources.items()}
        self._lines: dict[str, list[Callable[[], None]]] = {name: [] for name in self._scarce}
        everybody = frozenset(program.roles)
        self.steward = c.Actor(STEWARD, everybody)
        self._second = c.Actor("deputy", everybody)

    # Time

    def run(self) -> None:
        """Everything that happens until the last day is over."""
        self._open_doors()
        while True:
            top = self._heap[0][0] if self._heap else self.ends
            due = self.engine.due(min(top, self.ends))
            if due is not None:
                self.now = max(self.now, due[0])
                self.tallies.commands += self.engine.run_due_in(due[1])
                self._read()
            elif top < self.ends:
                at, _, happen = heappop(self._heap)
                self.now = max(self.now, at)
                happen()
            else:
                break
        self.now = self.ends
        self.tallies.entries = self.engine.entries
        for patient in self._patients.values():
            self._judge(patient)

    def close(self) -> None:
        """Let go of what happened, so that the next clinic needs no more memory than this one.

        Everything here knows of everything; the collector would come for it much later.
        """
        self._heap.clear()
        self._waiting.clear()
        self._lines.clear()
        self._patients.clear()
        self.engine.clear()

    def _at(self, when: datetime, happen: Callable[[], None]) -> None:
        heappush(self._heap, (max(when, self.now), next(self._order), happen))

    def _open_doors(self) -> None:
        for each in self.story.stock:
            self.engine.receive(
                each["drug"],
                each["lot"],
                "1000000 mg",
                by=self.steward,
                supplier=each.get("supplier", ""),
            )
        chance = Random(f"{self.seed}/{self.number}/arrivals")
        at = self.begins
        for number in range(self.count):
            at += DAY * chance.expovariate(self.profile.arrivals)
            if at >= self.ends:
                break
            self._at(at, partial(self._arrive, number, at))
        first = local_date(self.begins, self.site)
        for crew in self.profile.crews:
            starts, long = crew.hours()
            people = [person for person in self._people if person.crew is crew]
            for day in range(-1, (self.ends - self.begins).days + 1):
                date = first + timedelta(days=day)
                if date.isoweekday() in crew.weekdays:
                    begins = at_clock(date, starts, self.site)
                    self._on_shift(crew, begins, begins + long)
                    if begins + long > self.begins:
                        self._at(begins + long, partial(self._change, people, False))
                        self._at(begins, partial(self._change, people, True))
        for day in range((self.ends - self.begins).days):
            self._at(self.begins + day * DAY + DAY / 2, partial(self._count, day))

    def _change(self, people: list[_Person], come: bool) -> None:
        """A shift ends or begins; whoever is busy finishes first."""
        for person in people:
            person.there = come
        if come:
            self._dispatch()

    def _on_shift(self, crew: Crew, begins: datetime, ends: datetime) -> None:
        """Hours that people are there, by role and hour of the day."""
        at = max(begins, self.begins)
        while at < min(ends, self.ends):
            for role in crew.roles:
                self.tallies.shift[role, at.astimezone(self.begins.tzinfo).hour] += crew.count
            at += HOUR

    def _count(self, day: int) -> None:
        there = [x for x in self._patients.values() if not x.course.discharged]
        self.tallies.census[day] += len(there)

    # Patients

    def _arrive(self, number: int, at: datetime) -> None:
        course = Course(self.number, number, at)
        self.courses.append(course)
        stays = [name for name, its in self.profile.resources.items() if its.stay]
        self._with(stays, partial(self._enroll, number, course, stays))

    def _enroll(self, number: int, course: Course, held: list[str]) -> None:
        enrollment = self.engine.enroll(
            self.program.id,
            patient=f"S-{self.number}-{number}",
            by=self.steward,
            command_id=f"{self.seed}/{self.number}/{number}",
        )
        course.enrolled = self.now
        chance = Random(f"{self.seed}/{self.number}/{number}")
        patient = _Patient(number, enrollment, course, chance)
        patient.holding[""] = held
        self._patients[enrollment] = patient
        self._read()
        for end, a_day in self.profile.leaves.items():
            chance = self._own(patient, f"leaves/{end}")
            self._at(
                self.now + DAY * chance.expovariate(a_day),
                partial(self._leave, patient, end),
            )
        for at, its in enumerate(self.profile.befalls):
            self._befall(patient, at, its.per_day, self._own(patient, f"befalls/{at}"))

    def _own(self, patient: _Patient, what: str) -> Random:
        """Chance that is one patient's, for one thing."""
        return Random(f"{self.seed}/{self.number}/{patient.number}/{what}")

    def _leave(self, patient: _Patient, end: str) -> None:
        if patient.course.discharged is None and patient.enrollment in self._patients:
            act = c.Leave(end, "as it happens")
            if self._told(patient, act, self.steward):
                self._at(self.now + HOUR, partial(self._leave, patient, end))

    def _befall(self, patient: _Patient, number: int, a_day: float, chance: Random) -> None:
        its = self.profile.befalls[number]

        def happen() -> None:
            if patient.course.discharged is not None:
                return
            values = {name: answer.drawn(chance, 0.0, 0.0) for name, answer in its.answers.items()}
            form = self.program.forms[its.record]
            values = {**self._defaults(form), **values}
            self._offer(
                _Job(
                    patient,
                    f"record {its.record}",
                    (its.by,),
                    self.now,
                    None,
                    partial(self._do, patient, c.Record(its.record, values)),
                )
            )
            self._befall(patient, number, a_day, chance)

        self._at(self.now + DAY * chance.expovariate(a_day), happen)

    # What the engine tells

    def _read(self) -> None:
        """What the engine has committed since, in order."""
        news, self._news[:] = self._news[:], []
        for enrollment, event in news:
            patient = self._patients.get(enrollment)
            if patient is not None:
                self._react(patient, event)

    def _react(self, patient: _Patient, event: Any) -> None:
        course, tallies = patient.course, self.tallies
        match event:
            case e.ItemOpened():
                patient.open[event.item] = event
                self._at(event.opens, partial(self._take_up, patient, event))
            case e.ItemSettled():
                patient.open.pop(event.item, None)
                if event.outcome == "missed":
                    tallies.missed[event.step] += 1
            case e.Admitted():
                course.admitted = event.at
            case e.PhaseEntered():
                course.phase = event.phase
            case e.Ordered():
                patient.orders[event.order] = f"{event.total} {event.unit}"
            case e.SessionBooked():
                patient.sessions[event.kind] = event.session
            case e.SessionStarted():
                patient.started[event.session.rpartition(".")[0]] = event.at
            case e.SessionReleased() | e.SessionCancelled():
                kind = event.session.rpartition(".")[0]
                patient.sessions.pop(kind, None)
                self._give_back(patient, kind)
                if isinstance(event, e.SessionReleased):
                    course.sessions += 1
                    patient.held[kind] += 1
                    course.aborted += event.final == "aborted"
            case e.DeviationNoted():
                tallies.deviations[event.code] += 1
            case e.AlertRaised():
                tallies.alerts[event.alert] += 1
            case e.Discharged():
                course.discharged, course.end, course.kind = event.at, event.end, event.kind
                tallies.left_from[course.phase, event.end] += 1
                for kind in list(patient.holding):
                    self._give_back(patient, kind)
            case e.Closed():
                self._judge(patient)
                self._patients.pop(patient.enrollment, None)
            case _:
                pass

    def _judge(self, patient: _Patient) -> None:
        """What the record of a patient breaks of the program's rules."""
        if self.program.always_after and patient.course.sessions:
            happened = self.engine.happened(patient.enrollment)
            for rule in broken_rules(self.program, happened, self.now, self.site):
                self.tallies.violations[rule] += 1

    # What is scarce

    def _with(self, names: list[str], then: Callable[[], None]) -> None:
        """Go on as soon as there is one of each."""
        lacking = next((name for name in names if not self._scarce[name]), None)
        if lacking is not None:
            self.tallies.queued[lacking] += 1
            self._lines[lacking].append(partial(self._with, names, then))
            for name in names:  # what it had been waiting for is free for whoever is next
                self._next_in_line(name)
            return
        for name in names:
            self._scarce[name] -= 1
            self.tallies.held[name] += 1
        then()

    def _give_back(self, patient: _Patient, kind: str) -> None:
        for name in patient.holding.pop(kind, ()):
            self._scarce[name] += 1
            self._next_in_line(name)

    def _next_in_line(self, name: str) -> None:
        if self._scarce[name] and self._lines[name]:
            self._at(self.now, self._lines[name].pop(0))

    # Work

    def _take_up(self, patient: _Patient, item: e.ItemOpened) -> None:
        """An item may be answered from now on."""
        if item.item not in patient.open:
            return
        step = self.program.steps.get(item.step)
        if step is None:
            self._answer(patient, item)
            return
        outcome = self._refusing(patient, step)
        if outcome:
            act = c.Settle(item.item, outcome, "as the patient wishes")  # type: ignore[arg-type]
            self._job(patient, item, f"{outcome} {step.name}", act, step)
        elif step.session:
            self._hold(patient, item, step)
        elif step.form:
            self._job(patient, item, f"record {step.name}", None, step)
        elif step.order:
            given = self.story.orders.get(step.order) or self._amount(step.order)
            self._job(patient, item, f"order {step.order}", c.Order(step.order, **given), step)
        else:
            act = c.Settle(item.item, "done", signed=step.signed)
            self._job(patient, item, f"done {step.name}", act, step)

    def _refusing(self, patient: _Patient, step: Step) -> str:
        """How a step will end other than done: as the patient wishes, or as in the story."""
        likely = self.profile.declines.get(step.name)
        if likely is None:
            said = self.story.outcomes.get(step.name, "")
            return said if said in step.may_be or (step.consent and said == "declined") else ""
        return "declined" if patient.chance.random() < likely else ""

    def _amount(self, order: str) -> dict[str, str]:
        """What is ordered where no story tells: the middle of what may be."""
        rule = self.program.orders[order]
        return {"amount": f"{(rule.amount_from + rule.amount_to) / 2} {rule.basis}"}

    def _answer(self, patient: _Patient, item: e.ItemOpened) -> None:
        """A call, a review, or a way to be chosen."""
        if item.kind != "decide":
            act = c.Settle(item.item, "done", "seen to")
            self._job(patient, item, f"answer {item.about.partition('.')[0]}", act)
            return
        phase = self.program.phases.get(patient.course.phase)
        ways = [row.to for row in phase.next if row.to] if phase is not None else []
        wanted = self.profile.ways.get(patient.course.phase)
        self._choose(patient, item, [wanted] if wanted else ways)

    def _choose(self, patient: _Patient, item: e.ItemOpened, ways: list[str]) -> None:
        def act(who: c.Actor) -> None:
            for at, way in enumerate(ways):
                try:
                    self._do(patient, c.Go(way, "as the patient is"), who)
                except Refused:
                    if at + 1 == len(ways):
                        raise
                else:
                    return

        self._job(patient, item, "choose the way", act)

    def _job(
        self,
        patient: _Patient,
        item: e.ItemOpened,
        what: str,
        act: c.Act | Callable[[c.Actor], None] | None,
        step: Step | None = None,
    ) -> None:
        """Somebody is to answer an item: with an act, or (None) with its form."""
        if act is None:
            assert step is not None
            do = self._recording(patient, item, step)
        elif callable(act):
            do = act
        else:
            do = partial(self._do, patient, act)
        barred = {item.not_by} - {""}
        roles, due = item.roles, item.due
        self._offer(_Job(patient, what, roles, self.now, due, do, item.item, barred, step=step))

    def _recording(
        self, patient: _Patient, item: e.ItemOpened, step: Step
    ) -> Callable[[c.Actor], None]:
        form = self.program.forms[step.form]

        def act(who: c.Actor) -> None:
            values = self._values(patient, step, form)
            self._do(patient, c.Record(item.item, values, step.signed), who)
            patient.times[step.name] += 1
            if item.item in patient.open:
                self._countersign(patient, item, step, {who.person})

        return act

    def _countersign(
        self, patient: _Patient, item: e.ItemOpened, step: Step, hands: set[str]
    ) -> None:
        """A second person signs, and a witness, where the step asks for them."""
        for roles, sign in (
            (step.cosigned_by, c.Sign(item.item, cosign=True)),
            (step.witnessed_by, c.Sign(item.item, witness=True)),
        ):
            if roles:
                do = partial(self._do, patient, sign)
                what = f"sign {step.name}"
                job = _Job(patient, what, roles, self.now, item.due, do, item.item, step=step)
                job.barred |= hands
                self._offer(job)

    def _offer(self, job: _Job) -> None:
        """Put work where somebody will take it up, the most urgent first."""
        heappush(self._waiting, (job.due or job.ready, next(self._order), job))
        self._dispatch()

    def _dispatch(self) -> None:
        """Give what waits to whoever is there and free."""
        if not self._waiting:
            return
        free = [person for person in self._people if person.free and person.there]
        kept = []
        while self._waiting and free:
            entry = heappop(self._waiting)
            job = entry[2]
            if job.item and job.item not in job.patient.open:
                continue  # its time has passed, or another has done it
            person = next((x for x in free if self._can(x, job)), None)
            if person is None:
                kept.append(entry)
                continue
            free.remove(person)
            person.free = False
            takes = self.profile.time_for(job.what)
            self._at(self.now + takes, partial(self._finish, job, person, self.now))
        for entry in kept:
            heappush(self._waiting, entry)

    def _can(self, person: _Person, job: _Job) -> bool:
        who = person.actor
        return who.person not in job.barred and not who.roles.isdisjoint(job.roles)

    def _finish(self, job: _Job, person: _Person, begun: datetime) -> None:
        """Somebody is done with something: it is told to the engine, which may refuse it."""
        person.free = True
        self._busy(job, person, begun)
        outcome = "gone"
        if not job.item or job.item in job.patient.open:
            outcome = self._try(job, person)
        if outcome != "again":
            self.work.append(
                Work(
                    self.number,
                    job.patient.number,
                    job.what,
                    next((role for role in job.roles if role in person.actor.roles), ""),
                    job.ready,
                    begun,
                    self.now,
                    job.due,
                    outcome,
                )
            )
            if job.then is not None:
                job.then(outcome)
        self._dispatch()

    def _try(self, job: _Job, person: _Person) -> str:
        """How it ended: done, given up, or again, by the same or somebody else."""
        try:
            job.act(person.actor)
        except Refused as refused:
            self.tallies.refusals[job.what, refused.code] += 1
            job.tries += 1
            if refused.code == "same-person":
                job.barred.add(person.actor.person)
            if job.tries < self.profile.tries:
                self._at(self.now + self.profile.waits, partial(self._offer, job))
                return "again"
            self.tallies.given_up[job.what] += 1
            self._let_be(job.patient, job.item, job.step)
            return "given up"
        return "done"

    def _let_be(self, patient: _Patient, item: str, step: Step | None) -> None:
        """A step that cannot be done ends in another way, if it may."""
        ways = ("unable", "withheld", "skipped", "waived", "missed", "declined")
        for way in ways if step is not None and item in patient.open else ():
            if way in step.may_be:  # type: ignore[union-attr]
                code = self._told(patient, c.Settle(item, way, "could not be done"), self.steward)  # type: ignore[arg-type]
                if not code:
                    return

    def _busy(self, job: _Job, person: _Person, begun: datetime) -> None:
        role = next((role for role in job.roles if role in person.actor.roles), "")
        at = begun
        while at < self.now:
            hour = at.astimezone(self.begins.tzinfo)
            until = min(self.now, at + HOUR - timedelta(minutes=hour.minute, seconds=hour.second))
            self.tallies.busy[role, hour.hour] += int((until - at) / timedelta(seconds=1))
            at = until

    # Sessions

    def _hold(self, patient: _Patient, item: e.ItemOpened, step: Step) -> None:
        """The patient comes to a session, or does not; it is held as the story tells."""
        kind = self.program.sessions[step.session]
        last = patient.started.get(kind.name)
        if last is not None and kind.apart is not None:
            soonest = plus(last, kind.apart, self.site)
            if self.now < soonest:
                self._at(soonest, partial(self._take_up, patient, item))
                return
        if patient.chance.random() < self.profile.misses.get(kind.name, 0.0):
            self.tallies.missed[f"{kind.name} (nobody came)"] += 1
            self._let_be(patient, item.item, step)
            if item.item in patient.open:
                self._at(self.now + DAY, partial(self._take_up, patient, item))
            return
        scarce = [name for name, its in self.profile.resources.items() if kind.name in its.sessions]
        beats = self.story.sessions.get(kind.name) or [
            Beat(timedelta(), "arrive", {}),
            Beat(timedelta(), "start", {}),
            Beat(HOUR, "release", {}),
        ]

        def begin() -> None:
            patient.holding[kind.name] = scarce
            if item.item in patient.open:
                self._beat(patient, item, kind, beats, 0, set(), set())
            else:
                self._give_back(patient, kind.name)

        self._with(scarce, begin)

    def _beat(
        self,
        patient: _Patient,
        item: e.ItemOpened,
        kind: SessionKind,
        beats: list[Beat],
        at: int,
        barred: set[str],
        before: set[str],
    ) -> None:
        """One act of a session; the next follows when it is done. `before` did the last one."""
        beat = beats[at]
        if at and kind.name not in patient.sessions:
            return  # it was stopped or called off
        again = partial(self._beat, patient, item, kind, beats, at, barred, before)
        if beat.verb != "arrive" and any(x.step in kind.before for x in patient.open.values()):
            self._at(self.now + 5 * MINUTE, again)
            return
        rule = kind.dose
        roles = kind.by
        if beat.verb == "check" and rule is not None:
            roles = rule.checked_by
        elif beat.verb == "witness waste" and rule is not None:
            roles = self.program.ledgers[rule.ledger].witnessed_by
        elif beat.verb == "release" and kind.release is not None:
            roles = kind.release.signed_by
        doer: set[str] = set()

        def act(who: c.Actor) -> None:
            doer.add(who.person)
            given = self._given(patient, kind, beat)
            self._do(patient, c.parse(f"{beat.verb} {kind.name}", given), who)

        def then(outcome: str) -> None:
            if outcome == "given up" and beat.verb in ("arrive", "start"):
                self._call_off(patient, item, kind)
            elif outcome == "given up" and at + 1 == len(beats):
                again()  # nobody is left on the chair
            elif at + 1 < len(beats):
                # Whoever has checked gives nothing after it.
                kept = barred | doer if beat.verb == "check" else barred
                following = partial(self._beat, patient, item, kind, beats, at + 1, kept, doer)
                self._at(self.now + beats[at + 1].after, following)

        what = f"{beat.verb} {kind.name}"
        not_by = barred | before if beat.verb in _BY_ANOTHER else set(barred)
        self._offer(_Job(patient, what, roles, self.now, None, act, barred=not_by, then=then))

    def _given(self, patient: _Patient, kind: SessionKind, beat: Beat) -> dict[str, Any]:
        """The details of an act: as the story tells, with this patient's own amount."""
        given = dict(beat.given)
        if "amount" in given and kind.dose is not None and kind.dose.order in patient.orders:
            given["amount"] = patient.orders[kind.dose.order]
        if beat.verb == "start" and kind.present:
            given["present"] = list(kind.present)
        return given

    def _call_off(self, patient: _Patient, item: e.ItemOpened, kind: SessionKind) -> None:
        session = patient.sessions.get(kind.name)
        if session is not None:
            for beat in self.story.sessions.get(kind.name, ()):
                if beat.verb == "draw":  # what was drawn goes back untouched
                    act = c.parse(f"return {kind.name}", self._given(patient, kind, beat))
                    self._told(patient, act, self.steward)
            self._told(patient, c.Cancel(kind.name, "it could not begin", "unfit"), self.steward)
        self._give_back(patient, kind.name)
        self._let_be(patient, item.item, self.program.steps[item.step])
        if item.item in patient.open:
            self._at(self.now + DAY, partial(self._take_up, patient, item))

    # Telling the engine

    def _do(self, patient: _Patient, act: c.Act, who: c.Actor) -> None:
        self.tallies.commands += 1
        # The same seed gives the same record, down to the ids of its commands.
        id_ = f"{self.seed}/{self.number}/c-{self.tallies.commands}"
        try:
            self.engine.handle(patient.enrollment, act, by=who, command_id=id_)
        finally:
            self._read()

    def _told(self, patient: _Patient, act: c.Act, who: c.Actor) -> str:
        """Tell something that takes nobody's time; the code if it is refused."""
        try:
            self._do(patient, act, who)
        except Refused as refused:
            self.tallies.refusals[c.words(act), refused.code] += 1
            return refused.code
        return ""

    # Values

    def _values(self, patient: _Patient, step: Step, form: Form) -> dict[str, Any]:
        """What is written into a form: as in the story, but for what the profile says."""
        told = self.story.answers.get(step.name) or self.story.answers.get(form.name)
        if told:
            times = min(patient.times[step.name], len(told) - 1)
            values = {name: self._placed(value) for name, value in told[times].items()}
        else:
            values = self._defaults(form)
        answers = self.profile.answers
        asked = {**answers.get(form.name, {}), **answers.get(step.name, {})}
        enrolled = patient.course.enrolled or self.now
        day = (self.now - enrolled) / DAY
        for name, answer in asked.items():
            about = answer.trait or f"{form.name}.{name}"
            own = patient.own.get(about)
            if own is None:
                own = patient.own[about] = self._own(patient, about).gauss(0, 1)
            values[name] = answer.drawn(patient.chance, own, day, patient.held)
        return values

    def _placed(self, value: Any) -> Any:
        return self.now - value if isinstance(value, timedelta) else value

    def _defaults(self, form: Form) -> dict[str, Any]:
        """Values for a form of which neither story nor profile tells: the mildest there are."""
        return {x.name: self._mildest(x) for x in form.fields.values() if x.required}

    def _mildest(self, its: Field) -> Any:
        match its.type:
            case "integer" | "decimal":
                return its.allowed[0] if its.allowed else its.low if its.low is not None else 0
            case "choice":
                return next(iter(its.options))
            case "choices":
                return []
            case "yes_no":
                return "no"
            case "instant":
                return self.now
            case "date":
                return local_date(self.now, self.site)
            case "duration":
                return timedelta(hours=1)
            case _:
                return "simulated"
