"""Commands for the journal's tests, and a writer that runs as a process of its own.

Every command carries in its bodies how many entries it has in all, so a reader can tell a whole
command from half of one, and its state rows say for which version they stand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from kat_workflow.errors import Conflict
from kat_workflow.journal import Append, Entry, ItemRow, Journal, Receipt
from kat_workflow.journal.postgres import PostgresJournal
from kat_workflow.journal.sqlite import SqliteJournal

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def write(
    journal: Journal,
    *appends: Append,
    command: str = "c1",
    digest: str = "d1",
    recorded: datetime = NOON,
) -> Receipt:
    """Append as nurse Nora does."""
    return journal.append(
        appends, command=command, digest=digest, recorded=recorded, person="nora", role="nurse"
    )


def item(name: str, stream: str, due: datetime | None = NOON, **more: object) -> ItemRow:
    """An item of the nurse at the main site."""
    given: dict[str, object] = {
        "site": "main",
        "roles": ("nurse",),
        "opens": NOON,
        "title": name.title(),
        **more,
    }
    return ItemRow(item=name, stream=stream, due=due, **given)  # type: ignore[arg-type]


def do_deed(journal: Journal, command: str, seed: str, streams: Sequence[str]) -> int:
    """Write one command of one to three streams, read anew on every Conflict; how many tries."""
    chance = Random(f"{seed} {command}")
    chosen = chance.sample(streams, chance.randint(1, min(3, len(streams))))
    lengths = [chance.randint(1, 3) for _ in chosen]
    body = f"{command} {sum(lengths)}".encode()
    tries = 0
    while True:
        tries += 1
        appends = []
        for stream, length in zip(chosen, lengths, strict=True):
            version = journal.version(stream)
            reached = version + length
            appends.append(
                Append(
                    stream,
                    expected=version,
                    bodies=(body,) * length,
                    row=str(reached).encode(),
                    wake=NOON + timedelta(minutes=reached),
                    items=(item("latest", stream, NOON + timedelta(minutes=reached)),),
                )
            )
        try:
            write(journal, *appends, command=command, digest=seed)
        except Conflict:
            continue
        return tries


def causes(journal: Journal) -> list[str]:
    """Every command in the journal in commit order, after seeing that all of it is sound.

    Positions and versions have no gap, every command is there whole and in one stretch, and the
    rows of every stream stand for its last entry.
    """
    entries: list[Entry] = []
    while page := journal.follow(len(entries), 1000):
        entries += page
    assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))

    in_order = list(dict.fromkeys(entry.cause for entry in entries))
    stretches = [e.cause for i, e in enumerate(entries) if not i or entries[i - 1].cause != e.cause]
    assert stretches == in_order
    written = Counter(entry.cause for entry in entries)
    for entry in entries:
        command, length = entry.body.decode().split(" ")
        assert (command, int(length)) == (entry.cause, written[entry.cause])

    for stream in journal.streams():
        own = [entry for entry in entries if entry.stream == stream]
        last = len(own)
        assert [entry.version for entry in own] == list(range(1, last + 1))
        assert journal.read(stream) == own
        assert journal.row(stream) == (last, str(last).encode())
        rows, _ = journal.worklist(stream=stream)
        assert [row.due for row in rows] == [NOON + timedelta(minutes=last)]
    return in_order


def writer(where: Path | str, seed: str, who: str, first: int, count: int) -> subprocess.Popen[str]:
    """A process that says `open`, writes commands `<who>-<n>` and says each when it is written."""
    return subprocess.Popen(
        [sys.executable, __file__, str(where), seed, who, str(first), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def main() -> None:
    where, seed, who, first, count = sys.argv[1:]
    print("open", flush=True)
    store = PostgresJournal if where.startswith("postgresql:") else SqliteJournal
    with store(where, patience=60) as journal:
        for number in range(int(first), int(first) + int(count)):
            do_deed(journal, f"{who}-{number}", seed, ("enrollment:a", "enrollment:b", "site:main"))
            print(f"{who}-{number}", flush=True)


if __name__ == "__main__":
    main()
