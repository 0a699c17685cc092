"""What is recorded: forms, their fields with units, and instruments with their scoring.

A form's field has one type. Recorded values are kept as JSON scalars, so that the journal and
the state row stay small and exact: integers as numbers, decimals as text (`"38.5"`), instants
as RFC 3339 text in UTC, dates as ISO text, durations in seconds, choices by their names.

`accept` is the one door through which values come in. It works every rule of a form out once,
so that the recordings after the first are only looked up and compared.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import ceil, floor
from typing import Literal, TypeAlias

from msgspec import Struct

from kat_workflow.program.clock import Duration, parse_duration

__all__ = [
    "Band",
    "Field",
    "FieldType",
    "Form",
    "Observation",
    "Raw",
    "Score",
    "Slip",
    "accept",
    "read",
    "readable",
    "show",
]

Raw = bool | int | str | list[str] | None
"""A value as it is kept. None: asked, and not answered (see `Observation.unanswered`)."""

Value = bool | int | Decimal | str | tuple[str, ...] | date | datetime | timedelta | None
"""A value as it is reckoned with."""

FieldType = Literal[
    "integer", "decimal", "choice", "choices", "yes_no", "text", "date", "instant", "duration"
]


class Observation(Struct, frozen=True, array_like=True, gc=False):
    """One recording of a form, as a gate may read it.

    `place` is where it was recorded: the id of the visit or session whose step it answers
    (`stay.1/day.3`, `stay.1/day.3/kat_session.2`), "" for a recording without an item. `signed`
    is True where no signature was asked. `valid_until` is when its result expires, if ever.
    `kept_in` is the place with whose end no gate can read it any more, "" for never. `recorded` is
    told by entries alone: no gate asks for it, so that no state keeps it.
    """

    id: str
    form: str
    step: str
    place: str
    values: dict[str, Raw]
    occurred: datetime
    recorded: datetime | None
    signed: bool = True
    valid_until: datetime | None = None
    kept_in: str = ""

    def unanswered(self, name: str) -> str:
        """Why a field that was asked has no answer: `not_asked`, `refused`, `unable`, or ""."""
        reason = self.values.get(name + "?")
        return reason if isinstance(reason, str) else ""


class Slip(Struct, frozen=True):
    """One thing that is wrong with what somebody wants to record.

    `says` is a sentence without any patient value; `unblock` is a way out.
    """

    code: str
    field: str
    says: str
    unblock: str = ""


class Field(Struct, frozen=True, eq=False):
    """One thing that is asked.

    `low` and `high` are the limits of the plausible, not of the normal: a value outside them is
    refused as a slip. `allowed` are the only values of an integer item that skips values.
    `options` are name → label of a choice. `may_be` are the non-answers it accepts:
    `not_asked`, `refused`, `unable`. `asked_if` is the branching: (field, raw values) that must
    have been answered for this field to be asked; the field is an earlier one of the form. The
    unit of a duration is what a bare number, `low` and `high` count; without it, seconds.
    """

    name: str
    label: str
    type: FieldType
    unit: str = ""
    low: Decimal | None = None
    high: Decimal | None = None
    allowed: tuple[int, ...] = ()
    options: Mapping[str, str] = {}
    required: bool = True
    may_be: frozenset[str] = frozenset()
    asked_if: tuple[str, tuple[Raw, ...]] | None = None
    source: str = ""


class Band(Struct, frozen=True, eq=False):
    """A named range of a score, from `low` up to the next band."""

    low: Decimal
    name: str
    label: str


class Score(Struct, frozen=True, eq=False):
    """A computed field over integer and yes-no items (yes counts 1), each times its weight.

    `sum` adds them (those in `reversed` as highest possible - value), `count_at_least` counts
    those that reach `threshold`, `highest` takes the largest, at least 0. An item that
    branching leaves out counts 0. An item without an answer leaves no score, and the field stays
    unknown; only `highest` is known already when no answer that is missing could raise it: a
    refused question must not hide a risk that another answer shows. The name of the band is the
    computed field `<name>_band`.
    """

    name: str
    label: str
    items: tuple[str, ...]
    reversed: frozenset[str] = frozenset()
    bands: tuple[Band, ...] = ()
    method: Literal["sum", "count_at_least", "highest"] = "sum"
    threshold: int = 0
    weights: Mapping[str, int] = {}
    source: str = ""


class Form(Struct, frozen=True, eq=False):
    """A form or instrument. `computed` are its scores; `version` names the edition of an
    instrument; `any_time` allows a recording without an open item; `renamed_from` are its names in
    older versions."""

    name: str
    title: str
    fields: Mapping[str, Field]
    computed: tuple[Score, ...] = ()
    version: str = ""
    answered_by: Literal["", "patient", "clinician"] = ""
    recall: str = ""
    any_time: bool = False
    valid_for: str = ""
    by: tuple[str, ...] = ()
    source: str = ""
    about: str = ""
    renamed_from: tuple[str, ...] = ()


def accept(form: Form, values: Mapping[str, object]) -> tuple[dict[str, Raw], tuple[Slip, ...]]:
    """What is kept of a recording, in the order of the form, and everything that is wrong with it.

    Values may be JSON scalars or `Decimal`, `datetime`, `date`, `timedelta`; a quantity may
    carry its field's unit (`"120 mmHg"`). None and "" leave a field blank. Where the field
    allows it, `"refused"`, `"unable"` and `"not asked"` are non-answers: the value is kept as
    None and the reason under `<field>?`. A field that branching leaves out keeps nothing.
    Scores are added when they are complete. With slips nothing may be recorded.
    """
    fields, scores = _rules(form)
    kept: dict[str, Raw] = {}
    left_out: set[str] = set()
    slips: list[Slip] = []
    for name, take, must, excuses, condition in fields:
        value = values.get(name)
        if condition is not None:
            asked = _is_asked(condition, kept, left_out)
            if asked is False:
                left_out.add(name)
                if value not in (None, "", "not asked", "not_asked"):
                    slips.append(_not_asked(form, name))
                continue
            must = must and asked is True  # noqa: PLW2901  # unknown whether asked: may be blank
        if value is None or value == "":
            if must:
                slips.append(_missing(form.fields[name]))
            continue
        if excuses is not None and isinstance(value, str) and value in excuses:
            kept[name] = None
            kept[name + "?"] = excuses[value]
            continue
        try:
            kept[name] = take(value)
        except _Unfit as unfit:
            slips.append(unfit.slip)
    if not values.keys() <= form.fields.keys():
        slips.extend(_unknown(form, name) for name in values if name not in form.fields)
    if slips:
        return kept, tuple(slips)
    for name, reckon, lows, bands in scores:
        score = reckon(kept, left_out)
        if score is None:
            continue
        kept[name] = score
        if lows and score >= lows[0]:
            kept[name + "_band"] = bands[bisect_right(lows, score) - 1]
    return kept, ()


@lru_cache(maxsize=1024)  # keyed by identity: a form is compared by `is`
def readable(form: Form) -> Mapping[str, Field]:
    """Everything that can be read of a recording: the fields, the scores and their bands.

    A score reads as an integer of points with the least and the most it can be; its band as a
    choice.
    """
    found = dict(form.fields)
    for score in form.computed:
        low, high = _span(form, score)
        found[score.name] = Field(
            score.name, score.label, "integer", "points", low, high, source=score.source
        )
        if score.bands:
            options = {band.name: band.label for band in score.bands}
            band = score.name + "_band"
            found[band] = Field(band, score.label, "choice", options=options, source=score.source)
    return found


def read(field: Field, raw: Raw) -> Value:
    """A kept value as one that can be reckoned with: instants in UTC, durations as timedelta,
    several choices as a tuple of their names; None stays None."""
    if raw is None:
        return None
    if field.type == "decimal":
        return Decimal(str(raw))
    if field.type == "instant":
        return datetime.fromisoformat(str(raw))
    if field.type == "date":
        return date.fromisoformat(str(raw))
    if field.type == "duration":
        return timedelta(seconds=int(str(raw)))
    return tuple(raw) if isinstance(raw, list) else raw


def show(field: Field, raw: Raw) -> str:
    """A kept value as people read it, with its unit; choices by their labels."""
    value = read(field, raw)
    if value is None:
        return "not answered"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(field.options.get(name, name) for name in value) or "none"
    if isinstance(value, timedelta):
        return _length(int(value.total_seconds()))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, int | Decimal):
        return f"{raw} {field.unit}".rstrip()
    return field.options.get(value, value) if isinstance(value, str) else value.isoformat()


def _length(seconds: int) -> str:
    parts = []
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 min"


# The rules of a form, worked out once.

_Take = Callable[[object], Raw]
_Condition = tuple[str, tuple[Raw, ...]]
_Reckon = Callable[[Mapping[str, Raw], set[str]], int | None]


_Asked: TypeAlias = "tuple[str, _Take, bool, Mapping[str, str] | None, _Condition | None]"
"""A field: its name, what takes a value, whether it must be answered, the non-answers it allows by
their words, and what it is asked for."""
_Scored: TypeAlias = "tuple[str, _Reckon, tuple[int, ...], tuple[str, ...]]"
"""A score: its name, what reckons it, where its bands begin and their names."""


class _Unfit(Exception):  # not an error: it carries a slip out of a field's rule
    def __init__(self, code: str, field: Field, says: str, unblock: str) -> None:
        self.slip = Slip(code, field.name, f'"{field.name}" {says}', unblock)


_NON_ANSWERS = {
    "not asked": "not_asked",
    "not_asked": "not_asked",
    "refused": "refused",
    "unable": "unable",
}


@lru_cache(maxsize=1024)
def _rules(form: Form) -> tuple[tuple[_Asked, ...], tuple[_Scored, ...]]:
    asked: list[_Asked] = []
    for name, each in form.fields.items():
        excuses = {word: why for word, why in _NON_ANSWERS.items() if why in each.may_be}
        take = _TAKES[each.type](each)
        asked.append((name, take, each.required, excuses or None, each.asked_if))
    scores: list[_Scored] = []
    for score in form.computed:
        lows = tuple(ceil(band.low) for band in score.bands)
        names = tuple(band.name for band in score.bands)
        scores.append((score.name, _RECKONS[score.method](form, score), lows, names))
    return tuple(asked), tuple(scores)


def _is_asked(condition: _Condition, kept: Mapping[str, Raw], left_out: set[str]) -> bool | None:
    """Whether branching asks a field; None while the field it hangs on has no answer."""
    governing, answers = condition
    if governing in left_out:
        return False
    answer = kept.get(governing)
    if answer is None:
        return None
    if isinstance(answer, list):
        return any(each in answers for each in answer)
    return answer in answers


# One maker for each type of field: it looks at the field once and returns what takes a value.


def _integer(field: Field) -> _Take:
    low = -_LARGEST if field.low is None else ceil(field.low)
    high = _LARGEST if field.high is None else floor(field.high)
    allowed = frozenset(field.allowed)

    def take(value: object) -> int:
        whole = value if type(value) is int else _whole(field, value)
        if not low <= whole <= high:
            raise _implausible(field)
        if allowed and whole not in allowed:
            listed = ", ".join(str(each) for each in field.allowed)
            raise _Unfit("not-an-option", field, "has no such value", f"one of {listed}")
        return whole

    return take


def _decimal(field: Field) -> _Take:
    low = Decimal(-_LARGEST) if field.low is None else field.low
    high = Decimal(_LARGEST) if field.high is None else field.high

    def take(value: object) -> str:
        number = _number(field, value)
        if not low <= number <= high:
            raise _implausible(field)
        return format(number, "f")

    return take


def _yes_no(field: Field) -> _Take:
    def take(value: object) -> bool:
        if type(value) is bool:
            return value
        if value == "yes" or value == "no":  # noqa: PLR1714  # a set would hash what is sent
            return value == "yes"
        raise _Unfit("wrong-type", field, "is a question of yes or no", "yes or no")

    return take


def _choice(field: Field) -> _Take:
    options = {name: name for name in field.options}

    def take(value: object) -> str:
        if isinstance(value, str) and value in options:
            return options[value]
        raise _no_option(field)

    return take


def _choices(field: Field) -> _Take:
    options = tuple(field.options)

    def take(value: object) -> list[str]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, list | tuple | set | frozenset):
            raise _Unfit("wrong-type", field, "is a list of options", _listed(options))
        if not all(isinstance(each, str) and each in options for each in value):
            raise _no_option(field)
        return [name for name in options if name in value]

    return take


def _text(field: Field) -> _Take:
    def take(value: object) -> str:
        # A zero byte and half a surrogate pair cannot be stored by every journal.
        if isinstance(value, str) and "\0" not in value and not _SURROGATE.search(value):
            return str(value)
        raise _Unfit("wrong-type", field, "is text", "plain text")

    return take


def _date(field: Field) -> _Take:
    way = "a date such as 2025-03-01"

    def take(value: object) -> str:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, str) and _DATE.fullmatch(value):
            try:
                return date.fromisoformat(value).isoformat()
            except ValueError:  # the 31st of a month that has 30 days
                raise _Unfit("wrong-type", field, "is a date", way) from None
        raise _Unfit("wrong-type", field, "is a date", way)

    return take


def _instant(field: Field) -> _Take:
    way = "an instant with its offset, such as 2025-03-01T14:00:00+01:00"

    def take(value: object) -> str:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                value = None
        if not isinstance(value, datetime):
            raise _Unfit("wrong-type", field, "is an instant", way)
        if value.utcoffset() is None:
            raise _Unfit("naive-instant", field, "needs the offset of its clock", way)
        try:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except OverflowError:
            raise _implausible(field) from None

    return take


def _duration(field: Field) -> _Take:
    one = parse_duration(f"1 {field.unit or 's'}")
    size = one.seconds if one else 1
    low = 0 if field.low is None else ceil(field.low * size)
    high = _LARGEST if field.high is None else floor(field.high * size)
    way = "a duration such as 40 min"

    def take(value: object) -> int:
        if isinstance(value, str):
            elapsed = _elapsed(value)
            value = value if elapsed is None else elapsed
        if isinstance(value, Duration):
            value = value.elapsed
        if isinstance(value, timedelta):
            seconds = Decimal(value // timedelta(microseconds=1)) / 1_000_000
        else:
            seconds = _number(field, value, "is a duration", way) * size
        if seconds != int(seconds):
            raise _Unfit("wrong-type", field, "is kept in whole seconds", way)
        if not low <= seconds <= high:
            raise _implausible(field)
        return int(seconds)

    return take


_TAKES: Mapping[FieldType, Callable[[Field], _Take]] = {
    "integer": _integer,
    "decimal": _decimal,
    "choice": _choice,
    "choices": _choices,
    "yes_no": _yes_no,
    "text": _text,
    "date": _date,
    "instant": _instant,
    "duration": _duration,
}

_LARGEST = 10**15
_DIGITS = 15  # more than these nobody has written or measured; a float shows its rounding there
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_AMOUNT = re.compile(r"\S+ \S+")
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _elapsed(text: str) -> timedelta | None:
    """`"1 h 30 min"`, the way a duration is shown, as elapsed time."""
    parts = [parse_duration(part) for part in _AMOUNT.findall(text)]
    if " ".join(str(part) for part in parts) != text:
        return None
    return sum((part.elapsed for part in parts if part), timedelta())


def _whole(field: Field, value: object) -> int:
    number = _number(field, value, "is a whole number", "a whole number")
    if number != int(number):
        raise _Unfit("wrong-type", field, "is a whole number", "a whole number")
    return int(number)


def _number(
    field: Field, value: object, says: str = "is a number", way: str = "a number such as 38.5"
) -> Decimal:
    """What was sent as an exact number. A float is read as it is written, by its shortest text."""
    if isinstance(value, str):
        text, space, unit = value.partition(" ")
        if not _NUMBER.fullmatch(text):
            raise _Unfit("wrong-type", field, says, way)
        if space and unit != field.unit:
            way = f"a number of {field.unit}" if field.unit else way
            raise _Unfit("wrong-unit", field, "has another unit", way)
        return Decimal(text)
    if isinstance(value, int) and not isinstance(value, bool):  # to the clinic, True is no number
        return Decimal(value)
    if isinstance(value, float):
        value = Decimal(float.__repr__(value))
        if len(value.as_tuple().digits) > _DIGITS:
            raise _Unfit("wrong-type", field, says, way)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise _Unfit("wrong-type", field, says, way)
    if abs(value.adjusted()) > _DIGITS or len(value.as_tuple().digits) > 2 * _DIGITS:
        raise _implausible(field)
    return value


# What is wrong, in words that name the field and never the value.


def _implausible(field: Field) -> _Unfit:
    unit = f" {field.unit}" if field.unit else ""
    if field.low is not None and field.high is not None:
        way = f"from {field.low} to {field.high}{unit}"
    elif field.low is not None:
        way = f"{field.low}{unit} or more"
    elif field.high is not None:
        way = f"{field.high}{unit} or less"
    else:
        way = "measure again"
    return _Unfit("implausible", field, "is not plausible", way)


def _no_option(field: Field) -> _Unfit:
    return _Unfit("not-an-option", field, "has no such option", _listed(tuple(field.options)))


def _listed(options: tuple[str, ...]) -> str:
    return "of " + ", ".join(options)


def _missing(field: Field) -> Slip:
    words = [why.replace("_", " ") for why in sorted(field.may_be)]
    way = f"answer it, or say that it is {' or '.join(words)}" if words else "answer it"
    return Slip("missing-value", field.name, f'"{field.name}" is not answered', way)


def _not_asked(form: Form, name: str) -> Slip:
    asked_if = form.fields[name].asked_if
    governing = asked_if[0] if asked_if else ""
    says = f'"{name}" is not asked after this answer to "{governing}"'
    return Slip("not-asked", name, says, f'leave it blank, or look at "{governing}" again')


def _unknown(form: Form, name: object) -> Slip:
    # What is not a name may be anything, so it is not repeated.
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        return Slip("unknown-field", "", f'"{form.name}" has no such field', "fields are names")
    says = f'"{form.name}" has no field "{name}"'
    if name in readable(form):
        return Slip("unknown-field", name, f'"{name}" is computed', "leave it out")
    from difflib import get_close_matches  # noqa: PLC0415  # only a slip needs it

    close = get_close_matches(name, form.fields, 1)
    way = f'did you mean "{close[0]}"?' if close else f"fields: {', '.join(form.fields)}"
    return Slip("unknown-field", name, says, way)


# One maker for each method of scoring.


def _sum(form: Form, score: Score) -> _Reckon:
    """Reversed items count highest - value, so a weight on them applies to what is left."""
    items = [
        (name, score.weights.get(name, 1), _top(form, name) if name in score.reversed else None)
        for name in score.items
    ]

    def reckon(kept: Mapping[str, Raw], left_out: set[str]) -> int | None:
        total = 0
        for name, weight, top in items:
            value = kept.get(name)
            if isinstance(value, int):
                total += weight * (value if top is None else top - value)
            elif name not in left_out:
                return None
        return total

    return reckon


def _count_at_least(form: Form, score: Score) -> _Reckon:
    items = [(name, score.weights.get(name, 1)) for name in score.items]
    threshold = score.threshold

    def reckon(kept: Mapping[str, Raw], left_out: set[str]) -> int | None:
        total = 0
        for name, weight in items:
            value = kept.get(name)
            if isinstance(value, int):
                total += weight * (value >= threshold)
            elif name not in left_out:
                return None
        return total

    return reckon


def _highest(form: Form, score: Score) -> _Reckon:
    items = [
        (name, score.weights.get(name, 1), score.weights.get(name, 1) * _top(form, name))
        for name in score.items
    ]

    def reckon(kept: Mapping[str, Raw], left_out: set[str]) -> int | None:
        found = possible = 0
        for name, weight, most in items:
            value = kept.get(name)
            if isinstance(value, int):
                found = max(found, weight * value)
            elif name not in left_out:
                possible = max(possible, most)
        return found if found >= possible else None

    return reckon


_RECKONS: Mapping[str, Callable[[Form, Score], _Reckon]] = {
    "sum": _sum,
    "count_at_least": _count_at_least,
    "highest": _highest,
}


def _ends(field: Field) -> tuple[int, int]:
    """The least and the most an item can count."""
    if field.type == "yes_no":
        return 0, 1
    if field.allowed:
        return min(field.allowed), max(field.allowed)
    low = -_LARGEST if field.low is None else ceil(field.low)
    return low, _LARGEST if field.high is None else floor(field.high)


def _top(form: Form, name: str) -> int:
    return _ends(form.fields[name])[1]


def _span(form: Form, score: Score) -> tuple[Decimal, Decimal]:
    """The least and the most a score can be."""
    lows, highs = [], []
    for name in score.items:
        item = form.fields[name]
        low, high = _ends(item)
        if score.method == "count_at_least":
            low, high = int(low >= score.threshold), int(high >= score.threshold)
        elif name in score.reversed:
            low, high = 0, high - low
        weight = score.weights.get(name, 1)
        reach = [weight * low, weight * high]
        if item.asked_if is not None or score.method == "highest":
            reach.append(0)
        lows.append(min(reach))
        highs.append(max(reach))
    if score.method == "highest":
        return Decimal(max(lows, default=0)), Decimal(max(highs, default=0))
    return Decimal(sum(lows)), Decimal(sum(highs))
