"""A document → the classes of the grammar, with everything that does not fit as findings.

cattrs builds one function for each class, with a hook for each key made from its type and its
kind; what it collects (all that is wrong, each with its way down) is translated into findings
at their places. What fits is not lost over what does not: the tree is mended at the places of
the findings (a mistyped key is taken for the one that was meant, a value that cannot be read
is left out or, where it is required, empty) and structured once more, so that the compiler can
look at the rest and all findings of a file come at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from itertools import islice
from types import UnionType
from typing import Any, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

from attrs import fields, frozen, has
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from kat_workflow.errors import Finding
from kat_workflow.language.findings import closest
from kat_workflow.language.grammar import NAME, PATTERNS, WORDS, keys_of
from kat_workflow.language.reader import (
    FINDINGS,
    TRUTHS,
    UNREAD,
    Document,
    On,
    Path,
    Quoted,
    number,
    valued,
)

__all__ = ["structure"]

_T = TypeVar("_T")
Hook = Callable[[Any, Any], Any]


def structure(document: Document, cls: type[_T]) -> tuple[_T | None, tuple[Finding, ...]]:
    """The document as `cls`, and everything in it that does not fit, in the order of the file.

    None only where the file is no mapping at all. Otherwise what could not be read is left out;
    a required key that is missing or wrong is "", 1, False, [] or {}. What the reader had to
    object to (`document.findings`) is not repeated.
    """
    hook = _class_hook(cls)  # type: ignore[arg-type]  # classes are hashable
    tree: Any = document.tree
    findings: list[Finding] = []
    renamed: dict[Path, Path] = {}
    while True:
        try:
            value = hook(tree, cls)
        except _Wrong as wrong:
            return None, (document.finding(wrong.code, (), f"the file {wrong.says}", wrong.hint),)
        except BaseValidationError as error:
            room = FINDINGS - len(findings)
            faults = list(islice(_faults(error, (), tree), room + 1))
            findings += (
                document.finding(
                    each.code, _as_written(each.path, renamed), each.message, each.hint, each.on
                )
                for each in faults[:room]
            )
            if len(faults) > room:
                value = None
            else:
                # What a mistyped key holds is only looked at now, under the key that was meant.
                tree = _mended(tree, faults, renamed)
                continue
        findings.sort(key=lambda each: (each.place.line, each.place.column))
        return value, tuple(findings)


# Hooks: a value of the tree → a value of the grammar


class _Wrong(ValueError):  # the cause of a finding, never seen outside
    """One value that does not fit; `says` goes on after the name of its key."""

    def __init__(self, code: str, says: str, hint: str = "") -> None:
        super().__init__(says)
        self.code = code
        self.says = says
        self.hint = hint


class _BadKey(_Wrong):
    """A name in a table that is none."""


class _Kept(str):
    """A name that is wrong, has its finding, and is used all the same."""

    __slots__ = ()


_NUMERALS = re.compile("[-+]?[0-9]{1,40}")
_NAMED = re.compile(NAME)
_CHECKED = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}
_CODES = {
    "duration": "bad-duration",
    "span": "bad-duration",
    "clock": "bad-clock",
    "name": "bad-name",
    "id": "bad-name",
}
_TAKEN = frozenset(["true", "false", "null"])  # names that YAML reads as something else
_HINTS = {
    "duration": "write a whole number, a space and s, min, h, d or wk: `15 min`",
    "span": "write program day, enrollment, course or a number of hours: `24 h`",
    "clock": "write hours and minutes with two digits each: `09:00`",
    "name": "a name is small letters, digits and `_`, and begins with a letter",
    "id": "an id is small letters, digits, `_` and `-`, and begins with a letter",
}
_NOUNS = {
    "duration": "a length of time",
    "span": "a span of time",
    "clock": "a clock time",
    "name": "a name",
    "id": "an id",
}


def _hook(hint: Any, kind: str) -> Hook:
    """What reads a value of a type; `kind` says what its texts mean."""
    origin = get_origin(hint)
    if origin is UnionType:
        return _hook(get_args(hint)[0], kind)
    if origin is list:
        return _list_hook(_hook(get_args(hint)[0], kind))
    if origin is dict:
        return _dict_hook(_hook(get_args(hint)[1], kind))
    if has(hint):
        # Looked up when it is first used: phases hold tracks, which hold phases.
        return lambda value, _: _class_hook(hint)(value, hint)
    if hint is str:
        if kind in WORDS:
            return _word_hook(WORDS[kind])
        if kind in _CHECKED:
            return _pattern_hook(kind)
    return _PLAIN[hint]


@cache
def _class_hook(cls: type) -> Hook:
    """What reads a mapping with fixed keys."""
    hints = get_type_hints(cls)
    required = dict.fromkeys(_required(cls), UNREAD)
    overrides = {
        a.name: override(
            rename=a.name.rstrip("_"),
            struct_hook=_hook(hints[a.name], a.metadata["kind"]),
        )
        for a in fields(cls)
    }
    build: Hook = make_dict_structure_fn(
        cls,
        Converter(detailed_validation=True),
        _cattrs_forbid_extra_keys=True,
        _cattrs_use_linecache=False,
        **overrides,  # type: ignore[arg-type]  # one for each attribute
    )

    def hook(value: Any, _: Any) -> Any:
        if type(value) is dict:
            return build(value, cls)
        if value is UNREAD:
            return build(required, cls)
        return _not_a("mapping", value)

    return hook


@cache
def _required(cls: type) -> tuple[str, ...]:
    return tuple(each.name for each in keys_of(cls) if each.required)


def _list_hook(item: Hook) -> Hook:
    def hook(value: Any, hint: Any) -> Any:
        if type(value) is not list:
            return [] if value is UNREAD else _not_a("list", value)
        read = []
        errors: list[Exception] = []
        for index, each in enumerate(value):
            try:
                read.append(item(each, None))
            except (_Wrong, BaseValidationError) as error:
                _note(error, index)
                errors.append(error)
        if errors:
            raise IterableValidationError("a list", errors, list)
        return read

    return hook


def _dict_hook(item: Hook) -> Hook:
    def hook(value: Any, hint: Any) -> Any:
        if type(value) is not dict:
            return {} if value is UNREAD else _not_a("mapping", value)
        read = {}
        errors: list[Exception] = []
        for name, each in value.items():
            if (_NAMED.fullmatch(name) is None or name in _TAKEN) and type(name) is not _Kept:
                says = f"`{_short(name)}` cannot be a name"
                wrong = _BadKey("bad-name", says, _HINTS["name"])
                _note(wrong, name)
                errors.append(wrong)
            try:
                read[name] = item(each, None)
            except (_Wrong, BaseValidationError) as error:
                _note(error, name)
                errors.append(error)
        if errors:
            raise IterableValidationError("a mapping", errors, dict)
        return read

    return hook


def _note(error: BaseException, index: int | str) -> None:
    error.add_note(IterableValidationNote("", index, None))


def _word_hook(words: tuple[str, ...]) -> Hook:
    known = {word: word for word in words}

    def hook(value: Any, _: Any) -> Any:
        try:
            return known[value]
        except (KeyError, TypeError):
            text = _text(value, None)
            if value is UNREAD:
                return text
            listed = ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]
            near = closest(text, words) or f"write {listed}"
            says = f"is {listed}, not `{_short(text)}`"
            raise _Wrong("not-one-of", says, near) from None

    return hook


def _pattern_hook(kind: str) -> Hook:
    matches = _CHECKED[kind].fullmatch

    def hook(value: Any, _: Any) -> Any:
        if value is UNREAD:
            return ""
        text: str = _text(value, None)
        if matches(text) is None or text in _TAKEN:
            says = f"is {_NOUNS[kind]}, not `{_short(text)}`"
            raise _Wrong(_CODES[kind], says, _way(kind, text))
        return text

    return hook


def _way(kind: str, text: str) -> str:
    """How a text of this kind is written, if possible with what was meant."""
    if kind == "duration":
        meant = re.fullmatch(r"0*([0-9]{1,6}) *(s|min|h|d|wk)[a-z]*", text.strip().lower())
        if meant:
            return f"write `{meant[1]} {meant[2]}`"
    if kind == "clock" and re.fullmatch("[0-9]:[0-5][0-9]", text):
        return f"write `0{text}`"
    return _HINTS[kind]


def _text(value: Any, _: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    if kind is Quoted:
        return str(value)
    return "" if value is UNREAD else _not_a("text", value)


def _integer(value: Any, _: Any) -> Any:
    if type(value) is str and _NUMERALS.fullmatch(value):
        return int(value)
    return 1 if value is UNREAD else _not_a("integer", value)


def _decimal(value: Any, _: Any) -> Any:
    found = number(value) if type(value) is str else None
    if found is not None:
        return Decimal(found)
    return Decimal(1) if value is UNREAD else _not_a("number", value)


def _boolean(value: Any, _: Any) -> Any:
    if type(value) is str and value in TRUTHS:
        return TRUTHS[value]
    return False if value is UNREAD else _not_a("boolean", value)


def _anything(value: Any, _: Any) -> Any:
    return valued(value)


_PLAIN: dict[Any, Hook] = {
    str: _text,
    int: _integer,
    bool: _boolean,
    Decimal: _decimal,
    Any: _anything,
}
_EXPECTED = {
    "mapping": "a mapping of keys to values",
    "list": "a list",
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _not_a(expected: str, value: Any) -> NoReturn:
    """A value of another type than its key asks for."""
    hint = ""
    if value is None:
        found = "nothing"
        hint = "write {}" if expected == "mapping" else "leave the key out, or write its value"
    elif type(value) is dict:
        found = "a mapping"
    elif type(value) is list:
        found = "a list"
        hint = "write it without the brackets" if expected != "mapping" else ""
    else:
        found = f"the text `{_short(value)}`"
        if expected == "list":
            hint = f"write [{_short(value)}]"
        elif expected == "boolean":
            hint = "write true or false"
        elif expected in ("integer", "number") and number(str(value)) is not None:
            hint = "write it without quotes" if type(value) is Quoted else "write a whole number"
    raise _Wrong("wrong-type", f"is {_EXPECTED[expected]}; here stands {found}", hint)


def _short(text: str) -> str:
    line = text.split("\n", maxsplit=1)[0]
    return line if line == text and len(line) <= 40 else line[:39] + "…"


# What cattrs collected → faults, each with its way down from the top


@frozen
class _Fault:
    """One thing that is wrong. `mend` is what the tree holds there instead, see `_mended`."""

    code: str
    path: Path
    message: str
    hint: str
    on: On = "value"
    mend: Any = UNREAD


_GONE = object()  # a mend: the key is taken out


@frozen
class _Meant:
    """A mend: the key was mistyped, and this one was meant."""

    key: str


def _faults(error: BaseValidationError, path: Path, tree: Any) -> Iterator[_Fault]:
    """Everything that is wrong at and under a path; `tree` is what stands there."""
    unknown = [
        fault
        for each in error.exceptions
        if isinstance(each, ForbiddenExtraKeysError)
        for fault in _unknown_keys(each, path, tree)
    ]
    yield from unknown
    mistyped = {fault.mend.key for fault in unknown if isinstance(fault.mend, _Meant)}
    for each in error.exceptions:
        if isinstance(each, ForbiddenExtraKeysError):
            continue
        if not isinstance(each, BaseValidationError | KeyError | _Wrong):
            raise each  # not one of ours: a defect of the grammar
        part = _part(each)
        below = (*path, part)
        if isinstance(each, BaseValidationError):
            yield from _faults(each, below, tree[part])
        elif isinstance(each, KeyError):
            if part not in mistyped:
                yield _missing_key(error.cl, path, str(part))
        elif isinstance(each, _BadKey):
            yield _Fault(each.code, below, each.says, each.hint, "key", _Meant(_Kept(part)))
        else:
            name = next(key for key in reversed(below) if isinstance(key, str))
            mend = _GONE if isinstance(error, ClassValidationError) else UNREAD
            if mend is _GONE and part in _required(error.cl):
                mend = UNREAD
            yield _Fault(each.code, below, f"`{name}` {each.says}", each.hint, mend=mend)


def _part(error: BaseException) -> str | int:
    """The key or index at which an error was met."""
    note: Any = error.__notes__[-1]
    if isinstance(note, AttributeValidationNote):
        return note.name.rstrip("_")
    return cast("str | int", note.index)


def _unknown_keys(error: ForbiddenExtraKeysError, path: Path, tree: Any) -> Iterator[_Fault]:
    known = [each.name for each in keys_of(error.cl)]
    for key in tree:
        if key not in error.extra_fields:
            continue
        near = closest(key, known)
        meant = near.split('"')[1] if near else ""
        hint = near or ("it may have: " + ", ".join(known))
        mend = _Meant(meant) if meant and meant not in tree else _GONE
        message = f"{_called(error.cl)} has no key `{_short(key)}`"
        yield _Fault("unknown-key", (*path, key), message, hint, "key", mend)


def _missing_key(cls: type, path: Path, key: str) -> _Fault:
    doc = next(each.doc for each in keys_of(cls) if each.name == key)
    message = f"{_called(cls)} needs the key `{key}`"
    return _Fault("missing-key", (*path, key), message, f"add `{key}:` {doc}", "key")


def _called(cls: type) -> str:
    """What a class of the grammar is called in a sentence: `a step`, `an end`."""
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _mended(tree: Any, faults: list[_Fault], renamed: dict[Path, Path]) -> Any:
    """A copy of the tree without these faults; `renamed` notes what a key is called in the file.

    The innermost are mended first, so that the ways to the others stay as they are.
    """
    tree = _copied(tree)
    for fault in sorted(faults, key=lambda each: -len(each.path)):
        *above, key = fault.path
        at = tree
        for part in above:
            at = at[part]
        if isinstance(fault.mend, _Meant):
            inside = {fault.mend.key if each == key else each: at[each] for each in at}
            at.clear()
            at.update(inside)
            renamed[(*above, fault.mend.key)] = fault.path
        elif fault.mend is _GONE:
            del at[key]
        else:
            at[key] = UNREAD
    return tree


def _copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(value) for value in tree] if isinstance(tree, list) else tree


def _as_written(path: Path, renamed: dict[Path, Path]) -> Path:
    """A path in a mended tree as it is in the file."""
    written: Path = ()
    for count, part in enumerate(path, 1):
        written = (*written, renamed.get(path[:count], (part,))[-1])
    return written
