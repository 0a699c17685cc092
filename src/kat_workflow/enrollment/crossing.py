"""What holds between the enrollments of one patient.

One sedating session a date; nothing is given while a session in another enrollment is under way
or watched; a hold of the patient stands in every enrollment. Sessions in which something may be
given write their start, first drug and end into the patient's stream, in the same commit, so that
of two that start at once one is refused. A request against these rules is refused; a dose that
was given is kept, with a deviation.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import moving
from kat_workflow.enrollment.patients import key
from kat_workflow.program.clock import local_date

if TYPE_CHECKING:
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Session, Told
    from kat_workflow.program.model import Alert, SessionKind


# ---- sessions --------------------------------------------------------------------------------


def judge_start(j: Judge, kind: SessionKind) -> None:
    """What the patient's other sessions and holds say against a start."""
    if kind.dose is None:
        return
    run = j.run
    known: e.Known = run.stream("patient").state.known
    for hold in _not_taken_over(run, known):
        says = f"{hold.hold} of {hold.program} stands everywhere"
        says = f"{says} since {hold.since:%Y-%m-%d %H:%M} UTC"
        j.against("on-hold", says, f"lift {hold.hold} in {hold.program}")
    for other in _elsewhere(run, known):
        says = f"{_name(other)} is not released"
        j.against("monitored-elsewhere", says, f"release or cancel {other.session} first")
    for other in _sedated(run, known, kind, "", run.today()):
        says = f"{_name(other)} was a sedating session on this date"
        j.against("one-sedating-a-day", says, "wait until the next date")


def _elsewhere(run: Run, known: e.Known) -> Iterable[e.Dosing]:
    """The sessions of other enrollments that are not over."""
    return [x for x in known.sessions.values() if not x.over and x.enrollment != run.s.id]


def _sedated(run: Run, known: e.Known, kind: SessionKind, but: str, on: date) -> Iterable[e.Dosing]:
    """The sedating sessions of a date, also of this enrollment, except one.

    After a flight to the west the date of the last one may be a later one.
    """
    if not kind.sedating:
        return []
    return [
        x
        for name, x in known.sessions.items()
        if x.sedating and x.dosed is not None and x.dosed >= on and name != key(run.s.id, but)
    ]


def started(run: Run, kind: SessionKind, session: Session) -> None:
    """A session has started: the patient's other enrollments must know."""
    if kind.dose is None:
        return
    run.stream("patient").emit(
        e.SessionUnderWay(run.s.id, session.id, run.program.id, kind.sedating, run.now)
    )


def dosed(run: Run, kind: SessionKind, session: Session, occurred: datetime) -> None:
    """The first drug of a session was given, whatever else was going on."""
    record = run.stream("patient")
    if key(run.s.id, session.id) not in record.state.known.sessions:
        started(run, kind, session)
    known: e.Known = record.state.known
    on = local_date(occurred, run.site)
    for other in _elsewhere(run, known):
        if other.dosed is not None:
            says = f"something was given before the release from {_name(other)}"
            run.deviation("monitored-elsewhere", says)
    for other in _sedated(run, known, kind, session.id, on):
        says = f"a second sedating session on the date of {_name(other)}"
        run.deviation("one-sedating-a-day", says)
    record.emit(e.SessionDosed(run.s.id, session.id, on, occurred))


def _name(other: e.Dosing) -> str:
    return f"{other.session} of {other.program}"


def over(run: Run, session: Session) -> None:
    """A session was released or called off."""
    if not session.under_way or run.program.sessions[session.kind].dose is None:
        return
    record = run.stream("patient")
    if key(run.s.id, session.id) in record.state.known.sessions:
        record.emit(e.SessionOver(run.s.id, session.id, run.now))


TREATED = ("applied", "active")
"""The standings of an enrollment that goes on."""

# ---- holds -----------------------------------------------------------------------------------


FROM = "@"
"""What stands in the ids of holds that were taken over, before the enrollment they are of."""


def hold_everywhere(run: Run, id_: str, reason: str) -> None:
    """A hold of this enrollment is to stand in all of the patient's."""
    run.stream("patient").emit(
        e.PatientHeld(run.s.id, id_, run.program.id, reason, run.person, run.now)
    )
    _tell(run, e.HeldElsewhere(call(run), run.person, run.now), TREATED)


def judge_lift(j: Judge, id_: str) -> None:
    """A hold of the patient is lifted where it was made, while that enrollment goes on."""
    hold = j.run.stream("patient").state.known.holds.get(_key_of(j.run, id_))
    if hold is not None and hold.enrollment != j.s.id:
        origin = j.run.stream("patient").state.known.enrollments.get(hold.enrollment)
        if origin is not None and not origin.end:
            says = f"{id_} is a hold of the patient in {hold.program}"
            j.against("held-elsewhere", says, f"lift {hold.hold} in {hold.program}")


def lift_everywhere(run: Run, id_: str) -> None:
    """With a hold of the patient, what was taken over from it is over too."""
    record = run.stream("patient")
    hold = record.state.known.holds.get(_key_of(run, id_))
    if hold is not None:
        record.emit(e.PatientFreed(hold.enrollment, hold.hold, run.person, run.now))
        _tell(run, e.HeldElsewhere(call(run), run.person, run.now), TREATED)


# ---- what the others are told ----------------------------------------------------------------


def _tell(run: Run, told: Told, standings: Container[str]) -> None:
    """The patient's other enrollments of these standings are told, whoever dies on the way: it is
    written there in this commit, and a timer waits for it that is due at once. So what is due
    there before still runs first (R2), and nothing of their programs or sites is needed here."""
    for id_ in run.stream("patient").state.known.enrollments:
        if id_ != run.s.id:
            other = run.stream("enrollment", id_)
            if other.state.standing in standings:
                other.emit(told)


def call(run: Run) -> str:
    """What tells the last event of this run from all that the others are told."""
    return f"{run.s.version}{FROM}{run.s.id}"


def heed_elsewhere(run: Run, timer: str, told: Told) -> None:
    """The timer has come that waits for what another enrollment has told, or, of a seat, is told
    by the shell."""
    run.emit(e.TimerElapsed(timer, run.now, heeded=told.call))
    if isinstance(told, e.WarnedElsewhere):
        _heed_warning(run, told)
    elif isinstance(told, e.HeldElsewhere | e.IdsChanged) and run.s.standing in TREATED:
        # It has not been left since by what was due before.
        run.person = told.person
        _heed_holds(run)
        if isinstance(told, e.IdsChanged):
            _heed_ids(run, told)


def _heed_ids(run: Run, told: e.IdsChanged) -> None:
    """Somebody must look at what it means here that two ids are one patient, or no longer are."""
    call_as_elsewhere(run, told.calls)
    if told.ids == "merged" and not _is_open(run, "patient-merged"):
        run.review("patient-merged")
    elif told.ids == "parted" and not _is_open(run, "patient-parted"):
        run.review("patient-parted")


def _is_open(run: Run, about: str) -> bool:
    return any(item.about == about for item in run.s.items.values())


def warn(run: Run, alert: Alert, source: str) -> None:
    """A call of this enrollment is passed on to the patient's others, also where nothing but work
    after leaving is left."""
    assert alert.answer_within is not None  # a call says by when it is answered
    seconds = int(alert.answer_within.elapsed.total_seconds())
    what = (
        run.s.id,
        run.program.id,
        alert.name,
        alert.says,
        alert.tell,
        seconds,
        source,
        run.now,
    )
    run.stream("patient").emit(e.PatientWarned(*what))
    _tell(run, e.WarnedElsewhere(call(run), *what), ("applied", "active", "discharged"))


def call_as_elsewhere(run: Run, calls: Iterable[str] | None = None) -> None:
    """Whoever becomes one of the patient's enrollments only now is called as the others were,
    where nobody has answered yet; of these `calls`, or of all."""
    known: e.Known = run.stream("patient").state.known
    others = [id_ for id_ in known.enrollments if id_ != run.s.id] if known.calls else []
    for name in known.calls if calls is None else calls:
        warned = known.calls.get(name)  # else the ids were parted again meanwhile
        if warned is not None and any(_has_open(run, id_, warned) for id_ in others):
            _heed_warning(run, warned)


def _has_open(run: Run, enrollment: str, warned: e.PatientWarned) -> bool:
    """Whether a call waits for an answer in another enrollment: there, or as it was told there."""
    about = warned.alert if enrollment == warned.enrollment else _told_as(warned)
    items = run.stream("enrollment", enrollment).state.items.values()
    return any(item.kind == "alert" and item.about == about for item in items)


def _told_as(warned: e.PatientWarned | e.WarnedElsewhere) -> str:
    """The name that a call has in the other enrollments."""
    return f"{warned.alert}{FROM}{warned.enrollment}"


def _heed_warning(run: Run, warned: e.PatientWarned | e.WarnedElsewhere) -> None:
    """Somebody is called here too: the same roles where this program has them."""
    program = run.program
    here = tuple(role for role in warned.tell if role in program.roles)
    tell = here or program.decided_by or program.staff
    says = f"{warned.says} (in {warned.program})"
    source = f"{warned.source}{FROM}{warned.enrollment}"
    run.alert(_told_as(warned), says, tell, timedelta(seconds=warned.seconds), source)


def _heed_holds(run: Run) -> None:
    take_over(run)
    standing = {_taken_over(x) for x in run.stream("patient").state.known.holds.values()}
    for id_ in [id_ for id_ in run.s.holds if FROM in id_ and id_ not in standing]:
        moving.lift(run, id_)


def take_over(run: Run) -> None:
    """The holds that stand everywhere stand here too."""
    for hold in _not_taken_over(run, run.stream("patient").state.known):
        moving.hold(run, _taken_over(hold), hold.reason, hold.person)


def _not_taken_over(run: Run, known: e.Known) -> list[e.PatientHold]:
    return [
        hold
        for hold in known.holds.values()
        if hold.enrollment != run.s.id and _taken_over(hold) not in run.s.holds
    ]


def _taken_over(hold: e.PatientHold) -> str:
    """The id that a hold of the patient has in the other enrollments."""
    return f"{hold.hold}{FROM}{hold.enrollment}"


def _key_of(run: Run, id_: str) -> str:
    """Under which key the patient's record knows a hold that stands here."""
    hold, taken, enrollment = id_.partition(FROM)
    return key(enrollment if taken else run.s.id, hold)
