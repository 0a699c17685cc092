"""What may be written into a form, how it is kept, and what its scores make of it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kat_workflow.program.clock import Duration
from kat_workflow.program.forms import (
    Band,
    Field,
    FieldType,
    Form,
    Observation,
    Raw,
    Score,
    Slip,
    accept,
    read,
    readable,
    show,
)

D = Decimal


def asked(name: str, type: FieldType = "integer", **more: object) -> Field:  # noqa: A002
    return Field(name, name.replace("_", " "), type, **more)  # type: ignore[arg-type]


def form(*fields: Field, scores: tuple[Score, ...] = ()) -> Form:
    return Form("check", "Check", {each.name: each for each in fields}, scores)


PULSE = asked("pulse", unit="/min", low=D(20), high=D(300))
TEMPERATURE = asked("temperature", "decimal", unit="Cel", low=D("25.5"), high=D(45))
USE = asked("use", "choice", options={"alcohol": "Alcohol", "opioid": "Opioids"})
SYMPTOMS = asked("symptoms", "choices", options={"nausea": "Nausea", "flushing": "Flushing"})
EATEN = asked("eaten", "yes_no")
NOTE = asked("note", "text")
BORN = asked("born", "date")
LAST_USE = asked("last_use", "instant")
SLEEP = asked("sleep", "duration", low=D(0), high=D(86400))


def kept(field: Field, value: object) -> Raw:
    values, slips = accept(form(field), {field.name: value})
    assert slips == ()
    return values[field.name]


def slip(field: Field, value: object) -> Slip:
    _, slips = accept(form(field), {field.name: value})
    assert len(slips) == 1
    assert slips[0].field == field.name
    assert slips[0].unblock
    return slips[0]


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [
        (PULSE, 80, 80),
        (PULSE, "80", 80),
        (PULSE, "80 /min", 80),
        (PULSE, D(80), 80),
        (PULSE, 80.0, 80),
        (PULSE, 20, 20),
        (PULSE, 300, 300),
        (TEMPERATURE, 38.5, "38.5"),
        (TEMPERATURE, "38.50", "38.50"),
        (TEMPERATURE, "38.5 Cel", "38.5"),
        (TEMPERATURE, D("3.85E+1"), "38.5"),
        (TEMPERATURE, 38, "38"),
        (asked("free", "decimal"), "-1200000.25", "-1200000.25"),
        (asked("free", "decimal"), D("1E+3"), "1000"),
        (USE, "opioid", "opioid"),
        (SYMPTOMS, ["flushing", "nausea"], ["nausea", "flushing"]),
        (SYMPTOMS, "nausea, flushing", ["nausea", "flushing"]),
        (SYMPTOMS, {"flushing"}, ["flushing"]),
        (SYMPTOMS, [], []),
        (EATEN, True, True),
        (EATEN, "yes", True),
        (EATEN, "no", False),
        (NOTE, "slept well", "slept well"),
        (BORN, date(1980, 2, 29), "1980-02-29"),
        (BORN, "1980-02-29", "1980-02-29"),
        (LAST_USE, "2025-03-01T14:00:00+01:00", "2025-03-01T13:00:00Z"),
        (LAST_USE, "2025-03-01T13:00:00Z", "2025-03-01T13:00:00Z"),
        (LAST_USE, datetime(2025, 3, 1, 13, tzinfo=UTC), "2025-03-01T13:00:00Z"),
        (SLEEP, 90, 90),
        (SLEEP, "90 min", 5400),
        (SLEEP, Duration(6, "h"), 21600),
        (SLEEP, timedelta(minutes=1), 60),
        (SLEEP, "90", 90),
        (SLEEP, "7 h 30 min", 27000),
        (SLEEP, "0 min", 0),
        (asked("nap", "duration", unit="min", high=D(60)), 45, 2700),
        (asked("nap", "duration", unit="min", high=D(60)), "0.5 min", 30),
    ],
)
def test_a_value_is_kept_exactly_in_one_form_however_it_is_sent(
    field: Field, sent: object, stored: Raw
) -> None:
    found = kept(field, sent)

    assert found == stored
    assert type(found) is type(stored)


@pytest.mark.parametrize(
    ("field", "sent", "code"),
    [
        (PULSE, 19, "implausible"),
        (PULSE, 301, "implausible"),
        (PULSE, 10**30, "implausible"),
        (PULSE, D("1E+999999"), "implausible"),
        (PULSE, True, "wrong-type"),
        (PULSE, "fast", "wrong-type"),
        (PULSE, "80,5", "wrong-type"),
        (PULSE, "080", "wrong-type"),
        (PULSE, "٨٠", "wrong-type"),
        (PULSE, 80.5, "wrong-type"),
        (PULSE, [80], "wrong-type"),
        (PULSE, "80 mmHg", "wrong-unit"),
        (asked("drinks"), "4 points", "wrong-unit"),
        (asked("drinks"), 10**16, "implausible"),
        (asked("drinks", low=D(0)), -1, "implausible"),
        (asked("drinks", high=D(90)), 91, "implausible"),
        (asked("item", allowed=(0, 2, 4)), 3, "not-an-option"),
        (TEMPERATURE, 25.4, "implausible"),
        (TEMPERATURE, 0.1 + 38.2, "wrong-type"),  # 38.300000000000004: reckoned, not read off
        (TEMPERATURE, float("nan"), "wrong-type"),
        (TEMPERATURE, float("inf"), "wrong-type"),
        (TEMPERATURE, D("NaN"), "wrong-type"),
        (TEMPERATURE, D("38." + "1" * 40), "implausible"),
        (TEMPERATURE, "4e1", "wrong-type"),
        (TEMPERATURE, False, "wrong-type"),
        (USE, "cannabis", "not-an-option"),
        (USE, 1, "not-an-option"),
        (USE, ["alcohol"], "not-an-option"),
        (SYMPTOMS, ["nausea", "rash"], "not-an-option"),
        (SYMPTOMS, [["nausea"]], "not-an-option"),
        (SYMPTOMS, 3, "wrong-type"),
        (EATEN, 1, "wrong-type"),
        (EATEN, "true", "wrong-type"),
        (EATEN, ["yes"], "wrong-type"),
        (NOTE, 5, "wrong-type"),
        (NOTE, "a\0b", "wrong-type"),
        (NOTE, "a\ud800b", "wrong-type"),
        (BORN, "1980-02-30", "wrong-type"),
        (BORN, "19800229", "wrong-type"),
        (BORN, datetime(1980, 2, 29, tzinfo=UTC), "wrong-type"),
        (LAST_USE, "2025-03-01T14:00:00", "naive-instant"),
        (LAST_USE, "2025-03-01", "naive-instant"),
        (LAST_USE, datetime(2025, 3, 1, 13), "naive-instant"),
        (LAST_USE, "yesterday", "wrong-type"),
        (LAST_USE, 1740830400, "wrong-type"),
        (
            LAST_USE,
            datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
            "implausible",
        ),
        (SLEEP, "a night", "wrong-type"),
        (SLEEP, "25 h", "implausible"),
        (SLEEP, timedelta(seconds=-1), "implausible"),
        (SLEEP, timedelta(milliseconds=1500), "wrong-type"),
        (SLEEP, "1.5", "wrong-type"),
        (SLEEP, True, "wrong-type"),
        (SLEEP, "7 h  30 min", "wrong-unit"),
        (SLEEP, "7 h and more", "wrong-unit"),
        (SLEEP, "0.5 h", "wrong-unit"),
    ],
)
def test_what_does_not_fit_its_field_is_a_slip_and_nothing_is_guessed(
    field: Field, sent: object, code: str
) -> None:
    assert slip(field, sent).code == code


class Written(str):
    """Text that remembers how it was written, as readers of files use it."""

    __slots__ = ()


class Measured(float):
    """A number of another library."""

    def __repr__(self) -> str:
        return "Measured"


def test_special_kinds_of_text_and_number_are_kept_as_plain_ones() -> None:
    for field, sent, stored in [
        (USE, Written("opioid"), "opioid"),
        (NOTE, Written("calm"), "calm"),
        (SYMPTOMS, [Written("nausea")], ["nausea"]),
        (TEMPERATURE, Written("37.5"), "37.5"),
        (TEMPERATURE, Measured(37.5), "37.5"),
    ]:
        found = kept(field, sent)
        assert found == stored
        assert type(found) is type(stored)
    assert accept(form(asked("a", may_be=frozenset({"unable"}))), {"a": Written("unable")}) == (
        {"a": None, "a?": "unable"},
        (),
    )


def test_a_slip_names_the_limits_of_the_plausible_with_their_unit() -> None:
    assert slip(PULSE, 999).unblock == "from 20 to 300 /min"
    assert slip(asked("age", low=D(18)), 17).unblock == "18 or more"
    assert slip(asked("score", unit="points", high=D(9)), 10).unblock == "9 points or less"
    assert slip(asked("count"), 10**16).unblock == "measure again"
    assert slip(PULSE, "80 mmHg").unblock == "a number of /min"
    assert slip(asked("count"), "4 mg").unblock == "a whole number"
    assert slip(SLEEP, "0.5 h").unblock == "a duration such as 40 min"


def test_all_slips_of_a_form_come_at_once_in_its_order() -> None:
    _, slips = accept(form(PULSE, EATEN, USE), {"use": "x", "pulse": 1, "colour": "red"})

    assert [(each.code, each.field) for each in slips] == [
        ("implausible", "pulse"),
        ("missing-value", "eaten"),
        ("not-an-option", "use"),
        ("unknown-field", "colour"),
    ]


def test_an_unknown_field_is_answered_with_the_nearest_name() -> None:
    _, slips = accept(form(PULSE), {"pulse": 80, "pulze": 80})

    assert slips[0].says == '"check" has no field "pulze"'
    assert slips[0].unblock == 'did you mean "pulse"?'


def test_an_unknown_field_that_is_like_no_other_is_answered_with_the_list() -> None:
    _, slips = accept(form(PULSE, EATEN), {"pulse": 80, "eaten": True, "zzz": 1})

    assert slips[0].unblock == "fields: pulse, eaten"


def test_what_is_not_the_name_of_a_field_is_never_repeated() -> None:
    _, slips = accept(form(PULSE), {"pulse": 80, "Jane Doe": 1, 7: 1})  # type: ignore[dict-item]

    assert [(each.code, each.field) for each in slips] == [("unknown-field", "")] * 2
    assert "Jane" not in str(slips)


def test_a_score_is_computed_and_never_entered() -> None:
    total = Score("total", "Total", ("pulse",))

    _, slips = accept(form(PULSE, scores=(total,)), {"pulse": 80, "total": 80})

    assert slips == (Slip("unknown-field", "total", '"total" is computed', "leave it out"),)


@given(
    st.sampled_from([PULSE, TEMPERATURE, USE, SYMPTOMS, EATEN, BORN, LAST_USE, SLEEP]),
    st.one_of(
        st.integers(10**6, 10**20),
        st.text("XYZ", min_size=4),
        st.lists(st.text("XYZ", min_size=4), min_size=1),
        st.floats(10**6, 10**9),
    ),
)
@settings(max_examples=60, deadline=None)
def test_no_slip_ever_repeats_what_was_sent(field: Field, sent: object) -> None:
    _, slips = accept(form(field), {field.name: sent})

    parts = sent if isinstance(sent, list) else [sent]
    for each in slips:
        for part in parts:
            assert str(part) not in each.says + each.unblock + each.field


@pytest.mark.parametrize("blank", [None, ""])
def test_a_required_field_left_blank_is_missing_and_an_optional_one_is_not(blank: object) -> None:
    optional = asked("comment", "text", required=False)

    values, slips = accept(form(PULSE, optional), {"pulse": blank, "comment": blank})

    assert values == {}
    assert [(each.code, each.field) for each in slips] == [("missing-value", "pulse")]
    assert slips[0].unblock == "answer it"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [("refused", "refused"), ("not asked", "not_asked"), ("not_asked", "not_asked")],
)
def test_a_non_answer_reads_as_unknown_and_keeps_its_reason(sent: str, reason: str) -> None:
    weight = asked("weight", may_be=frozenset({"refused", "not_asked"}))

    values, slips = accept(form(weight), {"weight": sent})

    assert slips == ()
    assert values == {"weight": None, "weight?": reason}
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    reading = Observation("o1", "check", "weigh", "", values, noon, noon)
    assert reading.unanswered("weight") == reason
    assert reading.unanswered("pulse") == ""


def test_a_non_answer_that_the_field_does_not_allow_is_a_slip() -> None:
    weight = asked("weight", may_be=frozenset({"refused", "not_asked"}))

    assert slip(weight, "unable").code == "wrong-type"
    assert slip(PULSE, "refused").code == "wrong-type"
    assert slip(weight, None).unblock == "answer it, or say that it is not asked or refused"


def test_a_note_may_say_refused_where_that_is_no_non_answer() -> None:
    assert kept(NOTE, "refused") == "refused"


DRINKS = asked("drinks", "yes_no", may_be=frozenset({"refused"}))
HOW_MANY = asked("how_many", asked_if=("drinks", (True,)), may_be=frozenset({"unable"}))
WHICH = asked(
    "which",
    "choices",
    options={"beer": "Beer", "wine": "Wine"},
    required=False,
    asked_if=("drinks", (True,)),
)
BREWERY = asked("brewery", "text", asked_if=("which", ("beer",)))
BRANCHING = form(DRINKS, HOW_MANY, WHICH, BREWERY)


def test_a_field_is_required_only_where_branching_asks_it() -> None:
    assert accept(BRANCHING, {"drinks": "no"}) == ({"drinks": False}, ())
    assert accept(BRANCHING, {"drinks": "yes", "how_many": 3, "which": ["wine"]}) == (
        {"drinks": True, "how_many": 3, "which": ["wine"]},
        (),
    )

    _, slips = accept(BRANCHING, {"drinks": "yes", "which": ["wine", "beer"]})

    assert [(each.code, each.field) for each in slips] == [
        ("missing-value", "how_many"),
        ("missing-value", "brewery"),
    ]


def test_an_answer_to_a_question_that_is_not_asked_is_not_lost_but_asked_about() -> None:
    values, slips = accept(BRANCHING, {"drinks": "no", "how_many": 3, "brewery": "Red Lion"})

    assert values == {"drinks": False}
    assert [(each.code, each.field) for each in slips] == [
        ("not-asked", "how_many"),
        ("not-asked", "brewery"),
    ]
    assert 'leave it blank, or look at "drinks" again' in slips[0].unblock


def test_a_question_that_is_not_asked_may_be_sent_as_blank_or_not_asked() -> None:
    sent = {"drinks": "no", "how_many": None, "which": "", "brewery": "not asked"}

    assert accept(BRANCHING, sent) == ({"drinks": False}, ())


def test_where_the_governing_question_is_refused_the_others_may_be_answered_or_left() -> None:
    refused = {"drinks": None, "drinks?": "refused"}

    assert accept(BRANCHING, {"drinks": "refused"}) == (refused, ())
    assert accept(BRANCHING, {"drinks": "refused", "how_many": 2}) == (
        refused | {"how_many": 2},
        (),
    )


BANDS = (Band(D(2), "some", "Some"), Band(D(5), "much", "Much"))


def score(method: str, *items: str, **more: object) -> Score:
    return Score("total", "Total", items, method=method, bands=BANDS, **more)  # type: ignore[arg-type]


def item(name: str, asked_if: tuple[str, tuple[Raw, ...]] | None = None) -> Field:
    refusable = frozenset({"refused"})
    return asked(name, low=D(0), high=D(3), may_be=refusable, asked_if=asked_if)


def totalled(wanted: Form, values: dict[str, object]) -> tuple[Raw, Raw]:
    found, slips = accept(wanted, values)
    assert slips == ()
    return found.get("total"), found.get("total_band")


def test_a_sum_turns_reversed_items_round_and_weighs() -> None:
    fair = form(
        item("a"),
        item("b"),
        asked("c", "yes_no"),
        asked("d", "yes_no"),
        scores=(
            score("sum", "a", "b", "c", "d", reversed=frozenset({"b", "d"}), weights={"c": 4}),
        ),
    )

    assert totalled(fair, {"a": 1, "b": 3, "c": "yes", "d": "yes"}) == (1 + 0 + 4 + 0, "much")
    assert totalled(fair, {"a": 0, "b": 2, "c": "no", "d": "no"}) == (0 + 1 + 0 + 1, "some")
    assert totalled(fair, {"a": 1, "b": 3, "c": "no", "d": "yes"}) == (1, None)


def test_a_reversed_item_that_skips_values_is_turned_round_its_largest() -> None:
    skipping = form(
        asked("a", allowed=(0, 2, 4)), scores=(score("sum", "a", reversed=frozenset({"a"})),)
    )

    assert totalled(skipping, {"a": 4}) == (0, None)
    assert totalled(skipping, {"a": 0}) == (4, "some")


def test_count_at_least_counts_the_items_that_reach_the_threshold() -> None:
    counted = form(
        item("a"),
        item("b"),
        item("c", asked_if=("a", (3,))),
        scores=(score("count_at_least", "a", "b", "c", threshold=2),),
    )

    assert totalled(counted, {"a": 2, "b": 1}) == (1, None)
    assert totalled(counted, {"a": 3, "b": 2, "c": 2}) == (3, "some")
    assert totalled(counted, {"a": 2, "b": "refused"}) == (None, None)


@pytest.mark.parametrize("method", ["sum", "count_at_least"])
def test_a_partial_form_is_kept_but_has_no_total(method: str) -> None:
    partial = form(item("a"), item("b"), scores=(score(method, "a", "b"),))

    values, slips = accept(partial, {"a": 3, "b": "refused"})

    assert slips == ()
    assert values == {"a": 3, "b": None, "b?": "refused"}


def test_an_item_that_branching_leaves_out_counts_nothing_in_a_total() -> None:
    branching = form(
        item("a"),
        item("b", asked_if=("a", (1, 2, 3))),
        scores=(score("sum", "a", "b", reversed=frozenset({"b"})),),
    )

    assert totalled(branching, {"a": 0}) == (0, None)
    assert totalled(branching, {"a": "refused"}) == (None, None)
    assert totalled(branching, {"a": 2, "b": 3}) == (2, "some")


def test_the_highest_is_known_once_no_missing_answer_could_raise_it() -> None:
    risk = form(
        *(asked(name, "yes_no", may_be=frozenset({"refused"})) for name in ("low", "high")),
        scores=(score("highest", "low", "high", weights={"low": 2, "high": 5}),),
    )

    assert totalled(risk, {"low": "refused", "high": "yes"}) == (5, "much")
    assert totalled(risk, {"low": "yes", "high": "refused"}) == (None, None)
    assert totalled(risk, {"low": "refused", "high": "no"}) == (None, None)
    assert totalled(risk, {"low": "yes", "high": "no"}) == (2, "some")
    assert totalled(risk, {"low": "no", "high": "no"}) == (0, None)


def test_the_highest_is_known_when_the_rest_is_not_asked() -> None:
    branching = form(
        asked("thoughts", "yes_no"),
        asked("plan", "yes_no", asked_if=("thoughts", (True,))),
        scores=(score("highest", "thoughts", "plan", weights={"plan": 5}),),
    )

    assert totalled(branching, {"thoughts": "no"}) == (0, None)
    assert totalled(branching, {"thoughts": "yes", "plan": "yes"}) == (5, "much")


def test_with_slips_no_score_is_computed() -> None:
    values, slips = accept(form(item("a"), scores=(score("sum", "a"),)), {"a": 3, "z": 1})

    assert slips
    assert values == {"a": 3}


def test_what_can_be_read_of_a_form_is_its_fields_its_scores_and_their_bands() -> None:
    plain = Score("plain", "Plain", ("a",))
    fields = readable(form(item("a"), item("b"), scores=(score("sum", "a", "b"), plain)))

    assert list(fields) == ["a", "b", "total", "total_band", "plain"]
    total, band = fields["total"], fields["total_band"]
    assert (total.type, total.unit) == ("integer", "points")
    assert (total.low, total.high) == (D(0), D(6))
    assert band.type == "choice"
    assert band.options == {"some": "Some", "much": "Much"}


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        (score("sum", "a", "b", reversed=frozenset({"a"})), (0, 4)),
        (score("sum", "a", "b", weights={"a": -1}), (-3, 1)),
        (score("sum", "one"), (1, 3)),
        (score("sum", "branch"), (0, 3)),
        (score("sum", "skips"), (1, 9)),
        (score("sum", "free"), (-(10**15), 10**15)),
        (score("count_at_least", "a", "one", threshold=1), (1, 2)),
        (score("highest", "a", "b", weights={"b": 7}), (0, 7)),
        (score("highest", "one"), (0, 3)),
    ],
)
def test_the_least_and_the_most_of_a_score_follow_from_its_items(
    wanted: Score, span: tuple[int, int]
) -> None:
    fields = (
        item("a"),
        asked("b", "yes_no"),
        asked("one", low=D(1), high=D(3)),
        asked("branch", low=D(1), high=D(3), asked_if=("b", (True,))),
        asked("skips", allowed=(1, 5, 9)),
        asked("free"),
    )

    total = readable(form(*fields, scores=(wanted,)))["total"]

    assert (total.low, total.high) == (D(span[0]), D(span[1]))


@pytest.mark.parametrize(
    ("field", "raw", "value", "text"),
    [
        (PULSE, 80, 80, "80 /min"),
        (asked("count"), 3, 3, "3"),
        (TEMPERATURE, "38.50", D("38.5"), "38.50 Cel"),
        (USE, "opioid", "opioid", "Opioids"),
        (USE, "gone", "gone", "gone"),
        (SYMPTOMS, ["nausea", "flushing"], ("nausea", "flushing"), "Nausea, Flushing"),
        (SYMPTOMS, [], (), "none"),
        (EATEN, True, True, "yes"),
        (EATEN, False, False, "no"),
        (NOTE, "calm", "calm", "calm"),
        (BORN, "1980-02-29", date(1980, 2, 29), "1980-02-29"),
        (
            LAST_USE,
            "2025-03-01T13:00:00Z",
            datetime(2025, 3, 1, 13, tzinfo=UTC),
            "2025-03-01 13:00 UTC",
        ),
        (SLEEP, 5430, timedelta(seconds=5430), "1 h 30 min 30 s"),
        (SLEEP, 3600, timedelta(hours=1), "1 h"),
        (SLEEP, 0, timedelta(0), "0 min"),
        (PULSE, None, None, "not answered"),
    ],
)
def test_a_kept_value_is_read_with_its_type_and_shown_with_its_unit(
    field: Field, raw: Raw, value: object, text: str
) -> None:
    assert read(field, raw) == value
    assert show(field, raw) == text


@given(st.decimals(min_value=D("25.5"), max_value=D(45), places=2))
@settings(max_examples=60, deadline=None)
def test_a_decimal_is_the_same_after_keeping_and_reading(measured: Decimal) -> None:
    assert read(TEMPERATURE, kept(TEMPERATURE, measured)) == measured


@given(st.decimals(min_value=D("25.5"), max_value=D(45), places=2))
@settings(max_examples=60, deadline=None)
def test_a_float_of_json_is_kept_as_it_was_written(measured: Decimal) -> None:
    sent = json.loads(json.dumps(float(measured)))

    assert read(TEMPERATURE, kept(TEMPERATURE, sent)) == measured


@given(
    st.datetimes(
        min_value=datetime(1900, 1, 1),
        max_value=datetime(2200, 1, 1),
        timezones=st.integers(-14, 14).map(lambda h: timezone(timedelta(hours=h))),
    )
)
@settings(max_examples=60, deadline=None)
def test_an_instant_is_the_same_whatever_clock_it_was_told_by(told: datetime) -> None:
    assert read(LAST_USE, kept(LAST_USE, told)) == told
    assert kept(LAST_USE, told.isoformat()) == kept(LAST_USE, told)


def test_what_is_kept_can_be_kept_again_unchanged() -> None:
    every = form(PULSE, TEMPERATURE, USE, SYMPTOMS, EATEN, NOTE, BORN, LAST_USE, SLEEP)
    sent = {
        "pulse": 80,
        "temperature": 37.2,
        "use": "alcohol",
        "symptoms": ["nausea"],
        "eaten": True,
        "note": "calm",
        "born": "1980-02-29",
        "last_use": "2025-03-01T14:00:00+01:00",
        "sleep": "6 h",
    }

    once, slips = accept(every, sent)

    assert slips == ()
    assert accept(every, json.loads(json.dumps(once))) == (once, ())
    assert list(once) == list(sent)
