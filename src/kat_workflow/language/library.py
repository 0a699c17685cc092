"""Where program files are found: a folder of programs, the ones that ship, or a journal's copies.

Every file has a name inside its library, with `/` between its parts (`detox-4-day/
detox-4-day.yaml`, `instruments/ciwa-ar.yaml`). A program's digest is taken over these names and
the texts, so that it does not depend on where a folder happens to lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Protocol

__all__ = ["Files", "Folder", "Library", "digest_of", "inside", "program_names", "shipped"]


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

    What is not found there is looked for in `beyond`.
    """

    def __init__(self, root: str | Path, beyond: Library | None = None) -> None:
        self.root = Path(root)
        self._beyond = beyond

    def text(self, name: str) -> str | bytes | None:
        """The bytes of a file, or None where there is none."""
        file = self.root / name
        if inside(name) and file.is_file():
            return file.read_bytes()
        return self._beyond.text(name) if self._beyond else None

    def names(self) -> Iterable[str]:
        """The names of all YAML files, those of the folder first."""
        found = sorted(
            file.relative_to(self.root).as_posix()
            for file in self.root.glob("*/*.yaml")
            if file.is_file()
        )
        return dict.fromkeys([*found, *(self._beyond.names() if self._beyond else ())])

    def shown(self, name: str) -> str:
        """The path from here, if the file lies in the folder."""
        if self._beyond and not (self.root / name).is_file():
            return self._beyond.shown(name)
        return str(self.root / name)


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


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 over names and texts, each with its length before it, in the order of names."""
    digest = sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name].encode()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()
