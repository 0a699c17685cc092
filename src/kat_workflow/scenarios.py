"""Scenario files: a patient's way through a program, told step by step, run by the real engine.

A scenario is a YAML file that a clinician can read: what happens, who does it, when, and what is
expected then. It runs in virtual time against an engine with a journal in memory. What it did is
compared with the program, so that rows, gates and steps that no scenario has seen can be named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from attrs import define, field, frozen

from kat_workflow.engine import Engine, Happened, MemberOutcome, Status
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Actor
from kat_workflow.enrollment.state import Tally
from kat_workflow.errors import KatError, ProgramError, Refusal, Refused
from kat_workflow.journal import Journal, open_journal
from kat_workflow.language.library import Library
from kat_workflow.language.reader import read
from kat_workflow.program.clock import Site, at_clock, parse_duration, plus, site_from
from kat_workflow.program.model import Program

__all__ = [
    "Coverage",
    "Mismatch",
    "Result",
    "Scenario",
    "broken_rules",
    "find",
    "load_scenario",
    "run",
]

_DAY = re.compile(r"day ([0-9]{1,4}) ([0-9]{2}:[0-9]{2})")
_TOP = {"scenario", "about", "starts", "site", "sites", "people", "steps", "program"}
_STEP = {
    "enroll",
    "program",
    "do",
    "receive",
    "merge",
    "unmerge",
    "pass",
    "at",
    "after",
    "by",
    "with",
    "signed",
    "role",
    "emergency",
    "occurred",
    "expect",
    "refused",
    "as",
    "for",
    "group",
}
_GROUP = {
    "plan",
    "join",
    "drop",
    "move",
    "start",
    "do",
    "call_off",
    "in",
    "as",
    "when",
    "room",
    "reason",
    "regardless",
    "step",
}
_MERGED = {"duplicate", "into", "reason"}
_PRODUCT = ("form", "strength", "container", "schedule")
_RECEIVED = {"drug", "lot", "amount", "supplier", "expires", "containers", "witness", *_PRODUCT}
_EXPECT = {
    "phase",
    "open",
    "not_open",
    "standing",
    "late",
    "settled",
    "end",
    "sessions",
    "missed",
    "assigned",
    "holds",
    "day",
    "deviations",
    "alerts",
    "questioned",
    "escalated",
    "facts",
    "group",
}


class BadScenario(KatError):
    """A scenario file that cannot be read; the text names the place."""


@frozen
class Scenario:
    """A scenario as read: `steps` are plain mappings, `lines` the line each begins at, `others`
    the sites beside the one where it begins."""

    file: str
    name: str
    program: str
    about: str
    starts: datetime
    site: Site
    people: Mapping[str, Actor]
    steps: tuple[Mapping[str, Any], ...]
    lines: tuple[int, ...]
    others: tuple[Site, ...] = ()

    def instant(self, text: str) -> datetime:
        """`day 3 08:00`, counted from the date of `starts`, or a date and a clock time."""
        return _instant(text, self.starts, self.site, Path(self.file))

    def time_of(self, step: Mapping[str, Any], before: datetime, line: int = 1) -> datetime:
        """When a step happens, `before` being when the one before it did."""
        text = str(step.get("at", step.get("after", step.get("pass", ""))))
        if not text:
            return before
        if "at" in step or "until" in text:
            return self.instant(text.removeprefix("until "))
        lasts = parse_duration(text)
        if lasts is None:
            raise BadScenario(f'{self.file}:{line}: "{text}" is no duration')
        return plus(before, lasts, self.site)

    def person(self, name: str) -> Actor:
        """Somebody of `people:`, or whoever has the role of that name."""
        return self.people.get(name) or Actor(name, frozenset({name}))


@frozen
class Mismatch:
    """What was expected at a line, and what was."""

    file: str
    line: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: expected {self.expected}; found {self.found}"


@define
class Coverage:
    """What scenarios have seen of a program: phases entered, rows gone, steps opened and settled,
    sessions, ends, gates that refused, timers that ran."""

    phases: set[str] = field(factory=set)
    rows: set[str] = field(factory=set)
    steps: set[str] = field(factory=set)
    outcomes: set[tuple[str, str]] = field(factory=set)
    sessions: set[tuple[str, str]] = field(factory=set)
    ends: set[str] = field(factory=set)
    closed_gates: set[str] = field(factory=set)
    timers: set[str] = field(factory=set)

    def add(self, happened: Iterable[Happened]) -> None:
        """Take in what happened in a run."""
        for each in happened:
            event = each.event
            if isinstance(event, e.PhaseEntered):
                self.phases.add(event.phase)
                if event.row:
                    self.rows.add(event.row)
            elif isinstance(event, e.PhaseLeft):
                self.rows.add(event.row)
            elif isinstance(event, e.ItemOpened) and event.step:
                self.steps.add(event.step)
            elif isinstance(event, e.ItemSettled) and event.step:
                self.outcomes.add((event.step, event.outcome))
            elif isinstance(event, e.SessionReleased):
                self.sessions.add((event.session.rpartition(".")[0], event.final))
            elif isinstance(event, e.Discharged):
                self.ends.add(event.end)
                self.rows.add(event.row)
            elif isinstance(event, e.TimerElapsed):
                self.timers.add(event.timer.partition("/")[2].partition("@")[0].rpartition("/")[2])

    def merge(self, other: Coverage) -> None:
        """Take in another run's coverage."""
        for name in (
            "phases",
            "rows",
            "steps",
            "outcomes",
            "sessions",
            "ends",
            "closed_gates",
            "timers",
        ):
            getattr(self, name).update(getattr(other, name))

    def missing(self, program: Program) -> dict[str, list[str]]:
        """What no scenario has seen: phases, ways (rows of `next`), steps, sessions, ends, and
        gates of sessions that never refused a start."""
        ready = {g for kind in program.sessions.values() for test in kind.ready for g in test.gates}
        return {
            "phases": [x for x in program.phases if x not in self.phases],
            "ways": [
                row.name
                for phase in program.phases.values()
                for row in phase.next
                if row.name not in self.rows
            ],
            "steps": [x for x in program.steps if x not in self.steps],
            "sessions": [x for x in program.sessions if (x, "released") not in self.sessions],
            "ends": [x for x, end in program.ends.items() if end.declared and x not in self.ends],
            "gates": [x for x in program.gates if x in ready and x not in self.closed_gates],
        }


@frozen
class Result:
    """What a scenario did: nothing in `mismatches` means that it passed."""

    scenario: Scenario
    mismatches: tuple[Mismatch, ...]
    happened: tuple[Happened, ...]
    coverage: Coverage

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.mismatches


def find(folder: Path) -> list[Path]:
    """The scenario files of a program's folder, by name."""
    return sorted(folder.glob("scenarios/*.yaml"))


def load_scenario(path: Path, text: str | None = None) -> Scenario:
    """Read a scenario file. Raises BadScenario naming the place."""
    content = path.read_bytes() if text is None else text
    try:
        document = read(str(path), content)
    except ProgramError as error:
        raise BadScenario(str(error)) from error
    data = document.data
    if not isinstance(data, Mapping):
        raise BadScenario(f"{path}:1: a scenario is a mapping")
    _known(data, _TOP, path, 1, "scenario")
    for needed in ("scenario", "starts", "steps"):
        if needed not in data:
            raise BadScenario(f'{path}:1: "{needed}:" is missing')
    place = data.get("site") or {}
    try:
        site = site_from(str(place.get("name", "main")), place)
        others = tuple(site_from(str(x), y or {}) for x, y in (data.get("sites") or {}).items())
    except ValueError as error:
        raise BadScenario(f"{path}: site: {error}") from error
    steps = tuple(data["steps"])
    lines = tuple(document.place(("steps", at), "value")[0].line for at in range(len(steps)))
    for step, line in zip(steps, lines, strict=True):
        if not isinstance(step, Mapping):
            raise BadScenario(f"{path}:{line}: a step is a mapping")
        _known(step, _STEP, path, line, "step")
        _known(step.get("expect") or {}, _EXPECT, path, line, "expect")
        _known(step.get("receive") or {}, _RECEIVED, path, line, "receive")
        _known(step.get("group") or {}, _GROUP, path, line, "group")
        for act in ("merge", "unmerge"):
            _known(step.get(act) or {}, _MERGED, path, line, act)
    starts = _local(str(data["starts"]), site, path)
    program = data.get("program") or path.resolve().parent.parent.name
    return Scenario(
        str(path),
        str(data["scenario"]),
        str(program),
        str(data.get("about", "")),
        starts,
        site,
        {
            name: _person(name, about, starts, site, path)
            for name, about in (data.get("people") or {}).items()
        },
        steps,
        lines,
        others,
    )


def _person(name: str, about: Any, starts: datetime, site: Site, path: Path) -> Actor:
    """Somebody of `people:`: a list of roles, or a mapping that says more."""
    if not isinstance(about, Mapping):
        return Actor(name, frozenset(about))
    _known(about, {"roles", "name", "until", "sites", "covers"}, path, 1, "person")
    until = {
        role: _instant(str(at), starts, site, path)
        for role, at in (about.get("until") or {}).items()
    }
    return Actor(
        name,
        frozenset(about.get("roles") or ()),
        str(about.get("name", "")),
        until,
        frozenset(about.get("sites") or ()),
        dict(about.get("covers") or {}),
    )


def _known(data: Mapping[str, Any], known: set[str], path: Path, line: int, what: str) -> None:
    for key in data:
        if key not in known:
            raise BadScenario(
                f'{path}:{line}: {what} has no "{key}"; it has: {", ".join(sorted(known))}'
            )


def _local(text: str, site: Site, path: Path) -> datetime:
    try:
        wall = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadScenario(f'{path}: "{text}" is no date and clock time') from error
    return wall.replace(tzinfo=ZoneInfo(site.zone)).astimezone(UTC)


def _instant(text: str, starts: datetime, site: Site, path: Path) -> datetime:
    """`day 3 08:00`, counted from the date of `starts`, or a date and a clock time."""
    found = _DAY.fullmatch(text)
    if found is None:
        return _local(text, site, path)
    first: date = starts.astimezone(ZoneInfo(site.zone)).date()
    day = first + timedelta(days=int(found[1]) - 1)
    return at_clock(day, time.fromisoformat(found[2]), site)


Teller = Callable[[Mapping[str, Any], datetime, Engine, str, Refusal | None], None]
"""Told after each step: the step, its instant, the engine, the enrollment, and a refusal."""


def run(
    scenario: Scenario,
    library: Library,
    journal: Journal | None = None,
    tell: Teller | None = None,
) -> Result:
    """Run a scenario through the real engine in virtual time.

    The journal is in memory if none is given; `tell` is called after each step.
    """
    return _Runner(scenario, library, journal or open_journal(), tell).run()


class _Runner:
    def __init__(
        self, scenario: Scenario, library: Library, journal: Journal, tell: Teller | None
    ) -> None:
        self.scenario = scenario
        self.tell = tell
        self.now = scenario.starts
        self.engine = Engine(journal, library, lambda: self.now, (scenario.site, *scenario.others))
        self.enrollment = ""
        self.enrollments: dict[str, str] = {}
        self.programs: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        self.group = ""
        self.mismatches: list[Mismatch] = []
        self.coverage = Coverage()
        self.line = 1
        self.seen: dict[str, int] = {}

    def run(self) -> Result:
        for step, line in zip(self.scenario.steps, self.scenario.lines, strict=True):
            self.line = line
            try:
                self._step(step)
            except KatError as error:
                text = error.explanation if isinstance(error, Refused) else str(error)
                self._differ("no refusal", text)
        told: list[Happened] = []
        for enrollment in self.enrollments.values():
            happened = self.engine.history(enrollment)
            if self.programs[enrollment] == self.scenario.program:
                self.coverage.add(happened)
            program = self.engine.program(self.programs[enrollment])
            for rule in broken_rules(program, happened, self.now, self.scenario.site):
                says = "nothing followed in time and nobody was called"
                self._differ(f"rule {rule}", says)
            told += happened
        return Result(self.scenario, tuple(self.mismatches), tuple(told), self.coverage)

    def _differ(self, expected: object, found: object) -> None:
        self.mismatches.append(Mismatch(self.scenario.file, self.line, str(expected), str(found)))

    def _step(self, step: Mapping[str, Any]) -> None:
        self._move_clock(step)
        if self.enrollment:
            self.engine.run_due()
        refused: Refusal | None = None
        if "for" in step:
            self.enrollment = self._patient(step["for"])
        try:
            if "enroll" in step:
                self._enroll(step)
            elif "group" in step:
                refused = self._group(step)
            elif "do" in step:
                self.engine.do(
                    self.enrollment,
                    str(step["do"]),
                    by=self._actor(step),
                    given=self._given(step),
                    signed=bool(step.get("signed", False)),
                    occurred=self._occurred(step),
                    role=str(step.get("role", "")),
                    emergency=str(step.get("emergency", "")),
                )
            elif "receive" in step:
                self._receive(step)
            elif "merge" in step:
                self.engine.merge(**self._merged(step, "merge"))
            elif "unmerge" in step:
                self.engine.unmerge(**self._merged(step, "unmerge"))
        except Refused as error:
            if "refused" not in step:
                raise
            refused = error.refusal
        if self.tell is not None and self.enrollment:
            self.tell(step, self.now, self.engine, self.enrollment, refused)
        if "refused" in step:
            self._check_refusal(step["refused"], refused)
        if "expect" in step:
            self._expect(step["expect"] or {})

    def _receive(self, step: Mapping[str, Any]) -> None:
        said = {key: str(value) for key, value in step["receive"].items()}
        expires = said.get("expires")
        self.engine.receive(
            said.get("drug", ""),
            said.get("lot", ""),
            said.get("amount", ""),
            by=self._actor(step),
            site=self.scenario.site.name,
            supplier=said.get("supplier", ""),
            expires=None if expires is None else date.fromisoformat(expires),
            product=e.Product(**{key: said[key] for key in _PRODUCT if key in said}),
            containers=int(said.get("containers", 0)),
            witness=said.get("witness", ""),
        )

    def _merged(self, step: Mapping[str, Any], act: str) -> dict[str, Any]:
        """The two ids of one patient, as the engine takes them."""
        said = {key: str(value) for key, value in step[act].items()}
        return {
            "survivor": said.get("into", ""),
            "duplicate": said.get("duplicate", ""),
            "by": self._actor(step),
            "reason": said.get("reason", ""),
        }

    def _enroll(self, step: Mapping[str, Any]) -> None:
        """One more patient, or one more program of a patient; the others are `for:` from now on."""
        program = str(step.get("program", self.scenario.program))
        name = str(step.get("as", step["enroll"]))
        once = f"scenario:{self.scenario.name}"
        self.enrollment = self.engine.enroll(
            program,
            patient=str(step["enroll"]),
            by=self._actor(step),
            site=self.scenario.site.name,
            command_id=f"{once}:{name}" if self.enrollments else once,
        )
        self.enrollments[name] = self.enrollment
        self.programs[self.enrollment] = program

    def _patient(self, name: object) -> str:
        if str(name) not in self.enrollments:
            known = ", ".join(self.enrollments)
            where = f"{self.scenario.file}:{self.line}"
            raise BadScenario(f'{where}: nobody was enrolled as "{name}"; known: {known}')
        return self.enrollments[str(name)]

    def _group(self, step: Mapping[str, Any]) -> Refusal | None:
        """What is done with a group; the refusal of a member of it, if any was refused."""
        act, by = step["group"], self._actor(step)
        if "in" in act:
            self.group = self.groups.get(str(act["in"]), str(act["in"]))
        room = None if "room" not in act else str(act["room"])
        reason = str(act.get("reason", ""))
        answers: tuple[MemberOutcome, ...] = ()
        if "plan" in act:
            self.group = self.engine.plan_group(
                self.scenario.program,
                str(act["plan"]),
                self.scenario.instant(str(act.get("when", ""))) if "when" in act else self.now,
                by=by,
                room=room or "",
                site=self.scenario.site.name,
                command_id=f"scenario:{self.scenario.name}:{self.line}",
            )
            self.groups[str(act.get("as", act["plan"]))] = self.group
        elif "join" in act:
            item = str(act.get("step", ""))
            self.engine.join_group(self.group, self._patient(act["join"]), by=by, item=item)
        elif "drop" in act:
            self.engine.drop_out(self.group, self._patient(act["drop"]), reason, by=by)
        elif "move" in act:
            when = self.scenario.instant(str(act["move"]))
            answers = self.engine.move_group(self.group, by=by, when=when, room=room)
        elif "start" in act:
            self.engine.start_group(
                self.group,
                by=by,
                present=[self.scenario.person(str(name)) for name in act["start"] or ()],
                regardless=str(act.get("regardless", "")),
            )
        elif "call_off" in act:
            answers = self.engine.call_off(self.group, str(act["call_off"]), by=by)
        else:
            answers = self.engine.group_do(
                self.group,
                str(act.get("do", "")),
                by=by,
                given=self._given(step),
                signed=bool(step.get("signed", False)),
                occurred=self._occurred(step),
                role=str(step.get("role", "")),
            )
        refusals = [each.refusal for each in answers if each.refusal is not None]
        if refusals and "refused" not in step:
            raise Refused(refusals[0])
        return refusals[0] if refusals else None

    def _move_clock(self, step: Mapping[str, Any]) -> None:
        to = self.scenario.time_of(step, self.now, self.line)
        if to < self.now:
            self._differ("time that does not fall", step.get("at") or step.get("pass"))
        else:
            self.now = to

    def _occurred(self, step: Mapping[str, Any]) -> datetime | None:
        return self.scenario.instant(str(step["occurred"])) if "occurred" in step else None

    def _actor(self, step: Mapping[str, Any]) -> Actor:
        return self.scenario.person(str(step.get("by", "")))

    def _given(self, step: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(step.get("with") or {})
        if "for" in given:
            given["for"] = self.scenario.instant(str(given["for"]))
        if isinstance(given.get("values"), Mapping):  # of a correction
            given["values"] = self._instants(given["values"])
        return self._instants(given)

    def _instants(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The details of a phrase, clock times of the story as instants."""
        return {
            key: self.scenario.instant(value)
            if isinstance(value, str) and _DAY.fullmatch(value)
            else value
            for key, value in given.items()
        }

    def _check_refusal(self, wanted: object, refused: Refusal | None) -> None:
        if wanted is None:
            if refused is not None:
                self._differ("no refusal", refused.explanation)
            return
        if refused is None:
            self._differ(f"a refusal ({wanted})", "it was carried out")
            return
        for reason in refused.reasons:
            if reason.gate:
                self.coverage.closed_gates.add(reason.gate)
                self.coverage.closed_gates.update(
                    clause.text.partition(":")[0] for clause in reason.clauses if ":" in clause.text
                )
        want = wanted if isinstance(wanted, Mapping) else {"code": str(wanted)}
        for reason in refused.reasons:
            if all(
                (key == "says" and str(value) in reason.says)
                or (key != "says" and getattr(reason, key, None) == value)
                for key, value in want.items()
            ):
                return
        self._differ(f"a refusal with {dict(want)}", refused.explanation)

    def _expect(self, expect: Mapping[str, Any]) -> None:
        status = self.engine.status(self.enrollment)
        happened = self.engine.history(self.enrollment, self.seen.get(self.enrollment, 0))
        for key, wanted in expect.items():
            check = getattr(self, f"_expect_{key}")
            check(wanted, status, happened)
        if happened:
            self.seen[self.enrollment] = happened[-1].version

    def _expect_phase(self, wanted: object, status: Status, _: object) -> None:
        names = [wanted] if isinstance(wanted, str) else list(wanted or ())  # type: ignore[call-overload]
        active = self.engine.enrollment(self.enrollment).visits
        missing = [n for n in names if not any(a == n or a.endswith("." + n) for a in active)]
        if missing:
            self._differ(f"to be in {missing}", f"in {list(active)}")

    def _expect_open(self, wanted: Iterable[str], status: Status, _: object) -> None:
        items = [item for item in status.items if item.timeliness != "early"]
        open_ = [item.step or item.item for item in items]
        about = [item.title.partition(": ")[2] for item in items if not item.step]
        for name in wanted:
            if not any(o == name or o.endswith("." + name) for o in (*open_, *about)):
                self._differ(f"{name} open", f"open: {open_}")

    def _expect_not_open(self, wanted: Iterable[str], status: Status, _: object) -> None:
        items = [item for item in status.items if item.timeliness != "early"]
        open_ = [item.step or item.title.partition(": ")[2] for item in items]
        for name in wanted:
            if any(o == name or o.endswith("." + name) for o in open_):
                self._differ(f"{name} not open", f"open: {open_}")

    def _expect_late(self, wanted: Iterable[str], status: Status, _: object) -> None:
        late = sorted(item.step for item in status.items if item.timeliness == "late")
        if late != sorted(wanted):
            self._differ(f"late: {sorted(wanted)}", f"late: {late}")

    def _expect_standing(self, wanted: str, status: Status, _: object) -> None:
        if status.standing != wanted:
            self._differ(f"standing {wanted}", status.standing)

    def _expect_end(self, wanted: str | None, status: Status, _: object) -> None:
        if status.end != (wanted or ""):
            self._differ(f"end {wanted}", status.end or "no end")

    def _expect_day(self, wanted: int, status: Status, _: object) -> None:
        if status.day != wanted:
            self._differ(f"program day {wanted}", status.day)

    def _expect_assigned(self, wanted: Mapping[str, str | None], status: Status, _: object) -> None:
        for name, person in wanted.items():
            whose = [
                item.assigned
                for item in status.items
                if (item.step or item.item) == name or item.step.endswith("." + name)
            ]
            if (person or "") not in whose:
                self._differ(f"{name} with {person or 'nobody'}", whose or "not open")

    def _expect_holds(self, wanted: int, status: Status, _: object) -> None:
        if len(status.holds) != wanted:
            self._differ(f"{wanted} holds", list(status.holds))

    def _expect_settled(self, wanted: Mapping[str, str], _: Status, __: object) -> None:
        """How each step was last settled, in whichever visit."""
        settled = {
            each.event.step: each.event.outcome
            for each in self.engine.history(self.enrollment)
            if isinstance(each.event, e.ItemSettled)
        }
        for name, outcome in wanted.items():
            found = [its for n, its in settled.items() if n == name or n.endswith("." + name)]
            if outcome not in found:
                self._differ(f"{name} {outcome}", found or "not settled")

    def _expect_missed(
        self, wanted: Iterable[str], _: Status, happened: tuple[Happened, ...]
    ) -> None:
        missed = [
            x.event.step
            for x in happened
            if isinstance(x.event, e.ItemSettled) and x.event.outcome == "missed"
        ]
        if not wanted and missed:
            self._differ("nothing missed", f"missed since the last look: {missed}")
        for name in wanted:
            if not any(m == name or m.endswith("." + name) for m in missed):
                self._differ(f"{name} missed", f"missed since the last look: {missed}")

    def _expect_alerts(
        self, wanted: Iterable[str], _: Status, happened: tuple[Happened, ...]
    ) -> None:
        raised = [x.event.alert for x in happened if isinstance(x.event, e.AlertRaised)]
        if not wanted and raised:
            self._differ("no alerts", f"alerts since the last look: {raised}")
        for name in wanted:
            if not any(name in alert for alert in raised):
                self._differ(f"alert {name}", f"alerts since the last look: {raised}")

    def _expect_escalated(
        self, wanted: Iterable[str], _: Status, happened: tuple[Happened, ...]
    ) -> None:
        """Exactly these calls went on to others."""
        found = [x.event.alert for x in happened if isinstance(x.event, e.AlertEscalated)]
        names = list(wanted)
        missing = [name for name in names if not any(name in alert for alert in found)]
        others = [alert for alert in found if not any(name in alert for name in names)]
        if missing or others:
            self._differ(f"escalated: {names}", f"escalated since the last look: {found}")

    def _expect_deviations(
        self, wanted: Iterable[str], _: Status, happened: tuple[Happened, ...]
    ) -> None:
        noted = [x.event.code for x in happened if isinstance(x.event, e.DeviationNoted)]
        if not wanted and noted:
            self._differ("no deviations", f"deviations since the last look: {noted}")
        for code in wanted:
            if code not in noted:
                self._differ(f"deviation {code}", f"deviations since the last look: {noted}")

    def _expect_questioned(
        self, wanted: Iterable[str], _: Status, happened: tuple[Happened, ...]
    ) -> None:
        """Decisions that came into question: `start drip`, `move screening`."""
        found = [x.event for x in happened if isinstance(x.event, e.DecisionQuestioned)]
        said = [f"{event.decision} {event.what}" for event in found]
        for name in wanted:
            if not any(name in each for each in said):
                self._differ(f"{name} questioned", f"questioned since the last look: {said}")
        if not wanted and said:
            self._differ("no decision questioned", said)

    def _expect_sessions(
        self, wanted: Mapping[str, Mapping[str, int]], _: Status, __: object
    ) -> None:
        tallies = self.engine.enrollment(self.enrollment).tallies
        program = self.engine.program(self.programs[self.enrollment])
        for name, numbers in wanted.items():
            full = program.find("sessions", name) or name
            for what, number in numbers.items():
                found = getattr(tallies.get(full, Tally()), what)
                if found != number:
                    self._differ(f"{number} sessions {name} {what}", found)

    def _expect_group(self, wanted: Mapping[str, Any], _: Status, __: object) -> None:
        """The group as it stands: its state, how many have a seat, wait or were offered one."""
        group = self.engine.group(self.group)
        found = {
            "state": group.state,
            "room": group.room,
            "members": len(group.among("in")),
            "waiting": len(group.among("waiting")),
            "offered": len(group.among("offered")),
        }
        for what, value in wanted.items():
            if found.get(what) != value:
                self._differ(f"group {what} {value}", found.get(what, f"no {what}"))

    def _expect_facts(self, wanted: Mapping[str, Any], _: Status, __: object) -> None:
        """What was last recorded, as it was corrected: `form.field` or `step.field`."""
        recorded = [
            each.newest for each in self.engine.records(self.enrollment) if each.retracted is None
        ]
        for fact, value in wanted.items():
            name, _dot, key = fact.rpartition(".")
            kept = [x.values.get(key) for x in recorded if name in (x.form, x.step)]
            found = kept[-1] if kept else None
            if found != value:
                self._differ(f"{fact} {value}", found)


def broken_rules(
    program: Program, happened: Sequence[Happened], now: datetime, site: Site
) -> list[str]:
    """The `always_after` rules that a record breaks, by name, once for each time: what should
    have followed did not in time, nor was anybody called or the patient discharged by then."""
    return [
        rule.name
        for rule in program.always_after
        for each in happened
        if (at := _moment(each.event, rule.source)) is not None
        and now > (by := plus(at, rule.within, site))
        and not any(
            (then := _moment(x.event, rule.then)) is not None and at <= then <= by for x in happened
        )
        and not any(
            isinstance(x.event, e.AlertRaised | e.Discharged) and at <= x.recorded <= by
            for x in happened
        )
    ]


def _moment(event: e.Event, moment: tuple[str, str]) -> datetime | None:
    name, what = moment
    if isinstance(event, e.DoseGiven) and what in ("given", "dosed") and event.first:
        return event.at if event.session.rpartition(".")[0] == name else None
    if isinstance(event, e.SessionStarted) and what == "started":
        return event.at if event.session.rpartition(".")[0] == name else None
    if isinstance(event, e.SessionReleased) and what == "released":
        return event.at if event.session.rpartition(".")[0] == name else None
    if isinstance(event, e.ItemSettled) and what == event.outcome and event.step == name:
        return event.at
    return None
