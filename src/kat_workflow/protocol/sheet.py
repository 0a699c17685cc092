"""Sheets to print and to work from: a program to sign, a role's day, one patient's plan of today.

`page(section, …)` is one self-contained HTML page: no script, no font, no network. A day sheet
says what a role does on a program day, as far as the program fixes it; where a patient is on that
day the program alone cannot know, so that what opens by itself is told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

from kat_workflow.engine import OpenItem, Status
from kat_workflow.enrollment.register import SignOff
from kat_workflow.program.clock import Site, local_date
from kat_workflow.program.model import Program, Step
from kat_workflow.protocol import Point, Points, Section, Table
from kat_workflow.protocol.words import Words, clean, sentence

__all__ = ["day_sheet", "page", "plan_of_today"]


def day_sheet(program: Program, role: str, day: int) -> Section:
    """What a role ("" for all) does on a program day: fixed to it, daily, or when it opens."""
    words = Words(program)
    fixed: list[Point] = []
    daily: list[Point] = []
    opening: list[Point] = []
    for step in program.steps.values():
        whose = (*step.by, *step.cosigned_by, *step.witnessed_by)
        if step.owner_kind != "phase" or (role and role not in whose):
            continue
        point = Point(words.named("steps", step.name), _said(words, step))
        if step.on_day is not None:
            if step.on_day == day:
                fixed.append(point)
        elif _is_daily(program, step, day):
            daily.append(point)
        elif not _is_of_other_days(program, step, day):
            opening.append(point)
    parts = (
        Section(f"On day {day}", (Points(tuple(fixed)),)),
        Section("Every day", (Points(tuple(daily)),)),
        Section("When it opens", (Points(tuple(opening)),)),
    )
    who = words.role(role) if role else "everybody"
    about = (
        f"Version {clean(program.version)}, digest {program.digest[:12]}.",
        "Which of these are open depends on where the patient is; the worklist knows.",
    )
    kept = tuple(part for part in parts if part.blocks != (Points(()),))
    return Section(f"{clean(program.title)}: day {day} for {who}", about, kept)


def _said(words: Words, step: Step) -> str:
    return " ".join([*words.work(step), *words.schedule(step)])


def _rounds_a_day(program: Program, step: Step) -> int | None:
    """How many days the phase that is gone through once a day has at the most; None without."""
    for name in program.phases[step.owner].path:
        repeat = program.phases[name].repeat
        if repeat is not None and repeat.one_per:
            return repeat.at_most
    return None


def _is_daily(program: Program, step: Step, day: int) -> bool:
    most = _rounds_a_day(program, step)
    return bool(step.every) or (most is not None and day <= most)


def _is_of_other_days(program: Program, step: Step, day: int) -> bool:
    most = _rounds_a_day(program, step)
    return most is not None and day > most


def plan_of_today(program: Program, status: Status, site: Site, now: datetime) -> Section:
    """What is to be done with one patient until the end of the site's day, and what waits."""
    zone = ZoneInfo(site.zone)

    def clock(at: datetime) -> str:
        there = at.astimezone(zone)
        return (
            f"{there:%H:%M}"
            if there.date() == now.astimezone(zone).date()
            else f"{there:%d %b %H:%M}"
        )

    words = Words(program)
    today = local_date(now, site)
    tomorrow = today + timedelta(days=1)
    due = [item for item in status.items if local_date(_at(item), site) < tomorrow]
    rows = tuple(
        (
            clock(_at(item)),
            clean(item.title),
            ", ".join(words.role(role) for role in item.roles),
            "late" if item.timeliness == "late" else "",
        )
        for item in due
    )
    parts = [Section("To do", (Table(("When", "What", "Who", ""), rows),))] if rows else []
    later = len(status.items) - len(due)
    sessions = tuple(
        Point(
            f"{words.named('sessions', session.kind)} {session.number}",
            sentence(
                session.state.replace("_", " ")
                + (f", booked for {clock(session.booked_for)}" if session.booked_for else "")
            ),
        )
        for session in status.sessions
    )
    if sessions:
        parts.append(Section("Sessions", (Points(sessions),)))
    waiting = tuple(
        Point(
            f"To {words.named('phases', wait.to) if wait.to in program.phases else wait.to}",
            "; ".join(clause.unblock or clause.text for clause in wait.clauses if not clause.truth),
        )
        for wait in status.waiting
    )
    if waiting:
        parts.append(Section("What the way on waits for", (Points(waiting),)))
    day = f"day {status.day}" if status.day is not None else "not admitted yet"
    about = [sentence(f"{day}, {today:%d %b %Y}; {', '.join(status.phases) or status.standing}")]
    if status.holds:
        about.append(sentence(f"on hold: {', '.join(status.holds)}"))
    if later:
        about.append(f"{later} more open for later days.")
    return Section(f"{clean(status.patient)}: {clean(program.title)}", tuple(about), tuple(parts))


def _at(item: OpenItem) -> datetime:
    return item.due or item.opens


_STYLE = """
@page { size: A4; margin: 16mm }
body { font: 10.5pt/1.4 Georgia, serif; color: #111; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem }
h2 { font-size: 1.2rem; border-bottom: 1px solid #999 }
h3, h4, h5, h6 { font-size: 1rem }
h2, h3, h4, h5, h6 { break-after: avoid }
li, tr { break-inside: avoid }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
td, th { border: 1px solid #bbb; padding: .2rem .4rem; text-align: left; vertical-align: top }
.digest { font-family: monospace; overflow-wrap: anywhere }
.standing { border: 1px solid #111; padding: .5rem .8rem }
"""


def page(section: Section, program: Program, signed: SignOff | None = None) -> str:
    """One printable HTML page for clinical sign-off, with the whole digest that is signed."""
    if signed is None:
        standing = "Draft: nobody has signed these files off."
    else:
        on = f"{signed.at:%Y-%m-%d %H:%M} UTC"
        standing = (
            f"{signed.standing.capitalize()}. Signed by {signed.name} on {on}: {signed.meaning}."
        )
    head = escape(section.title)
    body = "\n".join(_html(section, 1))
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{head}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n"
        f'<p class="standing">{escape(program.id)} {escape(program.version)}. '
        f"{escape(standing)}<br>"
        f'Digest <span class="digest">{escape(program.digest)}</span></p>\n'
        f"{body}\n</body></html>\n"
    )


def _html(section: Section, level: int) -> Iterable[str]:
    yield f"<h{min(level, 6)}>{escape(section.title)}</h{min(level, 6)}>"
    for block in section.blocks:
        if isinstance(block, str):
            yield f"<p>{escape(block)}</p>"
        elif isinstance(block, Points):
            yield _list(block.points, block.numbered)
        else:
            cells = "".join(f"<th>{escape(cell)}</th>" for cell in block.head)
            yield f"<table><tr>{cells}</tr>"
            for row in block.rows:
                yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            yield "</table>"
    for part in section.parts:
        yield from _html(part, level + 1)


def _list(points: Iterable[Point], numbered: bool = False) -> str:
    tag = "ol" if numbered else "ul"
    items = []
    for point in points:
        lead = f"<b>{escape(point.lead)}</b> " if point.lead else ""
        under = _list(point.under) if point.under else ""
        items.append(f"<li>{lead}{escape(point.text)}{under}</li>")
    return f"<{tag}>{''.join(items)}</{tag}>"
