"""The chart of a program: what may follow what, as `transitions` machines and a table.

A program has one flat machine per region: one for the program itself (""), one for each track,
one for the excursions. Its states are the leaves of the region (a phase with tracks is a leaf of
its own region) and `OUTSIDE`. Hierarchy and repeats are compiled away: every rule of a phase is
copied to each leaf below it. A machine is built once per program, never changed, never given a
patient, and holds no callback by name; a patient's place is a name that is passed in.

Each phase has three events, so that the caller decides the order among phases: `finished`,
`at_once`, and `safety` (only those `at_once` rows that go even while a hold stands). Rows are
asked top to bottom: true goes, false passes on, unknown stops. To say so with a two-valued
machine, a conditional row is two transitions, "it is unknown" before "it is true". A round that
may begin again stands before the rows of `finished`.

What is asked millions of times is not the machine but a table read from `Machine.events` once.
`chart_of(program, "machine")` and `chart_of(program, "stock")` answer the same questions by
firing the machines, with classes of our own that leave out what we never use, or as they come.

The lifecycles of an item, a session and an enrollment are small machines of the same make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast

from msgspec import Struct
from transitions import Event, EventData, Machine, MachineError, State, Transition

if TYPE_CHECKING:
    from kat_workflow.program.gates import Facts, Test
    from kat_workflow.program.model import Phase, Program, Row

OUTSIDE: Final = "(outside)"
"""The state of a region that nobody is in: before it is entered and after it is left."""

By = Literal["table", "machine", "stock"]


# What an event leads to.


class Goes(Struct, frozen=True, eq=False):
    """A row of `phase` holds. `to` is the leaf the region arrives in.

    `to` is `OUTSIDE` for an end or `back`, and "" for `finish`, where the region stays and the
    parent is asked next. `enter` are the phases to enter, outermost inwards, with all tracks.
    """

    phase: str
    row: Row
    to: str
    enter: tuple[str, ...]


class NextRound(Struct, frozen=True, eq=False):
    """`phase` begins again in `to`; `enter` are the phases inside it to enter anew."""

    phase: str
    to: str
    enter: tuple[str, ...]


class Undecided(Struct, frozen=True, eq=False):
    """`test` is unknown, and nothing below it may be asked; `row` is None for `until`."""

    phase: str
    row: Row | None
    test: Test


class AllFalse(Struct, frozen=True, eq=False):
    """No row holds: somebody decides the way on (or, for `at_once`, nothing happens)."""


class NoRows(Struct, frozen=True, eq=False):
    """There is no row to ask: a finished phase may finish its parent."""


class Moves(Struct, frozen=True, eq=False):
    """A region is entered or left as a whole; it arrives in `to`."""

    to: str


Outcome = Goes | NextRound | Undecided | AllFalse | NoRows | Moves

ALL_FALSE: Final = AllFalse()
NO_ROWS: Final = NoRows()


class Ways(Protocol):
    """What one event can lead to; the same from every leaf below the event's phase."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are asked, top to bottom."""

    def ask(self, facts: Facts, round_number: int = 1) -> Outcome:
        """The outcome as the facts stand, in this round (from 1) of the event's phase."""


class Chart:
    """What may follow what in one program. Immutable; shared by every patient and thread.

    `regions` maps a region's name to its machine. `table` maps an event to the leaves it can
    happen in and what it leads to there. Wherever `leaves` are asked for, they are the leaves a
    patient is in, as a tuple; naming the phases around them too does no harm.
    """

    regions: Mapping[str, Machine]
    table: Mapping[str, Mapping[str, Ways]]

    def __init__(self, program: Program, by: By = "table") -> None:
        self._phases = program.phases
        self._order = {name: at for at, name in enumerate(_document_order(program.phases))}
        self._enter: dict[str, tuple[str, ...]] = {}
        self._around: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._inward: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._outward: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.regions = MappingProxyType(_regions(program, self.enter, by))
        self.table = MappingProxyType(_table(self.regions, program, by))
        self._finished = self._by_phase("finished")
        self._at_once = self._by_phase("at_once")
        self._safety = self._by_phase("safety")

    def finished(self, phase: str) -> Ways:
        """Where a finished phase leads: its next round, else its `next` rows."""
        return self._finished[phase]

    def at_once(self, phase: str) -> Ways:
        """The rows of a phase that are asked all the time."""
        return self._at_once[phase]

    def safety(self, phase: str) -> Ways:
        """Those `at_once` rows of a phase that are asked while a hold stands."""
        return self._safety[phase]

    def ask(self, leaf: str, event: str, facts: Facts, round_number: int = 1) -> Outcome:
        """What `event` (such as `finished day`) leads to in `leaf`, in this round of its phase.

        KeyError: there is no such event, or it cannot happen in this leaf.
        """
        return self.table[event][leaf].ask(facts, round_number)

    def enter(self, phase: str) -> tuple[str, ...]:
        """The phases that entering `phase` enters, itself first, outermost inwards.

        A sequence begins with its start; tracks are entered all, in the order of the file.
        """
        entered = self._enter.get(phase)
        if entered is None:
            entered = self._enter[phase] = tuple(_descent(self._phases, phase))
        return entered

    def leave(self, phase: str, leaves: tuple[str, ...]) -> tuple[str, ...]:
        """The phases that leaving `phase` leaves, itself last: innermost first, then file order.

        "" leaves everything.
        """
        left = self._around.get((phase, leaves))
        if left is None:
            inside = (p for p in self._active(leaves) if not phase or phase in self._path(p))
            left = tuple(sorted(inside, key=lambda p: (-len(self._path(p)), self._order[p])))
            self._around[phase, leaves] = left
        return left

    def innermost_first(self, leaves: tuple[str, ...]) -> tuple[str, ...]:
        """Every phase a patient is in, innermost first, then in the order of the file."""
        outward = self._outward.get(leaves)
        if outward is None:
            outward = self._outward[leaves] = self.leave("", leaves)
        return outward

    def outermost_first(self, leaves: tuple[str, ...]) -> tuple[str, ...]:
        """Every phase a patient is in, outermost first, then in the order of the file."""
        inward = self._inward.get(leaves)
        if inward is None:
            active = self._active(leaves)
            inward = tuple(sorted(active, key=lambda p: (len(self._path(p)), self._order[p])))
            self._inward[leaves] = inward
        return inward

    def as_data(self) -> dict[str, Any]:
        """The chart as plain JSON values, to be drawn or walked without this library."""
        return {
            "outside": OUTSIDE,
            "phases": {
                name: {
                    "title": phase.title,
                    "kind": phase.kind,
                    "region": phase.region,
                    "path": list(phase.path),
                    "children": list(phase.children),
                    "enter": list(self.enter(name)),
                }
                for name, phase in self._phases.items()
            },
            "regions": {
                name: {
                    "initial": machine.initial,
                    "states": list(machine.states),
                    "ways": [_way_data(event, way) for event, way in _ways_of(machine)],
                }
                for name, machine in self.regions.items()
            },
        }

    def _path(self, phase: str) -> tuple[str, ...]:
        return self._phases[phase].path

    def _active(self, leaves: tuple[str, ...]) -> Iterable[str]:
        return dict.fromkeys(p for leaf in leaves for p in self._path(leaf))

    def _by_phase(self, event: str) -> dict[str, Ways]:
        """Any leaf will do: the ways are the same from each."""
        return {p: next(iter(self.table[f"{event} {p}"].values())) for p in self._phases}


@lru_cache(maxsize=256)
def chart_of(program: Program, by: By = "table") -> Chart:
    """The chart of a program, built once and kept.

    `by` says what answers: the `table`, the `machine` of our own classes, or the `stock` one.
    """
    return Chart(program, by)


class Cursor:
    """The thin model that a machine is fired with: one patient's place, for one question."""

    __slots__ = ("facts", "outcome", "round_number", "state")

    def __init__(self, state: str, facts: Facts, round_number: int = 1) -> None:
        self.state = state
        self.facts = facts
        self.round_number = round_number
        self.outcome: Outcome | None = None


# A lifecycle; the three that exist stand at the end.


class Lifecycle:
    """A small fixed chart without gates: which event leads from which state to which."""

    def __init__(self, name: str, initial: str, ways: Mapping[str, Mapping[str, str]]) -> None:
        """`ways`: event → {state: state it leads to}."""
        self.name = name
        self.initial = initial
        self._ways = ways

    @cached_property
    def machine(self) -> Machine:
        """The machine; made on first use."""
        ways = self._ways.values()
        states = dict.fromkeys(s for way in ways for pair in way.items() for s in pair)
        return _machine(
            _QuickMachine,
            [self.initial, *(s for s in states if s != self.initial)],
            self.initial,
            [
                {"trigger": event, "source": source, "dest": None if source == dest else dest}
                for event, way in self._ways.items()
                for source, dest in way.items()
            ],
        )

    @cached_property
    def _table(self) -> dict[str, dict[str, str]]:
        """Read from the machine once."""
        table: dict[str, dict[str, str]] = {state: {} for state in self.machine.states}
        for event, transition in _ways_of(self.machine):
            table[transition.source][event] = transition.dest or transition.source
        return table

    def next(self, state: str, event: str) -> str | None:
        """The state that `event` leads to, or None where it cannot happen."""
        return self._table[state].get(event)

    def events_from(self, state: str) -> tuple[str, ...]:
        """What can happen in `state`; nothing in a final one."""
        return tuple(self._table[state])

    @property
    def states(self) -> tuple[str, ...]:
        """Every state, the initial one first."""
        return tuple(self._table)

    def as_data(self) -> dict[str, Any]:
        """The lifecycle as plain JSON values."""
        return {
            "name": self.name,
            "initial": self.initial,
            "states": list(self._table),
            "ways": [
                {"event": event, "from": state, "to": to}
                for state, row in self._table.items()
                for event, to in row.items()
            ],
        }


# How a machine says the rules: conditions and notes are plain objects that can be read again.


class _Asks(Struct, frozen=True, eq=False):
    """The condition of one transition: below this round (None: in any), this is the truth."""

    test: Test | None = None
    wants: bool | None = True
    below: int | None = None

    def __call__(self, event: EventData) -> bool:
        cursor = cast("Cursor", event.model)
        if self.below is not None and cursor.round_number >= self.below:
            return False
        return self.test is None or self.test.truth(cursor.facts) is self.wants


class _Notes(Struct, frozen=True, eq=False):
    """What a transition does when it is gone: it tells its outcome."""

    outcome: Outcome

    def __call__(self, event: EventData) -> None:
        cast("Cursor", event.model).outcome = self.outcome


def _asks(transition: Transition) -> _Asks:
    return cast("_Asks", transition.conditions[0].func)


def _outcome(transition: Transition) -> Outcome:
    return cast("_Notes", transition.after[0]).outcome


# The machines' own classes: the same meaning without logging, queues and look-ups by name.


class _QuickState(State):
    """A state that nothing can be hung on: entering and leaving are told by the outcome."""

    def add_callback(self, trigger: str, func: object) -> None:
        raise TypeError("a chart's states have no callbacks")


class _QuickTransition(Transition):
    """A transition that has its condition and outcome at hand."""

    def __init__(self, source: str, dest: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(source, dest, *args, **kwargs)
        asks = _asks(self) if self.conditions else _Asks()
        self.test, self.wants, self.below = asks.test, asks.wants, asks.below
        self.outcome = _outcome(self) if self.after else None


class _QuickEvent(Event):
    """An event that judges each gate once, although two transitions ask it."""

    def trigger(self, model: Any, *_args: Any, **_kwargs: Any) -> bool:
        ways: Sequence[Any] | None = self.transitions.get(model.state)
        if ways is None:
            raise MachineError(f"{self.name} cannot happen in {model.state}")
        judged = truth = None
        for way in ways:
            if way.below is not None and model.round_number >= way.below:
                continue
            test = way.test
            if test is not None:
                if test is not judged:
                    judged, truth = test, test.truth(model.facts)
                if truth is not way.wants:
                    continue
            model.outcome = way.outcome
            if way.dest:
                model.state = way.dest
            return True
        return False


class _QuickMachine(Machine):
    """A machine that is a definition only: patients are never bound to it."""

    state_cls = _QuickState
    transition_cls = _QuickTransition
    event_cls = _QuickEvent

    def add_model(self, model: object, initial: object = None) -> None:
        raise TypeError("a chart is shared by all patients; fire its events with a Cursor")


def _machine(
    kind: type[Machine], states: list[str], initial: str, transitions: list[dict[str, Any]]
) -> Machine:
    """One machine as all of ours are; every name in it is one of its states."""
    for way in transitions:
        unknown = {way["source"], way["dest"]} - {*states, None}
        if unknown:
            raise ValueError(f"{way['trigger']} leads out of its region: {sorted(unknown)}")
    return kind(
        model=None,
        states=list(states),
        initial=initial,
        transitions=cast("Any", transitions),
        auto_transitions=False,
        send_event=True,
    )


def _ways_of(machine: Machine) -> Iterable[tuple[str, Transition]]:
    for name, event in machine.events.items():
        for transitions in event.transitions.values():
            for transition in transitions:
                yield name, transition


# From a program to its machines.


def _document_order(phases: Mapping[str, Phase]) -> Iterable[str]:
    """Every phase, parents before children, children in the order of the file."""
    waiting = [name for name, phase in phases.items() if not phase.parent][::-1]
    while waiting:
        name = waiting.pop()
        yield name
        waiting.extend(reversed(phases[name].children))


def _descent(phases: Mapping[str, Phase], name: str) -> Iterable[str]:
    phase = phases[name]
    yield name
    if phase.kind == "sequence":
        yield from _descent(phases, phase.start)
    elif phase.kind == "tracks":
        for track in phase.children:
            yield from _descent(phases, track)


def _leaves(phases: Mapping[str, Phase], name: str) -> list[str]:
    """The leaves of a phase in its own region."""
    region = phases[name].region
    return [
        leaf.name
        for leaf in phases.values()
        if leaf.kind != "sequence" and leaf.region == region and name in leaf.path
    ]


def _regions(
    program: Program, enter: Callable[[str], tuple[str, ...]], by: By
) -> dict[str, Machine]:
    phases = program.phases
    states: dict[str, list[str]] = {}
    ways: dict[str, list[dict[str, Any]]] = {}
    for phase in phases.values():
        region = phase.region
        within = _leaves(phases, phase.name)
        here, rules = states.setdefault(region, [OUTSIDE]), ways.setdefault(region, [])
        arrival = _arrival(phases, phase.name)
        if phase.kind != "sequence":
            here.append(phase.name)
            rules.append(_way(f"leave {region}".rstrip(), phase.name, OUTSIDE, Moves(OUTSIDE)))
        if phase.name in (program.start, region) or phase.excursion:
            rules.append(_way(f"enter {phase.name}", OUTSIDE, arrival, Moves(arrival)))
        for event, rounds, rows in (
            ("finished", True, phase.next),
            ("at_once", False, phase.at_once),
            ("safety", False, tuple(row for row in phase.at_once if row.safety)),
        ):
            asked = _rounds(phase, arrival, enter) if rounds else []
            for row in rows:
                asked.extend(_row(phases, phase.name, row, enter))
            rules.extend(
                _way(f"{event} {phase.name}", leaf, dest, outcome, asks)
                for leaf in within
                for dest, outcome, asks in asked
            )
    kind = Machine if by == "stock" else _QuickMachine
    return {name: _machine(kind, states[name], OUTSIDE, ways[name]) for name in states}


def _way(
    event: str, source: str, dest: str | None, outcome: Outcome, asks: _Asks | None = None
) -> dict[str, Any]:
    return {
        "trigger": event,
        "source": source,
        "dest": dest,
        "conditions": [asks or _Asks()],
        "after": [_Notes(outcome)],
    }


def _arrival(phases: Mapping[str, Phase], name: str) -> str:
    """The leaf of its own region that a phase begins in."""
    while phases[name].kind == "sequence":
        name = phases[name].start
    return name


def _rounds(
    phase: Phase, arrival: str, enter: Callable[[str], tuple[str, ...]]
) -> list[tuple[str | None, Outcome, _Asks]]:
    """Whether a finished phase begins again.

    After the last round allowed `until` is not asked: whatever its truth, the rows are next.
    """
    repeat = phase.repeat
    if repeat is None:
        return []
    again = NextRound(phase.name, arrival, enter(phase.name)[1:])
    until, least, most = repeat.until, repeat.at_least, repeat.at_most
    if until is None:
        return [(arrival, again, _Asks(below=most))]
    unknown = Undecided(phase.name, None, until)
    return [
        (arrival, again, _Asks(below=least)),
        (None, unknown, _Asks(until, None, most)),
        (arrival, again, _Asks(until, False, most)),
    ]


def _row(
    phases: Mapping[str, Phase], phase: str, row: Row, enter: Callable[[str], tuple[str, ...]]
) -> list[tuple[str | None, Outcome, _Asks]]:
    match row.to_kind:
        case "phase":
            goes = Goes(phase, row, _arrival(phases, row.to), enter(row.to))
        case "finish":
            goes = Goes(phase, row, "", ())
        case _:  # an end, or the way back from an excursion
            goes = Goes(phase, row, OUTSIDE, ())
    when = row.when
    if when is None or when.always:
        return [(goes.to or None, goes, _Asks())]
    return [
        (None, Undecided(phase, row, when), _Asks(when, None)),
        (goes.to or None, goes, _Asks(when)),
    ]


# From the machines to the table.

_Step: TypeAlias = (
    "tuple[Callable[[Facts], bool | None] | None, Outcome | None, Outcome | None, Outcome | None]"
)
"""How to judge (None: no need), and the outcome if true, false, unknown (None: pass on)."""


class _Table:
    """Ways that are read from a machine's transitions once and answer without it."""

    __slots__ = ("_early", "_otherwise", "_steps", "rows")

    def __init__(self, transitions: Sequence[Transition], rows: tuple[Row, ...]) -> None:
        bounds = sorted({b for t in transitions if (b := _asks(t).below) is not None})
        self.rows = rows
        self._otherwise: Outcome = ALL_FALSE if rows else NO_ROWS
        self._early = tuple((bound, _steps(transitions, bound - 1)) for bound in bounds)
        self._steps = _steps(transitions, None)

    def ask(self, facts: Facts, round_number: int = 1) -> Outcome:
        steps = self._steps
        for bound, early in self._early:
            if round_number < bound:
                steps = early
                break
        for judge, goes, passes, unknown in steps:
            truth = True if judge is None else judge(facts)
            outcome = goes if truth else unknown if truth is None else passes
            if outcome is not None:
                return outcome
        return self._otherwise


class _Fired:
    """Ways that fire the machine anew for each question."""

    __slots__ = ("_event", "_leaf", "rows")

    def __init__(self, event: Event | None, leaf: str, rows: tuple[Row, ...]) -> None:
        self._event = event
        self._leaf = leaf
        self.rows = rows

    def ask(self, facts: Facts, round_number: int = 1) -> Outcome:
        cursor = Cursor(self._leaf, facts, round_number)
        if self._event is not None:
            self._event.trigger(cursor)
        return cursor.outcome or (ALL_FALSE if self.rows else NO_ROWS)


def _table(regions: Mapping[str, Machine], program: Program, by: By) -> dict[str, dict[str, Ways]]:
    """Every event with the leaves it can happen in; also those that lead nowhere."""
    table: dict[str, dict[str, Ways]] = {}
    events = {name: event for m in regions.values() for name, event in m.events.items()}
    sources = {name: list(event.transitions) for name, event in events.items()}
    for phase in program.phases.values():
        leaves = _leaves(program.phases, phase.name)
        sources |= {f"{kind} {phase.name}": leaves for kind in ("finished", "at_once", "safety")}
    for name, leaves in sources.items():
        table[name] = {}
        for leaf in leaves:
            event = events.get(name)
            transitions = event.transitions[leaf] if event else []
            rows = tuple(o.row for o in map(_outcome, transitions) if isinstance(o, Goes))
            answers = _Table(transitions, rows) if by == "table" else _Fired(event, leaf, rows)
            table[name][leaf] = answers
    return table


def _steps(transitions: Sequence[Transition], round_number: int | None) -> tuple[_Step, ...]:
    """What is to be judged in this round (None: after all bounds).

    Transitions that ask the same gate are one step.
    """
    steps: list[_Step] = []
    judged: Test | None = None
    for transition in transitions:
        asks, outcome = _asks(transition), _outcome(transition)
        if asks.below is not None and (round_number is None or round_number >= asks.below):
            continue
        if asks.test is None:
            steps.append((None, outcome, None, None))
            break  # nothing below a row that always holds is ever asked
        if asks.test is judged:
            judge, goes, passes, unknown = steps.pop()
        else:
            judge, goes, passes, unknown = asks.test.truth, None, None, None
        judged = asks.test
        if asks.wants is None:
            unknown = unknown or outcome
        elif asks.wants:
            goes = goes or outcome
        else:
            passes = passes or outcome
        steps.append((judge, goes, passes, unknown))
    return tuple(steps)


def _way_data(event: str, way: Transition) -> dict[str, Any]:
    asks, outcome = _asks(way), _outcome(way)
    row = getattr(outcome, "row", None)
    data: dict[str, Any] = {
        "event": event,
        "from": way.source,
        "to": way.dest or way.source,
        "outcome": type(outcome).__name__,
    }
    if asks.test is not None:
        data |= {"when": asks.test.text, "is": asks.wants}
    if asks.below is not None:
        data["below_round"] = asks.below
    if row is not None:
        data["row"] = {"name": row.name, "to": row.to, "to_kind": row.to_kind, "says": row.says}
    return data


# The fixed lifecycles themselves: last, because a machine is built with all of the above.


def _from(*sources: str, to: str) -> dict[str, str]:
    return dict.fromkeys(sources, to)


ITEM: Final = Lifecycle(
    "item",
    "planned",
    {
        "open": _from("planned", to="open"),
        "record": _from("open", "recorded", to="recorded"),
        "done": _from("open", "recorded", to="done"),
        "declined": _from("planned", "open", to="declined"),
        "skipped": _from("planned", "open", to="skipped"),
        "missed": _from("planned", "open", "recorded", to="missed"),
        "waived": _from("planned", "open", "recorded", to="waived"),
        "withheld": _from("planned", "open", to="withheld"),
        "unable": _from("planned", "open", "recorded", to="unable"),
        "left": _from("planned", "open", "recorded", to="left"),
        "cancelled": _from("planned", "open", "recorded", to="cancelled"),
    },
)
"""One opening of a step. `recorded` waits for a signature; the outcomes are final.

The event that settles an item is named like the outcome. What was recorded can no longer be
declined, skipped or withheld.
"""

SESSION: Final = Lifecycle(
    "session",
    "none",
    {
        "book": _from("none", to="booked"),
        "arrive": _from("none", "booked", to="arrived"),
        "start": _from("none", "booked", "arrived", to="under_way"),
        "dose": _from("under_way", to="under_way"),
        "pause": _from("under_way", to="under_way"),
        "resume": _from("under_way", to="under_way"),
        "end_dosing": _from("under_way", to="recovering"),
        "abort": _from("under_way", "recovering", to="stopping"),
        "release": {"under_way": "released", "recovering": "released", "stopping": "aborted"},
        "cancel": _from("booked", "arrived", "under_way", to="cancelled"),
        "leave": {
            "booked": "cancelled",
            "arrived": "cancelled",
            "under_way": "aborted",
            "recovering": "aborted",
            "stopping": "aborted",
        },
    },
)
"""One session. Aborting ends dosing, not the watch: it is `aborted` when released from `stopping`.

`cancel` from `under_way` is for a session in which nothing was given; `release` from
`under_way` is for one without dosing. `leave` is the patient's leaving, released or not.
"""

ENROLLMENT: Final = Lifecycle(
    "enrollment",
    "applied",
    {
        "admit": _from("applied", to="active"),
        "discharge": _from("applied", "active", to="discharged"),
        "close": _from("discharged", to="closed"),
    },
)
"""The standing of an enrollment; treatment can end before anybody was admitted."""
