"""What is encrypted comes out as it went in, in its own place, for whoever has the key."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import closing
from datetime import date
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_cases import NOON, item, write

from kat_workflow.errors import JournalError, Refused
from kat_workflow.journal import (
    Append,
    CensusRow,
    Journal,
    Receipt,
    encrypting,
    is_payload,
    open_journal,
    stored,
)
from kat_workflow.journal.auditing import recorded, verify
from kat_workflow.journal.encrypting import EncryptedJournal, Keys, add_key
from kat_workflow.journal.memory import MemoryJournal

K1, K2 = bytes(range(32)), bytes(range(32, 64))
KEYS = {"k1": K1}
A, B, PATIENT = "enrollment:a", "enrollment:b", "patient:MRN-7"
MARK = b"Xq7Canary"


def erased(since: int, through: int) -> bytes:
    return b'{"event":"erased","since":%d,"through":%d,"wholly":true}' % (since, through)


def visit(journal: Journal, command: str = "c1") -> Receipt:
    """One command that writes everything there is to write, of two patients."""
    appends = []
    for stream, patient in ((A, "MRN-7"), (B, "MRN-8")):
        last = journal.version(stream)
        told = f'{{"told":"{stream} {MARK.decode()} {last}"}}'.encode()
        appends.append(
            Append(
                stream, last, (told, told), told, NOON,
                items=(item("look", stream, patient=patient, title=MARK.decode(), assigned="ann"),),
                census=CensusRow(stream, "main", patient, "kat", "active", (MARK.decode(),),
                                 date(2026, 3, 1)),
                values=(told, b""),
            )
        )  # fmt: skip
        appends.append(Append(f"patient:{patient}", journal.version(f"patient:{patient}"), (told,)))
    return write(journal, *appends, command=command)


def everything(journal: Journal) -> list[object]:
    """Everything that a journal tells whoever asks it."""
    streams = journal.streams()
    return [
        [msgspec.structs.replace(e, link=b"", salt=e.salt[:1]) for e in journal.follow(0, 999)],
        [(stream, journal.row(stream)) for stream in streams],
        journal.worklist(limit=99),
        journal.worklist(patient="MRN-7"),
        journal.census("main"),
        [msgspec.structs.replace(s, chain=None) for s in journal.standings()],
    ]


# As it went in


def test_what_is_told_of_patients_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        visit(journal)

        raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert (journal.read(PATIENT)[0].stream, len(journal.worklist()[0])) == (PATIENT, 2)

    for secret in (MARK, b"told", b"MRN-7", b"MRN-8", b"2026-03-01", b'"kat"'):
        assert secret not in raw
    for readable in (b"enrollment:a", b"nora", b"nurse", b"main", b"active", b"look", b"ann"):
        assert readable in raw


_ids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


@given(st.binary(), st.binary(), st.sets(_ids, min_size=1, max_size=3))
def test_any_payload_is_read_again_by_its_key_in_its_place_alone(
    plain: bytes, about: bytes, names: set[str]
) -> None:
    keys = Keys({name: os.urandom(32) for name in names})

    payload = keys.encrypt(plain, about)

    assert is_payload(payload)
    assert msgspec.json.decode(payload)["key"] == keys.writes
    assert keys.decrypt(payload, about, str) == plain
    assert keys.encrypt(plain, about) != payload
    with pytest.raises(JournalError):
        keys.decrypt(payload, about + b".", str)


def test_a_stream_keeps_its_name_when_it_is_asked_for_again(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        receipt = visit(journal)

    with open_journal(tmp_path / "j.db", keys=KEYS) as again:
        assert again.receipt("c1", "d1") == msgspec.structs.replace(receipt, again=True)
        assert {chain.stream for chain in again.chains()} == {*again.streams()}
        assert again.streams("patient:MRN") == [PATIENT, "patient:MRN-8"]
    assert receipt.versions[-1] == ("patient:MRN-8", 1)


# In its own place


CHANGES = {
    "a body of another stream": (
        "UPDATE kat_entries SET body = (SELECT body FROM kat_entries WHERE stream ="
        f" '{B}' AND version = 1) WHERE stream = '{A}' AND version = 1",
        lambda j: j.read(A), "enrollment:a: version 1",
    ),
    "a body of another version": (
        "UPDATE kat_entries SET body = (SELECT body FROM kat_entries WHERE stream ="
        f" '{A}' AND version = 2) WHERE stream = '{A}' AND version = 1",
        lambda j: j.follow(0, 9), "enrollment:a: version 1",
    ),
    "values of another stream": (
        'UPDATE kat_entries SET "values" = (SELECT "values" FROM kat_entries WHERE stream ='
        f" '{B}' AND version = 1) WHERE stream = '{A}' AND version = 1",
        lambda j: j.read(A), "enrollment:a: version 1",
    ),
    "values as a body": (
        f"UPDATE kat_entries SET body = \"values\" WHERE stream = '{A}' AND version = 1",
        lambda j: j.read(A), "enrollment:a: version 1",
    ),
    "values that are gone": (
        f"UPDATE kat_entries SET \"values\" = x'', salt = x'' WHERE stream = '{A}' AND version = 1",
        lambda j: j.read(A), "enrollment:a: version 1 .* lost its values",
    ),
    "another person": (
        f"UPDATE kat_entries SET person = 'eve' WHERE stream = '{A}'",
        lambda j: j.read(A), "enrollment:a: version 1",
    ),
    "a patient's entries as another's": (
        "UPDATE kat_entries SET stream = CASE stream WHEN (SELECT min(stream) FROM kat_entries"
        " WHERE stream LIKE 'patient:%') THEN 'patient:~' ELSE stream END",
        lambda j: j.follow(0, 9), "a patient's own stream: version 1",
    ),
    "a patient's body as another's": (
        "UPDATE kat_entries SET body = (SELECT body FROM kat_entries other WHERE other.stream"
        " LIKE 'patient:%' AND other.stream <> kat_entries.stream) WHERE stream LIKE 'patient:%'",
        lambda j: j.follow(0, 9), "a patient's own stream: version 1",
    ),
    "a row of another stream": (
        f"UPDATE kat_streams SET row = (SELECT row FROM kat_streams WHERE stream = '{B}')"
        f" WHERE stream = '{A}'",
        lambda j: j.row(A), "enrollment:a: the state row of version 2",
    ),
    "a row of another version": (
        f"UPDATE kat_streams SET version = 1 WHERE stream = '{A}'",
        lambda j: j.row(A), "enrollment:a: the state row of version 1",
    ),
    "an item of another stream": (
        "UPDATE kat_items SET body = CAST(replace(CAST(body AS TEXT), 'enrollment:b',"
        " 'enrollment:a') AS BLOB)",
        lambda j: j.worklist(), "enrollment:a: a row of the worklists",
    ),
    "an item of another patient": (
        "UPDATE kat_items SET body = CAST(replace(CAST(body AS TEXT), '\"patient\":\"patient:~',"
        " '\"patient\":\"patient:~x') AS BLOB)",
        lambda j: j.worklist(), "a row of the worklists",
    ),
    "an item that is nobody's any more": (
        "UPDATE kat_items SET body = CAST(replace(CAST(body AS TEXT), '\"ann\"', '\"eve\"')"
        " AS BLOB)",
        lambda j: j.worklist(), "a row of the worklists",
    ),
    "a plain item": (
        "UPDATE kat_items SET body = CAST(replace(CAST(body AS TEXT), 'encrypted', 'x')"
        " AS BLOB)",
        lambda j: j.worklist(), "a row of the worklists is not encrypted",
    ),
    "another standing in the census": (
        "UPDATE kat_census SET body = CAST(replace(CAST(body AS TEXT), 'active', 'closed')"
        " AS BLOB)",
        lambda j: j.census("main"), "a row of the census",
    ),
    "a plain row of the census": (
        "UPDATE kat_census SET body = CAST(replace(CAST(body AS TEXT), 'encrypted', 'x')"
        " AS BLOB)",
        lambda j: j.census("main"), "a row of the census is not encrypted",
    ),
    "a plain row": (
        "UPDATE kat_streams SET row = x'90'",
        lambda j: j.row(A), "enrollment:a: the state row of version 2 is not encrypted",
    ),
    "a plain body": (
        f"UPDATE kat_entries SET body = x'7b7d' WHERE stream = '{B}' AND version = 2",
        lambda j: j.read(B), "enrollment:b: version 2 .* is not encrypted",
    ),
    "plain values": (
        f"UPDATE kat_entries SET \"values\" = x'7b7d' WHERE stream = '{B}' AND version = 1",
        lambda j: j.read(B), "enrollment:b: version 1 .* is not encrypted",
    ),
    "no ciphertext": (
        "UPDATE kat_entries SET body = CAST('{\"encrypted\":\"\",\"key\":\"k1\"}' AS BLOB)",
        lambda j: j.read(A), "enrollment:a: version 1",
    ),
    "no payload": (
        "UPDATE kat_entries SET body = CAST('{\"encrypted\":\"' || x'ff' AS BLOB)",
        lambda j: j.read(A), "enrollment:a: version 1",
    ),
    "a key that has no name": (
        "UPDATE kat_entries SET body = CAST('{\"encrypted\":\"\",\"key\":\"Xq7Canary!\"}' AS BLOB)",
        lambda j: j.read(A), "a key that is not given; give that key",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "ask", "says"), CHANGES.values(), ids=[name.replace(" ", "-") for name in CHANGES]
)
def test_what_is_put_in_anothers_place_or_stands_plain_is_named_and_not_believed(
    tmp_path: Path, change: str, ask: Callable[[Journal], object], says: str
) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        visit(journal)
        ask(journal)
        with closing(sqlite3.connect(tmp_path / "j.db")) as connection, connection:
            connection.execute(change)

        with pytest.raises(JournalError, match=says) as error:
            ask(journal)

    assert MARK.decode() not in str(error.value)
    assert "MRN" not in str(error.value)


@settings(max_examples=60)
@given(data=st.data())
def test_whichever_byte_of_a_payload_is_changed_it_is_not_read(data: st.DataObject) -> None:
    keys = Keys(KEYS)
    payload = keys.encrypt(MARK, b"about")
    sealed = bytearray(b64decode(msgspec.json.decode(payload)["encrypted"]))

    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))

    changed = b'{"encrypted":"%b","key":"k1"}' % b64encode(sealed)
    with pytest.raises(JournalError, match="was changed"):
        keys.decrypt(changed, b"about", str)


@given(st.binary(max_size=60), st.sampled_from([b"", b'","key":"k1"}', b'":' + b"[" * 99_999]))
def test_whatever_bytes_stand_in_its_place_are_refused_in_words(data: bytes, end: bytes) -> None:
    payload = b'{"encrypted":"' + b64encode(data) + end

    with pytest.raises(JournalError, match=r"^somewhere cannot be read|^somewhere was written"):
        Keys(KEYS).decrypt(payload, b"", lambda: "somewhere")


def test_a_stream_without_its_entries_is_called_as_it_is_stored(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        visit(journal)
    with closing(sqlite3.connect(tmp_path / "j.db")) as connection, connection:
        connection.execute("DELETE FROM kat_entries WHERE stream LIKE 'patient:%'")

    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        assert journal.streams()[:2] == [A, B]
        assert all(stream.startswith("patient:~") for stream in journal.streams("patient:"))


def test_names_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypting, "_REMEMBERED", 3)
    journal = EncryptedJournal(MemoryJournal(), KEYS)
    names = [f"patient:{number}" for number in range(9)]
    for name in names:
        write(journal, Append(name, 0, (name.encode(),)), command=name)

    assert journal.streams("patient:") == names
    assert [entry.body.decode() for name in names for entry in journal.read(name)] == names


def test_only_a_patients_own_stream_takes_another_name() -> None:
    with open_journal(keys=KEYS) as journal:
        write(journal, Append(A, 0, (b"1",)), command="c1")

        with pytest.raises(ValueError, match="only a patient's own stream is renamed"):
            write(journal, Append(A, 1, (b"2",), erase_through=1, rename=B), command="c2")


# Keys


def test_a_new_key_writes_and_the_old_ones_read(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with open_journal(path, keys=KEYS) as journal:
        first = visit(journal, "c1")
        before = everything(journal)
        names = stored(journal).streams("patient:")

    with open_journal(path, keys={"k1": K1, "k2": K2}) as rotated:
        assert everything(rotated) == before
        assert rotated.receipt("c1", "d1") == msgspec.structs.replace(first, again=True)
        assert visit(rotated, "c1").again
        visit(rotated, "c2")
        after = everything(rotated)
        inside = stored(rotated)

        assert [msgspec.json.decode(e.body)["key"] for e in inside.follow(0, 99)] == (
            ["k1"] * 6 + ["k2"] * 6
        )
        assert inside.streams("patient:") == names
        assert rotated.version(PATIENT) == 2
        with pytest.raises(Refused, match="id-reused"):
            rotated.receipt("c1", "another")
        assert rotated.receipt("c3", "d1") is None

    with open_journal(path, keys={"k1": K1, "k2": K2, "k3": bytes(32)}) as third:
        assert everything(third) == after
    with open_journal(path, keys=KEYS) as old, pytest.raises(
        JournalError, match=r'version 3 \(position 7\) was written with the key "k2"; give that'
    ):  # fmt: skip
        old.read(A)


def test_a_wrong_key_of_the_right_id_is_said_to_be_one(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        write(journal, Append(A, 0, (MARK,)))

    with open_journal(tmp_path / "j.db", keys={"k1": K2}) as journal, pytest.raises(
        JournalError, match=r'enrollment:a: version 1 .* with the key "k1": it is another key'
    ):  # fmt: skip
        journal.read(A)


@pytest.mark.parametrize(
    ("keys", "way"),
    [({"k2": K2, "k1": K1}, 'give the key "k1" first'), ({"k2": K2}, "give that key, and first")],
)
def test_no_patient_is_begun_twice_since_another_key_came_first(
    tmp_path: Path, keys: dict[str, bytes], way: str
) -> None:
    with open_journal(tmp_path / "j.db", keys=keys) as early:
        with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
            visit(journal)

        with pytest.raises(JournalError, match=way):
            write(early, Append("patient:new", 0, (b"1",)), command="c2")
    with pytest.raises(JournalError, match=way):
        open_journal(tmp_path / "j.db", keys=keys)


@pytest.mark.parametrize(
    ("keys", "says"),
    [({}, "needs a key"), ({"k": b"short"}, "32 bytes"), ({'k"': K1}, "its id"), ({"": K1}, "id")],
)
def test_what_is_no_key_is_not_taken(keys: dict[str, bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Keys(keys)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"k": 1}', b'{"k": "Xq7Canary!"}', b'{"k": "AA=="}']
)
def test_a_text_that_holds_no_keys_is_not_quoted(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"keys|bytes") as error:
        Keys.parse(text)

    assert MARK.decode() not in str(error.value)


def test_keys_are_added_to_a_text_one_by_one() -> None:
    one = add_key(b"{}", "z")
    two = add_key(one, "a")

    assert (Keys.parse(one).writes, Keys.parse(two).writes) == ("z", "a")
    assert Keys.parse(one).pseudonym("p") == Keys.parse(two).pseudonym("p")
    for text, name, says in ((two, "z", "already"), (b"x", "n", "mapping"), (two, "?", "its id")):
        with pytest.raises(ValueError, match=says):
            add_key(text, name)


# Without keys


def test_without_keys_it_is_audited_and_says_of_everything_else_what_it_needs(
    tmp_path: Path,
) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        visit(journal)

    with open_journal(tmp_path / "j.db") as locked:
        assert isinstance(locked, EncryptedJournal)
        assert locked.locked
        finding = verify(recorded(locked))
        assert (finding.entries, finding.faults) == (6, ())
        assert [stream for stream, _ in locked.due(NOON, 9)] == [A, B]
        assert (locked.version(A), len(locked.streams()), len(locked.chains())) == (2, 4, 4)
        assert len(locked.chains(A)) == 3
        asks: list[Callable[[], object]] = [
            lambda: locked.read(A), lambda: locked.row(A), lambda: locked.follow(0, 9),
            locked.worklist, lambda: locked.census("main"), locked.standings,
            lambda: locked.read(PATIENT), lambda: locked.receipt("c1", "d1"),
            lambda: write(locked, Append("enrollment:new", 0, (b"1",)), command="c2"),
        ]  # fmt: skip
        for ask in asks:
            with pytest.raises(JournalError, match=r"keys= .*--keys FILE or KAT_KEYS"):
                ask()
        assert locked.census("elsewhere") == []


def test_one_that_only_signs_programs_is_known_to_be_encrypted_too(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.db", keys=KEYS) as journal:
        write(journal, Append("program:kat", 0, (b"1",)))

    with open_journal(tmp_path / "j.db") as locked:
        assert isinstance(locked, EncryptedJournal)


# Erasing


def test_what_is_erased_is_gone_for_whoever_has_the_key_and_its_course_is_still_read() -> None:
    inside = MemoryJournal()
    journal = EncryptedJournal(inside, KEYS)
    visit(journal)
    visit(journal, "c2")

    write(
        journal,
        Append(A, 4, (erased(1, 4),), b"row", erase_through=4),
        Append(PATIENT, 2, (erased(1, 2),), b"row", values=(b'{"why":1}',), erase_through=2,
               rename="patient:erased-1"),
        command="erase",
    )  # fmt: skip

    entries = journal.read("patient:erased-1")
    assert [(e.body[:7], e.values, e.erased) for e in entries] == [
        (b'{"told"', b"", False), (b'{"told"', b"", False), (b'{"event', b'{"why":1}', False),
    ]  # fmt: skip
    assert [(e.values, e.erased) for e in journal.read(A)] == [
        (b"", True), (b"", False), (b"", True), (b"", False), (b"", False),
    ]  # fmt: skip
    assert (journal.row(A), journal.row("patient:erased-1")) == ((5, b"row"), (3, b"row"))
    assert journal.worklist(stream=A) == ([], None)
    assert journal.read(PATIENT) == []
    assert verify(recorded(journal)).faults == ()
    assert not any(b"MRN-7" in e.body + e.values for e in journal.follow(0, 99))
    write(journal, Append(PATIENT, 0, (b"anew",)), command="anew")
    assert [e.body for e in journal.read(PATIENT)] == [b"anew"]


def test_a_stream_keeps_its_name_whose_values_before_were_erased() -> None:
    journal = EncryptedJournal(MemoryJournal(), KEYS)
    write(journal, Append(PATIENT, 0, (b"1",)))
    write(journal, Append(PATIENT, 1, (erased(1, 1),), erase_through=1), command="c2")

    again = EncryptedJournal(journal.stored, KEYS)

    assert [e.body for e in again.read(PATIENT)] == [b"1", erased(1, 1)]
    assert {e.stream for e in again.follow(0, 9)} == {PATIENT}


# From plain to encrypted


def plain(inside: Journal) -> Receipt:
    row = item("look", A, patient="MRN-7")
    return write(
        inside,
        Append(A, 0, (b'{"e":1}', b'{"e":2}'), b"row", values=(b"{}", b""), items=(row,),
               census=CensusRow(A, "main", "MRN-7", "kat", "active")),
        Append(PATIENT, 0, (b'{"e":1}',), b"row"),
        command="plain",
    )  # fmt: skip


def test_a_journal_that_was_plain_is_encrypted_from_then_on_and_all_of_it_is_read() -> None:
    inside = MemoryJournal()
    receipt = plain(inside)

    journal = EncryptedJournal(inside, KEYS)
    before = (journal.row(A), journal.worklist(), journal.census("main"), len(journal.read(A)))
    assert journal.receipt("plain", "d1") == msgspec.structs.replace(receipt, again=True)
    late = item("rest", B, NOON, patient="MRN-7")
    visit(journal)
    write(journal, Append(B, 2, (b"3",), items=(late,)), command="c2")

    assert before[0] == (2, b"row")
    assert (len(before[1][0]), len(before[2]), before[3]) == (1, 1, 2)
    assert len(journal.read(A)) == 4
    assert journal.version(PATIENT) == 2
    assert [is_payload(e.body) for e in inside.follow(0, 99)] == [False] * 3 + [True] * 7
    again = EncryptedJournal(inside, KEYS)
    for each in (journal, again):
        rows, cursor = each.worklist(patient="MRN-7", limit=1)
        assert cursor is not None
        rows += each.worklist(patient="MRN-7", after=cursor)[0]
        assert [(row.stream, row.item) for row in rows] == [(A, "look"), (B, "rest")]
    assert again.row(PATIENT) is None


@pytest.mark.parametrize("stream", [A, "enrollment:new", "patient:new"])
def test_whoever_writes_on_without_the_keys_is_found_out(stream: str) -> None:
    inside = MemoryJournal()
    plain(inside)
    journal = EncryptedJournal(inside, KEYS)
    visit(journal)

    write(inside, Append(stream, inside.version(stream), (b"{}",), b"row"), command="forged")

    for each in (journal, EncryptedJournal(inside, KEYS)):
        for ask in (each.read, each.row):
            with pytest.raises(JournalError, match="is not encrypted, and stands after what is"):
                ask(stream)


@given(
    st.lists(st.booleans(), max_size=40), st.integers(0, 12), st.lists(st.booleans(), max_size=9)
)
def test_where_encryption_begins_is_found_behind_any_number_of_entries(
    before: list[bool], written: int, after: list[bool]
) -> None:
    """Erasures, which are plain on both sides, stand anywhere but at the very beginning."""
    inside, commands, versions = MemoryJournal(), count(), count()

    def entry(journal: Journal, erases: bool) -> None:
        version = next(versions)
        body = erased(1, version) if erases and version else b"{}"
        write(journal, Append(A, version, (body,)), command=f"c{next(commands)}")

    for erases in before:
        entry(inside, erases)
    first = EncryptedJournal(inside, KEYS)
    for erases in [*after, *[False] * written]:
        entry(first, erases)

    journal = EncryptedJournal(inside, KEYS)
    assert len(journal.read(A)) == inside.version(A)
    forged = Append(A, inside.version(A), (b"{}",))
    if any(is_payload(e.body) for e in inside.follow(0, 999)):
        write(inside, forged, command="forged")
        with pytest.raises(JournalError, match="is not encrypted"):
            journal.read(A)


def test_nobody_without_the_keys_can_say_that_a_patient_was_erased() -> None:
    journal = EncryptedJournal(MemoryJournal(), KEYS)
    visit(journal)

    write(journal.stored, Append(A, 2, (erased(1, 2),), erase_through=2), command="forged")

    with pytest.raises(JournalError, match=r"enrollment:a: version 3 .* is not encrypted"):
        journal.read(A)


# Where it is not used


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(JournalError, match=r"pip install .kat-workflow\[seal\]"):
        Keys(KEYS)


def test_nobody_loads_cryptography_who_does_not_encrypt(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import kat_workflow\n"
        f"engine = kat_workflow.Engine.open({str(tmp_path / 'j.db')!r})\n"
        "assert 'kat_workflow.journal.encrypting' not in sys.modules\n"
        "try: engine.open(keys={'k': bytes(32)})\n"
        "except kat_workflow.JournalError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    assert 'pip install "kat-workflow[seal]"' in done.stdout
