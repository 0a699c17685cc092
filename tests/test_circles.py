"""Groups at random: several patients in one room, people who do what they do in a clinic and what
nobody should, and a store that stops writing in the middle of it.

Each walk is gone twice, with a store that never fails and with one that fails now and then, after
which the same is sent again: in the end both records say the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from textwrap import dedent
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from walk_in import Clock

from kat_workflow import Actor, Engine, JournalError, Refused
from kat_workflow.engine.auditing import verify
from kat_workflow.engine.views import MemberOutcome, Outcome
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.refusals import DEVIATIONS, REFUSALS
from kat_workflow.errors import Refusal
from kat_workflow.journal import Append, Receipt
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import Files
from kat_workflow.program.clock import Site, local_date

PROPERTY = settings(
    max_examples=int(os.environ.get("KAT_WALKS", "8")),
    deadline=None,
    derandomize="KAT_WALKS" not in os.environ,
    print_blob=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
"""Few walks and always the same ones; `KAT_WALKS=200` looks at as many new ones."""
TEXT = dedent("""\
    language: 1
    program: circles
    version: "1.0.0"
    title: Circles
    start: stay
    decided_by: [doctor]
    hold_by: [nurse, doctor]
    sources:
      practice: {title: Practice, trust: C}
    roles: {nurse: Nurse, doctor: Doctor, therapist: Therapist}
    forms:
      vitals:
        title: Vitals
        any_time: true
        by: [nurse]
        source: practice
        fields:
          systolic: {type: integer, unit: mmHg, from: 50, to: 300}
      word:
        title: A word
        fields:
          text: {type: text}
    limits:
      high: {is: 160 mmHg, source: practice}
      danger: {is: 200 mmHg, source: practice}
    gates:
      calm:
        says: The pressure allows a start
        when: pressure.systolic < high
        override: {by: [doctor], lasts: 1 h}
    ledgers:
      book: {title: Ketamine, drug: ketamine, witnessed_by: [nurse, doctor]}
    groups:
      circle:
        capacity: 2
        minimum: 2
        lasts: 3 h
        rooms: [mats, garden]
        staff: [{role: therapist, one_per: 3}]
        by: [therapist]
        override: {by: [doctor]}
        source: practice
    phases:
      stay:
        admits: true
        repeat: {at_least: 1, at_most: 3, until: count of drip held >= 3}
        steps:
          kat: {by: [nurse], session: drip, may_be: [declined, missed]}
          talk: {by: [therapist], record: word, after: [kat], may_be: [declined]}
        next: [{to: well, when: always}]
    sessions:
      drip:
        by: [nurse]
        group: circle
        source: practice
        ready: [calm]
        no_show_after: 15 min
        before:
          pressure: {by: [nurse], record: vitals}
        dose:
          drug: ketamine
          route: intramuscular
          amount: 50 mg
          ledger: book
          cap:
            - {most: 80 mg, per: program day, source: practice}
            - {most: 120 mg, per: course, source: practice}
        watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
        stop_when:
          - when: vitals.systolic > danger
            says: Dangerous pressure
            tell: [doctor]
            answer_within: 15 min
        release: {earliest: 30 min, signed_by: [nurse]}
    ends:
      well: {kind: completed}
    leaving: {by: [nurse], work: [call]}
    work_after_leaving:
      call:
        by: [nurse]
        record: word
        may_be: [declined]
        due: 24 h
        closes: 7 d
        source: practice
    """)
LIBRARY = Files({"circles/circles.yaml": TEXT})
NURSE, SECOND = Actor("ann", {"nurse"}), Actor("bo", {"nurse"})
LEADER, DOCTOR = Actor("lea", {"therapist"}), Actor("dee", {"doctor"})
EVERYBODY = (NURSE, SECOND, LEADER, DOCTOR)
STATEMENTS = frozenset({"already-settled", "not-open"})
"""Reasons that say how things are; nothing that this person does now would change it."""
_Given = Mapping[str, Any]
REASON = "Canary"
"""What is said of one member and must not be found with another, or with the group."""


class Failing(MemoryJournal):
    """A store that stops writing after so many appends, until it is mended."""

    left = 10**9

    def append(self, appends: Sequence[Append], **said: Any) -> Receipt:
        if not self.left:
            raise JournalError("the disk is full")
        self.left -= 1
        return super().append(appends, **said)


class Circle:
    """A clinic with four patients and a group; what is said to it is drawn from one number."""

    def __init__(self, fails: bool) -> None:
        self.clock, self.journal, self.fails = Clock(), Failing(), fails
        self.engine = Engine(self.journal, LIBRARY, self.clock)
        self.patients = [
            self.engine.enroll("circles", patient=f"P-{n}", by=NURSE, command_id=f"n{n}")
            for n in range(1, 5)
        ]
        self.groups = [self.plan("mats", "g0")]
        self.said = 0
        self.refusals: list[Refusal] = []

    def plan(self, room: str, id_: str) -> str:
        when = self.clock.at + timedelta(hours=1)
        return self.engine.plan_group(
            "circles", "circle", when, room=room, by=LEADER, command_id=id_
        )

    def step(self, seed: int) -> None:
        """One thing is said or done; where the store failed, once more when it is mended."""
        random, self.said = Random(seed), self.said + 1
        left = random.choice((0, 1, 1, 2, 3, 4))
        do = self._drawn(random, f"k{self.said}")
        self.journal.left = left if self.fails and random.random() < 0.4 else 10**9
        before = {x: self._session(x) for x in self.patients}
        failed = self.journal.left < 10**9
        done = self._carried_out(do)
        if failed:
            self.journal.left = 10**9
            done = self._carried_out(do)
        # What is due at once is for a scheduler, where the store failed meanwhile.
        self.engine.run_due()
        if isinstance(done, Outcome) and any(isinstance(x, e.SessionAborted) for x in done.events):
            for each in self.patients:
                if each != done.enrollment:
                    own = [state for _, state in before[each] if state not in ("booked", "arrived")]
                    now = [state for _, state in self._session(each)]
                    assert now[: len(own)] == own, "an abort ended another's session"
        self._seats()

    def _carried_out(self, do: Callable[[], Any]) -> Any:
        try:
            done = do()
        except Refused as refused:
            self.refusals.append(refused.refusal)
        except JournalError:
            assert not self.journal.left
        else:
            if isinstance(done, tuple):
                self.refusals += [
                    x.refusal for x in done if isinstance(x, MemberOutcome) and x.refusal
                ]
            return done
        return None

    def _drawn(self, random: Random, id_: str) -> Callable[[], Any]:
        engine, group = self.engine, random.choice(self.groups[-2:])
        who = random.choice(self.patients)
        if random.random() < 0.4:  # a day goes by as in a clinic: one after the other is done with
            who = next((x for x in self.patients if self._session(x)), who)
        by = random.choice(EVERYBODY) if random.random() < 0.05 else NURSE
        phrase, given = self._phrase(random, who)
        if random.random() < 0.3:
            self.clock.at += timedelta(
                minutes=random.choice((1, 5, 5, 15, 15, 30, 30, 30, 60, 600))
            )
        ways: list[tuple[int, Callable[[], Any]]] = [
            (14, lambda: engine.join_group(group, who, by=by, command_id=id_)),
            (5, lambda: engine.drop_out(group, who, REASON, by=by, command_id=id_)),
            (9, lambda: engine.start_group(group, by=LEADER, command_id=id_)),
            (1, lambda: engine.start_group(group, by=DOCTOR, regardless="x", command_id=id_)),
            (1, lambda: engine.call_off(group, REASON, by=LEADER, command_id=id_)),
            (2, lambda: engine.move_group(group, by=LEADER, room="garden", command_id=id_)),
            (
                1,
                lambda: engine.move_group(
                    group, by=LEADER, when=self.clock.at + timedelta(hours=2), command_id=id_
                ),
            ),
            (4, lambda: self._planned(id_)),
            (
                0 if phrase == "join" else 26,
                lambda: engine.group_do(group, phrase, by=by, given=given, command_id=id_),
            ),
            (60, lambda: self._do(group, who, phrase, by=by, given=given, command_id=id_)),
            (3, engine.run_due),
        ]
        (chosen,) = random.choices([do for _, do in ways], [weight for weight, _ in ways])
        return chosen

    def _do(
        self, group: str, who: str, phrase: str, *, by: Actor, given: _Given, command_id: str
    ) -> Outcome:
        if phrase == "join":
            return self.engine.join_group(group, who, by=by, command_id=command_id)
        return self.engine.do(who, phrase, by=by, given=given, command_id=command_id)

    def _planned(self, id_: str) -> None:
        if engine_over(self.engine, self.groups[-1]):
            self.groups.append(self.plan("mats", id_))

    def _phrase(self, random: Random, who: str) -> tuple[str, _Given]:
        """Mostly what would be next for somebody; sometimes anything."""
        amount = {"amount": random.choice(("50 mg", "50 mg", "50 mg", "50 mg", "25 mg", "90 mg"))}
        reading = {"systolic": random.choice((120, 130, 140, 150, 170, 210))}
        reason = {"reason": REASON}
        plain: list[tuple[float, str, _Given]] = [
            (8, "arrive drip", {}),
            (10, "record pressure", reading),
            (8, "start drip", {}),
            (8, "draw drip", {**amount, "lot": "K1"}),
            (8, "dose drip", amount),
            (8, "end dosing drip", amount),
            (4, "waste drip", amount),
            (3, "return drip", amount),
            (3, "witness waste drip", {}),
            (8, "release drip", {}),
            (6, "record vitals", reading),
            (8, "abort drip", reason),
            (1, "cancel drip", reason),
            (2, "record talk", {"text": REASON}),
            (1, "decline kat", reason),
            (2, "hold", reason),
            (2, "lift", {}),
            (1, "override calm", reason),
            (3, "leave against_advice", reason),
            (1, "decline call", reason),
            (8, "correct vitals", {"values": reading, **reason}),
            (3, "retract vitals", reason),
        ]
        weights = [weight for weight, _, _ in plain]
        if random.random() < 0.75:
            return random.choice(self._usual(who, reading, amount))
        ((_, phrase, given),) = random.choices(plain, weights)
        return phrase, given

    def _usual(self, who: str, reading: _Given, amount: _Given) -> list[tuple[str, _Given]]:
        """What is done next with somebody's session."""
        session = next(iter(self.engine.enrollment(who).sessions.values()), None)
        looked = ("record vitals", reading)
        if session is None:
            return [("record talk", {"text": REASON}), looked, ("join", {}), ("join", {})]
        if session.state == "booked":
            return [("arrive drip", {})]
        if session.state == "arrived":
            return [("record pressure", reading), ("start drip", {}), ("start drip", {})]
        left = _left(self.history(who), session.id)
        if session.dosed is None:
            drawn = ("draw drip", {**amount, "lot": "K1"})
            return [("dose drip", amount) if left else drawn]
        if session.state == "under_way":
            return [("end dosing drip", {}), ("end dosing drip", {}), looked]
        if left > 0:
            return [("waste drip", {"amount": f"{left} mg"}), ("witness waste drip", {})]
        return [looked, ("release drip", {}), ("release drip", {})]

    def _session(self, enrollment: str) -> list[tuple[str, str]]:
        sessions = self.engine.enrollment(enrollment).sessions.values()
        return [(x.id, x.state) for x in sessions]

    def _seats(self) -> None:
        """Nobody has another's seat, and what a group says of a member is what the member's own
        record says; a group is over when the last has left, and not before."""
        for id_ in self.groups:
            group = self.engine.group(id_)
            taken = [m.seat for m in group.members.values() if m.state in ("in", "offered", "done")]
            assert len(set(taken)) == len(taken)
            assert all(1 <= seat <= group.capacity for seat in taken)
            for each in self.patients:
                member, place = (
                    group.members.get(each),
                    self.engine.enrollment(each).groups.get(id_),
                )
                among = member is not None and member.state in ("in", "offered", "waiting")
                assert among == (place is not None)
                if member is not None and place is not None and member.state == "in":
                    assert member.seat == place.seat
                if member is not None and member.state == "offered":
                    about = [x.about for x in self.engine.enrollment(each).items.values()]
                    assert f"seat in {id_}" in about, "a seat is kept, and nobody is to ask"
            if group.state == "started":
                assert group.among("in")
            if group.state in ("closed", "called off"):
                assert not group.among("waiting", "offered")
                for each in group.among("in"):  # was given something past every gate: is watched
                    assert any(x.dosed for x in self.engine.enrollment(each).sessions.values())

    def history(self, enrollment: str) -> list[e.Event]:
        return [x.event for x in self.engine.history(enrollment)]


def engine_over(engine: Engine, group: str) -> bool:
    return engine.group(group).state in ("closed", "called off")


def gone(seeds: Sequence[int], fails: bool) -> Circle:
    circle = Circle(fails)
    for seed in seeds:
        circle.step(seed)
    return circle


WALKS = st.lists(st.integers(0, 2**32 - 1), min_size=40, max_size=120)


@PROPERTY
@given(WALKS)
def test_a_group_command_that_was_told_half_and_told_again_leaves_the_record_of_one_told_once(
    seeds: list[int],
) -> None:
    note(f"gone({seeds}, True)")

    whole, halves = gone(seeds, False), gone(seeds, True)

    for each in whole.patients:
        assert halves.history(each) == whole.history(each)
    for id_ in whole.groups:
        assert halves.engine.group(id_) == whole.engine.group(id_)
    assert verify(halves.journal).faults == ()


@PROPERTY
@given(WALKS)
def test_what_is_owed_to_each_member_is_owed_in_a_group(seeds: list[int]) -> None:
    note(f"gone({seeds}, True)")

    circle = gone(seeds, True)

    for refusal in circle.refusals:
        assert refusal.reasons
        for reason in refusal.reasons:
            assert reason.code in REFUSALS
            assert reason.says
            assert reason.unblock or reason.clauses or reason.code in STATEMENTS, reason
    for each in circle.patients:
        _ledger_balances(circle.history(each))
        _no_cap_is_exceeded_by_a_request(circle.history(each))
        _every_end_settles_everything(circle, each)
        _no_correction_loses_the_original(circle, each)
        for x in circle.history(each):
            assert not isinstance(x, e.DeviationNoted) or x.code in DEVIATIONS
    _nobody_is_named_with_another(circle)


def _left(events: list[e.Event], session: str) -> Decimal:
    """What of a drawn drug is neither given nor wasted nor returned."""
    left = Decimal(0)
    for x in events:
        if isinstance(x, e.DrugHandled) and x.session == session:
            signs = {"drawn": 1, "wasted": -1, "returned": -1}  # a witness handles nothing
            left += Decimal(x.amount or 0) * signs.get(x.what, 0)
        elif isinstance(x, e.DoseGiven) and x.session == session:
            left -= Decimal(x.amount)
    return left


def _ledger_balances(events: list[e.Event]) -> None:
    """Whoever was released by a request had a ledger that balanced; else it was flagged."""
    for at, x in enumerate(events):
        if isinstance(x, e.SessionReleased) and _left(events[:at], x.session):
            noted = [y.code for y in events[at:] if isinstance(y, e.DeviationNoted)]
            assert "ledger-imbalance" in noted
            assert any(isinstance(y, e.Discharged) for y in events), "a release is a request"


def _no_cap_is_exceeded_by_a_request(events: list[e.Event]) -> None:
    given_: list[tuple[datetime, Decimal]] = []
    for at, x in enumerate(events):
        if isinstance(x, e.DoseGiven):
            given_.append((x.at, Decimal(x.amount)))
        if isinstance(x, e.SessionStarted):
            following = events[at + 1] if at + 1 < len(events) else None
            if isinstance(following, e.DeviationNoted) and "start" in following.code:
                continue  # told as given past every gate: a report
            today = local_date(x.at, Site())
            on_day = sum(amount for at_, amount in given_ if local_date(at_, Site()) == today)
            assert on_day + Decimal(x.ordered or "0") <= 80
            assert sum(amount for _, amount in given_) + Decimal(x.ordered or "0") <= 120


def _every_end_settles_everything(circle: Circle, enrollment: str) -> None:
    open_: set[str] = set()
    for x in circle.history(enrollment):
        if isinstance(x, e.ItemOpened):
            open_.add(x.item)
        elif isinstance(x, e.ItemSettled):
            open_.discard(x.item)
            assert x.outcome != "left" or x.reason
        elif isinstance(x, e.Discharged):
            discharged = True
    state = circle.engine.enrollment(enrollment)
    assert open_ == set(state.items)
    if state.standing in ("discharged", "closed"):
        assert discharged
        assert not state.sessions
        assert not state.groups
        assert not state.visits
        assert all(
            item.place == "after" or item.kind in ("alert", "review")
            for item in state.items.values()
        )


def _no_correction_loses_the_original(circle: Circle, enrollment: str) -> None:
    said = [
        (x.observation, x.values)
        for x in circle.history(enrollment)
        if isinstance(x, e.ObservationRecorded)
    ]
    records = circle.engine.records(enrollment)
    assert [(x.versions[0].said.observation, x.versions[0].said.values) for x in records] == said
    corrected = [x for x in circle.history(enrollment) if isinstance(x, e.ObservationCorrected)]
    assert sum(len(x.versions) - 1 for x in records) == len(corrected)


def _nobody_is_named_with_another(circle: Circle) -> None:
    """Over all bytes of all streams, their rows and their items: a member is named in their own
    alone, and what is said of a member is nowhere in the group's."""
    own = {x: f"P-{n}" for n, x in enumerate(circle.patients, 1)}
    for stream, said in _everything(circle):
        kind, _, key = stream.partition(":")
        if kind == "enrollment":
            strange = [id_ for pair in own.items() if pair[0] != key for id_ in pair]
        elif kind == "patient":
            strange = [id_ for x, p in own.items() if p != key for id_ in (x, p)]
        elif kind == "group":
            strange = [*own.values(), REASON, " mg", "mmHg"]
            if b'"group-called-off"' in said:
                continue  # it has a reason of its own
        elif kind == "rooms":
            strange = [*own, *own.values(), REASON]
        else:
            continue
        assert not [word for word in strange if word.encode() in said], (stream, said)


def _everything(circle: Circle) -> Iterator[tuple[str, bytes]]:
    for entry in circle.journal.follow(0, 10**6):
        # What a member's command frees is freed by its id: a group and its rooms are nobody's own.
        shared = entry.stream.startswith(("group:", "rooms:"))
        yield entry.stream, entry.body + entry.values + (b"" if shared else entry.cause.encode())
    for stream in {entry.stream for entry in circle.journal.follow(0, 10**6)}:
        row = circle.journal.row(stream)
        if row is not None:
            yield stream, row[1]
    for item in circle.journal.worklist(limit=1000)[0]:
        yield item.stream, f"{item.item} {item.title} {item.patient}".encode()


def test_the_walks_go_to_the_end_of_groups() -> None:
    """Claims about walks say little where the walks do not go."""
    random = Random(1)
    kinds: set[type] = set()
    codes: set[str] = set()
    for _ in range(20):
        circle = gone([random.randrange(2**32) for _ in range(120)], True)
        kinds.update(type(x.event) for x in circle.engine.follow(limit=10**6))
        codes.update(reason.code for refusal in circle.refusals for reason in refusal.reasons)
    wanted = {e.GroupStarted, e.GroupClosed, e.GroupCalledOff, e.GroupMoved, e.SeatOffered}
    wanted |= {e.SessionStarted, e.DoseGiven, e.SessionAborted, e.SessionReleased, e.Discharged}
    wanted |= {e.ObservationCorrected, e.ObservationRetracted, e.MemberDropped, e.MemberDone}
    assert wanted <= kinds
    assert {"group-not-started", "dose-cap", "ledger-open"} <= codes
