"""The definition of a treatment program, compiled: frozen and shared by every patient in it."""

from typing import Literal

PATIENT = "patient"
"""The role of patients themselves, where a program names it; each acts in their own enrollment."""

OnHold = Literal["runs", "pauses", "restarts"]
"""What a hold does to an item's times."""

Outcome = Literal[
    "done", "declined", "skipped", "missed", "waived", "withheld", "unable", "left", "cancelled"
]
"""How an item ends. `left` and `cancelled` are only ever written by the engine."""

Cause = Literal["", "patient", "clinic", "unfit", "no-show"]
"""Who or what cancelled a session: the patient, the clinic, the patient's state on the day, or
that nobody came; "" where it was none of these."""

Schedule = Literal["I", "II", "III", "IV", "V"]
"""Of controlled substances in the United States, the strictest first (21 CFR 1308)."""
