"""The verbs about patients: enroll, record, do, why, worklist, census, status, history, …"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click
import msgspec

from kat_workflow.cli.screen import (
    ProgramName,
    echo_json,
    echo_rich,
    folder,
    json_option,
    keys,
    takes_keys,
    takes_programs,
)
from kat_workflow.cli.telling import said
from kat_workflow.engine import Engine, OpenItem, Outcome, PatientView, Status
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.foresight import Foresight
from kat_workflow.enrollment.state import OrderState
from kat_workflow.errors import Refused
from kat_workflow.program.clock import Site, at_clock, site_from
from kat_workflow.program.model import Program

__all__ = ["COMMANDS", "fill", "instant_of", "show_status"]

_F = TypeVar("_F", bound=Callable[..., Any])


# --- what the verbs share ---------------------------------------------------------------------


def on_clinic(verb: Callable[..., None]) -> Callable[..., None]:
    """Open the clinic that the options name, and give it to the verb after the context."""

    @wraps(verb)
    def opened(
        ctx: click.Context,
        db: str,
        access: str | None,
        sites: str | None,
        now: str | None,
        **given: Any,
    ) -> None:
        with open_clinic(ctx, db, sites, now, access) as engine:
            verb(ctx, engine, **given)

    options = (
        click.option("--now", metavar="INSTANT", help="What counts as now, for trying things out."),
        click.option(
            "--sites",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            envvar="KAT_SITES",
            help="A YAML file of sites and their zones (or KAT_SITES); else ./sites.yaml.",
        ),
        click.option(
            "--access",
            metavar="FILE",
            envvar="KAT_ACCESS",
            help="The access log (or KAT_ACCESS): who is shown what is written there first.",
        ),
        click.option(
            "--db",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            envvar="KAT_DB",
            default="clinic.db",
            show_default=True,
            help="The clinic's record (or KAT_DB).",
        ),
    )
    taking: Callable[..., None] = click.pass_context(opened)
    for option in options:
        taking = option(taking)
    return takes_programs(takes_keys(taking))


def by_option(verb: _F) -> _F:
    """Who acts."""
    return click.option(
        "--by",
        required=True,
        metavar="PERSON:ROLE[,ROLE]",
        envvar="KAT_BY",
        help="Who acts and in which roles, such as ann:nurse (or KAT_BY).",
    )(verb)


def emergency_option(verb: _F) -> _F:
    """A reason to break the glass."""
    return click.option(
        "--emergency",
        metavar="REASON",
        default="",
        help="Act first, document after: passes role, hold and gates that may be overridden.",
    )(verb)


def as_option(verb: _F) -> _F:
    """Who reads."""
    return click.option(
        "--as",
        "reader",
        metavar="ROLE[,ROLE]",
        default=None,
        help="Who reads, as PERSON:ROLE or ROLE: what these roles may not read is withheld.",
    )(why_option(verb))


def why_option(verb: _F) -> _F:
    """Why somebody reads."""
    return click.option("--why", default="", help="Why it is read, for the access log.")(verb)


def glass_option(verb: _F) -> _F:
    """A reason to break the glass for reading."""
    return click.option(
        "--emergency",
        metavar="REASON",
        default="",
        help="Read although you have no role here now; the access log marks it.",
    )(verb)


def reader_of(text: str | None) -> Actor | None:
    """`nurse` or `P-1:patient` as a reader; the host itself where nobody is named."""
    if text is None:
        return None
    return actor(text if ":" in text else f"reader:{text}")


def actor(text: str) -> Actor:
    """`ann:nurse,prescriber` as an Actor."""
    person, _, roles = text.partition(":")
    if not person or not roles:
        raise click.UsageError(f'"{text}" is not PERSON:ROLE, such as ann:nurse')
    return Actor(person, {role.strip() for role in roles.split(",")})


def open_clinic(
    ctx: click.Context, db: str, sites: str | None, now: str | None, access: str | None = None
) -> Engine:
    """The clinic of the options."""
    places = _sites(sites)
    clock: Callable[[], datetime] | None = None
    if now is not None:
        at = instant_of(now, places[0])
        clock = lambda: at  # noqa: E731
    at_folder = folder(ctx)
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    return Engine.open(
        db, programs=at_folder, sites=places, access=access, keys=keys(ctx), **options
    )


def _sites(file: str | None) -> list[Site]:
    at = Path(file) if file is not None else Path("sites.yaml")
    if file is None and not at.is_file():
        return [Site()]
    from kat_workflow.language.reader import read

    data = read(str(at), at.read_bytes()).data
    found = data.get("sites", data) if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        raise click.UsageError(f'{at}: write sites as "main: {{zone: America/Los_Angeles}}"')
    sites = []
    for name, about in found.items():
        written: Mapping[str, Any] = about if isinstance(about, Mapping) else {"zone": about}
        zone = str(written.get("zone", "UTC"))
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError) as error:
            raise click.UsageError(f'{at}: "{zone}" is no zone, such as Europe/Vienna') from error
        try:
            sites.append(site_from(str(name), written))
        except ValueError as error:
            raise click.UsageError(f"{at}: {error}") from error
    return sites


def instant_of(text: str, site: Site) -> datetime:
    """An instant as people write it; without an offset it is the site's wall clock."""
    try:
        wall = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f'"{text}" is no instant, such as 2026-03-02T08:30') from error
    if wall.tzinfo is None:
        wall = wall.replace(tzinfo=ZoneInfo(site.zone))
    return wall.astimezone(UTC)


def fill(
    program: Program, phrase: str, pairs: tuple[str, ...], site: Site, form_name: str = ""
) -> dict[str, Any]:
    """`field=value` words as values, read by the types of the form that the phrase records.

    `form_name` is the form where the phrase does not tell it: of a record that is corrected.
    """
    verb, _, name = phrase.partition(" ")
    fields: Mapping[str, Any] = {}
    if verb in ("record", "correct", "attest"):
        step = program.find("steps", name.rpartition("/")[2].rpartition(".")[0] or name)
        full = program.find("steps", name) or step
        form = program.forms.get(form_name or (program.steps[full].form if full else name))
        fields = form.fields if form is not None else {}
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f'"{pair}" is not FIELD=VALUE')
        field = fields.get(key)
        given[key] = _value(text, field.type if field is not None else "", site)
        if key in ("present", "steps"):
            given[key] = tuple(text.split(","))
        elif key == "everywhere":
            given[key] = _value(text, "yes_no", site)
        elif key in ("for", "review_by"):
            given[key] = instant_of(text, site)
    if verb == "attest":
        source = given.pop("source", "")
        given = {"values": given, "source": source}
    return given


def _value(text: str, kind: str, site: Site) -> Any:
    if kind == "yes_no":
        return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
    if kind == "choices":
        return [word for word in text.split(",") if word]
    if kind in ("integer", "duration") and text.lstrip("-").isdigit():
        return int(text)
    if kind == "instant":
        return instant_of(text, site)
    return text


def site_of(engine: Engine, enrollment: str) -> Site:
    """The site of an enrollment."""
    return engine.site_of(enrollment)


def local(at: datetime | None, site: Site) -> str:
    """An instant as the site's wall clock shows it."""
    return "" if at is None else f"{at.astimezone(ZoneInfo(site.zone)):%a %d %b %Y %H:%M}"


# --- commands ---------------------------------------------------------------------------------


@click.command()
@click.argument("program", type=ProgramName())
@click.option("--patient", required=True, help="The patient's id in your clinic.")
@click.option("--site", default=None, help="The site; the first one by default.")
@click.option("--command-id", default=None, help="Makes a retry harmless.")
@by_option
@json_option
@on_clinic
def enroll(
    ctx: click.Context,
    engine: Engine,
    program: str,
    patient: str,
    site: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Begin a program for a patient and print the enrollment's id.

    \b
    Examples:
      kat enroll detox-4-day --patient MRN-1042 --by ann:nurse_practitioner
    """
    place = site or engine.sites[0].name
    id_ = engine.enroll(program, patient=patient, by=actor(by), site=place, command_id=command_id)
    if as_json:
        echo_json({"format": 1, "enrollment": id_})
    else:
        click.echo(id_)


@click.command()
@click.argument("enrollment")
@click.argument("step")
@click.argument("values", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--signed", is_flag=True, help="Sign it in the same act.")
@click.option("--occurred", metavar="INSTANT", help="When it happened, if that was earlier.")
@click.option("--values", "file", type=click.File("r"), help="Values as a JSON file; - reads them.")
@click.option("--command-id", default=None, help="Makes a retry harmless.")
@emergency_option
@by_option
@json_option
@on_clinic
def record(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    step: str,
    values: tuple[str, ...],
    signed: bool,
    occurred: str | None,
    file: Any,
    command_id: str | None,
    emergency: str,
    by: str,
    as_json: bool,
) -> None:
    """Record the form of an open step.

    \b
    Examples:
      kat record e-1f… baseline systolic=128 diastolic=82 pulse=76 --by bo:nurse
      kat record e-1f… intake_evaluation --values intake.json --signed --by ann:nurse_practitioner
    """
    _carry_out(
        ctx, engine, enrollment, f"record {step}", values, signed, occurred, file, command_id,
        emergency, by, as_json,
    )  # fmt: skip


@click.command()
@click.argument("enrollment")
@click.argument("phrase")
@click.argument("details", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--signed", is_flag=True, help="Sign it in the same act.")
@click.option("--occurred", metavar="INSTANT", help="When it happened, if that was earlier.")
@click.option("--reason", default=None, help="Why; the same as reason=….")
@click.option("--command-id", default=None, help="Makes a retry harmless.")
@emergency_option
@by_option
@json_option
@on_clinic
def do(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    phrase: str,
    details: tuple[str, ...],
    signed: bool,
    occurred: str | None,
    reason: str | None,
    command_id: str | None,
    emergency: str,
    by: str,
    as_json: bool,
) -> None:
    """Carry out a phrase: start, dose, release, decline, hold, leave and all the others.

    \b
    Examples:
      kat do e-1f… "start nad_infusion" --by bo:nurse
      kat do e-1f… "dose nad_infusion" "rate=100 mg/h" --by bo:nurse
      kat do e-1f… "decline craving_score" "reason=asleep" --by bo:nurse
      kat do e-1f… "hand over all to cleo" --by bo:nurse
      kat do e-1f… "go emergency_room" --emergency "not breathing" --by bo:nurse
      kat do e-1f… "leave against_advice" "reason=wants to go home" --by bo:nurse
      kat do e-1f… "correct o12" weight=48 --reason "typed wrong" --by bo:nurse
      kat do e-1f… "retract o12" --reason "another patient's" --by bo:nurse
      kat do e-1f… "addend o12" "text=left arm, sitting" --by bo:nurse
      kat do e-1f… "hold high fever" everywhere=yes review_by=2026-03-04T08:00 --by bo:nurse
      kat do e-1f… "change version 1.1.0" "reason=safer limits" --by eve:prescriber
      kat do e-1f… "transfer coast" "reason=a bed is free" --by ann:nurse_practitioner
      kat do e-1f… "offer residential-30-day" steps=intake_evaluation --by ann:nurse_practitioner
      kat do e-7c… "adopt intake_evaluation" --signed --by ann:nurse_practitioner
    """
    _carry_out(
        ctx, engine, enrollment, phrase, details, signed, occurred, None, command_id, emergency,
        by, as_json, reason,
    )  # fmt: skip


def _carry_out(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    phrase: str,
    pairs: tuple[str, ...],
    signed: bool,
    occurred: str | None,
    file: Any,
    command_id: str | None,
    emergency: str,
    by: str,
    as_json: bool,
    reason: str | None = None,
) -> None:
    site = site_of(engine, enrollment)
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = json.load(file)
        except ValueError as error:
            raise click.UsageError(f"the values are no JSON: {error}") from error
        if not isinstance(given, dict):
            raise click.UsageError("the values are no JSON object")
    program = engine.program_of(enrollment)
    given |= fill(program, phrase, pairs, site, _form_of(engine, enrollment, phrase, by))
    if reason is not None:
        corrects = phrase.partition(" ")[0] == "correct"
        given = {"values": given, "reason": reason} if corrects else {**given, "reason": reason}
    try:
        outcome = engine.do(
            enrollment,
            phrase,
            by=actor(by),
            given=given,
            signed=signed,
            occurred=None if occurred is None else instant_of(occurred, site),
            command_id=command_id,
            emergency=emergency,
        )
    except Refused as refused:
        if not as_json:
            raise
        echo_json({"format": 1, "refused": msgspec.to_builtins(refused.refusal)})
        ctx.exit(3)
    if as_json:
        echo_json(
            {"format": 1, "again": outcome.again, "events": msgspec.to_builtins(outcome.events)}
        )
    else:
        show_outcome(outcome, engine.status(enrollment, by=actor(by), why=phrase), site)


def _form_of(engine: Engine, enrollment: str, phrase: str, by: str) -> str:
    """The form of the record that a phrase names by its id; "" where it names none."""
    verb, _, name = phrase.partition(" ")
    if verb != "correct":
        return ""
    known = engine.records(enrollment, by=actor(by), why=phrase)
    return next((r.newest.form for r in known if name in r.ids), "")


def show_outcome(outcome: Outcome, status: Status, site: Site) -> None:
    """What a command did, and what is open now."""
    if outcome.again:
        click.echo("Carried out before; nothing is new.")
    for event in outcome.events:
        words = said(event)
        if words:
            click.echo(f"  {words}")
    open_ = [item.step or item.item for item in status.items if item.timeliness != "early"]
    click.echo(f"Open now: {', '.join(open_) or 'nothing'}")


@click.command()
@click.argument("enrollment")
@click.argument("phrase")
@click.argument("details", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--signed", is_flag=True, help="As if it were signed.")
@click.option("--foresee", is_flag=True, help="Of a hold, or of another version: what it would do.")
@by_option
@json_option
@on_clinic
def why(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    phrase: str,
    details: tuple[str, ...],
    signed: bool,
    foresee: bool,
    by: str,
    as_json: bool,
) -> None:
    """Say what stands in the way of a phrase, and what would clear it. Nothing is written.

    \b
    Examples:
      kat why e-1f… "start nad_infusion" --by bo:nurse
      kat why e-1f… "hold fever" --foresee --by eve:prescriber
      kat why e-1f… "change version 1.1.0" "reason=safer" --foresee --by eve:prescriber
    """
    if foresee:
        verb, _, reason = phrase.partition(" ")
        if phrase.startswith("change version "):
            version = phrase.rpartition(" ")[2]
            _show_version(engine, enrollment, version, details, by, as_json)
            return
        if verb != "hold":
            says = "--foresee tells what a hold or another version would do: write hold REASON"
            raise click.UsageError(f"{says}, or change version VERSION")
        seen = engine.foresee_hold(enrollment, by=actor(by), reason=reason)
        if as_json:
            echo_json({"format": 1, **msgspec.to_builtins(seen)})
        else:
            _show_foresight(seen, site_of(engine, enrollment))
        return
    form = _form_of(engine, enrollment, phrase, by)
    given = fill(engine.program_of(enrollment), phrase, details, site_of(engine, enrollment), form)
    refusal = engine.why(enrollment, phrase, by=actor(by), given=given, signed=signed)
    if as_json:
        echo_json(
            {"format": 1, "refused": None if refusal is None else msgspec.to_builtins(refusal)}
        )
    elif refusal is None:
        click.echo("Nothing stands in the way.")
    else:
        click.echo(refusal.explanation)
    ctx.exit(0 if refusal is None else 3)


def _show_version(
    engine: Engine,
    enrollment: str,
    version: str,
    details: tuple[str, ...],
    by: str,
    as_json: bool,
) -> None:
    """What moving a patient to another version would do."""
    reason = dict(pair.split("=", 1) for pair in details if "=" in pair).get("reason", "")
    seen = engine.foresee_version(enrollment, version, by=actor(by), reason=reason)
    if as_json:
        echo_json({"format": 1, "events": msgspec.to_builtins(seen)})
        return
    for event in seen:
        words = said(event)
        if words:
            click.echo(f"  {words}")


def _show_foresight(seen: Foresight, site: Site) -> None:
    for session in seen.stops:
        click.echo(f"Stops the dose of {session}. The watch goes on.")
    for each in seen.times:
        left = "" if each.remaining is None else f" with {each.remaining} left"
        then = {
            "runs": "runs on",
            "pauses": f"pauses{left}",
            "restarts": f"begins anew: {each.remaining}",
            "clock": "keeps to the clock; not opened under the hold",
        }[each.then]
        click.echo(f"  {each.about} {each.what} {local(each.at, site)}: {then}")
    if not seen.times and not seen.stops:
        click.echo("No time runs that a hold could touch.")


# --- questions --------------------------------------------------------------------------------


@click.command()
@click.option("--role", default=None, help="Only what this role may do.")
@click.option("--site", default=None, help="Only this site.")
@click.option("--patient", default=None, help="Only this patient.")
@click.option("--person", default=None, help="Only what this person has taken on.")
@click.option("--unassigned", is_flag=True, help="Only what nobody has taken on.")
@click.option(
    "--shift", metavar="FROM-TO", default=None, help="The list of a shift, such as 19:00-07:00."
)
@click.option("--limit", default=50, show_default=True, help="How many.")
@as_option
@json_option
@on_clinic
def worklist(
    ctx: click.Context,
    engine: Engine,
    role: str | None,
    site: str | None,
    patient: str | None,
    person: str | None,
    unassigned: bool,
    shift: str | None,
    limit: int,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """List what is open, by when it is due; or what a shift has to do, with what will open in it.

    \b
    Examples:
      kat worklist --role nurse
      kat worklist --role nurse --person bo
      kat worklist --role nurse --shift 19:00-07:00
      kat worklist --role nurse --site main --limit 20 --json
    """
    engine.run_due()
    person = "" if unassigned else person
    if shift is not None:
        if patient is not None:
            raise click.UsageError("the list of a shift is of all patients: leave out --patient")
        place = next((s for s in engine.sites if s.name == site), engine.sites[0])
        start, end = _shift_of(shift, place, engine.now)
        found = engine.shift(
            role,
            site or place.name,
            start=start,
            end=end,
            person=person,
            by=reader_of(reader),
            why=why,
        )
        if as_json:
            echo_json({"format": 1, **msgspec.to_builtins(found)})
            return
        click.echo(f"Shift from {local(start, place)} to {local(end, place)}")
        show_items(engine, found.items)
        if found.coming:
            click.echo("Will open meanwhile:")
            show_items(engine, found.coming)
        return
    page = engine.worklist(
        role,
        site,
        patient=patient,
        person=person,
        limit=limit,
        by=reader_of(reader),
        why=why,
    )
    if as_json:
        echo_json(
            {"format": 1, "items": msgspec.to_builtins(page.items), "more": page.next is not None}
        )
        return
    show_items(engine, page.items)
    if page.next is not None:
        click.echo(f"There is more: --limit {limit * 2}")


def _shift_of(text: str, site: Site, now: datetime) -> tuple[datetime, datetime]:
    """The shift of these clock times that is on now, or else the next one."""
    try:
        first, last = (time.fromisoformat(each) for each in text.split("-"))
    except ValueError as error:
        raise click.UsageError(f'"{text}" is no shift, such as 19:00-07:00') from error
    today = now.astimezone(ZoneInfo(site.zone)).date()
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        start = at_clock(day, first, site)
        end = at_clock(day if last > first else day + timedelta(days=1), last, site)
        if end > now:
            break
    return start, end


def show_items(engine: Engine, items: tuple[OpenItem, ...]) -> None:
    """Work items for people, by when they are due."""
    from rich.table import Table

    whose = ("with",) if any(item.assigned for item in items) else ()
    table = Table("due", "", "what", "patient", "for", *whose, "where", box=None, pad_edge=False)
    for item in items:
        place = site_of(engine, item.enrollment)
        tint = {"late": "red", "early": "dim"}.get(item.timeliness, "")
        taken = f"{item.assigned} from {item.handed_by}" if item.handed_by else item.assigned
        table.add_row(
            local(item.due or item.opens, place),
            item.timeliness,
            item.title,
            item.patient,
            ", ".join(item.roles),
            *(taken for _ in whose),
            item.phase,
            style=tint,
        )
    echo_rich(table)


@click.command()
@click.option("--site", default=None, help="The site; the first one by default.")
@click.option("--all", "everybody", is_flag=True, help="Also who was discharged.")
@as_option
@json_option
@on_clinic
def census(
    ctx: click.Context,
    engine: Engine,
    site: str | None,
    everybody: bool,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """Say who is where, on which day.

    \b
    Examples:
      kat census
      kat census --site main --all --json
    """
    engine.run_due()
    place = site or engine.sites[0].name
    shown = engine.census(place, everybody=everybody, by=reader_of(reader), why=why)
    if as_json:
        echo_json({"format": 1, "residents": msgspec.to_builtins(shown)})
        return
    from rich.table import Table

    table = Table("patient", "program", "standing", "day", "where", "holds", "enrollment", box=None)
    for r in shown:
        day = "" if r.day is None else str(r.day)
        where = ", ".join(r.phases)
        table.add_row(
            r.patient, r.program, r.standing, day, where, ", ".join(r.holds), r.enrollment
        )
    echo_rich(table)


@click.command()
@click.argument("enrollment")
@click.option("--as-known-at", "known", metavar="INSTANT", help="As the record said it then.")
@click.option("--as-true-at", "true", metavar="INSTANT", help="As it was then, by all known now.")
@as_option
@glass_option
@json_option
@on_clinic
def status(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    known: str | None,
    true: str | None,
    reader: str | None,
    why: str,
    emergency: str,
    as_json: bool,
) -> None:
    """Say where a patient stands, what is open and what is waited for.

    \b
    Examples:
      kat status e-1f…
      kat status e-1f… --as-known-at 2026-03-02T08:30
    """
    if known is not None and true is not None:
        raise click.UsageError("say --as-known-at or --as-true-at, not both")
    site = site_of(engine, enrollment)
    found = engine.status(
        enrollment,
        by=reader_of(reader),
        why=why,
        emergency=emergency,
        known_at=None if known is None else instant_of(known, site),
        true_at=None if true is None else instant_of(true, site),
    )
    if as_json:
        echo_json({"format": 1, **msgspec.to_builtins(found)})
    else:
        show_status(found, site_of(engine, enrollment))


def show_status(found: Status, site: Site) -> None:
    """A patient's standing for people."""
    day = "" if found.day is None else f", program day {found.day}"
    ended = f", ended: {found.end}" if found.end else ""
    click.secho(
        f"{found.patient} in {found.program} {found.version}: {found.standing}{day}{ended}",
        bold=True,
    )
    if found.phases:
        click.echo(f"Where: {', '.join(found.phases)}")
    for hold in found.holds:
        click.secho(f"Hold: {hold}", fg="yellow")
    for session in found.sessions:
        dosing = f", dosing {session.dosing}" if session.dosing else ""
        click.echo(f"Session {session.id}: {session.state.replace('_', ' ')}{dosing}")
    for name, order in found.orders.items():
        click.echo(f"Order {name}.{order.number}: {_ordered(order, site)}")
    for item in found.items:
        due = f", due {local(item.due, site)}" if item.due else ""
        opens = f" opens {local(item.opens, site)}" if item.timeliness == "early" else ""
        tint = {"late": "red", "early": "bright_black"}.get(item.timeliness)
        who = ", ".join(item.roles)
        click.secho(f"  [{item.timeliness}] {item.step or item.item}{opens}{due} ({who})", fg=tint)
    for waiting in found.waiting:
        click.echo(f"{waiting.phase} waits for the way to {waiting.to}:")
        for clause in waiting.clauses:
            if clause.truth is not True:
                click.echo(f"    {clause.text}: {clause.unblock or clause.state}")


def _ordered(order: OrderState, site: Site) -> str:
    said = [f"{order.total} {order.unit}"]
    if order.bolus:
        said.append(f"of it {order.bolus} {order.unit} first {_over(order.bolus_over)}".rstrip())
    if order.infusion_over or order.rate:
        said.append(_over(order.infusion_over) or f"at {order.rate}")
    if order.left is not None:
        said.append(f"{order.left} left")
    if order.until is not None:
        said.append(f"until {local(order.until, site)}")
    return ", ".join(said)


def _over(time: str) -> str:
    return f"over {time}" if time else ""


@click.command()
@click.argument("enrollment")
@as_option
@glass_option
@json_option
@on_clinic
def history(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    reader: str | None,
    why: str,
    emergency: str,
    as_json: bool,
) -> None:
    """Tell everything that happened, in order.

    \b
    Examples:
      kat history e-1f…
      kat history e-1f… --as nurse
      kat history e-1f… --json
    """
    by = reader_of(reader)
    happened = engine.history(enrollment, by=by, why=why, emergency=emergency)
    if as_json:
        echo_json({"format": 1, "entries": msgspec.to_builtins(happened)})
        return
    site = site_of(engine, enrollment)
    marks = _marks(engine, enrollment, by, why)
    for each in happened:
        words = said(each.event) + marks.get(each.version, "")
        if words:
            who = f"{each.person} ({each.role})" if each.role else each.person
            click.echo(f"{each.version:5d}  {local(each.recorded, site)}  {who}: {words}")


def _marks(engine: Engine, enrollment: str, by: Actor | None, why: str) -> dict[int, str]:
    """What is said beside the entries of records: their ids, and what became of them."""
    marks: dict[int, str] = {}
    for record in engine.records(enrollment, by=by, why=why):
        ids = record.ids
        for at, version in enumerate(record.versions):
            marks[version.entry] = f" [{ids[at]}]"
            if at + 1 < len(ids):
                marks[version.entry] = f" [{ids[at]}, corrected by {ids[at + 1]}]"
            elif record.retracted is not None:
                marks[version.entry] = f" [{ids[at]}, entered in error]"
    return marks


@click.command("signatures")
@click.argument("enrollment")
@as_option
@json_option
@on_clinic
def list_signatures(
    ctx: click.Context,
    engine: Engine,
    enrollment: str,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """List every signature, and whether the record still holds what was signed.

    \b
    Examples:
      kat signatures e-1f…
    """
    found = engine.signatures(enrollment, by=reader_of(reader), why=why)
    if as_json:
        echo_json({"format": 1, "signatures": msgspec.to_builtins(found)})
        return
    site = site_of(engine, enrollment)
    for each in found:
        held = {True: "holds", False: "DOES NOT HOLD", None: "not bound to a content"}[each.valid]
        for_ = f" for {each.acting_for}" if each.acting_for else ""
        click.secho(
            f"{local(each.at, site)}  {each.name} ({each.role}{for_}): "
            f"{each.meaning or each.as_} {each.item or each.record}: {held}",
            fg="red" if each.valid is False else None,
        )


@click.command()
@click.argument("person")
@click.argument("role")
@click.option("--until", required=True, metavar="INSTANT", help="When it ends.")
@click.option("--since", metavar="INSTANT", help="When it begins; now by default.")
@click.option("--for", "acting_for", default="", metavar="PERSON", help="For whom it is held.")
@click.option("--reason", default="", help="Why.")
@click.option("--site", default=None, help="The site; the first one by default.")
@click.option("--command-id", default=None, help="Makes a retry harmless.")
@by_option
@json_option
@on_clinic
def cover(
    ctx: click.Context,
    engine: Engine,
    person: str,
    role: str,
    until: str,
    since: str | None,
    acting_for: str,
    reason: str,
    site: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Let a person hold a role at a site for a while; whoever says so holds it themselves.

    \b
    Examples:
      kat cover bo prescriber --until 2026-03-03T08:00 --reason "night duty" --by paul:prescriber
    """
    place = next((each for each in engine.sites if each.name == site), engine.sites[0])
    id_ = engine.grant_cover(
        person,
        role,
        by=actor(by),
        until=instant_of(until, place),
        reason=reason,
        since=None if since is None else instant_of(since, place),
        acting_for=acting_for,
        site=site or place.name,
        command_id=command_id,
    )
    if as_json:
        echo_json({"format": 1, "cover": id_})
    else:
        click.echo(id_)


@click.command()
@click.argument("patient")
@as_option
@glass_option
@json_option
@on_clinic
def patient(
    ctx: click.Context,
    engine: Engine,
    patient: str,
    reader: str | None,
    why: str,
    emergency: str,
    as_json: bool,
) -> None:
    """Show a patient across programs, under whichever of their ids.

    \b
    Examples:
      kat patient MRN-1042
    """
    found = engine.patient(patient, by=reader_of(reader), why=why, emergency=emergency)
    if as_json:
        echo_json({"format": 1, **msgspec.to_builtins(found)})
    else:
        _show_patient(engine, found)


def _show_patient(engine: Engine, found: PatientView) -> None:
    """A patient for people; instants are those of each enrollment's own site."""
    sites = {site.name: site for site in engine.sites}
    also = f" (also {', '.join(found.merged)})" if found.merged else ""
    click.secho(f"{found.patient}{also}", bold=True)
    for course in found.courses:
        place = sites.get(course.site, engine.sites[0])
        over = f"{course.end} on {local(course.ended, place)}" if course.end else "in treatment"
        under = f" as {course.patient}" if course.patient != found.patient else ""
        began = local(course.began, place)
        click.echo(
            f"  {course.enrollment}  {course.program} at {course.site}{under}: {began}, {over}"
        )
    for session in found.sessions:
        click.echo(f"Session {session.session} of {session.program} is not over")
    for hold in found.holds:
        click.secho(f"Hold everywhere: {hold.hold} of {hold.program} ({hold.reason})", fg="yellow")
    for each in found.offered:
        evaluation = each.evaluation
        click.echo(f"Handed over to {each.to}: {evaluation.step} of {each.program}")


def _linking(verb: _F) -> _F:
    """What merging and unmerging ask."""
    for option in (
        json_option,
        by_option,
        click.option("--command-id", default=None, help="Makes a retry harmless."),
        click.option("--reason", required=True, help="Why."),
        click.argument("duplicate"),
        click.argument("survivor"),
    ):
        verb = option(verb)
    return verb


@click.command()
@_linking
@on_clinic
def merge(
    ctx: click.Context,
    engine: Engine,
    survivor: str,
    duplicate: str,
    reason: str,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Say that two ids are one patient; nothing is deleted, and unmerge takes it back.

    \b
    Examples:
      kat merge MRN-1042 MRN-2977 --reason "same birth certificate" --by ann:nurse
    """
    found = engine.merge(survivor, duplicate, by=actor(by), reason=reason, command_id=command_id)
    if as_json:
        echo_json({"format": 1, **msgspec.to_builtins(found)})
    else:
        _show_patient(engine, found)


@click.command()
@_linking
@on_clinic
def unmerge(
    ctx: click.Context,
    engine: Engine,
    survivor: str,
    duplicate: str,
    reason: str,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Say that they are two patients after all.

    \b
    Examples:
      kat unmerge MRN-1042 MRN-2977 --reason "twins" --by ann:nurse
    """
    engine.unmerge(survivor, duplicate, by=actor(by), reason=reason, command_id=command_id)
    both = [engine.patient(each, by=actor(by), why=reason) for each in (survivor, duplicate)]
    if as_json:
        echo_json({"format": 1, "patients": msgspec.to_builtins(both)})
        return
    for found in both:
        _show_patient(engine, found)


@click.command()
@click.option("--after", default=0, metavar="POSITION", help="What was sent last; 0: everything.")
@click.option("--limit", default=100, show_default=True, help="How many at the most.")
@as_option
@json_option
@on_clinic
def outbox(
    ctx: click.Context,
    engine: Engine,
    after: int,
    limit: int,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """List whom somebody is to tell, since a position. Nothing is sent.

    Each notification has a key of its own: send it once. Keep the position that is printed last,
    and ask from there the next time. A machine that sends names nobody, and waits for no access
    log; a person who reads says --as.

    \b
    Examples:
      kat outbox
      kat outbox --after 1840 --json
    """
    engine.run_due()
    found = engine.outbox(after, limit)
    if reader is not None:
        them = (each.enrollment for each in found.notifications)
        engine.looked("outbox", them, by=reader_of(reader), why=why)
    if as_json:
        echo_json({"format": 1, **msgspec.to_builtins(found)})
        return
    for each in found.notifications:
        site = site_of(engine, each.enrollment)
        until = f", until {local(each.urgent_until, site)}" if each.urgent_until else ""
        again = f" (call {each.level + 1})" if each.level else ""
        click.echo(f"{each.key}  {', '.join(each.roles)}{again}: {each.says}{until}")
    click.echo(f"Next: --after {found.next}")


@click.command("run-due")
@click.option("--watch", is_flag=True, help="Go on, each timer when it is due, until interrupted.")
@on_clinic
def run_due(ctx: click.Context, engine: Engine, watch: bool) -> None:
    """Run the timers that are due: what is missed, late or called for is then in the record.

    No outcome depends on it, since every command catches up first. It keeps worklists, the
    census and the outbox true while nobody writes. Several may run at once, on one record.

    \b
    Examples:
      kat run-due
      kat run-due --watch
    """
    click.echo(f"{engine.run_due()} timers were run")
    if watch:
        from threading import Event

        with engine.scheduler():
            click.echo("Watching; an interrupt ends it.")
            Event().wait()


COMMANDS = {
    "enroll": enroll,
    "run-due": run_due,
    "outbox": outbox,
    "record": record,
    "do": do,
    "why": why,
    "worklist": worklist,
    "census": census,
    "status": status,
    "history": history,
    "signatures": list_signatures,
    "cover": cover,
    "patient": patient,
    "merge": merge,
    "unmerge": unmerge,
}
