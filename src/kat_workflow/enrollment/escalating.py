"""Calls that nobody answers: who is called next, and what a host sends out.

A call is an item for the roles that are told; whoever settles it has answered. Where the program
names a chain, the instant by which somebody should have answered is a timer: others are called
as well, one after the other, and when nobody is left a deviation is noted for those who decide.
A hold stops none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from kat_workflow.enrollment import events as e

if TYPE_CHECKING:
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.model import Call, Program, SessionRule


def escalate(run: Run, item: Item) -> None:
    """Nobody has answered a call in time."""
    # A version of before may have known the call, and this one not.
    says, chain = _chains(run.program).get(item.about, (item.about, ()))
    if item.level >= len(chain):
        run.deviation("unanswered-call", f"nobody answered the call: {says}", item.id)
        return
    call = chain[item.level]
    by = run.now + call.answer_within.elapsed
    run.emit(e.AlertEscalated(item.about, says, call.tell, run.now, item.id, item.level + 1, by))


@lru_cache(maxsize=256)
def _chains(program: Program) -> Mapping[str, tuple[str, tuple[Call, ...]]]:
    """By the name of an alert that has a chain: what it says, and who is called one by one."""
    alerts = [*program.alerts]
    rules: list[SessionRule] = []
    chains: dict[str, tuple[str, tuple[Call, ...]]] = {}
    for step in program.steps.values():
        alerts.extend(step.alerts)
        if step.when_late is not None:
            chains[f"late.{step.name}"] = f"{step.name} is late", step.when_late.then
    for kind in program.sessions.values():
        alerts.extend(kind.alerts)
        rules.extend((*kind.pause_when, *kind.stop_when))
    chains.update({each.name: (each.says, each.then) for each in alerts})
    chains.update({each.name: (each.says, each.then) for each in rules})
    return chains


class Notification(Struct, frozen=True):
    """Something to be sent to somebody, for a host to send: the library itself sends nothing.

    `key` is the same whenever this is read again, so that it is sent once. `position` is that of
    the journal. `says` are words of the program and of the library, never a patient's value;
    `item` is what is answered (`done ITEM`), and `level` counts the calls before this one that
    nobody answered. After `urgent_until` it is late: others may have been called.
    """

    key: str
    position: int
    at: datetime
    roles: tuple[str, ...]
    says: str
    enrollment: str
    item: str
    level: int
    urgent_until: datetime | None


def notification(
    event: e.Event, enrollment: str, version: int, position: int
) -> Notification | None:
    """What an entry of an enrollment gives somebody to be told; None for most."""
    if isinstance(event, e.AlertRaised):
        level = 0
    elif isinstance(event, e.AlertEscalated):
        level = event.level
    else:
        return None
    return Notification(
        f"{enrollment}:{version}",
        position,
        event.at,
        event.tell,
        event.says,
        enrollment,
        event.call,
        level,
        event.answer_by,
    )


TOLD = (b'{"event":"alert-',)
"""How the bodies begin of the entries that `notification` may find something in."""
