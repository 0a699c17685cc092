"""Variants and overlays: a program that says only what is different from another.

A variant names its base, one exact version, and lists changes: `set`, `add` or `remove`, each
with the path of what it means. An overlay gives a clinic's own figures to limits that are there.
Both are applied to what is written, before anybody asks what it means: the result is a document
like any other, in which every part still knows the file that said it, so that the whole is
checked as one program and a finding points to the variant, the overlay or the base.

All paths are those of the base, before any change: the order of changes means nothing, and two
of them that touch one place are a finding. Lists never merge: an entry is added, is taken out, or
the whole list is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from attrs import field, frozen
from msgspec.structs import replace

from kat_workflow.errors import Finding, Place
from kat_workflow.language import grammar
from kat_workflow.language.findings import closest
from kat_workflow.language.names import Path, Report
from kat_workflow.language.reader import Document, On
from kat_workflow.program.model import Difference
from kat_workflow.program.units import parse_quantity

__all__ = ["HEAD", "Composed", "changed", "overlaid"]

HEAD = ("language", "program", "version", "title", "about", "based_on", "changes", "overlays")
"""What a variant says of itself, so that no change may."""


class _Spot(NamedTuple):
    """Where a part was written; `name` is the path of the text whose last word names it."""

    document: Document
    path: Path
    name: Path = ()


@frozen(eq=False, slots=False, kw_only=True)
class Composed(Document):
    """A document made of several. `file` and `text` are those of the one that was opened.

    `spots` says for each mapping and list that was made anew (by its `id`) where each of its
    parts was written; all else is shared with the documents it came from. `gone` are the names
    that were taken out, `differences` what is said otherwise than in `based_on` (in the program
    without its overlays, where that is "").
    """

    own: Document
    spots: Mapping[int, Mapping[str | int, _Spot]]
    gone: Mapping[str, Place] = field(factory=dict)
    based_on: str = ""
    differences: tuple[Difference, ...] = ()

    def place(
        self, path: Path, on: On = "value", offset: int = 0, width: int | None = None
    ) -> tuple[Place, str, int]:
        """See `Document.place`: the place in the file that said it."""
        spot, rest, at = _Spot(self.own, ()), path, self.tree
        while rest and id(at) in self.spots:
            found = self.spots[id(at)].get(rest[0])
            if found is None:
                rest = ()
                break
            spot, part, rest = found, rest[0], rest[1:]
            try:
                at = at[part]
            except (KeyError, IndexError):  # taken out
                rest = ()
        if on == "key" and spot.name and not rest:
            said = str(_at(spot.document.tree, spot.name))
            last = said.rpartition(".")[2]
            return spot.document.place(spot.name, offset=len(said) - len(last), width=len(last))
        return spot.document.place((*spot.path, *rest), on, offset, width)

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
        """See `Document.finding`; of a name that was taken out it says where."""
        found = super().finding(code, path, message, hint, on, offset, width, severity)
        if not code.startswith(("unknown-", "never-")):
            return found
        start = found.place.column - 1
        for word in found.source[start : start + found.width].strip("\"'").split("."):
            if word in self.gone:
                said = f'"{word}" is taken out at {self.gone[word]}'
                return replace(found, hint=f"{hint}; {said}" if hint else said)
        return found


# Variants


@frozen(eq=False)
class _Change:
    """A change whose place is known: `way` leads to what it touches in the base.

    Of an `add` to a list `way` is the list, and `before` the entry in front of which it goes.
    """

    count: int
    verb: Literal["set", "add", "remove"]
    way: Path
    to_list: bool = False
    before: int | None = None

    @property
    def path(self) -> Path:
        """Where its new value stands in the variant."""
        return ("changes", self.count, "to")


def changed(
    own: Document, variant: grammar.Variant, base: Document, report: Report
) -> Composed | None:
    """The base with a variant's changes; None, and findings, if one cannot be made."""
    reading = _Changes(own, base, report)
    changes = list(reading.read(variant.changes))
    if reading.failed:
        return None
    making = _Making(own)
    tree = making.made(base, (), base.tree, [(change.way, change) for change in changes])
    tree.pop("overlays", None)  # they are in it already
    for key in ("program", "version", "title", "about"):
        if key in own.tree:
            tree[key] = own.tree[key]
            making.spots[id(tree)][key] = _Spot(own, (key,))
    before = _composed(base)
    gone = dict(before.gone) if before else {}
    for change in changes:
        name = change.way[-1]
        if change.verb == "remove" and isinstance(name, str):
            gone[name] = own.place(("changes", change.count, "remove"))[0]
    return Composed(
        file=own.file,
        text=own.text,
        tree=tree,
        own=own,
        spots=making.spots,
        gone=gone,
        based_on=variant.based_on,
        differences=tuple(_difference(own, base, change) for change in changes),
    )


def _difference(own: Document, base: Document, change: _Change) -> Difference:
    written = own.tree["changes"][change.count]
    was_there = change.verb != "add"
    return Difference(
        str(written[change.verb]),
        _in_line(_at(base.tree, change.way)) if was_there else "",
        _in_line(written["to"]) if "to" in written else "",
        own.place(("changes", change.count, change.verb))[0],
    )


def _in_line(written: Any) -> str:
    """What is written, in one line."""
    if isinstance(written, dict):
        return f"{{{', '.join(f'{key}: {_in_line(each)}' for key, each in written.items())}}}"
    if isinstance(written, list):
        return f"[{', '.join(map(_in_line, written))}]"
    return " ".join(str(written).split()) if isinstance(written, str) else ""


class _Changes:
    """Finds the place of each change in the base."""

    def __init__(self, own: Document, base: Document, report: Report) -> None:
        self.own = own
        self.base = base
        self.report = report
        self.failed = False

    def read(self, written: Iterable[grammar.Change]) -> Iterator[_Change]:
        """Those that can be made; the others have their findings."""
        before: list[_Change] = []
        for count, change in enumerate(written):
            found = self._change(count, change)
            if found is not None and not self._overlaps(found, before):
                before.append(found)
        self._sources(before)
        yield from before

    def _says(
        self, code: str, path: Path, message: str, hint: str = "", word: tuple[int, int] = (0, 0)
    ) -> None:
        self.failed = True
        offset, width = word
        found = self.own.finding(code, path, message, hint, offset=offset, width=width or None)
        self.report.findings.append(found)

    def _change(self, count: int, change: grammar.Change) -> _Change | None:
        path: Path = ("changes", count)
        written = self.own.tree["changes"][count]
        verbs = [verb for verb in ("set", "add", "remove") if verb in written]
        if len(verbs) != 1:
            said = " and ".join(verbs) or "none of them"
            message = f"a change has one of set, add and remove; here is {said}"
            self._says("change-kind", path, message, "write a change for each")
            return None
        verb: Any = verbs[0]
        if (verb == "remove") == ("to" in written):
            message = "what is taken out has no `to`" if verb == "remove" else f"{verb} what?"
            hint = "leave `to` out" if verb == "remove" else "add `to:` and the new value"
            self._says("change-kind", (*path, verb), message, hint)
            return None
        said = getattr(change, verb)
        if said.partition(".")[0] in HEAD:
            message = f"a variant says `{said}` of itself"
            hint = f"write `{said.partition('.')[0]}:` at the top of this file"
            self._says("change-head", (*path, verb), message, hint)
            return None
        if verb == "add":
            return self._addition(count, said, written)
        way = self._way(said, (*path, verb))
        if way is None:
            return None
        if "before" in written:
            self._says("change-kind", (*path, "before"), "only what is added has a `before`")
            return None
        return _Change(count, verb, way)

    def _addition(self, count: int, said: str, written: Mapping[str, Any]) -> _Change | None:
        """An `add`: an entry of a list that is there, or a key that is not."""
        path: Path = ("changes", count, "add")
        above, _, last = said.rpartition(".")
        outside = self._way(above, path) if above else ()
        if outside is None:
            return None
        holder = _at(self.base.tree, outside)
        if isinstance(holder, dict) and isinstance(holder.get(last), list):
            return self._entry(count, (*outside, last), holder[last], written)
        if "before" in written:
            self._says("change-kind", ("changes", count, "before"), "`before` is for lists")
        elif isinstance(holder, list):
            hint = f"name the list: add: {above}"
            self._says("change-nowhere", path, f"`{above}` is a list", hint)
        elif not isinstance(holder, dict):
            self._says("change-nowhere", path, f"nothing can be inside `{above}`")
        elif last in holder:
            self._says("change-there", path, f"`{said}` is there already", f"write set: {said}")
        else:
            return _Change(count, "add", (*outside, last))
        return None

    def _entry(
        self, count: int, way: Path, at: list[Any], written: Mapping[str, Any]
    ) -> _Change | None:
        if isinstance(written["to"], list):
            message = "lists never merge: this would be a list inside the list"
            hint = "add each entry with a change of its own, or set the whole list"
            self._says("change-list", ("changes", count, "to"), message, hint)
            return None
        if "before" not in written:
            return _Change(count, "add", way, to_list=True)
        path: Path = ("changes", count, "before")
        index = self._index(at, written["before"], path, (0, 0))
        return None if index is None else _Change(count, "add", way, to_list=True, before=index)

    def _way(self, said: str, path: Path) -> Path | None:
        """The path that a text means in the base; None and a finding if there is nothing."""
        at, parts, offset = self.base.tree, said.split("."), 0
        way: Path = ()
        while parts:
            part, rest = parts[0], ".".join(parts)
            word = (offset, len(part))
            if isinstance(at, list):
                whole = rest in map(_called, at)  # a file's name holds a dot
                index = self._index(at, rest if whole else part, path, word)
                if index is None:
                    return None
                at, way, parts = at[index], (*way, index), [] if whole else parts[1:]
            elif isinstance(at, dict) and part in at:
                at, way, parts = at[part], (*way, part), parts[1:]
            else:
                known = list(at) if isinstance(at, dict) else []
                inside = f" in `{said[: offset - 1]}`" if offset else ""
                message = f'the base has no "{part}"{inside}'
                self._says("change-nowhere", path, message, closest(part, known), word)
                return None
            offset += len(part) + 1
        return way

    def _index(self, at: list[Any], part: str, path: Path, word: tuple[int, int]) -> int | None:
        """Which entry of a list is meant: its place, itself, or of a row where it leads."""
        if part.isdecimal():
            if 0 < int(part) <= len(at):
                return int(part) - 1
            message = f"the list has {len(at)} entries, and no entry {part}"
            self._says("change-nowhere", path, message, "the first is 1", word)
            return None
        found = [index for index, each in enumerate(at) if _called(each) == part]
        if len(found) == 1:
            return found[0]
        if found:
            places = " or ".join(str(index + 1) for index in found)
            message = f'"{part}" may mean several entries'
            self._says("change-ambiguous", path, message, f"write {places}, its place", word)
        else:
            names = [name for name in map(_called, at) if name]
            hint = closest(part, names) or "an entry is named by its place: 1 is the first"
            self._says("change-nowhere", path, f'the list has no "{part}"', hint, word)
        return None

    def _overlaps(self, change: _Change, before: Iterable[_Change]) -> bool:
        for other in before:
            short, long = sorted((change, other), key=lambda each: len(each.way))
            inside = long.way[: len(short.way)] == short.way
            both = change.to_list and other.to_list
            if inside and not both and not (short.to_list and len(long.way) > len(short.way)):
                line = self.own.place(("changes", other.count, other.verb))[0].line
                message = f"line {line} changes this already"
                hint = "say it in one change; all paths are those of the base"
                self._says("change-twice", ("changes", change.count, change.verb), message, hint)
                return True
        return False

    def _sources(self, changes: Iterable[_Change]) -> None:
        """A limit's new number is not where the old one's source says it comes from."""
        ways = {change.way for change in changes}
        for change in changes:
            match change.way:
                case ("limits", name, "is") if ("limits", name, "source") not in ways:
                    message = f"the number of `{name}` is another, but its source is the base's"
                    hint = f"set limits.{name} with its own source, or its source too"
                    found = self.own.finding(
                        "source-kept", change.path, message, hint, severity="warning"
                    )
                    self.report.findings.append(found)


class _Making:
    """Makes anew what holds a change; everything else stays the very same object."""

    def __init__(self, own: Document) -> None:
        self.own = own
        self.spots: dict[int, dict[str | int, _Spot]] = {}

    def made(self, base: Document, path: Path, at: Any, changes: list[tuple[Path, _Change]]) -> Any:
        """What stands at a path of the base, with changes told from there on."""
        if not changes and path:
            return at
        anew: Any = self._mapping if isinstance(at, dict) else self._list
        made, spots = anew(base, path, at, changes)
        self.spots[id(made)] = spots
        return made

    def _mapping(
        self, base: Document, path: Path, at: dict[str, Any], changes: list[tuple[Path, _Change]]
    ) -> tuple[dict[str, Any], dict[str | int, _Spot]]:
        made: dict[str, Any] = {}
        spots: dict[str | int, _Spot] = {}
        for key, value in at.items():
            ending, below = _sorted_out(changes, key)
            if ending is None:
                made[key] = self.made(base, (*path, key), value, below)
                spots[key] = _Spot(base, (*path, key))
            else:
                spots[key] = self._spot(ending)
                if ending.verb == "set":
                    made[key] = self._value(ending)
        for way, change in changes:
            if change.verb == "add" and not change.to_list and len(way) == 1:
                made[str(way[0])] = self._value(change)
                spots[way[0]] = self._spot(change)
        return made, spots

    def _list(
        self, base: Document, path: Path, at: list[Any], changes: list[tuple[Path, _Change]]
    ) -> tuple[list[Any], dict[str | int, _Spot]]:
        made: list[Any] = []
        spots: dict[str | int, _Spot] = {}

        def add(before: int | None) -> None:
            for way, change in changes:
                if not way and change.before == before:
                    spots[len(made)] = _Spot(self.own, change.path)
                    made.append(self._value(change))

        for index, value in enumerate(at):
            add(index)
            ending, below = _sorted_out(changes, index)
            if ending is None:
                spots[len(made)] = _Spot(base, (*path, index))
                made.append(self.made(base, (*path, index), value, below))
            elif ending.verb == "set":
                spots[len(made)] = _Spot(self.own, ending.path)
                made.append(self._value(ending))
        add(None)
        return made, spots

    def _value(self, change: _Change) -> Any:
        return self.own.tree["changes"][change.count]["to"]

    def _spot(self, change: _Change) -> _Spot:
        name: Path = ("changes", change.count, change.verb)
        return _Spot(self.own, name if change.verb == "remove" else change.path, name)


def _sorted_out(
    changes: list[tuple[Path, _Change]], part: str | int
) -> tuple[_Change | None, list[tuple[Path, _Change]]]:
    """The change that ends at a part, and those that go on below it."""
    below = [(way[1:], change) for way, change in changes if way and way[0] == part]
    ending = next((c for way, c in below if not way and not c.to_list), None)
    return ending, below


def _called(entry: Any) -> str:
    """What an entry of a list is called: itself, or of a row where it leads."""
    if isinstance(entry, dict):
        entry = entry.get("to")
    return entry if isinstance(entry, str) else ""


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


# Overlays


def overlaid(
    whole: Document, own: Document, overlay: grammar.Overlay, report: Report
) -> Composed | None:
    """A program with the figures of an overlay; None, and findings, if one does not fit."""
    laying = _Laying(whole, own, report)
    for name, figure in overlay.limits.items():
        laying.limit(name, figure)
    for name in overlay.sources:
        laying.source(name)
    return None if laying.failed else laying.done()


class _Laying:
    """Lays figures over the limits of a program, and their sources beside its own."""

    def __init__(self, whole: Document, own: Document, report: Report) -> None:
        self.whole = whole
        self.own = own
        self.report = report
        self.failed = False
        self.limits = _mapped(whole.tree.get("limits"))
        self.sources = _mapped(whole.tree.get("sources"))
        self.tree = {**whole.tree, "limits": dict(self.limits), "sources": dict(self.sources)}
        self.spots: dict[int, dict[str | int, _Spot]] = {
            id(self.tree): {key: _Spot(whole, (key,)) for key in self.tree}
        }
        for table in ("limits", "sources"):
            at = self.tree[table]
            self.spots[id(at)] = {name: _Spot(whole, (table, name)) for name in at}
        self.found: list[Difference] = []

    def limit(self, name: str, figure: grammar.Limit) -> None:
        """The whole limit is the overlay's; only a remark stays that it does not make itself."""
        path: Path = ("limits", name)
        if name not in self.limits:
            message = f'the program has no limit "{name}"'
            self._says("unknown-limit", path, message, closest(name, self.limits), "key")
            return
        before = _mapped(self.limits[name])
        old, new = parse_quantity(str(before.get("is"))), parse_quantity(figure.is_)
        if old is not None and new is not None and old.unit.dimension != new.unit.dimension:
            message = f"`{name}` is {old} in the program, and {new} is no {old.unit.measures}"
            self._says("unit-mismatch", (*path, "is"), message, "use such a unit")
        its = dict(self.own.tree["limits"][name])
        spots: dict[str | int, _Spot] = {key: _Spot(self.own, (*path, key)) for key in its}
        if "about" in before and "about" not in its:
            its["about"] = before["about"]
            spots["about"] = _Spot(self.whole, (*path, "about"))
        self._put("limits", name, its)
        self.spots[id(its)] = spots
        was, now = _in_line(before.get("is")), _in_line(its["is"])
        place = self.own.place(path, on="key")[0]
        self.found.append(Difference(f"limits.{name}", was, now, place))

    def source(self, name: str) -> None:
        """A source that both have must be the same one."""
        its = self.own.tree["sources"][name]
        if name not in self.sources:
            self._put("sources", name, its)
        elif its != self.sources[name]:
            message = f'the source "{name}" is another in the program'
            self._says("shared-differs", ("sources", name), message, "rename it", "key")

    def done(self) -> Composed:
        """The program as it is now."""
        whole, before = self.whole, _composed(self.whole)
        return Composed(
            file=whole.file,
            text=whole.text,
            tree=self.tree,
            own=whole,
            spots=self.spots,
            gone=before.gone if before else {},
            based_on=before.based_on if before else "",
            differences=(*(before.differences if before else ()), *self.found),
        )

    def _put(self, table: str, name: str, its: Any) -> None:
        self.tree[table][name] = its
        self.spots[id(self.tree[table])][name] = _Spot(self.own, (table, name))

    def _says(self, code: str, path: Path, message: str, hint: str, on: On = "value") -> None:
        self.failed = True
        self.report.add(self.own, code, path, message, hint, on=on)


def _composed(document: Document) -> Composed | None:
    return document if isinstance(document, Composed) else None


def _mapped(written: Any) -> dict[str, Any]:
    return written if isinstance(written, dict) else {}
