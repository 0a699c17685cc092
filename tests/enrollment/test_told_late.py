"""What happened on paper is told afterwards: each act at its own instant, and judged by it."""

from __future__ import annotations

from datetime import datetime, timedelta

from bedside import MONDAY, Patient, program
from drugs import noted, ordered, text
from test_session_clock import clinic, patient

from kat_workflow.enrollment import events as e

MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE


def at(minutes: int) -> datetime:
    """So many minutes after the start of the day."""
    return MONDAY + minutes * MINUTE


def told(minutes: int, *lines: str, late: str = "1 d", watch: str = "") -> Patient:
    """A drip that was started and first given on paper, `minutes` into the day, and is told
    later."""
    p = patient(clinic(*lines, watch=watch))
    p.wait(late)
    p.do("start drip", occurred=at(minutes))
    p.do("dose drip", rate="150 mg/h", occurred=at(minutes))
    return p


def untold(p: Patient) -> list[str]:
    return [x.says for x in p.events(e.DeviationNoted) if x.code == "readings-not-told"]


def test_every_act_of_a_session_is_dated_by_when_it_happened() -> None:
    p = patient(clinic())
    p.wait("1 d")

    p.do("arrive drip", occurred=at(5))
    p.do("start drip", occurred=at(10))
    p.do("dose drip", rate="150 mg/h", occurred=at(12))
    p.do("pause drip", reason="nausea", occurred=at(30))
    p.do("end dosing drip", amount="40 mg", occurred=at(40))
    p.do("release drip", occurred=at(60))

    acts = (e.SessionArrived, e.SessionStarted, e.DoseGiven, e.DosingPaused, e.DosingEnded)
    happened = [x.at for x in p.log if isinstance(x, (*acts, e.SessionReleased))]
    assert happened == [at(5), at(10), at(12), at(30), at(40), at(40), at(60)]
    assert {x.recorded for x in p.log if isinstance(x, (*acts, e.SessionReleased))} == {p.now}
    assert p.s.last == p.now
    assert p.s.tallies["drip"].released_at == at(60)
    assert p.s.settled["drips"].at == at(60)


def test_what_is_told_at_once_says_so_by_saying_nothing() -> None:
    p = patient(clinic())

    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")

    (started,) = p.events(e.SessionStarted)
    assert started.recorded is None
    assert p.session("drip.1").told is None


def test_nothing_of_a_session_happened_before_what_it_follows_upon() -> None:
    p = told(10)

    assert p.codes("abort drip", reason="sick", occurred=at(9)) == ["implausible"]
    assert p.codes("pause drip", occurred=at(9)) == ["implausible"]
    assert p.codes("end dosing drip", amount="9 mg", occurred=at(9)) == ["implausible"]
    p.do("end dosing drip", amount="40 mg", occurred=at(60))
    assert p.codes("release drip", occurred=at(59)) == ["implausible"]
    assert p.codes("release drip", occurred=at(59) + 2 * timedelta(days=1)) == ["future"]


def test_a_start_that_is_told_late_is_judged_by_what_was_so_then() -> None:
    text = clinic("ready: [agreed, vitals.systolic < high]").replace("    ready: [agreed]\n", "")
    p = patient(text)
    p.do("record vitals", systolic=190, occurred=MONDAY)
    p.wait("1 h")
    p.do("record vitals", systolic=120)
    p.wait("1 h")

    assert p.codes("start drip", occurred=at(30)) == ["gate-closed"]
    p.do("start drip", occurred=at(70))

    (started,) = p.events(e.SessionStarted)
    assert started.at == at(70)


def test_a_start_that_is_told_late_does_not_wait_for_what_was_found_since() -> None:
    """The pressure of nine o'clock is looked up, although nothing needs it any more."""
    text = clinic("ready: [agreed, vitals.systolic < high]").replace("    ready: [agreed]\n", "")
    p = patient(text)
    p.do("record vitals", systolic=120)
    p.wait("1 h")
    p.do("record vitals", systolic=190)

    assert p.codes("start drip") == ["gate-closed"]
    p.do("start drip", occurred=at(30))

    assert p.events(e.SessionStarted)[0].evidence == (
        p.events(e.ObservationRecorded)[0].observation,
    )
    assert p.events(e.DecisionQuestioned) == []


def test_a_release_that_is_told_late_is_judged_by_its_own_time_and_what_was_found_by_then() -> None:
    rule = "release: {earliest: 30 min, when: watch.systolic < raised, signed_by: [nurse]}"
    p = patient(clinic(rule, watch="at: [0 min], then_every: 10 min"))
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    for minutes, systolic in ((0, 150), (35, 120), (45, 150)):
        p.now = at(minutes)
        p.do("record drip.watch", systolic=systolic)
    p.do("end dosing drip", amount="50 mg", occurred=at(10))
    p.now = at(60)

    assert p.codes("release drip") == ["not-ready-to-leave"]
    assert p.codes("release drip", occurred=at(20)) == ["too-early", "not-ready-to-leave"]
    p.do("release drip", occurred=at(40))


def test_no_reading_is_missed_of_a_time_in_which_nobody_could_have_told_it() -> None:
    p = told(13)

    p.look()

    (item,) = [x for x in p.s.items.values() if x.kind == "watch"]
    assert item.due is not None
    assert item.due > p.now
    assert p.outcomes("drip.watch") == []
    assert p.events(e.AlertRaised) == []


def test_readings_of_that_time_are_told_into_their_places() -> None:
    p = told(10)
    planned = [x.opens for x in p.s.items.values() if x.kind == "watch"]

    for minutes in (10, 20, 31):
        p.do("record drip.watch", systolic=120, occurred=at(minutes))

    readings = p.events(e.ObservationRecorded)
    assert [x.occurred for x in readings] == [at(10), at(20), at(31)]
    assert {x.place for x in readings} == {"stay.1/drip.1"}
    assert {x.item for x in readings} == {""}
    assert [x.opens for x in p.s.items.values() if x.kind == "watch"] == planned
    assert p.events(e.DeviationNoted) == []


def test_what_nobody_tells_is_said_once() -> None:
    p = told(10)
    p.do("record drip.watch", systolic=120, occurred=at(10))
    p.do("record drip.watch", systolic=120, occurred=at(31))
    p.do("end dosing drip", amount="40 mg", occurred=at(40))

    p.do("release drip", occurred=at(60))

    # planned: at 10, 20, 30, 40 and then 55
    assert untold(p) == [
        "of 5 readings planned before drip.1 was told of, 3 were not told, the first for "
        "2026-03-02 09:20 UTC"
    ]
    assert p.is_open("readings-not-told")
    assert p.outcomes("drip.watch") == ["left"]


def test_of_what_is_told_in_full_there_is_nothing_to_say() -> None:
    p = told(10)
    for minutes in (10, 20, 30, 40, 55):
        p.do("record drip.watch", systolic=120, occurred=at(minutes))
    p.do("retract drip.watch", reason="of another patient")
    p.do("record drip.watch", systolic=118, occurred=at(56))
    p.do("end dosing drip", amount="40 mg", occurred=at(40))

    p.do("release drip", occurred=at(60))

    assert untold(p) == []


def test_a_session_told_a_minute_late_is_watched_as_any_other() -> None:
    p = told(0, late="1 min")

    (item,) = [x for x in p.s.items.values() if x.kind == "watch"]
    assert item.opens == at(0)
    p.do("record drip.watch", systolic=120)
    p.wait("29 min")
    p.do("end dosing drip", amount="60 mg")
    asked = p.asked_for_history
    p.do("release drip")
    assert untold(p) == []
    assert p.asked_for_history == asked


def test_a_session_that_goes_on_is_looked_at_from_the_next_planned_reading_on() -> None:
    p = told(0, late="47 min", watch="at: [0 min], late_after: 20 min, then_every: 15 min")

    (item,) = [x for x in p.s.items.values() if x.kind == "watch"]

    assert item.opens == at(45)


def test_a_reading_told_of_a_round_that_was_missed_answers_none_that_is_to_come() -> None:
    p = patient(clinic())
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("25 min")  # those of 0 and 10 are missed, that of 20 is open

    p.do("record drip.watch", systolic=120, occurred=at(11))

    assert p.outcomes("drip.watch") == ["missed", "missed"]
    assert p.item("drip.watch").opens == at(20)
    assert p.events(e.DeviationNoted) == []
    p.do("record drip.watch", systolic=120)
    assert p.outcomes("drip.watch") == ["missed", "missed", "done"]


def test_a_session_of_the_day_before_takes_no_place_of_todays() -> None:
    p = patient(clinic())
    p.wait("1 d")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("end dosing drip", amount="60 mg")
    p.wait("30 min")
    p.do("release drip")

    p.do("start needle", occurred=at(5))
    p.do("dose needle", amount="1 mg", occurred=at(6))

    started = p.s.tallies["needle"]
    assert (started.on, started.today) == (MONDAY.date(), 1)
    assert p.s.decided == p.now


TWICE = """
start: stay
decided_by: [doctor]
phases:
  stay:
    admits: true
    repeat: {at_least: 2, at_most: 2}
    steps:
      talk: {by: [nurse], session: chat}
    next: [{to: well, when: always}]
sessions:
  chat:
    by: [nurse]
    source: practice
    at_most: {times: 1, per: program day}
    release: {earliest: 10 min, signed_by: [nurse]}
"""


def test_a_start_told_of_an_earlier_day_leaves_the_numbers_of_the_last_one() -> None:
    p = Patient(program(TWICE))
    p.wait("1 d")
    p.do("start chat")
    p.wait("10 min")
    p.do("release chat")

    assert p.codes("start chat", occurred=at(5)) == ["cap"]

    p.wait("1 d")
    p.do("start chat")
    assert p.s.tallies["chat"].today == 1


CHAIN = """
start: evening
decided_by: [doctor]
phases:
  evening:
    steps:
      first: {by: [nurse], record: note}
      second: {by: [nurse], record: vitals, after: [first]}
      calm: {by: [nurse], record: vitals, after: [second], quiet: waits}
    next: [{to: days, when: always}]
  days:
    admits: true
    repeat: {at_least: 2, at_most: 2, one_per: program day}
    steps:
      baseline: {by: [nurse], record: vitals}
    next: [{to: well, when: always}]
"""


def test_what_one_entry_opens_can_be_told_of_the_time_after_it() -> None:
    p = Patient(program(CHAIN))
    p.wait("1 d")

    p.do("record first", text="on paper", occurred=at(5))
    p.do("record second", systolic=120, occurred=at(10))

    assert p.outcome("second") == "done"
    assert p.events(e.DeviationNoted) == []
    assert p.item("calm").opens == p.now  # what waits for a quiet hour's end counts from now


def test_a_days_own_steps_are_not_answered_by_the_day_before() -> None:
    p = Patient(program(CHAIN))
    p.do("record first", text="x")
    p.do("record second", systolic=120)
    p.wait("1 d")

    p.do("record calm", systolic=120, occurred=at(30))

    assert p.item("baseline").opens == p.at("2026-03-03 00:00")


def test_a_start_told_for_a_time_before_the_consent_is_refused() -> None:
    p = Patient(program(clinic()))
    p.wait("2 h")
    p.do("done agreement", by="doctor", occurred=at(60))

    assert p.codes("start drip", occurred=at(30)) == ["gate-closed"]
    p.do("start drip", occurred=at(70))


def test_a_start_told_late_stands_although_the_consent_was_revoked_since() -> None:
    p = patient(clinic())
    p.wait("2 h")
    p.do("revoke drug", reason="had enough")

    p.do("start drip", occurred=at(30))

    assert p.codes("start needle") == ["session-under-way"]
    p.do("record vitals", systolic=120, occurred=at(10))
    assert p.events(e.DecisionQuestioned) == []


def test_a_consent_is_taken_back_when_the_patient_says_so_not_when_it_is_told() -> None:
    text = 'consents:\n  drug: {title: The drug, version: "2026-03"}\n'
    p = patient(clinic() + text)
    p.wait("2 h")
    p.do("revoke drug", reason="had enough", occurred=at(30))

    given, revoked = p.events(e.ConsentChanged)
    assert (given.version, revoked.version) == ("2026-03", "2026-03")
    assert (revoked.at, revoked.recorded) == (at(30), at(120))
    assert p.codes("start drip", occurred=at(40)) == ["gate-closed"]
    p.do("start drip", occurred=at(20))


def test_of_two_words_at_one_instant_the_last_one_holds_also_for_what_is_told_late() -> None:
    p = patient(clinic())
    p.do("revoke drug", reason="thinks better of it")
    p.wait("1 h")

    assert p.codes("start drip", occurred=at(10)) == ["gate-closed"]


AGAIN = clinic().replace(
    "obtain: drug}",
    "obtain: drug, may_be: [missed], "
    "every: [{interval: 1 h, when: always}], at_most: 2, source: practice}",
)


def test_a_consent_that_is_told_late_is_not_in_force_where_it_was_taken_back_since() -> None:
    """On paper it was given again at 65 minutes, and taken back at 70: the last word holds."""
    p = patient(AGAIN)
    p.wait("70 min")
    p.do("revoke drug", reason="had enough")
    p.wait("20 min")

    p.do("done agreement", by="doctor", occurred=at(65))

    assert p.codes("start drip") == ["gate-closed"]
    assert p.codes("start drip", occurred=at(80)) == ["gate-closed"]
    p.do("start drip", occurred=at(68))


def test_a_consent_that_is_given_after_all_stands_though_an_earlier_no_is_told_later() -> None:
    p = patient(AGAIN)
    p.wait("70 min")
    p.do("done agreement", by="doctor")
    p.wait("20 min")

    p.do("revoke drug", reason="had enough", occurred=at(50))

    assert p.codes("start drip", occurred=at(60)) == ["gate-closed"]
    p.do("start drip")


def test_a_start_of_an_earlier_day_told_after_a_later_one_is_counted_and_takes_no_days_place() -> (
    None
):
    p = Patient(program(TWICE.replace("    at_most: {times: 1, per: program day}\n", "")))
    p.wait("1 d")
    p.do("start chat")
    p.wait("10 min")
    p.do("release chat")

    p.do("start chat", occurred=at(5))

    tally = p.s.tallies["chat"]
    assert (tally.started, tally.today, tally.on) == (2, 1, p.now.date())


def test_a_start_that_was_told_late_is_questioned_like_any_other() -> None:
    text = clinic("ready: [agreed, vitals.systolic < high]").replace("    ready: [agreed]\n", "")
    p = patient(text)
    p.do("record vitals", systolic=120)
    p.wait("1 h")
    p.do("start drip", occurred=at(30))

    p.do("correct vitals", systolic=190, reason="typed wrong")

    asked = [(x.decision, x.was, x.would_be) for x in p.events(e.DecisionQuestioned)]
    assert asked == [("start", "true", "false")]


AFTER = """
work_after_leaving:
  naloxone: {by: [nurse], record: vitals, due: 1 h, source: practice}
ends:
  well: {kind: completed}
  left: {kind: against_advice, work: [naloxone]}
"""


def test_a_departure_is_dated_by_when_the_patient_went() -> None:
    p = patient(clinic() + AFTER)
    p.wait("2 h")

    p.do("leave left", reason="not in the room", occurred=at(30))

    (gone,) = p.events(e.Discharged)
    assert (gone.at, gone.recorded) == (at(30), p.now)
    assert {x.at for x in p.events(e.PhaseLeft)} == {at(30)}
    assert p.s.last == p.now
    assert p.item("naloxone").due == at(90)  # and is late by now
    assert p.around.patient is not None
    assert p.around.patient.known.enrollments["e-1"].ended == at(30)


def test_who_walked_out_of_a_session_is_no_longer_in_it_from_then_on() -> None:
    p = told(10)

    p.do("leave against_advice", reason="gone", occurred=at(25))

    (aborted,) = p.events(e.SessionAborted)
    (released,) = p.events(e.SessionReleased)
    assert (aborted.at, aborted.recorded) == (at(25), p.now)
    assert (released.at, released.recorded) == (at(25), p.now)
    assert p.is_open("left-before-release")


def test_nobody_left_before_what_was_given_to_them_or_before_they_came() -> None:
    p = told(10)

    before = MONDAY - HOUR
    assert set(p.codes("leave against_advice", occurred=before)) == {"implausible"}
    assert p.codes("leave against_advice", occurred=at(9)) == ["implausible"]
    p.do("end dosing drip", amount="40 mg", occurred=at(40))
    assert p.codes("leave against_advice", occurred=at(39)) == ["implausible"]


def test_a_day_that_began_after_the_patient_was_gone_lasted_no_time() -> None:
    p = Patient(program(CHAIN))
    p.do("record first", text="x")
    p.do("record second", systolic=120)
    p.do("record calm", systolic=120)
    p.do("record baseline", systolic=120)
    p.wait("1 d")  # the second day begins at midnight

    p.do("leave against_advice", reason="bed empty", occurred=at(60))

    began = {x.place: x.at for x in p.events(e.PhaseEntered)}
    left = {x.place: x.at for x in p.events(e.PhaseLeft) if x.reason == "against_advice"}
    assert left
    assert left == {place: began[place] for place in left}
    assert p.events(e.Discharged)[0].at == at(60)


def test_an_order_that_was_stopped_on_paper_stood_until_then() -> None:
    p = ordered(program(text()))
    stopped = p.now + HOUR
    p.wait("3 h")

    p.do("stop order ketamine_order", by="doctor", reason="fever", occurred=stopped)

    (told_of,) = p.events(e.OrderStopped)
    assert (told_of.at, told_of.recorded) == (stopped, p.now)
    assert p.s.orders["ketamine_order"].until == stopped
    assert p.s.last == p.now


def test_what_was_given_before_its_order_was_stopped_was_given_on_it() -> None:
    more = """
medicines:
  rescue: {by: [nurse], order: ketamine_order, source: practice}
"""
    p = ordered(program(text(more=more)))
    given = p.now + HOUR
    p.wait("2 h")
    p.do("stop order ketamine_order", by="doctor", reason="fever")
    p.wait("1 h")

    p.do("give rescue", amount="10 mg", occurred=given)

    assert noted(p) == []
    p.do("give rescue", amount="10 mg")
    assert "no-order" in noted(p)


def test_a_check_on_paper_comes_before_the_dose_whenever_it_is_told() -> None:
    p = ordered(program(text(dose="\n      checked_by: [nurse, doctor]")))
    p.do("start drip")
    checked = p.now
    p.wait("5 min")
    p.do("dose drip", amount="35 mg", last=True)
    p.wait("1 h")

    assert p.codes("check drip", by="ben:nurse", occurred=checked + 6 * MINUTE) == ["session-state"]
    p.do("check drip", by="ben:nurse", occurred=checked)

    (told_of,) = p.events(e.DoseChecked)
    assert (told_of.at, told_of.recorded) == (checked, p.now)
    assert p.s.last == p.now
