"""What a file says is what it looks like, and every value knows where it was written."""

from __future__ import annotations

from decimal import Decimal

import pytest
import yaml

from kat_workflow.errors import Place
from kat_workflow.language import reader
from kat_workflow.language.reader import UNREAD, Document, Quoted, number, read


def codes(text: str | bytes) -> list[str]:
    return [finding.code for finding in read("a.yaml", text).findings]


def marked(document: Document, *path: str | int, **where: object) -> str:
    """The very characters that a place means."""
    place, source, width = document.place(path, **where)  # type: ignore[arg-type]
    assert source == document.lines[place.line - 1]
    return source[place.column - 1 :][:width]


# Values


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("24 h", "24 h"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("007", 7),
        ("-3", -3),
        ("+3", 3),
        (".5", Decimal("0.5")),
        ("1.10", Decimal("1.10")),
        ("1e3", Decimal("1E+3")),
        ("'1'", "1"),
        ('"true"', "true"),
        ("-", [None]),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_a_value_is_what_it_looks_like(written: str, value: object) -> None:
    found = read("a.yaml", f"key:\n  {written}\n").data["key"]

    assert found == value
    assert type(found) is type(value)


def test_a_decimal_is_exact() -> None:
    assert str(read("a.yaml", "dose: 0.10").data["dose"]) == "0.10"


def test_the_tree_keeps_what_is_written_so_that_a_version_keeps_its_zero() -> None:
    tree = read("a.yaml", "version: 1.10\ntitle: '1.10'\nabout: |\n  a\n  b\n").tree

    assert tree == {"version": "1.10", "title": "1.10", "about": "a\nb\n"}
    assert [type(value) for value in tree.values()] == [str, Quoted, Quoted]


def test_keys_in_quotes_are_keys() -> None:
    assert read("a.yaml", "'true': 1\n\"7\": 2\n").data == {"true": 1, "7": 2}


def test_a_file_may_begin_with_a_mark_and_its_lines_end_as_on_windows() -> None:
    document = read("a.yaml", "\ufefftitle: x\r\nabout: y\r\n".encode())

    assert document.data == {"title": "x", "about": "y"}
    assert document.lines == ["title: x", "about: y", ""]
    assert document.place(("about",))[0] == Place("a.yaml", 2, 8)


def test_three_dashes_may_begin_the_only_document() -> None:
    assert read("a.yaml", "---\na: 1\n...\n").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("1.", 1), ("x", None), ("1" * 41, None), ("1e100", None)]
)
def test_a_number_is_short_enough_to_be_one(text: str, value: object) -> None:
    assert number(text) == value


# What is not allowed


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty-file"),
        ("# only a remark\n", "empty-file"),
        ("a: 1\na: 2\n", "duplicate-key"),
        ("a: &x 1\n", "anchor"),
        ("a: &x [1]\n", "anchor"),
        ("a: &x {b: 1}\n", "anchor"),
        ("&x a: 1\n", "anchor"),
        ("a: *x\n", "anchor"),
        ("*x : a\n", "anchor"),
        ("a: !!int 1\n", "tag"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("a: ! x\n", "tag"),
        ("a: !!map {b: 1}\n", "tag"),
        ("<<: {a: 1}\n", "merge-key"),
        ("---\na: 1\n---\nb: 1\n", "several-documents"),
        ("%YAML 1.1\n---\na: 1\n", "directive"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "directive"),
        ("1: a\n", "key-not-text"),
        ("1.5: a\n", "key-not-text"),
        (".inf: a\n", "key-not-text"),
        ("null: a\n", "key-not-text"),
        ("~: a\n", "key-not-text"),
        ("true: a\n", "key-not-text"),
        ("? [a]\n: b\n", "key-not-text"),
        ("{a: b}: c\n", "key-not-text"),
        ("a: {{ x }}\n", "key-not-text"),
        ("a: .inf\n", "odd-number"),
        ("a: -.Inf\n", "odd-number"),
        ("a: .nan\n", "odd-number"),
        ("a: 0x10\n", "odd-number"),
        ("a: 0o17\n", "odd-number"),
        ("a: " + "9" * 41 + "\n", "odd-number"),
        ("a: 1e400\n", "odd-number"),
        ("a:\tb\n", "tab"),
        ("a: b\x00\n", "invisible-character"),
        ("a: b\x1b[31m\n", "invisible-character"),
        ("a: b\u200bc\n", "invisible-character"),
        ("a: b\u202ec\n", "invisible-character"),
        ("a: b\u2028c\n", "invisible-character"),
        ("a: b\x85c\n", "invisible-character"),
        ("a: b\rc: d\n", "invisible-character"),
        ("a: \ud800\n", "invisible-character"),
        ("a: b\ufeff\n", "invisible-character"),
        ('a: "\\0"\n', "invisible-character"),
        ('a: "\\u202e"\n', "invisible-character"),
        ("a: b: c\n", "yaml-syntax"),
        ("a: [1\n", "yaml-syntax"),
        ("a: 'x\n", "yaml-syntax"),
        ("a: @x\n", "yaml-syntax"),
        ("%YAML 3.0\n---\na: 1\n", "yaml-syntax"),
    ],
)
def test_what_could_trick_a_reader_is_a_finding(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_a_byte_that_is_no_text_is_pointed_to() -> None:
    document = read("a.yaml", b"a: 1\nb: caf\xe9\n")

    assert [str(finding.place) for finding in document.findings] == ["a.yaml:2:7"]
    assert document.findings[0].source == "b: caf"
    assert document.tree is UNREAD
    assert document.data is None


def test_a_letter_of_two_bytes_before_a_byte_that_is_no_text_counts_as_one() -> None:
    assert str(read("a.yaml", "é: ".encode() + b"\xff").findings[0].place) == "a.yaml:1:4"


def test_all_lines_with_tabs_are_named_at_once() -> None:
    document = read("a.yaml", "a:\t1\nb: 2\nc:\t3\r\n")

    assert [finding.place.line for finding in document.findings] == [1, 3]
    assert document.findings[1].source == "c:\N{REPLACEMENT CHARACTER}3"


def test_reading_goes_on_after_a_finding() -> None:
    document = read("a.yaml", "a: &x 1\na: 2\nb: *x\n7: c\nd: .nan\ne: [<<, e]\n")

    assert [finding.code for finding in document.findings] == [
        "anchor",
        "duplicate-key",
        "anchor",
        "key-not-text",
        "odd-number",
    ]
    assert document.tree == {"a": "1", "b": UNREAD, "d": UNREAD, "e": ["<<", "e"]}
    assert document.data == {"a": 1, "b": None, "d": None, "e": ["<<", "e"]}


def test_what_a_second_key_of_the_same_name_holds_is_left_out() -> None:
    assert read("a.yaml", "a: {b: 1}\na: {b: {c: 2}}\n").data == {"a": {"b": 1}}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", None)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "a colon stands here that cannot end a key"),
        ("a: 1\nb\nc: 2\n", "a key stands here or above without its colon"),
        ("a: 'x", "the text in quotes that begins above never ends"),
        ("a: 'x\n--- b", "the text in quotes that begins above never ends"),
        ("a: @x", "text cannot begin with this character"),
        ('a: "\\q"', "a backslash stands here that means nothing"),
        ("a: [1, 2", "a comma or the closing bracket is missing before this"),
        ("a: [1}", "a comma or the closing bracket is missing before this"),
        ("a: {b: 1", "a comma or the closing bracket is missing before this"),
        ("a: 1\n  b: 2", "a colon stands here that cannot end a key"),
        ("a:\n  - b\n  c: d", "this is not on a level with what is above"),
        ("a:\n    b: 1\n  c: 2", "this is not on a level with what is above"),
        ("a: - b", "a list cannot begin here"),
        ("a: [,]", "a value is missing before this"),
    ],
)
def test_what_the_parser_says_is_said_in_our_words(
    text: str, message: str, loader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loader is None:
        pytest.skip("PyYAML has no C extension here")
    monkeypatch.setattr(reader, "LOADER", loader)

    (finding,) = read("a.yaml", text).findings

    assert finding.code == "yaml-syntax"
    assert finding.message == message
    assert finding.hint


def test_an_objection_that_is_not_known_is_passed_on() -> None:
    (finding,) = read("a.yaml", "%YAML 3.0\n---\na: 1").findings

    assert finding.message.startswith("this cannot be read: ")


def test_the_parser_in_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: {b: [1, 'é', 😀]}\nc: |\n  d\n"
    fast = read("a.yaml", text)
    monkeypatch.setattr(reader, "LOADER", yaml.SafeLoader)

    slow = read("a.yaml", text)

    assert slow.tree == fast.tree
    for path in [("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1), ("a", "b", 2), ("c",)]:
        assert slow.place(path) == fast.place(path)


# Places

PROGRAM = """\
phases:
  stay:
    steps:
      check: {by: [nurse], only_if: 'substance is alcohol', title: "a \\"b\\" c"}
    about: >
      One.
      Two.
    next:
      - to: home
        when: it's over
      - {to: 'it''s home', when: always}
    says: one
      two
"""


@pytest.fixture(scope="module")
def program() -> Document:
    return read("stay.yaml", PROGRAM)


def test_a_value_is_pointed_to_as_a_whole(program: Document) -> None:
    steps = ("phases", "stay", "steps", "check")

    assert marked(program, *steps, "only_if") == "'substance is alcohol'"
    assert marked(program, *steps, "by", 0) == "nurse"
    assert marked(program, "phases", "stay", "next", 0, "when") == "it's over"
    assert program.place((*steps, "by", 0))[0] == Place("stay.yaml", 4, 20)


def test_a_mapping_or_list_is_pointed_to_by_its_key(program: Document) -> None:
    assert marked(program, "phases", "stay") == "stay"
    assert marked(program, "phases", "stay", "next") == "next"
    assert marked(program, "phases", "stay", "steps", "check", "by", on="key") == "by"


def test_an_item_that_is_a_mapping_is_pointed_to_where_it_begins(program: Document) -> None:
    assert marked(program, "phases", "stay", "next", 0) == "t"
    assert marked(program, "phases", "stay", "next", 1) == "{"


def test_the_file_as_a_whole_is_pointed_to_where_it_begins(program: Document) -> None:
    assert program.place(())[0] == Place("stay.yaml", 1, 1)


@pytest.mark.parametrize("path", [("nurses",), ("phases", "stay", "nurses", "x"), ("phases", 3)])
def test_what_does_not_exist_is_pointed_to_as_far_as_it_does(
    program: Document, path: tuple[str | int, ...]
) -> None:
    existing = ("phases", "stay") if "stay" in path else ("phases",) if "phases" in path else ()

    assert program.place(path) == program.place(existing)


def test_a_missing_item_is_pointed_to_by_its_list(program: Document) -> None:
    assert marked(program, "phases", "stay", "next", 7, "when") == "next"


def test_a_word_inside_a_text_is_pointed_to_whatever_its_quotes(program: Document) -> None:
    stay = ("phases", "stay")
    only_if = (*stay, "steps", "check", "only_if")
    home = (*stay, "next", 1, "to")

    assert marked(program, *only_if, offset=0, width=9) == "substance"
    assert marked(program, *only_if, offset=13, width=7) == "alcohol"
    assert marked(program, *stay, "next", 0, "when", offset=5, width=4) == "over"
    assert marked(program, *home, offset=5, width=4) == "home"
    assert marked(program, *home, offset=5) == "h"


def test_a_word_inside_a_text_of_several_lines_is_pointed_to_in_its_line(program: Document) -> None:
    stay = ("phases", "stay")

    assert marked(program, *stay, "about", offset=5, width=3) == "Two"
    assert marked(program, *stay, "says", offset=4, width=3) == "two"
    assert program.place((*stay, "says"), offset=4, width=3)[0].line == 13


def test_words_that_go_on_in_the_next_line_are_pointed_to_as_far_as_the_line_goes(
    program: Document,
) -> None:
    assert marked(program, "phases", "stay", "says", offset=1, width=6) == "ne"


def test_a_text_with_a_backslash_is_pointed_to_where_it_begins(program: Document) -> None:
    title = ("phases", "stay", "steps", "check", "title")

    assert marked(program, *title, offset=3, width=1).startswith('"a')


def test_a_place_behind_a_text_is_pointed_to_where_the_text_begins(program: Document) -> None:
    assert marked(program, "phases", "stay", "about", offset=40, width=1) == ">"


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_missing_quote_is_looked_for_where_the_text_begins(quote: str) -> None:
    text = f"language: 1\nversion: {quote}1.0.0\ntitle: {quote}A stay: short{quote}\n"

    [found] = read("stay.yaml", text).findings

    assert found.message == "the text in quotes that begins in line 2 ends here"
    assert found.hint.startswith("close the quotes in line 2")
    assert (found.place.line, found.code) == (3, "yaml-syntax")


def test_a_file_that_cannot_be_read_is_pointed_to_at_its_beginning() -> None:
    assert read("a.yaml", "").place(("a", 1))[0] == Place("a.yaml", 1, 1)
    assert read("a.yaml", "[").place(("a",))[1] == "["


def test_an_empty_value_is_pointed_to_where_it_would_stand() -> None:
    assert read("a.yaml", "a:\nb: 1").place(("a",)) == (Place("a.yaml", 1, 3), "a:", 1)


def test_a_finding_is_made_at_a_path(program: Document) -> None:
    finding = program.finding(
        "unknown-role",
        ("phases", "stay", "steps", "check", "by", 0),
        "no",
        "way",
        severity="warning",
    )

    assert str(finding) == "stay.yaml:4:20 unknown-role: no; way"
    assert finding.source.startswith("      check:")
    assert (finding.width, finding.severity) == (5, "warning")


def test_a_finding_needs_a_code_that_is_explained(program: Document) -> None:
    with pytest.raises(KeyError):
        program.finding("no-such-code", (), "")
