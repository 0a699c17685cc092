"""What a simulated cohort shows: as plain JSON values, and as a page with plots."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kat_workflow.courses.conformance import survival
from kat_workflow.reporting import Page
from kat_workflow.simulation.cohort import Cohort, compared

__all__ = ["difference_page", "page", "summary"]

_CLAIMS = (
    "Simulated patients in a made-up clinic: it shows what a program asks of a clinic, and claims"
    " no effect of any treatment. What patients do is what the profile says. Not medical advice."
)


_EDGES = (0, 5, 15, 30, 60, 120, 240, 480, 1440, 2880)
"""Where the columns of a histogram begin, in minutes."""
_FROM = "from so long on, below the next"


def summary(cohort: Cohort) -> dict[str, Any]:
    """The account of a cohort; the same plan gives the same values."""
    tallies, plan = cohort.tallies, cohort.plan
    return {
        "format": 1,
        "program": plan.program,
        "patients": plan.patients,
        "days": plan.days,
        "seed": plan.seed,
        "clinics": cohort.clinics,
        "clinics_planned": plan.clinics,
        "interrupted": cohort.interrupted,
        "arrived": cohort.arrived,
        "enrolled": cohort.enrolled,
        "discharged": sum(cohort.ends.values()),
        "ends": dict(cohort.ends.most_common()),
        "length_of_stay": _quantiles(cohort.stays),
        "stays": survival(cohort.stays.elements()) if cohort.stays else [],
        "census": [
            [day, round(tallies.census[day] / cohort.clinics, 3)] for day in range(plan.days)
        ]
        if cohort.clinics
        else [],
        "sessions": dict(sorted(cohort.sessions.items())),
        "commands": tallies.commands,
        "entries": tallies.entries,
        "violations": _named(tallies.violations),
        "refusals": [
            {"what": what, "code": code, "count": count}
            for (what, code), count in _sorted(tallies.refusals)
        ],
        "given_up": _named(tallies.given_up),
        "deviations": _named(tallies.deviations),
        "alerts": _named(tallies.alerts),
        "missed": _named(tallies.missed),
        "leaving": [
            {"phase": phase, "end": end, "count": count}
            for (phase, end), count in _sorted(tallies.left_from)
        ],
        "waits": _histogram(sum(cohort.waits.values(), Counter())),
        "overdue": _histogram(sum(cohort.lates.values(), Counter())),
        "work": [_work(cohort, what) for what in sorted(cohort.waits)],
        "load": _load(cohort),
        "bottlenecks": _bottlenecks(cohort),
    }


def _work(cohort: Cohort, what: str) -> dict[str, Any]:
    waits, late = cohort.waits[what], cohort.lates.get(what, Counter())
    due = cohort.due[what]
    return {
        "what": what,
        "count": sum(waits.values()),
        "outcomes": {
            outcome: count
            for (name, outcome), count in sorted(cohort.outcomes.items())
            if name == what
        },
        "wait_minutes": _quantiles(waits),
        "waits": _histogram(waits),
        "due": due,
        "late": sum(late.values()),
        "late_share": round(sum(late.values()) / due, 4) if due else 0.0,
        "late_minutes": _quantiles(late),
        "overdue": _histogram(late),
    }


def _histogram(minutes: Counter[int]) -> list[dict[str, Any]]:
    """How many there were from so many minutes on, and below the next; the last has no end."""
    counts = Counter(dict.fromkeys(_EDGES, 0))
    for value, count in minutes.items():
        counts[_EDGES[bisect_right(_EDGES, value) - 1]] += count
    return [
        {"from": edge, "to": to, "count": counts[edge]}
        for edge, to in zip(_EDGES, (*_EDGES[1:], None), strict=True)
    ]


def _columns(histogram: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """A histogram as words and shares."""
    whole = sum(each["count"] for each in histogram) or 1
    return [(_said(each["from"]), each["count"] / whole) for each in histogram]


def _said(minutes: int) -> str:
    if minutes % 1440 == 0 and minutes:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 and minutes else f"{minutes} min"


def _load(cohort: Cohort) -> dict[str, list[list[float]]]:
    """By role: the share of the time on shift that people were busy, for each hour of the day.
    It can exceed 1 where somebody finishes after their shift, or has another role as well."""
    tallies = cohort.tallies
    return {
        role: [
            [hour, round(tallies.busy[role, hour] / 3600 / tallies.shift[role, hour], 4)]
            for hour in range(24)
            if tallies.shift[role, hour]
        ]
        for role in sorted({role for role, _ in tallies.shift})
    }


def _bottlenecks(cohort: Cohort) -> list[dict[str, Any]]:
    """Roles and resources, the one that is waited for longest first: hours waited for a role, and
    for a resource how often one had to be waited for."""
    tallies = cohort.tallies
    roles: list[dict[str, Any]] = [
        {
            "what": role or "nobody in particular",
            "hours_waited": round(minutes / 60, 1),
            "mean_wait_minutes": round(minutes / cohort.done[role], 1),
            "busy_share": round(_busy(cohort, role), 4),
        }
        for role, minutes in sorted(cohort.waited.items())
    ]
    scarce: list[dict[str, Any]] = [
        {
            "what": name,
            "held": tallies.held[name],
            "queued": tallies.queued[name],
            "queued_share": round(tallies.queued[name] / tallies.held[name], 4),
        }
        for name in sorted(tallies.held)
    ]
    roles.sort(key=lambda each: -each["hours_waited"])
    scarce.sort(key=lambda each: -each["queued_share"])
    return [*roles, *scarce]


def _busy(cohort: Cohort, role: str) -> float:
    seconds = sum(count for (name, _), count in cohort.tallies.busy.items() if name == role)
    hours = sum(count for (name, _), count in cohort.tallies.shift.items() if name == role)
    return seconds / 3600 / hours if hours else 0.0


def _quantiles(counted: Mapping[float, int] | Counter[Any]) -> dict[str, float]:
    """Mean, quartiles, 95th percentile and most of values that were each so often."""
    whole = sum(counted.values())
    if not whole:
        return {}
    ordered = sorted(counted.items())

    def at(share: float) -> float:
        passed = 0
        for value, count in ordered:
            passed += count
            if passed >= share * whole:
                return float(value)
        return float(ordered[-1][0])

    return {
        "mean": round(sum(value * count for value, count in ordered) / whole, 3),
        "25%": at(0.25),
        "50%": at(0.5),
        "75%": at(0.75),
        "95%": at(0.95),
        "most": float(ordered[-1][0]),
    }


def _sorted(counts: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _named(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def page(found: Mapping[str, Any]) -> str:
    """A summary as a page. Raises NoPlots without the extra `reports`."""
    made = Page(f"{found['program']}: {found['patients']:,} simulated patients", _CLAIMS)
    made.note(
        f"{found['days']} days in {found['clinics']} clinics, seed {found['seed']}:"
        f" {found['arrived']:,} arrived, {found['enrolled']:,} were enrolled,"
        f" {found['discharged']:,} discharged; {found['commands']:,} commands,"
        f" {found['entries']:,} entries."
    )
    if found["interrupted"]:
        made.note(f"Interrupted: {found['clinics']} of {found['clinics_planned']} clinics.")
    broken = found["violations"]
    made.note(f"Rules broken: {broken}" if broken else "No rule of the program was broken.")
    made.heading("Patients")
    made.curves("Patients in treatment at noon, per clinic", "day", "", {"census": found["census"]})
    if found["stays"]:
        made.curves(
            "Length of stay: share still in treatment",
            "days since enrolling",
            "share",
            {"in treatment": found["stays"]},
            steps=True,
        )
    made.heading("How and from where they left", 3)
    made.table(
        ("phase", "end", "patients"),
        [(x["phase"], x["end"], x["count"]) for x in found["leaving"]],
    )
    made.heading("Bottlenecks")
    _bottleneck_tables(made, found)
    made.curves("Busy share of the time on shift", "hour of the day", "share", found["load"])
    made.heading("Work")
    made.columns(
        "How long work waited for somebody", _FROM, "share", {"waited": _columns(found["waits"])}
    )
    late, due = (sum(x[key] for x in found["work"]) for key in ("late", "due"))
    made.columns(
        f"How late was what was late: {late:,} of {due:,} that had a time",
        _FROM,
        "share",
        {"late": _columns(found["overdue"])},
    )
    made.table(
        ("what", "times", "median wait (min)", "95 %", "late of due", "95 % late by (min)"),
        [
            (
                x["what"],
                x["count"],
                x["wait_minutes"]["50%"],
                x["wait_minutes"]["95%"],
                f"{x['late']} of {x['due']}",
                x["late_minutes"].get("95%", 0.0),
            )
            for x in found["work"]
        ],
    )
    for what in ("missed", "given_up", "alerts", "deviations"):
        made.heading(what.replace("_", " ").capitalize(), 3)
        made.table(("", "times"), list(found[what].items()))
    made.heading("Refused", 3)
    made.table(
        ("what", "code", "times"), [(x["what"], x["code"], x["count"]) for x in found["refusals"]]
    )
    return made.html()


def _bottleneck_tables(made: Page, found: Mapping[str, Any]) -> None:
    made.table(
        ("role", "hours waited", "mean wait (min)", "busy"),
        [
            (x["what"], x["hours_waited"], x["mean_wait_minutes"], x["busy_share"])
            for x in found["bottlenecks"]
            if "hours_waited" in x
        ],
    )
    made.table(
        ("resource", "held", "had to be waited for", "share"),
        [
            (x["what"], x["held"], x["queued"], x["queued_share"])
            for x in found["bottlenecks"]
            if "held" in x
        ],
    )


def difference_page(one: Cohort, other: Cohort, names: tuple[str, str]) -> str:
    """Two cohorts side by side as a page. Raises NoPlots without the extra `reports`."""
    before, after = summary(one), summary(other)
    made = Page(f"{names[0]} and {names[1]}", _CLAIMS)
    made.note(
        "Clinics with the same number have the same chance; the interval holds the mean difference"
        " with 95 % (bootstrap over clinics). One that holds 0 shows no difference."
    )
    made.table(
        ("measure", *names, "difference", "from", "to"),
        [
            (name, x["before"], x["after"], x["difference"], x["low"], x["high"])
            for name, x in compared(one, other).items()
        ],
    )
    made.curves(
        "Patients in treatment at noon, per clinic",
        "day",
        "",
        {names[0]: before["census"], names[1]: after["census"]},
    )
    made.curves(
        "Length of stay: share still in treatment",
        "days since enrolling",
        "share",
        {names[0]: before["stays"], names[1]: after["stays"]},
        steps=True,
    )
    for key, title in (
        ("waits", "How long work waited"),
        ("overdue", "How late was what was late"),
    ):
        both = {name: _columns(x[key]) for name, x in zip(names, (before, after), strict=True)}
        made.columns(title, _FROM, "share", both)
    made.heading("Bottlenecks")
    for name, its in zip(names, (before, after), strict=True):
        made.heading(name, 3)
        _bottleneck_tables(made, its)
    return made.html()
