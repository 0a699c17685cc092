"""Files beside programs, mappings and profiles: read as program files are, into typed parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kat_workflow.errors import KatError
from kat_workflow.language.reader import Document, read

__all__ = ["typed"]

_Kind = TypeVar("_Kind")


def typed(
    path: Path, kind: type[_Kind], wrong: type[KatError], scalar: Callable[[Any], Any]
) -> tuple[_Kind, Document]:
    """A YAML file as a value of this kind, and the file as it is written.

    `scalar` is applied to each value that is no list or mapping. Raises an error of the class
    `wrong` that names file and line.
    """
    try:
        document = read(str(path), path.read_bytes())
    except OSError as error:
        raise wrong(f"{path}: cannot be read: {error.strerror}") from error
    if document.findings:
        raise wrong("\n".join(str(finding) for finding in document.findings))
    try:
        return msgspec.convert(_prepared(document.data, scalar), kind, strict=False), document
    except msgspec.ValidationError as error:
        says, _, at = str(error).partition(" - at `")
        at = at.rstrip("`")
        line = document.place(_path(at), "value")[0].line
        key = f"{at.removeprefix('$.')}: " if at else ""
        raise wrong(f"{path}:{line}: {key}{says[:1].lower()}{says[1:]}") from error


def _prepared(data: Any, scalar: Callable[[Any], Any]) -> Any:
    if isinstance(data, dict):
        return {str(key): _prepared(value, scalar) for key, value in data.items()}
    if isinstance(data, list):
        return [_prepared(each, scalar) for each in data]
    return scalar(data)


def _path(said: str) -> tuple[str | int, ...]:
    """`$.tables[...].rules[2].do` as keys, as far as the names are said."""
    keys: list[str | int] = []
    for part in said.removeprefix("$").replace("[", ".[").split("."):
        if part.startswith("["):
            if not part[1:-1].isdigit():
                break
            keys.append(int(part[1:-1]))
        elif part:
            keys.append(part)
    return tuple(keys)
