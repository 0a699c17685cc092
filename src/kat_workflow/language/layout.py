"""The first half of compiling: all files are read, and everything gets its full name and place.

The program, the programs it contains, and the instruments and forms they name are read. Every
name is declared, the hierarchy of phases is flattened, and it is written down which steps stand
where. Nothing refers to anything yet, so that the second half may look up any name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from attrs import asdict, field, frozen

from kat_workflow.errors import Finding, Place
from kat_workflow.language import grammar
from kat_workflow.language.findings import closest
from kat_workflow.language.forms import build_form
from kat_workflow.language.library import Library, inside, program_names
from kat_workflow.language.names import KINDS, Names, Path, Report, Unit
from kat_workflow.language.reader import Document, read
from kat_workflow.language.structure import structure
from kat_workflow.language.variants import changed, overlaid
from kat_workflow.program import model
from kat_workflow.program.forms import Form

__all__ = ["LANGUAGE", "Held", "Job", "Layout", "Spot", "Written"]

LANGUAGE = 1
"""The newest version of the language that is understood."""

_VERSION = re.compile(
    r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){1,3}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z._-]+)?"
)
_DEEPEST = 8  # variants of variants; a reader has to open them all
_T = TypeVar("_T")


@frozen(eq=False)
class Spot:
    """A phase, track or excursion as it stands in its file, and where it lies among the others.

    `trail` are the full names from the outermost phase to this one; `beside` those of the
    phases that a row may lead to from here; `steps` its own steps.
    """

    unit: Unit
    written: grammar.Phase | grammar.Track | grammar.Excursion
    path: Path
    trail: tuple[str, ...]
    region: str
    beside: list[str]
    kind: Literal["leaf", "sequence", "tracks"] = "leaf"
    children: list[str] = field(factory=list)
    steps: list[str] = field(factory=list)

    @property
    def name(self) -> str:
        """Its full name."""
        return self.trail[-1]

    @property
    def parent(self) -> str:
        """The full name of the phase around it, or ""."""
        return self.trail[-2] if len(self.trail) > 1 else ""

    @property
    def outermost(self) -> bool:
        """Whether no phase of its own file is around it."""
        return self.parent == self.unit.inside


@frozen(eq=False)
class Job:
    """A step as it stands in its file; `owner` is its phase or session, "" after leaving.

    `source` is where the numbers of its surroundings come from.
    """

    unit: Unit
    written: grammar.Step
    path: Path
    owner: str
    owner_kind: Literal["phase", "session", "leaving"]
    part: Literal["", "before", "after"] = ""
    source: str = ""


@frozen(eq=False)
class Held:
    """A kind of session as it stands in its file."""

    unit: Unit
    written: grammar.Session
    path: Path


@frozen(eq=False)
class Written:
    """A form or instrument as it stands in its file; `sources` are those it may name."""

    unit: Unit
    document: Document
    written: grammar.Form | grammar.Instrument
    path: Path
    own_sources: Mapping[str, str]
    shared: bool


class Layout:
    """Everything that is declared, in the order of the files."""

    def __init__(self, library: Library) -> None:
        self.report = Report()
        self.names = Names(self.report)
        self.files: dict[str, str] = {}
        self.units: list[Unit] = []
        self.spots: dict[str, Spot] = {}
        self.jobs: dict[str, Job] = {}
        self.kinds: dict[str, Held] = {}
        self.groups: dict[str, tuple[Unit, grammar.Group]] = {}
        self.written: dict[str, Written] = {}
        self.roles: dict[str, str] = {}
        self.sources: dict[str, model.Source] = {}
        self.forms: dict[str, Form] = {}
        self.overlays: dict[str, str] = {}
        """The names of overlays, by their files."""
        self._library = library
        self._documents: dict[str, Document | None] = {}
        self._wholes: dict[str, Document | None] = {}
        self._bases: dict[str, frozenset[str]] = {}
        self._values: dict[Document, object] = {}

    def read(self, main: str) -> Unit | None:
        """Reads and lays out the program in a file, with all that belongs to it."""
        return self._program(main)

    # Files

    def _open(self, name: str) -> Document | None:
        """The document of a name, a part of the program now; None where there is no such file."""
        document = self._looked_at(name)
        if document is not None and name not in self.files:
            self.files[name] = document.text
            self.report.findings += document.findings
        return document

    def _looked_at(self, name: str) -> Document | None:
        """The document of a name that may belong to the program; None where there is none."""
        if name not in self._documents:
            text = self._library.text(name)
            self._documents[name] = None if text is None else read(name, text)
        return self._documents[name]

    def _named(self, program: str, version: str) -> str | None:
        """The file of a program, in a version if that is not ""; None where there is none."""
        for name in reversed(program_names(program, version)):
            document = self._looked_at(name) if inside(name) else None
            if document is not None:
                stated = _stated(document, "version")
                if not (version and stated) or stated == version:
                    return name
        return None

    def _structured(self, document: Document, cls: type[_T]) -> _T | None:
        """The file as grammar objects, as far as it can be read; its findings are said once."""
        if document not in self._values:
            value, findings = structure(document, cls)
            self.report.findings += findings
            self._values[document] = value
        known = self._values[document]
        return known if isinstance(known, cls) else None

    def _program(
        self, file: str, prefix: str = "", outer: Unit | None = None, around: str = ""
    ) -> Unit | None:
        opened = self._open(file)
        if opened is None:
            message = f'there is no program file "{file}"'
            hint = closest(file, self._library.names())
            self.report.findings.append(Finding("unknown-file", Place(file, 1, 1), message, hint))
            return None
        document = self._whole(opened, ())
        if document is None:
            return None
        written = self._structured(document, grammar.Program)
        if written is None or not isinstance(document.tree, dict):
            return None
        if not self._understood(document, written.language):
            return None
        unit = Unit(document, written, prefix, outer, around)
        self.units.append(unit)
        self._identity(unit)
        for role, title in written.roles.items():
            self._share("roles", self.roles, unit, role, title)
        for name, source in written.sources.items():
            self._share("sources", self.sources, unit, name, _source(name, source))
        for count, named in enumerate(written.files):
            self._file(unit, named, ("files", count))
        for name, form in written.forms.items():
            self._form(name, Written(unit, document, form, ("forms", name), {}, shared=False))
        self._declarations(unit)
        return unit

    # Variants and overlays

    def _whole(self, opened: Document, variants: tuple[str, ...]) -> Document | None:
        """What a file says together with its base and its overlays, made once.

        None, and findings, where that cannot be said. `variants` are the files that are based
        on this one.
        """
        if opened.file not in self._wholes:
            self._wholes[opened.file] = self._composed(opened, variants)
        return self._wholes[opened.file]

    def _composed(self, opened: Document, variants: tuple[str, ...]) -> Document | None:
        tree = opened.tree
        if not isinstance(tree, dict):
            return opened  # which is said once it is structured
        if "based_on" not in tree:
            written = tree.get("overlays")
            named = written if isinstance(written, list) else []
            overlays = [str(each) if isinstance(each, str) else "" for each in named]
            own = frozenset([_stated(opened, "program")])
            return self._with_overlays(opened, opened, overlays, own)
        said = len(self.report.findings)
        variant = self._structured(opened, grammar.Variant)
        if variant is None or opened.findings or len(self.report.findings) > said:
            return None
        if not self._understood(opened, variant.language):
            return None
        base = self._base(opened, variant.based_on, variants)
        if base is None:
            return None
        whole = changed(opened, variant, base, self.report)
        if whole is None:
            return None
        bases = self._bases.get(base.file, frozenset([_stated(base, "program")]))
        bases |= {variant.program}
        self._bases[opened.file] = bases
        return self._with_overlays(whole, opened, variant.overlays, bases)

    def _base(self, opened: Document, written: str, variants: tuple[str, ...]) -> Document | None:
        """The program that a variant is based on."""
        path: Path = ("based_on",)
        program, _, version = written.partition("@")
        if not version:
            versions = self._versions(program)
            message = f'"{written}" does not say which version'
            hint = f"write {program}@{versions[-1] if versions else '1.0.0'}"
            self.report.add(opened, "base-version", path, message, hint)
            return None
        name = self._named(program, version)
        document = None if name is None else self._open(name)
        if document is None:
            versions = self._versions(program)
            message = f'there is no program "{program}" in version {version}'
            hint = f"there is {' and '.join(versions)}" if versions else self._near(program)
            self.report.add(opened, "unknown-base", path, message, hint)
            return None
        around = (*variants, opened.file)
        if document.file in around or len(around) > _DEEPEST:
            message = f'"{written}" is based on this variant itself'
            if document.file not in around:
                message = f"this is the {len(around)}th variant of a variant"
            hint = "base it on a program that is written out"
            self.report.add(opened, "base-chain", path, message, hint)
            return None
        if not isinstance(document.tree, dict):
            self._structured(document, grammar.Program)  # says that it is none
            return None
        return self._whole(document, around)

    def _versions(self, program: str) -> list[str]:
        """The versions of a program that there are."""
        found = []
        for name in self._library.names():
            folder, _, file = name.rpartition("/")
            if folder == program and file.removesuffix(".yaml").partition("@")[0] == program:
                document = self._looked_at(name)
                found.append("" if document is None else _stated(document, "version"))
        return sorted({version for version in found if version})

    def _near(self, program: str) -> str:
        return closest(program, {name.split("/")[0] for name in self._library.names()})

    def _with_overlays(
        self, whole: Document, opened: Document, files: list[str], programs: frozenset[str]
    ) -> Document | None:
        """A program with the figures of its overlays, none of which sets what another sets."""
        fits = True
        set_by: dict[str, str] = {}
        for count, file in enumerate(files):
            document = self._named_file(opened, file, ("overlays", count)) if file else None
            overlay = None if document is None else self._figures(document, programs)
            after = None
            if document is not None and overlay is not None:
                for name in overlay.limits:
                    if name in set_by:
                        message = f'the overlay "{set_by[name]}" sets `{name}` already'
                        at: Path = ("limits", name)
                        self.report.add(document, "overlay-twice", at, message, on="key")
                        fits = False
                set_by.update(dict.fromkeys(overlay.limits, overlay.overlay))
                after = overlaid(whole, document, overlay, self.report)
            fits = fits and (after is not None or not file)
            whole = after or whole
        return whole if fits else None

    def _figures(self, document: Document, programs: frozenset[str]) -> grammar.Overlay | None:
        """An overlay for one of these programs; None, and findings, if it is none."""
        said = len(self.report.findings)
        overlay = self._structured(document, grammar.Overlay)
        if overlay is None or document.findings or len(self.report.findings) > said:
            return None
        if not self._understood(document, overlay.language):
            return None
        self.overlays[document.file] = overlay.overlay
        if overlay.for_ in programs:
            return overlay
        message = f'the figures are for "{overlay.for_}", not for this program'
        hint = f"write {' or '.join(sorted(programs))}"
        self.report.add(document, "overlay-for", ("for",), message, hint)
        return None

    def _understood(self, document: Document, language: int) -> bool:
        if 1 <= language <= LANGUAGE:
            return True
        message = f"the file is written in language {language}"
        hint = f"this release reads language {LANGUAGE}: use a newer release, or write 1"
        self.report.add(document, "language-too-new", ("language",), message, hint)
        return False

    def _identity(self, unit: Unit) -> None:
        """The id and the version, inside the file and in its name."""
        written = unit.written
        file = unit.document.file.rpartition("/")[2].removesuffix(".yaml")
        plain, _, version = file.partition("@")
        if written.program != plain:
            message = f'the program calls itself "{written.program}", but its file "{plain}"'
            self.report.add(unit.document, "program-id", ("program",), message, f'write "{plain}"')
        if _VERSION.fullmatch(written.version) is None:
            message = f'"{written.version}" is no version'
            self.report.add(
                unit.document, "version-format", ("version",), message, 'write it as in "1.0.0"'
            )
        elif version and version != written.version:
            message = f'the file is version {version} by its name, but "{written.version}" inside'
            self.report.add(
                unit.document, "version-format", ("version",), message, f'write "{version}"'
            )

    def _file(self, unit: Unit, file: str, path: Path) -> None:
        """An instrument or a file of forms that a program names."""
        document = self._named_file(unit.document, file, path)
        if document is None:
            return
        keys = document.tree if isinstance(document.tree, dict) else {}
        if "program" in keys:
            message = f'"{file}" is a program, not forms or an instrument'
            hint = "a phase can contain a program: see `contains`"
            self.report.add(unit.document, "file-kind", path, message, hint)
        elif "instrument" in keys:
            one = self._structured(document, grammar.Instrument)
            if one is not None and self._understood(document, one.language):
                own = self._own_sources(one.instrument, one.sources)
                self._form(one.instrument, Written(unit, document, one, (), own, shared=True))
        else:
            many = self._structured(document, grammar.FormsFile)
            if many is not None and self._understood(document, many.language):
                own = self._own_sources(file.rpartition("/")[2].partition(".")[0], many.sources)
                for name, form in many.forms.items():
                    its = Written(unit, document, form, ("forms", name), own, shared=True)
                    self._form(name, its)

    def _named_file(self, by: Document, file: str, path: Path) -> Document | None:
        """A file that another names at a path; None and a finding where there is none."""
        if not inside(file):
            message = f'"{file}" leaves the folder of programs'
            hint = "name it from that folder on, such as instruments/phq-9.yaml"
            self.report.add(by, "file-outside", path, message, hint)
            return None
        document = self._open(file)
        if document is None:
            message = f'there is no file "{file}"'
            hint = closest(file, self._library.names())
            self.report.add(by, "unknown-file", path, message, hint)
        return document

    # What a program shares with those it contains

    def _share(self, table: str, values: dict[str, Any], unit: Unit, name: str, value: Any) -> None:
        """Declares a role or source once; a contained program must mean the same by it."""
        path: Path = (table, name)
        if name not in values:
            self.names.declare(table, unit, name, path, unit.document)
            values[name] = value
        elif _plain(value) != _plain(values[name]):
            self._differs(table, name, path, unit.document)

    def _differs(self, table: str, name: str, path: Path, document: Document) -> None:
        kind = KINDS[table]
        message = f'the {kind} "{name}" is another here than before'
        hint = f"a {kind} means the same in a program and in those it contains: rename one"
        self.report.add(document, "shared-differs", path, message, hint, on="key")

    def _own_sources(self, label: str, written: Mapping[str, grammar.Source]) -> dict[str, str]:
        """The sources of an instrument or a file of forms: theirs alone, so labelled by it."""
        for name, source in written.items():
            self.sources[f"{label}.{name}"] = _source(f"{label}.{name}", source)
        return {name: f"{label}.{name}" for name in written}

    def _form(self, name: str, its: Written) -> None:
        other = self.written.get(name)
        if other is None:
            path = its.path or ("instrument",)
            if self.names.declare("forms", its.unit, name, path, its.document):
                self.written[name] = its
                self.forms[name] = build_form(name, its.written)
        elif other.document is not its.document and asdict(other.written) != asdict(its.written):
            self._differs("forms", name, its.path or ("instrument",), its.document)

    # Names and places

    def _declarations(self, unit: Unit) -> None:
        written, document = unit.written, unit.document
        tables = ("consents", "limits", "gates", "escalations", "orders", "medicines", "ledgers")
        for table in tables:
            for name in getattr(written, table):
                self.names.declare(table, unit, name, (table, name), document)
        top: list[str] = []
        if unit.outer is not None:
            around = self.spots[unit.inside]
            top, trail, region = around.children, around.trail, around.region
        else:
            trail, region = (), ""
        for name, phase in written.phases.items():
            path: Path = ("phases", name)
            self._phase(unit, name, phase, path, trail=trail, region=region, beside=top)
        for name, excursion in written.excursions.items():
            path = ("excursions", name)
            if self.names.declare("phases", unit, name, path, document):
                full = unit.prefix + name
                spot = Spot(unit, excursion, path, (full,), "excursion", [])
                self.spots[full] = spot
                self._steps(spot, excursion.steps)
        for name, session in written.sessions.items():
            self._session(unit, name, session, ("sessions", name))
        for name, group in written.groups.items():
            if self.names.declare("groups", unit, name, ("groups", name), document):
                self.groups[unit.prefix + name] = (unit, group)
        for name in written.ends:
            self.names.declare("ends", unit, name, ("ends", name), document)
        if unit.outer is None:
            for name, step in written.work_after_leaving.items():
                self._step(name, Job(unit, step, ("work_after_leaving", name), "", "leaving"))

    def _phase(
        self,
        unit: Unit,
        name: str,
        written: grammar.Phase | grammar.Track,
        path: Path,
        *,
        trail: tuple[str, ...],
        region: str,
        beside: list[str],
    ) -> None:
        if not self.names.declare("phases", unit, name, path, unit.document):
            return
        full = unit.prefix + name
        tracks = written.tracks if isinstance(written, grammar.Phase) else {}
        contains = written.contains if isinstance(written, grammar.Phase) else None
        kind: Literal["leaf", "sequence", "tracks"] = (
            "tracks" if tracks else "sequence" if written.phases or contains else "leaf"
        )
        beside.append(full)
        if isinstance(written, grammar.Track):
            region, beside = full, []  # no row leads to a track: all are entered together
        spot = Spot(unit, written, path, (*trail, full), region, beside, kind)
        self.spots[full] = spot
        self._steps(spot, written.steps)
        trail, inner = spot.trail, spot.children
        for child, phase in written.phases.items():
            at = (*path, "phases", child)
            self._phase(unit, child, phase, at, trail=trail, region=region, beside=inner)
        for child, track in tracks.items():
            at = (*path, "tracks", child)
            self._phase(unit, child, track, at, trail=trail, region=region, beside=inner)
        if contains is not None:
            self._contained(spot, contains)

    def _contained(self, spot: Spot, contains: grammar.Contains) -> None:
        """Reads the program that a phase contains, unless it is already around it."""
        unit, path = spot.unit, (*spot.path, "contains", "program")
        around: Unit | None = unit
        while around is not None:
            if around.written.program == contains.program:
                message = f'"{contains.program}" would contain itself'
                self.report.add(unit.document, "contains-itself", path, message)
                return
            around = around.outer
        name = self._named(contains.program, contains.version)
        if name is not None:
            self._program(name, spot.name + ".", unit, spot.name)
            return
        version = f" in version {contains.version}" if contains.version else ""
        message = f'there is no program "{contains.program}"{version}'
        hint = self._near(contains.program)
        self.report.add(unit.document, "unknown-program", path, message, hint)

    def _steps(self, spot: Spot, steps: Mapping[str, grammar.Step]) -> None:
        for name, step in steps.items():
            job = Job(spot.unit, step, (*spot.path, "steps", name), spot.name, "phase")
            if self._step(name, job):
                spot.steps.append(spot.unit.prefix + name)

    def _session(self, unit: Unit, name: str, session: grammar.Session, path: Path) -> None:
        if not self.names.declare("sessions", unit, name, path, unit.document):
            return
        full = unit.prefix + name
        self.kinds[full] = Held(unit, session, path)
        for step, its in session.before.items():
            at = (*path, "before", step)
            self._step(step, Job(unit, its, at, full, "session", "before", session.source))
        for step, its in session.after.items():
            at = (*path, "after", step)
            self._step(step, Job(unit, its, at, full, "session", "after", session.source))

    def _step(self, name: str, job: Job) -> bool:
        unit = job.unit
        if self.names.declare(
            "steps", unit, name, job.path, unit.document, same_as=job.written.record
        ):
            self.jobs[unit.prefix + name] = job
            return True
        return False


def _stated(document: Document, key: str) -> str:
    """What a file says of itself at its top, or ""."""
    said = document.tree.get(key) if isinstance(document.tree, dict) else ""
    return str(said) if isinstance(said, str) else ""


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else asdict(value)


def _source(name: str, written: grammar.Source) -> model.Source:
    return model.Source(name, written.title, written.trust, written.url)  # type: ignore[arg-type]
