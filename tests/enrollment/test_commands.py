"""What may be asked and told: phrases, and every refusal with its code, its words and a way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import drugs
import pytest
from bedside import Patient, program
from drugs import ordered, weighed
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from roomful import CLINIC, House, Resident
from test_holds import held, stay
from test_items import phase
from test_not_yet import on_the_third_day as _third_day
from test_overrides import asked
from test_rules import _GATED, _LOOP, circle
from test_sessions import _RULES, clinic, under_way
from test_versions import ask, second, staying
from two_programs import house, therapy

import kat_workflow
from kat_workflow import Engine, Refused, Site
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import SYSTEM, Actor, BadPhrase, Command, parse, words
from kat_workflow.enrollment.refusals import DEVIATIONS, REFUSALS
from kat_workflow.enrollment.state import NOBODY, evolve
from kat_workflow.errors import Refusal

HOUR = timedelta(hours=1)

# Phrases

_PHRASES = {
    "record baseline": c.Record("baseline", {}),
    "correct o12": c.Correct("o12"),
    "retract baseline": c.Retract("baseline"),
    "addend baseline": c.Addend("baseline"),
    "sign plan": c.Sign("plan"),
    "cosign plan": c.Sign("plan", cosign=True),
    "witness plan": c.Sign("plan", witness=True),
    "claim plan": c.Claim("plan"),
    "unclaim plan": c.Unclaim("plan"),
    "assign plan": c.Assign("plan", "bo"),
    "hand over all": c.HandOver("all", "bo"),
    "done task": c.Settle("task", "done"),
    "decline task": c.Settle("task", "declined"),
    "skip task": c.Settle("task", "skipped"),
    "miss task": c.Settle("task", "missed"),
    "waive task": c.Settle("task", "waived"),
    "withhold task": c.Settle("task", "withheld"),
    "unable task": c.Settle("task", "unable"),
    "revoke care": c.Revoke("care"),
    "book drip": c.Book("drip"),
    "cancel drip": c.Cancel("drip"),
    "arrive drip": c.Arrive("drip"),
    "start drip": c.Start("drip"),
    "dose drip": c.Dose("drip"),
    "pause drip": c.Pause("drip"),
    "resume drip": c.Resume("drip"),
    "end dosing drip": c.EndDosing("drip"),
    "abort drip": c.Abort("drip"),
    "release drip": c.Release("drip"),
    "go home": c.Go("home"),
    "move ward": c.Move("ward"),
    "override calm": c.Override("calm"),
    "hold": c.Hold(),
    "lift": c.Lift(),
    "transfer north": c.Transfer("north"),
    "change version 1.1.0": c.ChangeVersion("1.1.0"),
    "adopt plan": c.Adopt("plan"),
    "attest plan": c.Attest("plan", {}),
    "offer x": c.Offer("x"),
    "lift hold.2": c.Lift("hold.2"),
    "leave died": c.Leave("died"),
    "join g-1": c.Join("g-1"),
    "drop g-1": c.Drop("g-1"),
    "enroll e-1": c.Enroll("e-1", "P"),
    "order ketamine": c.Order("ketamine"),
    "stop order ketamine": c.StopOrder("ketamine"),
    "check drip": c.Check("drip"),
    "draw drip": c.Draw("drip"),
    "waste drip": c.Waste("drip"),
    "return drip": c.Return("drip"),
    "witness waste drip": c.WitnessWaste("drip"),
    "give calming": c.Give("calming"),
}


@pytest.mark.parametrize("phrase", _PHRASES)
def test_a_phrase_is_an_act_and_an_act_is_that_phrase(phrase: str) -> None:
    act = _PHRASES[phrase]
    more = {"enroll e-1": {"patient": "P"}, "assign plan": {"person": "bo"}}
    more["hand over all"] = more["assign plan"]
    assert parse(phrase, more.get(phrase)) == act
    assert words(act) == phrase


def test_every_verb_is_spoken_for() -> None:
    verbs = {phrase.rpartition(" ")[0] or phrase for phrase in _PHRASES}
    assert verbs | {"admit"} == set(c.VERBS)


def test_a_phrase_is_filled_in_with_values_and_details() -> None:
    assert parse("record baseline", {"systolic": 120}, signed=True) == c.Record(
        "baseline", {"systolic": 120}, signed=True
    )
    assert parse("correct o1", {"systolic": 120, "reason": "typo"}, True) == c.Correct(
        "o1", {"systolic": 120}, "typo", True
    )
    apart = {"values": {"reason": "cough"}, "reason": "misheard"}
    assert parse("correct o1", apart) == c.Correct("o1", {"reason": "cough"}, "misheard")
    assert parse("start drip", {"present": ["nurse"]}) == c.Start("drip", ("nurse",))
    when = datetime(2026, 3, 2, 9).astimezone()
    assert parse("book drip", {"for": when}) == c.Book("drip", when)
    assert parse("hold fire", {"everywhere": True}) == c.Hold("fire", everywhere=True)
    assert parse("offer x", {"steps": ["a"]}) == c.Offer("x", ("a",))
    assert parse("admit 2026-03-02", {"reason": "x"}) == c.Admit(date(2026, 3, 2), "x")
    assert parse("adopt plan", signed=True) == c.Adopt("plan", signed=True)
    assert parse("hold fire alarm") == c.Hold("fire alarm")
    assert parse(" done task ") == c.Settle("task", "done")
    assert parse("assign plan to bo") == c.Assign("plan", "bo")
    assert parse("hand over all to bo") == c.HandOver("all", "bo")


@pytest.mark.parametrize(
    ("phrase", "given_", "says"),
    [
        ("admit tomorrow", {}, "takes a date"),
        ("attest plan", {"values": "much"}, "values as the fields"),
        ("offer x", {"steps": "plan"}, "a list of steps"),
        ("offer x", {"evaluations": []}, "looked up"),
        ("start drip", {"present": "nurse"}, "a list of roles"),
        ("heed x", {}, "verbs are"),
        ("dance baseline", {}, "verbs are"),
        ("record", {}, "record what"),
        ("correct", {}, "correct what"),
        ("retract", {}, "needs a name"),
        ("retract o1", {"systolic": 120}, "takes no systolic"),
        ("start", {}, "needs a name"),
        ("start drip", {"speed": 3}, "takes no speed"),
        ("elapsed timer", {}, "verbs are"),
        ("assign plan", {}, "needs a person"),
        ("hand over", {}, "needs a name"),
        ("hand plan", {}, "verbs are"),
        ("", {}, "verbs are"),
    ],
)
def test_what_is_no_phrase_says_what_one_is(phrase: str, given_: dict[str, Any], says: str) -> None:
    with pytest.raises(BadPhrase, match=says):
        parse(phrase, given_)


def test_the_words_of_a_command_name_no_value() -> None:
    command = Command(
        "c",
        c.Record("baseline", {"systolic": 123}),
        Actor("ann"),
        datetime(2026, 3, 2).astimezone(),
    )
    assert command.words == "record baseline"
    assert words(c.Elapsed("timer:x", "next", "x")) == "elapsed timer:x"
    assert words(c.Admit(date(2026, 3, 2))) == "admit"
    assert words(c.Settle("x", "left")) == "left x"


def test_an_actors_roles_are_a_set_however_they_are_given() -> None:
    assert Actor("ann", ["nurse", "nurse"]) == Actor("ann", {"nurse"})
    assert SYSTEM.roles == frozenset()


# Every refusal

_SIGNED = phase(
    "plan: {by: [nurse], record: note, signed: true}\ntask: {by: [nurse]}\nbody: {by: [nurse], "
    "record: amount}"
)


def _refused(source: str, phrase: str, *before: str, **how: Any) -> Callable[[], Refusal]:
    def ask() -> Refusal:
        p = Patient(program(source))
        for each in before:
            p.do(each, given={"text": "x"} if each.startswith("record") else {})
        return p.refused(phrase, **how)

    return ask


def _on(patient: Callable[[], Patient], phrase: str, **how: Any) -> Callable[[], Refusal]:
    return lambda: patient().refused(phrase, **how)


def _held() -> Patient:
    p = Patient(program(clinic()))
    held(p)
    return p


def _gated() -> Patient:
    p = Patient(program(_GATED))
    p.do("record baseline", systolic=190)
    return p


def _paused() -> Patient:
    p = under_way(clinic(_RULES))
    p.do("record drip.watch", systolic=120, pulse=140)
    return p


def _ended() -> Patient:
    p = Patient(program(clinic()))
    p.do("leave died", by="doctor")
    return p


def _away() -> Patient:
    p = Patient(program(stay("")))
    p.do("go ward")
    return p


def _two() -> Patient:
    two = "one: {by: [nurse], record: score}\ntwo: {by: [nurse], record: note}"
    return Patient(program(phase(two)))


def _noted(*then: tuple[str, dict[str, Any]]) -> Patient:
    """Somebody whose score is recorded as o7."""
    p = _two()
    p.do("record one", points=3)
    assert p.events(e.ObservationRecorded)[0].observation == "o7"
    for phrase, details in then:
        p.do(phrase, given=details)
    return p


def _capped() -> Patient:
    p = under_way(
        clinic("at_most: {times: 1, per: enrollment}\ncounts_when: given > 400 mg\napart: 7 d")
    )
    p.do("end dosing drip", amount="10 mg")
    p.wait("30 min")
    p.do("release drip")
    return p


def _chooses() -> Patient:
    p = Patient(program(stay("", next_="{to: well, when: farewell.word is one}")))
    p.do("record farewell", word="two")
    return p


def _plain() -> Patient:
    return Patient(program(clinic()))


def _nobody() -> Patient:
    p = Patient(program(phase("a: {by: [nurse]}")))
    p.s = NOBODY
    return p


def _did(source: str, *phrases: str) -> Patient:
    p = Patient(program(source))
    for phrase in phrases:
        p.do(phrase)
    return p


def _circle() -> Patient:
    p = Patient(circle(_LOOP.replace("count of go_on done = 0", "count of go_on waived = 0")))
    p.do("record ask", word="one")
    return p


def _act(patient: Callable[[], Patient], act: c.Act, **how: Any) -> Callable[[], Refusal]:
    def ask() -> Refusal:
        answer = patient().ask(act, **how)
        assert isinstance(answer, Refusal)
        return answer

    return ask


def _several() -> Patient:
    """Two items of one step are open only where a program's past says so: after work done twice."""
    p = Patient(program(phase("task: {by: [nurse]}")))
    p.s = evolve(p.s, e.ItemOpened("stay.1/task.2", "task", "step", ("nurse",), p.now, p.now))
    return p


def _self_report() -> Patient:
    roles = "roles: \n  nurse: Nurse\n  doctor: Doctor\n  patient: Patient\n"
    return Patient(program(roles + phase("diary: {by: [patient, nurse], record: score}")))


def _house(*phrases: str) -> Callable[[], Patient]:
    """A patient in the house of `two_programs`."""

    def begin() -> Patient:
        p = Patient(house())
        p.around = replace(p.around, to=Site("main"))
        for phrase in phrases:
            p.do(phrase, given={"amount": "1 mg"} if phrase.startswith("dose") else {})
        return p

    return begin


def _therapy(*phrases: str) -> Callable[[], Patient]:
    """The same patient in the therapy too, after something was done in the house."""

    def begin() -> Patient:
        first = _house()()
        p = Patient(therapy(), beside=first)
        for phrase in phrases:
            given = {"amount": "1 mg"} if phrase.startswith("dose") else {}
            first.do(phrase, given={"everywhere": True} if phrase.startswith("hold") else given)
        p.look()
        return p

    return begin


def _merged(survivor: str, duplicate: str, part: bool = False) -> Callable[[], Refusal]:
    def refuse(engine: Engine) -> object:
        by = Actor("ann", {"nurse_practitioner"})
        for patient in "AB":
            engine.enroll("detox-4-day", patient=patient, by=by)
        engine.merge("A", "B", by=by, reason="x")
        link = engine.unmerge if part else engine.merge
        return link(survivor, duplicate, by=by, reason="x")

    return _engine(refuse)


def _drug(
    patient: Callable[..., Patient], phrase: str, *, dose: str = "", **how: Any
) -> Callable[[], Refusal]:
    return lambda: patient(program(drugs.text(dose=dose))).refused(phrase, **how)


def _given_undrawn() -> Patient:
    book = "ledgers: {book: {drug: ketamine, witnessed_by: [nurse]}}\n"
    p = ordered(program(drugs.text(dose="\n      ledger: book", more=book)))
    p.do("start drip")
    p.do("dose drip", amount="35 mg", last=True)
    return p


def _engine(refuse: Callable[[Engine], object], **how: Any) -> Callable[[], Refusal]:
    def ask() -> Refusal:
        with Engine.open(sites=[Site()], **how) as engine, pytest.raises(Refused) as refused:
            refuse(engine)
        return refused.value.refusal

    return ask


_NURSE = Actor("ann", frozenset({"nurse"}))
_BRANCH = phase("ask: {by: [nurse], record: branch}").replace(
    "start: stay",
    """forms:
  note: {title: Note, fields: {text: {type: text}}}
  branch:
    title: Branch
    fields:
      drinks: {type: yes_no}
      how_much: {type: integer, unit: g, from: 0, to: 900, asked_if: {field: drinks, is: ["yes"]}}
      when: {type: instant, optional: true}
start: stay""",
    1,
)


def _seated(joined: int = 1, site: str = "main") -> Resident:
    """A resident of a house in which a circle is planned and others have joined it."""
    house = House(program(CLINIC))
    house.plan()
    for _ in range(joined):
        house.resident(site).do("join g-1")
    return house.residents[-1] if joined else house.resident(site)


def _of_another_program() -> Patient:
    p = _seated(0)
    p.s.program = "y"
    return p


def _group_act(act: Callable[[House], object]) -> Callable[[], Refusal]:
    def ask() -> Refusal:
        house = _seated().house
        act(house)
        assert house.refusal is not None
        return house.refusal

    return ask


def _version_refused(how: str, _: str) -> Refusal:
    p = staying()
    if how == "same":
        answer = ask(p, p.program, version="1.0.0")
    else:
        answer = ask(p, second({"  stay:\n": "  ward:\n", "to: stay": "to: ward"}))
    assert isinstance(answer, Refusal)
    return answer


WAYS: dict[str, Callable[[], Refusal]] = {
    "already-merged": _merged("C", "B"),
    "at-that-site": _on(_house(), "transfer main", by="doctor"),
    "day-would-fall": _on(_house(), "admit 2026-03-03", by="doctor", reason="x"),
    "held-elsewhere": _on(_therapy("hold fever"), "lift", by="doctor"),
    "monitored-elsewhere": _on(_therapy("start drip"), "start day"),
    "no-source": _on(_therapy(), "attest tested", given={"values": {"result": "negative"}}),
    "no-suggestion": _on(_therapy(), "adopt tested"),
    "not-carried": _on(_house(), "adopt rounds"),
    "not-merged": _merged("A", "C", part=True),
    "nothing-to-offer": _on(_therapy(), "offer house", by="doctor"),
    "one-sedating-a-day": _on(_therapy("start pill", "dose pill"), "start day"),
    "same-patient": _merged("A", "A"),
    "unknown-patient": _engine(lambda engine: engine.patient("moon")),
    "when-unknown": _on(_therapy(), "attest tested", given={"values": {"result": "negative"}}),
    "absolute-gate": _on(
        lambda: Patient(
            program(
                clinic("ready: [plain]").replace(
                    "gates:", "gates:\n  plain: {says: Plain, when: baseline.systolic > 90 mmHg}"
                )
            )
        ),
        "override plain",
        reason="x",
        by="doctor",
    ),
    "another-patient": _on(_self_report, "record diary", points=3, by="P-2:patient"),
    "already-corrected": _on(
        lambda: _noted(("correct one", {"points": 4, "reason": "x"})), "correct o7", reason="y"
    ),
    "already-retracted": _on(
        lambda: _noted(("retract one", {"reason": "x"})), "correct one", points=4, reason="y"
    ),
    "already-enrolled": _act(_two, c.Enroll("e-1", "P")),
    "already-recorded": _refused(_SIGNED, "record plan", "record plan", text="again"),
    "already-settled": _refused(_SIGNED, "done task", "done task"),
    "away": _on(_away, "go ward"),
    "bad-phrase": _engine(lambda engine: engine.do("e", "dance", by=_NURSE)),
    "bad-value": _on(under_way, "dose drip", amount="a little"),
    "cap": _on(_capped, "start drip"),
    "claimed": _on(lambda: _did(phase("a: {by: [nurse]}"), "claim a"), "claim a", by="bo:nurse"),
    "choose-the-way": _on(_chooses, "done stay.1/way-on", by="doctor"),
    "credential-expired": _on(
        _two,
        "record one",
        points=3,
        by=Actor("ann", {"nurse"}, until={"nurse": datetime(2026, 1, 1).astimezone()}),
    ),
    "future": _on(_two, "record one", points=3, occurred=datetime(2027, 1, 1).astimezone()),
    "gate-closed": _on(_gated, "start drip"),
    "implausible": _on(_two, "record one", points=99),
    "missing-value": _on(_two, "record one"),
    "naive-instant": _on(_two, "record one", points=3, occurred=datetime(2026, 1, 1)),
    "no-dose": _on(
        lambda: Patient(program(clinic("dose: ~\nwatch: ~"))), "dose drip", amount="5 mg"
    ),
    "no-patient": _act(_nobody, c.Enroll("e-2", "")),
    "no-session": _on(_plain, "release drip"),
    "no-way": _on(_two, "go well", by="doctor"),
    "not-assigned": _on(_two, "hand over all to bo"),
    "not-authenticated": _engine(
        lambda engine: engine.do("e-0", "sign plan", by=_NURSE), authenticate=lambda *_: False
    ),
    "not-an-option": _on(lambda: Patient(program(stay(""))), "record farewell", word="four"),
    "not-asked": _refused(_BRANCH, "record ask", drinks=False, how_much=3),
    "not-done-so": _on(_two, "done one"),
    "not-given": _on(
        lambda: Patient(program(clinic(steps="agree: {by: [nurse], obtain: care}"))), "revoke care"
    ),
    "not-in-treatment": _on(_ended, "leave died", by="doctor"),
    "not-open": _refused(
        phase("a: {by: [nurse], record: note}\nb: {by: [nurse], record: note, after: [a]}"),
        "record b",
        text="x",
    ),
    "not-paused": _on(under_way, "resume drip"),
    "not-ready-to-leave": _on(
        lambda: under_way(
            clinic(
                "release: {earliest: 0 min, when: watch.systolic < 140 mmHg, signed_by: [nurse]}"
            )
        ),
        "release drip",
    ),
    "not-running": _on(_paused, "pause drip"),
    "nothing-corrected": _on(_noted, "correct one", points=3, reason="x"),
    "nothing-to-record": _refused(_SIGNED, "record task"),
    "nothing-to-sign": _refused(_SIGNED, "sign plan"),
    "on-hold": _on(_held, "start drip"),
    "other-form": _act(_two, c.Record("one", {"points": 3}, also=("two",))),
    "outcome-not-allowed": _on(_two, "decline one", reason="x"),
    "past": _on(_plain, "book drip", given={"for": datetime(2026, 1, 1).astimezone()}),
    "pause-rule": _on(_paused, "resume drip"),
    "program-loops": _on(_circle, "waive go_on", reason="x"),
    "reason-missing": _on(under_way, "abort drip"),
    "role-missing": _on(lambda: Patient(program(clinic("present: [doctor]"))), "start drip"),
    "rule": _on(
        lambda: Patient(
            program(clinic(more="rules:\n  never: [{start: drip, unless: pressure_ok}]\n"))
        ),
        "start drip",
    ),
    "same-person": _on(
        lambda: _did(
            phase("a: {by: [nurse]}\nb: {by: [nurse], different_person_from: [a]}"), "done a"
        ),
        "done b",
    ),
    "amount-outside": _drug(weighed, "order ketamine_order", by="doctor", amount="9 mg/kg"),
    "dose-cap": _drug(
        weighed, "order ketamine_order", by="doctor", amount="0.5 mg/kg", dose="\n      most: 9 mg"
    ),
    "ledger-open": _on(_given_undrawn, "release drip"),
    "no-ledger": _drug(ordered, "draw drip", amount="5 mg", lot="K1"),
    "no-order": _drug(weighed, "start drip"),
    "raised-too-much": _drug(ordered, "order ketamine_order", by="doctor", amount="0.9 mg/kg"),
    "rate-outside": _drug(
        weighed, "order ketamine_order", by="doctor", amount="0.5 mg/kg", rate="900 mg/h"
    ),
    "unknown-lot": _engine(lambda engine: engine.count("ketamine", "K1", "5 mg", by=_NURSE)),
    "unknown-medicine": _drug(weighed, "give moonshine", amount="1 mg"),
    "unknown-order": _drug(weighed, "order moonshine", by="doctor", amount="1 mg"),
    "weight-missing": _drug(Patient, "order ketamine_order", by="doctor", amount="0.5 mg/kg"),
    "below-minimum": _group_act(lambda house: house.start()),
    "group-not-started": _on(_seated, "start drip"),
    "group-state": _group_act(lambda house: (house.call_off(), house.call_off())),
    "held-in-group": _on(lambda: _seated(0), "book drip"),
    "in-group": _on(_seated, "join g-1"),
    "not-in-group": _on(_seated, "drop g-2", reason="x"),
    "other-program": _on(_of_another_program, "join g-1"),
    "other-site": _on(lambda: _seated(0, "annex"), "join g-1"),
    "nothing-moved": _group_act(lambda house: house.move()),
    "room-taken": _group_act(lambda house: house.plan(id_="g-2")),
    "staff-short": _group_act(lambda house: house.start()),
    "unknown-group": _on(_seated, "join g-2"),
    "unknown-room": _group_act(lambda house: house.move(room="cellar")),
    "session-open": _on(under_way, "book drip"),
    "session-state": _on(under_way, "arrive drip"),
    "session-under-way": _on(under_way, "decline drips", reason="x"),
    "signed-apart": _act(
        lambda: Patient(
            program(
                phase(
                    "a: {by: [nurse], record: note}\nb: {by: [nurse], record: note, signed: true}"
                )
            )
        ),
        c.Record("a", {"text": "x"}, also=("b",)),
    ),
    "steps-open": _on(
        lambda: Patient(program(clinic("before: {bag: {by: [nurse], record: note}}"))), "start drip"
    ),
    "there-already": _on(lambda: Patient(program(clinic())), "move stay", by="doctor", reason="x"),
    "too-early": _on(under_way, "release drip"),
    "too-soon": _on(_capped, "start drip"),
    "already-asked": lambda: asked().refused(
        "override fits", by="doctor", reason="x", code="nervous"
    ),
    "does-not-fit": lambda: _version_refused("moved on", "does-not-fit"),
    "that-version": lambda: _version_refused("same", "that-version"),
    "unknown-version": _on(_two, "change version 9.9.9", reason="x", by="doctor"),
    "not-yet": lambda: _third_day().refused("start drip"),
    "unknown-consent": _on(_two, "revoke moon"),
    "unknown-cover": _engine(lambda engine: engine.revoke_cover("cover-1", by=_NURSE)),
    "unknown-end": _on(_two, "leave moon"),
    "unknown-enrollment": _engine(lambda engine: engine.do("e-0", "hold", by=_NURSE)),
    "unknown-field": _on(_two, "record one", points=3, moon=1),
    "unknown-gate": _on(_two, "override moon", reason="x"),
    "unknown-phase": _on(_two, "move moon", reason="x"),
    "unknown-record": _on(_two, "retract one", reason="x"),
    "unknown-session": _on(_two, "start moon"),
    "unknown-site": _engine(
        lambda engine: engine.enroll("detox-4-day", patient="P", by=_NURSE, site="moon")
    ),
    "unknown-step": _on(_two, "record moon"),
    "which-hold": _on(_two, "lift"),
    "which-item": _on(_several, "done task"),
    "wrong-role": _on(_two, "record one", points=3, by="doctor"),
    "wrong-site": _on(_two, "record one", points=3, by=Actor("ann", {"nurse"}, sites={"the moon"})),
    "wrong-type": _on(_two, "record one", points="many"),
    "wrong-unit": _refused(_SIGNED, "record body", weight="80 cm"),
}


_ELSEWHERE = {
    "erased",
    "ground-missing",
    "id-reused",
    "in-treatment",
    "name-missing",
    "no-entry",
    "not-approved",
    "not-signed-off",
    "signed-already",
    "still-read",
    "version-changed",
}
"""Refusals that `test_engine`, `test_erasing` and `test_governance` produce."""


@pytest.mark.parametrize("code", sorted(WAYS))
def test_every_refusal_happens_is_explained_and_names_a_way_out(code: str) -> None:
    refusal = WAYS[code]()
    reason = next(r for r in refusal.reasons if r.code == code)
    assert reason.says
    ways = [*reason.unblock, *(clause.unblock for clause in reason.clauses)]
    assert any(ways), f"{code} leaves its reader alone"
    assert all(reason.unblock)
    assert code in refusal.explanation


def test_no_refusal_is_left_out_here() -> None:
    assert set(REFUSALS) == set(WAYS) | _ELSEWHERE


def _sources() -> str:
    root = Path(kat_workflow.__file__).parent
    files = [
        *root.glob("*.py"),
        *root.glob("engine/*.py"),
        *root.glob("enrollment/*.py"),
        *root.glob("journal/*.py"),
        root / "program/forms.py",
    ]
    return "\n".join(f.read_text() for f in files if f.name != "refusals.py")


def test_every_code_that_is_explained_is_used_and_every_one_used_is_explained() -> None:
    text = _sources()
    for code in REFUSALS:
        assert f'"{code}"' in text, f"{code} is explained and never used"
    used = set(re.findall(r'(?:against|stop|Reason|_Unfit|Slip)\(\s*"([a-z]+(?:-[a-z]+)*)"', text))
    used |= set(re.findall(r'(?:_refused)\(\s*[^,]+,\s*"([a-z]+(?:-[a-z]+)+)"', text))
    used |= set(re.findall(r'j\.gate\([^"]*"([a-z-]+)"', text))
    assert used - set(REFUSALS) == set()


def test_every_deviation_is_explained_and_every_one_explained_is_noted() -> None:
    text = _sources()
    noted = set(re.findall(r'(?:deviation|review)\(\s*"([a-z-]+)"', text))
    assert 'f"dose-while-{session.dosing}"' in text
    noted |= {"dose-while-paused", "dose-while-ended"}
    assert noted == set(DEVIATIONS)


# No patient value in what is logged

_MARK = "Zebra7731"


@given(
    st.dictionaries(
        st.sampled_from(
            ["points", "word", "weight", "text", "systolic", "result", "last_use", "moon"]
        ),
        st.sampled_from(
            [_MARK, -77310077, 77310077.5, [_MARK], {"x": _MARK}, _MARK + " mmHg", None, True]
        ),
        min_size=1,
    )
)
def test_what_a_refusal_is_called_holds_no_value(values: dict[str, Any]) -> None:
    text = phase(
        "\n".join(
            f"{form}_step: {{by: [nurse], record: {form}}}"
            for form in ("score", "answer", "amount", "note", "vitals", "test", "history")
        )
    )
    p = Patient(program(text))
    for form in ("score", "answer", "amount", "note", "vitals", "test", "history"):
        answer = p.ask(c.Record(f"{form}_step", values))
        if isinstance(answer, Refusal):
            shown = str(Refused(answer))
            assert _MARK not in shown
            assert "7731" not in shown
            for reason in answer.reasons:
                assert "7731" not in reason.says
                assert "7731" not in "".join(reason.unblock)


def test_what_a_gate_read_is_told_on_purpose_only() -> None:
    refusal = _gated().refused("start drip")
    assert "190" not in str(Refused(refusal))
    assert "190 mmHg" in refusal.explanation
    assert str(Refused(refusal)) == "start drip: gate-closed (gates: pressure_ok)"
    assert Refused(refusal).code == "gate-closed"
    assert Refused(refusal).explanation == refusal.explanation
