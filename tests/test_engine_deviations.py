"""The report of what went otherwise: every deviation, override and emergency of all patients."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from walk_in import ANN, BO, EIGHT, TEXT, Clock

from kat_workflow import Deviation, Engine, Refused, Site
from kat_workflow.cli import kat

HOUR = timedelta(hours=1)
RESTING = """\
      - {to: resting, when: always}
  resting:
    steps: {nap: {by: [nurse], record: pressure}}
    next: [{to: home, when: always}]
ends:
"""
MORE = TEXT.replace("ends:\n", RESTING)
OTHER = MORE.replace("program: walk-in", "program: day-room")
TWO = MORE.replace(
    "when: rest.systolic < high}",
    "when: rest.systolic < high, override: {by: [doctor], lasts: 4 h}}",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("walk-in", TWO), ("day-room", OTHER)):
        place = tmp_path / "programs" / name
        place.mkdir(parents=True)
        (place / f"{name}.yaml").write_text(text)
    return tmp_path / "programs"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "clinic.db"


def clinic(store: Path | None, folder: Path, clock: Clock) -> Engine:
    sites = (Site(), Site("coast", "America/Los_Angeles"))
    return Engine.open(store, programs=folder, clock=clock, sites=sites)


def told(found: tuple[Deviation, ...]) -> list[tuple[str, str, str, str]]:
    return [(each.patient, each.kind, each.code, each.reviewed_by) for each in found]


def a_morning(engine: Engine, clock: Clock) -> None:
    """Three patients, each with something that was not as it should be."""
    one = engine.enroll("walk-in", patient="P-1", by=BO)
    two = engine.enroll("day-room", patient="P-2", by=BO)
    three = engine.enroll("walk-in", patient="P-3", by=BO, site="coast")
    engine.do(one, "override calm", given={"reason": "always so"}, by=BO)
    clock.at += HOUR
    for id_ in (one, two, three):
        engine.do(id_, "move resting", given={"reason": "was there"}, by=BO)
    clock.at += HOUR
    (item,) = [x.item for x in engine.worklist(enrollment=one).items if x.item[:7] == "review."]
    engine.do(one, f"done {item}", by=BO)
    engine.do(two, "leave against_advice", given={"reason": "went"}, by=ANN)


def test_what_went_otherwise_is_one_list_of_all_patients(store: Path | None, folder: Path) -> None:
    clock = Clock()
    with clinic(store, folder, clock) as engine:
        a_morning(engine, clock)

        found = engine.deviations()

        assert sorted(told(found)) == [
            ("P-1", "deviation", "moved-past-gates", "bo"),
            ("P-1", "override", "calm", ""),
            ("P-2", "deviation", "moved-past-gates", ""),
            ("P-3", "deviation", "moved-past-gates", ""),
        ]
        assert found[0].says == "always so"
        assert {each.site for each in found if each.patient == "P-3"} == {"coast"}


def test_the_list_is_of_a_program_a_site_and_a_time(store: Path | None, folder: Path) -> None:
    clock = Clock()
    with clinic(store, folder, clock) as engine:
        a_morning(engine, clock)

        of_program = engine.deviations("day-room")
        of_site = engine.deviations(site="coast")
        before = engine.deviations(until=EIGHT + HOUR)
        since = engine.deviations("walk-in", "main", since=EIGHT + HOUR)

        assert {each.patient for each in of_program} == {"P-2"}
        assert {each.patient for each in of_site} == {"P-3"}
        assert told(before) == [("P-1", "override", "calm", "")]
        assert told(since) == [("P-1", "deviation", "moved-past-gates", "bo")]
        with pytest.raises(Refused, match="unknown-site"):
            engine.deviations(site="moon")
        with pytest.raises(ValueError, match="zone"):
            engine.deviations(since=datetime(2026, 3, 2))  # that is the point


def test_an_emergency_says_what_it_passed(store: Path | None, folder: Path) -> None:
    with clinic(store, folder, Clock()) as engine:
        one = engine.enroll("walk-in", patient="P-1", by=BO)
        engine.do(one, "hold", given={"reason": "fire"}, by=ANN, emergency="the ward is on fire")

        (found,) = engine.deviations()

        assert (found.kind, found.says, found.person) == ("emergency", "the ward is on fire", "ann")
        assert found.review in {x.item for x in engine.worklist(enrollment=one).items}


def test_the_list_is_printed_and_given_to_machines(folder: Path, tmp_path: Path) -> None:
    clock, store = Clock(), tmp_path / "clinic.db"
    with clinic(store, folder, clock) as engine:
        a_morning(engine, clock)
    where = ["--db", str(store), "--programs", str(folder), "--now", f"{clock.at:%Y-%m-%dT%H:%M}"]
    (tmp_path / "sites.yaml").write_text("main: {zone: UTC}\ncoast: {zone: America/Los_Angeles}\n")
    sites = ["--sites", str(tmp_path / "sites.yaml")]

    shown = CliRunner().invoke(kat, ["deviations", *where, *sites])
    data = CliRunner().invoke(
        kat, ["deviations", "--program", "day-room", "--json", *where, *sites]
    )

    assert shown.exit_code == 0
    assert "moved-past-gates" in shown.output
    assert "bo looked at it on Mon 02 Mar 2026 10:00" in shown.output
    assert shown.output.endswith("4 in all\n")
    (row,) = json.loads(data.output)["deviations"]
    assert (row["patient"], row["code"]) == ("P-2", "moved-past-gates")
