"""A patient across programs: what is known of them, who comes from elsewhere, two ids of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING

from kat_workflow.engine.commands import Commands
from kat_workflow.engine.questions import Questions
from kat_workflow.engine.receiving import digest_of, new_id, refuse
from kat_workflow.engine.shell import ATTEMPTS, append_of, stream_of, told_in
from kat_workflow.engine.views import (
    Attested,
    Course,
    Outcome,
    PatientView,
    Suggestion,
    as_happened,
)
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import patients
from kat_workflow.enrollment.around import Addition
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.decide import catch_up
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.errors import Conflict, Refusal, Refused

if TYPE_CHECKING:
    from kat_workflow.program.model import Program


class Patients(Commands, Questions):
    """A patient across programs and ids, and commands that reach several enrollments."""

    def flag_version(
        self, program: str, version: str, *, by: Actor, reason: str, command_id: str | None = None
    ) -> tuple[str, ...]:
        """A version of a program has a fault: somebody must look at each patient in treatment who
        goes by it. Returns their enrollments. Each is a command of its own: half done, it is said
        again with the same id. Raises Refused where one of them refuses it."""
        id_ = command_id or new_id()
        found = self._who_is_on(program, version)
        for each in found:
            derived = f"{id_}/{each.enrollment}"
            self.handle(each.enrollment, c.Flag(version, reason), by=by, command_id=derived)
        return tuple(each.enrollment for each in found)

    def patient(
        self, patient: str, *, by: Actor | None = None, why: str = "", emergency: str = ""
    ) -> PatientView:
        """All that is known of a patient across programs, under whichever of their ids.

        Raises Refused for an id that nobody was ever enrolled under. `by`, `why` and `emergency`
        are for the access log: see `history`.
        """
        record = self._patient(patient)
        if not record.version:
            says = f'no enrollment was ever made for "{patient}"'
            raise refuse("patient", "unknown-patient", says, "check the id")
        known = record.known
        shown = self._offered(known, by, emergency)
        self._looked("patient", by, why, (record.patient,), emergency=emergency)
        courses = [
            Course(id_, x.patient, x.program, x.site, x.began, x.end, x.ended)
            for id_, x in known.enrollments.items()
        ]
        return PatientView(
            record.patient,
            tuple(known.merged),
            tuple(sorted(courses, key=lambda course: (course.began, course.enrollment))),
            tuple(session for session in known.sessions.values() if not session.over),
            tuple(known.holds.values()),
            tuple(shown.values()),
        )

    def _offered(self, known: e.Known, by: Actor | None, emergency: str) -> dict[str, e.Offered]:
        """What is handed over, as the reader may read it in the program that it comes from.

        Raises Refused for who may read none of the patient's enrollments.
        """
        if by is None:
            return known.offered
        from kat_workflow.enrollment.reading import offered_for_reader  # noqa: PLC0415

        readers: dict[str, tuple[Program, Actor]] = {}
        refused: Refused | None = None
        for id_ in known.enrollments:
            program, state = self._read(id_)
            try:
                reader = self._reader(by, state, emergency)
            except Refused as error:
                refused, reader = error, None
            readers[id_] = program, reader or Actor(by.person)
        if refused is not None and not any(reader.roles for _, reader in readers.values()):
            raise refused
        return {
            name: offered_for_reader(*readers[offered.enrollment], offered)
            for name, offered in known.offered.items()
        }

    def suggestions(
        self, enrollment: str, *, by: Actor | None = None, why: str = ""
    ) -> tuple[Suggestion, ...]:
        """What other enrollments of the patient handed over that would answer an open item.

        Nothing of it counts until somebody who may do the step confirms it: `adopt STEP`.
        """
        from kat_workflow.enrollment import carrying  # noqa: PLC0415  # on first use

        program, state = self._read(enrollment)
        now = self._instant()
        around, (_, state) = self._ask(catch_up, program, state, self._around(state), now)
        known = self._patient(state.patient).known
        self._reader(by, state)
        shown = self._offered(known, by, "")
        self._looked_into("suggestions", state, by, why)
        with self._sound(enrollment):
            found = carrying.suggestions(program, state, known, now, around.site)
        return tuple(
            Suggestion(
                item,
                state.items[item].step,
                name,
                shown[name].program,
                shown[name].evaluation.occurred,
                shown[name].evaluation.values,
            )
            for item, name in found
        )

    def offer(
        self,
        enrollment: str,
        program: str,
        *,
        by: Actor,
        steps: Iterable[str] = (),
        role: str = "",
        command_id: str | None = None,
    ) -> Outcome:
        """Offer evaluations to a program that the patient is to go on with: the last of each step
        that is named, or of each that another program could take over. Raises Refused."""
        act = c.Offer(program, tuple(steps))
        return self.handle(enrollment, act, by=by, role=role, command_id=command_id)

    def join(
        self,
        program: str,
        *,
        patient: str,
        phase: str,
        reason: str,
        by: Actor,
        attested: Iterable[Attested] = (),
        admitted_on: date | None = None,
        site: str = "main",
        command_id: str | None = None,
    ) -> str:
        """Enroll a patient who is in the middle of a course elsewhere; the enrollment's id.

        What was found out there is attested in the order given, each with its date and where it
        stands; then the admission of a date in the past is reported, and the phase in which the
        patient is. Each is a command of its own whose id derives from `command_id`: what was half
        done is finished by asking again. The actor must have the roles that all of it needs.
        Raises Refused at the first that cannot be done; what was done before it stands.
        """
        id_ = command_id or new_id()
        enrollment = self.enroll(program, patient=patient, by=by, site=site, command_id=id_)
        for number, each in enumerate(attested, 1):
            act = c.Attest(each.step, dict(each.values), each.source, each.signed)
            self.handle(
                enrollment,
                act,
                by=by,
                occurred=each.occurred,
                command_id=f"{id_}/attest.{number}",
            )
        if admitted_on is not None:
            self.handle(enrollment, c.Admit(admitted_on, reason), by=by, command_id=f"{id_}/admit")
        full = self.program_of(enrollment).find("phases", phase)
        entered = {
            x.event.phase
            for x in map(as_happened, self.journal.read(stream_of(enrollment)))
            if isinstance(x.event, e.PhaseEntered) and x.cause != f"{id_}/move"
        }
        if full not in entered:  # else what was attested has led there by the program's own gates
            self.handle(enrollment, c.Move(phase, reason), by=by, command_id=f"{id_}/move")
        return enrollment

    def merge(
        self,
        survivor: str,
        duplicate: str,
        *,
        by: Actor,
        reason: str,
        command_id: str | None = None,
    ) -> PatientView:
        """Two ids are one patient: from now on the survivor's record tells about both.

        Nothing is deleted, and `unmerge` takes it back. Enrollments keep the id they were made
        under; both ids may go on being used. Where both are in treatment, each of their
        enrollments gets an item to review it. Raises Refused.
        """
        self._link(patients.merge, survivor, duplicate, by, reason, command_id or new_id())
        return self.patient(duplicate, by=by, why=reason)

    def patient_ids(self, patient: str) -> tuple[str, ...]:
        """Every id of a patient, the one their record stands under first."""
        record = self._patient(patient)
        return tuple(dict.fromkeys((record.patient, *record.known.merged, patient)))

    def unmerge(
        self,
        survivor: str,
        duplicate: str,
        *,
        by: Actor,
        reason: str,
        command_id: str | None = None,
    ) -> None:
        """They are two patients after all: what belongs to enrollments of the duplicate's id, also
        what has happened since the merge, is told by its own record again.

        Every enrollment of both that goes on gets an item to review what was done, or taken over
        from the other, while they were one. Raises Refused.
        """
        self._link(patients.unmerge, survivor, duplicate, by, reason, command_id or new_id())

    def _link(
        self,
        rule: Callable[
            [PatientRecord, PatientRecord, str, str, datetime],
            e.PatientMerged | e.PatientUnmerged | Refusal,
        ],
        survivor: str,
        duplicate: str,
        by: Actor,
        reason: str,
        id_: str,
    ) -> None:
        """Write what joins or parts two records into both, and that it did into every enrollment
        that goes on, in one commit. A timer waits there that is due at once."""
        said = (survivor, duplicate, reason, by.person, id_)
        if not all(isinstance(word, str) and word.isprintable() for word in said):
            says = "ids and reasons are plain text"
            raise refuse(rule.__name__, "bad-phrase", says, "give text where text is meant")
        digest = digest_of(rule.__name__, c.Hold(reason), by, None, f"{survivor}\n{duplicate}")
        for _ in range(ATTEMPTS):
            if self.journal.receipt(id_, digest) is not None:
                return
            kept, other = self._patient(survivor), self._own_record(duplicate)
            if rule is patients.unmerge:
                kept = self._own_record(survivor)
            now = self._instant()
            event = rule(kept, other, reason, by.person, now)
            if isinstance(event, Refusal):
                raise Refused(event)
            added = [
                Addition("patient", record.version, record, key=record.patient)
                for record in (kept, other)
            ]
            for each in added:
                each.emit(event)
            for enrollment, told in patients.told_of(event, added[0].state, added[1].state, id_):
                state = self._state(enrollment)
                added.append(Addition("enrollment", state.version, state, key=enrollment))
                added[-1].emit(told)
            with suppress(Conflict):
                receipt = self.journal.append(
                    [append_of(each, f"{each.what}:{each.key}") for each in added],
                    command=id_,
                    digest=digest,
                    recorded=now,
                    person=by.person,
                    role="",
                )
                if self._listeners and not receipt.again and not self.journal.joined:
                    self._tell(receipt)
                self._run_told(told_in(added))
                return
        raise Conflict("the patient is being written to by others; try again")
