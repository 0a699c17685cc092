"""What all verbs share: where programs come from, and how things are shown."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kat_workflow.errors import Finding

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from rich.console import RenderableType

    from kat_workflow.journal.encrypting import Keys
    from kat_workflow.language.library import Folder, Library

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")

json_option = click.option("--json", "as_json", is_flag=True, help="JSON for other programs.")


def takes_programs(verb: _F) -> _F:
    """`--programs` also after the verb."""

    def remember(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.find_root().obj["programs"] = value

    return click.option(
        "--programs",
        "_folder",
        metavar="FOLDER",
        type=click.Path(file_okay=False),
        callback=remember,
        expose_value=False,
        help="Where programs are (or KAT_PROGRAMS).",
    )(verb)


def takes_keys(verb: _F) -> _F:
    """`--keys`: what a record is encrypted with. A key itself never stands on a command line."""

    def remember(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.find_root().ensure_object(dict)["keys"] = value

    return click.option(
        "--keys",
        "_keys",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="KAT_KEYS",
        callback=remember,
        expose_value=False,
        help="The file of keys that the record is encrypted with (or KAT_KEYS).",
    )(verb)


def keys(ctx: click.Context) -> Keys | None:
    """The keys of the file that is named, None where none is."""
    file: Path | None = (ctx.find_root().obj or {}).get("keys")
    if file is None:
        return None
    from kat_workflow.journal.encrypting import Keys

    try:
        return Keys.parse(file.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None


def folder(ctx: click.Context) -> Path | None:
    """The folder of programs: as asked for, else ./programs if there is one."""
    asked = (ctx.find_root().obj or {}).get("programs")
    if asked:
        return Path(asked)
    here = Path("programs")
    return here if here.is_dir() else None


def own(ctx: click.Context) -> Folder:
    """The folder that is worked in; that of the shipped programs where there is none."""
    from kat_workflow.language.library import Folder, shipped

    at = folder(ctx)
    if at is None:
        return shipped()
    if not at.is_dir():
        raise click.UsageError(f'the folder of programs "{at}" is not there', ctx)
    return Folder(at)


def library(ctx: click.Context) -> Library:
    """Where ids are looked up: the folder that is worked in, then the shipped programs."""
    from kat_workflow.language.library import Folder, shipped

    return Folder(own(ctx).root, shipped())


def ids(names: Iterable[str]) -> list[str]:
    """The ids of the programs among files: `<id>/<id>.yaml` and `<id>/<id>@<version>.yaml`."""
    found = []
    for name in names:
        place, _, file = name.rpartition("/")
        stem = file.removesuffix(".yaml")
        if file.endswith(".yaml") and stem.partition("@")[0] == place:
            found.append(stem)
    return found


class ProgramName(click.ParamType[str]):
    """The id of a program or the path of its file; a misspelt one is a usage error."""

    name = "program"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text, once there is such a program."""
        text = str(value)
        ctx = ctx or click.get_current_context()
        if text.endswith((".yaml", ".yml")):
            if not Path(text).is_file() and text not in set(library(ctx).names()):
                self.fail(f'there is no file "{text}"', param, ctx)
            return text
        from kat_workflow.language.findings import closest

        known = ids(library(ctx).names())
        program, _, version = text.partition("@")
        if text not in known and not (version and program in known):
            near = closest(text, known)
            hint = near or (f"known are {', '.join(known)}" if known else "none is known here")
            self.fail(f'there is no program "{text}"; {hint}', param, ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The known ids; files where none fits."""
        from click.shell_completion import CompletionItem

        ctx.find_root().ensure_object(dict)
        known = [name for name in ids(library(ctx).names()) if name.startswith(incomplete)]
        if known:
            return [CompletionItem(name) for name in known]
        return [CompletionItem(incomplete, type="file")]


def echo_json(value: Any) -> None:
    """A value for other programs: UTF-8, keys in their own order."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def echo_findings(findings: Iterable[Finding], err: bool = False) -> None:
    """Findings with the marked line of the file; coloured on a terminal."""
    from kat_workflow.language.findings import render
    from kat_workflow.protocol.words import clean

    for finding in findings:
        first, *rest = clean(render(finding)).split("\n")
        where, _, said = first.partition(": ")
        tint = "red" if finding.severity == "error" else "yellow"
        before, code, after = said.partition(finding.code)
        click.echo(
            f"{click.style(where, bold=True)}: {before}{click.style(code, fg=tint)}{after}", err=err
        )
        for line in rest:
            stripped = line.strip()
            marker = stripped.startswith("|") and "^" in stripped
            click.echo(click.style(line, fg=tint) if marker else line, err=err)
        click.echo(err=err)


def echo_rich(what: RenderableType) -> None:
    """Something for people: colours on a terminal, plain text elsewhere."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    shown = io.StringIO()  # rich itself must not write: it would answer a closed pipe by leaving
    Console(file=shown, force_terminal=terminal, width=None if terminal else 100).print(what)
    click.echo("\n".join(line.rstrip() for line in shown.getvalue().splitlines()))


def watched(items: Sequence[_T], doing: str) -> Iterator[_T]:
    """The items, with a bar on a terminal while there are several."""
    if len(items) < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, doing, console=Console(stderr=True), transient=True)


def write(path: Path, text: str) -> None:
    """A whole file or none: written beside it, then moved into its place."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(path)
