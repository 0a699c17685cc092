"""Many hosts: timers run by a fleet of workers, on PostgreSQL with DBOS Transact.

The journal stays the only truth. The fleet's tables hold wake-ups, (enrollment, instant) and no
more, which every commit arms in its own transaction (`wakes`). A wake-up that is due is given to
one worker, never two of one enrollment at a time; the worker asks the journal what is due, runs
it, and the journal tells by cause what was run before (`worker`). What a dead worker had in hand,
its peers take over, and what is overdue without a wake-up is armed again (`upkeep`).

Loaded by whoever runs a worker, or asks how the fleet is; a host that commits needs none of it.
"""

from __future__ import annotations

from kat_workflow.errors import JournalError

try:
    import dbos as _dbos  # noqa: F401
    import psycopg as _psycopg  # noqa: F401
except ImportError as error:
    raise JournalError(
        "a fleet of workers needs more: pip install 'kat-workflow[cluster]'"
    ) from error

from kat_workflow.cluster.status import ClusterStatus, WorkerSeen, status
from kat_workflow.cluster.wakes import install, remove
from kat_workflow.cluster.worker import Worker

__all__ = ["ClusterStatus", "Worker", "WorkerSeen", "install", "remove", "status"]
