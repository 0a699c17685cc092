"""What the SQLite journal owes to operations: files, locks, full disks, other processes, kills."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from secrets import randbits
from threading import Barrier
from typing import Any

import pytest
from journal_cases import NOON, causes, item, write, writer

from kat_workflow.errors import Conflict, JournalError
from kat_workflow.journal import Append, Journal
from kat_workflow.journal.sqlite import SCHEMA_VERSION, SqliteJournal

A, B = "enrollment:a", "enrollment:b"
FIRST = Append(A, 0, (b"1",), b"row1", NOON, items=(item("vitals", A),))
SECOND = Append(A, 1, (b"2" * 9000,), b"row2", items_gone=("vitals",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds the first command, and nobody has it open."""
    path = tmp_path / "journal.db"
    with SqliteJournal(path) as journal:
        write(journal, FIRST)
    return path


@pytest.fixture
def host(path: Path) -> Iterator[sqlite3.Connection]:
    """A host's own connection to the same file, with a table of the host in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bed (name TEXT)")
        yield connection


def holds_the_first_command_only(journal: Journal) -> bool:
    return (
        [e.body for e in journal.follow(0, 9)] == [b"1"]
        and journal.row(A) == (1, b"row1")
        and journal.due(NOON, 9) == [(A, NOON)]
        and journal.worklist() == ([item("vitals", A)], None)
    )


def beds(connection: sqlite3.Connection) -> list[tuple[str]]:
    return connection.execute("SELECT name FROM bed").fetchall()


# Kept


def test_what_was_written_is_there_when_the_file_is_opened_again(path: Path) -> None:
    with SqliteJournal(path) as journal:
        assert holds_the_first_command_only(journal)
        assert write(journal, FIRST).again


def test_every_append_is_one_commit_forced_to_the_disk(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    statements: list[str] = []

    with closing(connection), SqliteJournal(connection=connection) as journal:
        connection.set_trace_callback(statements.append)
        both = (item("vitals", A), item("scores", A))
        write(journal, Append(A, 1, (b"2", b"3", b"4"), b"row", NOON, items=both), command="c2")
        connection.set_trace_callback(None)

    with SqliteJournal(path) as own:
        assert own._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert own._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [s for s in statements if s.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    rows = 3 + 1 + 2 + 2 + 1  # entries, state row, items out and in, command
    assert len(statements) == rows + 3  # begin, where all ends, commit


def test_a_journal_of_its_own_finds_out_by_writing_whether_a_command_is_new(path: Path) -> None:
    statements: list[str] = []

    with SqliteJournal(path) as journal:
        journal._connection.set_trace_callback(statements.append)
        write(journal, SECOND, command="c2")
        new = len(statements)
        again = write(journal, SECOND, command="c2")

    assert again.again
    # entry, state row, item out, command; begin, where all ends, commit
    assert new == 4 + 3
    assert not any("UPDATE" in statement for statement in statements[new:])


def test_the_sqlite_module_is_loaded_only_by_who_opens_a_file() -> None:
    look = (
        "import sys, kat_workflow.journal as j; j.open_journal(); print('sqlite3' in sys.modules)"
    )

    said = subprocess.run(
        [sys.executable, "-c", look],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == "False\n"


@pytest.mark.parametrize("asked", [{"role": "nurse", "site": "main"}, {"site": "main"}])
def test_a_page_of_a_site_s_worklist_is_one_stretch_of_an_index(
    path: Path, asked: dict[str, Any]
) -> None:
    (step,) = plan_of_second_page(path, asked)

    assert step.startswith("SEARCH kat_items USING INDEX kat_items_")
    assert "sort" in step  # the cursor is a bound of the search, not a filter


@pytest.mark.parametrize("more", [{}, {"site": "main"}, {"role": "nurse", "site": "main"}])
@pytest.mark.parametrize(
    ("few", "found"),
    [({"patient": "p1"}, "INDEX kat_items_patient (patient=?)"),
     ({"stream": A}, "PRIMARY KEY (stream=?)")],
)  # fmt: skip
def test_the_items_of_a_patient_or_a_stream_are_found_without_the_site_s(
    path: Path, few: dict[str, Any], found: str, more: dict[str, Any]
) -> None:
    step, *_ = plan_of_second_page(path, {**few, **more})

    assert step == f"SEARCH kat_items USING {found}"


def plan_of_second_page(path: Path, asked: dict[str, Any]) -> list[str]:
    """How SQLite finds what the journal asks it for."""
    connection = sqlite3.connect(path, isolation_level=None)
    with closing(connection), SqliteJournal(connection=connection) as journal:
        more = tuple(item(f"i{n}", A, patient="p1") for n in range(3))
        write(journal, Append(A, 1, (b"2",), items=more), command="c2")
        _, after = journal.worklist(**asked, limit=1)
        assert after is not None
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        journal.worklist(**asked, limit=1, after=after)
        connection.set_trace_callback(None)
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()
    return [step for *_, step in plan]


# Operations are told what and where, and what to do


def test_a_journal_of_a_newer_release_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kat_schema SET version = ?", (SCHEMA_VERSION + 1,))

    with pytest.raises(JournalError, match=rf"schema {SCHEMA_VERSION + 1}.* newer release"):
        SqliteJournal(path)


@pytest.mark.parametrize("number", [None, "two", b"\xff", "none at all"])
def test_a_journal_whose_schema_has_a_spoiled_number_is_said_to_be_damaged(
    path: Path, number: object
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE kat_schema")
        connection.execute("CREATE TABLE kat_schema (version)")
        if number != "none at all":
            connection.execute("INSERT INTO kat_schema VALUES (?)", (number,))

    with pytest.raises(JournalError, match="number of the schema cannot be read"):
        SqliteJournal(path)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a journal\n" * 100)

    with pytest.raises(JournalError, match=r"notes\.txt: cannot open: .*some other file") as told:
        SqliteJournal(path)

    assert isinstance(told.value.__cause__, sqlite3.DatabaseError)
    assert path.read_text() == "not a journal\n" * 100


def test_a_file_that_contradicts_itself_is_written_no_further(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM kat_streams")

    with SqliteJournal(path) as journal:
        with pytest.raises(JournalError, match=r"cannot append: .*restore the last backup"):
            write(journal, Append(B, 0, (b"1",)), FIRST, command="c2")

        assert [e.body for e in journal.follow(0, 9)] == [b"1"]
        assert journal.version(B) == 0


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"nowhere.journal\.db: cannot open: .*directory"):
        SqliteJournal(tmp_path / "nowhere" / "journal.db")


def test_a_journal_needs_a_file_or_a_connection(host: sqlite3.Connection, path: Path) -> None:
    with pytest.raises(JournalError, match="MemoryJournal"):
        SqliteJournal(":memory:")
    with pytest.raises(ValueError, match="one of them"):
        SqliteJournal(path, connection=host)
    with pytest.raises(ValueError, match="one of them"):
        SqliteJournal()


def test_a_read_only_file_can_be_read_and_says_why_it_cannot_be_written(path: Path) -> None:
    uri = f"{path.as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True)) as connection,
        SqliteJournal(connection=connection) as journal,
    ):
        with pytest.raises(JournalError, match=r"cannot append: .*leave to write"):
            write(journal, SECOND, command="c2")

        assert holds_the_first_command_only(journal)


def test_a_file_locked_by_another_process_is_named_after_the_wait(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, SqliteJournal(path, patience=0) as journal:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"journal\.db: cannot append: .*locked.*try again"):
            write(journal, SECOND, command="c2")
        assert holds_the_first_command_only(journal)
        other.rollback()

        assert not write(journal, SECOND, command="c2").again


def test_a_full_disk_leaves_nothing_half_written_and_the_command_can_be_sent_again(
    path: Path,
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    with closing(connection), SqliteJournal(connection=connection) as journal:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(JournalError, match=r"cannot append: .*full; make room"):
            write(journal, SECOND, command="c2")
        assert holds_the_first_command_only(journal)
        connection.execute("PRAGMA max_page_count=1000000")

        assert not write(journal, SECOND, command="c2").again
        assert journal.worklist() == ([], None)


def test_a_damaged_file_is_said_to_be_damaged(path: Path) -> None:
    pages = bytearray(path.read_bytes())
    pages[4096:] = b"\xff" * (len(pages) - 4096)
    path.write_bytes(pages)

    with pytest.raises(JournalError, match=r"journal\.db: .*restore the last backup"):
        SqliteJournal(path)


def test_a_file_whose_damage_sqlite_cannot_even_quote_is_said_to_be_damaged(path: Path) -> None:
    """SQLite names what it cannot read, and Python cannot decode the name."""
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE INDEX", b"CREATE \xffNDEX"))

    with pytest.raises(JournalError, match=r"journal\.db: .*restore the last backup"):
        SqliteJournal(path)


def test_what_is_no_text_where_there_should_be_one_is_not_quoted(path: Path) -> None:
    """Python's driver quotes it, and it may be of a patient."""
    with SqliteJournal(path) as journal:
        write(journal, Append("enrollment:a", 0, (b"1",)))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE kat_entries SET body = CAST(x'5871374cff' AS TEXT)")

        with pytest.raises(JournalError, match="restore the last backup") as error:
            journal.read("enrollment:a")

    assert "Xq7L" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_may_not_use_the_connection_of_its_parent(path: Path) -> None:
    script = f"""
import os
from kat_workflow.errors import JournalError
from kat_workflow.journal.sqlite import SqliteJournal
journal = SqliteJournal({str(path)!r})
child = os.fork()
if not child:
    try:
        journal.read("enrollment:a")
    except JournalError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(journal.version("enrollment:a"), flush=True)
"""
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == f"{path} was opened before a fork; open it again here\n1\n"


# In the database of a host


def test_in_a_transaction_of_the_host_the_host_commits(
    path: Path, host: sqlite3.Connection
) -> None:
    with SqliteJournal(connection=host) as journal, SqliteJournal(path) as elsewhere:
        assert not journal.joined
        host.execute("INSERT INTO bed VALUES ('3b')")
        assert journal.joined
        write(journal, SECOND, command="c2")
        assert journal.version(A) == 2
        assert holds_the_first_command_only(elsewhere)

        host.commit()

        assert elsewhere.row(A) == (2, b"row2")
        assert beds(host) == [("3b",)]


def test_what_the_host_rolls_back_never_happened(host: sqlite3.Connection) -> None:
    with SqliteJournal(connection=host) as journal:
        host.execute("INSERT INTO bed VALUES ('3b')")
        write(journal, SECOND, command="c2")
        host.rollback()

        assert holds_the_first_command_only(journal)
        assert not write(journal, SECOND, command="c2").again


def test_a_conflict_undoes_the_append_and_leaves_the_host_s_writes_to_the_host(
    host: sqlite3.Connection,
) -> None:
    with SqliteJournal(connection=host) as journal:
        host.execute("INSERT INTO bed VALUES ('3b')")
        with pytest.raises(Conflict):
            write(journal, SECOND, Append(B, 7, (b"1",)), command="c2")
        host.commit()

        assert holds_the_first_command_only(journal)
        assert beds(host) == [("3b",)]


def test_a_command_that_fails_midway_undoes_the_host_s_transaction_and_says_so(
    host: sqlite3.Connection,
) -> None:
    """Half a command must not be there for the host to commit."""
    with SqliteJournal(connection=host) as journal:
        host.execute(
            """CREATE TRIGGER full BEFORE INSERT ON kat_entries WHEN NEW.version = 2
               BEGIN SELECT RAISE(ABORT, 'no room'); END"""
        )
        host.commit()
        host.execute("INSERT INTO bed VALUES ('3b')")

        with pytest.raises(JournalError, match=r"no room.*undone with it; begin it again"):
            write(journal, SECOND, command="c2")
        host.commit()

        assert holds_the_first_command_only(journal)
        assert journal.receipt("c2", "d1") is None
        assert beds(host) == []


def test_a_command_that_fails_before_it_writes_leaves_the_host_s_writes_to_the_host(
    host: sqlite3.Connection,
) -> None:
    with SqliteJournal(connection=host) as journal:
        host.execute("INSERT INTO bed VALUES ('3b')")
        host.execute(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON kat_commands"
            " BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )

        with pytest.raises(JournalError, match="no room"):
            write(journal, SECOND, command="c2")
        host.commit()

        assert beds(host) == [("3b",)]


def test_a_host_that_was_overtaken_in_its_transaction_is_told_to_begin_again(
    path: Path, host: sqlite3.Connection
) -> None:
    with SqliteJournal(connection=host) as journal, SqliteJournal(path) as elsewhere:
        host.execute("BEGIN")
        assert beds(host) == []
        write(elsewhere, SECOND, command="c2")

        with pytest.raises(Conflict, match="roll it back and begin again"):
            write(journal, Append(B, 0, (b"1",)), command="c3")
        host.rollback()

        assert not write(journal, Append(B, 0, (b"1",)), command="c3").again


def test_a_host_that_was_overtaken_still_learns_what_it_wrote_before(
    host: sqlite3.Connection, path: Path
) -> None:
    with SqliteJournal(connection=host) as journal, SqliteJournal(path) as other:
        host.execute("BEGIN")
        assert beds(host) == []
        write(other, SECOND, command="c2")

        assert write(journal, FIRST).again
        assert host.in_transaction


def test_without_a_transaction_of_the_host_an_append_commits_by_itself(
    path: Path, host: sqlite3.Connection
) -> None:
    with SqliteJournal(connection=host) as journal, SqliteJournal(path) as elsewhere:
        write(journal, SECOND, command="c2")

        assert not host.in_transaction
        assert elsewhere.version(A) == 2


def test_the_host_s_settings_and_connection_stay_the_host_s(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "host.db")) as connection:
        connection.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        connection.execute("PRAGMA user_version=42")
        with SqliteJournal(connection=connection) as journal:
            write(journal, FIRST)
            assert holds_the_first_command_only(journal)

        assert connection.execute("PRAGMA user_version").fetchone() == {"user_version": 42}


# Several processes, and their end


def test_four_processes_that_make_one_new_file_lose_double_or_reorder_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"

    crew = [writer(path, "seed", who, 0, 30) for who in "wxyz"]
    said = {who: process.communicate() for who, process in zip("wxyz", crew, strict=True)}

    for who, (out, err) in said.items():
        assert err == ""
        assert out.split() == ["open", *(f"{who}-{n}" for n in range(30))]
    with SqliteJournal(path) as journal:
        done = causes(journal)
    assert len(done) == 120
    for who in "wxyz":
        assert [c for c in done if c.startswith(who)] == [f"{who}-{n}" for n in range(30)]


def test_several_that_make_one_new_file_at_the_same_instant_all_get_it(tmp_path: Path) -> None:
    """SQLite tells all but one of them "busy" at once; it takes many files to see that happen."""
    together = Barrier(6)

    def make(path: Path) -> int:
        together.wait()
        with SqliteJournal(path, patience=60) as journal:
            return journal.version(A)

    with ThreadPoolExecutor(6) as crew:
        for number in range(20):
            path = tmp_path / f"journal-{number}.db"
            assert list(crew.map(make, [path] * 6)) == [0] * 6


def test_a_killed_writer_loses_no_acknowledged_command_and_doubles_none(tmp_path: Path) -> None:
    """Each writer resends the command during which the one before it was killed."""
    path = tmp_path / "journal.db"
    seed = os.environ.get("KAT_TEST_SEED", str(randbits(32)))
    print(f"KAT_TEST_SEED={seed}")
    chance = Random(seed)
    acknowledged: list[str] = []

    for kill in range(15):
        process = writer(path, seed, "c", len(acknowledged), 1_000_000)
        assert process.stdout is not None
        assert process.stderr is not None
        with process, process.stdout as out, process.stderr as err:
            assert out.readline() == "open\n", err.read()
            heard = [out.readline() for _ in range(chance.choice((0, 1, 1, 5, 20, 60)))]
            process.kill()
            # What it said before it died counts; a line that it did not end does not.
            heard += [line for line in out if line.endswith("\n")]
            assert err.read() == ""
        acknowledged += [line.strip() for line in heard]

        with SqliteJournal(path) as journal:
            done = causes(journal)
            assert journal._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert acknowledged == [f"c-{n}" for n in range(len(acknowledged))], kill
        # The last one may have been written without a chance to say so; no other.
        assert done in (acknowledged, [*acknowledged, f"c-{len(acknowledged)}"]), kill

    assert len(acknowledged) > 15
