"""Drugs through the engine: caps across a patient's programs, and the cupboards of the sites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kat_workflow import Actor, Conflict, Engine, Happened, Refused, Site
from kat_workflow.cli import kat
from kat_workflow.engine.auditing import verify
from kat_workflow.enrollment import cupboard, patients
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.cupboard import Cupboard
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.journal import Append, Receipt
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import Files

NOON = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
ANN = Actor("ann", frozenset({"nurse"}))
BEN = Actor("ben", frozenset({"nurse"}))
DOC = Actor("doc", frozenset({"doctor"}))

PROGRAM = """\
language: 1
program: {name}
version: "1.0.0"
title: Drips
decided_by: [doctor]
hold_by: [doctor]
roles: {{nurse: Nurse, doctor: Doctor}}
sources:
  practice: {{title: Practice, trust: C}}
forms:
  vitals:
    title: Vitals
    any_time: true
    fields:
      systolic: {{type: integer, unit: mmHg, from: 50, to: 300}}
orders:
  {name}_order:
    drug: {drug}
    route: intravenous
    by: [doctor]
    amount: {{from: {low}, to: {high}}}
    lasts: 30 d
    source: practice
ledgers:
  {name}_book: {{drug: ketamine, witnessed_by: [nurse, doctor]}}
start: stay
phases:
  stay:
    admits: true
    steps:
      drips: {{by: [nurse], session: drip}}
    next: [{{to: well, when: always}}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose:
      drug: {drug}
      route: intravenous
      order: {name}_order
      ledger: {name}_book
      cap: [{{most: {cap}, per: course}}]
    watch: {{by: [nurse], record: vitals, at: [0 min], then_every: 30 min}}
    release: {{earliest: 0 min, signed_by: [nurse]}}
ends:
  well: {{kind: completed}}
leaving: {{by: [nurse]}}
"""
LIBRARY = {
    "one/one.yaml": PROGRAM.format(
        name="one", drug="ketamine", low="10 mg", high="80 mg", cap="100 mg"
    ),
    "two/two.yaml": PROGRAM.format(
        name="two", drug="Ketamine", low="0.01 g", high="0.08 g", cap="0.1 g"
    ),
}


BOOKED = PROGRAM.format(name="booked", drug="NAD+", low="10 mg", high="80 mg", cap="100 mg")
LIBRARY["booked/booked.yaml"] = (
    BOOKED.replace("      ledger: booked_book\n", "      ledger: booked_book\n      lot: bag.lot\n")
    .replace("{drug: ketamine,", "{drug: NAD+,")
    .replace("    watch:", "    before: {bag: {by: [nurse], record: bag_form}}\n    watch:")
    .replace("orders:", "  bag_form: {title: Bag, fields: {lot: {type: text}}}\norders:")
)
"""A drug in a ledger whose lot is recorded as well."""
BAGS = PROGRAM.format(name="bags", drug="NAD+", low="10 mg", high="80 mg", cap="100 mg")
LIBRARY["bags/bags.yaml"] = (
    BAGS.replace("ledgers:\n  bags_book: {drug: ketamine, witnessed_by: [nurse, doctor]}\n", "")
    .replace("      ledger: bags_book\n", "      lot: bag.lot\n")
    .replace("    watch:", "    before: {bag: {by: [nurse], record: bag_form}}\n    watch:")
    .replace("orders:", "  bag_form: {title: Bag, fields: {lot: {type: text}}}\norders:")
)


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def opened(where: Path | None, clock: Clock) -> Engine:
    engine = Engine.open(where, clock=clock, sites=[Site("main", "America/Los_Angeles"), Site("b")])
    engine._library = Files(LIBRARY)
    return engine


@pytest.fixture(params=["memory", "sqlite"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "clinic.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(where: Path | None, clock: Clock) -> Iterator[Engine]:
    with opened(where, clock) as engine:
        yield engine


def ordered(
    engine: Engine, name: str, amount: str, patient: str = "P-1", site: str = "main"
) -> str:
    id_ = engine.enroll(name, patient=patient, by=ANN, site=site)
    engine.do(id_, f"order {name}_order", by=DOC, given={"amount": amount})
    return id_


def reason(refused: pytest.ExceptionInfo[Refused]) -> tuple[str, str]:
    found = refused.value.refusal.reasons[0]
    return found.code, found.says


# Caps across programs


def test_two_programs_of_one_patient_share_a_cap_in_their_own_units(engine: Engine) -> None:
    first = ordered(engine, "one", "60 mg")

    with pytest.raises(Refused) as refused:
        ordered(engine, "two", "0.05 g")

    assert reason(refused) == (
        "dose-cap",
        "at most 0.1 g of Ketamine per course: 0 g given, 0.06 g reserved, 0.05 g more wanted",
    )
    other = ordered(engine, "two", "0.05 g", patient="P-2")
    assert engine.status(other).orders["two_order"].total == "0.05"
    assert engine.status(first).orders["one_order"].total == "60"


def test_what_one_program_gave_counts_in_the_other_also_after_its_end(engine: Engine) -> None:
    first = ordered(engine, "one", "60 mg")
    engine.do(first, "start drip", by=ANN)
    engine.do(first, "dose drip", by=ANN, given={"amount": "45 mg"})
    engine.do(first, "leave against_advice", by=ANN)

    with pytest.raises(Refused) as refused:
        ordered(engine, "two", "60 mg")

    assert "0.045 g given, 0 g reserved" in reason(refused)[1]
    ordered(engine, "two", "55 mg", patient="P-1")


def test_of_two_programs_that_order_at_the_same_time_only_one_gets_the_rest(
    tmp_path: Path,
) -> None:
    """What another process has just reserved is read anew before anything is written."""
    clock, file = Clock(), tmp_path / "clinic.db"
    with opened(file, clock) as here, opened(file, clock) as there:
        first = here.enroll("one", patient="P-1", by=ANN)
        second = there.enroll("two", patient="P-1", by=ANN)
        race = _Race(
            here, lambda: there.do(second, "order two_order", by=DOC, given={"amount": "60 mg"})
        )

        with pytest.raises(Refused) as refused:
            race.do(first, "order one_order", by=DOC, given={"amount": "60 mg"})

        assert reason(refused)[0] == "dose-cap"
        assert race.conflicts == 1


class _Race:
    """An engine beside which somebody else is faster, once, after it has read and decided."""

    def __init__(self, engine: Engine, other: Any) -> None:
        self.engine, self.other, self.conflicts = engine, other, 0
        self.append = engine.journal.append
        engine.journal.append = self._late  # type: ignore[method-assign]

    def _late(self, *args: Any, **how: Any) -> Receipt:
        other, self.other = self.other, None
        if other is not None:
            other()
        try:
            return self.append(*args, **how)
        except Conflict:
            self.conflicts += 1
            raise

    def do(self, *args: Any, **how: Any) -> object:
        return self.engine.do(*args, **how)


def test_the_streams_around_are_what_their_entries_say(engine: Engine) -> None:
    engine.receive("ketamine", "K1", "500 mg", by=BEN)
    id_ = ordered(engine, "one", "60 mg")
    engine.do(id_, "draw drip", by=ANN, given={"amount": "60 mg", "lot": "K1"})
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "45 mg"})
    engine.do(id_, "waste drip", by=ANN, given={"amount": "5 mg"})

    shelf, record = Cupboard(), PatientRecord()
    for entry in engine.journal.read("cupboard:main"):
        shelf = cupboard.evolve(shelf, e.decode(entry.body, entry.values))
    for entry in engine.journal.read("patient:P-1"):
        record = patients.evolve(record, e.decode(entry.body, entry.values))

    assert shelf == engine.cupboard()
    assert record == engine._beside("patient", "P-1")
    assert (shelf.version, len(shelf.out)) == (4, 1)


def test_a_release_waits_for_the_ledger(engine: Engine) -> None:
    engine.receive("ketamine", "K1", "500 mg", by=BEN)
    id_ = ordered(engine, "one", "60 mg")
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "draw drip", by=ANN, given={"amount": "60 mg", "lot": "K1"})
    engine.do(id_, "dose drip", by=ANN, given={"amount": "45 mg"})
    refusal = engine.why(id_, "release drip", by=ANN)
    assert refusal is not None
    assert [each.code for each in refusal.reasons] == ["ledger-open"]
    engine.do(id_, "waste drip", by=ANN, given={"amount": "15 mg"})
    engine.do(id_, "witness waste drip", by=BEN)
    engine.do(id_, "release drip", by=ANN)
    assert engine.cupboard().out == {}
    assert engine.cupboard("b").lots == {}


# The cupboards of the sites


def test_a_recall_finds_who_got_what_of_a_lot_at_any_site(engine: Engine) -> None:
    for site, patient in (("main", "P-1"), ("b", "P-2")):
        engine.receive("ketamine", "K1", "500 mg", by=BEN, site=site, supplier="W")
        engine.receive("ketamine", "K2", "500 mg", by=BEN, site=site)
        id_ = ordered(engine, "one", "60 mg", patient, site)
        engine.do(id_, "start drip", by=ANN)
        engine.do(id_, "draw drip", by=ANN, given={"amount": "45 mg", "lot": "K1"})
        engine.do(id_, "dose drip", by=ANN, given={"amount": "45 mg"})
    engine.receive("midazolam", "K1", "50 mg", by=BEN)

    found = engine.lots("K1", "Ketamine")

    got = [
        (x.event.patient, x.event.amount, x.stream)
        for x in found
        if isinstance(x.event, e.LotUsed) and x.event.what == "given"
    ]
    assert got == [("P-1", "45", "cupboard:main"), ("P-2", "45", "cupboard:b")]
    assert [x.position for x in found] == sorted(x.position for x in found)
    assert len(engine.lots("K1")) == len(found) + 1
    assert engine.lots("K9") == ()


def test_a_recall_finds_who_got_a_lot_that_only_the_check_of_the_bag_names(engine: Engine) -> None:
    id_ = ordered(engine, "bags", "60 mg", "P-1", "main")
    engine.do(id_, "arrive drip", by=ANN)
    engine.record(id_, "bag", {"lot": "A17"}, by=ANN)
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "60 mg"})

    (found,) = engine.lots("A17")

    assert isinstance(found.event, e.LotUsed)
    assert (found.event.patient, found.event.amount) == ("P-1", "60")


def used(engine: Engine, lot: str) -> list[tuple[str, str, str, str]]:
    """What was done with a lot: for whom, how much, and by which word."""
    events = (x.event for x in engine.lots(lot))
    return [(x.patient, x.what, x.amount, x.manner) for x in events if isinstance(x, e.LotUsed)]


def on_hand(engine: Engine, lot: str) -> str:
    kept = engine.cupboard().lot("NAD+", lot)
    assert kept is not None
    return kept.on_hand


def bagged(engine: Engine, lot: str, *, after: bool = False) -> str:
    """A patient who was given 60 mg; the check of the bag was recorded before or after it."""
    for each in ("A17", "A18"):
        engine.receive("NAD+", each, "500 mg", by=BEN, expires=NOON.date())
    id_ = ordered(engine, "bags", "60 mg", "P-1", "main")
    engine.do(id_, "arrive drip", by=ANN)
    if not after:
        engine.record(id_, "bag", {"lot": lot}, by=ANN)
        engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "40 mg", "last": False})
    engine.do(id_, "end dosing drip", by=ANN, given={"amount": "60 mg"})
    if after:
        engine.record(id_, "bag", {"lot": lot}, by=ANN)
    return id_


@pytest.mark.parametrize("over", [False, True])
def test_a_recall_finds_the_patient_by_the_lot_that_a_correction_names_and_by_the_first(
    engine: Engine, over: bool
) -> None:
    id_ = bagged(engine, "A17")
    if over:
        engine.do(id_, "release drip", by=ANN, signed=True)

    change = {"values": {"lot": "A18"}, "reason": "misread"}
    engine.do(id_, "correct bag", given=change, by=ANN, command_id="c")
    engine.do(id_, "correct bag", given=change, by=ANN, command_id="c")

    assert used(engine, "A18") == [("P-1", "used", "60", "recorded as lot A17")]
    assert used(engine, "A17") == [
        ("P-1", "used", "40", ""),
        ("P-1", "used", "20", ""),
        ("P-1", "corrected", "60", "it was lot A18"),
    ]
    assert (on_hand(engine, "A17"), on_hand(engine, "A18")) == ("500", "440")
    given = [x.event for x in engine.history(id_) if isinstance(x.event, e.DoseGiven)]
    assert [x.lot for x in given] == ["A17", "A17"]  # the original stays
    assert verify(engine.journal).faults == ()


def test_a_lot_that_is_corrected_twice_is_the_last_one_and_the_next_dose_is_of_it(
    engine: Engine,
) -> None:
    id_ = ordered(engine, "bags", "60 mg", "P-1", "main")
    engine.do(id_, "arrive drip", by=ANN)
    engine.record(id_, "bag", {"lot": "A17"}, by=ANN)
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "40 mg", "last": False})

    for lot in ("A18", "A17", "A19"):
        change = {"values": {"lot": lot}, "reason": "misread"}
        engine.do(id_, "correct bag", given=change, by=ANN)
    engine.do(id_, "end dosing drip", by=ANN, given={"amount": "60 mg"})

    assert used(engine, "A19") == [
        ("P-1", "used", "40", "recorded as lot A17"),
        ("P-1", "used", "20", ""),
    ]
    assert [x[1] for x in used(engine, "A17")] == ["used", "corrected", "used", "corrected"]


def test_what_was_given_of_another_lot_than_the_check_names_is_not_corrected_with_it(
    engine: Engine,
) -> None:
    id_ = ordered(engine, "bags", "60 mg", "P-1", "main")
    engine.do(id_, "arrive drip", by=ANN)
    engine.record(id_, "bag", {"lot": "A17"}, by=ANN)
    engine.do(id_, "start drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "60 mg", "lot": "N7"})

    change = {"values": {"lot": "A18"}, "reason": "misread"}
    engine.do(id_, "correct bag", given=change, by=ANN)

    assert used(engine, "A18") == []
    assert used(engine, "N7") == [("P-1", "used", "60", "")]


def test_the_lot_that_was_said_and_recorded_alike_is_corrected_as_one(engine: Engine) -> None:
    id_ = ordered(engine, "bags", "60 mg", "P-1", "main")
    engine.do(id_, "arrive drip", by=ANN)
    engine.do(id_, "dose drip", by=ANN, given={"amount": "40 mg", "last": False})
    engine.do(id_, "dose drip", by=ANN, given={"amount": "20 mg", "lot": "A17"})
    engine.record(id_, "bag", {"lot": "A17"}, by=ANN)

    change = {"values": {"lot": "A18"}, "reason": "misread"}
    engine.do(id_, "correct bag", given=change, by=ANN)

    assert used(engine, "A18") == [("P-1", "used", "60", "recorded as lot A17")]


def test_a_correction_that_names_the_same_lot_moves_nothing(engine: Engine) -> None:
    id_ = bagged(engine, "A17")

    earlier = NOON - timedelta(minutes=5)
    engine.do(id_, "correct bag", given={"reason": "wrong time"}, by=ANN, occurred=earlier)

    assert [x[1] for x in used(engine, "A17")] == ["used", "used"]
    assert on_hand(engine, "A17") == "440"


def test_a_recall_finds_whom_a_check_of_the_bag_names_that_was_told_after_the_dose(
    engine: Engine,
) -> None:
    bagged(engine, "A17", after=True)

    assert used(engine, "A17") == [("P-1", "used", "60", "recorded without a lot")]
    assert on_hand(engine, "A17") == "440"


def test_what_replaces_a_check_that_was_entered_in_error_names_the_lot_of_its_doses(
    engine: Engine,
) -> None:
    id_ = bagged(engine, "A17")
    engine.do(id_, "retract bag", given={"reason": "another patient's"}, by=ANN)
    assert [x[1] for x in used(engine, "A17")] == ["used", "used"]  # nothing else is known yet

    engine.record(id_, "bag", {"lot": "A18"}, by=ANN)

    assert used(engine, "A18") == [("P-1", "used", "60", "recorded as lot A17")]


def test_of_what_a_ledger_counts_a_corrected_lot_changes_no_stock(engine: Engine) -> None:
    for each in ("A16", "A17", "A18"):
        engine.receive("NAD+", each, "500 mg", by=BEN)
    id_ = ordered(engine, "booked", "60 mg", "P-1", "main")
    engine.do(id_, "arrive drip", by=ANN)
    engine.record(id_, "bag", {"lot": "A17"}, by=ANN)
    engine.do(id_, "start drip", by=ANN)
    for each in ("A16", "A17"):  # of two lots, which it was given from the bag says
        engine.do(id_, "draw drip", by=ANN, given={"amount": "30 mg", "lot": each})
    engine.do(id_, "dose drip", by=ANN, given={"amount": "60 mg"})

    change = {"values": {"lot": "A18"}, "reason": "misread"}
    engine.do(id_, "correct bag", given=change, by=ANN)
    engine.do(id_, "release drip", by=ANN, signed=True)

    assert used(engine, "A18") == [("P-1", "used", "60", "recorded as lot A17")]
    assert [on_hand(engine, x) for x in ("A16", "A17", "A18")] == ["470", "470", "500"]
    assert engine.cupboard().out == {}


def test_a_lot_that_had_not_expired_when_it_was_given_has_not_by_being_named_later(
    engine: Engine, clock: Clock
) -> None:
    id_ = bagged(engine, "A17")
    clock.now += timedelta(days=40)

    change = {"values": {"lot": "A18"}, "reason": "misread"}
    engine.do(id_, "correct bag", given=change, by=ANN)

    (entry,) = [x.event for x in engine.lots("A18") if isinstance(x.event, e.LotUsed)]
    assert entry.at == NOON
    noted = [x.event.code for x in engine.history(id_) if isinstance(x.event, e.DeviationNoted)]
    assert "lot-expired" not in noted


def test_what_came_in_twice_under_one_command_came_in_once(engine: Engine) -> None:
    told: list[Happened] = []
    engine.listen(told.append)
    first = engine.receive("ketamine", "K1", "500 mg", by=BEN, command_id="r1")
    again = engine.receive("ketamine", "K1", "500 mg", by=BEN, command_id="r1")
    assert first == again
    assert len(told) == 1
    kept = engine.cupboard().lot("ketamine", "K1")
    assert kept is not None
    assert kept.on_hand == "500"
    with pytest.raises(Refused) as refused:
        engine.receive("ketamine", "K1", "600 mg", by=BEN, command_id="r1")
    assert reason(refused)[0] == "id-reused"


def test_a_lot_is_counted_and_a_wrong_count_refused(engine: Engine) -> None:
    engine.receive("ketamine", "K1", "500 mg", by=BEN, expires=date(2027, 1, 1))
    with pytest.raises(Refused) as refused:
        engine.count("ketamine", "K1", "450 mg", by=BEN)
    assert reason(refused)[0] == "reason-missing"
    (counted,) = engine.count("ketamine", "K1", "450 mg", by=BEN, reason="broken vial")
    assert isinstance(counted, e.StockCounted)
    assert (counted.found, counted.expected) == ("450", "500")


@pytest.mark.parametrize("words", [("keta\ud800mine", "K1"), ("ketamine", 7)])
def test_what_cannot_be_written_and_read_again_is_refused(
    engine: Engine, words: tuple[Any, Any]
) -> None:
    with pytest.raises(Refused):
        engine.receive(*words, "500 mg", by=BEN)
    with pytest.raises(Refused) as refused:
        engine.receive("ketamine", "K1", "500 mg", by=BEN, site="moon")
    assert reason(refused)[0] == "unknown-site"


class _Busy(MemoryJournal):
    """A journal in which somebody else is always faster, or sends the same at the same time."""

    twice = False

    def append(self, appends: Any, **how: Any) -> Receipt:
        if self.twice and appends[0].stream.startswith("cupboard:"):
            self.twice = False
            super().append(appends, **how)
            return super().append(appends, **how)
        if any(isinstance(a, Append) and a.stream.startswith("cupboard:") for a in appends):
            raise Conflict("somebody was faster")
        return super().append(appends, **how)


def test_a_cupboard_that_others_write_to_all_the_time_says_so() -> None:
    with Engine(_Busy(), Files(LIBRARY), Clock()) as engine:
        with pytest.raises(Conflict, match="cupboard main"):
            engine.receive("ketamine", "K1", "500 mg", by=BEN)
        engine.journal.twice = True  # type: ignore[attr-defined]
        (received,) = engine.receive("ketamine", "K1", "500 mg", by=BEN)
        assert isinstance(received, e.StockReceived)


# On the command line


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES", "KAT_PROGRAMS"):
        monkeypatch.delenv(name, raising=False)
    clock = Clock()
    with opened(tmp_path / "clinic.db", clock) as engine:
        engine.receive("ketamine", "K1", "500 mg", by=BEN, supplier="W", expires=date(2027, 1, 31))
        id_ = ordered(engine, "one", "60 mg")
        engine.do(id_, "start drip", by=ANN)
        engine.do(id_, "draw drip", by=ANN, given={"amount": "60 mg", "lot": "K1"})
        engine.do(id_, "dose drip", by=ANN, given={"amount": "45 mg"})
        engine.do(id_, "waste drip", by=ANN, given={"amount": "5 mg"})

    def run(*words: str) -> Result:
        return CliRunner().invoke(kat, list(words))

    return run


def test_the_stock_shows_lots_and_what_is_out(shelf: Any) -> None:
    shown = shelf("stock").output
    assert "K1" in shown
    assert "440 mg" in shown
    assert "60 mg drawn, 45 mg given, 5 mg wasted, 0 mg returned; no witness yet for ann" in shown
    data = json.loads(shelf("stock", "--json").output)
    assert data["lots"][0]["on_hand"] == "440"
    assert next(iter(data["out"].values()))["drawn"] == "60"


def test_lots_come_in_and_are_counted(shelf: Any) -> None:
    by = ["--by", "bo:nurse"]
    came = shelf("receive", "ketamine", "K7", "250 mg", "--expires", "2027-06-30", *by)
    assert came.output == "lot K7 of ketamine: 250 mg received\n"
    counted = shelf("count", "ketamine", "K7", "200 mg", "--reason", "broken", *by, "--json")
    assert json.loads(counted.output)["events"][0]["expected"] == "250"
    assert isinstance(shelf("count", "ketamine", "K7", "1 mg", *by).exception, Refused)
    plain = shelf("receive", "NAD+", "N1", "5 g", *by)
    assert plain.exit_code == 0


def test_a_lot_tells_which_patient_got_it(shelf: Any) -> None:
    told = shelf("lots", "K1").output
    assert "500 mg received" in told
    assert "45 mg given, patient P-1" in told
    entries = json.loads(shelf("lots", "K1", "--json").output)["entries"]
    assert len(entries) == 4
    Path("sites.yaml").write_text("other: {zone: UTC}\n")
    assert "500 mg received" in shelf("lots", "K1").output


def test_the_ledger_of_controlled_drugs_has_what_its_record_must_hold(shelf: Any) -> None:
    by = ["--by", "bo:nurse"]
    vial = ["--form", "solution for injection", "--strength", "50 mg/mL", "--container", "vial"]
    of = ["--schedule", "III", "--containers", "2", "--supplier", "W, 1 Main St, RW0000001"]
    shelf("receive", "ketamine", "K9", "1 g", *vial, *of, "--witness", "ann", *by)
    shelf("receive", "NAD+", "N1", "5 g", *by)
    shelf("count", "ketamine", "K9", "0.9 g", "--reason", "to a disposer", "--witness", "ann", *by)

    told = shelf("ledger").output

    assert "lot K9 of ketamine: 1 g received in 2 containers from W, 1 Main St" in told
    assert "0.9 g found, 1 expected (to a disposer), before ann" in told
    assert "[solution for injection, 50 mg/mL, vial]" in told
    assert "45 mg given, patient P-1" in told
    assert "NAD+" not in told
    data = json.loads(shelf("ledger", "--schedule", "III", "--json").output)["entries"]
    assert {each["event"]["drug"] for each in data} == {"ketamine"}
    assert json.loads(shelf("ledger", "--schedule", "II", "--json").output)["entries"] == []
    assert json.loads(shelf("ledger", "--drug", "NAD+", "--json").output)["entries"] == []


def test_a_status_shows_the_order_in_force(tmp_path: Path, shelf: Any) -> None:
    with opened(tmp_path / "clinic.db", Clock()) as engine:
        id_ = next(iter(engine.census())).enrollment
        engine._clock = lambda: NOON + timedelta(hours=1)
    shown = shelf("status", id_, "--now", "2026-03-02T21:00").output
    assert "Order one_order.1: 60 mg, until" in shown


# Duplicates


def test_two_ids_of_one_patient_have_one_cumulative_dose_until_they_are_taken_apart(
    engine: Engine,
) -> None:
    first = ordered(engine, "one", "60 mg", patient="P-1")
    engine.do(first, "start drip", by=ANN)
    engine.do(first, "dose drip", by=ANN, given={"amount": "45 mg"})
    second = ordered(engine, "two", "50 mg", patient="P-2")
    engine.merge("P-1", "P-2", by=DOC, reason="one passport")

    with pytest.raises(Refused) as refused:
        engine.do(second, "order two_order", by=DOC, given={"amount": "60 mg"})

    assert reason(refused)[0] == "dose-cap"
    assert "0.045 g given" in reason(refused)[1]
    engine.unmerge("P-1", "P-2", by=DOC, reason="twins")
    engine.do(second, "order two_order", by=DOC, given={"amount": "60 mg"})
