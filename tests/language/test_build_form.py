"""A form as it is written in a file is the form that recordings are accepted with."""

from __future__ import annotations

from decimal import Decimal

from kat_workflow.language import grammar
from kat_workflow.language.forms import build_form
from kat_workflow.program.forms import accept

FIELDS = {
    "drinks": grammar.Field(type="integer", unit="points", from_=Decimal(0), to=Decimal(4)),
    "alone": grammar.Field(type="yes_no", label="Drinks alone"),
    "mood": grammar.Field(type="choice", options={"low": "Low", "fair": "Fair"}),
    "bottles": grammar.Field(
        type="integer", optional=True, asked_if=grammar.AskedIf(field="drinks", is_=["3", "4"])
    ),
    "since": grammar.Field(
        type="text", may_be=["refused"], asked_if=grammar.AskedIf(field="alone", is_=["yes"])
    ),
    "why": grammar.Field(type="text", asked_if=grammar.AskedIf(field="mood", is_=["low"])),
}


def test_branching_on_words_and_numbers_of_a_file_meets_the_kept_answers() -> None:
    form = build_form("intake", grammar.Form(title="Intake", fields=FIELDS))

    assert form.fields["bottles"].asked_if == ("drinks", (3, 4))
    assert form.fields["since"].asked_if == ("alone", (True,))
    assert form.fields["why"].asked_if == ("mood", ("low",))
    answers = {"drinks": 3, "alone": "no", "mood": "fair", "bottles": 2}
    assert accept(form, answers)[1] == ()


def test_branching_on_what_is_no_answer_is_never_met() -> None:
    fields = {
        "drinks": FIELDS["drinks"],
        "odd": grammar.Field(type="text", asked_if=grammar.AskedIf(field="drinks", is_=["many"])),
        "lost": grammar.Field(type="text", asked_if=grammar.AskedIf(field="gone", is_=["yes"])),
    }
    form = build_form("intake", grammar.Form(title="Intake", fields=fields))

    assert form.fields["odd"].asked_if == ("drinks", ("many",))
    assert form.fields["lost"].asked_if == ("gone", ("yes",))
    assert accept(form, {"drinks": 3}) == ({"drinks": 3}, ())


def test_a_field_without_a_label_is_called_by_its_name_in_words() -> None:
    fields = {"last_use": grammar.Field(type="instant"), "alone": FIELDS["alone"]}
    form = build_form("intake", grammar.Form(title="Intake", fields=fields))

    assert [field.label for field in form.fields.values()] == ["last use", "Drinks alone"]


def test_a_score_without_items_takes_every_integer_field() -> None:
    bands = [grammar.Band(from_=0, name="few"), grammar.Band(from_=5, name="very_many")]
    scores = {"total": grammar.Score(bands=bands)}
    form = build_form("intake", grammar.Form(title="Intake", fields=FIELDS, scores=scores))

    total = form.computed[0]
    assert total.items == ("drinks", "bottles")
    assert total.label == "total"
    assert [(band.low, band.label) for band in total.bands] == [
        (Decimal(0), "few"),
        (Decimal(5), "very many"),
    ]


def test_an_instrument_brings_its_edition_and_a_form_has_none() -> None:
    instrument = grammar.Instrument(
        language=1,
        instrument="check",
        version="2",
        title="Check",
        recall="the last week",
        answered_by="patient",
        fields=FIELDS,
        by=["nurse"],
        valid_for="24 h",
    )

    built = build_form("check", instrument)
    plain = build_form("check", grammar.Form(title="Check", fields=FIELDS, any_time=True))

    assert (built.version, built.recall, built.answered_by) == ("2", "the last week", "patient")
    assert (built.by, built.valid_for, built.any_time) == (("nurse",), "24 h", False)
    assert (plain.version, plain.recall, plain.any_time) == ("", "", True)
