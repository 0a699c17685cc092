"""Reading gates: what they may say, which name means what where, and what is wrong with one."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest
from attrs import evolve
from gate_cases import (
    GATES,
    IN_DAY,
    IN_SESSION,
    IN_STAY,
    IN_TAPER,
    LIMITS,
    SESSIONS,
    STEPS,
    VOCABULARY,
    WHOLE,
    compiled,
    problems,
)
from hypothesis import given
from hypothesis import strategies as st

from kat_workflow.program.clock import Duration
from kat_workflow.program.gates import RESERVED, Context, Vocabulary, compile_test
from kat_workflow.program.model import Gate, Limit
from kat_workflow.program.truth import Compare, Elapsed, Entering, Fact, Round, Scope, Use
from kat_workflow.program.why import leaves, written

RIGHT = [
    "always",
    "not always",
    "pressure_allows",
    "pressure_allows and calm",
    "(pressure_allows or calm) and not ready",
    "vitals.systolic < high_systolic",
    "vitals.systolic < 180 mmHg",
    "180 mmHg > vitals.systolic",
    "vitals.systolic - vitals.diastolic >= 40 mmHg",
    "- vitals.systolic + 2 * vitals.diastolic < 0 mmHg",
    "0.5 * vitals.weight + 3 kg <= 40 kg",
    "vitals.temperature >= fever",
    "vitals.temperature > 101.3 degF",
    "ciwa_ar.total < settled_ciwa",
    "ciwa_ar.total_band is severe",
    "ciwa_ar.total_band is not mild",
    "ciwa_ar.tremor >= 3",
    "intake.children < bare",
    "intake.substance is alcohol",
    "intake.pregnant is not yes",
    "intake.substances has opioid",
    "intake.substances has not opioid",
    "intake.last_use < intake.first_use",
    "intake.born = intake.moved",
    "intake.sleep >= 8 h",
    "intake.sleep >= 2 d",
    "intake.note is recorded",
    "vitals.systolic is not recorded",
    "intake_evaluation is done",
    "nad_consent is not declined",
    "consent nad in force",
    "age of vitals.systolic < 4 h",
    "age of intake.note < 7 d",
    "time since intake.last_use >= danger_time",
    "time since intake.last_use >= 4 d",
    "some_days <= time since intake.born",
    "time since intake_evaluation done < 30 min",
    "time since nad_infusion started >= 4 h",
    "time since nad_infusion released >= 1 wk",
    "time since entering >= 2 h",
    "time since entering stay >= 2 h",
    "time since entering stay - time since intake_evaluation done > 0 h",
    "count of alcohol_check missed < 3",
    "count of nad_infusion held >= 2",
    "total of drinks.taken within 24 h > 500 mL",
    "total of drinks.taken within 2 wk > 0.5 L",
    "program day >= 4",
    "round = 3",
    "every ciwa_ar.total of last calm_time < settled_ciwa",
    "every ciwa_ar.total of last 3 d < 8 points",
    "any vitals.systolic of last 30 min >= vitals.diastolic",
    "any vitals.symptoms of last 2 h has nausea",
    "last 3 of ciwa_ar.total < 8 points",
    "last 2 of ciwa_ar.total_band is not severe",
    "ever intake.pregnant is yes",
    "ever vitals.systolic > 2 * vitals.diastolic",
    "  vitals.systolic\n <\t180 mmHg ",
    "age of taper.baseline.systolic < 4 h",
]
IN_A_SESSION = [
    "given > 0 mg",
    "given + 100 mg <= 0.5 g",
    "watch.pulse > 130 /min or watch.symptoms has chest_tightness",
    "every watch.pulse of last 30 min < 130 /min",
    "line_check.systolic < 180 mmHg",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_a_clinic_says_is_understood(text: str) -> None:
    test = compiled(text)

    assert test.text == text


@pytest.mark.parametrize("text", RIGHT + IN_A_SESSION)
def test_a_gate_that_is_written_out_again_is_the_same_gate(text: str) -> None:
    test = compiled(text, IN_SESSION)
    again = compiled(written(test.tree), IN_SESSION)

    assert again.tree == test.tree
    assert written(again.tree) == written(test.tree)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  vitals.systolic  <  180   mmHg", "vitals.systolic < 180 mmHg"),
        ("not (not (pressure_allows))", "not not pressure_allows"),
        ("(calm) or (ready and calm)", "calm or (ready and calm)"),
        ("-vitals.systolic+2*vitals.diastolic<0 mmHg",
         "- vitals.systolic + 2 * vitals.diastolic < 0 mmHg"),
    ],
)  # fmt: skip
def test_there_is_one_way_to_write_a_gate(text: str, canonical: str) -> None:
    assert written(compiled(text).tree) == canonical


# Where a name is read.


@pytest.mark.parametrize(
    ("text", "context", "scope", "step", "by"),
    [
        # The innermost enclosing place that has a step recording it.
        ("baseline.systolic", IN_DAY, Scope("day", "phase"), "baseline", ("baseline",)),
        ("baseline.systolic", IN_STAY, Scope("stay", "phase"), "baseline", ("baseline",)),
        ("baseline.systolic", WHOLE, Scope(), "baseline", ("baseline",)),
        ("ciwa_ar.total", IN_DAY, Scope("stay", "phase"), "", ("alcohol_check",)),
        ("intake.pawss", IN_DAY, Scope(), "", ("intake_evaluation",)),
        ("ward_round.pulse", IN_DAY, Scope("stay", "phase"), "ward_round", ("ward_round",)),
        # A form is recorded by every step inside, also by those of the sessions held there.
        ("vitals.systolic", IN_DAY, Scope("day", "phase"), "",
         ("baseline", "line_check", "nad_infusion.watch")),
        ("vitals.systolic", IN_STAY, Scope("stay", "phase"), "",
         ("baseline", "ward_round", "line_check", "nad_infusion.watch")),
        # A session is inside the day that holds it.
        ("vitals.systolic", IN_SESSION, Scope("nad_infusion", "session"), "",
         ("line_check", "nad_infusion.watch")),
        ("watch.systolic", IN_SESSION, Scope("nad_infusion", "session"), "nad_infusion.watch",
         ("nad_infusion.watch",)),
        ("baseline.systolic", IN_SESSION, Scope("day", "phase"), "baseline", ("baseline",)),
        ("baseline.systolic", Context((), "nad_infusion"), Scope("day", "phase"), "baseline",
         ("baseline",)),
        # A contained program knows its own names first.
        ("baseline.systolic", IN_TAPER, Scope("taper", "phase"), "taper.baseline",
         ("taper.baseline",)),
        ("taper.baseline.systolic", WHOLE, Scope(), "taper.baseline", ("taper.baseline",)),
    ],
)  # fmt: skip
def test_a_fact_reads_the_innermost_place_that_records_it(
    text: str, context: Context, scope: Scope, step: str, by: tuple[str, ...]
) -> None:
    tree = compiled(f"age of {text} < 1 h", context).tree

    assert isinstance(tree, Compare)
    ((_, elapsed),) = tree.left
    assert isinstance(elapsed, Elapsed)
    fact = elapsed.since
    assert isinstance(fact, Fact)
    assert (fact.scope, fact.step, fact.by) == (scope, step, by)


def test_a_form_without_any_step_but_for_any_time_is_read_everywhere() -> None:
    without = evolve(VOCABULARY, steps={})

    test, found = compile_test("vitals.pulse < 100 /min", without, IN_DAY)

    assert not found
    assert test is not None
    ((leaf),) = leaves(test.tree)
    assert isinstance(leaf, Compare)
    assert isinstance(leaf.left[0][1], Fact)
    assert leaf.left[0][1].scope == Scope()


def test_a_gate_that_is_used_is_read_anew_where_it_is_used() -> None:
    outer, inner = compiled("pressure_allows", IN_STAY).tree, compiled("pressure_allows").tree

    assert isinstance(outer, Use)
    assert isinstance(inner, Use)
    assert outer.gate == inner.gate == "pressure_allows"
    assert outer.node != inner.node


def test_gates_and_limits_of_a_contained_program_are_its_own() -> None:
    from_inside = compiled("fine", IN_TAPER)
    from_outside = compiled("taper.fine", WHOLE)

    assert from_inside.gates == ("taper.fine", "taper.pressure_allows", "calm")
    assert from_outside.gates == from_inside.gates
    assert next(written(leaf) for leaf in leaves(from_inside.tree)) == (
        "baseline.systolic < taper.high_systolic"
    )


def test_the_round_and_the_entry_are_those_of_the_innermost_phase() -> None:
    tree = compiled("round >= 2").tree
    entering = compiled("time since entering >= 1 h").tree
    unrepeated, _ = compile_test("round >= 2", evolve(VOCABULARY, repeated=()), IN_STAY)

    assert isinstance(tree, Compare)
    assert tree.left[0][1] == Round("day")
    assert isinstance(entering, Compare)
    assert entering.left[0][1] == Elapsed(Entering("day"))
    assert unrepeated is not None
    assert isinstance(unrepeated.tree, Compare)
    assert unrepeated.tree.left[0][1] == Round("stay")


# What a test tells about itself.


def test_a_test_tells_what_it_needs_to_know() -> None:
    test = compiled(
        "ready and last 3 of ciwa_ar.total < 8 points and ever intake.pregnant is no "
        "and total of drinks.taken within 7 d < 1 L and nad_consent is done "
        "and time since baseline done < 4 h and count of alcohol_check missed < 3 "
        "and count of nad_infusion counted < 9 and drinks_check.taken < 5 mL"
    )

    assert test.gates == ("ready", "pressure_allows", "calm")
    assert test.says["calm"] == "Withdrawal has settled"
    assert test.steps == ("nad_consent", "baseline", "drinks_check")
    assert test.tallies == ("alcohol_check:missed", "nad_infusion:counted")
    assert test.reads == (
        ("vitals", 1, None, False),
        ("ciwa_ar", 1, Duration(24, "h"), False),
        ("intake", 1, None, False),
        ("ciwa_ar", 3, None, False),
        ("intake", 1, None, True),
        ("drinks", 1, Duration(7, "d"), False),
        ("drinks", 1, None, False),
    )


def test_a_test_tells_which_fields_it_reads_and_in_which_place() -> None:
    test = compiled(
        "watch.pulse < 130 /min and last 2 of watch.pulse < 130 /min and baseline.pulse < 99 /min "
        "and last 2 of baseline.pulse < 99 /min and age of intake.note < 4 h "
        "and total of drinks.taken within 4 h < 1 L and consent nad in force",
        IN_SESSION,
    )

    assert test.facts == (
        ("vitals", "pulse", "nad_infusion.watch", "nad_infusion"),
        ("vitals", "pulse", "baseline", "day"),
        ("vitals", "pulse", "baseline", ""),
        ("intake", "note", "", ""),
        ("drinks", "taken", "", ""),
    )
    assert test.consents == ("nad",)


@pytest.mark.parametrize(
    ("text", "temporal"),
    [
        ("vitals.systolic < 180 mmHg", False),
        ("intake.pregnant is yes", False),
        ("last 3 of ciwa_ar.total < 8 points", False),
        ("ever intake.pregnant is yes", False),
        ("count of nad_infusion held >= 2", False),
        ("nad_consent is done", False),
        ("laboratory.potassium is recorded", False),
        ("round >= 2", False),
        ("always", False),
        ("laboratory.potassium > 3.5 mmol/L", True),  # its result expires
        ("last 2 of laboratory.potassium > 3.5 mmol/L", True),
        ("age of vitals.systolic < 4 h", True),
        ("time since entering >= 4 h", True),
        ("program day >= 4", True),
        ("every ciwa_ar.total of last 24 h < 8 points", True),
        ("any ciwa_ar.total of last 24 h < 8 points", True),
        ("total of drinks.taken within 24 h > 500 mL", True),
        ("consent nad in force", True),
        ("pressure_allows and calm", True),
    ],
)
def test_a_test_knows_whether_time_alone_can_turn_it(text: str, temporal: bool) -> None:
    test = compiled(text)

    assert test.temporal is temporal
    assert test.timed or not temporal


def test_on_the_stop_side_no_result_expires() -> None:
    assert not compiled("laboratory.potassium > 3.5 mmol/L", side="stop").temporal


@pytest.mark.parametrize(
    ("text", "always"),
    [
        ("always", True),
        ("always and always", True),
        ("always or calm", True),
        ("forever", True),
        ("always and calm", False),
        ("not always", False),
        ("calm", False),
    ],
)
def test_a_test_knows_whether_it_always_holds(text: str, always: bool) -> None:
    assert compiled(text).always is always


def test_only_the_go_side_of_a_gate_can_be_overridden() -> None:
    go, stop = compiled("pressure_allows").tree, compiled("pressure_allows", side="stop").tree

    assert isinstance(go, Use)
    assert isinstance(stop, Use)
    assert go.by == ("prescriber", "attending_nurse")
    assert stop.by == ()


def test_numbers_and_limits_are_exact() -> None:
    tree = compiled("0.1 * vitals.weight < 12345678901.123456789 kg").tree

    assert isinstance(tree, Compare)
    assert tree.right[0][1].unit.code == "kg"
    assert written(tree) == "0.1 * vitals.weight < 12345678901.123456789 kg"


# What is wrong with a gate.


@pytest.mark.parametrize(
    ("text", "code", "marked", "hint"),
    [
        # Sentences
        ("", "gate-syntax", "", ""),
        ("   ", "gate-syntax", "", ""),
        ("calm and", "gate-syntax", "", ""),
        ("and calm", "gate-syntax", "and", ""),
        ("calm calm", "gate-syntax", "calm", "join conditions with and, or"),
        ("(calm", "gate-syntax", "", "close it with )"),
        ("calm)", "gate-syntax", ")", "one bracket too many is closed"),
        ("()", "gate-syntax", ")", ""),
        ("calm and or ready", "gate-syntax", "or", ""),
        ("vitals.systolic == 180 mmHg", "gate-syntax", "==", "write ="),
        ("vitals.systolic => 180 mmHg", "gate-syntax", "=>", "write >="),
        ("vitals.systolic ≥ 180 mmHg", "gate-syntax", "≥", "write >="),
        ("vitals.systolic <> 180 mmHg", "gate-syntax", "<>", "write !="),
        ("calm && ready", "gate-syntax", "&&", "write and"),
        ("calm || ready", "gate-syntax", "||", "write or"),
        ("!calm", "gate-syntax", "!", "write not"),
        ("calm # later", "gate-syntax", "#", "a gate is made of words"),
        ("calm AND ready", "gate-syntax", "AND", "small letters: and"),
        ("Calm", "gate-syntax", "Calm", "small letters: calm"),
        ("vitals.Systolic < 3", "gate-syntax", "vitals.Systolic", "small letters: vitals.systolic"),
        ("__import__", "gate-syntax", "__import__", "a gate is made of words"),
        ("vitals.systolic < 180mmHg", "gate-syntax", "180mmHg", "one space"),
        ("vitals.systolic < 1e5 mmHg", "gate-syntax", "1e5", "one space"),
        ("vitals.systolic < mm[Hg]", "gate-syntax", "[", "mmHg"),
        ("vitals.systolic < 5.", "gate-syntax", "5.", ""),
        ("vitals.systolic / 2 < 90 mmHg", "gate-syntax", "/", "0.5 * x"),
        ("80 mmHg < vitals.systolic < 180 mmHg", "gate-syntax", "<", "a < b and b < c"),
        ("vitals.systolic * 2 < 180 mmHg", "gate-syntax", "vitals.systolic *", "2 * x, not x * 2"),
        ("vitals.systolic <", "gate-syntax", "", ""),
        ("vitals.systolic + < 3 mmHg", "gate-syntax", "<", ""),
        ("vitals.systolic + 3 mmHg", "gate-syntax", "", ""),
        ("2 * < 3", "gate-syntax", "<", ""),
        ("3", "gate-syntax", "", ""),
        ("vitals.systolic", "gate-syntax", "vitals.systolic", "compare it: vitals.systolic <"),
        ("intake.pregnant and calm", "gate-syntax", "intake.pregnant", "intake.pregnant is yes"),
        ("intake.substance", "gate-syntax", "intake.substance", "intake.substance is"),
        ("intake.substances", "gate-syntax", "intake.substances", "intake.substances has"),
        ("intake.note", "gate-syntax", "intake.note", ""),
        ("intake.substance is", "gate-syntax", "", "compare with ="),
        ("intake.substance is 3", "gate-syntax", "3", "compare with ="),
        ("baseline is 3", "gate-syntax", "3", ""),
        ("consent nad", "gate-syntax", "", ""),
        ("consent 3", "gate-syntax", "3", ""),
        ("consent in force", "gate-syntax", "in", ""),
        ("in force", "gate-syntax", "in", "consent nad in force"),
        ("watch < 3", "gate-syntax", "watch", "watch.field"),
        ("recorded", "gate-syntax", "recorded", "form.field is recorded"),
        ("last few of vitals.pulse < 3 /min", "gate-syntax", "few", "last 3 of"),
        ("last 1.5 of vitals.pulse < 3 /min", "gate-syntax", "1.5", ""),
        ("last 0 of vitals.pulse < 3 /min", "gate-syntax", "0", ""),
        ("last 101 of vitals.pulse < 3 /min", "gate-syntax", "101", ""),
        ("last 3 vitals.pulse < 3 /min", "gate-syntax", "vitals.pulse", ""),
        ("every vitals.pulse < 3 /min", "gate-syntax", "<", ""),
        ("every vitals.pulse of last < 3 /min", "gate-syntax", "<", ""),
        ("time since 3 > 2 h", "gate-syntax", "3", ""),
        ("time since intake_evaluation > 2 h", "gate-syntax", "intake_evaluation", "done"),
        ("time > 2 h", "gate-syntax", "time", ""),
        ("count of nad_infusion > 2", "gate-syntax", ">", ""),
        ("count of 3 done > 2", "gate-syntax", "3", ""),
        ("total of drinks.taken > 2 L", "gate-syntax", ">", ""),
        ("program > 2", "gate-syntax", "program", ""),
        # Names
        ("clam", "unknown-name", "clam", 'did you mean "calm"?'),
        ("xyzzy", "unknown-name", "xyzzy", ""),
        ("vitals.sistolic < high_systolic", "unknown-name", "sistolic", '"systolic"?'),
        ("ciwa_ar.plain_band is severe", "unknown-name", "plain_band", ""),
        ("vitls.systolic < high_systolic", "unknown-name", "vitls.systolic", '"vitals"?'),
        ("vitals.systolic < hi_systolic", "unknown-name", "hi_systolic", '"high_systolic"?'),
        ("vitals < high_systolic", "type-mismatch", "vitals", "write vitals.field"),
        ("intake.substance is alcool", "unknown-name", "alcool", '"alcohol"?'),
        ("intake.substance is xyzzy", "unknown-name", "xyzzy", "it may be alcohol, opioid"),
        ("intake.pregnant is maybe", "unknown-name", "maybe", "it may be yes, no"),
        ("consent nat in force", "unknown-name", "nat", '"nad"?'),
        ("basline is done", "unknown-name", "basline", '"baseline"?'),
        ("xyzzy is done", "unknown-name", "xyzzy", "a field is form.field"),
        ("time since entering staay > 2 h", "unknown-name", "staay", '"stay"?'),
        ("time since basline done > 2 h", "unknown-name", "basline", '"baseline"?'),
        ("count of basline done > 2", "unknown-name", "basline", '"baseline"?'),
        ("age of xyzzy > 2 h", "unknown-name", "xyzzy", "a field is written form.field"),
        ("every ciwa_ar.total of last calm_tim < 8 points", "unknown-name", "calm_tim",
         "calm_time"),
        ("pressure_alows", "unknown-name", "pressure_alows", '"pressure_allows"?'),
        # Kinds of names
        ("high_systolic", "type-mismatch", "high_systolic", "form.field < high_systolic"),
        ("calm < 3", "type-mismatch", "calm", "stands alone"),
        ("baseline", "type-mismatch", "baseline", "baseline is done"),
        ("nad_infusion", "type-mismatch", "nad_infusion", "count of nad_infusion held"),
        ("nad", "type-mismatch", "nad", "consent nad in force"),
        ("stay", "type-mismatch", "stay", "time since entering stay"),
        ("age of calm > 2 h", "type-mismatch", "calm", ""),
        ("nad_infusion has nausea", "type-mismatch", "nad_infusion", "name.field has"),
        ("every ciwa_ar.total of last baseline < 8 points", "type-mismatch", "baseline", ""),
        # Types
        ("vitals.systolic is yes", "type-mismatch", "is yes", "compare it with"),
        ("intake.substances is alcohol", "type-mismatch", "is alcohol", "has alcohol"),
        ("intake.substance has alcohol", "type-mismatch", "has alcohol", "is alcohol"),
        ("intake.pregnant has yes", "type-mismatch", "has yes", "is yes"),
        ("intake.substance = 3", "type-mismatch", "intake.substance", "is alcohol"),
        ("3 < intake.substances", "type-mismatch", "intake.substances", "has alcohol"),
        ("intake.note = 3", "type-mismatch", "intake.note", "is recorded"),
        ("intake.note is good", "type-mismatch", "intake.note", "is recorded"),
        ("intake.last_use > 96 h", "type-mismatch", "intake.last_use > 96 h",
         "time since intake.last"),
        ("intake.last_use < intake.born", "type-mismatch", "intake.last_use < intake.born", ""),
        ("intake.last_use + intake.first_use < 3", "type-mismatch",
         "intake.last_use + intake.first_use < 3", "time since"),
        ("time since vitals.systolic > 2 h", "type-mismatch", "vitals.systolic", "age of vitals"),
        ("total of intake.pregnant within 24 h > 3", "type-mismatch", "intake.pregnant", ""),
        ("total of vitals.temperature within 24 h > 3 K", "type-mismatch",
         "vitals.temperature", ""),
        ("total of drinks.taken within 1 mL > 3 L", "type-mismatch", "1 mL", "24 h"),
        ("total of drinks.taken within 1.5 h > 3 L", "type-mismatch", "1.5 h", "24 h"),
        ("total of drinks.taken within 0 h > 3 L", "type-mismatch", "0 h", ""),
        ("total of drinks.taken within 999999 wk > 3 L", "type-mismatch", "999999 wk", ""),
        ("every ciwa_ar.total of last settled_ciwa < 8 points", "type-mismatch",
         "settled_ciwa", ""),
        ("last 3 of intake.last_use < intake.first_use", "type-mismatch",
         "last 3 of intake.last_use < intake.first_use", "several"),
        ("ever vitals.systolic < round", "unit-mismatch", "round", ""),
        ("ever intake.children < round", "type-mismatch", "ever intake.children < round", ""),
        ("time since entering > 999999 wk", "type-mismatch", "999999 wk", ""),
        ("3 < 4", "no-fact", "3 < 4", ""),
        ("high_systolic > 170 mmHg", "no-fact", "high_systolic > 170 mmHg", ""),
        # Units
        ("vitals.systolic < 180", "unit-missing", "180", "write 180 mmHg"),
        ("180 > vitals.systolic", "unit-missing", "180", "write 180 mmHg"),
        ("vitals.systolic + 3 < 180 mmHg", "unit-missing", "vitals.systolic + 3", "write 3 mmHg"),
        ("vitals.systolic < 180 mg", "unit-mismatch", "180 mg", "pressure in mmHg"),
        ("vitals.systolic < settled_ciwa", "unit-mismatch", "settled_ciwa", "pressure in mmHg"),
        ("vitals.systolic < bare", "unit-mismatch", "bare", ""),
        ("vitals.systolic < vitals.pulse", "unit-mismatch", "vitals.pulse", ""),
        ("ciwa_ar.tremor < 3 points", "unit-mismatch", "3 points", "plain number"),
        ("intake.pawss >= 4", "unit-missing", "4", "write 4 points"),
        ("vitals.systolic < 180 mmhg", "unit-unknown", "mmhg", '"mmHg"?'),
        ("vitals.systolic < 180 sheep", "unit-unknown", "sheep", ""),
        ("intake.odd < 3", "unit-unknown", "intake.odd", ""),
        ("intake.children < odd_limit", "unit-unknown", "odd_limit", ""),
        ("every ciwa_ar.total of last odd_limit < 8 points", "unit-unknown", "odd_limit", ""),
        ("2 * vitals.temperature > 60 Cel", "unit-mismatch", "2 * vitals.temperature > 60 Cel", ""),
        ("vitals.temperature - 38 Cel > 1 Cel", "unit-mismatch",
         "vitals.temperature - 38 Cel > 1 Cel", ""),
        ("time since entering + 2 h > 3 d", "unit-mismatch",
         "time since entering + 2 h > 3 d", "write h"),
        ("time since entering > 1.5 d", "unit-mismatch", "time since entering > 1.5 d", "write h"),
        ("time since entering > 2 mL", "unit-mismatch", "2 mL", ""),
        # Scopes and what nobody records
        ("watch.pulse > 100 /min", "not-in-scope", "watch.pulse", "last 1 of form.field"),
        ("nad_infusion.watch.pulse > 100 /min", "not-in-scope", "nad_infusion.watch.pulse", ""),
        ("given > 0 mg", "not-in-scope", "given", ""),
        ("unused.x > 3", "never-recorded", "unused.x", "record: unused"),
        ("nad_consent.x > 3", "never-recorded", "nad_consent.x", ""),
        ("consent ketamine in force", "never-obtained", "ketamine", "obtain: ketamine"),
        # Outcomes
        ("baseline is declined", "wrong-outcome", "declined", "it may be done"),
        ("nad_consent is missed", "wrong-outcome", "missed", "declined, done, skipped"),
        ("time since baseline missed > 2 h", "wrong-outcome", "missed", ""),
        ("time since nad_infusion held > 2 h", "wrong-outcome", "held", "started, given, released"),
        ("count of nad_infusion done > 2", "wrong-outcome", "done", "held, started"),
        ("count of baseline missed > 2", "wrong-outcome", "missed", ""),
        # Whole gates
        ("calm and ready or calm", "mixed-and-or", "or", "brackets"),
        ("around", "gate-cycle", "around", "write one of them out"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_said_at_its_place_with_a_way_out(
    text: str, code: str, marked: str, hint: str
) -> None:
    found = problems(text)

    assert [(p.code, text[p.start : p.end]) for p in found] == [(code, marked)]
    assert hint in found[0].hint or hint in found[0].message


def test_every_problem_of_a_text_is_said_at_once_and_in_order() -> None:
    text = "clam or vitals.systolic < 180 and intake.substance is alcool or baseline is missed"

    codes = [p.code for p in problems(text)]

    assert codes == [
        "unknown-name", "unit-missing", "mixed-and-or", "unknown-name", "wrong-outcome",
    ]  # fmt: skip


def test_no_more_than_twenty_problems_are_said() -> None:
    assert len(problems(" and ".join(["clam"] * 150))) == 20


@pytest.mark.parametrize("context", [WHOLE, Context(session="talk")])
@pytest.mark.parametrize(
    "text", ["given > 0 mg", "watch.pulse < 3 /min", "round > 1", "time since entering > 1 h"]
)
def test_what_belongs_to_a_session_or_phase_is_not_in_scope_without_one(
    text: str, context: Context
) -> None:
    (found,) = problems(text, context)

    assert found.code == "not-in-scope"


def test_a_fault_inside_a_gate_is_told_where_the_gate_is_used() -> None:
    inside = problems("calm and on_broken")

    assert [(p.code, p.gate, p.start, p.end) for p in inside] == [
        ("unit-missing", "broken", 9, 18),
        ("unknown-name", "broken", 9, 18),
    ]
    assert all(p.message.startswith('in gate "broken": ') for p in inside)


def test_a_gate_that_fits_one_place_need_not_fit_another() -> None:
    assert compiled("watched", IN_SESSION).gates == ("watched",)
    assert [(p.code, p.gate) for p in problems("watched")] == [("not-in-scope", "watched")]


def test_a_form_that_is_missing_from_the_program_is_said() -> None:
    vocabulary = evolve(VOCABULARY, forms={})

    _, found = compile_test("baseline.systolic < 3 mmHg", vocabulary, IN_DAY)

    assert [(p.code, p.message) for p in found] == [("unknown-name", 'there is no form "vitals"')]


def test_no_name_of_the_program_is_a_word_of_the_language() -> None:
    names = {*STEPS, *SESSIONS, *LIMITS, *GATES}

    assert not names & RESERVED


# Hostile texts.


def bounded(text: str, vocabulary: Vocabulary = VOCABULARY) -> list[str]:
    """The problems of a text that is read in bounded work, counted in calls: clocks are shared."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event.endswith("call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        test, found = compile_test(text, vocabulary, IN_DAY)
    finally:
        sys.setprofile(before)
    assert calls < 200_000
    assert (test is None) == bool(found)
    return [p.code for p in found]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 1_999,
        "not " * 400 + "calm",
        "(" * 31 + "calm" + ")" * 31,
        " and ".join(["calm"] * 10_000),
        " and ".join(["a"] * 250),
        "vitals.pulse" + " + 1" * 450 + " < 3",
        "calm " * 100_000,
        " " * 1_000_000,
    ],
)
def test_a_gate_that_is_too_long_or_too_deep_ends_in_a_problem_and_soon(text: str) -> None:
    assert "gate-too-long" in bounded(text)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2_000,
        "x.x" * 600,
        "9" * 2_000,
        "1 " * 900,
        "." * 2_000,
        "\x00" * 50,
        "calm\u2028or",
        "is is is is",
        "not not",
        "vitals.pulse < 1 " + "a" * 1_900,
        "vitals.pulse < 1 " + "mg/" * 600,
        "last 99999999999999999999999 of vitals.pulse < 3 /min",
    ],
)
def test_no_nonsense_takes_long(text: str) -> None:
    assert bounded(text)


def test_thirty_levels_of_brackets_and_two_hundred_conditions_are_enough() -> None:
    assert compiled("(" * 29 + "calm" + ")" * 29).gates == ("calm",)
    assert compiled(" and ".join(["calm"] * 200)).gates == ("calm",)


def test_gates_that_use_each_other_without_end_or_too_deep_end_in_a_problem() -> None:
    chain = {f"g{n}": Gate(f"g{n}", "", f"g{n + 1}") for n in range(100)}
    chain["g100"] = Gate("g100", "", "always")
    doubling = {f"g{n}": Gate(f"g{n}", "", f"g{n + 1} and g{n + 1}") for n in range(25)}
    doubling["g25"] = Gate("g25", "", "always")
    short = {f"g{n}": Gate(f"g{n}", "", f"g{n + 1}") for n in range(29)}
    short["g29"] = Gate("g29", "", "always")

    assert "gate-too-long" in bounded("g0", Vocabulary(gates=chain))
    assert "gate-too-long" in bounded("g0", Vocabulary(gates=doubling))
    assert bounded("g0", Vocabulary(gates=short)) == []


WORDS = st.sampled_from(
    [*sorted(RESERVED), "(", ")", "<", ">=", "=", "+", "-", "*", "3", "180", "mmHg", "24 h", "calm",
     "vitals.systolic", "ciwa_ar.total", "intake.substance", "alcohol", "nad", "baseline", "done",
     "nad_infusion", "held", "high_systolic", "day", "watch.pulse", "x", "x.y", "program day"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=80))
def test_any_text_is_a_test_or_has_problems_within_the_text(text: str) -> None:
    test, found = compile_test(text, VOCABULARY, IN_SESSION)

    assert (test is None) == bool(found)
    for problem in found:
        assert 0 <= problem.start <= problem.end <= len(text)
        assert problem.message
    if test is not None:
        again, _ = compile_test(written(test.tree), VOCABULARY, IN_SESSION)
        assert again is not None
        assert again.tree == test.tree


def test_a_limit_may_be_any_exact_number() -> None:
    limits = {"tiny": Limit("tiny", Decimal("0.000000001"), "kg")}

    test, _ = compile_test("vitals.weight > tiny", evolve(VOCABULARY, limits=limits), IN_DAY)

    assert test is not None
    assert written(test.tree) == "vitals.weight > tiny"
