"""Several patients in one room: a group's own stream (`group:…`), and the rooms of a site.

A group knows its members by enrollment and seat alone, and what is planned: when, where, how many,
with how many staff. What befalls a member stands in the member's own enrollment, so that no record
ever names another patient; a group's events hold no clinical value and no reason for a departure.
`rooms:…` says which room of a site is reserved, or in use, by which group.

The acts about a whole group (`plan`, `move`, `call_off`, `start`) are judged here by the group's
state alone: what its kind said of it stands in `GroupPlanned`. A member's own run writes here too
(`take_seat`, `leave`, `over`), in the commit that changes the member's record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.errors import Reason, Refusal
from kat_workflow.program.clock import Duration, Site, plus

if TYPE_CHECKING:  # programs and runs are made elsewhere
    from kat_workflow.enrollment.around import Addition
    from kat_workflow.enrollment.commands import Actor
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Session
    from kat_workflow.program.model import GroupKind, SessionKind

GroupState = Literal["", "planned", "started", "closed", "called off"]
MemberState = Literal["in", "waiting", "offered", "done", "dropped"]


class Member(Struct, frozen=True, array_like=True, gc=False):
    """One member by seat (0 while waiting); a seat that is `offered` is kept for its member."""

    seat: int
    state: MemberState


class Group(Struct, frozen=True, array_like=True, gc=False):
    """A group as of `version` events; `members` by enrollment, in the order in which they asked.

    `staff` are (role, members one person may look after); `by` may plan and lead, `override_by`
    may start it below the minimum or short of staff.
    """

    version: int = 0
    id: str = ""
    kind: str = ""
    title: str = ""
    program: str = ""
    site: str = ""
    room: str = ""
    at: datetime | None = None
    lasts: int = 0
    state: GroupState = ""
    capacity: int = 0
    minimum: int = 0
    staff: tuple[tuple[str, int], ...] = ()
    by: tuple[str, ...] = ()
    override_by: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    members: dict[str, Member] = {}

    def among(self, *states: MemberState) -> list[str]:
        """The enrollments of the members in these states, by seat."""
        found = [(m.seat, id_) for id_, m in self.members.items() if m.state in states]
        return [id_ for _, id_ in sorted(found, key=_seat)]

    @property
    def free(self) -> int:
        """The lowest seat that nobody has and that is offered to nobody; 0 where there is none."""
        taken = {m.seat for m in self.members.values() if m.state in ("in", "offered", "done")}
        return next((seat for seat in range(1, self.capacity + 1) if seat not in taken), 0)

    @property
    def until(self) -> datetime:
        """When it is over as planned."""
        assert self.at is not None  # it was planned
        return _later(self.at, self.lasts)


def _later(at: datetime, seconds: int) -> datetime:
    return plus(at, Duration(seconds, "s"), Site())


def _seat(found: tuple[int, str]) -> int:
    return found[0]  # those who wait stay in the order in which they asked


class Slot(Struct, frozen=True, array_like=True, gc=False):
    """A group in the rooms of a site, while it is not over; `taken` once it has started."""

    room: str
    at: datetime
    until: datetime
    taken: bool = False


class Rooms(Struct, frozen=True, array_like=True, gc=False):
    """The rooms of a site as of `version` events: the groups that are not over, by id."""

    version: int = 0
    groups: dict[str, Slot] = {}


# Folds. They read only the event (R15).


def evolve(group: Group, event: e.Event) -> Group:
    """The group after one more event; the old one is left as it was."""
    return FOLDS[type(event)](replace(group, version=group.version + 1), event)


def evolve_rooms(rooms: Rooms, event: e.Event) -> Rooms:
    """The rooms after one more event; the old ones are left as they were."""
    return ROOM_FOLDS[type(event)](replace(rooms, version=rooms.version + 1), event)


def _planned(g: Group, x: e.GroupPlanned) -> Group:
    return Group(
        g.version,
        x.group,
        x.kind,
        x.title,
        x.program,
        x.site,
        x.room,
        x.when,
        x.lasts,
        "planned",
        x.capacity,
        x.minimum,
        x.staff,
        x.by,
        x.override_by,
        x.rooms,
    )


def _moved(g: Group, x: e.GroupMoved) -> Group:
    return replace(g, at=x.when, room=x.room)


def _member(g: Group, id_: str, seat: int, state: MemberState) -> Group:
    others = {each: m for each, m in g.members.items() if each != id_}
    known = id_ in g.members and g.members[id_].state in ("in", "waiting", "offered")
    members = dict(g.members) if known else others  # whoever asks again asks last
    members[id_] = Member(seat, state)
    return replace(g, members=members)


def _joined(g: Group, x: e.MemberJoined) -> Group:
    return _member(g, x.enrollment, x.seat, "in")


def _waitlisted(g: Group, x: e.MemberWaitlisted) -> Group:
    return _member(g, x.enrollment, 0, "waiting")


def _offered(g: Group, x: e.SeatOffered) -> Group:
    return _member(g, x.enrollment, x.seat, "offered")


def _dropped(g: Group, x: e.MemberDropped) -> Group:
    return _member(g, x.enrollment, 0, "dropped")


def _done(g: Group, x: e.MemberDone) -> Group:
    return _member(g, x.enrollment, g.members[x.enrollment].seat, "done")


def _started(g: Group, x: e.GroupStarted) -> Group:
    return replace(g, state="started")


def _closed(g: Group, x: e.GroupClosed) -> Group:
    return replace(g, state="closed")


def _called_off(g: Group, x: e.GroupCalledOff) -> Group:
    return replace(g, state="called off")


FOLDS: Mapping[type, Callable[[Group, Any], Group]] = {
    e.GroupPlanned: _planned,
    e.GroupMoved: _moved,
    e.MemberJoined: _joined,
    e.MemberWaitlisted: _waitlisted,
    e.SeatOffered: _offered,
    e.MemberDropped: _dropped,
    e.MemberDone: _done,
    e.GroupStarted: _started,
    e.GroupClosed: _closed,
    e.GroupCalledOff: _called_off,
}


def _reserved(r: Rooms, x: e.RoomReserved) -> Rooms:
    return replace(r, groups={**r.groups, x.group: Slot(x.room, x.when, x.until)})


def _taken(r: Rooms, x: e.RoomTaken) -> Rooms:
    return replace(r, groups={**r.groups, x.group: replace(r.groups[x.group], taken=True)})


def _freed(r: Rooms, x: e.RoomFreed) -> Rooms:
    return replace(r, groups={id_: slot for id_, slot in r.groups.items() if id_ != x.group})


ROOM_FOLDS: Mapping[type, Callable[[Rooms, Any], Rooms]] = {
    e.RoomReserved: _reserved,
    e.RoomTaken: _taken,
    e.RoomFreed: _freed,
}


SEAT = "seat in "
"""What stands before the group in what an item is about that asks whether a seat is taken."""

# Acts about the whole group. Each writes to the group and to the rooms of its site, and answers
# the role that was acted in, or a Refusal with all reasons.


class Plan(Struct, frozen=True):
    """A group is planned: what its kind says, and when, where and at which site."""

    group: str
    kind: GroupKind
    program: str
    site: str
    when: datetime
    room: str = ""


def plan(act: Plan, by: Actor, group: Addition, rooms: Addition, at: datetime) -> Refusal | str:
    """Plan a group (request)."""
    kind, no = act.kind, _Reasons(f"plan {act.kind.name}")
    role = no.role(by, kind.by, "planning it")
    no.time_and_room(act.group, act.when, kind.lasts.seconds, act.room, kind.rooms, rooms, at)
    if no.reasons:
        return no.refusal
    group.emit(
        e.GroupPlanned(
            act.group,
            kind.name,
            kind.title,
            act.program,
            act.site,
            act.room,
            act.when,
            kind.lasts.seconds,
            kind.capacity,
            kind.minimum,
            tuple((ratio.role, ratio.one_per) for ratio in kind.staff),
            kind.by,
            kind.override_by,
            kind.rooms,
            by.person,
            at,
        )
    )
    _reserve(group.state, rooms, at)
    return role


def _reserve(group: Group, rooms: Addition, at: datetime) -> None:
    assert group.at is not None
    rooms.emit(e.RoomReserved(group.id, group.room, group.at, group.until, at))


def move(
    when: datetime | None,
    room: str | None,
    by: Actor,
    group: Addition,
    rooms: Addition,
    at: datetime,
) -> Refusal | str:
    """Give a planned group another time or room (request)."""
    g: Group = group.state
    no = _Reasons(f"move {g.id}")
    no.state(g, "planned")
    role = no.role(by, g.by, "moving it")
    if when is None and room is None:
        no.against("nothing-moved", "neither a time nor a room is named", "name one of them")
    to, place = when or g.at, g.room if room is None else room
    assert to is not None
    if not no.reasons:
        no.time_and_room(g.id, to, g.lasts, place, g.rooms, rooms, at, when is not None)
    if no.reasons:
        return no.refusal
    group.emit(e.GroupMoved(to, place, by.person, at))
    _reserve(group.state, rooms, at)
    return role


def call_off(
    reason: str, by: Actor, group: Addition, rooms: Addition, at: datetime
) -> Refusal | str:
    """A planned group will not take place (request); the members' own runs follow."""
    g: Group = group.state
    no = _Reasons(f"call off {g.id}")
    no.state(g, "planned")
    role = no.role(by, g.by, "calling it off")
    if not reason:
        no.against("reason-missing", "calling a group off needs a reason", "say why")
    if no.reasons:
        return no.refusal
    group.emit(e.GroupCalledOff(reason, by.person, at))
    rooms.emit(e.RoomFreed(g.id, at))
    return role


def start(
    present: Iterable[Actor],
    regardless: str,
    by: Actor,
    group: Addition,
    rooms: Addition,
    at: datetime,
) -> Refusal | str:
    """Start a group (request): each member's own session may start from now on.

    `present` are the persons who are there besides the actor; each counts once, in one role.
    `regardless` is the reason for starting below the minimum or short of staff.
    """
    g: Group = group.state
    no = _Reasons(f"start {g.id}")
    no.state(g, "planned")
    members = len(g.among("in"))
    there = _merged((by, *present))
    counted = assigned(there, _needed(g, members))
    short = _short(no, g, members, counted)
    allowed = g.by
    if short and regardless:
        if g.override_by:
            allowed, short = g.override_by, []
        else:
            no.against(
                "absolute-gate", "nobody may start this group below what it asks for", "call it off"
            )
    no.reasons.extend(short)
    if not members:
        no.against("below-minimum", "nobody has a seat", "let somebody join, or call it off")
    role = no.role(by, allowed, "starting it")
    if g.state == "planned":
        no.free(g.id, g.room, rooms.state)
    if no.reasons:
        return no.refusal
    group.emit(e.GroupStarted(tuple(counted.items()), members, by.person, at, regardless))
    rooms.emit(e.RoomTaken(g.id, at))
    return role


def _merged(present: Iterable[Actor]) -> dict[str, frozenset[str]]:
    """The persons who are there with all their roles: a person is there once."""
    there: dict[str, frozenset[str]] = {}
    for actor in present:
        there[actor.person] = there.get(actor.person, frozenset()) | actor.roles
    return there


def _needed(g: Group, members: int) -> list[str]:
    """The roles that must be there, each as often as it is needed."""
    return [role for role, one_per in g.staff for _ in range(-(-members // one_per))]


def assigned(there: Mapping[str, frozenset[str]], needed: list[str]) -> dict[str, str]:
    """Who counts as what, so that as many of the needed roles as possible are there.

    Nobody counts twice: a nurse who is a therapist too is one of them. (A maximum matching, by
    augmenting paths; the persons of a group are few.)
    """
    filled: list[str] = [""] * len(needed)

    def seated(person: str, tried: set[int]) -> bool:
        for count, role in enumerate(needed):
            if role in there[person] and count not in tried:
                tried.add(count)
                if not filled[count] or seated(filled[count], tried):
                    filled[count] = person
                    return True
        return False

    for person in there:
        seated(person, set())
    return {person: role for person, role in zip(filled, needed, strict=True) if person}


def _short(no: _Reasons, g: Group, members: int, counted: Mapping[str, str]) -> list[Reason]:
    """What is missing of members and staff: these are what may be overridden."""
    roles = ", ".join(g.override_by)
    ways = (f"start regardless, with a reason: {roles}",) if roles else ()
    short = []
    if 0 < members < g.minimum:
        says = f"{members} of at least {g.minimum} members have a seat"
        short.append(Reason("below-minimum", says, unblock=("call it off", *ways)))
    needed = _needed(g, members)
    for role, one_per in g.staff:
        there, wanted = list(counted.values()).count(role), needed.count(role)
        if there < wanted:
            says = f"{there} {role} for {members} members; one is needed for every {one_per}"
            short.append(Reason("staff-short", says, unblock=(f"call: {role}", *ways)))
    return short


class _Reasons:
    """The reasons against an act about a group, in order."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.reasons: list[Reason] = []

    @property
    def refusal(self) -> Refusal:
        return Refusal(self.words, tuple(self.reasons))

    def against(self, code: str, says: str, *unblock: str) -> None:
        self.reasons.append(Reason(code, says, unblock=unblock))

    def state(self, g: Group, wanted: GroupState) -> None:
        if g.state != wanted:
            self.against("group-state", f"{g.id} is {g.state}", "plan another group")

    def role(self, by: Actor, allowed: tuple[str, ...], what: str) -> str:
        for role in allowed:
            if role in by.roles:
                return role
        roles = ", ".join(allowed)
        self.against("wrong-role", f"{what} is for: {roles}", f"ask one of: {roles}")
        return ""

    def time_and_room(
        self,
        id_: str,
        when: datetime,
        lasts: int,
        room: str,
        allowed: tuple[str, ...],
        rooms: Addition,
        at: datetime,
        new_time: bool = True,
    ) -> None:
        if when.tzinfo is None:
            self.against("naive-instant", "the time of the group has no zone", "give its offset")
            return
        if new_time and when < at:
            self.against("past", "the time of the group is in the past", "choose a later time")
        if allowed and room not in allowed:
            says = f'it is not held in the room "{room}"' if room else "no room is named"
            self.against("unknown-room", says, f"rooms: {', '.join(allowed)}")
        self.free(id_, room, rooms.state, (when, _later(when, lasts)))

    def free(
        self, id_: str, room: str, rooms: Rooms, during: tuple[datetime, datetime] | None = None
    ) -> None:
        """No other group may be planned in the room during a time; None: or be in it now."""
        for other, slot in rooms.groups.items():
            if other == id_ or not room or slot.room != room:
                continue
            if slot.taken if during is None else (during[0] < slot.until and slot.at < during[1]):
                span = f"{slot.at:%Y-%m-%d %H:%M} to {slot.until:%H:%M} UTC"
                says = f"{room} is taken by {other}, planned {span}"
                self.against("room-taken", says, "move one of them: another room or time")


# A member's own run. It holds its member's enrollment, and never reads another's.


def take_seat(run: Run, group: Addition) -> int:
    """The seat of the run's patient from now on, or 0 on the waitlist."""
    g: Group = group.state
    own = g.members.get(run.s.id)
    seat = own.seat if own is not None and own.state == "offered" else g.free
    if seat:
        group.emit(e.MemberJoined(run.s.id, seat, run.now))
    else:
        group.emit(e.MemberWaitlisted(run.s.id, run.now))
    return seat


def leave(run: Run, id_: str, held: bool) -> None:
    """The run's patient is through with a group: it was `held`, or they dropped out of it.

    The seat is offered to whoever waits longest. The last one closes a group that has started.
    """
    run.emit(e.GroupLeft(id_, run.now, held))
    answered(run, id_, "cancelled")
    group = run.stream("group", id_)
    group.emit((e.MemberDone if held else e.MemberDropped)(run.s.id, run.now))
    g: Group = group.state
    if g.state == "planned":
        waiting = g.among("waiting")
        if waiting and g.free:
            group.emit(e.SeatOffered(waiting[0], g.free, run.now))
            run.emit(e.SeatGivenUp(f"{run.s.version}@{run.s.id}", id_, run.now))
    elif g.state == "started" and not g.among("in"):
        group.emit(e.GroupClosed(run.now))
        run.stream("rooms", g.site).emit(e.RoomFreed(id_, run.now))


def answered(run: Run, id_: str, outcome: Literal["done", "cancelled"]) -> None:
    """The patient has taken the seat that was kept for them, or will not."""
    for item in [x for x in run.s.items.values() if x.about == f"{SEAT}{id_}"]:
        run.settle_item(item, outcome, run.now)


def over(run: Run, about: str, held: bool) -> None:
    """A session, or the item of a step, is over: so is the group it was part of."""
    for id_, place in run.s.groups.items():
        if place.about == about:
            leave(run, id_, held)


def judge_start(j: Judge, kind: SessionKind, session: Session | None) -> None:
    """A session that is held in a group starts only once its group has started (request)."""
    for id_, place in j.s.groups.items():
        if session is not None and place.about == session.id:
            g: Group = j.run.stream("group", id_).state
            if g.state != "started":
                j.against("group-not-started", f"{id_} is {g.state}", f"start the group {id_}")
            return
    says = f"{kind.name} is held in a group, and the patient is in none"
    j.against("group-not-started", says, f"join a group {kind.group} that is planned")
