"""docs/deviations.md: every row is shown by something that exists and that other tests run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "deviations.md"
FACTS = ROOT.parent / "shared" / "domain.md"
RUN_ELSEWHERE = ("programs/*/scenarios/*.yaml", "tests/*/*/scenarios/*.yaml")
"""The scenario files that the suite runs: kat_workflow.pytest_plugin takes them where they lie."""


def rows(text: str) -> list[list[str]]:
    """The rows of the tables of a page, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = [at for at, row in enumerate(cells) if set(row[0]) == {"-"}]
    return [row for at, row in enumerate(cells) if at not in heads and at + 1 not in heads]


def section(text: str, number: int) -> str:
    """One section of the fact sheet."""
    return text.partition(f"\n## {number}. ")[2].partition("\n## ")[0]


def title(cell: str) -> str:
    """What a row is about, without marks and without what its brackets add."""
    return re.sub(r"\s*\(.*", "", cell).replace("*", "").strip()


ROWS = rows(PAGE.read_text(encoding="utf-8"))
SHOWN = sorted(
    {
        (title(row[0]), where)
        for row in ROWS
        for where in (*re.findall(r"\]\(\.\./([^)]+)\)", row[2]), *re.findall(r"`([^`]+)`", row[2]))
    }
)
facts = pytest.mark.skipif(
    not FACTS.is_file(), reason=f"the fact sheet is not here: no {FACTS.relative_to(ROOT.parent)}"
)


def test_the_page_has_every_row_filled_and_none_twice() -> None:
    assert len(ROWS) > 30
    assert all(len(row) == 3 and all(row) for row in ROWS)
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_every_row_names_what_shows_it() -> None:
    shown = {about for about, _ in SHOWN}

    assert [row[0] for row in ROWS if title(row[0]) not in shown] == []


@pytest.mark.parametrize(("about", "where"), SHOWN, ids=lambda value: value.rpartition("/")[2])
def test_what_shows_a_deviation_is_there_and_is_run(about: str, where: str) -> None:
    file, _, name = where.partition("::")

    assert (ROOT / file).is_file(), about
    if name:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    else:
        assert any(Path(file).match(pattern) for pattern in RUN_ELSEWHERE)


@facts
def test_no_deviation_of_the_fact_sheet_is_left_out() -> None:
    told = {title(row[0]) for row in ROWS}
    known = [title(row[0]) for row in rows(section(FACTS.read_text(encoding="utf-8"), 6))]

    assert len(known) >= 20
    assert [each for each in known if each not in told] == []


@facts
def test_no_safety_feature_of_the_fact_sheet_is_left_out() -> None:
    text = section(FACTS.read_text(encoding="utf-8"), 7)
    numbers = re.findall(r"^(\d+)\. ", text, re.MULTILINE)

    assert len(numbers) >= 10
    assert [n for n in numbers if not any(row[0].startswith(f"**{n}. ") for row in ROWS)] == []
