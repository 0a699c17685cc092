"""SQL is written by us and filled by parameters: no statement is ever put together from data.

Read from the source: every statement is a text that stands there as it is, or is put together
from names of constants, or is one of the few that are told here, each with why it is safe.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "kat_workflow"

VERB = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP|TRUNCATE|PRAGMA|BEGIN|COMMIT"
    r"|ROLLBACK|RELEASE|SAVEPOINT|ATTACH|VACUUM|LOCK|COPY|SET|NOTIFY|LISTEN)\b(?!:)"
)
"""How a statement begins. Sentences for people begin so too, but not in capitals."""

RUNS = {"execute", "executemany", "executescript"}

TERMS = "' AND '.join(terms)"
OURS = {
    # The conditions are fixed texts with our own column names, chosen by which filters are given.
    "sqlite.py": {TERMS},
    # How many rows a list may have is a number whatever comes in.
    "postgres.py": {TERMS, "', '.join(['%b'] * 34)", "int(rows)"},
}
"""Expressions within a statement that are no constant, by file."""


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def begins(node: ast.expr) -> str:
    """The text with which an expression of texts begins."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[first, *_]):
            return begins(first)
        case ast.BinOp(left=left):
            return begins(left)
        case ast.Call(func=ast.Attribute(attr="SQL"), args=[text]):
            return begins(text)
        case ast.Call(func=ast.Attribute(value=value)):
            return begins(value)
    return ""


def constant(node: ast.expr, path: Path) -> bool:
    """Whether an expression is made of texts and of names of constants alone."""
    if ast.unparse(node) in OURS.get(path.name, ()):
        return True
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.JoinedStr(values=values):
            return all(constant(each, path) for each in values)
        case ast.FormattedValue(value=value):
            return constant(value, path)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return constant(left, path) and constant(right, path)
        case ast.IfExp(body=body, orelse=other):
            return constant(body, path) and constant(other, path)
        case ast.Call(func=ast.Attribute(attr="SQL", value=ast.Name(id="sql")), args=[text]):
            return constant(text, path)
        case ast.Call(func=ast.Attribute(attr="format", value=text), args=args, keywords=named):
            # Names and constants are quoted by the driver, in a statement of its own kind alone.
            composed = isinstance(text, ast.Call) and ast.unparse(text.func) == "sql.SQL"
            filled = [*args, *(each.value for each in named)]
            fixed = all(quoted(each) or constant(each, path) for each in filled)
            return composed and constant(text, path) and fixed
        case ast.Subscript(value=value):
            return constant(value, path)
    return False


def quoted(node: ast.expr) -> bool:
    """Whether an expression is a name that the driver quotes."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "sql.Identifier"


def made_of_data(path: Path, tree: ast.Module) -> list[str]:
    """Every expression that begins like a statement and is not made of constants alone."""
    found = []
    for node in ast.walk(tree):
        made = isinstance(node, ast.JoinedStr | ast.BinOp) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        )
        if made and VERB.match(begins(node)) and not constant(node, path):  # type: ignore[arg-type]
            found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)[:80]}")  # type: ignore[attr-defined]
    return found


def test_no_statement_is_put_together_from_data() -> None:
    assert [each for path, tree in parsed() for each in made_of_data(path, tree)] == []


def test_nothing_is_run_that_was_put_together_on_the_spot() -> None:
    wrong = []
    for path, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr not in RUNS or not node.args:
                    continue
                (first, *_) = node.args
                # A name stands for what this test finds where it is put together.
                named = isinstance(first, ast.Name)
                if not named and not constant(first, path):
                    wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(first)[:80]}")
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        'f"SELECT * FROM t WHERE id = {id_}"',
        '"DELETE FROM t WHERE id = %s" % id_',
        '"UPDATE t SET x = {}".format(id_)',
        '"SELECT * FROM t WHERE id = " + id_',
        'sql.SQL("SELECT * FROM {}").format(sql.SQL(id_))',
        'f"{_SELECT} WHERE id = {id_}" if 0 else f"SELECT {id_}"',
    ],
)
def test_this_test_finds_data_in_a_statement(line: str) -> None:
    assert made_of_data(Path("x.py"), ast.parse(line))


def test_what_is_told_here_as_safe_is_still_there() -> None:
    for name, expressions in OURS.items():
        (path,) = SOURCE.rglob(name)
        source = ast.unparse(ast.parse(path.read_text(encoding="utf-8")))
        assert all(expression in source for expression in expressions)
