"""A patient joins a group and leaves it: acts that write the own record and the group's at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import groups
from kat_workflow.enrollment.run import names

if TYPE_CHECKING:
    from kat_workflow.enrollment.groups import Group
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.model import SessionKind


def join(j: Judge, act: c.Join) -> None:
    """See `commands.Join`."""
    j.treated()
    j.not_held()
    run = j.run
    addition = run.stream("group", act.group)
    group: Group = addition.state
    if not group.state:
        raise j.stop("unknown-group", f'no group "{act.group}"', "check the id")
    _belongs(j, group)
    item = _item(j, act, group)
    kind = j.program.sessions.get(j.program.steps[item.step].session)
    j.actor_in((*(kind.by if kind else j.program.steps[item.step].by), *group.by), "joining")
    session = run.session_of(kind.name) if kind is not None else None
    if session is not None and session.state not in ("booked", "arrived"):
        j.not_now(session, "session-open")
    about = item.id if session is None else session.id
    for id_, place in j.s.groups.items():
        offered = id_ == group.id and group.members[j.s.id].state == "offered"
        if not offered and (id_ == group.id or (place.seat and place.about == about)):
            says = f"the patient is in {id_} already" if place.seat else f"{id_} has no free seat"
            j.against("in-group", says, f"drop {id_} first, or wait for a seat")
    j.end()
    seat = groups.take_seat(run, addition)
    if not seat:
        run.emit(e.GroupWaitlisted(group.id, group.kind, item.id, j.at))
        return
    if kind is not None:
        about = _booked(j, kind, item, group)
    run.emit(e.GroupJoined(group.id, group.kind, about, seat, j.at))
    groups.answered(run, group.id, "done")
    for id_, place in j.s.groups.items():  # whoever has a seat waits for no other
        if not place.seat and place.about == item.id:
            groups.leave(run, id_, held=False)


def _belongs(j: Judge, group: Group) -> None:
    if group.state != "planned":
        j.against("group-state", f"{group.id} is {group.state}", "join a group that is planned")
    if group.site != j.s.site:
        says = f"{group.id} is held at {group.site}"
        j.against("other-site", says, f"join a group at {j.s.site}")
    if group.program != j.s.program:
        says = f"{group.id} is a group of {group.program}"
        j.against("other-program", says, f"join a group of {j.s.program}")


def _item(j: Judge, act: c.Join, group: Group) -> Item:
    """The open item that is done in a group of this kind."""
    found, program = [], j.program
    for item in j.s.items.values():
        step = program.steps.get(item.step)
        if step is None:
            continue
        kind = program.sessions.get(step.session)
        if group.kind in (step.group, kind.group if kind is not None else ""):
            found.append(item)
    if act.item:
        full = program.find("steps", act.item)
        found = [each for each in found if each.id == act.item or each.step == full]
    if not found:
        says = f"nothing is open that is done in a group {group.kind}"
        raise j.stop("not-open", says, "join once the step is open")
    if len(found) > 1:
        raise j.stop("which-item", f"several items are open: {names(found)}", "name the item")
    return found[0]


def _booked(j: Judge, kind: SessionKind, item: Item, group: Group) -> str:
    """The member's own session, booked for the group's time; its id."""
    session = j.run.session_of(kind.name)
    assert group.at is not None
    ahead = group.at > j.at  # whoever joins later than planned cannot have missed it
    if session is None:
        return j.open_session(kind, item, group.at if ahead else None).id
    if session.state == "booked" and ahead:
        j.run.emit(e.SessionMoved(session.id, group.at, j.at, j.lapses(kind, group.at)))
    return session.id


def seat_free(j: Judge, act: c.SeatFree) -> None:
    """See `commands.SeatFree`."""
    run, place = j.run, j.s.groups.get(act.group)
    group: Group = run.stream("group", act.group).state
    own = group.members.get(j.s.id)
    about = f"{groups.SEAT}{act.group}"
    asked = any(item.about == about for item in j.s.items.values())
    if place is None or asked or own is None or own.state != "offered":
        says = "no seat is kept for the patient, or they have been asked"
        raise j.stop("not-in-group", says, f"join {act.group}")
    run.special(f"review.{j.s.version + 1}", "review", group.by, about, None)


def drop(j: Judge, act: c.Drop) -> None:
    """See `commands.Drop`."""
    place = j.s.groups.get(act.group)
    if place is None:
        ways = f"groups: {', '.join(j.s.groups)}" if j.s.groups else "there is nothing to drop"
        raise j.stop("not-in-group", f"the patient is not in {act.group}", ways)
    j.actor_in((), "recording a drop-out")
    if not act.reason:
        j.against("reason-missing", "a drop-out needs a reason", "say why")
    session = j.s.sessions.get(place.about)
    if session is not None and session.dosed is not None:
        j.against("session-state", f"something was given in {session.id}", f"abort {session.id}")
    j.end()
    if session is not None:
        j.run.cancel_session(session, act.reason)
    else:
        groups.leave(j.run, act.group, held=False)
