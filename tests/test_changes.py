"""What changed between two versions of a program: everything is told, and what loosens first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from click.testing import CliRunner
from walk_in import TEXT

from kat_workflow import Actor, Engine
from kat_workflow.cli import kat
from kat_workflow.language import compile_files, load
from kat_workflow.program import model as m
from kat_workflow.program.clock import Duration
from kat_workflow.program.gates import Test
from kat_workflow.program.truth import Always, Not
from kat_workflow.protocol import as_text
from kat_workflow.protocol.aspects import FOLLOWS, KINDS, PROGRAM
from kat_workflow.protocol.changes import Change, as_data, changes, in_words
from kat_workflow.protocol.strictness import compare

DETOX = load("detox-4-day")


def changed(*pairs: tuple[str, str], of: m.Program = DETOX) -> m.Program:
    """The program with some of its text put in place of other."""
    main = next(iter(of.files))
    text = of.files[main]
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return compile_files({**of.files, main: text}, main)


def told(*pairs: tuple[str, str], of: m.Program = DETOX) -> Change:
    """The one change that this makes."""
    (found,) = changes(of, changed(*pairs, of=of))
    return found


# What loosens a safeguard, and what the same change the other way round is

LOOSENED = [
    ("high_systolic: {is: 180 mmHg", "high_systolic: {is: 190 mmHg", "a limit is loosened"),
    ("low_systolic: {is: 90 mmHg", "low_systolic: {is: 80 mmHg", "a limit is loosened"),
    ("danger_time: {is: 96 h", "danger_time: {is: 4 d", ""),
    ("danger_time: {is: 96 h", "danger_time: {is: 95 h", "a limit is loosened"),
    ("by: [prescriber], lasts: 4 h", "by: [prescriber, nurse], lasts: 4 h", "a role is widened"),
    ("lasts: 4 h}", "lasts: 6 h}", "an override stands longer"),
    ("record: intake, signed: true", "record: intake", "a signature is dropped"),
    ("infusion_watch\n      at: [0 min, 15 min", "infusion_watch\n      at: [0 min",
     "a reading of the watch is dropped"),
    ("then_every: 30 min", "then_every: 45 min", "the watch looks less often"),
    ("earliest: 30 min", "earliest: 20 min", "release may be sooner"),
    ("settled is yes, signed_by: [nurse]", "settled is yes, signed_by: [nurse, counselor]",
     "a role is widened"),
    ("pressure_allows, bag_good]", "bag_good]", "a condition of its start is removed"),
    ("amount: {from: 0.5 mg, to: 4 mg}", "amount: {from: 0.5 mg, to: 5 mg}", "a dose or its bound"),
    ("amount: 500 mg", "amount: 600 mg", "a dose or its bound"),
    ("apart: 1 h", "apart: 30 min", "two may be closer"),
    ("    only_if: ciwa_ar.total >= settled_ciwa\n", "", "it may be given in more cases"),
    ("cap: [{most: 16 mg", "cap: [{most: 17 mg", "a cap is loosened"),
    ("    cap: [{most: 16 mg, per: 24 h, source: practice}]\n", "", "a cap is dropped"),
    ("witnessed_by: [nurse, nurse_practitioner, prescriber]", "witnessed_by: []",
     "a witness is dropped"),
    ("after: [treatment_consent]", "after: []", "a step need not come first"),
    ("signed: true, due: 7 d", "signed: true, due: 8 d", "it is due later"),
    ("interval: 1 h, when: always", "interval: 2 h, when: always", "it is done less often"),
    ("interval: 4 h, when: last 3 of ciwa", "interval: 4 h, when: last 2 of ciwa",
     "the slower pace holds in more cases"),
    ("ciwa_ar.total < raised_ciwa", "ciwa_ar.total <= raised_ciwa", "the slower pace holds"),
    ("answer_within: 5 min\n\n#", "answer_within: 9 min\n\n#", "an answer may come later"),
    ("or vital_signs.pulse >= fast_pulse", "", "it calls or acts in fewer cases"),
    ("when: watch.oxygen < low_oxygen", "when: watch.oxygen < 91 %",
     "it calls or acts in fewer cases"),
    ("      - {when: watch.site is swollen, says: The infusion site is swollen}\n", "",
     "a rule that pauses the dose is dropped"),
    ("at_least: 4, at_most: 7", "at_least: 3, at_most: 7", "fewer rounds are held"),
    ("exit_form.ready is yes", "exit_form.ready is yes or settled", "the way to “Linked to care”"),
    ("or intake.unstable is yes\n", "\n", "the way to “Referred elsewhere” is taken in fewer"),
    ("when: last 3 of cows.total < settled_cows and every cows", "when: every cows",
     "a condition is loosened (“Day”: the rounds end in more cases"),
    ("every cows.total of last calm_time", "every cows.total of last 23 h",
     "a condition is loosened (“Day”: the rounds end in more cases"),
    ("unless: nad_agreed and nad_ordered", "unless: nad_agreed", "it may start in more cases"),
    ("within: 12 h", "within: 13 h", "it may follow later"),
    ("always_possible: [linked_to_care, hospital]", "always_possible: [hospital]",
     "an end need not stay reachable"),
    ("completed, work: [naloxone, ", "completed, work: [", "work after leaving is dropped"),
    ("hold_by: [nurse_practitioner, ", "hold_by: [counselor, nurse_practitioner, ",
     "a role is widened"),
    ("obtain: treatment, after", "may_be: [waived], obtain: treatment, after", "left undone"),
    ("record: cssrs\n", "record: cssrs\n        optional: true\n", "a step is optional now"),
    ("times: 1, per: program day", "times: 2, per: program day", "more sessions may be held"),
    ("        when_late: {tell: [nurse_practitioner], answer_within: 30 min}\n", "",
     "nobody is called when it is late"),
    ("when: consent treatment in force}",
     "when: consent treatment in force, override: {by: [prescriber], lasts: 1 h}}",
     "a condition may now be overridden"),
    ("    at_most: {times: 1, per: program day}\n", "", "more sessions may be held"),
    ("high_systolic: {is: 180 mmHg", "high_systolic: {is: 25 kPa", "a limit is loosened"),
    ("  nurse: Registered nurse", "  nurse: Nurse", ""),
    ("if_skipped: {result: negative}", "if_skipped: {result: positive}", "skipped fields"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "loosens"), LOOSENED)
def test_what_loosens_a_safeguard_is_named_and_its_opposite_is_not(
    old: str, new: str, loosens: str
) -> None:
    after = changed((old, new))

    there, back = changes(DETOX, after), changes(after, DETOX)

    assert [loosens in each.loosens for each in there] == [True]
    assert len(back) == 1
    if "skipped" not in loosens:  # what such a field reads as is good or bad for who reads it
        assert back[0].loosens == ""
    assert {(x.before, x.now) for x in there} == {(x.now, x.before) for x in back}


def test_a_condition_whose_form_does_not_tell_stands_among_what_may_be_loosened() -> None:
    found = told(("when: bag_check.sterile is yes", "when: bag_check.sterile is recorded"))

    assert found.loosens.startswith("a condition is another one, and whether it is as strict")
    assert "“NAD+ infusion”" in found.loosens


def test_whoever_is_no_longer_called_is_missed() -> None:
    one = "tell: [nurse_practitioner], answer_within: 15 min"
    found = told((one, one.replace("nurse_practitioner", "nurse")))

    assert found.what == "Step “Watch: NAD+ infusion”, when it is late, who is called"
    assert (found.before, found.now) == ("Nurse practitioner", "Registered nurse")
    assert found.loosens == "somebody is no longer called"


def test_a_way_on_that_is_gone_or_new_is_looked_at_either_way() -> None:
    row = "      - {to: waiting, when: admission.decision is wait}\n"
    more = "      - {to: redirected, when: admission.decision is redirect}\n"

    (come,) = changes(DETOX, after := changed((row, row + more)))
    (gone,) = changes(after, DETOX)

    assert (come.before, come.loosens) == ("", "there is another way on")
    assert (gone.now, gone.loosens) == ("", "a way on is gone")


def test_the_order_of_the_ways_on_is_told() -> None:
    one = "      - {to: stay, when: admission.decision is admit}\n"
    two = "      - {to: waiting, when: admission.decision is wait}\n"

    found = told((one + two, two + one))

    assert found.what == "Phase “Screening”, a way on, in which order"
    assert found.loosens == "the ways on are asked in another order"


def test_what_is_only_written_otherwise_is_no_change() -> None:
    after = changed(
        ("language: 1\n", "# a remark for whoever edits\nlanguage: 1\n"),
        ("high_systolic: {is: 180 mmHg", 'high_systolic: {is: "180 mmHg"'),
        (
            "when: last 3 of cows.total < settled_cows and every",
            "when: (last 3 of cows.total < settled_cows) and every",
        ),
    )

    assert changes(DETOX, after) == ()
    assert "The files are written otherwise" in as_text(in_words(DETOX, after))
    assert "otherwise" not in as_text(in_words(DETOX, DETOX))


# What comes and goes


def test_what_comes_and_goes_is_told_with_its_whole_sentence() -> None:
    step = '              craving_score: {by: [nurse], record: craving, at: "00:00", closes: 1 d, may_be: [declined, missed], source: practice}\n'  # noqa: E501
    after = changed((step, ""), ("after: [baseline, craving_score]", "after: [baseline]"))

    there, back = changes(DETOX, after), changes(after, DETOX)

    (gone,) = [x for x in there if x.name == "craving_score"]
    assert gone.before.startswith("Registered nurse records “")
    assert (gone.now, gone.loosens, gone.patients) == ("", "a step is dropped", "now")
    (come,) = [x for x in back if x.name == "craving_score"]
    assert (come.before, come.now, come.loosens) == ("", gone.before, "")
    assert next(x.what for x in there if x.loosens) == "Step “Infusion”, what comes first"


def test_a_phase_that_is_gone_is_one_that_nobody_in_it_is_moved_from() -> None:
    text = TEXT.replace(
        "  watching:\n    admits: true\n    steps:", "  looking:\n    admits: true\n    steps:"
    )
    old = compile_files({"walk-in/walk-in.yaml": TEXT}, "walk-in/walk-in.yaml")
    new = compile_files(
        {"walk-in/walk-in.yaml": text.replace("start: watching", "start: looking")},
        "walk-in/walk-in.yaml",
    )

    found = {(x.kind, x.name): x for x in changes(old, new)}

    assert found["phase", "watching"].patients == "mapping"
    assert found["phase", "looking"].patients == "next"
    said = as_text(in_words(old, new))
    assert "whoever is in the midst of it is not moved before it is over" in " ".join(said.split())


# Nothing is left out

SHIPPED = ["detox-4-day", "spravato-session", "residential-30-day", "ketamine-group-therapy",
           "ketamine-assisted-therapy"]  # fmt: skip


def test_every_attribute_of_the_model_is_told_or_follows_from_others() -> None:
    tables = {**KINDS, m.Program: PROGRAM}

    for kind, told_ in tables.items():
        names = (
            {each.name for each in attrs.fields(kind)}
            if attrs.has(kind)
            else set(kind.__struct_fields__)  # type: ignore[attr-defined]
        )
        assert names - {"name", "place"} == set(told_) | FOLLOWS.get(kind, frozenset()), kind


def test_whatever_becomes_another_in_a_shipped_program_is_told() -> None:
    """Every attribute of every kind of thing, changed alone, is a change that is told in words."""
    seen: set[tuple[type, str]] = set()
    for name in SHIPPED:
        program = load(name)
        for after in variants(program, seen):
            found = changes(program, after)
            assert found, name
            for each in found:
                assert "object at" not in each.before + each.now + each.what
                assert "(text=" not in each.before + each.now + each.what
    assert {kind for kind, _ in seen} == set(KINDS)


def variants(program: m.Program, seen: set[tuple[type, str]]) -> Iterator[m.Program]:
    """The program with one attribute of something in it otherwise, once for each that there is."""
    for attr in (x.name for x in attrs.fields(m.Program)):
        value = getattr(program, attr)
        if attr in PROGRAM:
            yield from (attrs.evolve(program, **{attr: x}) for x in others(value, seen))
        elif isinstance(value, Mapping) and attr not in ("files", "retention", "roles"):
            for name, each in value.items():
                for other in others(each, seen):
                    table: Any = {attr: {**value, name: other}}
                    yield attrs.evolve(program, **table)
        elif attr in ("never", "always_after", "alerts"):
            yield from (attrs.evolve(program, **{attr: x}) for x in others(value, seen))


def others(value: Any, seen: set[tuple[type, str]]) -> Iterator[Any]:
    """Other values in this one's place."""
    kind = type(value)
    if kind in KINDS:
        make = attrs.evolve if attrs.has(kind) else msgspec.structs.replace
        for attr in KINDS[kind]:
            its = getattr(value, attr)
            known = (kind, attr) in seen and not holds_things(its)
            if its is not None and not known and (kind, attr) != (m.Medicine, "order"):
                for other in others(its, seen):
                    seen.add((kind, attr))
                    yield make(value, **{attr: other})
    elif isinstance(value, Test):
        yield attrs.evolve(value, text="not always", tree=Not(Always()))
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | Decimal):
        yield value + 1
    elif isinstance(value, Duration):
        yield Duration(value.amount + 1, value.unit)
    elif isinstance(value, m.Anchor):
        yield attrs.evolve(value, kind="step" if value.kind == "entering" else "entering")
    elif isinstance(value, time):
        yield time(23, 59)
    elif isinstance(value, str):
        yield "24 h" if value.endswith(" h") and value != "24 h" else f"{value}_2".strip()
    elif isinstance(value, Mapping) and value and isinstance(next(iter(value.values())), str):
        yield {}
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from ({**value, name: other} for other in others(each, seen))
    elif isinstance(value, tuple | frozenset) and value:
        yield type(value)()
        if isinstance(value, tuple):
            for other in others(value[0], seen):
                yield (other, *value[1:])


def holds_things(value: Any) -> bool:
    """Whether it is, or has, something that has attributes of its own."""
    inner = [*value.values()] if isinstance(value, Mapping) else value
    return type(value) in KINDS or any(
        type(x) in KINDS for x in (inner if isinstance(inner, list | tuple) else ())
    )


# The command line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "programs" / "walk-in"
    place.mkdir(parents=True)
    (place / "walk-in@1.0.0.yaml").write_text(TEXT)
    text = TEXT.replace('"1.0.0"', '"1.1.0"').replace("180 mmHg", "190 mmHg")
    (place / "walk-in.yaml").write_text(text)
    return place.parent


def kat_diff(folder: Path, *words: str) -> tuple[int, str]:
    db = str(folder.parent / "clinic.db")
    asked = ["--programs", str(folder), "diff", *words, "--db", db]
    result = CliRunner().invoke(kat, asked, catch_exceptions=False)
    return result.exit_code, " ".join(result.output.split())


def test_two_versions_are_compared_on_the_command_line(folder: Path) -> None:
    code, said = kat_diff(folder, "walk-in@1.0.0", str(folder / "walk-in" / "walk-in.yaml"))

    assert code == 0
    first = said.index("Safeguards that are loosened")
    assert said.index("Limit “High”: from 180 mmHg to 190 mmHg.") > first
    assert "**Limit “High”**" in kat_diff(folder, "walk-in@1.0.0", "walk-in", "--markdown")[1]
    data = json.loads(kat_diff(folder, "walk-in@1.0.0", "walk-in", "--json")[1])
    assert (data["before"]["version"], data["now"]["version"]) == ("1.0.0", "1.1.0")
    (one,) = data["changes"]
    assert (one["kind"], one["name"], one["patients"]) == ("limit", "high", "now")
    place = folder / "walk-in"
    assert data == as_data(load(place / "walk-in@1.0.0.yaml"), load(place / "walk-in.yaml"))


def test_what_was_signed_is_compared_with_what_the_files_say_now(folder: Path) -> None:
    code, said = kat_diff(folder, "walk-in")
    assert code == 2
    assert "no version of walk-in is approved" in said
    file = folder / "walk-in" / "walk-in.yaml"
    now = file.read_text()
    file.write_text(TEXT)
    with Engine.open(folder.parent / "clinic.db", programs=folder) as engine:
        engine.sign_off("walk-in", by=Actor("lee", {"medical_director"}), name="Kim Lee")
    file.write_text(now)

    code, said = kat_diff(folder, "walk-in")

    assert code == 0
    assert "from walk-in 1.0.0" in said
    assert "from 180 mmHg to 190 mmHg" in said


def test_a_question_that_is_dropped_and_one_that_is_new_are_told() -> None:
    remark = "      remark: {label: Remark, type: text, optional: true}\n"
    old = compile_files({"walk-in/walk-in.yaml": TEXT}, "walk-in/walk-in.yaml")
    new = changed((remark, ""), of=old)

    (gone,), (come,) = changes(old, new), changes(new, old)

    assert (gone.what, gone.loosens) == ("Form “Pressure”, “Remark”", "a question is dropped")
    assert (come.now, come.loosens) == ("asked as well", "")


def test_what_is_only_called_otherwise_is_told_as_that() -> None:
    old = compile_files({"walk-in/walk-in.yaml": TEXT}, "walk-in/walk-in.yaml")
    new = changed(
        ("start: watching", "start: seeing"),
        ("  watching:\n", "  seeing:\n    title: Watching\n    renamed_from: [watching]\n"),
        ("look: {by", "first_look: {renamed_from: [look], title: Look, by"),
        ("after: [look]", "after: [first_look]"),
        ("rest: {by", "pause: {renamed_from: [rest], title: Rest, by"),
        ("rest.systolic", "pause.systolic"),
        of=old,
    )

    there, back = changes(old, new), changes(new, old)

    assert {(x.before, x.now, x.patients) for x in there} == {
        ("watching", "seeing", "now"),
        ("look", "first_look", "now"),
        ("rest", "pause", "now"),
    }
    assert {(x.now, x.before) for x in back} == {(x.before, x.now) for x in there}
    assert not [x for x in (*there, *back) if x.loosens]


PRESSURE = "baseline.systolic >= low_systolic and baseline.systolic < high_systolic and baseline.pulse < fast_pulse"  # noqa: E501


@pytest.mark.parametrize(
    ("before", "now", "way"),
    [
        ("baseline.systolic < 180 mmHg", "baseline.systolic < 170 mmHg", "stronger"),
        ("baseline.systolic < 180 mmHg", "baseline.systolic < high_systolic", "same"),
        ("baseline.systolic < 24 kPa", "baseline.systolic <= 24 kPa", "weaker"),
        ("baseline.systolic > 90 mmHg", "baseline.systolic < 90 mmHg", "unclear"),
        ("baseline.systolic != 90 mmHg", "baseline.systolic != 91 mmHg", "unclear"),
        ("baseline.systolic < 90 mmHg", "baseline.pulse < 90 /min", "unclear"),
        ("not (baseline.systolic < 90 mmHg)", "not (baseline.systolic < 80 mmHg)", "weaker"),
        ("baseline.systolic < 180 mmHg", "always", "weaker"),
        ("always", "baseline.systolic < 180 mmHg", "stronger"),
        ("baseline.systolic < 180 mmHg", "baseline.systolic < 180 mmHg or nad_agreed", "weaker"),
        ("nad_agreed or bag_check.sterile is yes", "nad_agreed", "stronger"),
        ("nad_agreed and nad_ordered", "nad_ordered and nad_agreed", "same"),
        ("nad_agreed and nad_ordered", "nad_agreed and settled and opioid_calm", "unclear"),
        ("bag_check.sterile is yes", "bag_check.sterile is no", "unclear"),
        ("last 3 of cows.total < 5 points", "last 2 of cows.total < 5 points", "weaker"),
        ("last 3 of cows.total < 5 points", "last 3 of cows.total < 6 points", "weaker"),
        ("any cows.total of last 24 h < 5 points", "any cows.total of last 30 h < 5 points",
         "weaker"),
        ("every cows.total of last 24 h < 5 points", "any cows.total of last 24 h < 5 points",
         "unclear"),
        ("every cows.total of last 24 h < 5 points", "every cows.total of last 1 d < 5 points",
         "unclear"),
    ],
)  # fmt: skip
def test_whether_a_condition_is_stricter_is_told_where_its_form_tells(
    before: str, now: str, way: str
) -> None:
    old, new = (changed((PRESSURE, x)) for x in (before, now))
    backwards = {"stronger": "weaker", "weaker": "stronger"}.get(way, way)

    def ready(program: m.Program) -> Test:
        return program.sessions["nad_infusion"].ready[2]

    assert compare(ready(old), ready(new), {}) == way
    assert compare(ready(new), ready(old), {}) == backwards
