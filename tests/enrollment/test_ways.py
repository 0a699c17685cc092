"""What is true of every patient on every way, however oddly people act.

The ways are those of `ways`: random, over the programs that ship and a small one, begun at an
enrollment or in the middle of a shipped scenario. Each claim is checked after every step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from ways import (
    AROUND,
    BEGINS,
    ENROLLMENT,
    LIBRARY,
    NAMES,
    SHIPPED,
    SITE,
    SMALL,
    Said,
    Step,
    Way,
    program,
    scenarios,
    way,
)

from kat_workflow.engine import Engine, Happened
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.decide import Decision, catch_up, decide
from kat_workflow.enrollment.opening import open_items
from kat_workflow.enrollment.reach import reach_of
from kat_workflow.enrollment.reading import refusal_for_reader
from kat_workflow.enrollment.refusals import DEVIATIONS, REFUSALS
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.signing import signatures
from kat_workflow.enrollment.state import (
    NOBODY,
    Enrollment,
    decode_row,
    encode_row,
    evolve,
    is_within,
    replay,
)
from kat_workflow.enrollment.timers import wake
from kat_workflow.errors import Refusal, Refused
from kat_workflow.journal import open_journal
from kat_workflow.language import Folder, shipped
from kat_workflow.language.library import Library
from kat_workflow.program.clock import local_date

PROPERTY = settings(
    max_examples=int(os.environ.get("KAT_WALKS", "4")),
    deadline=None,
    derandomize="KAT_WALKS" not in os.environ,
    print_blob=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
"""Few walks and always the same ones; `KAT_WALKS=200` looks at as many new ones of each kind."""

SEEDS = st.integers(0, 2**32 - 1)


Claim = Callable[[Way], None]


def walked(most: int = 40, limit: int = 5000) -> Callable[[Claim], Callable[[str], None]]:
    """A claim about walks becomes a test over every program."""

    def of(claim: Claim) -> Callable[[str], None]:
        @pytest.mark.parametrize("name", NAMES)
        @PROPERTY
        @given(
            start=st.integers(0, 25),
            cut=st.integers(0, 120),
            seeds=st.lists(SEEDS, min_size=most // 2, max_size=most),
        )
        def test(name: str, start: int, cut: int, seeds: list[int]) -> None:
            note(f"way({name!r}, {start}, {cut}, {seeds})")
            found = way(name, start, cut, seeds)
            assume(len(found.events) < limit)
            claim(found)

        test.__name__, test.__doc__ = claim.__name__, claim.__doc__
        test.__module__, test.__qualname__ = claim.__module__, claim.__qualname__
        made: Callable[[str], None] = test
        return made

    return of


# ---- the record ----------------------------------------------------------------------------------


@walked(30)
def test_replay_gives_the_live_patient_after_every_event(way: Way) -> None:
    state = NOBODY
    for step in way.steps:
        for before, done, _ in step.decisions:
            assert state == before
            for event in done.events[-400:]:
                assert e.decode(*e.encode(event)) == event
            if len(done.events) > 60:
                state = replay(done.events, state)
            else:
                for event in done.events:
                    state = evolve(state, event)
            assert state == done.enrollment
            assert state.version == before.version + len(done.events), "versions have a gap"
        assert decode_row(encode_row(state)) == state
        assert state == step.after
    assert replay(e.decode(*e.encode(event)) for event in way.events) == way.last


@walked()
def test_logical_time_never_falls(way: Way) -> None:
    last: datetime | None = None
    for step in way.steps:
        for _, done, _ in step.decisions:
            now = done.enrollment.last
            assert now is not None
            assert last is None or now >= last
            last = now


@walked()
def test_a_patient_waits_for_the_first_timer_and_none_is_left_behind(way: Way) -> None:
    for step in way.steps:
        assert step.after.wake == wake(step.after)
        if step.after.wake is not None:
            now = max(step.command.at, step.caught_up.last or step.command.at)
            _, later = catch_up(way.program, step.after, AROUND, now)
            assert later.wake is None or later.wake > now


# ---- places and items ----------------------------------------------------------------------------


@walked()
def test_no_step_that_could_open_is_overlooked(way: Way) -> None:
    """After a command only what it could have let open is looked at; a full look finds no more."""
    for step in way.steps:
        now = step.after.last
        assert now is not None
        run = Run.of(way.program, step.after, AROUND, now)
        run.events.append(e.HoldLifted("any", now, "somebody"))  # after which all is looked at

        skipped = open_items(run, reach_of(way.program, tuple(run.s.visits)))

        assert not skipped
        assert len(run.events) == 1, run.events[1:]


@walked()
def test_no_item_is_open_without_a_place_where_it_can_be_done(way: Way) -> None:
    for step in way.steps:
        for state in _states(step):
            visits = {visit.place for visit in state.visits.values()}
            sessions = {x.place for x in state.sessions.values()}
            for item in state.items.values():
                if item.kind in ("alert", "review"):
                    assert not item.step
                elif item.kind == "decide":
                    assert item.place in visits
                    assert item.about in state.visits
                elif state.standing == "discharged":
                    assert item.place == "after"
                elif item.kind == "watch":
                    assert item.place in sessions
                else:
                    assert item.place in visits | sessions
                    assert item.step in way.program.steps
            by_step = [item.step for item in state.items.values() if item.step]
            assert len(by_step) == len(set(by_step)), "two items of a step are open"


@walked()
def test_phases_are_a_tree_and_one_of_a_sequence_at_a_time(way: Way) -> None:
    phases = way.program.phases
    for step in way.steps:
        visits = step.after.visits
        standing = step.after.standing
        assert bool(visits) == (standing in ("applied", "active"))
        outer = [n for n in visits if not phases[n].parent and not phases[n].excursion]
        assert len(outer) <= 1
        for name in visits:
            parent = phases[name].parent
            assert not parent or parent in visits
            if parent and phases[parent].kind == "sequence":
                assert sum(phases[n].parent == parent for n in visits) == 1


@walked()
def test_after_discharge_nothing_of_the_treatment_is_left(way: Way) -> None:
    for step in way.steps:
        state = step.after
        if state.standing in ("discharged", "closed"):
            assert not state.sessions
            assert not state.visits
            assert not state.holds
            assert state.end in way.program.ends
            assert state.standing == "discharged" or not state.items or _came_later(state)


def _came_later(state: Enrollment) -> bool:
    """A report after everything was closed may still call somebody."""
    return all(item.kind in ("alert", "review") for item in state.items.values())


def _states(step: Step) -> Iterator[Enrollment]:
    for _, done, _ in step.decisions:
        yield done.enrollment


# ---- sessions ------------------------------------------------------------------------------------


@walked()
def test_at_most_one_session_is_under_way_unless_something_was_given_in_a_second(way: Way) -> None:
    seconds = 0
    for step in way.steps:
        for _, done, _ in step.decisions:
            state = done.enrollment
            noted = [x.code for x in done.events if isinstance(x, e.DeviationNoted)]
            seconds += noted.count("second-session")
            under_way = [x for x in state.sessions.values() if x.under_way]
            assert len(under_way) <= 1 + seconds
            for session in under_way:
                assert session.item in state.items
                assert any(is_within(session.place, v.place) for v in state.visits.values())
            kinds = [x.kind for x in state.sessions.values()]
            assert len(kinds) == len(set(kinds))


@walked()
def test_a_session_under_way_is_left_by_release_abort_an_end_or_an_emergency_alone(
    way: Way,
) -> None:
    for step in way.steps:
        for before, done, act in step.decisions:
            ended = any(isinstance(x, e.Discharged) for x in done.events)
            for session in before.sessions.values():
                after = done.enrollment.sessions.get(session.id)
                if not session.under_way or (after is not None and after.under_way):
                    continue
                assert after is None, "it went back to an earlier state"
                broken = any(isinstance(x, e.GlassBroken) for x in done.events)
                if not ended and not (broken and isinstance(act, c.Go)):
                    # a stop rule, a revocation, a word ends what has not begun to be given
                    able = c.Abort | c.Release
                    stops = c.Record | c.Revoke | c.Cancel
                    assert isinstance(act, able) or (
                        isinstance(act, stops) and session.dosed is None
                    )
                if session.dosed is not None:
                    assert any(
                        isinstance(x, e.SessionReleased) and x.session == session.id
                        for x in done.events
                    )


@walked()
def test_no_ketamine_without_two_evaluations_by_two_people_and_consent(way: Way) -> None:
    evaluated: dict[str, str] = {}
    consent: e.ConsentChanged | None = None
    kinds: dict[str, str] = {}
    for at, event in enumerate(events := way.events):
        if isinstance(event, e.SessionBooked):
            kinds[event.session] = event.kind.rpartition(".")[2]
        elif isinstance(event, e.Signed) and event.as_ == "signature":
            step = event.item.rpartition("/")[2].rpartition(".")[0].rpartition(".")[2]
            evaluated[step] = event.person
        elif isinstance(event, e.ConsentChanged) and event.consent.endswith("ketamine"):
            consent = event
        elif isinstance(event, e.SessionStarted) and kinds[event.session] == "kat_session":
            next_ = events[at + 1]
            if isinstance(next_, e.DeviationNoted) and next_.code == "dose-without-start":
                continue  # reported as given past every gate, and kept for review
            first, second = evaluated["intake_evaluation"], evaluated["second_evaluation"]
            assert first != second
            assert consent is not None
            assert consent.state == "given"
            assert consent.until is None or event.at < consent.until


# ---- refusals ------------------------------------------------------------------------------------

STATEMENTS = frozenset({"already-settled", "cap", "not-given", "no-dose", "not-open", "not-paused"})
"""Reasons that say how things are; nothing that this person does now would change it."""


@walked()
def test_no_person_is_ever_two_of_recorder_cosigner_and_witness(way: Way) -> None:
    hands: dict[str, list[str]] = {}
    for event in way.events:
        if isinstance(event, e.ObservationRecorded):
            hands[event.observation] = [event.person]
        elif isinstance(event, e.ItemAnswered):
            hands[event.item] = [event.person]
        elif isinstance(event, e.Signed) and event.as_ in ("cosignature", "witness"):
            before = hands[event.observation or event.item]
            assert event.person not in before
            before.append(event.person)


@walked()
def test_every_signature_of_a_way_holds(way: Way) -> None:
    found = signatures(ENROLLMENT, way.events)
    assert all(signature.valid for signature in found)


@walked()
def test_broken_glass_is_always_written_with_a_review_by_somebody_else(way: Way) -> None:
    for step in way.steps:
        done = step.answer.events if isinstance(step.answer, Decision) else ()
        broken = [x for x in done if isinstance(x, e.GlassBroken)]
        reviews = [x for x in done if isinstance(x, e.ItemOpened) and x.about == "emergency"]
        assert [x.person for x in broken] == [x.not_by for x in reviews]
        assert bool(broken) == bool(done and step.command.emergency)


@walked()
def test_every_refusal_explains_itself(way: Way) -> None:
    for step in way.steps:
        if isinstance(step.answer, Refusal):
            assert step.answer.reasons
            assert step.answer.command == step.command.words
            assert step.answer.explanation
            for reason in step.answer.reasons:
                assert reason.code in REFUSALS
                assert reason.says
                assert reason.unblock or reason.clauses or reason.code in STATEMENTS, reason
                assert all(clause.text for clause in reason.clauses)
            assert step.after is step.caught_up
        else:
            for event in step.answer.events:
                assert not isinstance(event, e.DeviationNoted) or event.code in DEVIATIONS


@walked()
def test_the_same_decision_twice_is_the_same(way: Way) -> None:
    for step in way.steps:
        row = encode_row(step.caught_up)
        again = decide(way.program, decode_row(row), step.around, step.command)
        assert again == step.answer
        assert encode_row(step.caught_up) == row, "deciding changed what it read"


# ---- through the engine --------------------------------------------------------------------------


class Clinic:
    """An engine whose clock only the test moves, with one patient."""

    def __init__(self, name: str) -> None:
        library: Library = Folder("small", shipped()) if name == SMALL else LIBRARY
        self.now = BEGINS
        self.engine = Engine(open_journal(), library, lambda: self.now, (SITE,))
        if name == SMALL:
            self.engine._named[name] = program(name)
            self.engine._by_digest[program(name).digest] = program(name)
        self.name = name
        self.enrollment = ""
        self.seen = 0

    @property
    def position(self) -> int:
        """The position of the journal's last entry."""
        while new := self.engine.follow(self.seen, 1000):
            self.seen = new[-1].position
        return self.seen

    def say(self, said: Said, id_: str) -> tuple[e.Event, ...] | Refusal:
        """What the engine answers to something said: events, or why not."""
        self.now = said.at
        try:
            if said.phrase == "enroll":
                self.enrollment = self.engine.enroll(
                    self.name, patient="P-1", by=said.by, site=SITE.name, command_id=id_
                )
                return tuple(x.event for x in self.engine.history(self.enrollment))
            return self.engine.do(
                self.enrollment,
                said.phrase,
                by=said.by,
                given=said.given,
                signed=said.signed,
                occurred=said.occurred,
                role=said.role,
                emergency=said.emergency,
                command_id=id_,
            ).events
        except Refused as refused:
            return refused.refusal

    def why(self, said: Said) -> Refusal | None:
        """What stands in the way of something said."""
        self.now = said.at
        try:
            return self.engine.why(
                self.enrollment,
                said.phrase,
                by=said.by,
                given=said.given,
                signed=said.signed,
                role=said.role,
                emergency=said.emergency,
            )
        except Refused as refused:
            return refused.refusal

    def history(self, since: int = 0) -> tuple[Happened, ...]:
        """What happened since a position."""
        return self.engine.follow(since, 100_000)


@walked(20, 700)
def test_a_worker_changes_no_outcome(way: Way) -> None:
    random = Random(len(way.events))
    clinic = Clinic(_name_of(way))
    for number, step in enumerate(way.steps):
        if clinic.enrollment:
            at = clinic.now
            for _ in range(random.randrange(3)):
                at += (max(step.said.at, at) - at) * random.random()
                clinic.now = at
                clinic.engine.run_due()
        answer = clinic.say(step.said, f"c{number}")
        if isinstance(step.answer, Decision):
            assert not isinstance(answer, Refusal)
            assert _plain(answer) == _plain(step.answer.events)
        else:
            patient = step.caught_up.patient
            assert answer == refusal_for_reader(
                way.program, step.command, step.answer, SITE.name, patient
            )
    live = clinic.engine.enrollment(clinic.enrollment)
    assert [x.event for x in clinic.history() if x.enrollment] == way.events
    assert encode_row(live) == encode_row(way.last)


@walked(16, 700)
def test_a_refused_request_writes_nothing(way: Way) -> None:
    clinic = Clinic(_name_of(way))
    for number, step in enumerate(way.steps):
        if step.said.phrase != "enroll":
            clinic.now = step.said.at
            if number % 2:
                clinic.engine.run_due()
        before = clinic.position
        answer = clinic.say(step.said, f"c{number}")
        if isinstance(answer, Refusal):
            assert all(x.cause.startswith("timer:") for x in clinic.history(before))
            before = clinic.position
            assert clinic.say(step.said, f"c{number}") == answer
            assert clinic.position == before


@walked(16, 700)
def test_why_is_none_exactly_where_the_command_is_carried_out(way: Way) -> None:
    clinic = Clinic(_name_of(way))
    for number, step in enumerate(way.steps):
        said = step.said
        why: Refusal | None = None
        asked = clinic.enrollment and said.occurred is None
        if asked:
            before = clinic.position
            why = clinic.why(said)
            assert clinic.position == before, "asking why wrote something"
        answer = clinic.say(said, f"c{number}")
        if asked:
            assert why == (answer if isinstance(answer, Refusal) else None)


@walked(16, 700)
def test_a_command_repeated_changes_nothing_and_another_with_its_id_is_refused(way: Way) -> None:
    clinic = Clinic(_name_of(way))
    random = Random(len(way.events))
    done: list[tuple[str, Said, tuple[e.Event, ...]]] = []
    for number, step in enumerate(way.steps):
        answer = clinic.say(step.said, f"c{number}")
        if step.said.phrase != "enroll" and not isinstance(answer, Refusal):
            done.append((f"c{number}", step.said, answer))
        if not done:
            continue
        id_, said, first = random.choice(done)
        now = clinic.now
        clinic.engine.run_due()
        before = clinic.position
        assert clinic.say(_at(said, now), id_) == first
        other = clinic.say(_other(said, now), id_)
        assert isinstance(other, Refusal)
        assert other.code == "id-reused"
        assert clinic.position == before


def _at(said: Said, now: datetime) -> Said:
    return Said(
        said.phrase, said.by, now, said.given, said.signed, said.role, said.occurred, said.emergency
    )


def _other(said: Said, now: datetime) -> Said:
    return _at(Said("hold", said.by, now, {"reason": "Another"}), now)


def _name_of(way: Way) -> str:
    return way.program.id


def _plain(events: tuple[e.Event, ...]) -> list[tuple[bytes, bytes]]:
    return [e.encode(x) for x in events]


# ---- the walks themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_the_walks_go_deep(name: str) -> None:
    """Claims about walks say little where the walks do not go: into most phases, and sessions."""
    random = Random(1)
    phases: set[str] = set()
    kinds: set[type] = set()
    for start in range(len(scenarios(name)) + 1):
        seeds = [random.randrange(2**32) for _ in range(40)]
        events = way(name, start, random.randrange(120), seeds).events
        phases.update(x.phase for x in events if isinstance(x, e.PhaseEntered))
        kinds.update(type(x) for x in events)
    assert len(phases) >= 0.7 * len(program(name).phases)
    assert {e.SessionStarted, e.DoseGiven, e.SessionReleased, e.Held, e.Discharged} <= kinds


def test_a_way_is_the_same_whenever_it_is_gone() -> None:
    first, second = (way(SHIPPED[0], 3, 9, [5, 6, 7, 8]) for _ in range(2))
    assert first.steps == second.steps


# ---- drugs ---------------------------------------------------------------------------------------


def _handled(events: list[e.Event], session: str, what: str) -> Decimal:
    """How much of a drug was drawn, wasted or returned for a session, in mg."""
    of = [x for x in events if isinstance(x, e.DrugHandled) and x.session == session]
    assert all(x.unit in ("", "mg") for x in of)
    return sum((Decimal(x.amount) for x in of if x.what == what), Decimal(0))


@walked()
def test_nobody_is_released_before_the_ledger_balances(way: Way) -> None:
    so_far: list[e.Event] = []
    for step in way.steps:
        for _, done, act in step.decisions:
            so_far.extend(done.events)
            for event in done.events:
                if not isinstance(event, e.SessionReleased) or not isinstance(act, c.Release):
                    continue
                dose = way.program.sessions[event.session.rpartition(".")[0]].dose
                if dose is not None and dose.ledger:
                    given = [
                        Decimal(x.amount)
                        for x in so_far
                        if isinstance(x, e.DoseGiven) and x.session == event.session
                    ]
                    drawn, wasted, back = (
                        _handled(so_far, event.session, what)
                        for what in ("drawn", "wasted", "returned")
                    )
                    assert drawn == sum(given) + wasted + back


@walked()
def test_no_request_starts_a_dose_beyond_a_cap(way: Way) -> None:
    given: list[tuple[datetime, Decimal]] = []
    for step in way.steps:
        for _, done, act in step.decisions:
            for event in done.events:
                if isinstance(event, e.DoseGiven):
                    given.append((event.at, Decimal(event.amount)))
                if not isinstance(event, e.SessionStarted) or not isinstance(act, c.Start):
                    continue
                dose = way.program.sessions[event.session.rpartition(".")[0]].dose
                for cap in () if dose is None else dose.caps:
                    today = local_date(event.at, SITE)
                    counted = [
                        amount
                        for at, amount in given
                        if cap.per != "program day" or local_date(at, SITE) == today
                    ]
                    assert cap.per in ("program day", "course")
                    assert sum(counted) + Decimal(event.ordered) <= cap.most
