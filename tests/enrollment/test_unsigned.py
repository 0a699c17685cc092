"""What nobody has signed opens nothing, however it came into the record."""

from __future__ import annotations

import pytest
from bedside import Patient, program

TEXT = """
start: stay
phases:
  stay:
    decided_by: [nurse]
    steps:
      check: {by: [nurse], record: vitals, signed: true, opens: 1 h, optional: true}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: check.systolic < 140 mmHg}]
"""


@pytest.mark.parametrize("signed", [True, False])
def test_a_reading_before_its_step_opens_leads_on_only_if_it_is_signed(signed: bool) -> None:
    """Early, what may be recorded at any time is unscheduled; its step still asks a signature."""
    p = Patient(program(TEXT))

    p.do("record check", systolic=120, signed=signed)
    p.do("record farewell", text="-")

    assert p.s.standing == ("closed" if signed else "applied")
