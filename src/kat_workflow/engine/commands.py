"""Commands to an enrollment: carried out, or asked why they could not be; timers that are due."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kat_workflow.engine.receiving import digest_of, hashed, new_id, received, refuse, sound
from kat_workflow.engine.shell import Shell, explained
from kat_workflow.engine.views import Outcome
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Past
from kat_workflow.enrollment.commands import Act, Actor, Command
from kat_workflow.enrollment.decide import catch_up, decide
from kat_workflow.enrollment.renaming import in_names_of_now
from kat_workflow.errors import KatError, Refusal, Refused

if TYPE_CHECKING:
    from kat_workflow.program.model import Program

_log = logging.getLogger("kat_workflow")


class Commands(Shell):
    """Commands to enrollments; what patients and groups need done comes through here as well."""

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

        The id derives from the command's id, so that a retry finds the same enrollment. Where
        only signed programs are begun, `id@version` is the version that was signed, by the files
        that were, whatever the library has now. Raises Refused, and ProgramError where the
        program's files are at fault.
        """
        id_ = command_id or new_id()
        enrollment = "e-" + hashed(id_.encode(errors="backslashreplace"))[:20]
        act = sound(c.Enroll(enrollment, patient, site), by, id_, "")
        digest = digest_of(enrollment, act, by, None, program)
        if command_id is not None and self.journal.receipt(id_, digest) is not None:
            return enrollment  # a retry needs none of the files, which may be gone by now
        definition = self._to_begin(program)
        self._site(site, "enroll")
        self._carry_out(enrollment, act, by, id_, digest, None, "", definition)
        return enrollment

    def _to_begin(self, name: str) -> Program:
        """The program of an id or `id@version`, as a patient is to begin it."""
        id_, _, version = name.partition("@")
        if self._signed_only and version:
            register = self._beside("program", id_)
            for digest, each in register.signed.items():
                if each.version == version and each.standing == "approved":
                    return self._by_digest.get(digest) or self._pinned(digest)
        return self.program(name)

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
        id_ = command_id or new_id()
        act, digest = received(enrollment, act, by, id_, occurred, role, emergency)
        if self._authenticate is not None and _signs(act) and not self._is_known(by, act):
            before = None if command_id is None else self.journal.receipt(id_, digest)
            if before is not None:  # a retry of what was carried out asks for nothing new
                return self._again(enrollment, before)
            says, way = "whoever signs must show who they are", "authenticate again"
            raise refuse(c.words(act), "not-authenticated", says, way)
        act = self._looked_up(enrollment, act)
        return self._carry_out(enrollment, act, by, id_, digest, occurred, role, None, emergency)

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
        reason: str = "",
    ) -> Refusal | None:
        """What stands in the way of a phrase, and what would clear it; None: nothing does.

        It is `decide` itself, with timers that are due run in memory only. `reason` is for the
        access log: why it was asked.
        """
        act = self._looked_up(enrollment, self._parse(phrase, given, signed))
        program, state = self._read(enrollment)
        self._looked(
            "why", by, reason, (state.patient,), enrollment=enrollment, emergency=emergency
        )
        now = self._instant()
        around = self._around(state, act)
        around, (ran, state) = self._ask(catch_up, program, state, around, now)
        command = Command("why", act, by, now, None, role, emergency)
        ahead = [Past(done.enrollment.last or now, x) for _, done in ran for x in done.events]
        _, answer = self._ask(decide, program, state, around, command, ahead)
        if isinstance(answer, Refusal):
            return explained(program, state, around, command, answer)
        return None

    def hand_over(
        self, to: str, *, by: Actor, site: str | None = None, command_id: str | None = None
    ) -> int:
        """Hand everything that the actor has taken on (at a site) to another person; how many
        items. Each enrollment is a command of its own: half done, it is simply said again."""
        from kat_workflow.enrollment.people import ALL  # noqa: PLC0415  # on first use

        id_ = command_id or new_id()
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

    def _parse(self, phrase: str, given: Mapping[str, Any] | None, signed: bool) -> Act:
        try:
            return c.parse(phrase, given, signed)
        except c.BadPhrase as error:
            raise refuse(
                phrase.partition(" ")[0], "bad-phrase", str(error), "write as in: start SESSION"
            ) from error

    def _looked_up(self, enrollment: str, act: Act) -> Act:
        """The act, with the evaluations that it names."""
        if not isinstance(act, c.Offer):
            return act
        from kat_workflow.enrollment import carrying  # noqa: PLC0415  # on first use

        program, _ = self._read(enrollment)
        with self._retelling(enrollment) as told:
            events = (past.event for past in in_names_of_now(tuple(told)))
            found = carrying.evaluations(program, events, act.steps)
        return replace(act, evaluations=found)

    # ---- timers -----------------------------------------------------------------------------

    def run_due(self, limit: int = 1000) -> int:
        """Run the timers that are due in up to `limit` enrollments; returns how many ran.

        Nothing depends on when, or whether, this is called: every command catches up first. An
        enrollment whose timers cannot be run is said in the log and holds up no other.
        """
        now, ran = self._instant(), 0
        failed: set[str] = set()
        while limit > 0:
            page = self.journal.due(now, limit + len(failed))
            found = [stream for stream, _ in page if stream not in failed]
            if not found:
                break
            for stream in found:
                try:
                    ran += self.run_due_in(stream.partition(":")[2])
                except Exception as error:
                    # One record that cannot be read, or of a site that is another engine's, must
                    # not hold up the timers of all others.
                    failed.add(stream)
                    _log.error("the timers of %s were not run: %s", stream, said(error))
                else:
                    limit -= 1
        return ran


def said(error: Exception) -> str:
    """What a log may say of an error: ours tell nothing of a patient, any other could quote."""
    return str(error) if isinstance(error, KatError) else type(error).__name__


_SIGNING = (c.Sign, c.Release, c.Override, c.Order, c.Check, c.WitnessWaste)


def _signs(act: Act) -> bool:
    """Whether an act puts a person's signature under something."""
    return isinstance(act, _SIGNING) or getattr(act, "signed", False)
