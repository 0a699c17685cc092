"""The verbs for trying things out in virtual time: test, try, demo."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from kat_workflow.cli.patients import fill, instant_of, show_status
from kat_workflow.cli.screen import (
    ProgramName,
    echo_json,
    ids,
    json_option,
    library,
    own,
    takes_programs,
    watched,
)
from kat_workflow.cli.telling import said
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import VERBS, Actor
from kat_workflow.errors import KatError, Refusal, Refused
from kat_workflow.journal import open_journal
from kat_workflow.language.library import Library
from kat_workflow.program.clock import Site, parse_duration, plus
from kat_workflow.program.model import Program
from kat_workflow.scenarios import Coverage, Result, Scenario, find, load_scenario, run

__all__ = ["COMMANDS"]

DEMO = ("detox-4-day", "residential-30-day")
STRAIGHT = "straight-way-through.yaml"


# --- test -------------------------------------------------------------------------------------


@click.command("test")
@click.argument("names", nargs=-1, metavar="[PROGRAM or FILE]...")
@click.option("--coverage", is_flag=True, help="Name what no scenario has seen.")
@json_option
@takes_programs
@click.pass_context
def test(ctx: click.Context, names: tuple[str, ...], coverage: bool, as_json: bool) -> None:
    """Run scenario files, and say where a patient's way was another than they tell.

    Without a name, all scenarios of all programs of the folder are run.

    \b
    Examples:
      kat test
      kat test detox-4-day --coverage
      kat test programs/detox-4-day/scenarios/straight-way-through.yaml
    """
    found = library(ctx)
    files = list(_files(ctx, names))
    if not files:
        raise click.UsageError("there are no scenarios here", ctx)
    results = [run(load_scenario(file), found) for file in watched(files, "Running scenarios")]
    failed = [result for result in results if not result.passed]
    missing = _missing(results, found) if coverage else {}
    if as_json:
        echo_json(
            {
                "format": 1,
                "ok": not failed,
                "scenarios": [_plain(result) for result in results],
                "missing": missing,
            }
        )
    else:
        for result in results:
            _show(result)
        for program, lacks in missing.items():
            click.secho(f"\n{program}: no scenario has seen", bold=True)
            for what, names_ in lacks.items():
                if names_:
                    click.echo(f"  {what}: {', '.join(names_)}")
        tint = "red" if failed else "green"
        many = "scenario" if len(results) == 1 else "scenarios"
        click.secho(f"{len(results)} {many}, {len(failed)} failed", fg=tint)
    ctx.exit(1 if failed else 0)


def _files(ctx: click.Context, names: Iterable[str]) -> Iterable[Path]:
    programs = own(ctx)
    for name in names or ids(programs.names()):
        if name.endswith(".yaml") and Path(name).is_file():
            yield Path(name)
            continue
        file = programs.file(f"{name}/{name}.yaml")
        if file is None:
            raise click.UsageError(f'there is no program and no file "{name}"', ctx)
        yield from find(file.parent)


def _plain(result: Result) -> dict[str, Any]:
    return {
        "file": result.scenario.file,
        "scenario": result.scenario.name,
        "program": result.scenario.program,
        "passed": result.passed,
        "entries": len(result.happened),
        "mismatches": [
            {"line": each.line, "expected": each.expected, "found": each.found}
            for each in result.mismatches
        ],
    }


def _show(result: Result) -> None:
    mark = click.style("ok  ", fg="green") if result.passed else click.style("FAIL", fg="red")
    click.echo(f"{mark} {result.scenario.program}: {result.scenario.name}")
    for mismatch in result.mismatches:
        click.echo(f"     {mismatch}")


def _missing(results: list[Result], found: Library) -> dict[str, dict[str, list[str]]]:
    from kat_workflow.language.compiler import load

    seen: dict[str, Coverage] = {}
    for result in results:
        seen.setdefault(result.scenario.program, Coverage()).merge(result.coverage)
    return {name: coverage.missing(load(name, found)) for name, coverage in seen.items()}


# --- demo -------------------------------------------------------------------------------------


@click.command()
@click.option("--brief", is_flag=True, help="Only where the patient goes, not each step.")
@takes_programs
@click.pass_context
def demo(ctx: click.Context, brief: bool) -> None:
    """Watch patients go through the 4-day detox and the 30-day residence.

    Every step runs through the real engine, in virtual time, into a real record that is thrown
    away at the end.

    \b
    Examples:
      kat demo
      kat demo --brief
    """
    from kat_workflow.language.library import shipped

    programs = shipped()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "demo.db"
        entries = 0
        for name in DEMO:
            scenario = load_scenario(programs.root / name / "scenarios" / STRAIGHT)
            with open_journal(file) as journal:
                click.secho(f"\n{scenario.name} ({name})", bold=True)
                if scenario.about:
                    click.echo(scenario.about)
                result = run(scenario, programs, journal, _Narrator(scenario, brief))
            for mismatch in result.mismatches:
                click.secho(str(mismatch), fg="red")
            entries += len(result.happened)
            if not result.passed:
                ctx.exit(1)
        size = file.stat().st_size
        click.secho(f"\n{entries} entries, {size / 1024:.0f} KiB, nothing lost.", fg="green")
    click.echo("Not medical advice: a clinic's medical director signs a program off before use.")
    click.echo("Next: kat show detox-4-day; kat try detox-4-day; kat new my-program")


class _Narrator:
    """Tells a scenario while it runs."""

    def __init__(self, scenario: Scenario, brief: bool) -> None:
        self.scenario = scenario
        self.brief = brief
        self.seen: dict[str, int] = {}

    def __call__(
        self,
        step: Mapping[str, Any],
        now: datetime,
        engine: Engine,
        enrollment: str,
        refused: Refusal | None,
    ) -> None:
        happened = engine.history(enrollment, self.seen.get(enrollment, 0))
        if happened:
            self.seen[enrollment] = happened[-1].version
        zone = ZoneInfo(self.scenario.site.zone)
        first = self.scenario.starts.astimezone(zone).date()
        day = (now.astimezone(zone).date() - first).days + 1
        clock = f"{now.astimezone(zone):%H:%M}"
        words = [said(each.event) for each in happened]
        moves = [w for w in words if w.startswith(("entered", "admitted", "discharged", "closed"))]
        if self.brief and not moves and refused is None:
            return
        who = step.get("by", "")
        what = step.get("do") or ("enroll" if "enroll" in step else "time passes")
        if "group" in step:
            act = next((name for name in step["group"] if name not in ("in", "as")), "do")
            what = f"group: {act.replace('_', ' ')} {step['group'].get(act, '')}"
        missed = sum(1 for w in words if w.endswith("missed (next opened)"))
        tail = [
            *moves,
            *(w for w in words if w.startswith(("called", "deviation", "dosing paused"))),
        ]
        if missed:
            tail.append(f"{missed} reading{'' if missed == 1 else 's'} missed")
        click.echo(
            f"  day {day:2d} {clock}  {who}: {what}" if who else f"  day {day:2d} {clock}  {what}"
        )
        for word in dict.fromkeys(tail):
            times = f" ({tail.count(word)} times)" if tail.count(word) > 1 else ""
            click.secho(f"                 {word}{times}", fg="cyan")
        if refused is not None:
            for line in refused.explanation.splitlines():
                click.secho(f"                 {line}", fg="yellow")


# --- try --------------------------------------------------------------------------------------


HELP = """\
A phrase, with details after it:   record baseline systolic=128 diastolic=82 pulse=76
Signed in the same act:            sign! record intake_evaluation …   (or --signed at the end)
As another role:                   prescriber: override pressure_allows reason=settled
What stands in the way:            why start nad_infusion
Time:                              wait 4 h      until 2026-03-03T08:00
Look:                              status   history   form STEP   phrases   help   quit"""


@click.command("try")
@click.argument("program", type=ProgramName())
@click.option("--starts", default="2026-03-02T08:00", show_default=True, help="The first instant.")
@click.option("--zone", default="UTC", show_default=True, help="The site's zone.")
@takes_programs
@click.pass_context
def try_(ctx: click.Context, program: str, starts: str, zone: str) -> None:
    """Walk a patient through a program by hand, in virtual time.

    Every line is a phrase such as "record baseline systolic=128"; you are whoever the step is
    for, unless you say "prescriber: …". Lines may also be piped in.

    \b
    Examples:
      kat try detox-4-day
      kat try drafts/detox-4-day.yaml --zone Europe/Vienna
    """
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError) as error:
        raise click.UsageError(f'"{zone}" is no zone, such as Europe/Vienna', ctx) from error
    site = Site("main", zone)
    walk = _Walk(library(ctx), program, instant_of(starts, site), site)
    click.echo(HELP)
    walk.show()
    stream = sys.stdin
    while True:
        click.echo(f"\n{walk.clock()}> ", nl=False)
        line = stream.readline()
        if not line or line.strip() in ("quit", "exit"):
            click.echo()
            return
        if not stream.isatty():
            click.echo(line.rstrip())
        try:
            walk.take(line.strip())
        except Refused as refused:
            click.secho(refused.explanation, fg="yellow")
        except (KatError, click.UsageError) as error:
            click.secho(str(error) or getattr(error, "message", ""), fg="red")


class _Walk:
    """One patient, walked by hand."""

    def __init__(self, found: Library, name: str, starts: datetime, site: Site) -> None:
        self.now = starts
        self.site = site
        self.engine = Engine(open_journal(), found, lambda: self.now, (site,))
        self.program: Program = self.engine.program(name)
        first = next(iter(self.program.roles))
        self.enrollment = self.engine.enroll(
            name, patient="a patient", by=self.actor(first), command_id="try"
        )
        self.seen = 0

    def actor(self, role: str) -> Actor:
        """Each role is played by a person of that name."""
        return Actor(role, {role})

    def clock(self) -> str:
        """The site's wall clock."""
        return f"{self.now.astimezone(ZoneInfo(self.site.zone)):%a %d %b %H:%M}"

    def take(self, line: str) -> None:
        """One line."""
        verb, _, rest = line.partition(" ")
        if not line:
            return
        if verb == "help":
            click.echo(HELP)
        elif verb == "phrases":
            click.echo(", ".join(sorted(VERBS)))
        elif verb == "status":
            self.show()
        elif verb == "history":
            for each in self.engine.history(self.enrollment):
                if words := said(each.event):
                    click.echo(f"  {each.person}: {words}")
        elif verb == "form":
            self.form(rest)
        elif verb == "wait":
            lasts = parse_duration(rest)
            if lasts is None:
                raise click.UsageError(f'"{rest}" is no duration, such as 4 h')
            self.pass_to(plus(self.now, lasts, self.site))
        elif verb == "until":
            self.pass_to(instant_of(rest, self.site))
        else:
            self.phrase(line)

    def pass_to(self, at: datetime) -> None:
        """Time passes."""
        if at < self.now:
            raise click.UsageError("time does not go back")
        self.now = at.astimezone(UTC)
        self.engine.run_due()
        self.tell()
        self.show()

    def phrase(self, line: str) -> None:
        """`[ROLE:] [why] [sign!] VERB NAME [DETAIL=VALUE]…`."""
        role, colon, rest = line.partition(": ")
        role = role if colon and role in self.program.roles else ""
        words = (rest if role else line).split()
        asks = words[0] == "why"
        words = words[1:] if asks else words
        signed = "sign!" in words or "--signed" in words
        words = [word for word in words if word not in ("sign!", "--signed")]
        first = next((at for at, word in enumerate(words) if "=" in word), len(words))
        phrase = " ".join(words[:first])
        pairs = _joined(words[first:])
        given = fill(self.program, phrase, pairs, self.site)
        by = self.actor(role or self.role_for(phrase))
        if asks:
            refusal = self.engine.why(self.enrollment, phrase, by=by, given=given, signed=signed)
            click.echo("Nothing stands in the way." if refusal is None else refusal.explanation)
            return
        self.engine.do(self.enrollment, phrase, by=by, given=given, signed=signed)
        self.tell()

    def role_for(self, phrase: str) -> str:
        """A role that may do it."""
        verb, _, name = phrase.partition(" ")
        name = name.removeprefix("dosing ").removeprefix("over ").partition(" to ")[0]
        program = self.program
        able: tuple[str, ...] = ()
        if (step := program.find("steps", name)) is not None:
            its = program.steps[step]
            able = {"cosign": its.cosigned_by, "witness": its.witnessed_by}.get(verb, its.by)
        elif (session := program.find("sessions", name)) is not None:
            kind = program.sessions[session]
            able = kind.release.signed_by if verb == "release" and kind.release else kind.by
        elif (gate := program.find("gates", name)) is not None:
            rule = program.gates[gate].override
            able = rule.by if rule is not None else ()
        elif (end := program.find("ends", name)) is not None and verb == "leave":
            able = program.ends[end].by
        elif verb in ("hold", "lift"):
            able = program.hold_by
        elif verb in ("go", "move"):
            able = program.decided_by
        else:
            items = self.engine.status(self.enrollment).items
            able = next((item.roles for item in items if item.item == name), ())
        return (able or tuple(program.roles))[0]

    def tell(self) -> None:
        """What is new."""
        happened = self.engine.history(self.enrollment, self.seen)
        for each in happened:
            self.seen = each.version
            if words := said(each.event):
                click.secho(f"  {words}", fg="cyan")

    def show(self) -> None:
        """Where the patient stands."""
        self.tell()
        show_status(self.engine.status(self.enrollment), self.site)

    def form(self, name: str) -> None:
        """What a step's form asks."""
        step = self.program.find("steps", name)
        form = self.program.forms.get(self.program.steps[step].form if step else name)
        if form is None:
            raise click.UsageError(f'"{name}" records no form')
        for field in form.fields.values():
            options = f" ({', '.join(field.options)})" if field.options else ""
            unit = f" {field.unit}" if field.unit else ""
            optional = "" if field.required else ", may be left out"
            asked = f"{field.label or field.name}, {field.type}{unit}"
            click.echo(f"  {field.name}: {asked}{options}{optional}")


def _joined(words: list[str]) -> tuple[str, ...]:
    """`rate=100 mg/h` is one detail: a word without `=` belongs to the one before it."""
    pairs: list[str] = []
    for word in words:
        if "=" in word:
            pairs.append(word)
        else:
            pairs[-1] += " " + word
    return tuple(pairs)


COMMANDS = {"test": test, "demo": demo, "try": try_}
