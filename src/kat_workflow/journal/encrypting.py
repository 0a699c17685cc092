"""Encryption at rest: a journal whose payloads only a host with the key can read.

`EncryptedJournal` stands around any store. What entries say (body and values), state rows, and
what rows of worklists and census tell go in encrypted (AES-256-GCM) and come out as they were; a
patient's id goes in as a pseudonym. Links, commitments and checkpoints are over what is stored, so
that whoever has no key audits, backs up and restores a record all the same. What stays readable is
listed in docs/privacy.md.

*Bound*: a payload can only be read in its own place. The values of an entry are bound to its
stream, version, instant, cause, person, role and body; a body to all of that but the stream, if
that is a patient's own, since an erasure takes its name away and must leave the body readable.
There every entry has values, which hold the name, so that the body is held to its stream by them
until they are erased. A state row is bound to its stream and version, a row of a list to its
stream and to every column by which it is found; an older row of the same place can be put back
unnoticed by the key alone, not by `kat journal verify`.

*Plain payloads*: an `erased` event is stored as it is, since an audit reads it, and is held to by
encrypted values beside it. A journal that was
written without keys may be opened with them, and is encrypted from then on. What stands plain
after the first encrypted entry was written by somebody without the key, and is an error.

*Keys*: each payload names its key. The last key given writes, all read, nothing is written again;
so every key is kept as long as the record, or the record is written anew (`journal.rekeying`).
Pseudonyms are of the *first* key, for ever: were they
of the one that writes, a process that was not yet given the new key would not find a patient that
another one had enrolled, and begin a second record of them. What that costs: whoever gets hold of
the first key can still find out by trying whether somebody is a patient here, after a rotation
too, if they have the store as well. Each key may write 2**32 payloads (some 400 million commands):
rotate before.
"""

from __future__ import annotations

import hmac
import os
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.errors import JournalError, Refused
from kat_workflow.journal import (
    ENCRYPTED,
    ERASURE,
    LOCKED,
    PSEUDONYM,
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
    is_payload,
    micros,
    placed,
    shown,
)
from kat_workflow.journal.records import KeptCheckpoint, Record, Standing

__all__ = ["EncryptedJournal", "Keys", "add_key"]

_PATIENT = "patient:"
_LAST = chr(0x10FFFF)
_NONCE, _KEY = 12, 32
_REMEMBERED = 10_000
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

Head = tuple[int, str, str, str]
"""When an entry was written, in microseconds; by which command, whom, and in which role."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_to_item = msgspec.json.Decoder(ItemRow).decode
_to_census = msgspec.json.Decoder(CensusRow).decode
_to_text = msgspec.json.Decoder(str).decode


class _Payload(Struct, frozen=True):
    """What is stored in the place of a payload: nonce and ciphertext, and the key's id."""

    encrypted: bytes
    key: str


_to_payload = msgspec.json.Decoder(_Payload).decode


class Keys:
    """The keys of a host by id, oldest first: each 32 random bytes. The last one writes, all read.

    The first one makes the pseudonyms of patients, and stays the first. Any mapping will do, as of
    a key management service. Raises ValueError for no key, a key of another length, and an id that
    is not of 1 to 64 letters, digits and ".-_"; JournalError without `cryptography`.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("an encrypted journal needs a key")
        for number, (name, key) in enumerate(keys.items(), 1):
            if len(key) != _KEY or _NAME.fullmatch(name) is None:  # whichever may be a secret
                raise ValueError(
                    f'key {number} must be {_KEY} bytes, and its id up to 64 letters, digits, ".-_"'
                )
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
            from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
            from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand  # noqa: PLC0415
        except ImportError as error:
            raise JournalError(
                'payloads are encrypted by another package: pip install "kat-workflow[seal]"'
            ) from error

        def derived(key: bytes, what: str) -> bytes:
            """A key for one purpose, so that none is used for two."""
            return HKDFExpand(SHA256(), _KEY, f"kat-workflow {what}".encode()).derive(key)

        self._ciphers = {name: AESGCM(derived(key, "payload")) for name, key in keys.items()}
        self._digests = [derived(key, "digest") for key in reversed(list(keys.values()))]
        self._checks = {
            name: _hashed(derived(key, "pseudonym"), "")[:8] for name, key in keys.items()
        }
        first, self.writes = next(iter(keys)), next(reversed([*keys]))
        self._hiding = derived(keys[first], "pseudonym")
        self.prefix = f"{PSEUDONYM}{self._checks[first]}."

    @staticmethod
    def parse(text: str | bytes) -> Keys:
        """Keys from a JSON mapping of ids to 32 bytes in base64. Raises ValueError, and never
        says what it was given."""
        try:
            found = msgspec.json.decode(text, type=dict[str, str])
            keys = {name: b64decode(key, validate=True) for name, key in found.items()}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise ValueError('keys are a JSON mapping: {"ID": "32 bytes in base64", …}') from None
        return Keys(keys)

    def pseudonym(self, patient: str) -> str:
        """What the stream of a patient is stored as, and is found by; "" for nobody."""
        return self.prefix + _hashed(self._hiding, patient)[:32] if patient else ""

    def made(self, pseudonym: str) -> str:
        """The id of the key that a pseudonym was made with, "" if it is none of these."""
        check = pseudonym.removeprefix(PSEUDONYM).partition(".")[0]
        return next((name for name, own in self._checks.items() if own == check), "")

    def digests(self, digest: str) -> Iterator[str]:
        """What a command's digest may be stored as; the one that writes first."""
        for key in self._digests:
            yield _hashed(key, digest)

    def encrypt(self, plain: bytes, about: bytes) -> bytes:
        """A payload that can be read again only with the same `about`."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self.writes].encrypt(nonce, plain, about)
        return b'%b%b","key":"%b"}' % (ENCRYPTED, b64encode(nonce + sealed), self.writes.encode())

    def decrypt(self, payload: bytes, about: bytes, where: Callable[[], str]) -> bytes:
        """What a payload holds. JournalError that says `where` it stands, and not what is there."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        key = ""
        try:
            found = _to_payload(payload)
            key = found.key
            cipher = self._ciphers.get(key)
            if cipher is not None:
                return cipher.decrypt(found.encrypted[:_NONCE], found.encrypted[_NONCE:], about)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidTag, ValueError):
            by = f' with the key "{key}"' if key in self._ciphers else ""
            raise JournalError(
                f"{where()} cannot be read{by}: it is another key of that id, or the record was"
                " changed; see that the keys are right, then run kat journal verify"
            ) from None
        name = f'the key "{key}"' if _NAME.fullmatch(key) else "a key that is not given"
        raise JournalError(f"{where()} was written with {name}; give that key as well")


def add_key(text: str | bytes, name: str) -> bytes:
    """What `Keys.parse` reads, with a new random key of that id as the last one; of `{}`, the
    first one. Raises ValueError for what is no such text, and for an id that is taken."""
    if text.strip() not in (b"{}", "{}"):
        Keys.parse(text)
    keys = msgspec.json.decode(text, type=dict[str, str])
    if name in keys:
        raise ValueError(f'there is a key "{name}" already; give the new one an id of its own')
    keys[name] = b64encode(os.urandom(_KEY)).decode()
    made = msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n"
    Keys.parse(made)
    return made


def _hashed(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(errors="surrogatepass"), sha256).hexdigest()


class EncryptedJournal:
    """A `Journal` around another one, which holds everything encrypted.

    Without keys it is *locked*: what needs none (chains, checkpoints, programs, who is due) it
    answers, everything else raises JournalError. `stored` is the journal inside, for auditing,
    copying and counting, `keys` what it reads with. Streams of patients are in the order of their
    stored names.

    Raises JournalError where the pseudonyms in the store are of another key than the first.
    """

    def __init__(self, stored: Journal, keys: Keys | Mapping[str, bytes] | None) -> None:
        self.stored = stored
        self.keys = keys if keys is None or isinstance(keys, Keys) else Keys(keys)
        self._look()

    def _look(self) -> None:
        """See what is stored by now."""
        self._known: dict[str, str] = {}  # stored names of patients' streams that are there
        self._names: dict[str, str] = {}  # and the other way round
        self._since = sys.maxsize  # what stands plain from here on should not
        if self.keys is not None:
            self._see_pseudonyms(self.keys)
            self._since = 1
            with suppress(JournalError):  # what cannot be read is for an audit to tell
                self._since = _first_encrypted(self.stored)

    @property
    def locked(self) -> bool:
        """Whether there are no keys to read with."""
        return self.keys is None

    @property
    def joined(self) -> bool:
        """See `Journal.joined`."""
        return self.stored.joined

    # ---- written ----------------------------------------------------------------------------

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
        """See `Journal.append`; encrypted before it stands in any line. ValueError where a stream
        that is no patient's own is to be renamed: its bodies are bound to its name."""
        keys, appends = self.unlocked(), in_order(appends, recorded)
        head: Head = micros(recorded), command, person, role
        inside = [self._sealed(keys, append, head) for append in appends]
        try:
            receipt = self.stored.append(
                inside,
                command=command,
                digest=next(keys.digests(digest)),
                recorded=recorded,
                person=person,
                role=role,
            )
        except Refused:  # its id was used before: perhaps by itself, under an older key
            before = self.receipt(command, digest)
            assert before is not None  # it is known, or refused once more
            return before
        for append, stored in zip(appends, inside, strict=True):
            if stored.stream.startswith(PSEUDONYM) and not append.rename:
                self._remember(append.stream, stored.stream)
        return self._told(receipt)

    def receipt(self, command: str, digest: str) -> Receipt | None:
        """See `Journal.receipt`; also of a command that was written under an older key."""
        refused: Refused | None = None
        plain = (digest,) if self._since > 1 else ()
        for each in (*self.unlocked().digests(digest), *plain):
            try:
                found = self.stored.receipt(command, each)
            except Refused as error:
                refused = refused or error
                continue
            return None if found is None else self._told(found)
        assert refused is not None
        raise refused

    def _sealed(self, keys: Keys, append: Append, head: Head) -> Append:
        """What is stored of an append."""
        own, at = append.stream.startswith(_PATIENT), self.stored_name(append.stream)
        if append.rename and not (own and append.rename.startswith(_PATIENT)):
            raise ValueError("in an encrypted journal only a patient's own stream is renamed")
        if own and not append.expected and at not in self._names:
            self._see_pseudonyms(keys)
        name, place = append.rename or append.stream, append.rename or at
        bodies, values = [], []
        for number, plain in enumerate(append.bodies):
            version = append.expected + number + 1
            told = append.values[number] if append.values else b""
            body = sealed_body(keys, place, version, head, plain, bool(told))
            if told or own or body is plain:  # an erasure is held to by them
                told = sealed_values(keys, name, place, version, head, body, told)
            bodies.append(body)
            values.append(told)
        row = append.row
        if row is not None:
            row = sealed_row(keys, place, append.expected + len(bodies), row)
        return replace(
            append,
            stream=at,
            bodies=tuple(bodies),
            values=tuple(values),
            row=row,
            items=tuple([sealed_item(keys, item, at) for item in append.items]),
            census=None if append.census is None else sealed_census(keys, append.census, at),
        )

    # ---- read -------------------------------------------------------------------------------

    def read(self, stream: str, after_version: int = 0) -> list[Entry]:
        """See `Journal.read`."""
        return self._entries(self.stored.read(self.stored_name(stream), after_version))

    def version(self, stream: str) -> int:
        """See `Journal.version`."""
        return self.stored.version(self.stored_name(stream))

    def row(self, stream: str) -> tuple[int, bytes] | None:
        """See `Journal.row`."""
        at = self.stored_name(stream)
        found = self.stored.row(at)
        return None if found is None else (found[0], self._row(at, *found))

    def follow(self, after_position: int, limit: int) -> list[Entry]:
        """See `Journal.follow`."""
        return self._entries(self.stored.follow(after_position, limit))

    def due(self, now: datetime, limit: int) -> list[tuple[str, datetime]]:
        """See `Journal.due`."""
        return [(self._named(stream), wake) for stream, wake in self.stored.due(now, limit)]

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
        keys = self.unlocked()
        if after is not None:
            after = replace(after, stream=self.stored_name(after.stream))
        names = [None if patient is None else keys.pseudonym(patient)]
        if patient and self._since > 1:  # it may stand there as it was written without keys
            names.append(patient)
        found: list[ItemRow] = []
        more = False
        for name in names:
            page, cursor = self.stored.worklist(
                role=role,
                site=site,
                stream=None if stream is None else self.stored_name(stream),
                patient=name,
                assigned=assigned,
                limit=limit,
                after=after,
            )
            found += page
            more = more or cursor is not None
        if len(names) > 1:
            found.sort(key=lambda row: (row.sort, row.stream, row.item))
            more = more or len(found) > limit
            del found[limit:]
        rows = [self._item(row) for row in found]
        last = rows[-1] if rows and more else None
        return rows, None if last is None else Cursor(last.sort, last.stream, last.item)

    def census(self, site: str, standing: str | None = None) -> list[CensusRow]:
        """See `Journal.census`."""
        return [self._census(row) for row in self.stored.census(site, standing)]

    def streams(self, prefix: str = "") -> list[str]:
        """See `Journal.streams`; of patients' own streams one entry is read for each."""
        own = prefix.startswith(_PATIENT)
        found = map(self._named, self.stored.streams(_PATIENT if own else prefix))
        return sorted(name for name in found if name.startswith(prefix))

    def standings(self, after: str = "", limit: int = 1000) -> list[Standing]:
        """See `Journal.standings`, by stored names."""
        at = self.stored_name(after) if after else ""
        return [self.opened(standing) for standing in self.stored.standings(at, limit)]

    def opened(self, standing: Standing) -> Standing:
        """What a standing of the journal inside says."""
        at, row = standing.chain.stream, standing.row
        return Standing(
            replace(standing.chain, stream=self._named(at)),
            None if row is None else self._row(at, standing.chain.version, row),
            standing.wake,
            tuple(map(self._item, standing.items)),
            None if standing.census is None else self._census(standing.census),
        )

    @contextmanager
    def snapshot(self) -> Iterator[EncryptedJournal]:
        """See `Journal.snapshot`."""
        with self.stored.snapshot() as still:
            yield EncryptedJournal(still, self.keys)

    # ---- as it is stored ----------------------------------------------------------------------

    def chains(self, after: str = "", limit: int = 1000) -> list[Chain]:
        """See `Journal.chains`, by stored names; the links are over what is stored."""
        at = self.stored_name(after) if after and not self.locked else after
        return [
            replace(chain, stream=self._named(chain.stream))
            for chain in self.stored.chains(at, limit)
        ]

    def written(self, after: str = "", limit: int = 1000) -> list[Written]:
        """See `Journal.written`."""
        return self.stored.written(after, limit)

    def written_by(self, causes: Iterable[str]) -> list[Written]:
        """See `Journal.written_by`."""
        return self.stored.written_by(causes)

    def keep_checkpoint(self, position: int, body: bytes) -> None:
        """See `Journal.keep_checkpoint`."""
        self.stored.keep_checkpoint(position, body)

    def checkpoints(self) -> list[bytes]:
        """See `Journal.checkpoints`."""
        return self.stored.checkpoints()

    def kept_checkpoints(self) -> list[KeptCheckpoint]:
        """See `Journal.kept_checkpoints`."""
        return self.stored.kept_checkpoints()

    def scrub(self) -> bool:
        """See `Journal.scrub`."""
        return self.stored.scrub()

    def load(self, records: Iterable[Record], check: Callable[[Journal], None]) -> None:
        """See `Journal.load`: records as they are stored."""
        self.stored.load(records, check)
        self._look()

    def faults(self) -> list[str]:
        """See `Journal.faults`."""
        return self.stored.faults()

    def size(self) -> int:
        """See `Journal.size`."""
        return self.stored.size()

    def keep_program(
        self,
        digest: str,
        id: str,  # noqa: A002
        version: str,
        main: str,
        files: Mapping[str, str],
    ) -> None:
        """See `Journal.keep_program`; programs tell of no patient, and are stored as they are."""
        self.stored.keep_program(digest, id, version, main, files)

    def program(self, digest: str) -> KeptProgram | None:
        """See `Journal.program`."""
        return self.stored.program(digest)

    def programs(self, id: str | None = None) -> list[KeptProgram]:  # noqa: A002
        """See `Journal.programs`."""
        return self.stored.programs(id)

    def close(self) -> None:
        """See `Journal.close`."""
        self.stored.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- names ------------------------------------------------------------------------------

    def stored_name(self, stream: str) -> str:
        """What a stream is called inside: a patient's own by its pseudonym, unless it was begun
        without keys."""
        if not stream.startswith(_PATIENT):
            return stream
        known = self._known.get(stream)
        if known is not None:
            return known
        name = self.unlocked().pseudonym(stream[len(_PATIENT) :])
        if self.stored.version(name):
            self._remember(stream, name)
            return name
        return stream if self.stored.version(stream) else name

    def _named(self, at: str) -> str:
        """What a stored stream is called; its values say it, until they are erased."""
        if not at.startswith(PSEUDONYM) or self.keys is None:
            return at
        name = self._names.get(at)
        if name is not None:
            return name
        # Its last entry was not erased: an erasure is said by one that comes after.
        for entry in self.stored.read(at, self.stored.version(at) - 1):
            name, _ = self._values(self.keys, entry)
            self._remember(name, at)
            return name
        return at

    def _remember(self, stream: str, at: str) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
            self._names.clear()
        self._known[stream], self._names[at] = at, stream

    def _told(self, receipt: Receipt) -> Receipt:
        if not any(stream.startswith(PSEUDONYM) for stream, _ in receipt.versions):
            return receipt
        reached = sorted((self._named(stream), version) for stream, version in receipt.versions)
        return replace(receipt, versions=tuple(reached))

    def _see_pseudonyms(self, keys: Keys) -> None:
        """JournalError where a patient would not be found, since another key was the first."""
        for after in (PSEUDONYM, keys.prefix + _LAST):
            for chain in self.stored.chains(after, 1):
                if chain.stream.startswith(PSEUDONYM) and not chain.stream.startswith(keys.prefix):
                    name = keys.made(chain.stream)
                    way = f'give the key "{name}" first' if name else "give that key, and first"
                    raise JournalError(
                        "the patients of this journal are found by the first of its keys, and that"
                        f" is another one; {way}"
                    )

    # ---- payloads ---------------------------------------------------------------------------

    def unlocked(self) -> Keys:
        """The keys. JournalError without any, which says how they are given."""
        if self.keys is None:
            raise JournalError(LOCKED)
        return self.keys

    def _entries(self, entries: list[Entry]) -> list[Entry]:
        return [self.opened_entry(entry) for entry in entries]

    def opened_entry(self, entry: Entry) -> Entry:
        """An entry as it was written."""
        body, values, salt, name = entry.body, entry.values, entry.salt, entry.stream
        own, told = name.startswith(_PATIENT), body.startswith(ERASURE)
        if is_payload(body):
            keys = self.unlocked()
            place = _PATIENT if own else entry.stream
            body = keys.decrypt(
                body, _about("body", place, entry.version, *head_of(entry)), lambda: placed(entry)
            )
            had, body = body[:1] == b"+", body[1:]
            if (own or had) and not values and not salt:
                raise JournalError(f"{placed(entry)} has lost its values; run kat journal verify")
            salt = salt if had else b""
        elif not told or not salt:
            self._see_plain(entry.position, lambda: placed(entry))
        if is_payload(values):
            name, values = self._values(self.unlocked(), entry)
            salt = salt if values else b""
        else:
            name = self._named(name)
            if values:
                self._see_plain(entry.position, lambda: placed(entry))
        return replace(entry, stream=name, body=body, values=values, salt=salt)

    def _values(self, keys: Keys, entry: Entry) -> tuple[str, bytes]:
        """The name of an entry's stream, and its values."""
        held = sha256(entry.body).hexdigest()
        about = _about("values", entry.stream, entry.version, *head_of(entry), held)
        plain = keys.decrypt(entry.values, about, lambda: placed(entry))
        if not entry.stream.startswith(_PATIENT):
            return entry.stream, plain
        name, _, values = plain.partition(b"\n")
        return _to_text(name), values

    def _row(self, at: str, version: int, row: bytes) -> bytes:
        """A state row as it was written."""

        def where() -> str:
            return f"{shown(at)}: the state row of version {version}"

        if is_payload(row):
            return self.unlocked().decrypt(row, _about("row", at, version), where)
        for entry in self.stored.read(at, version - 1):  # the last one, which it is of
            self._see_plain(entry.position, where)
        return row

    def _item(self, row: ItemRow) -> ItemRow:
        """A row of the worklists as it was written."""
        payload = row.title.encode()

        def where() -> str:
            return f"{shown(row.stream)}: a row of the worklists"

        if not is_payload(payload):
            self._see_plain(1, where)
            return row
        plain = self.unlocked().decrypt(payload, _about_item(row), where)
        return replace(_to_item(plain), stream=self._named(row.stream))

    def _census(self, row: CensusRow) -> CensusRow:
        """A row of the census as it was written."""
        payload = row.patient.encode()

        def where() -> str:
            return f"{shown(row.stream)}: a row of the census"

        if not is_payload(payload):
            self._see_plain(1, where)
            return row
        plain = self.unlocked().decrypt(payload, _about_census(row), where)
        return replace(_to_census(plain), stream=self._named(row.stream))

    def _see_plain(self, position: int, where: Callable[[], str]) -> None:
        """JournalError for what is plain where everything is encrypted."""
        if position >= self._since:
            raise JournalError(
                f"{where()} is not encrypted, and stands after what is: it was written by somebody"
                " without the keys; see who has access to the store, and restore the last backup"
            )


def _first_encrypted(journal: Journal) -> int:
    """The position of the first encrypted entry, or of the next one where none is: 1 in an empty
    journal, which will be encrypted from its beginning.

    Between the plain entries of a journal and the encrypted ones that follow it is found by
    halving. An erasure says nothing of the side it stands on, and is passed over.
    """

    def told(position: int) -> tuple[int, bool]:
        """The first entry from a position on that is no erasure, and whether it is encrypted; what
        is still to come will be."""
        while page := journal.follow(position - 1, 100):
            for entry in page:
                if not entry.body.startswith(ERASURE):
                    return entry.position, is_payload(entry.body)
            position = page[-1].position + 1
        return position, True

    found, encrypted = told(1)
    if encrypted:
        return found
    plain, step = found, 1
    while True:  # in leaps
        found, encrypted = told(plain + step)
        if encrypted:
            break
        plain, step = found, step * 2
    beyond = plain + step
    while beyond - plain > 1:
        middle = (plain + beyond) // 2
        found, encrypted = told(middle)
        plain, beyond = (plain, middle) if encrypted else (found, beyond)
    return told(plain + 1)[0]


def _about(*parts: object) -> bytes:
    """What a payload is bound to."""
    return _encode(parts)


def head_of(entry: Entry) -> Head:
    return micros(entry.recorded), entry.cause, entry.person, entry.role


def sealed_body(keys: Keys, place: str, version: int, head: Head, body: bytes, had: bool) -> bytes:
    """What is stored of the body of an entry, which has values, or `had` some; itself if it says
    an erasure."""
    if body.startswith(ERASURE):
        return body
    place = _PATIENT if place.startswith(_PATIENT) else place
    return keys.encrypt((b"+" if had else b"-") + body, _about("body", place, version, *head))


def sealed_values(
    keys: Keys, name: str, place: str, version: int, head: Head, body: bytes, values: bytes
) -> bytes:
    """What is stored of the values of an entry, of which `body` is stored; they tell the `name` of
    a patient's own stream."""
    if place.startswith(_PATIENT):
        values = _encode(name) + b"\n" + values
    held = sha256(body).hexdigest()
    return keys.encrypt(values, _about("values", place, version, *head, held))


def sealed_row(keys: Keys, place: str, version: int, row: bytes) -> bytes:
    """What is stored of the state row of a version."""
    return keys.encrypt(row, _about("row", place, version))


def sealed_item(keys: Keys, row: ItemRow, at: str) -> ItemRow:
    """What is stored of a row of the worklists: readable is only what lists are made by."""
    stored = ItemRow(
        row.item,
        at,
        row.site,
        row.roles,
        row.opens,
        row.due,
        patient=keys.pseudonym(row.patient),
        assigned=row.assigned,
    )
    return replace(stored, title=keys.encrypt(_encode(row), _about_item(stored)).decode())


def _about_item(row: ItemRow) -> bytes:
    due = None if row.due is None else micros(row.due)
    columns = row.item, row.site, row.roles, micros(row.opens), due, row.patient, row.assigned
    return _about("item", row.stream, *columns)


def sealed_census(keys: Keys, row: CensusRow, at: str) -> CensusRow:
    """What is stored of a row of the census."""
    stored = CensusRow(at, row.site, "", "", row.standing)
    return replace(stored, patient=keys.encrypt(_encode(row), _about_census(stored)).decode())


def _about_census(row: CensusRow) -> bytes:
    return _about("census", row.stream, row.site, row.standing)
