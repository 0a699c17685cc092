"""Groups through the engine: a seat is one commit, and nothing stays half done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walk_in import EIGHT, Clock

from kat_workflow import Actor, Conflict, Engine, JournalError, Refused, Site
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import EMPTY, FOLDS
from kat_workflow.journal import Append, Journal, Receipt, open_journal
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.journal.sqlite import SqliteJournal
from kat_workflow.language import Files

NURSE = Actor("ann", {"nurse"})
LEADER = Actor("lea", {"therapist"})
HOUR = timedelta(hours=1)
TEXT = dedent("""\
    language: 1
    program: circles
    version: "1.0.0"
    title: Circles
    start: stay
    decided_by: [doctor]
    hold_by: [nurse, doctor]
    sources:
      practice: {title: Practice, trust: C}
    roles: {nurse: Nurse, doctor: Doctor, therapist: Therapist}
    forms:
      vitals:
        title: Vitals
        any_time: true
        source: practice
        fields:
          systolic: {type: integer, unit: mmHg, from: 50, to: 300}
    groups:
      circle:
        capacity: 3
        minimum: 2
        lasts: 3 h
        rooms: [mats]
        staff: [{role: therapist, one_per: 3}]
        by: [therapist]
        source: practice
      table: {capacity: 9, lasts: 1 h, by: [therapist], source: practice}
    phases:
      stay:
        admits: true
        steps:
          kat: {by: [nurse], session: drip}
          meal: {by: [nurse], group: table}
        next: [{to: well, when: always}]
    sessions:
      drip:
        by: [nurse]
        group: circle
        source: practice
        no_show_after: 15 min
        dose: {drug: Ketamine, route: intramuscular, amount: 50 mg}
        watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
        release: {earliest: 30 min, signed_by: [nurse]}
    ends:
      well: {kind: completed}
    leaving: {by: [nurse]}
    """)
LIBRARY = Files({"circles/circles.yaml": TEXT})


class Memory(MemoryJournal):
    """A store that stops writing after so many appends, until it is mended."""

    left = 10_000

    def append(self, appends: Sequence[Append], **said: Any) -> Receipt:
        if not self.left:
            raise JournalError("the disk is full")
        self.left -= 1
        return super().append(appends, **said)


class Sqlite(SqliteJournal):
    """The same, on disk."""

    left = 10_000

    def append(self, appends: Sequence[Append], **said: Any) -> Receipt:
        if not self.left:
            raise JournalError("the disk is full")
        self.left -= 1
        return super().append(appends, **said)


@pytest.fixture(params=["memory", "sqlite"])
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory | Sqlite]:
    with Memory() if request.param == "memory" else Sqlite(tmp_path / "c.db") as found:
        yield found


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    with open_journal(None if request.param == "memory" else tmp_path / "c.db") as found:
        yield found


def clinic(journal: Journal, clock: Clock | None = None) -> Engine:
    return Engine(journal, LIBRARY, clock or Clock(), (Site(), Site("annex")))


def enrolled(engine: Engine, number: int = 3) -> list[str]:
    return [
        engine.enroll("circles", patient=f"P-{n}", by=NURSE, command_id=f"n{n}")
        for n in range(number)
    ]


def seated(engine: Engine, number: int = 3) -> tuple[str, list[str]]:
    """A circle for nine o'clock and those who have joined it."""
    group = engine.plan_group("circles", "circle", EIGHT + HOUR, room="mats", by=LEADER)
    patients = enrolled(engine, number)
    for each in patients:
        engine.join_group(group, each, by=NURSE)
    return group, patients


def started(engine: Engine, number: int = 3) -> tuple[str, list[str]]:
    """A circle in which every member's session is under way."""
    group, patients = seated(engine, number)
    engine.start_group(group, by=LEADER)
    for phrase in ("arrive drip", "start drip"):
        assert all(each.outcome for each in engine.group_do(group, phrase, by=NURSE))
    return group, patients


def states(engine: Engine, patients: list[str]) -> list[str]:
    return [
        next((s.state for s in engine.enrollment(each).sessions.values()), "-") for each in patients
    ]


def replayed(journal: Journal) -> None:
    """Every row of a group or a site's rooms is what its entries say."""
    for what in ("group", "rooms"):
        for stream in journal.streams(f"{what}:"):
            state = EMPTY[what]
            for entry in journal.read(stream):
                state = FOLDS[what](state, e.decode(entry.body, entry.values))
            found = clinic(journal)._beside(what, stream.partition(":")[2])
            assert found == state


def test_a_session_in_a_group_goes_from_the_plan_to_the_last_release(journal: Journal) -> None:
    clock = Clock()
    engine = clinic(journal, clock)
    group, patients = seated(engine)
    assert [each.id for each in engine.groups()] == [group]
    clock.at = EIGHT + HOUR
    engine.drop_out(group, patients[1], "a cold", by=NURSE)
    engine.start_group(group, by=LEADER)
    engine.group_do(group, "arrive drip", by=NURSE)
    engine.group_do(group, "start drip", by=NURSE)
    engine.group_do(group, "dose drip", by=NURSE, given={"amount": "50 mg"})

    engine.do(patients[2], "abort drip", by=NURSE, given={"reason": "panic"})
    clock.at += HOUR
    engine.do(patients[2], "release drip", by=NURSE)
    assert engine.group(group).state == "started"
    done = engine.group_do(group, "release drip", by=NURSE)

    assert [each.enrollment for each in done] == [patients[0]]
    assert engine.group(group).state == "closed"
    assert engine.groups() == ()
    assert states(engine, patients) == ["-", "-", "-"]
    replayed(journal)


def test_a_seat_and_the_booking_are_one_commit(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine, 1)

    (cause,) = {x.cause for x in engine.follow() if isinstance(x.event, e.MemberJoined)}

    streams = {x.stream for x in engine.follow() if x.cause == cause}
    assert streams == {f"group:{group}", f"enrollment:{patients[0]}"}
    (session,) = engine.enrollment(patients[0]).sessions.values()
    assert session.booked_for == EIGHT + HOUR


def test_a_seat_that_is_free_again_goes_to_whoever_waits_longest(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine, 5)
    assert engine.enrollment(patients[4]).sessions == {}

    engine.drop_out(group, patients[0], "a cold", by=NURSE)
    outcome = engine.join_group(group, patients[3], by=NURSE)

    assert [x.seat for x in outcome.events if isinstance(x, e.GroupJoined)] == [1]
    assert engine.group(group).among("waiting") == [patients[4]]
    engine.start_group(group, by=LEADER)
    assert engine.group(group).among("waiting") == []
    assert engine.enrollment(patients[4]).groups == {}


@pytest.mark.parametrize("stops_after", [1, 2])
def test_a_group_command_that_stopped_halfway_goes_on_when_it_is_sent_again(
    failing: Memory | Sqlite, stops_after: int
) -> None:
    journal = failing
    engine = clinic(journal)
    group, patients = started(engine)
    journal.left = stops_after
    with pytest.raises(JournalError):
        engine.group_do(group, "cancel drip", by=NURSE, command_id="k", given={"reason": "fire"})
    assert states(engine, patients).count("under_way") == 3 - stops_after

    journal.left = 10_000
    other = clinic(journal)
    found = other.group_do(group, "cancel drip", by=NURSE, command_id="k", given={"reason": "fire"})

    assert [each.enrollment for each in found] == patients
    again = [each.outcome.again for each in found if each.outcome]
    assert again == [True] * stops_after + [False] * (3 - stops_after)
    cancelled = [x for x in other.follow() if isinstance(x.event, e.SessionCancelled)]
    assert [x.cause for x in cancelled] == [f"k/{each}" for each in patients]
    assert other.group(group).state == "closed"
    replayed(journal)


@pytest.mark.parametrize("stops_after", [0, 1, 2, 3])
def test_a_group_that_was_called_off_halfway_is_called_off_wholly(
    failing: Memory | Sqlite, stops_after: int
) -> None:
    journal = failing
    engine = clinic(journal)
    group, patients = seated(engine, 3)
    journal.left = stops_after
    with pytest.raises(JournalError):
        engine.call_off(group, "P-1 shouted", by=LEADER, command_id="k")

    journal.left = 10_000
    engine.call_off(group, "P-1 shouted", by=LEADER, command_id="k")
    engine.call_off(group, "P-1 shouted", by=LEADER, command_id="k")

    assert engine.group(group).state == "called off"
    assert states(engine, patients) == ["-", "-", "-"]
    for each in patients:
        assert [
            x.event.reason for x in engine.history(each) if isinstance(x.event, e.SessionCancelled)
        ] == ["group called off"]


def test_one_refusal_does_not_stop_the_others(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine)
    engine.start_group(group, by=LEADER)
    engine.do(patients[1], "hold unwell", by=NURSE)

    found = engine.group_do(group, "start drip", by=NURSE)

    assert [each.refusal.code if each.refusal else "" for each in found] == ["", "on-hold", ""]
    assert [each.seat for each in found] == [1, 2, 3]
    assert states(engine, patients) == ["under_way", "booked", "under_way"]


def test_a_busy_record_is_told_after_the_others_had_their_turn() -> None:
    class Busy(MemoryJournal):
        busy = ""

        def append(self, appends: Sequence[Append], **said: Any) -> Receipt:
            if any(each.stream == f"enrollment:{self.busy}" for each in appends):
                raise Conflict("another is faster")
            return super().append(appends, **said)

    journal = Busy()
    engine = clinic(journal)
    group, patients = seated(engine)
    engine.start_group(group, by=LEADER)
    journal.busy = patients[0]

    with pytest.raises(Conflict):
        engine.group_do(group, "start drip", by=NURSE)

    assert states(engine, patients) == ["booked", "under_way", "under_way"]
    journal.busy = ""
    engine.group_do(group, "start drip", by=NURSE)


def test_a_moved_group_moves_the_bookings_of_its_members(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine)
    other = engine.plan_group("circles", "table", EIGHT + HOUR, by=LEADER)
    engine.join_group(other, patients[0], by=NURSE)

    moved = engine.move_group(group, by=LEADER, when=EIGHT + 3 * HOUR, command_id="k")
    table = engine.move_group(other, by=LEADER, when=EIGHT + 3 * HOUR)
    again = engine.move_group(group, by=LEADER, when=EIGHT + 3 * HOUR, command_id="k")

    assert [each.outcome is not None and not each.outcome.again for each in moved] == [True] * 3
    assert [each.outcome is not None and each.outcome.again for each in again] == [True] * 3
    assert table == ()
    for each in patients:
        (session,) = engine.enrollment(each).sessions.values()
        assert session.booked_for == EIGHT + 3 * HOUR
        assert session.lapses == EIGHT + 3 * HOUR + timedelta(minutes=15)


def test_who_dropped_out_between_two_sendings_is_left_alone(failing: Memory | Sqlite) -> None:
    journal = failing
    engine = clinic(journal)
    group, patients = started(engine)
    journal.left = 1
    with pytest.raises(JournalError):
        engine.group_do(group, "dose drip", by=NURSE, command_id="k", given={"amount": "50 mg"})
    journal.left = 10_000
    engine.drop_out(group, patients[1], "afraid", by=NURSE)

    found = engine.group_do(group, "dose drip", by=NURSE, command_id="k", given={"amount": "50 mg"})

    assert [each.enrollment for each in found] == [patients[0], patients[2]]
    assert [x.cause for x in engine.follow() if isinstance(x.event, e.DoseGiven)] == [
        f"k/{patients[0]}",
        f"k/{patients[2]}",
    ]


def test_who_does_not_come_lapses_alone(journal: Journal) -> None:
    clock = Clock()
    engine = clinic(journal, clock)
    group, patients = seated(engine)
    for each in patients[:2]:
        engine.do(each, "arrive drip", by=NURSE)
    clock.at = EIGHT + 2 * HOUR
    assert engine.status(patients[2]).sessions == ()  # looked at before anything has run

    assert engine.run_due() == 1

    assert engine.group(group).among("in") == patients[:2]
    assert engine.group(group).members[patients[2]].state == "dropped"
    engine.start_group(group, by=LEADER)
    replayed(journal)


def test_what_is_sent_twice_is_done_once(journal: Journal) -> None:
    told: list[str] = []
    engine = clinic(journal)
    engine.listen(lambda happened: told.append(happened.stream))
    when = EIGHT + HOUR
    group = engine.plan_group("circles", "circle", when, room="mats", by=LEADER, command_id="p")
    same = engine.plan_group("circles", "circle", when, room="mats", by=LEADER, command_id="p")
    patients = enrolled(engine, 2)
    for each in patients:
        engine.join_group(group, each, by=NURSE, command_id=f"j{each}")
        assert engine.join_group(group, each, by=NURSE, command_id=f"j{each}").again
        engine.do(each, "arrive drip", by=NURSE)
    for _ in range(2):
        engine.start_group(group, by=LEADER, command_id="s")

    assert same == group
    assert told.count("rooms:main") == 2
    assert [type(x.event) for x in engine.follow() if x.stream == "rooms:main"] == [
        e.RoomReserved,
        e.RoomTaken,
    ]
    with pytest.raises(Refused) as refused:
        engine.start_group(group, by=LEADER, regardless="x", command_id="s")
    assert refused.value.code == "id-reused"


def test_what_does_not_exist_is_refused(journal: Journal) -> None:
    engine = clinic(journal)
    asked: list[tuple[str, Any]] = [
        ("unknown-group", lambda: engine.group("g-0")),
        ("unknown-group", lambda: engine.group_do("g-0", "arrive drip", by=NURSE)),
        ("unknown-group", lambda: engine.start_group("g-0", by=LEADER)),
        ("unknown-group", lambda: engine.plan_group("circles", "moon", EIGHT, by=LEADER)),
        (
            "unknown-site",
            lambda: engine.plan_group("circles", "table", EIGHT, by=LEADER, site="moon"),
        ),
        (
            "bad-phrase",
            lambda: engine.plan_group("circles", "table", EIGHT, by=LEADER, room="\ud800"),
        ),
        ("wrong-role", lambda: engine.plan_group("circles", "table", EIGHT, by=NURSE)),
    ]

    for code, ask in asked:
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.code == code

    assert engine.follow() == ()


def test_groups_of_another_site_are_its_own(journal: Journal) -> None:
    engine = clinic(journal)
    there = engine.plan_group(
        "circles", "circle", EIGHT + HOUR, room="mats", by=LEADER, site="annex"
    )
    here = engine.plan_group("circles", "circle", EIGHT + HOUR, room="mats", by=LEADER)

    assert [each.id for each in engine.groups("annex")] == [there]
    assert [each.id for each in engine.groups()] == [here]


def test_a_group_that_all_write_to_at_once_says_so() -> None:
    class Busy(MemoryJournal):
        def append(self, appends: Sequence[Append], **said: Any) -> Receipt:
            raise Conflict("another is faster")

    with pytest.raises(Conflict):
        clinic(Busy()).plan_group("circles", "table", EIGHT + HOUR, by=LEADER)


def test_staff_counts_in_the_roles_that_they_hold_now_and_here(journal: Journal) -> None:
    engine = clinic(journal)
    group, _ = seated(engine)
    expired = Actor("old", {"therapist"}, until={"therapist": EIGHT - HOUR})
    elsewhere = Actor("far", {"therapist"}, sites={"annex"})
    for each in (expired, elsewhere):
        with pytest.raises(Refused) as refused:
            engine.start_group(group, by=each)
        assert [x.code for x in refused.value.refusal.reasons] == ["staff-short", "wrong-role"]
    covering = Actor("cov", {"nurse"})
    engine.grant_cover(
        "cov", "therapist", by=LEADER, until=EIGHT + HOUR, reason="a day off", acting_for="lea"
    )

    engine.start_group(group, by=covering)

    (started_,) = [x.event for x in engine.follow() if isinstance(x.event, e.GroupStarted)]
    assert started_.staff == (("cov", "therapist"),)
    assert engine.group_do(group, "start drip", by=NURSE)[0].outcome


def test_whoever_signs_for_all_shows_who_they_are_for_each(journal: Journal) -> None:
    clock = Clock()
    known: list[str] = []
    group, _ = started(clinic(journal, clock))

    def check(actor: Actor, act: object) -> bool:
        return actor.person in known

    engine = Engine(journal, LIBRARY, clock, (Site(),), authenticate=check)
    engine.group_do(group, "dose drip", by=NURSE, given={"amount": "50 mg"})
    clock.at += HOUR
    refused = engine.group_do(group, "release drip", by=NURSE, command_id="k")
    known.append("ann")

    released = engine.group_do(group, "release drip", by=NURSE, command_id="k")

    assert {each.refusal.code for each in refused if each.refusal} == {"not-authenticated"}
    assert all(each.outcome for each in released)
    assert engine.group(group).state == "closed"


def test_whoever_goes_on_at_another_site_leaves_the_groups_of_this_one(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine, 4)
    table = engine.plan_group("circles", "table", EIGHT + HOUR, by=LEADER)
    engine.join_group(table, patients[3], by=NURSE)

    for each in (patients[0], patients[3]):
        engine.do(each, "transfer annex", by=Actor("doc", {"doctor"}), given={"reason": "full"})

    assert engine.group(group).among("in") == patients[1:3]
    assert engine.group(group).among("offered", "waiting") == []
    assert engine.group(table).among("in") == []
    assert [engine.enrollment(each).groups for each in patients[::3]] == [{}, {}]
    replayed(journal)


def test_two_hosts_do_not_give_one_seat_away_twice(tmp_path: Path) -> None:
    with Sqlite(tmp_path / "c.db") as one, Sqlite(tmp_path / "c.db") as two:
        hosts = [clinic(one), clinic(two)]
        group = hosts[0].plan_group("circles", "circle", EIGHT + HOUR, room="mats", by=LEADER)
        patients = enrolled(hosts[0], 6)

        with ThreadPoolExecutor(4) as pool:
            jobs = [
                pool.submit(hosts[count % 2].join_group, group, each, by=NURSE)
                for count, each in enumerate(patients)
            ]
            for job in jobs:
                job.result()

        found = hosts[0].group(group)
        assert sorted(found.members[each].seat for each in found.among("in")) == [1, 2, 3]
        assert len(found.among("waiting")) == 3
        replayed(one)


def test_no_entry_of_a_patient_names_another_patient(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine, 5)
    engine.drop_out(group, patients[0], "a cold", by=NURSE)
    engine.join_group(group, patients[3], by=NURSE)
    engine.start_group(group, by=LEADER)
    engine.group_do(group, "start drip", by=NURSE)
    engine.group_do(group, "dose drip", by=NURSE, given={"amount": "50 mg"})
    engine.do(patients[1], "abort drip", by=NURSE, given={"reason": "panic"})

    names = {each: engine.enrollment(each).patient for each in patients}
    for own in patients:
        entries = [x for x in journal.follow(0, 10_000) if x.stream == f"enrollment:{own}"]
        said = " ".join(f"{x.body.decode()} {x.cause}" for x in entries)
        for other, patient in names.items():
            if other != own:
                assert other not in said
                assert f'"{patient}"' not in said
    for entry in journal.read(f"group:{group}"):
        assert not any(word in entry.body for word in (b"P-", b"panic", b"cold", b"mg"))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["join", "drop", "abort"]), st.integers(0, 5)),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_seats_never_exceed_the_capacity_and_nobody_loses_one_by_what_another_does(
    acts: list[tuple[int, str, int]], starts: int
) -> None:
    journal = MemoryJournal()
    engines = [clinic(journal), clinic(journal)]
    group = engines[0].plan_group("circles", "circle", EIGHT + HOUR, room="mats", by=LEADER)
    patients = enrolled(engines[0], 6)

    for count, (which, what, whom) in enumerate(acts):
        engine, patient = engines[which], patients[whom]
        before = {each: engines[0].group(group).members.get(each) for each in patients}
        try:
            if count == starts:
                engine.start_group(group, by=LEADER)
                engine.group_do(group, "start drip", by=NURSE)
                engine.group_do(group, "dose drip", by=NURSE, given={"amount": "50 mg"})
                continue
            if what == "join":
                engine.join_group(group, patient, by=NURSE)
            elif what == "drop":
                engine.drop_out(group, patient, "x", by=NURSE)
            else:
                engine.do(patient, "abort drip", by=NURSE, given={"reason": "x"})
        except Refused:
            pass  # then nothing may have changed either
        after = engines[1].group(group)
        seats = [m.seat for m in after.members.values() if m.state in ("in", "offered", "done")]
        assert len(set(seats)) == len(seats)
        assert all(1 <= seat <= 3 for seat in seats)
        for each in patients:
            own = before[each]
            if each != patient and own is not None and own.state in ("in", "offered"):
                assert after.members[each] == own
        for each in after.among("in"):
            place = engines[0].enrollment(each).groups[group]
            assert place.seat == after.members[each].seat
    replayed(journal)


def test_whoever_waits_is_to_be_asked_for_a_seat_that_becomes_free(journal: Journal) -> None:
    engine = clinic(journal)
    group, patients = seated(engine, 3)
    late = engine.enroll("circles", patient="P-9", by=NURSE)
    engine.join_group(group, late, by=NURSE)

    engine.drop_out(group, patients[0], "a cold", by=NURSE, command_id="d-1")
    engine.drop_out(group, patients[0], "a cold", by=NURSE, command_id="d-1")

    page = engine.worklist("therapist")
    asked = [(item.enrollment, item.title) for item in page.items if "seat" in item.title]
    assert asked == [(late, f"Review: seat in {group}")]
    engine.join_group(group, late, by=LEADER)
    assert not any("seat" in item.title for item in engine.worklist("therapist").items)


def test_a_seat_of_one_who_does_not_come_is_offered_too(journal: Journal) -> None:
    clock = Clock()
    engine = clinic(journal, clock)
    group, patients = seated(engine, 3)
    late = engine.enroll("circles", patient="P-9", by=NURSE)
    engine.join_group(group, late, by=NURSE)

    clock.goes_on(1.4)
    engine.run_due()

    assert f"Review: seat in {group}" in [item.title for item in engine.status(late).items]
    assert engine.group(group).among("in") == []
    assert len(patients) == 3
    for each in engine.history(late):  # who asks for the seat tells not who has left it
        assert not any(peer in each.cause for peer in patients), each.cause


def test_whoever_waits_is_asked_although_nothing_was_written_after_the_seat_was_given_up(
    failing: Memory | Sqlite,
) -> None:
    journal, clock = failing, Clock()
    engine = clinic(journal, clock)
    group, _ = seated(engine, 3)
    late = engine.enroll("circles", patient="P-9", by=NURSE)
    engine.join_group(group, late, by=NURSE)
    clock.goes_on(1.4)
    journal.left = 1  # of all that is due, the first who does not come is written, and no more

    engine.run_due()

    assert engine.group(group).among("offered") == [late]
    assert not [x for x in engine.status(late).items if x.title.startswith("Review")]
    journal.left = 10_000
    other = clinic(journal, clock)
    other.run_due()
    asked = [x.title for x in other.status(late).items if x.title.startswith("Review")]
    assert asked == [f"Review: seat in {group}"]
    assert other.run_due() == 0
    replayed(journal)


@pytest.mark.parametrize("worker", [True, False])
def test_whoever_did_not_come_is_told_nothing_with_the_group_whether_or_not_a_worker_ran(
    journal: Journal, worker: bool
) -> None:
    clock = Clock()
    engine = clinic(journal, clock)
    group, patients = seated(engine, 3)
    engine.do(patients[0], "arrive drip", by=NURSE)
    clock.goes_on(1.4)
    if worker:
        engine.run_due()

    told = engine.group_do(group, "cancel drip", by=NURSE, given={"reason": "x"})

    assert [each.enrollment for each in told] == [patients[0]]
