"""Who does it: roles and their ends, cover, claimed work, witnesses, signatures, broken glass."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bedside import MONDAY, Patient, program, source
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_holds import stay
from test_items import phase
from test_sessions import clinic, under_way

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Addition
from kat_workflow.enrollment.commands import SYSTEM, Actor, Command
from kat_workflow.enrollment.decide import Decision, decide
from kat_workflow.enrollment.opening import coming
from kat_workflow.enrollment.reading import (
    WITHHELD,
    clauses_for_reader,
    for_reader,
    may_read,
    refusal_for_reader,
)
from kat_workflow.enrollment.roster import (
    Roster,
    covering,
    grant,
    revoke,
)
from kat_workflow.enrollment.roster import (
    evolve as on_roster,
)
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.signing import signatures
from kat_workflow.enrollment.worklist import who
from kat_workflow.errors import Refusal
from kat_workflow.journal import Append, ItemRow, open_journal
from kat_workflow.language.compiler import check
from kat_workflow.language.library import Files

HOUR = timedelta(hours=1)
ROLES = "roles:\n  nurse: Nurse\n  doctor: Doctor\n  therapist: Therapist\n  patient: Patient\n"


def one(steps: str, roles: str = "") -> Patient:
    """A patient in one phase with these steps."""
    return Patient(program(roles + phase(steps)))


# Credentials, sites, the patient


def test_a_credential_that_has_expired_is_not_held_and_the_refusal_says_since_when() -> None:
    p = one("check: {by: [nurse], record: score}")
    ann = Actor("ann", {"nurse"}, until={"nurse": p.now + HOUR})

    p.wait("1 h")
    refusal = p.refused("record check", points=3, by=ann)

    assert refusal.code == "credential-expired"
    assert "2026-03-02 10:00" in refusal.reasons[0].says


def test_until_its_end_a_credential_is_held() -> None:
    p = one("check: {by: [nurse], record: score}")
    ann = Actor("ann", {"nurse"}, until={"nurse": p.now + HOUR})

    p.wait("59 min")
    p.do("record check", points=3, by=ann)

    assert p.outcome("check") == "done"


def test_with_one_credential_expired_the_other_role_serves() -> None:
    p = one("check: {by: [nurse, doctor], record: score}")
    ann = Actor("ann", {"nurse", "doctor"}, until={"nurse": p.now})

    p.do("record check", points=3, by=ann)

    assert p.events(e.ObservationRecorded)[-1].role == "doctor"


def test_a_role_at_another_site_is_not_held_here() -> None:
    p = one("check: {by: [nurse], record: score}")

    assert p.codes("record check", points=3, by=Actor("ann", {"nurse"}, sites={"annex"})) == [
        "wrong-site"
    ]
    p.do("record check", points=3, by=Actor("ann", {"nurse"}, sites={"annex", "main"}))


def test_a_credential_without_a_zone_names_no_end() -> None:
    with pytest.raises(ValueError, match="zone"):
        Actor("ann", {"nurse"}, until={"nurse": datetime(2026, 3, 2)})


def test_people_are_found_in_sets_whatever_else_is_known_of_them() -> None:
    ann = Actor("ann", {"nurse"}, "Ann A.", {"nurse": MONDAY}, {"main"}, {"doctor": "dee"})

    assert len({ann, Actor("ann", {"nurse"}, "Ann A.", {"nurse": MONDAY}, {"main"})}) == 2
    assert (
        len({ann, Actor("ann", {"nurse"}, "Ann A.", {"nurse": MONDAY}, {"main"}, ann.covers)}) == 1
    )


def test_patients_report_for_themselves_and_for_nobody_else() -> None:
    p = one("diary: {by: [patient, nurse], record: score}", ROLES)

    assert p.codes("record diary", points=3, by="P-2:patient") == ["another-patient"]
    p.do("record diary", points=3, by="P-1:patient")

    assert p.events(e.ObservationRecorded)[-1].role == "patient"


def test_a_nurse_who_is_a_patient_elsewhere_acts_as_a_nurse() -> None:
    p = one("diary: {by: [patient, nurse], record: score}", ROLES)

    p.do("record diary", points=3, by="P-2:patient,nurse")

    assert p.events(e.ObservationRecorded)[-1].role == "nurse"


def test_what_every_role_may_do_is_not_the_patients_to_do() -> None:
    p = Patient(
        program(ROLES + clinic(steps="agree: {by: [nurse], obtain: care, may_be: [missed]}"))
    )
    p.do("done agree")
    p.do("start drip")
    p.do("dose drip", rate="150 mg/h")

    assert p.codes("abort drip", reason="enough", by="P-1:patient") == ["wrong-role"]
    p.do("revoke care", by="P-1:patient")  # their own consent is

    assert p.events(e.ConsentChanged)[-1].state == "revoked"


def test_a_patient_is_never_asked_to_decide_or_to_review() -> None:
    text = stay("").replace("decided_by: [doctor]\n", "")
    p = Patient(program(ROLES + text.replace("when: seen.word is two", "when: always")))
    p.do("go ward", emergency="a fall")

    assert {role for item in p.s.items.values() for role in item.roles} == {
        "nurse",
        "doctor",
        "therapist",
    }


def test_a_form_that_a_clinician_answers_is_not_given_to_a_patient() -> None:
    forms = "forms:\n  mood:\n    title: Mood\n    answered_by: clinician\n    fields:\n"
    forms += "      low: {type: yes_no}\n"
    text = ROLES + forms + phase("ask: {by: [patient], record: mood}")

    assert "not-for-patients" in findings(text)
    assert "not-for-patients" not in findings(text.replace("clinician", "patient"))


def findings(text: str) -> list[str]:
    return [found.code for found in check("x/x.yaml", Files({"x/x.yaml": source(text)})).findings]


def test_a_missing_role_keeps_a_session_from_starting_and_never_from_being_watched() -> None:
    p = Patient(program(clinic("present: [doctor]")))

    assert p.codes("start drip") == ["role-missing"]
    p.do("start drip", present=["doctor"])
    p.do("dose drip", rate="150 mg/h")
    p.wait("15 min")

    p.do("record drip.watch", systolic=120)  # whoever else has left


# Cover


def test_whoever_stands_in_acts_and_every_entry_shows_for_whom() -> None:
    p = one("plan: {by: [doctor], record: note, signed: true}")
    bo = Actor("bo", {"nurse"}, "Bo B.", covers={"doctor": "dee"})

    events = p.do("record plan", text="x", signed=True, by=bo)

    assert e.ActedFor("bo", "doctor", "dee", p.now) in events
    signed = next(event for event in events if isinstance(event, e.Signed))
    assert (signed.person, signed.name, signed.role, signed.acting_for) == (
        "bo",
        "Bo B.",
        "doctor",
        "dee",
    )


def granted(p: Patient, **how: Any) -> e.CoverGranted:
    cover = e.CoverGranted(
        "cover-1", "bo", "doctor", p.now, p.now + 8 * HOUR, "dee", "ill", p.now, "dan"
    )
    return replace(cover, **how)


def with_roster(p: Patient, *events: e.Event) -> None:
    roster = Roster()
    for event in events:
        roster = on_roster(roster, event)
    p.around = replace(p.around, roster=roster)


def test_the_roster_lets_somebody_act_who_lacks_the_role_while_the_cover_lasts() -> None:
    p = one("plan: {by: [doctor], record: note}\nagain: {by: [doctor], record: note}")
    with_roster(p, granted(p, since=p.now + HOUR))

    assert p.codes("record plan", text="x", by="bo:nurse") == ["wrong-role"]
    p.wait("1 h")
    p.do("record plan", text="x", by="bo:nurse")
    assert p.events(e.ActedFor) == [e.ActedFor("bo", "doctor", "dan", p.now)]
    assert p.codes("record again", text="x", by="cleo:nurse") == ["wrong-role"]
    assert p.codes("record again", text="x", by="bo:nurse", role="nurse") == ["wrong-role"]
    p.wait("7 h")

    assert p.codes("record again", text="x", by="bo:nurse") == ["wrong-role"]


def test_a_cover_for_nobody_in_particular_is_a_role_like_any_other() -> None:
    p = one("plan: {by: [doctor], record: note}")
    with_roster(p, granted(p, acting_for=""))

    p.do("record plan", text="x", by="bo:nurse")

    assert p.events(e.ObservationRecorded)[-1].role == "doctor"
    assert p.events(e.ActedFor) == []


def test_where_the_role_is_held_the_roster_is_not_even_read() -> None:
    p = one("check: {by: [nurse], record: score}")
    p.around = replace(p.around, roster=None)
    act = c.Record("check", {"points": 3})
    answer = decide(p.program, p.s, p.around, Command("c", act, Actor("ann", {"nurse"}), p.now))

    assert isinstance(answer, Decision)


def test_a_cover_has_an_end_a_reason_and_somebody_who_holds_the_role() -> None:
    p = one("a: {by: [nurse]}")
    doctor = frozenset({"doctor"})

    def codes(holds: frozenset[str] = doctor, **how: Any) -> list[str]:
        addition = Addition("roster", 0, Roster())
        refusal = grant(addition, granted(p, **how), holds)
        assert bool(addition.events) == (refusal is None)
        return [] if refusal is None else [reason.code for reason in refusal.reasons]

    assert codes() == []
    assert codes(frozenset({"nurse"})) == ["wrong-role"]
    assert codes(by="bo") == ["same-person"]
    assert codes(acting_for="bo") == ["same-person"]
    assert codes(until=p.now) == ["past"]
    assert codes(since=p.now + 9 * HOUR) == ["past"]
    assert codes(reason="") == ["reason-missing"]


def test_a_cover_is_ended_by_whoever_is_in_it_granted_it_or_holds_the_role() -> None:
    p = one("a: {by: [nurse]}")
    roster = on_roster(Roster(), granted(p))

    def codes(by: str, *holds: str, cover: str = "cover-1") -> list[str]:
        revoked = e.CoverRevoked(cover, by, p.now)
        refusal = revoke(Addition("roster", 1, roster), revoked, frozenset(holds))
        return [] if refusal is None else [reason.code for reason in refusal.reasons]

    assert codes("bo") == codes("dee") == codes("dora", "doctor") == []
    assert codes("cleo", "nurse") == ["wrong-role"]
    assert codes("bo", cover="cover-2") == ["unknown-cover"]
    ended = on_roster(roster, e.CoverRevoked("cover-1", "bo", p.now))
    assert covering(ended, "bo", "doctor", p.now) is None
    assert ended.version == 2


def test_covers_that_are_over_leave_the_roster_when_the_next_is_granted() -> None:
    p = one("a: {by: [nurse]}")
    later = p.now + 9 * HOUR
    next_ = granted(p, cover="cover-2", since=later, until=later + HOUR, at=later)

    roster = on_roster(on_roster(Roster(), granted(p)), next_)

    assert list(roster.covers) == ["cover-2"]


# Whose an item is


def test_a_claimed_item_can_still_be_done_by_another_and_the_entry_says_whose_it_was() -> None:
    p = one("check: {by: [nurse], record: score}")
    p.do("claim check", by="ann:nurse")
    assert p.item("check").assigned == "ann"

    p.do("record check", points=3, by="bo:nurse")

    assert p.events(e.ItemSettled)[-1].assigned == "ann"


def test_what_is_done_by_whoever_claimed_it_needs_no_note() -> None:
    p = one("plan: {by: [nurse], record: note, cosigned_by: [doctor]}")
    p.do("claim plan", by="ann:nurse")

    p.do("record plan", text="x", by="ann:nurse")
    p.do("cosign plan", by="dee:doctor")

    assert p.events(e.ItemSettled)[-1].assigned == ""


def test_only_who_could_do_it_can_claim_it_and_nobody_takes_it_from_another() -> None:
    p = one("check: {by: [nurse], record: score}")

    assert p.codes("claim check", by="dee:doctor") == ["wrong-role"]
    p.do("claim check", by="ann:nurse")
    assert p.do("claim check", by="ann:nurse") == ()
    assert p.codes("claim check", by="bo:nurse") == ["claimed"]
    assert p.codes("claim moon", by="bo:nurse") == ["unknown-step"]


def test_whoever_decides_may_assign_work_that_is_not_theirs_to_do() -> None:
    p = Patient(program(clinic(steps="check: {by: [nurse], record: score}")))

    p.do("assign check to bo", by="dee:doctor")
    assert p.codes("assign check to bo", by="thea:therapist") == ["wrong-role"]

    assert p.item("check").assigned == "bo"


def test_an_item_is_given_back_and_is_then_nobodys() -> None:
    p = one("check: {by: [nurse], record: score}")

    assert p.codes("unclaim check") == ["not-assigned"]
    p.do("claim check", by="ann:nurse")
    assert p.codes("unclaim check", by="thea:therapist") == ["wrong-role"]
    p.do("unclaim check", by="ann:nurse")

    assert p.item("check").assigned == ""


def test_at_the_end_of_a_shift_everything_taken_on_is_handed_over_at_once() -> None:
    p = one("a: {by: [nurse]}\nb: {by: [nurse]}\nd: {by: [nurse]}")
    for name in ("a", "b"):
        p.do(f"claim {name}", by="ann:nurse")

    p.do("hand over all to bo", by="ann:nurse")

    handed = {i.step: (i.assigned, i.handed_by) for i in p.s.items.values()}
    assert handed["a"] == handed["b"] == ("bo", "ann")
    assert handed["d"] == ("", "")
    assert p.codes("hand over all to bo", by="ann:nurse") == ["not-assigned"]
    assert p.codes("hand over d to bo", by="ann:nurse") == ["not-assigned"]
    p.do("hand over a to cleo", by="bo:nurse")
    assert p.item("a").handed_by == "bo"


def test_what_waits_for_a_signature_is_given_to_another_where_the_signer_is_absent() -> None:
    p = one("plan: {by: [nurse], record: note, signed: true}")
    p.do("record plan", text="x", by="ann:nurse")

    p.do("assign plan to bo", by="cleo:nurse")
    p.do("sign plan", by="bo:nurse")

    assert p.events(e.Signed)[-1].meaning == "reviewed"
    assert p.outcome("plan") == "done"


def test_calls_can_be_taken_on_too() -> None:
    p = Patient(program(phase(
        "check: {by: [nurse], record: score, alerts: [{when: score.points > 5 points, "
        "tell: [doctor], answer_within: 1 h}]}\ngoodbye: {by: [nurse]}"
    )))  # fmt: skip
    p.do("record check", points=9)

    p.do("claim check.alert.1", by="dee:doctor")

    assert p.item("check.alert.1").assigned == "dee"


def test_what_a_shift_will_meet_is_known_from_the_pace_of_what_recurs() -> None:
    p = one(
        "often: {by: [nurse], record: score, every: [{interval: 4 h, when: always}]}\n"
        "clock: {by: [nurse], record: note, "
        'every: [{daily_at: ["08:00", "20:00"], when: always}]}\n'
        "once: {by: [nurse]}"
    )
    run = Run.of(p.program, p.s, p.around, p.now)

    def hours(name: str) -> list[float]:
        found = coming(run, p.item(name), p.now + timedelta(hours=24))
        return [(at - p.now) / HOUR for at in found]

    assert hours("often") == [4, 8, 12, 16, 20]
    assert hours("clock") == [23]
    assert hours("once") == []


# A second and a third person

THREE = (
    "plan: {by: [nurse], record: note, signed: true, cosigned_by: [doctor], "
    "witnessed_by: [nurse, therapist]}"
)


def test_a_step_may_need_a_signature_a_cosignature_and_a_witness() -> None:
    p = one(THREE)
    p.do("record plan", text="x", signed=True, by="ann:nurse")
    assert who(p.program, p.item("plan")) == ("doctor", "nurse", "therapist")

    p.do("witness plan", by="thea:therapist")
    assert p.codes("witness plan", by="bo:nurse") == ["nothing-to-sign"]
    assert not p.s.settled
    p.do("cosign plan", by="dee:doctor")

    assert p.outcome("plan") == "done"
    assert [s.meaning for s in p.events(e.Signed)] == ["authored", "witnessed", "cosigned"]


def test_nobody_witnesses_what_they_recorded_themselves() -> None:
    p = one(THREE)
    p.do("record plan", text="x", by="ann:nurse")

    assert p.codes("witness plan", by="ann:nurse") == ["same-person"]


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["record", "sign", "cosign", "witness"]),
        st.sampled_from(["ann", "bo", "cleo", "dee"]),
        st.booleans(),
    ),
    max_size=14,
)


@given(_ACTS, st.booleans())
def test_no_person_is_ever_two_of_recorder_cosigner_and_witness(
    acts: list[tuple[str, str, bool]], form: bool
) -> None:
    step = THREE.replace("[doctor]", "[nurse]").replace(
        "record: note, ", "record: note, " if form else "obtain: care, "
    )
    p = one(step)

    for verb, name, signed in acts:
        act: c.Act = c.Sign("plan", verb == "cosign", verb == "witness")
        if verb == "record":
            act = c.Record("plan", {"text": "x"}, signed)
            act = act if form else c.Settle("plan", "done", signed=signed)
        answer = p.ask(act, by=f"{name}:nurse,therapist")
        if isinstance(answer, Decision):
            p.act(act, by=f"{name}:nurse,therapist")

    recorded: Iterable[Any] = [*p.events(e.ObservationRecorded), *p.events(e.ItemAnswered)]
    hands = [x.person for x in recorded]
    for signed_ in p.events(e.Signed):
        if signed_.as_ != "signature":
            hands.append(signed_.person)
            others = [s.person for s in p.events(e.Signed) if s is not signed_]
            assert signed_.person not in others
    assert len(hands) == len(set(hands))
    if p.s.settled:
        assert len(hands) == 3


def test_a_task_with_a_witness_is_done_once_it_was_witnessed() -> None:
    p = one("waste: {by: [nurse], witnessed_by: [nurse]}\nnext: {by: [nurse], after: [waste]}")

    p.do("done waste", by="ann:nurse")
    assert not p.is_open("next")
    assert p.codes("done waste", by="bo:nurse") == ["already-recorded"]
    assert p.codes("witness waste", by="ann:nurse") == ["same-person"]
    p.do("witness waste", by="bo:nurse")

    assert p.is_open("next")


def test_a_consent_is_in_force_once_it_was_witnessed_and_counts_from_when_it_was_given() -> None:
    p = one("agree: {by: [nurse], obtain: drug, witnessed_by: [doctor]}")

    p.do("done agree", by="ann:nurse")
    given_at = p.now
    assert "drug" not in p.s.consents
    p.wait("2 h")
    p.do("witness agree", by="dee:doctor")

    assert p.s.consents["drug"].until == given_at + timedelta(days=30)
    assert p.events(e.ConsentChanged)[-1].person == "ann"


def test_a_patient_may_think_better_of_a_consent_before_it_was_witnessed() -> None:
    p = one("agree: {by: [nurse], obtain: care, witnessed_by: [doctor]}")
    p.do("done agree", by="ann:nurse")

    p.do("decline agree", reason="not today", by="ann:nurse")

    assert p.s.consents["care"].state == "declined"
    assert p.outcome("agree") == "declined"


def test_a_task_that_is_signed_at_once_by_whoever_did_it_is_done() -> None:
    p = one("tour: {by: [nurse], signed: true}")

    p.do("done tour", signed=True)

    assert p.outcome("tour") == "done"
    assert [s.valid for s in signatures(p.s.id, p.log)] == [True]


def test_one_reading_does_not_settle_what_is_witnessed_for_itself() -> None:
    p = one(
        "a: {by: [nurse], record: note}\nb: {by: [nurse], record: note, witnessed_by: [doctor]}"
    )
    answer = p.ask(c.Record("a", {"text": "x"}, also=("b",)))

    assert isinstance(answer, Refusal)
    assert answer.code == "signed-apart"


def test_a_step_that_holds_a_session_is_signed_for_at_its_release() -> None:
    text = clinic().replace("session: drip,", "session: drip, witnessed_by: [doctor],")

    assert "session-signed" in findings(text)


# Signatures


def test_a_signature_names_the_person_the_instant_and_what_it_means() -> None:
    p = one(THREE)
    p.do("record plan", text="x", by=Actor("ann", {"nurse"}, "Ann Archer, RN"))
    p.wait("5 min")
    p.do("sign plan", by=Actor("ann", {"nurse"}, "Ann Archer, RN"))

    (found,) = signatures(p.s.id, p.log)

    assert (found.name, found.at, found.meaning) == ("Ann Archer, RN", p.now, "authored")
    assert found.valid is True
    assert len(found.content) == 64


def test_without_a_printed_name_the_person_stands_under_it() -> None:
    p = one("plan: {by: [nurse], record: note, signed: true}")

    p.do("record plan", text="x", signed=True)

    assert p.events(e.Signed)[-1].name == "nurse"


def test_a_release_is_signed() -> None:
    p = under_way()
    p.do("end dosing drip", amount="500 mg")
    p.wait("30 min")
    p.do("release drip", by=Actor("ann", {"nurse"}, "Ann Archer, RN"))

    (found,) = signatures(p.s.id, p.log)

    assert (found.record, found.meaning, found.name) == ("drip.1", "released", "Ann Archer, RN")
    assert found.valid is True


def test_what_is_signed_without_an_item_holds_as_well() -> None:
    p = one("check: {by: [nurse], record: vitals, signed: true, opens: 1 h}\nz: {by: [nurse]}")

    p.do("record check", systolic=120, signed=True)  # early: it counts as unscheduled
    p.wait("1 h")
    p.do("record check", systolic=121, signed=True)
    p.do("record check", systolic=122, signed=True)

    assert [s.item != "" for s in signatures(p.s.id, p.log)] == [False, True, False]
    assert all(s.valid for s in signatures(p.s.id, p.log))


def test_a_signature_of_an_earlier_release_binds_no_content_and_says_so() -> None:
    old = e.Signed("stay.1/plan.1", "o3", "signature", "ann", "nurse", MONDAY)

    assert signatures("e-1", [old])[0].valid is None


def test_a_signature_under_what_is_not_in_the_record_does_not_hold() -> None:
    lost = e.Signed("i.1", "o3", "signature", "ann", "nurse", MONDAY, content="0" * 64)

    assert signatures("e-1", [lost])[0].valid is False


_TEXT = st.text(max_size=20).filter(lambda text: text.strip() != "" and text.isprintable())


@given(_TEXT, _TEXT, st.integers(0, 60), st.integers(-720, 720))
def test_every_signature_verifies_and_a_changed_value_breaks_it(
    text: str, other: str, minutes: int, offset: int
) -> None:
    p = one(THREE)
    p.wait("2 h")
    zone = timezone(timedelta(minutes=offset))
    occurred = (p.now - timedelta(minutes=minutes)).astimezone(zone)
    p.do("record plan", text=text, signed=True, occurred=occurred, by="ann:nurse")
    p.do("witness plan", by="thea:therapist")
    p.do("cosign plan", by="dee:doctor")
    # as it is read again from a journal, where instants are text
    log = [e.decode(*e.encode(event)) for event in p.log]

    assert [s.valid for s in signatures(p.s.id, log)] == [True] * 3
    assert not any(s.valid for s in signatures("e-2", log))
    for change in (
        {"values": {"text": text + other}},
        {"occurred": p.now + HOUR},
        {"form": "score"},
        {"person": "bo"},
        {"observation": "o99"},
    ):
        forged = [
            replace(event, **change) if isinstance(event, e.ObservationRecorded) else event
            for event in log
        ]
        assert not any(s.valid for s in signatures(p.s.id, forged)), change


# Broken glass


def test_in_an_emergency_whoever_is_there_acts_and_somebody_else_must_look_at_it() -> None:
    p = Patient(program(clinic()))
    p.do("record baseline", systolic=120)

    events = p.do("start drip", by="thea:therapist", emergency="the nurse has fainted")

    broken = next(event for event in events if isinstance(event, e.GlassBroken))
    assert broken == e.GlassBroken(
        "the nurse has fainted", "thea", "therapist", ("role: starting drip",), p.now
    )
    review = p.item("emergency")
    assert (review.kind, review.roles, review.on_hold) == ("review", ("doctor",), "runs")
    assert review.due == p.now + timedelta(hours=24)
    assert p.codes("done emergency", by="thea:therapist,doctor") == ["same-person"]
    p.do("done emergency", by="dee:doctor")
    assert not p.is_open("emergency")


def test_in_an_emergency_gates_that_somebody_may_override_and_holds_stand_in_nobodys_way() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=190)
    p.do("hold", reason="a fire alarm", by="doctor")
    assert set(p.codes("start drip")) == {"on-hold", "gate-closed"}

    p.do("start drip", emergency="a seizure")

    assert p.events(e.GlassBroken)[-1].passed == ("hold: hold.1", "gate: pressure_ok")
    assert p.events(e.OverrideUsed)[-1].gate == "pressure_ok"
    assert p.session("drip.1").state == "under_way"


def test_what_a_gate_would_have_let_through_anyway_was_not_passed() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=120)

    p.do("start drip", emergency="a seizure")

    assert p.events(e.GlassBroken)[-1].passed == ()
    assert p.is_open("emergency")


def test_an_override_that_was_granted_is_used_before_the_glass_is_broken() -> None:
    p = Patient(program(clinic("ready: [pressure_ok]")))
    p.do("record baseline", systolic=190)
    p.do("override pressure_ok", reason="white coat", by="doctor")

    p.do("start drip", emergency="a seizure")

    assert p.events(e.GlassBroken)[-1].passed == ()


def test_absolute_gates_rules_and_the_day_of_the_body_stay_closed_in_an_emergency() -> None:
    absolute = clinic("ready: [pressure_ok]").replace(
        "    override: {by: [doctor], lasts: 4 h}\n", ""
    )
    ruled = clinic(more="rules:\n  never: [{start: drip, unless: pressure_ok}]\n")

    for text, code in ((absolute, "gate-closed"), (ruled, "rule")):
        p = Patient(program(text))
        p.do("record baseline", systolic=190)
        assert p.codes("start drip", emergency="a seizure") == [code]


def test_in_an_emergency_a_slip_is_still_a_slip() -> None:
    p = one("check: {by: [nurse], record: score}")

    assert p.codes("record check", points=99, emergency="x") == ["implausible"]
    future = p.now + HOUR
    assert p.codes("record check", points=9, occurred=future, emergency="x") == ["future"]


def test_the_system_a_patient_and_nobody_in_particular_break_no_glass() -> None:
    p = one("check: {by: [nurse], record: score}", ROLES)

    for by in (SYSTEM, Actor("P-1", {"patient"}), Actor("ann")):
        assert p.codes("record check", points=3, by=by, emergency="x") == ["wrong-role"]


def test_an_expired_credential_is_passed_in_an_emergency() -> None:
    p = one("check: {by: [nurse], record: score}")
    ann = Actor("ann", {"nurse"}, until={"nurse": p.now})

    p.do("record check", points=3, by=ann, emergency="nobody else is here")

    assert p.events(e.GlassBroken)[-1].role == "nurse"


def test_what_follows_by_itself_passes_no_gate() -> None:
    """The way on is judged as ever, though the reading was recorded in an emergency."""
    text = clinic().replace(
        "next: [{to: well, when: always}]", "next: [{to: well, when: pressure_ok}]"
    )
    p = Patient(program(text))
    p.do("waive drips", reason="not today")

    p.do("record baseline", systolic=190, emergency="collapsed")

    assert p.phases == ["stay"]


WARD = """
excursions:
  ward:
    by: [nurse]
    steps:
      seen: {by: [nurse], record: answer}
    next: [{to: back, when: seen.word is one}, {to: elsewhere, when: seen.word is two}]
"""


def test_an_emergency_takes_a_patient_to_hospital_out_of_a_session_under_way() -> None:
    p = under_way(clinic(more=WARD))
    assert p.codes("go ward") == ["session-under-way"]

    events = p.do("go ward", emergency="not breathing")

    assert p.phases == ["stay", "ward"]
    assert p.s.sessions == {}
    released = next(event for event in events if isinstance(event, e.SessionReleased))
    assert (released.final, released.reason) == ("aborted", "left before release")
    assert p.is_open("left-before-release")
    assert "session: drip.1" in p.events(e.GlassBroken)[-1].passed
    assert p.item("document-emergency").due == p.now + timedelta(hours=24)
    p.do("done document-emergency")
    p.do("done emergency", by="doctor")
    p.do("record seen", word="one")
    assert p.phases == ["stay"]


def test_a_session_in_which_nothing_was_given_is_cancelled_on_the_way_to_hospital() -> None:
    p = Patient(program(clinic(more=WARD)))
    p.do("start drip")

    p.do("go ward", emergency="not breathing")

    assert p.events(e.SessionCancelled)
    assert not p.is_open("left-before-release")


def test_a_booked_session_is_kept_through_an_emergency() -> None:
    p = Patient(program(clinic(more=WARD)))
    p.do("book drip")

    p.do("go ward", emergency="not breathing")

    assert p.session("drip.1").state == "booked"


def test_an_emergency_acted_on_in_cover_shows_both() -> None:
    p = Patient(program(clinic()))
    p.do("record baseline", systolic=120)

    p.do("start drip", by=Actor("bo", covers={"nurse": "ann"}), emergency="a fall")

    assert p.events(e.ActedFor)[-1].acting_for == "ann"
    assert p.events(e.GlassBroken)[-1].passed == ()


# Who may read what

TALK = """
talk: {by: [therapist], record: score, read_by: [therapist, doctor], signed: true,
  may_be: [declined], alerts: [{when: talk.points > 5 points, says: Talks of dying,
  tell: [nurse], answer_within: 1 h}]}
other: {by: [nurse], record: note, only_if: talk.points < 5 points, optional: true}
goodbye: {by: [nurse], record: answer}
""".replace("\n  ", " ")
NURSE, THERAPIST, PHARMACIST = (
    Actor("bo", {"nurse"}),
    Actor("thea", {"therapist"}),
    Actor("pia", {"pharmacist"}),
)


def test_counselling_notes_are_read_by_whom_the_step_names_and_by_whoever_wrote_them() -> None:
    p = one(TALK)
    p.do("record talk", points=9, signed=True, by="thea:therapist")
    recorded = p.events(e.ObservationRecorded)[-1]

    assert may_read(p.program, THERAPIST, recorded)
    assert may_read(p.program, Actor("thea", {"nurse"}), recorded)
    assert not may_read(p.program, NURSE, recorded)
    shown = for_reader(p.program, NURSE, recorded)
    assert isinstance(shown, e.ObservationRecorded)
    assert (shown.values, shown.content) == ({"points": WITHHELD}, "")
    assert (shown.person, shown.occurred) == (recorded.person, recorded.occurred)
    assert for_reader(p.program, THERAPIST, recorded) is recorded


def test_what_is_read_again_after_a_retraction_is_withheld_from_whoever_may_not_read_it() -> None:
    p = one(TALK)
    p.do("record talk", points=9, signed=True, by="thea:therapist")
    (before,) = p.s.readings["score"]
    retracted = e.ObservationRetracted(
        "o-2", "score", "talk", p.now, "thea", "therapist", "another patient", restored=(before,)
    )

    shown = for_reader(p.program, NURSE, retracted)

    assert isinstance(shown, e.ObservationRetracted)
    assert [each.values for each in shown.restored] == [{"points": WITHHELD}]
    assert shown.reason == WITHHELD
    assert for_reader(p.program, THERAPIST, retracted) is retracted


def test_a_call_is_read_by_whom_it_calls_and_by_nobody_else_who_may_not() -> None:
    p = one(TALK)
    p.do("record talk", points=9, signed=True, by="thea:therapist")
    alert = p.events(e.AlertRaised)[-1]

    assert may_read(p.program, NURSE, alert)
    assert may_read(p.program, THERAPIST, alert)
    shown = for_reader(p.program, PHARMACIST, alert)
    assert isinstance(shown, e.AlertRaised)
    assert shown.says == WITHHELD


def test_a_reason_and_the_hash_of_what_is_kept_apart_are_withheld_too() -> None:
    p = one(TALK)
    p.do("record talk", points=9, signed=True, by="thea:therapist")
    signed = p.events(e.Signed)[-1]
    q = one(TALK)
    q.do("decline talk", reason="too ashamed", by="thea:therapist")
    told = next(x for x in q.events(e.ItemSettled) if x.step == "talk")

    for event, what in ((signed, "content"), (told, "reason")):
        assert getattr(for_reader(p.program, THERAPIST, event), what)
        assert getattr(for_reader(p.program, NURSE, event), what) in ("", WITHHELD)


def test_what_no_step_keeps_apart_is_read_by_everybody() -> None:
    p = one("check: {by: [nurse], record: score}")
    p.do("record check", points=3)

    assert all(may_read(p.program, Actor("x"), event) for event in p.log)
    q = one(TALK)
    q.do("record goodbye", word="one")
    assert may_read(q.program, Actor("x"), q.events(e.ObservationRecorded)[-1])


def test_a_form_that_is_kept_apart_is_so_without_an_item() -> None:
    p = one(
        "talk: {by: [therapist], record: vitals, read_by: [therapist]}\nz: {by: [nurse]}\n"
        "y: {by: [nurse], only_if: talk.systolic > 9 mmHg}"
    )
    p.do("record vitals", systolic=120, by="thea:therapist")
    recorded = p.events(e.ObservationRecorded)[-1]

    assert recorded.step == ""
    assert not may_read(p.program, NURSE, recorded)


def test_alerts_of_the_whole_program_and_of_sessions_are_kept_apart_by_what_they_read() -> None:
    talk = "talk: {by: [therapist], record: score, read_by: [therapist]}"
    more = (
        "alerts: [{when: score.points > 5 points or answer.word is one, says: Low, "
        "tell: [doctor], answer_within: 1 h}]"
    )
    ask = "ask: {by: [nurse], record: answer, read_by: [nurse]}"
    p = Patient(program(clinic(steps=f"{talk}\n{ask}", more=more)))
    p.do("record talk", points=9, by="thea:therapist")
    alert = p.events(e.AlertRaised)[-1]

    assert not may_read(p.program, PHARMACIST, alert)
    assert may_read(p.program, THERAPIST, alert)
    assert may_read(p.program, Actor("dee", {"doctor"}), alert)


def test_a_refusal_says_which_gate_is_closed_and_not_what_was_said_in_confidence() -> None:
    text = clinic(
        "ready: [calm]", steps="talk: {by: [therapist], record: score, read_by: [therapist]}"
    ).replace("gates:", "gates:\n  calm: {says: Calm, when: talk.points < 5 points}")
    p = Patient(program(text))
    p.do("record talk", points=9, by="thea:therapist")

    refusal = p.refused("start drip")

    def by(actor: Actor) -> c.Command:
        return c.Command("c", c.Start("drip"), actor, MONDAY)

    assert "9 points" in refusal.explanation
    kept = refusal_for_reader(p.program, by(NURSE), refusal, "main", "P")
    assert "9 points" not in kept.explanation
    assert WITHHELD in kept.explanation
    assert refusal_for_reader(p.program, by(THERAPIST), refusal, "main", "P") == refusal
    plain = one("a: {by: [nurse]}")
    assert refusal_for_reader(plain.program, by(NURSE), refusal, "main", "P") is refusal
    clauses = refusal.reasons[0].clauses
    assert clauses_for_reader(p.program, THERAPIST, clauses) == clauses


def test_an_item_knows_whose_it_is_in_every_list(tmp_path: Any) -> None:
    for journal in (open_journal(), open_journal(tmp_path / "j.db")):
        rows = tuple(
            ItemRow(f"i{n}", "enrollment:e", "main", ("nurse",), MONDAY, assigned=person)
            for n, person in enumerate(("ann", "", "bo"))
        )
        append = Append("enrollment:e", 0, (b"{}",), items=rows)
        journal.append([append], command="c", digest="d", recorded=MONDAY, person="p", role="r")
        for asked, found in ((None, 3), ("ann", 1), ("", 1), ("dee", 0)):
            assert len(journal.worklist(assigned=asked)[0]) == found
            assert len(journal.worklist(role="nurse", site="main", assigned=asked)[0]) == found
        journal.close()
