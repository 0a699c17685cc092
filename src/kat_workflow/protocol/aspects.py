"""What the attributes of a program are called, what a change of each means, and what it loosens.

Every attribute of the model stands in `KINDS`, or in `FOLLOWS`: it is told with another, or
follows from others. A judge says which safeguard it loosens that one value stands in another's
place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from attrs import frozen

from kat_workflow.program import model as m
from kat_workflow.program.clock import Duration, parse_duration
from kat_workflow.program.forms import Field, Form, Score
from kat_workflow.program.gates import Test
from kat_workflow.protocol.strictness import Way, compare
from kat_workflow.protocol.words import (
    Words,
    clean,
    listed,
    number,
    raw_in_words,
    spoken,
    unit_in_words,
)

__all__ = [
    "FOLLOWS",
    "KINDS",
    "PROGRAM",
    "READY",
    "TABLES",
    "UNTOLD",
    "Aspect",
    "Condition",
    "Entries",
    "Inner",
    "Patients",
    "Table",
    "Versions",
    "alerts",
    "conditions_of",
    "figure",
]

Patients = Literal["none", "now", "next", "mapping"]
"""What a change is for a patient who goes on by the newer version: nothing; from then on; from the
next item, visit or session on; or they may be where it has no counterpart, and are not moved
before that is over, unless the newer version says what it was called (`renamed_from:`)."""


@frozen
class Versions:
    """Two versions of a program; `names` are those that are other ones now, by the older."""

    old: m.Program
    new: m.Program
    names: Mapping[str, str]


# --- judging --------------------------------------------------------------------------------------

_Judge = Callable[[Versions, Any, Any, Any], str]
"""Which safeguard of a thing it loosens that one value stands in another's place; "" for none."""

UNTOLD = "whether it is as strict cannot be told from its form"


def _never(_: Versions, __: object, old: Any, new: Any) -> str:
    return ""


def _always(reason: str) -> _Judge:
    return lambda _, __, old, new: reason


def _wider(reason: str = "a role is widened", none: str = "") -> _Judge:
    """More may do it; `none` is for what then nobody is asked for."""

    def judge(_: Versions, __: object, old: Sequence[str], new: Sequence[str]) -> str:
        if not new:
            return (none or reason) if old else ""
        return reason if old and set(new) - set(old) else ""

    return judge


def _fewer(reason: str) -> _Judge:
    return lambda _, __, old, new: reason if set(old) - set(new) else ""


def _more_of(reason: str) -> _Judge:
    return lambda _, __, old, new: reason if set(new) - set(old) else ""


def _size(value: Any) -> Any:
    return value.seconds if isinstance(value, Duration) else value


def _more(reason: str) -> _Judge:
    """A bound from above is higher, or gone."""

    def judge(_: Versions, __: object, old: Any, new: Any) -> str:
        return reason if old is not None and (new is None or _size(new) > _size(old)) else ""

    return judge


def _less(reason: str) -> _Judge:
    """A bound from below is lower, or gone."""

    def judge(_: Versions, __: object, old: Any, new: Any) -> str:
        return reason if old is not None and (new is None or _size(new) < _size(old)) else ""

    return judge


def _off(reason: str) -> _Judge:
    return lambda _, __, old, new: reason if old and not new else ""


def _on(reason: str) -> _Judge:
    return lambda _, __, old, new: reason if new and not old else ""


@frozen
class Condition:
    """A condition that loosens something where it is `loose` than before: what it lets happen."""

    loose: Way
    what: str

    def __call__(self, c: Versions, _: object, old: Test | None, new: Test | None) -> str:
        """See `said`."""
        return self.said(compare(old, new, c.names))

    def said(self, way: Way) -> str:
        """What it loosens that the condition became so."""
        if way == "unclear":
            return f"{self.what}: {UNTOLD}"
        often = "more" if self.loose == "weaker" else "fewer"
        return f"{self.what} in {often} cases" if way == self.loose else ""


def _opens(what: str) -> Condition:
    """A condition that lets something go on."""
    return Condition("weaker", what)


def _stops(what: str) -> Condition:
    """A condition that stops something, calls somebody or lets something be done."""
    return Condition("stronger", what)


def _of_row(program: m.Program, row: m.Row) -> Condition:
    """The way out, and what is asked all the time, should not be missed; the others not opened."""
    end = program.ends.get(row.to) if row.to_kind == "end" else None
    table = "ends" if end is not None else "phases"
    where = Words(program).quoted(table, row.to) if row.to else "what is around"
    if row.at_once or (end is not None and end.kind != "completed"):
        return _stops(f"the way to {where} is taken")
    return _opens(f"the way to {where} is taken")


def _row(c: Versions, row: m.Row, old: Test | None, new: Test | None) -> str:
    return _of_row(c.new, row)(c, row, old, new)


_SLOWER = _opens("the slower pace holds")


def _cadence(c: Versions, step: object, old: Sequence[m.Cadence], new: Sequence[m.Cadence]) -> str:
    if not old:
        return ""
    if not new:
        return "it no longer recurs"
    if len(old) != len(new):
        return f"its paces are others: {UNTOLD}"
    for count, (was, now) in enumerate(zip(old, new, strict=True)):
        if (was.interval is None) is not (now.interval is None):
            return f"its paces are others: {UNTOLD}"
        if was.interval and now.interval and now.interval.seconds > was.interval.seconds:
            return "it is done less often"
        if len(now.daily_at) < len(was.daily_at):
            return "it is done less often"
        if count < len(old) - 1 and (said := _SLOWER(c, step, was.when, now.when)):
            return said
    return ""


def _valid(_: Versions, __: object, old: str, new: str) -> str:
    was, now = (parse_duration(each) if each else None for each in (old, new))
    return _more("a result is relied on for longer")(_, __, was, now)


# --- the tables -----------------------------------------------------------------------------------


class Aspect(NamedTuple):
    """An attribute: what it is called, how its value reads, what it is for patients, and which
    safeguard a change of it loosens. `says` gets the words, the whole and the value."""

    label: str
    patients: Patients = "now"
    loosens: _Judge = _never
    says: Callable[[Words, Any, Any], str] | None = None


class Inner(NamedTuple):
    """An attribute that is a thing of its own, with what it loosens if it goes or comes."""

    label: str
    patients: Patients = "now"
    gone: str = ""
    come: str = ""
    says: Callable[[Words, Any, Any], str] | None = None


class Entries(NamedTuple):
    """An attribute that is a list of things, each told alone; `called` finds the one in the other
    version that it is compared with. Where there is a `title`, the parts of a thing are told;
    else the whole of it."""

    label: str
    says: Callable[[Words, Any, Any], str]
    called: Callable[[Any], object]
    patients: Patients = "now"
    gone: str = ""
    come: str = ""
    ordered: str = ""
    title: Callable[[Words, Any, Any], str] | None = None


def _roles(join: str = "or") -> Callable[[Words, Any, Any], str]:
    return lambda words, _, names: words.roles(names, join) or "nobody in particular"


def _titles(table: str) -> Callable[[Words, Any, Any], str]:
    return lambda words, _, names: listed(words.quoted(table, each) for each in names)


def _title(table: str) -> Callable[[Words, Any, Any], str]:
    return lambda words, _, name: words.quoted(table, name) if name else ""


def _condition(words: Words, whole: Any, test: Test | None) -> str:
    near = getattr(whole, "name", "")
    return words.condition(test.text, near) if test is not None else "always"


def _conditions(words: Words, whole: Any, tests: Iterable[Test]) -> str:
    return listed(_condition(words, whole, each) for each in tests)


def _source(words: Words, _: Any, name: str) -> str:
    return words.source(name) if name else ""


def _calls(words: Words, whole: Any, alert: m.Alert) -> str:
    return words.alert(alert, getattr(whole, "name", ""))


def _rules(words: Words, whole: Any, rule: m.SessionRule) -> str:
    return words.session_rule(rule, whole.name)


def _named(_: Words, __: object, rule: m.Alert | m.SessionRule) -> str:
    return f"“{clean(rule.says).rstrip('.')}”" if rule.says else ""


def _way_to(words: Words, phase: m.Phase, row: m.Row) -> str:
    return f"to {words.target(row, phase)}"


def _in(attr: str) -> Callable[[Words, Any, Any], str]:
    """A number in the unit that another attribute says."""
    return lambda _, whole, value: (
        "" if value is None else f"{number(value)} {unit_in_words(getattr(whole, attr))}"
    )


def _called_so(rule: m.Alert | m.SessionRule) -> object:
    return rule.says or rule.when.text


def alerts(label: str) -> Entries:
    """How alerts are told."""
    return Entries(label, _calls, _called_so, gone="an alert is dropped", title=_named)


_CALLING: dict[str, Any] = {
    "says": Aspect("its words", "none"),
    "when": Aspect("when", "now", _stops("it calls or acts"), _condition),
    "tell": Aspect("who is called", "now", _fewer("somebody is no longer called"), _roles()),
    "answer_within": Aspect("the time to answer", "now", _more("an answer may come later")),
    "then": Aspect(
        "who is called when nobody answers", "now", _always("the further calls are others"),
        lambda words, _, calls: "; ".join(
            f"{words.roles(x.tell)} within {x.answer_within}" for x in calls
        ) or "nobody",
    ),
    "recheck": Aspect("how soon the watch looks again", "now", _more("it looks again later")),
}  # fmt: skip
_NUMBERS = "a dose or its bound is loosened"
KINDS: dict[type, dict[str, Aspect | Inner | Entries]] = {
    m.Source: {
        "title": Aspect("title", "none"),
        "trust": Aspect("trust", "none"),
        "url": Aspect("where it can be read", "none"),
    },
    m.Consent: {
        "title": Aspect("title", "none"),
        "version": Aspect("version of its text", "next"),
        "lasts": Aspect("how long it stays in force", "next", _more("a consent lasts longer")),
    },
    m.Limit: {
        "source": Aspect("source", "none", says=_source),
        "about": Aspect("remark", "none"),
        "overlay": Aspect("who set it", "none"),
    },
    m.Gate: {
        "says": Aspect("its sentence", "none"),
        "override": Inner("override", come="a condition may now be overridden"),
    },
    m.Override: {
        "by": Aspect("who may override", "now", _wider(), _roles()),
        "lasts": Aspect("how long it stands", "now", _more("an override stands longer")),
        "cosigned_by": Aspect(
            "who must agree", "now", _wider(none="a second signature is dropped"), _roles()
        ),
        "reasons": Aspect("the reasons there may be", "now", _always("other reasons do")),
    },
    m.Lateness: {key: _CALLING[key] for key in ("tell", "answer_within", "then")},
    m.Alert: {
        **_CALLING,
        "everywhere": Aspect(
            "other programs call too", "now", _off("other programs no longer call somebody")
        ),
    },
    m.SessionRule: _CALLING,
    m.Step: {
        "title": Aspect("title", "none"),
        "owner": Aspect(
            "where it belongs", "mapping",
            says=lambda words, step, name: words.quoted(f"{step.owner_kind}s", name) if name
            else "work after leaving",
        ),
        "owner_kind": Aspect("where it belongs", "mapping"),
        "part": Aspect("its part of the session", "mapping", _always("its time is another")),
        "by": Aspect("who does it", "now", _wider(), _roles()),
        "form": Aspect("what is recorded", "mapping", _always("another form is recorded"),
                        _title("forms")),
        "consent": Aspect("the consent", "mapping", _always("another consent is asked for"),
                           _title("consents")),
        "session": Aspect("the session", "mapping", says=_title("sessions")),
        "order": Aspect("the order", "mapping", says=_title("orders")),
        "group": Aspect("the group", "mapping", says=_title("groups")),
        "signed": Aspect("whether it is signed", "mapping", _off("a signature is dropped")),
        "cosigned_by": Aspect("who signs as well", "mapping",
                               _wider(none="a second signature is dropped"), _roles()),
        "witnessed_by": Aspect("who witnesses it", "mapping",
                                _wider(none="a witness is dropped"), _roles()),
        "read_by": Aspect("who alone reads it", "mapping",
                           _wider("more people may read it", "everybody may read it"), _roles()),
        "different_person_from": Aspect("steps done by somebody else", "now",
                                         _fewer("one person may do both"), _titles("steps")),
        "after": Aspect("what comes first", "now", _fewer("a step need not come first"),
                         _titles("steps")),
        "only_if": Aspect("when it is done at all", "now", _stops("it is done"), _condition),
        "if_skipped": Aspect("what its fields read as when skipped", "next",
                              _always("skipped fields read otherwise")),
        "required": Aspect("whether it is required", "now", _off("a step is optional now")),
        "may_be": Aspect("how it may end other than done", "now",
                          _more_of("it may be left undone in another way")),
        "counted_from": Aspect(
            "what its times count from", "next", _always("its times count from something else"),
            lambda words, step, anchor: words.anchor(anchor, step),
        ),
        "opens": Aspect("when it opens", "next"),
        "due": Aspect("when it is due", "next", _more("it is due later, or never late")),
        "closes": Aspect("when it counts as missed", "next", _more("it is missed later")),
        "early_by": Aspect("how early it may be done", "next"),
        "quiet": Aspect("quiet hours", "next", _on("it waits for the end of the quiet hours")),
        "on_day": Aspect("its day", "next", _more("it is done on a later day")),
        "at": Aspect("its clock time", "next"),
        "every": Aspect("how often", "next", _cadence,
                         lambda words, step, _: " ".join(words.recurrence(step)) or "once"),
        "at_most": Aspect("how many times at the most", "next", _less("it is done fewer times")),
        "alerts": alerts("an alert"),
        "when_late": Inner("when it is late", gone="nobody is called when it is late",
                            says=lambda words, _, late: words.call(late)),
        "on_hold": Aspect("its times during a hold", "next",
                           lambda _, __, old, new: "a hold stops it" if old == "runs" else ""),
        "source": Aspect("source", "none", says=_source),
        "about": Aspect("remark", "none"),
    },
    m.Repeat: {
        "at_least": Aspect("rounds at the least", "now", _less("fewer rounds are held")),
        "at_most": Aspect("rounds at the most", "now"),
        "until": Aspect("until", "now", _opens("the rounds end"), _condition),
        "one_per": Aspect("one round per", "next", _off("rounds are no longer one a day")),
    },
    m.Row: {
        "to": Aspect("where it leads", "now", _always("it leads elsewhere")),
        "to_kind": Aspect("where it leads", "now"),
        "safety": Aspect("even while a hold stands", "now",
                          _off("a hold keeps the patient from it")),
        "says": Aspect("its words", "none"),
    },
    m.Phase: {
        "title": Aspect("title", "none"),
        "kind": Aspect("what is inside", "mapping"),
        "path": Aspect("where it is", "mapping", says=lambda words, _, path: " in ".join(
            words.quoted("phases", each) for each in reversed(path))),
        "region": Aspect("its track", "mapping", says=_title("phases")),
        "children": Aspect("the phases inside", "next", says=_titles("phases")),
        "start": Aspect("the first phase inside", "next", says=_title("phases")),
        "steps": Aspect("the order of its steps", "none", says=_titles("steps")),
        "repeat": Inner("its rounds", gone="it is gone through once",
                         says=lambda words, phase, each: words.rounds(each, phase.name)),
        "next": Entries("a way on", lambda words, phase, row: words.way_on(row, phase),
                         lambda row: (row.to_kind, row.to, row.at_once),
                         come="there is another way on", gone="a way on is gone",
                         ordered="the ways on are asked in another order",
            title=_way_to),
        "required": Aspect("whether it is required", "now", _off("a track is optional now")),
        "admits": Aspect("whether it is the admission", "next"),
        "excursion": Aspect("whether it is an excursion", "mapping"),
        "by": Aspect("who may send a patient there", "now", _wider(), _roles()),
        "decided_by": Aspect("who decides where no way is written", "now", _wider(), _roles()),
        "about": Aspect("remark", "none"),
    },
    m.Spacing: {
        "times": Aspect("how many", "now", _more("more sessions may be held")),
        "per": Aspect("per", "now", _always("sessions are counted otherwise")),
    },
    m.Watch: {
        "at": Aspect("the readings", "next", _fewer("a reading of the watch is dropped"),
                      lambda _, __, at: listed(map(str, at))),
        "during_every": Aspect("how often during the dose", "next",
                                _more("the watch looks less often")),
        "then_every": Aspect("how often then", "next", _more("the watch looks less often")),
        "late_after": Aspect("when a reading is late", "next", _more("a reading is late later")),
    },
    m.Release: {
        "earliest": Aspect("the earliest release", "now", _less("release may be sooner")),
        "when": Aspect("the criteria of release", "now", _opens("release is allowed"), _condition),
        "signed_by": Aspect("who releases", "now", _wider(), _roles()),
    },
    m.CapRule: {
        "most": Aspect("the cap", "now", _more("a cap is loosened")),
        "per": Aspect("per", "now"),
        "hours": Aspect("over", "now", _less("a cap is loosened")),
        "source": Aspect("source", "none", says=_source),
    },
    m.DoseRule: {
        "drug": Aspect("the drug", "next", _always("another drug is given")),
        "route": Aspect("the route", "next", _always("it is given by another route")),
        "unit": Aspect("its unit", "next", _always("it is measured otherwise")),
        "amount": Aspect("the amount", "next", _more(_NUMBERS), _in("unit")),
        "most": Aspect("the most in one session", "now", _more(_NUMBERS), _in("unit")),
        "rate_unit": Aspect("the unit of its rate", "next", _always("it is measured otherwise")),
        "rate_from": Aspect("the lowest rate", "next", _never, _in("rate_unit")),
        "rate_to": Aspect("the highest rate", "now", _more(_NUMBERS), _in("rate_unit")),
        "source": Aspect("source", "none", says=_source),
        "order": Aspect("the order it is given on", "next", _off("no order is needed"),
                         _title("orders")),
        "caps": Entries("a cap", lambda words, dose, cap: words.caps([cap], dose.unit),
                         lambda cap: (cap.per, str(cap.hours)), gone="a cap is dropped"),
        "ledger": Aspect("its ledger", "next", _off("it is in no ledger"), _title("ledgers")),
        "lot": Aspect("where its lot is recorded", "next", _off("its lot is not recorded"),
                       lambda words, _, fact: words.fact(".".join(fact)) if fact else ""),
        "checked_by": Aspect("who checks it first", "now",
                              _wider(none="the check of a second person is dropped"), _roles()),
    },
    m.SessionKind: {
        "title": Aspect("title", "none"),
        "ready": Entries("a condition of its start", _condition, lambda test: test.text,
                          gone="a condition of its start is removed"),
        "present": Aspect("who must be present", "now", _fewer("somebody need not be present"),
                           _roles("and")),
        "steps": Aspect("the order of its steps", "none", says=_titles("steps")),
        "before": Aspect("the steps before", "next", says=_titles("steps")),
        "after": Aspect("the steps afterwards", "next", says=_titles("steps")),
        "dose": Inner("its dose", "next", come="a drug is given",
                       says=lambda words, _, dose: words.dose(dose)),
        "at_most": Inner("how many", gone="more sessions may be held",
                          says=lambda _, __, each: f"{each.times} per {each.per}"),
        "apart": Aspect("the time between two starts", "now", _less("sessions may be closer")),
        "watch": Inner("its watch", "next", gone="the watch is dropped"),
        "pause_when": Entries("a rule that pauses", _rules, _called_so,
                               gone="a rule that pauses the dose is dropped", title=_named),
        "stop_when": Entries("a rule that stops", _rules, _called_so,
                              gone="a rule that stops the dose is dropped", title=_named),
        "alerts": alerts("an alert"),
        "release": Inner("its release", gone="release asks for nothing"),
        "counts_when": Aspect("when it counts", "now", says=_condition),
        "no_show_after": Aspect("the grace after its time", "next"),
        "by": Aspect("who starts it and gives the dose", "now", _wider(), _roles()),
        "source": Aspect("source", "none", says=_source),
        "about": Aspect("remark", "none"),
        "sedating": Aspect("whether it sedates", "now", _off("two may be held on one day")),
        "short_notice": Aspect("when a cancelling is short", "now"),
        "no_shows": Aspect("no-shows until somebody looks", "now"),
        "plan_within": Aspect("when the next is proposed", "now"),
        "group": Aspect("the group it is held in", "mapping", says=_title("groups")),
    },
    m.OrderRule: {
        "title": Aspect("title", "none"),
        "drug": Aspect("the drug", "mapping", _always("another drug is ordered")),
        "route": Aspect("the route", "next", _always("it is given by another route")),
        "by": Aspect("who orders it", "now", _wider(), _roles()),
        "unit": Aspect("its unit", "mapping", _always("it is measured otherwise")),
        "basis": Aspect("what is ordered", "mapping", _always("it is measured otherwise")),
        "amount_from": Aspect("the lowest amount", "next", _never, _in("basis")),
        "amount_to": Aspect("the highest amount", "next", _more(_NUMBERS), _in("basis")),
        "most": Aspect("the most of one administration", "next", _more(_NUMBERS), _in("unit")),
        "rounded_to": Aspect("what it is rounded down to", "next", _never, _in("unit")),
        "weight": Aspect("the weight it is worked out by", "next",
                          _always("another weight is used, or none"),
                          lambda words, _, fact: words.fact(".".join(fact)) if fact else ""),
        "weight_unit": Aspect("the unit of the weight", "next"),
        "weight_lasts": Aspect("how old the weight may be", "next",
                                _more("a weight may be older")),
        "raise_at_most": Aspect("the most of a raise", "next", _more(_NUMBERS), _in("basis")),
        "bolus_at_most": Aspect("the most as a bolus", "next", _more(_NUMBERS), _in("basis")),
        "times": Aspect("how often one is given", "next", _more("it may be given more often")),
        "lasts": Aspect("how long it stands", "next", _more("an order stands longer")),
        "source": Aspect("source", "none", says=_source),
    },
    m.Medicine: {
        "title": Aspect("title", "none"),
        "by": Aspect("who gives it", "now", _wider(), _roles()),
        "order": Aspect("the order it is given on", "now", says=_title("orders")),
        "reason": Aspect("what for", "none"),
        "apart": Aspect("the time between two", "now", _less("two may be closer")),
        "caps": Entries("a cap", lambda words, each, cap: words.caps(
            [cap], words.program.orders[each.order].unit),
            lambda cap: (cap.per, str(cap.hours)), gone="a cap is dropped"),
        "source": Aspect("source", "none", says=_source),
        "only_if": Aspect("when it may be given", "now", _opens("it may be given"), _condition),
        "ledger": Aspect("its ledger", "next", _off("it is in no ledger"), _title("ledgers")),
    },
    m.Ledger: {
        "title": Aspect("title", "none"),
        "drug": Aspect("the drug", "next", _always("it is the ledger of another drug")),
        "schedule": Aspect("the schedule of the drug", "next",
                            _always("it is another schedule's book")),
        "kept_by": Aspect("by whom it is kept elsewhere", "next",
                           _on("it is not kept in this record")),
        "witnessed_by": Aspect("who witnesses waste", "now",
                                _wider(none="a witness is dropped"), _roles()),
    },
    m.StaffRatio: {
        "role": Aspect("the role", "now", says=lambda words, _, name: words.role(name)),
        "one_per": Aspect("members for each", "now", _more("fewer staff are asked for")),
    },
    m.GroupKind: {
        "title": Aspect("title", "none"),
        "capacity": Aspect("seats", "next", _more("more members are taken")),
        "minimum": Aspect("the least members", "next"),
        "lasts": Aspect("how long it lasts", "next"),
        "by": Aspect("who plans and leads it", "now", _wider(), _roles()),
        "rooms": Aspect("rooms", "next", says=lambda _, __, rooms: listed(rooms) or "any"),
        "staff": Entries("staff at the start",
                          lambda words, _, x: f"one {words.role(x.role)} for {x.one_per} members",
                          lambda x: x.role, gone="fewer staff are asked for"),
        "override_by": Aspect("who may start it short", "now",
                               _more_of("more people may start it short of staff"), _roles()),
        "source": Aspect("source", "none", says=_source),
        "about": Aspect("remark", "none"),
    },
    m.End: {
        "title": Aspect("title", "none"),
        "kind": Aspect("its kind", "now"),
        "work": Aspect("the work after it", "now", _fewer("work after leaving is dropped"),
                        _titles("steps")),
        "by": Aspect("who reports it", "now", _wider(), _roles()),
        "declared": Aspect("whether it is written in the program", "none"),
    },
    m.NeverRule: {
        "start": Aspect("what must not start", "now", says=_title("sessions")),
        "unless": Aspect("unless", "now", _opens("it may start"), _condition),
        "says": Aspect("its words", "none"),
    },
    m.AfterRule: {
        "source": Aspect("after", "now", says=lambda _, __, x: " ".join(map(spoken, x))),
        "then": Aspect("what must follow", "now", says=lambda _, __, x: " ".join(map(spoken, x))),
        "within": Aspect("how soon", "now", _more("it may follow later")),
    },
    Form: {
        "title": Aspect("title", "none"),
        "fields": Entries("", lambda _, __, x: "", lambda x: x),  # see `Versions.form`
        "computed": Entries("a score", lambda _, __, x: clean(x.label or spoken(x.name)),
                             lambda x: x.name, gone="a score is dropped"),
        "version": Aspect("edition", "next"),
        "answered_by": Aspect("who answers it", "next"),
        "recall": Aspect("the period it asks about", "next"),
        "any_time": Aspect("whether it may be recorded at any time", "now"),
        "valid_for": Aspect("how long its result may be relied on", "next",
                             _valid),
        "by": Aspect("who records it at any time", "now", _wider(), _roles()),
        "source": Aspect("source", "none", says=_source),
        "about": Aspect("remark", "none"),
    },
    Field: {
        "label": Aspect("its words", "now"),
        "type": Aspect("its type", "mapping"),
        "unit": Aspect("its unit", "mapping", says=lambda _, __, unit: unit_in_words(unit)),
        "low": Aspect("the lowest plausible value", "now"),
        "high": Aspect("the highest plausible value", "now"),
        "allowed": Aspect("the values there are", "now",
                           says=lambda _, __, values: listed(map(str, values))),
        "options": Aspect("its answers", "now",
                           says=lambda _, __, options: ", ".join(map(clean, options.values()))),
        "required": Aspect("whether it must be answered", "now",
                            _off("an answer may be left out")),
        "may_be": Aspect("how it may stay unanswered", "now",
                          _more_of("an answer may be left out")),
        "asked_if": Aspect("when it is asked", "now", _always("it is asked in other cases"),
                            lambda _, __, when: f"{spoken(when[0])} is "
                            f"{listed(map(raw_in_words, when[1]), 'or')}" if when else "always"),
        "source": Aspect("source", "none", says=_source),
    },
    Score: {
        "label": Aspect("its words", "none"),
        **{
            key: Aspect(label, "next", _always("a score is worked out otherwise"))
            for key, label in (("items", "the answers that count"), ("reversed", "in reverse"),
                               ("bands", "its bands"), ("method", "how it is worked out"),
                               ("threshold", "its threshold"), ("weights", "its weights"))
        },
        "source": Aspect("source", "none", says=_source),
    },
}  # fmt: skip
KINDS[m.Row] |= {
    "when": Aspect("when", "now", _row, _condition),
    "at_once": Aspect("asked all the time", "now"),
}

FOLLOWS: Mapping[type, frozenset[str]] = {
    m.Program: frozenset(
        (
            *("id", "version", "digest", "files", "retention", "based_on", "differences"),
            *("sources", "consents", "forms", "limits", "gates", "phases", "steps", "sessions"),
            *("ends", "orders", "medicines", "ledgers", "groups"),
            *("roles", "alerts", "never", "always_after", "always_possible"),
        )
    ),
    m.Limit: frozenset(("value", "unit")),
    m.Gate: frozenset(("text",)),
    m.Step: frozenset(("remembered", "tallied", "compared", "keeps", "kept_in", "renamed_from")),
    m.Phase: frozenset(("required_steps", "at_once", "renamed_from")),
    Form: frozenset(("renamed_from",)),
    m.Watch: frozenset(("step",)),
}
"""Attributes that are told with others, or follow from them; `name` and `place` everywhere."""

PROGRAM: Mapping[str, Aspect] = {
    "title": Aspect("title", "none"),
    "about": Aspect("remark", "none"),
    "start": Aspect("the first phase", "none", says=_title("phases")),
    "decided_by": Aspect("who decides where no way is written", "now", _wider(), _roles()),
    "hold_by": Aspect("who may hold and resume", "now", _wider(), _roles()),
}


def figure(limit: m.Limit) -> str:
    """A limit's number and unit."""
    return f"{number(limit.value)} {unit_in_words(limit.unit)}".strip()


READY = _opens("it may start")


class Table(NamedTuple):
    """A table of a program: what an entry is called, how it reads, and what coming and going
    mean."""

    attr: str
    kind: str
    called: str
    says: Callable[[Words, Any], str]
    come: Patients = "next"
    goes: Patients = "mapping"
    gone: str = ""


def _work(words: Words, step: m.Step) -> str:
    return " ".join((*words.work(step), *words.schedule(step)))


TABLES = (
    Table("phases", "phase", "Phase", lambda words, each: words.named("phases", each.name)),
    Table("steps", "step", "Step", _work, "now", "now", "a step is dropped"),
    Table("sessions", "session", "Session", lambda words, each: " ".join(
        f"{lead}: {said}" for lead, said in words.course(each))),
    Table("limits", "limit", "Limit", lambda _, each: figure(each), "now", "now"),
    Table("gates", "gate", "Condition", lambda words, each: words.condition(each.text, each.name),
           "now", "now", "a condition is removed"),
    Table("forms", "form", "Form", lambda words, each: words.named("forms", each.name),
           "now", "now"),
    Table("orders", "order", "Order", lambda words, each: words.order(each)),
    Table("medicines", "medicine", "Medicine", lambda words, each: words.medicine(each),
           "now", "now"),
    Table("ledgers", "ledger", "Ledger", lambda words, each: words.ledger(each),
           "next", "next", "a ledger is dropped"),
    Table("groups", "group", "Group", lambda words, each: " ".join(
        f"{lead}: {said}" for lead, said in words.group(each))),
    Table("consents", "consent", "Consent", lambda words, each: f"version {clean(each.version)}",
           "next", "now", "a consent is dropped"),
    Table("ends", "end", "End", lambda words, each: words.end_kind(each), "now", "now"),
    Table("sources", "source", "Source", lambda _, each: clean(each.title), "none", "none"),
)  # fmt: skip


def conditions_of(program: m.Program) -> Iterator[tuple[Test, Condition, str]]:
    """Every condition of a program that loosens something where it becomes another, and where it
    stands, in words."""
    words = Words(program)
    for table in TABLES:
        for name, each in getattr(program, table.attr).items():
            if type(each) in KINDS:
                where = words.quoted(table.attr, name) if table.attr != "gates" else ""
                yield from _conditions_in(program, each, where)
    for rule in program.never:
        yield from _conditions_in(program, rule, words.quoted("sessions", rule.start))
    for alert in program.alerts:
        yield from _conditions_in(program, alert, "an alert at any time")


def _conditions_in(
    program: m.Program, thing: Any, where: str
) -> Iterator[tuple[Test, Condition, str]]:
    for attr, aspect in KINDS[type(thing)].items():
        value = getattr(thing, attr)
        if isinstance(aspect, Entries) and not isinstance(value, Mapping):
            for each in value:
                if isinstance(each, Test):
                    yield each, READY, where
                else:
                    yield from _conditions_in(program, each, where)
        elif isinstance(aspect, Inner) and value is not None:
            yield from _conditions_in(program, value, where)
        elif isinstance(aspect, Aspect) and isinstance(value, Test):
            judge = _of_row(program, thing) if aspect.loosens is _row else aspect.loosens
            if isinstance(judge, Condition):
                yield value, judge, where
        elif attr == "every":
            for pace in value[:-1]:
                if pace.when is not None:
                    yield pace.when, _SLOWER, where
