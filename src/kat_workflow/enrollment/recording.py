"""Acts about items: recordings, signatures, settlements and consents."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import signing, steering
from kat_workflow.program.chart import ITEM
from kat_workflow.program.clock import plus
from kat_workflow.program.forms import Form, accept

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.model import Step

REPORTS = frozenset({"done", "declined", "missed", "unable"})
"""Settlements that say what happened; the others ask leave."""


def record(j: Judge, act: c.Record) -> None:
    """See `commands.Record`."""
    program, run = j.program, j.run
    item = j.item(act.step)
    step = program.steps[item.step] if item is not None and item.step else None
    if item is None or step is None:
        return _record_unscheduled(j, act)
    form = program.forms.get(step.form)
    if form is None:
        way = f"order {step.order}" if step.order else f"done {step.name}"
        raise j.stop("nothing-to-record", f"{step.name} records no form", way)
    if item.pending is not None:
        raise j.stop("already-recorded", f"{item.id} waits for a signature", f"sign {step.name}")
    j.actor_in(step.by, step.name)
    j.other_person(step)
    values = _values(j, form, act)
    also = [_also(j, form, name) for name in act.also] if act.also else []
    needs = signing.needs(step, act.signed)
    j.end()
    early = j.occurred < item.opens and (
        step.early_by is None or j.occurred < item.opens - step.early_by.elapsed
    )
    of_the_past = early and item.kind == "watch" and _told_late(j, item)
    answers = "" if of_the_past or (early and (form.any_time or step.every)) else item.id
    new = _observe(j, form, step, item.place, values, answers, needs)
    if step.owner_kind == "session" and _names_a_lot(j, step, item.place):
        from kat_workflow.enrollment import correcting  # noqa: PLC0415  # seldom needed

        correcting.told_after_the_dose(j, new)
    if step.signed and act.signed:
        signing.put(j, "signature", new.content, item=answers, observation=new.observation)
    if not answers:
        return None
    if early:
        run.deviation("early", f"{step.name} was recorded before it opened", new.observation)
    if step.group:
        _in_group(j, step, item)
    if not needs:
        run.settle_item(item, "done", j.occurred)
    for other in also:
        run.settle_item(other, "done", j.occurred)
    return None


def _names_a_lot(j: Judge, step: Step, place: str) -> bool:
    """Whether a step says of which lot the dose of its session is, which has been given by now."""
    dose = j.program.sessions[step.owner].dose
    if dose is None or dose.lot is None or dose.lot[0] != step.name:
        return False
    return any(x.place == place and x.dosed is not None for x in j.s.sessions.values())


def _told_late(j: Judge, item: Item) -> bool:
    """Whether a reading of a watch is of the time before its session was told of, or of one that
    was missed: it has its place there, and answers none that is still to come."""
    session = next(x for x in j.s.sessions.values() if x.place == item.place)
    if session.told is not None and j.occurred <= session.told:
        return True
    last = j.s.settled.get(item.step)
    missed = last is not None and (last.outcome, last.place) == ("missed", item.place)
    return missed and last is not None and j.occurred < last.at


def _observe(
    j: Judge,
    form: Form,
    step: Step | None,
    place: str,
    values: dict[str, Any],
    item: str,
    needs: tuple[str, ...],
) -> e.ObservationRecorded:
    """Write a recording; of what happened before a decision, with all that follows from that."""
    name = "" if step is None else step.name
    if not j.run.is_late(j.occurred):
        return j.run.observe(form.name, name, place, values, j.occurred, item, needs)
    from kat_workflow.enrollment import correcting, opening  # noqa: PLC0415  # seldom needed

    if not item and step is not None:
        place = correcting.place_then(j.run, step.owner, j.occurred)
    plans = opening.anchored(j.run, form.name)
    new = j.run.observe(form.name, name, place, values, j.occurred, item, needs)
    correcting.take_late(j.run, new.observation, plans)
    return new


def correct(j: Judge, act: c.Correct) -> None:
    """See `commands.Correct`."""
    from kat_workflow.enrollment import correcting  # noqa: PLC0415  # seldom needed

    correcting.correct(j, act)


def retract(j: Judge, act: c.Retract) -> None:
    """See `commands.Retract`."""
    from kat_workflow.enrollment import correcting  # noqa: PLC0415  # seldom needed

    correcting.retract(j, act)


def addend(j: Judge, act: c.Addend) -> None:
    """See `commands.Addend`."""
    from kat_workflow.enrollment import correcting  # noqa: PLC0415  # seldom needed

    correcting.addend(j, act)


def _in_group(j: Judge, step: Step, item: Item) -> None:
    """What is done in a group was done alone: it is kept all the same."""
    if not any(place.seat and place.about == item.id for place in j.s.groups.values()):
        j.run.deviation("without-group", f"{step.name} was done without a seat in a group")


def _also(j: Judge, form: Form, name: str) -> Item:
    other = j.item(name)
    if other is None:
        raise j.not_open(name)
    if j.program.steps[other.step].form != form.name:
        j.against("other-form", f"{other.id} records another form", "record it by itself")
    elif signing.asks_for_signatures(j.program.steps[other.step]):
        j.against("signed-apart", f"{other.id} is signed for itself", "record it by itself")
    return other


def _record_unscheduled(j: Judge, act: c.Record) -> None:
    """A form marked `any_time` may be recorded without an item, under any standing."""
    program = j.program
    full = program.find("steps", act.step)
    form = program.forms.get(program.steps[full].form if full else act.step)
    if form is None or not form.any_time or j.s.standing == "new":
        raise j.not_open(act.step)
    j.actor_in(form.by or (program.steps[full].by if full else ()), form.name)
    values = _values(j, form, act)
    j.end()
    full = full or _watch_by(j, form)
    place = (j.run.where(program.steps[full].owner) or "") if full else ""
    # Without an item nobody will be asked to sign it: it stays unsigned, and opens nothing.
    step = program.steps[full] if full else None
    needs = signing.needs(step, act.signed) if step is not None else ()
    new = _observe(j, form, step, place, values, "", needs)
    if step is not None and step.signed and act.signed:
        signing.put(j, "signature", new.content, observation=new.observation)
    if j.s.standing in ("discharged", "closed"):
        j.run.deviation("after-discharge", f"{form.name} was recorded after the treatment ended")


def _watch_by(j: Judge, form: Form) -> str | None:
    """The watch of the session under way that this form is of: what is found between two of its
    readings is read by its rules, whatever name it is told under."""
    for session in j.s.sessions.values():
        watch, since = j.program.sessions[session.kind].watch, session.started
        here = session.under_way and since is not None and since <= j.occurred
        if here and watch is not None and j.program.steps[watch.step].form == form.name:
            return watch.step
    return None


def _values(j: Judge, form: Form, act: c.Record) -> dict[str, Any]:
    values, slips = accept(form, act.values)
    for slip in slips:
        j.against(slip.code, slip.says, slip.unblock)
    return values


def sign(j: Judge, act: c.Sign) -> None:
    """See `commands.Sign`."""
    item = j.item(act.step)
    if item is None:
        raise j.not_open(act.step)
    if act.cosign and item.about.startswith(steering.OVERRIDE):
        return steering.agree(j, item)
    as_, verb = "signature", "signing"
    if act.witness:
        as_, verb = "witness", "witnessing"
    elif act.cosign:
        as_, verb = "cosignature", "cosigning"
    pending = item.pending
    if pending is None or as_ not in pending.needs:
        way = f"record {item.step} first" if item.step else "it is answered with done"
        raise j.stop("nothing-to-sign", f"{item.id} waits for no {as_}", way)
    step = j.program.steps[item.step or item.about]
    j.actor_in(signing.signers(step, as_), f"{verb} {step.name}")
    others = pending.hands
    if as_ == "signature":
        j.other_person(step)
        others = others[1:]  # whoever recorded it may sign it
    if j.actor.person in others:
        says = "a second person signs, not one who has had a hand in it"
        j.against("same-person", says, "ask another person")
    j.end()
    signing.put(
        j,
        as_,
        pending.content,
        item=item.id,
        observation=pending.observation,
        own=j.actor.person == pending.hands[0],
    )
    if pending.needs == (as_,):
        _done(j, step, j.s.items[item.id], j.at)
    return None


def _done(j: Judge, step: Step, item: Item, at: datetime) -> None:
    """Nothing is missing any more."""
    pending = item.pending
    if step.consent:
        given = j.occurred if pending is None or pending.occurred is None else pending.occurred
        person = j.actor.person if pending is None else pending.hands[0]
        _consent(j, step, "given", given, person)
    j.run.settle_item(item, "done", at)


def settle(j: Judge, act: c.Settle) -> None:
    """See `commands.Settle`."""
    item = j.item(act.step)
    if item is None:
        raise j.not_open(act.step)
    if item.kind in ("alert", "review", "decide"):
        return _answer(j, act, item)
    step = j.program.steps[item.step]
    if act.outcome not in REPORTS and j.s.standing != "discharged":
        j.not_held()
    j.actor_in(step.by, step.name)
    if act.outcome == "done":
        if step.form or step.session or step.order:
            way = f"order {step.order}" if step.order else f"start {step.name}"
            way = f"record {step.name}" if step.form else way
            raise j.stop("not-done-so", f"{step.name} is done otherwise", way)
        if item.pending is not None:
            j.against("already-recorded", f"{item.id} was done", f"sign {step.name}")
        j.other_person(step)
    elif not (act.outcome in step.may_be or (step.consent and act.outcome == "declined")):
        ways = ", ".join(sorted(step.may_be)) or "done"
        j.against(
            "outcome-not-allowed", f"{step.name} may not be {act.outcome}", f"it may be: {ways}"
        )
    elif ITEM.next(_state(item), act.outcome) is None:
        j.against("already-recorded", f"{item.id} was recorded", f"sign {step.name}")
    elif not act.reason and item.place != "after":
        j.against("reason-missing", f"{act.outcome} needs a reason", "say why")
    under_way = next((x for x in j.s.sessions.values() if x.item == item.id and x.under_way), None)
    if under_way is not None:
        j.against("session-under-way", f"{under_way.id} is under way", "release or abort it first")
    j.end()
    if act.outcome == "done":
        if step.group:
            _in_group(j, step, item)
        return _answer_step(j, act, step, item)
    if step.consent:
        _consent(j, step, act.outcome, j.occurred, j.actor.person)
    for session in list(j.s.sessions.values()):
        if session.item == item.id:
            j.run.cancel_session(session, act.outcome)
    j.run.settle_item(item, act.outcome, j.occurred, act.reason)
    return None


def _state(item: Item) -> str:
    """The state of an item in its chart. A task or a consent that only waits for signatures can
    still be taken back: the patient may think better of it before the witness has signed."""
    return "open" if item.pending is None or not item.pending.observation else "recorded"


def _answer_step(j: Judge, act: c.Settle, step: Step, item: Item) -> None:
    """A task is done, or a consent given: for good, or once others have signed."""
    if not signing.asks_for_signatures(step):
        return _done(j, step, item, j.occurred)
    needs = signing.needs(step, act.signed)
    answered = e.ItemAnswered(
        item.id, step.name, needs, j.occurred, j.at, j.actor.person, j.run.role, ""
    )
    content = signing.content_of(j.s.id, answered)
    j.run.emit(replace(answered, content=content))
    if step.signed and act.signed:
        signing.put(j, "signature", content, item=item.id)
    if not needs:
        _done(j, step, j.s.items[item.id], j.occurred)
    return None


def _answer(j: Judge, act: c.Settle, item: Item) -> None:
    j.actor_in(item.roles, item.about or item.id)
    if item.about.startswith(steering.OVERRIDE):
        raise j.stop("not-done-so", f"{item.id} waits for a second person", f"cosign {item.about}")
    if item.kind == "decide":
        raise j.stop("choose-the-way", f"{item.id} is answered by choosing", "go PHASE or END")
    if j.actor.person == item.not_by:
        says = f"{item.id} is about what the same person did"
        j.against("same-person", says, "ask another person")
    if item.pending is not None:
        raise j.stop("already-recorded", f"{item.id} waits for a signature", f"sign {item.about}")
    if act.outcome != "done":
        j.against(
            "outcome-not-allowed", f"{item.id} is answered, not {act.outcome}", f"done {item.id}"
        )
    j.end()
    j.run.settle_item(item, "done", j.occurred, act.reason)


def _consent(j: Judge, step: Step, state: e.ConsentIs, at: datetime, person: str) -> None:
    consent = j.program.consents[step.consent]
    until = None
    if state == "given" and consent.lasts is not None:
        until = plus(at, consent.lasts, j.run.site)
    told = j.at if at < j.at else None
    _say(j, e.ConsentChanged(consent.name, state, consent.version, at, person, until, told))


def _say(j: Judge, said: e.ConsentChanged) -> bool:
    """Write what was said of a consent; whether it is the last word: what is told late takes
    nothing back that was said after it."""
    known = said.recorded is not None and said.consent in j.s.consents
    superseded = known and any(
        isinstance(past.event, e.ConsentChanged)
        and past.event.consent == said.consent
        and past.event.at > said.at
        for past in j.run.history()
    )
    j.run.emit(replace(said, superseded=True) if superseded else said)
    return not superseded


def revoke(j: Judge, act: c.Revoke) -> None:
    """See `commands.Revoke`: it ends dosing, never the watch."""
    full = j.program.find("consents", act.consent)
    if full is None:
        known = ", ".join(j.program.consents)
        raise j.stop(
            "unknown-consent", f'there is no consent "{act.consent}"', f"consents: {known}"
        )
    state = j.s.consents.get(full)
    if state is None or state.state != "given":
        raise j.stop(
            "not-given", f"the consent {full} is not in force", "there is nothing to revoke"
        )
    j.actor_in(j.program.roles, "recording a revocation")
    j.end()
    revoked = e.ConsentChanged(
        full, "revoked", state.version, j.occurred, j.actor.person, recorded=j.told
    )
    if not _say(j, revoked):
        return
    for session in list(j.s.sessions.values()):
        ready = j.program.sessions[session.kind].ready
        if session.state == "under_way" and any(full in test.consents for test in ready):
            j.run.stop_dosing(session.id, "consent revoked", "consent-revoked")
