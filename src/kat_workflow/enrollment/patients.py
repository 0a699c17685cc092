"""A patient across programs: the fold of the patient's own stream (`patient:…`).

It knows what one enrollment cannot: which others there are. Every enrollment writes here when it
begins and when it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e


class Membership(Struct, frozen=True, array_like=True, gc=False):
    """One enrollment of the patient; `end` is "" while treatment goes on."""

    program: str
    site: str
    end: str = ""


class PatientRecord(Struct, frozen=True, array_like=True, gc=False):
    """A patient as of `version` events: the enrollments by id, oldest first."""

    version: int = 0
    patient: str = ""
    enrollments: dict[str, Membership] = {}


def evolve(record: PatientRecord, event: e.Event) -> PatientRecord:
    """The record after one more event; the old one is left as it was."""
    return FOLDS[type(event)](replace(record, version=record.version + 1), event)


def _began(r: PatientRecord, x: e.EnrollmentBegan) -> PatientRecord:
    entered = {**r.enrollments, x.enrollment: Membership(x.program, x.site)}
    return replace(r, patient=x.patient, enrollments=entered)


def _ended(r: PatientRecord, x: e.EnrollmentEnded) -> PatientRecord:
    ended = replace(r.enrollments[x.enrollment], end=x.end)
    return replace(r, enrollments={**r.enrollments, x.enrollment: ended})


FOLDS: dict[type, Callable[[PatientRecord, Any], PatientRecord]] = {
    e.EnrollmentBegan: _began,
    e.EnrollmentEnded: _ended,
}
