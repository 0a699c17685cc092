"""What a clinic keeps that is no patient's: its roster, the register of programs, its drugs.

Each is a stream of its own beside the enrollments, written by a pure judge (`Shell._add`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

from kat_workflow.engine.receiving import hashed, new_id, refuse
from kat_workflow.engine.shell import Shell
from kat_workflow.engine.views import AUDIT, Happened, as_happened
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import cupboard as stock
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Addition
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.cupboard import UNLEDGERED, Cupboard
from kat_workflow.enrollment.register import SIGNER, Register, retire, sign_off
from kat_workflow.enrollment.roster import Roster, grant, revoke
from kat_workflow.errors import JournalError, Refusal
from kat_workflow.journal import placed
from kat_workflow.program import PATIENT

if TYPE_CHECKING:
    from kat_workflow.program.model import Program

_Shelved = e.StockReceived | e.StockCounted | e.LotUsed


class Clinic(Shell):
    """The rosters of the sites, the register of programs, the drug cupboards."""

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
        id_ = command_id or new_id()
        cover = "cover-" + hashed(id_.encode(errors="backslashreplace"))[:12]
        if until.tzinfo is None or (since is not None and since.tzinfo is None):
            says = "a time of the cover has no zone"
            raise refuse("grant cover", "naive-instant", says, "give its offset")

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

    # ---- programs and who signed them -------------------------------------------------------

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
        if self._authenticate is not None:
            act = c.SignOff(found.id, found.digest, meaning)
            if not self._is_known(by, act):
                says, way = "whoever signs must show who they are", "authenticate again"
                raise refuse(f"sign off {found.id}", "not-authenticated", says, way)

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            its = (found.id, found.version, found.digest)
            refusal = sign_off(addition, *its, by, name, meaning, at)
            if refusal is None:  # not before: what is refused may still be mended
                self._keep(found, found.id)
            return refusal

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

    def approved(self, program: str) -> Program | None:
        """The version of a program (its id) that was approved last and is not retired, by the
        files that were signed, whatever the library has now; None if there is none."""
        digest = self.register(program).approved()
        return self._by_digest.get(digest) or self._pinned(digest) if digest else None

    def kept_files(self, digest: str) -> Mapping[str, str] | None:
        """The files with a digest as the journal keeps them, None if it does not."""
        kept = self.journal.program(digest)
        return None if kept is None else kept.files

    # ---- the drug cupboards of the sites ----------------------------------------------------

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
        product: e.Product = e.NO_PRODUCT,
        containers: int = 0,
        witness: str = "",
        command_id: str | None = None,
    ) -> tuple[e.Event, ...]:
        """Some of a lot (`500 mg`) comes into a site's cupboard, in so many `containers`; it must
        not be used after the date on which it `expires`. Of a scheduled drug (`product.schedule`)
        the whole product, the number of containers and the supplier are asked for; a supplier is
        written with address and registration number. `witness` is a second person who was there.
        Who may do so is for the host to say. Raises Refused."""

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
                product=product,
                containers=containers,
                witness=witness,
            )

        said: tuple[object, ...] = ("receive", drug, lot, amount, supplier, expires)
        its = (product.form, product.strength, product.container, product.schedule, witness)
        if any(its) or containers:  # else a retry of what an older version sent would differ
            said = (*said, *its, str(containers))
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
        witness: str = "",
        command_id: str | None = None,
    ) -> tuple[e.Event, ...]:
        """A lot was counted: so much of it is `found` in the cupboard; a difference needs a
        `reason` (broken, lost, given to a disposer). `witness` is a second person who was there.
        Raises Refused."""

        def judge(addition: Addition, at: datetime) -> Refusal | None:
            person = by.person
            return stock.count(
                addition, drug, lot, found, reason=reason, at=at, person=person, witness=witness
            )

        said = ("count", drug, lot, found, reason, *([witness] if witness else []))
        return self._at_cupboard(site, judge, by, command_id, said)

    def cupboard(self, site: str = "main") -> Cupboard:
        """A site's drugs: its lots, and what of controlled drugs is out and unaccounted for."""
        self._site(site, "cupboard")
        cupboard: Cupboard = self._beside("cupboard", site)
        return cupboard

    def ledger(
        self,
        site: str = "main",
        drug: str = "",
        schedule: str = "",
        *,
        by: Actor | None = None,
        why: str = "",
    ) -> tuple[Happened, ...]:
        """The controlled-drug ledger of a site, oldest first: all that came in, was counted, drawn,
        given, wasted, witnessed and returned of the drugs that stand in a ledger or a schedule,
        each with product, volume, patient and person (21 CFR 1304.22(c)). Of one `drug`, or one
        `schedule`: those of I and II are kept apart from the others. `by` is who is shown it, and
        `why`, for the access log."""
        kept = list(self._shelved(f"cupboard:{self._site(site, 'ledger').name}"))
        controlled = {
            event.drug.casefold(): event.product.schedule
            for _, event in kept
            if event.product.schedule
            or (isinstance(event, e.LotUsed) and event.what not in UNLEDGERED)
        }
        found = [
            (happened, event)
            for happened, event in kept
            if event.drug.casefold() in controlled
            and drug.casefold() in ("", event.drug.casefold())
            and schedule in ("", controlled[event.drug.casefold()])
        ]
        given = (event.patient for _, event in found if isinstance(event, e.LotUsed))
        self._looked("ledger", by, why, given)
        return tuple(happened for happened, _ in found)

    def lots(
        self, lot: str, drug: str = "", *, by: Actor | None = None, why: str = ""
    ) -> tuple[Happened, ...]:
        """Everything that happened to a lot, at any site, oldest first: who supplied it, how much
        came, and which patient got how much of it and when, as a recall needs it. `by` is who is
        shown it, and `why`, for the access log."""
        found = [
            happened
            for stream in self.journal.streams("cupboard:")
            for happened, event in self._shelved(stream)
            if event.lot == lot and drug.casefold() in ("", event.drug.casefold())
        ]
        given = (x.event.patient for x in found if isinstance(x.event, e.LotUsed))
        self._looked("lots", by, why, given)
        return tuple(sorted(found, key=lambda each: each.position))

    def _shelved(self, stream: str) -> Iterator[tuple[Happened, _Shelved]]:
        """What happened to the lots of a cupboard; that a name was erased there is left out."""
        for entry in self.journal.read(stream):
            happened = as_happened(entry)
            event = happened.event
            if isinstance(event, _Shelved):
                yield happened, event
            elif not isinstance(event, e.Erased):
                raise JournalError(f"{placed(entry)} is nothing that happens to a drug; {AUDIT}")

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
            raise refuse(str(said[0]), "bad-phrase", "it is no plain text", "give text")
        return self._add("cupboard", site, judge, by, "", command_id, said)


def _holds(by: Actor, at: datetime, site: str) -> frozenset[str]:
    """The roles of the staff that somebody holds at a site, other than in cover."""
    from kat_workflow.enrollment.people import hindrance  # noqa: PLC0415  # on first use

    own = [role for role in by.roles if role not in by.covers and role != PATIENT]
    return frozenset(role for role in own if hindrance(by, role, at, site, "") is None)
