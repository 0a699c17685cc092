"""Entries that nobody wrote, though they can be read: whoever asks is told where they stand.

A body whose fields say something else is an event all the same, and is folded with the others;
its link tells that it was changed, but no question reads links. Here one field of one entry of a
real course is changed, or an entry takes the place of another, and everything is asked.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from walk_in import ANN, EIGHT, Clock, programs

from kat_workflow import Conflict, Engine, JournalError, KatError
from kat_workflow.engine import questions
from kat_workflow.engine.auditing import verify
from kat_workflow.enrollment.events import (
    DeviationNoted,
    Event,
    ItemOpened,
    Known,
    PatientMerged,
    PhaseEntered,
    encode,
)
from kat_workflow.journal import Entry, open_journal, shown
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import Folder, shipped
from kat_workflow.scenarios import Scenario, load_scenario, run

ROOT = Path(__file__).parents[1]
ALONE = "programs/ketamine-assisted-therapy/scenarios/straight-way-through.yaml"
TOGETHER = "tests/programs/ketamine-circle/scenarios/three-members-one-drops-out-one-aborts.yaml"
OTHER = ["", "x", 0, -1, 10**9, None, True, [], {}, "NaN", "enrolled", "closed"]
OTHER += ["2026-03-02T08:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]


@cache
def clinic_of(name: str) -> tuple[Scenario, Folder, MemoryJournal]:
    scenario, library = load_scenario(ROOT / name), Folder((ROOT / name).parents[2], shipped())
    journal = open_journal()
    assert isinstance(journal, MemoryJournal)
    run(scenario, library, journal)
    return scenario, library, journal


def patients(name: str) -> list[str]:
    streams = clinic_of(name)[2].streams("patient:")
    return [stream.partition(":")[2] for stream in streams]


class Damaged:
    """A clinic that is opened on a record of which one entry was changed in its store."""

    def __init__(self, name: str, entry: Entry, **changes: Any) -> None:
        scenario, library, kept = clinic_of(name)
        self.entry = msgspec.structs.replace(entry, **changes)
        self.now = max(each.recorded for each in kept._entries) + timedelta(hours=1)
        journal = copy_of(kept)
        journal._entries[entry.position - 1] = self.entry
        journal._streams[entry.stream][entry.version - 1] = self.entry
        journal._rows.clear()  # else a question reads no entries
        sites = (scenario.site, *scenario.others)
        self.engine = Engine(journal, library, lambda: self.now, sites)
        self.journal = journal

    def questions(self) -> Iterator[Callable[[], object]]:
        """Everything that may be asked of the stream."""
        ask, now = self.engine, self.now
        kind, _, key = self.entry.stream.partition(":")
        before, after = now - timedelta(days=1), now + timedelta(days=1)
        yield from (ask.follow, ask.outbox, ask.deviations, ask.census, ask.worklist)
        yield lambda: ask.shift(start=before, end=after)
        if kind == "enrollment":
            yield from (lambda each=each: each(key) for each in one_patient(ask))
            yield lambda: ask.as_known_at(key, now)
            yield lambda: ask.as_true_at(key, now)
            yield lambda: ask.status(key, true_at=now)
            yield lambda: ask.run_due_in(key)
        elif kind == "patient":
            yield lambda: ask.patient(key)
        elif kind == "group":
            yield lambda: ask.group(key)
        elif kind == "cupboard":
            yield from (lambda: ask.cupboard(key), lambda: ask.ledger(key))
            yield from (lambda: ask.lots("K42"), ask.roster)


def one_patient(ask: Engine) -> tuple[Callable[[str], object], ...]:
    return (ask.status, ask.enrollment, ask.records, ask.signatures, ask.history, ask.suggestions)


def copy_of(kept: MemoryJournal) -> MemoryJournal:
    """A journal of the same entries and rows, which may be changed."""
    journal = MemoryJournal()
    for name in vars(kept):
        if name not in ("_lock", "_closed"):
            value = getattr(kept, name)
            setattr(journal, name, value.copy())
    journal._streams = {name: list(entries) for name, entries in kept._streams.items()}
    lists = {name: list(spots) for name, spots in kept._lists.items()}
    journal._lists = defaultdict(list, lists)
    return journal


@st.composite
def damaged(draw: st.DrawFn, name: str) -> Damaged:
    """One entry with a field that is gone or says something else, or with another one's event."""
    _, _, journal = clinic_of(name)
    streams = journal._streams
    stream = draw(st.sampled_from(sorted(streams)))
    entry = draw(st.sampled_from(streams[stream]))
    match draw(st.sampled_from(["field", "field", "values", "event"])):
        case "event":
            other = draw(st.sampled_from(draw(st.sampled_from([*streams.values()]))))
            return Damaged(name, entry, body=other.body, values=other.values, salt=other.salt)
        case "values" if entry.values:
            return Damaged(name, entry, values=draw(changed(entry.values)))
        case _:
            return Damaged(name, entry, body=draw(changed(entry.body)))


@st.composite
def changed(draw: st.DrawFn, text: bytes) -> bytes:
    whole = json.loads(text)
    path = draw(st.sampled_from([*paths(whole)]))
    within = whole
    for key in path[:-1]:
        within = within[key]
    if draw(st.booleans()):
        del within[path[-1]]
    else:
        within[path[-1]] = draw(st.sampled_from(OTHER))
    return json.dumps(whole, separators=(",", ":")).encode()


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*path, key))


@pytest.mark.parametrize("name", [ALONE, TOGETHER])
@settings(max_examples=40)
@given(data=st.data())
def test_every_question_answers_or_says_in_which_stream_it_cannot(
    name: str, data: st.DataObject
) -> None:
    clinic = data.draw(damaged(name))

    said = []
    for ask in clinic.questions():
        try:
            ask()
        except JournalError as error:
            said.append(str(error))
        except KatError:
            pass

    named = shown(clinic.entry.stream)
    assert all(named in each and "position " in each for each in said), said
    assert not any(patient in each for patient in patients(name) for each in said)


@pytest.mark.parametrize("name", [ALONE, TOGETHER])
@settings(max_examples=40)
@given(data=st.data())
def test_an_audit_names_the_entry_whatever_it_says_now(name: str, data: st.DataObject) -> None:
    clinic = data.draw(damaged(name))
    assume(clinic.entry not in clinic_of(name)[2]._entries)

    found = verify(clinic.journal).faults

    assert any(
        (each.stream, each.version, each.position)
        == (clinic.entry.stream, clinic.entry.version, clinic.entry.position)
        or (each.stream == clinic.entry.stream and clinic.entry.version == 1)
        for each in found
    ), found


# What would never end.


@pytest.fixture
def walk_in(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(programs=programs(tmp_path), clock=Clock()) as engine:
        yield engine


def says_instead(engine: Engine, stream: str, version: int, event: Event) -> None:
    """Change an entry in the store, and take away what was worked out of it."""
    journal: Any = engine.journal
    body, values = encode(event)
    entry = journal._streams[stream][version - 1]
    changed = msgspec.structs.replace(entry, body=body, values=values)
    journal._streams[stream][version - 1] = changed
    journal._rows.clear()
    engine._states.clear()


def test_a_timer_that_ran_and_of_which_no_entry_says_so_is_not_run_for_ever(
    walk_in: Engine,
) -> None:
    patient = walk_in.enroll("walk-in", patient="P", by=ANN)
    before = walk_in.journal.version(f"enrollment:{patient}")
    clock: Any = walk_in._clock
    clock.goes_on(5)
    assert walk_in.run_due_in(patient) > 0
    for entry in walk_in.journal.read(f"enrollment:{patient}", before):
        said = DeviationNoted("late", "", EIGHT)
        says_instead(walk_in, entry.stream, entry.version, said)

    with pytest.raises(Conflict, match="run kat journal verify"):
        walk_in.run_due_in(patient)


def test_two_records_that_each_refer_to_the_other_are_named(walk_in: Engine) -> None:
    for patient in ("P", "Q"):
        walk_in.enroll("walk-in", patient=patient, by=ANN)
    walk_in.merge("Q", "P", by=ANN, reason="the same person")
    version = walk_in.journal.version("patient:Q")
    says_instead(walk_in, "patient:Q", version, PatientMerged("P", "Q", "", "ann", EIGHT, Known()))

    with pytest.raises(JournalError, match="the other tells about them"):
        walk_in.patient("P")


# What can be folded, and nobody could have come to.


def test_an_item_of_a_step_that_there_is_not_is_named_by_its_entry(walk_in: Engine) -> None:
    patient = walk_in.enroll("walk-in", patient="P", by=ANN)
    (opened,) = (
        x for x in walk_in.history(patient)
        if isinstance(x.event, ItemOpened) and x.event.step == "look"
    )  # fmt: skip
    other = msgspec.structs.replace(opened.event, step="lock")
    says_instead(walk_in, opened.stream, opened.version, other)

    with pytest.raises(JournalError, match=rf"version {opened.version} .*as it was written"):
        walk_in.status(patient)


def test_a_state_row_that_can_be_read_and_not_gone_on_from_is_named(walk_in: Engine) -> None:
    patient = walk_in.enroll("walk-in", patient="P", by=ANN)
    journal: Any = walk_in.journal
    stream = f"enrollment:{patient}"
    journal._rows[stream] = journal._rows[stream].replace(b"\xa4look", b"\xa4lock")
    walk_in._states.clear()

    with pytest.raises(JournalError, match=r"the state row of version .* does not say"):
        walk_in.status(patient)


def test_a_cupboard_whose_row_is_spoiled_is_named_by_whoever_counts(walk_in: Engine) -> None:
    for _ in range(2):
        walk_in.receive("ketamine", "K1", "500 mg", by=ANN, supplier="wholesaler")
    journal: Any = walk_in.journal
    journal._rows["cupboard:main"] = journal._rows["cupboard:main"].replace(b"1000", b"1O00")

    with pytest.raises(JournalError, match="cupboard:main: the state row of version 2 does not"):
        walk_in.count("ketamine", "K1", "400 mg", by=ANN, reason="broken")


def test_what_fails_on_a_sound_record_is_not_put_upon_it(
    walk_in: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = walk_in.enroll("walk-in", patient="P", by=ANN)

    def broken(*_: object) -> str:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(questions, "title", broken)

    with pytest.raises(KeyError, match="a fault of ours"):
        walk_in.status(patient)


def test_a_part_of_nothing_is_no_place_to_be(walk_in: Engine) -> None:
    patient = walk_in.enroll("walk-in", patient="P", by=ANN)
    (entered,) = (x for x in walk_in.history(patient) if isinstance(x.event, PhaseEntered))
    other = msgspec.structs.replace(entered.event, place="elsewhere.1/watching.1")
    says_instead(walk_in, entered.stream, entered.version, other)

    with pytest.raises(JournalError, match=rf"version {entered.version} .*does not go with"):
        walk_in.status(patient)
