"""A row that stays unknown for good stops a patient for good, and the file is told so before."""

from __future__ import annotations

import pytest

from kat_workflow.language import Files, check, shipped
from kat_workflow.language.findings import EXPLAINED

TEXT = """\
language: 1
program: talk
version: "1.0"
title: A talk
start: asking
decided_by: [nurse]
roles: {nurse: Nurse}
forms:
  answer:
    title: An answer
    fields:
      wants: {type: yes_no}
      why: {type: yes_no, may_be: [refused]}
  other:
    title: Another
    fields:
      sure: {type: yes_no}
gates:
  keen: {says: It is wanted, when: answer.wants is yes}
phases:
  asking:
    steps:
      ask: {by: [nurse], record: answer, may_be: [declined, missed]}
      again: {by: [nurse], record: other}
    next:
ROWS
  seeing:
    steps: {see: {by: [nurse]}}
    next: [{to: gone, when: always}]
ends:
  gone: {kind: completed}
leaving: {by: [nurse], work: [call]}
work_after_leaving:
  call: {by: [nurse]}
"""
ON, OUT = "      - {{to: seeing, when: {}}}", "      - {{to: gone, when: {}}}"


def found(*rows: str, change: tuple[str, str] = ("", "")) -> list[tuple[int, str]]:
    """The row that each warning points to, and its way out."""
    text = TEXT.replace("ROWS", "\n".join(rows))
    assert change[0] in text
    text = text.replace(*change) if change[0] else text
    checked = check("talk/talk.yaml", Files({"talk/talk.yaml": text}))
    assert checked.program is not None, [str(each) for each in checked.findings]
    first = text.splitlines().index("    next:") + 2
    stops = [each for each in checked.findings if each.code == "unknown-stops"]
    assert all(each.severity == "warning" for each in stops)
    return [(each.place.line - first, each.hint) for each in stops]


@pytest.mark.parametrize(
    "when",
    [
        "answer.wants is yes",
        "keen",
        "not keen",
        "other.sure is yes and keen",
        "other.sure is yes or keen",
        "ask is missed or keen",
        "always and keen",
    ],
)
def test_a_row_that_reads_what_may_be_declined_is_told_with_the_row_that_is_missing(
    when: str,
) -> None:
    rows = found(ON.format(when), OUT.format("always"))

    ((row, way_out),) = rows
    assert row == 0
    assert way_out == "put a row above that says where to: when: ask is declined"


@pytest.mark.parametrize(
    "rows",
    [
        (OUT.format("ask is declined or ask is missed"), ON.format("keen")),
        (OUT.format("ask is declined"), OUT.format("ask is missed"), ON.format("keen")),
        (OUT.format("ask is not done"), ON.format("keen")),
        (OUT.format("answer.wants is not recorded"), ON.format("keen")),
        (ON.format("answer.wants is recorded and keen"), OUT.format("other.sure is yes")),
        (ON.format("(ask is done and keen) and other.sure is yes"), OUT.format("always")),
        (ON.format("other.sure is yes"), OUT.format("other.sure is no")),
        (ON.format("always"),),
        (ON.format("keen or always"),),
    ],
)
def test_where_a_row_above_or_the_row_itself_says_what_follows_then_nothing_is_told(
    rows: tuple[str, ...],
) -> None:
    assert found(*rows) == []


def test_that_a_later_phase_asks_the_same_again_helps_nobody_on() -> None:
    asked_again = ("see: {by: [nurse]}", "see: {by: [nurse], record: answer}")

    rows = found(ON.format("keen"), OUT.format("always"), change=asked_again)

    assert rows == [(0, "put a row above that says where to: when: ask is declined")]


def test_the_first_row_of_which_a_way_is_not_said_is_the_one() -> None:
    rows = found(OUT.format("ask is declined"), OUT.format("other.sure is yes"), ON.format("keen"))

    assert rows == [(2, "put a row above that says where to: when: ask is missed")]


def test_a_question_that_may_be_refused_leaves_a_row_unknown_though_the_step_is_done() -> None:
    rows = found(OUT.format("ask is not done"), ON.format("answer.why is yes"))

    ((row, way_out),) = rows
    assert row == 1
    assert "whether it is recorded" in way_out


@pytest.mark.parametrize(
    "change",
    [
        (", may_be: [declined, missed]", ""),
        ("    title: An answer\n", "    title: An answer\n    any_time: true\n"),
        ("record: other", "record: answer"),
        ("may_be: [declined, missed]", "every: [{interval: 1 d, when: always}], may_be: [missed]"),
    ],
)
def test_what_cannot_be_left_out_or_may_still_come_stops_nobody(change: tuple[str, str]) -> None:
    rows = (ON.format("keen"), OUT.format("always"))

    assert found(*rows, change=change) == []


def test_no_program_that_ships_stops_somebody_so_and_the_code_is_explained() -> None:
    library = shipped()
    names = [name for name in library.names() if name.count("/") == 1]

    stops = [
        str(each)
        for name in names
        for each in check(name, library).findings
        if each.code == "unknown-stops"
    ]

    assert stops == []
    assert "unknown-stops" in EXPLAINED
