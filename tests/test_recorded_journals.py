"""Journals that releases have recorded are replayed for ever, to the byte and to the state.

`python -m tests.test_recorded_journals VERSION` records those of a release that is about to be
made; what is recorded is never changed afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kat_workflow import Enrollment, replay
from kat_workflow.enrollment import events
from kat_workflow.enrollment.state import decode_row, encode_row
from kat_workflow.language import shipped
from kat_workflow.scenarios import load_scenario, run

RECORDED = Path(__file__).parent / "journals"
SCENARIOS = (
    "detox-4-day/straight-way-through",
    "detox-4-day/shaking-chills-end-the-infusion",
    "ketamine-assisted-therapy/straight-way-through",
    "ketamine-assisted-therapy/the-therapy-session-is-missed",
    "residential-30-day/straight-way-through",
    "residential-30-day/to-hospital-and-back",
)
JOURNALS = sorted(RECORDED.glob("*/*.jsonl"))


def told(enrollment: Enrollment) -> dict[str, Any]:
    """What every later version must still say of an enrollment, as plain values."""
    state = msgspec.to_builtins(
        {
            "patient": enrollment.patient,
            "program": [enrollment.program, enrollment.program_version, enrollment.digest],
            "standing": enrollment.standing,
            "end": [enrollment.end, enrollment.end_kind],
            "version": enrollment.version,
            "last": enrollment.last,
            "admitted": enrollment.admitted,
            "where": sorted(visit.place for visit in enrollment.visits.values()),
            "open": sorted(enrollment.items),
            "settled": {step: last.outcome for step, last in enrollment.settled.items()},
            "consents": {name: given.state for name, given in enrollment.consents.items()},
            "held": {kind: tally.held for kind, tally in enrollment.tallies.items()},
        }
    )
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(state))
    return plain


def test_a_release_has_recorded_its_journals() -> None:
    assert JOURNALS


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_release_recorded_is_read_and_replayed_as_it_was(journal: Path) -> None:
    lines = journal.read_bytes().splitlines()
    halves = msgspec.json.decode(journal.with_suffix(".states.json").read_bytes())

    happened = [events.decode(line) for line in lines]
    whole = replay(happened)

    assert [events.encode(event) for event in happened] == lines
    assert told(replay(happened[: len(lines) // 2])) == halves["half"]
    assert told(whole) == halves["whole"]
    assert decode_row(encode_row(whole)) == whole


def record(version: str) -> None:
    """Write the journals of a release beside those of the former ones."""
    programs, folder = shipped(), RECORDED / version
    folder.mkdir()
    for name in SCENARIOS:
        program, _, scenario = name.partition("/")
        file = programs.root / program / "scenarios" / f"{scenario}.yaml"
        happened = [each.event for each in run(load_scenario(file), programs).happened]
        stem = folder / f"{program}.{scenario}"
        stem.with_name(stem.name + ".jsonl").write_bytes(
            b"".join(events.encode(event) + b"\n" for event in happened)
        )
        states = {
            "half": told(replay(happened[: len(happened) // 2])),
            "whole": told(replay(happened)),
        }
        stem.with_name(stem.name + ".states.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(states), indent=1) + b"\n"
        )


if __name__ == "__main__":
    record(sys.argv[1])
