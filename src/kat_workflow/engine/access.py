"""Who looked at whom, when, why and through what: kept beside the clinic's journal, never in it.

The log is a journal of its own (a file, a database or memory), so that it is append-only, linked
into hash chains, backed up and verified as the clinic's is. One look is one entry: of a single
patient in the stream of that patient, of a list in the stream of its site. A look is written
before anything is shown; where it cannot be written, nothing is shown, unless the reader breaks
the glass.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from kat_workflow.engine.receiving import new_id
from kat_workflow.errors import Conflict, JournalError
from kat_workflow.journal import Append, Entry, Journal, open_journal

if TYPE_CHECKING:
    from kat_workflow.journal.encrypting import Keys

__all__ = ["EVERYBODY", "AccessLog", "Look"]

EVERYBODY = "*"
"""The site of a look at the whole record: it was of every patient there was."""

_log = logging.getLogger("kat_workflow")

_ATTEMPTS = 50
_PAGE = 1000


class Look(Struct, frozen=True, omit_defaults=True):
    """Somebody was shown something about patients.

    `through` is the question that was asked (`status`, `history`, `worklist`, …); `patients` are
    the ids that were shown, `enrollment` the one that was asked about, if one was. `person` is ""
    where the host itself asked. `emergency` is the reason of a reader who broke the glass. A look
    with a `recipient` is a disclosure: what was shown went to somebody outside, for `why`.
    """

    at: datetime
    through: str
    patients: tuple[str, ...]
    person: str = ""
    roles: tuple[str, ...] = ()
    why: str = ""
    enrollment: str = ""
    site: str = ""
    emergency: str = ""
    recipient: str = ""


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Look).decode


class AccessLog:
    """The log of looks, in a journal that holds nothing else.

    Safe to use from several threads and, in a file or a database, from several processes.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | Journal | None = None,
        keys: Keys | Mapping[str, bytes] | None = None,
    ) -> None:
        """`where` and `keys` as for `open_journal`, or a journal that is open."""
        if where is None or isinstance(where, str | os.PathLike):
            where = open_journal(where, keys=keys)
        self.journal = where
        self._versions: dict[str, int] = {}
        self._owed: list[Look] = []
        self._lock = Lock()

    def note(self, look: Look) -> None:
        """Write a look down, durably; JournalError where it cannot be: then show nothing.

        A look that breaks the glass is let through all the same, and written with the next one
        that can be: whoever is dying does not wait for a disk.
        """
        with self._lock:
            try:
                while self._owed:
                    self._write(self._owed[0])
                    del self._owed[0]
                self._write(look)
            except (JournalError, Conflict) as error:
                if not look.emergency:
                    raise JournalError(
                        "the access log cannot be written, so nothing is shown; mend it, or in an"
                        f" emergency break the glass ({error})"
                    ) from error
                self._owed.append(look)
                # Of whom and why is for the log that it is missing from, not for this one.
                _log.error("the access log cannot be written: %d looks wait", len(self._owed))

    def of_patient(self, *ids: str, since: datetime | None = None) -> tuple[Look, ...]:
        """Every look at a patient (under any of the ids), oldest first, also those in lists."""
        wanted = frozenset(ids)
        looks = [look for id_ in ids for look in self._stream(f"patient:{id_}")]
        for stream in self.journal.streams("list:"):
            looks += [
                look
                for look in self._stream(stream)
                if look.site == EVERYBODY or wanted.intersection(look.patients)
            ]
        return _since(looks, since)

    def by_person(self, person: str, since: datetime | None = None) -> tuple[Look, ...]:
        """Everything that somebody looked at, oldest first; it goes through the whole log."""
        return _since([look for look in self._all() if look.person == person], since)

    def broken(self, since: datetime | None = None) -> tuple[Look, ...]:
        """Every look by breaking the glass, oldest first; it goes through the whole log."""
        return _since([look for look in self._all() if look.emergency], since)

    def disclosures(self, *ids: str, since: datetime | None = None) -> tuple[Look, ...]:
        """What of a patient went to somebody outside: when, to whom, what, for what purpose."""
        return tuple(look for look in self.of_patient(*ids, since=since) if look.recipient)

    def close(self) -> None:
        """Give back the journal; a second time does nothing."""
        self.journal.close()

    def _write(self, look: Look) -> None:
        one = len(look.patients) == 1 and not look.site
        stream = f"patient:{look.patients[0]}" if one else f"list:{look.site}"
        body = _encode(look)
        command = "look-" + new_id()
        for _ in range(_ATTEMPTS):
            version = self._versions.get(stream)
            if version is None:
                version = self.journal.version(stream)
            self._versions.pop(stream, None)
            with suppress(Conflict):  # another process wrote meanwhile
                self.journal.append(
                    [Append(stream, version, (body,))],
                    command=command,
                    digest=command,
                    recorded=look.at,
                    person=look.person,
                    role=",".join(look.roles),
                )
                self._versions[stream] = version + 1
                return
        raise Conflict("the access log is being written to by others")

    def _stream(self, stream: str) -> Iterator[Look]:
        return map(_look, self.journal.read(stream))

    def _all(self) -> Iterator[Look]:
        position = 0
        while entries := self.journal.follow(position, _PAGE):
            position = entries[-1].position
            yield from map(_look, entries)


def _look(entry: Entry) -> Look:
    try:
        return _decode(entry.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise JournalError(
            f"entry {entry.position} of the access log is no look; see that the log is no other"
            " journal, and restore its last backup"
        ) from None


def _since(looks: Sequence[Look], since: datetime | None) -> tuple[Look, ...]:
    found = [look for look in looks if since is None or look.at >= since]
    return tuple(sorted(found, key=lambda look: look.at))
