"""A patient across programs: the fold of the patient's own stream (`patient:…`).

It knows what one enrollment cannot: which others there are, which session is under way in any of
them, which hold stands in all of them, which evaluations are handed over, how much of each drug the
patient was given in all of them, and which other ids turned out to be the same patient. `merge` and
`unmerge` say what joining two ids, and taking them apart again, writes into both streams; nothing
is ever deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.errors import Reason, Refusal


class PatientRecord(Struct, frozen=True, gc=False):
    """A patient as of `version` events. `survivor` is the id under which the patient is known,
    where this one turned out to be a duplicate; the record then tells nothing of its own."""

    version: int = 0
    patient: str = ""
    survivor: str = ""
    known: e.Known = e.Known()

    @property
    def in_treatment(self) -> tuple[str, ...]:
        """The enrollments that go on, oldest first."""
        return tuple(id_ for id_, each in self.known.enrollments.items() if not each.end)


def evolve(record: PatientRecord, event: e.Event) -> PatientRecord:
    """The record after one more event; the old one is left as it was."""
    return FOLDS[type(event)](replace(record, version=record.version + 1), event)


def _with(r: PatientRecord, **changes: Any) -> PatientRecord:
    return replace(r, known=replace(r.known, **changes))


def _began(r: PatientRecord, x: e.EnrollmentBegan) -> PatientRecord:
    entered = e.Membership(x.patient, x.program, x.site, x.at)
    after = _with(r, enrollments={**r.known.enrollments, x.enrollment: entered})
    return replace(after, patient=r.patient or x.patient)


def _member(r: PatientRecord, enrollment: str, **changes: Any) -> PatientRecord:
    changed = replace(r.known.enrollments[enrollment], **changes)
    return _with(r, enrollments={**r.known.enrollments, enrollment: changed})


def _ended(r: PatientRecord, x: e.EnrollmentEnded) -> PatientRecord:
    after = _member(r, x.enrollment, end=x.end, kind=x.kind, ended=x.at)
    exposures = {
        drug: replace(
            its,
            reserved={k: v for k, v in its.reserved.items() if v.enrollment != x.enrollment},
        )
        for drug, its in after.known.exposures.items()
    }
    return _with(after, exposures=exposures) if exposures else after


def _moved(r: PatientRecord, x: e.EnrollmentMoved) -> PatientRecord:
    return _member(r, x.enrollment, site=x.site)


def key(enrollment: str, what: str) -> str:
    """Under which key a patient's record knows a session, a hold or an evaluation."""
    return f"{enrollment}/{what}"


def _under_way(r: PatientRecord, x: e.SessionUnderWay) -> PatientRecord:
    began = e.Dosing(x.enrollment, x.session, x.program, x.sedating, x.at)
    return _with(r, sessions={**r.known.sessions, key(x.enrollment, x.session): began})


def _dosed(r: PatientRecord, x: e.SessionDosed) -> PatientRecord:
    name = key(x.enrollment, x.session)
    dosed = replace(r.known.sessions[name], dosed=x.on)
    # Of the sedating sessions that are over, only those of the last date can matter to another,
    # and of the date before, which a flight to the west may bring back.
    before = x.on - timedelta(days=1)
    kept = {
        each: session
        for each, session in r.known.sessions.items()
        if not session.over or session.dosed is None or session.dosed >= before
    }
    return _with(r, sessions={**kept, name: dosed})


def _over(r: PatientRecord, x: e.SessionOver) -> PatientRecord:
    name = key(x.enrollment, x.session)
    session = r.known.sessions[name]
    sessions = dict(r.known.sessions)
    if session.sedating and session.dosed is not None:
        sessions[name] = replace(session, over=True)
    else:
        del sessions[name]
    return _with(r, sessions=sessions)


def _held(r: PatientRecord, x: e.PatientHeld) -> PatientRecord:
    hold = e.PatientHold(x.enrollment, x.hold, x.program, x.reason, x.person, x.at)
    return _with(r, holds={**r.known.holds, key(x.enrollment, x.hold): hold})


def _freed(r: PatientRecord, x: e.PatientFreed) -> PatientRecord:
    gone = key(x.enrollment, x.hold)
    return _with(r, holds={name: h for name, h in r.known.holds.items() if name != gone})


def _warned(r: PatientRecord, x: e.PatientWarned) -> PatientRecord:
    return _with(r, calls={**r.known.calls, key(x.enrollment, x.alert): x})


def _offered(r: PatientRecord, x: e.EvaluationsOffered) -> PatientRecord:
    new = {
        key(x.enrollment, each.observation): e.Offered(x.enrollment, x.program, x.to, each)
        for each in x.evaluations
    }
    return _with(r, offered={**r.known.offered, **new})


def _reserved(r: PatientRecord, x: e.DrugReserved) -> PatientRecord:
    its = r.known.exposures.get(x.drug, _NONE)
    kept = e.Reserved(x.enrollment, x.amount, x.ordered, x.times, x.until)
    reserved = {**its.reserved, key(x.enrollment, x.about): kept}
    return _exposed(r, x.drug, replace(its, reserved=reserved))


def _no_longer(r: PatientRecord, x: e.DrugFreed) -> PatientRecord:
    its, gone = r.known.exposures[x.drug], key(x.enrollment, x.about)
    reserved = {name: kept for name, kept in its.reserved.items() if name != gone}
    return _exposed(r, x.drug, replace(its, reserved=reserved))


def _given(r: PatientRecord, x: e.DrugGiven) -> PatientRecord:
    its = r.known.exposures.get(x.drug, _NONE)
    amount, about = Decimal(x.amount), key(x.enrollment, x.about)
    total = Decimal(its.totals.get(x.enrollment, "0")) + amount
    new = e.Given(x.at, x.amount, x.enrollment, x.about)
    recent = tuple(each for each in (*its.recent, new) if each.at > x.forgets)
    reserved = its.reserved
    kept = reserved.get(about)
    if kept is not None and not kept.ordered:
        left = max(Decimal(kept.amount) - amount, Decimal(0))
        reserved = {**reserved, about: replace(kept, amount=str(left))}
    totals = {**its.totals, x.enrollment: str(total)}
    return _exposed(r, x.drug, e.Exposure(totals, recent, reserved))


def _exposed(r: PatientRecord, drug: str, exposure: e.Exposure) -> PatientRecord:
    return _with(r, exposures={**r.known.exposures, drug: exposure})


_NONE = e.Exposure()


def _together(ours: dict[str, e.Exposure], brings: dict[str, e.Exposure]) -> dict[str, e.Exposure]:
    """What was given under two ids of one patient, in one sum for each drug."""
    found = dict(ours)
    for drug, its in brings.items():
        own = found.get(drug, _NONE)
        found[drug] = e.Exposure(
            {**own.totals, **its.totals},
            (*own.recent, *its.recent),
            {**own.reserved, **its.reserved},
        )
    return found


def _merged(r: PatientRecord, x: e.PatientMerged) -> PatientRecord:
    if r.patient == x.duplicate:
        return replace(r, survivor=x.survivor, known=e.Known())
    ours, brings = r.known, x.brings
    return _with(
        replace(r, patient=x.survivor),
        enrollments={**ours.enrollments, **brings.enrollments},
        sessions={**ours.sessions, **brings.sessions},
        holds={**ours.holds, **brings.holds},
        offered={**ours.offered, **brings.offered},
        merged={**ours.merged, **brings.merged, x.duplicate: x.survivor},
        exposures=_together(ours.exposures, brings.exposures),
        calls={**ours.calls, **brings.calls},
    )


def _unmerged(r: PatientRecord, x: e.PatientUnmerged) -> PatientRecord:
    if r.patient == x.duplicate:
        return replace(r, survivor="", known=x.takes)
    return replace(r, known=_of(r.known, ids_of(r.known, x.duplicate), without=True))


def _erased(r: PatientRecord, _: e.Erased) -> PatientRecord:
    return PatientRecord(r.version)


FOLDS: dict[type, Callable[[PatientRecord, Any], PatientRecord]] = {
    e.EnrollmentBegan: _began,
    e.EnrollmentEnded: _ended,
    e.EnrollmentMoved: _moved,
    e.SessionUnderWay: _under_way,
    e.SessionDosed: _dosed,
    e.SessionOver: _over,
    e.PatientHeld: _held,
    e.PatientFreed: _freed,
    e.PatientWarned: _warned,
    e.EvaluationsOffered: _offered,
    e.DrugReserved: _reserved,
    e.DrugFreed: _no_longer,
    e.DrugGiven: _given,
    e.PatientMerged: _merged,
    e.PatientUnmerged: _unmerged,
    e.Erased: _erased,
}


def ids_of(known: e.Known, patient: str) -> set[str]:
    """An id and all that were merged into it, one into the other."""
    ids = {patient}
    while more := {one for one, into in known.merged.items() if into in ids} - ids:
        ids |= more
    return ids


def _of(known: e.Known, ids: Set[str], without: bool = False) -> e.Known:
    """What is known about the enrollments of these ids, or all but that."""

    def kept(enrollment: str) -> bool:
        member = known.enrollments.get(enrollment)
        return (member is not None and member.patient in ids) is not without

    return e.Known(
        {id_: each for id_, each in known.enrollments.items() if kept(id_)},
        {name: each for name, each in known.sessions.items() if kept(each.enrollment)},
        {name: each for name, each in known.holds.items() if kept(each.enrollment)},
        {name: each for name, each in known.offered.items() if kept(each.enrollment)},
        {
            one: into
            for one, into in known.merged.items()
            if ((into in ids) if not without else (one not in ids))
        },
        _exposures_of(known, kept),
        {name: each for name, each in known.calls.items() if kept(each.enrollment)},
    )


def _exposures_of(known: e.Known, kept: Callable[[str], bool]) -> dict[str, e.Exposure]:
    """What was given and is reserved of each drug in some of the enrollments."""
    parts = {
        drug: e.Exposure(
            {id_: total for id_, total in its.totals.items() if kept(id_)},
            tuple(each for each in its.recent if kept(each.enrollment)),
            {name: held for name, held in its.reserved.items() if kept(held.enrollment)},
        )
        for drug, its in known.exposures.items()
    }
    return {drug: part for drug, part in parts.items() if part != _NONE}


def merge(
    survivor: PatientRecord, duplicate: PatientRecord, reason: str, person: str, at: datetime
) -> e.PatientMerged | Refusal:
    """What to write into both streams where two ids turn out to be one patient.

    `survivor` is the record that tells about the patient now; `duplicate` that of the very id.
    """
    words = "merge"
    if not survivor.patient:
        return _no(words, "no-patient", "the survivor's id is missing", "say into whom")
    if survivor.patient == duplicate.patient:
        says = f"{duplicate.patient} is that patient already"
        return _no(words, "same-patient", says, "name two ids")
    if duplicate.survivor:
        into = duplicate.survivor
        says = f"{duplicate.patient} was merged into {into}"
        return _no(words, "already-merged", says, f"unmerge {duplicate.patient} from {into} first")
    if not duplicate.version:
        says = f'no enrollment was ever made for "{duplicate.patient}"'
        return _no(words, "unknown-patient", says, "check the id")
    if not reason:
        return _no(words, "reason-missing", "a merge needs a reason", "say why")
    return e.PatientMerged(survivor.patient, duplicate.patient, reason, person, at, duplicate.known)


def unmerge(
    survivor: PatientRecord, duplicate: PatientRecord, reason: str, person: str, at: datetime
) -> e.PatientUnmerged | Refusal:
    """What to write into both streams where a merge was a mistake.

    All that has happened since in enrollments of the duplicate's id goes with it.
    """
    words, into = "unmerge", duplicate.survivor
    if not into or into != survivor.patient:
        says = f"{duplicate.patient} was not merged into {survivor.patient}"
        ways = f"unmerge it from {into}" if into else "there is nothing to take apart"
        return _no(words, "not-merged", says, ways)
    if survivor.survivor:
        further = survivor.survivor
        says = f"{into} was merged into {further} since"
        return _no(words, "not-merged", says, f"unmerge {into} from {further} first")
    if not reason:
        return _no(words, "reason-missing", "taking patients apart needs a reason", "say why")
    ids = ids_of(survivor.known, duplicate.patient)
    takes = _of(survivor.known, ids)
    return e.PatientUnmerged(into, duplicate.patient, reason, person, at, takes)


def told_of(
    event: e.PatientMerged | e.PatientUnmerged,
    survivor: PatientRecord,
    duplicate: PatientRecord,
    call: str,
) -> Iterator[tuple[str, e.IdsChanged]]:
    """What the enrollments that go on are told of a merge or an unmerge, by the records after it.

    A merge is looked at where both ids are in treatment, an unmerge in all: what was done, or taken
    over from the other, while they were one.
    """
    if isinstance(event, e.PatientUnmerged):
        for record in (survivor, duplicate):
            for enrollment in record.in_treatment:
                yield enrollment, e.IdsChanged(call, "parted", (), event.person, event.at)
        return
    known, brought = survivor.known, event.brings.enrollments.keys()
    sides = {enrollment in brought for enrollment in survivor.in_treatment}
    ids: Literal["", "merged"] = "merged" if len(sides) > 1 else ""
    for enrollment in survivor.in_treatment:
        other = enrollment not in brought
        calls = tuple(
            name for name, each in known.calls.items() if (each.enrollment in brought) is other
        )
        yield enrollment, e.IdsChanged(call, ids, calls, event.person, event.at)


def _no(words: str, code: str, says: str, way: str) -> Refusal:
    return Refusal(words, (Reason(code, says, unblock=(way,)),))
