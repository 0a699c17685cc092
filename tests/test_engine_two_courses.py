"""One patient in two programs at once, whatever people do: what no way may lead to."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from two_programs import TEXTS
from walk_in import EIGHT, Clock

from kat_workflow import Actor, Engine, Refused, Site
from kat_workflow.enrollment import events as e
from kat_workflow.journal import open_journal
from kat_workflow.language import Files

NURSE = Actor("ann", {"nurse"})
DOCTOR = Actor("bo", {"doctor"})
LIBRARY = Files({f"{name}/{name}.yaml": text for name, text in TEXTS.items()})
KINDS = {"house": ("drip", "pill", "syrup"), "therapy": ("day",)}
SEDATING = ("pill", "syrup", "day")
ACTS = (
    "start",
    "start",
    "dose",
    "end dosing",
    "release",
    "abort",
    "cancel",
    "hold",
    "lift",
    "wait",
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 2), st.sampled_from(ACTS), st.integers(0, 3)),
        max_size=40,
    )
)
def test_two_courses_of_one_patient_never_sedate_twice_a_day_or_end_each_other(
    said: list[tuple[bool, int, str, int]],
) -> None:
    clock = Clock(EIGHT)
    with Engine(open_journal(), LIBRARY, clock, (Site(),)) as engine:
        courses = {name: engine.enroll(name, patient="P", by=NURSE) for name in KINDS}
        dosed: dict[str, date] = {}  # sedating sessions in which something was given, by date

        for first, which, act, how in said:
            name, other = ("house", "therapy") if first else ("therapy", "house")
            kind = KINDS[name][which % len(KINDS[name])]
            before = engine.enrollment(courses[other])
            running = [x for x in before.sessions.values() if x.under_way]
            if act == "wait":
                clock.goes_on((0.5, 1, 6, 24)[how])
                continue
            details: dict[str, dict[str, object]] = {
                "dose": {"amount": "10 mg"},
                "abort": {"reason": "x"},
                "hold": {"reason": "x", "everywhere": how == 0},
            }
            phrase = act if act in ("hold", "lift") else f"{act} {kind}"
            by = DOCTOR if act in ("hold", "lift") and name == "therapy" else NURSE
            done: tuple[e.Event, ...] = ()
            with suppress(Refused):
                done = engine.do(courses[name], phrase, given=details.get(act), by=by).events

            today = clock.at.date()
            noted = [x.code for x in done if isinstance(x, e.DeviationNoted)]
            for event in done:
                if isinstance(event, e.SessionStarted) and "dose-without-start" not in noted:
                    assert not running, "a session was started while another course's is watched"
                    if kind in SEDATING:
                        assert today not in dosed.values(), "a second sedating session was started"
                elif isinstance(event, e.DoseGiven) and event.first and kind in SEDATING:
                    if today in dosed.values():
                        assert "one-sedating-a-day" in noted
                    dosed[f"{name}/{event.session}"] = today
            after = engine.enrollment(courses[other])
            still = [x.id for x in after.sessions.values() if x.under_way]
            assert still == [x.id for x in running], "what one course does ends nothing in another"
