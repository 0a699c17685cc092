"""The cost of the chart alone: guards and nested moves, against a table written by hand.

One small program with nested phases, rounds and gates over recorded data, twice: as a `Program`
answered by its chart, and as plain dicts and loops such as a good engineer would write them. Both
are driven by the same script of events; both use the same gate functions on the same recorded
data; both end in the same trail, which is checked before anything is timed.

`sides()` gives both to whoever times them in turn; `stock_triggers()` is the work of a stock
`transitions` machine that does nothing but move. By itself the module compares the three ways in
which a chart can be answered, in CPU seconds per event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, cast

from transitions import Machine

from kat_workflow.program.chart import By, Cursor, Goes, NextRound, chart_of
from kat_workflow.program.model import Phase, Program, Repeat, Row

Data = dict[str, int]
Event = tuple[str, int, str]
"""A field, the value recorded in it, and the phase that is then found finished ("": none)."""


# The gates: three-valued, over what was recorded last.


def below(field: str, bound: int) -> Callable[[Data], bool | None]:
    """Whether a field is below a bound; None while nothing is recorded."""

    def judge(data: Data) -> bool | None:
        value = data.get(field)
        return None if value is None else value < bound

    return judge


def at_least(field: str, bound: int) -> Callable[[Data], bool | None]:
    """Whether a field has reached a bound; None while nothing is recorded."""

    def judge(data: Data) -> bool | None:
        value = data.get(field)
        return None if value is None else value >= bound

    return judge


high = at_least("pressure", 160)
fit = below("pressure", 160)
pregnant = at_least("pregnancy", 1)
settled = below("score", 8)
severe = at_least("score", 15)
low_mood = at_least("mood", 10)
well = below("mood", 10)


# By hand.


class Line:
    """One line of the table: its gate, where it goes, what it leaves and enters."""

    __slots__ = ("enters", "judge", "leaves", "to")

    def __init__(
        self,
        judge: Callable[[Data], bool | None] | None,
        to: str,
        leaves: tuple[str, ...],
        enters: tuple[str, ...],
    ) -> None:
        self.judge = judge
        self.to = to
        self.leaves = leaves
        self.enters = enters


DAY = ("stay", "detox", "day")
BY_HAND: dict[str, dict[str, tuple[Line, ...]]] = {
    "intake": {
        "intake": (
            Line(pregnant, "out", ("intake",), ()),
            Line(high, "deferred", ("intake",), ("deferred",)),
            Line(fit, "morning", ("intake",), (*DAY, "morning")),
        )
    },
    "deferred": {"deferred": (Line(fit, "morning", ("deferred",), (*DAY, "morning")),)},
    "morning": {
        "morning": (
            Line(severe, "crisis", ("morning",), ("crisis",)),
            Line(None, "evening", ("morning",), ("evening",)),
        ),
    },
    "crisis": {"crisis": (Line(settled, "evening", ("crisis",), ("evening",)),)},
    "evening": {
        "day": (Line(None, "therapy", ("evening", "day", "detox"), ("therapy",)),),
        "stay": (Line(None, "review", ("evening", "day", "detox", "stay"), ("review",)),),
    },
    "therapy": {"therapy": (Line(None, "review", ("therapy", "stay"), ("review",)),)},
    "review": {
        "review": (
            Line(low_mood, "morning", ("review",), (*DAY, "morning")),
            Line(well, "out", ("review",), ()),
        )
    },
    "out": {},
}
DAY_AGAIN = Line(None, "morning", ("evening",), ("morning",))
DAY_AT_LEAST, DAY_AT_MOST = 2, 4


class Stay:
    """One patient's place, data and trail, for either kind of chart."""

    __slots__ = ("data", "left", "place", "round", "visits")

    def __init__(self) -> None:
        self.place = "intake"
        self.data: Data = {}
        self.round = 1
        self.left = 0
        self.visits: dict[str, int] = {}


def drive_by_hand(stay: Stay, events: list[Event]) -> None:
    """Record each value and go where the table says."""
    for field, value, finished in events:
        stay.data[field] = value
        rows = BY_HAND[stay.place].get(finished)
        if rows is None:
            continue
        gone = None
        if finished == "day" and stay.round < DAY_AT_MOST:
            over = settled(stay.data) if stay.round >= DAY_AT_LEAST else False
            if over is None:
                continue
            if not over:
                gone = DAY_AGAIN
                stay.round += 1
        if gone is None:
            for row in rows:
                judge = row.judge
                truth = True if judge is None else judge(stay.data)
                if truth is None:
                    break
                if truth:
                    gone = row
                    break
            else:
                continue
            if gone is None:
                continue
        stay.left += len(gone.leaves)
        for name in gone.enters:
            stay.visits[name] = stay.visits.get(name, 0) + 1
            if name == "day":
                stay.round = 1
        stay.place = gone.to


# By the chart.


class Gate:
    """A gate as the chart knows it, over the same function that the table by hand calls."""

    always = False

    def __init__(self, text: str, truth: Callable[[Data], bool | None]) -> None:
        self.text = text
        self.truth = truth


def _row(to: str, judge: Callable[[Data], bool | None] | None = None, kind: str = "phase") -> Row:
    when = cast("Any", Gate(to, judge)) if judge else None
    return Row(to or kind, to, cast("Any", kind), when)


def _phase(*path: str, rows: tuple[Row, ...] = (), **more: Any) -> Phase:
    kind = "sequence" if "children" in more else "leaf"
    return Phase(path[-1], path[-1], cast("Any", kind), path, "", next=rows, **more)


def program() -> Program:
    """The same chart as `BY_HAND`."""
    phases = (
        _phase(
            "intake",
            rows=(_row("out", pregnant, "end"), _row("deferred", high), _row("stay", fit)),
        ),
        _phase("deferred", rows=(_row("stay", fit),)),
        _phase("stay", rows=(_row("review"),), children=("detox", "therapy"), start="detox"),
        _phase("stay", "detox", rows=(_row("therapy"),), children=("day",), start="day"),
        _phase(
            *DAY,
            rows=(_row("", kind="finish"),),
            children=("morning", "crisis", "evening"),
            start="morning",
            repeat=Repeat(DAY_AT_LEAST, DAY_AT_MOST, cast("Any", Gate("settled", settled))),
        ),
        _phase(*DAY, "morning", rows=(_row("crisis", severe), _row("evening"))),
        _phase(*DAY, "crisis", rows=(_row("evening", settled),)),
        _phase(*DAY, "evening"),
        _phase("stay", "therapy", rows=(_row("", kind="finish"),)),
        _phase("review", rows=(_row("stay", low_mood), _row("out", well, "end"))),
    )
    nothing: Any = {}
    tables = dict.fromkeys(
        ["roles", "sources", "consents", "forms", "limits", "gates", "steps", "sessions", "ends"],
        nothing,
    )
    return Program(
        id="fixture",
        version="1",
        title="",
        about="",
        digest="",
        files={},
        start="intake",
        phases={phase.name: phase for phase in phases},
        **tables,
    )


PROGRAM = program()


def driver(by: By) -> Callable[[Stay, list[Event]], None]:
    """Record each value and go where the chart says."""
    chart = chart_of(PROGRAM, by)
    finishes = {name: chart.finished(name) for name in PROGRAM.phases}
    parents = {name: phase.parent for name, phase in PROGRAM.phases.items()}
    inside = {
        (name, leaf)
        for name in PROGRAM.phases
        for leaf, phase in PROGRAM.phases.items()
        if name in phase.path
    }

    def drive(stay: Stay, events: list[Event]) -> None:
        for field, value, finished in events:
            stay.data[field] = value
            phase = finished
            if (phase, stay.place) not in inside:
                continue
            facts = cast("Any", stay.data)
            outcome = finishes[phase].ask(facts, stay.round)
            while isinstance(outcome, Goes) and not outcome.to:
                phase = parents[phase]
                outcome = finishes[phase].ask(facts)
            if isinstance(outcome, Goes):
                stay.left += len(chart.leave(phase, (stay.place,)))
                to = outcome.row.to if outcome.row.to_kind == "end" else outcome.to
            elif isinstance(outcome, NextRound):
                stay.left += len(chart.leave(phase, (stay.place,))) - 1
                stay.round += 1
                to = outcome.to
            else:
                continue
            for name in outcome.enter:
                stay.visits[name] = stay.visits.get(name, 0) + 1
                if name == "day":
                    stay.round = 1
            stay.place = to

    return drive


# The script.


def script(courses: int = 40, seed: int = 7) -> list[list[Event]]:
    """The courses of some patients, from intake until they are out or the fiftieth event.

    Some readings hold a gate up, some have nothing to do with it, and the pressure is taken
    before anybody knows about a pregnancy, so that the first row is unknown for a while.
    """
    rng = Random(seed)  # noqa: S311 - a script, not a secret
    values: dict[str, tuple[int, ...]] = {
        "pressure": (130, 150, 170),
        "mood": (6, 9, 15),
        "score": tuple(range(3, 20)),
    }
    asked = {"intake": "pressure", "deferred": "pressure", "review": "mood"}
    script = []
    for _ in range(courses):
        course: list[Event] = []
        stay = Stay()
        while stay.place != "out" and len(course) < 50:
            field = asked.get(stay.place, "score")
            finished = "day" if stay.place == "evening" else stay.place
            if rng.random() < 0.3:
                event = ("weight", rng.randrange(50, 100), "")
            elif stay.place == "intake" and "pressure" in stay.data:
                event = ("pregnancy", int(rng.random() < 0.1), finished)
            else:
                event = (field, rng.choice(values[field]), finished)
            course.append(event)
            drive_by_hand(stay, [event])
        script.append(course)
    return script


def trail(drive: Callable[[Stay, list[Event]], None], courses: list[list[Event]]) -> list[Any]:
    """Everything that tells two courses apart, after every event."""
    seen = []
    for course in courses:
        stay = Stay()
        for event in course:
            drive(stay, [event])
            seen.append((stay.place, stay.round, stay.left, dict(stay.visits)))
    return seen


# What is timed.


def sides(way: By = "table", repeats: int = 10) -> tuple[Callable[[], int], Callable[[], int]]:
    """The script by the chart and by hand; each call drives it and says how many events it had."""
    courses = script()
    drives = (driver(way), drive_by_hand)
    if trail(drives[0], courses) != trail(drives[1], courses):
        raise AssertionError(f"{way} does not go the way the table by hand goes")

    def work(drive: Callable[[Stay, list[Event]], None]) -> Callable[[], int]:
        def run() -> int:
            for course in courses * repeats:
                drive(Stay(), course)
            return events

        return run

    events = repeats * sum(len(course) for course in courses)
    return work(drives[0]), work(drives[1])


def stock_triggers(number: int) -> int:
    """Fire the trigger of a stock machine so often, on a thin model, without any condition."""
    trigger, thin = _stock()
    for _ in range(number):
        trigger(thin)
    return number


@lru_cache(maxsize=1)
def _stock() -> tuple[Callable[[Cursor], bool], Cursor]:
    machine = Machine(
        model=None,
        states=["a", "b"],
        initial="a",
        transitions=[
            {"trigger": "go", "source": "a", "dest": "b"},
            {"trigger": "go", "source": "b", "dest": "a"},
        ],
        auto_transitions=False,
        send_event=True,
    )
    return machine.events["go"].trigger, Cursor("a", cast("Any", {}))
