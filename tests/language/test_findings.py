"""A finding says what is wrong, where, and the way out; every code is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kat_workflow.errors import Finding, Place
from kat_workflow.language import grammar
from kat_workflow.language.findings import EXPLAINED, closest, finding, render
from kat_workflow.language.reader import read
from kat_workflow.language.structure import structure

SOURCE = Path(__file__).parents[2] / "src" / "kat_workflow" / "language"

BROKEN = """\
language: 1
program: Day Clinic
version: 1.10
titel: Day clinic
start: stay
sources: {practice: {title: Practice, trust: D}}
roles: {nurse: Nurse, nurse: Registered nurse}
gates:
  calm:
    says: It is calm
    when: &calm vitals.pulse < fast
    override: {by: prescriber, lasts: 4h}
phases:
  stay:
    steps:
      vitals: {by: [nurse], recrod: vitals, at: 9:00, signed: yes}
      dose: {by: [nurse], group: ketamine}
    next: {to: home, when: *calm}
ends:
  home: {kind: complete}
  1: {kind: transferred}
work_after_leaving:
  call: {}
"""


def test_a_file_that_is_broken_in_many_ways_says_all_of_them_at_once() -> None:
    document = read("day-clinic.yaml", BROKEN)
    _, findings = structure(document, grammar.Program)

    shown = "\n".join(render(each) for each in document.findings + findings)

    assert shown == (Path(__file__).parent / "broken.txt").read_text(encoding="utf-8").rstrip("\n")


def test_a_long_line_is_shown_around_what_is_meant() -> None:
    source = "a: [" + "b, " * 60 + "c]"
    found = Finding("wrong-type", Place("a.yaml", 7, 185), "no", "", source, 1)

    assert render(found).split("\n") == [
        "a.yaml:7:185: wrong-type: no",
        " 7 | …, b, b, b, b, b, b, c]",
        "   |                      ^",
    ]


def test_a_long_line_is_cut_behind_what_is_meant() -> None:
    found = Finding("wrong-type", Place("a.yaml", 12, 1), "no", "way out", "a" * 300, 300)

    head, line, mark, hint = render(found).split("\n")

    assert head == "a.yaml:12:1: wrong-type: no"
    assert line == " 12 | …" + "a" * 120 + "…" or line == " 12 | " + "a" * 120 + "…"
    assert mark.count("^") == 120
    assert hint == "   way out"


def test_a_warning_is_called_one() -> None:
    found = finding("no-source", Place("a.yaml", 1, 1), "no", severity="warning")

    assert render(found) == "a.yaml:1:1: warning no-source: no"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("nurze", 'did you mean "nurse"?'),
        ("Nurse", 'did you mean "nurse"?'),
        ("physician", ""),
        ("n" * 1000, ""),
    ],
)
def test_a_near_name_is_suggested(word: str, hint: str) -> None:
    assert closest(word, ["medic", "nurse"]) == hint


def test_a_finding_with_an_unexplained_code_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        finding("no-such-code", Place("a.yaml", 1, 1), "no")


def test_every_code_of_the_language_is_explained() -> None:
    call = re.compile(r"(?:finding|report|add|_find|_Wrong|_BadKey|_NotYet|_Fault|Finding)\(\s*")
    code = re.compile(r'"([a-z]+(?:-[a-z]+)*)"')
    unexplained = set()
    for path in SOURCE.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for found in call.finditer(text):
            first = code.match(text, found.end())
            if first and first[1] not in EXPLAINED:
                unexplained.add(f"{path.name}: {first[1]}")

    assert unexplained == set()


@pytest.mark.parametrize("code", EXPLAINED)
def test_an_explanation_has_a_title_and_a_paragraph(code: str) -> None:
    assert re.fullmatch("[a-z]+(-[a-z]+)*", code)
    assert EXPLAINED[code].title.endswith(".")
    assert len(EXPLAINED[code].text) > 40
