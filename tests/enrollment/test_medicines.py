"""Medicines as needed: given where their condition holds; controlled ones are in a ledger."""

from __future__ import annotations

from datetime import timedelta

from bedside import Patient, program

from kat_workflow.enrollment import events as e

WARD = """
start: stay
decided_by: [doctor]
orders:
  calming: {drug: lorazepam, route: oral, by: [doctor], amount: {from: 1 mg, to: 4 mg}, lasts: 7 d, source: practice}
  fever: {drug: paracetamol, route: oral, by: [doctor], amount: {from: 500 mg, to: 1000 mg}, lasts: 7 d, source: practice}
ledgers:
  benzos: {drug: lorazepam, witnessed_by: [nurse, doctor]}
medicines:
  lorazepam: {by: [nurse], order: calming, for: Withdrawal, only_if: score.points >= 15 points, ledger: benzos}
  paracetamol: {by: [nurse], order: fever, for: Fever}
phases:
  stay:
    admits: true
    steps:
      scores: {by: [nurse], record: score, every: [{interval: 1 h, when: always}], source: practice}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
"""  # noqa: E501


def ward(points: int | None = 18) -> Patient:
    p = Patient(program(WARD))
    p.do("order calming", by="doctor", amount="2 mg")
    p.do("order fever", by="doctor", amount="500 mg")
    if points is not None:
        p.do("record scores", points=points)
    return p


def deviations(p: Patient) -> list[str]:
    return [x.code for x in p.events(e.DeviationNoted)]


def out(p: Patient, what: str = "lorazepam") -> str:
    shelf = p.around.cupboard
    assert shelf is not None
    return str(shelf.out.get(f"e-1/{what}", ""))


def test_a_medicine_is_given_where_its_condition_holds() -> None:
    p = ward(points=18)
    p.do("draw lorazepam", amount="2 mg", lot="L1")
    before = deviations(p)

    p.do("give lorazepam", amount="2 mg", reason="tremor")

    assert deviations(p) == before
    assert out(p) == ""


def test_a_medicine_below_its_threshold_or_unknown_is_kept_and_looked_at() -> None:
    for points in (12, None):
        p = ward(points)

        p.do("give lorazepam", amount="2 mg", reason="asked for it")

        assert "not-indicated" in deviations(p)
        assert p.is_open("not-indicated")


def test_a_medicine_that_is_told_late_is_judged_by_the_score_of_that_time() -> None:
    p = ward(points=18)
    p.wait("1 h")
    p.do("record scores", points=6)

    p.do("give lorazepam", amount="2 mg", occurred=p.now - timedelta(minutes=30))
    assert "not-indicated" not in deviations(p)
    p.do("give lorazepam", amount="2 mg")

    assert deviations(p).count("not-indicated") == 1


def test_what_is_drawn_for_a_medicine_is_given_wasted_and_witnessed() -> None:
    p = ward()
    p.do("draw lorazepam", amount="2 mg", lot="L1")

    p.do("give lorazepam", amount="1 mg", reason="tremor")
    assert p.codes("waste lorazepam", amount="2 mg") == ["implausible"]
    p.do("waste lorazepam", amount="0.5 mg")
    p.do("return lorazepam", amount="0.5 mg")
    assert p.codes("witness waste lorazepam") == ["same-person"]
    p.do("witness waste lorazepam", by="doctor")

    assert out(p) == ""
    assert "ledger-imbalance" not in deviations(p)


def test_more_given_than_drawn_is_looked_at() -> None:
    p = ward()

    p.do("give lorazepam", amount="2 mg", reason="tremor")

    assert "ledger-imbalance" in deviations(p)
    p.do("draw lorazepam", amount="2 mg", lot="L1")
    assert out(p) == ""


def test_what_is_out_when_the_treatment_ends_is_flagged_and_can_still_be_put_away() -> None:
    p = ward()
    p.do("draw lorazepam", amount="2 mg", lot="L1")

    p.do("leave against_advice", reason="wants to")

    assert deviations(p)[-1] == "ledger-imbalance"
    p.do("return lorazepam", amount="2 mg")
    assert out(p) == ""


def test_a_medicine_without_a_ledger_is_drawn_from_none() -> None:
    p = ward()

    assert p.codes("draw paracetamol", amount="500 mg", lot="P1") == ["no-ledger"]
    p.do("give paracetamol", amount="500 mg", lot="P1")
