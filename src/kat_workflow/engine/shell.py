"""Read → decide → commit: the shell around the pure core, whatever it is asked to do.

It reads the state row and the streams beside it that turn out to be needed, asks, and commits
entries and rows of all streams touched in one transaction. When somebody else was faster it
reads again and decides anew.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from kat_workflow.engine.receiving import (
    canonical,
    digest_of,
    hashed,
    new_id,
    refuse,
    sound_decoder,
)
from kat_workflow.engine.views import (
    AUDIT,
    CONTRADICTIONS,
    Happened,
    Outcome,
    Retelling,
    as_happened,
    event_of,
)
from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import EMPTY, FOLDS, Addition, Around, Beside, Past, Unread
from kat_workflow.enrollment.commands import Act, Actor, Command
from kat_workflow.enrollment.decide import Behind, Decision, catch_up, decide, elapse
from kat_workflow.enrollment.patients import PatientRecord
from kat_workflow.enrollment.reading import refusal_for_reader
from kat_workflow.enrollment.state import (
    NOBODY,
    Enrollment,
    decode_row,
    encode_row,
    replay,
    row_decoder,
)
from kat_workflow.enrollment.timers import Timer
from kat_workflow.enrollment.worklist import changed, title, where, who
from kat_workflow.errors import Conflict, JournalError, KatError, Refusal, Refused
from kat_workflow.journal import (
    ERASURE,
    Append,
    CensusRow,
    Entry,
    ItemRow,
    Journal,
    Receipt,
    placed,
    shown,
)
from kat_workflow.program import PATIENT
from kat_workflow.program.clock import Site

if TYPE_CHECKING:
    from kat_workflow.engine.access import AccessLog
    from kat_workflow.language.library import Library
    from kat_workflow.program.model import Program

Authenticate = Callable[[Actor, Act | c.SignOff], bool]
"""A host's question to the person at the keyboard, before they sign: are you who you were?"""

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
ATTEMPTS = 50
_REMEMBERED = 1024
_log = logging.getLogger("kat_workflow")


def wall_clock() -> datetime:
    """The instant by this machine's clock, in UTC."""
    return datetime.now(UTC)


class Shell:
    """A journal, the programs at hand, a clock and the sites: what every chapter stands on.

    `wakers` are called after a commit with the instant that an enrollment waits for from then on;
    schedulers put themselves in, and must be quick.
    """

    def __init__(
        self,
        journal: Journal,
        library: Library,
        clock: Callable[[], datetime] = wall_clock,
        sites: Iterable[Site] = (Site(),),
        signed_only: bool = False,
        authenticate: Authenticate | None = None,
        access: AccessLog | None = None,
    ) -> None:
        with _making:
            _make_decoders()
        self.journal = journal
        self.access = access
        self._signed_only = signed_only
        self._authenticate = authenticate
        self._library = library
        self._clock = clock
        self._sites = {site.name: site for site in sites}
        self._named: dict[str, Program] = {}
        self._by_digest: dict[str, Program] = {}
        self._kept: set[str] = set()
        self._states: OrderedDict[str, tuple[Program, Enrollment]] = OrderedDict()
        self._listeners: list[Callable[[Happened], None]] = []
        self.wakers: list[Callable[[datetime], None]] = []
        self._lock = Lock()

    # ---- an enrollment ----------------------------------------------------------------------

    def _carry_out(
        self,
        enrollment: str,
        act: Act,
        by: Actor,
        id_: str,
        digest: str,
        occurred: datetime | None,
        role: str,
        new: Program | None,
        emergency: str = "",
    ) -> Outcome:
        """Read, decide and commit, with the timers that are due before. `new` is the program to
        begin, of which nothing is in the journal yet. Raises Refused."""
        for _ in range(ATTEMPTS):
            # What we wrote last is tried first; whoever was faster makes it a Conflict.
            remembered = self._states.pop(enrollment, None)
            if new is not None:
                program, state = new, NOBODY
            elif remembered is not None:
                program, state = remembered
            else:
                program, state = self._read(enrollment)
            command = Command(id_, act, by, self._instant(), occurred, role, emergency)
            # Nobody is anywhere before the first event: it happens at the site that is asked for.
            if isinstance(act, c.Enroll):
                site = self._site(act.site, f"enrollment {enrollment}")
                around = around_site(site).read("patient", self._beside("patient", act.patient))
                if self._signed_only and new is not None:
                    register = self._beside("program", new.id)
                    around = replace(around.read("program", register), signed_only=True)
            else:
                around = self._around(state, act)
            with suppress(Conflict):
                around, answer = self._ask(decide, program, state, around, command)
                while isinstance(answer, Behind):
                    timer = answer.timer
                    around, ran = self._ask(elapse, program, state, around, timer)
                    self._commit_timer(program, state, timer, ran)
                    state, around = ran.enrollment, around.after(ran.beside)
                    around, answer = self._ask(decide, program, state, around, command)
                if isinstance(answer, Refusal):
                    before = self.journal.receipt(id_, digest)
                    if before is not None:
                        return self._again(enrollment, before)
                    if self._is_now(state, around):
                        self._remember(enrollment, program, state)
                        raise Refused(explained(program, state, around, command, answer))
                    continue  # it was judged by what is no longer so
                if new is not None:  # not before: what nobody is in may still be mended
                    self._keep(new, enrollment)
                role_acted = answer.role or role
                target = around.target
                if target is not None and answer.enrollment.digest == target.digest:
                    self._keep(target, enrollment)
                    program = target  # its steps and titles stand on the worklists from now on
                receipt = self._commit(
                    program, state, answer, id_, digest, command.at, by.person, role_acted
                )
                if receipt.again:
                    return self._again(enrollment, receipt)
                self._remember(enrollment, program, answer.enrollment)
                if answer.beside:
                    self._wake_others(answer)
                return Outcome(enrollment, answer.events)
        raise Conflict(f"enrollment {enrollment} is being written to by others; try again")

    def _is_now(self, state: Enrollment, around: Around) -> bool:
        """Whether what a refusal was judged by is still so."""
        record = around.patient
        if record is not None and record.patient:
            stream = f"patient:{record.patient}"
            if self.journal.version(stream) != record.version:
                return False
        return self.journal.version(stream_of(state.id)) == state.version

    def _remember(self, enrollment: str, program: Program, state: Enrollment) -> None:
        """Keep the last states, so that a patient at hand need not be read for each command.

        Nothing is kept of a host's open transaction: after its rollback, another state could
        stand under the same version.
        """
        if self.journal.joined:
            return
        self._states[enrollment] = (program, state)
        while len(self._states) > _REMEMBERED:
            self._states.popitem(last=False)

    def _commit_timer(
        self, program: Program, state: Enrollment, timer: Timer, ran: Decision
    ) -> None:
        at = ran.enrollment.last or timer.due
        id_ = timer.id(state.id)
        told = state.elsewhere.get(timer.about) if timer.what == "elsewhere" else None
        if isinstance(told, e.SeatGivenUp):  # before: the timer waits until it was done
            self._offer_seat(told.group, id_)
        receipt = self._commit(program, state, ran, id_, id_, at, c.SYSTEM.person, "")
        if receipt.again:  # another process ran it: what we hold is behind
            raise Conflict(f"{id_} was run by another")

    def _offer_seat(self, group: str, id_: str) -> None:
        """Whoever waited longest for a seat that was given up is to be asked, by an item in their
        own record. The id of the command that does it derives from that of the timer that waits
        for it, which names a peer's enrollment, and is hashed."""
        act = c.SeatFree(group)
        for enrollment in self._beside("group", group).among("offered"):
            own = "seat-" + hashed(f"{id_}/{enrollment}".encode())[:20]
            digest = digest_of(enrollment, act, c.SYSTEM, None, own)
            with suppress(Refused):  # they have been asked
                self._carry_out(enrollment, act, c.SYSTEM, own, digest, None, "", None)

    def _wake_others(self, did: Decision) -> None:
        """What was written into the patient's other enrollments, or is to be told to whoever waits
        for a seat, need wait for no scheduler; where it cannot be carried out here and now, a
        scheduler finds that it is due."""
        own = (did.enrollment.id,) if did.enrollment.elsewhere else ()
        self._run_told((*told_in(did.beside), *own))

    def _run_told(self, enrollments: Iterable[str]) -> None:
        for enrollment in enrollments:
            try:
                self.run_due_in(enrollment)
            except KatError as error:
                _log.warning("%s was not run at once: %s", enrollment, type(error).__name__)

    def run_due_in(self, enrollment: str) -> int:
        """Run the timers that are due in one enrollment; returns how many ran.

        Raises JournalError where it cannot be read, Refused for a site that is another engine's,
        and Conflict where others run them all the time, or the record does not say that they ran.
        """
        ran = overtaken = 0
        while overtaken < ATTEMPTS:
            program, state = self._recalled(enrollment)
            if state.wake is None or state.wake > self._instant():
                return ran
            _, (done, _) = self._ask(catch_up, program, state, self._around(state), state.wake)
            overtaken += 1
            with suppress(Conflict):  # whoever was faster has run it
                self._commit_timer(program, state, *done[0])
                self._remember(enrollment, program, done[0][1].enrollment)
                ran, overtaken = ran + 1, 0
        raise Conflict(
            f"the timers of {enrollment} are run by others again and again; if nobody else is"
            f" there, {AUDIT}"
        )

    def _commit(
        self,
        program: Program,
        before: Enrollment,
        decision: Decision,
        command: str,
        digest: str,
        at: datetime,
        person: str,
        role: str,
    ) -> Receipt:
        """Write a decision and all rows that it changes, in one transaction."""
        after = decision.enrollment
        stream = stream_of(after.id)
        came, gone, moved = changed(decision.events)
        if (before.site, before.digest) != (after.site, after.digest) and before.version:
            came = list(after.items)  # on another site's worklists, or as another version says
        bodies, values = encoded(decision.events)
        append = Append(
            stream,
            before.version,
            bodies,
            encode_row(after),
            after.wake,
            tuple(gone),
            tuple([item_row(program, after, stream, id_) for id_ in came]),
            census_row(program, after, stream) if moved else None,
            values,
        )
        appends = [append]
        for addition in decision.beside:
            # A site's stream was read of where the patient was before a transfer.
            name = beside_stream(addition, before if before.version else after)
            appends.append(append_of(addition, name))
        receipt = self.journal.append(
            appends, command=command, digest=digest, recorded=at, person=person, role=role
        )
        if self._listeners and not receipt.again and not self.journal.joined:
            self._tell(receipt)
        if after.wake is not None:
            for waker in self.wakers:
                waker(after.wake)
        return receipt

    def _again(self, enrollment: str, receipt: Receipt) -> Outcome:
        """What a command did when it was carried out."""
        entries = self.journal.follow(receipt.first - 1, receipt.last - receipt.first + 1)
        own = stream_of(enrollment)
        events = tuple(event_of(entry) for entry in entries if entry.stream == own)
        return Outcome(enrollment, events, again=True)

    def _read(self, enrollment: str) -> tuple[Program, Enrollment]:
        """An enrollment as committed, and the program whose files it was enrolled with."""
        state = self._state(enrollment)
        program = self._by_digest.get(state.digest)
        return (program or self._pinned(state.digest)), state

    def _state(self, enrollment: str) -> Enrollment:
        """An enrollment as committed; nothing of its program is needed."""
        row, state = self.journal.row(stream_of(enrollment)), None
        if row is not None:
            with suppress(JournalError):  # else it is of another version
                state = decode_row(row[1])
        if state is None:
            entries = self.journal.read(stream_of(enrollment))
            if not entries:
                raise refuse(
                    "read", "unknown-enrollment", f'no enrollment "{enrollment}"', "check the id"
                )
            state = retold(entries)
        return state

    def _recalled(self, enrollment: str) -> tuple[Program, Enrollment]:
        """As `_read`, but what we wrote last need not be decoded where nobody has written since."""
        remembered = self._states.get(enrollment)
        version = remembered[1].version if remembered is not None else 0
        if remembered is not None and self.journal.version(stream_of(enrollment)) == version:
            return remembered
        return self._read(enrollment)

    def _retelling(self, enrollment: str) -> Retelling:
        """All entries of an enrollment, for whatever goes through them."""
        return Retelling(self.journal.read(stream_of(enrollment)))

    def _history(self, enrollment: str) -> tuple[Past, ...]:
        """All entries of an enrollment, each with the instant at which it was recorded."""
        return tuple(self._retelling(enrollment))

    def _ask(
        self,
        core: Callable[[Program, Enrollment, Around, _Asked], _Answer],
        program: Program,
        state: Enrollment,
        around: Around,
        asked: _Asked,
        ahead: Iterable[Past] = (),
    ) -> tuple[Around, _Answer]:
        """What the pure core answers; a stream around is read once it turns out to be needed.

        `ahead` are events of the state that are not in the journal.
        """
        while True:
            try:
                answer = core(program, state, around, asked)
                settled = isinstance(answer, Refusal) and answer.code == "already-settled"
                if settled and around.history is None:
                    raise Unread("history")  # who was first stands in the entries alone
                return around, answer
            except Unread as missing:
                if missing.what == "history":
                    past = self._history(state.id)[: state.version]
                    around = around.read("history", (*past, *ahead))
                    continue
                # Nobody is at a site before the first event; that of the calendar is the one.
                on_site = missing.what == "roster"
                own = around.site.name if on_site else _beside_key(missing.what, state)
                key = missing.key or own
                beside = self._beside(missing.what, key)
                around = around.read(missing.what, beside, missing.key)
            except CONTRADICTIONS:
                self._see_sound(stream_of(state.id))
                raise

    def _around(self, state: Enrollment, act: Act | None = None) -> Around:
        """What surrounds an enrollment, before any stream is read."""
        around = around_site(self._site(state.site, f"enrollment {state.id}"))
        if isinstance(act, c.ChangeVersion):
            target = self._version(state.program, act.version)
            return replace(around, target=target, signed_only=self._signed_only)
        return (
            replace(around, to=self._sites.get(act.site)) if isinstance(act, c.Transfer) else around
        )

    @contextmanager
    def _sound(self, enrollment: str) -> Iterator[None]:
        """What is done with an enrollment that was read: `_see_sound` where it comes to nothing."""
        try:
            yield
        except CONTRADICTIONS:
            self._see_sound(stream_of(enrollment))
            raise

    def _see_sound(self, stream: str) -> None:
        """Say what is wrong with a stream, where what was read of it can be gone on with in no way.

        Raises JournalError where its row does not say what its entries say, or an entry is not as
        it was written. Where all of it holds, the fault is the library's, and nobody is told that
        it were the record's.
        """
        from kat_workflow.journal.auditing import altered  # noqa: PLC0415  # seldom needed

        entry = altered(self.journal, stream)
        if entry is not None:
            raise JournalError(f"{placed(entry)} is not as it was written; {AUDIT}")
        what: Any
        what, _, key = stream.partition(":")
        entries = self.journal.read(stream)
        if what == "enrollment":
            same = self._state(key) == retold(entries)
        else:
            same = self._folded(what, key) == refolded(what, entries)
        if not same:
            says = f"the state row of version {len(entries)} does not say what the entries say"
            raise JournalError(f"{shown(stream)}: {says}; {AUDIT}")

    # ---- the streams beside enrollments -----------------------------------------------------

    def _beside(self, what: Beside, key: str) -> Any:
        """A stream around enrollments, as it is now; a patient's is that of the survivor."""
        if what == "patient":
            return self._patient(key)
        if what == "enrollment":
            return self._state(key)
        return self._folded(what, key)

    def _folded(self, what: Beside, key: str) -> Any:
        """The stream of this very key."""
        stream = f"{what}:{key}"
        row = self.journal.row(stream)
        if row is not None:
            # else it is of another version, or spoiled
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                return beside_decoder(what).decode(row[1])
        return self._replayed(what, key)

    def _replayed(self, what: Beside, key: str) -> Any:
        """The stream of this very key, by its entries alone."""
        return refolded(what, self.journal.read(f"{what}:{key}"))

    def _patient(self, patient: str) -> PatientRecord:
        """The record that tells about a patient, under whichever of their ids."""
        record, seen = self._own_record(patient), {patient}
        while record.survivor:
            if record.survivor in seen:
                says = "two records of one patient say each that the other tells about them"
                raise JournalError(f"{says}; {AUDIT}")
            seen.add(record.survivor)
            record = self._own_record(record.survivor)
        return record

    def _own_record(self, patient: str) -> PatientRecord:
        """The record of this very id."""
        record: PatientRecord = self._folded("patient", patient)
        return record if record.patient else replace(record, patient=patient)

    def _add(
        self,
        what: Beside,
        key: str,
        judge: Callable[[Addition, datetime], Refusal | None],
        by: Actor,
        role: str,
        command_id: str | None,
        said: object,
    ) -> tuple[e.Event, ...]:
        """Write to a stream that is no enrollment's what a pure judge makes of its state.

        Judged again where somebody else was faster. A retry with the same command id and the
        same `said` writes nothing, and returns what the first one wrote. Raises Refused.
        """

        def alone(added: tuple[Addition, ...], at: datetime) -> Refusal | str:
            return judge(added[0], at) or role

        (added,) = self._add_all(((what, key),), alone, by, command_id, said) or ((),)
        return added

    def _add_all(
        self,
        streams: tuple[tuple[Beside, str], ...],
        judge: Callable[[tuple[Addition, ...], datetime], Refusal | str],
        by: Actor,
        command_id: str | None,
        said: object,
    ) -> tuple[tuple[e.Event, ...], ...]:
        """As `_add`, in one commit to several streams; the judge answers the role acted in.

        Returns the events by stream, nothing for a retry.
        """
        id_ = command_id or new_id()
        try:
            digest = hashed(canonical.encode((streams, by.person, id_, said)))
        except (TypeError, ValueError):
            way = "give text where text is meant"
            raise refuse(streams[0][0], "bad-phrase", "it is no plain text", way) from None
        for _ in range(ATTEMPTS):
            before = None if command_id is None else self.journal.receipt(id_, digest)
            if before is not None:
                entries = self.journal.follow(before.first - 1, before.last - before.first + 1)
                return tuple(
                    tuple(event_of(x) for x in entries if x.stream == f"{what}:{key}")
                    for what, key in streams
                )
            states, at = [self._beside(what, key) for what, key in streams], self._instant()
            added = tuple(
                Addition(what, state.version, state, key=key)
                for (what, key), state in zip(streams, states, strict=True)
            )
            try:
                role = judge(added, at)
            except CONTRADICTIONS:
                for what, key in streams:
                    self._see_sound(f"{what}:{key}")
                raise
            if isinstance(role, Refusal):
                raise Refused(role)
            with suppress(Conflict):
                receipt = self.journal.append(
                    [append_of(each, f"{each.what}:{each.key}") for each in added],
                    command=id_,
                    digest=digest,
                    recorded=at,
                    person=by.person,
                    role=role,
                )
                if self._listeners and not receipt.again and not self.journal.joined:
                    self._tell(receipt)
                return tuple(tuple(each.events) for each in added)
        what, key = streams[0]
        raise Conflict(f"{what} {key} is being written to by others; try again")

    def _tell(self, receipt: Receipt) -> None:
        """Call the listeners with what was just committed."""
        for entry in self.journal.follow(receipt.first - 1, receipt.last - receipt.first + 1):
            for listener in self._listeners:
                try:
                    listener(as_happened(entry))
                except Exception as error:  # what a host's function does must not undo a commit
                    # Its text may quote the event, and with it the patient: only its kind is said.
                    _log.error(
                        "a listener failed on position %d: %s", entry.position, type(error).__name__
                    )

    def _is_known(self, by: Actor, act: Act | c.SignOff) -> bool:
        assert self._authenticate is not None
        try:
            return self._authenticate(by, act)
        except Exception as error:  # a host's check that fails has not shown who it is
            _log.warning("authentication failed: %s", type(error).__name__)
            return False

    # ---- who looks at whom ------------------------------------------------------------------

    def _looked(
        self,
        through: str,
        by: Actor | None,
        why: str,
        patients: Iterable[str],
        *,
        enrollment: str = "",
        site: str = "",
        emergency: str = "",
    ) -> None:
        """Write down what somebody is about to be shown, where the clinic keeps an access log.

        Without a reader it is the host itself who asks. Raises JournalError where it cannot be
        written, and Refused where a patient would be shown something of another.
        """
        if by is not None and by.roles == {PATIENT} and through != "why":
            patients = tuple(patients)
            own = self._patient(by.person)
            if not {own.patient, *own.known.merged}.issuperset(patients):
                says = "what is asked for is not of this patient alone"
                raise refuse("read", "another-patient", says, "ask for one's own: patient=ID")
        if self.access is None:
            return
        from kat_workflow.engine.access import Look  # noqa: PLC0415  # loaded on first use

        person, roles = ("", ()) if by is None else (by.person, tuple(sorted(by.roles)))
        shown = tuple(dict.fromkeys(patients))
        now = self._instant()
        self.access.note(Look(now, through, shown, person, roles, why, enrollment, site, emergency))

    # ---- programs, sites, the clock ---------------------------------------------------------

    def program(self, name: str) -> Program:
        """The program of an id (or `id@version`) as its files say now.

        Raises ProgramError with every finding.
        """
        with self._lock:
            found = self._named.get(name)
            if found is None:
                from kat_workflow.language import load  # noqa: PLC0415  # loaded on first use

                found = self._named[name] = load(name, self._library)
                self._by_digest[found.digest] = found
            return found

    def _version(self, program: str, version: str) -> Program | None:
        """A version of a program: as the journal keeps it, else as the library has it now."""
        from kat_workflow.errors import ProgramError  # noqa: PLC0415  # seldom needed

        for kept in self.journal.programs(program):
            if kept.version == version:
                return self._by_digest.get(kept.digest) or self._pinned(kept.digest)
        for name in (f"{program}@{version}", program):
            with suppress(ProgramError):
                found = self.program(name)
                if found.version == version:
                    return found
        return None

    def _pinned(self, digest: str) -> Program:
        kept = self.journal.program(digest)
        if kept is None:
            raise JournalError(f"the journal does not hold the program with digest {digest[:12]}")
        from kat_workflow.language import compile_files  # noqa: PLC0415  # loaded on first use

        program = compile_files(kept.files, kept.main)
        with self._lock:
            return self._by_digest.setdefault(digest, program)

    def _keep(self, program: Program, enrollment: str) -> None:
        """The journal stores a program's files at first enrollment; a version never changes."""
        if program.digest in self._kept:
            return
        for kept in self.journal.programs(program.id):
            if kept.version == program.version and kept.digest != program.digest:
                raise refuse(
                    f"enroll {enrollment}",
                    "version-changed",
                    f"{program.id} {program.version} was used with other files before",
                    "give the changed program a new version",
                )
        main = next(iter(program.files))  # then those that it names, or is based on
        self.journal.keep_program(program.digest, program.id, program.version, main, program.files)
        if not self.journal.joined:  # else the host may still roll it back
            self._kept.add(program.digest)

    def _site(self, name: str, asked: str) -> Site:
        """The site of that name; never a guess, since its zone decides days and clock times."""
        site = self._sites.get(name)
        if site is None:
            ways = (f"open the engine with the site {name}", f"sites: {', '.join(self._sites)}")
            raise refuse(asked, "unknown-site", f'no site "{name}"', *ways)
        return site

    def _instant(self) -> datetime:
        now = self._clock()
        if now.tzinfo is None:
            raise ValueError("the clock gave an instant without a zone")
        return now.astimezone(UTC)


def explained(
    program: Program, state: Enrollment, around: Around, command: Command, refusal: Refusal
) -> Refusal:
    """A refusal as whoever asked may read it."""
    return refusal_for_reader(program, command, refusal, around.site.name, state.patient)


@lru_cache(maxsize=256)
def around_site(site: Site) -> Around:
    """The surroundings of an enrollment at a site, of which no stream is read yet."""
    return Around(site, patient=None, program=None, roster=None, cupboard=None)


def _beside_key(what: Beside, state: Enrollment) -> str:
    """Whose stream it is that lies beside an enrollment."""
    keys = {"program": state.program, "roster": state.site, "cupboard": state.site}
    return keys.get(what, state.patient)


def beside_stream(addition: Addition, state: Enrollment) -> str:
    """The stream that was read, under the id it has: a patient's may be another than was said."""
    if addition.what == "patient":
        return f"patient:{addition.state.patient}"
    return f"{addition.what}:{addition.key or _beside_key(addition.what, state)}"


def told_in(beside: Iterable[Addition]) -> tuple[str, ...]:
    """The other enrollments that something was written into, for a timer that is due at once."""
    return tuple(x.key for x in beside if x.what == "enrollment" and x.events)


def append_of(addition: Addition, stream: str) -> Append:
    """What is written to a stream beside that of the command."""
    bodies, values = encoded(addition.events)
    if not bodies:
        return Append(stream, addition.expected, ())
    state = addition.state
    if addition.what == "enrollment":
        row, wake = encode_row(state), state.wake
    else:
        row, wake = encode_beside(state), None
    return Append(stream, addition.expected, bodies, row, wake, values=values)


def encoded(events: Iterable[e.Event]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The bodies and the values of the entries that events become."""
    pairs = [e.encode(event) for event in events]
    return tuple([body for body, _ in pairs]), tuple([values for _, values in pairs])


encode_beside = msgspec.msgpack.Encoder().encode
"""The row of a stream beside enrollments."""


def retold(entries: Sequence[Entry]) -> Enrollment:
    """An enrollment by its entries alone. JournalError where they contradict each other."""
    with Retelling(entries) as told:
        return replay(told.events())


def refolded(what: Beside, entries: Sequence[Entry]) -> Any:
    """A stream beside enrollments, by its entries alone. JournalError as `retold`."""
    state = EMPTY[what]
    for version, entry in enumerate(entries):
        if entry.body.startswith(ERASURE) and getattr(event_of(entry), "wholly", False):
            # Nothing before it tells anything.
            state, entries = replace(state, version=version), entries[version:]
            break
    with Retelling(entries) as told:
        for event in told.events():
            state = FOLDS[what](state, event)
    return state


@lru_cache(maxsize=8)
def beside_decoder(what: Beside) -> msgspec.msgpack.Decoder[Any]:
    """What reads the row of a stream beside enrollments."""
    return msgspec.msgpack.Decoder(type(EMPTY[what]))


_making = Lock()


@lru_cache(maxsize=1)
def _make_decoders() -> None:
    """Make what reads commands, entries and rows, before any thread needs it.

    msgspec (0.22) learns a type when its first decoder is made. Another thread that makes one of
    the same type meanwhile takes what is half learned, and the process dies of it.
    """
    for make in (sound_decoder, e.decoder, row_decoder):
        make()
    for what in EMPTY:
        beside_decoder(what)


def stream_of(enrollment: str) -> str:
    """The stream of the journal that an enrollment's entries are in."""
    return "enrollment:" + enrollment


def item_row(program: Program, state: Enrollment, stream: str, id_: str) -> ItemRow:
    """The row by which worklists show an open item."""
    item = state.items[id_]
    return ItemRow(
        id_,
        stream,
        state.site,
        who(program, item),
        item.opens,
        item.due,
        item.step,
        title(program, item),
        item.place,
        state.patient,
        state.program,
        item.assigned,
        item.handed_by,
    )


def census_row(program: Program, state: Enrollment, stream: str) -> CensusRow:
    """The row by which the census of its site shows an enrollment."""
    anchor: date | None = state.admitted
    return CensusRow(
        stream,
        state.site,
        state.patient,
        state.program,
        state.standing,
        where(program, state),
        anchor,
        tuple(state.holds),
    )
