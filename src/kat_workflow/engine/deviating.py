"""What a record holds of a day that went otherwise: deviations, overrides, emergencies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kat_workflow.engine.views import Deviation, event_of
from kat_workflow.enrollment import events as e

if TYPE_CHECKING:
    from kat_workflow.journal import Entry

_TOLD_BY = tuple(
    f'{{"event":"{tag}"'.encode()
    for tag in ("deviation-noted", "override-granted", "glass-broken", "item-settled")
)
"""How the bodies begin of the entries that anything is read from; the others are not decoded."""


def deviations_of(blank: Deviation, entries: Iterable[Entry]) -> Iterator[Deviation]:
    """What one enrollment departed in, in order; `blank` has what all of it has in common.

    The item by which somebody is to look is named by the version of what it is about.
    """
    found: list[Deviation] = []
    looked: dict[str, tuple[datetime, str]] = {}
    for entry in entries:
        if not entry.body.startswith(_TOLD_BY):
            continue
        review = f"review.{entry.version}"
        its = replace(blank, recorded=entry.recorded, person=entry.person, role=entry.role)
        match event_of(entry):
            case e.DeviationNoted() as x:
                found.append(replace(its, code=x.code, says=x.says, at=x.at, review=review))
            case e.OverrideGranted() as x:
                who = {"person": x.person, "role": x.role, "cosigner": x.cosigner}
                says = f"{x.code}: {x.reason}" if x.code else x.reason
                granted = replace(its, kind="override", code=x.gate, says=says, at=x.at, **who)
                found.append(granted)
            case e.GlassBroken() as x:
                says = "; ".join((x.reason, *x.passed))
                broken = replace(its, kind="emergency", says=says, at=x.at, review=review)
                found.append(broken)
            case e.ItemSettled(outcome="done") as x:
                looked[x.item] = (x.at, x.person)
            case _:  # left open by an end: nobody has looked
                pass
    for each in found:
        at, person = looked.get(each.review, (None, ""))
        yield replace(each, reviewed=at, reviewed_by=person)
