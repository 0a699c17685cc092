"""Strict YAML: a text → plain values that still know where they were written, or findings.

Only PyYAML's event stream is used; nothing is ever constructed or composed, so no text can make
an object, and nesting is counted while it is read. Allowed is what YAML's core schema can say
without surprise: mappings with text keys, lists, text, whole numbers, decimals, `true`/`false`
and nothing (`null`, `~`, empty). `on`, `no` and `12:30` are text. What only helps to trick a
reader (duplicate keys, anchors, tags, merge keys, tabs, invisible characters, …) is a finding.

A scalar without quotes means what its *key* asks for: `version: 1.10` is the text `1.10`,
`times: 1` the number. So `Document.tree` keeps scalars as they are written (`Quoted` marks
those in quotes), and `Document.data` is the same with core-schema values.

Places cost next to nothing while nothing is wrong: the events are kept and looked at on demand.
"""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, NoReturn

import yaml
from attrs import field, frozen
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from kat_workflow.errors import Finding, Place
from kat_workflow.language.findings import finding

__all__ = ["LOADER", "TRUTHS", "UNREAD", "Document", "Quoted", "number", "read", "valued"]

LONGEST = 512 * 1024  # characters (bytes, while it is not decoded)
DEEPEST = 32  # mappings and lists inside each other
MOST = 50_000  # keys and values
FINDINGS = 100  # of one file; a reader needs no more at once

On = Literal["key", "value"]
Path = tuple[str | int, ...]

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Quoted(str):
    """A text that is written in quotes or as a block, so that it is never a number."""

    __slots__ = ()


@frozen(eq=False)
class Unread:
    """Stands where something could not be read; it already has its finding."""


UNREAD = Unread()


@frozen(eq=False, slots=False)
class Document:
    """A file as it is written. `findings` is all that the reader has to object to.

    `tree` holds dicts, lists, `str`, `Quoted`, None and, where a finding says so, `UNREAD`.
    """

    file: str
    text: str
    tree: Any
    findings: tuple[Finding, ...] = ()
    _events: dict[int, Any] = field(factory=dict)
    _root: Any = None

    @cached_property
    def data(self) -> Any:
        """The tree with core-schema values: str, int, Decimal, bool, None, dict and list."""
        return valued(self.tree)

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends."""
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    def place(
        self, path: Path, on: On = "value", offset: int = 0, width: int | None = None
    ) -> tuple[Place, str, int]:
        """Where something is written: the place, its line and how many columns are meant.

        `path` are the keys and list indexes from the top; a part that does not exist is left
        out with what follows. `offset` and `width` choose a word inside a text. A mapping or list
        is pointed to by its key.
        """
        key, value = self._found(path)
        if key is not None and (on == "key" or not isinstance(value, ScalarEvent | AliasEvent)):
            return self._at(key.start_mark, _width(key))
        if not isinstance(value, ScalarEvent):
            return self._at(value.start_mark if value else None, 1)
        if width is None and not offset:
            return self._at(value.start_mark, _width(value))
        index = self._index(value, offset)
        if index is None:
            return self._at(value.start_mark, _width(value))
        line = self.text.count("\n", 0, index)
        column = index - (self.text.rfind("\n", 0, index) + 1)
        source = self.lines[line]
        wide = max(min(width or 1, len(source) - column), 1)
        return Place(self.file, line + 1, column + 1), source, wide

    def finding(
        self,
        code: str,
        path: Path,
        message: str,
        hint: str = "",
        on: On = "value",
        offset: int = 0,
        width: int | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> Finding:
        """What is wrong at a path; `code` is one of those that `kat explain` knows."""
        place, source, wide = self.place(path, on, offset, width)
        return finding(code, place, message, hint, source, wide, severity)

    def _found(self, path: Path) -> tuple[Any, Any]:
        """The events of the key and the value at a path, as far as it exists."""
        at, key, value = self.tree, None, self._root
        for part in path:
            marks: Any = self._events.get(id(at))
            try:
                pair = marks[part]
            except (TypeError, KeyError, IndexError):
                break
            key, value = pair if isinstance(at, dict) else (None, pair)
            at = at[part]
        return key, value

    def _at(self, mark: Any, width: int) -> tuple[Place, str, int]:
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        line = min(line, len(self.lines) - 1)
        return Place(self.file, line + 1, column + 1), self.lines[line], width

    def _index(self, event: Any, offset: int) -> int | None:
        """Where in the file a character of a text is written; None after a backslash.

        What a text over several lines says differs from what is written only in its white space,
        so the count of other characters before it finds the character.
        """
        start, end = event.start_mark.index, event.end_mark.index
        said, before = event.value, event.value[:offset]
        if event.style == "'":
            said, before = said.replace("'", "''"), before.replace("'", "''")
        if event.style in _BLOCKS:
            start = self.text.index("\n", start)  # the first line says how it is folded
        elif event.style:
            start, end = start + 1, end - 1
        written = self.text[start:end]
        if written == said:
            return int(start + len(before))
        if not _ink(written).startswith(_ink(said)):
            return None
        inked = itertools.islice(re.finditer(r"\S", written), len(_ink(before)), None)
        found = next(inked, None)
        return None if found is None else int(start + found.start())


def read(file: str, text: str | bytes) -> Document:
    """Reads a file. It never raises for what the text holds; see `Document.findings`."""
    if len(text) > LONGEST:
        message = f"the file is longer than {LONGEST // 1024} KiB"
        return _refused(file, "", "too-long", message, "split it into files that it names")
    if not isinstance(text, str):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            before = bytes(error.object[: error.start]).decode()
            line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
            message = "a byte here is no UTF-8 text"
            return _refused(file, before, "not-text", message, "save it as UTF-8", line, column)
    text = text.removeprefix("\ufeff")
    found = _unprintable(file, text)
    if found:
        return Document(file, text, UNREAD, found)
    return _Reading(file, text).document()


def number(text: str) -> int | Decimal | None:
    """The number that a text without quotes is, or None."""
    if _NUMBER.fullmatch(text) is None:
        return None
    return int(text) if text.lstrip("+-").isdigit() else Decimal(text)


_NUMBER = re.compile(
    r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,2})?"
)
# Numbers elsewhere, but not here: not finite, not decimal, or longer than any clinic's.
_ODD = re.compile(
    r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|0x[0-9a-fA-F]+|0o[0-7]+"
    r"|[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
)
_MAY_BE_NUMBER = frozenset("+-.0123456789")
_NOTHING = frozenset(["", "~", "null", "Null", "NULL"])
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

# What must not stand in a file: control characters, surrogates, a lone carriage return and the
# other line ends (places would be counted differently than editors do), characters without a
# width and those that turn the direction of writing.
_BAD = re.compile(
    "[^\n\r -~\u00a0-\u200a\u2010-\u2027\u202f-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\ufffd"
    "\U00010000-\U0010ffff]|\r(?!\n)"
)


def _refused(
    file: str, text: str, code: str, message: str, hint: str, line: int = 0, column: int = 0
) -> Document:
    """A file that is not read at all."""
    source = text.split("\n")[line] if line else text
    found = finding(code, Place(file, line + 1, column + 1), message, hint, source)
    return Document(file, text, UNREAD, (found,))


def _unprintable(file: str, text: str) -> tuple[Finding, ...]:
    """One finding for each line with a character that must not stand in a file."""
    if _BAD.search(text) is None:
        return ()
    found = []
    for count, line in enumerate(text.split("\n"), 1):
        bad = _BAD.search(line + "\n")
        if bad is None:
            continue
        place = Place(file, count, bad.start() + 1)
        shown = _BAD.sub("\N{REPLACEMENT CHARACTER}", line.removesuffix("\r"))
        if bad[0] == "\t":
            found.append(finding("tab", place, "a tab stands here", "use spaces", shown))
        else:
            message = f"an invisible character (U+{ord(bad[0]):04X}) stands here"
            found.append(finding("invisible-character", place, message, "remove it", shown))
        if len(found) == FINDINGS:
            break
    return tuple(found)


class _Stop(Exception):  # not an error: the reading ends here
    """The rest of the file is not read."""


class _Reading:
    """One pass over the events of a file."""

    def __init__(self, file: str, text: str) -> None:
        self.blank = Document(file, text, UNREAD)
        self.events: dict[int, Any] = {}
        self.found: list[Finding] = []
        self.quoted: Any = None

    def document(self) -> Document:
        """The whole file, or as much as there is before the reading had to end."""
        tree, root = UNREAD, None
        try:
            loader = LOADER(self.blank.text)
            try:
                tree, root = self.read(loader.get_event)
            finally:
                loader.dispose()
        except _Stop:
            pass
        except yaml.YAMLError as error:
            with suppress(_Stop):
                self.syntax(error)
        blank = self.blank
        return Document(blank.file, blank.text, tree, tuple(self.found), self.events, root)

    def read(self, get: Any) -> tuple[Any, Any]:
        """The tree and its first event."""
        get()  # the stream starts
        first = get()
        if type(first) is StreamEndEvent:
            self.report("empty-file", None, "the file holds nothing", "begin with `language: 1`")
            raise _Stop
        if first.version or first.tags:
            self.report("directive", first.start_mark, "a `%` line stands here", "remove it")
        box, marks = self.fill(get)
        get()  # the document ends
        last = get()
        if type(last) is DocumentStartEvent:
            hint = "remove `---`, or make it a file of its own"
            mark = last.start_mark
            self.report("several-documents", mark, "a second document begins here", hint)
        return box[0], marks[0]

    def fill(self, get: Any) -> tuple[list[Any], list[Any]]:
        """The one value of the document and its first event, each in a list.

        A stack of its own instead of recursion, because depth is the text's choice. `at` is the
        list or mapping that is being filled, `marks` the events of what it holds; `key` is the
        event of a key that waits for its value, `name` its text, None where it is left out.
        """
        events = self.events
        stack: list[tuple[Any, Any, bool]] = []
        at: Any = []
        marks: Any = []
        keyed = False
        key: Any = None
        name: str | None = None
        count = 0
        while True:
            event = get()
            kind = type(event)
            value: Any
            if kind is ScalarEvent:
                value = event.value
                plain = event.implicit[0] and event.anchor is None and event.tag is None
                if not plain:
                    value = self.unusual(event)
                if keyed and key is None:
                    key = event
                    name = value
                    if value in at or value in _SPECIAL or not value[:1].isalpha():
                        name = self.key(event, value, at, marks)
                    continue
                if plain and (value in _NOTHING or value[0] in _MAY_BE_NUMBER):
                    value = self.scalar(event, value)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                value = {} if kind is MappingStartEvent else []
                if event.anchor is not None or event.tag is not None:
                    self.unusual(event)
            elif kind is AliasEvent:
                value = UNREAD
                self.unusual(event)
            else:  # a mapping or list ends
                at, marks, keyed = stack.pop()
                if not stack:
                    return at, marks
                continue
            if not keyed:
                at.append(value)
                marks.append(event)
            elif key is None:
                if kind is not AliasEvent:
                    hint = "a key is a name; put text that begins with a bracket in quotes"
                    self.report("key-not-text", event.start_mark, "this is no key", hint)
                raise _Stop
            else:
                if name is not None:
                    at[name] = value
                    marks[name] = (key, event)
                key = None
            count += 1
            if count > MOST:
                message = f"the file has more than {MOST} keys and values"
                self.report("too-long", event.start_mark, message, "split it into files")
                raise _Stop
            if kind is MappingStartEvent or kind is SequenceStartEvent:
                stack.append((at, marks, keyed))
                keyed = kind is MappingStartEvent
                at, marks = value, {} if keyed else []
                events[id(at)] = marks
                if len(stack) > DEEPEST:
                    self.too_deep(event.start_mark)
            elif not stack:
                return at, marks

    def report(self, code: str, mark: Any, message: str, hint: str, width: int = 1) -> None:
        """Adds a finding; a file with very many is not read any further."""
        place, source, _ = self.blank._at(mark, 1)
        self.found.append(finding(code, place, message, hint, source, width))
        if len(self.found) >= FINDINGS:
            raise _Stop

    def too_deep(self, mark: Any) -> NoReturn:
        """The end of a file with too many levels."""
        message = f"more than {DEEPEST} lists and mappings lie inside each other here"
        self.report("too-deep", mark, message, "a program needs far fewer; close the brackets")
        raise _Stop

    def unusual(self, event: Any) -> Any:
        """The value of what is in quotes, is tagged, or has or is an anchor."""
        mark, end = event.start_mark, event.end_mark
        if type(event) is AliasEvent:
            message = f"`*{event.anchor}` repeats what is written elsewhere"
            self.report("anchor", mark, message, "write it out", _width(event))
            return UNREAD
        if event.anchor is not None:
            message = f"`&{event.anchor}` marks this to be repeated"
            self.report("anchor", mark, message, "remove it, and write things out")
        if event.tag is not None:
            message = f"the tag `{event.tag}` stands here"
            self.report("tag", mark, message, "remove it; the key says what its value is")
        if type(event) is not ScalarEvent:
            return None
        if event.implicit[0]:
            return event.value
        if _BAD.search(event.value.replace("\r", "")):
            message = "this text holds an invisible character, written with a backslash"
            self.report("invisible-character", mark, message, "remove it", _width(event))
        if event.style and event.style not in _BLOCKS and mark.line != end.line:
            self.quoted = event
        return Quoted(event.value)

    def key(self, event: Any, text: str, at: Any, marks: Any) -> str | None:
        """A key that may not be one: its text, or None if it is left out."""
        mark, width = event.start_mark, _width(event)
        plain = type(text) is str
        if plain and text == "<<":
            hint = "write the keys out"
            self.report("merge-key", mark, "`<<` would bring in keys from elsewhere", hint, width)
            return None
        if plain and (text in _SPECIAL or number(text) is not None or _ODD.fullmatch(text)):
            message = f"the key `{text}` is not text"
            self.report(
                "key-not-text", mark, message, "choose a name that begins with a letter", width
            )
            return None
        if text in at:
            line = marks[text][0].start_mark.line + 1
            message = f"the key `{text}` stands here a second time, after line {line}"
            self.report("duplicate-key", mark, message, "keep one of them", width)
            return None
        return str(text)

    def scalar(self, event: Any, text: str) -> Any:
        """A text without quotes that is nothing, or may be a number."""
        if text in _NOTHING:
            return None
        if _ODD.fullmatch(text) and number(text) is None:
            message = f"`{text}` is no number that a program can use"
            hint = "write a decimal number, or put text in quotes"
            self.report("odd-number", event.start_mark, message, hint, _width(event))
            return UNREAD
        return text

    def syntax(self, error: yaml.YAMLError) -> None:
        """PyYAML's objection in our words."""
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        if "nesting depth" in problem:  # the parser in C looks ahead, and has its own limit
            self.too_deep(mark)
        known = (words for fragment, *words in _OBJECTIONS if fragment in problem)
        message, hint = next(known, [f"this cannot be read: {problem}", _INDENT])
        quoted = self.quoted
        if quoted is not None and mark is not None and quoted.end_mark.line == mark.line:
            # Where a quote is missing, the next one in the file is taken for it.
            line = quoted.start_mark.line + 1
            message = f"the text in quotes that begins in line {line} ends here"
            hint = f"close the quotes in line {line}, if that is not meant; else: {hint}"
        self.report("yaml-syntax", mark, message, hint)


_SPECIAL = _NOTHING | TRUTHS.keys()
_INDENT = "look at the indentation, the colons and the brackets of this line and the one above"
_ENDLESS = "the text in quotes that begins above never ends"
_LEVEL = "this is not on a level with what is above"
_NEIGHBOURS = "indent it like its neighbours; each item of a list begins with `- `"
_OBJECTIONS = (
    # what PyYAML says (a part that its two parsers share, or one for each); what we say; the hint
    (
        "mapping values are not allowed",
        "a colon stands here that cannot end a key",
        "put text that holds `: ` in quotes; else look at the indentation",
    ),
    (
        "could not find expected ':'",
        "a key stands here or above without its colon",
        "write `key: value`; text that goes on over several lines is indented",
    ),
    ("unexpected end of stream", _ENDLESS, "close the quotes"),
    ("unexpected document", _ENDLESS, "close the quotes"),
    (
        "cannot start any token",
        "text cannot begin with this character",
        "put the text in quotes",
    ),
    (
        "unknown escape character",
        "a backslash stands here that means nothing",
        "use single quotes, or write `\\\\`",
    ),
    ("expected ',' or", "a comma or the closing bracket is missing before this", "close it"),
    ("expected node content", "a value is missing before this", _INDENT),
    ("expected the node content", "a value is missing before this", _INDENT),
    ("expected key", _LEVEL, _NEIGHBOURS),
    ("expected <block end>", _LEVEL, _NEIGHBOURS),
    ("expected '-' indicator", _LEVEL, _NEIGHBOURS),
    ("sequence entries are not allowed", "a list cannot begin here", "begin it on its own line"),
)


_BLOCKS = frozenset("|>")


def _ink(text: str) -> str:
    """A text without its white space."""
    return "".join(text.split())


def _width(event: Any) -> int:
    """How many columns of its first line an event takes."""
    start, end = event.start_mark, event.end_mark
    return max(end.column - start.column, 1) if start.line == end.line else 1


def valued(tree: Any) -> Any:
    """A tree with core-schema values instead of texts."""
    kind = type(tree)
    if kind is dict:
        return {key: valued(value) for key, value in tree.items()}
    if kind is list:
        return [valued(value) for value in tree]
    if kind is Quoted:
        return str(tree)
    if kind is not str:
        return None
    if tree in TRUTHS:
        return TRUTHS[tree]
    value = number(tree)
    return tree if value is None else value
