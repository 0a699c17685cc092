"""Who may read what was recorded: steps that say `read_by`, and what is withheld from others.

What a recording holds is withheld, and what a call or a reason quotes of it; that it was made,
when and by whom is not. Whoever recorded it, and whoever is called about it, may read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.state import Enrollment, copy_of
from kat_workflow.errors import Clause, Refusal
from kat_workflow.program import PATIENT
from kat_workflow.program.forms import Form, Observation

if TYPE_CHECKING:
    from kat_workflow.enrollment.commands import Actor, Command
    from kat_workflow.program.model import Alert, Program, SessionRule

WITHHELD = "withheld"
"""What stands where somebody may not read."""


def may_read(program: Program, actor: Actor, event: e.Event) -> bool:
    """Whether somebody may read all that an event says, in the roles that they hold.

    An event of a step without `read_by` may be read by everybody who may see the enrollment.
    """
    kept = _kept(program)
    if not kept.steps:
        return True
    roles = actor.roles.union(actor.covers)
    if isinstance(event, e.VersionChanged):
        return False  # it repeats readings of whatever form
    if isinstance(event, e.AlertRaised):
        readers = kept.alerts.get(event.alert)
        return readers is None or not readers.isdisjoint(roles) or not roles.isdisjoint(event.tell)
    if isinstance(event, e.Signed):
        step = event.item.rpartition("/")[2].rpartition(".")[0]
    else:
        step = getattr(event, "step", "")
    readers = kept.steps.get(step)
    if readers is None and not step and hasattr(event, "values"):
        readers = kept.forms.get(getattr(event, "form", ""))
    if readers is None or not readers.isdisjoint(roles):
        return True
    return hasattr(event, "values") and getattr(event, "person", "") == actor.person


def for_reader(program: Program, actor: Actor, event: e.Event) -> e.Event:
    """The event as somebody may read it: itself, or with what they may not read withheld."""
    if may_read(program, actor, event):
        return event
    changes: dict[str, Any] = {}
    if hasattr(event, "values"):
        form = _form(program, getattr(event, "form", ""))
        # The names of all fields: which of them were asked may tell what was answered.
        names: Iterable[str] = event.values if form is None else form.fields
        changes["values"] = dict.fromkeys(names, WITHHELD)
    for words in ("reason", "says"):
        if getattr(event, words, ""):
            changes[words] = WITHHELD
    if hasattr(event, "content"):
        changes["content"] = ""  # from the hash of a few possible answers each could be guessed
    if restored := getattr(event, "restored", ()):
        changes["restored"] = tuple(_withheld(program, actor, each) for each in restored)
    return replace(event, **changes)


def state_for_reader(program: Program, actor: Actor, s: Enrollment) -> Enrollment:
    """The state as somebody may read it: readings that they may not read are there, and say
    nothing."""
    if not _kept(program).steps:
        return s
    shown = copy_of(s)
    shown.wake = s.wake
    shown.readings = {
        form: tuple(_withheld(program, actor, each) for each in readings)
        for form, readings in s.readings.items()
    }
    return shown


def offered_for_reader(program: Program, actor: Actor, offered: e.Offered) -> e.Offered:
    """What an enrollment hands over, as somebody may read it there."""
    return replace(offered, evaluation=_withheld(program, actor, offered.evaluation))


_Recorded = TypeVar("_Recorded", Observation, e.Evaluation)


def _withheld(program: Program, actor: Actor, recorded: _Recorded) -> _Recorded:
    """A recording as somebody may read it; without an item the form says who may."""
    kept, step, form = _kept(program), recorded.step, recorded.form
    readers = kept.steps.get(step) if step else kept.forms.get(form)
    if readers is None or not readers.isdisjoint(actor.roles.union(actor.covers)):
        return recorded
    its = _form(program, form)
    names: Iterable[str] = recorded.values if its is None else its.fields
    return replace(recorded, values=dict.fromkeys(names, WITHHELD))


def _form(program: Program, name: str) -> Form | None:
    """The form that the record calls so, as it is or was called."""
    found = program.forms.get(name)
    return found or next((x for x in program.forms.values() if name in x.renamed_from), None)


def clauses_for_reader(
    program: Program, actor: Actor, clauses: Iterable[Clause]
) -> tuple[Clause, ...]:
    """The clauses of a gate without the values that somebody may not read."""
    kept, roles = _kept(program), actor.roles.union(actor.covers)

    def shown(clause: Clause) -> Clause:
        name = clause.fact.rpartition(".")[0]
        for readers in (kept.steps.get(clause.step), kept.steps.get(name), kept.forms.get(name)):
            if readers is not None and readers.isdisjoint(roles):
                return replace(clause, value=WITHHELD)
        return clause

    return tuple(shown(clause) if clause.value else clause for clause in clauses)


def refusal_for_reader(
    program: Program, command: Command, refusal: Refusal, site: str, patient: str
) -> Refusal:
    """A refusal whose explanation holds nothing that whoever said the command may not read.

    Another patient is told who they are, and nothing else. Staff who hold none of their roles
    here hear what stands against them, and no fact of the patient.
    """
    actor = command.by
    if PATIENT in actor.roles or actor.until or actor.sites:
        from kat_workflow.enrollment.people import nowhere  # noqa: PLC0415  # seldom needed

        nobody = nowhere(actor, command.at, site, patient)
        if nobody is not None and PATIENT in actor.roles:
            return replace(refusal, reasons=(nobody,))
        if nobody is not None and not command.emergency:
            return replace(refusal, reasons=tuple(replace(x, clauses=()) for x in refusal.reasons))
    if not _kept(program).steps:
        return refusal
    reasons = tuple(
        replace(reason, clauses=clauses_for_reader(program, actor, reason.clauses))
        for reason in refusal.reasons
    )
    return replace(refusal, reasons=reasons)


class _Kept(Struct, frozen=True):
    """The readers of the steps that have readers of their own, of the forms that such steps
    record, and of the alerts that read those."""

    steps: dict[str, frozenset[str]]
    forms: dict[str, frozenset[str]]
    alerts: dict[str, frozenset[str]]


@lru_cache(maxsize=256)
def _kept(program: Program) -> _Kept:
    steps = {
        name: frozenset(step.read_by)
        for step in program.steps.values()
        for name in (step.name, *step.renamed_from)
        if step.read_by
    }
    forms: dict[str, frozenset[str]] = {}
    alerts: dict[str, frozenset[str]] = {}
    for form in program.forms.values():
        own = [step.read_by for step in program.steps.values() if step.form == form.name]
        if readers := frozenset(role for roles in own for role in roles):
            forms |= dict.fromkeys((form.name, *form.renamed_from), readers)
    for step in program.steps.values():
        if step.read_by:
            for name in (step.name, *step.renamed_from):  # as the record may call it
                called = (f"{name}.alert.{n}" for n, _ in enumerate(step.alerts, 1))
                alerts |= dict.fromkeys(called, steps[step.name])
    rules: list[Alert | SessionRule] = [*program.alerts]
    for kind in program.sessions.values():
        rules += (*kind.alerts, *kind.stop_when, *kind.pause_when)
    for rule in rules:
        for read in {read[0] for read in rule.when.reads}.intersection(forms):
            alerts[rule.name] = alerts.get(rule.name, forms[read]) | forms[read]
    return _Kept(steps, forms, alerts)
