"""The chain: every entry of a stream is linked to the one before it by a hash.

Whoever changes, drops, adds or swaps an entry changes every link from there on. What tells about
a patient is not in the links themselves but under a *commitment*: a hash of it together with
random bytes, the salt, which are kept beside it. Once both are erased the commitment is kept
instead: the links still hold, and nobody can find out by trying what was there. The digest of a
command, and the name of a stream at the beginning of its chain, are under commitments for the
same reason.

Positions are not in the links, so that a store may give them late. The order across streams is
held by checkpoints, which sign a *rolling* hash over the links in the order of their positions.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

__all__ = [
    "SALT",
    "commitment",
    "committed",
    "frame",
    "genesis",
    "hidden",
    "link",
    "rolled",
    "sealed",
]

SALT = 16
"""The bytes of a salt: nobody can try them all."""

_encode = msgspec.json.Encoder().encode


def commitment(salt: bytes, content: bytes) -> bytes:
    """What holds to `content` and does not tell it; b"" where there is no content."""
    return sha256(salt + content).digest() if content else b""


def committed(salt: bytes, content: bytes) -> bytes:
    """The commitment to what stands in the journal: `salt` is it where the content was erased."""
    return commitment(salt, content) if len(salt) == SALT else salt


def sealed(salt: bytes, digest: bytes) -> bytes:
    """What links hold of a command: the commitment to its digest, and the salt of that.

    Of a salt that was erased its hash is kept, which tells as little and is held to as well.
    """
    return sha256(hidden(salt) + digest).digest()


def hidden(salt: bytes) -> bytes:
    """The hash of a command's salt; itself if only that is kept."""
    return sha256(salt).digest() if len(salt) == SALT else salt


def genesis(salt: bytes, stream: str) -> bytes:
    """Where the chain of a stream begins: what the first entry is linked to."""
    return sha256(b"kat" + salt + stream.encode()).digest()


def frame(recorded: int, cause: str, digest: bytes, person: str, role: str) -> bytes:
    """The part that the links of all entries of one command have in common.

    `recorded` is in microseconds since 1970, `digest` what is `sealed` of the command's digest.
    """
    return b"," + _encode((recorded, cause, digest.hex(), person, role))[1:-1] + b',"'


def link(previous: bytes, version: int, framed: bytes, values: bytes, body: bytes) -> bytes:
    """The link of an entry: 32 bytes that hold to it and to all that stands before it.

    It is the SHA-256 of the `previous` link, or of the stream's genesis, and of one canonical
    JSON array: version, recorded, cause, digest, person, role, commitment to the values, body.
    `values` is that commitment.
    """
    text = f'{values.hex()}",'.encode()
    return sha256(b"%b[%d%b%b%b]" % (previous, version, framed, text, body)).digest()


def rolled(root: bytes, links: list[bytes]) -> bytes:
    """The rolling hash after these links too; it begins with b""."""
    for each in links:
        root = sha256(root + each).digest()
    return root
