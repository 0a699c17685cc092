"""Sessions: readiness, the dose, the watch that nothing stops, release, and what counts (R12)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bedside import MONDAY, Patient, person, program

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Start

HOUR = timedelta(hours=1)


def clinic(session: str = "", steps: str = "", more: str = "") -> str:
    """A program in which drips are given on as many days as one likes."""
    lines = {
        "by": "[nurse]",
        "source": "practice",
        "dose": "{drug: NAD+, route: intravenous, amount: 500 mg, "
        "rate: {from: 100 mg/h, to: 200 mg/h}}",
        "watch": "{by: [nurse], record: vitals, at: [0 min, 15 min], then_every: 30 min}",
        "release": "{earliest: 30 min, signed_by: [nurse]}",
    }
    key = ""
    for line in session.strip().splitlines():
        if line.startswith(" "):
            lines[key] += f"\n    {line}"
            continue
        key, _, rest = line.partition(": ")
        lines[key] = rest
        if rest == "~":
            del lines[key]
    body = "".join(f"\n    {key}: {rest}" for key, rest in lines.items())
    extra = "".join(f"\n      {line}" for line in steps.strip().splitlines())
    return f"""
start: stay
decided_by: [doctor]
hold_by: [doctor]
limits:
  high: {{is: 180 mmHg, source: practice}}
gates:
  pressure_ok:
    says: The pressure allows it
    when: baseline.systolic < high
    override: {{by: [doctor], lasts: 4 h}}
phases:
  stay:
    admits: true
    steps:
      baseline: {{by: [nurse], record: vitals}}
      drips: {{by: [nurse], session: drip, may_be: [declined, withheld, waived]}}{extra}
    next: [{{to: well, when: always}}]
sessions:
  drip:{body}
{more}"""


def under_way(text: str | None = None, **how: str) -> Patient:
    """A patient whose drip is running."""
    p = Patient(program(text or clinic(**how)))
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    return p


# The way of a session


def test_a_session_goes_from_booking_to_release() -> None:
    p = Patient(program(clinic()))
    p.do("book drip", given={"for": p.now + HOUR})
    assert p.session("drip.1").state == "booked"
    p.do("book drip", given={"for": p.now + 2 * HOUR})
    assert p.session("drip.1").booked_for == p.now + 2 * HOUR
    p.do("arrive drip")
    assert p.session("drip.1").state == "arrived"
    p.do("start drip")
    assert p.session("drip.1").state == "under_way"
    p.do("dose drip", rate="150 mg/h")
    p.wait("2 h")
    p.do("end dosing drip", amount="300 mg")
    assert p.session("drip.1").state == "recovering"
    p.do("release drip")
    assert not p.s.sessions
    assert p.outcome("drips") == "done"
    assert p.s.tallies["drip"].counted == 1


def test_a_session_that_is_neither_booked_nor_arrived_may_start() -> None:
    p = Patient(program(clinic()))
    p.do("arrive drip")
    assert p.session("drip.1").state == "arrived"
    fresh = Patient(p.program)
    fresh.do("start drip")
    assert fresh.session("drip.1").number == 1


def test_a_session_is_named_by_its_kind_its_number_or_its_step() -> None:
    p = Patient(program(clinic()))
    p.do("book drips")
    p.do("arrive drip.1")
    p.do("start drip.1")
    p.do("dose drip.1", rate="150 mg/h")
    p.do("end dosing drip.1", amount="20 mg")


@pytest.mark.parametrize("phrase", ["book drip", "arrive drip", "start drip"])
def test_what_was_under_way_is_not_begun_again(phrase: str) -> None:
    p = under_way()
    assert {"session-state", "session-open"} & set(p.codes(phrase))


def test_a_booking_lies_in_the_future() -> None:
    p = Patient(program(clinic()))
    assert p.codes("book drip", given={"for": p.now - HOUR}) == ["past"]


def test_a_booking_without_a_zone_names_no_moment() -> None:
    p = Patient(program(clinic()))
    assert p.codes("book drip", given={"for": datetime(2026, 3, 3, 9)}) == ["naive-instant"]


def test_booking_again_without_a_time_is_no_change() -> None:
    p = Patient(program(clinic()))
    p.do("book drip", given={"for": p.now + HOUR})
    p.do("book drip")
    assert p.session("drip.1").booked_for == p.now + HOUR


def test_whoever_has_not_come_within_the_grace_is_cancelled_and_may_come_another_time() -> None:
    p = Patient(program(clinic("no_show_after: 30 min")))
    p.do("book drip", given={"for": p.now + HOUR})
    p.wait(90 * timedelta(minutes=1) - timedelta(seconds=1))
    assert p.session("drip.1").state == "booked"
    p.wait(timedelta(seconds=1))
    assert not p.look().sessions
    assert [x.reason for x in p.events(e.SessionCancelled)] == ["no-show"]
    p.do("start drip")
    assert p.session("drip.2").number == 2


def test_whoever_has_come_is_no_no_show() -> None:
    p = Patient(program(clinic("no_show_after: 30 min")))
    p.do("book drip", given={"for": p.now + HOUR})
    p.do("arrive drip")
    p.wait("1 d")
    assert p.session("drip.1").state == "arrived"


def test_a_moved_booking_lapses_later() -> None:
    p = Patient(program(clinic("no_show_after: 30 min")))
    p.do("book drip", given={"for": p.now + HOUR})
    p.do("book drip", given={"for": p.now + 3 * HOUR})
    p.wait("2 h")
    assert p.session("drip.1").state == "booked"


# Readiness


def test_readiness_is_judged_again_at_the_start() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=120)
    p.do("arrive drip")
    p.do("record baseline", systolic=190)
    refusal = p.refused("start drip")
    assert [r.code for r in refusal.reasons] == ["gate-closed"]
    assert refusal.reasons[0].gate == "pressure_ok"
    assert refusal.reasons[0].clauses[0].truth is False


def test_what_has_not_been_recorded_opens_nothing() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    refusal = p.refused("start drip")
    assert refusal.reasons[0].clauses[0].state == "unknown"


def test_a_start_keeps_what_its_gates_relied_on() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=120)
    p.do("start drip")
    (started,) = p.events(e.SessionStarted)
    assert started.evidence == (p.events(e.ObservationRecorded)[0].observation,)


def test_every_reason_against_a_start_is_told_at_once_in_order() -> None:
    text = clinic(
        "ready: [pressure_ok]\npresent: [doctor, therapist]\nbefore: {bag: {by: [nurse], "
        "record: note}}",
    )
    p = Patient(program(text))
    p.do("hold", reason="x", by="doctor")
    assert p.codes("start drip", by="therapist") == [
        "on-hold",
        "wrong-role",
        "role-missing",
        "role-missing",
        "steps-open",
        "gate-closed",
    ]


def test_the_roles_that_must_be_present_are_named_and_the_actors_own_counts() -> None:
    p = Patient(program(clinic("present: [nurse, doctor]")))
    assert p.codes("start drip") == ["role-missing"]
    p.act(Start("drip", ("doctor",)))


def test_steps_before_a_start_come_between_arrival_and_start() -> None:
    p = Patient(
        program(
            clinic(
                "before: {bag: {by: [nurse], record: note}, talk: {by: [nurse], record: note, "
                "optional: true}}"
            )
        )
    )
    assert not p.is_open("bag")
    assert p.codes("start drip") == ["steps-open"]
    p.do("arrive drip")
    assert p.codes("start drip") == ["steps-open"]
    p.do("record bag", text="sterile")
    p.do("start drip")
    assert p.is_open("talk")


def test_the_steps_of_the_last_session_do_not_prepare_this_one() -> None:
    p = Patient(
        program(clinic("before: {bag: {by: [nurse], record: note}}\ncounts_when: given > 400 mg"))
    )
    p.do("arrive drip")
    p.do("record bag", text="sterile")
    p.do("cancel drip", reason="ill")
    p.do("arrive drip")
    assert p.codes("start drip") == ["steps-open"]
    assert p.is_open("bag")


def test_at_most_so_many_sessions_on_a_program_day() -> None:
    p = Patient(
        program(clinic("at_most: {times: 1, per: program day}\ncounts_when: given > 400 mg")),
        zone="America/Los_Angeles",
        at=datetime(2026, 3, 2, 20, 0, tzinfo=UTC),
    )
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("1 h")
    p.do("end dosing drip", amount="100 mg")
    p.do("release drip")
    assert p.codes("start drip") == ["cap"]
    p.until("2026-03-02 23:59")
    assert p.codes("start drip") == ["cap"]
    p.until("2026-03-03 00:00")
    p.do("start drip")


def test_at_most_so_many_sessions_in_an_enrollment() -> None:
    p = Patient(
        program(clinic("at_most: {times: 1, per: enrollment}\ncounts_when: given > 400 mg"))
    )
    p.do("start drip")
    p.do("cancel drip", reason="no vein")  # an attempt in which nothing was given
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("1 h")
    p.do("end dosing drip", amount="100 mg")
    p.do("release drip")
    p.wait("3 d")
    assert p.codes("start drip") == ["cap"]


def test_two_sessions_keep_their_distance_and_days_count_local_dates() -> None:
    p = Patient(
        program(clinic("apart: 7 d\ncounts_when: given > 400 mg")),
        zone="America/Los_Angeles",
        at=datetime(2026, 3, 2, 20, 0, tzinfo=UTC),
    )
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("1 h")
    p.do("end dosing drip", amount="100 mg")
    p.do("release drip")
    p.until("2026-03-09 11:59")
    assert p.codes("start drip") == ["too-soon"]
    p.until("2026-03-09 12:00")  # 167 hours later: summer time has begun
    p.do("start drip")


def test_a_rule_of_the_whole_program_forbids_a_start() -> None:
    p = Patient(
        program(
            clinic(
                more="rules:\n  never: [{start: drip, unless: pressure_ok, "
                "says: Never at high pressure}]\n"
            )
        )
    )
    p.do("record baseline", systolic=190)
    assert p.codes("start drip") == ["rule"]


def test_no_override_passes_a_rule_of_the_whole_program() -> None:
    p = Patient(
        program(
            clinic(
                "ready: [pressure_ok]",
                more="rules:\n  never: [{start: drip, unless: pressure_ok, "
                "says: Never at high pressure}]\n",
            )
        )
    )
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="urgent", by="doctor")
    assert p.codes("start drip") == ["rule"]


_OTHER = """
  sleep:
    by: [nurse]
    source: practice
    release: {earliest: 0 min, signed_by: [nurse]}
"""


def test_at_most_one_session_is_under_way() -> None:
    text = clinic(steps="naps: {by: [nurse], session: sleep}", more=_OTHER)
    p = Patient(program(text))
    p.do("start sleep")
    assert p.codes("start drip") == ["session-under-way"]
    p.do("release sleep")
    p.do("start drip")


# The dose


def test_amounts_add_up_and_are_converted_exactly() -> None:
    p = under_way()
    p.do("dose drip", amount="100 mg")
    p.do("dose drip", amount="0.1 g")
    assert p.session("drip.1").given == "200"


def test_a_dose_without_a_rate_is_given_at_once() -> None:
    p = Patient(program(clinic("dose: {drug: ketamine, route: intramuscular, amount: 40 mg}")))
    p.do("start drip")
    p.do("dose drip", amount="40 mg")
    assert p.session("drip.1").state == "recovering"


def test_a_dose_in_parts_ends_with_the_last() -> None:
    p = Patient(program(clinic("dose: {drug: ketamine, route: intramuscular, amount: 40 mg}")))
    p.do("start drip")
    p.do("dose drip", amount="20 mg", last=False)
    assert p.session("drip.1").dosing == "running"
    p.do("dose drip", amount="20 mg", last=True)
    assert p.session("drip.1").state == "recovering"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"amount": "lots"},
        {"amount": "5 mL"},
        {"amount": "-5 mg"},
        {"amount": "0 mg"},
        {"rate": "150 mg"},
    ],
)
def test_a_dose_is_a_quantity(given: dict[str, str]) -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    assert set(p.codes("dose drip", given=given)) == {"bad-value"}


def test_what_was_given_before_the_start_is_kept_and_looked_at() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("arrive drip")
    p.do("dose drip", rate="150 mg/h")
    assert p.session("drip.1").state == "under_way"
    assert [x.code for x in p.events(e.DeviationNoted)] == ["dose-without-start"]
    assert p.item("dose-without-start").kind == "review"
    assert p.is_open("drip.watch")


def test_what_was_given_without_any_booking_is_never_unrecordable() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("dose drip", rate="150 mg/h")
    assert p.session("drip.1").state == "under_way"
    assert [x.code for x in p.events(e.DeviationNoted)] == ["dose-without-start"]


@pytest.mark.parametrize(
    ("first", "code"),
    [("pause drip", "dose-while-paused"), ("end dosing drip", "dose-while-ended")],
)
def test_what_was_given_out_of_turn_is_kept_and_looked_at(first: str, code: str) -> None:
    p = under_way()
    p.do("dose drip", amount="10 mg")
    p.do(first)
    p.do("dose drip", amount="100 mg")
    assert p.session("drip.1").given == "110"
    assert [x.code for x in p.events(e.DeviationNoted)] == [code]


def test_more_than_a_session_may_give_is_kept_and_looked_at() -> None:
    p = under_way()
    p.do("end dosing drip", amount="501 mg")
    assert [x.code for x in p.events(e.DeviationNoted)] == ["over-cap"]
    q = under_way()
    q.do("dose drip", amount="600 mg")
    assert [x.code for x in q.events(e.DeviationNoted)] == ["over-cap"]


def test_a_rate_outside_the_limits_is_kept_and_looked_at() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    p.do("dose drip", rate="20 mg/h")
    assert [x.code for x in p.events(e.DeviationNoted)] == ["rate-outside"]
    p.do("pause drip")
    assert p.codes("resume drip", rate="900 mg/h") == ["rate-outside"]
    p.do("resume drip", rate="150 mg/h")
    p.do("dose drip", rate="900 mg/h")
    assert [x.code for x in p.events(e.DeviationNoted)] == ["rate-outside"] * 2


def test_nothing_is_given_in_a_session_without_a_drug() -> None:
    p = Patient(program(clinic("dose: ~\nwatch: ~")))
    p.do("start drip")
    assert p.codes("dose drip", amount="5 mg") == ["no-dose"]
    p.wait("30 min")
    p.do("release drip")
    assert p.outcome("drips") == "done"


def test_giving_is_paused_and_goes_on() -> None:
    p = under_way()
    assert p.codes("resume drip") == ["not-paused"]
    p.do("pause drip")
    assert p.session("drip.1").dosing == "paused"
    assert p.codes("pause drip") == ["not-running"]
    p.do("resume drip", rate="100 mg/h")
    assert (p.session("drip.1").dosing, p.session("drip.1").rate) == ("running", "100")


def test_the_total_may_be_known_only_at_the_end() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    p.do("end dosing drip", amount="300 mg")
    assert p.session("drip.1").dosed == p.now
    assert p.is_open("drip.watch")


def test_a_dose_that_never_began_is_not_ended_but_cancelled() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    assert p.codes("end dosing drip") == ["session-state"]
    p.do("cancel drip", reason="no vein")


# The watch


def test_the_watch_runs_from_the_first_drug_given_by_elapsed_time() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    assert not p.is_open("drip.watch")
    p.wait("5 min")
    p.do("dose drip", rate="150 mg/h", occurred=p.now - timedelta(minutes=2))
    first = p.now - timedelta(minutes=2)
    assert p.item("drip.watch").opens == first
    p.do("record drip.watch", systolic=120)
    assert p.item("drip.watch").opens == first + timedelta(minutes=15)
    p.wait("15 min")
    p.do("record drip.watch", systolic=120)
    assert p.item("drip.watch").opens == first + timedelta(minutes=45)


def test_a_reading_that_nobody_took_is_missed_and_the_next_is_due() -> None:
    p = under_way()
    p.wait("50 min")
    assert p.item("drip.watch").id.endswith("drip.watch.3")
    assert p.outcomes("drip.watch") == ["missed", "missed"]


def test_a_late_watch_reading_calls_somebody_and_comes_before_everything_else() -> None:
    p = under_way(
        clinic(
            "watch: {by: [nurse], record: vitals, at: [0 min, 15 min], then_every: 30 min, "
            "late_after: 5 min, "
            "when_late: {tell: [doctor], answer_within: 5 min}}"
        )
    )
    p.wait("5 min")
    assert p.item("late.drip.watch").roles == ("doctor",)


def _stopping() -> Patient:
    p = under_way()
    p.do("abort drip", reason="dizzy")
    return p


def _held() -> Patient:
    p = under_way()
    p.do("hold", reason="fire alarm", by="doctor")
    return p


def _revoked() -> Patient:
    p = Patient(
        program(
            clinic(
                "ready: [agreed]",
                steps="agree: {by: [nurse], obtain: drug}",
            ).replace("gates:", "gates:\n  agreed: {says: Agreed, when: consent drug in force}")
        )
    )
    p.do("done agree")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("revoke drug")
    return p


@pytest.mark.parametrize("what", [_stopping, _held, _revoked])
def test_the_watch_goes_on_after_an_abort_under_a_hold_and_without_consent(what: object) -> None:
    p: Patient = what()  # type: ignore[operator]
    assert p.session("drip.1").dosing in ("ended", "paused")
    assert p.is_open("drip.watch")
    p.wait("20 min")
    assert p.item("drip.watch").id.endswith(".2")
    p.do("record drip.watch", systolic=120)
    p.wait("30 min")
    assert p.item("drip.watch").id.endswith(".3")


def test_a_withdrawn_consent_stops_the_dose_and_no_new_one_starts() -> None:
    p = _revoked()
    assert p.session("drip.1").state == "stopping"
    assert p.codes("revoke drug") == ["not-given"]
    p.wait("30 min")
    p.do("release drip")
    if p.is_open("drips"):
        assert "gate-closed" in p.codes("start drip")


def test_a_consent_that_a_session_does_not_rely_on_stops_nothing() -> None:
    p = Patient(
        program(
            clinic(
                steps="agree: {by: [nurse], obtain: care}\nmore: {by: [nurse], record: note, "
                "only_if: consent care in force}"
            )
        )
    )
    p.do("done agree")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.do("revoke care")
    assert p.session("drip.1").dosing == "running"


_RULES = """
pause_when: [{when: watch.pulse >= 130 /min, says: Too fast, tell: [doctor], answer_within: 5 min}]
stop_when: [{when: watch.systolic >= 200 mmHg, says: Too high, tell: [doctor],
  answer_within: 5 min}, {when: watch.systolic >= 220 mmHg, says: Far too high}]
alerts: [{when: watch.systolic >= 160 mmHg, says: High, tell: [nurse], answer_within: 5 min}]
"""


def test_a_pause_rule_pauses_the_dose_until_a_reading_is_better() -> None:
    p = under_way(clinic(_RULES))
    p.do("record drip.watch", systolic=120, pulse=140)
    assert p.session("drip.1").dosing == "paused"
    assert p.item("drip.pause.1").roles == ("doctor",)
    assert p.codes("resume drip") == ["pause-rule"]
    p.wait("15 min")
    p.do("record drip.watch", systolic=120, pulse=90)
    assert p.session("drip.1").dosing == "paused"
    p.do("resume drip")
    assert p.session("drip.1").dosing == "running"


def test_a_stop_rule_ends_the_dose_and_not_the_watch() -> None:
    p = under_way(clinic(_RULES))
    p.do("record drip.watch", systolic=230, pulse=140)
    session = p.session("drip.1")
    assert (session.state, session.dosing, session.aborted) == ("stopping", "ended", "drip.stop.1")
    assert len(p.events(e.SessionAborted)) == 1
    assert not p.events(e.DosingPaused)
    assert p.item("drip.stop.1").roles == ("doctor",)
    assert p.is_open("drip.watch")
    assert p.codes("resume drip") == ["session-state"]


def test_a_stop_rule_reads_what_is_recorded_in_any_way() -> None:
    p = under_way(clinic(_RULES))
    p.do("record drip.watch", systolic=120)
    p.do("record drip.watch", systolic=230)  # unscheduled
    assert p.session("drip.1").state == "stopping"


def test_what_is_found_during_a_session_stops_the_dose_also_where_only_the_form_is_named() -> None:
    p = under_way(clinic(_RULES))
    p.do("record drip.watch", systolic=120)
    p.wait("2 min")

    p.do("record vitals", systolic=230, by="doctor")

    assert p.session("drip.1").state == "stopping"
    assert p.is_open("drip.stop.1")
    assert p.is_open("drip.watch")
    assert p.events(e.DeviationNoted) == []


def test_what_is_told_of_the_time_before_a_session_is_none_of_its_readings() -> None:
    p = Patient(program(clinic(_RULES)))
    p.wait("1 h")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")

    p.do("record vitals", systolic=230, occurred=MONDAY + HOUR / 2)

    assert p.session("drip.1").dosing == "running"
    assert p.events(e.ObservationRecorded)[-1].step == ""
    assert not p.is_open("drip.stop.1")


def test_after_a_session_what_is_recorded_with_its_form_is_no_reading_of_it() -> None:
    p = under_way(clinic(_RULES))
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("release drip")

    p.do("record vitals", systolic=230)

    assert p.events(e.ObservationRecorded)[-1].place == ""
    assert not p.is_open("drip.stop.1")


def test_a_stop_rule_after_the_dose_still_calls() -> None:
    p = under_way(clinic(_RULES))
    p.do("end dosing drip", amount="100 mg")
    p.do("record drip.watch", systolic=230)
    assert p.session("drip.1").state == "recovering"
    assert p.is_open("drip.stop.1")


def test_a_stop_rule_before_the_first_drug_lets_the_session_not_take_place() -> None:
    p = Patient(program(clinic(_RULES)))
    p.do("start drip")
    p.do("record drip.watch", systolic=230)
    assert not p.s.sessions
    assert p.events(e.SessionCancelled)


def test_an_alert_of_a_session_calls_and_stops_nothing() -> None:
    p = under_way(clinic(_RULES))
    p.do("record drip.watch", systolic=165)
    assert p.session("drip.1").dosing == "running"
    assert p.item("drip.alert.1").roles == ("nurse",)


# Release


def test_nobody_is_released_before_the_time_the_criteria_and_a_signature_come_together() -> None:
    p = under_way(
        clinic(
            "after: {meal: {by: [nurse], record: note}, rest: {by: [nurse], record: note, "
            "optional: true}}\n"
            "release: {earliest: 30 min, when: watch.systolic < 140 mmHg, signed_by: [doctor]}"
        )
    )
    p.do("end dosing drip", amount="50 mg")
    assert p.codes("release drip") == [
        "wrong-role",
        "too-early",
        "steps-open",
        "not-ready-to-leave",
    ]
    p.wait("30 min")
    assert p.codes("release drip", by="doctor") == ["steps-open", "not-ready-to-leave"]
    p.do("record drip.watch", systolic=120)
    assert p.codes("release drip", by="doctor") == ["steps-open"]
    p.do("record meal", text="soup")
    assert p.codes("release drip") == ["wrong-role"]
    p.do("release drip", by="doctor")


def test_nobody_is_released_while_the_drug_runs() -> None:
    p = under_way()
    p.wait("1 h")
    assert p.codes("release drip") == ["session-state"]
    p.do("pause drip")
    assert p.codes("release drip") == ["session-state"]
    p.do("end dosing drip", amount="100 mg")
    p.do("release drip")


def test_nobody_is_released_from_a_session_in_which_nothing_was_given() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    p.wait("1 h")
    assert p.codes("release drip") == ["session-state"]


def test_the_minimum_time_counts_from_the_first_drug_given() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    p.wait("1 h")
    p.do("dose drip", rate="150 mg/h")
    p.do("end dosing drip", amount="20 mg")
    assert p.codes("release drip") == ["too-early"]


def test_a_criterion_may_be_overridden_where_its_gate_says_so_and_only_once() -> None:
    p = under_way(
        clinic(
            "release: {earliest: 0 min, when: pressure_ok, signed_by: [nurse]}\n"
            "counts_when: given > 400 mg"
        )
    )
    p.do("record baseline", systolic=190)
    p.do("end dosing drip", amount="20 mg")
    assert p.codes("release drip") == ["not-ready-to-leave"]
    p.do("override pressure_ok", reason="always high", by="doctor")
    p.do("release drip")
    assert [x.gate for x in p.events(e.OverrideUsed)] == ["pressure_ok"]
    assert not p.s.overrides


def test_the_steps_after_a_dose_open_even_under_a_hold_and_release_goes_on() -> None:
    p = under_way(clinic("after: {meal: {by: [nurse], record: note}}"))
    p.do("hold", reason="fire", by="doctor")
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("record meal", text="soup")
    p.do("release drip")
    assert not p.s.sessions


# What is over


def test_a_session_in_which_nothing_was_given_is_cancelled_never_aborted() -> None:
    p = Patient(program(clinic()))
    p.do("start drip")
    p.do("abort drip", reason="no vein")
    assert not p.events(e.SessionAborted)
    assert p.events(e.SessionCancelled)
    assert p.s.tallies["drip"].aborted == 0
    assert p.is_open("drips")


def test_a_session_in_which_something_was_given_is_aborted_never_cancelled() -> None:
    p = under_way()
    assert p.codes("cancel drip", reason="changed our minds") == ["session-state"]
    p.do("abort drip", reason="dizzy")
    assert p.session("drip.1").state == "stopping"
    assert p.codes("abort drip", reason="again") == ["session-state"]
    p.wait("30 min")
    p.do("release drip")
    assert [x.final for x in p.events(e.SessionReleased)] == ["aborted"]
    assert (p.s.tallies["drip"].held, p.s.tallies["drip"].aborted) == (1, 1)


def test_an_abort_needs_a_reason() -> None:
    assert under_way().codes("abort drip") == ["reason-missing"]


def test_an_abort_after_the_dose_still_waits_for_release() -> None:
    p = under_way()
    p.do("end dosing drip", amount="50 mg")
    p.do("abort drip", reason="fainted")
    assert p.session("drip.1").state == "stopping"


def test_attempts_and_counted_sessions_are_two_numbers() -> None:
    p = under_way(clinic("counts_when: given > 400 mg"))
    p.wait("1 h")
    p.do("abort drip", reason="dizzy")
    p.do("release drip")
    assert p.is_open("drips")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    p.wait("3 h")
    p.do("end dosing drip", amount="450 mg")
    p.do("release drip")
    tally = p.s.tallies["drip"]
    assert (tally.booked, tally.started, tally.held, tally.counted) == (2, 2, 2, 1)
    assert p.outcome("drips") == "done"


def test_a_session_of_which_it_is_not_known_whether_it_counts_does_not_count() -> None:
    p = under_way(clinic("counts_when: watch.systolic < 140 mmHg"))
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")

    p.do("release drip")  # and nobody has taken a reading

    assert p.s.tallies["drip"].counted == 0
    assert p.is_open("drips")


def test_what_is_open_in_a_session_is_left_with_it() -> None:
    p = under_way(clinic("after: {rest: {by: [nurse], record: note, optional: true}}"))
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("release drip")
    assert not p.is_open("rest")
    assert not p.is_open("drip.watch")


@pytest.mark.parametrize(
    "phrase",
    ["pause drip", "resume drip", "end dosing drip", "abort drip", "release drip", "cancel drip"],
)
def test_what_a_session_would_need_is_refused_where_none_is_open(phrase: str) -> None:
    p = Patient(program(clinic()))
    assert p.codes(
        phrase, **({"reason": "x"} if "abort" in phrase or "cancel" in phrase else {})
    ) == ["no-session"]


def test_a_step_is_not_declined_while_its_session_is_under_way() -> None:
    p = under_way()
    assert p.codes("decline drips", reason="x") == ["session-under-way"]


def test_declining_a_step_cancels_the_session_that_was_booked_for_it() -> None:
    p = Patient(program(clinic()))
    p.do("book drip", given={"for": p.now + HOUR})
    p.do("decline drips", reason="not today")
    assert not p.s.sessions
    assert p.outcome("drips") == "declined"


def test_a_session_is_not_held_without_an_open_step() -> None:
    p = Patient(program(clinic()))
    p.do("decline drips", reason="not today")
    assert p.codes("start drip") == ["already-settled"]
    assert p.codes("book drip") == ["already-settled"]


def test_an_arrival_that_no_step_asks_for_is_kept_and_looked_at() -> None:
    p = Patient(program(clinic()))
    p.do("decline drips", reason="not today")
    p.wait("1 h")

    p.do("arrive drip", occurred=p.now - timedelta(minutes=20))

    assert not p.s.sessions  # nothing of it stands open
    (noted,) = p.events(e.DeviationNoted)
    assert noted.code == "arrival-not-planned"
    assert (
        noted.says == "the patient came for drip at 2026-03-02 09:40 UTC, and no step asks for it"
    )
    assert p.is_open("arrival-not-planned")
    p.do("done arrival-not-planned", by="doctor")


@pytest.mark.parametrize("held", [False, True])
def test_whoever_arrives_before_the_step_is_open_is_told_of_again_when_it_is(held: bool) -> None:
    text = clinic().replace("session: drip,", "session: drip, after: [baseline],")
    p = Patient(program(text))
    if held:
        p.do("hold fever", by="doctor")

    p.do("arrive drip")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["arrival-not-planned"]
    if held:
        p.do("lift", by="doctor")
    p.do("record baseline", systolic=120)
    p.do("arrive drip")
    p.do("start drip")
    assert p.session("drip.1").under_way


def test_whoever_comes_after_having_left_has_come() -> None:
    p = Patient(program(clinic()))
    p.do("leave against_advice", reason="went home")

    p.do("arrive drip")

    (noted,) = p.events(e.DeviationNoted)
    assert noted.code == "arrival-not-planned"
    assert p.s.standing == "closed"
    p.do("done arrival-not-planned", by="doctor")


@pytest.mark.parametrize("end", ["died", "entered_in_error"])
def test_whoever_came_where_nobody_can_have_is_somebody_else(end: str) -> None:
    p = Patient(program(clinic()))
    p.do(f"leave {end}", reason="x")

    assert p.codes("arrive drip") == ["not-in-treatment"]
    assert p.s.items == {}


def test_whoever_has_arrived_does_not_arrive_again() -> None:
    p = Patient(program(clinic()))
    p.do("arrive drip")
    assert p.codes("arrive drip") == ["session-state"]
    assert p.codes("arrive moon") == ["unknown-session"]
    p.do("cancel drip")
    assert p.codes("arrive drip", by="eve:cook") == ["wrong-role"]


def test_a_step_that_holds_sessions_is_not_ticked_off() -> None:
    p = Patient(program(clinic()))
    assert p.codes("done drips") == ["not-done-so"]
    assert p.codes("record drips") == ["nothing-to-record"]


# No move and no timer cuts a session


def test_a_row_that_holds_waits_until_the_session_is_released() -> None:
    text = clinic(steps="verdict: {by: [nurse], record: answer}").replace(
        "next: [{to: well, when: always}]",
        "next: [{to: elsewhere, when: verdict.word is one, at_once: true}, {to: well, "
        "when: always}]",
    )
    p = under_way(text)
    p.do("record verdict", word="one")
    assert p.phases == ["stay"]
    p.wait("1 h")
    p.do("end dosing drip", amount="50 mg")
    assert p.phases == ["stay"]
    p.do("release drip")
    assert p.s.end == "elsewhere"


def test_a_move_ends_a_session_that_has_not_begun() -> None:
    text = clinic(steps="verdict: {by: [nurse], record: answer}").replace(
        "next: [{to: well, when: always}]",
        "next: [{to: elsewhere, when: verdict.word is one, at_once: true}, {to: well, "
        "when: always}]",
    )
    p = Patient(program(text))
    p.do("arrive drip")
    p.do("record verdict", word="one")
    assert p.s.end == "elsewhere"
    assert p.events(e.SessionCancelled)


def test_a_step_that_closes_does_not_cut_its_session() -> None:
    text = clinic().replace(
        "may_be: [declined, withheld, waived]", "may_be: [missed], due: 1 h, closes: 2 h"
    )
    p = under_way(text)
    p.wait("3 h")
    assert p.session("drip.1").state == "under_way"
    p.do("end dosing drip", amount="50 mg")
    p.do("release drip")
    assert p.outcome("drips") == "done"


def test_a_booked_session_ends_with_the_step_that_it_was_for() -> None:
    text = clinic().replace(
        "may_be: [declined, withheld, waived]", "may_be: [missed], due: 1 h, closes: 2 h"
    )
    p = Patient(program(text))
    p.do("record baseline", systolic=120)
    p.do("arrive drip")
    p.wait("2 h")
    assert not p.look().sessions
    assert p.s.end == "well"


def test_a_way_is_not_chosen_while_a_session_is_under_way() -> None:
    text = (
        clinic()
        .replace(
            "next: [{to: well, when: always}]",
            "next: [{to: well, when: baseline.systolic < 90 mmHg}, {to: elsewhere, "
            "when: baseline.systolic < 80 mmHg}]",
        )
        .replace("may_be: [declined", "optional: true, may_be: [declined")
    )
    p = Patient(program(text))
    p.do("record baseline", systolic=120)
    assert p.item("stay").kind == "decide"
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")
    assert p.codes("go well", by="doctor") == ["session-under-way"]
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("release drip")
    p.do("go well", by="doctor")
    assert p.s.end == "well"


def test_a_person_whose_role_is_asked_for_acts_in_it() -> None:
    p = Patient(program(clinic()))
    p.do("start drip", by=person("ann:nurse,doctor"), role="nurse")
    assert p.codes("dose drip", by=person("ann:nurse,doctor"), role="doctor", rate="150 mg/h") == [
        "wrong-role"
    ]


def test_times_are_those_of_the_first_dose() -> None:
    p = under_way()
    assert p.session("drip.1").dosed == MONDAY


def test_a_session_s_own_steps_count_from_its_own_dose() -> None:
    step = "{by: [nurse], record: note, counted_from: drip dosed, opens: 2 h, due: 3 h}"
    p = under_way(clinic(session=f"after: {{assess: {step}}}"))
    dosed = p.now
    p.wait("40 min")
    p.do("end dosing drip", amount="100 mg")
    assert p.item("assess").opens == dosed + 2 * HOUR
    assert p.item("assess").due == dosed + 3 * HOUR


def test_steps_before_a_session_do_not_count_from_the_dose_of_an_earlier_one() -> None:
    step = "{by: [nurse], record: note, optional: true, counted_from: drip dosed, due: 1 h}"
    p = under_way(clinic(session=f"before: {{again: {step}}}\ncounts_when: given >= 500 mg"))
    p.do("end dosing drip", amount="100 mg")
    p.wait("1 h")
    p.do("release drip")
    p.do("arrive drip")
    assert not p.is_open("again")


def test_what_was_done_after_the_last_session_is_not_done_after_this_one() -> None:
    p = Patient(
        program(
            clinic(
                "after: {meal: {by: [nurse], record: note}}\ncounts_when: given > 400 mg\n"
                "release: {earliest: 0 min, signed_by: [nurse]}"
            )
        )
    )
    for _ in range(2):
        p.do("start drip")
        p.do("dose drip", rate="150 mg/h")
        p.do("end dosing drip", amount="50 mg")

        assert p.codes("release drip") == ["steps-open"]
        p.do("record meal", text="ate well")
        p.do("release drip")


# Told late


def test_a_start_that_is_told_late_is_as_far_from_the_last_one_as_it_was() -> None:
    p = under_way(clinic("apart: 2 d\ncounts_when: given > 400 mg"))
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("release drip")
    p.wait("2 d")

    assert p.codes("start drip", occurred=MONDAY + 47 * HOUR) == ["too-soon"]
    p.do("start drip", occurred=MONDAY + 48 * HOUR)


def test_a_start_that_is_told_the_day_after_has_the_place_of_its_own_day() -> None:
    p = under_way(clinic("at_most: {times: 1, per: program day}\ncounts_when: given > 400 mg"))
    p.do("end dosing drip", amount="50 mg")
    p.wait("30 min")
    p.do("release drip")
    p.wait("1 d")

    assert p.codes("start drip", occurred=MONDAY + HOUR) == ["cap"]
    p.do("start drip")
