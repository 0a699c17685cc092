"""What README.md and docs/ show is what happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doc_blocks import ROOT, Block, DocError, blocks, broken_links, compare, run_console, run_python

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("python", "console")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_what_a_document_shows_is_what_happens(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("KAT_PROGRAMS", raising=False)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    wrong = []

    for block in blocks(document):
        try:
            if block.kind == "python":
                run_python(block, namespace)
            elif block.kind == "console":
                run_console(block)
        except DocError as error:
            wrong.append(str(error))

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert not broken_links(document)


def test_the_readme_shows_the_library_and_the_command_line() -> None:
    assert {"python", "console"} <= {block.kind for block in blocks(ROOT / "README.md")}


# The comparison itself: a document that says something else must not pass.

SHOWN = Block(ROOT / "README.md", 10, ("console",), "$ kat x\n")


@pytest.mark.parametrize(
    "written",
    [
        ["a", "b", "c"],
        ["a", "…"],
        ["…", "c"],
        ["…"],
        ["a", "…", "c"],
        ["a", "…", "b", "c"],
        ["a", "…b", "c"],
    ],
)
def test_an_ellipsis_stands_for_any_lines_or_any_text(written: list[str]) -> None:
    compare(SHOWN, 1, written, "a\nb  \nc\n")


@pytest.mark.parametrize(
    ("written", "where", "expected", "found"),
    [
        (["a", "x", "c"], 12, "x", "b"),
        (["a", "b"], 13, "the end", "c"),
        (["a", "b", "c", "d"], 14, "d", "the end"),
        ([], 11, "the end", "a"),
        (["…", "d"], 12, "d", ""),
    ],
)
def test_a_difference_is_told_with_its_line(
    written: list[str], where: int, expected: str, found: str
) -> None:
    with pytest.raises(DocError) as told:
        compare(SHOWN, 1, written, "a\nb\nc\n")

    assert f"README.md:{where}:" in str(told.value)
    assert f"expected {expected}\n  found    {found}" in str(told.value)


def test_a_failing_line_of_python_is_told_with_its_line() -> None:
    block = Block(ROOT / "README.md", 10, ("python",), "one = 1\none / 0\n")

    with pytest.raises(DocError, match=r"README\.md:11: expected to run; found ZeroDivisionError"):
        run_python(block, {})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("$ make coffee", r"README\.md:10: .* found coffee"),
        ("$ rm -rf clinic.db", r"README\.md:10: .* found rm"),
        ("kat check", r"README\.md:10: expected a line that begins with \$"),
        ("$ kat explain no-source\nno-source (finding)\nand more", r"README\.md:12"),
        ("$ kat explain \\\n> no-source\nno-source (finding)\nand more", r"README\.md:13"),
    ],
)
def test_a_command_that_is_not_there_is_told_with_its_line(line: str, told: str) -> None:
    with pytest.raises(DocError, match=told):
        run_console(Block(ROOT / "README.md", 10, ("console",), line + "\n"))


def test_a_command_that_goes_as_written_passes() -> None:
    commands = "$ make test\n$ pip install kat-workflow\n$ kat explain no-source  # a remark\n"
    text = commands + "no-source (finding)\n…\n\n…\n"

    run_console(Block(ROOT / "README.md", 10, ("console",), text))
