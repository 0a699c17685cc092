"""A program is read as its keys ask; what does not fit is said, and the rest is still read."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest
from attrs import asdict, fields, frozen, has
from hypothesis import given, settings
from hypothesis import strategies as st

from kat_workflow.errors import Finding
from kat_workflow.language import grammar
from kat_workflow.language.findings import render
from kat_workflow.language.reader import read
from kat_workflow.language.structure import structure


def written(text: str, cls: type = grammar.Step) -> tuple[Any, tuple[Finding, ...]]:
    document = read("a.yaml", text)
    assert document.findings == ()
    return structure(document, cls)


def said(text: str, cls: type = grammar.Step) -> list[str]:
    """Every finding as `line:column code: message; hint`."""
    return [str(finding).removeprefix("a.yaml:") for finding in written(text, cls)[1]]


# What fits


def test_a_step_is_read_with_its_defaults() -> None:
    step, findings = written("by: [nurse]\ndue: 24 h\nsigned: true\nat_most: 3\n")

    assert findings == ()
    assert (step.by, step.due, step.signed, step.at_most) == (["nurse"], "24 h", True, 3)
    assert (step.record, step.on_hold, step.every, step.on_day) == ("", "pauses", [], None)


def test_a_text_is_kept_as_it_is_written() -> None:
    consent, findings = written("title: true\nversion: 1.10\n", grammar.Consent)

    assert findings == ()
    assert (consent.title, consent.version) == ("true", "1.10")
    assert type(written("title: 'x'\n", grammar.Consent)[0].title) is str


def test_a_number_is_exact() -> None:
    field, findings = written("type: decimal\nfrom: 0.10\nto: 7\n", grammar.Field)

    assert findings == ()
    assert (str(field.from_), field.to) == ("0.10", Decimal(7))


def test_phases_hold_tracks_that_hold_phases() -> None:
    text = "tracks: {care: {start: a, phases: {a: {steps: {b: {by: [nurse]}}}}}}\n"

    phase, findings = written(text, grammar.Phase)

    assert findings == ()
    assert phase.tracks["care"].phases["a"].steps["b"].by == ["nurse"]


def test_each_file_begins_a_list_of_its_own() -> None:
    first, _ = written("by: [nurse]\n")
    second, _ = written("by: [nurse]\n")

    assert first.after == second.after == []
    assert first.after is not second.after


# What does not fit


@pytest.mark.parametrize(
    ("text", "cls", "finding"),
    [
        (
            "by: [nurse]\nrecrod: vitals",
            grammar.Step,
            '2:1 unknown-key: a step has no key `recrod`; did you mean "record"?',
        ),
        (
            "tell: [nurse]\nanswer_within: 1 h\nxyz: 1",
            grammar.Tell,
            "3:1 unknown-key: a tell has no key `xyz`; it may have: tell, answer_within, then, "
            "escalation",
        ),
        (
            "signed: true",
            grammar.Step,
            "1:1 missing-key: a step needs the key `by`; add `by:` Roles that may do it.",
        ),
        (
            "when: always",
            grammar.Row,
            "1:1 missing-key: a row needs the key `to`; "
            "add `to:` The phase, end, `finish` or `back` that is gone to.",
        ),
        (
            "by: nurse",
            grammar.Step,
            "1:5 wrong-type: `by` is a list; here stands the text `nurse`; write [nurse]",
        ),
        (
            "by:",
            grammar.Step,
            "1:4 wrong-type: `by` is a list; here stands nothing; "
            "leave the key out, or write its value",
        ),
        (
            "by: [[nurse]]",
            grammar.Step,
            "1:6 wrong-type: `by` is text; here stands a list; write it without the brackets",
        ),
        (
            "by: {nurse: 1}",
            grammar.Step,
            "1:1 wrong-type: `by` is a list; here stands a mapping",
        ),
        (
            "by: [a]\nsigned: yes",
            grammar.Step,
            "2:9 wrong-type: `signed` is true or false; here stands the text `yes`; "
            "write true or false",
        ),
        (
            "by: [a]\nsigned: 'true'",
            grammar.Step,
            "2:9 wrong-type: `signed` is true or false; here stands the text `true`; "
            "write true or false",
        ),
        (
            "by: [a]\nat_most: '3'",
            grammar.Step,
            "2:10 wrong-type: `at_most` is a whole number; here stands the text `3`; "
            "write it without quotes",
        ),
        (
            "by: [a]\nat_most: 3.5",
            grammar.Step,
            "2:10 wrong-type: `at_most` is a whole number; here stands the text `3.5`; "
            "write a whole number",
        ),
        (
            "by: [a]\nat_most: three",
            grammar.Step,
            "2:10 wrong-type: `at_most` is a whole number; here stands the text `three`",
        ),
        (
            "type: decimal\nfrom: low",
            grammar.Field,
            "2:7 wrong-type: `from` is a number; here stands the text `low`",
        ),
        (
            "steps:\n  check:",
            grammar.Phase,
            "2:9 wrong-type: `check` is a mapping of keys to values; here stands nothing; write {}",
        ),
        (
            "steps: [check]",
            grammar.Phase,
            "1:1 wrong-type: `steps` is a mapping of keys to values; here stands a list",
        ),
        (
            "by: [a]\ndue: 24h",
            grammar.Step,
            "2:6 bad-duration: `due` is a length of time, not `24h`; write `24 h`",
        ),
        (
            "by: [a]\ndue: 2 Hours",
            grammar.Step,
            "2:6 bad-duration: `due` is a length of time, not `2 Hours`; write `2 h`",
        ),
        (
            "by: [a]\ndue: soon",
            grammar.Step,
            "2:6 bad-duration: `due` is a length of time, not `soon`; "
            "write a whole number, a space and s, min, h, d or wk: `15 min`",
        ),
        (
            "by: [a]\nat: 9:00",
            grammar.Step,
            "2:5 bad-clock: `at` is a clock time, not `9:00`; write `09:00`",
        ),
        (
            "by: [a]\nat: noon",
            grammar.Step,
            "2:5 bad-clock: `at` is a clock time, not `noon`; "
            "write hours and minutes with two digits each: `09:00`",
        ),
        (
            "by: [a]\nmay_be: [done, declined]",
            grammar.Step,
            "2:10 not-one-of: `may_be` is declined, skipped, missed, waived, withheld or unable, "
            "not `done`; write declined, skipped, missed, waived, withheld or unable",
        ),
        (
            "by: [a]\non_hold: run",
            grammar.Step,
            "2:10 not-one-of: `on_hold` is runs, pauses or restarts, not `run`; "
            'did you mean "runs"?',
        ),
        (
            "at_most: 3\none_per: day",
            grammar.Repeat,
            "2:10 not-one-of: `one_per` is program day, not `day`; write program day",
        ),
        (
            "title: x\ntrust: [A]",
            grammar.Source,
            "2:1 wrong-type: `trust` is text; here stands a list; write it without the brackets",
        ),
        (
            "steps: {Check: {by: [a]}}",
            grammar.Phase,
            "1:9 bad-name: `Check` cannot be a name; "
            "a name is small letters, digits and `_`, and begins with a letter",
        ),
        (
            "from: 1\nname: 'true'",
            grammar.Band,
            "2:7 bad-name: `name` is a name, not `true`; "
            "a name is small letters, digits and `_`, and begins with a letter",
        ),
        (
            "title: x\ntrust: '" + "y" * 50 + "'",
            grammar.Source,
            "2:8 not-one-of: `trust` is A, B or C, not `" + "y" * 39 + "…`; write A, B or C",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_a_way_out(text: str, cls: type, finding: str) -> None:
    assert said(text, cls) == [finding]


def test_all_that_does_not_fit_is_said_at_once_in_the_order_of_the_file() -> None:
    text = "steps:\n  check: {due: 1h, sined: true}\n  B: {by: [c], at: 1}\nnext: x\norder: y\n"

    assert [line.split(";")[0].split()[:2] for line in said(text, grammar.Phase)] == [
        ["2:3", "missing-key:"],
        ["2:16", "bad-duration:"],
        ["2:20", "unknown-key:"],
        ["3:3", "bad-name:"],
        ["3:20", "bad-clock:"],
        ["4:7", "wrong-type:"],
        ["5:1", "unknown-key:"],
    ]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a\n", "---\n"])
def test_a_file_that_is_no_mapping_is_no_program(text: str) -> None:
    program, (finding,) = written(text, grammar.Program)

    assert program is None
    assert finding.code == "wrong-type"
    assert finding.message.startswith("the file is a mapping of keys to values; here stands ")


# What is still read


def test_a_mistyped_key_is_taken_for_the_one_that_was_meant() -> None:
    step, findings = written("byy: [nurse]\nrecrod: vitals\n")

    assert [finding.code for finding in findings] == ["unknown-key", "unknown-key"]
    assert (step.by, step.record) == (["nurse"], "vitals")


def test_what_a_mistyped_key_holds_is_looked_at_as_well() -> None:
    phase, findings = written("stepps:\n  check: {by: [a], recrod: b, due: 1h}\n", grammar.Phase)

    assert [str(finding.place) for finding in findings] == [
        "a.yaml:1:1",
        "a.yaml:2:20",
        "a.yaml:2:36",
    ]
    assert (phase.steps["check"].record, phase.steps["check"].due) == ("b", "")


def test_a_key_that_is_there_already_is_not_meant() -> None:
    step, findings = written("by: [a]\nbyy: [b]\nbyyy: [c]\n")

    assert len(findings) == 2
    assert step.by == ["a"]


def test_two_keys_may_be_mistyped_for_the_same() -> None:
    step, findings = written("recrod: a\nreccord: b\nby: [c]\n")

    assert [finding.code for finding in findings] == ["unknown-key", "unknown-key"]
    assert step.record in ("a", "b")


def test_what_cannot_be_read_is_left_out_and_the_rest_is_read() -> None:
    step, _ = written("by: [nurse, [x]]\ndue: 1h\non_hold: run\nalerts: 7\ntitle: t\norder: o\n")

    assert (step.by, step.due, step.on_hold, step.alerts) == (["nurse", ""], "", "pauses", [])
    assert step.title == "t"


def test_a_required_value_that_cannot_be_read_is_empty() -> None:
    program, findings = written("language: one\nversion: [1]\nphases: {stay: 3}\n", grammar.Program)

    assert len(findings) == 8
    assert (program.language, program.version, program.title, program.roles) == (1, "", "", {})
    assert program.phases["stay"].steps == {}


def test_every_kind_of_value_can_be_empty() -> None:
    session, _ = written("by: 1\nrelease: 2\n", grammar.Session)
    repeat, _ = written("at_most: x\n", grammar.Repeat)
    row, _ = written("to: [a]\nwhen: [b]\n", grammar.Row)
    source, _ = written("title: x\ntrust: D\n", grammar.Source)
    band, _ = written("from: x\nname: X\n", grammar.Band)

    assert (session.by, session.release.earliest, session.release.signed_by) == ([], "", [])
    assert (repeat.at_most, row.to, source.trust) == (1, "", "")
    assert (band.from_, band.name) == (1, "")


def test_a_name_that_is_none_is_still_known() -> None:
    phase, (finding,) = written("steps: {Check: {by: [a]}}\n", grammar.Phase)

    assert finding.code == "bad-name"
    assert phase.steps["Check"].by == ["a"]


def test_what_the_reader_could_not_read_is_empty_and_has_one_finding() -> None:
    document = read("a.yaml", "by: *x\nsigned: .nan\non_day: .nan\n")
    field = read("a.yaml", "type: *x\nfrom: .nan\nasked_if: *y\noptions: *z\n")

    assert structure(document, grammar.Step)[1] == ()
    assert structure(document, grammar.Step)[0].by == []  # type: ignore[union-attr]
    assert structure(document, grammar.Step)[0].on_day == 1  # type: ignore[union-attr]
    asked, findings = structure(field, grammar.Field)
    assert findings == ()
    assert asked is not None
    assert (asked.type, asked.from_) == ("", Decimal(1))
    assert asked.options == {}
    assert asked.asked_if is not None
    assert asked.asked_if.field == ""


@frozen(kw_only=True)
class Loose:
    """A mapping with one key for anything."""

    what: Any = grammar.key("Anything.")  # noqa: RUF009  # it makes an attrs field
    sure: bool = grammar.key("Whether it is sure.")


def test_a_key_for_anything_takes_what_the_core_schema_says() -> None:
    loose, findings = written("what: {a: [1, 0.5, true, x]}\nsure: True\n", Loose)

    assert findings == ()
    assert loose.what == {"a": [1, Decimal("0.5"), True, "x"]}
    assert written("sure: 1\n", Loose)[0].sure is False


def test_a_defect_of_the_grammar_is_no_finding() -> None:
    @frozen
    class Broken:
        size: int = grammar.key("Its size.")

        def __attrs_post_init__(self) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        structure(read("a.yaml", "size: 1"), Broken)


# The grammar


def classes() -> Iterator[type]:
    found: list[type] = list(grammar.FILES)
    for cls in found:
        yield cls
        for hint in get_type_hints(cls).values():
            inside = [hint, *get_args(hint), *(b for a in get_args(hint) for b in get_args(a))]
            found += [part for part in inside if has(part) and part not in found]


def test_every_key_says_what_it_means() -> None:
    for cls in classes():
        for each in grammar.keys_of(cls):
            assert len(each.doc) > 5, f"{cls.__name__}.{each.name}"


def test_kinds_with_words_are_texts() -> None:
    kinds = grammar.WORDS.keys() | grammar.PATTERNS.keys()
    for cls in classes():
        for each in grammar.keys_of(cls):
            if each.kind in kinds:
                assert str in (each.type, *get_args(each.type)), f"{cls.__name__}.{each.name}"


SOME = st.recursive(
    st.sampled_from(["x", "7", "true", "24 h", "09:00", "A", "always", "''", "~", "1.5", "*x"]),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.dictionaries(
            st.sampled_from(
                sorted({"bby", *(each.name for cls in classes() for each in grammar.keys_of(cls))})
            ),
            inside,
            max_size=4,
        ).map(lambda keys: "{" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}"),
    ),
    max_leaves=20,
)


@given(SOME, st.sampled_from(list(classes())))
@settings(deadline=None, max_examples=400)
def test_whatever_is_written_something_is_read_or_said(text: str, cls: type) -> None:
    document = read("a.yaml", text)

    value, findings = structure(document, cls)

    assert value is not None or findings
    if isinstance(document.tree, dict) and value is not None:
        assert {each.name for each in fields(cls)} == asdict(value, recurse=False).keys()
    for finding in findings:
        assert render(finding)
