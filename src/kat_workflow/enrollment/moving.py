"""Where the patient goes (R5 c, d; R6; R7): rows, rounds, ends, holds and excursions.

A move is atomic: what is left is settled from the innermost place outwards, then phases are
entered from the outermost inwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import opening
from kat_workflow.enrollment.state import is_within
from kat_workflow.errors import Clause
from kat_workflow.program.chart import Goes, NextRound, Undecided, Ways
from kat_workflow.program.clock import local_date

if TYPE_CHECKING:
    from kat_workflow.enrollment.reach import Reach
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Enrollment, Session, Visit
    from kat_workflow.program.model import End, Phase, Row

NEXT_ROUND = "next round"
"""What stands for a row where a phase begins another round."""
EXCURSION = "excursion."
"""What the ids of holds begin with that stand while a patient is on an excursion."""


def go_at_once(run: Run, reach: Reach) -> bool:
    """Follow the first `at_once` row that holds; whether anything moved."""
    for phase, at_once, safety in reach.urgent:
        ways = safety if run.masked(phase.excursion) else at_once
        outcome = ways.ask(run)
        if isinstance(outcome, Goes) and _go(run, phase, outcome):
            return True
        _wait_for(run, ways)
    return False


def _wait_for(run: Run, ways: Ways) -> None:
    for row in ways.rows:
        if row.when is not None and row.when.temporal:
            run.waiting.append(row.when)


def finish_phases(run: Run, reach: Reach) -> bool:
    """Let the innermost finished phase go on; whether anything moved."""
    visits, settled = run.s.visits, run.s.settled
    for name, whole, step, phase in reach.phases:
        visit = visits[name]
        if whole and not visit.ended:
            continue
        if step and ((last := settled.get(step)) is None or last.place != visit.place):
            continue
        if is_finished(run, phase, visit) and _way_on(run, phase, visit):
            return True
    return False


def undecided(run: Run) -> Iterable[tuple[str, str, tuple[Clause, ...]]]:
    """The finished phases that wait for a gate: phase, where it would lead, clauses."""
    for name, visit in run.s.visits.items():
        phase = run.program.phases[name]
        if is_finished(run, phase, visit):
            outcome = run.chart.finished(name).ask(run, visit.round)
            if isinstance(outcome, Goes):
                for session in run.s.sessions.values():
                    if session.under_way:
                        says = f"{session.id} is under way"
                        way = f"release {session.id}"
                        row = outcome.row
                        yield name, row.to or row.to_kind, (Clause(says, False, unblock=way),)
            if isinstance(outcome, Undecided):
                to = outcome.row.to or outcome.row.to_kind if outcome.row is not None else ""
                yield name, to, outcome.test.explain(run)


def is_finished(run: Run, phase: Phase, visit: Visit) -> bool:
    """Whether all that a visit waits for is settled, so that its ways are asked."""
    s, place, kind = run.s, visit.place, phase.kind
    for name in reversed(phase.required_steps):  # mostly it is the last that is missing
        last = s.settled.get(name)
        if last is None or last.place != place:
            return False
    if kind == "sequence" and not visit.ended:
        return False
    if kind == "tracks":
        ended = visit.ended
        for track in phase.children:
            if track not in ended and run.program.phases[track].required:
                return False
    return not s.sessions or _nothing_under(s, place)


def _nothing_under(s: Enrollment, place: str) -> bool:
    return not any(is_within(session.place, place) for session in s.sessions.values())


def _way_on(run: Run, phase: Phase, visit: Visit) -> bool:
    if run.masked(phase.excursion):
        return False
    ways = run.chart.finished(phase.name)
    outcome = ways.ask(run, visit.round)
    again = isinstance(outcome, NextRound)
    repeat = phase.repeat
    if repeat is not None:
        if repeat.until is not None and repeat.until.temporal:
            run.waiting.append(repeat.until)
        if repeat.one_per:
            # A day that is over is not waited for: while `until` is unknown, nobody leaves.
            waits = isinstance(outcome, Undecided) and outcome.row is None
            over = (again or waits) and _day_of(visit.entered, run.site) < run.today()
            if again and not over:
                return False  # the next round begins with the next local date: _set_recheck
            again = over
    if again:
        return _next_round(run, phase, visit)
    if isinstance(outcome, Goes):
        return _go(run, phase, outcome)
    _wait_for(run, ways)
    if isinstance(outcome, Undecided):
        return False
    if not phase.next and phase.parent:
        _leave_tree(run, phase.name, "finished", finishes=phase.parent)
        return True
    return _ask_the_way(run, phase, visit)


def _ask_the_way(run: Run, phase: Phase, visit: Visit) -> bool:
    id_ = f"{visit.place}/way-on"
    if id_ in run.s.items:
        return False
    roles = phase.decided_by or run.program.decided_by or run.program.staff
    run.special(id_, "decide", roles, phase.name, None)
    return True


def _next_round(run: Run, phase: Phase, visit: Visit) -> bool:
    if not _once(run, phase.name):
        return False
    # Without `until` a number decides, which no recording can change.
    judged = 0 if phase.repeat is None or phase.repeat.until is None else run.s.version
    _leave_tree(run, phase.name, "next round")
    names = run.chart.enter(phase.name)
    enter(run, names, NEXT_ROUND, visit.visit, visit.round + 1, judged=judged)
    return True


def _go(run: Run, phase: Phase, outcome: Goes) -> bool:
    """Follow a row, unless a session under way would be cut (R12); whether anything moved."""
    row = outcome.row
    if is_cut(run, phase, row):
        return False
    if row.to_kind == "phase" and not _once(run, row.to):
        return False
    follow(run, phase, row)
    return True


def is_cut(run: Run, phase: Phase, row: Row) -> bool:
    """Whether a session is under way that a row would cut (R12)."""
    around = left_behind(run, phase, row)
    return any(x.under_way and is_within(x.place, around) for x in run.s.sessions.values())


def left_behind(run: Run, phase: Phase, row: Row) -> str:
    """The place that is left where a row of a phase is followed; "" for all of them."""
    return "" if row.to_kind == "end" else run.s.visits[_left_by(run, phase, row)].place


def follow(run: Run, phase: Phase, row: Row) -> None:
    """Move from a phase as a row of its says, in one step (R6)."""
    judged = run.s.version
    if row.when is not None:
        run.use_overrides((row.when,))
    if row.to_kind == "end":
        evidence = () if row.when is None else run.evidence((row.when,))
        discharge(run, run.program.ends[row.to], row.says, row.name, evidence, judged)
    elif row.to_kind == "finish":
        left = _left_by(run, phase, row)
        outer = run.program.phases[left].parent
        _leave_tree(run, left, "finished", outer, row.name, judged)
    elif row.to_kind == "back":
        _leave_tree(run, phase.name, "back", "", row.name, judged)
        for id_ in [id_ for id_ in run.s.holds if id_.startswith(EXCURSION)]:
            lift(run, id_)
    else:
        evidence = () if row.when is None else run.evidence((row.when,))
        _leave_tree(run, _left_by(run, phase, row), "moved on")
        enter(run, run.chart.enter(row.to), row.name, evidence=evidence, judged=judged)


def _left_by(run: Run, phase: Phase, row: Row) -> str:
    """The phase that a row leaves: its own, or, where an end of a contained program leads
    further out, the one around it that is a sibling of the target."""
    inside = row.to_kind == "phase"
    outer = run.program.phases[row.to].parent if inside else row.to or phase.parent
    return phase.path[phase.path.index(outer) + 1] if outer in phase.path else phase.path[0]


def move_to(run: Run, name: str) -> None:
    """Go to a phase from wherever the patient is: leave what cannot stay, enter what is not
    entered yet, outermost inwards."""
    path = run.program.phases[name].path
    shared = 0
    while path[shared] in run.s.visits:
        shared += 1
    parent = path[shared - 1] if shared else ""
    if not parent or run.program.phases[parent].kind == "sequence":
        for other in list(run.s.visits):
            phase = run.program.phases[other]
            if phase.parent == parent and not phase.excursion:
                _leave_tree(run, other, "moved")
    for outer in path[shared:-1]:
        beside = run.program.phases[outer]
        enter(run, (outer,), "moved")
        if beside.kind == "tracks":
            for track in beside.children:
                if track not in path:
                    enter(run, run.chart.enter(track), "start")
    enter(run, run.chart.enter(name), "moved")


def enter(
    run: Run,
    names: Iterable[str],
    row: str,
    visit: int = 0,
    round_: int = 1,
    evidence: tuple[str, ...] = (),
    judged: int = 0,
) -> None:
    """Enter phases, outermost inwards. `visit` and `round_` are the first's, where it begins
    another round instead of a new visit; `evidence` is what led to the move, and `judged` the
    version at which its gates were asked."""
    for name in names:
        run.entries.add(name)
        phase = run.program.phases[name]
        parent = run.s.visits.get(phase.parent) if phase.parent else None
        base = f"{parent.place}/{name}" if parent is not None else name
        entries = run.s.counts if parent is None else parent.inside or {}
        number = entries.get(name, 0) + 1
        place = f"{base}.{number}"
        visit = visit or number - entries.get(name + "#", 0)
        run.emit(
            e.PhaseEntered(name, place, phase.region, run.now, visit, round_, row, evidence, judged)
        )
        if phase.admits and run.s.admitted is None:
            run.emit(e.Admitted(run.today(), run.now))
        visit, round_, row, evidence, judged = 0, 1, "start", (), 0


def _once(run: Run, phase: str) -> bool:
    """R7: a phase is entered at most once per run; a breach asks a person to look."""
    if phase not in run.entries:
        return True
    run.looped = True
    if not any(i.about == "program-loops" for i in run.s.items.values()):
        run.review("program-loops")
    return False


def _leave_tree(
    run: Run, name: str, reason: str, finishes: str = "", row: str = "", judged: int = 0
) -> None:
    """Leave a phase and all that is active inside, innermost first, settling its items."""
    for left in run.chart.leave(name, tuple(run.s.visits)):
        visit = run.s.visits[left]
        _settle_items_of(run, visit, reason)
        up, by, at = (finishes, row, judged) if left == name else ("", "", 0)
        run.emit(e.PhaseLeft(left, visit.place, run.now, reason, up, by, at))


def _settle_items_of(run: Run, visit: Visit, reason: str) -> None:
    for session in list(run.s.sessions.values()):
        if session.state in ("booked", "arrived") and is_within(session.place, visit.place):
            run.cancel_session(session, reason)
    inside = visit.place + "/"
    for item in list(run.s.items.values()):
        if item.id.startswith(inside):
            run.settle_item(item, "left", run.now, reason)


def discharge(
    run: Run,
    end: End,
    reason: str,
    row: str = "",
    evidence: tuple[str, ...] = (),
    judged: int = 0,
    at: datetime | None = None,
) -> None:
    """Every end, from everywhere, in one commit; `at`: when that was, where it is told later."""
    s = run.s
    when, told = (run.now, None) if at is None else (at, run.now)
    left_early = False
    for session in list(s.sessions.values()):
        left_early |= break_off(run, session, end.name, at)
    for item in list(s.items.values()):
        run.settle_item(item, "left", run.now, end.name)
    for name in run.chart.innermost_first(tuple(s.visits)):
        visit = s.visits[name]  # what time alone began after the patient was gone lasted no time
        run.emit(e.PhaseLeft(name, visit.place, max(when, visit.entered), end.name))
    run.emit(e.Discharged(end.name, end.kind, when, reason, row, evidence, judged, told))
    if s.id in (record := run.stream("patient")).state.known.enrollments:
        record.emit(e.EnrollmentEnded(s.id, end.name, end.kind, when))
    run.unbalanced += [name for name, its in run.program.medicines.items() if its.ledger]
    kinds = run.program.sessions.values()
    run.unbalanced += [kind.name for kind in kinds if kind.dose is not None and kind.dose.ledger]
    if left_early and end.kind not in ("died", "entered_in_error"):  # these close at once
        call_after_leaving_early(run)
    for name in end.work:
        opening.open_work(run, run.program.steps[name], when)


def break_off(run: Run, session: Session, because: str, at: datetime | None = None) -> bool:
    """The patient is gone from a session: aborted and left, or cancelled where nothing was given;
    whether something was. `at`: when that was, where it is told later."""
    if not session.under_way or session.dosed is None:
        run.cancel_session(session, because)
        return False
    if session.state == "under_way":
        run.stop_dosing(session.id, because, at=at)
    session = run.s.sessions[session.id]
    run.release(session, "aborted", run.counts(session), "left before release", at=at)
    return True


def call_after_leaving_early(run: Run) -> None:
    """Somebody must know that a patient was given something and is no longer watched."""
    run.alert(
        "left-before-release",
        "The patient left before being released from a session",
        run.program.decided_by or run.program.staff,
        timedelta(hours=1),
        "",
    )


def close(run: Run) -> bool:
    """Close a discharged enrollment if nothing is left to do in it; whether it was."""
    if run.s.items:
        return False
    run.emit(e.Closed(run.now))
    return True


def hold(
    run: Run, id_: str, reason: str, person: str = "", review_by: datetime | None = None
) -> None:
    """Mask requests and moves; stop any dosing at once. `person` has said so, else who acts."""
    run.emit(e.Held(id_, reason, run.now, person or run.person, review_by))
    if review_by is not None:
        roles = run.program.hold_by or run.program.staff
        run.special(f"review.{run.s.version}", "review", roles, id_, None, opens=review_by)
    for session in list(run.s.sessions.values()):
        if session.dosing == "running":
            run.emit(e.DosingPaused(session.id, run.now, "hold"))


def lift(run: Run, id_: str) -> None:
    """Take a hold away; with the last one the paused and restarted times are re-planned."""
    since = run.s.holds[id_].masks
    run.emit(e.HoldLifted(id_, run.now, run.person))
    for item in [x for x in run.s.items.values() if x.kind == "review" and x.about == id_]:
        run.settle_item(item, "cancelled", run.now, "hold lifted")
    if run.s.holds:
        return
    run.lifted = since
    for item in list(run.s.items.values()):
        if item.on_hold != "runs":
            opening.replan(run, item, since)
    for session in list(run.s.sessions.values()):
        if session.lapses is not None and session.booked_for is not None:
            lapses = session.lapses + (run.now - since)
            run.emit(e.SessionMoved(session.id, session.booked_for, run.now, lapses))


_day_of = lru_cache(maxsize=4096)(local_date)  # of a visit, all day long
