"""The engine of a simulated clinic: all of it, but what is committed is kept as it is.

Nobody else writes to a simulated record and nothing of it outlives the process. So events and
states are not encoded, linked, listed or read back: what costs a simulation is deciding. A test
tells the same commands to an engine with a journal, and finds the same events and states.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from attrs import define, field

from kat_workflow.engine import Engine
from kat_workflow.engine.shell import beside_stream, stream_of
from kat_workflow.engine.views import Happened
from kat_workflow.enrollment.around import Around, Beside, Past
from kat_workflow.enrollment.decide import Decision
from kat_workflow.enrollment.events import Event
from kat_workflow.enrollment.state import Enrollment
from kat_workflow.journal import Receipt
from kat_workflow.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from kat_workflow.language.library import Library
    from kat_workflow.program.clock import Site
    from kat_workflow.program.model import Program

__all__ = ["VirtualEngine"]


@define(eq=False)
class _Record:
    """An enrollment: its state and what happened, each with the instant of recording."""

    program: Program
    state: Enrollment
    past: list[Past] = field(factory=list)


class VirtualEngine(Engine):
    """An engine for one thread, one process and patients of one enrollment each.

    What is written before patients come (a cupboard that is filled) is in its journal, all else
    only here. `hear` is called with each enrollment's event once it is committed.
    """

    def __init__(
        self,
        program: Program,
        library: Library,
        clock: Callable[[], datetime],
        site: Site,
        hear: Callable[[tuple[str, Event]], None],
    ) -> None:
        super().__init__(MemoryJournal(), library, clock, (site,))
        self._named[program.id] = program  # a thousand clinics need not read the same file
        self._hear = hear
        self._at_hand: dict[str, _Record] = {}
        self._streams: dict[str, Any] = {}
        self._wakes: list[tuple[datetime, str]] = []
        self.entries = 0

    def due(self, before: datetime) -> tuple[datetime, str] | None:
        """The first timer up to an instant, and whose it is."""
        while self._wakes:
            wake, enrollment = self._wakes[0]
            record = self._at_hand.get(enrollment)
            if record is not None and record.state.wake == wake:
                return self._wakes[0] if wake <= before else None
            heappop(self._wakes)  # it waits for something else by now
        return None

    @property
    def enrollments(self) -> list[str]:
        """Everybody who was enrolled, in that order."""
        return list(self._at_hand)

    def happened(self, enrollment: str) -> list[Happened]:
        """All that happened to a patient so far."""
        return [
            Happened(0, enrollment, number, past.recorded, "", "", "", past.event)
            for number, past in enumerate(self._at_hand[enrollment].past, 1)
        ]

    def clear(self) -> None:
        """Let go of all records; nothing more is asked."""
        self._at_hand.clear()
        self._streams.clear()
        self._wakes.clear()

    def _commit(
        self,
        program: Program,
        before: Enrollment,
        decision: Decision,
        command: str,
        digest: str,
        at: datetime,
        person: str,
        role: str,
    ) -> Receipt:
        after = decision.enrollment
        record = self._at_hand.get(after.id)
        if record is None:
            record = self._at_hand[after.id] = _Record(program, after)
        record.state = after
        record.past += [Past(at, event) for event in decision.events]
        if after.wake is not None and after.wake != before.wake:
            heappush(self._wakes, (after.wake, after.id))
        self.entries += len(decision.events)
        for addition in decision.beside:
            if addition.events:
                self.entries += len(addition.events)
                stream = beside_stream(addition, before if before.version else after)
                self._streams[stream] = addition.state
        for event in decision.events:
            self._hear((after.id, event))
        return Receipt(command, 0, 0, ((stream_of(after.id), after.version),))

    def _remember(self, enrollment: str, program: Program, state: Enrollment) -> None:
        """Every state is at hand."""

    def _read(self, enrollment: str) -> tuple[Program, Enrollment]:
        record = self._at_hand[enrollment]
        return record.program, record.state

    def _is_now(self, state: Enrollment, around: Around) -> bool:
        return True  # nobody else writes

    def _history(self, enrollment: str) -> tuple[Past, ...]:
        return tuple(self._at_hand[enrollment].past)

    def _folded(self, what: Beside, key: str) -> Any:
        kept = self._streams.get(f"{what}:{key}")
        return super()._folded(what, key) if kept is None else kept
