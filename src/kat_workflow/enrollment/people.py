"""Who does it: work that is claimed, given and handed over; roles in cover; broken glass.

Whose an item is never keeps another of the role from doing it. It says who is expected to, and
where somebody else did it, the entry says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.roster import covering
from kat_workflow.enrollment.worklist import who
from kat_workflow.errors import Reason
from kat_workflow.program import PATIENT

if TYPE_CHECKING:
    from kat_workflow.enrollment.commands import Actor
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Item

REVIEWED_WITHIN = timedelta(hours=24)
"""How soon somebody must have looked at broken glass. No study says how soon; it is practice."""

ALL = "all"
"""The word for everything that a person has taken on in an enrollment."""


# ---- roles -----------------------------------------------------------------------------------


def find_role(j: Judge, allowed: tuple[str, ...], what: str) -> None:
    """The role in which the actor may act, or every reason why there is none.

    Asked where a plain look at the actor's roles does not answer: a credential with an end, a
    role at certain sites, in cover, or of the patient; else the roster of the site.
    """
    run, actor, asked = j.run, j.actor, j.command.role
    hindered: dict[str, Reason] = {}
    for role in allowed:
        if (asked and role != asked) or (role not in actor.roles and role not in actor.covers):
            continue
        reason = hindrance(actor, role, j.at, run.site.name, j.s.patient)
        if reason is None:
            run.role, run.acting_for = role, actor.covers.get(role, "")
            return
        hindered[reason.code] = reason
    if actor.person != c.SYSTEM.person:
        for role in allowed:
            if role != PATIENT and (not asked or role == asked):
                cover = covering(run.stream("roster").state, actor.person, role, j.at)
                if cover is not None:
                    run.role, run.acting_for = role, cover.acting_for
                    return
    own = next((role for role in sorted(actor.roles) if role != PATIENT), "")
    if j.command.emergency and own and actor.person != c.SYSTEM.person:
        run.role = own
        run.passed.append(f"role: {what}")
        return
    titles = ", ".join(j.program.roles.get(role, role) for role in allowed)
    wrong = Reason("wrong-role", f"{what} is for: {titles}", unblock=(f"ask one of: {titles}",))
    j.reasons.extend(hindered.values() or (wrong,))


def hindrance(actor: Actor, role: str, at: datetime, site: str, patient: str) -> Reason | None:
    """Why somebody cannot act in a role of theirs at an instant, a site and for a patient."""
    ends = actor.until.get(role)
    if ends is not None and at >= ends:
        says = f"{role} was held until {ends:%Y-%m-%d %H:%M %Z}"
        way = "renew the credential, or ask somebody who holds it"
        return Reason("credential-expired", says, unblock=(way,))
    if actor.sites and site not in actor.sites:
        says = f"{role} is held at: {', '.join(sorted(actor.sites))}; this is {site}"
        return Reason("wrong-site", says, unblock=(f"ask somebody of {site}",))
    if role == PATIENT and actor.person != patient:
        says = "a patient acts in their own enrollment alone"
        return Reason("another-patient", says, unblock=("ask the patient",))
    return None


def roles_held(actor: Actor, at: datetime, site: str, patient: str) -> frozenset[str]:
    """The roles in which somebody may act, or read, at an instant, a site and for a patient."""
    every = actor.roles.union(actor.covers)
    return frozenset(r for r in every if hindrance(actor, r, at, site, patient) is None)


def nowhere(actor: Actor, at: datetime, site: str, patient: str) -> Reason | None:
    """Why somebody holds none of their roles at an instant, a site and for a patient; None where
    they hold one, or have none at all."""
    if not actor.roles or roles_held(actor, at, site, patient):
        return None
    return hindrance(actor, sorted(actor.roles)[0], at, site, patient)  # each says the same


# ---- whose an item is ------------------------------------------------------------------------


def claim(j: Judge, act: c.Claim) -> None:
    """See `commands.Claim`."""
    item = _open(j, act.step)
    j.actor_in(who(j.program, item), f"claiming {_called(item)}")
    if item.assigned and item.assigned != j.actor.person:
        says = f"{item.id} was taken on by {item.assigned}"
        j.against("claimed", says, "do it all the same", f"assign {item.id} to yourself")
    j.end()
    _give(j, item, j.actor.person)


def unclaim(j: Judge, act: c.Unclaim) -> None:
    """See `commands.Unclaim`."""
    item = _open(j, act.step)
    if not item.assigned:
        raise j.stop("not-assigned", f"{item.id} is nobody's in particular", f"claim {item.id}")
    j.actor_in(_givers(j, item), f"giving back {_called(item)}")
    j.end()
    _give(j, item, "")


def assign(j: Judge, act: c.Assign) -> None:
    """See `commands.Assign`; what waits for a signature can be given to another as well."""
    item = _open(j, act.step)
    j.actor_in(_givers(j, item), f"assigning {_called(item)}")
    j.end()
    _give(j, item, act.person)


def hand_over(j: Judge, act: c.HandOver) -> None:
    """See `commands.HandOver`."""
    own = [item for item in j.s.items.values() if item.assigned == j.actor.person]
    if act.step != ALL:
        item = _open(j, act.step)
        if item not in own:
            says = f"{item.id} is not {j.actor.person}'s to hand over"
            j.against("not-assigned", says, f"assign {item.id} to {act.person}")
        own = [item]
    elif not own:
        j.against("not-assigned", "nothing here was taken on by the actor", "claim an item first")
    j.end()
    for item in own:
        _give(j, item, act.person, handed=True)


def _open(j: Judge, name: str) -> Item:
    item = j.item(name)
    if item is None:
        raise j.not_open(name)
    return item


def _called(item: Item) -> str:
    return item.step or item.about or item.id


def _givers(j: Judge, item: Item) -> Iterable[str]:
    """Who may say whose an item is: those it is for, and those who decide."""
    return dict.fromkeys((*who(j.program, item), *j.program.decided_by))


def _give(j: Judge, item: Item, person: str, handed: bool = False) -> None:
    if item.assigned != person:
        j.run.emit(e.ItemAssigned(item.id, person, j.actor.person, j.at, handed))


# ---- acting first ----------------------------------------------------------------------------


def write_down(j: Judge) -> None:
    """What the entries must show of how a command came about: for whom the role was acted in,
    and what an emergency has passed. Nothing that follows by itself passes anything."""
    run, person = j.run, j.actor.person
    if run.acting_for:
        run.emit(e.ActedFor(person, run.role, run.acting_for, j.at))
    if run.emergency:
        run.emergency = False
        reason, passed = j.command.emergency, tuple(dict.fromkeys(run.passed))
        run.emit(e.GlassBroken(reason, person, run.role, passed, j.at))
        roles: Mapping[str, None] = dict.fromkeys(run.program.decided_by or run.program.staff)
        id_ = f"review.{run.s.version}"
        run.special(id_, "review", tuple(roles), "emergency", REVIEWED_WITHIN, not_by=person)
