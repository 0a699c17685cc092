"""Signed checkpoints: what a clinic vouches for, to be kept somewhere else than the journal.

The chain alone proves that nothing was changed since its end was seen. Whoever can write the file
can also make the chain anew, cut its tail off, or put an old copy back. What a checkpoint covers
can be changed unnoticed by nobody who does not hold the key.

Needs `cryptography` (the extra `seal`); `journal.auditing` verifies.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.errors import JournalError
from kat_workflow.journal import Journal, stored
from kat_workflow.journal.chain import rolled

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
except ImportError as error:
    raise JournalError(
        'checkpoints are signed by another package: pip install "kat-workflow[seal]"'
    ) from error

__all__ = ["Checkpoint", "checkpoint", "new_keys", "public_key", "signed", "signing_key"]

_PAGE = 1000


class Checkpoint(Struct, frozen=True):
    """What a clinic's key has signed: that its journal held these entries at an instant.

    `root` is the rolling hash over the links of the first `position` entries, `streams` how many
    streams they are in; `key` names the key, `signature` is Ed25519; all three in hex.
    """

    position: int
    root: str
    streams: int
    at: datetime
    key: str
    signature: str = ""


def new_keys() -> tuple[bytes, bytes]:
    """A new key to sign with, and the one to verify with, both as PEM; keep the first secret."""
    key = Ed25519PrivateKey.generate()
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def signing_key(pem: bytes, password: bytes | None = None) -> Ed25519PrivateKey:
    """The key to sign with, of a PEM file. Raises JournalError for any other."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise JournalError(f"the signing key cannot be read; {_NEEDS}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise JournalError(f"the signing key is of another kind; {_NEEDS}")
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """The key to verify with, of a PEM file. Raises JournalError for any other."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise JournalError(f"the public key cannot be read; {_NEEDS}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise JournalError(f"the public key is of another kind; {_NEEDS}")
    return key


_NEEDS = "give an Ed25519 key as PEM, with its password if it has one"


def checkpoint(journal: Journal, key: Ed25519PrivateKey, at: datetime) -> bytes:
    """Sign what the journal holds now: a line of JSON, kept in it and to be kept elsewhere.

    It goes on from the last checkpoint of the same key, and reads only what came after.
    """
    public, journal = key.public_key(), stored(journal)
    position, root, streams = 0, b"", 0
    for kept in reversed(journal.checkpoints()):
        last = signed(kept, public)
        if last is not None:
            position, root, streams = last.position, bytes.fromhex(last.root), last.streams
            break
    while entries := journal.follow(position, _PAGE):
        root = rolled(root, [entry.link for entry in entries])
        streams += sum(entry.version == 1 for entry in entries)
        position = entries[-1].position
    new = Checkpoint(position, root.hex(), streams, at, _id(public))
    body = msgspec.json.encode(replace(new, signature=key.sign(_said(new)).hex()))
    journal.keep_checkpoint(position, body)
    return body


def signed(body: bytes, key: Ed25519PublicKey) -> Checkpoint | None:
    """The checkpoint if this key has signed it, and no byte of it is another; else None."""
    try:
        found = msgspec.json.decode(body, type=Checkpoint)
        key.verify(bytes.fromhex(found.signature), _said(found))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, InvalidSignature):
        return None
    return found if msgspec.json.encode(found) == body else None


def _said(checkpoint: Checkpoint) -> bytes:
    return b"kat checkpoint " + msgspec.json.encode(replace(checkpoint, signature=""))


def _id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw()).hexdigest()[:16]
