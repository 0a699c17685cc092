"""Wake-ups in the database: every commit that moves one arms it, in the same transaction.

Two triggers on the journal's table of streams call the SQL function of DBOS that enqueues a
workflow. So whoever commits (a web host, the command line, an import, an administrator by hand)
arms the wake-up with the entries or not at all, without another round trip, and needs neither
DBOS nor any right on its tables. The row names the enrollment and the instant, nothing else.

A wake-up is a hint. Whoever gets it asks the journal what is due; what is stale finds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from dbos import DBOS
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kat_workflow.errors import JournalError

APPLICATION = "kat-workflow"
QUEUE = "kat_wakes"
WORKFLOW = "kat_wake"
PROTOCOL = "kat-1"
"""What a wake-up means: workers of one protocol run each other's. It changes with the arguments
or the meaning of the workflow, not with a release."""

_SESSION = {
    # A host that is cut off is noticed by both sides within some ten seconds, not two hours.
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": APPLICATION,
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=10000",
}
_TABLE = """CREATE TABLE IF NOT EXISTS kat_workers (
    executor TEXT PRIMARY KEY,
    lock BIGINT NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    ahead DOUBLE PRECISION NOT NULL,
    started TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen TIMESTAMPTZ NOT NULL DEFAULT now())"""
# Whoever writes the journal need not know the tables of DBOS: the function acts as its owner.
_WAKE_UP = sql.SQL(
    """CREATE OR REPLACE FUNCTION kat_wake_up(enrollment TEXT, wake BIGINT, id TEXT)
RETURNS TEXT LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT dbos.enqueue_workflow(
        workflow_name => {workflow},
        queue_name => {queue},
        positional_args => ARRAY[to_json(enrollment), to_json(wake)],
        workflow_id => id,
        queue_partition_key => enrollment,
        delay_until_epoch_ms =>
            CASE WHEN wake > extract(epoch FROM clock_timestamp()) * 1000000
            THEN (wake + 999) / 1000 END,
        application_name => {application})
$$"""
).format(workflow=WORKFLOW, queue=QUEUE, application=APPLICATION)
_ARM = """CREATE OR REPLACE FUNCTION kat_arm() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE enrollment TEXT := substr(NEW.stream, 12);
BEGIN
    PERFORM {schema}.kat_wake_up(
        enrollment, NEW.wake, 'wake:' || enrollment || ':' || NEW.version || ':' || NEW.wake);
    RETURN NULL;
END $$"""
_ARMED = "NEW.wake IS NOT NULL AND NEW.stream LIKE 'enrollment:%'"
_TRIGGERS = (
    f"""CREATE TRIGGER kat_arm_new AFTER INSERT ON kat_streams
    FOR EACH ROW WHEN ({_ARMED}) EXECUTE FUNCTION kat_arm()""",
    f"""CREATE TRIGGER kat_arm_moved AFTER UPDATE OF wake ON kat_streams
    FOR EACH ROW WHEN ({_ARMED} AND NEW.wake IS DISTINCT FROM OLD.wake)
    EXECUTE FUNCTION kat_arm()""",
)
_MISSING = """SELECT count(*) < 2 FROM pg_trigger
    WHERE tgrelid = to_regclass('kat_streams') AND tgname IN ('kat_arm_new', 'kat_arm_moved')"""
_ARM_ALL = """SELECT count(kat_wake_up(substr(stream, 12), wake,
        'wake:' || substr(stream, 12) || ':' || version || ':' || wake))
    FROM kat_streams WHERE wake IS NOT NULL AND stream LIKE 'enrollment:%'"""
_INSTALLING = 0x6B61745F696E


def session(url: str) -> dict[str, Any]:
    """What a session of a worker is opened with, beside what the URL says itself."""
    given = conninfo_to_dict(url)
    return {key: value for key, value in _SESSION.items() if key not in given}


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A session that commits each statement by itself. Raises JournalError."""
    try:
        return psycopg.connect(make_conninfo(url, **session(url)), autocommit=True)
    except psycopg.Error as error:
        raise JournalError(f"the database cannot be reached: {error}") from None


def install(url: str) -> int:
    """Make the tables of DBOS and the triggers, where they are not; how many wake-ups it armed.

    The journal is there already. What waits in it is armed in the transaction that makes the
    triggers, so that no commit falls between. Done by several workers at once, or again, it
    does nothing more.
    """
    with connect(url) as connection, translated("prepare the cluster"):
        # To the session's end. It is asked for again and again, since a statement that waits for
        # it would be waited for by DBOS, which makes its indexes concurrently.
        taken = "SELECT pg_try_advisory_lock(%s)"
        while connection.execute(taken, (_INSTALLING,)).fetchone() != (True,):
            time.sleep(0.1)
        DBOS.migrate(url)
        with connection.transaction():
            connection.execute(_TABLE)
            connection.execute(_WAKE_UP)
            (schema,) = connection.execute("SELECT current_schema()").fetchone() or ("public",)
            connection.execute(sql.SQL(_ARM).format(schema=sql.Identifier(schema)))
            (missing,) = connection.execute(_MISSING).fetchone() or (True,)
            if not missing:
                return 0
            for name in ("kat_arm_new", "kat_arm_moved"):
                connection.execute(
                    sql.SQL("DROP TRIGGER IF EXISTS {} ON kat_streams").format(sql.Identifier(name))
                )
            for trigger in _TRIGGERS:
                connection.execute(trigger)
            (armed,) = connection.execute(_ARM_ALL).fetchone() or (0,)
            return int(armed)


def remove(url: str) -> None:
    """Take the triggers away: commits arm nothing any more, timers are the host's own affair."""
    with connect(url) as connection, translated("leave the cluster"):
        for name in ("kat_arm_new", "kat_arm_moved"):
            connection.execute(
                sql.SQL("DROP TRIGGER IF EXISTS {} ON kat_streams").format(sql.Identifier(name))
            )


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """A driver's error as ours; its text may quote what was written, so only its kind is told."""
    try:
        yield
    except psycopg.Error as error:
        kind = error.sqlstate or type(error).__name__
        raise JournalError(f"the database did not {doing}: {kind}") from None
