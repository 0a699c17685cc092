"""What one of a program's own stories tells about how things are done there.

From a scenario file: what is written into each form, what is declined, what a prescriber orders,
what is in the cupboard, and how a session is held, act by act. A simulated clinic does the same,
but for what its profile says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field, frozen

from kat_workflow.enrollment import commands as c
from kat_workflow.program.model import Program
from kat_workflow.scenarios import Scenario

__all__ = ["Beat", "Story"]

_SESSION = (
    c.Arrive, c.Draw, c.Check, c.Start, c.Dose, c.Pause, c.Resume, c.EndDosing, c.Waste, c.Return,
    c.WitnessWaste, c.Release,
)  # fmt: skip


@frozen
class Beat:
    """One act of a session, so long after the one before."""

    after: timedelta
    verb: str
    given: Mapping[str, Any]


@define
class Story:
    """What a story tells. Values that are instants are kept as how long before the recording."""

    answers: dict[str, list[dict[str, Any]]] = field(factory=dict)
    outcomes: dict[str, str] = field(factory=dict)
    orders: dict[str, dict[str, Any]] = field(factory=dict)
    sessions: dict[str, list[Beat]] = field(factory=dict)
    stock: list[dict[str, Any]] = field(factory=list)

    @staticmethod
    def told_by(scenario: Scenario, program: Program) -> Story:
        """Read a scenario of the program."""
        story = Story()
        now = scenario.starts
        going: dict[str, tuple[datetime, list[Beat]]] = {}
        for step in scenario.steps:
            now = scenario.time_of(step, now)
            if "receive" in step:
                story.stock.append(dict(step["receive"]))
            if "do" not in step:
                continue
            given = dict(step.get("with") or {})
            verb, _, name = str(step["do"]).partition(" ")
            if verb == "record":
                kept = {key: _relative(scenario, value, now) for key, value in given.items()}
                story.answers.setdefault(name, []).append(kept)
                its = program.steps.get(program.find("steps", name) or "")
                if its is not None and its.form != name:
                    story.answers.setdefault(its.form, []).append(kept)
                continue
            act = c.parse(str(step["do"]), given)
            if isinstance(act, c.Settle) and act.outcome != "done":
                story.outcomes[act.step] = act.outcome
            elif isinstance(act, c.Order):
                story.orders.setdefault(act.order, given)
            elif isinstance(act, _SESSION):
                kind = program.find("sessions", act.session) or act.session
                if kind in story.sessions:
                    continue  # the first one told is how it is done
                last, beats = going.setdefault(kind, (now, []))
                said = c.words(act).removesuffix(f" {act.session}")
                beats.append(Beat(now - last, said, given))
                going[kind] = now, beats
                if isinstance(act, c.Release):
                    story.sessions[kind] = beats
        return story


def _relative(scenario: Scenario, value: Any, now: datetime) -> Any:
    """`day 3 08:00` as how long before now; anything else as it is."""
    if isinstance(value, str) and value.startswith("day "):
        return now - scenario.instant(value)
    return value
