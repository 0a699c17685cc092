"""A site's roster: who holds which role for a while, for whom, and who said so (`roster:…`).

Somebody who is absent is covered by a person whom the clinic's own directory gives no such role.
A cover has an end, a reason and a person who granted it and holds the role themselves. Decisions
read the roster only where an actor lacks a role.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.errors import Reason, Refusal

if TYPE_CHECKING:
    from kat_workflow.enrollment.around import Addition


class Cover(Struct, frozen=True, array_like=True, gc=False):
    """A person holds a role from `since` until `until`; for `acting_for`, if for somebody."""

    person: str
    role: str
    since: datetime
    until: datetime
    by: str
    acting_for: str = ""


class Roster(Struct, frozen=True, array_like=True, gc=False):
    """A site's roster as of `version` events: covers by id, oldest first; those whose time was
    over when another was granted are gone."""

    version: int = 0
    covers: dict[str, Cover] = {}


def covering(roster: Roster, person: str, role: str, at: datetime) -> Cover | None:
    """The cover in which somebody holds a role at an instant."""
    for cover in roster.covers.values():
        if cover.person == person and cover.role == role and cover.since <= at < cover.until:
            return cover
    return None


def grant(addition: Addition, granted: e.CoverGranted, holds: frozenset[str]) -> Refusal | None:
    """Write a cover to a roster, or say every reason against it; `holds` are the roles that
    whoever grants it holds at the site now, other than in cover."""
    reasons: list[Reason] = []
    if granted.role not in holds:
        says = f"only who holds {granted.role} can have it covered"
        reasons.append(Reason("wrong-role", says, unblock=(f"ask one who is: {granted.role}",)))
    if granted.person in (granted.by, granted.acting_for):
        says = "nobody stands in for themselves, or grants a cover to themselves"
        reasons.append(Reason("same-person", says, unblock=("name another person",)))
    if granted.until <= max(granted.since, granted.at):
        says = "the cover would be over before it begins"
        reasons.append(Reason("past", says, unblock=("choose a later end",)))
    if not granted.reason:
        reasons.append(Reason("reason-missing", "a cover needs a reason", unblock=("say why",)))
    if reasons:
        return Refusal("grant cover", tuple(reasons))
    addition.emit(granted)
    return None


def revoke(addition: Addition, revoked: e.CoverRevoked, holds: frozenset[str]) -> Refusal | None:
    """End a cover, or say why not: whoever covers, has granted it or holds the role may."""
    covers: dict[str, Cover] = addition.state.covers
    cover = covers.get(revoked.cover)
    if cover is None:
        known = ", ".join(covers) or "none"
        says = f'there is no cover "{revoked.cover}"'
        reason = Reason("unknown-cover", says, unblock=(f"covers: {known}",))
        return Refusal("revoke cover", (reason,))
    if revoked.by not in (cover.person, cover.by) and cover.role not in holds:
        says = f"only who holds {cover.role} can end its cover"
        reason = Reason("wrong-role", says, unblock=(f"ask one who is: {cover.role}",))
        return Refusal("revoke cover", (reason,))
    addition.emit(revoked)
    return None


def evolve(roster: Roster, event: e.Event) -> Roster:
    """The roster after one more event; the old one is left as it was."""
    return FOLDS[type(event)](replace(roster, version=roster.version + 1), event)


def _granted(r: Roster, x: e.CoverGranted) -> Roster:
    covers = {id_: cover for id_, cover in r.covers.items() if cover.until > x.at}
    covers[x.cover] = Cover(x.person, x.role, x.since, x.until, x.by, x.acting_for)
    return replace(r, covers=covers)


def _revoked(r: Roster, x: e.CoverRevoked) -> Roster:
    return replace(r, covers={id_: c for id_, c in r.covers.items() if id_ != x.cover})


FOLDS: dict[type, Callable[[Roster, Any], Roster]] = {
    e.CoverGranted: _granted,
    e.CoverRevoked: _revoked,
}
