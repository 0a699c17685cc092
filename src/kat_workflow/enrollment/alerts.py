"""What a new reading sets off (R5 a): watch rules of the session under way, then alerts.

Safety first: rules that stop a dose before those that pause it, and both before those that only
call somebody. Each is judged once for each reading.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from kat_workflow.enrollment import crossing, watching
from kat_workflow.enrollment import events as e

if TYPE_CHECKING:
    from kat_workflow.enrollment.run import Run
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import Alert, Program, SessionRule


_HOUR = timedelta(hours=1)


def act_on_readings(run: Run) -> None:
    """Judge the next new reading; there is one."""
    form, by_step, record = run.new.pop(0)
    then = run.late.get(record, run)
    for session in list(run.s.sessions.values()):
        if not session.under_way:
            continue
        stops, pauses, alerts = _rules(run.program, session.kind, form)
        if then is not run and session.started is not None and session.started <= then.now:
            _call_late(run, then, (*stops, *pauses), record)
        stopped = False
        for rule in stops:
            if rule.when.truth(run):
                stopped = True
                _follow(run, rule, record, session.id)
                now = run.s.sessions.get(session.id)
                if now is not None and now.state == "under_way":
                    run.stop_dosing(session.id, rule.says, rule.name)
        for rule in () if stopped else pauses:  # what ends a dose says more than what pauses it
            if rule.when.truth(run):
                _follow(run, rule, record, session.id)
                if _is_dosing(run, session.id):
                    run.emit(e.DosingPaused(session.id, run.now, rule.name))
        _raise(run, then, alerts, record, session.id)
    _raise(run, then, _alerts(run.program, form), record)
    step = run.program.steps.get(by_step)
    if step is not None:
        _raise(run, then, step.alerts, record)


def _raise(run: Run, facts: Run, alerts: tuple[Alert, ...], record: str, session: str = "") -> None:
    for alert in alerts:
        if alert.when.truth(facts):
            calls = len(run.events)
            _follow(run, alert, record, session)
            if alert.everywhere and len(run.events) > calls:
                crossing.warn(run, alert, record)


def _is_dosing(run: Run, session: str) -> bool:
    now = run.s.sessions.get(session)
    return now is not None and now.dosing == "running"


def _call_late(run: Run, then: Run, rules: tuple[SessionRule, ...], record: str) -> None:
    """A reading of the past would have stopped or paused the dose: somebody must know, although
    the dose goes on as long as the newest reading lets it."""
    for rule in rules:
        if rule.when.truth(then) and not rule.when.truth(run):
            tell = rule.tell or run.program.decided_by or run.program.staff
            within = _HOUR if rule.answer_within is None else rule.answer_within.elapsed
            run.alert(rule.name, rule.says, tell, within, record, escalates=bool(rule.then))


def _follow(run: Run, rule: Alert | SessionRule, record: str, session: str) -> None:
    """What a row sets off besides the dose: a call, a sooner reading of the watch, or both."""
    if rule.recheck is not None and session in run.s.sessions:
        watching.look_again(run, session, rule.recheck.elapsed, rule.name, record)
    if rule.tell and rule.answer_within is not None:
        within = rule.answer_within.elapsed
        run.alert(rule.name, rule.says, rule.tell, within, record, escalates=bool(rule.then))


@lru_cache(maxsize=1024)
def _alerts(program: Program, form: str) -> tuple[Alert, ...]:
    """The alerts of a program, wherever the patient is, that read a form."""
    return tuple(alert for alert in program.alerts if _reads(alert.when, form))


@lru_cache(maxsize=1024)
def _rules(
    program: Program, kind: str, form: str
) -> tuple[tuple[SessionRule, ...], tuple[SessionRule, ...], tuple[Alert, ...]]:
    """The stop rules, pause rules and alerts of a kind of session that read a form."""
    rules = program.sessions[kind]
    return (
        tuple(rule for rule in rules.stop_when if _reads(rule.when, form)),
        tuple(rule for rule in rules.pause_when if _reads(rule.when, form)),
        tuple(alert for alert in rules.alerts if _reads(alert.when, form)),
    )


def _reads(test: Test, form: str) -> bool:
    return any(read[0] == form for read in test.reads)
