"""Forms and instruments as written → the forms that recordings are accepted with.

Only what needs no other part of the file: names of roles, sources and units are resolved by
the compiler, which also turns what is wrong with a form into findings at its place.
"""

from __future__ import annotations

from decimal import Decimal

from kat_workflow.language import grammar
from kat_workflow.program import forms

__all__ = ["build_form"]


def build_form(name: str, written: grammar.Form | grammar.Instrument) -> forms.Form:
    """The form a file describes; an instrument also brings its version and recall period."""
    return forms.Form(
        name=name,
        title=written.title,
        fields={key: _field(key, asked, written.fields) for key, asked in written.fields.items()},
        computed=tuple(_score(key, score, written.fields) for key, score in written.scores.items()),
        version=written.version if isinstance(written, grammar.Instrument) else "",
        answered_by=written.answered_by,  # type: ignore[arg-type]  # checked by the compiler
        recall=written.recall if isinstance(written, grammar.Instrument) else "",
        any_time=written.any_time,
        valid_for=written.valid_for,
        by=tuple(written.by),
        source=written.source,
        about=written.about,
        renamed_from=() if isinstance(written, grammar.Instrument) else tuple(written.renamed_from),
    )


def _field(name: str, asked: grammar.Field, among: dict[str, grammar.Field]) -> forms.Field:
    condition = None
    if asked.asked_if is not None:
        governing = among.get(asked.asked_if.field)
        kind = governing.type if governing is not None else ""
        condition = (asked.asked_if.field, tuple(_answer(kind, a) for a in asked.asked_if.is_))
    return forms.Field(
        name=name,
        label=asked.label or name.replace("_", " "),
        type=asked.type,  # type: ignore[arg-type]  # checked by the compiler
        unit=asked.unit,
        low=asked.from_,
        high=asked.to,
        allowed=tuple(asked.allowed),
        options=dict(asked.options),
        required=not asked.optional,
        may_be=frozenset(asked.may_be),
        asked_if=condition,
        source=asked.source,
    )


def _answer(kind: str, text: str) -> forms.Raw:
    """An answer named by `asked_if`, as it is kept. What is not one of the type stays text, and
    so never matches."""
    if kind == "yes_no":
        return {"yes": True, "no": False}.get(text, text)
    if kind == "integer" and text.removeprefix("-").isdecimal():
        return int(text)
    return text


def _score(name: str, score: grammar.Score, among: dict[str, grammar.Field]) -> forms.Score:
    items = score.items or [key for key, asked in among.items() if asked.type == "integer"]
    return forms.Score(
        name=name,
        label=score.label or name.replace("_", " "),
        items=tuple(items),
        reversed=frozenset(score.reversed),
        bands=tuple(
            forms.Band(Decimal(band.from_), band.name, band.label or band.name.replace("_", " "))
            for band in score.bands
        ),
        method=score.method,  # type: ignore[arg-type]  # checked by the compiler
        threshold=score.threshold,
        weights=dict(score.weights),
        source=score.source,
    )
