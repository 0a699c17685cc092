"""What a hold would do to each time is told before it is set, and then it does just that."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bedside import Patient, program

from kat_workflow.enrollment.foresight import Foresight, HeldTime, foresee_hold

HOUR = timedelta(hours=1)

_STAY = """
start: stay
hold_by: [doctor]
phases:
  stay:
    admits: true
    steps:
      pausing:
        {by: [nurse], record: note, due: 4 h, closes: 8 h, may_be: [missed], source: practice}
      running: {by: [nurse], due: 4 h, on_hold: runs, source: practice}
      anew: {by: [nurse], due: 4 h, on_hold: restarts, source: practice}
      later: {by: [nurse], opens: 3 h, due: 5 h, source: practice}
      often: {by: [nurse], record: score, source: practice, every: [{interval: 6 h, when: always}]}
      mornings:
        by: [nurse]
        record: vitals
        source: practice
        due: 1 h
        every: [{daily_at: ["08:00", "20:00"], when: always}]
      drips: {by: [nurse], session: drip}
      shots: {by: [nurse], session: shot}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose: {drug: NAD+, route: intravenous, amount: 500 mg, rate: {from: 100 mg/h, to: 200 mg/h}}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
    release: {earliest: 30 min, signed_by: [nurse]}
  shot:
    by: [nurse]
    source: practice
    no_show_after: 30 min
    release: {earliest: 30 min, signed_by: [nurse]}
"""


def stay() -> Patient:
    """A patient two hours into a stay that begins at 09:00."""
    p = Patient(program(_STAY))
    p.wait("2 h")
    p.look()
    return p


def foreseen(p: Patient) -> Foresight:
    p.look()
    return foresee_hold(p.program, p.s, p.around, p.now)


def told(p: Patient) -> dict[tuple[str, str], tuple[str, timedelta | None]]:
    return {
        (each.about.rpartition("/")[2], each.what): (each.then, each.remaining)
        for each in foreseen(p).times
    }


def test_each_time_runs_pauses_with_what_remains_begins_anew_or_keeps_to_the_clock() -> None:
    p = stay()

    assert told(p) == {
        ("pausing.1", "due"): ("pauses", 2 * HOUR),
        ("pausing.1", "closes"): ("pauses", 6 * HOUR),
        ("running.1", "due"): ("runs", None),
        ("anew.1", "due"): ("restarts", 4 * HOUR),
        ("later.1", "opens"): ("pauses", HOUR),
        ("later.1", "due"): ("pauses", 3 * HOUR),
        ("often.1", "next"): ("pauses", 4 * HOUR),
        ("mornings.1", "opens"): ("clock", None),
        ("mornings.1", "due"): ("clock", None),
        ("mornings.1", "next"): ("clock", None),
    }


def test_a_clock_time_that_is_open_stays_open_and_only_the_next_keeps_to_the_clock() -> None:
    p = stay()
    p.until("2026-03-02 20:30")

    found = told(p)

    assert found["mornings.1", "due"] == ("pauses", HOUR / 2)
    assert found["mornings.1", "next"] == ("clock", None)
    assert ("mornings.1", "opens") not in found


def test_a_booked_session_and_a_running_dose_are_told_too() -> None:
    p = stay()
    p.do("book shot", given={"for": p.now + 3 * HOUR})
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")

    found = foreseen(p)

    assert found.stops == ("drip.1",)
    p.do("end dosing drip", amount="50 mg")
    assert foreseen(p).stops == ()
    assert HeldTime("shot.1", "no-show", p.now + 3.5 * HOUR, "pauses", 3.5 * HOUR) in found.times
    watch = [each for each in found.times if "drip.watch" in each.about]
    assert {each.then for each in watch} == {"runs"}


@pytest.mark.parametrize("lasts", [timedelta(minutes=1), HOUR, 9 * HOUR, 30 * HOUR])
@pytest.mark.parametrize("at", [0, 2, 5, 11.5])
def test_what_is_foreseen_is_what_the_hold_then_does(at: float, lasts: timedelta) -> None:
    p = Patient(program(_STAY))
    p.do("book shot", given={"for": p.now + 20 * HOUR})
    p.wait(at * HOUR)
    found = foreseen(p)

    p.do("hold", by="doctor", reason="fever")
    p.wait(lasts)
    p.do("lift", by="doctor")

    for each in found.times:
        if each.what == "no-show":
            now = p.s.sessions[each.about].lapses
        elif each.about not in p.s.items:  # what runs on may have come to its end
            assert each.then == "runs"
            continue
        else:
            now = getattr(p.s.items[each.about], each.what)
        assert now is not None
        if each.then == "runs":
            assert now == each.at
        elif each.then == "clock":
            assert now >= min(each.at, p.now)
            assert (now - each.at) % (12 * HOUR) == timedelta(0)
        else:
            assert each.remaining is not None
            assert now == p.now + each.remaining


def test_a_second_hold_changes_nothing_of_what_the_first_has_paused() -> None:
    p = stay()
    before = told(p)["pausing.1", "due"]
    p.do("hold", by="doctor", reason="fever")
    p.wait("1 h")

    assert told(p)["pausing.1", "due"] == before


def test_what_was_late_and_begins_anew_is_told_and_what_pauses_stays_late() -> None:
    p = stay()
    p.wait("3 h")

    found = told(p)

    assert found["anew.1", "due"] == ("restarts", 4 * HOUR)
    assert ("pausing.1", "due") not in found
