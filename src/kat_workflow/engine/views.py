"""What the engine answers: plain values, each a picture of one instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

from msgspec import Struct

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Past
from kat_workflow.enrollment.escalating import Notification
from kat_workflow.enrollment.state import OrderState, Session
from kat_workflow.enrollment.worklist import Timeliness
from kat_workflow.errors import Clause, JournalError, Refusal
from kat_workflow.journal import LOCKED, Cursor, Entry, is_payload, placed


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


class Deviation(Struct, frozen=True):
    """What went otherwise than the program says, in whichever enrollment.

    `kind` "deviation": what was reported broke a rule, named by `code` (`kat explain CODE`);
    "override": the gate `code` was passed by `person`, and by `cosigner` where two agree;
    "emergency": it was acted first, and `says` what that passed. `review` is the item by which
    somebody is to look ("" for an override), `reviewed` when somebody did, and who.
    """

    enrollment: str
    patient: str
    program: str
    site: str
    recorded: datetime
    at: datetime
    kind: Literal["deviation", "override", "emergency"] = "deviation"
    code: str = ""
    says: str = ""
    person: str = ""
    role: str = ""
    cosigner: str = ""
    review: str = ""
    reviewed: datetime | None = None
    reviewed_by: str = ""


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


def event_of(entry: Entry) -> e.Event:
    """The event of an entry; with nothing in its private fields where they were erased.

    Raises JournalError that says where the entry stands, if it is no event.
    """
    try:
        return e.decode(entry.body, entry.values)
    except JournalError:
        # A process that opened a journal before it was encrypted has no keys for it.
        if is_payload(entry.body):
            raise JournalError(LOCKED) from None
        raise JournalError(
            f"{placed(entry)} is no event that this version knows; {AUDIT}"
        ) from None


CONTRADICTIONS = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    StopIteration,
)
"""What a fold fails with where an entry does not go with what was written before it."""
AUDIT = "run kat journal verify"
"""What to do where an entry is not as it was written; that tells which one was changed."""


class Retelling:
    """The entries of a stream on their way through a fold; they may be gone through again.

    In a `with` statement it makes of a contradiction that the fold comes upon a JournalError, which
    says where the entry stands that was being folded. Its text quotes nothing: what the fold itself
    says could.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._at: Entry | None = None

    def __iter__(self) -> Iterator[Past]:
        for entry in self._entries:
            self._at = entry
            yield Past(entry.recorded, event_of(entry))

    def events(self) -> Iterator[e.Event]:
        """The events alone, in order."""
        for entry in self._entries:
            self._at = entry
            yield event_of(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, CONTRADICTIONS) and self._at is not None:
            raise JournalError(
                f"{placed(self._at)} does not go with what was written before it; {AUDIT}"
            ) from None


def as_happened(entry: Entry) -> Happened:
    """An entry as the journal gives it, with its event decoded."""
    kind, _, key = entry.stream.partition(":")
    return Happened(
        entry.position,
        key if kind == "enrollment" else "",
        entry.version,
        entry.recorded,
        entry.cause,
        entry.person,
        entry.role,
        event_of(entry),
        entry.stream,
    )
