"""Electronic signatures: who signed what, when and with which meaning, bound to the content.

A signature holds the printed name, the instant, the meaning and a SHA-256 over the content that
was signed: a recording with its values, a task that was done, a release. Over any other content
it does not hold. That these three stand with every signature, and that it cannot be moved to
another record, is what 21 CFR Part 11 asks for (§11.50, §11.70).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from kat_workflow.enrollment import events as e

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.program.model import Step


class Signature(Struct, frozen=True):
    """A signature as it stands in the record.

    `record` is the id of what was signed: an observation, an item or a session. `valid` says
    whether the record still holds what was signed; it is None for a signature of a release of
    this library that did not bind the content.
    """

    record: str
    item: str
    as_: str
    meaning: str
    person: str
    name: str
    role: str
    at: datetime
    acting_for: str = ""
    content: str = ""
    valid: bool | None = None


def signatures(enrollment: str, events: Iterable[e.Event]) -> tuple[Signature, ...]:
    """Every signature of an enrollment, in order, each held against what stands in the record."""
    signed: dict[str, e.Event] = {}
    found: list[Signature] = []
    for event in events:
        if isinstance(event, e.ObservationRecorded | e.ObservationCorrected):
            signed[event.observation] = event
        elif isinstance(event, e.ItemAnswered):
            signed[event.item] = event
        elif isinstance(event, e.SessionReleased):
            signed[event.session] = event
        elif isinstance(event, e.Signed):
            record = event.observation or event.session or event.item
            valid = None
            if event.content:
                of = signed.get(record)
                valid = of is not None and content_of(enrollment, of) == event.content
            found.append(
                Signature(
                    record,
                    event.item,
                    event.as_,
                    event.meaning,
                    event.person,
                    event.name or event.person,
                    event.role,
                    event.at,
                    event.acting_for,
                    event.content,
                    valid,
                )
            )
    return tuple(found)


def content_of(enrollment: str, event: e.Event) -> str:
    """The hash of what a signature under an event is put under."""
    if isinstance(event, e.ObservationRecorded | e.ObservationCorrected):
        what: Any = (event.form, event.step, event.person, event.values)
        return _hash(enrollment, event.observation, event.occurred, what)
    if isinstance(event, e.ItemAnswered):
        return _hash(enrollment, event.item, event.occurred, (event.step, event.person, "done"))
    assert isinstance(event, e.SessionReleased)  # nothing else is signed
    what = (event.final, event.counted, event.reason, event.evidence)
    return _hash(enrollment, event.session, event.at, what)


def asks_for_signatures(step: Step) -> bool:
    """Whether anybody signs what is recorded or done in a step."""
    return step.signed or bool(step.cosigned_by) or bool(step.witnessed_by)


def needs(step: Step, signed: bool) -> tuple[str, ...]:
    """The signatures that a step still needs, once it was recorded or done (and signed, or not
    yet)."""
    if not asks_for_signatures(step):
        return ()
    asked = (
        ("signature", step.signed and not signed),
        ("cosignature", bool(step.cosigned_by)),
        ("witness", bool(step.witnessed_by)),
    )
    return tuple(as_ for as_, wanted in asked if wanted)


def signers(step: Step, as_: str) -> tuple[str, ...]:
    """The roles that may put a signature of a kind under a step."""
    if as_ == "signature":
        return step.by
    return step.cosigned_by if as_ == "cosignature" else step.witnessed_by


def put(
    j: Judge,
    as_: str,
    content: str,
    *,
    item: str = "",
    observation: str = "",
    session: str = "",
    own: bool = True,
) -> None:
    """Write the actor's signature; `own` says whether they sign what they have done themselves."""
    meaning = _MEANING[as_] if own or as_ != "signature" else "reviewed"
    actor = j.actor
    j.run.emit(
        e.Signed(
            item,
            observation,
            as_,
            actor.person,
            j.run.role,
            j.at,
            actor.name or actor.person,
            meaning,
            content,
            j.run.acting_for,
            session,
        )
    )


_MEANING = {
    "signature": "authored",
    "cosignature": "cosigned",
    "witness": "witnessed",
    "release": "released",
}

_canonical = msgspec.json.Encoder(order="deterministic")


def _hash(enrollment: str, record: str, at: datetime, what: Any) -> str:
    from hashlib import sha256  # noqa: PLC0415  # whoever signs nothing does not wait for it

    body = _canonical.encode((enrollment, record, at.astimezone(UTC), what))
    return sha256(body).hexdigest()
