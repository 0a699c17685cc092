"""What a decision may read beside its own enrollment: the calendar and the streams around it.

A patient's other enrollments, a site's cupboards and rosters, a group's seats each have a stream
of their own. A decision reads them as they were folded, and writes to them in the same commit.
None means "not read": whoever asks for it raises `Unread`, and the shell reads and decides again,
so that a command pays only for what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import cupboard, patients, register, roster
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.cupboard import Cupboard
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.enrollment.register import Register
from kat_workflow.enrollment.roster import Roster
from kat_workflow.program.clock import Site

Beside = Literal["patient", "program", "roster", "cupboard"]
"""The streams around an enrollment, by what they are about."""


class Past(Struct, frozen=True):
    """An entry of the enrollment's own history: what happened, and when it was recorded."""

    recorded: datetime
    event: e.Event


class Around(Struct, frozen=True):
    """A read-only view of the streams around an enrollment.

    `history` are the entries of the enrollment itself, all of them in order; only corrections,
    retractions and late entries ask for it. `to` is the site that a transfer leads to.
    """

    site: Site = Site()
    patient: PatientRecord | None = PatientRecord()
    program: Register | None = Register()
    signed_only: bool = False  # whether a program must be signed off to take a patient
    roster: Roster | None = Roster()
    history: tuple[Past, ...] | None = None
    to: Site | None = None
    cupboard: Cupboard | None = Cupboard()

    def read(self, what: Beside | Literal["history"], state: Any) -> Around:
        """The same view with one more stream that was read."""
        return replace(self, **{what: state})

    def after(self, additions: Iterable[Addition]) -> Around:
        """The view after what a decision has added to it."""
        changed: dict[str, Any] = {each.what: each.state for each in additions if each.events}
        if self.history is not None:
            changed["history"] = None  # it has grown
        return replace(self, **changed) if changed else self


class Unread(Exception):
    """A decision needs a stream that was not read: read it and decide again."""

    def __init__(self, what: Beside | Literal["history"]) -> None:
        super().__init__(f"the {what} stream was not read")
        self.what = what


class Addition(Struct):
    """What a run adds to a stream beside the enrollment: `events`, and the state after them.

    `expected` is the version that was read. Without events it only holds that version to be
    still true when the decision is committed.
    """

    what: Beside
    expected: int
    state: Any
    events: list[e.Event] = []

    def emit(self, event: e.Event) -> None:
        """Write an event to the stream and fold it at once."""
        self.events.append(event)
        self.state = FOLDS[self.what](self.state, event)


FOLDS: Mapping[Beside, Callable[[Any, e.Event], Any]] = {
    "patient": patients.evolve,
    "program": register.evolve,
    "roster": roster.evolve,
    "cupboard": cupboard.evolve,
}
"""How each of the streams is folded: a new state, the old one is left as it was."""
EMPTY: Mapping[Beside, Any] = {
    "patient": PatientRecord(),
    "program": Register(),
    "roster": Roster(),
    "cupboard": Cupboard(),
}
"""Each of them before its first event; also the type that its state row holds."""
