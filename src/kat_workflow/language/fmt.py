"""`kat fmt`: one way to set out a file, without touching what it says.

Only spaces and line ends change: two columns for each level (also for the items of a list under
their key), one space after colons, commas and dashes, none inside brackets, none at the end of
a line, at most one empty line. Comments, quotes, the order of keys and the breaking of lines
stay as the author chose them, and so do the inner lines of texts that run over several lines;
they only move sideways with their key. A file that is formatted stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import yaml
from attrs import define, field
from yaml.tokens import (
    BlockEntryToken,
    DocumentEndToken,
    FlowEntryToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    KeyToken,
    ScalarToken,
    ValueToken,
)

from kat_workflow.errors import ProgramError
from kat_workflow.language.reader import LOADER, read

__all__ = ["formatted"]

_Opens = FlowMappingStartToken | FlowSequenceStartToken
_Closes = FlowMappingEndToken | FlowSequenceEndToken
_Inside = BlockEntryToken | FlowEntryToken | KeyToken | ScalarToken | ValueToken


def formatted(text: str, file: str = "") -> str:
    """The text, set out; ProgramError with the reader's findings if it cannot be read."""
    findings = read(file, text).findings
    if findings:
        raise ProgramError(findings)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    tokens = [
        t
        for t in yaml.scan(text, Loader=LOADER)
        if isinstance(t, _Inside | _Opens | _Closes | DocumentEndToken)
    ]
    if any(isinstance(t, KeyToken) and t.end_mark.index > t.start_mark.index for t in tokens):
        return text  # a key after `? `: set out by hand
    layout = _Layout(text.split("\n"))
    ends = [token.start_mark.line for token in tokens[1:]] + [len(layout.lines)]
    for token, end in zip(tokens, ends, strict=False):
        layout.place(token, end)
    layout.space([t for t in tokens if not isinstance(t, KeyToken)])
    lines = list(layout.finished())
    if len(layout.lines) - 1 in layout.kept:
        return "\n".join(lines)  # how a text of several lines ends belongs to it
    while not lines[-1]:
        lines.pop()
    return "\n".join([*lines, ""])


@define
class _Block:
    """A mapping or list in block style: the column of its keys or dashes, before and after."""

    kind: type
    column: int
    indent: int


@define
class _Layout:
    """Where each line goes. `moved` says by how many columns, `kept` which lines lie inside a
    text of several lines, `spaces` which gaps of a line change and into what; `done` is the line
    up to which remarks have been looked at."""

    lines: list[str]
    blocks: list[_Block] = field(factory=list)
    depth: int = 0
    done: int = 0
    moved: dict[int, int] = field(factory=dict)
    kept: set[int] = field(factory=set)
    spaces: dict[int, list[tuple[int, int, str]]] = field(factory=dict)

    def place(self, token: Any, end: int) -> None:
        """Decides where the line of a token goes, if it is the first on it; `end` is the line of
        the next token."""
        line, column = token.start_mark.line, token.start_mark.column
        follow = self.remarks(line, column)
        if isinstance(token, DocumentEndToken):
            return
        if isinstance(token, KeyToken | BlockEntryToken) and not self.depth:
            self.open(type(token), column)
            self.first(line, column, self.blocks[-1].indent - column)
        elif self.blocks:
            block = self.blocks[-1]
            own = isinstance(token, ScalarToken | _Opens) and not self.depth
            shift = block.indent + 2 - column if own else block.indent - block.column
            self.first(line, column, shift)
        for remark in follow:
            self.moved[remark] = self.moved.get(line, 0)
        if isinstance(token, _Opens):
            self.depth += 1
        elif isinstance(token, _Closes):
            self.depth -= 1
        elif isinstance(token, ScalarToken):
            self.keep(token, end)

    def remarks(self, end: int, column: int = -1) -> list[int]:
        """Decides where the lines go that are a remark alone, up to the next token.

        Those in the column of the next token go with it: their lines are returned. Others go
        with the block around what stands above, and never further in than its keys: as deep as
        the lines of a text they would become part of it.
        """
        follow = []
        for line in range(self.done, end):
            written = self.lines[line]
            own = len(written) - len(written.lstrip(" "))
            if line in self.kept or written[own : own + 1] != "#":
                continue
            if own == column:
                follow.append(line)
                continue
            indent = 0
            for block in self.blocks:
                if block.column > own:
                    indent = min(indent, block.indent)
                    break
                indent = block.indent + own - block.column
            self.moved[line] = indent - own
        self.done = end
        return follow

    def open(self, kind: type, column: int) -> None:
        """Finds the block that a key or dash in this column belongs to, or begins one."""
        blocks = self.blocks
        while blocks and blocks[-1].column > column:
            blocks.pop()
        if len(blocks) > 1 and blocks[-2].column == column and blocks[-2].kind is kind:
            blocks.pop()  # a list that stood in the column of its key has ended
        if not blocks or blocks[-1].column < column or blocks[-1].kind is not kind:
            blocks.append(_Block(kind, column, blocks[-1].indent + 2 if blocks else 0))

    def first(self, line: int, column: int, shift: int) -> None:
        if line not in self.kept and not self.lines[line][:column].strip():
            self.moved.setdefault(line, shift)

    def keep(self, token: Any, end: int) -> None:
        """The inner lines of a text keep their place relative to the block around it."""
        mark = token.end_mark
        inside = mark.column > 0
        if token.style in ("|", ">"):
            # The mark stands behind what follows, unless the file ends within the text.
            inside = mark.line == len(self.lines) - 1 and mark.column == len(self.lines[-1]) > 0
        last = mark.line if inside else mark.line - 1
        if token.style in ("|", ">") and "+" in self.lines[token.start_mark.line]:
            last = end - 1  # `|+`: the empty lines after the text belong to it
        block = self.blocks[-1] if self.blocks else _Block(KeyToken, 0, 0)
        for line in range(token.start_mark.line + 1, last + 1):
            self.kept.add(line)
            self.moved[line] = block.indent - block.column

    def space(self, tokens: list[Any]) -> None:
        """Decides the spaces between neighbours on one line."""
        for left, right in pairwise(tokens):
            line, begin, end = left.end_mark.line, left.end_mark.column, right.start_mark.column
            if line != right.start_mark.line or line in self.kept:
                continue
            if isinstance(left, ValueToken | BlockEntryToken | FlowEntryToken):
                wanted = " "
            elif isinstance(left, _Opens) or isinstance(
                right, ValueToken | FlowEntryToken | _Closes
            ):
                wanted = ""
            else:
                continue
            self.spaces.setdefault(line, []).append((begin, end, wanted))

    def finished(self) -> Iterator[str]:
        """The lines as they are set out."""
        self.remarks(len(self.lines))
        empty = True
        for line, written in enumerate(self.lines):
            shown = self.line(line, written, self.moved.get(line, 0))
            if line in self.kept or shown or not empty:
                yield shown
            empty = not shown and line not in self.kept

    def line(self, line: int, written: str, shift: int) -> str:
        """One line with its spaces changed and moved sideways."""
        inside = line in self.kept
        for begin, end, wanted in reversed(self.spaces.get(line, [])):
            written = written[:begin] + wanted + written[end:]
        body = written.lstrip(" ")
        if not inside:
            body = body.rstrip(" ")
        if not body and not (inside and written):
            return ""
        return " " * max(len(written) - len(written.lstrip(" ")) + shift, 0) + body
