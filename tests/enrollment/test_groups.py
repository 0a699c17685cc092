"""Several patients in one room: seats, waitlist, staff; and everyone's record is their own."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from bedside import MONDAY, person, program
from roomful import CLINIC, House, Resident

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import groups as g
from kat_workflow.enrollment.around import Around, Unread
from kat_workflow.enrollment.commands import Command, Join
from kat_workflow.enrollment.decide import decide
from kat_workflow.enrollment.state import decode_row, encode_row
from kat_workflow.errors import Refusal

HOUR = timedelta(hours=1)
STAFF = ("ann:nurse", "tom:therapist")


ALONE = """
  bath: {by: [nurse], source: practice, release: {earliest: 0 min, signed_by: [nurse]}}
"""


def house(members: int = 0, text: str = CLINIC) -> House:
    """A house with a circle planned for now, and members who have a seat in it."""
    found = House(program(text))
    assert found.plan() == "therapist"
    for _ in range(members):
        found.resident().do("join g-1")
    return found


def under_way(members: int = 3) -> House:
    """A circle that has started, with every member's session under way."""
    found = house(members)
    assert found.start(*STAFF) == "therapist"
    for member in found.residents:
        member.do("arrive drip")
        member.do("start drip")
    return found


def seats(found: House, id_: str = "g-1") -> dict[str, tuple[int, str]]:
    return {each: (m.seat, m.state) for each, m in found.group(id_).members.items()}


# Seats and the waitlist


def test_whoever_joins_gets_a_seat_and_a_session_booked_for_the_time_of_the_group() -> None:
    found = House(program(CLINIC))
    found.plan(when=MONDAY + HOUR)
    p = found.resident()

    p.do("join g-1")

    assert seats(found) == {"e-1": (1, "in")}
    assert p.session("drip.1").booked_for == MONDAY + HOUR
    assert p.session("drip.1").lapses == MONDAY + HOUR + timedelta(minutes=15)
    assert p.events(e.GroupJoined) == [e.GroupJoined("g-1", "circle", "drip.1", 1, MONDAY)]
    assert decode_row(encode_row(p.s)) == p.s


def test_when_all_seats_are_taken_one_waits_and_gets_the_first_seat_that_becomes_free() -> None:
    found = house(3)
    late, later = found.resident(), found.resident()
    late.do("join g-1")
    later.do("join g-1")
    assert late.s.sessions == {}
    assert seats(found)["e-4"] == (0, "waiting")

    found.residents[1].do("drop g-1", reason="a cold")

    assert seats(found)["e-2"] == (0, "dropped")
    assert seats(found)["e-4"] == (2, "offered")
    assert seats(found)["e-5"] == (0, "waiting")
    late.do("join g-1")
    assert late.session("drip.1").state == "booked"
    assert found.group().among("in") == ["e-1", "e-4", "e-3"]
    assert found.group().free == 0


def test_a_seat_that_is_offered_is_nobody_elses() -> None:
    found = house(3)
    found.resident().do("join g-1")
    found.residents[0].do("drop g-1", reason="a cold")

    found.resident().do("join g-1")

    assert seats(found)["e-5"] == (0, "waiting")
    found.residents[3].do("drop g-1", reason="changed their mind")
    assert seats(found)["e-5"] == (1, "offered")


def test_whoever_waits_is_told_so_when_they_ask_again() -> None:
    found = house(3)
    p = found.resident()
    p.do("join g-1")

    assert p.codes("join g-1") == ["in-group"]
    assert found.residents[0].codes("join g-1") == ["in-group"]


def test_whoever_dropped_out_and_comes_back_asks_last() -> None:
    found = house(3)
    for _ in range(2):
        found.resident().do("join g-1")
    first = found.residents[0]
    first.do("drop g-1", reason="a cold")

    first.do("join g-1")

    assert list(found.group().members) == ["e-2", "e-3", "e-4", "e-5", "e-1"]
    assert found.group().among("waiting") == ["e-5", "e-1"]


def test_a_seat_in_one_group_ends_waiting_for_another() -> None:
    found = house(3)
    found.plan(id_="g-2", room="garden")
    p = found.resident()
    p.do("join g-1")

    p.do("join g-2")

    assert seats(found)["e-4"] == (0, "dropped")
    assert list(p.s.groups) == ["g-2"]
    assert p.codes("join g-1") == ["in-group"]


@pytest.mark.parametrize(
    ("state", "codes"),
    [
        ("started", ["group-state"]),
        ("called off", ["group-state"]),
        ("", ["unknown-group"]),
        ("elsewhere", ["other-site"]),
        ("held", ["on-hold"]),
    ],
)
def test_a_group_is_joined_while_it_is_planned_here_and_by_whoever_may(
    state: str, codes: list[str]
) -> None:
    found = house(2)
    p = found.resident("annex" if state == "elsewhere" else "main")
    if state == "started":
        found.start(*STAFF)
    elif state == "called off":
        found.call_off()
    elif state == "held":
        p.do("hold unwell", by="doctor")

    assert p.codes("join g-1" if state else "join g-3") == codes
    assert p.codes("join g-1", by="doctor") == [*(codes if state else []), "wrong-role"]


def test_a_group_takes_patients_of_its_own_program() -> None:
    found = house()
    p = found.resident()
    p.s.program = "y"

    assert p.codes("join g-1") == ["other-program"]


def test_a_decision_asks_for_the_group_that_it_was_not_given() -> None:
    p = house().resident()
    command = Command("c", Join("g-1"), person("nurse"), p.now)

    with pytest.raises(Unread) as unread:
        decide(p.program, p.s, Around(), command)

    assert (unread.value.what, unread.value.key) == ("group", "g-1")


# What is held in a group


def test_what_is_held_in_a_group_is_booked_by_joining_and_for_no_other_time() -> None:
    found = House(program(CLINIC))
    found.plan(when=MONDAY + HOUR)
    p = found.resident()
    assert p.codes("book drip") == ["held-in-group"]
    p.do("join g-1")

    assert p.codes("book drip", given={"for": MONDAY + 2 * HOUR}) == ["held-in-group"]
    found.move(MONDAY + 2 * HOUR)
    p.do("book drip", by="lea:therapist")

    assert p.session("drip.1").booked_for == MONDAY + 2 * HOUR


def test_a_booking_follows_its_group_under_a_hold_too() -> None:
    found = House(
        program(
            CLINIC.replace("      meal:", "      baths: {by: [nurse], session: bath}\n      meal:")
            + ALONE
        )
    )
    found.plan(when=MONDAY + HOUR)
    p = found.resident()
    p.do("join g-1")
    p.do("hold unwell", by="doctor")
    found.move(MONDAY + 2 * HOUR)

    p.do("book drip")

    assert p.session("drip.1").booked_for == MONDAY + 2 * HOUR
    assert p.codes("book bath") == ["on-hold"]


def test_a_session_starts_only_once_its_group_has() -> None:
    found = house(2)
    p = found.residents[0]
    alone = found.resident()
    assert p.codes("start drip") == ["group-not-started"]
    assert alone.codes("start drip") == ["group-not-started"]

    found.start(*STAFF)

    p.do("start drip")
    assert p.session("drip.1").state == "under_way"
    alone.do("arrive drip")
    assert alone.codes("start drip") == ["group-not-started"]
    found.plan(id_="g-2", room="garden")
    alone.do("join g-2")
    assert alone.codes("start drip") == ["group-not-started"]


def test_a_dose_that_was_given_before_the_group_started_is_kept() -> None:
    p = house(1).residents[0]

    p.do("dose drip", amount="50 mg")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["dose-without-start"]
    assert p.session("drip.1").dosed is not None


def test_whoever_is_there_already_joins_with_the_session_that_is_open() -> None:
    found = House(program(CLINIC))
    found.plan(when=MONDAY + HOUR)
    p = found.resident()
    p.do("arrive drip")

    p.do("join g-1")

    assert p.s.groups["g-1"].about == "drip.1"
    assert p.session("drip.1").state == "arrived"


def test_whoever_joins_after_the_planned_time_has_not_missed_it() -> None:
    found = house()
    found.now += HOUR
    p = found.resident()

    p.do("join g-1")
    p.do("book drip")

    assert p.session("drip.1").lapses is None
    assert p.session("drip.1").state == "booked"


def test_a_session_that_was_booked_before_takes_the_time_of_the_group() -> None:
    found = House(program(CLINIC))
    found.plan(when=MONDAY + HOUR)
    found.plan(id_="g-2", when=MONDAY + 9 * HOUR)
    p = found.resident()
    p.do("join g-1")
    session = p.s.groups["g-1"].about
    # As after a journal of a version in which the kind was not held in a group.
    p.s.groups = {}

    p.do("join g-2")

    assert p.session(session).booked_for == MONDAY + 9 * HOUR


def test_nobody_joins_with_a_session_that_is_under_way() -> None:
    found = under_way(2)
    found.plan(id_="g-2", room="garden")

    assert found.residents[0].codes("join g-2") == ["session-open", "in-group"]


def test_a_group_is_joined_for_what_is_open() -> None:
    found = House(program(CLINIC))
    found.plan("table")
    p = found.resident()

    assert p.codes("join g-1") == ["which-item"]
    p.do("join g-1", item="meal")
    assert p.s.groups["g-1"].about == "stay.1/meal.1"
    assert p.codes("join g-1", item="drips") == ["not-open"]
    p.do("record meal", text="ate")
    assert p.s.groups == {}
    found.plan("table", "g-2")
    p.do("join g-2", item="stay.1/talk.1")
    p.do("done talk")
    found.plan("table", "g-3")
    assert p.codes("join g-3") == ["not-open"]


def test_what_is_done_in_a_group_and_was_done_alone_is_kept_and_looked_at() -> None:
    p = house().resident()

    p.do("record meal", text="ate")
    p.do("done talk")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["without-group", "without-group"]
    assert p.outcome("talk") == "done"


def test_what_is_declined_is_no_part_in_the_group() -> None:
    found = House(program(CLINIC))
    found.plan("table")
    p = found.resident()
    p.do("join g-1", item="talk")

    p.do("decline talk", reason="tired")

    assert seats(found) == {"e-1": (0, "dropped")}
    assert p.events(e.DeviationNoted) == []
    assert p.events(e.GroupLeft) == [e.GroupLeft("g-1", MONDAY)]


# Drop-outs and ends


def test_whoever_drops_out_on_the_day_has_the_session_cancelled_with_the_reason() -> None:
    found = house(2)
    p = found.residents[0]
    p.do("arrive drip")

    p.do("drop g-1", reason="afraid today", by="doctor")

    assert p.events(e.SessionCancelled)[0].reason == "afraid today"
    assert p.s.groups == {}
    assert p.codes("drop g-1", reason="x") == ["not-in-group"]


def test_a_drop_out_says_which_group_and_why() -> None:
    p = house(1).residents[0]

    assert p.codes("drop g-2", reason="x") == ["not-in-group"]
    assert p.codes("drop g-1") == ["reason-missing"]


def test_who_was_given_something_does_not_drop_out_but_aborts() -> None:
    p = under_way().residents[0]
    p.do("dose drip", amount="50 mg")

    assert p.codes("drop g-1", reason="x") == ["session-state"]


def test_the_waitlist_is_left_too() -> None:
    found = house(3)
    p = found.resident()
    p.do("join g-1")

    p.do("drop g-1", reason="x")

    assert seats(found)["e-4"] == (0, "dropped")
    assert p.s.sessions == {}


def test_who_does_not_come_loses_the_seat_and_the_group_goes_on() -> None:
    found = House(program(CLINIC))
    found.plan(when=MONDAY + HOUR)
    for _ in range(3):
        found.resident().do("join g-1")
    found.residents[0].do("arrive drip")
    found.residents[1].do("arrive drip")

    found.now = MONDAY + 2 * HOUR
    found.residents[2].look()

    assert found.group().among("in") == ["e-1", "e-2"]
    assert found.residents[2].events(e.SessionCancelled)[0].reason == "no-show"
    assert found.start(*STAFF) == "therapist"


def test_one_abort_ends_nobody_elses_session_and_the_last_to_leave_closes_the_group() -> None:
    found = under_way(3)
    one, two, three = found.residents
    for each in (one, two):
        each.do("dose drip", amount="50 mg")

    one.do("abort drip", reason="panic")

    assert two.session("drip.1").dosing == "ended"
    assert two.session("drip.1").state == "recovering"
    assert three.session("drip.1").state == "under_way"
    assert found.group().among("in") == ["e-1", "e-2", "e-3"]
    found.now += HOUR
    one.do("release drip")
    three.do("cancel drip", reason="not today")
    assert found.group().state == "started"
    two.do("release drip")
    assert found.group().state == "closed"
    assert seats(found) == {"e-1": (1, "done"), "e-2": (2, "done"), "e-3": (0, "dropped")}
    assert found.streams["rooms", "main"] == g.Rooms(3, {})


def test_whoever_leaves_treatment_leaves_the_group_in_the_same_commit() -> None:
    found = under_way(3)
    found.residents[0].do("dose drip", amount="50 mg")

    found.residents[0].do("leave against_advice")
    found.residents[1].do("leave against_advice")

    assert seats(found) == {"e-1": (1, "done"), "e-2": (0, "dropped"), "e-3": (3, "in")}
    assert [p.s.groups for p in found.residents[:2]] == [{}, {}]


ENDS = [
    x.name for x in program(CLINIC).ends.values() if x.kind not in ("completed", "not_eligible")
]
SITUATIONS: dict[str, tuple[str, ...]] = {
    "waits for a seat": (),
    "a seat is kept": (),
    "has a seat": (),
    "has come": ("start", "arrive drip"),
    "nothing was given yet": ("start", "arrive drip", "start drip"),
    "is watched": ("start", "arrive drip", "start drip", "dose drip"),
    "has broken off": ("start", "arrive drip", "start drip", "dose drip", "abort drip"),
    "is held while watched": ("start", "arrive drip", "start drip", "dose drip", "hold fever"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("end", ENDS)
def test_every_end_from_every_situation_in_a_group_settles_all_and_touches_nobody_else(
    end: str, situation: str
) -> None:
    found = house(3)
    member, *others = found.residents
    if situation in ("waits for a seat", "a seat is kept"):
        member = found.resident()
        member.do("join g-1")
        if situation == "a seat is kept":
            others.pop().do("drop g-1", reason="a cold")
            assert found.group().members[member.s.id].state == "offered"
    for phrase in SITUATIONS[situation]:
        if phrase == "start":
            found.start(*STAFF)
        elif phrase == "dose drip":
            member.do(phrase, amount="50 mg")
        elif phrase == "hold fever":
            member.do("hold", reason="fever", by="doctor")
        else:
            member.do(phrase, given={"reason": "panic"} if phrase == "abort drip" else {})
    before = {each.s.id: (each.s, found.group().members[each.s.id]) for each in others}
    opened, version = set(member.look().items), len(member.log)

    member.do(f"leave {end}", reason="so it was")

    commit = member.log[version:]
    settled = {x.item: x for x in commit if isinstance(x, e.ItemSettled)}
    assert opened <= set(settled)
    assert all(x.outcome != "left" or x.reason for x in settled.values())
    s = member.s
    assert not any((s.groups, s.sessions, s.visits, s.holds))
    assert [x.group for x in commit if isinstance(x, e.GroupLeft)] == ["g-1"]
    assert found.group().members[member.s.id].state in ("done", "dropped")
    assert {each.s.id: (each.s, found.group().members[each.s.id]) for each in others} == before
    unsafe = "dose drip" in SITUATIONS[situation] and end not in ("died", "entered_in_error")
    alerts = [x.alert for x in commit if isinstance(x, e.AlertRaised)]
    assert alerts == (["left-before-release"] if unsafe else [])


def test_a_group_that_was_called_off_takes_nobody_from_the_waitlist() -> None:
    found = house(3)
    p = found.resident()
    p.do("join g-1")

    found.call_off()
    found.residents[0].do("drop g-1", reason="group called off")

    assert seats(found)["e-4"] == (0, "waiting")
    assert found.group().state == "called off"


# Peers


def test_no_record_names_another_patient_and_no_group_says_why_somebody_left() -> None:
    found = under_way(3)
    waits = found.resident()
    found.plan(id_="g-2", room="garden")
    waits.do("join g-2")
    found.residents[0].do("dose drip", amount="50 mg")
    found.residents[0].do("abort drip", reason="panic attack")
    found.residents[1].do("cancel drip", reason="pressure 190")

    for p in found.residents:
        own = b"".join(b"".join(e.encode(event)) for event in p.log)
        others = [q for q in found.residents if q is not p]
        assert not any(q.s.id.encode() in own or q.s.patient.encode() in own for q in others)
    for log in found.log.values():
        said = b"".join(b"".join(e.encode(event)) for event in log)
        assert not any(word in said for word in (b"P-", b"panic", b"190", b"mg"))


# Planning, moving, calling off


def test_two_groups_are_not_planned_in_one_room_at_one_time() -> None:
    found = house()

    assert found.plan(id_="g-2", when=MONDAY + 2 * HOUR) == ["room-taken"]
    assert found.plan(id_="g-2", when=MONDAY + 2 * HOUR, room="garden") == "therapist"
    assert found.plan(id_="g-3", when=MONDAY + 3 * HOUR) == "therapist"
    assert found.move(room="garden") == ["room-taken"]
    assert found.move(MONDAY + 2 * HOUR) == ["room-taken"]
    assert found.plan("table", "g-4") == "therapist"
    assert found.plan("table", "g-5") == "therapist"


def test_a_room_is_free_once_its_group_was_called_off() -> None:
    found = house()
    found.call_off()

    assert found.plan(id_="g-2") == "therapist"


def test_a_group_is_planned_by_its_leaders_ahead_and_in_its_rooms() -> None:
    found = House(program(CLINIC))

    assert found.plan(by="nurse", when=MONDAY - HOUR, room="cellar") == [
        "wrong-role",
        "past",
        "unknown-room",
    ]
    assert found.plan(room="") == ["unknown-room"]
    assert found.plan(when=datetime(2026, 3, 2, 9)) == ["naive-instant"]


def test_only_what_is_planned_is_moved_or_called_off() -> None:
    found = house(2)
    assert found.call_off(reason="", by="nurse") == ["wrong-role", "reason-missing"]
    assert found.move(room="garden", by="nurse") == ["wrong-role"]
    found.now += HOUR
    assert found.move(room="garden") == "therapist"
    found.start(*STAFF)

    assert found.move(room="mats") == ["group-state"]
    assert found.call_off() == ["group-state"]
    assert found.start(*STAFF) == ["group-state"]


# The start


def test_a_group_needs_its_minimum_its_staff_and_its_leader() -> None:
    found = house(1)

    assert found.start(by="nurse") == ["below-minimum", "staff-short", "wrong-role"]
    found.resident().do("join g-1")
    assert found.start() == ["staff-short"]
    assert found.start("ann:nurse") == "therapist"
    assert found.log["group", "g-1"][-1] == e.GroupStarted(
        (("lea", "therapist"), ("ann", "nurse")), 2, "lea", MONDAY
    )


def test_a_person_counts_once_and_in_the_role_in_which_they_are_needed() -> None:
    there = {
        "ann": frozenset({"nurse", "therapist"}),
        "tom": frozenset({"therapist"}),
        "guest": frozenset({"cook"}),
    }

    assert g.assigned(there, ["therapist", "nurse"]) == {"tom": "therapist", "ann": "nurse"}
    assert g.assigned(there, ["nurse", "nurse"]) == {"ann": "nurse"}
    assert house(2).start("lea:nurse") == ["staff-short"]
    assert house(3).start("ann:nurse", "ann:therapist") == ["staff-short"]
    assert house(2).start("ann:nurse", "ann:cook") == "therapist"  # she is there with both


def test_whom_the_program_names_may_start_a_small_group_with_a_reason() -> None:
    found = house(1)

    assert found.start(by="doctor") == ["below-minimum", "staff-short", "staff-short", "wrong-role"]
    assert found.start(regardless="bonded") == ["wrong-role"]
    assert found.start(by="doctor", regardless="bonded") == "doctor"
    started = found.log["group", "g-1"][-1]
    assert isinstance(started, e.GroupStarted)
    assert started.regardless == "bonded"


def test_without_an_override_nobody_starts_a_small_group() -> None:
    found = House(program(CLINIC))
    found.plan("table")

    assert found.start(regardless="hungry") == ["below-minimum"]
    found.resident().do("join g-1", item="talk")
    assert found.start(regardless="hungry") == ["absolute-gate", "below-minimum"]
    found.resident().do("join g-1", item="talk")
    assert found.start(regardless="hungry") == "therapist"


def test_a_group_waits_while_another_is_still_in_its_room() -> None:
    found = under_way(2)
    found.plan(id_="g-2", when=MONDAY + 3 * HOUR)
    for _ in range(2):
        found.resident().do("join g-2")
    found.now = MONDAY + 3 * HOUR

    assert found.start(*STAFF, id_="g-2") == ["room-taken"]
    found.move(room="garden", id_="g-2")
    assert found.start(*STAFF, id_="g-2") == "therapist"


def test_a_resident_is_unharmed_by_what_befell_the_others() -> None:
    found = under_way(3)
    one, two, three = found.residents
    before = three.s

    for each in (one, two):
        each.do("dose drip", amount="50 mg")
        each.do("abort drip", reason="panic")

    assert isinstance(three, Resident)
    assert three.look() == before
    assert seats(found)["e-3"] == (3, "in")


def test_a_patient_is_in_several_groups_at_a_time_one_for_each_thing() -> None:
    found = house(1)
    found.plan("table", "g-2", when=MONDAY + HOUR)
    p = found.resident()
    p.do("done talk")  # alone: somebody must look at it, and that item is of no step
    p.do("join g-2")
    p.do("join g-1", item="drips")
    p.do("book drip")
    found.start(*STAFF)

    p.do("start drip")

    assert list(p.s.groups) == ["g-2", "g-1"]
    assert p.is_open("without-group")


# Whoever is to be asked for a seat


def offered() -> tuple[House, Resident]:
    """A seat is kept for the one who waited, of which somebody is to tell them."""
    found = house(3)
    late = found.resident()
    late.do("join g-1")
    found.residents[1].do("drop g-1", reason="a cold")
    late.act(c.SeatFree("g-1"))
    return found, late


def test_a_seat_that_is_kept_for_somebody_is_work_for_those_who_lead_the_group() -> None:
    _, late = offered()

    item = late.item("seat in g-1")
    assert (item.kind, item.roles) == ("review", ("therapist",))
    late.do("join g-1")
    assert not late.is_open("seat in g-1")
    assert late.events(e.ItemSettled)[-1].outcome == "done"


def test_whoever_does_not_want_the_seat_is_asked_no_more() -> None:
    _, late = offered()

    late.do("drop g-1", reason="changed their mind")

    assert not late.is_open("seat in g-1")
    assert [x.outcome for x in late.events(e.ItemSettled)] == ["cancelled"]


def test_nobody_is_asked_twice_or_without_a_seat() -> None:
    found, late = offered()

    for each in (late, found.residents[0]):
        answer = each.ask(c.SeatFree("g-1"))
        assert isinstance(answer, Refusal)
        assert answer.code == "not-in-group"
