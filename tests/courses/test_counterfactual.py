"""What a candidate program would have done with the patients of a record, and by which line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kat_workflow.cli import kat
from kat_workflow.courses.counterfactual import (
    Difference,
    NoEnrollments,
    account,
    counterfactual,
    enrolled_in,
    page,
)
from kat_workflow.engine import Engine
from kat_workflow.engine.access import AccessLog
from kat_workflow.errors import JournalError
from kat_workflow.journal import Journal, open_journal
from kat_workflow.language import load, shipped
from kat_workflow.language.library import Folder
from kat_workflow.program.clock import Site
from kat_workflow.scenarios import load_scenario, run

ROOT = Path(__file__).parents[2] / "programs"
PLACE = Site("main", "America/Los_Angeles")
LATER = datetime(2027, 6, 1, tzinfo=UTC)


def recorded(journal: Journal, program: str, *stories: str) -> Engine:
    """A clinic in which these stories happened."""
    for story in stories:
        result = run(
            load_scenario(ROOT / program / "scenarios" / f"{story}.yaml"), shipped(), journal
        )
        assert result.passed
    return Engine(journal, shipped(), lambda: LATER, (PLACE,))


def candidate(tmp_path: Path, program: str, *changes: tuple[str, str]) -> Folder:
    """A new version of a shipped program, with some of its text changed."""
    text = (ROOT / program / f"{program}.yaml").read_text(encoding="utf-8")
    for before, after in (('version: "1.0.0"', 'version: "2.0.0"'), *changes):
        assert before in text
        text = text.replace(before, after, 1)
    (tmp_path / program).mkdir(exist_ok=True)
    (tmp_path / program / f"{program}.yaml").write_text(text, encoding="utf-8")
    return Folder(tmp_path, shipped())


@pytest.fixture
def otherwise(tmp_path: Path) -> Callable[..., tuple[list[Difference], dict[str, Any]]]:
    def tell(
        story: str, *changes: tuple[str, str], program: str = "detox-4-day"
    ) -> tuple[list[Difference], dict[str, Any]]:
        with open_journal() as journal:
            clinic = recorded(journal, program, story)
            library = candidate(tmp_path, program, *changes)
            return counterfactual(
                clinic, load(program, library), library, of=enrolled_in(clinic, program)
            )

    return tell


Tell = Callable[..., tuple[list[Difference], dict[str, Any]]]
STRAIGHT = "straight-way-through"
LOWER = "is: 180 mmHg, source: practice", "is: 130 mmHg, source: practice"
MILDER = "severe_ciwa: {is: 20 points", "severe_ciwa: {is: 8 points"


def test_the_same_program_would_have_done_the_same(otherwise: Tell) -> None:
    differences, counts = otherwise(STRAIGHT)

    assert differences == []
    assert counts["commands"] > 40
    assert counts["not_known_again"] == counts["not_given_again"] == counts["otherwise"] == 0


@pytest.mark.parametrize("program", ["ketamine-assisted-therapy", "residential-30-day"])
def test_sessions_with_orders_checks_and_a_ledger_are_told_again(
    otherwise: Tell, program: str
) -> None:
    differences, counts = otherwise(STRAIGHT, program=program)

    assert differences == []
    assert counts["not_given_again"] == 0


@pytest.mark.parametrize(
    "program", ["detox-4-day", "ketamine-assisted-therapy", "spravato-session"]
)
def test_whatever_happened_the_same_program_makes_no_difference_and_most_is_told_again(
    tmp_path: Path, program: str
) -> None:
    library = candidate(tmp_path, program)
    same = load(program, library)
    told = again = 0
    for file in sorted((ROOT / program / "scenarios").glob("*.yaml")):
        with open_journal() as journal:
            clinic = recorded(journal, program, file.stem)
            of = enrolled_in(clinic, program)
            differences, counts = counterfactual(clinic, same, library, of=of)
        assert differences == [], file.stem
        told += counts["commands"]
        again += counts["commands"] - counts["not_known_again"] - counts["not_given_again"]

    assert again > 0.9 * told


def test_a_lower_limit_would_have_blocked_each_start_by_the_line_of_its_gate(
    otherwise: Tell,
) -> None:
    differences, _ = otherwise(STRAIGHT, LOWER)
    lines = (ROOT / "detox-4-day" / "detox-4-day.yaml").read_text(encoding="utf-8").splitlines()

    blocked = [x for x in differences if x.what == "blocked"]
    assert len(blocked) == 4
    for each in blocked:
        assert (each.about, each.gate) == ("start nad_infusion", "pressure_allows")
        file, line, _ = each.line.rsplit(":", 2)
        assert file == "detox-4-day/detox-4-day.yaml"
        assert "pressure_allows:" in lines[int(line) - 1]


def line_of(each: Difference, program: str = "detox-4-day") -> str:
    """The line of the program to which a difference points."""
    file, line, _ = each.line.rsplit(":", 2)
    assert file == f"{program}/{program}.yaml"
    return (ROOT / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]


def test_a_longer_watch_would_have_released_later_and_by_how_much(otherwise: Tell) -> None:
    differences, _ = otherwise(STRAIGHT, ("release: {earliest: 30 min", "release: {earliest: 5 h"))

    assert any(x.what == "blocked" and x.about == "release nad_infusion" for x in differences)
    first = next(x for x in differences if x.what == "released-later")
    # It began at 9:30 and had settled at 13:30; the candidate lets it end at 14:30.
    assert (first.about.rpartition("/")[2], first.minutes) == ("nad_infusion.1", 60)
    assert "nad_infusion:" in line_of(first)


def test_a_shorter_watch_would_have_released_earlier_and_by_how_much(otherwise: Tell) -> None:
    program = "spravato-session"
    two_hours = "release: {earliest: 2 h, when: ready_to_go, signed_by: [nurse, prescriber]}"

    differences, _ = otherwise(
        STRAIGHT,
        (two_hours, "release: {earliest: 1 h, signed_by: [nurse, prescriber]}"),
        ("      assessment: {", "      assessment: {optional: true, "),
        program=program,
    )

    # Assessed after 120 and 125 minutes, of which none asks now. Nothing was recorded when the hour
    # was over; it is looked then all the same.
    assert [(x.what, x.minutes) for x in differences] == [
        ("released-earlier", -60),
        ("released-earlier", -65),
    ]
    assert all("esketamine_session:" in line_of(x, program) for x in differences)


def test_a_criterion_less_would_have_released_as_soon_as_the_time_was_over(
    otherwise: Tell,
) -> None:
    differences, _ = otherwise(
        STRAIGHT,
        ("release: {earliest: 30 min, when: watch.settled is yes,", "release: {earliest: 30 min,"),
    )

    assert differences == []  # it had settled by the time at which the dose was ended


def test_a_lower_score_would_have_called_somebody(otherwise: Tell) -> None:
    differences, _ = otherwise(STRAIGHT, MILDER)

    assert any(x.what == "called" for x in differences)
    assert not any(x.what == "not-called" for x in differences)


def test_another_rule_of_leaving_would_have_led_elsewhere(otherwise: Tell) -> None:
    differences, _ = otherwise(
        STRAIGHT,
        ("intake.seizure_or_delirium is yes or", "intake.seizure_or_delirium is no or"),
    )

    assert any(x.what == "other-end" and x.about == "redirected" for x in differences)
    assert any(x.what == "no-place" for x in differences)


def test_whom_it_was_looked_for_is_said_where_nobody_is(tmp_path: Path) -> None:
    with open_journal() as journal:
        clinic = Engine(journal, shipped(), lambda: LATER, (PLACE,))

        with pytest.raises(NoEnrollments, match='no enrollment in "detox-4-day"'):
            enrolled_in(clinic, "detox-4-day")


def test_the_account_counts_by_line_and_the_page_shows_it(otherwise: Tell, tmp_path: Path) -> None:
    differences, counts = otherwise(STRAIGHT, LOWER)
    found = account(load("detox-4-day", Folder(tmp_path, shipped())), differences, counts)

    assert found["candidate"] == "detox-4-day@2.0.0"
    assert found["by_line"][0]["times"] >= 4
    assert page(found) == page(found)
    assert "no effect" in page(found)


def test_the_command_reads_a_record_and_changes_nothing(tmp_path: Path) -> None:
    db = tmp_path / "clinic.db"
    with open_journal(db) as journal:
        recorded(journal, "detox-4-day", STRAIGHT)
        entries = len(journal.follow(0, 100_000))
    candidate(
        tmp_path,
        "detox-4-day",
        LOWER,
    )
    sites = tmp_path / "sites.yaml"
    sites.write_text("main: {zone: America/Los_Angeles}\n", encoding="utf-8")
    asked = ["counterfactual", "detox-4-day", "--db", str(db), "--programs", str(tmp_path)]
    asked += ["--sites", str(sites)]

    log = str(tmp_path / "access.db")
    named = ["--access", log, "--as", "rae:researcher", "--why", "a stricter limit"]
    shown = CliRunner().invoke(kat, [*asked, "--html", str(tmp_path / "r.html"), *named])
    plain = CliRunner().invoke(kat, [*asked, "--json"])

    assert shown.exit_code == 0, shown.output
    assert "pressure_allows" in shown.output
    assert json.loads(plain.output)["by_line"][0]["what"] == "blocked"
    with open_journal(db) as journal:
        assert len(journal.follow(0, 100_000)) == entries
    with closing(AccessLog(log)) as looks:
        (look,) = looks.by_person("rae")
        assert (look.through, look.why) == ("counterfactual", "a stricter limit")
        assert looks.of_patient(*look.patients) == (look,)


def test_where_the_access_log_cannot_be_written_nothing_is_told_again(tmp_path: Path) -> None:
    with open_journal() as journal:
        clinic = recorded(journal, "detox-4-day", STRAIGHT)
        clinic.access = AccessLog()
        clinic.access.close()
        library = shipped()

        with pytest.raises(JournalError, match="access log"):
            counterfactual(
                clinic,
                load("detox-4-day", library),
                library,
                of=enrolled_in(clinic, "detox-4-day"),
            )
