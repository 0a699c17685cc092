"""The state of an enrollment: the fold of its events, the row beside them, and views of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import get_args
from zoneinfo import ZoneInfo

import msgspec
import pytest
from bedside import MONDAY, Patient, program
from hypothesis import given
from hypothesis import strategies as st
from test_ends import _TRACKS
from test_holds import held, stay
from test_items import phase
from test_sessions import _RULES, clinic, under_way

from kat_workflow import JournalError
from kat_workflow.enrollment import cupboard, groups, patients, register, roster
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.state import (
    FOLDS,
    NOBODY,
    Enrollment,
    Settlement,
    copy_of,
    decode_row,
    encode_row,
    evolve,
    is_within,
    replay,
)
from kat_workflow.enrollment.timers import Timer, next_timer, timers, wake
from kat_workflow.enrollment.worklist import by_urgency, changed, timeliness, title, where, who

HOUR = timedelta(hours=1)


def _busy() -> Patient:
    """A patient to whom much has happened."""
    text = clinic(
        _RULES,
        steps="""
agree: {by: [nurse], obtain: drug}
plan: {by: [nurse], record: answer, signed: true, cosigned_by: [doctor]}
more: {by: [nurse], record: note, only_if: plan.word is one and consent drug in force}
later: {by: [nurse], record: note, due: 1 h, closes: 9 h, may_be: [missed], on_hold: restarts}
""",
    )
    p = Patient(program(text))
    p.do("done agree")
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="x", by="doctor")
    p.do("record plan", word="one", signed=True)
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("record drip.watch", systolic=170, pulse=140)
    p.wait("20 min")
    held(p)
    return p


def test_a_row_is_the_state_again() -> None:
    p = _busy()
    assert p.s.items
    assert p.s.holds
    assert p.s.overrides
    assert p.s.consents
    assert p.s.readings
    assert p.s.tallies
    row = encode_row(p.s)
    assert decode_row(row) == p.s
    assert encode_row(decode_row(row)) == row


def test_when_a_reading_was_recorded_stands_in_the_entries_alone() -> None:
    p = _busy()

    p.do("correct baseline", systolic=150, reason="misread")

    readings = [each for kept in p.s.readings.values() for each in kept]
    assert len(readings) > 1
    assert {each.recorded for each in readings} == {None}


def test_the_row_of_every_moment_is_that_moment() -> None:
    p = _busy()
    state = NOBODY
    for event in p.log:
        state = evolve(state, event)
        assert decode_row(encode_row(state)) == state


def test_a_row_that_is_none_says_so() -> None:
    with pytest.raises(JournalError, match="replay"):
        decode_row(b"\x93rubbish")


def test_events_survive_the_journal() -> None:
    p = _busy()
    again = [e.decode(*e.encode(event)) for event in p.log]
    assert again == p.log
    assert [e.encode(event) for event in again] == [e.encode(event) for event in p.log]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"event": "danced"}', b"\xff\xfe", b'{"event": "closed"}']
)
def test_what_is_no_event_says_so(body: bytes) -> None:
    with pytest.raises(JournalError, match="no event"):
        e.decode(body)


def test_every_event_is_folded() -> None:
    tags = {msgspec.inspect.type_info(cls).tag for cls in FOLDS}  # type: ignore[attr-defined]
    assert len(tags) == len(FOLDS)
    beside = set(patients.FOLDS) | set(register.FOLDS) | set(roster.FOLDS) | set(cupboard.FOLDS)
    beside |= set(groups.FOLDS) | set(groups.ROOM_FOLDS)
    assert beside & set(FOLDS) == {e.Erased}, "any other event belongs to one stream"
    assert beside | set(FOLDS) == set(get_args(e.Event))


def test_what_is_handed_out_is_never_changed() -> None:
    p = _busy()
    seen = [(p.s, encode_row(p.s))]
    p.do("end dosing drip", amount="9 mg")
    seen.append((p.s, encode_row(p.s)))
    p.do("leave against_advice")
    assert all(encode_row(state) == row for state, row in seen)
    assert copy_of(NOBODY) == NOBODY


def test_the_wake_is_the_first_timer_at_every_moment() -> None:
    p = _busy()
    state = NOBODY
    for event in p.log:
        state = evolve(state, event)
        first = min(timers(state), default=None)
        assert wake(state) == state.wake == (None if first is None else first.due)
        assert next_timer(state) == first


@given(
    st.datetimes(
        datetime(1990, 1, 1),
        timezones=st.sampled_from(
            [
                UTC,
                timezone(timedelta(hours=-7)),
                ZoneInfo("Asia/Kathmandu"),
                ZoneInfo("Europe/London"),
            ]
        ),
    )
)
def test_a_timer_is_named_by_its_instant_as_its_zone_writes_it(due: datetime) -> None:
    timer = Timer(due, 0, "stay.1", "stay.1/look.1", "late")

    name = timer.id("e-1")

    assert name == f"timer:e-1/stay.1/look.1/late@{due.isoformat()}"


def test_a_session_that_is_under_way_when_its_step_is_late_wakes() -> None:
    text = clinic().replace(
        "session: drip",
        "session: drip, due: 5 min, when_late: {tell: [nurse], answer_within: 5 min}",
        1,
    )
    p = Patient(program(text))
    p.do("start drip")

    timer = next_timer(p.s)

    assert timer is not None
    assert (timer.what, timer.about) == ("late", p.item("drips").id)
    assert wake(p.s) == timer.due == MONDAY + timedelta(minutes=5)


def test_a_booking_that_may_lapse_wakes() -> None:
    p = Patient(program(clinic("no_show_after: 30 min")))
    p.do("book drip", given={"for": MONDAY + HOUR})
    timer = next_timer(p.s)
    assert timer is not None
    assert (timer.what, timer.about, timer.due) == (
        "lapses",
        "drip.1",
        MONDAY + 90 * timedelta(minutes=1),
    )
    held(p)
    assert next_timer(p.s) is None


def test_places_lie_within_those_around_them_and_not_within_their_namesakes() -> None:
    assert is_within("stay.1/day.2", "stay.1")
    assert is_within("stay.1", "stay.1")
    assert is_within("stay.1", "")
    assert not is_within("stay.10", "stay.1")
    assert not is_within("stay.1", "stay.1/day.2")


def test_leaving_a_place_forgets_what_was_settled_there_and_nothing_of_its_namesake() -> None:
    settled = {
        step: Settlement("done", MONDAY, place, (), 1, False)
        for step, place in (("first", "stay.1/day.1"), ("tenth", "stay.1/day.10"))
    }

    after = evolve(Enrollment("e", settled=settled), e.PhaseLeft("day", "stay.1/day.1", MONDAY, ""))

    assert set(after.settled) == {"tenth"}


def test_only_what_a_gate_may_read_is_kept_beside_the_journal() -> None:
    p = Patient(
        program(
            phase("check: {by: [nurse], record: vitals, every: [{interval: 4 h, when: always}]}")
        )
    )
    p.do("record check", systolic=120, pulse=80)
    assert not p.s.readings
    assert p.events(e.ObservationRecorded)[0].values == {"systolic": 120, "pulse": 80}


def test_the_past_that_no_gate_can_read_any_more_is_dropped() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      check: {by: [nurse], record: score, every: [{interval: 8 h,
        when: last 2 of score.points < 8 points}, {interval: 4 h, when: always}]}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    for points in range(5):
        p.do("record check", points=points)
        p.wait("4 h")
    assert [o.values["points"] for o in p.s.readings["score"]] == [3, 4]


def test_a_reading_of_the_past_takes_its_place_among_the_others() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      check: {by: [nurse], record: vitals, every: [{interval: 8 h,
        when: every check.systolic of last 24 h < 120 mmHg}, {interval: 4 h, when: always}]}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record check", systolic=100)
    p.wait("4 h")
    p.do("record check", systolic=102)
    p.do("record check", systolic=101, occurred=MONDAY + HOUR)
    assert [o.values["systolic"] for o in p.s.readings["vitals"]] == [100, 101, 102]


def test_what_only_a_round_reads_is_forgotten_with_it() -> None:
    text = """
start: stay
phases:
  stay:
    repeat: {at_least: 2, at_most: 2}
    steps:
      morning: {by: [nurse], record: answer}
      talk: {by: [nurse], record: note, only_if: morning.word is one}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record morning", word="one")
    assert p.s.readings
    p.do("record talk", text="x")
    assert p.s.visits["stay"].round == 2
    assert not p.s.readings
    assert not p.s.settled


def test_two_replays_of_one_record_are_one_state() -> None:
    p = _busy()
    assert replay(p.log) == replay(tuple(p.log)) == p.s
    half = replay(p.log[:9])
    assert replay(p.log[9:], half) == p.s


# Views


def test_a_patient_is_where_nothing_further_inside_is_active() -> None:
    p = Patient(program(_TRACKS))
    assert where(p.program, p.s) == ("wash", "talk", "game")


def test_items_stand_by_urgency() -> None:
    p = Patient(
        program(
            stay(
                "soon: {by: [nurse], record: note, due: 1 h}\nlate: {by: [nurse], "
                "record: note, due: 9 h}"
            )
        )
    )
    assert [i.step for i in by_urgency(p.s.items.values())] == ["farewell", "soon", "late"]
    assert timeliness(p.item("farewell"), MONDAY + 99 * HOUR) == "open"


def test_what_is_due_at_the_instant_at_which_it_opens_is_late_from_then_on() -> None:
    p = Patient(program(stay("at_once: {by: [nurse], record: note, due: 0 min}")))

    assert timeliness(p.item("at_once"), MONDAY) == "late"


def test_an_item_has_a_name_for_people_and_waits_for_roles() -> None:
    p = Patient(
        program(
            phase(
                "plan: {title: The plan, by: [nurse], record: note, signed: true, "
                "cosigned_by: [doctor, nurse]}"
            )
        )
    )
    assert title(p.program, p.item("plan")) == "The plan"
    assert who(p.program, p.item("plan")) == ("nurse",)
    p.do("record plan", text="x")
    assert who(p.program, p.item("plan")) == ("nurse", "doctor")
    p.do("sign plan", by="bob:nurse")
    assert who(p.program, p.item("plan")) == ("doctor", "nurse")
    q = under_way()
    q.do("dose drip", rate="900 mg/h")
    assert title(q.program, q.item("rate-outside")) == "Review: rate-outside"
    assert who(q.program, q.item("rate-outside")) == ("doctor",)


def test_what_a_worklist_must_change_is_what_came_and_what_went() -> None:
    p = Patient(
        program(
            stay(
                "plan: {by: [nurse], record: note, signed: true}\nask: {by: [nurse], "
                "record: note}\nmore: {by: [nurse], record: note, after: [ask]}"
            )
        )
    )
    assert changed(p.log) == (["stay.1/farewell.1", "stay.1/plan.1", "stay.1/ask.1"], [], True)
    came, gone, moved = changed(p.do("record ask", text="x"))
    assert (came, gone, moved) == (["stay.1/more.1"], ["stay.1/ask.1"], False)
    assert changed(p.do("record plan", text="x"))[0] == ["stay.1/plan.1"]  # it waits for others now
    held(p)
    p.wait("1 h")
    assert changed(p.do("lift", by="doctor"))[2]
    opened = e.ItemOpened("a.1/x.1", "x", "step", (), MONDAY, MONDAY)
    settled = e.ItemSettled("a.1/x.1", "x", "a.1", "done", MONDAY)
    assert changed([opened, settled]) == ([], ["a.1/x.1"], False)
    assert changed([settled, opened]) == (["a.1/x.1"], [], False)
