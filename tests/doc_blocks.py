"""The blocks of a Markdown file, and how they are run.

A block begins with three backticks and a word (`python`, `console`, `yaml scenario`, …) and knows
the line of the file in which each of its own lines stands, so that whatever goes wrong is told as
`README.md:81: expected …; found …`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from kat_workflow import cli

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"( *)```(.*)")


@frozen
class Block:
    """A block: where it stands, the words after its backticks, its text without the indent."""

    file: Path
    line: int
    words: tuple[str, ...]
    text: str

    @property
    def kind(self) -> str:
        """The first of its words."""
        return self.words[0] if self.words else ""

    @property
    def where(self) -> str:
        """`README.md:81`, its first line."""
        return self.at(0)

    def at(self, line: int) -> str:
        """Where one of its lines stands (from 0)."""
        return f"{self.file.relative_to(ROOT)}:{self.line + line}"


class DocError(AssertionError):
    """A document says something that is not so."""


def blocks(file: Path) -> list[Block]:
    """All blocks of a file, in order. A block that is not closed is a DocError."""
    found = []
    lines = file.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        opening = _FENCE.fullmatch(lines[at])
        at += 1
        if opening is None:
            continue
        first, indent = at, opening[1]
        while at < len(lines) and lines[at].strip() != "```":
            at += 1
        if at == len(lines):
            raise DocError(f"{file.name}:{first}: the block is never closed")
        text = "".join(line.removeprefix(indent) + "\n" for line in lines[first:at])
        found.append(Block(file, first + 1, tuple(opening[2].split()), text))
        at += 1
    return found


def run_python(block: Block, namespace: dict[str, Any]) -> str:
    """Run a block of Python in a namespace that the next one continues; what it printed."""
    printed = io.StringIO()
    # Empty lines before it make the lines of a traceback those of the document.
    code = compile("\n" * (block.line - 1) + block.text, str(block.file), "exec")
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
    except Exception as error:
        line = block.line
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == str(block.file):
                line = trace.tb_lineno
            trace = trace.tb_next
        where = block.at(line - block.line)
        found = f"{type(error).__name__}: {error}"
        raise DocError(f"{where}: expected to run; found {found}") from error
    return printed.getvalue()


def run_console(block: Block) -> None:
    """Run the lines that begin with `$ ` and compare with what is written below each.

    Raises DocError at the first difference. `…` alone on a line stands for any lines, within a
    line for any text.
    """
    for line, command, expected in _commands(block):
        program, *arguments = shlex.split(command)
        if program == "kat":
            compare(block, line + 1, expected, kat(arguments))
        elif program == "make":
            _targets_exist(block, line, arguments)
        elif program not in ("pip", "python", "cd"):
            raise DocError(f"{block.at(line)}: expected kat, make or pip; found {program}")


def kat(arguments: list[str]) -> str:
    """What `kat` writes, on either stream, in the order in which it does."""
    written = io.StringIO()
    with (
        contextlib.redirect_stdout(written),
        contextlib.redirect_stderr(written),
        contextlib.suppress(SystemExit),
    ):
        cli.main(arguments)
    return written.getvalue()


def compare(block: Block, line: int, expected: list[str], found: str) -> None:
    """Raise DocError where the output is not what is written from this line of the block on."""
    shown = [each.rstrip() for each in found.rstrip("\n").split("\n")] if found.strip() else []
    wanted = [each.rstrip() for each in expected]
    if _fits(wanted, shown):
        return
    fit = 0  # how many of the lines written are right, whatever follows
    while fit < len(wanted) and _fits([*wanted[: fit + 1], "…"], shown):
        fit += 1
    near = [n for n in range(len(shown) + 1) if _fits(wanted[:fit], shown[:n])]
    next_line = shown[near[0]] if near and near[0] < len(shown) else "the end"
    says = wanted[fit] if fit < len(wanted) else "the end"
    everything = "\n".join(f"    {each}" for each in shown)
    raise DocError(
        f"{block.at(line + min(fit, len(wanted)))}:\n  expected {says}\n  found    {next_line}\n"
        f"  all that was written:\n{everything}"
    )


def _fits(wanted: list[str], shown: list[str]) -> bool:
    parts = [
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in wanted
    ]
    return re.fullmatch("".join(parts), "".join(line + "\n" for line in shown)) is not None


def _commands(block: Block) -> Iterator[tuple[int, str, list[str]]]:
    """Each command with its line, and the lines below it. A `\\` at the end goes on."""
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].startswith("$ "):
            raise DocError(f"{block.at(at)}: expected a line that begins with $; found {lines[at]}")
        command, at = lines[at][2:], at + 1
        while command.endswith("\\"):
            command, at = command[:-1] + lines[at].removeprefix("> "), at + 1
        start, first = at - 1, at
        while at < len(lines) and not lines[at].startswith("$ "):
            at += 1
        yield start, command.partition(" #")[0], lines[first:at]


def _targets_exist(block: Block, line: int, targets: list[str]) -> None:
    made = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in targets:
        if target not in made:
            raise DocError(f"{block.at(line)}: expected one of make {made}; found {target}")


def anchors(text: str) -> Mapping[str, str]:
    """The anchors of the headings of a document, with their headings."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-"): head for head in heads}


def broken_links(file: Path) -> list[str]:
    """Links to headings and files that are not there."""
    text = file.read_text(encoding="utf-8")
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        other = file.parent / name if name else file
        if not other.exists():
            wrong.append(f"{file.name}: there is no {name}")
        elif anchor and anchor not in anchors(other.read_text(encoding="utf-8")):
            wrong.append(f"{file.name}: {other.name} has no heading for #{anchor}")
    return wrong
