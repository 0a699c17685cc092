"""What an engine does over time: calls go out, clocks differ, two days pass without anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from kat_workflow import Actor, Engine, Refused, Site
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.escalating import Notification
from kat_workflow.enrollment.state import replay

EIGHT = datetime(2026, 3, 2, 8, tzinfo=UTC)
ANN = Actor("ann", {"nurse"})
EVE = Actor("eve", {"doctor"})
MINUTE = timedelta(minutes=1)

TEXT = """\
language: 1
program: ward
version: "1.0.0"
title: Ward
start: stay
decided_by: [doctor]
hold_by: [doctor]
sources:
  practice: {title: Practice, trust: C}
roles: {nurse: Nurse, doctor: Doctor}
limits:
  high: {is: 180 mmHg, source: practice}
escalations:
  duty: {source: practice, then: [{tell: [doctor], answer_within: 10 min}]}
forms:
  vitals:
    title: Vitals
    source: practice
    any_time: true
    by: [nurse]
    fields:
      systolic: {type: integer, unit: mmHg, from: 50, to: 300}
alerts:
  - when: vitals.systolic > high
    says: High
    tell: [nurse]
    answer_within: 5 min
    escalation: duty
phases:
  stay:
    admits: true
    steps:
      rounds:
        by: [nurse]
        source: practice
        due: 30 min
        every: [{interval: 4 h, when: always}]
        when_late: {tell: [nurse], answer_within: 1 h, escalation: duty}
      drips: {by: [nurse], session: drip, may_be: [declined]}
      farewell: {by: [doctor]}
    next: [{to: home, when: always}]
sessions:
  drip:
    by: [nurse]
    source: practice
    apart: 2 d
    plan_within: 7 d
    dose: {drug: NAD+, route: intravenous, amount: 500 mg, rate: {from: 100 mg/h, to: 200 mg/h}}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 15 min}
    release: {earliest: 0 min, signed_by: [nurse]}
    counts_when: given > 400 mg
ends:
  home: {kind: completed}
leaving: {by: [nurse]}
"""


class Clock:
    """A clock that shows another time than the true one, by a constant."""

    def __init__(self, wrong_by: timedelta = timedelta(0)) -> None:
        self.true = EIGHT
        self.wrong_by = wrong_by

    def __call__(self) -> datetime:
        return self.true + self.wrong_by


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    file = tmp_path / "programs" / "ward" / "ward.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(TEXT, encoding="utf-8")
    return tmp_path / "programs"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, programs: Path, clock: Clock
) -> Iterator[Engine]:
    where = tmp_path / "clinic.db" if request.param == "sqlite" else None
    with Engine.open(where, programs=programs, clock=clock) as opened:
        yield opened


def high(engine: Engine, patient: str = "P-1") -> str:
    """A patient whose pressure has called a nurse just now."""
    id_ = engine.enroll("ward", patient=patient, by=ANN)
    engine.do(id_, "record vitals", by=ANN, given={"systolic": 203})
    return id_


# The outbox


def test_an_outbox_says_whom_to_tell_and_goes_on_where_the_host_left_off(
    engine: Engine, clock: Clock
) -> None:
    id_ = high(engine)
    first = engine.outbox()
    clock.true += 5 * MINUTE
    engine.run_due()

    second = engine.outbox(first.next)

    (nurse,), (doctor,) = first.notifications, second.notifications
    assert (nurse.roles, nurse.level, nurse.says) == (("nurse",), 0, "High")
    assert (doctor.roles, doctor.level, doctor.enrollment) == (("doctor",), 1, id_)
    assert nurse.urgent_until == EIGHT + 5 * MINUTE
    assert doctor.item == nurse.item in {x.item for x in engine.status(id_).items}
    assert engine.outbox(second.next).notifications == ()
    assert "203" not in f"{first}{second}"


def test_what_a_host_has_not_kept_is_given_again_with_the_same_keys(
    engine: Engine, clock: Clock
) -> None:
    for number in range(3):
        high(engine, f"P-{number}")
    clock.true += 20 * MINUTE
    engine.run_due()

    everything = engine.outbox().notifications
    again = engine.outbox().notifications
    drained: list[Notification] = []
    at = 0
    while page := engine.outbox(at, limit=2).notifications:
        drained += page
        at = engine.outbox(at, limit=2).next

    assert everything == again == tuple(drained)
    assert len({x.key for x in everything}) == len(everything) == 6
    assert [x.position for x in everything] == sorted(x.position for x in everything)


def test_a_call_long_after_the_last_is_found_too(engine: Engine) -> None:
    id_ = engine.enroll("ward", patient="P-1", by=ANN)
    for _ in range(1100):
        engine.do(id_, "record vitals", by=ANN, given={"systolic": 120})
    engine.do(id_, "record vitals", by=ANN, given={"systolic": 200})

    found = engine.outbox()

    assert [x.roles for x in found.notifications] == [("nurse",)]
    assert found.next == engine.follow(found.notifications[0].position, 99)[-1].position


def test_of_an_empty_journal_nothing_is_to_be_told(engine: Engine) -> None:
    found = engine.outbox()

    assert (found.notifications, found.next) == ((), 0)


# A hold, foreseen; the next session


def test_a_hold_is_foreseen_and_nothing_is_written(engine: Engine, clock: Clock) -> None:
    id_ = high(engine)
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"rate": "150 mg/h"})
    clock.true += 10 * MINUTE
    before = engine.follow()

    found = engine.foresee_hold(id_, by=EVE, reason="fever")

    assert found.stops == ("drip.1",)
    fates = {(x.about.rpartition("/")[2], x.what): x.then for x in found.times}
    assert fates["rounds.1", "due"] == "pauses"
    assert fates["drip.watch.1", "next"] == "runs"
    assert {x.then for x in found.times if x.about.startswith("alert")} == {"runs"}
    assert engine.follow() == before


def test_a_hold_that_would_be_refused_is_not_foreseen(engine: Engine) -> None:
    id_ = high(engine)

    with pytest.raises(Refused, match="wrong-role"):
        engine.foresee_hold(id_, by=ANN, reason="fever")


def test_the_next_session_is_proposed(engine: Engine, clock: Clock) -> None:
    id_ = engine.enroll("ward", patient="P-1", by=ANN)
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "100 mg", "last": True})
    engine.do(id_, "release drip", by=ANN)
    clock.true += timedelta(hours=3)

    slot = engine.next_slot(id_, "drip")

    assert slot is not None
    day = timedelta(days=1)
    assert (slot.session, slot.earliest, slot.latest) == ("drip", EIGHT + 2 * day, EIGHT + 7 * day)
    with pytest.raises(Refused, match="unknown-session"):
        engine.next_slot(id_, "drop")


# Clocks that differ


def test_two_hosts_whose_clocks_differ_write_one_record_in_which_time_never_falls(
    tmp_path: Path, programs: Path
) -> None:
    right, fast = Clock(), Clock(3 * MINUTE)
    where = tmp_path / "clinic.db"
    with (
        Engine.open(where, programs=programs, clock=right) as one,
        Engine.open(where, programs=programs, clock=fast) as two,
    ):
        id_ = high(two)  # by its own clock at 08:03
        for engine in (one, two, one):
            engine.do(id_, "record vitals", by=ANN, given={"systolic": 120})
            right.true += MINUTE
            fast.true += MINUTE

        recorded = [
            x.event.recorded for x in one.history(id_) if isinstance(x.event, e.ObservationRecorded)
        ]
        assert all(a <= b for a, b in pairwise(recorded))
        assert one.enrollment(id_).last == recorded[-1]
        with pytest.raises(Refused, match="future"):  # no tolerance for three minutes
            one.do(
                id_, "record vitals", by=ANN, given={"systolic": 1 + 120},
                occurred=right() + 3 * MINUTE,
            )  # fmt: skip


def test_what_a_fast_clock_has_let_come_due_is_not_due_again_by_a_slow_one(
    tmp_path: Path, programs: Path
) -> None:
    right, fast = Clock(), Clock(3 * MINUTE)
    where = tmp_path / "clinic.db"
    with (
        Engine.open(where, programs=programs, clock=right) as one,
        Engine.open(where, programs=programs, clock=fast) as two,
    ):
        id_ = high(one)
        right.true = fast.true = EIGHT + 3 * MINUTE

        assert two.run_due() == 1  # 08:06 by its own clock: nobody answered until 08:05
        assert one.run_due() == 0
        right.true = fast.true = EIGHT + 6 * MINUTE
        assert (one.run_due(), two.run_due()) == (0, 0)

        history = [x.event for x in one.history(id_)]
        assert [x.level for x in history if isinstance(x, e.AlertEscalated)] == [1]
        assert one.enrollment(id_) == two.enrollment(id_) == replay(history)


def test_what_happened_days_ago_is_told_with_its_own_time(engine: Engine, clock: Clock) -> None:
    id_ = engine.enroll("ward", patient="P-1", by=ANN)
    clock.true += timedelta(days=2)

    engine.do(id_, "record vitals", by=ANN, given={"systolic": 150}, occurred=EIGHT + 30 * MINUTE)

    (told,) = [x.event for x in engine.history(id_) if isinstance(x.event, e.ObservationRecorded)]
    assert (told.occurred, told.recorded) == (EIGHT + 30 * MINUTE, clock.true)


# Two days without anybody


def test_after_two_days_without_a_process_each_lost_round_is_missed_once_and_one_call_goes_on(
    tmp_path: Path, programs: Path
) -> None:
    clock, where = Clock(), tmp_path / "clinic.db"
    with Engine.open(where, programs=programs, clock=clock) as before:
        id_ = before.enroll("ward", patient="P-1", by=ANN)
    clock.true += timedelta(days=2)

    with (
        Engine.open(where, programs=programs, clock=clock, sites=[Site()]) as one,
        Engine.open(where, programs=programs, clock=clock, sites=[Site()]) as two,
    ):
        one.run_due()
        two.run_due()
        two.do(id_, "done rounds", by=ANN)

        history = [x.event for x in one.history(id_)]
        missed = [x.at for x in history if isinstance(x, e.ItemSettled) and x.outcome == "missed"]
        assert missed == [EIGHT + timedelta(hours=4 * n) for n in range(1, 13)]
        assert Counter(type(x) for x in history)[e.AlertRaised] == 1
        assert [x.level for x in history if isinstance(x, e.AlertEscalated)] == [1]
        assert [x.code for x in history if isinstance(x, e.DeviationNoted)] == ["unanswered-call"]
        assert one.enrollment(id_) == replay(history)
        told = two.outbox().notifications
        assert [x.roles for x in told] == [("nurse",), ("doctor",)]
        causes = [x.cause for x in one.history(id_) if isinstance(x.event, e.TimerElapsed)]
        assert len(causes) == len(set(causes))


def test_why_a_session_is_cancelled_is_one_of_a_few_codes(engine: Engine, clock: Clock) -> None:
    id_ = engine.enroll("ward", patient="P-1", by=ANN)
    engine.do(id_, "book drip", by=ANN, given={"for": EIGHT + timedelta(days=1)})

    with pytest.raises(Refused, match="bad-phrase"):
        engine.do(id_, "cancel drip", by=ANN, given={"cause": "weather"})
    engine.do(id_, "cancel drip", by=ANN, given={"cause": "clinic", "reason": "snow"})

    (cancelled,) = [x.event for x in engine.history(id_) if isinstance(x.event, e.SessionCancelled)]
    assert (cancelled.cause, cancelled.reason) == ("clinic", "snow")
