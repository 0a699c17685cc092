"""What should stand in the journal, against what does.

An engine in memory is given the commands that the store holds, in the order of each writer. What
it wrote is what the store has to hold: nothing less (lost), nothing more (doubled), nothing
otherwise (wrong). What a client was told and is not in the store is lost, whatever else is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime

from msgspec import Struct

from kat_workflow import Engine, Happened, replay
from kat_workflow.errors import JournalError, Refused

from .clinic import SHARED, Hands, carry_out, named, open_clinic


class Verdict(Struct):
    """Which causes are lost or doubled, and in words what else is wrong with the store."""

    lost: set[str]
    doubled: set[str]
    wrong: list[str]

    def __bool__(self) -> bool:
        """Whether nothing is the matter."""
        return not (self.lost or self.doubled or self.wrong)


class Judge:
    """Judges one store again and again; what was judged before is not worked out anew."""

    def __init__(self, jumping: bool = False) -> None:
        self._jumping = jumping
        self._hands = Hands()
        self._reference = open_clinic(None, self._hands)
        self._done: set[str] = set()

    def __call__(
        self,
        where: str,
        acknowledged: Iterable[str],
        in_flight: Iterable[str] = (),
        due: datetime | None = None,
    ) -> Verdict:
        """The verdict on a store, of which those were acknowledged and these were sent as well.

        Where `due` is given, all timers until that instant should have run.
        """
        acknowledged, in_flight = set(acknowledged), set(in_flight)
        verdict = Verdict(set(), set(), [])
        try:
            with closing(open_clinic(where, Hands())) as engine:
                entries = everything(engine)
                see_rows(engine, entries, verdict)
        except JournalError as error:  # what cannot be read is lost
            return Verdict(acknowledged, set(), [str(error)])
        _see_order(entries, verdict)
        written = {x.cause for x in entries if not x.cause.startswith("timer:")}
        verdict.lost |= acknowledged - written
        nobodys = written - acknowledged - in_flight
        verdict.doubled |= nobodys
        self._follow(written - nobodys, verdict, due)
        self._compare(entries, verdict, under_way=bool(in_flight - written))
        return verdict

    def _follow(self, written: set[str], verdict: Verdict, due: datetime | None) -> None:
        """Let the engine in memory do what is in the store."""
        new = [named(id_, self._jumping) for id_ in written - self._done]
        for each in sorted(new, key=lambda each: (each.who, each.number)):
            try:
                carry_out(self._reference, self._hands, each)
            except Refused:  # as it would have been, if what is missing before it had been
                verdict.wrong.append(f"{each.id} is there without what it needs")
            self._done.add(each.id)
        if due is not None:
            self._hands.at = due
            while self._reference.run_due():
                pass

    def _compare(self, entries: list[Happened], verdict: Verdict, under_way: bool) -> None:
        kept, meant = _by_stream(entries), _by_stream(everything(self._reference))
        shared = {x.stream for x in entries if x.cause == SHARED}
        for stream in kept.keys() | meant.keys():
            ours, theirs = kept[stream], meant[stream]
            if [(x.cause, x.event) for x in ours] == [(x.cause, x.event) for x in theirs]:
                continue
            have = Counter((x.cause, type(x.event)) for x in ours)
            want = Counter((x.cause, type(x.event)) for x in theirs)
            less, more = ({cause for cause, _ in gap} for gap in (want - have, have - want))
            if under_way:
                # Timers that were due before a command are commits of their own, which may be
                # there without it. Once it is sent again, they have to be what it alone makes.
                more = {cause for cause in more if not cause.startswith("timer:")}
            verdict.lost |= less
            verdict.doubled |= more
            # In what order several writers come to the same patient is nobody's promise.
            if have == want and stream not in shared:
                verdict.wrong.append(f"{stream}: its entries are not what was commanded")


def everything(engine: Engine) -> list[Happened]:
    """All entries of a store, in commit order."""
    entries: list[Happened] = []
    while page := engine.follow(entries[-1].position if entries else 0):
        entries += page
    return entries


def _by_stream(entries: list[Happened]) -> defaultdict[str, list[Happened]]:
    found: defaultdict[str, list[Happened]] = defaultdict(list)
    for each in entries:
        found[each.stream].append(each)
    return found


def _see_order(entries: list[Happened], verdict: Verdict) -> None:
    """Positions and versions count without a gap, and each command stands in one stretch."""
    if [x.position for x in entries] != list(range(1, len(entries) + 1)):
        verdict.wrong.append("positions do not count from 1 without a gap")
    for stream, own in _by_stream(entries).items():
        if [x.version for x in own] != list(range(1, len(own) + 1)):
            verdict.wrong.append(f"{stream}: versions do not count from 1 without a gap")
    stretches = [x.cause for i, x in enumerate(entries) if not i or entries[i - 1].cause != x.cause]
    verdict.doubled |= {cause for cause, count in Counter(stretches).items() if count > 1}


def see_rows(engine: Engine, entries: list[Happened], verdict: Verdict) -> None:
    """State row, wake-up, open items and census of every enrollment are those of its entries."""
    journal = engine.journal
    wakes = dict(journal.due(datetime.max.replace(tzinfo=UTC), 10**6))
    for stream, own in _by_stream([x for x in entries if x.enrollment]).items():
        told = replay(x.event for x in own)
        try:
            row = engine.enrollment(own[0].enrollment)
        except JournalError as error:
            verdict.wrong.append(f"{stream}: {error}")
            continue
        rows, _ = journal.worklist(stream=stream, limit=1000)
        listed = journal.census(told.site, told.standing)
        census = [x.standing for x in listed if x.stream == stream]
        for what, right in (
            ("state row", row == told and journal.version(stream) == len(own)),
            ("wake-up", wakes.get(stream) == told.wake),
            ("open items", {x.item for x in rows} == set(told.items)),
            ("census", census == [told.standing]),
        ):
            if not right:
                verdict.wrong.append(f"{stream}: the {what} is not that of its entries")
