"""A clinic's own figures: only limits, each of its kind, and another digest."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from kat_workflow import ProgramError
from kat_workflow.errors import Finding
from kat_workflow.language import Checked, Files, Folder, check, compile_files, load
from kat_workflow.protocol import as_text, protocol
from programs import CLINIC, FILES, MAIN

NORTH = "sites/north.yaml"
FIGURES = """\
language: 1
overlay: north
for: clinic
sources:
  north: {title: The north clinic's own practice, trust: C}
limits:
  high: {is: 20 kPa, source: north}
"""
NAMED = CLINIC.replace("start: screening", f"overlays: [{NORTH}]\nstart: screening")


def with_figures(
    text: str, main: str = NAMED, **more: str
) -> tuple[Checked, tuple[str, int, int, int] | None]:
    """The clinic with an overlay, and the place in «…» of its file."""
    marked = None
    if "«" in text:
        start, end = text.index("«"), text.index("»") - 1
        text = text.replace("«", "").replace("»", "")
        line = text.count("\n", 0, start) + 1
        marked = (NORTH, line, start - text.rfind("\n", 0, start), end - start)
    others = {f"sites/{name}.yaml": written for name, written in more.items()}
    return check(MAIN, Files({**FILES, MAIN: main, NORTH: text, **others})), marked


def at(found: Finding) -> tuple[str, int, int, int]:
    return (found.place.file, found.place.line, found.place.column, found.width)


# What an overlay does


def test_an_overlay_sets_a_figure_with_its_own_source() -> None:
    checked, _ = with_figures(FIGURES)

    assert checked.program is not None
    high = checked.program.limits["high"]
    assert (high.value, high.unit, high.source) == (Decimal(20), "kPa", "north")
    assert high.overlay == "north"
    assert checked.program.limits["low_mood"].overlay == ""
    assert checked.program.sources["north"].trust == "C"
    assert NORTH in checked.program.files


def test_the_remark_of_a_limit_stays_unless_the_overlay_makes_another() -> None:
    main = NAMED.replace("{is: 160 mmHg,", "{is: 160 mmHg, about: Before noon,")

    kept, _ = with_figures(FIGURES, main)
    other, _ = with_figures(FIGURES.replace("source: north}", "source: north, about: Ours}"), main)

    assert kept.program is not None
    assert kept.program.limits["high"].about == "Before noon"
    assert other.program is not None
    assert other.program.limits["high"].about == "Ours"


def test_the_protocol_says_who_set_a_figure() -> None:
    checked, _ = with_figures(FIGURES)
    assert checked.program is not None

    shown = as_text(protocol(checked.program, ""))

    assert "Set by the overlay north." in shown
    assert "What is different from clinic as it is written" in shown
    (found,) = checked.program.differences
    assert (found.path, found.before, found.now) == ("limits.high", "160 mmHg", "20 kPa")
    assert (found.place.file, found.place.line) == (NORTH, 7)


def test_a_source_that_both_name_alike_is_one() -> None:
    text = FIGURES.replace(
        "north: {title: The north clinic's own practice, trust: C}",
        "book: {title: A book of figures, trust: A}",
    )
    checked, _ = with_figures(text.replace("source: north", "source: book"))

    assert checked.program is not None
    assert checked.program.limits["high"].source == "book"


def test_a_program_without_sources_gets_those_of_the_overlay() -> None:
    program = load("first", Files({"first/first.yaml": FIRST, NORTH: ONLY}))

    assert program.sources["north"].title == "Our own"


def test_a_variant_has_the_figures_of_its_base_and_its_own() -> None:
    variant = (
        'language: 1\nprogram: mild\nversion: "1.0"\ntitle: Mild\nbased_on: clinic@1.2.0\n'
        "changes: [{add: limits.low_mood.about, to: x}]\noverlays: [sites/south.yaml]\n"
    )
    south = FIGURES.replace("north", "south").replace(
        "high: {is: 20 kPa", "low_mood: {is: 9 points"
    )
    files = {**FILES, MAIN: NAMED, NORTH: FIGURES, "sites/south.yaml": south}

    program = load("mild", Files({**files, "mild/mild.yaml": variant}))

    assert {name: limit.overlay for name, limit in program.limits.items() if limit.overlay} == {
        "high": "north",
        "low_mood": "south",
    }
    assert program.limits["low_mood"].about == "x"


def test_a_name_that_a_variant_took_out_is_gone_for_its_overlay_too() -> None:
    variant = (
        'language: 1\nprogram: mild\nversion: "1.0"\ntitle: Mild\nbased_on: clinic@1.2.0\n'
        f"changes: [{{remove: gates.calm}}]\noverlays: [{NORTH}]\n"
    )

    checked = check("mild", Files({**FILES, NORTH: FIGURES, "mild/mild.yaml": variant}))

    found = [each for each in checked.findings if each.code == "unknown-name"]
    assert found
    assert all('"calm" is taken out at mild/mild.yaml:6' in each.hint for each in found)


# Where findings point


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("unknown-limit", FIGURES.replace("high:", "«hihg»:")),
        ("unit-mismatch", FIGURES.replace("20 kPa", "«20 mg»")),
        ("unit-unknown", FIGURES.replace("20 kPa", "«20 kpa»")),
        ("bad-quantity", FIGURES.replace("20 kPa", "«high»")),
        ("unknown-source", FIGURES.replace("source: north", "source: «nord»")),
        ("no-source", FIGURES.replace("20 kPa, source: north", "«20 kPa»")),
        ("shared-differs", FIGURES.replace("  north:", "  «book»:")),
        ("overlay-for", FIGURES.replace("for: clinic", "for: «detox»")),
        ("language-too-new", FIGURES.replace("language: 1", "language: «2»")),
        ("unknown-key", FIGURES.replace("limits:", "«gates»: {}\nlimits:")),
        ("duplicate-key", FIGURES.replace("limits:", "«for»: x\nlimits:")),
        ("missing-key", FIGURES.replace("is: 20 kPa, ", "").replace("high", "«high»")),
    ],
)  # fmt: skip
def test_a_finding_about_an_overlay_points_into_it(code: str, text: str) -> None:
    checked, marked = with_figures(text)

    (found,) = [each for each in checked.findings if each.code == code]
    assert at(found) == marked


def test_what_is_no_overlay_is_said() -> None:
    for text, code in {"- no\n": "wrong-type", "": "empty-file"}.items():
        checked, _ = with_figures(text)
        assert [each.code for each in checked.findings] == [code]


def test_two_overlays_cannot_set_one_figure() -> None:
    main = NAMED.replace(f"[{NORTH}]", f"[{NORTH}, sites/south.yaml]")

    checked, _ = with_figures(
        FIGURES, main, south=FIGURES.replace("overlay: north", "overlay: south")
    )

    (found,) = checked.findings
    assert (found.code, found.place.file) == ("overlay-twice", "sites/south.yaml")
    assert found.message == 'the overlay "north" sets `high` already'


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("[sites/nort.yaml]", "unknown-file"),
        ("[../north.yaml]", "file-outside"),
        ("[[x]]", "wrong-type"),
        ("north", "wrong-type"),
    ],
)
def test_an_overlay_that_is_not_there_is_said_where_it_is_named(named: str, code: str) -> None:
    checked, _ = with_figures(FIGURES, NAMED.replace(f"[{NORTH}]", named))

    (found,) = checked.errors
    assert (found.code, found.place.file, found.place.line) == (code, MAIN, 6)


# An overlay that a host names


def test_a_host_names_the_overlay_and_gets_another_version() -> None:
    library = Files({**FILES, NORTH: FIGURES})
    plain = load(MAIN, library)

    program = load(MAIN, library, overlay=NORTH)

    assert (program.id, program.version, program.title) == ("clinic", "1.2.0+north", plain.title)
    assert program.digest != plain.digest
    assert program.limits["high"].overlay == "north"
    main = next(iter(program.files))
    assert main == "clinic/clinic@1.2.0+north.yaml"
    assert compile_files(program.files, main).digest == program.digest
    assert program.digest == load("clinic@1.2.0", library, NORTH).digest


def test_the_figures_may_lie_outside_the_folder_of_programs(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / "programs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "programs" / name).write_text(text, encoding="utf-8")
    figures = tmp_path / "ours" / "it's.yaml"
    figures.parent.mkdir()
    figures.write_text(FIGURES.replace("for: clinic", "for: detox"), encoding="utf-8")
    library = Folder(tmp_path / "programs")

    wrong = check("clinic", library, figures)
    figures.write_text(FIGURES, encoding="utf-8")
    right = load("clinic", library, figures)

    assert [(each.code, each.place.file) for each in wrong.errors] == [
        ("overlay-for", str(figures))
    ]
    assert "ours/it's.yaml" in right.files


def test_a_draft_that_lies_elsewhere_is_the_base_all_the_same(tmp_path: Path) -> None:
    draft = tmp_path / "clinic.yaml"
    draft.write_text(CLINIC.replace("160 mmHg", "170 mmHg").replace("8 points", "7 points"))
    library = Files({**FILES, NORTH: FIGURES})

    program = load(draft, library, NORTH)

    assert program.limits["low_mood"].value == 7
    assert program.limits["high"].value == 20


def test_a_variant_for_one_clinic_gets_that_clinics_name_as_well() -> None:
    versioned = CLINIC.replace("1.2.0", "1.2.0+mild")
    library = Files({**FILES, MAIN: versioned, NORTH: FIGURES})

    assert load(MAIN, library, NORTH).version == "1.2.0+mild.north"


def test_what_a_host_names_wrongly_is_said() -> None:
    library = Files({**FILES, NORTH: FIGURES, "sites/none.yaml": "- no\n"})

    assert [each.code for each in check(MAIN, library, "sites/lost.yaml").errors] == [
        "unknown-file"
    ]
    assert [each.code for each in check(MAIN, library, "sites/none.yaml").errors] == ["wrong-type"]
    with pytest.raises(ProgramError, match="unknown-file"):
        load("klinik", library, NORTH)
    broken = Files(
        {**FILES, MAIN: CLINIC.replace("program: clinic", "program: [x]"), NORTH: FIGURES}
    )
    assert [each.code for each in check(MAIN, broken, NORTH).errors] == ["program-id", "wrong-type"]


FIRST = """\
language: 1
program: first
version: "1.0.0"
title: First
overlays: [sites/north.yaml]
roles: {nurse: Nurse}
limits: {high: {is: 1}}
gates: {low: {says: It is low, when: days.count < high}}
forms: {days: {title: Days, fields: {count: {type: integer}}}}
start: stay
phases:
  stay:
    steps: {days: {by: [nurse], record: days}}
    next: [{to: well, when: low}, {to: well, when: always}]
ends: {well: {kind: completed}}
leaving: {by: [nurse]}
"""
ONLY = """\
language: 1
overlay: north
for: first
sources: {north: {title: Our own, trust: C}}
limits: {high: {is: 2, source: north}}
"""
