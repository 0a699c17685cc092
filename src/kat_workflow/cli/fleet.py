"""Verbs for many hosts: a worker of the fleet, and how the fleet is."""

from __future__ import annotations

import logging
import os
import signal
import sys
from threading import Event
from typing import TYPE_CHECKING

import click
import msgspec

from kat_workflow.cli.patients import open_clinic
from kat_workflow.cli.screen import echo_json, echo_rich, json_option, takes_keys, takes_programs
from kat_workflow.errors import JournalError, handling

if TYPE_CHECKING:
    from kat_workflow.cluster import ClusterStatus

__all__ = ["COMMANDS"]

MUST_LOOK = handling(JournalError("")).exit_code


@click.command()
@click.argument("url")
@click.option(
    "--sites",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    envvar="KAT_SITES",
    help="A YAML file of all sites and their zones (or KAT_SITES); else ./sites.yaml.",
)
@click.option("--name", default="", metavar="NAME", help="What it is called; else as its host.")
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=3),
    metavar="SECONDS",
    help="Arm again what is overdue by more and not in the queue.",
)
@takes_programs
@takes_keys
@click.pass_context
def worker(ctx: click.Context, url: str, sites: str | None, name: str, grace: float) -> None:
    """Run the timers of a PostgreSQL record, together with all other workers on it.

    Start as many as you like, on any hosts; one is enough, two bear the loss of one. All of them
    know all sites. SIGTERM or an interrupt lets it finish what it has in hand, and stops it.

    \b
    Examples:
      kat worker postgresql://kat@db.example/clinic --sites sites.yaml
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise click.UsageError(f'"{url}" is no postgresql:// URL; for a file see kat run-due')
    from kat_workflow.cluster import Worker
    from kat_workflow.journal.encrypting import EncryptedJournal

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    ended = Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with open_clinic(ctx, url, sites, None) as engine:
        if isinstance(engine.journal, EncryptedJournal):
            engine.journal.unlocked()
        fleet = Worker(engine, url, name=name, grace=grace)
        fleet.start()
        click.echo(f"Worker {fleet.name} runs; SIGTERM or an interrupt stops it.")
        try:
            ended.wait()
        except KeyboardInterrupt:
            click.echo()
        drained = fleet.stop()
        click.echo("Stopped." if drained else "Stopped; what it had in hand, others take over.")
    # A thread may still sleep before another try, for half a minute. It has nothing to lose.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@click.group()
def cluster() -> None:
    """Look after the workers on a PostgreSQL record.

    \b
    Examples:
      kat cluster status postgresql://kat@db.example/clinic
    """


@cluster.command("status")
@click.argument("url")
@click.option(
    "--lag",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How far behind is too far.",
)
@json_option
@click.pass_context
def status_(ctx: click.Context, url: str, lag: float, as_json: bool) -> None:
    """Show workers, how far they are behind, orphans and failures.

    It leaves with 5 if there is anything that somebody must look at, so that a watchdog can ask.

    \b
    Examples:
      kat cluster status postgresql://kat@db.example/clinic
      kat cluster status postgresql://kat@db.example/clinic --lag 300 --json
    """
    from kat_workflow.cluster import status

    seen = status(url, lag)
    if as_json:
        echo_json(msgspec.to_builtins(seen))
    else:
        _show(seen)
    if seen.alarms:
        ctx.exit(MUST_LOOK)


def _show(seen: ClusterStatus) -> None:
    from rich.table import Table

    if seen.workers:
        table = Table("worker", "process", "since", "seen", "clock", "standing", box=None)
        for one in seen.workers:
            table.add_row(
                one.name,
                f"{one.process} on {one.host}",
                f"{one.started:%Y-%m-%d %H:%M:%S}",
                f"{one.seen:%H:%M:%S}",
                f"{one.ahead:+.3f} s",
                one.standing,
            )
        echo_rich(table)
    click.echo(f"{seen.armed} enrollments wait for an instant; {seen.overdue} are overdue,")
    click.echo(f"the oldest by {seen.lag:.1f} s.")
    click.echo(
        f"Wake-ups: {seen.queued} queued, {seen.running} running, {seen.orphans} orphaned,"
        f" {seen.errors} failed."
    )
    for alarm in seen.alarms:
        click.echo(f"LOOK: {alarm}", err=True)


COMMANDS = {"worker": worker, "cluster": cluster}
