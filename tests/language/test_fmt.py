"""Setting out a file changes how it looks, never what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kat_workflow.errors import ProgramError
from kat_workflow.language.fmt import formatted
from kat_workflow.language.reader import read

SHIPPED = sorted((Path(__file__).parents[2] / "programs").rglob("*.yaml"))


def test_a_file_is_set_out_in_one_way() -> None:
    written = """\


# a program
phases:   # remark

      # about the stay
      stay:
            steps:
            -   check
            - {by:   [ nurse ,medic ],  due: 24 h}
            # about what is said
            says: |
               Read aloud:
                 slowly


            title :  'as  written'\x20\x20
            about: one
                   two
            empty: { }
            dose:
                500 mg
   # in between
ends: {home: {},
       away: {}}


# the last word
"""

    assert (
        formatted(written)
        == """\
# a program
phases:   # remark

  # about the stay
  stay:
    steps:
      - check
      - {by: [nurse, medic], due: 24 h}
    # about what is said
    says: |
       Read aloud:
         slowly


    title: 'as  written'
    about: one
           two
    empty: {}
    dose:
      500 mg
  # in between
ends: {home: {},
       away: {}}

# the last word
"""
    )


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("a: 1", "a: 1\n"),
        ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
        ("\ufeffa: 1\n", "a: 1\n"),
        ("- - a\n  - b\n-   - c\n", "- - a\n  - b\n- - c\n"),
        ("- a:  1\n  b: 2\n", "- a: 1\n  b: 2\n"),
        ("-   a: 1\n    b: 2\n", "- a: 1\n  b: 2\n"),
        ("a:\n- b\n- c\nd: 1\n", "a:\n  - b\n  - c\nd: 1\n"),
        ("a: {b: }\n", "a: {b: }\n"),
        ("a: |+\n  b\n\n\n", "a: |+\n  b\n\n\n"),
        ("a: |+\n  b\n\n...\n", "a: |+\n  b\n\n...\n"),
        ("a:\n    b: |\n      c", "a:\n  b: |\n    c"),
        ("a:\n    b: |\n      c\n   # d\n", "a:\n  b: |\n    c\n  # d\n"),
        ("# a\n\n'b\n\n c'\n", "# a\n\n'b\n\n c'\n"),
        ("---\na: 1\n", "---\na: 1\n"),
        ("  #  a\n#b\n", None),
        ("?   a\n:   b\n", "?   a\n:   b\n"),
    ],
)
def test_a_line_is_set_out(written: str, wanted: str | None) -> None:
    if wanted is None:
        with pytest.raises(ProgramError):
            formatted(written)
        return
    assert formatted(written) == wanted
    assert formatted(wanted) == wanted


def test_a_file_that_cannot_be_read_is_not_set_out() -> None:
    with pytest.raises(ProgramError) as caught:
        formatted("a: [1\n", "stay.yaml")

    assert [finding.place.file for finding in caught.value.findings] == ["stay.yaml"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_ships_is_set_out(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert formatted(text) == text


PIECES = (
    *("a", "b", "c: ", "x:\n", "- ", "\n", "\n", "\n  ", "\n    ", " ", "  ", "{", "}", "[", "]"),
    *(", ", ": ", "'q'", '"d"', "# r\n", "|\n", "|+\n", ">-\n", "#", "\n   ", "\n\n", "- - "),
    *("'m\n  n'", "a b\n  c", "---\n", "...\n"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(deadline=None, max_examples=500)
def test_setting_out_keeps_what_is_said_and_every_remark(text: str) -> None:
    before = read("a.yaml", text)
    if before.findings:
        return

    once = formatted(text)

    assert read("a.yaml", once).tree == before.tree
    assert once.count("#") == text.count("#")
    assert formatted(once) == once
    assert len(once.split("\n")) <= len(text.split("\n")) + 1
