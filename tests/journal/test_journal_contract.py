"""What every journal keeps, held against each store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from journal_cases import NOON, causes, do_deed, item, write
from msgspec.structs import replace
from postgres import Databases

from kat_workflow.errors import Conflict, JournalError, Refused
from kat_workflow.journal import (
    Append,
    CensusRow,
    Cursor,
    Entry,
    Journal,
    Receipt,
    open_journal,
    stored,
)
from kat_workflow.journal.chain import SALT, genesis
from kat_workflow.journal.encrypting import EncryptedJournal, Keys
from kat_workflow.journal.memory import MemoryJournal

A, B = "enrollment:a", "enrollment:b"
HOUR = timedelta(hours=1)


STORES = ["memory", "sqlite", "postgres"]
KEYS = {"k1": bytes(range(32))}

IDS = [*STORES, *(f"encrypted-{store}" for store in STORES)]


@pytest.fixture(params=[(store, keys) for keys in (None, KEYS) for store in STORES], ids=IDS)
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    where: str | Path | None = None
    store, keys = request.param
    if store == "sqlite":
        where = tmp_path / "journal.db"
    elif store == "postgres":
        where = request.getfixturevalue("database")
    with open_journal(where, keys=keys) as opened:
        yield opened


# Entries


def test_an_entry_says_what_was_written_by_whom_in_which_role_and_why(journal: Journal) -> None:
    berlin = NOON.astimezone(timezone(HOUR))

    write(journal, Append(A, 0, (b'{"e":1}',)), command="c7", recorded=berlin)

    (entry,) = journal.read(A)
    assert entry == Entry(1, A, 1, NOON, "c7", "nora", "nurse", b'{"e":1}', link=entry.link)
    assert entry.recorded.utcoffset() == timedelta(0)


def test_an_instant_is_kept_to_the_microsecond_also_before_1970(journal: Journal) -> None:
    early = datetime.fromisoformat("1950-02-28T23:59:59.999999+00:00")

    write(journal, Append(A, 0, (b"1",)), recorded=early)

    assert journal.read(A)[0].recorded == early


def test_entries_of_a_stream_are_read_in_order_from_any_version_on(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1", b"2")), command="c1")
    write(journal, Append(B, 0, (b"other",)), command="c2")
    write(journal, Append(A, 2, (b"3",)), command="c3")

    assert [(e.version, e.body) for e in journal.read(A)] == [(1, b"1"), (2, b"2"), (3, b"3")]
    assert [e.body for e in journal.read(A, after_version=2)] == [b"3"]
    assert journal.read(A, after_version=3) == []
    assert journal.read("enrollment:nobody") == []
    assert (journal.version(A), journal.version("enrollment:nobody")) == (3, 0)


def test_streams_are_written_in_name_order_whatever_the_order_given(journal: Journal) -> None:
    receipt = write(journal, Append(B, 0, (b"b",)), Append("site:main", 0, (b"s",)),
                    Append(A, 0, (b"a1", b"a2")))  # fmt: skip

    assert [(e.position, e.stream, e.version) for e in journal.follow(0, 9)] == [
        (1, A, 1), (2, A, 2), (3, B, 1), (4, "site:main", 1),
    ]  # fmt: skip
    assert receipt == Receipt("c1", 1, 4, ((A, 2), (B, 1), ("site:main", 1)))


def test_a_reader_follows_the_whole_store_page_by_page(journal: Journal) -> None:
    for number in range(7):
        stream = (A, B)[number % 2]
        body = str(number).encode()
        write(journal, Append(stream, number // 2, (body,)), command=f"c{number}")

    seen: list[bytes] = []
    while page := journal.follow(len(seen), limit=3):
        assert len(page) <= 3
        seen += [entry.body for entry in page]

    assert seen == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]


def test_streams_are_listed_by_how_their_names_begin(journal: Journal) -> None:
    for number, stream in enumerate(("site:main", B, A, "enrolment:x")):
        write(journal, Append(stream, 0, (b"1",)), command=f"c{number}")

    assert journal.streams("enrollment:") == [A, B]
    assert journal.streams() == [A, B, "enrolment:x", "site:main"]


# All or nothing


def test_a_writer_who_was_overtaken_is_told_and_nothing_is_written(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",)), command="c1")

    with pytest.raises(Conflict, match="enrollment:a is at version 1, not 0"):
        write(journal, Append(A, 0, (b"2",)), command="c2")

    assert [e.body for e in journal.read(A)] == [b"1"]
    assert journal.receipt("c2", "d1") is None


def test_a_conflict_in_the_last_stream_undoes_every_part_of_the_first(journal: Journal) -> None:
    kept = item("vitals", A)
    census = CensusRow(A, "main", "p1", "kat", "active")
    write(journal, Append(A, 0, (b"1",), b"row1", NOON, items=(kept,), census=census))

    with pytest.raises(Conflict, match="enrollment:b"):
        write(
            journal,
            Append(
                A, 1, (b"2",), b"row2", NOON + HOUR, ("vitals",), (item("dose", A),),
                CensusRow(A, "main", "p1", "kat", "closed"),
            ),
            Append(B, 5, (b"2",)),
            command="c2",
        )  # fmt: skip

    assert [e.body for e in journal.follow(0, 9)] == [b"1"]
    assert journal.row(A) == (1, b"row1")
    assert journal.due(NOON + 2 * HOUR, 9) == [(A, NOON)]
    assert journal.worklist(stream=A) == ([kept], None)
    assert journal.census("main") == [census]
    assert journal.streams() == [A]


def test_a_stream_that_was_only_read_may_be_held_to_its_version(journal: Journal) -> None:
    write(journal, Append("site:main", 0, (b"s",), b"site", NOON), command="c1")

    write(journal, Append(A, 0, (b"1",)), Append("site:main", 1), command="c2")
    with pytest.raises(Conflict, match="site:main is at version 1, not 2"):
        write(journal, Append(A, 1, (b"2",)), Append("site:main", 2), command="c3")
    write(journal, Append(A, 1, (b"2",)), Append("site:other", 0), command="c4")

    assert journal.row("site:main") == (1, b"site")
    assert journal.due(NOON, 9) == [("site:main", NOON)]
    assert journal.streams() == [A, "site:main"]


@pytest.mark.parametrize(
    "appends",
    [
        (Append(A, 0, (b"1",)), Append(A, 1, (b"2",))),
        (Append(A, 0, (b"1",), items=(item("vitals", B),)),),
        (Append(A, 0, (b"1",), items=(item("vitals", A), item("vitals", A))),),
        (Append(A, 0, (b"1",), census=CensusRow(B, "main", "p", "kat", "active")),),
        (Append(A, 0, (b"1",), wake=datetime(2026, 3, 2)),),
        (Append(A, 0, (b"1",), items=(item("vitals", A, datetime(2026, 3, 2)),)),),
        (Append(A, 0, row=b"row"),),
        (Append(A, 0, (b"1",)), Append(B, 0, wake=NOON)),
        (Append(A, 0, (b"1", b"2"), values=(b"{}",)),),
        (Append(A, 1, row=b"row", erase_through=1),),
        (Append(A, 1, (b"2",), erase_through=2),),
        (Append(A, 2, (b"3",), erase_through=1, erase_from=2),),
        (Append(A, 2, (b"3",), erase_through=2, erase_from=0),),
        (Append(A, 2, (b"3",), rename=B),),
        (Append(A, 2, (b"3",), erase_through=1, rename=B),),
        (Append(A, 1, (b"2",), erase_through=1, rename=B, items=(item("vitals", A),)),),
        (Append(A, 1, (b"2",), b"row", NOON, erase_through=1, rename=B),),
    ],
    ids=["stream-twice", "item-of-another", "item-twice", "census-of-another", "wake-without-zone",
         "due-without-zone", "row-without-entry", "wake-without-row", "values-of-some-bodies",
         "erasure-that-no-entry-says", "erasure-of-itself", "erasure-of-nothing",
         "erasure-from-nothing", "rename-without-erasure", "rename-of-half",
         "rows-under-two-names", "wake-under-two-names"],
)  # fmt: skip
def test_what_cannot_be_meant_is_an_error_of_the_program_that_asks(
    journal: Journal, appends: tuple[Append, ...]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        write(journal, *appends)

    assert journal.follow(0, 9) == []


# Again


def test_a_command_sent_again_gets_its_first_receipt_and_writes_nothing(journal: Journal) -> None:
    first = write(journal, Append(A, 0, (b"1", b"2"), b"row"), Append(B, 0, (b"1",)), command="c1")
    write(journal, Append(A, 2, (b"3",), b"later"), command="c2")

    again = write(journal, Append(A, 3, (b"x",), b"x"), command="c1")

    assert not first.again
    assert again == Receipt("c1", 1, 3, ((A, 2), (B, 1)), again=True)
    assert journal.receipt("c1", "d1") == again
    assert len(journal.follow(0, 9)) == 4
    assert journal.row(A) == (3, b"later")


def test_a_command_sent_again_after_others_is_no_conflict(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",)), command="c1")
    write(journal, Append(A, 1, (b"2",)), command="c2")

    assert write(journal, Append(A, 0, (b"1",)), command="c1").again


def test_an_id_given_to_another_command_is_refused(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",)), command="c1", digest="d1")

    with pytest.raises(Refused) as refused:
        write(journal, Append(A, 1, (b"2",)), command="c1", digest="d2")
    with pytest.raises(Refused):
        journal.receipt("c1", "d2")

    assert refused.value.code == "id-reused"
    assert len(journal.follow(0, 9)) == 1


def test_a_command_without_entries_is_remembered_too(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",), b"row"), command="c1")

    receipt = write(journal, Append(A, 1, row=b"refreshed"), command="c2")

    assert (receipt.first, receipt.last, receipt.versions) == (2, 1, ())
    assert write(journal, command="c2").again
    assert journal.row(A) == (1, b"refreshed")


# The chain


def inside(journal: Journal, stream: str) -> str:
    """What a stream is called where it is stored."""
    return journal.stored_name(stream) if isinstance(journal, EncryptedJournal) else stream


def links(journal: Journal, stream: str) -> list[bytes]:
    """The links of a stream as anybody works them out from what is stored, without a key."""
    stream, journal = inside(journal, stream), stored(journal)
    (own,) = (chain for chain in journal.chains() if chain.stream == stream)
    entries = journal.read(stream)
    digests = {}
    for each in journal.written_by(e.cause for e in entries):
        salt = sha256(each.salt).digest() if len(each.salt) == SALT else each.salt
        digests[each.command] = sha256(salt + each.digest).digest()
    end = genesis(own.salt, stream) if len(own.salt) == SALT else own.salt
    found = []
    for entry in entries:
        # In words that are not the code's: what is hashed is one JSON array after the last link.
        # What was erased has left its commitment where the salt was.
        committed = entry.salt.hex()
        if entry.values:
            committed = sha256(entry.salt + entry.values).hexdigest()
        fields = [
            entry.version, round(entry.recorded.timestamp() * 1_000_000), entry.cause,
            digests[entry.cause].hex(), entry.person, entry.role, committed,
        ]  # fmt: skip
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)[:-1].encode()
        end = sha256(end + text + b"," + entry.body + b"]").digest()
        found.append(end)
    assert (own.version, own.link) == (len(entries), end)
    return found


def test_each_entry_is_linked_to_the_one_before_it_and_the_first_to_its_stream(
    journal: Journal,
) -> None:
    write(journal, Append(A, 0, (b"1", b"2")), Append(B, 0, (b"1",)), command="c1")
    write(journal, Append(A, 2, (b"3",), row=b"row"), command="„c2“")
    write(journal, Append(A, 3, row=b"refreshed"), command="c3")

    for stream in (A, B):
        assert [entry.link for entry in journal.read(stream)] == links(journal, stream)
    assert len({entry.link for entry in journal.follow(0, 9)}) == 4


def test_values_are_kept_beside_their_bodies_each_with_a_salt_of_its_own(journal: Journal) -> None:
    same = b'{"score":14}'

    write(journal, Append(A, 0, (b"1", b"2", b"3"), values=(same, b"", same)))

    first, second, third = journal.read(A)
    assert (first.values, second.values, third.values) == (same, b"", same)
    assert (len(first.salt), second.salt, len(third.salt)) == (16, b"", 16)
    assert first.salt != third.salt
    assert [entry.link for entry in journal.read(A)] == links(journal, A)


def test_commands_are_kept_under_a_commitment_to_their_digest(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1", b"2")), command="c2", digest="d2")
    write(journal, Append(A, 2, row=b"row"), command="c1", digest="d1")

    first, second = journal.written()
    assert (first.command, first.first, first.last) == ("c1", 3, 2)
    assert (second.command, second.first, second.last) == ("c2", 1, 2)
    digest = next(Keys(KEYS).digests("d2")) if isinstance(journal, EncryptedJournal) else "d2"
    assert second.digest == sha256(second.salt + digest.encode()).digest()
    assert journal.written(after="c1") == [second]
    assert journal.written(limit=1) == [first]
    assert journal.written_by(["c2", "c2", "nobody's"]) == [second]


def test_the_chains_of_all_streams_are_listed_page_by_page(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",)), Append(B, 0, (b"1", b"2")), Append("site:x", 0))

    assert [(c.stream, c.version) for c in journal.chains()] == [(A, 1), (B, 2)]
    assert journal.chains(limit=1) == journal.chains()[:1]
    assert journal.chains(after=A) == journal.chains()[1:]


def test_checkpoints_are_kept_by_position(journal: Journal) -> None:
    for position, body in ((7, b"later"), (3, b"first"), (7, b"again")):
        journal.keep_checkpoint(position, body)

    assert journal.checkpoints() == [b"first", b"later", b"again"]


# Erasing


def test_what_is_erased_is_gone_and_every_link_still_holds(journal: Journal) -> None:
    told = (b'{"reason":"x"}', b"", b'{"score":14}')
    census = CensusRow(A, "main", "p1", "kat", "active")
    rows = {"items": (item("vitals", A),), "census": census}
    write(journal, Append(A, 0, (b"1", b"2", b"3"), b"row", NOON, values=told, **rows))  # type: ignore[arg-type]
    write(journal, Append(B, 0, (b"1",), values=(b'{"b":1}',)), command="c2")
    before = links(journal, A)

    write(
        journal,
        Append(A, 3, (b"erased",), b"after", values=(b'{"why":1}',), erase_through=3),
        command="c3",
    )

    assert [(e.body, e.values) for e in journal.read(A)] == [
        (b"1", b""), (b"2", b""), (b"3", b""), (b"erased", b'{"why":1}'),
    ]  # fmt: skip
    assert [len(e.salt) for e in journal.follow(0, 9)] == [32, 0, 32, 16, 16]
    assert [e.link for e in journal.read(A)][:3] == before
    assert links(journal, A)[:3] == before
    assert journal.row(A) == (4, b"after")
    assert journal.due(NOON, 9) == []
    assert journal.worklist() == ([], None)
    assert journal.census("main") == []
    assert [e.values for e in journal.read(B)] == [b'{"b":1}']


def test_one_entry_is_erased_without_the_others_and_the_rows_are_put_in_anew(
    journal: Journal,
) -> None:
    values = tuple(b'{"n":%d}' % number for number in range(3))
    kept = item("vitals", A)
    write(journal, Append(A, 0, (b"1", b"2", b"3"), values=values, items=(kept, item("gone", A))))

    erasing = Append(A, 3, (b"e",), b"row", items=(kept,), erase_from=2, erase_through=2)
    write(journal, erasing, command="c2")

    assert [e.values for e in journal.read(A)] == [values[0], b"", values[2], b""]
    assert journal.worklist() == ([kept], None)


def test_a_command_whose_entries_were_erased_can_be_compared_with_nothing(
    journal: Journal,
) -> None:
    """Its digest covers what it said: without the salt no guess at that can be confirmed."""
    write(journal, Append(A, 0, (b"1",), values=(b"{}",)), command="c1", digest="d1")
    write(journal, Append(A, 1, (b"2",), erase_through=1), command="c2", digest="d2")

    with pytest.raises(Refused) as refused:
        journal.receipt("c1", "d1")

    assert refused.value.code == "id-reused"
    assert "a command that was erased" in refused.value.refusal.reasons[0].says
    assert [len(each.salt) for each in journal.written()] == [32, 16]
    assert journal.receipt("c2", "d2") is not None


def test_an_erasure_sent_again_takes_nothing_away(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",), values=(b"{}",)), command="c1")
    erasure = Append(A, 1, (b"2",), erase_through=1)
    write(journal, erasure, command="c2")
    later = Append(A, 2, (b"3",), items=(item("vitals", A),), values=(b"{}",))
    write(journal, later, command="c3")

    again = write(journal, erasure, command="c2")

    assert again.again
    assert journal.worklist(stream=A) == ([item("vitals", A)], None)
    assert [e.values for e in journal.read(A)] == [b"", b"", b"{}"]


def test_a_stream_that_is_erased_can_be_given_another_name(journal: Journal) -> None:
    known, anonymous = "patient:MRN-7", "patient:erased-1"
    write(journal, Append(known, 0, (b"1",), b"row", NOON), Append(A, 0, (b"1",)), command="c1")
    (salt,) = (c.salt for c in journal.chains() if c.stream == known)
    name = inside(journal, known)

    last = Append(known, 1, (b"2",), b"row", erase_through=1, rename=anonymous)
    receipt = write(journal, last, command="c2")
    write(journal, Append(anonymous, 2, (b"3",), b"row", NOON), command="c3")

    assert receipt.versions == ((anonymous, 2),)
    assert journal.receipt("c2", "d1") == Receipt("c2", 3, 3, receipt.versions, again=True)
    assert journal.streams() == [A, anonymous]
    assert journal.read(known) == []
    assert journal.row(anonymous) == (3, b"row")
    assert journal.due(NOON, 9) == [(anonymous, NOON)]
    assert [e.stream for e in journal.follow(0, 9)] == [A, anonymous, anonymous, anonymous]
    assert links(journal, anonymous) == [e.link for e in journal.read(anonymous)]
    (kept,) = (c.salt for c in journal.chains() if c.stream == anonymous)
    assert kept == genesis(salt, name)


def test_a_stream_of_the_old_name_begins_anew(journal: Journal) -> None:
    write(journal, Append("patient:p", 0, (b"1",)), command="c1")
    write(journal, Append("patient:p", 1, (b"2",), erase_through=1, rename="patient:x"),
          command="c2")  # fmt: skip

    write(journal, Append("patient:p", 0, (b"1",)), command="c3")

    assert (journal.version("patient:p"), journal.version("patient:x")) == (1, 2)


# Rows beside the entries


def test_the_state_row_is_of_the_last_entry_or_not_there(journal: Journal) -> None:
    assert journal.row(A) is None

    write(journal, Append(A, 0, (b"1", b"2"), b"row"), command="c1")
    assert journal.row(A) == (2, b"row")

    write(journal, Append(A, 2, (b"3",)), command="c2")
    assert journal.row(A) is None


def test_streams_are_due_by_their_wake_up_earliest_first(journal: Journal) -> None:
    for number, (stream, wake) in enumerate(
        [("s:late", NOON + HOUR), ("s:b", NOON), ("s:a", NOON), ("s:never", None)]
    ):
        write(journal, Append(stream, 0, (b"1",), wake=wake), command=f"c{number}")

    assert journal.due(NOON - timedelta(microseconds=1), 9) == []
    assert journal.due(NOON, 9) == [("s:a", NOON), ("s:b", NOON)]
    assert journal.due(NOON + HOUR, 9) == [("s:a", NOON), ("s:b", NOON), ("s:late", NOON + HOUR)]
    assert journal.due(NOON + HOUR, 1) == [("s:a", NOON)]


def test_a_wake_up_is_moved_or_dropped_by_the_next_append(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",), wake=NOON), Append(B, 0, (b"1",), wake=NOON), command="1")

    write(journal, Append(A, 1, (b"2",), wake=NOON + HOUR), Append(B, 1, (b"2",)), command="2")

    assert journal.due(NOON, 9) == []
    assert journal.due(NOON + HOUR, 9) == [(A, NOON + HOUR)]


def test_items_are_put_in_replaced_and_removed(journal: Journal) -> None:
    dose = item("dose", A, roles=("prescriber",))
    write(journal, Append(A, 0, (b"1",), items=(item("vitals", A), item("scores", A), dose)))

    later = item("vitals", A, NOON + HOUR, roles=("prescriber", "nurse"), site="annex")
    write(journal, Append(A, 1, (b"2",), items_gone=("scores",), items=(later,)), command="c2")

    assert journal.worklist(stream=A) == ([dose, later], None)
    assert journal.worklist(role="nurse", site="main") == ([], None)
    assert journal.worklist(role="nurse", site="annex") == ([later], None)
    assert journal.worklist(role="prescriber") == ([dose, later], None)


def test_an_item_removed_and_put_in_by_one_command_is_open(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",), items=(item("vitals", A),)))
    again = item("vitals", A, NOON + HOUR)

    write(journal, Append(A, 1, (b"2",), items_gone=("vitals",), items=(again,)), command="c2")

    assert journal.worklist(stream=A) == ([again], None)


def test_an_item_keeps_every_word_of_its_row(journal: Journal) -> None:
    full = item("stay.1/vitals.2", A, NOON, roles=("nurse", "night nurse"), step="vitals",
                title="Vitalzeichen „alle 15 min“", phase="Monitoring", patient="p1", program="kat",
                opens=NOON - HOUR)  # fmt: skip

    write(journal, Append(A, 0, (b"1",), items=(full,)))

    assert journal.worklist(role="night nurse") == ([full], None)


def test_the_same_item_name_in_two_streams_is_two_items(journal: Journal) -> None:
    mine, other = item("vitals", A), item("vitals", B)
    write(journal, Append(A, 0, (b"1",), items=(mine,)), Append(B, 0, (b"1",), items=(other,)))

    write(journal, Append(A, 1, (b"2",), items_gone=("vitals",)), command="c2")

    assert journal.worklist() == ([other], None)


def test_an_item_without_a_due_instant_stands_where_it_opens(journal: Journal) -> None:
    early = item("early", A, NOON - HOUR)
    opening = item("opening", A, None)
    late = item("late", A, NOON + HOUR, opens=NOON - 2 * HOUR)

    write(journal, Append(A, 0, (b"1",), items=(late, opening, early)))

    assert journal.worklist() == ([early, opening, late], None)


def test_an_item_for_two_roles_is_on_both_lists_and_once_on_the_site_s(journal: Journal) -> None:
    shared = item("handover", A, roles=("nurse", "prescriber", "nurse"))
    nobody = item("sealed", A, roles=())
    write(journal, Append(A, 0, (b"1",), items=(shared, nobody)))

    assert journal.worklist(role="nurse") == ([shared], None)
    assert journal.worklist(role="prescriber", site="main") == ([shared], None)
    assert journal.worklist(site="main") == ([shared, nobody], None)


def test_a_worklist_is_paged_without_a_gap_or_a_repeat_while_items_come_and_go(
    journal: Journal,
) -> None:
    streams = [f"enrollment:{n}" for n in range(12)]
    roles, sites = ("nurse", "prescriber", "therapist"), ("main", "annex")
    everything = [
        item(f"i{k}", stream, NOON + (n * k % 5) * HOUR, roles=(roles[k % 3], roles[(k + n) % 3]),
             site=sites[n % 2], patient=f"p{n % 4}")
        for n, stream in enumerate(streams)
        for k in range(6)
    ]  # fmt: skip
    for stream in streams:
        own = tuple(i for i in everything if i.stream == stream)
        write(journal, Append(stream, 0, (b"1",), items=own), command=stream)
    expected = sorted(
        (i for i in everything if "nurse" in i.roles and i.site == "main"),
        key=lambda i: (i.sort, i.stream, i.item),
    )

    page, cursor = journal.worklist(role="nurse", site="main", limit=5)
    seen = page
    # The row at the cursor goes, and one is put in before it: neither moves what follows.
    write(
        journal,
        Append(
            page[-1].stream, 1, (b"2",), items_gone=(page[-1].item,),
            items=(item("before", page[-1].stream, NOON - HOUR),),
        ),
        command="between",
    )  # fmt: skip
    while cursor is not None:
        page, cursor = journal.worklist(role="nurse", site="main", limit=5, after=cursor)
        seen = seen + page

    assert len(expected) > 15
    assert seen == expected
    for patient in ("p0", "p3", "nobody"):
        theirs = [i for i in everything if i.patient == patient and i.site == "annex"]
        found, _ = journal.worklist(patient=patient, site="annex", role="therapist", limit=999)
        assert {(i.stream, i.item) for i in found} == {
            (i.stream, i.item) for i in theirs if "therapist" in i.roles
        }


def test_a_page_that_ends_with_the_list_has_no_next(journal: Journal) -> None:
    write(journal, Append(A, 0, (b"1",), items=(item("a", A), item("b", A))))

    assert journal.worklist(limit=2)[1] is None
    assert journal.worklist(limit=1)[1] == Cursor(NOON, A, "a")


def test_the_census_shows_each_enrollment_of_a_site_as_it_stands_now(journal: Journal) -> None:
    admitted = CensusRow(
        A, "main", "p1", "kat", "active", ("Dosing",), date(2026, 3, 1), ("fever",)
    )
    other = CensusRow(B, "annex", "p2", "kat", "active")
    write(journal, Append(A, 0, (b"1",), census=admitted), Append(B, 0, (b"1",), census=other))
    assert journal.census("main") == [admitted]

    closed = CensusRow(A, "main", "p1", "kat", "closed")
    write(journal, Append(A, 1, (b"2",), census=closed), command="c2")
    write(journal, Append(A, 2, (b"3",)), command="c3")

    assert journal.census("main") == [closed]
    assert journal.census("main", "active") == []
    assert journal.census("main", "closed") == [closed]
    assert journal.census("annex") == [other]


# Programs


def test_a_program_is_kept_once_by_its_digest_with_all_its_files(journal: Journal) -> None:
    files = {"kat.yaml": "id: kat\n", "forms/vitals.yaml": "„ü“\n"}

    journal.keep_program("d1", "kat", "1", "kat.yaml", files)
    journal.keep_program("d1", "kat", "1", "kat.yaml", files)

    kept = journal.program("d1")
    assert kept is not None
    assert (kept.id, kept.version, kept.main, kept.files) == ("kat", "1", "kat.yaml", files)
    assert journal.program("d2") is None
    assert len(journal.programs()) == 1


def test_one_version_with_two_digests_can_be_seen(journal: Journal) -> None:
    journal.keep_program("d2", "kat", "1", "kat.yaml", {"kat.yaml": "b"})
    journal.keep_program("d1", "kat", "1", "kat.yaml", {"kat.yaml": "a"})
    journal.keep_program("d0", "detox", "3", "detox.yaml", {})

    assert [(p.id, p.version, p.digest) for p in journal.programs()] == [
        ("detox", "3", "d0"), ("kat", "1", "d1"), ("kat", "1", "d2"),
    ]  # fmt: skip
    assert [p.digest for p in journal.programs("kat")] == ["d1", "d2"]


# Many at once


def test_eight_threads_lose_double_or_reorder_nothing(journal: Journal) -> None:
    def work(who: int) -> int:
        tries = 0
        for number in range(15):
            tries += do_deed(journal, f"{who}-{number}", "seed", (A, B, "site:main"))
        return tries

    with ThreadPoolExecutor(8) as pool:
        tries = sum(pool.map(work, range(8)))

    done = causes(journal)
    assert sorted(done) == sorted(f"{who}-{number}" for who in range(8) for number in range(15))
    for who in range(8):
        assert [c for c in done if c.startswith(f"{who}-")] == [f"{who}-{n}" for n in range(15)]
    assert tries >= 120


def test_a_closed_journal_says_so(journal: Journal) -> None:
    journal.close()
    journal.close()

    with pytest.raises(JournalError, match="closed"):
        journal.read(A)
    with pytest.raises(JournalError, match="closed"):
        write(journal, Append(A, 0, (b"1",)))


# Both stores against each other


NAMES = ("enrollment:a", "enrollment:ä", "patient:p", "site:main")
_instants = st.integers(-3, 3).map(lambda n: NOON + n * HOUR)
_names = st.sampled_from(("i1", "i2", "stay.1/i3"))


@st.composite
def _appends(draw: st.DrawFn, stream: str, version: int) -> Append:
    expected = draw(st.sampled_from((version,) * 9 + (version + 1,)))
    bodies = tuple(draw(st.lists(st.binary(max_size=5), min_size=not expected, max_size=3)))
    items = draw(
        st.lists(
            st.builds(
                item, _names, st.just(stream), st.none() | _instants, opens=_instants,
                site=st.sampled_from(("main", "annex")), patient=st.sampled_from(("p", "q")),
                roles=st.lists(st.sampled_from(("nurse", "prescriber"))).map(tuple),
            ),
            max_size=3,
            unique_by=lambda row: row.item,
        )
    )  # fmt: skip
    census = st.builds(
        CensusRow, st.just(stream), st.sampled_from(("main", "annex")), st.just("p"),
        st.just("kat"), st.sampled_from(("active", "closed")),
    )  # fmt: skip
    values = draw(st.sampled_from([(), (b"",) * len(bodies), (b'{"v":1}',) * len(bodies)]))
    through = draw(st.integers(0, expected)) if bodies else 0
    return Append(
        stream,
        expected,
        bodies,
        draw(st.none() | st.binary(max_size=5)),
        draw(st.none() | _instants) if bodies else None,
        tuple(draw(st.lists(_names, max_size=2))),
        tuple(items),
        draw(st.none() | census),
        values,
        through,
        draw(st.integers(1, through)) if through else 1,
    )


def shown(entries: list[Entry]) -> list[Entry]:
    """The entries but for what is drawn by chance."""
    return [replace(e, salt=b"s" * len(e.salt), link=b"") for e in entries]


class TwoStores(RuleBasedStateMachine):
    """Whatever is written, the other store answers every question as memory does."""

    keys: dict[str, bytes] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryJournal()
        self.where = self.make()
        self.other = open_journal(self.where, keys=self.keys)
        self.count = 0

    def make(self) -> str:
        self.directory = TemporaryDirectory()
        return str(Path(self.directory.name) / "journal.db")

    def drop(self) -> None:
        self.directory.cleanup()

    @rule(data=st.data(), streams=st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))
    def append(self, data: st.DataObject, streams: set[str]) -> None:
        self.count += 1
        appends = [data.draw(_appends(name, self.memory.version(name))) for name in sorted(streams)]
        self._write(appends, f"c{self.count}", "d")

    @rule(data=st.data(), digest=st.sampled_from("de"))
    def again(self, data: st.DataObject, digest: str) -> None:
        command = f"c{data.draw(st.integers(0, self.count))}"
        self._write([Append(NAMES[0], self.memory.version(NAMES[0]), (b"again",))], command, digest)

    @rule()
    def reopen(self) -> None:
        self.other.close()
        self.other = open_journal(self.where, keys=self.keys)

    def _write(self, appends: list[Append], command: str, digest: str) -> None:
        answers: list[object] = []
        for journal in (self.memory, self.other):
            try:
                answers.append(write(journal, *appends, command=command, digest=digest))
            except (Conflict, Refused) as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]

    @invariant()
    def both_answer_alike(self) -> None:
        one, other = self.memory, self.other
        assert shown(one.follow(0, 999)) == shown(other.follow(0, 999))
        assert shown(one.follow(3, 2)) == shown(other.follow(3, 2))
        assert one.streams() == other.streams()
        assert one.streams("enrollment:") == other.streams("enrollment:")
        for stream in NAMES:
            assert shown(one.read(stream, 1)) == shown(other.read(stream, 1))
            for journal in (one, other):
                if journal.version(stream):
                    assert links(journal, stream) == [e.link for e in journal.read(stream)]
            assert one.row(stream) == other.row(stream)
            assert one.version(stream) == other.version(stream)
        for now in (NOON - HOUR, NOON + 3 * HOUR):
            assert one.due(now, 3) == other.due(now, 3)
        for site in ("main", "annex"):
            assert one.census(site) == other.census(site)
            assert one.census(site, "active") == other.census(site, "active")
        mark = Cursor(NOON, NAMES[0], "i2")
        for role in (None, "nurse"):
            for site_or_all in (None, "main"):
                for stream_or_all in (None, NAMES[0]):
                    for patient in (None, "p"):
                        for after in (None, mark):
                            answers = [
                                journal.worklist(
                                    role=role, site=site_or_all, stream=stream_or_all,
                                    patient=patient, limit=3, after=after,
                                )
                                for journal in (one, other)
                            ]  # fmt: skip
                            assert answers[0] == answers[1]

    def teardown(self) -> None:
        self.other.close()
        self.drop()


TwoStores.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestTwoStores = TwoStores.TestCase


class PlainAndEncrypted(TwoStores):
    keys = KEYS


PlainAndEncrypted.TestCase.settings = TwoStores.TestCase.settings
TestPlainAndEncrypted = PlainAndEncrypted.TestCase


def test_whatever_is_written_postgresql_answers_every_question_as_memory_does(
    databases: Databases,
) -> None:
    class MemoryAndPostgres(TwoStores):
        def make(self) -> str:
            return databases.with_journal()

        def drop(self) -> None:
            databases.drop(self.where)

    # Every question is a round trip: fewer walks than to a file.
    fewer = settings(max_examples=8, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(MemoryAndPostgres, settings=fewer)
