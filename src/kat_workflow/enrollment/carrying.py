"""What was found out elsewhere: evaluations that are handed over, adopted, attested; admissions.

Another enrollment of the patient offers evaluations to a program; nothing of it counts until a
person confirms it there, step by step. What stands in another house's papers is attested, with
where it stands. Both become recordings of the step with the date of the original, so that gates
and expiry judge them by when they happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import opening, signing
from kat_workflow.program.clock import parse_duration, plus
from kat_workflow.program.forms import accept

if TYPE_CHECKING:
    from kat_workflow.enrollment import commands as c
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Enrollment, Item
    from kat_workflow.program.clock import Site
    from kat_workflow.program.model import Program, Step


def attest(j: Judge, act: c.Attest) -> None:
    """See `commands.Attest`."""
    item, step = _carrying(j, act.step)
    if not act.source:
        j.against("no-source", "it is not said where it stands", "say which house and paper")
    if j.command.occurred is None:
        j.against("when-unknown", "it is not said when it happened", "say when it occurred")
    _carry(j, item, step, act.values, j.occurred, act.signed, "attested", act.source)


def adopt(j: Judge, act: c.Adopt) -> None:
    """See `commands.Adopt`."""
    item, step = _carrying(j, act.step)
    known = j.run.stream("patient").state.known
    fitting = _fitting(j.program, j.s, known, step, j.at, j.run.site)
    found = [name for name in fitting if act.evaluation in ("", name)]
    if not found:
        raise j.stop(
            "no-suggestion",
            f"nothing was handed over that answers {step.name}",
            f"suggested: {', '.join(fitting)}" if fitting else f"record {step.name}",
        )
    offered = known.offered[found[-1]].evaluation
    _carry(j, item, step, offered.values, offered.occurred, act.signed, "adopted", found[-1])


def _carrying(j: Judge, name: str) -> tuple[Item, Step]:
    """The open item of a step that may be answered by what was found out elsewhere."""
    item = j.item(name)
    if item is None:
        raise j.not_open(name)
    step = j.program.steps.get(item.step)
    if step is None or not carries(j.program, step):
        says = f"{item.step or item.id} takes no reading from elsewhere"
        raise j.stop("not-carried", says, f"record {item.step}" if step else f"done {item.id}")
    if item.pending is not None:
        raise j.stop("already-recorded", f"{item.id} waits for a signature", f"sign {step.name}")
    j.actor_in(step.by, step.name)
    j.other_person(step)
    return item, step


def carries(program: Program, step: Step) -> bool:
    """Whether what was found out elsewhere may answer a step: one that asks once in a course,
    not for a reading of a certain day, round or session."""
    return bool(
        step.form
        and step.owner_kind == "phase"
        and step.at_most == 1
        and step.at is None
        and step.on_day is None
        and all(program.phases[name].repeat is None for name in program.phases[step.owner].path)
    )


def _carry(
    j: Judge,
    item: Item,
    step: Step,
    values: Mapping[str, object],
    occurred: datetime,
    signed: bool,
    carried: e.Carried,
    source: str,
) -> None:
    from kat_workflow.enrollment import correcting  # noqa: PLC0415  # seldom needed

    form = j.program.forms[step.form]
    accepted, slips = accept(form, values)
    for slip in slips:
        j.against(slip.code, slip.says, slip.unblock)
    j.end()
    needs = signing.needs(step, signed)
    run = j.run
    late = run.is_late(occurred)
    plans = opening.anchored(run, form.name) if late else {}
    new = run.observe(
        form.name, step.name, item.place, accepted, occurred, item.id, needs, carried, source
    )
    if late:  # decisions that were taken since are looked at again
        correcting.take_late(run, new.observation, plans)
    if step.signed and signed:
        signing.put(j, "signature", new.content, item=item.id, observation=new.observation)
    if not needs:
        run.settle_item(item, "done", j.at)


# ---- handing over ----------------------------------------------------------------------------


def offer(j: Judge, act: c.Offer) -> None:
    """See `commands.Offer`."""
    j.actor_in(j.program.decided_by, "handing evaluations over")
    if j.s.end_kind == "entered_in_error":
        j.against("nothing-to-offer", "the enrollment was made in error", "use the right one")
    for name in act.steps:
        full = j.program.find("steps", name)
        if full is None:
            j.against("unknown-step", f'there is no step "{name}"', "name a step of the program")
        elif full not in {each.step for each in act.evaluations}:
            says = f"{full} has no evaluation that is finished and signed"
            j.against("nothing-to-offer", says, "leave it out")
    if not act.evaluations and not j.reasons:
        j.against("nothing-to-offer", "nothing was found out yet", "record an evaluation first")
    j.end()
    run = j.run
    run.emit(e.OfferMade(act.to, tuple(x.observation for x in act.evaluations), j.at))
    run.stream("patient").emit(
        e.EvaluationsOffered(j.s.id, j.program.id, act.to, act.evaluations, j.actor.person, j.at)
    )


def evaluations(
    program: Program, events: Iterable[e.Event], steps: Sequence[str]
) -> tuple[e.Evaluation, ...]:
    """The last finished evaluation of each step that is named, or of each that can be carried."""
    wanted = {program.find("steps", name) for name in steps}
    said: dict[str, e.ObservationRecorded | e.ObservationCorrected] = {}
    missing: dict[str, set[str]] = {}
    for event in events:
        if isinstance(event, e.ObservationRecorded | e.ObservationCorrected):
            if isinstance(event, e.ObservationCorrected):
                said.pop(event.corrects, None)
            said[event.observation] = event
            missing[event.observation] = set(event.needs)
        elif isinstance(event, e.ObservationRetracted):
            said.pop(event.observation, None)
        elif isinstance(event, e.Signed) and event.observation in missing:
            missing[event.observation].discard(event.as_)
    last: dict[str, e.ObservationRecorded | e.ObservationCorrected] = {}
    for each in said.values():
        step = program.steps.get(each.step)
        if step is not None and (step.name in wanted if wanted else carries(program, step)):
            before = last.get(step.name)
            if before is None or before.occurred <= each.occurred:
                last[step.name] = each
    return tuple(
        e.Evaluation(
            x.observation, name, x.form, program.forms[x.form].version, x.occurred, x.values
        )
        for name, x in last.items()
        if not missing[x.observation]
    )


def suggestions(
    program: Program, s: Enrollment, known: e.Known, now: datetime, site: Site
) -> list[tuple[str, str]]:
    """What was handed over and would answer an open item: its id, and the evaluation's key."""
    found: list[tuple[str, str]] = []
    for item in s.items.values():
        step = program.steps.get(item.step)
        if step is not None and item.pending is None and carries(program, step):
            fitting = _fitting(program, s, known, step, now, site)
            found.extend((item.id, name) for name in fitting)
    return found


def _fitting(
    program: Program, s: Enrollment, known: e.Known, step: Step, now: datetime, site: Site
) -> list[str]:
    """The evaluations that were handed over and answer a step, the latest last: of the same form
    in the same edition, and still valid."""
    form = program.forms[step.form]
    lasts = parse_duration(form.valid_for) if form.valid_for else None
    fitting = [
        (each.evaluation.occurred, name)
        for name, each in known.offered.items()
        if each.to == program.id
        and each.enrollment != s.id
        and each.evaluation.form in (form.name, *form.renamed_from)
        and each.evaluation.edition == form.version
        and (lasts is None or now < plus(each.evaluation.occurred, lasts, site))
    ]
    return [name for _, name in sorted(fitting)]


# ---- admissions ------------------------------------------------------------------------------


def admit(j: Judge, act: c.Admit) -> None:
    """See `commands.Admit`."""
    j.treated()
    j.actor_in(j.program.decided_by, "reporting an admission")
    if not act.reason:
        j.against("reason-missing", "an admission past the gates needs a reason", "say why")
    if act.on > j.run.today():
        j.against("future", "the date is not here yet", "correct the date")
    if j.s.admitted is not None and act.on > j.s.admitted:
        says = f"day 1 is {j.s.admitted}, and the program day never falls"
        j.against("day-would-fall", says, "name an earlier date")
    j.end()
    j.run.emit(e.Admitted(act.on, j.at))
    j.run.deviation("admitted-otherwise", "an admission in the past was reported")
