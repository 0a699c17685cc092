"""What has happened: the events of an enrollment, their tags and their JSON.

An event carries outcomes (places, instants, who is asked), never instructions, so that an old
journal replays for ever whatever the program says today. Tags and field names are for ever; a
field that is added has a default. Instants are UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from kat_workflow.errors import JournalError
from kat_workflow.program import Cause, OnHold, Outcome
from kat_workflow.program.forms import Observation, Raw

_T = TypeVar("_T")
Private = Annotated[_T, Meta(extra={"private": True})]
"""What tells about the patient, or was typed freely and may: it stands beside the rest of the event
in the journal, so that it can be erased. Without it the event still says what was done, when, where
and by whom; doses and orders stay, since drugs are accounted for longer than patients are known."""

Carried = Literal["", "adopted", "attested"]
ConsentIs = Literal["given", "revoked"] | Outcome
"""How a recording came from elsewhere: from another enrollment of the patient, or from papers."""


class _Event(Struct, frozen=True, omit_defaults=True, tag_field="event", gc=False):
    """What every event is."""


class Enrolled(_Event, frozen=True, tag="enrolled"):
    """A patient begins a program; the digest names the very files that will drive it."""

    enrollment: str
    program: str
    version: str
    digest: str
    patient: Private[str]
    site: str
    at: datetime


class Admitted(_Event, frozen=True, tag="admitted"):
    """Program day 1 is this local date of the site."""

    on: date
    at: datetime


class PhaseEntered(_Event, frozen=True, tag="phase-entered"):
    """A visit begins at `place` (`stay.1/day.3`), or its next round.

    `judged`, here and in other decisions, is how many entries of the enrollment were known when
    the gates were asked; 0: none was.
    """

    phase: str
    place: str
    region: str
    at: datetime
    visit: int
    round: int = 1
    row: str = ""
    evidence: tuple[str, ...] = ()
    judged: int = 0


class PhaseLeft(_Event, frozen=True, tag="phase-left"):
    """A visit (or a round of it) is over. `finishes` names the parent whose part it completed;
    `row` is the row of the program that led out, if one did."""

    phase: str
    place: str
    at: datetime
    reason: Private[str]
    finishes: str = ""
    row: str = ""
    judged: int = 0


class ItemOpened(_Event, frozen=True, tag="item-opened"):
    """A step is open for somebody. `next` is when the next opening of a recurring step comes;
    `not_by` is who may not answer it, although their role would fit."""

    item: str
    step: str
    kind: Literal["step", "watch", "decide", "alert", "review"]
    roles: tuple[str, ...]
    at: datetime
    opens: datetime
    due: datetime | None = None
    closes: datetime | None = None
    next: datetime | None = None
    on_hold: OnHold = "pauses"
    calls: bool = False
    about: str = ""
    not_by: str = ""


class ItemAssigned(_Event, frozen=True, tag="item-assigned"):
    """An open item was taken on by, or given to, `person` ("": to nobody in particular any
    more); `by` did so, and `handed` says that it was theirs until then."""

    item: str
    person: str
    by: str
    at: datetime
    handed: bool = False


class ItemAnswered(_Event, frozen=True, tag="item-answered"):
    """A task was done, or a consent given, and waits for signatures: `needs` are those that are
    missing, `content` is the hash of what they are put under. `occurred` is when it was done."""

    item: str
    step: str
    needs: tuple[str, ...]
    occurred: datetime
    at: datetime
    person: str
    role: str
    content: str


class ItemReplanned(_Event, frozen=True, tag="item-replanned"):
    """The times of an open item have changed; `because` says why. `anew` is since when they
    count, where they begin anew; `calls` says that its lateness will (again) call somebody."""

    item: str
    opens: datetime
    due: datetime | None
    closes: datetime | None
    next: datetime | None
    because: str
    anew: datetime | None = None
    calls: bool = False


class ItemSettled(_Event, frozen=True, tag="item-settled"):
    """An item is answered, for good. `keep`: read from elsewhere after its visit is over;
    `hands`: who recorded or signed it before `person`; `compared`: somebody else must do another
    step; `assigned`: the person whose it was, where others did it."""

    item: str
    step: str
    place: str
    outcome: Outcome
    at: datetime
    person: str = ""
    reason: Private[str] = ""
    keep: bool = False
    tally: bool = False
    hands: tuple[str, ...] = ()
    compared: bool = False
    assigned: str = ""


class ObservationRecorded(_Event, frozen=True, tag="observation-recorded"):
    """A form was recorded. `needs` are signatures still missing; `kept` are the fields that some
    gate may read, and `kept_in` the place with whose end none can any more; `drops` are
    recordings of the same form that none can read any more. `content` is the hash of what is
    signed (`signing.content_of`), where signatures are asked for; `late`: it happened before a
    decision that had been taken. What was found out elsewhere is `carried` here: adopted from
    another enrollment of the patient, or attested; `source` is where it stands."""

    observation: str
    form: str
    step: str
    place: str
    values: Private[dict[str, Raw]]
    occurred: datetime
    recorded: datetime
    person: str
    role: str
    item: str = ""
    needs: tuple[str, ...] = ()
    valid_until: datetime | None = None
    kept: tuple[str, ...] = ()
    kept_in: str = ""
    drops: tuple[str, ...] = ()
    content: Private[str] = ""
    late: bool = False
    carried: Carried = ""
    source: Private[str] = ""


class ObservationCorrected(_Event, frozen=True, tag="observation-corrected"):
    """A recording says something else from now on; the entry that it `corrects` stays as it is.

    Most is as in `ObservationRecorded`. `item` is the one that now waits for the signatures it
    `needs`; `restored` are recordings of the form that gates read again. `settles`: the step was
    settled when this happened, so that its settlement has this instant too.
    """

    observation: str
    corrects: str
    form: str
    step: str
    place: str
    values: Private[dict[str, Raw]]
    occurred: datetime
    recorded: datetime
    person: str
    role: str
    reason: Private[str]
    item: str = ""
    needs: tuple[str, ...] = ()
    valid_until: datetime | None = None
    kept: tuple[str, ...] = ()
    kept_in: str = ""
    drops: tuple[str, ...] = ()
    restored: Private[tuple[Observation, ...]] = ()
    settles: bool = False
    content: Private[str] = ""


class ObservationRetracted(_Event, frozen=True, tag="observation-retracted"):
    """A recording was entered in error: nothing reads it any more; its entry stays as it is.

    `item` waited for a signature of it and waits for a recording again; `restored` are
    recordings of the form that gates read again.
    """

    observation: str
    form: str
    step: str
    recorded: datetime
    person: str
    role: str
    reason: Private[str]
    item: str = ""
    restored: Private[tuple[Observation, ...]] = ()


class ObservationAddended(_Event, frozen=True, tag="observation-addended"):
    """Something was added to a recording, which says all that it said before: `values` hold the
    `text`. `occurred` is when it was so, `recorded` when it was added."""

    observation: str
    form: str
    step: str
    values: Private[dict[str, Raw]]
    occurred: datetime
    recorded: datetime
    person: str
    role: str


class DecisionQuestioned(_Event, frozen=True, tag="decision-questioned"):
    """A decision stands that would have been another one, had been known what is known now.

    `what` is the row, session, end or step that was decided on `at` an instant, by the entry of
    that number; `was` and `would_be` are what its gates answered and would have answered then:
    `true`, `false`, `unknown`, of a way on the row, of an order what it comes to. `gates` are
    those that differ; `record` is the recording that brought it up; `roles` must look.
    """

    decision: Literal["move", "end", "start", "stop", "release", "skip", "order"]
    what: str
    at: datetime
    entry: int
    was: str
    would_be: str
    record: str
    roles: tuple[str, ...]
    gates: tuple[str, ...] = ()


class SkipVoided(_Event, frozen=True, tag="skip-voided"):
    """A step that branching had left out is no longer left out: the answer was wrong for which it
    was. `record` is the recording that brought it up."""

    step: str
    at: datetime
    record: str


class Signed(_Event, frozen=True, tag="signed"):
    """A person has signed what an item recorded, or a release.

    `as_` is `signature`, `cosignature`, `witness` or `release`; `meaning` is what it means
    (`authored`, `reviewed`, `cosigned`, `witnessed`, `released`), `name` the printed name, and
    `content` the hash of what was signed: it holds for that content and for no other.
    """

    item: str
    observation: str
    as_: str
    person: str
    role: str
    at: datetime
    name: str = ""
    meaning: str = ""
    content: Private[str] = ""
    acting_for: str = ""
    session: str = ""


class ConsentChanged(_Event, frozen=True, tag="consent-changed"):
    """A consent was given, declined or revoked; `superseded`: what was said after it had been
    told before, and stands."""

    consent: str
    state: ConsentIs
    version: str
    at: datetime
    person: str
    until: datetime | None = None
    recorded: datetime | None = None
    superseded: bool = False


class SessionBooked(_Event, frozen=True, tag="session-booked"):
    """A session has a number and a place; `item` is the step it answers; who has not arrived when
    it `lapses` did not come."""

    session: str
    kind: str
    number: int
    place: str
    item: str
    at: datetime
    booked_for: datetime | None = None
    lapses: datetime | None = None


class SessionMoved(_Event, frozen=True, tag="session-moved"):
    """A session has another booked time."""

    session: str
    booked_for: datetime
    at: datetime
    lapses: datetime | None = None


class SessionArrived(_Event, frozen=True, tag="session-arrived"):
    """The patient is there. `recorded`, here and in what follows, is when that was told, where it
    was told later than `at`."""

    session: str
    at: datetime
    recorded: datetime | None = None


class SessionStarted(_Event, frozen=True, tag="session-started"):
    """The session is under way; `evidence` are the observations its gates relied on. `order` is
    the one it is held on (`ketamine_order.2`), for the amount `ordered` (in the dose's unit)."""

    session: str
    at: datetime
    on: date
    present: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    judged: int = 0
    order: str = ""
    ordered: str = ""
    recorded: datetime | None = None


class DoseGiven(_Event, frozen=True, tag="dose-given"):
    """Something was given: `amount` more (decimal text, in `unit`), or a rate was set."""

    session: str
    at: datetime
    amount: str
    unit: str
    total: str
    rate: str = ""
    first: bool = False
    lot: str = ""
    recorded: datetime | None = None


class LotCorrected(_Event, frozen=True, tag="lot-corrected"):
    """What was given in a session, as of the lot `was`, came from `lot`: so says `record`, which
    corrects what was recorded for the session or was told after the dose. The entries of the
    doses stay."""

    session: str
    was: str
    lot: str
    amount: str
    unit: str
    record: str
    at: datetime


class DosingPaused(_Event, frozen=True, tag="dosing-paused"):
    """Nothing is given for now; `because` is a rule, a hold or a person's reason."""

    session: str
    at: datetime
    because: Private[str]
    recorded: datetime | None = None


class DosingResumed(_Event, frozen=True, tag="dosing-resumed"):
    """Giving goes on."""

    session: str
    at: datetime
    rate: str = ""


class DosingEnded(_Event, frozen=True, tag="dosing-ended"):
    """Nothing more is given in this session; the total is what was given."""

    session: str
    at: datetime
    total: str
    unit: str
    recorded: datetime | None = None


class SessionAborted(_Event, frozen=True, tag="session-aborted"):
    """The dose ended early for a reason; watch and release go on."""

    session: str
    at: datetime
    reason: Private[str]
    rule: str = ""
    recorded: datetime | None = None


class SessionCancelled(_Event, frozen=True, tag="session-cancelled"):
    """The session did not take place: nothing was given. `cause` is who or what cancelled it, as
    a code ("" where the program's own course did); `short` says that it was shortly before. The
    `order` it was started on, if it was started, may be given once more."""

    session: str
    at: datetime
    reason: Private[str]
    cause: Cause = ""
    short: bool = False
    order: str = ""


class SessionReleased(_Event, frozen=True, tag="session-released"):
    """The patient may go. `final` is `released` or `aborted`; `counted` is the program's word."""

    session: str
    at: datetime
    final: Literal["released", "aborted"]
    counted: bool
    reason: Private[str] = ""
    evidence: tuple[str, ...] = ()
    judged: int = 0
    recorded: datetime | None = None


class Ordered(_Event, frozen=True, tag="ordered"):
    """A prescriber has ordered a drug; the order before it, if one stood, is superseded.

    `amount`, in `basis` (`mg/kg`), is what was asked for; `total`, in `unit`, what one
    administration comes to: rounded down, and no more than the cap (`capped`). `weight`, in
    `weight_unit`, is what it was worked out with, recorded as `evidence`. The `bolus` (in `unit`)
    is given first, over `bolus_over`, the rest over `infusion_over` or at `rate`. It stands until
    `until`, for `times` administrations (None: as often as needed).
    """

    order: str
    number: int
    drug: str
    amount: Private[str]
    basis: str
    total: str
    unit: str
    at: datetime
    person: str
    role: str
    until: datetime | None = None
    times: int | None = None
    capped: bool = False
    weight: Private[str] = ""
    weight_unit: str = ""
    evidence: str = ""
    bolus: str = ""
    bolus_over: str = ""
    infusion_over: str = ""
    rate: str = ""
    reason: Private[str] = ""


class OrderStopped(_Event, frozen=True, tag="order-stopped"):
    """An order is no longer in force."""

    order: str
    number: int
    at: datetime
    person: str
    reason: Private[str] = ""
    recorded: datetime | None = None


class DoseChecked(_Event, frozen=True, tag="dose-checked"):
    """A second person has checked what is about to be given."""

    session: str
    at: datetime
    person: str
    role: str
    recorded: datetime | None = None


class MedicineGiven(_Event, frozen=True, tag="medicine-given"):
    """A medicine was given as needed; `order` is in which of its orders, "" where none stood."""

    medicine: str
    drug: str
    amount: str
    unit: str
    at: datetime
    recorded: datetime
    person: str
    role: str
    order: str = ""
    lot: str = ""
    reason: Private[str] = ""


class DrugHandled(_Event, frozen=True, tag="drug-handled"):
    """A controlled drug was drawn, wasted or returned for a session, or waste was witnessed;
    `manner` is how it was disposed of."""

    session: str
    what: Literal["drawn", "wasted", "returned", "witnessed"]
    at: datetime
    person: str
    role: str
    amount: str = ""
    unit: str = ""
    lot: str = ""
    manner: Private[str] = ""


class AlertRaised(_Event, frozen=True, tag="alert-raised"):
    """Somebody is called. `source` is the reading or item that did it; `late`: the reading was
    corrected, or recorded after a decision that had been taken meanwhile. `call` is the item that
    they answer, `answer_by` the instant until which they should."""

    alert: str
    says: Private[str]
    tell: tuple[str, ...]
    at: datetime
    source: str
    item: str = ""
    late: bool = False
    call: str = ""
    answer_by: datetime | None = None


class AlertEscalated(_Event, frozen=True, tag="alert-escalated"):
    """Nobody has answered a call in time: others are called as well. `level` counts the calls
    after the first."""

    alert: str
    says: Private[str]
    tell: tuple[str, ...]
    at: datetime
    call: str
    level: int
    answer_by: datetime


class ReadingAsked(_Event, frozen=True, tag="reading-asked"):
    """The watch of a session looks again at `due`, sooner than was planned; `because` is the
    rule, `record` the reading that set it off."""

    session: str
    due: datetime
    at: datetime
    because: str
    record: str


class DeviationNoted(_Event, frozen=True, tag="deviation-noted"):
    """What was reported departs from the program; the report is kept, and somebody must look."""

    code: str
    says: Private[str]
    at: datetime
    record: str = ""


class Held(_Event, frozen=True, tag="held"):
    """A hold stands: nothing moves and nothing starts until it is lifted. From `review_by` on
    somebody must look at it."""

    hold: str
    reason: Private[str]
    at: datetime
    person: str
    review_by: datetime | None = None


class HoldLifted(_Event, frozen=True, tag="hold-lifted"):
    """One hold is over."""

    hold: str
    at: datetime
    person: str


class OverrideGranted(_Event, frozen=True, tag="override-granted"):
    """A gate counts as true until `until`, or until a request has used it. `code` is the reason
    by the program's list; `cosigner` is the second person who has agreed."""

    gate: str
    reason: Private[str]
    until: datetime
    person: str
    role: str
    at: datetime
    code: str = ""
    cosigner: str = ""


class OverrideAsked(_Event, frozen=True, tag="override-asked"):
    """Somebody wants a gate to count as true; it does not, before a second person has agreed."""

    gate: str
    reason: Private[str]
    person: str
    role: str
    at: datetime
    code: str = ""


class OverrideUsed(_Event, frozen=True, tag="override-used"):
    """A request went through a gate because of an override."""

    gate: str
    by_command: str
    at: datetime


class ActedFor(_Event, frozen=True, tag="acted-for"):
    """What this command did was done in a role that `person` holds only for another."""

    person: str
    role: str
    acting_for: str
    at: datetime


class GlassBroken(_Event, frozen=True, tag="glass-broken"):
    """An emergency: it was acted first. `passed` is what would else have stood in the way."""

    reason: Private[str]
    person: str
    role: str
    passed: Private[tuple[str, ...]]
    at: datetime


class RecheckSet(_Event, frozen=True, tag="recheck-set"):
    """The next instant at which waiting gates must be judged again; None for none."""

    at: datetime | None


class TimerElapsed(_Event, frozen=True, tag="timer-elapsed"):
    """A timer was run; its consequences follow in the same commit. `late` is the item whose
    lateness has been dealt with, `heeded` what was told of another enrollment of the patient."""

    timer: str
    at: datetime
    late: str = ""
    heeded: str = ""


class WarnedElsewhere(_Event, frozen=True, tag="warned-elsewhere"):
    """A reading in another enrollment of the patient, in that one's commit, has called `tell` to
    answer within `seconds`; the timer that waits from now on calls somebody here. `call` tells it
    from every other."""

    call: str
    enrollment: str
    program: str
    alert: str
    says: Private[str]
    tell: tuple[str, ...]
    seconds: int
    source: str
    at: datetime


class HeldElsewhere(_Event, frozen=True, tag="held-elsewhere"):
    """A hold of the patient was made or lifted in another enrollment, in that one's commit; the
    timer that waits from now on takes over here what stands. `call` tells it from every other."""

    call: str
    person: str
    at: datetime


class IdsChanged(_Event, frozen=True, tag="ids-changed"):
    """Two ids of the patient have become one (`merged`), or two again (`parted`), in this commit;
    the timer that waits from now on takes over here what stands, calls where nobody has answered
    what the other id brings (`calls`), and, where `ids` says so, lets somebody look. `call` tells
    it from every other."""

    call: str
    ids: Literal["", "merged", "parted"]
    calls: tuple[str, ...]
    person: str
    at: datetime


class SeatGivenUp(_Event, frozen=True, tag="seat-given-up"):
    """The patient has left a group, whose seat is kept for one who waits; the timer that waits
    from now on is over once somebody was told to ask them. `call` tells it from every other."""

    call: str
    group: str
    at: datetime


class Discharged(_Event, frozen=True, tag="discharged"):
    """Treatment is over: every treatment item is settled, after-work may be open. `row` is the
    row of the program that led here, "" if the end was reported; `recorded` is when it was told,
    where that was later than `at`."""

    end: str
    kind: str
    at: datetime
    reason: Private[str] = ""
    row: str = ""
    evidence: tuple[str, ...] = ()
    judged: int = 0
    recorded: datetime | None = None


class Closed(_Event, frozen=True, tag="closed"):
    """Nothing is left to do."""

    at: datetime


class SiteChanged(_Event, frozen=True, tag="site-changed"):
    """The patient goes on at another site, whose zone holds from now on. `admitted` is what day 1
    is called from now on, where the date there is an earlier one: the program day never falls."""

    site: str
    at: datetime
    reason: Private[str] = ""
    admitted: date | None = None


Settled = tuple[str, Outcome, datetime, str, tuple[str, ...], int, bool]
"""How a step was last settled: step, outcome, instant, place, hands, number, and whether it is
read from elsewhere."""


class VersionChanged(_Event, frozen=True, tag="version-changed"):
    """The patient goes on by another version; `was` and `was_digest` name the one before. What
    gates of the new one may read is resolved here: `settled`, `counts`, and the readings by form
    (`values`). `phases`, `steps` and `forms` are those that it calls otherwise: the new name by the
    old."""

    version: str
    digest: str
    was: str
    was_digest: str
    reason: Private[str]
    at: datetime
    person: str
    role: str
    settled: tuple[Settled, ...] = ()
    counts: dict[str, int] = {}
    values: Private[dict[str, tuple[Observation, ...]]] = {}
    phases: dict[str, str] = {}
    steps: dict[str, str] = {}
    forms: dict[str, str] = {}


class OfferMade(_Event, frozen=True, tag="offer-made"):
    """Evaluations were offered to another program that the patient is to go on with."""

    to: str
    observations: tuple[str, ...]
    at: datetime


class Erased(_Event, frozen=True, tag="erased"):
    """What is private in the entries `since` through `through` of this stream was erased.

    `ground` is the lawful ground, and tells nothing of the patient. `wholly`: the patient is no
    longer known here; the course remains, without them.
    """

    since: int
    through: int
    person: str
    ground: str
    at: datetime
    wholly: bool = False


# Of a site's roster.


class CoverGranted(_Event, frozen=True, tag="cover-granted"):
    """`person` holds a role at a site for a while; `acting_for` is for whom, if for somebody."""

    cover: str
    person: str
    role: str
    since: datetime
    until: datetime
    by: str
    reason: Private[str]
    at: datetime
    acting_for: str = ""


class CoverRevoked(_Event, frozen=True, tag="cover-revoked"):
    """A cover has ended before its time."""

    cover: str
    by: str
    at: datetime
    reason: Private[str] = ""


# Of a patient's own stream.


class EnrollmentBegan(_Event, frozen=True, tag="enrollment-began"):
    """The patient has begun a program."""

    patient: Private[str]
    enrollment: str
    program: str
    site: str
    at: datetime


class EnrollmentEnded(_Event, frozen=True, tag="enrollment-ended"):
    """Treatment in one of the patient's enrollments is over."""

    enrollment: str
    end: str
    kind: str
    at: datetime


class EnrollmentMoved(_Event, frozen=True, tag="enrollment-moved"):
    """One of the patient's enrollments goes on at another site."""

    enrollment: str
    site: str
    at: datetime


class SessionUnderWay(_Event, frozen=True, tag="session-under-way"):
    """A session in which something may be given has started in one of the enrollments."""

    enrollment: str
    session: str
    program: str
    sedating: bool
    at: datetime


class SessionDosed(_Event, frozen=True, tag="session-dosed"):
    """The first drug of that session was given, on this local date of its site."""

    enrollment: str
    session: str
    on: date
    at: datetime


class SessionOver(_Event, frozen=True, tag="session-over"):
    """The patient was released from that session, or it was called off."""

    enrollment: str
    session: str
    at: datetime


class PatientHeld(_Event, frozen=True, tag="patient-held"):
    """A hold of one enrollment stands in all of the patient's."""

    enrollment: str
    hold: str
    program: str
    reason: Private[str]
    person: str
    at: datetime


class PatientFreed(_Event, frozen=True, tag="patient-freed"):
    """That hold is over, in all of them."""

    enrollment: str
    hold: str
    person: str
    at: datetime


class PatientWarned(_Event, frozen=True, tag="patient-warned"):
    """A reading in an enrollment has called somebody in all of the patient's; one that begins
    while nobody has answered is to call as well. Otherwise as `WarnedElsewhere`."""

    enrollment: str
    program: str
    alert: str
    says: Private[str]
    tell: tuple[str, ...]
    seconds: int
    source: str
    at: datetime


class Evaluation(Struct, frozen=True, omit_defaults=True, gc=False):
    """One evaluation that is handed over: what was recorded where, when it happened, and what it
    said. `edition` is that of its instrument."""

    observation: str
    step: str
    form: str
    edition: str
    occurred: datetime
    values: dict[str, Raw]


class EvaluationsOffered(_Event, frozen=True, tag="evaluations-offered"):
    """Evaluations of one enrollment are handed over to a program; nothing is taken over until
    somebody confirms it there."""

    enrollment: str
    program: str
    to: str
    evaluations: Private[tuple[Evaluation, ...]]
    person: str
    at: datetime


class Membership(Struct, frozen=True, omit_defaults=True, gc=False):
    """One enrollment of a patient: under which id, in what, where, since when, and how it ended;
    `end` is "" while treatment goes on."""

    patient: str
    program: str
    site: str
    began: datetime
    end: str = ""
    kind: str = ""
    ended: datetime | None = None


class Dosing(Struct, frozen=True, omit_defaults=True, gc=False):
    """A session in which something may be given; `dosed` is the local date of the first drug."""

    enrollment: str
    session: str
    program: str
    sedating: bool
    since: datetime
    dosed: date | None = None
    over: bool = False


class PatientHold(Struct, frozen=True, omit_defaults=True, gc=False):
    """A hold that stands in all enrollments of a patient; `hold` is its id in `enrollment`."""

    enrollment: str
    hold: str
    program: str
    reason: str
    person: str
    since: datetime


class Offered(Struct, frozen=True, omit_defaults=True, gc=False):
    """An evaluation that an enrollment hands over to a program."""

    enrollment: str
    program: str
    to: str
    evaluation: Evaluation


class Given(Struct, frozen=True, gc=False):
    """One amount of a drug that was given, in a session or as a medicine (`about`)."""

    at: datetime
    amount: str
    enrollment: str
    about: str


class Reserved(Struct, frozen=True, omit_defaults=True, gc=False):
    """What may still be given: by a session under way, or on an order in force (`ordered`), each
    of `times` times, until it lapses."""

    enrollment: str
    amount: str
    ordered: bool
    times: int = 1
    until: datetime | None = None


class Exposure(Struct, frozen=True, omit_defaults=True, gc=False):
    """One drug: totals by enrollment, what was given in the last days, and what is reserved, by
    enrollment and order or session (`e-1/drip.2`).

    A drug is known by its name and by what its amounts measure (`ketamine (mass)`); amounts are
    decimal text in the base unit of that measure (grams), so that programs may differ in units.
    """

    totals: dict[str, str] = {}
    recent: tuple[Given, ...] = ()
    reserved: dict[str, Reserved] = {}


class Known(Struct, frozen=True, omit_defaults=True, gc=False):
    """What is known about a patient across enrollments, or the part of it that is one id's.

    `enrollments` by id, oldest first; `sessions` are those that are not over and the last
    sedating ones, `holds` those that stand, each by `enrollment/its id`; `merged` are the ids
    that turned out to be the same patient, and into which; `exposures` how much of each drug was
    given; `calls` the last of each alert that all are told of, answered or not.
    """

    enrollments: dict[str, Membership] = {}
    sessions: dict[str, Dosing] = {}
    holds: dict[str, PatientHold] = {}
    offered: dict[str, Offered] = {}
    merged: dict[str, str] = {}
    exposures: dict[str, Exposure] = {}
    calls: dict[str, PatientWarned] = {}


class PatientMerged(_Event, frozen=True, tag="patient-merged"):
    """Two ids are one patient. It stands in both streams; from now on the survivor's tells about
    both, `brings` being what the duplicate's has told so far."""

    survivor: Private[str]
    duplicate: Private[str]
    reason: Private[str]
    person: str
    at: datetime
    brings: Private[Known]


class PatientUnmerged(_Event, frozen=True, tag="patient-unmerged"):
    """They are two patients after all. It stands in both streams; what belongs to the duplicate's
    enrollments is told by its own stream again, `takes` being that."""

    survivor: Private[str]
    duplicate: Private[str]
    reason: Private[str]
    person: str
    at: datetime
    takes: Private[Known]


# Of a program's own stream.


class ProgramSignedOff(_Event, frozen=True, tag="program-signed-off"):
    """A person has signed that these very files may drive patients; `meaning` is in their words."""

    program: str
    version: str
    digest: str
    person: str
    name: str
    meaning: str
    at: datetime


class ProgramRetired(_Event, frozen=True, tag="program-retired"):
    """These files take nobody new; whoever is in them stays."""

    program: str
    digest: str
    person: str
    reason: Private[str]
    at: datetime


class DrugReserved(_Event, frozen=True, tag="drug-reserved"):
    """An order in force, or a session under way (`about`), may still give `amount`, `times`
    times. Drug and amount are as in `Exposure`."""

    enrollment: str
    about: str
    drug: str
    amount: str
    at: datetime
    ordered: bool = False
    times: int = 1
    until: datetime | None = None


class DrugFreed(_Event, frozen=True, tag="drug-freed"):
    """What was reserved will not be given."""

    enrollment: str
    about: str
    drug: str
    at: datetime


class DrugGiven(_Event, frozen=True, tag="drug-given"):
    """The patient was given some of a drug. What was given until `forgets` counts in no rolling
    window any more."""

    enrollment: str
    about: str
    drug: str
    amount: str
    at: datetime
    forgets: datetime


# Of a site's drug cupboard.


class Product(Struct, frozen=True, omit_defaults=True):
    """The finished form of a drug, as a record of controlled drugs names it (21 CFR
    1304.22(a)(2)): `solution for injection` of a `strength` of `50 mg/mL`, in containers such as
    `10 mL vial`; a tablet has its strength in `8 mg`. `schedule` is the drug's, "" for none."""

    form: str = ""
    strength: str = ""
    container: str = ""
    schedule: str = ""


NO_PRODUCT = Product()


class StockReceived(_Event, frozen=True, tag="stock-received"):
    """Some of a lot came into the cupboard; it `expires` at the end of that date (or: must not be
    used beyond it). It came in so many `containers`, and a `witness` was there."""

    drug: str
    lot: str
    amount: str
    unit: str
    at: datetime
    person: str
    supplier: str = ""
    expires: date | None = None
    product: Product = NO_PRODUCT
    containers: int = 0
    witness: str = ""


class StockCounted(_Event, frozen=True, tag="stock-counted"):
    """The cupboard was counted: `found`, where `expected` should have been; a `witness` was
    there."""

    drug: str
    lot: str
    found: str
    expected: str
    unit: str
    at: datetime
    person: str
    reason: Private[str] = ""
    product: Product = NO_PRODUCT
    witness: str = ""


class LotUsed(_Event, frozen=True, tag="lot-used"):
    """A lot went to or came back from a patient: drawn for a session, given, wasted or returned,
    or, without a ledger, used; `corrected` is what was said of it and was of another lot. `stock`
    is how much the cupboard's own count of the lot changes,
    in the lot's unit, "" where it is not kept here; `witness`: waste that needs one. `volume` is
    how much it is of the finished form (`0.7 mL`, `2 of tablet`), `manner` how waste was disposed
    of, or which lot it was taken for or is; `name` the printed name of the person, who acted in a
    `role`."""

    what: Literal["drawn", "given", "wasted", "returned", "witnessed", "used", "corrected"]
    drug: str
    lot: str
    amount: str
    unit: str
    enrollment: str
    patient: Private[str]
    about: str
    at: datetime
    person: str
    stock: str = ""
    witness: bool = False
    product: Product = NO_PRODUCT
    volume: str = ""
    manner: Private[str] = ""
    name: str = ""
    role: str = ""


# Of groups. What an enrollment knows of its own place in one:


class GroupJoined(_Event, frozen=True, tag="group-joined"):
    """The patient has a seat in a group for a session, or for the item of a step (`about`)."""

    group: str
    kind: str
    about: str
    seat: int
    at: datetime


class GroupWaitlisted(_Event, frozen=True, tag="group-waitlisted"):
    """The patient waits for a seat in a group."""

    group: str
    kind: str
    item: str
    at: datetime


class GroupLeft(_Event, frozen=True, tag="group-left"):
    """The patient is through with a group: it was `held`, or they dropped out of it."""

    group: str
    at: datetime
    held: bool = False


# Of a group's own stream. Members are enrollments and seats, and nothing is said of them.


class GroupPlanned(_Event, frozen=True, tag="group-planned"):
    """A group will meet: all that its program says of it, resolved. `lasts` is in seconds; `staff`
    are (role, members that one person may look after)."""

    group: str
    kind: str
    title: str
    program: str
    site: str
    room: str
    when: datetime
    lasts: int
    capacity: int
    minimum: int
    staff: tuple[tuple[str, int], ...]
    by: tuple[str, ...]
    override_by: tuple[str, ...]
    rooms: tuple[str, ...]
    person: str
    at: datetime


class GroupMoved(_Event, frozen=True, tag="group-moved"):
    """A group has another time or room."""

    when: datetime
    room: str
    person: str
    at: datetime


class MemberJoined(_Event, frozen=True, tag="member-joined"):
    """A seat is taken."""

    enrollment: str
    seat: int
    at: datetime


class MemberWaitlisted(_Event, frozen=True, tag="member-waitlisted"):
    """All seats are taken; somebody waits for one."""

    enrollment: str
    at: datetime


class SeatOffered(_Event, frozen=True, tag="seat-offered"):
    """A seat that became free is kept for whoever waits longest."""

    enrollment: str
    seat: int
    at: datetime


class MemberDropped(_Event, frozen=True, tag="member-dropped"):
    """Somebody does not take part; why stands in their own record."""

    enrollment: str
    at: datetime


class MemberDone(_Event, frozen=True, tag="member-done"):
    """A member's own part is over."""

    enrollment: str
    at: datetime


class GroupStarted(_Event, frozen=True, tag="group-started"):
    """The group has started with so many members; `staff` are the persons who count, and as what.
    `regardless` is the reason for starting below what the program asks for."""

    staff: tuple[tuple[str, str], ...]
    members: int
    person: str
    at: datetime
    regardless: Private[str] = ""


class GroupCalledOff(_Event, frozen=True, tag="group-called-off"):
    """A group does not take place."""

    reason: Private[str]
    person: str
    at: datetime


class GroupClosed(_Event, frozen=True, tag="group-closed"):
    """The last member's part is over."""

    at: datetime


# Of the rooms of a site.


class RoomReserved(_Event, frozen=True, tag="room-reserved"):
    """A group is planned at a site, in a room ("": in none) for a time."""

    group: str
    room: str
    when: datetime
    until: datetime
    at: datetime


class RoomTaken(_Event, frozen=True, tag="room-taken"):
    """A group is in its room."""

    group: str
    at: datetime


class RoomFreed(_Event, frozen=True, tag="room-freed"):
    """A group is over, or was called off."""

    group: str
    at: datetime


Event = (
    Enrolled
    | Admitted
    | PhaseEntered
    | PhaseLeft
    | ItemOpened
    | ItemAssigned
    | ItemAnswered
    | ItemReplanned
    | ItemSettled
    | ObservationRecorded
    | ObservationCorrected
    | ObservationRetracted
    | ObservationAddended
    | DecisionQuestioned
    | SkipVoided
    | Signed
    | ConsentChanged
    | SessionBooked
    | SessionMoved
    | SessionArrived
    | SessionStarted
    | DoseGiven
    | LotCorrected
    | DosingPaused
    | DosingResumed
    | DosingEnded
    | SessionAborted
    | SessionCancelled
    | SessionReleased
    | Ordered
    | OrderStopped
    | DoseChecked
    | MedicineGiven
    | DrugHandled
    | AlertRaised
    | AlertEscalated
    | ReadingAsked
    | DeviationNoted
    | Held
    | HoldLifted
    | OverrideGranted
    | OverrideAsked
    | OverrideUsed
    | ActedFor
    | GlassBroken
    | RecheckSet
    | TimerElapsed
    | WarnedElsewhere
    | HeldElsewhere
    | IdsChanged
    | SeatGivenUp
    | Discharged
    | Closed
    | CoverGranted
    | CoverRevoked
    | SiteChanged
    | VersionChanged
    | OfferMade
    | Erased
    | EnrollmentBegan
    | EnrollmentEnded
    | EnrollmentMoved
    | SessionUnderWay
    | SessionDosed
    | SessionOver
    | PatientHeld
    | PatientFreed
    | PatientWarned
    | EvaluationsOffered
    | PatientMerged
    | PatientUnmerged
    | ProgramSignedOff
    | ProgramRetired
    | DrugReserved
    | DrugFreed
    | DrugGiven
    | StockReceived
    | StockCounted
    | LotUsed
    | GroupJoined
    | GroupWaitlisted
    | GroupLeft
    | GroupPlanned
    | GroupMoved
    | MemberJoined
    | MemberWaitlisted
    | SeatOffered
    | MemberDropped
    | MemberDone
    | GroupStarted
    | GroupCalledOff
    | GroupClosed
    | RoomReserved
    | RoomTaken
    | RoomFreed
)

_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=1)
def decoder() -> msgspec.json.Decoder[Any]:
    """What reads entries. Made on first use: whoever only writes does not wait for it."""
    return msgspec.json.Decoder(Event)


class _PrivateFields(dict[type, tuple[str, ...]]):
    """The names of the private fields by class, looked up once."""

    def __missing__(self, event: type) -> tuple[str, ...]:
        # As they are written: to evaluate all annotations would cost more than a command does.
        own = event.__annotations__.items()
        self[event] = tuple(name for name, type_ in own if type_.startswith("Private["))
        return self[event]


PRIVATE = _PrivateFields()


def encode(event: Event) -> tuple[bytes, bytes]:
    """The event as JSON, and what is private in it: canonical JSON, b"" if there is nothing.

    The first is an event itself, with nothing in its private fields. The same event always gives
    the same bytes.
    """
    names = PRIVATE[type(event)]
    if not names:
        return _encoder.encode(event), b""
    told = {name: value for name in names if (value := getattr(event, name))}
    if not told:
        return _encoder.encode(event), b""
    rest = replace(event, **{name: type(value)() for name, value in told.items()})
    return _encoder.encode(rest), _encoder.encode(told)


def decode(body: bytes, values: bytes = b"") -> Event:
    """The event of a journal entry; where its values were erased, with nothing in their place.

    Raises JournalError for bytes that are no event of this or an earlier version.
    """
    try:
        # Of two fields of one name the later one holds.
        whole = b"%b,%b" % (body[:-1], values[1:]) if values else body
        event: Event = decoder().decode(whole)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What the decoder says may quote the entry.
        raise JournalError("an entry of the journal is no event that this version knows") from None
    return event
