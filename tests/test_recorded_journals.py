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
from kat_workflow.language import Folder, shipped
from kat_workflow.scenarios import load_scenario, run

RECORDED = Path(__file__).parent / "journals"
ROOT = Path(__file__).parents[1]
SCENARIOS = (
    "programs/detox-4-day/straight-way-through",
    "programs/detox-4-day/shaking-chills-end-the-infusion",
    "programs/ketamine-assisted-therapy/straight-way-through",
    "programs/ketamine-assisted-therapy/the-therapy-session-is-missed",
    "programs/ketamine-assisted-therapy/a-pressure-written-down-wrong",
    "programs/ketamine-assisted-therapy/booked-moved-cancelled-and-not-come",
    "programs/ketamine-assisted-therapy/nobody-answers-a-call",
    "programs/residential-30-day/straight-way-through",
    "programs/residential-30-day/to-hospital-and-back",
    "tests/clinics/ketamine-by-weight/a-medicine-as-needed",
    "tests/clinics/ketamine-by-weight/a-patient-leaves-with-the-ledger-open",
    "tests/clinics/ketamine-by-weight/given-is-not-what-was-ordered",
    "tests/people/night-ward/a-night-is-handed-over",
    "tests/people/night-ward/acted-first-documented-after",
    "tests/programs/ketamine-circle/three-members-one-drops-out-one-aborts",
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

    happened = [events.decode(*line.split(b"\t")) for line in lines]
    whole = replay(happened)

    assert [b"\t".join(events.encode(event)) for event in happened] == lines
    assert told(replay(happened[: len(lines) // 2])) == halves["half"]
    assert told(whole) == halves["whole"]
    assert decode_row(encode_row(whole)) == whole


def record(version: str) -> None:
    """Write the journals of a release beside those of the former ones."""
    folder = RECORDED / version
    folder.mkdir()
    for name in SCENARIOS:
        place, program, scenario = name.rsplit("/", 2)
        file = ROOT / place / program / "scenarios" / f"{scenario}.yaml"
        library = Folder(ROOT / place, shipped())
        happened = [each.event for each in run(load_scenario(file), library).happened]
        stem = folder / f"{program}.{scenario}"
        stem.with_name(stem.name + ".jsonl").write_bytes(
            b"".join(b"\t".join(events.encode(event)) + b"\n" for event in happened)
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
