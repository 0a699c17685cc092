"""kat-workflow: a treatment program is a YAML file that a clinician can read.

`Engine` drives patients through it; everything else here is what it takes and gives.
"""

from typing import TYPE_CHECKING, Any

from kat_workflow.engine import (
    Attested,
    Course,
    Deviation,
    Engine,
    Happened,
    MemberOutcome,
    OpenItem,
    Outbox,
    Outcome,
    Page,
    PatientView,
    Resident,
    Status,
    Suggestion,
    Waiting,
)
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.booking import Slot
from kat_workflow.enrollment.commands import Actor, Command
from kat_workflow.enrollment.decide import Behind, Decision, catch_up, decide
from kat_workflow.enrollment.escalating import Notification
from kat_workflow.enrollment.groups import Group
from kat_workflow.enrollment.state import Enrollment, evolve, replay
from kat_workflow.errors import (
    Clause,
    Conflict,
    Finding,
    JournalError,
    KatError,
    ProgramError,
    Reason,
    Refusal,
    Refused,
)
from kat_workflow.program.clock import Site

if TYPE_CHECKING:
    from kat_workflow.program.model import Program

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "Around",
    "Attested",
    "Behind",
    "Clause",
    "Command",
    "Conflict",
    "Course",
    "Decision",
    "Deviation",
    "Engine",
    "Enrollment",
    "Finding",
    "Group",
    "Happened",
    "JournalError",
    "KatError",
    "MemberOutcome",
    "Notification",
    "OpenItem",
    "Outbox",
    "Outcome",
    "Page",
    "PatientView",
    "Program",
    "ProgramError",
    "Reason",
    "Refusal",
    "Refused",
    "Resident",
    "Site",
    "Slot",
    "Status",
    "Suggestion",
    "Waiting",
    "catch_up",
    "decide",
    "evolve",
    "replay",
]


def __getattr__(name: str) -> Any:
    """`Program` is loaded when it is named: with it come the gate language and the units."""
    if name == "Program":
        from kat_workflow.program.model import Program  # noqa: PLC0415

        return Program
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
