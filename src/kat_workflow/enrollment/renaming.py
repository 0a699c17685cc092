"""Steps, phases and forms that another version of a program calls otherwise.

Names in the record stay as they were written. Who reads the record by the names of now (a
correction, another version's gates) gets it with those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Past
from kat_workflow.program.forms import Observation

if TYPE_CHECKING:
    from kat_workflow.program.forms import Form
    from kat_workflow.program.model import Phase, Program, Step

_Named = TypeVar("_Named", "Phase", "Step", "Form")
_NONE: Mapping[str, str] = {}


class Names(NamedTuple):
    """What is called otherwise: the name of now by the one before."""

    phases: Mapping[str, str] = _NONE
    steps: Mapping[str, str] = _NONE
    forms: Mapping[str, str] = _NONE


def renamed(old: Mapping[str, _Named], new: Mapping[str, _Named]) -> dict[str, str]:
    """Which phases, steps or forms of a version are called otherwise in another: the name there by
    the name here. Whichever of the two says so, so that a way back is the same."""
    found = {
        name: each.name
        for each in new.values()
        for name in each.renamed_from
        if name in old and name not in new
    }
    back = {
        each.name: name
        for each in old.values()
        for name in each.renamed_from
        if each.name not in new and name in new and name not in old
    }
    return {**found, **back}


def names_between(old: Program, new: Program) -> Names:
    """What one version calls otherwise than another."""
    return Names(
        renamed(old.phases, new.phases),
        renamed(old.steps, new.steps),
        renamed(old.forms, new.forms),
    )


def in_names_of_now(history: tuple[Past, ...]) -> tuple[Past, ...]:
    """The same history as if everything had always been called as it is at its end."""
    if not any(_says_names(past.event) for past in history):
        return history
    names, found = Names(), []
    for past in reversed(history):
        event = past.event
        found.append(replace(past, event=event_by(names, event)))
        if isinstance(event, e.VersionChanged):
            names = Names(
                _then(event.phases, names.phases),
                _then(event.steps, names.steps),
                _then(event.forms, names.forms),
            )
    return tuple(reversed(found))


def _says_names(event: e.Event) -> bool:
    return isinstance(event, e.VersionChanged) and bool(event.phases or event.steps or event.forms)


def _then(first: Mapping[str, str], later: Mapping[str, str]) -> Mapping[str, str]:
    return {**later, **{old: later.get(new, new) for old, new in first.items()}}


def event_by(names: Names, event: e.Event) -> e.Event:
    """An event with other names; the ids of items and places stay what they are."""
    phases, steps, forms = names
    changes: dict[str, Any] = {}
    named = (("phase", phases), ("finishes", phases), ("step", steps), ("form", forms))
    for attr, table in named:
        said = getattr(event, attr, "")
        if said in table:
            changes[attr] = table[said]
    if isinstance(event, e.PhaseEntered) and event.region in phases:
        changes["region"] = phases[event.region]
    if isinstance(event, e.ObservationCorrected | e.ObservationRetracted) and event.restored:
        changes["restored"] = _readings(event.restored, names)
    if isinstance(event, e.VersionChanged):
        changes |= {
            "settled": tuple((steps.get(step, step), *rest) for step, *rest in event.settled),
            "counts": {_key(each, names): count for each, count in event.counts.items()},
            "values": {
                forms.get(form, form): _readings(kept, names) for form, kept in event.values.items()
            },
            "phases": {},
            "steps": {},
            "forms": {},
        }
    return replace(event, **changes) if changes else event


def _readings(kept: tuple[Observation, ...], names: Names) -> tuple[Observation, ...]:
    steps, forms = names.steps, names.forms
    return tuple(
        replace(each, step=steps.get(each.step, each.step), form=forms.get(each.form, each.form))
        for each in kept
    )


def _key(counted: str, names: Names) -> str:
    """The key of a count: a phase, its rounds (`day#`), or how a step ended (`look:done`)."""
    step, colon, outcome = counted.partition(":")
    if colon:
        return f"{names.steps.get(step, step)}:{outcome}"
    phase, rounds, _ = counted.partition("#")
    return names.phases.get(phase, phase) + rounds
