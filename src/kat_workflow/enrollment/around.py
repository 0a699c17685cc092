"""What a decision may read beside its own enrollment: the calendar and the streams around it.

A patient's other enrollments, a site's cupboards and rosters, a group's seats each have a stream
of their own. A decision reads them as they were folded, and writes to them in the same commit.
None means "not read": whoever asks for it raises `Unread`, and the shell reads and decides again,
so that a command pays only for what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import cupboard, groups, patients, register, roster, state
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.cupboard import Cupboard
from kat_workflow.enrollment.groups import Group, Rooms
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.enrollment.register import Register
from kat_workflow.enrollment.roster import Roster
from kat_workflow.enrollment.state import Enrollment
from kat_workflow.program.clock import Site

if TYPE_CHECKING:  # a program is made elsewhere, and only by those who load one
    from kat_workflow.program.model import Program

Beside = Literal["patient", "program", "roster", "cupboard", "group", "rooms", "enrollment"]
"""The streams around an enrollment, by what they are about; `enrollment` is another of the
patient's."""


class Past(Struct, frozen=True):
    """An entry of the enrollment's own history: what happened, and when it was recorded."""

    recorded: datetime
    event: e.Event


class Around(Struct, frozen=True):
    """A read-only view of the streams around an enrollment.

    `history` are the entries of the enrollment itself, all of them in order; only corrections,
    retractions and late entries ask for it. `to` is the site that a transfer leads to, `target`
    the program whose version a patient is to go on by. Of some streams there are several (the
    groups a patient is in, their other enrollments): those hold what was read by key.
    """

    site: Site = Site()
    patient: PatientRecord | None = PatientRecord()
    program: Register | None = Register()
    signed_only: bool = False  # whether a program must be signed off to take a patient
    roster: Roster | None = Roster()
    history: tuple[Past, ...] | None = None
    to: Site | None = None
    target: Program | None = None
    cupboard: Cupboard | None = Cupboard()
    group: Mapping[str, Group] = {}
    rooms: Mapping[str, Rooms] = {}
    enrollment: Mapping[str, Enrollment] = {}

    def known(self, what: Beside, key: str = "") -> Any:
        """A stream as it was read; None where it was not."""
        found = getattr(self, what)
        return found.get(key) if key else found

    def read(self, what: Beside | Literal["history"], state: Any, key: str = "") -> Around:
        """The same view with one more stream that was read."""
        return replace(self, **{what: {**getattr(self, what), key: state} if key else state})

    def after(self, additions: Iterable[Addition]) -> Around:
        """The view after what a decision has added to it."""
        around = self if self.history is None else replace(self, history=None)  # it has grown
        for each in additions:
            if each.events:
                around = around.read(each.what, each.state, each.key)
        return around


class Unread(Exception):
    """A decision needs a stream that was not read: read it and decide again.

    `key` says which, where the enrollment alone does not.
    """

    def __init__(self, what: Beside | Literal["history"], key: str = "") -> None:
        super().__init__(f"the {what} stream was not read")
        self.what = what
        self.key = key


class Addition(Struct):
    """What a run adds to a stream beside the enrollment: `events`, and the state after them.

    `expected` is the version that was read. Without events it only holds that version to be
    still true when the decision is committed. `key` says which stream it is, where the enrollment
    alone does not.
    """

    what: Beside
    expected: int
    state: Any
    events: list[e.Event] = []
    key: str = ""

    def emit(self, event: e.Event) -> None:
        """Write an event to the stream and fold it at once."""
        self.events.append(event)
        self.state = FOLDS[self.what](self.state, event)


FOLDS: Mapping[Beside, Callable[[Any, e.Event], Any]] = {
    "patient": patients.evolve,
    "program": register.evolve,
    "roster": roster.evolve,
    "cupboard": cupboard.evolve,
    "group": groups.evolve,
    "rooms": groups.evolve_rooms,
    "enrollment": state.evolve,
}
"""How each of the streams is folded: a new state, the old one is left as it was."""
EMPTY: Mapping[Beside, Any] = {
    "patient": PatientRecord(),
    "program": Register(),
    "roster": Roster(),
    "cupboard": Cupboard(),
    "group": Group(),
    "rooms": Rooms(),
}
"""Each of those that are no enrollment before its first event; also the type of its state row."""
