"""Steps and sessions: what is done, by whom, when, and what is watched meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from kat_workflow.errors import Place
from kat_workflow.language import grammar
from kat_workflow.language.dosing import Doses
from kat_workflow.language.findings import closest
from kat_workflow.language.layout import Held, Job, Layout
from kat_workflow.language.names import Path, Unit, in_words
from kat_workflow.language.reader import Document
from kat_workflow.language.words import Around, clock_time, duration, unless_always
from kat_workflow.program import PATIENT, model
from kat_workflow.program.clock import Duration

__all__ = ["OFTEN", "Parts"]


OFTEN = 10_000
"""How many openings a recurring step has at the most where its file says nothing."""


class Parts(Doses):
    """Builds the steps and the kinds of session of a program."""

    def __init__(self, layout: Layout, unit: Unit) -> None:
        super().__init__(layout, unit)
        self.steps: dict[str, model.Step] = {}
        self.earlier: dict[str, Place] = {}
        """What something was called in older versions, and where that is said."""

    # Steps

    def earlier_names(
        self, table: str, document: Document, written: Sequence[str], path: Path, prefix: str = ""
    ) -> tuple[str, ...]:
        """What something was called in older versions, and what is now called otherwise. A step
        and a form may share a name, now as before."""
        form = "form " if table == "forms" else ""
        for count, word in enumerate(written):
            at: Path = (*path, "renamed_from", count)
            full = prefix + word
            if full in self.names.tables[table]:
                message = f'"{word}" is still there: it is not what this was called'
                hint = "give the other one a name that none of an older version has"
                self.report.add(document, "renamed-twice", at, message, hint)
            elif form + full in self.earlier:
                message = f'two things cannot both have been "{word}"'
                hint = f"leave it with one of them; the other is at {self.earlier[form + full]}"
                self.report.add(document, "renamed-twice", at, message, hint)
            else:
                self.earlier[form + full] = document.place(at, on="key")[0]
        return tuple(prefix + word for word in written)

    def step(self, name: str, job: Job) -> model.Step:
        """A step, wherever it stands."""
        its, unit, path = job.written, job.unit, job.path
        around = self.around(job)
        inherited = self._inherited(job)
        number = next((key for key in _STEP_NUMBERS if getattr(its, key)), "")
        source = self.source(unit, its.source, path, number, inherited)
        kinds = [key for key in ("record", "obtain", "session", "order") if getattr(its, key)]
        if len(kinds) > 1:
            message = f"the step says {' and '.join(kinds)}; it can be only one of them"
            hint = "make a second step of it, `after` the first"
            self.report.add(
                unit.document, "ambiguous-step", (*path, kinds[1]), message, hint, on="key"
            )
        form = self._named("forms", unit, its.record, (*path, "record"))
        consent = self._named("consents", unit, its.obtain, (*path, "obtain"))
        session = self._named("sessions", unit, its.session, (*path, "session"))
        if session and job.owner_kind != "phase":
            message = "a session is held by a step of a phase"
            hint = "move the step into a phase"
            self.report.add(unit.document, "session-elsewhere", (*path, "session"), message, hint)
        signed = next((key for key in _SIGNATURES if getattr(its, key)), "")
        if session and signed:
            message = "a session is signed for at its release"
            hint = "say signed_by under release of the session"
            self.report.add(
                unit.document, "session-signed", (*path, signed), message, hint, on="key"
            )
        by = self.needed_roles(unit, its.by, (*path, "by"))
        if PATIENT in by and form and self.layout.forms[form].answered_by == "clinician":
            message = f"{form} is answered by a clinician, not by the patient"
            hint = "take patient out of by"
            at: Path = (*path, "by", its.by.index(PATIENT))
            self.report.add(unit.document, "not-for-patients", at, message, hint)
        group = self._named("groups", unit, its.group, (*path, "group"))
        if group and (session or job.owner_kind != "phase"):
            message = "only what a phase asks for is done in a group"
            hint = "say group: in the session's own kind, or on a step of a phase"
            self.report.add(unit.document, "group-elsewhere", (*path, "group"), message, hint)
        steps = {
            key: tuple(
                found
                for count, other in enumerate(getattr(its, key))
                if (found := self.names.find("steps", unit, other, (*path, key, count)))
            )
            for key in ("after", "different_person_from")
        }
        return model.Step(
            name=name,
            renamed_from=self.earlier_names(
                "steps", unit.document, its.renamed_from, path, unit.prefix
            ),
            title=its.title or in_words(name.rpartition(".")[2]),
            owner=job.owner,
            owner_kind=job.owner_kind,
            by=by,
            form=form,
            consent=consent,
            session=session,
            order=self.ordered(unit, its, path),
            signed=its.signed,
            cosigned_by=self.roles(unit, its.cosigned_by, (*path, "cosigned_by")),
            witnessed_by=self.roles(unit, its.witnessed_by, (*path, "witnessed_by")),
            read_by=self.roles(unit, its.read_by, (*path, "read_by")),
            different_person_from=steps["different_person_from"],
            after=steps["after"],
            only_if=self.test(unit, its.only_if, (*path, "only_if"), around),
            required=not its.optional,
            may_be=frozenset(its.may_be),
            counted_from=self.anchor(unit, its.counted_from, (*path, "counted_from")),
            opens=duration(its.opens),
            due=duration(its.due),
            closes=duration(its.closes),
            early_by=duration(its.early_by),
            quiet=its.quiet,  # type: ignore[arg-type]  # one of the words of its key
            on_day=its.on_day,
            at=clock_time(its.at),
            every=self._cadence(job, around),
            at_most=its.at_most or (OFTEN if its.every else 1),
            alerts=self.alerts(unit, its.alerts, (*path, "alerts"), name, around),
            when_late=self.tell(unit, its.when_late, (*path, "when_late")),
            on_hold=its.on_hold,  # type: ignore[arg-type]  # one of the words of its key
            part=job.part,
            if_skipped=self._if_skipped(job, form),
            source=source,
            about=its.about,
            place=self.place(unit, path),
            group=group,
        )

    def _inherited(self, job: Job) -> str:
        """The source of the session around a step covers its numbers."""
        table = self.layout.sources
        return job.source if job.source in table else ""

    def _named(self, table: str, unit: Unit, word: str, path: Path) -> str:
        return self.names.find(table, unit, word, path) or ""

    def _cadence(self, job: Job, around: Around) -> tuple[model.Cadence, ...]:
        found = []
        for count, row in enumerate(job.written.every):
            path: Path = (*job.path, "every", count)
            if row.interval and row.daily_at:
                at: Path = (*path, "daily_at")
                message = "a row cannot say both interval and daily_at"
                hint = "make a second row of it"
                self.report.add(job.unit.document, "cadence-pace", at, message, hint, on="key")
            elif not row.interval and not row.daily_at:
                message = "the row says no pace"
                hint = 'write interval: 4 h, or daily_at: ["09:00"]'
                self.report.add(job.unit.document, "cadence-pace", path, message, hint)
            test = self.test(job.unit, row.when, (*path, "when"), around)
            if count == len(job.written.every) - 1 and test is not None and not test.always:
                message = "the last row must hold always"
                hint = "add a last row with when: always, the tightest of all"
                self.report.add(job.unit.document, "cadence-open", (*path, "when"), message, hint)
            clocks = tuple(
                clock for each in row.daily_at if (clock := clock_time(each)) is not None
            )
            found.append(model.Cadence(duration(row.interval), clocks, unless_always(test)))
        return tuple(found)

    def _if_skipped(self, job: Job, form: str) -> dict[str, object]:
        """What fields read as when the step is skipped, each in its own type."""
        values: dict[str, object] = {}
        for key, word in job.written.if_skipped.items():
            path: Path = (*job.path, "if_skipped", key)
            asked = self.layout.forms[form].fields.get(key) if form else None
            if asked is None:
                message = f'the step records no field "{key}"'
                known = self.layout.forms[form].fields if form else ()
                self.report.add(
                    job.unit.document, "unknown-field", path, message, closest(key, known), on="key"
                )
            elif asked.type == "yes_no" and word in ("yes", "no"):
                values[key] = word == "yes"
            elif asked.type == "integer" and word.lstrip("-").isdecimal():
                values[key] = int(word)
            elif asked.type == "choice" and word in asked.options:
                values[key] = word
            elif asked.type == "choices" and word in asked.options:
                values[key] = [word]
            else:
                message = f'"{word}" is no answer to "{key}"'
                hint = closest(word, ("yes", "no") if asked.type == "yes_no" else asked.options)
                self.report.add(job.unit.document, "unknown-option", path, message, hint)
        return values

    # Sessions

    def session(self, name: str) -> model.SessionKind:
        """A kind of session; its watch becomes a step."""
        held = self.layout.kinds[name]
        its, unit, path = held.written, held.unit, held.path
        around = Around(self.held_in(name), name)
        number = next((key for key in _SESSION_NUMBERS if getattr(its, key)), "release")
        source = self.source(unit, its.source, path, number)
        ready = [
            self.test(unit, text, (*path, "ready", count), around)
            for count, text in enumerate(its.ready)
        ]
        before = tuple(unit.prefix + step for step in its.before)
        after = tuple(unit.prefix + step for step in its.after)
        watch = self._watch(name, around, source)
        steps = tuple(
            step
            for step in (*before, *([watch.step] if watch else []), *after)
            if step in self.steps
        )
        earliest = duration(its.release.earliest)
        at_most = None
        if its.at_most is not None:
            at_most = model.Spacing(its.at_most.times, its.at_most.per)  # type: ignore[arg-type]
        if its.dose is not None and its.watch is None:
            message = "something is given here, but nobody watches afterwards"
            hint = "add watch: who records what, at which minutes"
            self.report.add(
                unit.document, "dose-without-monitoring", (*path, "dose"), message, hint, on="key"
            )
        if its.sedating and its.dose is None:
            message = "the session is said to sedate, but nothing is given in it"
            hint = "say what is given (dose:), or take sedating out"
            self.report.add(
                unit.document, "sedating-without-dose", (*path, "sedating"), message, hint, on="key"
            )
        if its.no_shows is not None and its.no_shows < 1:
            message = f"somebody must look after {its.no_shows} no-shows: that is always"
            self.report.add(
                unit.document, "impossible-range", (*path, "no_shows"), message, "write 3"
            )
        for key in ("alerts", "pause_when", "stop_when"):
            for count, row in enumerate(getattr(its, key)):
                if row.recheck and its.watch is None:
                    at: Path = (*path, key, count, "recheck")
                    message = "nobody watches this session, so that nobody can look again"
                    hint = "add watch: who records what, at which minutes"
                    self.report.add(unit.document, "half-a-call", at, message, hint, on="key")
        return model.SessionKind(
            name=name,
            title=its.title or in_words(name.rpartition(".")[2]),
            ready=tuple(test for test in ready if test is not None),
            present=self.roles(unit, its.present, (*path, "present")),
            steps=steps,
            before=tuple(step for step in before if step in self.steps),
            after=tuple(step for step in after if step in self.steps),
            dose=self.dose(held, source),
            at_most=at_most,
            apart=duration(its.apart),
            watch=watch,
            pause_when=self._session_rules(held, name, "pause", around),
            stop_when=self._session_rules(held, name, "stop", around),
            alerts=self.alerts(unit, its.alerts, (*path, "alerts"), name, around),
            release=model.Release(
                earliest or Duration(0, "min"),
                self.test(unit, its.release.when, (*path, "release", "when"), around),
                self.needed_roles(unit, its.release.signed_by, (*path, "release", "signed_by")),
                self.place(unit, (*path, "release")),
            ),
            counts_when=unless_always(
                self.test(unit, its.counts_when, (*path, "counts_when"), around)
            ),
            no_show_after=duration(its.no_show_after),
            short_notice=duration(its.short_notice),
            no_shows=its.no_shows or 0,
            plan_within=self._plan_within(held),
            by=self.needed_roles(unit, its.by, (*path, "by")),
            source=source,
            about=its.about,
            place=self.place(unit, path),
            sedating=its.sedating,
            group=self._named("groups", unit, its.group, (*path, "group")),
        )

    def group(self, name: str) -> model.GroupKind:
        """A kind of group; its numbers are whole and more than nothing."""
        unit, its = self.layout.groups[name]
        path: Path = ("groups", name.removeprefix(unit.prefix))
        source = self.source(unit, its.source, path, "capacity")
        self._at_least(unit, (*path, "capacity"), its.capacity, 1)
        self._at_least(unit, (*path, "minimum"), its.minimum, 1)
        if its.minimum > its.capacity >= 1:
            message = f"{its.minimum} members never fit on {its.capacity} seats"
            self.report.add(
                unit.document, "impossible-range", (*path, "minimum"), message, "lower it"
            )
        staff = []
        for count, ratio in enumerate(its.staff):
            at: Path = (*path, "staff", count)
            self._at_least(unit, (*at, "one_per"), ratio.one_per, 1)
            role = self.names.find("roles", unit, ratio.role, (*at, "role"))
            if role is not None:
                staff.append(model.StaffRatio(role, ratio.one_per))
        override: tuple[str, ...] = ()
        if its.override is not None:
            override = self.needed_roles(unit, its.override.by, (*path, "override", "by"))
        return model.GroupKind(
            name=name,
            title=its.title or in_words(name.rpartition(".")[2]),
            capacity=its.capacity,
            minimum=its.minimum,
            lasts=duration(its.lasts) or Duration(0, "min"),
            by=self.needed_roles(unit, its.by, (*path, "by")),
            rooms=tuple(its.rooms),
            staff=tuple(staff),
            override_by=override,
            source=source,
            about=its.about,
            place=self.place(unit, path),
        )

    def _at_least(self, unit: Unit, path: Path, number: int, least: int) -> None:
        if number < least and self.stands(unit, path) is not None:
            message = f"{number} is too few"
            hint = f"write {least} or more"
            self.report.add(unit.document, "impossible-range", path, message, hint)

    def _watch(self, name: str, around: Around, source: str) -> model.Watch | None:
        """The watch of a session, and the step that its readings are."""
        held = self.layout.kinds[name]
        its, unit, path = held.written.watch, held.unit, (*held.path, "watch")
        if its is None:
            return None
        full = f"{name}.watch"
        early_by = duration(its.early_by)
        at = tuple(span for each in its.at if (span := duration(each)) is not None)
        if any(a.seconds >= b.seconds for a, b in pairwise(at)):
            message = "the readings are not in the order in which they are taken"
            self.report.add(
                unit.document, "watch-order", (*path, "at"), message, "write the earliest first"
            )
        self.steps[full] = model.Step(
            name=full,
            title=f"Watch: {held.written.title or in_words(name.rpartition('.')[2])}",
            owner=name,
            owner_kind="session",
            by=self.needed_roles(unit, its.by, (*path, "by")),
            form=self._named("forms", unit, its.record, (*path, "record")),
            when_late=self.tell(unit, its.when_late, (*path, "when_late")),
            on_hold="runs",
            part="watch",
            at_most=OFTEN,
            early_by=early_by,
            source=source,
            place=self.place(unit, path),
        )
        then_every, late_after = duration(its.then_every), duration(its.late_after)
        during_every = duration(its.during_every)
        if then_every is None or late_after is None:
            return None
        gaps = [b.seconds - a.seconds for a, b in pairwise(at)]
        for key, pace in (("during_every", during_every), ("then_every", then_every)):
            if pace is not None:
                gaps.append(pace.seconds)
                if pace.seconds == 0:
                    message = "readings every 0 minutes never end"
                    self.report.add(
                        unit.document, "impossible-range", (*path, key), message, "say 15 min"
                    )
        if early_by is not None and min(gaps) > 0 and early_by.seconds >= min(gaps):
            message = "one reading would count for two"
            hint = "write less than the shortest time between two readings"
            self.report.add(unit.document, "impossible-range", (*path, "early_by"), message, hint)
        return model.Watch(full, at, then_every, late_after, during_every)

    def _plan_within(self, held: Held) -> Duration | None:
        """The latest that a next session is proposed: not before the earliest."""
        its, at = held.written, (*held.path, "plan_within")
        apart, within = duration(its.apart), duration(its.plan_within)
        if apart is not None and within is not None and within.seconds < apart.seconds:
            message = f"within {within} and at least {apart} apart cannot both be"
            self.report.add(held.unit.document, "impossible-range", at, message, "write more")
        return within

    def _session_rules(
        self, held: Held, name: str, what: Literal["pause", "stop"], around: Around
    ) -> tuple[model.SessionRule, ...]:
        found = []
        rules: list[grammar.SessionRule] = getattr(held.written, f"{what}_when")
        for count, rule in enumerate(rules):
            path: Path = (*held.path, f"{what}_when", count)
            test = self.test(held.unit, rule.when, (*path, "when"), around, "stop")
            tell = self.roles(held.unit, rule.tell, (*path, "tell"))
            recheck = self.recheck(held.unit, rule, path)
            then = self.then(held.unit, rule, path)
            if test is not None:
                found.append(
                    model.SessionRule(
                        f"{name}.{what}.{count + 1}",
                        rule.says,
                        test,
                        tell,
                        duration(rule.answer_within),
                        then,
                        recheck,
                        self.place(held.unit, (*path, "when")),
                    )
                )
        return tuple(found)


_STEP_NUMBERS = ("opens", "due", "closes", "early_by", "every", "on_day", "at", "when_late")
"""Keys of a step whose numbers need a source."""

_SIGNATURES = ("signed", "cosigned_by", "witnessed_by")
"""Keys of a step that ask for signatures."""

_SESSION_NUMBERS = (
    "dose",
    "at_most",
    "apart",
    "plan_within",
    "watch",
    "no_show_after",
    "no_shows",
    "short_notice",
    "release",
)
