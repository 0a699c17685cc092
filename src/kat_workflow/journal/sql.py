"""What a journal in SQL tables is asked, whichever database holds them.

The tables and columns have the same names everywhere, so that a question is written once, with `?`
for each value. How it is carried out, and how anything is written, is each store's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar, Self

from kat_workflow.journal import (
    CensusRow,
    Chain,
    Cursor,
    Entry,
    ItemRow,
    KeptProgram,
    Written,
    instant,
    micros,
)
from kat_workflow.journal.records import (
    KeptCheckpoint,
    Standing,
    damaged,
    read_census,
    read_files,
    read_item,
)

__all__ = ["SELECT_COMMANDS", "SqlJournal"]

SELECT_COMMANDS = "SELECT command, digest, salt, first, last FROM kat_commands"
_SELECT_ENTRIES = """SELECT position, stream, version, recorded, cause, person, role, body,
    "values", salt, link FROM kat_entries"""
_SELECT_ROW = 'SELECT version, "row" FROM kat_streams WHERE stream = ? AND "row" IS NOT NULL'
_SELECT_PROGRAMS = "SELECT digest, id, version, main FROM kat_programs"


class SqlJournal(ABC):
    """The questions of a `Journal`, answered from its tables."""

    KEPT: ClassVar[str]
    """The column that tells in which order checkpoints of one position were kept."""

    @abstractmethod
    def _select(self, statement: str, values: Sequence[object]) -> list[Any]:
        """The rows of a question, whose `?` are these values."""

    @abstractmethod
    def _page(self, given: tuple[str, ...], values: list[object], later: bool, rows: int) -> Any:
        """As many bodies of items at most, where the `given` columns have these values; `later`:
        the last three values are the sort, stream and item after which they begin."""

    @abstractmethod
    def close(self) -> None:
        """See `Journal.close`."""

    def read(self, stream: str, after_version: int = 0) -> list[Entry]:
        """See `Journal.read`."""
        found = self._select(
            f"{_SELECT_ENTRIES} WHERE stream = ? AND version > ? ORDER BY version",
            (stream, after_version),
        )
        return [_entry(row) for row in found]

    def version(self, stream: str) -> int:
        """See `Journal.version`."""
        found = self._select("SELECT version FROM kat_streams WHERE stream = ?", (stream,))
        return int(found[0][0]) if found else 0

    def row(self, stream: str) -> tuple[int, bytes] | None:
        """See `Journal.row`."""
        found = self._select(_SELECT_ROW, (stream,))
        return found[0] if found else None

    def follow(self, after_position: int, limit: int) -> list[Entry]:
        """See `Journal.follow`."""
        found = self._select(
            f"{_SELECT_ENTRIES} WHERE position > ? ORDER BY position LIMIT ?",
            (after_position, limit),
        )
        return [_entry(row) for row in found]

    def chains(self, after: str = "", limit: int = 1000) -> list[Chain]:
        """See `Journal.chains`."""
        found = self._select(
            """SELECT stream, version, link, salt FROM kat_streams WHERE stream > ?
            ORDER BY stream LIMIT ?""",
            (after, limit),
        )
        return [Chain(*row) for row in found]

    def written(self, after: str = "", limit: int = 1000) -> list[Written]:
        """See `Journal.written`."""
        found = self._select(
            f"{SELECT_COMMANDS} WHERE command > ? ORDER BY command LIMIT ?", (after, limit)
        )
        return [Written(*row) for row in found]

    def checkpoints(self) -> list[bytes]:
        """See `Journal.checkpoints`."""
        return [kept.body for kept in self.kept_checkpoints()]

    def kept_checkpoints(self) -> list[KeptCheckpoint]:
        """See `Journal.kept_checkpoints`."""
        found = self._select(
            f"SELECT position, body FROM kat_checkpoints ORDER BY position, {self.KEPT}",  # noqa: S608  # our own name
            (),
        )
        return [KeptCheckpoint(*row) for row in found]

    def standings(self, after: str = "", limit: int = 1000) -> list[Standing]:
        """See `Journal.standings`."""
        found = self._select(
            """SELECT stream, version, link, salt, "row", wake FROM kat_streams
            WHERE stream > ? ORDER BY stream LIMIT ?""",
            (after, limit),
        )
        last = found[-1][0] if found else after
        items: dict[str, list[ItemRow]] = {}
        for stream, body in self._select(
            """SELECT stream, body FROM kat_items WHERE lead AND stream > ? AND stream <= ?
            ORDER BY stream, item""",
            (after, last),
        ):
            items.setdefault(stream, []).append(read_item(body))
        census = {
            stream: read_census(body)
            for stream, body in self._select(
                "SELECT stream, body FROM kat_census WHERE stream > ? AND stream <= ?",
                (after, last),
            )
        }
        return [
            Standing(
                Chain(stream, version, end, salt),
                row,
                None if wake is None else instant(wake),
                tuple(items.get(stream, ())),
                census.get(stream),
            )
            for stream, version, end, salt, row, wake in found
        ]

    def due(self, now: datetime, limit: int) -> list[tuple[str, datetime]]:
        """See `Journal.due`."""
        found = self._select(
            "SELECT stream, wake FROM kat_streams WHERE wake <= ? ORDER BY wake, stream LIMIT ?",
            (micros(now), limit),
        )
        return [(stream, instant(wake)) for stream, wake in found]

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
        """See `Journal.worklist`.

        A site, with or without a role, a stream or a patient is found by an index; a role at all
        sites is found by going through every item, and so is whose they are, within the rest.
        """
        asked = {
            "role": role,
            "site": site,
            "stream": stream,
            "patient": patient,
            "assigned": assigned,
        }
        given = tuple(name for name, value in asked.items() if value is not None)
        values: list[object] = [asked[name] for name in given]
        if after is not None:
            values += [micros(after.sort), after.stream, after.item]
        # One more than asked for tells whether there is another page.
        found = self._page(given, values, after is not None, limit + 1)
        rows = [read_item(body) for (body,) in found[:limit]]
        if len(found) <= limit or not rows:
            return rows, None
        return rows, Cursor(rows[-1].sort, rows[-1].stream, rows[-1].item)

    def census(self, site: str, standing: str | None = None) -> list[CensusRow]:
        """See `Journal.census`."""
        found = self._select(
            "SELECT body FROM kat_census WHERE site = ? AND standing = ? ORDER BY stream"
            if standing is not None
            else "SELECT body FROM kat_census WHERE site = ? ORDER BY stream",
            (site,) if standing is None else (site, standing),
        )
        return [read_census(body) for (body,) in found]

    def streams(self, prefix: str = "") -> list[str]:
        """See `Journal.streams`."""
        found = self._select(
            "SELECT stream FROM kat_streams WHERE stream >= ? AND stream < ? ORDER BY stream",
            (prefix, prefix + chr(0x10FFFF)),
        )
        return [stream for (stream,) in found]

    def program(self, digest: str) -> KeptProgram | None:
        """See `Journal.program`."""
        found = self._select(
            "SELECT digest, id, version, main, files FROM kat_programs WHERE digest = ?", (digest,)
        )
        for kept, name, version, main, files in found:
            return KeptProgram(kept, name, version, main, read_files(files))
        return None

    def programs(self, id: str | None = None) -> list[KeptProgram]:  # noqa: A002
        """See `Journal.programs`."""
        found = self._select(
            f"{_SELECT_PROGRAMS} ORDER BY id, version, digest"
            if id is None
            else f"{_SELECT_PROGRAMS} WHERE id = ? ORDER BY id, version, digest",
            () if id is None else (id,),
        )
        return [KeptProgram(kept, name, version, main, {}) for kept, name, version, main in found]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _entry(row: tuple[Any, ...]) -> Entry:
    position, stream, version, recorded, *rest = row
    try:
        entry = Entry(position, stream, version, instant(recorded), *rest)
    except (TypeError, OverflowError):
        raise damaged(f"entry {position}") from None
    if type(entry.body) is not bytes:  # SQLite keeps any kind in any column
        raise damaged(f"entry {position}")
    return entry
