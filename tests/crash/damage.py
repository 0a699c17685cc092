"""What the disk itself spoils: a page of the file, the end of the log.

No store can keep what its disk has lost. What is asked of it is that nobody takes the rest for the
whole: it is said what is wrong, against a checkpoint that was kept elsewhere, and a backup brings
the record back to the checkpoint that it states; what came after is sent again by who sent it.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random
from time import monotonic

from walk_in import EIGHT

from kat_workflow.engine.auditing import Verified, verify
from kat_workflow.engine.keeping import backup, restore
from kat_workflow.errors import JournalError
from kat_workflow.journal import open_journal
from kat_workflow.journal.sealing import checkpoint, new_keys, public_key, signing_key

from .clinic import Hands, carry_out, deed, open_clinic
from .judge import Judge
from .suite import Ground, Row, Trial


class Auditor:
    """Keeps a key, and elsewhere than the journal what was signed with it."""

    def __init__(self) -> None:
        secret, public = new_keys()
        self._secret, self._public = signing_key(secret), public_key(public)
        self._kept: list[bytes] = []

    def signs(self, where: str) -> None:
        """Sign what a journal holds now."""
        with open_journal(where) as journal:
            self._kept.append(checkpoint(journal, self._secret, EIGHT))

    def finds(self, where: str) -> list[str]:
        """What is wrong with a journal, as `kat journal verify` says it."""
        try:
            return [str(fault) for fault in self._verified(where).faults]
        except JournalError as error:  # it cannot even be opened
            return [str(error)]

    def covers(self, where: str) -> int:
        """The position up to which a signed checkpoint vouches for every entry."""
        return self._verified(where).covered

    def _verified(self, where: str) -> Verified:
        with open_journal(where) as journal, journal.snapshot() as still:
            return verify(still, self._kept, self._public)


def spoiled_page(ground: Ground) -> Row:
    """Bytes of a page are other ones. It is seen; the backup is put in the file's place."""
    trial = Trial("corrupted page", ground, ground.fresh("pages"))
    file, copied = Path(trial.where), ground.fresh("backup")
    trial.do_until("w", 40)
    auditor = Auditor()
    auditor.signs(trial.where)
    with closing(open_clinic(trial.where, Hands())) as engine:
        stated, kept = backup(engine, copied).position, set(trial.acknowledged)
    trial.do_until("w", 60)
    after = trial.acknowledged - kept
    whole = file.read_bytes()

    pages = range(0, len(whole), 4096)
    chance, seen, harmless, silent = ground.chance, 0, 0, 0
    sample = sorted(chance.sample(pages, min(len(pages), ground.times(8, len(pages)))))
    for number in ground.rounds(len(sample), len(sample)):
        spoiled = bytearray(whole)
        _spoil(spoiled, sample[number], chance)
        copy = _fresh_copy(ground, bytes(spoiled))
        if auditor.finds(copy):
            seen += 1
        elif Judge()(copy, kept | after):
            harmless += 1
        else:
            silent += 1
    if silent:
        trial.row.wrong.append(f"{silent} spoiled pages were not seen by anybody")

    spoiled = bytearray(whole)
    for page in pages[1:]:
        _spoil(spoiled, page, chance)
    file.write_bytes(spoiled)
    if not auditor.finds(trial.where):
        trial.row.wrong.append("a file with no sound page was taken for whole")
    began = monotonic()
    _put_away(file)
    if restore(copied, file).position != stated:
        trial.row.wrong.append("the restored record is not what the backup states")
    trial.acknowledged = kept
    trial.judged()
    trial.row.seconds = monotonic() - began
    if auditor.finds(trial.where) or auditor.covers(trial.where) != stated:
        trial.row.wrong.append(f"the backup is not what its checkpoint at {stated} states")
    trial.do(after)
    note = f"{seen} pages seen, {harmless} in unused bytes; back to {stated}, {len(after)} resent"
    return trial.ended(note=note)


def spoiled_log(ground: Ground) -> Row:
    """The write-ahead log ends in rubbish, or before its end."""
    trial = Trial("truncated log", ground, ground.fresh("log"))
    auditor, chance, hands = Auditor(), ground.chance, Hands()
    cuts = 0
    with closing(open_clinic(trial.where, hands)) as engine:  # while it is open, the log stays
        for number in range(25):
            carry_out(engine, hands, deed("w", number))
            trial.acknowledged.add(f"w-{number}")
        auditor.signs(trial.where)
        file, log = Path(trial.where).read_bytes(), Path(f"{trial.where}-wal").read_bytes()

    # A frame that was being written when the power failed is none.
    copy = _fresh_copy(ground, file, log + log[32 : 32 + 24] + chance.randbytes(2000))
    torn = Judge()(copy, trial.acknowledged)
    if not torn or auditor.finds(copy):
        trial.row.wrong.append(f"rubbish behind the log: {torn}")
    for _ in ground.rounds(5, 40):
        cuts += 1
        copy = _fresh_copy(ground, file, log[: chance.randrange(32, len(log) - 4200)])
        if not auditor.finds(copy):
            trial.row.wrong.append("a log without its end was taken for whole")
        left = Judge()(copy, (), trial.acknowledged)
        if left.doubled or left.wrong:
            trial.row.wrong.append(f"a cut log left less than whole commands: {left}")
    return trial.ended(note=f"rubbish at its end; {cuts} cuts, each seen against the checkpoint")


def _spoil(content: bytearray, page: int, chance: Random) -> None:
    """Other bytes in the place of eight of a page."""
    at = page + chance.randrange(4096 - 8)
    for each in range(at, at + 8):
        content[each] ^= chance.randrange(1, 256)


def _fresh_copy(ground: Ground, content: bytes, log: bytes = b"") -> str:
    copy = Path(ground.fresh("copy"))
    _put(copy, content, log)
    return str(copy)


def _put(file: Path, content: bytes, log: bytes = b"") -> None:
    """A file with this content, and nothing left beside it of one before."""
    _put_away(file)
    file.write_bytes(content)
    if log:
        Path(f"{file}-wal").write_bytes(log)


def _put_away(file: Path) -> None:
    for beside in ("", "-wal", "-shm"):
        Path(f"{file}{beside}").unlink(missing_ok=True)
