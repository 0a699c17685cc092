"""The journal: what has happened, in order, for ever; and rows that say where things stand now.

A journal holds *streams* (`enrollment:…`, `patient:…`, `site:…`, `group:…`) of entries. It does
not know events: an entry's body is the canonical JSON that somebody above wrote. Beside the
entries lie rows that could be rebuilt from them at any time: one state row and one wake-up per
stream, the open items of the worklists, the census. One `append` writes all of it for every
stream it touches, or nothing, and is known by its command's id for ever after.

One protocol, `Journal`, and one contract suite for every store: `memory.MemoryJournal` for tests
and simulation, `sqlite.SqliteJournal` for a clinic, `postgres.PostgresJournal` for many hosts.
`open_journal` opens each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from msgspec import Struct

from kat_workflow.errors import JournalError, Reason, Refusal, Refused

if TYPE_CHECKING:
    import sqlite3
    from contextlib import AbstractContextManager

    import psycopg

    from kat_workflow.journal.encrypting import Keys
    from kat_workflow.journal.records import KeptCheckpoint, Record, Standing

__all__ = [
    "ENCRYPTED",
    "ERASURE",
    "LOCKED",
    "PSEUDONYM",
    "Append",
    "CensusRow",
    "Chain",
    "Cursor",
    "Entry",
    "ItemRow",
    "Journal",
    "KeptProgram",
    "Receipt",
    "Written",
    "in_order",
    "instant",
    "is_payload",
    "micros",
    "open_journal",
    "placed",
    "reused",
    "shown",
    "stored",
]


class Entry(Struct, frozen=True):
    """One event as it was written; it is never changed.

    `position` counts the entries of the store in commit order and `version` those of the stream,
    both from 1 and without gaps. `cause` is the id of the command that wrote it (`timer:…` for
    time passing), `recorded` the instant of writing in UTC, `person` and `role` who asked and
    the role acted in, `body` the canonical JSON of one event, but for its `values`: those tell
    about the patient and can be erased. Where there are values, `salt` are 16 random bytes; once
    they are erased, the 32 bytes of the commitment that was to them, else b"". `link` holds to
    all of it and to every entry before it (`journal.chain`).
    """

    position: int
    stream: str
    version: int
    recorded: datetime
    cause: str
    person: str
    role: str
    body: bytes
    values: bytes = b""
    salt: bytes = b""
    link: bytes = b""

    @property
    def erased(self) -> bool:
        """Whether it had values that are gone."""
        return bool(self.salt) and not self.values


class ItemRow(Struct, frozen=True, omit_defaults=True):
    """An open work item as worklists show it; each of its roles sees it.

    `item` is unique within its stream. It stands in the list at `due`, or where it `opens` if
    nothing is due. `assigned` is the person whose it is, if anybody's, and `handed_by` who handed
    it to them.
    """

    item: str
    stream: str
    site: str
    roles: tuple[str, ...]
    opens: datetime
    due: datetime | None = None
    step: str = ""
    title: str = ""
    phase: str = ""
    patient: str = ""
    program: str = ""
    assigned: str = ""
    handed_by: str = ""

    @property
    def sort(self) -> datetime:
        """The instant by which worklists are ordered."""
        return self.opens if self.due is None else self.due


class CensusRow(Struct, frozen=True, omit_defaults=True):
    """One enrollment as the census of its site shows it.

    `phases` are where the patient is, in words; `anchor` is the local date that is program day 1,
    so that a reader can count the day without the program.
    """

    stream: str
    site: str
    patient: str
    program: str
    standing: str
    phases: tuple[str, ...] = ()
    anchor: date | None = None
    holds: tuple[str, ...] = ()


class Append(Struct, frozen=True):
    """What one command writes to one stream.

    `expected` is the version that the writer has read (0: the stream is new). `row` is the state
    row after the bodies; without one the stream has no state row until one is written again,
    never a stale one. `wake` is the earliest instant at which the stream needs attention, None
    if it needs none. `items_gone` are removed before `items` are put in; `census` replaces the
    row. With neither bodies nor row the append only holds `expected` to be still true (a stream
    that was read for the decision) and leaves row and wake as they are.

    `values` are () or as many as `bodies`: canonical JSON, b"" where nothing tells about the
    patient. An append that erases takes the values and salts of the versions from `erase_from`
    through `erase_through` away for good, the salts of the commands that wrote them, and all items
    and the census row of the stream, before its own are put in; its bodies say so. `rename` is
    the stream's name from then on, nothing keeps the old one; it needs all before it erased, and
    no wake-up: whoever was told of one was told of the old name.
    """

    stream: str
    expected: int
    bodies: tuple[bytes, ...] = ()
    row: bytes | None = None
    wake: datetime | None = None
    items_gone: tuple[str, ...] = ()
    items: tuple[ItemRow, ...] = ()
    census: CensusRow | None = None
    values: tuple[bytes, ...] = ()
    erase_through: int = 0
    erase_from: int = 1
    rename: str = ""


class Receipt(Struct, frozen=True):
    """What a command wrote: positions `first` to `last`, and the version each stream reached.

    `versions` names the streams that got entries, in name order. `again` is true if the command
    had been written before and this call wrote nothing. A command that wrote no entry has
    `last == first - 1`.
    """

    command: str
    first: int
    last: int
    versions: tuple[tuple[str, int], ...]
    again: bool = False


class Written(Struct, frozen=True):
    """What is kept of a command: `digest` is the commitment to its digest under the `salt`.

    Once something that the command wrote was erased, only the hash of the salt is kept (32
    bytes): its digest can then be compared with nothing any more.
    """

    command: str
    digest: bytes
    salt: bytes
    first: int
    last: int


class Chain(Struct, frozen=True):
    """Where the chain of a stream begins and ends: the link of its last entry, at `version`.

    `salt` is that of the genesis, 16 bytes; of a stream that was renamed when it was erased, the
    genesis itself, 32 bytes, by which the old name cannot be found out.
    """

    stream: str
    version: int
    link: bytes
    salt: bytes


class Cursor(Struct, frozen=True):
    """The last row of a page of a worklist; the next page begins after it."""

    sort: datetime
    stream: str
    item: str


class KeptProgram(Struct, frozen=True):
    """A program's files as they were at first enrollment, by digest; `main` names the first."""

    digest: str
    id: str
    version: str
    main: str
    files: dict[str, str]


class Journal(Protocol):
    """Append-only storage. Every store keeps all of this; one suite of tests holds them to it.

    Any method may raise `JournalError`. Journals may be used by several threads at once.
    """

    @property
    def joined(self) -> bool:
        """Whether an append would be part of a transaction that a host has open, and may undo."""
        ...

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
        """Write all of it in one transaction, or nothing; durable when it returns.

        Streams are written in name order, whatever the order given, each at most once. A command
        id that was written before with the same digest gets its first receipt, `again`, and
        nothing is written, even if versions have moved on; with another digest it raises
        `Refused` (`id-reused`). Raises `Conflict` if a stream is not at its expected version.
        """
        ...

    def receipt(self, command: str, digest: str) -> Receipt | None:
        """The receipt of a command that was written before, else None; `id-reused` as above."""
        ...

    def read(self, stream: str, after_version: int = 0) -> list[Entry]:
        """The entries of a stream after a version, in order."""
        ...

    def version(self, stream: str) -> int:
        """The version of the last entry of a stream, 0 if it has none."""
        ...

    def row(self, stream: str) -> tuple[int, bytes] | None:
        """The state row and the version it stands for (always the last), None without one."""
        ...

    def follow(self, after_position: int, limit: int) -> list[Entry]:
        """The next entries of the whole store, for a reader that keeps its last position.

        It never skips: an entry that commits later has a higher position.
        """
        ...

    def chains(self, after: str = "", limit: int = 1000) -> list[Chain]:
        """The next streams in name order after a name, with the ends of their chains."""
        ...

    def written(self, after: str = "", limit: int = 1000) -> list[Written]:
        """The next commands in the order of their ids after an id."""
        ...

    def written_by(self, causes: Iterable[str]) -> list[Written]:
        """What is kept of these commands, in any order; nothing for an id that is not known."""
        ...

    def keep_checkpoint(self, position: int, body: bytes) -> None:
        """Keep a checkpoint of the first `position` entries, beside those kept before."""
        ...

    def checkpoints(self) -> list[bytes]:
        """All checkpoints kept, by position, then as they were kept."""
        ...

    def scrub(self) -> bool:
        """Overwrite what was erased wherever the store may still hold it, as in a log of writes.

        False if another process kept it from that: ask again when that one is through.
        """
        ...

    def kept_checkpoints(self) -> list[KeptCheckpoint]:
        """The same, each with its position."""
        ...

    def standings(self, after: str = "", limit: int = 1000) -> list[Standing]:
        """The next streams in name order after a name, with all rows beside their entries."""
        ...

    def snapshot(self) -> AbstractContextManager[Journal]:
        """The journal as it is at one instant, to be read while others write."""
        ...

    def load(self, records: Iterable[Record], check: Callable[[Journal], None]) -> None:
        """Take records into a journal that is empty, all of them or none.

        `check` is asked about what was taken in before it is committed: what it raises undoes
        everything. Raises JournalError where the journal is not empty.
        """
        ...

    def faults(self) -> list[str]:
        """What the store itself finds wrong with how it is kept, in words."""
        ...

    def size(self) -> int:
        """How many bytes the store takes, 0 where that cannot be said."""
        ...

    def due(self, now: datetime, limit: int) -> list[tuple[str, datetime]]:
        """Streams whose wake-up is at or before `now`, earliest first, then by name."""
        ...

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
        """A page of open items and the cursor of the next one, None after the last.

        `assigned` is the person whose items they are, "" for those that are nobody's.

        Ordered by (due or opens, stream, item); every filter given must hold. A page begins after
        the cursor in that order, so items that come or go meanwhile shift nothing.
        """
        ...

    def census(self, site: str, standing: str | None = None) -> list[CensusRow]:
        """The enrollments of a site, by stream; of one standing if it is given."""
        ...

    def streams(self, prefix: str = "") -> list[str]:
        """The names of all streams that begin so, in name order."""
        ...

    def keep_program(
        self,
        digest: str,
        id: str,  # noqa: A002
        version: str,
        main: str,
        files: Mapping[str, str],
    ) -> None:
        """Keep a program's files; nothing happens if the digest is kept already."""
        ...

    def program(self, digest: str) -> KeptProgram | None:
        """The program with this digest."""
        ...

    def programs(self, id: str | None = None) -> list[KeptProgram]:  # noqa: A002
        """All kept programs (of one id), by id, version and digest, without their files.

        The same id and version with two digests are two rows.
        """
        ...

    def close(self) -> None:
        """Give back the file; a second time does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_journal(
    where: str | PathLike[str] | None = None,
    *,
    connection: sqlite3.Connection | psycopg.Connection[Any] | None = None,
    keys: Keys | Mapping[str, bytes] | None = None,
) -> Journal:
    """A journal in the SQLite file `where`, made if it is not there; None: in memory only.

    `postgresql://…` names a PostgreSQL database; the tables are made in it if they are not there.
    `connection` is a host's own connection to either, instead: see the stores.

    With `keys` what is written is encrypted (`journal.encrypting`). A journal that is encrypted is
    locked without them: it can be audited and copied, and says of everything else what it needs.
    """
    journal = _opened(where, connection)
    try:
        if keys is None and not _is_encrypted(journal):
            return journal
        # Whoever has no keys does not wait for it.
        from kat_workflow.journal.encrypting import EncryptedJournal  # noqa: PLC0415

        return EncryptedJournal(journal, keys)
    except BaseException:
        journal.close()
        raise


def _opened(
    where: str | PathLike[str] | None,
    connection: sqlite3.Connection | psycopg.Connection[Any] | None,
) -> Journal:
    """The store that is meant, as it is."""
    if where is None and connection is None:
        from kat_workflow.journal.memory import MemoryJournal  # noqa: PLC0415

        return MemoryJournal()
    # Only a host that keeps its journal in a database pays for loading it, or needs to have it.
    driver = sys.modules.get("psycopg")
    hosted = driver is not None and isinstance(connection, driver.Connection)
    if hosted or (isinstance(where, str) and where.startswith(("postgresql://", "postgres://"))):
        from kat_workflow.journal.postgres import PostgresJournal  # noqa: PLC0415

        return PostgresJournal(where, connection=connection)  # type: ignore[arg-type]
    from kat_workflow.journal.sqlite import SqliteJournal  # noqa: PLC0415

    return SqliteJournal(where, connection=connection)  # type: ignore[arg-type]


ENCRYPTED = b'{"encrypted":"'
"""How a payload begins that needs a key to be read."""
ERASURE = b'{"event":"erased"'
"""How the body of an entry begins that tells of an erasure: stores read those, and no others."""
PSEUDONYM = "patient:~"
"""How the name of a patient's own stream begins in a journal that is encrypted."""
LOCKED = (
    "the journal is encrypted; give its keys: keys= in Engine.open or open_journal, --keys FILE or"
    " KAT_KEYS for kat"
)


def is_payload(content: bytes | None) -> bool:
    """Whether what is stored was encrypted."""
    return content is not None and content.startswith(ENCRYPTED)


def _is_encrypted(journal: Journal) -> bool:
    """Whether a store holds what needs keys, as far as is seen at once: by its first entry, or by
    any patient who came since. What cannot be read is for an audit to tell."""
    with suppress(JournalError):
        return any(is_payload(entry.body) for entry in journal.follow(0, 1)) or any(
            chain.stream.startswith(PSEUDONYM) for chain in journal.chains(PSEUDONYM, 1)
        )
    return False


def stored(journal: Journal) -> Journal:
    """The journal as its store has it: what is audited, copied and counted. Another one only where
    payloads are encrypted."""
    inside: Journal = getattr(journal, "stored", journal)
    return inside


# For stores


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Whole microseconds since 1970 in UTC, so that instants sort and compare as numbers."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(micros: int) -> datetime:
    """The instant in UTC of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def in_order(appends: Sequence[Append], recorded: datetime) -> list[Append]:
    """The appends in name order; ValueError for what no store can write. Stores call it first."""
    zoned = recorded.tzinfo is not None
    for append in appends:
        if append.wake is not None:
            zoned = zoned and append.wake.tzinfo is not None
            if not append.bodies and append.row is None:
                raise ValueError(
                    f"{shown(append.stream)}: a wake-up is written with the state row it is of"
                )
        if not append.stream.isascii():
            _is_text(append.stream)
        if append.expected == 0 and not append.bodies and append != Append(append.stream, 0):
            raise ValueError(f"{shown(append.stream)}: a stream begins with an entry")
        if append.census is not None and append.census.stream != append.stream:
            raise ValueError(f"{shown(append.stream)}: the census row is of {append.census.stream}")
        if append.values and len(append.values) != len(append.bodies):
            raise ValueError(f"{shown(append.stream)}: values are given for each body, or for none")
        if append.erase_through or append.rename:
            _may_erase(append)
        if append.items:
            if len({item.item for item in append.items}) < len(append.items):
                raise ValueError(f"{shown(append.stream)}: an item is given twice")
            for item in append.items:
                if item.stream != append.stream:
                    raise ValueError(
                        f"{shown(append.stream)}: item {item.item} is of {item.stream}"
                    )
                zoned = zoned and item.opens.tzinfo is not None and item.sort.tzinfo is not None
    if not zoned:
        raise ValueError("an instant without a zone cannot be written")
    if len(appends) == 1:
        return list(appends)
    if len({append.stream for append in appends}) < len(appends):
        raise ValueError("a stream is appended to twice by one command")
    return sorted(appends, key=_name)


def _is_text(stream: str) -> None:
    """ValueError for a name that cannot be written; what it is, is not said."""
    try:
        stream.encode()
    except UnicodeEncodeError:
        raise ValueError("the name of a stream is no text that can be written") from None


def _may_erase(append: Append) -> None:
    """ValueError for an erasure that could not be told from tampering."""
    through, before = append.erase_through, append.expected
    if not append.bodies:
        raise ValueError(f"{shown(append.stream)}: an erasure is said by an entry")
    if not 1 <= append.erase_from <= through <= before:
        raise ValueError(f"{shown(append.stream)}: only what was written before can be erased")
    if append.rename and (append.erase_from, through) != (1, before):
        raise ValueError(f"{shown(append.stream)}: only a stream that is erased wholly is renamed")
    if append.rename and (append.items or append.census is not None or append.wake is not None):
        raise ValueError(
            f"{shown(append.stream)}: no rows and no wake-up are put in where a stream is renamed"
        )


def reused(command: str, erased: bool = False) -> Refused:
    """The refusal of a command whose id was given to another command before.

    `erased`: what it said then was erased, so that nobody can tell whether it is the same.
    """
    what = "a command that was erased" if erased else "something else"
    reason = Reason(
        code="id-reused",
        says=f"the command id {command} was used before for {what}",
        unblock=("send it under an id of its own",),
    )
    return Refused(Refusal(command, (reason,)))


def _name(append: Append) -> str:
    return append.stream


def shown(stream: str) -> str:
    """A stream as errors and reports name it: which patient one is of is not said."""
    kind, _, _ = stream.partition(":")
    return "a patient's own stream" if kind == "patient" else stream


def placed(entry: Entry) -> str:
    """Where an entry stands, as errors say it."""
    return f"{shown(entry.stream)}: version {entry.version} (position {entry.position})"
