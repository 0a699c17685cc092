"""Which versions of a program may drive patients: the fold of the program's own stream.

A version is a draft until a medical director signs it off, approved from then on, and retired
when it must take nobody new. What is signed is the digest, so that a changed file is a draft
again. Patients who are under way stay with the version they were enrolled with.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.errors import Reason, Refusal

if TYPE_CHECKING:
    from kat_workflow.enrollment.around import Addition
    from kat_workflow.enrollment.commands import Actor

SIGNER = "medical_director"
"""The role that signs programs off and retires them; the host says who has it."""

Standing = Literal["draft", "approved", "retired"]


class SignOff(Struct, frozen=True, array_like=True, gc=False):
    """What was last decided about one digest of a program, by whom and when."""

    version: str
    standing: Standing
    person: str
    name: str
    at: datetime
    meaning: str


class Register(Struct, frozen=True, array_like=True, gc=False):
    """The sign-offs of one program by digest, oldest first, as of `version` events."""

    version: int = 0
    signed: dict[str, SignOff] = {}

    def standing(self, digest: str) -> Standing:
        """What is known of a digest: whatever nobody signed is a draft."""
        found = self.signed.get(digest)
        return "draft" if found is None else found.standing

    def approved(self) -> str:
        """The digest that was approved last and is not retired, or ""."""
        return next((d for d in reversed(self.signed) if self.standing(d) == "approved"), "")


def sign_off(
    addition: Addition,
    program: str,
    version: str,
    digest: str,
    by: Actor,
    name: str,
    meaning: str,
    at: datetime,
) -> Refusal | None:
    """Approve a digest of a program; the reasons against it, if there are any."""
    register: Register = addition.state
    reasons = [*_may_sign(by)]
    if register.standing(digest) != "draft":
        says = f"{program} {version} is {register.standing(digest)} already"
        reasons.append(
            Reason("signed-already", says, unblock=("give a changed program a version",))
        )
    other = next(
        (d for d, s in register.signed.items() if s.version == version and d != digest), ""
    )
    if other:
        says = f"{program} {version} was signed off with other files (digest {other[:12]})"
        reasons.append(Reason("version-changed", says, unblock=("give it a new version",)))
    if not name:
        says = "a signature has the printed name of whoever signs"
        reasons.append(Reason("name-missing", says, unblock=("give the name",)))
    if reasons:
        return Refusal(f"sign off {program}", tuple(reasons))
    addition.emit(e.ProgramSignedOff(program, version, digest, by.person, name, meaning, at))
    return None


def retire(
    addition: Addition, program: str, digest: str, by: Actor, reason: str, at: datetime
) -> Refusal | None:
    """Let a digest take nobody new; the reasons against it, if there are any."""
    register: Register = addition.state
    reasons = [*_may_sign(by)]
    if register.standing(digest) != "approved":
        says = f"what is retired must be approved; this is {register.standing(digest)}"
        reasons.append(Reason("not-approved", says, unblock=("name an approved version",)))
    if not reason:
        says = "retiring a program needs a reason"
        reasons.append(Reason("reason-missing", says, unblock=("say why",)))
    if reasons:
        return Refusal(f"retire {program}", tuple(reasons))
    addition.emit(e.ProgramRetired(program, digest, by.person, reason, at))
    return None


def _may_sign(by: Actor) -> tuple[Reason, ...]:
    if SIGNER in by.roles:
        return ()
    return (Reason("wrong-role", "signing off is for: Medical director", unblock=("ask one",)),)


def evolve(register: Register, event: e.Event) -> Register:
    """The register after one more event; the old one is left as it was."""
    return FOLDS[type(event)](replace(register, version=register.version + 1), event)


def _signed_off(r: Register, x: e.ProgramSignedOff) -> Register:
    made = SignOff(x.version, "approved", x.person, x.name, x.at, x.meaning)
    return replace(r, signed={**r.signed, x.digest: made})


def _retired(r: Register, x: e.ProgramRetired) -> Register:
    retired = replace(r.signed[x.digest], standing="retired")
    return replace(r, signed={**r.signed, x.digest: retired})


FOLDS: dict[type, Callable[[Register, Any], Register]] = {
    e.ProgramSignedOff: _signed_off,
    e.ProgramRetired: _retired,
}
