"""Every end of every shipped program, from everywhere a patient can be in it.

The places are those that the shipped scenarios pass through, with sessions in every state, with
and without a hold; where none passes, a patient is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pytest
from bedside import Patient
from ways import AROUND, SHIPPED, program, scenarios, way

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Actor, Command
from kat_workflow.enrollment.decide import Decision, decide
from kat_workflow.enrollment.state import Enrollment
from kat_workflow.errors import Refusal
from kat_workflow.program.model import End, Program

DAY = timedelta(days=1)
_BY_ROWS = ("completed", "not_eligible")
_AT_ONCE = ("died", "entered_in_error")


def somebody(name: str) -> Actor:
    return Actor("somebody", program(name).roles)


def reported(its: Program) -> list[End]:
    """The ends that a person reports; the others are reached by the program's rows alone."""
    return [end for end in its.ends.values() if end.kind not in _BY_ROWS]


@lru_cache
def places(name: str) -> tuple[Enrollment, ...]:
    """A patient in every combination of phases, session states and holds that is passed through,
    and in every phase."""
    found: dict[tuple[object, ...], Enrollment] = {}
    for start in range(len(scenarios(name)) + 1):
        for step in way(name, start, -1, ()).steps:
            for s in (step.caught_up, step.after):
                if s.standing in ("applied", "active"):
                    sessions = [(x.kind, x.state, x.dosing) for x in s.sessions.values()]
                    found.setdefault((*s.visits, *sessions, bool(s.holds)), s)
    for s in list(found.values()):
        for x in s.sessions.values():
            if x.state == "under_way" and x.dosed is not None:
                found["aborted", x.kind, *s.visits] = told(name, s, c.Abort(x.id, "x")).enrollment
    entered = {phase for s in found.values() for phase in s.visits}
    for phase, its in program(name).phases.items():
        if phase not in entered and not its.excursion:
            moved = told(name, min(found.values(), key=lambda s: s.version), c.Move(phase, "test"))
            found[phase,] = moved.enrollment
    return tuple(found.values())


def told(name: str, s: Enrollment, act: c.Act) -> Decision:
    assert s.last is not None
    answer = decide(program(name), s, AROUND, Command("c", act, somebody(name), s.last))
    assert isinstance(answer, Decision), answer
    return answer


def everything_is_settled(its: Program, before: Enrollment, ended: Decision) -> None:
    """What every end owes, whichever it is and from wherever."""
    after = ended.enrollment
    discharged = next(x for x in ended.events if isinstance(x, e.Discharged))
    end = its.ends[discharged.end]
    settled = {x.item: x for x in ended.events if isinstance(x, e.ItemSettled)}
    for id_ in before.items:
        assert settled[id_].outcome != "left" or settled[id_].reason, id_
        assert id_ not in after.items
    for session in before.sessions:
        assert any(
            isinstance(x, e.SessionReleased | e.SessionCancelled) and x.session == session
            for x in ended.events
        )
    assert not after.visits
    assert not after.sessions
    assert not after.holds
    assert not after.overrides
    assert after.recheck is None
    work = {f"after/{step}.1" for step in end.work}
    owed = ("left-before-release", "ledger-imbalance")  # somebody must look, also after the end
    safety = {id_ for id_, item in after.items.items() if item.about in owed}
    assert set(after.items) == work | safety
    assert after.standing == ("discharged" if after.items else "closed")
    instants = [x for i in after.items.values() for x in (i.due, i.closes) if x is not None]
    assert after.wake is None or after.wake in instants


@pytest.mark.parametrize("name", SHIPPED)
def test_every_place_is_tried(name: str) -> None:
    entered = {phase for s in places(name) for phase in s.visits}
    states = {x.state for s in places(name) for x in s.sessions.values()}

    assert entered == set(program(name).phases)
    assert {"under_way", "recovering", "stopping"} <= states
    assert any(s.holds for s in places(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_each_end_from_each_place_settles_everything_in_one_commit(name: str) -> None:
    its = program(name)
    for s in places(name):
        watched = [x for x in s.sessions.values() if x.under_way and x.dosed is not None]
        for end in reported(its):
            ended = told(name, s, c.Leave(end.name, "so it was"))

            everything_is_settled(its, s, ended)
            calls = [x.alert for x in ended.events if isinstance(x, e.AlertRaised)]
            unsafe = bool(watched) and end.kind not in _AT_ONCE
            assert calls == (["left-before-release"] if unsafe else [])
            if end.kind in _AT_ONCE:
                assert ended.enrollment.standing == "closed"


@pytest.mark.parametrize("name", SHIPPED)
def test_so_does_each_end_to_which_the_program_leads_by_itself(name: str) -> None:
    its = program(name)
    led: set[str] = set()
    for before, ended in _ends_of_scenarios(name):
        everything_is_settled(its, before, ended)
        led.add(ended.enrollment.end)

    assert {end.name for end in its.ends.values() if end.kind in _BY_ROWS} <= led


def _ends_of_scenarios(name: str) -> Iterator[tuple[Enrollment, Decision]]:
    for start in range(1, len(scenarios(name)) + 1):
        for step in way(name, start, -1, ()).steps:
            for before, decision, _ in step.decisions:
                if any(isinstance(x, e.Discharged) for x in decision.events):
                    yield before, decision


@pytest.mark.parametrize("name", SHIPPED)
def test_nobody_is_kept_by_what_is_left_to_do_and_in_the_end_it_is_closed(name: str) -> None:
    its = program(name)
    for end in reported(its):
        p = Patient(its, by=somebody(name))
        p.do(f"leave {end.name}", by=somebody(name), reason="so it was")
        while p.s.wake is not None:
            p._now = p.s.wake
            p.look()
        # What a late follow-up calls for is somebody's to answer; all else has expired.
        for item in [x for x in p.s.items.values() if x.kind == "alert"]:
            p.do(f"done {item.id}", by=somebody(name))
        assert p.look().standing == "closed", end.name


_FOLLOW_UPS = {
    # When each opens, is due and closes, in days from leaving.
    "aftercare_7_days": (1, 7, 21),
    "aftercare_30_days": (21, 30, 60),
    "aftercare_90_days": (75, 90, 120),
}


@pytest.mark.parametrize("end", ["against_advice", "administrative", "lost_to_follow_up"])
def test_follow_ups_open_are_due_and_close_as_many_days_after_leaving(end: str) -> None:
    its = program("residential-30-day")
    by = somebody("residential-30-day")
    p = Patient(its, zone="America/Los_Angeles", at=datetime(2026, 3, 2, 17, tzinfo=UTC), by=by)
    p.wait("5 d")
    left = p.now
    p.do(f"leave {end}", by=by, reason="so it was")

    # Three weeks later the clocks are changed: days count by the wall.
    for step, (opens, due, closes) in _FOLLOW_UPS.items():
        item = p.item(step)
        expected = [_days_after(p, left, n) for n in (opens, due, closes)]
        assert [item.opens, item.due, item.closes] == expected

    for step, (_, due, closes) in _FOLLOW_UPS.items():
        p._now = _days_after(p, left, due)
        assert p.is_open(step)
        if step == "aftercare_30_days":
            p.do(f"record {step}", by=by, reached="reached", days_used=0)
            assert p.outcome(step) == "done"
            continue
        p._now = _days_after(p, left, closes) - timedelta(minutes=1)
        assert p.is_open(step)
        p._now = _days_after(p, left, closes)
        assert not p.is_open(step)
        assert p.outcome(step) == "missed"
    assert p.look().standing == "closed"


def _days_after(p: Patient, left: datetime, days: int) -> datetime:
    wall = left.astimezone(p.zone).replace(tzinfo=None) + days * DAY
    return wall.replace(tzinfo=p.zone).astimezone(UTC)


def test_a_second_end_is_refused() -> None:
    name = "detox-4-day"
    s = told(name, places(name)[0], c.Leave("against_advice", "x")).enrollment
    assert s.last is not None

    answer = decide(program(name), s, AROUND, Command("c", c.Leave("died"), somebody(name), s.last))

    assert isinstance(answer, Refusal)
    assert answer.reasons[0].code == "not-in-treatment"
