"""What an auditor sees: every change of the record, and nothing where there was none."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_cases import NOON, write
from msgspec.structs import replace

from kat_workflow.errors import JournalError
from kat_workflow.journal import Append, Chain, Entry, Journal, Written, open_journal
from kat_workflow.journal.auditing import Finding, recorded, verify
from kat_workflow.journal.chain import genesis, hidden
from kat_workflow.journal.sealing import checkpoint, new_keys, public_key, signing_key
from kat_workflow.journal.sqlite import SqliteJournal

KEYS = {"k1": bytes(32)}
Record = list[Entry | Written | Chain]
PRIVATE, PUBLIC = new_keys()
KEY, OTHER = signing_key(PRIVATE), signing_key(new_keys()[0])
A, B = "enrollment:a", "enrollment:b"


def erased(since: int, through: int, wholly: bool = False) -> bytes:
    said = b',"wholly":true' if wholly else b""
    return b'{"event":"erased","since":%d,"through":%d%b}' % (since, through, said)


def filled(journal: Journal, streams: int = 50, rounds: int = 10) -> Journal:
    """Streams in which each command writes two entries, one of them with values."""
    for turn in range(rounds):
        for number in range(streams):
            body = b'{"event":"x","n":%d,"note":"%s"}' % (number, b"y" * (turn % 7))
            append = Append(
                f"enrollment:{number:03}", 2 * turn, (body, body),
                values=(b'{"reason":"r%d"}' % turn, b""),
            )  # fmt: skip
            write(
                journal, append, command=f"c-{turn}-{number}", digest=f"d-{turn}",
                recorded=NOON + timedelta(seconds=turn, microseconds=number),
            )  # fmt: skip
    return journal


@pytest.fixture(scope="module", params=[None, KEYS], ids=["plain", "encrypted"])
def record(request: pytest.FixtureRequest) -> Record:
    """A record of 1,000 entries, one stream of it erased and one renamed."""
    journal = filled(open_journal(keys=request.param), 49)
    write(journal, Append("enrollment:007", 20, (erased(1, 20, True),), erase_through=20),
          command="erase-7")  # fmt: skip
    write(journal, Append("patient:p", 0, (b"1",) * 18, values=(b'{"p":1}',) * 18), command="p")
    gone = Append("patient:p", 18, (erased(1, 18, True),), erase_through=18, rename="patient:e-1")
    write(journal, gone, command="erase-p")
    return list(recorded(journal))


@pytest.fixture(scope="module", params=[None, KEYS], ids=["plain", "encrypted"])
def small(request: pytest.FixtureRequest) -> Record:
    """As `record`, with some 30 entries, so that each can be changed by itself."""
    journal = filled(open_journal(keys=request.param), 3, 4)
    write(journal, Append("enrollment:001", 8, (erased(1, 8, True),), erase_through=8),
          command="erase-1")  # fmt: skip
    write(journal, Append("patient:p", 0, (b"1",), values=(b'{"p":1}',)), command="p")
    gone = Append("patient:p", 1, (erased(1, 1, True),), erase_through=1, rename="patient:e-1")
    write(journal, gone, command="erase-p")
    return list(recorded(journal))


def is_sound(record: Record) -> bool:
    return not verify(record).faults


# Every change


def test_a_record_as_it_was_written_is_sound(record: Record) -> None:
    found = verify(record)

    assert (found.entries, found.streams, found.erased, found.faults) == (1000, 50, 28, ())


def flipped(value: Any, at: int) -> Any:
    """The value with one of its bytes another; None where it has no such byte."""
    if isinstance(value, int):
        return value ^ (1 << at) if at < 48 else None
    if isinstance(value, str):
        return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :] if at < len(value) else None
    return value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :] if at < len(value) else None


@pytest.mark.parametrize("column", ["cause", "person", "role", "body", "values", "salt", "link"])
def test_every_byte_of_every_column_of_an_entry_is_held_to(record: Record, column: str) -> None:
    """Many entries are changed at once, but for their links none that the next is linked to: what
    is found wrong with each is its own change."""
    for at in range(max(len(getattr(x, column)) for x in record if isinstance(x, Entry))):
        for half in (0, 1):
            changed: Record = []
            expected = set()
            for each in record:
                if isinstance(each, Entry) and each.position % 2 == half:
                    value = flipped(getattr(each, column), at)
                    if value is not None:
                        expected.add((each.stream, each.version))
                        each = replace(each, **{column: value})  # noqa: PLW2901
                changed.append(each)

            found = {
                (fault.stream, fault.version or 1) for fault in verify(changed, most=10_000).faults
            }
            assert expected <= found


def test_every_byte_of_where_and_when_an_entry_stands_is_held_to(small: Record) -> None:
    for place in entries_of(small):
        entry = small[place]
        assert isinstance(entry, Entry)
        changes: list[dict[str, Any]] = [
            {column: value}
            for column in ("position", "version", "stream")
            for at in range(48)
            if (value := flipped(getattr(entry, column), at)) is not None
        ]
        changes += [
            {"recorded": entry.recorded + timedelta(microseconds=1 << n)} for n in range(44)
        ]
        for change in changes:
            changed = [*small[:place], replace(entry, **change), *small[place + 1 :]]
            assert not is_sound(changed), (place, change)


def test_every_byte_of_what_is_kept_of_commands_and_chains_is_held_to(small: Record) -> None:
    for place, row in enumerate(small):
        for column in () if isinstance(row, Entry) else row.__struct_fields__:
            for at in range(48):
                value = flipped(getattr(row, column), at)
                if value is None:
                    continue
                changed = [*small[:place], replace(row, **{column: value}), *small[place + 1 :]]
                assert not is_sound(changed), (place, column, at)


def entries_of(record: Record) -> list[int]:
    return [n for n, each in enumerate(record) if isinstance(each, Entry)]


def _dropped(record: Record, at: int) -> Record:
    return record[:at] + record[at + 1 :]


def _renumbered(record: Record, at: int) -> Record:
    """An entry dropped, and all after it moved up as if it had never been."""
    gone = record[at]
    assert isinstance(gone, Entry)
    rest: Record = []
    for each in record[at + 1 :]:
        if isinstance(each, Entry):
            down = each.stream == gone.stream
            each = replace(each, position=each.position - 1, version=each.version - down)  # noqa: PLW2901
        elif isinstance(each, Written):
            each = replace(each, first=each.first - 1, last=each.last - 1)  # noqa: PLW2901
        elif each.stream == gone.stream:
            each = replace(each, version=each.version - 1)  # noqa: PLW2901
        rest.append(each)
    return record[:at] + rest


def _swapped(record: Record, at: int) -> Record:
    one, other = record[at], record[at + 1]
    assert isinstance(one, Entry)
    assert isinstance(other, Entry)
    first = replace(other, position=one.position, version=one.version)
    second = replace(one, position=other.position, version=other.version)
    return [*record[:at], first, second, *record[at + 2 :]]


def _copied(record: Record, at: int) -> Record:
    """An entry in the place of the one of another stream."""
    places = entries_of(record)
    source, target = record[at], record[places[places.index(at) + 2]]
    assert isinstance(source, Entry)
    assert isinstance(target, Entry)
    copy = replace(source, position=target.position, stream=target.stream, version=target.version)
    return [copy if each is target else each for each in record]


def _appended(record: Record, at: int) -> Record:
    """An entry written once more at the end of its stream."""
    entry = record[at]
    assert isinstance(entry, Entry)
    (last,) = (c for c in record if isinstance(c, Chain) and c.stream == entry.stream)
    again = replace(entry, position=1001, version=last.version + 1)
    chain = replace(last, version=last.version + 1, link=again.link)
    ends = [chain if each is last else each for each in record if isinstance(each, Chain)]
    written: Record = [Written(entry.cause, b"d" * 32, b"s" * 16, 1001, 1001)]
    return [*(each for each in record if not isinstance(each, Chain)), *written, again, *ends]


@pytest.mark.parametrize("change", [_dropped, _renumbered, _swapped, _copied, _appended])
def test_what_is_dropped_swapped_copied_or_written_once_more_is_seen(
    record: Record, change: Callable[[Record, int], Record]
) -> None:
    for at in entries_of(record)[:900:90]:
        assert not is_sound(change(record, at))


def test_the_first_bad_entry_is_named(record: Record) -> None:
    at = entries_of(record)[500]
    bad = record[at]
    assert isinstance(bad, Entry)
    changed = [*record[:at], replace(bad, person="paul"), *record[at + 1 :]]

    (fault,) = verify(changed).faults

    where = (fault.stream, fault.version, fault.position, fault.cause)
    assert where == (bad.stream, bad.version, 501, bad.cause)
    assert "not as it was written" in fault.says


def test_no_more_faults_are_told_than_was_asked_for(record: Record) -> None:
    changed = [replace(x, role="x") if isinstance(x, Entry) else x for x in record]

    assert len(verify(changed, most=7).faults) == 7
    assert len(verify(changed).faults) == 950 + 50


# Erased, and missing


def test_values_that_are_missing_without_an_erasure_are_tampering(record: Record) -> None:
    at = entries_of(record)[300]
    entry = record[at]
    assert isinstance(entry, Entry)
    assert entry.values
    held = sha256(entry.salt + entry.values).digest()
    changed = [*record[:at], replace(entry, values=b"", salt=held), *record[at + 1 :]]

    (fault,) = verify(changed).faults

    assert (fault.stream, "no erasure says so" in fault.says) == (entry.stream, True)


def test_what_was_erased_and_is_there_again_is_seen() -> None:
    journal = open_journal()
    write(journal, Append(A, 0, (b"1", b"2"), values=(b'{"v":1}', b"")), command="c1")
    before = list(recorded(journal))
    write(journal, Append(A, 2, (erased(1, 2),), erase_through=2), command="c2")
    after = list(recorded(journal))

    assert not verify(after).faults
    old = {x.position: x for x in before if isinstance(x, Entry)}
    back = [old.get(x.position, x) if isinstance(x, Entry) else x for x in after]
    commands = {x.command: x for x in before if isinstance(x, Written)}
    guess = [commands.get(x.command, x) if isinstance(x, Written) else x for x in after]
    assert "is there again" in verify(back).faults[0].says
    assert "is there again" in verify(guess).faults[0].says


def test_names_and_salts_are_taken_away_by_an_erasure_only(record: Record) -> None:
    chain = next(c for c in record if isinstance(c, Chain) and c.stream == "enrollment:003")
    renamed = replace(chain, salt=genesis(chain.salt, chain.stream))
    written = next(w for w in record if isinstance(w, Written) and w.command == "c-3-3")
    hid = replace(written, salt=hidden(written.salt))

    nameless = verify([renamed if x is chain else x for x in record])
    saltless = verify([hid if x is written else x for x in record])

    assert "name was taken away" in nameless.faults[0].says
    assert "salt of the command c-3-3" in saltless.faults[0].says


# Checkpoints


def sealed(journal: Journal, *, key: Any = KEY) -> bytes:
    return checkpoint(journal, key, NOON)


def audit(journal: Journal, *marks: bytes) -> Finding:
    return verify(recorded(journal), marks, public_key(PUBLIC))


@pytest.fixture(params=["memory", "sqlite", "encrypted"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    where = None if request.param == "memory" else tmp_path / "journal.db"
    keys = KEYS if request.param == "encrypted" else None
    with open_journal(where, keys=keys) as opened:
        yield filled(opened, 3, 4)


def test_a_checkpoint_vouches_for_what_was_written_before_it(journal: Journal) -> None:
    first = sealed(journal)
    write(journal, Append(A, 0, (b"1",)), command="later")
    second = sealed(journal)
    write(journal, Append(A, 1, (b"2",)), command="last")

    found = audit(journal, second, first)

    assert journal.checkpoints() == [first, second]
    assert (found.faults, found.covered) == ((), 25)
    assert "entries 26 to 26" in found.unchecked[0]
    assert audit(journal, sealed(journal)).covered == 26
    assert "no checkpoint" in verify(recorded(journal)).unchecked[0]


def test_an_empty_journal_can_be_sealed_too() -> None:
    journal = open_journal()
    mark = sealed(journal)
    assert audit(journal, mark).faults == ()

    write(journal, Append(A, 0, (b"1",)))

    assert audit(journal, mark).faults == ()


def test_a_cut_tail_is_seen_against_the_last_checkpoint_and_not_without(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        filled(journal, 3, 4)
        mark = sealed(journal)
    with closing(sqlite3.connect(path)) as connection, connection:
        # Cut as cleanly as it can be done: the last command as if it had never been.
        ((first, stream),) = connection.execute(
            "SELECT min(position), stream FROM kat_entries WHERE position > 22"
        ).fetchall()
        connection.execute("DELETE FROM kat_entries WHERE position >= ?", (first,))
        connection.execute("DELETE FROM kat_commands WHERE first >= ?", (first,))
        connection.execute(
            "UPDATE kat_streams SET version = version - 2, link = (SELECT link FROM kat_entries"
            " WHERE stream = ?1 ORDER BY version DESC LIMIT 1) WHERE stream = ?1",
            (stream,),
        )

    with SqliteJournal(path) as journal:
        blind, found = verify(recorded(journal)), audit(journal, mark)

    assert blind.faults == ()
    assert "cut off at the end" in blind.unchecked[0]
    assert "the end was cut off, or an older copy put back" in found.faults[0].says


def test_an_old_copy_that_was_put_back_is_seen_also_after_it_was_written_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "old.db"
    with open_journal(path) as journal:
        filled(journal, 3, 1)
        with closing(sqlite3.connect(copy)) as other:
            journal._connection.backup(other)  # type: ignore[attr-defined]
        write(journal, Append(A, 0, (b"1", b"2")), command="lost")
        mark = sealed(journal)

    with SqliteJournal(copy) as journal:
        short = audit(journal, mark)
        write(journal, Append(A, 0, (b"1", b"2")), command="lost")
        other_one = audit(journal, mark)

    assert "an older copy put back" in short.faults[0].says
    assert "vouches for another record" in other_one.faults[0].says


def test_a_checkpoint_of_another_key_or_with_a_changed_byte_counts_for_nothing(
    journal: Journal,
) -> None:
    mark = sealed(journal)

    other = audit(journal, sealed(journal, key=OTHER))
    assert "not as this key has signed it" in other.faults[0].says
    for at in range(len(mark)):
        changed = mark[:at] + bytes((mark[at] ^ 1,)) + mark[at + 1 :]
        assert audit_of_nothing(changed), at


def audit_of_nothing(mark: bytes) -> bool:
    return bool(verify([], [mark], public_key(PUBLIC)).faults)


def test_a_checkpoint_that_was_changed_in_the_journal_is_not_built_upon(journal: Journal) -> None:
    journal.keep_checkpoint(24, sealed(journal).replace(b'"position":24', b'"position":23'))

    assert audit(journal, sealed(journal)).faults == ()


@pytest.mark.parametrize(
    ("load", "pem", "says"),
    [(signing_key, b"x", "cannot be read"), (public_key, b"x", "cannot be read")],
)
def test_a_file_that_is_no_key_is_said_to_be_none(
    load: Callable[[bytes], object], pem: bytes, says: str
) -> None:
    with pytest.raises(JournalError, match=says):
        load(pem)


def test_keys_of_another_kind_are_not_taken() -> None:
    other = generate_private_key(SECP256R1())
    private = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    with pytest.raises(JournalError, match="another kind"):
        signing_key(private)
    with pytest.raises(JournalError, match="another kind"):
        public_key(public)


def test_without_the_extra_it_is_named_and_the_chain_can_be_verified_all_the_same() -> None:
    look = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from kat_workflow.errors import JournalError\n"
        "from kat_workflow.journal.auditing import verify\n"
        "print(verify([]).faults)\n"
        "try:\n"
        "    import kat_workflow.journal.sealing\n"
        "except JournalError as error:\n"
        "    print(error)\n"
    )

    said = subprocess.run(
        [sys.executable, "-c", look],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.startswith("()\n")
    assert 'pip install "kat-workflow[seal]"' in said.stdout


# Any sequence


_deeds = st.lists(
    st.tuples(st.sampled_from((A, B)), st.integers(1, 3), st.booleans(), st.integers(0, 9)),
    min_size=1,
    max_size=12,
)


@given(_deeds, st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_and_erased_verifies_and_whatever_is_changed_then_does_not(
    deeds: list[tuple[str, int, bool, int]], data: st.DataObject
) -> None:
    journal = open_journal()
    for number, (stream, length, erases, since) in enumerate(deeds):
        version = journal.version(stream)
        bodies, values, through = (b'{"n":1}',) * length, (b'{"v":1}',) * length, 0
        if erases and version:
            through = version
            bodies, values = (erased(min(max(since, 1), version), version),), (b"",)
        append = Append(
            stream, version, bodies, values=values, erase_through=through,
            erase_from=min(max(since, 1), version) if through else 1,
        )  # fmt: skip
        write(journal, append, command=f"c{number}")
    mark = sealed(journal)
    record = list(recorded(journal))
    assert verify(record, [mark], public_key(PUBLIC)).faults == ()

    at = data.draw(st.integers(0, len(record) - 1))
    column = data.draw(st.sampled_from(record[at].__struct_fields__))
    value = getattr(record[at], column)
    if column == "recorded":
        new = value + timedelta(microseconds=data.draw(st.integers(1, 10**9)))
    else:
        wide = 47 if isinstance(value, int) else max(len(value) - 1, 0)
        new = flipped(value, data.draw(st.integers(0, wide)))
        new = b"x" if new is None else new
    record[at] = replace(record[at], **{column: new})

    assert verify(record, [mark], public_key(PUBLIC)).faults
