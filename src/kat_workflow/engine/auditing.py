"""Whether what a clinic sees is what the record says: rows and programs, worked out again.

The chain proves the entries (`journal.auditing`). What lists and lookups show stands in rows beside
them, which nothing is linked to: here they are folded from the entries once more and compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from kat_workflow.engine.shell import Shell, beside_decoder, census_row, item_row
from kat_workflow.engine.views import event_of
from kat_workflow.enrollment.around import FOLDS
from kat_workflow.enrollment.state import decode_row, replay
from kat_workflow.errors import JournalError, ProgramError
from kat_workflow.journal import CensusRow, Cursor, ItemRow
from kat_workflow.journal.auditing import Fault

__all__ = ["Auditor"]

_PAGE = 1000
_EVER = datetime.max.replace(tzinfo=UTC)


class Auditor(Shell):
    """Works out again what stands beside the entries; programs are those that the journal keeps."""

    def faults(self) -> Iterator[Fault]:
        """Every row that does not say what the entries say: state, work items, census, wake-up;
        and every program that is not the one its digest names.

        Asked of a journal that nobody writes to meanwhile, and whose chain was verified.
        """
        yield from self._audit_programs()
        items = self._all_items()
        wakes = dict(self.journal.due(_EVER, 2**31))
        census: dict[str, CensusRow] = {}
        for stream in self.journal.streams("enrollment:"):
            try:
                yield from self._audit_enrollment(stream, items.pop(stream, []), wakes, census)
            except (JournalError, ProgramError) as error:
                yield Fault(f"it cannot be worked out again: {error}", stream)
        for stream in items:
            yield Fault("there are work items of it, and nothing else", stream)
        for site in {row.site for row in census.values()} | set(self._sites):
            for row in self.journal.census(site):
                if census.pop(row.stream, None) != row:
                    yield Fault("its census row is not what the entries say", row.stream)
        for stream in census:
            yield Fault("its census row is missing", stream)
        for stream in self.journal.streams():
            if stream.partition(":")[0] in FOLDS:
                yield from self._audit_beside(stream)

    def _audit_enrollment(
        self,
        stream: str,
        items: list[ItemRow],
        wakes: dict[str, datetime],
        census: dict[str, CensusRow],
    ) -> Iterator[Fault]:
        state = replay(event_of(entry) for entry in self.journal.read(stream))
        row = self.journal.row(stream)
        if row is not None:
            with suppress(JournalError):  # one of another release is never read
                if decode_row(row[1]) != state:
                    yield Fault("its state row is not what the entries say", stream)
        if wakes.get(stream) != state.wake:
            yield Fault("its wake-up is not when the first timer is due", stream)
        if state.erased is not None:
            if items:
                yield Fault("it was erased, and there are work items of it", stream)
            return
        program = self._by_digest.get(state.digest) or self._pinned(state.digest)
        expected = {id_: item_row(program, state, stream, id_) for id_ in state.items}
        if {row.item: row for row in items} != expected:
            yield Fault("its work items are not what the entries say", stream)
        census[stream] = census_row(program, state, stream)

    def _audit_beside(self, stream: str) -> Iterator[Fault]:
        what: Any
        what, _, key = stream.partition(":")
        row = self.journal.row(stream)
        if row is None:
            return
        try:
            shown = beside_decoder(what).decode(row[1])
        except msgspec.DecodeError:
            return  # one of another release is never read
        if shown != self._replayed(what, key):
            yield Fault("its state row is not what the entries say", stream)

    def _audit_programs(self) -> Iterator[Fault]:
        from kat_workflow.language import compile_files  # noqa: PLC0415  # loaded on first use

        for listed in self.journal.programs():
            kept = self.journal.program(listed.digest)
            name = f"program {listed.id} {listed.version} ({listed.digest[:12]})"
            try:
                made = None if kept is None else compile_files(kept.files, kept.main)
            except ProgramError:
                made = None
            # A file that is missing is looked for among those that ship: it must be kept as well.
            if (
                kept is None
                or made is None
                or made.digest != kept.digest
                or dict(made.files) != kept.files
            ):
                yield Fault(f"{name} is not the one that was signed or enrolled with")

    def _all_items(self) -> dict[str, list[ItemRow]]:
        found: defaultdict[str, list[ItemRow]] = defaultdict(list)
        after: Cursor | None = None
        while True:
            rows, after = self.journal.worklist(limit=_PAGE, after=after)
            for row in rows:
                found[row.stream].append(row)
            if after is None:
                return found
