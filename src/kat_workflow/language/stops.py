"""Rows at which a patient could stop for ever: what was not recorded is unknown, and unknown stops.

Rows are asked from the top; one that is unknown is not passed over, so that a pregnancy test that
nobody did cannot let an exclusion be skipped. But a step may be declined or missed, and a question
refused, and then nothing comes any more that would make the row known: the phase is over, its ways
stay shut, and nobody is called to choose. A row above has to say what follows then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

from kat_workflow.language import grammar
from kat_workflow.language.layout import Layout
from kat_workflow.program import model
from kat_workflow.program.forms import Form
from kat_workflow.program.truth import (
    All,
    Always,
    Fact,
    Leaf,
    Node,
    Not,
    Recorded,
    Settled,
    Some,
    Use,
)
from kat_workflow.program.why import latest_facts, leaves, written

__all__ = ["check_stops"]

_MOST = 10
"""Of how many comparisons at most all cases are looked at; rows have one to three."""

_Weigh = Callable[[Leaf], bool | None]


def check_stops(layout: Layout, program: model.Program) -> None:
    """Warn of rows that stay unknown where a step of their phase ended without a recording."""
    for name, spot in layout.spots.items():
        phase = program.phases[name]
        if isinstance(spot.written, grammar.Track) or len(phase.next) < len(spot.written.next):
            continue  # a row that cannot be read has its finding
        said: set[int] = set()
        for fault, says, hint in _faults(program, phase):
            if fault not in said:
                said.add(fault)
                at = (*spot.path, "next", fault, "when")
                layout.report.add(
                    spot.unit.document, "unknown-stops", at, says, hint, severity="warning"
                )


def _faults(program: model.Program, phase: model.Phase) -> Iterator[tuple[int, str, str]]:
    """Row, what is wrong, way out, for each way in which a step leaves a row unknown."""
    for name in phase.steps:
        step = program.steps[name]
        form = program.forms.get(step.form)
        if form is None or form.any_time or form.by or step.every:
            continue  # it may still come
        if any(each.form == form.name and each is not step for each in program.steps.values()):
            continue  # another step may tell
        short = name.rpartition(".")[2]
        for way in sorted(step.may_be - {"done"}):
            row = _stop(program, phase, step, way, frozenset([*form.fields, *_scores(form)]))
            if row is not None:
                says = f"it stays unknown where {short} is {way}: nobody is led on then, nor asked"
                yield row, says, f"put a row above that says where to: when: {short} is {way}"
        left_out = frozenset(f.name for f in form.fields.values() if f.may_be or not f.required)
        row = _stop(program, phase, step, "done", left_out)
        if row is not None:
            says = f"it stays unknown where {short} is done without an answer that it reads"
            yield row, says, "let the answer be required, or ask above whether it is recorded"


def _scores(form: Form) -> Iterator[str]:
    for score in form.computed:
        yield from (score.name, f"{score.name}_band")


def _stop(
    program: model.Program,
    phase: model.Phase,
    step: model.Step,
    way: str,
    silent: frozenset[str],
) -> int | None:
    """The first row that can be reached and is unknown where a step ended so, without these
    fields; None where there is none. What the rows read besides may be so or not so."""

    def reads(fact: Fact) -> bool:
        own = fact.scope.name == phase.name and fact.step in ("", step.name)
        return own and fact.form == step.form and fact.field in silent

    def known(leaf: Leaf) -> str:
        """What a comparison depends on, where that is nothing of this step."""
        its = isinstance(leaf, Settled) and leaf.step == step.name
        return "" if its or any(map(reads, latest_facts(leaf))) else written(leaf)

    def weigh(cases: dict[str, bool], leaf: Leaf) -> bool | None:
        if isinstance(leaf, Settled) and leaf.step == step.name:
            return (leaf.outcome == way) is not leaf.negated
        if any(map(reads, latest_facts(leaf))):
            return leaf.negated if isinstance(leaf, Recorded) else None
        return cases[written(leaf)]

    trees = [None if row.when is None else row.when.tree for row in phase.next]
    every = (leaf for tree in trees if tree is not None for leaf in leaves(tree))
    free = sorted(
        {text for leaf in every if not isinstance(leaf, Always) and (text := known(leaf))}
    )
    if len(free) > _MOST:
        return None
    for truths in product((False, True), repeat=len(free)):
        weighed = partial(weigh, dict(zip(free, truths, strict=True)))
        for number, tree in enumerate(trees):
            truth = True if tree is None else _truth(tree, weighed)
            if truth is None:
                return number
            if truth:
                break
    return None


def _truth(node: Node, weigh: _Weigh) -> bool | None:
    """The truth of a tree by that of its comparisons."""
    match node:
        case Not(inner):
            truth = _truth(inner, weigh)
            return None if truth is None else not truth
        case Use(_, _, inner):
            return _truth(inner, weigh)
        case Always():
            return True
        case All(nodes) | Some(nodes):
            settles = isinstance(node, Some)
            truths = [_truth(each, weigh) for each in nodes]
            return settles if settles in truths else None if None in truths else not settles
        case _:
            return weigh(node)
