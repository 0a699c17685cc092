"""Bringing a record of an older release to the schema of this one.

The entries of schema 1 have bodies that hold everything. They are split here, by what knows
events, into what happened and what tells about the patient, so that an old record can be erased
from and proved as a new one can.
"""

from __future__ import annotations

import os

from kat_workflow.enrollment import events as e

__all__ = ["migrate"]


def migrate(
    where: str | os.PathLike[str], backup: str | os.PathLike[str] | None = None
) -> tuple[int, int, str]:
    """Bring a record to this release's schema: the schema before, the one after, the backup.

    The old record is copied first, to `backup` or beside it. Of several processes that begin at
    once one does it and the others find it done. Raises JournalError for a record of a newer
    release, and where the copy cannot be written; nothing is changed then.
    """
    from kat_workflow.journal.migrations import migrate as bring  # noqa: PLC0415  # seldom

    return bring(where, _split, backup)


def _split(body: bytes) -> tuple[bytes, bytes]:
    """A body of schema 1 as this release writes it: body and values."""
    return e.encode(e.decode(body))
