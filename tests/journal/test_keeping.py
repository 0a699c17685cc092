"""Keeping a journal: whatever store it is in, a copy of it is the same journal, or none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_cases import NOON, do_deed, item, write

from kat_workflow.errors import JournalError
from kat_workflow.journal import (
    Append,
    CensusRow,
    Journal,
    keeping,
    open_journal,
)
from kat_workflow.journal.keeping import Header, Held, Part2, records
from kat_workflow.journal.migrations import migrate
from kat_workflow.journal.records import (
    Record,
)

HEADER = Header(keeping.FORMAT, keeping.SCHEMA, NOON, Part2())
OLD = Path(__file__).parent / "schema_1.sql"
MAKES = ("memory", "sqlite", "postgres")
STREAMS = ("enrollment:a", "enrollment:b", "patient:p", "site:main")


def unlinked(journal: Journal) -> list[str]:
    return [str(fault) for fault in keeping.verify(journal)[1].faults]


def sound(journal: Journal) -> None:
    faults = [*journal.faults(), *unlinked(journal)]
    if faults:
        raise JournalError(str(faults[0]))


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Journal]]:
    """An empty journal of a kind of store."""
    made: list[tuple[Journal, str]] = []

    def new(kind: str) -> Journal:
        where: Path | str | None = tmp_path / f"{len(made)}.db"
        url = ""
        if kind == "memory":
            where = None
        elif kind == "postgres":
            where = url = request.getfixturevalue("databases").with_journal()
        made.append((open_journal(where), url))
        return made[-1][0]

    yield new
    for journal, url in made:
        journal.close()
        if url:
            request.getfixturevalue("databases").drop(url)


def everything(journal: Journal) -> list[Record]:
    return list(records(journal))


def filled(journal: Journal, count: int = 20) -> Journal:
    for number in range(count):
        do_deed(journal, f"c{number}", "seed", STREAMS)
    journal.keep_program("d" * 64, "detox", "1", "detox.yaml", {"detox.yaml": "a: ü\n"})
    journal.keep_checkpoint(count // 2, b"signed")
    return journal


# Any journal


BYTES = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"null", b'{"a":1}', b'{"a":\n1}', b'"\\u2028"', b"1", b"{", b"\xff"]),
)


@st.composite
def journals(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Commands with anything in them that a store takes."""
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
    commands = []
    for _ in range(draw(st.integers(0, 6))):
        bodies = tuple(draw(st.lists(BYTES, min_size=1, max_size=3)))
        values = tuple(draw(st.just(b"") | BYTES) for _ in bodies)
        commands.append(
            {
                "stream": draw(st.sampled_from(STREAMS)),
                "bodies": bodies,
                "values": draw(st.sampled_from([(), values])),
                "row": draw(st.none() | BYTES),
                "wake": draw(st.none() | st.integers(0, 10**6)),
                "title": draw(texts),
                "roles": tuple(draw(st.lists(st.sampled_from(["nurse", "doctor"]), max_size=2))),
                "person": draw(texts),
            }
        )
    return commands


def written(journal: Journal, commands: list[dict[str, Any]]) -> None:
    for number, each in enumerate(commands):
        stream = each["stream"]
        wake = None if each["wake"] is None else NOON + timedelta(microseconds=each["wake"])
        journal.append(
            [
                Append(
                    stream,
                    journal.version(stream),
                    each["bodies"],
                    each["row"],
                    wake if each["row"] else None,
                    items=(item(f"i{number}", stream, title=each["title"], roles=each["roles"]),),
                    census=CensusRow(stream, "main", each["person"], "detox", "active"),
                    values=each["values"],
                )
            ],
            command=f"c{number}", digest="d", recorded=NOON, person=each["person"], role="",
        )  # fmt: skip


@pytest.mark.parametrize("target", MAKES)
@pytest.mark.parametrize("source", MAKES)
@given(commands=journals())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
def test_an_import_of_an_export_is_the_same_journal(
    make: Callable[[str], Journal],
    tmp_path: Path,
    source: str,
    target: str,
    commands: list[dict[str, Any]],
) -> None:
    journal, other, file = make(source), make(target), tmp_path / "all.jsonl"
    written(journal, commands)

    with journal.snapshot() as still, file.open("wb") as out:
        held = keeping.export(records(still), out, HEADER)
    header, taken = keeping.import_journal(file, other, sound)

    assert everything(other) == everything(journal)
    assert (header, taken) == (HEADER, held)
    assert keeping.holds(other) == held
    assert other.due(NOON + timedelta(days=1), 99) == journal.due(NOON + timedelta(days=1), 99)
    assert other.worklist(role="nurse", site="main") == journal.worklist(role="nurse", site="main")
    assert other.census("main") == journal.census("main")
    assert all(other.receipt(f"c{n}", "d") for n in range(len(commands)))


def test_an_imported_journal_goes_on_as_the_first_one_would(
    make: Callable[[str], Journal], tmp_path: Path
) -> None:
    journal, other = filled(make("sqlite")), make("memory")
    with (tmp_path / "x").open("wb") as out:
        keeping.export(records(journal), out, HEADER)
    keeping.import_journal(tmp_path / "x", other, sound)

    for each in (journal, other):
        do_deed(each, "next", "seed", STREAMS)

    sound(other)
    assert [e.body for e in other.follow(0, 999)] == [e.body for e in journal.follow(0, 999)]


def test_a_line_of_an_export_is_json_that_a_person_can_read(
    make: Callable[[str], Journal], tmp_path: Path
) -> None:
    journal = make("memory")
    body, values = b'{"event":"held","hold":"h1"}', b'{"reason":"fever"}'
    write(journal, Append("enrollment:a", 0, (body,), values=(values,)))

    with (tmp_path / "x").open("wb") as out:
        keeping.export(records(journal), out, HEADER)

    first, *lines = (tmp_path / "x").read_bytes().splitlines()
    assert b"42 CFR part 2 prohibits unauthorized use or disclosure" in first
    (entry,) = (line for line in lines if line.startswith(b'{"entry"'))
    assert b'"body":' + body in entry
    assert b'"values":' + values in entry


# Files that are not whole


@pytest.fixture
def exported(make: Callable[[str], Journal], tmp_path: Path) -> Path:
    file = tmp_path / "all.jsonl"
    with file.open("wb") as out:
        keeping.export(records(filled(make("memory"), 4)), out, HEADER)
    return file


def refused(file: Path, make: Callable[[str], Journal], *kinds: str) -> str:
    """Why an import is refused; nothing of it stays."""
    for kind in kinds or ("memory",):
        journal = make(kind)
        with pytest.raises(JournalError) as error:
            keeping.import_journal(file, journal, sound)
        assert everything(journal) == []
        assert filled(journal)
    return str(error.value)


def test_wherever_an_export_is_cut_off_nothing_of_it_is_taken_in(
    exported: Path, make: Callable[[str], Journal]
) -> None:
    whole = exported.read_bytes().splitlines(keepends=True)
    for end in range(1, len(whole)):
        exported.write_bytes(b"".join(whole[:end]))
        assert "was cut off" in refused(exported, make)


def test_a_line_that_is_left_out_or_doubled_or_changed_is_found(
    exported: Path, make: Callable[[str], Journal]
) -> None:
    whole = exported.read_bytes().splitlines(keepends=True)
    entries = [n for n, line in enumerate(whole) if line.startswith(b'{"entry"')]
    for number in entries:
        for lines in (
            [*whole[:number], *whole[number + 1 :]],
            [*whole[: number + 1], *whole[number:]],
            [*whole[:number], whole[number].replace(b"nora", b"dora"), *whole[number + 1 :]],
        ):
            exported.write_bytes(b"".join(lines))
            refused(exported, make)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"format":1', b'"format":99', "newer release"),
        (b'{"header"', b'{"other"', ":1 is no line"),
        (b'"stream":{"chain"', b'"stream":{"chian"', "is no line"),
        (b'"entries":', b'"entries":1', "does not say what it holds"),
        (b'"part2"', b'"of":"patient","part2"', "of one patient"),
    ],
)
def test_what_is_no_export_of_this_release_is_named(
    exported: Path, make: Callable[[str], Journal], old: bytes, new: bytes, says: str
) -> None:
    exported.write_bytes(exported.read_bytes().replace(old, new))

    assert says in refused(exported, make, *MAKES)


def test_a_journal_that_holds_something_takes_nothing_in(
    exported: Path, make: Callable[[str], Journal]
) -> None:
    for kind in MAKES:
        journal = filled(make(kind))
        before = everything(journal)

        with pytest.raises(JournalError, match="holds entries already"):
            keeping.import_journal(exported, journal, sound)

        assert everything(journal) == before


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_no_export(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)

    with pytest.raises(JournalError), open_journal() as journal:
        keeping.import_journal(tmp_path / "x", journal, sound)


# Backup and restore


@pytest.mark.parametrize("kind", MAKES)
def test_a_backup_is_the_journal_and_says_what_it_holds(
    make: Callable[[str], Journal], tmp_path: Path, kind: str
) -> None:
    journal = filled(make(kind))

    held = keeping.backup(journal, tmp_path / "backup", HEADER, sound)
    restored = keeping.restore(tmp_path / "backup", tmp_path / "again.db", sound)

    last = journal.follow(0, 999)[-1].position
    assert held == restored == Held(last, last, held.root, 10)
    with open_journal(tmp_path / "again.db") as again:
        assert everything(again) == everything(journal)
    names = {path.name for path in tmp_path.iterdir()}
    assert not {name for name in names if name.startswith(".")}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_backup_while_others_write_holds_whole_commands_up_to_a_position(
    make: Callable[[str], Journal], tmp_path: Path, kind: str
) -> None:
    journal = filled(make(kind))
    done, copied = 0, Event()

    def writes() -> None:
        nonlocal done
        while not copied.is_set() or done < 30:
            do_deed(journal, f"w{done}", "seed", STREAMS)
            done += 1

    writer = Thread(target=writes)
    writer.start()
    try:
        held = [
            keeping.backup(journal, tmp_path / f"copy-{number}", HEADER, sound)
            for number in range(3)
        ]
    finally:
        copied.set()
        writer.join()

    for number, each in enumerate(held):
        keeping.restore(tmp_path / f"copy-{number}", tmp_path / f"again-{number}.db", sound)
        with open_journal(tmp_path / f"again-{number}.db") as copy:
            entries = copy.follow(0, 10_000)
            assert entries == journal.follow(0, each.position)
            assert [e.position for e in entries] == list(range(1, each.position + 1))


def test_nothing_is_overwritten_by_a_backup_or_a_restore(
    make: Callable[[str], Journal], tmp_path: Path
) -> None:
    journal, file = filled(make("sqlite")), tmp_path / "backup.db"
    keeping.backup(journal, file, HEADER, sound)
    before = file.read_bytes()

    with pytest.raises(JournalError, match="overwrites nothing"):
        keeping.backup(journal, file, HEADER, sound)
    with pytest.raises(JournalError, match="move it away"):
        keeping.restore(file, file, sound)

    assert file.read_bytes() == before


def test_a_damaged_backup_is_not_restored(make: Callable[[str], Journal], tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    keeping.backup(filled(make("sqlite")), file, HEADER, sound)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE kat_entries SET person = 'dora' WHERE position = 3")

    with pytest.raises(JournalError, match=r"entry \d \(position 3, "):
        keeping.restore(file, tmp_path / "again.db", sound)

    assert not (tmp_path / "again.db").exists()


def test_a_backup_that_does_not_verify_gets_no_name(
    make: Callable[[str], Journal], tmp_path: Path
) -> None:
    journal: Any = filled(make("sqlite"))
    journal._connection.execute("UPDATE kat_entries SET person = 'dora' WHERE position = 3")

    with pytest.raises(JournalError, match="is not as it was written"):
        keeping.backup(journal, tmp_path / "backup.db", HEADER, sound)

    assert not (tmp_path / "backup.db").exists()


def test_a_backup_of_a_file_is_restored_into_a_database_and_back(
    databases: Any, make: Callable[[str], Journal], tmp_path: Path
) -> None:
    journal, url = filled(make("sqlite")), databases.with_journal()
    keeping.backup(journal, tmp_path / "a.db", HEADER, sound)

    held = keeping.restore(tmp_path / "a.db", url, sound)

    with open_journal(url) as other:
        assert everything(other) == everything(journal)
        assert keeping.backup(other, tmp_path / "b.jsonl", HEADER, sound) == held
    with pytest.raises(JournalError, match="holds entries already"):
        keeping.restore(tmp_path / "b.jsonl", url, sound)
    databases.drop(url)


# Faults


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE kat_entries SET body = x'7b7d' WHERE position = 5", "is not as it was written"),
        (
            "DELETE FROM kat_entries WHERE stream = 'site:main' AND version = 1",
            "what was between is missing",
        ),
        ("DELETE FROM kat_commands WHERE first = 1", "the command that wrote it is missing"),
        ("UPDATE kat_streams SET version = version + 1", "does not end where its chain does"),
    ],
)
def test_what_was_changed_behind_its_back_is_named(
    make: Callable[[str], Journal], change: str, says: str
) -> None:
    journal: Any = filled(make("sqlite"))
    assert unlinked(journal) == []

    journal._connection.execute(change)

    assert says in " ".join(unlinked(journal))


# In numbers


def test_the_numbers_of_a_journal(make: Callable[[str], Journal]) -> None:
    for kind in MAKES:
        journal = filled(make(kind))

        found = keeping.stats(journal)

        entries = journal.follow(0, 999)
        assert found.entries == len(entries)
        assert found.bytes_of_entries == sum(len(e.body) + len(e.values) for e in entries)
        assert sum(found.streams.values()) == len(journal.streams())
        assert found.commands == 20
        assert found.oldest_wake == min(at for _, at in journal.due(NOON + timedelta(9), 99))
        assert (found.programs, found.checkpoint, found.schema) == (1, 10, 2)
        assert bool(found.size) == (kind != "memory")


# Older schemas


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of schema 1, made as the first releases made it."""
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(OLD.read_text(encoding="utf-8"))
        rows = [
            (1, "enrollment:a", 1, 1, "c1", "nora", "nurse", b"one"),
            (2, "enrollment:a", 2, 2, "c2", "nora", "nurse", b"two"),
            (3, "patient:p", 1, 2, "c2", "nora", "nurse", b"three"),
        ]
        connection.executemany("INSERT INTO kat_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("INSERT INTO kat_commands VALUES ('c1', 'd1', 1, 1), ('c2', 'd2', 2, 3)")
        connection.execute("INSERT INTO kat_streams VALUES ('enrollment:a', 2, 'row', 5)")
        connection.execute("INSERT INTO kat_streams VALUES ('patient:p', 1, 'row', NULL)")
        body = b'{"item":"i","stream":"enrollment:a","site":"main","roles":["nurse"],'
        body += b'"opens":"2026-03-02T12:00:00Z","assigned":"bo"}'
        row = ("enrollment:a", "i", "nurse", 1, "main", "p", 7, body)
        connection.execute("INSERT INTO kat_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        census = b'{"stream":"enrollment:a","site":"main","patient":"p","program":"x",'
        census += b'"standing":"active"}'
        connection.execute(
            "INSERT INTO kat_census VALUES ('enrollment:a', 'main', 'active', ?)", (census,)
        )
    return file


def halved(body: bytes) -> tuple[bytes, bytes]:
    return body[:1], body[1:]


def test_an_old_file_is_not_changed_by_opening_it(old: Path) -> None:
    with pytest.raises(JournalError, match="run kat journal migrate"):
        open_journal(old)

    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT version FROM kat_schema").fetchone() == (1,)


def test_an_old_file_is_migrated_wholly_and_kept(old: Path) -> None:
    answer = migrate(old, halved)

    assert answer == (1, 2, f"{old}.schema-1")
    with open_journal(old) as journal:
        entries = journal.follow(0, 9)
        assert [(e.body, e.values) for e in entries] == [
            (b"o", b"ne"), (b"t", b"wo"), (b"t", b"hree")
        ]  # fmt: skip
        sound(journal)
        assert journal.row("enrollment:a") is None
        assert len(journal.due(NOON, 9)) == 1
        assert journal.receipt("c2", "d2") is not None
        assert [row.item for row in journal.worklist(assigned="bo")[0]] == ["i"]
        assert len(journal.census("main")) == 1
        write(journal, Append("enrollment:a", 2, (b"more",)), command="c3")
        sound(journal)
    with closing(sqlite3.connect(f"{old}.schema-1")) as connection:
        assert connection.execute("SELECT version FROM kat_schema").fetchone() == (1,)


def test_a_migrated_file_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    migrate(old, halved)
    open_journal(tmp_path / "new.db").close()

    def tables(path: Path) -> set[tuple[str, str]]:
        with closing(sqlite3.connect(path)) as connection:
            return set(
                connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            )

    assert tables(old) == tables(tmp_path / "new.db")


def test_two_that_migrate_at_once_migrate_once(old: Path) -> None:
    answers: list[tuple[int, int, str]] = []
    threads = [Thread(target=lambda: answers.append(migrate(old, halved))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer[0] for answer in answers) == [1, 2, 2, 2]
    with open_journal(old) as journal:
        sound(journal)


def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    def fails(body: bytes) -> tuple[bytes, bytes]:
        if body == b"three":
            raise JournalError("no event")
        return halved(body)

    with pytest.raises(JournalError, match="entry 3 cannot be migrated: no event"):
        migrate(old, fails)

    (old.with_name(f"{old.name}.schema-1")).unlink()
    assert migrate(old, halved)[0] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE kat_schema SET version = 9", "or a newer one"),
        ("DROP TABLE kat_schema", "is no journal"),
        ("DELETE FROM kat_commands WHERE command = 'c2'", "the command of entry 2 is not there"),
        ("DROP TABLE kat_items", "it is as it was"),
    ],
)
def test_what_cannot_be_migrated_is_named(old: Path, change: str, says: str) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute(change)

    with pytest.raises(JournalError, match=says):
        migrate(old, halved)


def test_a_copy_overwrites_nothing_and_what_is_not_there_is_not_migrated(
    old: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_bytes(b"mine")

    with pytest.raises(JournalError, match="name another file"):
        migrate(old, halved, tmp_path / "kept")
    with pytest.raises(JournalError, match="is not there"):
        migrate(tmp_path / "none.db", halved)

    assert (tmp_path / "kept").read_bytes() == b"mine"
