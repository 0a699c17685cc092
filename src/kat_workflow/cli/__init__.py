"""The `kat` command line: one verb is one library call, then print.

This module knows every verb by name and loads a verb only when it is used, so that `kat --help`
is quick. It is also where every error ends: nobody is shown a traceback for bad input, and the
exit codes come from the table in `errors`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from kat_workflow.errors import (
    EXIT_INTERRUPTED,
    EXIT_PIPE_CLOSED,
    EXIT_USAGE,
    HANDLING,
    KatError,
    ProgramError,
    Refused,
    handling,
)

__all__ = ["VERBS", "Verb", "kat", "main"]


class Verb:
    """Where a verb is written, and its line in `kat --help`."""

    def __init__(self, module: str, about: str) -> None:
        self.module = module
        self.about = about


VERBS: Mapping[str, Mapping[str, Verb]] = {
    "Programs": {
        "check": Verb("programs", "Say everything that is wrong with program files."),
        "explain": Verb("programs", "Explain the code of a finding, a refusal or a deviation."),
        "show": Verb("programs", "Write a program out as a protocol to read and print."),
        "draw": Verb("programs", "Draw a program."),
        "new": Verb("programs", "Begin a program: a small commented one that checks clean."),
        "fmt": Verb("programs", "Lay program files out in the one usual way."),
        "schema": Verb("programs", "Print the JSON Schema by which editors know the language."),
    },
    "Governance": {
        "diff": Verb("governing", "Say what changed between two versions of a program."),
        "sheet": Verb("governing", "Write a program as one printable page to sign."),
        "sign-off": Verb("governing", "Sign a program off, as its files say now."),
        "retire": Verb("governing", "Let an approved version take nobody new."),
        "register": Verb("governing", "List what was signed off, by whom and when."),
        "deviations": Verb("governing", "List deviations, overrides and emergencies of everybody."),
        "on-version": Verb("governing", "List who goes by a version of a program, and flag them."),
    },
    "Trying out": {
        "demo": Verb("trying", "Watch patients go through the shipped programs."),
        "try": Verb("trying", "Walk a patient through a program by hand."),
        "test": Verb("trying", "Run scenario files."),
    },
    "Patients": {
        "enroll": Verb("patients", "Begin a program for a patient."),
        "record": Verb("patients", "Record the form of an open step."),
        "do": Verb("patients", "Carry out a phrase, such as start nad_infusion."),
        "why": Verb("patients", "Say what stands in the way, and what would clear it."),
        "status": Verb("patients", "Say where a patient stands."),
        "history": Verb("patients", "Tell everything that happened to a patient."),
        "signatures": Verb("patients", "List every signature, and whether it still holds."),
        "worklist": Verb("patients", "List what is open, by when it is due."),
        "census": Verb("patients", "Say who is where, on which day."),
        "cover": Verb("patients", "Let a person hold a role for a while."),
        "patient": Verb("patients", "Show a patient across programs."),
        "merge": Verb("patients", "Say that two ids are one patient."),
        "unmerge": Verb("patients", "Say that they are two patients after all."),
        "outbox": Verb("patients", "List whom somebody is to tell."),
        "run-due": Verb("patients", "Run the timers that are due."),
    },
    "Drugs": {
        "receive": Verb("cupboard", "Take some of a lot into a site's drug cupboard."),
        "count": Verb("cupboard", "Say how much of a lot was found in the cupboard."),
        "stock": Verb("cupboard", "Say what is in the cupboard, and what is out."),
        "ledger": Verb("cupboard", "Show the controlled-drug ledger of a site."),
        "lots": Verb("cupboard", "Tell everything that happened to a lot."),
    },
    "Groups": {
        "group": Verb("groups", "Plan a group, seat its members, start it, act for all of them."),
        "groups": Verb("groups", "List the groups that are planned or have started."),
    },
    "Courses": {
        "replay": Verb("courses", "Tell real courses to the engine, and account for every row."),
        "simulate": Verb("courses", "Send simulated patients through a program."),
        "counterfactual": Verb("courses", "Say what another program would have done."),
    },
    "Record": {
        "journal": Verb("journal", "Keep the record: verify, back up, restore, export, import."),
        "access": Verb("access", "Say who looked at a patient, and what went outside."),
        "checkpoint": Verb("sealing", "Sign what the record holds now, to be kept elsewhere."),
        "erase": Verb("sealing", "Take a patient out of the record, on a lawful request."),
    },
    "Many hosts": {
        "worker": Verb("fleet", "Run the timers of a PostgreSQL record, beside other workers."),
        "cluster": Verb("fleet", "Look after the workers: kat cluster status."),
    },
    "Shell": {
        "completion": Verb("shell", "Print the completion script for a shell."),
    },
}
"""The sections of `kat --help` and their verbs."""


def _commands(module: str) -> Mapping[str, click.Command]:
    """The verbs of a module, loaded only when one of them is used."""
    if module == "programs":
        from kat_workflow.cli import programs

        return programs.COMMANDS
    if module == "trying":
        from kat_workflow.cli import trying

        return trying.COMMANDS
    if module == "patients":
        from kat_workflow.cli import patients

        return patients.COMMANDS
    if module == "governing":
        from kat_workflow.cli import governing

        return governing.COMMANDS
    if module == "cupboard":
        from kat_workflow.cli import cupboard

        return cupboard.COMMANDS
    if module == "groups":
        from kat_workflow.cli import groups

        return groups.COMMANDS
    if module == "courses":
        from kat_workflow.cli import courses

        return courses.COMMANDS
    if module == "sealing":
        from kat_workflow.cli import sealing

        return sealing.COMMANDS
    if module == "fleet":
        from kat_workflow.cli import fleet

        return fleet.COMMANDS
    if module == "journal":
        from kat_workflow.cli import journal

        return journal.COMMANDS
    if module == "access":
        from kat_workflow.cli import access

        return access.COMMANDS
    from kat_workflow.cli import shell

    return shell.COMMANDS


class Kat(click.Group):
    """The group of all verbs, loaded one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of the sections."""
        return [name for verbs in VERBS.values() for name in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb, from its module."""
        for verbs in VERBS.values():
            if cmd_name in verbs:
                return _commands(verbs[cmd_name].module)[cmd_name]
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a misspelt verb."""
        import difflib

        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            way_out = f'; did you mean "{near[0]}"?' if near else "; see kat --help"
            ctx.fail(f'there is no verb "{name}"{way_out}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs in their sections, without loading any of them."""
        for section, verbs in VERBS.items():
            with formatter.section(section):
                formatter.write_dl([(name, verb.about) for name, verb in verbs.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes."""
        with formatter.section("Exit codes"):
            rows = [
                ("0", "done, nothing to report"),
                (str(EXIT_USAGE), "the command line is wrong"),
            ]
            rows += [(str(row.exit_code), row.about) for row in HANDLING]
            rows.append((str(EXIT_INTERRUPTED), "interrupted"))
            formatter.write_dl(sorted(rows, key=lambda row: int(row[0])))

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; a closed pipe keeps its own exit code."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            ctx.exit(EXIT_PIPE_CLOSED)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kat_workflow import __version__

        click.echo(f"kat-workflow {__version__}")
        ctx.exit()


@click.command(cls=Kat, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--programs",
    metavar="FOLDER",
    type=click.Path(file_okay=False),
    envvar="KAT_PROGRAMS",
    help="Where programs are (or KAT_PROGRAMS); else ./programs, else those that ship.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
    help="Print the version.",
)  # fmt: skip
@click.pass_context
def kat(ctx: click.Context, programs: str | None) -> None:
    """Treatment programs as files that a clinician can read.

    A PROGRAM is the id of a program (detox-4-day, detox-4-day@1.0.0) or the path of its file.
    Every verb has its own --help with examples.
    """
    ctx.obj = {"programs": programs}
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main(args: Sequence[str] | None = None) -> None:
    """Run `kat` and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows "?"
    code = _run(args)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_PIPE_CLOSED
    if code == EXIT_PIPE_CLOSED:
        # Nobody reads any more: what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    try:
        code = kat.main(args, prog_name="kat", standalone_mode=False)
    except click.Abort:
        click.echo("Stopped.", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except KatError as error:
        _tell(error)
        return handling(error).exit_code
    except BrokenPipeError:
        return EXIT_PIPE_CLOSED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {where}{error.strerror or error}", err=True)
        return EXIT_USAGE
    return code if isinstance(code, int) else 0


def _tell(error: KatError) -> None:
    if isinstance(error, ProgramError):
        from kat_workflow.cli.screen import echo_findings

        echo_findings(error.findings, err=True)
    elif isinstance(error, Refused):
        click.echo(error.explanation, err=True)
    else:
        click.echo(f"Error: {error}", err=True)
