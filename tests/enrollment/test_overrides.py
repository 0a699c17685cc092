"""Overrides with a list of reasons, and with a second person who must agree."""

from __future__ import annotations

from bedside import Patient, program

from kat_workflow.enrollment import events as e

STAY = """
start: stay
decided_by: [doctor]
gates:
  fits:
    says: The pressure fits
    when: vitals.systolic < 140 mmHg
    override:
      by: [doctor]
      lasts: 2 h
      cosigned_by: [nurse]
      reasons: {nervous: The patient is nervous}
  calm:
    says: The pulse is calm
    when: vitals.pulse < 100 /min
    override: {by: [doctor], lasts: 1 h}
phases:
  stay:
    admits: true
    steps:
      seen: {by: [nurse], record: vitals}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: fits and calm}]
"""
BOTH = "zoe:nurse,doctor"


def patient() -> Patient:
    return Patient(program(STAY))


def asked(by: str = "doctor") -> Patient:
    """An override waits for a second person."""
    p = patient()
    p.do("override fits", by=by, code="nervous", reason="lies down now")
    return p


def test_an_override_counts_only_once_a_second_person_agrees() -> None:
    p = asked(BOTH)

    assert p.s.overrides == {}
    assert p.codes("cosign override fits", by=BOTH) == ["same-person"]
    assert p.codes("cosign override fits", by="doctor") == ["wrong-role"]
    assert p.codes("done override fits", by="nurse") == ["not-done-so"]
    p.wait("30 min")
    p.do("cosign override fits", by="nurse")

    (granted,) = p.events(e.OverrideGranted)
    assert (granted.person, granted.cosigner) == ("zoe", "nurse")
    assert granted.until == p.at("2026-03-02 11:30")
    assert "fits" in p.s.overrides
    assert not p.is_open("override fits")


def test_a_second_person_who_does_not_answer_lets_it_lapse() -> None:
    p = asked()

    p.wait("2 h")

    assert not p.is_open("override fits")
    assert p.s.overrides == {}


def test_an_override_is_for_a_reason_of_the_gate_where_it_names_any() -> None:
    p = patient()

    assert p.codes("override fits", by="doctor", reason="x") == ["reason-missing"]
    assert p.codes("override fits", by="doctor", code="moon") == ["reason-missing"]
    assert p.codes("override calm", by="doctor", reason="x", code="nervous") == ["not-an-option"]
    assert p.codes("override calm", by="doctor") == ["reason-missing"]
    p.do("override fits", by="doctor", code="nervous")

    (waits,) = p.events(e.OverrideAsked)
    assert waits.code == "nervous"
