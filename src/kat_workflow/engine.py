"""The engine: what a clinic system imports. Read → decide → commit, and nothing clinical.

The engine stamps commands with an id and an instant, runs the timers that are due first (R2),
asks `decide`, and commits entries and rows of all streams touched in one transaction. When
somebody else was faster it reads again and decides anew. Everything it answers is a plain value.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import cupboard as stock
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import groups as g
from kat_workflow.enrollment import patients
from kat_workflow.enrollment.around import (
    EMPTY,
    FOLDS,
    Addition,
    Around,
    Beside,
    Past,
    Unread,
)
from kat_workflow.enrollment.booking import Slot, next_slot
from kat_workflow.enrollment.commands import Act, Actor, Command
from kat_workflow.enrollment.cupboard import Cupboard
from kat_workflow.enrollment.decide import Behind, Decision, catch_up, decide, elapse
from kat_workflow.enrollment.escalating import TOLD, Notification, notification
from kat_workflow.enrollment.moving import undecided
from kat_workflow.enrollment.opening import coming
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.enrollment.reading import clauses_for_reader, for_reader, refusal_for_reader
from kat_workflow.enrollment.register import SIGNER, Register, retire, sign_off
from kat_workflow.enrollment.roster import Roster, grant, revoke
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.signing import Signature, signatures
from kat_workflow.enrollment.state import (
    NOBODY,
    Enrollment,
    OrderState,
    Session,
    decode_row,
    encode_row,
    replay,
)
from kat_workflow.enrollment.timers import Timer
from kat_workflow.enrollment.worklist import (
    Timeliness,
    by_urgency,
    changed,
    timeliness,
    title,
    where,
    who,
)
from kat_workflow.errors import Clause, Conflict, JournalError, Reason, Refusal, Refused
from kat_workflow.journal import (
    Append,
    CensusRow,
    Cursor,
    Entry,
    ItemRow,
    Journal,
    Receipt,
    open_journal,
)
from kat_workflow.program import PATIENT
from kat_workflow.program.clock import Site, program_day

if TYPE_CHECKING:
    import sqlite3

    from kat_workflow.enrollment.correcting import Record
    from kat_workflow.enrollment.foresight import Foresight
    from kat_workflow.language.library import Library
    from kat_workflow.program.model import Program

__all__ = [
    "Attested",
    "Course",
    "Engine",
    "Happened",
    "MemberOutcome",
    "OpenItem",
    "Outbox",
    "Outcome",
    "Page",
    "PatientView",
    "Resident",
    "Shift",
    "Status",
    "Suggestion",
    "Waiting",
]

Authenticate = Callable[[Actor, Act], bool]
"""A host's question to the person at the keyboard, before they sign: are you who you were?"""

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
_ATTEMPTS = 50
_REMEMBERED = 1024
_OUTBOX = 1000  # how many entries are read at once in search of notifications
_IN_TREATMENT = ("applied", "active")
_log = logging.getLogger("kat_workflow")


class Happened(Struct, frozen=True):
    """One entry of the journal with its event: what a host follows.

    `stream` is what it is about (`patient:…`, `site:…`); `enrollment` is "" where that is no
    enrollment.
    """

    position: int
    enrollment: str
    version: int
    recorded: datetime
    cause: str
    person: str
    role: str
    event: e.Event
    stream: str = ""


class Outcome(Struct, frozen=True):
    """What a command did. `again`: the same command was carried out before; nothing is new."""

    enrollment: str
    events: tuple[e.Event, ...]
    again: bool = False


class MemberOutcome(Struct, frozen=True):
    """What a group command did for one member: an outcome, or why it was refused."""

    enrollment: str
    seat: int
    outcome: Outcome | None = None
    refusal: Refusal | None = None


class OpenItem(Struct, frozen=True):
    """An open work item with its urgency at the instant it was asked for. `assigned` is the
    person whose it is, if anybody's, and `handed_by` who handed it to them."""

    enrollment: str
    patient: str
    item: str
    step: str
    title: str
    roles: tuple[str, ...]
    opens: datetime
    due: datetime | None
    timeliness: Timeliness
    program: str
    phase: str = ""
    assigned: str = ""
    handed_by: str = ""


class Shift(Struct, frozen=True):
    """The list of a shift, by when things are due: `items` are open and due before its end, also
    what was left over from before its start; `coming` are further openings planned within it,
    if the pace stays as it is."""

    start: datetime
    end: datetime
    items: tuple[OpenItem, ...]
    coming: tuple[OpenItem, ...]


class Page(Struct, frozen=True):
    """A page of a worklist; `next` is the cursor of the following one, None after the last."""

    items: tuple[OpenItem, ...]
    next: Cursor | None = None


class Resident(Struct, frozen=True):
    """A patient of the census: where they are and on which program day."""

    enrollment: str
    patient: str
    program: str
    standing: str
    phases: tuple[str, ...]
    day: int | None
    holds: tuple[str, ...] = ()


class Waiting(Struct, frozen=True):
    """A finished phase that does not move on: the row that is not decided, clause by clause."""

    phase: str
    to: str
    clauses: tuple[Clause, ...]


class Outbox(Struct, frozen=True):
    """Notifications to send, and the position to ask on from once they are sent."""

    notifications: tuple[Notification, ...]
    next: int


class Status(Struct, frozen=True):
    """Where one patient stands at an instant."""

    enrollment: str
    patient: str
    program: str
    version: str
    standing: str
    phases: tuple[str, ...]
    day: int | None
    items: tuple[OpenItem, ...]
    sessions: tuple[Session, ...]
    holds: tuple[str, ...]
    end: str
    waiting: tuple[Waiting, ...]
    next_wake: datetime | None
    orders: dict[str, OrderState] = {}


class Course(Struct, frozen=True):
    """One enrollment of a patient and how it ended; `patient` is the id it was made under."""

    enrollment: str
    patient: str
    program: str
    site: str
    began: datetime
    end: str
    ended: datetime | None


class PatientView(Struct, frozen=True):
    """A patient across programs: `merged` are other ids of the same patient, `sessions` those
    that are not over, `holds` those that stand in every enrollment."""

    patient: str
    merged: tuple[str, ...]
    courses: tuple[Course, ...]
    sessions: tuple[e.Dosing, ...]
    holds: tuple[e.PatientHold, ...]
    offered: tuple[e.Offered, ...]


class Suggestion(Struct, frozen=True):
    """An evaluation that was handed over and would answer an open item, if somebody confirms it
    (`adopt STEP`). `evaluation` is `ENROLLMENT/OBSERVATION`."""

    item: str
    step: str
    evaluation: str
    program: str
    occurred: datetime
    values: Mapping[str, Any]


class Attested(Struct, frozen=True):
    """What a step's form says was found out elsewhere, when, and where it stands."""

    step: str
    values: Mapping[str, Any]
    occurred: datetime
    source: str
    signed: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


class Engine:
    """A clinic: one journal, the programs that run in it, a clock and the sites.

    Safe to use from several threads and, on SQLite, from several processes. Open it with
    `Engine.open`; close it, or use it in a `with` statement.
    """

    def __init__(
        self,
        journal: Journal,
        library: Library,
        clock: Callable[[], datetime] = _now,
        sites: Iterable[Site] = (Site(),),
        signed_only: bool = False,
        authenticate: Authenticate | None = None,
    ) -> None:
        self.journal = journal
        self._signed_only = signed_only
        self._authenticate = authenticate
        self._library = library
        self._clock = clock
        self._sites = {site.name: site for site in sites}
        self._named: dict[str, Program] = {}
        self._by_digest: dict[str, Program] = {}
        self._kept: set[str] = set()
        self._states: OrderedDict[str, tuple[Program, Enrollment]] = OrderedDict()
        self._listeners: list[Callable[[Happened], None]] = []
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        where: str | os.PathLike[str] | None = None,
        *,
        programs: str | os.PathLike[str] | None = None,
        clock: Callable[[], datetime] = _now,
        sites: Iterable[Site] = (Site(),),
        connection: sqlite3.Connection | None = None,
        signed_only: bool = False,
        authenticate: Authenticate | None = None,
    ) -> Engine:
        """A clinic in the SQLite file `where` (None: in memory), made if it is not there.

        `programs` is a folder of program files; what is not found in it, and everything when it
        is None, comes from the programs that ship. `connection` is a host's own SQLite
        connection instead of a file: commands then join its open transaction, and commit with it.
        With `signed_only`, as in production, nobody is enrolled in a program that is not signed
        off (`sign_off`).

        `authenticate` is asked before every act that signs (a signature of any kind, a release,
        an override), with the actor and the act. Where it answers False or raises, the act is
        refused as `not-authenticated`.
        """
        from kat_workflow.language import Folder, shipped  # noqa: PLC0415  # loaded on first use

        journal: Journal
        if connection is not None:
            from kat_workflow.journal.sqlite import SqliteJournal  # noqa: PLC0415

            journal = SqliteJournal(connection=connection)
        else:
            journal = open_journal(where)
        library = shipped() if programs is None else Folder(os.fspath(programs), shipped())
        return cls(journal, library, clock, sites, signed_only, authenticate)

    def close(self) -> None:
        """Give back the journal; a second time does nothing."""
        self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- commands ---------------------------------------------------------------------------

    def enroll(
        self,
        program: str,
        *,
        patient: str,
        by: Actor,
        site: str = "main",
        command_id: str | None = None,
    ) -> str:
        """Begin a program for a patient; returns the enrollment's id.

        The id derives from the command's id, so that a retry finds the same enrollment. Raises
        Refused, and ProgramError where the program's files are at fault.
        """
        id_ = command_id or _new_id()
        enrollment = "e-" + _hash(id_.encode(errors="backslashreplace"))[:20]
        act = _sound(c.Enroll(enrollment, patient, site), by, id_, "")
        digest = _digest(enrollment, act, by, None, program)
        if command_id is not None and self.journal.receipt(id_, digest) is not None:
            return enrollment  # a retry needs none of the files, which may be gone by now
        definition = self.program(program)
        self._site(site, "enroll")
        self._keep(definition, enrollment)
        self._carry_out(enrollment, act, by, id_, digest, None, "", definition)
        return enrollment

    def record(
        self,
        enrollment: str,
        step: str,
        values: Mapping[str, Any],
        *,
        by: Actor,
        signed: bool = False,
        occurred: datetime | None = None,
        role: str = "",
        command_id: str | None = None,
        emergency: str = "",
    ) -> Outcome:
        """Say what an open step's form holds. Raises Refused, which explains itself."""
        act = c.Record(step, dict(values), signed)
        return self.handle(
            enrollment,
            act,
            by=by,
            occurred=occurred,
            role=role,
            command_id=command_id,
            emergency=emergency,
        )

    def do(
        self,
        enrollment: str,
        phrase: str,
        *,
        by: Actor,
        given: Mapping[str, Any] | None = None,
        signed: bool = False,
        occurred: datetime | None = None,
        role: str = "",
        command_id: str | None = None,
        emergency: str = "",
    ) -> Outcome:
        """Carry out a phrase such as `start nad_infusion`; `given` holds values and details.

        `emergency` is a reason to break the glass (see `Command`).
        """
        act = self._parse(phrase, given, signed)
        return self.handle(
            enrollment,
            act,
            by=by,
            occurred=occurred,
            role=role,
            command_id=command_id,
            emergency=emergency,
        )

    def handle(
        self,
        enrollment: str,
        act: Act,
        *,
        by: Actor,
        occurred: datetime | None = None,
        role: str = "",
        command_id: str | None = None,
        emergency: str = "",
    ) -> Outcome:
        """Carry out an act; all other commands come through here."""
        id_ = command_id or _new_id()
        act, digest = _received(enrollment, act, by, id_, occurred, role, emergency)
        if self._authenticate is not None and _signs(act) and not self._is_known(by, act):
            before = None if command_id is None else self.journal.receipt(id_, digest)
            if before is not None:  # a retry of what was carried out asks for nothing new
                return self._again(enrollment, before)
            says, way = "whoever signs must show who they are", "authenticate again"
            raise _refused(c.words(act), "not-authenticated", says, way)
        act = self._looked_up(enrollment, act)
        outcome = self._carry_out(enrollment, act, by, id_, digest, occurred, role, None, emergency)
        if isinstance(act, c.Hold | c.Lift):
            self._pass_on(enrollment, by, id_, digest)
        return outcome

    def _is_known(self, by: Actor, act: Act) -> bool:
        assert self._authenticate is not None
        try:
            return self._authenticate(by, act)
        except Exception as error:  # a host's check that fails has not shown who it is
            _log.warning("authentication failed: %s", type(error).__name__)
            return False

    def hand_over(
        self, to: str, *, by: Actor, site: str | None = None, command_id: str | None = None
    ) -> int:
        """Hand everything that the actor has taken on (at a site) to another person; how many
        items. Each enrollment is a command of its own: half done, it is simply said again."""
        from kat_workflow.enrollment.people import ALL  # noqa: PLC0415  # on first use

        id_ = command_id or _new_id()
        rows, after = self.journal.worklist(site=site, assigned=by.person)
        while after is not None:
            more, after = self.journal.worklist(site=site, assigned=by.person, after=after)
            rows += more
        handed = 0
        for stream in dict.fromkeys(row.stream for row in rows):
            enrollment = stream.partition(":")[2]
            act = c.HandOver(ALL, to)
            try:
                done = self.handle(enrollment, act, by=by, command_id=f"{id_}/{enrollment}")
            except Refused as refused:
                if refused.code != "not-assigned":  # else it was done or given away meanwhile
                    raise
            else:
                handed += sum(isinstance(event, e.ItemAssigned) for event in done.events)
        return handed

    # ---- the roster -------------------------------------------------------------------------

    def grant_cover(
        self,
        person: str,
        role: str,
        *,
        by: Actor,
        until: datetime,
        reason: str,
        since: datetime | None = None,
        acting_for: str = "",
        site: str = "main",
        command_id: str | None = None,
    ) -> str:
        """A person holds a role at a site for a while, also for somebody; the cover's id.

        Whoever grants it holds the role themselves, there and now. That the person is competent
        is the clinic's word. Raises Refused.
        """
        id_ = command_id or _new_id()
        cover = "cover-" + _hash(id_.encode(errors="backslashreplace"))[:12]
        if until.tzinfo is None or (since is not None and since.tzinfo is None):
            says = "a time of the cover has no zone"
            raise _refused("grant cover", "naive-instant", says, "give its offset")

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            granted = e.CoverGranted(
                cover, person, role, since or at, until, by.person, reason, at, acting_for
            )
            return grant(addition, granted, _holds(by, at, site))

        said = (person, role, since, until, reason, acting_for)
        self._add("roster", self._site(site, "grant cover").name, judge, by, role, id_, said)
        return cover

    def revoke_cover(
        self,
        cover: str,
        *,
        by: Actor,
        reason: str = "",
        site: str = "main",
        command_id: str | None = None,
    ) -> None:
        """End a cover before its time: whoever covers, has granted it or holds the role may."""

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            revoked = e.CoverRevoked(cover, by.person, at, reason)
            return revoke(addition, revoked, _holds(by, at, site))

        place = self._site(site, "revoke cover").name
        self._add("roster", place, judge, by, "", command_id, (cover, reason))

    def roster(self, site: str = "main") -> Roster:
        """Who covers which role at a site, and until when."""
        found: Roster = self._beside("roster", self._site(site, "roster").name)
        return found

    def why(
        self,
        enrollment: str,
        phrase: str,
        *,
        by: Actor,
        given: Mapping[str, Any] | None = None,
        signed: bool = False,
        role: str = "",
        emergency: str = "",
    ) -> Refusal | None:
        """What stands in the way of a phrase, and what would clear it; None: nothing does.

        It is `decide` itself, with timers that are due run in memory only.
        """
        act = self._looked_up(enrollment, self._parse(phrase, given, signed))
        program, state = self._read(enrollment)
        now = self._instant()
        around = self._around(state, act)
        around, (ran, state) = self._ask(catch_up, program, state, around, now)
        command = Command("why", act, by, now, None, role, emergency)
        ahead = [Past(done.enrollment.last or now, x) for _, done in ran for x in done.events]
        _, answer = self._ask(decide, program, state, around, command, ahead)
        return refusal_for_reader(program, by, answer) if isinstance(answer, Refusal) else None

    def run_due(self, limit: int = 1000) -> int:
        """Run the timers that are due in up to `limit` enrollments; returns how many ran.

        Nothing depends on when, or whether, this is called: every command catches up first.
        """
        ran = 0
        for stream, _ in self.journal.due(self._instant(), limit):
            try:
                ran += self._run_due_of(stream.partition(":")[2])
            except (JournalError, Refused) as error:
                # One record that cannot be read, or of a site that is another engine's, must
                # not hold up the timers of all others.
                _log.error("the timers of %s were not run: %s", stream, error)
        return ran

    def _run_due_of(self, enrollment: str) -> int:
        ran = 0
        while True:
            program, state = self._read(enrollment)
            if state.wake is None or state.wake > self._instant():
                return ran
            _, (done, _) = self._ask(catch_up, program, state, self._around(state), state.wake)
            with suppress(Conflict):  # whoever was faster has run it
                self._commit_timer(program, state, *done[0])
                ran += 1

    # ---- groups -----------------------------------------------------------------------------

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
        id_ = command_id or _new_id()
        group = "g-" + _hash(id_.encode(errors="backslashreplace"))[:20]
        definition = self.program(program)
        full = definition.find("groups", kind)
        if full is None:
            ways = f"kinds: {', '.join(definition.groups) or 'none'}"
            says = f'{definition.id} has no kind of group "{kind}"'
            raise _refused(f"plan {kind}", "unknown-group", says, ways)
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
        id_, site = command_id or _new_id(), self.group(group).site

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
        id_, site = command_id or _new_id(), self.group(group).site

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
        there, site = tuple(present), self.group(group).site

        def judge(own: Addition, rooms: Addition, at: datetime) -> Refusal | str:
            who, *others = (self._held_now(each, at, site) for each in (by, *there))
            return g.start(others, regardless, who, own, rooms, at)

        id_ = command_id or _new_id()
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
        id_ = command_id or _new_id()
        return self._fan_out(group, lambda _: act, by, id_, ("in",), occurred, role)

    def group(self, group: str) -> g.Group:
        """A group as it stands. Raises Refused where there is none of that id."""
        found: g.Group = self._beside("group", group)
        if not found.state:
            raise _refused("read", "unknown-group", f'no group "{group}"', "check the id")
        return found

    def groups(self, site: str = "main") -> tuple[g.Group, ...]:
        """The groups at a site that are planned or have started, by when they meet."""
        rooms: g.Rooms = self._beside("rooms", self._site(site, "groups").name)
        by_time = sorted(rooms.groups.items(), key=lambda each: (each[1].at, each[0]))
        return tuple(self.group(id_) for id_, _ in by_time)

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
        state = self.group(group)
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
                    _, digest = _received(enrollment, act, by, own, occurred, role, "")
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

    # ---- questions --------------------------------------------------------------------------

    def status(
        self,
        enrollment: str,
        *,
        by: Actor | None = None,
        known_at: datetime | None = None,
        true_at: datetime | None = None,
    ) -> Status:
        """Where a patient stands now, timers that are due run in memory only.

        `by` is the reader: what the program lets them not read (`read_by`) is withheld. Without a
        reader it is the host itself who asks, and everything is shown. `known_at`: where the
        record said that they stood at an instant of the past; `true_at`: the same with the
        readings as they were in truth (see `as_true_at`).
        """
        program, state = self._read(enrollment)
        around, now = self._around(state), self._instant()
        reader = None if by is None else _reader(by, state, around.site, now)
        if known_at is not None:
            now, state = known_at, self.as_known_at(enrollment, known_at)
        elif true_at is not None:
            now, state = true_at, self.as_true_at(enrollment, true_at)
        around, (_, state) = self._ask(catch_up, program, state, around, now)
        day = None if state.admitted is None else program_day(state.admitted, now, around.site)
        return Status(
            enrollment,
            state.patient,
            state.program,
            state.program_version,
            state.standing,
            where(program, state),
            day,
            tuple(
                OpenItem(
                    enrollment,
                    state.patient,
                    item.id,
                    item.step,
                    title(program, item),
                    who(program, item),
                    item.opens,
                    item.due,
                    timeliness(item, now),
                    state.program,
                    item.place,
                    item.assigned,
                    item.handed_by,
                )
                for item in by_urgency(state.items.values())
            ),
            tuple(state.sessions.values()),
            tuple(state.holds),
            state.end,
            _waiting(program, state, around, now, reader),
            state.wake,
            {name: each for name, each in state.orders.items() if each.stands(now)},
        )

    def enrollment(self, enrollment: str) -> Enrollment:
        """The folded state of an enrollment as committed."""
        return self._read(enrollment)[1]

    def as_known_at(self, enrollment: str, at: datetime) -> Enrollment:
        """The state as the journal knew it at an instant: by the entries recorded until then."""
        self._read(enrollment)
        from kat_workflow.enrollment.correcting import as_known  # noqa: PLC0415  # seldom asked

        return as_known(self._history(enrollment), _zoned(at))

    def as_true_at(self, enrollment: str, at: datetime) -> Enrollment:
        """The state at an instant with its readings as they were in truth, by all that is known
        now: later corrections and late entries are there, what was retracted is not.

        Where the patient was and what was open is as it was: what was done was done.
        """
        self._read(enrollment)
        from kat_workflow.enrollment.correcting import as_true  # noqa: PLC0415  # seldom asked

        return as_true(self._history(enrollment), _zoned(at))

    def records(self, enrollment: str) -> tuple[Record, ...]:
        """Every recording with its corrections: the original first and legible, each version with
        who, when and why, and the retraction if it was entered in error."""
        self._read(enrollment)
        from kat_workflow.enrollment.correcting import records  # noqa: PLC0415  # seldom asked

        return records(past.event for past in self._history(enrollment))

    def worklist(
        self,
        role: str | None = None,
        site: str | None = None,
        *,
        enrollment: str | None = None,
        patient: str | None = None,
        person: str | None = None,
        limit: int = 50,
        after: Cursor | None = None,
    ) -> Page:
        """Open items by when they are due; give `Page.next` as `after` for the next page.

        `person` asks for what somebody has taken on, "" for what is nobody's in particular.
        """
        stream = None if enrollment is None else _stream(enrollment)
        rows, cursor = self.journal.worklist(
            role=role,
            site=site,
            stream=stream,
            patient=patient,
            assigned=person,
            limit=limit,
            after=after,
        )
        now = self._instant()
        return Page(tuple(_open_item(row, now) for row in rows), cursor)

    def shift(
        self,
        role: str | None = None,
        site: str = "main",
        *,
        start: datetime,
        end: datetime,
        person: str | None = None,
    ) -> Shift:
        """What a shift has to do: what is open and due before its end, and what will open in it.

        Items say whose they are and who handed them over. Raises Refused for a site that the
        engine was opened without.
        """
        place = self._site(site, "shift")
        now = self._instant()
        rows: list[ItemRow] = []
        after: Cursor | None = None
        while True:
            page, after = self.journal.worklist(role=role, site=site, assigned=person, after=after)
            rows += [row for row in page if row.sort < end]
            if after is None or page[-1].sort >= end:
                break
        planned: list[OpenItem] = []
        runs: dict[str, Run] = {}
        for row in rows:
            if row.stream not in runs:
                program, state = self._read(row.stream.partition(":")[2])
                runs[row.stream] = Run(program, state, _around_site(place), now)
            run = runs[row.stream]
            item = run.s.items.get(row.item)  # None: it was settled meanwhile
            for at in () if item is None else coming(run, item, end):
                if at >= start:
                    due = None if row.due is None else at + (row.due - row.opens)
                    planned.append(_open_item(replace(row, opens=at, due=due), now))
        planned.sort(key=lambda item: (item.due or item.opens, item.enrollment, item.item))
        return Shift(start, end, tuple(_open_item(row, now) for row in rows), tuple(planned))

    def signatures(self, enrollment: str) -> tuple[Signature, ...]:
        """Every signature of an enrollment, each with whether the record still holds what was
        signed: its hash is reckoned anew from the entries."""
        return signatures(enrollment, (each.event for each in self.history(enrollment)))

    def census(self, site: str = "main", *, everybody: bool = False) -> tuple[Resident, ...]:
        """Who is where, on which day: those in treatment, or everybody who ever was.

        Raises Refused for a site that the engine was opened without: its zone decides the day.
        """
        now = self._instant()
        place = self._site(site, "census")
        return tuple(
            Resident(
                row.stream.partition(":")[2],
                row.patient,
                row.program,
                row.standing,
                row.phases,
                None if row.anchor is None else program_day(row.anchor, now, place),
                row.holds,
            )
            for row in self.journal.census(site)
            if everybody or row.standing in _IN_TREATMENT
        )

    def history(
        self, enrollment: str, after_version: int = 0, *, by: Actor | None = None
    ) -> tuple[Happened, ...]:
        """Everything that happened in an enrollment, in order.

        `by` is the reader: what the program lets them not read (`read_by`) is withheld. Without a
        reader it is the host itself who asks, and everything is shown.
        """
        program, state = self._read(enrollment)
        happened = map(_happened, self.journal.read(_stream(enrollment), after_version))
        if by is None:
            return tuple(happened)
        reader = _reader(by, state, self._around(state).site, self._instant())
        return tuple(
            replace(each, event=for_reader(program, reader, each.event)) for each in happened
        )

    def follow(self, after: int = 0, limit: int = 1000) -> tuple[Happened, ...]:
        """What happened after a position, in commit order: the durable way to follow a clinic.

        Keep the last `position` that you have dealt with and ask again from there. It is for the
        host itself: nothing is withheld (see `may_read`).
        """
        entries = self.journal.follow(after, limit)
        return tuple(_happened(entry) for entry in entries)

    def listen(self, listener: Callable[[Happened], None]) -> None:
        """Call a function after each commit of this process: at most once, lost with it.

        What is written in a host's open transaction is not told: it may be rolled back.

        Use `follow` for what must not be lost. A listener that fails is logged, never heard of
        by the caller of the command.
        """
        self._listeners.append(listener)

    def outbox(self, after: int = 0, limit: int = 100) -> Outbox:
        """What somebody is to be told, after a position of the journal, in commit order.

        The library sends nothing: a host drains this, sends each notification once by its `key`,
        and keeps `Outbox.next` only when it has. What it had not kept is given again. Run the
        timers first (`run_due`): it is their running that lets an unanswered call go on.
        """
        found: list[Notification] = []
        while True:
            entries = self.journal.follow(after, _OUTBOX)
            for entry in entries:
                after = entry.position
                kind, _, key = entry.stream.partition(":")
                if kind != "enrollment" or not entry.body.startswith(TOLD):
                    continue
                told = notification(e.decode(entry.body), key, entry.version, entry.position)
                if told is not None:
                    found.append(told)
                    if len(found) >= limit:
                        return Outbox(tuple(found), after)
            if len(entries) < _OUTBOX:
                return Outbox(tuple(found), after)

    def next_slot(self, enrollment: str, session: str) -> Slot | None:
        """When the next session of a kind could be; None where there may be none any more.

        It is a proposal: the session's gates are judged at the start. Raises Refused for a
        session that the program does not have.
        """
        program, state = self._read(enrollment)
        now, around = self._instant(), self._around(state)
        around, (_, state) = self._ask(catch_up, program, state, around, now)
        full = program.find("sessions", session)
        if full is None:
            known = f"sessions: {', '.join(program.sessions)}"
            raise _refused(
                "next slot", "unknown-session", f'there is no session "{session}"', known
            )
        return next_slot(program, state, around.site, full, now)

    def foresee_hold(self, enrollment: str, *, by: Actor, reason: str) -> Foresight:
        """What a hold would do to each time that runs, and which doses it would stop, if it were
        set now. Nothing is written. Raises Refused where it would be refused."""
        from kat_workflow.enrollment.foresight import foresee_hold  # noqa: PLC0415  # on first use

        program, state = self._read(enrollment)
        now = self._instant()
        around, (_, state) = self._ask(catch_up, program, state, self._around(state), now)
        command = Command("foresee", c.Hold(reason), by, now)
        _, answer = self._ask(decide, program, state, around, command)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        return foresee_hold(program, state, around, now)

    def program(self, name: str) -> Program:
        """The program of an id (or `id@version`) as its files say now.

        Raises ProgramError with every finding.
        """
        with self._lock:
            found = self._named.get(name)
            if found is None:
                from kat_workflow.language import load  # noqa: PLC0415  # loaded on first use

                found = self._named[name] = load(name, self._library)
                self._by_digest[found.digest] = found
            return found

    def program_of(self, enrollment: str) -> Program:
        """The program that drives an enrollment: the very files it was enrolled with."""
        return self._read(enrollment)[0]

    def site_of(self, enrollment: str) -> Site:
        """The site of an enrollment, with its zone."""
        return self._around(self._read(enrollment)[1]).site

    @property
    def now(self) -> datetime:
        """The instant by the clinic's clock, in UTC."""
        return self._instant()

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites the engine was opened with."""
        return tuple(self._sites.values())

    # ---- programs and who signed them --------------------------------------------------------

    def sign_off(
        self,
        program: str,
        *,
        by: Actor,
        name: str,
        meaning: str = "approved for use in this clinic",
        command_id: str | None = None,
    ) -> str:
        """Sign a program off as its files say now; returns the digest that was signed.

        `by` must have the role `medical_director`; `name` is printed beside the signature. The
        files are kept, so that what changes later can be told. Raises Refused, and ProgramError
        where the files are at fault.
        """
        found = self.program(program)
        self._keep(found, found.id)

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            return sign_off(addition, found.id, found.version, found.digest, by, name, meaning, at)

        self._add("program", found.id, judge, by, SIGNER, command_id, (found.digest, name, meaning))
        return found.digest

    def retire(
        self, program: str, digest: str, *, by: Actor, reason: str, command_id: str | None = None
    ) -> None:
        """Let these files of a program (its id) take nobody new; whoever is in them stays."""

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            return retire(addition, program, digest, by, reason, at)

        self._add("program", program, judge, by, SIGNER, command_id, (digest, reason))

    def register(self, program: str) -> Register:
        """What was signed off and retired of a program, by digest."""
        found: Register = self._beside("program", program)
        return found

    def kept_files(self, digest: str) -> Mapping[str, str] | None:
        """The files with a digest as the journal keeps them, None if it does not."""
        kept = self.journal.program(digest)
        return None if kept is None else kept.files

    # ---- the drug cupboards of the sites --------------------------------------------------------

    def receive(
        self,
        drug: str,
        lot: str,
        amount: str,
        *,
        by: Actor,
        site: str = "main",
        supplier: str = "",
        expires: date | None = None,
        command_id: str | None = None,
    ) -> tuple[e.Event, ...]:
        """Some of a lot (`500 mg`) comes into a site's cupboard; it must not be used after the
        date on which it `expires`. Who may do so is for the host to say. Raises Refused."""

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            return stock.receive(
                addition,
                drug,
                lot,
                amount,
                supplier=supplier,
                expires=expires,
                at=at,
                person=by.person,
            )

        said = ("receive", drug, lot, amount, supplier, expires)
        return self._at_cupboard(site, judge, by, command_id, said)

    def count(
        self,
        drug: str,
        lot: str,
        found: str,
        *,
        by: Actor,
        site: str = "main",
        reason: str = "",
        command_id: str | None = None,
    ) -> tuple[e.Event, ...]:
        """A lot was counted: so much of it is `found` in the cupboard; a difference needs a
        `reason`. Raises Refused."""

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            return stock.count(addition, drug, lot, found, reason=reason, at=at, person=by.person)

        return self._at_cupboard(site, judge, by, command_id, ("count", drug, lot, found, reason))

    def cupboard(self, site: str = "main") -> Cupboard:
        """A site's drugs: its lots, and what of controlled drugs is out and unaccounted for."""
        self._site(site, "cupboard")
        cupboard: Cupboard = self._beside("cupboard", site)
        return cupboard

    def lots(self, lot: str, drug: str = "") -> tuple[Happened, ...]:
        """Everything that happened to a lot, at any site, oldest first: who supplied it, how much
        came, and which patient got how much of it and when, as a recall needs it."""
        found = []
        for stream in self.journal.streams("cupboard:"):
            for entry in self.journal.read(stream):
                happened = _happened(entry)
                event = happened.event
                assert isinstance(event, e.StockReceived | e.StockCounted | e.LotUsed)
                if event.lot == lot and drug.casefold() in ("", event.drug.casefold()):
                    found.append(happened)
        return tuple(sorted(found, key=lambda each: each.position))

    def _at_cupboard(
        self,
        site: str,
        judge: Callable[[Addition, datetime], Refusal | None],
        by: Actor,
        command_id: str | None,
        said: tuple[object, ...],
    ) -> tuple[e.Event, ...]:
        self._site(site, str(said[0]))
        if not all(word is None or type(word) in (str, date) for word in said):
            raise _refused(str(said[0]), "bad-phrase", "it is no plain text", "give text")
        return self._add("cupboard", site, judge, by, "", command_id, said)

    # ---- inside -----------------------------------------------------------------------------

    def _add(
        self,
        what: Beside,
        key: str,
        judge: Callable[[Addition, datetime], Refusal | None],
        by: Actor,
        role: str,
        command_id: str | None,
        said: object,
    ) -> tuple[e.Event, ...]:
        """Write to a stream that is no enrollment's what a pure judge makes of its state.

        Judged again where somebody else was faster. A retry with the same command id and the
        same `said` writes nothing, and returns what the first one wrote. Raises Refused.
        """

        def alone(added: tuple[Addition, ...], at: datetime) -> Refusal | str:
            return judge(added[0], at) or role

        (added,) = self._add_all(((what, key),), alone, by, command_id, said) or ((),)
        return added

    def _add_all(
        self,
        streams: tuple[tuple[Beside, str], ...],
        judge: Callable[[tuple[Addition, ...], datetime], Refusal | str],
        by: Actor,
        command_id: str | None,
        said: object,
    ) -> tuple[tuple[e.Event, ...], ...]:
        """As `_add`, in one commit to several streams; the judge answers the role acted in.

        Returns the events by stream, nothing for a retry.
        """
        id_ = command_id or _new_id()
        try:
            digest = _hash(_canonical.encode((streams, by.person, id_, said)))
        except (TypeError, ValueError):
            way = "give text where text is meant"
            raise _refused(streams[0][0], "bad-phrase", "it is no plain text", way) from None
        for _ in range(_ATTEMPTS):
            before = None if command_id is None else self.journal.receipt(id_, digest)
            if before is not None:
                entries = self.journal.follow(before.first - 1, before.last - before.first + 1)
                return tuple(
                    tuple(e.decode(x.body) for x in entries if x.stream == f"{what}:{key}")
                    for what, key in streams
                )
            states, at = [self._beside(what, key) for what, key in streams], self._instant()
            added = tuple(
                Addition(what, state.version, state, key=key)
                for (what, key), state in zip(streams, states, strict=True)
            )
            role = judge(added, at)
            if isinstance(role, Refusal):
                raise Refused(role)
            with suppress(Conflict):
                receipt = self.journal.append(
                    [_append_of(each, f"{each.what}:{each.key}") for each in added],
                    command=id_,
                    digest=digest,
                    recorded=at,
                    person=by.person,
                    role=role,
                )
                if self._listeners and not receipt.again and not self.journal.joined:
                    self._tell(receipt)
                return tuple(tuple(each.events) for each in added)
        what, key = streams[0]
        raise Conflict(f"{what} {key} is being written to by others; try again")

    def _carry_out(
        self,
        enrollment: str,
        act: Act,
        by: Actor,
        id_: str,
        digest: str,
        occurred: datetime | None,
        role: str,
        new: Program | None,
        emergency: str = "",
    ) -> Outcome:
        for _ in range(_ATTEMPTS):
            # What we wrote last is tried first; whoever was faster makes it a Conflict.
            remembered = self._states.pop(enrollment, None)
            if new is not None:
                program, state = new, NOBODY
            elif remembered is not None:
                program, state = remembered
            else:
                program, state = self._read(enrollment)
            command = Command(id_, act, by, self._instant(), occurred, role, emergency)
            # Nobody is anywhere before the first event: it happens at the site that is asked for.
            if isinstance(act, c.Enroll):
                site = self._site(act.site, f"enrollment {enrollment}")
                around = _around_site(site).read("patient", self._beside("patient", act.patient))
                if self._signed_only and new is not None:
                    register = self._beside("program", new.id)
                    around = replace(around.read("program", register), signed_only=True)
            else:
                around = self._around(state, act)
            with suppress(Conflict):
                around, answer = self._ask(decide, program, state, around, command)
                while isinstance(answer, Behind):
                    timer = answer.timer
                    around, ran = self._ask(elapse, program, state, around, timer)
                    self._commit_timer(program, state, timer, ran)
                    state, around = ran.enrollment, around.after(ran.beside)
                    around, answer = self._ask(decide, program, state, around, command)
                if isinstance(answer, Refusal):
                    before = self.journal.receipt(id_, digest)
                    if before is not None:
                        return self._again(enrollment, before)
                    if self._is_now(state, around):
                        self._remember(enrollment, program, state)
                        raise Refused(refusal_for_reader(program, by, answer))
                    continue  # it was judged by what is no longer so
                role_acted = answer.role or role
                receipt = self._commit(
                    program, state, answer, id_, digest, command.at, by.person, role_acted
                )
                if receipt.again:
                    return self._again(enrollment, receipt)
                self._remember(enrollment, program, answer.enrollment)
                return Outcome(enrollment, answer.events)
        raise Conflict(f"enrollment {enrollment} is being written to by others; try again")

    def _is_now(self, state: Enrollment, around: Around) -> bool:
        """Whether what a refusal was judged by is still so."""
        record = around.patient
        if record is not None and record.patient:
            stream = f"patient:{record.patient}"
            if self.journal.version(stream) != record.version:
                return False
        return self.journal.version(_stream(state.id)) == state.version

    def _remember(self, enrollment: str, program: Program, state: Enrollment) -> None:
        """Keep the last states, so that a patient at hand need not be read for each command.

        Nothing is kept of a host's open transaction: after its rollback, another state could
        stand under the same version.
        """
        if self.journal.joined:
            return
        self._states[enrollment] = (program, state)
        while len(self._states) > _REMEMBERED:
            self._states.popitem(last=False)

    def _commit_timer(
        self, program: Program, state: Enrollment, timer: Timer, ran: Decision
    ) -> None:
        at = ran.enrollment.last or timer.due
        id_ = timer.id(state.id)
        receipt = self._commit(program, state, ran, id_, id_, at, c.SYSTEM.person, "")
        if receipt.again:  # another process ran it: what we hold is behind
            raise Conflict(f"{id_} was run by another")

    def _commit(
        self,
        program: Program,
        before: Enrollment,
        decision: Decision,
        command: str,
        digest: str,
        at: datetime,
        person: str,
        role: str,
    ) -> Receipt:
        after = decision.enrollment
        stream = _stream(after.id)
        came, gone, moved = changed(decision.events)
        if before.site != after.site and before.version:
            came = list(after.items)  # they stand on another site's worklists now
        append = Append(
            stream,
            before.version,
            tuple([e.encode(event) for event in decision.events]),
            encode_row(after),
            after.wake,
            tuple(gone),
            tuple([_item_row(program, after, stream, id_) for id_ in came]),
            _census_row(program, after, stream) if moved else None,
        )
        appends = [append]
        for addition in decision.beside:
            # A site's stream was read of where the patient was before a transfer.
            name = _beside_stream(addition, before if before.version else after)
            appends.append(_append_of(addition, name))
        receipt = self.journal.append(
            appends, command=command, digest=digest, recorded=at, person=person, role=role
        )
        if self._listeners and not receipt.again and not self.journal.joined:
            self._tell(receipt)
        return receipt

    def _tell(self, receipt: Receipt) -> None:
        for entry in self.journal.follow(receipt.first - 1, receipt.last - receipt.first + 1):
            for listener in self._listeners:
                try:
                    listener(_happened(entry))
                except Exception as error:  # what a host's function does must not undo a commit
                    # Its text may quote the event, and with it the patient: only its kind is said.
                    _log.error(
                        "a listener failed on position %d: %s", entry.position, type(error).__name__
                    )

    def _again(self, enrollment: str, receipt: Receipt) -> Outcome:
        entries = self.journal.follow(receipt.first - 1, receipt.last - receipt.first + 1)
        own = _stream(enrollment)
        events = tuple(e.decode(entry.body) for entry in entries if entry.stream == own)
        return Outcome(enrollment, events, again=True)

    def _read(self, enrollment: str) -> tuple[Program, Enrollment]:
        row = self.journal.row(_stream(enrollment))
        if row is not None:
            state = decode_row(row[1])
        else:
            entries = self.journal.read(_stream(enrollment))
            if not entries:
                raise _refused(
                    "read", "unknown-enrollment", f'no enrollment "{enrollment}"', "check the id"
                )
            state = replay(e.decode(entry.body) for entry in entries)
        program = self._by_digest.get(state.digest)
        return (program or self._pinned(state.digest)), state

    def _pinned(self, digest: str) -> Program:
        kept = self.journal.program(digest)
        if kept is None:
            raise JournalError(f"the journal does not hold the program with digest {digest[:12]}")
        from kat_workflow.language import compile_files  # noqa: PLC0415  # loaded on first use

        program = compile_files(kept.files, kept.main)
        with self._lock:
            return self._by_digest.setdefault(digest, program)

    def _keep(self, program: Program, enrollment: str) -> None:
        """The journal stores a program's files at first enrollment; a version never changes."""
        if program.digest in self._kept:
            return
        for kept in self.journal.programs(program.id):
            if kept.version == program.version and kept.digest != program.digest:
                raise _refused(
                    f"enroll {enrollment}",
                    "version-changed",
                    f"{program.id} {program.version} was used with other files before",
                    "give the changed program a new version",
                )
        main = next(iter(program.files))  # then those that it names, or is based on
        self.journal.keep_program(program.digest, program.id, program.version, main, program.files)
        if not self.journal.joined:  # else the host may still roll it back
            self._kept.add(program.digest)

    def _around(self, state: Enrollment, act: Act | None = None) -> Around:
        around = _around_site(self._site(state.site, f"enrollment {state.id}"))
        return (
            replace(around, to=self._sites.get(act.site)) if isinstance(act, c.Transfer) else around
        )

    def _ask(
        self,
        core: Callable[[Program, Enrollment, Around, _Asked], _Answer],
        program: Program,
        state: Enrollment,
        around: Around,
        asked: _Asked,
        ahead: Iterable[Past] = (),
    ) -> tuple[Around, _Answer]:
        """What the pure core answers; a stream around is read once it turns out to be needed.

        `ahead` are events of the state that are not in the journal.
        """
        while True:
            try:
                return around, core(program, state, around, asked)
            except Unread as missing:
                if missing.what == "history":
                    past = self._history(state.id)[: state.version]
                    around = around.read("history", (*past, *ahead))
                    continue
                # Nobody is at a site before the first event; that of the calendar is the one.
                on_site = missing.what == "roster"
                own = around.site.name if on_site else _beside_key(missing.what, state)
                key = missing.key or own
                beside = self._beside(missing.what, key)
                around = around.read(missing.what, beside, missing.key)

    def _history(self, enrollment: str) -> tuple[Past, ...]:
        """All entries of an enrollment, each with the instant at which it was recorded."""
        entries = self.journal.read(_stream(enrollment))
        return tuple(Past(entry.recorded, e.decode(entry.body)) for entry in entries)

    def _beside(self, what: Beside, key: str) -> Any:
        """A stream around enrollments, as it is now; a patient's is that of the survivor."""
        if what == "patient":
            return self._patient(key)
        return self._folded(what, key)

    def _folded(self, what: Beside, key: str) -> Any:
        stream = f"{what}:{key}"
        row = self.journal.row(stream)
        if row is not None:
            with suppress(msgspec.DecodeError):  # else it is of another version
                return _beside_decoder(what).decode(row[1])
        state = EMPTY[what]
        for entry in self.journal.read(stream):
            state = FOLDS[what](state, e.decode(entry.body))
        return state

    def _site(self, name: str, asked: str) -> Site:
        """The site of that name; never a guess, since its zone decides days and clock times."""
        site = self._sites.get(name)
        if site is None:
            ways = (f"open the engine with the site {name}", f"sites: {', '.join(self._sites)}")
            raise _refused(asked, "unknown-site", f'no site "{name}"', *ways)
        return site

    def _parse(self, phrase: str, given: Mapping[str, Any] | None, signed: bool) -> Act:
        try:
            return c.parse(phrase, given, signed)
        except c.BadPhrase as error:
            raise _refused(
                phrase.partition(" ")[0], "bad-phrase", str(error), "write as in: start SESSION"
            ) from error

    def _instant(self) -> datetime:
        now = self._clock()
        if now.tzinfo is None:
            raise ValueError("the clock gave an instant without a zone")
        return now.astimezone(UTC)

    # ---- a patient across programs ------------------------------------------------------------

    def patient(self, patient: str) -> PatientView:
        """All that is known of a patient across programs, under whichever of their ids.

        Raises Refused for an id that nobody was ever enrolled under.
        """
        record = self._patient(patient)
        if not record.version:
            says = f'no enrollment was ever made for "{patient}"'
            raise _refused("patient", "unknown-patient", says, "check the id")
        known = record.known
        courses = [
            Course(id_, x.patient, x.program, x.site, x.began, x.end, x.ended)
            for id_, x in known.enrollments.items()
        ]
        return PatientView(
            record.patient,
            tuple(known.merged),
            tuple(sorted(courses, key=lambda course: (course.began, course.enrollment))),
            tuple(session for session in known.sessions.values() if not session.over),
            tuple(known.holds.values()),
            tuple(known.offered.values()),
        )

    def suggestions(self, enrollment: str) -> tuple[Suggestion, ...]:
        """What other enrollments of the patient handed over that would answer an open item.

        Nothing of it counts until somebody who may do the step confirms it: `adopt STEP`.
        """
        from kat_workflow.enrollment import carrying  # noqa: PLC0415  # on first use

        program, state = self._read(enrollment)
        now = self._instant()
        around, (_, state) = self._ask(catch_up, program, state, self._around(state), now)
        known = self._patient(state.patient).known
        found = carrying.suggestions(program, state, known, now, around.site)
        return tuple(
            Suggestion(
                item,
                state.items[item].step,
                name,
                known.offered[name].program,
                known.offered[name].evaluation.occurred,
                known.offered[name].evaluation.values,
            )
            for item, name in found
        )

    def offer(
        self,
        enrollment: str,
        program: str,
        *,
        by: Actor,
        steps: Iterable[str] = (),
        role: str = "",
        command_id: str | None = None,
    ) -> Outcome:
        """Offer evaluations to a program that the patient is to go on with: the last of each step
        that is named, or of each that another program could take over. Raises Refused."""
        act = c.Offer(program, tuple(steps))
        return self.handle(enrollment, act, by=by, role=role, command_id=command_id)

    def join(
        self,
        program: str,
        *,
        patient: str,
        phase: str,
        reason: str,
        by: Actor,
        attested: Iterable[Attested] = (),
        admitted_on: date | None = None,
        site: str = "main",
        command_id: str | None = None,
    ) -> str:
        """Enroll a patient who is in the middle of a course elsewhere; the enrollment's id.

        What was found out there is attested in the order given, each with its date and where it
        stands; then the admission of a date in the past is reported, and the phase in which the
        patient is. Each is a command of its own whose id derives from `command_id`: what was half
        done is finished by asking again. The actor must have the roles that all of it needs.
        Raises Refused at the first that cannot be done; what was done before it stands.
        """
        id_ = command_id or _new_id()
        enrollment = self.enroll(program, patient=patient, by=by, site=site, command_id=id_)
        for number, each in enumerate(attested, 1):
            act = c.Attest(each.step, dict(each.values), each.source, each.signed)
            self.handle(
                enrollment,
                act,
                by=by,
                occurred=each.occurred,
                command_id=f"{id_}/attest.{number}",
            )
        if admitted_on is not None:
            self.handle(enrollment, c.Admit(admitted_on, reason), by=by, command_id=f"{id_}/admit")
        full = self.program_of(enrollment).find("phases", phase)
        entered = {
            x.event.phase
            for x in self.history(enrollment)
            if isinstance(x.event, e.PhaseEntered) and x.cause != f"{id_}/move"
        }
        if full not in entered:  # else what was attested has led there by the program's own gates
            self.handle(enrollment, c.Move(phase, reason), by=by, command_id=f"{id_}/move")
        return enrollment

    def merge(
        self,
        survivor: str,
        duplicate: str,
        *,
        by: Actor,
        reason: str,
        command_id: str | None = None,
    ) -> PatientView:
        """Two ids are one patient: from now on the survivor's record tells about both.

        Nothing is deleted, and `unmerge` takes it back. Enrollments keep the id they were made
        under; both ids may go on being used. Where both are in treatment, each of their
        enrollments gets an item to review it. Raises Refused.
        """
        id_ = command_id or _new_id()
        self._link(patients.merge, survivor, duplicate, by, reason, id_)
        record = self._patient(duplicate)
        ours = patients.ids_of(record.known, duplicate)
        sides = {record.known.enrollments[each].patient in ours for each in record.in_treatment}
        self._tell_others(record, by, id_, ids="merged" if len(sides) > 1 else "")
        return self.patient(duplicate)

    def unmerge(
        self,
        survivor: str,
        duplicate: str,
        *,
        by: Actor,
        reason: str,
        command_id: str | None = None,
    ) -> None:
        """They are two patients after all: what belongs to enrollments of the duplicate's id, also
        what has happened since the merge, is told by its own record again.

        Every enrollment of both that goes on gets an item to review what was done, or taken over
        from the other, while they were one. Raises Refused.
        """
        id_ = command_id or _new_id()
        self._link(patients.unmerge, survivor, duplicate, by, reason, id_)
        for each in (survivor, duplicate):
            self._tell_others(self._patient(each), by, id_, ids="parted")

    def _link(
        self,
        rule: Callable[
            [PatientRecord, PatientRecord, str, str, datetime],
            e.PatientMerged | e.PatientUnmerged | Refusal,
        ],
        survivor: str,
        duplicate: str,
        by: Actor,
        reason: str,
        id_: str,
    ) -> None:
        """Write what joins or parts two records into both, in one commit."""
        said = (survivor, duplicate, reason, by.person, id_)
        if not all(isinstance(word, str) and word.isprintable() for word in said):
            says = "ids and reasons are plain text"
            raise _refused(rule.__name__, "bad-phrase", says, "give text where text is meant")
        digest = _digest(rule.__name__, c.Hold(reason), by, None, f"{survivor}\n{duplicate}")
        for _ in range(_ATTEMPTS):
            if self.journal.receipt(id_, digest) is not None:
                return
            kept, other = self._patient(survivor), self._own_record(duplicate)
            if rule is patients.unmerge:
                kept = self._own_record(survivor)
            now = self._instant()
            event = rule(kept, other, reason, by.person, now)
            if isinstance(event, Refusal):
                raise Refused(event)
            body = e.encode(event)
            appends = [
                Append(
                    f"patient:{record.patient}",
                    record.version,
                    (body,),
                    _rows.encode(patients.evolve(record, event)),
                )
                for record in (kept, other)
            ]
            with suppress(Conflict):
                receipt = self.journal.append(
                    appends, command=id_, digest=digest, recorded=now, person=by.person, role=""
                )
                if self._listeners and not receipt.again and not self.journal.joined:
                    self._tell(receipt)
                return
        raise Conflict(f"patient {duplicate} is being written to by others; try again")

    def _patient(self, patient: str) -> PatientRecord:
        """The record that tells about a patient, under whichever of their ids."""
        record = self._own_record(patient)
        while record.survivor:
            record = self._own_record(record.survivor)
        return record

    def _own_record(self, patient: str) -> PatientRecord:
        """The record of this very id."""
        record: PatientRecord = self._folded("patient", patient)
        return record if record.patient else replace(record, patient=patient)

    def _looked_up(self, enrollment: str, act: Act) -> Act:
        """The act, with the evaluations that it names."""
        if not isinstance(act, c.Offer):
            return act
        from kat_workflow.enrollment import carrying  # noqa: PLC0415  # on first use

        events = (happened.event for happened in self.history(enrollment))
        found = carrying.evaluations(self.program_of(enrollment), events, act.steps)
        return replace(act, evaluations=found)

    def _pass_on(self, enrollment: str, by: Actor, id_: str, digest: str) -> None:
        """What a command has written about the patient reaches the other enrollments."""
        receipt = self.journal.receipt(id_, digest)
        if receipt is not None and any(x.startswith("patient:") for x, _ in receipt.versions):
            record = self._patient(self._read(enrollment)[1].patient)
            self._tell_others(record, by, id_, but=enrollment)

    def _tell_others(
        self,
        record: PatientRecord,
        by: Actor,
        id_: str,
        but: str = "",
        ids: Literal["", "merged", "parted"] = "",
    ) -> None:
        """Each enrollment that goes on takes note, by a command whose id derives from the one
        that was said: what was half done is finished when that is said again."""
        for enrollment in record.in_treatment:
            if enrollment == but:
                continue
            derived = f"{id_}/{enrollment}/{ids}" if ids else f"{id_}/{enrollment}"
            try:
                self.handle(enrollment, c.Heed(ids), by=by, command_id=derived)
            except Refused as refused:
                # It has just ended, or is at a site that is another engine's: what was said of
                # the patient stands, and no session with a dose starts there against it.
                _log.warning("%s was not told of %s: %s", enrollment, id_, refused)


@lru_cache(maxsize=256)
def _around_site(site: Site) -> Around:
    return Around(site, patient=None, program=None, roster=None, cupboard=None)


def _beside_key(what: Beside, state: Enrollment) -> str:
    """Whose stream it is that lies beside an enrollment."""
    keys = {"program": state.program, "roster": state.site, "cupboard": state.site}
    return keys.get(what, state.patient)


def _beside_stream(addition: Addition, state: Enrollment) -> str:
    """The stream that was read, under the id it has: a patient's may be another than was said."""
    if addition.what == "patient":
        return f"patient:{addition.state.patient}"
    return f"{addition.what}:{addition.key or _beside_key(addition.what, state)}"


def _append_of(addition: Addition, stream: str) -> Append:
    bodies = tuple(e.encode(event) for event in addition.events)
    row = _rows.encode(addition.state) if bodies else None
    return Append(stream, addition.expected, bodies, row)


def _zoned(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant without a zone names no moment")
    return at.astimezone(UTC)


_rows = msgspec.msgpack.Encoder()


@lru_cache(maxsize=8)
def _beside_decoder(what: Beside) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type(EMPTY[what]))


def _new_id() -> str:
    return "c-" + os.urandom(16).hex()


def _stream(enrollment: str) -> str:
    return "enrollment:" + enrollment


def _plain(value: object) -> object:
    return repr(value)  # what no form accepts must still be told apart from what it was before


_canonical = msgspec.json.Encoder(decimal_format="string", order="deterministic", enc_hook=_plain)


@lru_cache(maxsize=1)
def _sound_decoder() -> msgspec.json.Decoder[tuple[Act, tuple[str, ...]]]:
    return msgspec.json.Decoder(tuple[Act, tuple[str, ...]])


def _sound(act: Act, by: Actor, id_: str, *texts: str) -> Act:
    """The act, all of whose words can be written and read again; else Refused.

    A reason that is a number, or a text that is no Unicode, would be written into an entry that
    nobody could read any more. What a form holds is judged by the form.
    """
    values = act.values if isinstance(act, c.Record | c.Correct | c.Attest) else None
    plain = act if values is None else replace(act, values={})
    try:
        body = _canonical.encode((plain, (by.person, by.name, *by.covers.values(), id_, *texts)))
        read = _sound_decoder().decode(body)[0]
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        says = str(error) if isinstance(error, msgspec.ValidationError) else "it is no plain text"
        verb = c.words(plain).partition(" ")[0]
        raise _refused(verb, "bad-phrase", says, "give text where text is meant") from None
    return read if values is None else replace(read, values=values)


def _received(
    enrollment: str,
    act: Act,
    by: Actor,
    id_: str,
    occurred: datetime | None,
    role: str,
    emergency: str,
) -> tuple[Act, str]:
    """The act as `_sound` gives it, and the digest of the command."""
    if type(act) is c.Record and type(act.signed) is bool and type(act.also) is tuple:
        # Most commands are recordings. Where all words are texts, and could be written for the
        # digest, nothing else is left to be found unsound.
        words = (act.step, by.person, by.name, id_, role, *act.also)
        texts = set(map(type, words)) == {str} and id_.isascii() and by.name.isprintable()
        if texts and not (emergency or by.covers):
            with suppress(TypeError, ValueError):
                return act, _hash(_canonical.encode((enrollment, act, by.person, occurred, role)))
    act = _sound(act, by, id_, role, emergency)
    digest = _digest(enrollment, act, by, occurred, role)
    return act, _hash(f"{digest} {emergency}".encode()) if emergency else digest


def _digest(enrollment: str, act: Act, by: Actor, occurred: datetime | None, role: str) -> str:
    """What makes two commands the same: everything but when they were sent."""
    try:
        body = _canonical.encode((enrollment, act, by.person, occurred, role))
    except (TypeError, ValueError):  # what cannot be written is refused later, by what is asked
        body = repr((enrollment, act, by.person, occurred, role)).encode(errors="backslashreplace")
    return _hash(body)


def _hash(body: bytes) -> str:
    return str(_sha256()(body).hexdigest())


@lru_cache(maxsize=1)
def _sha256() -> Callable[[bytes], Any]:
    from hashlib import sha256  # noqa: PLC0415  # loaded on first use

    return sha256


def _refused(command: str, code: str, says: str, *unblock: str) -> Refused:
    return Refused(Refusal(command, (Reason(code, says, unblock=unblock),)))


def _happened(entry: Entry) -> Happened:
    kind, _, key = entry.stream.partition(":")
    return Happened(
        entry.position,
        key if kind == "enrollment" else "",
        entry.version,
        entry.recorded,
        entry.cause,
        entry.person,
        entry.role,
        e.decode(entry.body),
        entry.stream,
    )


def _holds(by: Actor, at: datetime, site: str) -> frozenset[str]:
    """The roles of the staff that somebody holds at a site, other than in cover."""
    from kat_workflow.enrollment.people import hindrance  # noqa: PLC0415  # on first use

    own = [role for role in by.roles if role not in by.covers and role != PATIENT]
    return frozenset(role for role in own if hindrance(by, role, at, site, "") is None)


_SIGNING = (c.Sign, c.Release, c.Override, c.Order, c.Check, c.WitnessWaste)


def _signs(act: Act) -> bool:
    """Whether an act puts a person's signature under something."""
    return isinstance(act, _SIGNING) or getattr(act, "signed", False)


def _reader(by: Actor, state: Enrollment, site: Site, now: datetime) -> Actor:
    """The reader in the roles that they hold now; a patient reads their own enrollment alone."""
    from kat_workflow.enrollment.people import hindrance, roles_held  # noqa: PLC0415

    held = roles_held(by, now, site.name, state.patient)
    if by.roles and not held:
        # Every role that they have says the same of its own.
        first = hindrance(by, sorted(by.roles)[0], now, site.name, state.patient)
        assert first is not None  # else it would be held
        raise Refused(Refusal("read", (first,)))
    return Actor(by.person, held)


def _item_row(program: Program, state: Enrollment, stream: str, id_: str) -> ItemRow:
    item = state.items[id_]
    return ItemRow(
        id_,
        stream,
        state.site,
        who(program, item),
        item.opens,
        item.due,
        item.step,
        title(program, item),
        item.place,
        state.patient,
        state.program,
        item.assigned,
        item.handed_by,
    )


def _census_row(program: Program, state: Enrollment, stream: str) -> CensusRow:
    anchor: date | None = state.admitted
    return CensusRow(
        stream,
        state.site,
        state.patient,
        state.program,
        state.standing,
        where(program, state),
        anchor,
        tuple(state.holds),
    )


def _open_item(row: ItemRow, now: datetime) -> OpenItem:
    late = row.due is not None and row.opens < row.due <= now
    state: Timeliness = "early" if now < row.opens else "late" if late else "open"
    return OpenItem(
        row.stream.partition(":")[2],
        row.patient,
        row.item,
        row.step,
        row.title,
        row.roles,
        row.opens,
        row.due,
        state,
        row.program,
        row.phase,
        row.assigned,
        row.handed_by,
    )


def _waiting(
    program: Program, state: Enrollment, around: Around, now: datetime, reader: Actor | None
) -> tuple[Waiting, ...]:
    run = Run(program, state, around, now)
    return tuple(
        Waiting(
            phase,
            to,
            clauses if reader is None else clauses_for_reader(program, reader, clauses),
        )
        for phase, to, clauses in undecided(run)
    )
