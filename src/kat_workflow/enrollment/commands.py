"""What may be asked (requests) and what may be told (reports), and by whom.

A `Command` is the envelope: its id comes from the caller and makes a retry harmless; `at` is
stamped by the shell, `occurred` is when it happened if that was earlier. `act` says what. The
same words (`record baseline`, `start nad_infusion`) name an act in `why`, `kat do` and scenarios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from kat_workflow.enrollment.events import Evaluation
from kat_workflow.program import Cause, Outcome


class Actor(Struct, frozen=True):
    """Who acts: a person (not an account) and the roles in which they may. The host says so.

    `name` is the person's printed name, as it stands under a signature (the person's id where it
    is left out). From `until[role]` on a credential has expired and the role is not held. `sites`
    are the names of the sites at which the roles are held; none named: everywhere. `covers[role]`
    is the person for whom the role is acted in: it is held by that alone, and the entry says so.
    Raises ValueError for an `until` without a zone.
    """

    person: str
    roles: frozenset[str] = frozenset()
    name: str = ""
    until: Mapping[str, datetime] = {}
    sites: frozenset[str] = frozenset()
    covers: Mapping[str, str] = {}

    if TYPE_CHECKING:  # roles and sites are taken as they come, and kept as sets

        def __init__(
            self,
            person: str,
            roles: Iterable[str] = ...,
            name: str = ...,
            until: Mapping[str, datetime] = ...,
            sites: Iterable[str] = ...,
            covers: Mapping[str, str] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if any(at.tzinfo is None for at in self.until.values()):
            raise ValueError("an instant without a zone names no moment: give `until` an offset")
        force_setattr(self, "roles", frozenset(self.roles))
        force_setattr(self, "sites", frozenset(self.sites))

    def __hash__(self) -> int:
        return hash((self.person, self.roles, self.name, self.sites))


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


class Correct(_Act, frozen=True, tag="correct"):
    """A recording was wrong (report): what it says instead, and why it is changed. `record` is
    its id, or a step or form, whose newest one is meant. What `values` leave out stays; the time
    when it happened stays too, unless the command says another. `signed` signs it in the same
    act."""

    record: str
    values: Mapping[str, Any] = {}
    reason: str = ""
    signed: bool = False


class Retract(_Act, frozen=True, tag="retract"):
    """A recording was entered in error (report): it is no longer to be read."""

    record: str
    reason: str = ""


class Addend(_Act, frozen=True, tag="addend"):
    """Something is added to a recording that contradicts nothing in it (report): what it says
    besides. `record` is as in `Correct`; no gate ever reads what was added."""

    record: str
    text: str = ""


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
    """A session will not take place; nothing was given (report). `cause` is who or what cancels
    it: patient, clinic or unfit (on the day); "" where nobody says."""

    session: str
    reason: str = ""
    cause: Cause = ""


class Arrive(_Act, frozen=True, tag="arrive"):
    """The patient is there (report)."""

    session: str


class Start(_Act, frozen=True, tag="start"):
    """A session starts (request); `present` are the roles that are there besides the actor's."""

    session: str
    present: tuple[str, ...] = ()


class Dose(_Act, frozen=True, tag="dose"):
    """Something was given (report): an amount such as `500 mg`, a rate, or both, and from which
    lot. `last` says that nothing more follows; None: so where the program gives no rate."""

    session: str
    amount: str = ""
    rate: str = ""
    last: bool | None = None
    lot: str = ""


class Order(_Act, frozen=True, tag="order"):
    """A prescriber orders a drug (request): `amount` in all, such as `0.5 mg/kg`; `bolus` is the
    part of it that is given first, over `bolus_over`; the rest goes over `infusion_over`, or at
    `rate`."""

    order: str
    amount: str = ""
    bolus: str = ""
    bolus_over: str = ""
    infusion_over: str = ""
    rate: str = ""
    reason: str = ""


class StopOrder(_Act, frozen=True, tag="stop-order"):
    """An order is stopped (report)."""

    order: str
    reason: str = ""


class Check(_Act, frozen=True, tag="check"):
    """A second person has checked patient, drug, amount and pump (report)."""

    session: str


class Draw(_Act, frozen=True, tag="draw"):
    """Some of a controlled drug's lot was drawn for a session, or for a medicine (report)."""

    session: str
    amount: str = ""
    lot: str = ""


class Waste(_Act, frozen=True, tag="waste"):
    """Some of what was drawn was wasted (report), and in which `manner` it was disposed of.
    Another person witnesses it."""

    session: str
    amount: str = ""
    lot: str = ""
    manner: str = ""


class Return(_Act, frozen=True, tag="return"):
    """Some of what was drawn went back into the cupboard, untouched (report)."""

    session: str
    amount: str = ""
    lot: str = ""


class WitnessWaste(_Act, frozen=True, tag="witness-waste"):
    """A second person saw what was wasted (report)."""

    session: str


class Give(_Act, frozen=True, tag="give"):
    """A medicine was given as needed (report)."""

    medicine: str
    amount: str = ""
    lot: str = ""
    reason: str = ""


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
    """A gate is to count as true for a while (request). `code` is one of the reasons that the
    program names, where it names any; `reason` says more."""

    gate: str
    reason: str = ""
    code: str = ""


class Hold(_Act, frozen=True, tag="hold"):
    """Nothing moves and nothing starts until it is lifted (request); `everywhere`: in none of the
    patient's enrollments. From `review_by` on somebody must look whether it still has to stand."""

    reason: str = ""
    everywhere: bool = False
    review_by: datetime | None = None


class Lift(_Act, frozen=True, tag="lift"):
    """A hold is over (request); "" lifts the only one."""

    hold: str = ""


class Leave(_Act, frozen=True, tag="leave"):
    """The patient has left, was transferred, died, … (report)."""

    end: str
    reason: str = ""


class Transfer(_Act, frozen=True, tag="transfer"):
    """The enrollment goes on at another site; nobody is discharged by it (request)."""

    site: str
    reason: str = ""


class ChangeVersion(_Act, frozen=True, tag="change-version"):
    """The patient goes on by another version of the program (request); `version` names it, and
    the shell looks it up. Nobody is moved by it: phases, open steps and their instants stay."""

    version: str
    reason: str = ""


class Flag(_Act, frozen=True, tag="flag"):
    """A version of the program has a fault that somebody must look at for each patient who goes
    by it (report); only the shell says so, of everybody who does."""

    version: str
    reason: str = ""


class Admit(_Act, frozen=True, tag="admit"):
    """The patient was admitted on a date in the past, which is program day 1 (report)."""

    on: date
    reason: str = ""


class Attest(_Act, frozen=True, tag="attest"):
    """What an open step's form says was found out elsewhere, when the command says it `occurred`
    (report); `source` is where it stands: `County Hospital, discharge letter`."""

    step: str
    values: Mapping[str, Any]
    source: str = ""
    signed: bool = False


class Adopt(_Act, frozen=True, tag="adopt"):
    """An evaluation that another enrollment of the patient has handed over answers an open step
    (report). `evaluation` names it (`ENROLLMENT/OBSERVATION`); "" takes the latest."""

    step: str
    evaluation: str = ""
    signed: bool = False


class Offer(_Act, frozen=True, tag="offer"):
    """Evaluations are handed over to a program that the patient is to go on with (request): the
    last of each step that is named, or of each that can be. The shell looks them up."""

    to: str
    steps: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()


class Join(_Act, frozen=True, tag="join"):
    """The patient gets a seat in a group, or a place on its waitlist (request). `item` names the
    step or item, where several are done in such a group."""

    group: str
    item: str = ""


class Drop(_Act, frozen=True, tag="drop"):
    """The patient will not take part in a group (report); a session in it is cancelled."""

    group: str
    reason: str = ""


class SeatFree(_Act, frozen=True, tag="seat-free"):
    """A seat in a group has become free and is kept for the patient, who waited longest: somebody
    must ask them. Only the shell says so."""

    group: str


class Elapsed(_Act, frozen=True, tag="elapsed"):
    """A timer's instant has come; only the shell says so. `about` waits for it, `what` is it."""

    timer: str
    what: str
    about: str


class SignOff(_Act, frozen=True, tag="sign-off"):
    """A program is signed off, as its files with this digest say. It is no enrollment's; a host
    is asked for it before it is signed."""

    program: str
    digest: str
    meaning: str


Act = (
    Enroll
    | Record
    | Correct
    | Retract
    | Addend
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
    | Transfer
    | ChangeVersion
    | Flag
    | Admit
    | Attest
    | Adopt
    | Offer
    | Join
    | Drop
    | SeatFree
    | Elapsed
    | Order
    | StopOrder
    | Check
    | Draw
    | Waste
    | Return
    | WitnessWaste
    | Give
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


_NAMED = (
    "step", "session", "consent", "gate", "end", "to", "hold", "enrollment", "timer", "record",
    "site", "order", "medicine", "group",
    "version",
)  # fmt: skip


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
    Correct: "correct",
    Retract: "retract",
    Addend: "addend",
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
    Transfer: "transfer",
    ChangeVersion: "change version",
    Flag: "flag",
    Admit: "admit",
    Attest: "attest",
    Adopt: "adopt",
    Offer: "offer",
    Join: "join",
    Drop: "drop",
    SeatFree: "seat free",
    Elapsed: "elapsed",
    Order: "order",
    StopOrder: "stop order",
    Check: "check",
    Draw: "draw",
    Waste: "waste",
    Return: "return",
    WitnessWaste: "witness waste",
    Give: "give",
}
_SHELL = (Elapsed, Flag, SeatFree)  # nobody says these
_TWO_WORDS = (
    ("end", "dosing"), ("hand", "over"), ("stop", "order"), ("witness", "waste"),
    ("change", "version"),
)  # fmt: skip
_SIGNS = ("cosign", "witness")
VERBS = (*_OUTCOME_OF_VERB, *(v for k, v in _VERB_OF_ACT.items() if k not in _SHELL), *_SIGNS)
"""Every verb of the phrases."""


class BadPhrase(ValueError):
    """A phrase that names no act; the text says which verbs there are."""


def parse(phrase: str, given: Mapping[str, Any] | None = None, signed: bool = False) -> Act:
    """`"start nad_infusion"` → Start("nad_infusion"); `given` fills in values and details.

    Of a correction, `given` holds the reason and the values, or these apart under `values`.

    Raises BadPhrase for a verb that does not exist, a missing name or a detail of no use.
    """
    given = dict(given or {})
    verb, _, name = phrase.strip().partition(" ")
    for first, second in _TWO_WORDS:
        # A step may be called `waste`: `witness waste` is about that step.
        alone = name == second and first not in _SIGNS
        if verb == first and (alone or name.startswith(second + " ")):
            verb, name = f"{first} {second}", name[len(second) :].strip()
    if verb in ("assign", "hand over") and " to " in name:
        name, given["person"] = (part.strip() for part in name.split(" to ", 1))
    if verb == "record":
        if not name:
            raise BadPhrase("record what? Name a step or a form")
        return Record(name, given, signed=signed)
    if verb == "correct":
        if not name:
            raise BadPhrase("correct what? Name a record, a step or a form")
        reason = given.pop("reason", "")
        if isinstance(given.get("values"), Mapping):  # where a field is called `reason`
            given = {**given.pop("values"), **given}
        return Correct(name, given, reason, signed)
    kind: type | None
    fixed: dict[str, Any]
    if verb in _OUTCOME_OF_VERB:
        kind = Settle
        fixed = {"step": name, "outcome": _OUTCOME_OF_VERB[verb], "signed": signed}
    elif verb in ("sign", "cosign", "witness"):
        kind = Sign
        fixed = {"step": name, "cosign": verb == "cosign", "witness": verb == "witness"}
    else:
        kind = next((k for k, v in _VERB_OF_ACT.items() if v == verb and k not in _SHELL), None)
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
    for listed, of in (("present", "roles"), ("steps", "steps")):
        if listed in given:
            if not isinstance(given[listed], list | tuple | set | frozenset):
                raise BadPhrase(f'"{verb}" takes {listed} as a list of {of}')
            given[listed] = tuple(given[listed])
    if kind is Admit:
        try:
            fixed = {"on": date.fromisoformat(name)}
        except ValueError:
            raise BadPhrase('"admit" takes a date, such as admit 2026-03-02') from None
    elif kind is Offer and "evaluations" in given:
        raise BadPhrase('"offer" names steps; their evaluations are looked up')
    elif kind is Attest and not isinstance(given.setdefault("values", {}), Mapping):
        raise BadPhrase('"attest" takes values as the fields of the form')
    if kind in (Attest, Adopt):
        given.setdefault("signed", signed)
    try:
        act: Act = kind(**{**given, **fixed})
    except TypeError:  # whoever is enrolled by a phrase is named in the details
        raise BadPhrase(f'"{verb}" needs more than a name: it is a call of its own') from None
    return act
