"""A patient goes on by another version of their program: what fits, what is kept, what goes.

Nobody is ever moved by a file that changed: a person asks for it, for one patient, with a reason,
and is refused where something of that patient has no place in the other version. Where they are,
what is open and its instants stay. What gates may read is worked out anew from the record, since
the other version may read what this one let be forgotten. What it calls otherwise goes on under
its new name. Moving back is the same act.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.renaming import Names, event_by, names_between
from kat_workflow.enrollment.run import readable_fields, retained
from kat_workflow.enrollment.state import NOBODY, Enrollment, copy_of, fold, is_within
from kat_workflow.program.clock import parse_duration, plus

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.forms import Form
    from kat_workflow.program.model import Phase, Program, Step


def change(j: Judge, act: c.ChangeVersion) -> None:
    """See `commands.ChangeVersion`."""
    j.treated()
    run, s, to = j.run, j.s, j.run.around.target
    if to is None or to.id != s.program or to.version != act.version:
        says = f'{s.program} has no version "{act.version}" here'
        raise j.stop("unknown-version", says, "name a version that the library or the journal has")
    if to.digest == s.digest:
        j.against("that-version", f"the patient goes by {to.version}", "name another version")
    if run.around.signed_only:
        standing = run.stream("program").state.standing(to.digest)
        if standing != "approved":
            says = f"{to.id} {to.version} (digest {to.digest[:12]}) is {standing}"
            j.against("not-signed-off", says, "let the medical director sign it off")
    j.actor_in(j.program.decided_by, "moving a patient to another version")
    if not act.reason:
        j.against("reason-missing", "a patient is moved for a reason", "say why")
    j.none_under_way("release")
    names = names_between(j.program, to)
    for says, way in _misfits(j.program, to, s, names):
        j.against("does-not-fit", f"in {to.version} {says}", way)
    j.end()
    for item in list(s.items.values()):
        if item.step and names.steps.get(item.step, item.step) not in to.steps:
            run.settle_item(item, "left", run.now, f"not in {to.version}")
    run.emit(_changed(j, to, act.reason, names))
    run.go_on_by(to)
    for item in list(s.items.values()):
        _call_by(run, item)


def _misfits(old: Program, to: Program, s: Enrollment, names: Names) -> Iterator[tuple[str, str]]:
    """What of a patient has no place in another version, each with a way out."""
    phases, steps, forms = names
    for table in names:
        for name in {each for each in table.values() if [*table.values()].count(each) > 1}:
            yield f"{name} is several things of now in one", "give each of them its own name"
    for name in s.visits:
        yield from _of_phase(old.phases[name], to.phases.get(phases.get(name, name)), name, phases)
    for item in s.items.values():
        name = item.step or (item.about if item.pending is not None else "")
        was, its = old.steps.get(name), to.steps.get(steps.get(name, name))
        if was is None or (its is None and item.pending is None):
            continue  # a call or a review; or it is left as not in that version
        if its is None or _asks(was, names) != _asks(its, Names()):
            yield f"{name} is another step, or none", f"settle {item.id} first"
    for session in s.sessions.values():
        if session.kind not in to.sessions:
            yield f"there is no session {session.kind}", f"cancel {session.id} first"
    for id_, place in s.groups.items():
        if place.kind not in to.groups:
            yield f"there is no group {place.kind}", f"drop {id_} first"
    for order in s.orders:
        rule, other = old.orders[order], to.orders.get(order)
        same = other is not None and (rule.drug, rule.unit, rule.basis) == (
            other.drug, other.unit, other.basis,
        )  # fmt: skip
        if not same:
            yield f"{order} is an order of something else, or none", "give the order another name"
    for name, form in old.forms.items():
        called = forms.get(name, name)
        fields = to.forms[called].fields if called in to.forms else {}
        for key, field in form.fields.items():
            now_ = fields.get(key)
            if now_ is not None and (field.type, field.unit) != (now_.type, now_.unit):
                yield f"{name}.{key} is of another type or unit", "give the field another name"
    for name, step in old.steps.items():
        now = to.steps.get(steps.get(name, name))
        readers = set() if now is None else set(now.read_by)
        if step.read_by and not (readers and readers <= set(step.read_by)):
            yield f"others may read {name}, which is kept apart here", "keep its readers"
        elif step.read_by and now is not None:
            yield from _lost(to, step, now)
            apart = to.forms.get(forms.get(step.form, step.form))
            if apart is not None:
                yield from _lost(to, old.forms[step.form], apart)
            elif step.form and old.forms[step.form].any_time:
                yield f"others may read {step.form}, which is kept apart here", "keep the form"


def _lost(to: Program, was: Step | Form, now: Step | Form) -> Iterator[tuple[str, str]]:
    """Names that the record has for what is kept apart, and another version knows nothing of:
    entries of such a name would be anybody's to read."""
    lost = {was.name, *was.renamed_from} - {now.name, *now.renamed_from}
    if lost:
        way = f"say so in {to.version}: renamed_from: [{', '.join(sorted(lost))}]"
        yield f"it is not said that {now.name} was called {min(lost)}", way


def _of_phase(
    was: Phase, now: Phase | None, name: str, phases: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    path = tuple(phases.get(each, each) for each in was.path)
    region = phases.get(was.region, was.region)
    if now is None or (was.kind, path, region, was.excursion) != (
        now.kind, now.path, now.region, now.excursion,
    ):  # fmt: skip
        yield f"there is no phase {name} at that place", "wait until it is left, or report: move"
    elif was.kind == "tracks" and not set(now.children) <= {
        phases.get(each, each) for each in was.children
    }:
        yield f"{name} has another track, which nobody would enter", "wait until it is left"


def _asks(step: Step, names: Names) -> tuple[object, ...]:
    """What makes a step the same for an item that is open: where it is and what it asks for."""
    owner = names.phases.get(step.owner, step.owner) if step.owner_kind == "phase" else step.owner
    form = names.forms.get(step.form, step.form)
    return (owner, step.part, form, step.consent, step.session, step.order, step.group,
            bool(step.every), step.signed, step.cosigned_by, step.witnessed_by)  # fmt: skip


def _changed(j: Judge, to: Program, reason: str, names: Names) -> e.VersionChanged:
    run, s = j.run, j.s
    known = _as_known_to(run, to, names)
    settled = tuple(
        (step, x.outcome, x.at, x.place, x.hands, x.number, x.keep)
        for step, x in known.settled.items()
        if step in to.steps
    )
    recorded = {
        said.observation: said.recorded
        for said in _all_said(run)
        if isinstance(said, e.ObservationRecorded | e.ObservationCorrected)
    }
    readings = {
        form: tuple(replace(x, recorded=recorded[x.id]) for x in retained(to, kept))
        for form, kept in known.readings.items()
    }
    return e.VersionChanged(
        to.version,
        to.digest,
        s.program_version,
        s.digest,
        reason,
        run.now,
        j.actor.person,
        run.role,
        settled,
        dict(known.counts),
        readings,
        dict(names.phases),
        dict(names.steps),
        dict(names.forms),
    )


def _as_known_to(run: Run, to: Program, names: Names) -> Enrollment:
    """What the record holds for the gates of another version, if it had been that from the
    beginning: settlements that are read from elsewhere, readings, counts."""
    builder = copy_of(NOBODY)
    for said in _all_said(run):
        if not isinstance(said, e.VersionChanged):
            event = event_by(names, said)
            fold(builder, _as_kept_by(to, event, builder, run))
    return builder


def _all_said(run: Run) -> tuple[e.Event, ...]:
    return (*(past.event for past in run.history()), *run.events)


def _as_kept_by(to: Program, event: e.Event, s: Enrollment, run: Run) -> e.Event:
    if isinstance(event, e.ItemSettled):
        step = to.steps.get(event.step)
        if step is None:
            return replace(event, keep=False, tally=False, compared=False)
        return replace(event, keep=step.remembered, tally=step.tallied, compared=step.compared)
    if isinstance(event, e.ObservationRetracted):
        return replace(event, restored=())
    if not isinstance(event, e.ObservationRecorded | e.ObservationCorrected):
        return event
    step, form = to.steps.get(event.step), to.forms.get(event.form)
    names = () if form is None else readable_fields(step, to.retention.get(event.form))
    kept = tuple(name for name in names if name in event.values)
    kept_in = "" if step is None or not step.kept_in else _place_of(step.kept_in, s)
    # Told late of a place that is over, it is read only there, as by `Run.observe`.
    kept = kept if not kept_in or is_within(event.place, kept_in) else ()
    lasts = None if form is None or not form.valid_for else _lasting(form.valid_for)
    until = None if lasts is None else plus(event.occurred, lasts, run.site)
    if isinstance(event, e.ObservationCorrected):
        return replace(
            event,
            kept=kept,
            kept_in=kept_in,
            drops=(),
            restored=(),
            valid_until=until,
            settles=False,
        )
    return replace(event, kept=kept, kept_in=kept_in, drops=(), valid_until=until)


_lasting = lru_cache(maxsize=256)(parse_duration)


def _place_of(name: str, s: Enrollment) -> str:
    places = {
        **{x.kind: x.place for x in s.sessions.values()},
        **{phase: x.place for phase, x in s.visits.items()},
    }
    return places.get(name, "")


def _call_by(run: Run, item: Item) -> None:
    """Whether lateness calls somebody is as the version that now holds says."""
    step = run.program.steps.get(item.step)
    if step is None:
        return
    calls = step.when_late is not None and item.due is not None and item.due > run.now
    if calls != item.calls:
        run.emit(
            e.ItemReplanned(
                item.id, item.opens, item.due, item.closes, item.next, "another version",
                item.opened, calls,
            )
        )  # fmt: skip


def flag(j: Judge, act: c.Flag) -> None:
    """See `commands.Flag`."""
    j.treated()
    j.actor_in(j.program.decided_by, "flagging a version")
    if not act.reason:
        j.against("reason-missing", "patients are flagged for a reason", "say why")
    j.end()
    if j.s.program_version == act.version:
        j.run.deviation("version-flagged", f"{j.s.program} {act.version}: {act.reason}")
