"""A patient across programs, as a clinic sees it: in memory, in SQLite, at two desks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from two_programs import TEXTS, folder

from kat_workflow import Actor, Attested, Engine, Refused, Site
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.patients import PatientRecord, evolve
from kat_workflow.enrollment.state import replay
from kat_workflow.journal import Append
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import Folder

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NURSE = Actor("nan", {"nurse"})
DOCTOR = Actor("dot", {"doctor"})
ALL = Actor("all", {"nurse", "doctor", "therapist"})
MAIN, COAST = Site("main"), Site("coast", "America/Los_Angeles")


class Clock:
    """A clinic's clock, which somebody sets."""

    at = NOON

    def __call__(self) -> datetime:
        return self.at


Opens = Callable[..., Engine]


@pytest.fixture(params=["memory", "sqlite"])
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    where = None if request.param == "memory" else tmp_path / "clinic.db"
    clock = Clock()
    sites = (MAIN, COAST)
    with Engine.open(where, programs=folder(tmp_path), clock=clock, sites=sites) as engine:
        yield engine


def at(engine: Engine, hours: float) -> None:
    """Time passes."""
    clock = engine._clock
    assert isinstance(clock, Clock)
    clock.at = clock.at + timedelta(hours=hours)


def both(engine: Engine) -> tuple[str, str]:
    house = engine.enroll("house", patient="P", by=NURSE, command_id="h")
    return house, engine.enroll("therapy", patient="P", by=NURSE, command_id="t")


def codes(engine: Engine, enrollment: str, phrase: str, by: Actor = NURSE, **how: Any) -> list[str]:
    with pytest.raises(Refused) as caught:
        engine.do(enrollment, phrase, by=by, **how)
    return [reason.code for reason in caught.value.refusal.reasons]


def record_of(engine: Engine, patient: str) -> PatientRecord:
    """The patient's record, folded from the entries of its stream."""
    state = PatientRecord(patient=patient)
    for entry in engine.journal.read(f"patient:{patient}"):
        state = evolve(state, e.decode(entry.body, entry.values))
    return state


def stands(engine: Engine, *patients: str) -> None:
    """The row beside the entries says what the entries say."""
    for patient in patients:
        assert engine._own_record(patient) == record_of(engine, patient)


# Sessions


def test_one_sedating_session_a_date_whatever_the_program(clinic: Engine) -> None:
    house, therapy = both(clinic)
    clinic.do(house, "start pill", by=NURSE)
    clinic.do(house, "dose pill", by=NURSE, given={"amount": "1 g"})

    assert codes(clinic, therapy, "start day") == ["monitored-elsewhere", "one-sedating-a-day"]
    assert clinic.why(therapy, "start day", by=NURSE) is not None
    at(clinic, 1)
    clinic.do(house, "release pill", by=NURSE)
    assert codes(clinic, therapy, "start day") == ["one-sedating-a-day"]
    at(clinic, 11)
    clinic.do(therapy, "start day", by=NURSE)

    stands(clinic, "P")
    assert [x.session for x in clinic.patient("P").sessions] == ["day.1"]


def test_of_two_desks_that_start_at_once_exactly_one_wins(tmp_path: Path) -> None:
    where, programs = tmp_path / "clinic.db", folder(tmp_path)
    clock = Clock()
    for turn in range(5):
        with (
            Engine.open(where, programs=programs, clock=clock) as one,
            Engine.open(where, programs=programs, clock=clock) as other,
        ):
            patient = f"P{turn}"
            house = one.enroll("house", patient=patient, by=NURSE)
            therapy = one.enroll("therapy", patient=patient, by=NURSE)
            together = Barrier(2)

            def start(engine: Engine, enrollment: str, kind: str, gate: Barrier) -> str:
                gate.wait()
                try:
                    engine.do(enrollment, f"start {kind}", by=NURSE)
                except Refused as refused:
                    return refused.code
                return "started"

            with ThreadPoolExecutor(2) as desks:
                ways = [
                    desks.submit(start, one, house, "pill", together),
                    desks.submit(start, other, therapy, "day", together),
                ]
                answers = sorted(way.result() for way in ways)

            assert answers == ["monitored-elsewhere", "started"]
            assert len(one.patient(patient).sessions) == 1
            stands(one, patient)


class Meanwhile(MemoryJournal):
    """A journal in which somebody else acts just after a patient's record was read."""

    then: Callable[[], object] | None = None

    def row(self, stream: str) -> tuple[int, bytes] | None:
        found = super().row(stream)
        if stream.startswith("patient:") and self.then is not None:
            then, self.then = self.then, None
            then()
        return found


def test_nobody_is_refused_for_what_is_over_meanwhile(tmp_path: Path) -> None:
    journal = Meanwhile()
    with Engine(journal, Folder(str(folder(tmp_path))), Clock()) as engine:
        house, therapy = both(engine)
        engine.do(house, "start drip", by=NURSE)
        journal.then = lambda: engine.do(house, "cancel drip", by=NURSE)

        engine.do(therapy, "start day", by=NURSE)

        assert [x.session for x in engine.patient("P").sessions] == ["day.1"]


def test_a_status_foresees_an_end_that_comes_with_time(tmp_path: Path) -> None:
    """A timer that ends a course writes to the patient's record, which must be read for it."""
    text = TEXTS["therapy"].replace("program: therapy", "program: brief")
    text = text.replace(
        "    next: [{to: late, when: agreed.word is one}]",
        "    admits: true\n    next: [{to: well, when: program day >= 3, at_once: true}, "
        "{to: late, when: agreed.word is one}]",
    )
    (tmp_path / "brief").mkdir()
    (tmp_path / "brief" / "brief.yaml").write_text(text, encoding="utf-8")
    with Engine.open(programs=tmp_path, clock=Clock()) as engine:
        id_ = engine.enroll("brief", patient="P", by=NURSE)
        at(engine, 48)

        assert engine.status(id_).end == "well"
        assert engine.suggestions(id_) == ()
        assert engine.patient("P").courses[0].end == ""
        assert engine.run_due() > 0
        assert engine.patient("P").courses[0].end == "well"


# Holds


def test_a_hold_everywhere_reaches_every_enrollment_and_is_lifted_in_every_one(
    clinic: Engine,
) -> None:
    house, therapy = both(clinic)

    clinic.do(house, "hold fever", by=NURSE, given={"everywhere": True}, command_id="x")

    assert clinic.status(therapy).holds == (f"hold.1@{house}",)
    held = clinic.enrollment(therapy).holds[f"hold.1@{house}"]
    assert (held.person, held.reason) == ("nan", "fever")
    assert clinic.census("main")[0].holds
    assert codes(clinic, therapy, "lift", by=DOCTOR) == ["held-elsewhere"]
    assert [x.hold for x in clinic.patient("P").holds] == ["hold.1"]
    clinic.do(house, "lift", by=NURSE, command_id="y")
    assert clinic.status(therapy).holds == clinic.status(house).holds == ()
    stands(clinic, "P")


def test_an_ordinary_hold_tells_nobody_else(clinic: Engine) -> None:
    house, therapy = both(clinic)

    clinic.do(house, "hold fever", by=NURSE)
    clinic.do(house, "lift", by=NURSE)

    assert not [x for x in clinic.history(therapy) if x.person == "nan" and x.cause != "t"]


def test_a_hold_reaches_a_program_at_a_site_of_another_host(tmp_path: Path) -> None:
    where, programs, clock = tmp_path / "clinic.db", folder(tmp_path), Clock()
    say: dict[str, Any] = {"by": NURSE, "given": {"everywhere": True}, "command_id": "x"}
    with Engine.open(where, programs=programs, clock=clock, sites=(MAIN, COAST)) as whole:
        house = whole.enroll("house", patient="P", by=NURSE)
        therapy = whole.enroll("therapy", patient="P", by=NURSE, site="coast")
        with Engine.open(where, programs=programs, clock=clock, sites=(MAIN,)) as part:
            part.do(house, "hold fever", **say)

        assert whole.enrollment(therapy).holds == {}
        assert whole.status(therapy).holds == (f"hold.1@{house}",)  # seen before any scheduler
        assert codes(whole, therapy, "start day") == ["on-hold"]
        assert list(whole.enrollment(therapy).holds) == [f"hold.1@{house}"]
        assert whole.do(house, "hold fever", **say).again
        assert len(whole.enrollment(therapy).holds) == 1
        stands(whole, "P")


# One patient, several courses


def test_a_readmission_is_a_new_enrollment_and_the_earlier_one_stays_to_be_seen(
    clinic: Engine,
) -> None:
    first = clinic.enroll("house", patient="P", by=NURSE)
    clinic.do(first, "leave against_advice", by=NURSE, given={"reason": "went home"})
    at(clinic, 48)

    second = clinic.enroll("house", patient="P", by=NURSE)

    courses = clinic.patient("P").courses
    assert [(x.enrollment, x.end) for x in courses] == [(first, "against_advice"), (second, "")]
    assert courses[0].ended == NOON
    assert courses[1].began == NOON + timedelta(hours=48)


def test_a_patient_nobody_knows_is_not_shown(clinic: Engine) -> None:
    with pytest.raises(Refused) as caught:
        clinic.patient("moon")
    assert caught.value.code == "unknown-patient"


# Duplicates


def test_two_ids_become_one_patient_and_two_again(clinic: Engine) -> None:
    house = clinic.enroll("house", patient="A", by=NURSE)
    therapy = clinic.enroll("therapy", patient="B", by=NURSE)
    clinic.do(house, "start pill", by=NURSE)
    clinic.do(house, "dose pill", by=NURSE, given={"amount": "1 g"})
    at(clinic, 1)
    clinic.do(house, "release pill", by=NURSE)
    before = record_of(clinic, "A").known, record_of(clinic, "B").known

    view = clinic.merge("A", "B", by=DOCTOR, reason="one birth certificate", command_id="m")

    assert (view.patient, view.merged) == ("A", ("B",))
    assert {(x.enrollment, x.patient) for x in view.courses} == {(house, "A"), (therapy, "B")}
    assert codes(clinic, therapy, "start day") == ["one-sedating-a-day"]
    for each in (house, therapy):
        reviews = [x for x in clinic.status(each).items if x.title == "Review: patient-merged"]
        assert len(reviews) == 1
    assert clinic.merge("A", "B", by=DOCTOR, reason="one birth certificate", command_id="m") == view

    clinic.unmerge("A", "B", by=DOCTOR, reason="twins", command_id="u")
    clinic.unmerge("A", "B", by=DOCTOR, reason="twins", command_id="u")

    assert (record_of(clinic, "A").known, record_of(clinic, "B").known) == before
    for each in (house, therapy):
        reviews = [x for x in clinic.status(each).items if x.title == "Review: patient-parted"]
        assert len(reviews) == 1
    clinic.do(therapy, "start day", by=NURSE)
    stands(clinic, "A", "B")


def test_both_ids_go_on_being_understood(clinic: Engine) -> None:
    clinic.enroll("house", patient="A", by=NURSE)
    clinic.enroll("therapy", patient="B", by=NURSE)
    clinic.enroll("therapy", patient="C", by=NURSE)
    clinic.merge("B", "C", by=DOCTOR, reason="same")
    clinic.merge("A", "B", by=DOCTOR, reason="same")

    third = clinic.enroll("house", patient="C", by=NURSE)

    assert clinic.patient("A") == clinic.patient("B") == clinic.patient("C")
    assert len(clinic.patient("A").courses) == 4
    clinic.do(third, "start pill", by=NURSE)
    assert [x.enrollment for x in clinic.patient("B").sessions] == [third]
    assert {x.session for x in record_of(clinic, "A").known.sessions.values()} == {"pill.1"}
    stands(clinic, "A", "B", "C")
    clinic.unmerge("A", "B", by=DOCTOR, reason="not the same")
    assert clinic.patient("A").sessions == ()
    assert clinic.patient("C").sessions == clinic.patient("B").sessions != ()


def test_a_merge_of_somebody_who_is_in_treatment_once_asks_nobody(clinic: Engine) -> None:
    house = clinic.enroll("house", patient="A", by=NURSE)
    old = clinic.enroll("therapy", patient="B", by=NURSE)
    clinic.do(old, "leave against_advice", by=NURSE, given={"reason": "went home"})

    clinic.merge("A", "B", by=DOCTOR, reason="same")

    assert not [x for x in clinic.status(house).items if x.title.startswith("Review")]


def test_holds_of_either_id_stand_for_both_while_they_are_one(clinic: Engine) -> None:
    house = clinic.enroll("house", patient="A", by=NURSE)
    therapy = clinic.enroll("therapy", patient="B", by=NURSE)
    clinic.do(house, "hold fever", by=NURSE, given={"everywhere": True})
    assert clinic.status(therapy).holds == ()

    clinic.merge("A", "B", by=DOCTOR, reason="same")
    assert clinic.status(therapy).holds == (f"hold.1@{house}",)

    clinic.unmerge("A", "B", by=DOCTOR, reason="twins")
    assert clinic.status(therapy).holds == ()
    assert clinic.status(house).holds == ("hold.1",)


@pytest.mark.parametrize(
    ("survivor", "duplicate", "reason", "code"),
    [
        ("A", "A", "same", "same-patient"),
        ("A", "moon", "same", "unknown-patient"),
        ("", "B", "same", "no-patient"),
        ("A", "B", "", "reason-missing"),
        ("A", "B", "\ud800", "bad-phrase"),
        ("A", 7, "same", "bad-phrase"),
    ],
)
def test_what_cannot_be_merged_is_refused_and_nothing_is_written(
    clinic: Engine, survivor: str, duplicate: Any, reason: str, code: str
) -> None:
    clinic.enroll("house", patient="A", by=NURSE)
    clinic.enroll("house", patient="B", by=NURSE)
    last = clinic.follow()[-1].position

    with pytest.raises(Refused) as caught:
        clinic.merge(survivor, duplicate, by=DOCTOR, reason=reason)

    assert caught.value.code == code
    assert clinic.follow()[-1].position == last


def test_a_merge_is_told_to_whoever_listens(clinic: Engine) -> None:
    clinic.enroll("house", patient="A", by=NURSE)
    clinic.enroll("house", patient="B", by=NURSE)
    heard: list[str] = []
    clinic.listen(lambda x: heard.append(f"{x.stream} {type(x.event).__name__}"))

    clinic.merge("A", "B", by=DOCTOR, reason="same")

    told, heard = heard[:4], heard[4:]
    assert [x.rpartition(" ")[2] for x in told[:2]] == ["IdsChanged", "IdsChanged"]
    assert told[2:] == ["patient:A PatientMerged", "patient:B PatientMerged"]
    assert "ItemOpened" in {x.rpartition(" ")[2] for x in heard}


def test_a_merge_and_a_start_at_once_leave_one_sedating_session(tmp_path: Path) -> None:
    where, programs, clock = tmp_path / "clinic.db", folder(tmp_path), Clock()
    with (
        Engine.open(where, programs=programs, clock=clock) as one,
        Engine.open(where, programs=programs, clock=clock) as other,
    ):
        house = one.enroll("house", patient="A", by=NURSE)
        therapy = one.enroll("therapy", patient="B", by=NURSE)
        one.do(house, "start pill", by=NURSE)
        one.do(house, "dose pill", by=NURSE, given={"amount": "1 g"})
        together = Barrier(2)

        def merges() -> str:
            together.wait()
            one.merge("A", "B", by=DOCTOR, reason="same")
            return "merged"

        def starts() -> str:
            together.wait()
            try:
                other.do(therapy, "start day", by=NURSE)
            except Refused as refused:
                return refused.code
            return "started"

        with ThreadPoolExecutor(2) as desks:
            ways = [desks.submit(merges), desks.submit(starts)]
            answers = [way.result() for way in ways]

        assert answers[1] in ("started", "monitored-elsewhere")
        under_way = {x.session for x in one.patient("B").sessions}
        assert under_way == ({"pill.1", "day.1"} if answers[1] == "started" else {"pill.1"})
        stands(one, "A", "B")


def test_a_row_of_another_version_is_read_from_the_entries(clinic: Engine) -> None:
    both(clinic)
    version = clinic.journal.version("patient:P")
    clinic.journal.append(
        [Append("patient:P", version, (), b"\x93\x02\xa1P\x80")],
        command="z",
        digest="z",
        recorded=NOON,
        person="x",
        role="",
    )

    assert len(clinic.patient("P").courses) == 2


# What was found out elsewhere


def test_a_detox_hands_over_and_a_person_confirms_in_the_next_program(clinic: Engine) -> None:
    first = clinic.enroll("therapy", patient="P", by=NURSE)
    clinic.record(first, "fit", {"points": 7}, by=DOCTOR, signed=True)
    clinic.record(first, "tested", {"result": "negative"}, by=NURSE)
    clinic.do(first, "leave transferred", by=NURSE, given={"reason": "to the next house"})
    clinic.offer(first, "therapy", by=DOCTOR, steps=["fit"], command_id="o")
    assert clinic.offer(first, "therapy", by=DOCTOR, steps=["fit"], command_id="o").again
    assert clinic.why(first, "offer therapy", by=DOCTOR) is None
    at(clinic, 5)

    second = clinic.enroll("therapy", patient="P", by=NURSE)

    (suggestion,) = clinic.suggestions(second)
    assert (suggestion.step, suggestion.program) == ("fit", "therapy")
    assert (suggestion.occurred, suggestion.values) == (NOON, {"points": 7})
    assert clinic.enrollment(second).settled == {}
    clinic.do(second, "adopt fit", by=DOCTOR, signed=True)
    assert clinic.suggestions(second) == ()
    adopted = next(
        x.event for x in clinic.history(second) if isinstance(x.event, e.ObservationRecorded)
    )
    assert (adopted.occurred, adopted.source) == (NOON, suggestion.evaluation)
    assert [x.evaluation.step for x in clinic.patient("P").offered] == ["fit"]
    stands(clinic, "P")


def test_nobody_hands_over_what_was_never_found_out(clinic: Engine) -> None:
    first = clinic.enroll("therapy", patient="P", by=NURSE)

    forged = c.Offer("therapy", (), (e.Evaluation("o1", "fit", "score", "", NOON, {"points": 1}),))
    with pytest.raises(Refused) as caught:
        clinic.handle(first, forged, by=DOCTOR)

    assert caught.value.code == "nothing-to-offer"


FIT = Attested("fit", {"points": 7}, NOON - timedelta(days=9), "County Hospital", signed=True)
TESTED = Attested("tested", {"result": "negative"}, NOON - timedelta(hours=9), "County Hospital")


def test_who_comes_in_the_middle_of_a_course_joins_it_with_what_was_found_out(
    clinic: Engine,
) -> None:
    joining: dict[str, Any] = {
        "patient": "P",
        "phase": "late",
        "reason": "taken over from County Hospital",
        "by": ALL,
        "attested": [FIT, TESTED],
        "admitted_on": date(2026, 2, 22),
        "command_id": "j",
    }

    id_ = clinic.join("therapy", **joining)

    status = clinic.status(id_)
    assert (status.phases, status.day) == (("late",), 9)
    kept = [x.event for x in clinic.history(id_)]
    answered = [x.step for x in kept if isinstance(x, e.ItemSettled) and x.outcome == "done"]
    assert answered == ["fit", "tested"]
    assert [x.code for x in kept if isinstance(x, e.DeviationNoted)] == [
        "admitted-otherwise",
        "moved-past-gates",
    ]
    assert [x.source for x in kept if isinstance(x, e.ObservationRecorded)] == [
        "County Hospital",
        "County Hospital",
    ]
    entries = clinic.history(id_)
    assert clinic.join("therapy", **joining) == id_
    assert clinic.history(id_) == entries


def test_what_was_half_done_of_a_joining_is_finished_by_asking_again(clinic: Engine) -> None:
    wrong = Attested("tested", {"result": "moon"}, NOON, "County Hospital")
    joining: dict[str, Any] = {
        "patient": "P",
        "phase": "late",
        "reason": "taken over",
        "by": ALL,
        "command_id": "j",
    }
    with pytest.raises(Refused):
        clinic.join("therapy", attested=[FIT, wrong], **joining)

    id_ = clinic.join("therapy", attested=[FIT, TESTED], **joining)

    assert clinic.status(id_).phases == ("late",)
    assert len(clinic.patient("P").courses) == 1


def test_where_the_gates_lead_by_themselves_nobody_is_moved(clinic: Engine) -> None:
    agreed = Attested("agreed", {"word": "two"}, NOON, "County Hospital")
    id_ = clinic.join(
        "therapy",
        patient="P",
        phase="course",
        reason="taken over",
        by=ALL,
        attested=[FIT, agreed],
    )

    assert clinic.status(id_).phases == ("course",)
    assert not [x for x in clinic.history(id_) if isinstance(x.event, e.DeviationNoted)]


# Another site


def test_a_transfer_moves_worklist_and_census_and_keeps_the_course(clinic: Engine) -> None:
    house, _ = both(clinic)
    before = {
        x.item: (x.opens, x.due) for x in clinic.worklist(site="main", enrollment=house).items
    }
    wake = clinic.status(house).next_wake

    clinic.do(house, "transfer coast", by=DOCTOR, given={"reason": "a bed is free"})

    assert clinic.worklist(site="main", enrollment=house).items == ()
    after = {x.item: (x.opens, x.due) for x in clinic.worklist(site="coast").items}
    assert set(after) == set(before)
    plan = next(item for item in after if "plan" in item)
    assert after[plan] == before[plan]
    assert [x.enrollment for x in clinic.census("coast")] == [house]
    assert house not in [x.enrollment for x in clinic.census("main")]
    assert clinic.status(house).standing == "active"
    assert clinic.site_of(house) == COAST
    assert clinic.patient("P").courses[0].site == "coast"
    assert wake is not None
    assert clinic.why(house, "transfer main", by=DOCTOR) is None
    assert codes(clinic, house, "transfer moon", by=DOCTOR) == ["unknown-site"]
    stands(clinic, "P")


def test_a_transfer_is_replayed_as_it_happened(clinic: Engine) -> None:
    house, _ = both(clinic)
    clinic.do(house, "transfer coast", by=DOCTOR)
    at(clinic, 30)
    clinic.do(house, "hold rest", by=NURSE)

    assert replay(x.event for x in clinic.history(house)) == clinic.enrollment(house)


# What ships


def test_ketamine_sedates_wherever_its_program_runs() -> None:
    with Engine.open(clock=Clock()) as engine:
        alone = engine.program("ketamine-assisted-therapy").sessions
        inside = engine.program("residential-30-day").sessions

        assert [name for name, kind in alone.items() if kind.sedating] == ["kat_session"]
        assert [name for name, kind in inside.items() if kind.sedating] == ["kat.kat_session"]


def test_whoever_covers_may_transfer_and_the_cover_is_of_the_old_site(clinic: Engine) -> None:
    house, _ = both(clinic)
    clinic.grant_cover(
        "nan", "doctor", by=DOCTOR, until=NOON + timedelta(hours=8), reason="night duty"
    )

    clinic.do(house, "transfer coast", by=NURSE)

    assert clinic.enrollment(house).site == "coast"
    assert "wrong-role" in codes(clinic, house, "transfer main")
