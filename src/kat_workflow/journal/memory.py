"""The journal in memory: for tests, simulation and notebooks; gone when the process ends.

It keeps the orders for which the SQLite store has indexes, so that a cohort of many thousands
stays quick: every list that is asked for is kept sorted and cut by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from os import urandom
from threading import RLock
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from kat_workflow.errors import Conflict, JournalError
from kat_workflow.journal import (
    Append,
    CensusRow,
    Chain,
    Cursor,
    Entry,
    ItemRow,
    Journal,
    KeptProgram,
    Receipt,
    Written,
    in_order,
    micros,
    reused,
    shown,
)
from kat_workflow.journal.chain import SALT, commitment, frame, genesis, hidden, link, sealed
from kat_workflow.journal.records import (
    KeptCheckpoint,
    Record,
    Standing,
    not_empty,
)

__all__ = ["MemoryJournal"]

Spot = tuple[datetime, str, str]
"""Where an item stands in every list: (due or opens, stream, item)."""

LAST = chr(0x10FFFF)


class MemoryJournal:
    """A `Journal` of plain lists and dicts, guarded by one lock."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._closed = False
        self._entries: list[Entry] = []
        self._streams: dict[str, list[Entry]] = {}
        self._rows: dict[str, bytes] = {}
        self._wakes: dict[str, datetime] = {}
        self._waking: list[tuple[datetime, str]] = []
        self._items: dict[tuple[str, str], ItemRow] = {}
        self._lists: defaultdict[tuple[str, ...], list[Spot]] = defaultdict(list)
        self._census: dict[str, CensusRow] = {}
        self._salts: dict[str, bytes] = {}
        self._commands: dict[str, Written] = {}
        self._checkpoints: list[tuple[int, bytes]] = []
        self._programs: dict[str, KeptProgram] = {}

    @property
    def joined(self) -> bool:
        """See `Journal.joined`; memory has no host."""
        return False

    def append(
        self,
        appends: Sequence[Append],
        *,
        command: str,
        digest: str,
        recorded: datetime,
        person: str,
        role: str,
    ) -> Receipt:
        """See `Journal.append`; here nothing can fail once the versions are seen to be right."""
        ordered = in_order(appends, recorded)
        with self._open():
            known = self.receipt(command, digest)
            if known is not None:
                return known
            for append in ordered:
                now = self.version(append.stream)
                if now != append.expected:
                    raise Conflict(
                        f"{shown(append.stream)} is at version {now}, not {append.expected}"
                    )
            first = len(self._entries) + 1
            instant = recorded.astimezone(UTC)
            seal = urandom(SALT)
            held = commitment(seal, digest.encode())
            framed = frame(micros(recorded), command, sealed(seal, held), person, role)
            for append in ordered:
                end = self._end(append)
                for number, body in enumerate(append.bodies):
                    values = append.values[number] if append.values else b""
                    salt = urandom(SALT) if values else b""
                    version = append.expected + number + 1
                    end = link(end, version, framed, commitment(salt, values), body)
                    entry = Entry(
                        position=len(self._entries) + 1,
                        stream=append.stream,
                        version=version,
                        recorded=instant,
                        cause=command,
                        person=person,
                        role=role,
                        body=body,
                        values=values,
                        salt=salt,
                        link=end,
                    )
                    self._entries.append(entry)
                    self._streams.setdefault(append.stream, []).append(entry)
                self._stand(append)
            written = Written(command, held, seal, first, len(self._entries))
            self._commands[command] = written
            for append in ordered:
                if append.erase_through:
                    self._erase(append)
            return self._receipt(written, again=False)

    def receipt(self, command: str, digest: str) -> Receipt | None:
        """See `Journal.receipt`."""
        with self._open():
            known = self._commands.get(command)
            if known is None:
                return None
            if known.digest != commitment(known.salt, digest.encode()):
                raise reused(command, erased=len(known.salt) > SALT)
            return self._receipt(known, again=True)

    def read(self, stream: str, after_version: int = 0) -> list[Entry]:
        """See `Journal.read`."""
        with self._open():
            return self._streams.get(stream, [])[max(after_version, 0) :]

    def version(self, stream: str) -> int:
        """See `Journal.version`."""
        with self._open():
            return len(self._streams.get(stream, ()))

    def row(self, stream: str) -> tuple[int, bytes] | None:
        """See `Journal.row`."""
        with self._open():
            row = self._rows.get(stream)
            return None if row is None else (self.version(stream), row)

    def follow(self, after_position: int, limit: int) -> list[Entry]:
        """See `Journal.follow`."""
        with self._open():
            start = max(after_position, 0)
            return self._entries[start : start + limit]

    def chains(self, after: str = "", limit: int = 1000) -> list[Chain]:
        """See `Journal.chains`."""
        with self._open():
            names = sorted(name for name in self._streams if name > after)[:limit]
            return [
                Chain(name, self.version(name), self._streams[name][-1].link, self._salts[name])
                for name in names
            ]

    def written(self, after: str = "", limit: int = 1000) -> list[Written]:
        """See `Journal.written`."""
        with self._open():
            names = sorted(name for name in self._commands if name > after)[:limit]
            return [self._commands[name] for name in names]

    def written_by(self, causes: Iterable[str]) -> list[Written]:
        """See `Journal.written_by`."""
        with self._open():
            return [self._commands[name] for name in set(causes) if name in self._commands]

    def keep_checkpoint(self, position: int, body: bytes) -> None:
        """See `Journal.keep_checkpoint`."""
        with self._open():
            self._checkpoints.append((position, body))

    def checkpoints(self) -> list[bytes]:
        """See `Journal.checkpoints`."""
        with self._open():
            return [kept.body for kept in self.kept_checkpoints()]

    def kept_checkpoints(self) -> list[KeptCheckpoint]:
        """See `Journal.kept_checkpoints`."""
        with self._open():
            return [KeptCheckpoint(*kept) for kept in sorted(self._checkpoints, key=_position)]

    def standings(self, after: str = "", limit: int = 1000) -> list[Standing]:
        """See `Journal.standings`."""
        with self._open():
            return [
                Standing(
                    chain,
                    self._rows.get(chain.stream),
                    self._wakes.get(chain.stream),
                    tuple(
                        self._items[chain.stream, name]
                        for name in sorted(
                            item for _, _, item in self._lists.get(("stream", chain.stream), ())
                        )
                    ),
                    self._census.get(chain.stream),
                )
                for chain in self.chains(after, limit)
            ]

    @contextmanager
    def snapshot(self) -> Iterator[MemoryJournal]:
        """See `Journal.snapshot`; others wait meanwhile."""
        with self._open():
            yield self

    def load(self, records: Iterable[Record], check: Callable[[Journal], None]) -> None:
        """See `Journal.load`; others wait meanwhile."""
        with self._open():
            if self._commands or self._entries:
                raise not_empty("the journal in memory")
            try:
                for record in records:
                    self._take_in(record)
                self._entries.sort(key=lambda entry: entry.position)
                for entries in self._streams.values():
                    entries.sort(key=lambda entry: entry.version)
                check(self)
            except BaseException:
                self.__init__()  # type: ignore[misc]
                raise

    def _take_in(self, record: Record) -> None:
        match record:
            case KeptProgram():
                self._programs[record.digest] = record
            case Written():
                self._commands[record.command] = record
            case Entry():
                self._entries.append(record)
                self._streams.setdefault(record.stream, []).append(record)
            case Standing():
                stream = record.chain.stream
                self._salts[stream] = record.chain.salt
                self._stand(
                    Append(
                        stream, 0, (b"",), record.row, record.wake, (), record.items, record.census
                    )
                )
            case KeptCheckpoint():
                self._checkpoints.append((record.position, record.body))

    def faults(self) -> list[str]:
        """See `Journal.faults`."""
        return []

    def size(self) -> int:
        """See `Journal.size`."""
        return 0

    def scrub(self) -> bool:
        """See `Journal.scrub`; memory keeps nothing of what was replaced."""
        return True

    def due(self, now: datetime, limit: int) -> list[tuple[str, datetime]]:
        """See `Journal.due`."""
        with self._open():
            end = bisect_right(self._waking, (now, LAST))
            return [(stream, wake) for wake, stream in self._waking[: min(end, limit)]]

    def worklist(
        self,
        *,
        role: str | None = None,
        site: str | None = None,
        stream: str | None = None,
        patient: str | None = None,
        assigned: str | None = None,
        limit: int = 50,
        after: Cursor | None = None,
    ) -> tuple[list[ItemRow], Cursor | None]:
        """See `Journal.worklist`."""
        with self._open():
            spots = self._lists.get(_narrowest(role, site, stream, patient), [])
            start = 0
            if after is not None:
                start = bisect_right(spots, (after.sort, after.stream, after.item))
            rows: list[ItemRow] = []
            for index in range(start, len(spots)):
                row = self._items[spots[index][1:]]
                if (
                    (role is None or role in row.roles)
                    and (site is None or site == row.site)
                    and (stream is None or stream == row.stream)
                    and (patient is None or patient == row.patient)
                    and (assigned is None or assigned == row.assigned)
                ):
                    if len(rows) == limit:
                        return rows, _cursor(rows)
                    rows.append(row)
            return rows, None

    def census(self, site: str, standing: str | None = None) -> list[CensusRow]:
        """See `Journal.census`."""
        with self._open():
            return [
                row
                for _, row in sorted(self._census.items())
                if row.site == site and standing in (None, row.standing)
            ]

    def streams(self, prefix: str = "") -> list[str]:
        """See `Journal.streams`."""
        with self._open():
            return sorted(name for name in self._streams if name.startswith(prefix))

    def keep_program(
        self,
        digest: str,
        id: str,  # noqa: A002
        version: str,
        main: str,
        files: Mapping[str, str],
    ) -> None:
        """See `Journal.keep_program`."""
        with self._open():
            self._programs.setdefault(digest, KeptProgram(digest, id, version, main, dict(files)))

    def program(self, digest: str) -> KeptProgram | None:
        """See `Journal.program`."""
        with self._open():
            return self._programs.get(digest)

    def programs(self, id: str | None = None) -> list[KeptProgram]:  # noqa: A002
        """See `Journal.programs`."""
        with self._open():
            kept = [p for p in self._programs.values() if id in (None, p.id)]
            kept.sort(key=lambda p: (p.id, p.version, p.digest))
            return [replace(p, files={}) for p in kept]

    def close(self) -> None:
        """See `Journal.close`; what it held is gone."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> RLock:
        """The lock of a journal that is still open."""
        if self._closed:
            raise JournalError("the journal in memory is closed; open another")
        return self._lock

    def _stand(self, append: Append) -> None:
        """Bring the rows beside the entries to what they are after this append."""
        stream = append.stream
        if append.bodies or append.row is not None:
            if append.row is None:
                self._rows.pop(stream, None)
            else:
                self._rows[stream] = append.row
            before = self._wakes.pop(stream, None)
            if before is not None:
                del self._waking[bisect_left(self._waking, (before, stream))]
            if append.wake is not None:
                self._wakes[stream] = append.wake.astimezone(UTC)
                insort(self._waking, (self._wakes[stream], stream))
        if append.erase_through:
            self._census.pop(stream, None)
            for _, _, name in list(self._lists["stream", stream]):
                self._forget(stream, name)
        for name in append.items_gone:
            self._forget(stream, name)
        for item in append.items:
            self._forget(stream, item.item)
            self._items[stream, item.item] = item
            for listed in _lists(item):
                insort(self._lists[listed], (item.sort, stream, item.item))
        if append.census is not None:
            self._census[stream] = append.census

    def _receipt(self, written: Written, again: bool) -> Receipt:
        entries = self._entries[written.first - 1 : written.last]
        reached = {entry.stream: entry.version for entry in entries}
        versions = tuple(sorted(reached.items()))
        return Receipt(written.command, written.first, written.last, versions, again)

    def _end(self, append: Append) -> bytes:
        """The link that the first entry of the append is linked to."""
        stream = append.stream
        if append.expected:
            return self._streams[stream][-1].link
        if append.bodies:
            self._salts[stream] = urandom(SALT)
            return genesis(self._salts[stream], stream)
        return b""

    def _erase(self, append: Append) -> None:
        """Take away what the append erases; its own entries are written."""
        stream, name = append.stream, append.rename or append.stream
        entries = self._streams.pop(stream)
        for index, entry in enumerate(entries):
            if append.erase_from <= entry.version <= append.erase_through:
                known = self._commands[entry.cause]
                self._commands[entry.cause] = replace(known, salt=hidden(known.salt))
                if entry.values:
                    held = commitment(entry.salt, entry.values)
                    entry = replace(entry, values=b"", salt=held)  # noqa: PLW2901
            entries[index] = replace(entry, stream=name)
            self._entries[entry.position - 1] = entries[index]
        self._streams[name] = entries
        if append.rename:
            salt = self._salts.pop(stream)
            self._salts[name] = genesis(salt, stream) if len(salt) == SALT else salt
            row, wake = self._rows.pop(stream, None), self._wakes.pop(stream, None)
            if row is not None:
                self._rows[name] = row
            if wake is not None:
                self._wakes[name] = wake
                del self._waking[bisect_left(self._waking, (wake, stream))]
                insort(self._waking, (wake, name))

    def _forget(self, stream: str, name: str) -> None:
        item = self._items.pop((stream, name), None)
        if item is None:
            return
        spot = item.sort, stream, name
        for listed in _lists(item):
            spots = self._lists[listed]
            del spots[bisect_left(spots, spot)]


def _lists(item: ItemRow) -> Iterator[tuple[str, ...]]:
    """The lists on which an item stands, by the keys that `_narrowest` chooses from."""
    yield ("all",)
    yield "stream", item.stream
    yield "patient", item.patient
    yield "site", item.site
    for role in dict.fromkeys(item.roles):
        yield "role", role
        yield "role", role, item.site


def _narrowest(
    role: str | None, site: str | None, stream: str | None, patient: str | None
) -> tuple[str, ...]:
    """The shortest list that holds all that is asked for."""
    if stream is not None:
        return "stream", stream
    if patient is not None:
        return "patient", patient
    if role is not None:
        return ("role", role) if site is None else ("role", role, site)
    return ("all",) if site is None else ("site", site)


def _cursor(rows: list[ItemRow]) -> Cursor | None:
    return Cursor(rows[-1].sort, rows[-1].stream, rows[-1].item) if rows else None


def _position(kept: tuple[int, bytes]) -> int:
    return kept[0]
