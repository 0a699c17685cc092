"""What is open, for whom and how urgent: views of an enrollment at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.signing import signers
from kat_workflow.enrollment.state import Enrollment, Item

if TYPE_CHECKING:
    from kat_workflow.program.model import Program

Timeliness = Literal["early", "open", "late"]

_SPECIAL = {"alert": "Answer the call", "review": "Review", "decide": "Decide the way on"}
_PLANNED = (e.ItemOpened, e.ItemReplanned, e.ItemAssigned, e.ItemAnswered)
_ASKS_OTHERS = (e.Signed, e.ObservationCorrected, e.ObservationRetracted)
_MOVES = (
    e.Enrolled,
    e.Admitted,
    e.PhaseEntered,
    e.PhaseLeft,
    e.Held,
    e.HoldLifted,
    e.Discharged,
    e.Closed,
    e.SiteChanged,
)


def timeliness(item: Item, now: datetime) -> Timeliness:
    """Early before it opens, late from its due instant on, else open; windows are half-open."""
    if now < item.opens:
        return "early"
    return "late" if item.due is not None and now >= item.due else "open"


def title(program: Program, item: Item) -> str:
    """An item's name for people."""
    step = program.steps.get(item.step)
    if step is not None:
        return step.title
    return f"{_SPECIAL[item.kind]}: {item.about}"


def who(program: Program, item: Item) -> tuple[str, ...]:
    """The roles that an item waits for: who may do it, or who may still sign it."""
    step = program.steps.get(item.step)
    if step is None:
        return item.roles
    if item.pending is None:
        return step.by
    missing = (signers(step, need) for need in item.pending.needs)
    return tuple(dict.fromkeys(role for roles in missing for role in roles))


def where(program: Program, enrollment: Enrollment) -> tuple[str, ...]:
    """The innermost active phases, by name, in the order of the program."""
    return _innermost(program, frozenset(enrollment.visits))


@lru_cache(maxsize=4096)
def _innermost(program: Program, active: frozenset[str]) -> tuple[str, ...]:
    outer = {program.phases[name].parent for name in active}
    return tuple(name for name in program.phases if name in active and name not in outer)


def changed(events: Sequence[e.Event]) -> tuple[list[str], list[str], bool]:
    """Ids of items that came or changed, ids of items that are gone, and whether somebody moved."""
    came: dict[str, None] = {}
    gone: dict[str, None] = {}
    moved = False
    for event in events:
        if isinstance(event, _PLANNED):
            came[event.item] = None
            gone.pop(event.item, None)
        elif isinstance(event, e.AlertEscalated):
            came[event.call] = None  # others are asked for it too, by another instant
        elif isinstance(event, e.ObservationRecorded):
            if event.needs and event.item:
                came[event.item] = None  # others are asked for it now
        elif isinstance(event, _ASKS_OTHERS):
            if event.item:  # not that of a release, or of what answers no item
                came[event.item] = None
        elif isinstance(event, e.ItemSettled):
            came.pop(event.item, None)
            gone[event.item] = None
        elif isinstance(event, _MOVES):
            moved = True
    return list(came), list(gone), moved


def by_urgency(items: Iterable[Item]) -> list[Item]:
    """Items by when they are due (or open), then by id."""
    return sorted(items, key=lambda item: (item.due or item.opens, item.id))
