"""Erasing a patient: what goes, what stays, and that the record can tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from msgspec import Struct

from kat_workflow import Actor, Conflict, Engine, Refused, replay
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.events import PRIVATE
from kat_workflow.journal import Append, Journal, Receipt, open_journal
from kat_workflow.language import Folder, shipped
from kat_workflow.scenarios import load_scenario, run

ROOT = Path(__file__).parents[1]
DPO = Actor("dora", frozenset())
GROUND = "GDPR Art. 17, request 2026-114"
COURSE = ROOT / "programs/ketamine-assisted-therapy/scenarios/straight-way-through.yaml"
SCENARIOS = [
    *sorted(ROOT.glob("programs/*/scenarios/straight-*.yaml")),
    ROOT / "programs/ketamine-assisted-therapy/scenarios/a-pressure-written-down-wrong.yaml",
]


def clinic(journal: Journal, scenario: Path = COURSE) -> Engine:
    """The clinic some time after a scenario of it has ended, on its journal."""
    read = load_scenario(scenario)
    library = Folder(scenario.parents[2], shipped())
    ended = run(read, library, journal).happened[-1].recorded
    later = ended + timedelta(days=40)
    return Engine(journal, library, lambda: later, (read.site, *read.others))


@pytest.fixture(params=["memory", "sqlite", "encrypted"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    where = None if request.param == "memory" else tmp_path / "journal.db"
    keys = {"k1": bytes(32)} if request.param == "encrypted" else None
    with open_journal(where, keys=keys) as opened:
        yield opened


def the_patient(engine: Engine) -> str:
    (stream,) = engine.journal.streams("patient:")
    return stream.partition(":")[2]


def the_course(engine: Engine) -> str:
    (stream,) = engine.journal.streams("enrollment:")
    return stream.partition(":")[2]


# What is private


PUBLIC = {
    # what it is and where it belongs
    "enrollment", "program", "version", "digest", "site", "phase", "place", "region", "row", "item",
    "step", "kind", "about", "outcome", "observation", "form", "corrects", "kept",
    "kept_in", "drops", "evidence", "finishes", "needs", "hold", "gate", "by_command", "timer",
    "late", "end", "to", "heeded", "observations", "consent", "state", "session", "final", "cause",
    "rule", "order", "what", "decision", "record", "gates", "code", "alert", "source", "call",
    "cover", "group", "room", "rooms", "title", "medicine", "carried", "on_hold", "was", "would_be",
    "was_digest", "settled", "counts", "phases", "steps", "forms", "calls",
    # staff
    "person", "by", "role", "roles", "hands", "assigned", "not_by", "as_", "name", "meaning",
    "acting_for", "present", "tell", "staff", "override_by", "cosigner",
    # drugs and their ledger
    "drug", "amount", "unit", "total", "rate", "lot", "ordered", "basis", "weight_unit", "bolus",
    "bolus_over", "infusion_over", "supplier", "found", "expected", "stock",
    "product", "volume", "witness",
    # words of programs and of this library; the ground of an erasure
    "because", "content", "ground",
}  # fmt: skip


def _fields() -> list[tuple[type[Struct], str, object]]:
    found = []
    for event in get_args(e.Event):
        hints = get_type_hints(event, include_extras=True)
        found += [(event, name, hints[name]) for name in event.__struct_fields__]
    return found


def _is_text(type_: object) -> bool:
    """Whether a field can hold text, at any depth."""
    if type_ is str or (isinstance(type_, type) and issubclass(type_, Struct)):
        return True
    return any(_is_text(each) for each in get_args(type_) if each is not type(None))


def test_every_field_that_holds_text_is_private_or_known_to_tell_nothing_of_the_patient() -> None:
    private = {(event, name) for event, name, type_ in _fields() if get_origin(type_) is Annotated}
    texts = {(event, name) for event, name, type_ in _fields() if _is_text(type_)}

    assert private == {(event, name) for event in get_args(e.Event) for name in PRIVATE[event]}
    assert {name for _, name in texts - private} <= PUBLIC
    assert {name for _, name in private} - PUBLIC == {
        "patient", "survivor", "duplicate", "values", "restored", "evaluations", "brings", "takes",
        "weight", "reason", "regardless", "passed", "says", "manner",
    }  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_an_event_is_read_whole_with_its_values_and_folds_without_them(scenario: Path) -> None:
    happened = run(load_scenario(scenario), Folder(scenario.parents[2], shipped())).happened
    told = [each.event for each in happened if each.enrollment == happened[0].enrollment]

    pairs = [e.encode(event) for event in told]
    assert [e.decode(*pair) for pair in pairs] == told

    course, whole = replay(e.decode(body) for body, _ in pairs), replay(told)
    assert (course.patient, course.standing, course.version) == ("", whole.standing, whole.version)
    assert course.visits == whole.visits
    assert course.settled == whole.settled


# A patient is erased


def test_nothing_of_the_patient_is_left_and_the_course_can_be_read(journal: Journal) -> None:
    engine = clinic(journal)
    patient, course = the_patient(engine), the_course(engine)
    before = engine.history(course)

    erasure = engine.erase(patient, by=DPO, ground=GROUND)

    assert erasure.scrubbed
    assert {stream.partition(":")[0] for stream in erasure.streams} == {"enrollment", "patient"}
    status = engine.status(course)
    assert (status.patient, status.standing, status.items) == ("", "discharged", ())
    assert [row.patient for row in engine.census(engine.sites[0].name, everybody=True)] == []
    assert engine.worklist(patient=patient).items == ()
    assert engine.outbox().notifications == ()
    after = engine.history(course)
    assert [type(each.event) for each in after[:-1]] == [type(each.event) for each in before]
    assert [each.person for each in after[:-1]] == [each.person for each in before]
    last = after[-1].event
    assert isinstance(last, e.Erased)
    assert (last.person, last.ground, last.through) == ("dora", GROUND, len(before))


def test_no_byte_of_what_was_erased_is_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        engine = clinic(journal)
        patient = the_patient(engine)
        told = {entry.values for entry in journal.follow(0, 100_000) if entry.values}
        assert patient.encode() in path.read_bytes() + path.with_name("journal.db-wal").read_bytes()

        assert engine.erase(patient, by=DPO, ground=GROUND).scrubbed

        left = path.read_bytes() + path.with_name("journal.db-wal").read_bytes()
    assert len(told) > 30
    assert patient.encode() not in left
    assert [values for values in told if values in left] == []


def test_an_erased_enrollment_takes_no_command_and_says_why(journal: Journal) -> None:
    engine = clinic(journal)
    patient, course = the_patient(engine), the_course(engine)
    engine.erase(patient, by=DPO, ground=GROUND)

    with pytest.raises(Refused) as refused:
        engine.do(course, "hold", by=DPO, given={"reason": "x"})

    assert refused.value.code == "erased"
    for word in ("dora", GROUND, "2026-"):
        assert word in refused.value.explanation
    assert engine.run_due() == 0
    with pytest.raises(Refused) as unknown:
        engine.erase(patient, by=DPO, ground=GROUND)
    assert unknown.value.code == "unknown-patient"


def test_a_lot_is_still_recalled_when_a_patient_who_got_of_it_was_erased(journal: Journal) -> None:
    engine = clinic(journal)
    used = [x.event for x in engine.lots("K42") if isinstance(x.event, e.LotUsed)]

    engine.erase(the_patient(engine), by=DPO, ground=GROUND)

    left = [x.event for x in engine.lots("K42") if isinstance(x.event, e.LotUsed)]
    assert used
    assert [(x.amount, x.at) for x in left] == [(x.amount, x.at) for x in used]
    assert {x.patient for x in left} == {""}


def test_the_course_is_the_same_without_its_state_row(journal: Journal) -> None:
    engine = clinic(journal)
    course = the_course(engine)
    engine.erase(the_patient(engine), by=DPO, ground=GROUND)

    folded = replay(each.event for each in engine.history(course))

    assert folded == engine.enrollment(course)
    assert engine.journal.streams("patient:") != []


def test_a_retried_erasure_says_what_it_did(journal: Journal) -> None:
    engine = clinic(journal)
    patient = the_patient(engine)

    first = engine.erase(patient, by=DPO, ground=GROUND, command_id="r-1")
    length = len(journal.follow(0, 100_000))

    assert engine.erase(patient, by=DPO, ground=GROUND, command_id="r-1") == first
    assert len(journal.follow(0, 100_000)) == length


class Overtaken:
    """A journal to which somebody else writes first, some times."""

    def __init__(self, journal: Journal, times: int) -> None:
        self._journal, self.times = journal, times

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    def append(self, appends: list[Append], **about: object) -> Receipt:
        if self.times:
            self.times -= 1
            raise Conflict("somebody was faster")
        return self._journal.append(appends, **about)  # type: ignore[arg-type]


def test_an_erasure_that_is_overtaken_is_judged_again_and_gives_up_in_the_end() -> None:
    engine = clinic(open_journal())
    engine.journal = Overtaken(engine.journal, 2)  # type: ignore[assignment]
    engine.erase(the_patient(engine), by=DPO, ground=GROUND)

    other = clinic(open_journal())
    patient, course = the_patient(other), the_course(other)
    other.journal = Overtaken(other.journal, 1000)  # type: ignore[assignment]
    with pytest.raises(Conflict, match="try again"):
        other.erase(patient, by=DPO, ground=GROUND)
    version = _a_deviation(other)
    with pytest.raises(Conflict, match=course):
        other.erase_entry(course, version, by=DPO, ground=GROUND)


def test_who_is_in_treatment_is_not_erased_and_a_ground_is_named() -> None:
    journal = open_journal()
    engine = clinic(journal)
    patient = the_patient(engine)
    program = engine.program_of(the_course(engine)).id
    with pytest.raises(Refused) as groundless:
        engine.erase(patient, by=DPO, ground="")
    site = engine.sites[0].name
    engine.enroll(program, patient=patient, by=Actor("ann", frozenset({"nurse"})), site=site)

    with pytest.raises(Refused) as refused:
        engine.erase(patient, by=DPO, ground=GROUND)

    assert groundless.value.code == "ground-missing"
    assert refused.value.code == "in-treatment"


# One entry is erased


def _a_deviation(engine: Engine) -> int:
    """The version of an entry in which somebody wrote a reason."""
    course = the_course(engine)
    stream = f"enrollment:{course}"
    return next(
        each.version
        for each in engine.journal.read(stream)
        if b'"reason"' in each.values and each.version > 1
    )


def test_one_entry_is_erased_and_everything_else_is_as_it_was(journal: Journal) -> None:
    engine = clinic(journal)
    course = the_course(engine)
    version, before = _a_deviation(engine), engine.status(course)
    entries = journal.read(f"enrollment:{course}")

    first = engine.erase_entry(course, version, by=DPO, ground=GROUND, command_id="r-1")

    assert engine.erase_entry(course, version, by=DPO, ground=GROUND, command_id="r-1") == first
    after = journal.read(f"enrollment:{course}")
    changed = [one.version for one, other in zip(entries, after, strict=False) if one != other]
    assert changed == [version]
    assert after[version - 1].values == b""
    assert after[version - 1].link == entries[version - 1].link
    assert engine.status(course) == before
    assert replay(each.event for each in engine.history(course)) == engine.enrollment(course)


@pytest.mark.parametrize(
    ("version", "ground", "code"),
    [(1, GROUND, "no-entry"), (2, GROUND, "no-entry"), (9999, GROUND, "no-entry"),
     (5, "", "ground-missing")],
)  # fmt: skip
def test_what_cannot_be_erased_alone(version: int, ground: str, code: str) -> None:
    engine = clinic(open_journal())

    with pytest.raises(Refused) as refused:
        engine.erase_entry(the_course(engine), version, by=DPO, ground=ground)

    assert refused.value.code == code


def test_what_gates_still_read_is_retracted_before_it_is_erased() -> None:
    engine = clinic(
        open_journal(), ROOT / "programs/detox-4-day/scenarios/straight-way-through.yaml"
    )
    course = the_course(engine)
    read = {o.id for kept in engine.enrollment(course).readings.values() for o in kept}
    version = next(
        each.version
        for each in engine.history(course)
        if isinstance(each.event, e.ObservationRecorded) and each.event.observation in read
    )

    with pytest.raises(Refused) as refused:
        engine.erase_entry(course, version, by=DPO, ground=GROUND)

    assert refused.value.code == "still-read"


def test_a_reader_that_holds_an_old_view_keeps_the_log_and_is_said_to(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        engine = clinic(journal)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM kat_entries").fetchone()

        assert not engine.erase(
            the_patient(engine), by=DPO, ground=GROUND, command_id="r-1"
        ).scrubbed
        other.close()

        assert engine.erase("", by=DPO, ground=GROUND, command_id="r-1").scrubbed
