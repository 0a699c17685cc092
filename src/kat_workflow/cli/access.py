"""The verb `access`: who looked at whom, and what of a patient went outside."""

from __future__ import annotations

import click
import msgspec

from kat_workflow.cli.patients import instant_of, local, on_clinic
from kat_workflow.cli.screen import echo_json, json_option
from kat_workflow.engine import Engine
from kat_workflow.engine.access import Look
from kat_workflow.program.clock import Site

__all__ = ["COMMANDS"]


@click.command()
@click.option("--patient", default=None, help="Everybody who looked at this patient.")
@click.option("--person", default=None, help="Everything that this person looked at.")
@click.option("--emergencies", is_flag=True, help="Only where somebody broke the glass.")
@click.option(
    "--disclosures", is_flag=True, help="Of a patient: the accounting of what went outside."
)
@click.option("--since", metavar="INSTANT", help="Not what was before.")
@json_option
@on_clinic
def access(
    ctx: click.Context,
    engine: Engine,
    patient: str | None,
    person: str | None,
    emergencies: bool,
    disclosures: bool,
    since: str | None,
    as_json: bool,
) -> None:
    """Say who looked at a patient, when and why; or what of a patient went outside.

    \b
    Examples:
      kat access --access access.db --patient MRN-1042
      kat access --access access.db --patient MRN-1042 --disclosures --since 2023-03-02
      kat access --access access.db --person bo
      kat access --access access.db --emergencies
    """
    log = engine.access
    if log is None:
        raise click.UsageError("name the access log: --access FILE, or KAT_ACCESS")
    if (patient is None) == (person is None and not emergencies):
        raise click.UsageError("say --patient ID, or else --person NAME or --emergencies")
    if disclosures and patient is None:
        raise click.UsageError("--disclosures are of a patient: say --patient ID")
    place = engine.sites[0]
    start = None if since is None else instant_of(since, place)
    if patient is not None:
        ids = engine.patient_ids(patient)
        found = (log.disclosures if disclosures else log.of_patient)(*ids, since=start)
    elif person is not None:
        found = log.by_person(person, start)
        found = tuple(look for look in found if look.emergency or not emergencies)
    else:
        found = log.broken(start)
    if as_json:
        echo_json({"format": 1, "looks": msgspec.to_builtins(found)})
        return
    for look in found:
        click.secho(_line(look, place), fg="yellow" if look.emergency else None)


def _line(look: Look, place: Site) -> str:
    who = look.person or "the host itself"
    roles = f" ({', '.join(look.roles)})" if look.roles else ""
    whom = look.enrollment or ", ".join(look.patients) or "nobody"
    to = f" for {look.recipient}" if look.recipient else ""
    why = f": {look.why}" if look.why else ""
    glass = f" [glass broken: {look.emergency}]" if look.emergency else ""
    return f"{local(look.at, place)}  {who}{roles} {look.through} of {whom}{to}{why}{glass}"


COMMANDS = {"access": access}
