"""What `kat draw` draws: the whole program, safely, the same every time, with nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from short_detox import detox

from kat_workflow.drawing import mermaid, svg
from kat_workflow.program.model import Program

DETOX = detox()
SVG = "{http://www.w3.org/2000/svg}"


def drawn(program: Program = DETOX) -> ElementTree.Element:
    return ElementTree.fromstring(svg(program))


def words(root: ElementTree.Element) -> str:
    return " ".join("".join(each.itertext()) for each in root.iter(f"{SVG}text"))


def boxes(root: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each named box."""
    found = {}
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        x, y, w, h = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
        found[group.get("id", "")] = (x, y, x + w, y + h)
    return found


def within(inner: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    return (
        outer[0] < inner[0] and outer[1] < inner[1] and inner[2] < outer[2] and inner[3] < outer[3]
    )


def test_every_phase_session_and_declared_end_has_a_box() -> None:
    found = set(boxes(drawn()))

    assert {f"p_{name.replace('_', '_5f_')}" for name in DETOX.phases} <= found
    assert "s_nad_5f_infusion" in found
    assert {"e_home", "e_redirected"} <= found


def test_what_is_inside_a_phase_is_drawn_inside_it() -> None:
    found = boxes(drawn())

    for phase in DETOX.phases.values():
        if phase.parent:
            assert within(found[f"p_{phase.name}"], found[f"p_{phase.parent}"]), phase.name


def test_tracks_stand_side_by_side_and_phases_in_sequence_below_each_other() -> None:
    found = boxes(drawn())

    assert found["p_stay"][2] < found["p_counselling"][0]
    assert found["p_stay"][1] == found["p_counselling"][1]
    assert found["p_day"][3] < found["p_evenings"][1]
    assert found["p_screening"][3] < found["p_care"][1]


def test_every_way_on_stands_with_its_condition_in_words() -> None:
    said = words(drawn())

    assert "As soon as “Withdrawal is not safe here”:" in said
    assert "If “Consent to NAD+ is in force”: Care" in said
    assert "Otherwise: Redirected" in said
    assert "back to where the patient was" in said


def test_each_way_to_a_sibling_ends_in_an_arrow_at_its_box() -> None:
    root = drawn()
    right, top = boxes(root)["p_care"][2], boxes(root)["p_care"][1]

    arrows = [
        each.get("d", "") for each in root.iter(f"{SVG}path") if each.get("marker-end") is not None
    ]

    assert any(d.endswith(f" {top + 20:g}H{right + 2:g}") for d in arrows)


def test_everything_lies_on_the_page() -> None:
    root = drawn()
    width, height = float(root.get("width", "")), float(root.get("height", ""))

    for left, top, right, bottom in boxes(root).values():
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height


def test_an_svg_needs_nothing_else_and_does_nothing() -> None:
    text = svg(DETOX)

    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"<script|<image|<foreignObject|@import|url\((?!#)|\son\w+=", text)
    assert "prefers-color-scheme:dark" in text


def test_what_a_program_says_cannot_become_markup() -> None:
    program = detox(
        ("title: Short detox", 'title: "</title><script>alert(1)</script> & co"'),
        ("title: Shared meal", 'title: "\\"><b>"'),
    )

    root = drawn(program)

    assert not list(root.iter(f"{SVG}script"))
    assert "</title><script>alert(1)</script> & co" in words(root)


def test_long_words_and_titles_stay_inside_their_boxes() -> None:
    program = detox(("title: Withdrawal\n", f"title: {'Withdrawal' * 12}\n"))

    root = drawn(program)

    title = [each for each in root.iter(f"{SVG}text") if "WithdrawalW" in (each.text or "")]
    assert len(title) > 1  # it was broken into lines
    assert "".join(each.text or "" for each in title) == "Withdrawal" * 12 or any(
        (each.text or "").endswith("…") for each in title
    )


@pytest.mark.parametrize("draw", [svg, mermaid])
def test_the_same_program_is_drawn_the_same(draw: object) -> None:
    assert callable(draw)
    assert draw(detox()) == draw(detox())


def test_mermaid_shows_phases_inside_phases_tracks_and_ways() -> None:
    lines = [line.strip() for line in mermaid(DETOX).splitlines()]

    assert lines[0] == "stateDiagram-v2"
    assert "[*] --> p_screening" in lines
    assert 'state "Care" as p_care {' in lines
    assert 'state "Day (2 to 4 rounds, one per program day)" as p_day' in lines
    assert "--" in lines
    assert "p_day --> p_evenings : Then" in lines
    assert "p_evenings --> [*] : Then" in lines
    assert "p_screening --> e_redirected : Otherwise" in lines
    assert "e_home --> [*]" in lines
    assert lines.count("}") == sum(line.endswith("{") for line in lines)


def test_nothing_a_program_says_is_read_as_mermaid() -> None:
    program = detox(("title: Withdrawal\n", 'title: "a\\" as b { --> c : d; %% #e"\n'))

    (line,) = [line for line in mermaid(program).splitlines() if "as p_stay" in line]

    assert line.strip() == (
        'state "a#34; as b #123; #45;#45;#62; c #58; d#59; #37;#37; #35;e" as p_stay {'
    )
