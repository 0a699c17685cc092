"""What may follow what: the table, our machine and the stock machine say the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, cast

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transitions import Machine, MachineError

from kat_workflow.errors import Clause
from kat_workflow.program.chart import (
    ALL_FALSE,
    ENROLLMENT,
    ITEM,
    NO_ROWS,
    OUTSIDE,
    SESSION,
    By,
    Chart,
    Cursor,
    Goes,
    Lifecycle,
    Moves,
    NextRound,
    Outcome,
    Undecided,
    chart_of,
)
from kat_workflow.program.gates import Facts
from kat_workflow.program.model import Phase, Program, Repeat, Row

WAYS: tuple[By, ...] = ("table", "machine", "stock")
LIFECYCLES = (ITEM, SESSION, ENROLLMENT)
Truths = Mapping[str, bool | None]
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For random charts on a busy machine: what they mean is claimed, not how fast they are."""


@frozen(eq=False)
class Says:
    """A gate whose truth is simply looked up."""

    text: str
    side: Literal["go", "stop"] = "go"
    temporal: bool = False
    always: bool = False

    def truth(self, facts: Facts) -> bool | None:
        return cast("Truths", facts)[self.text]

    def explain(self, facts: Facts) -> tuple[Clause, ...]:
        return (Clause(self.text, self.truth(facts)),)

    def turns_at(self, facts: Facts) -> datetime | None:
        return None


def facts(**truths: bool | None) -> Facts:
    return cast("Facts", truths)


def row(to: str = "", when: str = "", kind: str = "phase", **more: Any) -> Row:
    test = cast("Any", Says(when)) if when else None
    return Row(when or "always", to, cast("Any", kind), test, **more)


def program_of(start: str, *phases: Phase) -> Program:
    nothing: Any = {}
    tables = dict.fromkeys(
        ["roles", "sources", "consents", "forms", "limits", "gates", "steps", "sessions", "ends"],
        nothing,
    )
    return Program(
        id="p",
        version="1",
        title="P",
        about="",
        digest="d",
        files={},
        start=start,
        phases={p.name: p for p in phases},
        **tables,
    )


def leaf(name: str, *around: str, region: str = "", **more: Any) -> Phase:
    return Phase(name, name, "leaf", (*around, name), region, **more)


def ways_on(*rows: Row, repeat: Repeat | None = None, **more: Any) -> Program:
    """A program whose first phase has these rows, and a second one to go to."""
    return program_of("first", leaf("first", next=rows, repeat=repeat, **more), leaf("second"))


STAY = program_of(
    "intake",
    leaf("intake", next=(row("refused", "unfit", "end"), row("stay", "fit"))),
    Phase(
        "stay",
        "Stay",
        "tracks",
        ("stay",),
        "",
        children=("detox", "daily"),
        next=(row("review"),),
        at_once=(row("refused", "worse", "end"), row("review", "crisis", safety=True)),
    ),
    Phase(
        "detox",
        "Detox",
        "sequence",
        ("stay", "detox"),
        "detox",
        children=("course",),
        start="course",
    ),
    Phase(
        "course",
        "Course",
        "sequence",
        ("stay", "detox", "course"),
        "detox",
        children=("morning", "evening"),
        start="morning",
        repeat=Repeat(2, 4, cast("Any", Says("settled"))),
    ),
    leaf("morning", "stay", "detox", "course", region="detox", next=(row("evening"),)),
    leaf("evening", "stay", "detox", "course", region="detox"),
    leaf("daily", "stay", region="daily"),
    leaf("review", next=(row(kind="finish"),)),
    leaf("hospital", region="excursion", excursion=True, next=(row(kind="back"),)),
)


# Rows


@pytest.mark.parametrize("by", WAYS)
class TestRows:
    def test_the_first_row_that_is_true_goes(self, by: By) -> None:
        program = ways_on(row("home", "well", "end"), row("second", "ready"), row("first"))

        outcome = chart_of(program, by).ask(
            "first", "finished first", facts(well=False, ready=True)
        )

        assert isinstance(outcome, Goes)
        assert outcome.row is program.phases["first"].next[1]
        assert (outcome.phase, outcome.to, outcome.enter) == ("first", "second", ("second",))

    def test_an_unknown_row_stops_and_says_which_gate_is_unknown(self, by: By) -> None:
        program = ways_on(row("home", "pregnant", "end"), row("second"))

        outcome = chart_of(program, by).finished("first").ask(facts(pregnant=None))

        assert isinstance(outcome, Undecided)
        assert outcome.row is program.phases["first"].next[0]
        assert outcome.test is outcome.row.when

    def test_all_false_is_something_else_than_no_rows(self, by: By) -> None:
        chart = chart_of(ways_on(row("second", "ready")), by)

        assert chart.finished("first").ask(facts(ready=False)) is ALL_FALSE
        assert chart.finished("second").ask(facts()) is NO_ROWS
        assert chart.at_once("first").ask(facts()) is NO_ROWS

    def test_rows_below_one_that_always_holds_are_never_asked(self, by: By) -> None:
        chart = chart_of(ways_on(row("second"), row("home", "unheard", "end")), by)

        assert isinstance(chart.finished("first").ask(facts()), Goes)

    def test_two_rows_that_ask_the_same_gate_stop_at_the_first(self, by: By) -> None:
        again = row("second", "ready")
        program = ways_on(again, Row("other", "home", "end", again.when))

        outcome = chart_of(program, by).finished("first").ask(facts(ready=None))
        gone = chart_of(program, by).finished("first").ask(facts(ready=True))

        assert isinstance(outcome, Undecided)
        assert isinstance(gone, Goes)
        assert outcome.row is gone.row is again

    def test_only_safety_rows_are_asked_under_a_hold(self, by: By) -> None:
        chart = chart_of(STAY, by)

        worse = chart.at_once("stay").ask(facts(worse=True, crisis=True))
        held = chart.safety("stay").ask(facts(crisis=True))

        assert isinstance(worse, Goes)
        assert isinstance(held, Goes)
        assert (worse.row.to, held.row.to) == ("refused", "review")

    def test_an_end_and_the_way_back_lead_outside_and_finish_stays(self, by: By) -> None:
        chart = chart_of(STAY, by)

        ended = chart.finished("intake").ask(facts(unfit=True))
        back = chart.ask("hospital", "finished hospital", facts())
        finished = chart.finished("review").ask(facts())

        assert [cast("Goes", o).to for o in (ended, back, finished)] == [OUTSIDE, OUTSIDE, ""]

    def test_an_event_belongs_to_the_leaves_of_its_phase(self, by: By) -> None:
        chart = chart_of(STAY, by)

        with pytest.raises(KeyError):
            chart.ask("morning", "finished stay", facts())

        assert set(chart.table["finished detox"]) == {"morning", "evening"}
        assert set(chart.table["finished stay"]) == {"stay"}

    def test_regions_are_entered_and_left_as_a_whole(self, by: By) -> None:
        chart = chart_of(STAY, by)

        entered = [
            chart.ask(OUTSIDE, f"enter {name}", facts())
            for name in ("intake", "detox", "daily", "hospital")
        ]
        left = chart.ask("evening", "leave detox", facts())
        ended = chart.ask("stay", "leave", facts())

        assert [cast("Moves", o).to for o in entered] == ["intake", "morning", "daily", "hospital"]
        assert [cast("Moves", o).to for o in (left, ended)] == [OUTSIDE, OUTSIDE]

    def test_rows_can_be_read(self, by: By) -> None:
        phase = STAY.phases["stay"]
        chart = chart_of(STAY, by)

        assert chart.at_once("stay").rows == phase.at_once
        assert chart.safety("stay").rows == phase.at_once[1:]
        assert chart.finished("evening").rows == ()


# Rounds


def rounds_of(repeat: Repeat, by: By, settled: bool | None, most: int = 6) -> list[str]:
    ways = chart_of(ways_on(row("second", "ready"), repeat=repeat), by).finished("first")
    return [type(ways.ask(facts(settled=settled, ready=True), n)).__name__ for n in range(1, most)]


@pytest.mark.parametrize("by", WAYS)
class TestRounds:
    REPEAT = Repeat(2, 4, cast("Any", Says("settled")))

    def test_a_phase_is_repeated_at_least_so_often(self, by: By) -> None:
        assert rounds_of(self.REPEAT, by, True) == ["NextRound", "Goes", "Goes", "Goes", "Goes"]

    def test_it_is_repeated_until_it_is_settled_and_at_most_so_often(self, by: By) -> None:
        assert rounds_of(self.REPEAT, by, False) == ["NextRound"] * 3 + ["Goes"] * 2

    def test_an_unknown_until_stops_except_after_the_last_round(self, by: By) -> None:
        """After the last round both truths of `until` lead to the rows, so it is not asked."""
        unknown = ["NextRound", "Undecided", "Undecided", "Goes", "Goes"]

        assert rounds_of(self.REPEAT, by, None) == unknown

    def test_without_until_it_is_repeated_at_most_times(self, by: By) -> None:
        assert rounds_of(Repeat(3, 3), by, None) == ["NextRound"] * 2 + ["Goes"] * 3

    def test_a_next_round_begins_at_the_start_of_the_phase(self, by: By) -> None:
        outcome = chart_of(STAY, by).ask("evening", "finished course", facts(), 1)

        assert isinstance(outcome, NextRound)
        assert (outcome.phase, outcome.to, outcome.enter) == ("course", "morning", ("morning",))

    def test_an_undecided_round_names_the_gate(self, by: By) -> None:
        outcome = chart_of(STAY, by).finished("course").ask(facts(settled=None), 2)

        assert isinstance(outcome, Undecided)
        assert (outcome.row, outcome.test.text) == (None, "settled")

    def test_a_repeated_phase_without_rows_may_finish_its_parent(self, by: By) -> None:
        assert chart_of(STAY, by).finished("course").ask(facts(settled=True), 4) is NO_ROWS

    def test_the_least_number_of_rounds_comes_before_the_most(self, by: By) -> None:
        often = Repeat(7, 8, cast("Any", Says("settled")))

        assert rounds_of(often, by, True) == ["NextRound"] * 5

    def test_a_phase_may_be_repeated_very_often(self, by: By) -> None:
        assert rounds_of(Repeat(10**12, 10**12), by, None) == ["NextRound"] * 5

    def test_a_row_may_ask_what_until_asks(self, by: By) -> None:
        """The table must not mix the two up: until false is a round, a row false passes on."""
        until = Says("settled")
        onward = Row("on", "second", "phase", cast("Any", until))
        program = ways_on(onward, repeat=Repeat(1, 2, cast("Any", until)))

        outcomes = [
            chart_of(program, by).finished("first").ask(facts(settled=settled), n)
            for n in (1, 2)
            for settled in (True, False, None)
        ]

        kinds = [type(o).__name__ for o in outcomes]
        assert kinds == ["Goes", "NextRound", "Undecided", "Goes", "AllFalse", "Undecided"]
        assert cast("Undecided", outcomes[2]).row is None
        assert cast("Undecided", outcomes[5]).row is onward


def test_each_gate_is_judged_once_by_the_table_and_by_our_machine() -> None:
    class Counted(dict[str, bool | None]):
        asked = 0

        def __getitem__(self, key: str) -> bool | None:
            self.asked += 1
            return super().__getitem__(key)

    program = ways_on(row("home", "unfit", "end"), row("second", "ready"))
    seen: dict[str, int] = {}
    for by in WAYS:
        counted = Counted(unfit=False, ready=True)
        chart_of(program, by).finished("first").ask(cast("Facts", counted))
        seen[by] = counted.asked

    assert seen == {"table": 2, "machine": 2, "stock": 4}


# Places


def test_entering_goes_from_the_outermost_inwards_into_every_track() -> None:
    chart = chart_of(STAY)

    assert chart.enter("stay") == ("stay", "detox", "course", "morning", "daily")
    assert chart.enter("course") == ("course", "morning")
    assert chart.enter("hospital") == ("hospital",)


def test_leaving_goes_from_the_innermost_outwards_through_every_track() -> None:
    chart = chart_of(STAY)

    assert chart.leave("stay", ("stay", "evening", "daily")) == (
        "evening",
        "course",
        "detox",
        "daily",
        "stay",
    )
    assert chart.leave("course", ("evening", "daily")) == ("evening", "course")
    assert chart.leave("daily", ("evening",)) == ()
    assert chart.leave("", ("stay", "daily", "hospital")) == ("daily", "stay", "hospital")


def test_phases_are_asked_outermost_first_and_finished_innermost_first() -> None:
    chart = chart_of(STAY)
    leaves = ("stay", "evening", "daily")

    assert chart.outermost_first(leaves) == ("stay", "detox", "daily", "course", "evening")
    assert chart.innermost_first(leaves) == ("evening", "course", "detox", "daily", "stay")
    assert chart.outermost_first(leaves) is chart.outermost_first(leaves)
    assert chart.leave("stay", leaves) is chart.leave("stay", leaves)


# The machines


def machines() -> Iterator[Machine]:
    for by in WAYS:
        yield from chart_of(STAY, by).regions.values()
    yield from (lifecycle.machine for lifecycle in LIFECYCLES)


def test_no_machine_has_a_callback_by_name_or_one_we_do_not_know() -> None:
    """A string would be imported as a dotted path, whatever it names."""
    conditions = 0
    for machine in machines():
        lists = [
            machine.prepare_event,
            machine.before_state_change,
            machine.after_state_change,
            machine.finalize_event,
            machine.on_exception,
            machine._on_final,
        ]
        for state in machine.states.values():
            lists += [state.on_enter, state.on_exit]
        for event in machine.events.values():
            for way in (t for ts in event.transitions.values() for t in ts):
                lists += [way.prepare, way.before]
                conditions += len(way.conditions)
                assert all(not isinstance(c.func, str) for c in way.conditions)
                assert all(not isinstance(note, str) for note in way.after)
        assert not any(lists)
    assert conditions > 0


def test_machines_have_no_patients_no_queue_and_no_way_past_the_gates() -> None:
    for machine in machines():
        assert machine.models == []
        assert not machine.has_queue
        assert not machine.auto_transitions
        assert not [name for name in machine.events if name.startswith("to_")]


def test_a_patient_is_never_bound_to_a_chart() -> None:
    machine = chart_of(STAY, "machine").regions[""]

    with pytest.raises(TypeError, match="shared by all patients"):
        machine.add_model(Cursor("intake", facts()))
    with pytest.raises(TypeError, match="no callbacks"):
        machine.states["intake"].add_callback("enter", print)


@pytest.mark.parametrize("by", WAYS[1:])
def test_firing_an_event_in_a_leaf_that_has_none_is_refused(by: By) -> None:
    event = chart_of(STAY, by).regions[""].events["finished review"]

    with pytest.raises(MachineError):
        event.trigger(Cursor("intake", facts()))


def test_there_is_one_machine_for_each_region_and_one_state_for_each_leaf() -> None:
    regions = chart_of(STAY).regions

    assert {name: list(machine.states) for name, machine in regions.items()} == {
        "": [OUTSIDE, "intake", "stay", "review"],
        "detox": [OUTSIDE, "morning", "evening"],
        "daily": [OUTSIDE, "daily"],
        "excursion": [OUTSIDE, "hospital"],
    }


def test_a_chart_is_built_once_for_a_program() -> None:
    assert chart_of(STAY) is chart_of(STAY)
    assert chart_of(STAY, "stock") is not chart_of(STAY)


def test_a_row_that_leads_out_of_its_region_is_no_chart() -> None:
    """The compiler finds it first, at its line; a chart never carries it silently."""
    tracks = Phase("stay", "", "tracks", ("stay",), "", children=("a", "b"))
    a = leaf("a", "stay", region="a", next=(row("b"),))

    with pytest.raises(ValueError, match="finished a leads out of its region"):
        Chart(program_of("stay", tracks, a, leaf("b", "stay", region="b")))


def test_one_chart_serves_many_threads() -> None:
    expected = {n: walked(chart_of(STAY, "stock"), n) for n in range(8)}
    found: dict[tuple[By, int], list[str]] = {}

    def serve(by: By, n: int) -> None:
        for _ in range(20):
            found[by, n] = walked(Chart(STAY, by) if n == 0 else chart_of(STAY, by), n)

    threads = [threading.Thread(target=serve, args=(by, n)) for by in WAYS for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {(by, n): expected[n] for by in WAYS for n in range(8)}


def walked(chart: Chart, seed: int) -> list[str]:
    known = facts(fit=seed % 2 == 0, unfit=seed % 3 == 0, settled=seed % 4 > 1, worse=None)
    seen = []
    for event, leaves in chart.table.items():
        for at in leaves:
            try:
                seen.append(told(chart.ask(at, event, known, 1 + seed % 5)))
            except KeyError as missing:
                seen.append(f"{missing}")
    return [*seen, *chart.innermost_first(("stay", "evening", "daily"))]


def test_a_chart_can_be_read_as_plain_data() -> None:
    data = {by: chart_of(STAY, by).as_data() for by in WAYS}

    assert data["table"] == data["machine"] == data["stock"]
    assert json.loads(json.dumps(data["table"])) == data["table"]
    assert data["table"]["phases"]["stay"]["children"] == ["detox", "daily"]
    assert data["table"]["regions"]["detox"]["initial"] == OUTSIDE
    ways = data["table"]["regions"]["detox"]["ways"]
    assert {
        "event": "finished course",
        "from": "evening",
        "to": "morning",
        "outcome": "NextRound",
        "when": "settled",
        "is": False,
        "below_round": 4,
    } in ways


# Any chart


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program with nested sequences, tracks, repeats, and rows of every kind."""
    phases: dict[str, Phase] = {}
    gates = st.sampled_from(["", "a", "b", "c", "d"])
    shared = {name: Says(name) for name in "abcd"}

    def rows(siblings: list[str], excursion: bool) -> tuple[Row, ...]:
        ways = [("home", "end"), ("", "back" if excursion else "finish")]
        ways += [(name, "phase") for name in siblings]
        found = []
        for _ in range(draw(st.integers(0, 3))):
            to, kind = draw(st.sampled_from(ways))
            gate = draw(gates)
            when = (shared[gate] if draw(st.booleans()) else Says(gate)) if gate else None
            safety = draw(st.booleans())
            found.append(Row("r", to, cast("Any", kind), cast("Any", when), safety=safety))
        return tuple(found)

    def repeat() -> Repeat | None:
        if not draw(st.booleans()):
            return None
        least = draw(st.integers(1, 3))
        gate = draw(gates)
        until = cast("Any", shared[gate]) if gate else None
        return Repeat(least, least + draw(st.integers(0, 2)), until)

    def grow(name: str, around: tuple[str, ...], region: str, siblings: list[str]) -> None:
        path = (*around, name)
        kind = draw(st.sampled_from(["leaf", "leaf", "sequence", "tracks"]))
        if len(path) > 3:
            kind = "leaf"
        children = [] if kind == "leaf" else [f"{name}_{i}" for i in range(draw(st.integers(1, 3)))]
        phases[name] = Phase(
            name,
            name,
            cast("Any", kind),
            path,
            region,
            children=tuple(children),
            start=draw(st.sampled_from(children)) if kind == "sequence" else "",
            repeat=repeat(),
            next=rows(siblings, False),
            at_once=rows(siblings, False),
        )
        for child in children:
            track = kind == "tracks"
            grow(child, path, child if track else region, [] if track else children)

    roots = [f"p{i}" for i in range(draw(st.integers(1, 3)))]
    for root in roots:
        grow(root, (), "", roots)
    if draw(st.booleans()):
        phases["away"] = leaf(
            "away", region="excursion", excursion=True, next=rows([], True), at_once=()
        )
    return program_of(draw(st.sampled_from(roots)), *phases.values())


truths = st.fixed_dictionaries(dict.fromkeys("abcd", st.sampled_from([True, False, None])))


def told(outcome: Outcome) -> str:
    """An outcome in words that two charts of one program can be compared by."""
    match outcome:
        case Goes(phase, way, to, enter):
            return f"{phase} goes {id(way)} to {to}, entering {enter}"
        case NextRound(phase, to, enter):
            return f"{phase} again from {to}, entering {enter}"
        case Undecided(phase, way, test):
            return f"{phase} undecided {id(way)} {id(test)}"
        case Moves(to):
            return f"to {to}"
        case _:
            return type(outcome).__name__


def meaning(phase: Phase, event: str, known: Truths, n: int) -> str:
    """What the rules say, read from the program without any chart: kind and row."""
    rows = phase.next if event == "finished" else phase.at_once
    if event == "safety":
        rows = tuple(r for r in rows if r.safety)
    repeat = phase.repeat if event == "finished" else None
    if repeat is not None and n < repeat.at_most:
        over = False if repeat.until is None else known[repeat.until.text]
        if n < repeat.at_least or over is False:
            return "NextRound"
        if over is None:
            return "Undecided None"
    for at, way in enumerate(rows):
        truth = True if way.when is None else known[way.when.text]
        if truth is not False:
            return f"{'Goes' if truth else 'Undecided'} {at}"
    return "AllFalse" if rows else "NoRows"


def seen_as(outcome: Outcome, rows: tuple[Row, ...]) -> str:
    if isinstance(outcome, Goes | Undecided):
        at = None if outcome.row is None else [r is outcome.row for r in rows].index(True)
        return f"{type(outcome).__name__} {at}"
    return type(outcome).__name__


@unhurried
@given(programs(), truths, st.integers(1, 6))
def test_table_machine_and_stock_machine_mean_what_the_rows_say(
    program: Program, known: dict[str, bool | None], n: int
) -> None:
    charts = [Chart(program, by) for by in WAYS]
    read = cast("Facts", known)

    for name, phase in program.phases.items():
        for event in ("finished", "at_once", "safety"):
            expected = meaning(phase, event, known, n)
            ways = charts[0].table[f"{event} {name}"]
            assert ways
            for at in ways:
                outcomes = [c.ask(at, f"{event} {name}", read, n) for c in charts]
                assert len({told(o) for o in outcomes}) == 1
                rows = phase.next if event == "finished" else phase.at_once
                if event == "safety":
                    rows = tuple(r for r in rows if r.safety)
                assert seen_as(outcomes[0], rows) == expected


@unhurried
@given(programs(), st.data())
def test_table_machine_and_stock_machine_go_through_the_same_states(
    program: Program, data: st.DataObject
) -> None:
    table, ours, stock = (Chart(program, by) for by in WAYS)

    for region, machine in ours.regions.items():
        place, left, right = OUTSIDE, Cursor(OUTSIDE, facts()), Cursor(OUTSIDE, facts())
        for _ in range(8):
            able = [
                e for e, leaves in table.table.items() if place in leaves and e in machine.events
            ]
            if not able:
                break
            event = data.draw(st.sampled_from(able))
            known, n = cast("Facts", data.draw(truths)), data.draw(st.integers(1, 5))
            for cursor in (left, right):
                cursor.facts, cursor.round_number, cursor.outcome = known, n, None

            outcome = table.ask(place, event, known, n)
            fired = (
                machine.events[event].trigger(left),
                stock.regions[region].events[event].trigger(right),
            )

            place = getattr(outcome, "to", "") or place
            assert (left.state, right.state) == (place, place)
            silent = outcome is ALL_FALSE or outcome is NO_ROWS
            assert fired == (not silent, not silent)


@unhurried
@given(programs())
def test_every_leaf_can_be_entered_and_left_in_order(program: Program) -> None:
    chart = Chart(program)

    for name, phase in program.phases.items():
        entered = chart.enter(name)
        inside = tuple(p for p in entered if program.phases[p].kind != "sequence")
        everything = set(entered) | set(phase.path)
        assert entered[0] == name
        for at, inner in enumerate(entered[1:], 1):
            assert program.phases[inner].parent in entered[:at]
        assert set(chart.leave(name, inside)) == set(entered)
        assert set(chart.outermost_first(inside)) == everything
        left = chart.innermost_first(inside)
        for at, inner in enumerate(left):
            assert program.phases[inner].parent in ("", *left[at + 1 :])


@unhurried
@given(programs())
def test_every_target_of_a_row_is_a_state_of_its_region(program: Program) -> None:
    for machine in Chart(program).regions.values():
        for event in machine.events.values():
            for at, ways in event.transitions.items():
                assert at in machine.states
                assert all(way.dest is None or way.dest in machine.states for way in ways)


# The lifecycles


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
class TestLifecycles:
    def test_its_table_is_its_machine(self, lifecycle: Lifecycle) -> None:
        for state in lifecycle.states:
            for name, event in lifecycle.machine.events.items():
                cursor = Cursor(state, facts())
                expected = lifecycle.next(state, name)
                if expected is None:
                    with pytest.raises(MachineError):
                        event.trigger(cursor)
                else:
                    event.trigger(cursor)
                    assert cursor.state == expected
                assert (name in lifecycle.events_from(state)) == (expected is not None)

    def test_every_state_is_reached_and_a_final_one_never_left(self, lifecycle: Lifecycle) -> None:
        reached = [lifecycle.initial]
        for state in reached:
            after = [lifecycle.next(state, event) for event in lifecycle.events_from(state)]
            reached += [s for s in dict.fromkeys(after) if s is not None and s not in reached]

        assert set(reached) == set(lifecycle.states)
        assert any(not lifecycle.events_from(state) for state in lifecycle.states)

    def test_it_can_be_read_as_plain_data(self, lifecycle: Lifecycle) -> None:
        data = lifecycle.as_data()

        assert json.loads(json.dumps(data)) == data
        assert data["states"][0] == data["initial"] == lifecycle.initial
        for way in data["ways"]:
            assert lifecycle.next(way["from"], way["event"]) == way["to"]


def test_what_was_recorded_can_no_longer_be_declined() -> None:
    assert ITEM.next("open", "declined") == "declined"
    assert ITEM.next("recorded", "declined") is None
    assert ITEM.next("recorded", "done") == "done"
    assert ITEM.events_from("done") == ()


def test_an_item_ends_only_in_an_outcome_the_record_knows() -> None:
    final = {state for state in ITEM.states if not ITEM.events_from(state)}

    assert final == {
        "done",
        "declined",
        "skipped",
        "missed",
        "waived",
        "withheld",
        "unable",
        "left",
        "cancelled",
    }


@pytest.mark.parametrize("state", ["none", "booked", "arrived"])
def test_a_session_may_start_unbooked_booked_or_after_arrival(state: str) -> None:
    assert SESSION.next(state, "start") == "under_way"


def test_an_aborted_session_is_watched_until_release() -> None:
    for state in ("under_way", "recovering"):
        stopped = SESSION.next(state, "abort")

        assert stopped == "stopping"
        assert SESSION.next(stopped, "dose") is None
        assert SESSION.next(stopped, "cancel") is None
        assert SESSION.next(stopped, "release") == "aborted"


def test_treatment_can_end_before_anybody_was_admitted() -> None:
    assert ENROLLMENT.next("applied", "discharge") == "discharged"
    assert ENROLLMENT.next("closed", "admit") is None
