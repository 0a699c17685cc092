"""kill -9 of a writer: at every statement around a commit, within it, and at any instant."""

from __future__ import annotations

from contextlib import ExitStack

from .children import Child, Trap
from .clinic import BLOCK, deed
from .suite import Ground, Row, Trial

_KINDS = (0, 2, 4, 7, 9)
"""Deeds that differ in what they write: two new streams, several entries and items, the census,
a command with timers before it, an end."""


def at_every_statement(ground: Ground) -> Row:
    """Killed before the first statement of a command, after each, and before its answer."""
    trial = Trial("kill -9 at every statement", ground, ground.fresh("statements"))
    kills = 0
    for kind in _KINDS[: ground.times(2, 5)]:  # all of them, however long it takes
        count, survived = 0, False
        while not survived:
            count += 1
            survived = _killed(trial, kind, Trap(count))
            kills += not survived
        kills += not _killed(trial, kind, Trap(answer=True))
    return trial.ended(note=f"{kills} kills")


def within_the_commit(ground: Ground) -> Row:
    """Killed so many microseconds after COMMIT began: while it writes, while the disk syncs."""
    trial = Trial("kill -9 within the commit", ground, ground.fresh("commit"))
    kills = 0
    for number in ground.rounds(10, 100):
        after = 1 + number * ground.times(8, 6)
        kills += not _killed(trial, number % 2 * 2, Trap(statement="COMMIT", after=after))
    return trial.ended(note=f"{kills} kills")


def _killed(trial: Trial, kind: int, trap: Trap) -> bool:
    """One deed of that kind by a process that walks into the trap; whether it came through."""
    number = trial.next("w") // BLOCK * BLOCK + kind
    if number < trial.next("w"):
        number += BLOCK
    trial.do_until("w", number)
    with Child(trial.job("w", until=number + 1, trap=trap)) as child:
        child.ends()
        survived = child.acknowledged == [deed("w", number).id]
        trial.recovers(child)
    return survived


def under_load(ground: Ground) -> Row:
    """Two processes write; one of them, then both, are killed at any instant."""
    chance = ground.chance
    trial = Trial("kill -9 under load", ground, ground.fresh("load"))
    crews = [tuple(f"{crew}{who}" for who in ground.whos) for crew in "ab"]
    rounds = 0
    for number in ground.rounds(3, 12):
        rounds += 1
        with ExitStack() as stack:
            children = [stack.enter_context(Child(trial.job(*crew))) for crew in crews]
            for child in children:
                child.hears(chance.randrange(1, ground.times(20, 120)))
            children[number % 2].kill()
            if number % 3:
                children[1 - number % 2].hears_for(chance.random() / 50)
            trial.recovers(*children)
    return trial.ended(note=f"{rounds} rounds")
