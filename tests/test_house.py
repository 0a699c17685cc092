"""The house stands as it is drawn: who may import whom, and what the core must not know."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "kat_workflow"

FLOORS = [
    ["errors"],
    ["program"],
    ["language", "enrollment"],
    ["journal"],
    ["engine"],
    ["scenarios", "protocol", "reporting", "cluster"],
    ["drawing", "manual", "courses"],
    ["simulation"],
    ["pytest_plugin", "cli"],
    ["__main__"],
]
"""From the ground up; rooms on one floor do not know each other, except as OPEN says."""

OPEN = {("pytest_plugin", "language"), ("engine", "language")}
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

ENGINE = [
    ["receiving", "views"],
    ["access"],
    ["shell"],
    ["deviating"],
    ["questions", "commands", "clinic", "erasing", "auditing"],
    ["patients", "groups", "scheduling", "keeping", "migrating"],
    ["__init__"],
]
"""The chapters of the engine, likewise: the shell knows none of them, nor do they each other."""


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        yield room, path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_room_stands_on_the_floors_below_it_and_no_floor_knows_what_is_above() -> None:
    wrong = []
    for room, path, tree in modules():
        if room == "__init__":
            continue
        for name in imported(tree):
            parts = name.split(".")
            if parts[0] != "kat_workflow" or len(parts) < 2 or parts[1] not in LEVEL:
                continue
            other = parts[1]
            if other != room and LEVEL[other] >= LEVEL[room]:
                wrong.append(f"{path.name}: {room} imports {other}")
    assert not wrong


def test_every_room_is_on_a_floor() -> None:
    rooms = {room for room, _, _ in modules()} - {"__init__"}

    assert rooms == set(LEVEL)


def test_every_chapter_of_the_engine_knows_only_those_below_it() -> None:
    level = {chapter: floor for floor, chapters in enumerate(ENGINE) for chapter in chapters}
    chapters = {path.stem: tree for room, path, tree in modules() if room == "engine"}

    wrong = [
        f"{chapter} imports {name}"
        for chapter, tree in chapters.items()
        for name in imported(tree)
        if name.startswith("kat_workflow.engine")
        and level.get(f"{name}.__init__".split(".")[2], len(ENGINE)) >= level[chapter]
    ]

    assert chapters.keys() == level.keys()
    assert not wrong


def test_only_the_chart_imports_transitions_and_only_the_language_imports_yaml() -> None:
    for room, path, tree in modules():
        names = {name.split(".")[0] for name in imported(tree)}
        if "transitions" in names:
            assert path == SOURCE / "program" / "chart.py"
        if "yaml" in names or "cattrs" in names:
            assert room == "language"


@pytest.mark.parametrize("room", ["program", "enrollment"])
def test_the_core_knows_no_clock_no_chance_no_files_and_no_logging(room: str) -> None:
    forbidden = {
        "logging", "random", "secrets", "uuid", "os", "pathlib", "io", "socket", "subprocess",
        "time", "threading", "asyncio", "sqlite3", "yaml",
    }  # fmt: skip
    for name, path, tree in modules():
        if name != room:
            continue
        assert not {x.split(".")[0] for x in imported(tree)} & forbidden, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("now", "utcnow", "today_utc"), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("open", "print"), f"{path}:{node.lineno}"


def test_nothing_is_sent_by_the_library_itself() -> None:
    senders = {"smtplib", "http", "urllib", "ftplib", "requests", "httpx", "aiohttp", "websockets"}
    for _, path, tree in modules():
        found = {x.partition(".")[0] for x in imported(tree)} & senders
        assert not found, f"{path}: a host drains the outbox and sends, the library never does"


def test_nothing_is_evaluated_imported_by_name_or_unpickled() -> None:
    for _, path, tree in modules():
        names = {name.split(".")[0] for name in imported(tree)}
        assert not names & {"pickle", "marshal", "shelve", "importlib", "dill"}, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), (
                    f"{path}:{node.lineno}"
                )


def test_importing_the_library_loads_neither_the_language_nor_storage_nor_asyncio() -> None:
    heavy = [
        "dbos",
        "psycopg",
        "yaml",
        "cattrs",
        "sqlite3",
        "asyncio",
        "transitions.extensions",
        "click",
        "rich",
    ]
    code = f"import sys, kat_workflow; print([m for m in {heavy!r} if m in sys.modules])"

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
