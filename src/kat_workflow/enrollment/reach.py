"""What can follow where a patient is, worked out once: by what happened, and by set of phases.

After a command a run asks what could open, go or finish. To walk all steps of all phases for that
would be to read most of the program each time, and to find nothing. So a program is turned round
here: from what happened to the steps that could open by it (`Opens`), and from the phases that a
patient is in to what has to be asked there (`Reach`). Patients are in few different sets of phases,
so that each is worked out once and then looked up.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from kat_workflow.program.chart import chart_of

if TYPE_CHECKING:
    from kat_workflow.program.chart import Chart, Ways
    from kat_workflow.program.model import Phase, Program, Step

Names: TypeAlias = frozenset[str]

ANY: Final[Names] = frozenset(["*"])
"""Stands for all steps, where what happened could have let any of them open."""


class Opens(Struct, frozen=True):
    """Which steps of a program could open when a step is settled, a form is recorded, or a phase is
    entered or left. By phase or session kind, those that are `judged` by a gate could open when
    any phase is, and the `timed` ones of them by the mere passing of time.
    """

    by_step: dict[str, Names]
    by_form: dict[str, Names]
    by_phase: dict[str, Names]
    judged: dict[str, Names]
    timed: dict[str, Names]


class Tables(Struct, frozen=True, eq=False):
    """What is read of a program at every command. `parts` are the steps of each kind of session;
    `daily` the phases whose rounds begin with a local date, and their most rounds; `reaches` what
    was worked out by sets of phases (`reach_of`)."""

    chart: Chart
    opens: Opens
    parts: dict[str, tuple[Step, ...]]
    daily: dict[str, int]
    reaches: dict[tuple[str, ...], Reach] = {}


Asked: TypeAlias = "tuple[str, str, bool, str, Step]"
"""A step that may open: its name, its phase, whether it recurs, the first step it waits for, and
the step itself."""
Finishing: TypeAlias = "tuple[str, bool, str, Phase]"
"""A phase that may be finished: its name, whether a part of it must have been, and the last of the
steps that must be settled (""). These two tell mostly that it is not; then it is asked itself."""


class Reach(Struct, frozen=True, eq=False):
    """What is asked of a patient in a set of phases.

    `steps` are theirs, phase by phase as they were entered, and `judged` and `timed` those of
    `Opens`; `urgent` the phases with `at_once` rows, outermost first, each with those rows and the
    ones that go even while a hold stands; `phases` all of them, innermost first; `daily` is as in
    `Tables`.
    """

    steps: tuple[Asked, ...]
    judged: Names
    timed: Names
    urgent: tuple[tuple[Phase, Ways, Ways], ...]
    phases: tuple[Finishing, ...]
    daily: tuple[tuple[str, int], ...]


@lru_cache(maxsize=256)
def tables_of(program: Program) -> Tables:
    """What is read of a program at every command."""
    return Tables(
        chart_of(program),
        _opens(program),
        {
            name: tuple(program.steps[step] for step in kind.steps)
            for name, kind in program.sessions.items()
        },
        {
            name: phase.repeat.at_most
            for name, phase in program.phases.items()
            if phase.repeat is not None and phase.repeat.one_per
        },
    )


def reach_of(program: Program, active: tuple[str, ...]) -> Reach:
    """What is asked of a patient in these phases, which are told as they were entered: worked out,
    and kept with the program (`Tables.reaches`)."""
    tables = tables_of(program)
    chart, opens = tables.chart, tables.opens
    steps = [
        (step.name, name, bool(step.every), step.after[0] if step.after else "", step)
        for name in active
        for step in map(program.steps.__getitem__, program.phases[name].steps)
    ]
    phases: list[Finishing] = []
    for name in chart.innermost_first(active):
        phase = program.phases[name]
        parts = [program.phases[part].required for part in phase.children]
        whole = phase.kind == "sequence" or (phase.kind == "tracks" and any(parts))
        last = phase.required_steps[-1] if phase.required_steps else ""
        phases.append((name, whole, last, phase))
    urgent = [program.phases[name] for name in chart.outermost_first(active)]
    reach = tables.reaches[active] = Reach(
        tuple(steps),
        frozenset().union(*(opens.judged.get(name, ()) for name in active)),
        frozenset().union(*(opens.timed.get(name, ()) for name in active)),
        tuple((x, chart.at_once(x.name), chart.safety(x.name)) for x in urgent if x.at_once),
        tuple(phases),
        tuple((name, tables.daily[name]) for name in active if name in tables.daily),
    )
    return reach


@lru_cache(maxsize=4096)
def steps_among(reach: Reach, wanted: Names) -> tuple[Asked, ...]:
    """Those steps of a set of phases that are wanted, in its order."""
    return tuple(each for each in reach.steps if each[0] in wanted)


def _opens(program: Program) -> Opens:
    by_step, by_form, by_phase = (defaultdict[str, set[str]](set) for _ in range(3))
    judged, timed = (defaultdict[str, set[str]](set) for _ in range(2))
    for step in program.steps.values():
        name, test, anchor = step.name, step.only_if, step.counted_from
        steps, forms, phases = set(step.after), set(), {step.owner}
        if step.every or step.at_most > 1 or step.part == "watch":
            steps.add(name)
        if anchor.kind == "step":
            steps.add(anchor.name)
        elif anchor.kind == "fact":
            forms.add(anchor.name.rpartition(".")[0])
        # What it waits for counts where it now matters: that changes with the phase around that.
        phases.update(program.steps[other].owner for other in steps)
        if test is not None:
            forms.update(read[0] for read in test.reads)
            steps.update(test.steps)
            steps.update(tally.partition(":")[0] for tally in test.tallies)
            judged[step.owner].add(name)
            if test.temporal:
                timed[step.owner].add(name)
        for keys, index in ((steps, by_step), (forms, by_form), (phases, by_phase)):
            for key in keys:
                index[key].add(name)
    by_phase.update((name, by_phase[name]) for name in program.phases)
    return Opens(*map(_frozen, (by_step, by_form, by_phase, judged, timed)))


def _frozen(index: dict[str, set[str]]) -> dict[str, Names]:
    return {key: frozenset(names) for key, names in index.items()}
