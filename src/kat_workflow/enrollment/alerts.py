"""What a new reading sets off (R5 a): watch rules of the session under way, then alerts.

Safety first: rules that stop a dose before those that pause it, and both before those that only
call somebody. Each is judged once for each reading.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kat_workflow.enrollment import events as e

if TYPE_CHECKING:
    from kat_workflow.enrollment.run import Run
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import Alert, Program, SessionRule


def act_on_readings(run: Run) -> None:
    """Judge the next new reading; there is one."""
    form, by_step, record = run.new.pop(0)
    for session in list(run.s.sessions.values()):
        if not session.under_way:
            continue
        stops, pauses, alerts = _rules(run.program, session.kind, form)
        for rule in stops:
            if rule.when.truth(run):
                _call(run, rule, record)
                now = run.s.sessions.get(session.id)
                if now is not None and now.state == "under_way":
                    run.stop_dosing(session.id, rule.says, rule.name)
        if _is_dosing(run, session.id):
            for rule in pauses:
                if rule.when.truth(run):
                    _call(run, rule, record)
                    if _is_dosing(run, session.id):
                        run.emit(e.DosingPaused(session.id, run.now, rule.name))
        _raise(run, alerts, record)
    _raise(run, _alerts(run.program, form), record)
    step = run.program.steps.get(by_step)
    if step is not None:
        _raise(run, step.alerts, record)


def _raise(run: Run, alerts: tuple[Alert, ...], record: str) -> None:
    for alert in alerts:
        if alert.when.truth(run):
            run.alert(alert.name, alert.says, alert.tell, alert.answer_within.elapsed, record)


def _is_dosing(run: Run, session: str) -> bool:
    now = run.s.sessions.get(session)
    return now is not None and now.dosing == "running"


def _call(run: Run, rule: SessionRule, record: str) -> None:
    if rule.tell and rule.answer_within is not None:
        run.alert(rule.name, rule.says, rule.tell, rule.answer_within.elapsed, record)


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
