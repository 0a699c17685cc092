"""People at the engine: shifts, the roster, readers, signatures and the host's authentication."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kat_workflow import Actor, Conflict, Engine, Refused, Site
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Act, Sign
from kat_workflow.enrollment.reading import WITHHELD
from kat_workflow.enrollment.roster import Roster
from kat_workflow.errors import Refusal
from kat_workflow.journal import Append, ItemRow
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.journal.sqlite import SqliteJournal
from kat_workflow.language import Files, Folder
from kat_workflow.scenarios import BadScenario, find, load_scenario, run

EVENING = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN = Actor("ann", {"nurse"}, "Ann Archer, RN")
BO = Actor("bo", {"nurse"})
DEE = Actor("dee", {"doctor"}, "Dr. Dee Dorn")
THEA = Actor("thea", {"therapist"})

WARD = """\
language: 1
program: ward
version: "1.0.0"
title: Ward
decided_by: [doctor]
hold_by: [doctor]
roles: {nurse: Nurse, doctor: Doctor, therapist: Therapist, patient: Patient}
sources:
  practice: {title: Practice, trust: C}
forms:
  vitals:
    title: Vitals
    any_time: true
    fields: {systolic: {type: integer, unit: mmHg, from: 50, to: 300}}
  talk: {title: Talk, fields: {text: {type: text}, calm: {type: yes_no}}}
start: stay
phases:
  stay:
    admits: true
    steps:
      check:
        by: [nurse]
        record: vitals
        source: practice
        due: 30 min
        every: [{interval: 4 h, when: always}]
      talk_note:
        by: [therapist]
        record: talk
        read_by: [therapist]
        signed: true
        witnessed_by: [nurse]
      plan: {by: [doctor], record: vitals, signed: true, after: [talk_note]}
    next: [{to: home, when: talk_note.calm is yes and check.systolic < 200 mmHg}]
excursions:
  ward:
    by: [nurse]
    steps: {back_again: {by: [nurse]}}
    decided_by: [doctor]
    next: [{to: back, when: back_again is done}]
ends:
  home: {kind: completed}
leaving: {by: [doctor]}
"""


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = EVENING

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def clinic(clock: Clock, **how: Any) -> Engine:
    files = Files({"ward/ward.yaml": WARD})
    sites = (Site("main", "UTC"), Site("annex", "UTC"))
    return Engine(how.pop("journal", None) or MemoryJournal(), files, clock, sites, **how)


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    with clinic(clock) as engine:
        yield engine


@pytest.fixture
def patient(engine: Engine) -> str:
    return engine.enroll("ward", patient="P-1", by=ANN, command_id="c-1")


def talked(engine: Engine, patient: str, **how: Any) -> None:
    values = {"text": "a secret", "calm": False}
    engine.record(patient, "talk_note", values, by=THEA, signed=True, **how)


# Shifts


def test_the_list_of_a_night_shift_holds_what_is_left_over_what_is_due_and_what_will_come(
    engine: Engine, clock: Clock, patient: str
) -> None:
    clock.now = EVENING + HOUR  # the check of 18:00 is late

    night = engine.shift("nurse", start=EVENING + HOUR, end=EVENING + 13 * HOUR)

    assert [(i.step, i.timeliness) for i in night.items] == [("check", "late")]
    assert [i.opens for i in night.coming] == [
        EVENING + 4 * HOUR,
        EVENING + 8 * HOUR,
        EVENING + 12 * HOUR,
    ]
    assert night.coming[0].due == EVENING + timedelta(hours=4, minutes=30)
    assert {i.timeliness for i in night.coming} == {"early"}


def test_a_shift_that_begins_later_lists_only_what_will_open_in_it(
    engine: Engine, patient: str
) -> None:
    morning = engine.shift("nurse", start=EVENING + 8 * HOUR, end=EVENING + 9 * HOUR)

    assert [i.opens for i in morning.coming] == [EVENING + 8 * HOUR]


def test_what_is_due_after_the_shift_is_the_next_ones(engine: Engine, patient: str) -> None:
    assert engine.shift("nurse", start=EVENING - HOUR, end=EVENING).items == ()


def test_a_shift_of_many_patients_is_read_page_by_page(engine: Engine) -> None:
    ids = [engine.enroll("ward", patient=f"P-{n}", by=ANN) for n in range(60)]

    night = engine.shift("nurse", start=EVENING, end=EVENING + 4 * HOUR)

    assert sorted(i.enrollment for i in night.items) == sorted(ids)


def test_everything_a_nurse_has_taken_on_is_handed_over_to_the_next(
    engine: Engine, clock: Clock, patient: str
) -> None:
    ids = [patient, *(engine.enroll("ward", patient=f"P-{n}", by=ANN) for n in range(2, 60))]
    for id_ in ids:
        engine.do(id_, "claim check", by=ANN)
    assert len(engine.worklist(person="ann", limit=99).items) == 59
    assert engine.worklist("nurse", person="").items == ()

    assert engine.hand_over("bo", by=ANN) == 59

    assert engine.worklist(person="ann").items == ()
    handed = engine.shift("nurse", start=EVENING, end=EVENING + HOUR, person="bo").items
    assert {(i.assigned, i.handed_by) for i in handed} == {("bo", "ann")}
    assert {
        (i.assigned, i.handed_by) for i in engine.status(patient).items if i.step == "check"
    } == {("bo", "ann")}
    assert engine.hand_over("bo", by=ANN) == 0


def test_what_was_done_meanwhile_does_not_keep_the_rest_from_being_handed_over(
    engine: Engine, patient: str
) -> None:
    other = engine.enroll("ward", patient="P-2", by=ANN)
    engine.do(other, "claim check", by=ANN)
    stream, version = f"enrollment:{patient}", engine.enrollment(patient).version
    stale = ItemRow("gone", stream, "main", ("nurse",), EVENING, assigned="ann")
    engine.journal.append(
        [Append(stream, version, items=(stale,))],
        command="c", digest="d", recorded=EVENING, person="ann", role="nurse",
    )  # fmt: skip

    assert engine.hand_over("bo", by=ANN) == 1
    with pytest.raises(Refused, match="bad-phrase"):
        engine.hand_over("\ud800", by=BO)


# The roster


def cover(engine: Engine, **how: Any) -> str:
    given = {"until": EVENING + 12 * HOUR, "reason": "night duty", "by": DEE, **how}
    return engine.grant_cover("bo", "doctor", **given)


def test_a_cover_lets_somebody_act_at_that_site_until_it_ends(
    engine: Engine, clock: Clock, patient: str
) -> None:
    with pytest.raises(Refused, match="wrong-role"):
        engine.do(patient, "hold", given={"reason": "x"}, by=BO)
    cover(engine, acting_for="dee")

    engine.do(patient, "hold", given={"reason": "x"}, by=BO)

    acted = [x.event for x in engine.history(patient) if isinstance(x.event, e.ActedFor)]
    assert [(a.person, a.role, a.acting_for) for a in acted] == [("bo", "doctor", "dee")]
    clock.now += 12 * HOUR
    with pytest.raises(Refused, match="wrong-role"):
        engine.do(patient, "lift", by=BO)


def test_a_cover_at_one_site_is_none_at_another(engine: Engine) -> None:
    cover(engine, site="annex")
    away = engine.enroll("ward", patient="P-9", by=BO, site="annex")
    here = engine.enroll("ward", patient="P-8", by=BO)

    engine.do(away, "hold", given={"reason": "x"}, by=BO)
    with pytest.raises(Refused, match="wrong-role"):
        engine.do(here, "hold", given={"reason": "x"}, by=BO)


def test_in_cover_somebody_may_enroll_at_that_site(engine: Engine) -> None:
    engine.grant_cover("cleo", "doctor", by=DEE, until=EVENING + HOUR, reason="x", site="annex")

    assert engine.enroll("ward", patient="P-7", by=Actor("cleo"), site="annex")
    with pytest.raises(Refused, match="wrong-role"):
        engine.enroll("ward", patient="P-7", by=Actor("cleo"))


def test_a_cover_sent_again_is_the_same_and_the_roster_tells_who_covers(
    engine: Engine, clock: Clock
) -> None:
    heard: list[Any] = []
    engine.listen(heard.append)
    first = cover(engine, command_id="k-1")
    clock.now += HOUR

    assert cover(engine, command_id="k-1") == first
    assert list(engine.roster().covers) == [first]
    assert [x.stream for x in heard] == ["roster:main"]
    assert engine.roster("annex") == Roster()


def test_a_cover_is_ended_before_its_time(engine: Engine, patient: str) -> None:
    id_ = cover(engine)

    engine.revoke_cover(id_, by=BO, command_id="r-1")
    engine.revoke_cover(id_, by=BO, command_id="r-1")

    with pytest.raises(Refused, match="wrong-role"):
        engine.do(patient, "hold", given={"reason": "x"}, by=BO)
    with pytest.raises(Refused, match="unknown-cover"):
        engine.revoke_cover(id_, by=BO)


def test_whoever_holds_a_role_in_cover_cannot_pass_it_on(engine: Engine) -> None:
    with pytest.raises(Refused, match="wrong-role"):
        cover(engine, by=Actor("eve", {"nurse"}, covers={"doctor": "dee"}))
    with pytest.raises(Refused, match="wrong-role"):
        cover(engine, by=Actor("dee", {"doctor"}, until={"doctor": EVENING}))


def test_a_cover_without_a_zone_or_with_a_word_that_is_no_text_is_refused(engine: Engine) -> None:
    with pytest.raises(Refused, match="naive-instant"):
        cover(engine, until=datetime(2026, 3, 3))
    with pytest.raises(Refused, match="naive-instant"):
        cover(engine, since=datetime(2026, 3, 3))
    with pytest.raises(Refused, match="bad-phrase"):
        cover(engine, reason="\ud800")
    with pytest.raises(Refused, match="unknown-site"):
        cover(engine, site="moon")


class Busy(MemoryJournal):
    """A journal in which somebody else is always (or `times` times) faster on the roster."""

    times = 0

    def append(self, appends: Any, **how: Any) -> Any:
        if self.times and appends[0].stream.startswith("roster:"):
            self.times -= 1
            raise Conflict("somebody was faster")
        return super().append(appends, **how)


def test_a_roster_that_others_write_to_is_read_again(clock: Clock) -> None:
    journal = Busy()
    with clinic(clock, journal=journal) as engine:
        journal.times = 2
        assert cover(engine)
        journal.times = 1000
        with pytest.raises(Conflict, match="roster"):
            cover(engine)


def test_a_roster_without_its_row_is_read_from_its_entries(engine: Engine) -> None:
    id_ = cover(engine)
    revoked, _ = e.encode(e.CoverRevoked("cover-x", "dee", EVENING))

    engine.journal.append(
        [Append("roster:main", 1, (revoked,))],
        command="c", digest="d", recorded=EVENING, person="dee", role="doctor",
    )  # fmt: skip

    assert list(engine.roster().covers) == [id_]


# Who reads


def test_a_nurse_reads_that_a_talk_took_place_and_not_what_was_said(
    engine: Engine, patient: str
) -> None:
    talked(engine, patient)

    def texts(by: Actor | None) -> list[object]:
        return [
            x.event.values["text"]
            for x in engine.history(patient, by=by)
            if isinstance(x.event, e.ObservationRecorded)
        ]

    assert texts(None) == texts(THEA) == ["a secret"]
    assert texts(ANN) == [WITHHELD]
    assert texts(Actor("thea", {"therapist"}, until={"therapist": EVENING + HOUR})) == ["a secret"]


def test_whoever_only_witnessed_it_is_shown_no_hash_of_what_was_said(
    engine: Engine, patient: str
) -> None:
    talked(engine, patient)
    engine.do(patient, "witness talk_note", by=ANN)

    def hashes(by: Actor) -> list[str]:
        events = (x.event for x in engine.history(patient, by=by))
        return [x.content for x in events if isinstance(x, e.Signed) and x.person == "ann"]

    assert hashes(ANN) == [""]  # a few possible answers could be tried out by it
    assert len(hashes(THEA)[0]) == 64


def test_a_patient_reads_their_own_history_and_nobody_elses(engine: Engine, patient: str) -> None:
    assert engine.history(patient, by=Actor("P-1", {"patient"}))
    assert engine.status(patient, by=Actor("P-1", {"patient"})).patient == "P-1"
    for read in (engine.history, engine.status):
        with pytest.raises(Refused, match="another-patient"):
            read(patient, by=Actor("P-2", {"patient"}))


ONE_PATIENT: dict[str, Callable[[Engine, str, Actor], object]] = {
    "status": lambda engine, it, by: engine.status(it, by=by),
    "status known then": lambda engine, it, by: engine.status(it, by=by, known_at=EVENING),
    "enrollment": lambda engine, it, by: engine.enrollment(it, by=by),
    "as_known_at": lambda engine, it, by: engine.as_known_at(it, EVENING, by=by),
    "as_true_at": lambda engine, it, by: engine.as_true_at(it, EVENING, by=by),
    "records": lambda engine, it, by: engine.records(it, by=by),
    "signatures": lambda engine, it, by: engine.signatures(it, by=by),
    "history": lambda engine, it, by: engine.history(it, by=by),
    "suggestions": lambda engine, it, by: engine.suggestions(it, by=by),
    "patient": lambda engine, it, by: engine.patient("P-1", by=by),
}
"""Every question about one patient whose answer could hold what somebody recorded."""


@pytest.mark.parametrize("question", ONE_PATIENT)
def test_what_was_said_in_confidence_is_in_no_answer_to_whoever_may_not_read_it(
    engine: Engine, patient: str, question: str
) -> None:
    ask = ONE_PATIENT[question]
    values = {"text": "canary one", "calm": False}
    engine.record(patient, "talk_note", values, by=THEA, signed=True)
    engine.do(patient, "witness talk_note", by=ANN)
    changed = {"values": {"text": "canary two"}, "reason": "canary three"}
    engine.do(patient, "correct talk_note", given=changed, by=THEA, signed=True)
    engine.do(patient, "witness talk_note", by=ANN)
    engine.do(patient, "addend talk_note", given={"text": "canary four"}, by=THEA)
    engine.do(patient, "offer ward", by=DEE)
    other = engine.enroll("ward", patient="P-1", by=ANN)

    for it in (patient, other):
        assert "canary" not in repr(ask(engine, it, ANN))
        assert "'calm': False" not in repr(ask(engine, it, ANN))
    engine.do(patient, "retract talk_note", given={"reason": "canary five"}, by=THEA)
    assert "canary" not in repr(ask(engine, patient, ANN))


@pytest.mark.parametrize("question", ONE_PATIENT)
def test_no_question_about_a_patient_is_answered_to_another_patient_or_by_what_has_expired(
    engine: Engine, patient: str, question: str
) -> None:
    ask = ONE_PATIENT[question]

    ask(engine, patient, Actor("P-1", {"patient"}))
    with pytest.raises(Refused, match="another-patient"):
        ask(engine, patient, Actor("P-2", {"patient"}))
    with pytest.raises(Refused, match="credential-expired"):
        ask(engine, patient, Actor("thea", {"therapist"}, until={"therapist": EVENING}))


DRIP_BESIDE = """\
gates:
  steady: {says: The pressure is steady, when: check.systolic < 200 mmHg}
sessions:
  drip: {by: [nurse, patient], ready: [steady], release: {earliest: 0 min, signed_by: [nurse]}}
forms:
"""
DRIP_STEPS = """\
      water: {by: [nurse, patient], session: drip}
      diary:
        by: [nurse, patient]
        record: talk
        only_if: talk_note.calm is yes or check.systolic < 200 mmHg
    next: [{to: home
"""
DRIP = (
    WARD.replace("program: ward", "program: drip-ward")
    .replace("forms:\n", DRIP_BESIDE, 1)
    .replace("    next: [{to: home", DRIP_STEPS.rstrip(), 1)
)
"""A ward where a pressure of 217 keeps a session and a diary closed, and a patient may do both."""


@pytest.mark.parametrize("phrase", ["start drip", "record diary", "book drip", "go home"])
def test_another_patient_who_acts_is_told_who_they_are_and_nothing_of_this_one(
    clock: Clock, phrase: str
) -> None:
    with Engine(MemoryJournal(), Files({"drip-ward/drip-ward.yaml": DRIP}), clock) as engine:
        patient = engine.enroll("drip-ward", patient="P-1", by=ANN)
        engine.record(patient, "check", {"systolic": 217}, by=ANN)

        def refused(by: Actor) -> Refusal:
            with pytest.raises(Refused) as told:
                engine.do(patient, phrase, by=by)
            assert engine.why(patient, phrase, by=by) == told.value.refusal
            return told.value.refusal

        for stranger in ("P-2", ""):
            (reason,) = refused(Actor(stranger, {"patient"})).reasons
            assert (reason.code, reason.clauses) == ("another-patient", ())
        if phrase in ("start drip", "record diary"):  # it is one's own record
            assert "217" in refused(Actor("P-1", {"patient"})).explanation
            assert "217" in refused(ANN).explanation
            away = Actor("ann", {"nurse"}, sites=frozenset({"annex"}))
            assert "217" not in repr(refused(away))
            assert "217" in repr(engine.why(patient, phrase, by=away, emergency="fire"))


def test_what_a_hold_would_do_is_not_explained_to_another_patient(
    engine: Engine, patient: str
) -> None:
    with pytest.raises(Refused) as refused:
        engine.foresee_hold(patient, reason="fever", by=Actor("P-2", {"patient"}))

    assert [each.code for each in refused.value.refusal.reasons] == ["another-patient"]


def test_a_patient_is_shown_no_list_that_names_another(engine: Engine, patient: str) -> None:
    engine.enroll("ward", patient="P-2", by=ANN)
    own = Actor("P-1", {"patient"})

    assert engine.worklist(patient="P-1", by=own).items
    assert engine.worklist(enrollment=patient, by=own).items
    for asked in (
        lambda: engine.worklist(by=own),
        lambda: engine.worklist(patient="P-2", by=own),
        lambda: engine.census("main", by=own),
        lambda: engine.shift(start=EVENING, end=EVENING + 8 * HOUR, by=own),
        lambda: engine.patient("P-2", by=own),
    ):
        with pytest.raises(Refused, match="another-patient"):
            asked()


def test_a_patient_of_two_ids_is_shown_what_is_under_both(engine: Engine, patient: str) -> None:
    engine.enroll("ward", patient="P-2", by=ANN)
    engine.merge("P-1", "P-2", by=DEE, reason="one birth certificate")

    for id_ in ("P-1", "P-2"):
        assert len(engine.patient("P-1", by=Actor(id_, {"patient"})).courses) == 2
    assert engine.worklist(patient="P-2", by=Actor("P-1", {"patient"})).items


def test_whoever_may_read_it_is_shown_it_by_every_question(engine: Engine, patient: str) -> None:
    talked(engine, patient)
    engine.do(patient, "witness talk_note", by=ANN)
    engine.do(patient, "offer ward", by=DEE)
    other = engine.enroll("ward", patient="P-1", by=ANN)

    for question in ("enrollment", "as_known_at", "as_true_at", "records", "history"):
        shown = repr(ONE_PATIENT[question](engine, patient, THEA))
        assert "a secret" in shown or "calm" in shown
    for question in ("suggestions", "patient"):
        assert "a secret" in repr(ONE_PATIENT[question](engine, other, THEA))


def test_whose_credential_has_expired_reads_nothing_by_it(engine: Engine, patient: str) -> None:
    with pytest.raises(Refused, match="credential-expired"):
        engine.history(patient, by=Actor("thea", {"therapist"}, until={"therapist": EVENING}))


def test_what_a_patient_waits_for_is_shown_without_what_is_kept_apart(
    engine: Engine, patient: str
) -> None:
    engine.record(patient, "talk_note", {"text": "a secret", "calm": True}, by=THEA, signed=True)
    engine.do(patient, "witness talk_note", by=ANN)
    engine.record(patient, "plan", {"systolic": 120}, by=DEE, signed=True)

    def shown(by: Actor | None) -> list[str]:
        (waiting,) = engine.status(patient, by=by).waiting
        return [clause.value for clause in waiting.clauses]

    assert shown(None) == shown(THEA) == ["yes", ""]
    assert shown(ANN) == [WITHHELD, ""]


def test_who_covers_reads_as_who_is_covered(engine: Engine, patient: str) -> None:
    talked(engine, patient)
    event = engine.history(patient, by=Actor("bo", {"nurse"}, covers={"therapist": "thea"}))

    recorded = next(x.event for x in event if isinstance(x.event, e.ObservationRecorded))
    assert recorded.values["text"] == "a secret"


# Signatures


def test_every_signature_of_an_enrollment_is_held_against_its_record(
    engine: Engine, patient: str
) -> None:
    talked(engine, patient)
    engine.do(patient, "witness talk_note", by=ANN)

    assert [(s.name, s.meaning, s.valid) for s in engine.signatures(patient)] == [
        ("thea", "authored", True),
        ("Ann Archer, RN", "witnessed", True),
    ]


def test_a_record_that_was_tampered_with_is_found_out(clock: Clock, tmp_path: Path) -> None:
    with clinic(clock, journal=SqliteJournal(tmp_path / "clinic.db")) as engine:
        patient = engine.enroll("ward", patient="P-1", by=ANN)
        talked(engine, patient)
        with sqlite3.connect(tmp_path / "clinic.db") as file:
            file.execute(
                'UPDATE kat_entries SET "values" = '
                "CAST(replace(CAST(\"values\" AS TEXT), 'a secret', 'nothing') AS BLOB)"
            )

        assert [s.valid for s in engine.signatures(patient)] == [False]


def test_what_is_recorded_without_an_item_and_is_not_signed_is_kept(
    engine: Engine, patient: str
) -> None:
    engine.record(patient, "plan", {"systolic": 120}, by=DEE)  # it is not open yet

    recorded = [x.event for x in engine.history(patient)]
    (found,) = [x for x in recorded if isinstance(x, e.ObservationRecorded)]
    assert (found.item, found.needs) == ("", ("signature",))


# The host's own check of who signs


def test_whoever_signs_is_asked_by_the_host_and_nobody_else_is(clock: Clock) -> None:
    asked: list[tuple[str, Act]] = []

    def ask(actor: Actor, act: Act) -> bool:
        asked.append((actor.person, act))
        return True

    with clinic(clock, authenticate=ask) as engine:
        patient = engine.enroll("ward", patient="P-1", by=ANN)
        engine.record(patient, "check", {"systolic": 120}, by=ANN)
        engine.record(patient, "talk_note", {"text": "x", "calm": False}, by=THEA)
        assert asked == []
        engine.why(patient, "sign talk_note", by=THEA)
        assert asked == []
        engine.do(patient, "sign talk_note", by=THEA)
        engine.do(patient, "witness talk_note", by=ANN)
        engine.record(patient, "plan", {"systolic": 120}, by=DEE, signed=True)

    assert [person for person, _ in asked] == ["thea", "ann", "dee"]
    assert asked[0][1] == Sign("talk_note")


@pytest.mark.parametrize("fails", [False, True])
def test_whoever_is_not_recognised_signs_nothing(
    clock: Clock, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(*_: object) -> bool:
        if fails:
            raise PermissionError("the card of Zebra7731 was not read")
        return False

    with clinic(clock, authenticate=ask) as engine:
        patient = engine.enroll("ward", patient="P-1", by=ANN)
        with pytest.raises(Refused) as refused:
            talked(engine, patient)

        assert refused.value.code == "not-authenticated"
        assert engine.signatures(patient) == ()
        assert "Zebra" not in caplog.text


def test_a_retry_of_what_was_signed_needs_no_second_authentication(clock: Clock) -> None:
    answers = [True, False, False]
    with clinic(clock, authenticate=lambda *_: answers.pop(0)) as engine:
        patient = engine.enroll("ward", patient="P-1", by=ANN)
        talked(engine, patient, command_id="s-1")

        again = engine.record(
            patient,
            "talk_note",
            {"text": "a secret", "calm": False},
            by=THEA,
            signed=True,
            command_id="s-1",
        )
        assert again.again
        with pytest.raises(Refused, match="not-authenticated"):
            engine.do(patient, "witness talk_note", by=ANN, command_id="w-1")


# Acting first


def test_an_emergency_is_part_of_the_command_and_is_written(engine: Engine, patient: str) -> None:
    assert engine.why(patient, "go ward", by=THEA) is not None
    assert engine.why(patient, "go ward", by=THEA, emergency="a fall") is None

    engine.do(patient, "go ward", by=THEA, emergency="a fall", command_id="g-1")

    assert engine.do(patient, "go ward", by=THEA, emergency="a fall", command_id="g-1").again
    with pytest.raises(Refused, match="id-reused"):
        engine.do(patient, "go ward", by=THEA, emergency="another", command_id="g-1")
    broken = [x.event for x in engine.history(patient) if isinstance(x.event, e.GlassBroken)]
    assert [(b.reason, b.passed) for b in broken] == [
        ("a fall", ("role: sending a patient to ward",))
    ]
    engine.record(patient, "check", {"systolic": 120}, by=THEA, emergency="a fall")


def test_words_that_cannot_be_written_are_refused_wherever_they_stand(
    engine: Engine, patient: str
) -> None:
    values = {"systolic": 120}
    with pytest.raises(Refused, match="bad-phrase"):
        engine.record(patient, "check", values, by=Actor("ann", {"nurse"}, "\ud800"))
    with pytest.raises(Refused, match="bad-phrase"):
        engine.record(patient, "check", values, by=Actor("b", covers={"nurse": "\ud800"}))
    with pytest.raises(Refused, match="bad-phrase"):
        engine.record(patient, "check", values, by=ANN, emergency="\ud800")
    with pytest.raises(Refused, match="bad-phrase"):
        engine.record(patient, "check", values, by=Actor("ann", {"nurse"}, 7))  # type: ignore[arg-type]
    engine.record(patient, "check", values, by=Actor("ann", {"nurse"}, "Änn"))


# Told as stories

STORIES = Path(__file__).parent / "people" / "night-ward"


@pytest.mark.parametrize("path", find(STORIES), ids=lambda path: path.stem)
def test_a_story_of_the_night_ward_is_told_as_it_happens(path: Path) -> None:
    result = run(load_scenario(path), Folder(str(STORIES.parent)))

    assert not result.mismatches, "\n".join(map(str, result.mismatches))


def test_a_person_of_a_story_has_no_other_traits_than_the_known_ones(tmp_path: Path) -> None:
    text = "scenario: x\nstarts: 2026-03-02 09:00\npeople: {ann: {rolls: [nurse]}}\nsteps: []\n"

    with pytest.raises(BadScenario, match='person has no "rolls"'):
        load_scenario(tmp_path / "x.yaml", text)


def test_a_story_notices_whose_an_item_is_not() -> None:
    path = STORIES / "scenarios" / "a-night-is-handed-over.yaml"
    text = path.read_text(encoding="utf-8").replace("{check: bo}", "{check: rita, moon: bo}")

    result = run(load_scenario(path, text), Folder(str(STORIES.parent)))

    assert [m.expected for m in result.mismatches] == ["check with rita", "moon with bo"]
