"""A variant says only what is different, and a finding points to the file that said it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kat_workflow import Actor, Engine
from kat_workflow.errors import Finding
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import Checked, Files, check, compile_files, grammar, load
from kat_workflow.language.fmt import formatted
from kat_workflow.language.names import Report
from kat_workflow.language.reader import read
from kat_workflow.language.structure import structure
from kat_workflow.language.variants import changed as compose
from kat_workflow.protocol import as_data, as_markdown, protocol
from programs import CLINIC, FILES, INNER, MAIN, SLEEP

VARIANT = "mild/mild.yaml"
HEAD = """\
language: 1
program: mild
version: "2.0.0"
title: A milder clinic
based_on: clinic@1.2.0
"""


def looked_at(text: str, **others: str) -> tuple[Checked, tuple[str, int, int, int] | None]:
    """A variant of the clinic, and the place in «…» of all its files."""
    files = {**FILES, VARIANT: text, **{f"{name}/{name}.yaml": t for name, t in others.items()}}
    marked = None
    for file, written in files.items():
        if "«" in written:
            start, end = written.index("«"), written.index("»") - 1
            files[file] = written.replace("«", "").replace("»", "")
            line = files[file].count("\n", 0, start) + 1
            marked = (file, line, start - files[file].rfind("\n", 0, start), end - start)
    return check(VARIANT, Files(files)), marked


def changed(*changes: str) -> tuple[Checked, tuple[str, int, int, int] | None]:
    """The clinic with changes, one on each line."""
    return looked_at(HEAD + "changes:\n" + "".join(f"  - {change}\n" for change in changes))


def only(checked: Checked, code: str) -> Finding:
    (found,) = [each for each in checked.findings if each.code == code]
    return found


def at(found: Finding) -> tuple[str, int, int, int]:
    return (found.place.file, found.place.line, found.place.column, found.width)


# What a variant may say


def test_a_variant_without_changes_is_its_base_under_another_name() -> None:
    checked, _ = looked_at(HEAD)
    base = load(MAIN, Files(FILES))

    variant = checked.program

    assert variant is not None
    assert checked.findings == check(MAIN, Files(FILES)).findings
    assert (variant.id, variant.version, variant.title) == ("mild", "2.0.0", "A milder clinic")
    head = ("id", "version", "title", "digest", "based_on")
    (one, other) = (
        {key: value for key, value in as_data(each).items() if key not in head}
        for each in (variant, base)
    )
    assert one == other


def test_what_is_set_added_and_taken_out_is_the_program() -> None:
    checked, _ = changed(
        "{set: limits.high, to: {is: 150 mmHg, source: book}}",
        "{add: phases.screening.steps.quit_day, to: {by: [nurse], record: note}}",
        "{add: consents.talks, to: {title: The talks}}",
        "{add: gates.talked, to: {says: Talks are agreed, when: consent talks in force}}",
        "{add: sessions.infusion.ready, to: talked}",
        "{add: sessions.infusion.ready, to: calm, before: consented}",
        "{set: phases.screening.steps.agreeing.obtain, to: talks}",
        "{add: phases.screening.steps.again, to: {by: [nurse], obtain: infusing}}",
        "{remove: phases.stay.phases.sides.tracks.rest.optional}",
        "{add: phases.screening.next, to: {to: well, when: talked}, before: stay}",
        "{remove: phases.screening.next.1}",
        "{set: phases.screening.next.3.to, to: moved}",
        "{add: leaving.work, to: letter_two}",
        "{add: work_after_leaving.letter_two, to: {by: [doctor]}}",
    )

    program = checked.program

    assert program is not None, [str(each) for each in checked.errors]
    assert program.limits["high"].value == 150
    assert "quit_day" in program.phases["screening"].steps
    ready = [test.text for test in program.sessions["infusion"].ready]
    assert ready == ["fit", "calm", "consented", "talked"]
    assert [row.to for row in program.phases["screening"].next] == ["well", "stay", "moved"]
    assert program.phases["rest"].required
    assert program.ends["against_advice"].work == ("letter", "letter_two")


def test_the_protocol_says_what_is_different_and_what_it_was() -> None:
    plain, _ = looked_at(HEAD)
    relisted, _ = changed("{set: leaving.work, to: [letter]}")
    checked, _ = changed(
        "{set: limits.high, to: {is: 150 mmHg, source: book}}",
        "{add: sessions.infusion.ready, to: calm}",
        "{remove: sessions.infusion.watch.at.2}",
    )
    assert checked.program is not None
    assert plain.program is not None
    assert relisted.program is not None

    shown = as_markdown(protocol(checked.program, ""))

    assert "What is different from clinic@1.2.0" in shown
    assert "| limits.high | {is: 160 mmHg, source: book} | {is: 150 mmHg, source: book} |" in shown
    assert "| sessions.infusion.ready | nothing | calm |" in shown
    assert "| sessions.infusion.watch.at.2 | 15 min | nothing |" in shown
    assert [each.now for each in relisted.program.differences] == ["[letter]"]
    assert "Nothing but the name." in as_markdown(protocol(plain.program, ""))
    assert "What is different" not in as_markdown(protocol(checked.program, "nurse"))


def test_a_variant_of_a_variant_says_what_is_different_from_that() -> None:
    outer = HEAD.replace("clinic@1.2.0", "middle@0.1") + (
        "changes:\n"
        "  - {set: limits.high.is, to: 140 mmHg}\n"
        "  - {remove: phases.screening.steps.quit_day.due}\n"
        "  - {set: limits.high.source, to: book}\n"
    )
    middle = HEAD.replace("mild", "middle").replace("2.0.0", "0.1") + (
        "about: The middle one\n"
        "changes:\n"
        "  - {set: limits.high, to: {is: 150 mmHg, source: book, about: middling}}\n"
        "  - {add: phases.screening.steps.quit_day, to: {by: [«nourse»], due: 1 h}}\n"
    )

    checked, _ = looked_at(outer, middle=middle.replace("«nourse»", "nurse"))
    wrong, marked = looked_at(outer, middle=middle)

    program = checked.program
    assert program is not None
    assert list(program.files) == [VARIANT, "middle/middle.yaml", *FILES][:3] + [
        name for name in FILES if name != MAIN and name in program.files and name != INNER
    ] + [INNER]
    assert program.limits["high"].value == 140
    assert program.limits["high"].about == "middling"
    assert program.steps["quit_day"].due is None
    assert program.about == "The middle one"
    assert at(only(wrong, "unknown-role")) == marked


def test_the_journal_keeps_all_files_that_a_variant_is_made_of() -> None:
    checked, _ = changed("{set: limits.high, to: {is: 150 mmHg, source: book}}")
    assert checked.program is not None

    again = compile_files(checked.program.files, VARIANT)

    assert again.digest == checked.program.digest
    assert again.limits["high"].value == 150
    assert {VARIANT, MAIN} <= set(again.files)


def test_a_version_that_nobody_is_based_on_is_no_part_of_a_variant() -> None:
    newer = CLINIC.replace("1.2.0", "1.3.0").replace("160 mmHg", "170 mmHg")
    files = {**FILES, VARIANT: HEAD, MAIN: newer, "clinic/clinic@1.2.0.yaml": CLINIC}

    program = load("mild", Files(files))

    assert program.limits["high"].value == 160
    assert MAIN not in program.files


def test_a_phase_can_contain_a_variant() -> None:
    late = SLEEP.partition("title:")[0].replace("inner", "late") + (
        "title: Sleeping late\nbased_on: inner@1.0\n"
        "changes: [{set: limits.enough, to: {is: 9 h, source: book}}]\n"
    )
    clinic = CLINIC.replace("program: inner,", "program: late,")
    files = {**FILES, MAIN: clinic, "late/late.yaml": late}

    program = load(MAIN, Files(files))

    assert program.limits["sleeping.enough"].value == 9
    assert {"late/late.yaml", INNER} <= set(program.files)


def test_two_phases_can_contain_the_same_variant() -> None:
    late = SLEEP.partition("title:")[0].replace("inner", "late") + (
        "title: Sleeping late\nbased_on: inner@1.0\n"
    )
    second = (
        "  dozing:\n    contains: {program: late, ends: {awake: finish, restless: unfit}}\n"
        "    next: [{to: well, when: always}]\nexcursions:"
    )
    clinic = CLINIC.replace("program: inner,", "program: late,").replace("excursions:", second)
    clinic = clinic.replace(
        "next: [{to: well, when: always}]", "next: [{to: dozing, when: always}]", 1
    )

    program = load(MAIN, Files({**FILES, MAIN: clinic, "late/late.yaml": late}))

    assert {"sleeping.enough", "dozing.enough"} <= set(program.limits)


def test_a_broken_variant_inside_a_phase_is_said_once() -> None:
    late = 'language: 1\nprogram: late\nversion: "1"\ntitle: Late\nbased_on: inner\n'
    clinic = CLINIC.replace("program: inner,", "program: late,")

    checked = check(MAIN, Files({**FILES, MAIN: clinic, "late/late.yaml": late}))

    assert [each.code for each in checked.errors] == ["base-version"]


def test_patients_are_enrolled_in_a_variant_and_stay_in_its_files() -> None:
    files = {**FILES, VARIANT: HEAD, "clinic/clinic@1.2.0+x.yaml": HEAD.replace("mild", "clinic")}
    files["clinic/clinic@1.2.0+x.yaml"] = files["clinic/clinic@1.2.0+x.yaml"].replace(
        "2.0.0", "1.2.0+x"
    )
    engine = Engine(MemoryJournal(), Files(files))

    enrolled = [
        engine.enroll(name, patient=name, by=Actor("ann", frozenset({"nurse"})))
        for name in ("mild", "clinic@1.2.0+x", "clinic")
    ]

    later = Engine(engine.journal, Files({}))
    for enrollment, version in zip(enrolled, ("2.0.0", "1.2.0+x", "1.2.0"), strict=True):
        assert later.program_of(enrollment).version == version
        assert later.program_of(enrollment).digest == engine.program_of(enrollment).digest


def test_a_variant_is_set_out_like_any_other_file() -> None:
    text = HEAD + "changes:\n- {set: limits.high.is,   to: 150 mmHg}\n"

    assert formatted(text) == HEAD + "changes:\n  - {set: limits.high.is, to: 150 mmHg}\n"


# Where findings point


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("bad-quantity", ["{set: limits.high.is, to: «much»}"]),
        ("unknown-role", ["{set: phases.stay.phases.days.steps.drip.by, to: [nurse, «nourse»]}"]),
        ("unknown-role", ["{set: phases.stay.phases.days.steps.drip.by.1, to: «nourse»}"]),
        ("unknown-role", ["{add: phases.screening.steps.more, to: {by: [«nourse»]}}"]),
        ("unknown-name", ["{add: sessions.infusion.ready, to: «calmed»}"]),
        ("unknown-key", ["{set: phases.sleeping, to: {«contians»: {program: inner}}}"]),
        ("wrong-type", ["{set: phases.screening.steps.intake.signed, to: «sometimes»}"]),
        ("wrong-type", ["{set: phases.screening.steps.intake.signed, «to»: [true]}"]),
        ("missing-key", ["{remove: phases.screening.steps.intake.«by»}"]),
        ("missing-key", ["{remove: «roles»}"]),
        ("unused", ["{add: limits.«lonely», to: {is: 1, source: book}}"]),
        ("unused", ["{add: 'gates.«lone»', to: {says: It, when: intake.accepted is yes}}"]),
        ("name-taken", ["{add: gates.«intake», to: {says: It, when: always}}"]),
        ("no-source", ["{set: limits.high, to: {is: «160 mmHg»}}"]),
        ("source-kept", ["{set: limits.high.is, to: «150 mmHg»}"]),
        ("unknown-target", ["{add: phases.screening.next, to: {to: «gone», when: fit}}"]),
        ("unreachable", ["{add: phases.screening.next, «to»: {to: unfit, when: always}}"]),
    ],
)  # fmt: skip
def test_a_finding_about_what_a_variant_says_points_into_it(code: str, changes: list[str]) -> None:
    checked, marked = changed(*changes)

    assert at(only(checked, code)) == marked


def test_a_finding_about_what_the_base_says_points_into_the_base() -> None:
    checked, _ = changed("{remove: gates.calm}", "{remove: sessions.infusion.ready.1}")

    found = [each for each in checked.findings if each.code == "unknown-name"]

    assert {each.place.file for each in found} == {MAIN}
    assert {each.source[each.place.column - 1 :][:4] for each in found} == {"calm"}
    assert all('"calm" is taken out at mild/mild.yaml:7:14' in each.hint for each in found)
    assert not [each for each in checked.findings if "fit" in each.hint]


def test_a_name_that_a_base_variant_took_out_is_said_to_be_gone() -> None:
    middle = HEAD.replace("mild", "middle") + "changes:\n  - {remove: roles.doctor}\n"
    outer = HEAD.replace("clinic@1.2.0", "middle@2.0.0")

    checked, _ = looked_at(outer, middle=middle)

    found = [each for each in checked.findings if each.code == "unknown-role"]
    assert found
    assert all('"doctor" is taken out at middle/middle.yaml:7:14' in each.hint for each in found)


def test_a_missing_key_of_the_whole_is_said_at_the_top_of_the_variant() -> None:
    base = CLINIC.replace("start: screening\n", "")
    files = {**FILES, MAIN: base, VARIANT: HEAD}

    found = only(check(VARIANT, Files(files)), "missing-key")

    assert (found.place.file, found.place.line) == (VARIANT, 1)


def test_a_place_inside_what_did_not_change_is_that_of_the_base() -> None:
    base = CLINIC.replace("tell: [doctor], answer_within: 15 min", "tell: [doktor]")
    files = {**FILES, MAIN: base, VARIANT: HEAD + "changes: [{remove: phases.screening.next.1}]\n"}

    found = only(check(VARIANT, Files(files)), "unknown-role")

    assert found.place.file == MAIN
    assert found.source[found.place.column - 1 :].startswith("doktor")


# What a variant may not say


@pytest.mark.parametrize(
    ("code", "change", "hint"),
    [
        ("change-kind", "«{»to: 1}", "write a change for each"),
        ("change-kind", "{set: limits.high.is, add: limits.low, to: 1}", "write a change for each"),
        ("change-kind", "{set: «limits.high.is»}", "add `to:` and the new value"),
        ("change-kind", "{remove: «limits.high», to: 1}", "leave `to` out"),
        ("change-kind", "{set: limits.high.is, to: 1, before: «low»}", ""),
        ("change-kind", "{add: limits.low, to: {is: 1}, before: «high»}", ""),
        ("change-head", "{set: «version», to: 1.2.1}", "write `version:` at the top"),
        ("change-head", "{remove: «overlays.1»}", "write `overlays:` at the top"),
        ("change-nowhere", "{set: limits.«hihg».is, to: 1 mmHg}", 'did you mean "high"?'),
        ("change-nowhere", "{remove: «limit»}", 'did you mean "limits"?'),
        ("change-nowhere", "{remove: 'limits.high.is.«much»'}", ""),
        ("change-nowhere", "{add: phases.«nowhere».steps, to: {}}", ""),
        ("change-nowhere", "{add: «limits.high.is.more», to: 1}", ""),
        ("change-nowhere", "{add: «phases.screening.next.4», to: {}}", "phases.screening.next"),
        ("change-nowhere", "{remove: phases.screening.next.«4»}", "the first is 1"),
        ("change-nowhere", "{remove: phases.screening.next.«0»}", "the first is 1"),
        ("change-nowhere", "{remove: phases.screening.next.«sty»}", 'did you mean "stay"?'),
        ("change-nowhere", "{remove: phases.stay.steps.mood_check.every.«x»}", "1 is the first"),
        ("change-nowhere", "{add: sessions.infusion.ready, to: calm, before: «fat»}", '"fit"?'),
        ("change-nowhere", "{add: sessions.infusion.ready, to: calm, before: «7»}", "first is 1"),
        ("change-ambiguous", "{remove: phases.screening.next.«unfit».when}", "write 1 or 3"),
        ("change-there", "{add: «limits.high», to: {}}", "write set: limits.high"),
        ("change-list", "{add: sessions.infusion.ready, «to»: [calm]}", "set the whole list"),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_made_is_said_with_a_way_out(
    code: str, change: str, hint: str
) -> None:
    checked, marked = changed(change)

    (found,) = checked.findings
    assert found.code == code
    assert marked is None or at(found) == marked
    assert hint in found.hint
    assert checked.program is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{set: limits.high.is, to: 1 mmHg}", "{set: «limits.high.is», to: 2 mmHg}"),
        ("{remove: limits.high}", "{set: «limits.high.is», to: 2 mmHg}"),
        ("{set: limits.high.is, to: 1 mmHg}", "{remove: «limits.high»}"),
        ("{add: limits.low, to: {is: 1}}", "{add: «limits.low», to: {is: 2}}"),
        ("{set: sessions.infusion.ready, to: []}", "{add: «sessions.infusion.ready», to: calm}"),
        ("{add: sessions.infusion.ready, to: calm}", "{remove: «sessions.infusion»}"),
    ],
)
def test_two_changes_that_touch_one_place_are_refused(first: str, second: str) -> None:
    checked, marked = changed(first, second)

    found = only(checked, "change-twice")
    assert at(found) == marked
    assert found.message == "line 7 changes this already"


def test_all_changes_that_cannot_be_made_are_said_at_once() -> None:
    checked, _ = changed("{remove: nothing}", "{remove: neither}", "{remove: limits.high}")

    assert [each.code for each in checked.findings] == ["change-nowhere", "change-nowhere"]


def test_files_are_named_by_their_whole_names() -> None:
    checked, _ = changed(
        "{remove: files.forms/shared.yaml}", "{add: files, to: instruments/mood.yaml}"
    )

    assert {each.code for each in checked.errors} == {"unknown-form"}


def test_what_is_no_change_at_all_is_said_before_anything_else() -> None:
    for text, code in {
        HEAD + "changes: [{set: 'a', too: 1}]\n": "unknown-key",
        HEAD + "changes: [set]\n": "wrong-type",
        HEAD + "limits: {}\n": "unknown-key",
        HEAD + "title: again\n": "duplicate-key",
        HEAD.replace("language: 1", "language: 2"): "language-too-new",
    }.items():
        checked, _ = looked_at(text)

        assert [each.code for each in checked.findings] == [code]


# The base


@pytest.mark.parametrize(
    ("written", "code", "hint"),
    [
        ("clinic", "base-version", "write clinic@1.2.0"),
        ("klinik", "base-version", "write klinik@1.0.0"),
        ("clinic@1.2.1", "unknown-base", "there is 1.1.0 and 1.2.0"),
        ("clinik@1.2.0", "unknown-base", 'did you mean "clinic"?'),
        ("../clinic@1.2.0", "unknown-base", 'did you mean "clinic"?'),
        ("mild@2.0.0", "base-chain", "written out"),
    ],
)
def test_the_base_is_one_exact_version_that_is_there(written: str, code: str, hint: str) -> None:
    text = HEAD.replace("clinic@1.2.0", f"«{written}»")
    start = text.index("«")
    files = {
        **FILES,
        VARIANT: text.replace("«", "").replace("»", ""),
        "clinic/clinic@1.1.0.yaml": CLINIC.replace("1.2.0", "1.1.0"),
    }

    (found,) = check(VARIANT, Files(files)).findings

    assert (found.code, found.place.line) == (code, 5)
    assert found.place.column == start - text.rfind("\n", 0, start)
    assert hint in found.hint


def test_two_variants_cannot_be_based_on_each_other() -> None:
    other = HEAD.replace("mild", "other").replace("clinic@1.2.0", "mild@2.0.0")

    checked, _ = looked_at(HEAD.replace("clinic@1.2.0", "other@2.0.0"), other=other)

    found = only(checked, "base-chain")
    assert found.place.file == "other/other.yaml"


def test_variants_of_variants_are_counted() -> None:
    chain = {
        f"v{n}": HEAD.replace("mild", f"v{n}").replace("clinic@1.2.0", f"v{n + 1}@2.0.0")
        for n in range(8)
    }
    chain["v8"] = HEAD.replace("mild", "v8")

    short, _ = looked_at(HEAD.replace("clinic@1.2.0", "v2@2.0.0"), **chain)
    long, _ = looked_at(HEAD.replace("clinic@1.2.0", "v0@2.0.0"), **chain)

    assert short.program is not None
    assert only(long, "base-chain").message == "this is the 9th variant of a variant"


def test_a_base_that_cannot_be_read_is_said_once() -> None:
    for base, code in {
        "- no\n- program\n": "wrong-type",
        "": "empty-file",
        CLINIC.replace("language: 1", "language: 7"): "language-too-new",
        CLINIC.replace("title:", "titel:"): "unknown-key",
    }.items():
        found = check(VARIANT, Files({**FILES, VARIANT: HEAD, MAIN: base})).findings

        assert next(each.code for each in found if each.severity == "error") == code, base
        assert found[0].place.file == MAIN


# Whatever is written


def paths(tree: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path of a tree."""
    yield way
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield from paths(tree[key], (*way, key))


BASE = read(MAIN, CLINIC)
PATHS = [".".join(str(p + 1 if isinstance(p, int) else p) for p in way) for way in paths(BASE.tree)]
VALUES = st.sampled_from(["x", "1", "[nurse]", "{is: 1}", "{to: well, when: always}", "[]", "~"])


@st.composite
def any_change(draw: st.DrawFn) -> str:
    verb = draw(st.sampled_from(["set", "add", "remove"]))
    path = draw(st.sampled_from(PATHS))
    if verb == "add":
        path = draw(st.sampled_from([path, f"{path}.more", "phases.screening.next"]))
    to = "" if verb == "remove" else f", to: {draw(VALUES)}"
    before = ", before: '1'" if verb == "add" and draw(st.booleans()) else ""
    return f"{{{verb}: '{path}'{to}{before}}}"


@given(st.lists(any_change(), max_size=4))
@settings(deadline=None, max_examples=150)
def test_every_part_of_a_variant_is_found_where_it_was_written(changes: list[str]) -> None:
    text = HEAD + "changes:\n" + "".join(f"  - {change}\n" for change in changes)
    own = read(VARIANT, text if changes else HEAD)
    written, _ = structure(own, grammar.Variant)
    assert written is not None
    report = Report()

    whole = compose(own, written, BASE, report)

    if whole is None:
        assert report.findings
        return
    lines = {VARIANT: own.lines, MAIN: BASE.lines}
    for way in paths(whole.tree):
        at = whole.tree
        for part in way:
            at = at[part]
        if isinstance(at, str) and "\n" not in at and at:
            place, source, width = whole.place(way)
            assert lines[place.file][place.line - 1] == source
            assert source[place.column - 1 :][:width].strip("\"'") == at


@given(st.lists(any_change(), max_size=3))
@settings(deadline=None, max_examples=60)
def test_whatever_a_variant_changes_the_answer_is_a_program_or_findings(changes: list[str]) -> None:
    checked, _ = changed(*changes) if changes else looked_at(HEAD)

    assert (checked.program is None) == bool(checked.errors)
    if checked.program is not None:
        again = compile_files(checked.program.files, VARIANT)
        assert again.digest == checked.program.digest
