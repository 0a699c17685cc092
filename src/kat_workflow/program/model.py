"""The compiled Program: plain frozen data that every other room reads.

A `Program` is what a program file means, with every name resolved and the hierarchy flattened
into tables keyed by name. It knows no YAML and no patient. Phases, steps, sessions, gates,
limits and ends each have one program-wide unique name; what a contained program brings is
prefixed with the name of the phase that contains it and a dot (`detox.day`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Literal

from attrs import field, frozen

from kat_workflow.errors import Place
from kat_workflow.program import PATIENT, OnHold
from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import Form
from kat_workflow.program.gates import Test


@frozen(eq=False)
class Source:
    """Where a number comes from; trust is A (regulator, trial), B (practice) or C (other)."""

    name: str
    title: str
    trust: Literal["A", "B", "C"]
    url: str = ""


@frozen(eq=False)
class Consent:
    """A consent that steps obtain; in force from being given until revoked or expired."""

    name: str
    title: str
    version: str = "1"
    lasts: Duration | None = None


@frozen(eq=False)
class Limit:
    """A named number with its unit (the words of the file, such as `mmHg`) and its source.

    `overlay` is the name of the overlay that gave the number, "" where the program did.
    """

    name: str
    value: Decimal
    unit: str
    source: str = ""
    about: str = ""
    overlay: str = ""


@frozen(eq=False)
class Difference:
    """A part that a variant or an overlay says otherwise than its base.

    `path` leads there as it is written; `before` and `now` are what stands in the base and here,
    as text, "" where nothing does.
    """

    path: str
    before: str
    now: str
    place: Place


@frozen(eq=False)
class Override:
    """Who may turn a gate true, and for how long: once a second person of `cosigned_by` has
    agreed, if anybody is named there. `reasons` are the ones there may be, by code; none: any."""

    by: tuple[str, ...]
    lasts: Duration
    cosigned_by: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(factory=dict)


@frozen(eq=False)
class Gate:
    """A named condition; `says` is the sentence that is true when it holds.

    `text` is the expression as written. What judges a patient is a `Test`, compiled anew for
    each place that uses the gate, because names read the innermost enclosing place (R10).
    """

    name: str
    says: str
    text: str
    override: Override | None = None
    place: Place | None = None


@frozen(eq=False)
class Cadence:
    """One row of `every`: how often a step recurs while `when` holds (None: always)."""

    interval: Duration | None = None
    daily_at: tuple[time, ...] = ()
    when: Test | None = None


@frozen(eq=False)
class Call:
    """Who is called when nobody has answered the call before, and how soon they must answer."""

    tell: tuple[str, ...]
    answer_within: Duration


@frozen(eq=False)
class Alert:
    """A reading that sets something off.

    It calls `tell`: an item for them, due within `answer_within`; `then` is called one after the
    other while nobody answers. In a session `recheck` is how soon the watch looks again; there
    `tell` may be empty. `everywhere`: the patient's other enrollments call somebody as well.
    """

    name: str
    says: str
    when: Test
    tell: tuple[str, ...]
    answer_within: Duration | None
    then: tuple[Call, ...] = ()
    recheck: Duration | None = None
    everywhere: bool = False
    place: Place | None = None


@frozen(eq=False)
class Lateness:
    """What follows when an item's due instant passes; `then`: see `Alert`."""

    tell: tuple[str, ...]
    answer_within: Duration
    then: tuple[Call, ...] = ()


@frozen(eq=False)
class Anchor:
    """The instant a window counts from.

    kind `opening`: the item's own opening; `entering`: entry into the step's phase; `step`: the
    step `name` was settled as done; `session`: the session kind `name` was `event` (started,
    dosed, released); `fact`: the instant recorded in the field `name` (`intake.last_use`).
    """

    kind: Literal["opening", "entering", "step", "session", "fact"]
    name: str = ""
    event: str = ""


@frozen(eq=False)
class Step:
    """Something done in a phase, in a session or after leaving.

    Exactly one of `form`, `consent`, `session`, `order` is set, or none for a task that is only
    ticked off. `owner` is the name of the phase or session kind it belongs to ("" for work after
    leaving). The compiler works out the rest: `remembered`, its last settlement is read from
    outside its own visit; `tallied`, its settlements are counted by a gate; `compared`, somebody
    else must do another step. `keeps` are the fields of its recordings that some gate can read,
    and `kept_in` the phase or session with whose end they can be read no more ("": never). What
    is done up to `early_by` before it opens counts as done in time; with `quiet` an opening waits
    for the end of the site's quiet hours. `renamed_from` are its names in older versions.
    """

    name: str
    title: str
    owner: str
    owner_kind: Literal["phase", "session", "leaving"]
    by: tuple[str, ...]
    form: str = ""
    consent: str = ""
    session: str = ""
    order: str = ""
    signed: bool = False
    cosigned_by: tuple[str, ...] = ()
    witnessed_by: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    different_person_from: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    only_if: Test | None = None
    required: bool = True
    may_be: frozenset[str] = frozenset()
    counted_from: Anchor = Anchor("opening")
    opens: Duration | None = None
    due: Duration | None = None
    closes: Duration | None = None
    on_day: int | None = None
    at: time | None = None
    every: tuple[Cadence, ...] = ()
    at_most: int = 1
    alerts: tuple[Alert, ...] = ()
    when_late: Lateness | None = None
    on_hold: OnHold = "pauses"
    part: Literal["", "before", "watch", "after"] = ""
    if_skipped: Mapping[str, object] = field(factory=dict)
    source: str = ""
    about: str = ""
    remembered: bool = False
    tallied: bool = False
    compared: bool = False
    keeps: tuple[str, ...] = ()
    kept_in: str = ""
    place: Place | None = None
    early_by: Duration | None = None
    quiet: Literal["", "waits"] = ""
    group: str = ""
    renamed_from: tuple[str, ...] = ()


@frozen(eq=False)
class Repeat:
    """Rounds of a phase. `until` is judged between rounds, from `at_least` rounds on."""

    at_least: int
    at_most: int
    until: Test | None = None
    one_per: Literal["", "program day"] = ""


@frozen(eq=False)
class Row:
    """One row of `next`: the first that holds is gone, an unknown one stops.

    `to` is the full name of a sibling phase, of an end (`to_kind` end), or "" with `to_kind`
    `finish` (the phase's parent is finished) or `back` (the way back from an excursion). Where
    an end of a contained program is mapped, a row deep inside may lead to a sibling of the phase
    that contains the program, or name that phase with `finish`: it is finished as a whole.
    """

    name: str
    to: str
    to_kind: Literal["phase", "end", "finish", "back"]
    when: Test | None
    at_once: bool = False
    safety: bool = False
    says: str = ""
    place: Place | None = None


@frozen(eq=False)
class Phase:
    """Where a patient is.

    kind `leaf` has no phases inside; `sequence` has `children`, one active at a time, beginning
    with `start`; `tracks` has `children` that are all active side by side. `path` runs from the
    outermost enclosing phase to the phase itself. `region` is the name of the chart's region the
    phase lives in: "" (the program itself), or the name of the track around it. `renamed_from`
    are its names in older versions.
    """

    name: str
    title: str
    kind: Literal["leaf", "sequence", "tracks"]
    path: tuple[str, ...]
    region: str
    children: tuple[str, ...] = ()
    start: str = ""
    steps: tuple[str, ...] = ()
    required_steps: tuple[str, ...] = ()
    repeat: Repeat | None = None
    next: tuple[Row, ...] = ()
    at_once: tuple[Row, ...] = ()
    required: bool = True
    admits: bool = False
    excursion: bool = False
    by: tuple[str, ...] = ()
    decided_by: tuple[str, ...] = ()
    about: str = ""
    place: Place | None = None
    renamed_from: tuple[str, ...] = ()

    @property
    def parent(self) -> str:
        """The name of the enclosing phase, or ""."""
        return self.path[-2] if len(self.path) > 1 else ""


@frozen(eq=False)
class OrderRule:
    """What a prescriber may order.

    What is given is measured in `unit`; what is ordered, in `basis`: the same unit, or, where a
    `weight` (form and field, measured in `weight_unit`) is used, that unit per body weight. Bounds
    of an order, of its first quick part (the bolus) and of a raise against the order before are
    in `basis`; `most` and `rounded_to` (always down) in `unit`. An order may be given `times`
    times (None: as often as needed) and stands for as long as it `lasts`, never longer than its
    weight.
    """

    name: str
    title: str
    drug: str
    route: str
    by: tuple[str, ...]
    unit: str
    basis: str
    amount_from: Decimal
    amount_to: Decimal
    most: Decimal | None = None
    rounded_to: Decimal | None = None
    weight: tuple[str, str] | None = None
    weight_unit: str = ""
    weight_lasts: Duration | None = None
    raise_at_most: Decimal | None = None
    bolus_at_most: Decimal | None = None
    times: int | None = None
    lasts: Duration | None = None
    source: str = ""


@frozen(eq=False)
class CapRule:
    """The most of a drug that a patient may be given.

    Over a `program day` (a local date of the site), over the last `hours`, and over a `course`,
    everything counts that the patient was given in any program; per `enrollment`, what was given
    in this one. `most` is in the unit of the dose.
    """

    most: Decimal
    per: Literal["program day", "hours", "enrollment", "course"]
    hours: Duration | None = None
    source: str = ""


@frozen(eq=False)
class Ledger:
    """The book of a controlled drug: what is drawn is given, wasted or returned. What is wasted
    needs a witness in one of these roles, another person; () for none. `schedule` is the drug's.
    What is `kept_by` somebody else (a pharmacy) is not drawn here, and waits for no balance."""

    name: str
    title: str
    drug: str
    witnessed_by: tuple[str, ...]
    schedule: str = ""
    kept_by: str = ""


@frozen(eq=False)
class Medicine:
    """A medicine given as needed, on an `order` (which says drug, route and amounts), where
    `only_if` holds. A controlled one is in a `ledger`."""

    name: str
    title: str
    by: tuple[str, ...]
    order: str
    reason: str = ""
    apart: Duration | None = None
    caps: tuple[CapRule, ...] = ()
    source: str = ""
    only_if: Test | None = None
    ledger: str = ""


@frozen(eq=False)
class DoseRule:
    """What is given in a session. Amounts and rates are in the words of the file.

    `amount` is fixed, or an `order` says it; `most` is the most that one session may give.
    Before anything is given, another person in one of the roles `checked_by` checks it. `lot` is
    the step of the session, and the field of its form, in which the lot is recorded.
    """

    drug: str
    route: str
    unit: str
    amount: Decimal | None = None
    most: Decimal | None = None
    rate_unit: str = ""
    rate_from: Decimal | None = None
    rate_to: Decimal | None = None
    source: str = ""
    order: str = ""
    caps: tuple[CapRule, ...] = ()
    ledger: str = ""
    checked_by: tuple[str, ...] = ()
    lot: tuple[str, str] | None = None


@frozen(eq=False)
class Spacing:
    """`times` sessions of a kind at most `per` program day, or per `hours`, or per enrollment."""

    times: int
    per: Literal["program day", "enrollment"]


@frozen(eq=False)
class Watch:
    """Readings at elapsed times from the first drug given until release; `step` names its step.

    After those of `at`, one follows `during_every` as long as the dose has not ended, and one
    `then_every` from then on (without `during_every`: from the beginning).
    """

    step: str
    at: tuple[Duration, ...]
    then_every: Duration
    late_after: Duration
    during_every: Duration | None = None


@frozen(eq=False)
class SessionRule:
    """A pause or stop rule over readings; judged on any recorded value."""

    name: str
    says: str
    when: Test
    tell: tuple[str, ...] = ()
    answer_within: Duration | None = None
    then: tuple[Call, ...] = ()
    recheck: Duration | None = None
    place: Place | None = None


@frozen(eq=False)
class Release:
    """Leave to go: minimum time since the first dose AND criteria AND a signature."""

    earliest: Duration
    when: Test | None
    signed_by: tuple[str, ...]
    place: Place | None = None


@frozen(eq=False)
class SessionKind:
    """A kind of session. `steps` are its own steps in order: before, watch, after.
    A patient has one `sedating` session a date, in whatever enrollment.

    After every `no_shows` bookings to which nobody came somebody must look (0: never). The next
    session is proposed between `apart` and `plan_within` after the start of the last.
    """

    name: str
    title: str
    ready: tuple[Test, ...] = ()
    present: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    dose: DoseRule | None = None
    at_most: Spacing | None = None
    apart: Duration | None = None
    watch: Watch | None = None
    pause_when: tuple[SessionRule, ...] = ()
    stop_when: tuple[SessionRule, ...] = ()
    alerts: tuple[Alert, ...] = ()
    release: Release | None = None
    counts_when: Test | None = None
    no_show_after: Duration | None = None
    by: tuple[str, ...] = ()
    source: str = ""
    about: str = ""
    place: Place | None = None
    sedating: bool = False
    short_notice: Duration | None = None
    no_shows: int = 0
    plan_within: Duration | None = None
    group: str = ""


@frozen(eq=False)
class StaffRatio:
    """At least one person of a role for every `one_per` members."""

    role: str
    one_per: int


@frozen(eq=False)
class GroupKind:
    """A kind of group: what is held with several patients in one room.

    `lasts` is how long the room is taken as planned; no `rooms` means any. `override_by` may
    start it below its minimum or short of staff.
    """

    name: str
    title: str
    capacity: int
    minimum: int
    lasts: Duration
    by: tuple[str, ...]
    rooms: tuple[str, ...] = ()
    staff: tuple[StaffRatio, ...] = ()
    override_by: tuple[str, ...] = ()
    source: str = ""
    about: str = ""
    place: Place | None = None


EndKind = Literal[
    "completed",
    "not_eligible",
    "transferred",
    "against_advice",
    "administrative",
    "withdrew_consent",
    "lost_to_follow_up",
    "other",
    "died",
    "entered_in_error",
]


@frozen(eq=False)
class End:
    """How treatment ends. `work` names the steps that open afterwards and never block leaving.

    `declared` is False for the ends that every program has without saying so. `by` are the roles
    that may report it. An end with `kind` completed or not_eligible is reached by rows only.
    """

    name: str
    title: str
    kind: EndKind
    work: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    declared: bool = True
    place: Place | None = None


@frozen(eq=False)
class NeverRule:
    """No session of kind `start` may start unless `unless` holds; enforced at every start."""

    name: str
    start: str
    unless: Test
    says: str = ""


@frozen(eq=False)
class AfterRule:
    """After `source` (`nad_infusion.given`) `then` must follow within `within`."""

    name: str
    source: tuple[str, str]
    then: tuple[str, str]
    within: Duration


@frozen(eq=False)
class Retention:
    """How much of a form's past the program's gates can read: the rest may be forgotten.

    `last` readings (at least 1) of each step, and every reading of the last `span`;
    `all` keeps everything. Of each reading only `fields` are kept, those that a gate names.
    """

    last: int = 1
    span: Duration | None = None
    all: bool = False
    fields: tuple[str, ...] = ()


@frozen(eq=False)
class Program:
    """One version of a treatment program, ready to drive patients.

    `digest` is the SHA-256 over all its files (`files`: path as named → text), so that the same
    digest means the same behaviour. Mappings keep the order of the file. `alerts` are judged on
    every recording that they read, wherever the patient is.
    """

    id: str
    version: str
    title: str
    about: str
    digest: str
    files: Mapping[str, str]
    start: str
    roles: Mapping[str, str]
    sources: Mapping[str, Source]
    consents: Mapping[str, Consent]
    forms: Mapping[str, Form]
    limits: Mapping[str, Limit]
    gates: Mapping[str, Gate]
    phases: Mapping[str, Phase]
    steps: Mapping[str, Step]
    sessions: Mapping[str, SessionKind]
    ends: Mapping[str, End]
    never: tuple[NeverRule, ...] = ()
    always_after: tuple[AfterRule, ...] = ()
    always_possible: tuple[str, ...] = ()
    decided_by: tuple[str, ...] = ()
    hold_by: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    retention: Mapping[str, Retention] = field(factory=dict)
    based_on: str = ""
    differences: tuple[Difference, ...] = ()
    orders: Mapping[str, OrderRule] = field(factory=dict)
    medicines: Mapping[str, Medicine] = field(factory=dict)
    ledgers: Mapping[str, Ledger] = field(factory=dict)
    groups: Mapping[str, GroupKind] = field(factory=dict)

    @property
    def staff(self) -> tuple[str, ...]:
        """Every role but that of the patient."""
        return tuple(role for role in self.roles if role != PATIENT)

    def find(self, table: str, name: str) -> str | None:
        """The full name for `name` in `table` (phases, steps, sessions, gates, ends, …).

        A full name is itself; else the one full name whose last dotted part it is; else None.
        """
        names: Mapping[str, object] = getattr(self, table)
        if name in names:
            return name
        found = [full for full in names if full.endswith("." + name)]
        return found[0] if len(found) == 1 else None
