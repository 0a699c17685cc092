"""A step that holds a session keeps its times: nothing is booked or started for before them."""

from __future__ import annotations

from datetime import timedelta

from bedside import MONDAY, Patient, program

from kat_workflow.enrollment import events as e

DAY = timedelta(days=1)


def on_the_third_day(more: str = "") -> Patient:
    """A patient whose drip opens on program day 3 at 09:00, and needs a reading once arrived."""
    p = Patient(
        program(f"""
start: stay
decided_by: [doctor]
phases:
  stay:
    admits: true
    steps:
      drips: {{by: [nurse], session: drip, on_day: 3, at: "09:00"{more}}}
    next: [{{to: well, when: always}}]
sessions:
  drip:
    by: [nurse]
    source: practice
    before:
      pressure: {{by: [nurse], record: vitals}}
    dose: {{drug: NAD+, route: intravenous, amount: 500 mg}}
    watch: {{by: [nurse], record: vitals, at: [0 min], then_every: 30 min}}
    release: {{earliest: 30 min, signed_by: [nurse]}}
""")
    )
    p.look()
    return p


def test_nothing_is_started_before_its_step_opens() -> None:
    p = on_the_third_day()
    p.until("2026-03-04 08:50")
    p.do("arrive drip")
    p.do("record pressure", systolic=120)

    refusal = p.refused("start drip")

    assert [(r.code, r.unblock) for r in refusal.reasons] == [
        ("not-yet", ("wait until 2026-03-04 09:00 UTC",))
    ]
    p.until("2026-03-04 09:00")
    p.do("start drip")


def test_nothing_is_booked_for_before_its_step_opens() -> None:
    p = on_the_third_day()

    assert p.codes("book drip", given={"for": MONDAY + DAY}) == ["not-yet"]

    p.do("book drip", given={"for": MONDAY + 2 * DAY})
    assert p.codes("book drip", given={"for": MONDAY + DAY}) == ["not-yet"]


def test_what_may_be_early_may_be_started_so_much_earlier() -> None:
    p = on_the_third_day(", early_by: 15 min")
    p.until("2026-03-04 08:50")
    p.do("arrive drip")
    p.do("record pressure", systolic=120)

    p.do("start drip")


def test_whoever_comes_early_is_there_and_what_was_given_was_given() -> None:
    p = on_the_third_day()

    p.do("arrive drip")
    p.do("dose drip", amount="500 mg")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["dose-without-start"]
