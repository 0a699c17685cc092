"""The verbs about groups: `kat group plan|join|drop|move|start|do|call-off|show`, `kat groups`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
import msgspec

from kat_workflow.cli.patients import (
    actor,
    as_option,
    by_option,
    fill,
    instant_of,
    local,
    on_clinic,
    reader_of,
)
from kat_workflow.cli.screen import ProgramName, echo_json, echo_rich, json_option
from kat_workflow.cli.telling import said
from kat_workflow.engine import Engine, MemberOutcome
from kat_workflow.enrollment.groups import Group
from kat_workflow.program.clock import Site

__all__ = ["COMMANDS"]

_command_id = click.option("--command-id", default=None, help="Makes a retry harmless.")


@click.group()
def group() -> None:
    """Plan a group, seat its members, start it, and act for all of them.

    Each member keeps a record of their own. A command for all that stopped halfway goes on when it
    is sent again with the same --command-id.

    \b
    Examples:
      kat group plan ketamine-circle circle "2026-03-03T10:00" --room mats --by tom:therapist
      kat group join g-4f… e-1f… --by ann:nurse
      kat group drop g-4f… e-1f… --reason "a cold" --by ann:nurse
      kat group start g-4f… --present ann:nurse --by tom:therapist
      kat group do g-4f… "arrive ketamine_session" --by ann:nurse
    """


@group.command()
@click.argument("program", type=ProgramName())
@click.argument("kind")
@click.argument("when")
@click.option("--room", default="", help="The room.")
@click.option("--site", default=None, help="The site; the first one by default.")
@_command_id
@by_option
@json_option
@on_clinic
def plan(
    ctx: click.Context,
    engine: Engine,
    program: str,
    kind: str,
    when: str,
    room: str,
    site: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Plan a group of a kind and print its id."""
    place = _place(engine, site or engine.sites[0].name)
    id_ = engine.plan_group(
        program,
        kind,
        instant_of(when, place),
        by=actor(by),
        room=room,
        site=place.name,
        command_id=command_id,
    )
    if as_json:
        echo_json({"format": 1, "group": id_})
    else:
        click.echo(id_)


@group.command()
@click.argument("group_id", metavar="GROUP")
@click.argument("enrollment")
@click.option("--step", default="", help="The step or item it is for, where there are several.")
@_command_id
@by_option
@json_option
@on_clinic
def join(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    enrollment: str,
    step: str,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Give a patient a seat, or a place on the waitlist."""
    outcome = engine.join_group(
        group_id, enrollment, by=actor(by), item=step, command_id=command_id
    )
    _show_members(engine, [MemberOutcome(enrollment, 0, outcome)], as_json)


@group.command()
@click.argument("group_id", metavar="GROUP")
@click.argument("enrollment")
@click.option("--reason", required=True, help="Why; it stands in the patient's own record.")
@_command_id
@by_option
@json_option
@on_clinic
def drop(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    enrollment: str,
    reason: str,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Let a patient drop out, also on the day; the seat goes to whoever waits longest."""
    outcome = engine.drop_out(group_id, enrollment, reason, by=actor(by), command_id=command_id)
    _show_members(engine, [MemberOutcome(enrollment, 0, outcome)], as_json)


@group.command()
@click.argument("group_id", metavar="GROUP")
@click.option("--when", default=None, metavar="INSTANT", help="Another time.")
@click.option("--room", default=None, help="Another room.")
@_command_id
@by_option
@json_option
@on_clinic
def move(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    when: str | None,
    room: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Give a planned group, and its members' bookings, another time or room."""
    place = _place(engine, engine.group(group_id, by=actor(by)).site)
    at = None if when is None else instant_of(when, place)
    moved = engine.move_group(group_id, by=actor(by), when=at, room=room, command_id=command_id)
    _leave(ctx, _show_members(engine, moved, as_json))


@group.command()
@click.argument("group_id", metavar="GROUP")
@click.option(
    "--present", multiple=True, metavar="PERSON:ROLE[,ROLE]", help="Who is there besides you."
)
@click.option("--regardless", default="", help="Why it starts too small or short of staff.")
@_command_id
@by_option
@json_option
@on_clinic
def start(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    present: tuple[str, ...],
    regardless: str,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Start a group: from then on each member's own session may start."""
    there = [actor(each) for each in present]
    engine.start_group(
        group_id, by=actor(by), present=there, regardless=regardless, command_id=command_id
    )
    _show(engine, engine.group(group_id, by=actor(by)), as_json)


@group.command()
@click.argument("group_id", metavar="GROUP")
@click.argument("phrase")
@click.argument("details", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--signed", is_flag=True, help="Sign it in the same act.")
@click.option("--occurred", metavar="INSTANT", help="When it happened, if that was earlier.")
@_command_id
@by_option
@json_option
@on_clinic
def do(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    phrase: str,
    details: tuple[str, ...],
    signed: bool,
    occurred: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Carry out a phrase for each member; one refusal does not stop the others."""
    found = engine.group(group_id, by=actor(by))
    place = _place(engine, found.site)
    answers = engine.group_do(
        group_id,
        phrase,
        by=actor(by),
        given=fill(engine.program(found.program), phrase, details, place),
        signed=signed,
        occurred=None if occurred is None else instant_of(occurred, place),
        command_id=command_id,
    )
    _leave(ctx, _show_members(engine, answers, as_json))


@group.command("call-off")
@click.argument("group_id", metavar="GROUP")
@click.option("--reason", required=True, help="Why; it stands in no patient's record.")
@_command_id
@by_option
@json_option
@on_clinic
def call_off(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    reason: str,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Call a planned group off; every member drops out of it."""
    answers = engine.call_off(group_id, reason, by=actor(by), command_id=command_id)
    _leave(ctx, _show_members(engine, answers, as_json))


@group.command()
@click.argument("group_id", metavar="GROUP")
@as_option
@json_option
@on_clinic
def show(
    ctx: click.Context,
    engine: Engine,
    group_id: str,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """Say how a group stands: time, room, seats, waitlist."""
    engine.run_due()
    _show(engine, engine.group(group_id, by=reader_of(reader), why=why), as_json)


@click.command()
@click.option("--site", default=None, help="The site; the first one by default.")
@as_option
@json_option
@on_clinic
def groups(
    ctx: click.Context,
    engine: Engine,
    site: str | None,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """List the groups that are planned or have started.

    \b
    Examples:
      kat groups --site main
    """
    engine.run_due()
    place = _place(engine, site or engine.sites[0].name)
    found = engine.groups(place.name, by=reader_of(reader), why=why)
    if as_json:
        echo_json({"format": 1, "groups": msgspec.to_builtins([_told(each) for each in found])})
        return
    from rich.table import Table

    table = Table("when", "group", "state", "room", "seats", "waiting", "id", box=None)
    for each in found:
        seats = f"{len(each.among('in', 'offered', 'done'))} of {each.capacity}"
        waiting = str(len(each.among("waiting")))
        table.add_row(
            local(each.at, place), each.title, each.state, each.room, seats, waiting, each.id
        )
    echo_rich(table)


def _place(engine: Engine, name: str) -> Site:
    """The site of that name; one that the engine does not know is refused by what follows."""
    return next((site for site in engine.sites if site.name == name), Site(name))


def _told(found: Group) -> dict[str, Any]:
    """A group as other programs read it."""
    return {
        name: {id_: {"seat": m.seat, "state": m.state} for id_, m in found.members.items()}
        if name == "members"
        else getattr(found, name)
        for name in Group.__struct_fields__
    }


def _show(engine: Engine, found: Group, as_json: bool) -> None:
    if as_json:
        echo_json({"format": 1, **msgspec.to_builtins(_told(found))})
        return
    when = local(found.at, _place(engine, found.site))
    room = f" in {found.room}" if found.room else ""
    click.secho(f"{found.title} ({found.id}): {found.state}, {when}{room}", bold=True)
    click.echo(f"{len(found.among('in'))} of {found.capacity} seats, at least {found.minimum}")
    for enrollment in found.among("in", "done", "offered", "waiting", "dropped"):
        member = found.members[enrollment]
        seat = f"seat {member.seat}" if member.seat else "no seat"
        click.echo(f"  {seat:8} {member.state:8} {enrollment}")


def _show_members(engine: Engine, answers: Iterable[MemberOutcome], as_json: bool) -> bool:
    """What was done for each member; whether somebody was refused."""
    told = list(answers)
    if as_json:
        echo_json({"format": 1, "members": msgspec.to_builtins(told)})
    else:
        for each in told:
            if each.refusal is not None:
                click.secho(f"{each.enrollment}: {each.refusal.explanation}", fg="yellow")
            elif each.outcome is not None:
                words = [word for event in each.outcome.events if (word := said(event))]
                again = "carried out before" if each.outcome.again else ""
                click.echo(f"{each.enrollment}: {again or '; '.join(words) or 'nothing to do'}")
    return any(each.refusal is not None for each in told)


def _leave(ctx: click.Context, refused: bool) -> None:
    """One member's refusal is told by the exit code too; the others were carried out."""
    ctx.exit(3 if refused else 0)


COMMANDS = {"group": group, "groups": groups}
