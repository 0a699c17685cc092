"""Editors and the manual say what the reader says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kat_workflow.language import grammar
from kat_workflow.language.reader import Document, Quoted, read
from kat_workflow.language.schema import program_schema, tables
from kat_workflow.language.structure import structure
from kat_workflow.program.clock import Unit, parse_duration

SCHEMA = program_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
PROGRAMS = Path(__file__).parents[2] / "programs"
SHIPPED = [path for path in sorted(PROGRAMS.rglob("*.yaml")) if path.parent.name != "scenarios"]

SMALL = """\
language: 1
program: day-clinic
version: "1.0.0"
title: Day clinic
start: stay
sources: {practice: {title: Practice, trust: B}}
roles: {nurse: Nurse}
limits: {high: {is: 180 mmHg, source: practice}}
gates: {calm: {says: It is calm, when: always, override: {by: [nurse], lasts: 4 h}}}
forms:
  vitals:
    title: Vitals
    fields:
      pulse: {type: integer, from: 20, to: 250.5, allowed: [1, 2], asked_if: {field: x, is: [yes]}}
    scores: {total: {weights: {pulse: 2}, bands: [{from: 0, name: low}]}}
phases:
  stay:
    admits: true
    repeat: {at_most: 3, one_per: program day}
    steps:
      check: {by: [nurse], record: vitals, due: 24 h, at: "09:00", may_be: [declined], on_day: 1}
    next: [{to: home, when: always, at_once: false}]
sessions:
  drip:
    by: [nurse]
    dose: {drug: NAD+, route: oral}
    release: {earliest: 30 min, signed_by: [nurse]}
ends: {home: {kind: completed}}
rules: {never: [{start: drip, unless: calm}]}
"""


VARIANT = """\
language: 1
program: small-clinic
version: "1.0.0"
title: Small clinic
based_on: day-clinic@1.0.0
changes:
  - {set: limits.high.is, to: 170 mmHg}
  - {add: gates.free, to: {says: It is free, when: [always]}, before: calm}
  - {remove: phases.stay.next.1}
overlays: [sites/north.yaml]
"""
OVERLAY = """\
language: 1
overlay: north
for: day-clinic
sources: {north: {title: Our own, trust: C}}
limits: {high: {is: 170 mmHg, source: north}}
"""


def both(tree: Any) -> tuple[bool, bool]:
    """Whether the reader and the schema accept a tree."""
    document = Document("a.yaml", "", tree)
    _, findings = structure(document, kind_of(tree))
    return not findings, VALIDATOR.is_valid(document.data)


def kind_of(tree: Any) -> type:
    keys = tree if isinstance(tree, dict) else {}
    if "program" in keys:
        return grammar.Variant if "based_on" in keys else grammar.Program
    if "overlay" in keys:
        return grammar.Overlay
    return grammar.Instrument if "instrument" in keys else grammar.FormsFile


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_ships_is_accepted_by_both(path: Path) -> None:
    assert both(read(path.name, path.read_bytes()).tree) == (True, True)


@pytest.mark.parametrize("text", [SMALL, VARIANT, OVERLAY])
def test_small_files_are_accepted_by_both(text: str) -> None:
    assert both(read("a.yaml", text).tree) == (True, True)


def spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree: what holds it, and its key or index."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from spots(tree[key])


WRONG = st.one_of(
    st.none(),
    st.sampled_from(["7", "-1", "0.5", "true", "False", "yes", "A", "day_1", "24 h", "24h", "a-b"]),
    st.sampled_from(["09:00", "9:00", "25:00", "program day", "done", "completed", "", "07"]),
    st.sampled_from([Quoted("7"), Quoted("true"), Quoted("24 h"), Quoted("null"), Quoted("")]),
    st.sampled_from([[], {}, ["nurse"], [[]], {"a": "b"}, {"A": "b"}, {"true": {}}, [None]]),
)
KEYS = st.sampled_from(["by", "titel", "order", "null", "Name", "name", "from_", "is", "language"])


SAMPLES = (SMALL, SMALL, VARIANT, OVERLAY)


@given(st.data())
@settings(deadline=None, max_examples=400)
def test_reader_and_schema_agree_on_a_program_that_was_changed(data: st.DataObject) -> None:
    tree = copy.deepcopy(read("a.yaml", data.draw(st.sampled_from(SAMPLES))).tree)
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = data.draw(st.sampled_from(list(spots(tree))))
        match data.draw(st.sampled_from(["change", "remove", "add"])):
            case "change":
                holder[key] = copy.deepcopy(data.draw(WRONG))
            case "remove":
                del holder[key]
            case _ if isinstance(holder, dict):
                holder[data.draw(KEYS)] = copy.deepcopy(data.draw(WRONG))
            case _:
                holder.append(copy.deepcopy(data.draw(WRONG)))

    read_by_us, by_schema = both(tree)

    assert read_by_us == by_schema


def test_every_key_has_its_words_for_the_editor() -> None:
    for name, mapping in SCHEMA["$defs"].items():
        for key, value in mapping["properties"].items():
            assert value["description"], f"{name}.{key}"


def test_defaults_are_shown() -> None:
    step = SCHEMA["$defs"]["Step"]["properties"]

    assert step["on_hold"]["default"] == "pauses"
    assert "default" not in step["title"]


def test_durations_are_those_that_the_clock_reads() -> None:
    duration = {"pattern": f"^({grammar.PATTERNS['duration']})$", "type": "string"}
    validator = Draft202012Validator(duration)

    for unit in (*get_args(Unit), "days", "H", ""):
        for amount in ("0", "7", "007", "1234567", "1.5", "-1"):
            text = f"{amount} {unit}"
            assert validator.is_valid(text) == (parse_duration(text) is not None), text


def test_every_key_stands_in_the_tables_of_the_manual() -> None:
    shown = tables()

    for name, mapping in SCHEMA["$defs"].items():
        section = shown.split(f"### {title(name)}\n")[1].split("\n### ")[0]
        for key in mapping["properties"]:
            assert f"\n| `{key}` |" in section, f"{name}.{key}"


def title(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name)[1:].capitalize()


def test_a_table_says_type_default_and_meaning() -> None:
    rows = tables().split("\n")

    assert "| `by` | list of role | **required** | Roles that may do it. |" in rows
    assert (
        "| `on_hold` | `runs` or `pauses` or `restarts` | `pauses` | "
        "What a hold does to its times: runs, pauses, restarts. |"
    ) in rows
    assert (
        "| `signed` | `true` or `false` | `false` | Whether it is done only once it is signed. |"
        in rows
    )
    assert any("[at most](#at-most)" in row for row in rows)


def test_links_in_the_tables_lead_to_a_table() -> None:
    shown = tables()
    headings = {row[4:].lower().replace(" ", "-") for row in shown.split("\n") if row[:4] == "### "}
    links = {part.split(")")[0] for part in shown.split("](#")[1:]}

    assert links <= headings
