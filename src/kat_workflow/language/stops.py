"""Rows at which a patient could stop for ever: what was not recorded is unknown, and unknown stops.

Rows are asked from the top; one that is unknown is not passed over, so that a pregnancy test that
nobody did cannot let an exclusion be skipped. But a step may be declined or missed, and a question
refused, and then nothing comes any more that would make the row known: the phase is over, its ways
stay shut, and nobody is called to choose. A row above has to say what follows then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        alone = fact.scope.name == phase.name and fact.by == (step.name,)  # no other step may tell
        return alone and fact.form == step.form and fact.field in silent

    def fixed(leaf: Leaf) -> bool | None:
        """How the step ended is known, and that it recorded nothing; what it would have is not."""
        if isinstance(leaf, Settled):
            return (leaf.outcome == way) is not leaf.negated
        return leaf.negated if isinstance(leaf, Recorded) else None

    trees = [Always() if row.when is None else row.when.tree for row in phase.next]
    of_step: dict[int, bool | None] = {}
    others: dict[int, str] = {}
    for tree in trees:
        for leaf in leaves(tree):
            ends = isinstance(leaf, Settled) and leaf.step == step.name
            if ends or any(map(reads, latest_facts(leaf))):
                of_step[id(leaf)] = fixed(leaf)
            elif not isinstance(leaf, Always):
                others[id(leaf)] = written(leaf)
    free = sorted(set(others.values()))
    if None not in of_step.values() or len(free) > _MOST:
        return None
    for truths in product((False, True), repeat=len(free)):
        cases = dict(zip(free, truths, strict=True))
        truth_of = of_step | {leaf: cases[text] for leaf, text in others.items()}
        for number, tree in enumerate(trees):
            truth = _truth(tree, truth_of)
            if truth is None:
                return number
            if truth:
                break
    return None


def _truth(node: Node, truth_of: Mapping[int, bool | None]) -> bool | None:
    """The truth of a tree by that of its comparisons, each by its identity."""
    match node:
        case Not(inner):
            truth = _truth(inner, truth_of)
            return None if truth is None else not truth
        case Use(_, _, inner):
            return _truth(inner, truth_of)
        case Always():
            return True
        case All(nodes) | Some(nodes):
            settles = isinstance(node, Some)
            truths = [_truth(each, truth_of) for each in nodes]
            return settles if settles in truths else None if None in truths else not settles
        case _:
            return truth_of[id(node)]
