"""What the PostgreSQL journal owes to operations: lost servers, locks, hosts, other processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest
from journal_cases import NOON, causes, item, write, writer
from postgres import Databases, Server
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from kat_workflow.errors import Conflict, JournalError
from kat_workflow.journal import Append, Cursor, Journal, open_journal
from kat_workflow.journal.postgres import SCHEMA_VERSION, PostgresJournal

A, B = "enrollment:a", "enrollment:b"
FIRST = Append(A, 0, (b"1",), b"row1", NOON, items=(item("vitals", A),))
SECOND = Append(A, 1, (b"2" * 9000,), b"row2", items_gone=("vitals",))
MARKER = "told-in-confidence"


@pytest.fixture
def url(database: str) -> str:
    """A database that holds the first command, and nobody is connected to it."""
    with PostgresJournal(database) as journal:
        write(journal, FIRST)
    return database


@pytest.fixture
def host(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A host's own connection to the same database, with a table of the host in it."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE bed (name TEXT)")
        connection.commit()
        yield connection


def holds_the_first_command_only(journal: Journal) -> bool:
    return (
        [e.body for e in journal.follow(0, 9)] == [b"1"]
        and journal.row(A) == (1, b"row1")
        and journal.due(NOON, 9) == [(A, NOON)]
        and journal.worklist() == ([item("vitals", A)], None)
    )


def beds(connection: psycopg.Connection[Any]) -> list[Any]:
    return connection.execute("SELECT name FROM bed").fetchall()


def do(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


# Kept


def test_what_was_written_is_there_when_the_database_is_opened_again(url: str) -> None:
    with open_journal(url) as journal:
        assert holds_the_first_command_only(journal)
        assert write(journal, FIRST).again


def test_an_append_is_one_round_trip_and_so_is_every_question(url: str, tmp_path: Path) -> None:
    both = (item("vitals", A), item("scores", A))
    with PostgresJournal(url) as journal:
        write(journal, Append(A, 1, (b"2",)), command="c2")  # the statements are prepared once
        journal.version(A)
        session = journal._sessions.get()
        assert session is not None
        journal._sessions.put(session)
        with (tmp_path / "trace").open("w") as trace:
            session.connection.pgconn.trace(trace.fileno())
            write(
                journal,
                Append(A, 2, (b"3", b"4"), b"row", NOON, items=both),
                Append(B, 0, (b"1",), values=(b"{}",)),
                command="c3",
            )
            journal.version(A)
            session.connection.pgconn.untrace()

    said = (tmp_path / "trace").read_text()
    assert said.count("ReadyForQuery") == 2
    assert said.count("Parse\t") == 0


def test_commits_are_forced_to_the_disk_whatever_the_database_is_set_to(url: str) -> None:
    name = conninfo_to_dict(url)["dbname"]
    do(
        url,
        f"ALTER DATABASE {name} SET synchronous_commit = off",
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'",
    )

    with PostgresJournal(url) as journal:
        assert journal._select("SHOW synchronous_commit", ()) == [("on",)]
        assert journal._select("SHOW transaction_isolation", ()) == [("read committed",)]


def test_the_driver_is_loaded_only_by_who_opens_a_database() -> None:
    look = (
        "import sys, kat_workflow.journal as j; j.open_journal(); print('psycopg' in sys.modules)"
    )

    assert run(look) == "False\n"


def test_without_the_driver_the_extra_that_brings_it_is_named() -> None:
    look = """
import sys
sys.modules["psycopg"] = None
from kat_workflow.errors import JournalError
from kat_workflow.journal import open_journal
try:
    open_journal("postgresql://nowhere/x")
except JournalError as error:
    print(error)
"""

    assert "pip install 'kat-workflow[postgres]'" in run(look)


def run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("asked", [{"role": "nurse", "site": "main"}, {"site": "main"}])
def test_a_page_of_a_site_s_worklist_is_one_stretch_of_an_index(
    url: str, asked: dict[str, Any]
) -> None:
    plan = plan_of_second_page(url, asked)

    index = "kat_items_role" if "role" in asked else "kat_items_site"
    assert f"Index Scan using {index} on kat_items" in plan
    # The cursor is a bound of the search, not a filter, and nothing is sorted.
    (bounds,) = [line for line in plan.splitlines() if "Index Cond" in line]
    assert "sort" in bounds
    assert "Filter" not in plan
    assert "Sort" not in plan


def test_how_to_find_the_first_page_of_a_long_list_is_planned_once_and_not_for_each_question(
    url: str,
) -> None:
    """A limit that stood among the values was planned for each time, for longer than it took."""
    many = tuple(item(f"i{number:04d}", A, site="main") for number in range(2000))
    with psycopg.connect(url) as connection, PostgresJournal(connection=connection) as journal:
        write(journal, Append(A, 1, (b"2",), items=many), command="c2")
        connection.execute("ANALYZE kat_items")

        for _ in range(20):
            page, after = journal.worklist(role="nurse", site="main")

        planned = connection.execute(
            """SELECT generic_plans, custom_plans FROM pg_prepared_statements
            WHERE statement LIKE '%FROM kat_items%'"""
        ).fetchall()
    assert (len(page), after is not None) == (50, True)
    assert planned == [(15, 5)]


@pytest.mark.parametrize("more", [{}, {"site": "main"}, {"role": "nurse", "site": "main"}])
@pytest.mark.parametrize(
    ("few", "index"),
    [({"patient": "p1"}, "kat_items_patient"), ({"stream": A}, "kat_items_pkey")],
)
def test_the_items_of_a_patient_or_a_stream_are_found_without_the_site_s(
    url: str, few: dict[str, Any], index: str, more: dict[str, Any]
) -> None:
    plan = plan_of_second_page(url, {**few, **more})

    assert index in plan
    assert "kat_items_role" not in plan
    assert "kat_items_site" not in plan


def plan_of_second_page(url: str, asked: dict[str, Any]) -> str:
    """How PostgreSQL finds what the journal asks it for, among many items."""
    do(
        url,
        """INSERT INTO kat_items
        SELECT 'e:' || n, item, role, lead, site, 'p' || n, assigned, sort + n, body
        FROM kat_items, generate_series(1, 5000) AS n""",
        "ANALYZE kat_items",
    )
    plans: list[str] = []
    with psycopg.connect(url, autocommit=True) as host, PostgresJournal(connection=host) as journal:
        host.execute("LOAD 'auto_explain'")
        host.execute("SET auto_explain.log_min_duration = 0")
        host.execute("SET client_min_messages = log")
        host.add_notice_handler(lambda notice: plans.append(str(notice.message_primary)))
        journal.worklist(**asked, limit=1, after=Cursor(NOON, "", ""))
    (plan,) = [text for text in plans if "kat_items" in text]
    return plan[plan.index("Limit ") :]


# Operations are told what and where, and what to do


def test_a_journal_of_a_newer_release_is_not_touched(url: str) -> None:
    do(url, f"UPDATE kat_schema SET version = {SCHEMA_VERSION + 1}")

    with pytest.raises(JournalError, match=r"kat_test.* schema 3.* newer release"):
        PostgresJournal(url)


def test_a_journal_of_an_older_release_is_not_guessed_at(url: str) -> None:
    do(url, "UPDATE kat_schema SET version = 1")

    with pytest.raises(JournalError, match=r"schema 1.* the release that wrote it"):
        PostgresJournal(url)


def test_a_database_that_cannot_keep_every_text_is_refused(databases: Databases) -> None:
    ascii_only = databases.fresh(options="ENCODING 'SQL_ASCII' LOCALE 'C'")

    with pytest.raises(JournalError, match="ENCODING 'UTF8'"):
        PostgresJournal(ascii_only)


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(
        JournalError, match=f"clinic at {tmp_path}: cannot connect: .*server"
    ) as told:
        PostgresJournal(f"postgresql://kat:{MARKER}@/clinic?host={tmp_path}")

    assert MARKER not in str(told.value)


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(JournalError, match="cannot be read; write postgresql://") as told:
        PostgresJournal(f"postgresql://kat:{MARKER}%@host/clinic")

    assert MARKER not in str(told.value)


def test_a_journal_needs_a_url_or_a_connection(host: psycopg.Connection[Any], url: str) -> None:
    with pytest.raises(ValueError, match="one of them"):
        PostgresJournal(url, connection=host)
    with pytest.raises(ValueError, match="one of them"):
        PostgresJournal()


def test_tables_that_contradict_themselves_are_written_no_further_and_not_quoted(url: str) -> None:
    told_stream = f"patient:{MARKER}"
    with PostgresJournal(url) as journal:
        write(journal, Append(told_stream, 0, (b"1",)), command="c2")
        do(url, "DELETE FROM kat_streams")

        with pytest.raises(JournalError, match=r"cannot append .*restore the last backup") as told:
            write(journal, Append(told_stream, 0, (b"2",)), command="c3")

        assert len(journal.follow(0, 9)) == 2
        assert journal.receipt("c3", "d1") is None
    assert MARKER not in "".join(traceback.format_exception(told.value, chain=True))
    assert told.value.__context__ is None


def test_a_text_that_postgresql_cannot_keep_is_said_to_be_one(url: str) -> None:
    with PostgresJournal(url) as journal:
        for stream, command in (("enrollment:\0", "c2"), (B, "c\0")):
            with pytest.raises(JournalError, match=r"NUL character.*leave it out"):
                write(journal, Append(stream, 0, (b"1",)), command=command)

        assert holds_the_first_command_only(journal)


def test_a_server_that_takes_no_writes_can_be_read_and_says_so(url: str) -> None:
    name = conninfo_to_dict(url)["dbname"]
    do(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with PostgresJournal(url) as journal:
        with pytest.raises(JournalError, match=r"cannot append .*name the primary"):
            write(journal, SECOND, command="c2")

        assert holds_the_first_command_only(journal)


def test_a_transaction_that_is_left_open_is_named_after_the_wait(
    url: str, host: psycopg.Connection[Any]
) -> None:
    with (
        PostgresJournal(url, patience=0) as journal,
        PostgresJournal(connection=host) as hosted,
        host.transaction(),
    ):
        write(hosted, Append(B, 0, (b"1",)), command="c2")
        with pytest.raises(JournalError, match=r"cannot append .*another transaction holds it"):
            write(journal, SECOND, command="c3")
        assert holds_the_first_command_only(journal)

    with PostgresJournal(url, patience=0) as journal:
        assert not write(journal, SECOND, command="c3").again


def test_connections_that_are_all_busy_are_said_to_be(url: str) -> None:
    with PostgresJournal(url, patience=0.01, connections=1) as journal:
        busy = journal._sessions.get()
        with pytest.raises(JournalError, match=r"all connections.*were busy.*more `connections`"):
            journal.version(A)
        journal._sessions.put(busy)

        assert journal.version(A) == 1


def test_no_more_connections_are_opened_than_were_allowed(url: str) -> None:
    with PostgresJournal(url, connections=3) as journal, ThreadPoolExecutor(8) as crew:
        assert list(crew.map(journal.version, [A] * 200)) == [1] * 200
        name = conninfo_to_dict(url)["dbname"]
        open_now = """SELECT count(*) FROM pg_stat_activity
            WHERE datname = %b AND backend_type = 'client backend'"""
        ((count,),) = journal._select(open_now, (name,))

    assert count <= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_may_not_use_the_connections_of_its_parent(url: str) -> None:
    said = run(f"""
import os
from kat_workflow.errors import JournalError
from kat_workflow.journal.postgres import PostgresJournal
journal = PostgresJournal({url!r})
child = os.fork()
if not child:
    try:
        journal.read("enrollment:a")
    except JournalError as error:
        print(error, flush=True)
    journal.close()
    os._exit(0)
os.waitpid(child, 0)
print(journal.version("enrollment:a"), flush=True)
journal.close()
""")

    assert said.endswith("was opened before a fork; open it again here\n1\n")


# A server that is lost


class Line:
    """A line to the server that can be cut: before what is sent arrives, or before the answer."""

    def __init__(self, url: str) -> None:
        given = conninfo_to_dict(url)
        host, port = str(given.get("host") or "localhost"), int(given.get("port") or 5432)
        self._unix = host.startswith("/")
        self._there: Any = f"{host}/.s.PGSQL.{port}" if self._unix else (host, port)
        self._home = tempfile.TemporaryDirectory(prefix="kat-line-", dir="/tmp")
        self._listens = socket.socket(socket.AF_UNIX)
        self._listens.bind(f"{self._home.name}/.s.PGSQL.5432")
        self._listens.listen()
        self.url = make_conninfo(url, host=self._home.name, port="5432")
        self.cut = ""
        self._ends: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *given: object) -> None:
        self._threads.append(Thread(target=work, args=given))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listens.accept()
                server = socket.socket(socket.AF_UNIX if self._unix else socket.AF_INET)
                server.connect(self._there)
                self._ends += client, server
                self._begin(self._carry, client, server, "before")
                self._begin(self._carry, server, client, "after")

    def _carry(self, one: socket.socket, other: socket.socket, when: str) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if self.cut == when:
                    self.cut = ""
                    break
                other.sendall(data)
        _hang_up(one, other)

    def close(self) -> None:
        _hang_up(self._listens, *self._ends)
        for thread in self._threads:
            thread.join()
        for end in (self._listens, *self._ends):
            end.close()
        self._home.cleanup()


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(url: str) -> Iterator[Line]:
    with closing(Line(url)) as line:
        yield line


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_append_whose_line_is_cut_is_written_once_and_answered_as_the_first(
    line: Line, when: str
) -> None:
    with PostgresJournal(line.url) as journal:
        line.cut = when
        receipt = write(journal, SECOND, command="c2")

        assert line.cut == ""  # it was cut
        assert (receipt.first, receipt.last, receipt.again) == (2, 2, False)
        assert [e.cause for e in journal.follow(0, 9)] == ["c1", "c2"]
        assert write(journal, SECOND, command="c2").again


def test_a_question_whose_line_is_cut_is_asked_again(line: Line) -> None:
    with PostgresJournal(line.url) as journal:
        line.cut = "after"

        assert holds_the_first_command_only(journal)


def test_a_conflict_is_told_also_over_a_line_that_was_cut(line: Line) -> None:
    with PostgresJournal(line.url) as journal:
        line.cut = "after"
        with pytest.raises(Conflict, match="enrollment:a is at version 1, not 0"):
            write(journal, Append(A, 0, (b"1",)), command="c2")


def test_sessions_that_an_administrator_ends_are_replaced(url: str) -> None:
    with PostgresJournal(url) as journal:
        do(
            url,
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()""",
        )

        assert not write(journal, SECOND, command="c2").again


def test_a_killed_server_loses_no_acknowledged_command_and_doubles_none(
    own_server: Server,
) -> None:
    acknowledged = 0
    with PostgresJournal(own_server.url(), patience=60) as journal:
        for _ in range(3):
            for _ in range(5):
                write(journal, Append(A, acknowledged, (b"1",)), command=f"c{acknowledged}")
                acknowledged += 1
            own_server.kill()
            again = Thread(target=own_server.start)
            again.start()
            write(journal, Append(A, acknowledged, (b"1",)), command=f"c{acknowledged}")
            acknowledged += 1
            again.join()

        assert [e.cause for e in journal.follow(0, 99)] == [f"c{n}" for n in range(acknowledged)]


def test_a_server_that_stays_away_is_an_error_after_the_wait(own_server: Server) -> None:
    with PostgresJournal(own_server.url(), patience=0.2) as journal:
        write(journal, FIRST)
        own_server.kill()
        with pytest.raises(JournalError, match=r"cannot connect: .*see that the server runs"):
            write(journal, SECOND, command="c2")
        own_server.start()

        assert not write(journal, SECOND, command="c2").again


def test_an_append_that_is_chosen_to_give_way_in_a_deadlock_begins_again(
    url: str, host: psycopg.Connection[Any]
) -> None:
    with PostgresJournal(url) as journal, PostgresJournal(connection=host) as hosted:
        host.execute("SET deadlock_timeout = '1h'")  # it is not the one that looks
        host.execute("SELECT FROM kat_streams WHERE stream = %s FOR UPDATE", (A,))
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(write, journal, SECOND, command="c2")
            blocked = "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
            while not host.execute(blocked).fetchall():
                pass
            write(hosted, Append(B, 0, (b"1",)), command="c3")
            host.commit()

            assert waiting.result().first == 3


# In the database of a host


def test_in_a_transaction_of_the_host_the_host_commits(
    url: str, host: psycopg.Connection[Any]
) -> None:
    with open_journal(connection=host) as journal, PostgresJournal(url) as elsewhere:
        assert not journal.joined
        host.execute("INSERT INTO bed VALUES ('3b')")
        assert journal.joined
        write(journal, SECOND, command="c2")
        assert journal.version(A) == 2
        assert holds_the_first_command_only(elsewhere)

        host.commit()

        assert elsewhere.row(A) == (2, b"row2")
        assert beds(host) == [("3b",)]


def test_what_the_host_rolls_back_never_happened(host: psycopg.Connection[Any]) -> None:
    with PostgresJournal(connection=host) as journal:
        host.execute("INSERT INTO bed VALUES ('3b')")
        write(journal, SECOND, command="c2")
        host.rollback()

        assert holds_the_first_command_only(journal)
        assert not write(journal, SECOND, command="c2").again


def test_a_conflict_undoes_the_append_and_leaves_the_host_s_writes_to_the_host(
    host: psycopg.Connection[Any],
) -> None:
    with PostgresJournal(connection=host) as journal:
        host.execute("INSERT INTO bed VALUES ('3b')")
        with pytest.raises(Conflict):
            write(journal, SECOND, Append(B, 7, (b"1",)), command="c2")
        host.commit()

        assert holds_the_first_command_only(journal)
        assert beds(host) == [("3b",)]


@pytest.mark.parametrize("append", [Append(B, 0, (b"1",)), Append(A, 1, (b"2",))])
def test_a_host_that_was_overtaken_in_its_transaction_is_told_to_begin_again(
    url: str, host: psycopg.Connection[Any], append: Append
) -> None:
    with PostgresJournal(connection=host) as journal, PostgresJournal(url) as elsewhere:
        host.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert beds(host) == []
        write(elsewhere, SECOND, command="c2")

        with pytest.raises(Conflict, match="roll it back and begin again"):
            write(journal, append, command="c3")
        assert write(journal, FIRST).again  # what it wrote before it still learns
        host.rollback()

        assert journal.version(A) == 2


def test_without_a_transaction_of_the_host_an_append_commits_by_itself(
    url: str, host: psycopg.Connection[Any]
) -> None:
    with PostgresJournal(connection=host) as journal, PostgresJournal(url) as elsewhere:
        write(journal, SECOND, command="c2")

        assert not journal.joined
        assert elsewhere.version(A) == 2


def test_a_host_whose_transaction_has_failed_is_told_to_roll_it_back(
    host: psycopg.Connection[Any],
) -> None:
    with PostgresJournal(connection=host) as journal:
        with pytest.raises(psycopg.Error):
            host.execute("SELECT 1 / 0")

        with pytest.raises(JournalError, match="transaction has failed; roll it back"):
            write(journal, SECOND, command="c2")
        host.rollback()

        assert not write(journal, SECOND, command="c2").again


def test_the_host_s_settings_and_connection_stay_the_host_s(url: str) -> None:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SET lock_timeout = '7s'")
        connection.commit()
        with PostgresJournal(connection=connection) as journal:
            assert holds_the_first_command_only(journal)

        assert connection.execute("SHOW lock_timeout").fetchone() == {"lock_timeout": "7s"}


def test_two_journals_lie_side_by_side_in_the_schemas_of_one_database(url: str) -> None:
    do(url, "CREATE SCHEMA other")
    apart = make_conninfo(url, options="-csearch_path=other")

    with PostgresJournal(url) as one, PostgresJournal(apart) as other:
        write(other, Append(B, 0, (b"1",)), command="c1")

        assert holds_the_first_command_only(one)
        assert other.streams() == [B]


# Several processes


def test_four_processes_lose_double_or_reorder_nothing(databases: Databases) -> None:
    url = databases.fresh()

    crew = [writer(url, "seed", who, 0, 30) for who in "wxyz"]
    said = {who: process.communicate() for who, process in zip("wxyz", crew, strict=True)}

    for who, (out, err) in said.items():
        assert err == ""
        assert out.split() == ["open", *(f"{who}-{n}" for n in range(30))]
    with PostgresJournal(url) as journal:
        done = causes(journal)
    assert len(done) == 120
    for who in "wxyz":
        assert [c for c in done if c.startswith(who)] == [f"{who}-{n}" for n in range(30)]


def test_several_that_make_one_new_journal_at_the_same_instant_all_get_it(
    databases: Databases,
) -> None:
    together = Barrier(6)

    def make(url: str) -> int:
        together.wait()
        with PostgresJournal(url) as journal:
            return journal.version(A)

    with ThreadPoolExecutor(6) as crew:
        for _ in range(3):
            assert list(crew.map(make, [databases.fresh()] * 6)) == [0] * 6
