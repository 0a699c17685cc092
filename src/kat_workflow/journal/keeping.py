"""Keeping a journal: exported, imported, backed up, restored, counted; whatever store holds it.

A journal is a sequence of *records*: its programs, commands, entries, and how each stream stands
with the rows beside it, and its checkpoints. `records` reads them off a snapshot while others
write; `Journal.load` takes them into an empty store. An export is a file of them, one JSON object
a line: it can be read in twenty years by whatever reads text. It begins with a header and ends
with a line that says how much there was, so that a file that was cut off is not taken for whole.

What is checked is checked before anything counts: a backup is verified before it gets its name,
and an import before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import IO, TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Raw, Struct

from kat_workflow.errors import JournalError
from kat_workflow.journal import (
    Chain,
    Entry,
    Journal,
    KeptProgram,
    Written,
    auditing,
    open_journal,
    stored,
)
from kat_workflow.journal.auditing import Finding
from kat_workflow.journal.chain import rolled
from kat_workflow.journal.encrypting import EncryptedJournal
from kat_workflow.journal.records import (
    KeptCheckpoint,
    Record,
    Standing,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = [
    "NOTICE",
    "Header",
    "Held",
    "Part2",
    "Stats",
    "backup",
    "beside",
    "export",
    "holds",
    "import_journal",
    "opened_export",
    "records",
    "records_of",
    "restore",
    "stats",
    "verify",
    "written_anew",
]

FORMAT = 1
SCHEMA = 2
"""The schema of the records: how a store keeps them is its own."""
_PAGE = 1000
_SQLITE = b"SQLite format 3\0"
_Seen = TypeVar("_Seen", bound=Record | Chain)
_LAST = datetime.max.replace(tzinfo=UTC)

NOTICE = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
"""The short statement that goes with a disclosure, after 42 CFR § 2.32(a)(2) as of 2024.

The wording is that of several clinics' forms which quote the rule of 2024 alike; the regulation's
own text we could not reach. A clinic compares it once, and gives `Part2` another one if need be.
"""


class Part2(Struct, frozen=True):
    """Whether 42 CFR Part 2 covers what a file holds, as its maker says, and the notice.

    The library cannot know it (it depends on who the clinic is): unless told otherwise it says
    that it does.
    """

    status: str = "covered"
    notice: str = NOTICE


class Header(Struct, frozen=True, omit_defaults=True):
    """The first line of an export: what it is of, when and by what it was made, for whom.

    `of` is `store` or `patient`; only a whole store can be imported. Where it is `encrypted`, what
    entries and rows say can be read only by whoever imports it and has the keys.
    """

    format: int
    schema: int
    made: datetime
    part2: Part2
    of: str = "store"
    tool: str = ""
    patient: str = ""
    person: str = ""
    purpose: str = ""
    recipient: str = ""
    encrypted: bool = False


class Held(Struct, frozen=True, omit_defaults=True):
    """How much a file or a journal holds: entries up to a position, and the hash over their links.

    `checkpoint` is the position of the last signed checkpoint in it, 0 without one.
    """

    entries: int
    position: int
    root: bytes
    checkpoint: int = 0


class Stats(Struct, frozen=True):
    """A journal in numbers."""

    schema: int
    entries: int
    streams: dict[str, int]
    commands: int
    standings: dict[str, int]
    items: int
    programs: int
    oldest_wake: datetime | None
    bytes_of_entries: int
    size: int
    root: bytes
    checkpoint: int


# Records


def records(journal: Journal) -> Iterator[Record]:
    """Everything a journal holds, as it is stored, in an order in which it can be taken in again.

    Read off a snapshot (`Journal.snapshot`), it is of one instant.
    """
    journal = stored(journal)
    for kept in journal.programs():
        whole = journal.program(kept.digest)
        assert whole is not None
        yield whole
    command = ""
    while commands := journal.written(command, _PAGE):
        yield from commands
        command = commands[-1].command
    yield from _entries(journal)
    stream = ""
    while standings := journal.standings(stream, _PAGE):
        yield from standings
        stream = standings[-1].chain.stream
    yield from journal.kept_checkpoints()


def records_of(journal: Journal, streams: Iterable[str], programs: set[str]) -> Iterator[Record]:
    """The same of some streams alone, with the programs of these digests: to read, not to load.

    What is stored encrypted is told as it was written.
    """
    for digest in sorted(programs):
        program = journal.program(digest)
        if program is not None:
            yield program
    for stream in streams:
        version = 0
        while page := journal.read(stream, version)[:_PAGE]:
            version = page[-1].version
            yield from sorted(journal.written_by(entry.cause for entry in page), key=_first)
            yield from page
        name = journal.stored_name(stream) if isinstance(journal, EncryptedJournal) else stream
        before = name[:-1] + chr(ord(name[-1]) - 1) + chr(0x10FFFF)
        for standing in stored(journal).standings(before, 1):
            yield journal.opened(standing) if isinstance(journal, EncryptedJournal) else standing


def _first(written: Written) -> int:
    return written.first


def _entries(journal: Journal) -> Iterator[Entry]:
    position = 0
    while entries := journal.follow(position, _PAGE):
        yield from entries
        position = entries[-1].position


# Lines


class _Event(Struct, frozen=True, omit_defaults=True):
    """An entry as a line has it: its body and values as the JSON that they are, byte by byte.

    What is no JSON on one line is `coded` in base64 instead.
    """

    position: int
    stream: str
    version: int
    recorded: datetime
    cause: str
    person: str
    role: str
    link: bytes
    salt: bytes = b""
    body: Raw = Raw(b"null")
    values: Raw = Raw(b"null")
    coded: dict[str, bytes] = {}


class _Line(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line of an export: one of these."""

    header: Header | None = None
    program: KeptProgram | None = None
    command: Written | None = None
    entry: _Event | None = None
    stream: Standing | None = None
    checkpoint: KeptCheckpoint | None = None
    end: Held | None = None


_NULL = b"null"
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(_Line).decode


def _line(record: Record) -> _Line:
    match record:
        case Entry():
            return _Line(entry=_event(record))
        case KeptProgram():
            return _Line(program=record)
        case Written():
            return _Line(command=record)
        case Standing():
            return _Line(stream=record)
        case KeptCheckpoint():
            return _Line(checkpoint=record)


def _event(entry: Entry) -> _Event:
    shown: dict[str, Raw] = {}
    coded: dict[str, bytes] = {}
    for name, content in (("body", entry.body), ("values", entry.values)):
        if _readable(content):
            shown[name] = Raw(content)
        elif content:
            coded[name] = content
    return _Event(
        entry.position,
        entry.stream,
        entry.version,
        entry.recorded,
        entry.cause,
        entry.person,
        entry.role,
        entry.link,
        entry.salt,
        coded=coded,
        **shown,
    )


def _readable(content: bytes) -> bool:
    """Whether bytes are JSON that may stand in a line as it is."""
    if content in (b"", _NULL) or b"\n" in content or b"\r" in content:
        return False
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        msgspec.json.decode(content)
        return True
    return False


def _entry(event: _Event) -> Entry:
    body, values = (
        event.coded.get(name, b"" if bytes(raw) == _NULL else bytes(raw))
        for name, raw in (("body", event.body), ("values", event.values))
    )
    return Entry(
        event.position,
        event.stream,
        event.version,
        event.recorded.astimezone(UTC),
        event.cause,
        event.person,
        event.role,
        body,
        values,
        event.salt,
        event.link,
    )


# Export and import


def export(found: Iterable[Record], out: IO[bytes], header: Header) -> Held:
    """Write records as lines after their header, one by one; what was written."""
    out.write(_encode(_Line(header=header)) + b"\n")
    tally = _Tally()
    for record in found:
        tally.see(record)
        out.write(_encode(_line(record)) + b"\n")
    held = tally.held()
    out.write(_encode(_Line(end=held)) + b"\n")
    return held


@contextmanager
def opened_export(path: str | os.PathLike[str]) -> Iterator[tuple[Header, Iterator[Record]]]:
    """The header of an export and its records, read while they are asked for.

    Raises JournalError for a line that is none, and where the file was cut off.
    """
    name = os.fspath(path)
    with Path(path).open("rb") as lines:
        first = _decoded(name, 1, lines.readline()).header
        if first is None:
            raise JournalError(f"{name} is no export of a journal: its first line is no header")
        if first.format > FORMAT:
            raise JournalError(
                f"{name} is an export of format {first.format}, this release reads {FORMAT};"
                " read it with a newer release"
            )
        yield first, _read(name, lines)


def _read(name: str, lines: IO[bytes]) -> Iterator[Record]:
    tally = _Tally()
    for number, text in enumerate(lines, 2):
        line = _decoded(name, number, text)
        record = (
            _entry(line.entry)
            if line.entry is not None
            else (line.program or line.command or line.stream or line.checkpoint)
        )
        if record is not None:
            tally.see(record)
            yield record
        elif line.end is not None:
            if line.end != tally.held() or lines.read(1):
                raise JournalError(f"{name}: its last line does not say what it holds")
            return
        else:
            raise JournalError(f"{name}:{number} is no line of an export")
    raise JournalError(f"{name} was cut off: its last line is not there; take another copy")


def _decoded(name: str, number: int, text: bytes) -> _Line:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What the decoder says may quote the line.
        raise JournalError(f"{name}:{number} is no line of an export") from None


def import_journal(
    path: str | os.PathLike[str],
    journal: Journal,
    check: Callable[[Journal], None],
) -> tuple[Header, Held]:
    """Take an export of a whole store into an empty journal: all of it, or nothing.

    `check` raises where what was taken in is not sound; nothing stays then.
    """
    with opened_export(path) as (header, found):
        if header.of != "store":
            raise JournalError(
                f"{os.fspath(path)} is of one patient: it is to be read, not to be imported"
            )
        tally = _Tally()
        journal.load(_told(found, tally), check)
        return header, tally.held()


class _Tally:
    """Counts records while they go by."""

    def __init__(self) -> None:
        self.entries = self.position = self.checkpoint = 0
        self.root = b""

    def see(self, record: Record | Chain) -> None:
        if isinstance(record, Entry):
            self.entries += 1
            self.position = max(self.position, record.position)
            self.root = rolled(self.root, [record.link])
        elif isinstance(record, KeptCheckpoint):
            self.checkpoint = max(self.checkpoint, record.position)

    def held(self) -> Held:
        return Held(self.entries, self.position, self.root, self.checkpoint)


def _told(found: Iterable[_Seen], tally: _Tally) -> Iterator[_Seen]:
    for record in found:
        tally.see(record)
        yield record


# Backup and restore


def backup(
    journal: Journal,
    path: str | os.PathLike[str],
    header: Header,
    check: Callable[[Journal], None],
) -> Held:
    """Write a copy of a journal as it is at one instant, while others write; what it holds.

    Of a journal in SQLite the copy is a SQLite file, of any other an export. It is checked before
    it gets its name, and forced to the disk. Raises JournalError where there is a file already.
    """
    journal = stored(journal)
    with beside(path, "a backup overwrites nothing") as new:
        copy_to: Callable[[Path], None] | None = getattr(journal, "copy_to", None)
        if copy_to is not None:
            copy_to(new)
        else:
            with journal.snapshot() as still, new.open("wb") as out:
                export(records(still), out, header)
        return _checked(new, check)


def restore(
    path: str | os.PathLike[str], where: str | os.PathLike[str], check: Callable[[Journal], None]
) -> Held:
    """Make a journal of a backup (or of an export of a whole store), verified first; what it holds.

    Raises JournalError where there is a journal already: move it away first, and keep it.
    """
    if isinstance(where, str) and "://" in where:
        if _is_sqlite(path):
            with open_journal(path) as copy:
                return written_anew(records(copy), where, check)
        with open_journal(where) as journal:
            return import_journal(path, journal, check)[1]
    with beside(where, "move it away first, and keep it") as new:
        if _is_sqlite(path):
            copyfile(path, new)
            return _checked(new, check)
        with open_journal(new) as journal:
            return import_journal(path, journal, check)[1]


def written_anew(
    found: Iterable[Record], where: str | os.PathLike[str], check: Callable[[Journal], None]
) -> Held:
    """Make a journal of records, verified before it counts: all of them, or nothing; what it holds.

    Raises JournalError where there is a journal already.
    """
    tally = _Tally()
    if isinstance(where, str) and "://" in where:
        with open_journal(where) as journal:
            journal.load(_told(found, tally), check)
        return tally.held()
    with beside(where, "a record is written anew where there is none") as new:
        with open_journal(new) as journal:
            journal.load(_told(found, tally), check)
        return tally.held()


@contextmanager
def beside(path: str | os.PathLike[str], way_out: str) -> Iterator[Path]:
    """A file that gets this name once it is whole and on the disk; nothing stays if it is not."""
    target = Path(path)
    if target.exists():
        raise JournalError(f"{target} is there already; {way_out}")
    new = target.with_name(f".{target.name}.new")
    _gone(new)
    try:
        yield new
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.rename(target)
    finally:
        _gone(new)


def _gone(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _checked(path: Path, check: Callable[[Journal], None]) -> Held:
    """What a copy holds, once it was seen to be whole; an export is taken in for that."""
    if _is_sqlite(path):
        with open_journal(path) as journal:
            check(journal)
            return holds(journal)
    trial = path.with_name(f"{path.name}.trial")
    _gone(trial)
    try:
        with open_journal(trial) as journal:
            return import_journal(path, journal, check)[1]
    finally:
        _gone(trial)


def _is_sqlite(path: str | os.PathLike[str]) -> bool:
    with Path(path).open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


# In numbers


def holds(journal: Journal) -> Held:
    """How much a journal holds."""
    tally, journal = _Tally(), stored(journal)
    for entry in _entries(journal):
        tally.see(entry)
    for kept in journal.kept_checkpoints():
        tally.see(kept)
    return tally.held()


def stats(journal: Journal) -> Stats:
    """A journal in numbers, as it is stored; it goes through all of it."""
    tally, total, journal = _Tally(), 0, stored(journal)
    for entry in _entries(journal):
        tally.see(entry)
        total += len(entry.body) + len(entry.values)
    streams: dict[str, int] = {}
    standings: dict[str, int] = {}
    items, stream = 0, ""
    while page := journal.standings(stream, _PAGE):
        for each in page:
            kind = each.chain.stream.partition(":")[0]
            streams[kind] = streams.get(kind, 0) + 1
            items += len(each.items)
            if each.census is not None:
                standing = each.census.standing
                standings[standing] = standings.get(standing, 0) + 1
        stream = page[-1].chain.stream
    commands, command = 0, ""
    while found := journal.written(command, _PAGE):
        commands += len(found)
        command = found[-1].command
    held = tally.held()
    waking = journal.due(_LAST, 1)
    checkpoints = [kept.position for kept in journal.kept_checkpoints()]
    return Stats(
        SCHEMA,
        held.entries,
        streams,
        commands,
        standings,
        items,
        len(journal.programs()),
        waking[0][1] if waking else None,
        total,
        journal.size(),
        held.root,
        max(checkpoints, default=0),
    )


# What is wrong


def verify(
    journal: Journal, checkpoints: Sequence[bytes] = (), key: Ed25519PublicKey | None = None
) -> tuple[Held, Finding]:
    """How much a journal holds, and what is wrong with its chains: see `journal.auditing`."""
    tally = _Tally()
    finding = auditing.verify(_told(auditing.recorded(journal), tally), checkpoints, key)
    for kept in journal.kept_checkpoints():
        tally.see(kept)
    return tally.held(), finding
