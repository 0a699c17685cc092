"""A version calls phases and steps otherwise: whoever goes on by it keeps place, work, history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from bedside import MONDAY, Patient, program, source
from msgspec.structs import replace

from kat_workflow import Engine
from kat_workflow.engine.auditing import verify
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.carrying import suggestions
from kat_workflow.enrollment.decide import Decision, decide
from kat_workflow.enrollment.reading import for_reader, may_read
from kat_workflow.enrollment.state import decode_row, encode_row, replay
from kat_workflow.errors import ProgramError, Refusal
from kat_workflow.language import compile_files
from kat_workflow.program.clock import Site
from kat_workflow.program.model import Program

FIRST = """
start: screening
decided_by: [doctor]
hold_by: [doctor]
phases:
  screening:
    steps:
      talk: {by: [nurse], record: answer}
    next: [{to: stay, when: always}]
  stay:
    admits: true
    steps:
      plan: {by: [doctor], record: note, signed: true, due: 4 h}
      look: {by: [nurse], record: vitals, every: [{interval: 4 h, when: always}], due: 1 h,
             alerts: [{when: look.systolic >= 200 mmHg, says: High, tell: [doctor],
                       answer_within: 1 h, then: [{tell: [nurse], answer_within: 1 h}]}]}
    start: day
    phases:
      day:
        repeat: {at_most: 3, until: count of rest done >= 2}
        steps:
          rest: {by: [nurse], record: score}
        next: []
    next: [{to: well, when: always}]
"""
RENAMED = {
    "{to: stay, when: always}": "{to: ward, when: always}",
    "  stay:\n    admits": "  ward:\n    renamed_from: [stay]\n    admits",
    "plan: {by": "treatment: {renamed_from: [plan], by",
    "look: {by": "rounds: {renamed_from: [look], by",
    "look.systolic": "rounds.systolic",
    "start: day": "start: morning",
    "      day:\n": "      morning:\n        renamed_from: [day]\n",
    "rest: {by": "nap: {renamed_from: [rest], by",
    "count of rest": "count of nap",
}


def version(number: str, changes: Mapping[str, str] | None = None) -> Program:
    text = source(FIRST)
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    text = text.replace('version: "1.0.0"', f'version: "{number}"')
    return compile_files({"x/x.yaml": text}, "x/x.yaml")


SECOND = version("1.1.0", RENAMED)


def staying() -> Patient:
    """In the second round of the stay, with one rest behind them."""
    p = Patient(program(FIRST))
    p.do("record talk", word="two")
    p.do("record look", systolic=120)
    p.do("record rest", points=3)
    return p


def ask(p: Patient, to: Program) -> Decision | Refusal:
    p.look()
    around = replace(p.around, target=to, history=tuple(p.past))
    act = c.ChangeVersion(to.version, "clearer names")
    answer = decide(p.program, p.s, around, c.Command("v", act, c.Actor("d", {"doctor"}), p.now))
    assert isinstance(answer, Decision | Refusal)
    return answer


def moved(p: Patient, to: Program) -> None:
    answer = ask(p, to)
    assert isinstance(answer, Decision), answer
    p._take(answer)
    p.program = to


def misfits(p: Patient, to: Program) -> list[str]:
    answer = ask(p, to)
    assert isinstance(answer, Refusal)
    assert all(reason.unblock for reason in answer.reasons)
    return [reason.says for reason in answer.reasons]


def test_place_and_open_work_go_on_under_their_new_names() -> None:
    p = staying()
    before = p.look()

    moved(p, SECOND)

    assert p.phases == ["ward", "morning"]
    assert [x.place for x in p.s.visits.values()] == [x.place for x in before.visits.values()]
    assert [x.round for x in p.s.visits.values()] == [1, 2]
    assert list(p.s.items) == list(before.items)
    assert {x.step for x in p.s.items.values()} == {"treatment", "rounds", "nap"}
    assert [(x.opens, x.due, x.next) for x in p.s.items.values()] == [
        (x.opens, x.due, x.next) for x in before.items.values()
    ]
    assert [x for x in p.log if isinstance(x, e.ItemSettled) and x.outcome == "left"] == []
    assert decode_row(encode_row(p.s)) == p.s
    assert replay(e.decode(*e.encode(event)) for event in p.log) == p.s


def test_what_gates_count_under_the_old_name_counts_under_the_new_one() -> None:
    p = staying()

    moved(p, SECOND)
    p.do("record nap", points=2)

    # two naps make the stay's days enough: one of them was a rest
    assert p.s.counts["nap:done"] == 2
    assert p.phases == ["ward"]
    p.do("record treatment", text="home", by="doctor", signed=True)
    assert p.s.end == "well"


def test_what_goes_on_opens_anew_under_the_new_name() -> None:
    p = staying()

    moved(p, SECOND)
    p.wait("9 h")

    items = [x for x in p.events(e.ItemOpened) if x.step in ("look", "rounds")]
    assert [x.item for x in items] == ["stay.1/look.1", "stay.1/look.2", "stay.1/rounds.3"]
    p.do("record rounds", systolic=125)
    assert [x.step for x in p.s.readings["vitals"]] == ["rounds"]
    assert replay(p.log) == p.s


def test_rounds_after_a_change_are_counted_on() -> None:
    p = staying()
    to = version("1.1.0", {**RENAMED, "nap done >= 2": "nap done >= 3"})

    moved(p, to)
    p.do("record nap", points=2)

    assert p.s.visits["morning"].round == 3
    assert p.s.visits["ward"].inside == {"morning": 3, "morning#": 2}
    assert p.open[-1] == "stay.1/morning.3/nap.1"
    assert replay(p.log) == p.s


def test_a_call_and_a_signature_that_are_waited_for_find_their_step() -> None:
    p = staying()
    p.do("record plan", text="rest", by="doctor")
    p.wait("4 h")
    p.do("record look", systolic=210)

    moved(p, SECOND)

    p.do("sign treatment", by="doctor")
    assert p.outcome("treatment") == "done"
    p.wait("1 h")
    (told,) = p.events(e.AlertEscalated)
    assert (told.alert, told.says) == ("rounds.alert.1", "High")


def test_a_call_about_lateness_goes_on_calling_as_the_step_is_called_now() -> None:
    late = {"due: 1 h,": "due: 1 h, when_late: {tell: [doctor], answer_within: 1 h,\n"
            "             then: [{tell: [nurse], answer_within: 1 h}]},"}  # fmt: skip
    p = Patient(version("1.0.0", late))
    p.do("record talk", word="two")
    p.wait("61 min")
    p.look()

    moved(p, version("1.1.0", {**late, **RENAMED}))
    p.wait("1 h")

    (told,) = p.events(e.AlertEscalated)
    assert (told.alert, told.says, told.tell) == ("late.rounds", "rounds is late", ("nurse",))


def test_a_recording_under_the_old_name_is_corrected_under_the_new_one() -> None:
    p = staying()
    moved(p, SECOND)

    p.do("correct nap", points=9, reason="typed wrong")
    p.do("retract rounds", reason="another patient's")

    (corrected,) = p.events(e.ObservationCorrected)
    (retracted,) = p.events(e.ObservationRetracted)
    assert (corrected.step, retracted.step) == ("nap", "rounds")
    assert replay(p.log) == p.s


def test_a_reading_that_came_back_is_one_of_the_step_as_it_is_called_now() -> None:
    p = staying()
    p.wait("4 h")
    p.do("record look", systolic=190)
    p.do("retract look", reason="another patient's")
    (retracted,) = p.events(e.ObservationRetracted)
    assert [x.step for x in retracted.restored] == ["look"]

    moved(p, SECOND)
    p.do("correct nap", points=9, reason="typed wrong")

    assert [(x.step, x.values["systolic"]) for x in p.s.readings["vitals"]] == [("rounds", 120)]
    assert replay(p.log) == p.s


def test_a_track_is_called_otherwise_too() -> None:
    text = """
start: stay
decided_by: [doctor]
phases:
  stay:
    tracks:
      body: {start: rest, phases: {rest: {steps: {look: {by: [nurse], record: vitals}}}}}
      mind: {steps: {talk: {by: [nurse], record: answer}}}
    next: [{to: well, when: always}]
"""
    new = source(text.replace("body: {", "frame: {renamed_from: [body], "))
    to = compile_files({"x/x.yaml": new.replace('"1.0.0"', '"1.1.0"')}, "x/x.yaml")
    p = Patient(program(text))

    moved(p, to)
    moved(p, program(text))
    moved(p, to)

    assert p.phases == ["stay", "frame", "rest", "mind"]
    p.do("record look", systolic=120)
    p.do("record talk", word="two")
    assert p.s.end == "well"
    assert replay(p.log) == p.s


def test_going_back_is_the_same_act_and_so_is_going_there_again() -> None:
    p = staying()
    before = p.look()
    moved(p, SECOND)
    p.do("record nap", points=2)

    moved(p, version("1.0.0"))

    assert p.phases == ["stay"]
    assert p.s.counts["rest:done"] == 2
    assert set(p.s.items) <= set(before.items)
    moved(p, SECOND)
    assert p.s.counts["nap:done"] == 2
    p.do("correct nap", points=9, reason="typed wrong")
    p.do("record treatment", text="home", by="doctor", signed=True)
    assert p.s.end == "well"
    assert replay(e.decode(*e.encode(event)) for event in p.log) == p.s


def test_names_may_change_again_and_an_older_version_is_left_out() -> None:
    to = version("1.2.0", {**RENAMED, "rest: {by": "sleep: {renamed_from: [nap, rest], by",
                           "count of rest": "count of sleep"})  # fmt: skip
    step_by_step, at_once = staying(), staying()

    moved(step_by_step, SECOND)
    moved(step_by_step, to)
    moved(at_once, to)

    assert step_by_step.s.counts == at_once.s.counts
    assert step_by_step.s.visits == at_once.s.visits
    assert step_by_step.s.items == at_once.s.items
    assert at_once.s.counts["sleep:done"] == 1


def test_without_the_word_a_renamed_phase_is_another_and_nobody_in_it_is_moved() -> None:
    p = staying()
    silent = {old: new.replace("renamed_from: [stay]\n    ", "") for old, new in RENAMED.items()}

    said = misfits(p, version("1.1.0", silent))

    assert "in 1.1.0 there is no phase stay at that place" in said


def test_two_phases_of_now_cannot_become_one() -> None:
    p = staying()
    two = {"talk: {by": "chat: {renamed_from: [talk, rest], by",
           "rest: {by": "chit: {by", "count of rest": "count of chat"}  # fmt: skip

    said = misfits(p, version("1.1.0", two))

    assert "in 1.1.0 chat is several things of now in one" in said


def test_what_is_kept_apart_stays_apart_under_any_name() -> None:
    apart = {"talk: {by: [nurse]": "talk: {by: [nurse], read_by: [nurse]"}
    renamed = {"talk: {by: [nurse]": "chat: {renamed_from: [talk], by: [nurse], read_by: [nurse]"}
    first, to = version("1.0.0", apart), version("1.1.0", renamed)
    p = Patient(first)
    p.do("record talk", word="two")
    (said,) = p.events(e.ObservationRecorded)

    moved(p, to)

    doctor, nurse = c.Actor("d", {"doctor"}), c.Actor("n", {"nurse"})
    assert not may_read(to, doctor, said)
    assert for_reader(to, doctor, said) != said
    assert may_read(to, nurse, said)
    # by the version before, nobody knew what is called chat: it would be everybody's to read
    (why,) = misfits(p, first)
    assert why == "in 1.0.0 it is not said that talk was called chat"
    assert misfits(Patient(first), version("1.1.0", {"talk: {by": "chat: {by"})) == [
        "in 1.1.0 others may read talk, which is kept apart here"
    ]


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"plan: {by": "plan: {renamed_from: [rest], by"}, "renamed-twice", "rest"),
        ({"plan: {by": "plan: {renamed_from: [old], by",
          "look: {by": "look: {renamed_from: [old], by"}, "renamed-twice", "old"),
        ({"  stay:\n": "  stay:\n    renamed_from: [day]\n"}, "renamed-twice", "day"),
    ],
)  # fmt: skip
def test_a_name_that_two_could_have_had_is_a_finding(
    changes: Mapping[str, str], code: str, word: str
) -> None:
    with pytest.raises(ProgramError) as found:
        version("1.1.0", changes)

    (finding,) = found.value.findings
    start = finding.place.column - 1
    assert (finding.code, finding.source[start : start + finding.width]) == (code, word)
    assert finding.hint


def test_a_phase_that_contains_a_program_keeps_its_name() -> None:
    outer = source("""
        start: inner
        phases:
          inner:
            renamed_from: [core]
            contains: {program: x, ends: {well: well, elsewhere: elsewhere}}
            next: []
    """).replace("program: x\nversion", "program: y\nversion")
    files = {"x/x.yaml": source(FIRST), "y/y.yaml": outer}

    with pytest.raises(ProgramError, match="renamed-container"):
        compile_files(files, "y/y.yaml")


def test_a_contained_program_may_call_its_own_otherwise() -> None:
    outer = source("""
        start: inner
        phases:
          inner:
            contains: {program: x, ends: {well: finish, elsewhere: elsewhere}}
            next: [{to: well, when: always}]
    """).replace("program: x\nversion", "program: y\nversion")
    inner = source(FIRST)
    for old, new in RENAMED.items():
        inner = inner.replace(old, new)
    first = compile_files({"y/y.yaml": outer, "x/x.yaml": source(FIRST)}, "y/y.yaml")
    later = outer.replace('version: "1.0.0"', 'version: "1.1.0"')
    second = compile_files({"y/y.yaml": later, "x/x.yaml": inner}, "y/y.yaml")
    p = Patient(first)
    p.do("record talk", word="two")

    moved(p, second)

    assert p.phases == ["inner", "inner.ward", "inner.morning"]
    assert "inner.nap" in {x.step for x in p.s.items.values()}


AWAY = """
start: stay
decided_by: [doctor]
hold_by: [doctor]
phases:
  stay:
    steps:
      look: {by: [nurse], record: vitals, every: [{interval: 4 h, when: always}], on_hold: runs}
      talk: {by: [nurse], record: answer}
    next: [{to: well, when: always}]
excursions:
  hospital:
    by: [nurse]
    steps:
      back_again: {by: [nurse], record: note}
      phoned: {by: [nurse], optional: true}
    decided_by: [doctor]
    next: [{to: back, when: always}]
"""


def away(number: str, changes: Mapping[str, str]) -> Program:
    text = source(AWAY)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    text = text.replace('version: "1.0.0"', f'version: "{number}"')
    return compile_files({"x/x.yaml": text}, "x/x.yaml")


def test_whoever_is_on_an_excursion_that_is_called_otherwise_comes_back_all_the_same() -> None:
    to = away("1.1.0", {"  hospital:\n": "  clinic:\n    renamed_from: [hospital]\n"})
    p = Patient(away("1.0.0", {}))
    p.do("go hospital")
    before = p.look()

    moved(p, to)

    assert p.phases == ["stay", "clinic"]
    assert list(p.s.holds) == list(before.holds)
    assert p.s.visits["clinic"].away
    p.do("record back_again", text="well")
    assert p.phases == ["stay"]
    assert p.s.holds == {}
    p.do("go clinic")
    assert p.open[-2:] == ["clinic.2/back_again.1", "clinic.2/phoned.1"]
    assert replay(e.decode(*e.encode(event)) for event in p.log) == p.s


def test_an_excursion_of_another_name_without_the_word_is_another_place() -> None:
    p = Patient(away("1.0.0", {}))
    p.do("go hospital")

    said = misfits(p, away("1.1.0", {"  hospital:\n": "  clinic:\n"}))

    assert "in 1.1.0 there is no phase hospital at that place" in said


SIGNS = {
    "  vitals:\n    title": "  signs:\n    renamed_from: [vitals]\n    title",
    "record: vitals": "record: signs",
}
"""The form is called otherwise, the step is not."""
CALM = """
start: stay
decided_by: [doctor]
phases:
  stay:
    steps:
      look: {by: [nurse], record: vitals, every: [{interval: 4 h, when: always}], on_hold: runs}
      talk: {by: [nurse], record: answer}
      rest: {by: [nurse], record: vitals, optional: true, signed: true}
    next:
      - {to: well, when: last 2 of vitals.systolic < 150 mmHg}
"""


def calm(number: str, changes: Mapping[str, str] | None = None) -> Program:
    text = source(CALM)
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    text = text.replace('version: "1.0.0"', f'version: "{number}"')
    return compile_files({"x/x.yaml": text}, "x/x.yaml")


CALM_SIGNS = calm("1.1.0", {**SIGNS, "of vitals.systolic": "of signs.systolic"})


def systolic(p: Patient) -> list[object]:
    return [x.values["systolic"] for x in p.s.readings["signs"]]


def test_readings_of_a_form_that_is_called_otherwise_are_read_on() -> None:
    p = Patient(calm("1.0.0"))
    p.do("record look", systolic=140)
    p.do("record rest", systolic=138)
    before = p.look()

    moved(p, CALM_SIGNS)

    assert list(p.s.items) == list(before.items)  # also one that waits to be signed
    assert systolic(p) == [140, 138]
    assert "vitals" not in p.s.readings
    assert {x.form for x in p.s.readings["signs"]} == {"signs"}
    p.do("sign rest")
    p.do("record talk", word="one")
    assert p.s.end == "well"
    assert replay(e.decode(*e.encode(event)) for event in p.log) == p.s


def test_what_was_recorded_with_a_form_of_before_is_corrected_with_that_of_now() -> None:
    p = Patient(calm("1.0.0"))
    p.do("record look", systolic=140)
    p.do("record vitals", systolic=170)
    p.do("record vitals", systolic=141)

    moved(p, CALM_SIGNS)
    p.do("retract signs", reason="another patient's")
    p.do("correct signs", systolic=142, reason="typed wrong")

    (corrected,) = p.events(e.ObservationCorrected)
    assert corrected.form == "signs"
    p.do("record talk", word="one")
    assert p.s.end == "well"
    assert replay(p.log) == p.s


def test_a_form_goes_back_to_the_name_that_it_had_and_there_again() -> None:
    p = Patient(calm("1.0.0"))
    p.do("record look", systolic=140)

    moved(p, CALM_SIGNS)
    p.do("record signs", systolic=150)
    p.do("retract signs", reason="another patient's")
    moved(p, calm("1.0.0"))
    assert [x.form for x in p.s.readings["vitals"]] == ["vitals"]
    p.do("record vitals", systolic=141)
    moved(p, CALM_SIGNS)

    assert systolic(p) == [140, 141]
    p.do("correct signs", systolic=142, reason="typed wrong")
    p.do("record talk", word="one")
    assert p.s.end == "well"
    assert replay(e.decode(*e.encode(event)) for event in p.log) == p.s


def test_without_the_word_a_form_of_another_name_asks_for_something_else() -> None:
    p = Patient(calm("1.0.0"))
    silent = {**SIGNS, "of vitals.systolic": "of signs.systolic"}
    silent["  vitals:\n    title"] = "  signs:\n    title"

    said = misfits(p, calm("1.1.0", silent))

    assert "in 1.1.0 look is another step, or none" in said


def test_a_field_of_a_renamed_form_keeps_its_unit() -> None:
    p = Patient(calm("1.0.0"))
    changes = {**SIGNS, "of vitals.systolic": "of signs.systolic"}
    changes["pulse: {type: integer, unit: /min"] = "pulse: {type: decimal, unit: /min"

    (said,) = misfits(p, calm("1.1.0", changes))

    assert said == "in 1.1.0 vitals.pulse is of another type or unit"


def test_what_was_written_apart_at_any_time_is_apart_whatever_its_form_is_called() -> None:
    apart = {"look: {by: [nurse], record: vitals": "look: {by: [nurse], read_by: [nurse], "
             "record: vitals"}  # fmt: skip
    first = calm("1.0.0", apart)
    to = calm("1.1.0", {**apart, **SIGNS, "of vitals.systolic": "of signs.systolic"})
    p = Patient(first)
    p.do("record vitals", systolic=170)
    (said,) = p.events(e.ObservationRecorded)

    moved(p, to)

    doctor, nurse = c.Actor("d", {"doctor"}), c.Actor("n", {"nurse"})
    assert not may_read(to, doctor, said)
    shown = for_reader(to, doctor, said)
    assert isinstance(shown, e.ObservationRecorded)
    assert set(shown.values) == {"systolic", "pulse"}  # also which were asked is nobody else's
    assert may_read(to, nurse, said)
    assert misfits(p, first) == ["in 1.0.0 it is not said that vitals was called signs"]
    gone = {**apart, **SIGNS, "of vitals.systolic": "of signs.systolic"}
    gone["  vitals:\n    title"] = "  signs:\n    title"
    assert "in 1.1.0 others may read vitals, which is kept apart here" in misfits(
        Patient(first), calm("1.1.0", gone)
    )


def test_what_a_step_keeps_apart_stays_so_where_its_form_is_gone() -> None:
    first = version("1.0.0", {"talk: {by: [nurse]": "talk: {by: [nurse], read_by: [nurse]"})
    answer = "  answer:\n    title: Answer\n    fields:\n      word: {type: choice, options: "
    gone = {answer + "{one: One, two: Two, three: Three}}\n": "",
            "talk: {by: [nurse], record: answer": "talk: {by: [nurse], read_by: [nurse], "
            "record: note"}  # fmt: skip
    to = version("1.1.0", gone)
    p = Patient(first)
    p.do("record talk", word="two")
    (said,) = p.events(e.ObservationRecorded)

    moved(p, to)

    shown = for_reader(to, c.Actor("d", {"doctor"}), said)
    assert isinstance(shown, e.ObservationRecorded)
    assert shown.values == {"word": "withheld"}


def test_what_was_handed_over_by_the_old_name_of_a_form_answers_the_step_of_now() -> None:
    known = e.Known(
        {"e-0": e.Membership("P", "old", "main", MONDAY)},
        offered={
            "e-0/o1": e.Offered(
                "e-0", "old", "x", e.Evaluation("o1", "look", "vitals", "", MONDAY, {"systolic": 1})
            )
        },
    )
    rest = {**SIGNS, "of vitals.systolic": "of signs.systolic"}
    p = Patient(calm("1.1.0", rest))

    found = suggestions(p.program, p.look(), known, p.now, Site())

    assert found == [("stay.1/rest.1", "e-0/o1")]


@pytest.mark.parametrize(
    "changes",
    [
        {"  score:\n    title": "  score:\n    renamed_from: [note]\n    title"},
        {"  score:\n    title": "  score:\n    renamed_from: [old]\n    title",
         "  note:\n    title": "  note:\n    renamed_from: [old]\n    title"},
    ],
)  # fmt: skip
def test_a_name_that_two_forms_could_have_had_is_a_finding(changes: Mapping[str, str]) -> None:
    with pytest.raises(ProgramError) as found:
        calm("1.1.0", changes)

    (finding,) = (x for x in found.value.findings if x.severity == "error")
    assert finding.code == "renamed-twice"


def test_a_step_and_its_form_may_have_had_the_same_name() -> None:
    both = {"talk: {by": "chat: {renamed_from: [word], by",
            "  answer:\n    title": "  answer:\n    renamed_from: [word]\n    title"}  # fmt: skip

    assert calm("1.1.0", both).forms["answer"].renamed_from == ("word",)


def test_worklists_and_later_acts_go_by_the_new_names(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "x@1.0.0.yaml").write_text(source(FIRST))
    (tmp_path / "x" / "x.yaml").write_text(SECOND.files["x/x.yaml"])
    nurse, doctor = c.Actor("n", {"nurse"}), c.Actor("d", {"doctor"})
    with Engine.open(tmp_path / "clinic.db", programs=tmp_path) as engine:
        patient = engine.enroll("x@1.0.0", patient="P", by=nurse)
        engine.record(patient, "talk", {"word": "two"}, by=nurse)
        engine.record(patient, "rest", {"points": 2}, by=nurse)
        engine.record(patient, "plan", {"text": "rest"}, by=doctor, signed=True)

        engine.do(patient, "change version 1.1.0", given={"reason": "clearer"}, by=doctor)

        assert {item.step for item in engine.worklist("nurse").items} == {"nap", "rounds"}
        engine.record(patient, "nap", {"points": 2}, by=nurse)
        engine.do(patient, "correct nap", given={"points": 3, "reason": "typed wrong"}, by=nurse)
        assert engine.enrollment(patient).counts["nap:done"] == 2
        engine.do(patient, "offer x", given={"steps": ["treatment"]}, by=doctor)
        (offered,) = engine.patient("P").offered
        assert offered.evaluation.step == "treatment"  # it was recorded as the plan

    with Engine.open(tmp_path / "clinic.db", programs=tmp_path) as engine:
        assert verify(engine.journal).faults == ()
