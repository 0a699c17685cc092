"""The one place where a command meets a program: judge (R3), apply (R4), settle (R5).

`decide(program, enrollment, around, command)` is pure. It answers a `Decision` (what happened and
the enrollment after it), a `Refusal` that explains itself, or `Behind` when a timer is due first
(R2: `catch_up` runs those). A request with any reason against it is refused and nothing is
written; a report is refused only for identity, type, an implausible value, a future instant or a
reporter who may not report: what breaks a gate or a cap is kept, with a deviation to review.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import recording, sessions, steering
from kat_workflow.enrollment.around import Addition, Around
from kat_workflow.enrollment.judge import Judge, Refused
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.state import Enrollment, Erasure
from kat_workflow.enrollment.timers import Timer, next_timer, wake
from kat_workflow.errors import Reason, Refusal

if TYPE_CHECKING:  # a program is made elsewhere, and only by those who load one
    from kat_workflow.program.model import Program


class Decision(Struct, frozen=True, gc=False):
    """What a command did: its events and the enrollment after them; `beside` is what it adds to
    the streams around."""

    events: tuple[e.Event, ...]
    enrollment: Enrollment
    role: str = ""
    beside: tuple[Addition, ...] = ()


class Behind(Struct, frozen=True):
    """The enrollment is behind: this timer must be run first (R2)."""

    timer: Timer


def decide(
    program: Program, enrollment: Enrollment, around: Around, command: c.Command
) -> Decision | Refusal | Behind:
    """What follows from a command, without a trace anywhere else.

    Raises Unread where it needs a stream that `around` does not hold.
    """
    act = command.act
    if enrollment.erased is not None:
        return Refusal(command.words, (_is_erased(enrollment.erased),))
    now, last, due = command.at, enrollment.last, enrollment.wake
    if last is not None and last > now:
        now = last
    if due is not None and due <= now and type(act) is not c.Elapsed:
        timer = next_timer(enrollment)
        assert timer is not None  # it is due at `wake`
        return Behind(timer)
    person, emergency = command.by.person, bool(command.emergency)
    run = Run.of(program, enrollment, around, now, command.id, person, emergency)
    try:
        judge = Judge.of(run, command)
        (_ACTS.get(type(act)) or _seldom(act))(judge, act)
        if emergency or run.acting_for:
            from kat_workflow.enrollment import people  # noqa: PLC0415  # seldom needed

            people.write_down(judge)
        run.settle()
        if not ABOUT_DRUGS.isdisjoint(map(type, run.events)):
            from kat_workflow.enrollment import exposure  # noqa: PLC0415  # on first use

            exposure.tell(run)
        if run.looped and _asks_leave(act):
            raise Refused((_LOOPS,))
    except Refused as refused:
        return Refusal(command.words, refused.reasons)
    s = run.s
    s.wake = wake(s)
    beside = tuple(run.beside.values()) if run.beside else ()
    return Decision(tuple(run.events), s, run.role, beside)


def catch_up(
    program: Program, enrollment: Enrollment, around: Around, now: datetime
) -> tuple[list[tuple[Timer, Decision]], Enrollment]:
    """Run every timer that is due by now (R2), each as a command of its own.

    Returns what each did, in order, and the enrollment after the last. Raises AssertionError
    only for a defect of this library: a timer whose run leaves it due.
    """
    ran: list[tuple[Timer, Decision]] = []
    while enrollment.wake is not None and enrollment.wake <= now:
        timer = next_timer(enrollment)
        assert timer is not None
        decision = elapse(program, enrollment, around, timer)
        ran.append((timer, decision))
        enrollment, around = decision.enrollment, around.after(decision.beside)
    return ran, enrollment


def elapse(program: Program, enrollment: Enrollment, around: Around, timer: Timer) -> Decision:
    """Run one timer at max(due, last); its cause is the timer's id."""
    id_ = timer.id(enrollment.id)
    act = c.Elapsed(id_, timer.what, timer.about)
    command = c.Command(id_, act, c.SYSTEM, timer.due)
    decision = decide(program, enrollment, around, command)
    assert isinstance(decision, Decision)  # a timer is never refused
    return decision


_REQUESTS = (
    c.Enroll,
    c.Book,
    c.Start,
    c.Resume,
    c.Release,
    c.Order,
    c.Go,
    c.Override,
    c.Hold,
    c.Lift,
    c.Transfer,
    c.ChangeVersion,
    c.Offer,
    c.Join,
)
_LOOPS = Reason(
    "program-loops",
    "the program's gates would go in a circle",
    unblock=(
        "let the author of the program see the circle",
        "report where the patient is: move PHASE",
    ),
)


def _is_erased(erased: Erasure) -> Reason:
    says = f"the patient was erased on {erased.at:%Y-%m-%d} by {erased.person}: {erased.ground}"
    return Reason("erased", says, unblock=("enroll the patient anew",))


def _asks_leave(act: c.Act) -> bool:
    """Whether an act is a request; the others say what happened, and are kept."""
    if isinstance(act, c.Settle):
        return act.outcome not in recording.REPORTS
    return isinstance(act, _REQUESTS)


_ACTS: dict[type, Callable[[Judge, Any], None]] = {
    c.Enroll: steering.enroll,
    c.Record: recording.record,
    c.Correct: recording.correct,
    c.Retract: recording.retract,
    c.Sign: recording.sign,
    c.Settle: recording.settle,
    c.Revoke: recording.revoke,
    c.Book: sessions.book,
    c.Cancel: sessions.cancel,
    c.Arrive: sessions.arrive,
    c.Start: sessions.start,
    c.Abort: sessions.abort,
    c.Release: sessions.release,
    c.Go: steering.go,
    c.Move: steering.move,
    c.Override: steering.override,
    c.Hold: steering.hold,
    c.Lift: steering.lift,
    c.Leave: steering.leave,
    c.Elapsed: steering.elapsed,
}
"""What a clinic does all day; the acts of other chapters are in `seldom`."""


def _seldom(act: c.Act) -> Callable[[Judge, Any], None]:
    from kat_workflow.enrollment import seldom  # noqa: PLC0415  # whoever needs none loads none

    return seldom.ACTS[type(act)]


ABOUT_DRUGS = frozenset(
    [
        e.SessionStarted,
        e.DoseGiven,
        e.DosingEnded,
        e.SessionAborted,
        e.SessionCancelled,
        e.SessionReleased,
        e.Ordered,
        e.OrderStopped,
        e.MedicineGiven,
    ]
)
"""Events that the patient's own stream must hear of (`exposure`)."""
