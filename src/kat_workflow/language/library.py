"""Where program files are found: a folder of programs, the ones that ship, or a journal's copies.

Every file has a name inside its library, with `/` between its parts (`detox-4-day/
detox-4-day.yaml`, `instruments/ciwa-ar.yaml`). A program's digest is taken over these names and
the texts, so that it does not depend on where a folder happens to lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from kat_workflow.language.reader import read

__all__ = [
    "Files",
    "Folder",
    "Library",
    "digest_of",
    "inside",
    "program_names",
    "shipped",
    "stated_version",
    "with_overlay",
]


class Library(Protocol):
    """A set of files by name."""

    def text(self, name: str) -> str | bytes | None:
        """The text of a file (bytes are not decoded yet), or None where there is none."""

    def names(self) -> Iterable[str]:
        """The names of its files."""

    def shown(self, name: str) -> str:
        """How a file is called in findings, so that a reader can open it."""


class Files:
    """Files by name and text, such as those that a journal keeps of each program."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def text(self, name: str) -> str | None:
        """The text of a file, or None."""
        return self._texts.get(name)

    def names(self) -> Iterable[str]:
        """The names of the files."""
        return self._texts

    def shown(self, name: str) -> str:
        """The name itself."""
        return name


class Folder:
    """A directory with `<id>/<id>.yaml`, older `<id>/<id>@<version>.yaml`, instruments and forms.

    Programs may stand on a shelf, a folder of such folders (`trials/<id>/<id>.yaml`); a shelf is
    no part of a name. What is not found is looked for in `beyond`.
    """

    def __init__(self, root: str | Path, beyond: Library | None = None) -> None:
        self.root = Path(root)
        self._beyond = beyond

    def file(self, name: str) -> Path | None:
        """Where a file of the folder lies, None where it has none of that name."""
        if not inside(name):
            return None
        if (self.root / name).is_file():
            return self.root / name
        return next((x for x in sorted(self.root.glob(f"*/{escape(name)}")) if x.is_file()), None)

    def text(self, name: str) -> str | bytes | None:
        """The bytes of a file, or None where there is none."""
        file = self.file(name)
        if file is not None:
            return file.read_bytes()
        return self._beyond.text(name) if self._beyond else None

    def names(self) -> Iterable[str]:
        """The names of all YAML files, those of the folder first."""
        found = sorted(
            "/".join(file.parts[-2:])
            for pattern in ("*/*.yaml", "*/*/*.yaml")
            for file in self.root.glob(pattern)
            if file.is_file() and file.parent.name != "scenarios"
        )
        return dict.fromkeys([*found, *(self._beyond.names() if self._beyond else ())])

    def shown(self, name: str) -> str:
        """The path from here, if the file lies in the folder."""
        file = self.file(name)
        if self._beyond and file is None:
            return self._beyond.shown(name)
        return str(file or self.root / name)


def shipped() -> Folder:
    """The programs that ship: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "programs"
    return Folder(installed if installed.is_dir() else package.parent.parent / "programs")


def inside(name: str) -> bool:
    """Whether a name stays inside its library: no absolute path, no `..`, no backslash."""
    parts = name.split("/")
    return "\\" not in name and ":" not in name and not {"", ".", ".."} & set(parts)


def program_names(program: str, version: str = "") -> tuple[str, ...]:
    """The names under which a program is looked for; the plain one holds the newest version."""
    plain = f"{program}/{program}.yaml"
    return (plain, f"{program}/{program}@{version}.yaml") if version else (plain,)


def stated_version(library: Library, name: str) -> str:
    """The version that a program's file says it is, "" where it says none."""
    said = _said(name, library.text(name)).get("version")
    return said if isinstance(said, str) else ""


class _Beside:
    """A library with some more files, each with how it is called in findings."""

    def __init__(self, library: Library, more: Mapping[str, tuple[str | bytes, str]]) -> None:
        self._library = library
        self._more = more

    def text(self, name: str) -> str | bytes | None:
        """The text or the bytes of a file, or None where there is none."""
        return self._more[name][0] if name in self._more else self._library.text(name)

    def names(self) -> Iterable[str]:
        """The names of all files."""
        return dict.fromkeys([*self._more, *self._library.names()])

    def shown(self, name: str) -> str:
        """How a file is called in findings."""
        return self._more[name][1] if name in self._more else self._library.shown(name)


def with_overlay(library: Library, program: str, overlay: str) -> tuple[Library, str]:
    """A library in which a program also stands with a clinic's figures, and its name there.

    It is a variant without changes: its file is made here, and belongs to the program's digest
    like any other, so that the same files give the same program again.
    """
    more: dict[str, tuple[str | bytes, str]] = {}
    figures = overlay
    if overlay not in set(library.names()):
        file = Path(overlay).absolute()
        figures = f"{file.parent.name}/{file.name}"
        if file.is_file():
            more[figures] = (file.read_bytes(), overlay)
    its = _said(figures, more[figures][0] if figures in more else library.text(figures))
    own = library.text(program)
    said = _said(program, own)
    id_, version, title = (said.get(key) for key in ("program", "version", "title"))
    if own is None or not (isinstance(id_, str) and isinstance(version, str) and inside(id_)):
        return library, program  # which has findings of its own
    suffix = str(its.get("overlay") or Path(figures).stem)
    name = f"{id_}/{id_}@{version}{'.' if '+' in version else '+'}{suffix}.yaml"
    if program not in program_names(id_, version):  # a file that lies elsewhere, or is mistaken
        more[f"{id_}/{id_}@{version}.yaml"] = (own, library.shown(program))
    text = _VARIANT.format(
        program=id_,
        version=_quoted(name.partition("@")[2].removesuffix(".yaml")),
        title=_quoted(str(title)),
        base=_quoted(f"{id_}@{version}"),
        overlay=_quoted(figures),
    )
    more[name] = (text, name)
    return _Beside(library, more), name


_VARIANT = """\
language: 1
program: {program}
version: {version}
title: {title}
based_on: {base}
overlays: [{overlay}]
"""


def _said(name: str, text: str | bytes | None) -> dict[str, Any]:
    """What a file says at its top, as far as it can be read."""
    tree = None if text is None else read(name, text).tree
    return tree if isinstance(tree, dict) else {}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 over names and texts, each with its length before it, in the order of names."""
    digest = sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name].encode()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()
