"""What a replay shows: whether every row is accounted for, and how real courses and programs fit.

The answer is plain JSON values. Nothing in it says that a program works: it says what happened
to patients, and what the program would have asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from statistics import median
from typing import Any

from kat_workflow.courses.driving import Course, Fate, Replayed, Source
from kat_workflow.courses.mapping import SourceMapping
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import SYSTEM
from kat_workflow.reporting import Page

__all__ = ["account", "adds_up", "page"]

DAY = timedelta(days=1)
NOT_SAID = "not in the data"
"""The class of a visit that was planned and of which the source has no row."""
AT_ANOTHER_TIME = "held outside the program's window"
"""The class of one that was missed by the program's window, and of which the source has a visit."""
DOSES = ("program", "unit", "source", "refused", "journal")
FATES: tuple[Fate, ...] = ("applied", "refused", "not_mapped")


def account(
    mapping: SourceMapping, source: Source, replayed: Replayed, seconds: float
) -> dict[str, Any]:
    """Everything a replay shows, by JSON values; `seconds` is how long it took."""
    tables = {name: _table(name, source, replayed) for name in mapping.tables}
    total = Counter(fate for fate, _, _ in replayed.fates.values())
    courses: defaultdict[str, list[Course]] = defaultdict(list)
    for course in replayed.courses:
        courses[course.program].append(course)
    return {
        "format": 1,
        "title": mapping.title,
        "about": mapping.about,
        "patients": len(source.patients),
        "enrolled": len({course.patient for course in replayed.courses}),
        "rows": sum(len(rows) for rows in source.rows.values()),
        **{fate: total[fate] for fate in FATES},
        "refused_because": _because(replayed, "refused"),
        "not_mapped_because": _because(replayed, "not_mapped"),
        "tables": tables,
        "further": [
            {"said": said, "fate": fate, "because": code, "count": count}
            for (said, fate, code), count in sorted(replayed.further.items())
        ],
        "doses": _doses(mapping, source, replayed),
        "programs": {
            program: _program(mapping, replayed, program, its)
            for program, its in sorted(courses.items())
        },
        "seconds": round(seconds, 2),
    }


def adds_up(account: Mapping[str, Any]) -> list[str]:
    """What does not add up, in words; empty if every row and every dose is accounted for."""
    wrong = []
    for name, its in (("all tables", account), *account["tables"].items()):
        if its["rows"] != sum(its[fate] for fate in FATES):
            wrong.append(f"{name}: {its['rows']} rows, but {[its[fate] for fate in FATES]} ended")
    for each in account["doses"]:
        if not each["matches"]:
            wrong.append(
                f"doses of {each['program']}: the source says {each['source']} {each['unit']}, of"
                f" which {each['refused']} were refused, and the journal {each['journal']}"
            )
    return wrong


def _table(name: str, source: Source, replayed: Replayed) -> dict[str, Any]:
    fates = [replayed.fates.get((name, line.number)) for line in source.rows[name]]
    counts = Counter(fate[0] for fate in fates if fate is not None)
    because: dict[str, Counter[str]] = {"refused": Counter(), "not_mapped": Counter()}
    for fate in fates:
        if fate is not None and fate[0] in because:
            because[fate[0]][fate[1]] += 1
    return {
        "rows": len(fates),
        **{fate: counts[fate] for fate in FATES},
        **{f"{fate}_because": dict(sorted(each.items())) for fate, each in because.items()},
    }


def _because(replayed: Replayed, meant: str) -> dict[str, int]:
    codes = Counter(code for fate, code, _ in replayed.fates.values() if fate == meant)
    return dict(sorted(codes.items()))


def _doses(mapping: SourceMapping, source: Source, replayed: Replayed) -> list[dict[str, Any]]:
    """The amounts of the source and of the journal, by program and unit; exact."""
    if mapping.doses is None:
        return []
    said: defaultdict[str, Decimal] = defaultdict(Decimal)
    refused: defaultdict[str, Decimal] = defaultdict(Decimal)
    for line in source.rows[mapping.doses.table]:
        fate, _, program = replayed.fates.get((line.table, line.number), ("not_mapped", "", ""))
        if fate != "not_mapped":
            amount = _amount(line.columns.get(mapping.doses.amount, ""))
            said[program] += amount
            refused[program] += amount * (fate == "refused")
    given: defaultdict[str, Decimal] = defaultdict(Decimal)
    units: defaultdict[str, set[str]] = defaultdict(set)
    for course in replayed.courses:
        for event in _events(course):
            if isinstance(event, e.MedicineGiven):
                given[course.program] += Decimal(event.amount)
                units[course.program].add(event.unit)
    return [
        {
            "program": program,
            "unit": ", ".join(sorted(units[program])),
            "source": str(said[program]),
            "refused": str(refused[program]),
            "journal": str(given[program]),
            "matches": said[program] == given[program] + refused[program],
        }
        for program in sorted(said.keys() | given.keys())
    ]


def _amount(text: str) -> Decimal:
    """The amount of a row; one that is no number was refused, and nothing was given."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return found if found.is_finite() else Decimal(0)


def _program(
    mapping: SourceMapping, replayed: Replayed, program: str, courses: Sequence[Course]
) -> dict[str, Any]:
    """How the courses of one program went."""
    ends: Counter[str] = Counter()
    deviations: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    departures: defaultdict[str, Counter[str]] = defaultdict(Counter)
    waits: defaultdict[str, list[float]] = defaultdict(list)
    entries = doses = 0
    for course in courses:
        entries += len(course.happened)
        opened: dict[str, datetime] = {}
        step = ""
        end = "under way"
        for event in _events(course):
            if isinstance(event, e.ItemOpened):
                opened[event.item] = event.opens
            elif isinstance(event, e.ItemSettled) and event.step:
                outcomes[event.step][event.outcome] += 1
                if event.outcome == "missed":
                    missed[_missed(event, course, replayed)] += 1
                elif event.outcome == "done" and event.item in opened:
                    waits[event.step].append((event.at - opened[event.item]) / DAY)
            elif isinstance(event, e.ObservationRecorded):
                step = event.step or event.form
                if event.form == "missed_visit":
                    missed[str(event.values.get("why", ""))] += 1
            elif isinstance(event, e.MedicineGiven):
                step = event.medicine
                doses += 1
            elif isinstance(event, e.DeviationNoted):
                deviations[event.code] += 1
                departures[step][event.code] += 1
            elif isinstance(event, e.Discharged):
                end = event.end
        ends[end] += 1
    refused = Counter(
        code for fate, code, of in replayed.fates.values() if of == program and fate == "refused"
    )
    return {
        "enrollments": len(courses),
        "patients": len({course.patient for course in courses}),
        "entries": entries,
        "doses": doses,
        "refused_because": dict(sorted(refused.items())),
        "ends": dict(ends.most_common()),
        "missed_visits": dict(missed.most_common()),
        "outcomes": {step: dict(its) for step, its in sorted(outcomes.items())},
        "deviations": dict(deviations.most_common()),
        "deviations_by_step": {step: dict(its) for step, its in sorted(departures.items())},
        "waiting_days": {
            step: {
                "count": len(days),
                "median": round(median(days), 2),
                "most": round(max(days), 2),
            }
            for step, days in sorted(waits.items())
        },
        "stages": _stages(mapping, courses),
    }


def _missed(event: e.ItemSettled, course: Course, replayed: Replayed) -> str:
    """The class of a missed visit: what the source says of it, or that it says nothing."""
    if event.person != SYSTEM.person:
        return event.reason
    held = (course.enrollment, event.step.rpartition(".")[2]) in replayed.held
    return AT_ANOTHER_TIME if held else NOT_SAID


def _stages(mapping: SourceMapping, courses: Sequence[Course]) -> dict[str, Any]:
    """How long patients were in each stage (a phase without others inside), and how long they
    were seen there: a stage goes on by its length, whoever stays away."""
    stays: defaultdict[str, list[float]] = defaultdict(list)
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for course in courses:
        entered: dict[str, tuple[str, datetime]] = {}
        last: dict[str, datetime] = {}
        for event in _events(course):
            if isinstance(event, e.PhaseEntered):
                entered[event.place] = event.phase, event.at
            elif isinstance(event, e.PhaseLeft) and event.place in entered:
                phase, since = entered.pop(event.place)
                stays[phase].append((event.at - since) / DAY)
                seen[phase].append((last.pop(event.place, since) - since) / DAY)
            else:
                at = _seen_at(mapping, event)
                if at is not None:
                    last.update(dict.fromkeys(entered, at))
    return {
        phase: {
            "entered": len(days),
            "median_days": round(median(days), 2),
            "median_days_seen": round(median(seen[phase]), 2),
            "seen": survival(seen[phase]),
        }
        for phase, days in stays.items()
    }


def survival(days: Iterable[float]) -> list[tuple[float, float]]:
    """The share of patients who were still seen on a day or later, at each day that matters.

    Everybody is followed to the end of the stage, so nobody is censored and the share is the
    Kaplan-Meier estimate.
    """
    counted = Counter(days)
    whole = left = sum(counted.values())
    curve = [(0.0, 1.0)]
    for day in sorted(counted):
        left -= counted[day]
        curve.append((round(day, 2), round(left / whole, 4)))
    return curve


def _seen_at(mapping: SourceMapping, event: Any) -> datetime | None:
    if isinstance(event, e.MedicineGiven):
        return event.at
    if isinstance(event, e.ObservationRecorded) and event.form in mapping.seen:
        return event.occurred
    return None


def _events(course: Course) -> Iterable[Any]:
    return (each.event for each in course.happened)


def page(account: Mapping[str, Any]) -> str:
    """The account as an HTML page with plots. Raises NoPlots without the extra `reports`."""
    made = Page(account["title"], account["about"])
    made.note(
        "Reports of what happened, told to the programs as they are. What the source does not have"
        " is unknown. This page claims no effect of any treatment and is not medical advice."
    )
    made.heading("Every row")
    heads = ("table", "rows", "applied", "refused", "not mapped", "because")
    made.table(
        heads,
        [
            (name, its["rows"], *(its[fate] for fate in FATES), _codes(its))
            for name, its in (*account["tables"].items(), ("all", account))
        ],
    )
    wrong = adds_up(account)
    made.note("Does not add up: " + "; ".join(wrong) if wrong else "Every row is accounted for.")
    made.heading("Doses")
    made.table(
        (*DOSES, "equal"),
        [
            (
                x["program"],
                x["unit"],
                x["source"],
                x["refused"],
                x["journal"],
                "yes" if x["matches"] else "NO",
            )
            for x in account["doses"]
        ],
    )
    for program, its in account["programs"].items():
        made.heading(program)
        made.note(
            f"{its['enrollments']} enrollments of {its['patients']} patients, {its['entries']}"
            f" entries, {its['doses']} doses."
        )
        made.table(
            ("stage", "entered", "median days", "of them seen"),
            [
                (x, y["entered"], y["median_days"], y["median_days_seen"])
                for x, y in its["stages"].items()
            ],
        )
        curves = {
            stage: each["seen"] for stage, each in its["stages"].items() if len(each["seen"]) > 2
        }
        if curves:
            says = f"{program}: share of patients still seen, by stage"
            made.curves(says, "day of the stage", "share", curves, steps=True)
        for what, counts in (
            ("How it ended", its["ends"]),
            ("Visits that were missed, and why", its["missed_visits"]),
            ("Deviations", its["deviations"]),
            ("Refused", its["refused_because"]),
        ):
            made.heading(what, 3)
            made.table(("", "times"), list(counts.items()))
        if its["missed_visits"]:
            made.bars(f"{program}: missed visits", "visits", its["missed_visits"])
        made.heading("Days from opening to done", 3)
        made.table(
            ("step", "times", "median", "most"),
            [(x, y["count"], y["median"], y["most"]) for x, y in its["waiting_days"].items()],
        )
    made.note(f"Replayed in {account['seconds']} s.")
    return made.html()


def _codes(its: Mapping[str, Any]) -> str:
    both = {**its["refused_because"], **its["not_mapped_because"]}
    return ", ".join(f"{code} {count}" for code, count in both.items())
