"""Groups: planned, filled, moved and started; one command becomes one for each member."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from kat_workflow.engine.commands import Commands
from kat_workflow.engine.receiving import hashed, new_id, received, refuse
from kat_workflow.engine.views import MemberOutcome, Outcome
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import groups as g
from kat_workflow.enrollment.around import Addition
from kat_workflow.enrollment.commands import Act, Actor
from kat_workflow.errors import Conflict, JournalError, Refusal, Refused


class Groups(Commands):
    """Commands to groups and to whoever is in them."""

    def plan_group(
        self,
        program: str,
        kind: str,
        when: datetime,
        *,
        by: Actor,
        room: str = "",
        site: str = "main",
        command_id: str | None = None,
    ) -> str:
        """Plan a group of a kind that a program names; returns the group's id.

        The id derives from the command's id, so that a retry finds the same group. Raises
        Refused, and ProgramError where the program's files are at fault.
        """
        id_ = command_id or new_id()
        group = "g-" + hashed(id_.encode(errors="backslashreplace"))[:20]
        definition = self.program(program)
        full = definition.find("groups", kind)
        if full is None:
            ways = f"kinds: {', '.join(definition.groups) or 'none'}"
            says = f'{definition.id} has no kind of group "{kind}"'
            raise refuse(f"plan {kind}", "unknown-group", says, ways)
        self._site(site, f"plan {kind}")
        its = definition.groups[full]
        act = g.Plan(group, its, definition.id, site, when, room)

        def judge(own: Addition, rooms: Addition, at: datetime) -> Refusal | str:
            return g.plan(act, self._held_now(by, at, site), own, rooms, at)

        said = ("plan", definition.id, full, when, room, site)
        self._add_to_group(group, site, judge, by, id_, said)
        return group

    def join_group(
        self,
        group: str,
        enrollment: str,
        *,
        by: Actor,
        item: str = "",
        command_id: str | None = None,
    ) -> Outcome:
        """Give a patient a seat in a group, or a place on its waitlist: the events tell which."""
        return self.handle(enrollment, c.Join(group, item), by=by, command_id=command_id)

    def drop_out(
        self, group: str, enrollment: str, reason: str, *, by: Actor, command_id: str | None = None
    ) -> Outcome:
        """A patient will not take part, also on the day: their session in it is cancelled, and
        the seat is offered to whoever waits longest."""
        return self.handle(enrollment, c.Drop(group, reason), by=by, command_id=command_id)

    def move_group(
        self,
        group: str,
        *,
        by: Actor,
        when: datetime | None = None,
        room: str | None = None,
        command_id: str | None = None,
    ) -> tuple[MemberOutcome, ...]:
        """Give a planned group another time or room, and each member's session with it.

        What stopped halfway goes on when it is sent again with the same id.
        """
        id_, site = command_id or new_id(), self._group(group).site

        def judge(own: Addition, rooms: Addition, at: datetime) -> Refusal | str:
            return g.move(when, room, self._held_now(by, at, site), own, rooms, at)

        self._add_to_group(group, site, judge, by, id_, ("move", when, room))
        return self._fan_out(group, self._rebooking(group), by, id_, ("in",))

    def call_off(
        self, group: str, reason: str, *, by: Actor, command_id: str | None = None
    ) -> tuple[MemberOutcome, ...]:
        """A planned group will not take place: every member drops out of it, each in a record of
        their own, which does not quote the reason. What stopped halfway goes on when sent again.
        """
        id_, site = command_id or new_id(), self._group(group).site

        def judge(own: Addition, rooms: Addition, at: datetime) -> Refusal | str:
            return g.call_off(reason, self._held_now(by, at, site), own, rooms, at)

        self._add_to_group(group, site, judge, by, id_, ("call off", reason))
        act = c.Drop(group, "group called off")
        return self._fan_out(group, lambda _: act, by, id_, ("in", "offered", "waiting"))

    def start_group(
        self,
        group: str,
        *,
        by: Actor,
        present: Iterable[Actor] = (),
        regardless: str = "",
        command_id: str | None = None,
    ) -> None:
        """Start a group: from now on each member's own session may start.

        `present` are the persons who are there besides the actor. `regardless` is the reason for
        starting below the minimum or short of staff, where the program lets somebody. Whoever
        still waits for a seat waits no longer. Raises Refused with all reasons.
        """
        there, site = tuple(present), self._group(group).site

        def judge(own: Addition, rooms: Addition, at: datetime) -> Refusal | str:
            who, *others = (self._held_now(each, at, site) for each in (by, *there))
            return g.start(others, regardless, who, own, rooms, at)

        id_ = command_id or new_id()
        said = ("start", [(each.person, sorted(each.roles)) for each in there], regardless)
        self._add_to_group(group, site, judge, by, id_, said)
        act = c.Drop(group, "no seat became free")
        self._fan_out(group, lambda _: act, by, id_, ("offered", "waiting"))

    def group_do(
        self,
        group: str,
        phrase: str,
        *,
        by: Actor,
        given: Mapping[str, Any] | None = None,
        signed: bool = False,
        occurred: datetime | None = None,
        role: str = "",
        command_id: str | None = None,
    ) -> tuple[MemberOutcome, ...]:
        """Carry out a phrase for each member by seat, as a command of their own.

        Each is judged by that member's own record, and one refusal never stops the others. The
        members' command ids derive from this one's: what stopped halfway goes on when it is sent
        again with the same id.
        """
        act = self._parse(phrase, given, signed)
        id_ = command_id or new_id()
        return self._fan_out(group, lambda _: act, by, id_, ("in",), occurred, role)

    def group(self, group: str, *, by: Actor | None = None, why: str = "") -> g.Group:
        """A group as it stands. Raises Refused where there is none of that id.

        `by` is who is shown its members, and `why`, for the access log.
        """
        found = self._group(group)
        self._looked("group", by, why, self._members(found), site=found.site)
        return found

    def _group(self, group: str) -> g.Group:
        found: g.Group = self._beside("group", group)
        if not found.state:
            raise refuse("read", "unknown-group", f'no group "{group}"', "check the id")
        return found

    def groups(
        self, site: str = "main", *, by: Actor | None = None, why: str = ""
    ) -> tuple[g.Group, ...]:
        """The groups at a site that are planned or have started, by when they meet.

        `by` is who is shown them, and `why`, for the access log.
        """
        rooms: g.Rooms = self._beside("rooms", self._site(site, "groups").name)
        by_time = sorted(rooms.groups.items(), key=lambda each: (each[1].at, each[0]))
        found = tuple(self._group(id_) for id_, _ in by_time)
        members = (patient for each in found for patient in self._members(each))
        self._looked("groups", by, why, members, site=site)
        return found

    def _members(self, group: g.Group) -> Iterator[str]:
        """The patients of a group."""
        return (self._read(enrollment)[1].patient for enrollment in group.members)

    def _held_now(self, actor: Actor, at: datetime, site: str) -> Actor:
        """The actor with the roles that they hold at a site now, in cover or themselves."""
        from kat_workflow.enrollment.people import roles_held  # noqa: PLC0415  # on first use

        covers = self._beside("roster", site).covers.values()
        covered = {
            each.role
            for each in covers
            if each.person == actor.person and each.since <= at < each.until
        }
        return Actor(actor.person, roles_held(actor, at, site, "") | covered)

    def _add_to_group(
        self,
        group: str,
        site: str,
        judge: Callable[[Addition, Addition, datetime], Refusal | str],
        by: Actor,
        command_id: str | None,
        said: object,
    ) -> None:
        """Write to a group and to the rooms of its site; the judge answers the role acted in."""

        def both(added: tuple[Addition, ...], at: datetime) -> Refusal | str:
            own, rooms = added
            return judge(own, rooms, at)

        self._add_all((("group", group), ("rooms", site)), both, by, command_id, said)

    def _rebooking(self, group: str) -> Callable[[str], Act | None]:
        """What gives a member's session the time of its group; nothing for a mere step."""

        def act(enrollment: str) -> Act | None:
            _, state = self._read(enrollment)
            place = state.groups.get(group)
            session = None if place is None else state.sessions.get(place.about)
            return None if session is None else c.Book(session.kind)

        return act

    def _fan_out(
        self,
        group: str,
        act_of: Callable[[str], Act | None],
        by: Actor,
        command_id: str,
        whom: tuple[g.MemberState, ...],
        occurred: datetime | None = None,
        role: str = "",
    ) -> tuple[MemberOutcome, ...]:
        """One command for each member, with an id of its own that derives from the group's.

        What the store could not write for one is raised only after all others had their turn.
        """
        found, failed = [], None
        for enrollment in self._group(group).among("in", "offered"):
            with suppress(Refused, Conflict, JournalError):  # then it is told below, or refused
                self.run_due_in(enrollment)  # who has not come by now is in it no more (R2)
        state = self._group(group)
        for enrollment, member in sorted(state.members.items(), key=lambda each: each[1].seat):
            own = f"{command_id}/{enrollment}"
            try:
                act = act_of(enrollment)
                if act is None:
                    continue
                if member.state in whom:
                    outcome = self.handle(
                        enrollment, act, by=by, occurred=occurred, role=role, command_id=own
                    )
                else:  # through with it: by this very command, sent before, or without it
                    _, digest = received(enrollment, act, by, own, occurred, role, "")
                    receipt = self.journal.receipt(own, digest)
                    if receipt is None:
                        continue
                    outcome = self._again(enrollment, receipt)
                found.append(MemberOutcome(enrollment, member.seat, outcome))
            except Refused as refused:
                found.append(MemberOutcome(enrollment, member.seat, None, refused.refusal))
            except (Conflict, JournalError) as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return tuple(found)
