"""What the writers do: a small program's patients, and for each writer a list of deeds.

A deed follows from its writer's name and its number alone. So whoever takes over after a crash
sends the same command under the same id, and the judge knows what should have been written.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import local

from msgspec import Struct
from walk_in import ANN, BO, EIGHT, TEXT

from kat_workflow import Engine
from kat_workflow.journal import Journal, open_journal
from kat_workflow.language import Files

SHARED = "shared-0"
"""The command that enrolls the one patient whom all writers write to."""

BLOCK = 10
"""How many deeds are one patient's; the first enrolls them, the last discharges them."""

_JUMPS = (0.0, 30.0, -2.0, 1.0, -9000.0, 9.0, 0.5)
"""Where a clock that jumps is, in hours, from one deed to the next."""


class Deed(Struct, frozen=True):
    """One command of one writer; `patient` is the id of the command that enrolled whom it is of."""

    id: str
    who: str
    number: int
    patient: str
    at: datetime


class Hands(local):
    """A clock that each thread sets for itself: a deed has its instant, whoever does it."""

    at = EIGHT

    def __call__(self) -> datetime:
        return self.at


def deed(who: str, number: int, jumping: bool = False) -> Deed:
    """The deed of that number. Late in a block timers are due first, for a round nobody made."""
    step = number % BLOCK
    if jumping:
        at = EIGHT + timedelta(hours=_JUMPS[number % len(_JUMPS)])
    else:
        at = EIGHT + timedelta(hours=5 if step >= 7 else 0)
    patient = SHARED if step == 3 else f"{who}-{number - step}"
    return Deed(f"{who}-{number}", who, number, patient, at)


def named(id_: str, jumping: bool = False) -> Deed:
    """The deed of that id."""
    who, _, number = id_.rpartition("-")
    return deed(who, int(number), jumping)


def open_clinic(where: str | Journal | None, hands: Hands) -> Engine:
    """An engine on that store, with the small program at hand."""
    journal = open_journal(where) if where is None or isinstance(where, str) else where
    engine = Engine(journal, Files({"walk-in/walk-in.yaml": TEXT}), hands)
    engine.program("walk-in")
    return engine


def carry_out(engine: Engine, hands: Hands, this: Deed, under: str = "") -> None:
    """Do it, at its own instant; `under` another id than its own, as no sound client would."""
    hands.at = this.at
    id_ = under or this.id
    patient = engine.enroll("walk-in", patient=this.patient, by=ANN, command_id=this.patient)
    match this.number % BLOCK:
        case 0:  # it has just been done, or was before
            pass
        case 2:
            values = {"systolic": 120, "remark": this.id}
            engine.record(patient, "look", values, by=ANN, command_id=id_)
        case 4:
            engine.do(patient, "hold", given={"reason": this.id}, by=ANN, command_id=id_)
        case 6:
            engine.do(patient, "lift", by=ANN, command_id=id_)
        case 7:
            engine.record(patient, "talk", {"story": this.id}, by=BO, command_id=id_)
        case 9:
            engine.do(patient, "leave against_advice", by=ANN, command_id=id_)
        case _:
            values = {"systolic": 120, "remark": this.id}
            engine.record(patient, "pressure", values, by=ANN, command_id=id_)
