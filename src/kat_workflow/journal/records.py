"""What a journal is made of, piece by piece: what its stores give and take whole.

Loaded by the stores alone: whoever has no journal open does not wait for it.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from kat_workflow.errors import JournalError
from kat_workflow.journal import CensusRow, Chain, Entry, ItemRow, KeptProgram, Written

__all__ = [
    "Erasure",
    "KeptCheckpoint",
    "Record",
    "Standing",
    "damaged",
    "not_empty",
    "read_census",
    "read_erasure",
    "read_files",
    "read_item",
]


class Standing(Struct, frozen=True, omit_defaults=True):
    """How a stream stands: the ends of its chain, and all rows beside its entries."""

    chain: Chain
    row: bytes | None = None
    wake: datetime | None = None
    items: tuple[ItemRow, ...] = ()
    census: CensusRow | None = None


class KeptCheckpoint(Struct, frozen=True):
    """A checkpoint of the first `position` entries."""

    position: int
    body: bytes


class Erasure(Struct):
    """What a store reads of an entry that tells of an erasure: the versions that it took."""

    since: int = 0
    through: int = 0
    wholly: bool = False

    def took(self, version: int) -> bool:
        """Whether the entry of a version was among them."""
        return self.since <= version <= self.through


read_erasure = Decoder(Erasure).decode

Record = KeptProgram | Written | Entry | Standing | KeptCheckpoint
"""What a journal is made of, piece by piece: see `journal.keeping`."""

_decode_item = Decoder(ItemRow).decode
_decode_census = Decoder(CensusRow).decode
_decode_files = Decoder(dict[str, str]).decode


def not_empty(name: str) -> JournalError:
    """The error of records that are taken into a journal that holds some."""
    return JournalError(f"{name} holds entries already; take records into a new journal")


def read_item(body: bytes) -> ItemRow:
    """The row of the worklists that a store keeps as JSON."""
    try:
        return _decode_item(body)
    except (DecodeError, UnicodeDecodeError):
        raise damaged("a row of the worklists") from None


def read_census(body: bytes) -> CensusRow:
    """The row of the census that a store keeps as JSON."""
    try:
        return _decode_census(body)
    except (DecodeError, UnicodeDecodeError):
        raise damaged("a row of the census") from None


def read_files(body: bytes | str) -> dict[str, str]:
    """The files of a program that a store keeps as JSON."""
    try:
        return _decode_files(body)
    except (DecodeError, UnicodeDecodeError):
        raise damaged("the files of a program") from None


def damaged(what: str) -> JournalError:
    """What cannot be read is named; what it holds is not, nor what the decoder says of it."""
    return JournalError(f"{what} cannot be read: the store is damaged; run kat journal verify")
