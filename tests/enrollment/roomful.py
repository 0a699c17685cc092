"""A bench for groups: a house with several patients whose commands share the streams around.

`House` holds the groups and the rooms as the engine's store would; every `Resident` is a
`Patient` of the bedside who reads and writes them, held to replay ≡ live on those streams too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bedside import MONDAY, Patient, person

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import groups as g
from kat_workflow.enrollment.around import EMPTY, FOLDS, Addition, Around
from kat_workflow.enrollment.decide import Decision
from kat_workflow.enrollment.state import Enrollment
from kat_workflow.errors import Refusal
from kat_workflow.program.clock import Site
from kat_workflow.program.model import Program

CLINIC = """
start: stay
decided_by: [doctor]
hold_by: [doctor]
groups:
  circle:
    capacity: 3
    minimum: 2
    lasts: 3 h
    rooms: [mats, garden]
    staff: [{role: therapist, one_per: 2}, {role: nurse, one_per: 3}]
    by: [therapist]
    override: {by: [doctor]}
    source: practice
  table: {capacity: 2, minimum: 2, lasts: 1 h, by: [therapist], source: practice}
phases:
  stay:
    admits: true
    steps:
      drips: {by: [nurse], session: drip, may_be: [declined]}
      meal: {by: [nurse], record: note, group: table}
      talk: {by: [nurse], group: table, may_be: [declined]}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    group: circle
    source: practice
    no_show_after: 15 min
    dose: {drug: Ketamine, route: intramuscular, amount: 50 mg}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
    release: {earliest: 30 min, signed_by: [nurse]}
"""
LEADER = person("lea:therapist")


class House:
    """The streams that several patients share, and the acts about whole groups."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.now = MONDAY
        self.streams: dict[tuple[str, str], object] = {}
        self.log: dict[tuple[str, str], list[e.Event]] = {}
        self.residents: list[Resident] = []
        self.refusal: Refusal | None = None

    def resident(self, site: str = "main") -> Resident:
        """One more patient in the house."""
        self.residents.append(Resident(self, len(self.residents) + 1, site))
        return self.residents[-1]

    def group(self, id_: str = "g-1") -> g.Group:
        """A group as it stands."""
        found = self.streams.get(("group", id_), g.Group())
        assert isinstance(found, g.Group)
        return found

    def take(self, addition: Addition) -> None:
        """Keep what was added to a stream."""
        at = (addition.what, addition.key)
        log = self.log.setdefault(at, [])
        assert addition.expected == len(log)
        log.extend(addition.events)
        state = EMPTY[addition.what]
        for event in log:
            assert e.decode(*e.encode(event)) == event
            state = FOLDS[addition.what](state, event)
        assert state == addition.state
        self.streams[at] = addition.state

    def around(self, site: str) -> Around:
        """What a decision may read; a stream nobody has written to is as empty as in the store."""
        around = Around(Site(site))
        for id_ in ("g-1", "g-2", "g-3"):
            around = around.read("group", self.group(id_), id_)
        return around.read("rooms", self.streams.get(("rooms", "main"), g.Rooms()), "main")

    def _group_act(
        self, id_: str, act: Callable[[Addition, Addition, datetime], Refusal | str]
    ) -> list[str] | str:
        """The role acted in, or the codes of the reasons against it."""
        own, rooms = self.group(id_), self.streams.get(("rooms", "main"), g.Rooms())
        assert isinstance(rooms, g.Rooms)
        added = (
            Addition("group", own.version, own, [], id_),
            Addition("rooms", rooms.version, rooms, [], "main"),
        )
        answer = act(*added, self.now)
        if isinstance(answer, Refusal):
            assert not any(each.events for each in added)
            assert all(reason.unblock for reason in answer.reasons)
            self.refusal = answer
            return [reason.code for reason in answer.reasons]
        for each in added:
            self.take(each)
        return answer

    def plan(
        self,
        kind: str = "circle",
        id_: str = "g-1",
        *,
        when: datetime = MONDAY,
        room: str = "mats",
        by: str = "lea:therapist",
    ) -> list[str] | str:
        """Plan a group for now."""
        room = room if kind == "circle" else ""
        act = g.Plan(id_, self.program.groups[kind], self.program.id, "main", when, room)
        return self._group_act(id_, lambda own, rooms, at: g.plan(act, person(by), own, rooms, at))

    def start(
        self, *present: str, id_: str = "g-1", by: str = "lea:therapist", regardless: str = ""
    ) -> list[str] | str:
        """Start a group with these persons beside the leader."""
        there = [person(each) for each in present]
        return self._group_act(
            id_, lambda own, rooms, at: g.start(there, regardless, person(by), own, rooms, at)
        )

    def move(
        self,
        when: datetime | None = None,
        room: str | None = None,
        id_: str = "g-1",
        by: str = "lea:therapist",
    ) -> list[str] | str:
        """Give a group another time or room."""
        return self._group_act(
            id_, lambda own, rooms, at: g.move(when, room, person(by), own, rooms, at)
        )

    def call_off(
        self, reason: str = "the leader is ill", id_: str = "g-1", by: str = "lea:therapist"
    ) -> list[str] | str:
        """Call a group off."""
        return self._group_act(
            id_, lambda own, rooms, at: g.call_off(reason, person(by), own, rooms, at)
        )


class Resident(Patient):
    """A patient of the house, on the house's clock."""

    def __init__(self, house: House, number: int, site: str) -> None:
        self.house, self.site = house, site
        enroll = c.Enroll(f"e-{number}", f"P-{number}", site)
        super().__init__(house.program, at=house.now, enroll=enroll)

    def look(self) -> Enrollment:
        """As at any bedside, with the streams of the house as they are now."""
        self.now = self.house.now
        self.around = self.house.around(self.site)
        found = super().look()
        self.around = self.house.around(self.site)
        return found

    def _take(self, decision: Decision) -> None:
        super()._take(decision)
        for addition in decision.beside:
            if addition.key:
                self.house.take(addition)
