"""The engine: what a clinic system imports. Read → decide → commit, and nothing clinical.

The engine stamps commands with an id and an instant, runs the timers that are due first (R2),
asks `decide`, and commits entries and rows of all streams touched in one transaction. When
somebody else was faster it reads again and decides anew. Everything it answers is a plain value.

`Engine` is put together from chapters, which all extend `Shell`: `Questions`, `Commands` and
`Clinic`, and on top of these `Patients`, `Erasing` and `Groups`, whose commands reach several
enrollments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from kat_workflow.engine.clinic import Clinic
from kat_workflow.engine.erasing import Erasing, Erasure
from kat_workflow.engine.groups import Groups
from kat_workflow.engine.patients import Patients
from kat_workflow.engine.shell import Authenticate, wall_clock
from kat_workflow.engine.views import (
    Attested,
    Course,
    Deviation,
    Happened,
    MemberOutcome,
    OpenItem,
    Outbox,
    Outcome,
    Page,
    PatientView,
    Resident,
    Shift,
    Status,
    Suggestion,
    Waiting,
)
from kat_workflow.journal import open_journal
from kat_workflow.program.clock import Site

if TYPE_CHECKING:
    import sqlite3

    import psycopg

    from kat_workflow.engine.access import AccessLog
    from kat_workflow.engine.scheduling import Scheduler
    from kat_workflow.journal.encrypting import Keys

__all__ = [
    "Attested",
    "Course",
    "Deviation",
    "Engine",
    "Erasure",
    "Happened",
    "MemberOutcome",
    "OpenItem",
    "Outbox",
    "Outcome",
    "Page",
    "PatientView",
    "Resident",
    "Shift",
    "Status",
    "Suggestion",
    "Waiting",
]


class Engine(Patients, Erasing, Groups, Clinic):
    """A clinic: one journal, the programs that run in it, a clock and the sites.

    Safe to use from several threads and, on SQLite, from several processes. Open it with
    `Engine.open`; close it, or use it in a `with` statement.
    """

    _hosted = False

    @classmethod
    def open(
        cls,
        where: str | os.PathLike[str] | None = None,
        *,
        programs: str | os.PathLike[str] | None = None,
        clock: Callable[[], datetime] = wall_clock,
        sites: Iterable[Site] = (Site(),),
        connection: sqlite3.Connection | psycopg.Connection[Any] | None = None,
        signed_only: bool = False,
        authenticate: Authenticate | None = None,
        access: str | os.PathLike[str] | AccessLog | None = None,
        keys: Keys | Mapping[str, bytes] | None = None,
    ) -> Engine:
        """A clinic in the SQLite file `where` (None: in memory), made if it is not there.

        `postgresql://…` names a PostgreSQL database instead.

        `programs` is a folder of program files; what is not found in it, and everything when it
        is None, comes from the programs that ship. `connection` is a host's own
        connection (of `sqlite3` or `psycopg`) instead: commands then join its open transaction,
        and commit with it. With `signed_only`, as in production, nobody is enrolled in a program
        that is not signed off (`sign_off`).

        `authenticate` is asked before every act that signs (a signature of any kind, a release,
        an override, the sign-off of a program), with the actor and the act. Where it answers
        False or raises, the act is refused as `not-authenticated`.

        With `access`, a file (or database) of its own or an open `AccessLog`, every question that
        shows something of patients is first written down there: who asked, why, when, of whom.
        Where that cannot be written the question raises JournalError; commands need no such log.

        With `keys` (ids and 32 random bytes each, oldest first) what the record and the access log
        tell is encrypted where it is stored; see `journal.encrypting` for what stays readable.
        Opened without them, such a record can be verified and copied, and raises JournalError for
        everything else.
        """
        from kat_workflow.language import Folder, shipped  # noqa: PLC0415  # loaded on first use

        journal = open_journal(where, connection=connection, keys=keys)
        library = shipped() if programs is None else Folder(os.fspath(programs), shipped())
        try:
            log = None if access is None else _access(access, keys)
        except BaseException:
            journal.close()
            raise
        engine = cls(journal, library, clock, sites, signed_only, authenticate, log)
        engine._hosted = connection is not None
        return engine

    def scheduler(self, every: float = 1.0) -> Scheduler:
        """A thread that runs timers when they are due: `with engine.scheduler(): …`.

        What other processes commit is found by looking `every` so many seconds. Stop it before
        the engine is closed. On a host's own connection there is none, since its thread would
        write into the host's transactions: such a host calls `run_due` itself.
        """
        from kat_workflow.engine.scheduling import ThreadScheduler  # noqa: PLC0415  # on first use

        if self._hosted:
            raise ValueError("on a host's connection timers are run by the host: call run_due")
        return ThreadScheduler(self, every)

    def close(self) -> None:
        """Give back the journal and the access log; a second time does nothing."""
        self.journal.close()
        if self.access is not None:
            self.access.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _access(
    where: str | os.PathLike[str] | AccessLog, keys: Keys | Mapping[str, bytes] | None
) -> AccessLog:
    from kat_workflow.engine.access import AccessLog  # noqa: PLC0415  # loaded on first use

    return where if isinstance(where, AccessLog) else AccessLog(where, keys)
