"""A clinic for tests of drugs: ketamine by body weight on an order, in a ledger, and a medicine."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from bedside import Patient, program, source

from kat_workflow.enrollment import cupboard
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Addition
from kat_workflow.program.model import Program

ORDER = """
  ketamine_order:
    drug: ketamine
    route: intravenous
    by: [doctor]
    amount: {from: 0.1 mg/kg, to: 1 mg/kg}
    most: 70 mg
    weight: amount.weight
    weight_lasts: 14 d
    rounded_to: 1 mg
    raise_by_at_most: 0.3 mg/kg
    bolus_at_most: 0.2 mg/kg
    times: 1
    lasts: 30 d
    source: practice"""
DOSE = """
      drug: ketamine
      route: intravenous
      order: ketamine_order
      rate: {from: 10 mg/h, to: 100 mg/h}"""


def text(
    *, dose: str = "", order: str = ORDER, session: str = "", more: str = "", steps: str = ""
) -> str:
    """A program that gives ketamine; `dose` adds to the dose, `more` to the whole."""
    return f"""
start: stay
decided_by: [doctor]
hold_by: [doctor]
orders:{order}
phases:
  stay:
    admits: true
    steps:
      weigh:
        by: [nurse]
        record: amount
        every: [{{interval: 24 h, when: always}}]
        source: practice
      drips:
        by: [nurse]
        session: drip
        may_be: [declined, missed]
        every: [{{interval: 1 h, when: always}}]
        source: practice{steps}
      talk: {{by: [doctor], may_be: [declined]}}
    next: [{{to: well, when: always}}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose: {DOSE}{dose}
    watch: {{by: [nurse], record: vitals, at: [0 min], then_every: 30 min}}
    release: {{earliest: 0 min, signed_by: [nurse]}}
    {session}
{more}"""


def weighed(the_program: Program, kg: str = "70", **how: Any) -> Patient:
    """A patient whose weight was taken."""
    p = Patient(the_program, **how)
    p.do("record weigh", weight=kg)
    return p


def ordered(the_program: Program, amount: str = "0.5 mg/kg", **how: Any) -> Patient:
    """A patient for whom ketamine is ordered."""
    p = weighed(the_program, **how)
    p.do("order ketamine_order", by="doctor", amount=amount)
    return p


def held(p: Patient, amount: str) -> None:
    """A session from start to release in which an amount is given."""
    p.do("start drip")
    p.do("dose drip", amount=amount, last=True)
    p.do("release drip")


def noted(p: Patient) -> list[str]:
    """The codes of all deviations so far."""
    return [x.code for x in p.events(e.DeviationNoted)]


def stocked(
    p: Patient,
    lot: str = "K1",
    amount: str = "500 mg",
    expires: date | None = None,
    product: e.Product = e.NO_PRODUCT,
) -> None:
    """The cupboard of the patient's site gets a lot of ketamine."""
    shelf = Addition("cupboard", 0, p.around.cupboard)
    cupboard.receive(
        shelf,
        "ketamine",
        lot,
        amount,
        supplier="Wholesale",
        expires=expires,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        person="pat",
        product=product,
        containers=1,
    )
    p.around = p.around.after([shelf])


__all__ = [
    "DOSE",
    "ORDER",
    "held",
    "noted",
    "ordered",
    "program",
    "source",
    "stocked",
    "text",
    "weighed",
]
