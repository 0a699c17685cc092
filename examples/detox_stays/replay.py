"""Replay real detoxification stays through `detox-4-day`, as reports of what happened.

    python examples/detox_stays/replay.py FOLDER [--json]

FOLDER holds `detox_stays.csv` and `withdrawal_ratings.csv` of the CTN-0094 sample: days relative
to each patient's start in an opioid trial, no clock times, no vitals, no consents. Each stay is
driven through the real engine in virtual time: the patient is admitted (`move stay`: an admission
that took place, whatever the program's gates would have said), ratings of withdrawal within the
stay are recorded as the classes they are, and on the day of discharge the patient leaves for a
reason that the source does not give. What the source does not have stays unknown; the engine
says what a nurse would have been asked and did not record. A day is placed at noon, and day 0 on
an arbitrary date; the lengths of stay, the classes and the counts do not depend on either.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kat_workflow import Actor, Engine, Happened, Refused, Status
from kat_workflow.enrollment import events as e

PROGRAM = "detox-4-day"
PLANNED, LONGEST = 4, 7  # rounds of `day`: at_least and at_most
DAY_ZERO = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLASSES = {"0": "none", "1": "mild", "2": "moderate", "3": "severe"}
CLINIC = Actor("source", {"nurse", "nurse_practitioner"})


def instant(day: int) -> datetime:
    """Noon of a study day."""
    return DAY_ZERO + timedelta(days=day)


def stays(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Each stay: patient, day of admission, day of discharge.

    ValueError: a row without its pair.
    """
    open_: dict[str, int] = {}
    with (folder / "detox_stays.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["who"], int(row["when"])))
    for row in rows:
        who, what, day = row["who"], row["what"], int(row["when"])
        if what == "admission" and who not in open_:
            open_[who] = day
        elif what == "discharge" and who in open_:
            yield who, open_.pop(who), day
        else:
            raise ValueError(f"patient {who}: a {what} on day {day} without its pair")
    if open_:
        raise ValueError(f"admissions without a discharge: {len(open_)}")


def ratings(folder: Path) -> dict[str, list[tuple[int, str]]]:
    """Withdrawal classes of each patient by day."""
    found: dict[str, list[tuple[int, str]]] = {}
    with (folder / "withdrawal_ratings.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["who"], []).append((int(row["when"]), CLASSES[row["withdrawal"]]))
    return found


class Replay:
    """One clinic in virtual time, and what became of each stay."""

    def __init__(self) -> None:
        self.now = DAY_ZERO
        self.clinic = Engine.open(clock=lambda: self.now)
        self.refused: Counter[str] = Counter()
        self.rated = 0

    def live(
        self, who: str, admitted: int, left: int, classes: list[tuple[int, str]]
    ) -> dict[str, Any]:
        """Admit, rate and discharge one patient; returns what the record then says."""
        self.now = instant(admitted)
        patient = self.clinic.enroll(
            PROGRAM, patient=f"CTN-{who}", by=CLINIC, command_id=f"stay-{who}-{admitted}"
        )
        self.clinic.do(
            patient, "move stay", by=CLINIC, given={"reason": "admitted, as the source says"}
        )
        within = [(day, word) for day, word in classes if admitted <= day <= left]
        for day, word in sorted(within):
            self.now = instant(day)
            self.try_(patient, "record withdrawal_class", {"class": word})
        self.rated += bool(within)
        self.now = instant(left)
        before = self.clinic.status(patient)
        self.try_(patient, "leave other", {"reason": "discharged; the source gives no reason"})
        return self.record_of(who, left - admitted, before, self.clinic.history(patient))

    def try_(self, patient: str, phrase: str, given: dict[str, Any]) -> None:
        """Report something; what is refused is counted by its code, never dropped."""
        try:
            self.clinic.do(patient, phrase, by=CLINIC, given=given)
        except Refused as refused:
            self.refused[refused.code] += 1

    def record_of(
        self, who: str, nights: int, before: Status, happened: tuple[Happened, ...]
    ) -> dict[str, Any]:
        """One stay as the journal tells it."""
        events = [each.event for each in happened]
        missed = Counter(
            x.step for x in events if isinstance(x, e.ItemSettled) and x.outcome == "missed"
        )
        left_open = Counter(
            x.step
            for x in events
            if isinstance(x, e.ItemSettled) and x.outcome == "left" and x.step
        )
        return {
            "patient": who,
            "nights": nights,
            "program_day": before.day,
            "end": next((x.end for x in events if isinstance(x, e.Discharged)), ""),
            "entries": len(events),
            "classes": sum(
                1
                for x in events
                if isinstance(x, e.ObservationRecorded) and x.form == "withdrawal_class"
            ),
            "missed": dict(missed),
            "never_answered": dict(left_open),
            "alerts": dict(Counter(x.alert for x in events if isinstance(x, e.AlertRaised))),
            "deviations": dict(Counter(x.code for x in events if isinstance(x, e.DeviationNoted))),
        }


def verdict(day: int) -> str:
    """How a stay compares with the program: left before, on, or after its planned days."""
    if day < PLANNED:
        return "left early"
    if day == PLANNED:
        return "left on the planned day"
    return "stayed longer, as the program allows" if day <= LONGEST else "stayed beyond the program"


def run(folder: Path) -> dict[str, Any]:
    """Replay every stay of a folder; the answer is plain JSON values."""
    replay = Replay()
    classes = ratings(folder)
    lived = [replay.live(who, a, b, classes.get(who, [])) for who, a, b in stays(folder)]
    flagged: dict[str, Counter[str]] = {}
    for kind in ("missed", "never_answered", "alerts", "deviations"):
        flagged[kind] = sum((Counter(stay[kind]) for stay in lived), Counter[str]())
    return {
        "program": PROGRAM,
        "stays": len(lived),
        "entries": sum(stay["entries"] for stay in lived),
        "outcome": dict(Counter(verdict(stay["program_day"]) for stay in lived)),
        "program_days": sum(stay["program_day"] for stay in lived),
        "with_withdrawal_class": replay.rated,
        "without_withdrawal_class": len(lived) - replay.rated,
        "classes_recorded": sum(stay["classes"] for stay in lived),
        "refused": dict(replay.refused),
        "flagged": {kind: dict(counts.most_common()) for kind, counts in flagged.items()},
        "each": lived,
    }


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    total = report["stays"]
    print(f"{total} stays replayed through {report['program']}: {report['entries']} entries")
    print("\nHow they compare with the program (the source says when, not why):")
    for words, count in sorted(report["outcome"].items()):
        print(f"  {count:4d}  {words}")
    print("\nWhat the source does not have (unknown, and left so):")
    print(f"  {total:4d}  stays without evaluation, consent, vitals or orders")
    print(f"  {report['without_withdrawal_class']:4d}  stays without any class of withdrawal")
    print(f"  {report['classes_recorded']:4d}  classes recorded in the other stays")
    words = {
        "deviations": "What departed from the program",
        "missed": "What was asked for and missed",
        "never_answered": "What was still open on leaving",
        "alerts": "Who would have been called",
    }
    for kind, title in words.items():
        print(f"\n{title}:")
        for name, count in report["flagged"][kind].items():
            print(f"  {count:4d}  {name}")
    print(f"\nRefused: {report['refused'] or 'nothing'}")


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="where detox_stays.csv lies")
    parser.add_argument("--json", action="store_true", help="print plain values")
    given = parser.parse_args(arguments)
    try:
        report = run(given.folder)
    except (OSError, ValueError, KeyError) as error:
        print(f"{given.folder}: {error}", file=sys.stderr)
        return 2
    if given.json:
        json.dump(report, sys.stdout, indent=1)
    else:
        show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
