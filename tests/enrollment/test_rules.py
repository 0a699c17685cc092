"""The rules of a run to completion, one chapter each: R1 to R8, R10, R14 and R15, overrides.

Recurrence (R9) is in `test_items`, holds (R11) in `test_holds`, sessions (R12) in
`test_sessions`; what is written together (R13) and again (R14) is in `test_engine`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from bedside import MONDAY, Patient, elapsed, person, program
from test_sessions import clinic

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.commands import Command
from kat_workflow.enrollment.decide import Behind, Decision, catch_up, decide
from kat_workflow.enrollment.state import NOBODY, evolve, replay
from kat_workflow.enrollment.timers import next_timer, timers
from kat_workflow.errors import Refusal
from kat_workflow.program.model import Program

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

_PLAIN = """
start: stay
decided_by: [doctor]
phases:
  stay:
    admits: true
    steps:
      check: {by: [nurse], record: vitals, every: [{interval: 4 h, when: always}]}
      farewell: {by: [nurse], record: answer, due: 2 h}
    next: [{to: well, when: always}]
"""


# R1 Input: logical time never falls


def test_r1_a_clock_that_goes_back_does_not_turn_back_the_record() -> None:
    p = Patient(program(_PLAIN))
    p.wait("1 h")
    p.do("record check", systolic=120)
    p.now -= HOUR
    p.do("record check", systolic=121)
    assert [x.recorded for x in p.events(e.ObservationRecorded)] == [MONDAY + HOUR] * 2
    assert p.s.last == MONDAY + HOUR


def test_r1_what_happened_earlier_is_told_with_its_own_time() -> None:
    p = Patient(program(_PLAIN))
    p.wait("1 h")
    p.do("record check", systolic=120, occurred=p.now - 10 * MINUTE)
    (reading,) = p.events(e.ObservationRecorded)
    assert (reading.occurred, reading.recorded) == (p.now - 10 * MINUTE, p.now)


def test_r1_nothing_happens_in_the_future_but_two_clocks_may_differ_a_little() -> None:
    p = Patient(program(_PLAIN))
    p.do("record check", systolic=120, occurred=p.now + 2 * MINUTE)
    assert p.codes(
        "record farewell", word="one", occurred=p.now + 2 * MINUTE + timedelta(seconds=1)
    ) == ["future"]


def test_r1_a_clock_that_runs_ahead_does_not_move_the_records_time_ahead() -> None:
    p = Patient(program(_PLAIN))
    p.do("record check", systolic=120, occurred=p.now + MINUTE)
    assert p.s.last == p.now
    assert p.events(e.ObservationRecorded)[0].occurred == p.now


def test_r1_a_time_without_a_zone_names_no_moment() -> None:
    p = Patient(program(_PLAIN))
    naive = datetime(2026, 3, 2, 8, 0)
    assert p.codes("record check", systolic=120, occurred=naive) == ["naive-instant"]


def test_r1_a_time_in_any_zone_is_the_same_moment() -> None:
    p = Patient(program(_PLAIN))
    there = timezone(timedelta(hours=-8))
    p.do("record check", systolic=120, occurred=datetime(2026, 3, 2, 0, 50, tzinfo=there))
    (reading,) = p.events(e.ObservationRecorded)
    assert reading.occurred == MONDAY - 10 * MINUTE


# R2 Catch up first


def test_r2_an_enrollment_that_is_behind_is_not_decided_on() -> None:
    p = Patient(program(_PLAIN))
    command = Command("x", c.Record("check", {"systolic": 120}), person("nurse"), MONDAY + 9 * HOUR)
    answer = decide(p.program, p.s, p.around, command)
    assert isinstance(answer, Behind)
    assert answer.timer.due == MONDAY + 4 * HOUR
    assert answer.timer == next_timer(p.s)


def test_r2_what_is_due_at_the_very_instant_of_a_command_comes_before_it() -> None:
    p = Patient(program(_PLAIN))
    act = c.Record("check", {"systolic": 120})

    at_once = decide(
        p.program, p.s, p.around, Command("x", act, person("nurse"), MONDAY + 4 * HOUR)
    )

    assert isinstance(at_once, Behind)


def test_r2_each_timer_runs_at_its_own_instant_however_late_it_is_run() -> None:
    p = Patient(program(_PLAIN))
    ran, after = catch_up(p.program, p.s, p.around, MONDAY + 9 * HOUR)
    assert [timer.due for timer, _ in ran] == [MONDAY + 4 * HOUR, MONDAY + 8 * HOUR]
    assert after.last == MONDAY + 8 * HOUR
    assert after.items["stay.1/check.3"].opens == MONDAY + 8 * HOUR


def test_r2_a_timer_names_itself_and_what_it_did_follows_in_the_same_entry() -> None:
    p = Patient(program(_PLAIN))
    timer = next_timer(p.s)
    assert timer is not None
    events = elapsed(p, timer).events
    assert isinstance(events[0], e.TimerElapsed)
    assert (
        events[0].timer
        == timer.id("e-1")
        == "timer:e-1/stay.1/check.1/next@2026-03-02T13:00:00+00:00"
    )


def test_r2_a_timer_due_before_the_last_entry_runs_at_that_entry() -> None:
    p = Patient(program(_PLAIN))
    p.wait("3 h")
    p.do("record farewell", word="one", occurred=MONDAY)
    timer = next_timer(Patient(p.program).s)
    assert timer is not None
    behind = Patient(program(_PLAIN))
    behind.s = evolve(behind.s, e.DeviationNoted("early", "x", MONDAY + 5 * HOUR))
    assert elapsed(behind, timer).events[0].at == MONDAY + 5 * HOUR  # type: ignore[union-attr]


def test_r2_watch_comes_before_window_before_schedule_before_recheck() -> None:
    p = Patient(
        program(
            clinic(
                "no_show_after: 15 min\n"
                "watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min, "
                "late_after: 15 min, "
                "when_late: {tell: [doctor], answer_within: 5 min}}",
                steps="""
late: {by: [nurse], record: note, due: 15 min, when_late: {tell: [doctor], answer_within: 5 min}}
often: {by: [nurse], record: score, every: [{interval: 15 min, when: always}]}
""",
            )
        )
    )
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    due = [t for t in sorted(timers(p.s)) if t.due == MONDAY + 15 * MINUTE]
    assert [(t.what, t.about) for t in due] == [
        ("late", "stay.1/drip.1/drip.watch.1"),
        ("late", "stay.1/late.1"),
        ("next", "stay.1/often.1"),
    ]
    assert next_timer(p.s) == due[0]


def test_r2_at_midnight_readings_are_settled_before_the_day_is_looked_at_again() -> None:
    text = """
start: stay
phases:
  stay:
    admits: true
    repeat: {at_least: 2, at_most: 2, one_per: program day}
    steps:
      work: {by: [nurse], record: note}
      check: {by: [nurse], record: score, every: [{daily_at: ["00:00"], when: always}]}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text), at=MONDAY - 9 * HOUR)
    p.do("record work", text="x")
    due = [t for t in sorted(timers(p.s)) if t.due == MONDAY + 15 * HOUR]
    assert [timer.what for timer in due] == ["next", "recheck"]
    p.now = MONDAY + 15 * HOUR
    assert p.look().visits["stay"].round == 2
    assert p.outcomes("check") == ["missed", "left"]


def test_r2_timers_of_one_instant_run_in_the_order_of_their_places() -> None:
    p = Patient(
        program(
            _PLAIN.replace(
                "farewell: {by: [nurse], record: answer, due: 2 h}",
                """farewell: {by: [nurse], record: answer}
      alpha: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}""",
            )
        )
    )
    ran, _ = catch_up(p.program, p.s, p.around, MONDAY + 4 * HOUR)
    assert [timer.about for timer, _ in ran] == ["stay.1/alpha.1", "stay.1/check.1"]


# R3 Judge: all reasons, in one order; a report is never unrecordable


def test_r3_every_reason_is_told_and_nothing_is_written() -> None:
    p = Patient(program(_PLAIN))
    before = p.s
    refusal = p.refused("record farewell", by="doctor", word="four", color="red")
    assert [r.code for r in refusal.reasons] == ["wrong-role", "not-an-option", "unknown-field"]
    assert p.s is before


def test_r3_a_request_that_breaks_a_gate_is_refused_and_a_report_of_it_is_kept() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=190)
    assert p.codes("start drip") == ["gate-closed"]
    p.do("dose drip", rate="150 mg/h")
    assert [x.code for x in p.events(e.DeviationNoted)] == ["dose-without-start"]
    assert p.item("dose-without-start").kind == "review"


def test_r3_an_implausible_value_is_a_slip_even_in_a_report() -> None:
    p = Patient(program(_PLAIN))
    assert p.codes("record check", systolic=700) == ["implausible"]


def test_r3_a_deviation_is_looked_at_by_those_who_decide() -> None:
    p = Patient(program(clinic()))
    p.do("dose drip", rate="900 mg/h")
    assert {p.item("rate-outside").roles} == {("doctor",)}
    p.do(f"done {p.item('rate-outside').id}", by="doctor", reason="prescribed so")
    assert not p.is_open("rate-outside")


def test_r3_where_nobody_is_named_who_decides_everybody_may_look() -> None:
    p = Patient(program(clinic().replace("decided_by: [doctor]", "")))
    p.do("dose drip", rate="900 mg/h")
    assert p.item("rate-outside").roles == ("nurse", "doctor", "therapist")


def test_r3_the_role_acted_in_is_the_first_that_serves_or_the_one_asked_for() -> None:
    p = Patient(program(_PLAIN.replace("farewell: {by: [nurse]", "farewell: {by: [doctor, nurse]")))
    act = c.Record("farewell", {"word": "one"})
    answer = p.ask(act, by="ann:nurse,doctor")
    assert isinstance(answer, Decision)
    assert answer.role == "doctor"
    answer = p.ask(act, by="ann:nurse,doctor", role="nurse")
    assert isinstance(answer, Decision)
    assert answer.role == "nurse"
    answer = p.ask(act, by="ann:nurse,doctor", role="therapist")
    assert isinstance(answer, Refusal)


def test_r3_the_system_satisfies_no_role() -> None:
    p = Patient(program(_PLAIN))
    assert p.codes("record check", by=c.SYSTEM, systolic=120) == ["wrong-role"]


# R4 Apply: a command's own entries are seen by every later gate


def test_r4_the_last_reading_itself_opens_the_way() -> None:
    p = Patient(
        program(
            _PLAIN.replace(
                "when: always}]\n",
                "when: farewell.word is one}, {to: elsewhere, when: always}]\n",
                2,
            ).replace(
                "every: [{interval: 4 h, when: farewell.word is one}, {to: elsewhere, "
                "when: always}]",
                "every: [{interval: 4 h, when: always}]",
            )
        )
    )
    events = p.do("record farewell", word="one")
    assert p.s.end == "well"
    assert [type(x).__name__ for x in events][:2] == ["ObservationRecorded", "ItemSettled"]


# R5 Settle


def test_r5_a_dangerous_reading_is_acted_on_before_the_patient_moves() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      check:
        by: [nurse]
        record: vitals
        alerts: [{when: check.systolic >= 180 mmHg, says: High, tell: [doctor],
          answer_within: 15 min}]
    next: [{to: next, when: always}]
  next:
    steps: {more: {by: [nurse], record: note}}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    events = [type(x).__name__ for x in p.do("record check", systolic=190)]
    assert events.index("AlertRaised") < events.index("PhaseLeft")
    assert p.is_open("check.alert.1")


def test_r5_an_urgent_row_goes_before_the_phase_is_finished_and_outermost_first() -> None:
    text = """
start: outer
phases:
  outer:
    start: inner
    steps: {ask: {by: [nurse], record: answer, optional: true}}
    phases:
      inner:
        steps: {work: {by: [nurse], record: note}}
        next: [{to: finish, when: ask.word is one, at_once: true}, {to: finish, when: always}]
    next: [{to: elsewhere, when: ask.word is one, at_once: true}, {to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record ask", word="one")
    assert p.s.end == "elsewhere"
    assert [x.reason for x in p.events(e.PhaseLeft)] == ["elsewhere", "elsewhere"]


def test_r5_an_urgent_row_that_is_unknown_does_not_go_and_does_not_stop_the_rest() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      ask: {by: [nurse], record: answer, optional: true}
      work: {by: [nurse], record: note}
    next: [{to: elsewhere, when: ask.word is one, at_once: true}, {to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record work", text="x")
    assert p.phases == ["stay"]  # at its end the same row is asked, is unknown, and stops
    p.do("record ask", word="two")
    assert p.s.end == "well"


def test_r5_a_phase_inside_that_has_nothing_after_it_finishes_the_one_around_it() -> None:
    text = """
start: outer
phases:
  outer:
    start: one
    phases:
      one: {steps: {a: {by: [nurse], record: note}}, next: [{to: two, when: always}]}
      two: {steps: {b: {by: [nurse], record: note}}, next: []}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record a", text="x")
    assert p.phases == ["outer", "two"]
    p.do("record b", text="x")
    assert p.s.end == "well"


def test_r5_optional_steps_do_not_hold_a_phase_and_required_ones_do() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      may: {by: [nurse], record: note, optional: true}
      must: {by: [nurse], record: note, signed: true}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record must", text="x")
    assert p.phases == ["stay"]
    p.do("sign must")
    assert p.s.end == "well"
    assert p.outcomes("may") == ["left"]


# R6 A move is atomic


def test_r6_a_move_leaves_innermost_first_and_enters_outermost_first_in_one_command() -> None:
    text = """
start: a
phases:
  a:
    start: a1
    steps: {ask: {by: [nurse], record: answer}}
    phases:
      a1: {steps: {w: {by: [nurse], record: note}}, next: []}
    next: [{to: b, when: ask.word is one, at_once: true}, {to: well, when: always}]
  b:
    start: b1
    phases:
      b1: {steps: {x: {by: [nurse], record: note}}, next: []}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    moves = [
        (type(x).__name__, x.phase)
        for x in p.do("record ask", word="one")
        if isinstance(x, e.PhaseLeft | e.PhaseEntered)
    ]
    assert moves == [
        ("PhaseLeft", "a1"),
        ("PhaseLeft", "a"),
        ("PhaseEntered", "b"),
        ("PhaseEntered", "b1"),
    ]
    assert p.open == ["b.1/b1.1/x.1"]
    assert p.outcomes("w") == ["left"]


# R7 Bound

_LOOP = """
start: a
decided_by: [doctor]
phases:
  a:
    steps:
      ask: {by: [nurse], record: answer, only_if: count of go_on done = 0}
      go_on: {by: [nurse], record: note, may_be: [waived], only_if: count of go_on done = 0}
    next: [{to: b, when: always}]
  b:
    steps:
      more: {by: [nurse], record: note}
    next: [{to: well, when: more.text is recorded and not always}, {to: a, when: always}]
"""


def circle(text: str = _LOOP) -> Program:
    """A program that no check would let through: nothing waits in its second phase."""
    checked = program(text)
    phases = {**checked.phases, "b": attrs.evolve(checked.phases["b"], required_steps=())}
    return attrs.evolve(checked, phases=phases)


def test_r7_a_program_that_runs_in_a_circle_is_stopped_and_looked_at() -> None:
    p = Patient(circle())
    p.do("record ask", word="one")
    p.do("record go_on", text="x")
    assert p.item("program-loops").kind == "review"
    assert len(p.events(e.PhaseEntered)) == 3
    assert p.s.standing == "applied"


def test_r7_a_request_that_would_run_in_a_circle_is_refused() -> None:
    p = Patient(circle(_LOOP.replace("count of go_on done = 0", "count of go_on waived = 0")))
    p.do("record ask", word="one")
    assert p.codes("waive go_on", reason="x") == ["program-loops"]
    assert p.phases == ["a"]


def test_r7_the_circle_is_looked_at_once() -> None:
    p = Patient(circle())
    p.do("record ask", word="one")
    p.do("record go_on", text="x")
    p.do("record vitals", systolic=120)
    assert len([i for i in p.s.items.values() if i.about == "program-loops"]) == 1


# R8 Time opens doors


def test_r8_a_gate_that_waits_for_time_opens_at_its_very_instant() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      rest: {by: [nurse], record: note}
      walk: {by: [nurse], record: note, only_if: time since rest done >= 2 h}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record rest", text="x")
    assert p.outcomes("walk") == ["skipped"]  # false is an answer: it is not waited for
    q = Patient(
        program(
            text.replace("only_if: time since rest done >= 2 h", "after: [rest]")
            .replace(
                "{to: well, when: always}",
                "{to: well, when: time since rest done >= 2 h, at_once: true}, "
                "{to: elsewhere, when: rest is not done}, {to: well, when: always}",
            )
            .replace("walk: {", "sit: {by: [nurse], record: note}\n      walk: {")
        )
    )
    q.do("record rest", text="x")
    q.do("record walk", text="x")
    assert q.s.recheck == MONDAY + 2 * HOUR
    q.wait(2 * HOUR - timedelta(seconds=1))
    assert q.phases == ["stay"]
    q.wait(timedelta(seconds=1))
    assert q.look().end == "well"
    assert q.events(e.Discharged)[0].at == MONDAY + 2 * HOUR


def test_r8_of_several_gates_that_wait_the_first_to_turn_is_looked_at_first() -> None:
    rows = [f"{{to: well, when: time since rest done >= {n} h, at_once: true}}" for n in (5, 2, 7)]
    p = Patient(
        program(
            f"""
start: stay
phases:
  stay:
    steps:
      rest: {{by: [nurse], record: note}}
      sit: {{by: [nurse], record: note}}
    next: [{", ".join(rows)}, {{to: well, when: always}}]
"""
        )
    )

    p.do("record rest", text="x")

    assert p.s.recheck == MONDAY + 2 * HOUR


def test_r8_ageing_never_opens_anything() -> None:
    text = """
start: stay
phases:
  stay:
    steps:
      lab: {by: [nurse], record: test}
      ask: {by: [nurse], record: answer}
      more: {by: [nurse], record: note, after: [ask], only_if: not lab.result is positive}
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record lab", result="negative")
    p.wait("4 d")
    p.do("record ask", word="one")
    assert not p.is_open("more")
    assert "more" not in p.s.settled
    p.do("record lab", result="negative")
    assert p.is_open("more")


def test_r8_nothing_is_rechecked_where_nothing_can_turn() -> None:
    p = Patient(program(_PLAIN))
    assert p.s.recheck is None


# R10 Truth: doubt may restrict, never permit


@pytest.mark.parametrize(
    ("gate", "age", "end"),
    [
        ("lab.result is negative", "71 h", "well"),
        ("lab.result is negative", "72 h", ""),
        ("not lab.result is positive", "72 h", ""),
    ],
)
def test_r10_a_result_that_has_expired_is_no_result(gate: str, age: str, end: str) -> None:
    text = f"""
start: stay
decided_by: [doctor]
phases:
  stay:
    steps:
      lab: {{by: [nurse], record: test}}
      work: {{by: [nurse], record: note}}
    next: [{{to: well, when: {gate}}}]
"""
    p = Patient(program(text))
    p.do("record lab", result="negative")
    p.wait(age)
    p.do("record work", text="x")
    assert p.s.end == end


def test_r10_a_fact_is_read_in_the_innermost_place_that_records_it() -> None:
    text = """
start: stay
phases:
  stay:
    start: day
    phases:
      day:
        repeat: {at_least: 2, at_most: 2}
        steps:
          morning: {by: [nurse], record: answer}
          talk: {by: [nurse], record: note, only_if: morning.word is one}
        next: []
    next: [{to: well, when: always}]
"""
    p = Patient(program(text))
    p.do("record morning", word="one")
    p.do("record talk", text="x")
    assert p.s.visits["day"].round == 2
    assert not p.is_open("talk")
    assert "talk" not in p.s.settled


# Overrides

_GATED = clinic("ready: [pressure_ok]\ncounts_when: given > 400 mg")


def test_an_override_turns_its_gate_true_until_a_request_has_used_it() -> None:
    p = Patient(program(_GATED))
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="always high", by="doctor")
    (granted,) = p.events(e.OverrideGranted)
    assert granted.until == MONDAY + 4 * HOUR
    assert (granted.reason, granted.person, granted.role) == ("always high", "doctor", "doctor")
    p.act(c.Start("drip"), id_="the-start")
    assert [(x.gate, x.by_command) for x in p.events(e.OverrideUsed)] == [
        ("pressure_ok", "the-start")
    ]
    p.do("cancel drip", reason="no vein")
    assert p.codes("start drip") == ["gate-closed"]


def test_an_override_that_is_not_needed_is_not_used_up() -> None:
    p = Patient(program(_GATED))
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="always high", by="doctor")
    p.do("record baseline", systolic=120)
    p.do("start drip")
    assert not p.events(e.OverrideUsed)
    assert "pressure_ok" in p.s.overrides


def test_an_override_expires() -> None:
    p = Patient(program(_GATED))
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="always high", by="doctor")
    p.wait("4 h")
    refusal = p.refused("start drip")
    assert [r.code for r in refusal.reasons] == ["gate-closed"]
    assert any("override" in way for way in refusal.reasons[0].unblock)
    p.do("record baseline", systolic=120)
    p.do("start drip")
    assert not p.events(e.OverrideUsed)


def test_only_who_may_overrides_and_only_a_gate_that_says_so() -> None:
    text = _GATED.replace(
        "gates:", "gates:\n  calm: {says: Calm, when: last 1 of baseline.pulse < 100 /min}"
    ).replace("ready: [pressure_ok]", "ready: [pressure_ok, calm]")
    p = Patient(program(text))
    assert p.codes("override pressure_ok") == ["wrong-role", "reason-missing"]
    assert p.codes("override calm", reason="x", by="doctor") == ["absolute-gate"]
    assert p.codes("override moon", reason="x", by="doctor") == ["unknown-gate"]


def test_a_way_that_an_override_opens_uses_it_up() -> None:
    text = """
start: ask
decided_by: [doctor]
phases:
  ask:
    steps: {question: {by: [nurse], record: answer}}
    next: [{to: second, when: fine}, {to: well, when: question.word is two}]
  second:
    steps: {again: {by: [nurse], record: answer}}
    next: [{to: ask, when: always}]
gates:
  fine: {says: Fine, when: question.word is one, override: {by: [doctor], lasts: 7 d}}
"""
    p = Patient(program(text))
    p.do("record question", word="three")
    assert p.is_open("ask")
    p.do("override fine", reason="judgement", by="doctor")
    assert p.phases == ["second"]
    assert [x.gate for x in p.events(e.OverrideUsed)] == ["fine"]
    p.do("record again", word="one")
    p.do("record question", word="three")
    assert p.phases == ["ask"]


# R14 Again, as far as one enrollment knows


def test_r14_an_enrollment_begins_once() -> None:
    p = Patient(program(_PLAIN))
    answer = p.ask(c.Enroll("e-1", "P-1"))
    assert isinstance(answer, Refusal)
    assert answer.code == "already-enrolled"


def test_r14_nobody_is_enrolled_without_saying_whom_and_by_somebody_in_a_role() -> None:
    answer = decide(
        program(_PLAIN), NOBODY, Around(), Command("c", c.Enroll("e", ""), person("cook"), MONDAY)
    )
    assert isinstance(answer, Refusal)
    assert [r.code for r in answer.reasons] == ["wrong-role", "no-patient"]


# R15 Fold


def test_r15_every_prefix_of_the_record_is_a_state() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="always high", by="doctor")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("1 h")
    p.do("hold", reason="x", by="doctor")
    p.do("leave against_advice")
    state = NOBODY
    for count, event in enumerate(p.log, start=1):
        state = evolve(state, event)
        assert state == replay(p.log[:count])
        assert state.version == count
    assert state == p.s


def test_r15_folding_leaves_the_state_before_as_it_was() -> None:
    p = Patient(program(_PLAIN))
    before, copy = p.s, replay(p.log)
    p.do("record check", systolic=120)
    p.do("record farewell", word="one")
    assert before == copy
    assert datetime(2026, 3, 2, 9, tzinfo=UTC) == before.last
