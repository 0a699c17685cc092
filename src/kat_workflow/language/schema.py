"""The grammar for editors and for the manual: a JSON Schema, and tables in Markdown.

Both are made from the classes of the grammar, so they cannot drift from what is read. The
schema says what `structure` says: it accepts and refuses the same files (tested against each
other).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from types import UnionType
from typing import Any, get_args, get_origin

from attrs import has

from kat_workflow.language.grammar import (
    FILES,
    NAME,
    PATTERNS,
    WORDS,
    FormsFile,
    Instrument,
    KeyDoc,
    Overlay,
    Program,
    Variant,
    keys_of,
)

__all__ = ["program_schema", "tables"]

_NOT_TAKEN = "(?!(true|false|null)$)"
_PLAIN: dict[Any, dict[str, Any]] = {
    # A text may be written without quotes, also where YAML alone would see a number: 1.10
    str: {"type": ["string", "number", "boolean"]},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    Decimal: {"type": "number"},
    Any: {},
}
_TYPES: dict[Any, str] = {
    str: "text",
    int: "whole number",
    bool: "`true` or `false`",
    Decimal: "number",
    Any: "anything",
}


def program_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of every kind of file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kat-workflow: programs, variants, overlays, instruments and forms, language 1",
        "type": "object",
        **_chosen(
            (["program", "based_on"], Variant),
            (["program"], Program),
            (["overlay"], Overlay),
            (["instrument"], Instrument),
        ),
        "$defs": {cls.__name__: _mapping(cls) for cls in _classes()},
    }


def tables() -> str:
    """The tables of the manual: one for each mapping with fixed keys, in the order of use."""
    return "\n".join(_table(cls) for cls in _classes())


def _classes() -> list[type]:
    """Every class of the grammar, each after the first that uses it."""
    found = list(FILES)
    for cls in found:
        for key in keys_of(cls):
            found += (each for each in _inside(key.type) if each not in found)
    return found


def _inside(hint: Any) -> Iterator[type]:
    """The classes that a type is made of."""
    if has(hint):
        yield hint
    for part in get_args(hint):
        yield from _inside(part)


# The schema


def _reference(cls: type) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _chosen(*kinds: tuple[list[str], type]) -> dict[str, Any]:
    """The first kind of file that has these keys; else it is a file of forms."""
    if not kinds:
        return _reference(FormsFile)
    (keys, cls), *others = kinds
    return {"if": {"required": keys}, "then": _reference(cls), "else": _chosen(*others)}


def _mapping(cls: type) -> dict[str, Any]:
    keys = keys_of(cls)
    return {
        "type": "object",
        **({"description": _said(cls)} if _said(cls) else {}),
        "properties": {key.name: _key(key) for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _key(key: KeyDoc) -> dict[str, Any]:
    found = {**_value(key.type, key.kind), "description": key.doc}
    if not key.required and key.default not in (None, "", [], {}):
        found["default"] = key.default
    return found


def _value(hint: Any, kind: str) -> dict[str, Any]:
    origin = get_origin(hint)
    if origin is UnionType:
        return _value(get_args(hint)[0], kind)
    if origin is list:
        return {"type": "array", "items": _value(get_args(hint)[0], kind)}
    if origin is dict:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{_NOT_TAKEN}({NAME})$"},
            "additionalProperties": _value(get_args(hint)[1], kind),
        }
    if has(hint):
        return _reference(hint)
    if kind in WORDS:
        return {"enum": list(WORDS[kind])}
    if kind in PATTERNS:
        return {"type": "string", "pattern": f"^{_NOT_TAKEN}({PATTERNS[kind]})$"}
    return dict(_PLAIN[hint])


# The tables


def _table(cls: type) -> str:
    rows = [f"### {_title(cls)}", ""]
    if _said(cls):
        rows += [_said(cls), ""]
    rows += ["| key | value | without it | meaning |", "|---|---|---|---|"]
    for key in keys_of(cls):
        cells = (f"`{key.name}`", _written(key.type, key.kind), _without(key), key.doc)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*rows, ""])


def _title(cls: type) -> str:
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", cls.__name__)
    return words.capitalize()


def _said(cls: type) -> str:
    """The class's own docstring; attrs writes none."""
    return (cls.__doc__ or "").strip()


def _written(hint: Any, kind: str) -> str:
    origin = get_origin(hint)
    if origin is UnionType:
        return _written(get_args(hint)[0], kind)
    if origin is list:
        return f"list of {_written(get_args(hint)[0], kind)}"
    if origin is dict:
        return f"names, each with {_written(get_args(hint)[1], kind)}"
    if has(hint):
        return f"[{_title(hint).lower()}](#{_title(hint).lower().replace(' ', '-')})"
    if kind in WORDS:
        return " or ".join(f"`{word}`" for word in WORDS[kind])
    return kind.replace("_", " ") if kind else _TYPES[hint]


def _without(key: KeyDoc) -> str:
    if key.required:
        return "**required**"
    if key.default in (None, "", [], {}):
        return "nothing"
    return f"`{str(key.default).lower() if isinstance(key.default, bool) else key.default}`"
