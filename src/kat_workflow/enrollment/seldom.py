"""Acts of chapters that most commands never open: `decide` loads them when the first one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kat_workflow.enrollment import (
    carrying,
    dosing,
    joining,
    ledger,
    ordering,
    people,
    recording,
    transferring,
    versions,
)
from kat_workflow.enrollment import commands as c

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge

ACTS: dict[type, Callable[[Judge, Any], None]] = {
    c.Addend: recording.addend,
    c.Claim: people.claim,
    c.Unclaim: people.unclaim,
    c.Assign: people.assign,
    c.HandOver: people.hand_over,
    c.Dose: dosing.dose,
    c.Pause: dosing.pause,
    c.Resume: dosing.resume,
    c.EndDosing: dosing.end_dosing,
    c.Transfer: transferring.transfer,
    c.ChangeVersion: versions.change,
    c.Flag: versions.flag,
    c.Admit: carrying.admit,
    c.Attest: carrying.attest,
    c.Adopt: carrying.adopt,
    c.Offer: carrying.offer,
    c.Join: joining.join,
    c.Drop: joining.drop,
    c.SeatFree: joining.seat_free,
    c.Order: ordering.order,
    c.StopOrder: ordering.stop_order,
    c.Check: dosing.check,
    c.Draw: ledger.draw,
    c.Waste: ledger.waste,
    c.Return: ledger.give_back,
    c.WitnessWaste: ledger.witness,
    c.Give: dosing.give,
}
