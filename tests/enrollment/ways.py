"""Ways that patients might go: people doing what they do in a clinic, and what nobody should.

A way begins at an enrollment or in the middle of a shipped scenario and goes on step by step.
Each step is drawn from one number, so that a failing way shrinks to few steps. Most steps answer
what is open with values that the scenarios use or that the form asks for; some are odd: another
person, a wrong role, a wrong value, a phrase of nothing, a long wait, a clock that is set back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace
from short_detox import TEXT

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import EMPTY, Around, Past, Unread
from kat_workflow.enrollment.carrying import evaluations
from kat_workflow.enrollment.commands import Act, Actor, BadPhrase, Command, parse
from kat_workflow.enrollment.decide import Behind, Decision, decide, elapse
from kat_workflow.enrollment.state import NOBODY, Enrollment, Item, Session
from kat_workflow.enrollment.timers import Timer
from kat_workflow.errors import Refusal
from kat_workflow.language import Folder, compile_files, load, shipped
from kat_workflow.program import PATIENT
from kat_workflow.program.clock import Site, at_clock
from kat_workflow.program.forms import Field, Form
from kat_workflow.program.model import Program
from kat_workflow.scenarios import Scenario, load_scenario, run

SHIPPED = ("detox-4-day", "ketamine-assisted-therapy", "residential-30-day")
SMALL = "short-detox"
WARD = "night-ward"
"""A program in which three people witness, sign and cosign, patients report and notes are apart."""
DRUGS = "ketamine-by-weight"
"""A program with orders, caps, a ledger and a medicine as needed."""
NAMES = (*SHIPPED, SMALL, WARD, DRUGS)
BEGINS = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
SITE = Site("main", "America/Los_Angeles")
AROUND = Around(SITE)
ENROLLMENT = "e-" + sha256(b"c0").hexdigest()[:20]
"""The id that the engine derives from the first command's."""
_FOLDER = Path(__file__).parents[2] / "programs"
_OWN = {name: Path(__file__).parents[1] / at for name, at in ((WARD, "people"), (DRUGS, "clinics"))}
LIBRARY = Folder(_OWN[WARD], Folder(_OWN[DRUGS], shipped()))
"""The programs that ship, and those of tests."""
_VERBS = {
    "declined": "decline",
    "skipped": "skip",
    "missed": "miss",
    "waived": "waive",
    "withheld": "withhold",
}
_ODD: tuple[object, ...] = (
    None,
    "refused",
    "unable",
    "many",
    -1,
    10**18,
    1.5,
    True,
    "1e400",
    "NaN",
    [],
    ["x"],
    "\ud800",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    datetime(2026, 3, 2, 9),  # naive
    "2026-02-30",
    "120 mmHg",
    {"a": 1},
)
_ODD_AMOUNTS = ("much", "-5 mg", "5", "5 km", "1e9 mg", "NaN mg", "0 mg", "0.001 g")


class Said(Struct, frozen=True):
    """One thing that somebody says at an instant, as `Engine.do` takes it."""

    phrase: str
    by: Actor
    at: datetime
    given: Mapping[str, Any] = {}
    signed: bool = False
    role: str = ""
    occurred: datetime | None = None
    emergency: str = ""

    def act(self) -> Act:
        """The act of the phrase. Raises BadPhrase."""
        if self.phrase == "enroll":
            return c.Enroll(ENROLLMENT, "P-1", SITE.name)
        return parse(self.phrase, self.given, self.signed)


class Step(Struct, frozen=True):
    """What came of something said: the timers that ran first, the answer, the patient after."""

    said: Said
    command: Command
    before: Enrollment
    timers: tuple[tuple[Timer, Decision], ...]
    caught_up: Enrollment
    answer: Decision | Refusal
    after: Enrollment
    around: Around
    """What was known beside the enrollment when the command was judged."""

    @property
    def around_after(self) -> Around:
        """What is known beside it after the command."""
        did = self.answer.beside if isinstance(self.answer, Decision) else ()
        return replace(self.around.after(did), history=None)

    @property
    def decisions(self) -> Iterator[tuple[Enrollment, Decision, Act]]:
        """Everything that was carried out, timers first: before, what came of it, and why."""
        before = self.before
        for timer, decision in self.timers:
            yield before, decision, c.Elapsed("", timer.what, timer.about)
            before = decision.enrollment
        if isinstance(self.answer, Decision):
            yield before, self.answer, self.command.act


class Way(Struct, frozen=True):
    """A patient's way, from the enrollment on."""

    program: Program
    steps: tuple[Step, ...]

    @property
    def events(self) -> list[e.Event]:
        """Everything that happened, in order."""
        return [x for step in self.steps for _, done, _ in step.decisions for x in done.events]

    @property
    def last(self) -> Enrollment:
        """Where the patient stands."""
        return self.steps[-1].after


@lru_cache
def program(name: str) -> Program:
    """A program that ships, or the small one."""
    if name == SMALL:
        return compile_files({f"{SMALL}/{SMALL}.yaml": TEXT}, SMALL)
    return load(name, LIBRARY)


def way(name: str, start: int, cut: int, seeds: Sequence[int]) -> Way:
    """A way: `start` 0 is a new patient, else the scenario it begins in, up to its step `cut`;
    `seeds` are the further steps, one number each."""
    begun = _begin(name, start % (len(scenarios(name)) + 1))
    steps = list(begun[: 1 + cut % len(begun)])
    for seed in seeds:
        said = _Somebody(name, steps[-1], Random(seed)).say()
        found = _step(program(name), steps, said)
        if found is not None:
            steps.append(found)
    return Way(program(name), tuple(steps))


def _step(program: Program, steps: Sequence[Step], said: Said) -> Step | None:
    """Say it: run what is due, then decide. None where the phrase names no act at all."""
    try:
        act = said.act()
    except BadPhrase:
        return None
    before, around = (steps[-1].after, steps[-1].around_after) if steps else (NOBODY, AROUND)
    if isinstance(act, c.Offer):
        act = replace(act, evaluations=evaluations(program, Way(program, tuple(steps)).events, ()))
    by, at, occurred, role = said.by, said.at, said.occurred, said.role
    command = Command(f"c{len(steps)}", act, by, at, occurred, role, said.emergency)
    state = before
    ran: list[tuple[Timer, Decision]] = []
    judged, answer = _decide(program, state, around, command, steps, ran)
    while isinstance(answer, Behind):
        done = elapse(program, state, around, answer.timer)
        ran.append((answer.timer, done))
        state, around = done.enrollment, around.after(done.beside)
        judged, answer = _decide(program, state, around, command, steps, ran)
    after = answer.enrollment if isinstance(answer, Decision) else state
    return Step(said, command, before, tuple(ran), state, answer, after, judged)


def _decide(
    program: Program,
    state: Enrollment,
    around: Around,
    command: Command,
    so_far: Sequence[Step],
    ran: Sequence[tuple[Timer, Decision]],
) -> tuple[Around, Decision | Refusal | Behind]:
    """What is decided, and by what: the history and what groups there are is read only where it is
    asked for; nobody has written to any other stream."""
    while True:
        try:
            return around, decide(program, state, around, command)
        except Unread as missing:
            if missing.what != "history":
                around = around.read(missing.what, EMPTY[missing.what], missing.key)
                continue
            done = [done for step in so_far for _, done, _ in step.decisions]
            done += [each for _, each in ran]
            past = tuple(
                Past(x.enrollment.last or BEGINS, event) for x in done for event in x.events
            )
            around = around.read("history", past)


@lru_cache(maxsize=128)
def _begin(name: str, start: int) -> tuple[Step, ...]:
    enrolling = Said("enroll", Actor("first", program(name).roles), BEGINS)
    told = scenarios(name)[start - 1] if start else (enrolling,)
    steps: list[Step] = []
    for said in told:
        found = _step(program(name), steps, said)
        assert found is not None
        steps.append(found)
    return tuple(steps)


# ---- what the scenarios know ---------------------------------------------------------------------


@lru_cache
def scenarios(name: str) -> tuple[tuple[Said, ...], ...]:
    """The shipped scenarios of a program, each as what is said in it."""
    folder = _OWN.get(name, _FOLDER) / name / "scenarios"
    return tuple(_told(load_scenario(path)) for path in sorted(folder.glob("*.yaml")))


def _told(scenario: Scenario) -> tuple[Said, ...]:
    """What is said in a scenario, at the instants at which the real runner says it."""
    told: list[Said] = []
    first = scenario.starts.astimezone(ZoneInfo(SITE.zone)).date()

    def instant(value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith("day ") and value.count(" ") == 2):
            return value
        _, day, clock = value.split(" ")
        return at_clock(first + timedelta(days=int(day) - 1), time.fromisoformat(clock), SITE)

    def tell(said: Mapping[str, Any], at: datetime, *_: object) -> None:
        if "enroll" in said or "do" in said:
            who = str(said.get("by", ""))
            told.append(
                Said(
                    str(said.get("do", "enroll")),
                    scenario.people.get(who) or Actor(who, frozenset({who})),
                    at,
                    {key: instant(value) for key, value in (said.get("with") or {}).items()},
                    bool(said.get("signed", False)),
                    str(said.get("role", "")),
                    instant(said.get("occurred")),
                    str(said.get("emergency", "")),
                )
            )

    run(scenario, LIBRARY, tell=tell)
    return tuple(told)


@lru_cache
def _samples() -> dict[str, list[Said]]:
    """What the scenarios record, by the last part of the step's name."""
    found: dict[str, list[Said]] = {}
    for said in (said for name in SHIPPED for told in scenarios(name) for said in told):
        verb, _, what = said.phrase.partition(" ")
        if verb == "record":
            found.setdefault(what.rpartition(".")[2], []).append(said)
    return found


def _as_long_ago(value: object, then: datetime, now: datetime) -> object:
    if isinstance(value, datetime):
        return value + (now - then)
    if isinstance(value, date):
        return value + (now.date() - then.date())
    return value


# ---- the next step -------------------------------------------------------------------------------


class _Somebody:
    """Whoever speaks next, where the last step has left the patient."""

    def __init__(self, name: str, last: Step, random: Random) -> None:
        self.program = program(name)
        self.s = last.after
        self.random = random
        self.now = max(last.said.at, last.after.last or last.said.at)

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def say(self) -> Said:
        ways: tuple[tuple[int, Callable[[], Said]], ...] = (
            (52, self.answer),
            (26, self.hold_session),
            (5, self.speak_of_any),
            (3, self.any_time),
            (3, self.correct),
            (2, self.hold),
            (3, self.override),
            (2, self.travel),
            (2, self.revoke),
            (3, self.share_work),
            (8 if self.program.orders else 0, self.handle_drugs),
            (1, self.leave),
            (4, self.nonsense),
        )
        (chosen,) = self.random.choices([w for _, w in ways], [weight for weight, _ in ways])
        return chosen()

    # who and when

    def told(
        self,
        phrase: str,
        roles: Sequence[str] = (),
        given: Mapping[str, Any] | None = None,
        signed: bool = False,
        at: datetime | None = None,
    ) -> Said:
        """A phrase by somebody: usually by one who may, at about the right time."""
        role = self.random.choice(tuple(roles) or tuple(self.program.roles))
        who = Actor(f"{role}-{self.random.choice('aab')}", {role})
        if role == PATIENT and not self.chance(10):
            who = Actor("P-1", {role})
        if self.chance(5):
            who = Actor("all", self.program.roles)
        elif self.chance(3):
            other = self.random.choice(tuple(self.program.roles))
            who = Actor(f"{other}-a", {other})
        elif self.chance(1):
            who = Actor("stranger")
        at = self.later() if at is None else at
        occurred = None
        if self.chance(6):
            occurred = at - timedelta(minutes=self.random.choice((-600, -1, 1, 30, 600, 9000)))
        acting = role if self.chance(5) else ""
        emergency = "A fall" if self.chance(2) else ""
        return Said(phrase, who, at, given or {}, signed, acting, occurred, emergency)

    def later(self) -> datetime:
        """Mostly soon; sometimes when the next thing is due, days later, or set back a little."""
        minutes = self.random.choice((0, 0, 0, 1, 1, 5, 15))
        if self.chance(12):
            minutes = self.random.choice((40, 60, 120, 480, 1440))
        if self.chance(2):
            minutes = self.random.choice((-60, -1, 3 * 1440, 10 * 1440, 40 * 1440))
        if self.chance(8) and self.s.wake is not None:
            near = self.s.wake + timedelta(minutes=self.random.choice((-1, 0, 0, 1)))
            if near > self.now:
                return near
        return self.now + timedelta(minutes=minutes)

    # answering what is open

    def answer(self) -> Said:
        items = list(self.s.items.values())
        if not items:
            return self.any_time()
        open_ = [item for item in items if item.opens <= self.now]
        if open_ and not self.chance(5):
            return self.answer_item(self.random.choice(open_), self.later())
        first = min(items, key=lambda item: (item.opens, item.id))
        return self.answer_item(first, max(self.later(), first.opens))

    def answer_item(self, item: Item, at: datetime) -> Said:
        name = item.id if self.chance(30) else item.step or item.id
        if item.kind == "decide":
            rows = self.program.phases[item.about].next
            to = self.random.choice([row.to or row.to_kind for row in rows])
            return self.told(f"go {to}", item.roles, at=at)
        step = self.program.steps.get(item.step)
        if step is None:
            return self.told(f"done {item.id}", item.roles, at=at)
        if item.pending is not None:
            if "signature" in item.pending.needs:
                return self.told(f"sign {name}", step.by, at=at)
            if "cosignature" in item.pending.needs:
                return self.told(f"cosign {name}", step.cosigned_by, at=at)
            return self.told(f"witness {name}", step.witnessed_by, at=at)
        if step.session:
            if not self.chance(8):
                return self.go_on_with(step.session, at)
            verb = self.random.choice(("decline", "skip", "miss"))
            return self.told(f"{verb} {name}", step.by, {"reason": "Not today"}, at=at)
        if step.may_be and self.chance(8):
            outcome = self.random.choice(sorted(step.may_be))
            verb = _VERBS.get(outcome, outcome)
            return self.told(f"{verb} {name}", step.by, {"reason": "So it is"}, at=at)
        if step.order:
            return self.order(step.order, at)
        if not step.form:
            verb = "decline" if step.consent and self.chance(8) else "done"
            return self.told(f"{verb} {name}", step.by, at=at)
        values = self.values(self.program.forms[step.form], step.name, at)
        signed = step.signed and self.chance(85)
        return self.told(f"record {name}", step.by, values, signed, at)

    def values(self, form: Form, step: str, at: datetime) -> dict[str, Any]:
        """What the scenarios recorded there (instants as long ago as then), or made from fields."""
        known = [
            said
            for said in _samples().get(step.rpartition(".")[2], ())
            if set(said.given) <= set(form.fields)
        ]
        values: dict[str, Any] = {}
        if known and self.chance(85):
            said = self.random.choice(known)
            for key, value in said.given.items():
                values[key] = _as_long_ago(value, said.at, at)
        else:
            for field in form.fields.values():
                if field.asked_if is not None:
                    governing, answers = field.asked_if
                    answer = values.get(governing)
                    if ({"yes": True, "no": False}.get(str(answer), answer)) not in answers:
                        continue
                if field.required or self.chance(50):
                    values[field.name] = self.value(field, at)
        if self.chance(6):
            name = self.random.choice((*form.fields, "unheard_of"))
            values[name] = self.random.choice(_ODD)
        return values

    def value(self, field: Field, at: datetime) -> object:
        random = self.random
        low = int(field.low) if field.low is not None else 0
        high = int(field.high) if field.high is not None else 100
        if field.allowed:
            return random.choice(field.allowed)
        made: dict[str, Callable[[], object]] = {
            "integer": lambda: random.randint(low, high),
            "decimal": lambda: str(random.randint(low, high)),
            "choice": lambda: random.choice(tuple(field.options)),
            "choices": lambda: [x for x in field.options if random.random() < 0.2],
            "yes_no": lambda: random.choice(("yes", "no")),
            "text": lambda: random.choice(("well", "", "ä" * 50)),
            "date": lambda: at.date() - timedelta(days=random.randint(0, 3)),
            "instant": lambda: at - timedelta(hours=random.randint(0, 120)),
            "duration": lambda: f"{random.randint(1, 60)} min",
        }
        return made[field.type]()

    # sessions

    def hold_session(self) -> Said:
        if not self.s.sessions:
            return self.answer()
        session = self.random.choice(tuple(self.s.sessions.values()))
        if self.chance(70):
            return self.go_on_with(session.kind, self.later())
        return self.disturb(session)

    def go_on_with(self, name: str, at: datetime) -> Said:
        """The next act of a session on its plain way."""
        kind = self.program.sessions[name]
        session = next((x for x in self.s.sessions.values() if x.kind == name), None)
        if session is None:
            verb = self.random.choice(("arrive", "arrive", "arrive", "book", "start"))
            given: dict[str, Any] = {}
            if verb == "book" and self.chance(50):
                given["for"] = at + timedelta(hours=self.random.choice((1, 24, -1)))
            return self.told(f"{verb} {name}", kind.by, given, at=at)
        if session.state == "booked":
            return self.told(f"arrive {name}", kind.by, at=at)
        inside = [x for x in self.s.items.values() if x.place == session.place and x.opens <= at]
        if inside and self.chance(80):
            return self.answer_item(self.random.choice(inside), at)
        if session.state == "arrived":
            return self.told(f"start {name}", kind.by, {"present": list(kind.present)}, at=at)
        if session.dosing in ("", "running") and session.state == "under_way":
            if kind.dose is not None and (session.dosed is None or self.chance(25)):
                return self.dose(session, at)
            if self.chance(60):
                return self.told(f"end dosing {name}", kind.by, self.amount(session), at=at)
        if session.dosing == "paused":
            return self.told(f"resume {name}", kind.by, at=at)
        later = at + timedelta(minutes=self.random.choice((0, 15, 60, 120)))
        roles = kind.release.signed_by if kind.release is not None else kind.by
        return self.told(f"release {name}", roles, at=later)

    def amount(self, session: Session) -> dict[str, Any]:
        dose = self.program.sessions[session.kind].dose
        if dose is None or self.chance(30):
            return {}
        return {"amount": f"{self.random.choice((1, 50, dose.amount or 20, 2000))} {dose.unit}"}

    def dose(self, session: Session, at: datetime) -> Said:
        kind = self.program.sessions[session.kind]
        given = self.amount(session)
        if kind.dose is not None and kind.dose.rate_unit:
            given["rate"] = f"{self.random.choice((75, 100, 150, 900))} {kind.dose.rate_unit}"
        if self.chance(4):
            given["amount"] = self.random.choice(_ODD_AMOUNTS)
        return self.told(f"dose {session.kind}", kind.by, given, at=at)

    def disturb(self, session: Session) -> Said:
        verb = self.random.choice(
            ("abort", "cancel", "pause", "resume", "start", "release", "book", "dose", "end dosing")
        )
        if verb == "dose":
            return self.dose(session, self.later())
        has_reason = verb in ("abort", "cancel", "pause") and self.chance(80)
        given = {"reason": "So it came"} if has_reason else {}
        return self.told(f"{verb} {session.kind}", self.program.sessions[session.kind].by, given)

    # around the patient

    def any_time(self) -> Said:
        forms = [form for form in self.program.forms.values() if form.any_time]
        if not forms:
            return self.nonsense()
        form = self.random.choice(forms)
        at = self.later()
        return self.told(f"record {form.name}", form.by, self.values(form, form.name, at), at=at)

    def correct(self) -> Said:
        """Somebody finds that a record is wrong: its values, its time, or all of it."""
        kept = [reading for readings in self.s.readings.values() for reading in readings]
        if not kept:
            return self.nonsense()
        reading = self.random.choice(kept)
        name = self.random.choice((reading.id, reading.step or reading.form, reading.form))
        form, step = self.program.forms[reading.form], self.program.steps.get(reading.step)
        roles = form.by if step is None else step.by
        given: dict[str, Any] = {"reason": "Mixed up"} if self.chance(95) else {}
        if self.chance(25):
            return self.told(f"retract {name}", roles, given)
        at = self.later()
        field = self.random.choice([*form.fields.values()])
        given["values"] = (
            {field.name: self.value(field, at)}
            if self.chance(60)
            else self.values(form, reading.step, at)
        )
        return self.told(f"correct {name}", roles, given, self.chance(40), at)

    def hold(self) -> Said:
        if self.s.holds and self.chance(85):
            which = self.random.choice(("", *self.s.holds))
            return self.told(f"lift {which}", self.program.hold_by)
        given = {"reason": "Fever"} if self.chance(90) else {}
        return self.told("hold", self.program.hold_by, given)

    def override(self) -> Said:
        gates = [g for g in self.program.gates.values() if g.override or self.chance(10)]
        if not gates:
            return self.nonsense()
        gate = self.random.choice(gates)
        roles = gate.override.by if gate.override is not None else ()
        return self.told(f"override {gate.name}", roles, {"reason": "Her usual"})

    def travel(self) -> Said:
        phases = self.program.phases
        away = [phase for phase in phases.values() if phase.excursion]
        if away and self.chance(50):
            phase = self.random.choice(away)
            return self.told(f"go {phase.name}", phase.by)
        to = self.random.choice(tuple(phases))
        given = {"reason": "She is there"} if self.chance(80) else {}
        verb = self.random.choice(("move", "move", "go"))
        return self.told(f"{verb} {to}", self.program.decided_by, given)

    def revoke(self) -> Said:
        if not self.program.consents:
            return self.nonsense()
        return self.told(f"revoke {self.random.choice(tuple(self.program.consents))}")

    def order(self, name: str, at: datetime | None = None) -> Said:
        """What a prescriber orders: mostly within what may be ordered."""
        rule = self.program.orders[name]
        given = {"amount": self.random.choice(("0.5 mg/kg", "0.6 mg/kg", "1 mg", "2 mg"))}
        if self.chance(15):
            given["amount"] = self.random.choice(_ODD_AMOUNTS)
        if self.chance(20):
            given["rate"] = self.random.choice(("60 mg/h", "500 mg/h"))
        return self.told(f"order {name}", rule.by, given, at=at)

    def handle_drugs(self) -> Said:
        """Orders, the ledger, the second person's check, and medicines as needed."""
        verbs = ["order", "stop order", "check", "draw", "waste", "return", "witness waste"]
        verb = self.random.choice([*verbs, "give"] if self.program.medicines else verbs)
        if verb == "order":
            return self.order(self.random.choice(sorted(self.program.orders)))
        if verb == "stop order":
            name = self.random.choice(sorted(self.program.orders))
            return self.told(f"{verb} {name}", self.program.orders[name].by, {"reason": "Enough"})
        amount = {"amount": self.random.choice(("30 mg", "35 mg", "5 mg", "1 mg", *_ODD_AMOUNTS))}
        if verb == "give":
            name = self.random.choice(sorted(self.program.medicines))
            return self.told(f"give {name}", self.program.medicines[name].by, amount)
        kinds = [kind for kind in self.program.sessions.values() if kind.dose is not None]
        name = self.random.choice(kinds).name
        if self.chance(30):
            name += f".{self.random.randrange(1, 3)}"
        if verb in ("check", "witness waste"):
            amount = {}
        elif verb == "draw":
            amount["lot"] = self.random.choice(("K1", "K2"))
        return self.told(f"{verb} {name}", given=amount)

    def share_work(self) -> Said:
        """Who does what is open: claimed, assigned, handed over."""
        if not self.s.items:
            return self.any_time()
        item = self.random.choice(tuple(self.s.items.values()))
        roles = item.roles or self.program.steps[item.step].by
        to = f"{self.random.choice(tuple(self.program.roles))}-a"
        phrases = ("claim {}", "claim {}", "unclaim {}", "assign {} to " + to)
        over = ("hand over all to " + to, "hand over {} to " + to)
        return self.told(self.random.choice((*phrases, *over)).format(item.id), roles)

    def leave(self) -> Said:
        end = self.random.choice(tuple(self.program.ends.values()))
        return self.told(f"leave {end.name}", end.by)

    def speak_of_any(self) -> Said:
        """Any step of the program, open or not."""
        step = self.random.choice(tuple(self.program.steps.values()))
        at = self.later()
        verbs = ("record", "done", "sign", "cosign", "witness", "decline", "skip", "waive")
        verb = self.random.choice(verbs)
        given: Mapping[str, Any] = {"reason": "So"} if verb in ("decline", "skip", "waive") else {}
        if verb == "record" and step.form:
            given = self.values(self.program.forms[step.form], step.name, at)
        return self.told(f"{verb} {step.name}", step.by, given, at=at)

    def nonsense(self) -> Said:
        verb = self.random.choice([*(verb for verb in c.VERBS if verb != "enroll"), "dance"])
        names = (*self.program.steps, *self.program.sessions, *self.s.items, "x", "")
        return self.told(f"{verb} {self.random.choice(names)}".strip())
