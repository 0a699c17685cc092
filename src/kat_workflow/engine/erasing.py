"""Erasing what is known of a patient, on a lawful request, from a record that stays whole.

What is private in the entries is taken away, never the entries: the course remains, without the
patient, and the chain over it still holds (`journal.chain`). An erasure is said by an entry of each
stream that it touches, since what is missing without one is taken for tampering.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.engine.receiving import canonical, hashed, new_id, refuse
from kat_workflow.engine.shell import (
    ATTEMPTS,
    Shell,
    census_row,
    encode_beside,
    item_row,
    retold,
    stream_of,
)
from kat_workflow.engine.views import event_of
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import FOLDS
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.enrollment.state import encode_row, evolve
from kat_workflow.errors import Conflict
from kat_workflow.journal import Append, Receipt


class Erasure(Struct, frozen=True):
    """What an erasure did. `streams` are those it was said in, under the names they have now.

    `scrubbed`: the bytes are gone from the store as well; else another process kept it from
    overwriting them, and asking again does so (see `Journal.scrub`).
    """

    streams: tuple[str, ...]
    scrubbed: bool


class Erasing(Shell):
    """Erasing a patient, or one entry about the wrong one."""

    def erase(
        self, patient: str, *, by: Actor, ground: str, command_id: str | None = None
    ) -> Erasure:
        """Take a patient out of the record, under whichever of their ids: for good.

        Their enrollments remain as courses of nobody: steps, staff, times, doses. Their names,
        ids, form values and free texts are gone, and so are their work items, census rows and
        timers; their own stream gets a name that tells nothing. `ground` is written into each
        stream and stays: it must not name them. The access log, where the clinic keeps one, says
        whom it was: without it nobody could account for the erasure. Asked again with the same
        `command_id` it only finishes what was left half done. Raises Refused while they are in
        treatment, JournalError where the access log cannot be written.
        """
        id_ = command_id or new_id()
        digest = _digest(by, id_, ground)  # of the patient it tells nothing, since it stays
        for _ in range(ATTEMPTS):
            before = None if command_id is None else self.journal.receipt(id_, digest)
            if before is not None:
                return self._erased(before)
            record = self._patient(patient)
            _may_erase(record, patient, ground)
            self._looked("erase", by, ground, (record.patient, *record.known.merged))
            with suppress(Conflict):
                for stream in self.journal.streams("cupboard:"):
                    self._erase_in(stream, set(record.known.enrollments), by, ground, id_)
                now = self._instant()
                appends = [
                    *self._courses(record.known.enrollments, by, ground),
                    *self._records((record.patient, *record.known.merged), by, ground),
                ]
                receipt = self.journal.append(
                    appends, command=id_, digest=digest, recorded=now, person=by.person, role=""
                )
                for enrollment in record.known.enrollments:
                    self._states.pop(enrollment, None)
                return self._erased(receipt)
        raise Conflict("what is to be erased is being written to by others; try again")

    def erase_entry(
        self,
        enrollment: str,
        version: int,
        *,
        by: Actor,
        ground: str,
        command_id: str | None = None,
    ) -> Erasure:
        """Take what is private out of one entry of an enrollment, as of a note about somebody
        else; the rest of it stays. A recording is retracted before: what gates read is not taken
        from under them. Raises Refused."""
        words = f"erase entry {version} of {enrollment}"
        if not ground:
            raise refuse(words, "ground-missing", "an erasure needs its ground", "say on which")
        id_ = command_id or new_id()
        digest = _digest(by, id_, f"{ground} {enrollment} {version}")
        stream = stream_of(enrollment)
        for _ in range(ATTEMPTS):
            before = None if command_id is None else self.journal.receipt(id_, digest)
            if before is not None:
                return self._erased(before)
            program, state = self._read(enrollment)
            entries = self.journal.read(stream)
            told = [entry for entry in entries if entry.version == version and entry.values]
            if not told or version == 1:
                way = "erase the patient" if version == 1 else "name an entry that holds a value"
                raise refuse(words, "no-entry", "there is nothing to erase in it", way)
            rest = retold([replace(x, values=b"") if x.version == version else x for x in entries])
            if rest.readings != state.readings:
                says = "what was recorded there is still read by gates"
                raise refuse(words, "still-read", says, "retract the recording first")
            now = self._instant()
            erased = e.Erased(version, version, by.person, ground, now)
            after = evolve(rest, erased)
            body, values = e.encode(erased)
            append = Append(
                stream,
                state.version,
                (body,),
                encode_row(after),
                after.wake,
                items=tuple(item_row(program, after, stream, item) for item in after.items),
                census=census_row(program, after, stream),
                values=(values,),
                erase_through=version,
                erase_from=version,
            )
            with suppress(Conflict):
                receipt = self.journal.append(
                    [append], command=id_, digest=digest, recorded=now, person=by.person, role=""
                )
                self._states.pop(enrollment, None)
                return self._erased(receipt)
        raise Conflict(f"enrollment {enrollment} is being written to by others; try again")

    def _erased(self, receipt: Receipt) -> Erasure:
        return Erasure(tuple(stream for stream, _ in receipt.versions), self.journal.scrub())

    def _courses(self, enrollments: Iterable[str], by: Actor, ground: str) -> list[Append]:
        """What leaves of each enrollment the course alone."""
        appends = []
        for enrollment in enrollments:
            _, state = self._read(enrollment)
            if state.erased is not None:
                continue
            at = self._instant()
            event = e.Erased(1, state.version, by.person, ground, at, wholly=True)
            body, values = e.encode(event)
            row = encode_row(evolve(state, event))
            stream = stream_of(enrollment)
            through = state.version
            appends.append(
                Append(stream, through, (body,), row, values=(values,), erase_through=through)
            )
        return appends

    def _records(self, patients: Iterable[str], by: Actor, ground: str) -> list[Append]:
        """What leaves nothing of the patient's own streams but that there was one."""
        appends = []
        for patient in patients:
            record = self._own_record(patient)
            if not record.version:
                continue
            event = e.Erased(1, record.version, by.person, ground, self._instant(), wholly=True)
            body, values = e.encode(event)
            row = encode_beside(PatientRecord(version=record.version + 1))
            appends.append(
                Append(
                    f"patient:{patient}",
                    record.version,
                    (body,),
                    row,
                    values=(values,),
                    erase_through=record.version,
                    rename=f"patient:erased-{new_id()[2:]}",
                )
            )
        return appends

    def _erase_in(
        self, stream: str, enrollments: set[str], by: Actor, ground: str, id_: str
    ) -> None:
        """Take the patient's name from a drug ledger, where it stands among others'."""
        what, _, key = stream.partition(":")
        assert what == "cupboard"
        for version in [
            entry.version
            for entry in self.journal.read(stream)
            if entry.values
            and isinstance(used := event_of(entry), e.LotUsed)
            and used.enrollment in enrollments
        ]:
            state, now = self._folded("cupboard", key), self._instant()
            event = e.Erased(version, version, by.person, ground, now)
            body, values = e.encode(event)
            append = Append(
                stream,
                state.version,
                (body,),
                encode_beside(FOLDS["cupboard"](state, event)),
                values=(values,),
                erase_through=version,
                erase_from=version,
            )
            derived = f"{id_}/{stream}/{version}"
            self.journal.append(
                [append],
                command=derived,
                digest=_digest(by, derived, ground),
                recorded=now,
                person=by.person,
                role="",
            )


def _digest(by: Actor, id_: str, said: str) -> str:
    return hashed(canonical.encode(("erase", by.person, id_, said)))


def _may_erase(record: PatientRecord, patient: str, ground: str) -> None:
    if not ground:
        raise refuse("erase", "ground-missing", "an erasure needs its ground", "say on which")
    if not record.version:
        says = "no enrollment was ever made under that id"
        raise refuse("erase", "unknown-patient", says, "check the id")
    if record.in_treatment:
        says = f"treatment goes on in {', '.join(record.in_treatment)}"
        raise refuse("erase", "in-treatment", says, "discharge the patient first")
