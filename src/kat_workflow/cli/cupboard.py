"""The verbs about drugs: receive, count, stock, ledger, lots."""

from __future__ import annotations

from datetime import date, datetime
from typing import get_args

import click
import msgspec

from kat_workflow.cli.patients import actor, as_option, by_option, local, on_clinic, reader_of
from kat_workflow.cli.screen import echo_json, echo_rich, json_option
from kat_workflow.cli.telling import said
from kat_workflow.engine import Engine
from kat_workflow.enrollment import events as e
from kat_workflow.program import Schedule

__all__ = ["COMMANDS"]


@click.command()
@click.argument("drug")
@click.argument("lot")
@click.argument("amount")
@click.option("--supplier", default="", help="Who supplied it.")
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d"]),
    default=None,
    metavar="DATE",
    help="The last date on which it may be used.",
)
@click.option("--form", default="", help="Its finished form: solution for injection, tablet.")
@click.option("--strength", default="", help="How strong: 50 mg/mL, or 8 mg of a tablet.")
@click.option("--container", default="", help="What it comes in: 10 mL vial.")
@click.option("--containers", default=0, help="How many of them.")
@click.option(
    "--schedule", type=click.Choice(get_args(Schedule)), default=None, help="That of the drug."
)
@click.option("--witness", default="", metavar="PERSON", help="A second person who was there.")
@click.option("--site", default=None, help="The site; the first one by default.")
@click.option("--command-id", default=None, help="Makes a retry harmless.")
@by_option
@json_option
@on_clinic
def receive(
    ctx: click.Context,
    engine: Engine,
    drug: str,
    lot: str,
    amount: str,
    supplier: str,
    expires: datetime | None,
    form: str,
    strength: str,
    container: str,
    containers: int,
    schedule: str | None,
    witness: str,
    site: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Take some of a lot into a site's drug cupboard.

    \b
    Of a scheduled drug its record asks for form, strength, container, how many, and for the
    supplier (name, address, registration number).

    \b
    Examples:
      kat receive NAD+ A17 "5 g" --supplier compounder --expires 2027-03-31 --by bo:nurse
      kat receive ketamine K1042 "500 mg" --schedule III --form "solution for injection" \\
          --strength "50 mg/mL" --container "10 mL vial" --containers 1 --supplier Hospira \\
          --witness ann --by bo:nurse
    """
    last: date | None = None if expires is None else expires.date()
    events = engine.receive(
        drug,
        lot,
        amount,
        by=actor(by),
        site=site or engine.sites[0].name,
        supplier=supplier,
        expires=last,
        product=e.Product(form, strength, container, schedule or ""),
        containers=containers,
        witness=witness,
        command_id=command_id,
    )
    _done(events, as_json)


@click.command()
@click.argument("drug")
@click.argument("lot")
@click.argument("found")
@click.option("--reason", default="", help="Why it is not what should be there.")
@click.option("--witness", default="", metavar="PERSON", help="A second person who was there.")
@click.option("--site", default=None, help="The site; the first one by default.")
@click.option("--command-id", default=None, help="Makes a retry harmless.")
@by_option
@json_option
@on_clinic
def count(
    ctx: click.Context,
    engine: Engine,
    drug: str,
    lot: str,
    found: str,
    reason: str,
    witness: str,
    site: str | None,
    command_id: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Say how much of a lot was found in the cupboard.

    \b
    Examples:
      kat count ketamine K1042 "450 mg" --reason "a vial broke" --by bo:nurse
    """
    place = site or engine.sites[0].name
    events = engine.count(
        drug,
        lot,
        found,
        by=actor(by),
        site=place,
        reason=reason,
        witness=witness,
        command_id=command_id,
    )
    _done(events, as_json)


def _done(events: tuple[e.Event, ...], as_json: bool) -> None:
    if as_json:
        echo_json({"format": 1, "events": msgspec.to_builtins(events)})
    else:
        for event in events:
            click.echo(said(event))


@click.command()
@click.option("--site", default=None, help="The site; the first one by default.")
@json_option
@on_clinic
def stock(ctx: click.Context, engine: Engine, site: str | None, as_json: bool) -> None:
    """Say what is in a site's drug cupboard, and what is out and not accounted for.

    \b
    Examples:
      kat stock
      kat stock --site main --json
    """
    cupboard = engine.cupboard(site or engine.sites[0].name)
    if as_json:
        lots = [_fields(lot) for lot in cupboard.lots.values()]
        out = {about: _fields(each) for about, each in cupboard.out.items()}
        echo_json({"format": 1, "lots": lots, "out": out})
        return
    from rich.table import Table

    table = Table("drug", "lot", "there", "supplier", "expires", box=None, pad_edge=False)
    for lot in cupboard.lots.values():
        there = f"{lot.on_hand} {lot.unit}"
        table.add_row(lot.drug, lot.lot, there, lot.supplier, str(lot.expires or ""))
    echo_rich(table)
    for about, out_ in cupboard.out.items():
        waits = f"; no witness yet for {', '.join(out_.unwitnessed)}" if out_.unwitnessed else ""
        click.secho(f"Out for {about}: {out_.drug}, {out_}{waits}", fg="yellow")


def _fields(value: msgspec.Struct) -> dict[str, object]:
    """A row with its names: rows are stored without."""
    return {key: msgspec.to_builtins(getattr(value, key)) for key in value.__struct_fields__}


@click.command()
@click.option("--site", default=None, help="The site; the first one by default.")
@click.option("--drug", default="", help="Only of this drug.")
@click.option("--schedule", type=click.Choice(get_args(Schedule)), default=None, help="Only of it.")
@as_option
@json_option
@on_clinic
def ledger(
    ctx: click.Context,
    engine: Engine,
    site: str | None,
    drug: str,
    schedule: str | None,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """Show the controlled-drug ledger of a site: what came, went and was wasted, and by whom.

    \b
    Each line has product, amount and volume, patient, date and person. Name and address of a
    patient stand with the host, under the patient's id.

    \b
    Examples:
      kat ledger
      kat ledger --schedule III --json
    """
    place = site or engine.sites[0].name
    happened = engine.ledger(place, drug, schedule or "", by=reader_of(reader), why=why)
    if as_json:
        echo_json({"format": 1, "entries": msgspec.to_builtins(happened)})
        return
    its = next(each for each in engine.sites if each.name == place)
    for each in happened:
        event = each.event
        assert isinstance(event, e.StockReceived | e.StockCounted | e.LotUsed)
        product = event.product
        what = ", ".join(filter(None, (product.form, product.strength, product.container)))
        about, who = "", each.person
        if isinstance(event, e.LotUsed):
            about = f", patient {event.patient} ({event.enrollment}/{event.about})"
            who = f"{event.name or each.person}" + (f", {event.role}" if event.role else "")
        when = local(event.at, its)
        click.echo(f"{when}  {said(event)}{f' [{what}]' if what else ''}{about}; {who}")


@click.command()
@click.argument("lot")
@click.option("--drug", default="", help="Only of this drug.")
@as_option
@json_option
@on_clinic
def lots(
    ctx: click.Context,
    engine: Engine,
    lot: str,
    drug: str,
    reader: str | None,
    why: str,
    as_json: bool,
) -> None:
    """Tell everything that happened to a lot: who got how much of it, and when.

    \b
    Examples:
      kat lots K1042
      kat lots K1042 --drug ketamine --json
    """
    happened = engine.lots(lot, drug, by=reader_of(reader), why=why)
    if as_json:
        echo_json({"format": 1, "entries": msgspec.to_builtins(happened)})
        return
    places = {site.name: site for site in engine.sites}
    for each in happened:
        name = each.stream.partition(":")[2]
        about = ""
        if isinstance(each.event, e.LotUsed):
            about = f", patient {each.event.patient} ({each.event.enrollment}/{each.event.about})"
        when = local(each.recorded, places[name]) if name in places else f"{each.recorded}"
        click.echo(f"{when}  {name}  {each.person}: {said(each.event)}{about}")


COMMANDS = {"receive": receive, "count": count, "stock": stock, "ledger": ledger, "lots": lots}
