"""What a program file may say: one class for each kind of mapping, one attribute for each key.

This is the whole of language 1. The JSON Schema for editors, the tables of the manual and the
reader's findings all come from these classes. Every key has one type; `kind` says what its text
means: `gate` (an expression of the gate language), `duration` (`24 h`), `quantity`
(`180 mmHg`), `rate`, `clock` (`09:00`), `anchor`, or the table of names it points into
(`role`, `phase`, `step`, `form`, `source`, …).
"""

# ruff: noqa: RUF009  # `key` makes attrs fields, which ruff cannot know

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args, get_type_hints

from attrs import NOTHING, Factory, field, fields, frozen

from kat_workflow.program import OnHold, Schedule
from kat_workflow.program.forms import FieldType
from kat_workflow.program.model import EndKind

__all__ = [
    "FILES",
    "NAME",
    "PATTERNS",
    "WORDS",
    "FormsFile",
    "Instrument",
    "KeyDoc",
    "Overlay",
    "Program",
    "Variant",
    "keys_of",
]

NAME = "[a-z][a-z0-9_]*"
"""How names look that a program gives: phases, steps, roles, gates, … and fields."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "trust": ("A", "B", "C"),
    "outcome": ("declined", "skipped", "missed", "waived", "withheld", "unable"),
    "hold": get_args(OnHold),
    "quiet": ("waits",),
    "schedule": get_args(Schedule),
    "per": ("program day", "enrollment"),
    "round": ("program day",),
    "route": ("intravenous", "intramuscular", "sublingual", "nasal", "oral"),
    "end_kind": get_args(EndKind),
    "field_type": get_args(FieldType),
    "method": ("sum", "count_at_least", "highest"),
    "respondent": ("patient", "clinician"),
    "unanswered": ("not_asked", "refused", "unable"),
}
"""Kinds of text that know a few words only."""

PATTERNS: Mapping[str, str] = {
    "duration": "(0|[1-9][0-9]{0,5}) (s|min|h|d|wk)",
    "clock": "([01][0-9]|2[0-3]):[0-5][0-9]",
    "span": "program day|enrollment|course|[1-9][0-9]{0,2} h",
    "name": NAME,
    "id": "[a-z][a-z0-9_]*(-[a-z0-9_]+)*",
}
"""Kinds of text that are recognised by how they are written."""


def key(doc: str, kind: str = "", default: Any = NOTHING) -> Any:
    """A key of a mapping: its hover text, what its text means, whether it is required."""
    meta = {"doc": doc, "kind": kind}
    if default is NOTHING:
        return field(metadata=meta)
    if isinstance(default, (list, dict)):
        return field(metadata=meta, factory=type(default))
    return field(metadata=meta, default=default)


@frozen(eq=False)
class KeyDoc:
    """A key as the manual and the schema show it."""

    name: str
    type: Any
    kind: str
    doc: str
    required: bool
    default: Any


def keys_of(cls: type) -> tuple[KeyDoc, ...]:
    """The keys of a mapping, in the order in which they are written."""
    hints = get_type_hints(cls)
    found = []
    for each in fields(cls):
        default = each.default.factory() if isinstance(each.default, Factory) else each.default  # type: ignore[arg-type]
        found.append(
            KeyDoc(
                each.name.rstrip("_"),
                hints[each.name],
                each.metadata.get("kind", ""),
                each.metadata.get("doc", ""),
                each.default is NOTHING,
                None if each.default is NOTHING else default,
            )
        )
    return tuple(found)


# Attributes that are Python keywords end in "_" (`from_`); the key in the file does not.


@frozen(eq=False, kw_only=True)
class Source:
    title: str = key("What the source is, in words.")
    trust: str = key("A: regulator, trial; B: practice; C: other.", "trust")
    url: str = key("Where it can be read.", default="")


@frozen(eq=False, kw_only=True)
class Consent:
    title: str = key("What is consented to, in words.")
    version: str = key("The version of the text that is signed.", default="1")
    lasts: str = key("How long it stays in force; without it until revoked.", "duration", "")


@frozen(eq=False, kw_only=True)
class Limit:
    is_: str = key("The number and its unit, such as `180 mmHg`.", "quantity")
    source: str = key("Where the number comes from.", "source", "")
    about: str = key("A remark for the reader.", default="")


@frozen(eq=False, kw_only=True)
class Override:
    by: list[str] = key("Roles that may turn the gate true.", "role")
    lasts: str = key("How long an override stands.", "duration")
    cosigned_by: list[str] = key("Roles of a second person who must agree.", "role", [])
    reasons: dict[str, str] = key("The reasons there may be, each by a code.", default={})


@frozen(eq=False, kw_only=True)
class Gate:
    says: str = key("The sentence that is true when the gate holds.")
    when: str = key("The condition.", "gate")
    override: Override | None = key("Who may pass it; without it nobody may.", default=None)


@frozen(eq=False, kw_only=True)
class Call:
    tell: list[str] = key("Roles that are called.", "role")
    answer_within: str = key("How soon somebody must answer.", "duration")


@frozen(eq=False, kw_only=True)
class Escalation:
    about: str = key("A remark for the reader.", default="")
    source: str = key("Where its numbers come from.", "source", "")
    then: list[Call] = key("Whom to call, one after the other, while nobody answers.")
    repeat_last: int = key("How often the last of them is called again.", default=0)


@frozen(eq=False, kw_only=True)
class Tell:
    tell: list[str] = key("Roles that are called.", "role")
    answer_within: str = key("How soon somebody must answer.", "duration")
    then: list[Call] = key("Whom to call when nobody answers.", default=[])
    escalation: str = key("The chain of `escalations:` that says so.", "escalation", "")


@frozen(eq=False, kw_only=True)
class Alert:
    when: str = key("The condition, judged on each new reading.", "gate")
    says: str = key("What it means, in words.", default="")
    tell: list[str] = key("Roles that are called.", "role")
    answer_within: str = key("How soon somebody must answer.", "duration")
    everywhere: bool = key("Whether the patient's other programs call somebody too.", default=False)
    then: list[Call] = key("Whom to call when nobody answers.", default=[])
    escalation: str = key("The chain of `escalations:` that says so.", "escalation", "")


@frozen(eq=False, kw_only=True)
class WatchAlert:
    when: str = key("The condition, judged on each new reading.", "gate")
    says: str = key("What it means, in words.", default="")
    recheck: str = key("How soon the watch looks again.", "duration", "")
    tell: list[str] = key("Roles that are called.", "role", [])
    answer_within: str = key("How soon somebody must answer.", "duration", "")
    then: list[Call] = key("Whom to call when nobody answers.", default=[])
    escalation: str = key("The chain of `escalations:` that says so.", "escalation", "")


@frozen(eq=False, kw_only=True)
class Cadence:
    interval: str = key("Elapsed time from one reading to the next.", "duration", "")
    daily_at: list[str] = key("Clock times of the site.", "clock", [])
    when: str = key("The condition; the first row that holds sets the pace.", "gate")


@frozen(eq=False, kw_only=True)
class Step:
    title: str = key("The step's name for people.", default="")
    about: str = key("A remark for whoever does it.", default="")
    by: list[str] = key("Roles that may do it.", "role")
    record: str = key("The form or instrument that is recorded.", "form", "")
    obtain: str = key("The consent that is asked for.", "consent", "")
    session: str = key("The kind of session that is held.", "session", "")
    order: str = key("The order that is placed.", "order", "")
    group: str = key("The kind of group it is done in, side by side.", "group", "")
    signed: bool = key("Whether it is done only once it is signed.", default=False)
    cosigned_by: list[str] = key("Roles of a second person who signs as well.", "role", [])
    witnessed_by: list[str] = key("Roles of a second person who watches.", "role", [])
    different_person_from: list[str] = key("Steps that somebody else must have done.", "step", [])
    after: list[str] = key("Steps that must be settled first.", "step", [])
    only_if: str = key("The step is skipped where this is false.", "gate", "")
    if_skipped: dict[str, str] = key("What its fields read as when it is skipped.", default={})
    optional: bool = key("Whether the phase may be left without it.", default=False)
    may_be: list[str] = key(
        "How it may end other than done: declined, skipped, missed, waived, withheld, unable.",
        "outcome",
        [],
    )
    counted_from: str = key(
        "What the times below count from: `opening` (the default), `entering`, a step "
        "(`intake_evaluation done`), a session (`kat_session released`) or a recorded "
        "instant (`intake.last_use`).",
        "anchor",
        "",
    )
    opens: str = key("How long after that it may be done.", "duration", "")
    due: str = key("How long after that it is due; later is late.", "duration", "")
    closes: str = key("How long after that it is missed.", "duration", "")
    early_by: str = key("How long before it opens it may be done all the same.", "duration", "")
    quiet: str = key("`waits`: it does not open in the quiet hours of the site.", "quiet", "")
    on_day: int | None = key("The program day on which it opens.", default=None)
    at: str = key("The clock time at which it opens on that day.", "clock", "")
    every: list[Cadence] = key("How often it recurs; the first row that holds.", default=[])
    at_most: int | None = key("How many openings at the most.", default=None)
    alerts: list[Alert] = key("Readings that call somebody.", default=[])
    when_late: Tell | None = key("Who is called when it becomes late.", default=None)
    on_hold: str = key("What a hold does to its times: runs, pauses, restarts.", "hold", "pauses")
    read_by: list[str] = key("Roles that may read it; without it, everybody.", "role", [])
    renamed_from: list[str] = key("What it was called in older versions.", "name", [])
    source: str = key("Where the numbers of this step come from.", "source", "")


@frozen(eq=False, kw_only=True)
class Repeat:
    at_least: int = key("Rounds at the least.", default=1)
    at_most: int = key("Rounds at the most.")
    until: str = key("Another round begins until this holds.", "gate", "")
    one_per: str = key("`program day`: one round on each day.", "round", "")


@frozen(eq=False, kw_only=True)
class Row:
    to: str = key("The phase, end, `finish` or `back` that is gone to.", "target")
    when: str = key("The condition; `always` for the last row.", "gate")
    at_once: bool = key("Whether it is asked all the time, not only at the end.", default=False)
    safety: bool = key("Whether it is gone even while a hold stands.", default=False)
    says: str = key("The reason in words.", default="")


@frozen(eq=False, kw_only=True)
class Contains:
    program: str = key("The program that runs inside this phase.", "program")
    version: str = key("Its version.", default="")
    ends: dict[str, str] = key("For each of its ends: a phase beside, an end, `finish`.", "target")


@frozen(eq=False, kw_only=True)
class Track:
    title: str = key("The track's name for people.", default="")
    about: str = key("A remark for the reader.", default="")
    renamed_from: list[str] = key("What it was called in older versions.", "name", [])
    optional: bool = key("Whether the phase may end without it.", default=False)
    steps: dict[str, Step] = key("What is done as long as the track lasts.", default={})
    start: str = key("The first phase.", "phase", "")
    phases: dict[str, Phase] = key("The phases of the track.", default={})


@frozen(eq=False, kw_only=True)
class Phase:
    title: str = key("The phase's name for people.", default="")
    about: str = key("A remark for the reader.", default="")
    renamed_from: list[str] = key("What it was called in older versions.", "name", [])
    admits: bool = key("Whether entering it is the admission: program day 1.", default=False)
    steps: dict[str, Step] = key("What is done as long as the phase lasts.", default={})
    start: str = key("The first of the phases inside.", "phase", "")
    phases: dict[str, Phase] = key("The phases inside, one at a time.", default={})
    tracks: dict[str, Track] = key("Tracks inside, all side by side.", default={})
    contains: Contains | None = key("A whole program inside.", default=None)
    repeat: Repeat | None = key("How often the phase is gone through.", default=None)
    decided_by: list[str] = key("Roles that choose when no row of `next` holds.", "role", [])
    next: list[Row] = key("Where to go, top to bottom; [] finishes the parent.", default=[])


@frozen(eq=False, kw_only=True)
class Excursion:
    title: str = key("The excursion's name for people.", default="")
    about: str = key("A remark for the reader.", default="")
    renamed_from: list[str] = key("What it was called in older versions.", "name", [])
    by: list[str] = key("Roles that may send a patient there.", "role")
    steps: dict[str, Step] = key("What is done there.", default={})
    decided_by: list[str] = key("Roles that choose when no row of `next` holds.", "role", [])
    next: list[Row] = key("`to: back` returns to where the patient was.")


@frozen(eq=False, kw_only=True)
class Rate:
    from_: str = key("The lowest rate.", "rate")
    to: str = key("The highest rate.", "rate")


@frozen(eq=False, kw_only=True)
class Amounts:
    from_: str = key("The lowest amount, such as `0.3 mg/kg`.", "quantity")
    to: str = key("The highest amount.", "quantity")


@frozen(eq=False, kw_only=True)
class Order:
    title: str = key("The order's name for people.", default="")
    drug: str = key("What is ordered.")
    route: str = key("How: intravenous, intramuscular, sublingual, nasal, oral.", "route")
    by: list[str] = key("Roles that may order it.", "role")
    amount: Amounts = key("What may be ordered, as an amount or per body weight.")
    most: str = key("The most one administration comes to, whatever the weight.", "quantity", "")
    weight: str = key("The recorded weight that is used: `vitals.weight`.", default="")
    weight_lasts: str = key("How old that weight may be.", "duration", "")
    rounded_to: str = key(
        "What is worked out is rounded down to a multiple of this.", "quantity", ""
    )
    raise_by_at_most: str = key("The most an order may exceed the one before.", "quantity", "")
    bolus_at_most: str = key("The most of it that may be given as a bolus.", "quantity", "")
    times: int | None = key(
        "How often one order may be given; without it, as often as needed.", default=None
    )
    lasts: str = key("How long an order stands; never longer than its weight.", "duration", "")
    source: str = key("Where the numbers come from.", "source", "")


@frozen(eq=False, kw_only=True)
class Cap:
    most: str = key("The most that may be given.", "quantity")
    per: str = key(
        "Over which time: `program day`, the last hours (`24 h`), `enrollment`, or `course`: "
        "everything that the patient gets in any program.",
        "span",
    )
    source: str = key("Where the number comes from.", "source", "")


@frozen(eq=False, kw_only=True)
class Ledger:
    title: str = key("The ledger's name for people.", default="")
    drug: str = key("The controlled drug.")
    schedule: str = key(
        "Its schedule: I to V (21 CFR 1308); none where it is in none.", "schedule", ""
    )
    kept_by: str = key("Who keeps it, where it is not kept with this program's record.", default="")
    witnessed_by: list[str] = key(
        "Roles of the second person when some is wasted; [] for none.", "role"
    )


@frozen(eq=False, kw_only=True)
class Medicine:
    title: str = key("The medicine's name for people.", default="")
    by: list[str] = key("Roles that may give it.", "role")
    order: str = key("The order it is given on.", "order")
    for_: str = key("What it is given for, in words.", default="")
    only_if: str = key("When it may be given; else giving it is a deviation.", "gate", "")
    ledger: str = key("The controlled-drug ledger.", "ledger", "")
    apart: str = key(
        "The least time between two of it: `4 h`, or `28 d` for a depot.", "duration", ""
    )
    cap: list[Cap] = key("Caps over hours, days and courses.", default=[])
    source: str = key("Where the numbers come from.", "source", "")


@frozen(eq=False, kw_only=True)
class Dose:
    drug: str = key("What is given.")
    route: str = key("How: intravenous, intramuscular, sublingual, nasal, oral.", "route")
    amount: str = key("The amount of one session.", "quantity", "")
    most: str = key("The most that one session may give.", "quantity", "")
    rate: Rate | None = key("How fast.", default=None)
    source: str = key("Where the numbers come from.", "source", "")
    order: str = key("The order it is given on; without one in force nothing starts.", "order", "")
    cap: list[Cap] = key("Caps over hours, days and courses.", default=[])
    ledger: str = key("The controlled-drug ledger.", "ledger", "")
    lot: str = key("Where its lot is recorded before it is given: `bag_check.lot`.", default="")
    checked_by: list[str] = key("Roles of the second person who checks it first.", "role", [])


@frozen(eq=False, kw_only=True)
class AtMost:
    times: int = key("How many.")
    per: str = key("`program day` or `enrollment`.", "per")


@frozen(eq=False, kw_only=True)
class Watch:
    by: list[str] = key("Roles that may take the readings.", "role")
    record: str = key("The form that is recorded.", "form")
    at: list[str] = key("Elapsed times since the first drug given.", "duration")
    during_every: str = key("How often after them, until the dose has ended.", "duration", "")
    then_every: str = key("How often from then on, until release.", "duration")
    early_by: str = key("How long before its time a reading may be taken.", "duration", "")
    late_after: str = key("How long after its time a reading is late.", "duration", "10 min")
    when_late: Tell | None = key("Who is called when a reading is late.", default=None)


@frozen(eq=False, kw_only=True)
class SessionRule:
    when: str = key("The condition, judged on each new reading.", "gate")
    says: str = key("What it means, in words.")
    recheck: str = key("How soon the watch looks again.", "duration", "")
    tell: list[str] = key("Roles that are called.", "role", [])
    answer_within: str = key("How soon somebody must answer.", "duration", "")
    then: list[Call] = key("Whom to call when nobody answers.", default=[])
    escalation: str = key("The chain of `escalations:` that says so.", "escalation", "")


@frozen(eq=False, kw_only=True)
class Release:
    earliest: str = key("Elapsed time since the first drug given.", "duration")
    when: str = key("The criteria.", "gate", "")
    signed_by: list[str] = key("Roles that may release.", "role")


@frozen(eq=False, kw_only=True)
class Session:
    title: str = key("The session's name for people.", default="")
    about: str = key("A remark for the reader.", default="")
    source: str = key("Where the numbers of this session come from.", "source", "")
    by: list[str] = key("Roles that may start it and give the dose.", "role")
    ready: list[str] = key("Gates that must hold at the start.", "gate", [])
    present: list[str] = key("Roles that must be present at the start.", "role", [])
    no_show_after: str = key("Grace after the booked time.", "duration", "")
    sedating: bool = key(
        "What is given sedates: one such session a date for a patient.", default=False
    )
    no_shows: int | None = key("After how many no-shows somebody must look.", default=None)
    short_notice: str = key("How long before its time a cancelling is short.", "duration", "")
    before: dict[str, Step] = key("Steps between arrival and start.", default={})
    dose: Dose | None = key("What is given.", default=None)
    at_most: AtMost | None = key("How many sessions.", default=None)
    apart: str = key("The least time between two starts.", "duration", "")
    plan_within: str = key(
        "How long after the last start the next is proposed at the latest.", "duration", ""
    )
    watch: Watch | None = key("Readings after the first drug given.", default=None)
    pause_when: list[SessionRule] = key("Readings that pause the dose.", default=[])
    stop_when: list[SessionRule] = key("Readings that end the dose.", default=[])
    alerts: list[WatchAlert] = key("Readings that call somebody, or look again.", default=[])
    after: dict[str, Step] = key("Steps between the end of the dose and release.", default={})
    release: Release = key("When the patient may go.")
    counts_when: str = key("When a session counts, also an aborted one.", "gate", "always")
    group: str = key("The kind of group it is held in; whoever books it joins one.", "group", "")


@frozen(eq=False, kw_only=True)
class Staff:
    role: str = key("The role that is counted.", "role")
    one_per: int = key("Members that one person of the role may look after.")


@frozen(eq=False, kw_only=True)
class Regardless:
    by: list[str] = key("Roles that may start it below its minimum or short of staff.", "role")


@frozen(eq=False, kw_only=True)
class Group:
    title: str = key("The group's name for people.", default="")
    about: str = key("A remark for the reader.", default="")
    capacity: int = key("Seats; whoever comes after that waits.")
    minimum: int = key("Members without which it does not start.", default=1)
    lasts: str = key("How long the room is taken, as planned.", "duration")
    rooms: list[str] = key("Rooms it may be held in; [] for any.", default=[])
    staff: list[Staff] = key("Persons who must be present at the start.", default=[])
    by: list[str] = key("Roles that plan and lead it.", "role")
    override: Regardless | None = key(
        "Who may start it below the minimum or short of staff; without it nobody may.", default=None
    )
    source: str = key("Where its numbers come from.", "source", "")


@frozen(eq=False, kw_only=True)
class End:
    title: str = key("The end's name for people.", default="")
    kind: str = key("completed, not_eligible, transferred, against_advice, …", "end_kind")
    work: list[str] = key("Work that opens after leaving.", "step", [])
    by: list[str] = key("Roles that may report it.", "role", [])


@frozen(eq=False, kw_only=True)
class Leaving:
    by: list[str] = key("Roles that may report an end of any other kind.", "role")
    work: list[str] = key("Work after each, except died and entered in error.", "step", [])


@frozen(eq=False, kw_only=True)
class NeverRule:
    start: str = key("The session that must not start", "session")
    unless: str = key("unless this holds.", "gate")
    says: str = key("The reason in words.", default="")


@frozen(eq=False, kw_only=True)
class AfterRule:
    from_: str = key("A session's `given`, `started` or `released`, or a step's `done`.", "moment")
    then: str = key("What must follow.", "moment")
    within: str = key("How soon.", "duration")


@frozen(eq=False, kw_only=True)
class Rules:
    never: list[NeverRule] = key("What must never happen.", default=[])
    always_after: list[AfterRule] = key("What must always follow.", default=[])
    always_possible: list[str] = key("Ends that must stay reachable.", "end", [])


@frozen(eq=False, kw_only=True)
class Change:
    set: str = key("What is there and gets another value.", "path", "")
    add: str = key("What is not there yet, or the list that gets one more entry.", "path", "")
    remove: str = key("What is taken out.", "path", "")
    to: Any = key("The new value of what is set or added.", default=None)
    before: str = key("The entry in front of which it is added; else at the end.", default="")


@frozen(eq=False, kw_only=True)
class Field:
    label: str = key("The question in words.", default="")
    type: str = key(
        "integer, decimal, choice, choices, yes_no, text, date, instant, duration.", "field_type"
    )
    unit: str = key("The unit, such as `mmHg`.", "unit", "")
    from_: Decimal | None = key("The lowest plausible value.", "number", None)
    to: Decimal | None = key("The highest plausible value.", "number", None)
    allowed: list[int] = key("The only values that exist.", default=[])
    options: dict[str, str] = key("name: label, of a choice.", default={})
    optional: bool = key("Whether it may be left out.", default=False)
    may_be: list[str] = key("not_asked, refused, unable.", "unanswered", [])
    asked_if: AskedIf | None = key("When it is asked at all.", default=None)
    source: str = key("Where its numbers come from.", "source", "")


@frozen(eq=False, kw_only=True)
class AskedIf:
    field: str = key("An earlier field")
    is_: list[str] = key("and its answers that make this field asked.")


@frozen(eq=False, kw_only=True)
class Band:
    from_: int = key("The lowest score of the band.")
    name: str = key("Its name.", "name")
    label: str = key("Its words.", default="")


@frozen(eq=False, kw_only=True)
class Score:
    label: str = key("The score in words.", default="")
    items: list[str] = key("The fields that count; [] for all integer fields.", default=[])
    reversed: list[str] = key("Fields counted as highest minus value.", default=[])
    method: str = key("sum, count_at_least (of `threshold`) or highest.", "method", "sum")
    threshold: int = key("For count_at_least.", default=0)
    weights: dict[str, int] = key("Weights of fields that do not count once.", default={})
    bands: list[Band] = key("Named ranges, lowest first.", default=[])
    source: str = key("Where the scoring comes from.", "source", "")


@frozen(eq=False, kw_only=True)
class Form:
    title: str = key("The form's name for people.")
    about: str = key("A remark for the reader.", default="")
    renamed_from: list[str] = key("What it was called in older versions.", "name", [])
    by: list[str] = key("Roles that may record it at any time.", "role", [])
    any_time: bool = key("Whether it may be recorded without an open step.", default=False)
    valid_for: str = key("How long its result may be relied on.", "duration", "")
    answered_by: str = key("patient or clinician.", "respondent", "")
    source: str = key("Where its numbers come from.", "source", "")
    fields: dict[str, Field] = key("What is asked.")
    scores: dict[str, Score] = key("What is computed.", default={})


@frozen(eq=False, kw_only=True)
class FormsFile:
    """A file of forms that several programs share."""

    language: int = key("The language version: 1.")
    sources: dict[str, Source] = key("Where numbers come from.", default={})
    forms: dict[str, Form] = key("The forms.")


@frozen(eq=False, kw_only=True)
class Instrument:
    """A file with one rating instrument."""

    language: int = key("The language version: 1.")
    instrument: str = key("Its name in programs, such as `ciwa_ar`.", "name")
    version: str = key("Its edition.")
    title: str = key("Its name for people.")
    about: str = key("A remark: copyright, known disagreements.", default="")
    recall: str = key("The period it asks about.", default="")
    answered_by: str = key("patient or clinician.", "respondent")
    any_time: bool = key("Whether it may be recorded without an open step.", default=False)
    by: list[str] = key("Roles that may record it at any time.", "role", [])
    valid_for: str = key("How long its result may be relied on.", "duration", "")
    sources: dict[str, Source] = key("Where its numbers come from.", default={})
    source: str = key("The source of its items.", "source", "")
    fields: dict[str, Field] = key("Its items.")
    scores: dict[str, Score] = key("Its scores.", default={})


@frozen(eq=False, kw_only=True)
class Program:
    """A treatment program."""

    language: int = key("The language version: 1.")
    program: str = key("The program's id; also the name of its file.", "id")
    version: str = key('Its version, in quotes: "1.0.0".')
    title: str = key("Its name for people.")
    about: str = key("What it is, for the reader.", default="")
    overlays: list[str] = key("Files with a clinic's own figures.", "file", [])
    files: list[str] = key("Instruments and forms that it uses.", "file", [])
    start: str = key("The first phase.", "phase")
    decided_by: list[str] = key("Roles that choose where no row of `next` holds.", "role", [])
    hold_by: list[str] = key("Roles that may hold and resume.", "role", [])
    sources: dict[str, Source] = key("Where numbers come from.", default={})
    roles: dict[str, str] = key("Who takes part: name and title.")
    consents: dict[str, Consent] = key("What is consented to.", default={})
    limits: dict[str, Limit] = key("Every number that decides, once.", default={})
    gates: dict[str, Gate] = key("Named conditions.", default={})
    forms: dict[str, Form] = key("Forms of this program alone.", default={})
    alerts: list[Alert] = key(
        "Readings that call somebody wherever the patient is, such as an adverse event.", default=[]
    )
    phases: dict[str, Phase] = key("Where a patient can be.")
    excursions: dict[str, Excursion] = key("Places with a way back.", default={})
    sessions: dict[str, Session] = key("Kinds of session.", default={})
    groups: dict[str, Group] = key("Kinds of group.", default={})
    orders: dict[str, Order] = key("What a prescriber may order.", default={})
    medicines: dict[str, Medicine] = key("Medicines given as needed.", default={})
    ledgers: dict[str, Ledger] = key("Ledgers of controlled drugs.", default={})
    escalations: dict[str, Escalation] = key("Chains of calls.", default={})
    ends: dict[str, End] = key("How treatment ends.")
    leaving: Leaving | None = key("Ends of the kinds that every program has.", default=None)
    work_after_leaving: dict[str, Step] = key("Work that never blocks leaving.", default={})
    rules: Rules | None = key("Safety properties of the whole program.", default=None)


@frozen(eq=False, kw_only=True)
class Variant:
    """A program that says only what is different from another."""

    language: int = key("The language version: 1.")
    program: str = key("The variant's own id; also the name of its file.", "id")
    version: str = key('Its own version, in quotes: "1.0.0".')
    title: str = key("Its name for people.")
    about: str = key("What it is, for the reader; else what the base says.", default="")
    based_on: str = key("The program it is a variant of: `id@version`, that very version.")
    changes: list[Change] = key("What is different. Paths are those of the base.", default=[])
    overlays: list[str] = key("Files with a clinic's own figures.", "file", [])


@frozen(eq=False, kw_only=True)
class Overlay:
    """A file with a clinic's own figures for the limits of a program."""

    language: int = key("The language version: 1.")
    overlay: str = key("Its name, such as the clinic's.", "id")
    for_: str = key("The program whose limits it sets, or the base of that.", "program")
    about: str = key("A remark for the reader.", default="")
    sources: dict[str, Source] = key("Where its numbers come from.", default={})
    limits: dict[str, Limit] = key("The figures, in place of those in the program.")


FILES = (Program, Variant, Overlay, FormsFile, Instrument)
