"""Keeping a clinic's record: verified, backed up, restored, exported, migrated.

What the stores do for any journal is in `journal.keeping`. Here is what needs to know events and
programs: whether the rows say what the entries say, which streams are one patient's, and who is
given a copy of what.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from kat_workflow.engine.access import EVERYBODY, Look
from kat_workflow.engine.auditing import verify
from kat_workflow.engine.receiving import refuse
from kat_workflow.engine.shell import Shell, stream_of
from kat_workflow.enrollment.commands import Actor
from kat_workflow.errors import JournalError
from kat_workflow.journal import Journal, keeping, stored
from kat_workflow.journal.encrypting import EncryptedJournal, Keys
from kat_workflow.journal.keeping import Header, Held, Part2, records, records_of

__all__ = ["backup", "export", "import_record", "rekey", "restore"]


def backup(engine: Shell, path: str | os.PathLike[str], *, by: Actor | None = None) -> Held:
    """Write a verified copy of a clinic's whole record as it is now, while others write.

    The answer says up to which position, and which signed checkpoint, it holds the record. Raises
    JournalError where a file is there already, and where the record is not sound.
    """
    _given_away(engine, "backup", by, "kept by the clinic", "")
    check = _sound(_keys(engine.journal))
    return keeping.backup(engine.journal, path, _header(engine, by), check)


def export(
    engine: Shell,
    path: str | os.PathLike[str],
    *,
    patient: str = "",
    by: Actor | None = None,
    purpose: str = "",
    recipient: str = "",
    part2: Part2 = Part2(),  # noqa: B008  # it is frozen
    tool: str = "",
) -> Held:
    """Write the record, or that of one patient, as JSON Lines: for whoever is entitled to it.

    Of a patient it holds all that is recorded under any of their ids, and the programs that they
    were in, for whoever gets it to read; of the whole store all of it as it is stored (encrypted,
    where it is, and then no keys are needed), and it can be imported. A patient's export needs a
    `purpose` and a `recipient`: it is a disclosure, and the access log accounts for it. It is
    written to the log before it is written to the file. Raises Refused for a patient nobody knows
    and for a disclosure without purpose or recipient, JournalError where the file is there.
    """
    ids: tuple[str, ...] = ()
    if patient:
        if not (purpose and recipient):
            says = "a patient's record goes to somebody, for something"
            raise refuse("export", "no-purpose", says, "give a purpose and a recipient")
        ids = _known_ids(engine, patient)
    with keeping.beside(path, "an export overwrites nothing") as new:
        _given_away(engine, "export", by, purpose, recipient, ids)
        header = _header(engine, by, patient, purpose, recipient, part2, tool)
        with engine.journal.snapshot() as still, new.open("wb") as out:
            found = records(still) if not patient else records_of(still, *_of(engine, ids))
            return keeping.export(found, out, header)


def _known_ids(engine: Shell, patient: str) -> tuple[str, ...]:
    record = engine._patient(patient)
    if not record.version:
        says = "no enrollment was ever made for this patient"
        raise refuse("export", "unknown-patient", says, "check the id")
    return tuple(dict.fromkeys((record.patient, *record.known.merged)))


def _of(engine: Shell, ids: tuple[str, ...]) -> tuple[list[str], set[str]]:
    """The streams that are a patient's, and the digests of the programs they were in."""
    enrollments = sorted(engine._patient(ids[0]).known.enrollments)
    digests = {engine._read(each)[1].digest for each in enrollments}
    return [*(f"patient:{id_}" for id_ in ids), *map(stream_of, enrollments)], digests


def _header(
    engine: Shell,
    by: Actor | None,
    patient: str = "",
    purpose: str = "",
    recipient: str = "",
    part2: Part2 = Part2(),  # noqa: B008  # it is frozen
    tool: str = "",
) -> Header:
    return Header(
        keeping.FORMAT,
        keeping.SCHEMA,
        engine._instant(),
        part2,
        "patient" if patient else "store",
        tool,
        patient,
        "" if by is None else by.person,
        purpose,
        recipient,
        encrypted=not patient and isinstance(engine.journal, EncryptedJournal),
    )


def _given_away(
    engine: Shell, what: str, by: Actor | None, why: str, recipient: str, ids: tuple[str, ...] = ()
) -> None:
    """Write down that a copy of a patient's record, or of everybody's, is about to be made."""
    if engine.access is not None:
        person, roles = ("", ()) if by is None else (by.person, tuple(sorted(by.roles)))
        site = "" if ids else EVERYBODY
        engine.access.note(
            Look(engine._instant(), what, ids, person, roles, why, "", site, "", recipient)
        )


def restore(
    path: str | os.PathLike[str],
    where: str | os.PathLike[str],
    keys: Keys | Mapping[str, bytes] | None = None,
) -> Held:
    """Make a journal of a backup or an export, verified first; it says what it holds.

    What is encrypted stays so; of that the rows are verified with the `keys` alone. Raises
    JournalError where there is a journal already, and where the copy is not sound.
    """
    return keeping.restore(path, where, _sound(keys))


def rekey(
    engine: Shell,
    where: str | os.PathLike[str],
    keys: Keys | Mapping[str, bytes],
    *,
    by: Actor | None = None,
) -> Held:
    """Write a clinic's whole record anew into an empty journal, under these keys alone.

    Nothing of it can be read, or found out by trying, with the keys before: those can be destroyed
    with the old record and every copy of it. Entries, positions and rows are the same, every link
    is another one, so that the old checkpoints are not taken along: sign a new one at once. Nobody
    may write to the old record any more; a command that was sent there and is sent again here is
    refused (`id-reused`). All of it is written, or nothing. Raises JournalError where the old
    record is not sound, since the new links would vouch for it, and where the new one is not empty.
    """
    from kat_workflow.journal.rekeying import rekeyed  # noqa: PLC0415  # seldom needed

    new = keys if isinstance(keys, Keys) else Keys(keys)
    _given_away(engine, "rekey", by, "kept by the clinic under other keys", "")
    with engine.journal.snapshot() as still:
        faults = verify(still).faults
        if faults:
            raise JournalError(
                f"the record is not sound: {faults[0]}; new links would vouch for it as it is, so"
                " it is not written anew"
            )
        return keeping.written_anew(rekeyed(still, new), where, _sound(new))


def import_record(path: str | os.PathLike[str], journal: Journal) -> tuple[Header, Held]:
    """Take an export of a whole store into an empty journal: verified, all of it or nothing."""
    return keeping.import_journal(path, journal, _sound(_keys(journal)))


def _keys(journal: Journal) -> Keys | None:
    return journal.keys if isinstance(journal, EncryptedJournal) else None


def _sound(keys: Keys | Mapping[str, bytes] | None) -> Callable[[Journal], None]:
    """What raises JournalError where a copy is not as it should be."""

    def check(journal: Journal) -> None:
        inside = stored(journal)
        faults = verify(inside if keys is None else EncryptedJournal(inside, keys)).faults
        if faults:
            more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            raise JournalError(f"the copy is not sound: {faults[0]}{more}; take another one")

    return check
