"""Acts about the whole course: enrolling, ways on, overrides, holds, ends, and time passing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kat_workflow.enrollment import booking, crossing, escalating, moving
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.moving import EXCURSION
from kat_workflow.enrollment.state import NOBODY
from kat_workflow.program.clock import plus

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.model import Row


def enroll(j: Judge, act: c.Enroll) -> None:
    """See `commands.Enroll`."""
    program, run = j.program, j.run
    if j.s.standing != NOBODY.standing:
        raise j.stop("already-enrolled", f"{j.s.id} exists", "use another command id")
    j.actor_in((), "enrolling")
    if not act.patient:
        j.against("no-patient", "the patient's id is missing", "say whom to enroll")
    if run.around.signed_only:
        register = run.stream("program").state
        standing = register.standing(program.digest)
        if standing != "approved":
            signed = register.signed.get(register.approved())
            other = "an approved version" if signed is None else f"{program.id}@{signed.version}"
            j.against(
                "not-signed-off",
                f"{program.id} {program.version} (digest {program.digest[:12]}) is {standing}",
                f"let the medical director sign it off, or enroll in {other}",
            )
    j.end()
    run.emit(
        e.Enrolled(
            act.enrollment,
            program.id,
            program.version,
            program.digest,
            act.patient,
            act.site,
            j.at,
        )
    )
    run.stream("patient").emit(
        e.EnrollmentBegan(act.patient, act.enrollment, program.id, act.site, j.at)
    )
    moving.enter(run, run.chart.enter(program.start), "start")
    crossing.take_over(run)
    crossing.call_as_elsewhere(run)


def go(j: Judge, act: c.Go) -> None:
    """See `commands.Go`."""
    j.treated()
    run, s = j.run, j.s
    full = j.program.find("phases", act.to)
    if full is not None and j.program.phases[full].excursion:
        return _go_on_excursion(j, full)
    for item in list(s.items.values()):
        if item.kind != "decide":
            continue
        phase = j.program.phases[item.about]
        row = next((r for r in phase.next if act.to in _called(r)), None)
        if row is not None:
            j.not_held(away=phase.excursion)
            j.actor_in(item.roles, f"choosing the way on from {phase.name}")
            j.none_under_way("release", around=moving.left_behind(run, phase, row))
            j.end()
            run.settle_item(item, "done", j.at, act.reason)
            moving.follow(run, phase, row)
            return None
    ways = [
        _called(row)[0]
        for item in s.items.values()
        if item.kind == "decide"
        for row in j.program.phases[item.about].next
    ]
    j.not_held()
    raise j.stop(
        "no-way",
        f'"{act.to}" cannot be chosen now',
        f"possible: {', '.join(ways)}" if ways else "the program moves on by its gates",
    )


def _called(row: Row) -> tuple[str, ...]:
    """What the way of a row may be called: its target, or what it does."""
    return (row.to, row.to.rpartition(".")[2]) if row.to else (row.to_kind,)


def _go_on_excursion(j: Judge, name: str) -> None:
    phase = j.program.phases[name]
    j.actor_in(phase.by, f"sending a patient to {name}")
    if any(id_.startswith(EXCURSION) for id_ in j.s.holds):
        j.against("away", "the patient is on an excursion", "come back first")
    left_early = False
    if not j.run.emergency:
        j.none_under_way("release")
    j.end()
    if j.run.emergency:
        left_early = _break_off_sessions(j, name)
    moving.hold(j.run, f"{EXCURSION}{j.s.counts.get('hold', 0) + 1}", name)
    moving.enter(j.run, j.run.chart.enter(name), "go")
    if j.run.emergency:
        if left_early:
            moving.call_after_leaving_early(j.run)
        id_ = f"review.{j.run.s.version}"
        from kat_workflow.enrollment import people  # noqa: PLC0415  # seldom needed

        j.run.special(id_, "review", phase.by, "document-emergency", people.REVIEWED_WITHIN)


def _break_off_sessions(j: Judge, because: str) -> bool:
    """An emergency ends what is under way: the patient is gone. Whether something was given."""
    under_way = [x for x in j.s.sessions.values() if x.under_way]
    j.run.passed.extend(f"session: {session.id}" for session in under_way)
    left = [moving.break_off(j.run, session, because) for session in under_way]
    return any(left)


def move(j: Judge, act: c.Move) -> None:
    """See `commands.Move`: where the patient is, past the gates."""
    j.treated()
    run, full = j.run, j.program.find("phases", act.to)
    if full is None or j.program.phases[full].excursion:
        phases = ", ".join(n for n, p in j.program.phases.items() if not p.excursion)
        raise j.stop("unknown-phase", f'there is no phase "{act.to}" to be in', f"phases: {phases}")
    if full in j.s.visits:
        raise j.stop("there-already", f"the patient is in {full}", "name another phase")
    j.actor_in(j.program.decided_by, "reporting where a patient is")
    if not act.reason:
        j.against("reason-missing", "a move past the gates needs a reason", "say why")
    j.none_under_way("release")
    j.end()
    moving.move_to(run, full)
    run.deviation("moved-past-gates", f"the patient was moved to {full} past the program's gates")


def override(j: Judge, act: c.Override) -> None:
    """See `commands.Override`."""
    j.treated()
    j.not_held()
    full = j.program.find("gates", act.gate)
    if full is None:
        raise j.stop(
            "unknown-gate", f'there is no gate "{act.gate}"', f"gates: {', '.join(j.program.gates)}"
        )
    rule = j.program.gates[full].override
    if rule is None:
        raise j.stop(
            "absolute-gate", f"nobody may override {full}", "record what the gate asks for"
        )
    j.actor_in(rule.by, f"overriding {full}")
    known = ", ".join(f"{code} ({says})" for code, says in rule.reasons.items())
    if rule.reasons and act.code not in rule.reasons:
        j.against(
            "reason-missing", f"an override of {full} has one of its reasons", f"code: {known}"
        )
    elif act.code and not rule.reasons:
        j.against("not-an-option", f"the program names no reasons of {full}", "leave the code out")
    elif not act.reason and not rule.reasons:
        j.against("reason-missing", "an override needs a reason", "say why")
    asks = f"{OVERRIDE}{full}"
    if any(item.about == asks for item in j.s.items.values()):
        j.against(
            "already-asked", f"an override of {full} waits for a second person", f"cosign {asks}"
        )
    j.end()
    run, person, until = j.run, j.actor.person, plus(j.at, rule.lasts, j.run.site)
    if not rule.cosigned_by:
        run.emit(e.OverrideGranted(full, act.reason, until, person, run.role, j.at, act.code))
        return
    run.emit(e.OverrideAsked(full, act.reason, person, run.role, j.at, act.code))
    id_ = f"review.{j.s.version}"
    run.special(id_, "review", rule.cosigned_by, asks, None, not_by=person, closes=until)


OVERRIDE = "override "
"""What stands before the gate in what an item is about that waits for a second person."""


def agree(j: Judge, item: Item) -> None:
    """A second person agrees with an override, which counts from now on."""
    gate = item.about.removeprefix(OVERRIDE)
    rule = j.program.gates[gate].override
    assert rule is not None  # it was asked for
    j.actor_in(item.roles, f"agreeing with an override of {gate}")
    if j.actor.person == item.not_by:
        j.against(
            "same-person", "whoever asked for it does not agree with it", "ask another person"
        )
    j.end()
    run = j.run
    run.settle_item(item, "done", j.at)
    until = plus(j.at, rule.lasts, run.site)
    run.emit(
        e.OverrideGranted(
            gate, "cosigned", until, item.not_by, rule.by[0], j.at, cosigner=j.actor.person
        )
    )


def hold(j: Judge, act: c.Hold) -> None:
    """See `commands.Hold`."""
    j.treated()
    j.actor_in(j.program.hold_by, "holding")
    if not act.reason:
        j.against("reason-missing", "a hold needs a reason", "say why")
    review_by = j.instant(act.review_by, "it is reviewed")
    if review_by is not None and review_by <= j.at:
        j.against("past", "the review of the hold is in the past", "choose a later time")
    j.end()
    id_ = f"hold.{j.s.counts.get('hold', 0) + 1}"
    moving.hold(j.run, id_, act.reason, review_by=review_by)
    if act.everywhere:
        crossing.hold_everywhere(j.run, id_, act.reason)


def lift(j: Judge, act: c.Lift) -> None:
    """See `commands.Lift`."""
    own = [id_ for id_ in j.s.holds if not id_.startswith(EXCURSION)]
    if act.hold:
        found = act.hold if act.hold in own else None
    else:
        found = own[0] if len(own) == 1 else None
    if found is None:
        raise j.stop(
            "which-hold",
            f"{len(own)} holds stand",
            f"name one of: {', '.join(own)}" if own else "none stands",
        )
    j.actor_in(j.program.hold_by, "lifting a hold")
    crossing.judge_lift(j, found)
    j.end()
    moving.lift(j.run, found)
    crossing.lift_everywhere(j.run, found)


def leave(j: Judge, act: c.Leave) -> None:
    """See `commands.Leave`."""
    j.treated()
    full = j.program.find("ends", act.end)
    end = j.program.ends[full] if full is not None else None
    if end is None or end.kind in ("completed", "not_eligible"):
        able = [
            x.name for x in j.program.ends.values() if x.kind not in ("completed", "not_eligible")
        ]
        raise j.stop("unknown-end", f'"{act.end}" cannot be reported', f"ends: {', '.join(able)}")
    j.actor_in(end.by, f"reporting {end.name}")
    j.not_before(j.s.enrolled, "the patient was enrolled")
    for session in j.s.sessions.values():
        j.not_before(session.ended or session.dosed, f"the last that was given in {session.id}")
    j.end()
    moving.discharge(j.run, end, act.reason, at=None if j.told is None else j.occurred)


def elapsed(j: Judge, act: c.Elapsed) -> None:
    """See `commands.Elapsed`."""
    run = j.run
    if act.what == "elsewhere":
        crossing.heed_elsewhere(run, act.timer, j.s.elsewhere[act.about])
        return
    run.emit(e.TimerElapsed(act.timer, j.at, act.about if act.what == "late" else ""))
    item = j.s.items.get(act.about)
    if act.what == "lapses":
        booking.cancel(run, j.s.sessions[act.about], "no-show", "no-show")
    elif act.what == "late" and item is not None and item.kind == "alert":
        escalating.escalate(run, item)
    elif act.what == "late" and item is not None:
        late = run.lateness(item)
        assert late is not None
        says = f"{item.step} is late"
        within = late.answer_within.elapsed
        name, then = f"late.{item.step}", bool(late.then)
        run.alert(name, says, late.tell, within, item.id, item.id, escalates=then)
    elif item is not None:
        reason = "closed" if act.what == "closes" else "next opened"
        for session in list(j.s.sessions.values()):
            if session.item == item.id:  # not under way: then the timer would wait
                run.cancel_session(session, reason)
        run.settle_item(item, "missed", j.at, reason)
