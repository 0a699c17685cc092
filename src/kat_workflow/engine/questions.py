"""Questions: where a patient stands, what is to be done, what happened. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kat_workflow.engine.receiving import refuse
from kat_workflow.engine.shell import Shell, around_site, explained, stream_of
from kat_workflow.engine.views import (
    Deviation,
    Happened,
    OpenItem,
    Outbox,
    Page,
    Resident,
    Shift,
    Status,
    Waiting,
    as_happened,
    event_of,
)
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Around, Past
from kat_workflow.enrollment.booking import Slot, next_slot
from kat_workflow.enrollment.commands import Actor, Command
from kat_workflow.enrollment.decide import Decision, catch_up, decide
from kat_workflow.enrollment.escalating import TOLD, Notification, notification
from kat_workflow.enrollment.moving import undecided
from kat_workflow.enrollment.opening import coming
from kat_workflow.enrollment.reading import (
    clauses_for_reader,
    for_reader,
    state_for_reader,
)
from kat_workflow.enrollment.run import Run
from kat_workflow.enrollment.signing import Signature, signatures
from kat_workflow.enrollment.state import Enrollment
from kat_workflow.enrollment.worklist import Timeliness, by_urgency, timeliness, title, where, who
from kat_workflow.errors import Refusal, Refused
from kat_workflow.journal import Cursor, ItemRow
from kat_workflow.program import PATIENT
from kat_workflow.program.clock import Site, program_day

if TYPE_CHECKING:
    from kat_workflow.enrollment.correcting import Record
    from kat_workflow.enrollment.foresight import Foresight
    from kat_workflow.program.model import Program

_OUTBOX = 1000  # how many entries are read at once in search of notifications
_FIRST = datetime.min.replace(tzinfo=UTC)  # before anything was recorded
_IN_TREATMENT = ("applied", "active")


class Questions(Shell):
    """Questions about enrollments and lists, and the ways to follow a clinic."""

    # ---- one enrollment ---------------------------------------------------------------------

    def status(
        self,
        enrollment: str,
        *,
        by: Actor | None = None,
        known_at: datetime | None = None,
        true_at: datetime | None = None,
        why: str = "",
        emergency: str = "",
    ) -> Status:
        """Where a patient stands now, timers that are due run in memory only.

        `by` is the reader: what the program lets them not read (`read_by`) is withheld. Without a
        reader it is the host itself who asks, and everything is shown. `known_at`: where the
        record said that they stood at an instant of the past; `true_at`: the same with the
        readings as they were in truth (see `as_true_at`). `why` and `emergency`: see `history`.
        """
        program, state = self._read(enrollment)
        around, now = self._around(state), self._instant()
        reader = self._reader(by, state, emergency)
        self._looked_into("status", state, by, why, emergency)
        if known_at is not None:
            now, state = known_at, self._as_known_at(enrollment, known_at)
        elif true_at is not None:
            now, state = true_at, self._as_true_at(enrollment, true_at)
        around, (_, state) = self._ask(catch_up, program, state, around, now)
        with self._sound(enrollment):
            day = None if state.admitted is None else program_day(state.admitted, now, around.site)
            return Status(
                enrollment,
                state.patient,
                state.program,
                state.program_version,
                state.standing,
                where(program, state),
                day,
                tuple(
                    OpenItem(
                        enrollment,
                        state.patient,
                        item.id,
                        item.step,
                        title(program, item),
                        who(program, item),
                        item.opens,
                        item.due,
                        timeliness(item, now),
                        state.program,
                        item.place,
                        item.assigned,
                        item.handed_by,
                    )
                    for item in by_urgency(state.items.values())
                ),
                tuple(state.sessions.values()),
                tuple(state.holds),
                state.end,
                _waiting(program, state, around, now, reader),
                state.wake,
                {name: each for name, each in state.orders.items() if each.stands(now)},
            )

    def enrollment(self, enrollment: str, *, by: Actor | None = None, why: str = "") -> Enrollment:
        """The folded state of an enrollment as committed; for the reader `by` see `history`."""
        program, state = self._read(enrollment)
        reader = self._reader(by, state)
        self._looked_into("enrollment", state, by, why)
        return state if reader is None else state_for_reader(program, reader, state)

    def as_known_at(
        self, enrollment: str, at: datetime, *, by: Actor | None = None, why: str = ""
    ) -> Enrollment:
        """The state as the journal knew it at an instant: by the entries recorded until then. For
        the reader `by` see `history`."""
        program, state = self._read(enrollment)
        reader = self._reader(by, state)
        self._looked_into("as_known_at", state, by, why)
        known = self._as_known_at(enrollment, at)
        return known if reader is None else state_for_reader(program, reader, known)

    def _as_known_at(self, enrollment: str, at: datetime) -> Enrollment:
        from kat_workflow.enrollment.correcting import as_known  # noqa: PLC0415  # seldom asked

        with self._retelling(enrollment) as told:
            return as_known(told, _zoned(at))

    def as_true_at(
        self, enrollment: str, at: datetime, *, by: Actor | None = None, why: str = ""
    ) -> Enrollment:
        """The state at an instant with its readings as they were in truth, by all that is known
        now: later corrections and late entries are there, what was retracted is not.

        Where the patient was and what was open is as it was: what was done was done. For the
        reader `by` see `history`.
        """
        program, state = self._read(enrollment)
        reader = self._reader(by, state)
        self._looked_into("as_true_at", state, by, why)
        true = self._as_true_at(enrollment, at)
        return true if reader is None else state_for_reader(program, reader, true)

    def _as_true_at(self, enrollment: str, at: datetime) -> Enrollment:
        from kat_workflow.enrollment.correcting import as_true  # noqa: PLC0415  # seldom asked

        with self._retelling(enrollment) as told:
            return as_true(told, _zoned(at))

    def records(
        self, enrollment: str, *, by: Actor | None = None, why: str = ""
    ) -> tuple[Record, ...]:
        """Every recording with its corrections: the original first and legible, each version with
        who, when and why, and the retraction if it was entered in error. For the reader `by` see
        `history`."""
        program, state = self._read(enrollment)
        reader = self._reader(by, state)
        self._looked_into("records", state, by, why)
        from kat_workflow.enrollment.correcting import records  # noqa: PLC0415  # seldom asked

        with self._retelling(enrollment) as told:
            events = told.events()
            if reader is not None:
                events = (for_reader(program, reader, event) for event in events)
            return records(events)

    def signatures(
        self, enrollment: str, *, by: Actor | None = None, why: str = ""
    ) -> tuple[Signature, ...]:
        """Every signature of an enrollment, each with whether the record still holds what was
        signed: its hash is reckoned anew from the entries."""
        _, state = self._read(enrollment)
        self._reader(by, state)
        self._looked_into("signatures", state, by, why)
        with self._retelling(enrollment) as told:
            return signatures(enrollment, told.events())

    def history(
        self,
        enrollment: str,
        after_version: int = 0,
        *,
        by: Actor | None = None,
        why: str = "",
        emergency: str = "",
    ) -> tuple[Happened, ...]:
        """Everything that happened in an enrollment, in order.

        `by` is the reader: what the program lets them not read (`read_by`) is withheld. Without a
        reader it is the host itself who asks, and everything is shown.

        Where the clinic keeps an access log, the look is written there before, with `why`.
        `emergency` is a reason to break the glass: it is shown although the reader has no role
        here now, or the log cannot be written, and the look is marked. What `read_by` keeps apart
        stays apart.
        """
        program, state = self._read(enrollment)
        reader = self._reader(by, state, emergency)
        self._looked_into("history", state, by, why, emergency)
        happened = map(as_happened, self.journal.read(stream_of(enrollment), after_version))
        if reader is None:
            return tuple(happened)
        return tuple(
            replace(each, event=for_reader(program, reader, each.event)) for each in happened
        )

    def next_slot(
        self, enrollment: str, session: str, *, by: Actor | None = None, why: str = ""
    ) -> Slot | None:
        """When the next session of a kind could be; None where there may be none any more.

        It is a proposal: the session's gates are judged at the start. Raises Refused for a
        session that the program does not have.
        """
        program, state = self._read(enrollment)
        now, around = self._instant(), self._around(state)
        around, (_, state) = self._ask(catch_up, program, state, around, now)
        full = program.find("sessions", session)
        if full is None:
            known = f"sessions: {', '.join(program.sessions)}"
            raise refuse("next slot", "unknown-session", f'there is no session "{session}"', known)
        self._looked_into("next_slot", state, by, why)
        return next_slot(program, state, around.site, full, now)

    def foresee_hold(self, enrollment: str, *, by: Actor, reason: str, why: str = "") -> Foresight:
        """What a hold would do to each time that runs, and which doses it would stop, if it were
        set now. Nothing is written. Raises Refused where it would be refused."""
        from kat_workflow.enrollment.foresight import foresee_hold  # noqa: PLC0415  # on first use

        program, state = self._read(enrollment)
        now = self._instant()
        around, (_, state) = self._ask(catch_up, program, state, self._around(state), now)
        command = Command("foresee", c.Hold(reason), by, now)
        _, answer = self._ask(decide, program, state, around, command)
        if isinstance(answer, Refusal):
            raise Refused(explained(program, state, around, command, answer))
        self._looked_into("foresee_hold", state, by, why)
        return foresee_hold(program, state, around, now)

    def foresee_version(
        self, enrollment: str, version: str, *, by: Actor, reason: str
    ) -> tuple[e.Event, ...]:
        """What moving a patient to another version of their program would do, were it done now:
        what is left, planned anew and opened. Nothing is written. Raises Refused, with everything
        that has no place in that version, where it would be refused."""
        act = c.ChangeVersion(version, reason)
        program, state = self._read(enrollment)
        now = self._instant()
        around, (ran, state) = self._ask(catch_up, program, state, self._around(state, act), now)
        ahead = [Past(done.enrollment.last or now, x) for _, done in ran for x in done.events]
        command = Command("foresee", act, by, now)
        _, answer = self._ask(decide, program, state, around, command, ahead)
        if isinstance(answer, Refusal):
            raise Refused(explained(program, state, around, command, answer))
        assert isinstance(answer, Decision)  # what was due has run
        self._looked_into("foresee_version", state, by, reason)
        return answer.events

    def on_version(
        self, program: str, version: str, *, by: Actor | None = None, why: str = ""
    ) -> tuple[Resident, ...]:
        """Everybody in treatment, at whichever site, who goes by a version of a program. `by` is
        who is shown it, and `why`, for the access log."""
        found = self._who_is_on(program, version)
        self._looked("on_version", by, why, (each.patient for each in found))
        return found

    def _who_is_on(self, program: str, version: str) -> tuple[Resident, ...]:
        found = (each for site in self._sites for each in self._residents(site, "on_version"))
        return tuple(
            each
            for each in found
            if each.program == program and self._read(each.enrollment)[1].program_version == version
        )

    def _reader(self, by: Actor | None, state: Enrollment, emergency: str = "") -> Actor | None:
        """The reader in the roles that they hold now. Raises Refused for who has none here."""
        if by is None:
            return None
        site = self._around(state).site
        return _reader(by, state, site, self._instant(), emergency)

    def _looked_into(
        self, through: str, state: Enrollment, by: Actor | None, why: str, emergency: str = ""
    ) -> None:
        """Write down that somebody is about to be shown something of an enrollment."""
        self._looked(through, by, why, (state.patient,), enrollment=state.id, emergency=emergency)

    def program_of(self, enrollment: str) -> Program:
        """The program that drives an enrollment: the very files it was enrolled with."""
        return self._read(enrollment)[0]

    def site_of(self, enrollment: str) -> Site:
        """The site of an enrollment, with its zone."""
        return self._around(self._read(enrollment)[1]).site

    # ---- lists ------------------------------------------------------------------------------

    def worklist(
        self,
        role: str | None = None,
        site: str | None = None,
        *,
        enrollment: str | None = None,
        patient: str | None = None,
        person: str | None = None,
        limit: int = 50,
        after: Cursor | None = None,
        by: Actor | None = None,
        why: str = "",
    ) -> Page:
        """Open items by when they are due; give `Page.next` as `after` for the next page.

        `person` asks for what somebody has taken on, "" for what is nobody's in particular.
        `by` is who is shown the list, and `why`, for the access log.
        """
        stream = None if enrollment is None else stream_of(enrollment)
        rows, cursor = self.journal.worklist(
            role=role,
            site=site,
            stream=stream,
            patient=patient,
            assigned=person,
            limit=limit,
            after=after,
        )
        self._looked("worklist", by, why, (row.patient for row in rows), site=site or "")
        now = self._instant()
        return Page(tuple(_open_item(row, now) for row in rows), cursor)

    def shift(
        self,
        role: str | None = None,
        site: str = "main",
        *,
        start: datetime,
        end: datetime,
        person: str | None = None,
        by: Actor | None = None,
        why: str = "",
    ) -> Shift:
        """What a shift has to do: what is open and due before its end, and what will open in it.

        `by` is who is shown the list, and `why`, for the access log. Items say whose they are and
        who handed them over. Raises Refused for a site that the engine was opened without.
        """
        place = self._site(site, "shift")
        now = self._instant()
        rows: list[ItemRow] = []
        after: Cursor | None = None
        while True:
            page, after = self.journal.worklist(role=role, site=site, assigned=person, after=after)
            rows += [row for row in page if row.sort < end]
            if after is None or page[-1].sort >= end:
                break
        self._looked("shift", by, why, (row.patient for row in rows), site=site)
        planned: list[OpenItem] = []
        runs: dict[str, Run] = {}
        for row in rows:
            if row.stream not in runs:
                program, state = self._read(row.stream.partition(":")[2])
                runs[row.stream] = Run.of(program, state, around_site(place), now)
            run = runs[row.stream]
            item = run.s.items.get(row.item)  # None: it was settled meanwhile
            with self._sound(row.stream.partition(":")[2]):
                openings = [] if item is None else list(coming(run, item, end))
            for at in openings:
                if at >= start:
                    due = None if row.due is None else at + (row.due - row.opens)
                    planned.append(_open_item(replace(row, opens=at, due=due), now))
        planned.sort(key=lambda item: (item.due or item.opens, item.enrollment, item.item))
        return Shift(start, end, tuple(_open_item(row, now) for row in rows), tuple(planned))

    def census(
        self,
        site: str = "main",
        *,
        everybody: bool = False,
        by: Actor | None = None,
        why: str = "",
    ) -> tuple[Resident, ...]:
        """Who is where, on which day: those in treatment, or everybody who ever was.

        `by` is who is shown it, and `why`, for the access log. Raises Refused for a site that the
        engine was opened without: its zone decides the day.
        """
        shown = self._residents(site, "census", everybody)
        self._looked("census", by, why, (each.patient for each in shown), site=site)
        return shown

    def _residents(self, site: str, asked: str, everybody: bool = False) -> tuple[Resident, ...]:
        now = self._instant()
        place = self._site(site, asked)
        return tuple(
            Resident(
                row.stream.partition(":")[2],
                row.patient,
                row.program,
                row.standing,
                row.phases,
                None if row.anchor is None else program_day(row.anchor, now, place),
                row.holds,
            )
            for row in self.journal.census(site)
            if everybody or row.standing in _IN_TREATMENT
        )

    def deviations(
        self,
        program: str = "",
        site: str = "",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: Actor | None = None,
        why: str = "",
    ) -> tuple[Deviation, ...]:
        """Every deviation, override and emergency of all patients, by when it was recorded.

        Of one program and of those who are, or were last, at one site, where they are named; of
        what was recorded in [`since`, `until`). It reads the whole record of each: a report, not
        a list to ask for all day. Nothing is withheld from whoever is shown it: `by`, and `why`,
        for the access log. Raises Refused for a site that the engine was opened without, and
        ValueError for an instant without a zone.
        """
        from kat_workflow.engine.deviating import deviations_of  # noqa: PLC0415  # seldom asked

        first = _FIRST if since is None else _zoned(since)
        last = None if until is None else _zoned(until)
        sites = tuple(self._sites) if not site else (self._site(site, "deviations").name,)
        found: list[Deviation] = []
        for name in sites:
            for row in self.journal.census(name):
                if program in ("", row.program):
                    id_ = row.stream.partition(":")[2]
                    blank = Deviation(id_, row.patient, row.program, name, _FIRST, _FIRST)
                    found += deviations_of(blank, self.journal.read(row.stream))
        found = [
            each
            for each in found
            if each.recorded >= first and (last is None or each.recorded < last)
        ]
        self._looked("deviations", by, why, (each.patient for each in found), site=site)
        return tuple(sorted(found, key=lambda each: (each.recorded, each.enrollment)))

    # ---- following the clinic ---------------------------------------------------------------

    def follow(self, after: int = 0, limit: int = 1000) -> tuple[Happened, ...]:
        """What happened after a position, in commit order: the durable way to follow a clinic.

        Keep the last `position` that you have dealt with and ask again from there. It is for the
        host itself: nothing is withheld (see `may_read`), and no access is logged: whatever shows
        it to a person says so first (`looked`).
        """
        entries = self.journal.follow(after, limit)
        return tuple(as_happened(entry) for entry in entries)

    def listen(self, listener: Callable[[Happened], None]) -> None:
        """Call a function after each commit of this process: at most once, lost with it.

        What is written in a host's open transaction is not told: it may be rolled back.

        Use `follow` for what must not be lost. A listener that fails is logged, never heard of
        by the caller of the command.
        """
        self._listeners.append(listener)

    def outbox(self, after: int = 0, limit: int = 100) -> Outbox:
        """What somebody is to be told, after a position of the journal, in commit order.

        The library sends nothing: a host drains this, sends each notification once by its `key`,
        and keeps `Outbox.next` only when it has. What it had not kept is given again. Run the
        timers first (`run_due`): it is their running that lets an unanswered call go on. No access
        is logged, so that no call waits for a log: whatever shows it to a person who is not called
        says so first (`looked`).
        """
        found: list[Notification] = []
        while True:
            entries = self.journal.follow(after, _OUTBOX)
            for entry in entries:
                after = entry.position
                kind, _, key = entry.stream.partition(":")
                if kind != "enrollment" or not entry.body.startswith(TOLD) or entry.erased:
                    continue
                told = notification(event_of(entry), key, entry.version, entry.position)
                if told is not None:
                    found.append(told)
                    if len(found) >= limit:
                        return Outbox(tuple(found), after)
            if len(entries) < _OUTBOX:
                return Outbox(tuple(found), after)

    def looked(
        self, through: str, enrollments: Iterable[str], *, by: Actor | None = None, why: str = ""
    ) -> None:
        """Write down that somebody is about to be shown something of these enrollments' patients.

        It is for what shows a person what `follow`, `listen` or `outbox` told the host; every
        question writes its own look. `through` names where it is shown. Without an access log
        nothing is done; raises JournalError where it cannot be written: then show nothing.
        """
        if self.access is None:
            return
        states = [self._read(each)[1] for each in dict.fromkeys(enrollments)]
        if states:
            alone = states[0].id if len(states) == 1 else ""
            patients = (state.patient for state in states)
            self._looked(through, by, why, patients, enrollment=alone)

    # ---- the clinic -------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The instant by the clinic's clock, in UTC."""
        return self._instant()

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites the engine was opened with."""
        return tuple(self._sites.values())


def _reader(by: Actor, state: Enrollment, site: Site, now: datetime, emergency: str) -> Actor:
    """The reader in the roles that they hold now; a patient reads their own enrollment alone.

    In an emergency somebody without a role here reads on, but nothing that is kept for a role.
    """
    from kat_workflow.enrollment.people import nowhere, roles_held  # noqa: PLC0415

    nobody = nowhere(by, now, site.name, state.patient)
    if nobody is not None and not (emergency and PATIENT not in by.roles):
        raise Refused(Refusal("read", (nobody,)))
    return Actor(by.person, roles_held(by, now, site.name, state.patient))


def _waiting(
    program: Program, state: Enrollment, around: Around, now: datetime, reader: Actor | None
) -> tuple[Waiting, ...]:
    run = Run.of(program, state, around, now)
    return tuple(
        Waiting(
            phase,
            to,
            clauses if reader is None else clauses_for_reader(program, reader, clauses),
        )
        for phase, to, clauses in undecided(run)
    )


def _open_item(row: ItemRow, now: datetime) -> OpenItem:
    late = row.due is not None and row.opens < row.due <= now
    state: Timeliness = "early" if now < row.opens else "late" if late else "open"
    return OpenItem(
        row.stream.partition(":")[2],
        row.patient,
        row.item,
        row.step,
        row.title,
        row.roles,
        row.opens,
        row.due,
        state,
        row.program,
        row.phase,
        row.assigned,
        row.handed_by,
    )


def _zoned(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant without a zone names no moment")
    return at.astimezone(UTC)
