"""Whether a record is sound: what the store says of itself, every chain, every row and program.

The chain proves the entries (`journal.auditing`). What lists and lookups show stands in rows beside
them, which nothing is linked to: here they are folded from the entries once more and compared. A
journal is gone through page by page, one stream at a time, whatever its size; no engine is needed,
since programs are those that the journal keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from kat_workflow.engine.shell import beside_decoder, census_row, item_row, refolded, retold
from kat_workflow.enrollment.around import FOLDS
from kat_workflow.enrollment.state import FORM, Enrollment, decode_row
from kat_workflow.errors import JournalError, KatError, ProgramError
from kat_workflow.journal import Cursor, Entry, ItemRow, Journal, is_payload, keeping, stored
from kat_workflow.journal.auditing import Fault
from kat_workflow.journal.encrypting import EncryptedJournal
from kat_workflow.journal.keeping import Held
from kat_workflow.program.model import Program

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from kat_workflow.journal.records import Standing

__all__ = ["Verified", "verify"]

_PAGE = 1000
_STREAMS = 100


class Verified(Struct, frozen=True):
    """What a journal holds, and everything that is wrong with it: nothing, if it is sound.

    `erased` counts the entries whose values were erased; `covered` is the position up to which a
    signed checkpoint vouches for every entry; `unchecked` says what could not be seen.
    """

    held: Held
    streams: int
    erased: int
    covered: int
    faults: tuple[Fault, ...]
    unchecked: tuple[str, ...]


def verify(
    journal: Journal, checkpoints: Sequence[bytes] = (), key: Ed25519PublicKey | None = None
) -> Verified:
    """Whether a journal is as it was written: the store's own checks, the chains (against signed
    checkpoints that were kept elsewhere, where they are given with their public key), programs by
    their digests, and whether every row says what the entries say.

    A record that is encrypted needs no keys, but that its rows are compared with its entries.
    It goes through all of it; give it a snapshot (`Journal.snapshot`) while others write.
    """
    faults = [Fault(says) for says in journal.faults()]
    held, streams, erased, covered = Held(0, 0, b""), 0, 0, 0
    unchecked: tuple[str, ...] = ()
    try:
        held, found = keeping.verify(journal, checkpoints, key)
        faults += found.faults
        streams, erased, covered = found.streams, found.erased, found.covered
        unchecked = found.unchecked
        rows = _Rows(journal)
        faults += rows.faults()
        if rows.foreign:
            unchecked += (f"{rows.foreign} state rows of another release, which are never read",)
        if rows.encrypted:
            says = f"the rows of {rows.encrypted} streams, which are encrypted: give the keys"
            unchecked += (says,)
    except JournalError as error:  # a page that cannot be read
        faults.append(Fault(str(error)))
    return Verified(held, streams, erased, covered, tuple(faults), unchecked)


class _Rows:
    """Works out again what stands beside the entries of a journal."""

    def __init__(self, journal: Journal) -> None:
        self._keyed = isinstance(journal, EncryptedJournal) and not journal.locked
        self._journal = journal if self._keyed else stored(journal)
        self._programs: dict[str, Program | None] = {}
        self._census: Counter[tuple[str, str]] = Counter()
        self.foreign = self.encrypted = 0

    def faults(self) -> Iterator[Fault]:
        """Every program that is not the one its digest names, and every row that does not say
        what the entries say: state, wake-up, work items, census."""
        yield from self._of_programs()
        after = ""
        while page := stored(self._journal).standings(after, _STREAMS):
            for standing in page:
                stream = standing.chain.stream
                try:
                    for says in self._of_stream(self._opened(standing)):
                        yield Fault(says, stream)
                except KatError as error:
                    yield Fault(f"it cannot be worked out again: {error}", stream)
            after = page[-1].chain.stream
        yield from self._of_nobody()

    def _of_programs(self) -> Iterator[Fault]:
        from kat_workflow.language import compile_files  # noqa: PLC0415  # loaded on first use

        for listed in self._journal.programs():
            kept, made = self._journal.program(listed.digest), None
            with suppress(ProgramError):
                made = None if kept is None else compile_files(kept.files, kept.main)
            # A file that is missing is looked for among those that ship: it must be kept as well.
            if (
                kept is None
                or made is None
                or made.digest != listed.digest
                or dict(made.files) != kept.files
            ):
                made = None
                name = f"program {listed.id} {listed.version} ({listed.digest[:12]})"
                yield Fault(f"{name} is not the one that was signed or enrolled with")
            self._programs[listed.digest] = made

    def _opened(self, standing: Standing) -> Standing:
        journal = self._journal
        return journal.opened(standing) if isinstance(journal, EncryptedJournal) else standing

    def _of_stream(self, standing: Standing) -> Iterator[str]:
        kind: Any = standing.chain.stream.partition(":")[0]
        entries = self._journal.read(standing.chain.stream)
        if not self._keyed and any(is_payload(entry.body) for entry in entries):
            self.encrypted += 1
            if standing.census is not None:
                self._census[standing.census.site, standing.census.standing] += 1
            return
        if kind == "enrollment":
            yield from self._of_enrollment(standing, entries)
            return
        if standing.items or standing.census is not None:
            yield "there are rows of an enrollment beside it, which it is not"
        if kind in FOLDS and standing.row is not None:
            yield from self._of_beside(kind, standing.row, entries)

    def _of_enrollment(self, standing: Standing, entries: list[Entry]) -> Iterator[str]:
        state, stream = retold(entries), standing.chain.stream
        if standing.row is not None:
            yield from self._of_state(standing.row, state)
        if standing.wake != state.wake:
            yield "its wake-up is not when the first timer is due"
        if state.erased is not None:
            if standing.items or standing.census is not None:
                yield "it was erased, and there are work items or a census row of it"
            return
        program = self._programs.get(state.digest)
        if program is None:
            yield f"its program {state.digest[:12]} is not kept, or cannot be read"
            return
        items = {id_: item_row(program, state, stream, id_) for id_ in state.items}
        kept = {row.item: row for row in standing.items}
        if kept != items or not self._listed(stream, items.values()):
            yield "its work items are not what the entries say"
        census = census_row(program, state, stream)
        self._census[census.site, census.standing] += 1
        if standing.census is None:
            yield "its census row is missing"
        elif standing.census != census:
            yield "its census row is not what the entries say"

    def _of_state(self, row: bytes, state: Enrollment) -> Iterator[str]:
        try:
            if decode_row(row) != state:
                yield "its state row is not what the entries say"
        except JournalError:
            form = _plain(row)
            if isinstance(form, list) and form and isinstance(form[0], int) and form[0] != FORM:
                self.foreign += 1
            else:
                yield "its state row cannot be read"

    def _of_beside(self, kind: Any, row: bytes, entries: list[Entry]) -> Iterator[str]:
        try:
            shown = beside_decoder(kind).decode(row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if isinstance(_plain(row), dict):
                self.foreign += 1
            else:
                yield "its state row cannot be read"
            return
        if shown != refolded(kind, entries):
            yield "its state row is not what the entries say"

    def _listed(self, stream: str, items: Iterable[ItemRow]) -> bool:
        """Whether every list shows these items of an enrollment, in their order, and no others."""
        due = sorted(items, key=lambda row: (row.sort, row.item))
        most = max(_PAGE, len(due) + 1)  # the same for nearly all: each limit is a statement
        one = due[0] if due else None
        asked: list[tuple[dict[str, Any], list[ItemRow]]] = [({}, due)]
        if one is not None:
            asked.append(({"site": one.site, "patient": one.patient}, due))
        for role in {role for row in due for role in row.roles}:
            asked.append(({"role": role}, [row for row in due if role in row.roles]))
        for person in {row.assigned for row in due}:
            asked.append(({"assigned": person}, [row for row in due if row.assigned == person]))
        return all(
            self._journal.worklist(stream=stream, limit=most, **names)[0] == rows
            for names, rows in asked
        )

    def _of_nobody(self) -> Iterator[Fault]:
        """Rows that lists show of streams that there are not, or in a list that is not theirs."""
        after: Cursor | None = None
        seen = ""
        while True:
            rows, after = self._journal.worklist(limit=_PAGE, after=after)
            for row in rows:
                if row.stream != seen and not self._journal.version(row.stream):
                    yield Fault("there are work items of it, and nothing else", row.stream)
                seen = row.stream
            if after is None:
                break
        for (site, standing), count in sorted(self._census.items()):
            listed = self._journal.census(site, standing)
            if len(listed) != count or any(
                (row.site, row.standing) != (site, standing) for row in listed
            ):
                yield Fault(f"the census of {site} does not list who is {standing} by the entries")
        for site in sorted({site for site, _ in self._census}):
            for each in self._journal.census(site):
                if not self._journal.version(each.stream):
                    yield Fault("there is a census row of it, and nothing else", each.stream)


def _plain(row: bytes) -> Any:
    """What a row is, whichever release wrote it; None for bytes that are no row at all."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.msgpack.decode(row)
    return None
