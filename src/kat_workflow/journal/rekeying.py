"""A record written anew under other keys, so that the ones before can be destroyed.

Links and signed checkpoints are over what is stored, so that they can be verified without keys. A
payload that was encrypted again would break them: under new keys there can only be a new record.
It has the same entries at the same positions, and everything beside them; new are the payloads,
the pseudonyms, every salt and every link. What stood plain is encrypted as well.

Nothing in it is derived from the old keys. The digests by which retried commands are known were,
and whoever has such a key could find out by trying what a command said: in their place stands
chance, so that a command which is sent again is refused (`id-reused`), and not carried out twice.
Checkpoints vouch for the links of the old record alone, and are left with it.
"""

from __future__ import annotations

import hmac
import os
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256

from msgspec.structs import replace

from kat_workflow.journal import ERASURE, Chain, Entry, Journal, Written, stored
from kat_workflow.journal.chain import (
    SALT,
    commitment,
    committed,
    frame,
    genesis,
    link,
    sealed,
)
from kat_workflow.journal.encrypting import (
    EncryptedJournal,
    Keys,
    head_of,
    sealed_body,
    sealed_census,
    sealed_item,
    sealed_row,
    sealed_values,
)
from kat_workflow.journal.records import Erasure, Record, Standing, read_erasure

__all__ = ["rekeyed"]

_PAGE = 1000
_HASH = 32
_PATIENT = "patient:"


def rekeyed(journal: Journal, keys: Keys) -> Iterator[Record]:
    """Everything that a journal holds but its checkpoints, as it is stored under these keys alone.

    `journal` is opened with the keys that it was written with, if it is encrypted, and is to be a
    snapshot. Held in memory are the salt and the last link of each stream, and what each erasure
    took.
    """
    return _Rekeying(journal, keys).records()


class _Rekeying:
    """What is on the way from one record to the other."""

    def __init__(self, journal: Journal, keys: Keys) -> None:
        self._stored = stored(journal)
        self._opened = (
            journal if isinstance(journal, EncryptedJournal) else EncryptedJournal(journal, keys)
        )
        self._keys = keys
        self._chance = os.urandom(32)  # forgotten with the rest of this
        self._gone: defaultdict[str, list[Erasure]] = defaultdict(list)
        self._salts: dict[str, bytes] = {}  # of streams, by their names in the old record
        self._ends: dict[str, Chain] = {}  # by the same

    def records(self) -> Iterator[Record]:
        for listed in self._stored.programs():
            kept = self._stored.program(listed.digest)
            assert kept is not None
            yield kept
        command = ""
        while commands := self._stored.written(command, _PAGE):
            yield from map(self._written, commands)
            command = commands[-1].command
        stream = ""
        while chains := self._stored.chains(stream, _PAGE):
            self._salts.update((chain.stream, chain.salt) for chain in chains)
            stream = chains[-1].stream
        for page in self._pages():
            for entry in page:
                if entry.body.startswith(ERASURE):
                    self._gone[entry.stream].append(read_erasure(entry.body))
        for page in self._pages():
            of = {x.command: x for x in self._stored.written_by(entry.cause for entry in page)}
            for entry in page:
                yield self._entry(entry, self._written(of[entry.cause]))
        stream = ""
        while standings := self._stored.standings(stream, _PAGE):
            yield from map(self._standing, standings)
            stream = standings[-1].chain.stream

    def _pages(self) -> Iterator[list[Entry]]:
        position = 0
        while entries := self._stored.follow(position, _PAGE):
            yield entries
            position = entries[-1].position

    def _written(self, written: Written) -> Written:
        """What is kept of a command: nothing that it could be found out by."""
        if len(written.salt) != SALT:  # its salt was erased: nothing can be
            return written
        salt = self._by_chance("salt", written.command)[:SALT]
        return replace(
            written,
            digest=commitment(salt, self._by_chance("digest", written.command)),
            salt=salt,
        )

    def _by_chance(self, what: str, command: str) -> bytes:
        """Bytes that are the same for one command whenever they are asked for, and for no other."""
        return hmac.new(self._chance, f"{what} {command}".encode(), sha256).digest()

    def _entry(self, entry: Entry, written: Written) -> Entry:
        """An entry as it is stored in the new record."""
        plain = self._opened.opened_entry(entry)
        end = self._ends.get(entry.stream) or self._begins(entry.stream, plain.stream)
        place, version, head = end.stream, entry.version, head_of(entry)
        own = place.startswith(_PATIENT)
        body = sealed_body(
            self._keys, place, version, head, plain.body, bool(plain.values or plain.salt)
        )
        values, salt = b"", b""
        erased = any(x.took(version) for x in self._gone[entry.stream])
        if erased:
            # A record that was written without keys has no commitment where there were no values.
            lacks = own or body is plain.body
            salt = entry.salt or (os.urandom(_HASH) if lacks else b"")
        elif plain.values or own or body is plain.body:
            values = sealed_values(
                self._keys, plain.stream, place, version, head, body, plain.values
            )
            salt = os.urandom(SALT)
        recorded, cause, person, role = head
        framed = frame(recorded, cause, sealed(written.salt, written.digest), person, role)
        linked = link(end.link, version, framed, committed(salt, values), body)
        self._ends[entry.stream] = replace(end, version=version, link=linked)
        return replace(entry, stream=place, body=body, values=values, salt=salt, link=linked)

    def _begins(self, at: str, name: str) -> Chain:
        """The chain of a stream before its first entry, under its new name."""
        origin = self._salts[at]
        if len(origin) != SALT:  # it was renamed: its name tells nothing, nor does its origin
            return Chain(at, 0, origin, origin)
        own = name.startswith(_PATIENT)
        place = self._keys.pseudonym(name[len(_PATIENT) :]) if own else name
        salt = os.urandom(SALT)
        return Chain(place, 0, genesis(salt, place), salt)

    def _standing(self, standing: Standing) -> Standing:
        """How a stream stands in the new record."""
        plain, end = self._opened.opened(standing), self._ends[standing.chain.stream]
        row, census = plain.row, plain.census
        if row is not None:
            row = sealed_row(self._keys, end.stream, end.version, row)
        if census is not None:
            census = sealed_census(self._keys, census, end.stream)
        items = tuple(sealed_item(self._keys, item, end.stream) for item in plain.items)
        return Standing(end, row, standing.wake, items, census)
