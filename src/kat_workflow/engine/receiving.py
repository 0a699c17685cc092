"""A command as it comes in: its id, words that can be written, and what tells it from any other.

Here is also how the engine refuses what it never asks the core about.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment.commands import Act, Actor
from kat_workflow.errors import Reason, Refusal, Refused


def new_id() -> str:
    """The id of a command whose sender gave it none."""
    return "c-" + os.urandom(16).hex()


def _plain(value: object) -> object:
    return repr(value)  # what no form accepts must still be told apart from what it was before


canonical = msgspec.json.Encoder(decimal_format="string", order="deterministic", enc_hook=_plain)


@lru_cache(maxsize=1)
def sound_decoder() -> msgspec.json.Decoder[tuple[Act, tuple[str, ...]]]:
    """What reads a command again, to see that it can be."""
    return msgspec.json.Decoder(tuple[Act, tuple[str, ...]])


def sound(act: Act, by: Actor, id_: str, *texts: str) -> Act:
    """The act, all of whose words can be written and read again; else Refused.

    A reason that is a number, or a text that is no Unicode, would be written into an entry that
    nobody could read any more. What a form holds is judged by the form.
    """
    values = act.values if isinstance(act, c.Record | c.Correct | c.Attest) else None
    plain = act if values is None else replace(act, values={})
    try:
        body = canonical.encode((plain, (by.person, by.name, *by.covers.values(), id_, *texts)))
        read = sound_decoder().decode(body)[0]
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        says = str(error) if isinstance(error, msgspec.ValidationError) else "it is no plain text"
        verb = c.words(plain).partition(" ")[0]
        raise refuse(verb, "bad-phrase", says, "give text where text is meant") from None
    return read if values is None else replace(read, values=values)


def received(
    enrollment: str,
    act: Act,
    by: Actor,
    id_: str,
    occurred: datetime | None,
    role: str,
    emergency: str,
) -> tuple[Act, str]:
    """The act as `sound` gives it, and the digest of the command."""
    if type(act) is c.Record and type(act.signed) is bool and type(act.also) is tuple:
        # Most commands are recordings. Where all words are texts, and could be written for the
        # digest, nothing else is left to be found unsound.
        words = (act.step, by.person, by.name, id_, role, *act.also)
        texts = set(map(type, words)) == {str} and id_.isascii() and by.name.isprintable()
        if texts and not (emergency or by.covers):
            with suppress(TypeError, ValueError):
                return act, hashed(canonical.encode((enrollment, act, by.person, occurred, role)))
    act = sound(act, by, id_, role, emergency)
    digest = digest_of(enrollment, act, by, occurred, role)
    return act, hashed(f"{digest} {emergency}".encode()) if emergency else digest


def digest_of(enrollment: str, act: Act, by: Actor, occurred: datetime | None, role: str) -> str:
    """What makes two commands the same: everything but when they were sent."""
    try:
        body = canonical.encode((enrollment, act, by.person, occurred, role))
    except (TypeError, ValueError):  # what cannot be written is refused later, by what is asked
        body = repr((enrollment, act, by.person, occurred, role)).encode(errors="backslashreplace")
    return hashed(body)


def hashed(body: bytes) -> str:
    """SHA-256 in hex: digests, and the ids that derive from a command's."""
    return str(_sha256()(body).hexdigest())


@lru_cache(maxsize=1)
def _sha256() -> Callable[[bytes], Any]:
    from hashlib import sha256  # noqa: PLC0415  # loaded on first use

    return sha256


def refuse(command: str, code: str, says: str, *unblock: str) -> Refused:
    """What to raise where the engine itself refuses, for one reason."""
    return Refused(Refusal(command, (Reason(code, says, unblock=unblock),)))
