"""The verbs about groups, run as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kat_workflow.cli import kat
from kat_workflow.errors import Refused

FOLDER = Path(__file__).parent / "programs"
ANN = ["--by", "ann:nurse"]
TOM = ["--by", "tom:therapist"]
NOW = ["--now", "2026-03-02T08:00"]

Kat = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kat:
    """`kat`, in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAT_PROGRAMS", str(FOLDER))
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES"):
        monkeypatch.delenv(name, raising=False)

    def kat_(*words: str) -> Result:
        return CliRunner().invoke(kat, list(words), catch_exceptions=True)

    return kat_


@pytest.fixture
def circle(run: Kat) -> str:
    """A circle that is planned for ten."""
    when = "2026-03-02T10:00"
    plan = ["group", "plan", "ketamine-circle", "circle", when, "--room", "mats"]
    done = run(*plan, *TOM, *NOW)
    assert done.exit_code == 0, done.output
    return done.output.strip()


@pytest.fixture
def members(run: Kat, circle: str) -> list[str]:
    """Four patients; three have a seat."""
    found = []
    for number in range(4):
        patient = ["--patient", f"P{number}"]
        id_ = run("enroll", "ketamine-circle", *patient, *ANN, *NOW).output.strip()
        run("do", id_, "done agreement", *ANN, *NOW)
        found.append(id_)
        joined = run("group", "join", circle, id_, *ANN, *NOW)
        assert joined.exit_code == 0, joined.output
    return found


def shown(run: Kat, circle: str) -> dict[str, str]:
    found = json.loads(run("group", "show", circle, "--json", *NOW).output)["members"]
    return {id_: f"{each['state']} {each['seat']}" for id_, each in found.items()}


def test_who_joins_is_told_the_seat_or_that_they_wait(
    run: Kat, circle: str, members: list[str]
) -> None:
    joined = run("history", members[0], *NOW).output
    waits = run("history", members[3], *NOW).output

    assert f"seat 1 in group {circle}" in joined
    assert f"on the waitlist of group {circle}" in waits
    assert list(shown(run, circle).values()) == ["in 1", "in 2", "in 3", "waiting 0"]


def test_the_groups_of_a_site_are_listed(run: Kat, circle: str, members: list[str]) -> None:
    listed = run("groups", *NOW).output

    assert circle in listed
    assert "3 of 3" in listed
    assert "Mon 02 Mar 2026 10:00" in listed
    assert json.loads(run("groups", "--json", *NOW).output)["groups"][0]["room"] == "mats"
    assert isinstance(run("groups", "--site", "moon", *NOW).exception, Refused)


def test_a_group_goes_from_a_drop_out_to_the_start(
    run: Kat, circle: str, members: list[str]
) -> None:
    dropped = run("group", "drop", circle, members[0], "--reason", "a cold", *ANN, *NOW)
    assert "dropped out" in dropped.output
    assert shown(run, circle)[members[3]] == "offered 1"
    offered = run("group", "show", circle, *NOW).output
    assert f"seat 1   offered  {members[3]}" in offered
    assert f"no seat  dropped  {members[0]}" in offered
    elsewhere = ["--when", "2026-03-02T12:00", "--room", "garden"]
    moved = run("group", "move", circle, *elsewhere, *TOM, *NOW)
    assert moved.exit_code == 0
    assert moved.output.count("moved") == 2

    arrived = run("group", "do", circle, "arrive ketamine_session", *ANN, *NOW)
    assert arrived.output.count("arrived for ketamine_session.1") == 2
    started = run(
        "group", "start", circle, "--present", "ann:nurse", "--regardless", "x", *TOM, *NOW
    )

    assert f"Ketamine circle ({circle}): started, Mon 02 Mar 2026 12:00 in garden" in started.output


def test_a_member_who_is_refused_is_told_and_the_exit_code_says_so(
    run: Kat, circle: str, members: list[str]
) -> None:
    run("group", "do", circle, "arrive ketamine_session", *ANN, *NOW, "--command-id", "k")
    words = ["group", "do", circle, "arrive ketamine_session", *ANN, *NOW]

    again = run(*words, "--command-id", "k")
    anew = run(*words)
    early = ["--occurred", "2026-03-02T07:59", "--json"]
    as_json = run(*words[:3], "record pressure", "systolic=120", *early, *ANN, *NOW)

    assert again.output.count("carried out before") == 3
    assert (anew.exit_code, anew.output.count("session-state")) == (3, 3)
    assert len(json.loads(as_json.output)["members"]) == 3


def test_a_group_is_called_off_for_everybody(run: Kat, circle: str, members: list[str]) -> None:
    done = run("group", "call-off", circle, "--reason", "the house is cold", *TOM, *NOW)

    assert done.exit_code == 0
    assert done.output.count("dropped out") == 4
    assert "called off" in run("group", "show", circle, *NOW).output
    assert "cold" not in run("history", members[0], *NOW).output
    other = ["2026-03-02T10:00", "--json"]
    assert run("group", "plan", "ketamine-circle", "table", *other, *TOM, *NOW).exit_code == 0
