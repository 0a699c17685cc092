"""What may be asked (requests) and what may be told (reports), and by whom.

A `Command` is the envelope: its id comes from the caller and makes a retry harmless; `at` is
stamped by the shell, `occurred` is when it happened if that was earlier. `act` says what. The
same words (`record baseline`, `start nad_infusion`) name an act in `why`, `kat do` and scenarios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen
from msgspec import Struct

from kat_workflow.program import Outcome


def _roles(roles: Iterable[str]) -> frozenset[str]:
    return frozenset(roles)


def _with_zones(actor: Actor, _: object, until: Mapping[str, datetime]) -> None:
    if any(at.tzinfo is None for at in until.values()):
        raise ValueError("an instant without a zone names no moment: give `until` an offset")


@frozen
class Actor:
    """Who acts: a person (not an account) and the roles in which they may. The host says so.

    `name` is the person's printed name, as it stands under a signature (the person's id where it
    is left out). From `until[role]` on a credential has expired and the role is not held. `sites`
    are the names of the sites at which the roles are held; none named: everywhere. `covers[role]`
    is the person for whom the role is acted in: it is held by that alone, and the entry says so.
    Raises ValueError for an `until` without a zone.
    """

    person: str
    roles: frozenset[str] = field(converter=_roles, factory=frozenset)
    name: str = ""
    until: Mapping[str, datetime] = field(factory=dict, hash=False, validator=_with_zones)
    sites: frozenset[str] = field(converter=_roles, factory=frozenset)
    covers: Mapping[str, str] = field(factory=dict, hash=False)


SYSTEM = Actor("system")
"""Timers act as the system; it satisfies no role."""


class _Act(Struct, frozen=True, omit_defaults=True, tag_field="act"):
    """What every act is."""


class Enroll(_Act, frozen=True, tag="enroll"):
    """A patient begins a program."""

    enrollment: str
    patient: str
    site: str = "main"


class Record(_Act, frozen=True, tag="record"):
    """What an open step's form says (report). `step` is a step, an item id, or an `any_time`
    form; `signed` signs it in the same act; `also` names further items it answers."""

    step: str
    values: Mapping[str, Any]
    signed: bool = False
    also: tuple[str, ...] = ()


class Sign(_Act, frozen=True, tag="sign"):
    """A signature under what was recorded or done (report): one's own, or, as a second person,
    a cosignature or that of a witness."""

    step: str
    cosign: bool = False
    witness: bool = False


class Settle(_Act, frozen=True, tag="settle"):
    """How an item ended: done, declined, missed, unable (reports); skipped, waived, withheld
    (requests). Everything but done needs a reason; `signed` signs what is done in the same
    act."""

    step: str
    outcome: Outcome
    reason: str = ""
    signed: bool = False


class Claim(_Act, frozen=True, tag="claim"):
    """An open item is taken on by the actor (request). Others of the role may still do it."""

    step: str


class Unclaim(_Act, frozen=True, tag="unclaim"):
    """An item is nobody's in particular again (request)."""

    step: str


class Assign(_Act, frozen=True, tag="assign"):
    """An open item is given to a person (request); the host knows who that is."""

    step: str
    person: str


class HandOver(_Act, frozen=True, tag="hand-over"):
    """What the actor has taken on goes to another person (request): one item, or `all`."""

    step: str
    person: str


class Revoke(_Act, frozen=True, tag="revoke"):
    """The patient revokes a consent (report)."""

    consent: str
    reason: str = ""


class Book(_Act, frozen=True, tag="book"):
    """A session is booked, or its booking moved (request)."""

    session: str
    booked_for: datetime | None = None


class Cancel(_Act, frozen=True, tag="cancel"):
    """A session will not take place; nothing was given (report)."""

    session: str
    reason: str = ""


class Arrive(_Act, frozen=True, tag="arrive"):
    """The patient is there (report)."""

    session: str


class Start(_Act, frozen=True, tag="start"):
    """A session starts (request); `present` are the roles that are there besides the actor's."""

    session: str
    present: tuple[str, ...] = ()


class Dose(_Act, frozen=True, tag="dose"):
    """Something was given (report): an amount such as `500 mg`, a rate, or both. `last` says
    that nothing more follows; None: so where the program gives no rate."""

    session: str
    amount: str = ""
    rate: str = ""
    last: bool | None = None


class Pause(_Act, frozen=True, tag="pause"):
    """Giving was paused (report)."""

    session: str
    reason: str = ""


class Resume(_Act, frozen=True, tag="resume"):
    """Giving goes on (request)."""

    session: str
    rate: str = ""


class EndDosing(_Act, frozen=True, tag="end-dosing"):
    """Nothing more is given (report); `amount` is the total, where it is known only now."""

    session: str
    amount: str = ""


class Abort(_Act, frozen=True, tag="abort"):
    """The session ended early (report)."""

    session: str
    reason: str = ""


class Release(_Act, frozen=True, tag="release"):
    """The patient may go (request); it is signed by the actor."""

    session: str


class Go(_Act, frozen=True, tag="go"):
    """The way on is chosen where no row held, or an excursion begins (request)."""

    to: str
    reason: str = ""


class Move(_Act, frozen=True, tag="move"):
    """The patient is in a phase, whatever the gates say (report): an admission that took place,
    a transfer by night. It is kept as a deviation, and somebody must look at it."""

    to: str
    reason: str = ""


class Override(_Act, frozen=True, tag="override"):
    """A gate is to count as true for a while (request)."""

    gate: str
    reason: str = ""


class Hold(_Act, frozen=True, tag="hold"):
    """Nothing moves and nothing starts until it is lifted (request)."""

    reason: str = ""


class Lift(_Act, frozen=True, tag="lift"):
    """A hold is over (request); "" lifts the only one."""

    hold: str = ""


class Leave(_Act, frozen=True, tag="leave"):
    """The patient has left, was transferred, died, … (report)."""

    end: str
    reason: str = ""


class Elapsed(_Act, frozen=True, tag="elapsed"):
    """A timer's instant has come; only the shell says so. `about` waits for it, `what` is it."""

    timer: str
    what: str
    about: str


Act = (
    Enroll
    | Record
    | Sign
    | Settle
    | Claim
    | Unclaim
    | Assign
    | HandOver
    | Revoke
    | Book
    | Cancel
    | Arrive
    | Start
    | Dose
    | Pause
    | Resume
    | EndDosing
    | Abort
    | Release
    | Go
    | Move
    | Override
    | Hold
    | Lift
    | Leave
    | Elapsed
)


class Command(Struct, frozen=True):
    """One act by one actor. `role` is the role acted in; "" takes the first that serves.

    `emergency` is a reason to break the glass: act first, document after. Role, hold and gates
    that somebody may override then stand in nobody's way; what was passed is written, and must
    be reviewed by somebody else.
    """

    id: str
    act: Act
    by: Actor
    at: datetime
    occurred: datetime | None = None
    role: str = ""
    emergency: str = ""

    @property
    def words(self) -> str:
        """The act in words, without any value: `record baseline`."""
        return words(self.act)


_NAMED = ("step", "session", "consent", "gate", "end", "to", "hold", "enrollment", "timer")


def words(act: Act) -> str:
    """An act as a phrase, without any value: `record baseline`, `decline craving`."""
    name = next((getattr(act, key) for key in _NAMED if hasattr(act, key)), "")
    if isinstance(act, Settle):
        verb = _VERB_OF_OUTCOME.get(act.outcome, act.outcome)
    elif isinstance(act, Sign) and act.cosign:
        verb = "cosign"
    elif isinstance(act, Sign) and act.witness:
        verb = "witness"
    else:
        verb = _VERB_OF_ACT[type(act)]
    return f"{verb} {name}".rstrip()


_VERB_OF_OUTCOME = {
    "done": "done",
    "declined": "decline",
    "skipped": "skip",
    "missed": "miss",
    "waived": "waive",
    "withheld": "withhold",
    "unable": "unable",
}
_OUTCOME_OF_VERB = {verb: outcome for outcome, verb in _VERB_OF_OUTCOME.items()}
_VERB_OF_ACT: dict[type, str] = {
    Enroll: "enroll",
    Record: "record",
    Sign: "sign",
    Claim: "claim",
    Unclaim: "unclaim",
    Assign: "assign",
    HandOver: "hand over",
    Revoke: "revoke",
    Book: "book",
    Cancel: "cancel",
    Arrive: "arrive",
    Start: "start",
    Dose: "dose",
    Pause: "pause",
    Resume: "resume",
    EndDosing: "end dosing",
    Abort: "abort",
    Release: "release",
    Go: "go",
    Move: "move",
    Override: "override",
    Hold: "hold",
    Lift: "lift",
    Leave: "leave",
    Elapsed: "elapsed",
}
_TWO_WORDS = (("end", "dosing"), ("hand", "over"))
_SIGNS = ("cosign", "witness")
VERBS = (*_OUTCOME_OF_VERB, *(v for v in _VERB_OF_ACT.values() if v != "elapsed"), *_SIGNS)
"""Every verb of the phrases."""


class BadPhrase(ValueError):
    """A phrase that names no act; the text says which verbs there are."""


def parse(phrase: str, given: Mapping[str, Any] | None = None, signed: bool = False) -> Act:
    """`"start nad_infusion"` → Start("nad_infusion"); `given` fills in values and details.

    Raises BadPhrase for a verb that does not exist, a missing name or a detail of no use.
    """
    given = dict(given or {})
    verb, _, name = phrase.strip().partition(" ")
    for first, second in _TWO_WORDS:
        if verb == first and (name == second or name.startswith(second + " ")):
            verb, name = f"{first} {second}", name[len(second) :].strip()
    if verb in ("assign", "hand over") and " to " in name:
        name, given["person"] = (part.strip() for part in name.split(" to ", 1))
    if verb == "record":
        if not name:
            raise BadPhrase("record what? Name a step or a form")
        return Record(name, given, signed=signed)
    kind: type | None
    fixed: dict[str, Any]
    if verb in _OUTCOME_OF_VERB:
        kind = Settle
        fixed = {"step": name, "outcome": _OUTCOME_OF_VERB[verb], "signed": signed}
    elif verb in ("sign", "cosign", "witness"):
        kind = Sign
        fixed = {"step": name, "cosign": verb == "cosign", "witness": verb == "witness"}
    else:
        kind = next((k for k, v in _VERB_OF_ACT.items() if v == verb and k is not Elapsed), None)
        if kind is None:
            raise BadPhrase(f'there is no "{verb}"; the verbs are {", ".join(sorted(VERBS))}')
        named = next(
            key
            for key in (*_NAMED, "reason")
            if key in kind.__struct_fields__  # type: ignore[attr-defined]
        )
        fixed = {named: name}
        if kind is Hold:
            fixed = {"reason": name} if name else {}
    if not name and kind not in (Hold, Lift):
        raise BadPhrase(f'"{verb}" needs a name')
    if "for" in given:
        given["booked_for"] = given.pop("for")
    unknown = set(given) - set(kind.__struct_fields__)  # type: ignore[attr-defined]
    if unknown:
        raise BadPhrase(f'"{verb}" takes no {", ".join(sorted(unknown))}')
    if kind in (Assign, HandOver) and not given.get("person"):
        raise BadPhrase(f'"{verb}" needs a person: {verb} STEP to PERSON')
    if "present" in given:
        present = given["present"]
        if not isinstance(present, list | tuple | set | frozenset):
            raise BadPhrase(f'"{verb}" takes present as a list of roles')
        given["present"] = tuple(present)
    act: Act = kind(**{**given, **fixed})
    return act
