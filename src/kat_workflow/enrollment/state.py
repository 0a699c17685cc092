"""Where one patient stands: the fold of an enrollment's events, and nothing else.

`evolve(enrollment, event)` reads only the event (R15): no program, no clock. `replay` folds many
in one private builder. An Enrollment is never changed once it is handed out. `encode_row` and
`decode_row` turn it into the compact row that is stored beside its entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.timers import wake
from kat_workflow.errors import JournalError
from kat_workflow.program import OnHold, Outcome
from kat_workflow.program.forms import Observation

_T = TypeVar("_T")
ItemKind = Literal["step", "watch", "decide", "alert", "review"]
SessionState = Literal[
    "booked", "arrived", "under_way", "recovering", "stopping", "released", "cancelled", "aborted"
]
Standing = Literal["new", "applied", "active", "discharged", "closed"]


class Visit(Struct, frozen=True, array_like=True, gc=False):
    """One stay in a phase, in its current round, or `away` on an excursion. `ended` are the parts
    that are finished; `inside` counts the entries of each phase inside (with `#`: its further
    rounds), None before the first. It is known by the name of its phase."""

    place: str
    away: bool
    entered: datetime
    visit: int
    round: int
    ended: tuple[str, ...] = ()
    inside: dict[str, int] | None = None


class Pending(Struct, frozen=True, array_like=True, gc=False):
    """What was recorded for an item, the signatures it still needs, and who has had a hand in
    it: the recorder, then those who signed. `content` is the hash of what they sign. A task that
    was done has no observation, and `occurred` is when it was done."""

    observation: str
    needs: tuple[str, ...]
    hands: tuple[str, ...]
    content: str = ""
    occurred: datetime | None = None


class Details(Struct, frozen=True, array_like=True, gc=False):
    """What only few items have. One without a step (a call, a review, a way to be chosen) says in
    `about` what it is about and in `roles` for whom. `opened` is kept where a hold lets the times
    begin anew. `assigned` is the person who has taken it on, `handed_by` who handed it to them,
    `not_by` who may not answer it, and `level` counts the calls that nobody has answered in time.
    """

    about: str = ""
    roles: tuple[str, ...] = ()
    opened: datetime | None = None
    assigned: str = ""
    handed_by: str = ""
    not_by: str = ""
    level: int = 0


_NO_DETAILS = Details()


class Item(Struct, frozen=True, array_like=True, gc=False):
    """An open item: from when, due when; what it is stands in its step.

    `opens`, `due` and `closes` are instants; `next` is when its successor opens; `calls` says
    that its lateness will call somebody. What `Details` tells can be asked of the item itself.
    """

    id: str
    step: str
    kind: ItemKind
    opens: datetime
    due: datetime | None = None
    closes: datetime | None = None
    next: datetime | None = None
    on_hold: OnHold = "pauses"
    calls: bool = False
    pending: Pending | None = None
    details: Details | None = None

    @property
    def place(self) -> str:
        """The visit or session it belongs to: all but the last part of its id."""
        return self.id.rpartition("/")[0]

    @property
    def about(self) -> str:
        """See `Details`."""
        return "" if self.details is None else self.details.about

    @property
    def roles(self) -> tuple[str, ...]:
        """See `Details`."""
        return () if self.details is None else self.details.roles

    @property
    def opened(self) -> datetime | None:
        """See `Details`."""
        return None if self.details is None else self.details.opened

    @property
    def assigned(self) -> str:
        """See `Details`."""
        return "" if self.details is None else self.details.assigned

    @property
    def handed_by(self) -> str:
        """See `Details`."""
        return "" if self.details is None else self.details.handed_by

    @property
    def not_by(self) -> str:
        """See `Details`."""
        return "" if self.details is None else self.details.not_by

    @property
    def level(self) -> int:
        """See `Details`."""
        return 0 if self.details is None else self.details.level

    def but(self, **details: Any) -> Details | None:
        """Its details with some changed; None where it then has none."""
        changed = replace(self.details or _NO_DETAILS, **details)
        return None if changed == _NO_DETAILS else changed


class Settlement(Struct, frozen=True, array_like=True, gc=False):
    """How a step was last settled and where; `number` is that of its opening; `hands` are all who
    recorded, signed or settled it, kept where somebody else must do another step."""

    outcome: Outcome
    at: datetime
    place: str
    hands: tuple[str, ...]
    number: int
    keep: bool


class Tally(Struct, frozen=True, array_like=True, gc=False):
    """The sessions of one kind, over the whole enrollment: how often, and when last.

    `held` are those that were released or aborted; `today` counts the starts on the local date
    `on`.
    """

    booked: int = 0
    started: int = 0
    dosed: int = 0
    held: int = 0
    counted: int = 0
    aborted: int = 0
    cancelled: int = 0
    on: date | None = None
    today: int = 0
    started_at: datetime | None = None
    dosed_at: datetime | None = None
    released_at: datetime | None = None
    no_shows: int = 0


class Session(Struct, frozen=True, array_like=True, gc=False):
    """A session. `state` is of the session chart; `dosing`: "", running, paused or ended;
    `watched` is for when the last reading of the watch was planned, `recheck` for when the next
    one was asked sooner than planned. It is held on an `order` for the amount `ordered`;
    `checked` is who checked the dose; `told` is when its first dose was told, where that was
    later than it was given."""

    id: str
    kind: str
    number: int
    place: str
    item: str
    state: SessionState
    booked_for: datetime | None = None
    started: datetime | None = None
    dosed: datetime | None = None
    dosing: Literal["", "running", "paused", "ended"] = ""
    paused_by: str = ""
    given: str = ""
    unit: str = ""
    rate: str = ""
    ended: datetime | None = None
    aborted: str = ""
    lapses: datetime | None = None
    watched: datetime | None = None
    recheck: datetime | None = None
    order: str = ""
    ordered: str = ""
    lot: str = ""
    checked: str = ""
    told: datetime | None = None

    @property
    def under_way(self) -> bool:
        """Whether the patient is between start and release."""
        return self.state in ("under_way", "recovering", "stopping")


class ConsentState(Struct, frozen=True, array_like=True, gc=False):
    """A consent as it stands: given, declined or revoked."""

    state: e.ConsentIs
    version: str
    until: datetime | None = None


class OrderState(Struct, frozen=True, array_like=True, gc=False):
    """The last order of a name: `amount` in the basis of its rule, `total` in `unit`; `left`
    administrations (None: as often as needed); it is in force `since` it was placed; the rest is
    as in `events.Ordered`."""

    number: int
    amount: str
    total: str
    unit: str
    until: datetime | None
    left: int | None
    bolus: str = ""
    bolus_over: str = ""
    infusion_over: str = ""
    rate: str = ""
    since: datetime | None = None

    def stands(self, now: datetime) -> bool:
        """Whether it is in force: what happened before it was placed was not done on it."""
        begun = self.since is None or self.since <= now
        some = self.left is None or self.left > 0
        return begun and some and (self.until is None or now < self.until)

    def used(self, times: int) -> OrderState:
        """With so many administrations less."""
        return self if self.left is None else replace(self, left=self.left - times)


class HoldState(Struct, frozen=True, array_like=True, gc=False):
    """A hold that stands; `masks` is since when some hold has stood without a break."""

    reason: str
    since: datetime
    person: str
    masks: datetime


class InGroup(Struct, frozen=True, array_like=True, gc=False):
    """The patient's own place in a group: for a session or an item (`about`); seat 0 waits."""

    kind: str
    about: str
    seat: int


class Erasure(Struct, frozen=True, array_like=True, gc=False):
    """When, by whom and on what ground a patient was erased; only their course is left."""

    at: datetime
    person: str
    ground: str


Told = e.WarnedElsewhere | e.HeldElsewhere | e.IdsChanged | e.SeatGivenUp
"""What is between this enrollment and others, until the timer that waits for it was run."""


class Enrollment(Struct, array_like=True, gc=False):
    """One patient in one program, as of `version` events.

    `visits` are the active ones by phase, outermost first; `items` the open ones by id;
    `settled` the last settlement by step; `readings` the kept recordings by form, oldest first;
    `sessions` those that are not over, and `tallies` the numbers of each kind; `counts` are
    the entries of outermost phases (with `#`: of further rounds) and what gates count; `wake` is
    when the first timer is due; `decided` when gates last decided something: what happened before
    it and is told now is a late entry; `orders` the last order of each name; `groups` are those
    that go on, by id; `elsewhere` is what others have told, or are to be told, and is not heeded
    yet.
    """

    id: str = ""
    program: str = ""
    program_version: str = ""
    digest: str = ""
    patient: str = ""
    site: str = "main"
    standing: Standing = "new"
    version: int = 0
    enrolled: datetime | None = None
    last: datetime | None = None
    admitted: date | None = None
    end: str = ""
    end_kind: str = ""
    recheck: datetime | None = None
    visits: Mapping[str, Visit] = {}
    items: dict[str, Item] = {}
    settled: dict[str, Settlement] = {}
    readings: Mapping[str, tuple[Observation, ...]] = {}
    sessions: Mapping[str, Session] = {}
    consents: Mapping[str, ConsentState] = {}
    holds: Mapping[str, HoldState] = {}
    overrides: Mapping[str, datetime] = {}
    counts: Mapping[str, int] = {}
    tallies: Mapping[str, Tally] = {}
    wake: datetime | None = None
    decided: datetime | None = None
    orders: Mapping[str, OrderState] = {}
    groups: Mapping[str, InGroup] = {}
    erased: Erasure | None = None
    elsewhere: Mapping[str, Told] = {}


_NONE_YET = Tally()
_AWAY = "excursion"  # the region of the phases that are left again by the way back
NOBODY = Enrollment()
"""The enrollment before its first event."""


def copy_of(s: Enrollment) -> Enrollment:
    """A builder: the same enrollment, with items and settlements of its own, which change with
    nearly every command. Of the other mappings a fold puts a changed copy in their place."""
    return replace(s, items=s.items.copy(), settled=s.settled.copy(), wake=None)


def evolve(enrollment: Enrollment, event: e.Event) -> Enrollment:
    """The enrollment after one more event; the old one is left as it was."""
    builder = copy_of(enrollment)
    fold(builder, event)
    builder.wake = wake(builder)
    return builder


def replay(events: Iterable[e.Event], start: Enrollment = NOBODY) -> Enrollment:
    """The enrollment after these events."""
    builder = copy_of(start)
    for event in events:
        fold(builder, event)
    builder.wake = wake(builder)
    return builder


def fold(s: Enrollment, event: e.Event) -> None:
    """Change a private builder by one event; its maker works out `wake` at the end."""
    s.version += 1
    FOLDS[type(event)](s, event)


FORM: Final = 3
"""The form of the state rows that this release writes and reads: the first thing in a row."""


class _Row(Struct, frozen=True, array_like=True, gc=False):
    """An Enrollment as it is stored: what knows its own name needs no key. A row of another
    `form` is no longer read: the entries tell the same. Keys that are short are held once for all
    patients."""

    form: Literal[3]
    head: tuple[str, str, str, str, str, str, Standing, int]
    instants: tuple[datetime | None, datetime | None, date | None, datetime | None, datetime | None]
    end: tuple[str, str]
    visits: dict[str, Visit]
    items: list[Item]
    settled: dict[str, Settlement]
    readings: dict[str, tuple[Observation, ...]]
    sessions: list[Session]
    consents: dict[str, ConsentState]
    holds: dict[str, HoldState]
    overrides: dict[str, datetime]
    counts: dict[str, int]
    tallies: dict[str, Tally]
    decided: datetime | None = None
    orders: dict[str, OrderState] = {}
    groups: dict[str, InGroup] = {}
    erased: Erasure | None = None
    elsewhere: list[Told] = []


_row_encoder = msgspec.msgpack.Encoder()


@lru_cache(maxsize=1)
def row_decoder() -> msgspec.msgpack.Decoder[_Row]:
    """What reads state rows. Made on first use: whoever only decides does not wait for it."""
    return msgspec.msgpack.Decoder(_Row)


def encode_row(s: Enrollment) -> bytes:
    """The state row of an enrollment."""
    return _row_encoder.encode(
        (
            FORM,
            (
                s.id,
                s.program,
                s.program_version,
                s.digest,
                s.patient,
                s.site,
                s.standing,
                s.version,
            ),
            (s.enrolled, s.last, s.admitted, s.recheck, s.wake),
            (s.end, s.end_kind),
            s.visits,
            list(s.items.values()),
            s.settled,
            s.readings,
            list(s.sessions.values()),
            s.consents,
            s.holds,
            s.overrides,
            s.counts,
            s.tallies,
            s.decided,
            s.orders,
            s.groups,
            s.erased,
            list(s.elsewhere.values()),
        )
    )


def decode_row(row: bytes) -> Enrollment:
    """The enrollment of a state row.

    Raises JournalError where the row is not one of this version (replay the entries instead).
    """
    try:
        r = row_decoder().decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What the decoder says may quote the row.
        raise JournalError("a state row cannot be read; replay the entries of its stream") from None
    id_, program, version, digest, patient, site, standing, entries = r.head
    enrolled, last, admitted, recheck, wakes = r.instants
    # What many patients share is held once; what is empty, nobody changes (see `copy_of`).
    return Enrollment(
        id_,
        intern(program),
        intern(version),
        intern(digest),
        patient,
        intern(site),
        standing,
        entries,
        enrolled,
        last,
        admitted,
        *r.end,
        recheck,
        r.visits or _EMPTY,
        {item.id: item for item in r.items},
        r.settled or _EMPTY,
        r.readings or _EMPTY,
        {session.id: session for session in r.sessions} if r.sessions else _EMPTY,
        r.consents or _EMPTY,
        r.holds or _EMPTY,
        r.overrides or _EMPTY,
        r.counts or _EMPTY,
        r.tallies or _EMPTY,
        wakes,
        r.decided,
        r.orders or _EMPTY,
        r.groups or _EMPTY,
        r.erased,
        {each.call: each for each in r.elsewhere} if r.elsewhere else _EMPTY,
    )


_EMPTY: dict[str, Any] = {}


def is_within(place: str, around: str) -> bool:
    """Whether a place is another or lies inside it."""
    return place.startswith(around) and (
        len(place) == len(around) or place[len(around)] == "/" or not around
    )


# One function for each event, in the order of events.py. They run on every command.


def _at(s: Enrollment, at: datetime) -> None:
    if s.last is None or at > s.last:
        s.last = at


def _enrolled(s: Enrollment, x: e.Enrolled) -> None:
    s.id, s.program, s.program_version, s.digest = x.enrollment, x.program, x.version, x.digest
    s.patient, s.site, s.standing, s.enrolled = x.patient, x.site, "applied", x.at
    _at(s, x.at)


def _admitted(s: Enrollment, x: e.Admitted) -> None:
    s.admitted, s.standing = x.on, "active"
    _at(s, x.at)


def _phase_entered(s: Enrollment, x: e.PhaseEntered) -> None:
    visit = Visit(x.place, x.region == _AWAY, x.at, x.visit, x.round)
    s.visits = visits = {**s.visits, x.phase: visit}
    outer = x.place.rpartition("/")[0]
    again = x.phase + "#"
    if not outer:
        _count_one(s, x.phase)
        if x.round > 1:
            _count_one(s, again)
    else:
        name, parent = next(each for each in visits.items() if each[1].place == outer)
        inside = {} if parent.inside is None else parent.inside.copy()
        inside[x.phase] = inside.get(x.phase, 0) + 1
        if x.round > 1:
            inside[again] = inside.get(again, 0) + 1
        visits[name] = replace(parent, inside=inside)
    if x.row != "start":
        s.decided = x.at
    _at(s, x.at)


def _count_one(s: Enrollment, what: str) -> None:
    s.counts = {**s.counts, what: s.counts.get(what, 0) + 1}


def _decided(s: Enrollment, at: datetime) -> None:
    """What happened before this and is told later comes late: it may have decided otherwise."""
    s.decided = at if s.decided is None or at > s.decided else s.decided
    _at(s, at)


def _phase_left(s: Enrollment, x: e.PhaseLeft) -> None:
    s.visits = visits = _without(s.visits, x.phase)
    if x.finishes and (parent := visits.get(x.finishes)) is not None:
        visits[x.finishes] = replace(parent, ended=(*parent.ended, x.phase))
    settled, place = s.settled, x.place
    for name in [
        name for name, last in settled.items() if not last.keep and last.place.startswith(place)
    ]:
        if is_within(settled[name].place, place):  # else its name goes on: round.1 and round.10
            del settled[name]
    _forget(s, place)
    _decided(s, x.at)


def _without(mapping: Mapping[str, _T], key: str) -> dict[str, _T]:
    left = dict(mapping)
    left.pop(key, None)
    return left


def _forget(s: Enrollment, place: str) -> None:
    """A place is over: drop the recordings that can be read only inside it."""
    ends = {o.form for kept in s.readings.values() for o in kept if o.kept_in.startswith(place)}
    for form in ends:
        kept = s.readings[form]
        left = tuple(o for o in kept if not (o.kept_in and is_within(o.kept_in, place)))
        s.readings = {**s.readings, form: left} if left else _without(s.readings, form)


def _item_opened(s: Enrollment, x: e.ItemOpened) -> None:
    s.items[x.item] = Item(
        x.item,
        x.step,
        x.kind,
        x.opens,
        x.due,
        x.closes,
        x.next,
        x.on_hold,
        x.calls,
        None,
        _details(x),
    )
    if x.kind == "watch":
        _watch_planned(s, s.items[x.item])
    if s.last is None or x.at > s.last:
        s.last = x.at


def _details(x: e.ItemOpened) -> Details | None:
    restarts = x.on_hold == "restarts"
    if x.step and not restarts:
        return None
    return Details(x.about, () if x.step else x.roles, x.at if restarts else None, not_by=x.not_by)


def _watch_planned(s: Enrollment, item: Item, asked: bool = False) -> None:
    """A reading has its time; `asked`: one that was asked for after it is still to come."""
    for id_, session in s.sessions.items():
        if session.place == item.place:
            later = asked and session.recheck is not None and session.recheck > item.opens
            recheck = session.recheck if later else None
            planned = replace(session, watched=item.opens, recheck=recheck)
            s.sessions = {**s.sessions, id_: planned}


def _item_assigned(s: Enrollment, x: e.ItemAssigned) -> None:
    by = x.by if x.handed else ""
    item = s.items[x.item]
    s.items[x.item] = replace(item, details=item.but(assigned=x.person, handed_by=by))
    _at(s, x.at)


def _item_answered(s: Enrollment, x: e.ItemAnswered) -> None:
    pending = Pending("", x.needs, (x.person,), x.content, x.occurred)
    s.items[x.item] = replace(s.items[x.item], pending=pending)
    _at(s, x.at)


def _item_replanned(s: Enrollment, x: e.ItemReplanned) -> None:
    item = s.items[x.item]
    s.items[x.item] = replace(
        item,
        opens=x.opens,
        due=x.due,
        closes=x.closes,
        next=x.next,
        calls=x.calls,
        details=item.details if x.anew == item.opened else item.but(opened=x.anew),
    )
    if item.kind == "watch":
        _watch_planned(s, s.items[x.item], asked=True)


def _item_settled(s: Enrollment, x: e.ItemSettled) -> None:
    s.items.pop(x.item, None)
    if x.step:
        number = int(x.item.rpartition(".")[2])
        # Who did it matters where somebody else must do another step, and whether a timer did.
        hands = (*x.hands, x.person) if x.compared or x.outcome == "missed" else ()
        s.settled[x.step] = Settlement(x.outcome, x.at, x.place, hands, number, x.keep)
        if x.tally:
            key = f"{x.step}:{x.outcome}"
            _count_one(s, key)
        if not number:  # skipped by branching
            s.decided = x.at
    if s.last is None or x.at > s.last:
        s.last = x.at


def _observation_recorded(s: Enrollment, x: e.ObservationRecorded) -> None:
    if x.needs and x.item:
        pending = Pending(x.observation, x.needs, (x.person,), x.content)
        s.items[x.item] = replace(s.items[x.item], pending=pending)
    if s.last is None or x.recorded > s.last:
        s.last = x.recorded
    if not x.kept:
        return
    kept = s.readings.get(x.form, ())
    if x.drops:
        kept = tuple(o for o in kept if o.id not in x.drops)
    s.readings = {**s.readings, x.form: _among(kept, _reading(x))}


def _reading(x: e.ObservationRecorded | e.ObservationCorrected) -> Observation:
    """What gates may read of a recording."""
    return Observation(
        x.observation,
        x.form,
        x.step,
        x.place,
        {name: x.values[name] for name in x.kept if name in x.values},
        x.occurred,
        None,
        not x.needs,
        x.valid_until,
        x.kept_in,
    )


def _among(kept: tuple[Observation, ...], new: Observation) -> tuple[Observation, ...]:
    """Readings by when they occurred; of the same instant, as they were recorded."""
    if kept and kept[-1].occurred > new.occurred:
        at = next(i for i, o in enumerate(kept) if o.occurred > new.occurred)
        return (*kept[:at], new, *kept[at:])
    return (*kept, new)


def _observation_corrected(s: Enrollment, x: e.ObservationCorrected) -> None:
    _replace(s, x.form, {x.corrects, *x.drops}, (*x.restored, *((_reading(x),) if x.kept else ())))
    item = s.items.get(x.item)
    if item is not None:
        pending = Pending(x.observation, x.needs, (x.person,), x.content)
        s.items[x.item] = replace(item, pending=pending)
    if x.settles:
        s.settled[x.step] = replace(s.settled[x.step], at=x.occurred)
    _at(s, x.recorded)


def _observation_retracted(s: Enrollment, x: e.ObservationRetracted) -> None:
    _replace(s, x.form, {x.observation}, x.restored)
    item = s.items.get(x.item)
    if item is not None:
        s.items[x.item] = replace(item, pending=None)
    _at(s, x.recorded)


def _observation_addended(s: Enrollment, x: e.ObservationAddended) -> None:
    _at(s, x.recorded)


def _replace(s: Enrollment, form: str, out: set[str], into: tuple[Observation, ...]) -> None:
    """Take readings of a form away and put others in their places."""
    kept = tuple(o for o in s.readings.get(form, ()) if o.id not in out)
    for new in into:
        kept = _among(kept, replace(new, recorded=None))
    s.readings = {**s.readings, form: kept} if kept else _without(s.readings, form)


def _skip_voided(s: Enrollment, x: e.SkipVoided) -> None:
    s.settled.pop(x.step, None)
    _at(s, x.at)


def _signed(s: Enrollment, x: e.Signed) -> None:
    item = s.items.get(x.item)
    pending = None if item is None else item.pending
    if item is None or pending is None:  # a release; or it was signed in the act that recorded it
        return
    needs = tuple(each for each in pending.needs if each != x.as_)
    hands = (*pending.hands, x.person)
    s.items[x.item] = replace(item, pending=replace(pending, needs=needs, hands=hands))
    if not needs and x.observation:
        for form, kept in s.readings.items():
            for at, each in enumerate(kept):
                if each.id == x.observation:
                    signed = replace(each, signed=True)
                    s.readings = {**s.readings, form: (*kept[:at], signed, *kept[at + 1 :])}
    _at(s, x.at)


def _consent_changed(s: Enrollment, x: e.ConsentChanged) -> None:
    if not x.superseded:
        s.consents = {**s.consents, x.consent: ConsentState(x.state, x.version, x.until)}
    _at(s, x.recorded or x.at)


def _session(s: Enrollment, id_: str, at: datetime, **changes: Any) -> None:
    s.sessions = {**s.sessions, id_: replace(s.sessions[id_], **changes)}
    _at(s, at)


def _session_booked(s: Enrollment, x: e.SessionBooked) -> None:
    session = Session(
        x.session, x.kind, x.number, x.place, x.item, "booked", x.booked_for, lapses=x.lapses
    )
    s.sessions = {**s.sessions, x.session: session}
    tally = replace(s.tallies.get(x.kind, _NONE_YET), booked=x.number)
    s.tallies = {**s.tallies, x.kind: tally}
    _at(s, x.at)


def _session_moved(s: Enrollment, x: e.SessionMoved) -> None:
    _session(s, x.session, x.at, booked_for=x.booked_for, lapses=x.lapses)


def _session_arrived(s: Enrollment, x: e.SessionArrived) -> None:
    _session(s, x.session, x.recorded or x.at, state="arrived", lapses=None)


def _count(s: Enrollment, session: str, event: str, **changes: Any) -> None:
    kind = s.sessions[session].kind
    tally = s.tallies.get(kind, _NONE_YET)
    tally = replace(tally, **{event: getattr(tally, event) + 1}, **changes)
    s.tallies = {**s.tallies, kind: tally}


def _session_started(s: Enrollment, x: e.SessionStarted) -> None:
    _session(
        s,
        x.session,
        x.at,
        state="under_way",
        started=x.at,
        lapses=None,
        order=x.order,
        ordered=x.ordered,
    )
    _use_order(s, x.order)
    _decided(s, x.at)
    _at(s, x.recorded or x.at)
    tally = s.tallies[s.sessions[x.session].kind]
    if tally.on is None or x.on >= tally.on:
        today = tally.today + 1 if tally.on == x.on else 1
        _count(s, x.session, "started", started_at=x.at, on=x.on, today=today)
    else:  # of a day before the last one, told late
        _count(s, x.session, "started")


def _dose_given(s: Enrollment, x: e.DoseGiven) -> None:
    changes: dict[str, Any] = {"given": x.total, "unit": x.unit}
    if x.first:
        changes |= {"dosed": x.at, "dosing": "running", "told": x.recorded}
        _count(s, x.session, "dosed", dosed_at=x.at)
    if x.rate:
        changes["rate"] = x.rate
    if x.lot:
        changes["lot"] = x.lot
    _session(s, x.session, x.recorded or x.at, **changes)


def _lot_corrected(s: Enrollment, x: e.LotCorrected) -> None:
    session = s.sessions.get(x.session)
    if session is not None and session.lot == x.was:  # else it is over, or goes on from another
        _session(s, x.session, x.at, lot=x.lot)


def _dosing_paused(s: Enrollment, x: e.DosingPaused) -> None:
    _session(s, x.session, x.recorded or x.at, dosing="paused", paused_by=x.because)


def _dosing_resumed(s: Enrollment, x: e.DosingResumed) -> None:
    rate = x.rate or s.sessions[x.session].rate
    _session(s, x.session, x.at, dosing="running", paused_by="", rate=rate)


def _dosing_ended(s: Enrollment, x: e.DosingEnded) -> None:
    _session(
        s,
        x.session,
        x.recorded or x.at,
        dosing="ended",
        given=x.total,
        unit=x.unit,
        state="recovering",
        ended=x.at,
    )


def _session_aborted(s: Enrollment, x: e.SessionAborted) -> None:
    changes: dict[str, Any] = {"dosing": "ended", "state": "stopping"}
    changes["aborted"] = x.rule or x.reason or "aborted"
    changes["ended"] = s.sessions[x.session].ended or x.at
    _session(s, x.session, x.recorded or x.at, **changes)
    _count(s, x.session, "aborted")
    if x.rule:
        s.decided = x.at


def _reading_asked(s: Enrollment, x: e.ReadingAsked) -> None:
    _session(s, x.session, x.at, recheck=x.due)


def _session_cancelled(s: Enrollment, x: e.SessionCancelled) -> None:
    _count(s, x.session, "cancelled")
    if x.cause == "no-show":
        _count(s, x.session, "no_shows")
    _use_order(s, x.order, -1)
    _session_over(s, x.session, x.at)


def _session_released(s: Enrollment, x: e.SessionReleased) -> None:
    _count(s, x.session, "held", released_at=x.at)
    if x.counted:
        _count(s, x.session, "counted")
    _session_over(s, x.session, x.recorded or x.at)
    _decided(s, x.at)


def _session_over(s: Enrollment, id_: str, at: datetime) -> None:
    """What is left of a session are its numbers and its entries in the journal."""
    place, s.sessions = s.sessions[id_].place, _without(s.sessions, id_)
    _forget(s, place)
    _at(s, at)


def order_state(x: e.Ordered) -> OrderState:
    """An order as it stands when it has been placed."""
    return OrderState(
        x.number,
        x.amount,
        x.total,
        x.unit,
        x.until,
        x.times,
        x.bolus,
        x.bolus_over,
        x.infusion_over,
        x.rate,
        x.at,
    )


def _ordered(s: Enrollment, x: e.Ordered) -> None:
    s.orders = {**s.orders, x.order: order_state(x)}
    _decided(s, x.at)


def _order_stopped(s: Enrollment, x: e.OrderStopped) -> None:
    s.orders = {**s.orders, x.order: replace(s.orders[x.order], until=x.at)}
    _at(s, x.recorded or x.at)


def _use_order(s: Enrollment, id_: str, times: int = 1) -> None:
    """An administration of an order is used up, or (-1) given back, unless a newer one stands."""
    name, _, number = id_.rpartition(".")
    order = s.orders.get(name)
    if order is not None and number == str(order.number):
        s.orders = {**s.orders, name: order.used(times)}


def _dose_checked(s: Enrollment, x: e.DoseChecked) -> None:
    _session(s, x.session, x.recorded or x.at, checked=x.person)


def _medicine_given(s: Enrollment, x: e.MedicineGiven) -> None:
    _use_order(s, x.order)
    _at(s, x.recorded)


def _held(s: Enrollment, x: e.Held) -> None:
    masks = next((hold.masks for hold in s.holds.values()), x.at)
    s.holds = {**s.holds, x.hold: HoldState(x.reason, x.at, x.person, masks)}
    _count_one(s, "hold")
    _at(s, x.at)


def _hold_lifted(s: Enrollment, x: e.HoldLifted) -> None:
    s.holds = _without(s.holds, x.hold)
    _at(s, x.at)


def _override_granted(s: Enrollment, x: e.OverrideGranted) -> None:
    s.overrides = {**s.overrides, x.gate: x.until}
    _at(s, x.at)


def _override_used(s: Enrollment, x: e.OverrideUsed) -> None:
    s.overrides = _without(s.overrides, x.gate)


def _recheck_set(s: Enrollment, x: e.RecheckSet) -> None:
    s.recheck = x.at


def _moment(
    s: Enrollment,
    x: e.AlertRaised
    | e.DeviationNoted
    | e.ActedFor
    | e.GlassBroken
    | e.OfferMade
    | e.DrugHandled
    | e.OverrideAsked,
) -> None:
    _at(s, x.at)


def _decision_questioned(s: Enrollment, x: e.DecisionQuestioned) -> None:
    """Nothing settled is undone: the item that it opens is all that follows."""


def _alert_escalated(s: Enrollment, x: e.AlertEscalated) -> None:
    item = s.items[x.call]
    roles = tuple(dict.fromkeys((*item.roles, *x.tell)))
    details = item.but(roles=roles, level=x.level)
    s.items[x.call] = replace(item, due=x.answer_by, calls=True, details=details)
    _at(s, x.at)


def _timer_elapsed(s: Enrollment, x: e.TimerElapsed) -> None:
    if s.recheck is not None and s.recheck <= x.at:
        s.recheck = None
    if x.late:
        s.items[x.late] = replace(s.items[x.late], calls=False)
    if x.heeded:
        s.elsewhere = _without(s.elsewhere, x.heeded)
    _at(s, x.at)


def _elsewhere(s: Enrollment, x: Told) -> None:
    """What was due here before goes on first, at its own time: no clock is moved."""
    s.elsewhere = {**s.elsewhere, x.call: x}


def _discharged(s: Enrollment, x: e.Discharged) -> None:
    s.standing, s.end, s.end_kind, s.recheck = "discharged", x.end, x.kind, None
    s.holds, s.overrides, s.orders = {}, {}, {}
    _decided(s, x.at)
    _at(s, x.recorded or x.at)


def _closed(s: Enrollment, x: e.Closed) -> None:
    s.standing = "closed"
    _at(s, x.at)


def _site_changed(s: Enrollment, x: e.SiteChanged) -> None:
    s.site = x.site
    if x.admitted is not None:
        s.admitted = x.admitted
    _at(s, x.at)


def _version_changed(s: Enrollment, x: e.VersionChanged) -> None:
    s.program_version, s.digest = x.version, x.digest
    s.settled = {
        step: Settlement(outcome, at, place, hands, number, keep)
        for step, outcome, at, place, hands, number, keep in x.settled
    }
    s.readings = {
        form: tuple(replace(each, recorded=None) for each in kept)
        for form, kept in x.values.items()
        if kept
    }
    s.counts = dict(x.counts)
    if x.phases or x.steps:
        _called_otherwise(s, x.phases, x.steps)
    _at(s, x.at)


def _called_otherwise(s: Enrollment, phases: Mapping[str, str], steps: Mapping[str, str]) -> None:
    """Where somebody is and what is open, by other names. The ids of places and items stay."""
    visits: dict[str, Visit] = {}
    for phase, visit in s.visits.items():
        inside = None
        if visit.inside is not None:
            inside = {_phase_key(key, phases): count for key, count in visit.inside.items()}
        ended = tuple(phases.get(each, each) for each in visit.ended)
        visits[phases.get(phase, phase)] = replace(visit, ended=ended, inside=inside)
    s.visits = visits
    for id_, item in s.items.items():
        step, details = steps.get(item.step, item.step), item.details
        if item.about:  # a phase, a step to be signed, or a call (`look.alert.1`, `late.look`)
            late = "late." if item.about.startswith("late.") else ""
            owner, dot, rest = item.about.removeprefix(late).partition(".alert.")
            about = steps.get(owner, phases.get(owner, owner))
            details = item.but(about=late + about + dot + rest)
        s.items[id_] = replace(item, step=step, details=details)


def _phase_key(key: str, phases: Mapping[str, str]) -> str:
    """A phase, or (with `#`) its further rounds."""
    name, rounds, _ = key.partition("#")
    return phases.get(name, name) + rounds


def _erased(s: Enrollment, x: e.Erased) -> None:
    if x.wholly:  # a course that nobody goes on with, and nothing waits for
        s.erased = Erasure(x.at, x.person, x.ground)
        s.patient, s.recheck, s.groups = "", None, {}
        s.items.clear()
        s.readings, s.sessions, s.holds, s.overrides, s.orders = {}, {}, {}, {}, {}
    _at(s, x.at)


def _group_joined(s: Enrollment, x: e.GroupJoined) -> None:
    s.groups = {**s.groups, x.group: InGroup(x.kind, x.about, x.seat)}
    _at(s, x.at)


def _group_waitlisted(s: Enrollment, x: e.GroupWaitlisted) -> None:
    s.groups = {**s.groups, x.group: InGroup(x.kind, x.item, 0)}
    _at(s, x.at)


def _group_left(s: Enrollment, x: e.GroupLeft) -> None:
    s.groups = {id_: place for id_, place in s.groups.items() if id_ != x.group}
    _at(s, x.at)


FOLDS: dict[type, Callable[[Enrollment, Any], None]] = {
    e.Enrolled: _enrolled,
    e.Admitted: _admitted,
    e.PhaseEntered: _phase_entered,
    e.PhaseLeft: _phase_left,
    e.ItemOpened: _item_opened,
    e.ItemAssigned: _item_assigned,
    e.ItemAnswered: _item_answered,
    e.ItemReplanned: _item_replanned,
    e.ItemSettled: _item_settled,
    e.ObservationRecorded: _observation_recorded,
    e.ObservationCorrected: _observation_corrected,
    e.ObservationRetracted: _observation_retracted,
    e.ObservationAddended: _observation_addended,
    e.DecisionQuestioned: _decision_questioned,
    e.SkipVoided: _skip_voided,
    e.Signed: _signed,
    e.ConsentChanged: _consent_changed,
    e.SessionBooked: _session_booked,
    e.SessionMoved: _session_moved,
    e.SessionArrived: _session_arrived,
    e.SessionStarted: _session_started,
    e.DoseGiven: _dose_given,
    e.LotCorrected: _lot_corrected,
    e.DosingPaused: _dosing_paused,
    e.DosingResumed: _dosing_resumed,
    e.DosingEnded: _dosing_ended,
    e.SessionAborted: _session_aborted,
    e.SessionCancelled: _session_cancelled,
    e.SessionReleased: _session_released,
    e.Ordered: _ordered,
    e.OrderStopped: _order_stopped,
    e.DoseChecked: _dose_checked,
    e.MedicineGiven: _medicine_given,
    e.DrugHandled: _moment,
    e.AlertRaised: _moment,
    e.AlertEscalated: _alert_escalated,
    e.ReadingAsked: _reading_asked,
    e.DeviationNoted: _moment,
    e.Held: _held,
    e.HoldLifted: _hold_lifted,
    e.OverrideGranted: _override_granted,
    e.OverrideAsked: _moment,
    e.OverrideUsed: _override_used,
    e.ActedFor: _moment,
    e.GlassBroken: _moment,
    e.RecheckSet: _recheck_set,
    e.TimerElapsed: _timer_elapsed,
    e.WarnedElsewhere: _elsewhere,
    e.HeldElsewhere: _elsewhere,
    e.IdsChanged: _elsewhere,
    e.SeatGivenUp: _elsewhere,
    e.Discharged: _discharged,
    e.Closed: _closed,
    e.SiteChanged: _site_changed,
    e.VersionChanged: _version_changed,
    e.OfferMade: _moment,
    e.Erased: _erased,
    e.GroupJoined: _group_joined,
    e.GroupWaitlisted: _group_waitlisted,
    e.GroupLeft: _group_left,
}
