"""An auditor who works everything out again: is the journal as it was written?

`verify` needs no engine and nothing secret: the entries, the commands that wrote them and the ends
of the chains, as a journal (`recorded`) or an export gives them; and for what the chain cannot
tell by itself, checkpoints that were kept elsewhere, and the public key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from kat_workflow.journal import ERASURE, Chain, Entry, Journal, Written, micros, shown, stored
from kat_workflow.journal.chain import SALT, committed, frame, genesis, link, rolled, sealed
from kat_workflow.journal.records import Erasure, read_erasure

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from kat_workflow.journal.sealing import Checkpoint

__all__ = ["Fault", "Finding", "altered", "recorded", "verify"]

_PAGE = 1000
_HASH = 32


class Fault(Struct, frozen=True):
    """Something that is not as it was written: in which entry or stream, and what."""

    says: str
    stream: str = ""
    version: int = 0
    position: int = 0
    cause: str = ""

    def __str__(self) -> str:
        """In words, which do not say which patient it is about."""
        where = f"position {self.position}" if self.position else ""
        if self.version:
            where = f"entry {self.version} (position {self.position}, {self.cause})"
        stream = shown(self.stream) if self.stream else ""
        return ": ".join(word for word in (stream, where, self.says) if word)


class Finding(Struct, frozen=True):
    """What an audit has found. `faults` are in the order of the record, the first bad entry first;
    there are none if all is well.

    `covered` is the position up to which a signed checkpoint vouches for every entry; `unchecked`
    says what could not be seen.
    """

    entries: int
    streams: int
    erased: int
    covered: int
    faults: tuple[Fault, ...]
    unchecked: tuple[str, ...]


def recorded(journal: Journal) -> Iterator[Entry | Written | Chain]:
    """What `verify` reads of a journal that nobody writes to meanwhile, without any key."""
    journal = stored(journal)
    position = 0
    while entries := journal.follow(position, _PAGE):
        yield from journal.written_by(entry.cause for entry in entries)
        yield from entries
        position = entries[-1].position
    name = ""
    while chains := journal.chains(name, _PAGE):
        yield from chains
        name = chains[-1].stream


def verify(
    source: Iterable[Entry | Written | Chain],
    checkpoints: Sequence[bytes] = (),
    key: Ed25519PublicKey | None = None,
    most: int = 1000,
) -> Finding:
    """Work out every link, commitment and checkpoint of a record again; up to `most` faults.

    `source` gives entries by position, each after the command that wrote it, and the chains last.
    """
    audit = _Audit(most, checkpoints, key)
    for each in source:
        if isinstance(each, Entry):
            audit.read_entry(each)
        elif isinstance(each, Written):
            audit.commands[each.command] = each
        else:
            audit.chains[each.stream] = each
    return audit.finding()


def altered(journal: Journal, stream: str) -> Entry | None:
    """The first entry of a stream that is not as it was written, or not what was written there
    before the next; None if all links hold. Nothing is compared with the ends of the chain: for a
    reader who came upon something that cannot be, not for an audit.
    """
    named = getattr(journal, "stored_name", None)
    entries = stored(journal).read(stream if named is None else named(stream))
    commands = {
        written.command: written
        for written in stored(journal).written_by(entry.cause for entry in entries)
    }
    for before, entry in pairwise(entries):
        written = commands.get(entry.cause)
        if written is None or link(before.link, *_held(entry, written)) != entry.link:
            return entry
    return None


def _held(entry: Entry, written: Written) -> tuple[int, bytes, bytes, bytes]:
    """What the link of an entry holds, beside the one before."""
    framed = frame(
        micros(entry.recorded),
        entry.cause,
        sealed(written.salt, written.digest),
        entry.person,
        entry.role,
    )
    return entry.version, framed, committed(entry.salt, entry.values), entry.body


class _Stream(Struct):
    """A stream as far as it was read; `first` is what the link of its first entry holds, `marks`
    one byte for each entry, and `told` the erasures that its entries tell of."""

    first: tuple[int, bytes, bytes, bytes]
    origin: bytes
    version: int
    link: bytes
    marks: bytearray
    told: list[Erasure] = []

    def covers(self, version: int) -> bool:
        """Whether an erasure of this entry is told."""
        return any(each.took(version) for each in self.told)


_VALUES, _ERASED, _HIDDEN = 1, 2, 4


class _Audit:
    """What was read so far, and what was found to be wrong with it."""

    def __init__(
        self, most: int, checkpoints: Sequence[bytes], key: Ed25519PublicKey | None
    ) -> None:
        self.most = most
        self.faults: list[Fault] = []
        self.commands: dict[str, Written] = {}
        self.chains: dict[str, Chain] = {}
        self.streams: dict[str, _Stream] = {}
        self.hidden: dict[str, list[tuple[str, int]]] = {}
        self.writing: Written | None = None
        self.position = self.entries = self.covered = 0
        self.root = b""
        self.given = 0 if key is None else len(checkpoints)
        self.ahead = [] if key is None else self._signed(checkpoints, key)
        self._pass_checkpoints()

    def _signed(self, bodies: Sequence[bytes], key: Ed25519PublicKey) -> list[Checkpoint]:
        """The checkpoints that the key has signed, the last one first."""
        from kat_workflow.journal.sealing import signed  # noqa: PLC0415  # an extra

        found = []
        for number, body in enumerate(bodies, 1):
            mark = signed(body, key)
            if mark is None:
                self._fault(f"checkpoint {number} of those given is not as this key has signed it")
            else:
                found.append(mark)
        return sorted(found, key=lambda mark: mark.position, reverse=True)

    def _fault(self, says: str, entry: Entry | None = None, stream: str = "") -> None:
        if len(self.faults) == self.most:
            return
        if entry is None:
            self.faults.append(Fault(says, stream))
        else:
            where = entry.stream, entry.version, entry.position, entry.cause
            self.faults.append(Fault(says, *where))

    def read_entry(self, entry: Entry) -> None:
        """The next entry by position."""
        self.entries += 1
        if entry.position != self.position + 1:
            gap = f"it follows position {self.position}: what was between is missing, or was moved"
            self._fault(gap, entry)
        written = self._command(entry)
        if written is not None:
            self._link(entry, written)
        self.position = entry.position
        self.root = rolled(self.root, [entry.link])
        self._pass_checkpoints()

    def _command(self, entry: Entry) -> Written | None:
        """What is kept of the command that wrote an entry."""
        written = self.commands.get(entry.cause)
        if written is None:
            self._fault("the command that wrote it is missing", entry)
        before = self.writing
        if before is None or before.command != entry.cause:
            if before is not None:
                self._is_over(before)
                self.commands.pop(before.command, None)
            if written is not None and written.first != entry.position:
                self._fault(f"its command is said to have begun at {written.first}", entry)
        self.writing = written
        return written

    def _is_over(self, written: Written) -> None:
        if written.last != self.position:
            says = f"the command {written.command} is said to have ended at {written.last}"
            self.faults.append(Fault(says, position=self.position, cause=written.command))

    def _link(self, entry: Entry, written: Written) -> None:
        """See that an entry is what its link holds."""
        sizes = (SALT,) if entry.values else (0, _HASH)
        if len(entry.salt) not in sizes or len(written.salt) not in (SALT, _HASH):
            self._fault("a salt of it is not whole, or its values are missing", entry)
        holds = _held(entry, written)
        stream = self.streams.get(entry.stream)
        if stream is None:
            stream = _Stream(holds, entry.link, 0, b"", bytearray(), [])
            self.streams[entry.stream] = stream
        elif link(stream.link, *holds) != entry.link:
            self._fault("it is not as it was written, or not what was written before it", entry)
        if entry.version != stream.version + 1:
            self._fault(f"it follows version {stream.version} of its stream", entry)
        stream.version, stream.link = entry.version, entry.link
        mark = _VALUES * bool(entry.values) | _ERASED * entry.erased
        if len(written.salt) != SALT:
            mark |= _HIDDEN
            self.hidden.setdefault(entry.cause, []).append((entry.stream, entry.version))
        stream.marks.append(mark)
        if entry.body.startswith(ERASURE):
            with suppress(
                msgspec.DecodeError, UnicodeDecodeError, RecursionError
            ):  # else its link tells
                told = read_erasure(entry.body)
                if told.through < entry.version:
                    stream.told.append(told)

    def _pass_checkpoints(self) -> None:
        """Compare what was read with the checkpoints that vouch for it."""
        while self.ahead and self.ahead[-1].position <= self.position:
            mark = self.ahead.pop()
            same = mark.position == self.position and mark.root == self.root.hex()
            if same and mark.streams == len(self.streams):
                self.covered = mark.position
            else:
                says = f"the checkpoint of {mark.at:%Y-%m-%d %H:%M} vouches for another record"
                self.faults.append(Fault(says, position=mark.position))

    def finding(self) -> Finding:
        """What was found, after the last of it."""
        if self.writing is not None:
            self._is_over(self.writing)
        for name, stream in self.streams.items():
            self._end(name, stream, self.chains.pop(name, None))
        for name in self.chains:
            self._fault("the stream has no entries", stream=name)
        for cause, entries in self.hidden.items():
            if not any(self.streams[name].covers(version) for name, version in entries):
                self._fault(f"the salt of the command {cause} is missing, and no erasure says so")
        for mark in self.ahead:
            self._fault(
                f"the checkpoint of {mark.at:%Y-%m-%d %H:%M} vouches for {mark.position} entries,"
                f" here are {self.position}: the end was cut off, or an older copy put back"
            )
        last = sum(len(stream.marks) for stream in self.streams.values())
        return Finding(
            self.entries,
            len(self.streams),
            sum(mark & _ERASED > 0 for stream in self.streams.values() for mark in stream.marks),
            self.covered,
            tuple(sorted(self.faults, key=lambda fault: fault.position or last + 1)),
            self._unchecked(),
        )

    def _end(self, name: str, stream: _Stream, chain: Chain | None) -> None:
        """See that a stream begins and ends where its chain does, and what was erased in it."""
        if chain is None:
            self._fault("the end of its chain is missing", stream=name)
        else:
            if (chain.version, chain.link) != (stream.version, stream.link):
                self._fault("it does not end where its chain does", stream=name)
            origin = genesis(chain.salt, name) if len(chain.salt) == SALT else chain.salt
            if link(origin, *stream.first) != stream.origin:
                says = "its first entry is not as it was written, or the stream had another name"
                self._fault(says, stream=name)
            if len(chain.salt) != SALT and not any(told.wholly for told in stream.told):
                self._fault("its name was taken away, and no erasure says so", stream=name)
        for version, mark in enumerate(stream.marks, 1):
            if stream.covers(version):
                if mark & _VALUES or not mark & _HIDDEN:
                    self._fault(f"version {version} was erased, and is there again", stream=name)
            elif mark & _ERASED:
                says = f"the values of version {version} are missing, and no erasure says so"
                self._fault(says, stream=name)

    def _unchecked(self) -> tuple[str, ...]:
        unseen = "were cut off at the end, were replaced by an older copy, or were all made anew"
        if not self.given:
            return (f"no checkpoint was given with its key: whether entries {unseen}",)
        if self.covered < self.position:
            after = f"entries {self.covered + 1} to {self.position} have no checkpoint after them"
            return (f"{after}: whether later ones {unseen}",)
        return ("what was written after the last checkpoint given, if there was any",)
