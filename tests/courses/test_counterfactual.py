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


@pytest.fixture
def line_of(tmp_path: Path) -> Callable[[Difference], str]:
    """The line of the candidate to which a difference points."""

    def read(each: Difference) -> str:
        file, line, _ = each.line.rsplit(":", 2)
        return (tmp_path / file).read_text(encoding="utf-8").splitlines()[int(line) - 1].strip()

    return read


LineOf = Callable[[Difference], str]


def test_a_longer_watch_would_have_released_later_and_by_how_much(
    otherwise: Tell, line_of: LineOf
) -> None:
    differences, _ = otherwise(STRAIGHT, ("release: {earliest: 30 min", "release: {earliest: 5 h"))

    blocked = next(x for x in differences if x.what == "blocked")
    assert (blocked.about, blocked.code) == ("release nad_infusion", "too-early")
    first = next(x for x in differences if x.what == "released-later")
    # It began at 9:30 and had settled at 13:30; the candidate lets it end at 14:30.
    assert (first.about.rpartition("/")[2], first.minutes) == ("nad_infusion.1", 60)
    assert line_of(first) == line_of(blocked)
    assert line_of(first).startswith("release: {earliest: 5 h")


TWO_HOURS = "earliest: 2 h, when: ready_to_go,"
NO_ASSESSMENT = "      assessment: {", "      assessment: {optional: true, "


def test_a_shorter_watch_would_have_released_earlier_and_by_how_much(
    otherwise: Tell, line_of: LineOf
) -> None:
    differences, _ = otherwise(
        STRAIGHT, (TWO_HOURS, "earliest: 1 h,"), NO_ASSESSMENT, program="spravato-session"
    )

    # Assessed after 120 and 125 minutes, of which none asks now. Nothing was recorded when the hour
    # was over; it is looked then all the same.
    assert [(x.what, x.minutes) for x in differences] == [
        ("released-earlier", -60),
        ("released-earlier", -65),
    ]
    assert {line_of(x) for x in differences} == {
        "release: {earliest: 1 h, signed_by: [nurse, prescriber]}"
    }


@pytest.mark.parametrize(
    ("when", "minutes"),
    [
        # Nothing was recorded between 90 and 120 minutes after the first device.
        ("time since esketamine_session started >= long_enough", [-20, -25]),
        # 142 mmHg after 40 minutes was the last raised pressure: gone after 85, with no reading.
        # The second session had none, and could have been over with the hour.
        ("every watch.systolic of last 45 min <= raised_systolic", [-35, -65]),
    ],
)
def test_a_criterion_that_time_alone_fulfils_is_seen_at_that_very_instant(
    otherwise: Tell, line_of: LineOf, when: str, minutes: list[int]
) -> None:
    limit = (
        "  raised_systolic:",
        "  long_enough: {is: 100 min, source: spravato}\n  raised_systolic:",
    )

    differences, _ = otherwise(
        STRAIGHT,
        (TWO_HOURS, f"earliest: 1 h, when: {when},"),
        NO_ASSESSMENT,
        limit,
        program="spravato-session",
    )

    released = [x for x in differences if x.what == "released-earlier"]
    assert [x.minutes for x in released] == minutes
    assert all(when in line_of(x) for x in released)


def test_what_closes_by_itself_before_a_release_lets_it_come_then(otherwise: Tell) -> None:
    closing = "opens: 2 h, source: spravato}\n    release: {earliest: 2 h, when: ready_to_go,"
    sooner = "opens: 1 h, closes: 95 min, may_be: [missed], source: spravato}\n"

    differences, _ = otherwise(
        STRAIGHT, (closing, f"{sooner}    release: {{earliest: 1 h,"), program="spravato-session"
    )

    # Nobody assesses before 95 minutes; then the assessment is missed, and keeps nobody.
    assert [x.minutes for x in differences if x.what == "released-earlier"] == [-25, -30]


def test_a_criterion_less_would_have_released_as_soon_as_the_time_was_over(
    otherwise: Tell,
) -> None:
    differences, _ = otherwise(
        STRAIGHT,
        ("release: {earliest: 30 min, when: watch.settled is yes,", "release: {earliest: 30 min,"),
    )

    assert differences == []  # it had settled by the time at which the dose was ended


def test_a_lower_score_would_have_called_somebody_when_it_was_read_by_its_line(
    otherwise: Tell, line_of: LineOf
) -> None:
    differences, _ = otherwise(STRAIGHT, MILDER)

    (called,) = differences
    assert (called.what, called.about) == ("called", "alcohol_check.alert.1")
    assert called.at == datetime(2026, 3, 2, 17, 15, tzinfo=UTC)
    assert line_of(called).startswith("- {when: ciwa_ar.total >= severe_ciwa,")


@pytest.mark.parametrize(
    ("due", "what", "minutes"), [("20 min", "called-earlier", -10), ("35 min", "called-later", 5)]
)
def test_who_is_called_when_something_is_late_would_have_been_called_at_another_time(
    otherwise: Tell, line_of: LineOf, due: str, what: str, minutes: int
) -> None:
    hourly = "          - {interval: 1 h, when: always}\n        due: "

    differences, _ = otherwise("a-late-and-a-missed-check", (f"{hourly}30 min", f"{hourly}{due}"))

    (call,) = differences
    assert (call.what, call.about, call.minutes) == (what, "late.alcohol_check", minutes)
    assert line_of(call) == "alcohol_check:"


def test_a_row_put_before_others_makes_one_call_more_and_no_other_of_those_there_were(
    otherwise: Tell, line_of: LineOf
) -> None:
    severe = "          - {when: ciwa_ar.total >= severe_ciwa,"
    new = (
        "{when: ciwa_ar.total >= raised_ciwa, says: Look in, tell: [nurse], answer_within: 30 min}"
    )

    differences, _ = otherwise(
        "severe-withdrawal-calls-the-prescriber", (severe, f"          - {new}\n{severe}")
    )

    assert {x.what for x in differences} == {"called"}
    assert {line_of(x) for x in differences} == {f"- {new}"}


def test_a_shorter_chain_of_calls_would_have_called_one_person_less(
    otherwise: Tell, line_of: LineOf
) -> None:
    differences, _ = otherwise(
        "nobody-answers-the-call",
        ("repeat_last: 3", "repeat_last: 1"),
        program="spravato-session",
    )

    # Who answered in the record answers again, whatever number the call has then.
    (call,) = differences
    assert (call.what, call.about) == ("not-called", "late.esketamine_session.watch")
    assert line_of(call).startswith("watch:")


def test_who_answered_a_call_answers_it_though_another_row_stands_before_the_one_that_made_it(
    otherwise: Tell,
) -> None:
    first = (
        "    stop_when:\n",
        "    stop_when:\n      - {when: watch.oxygen < low_oxygen, says: Low}\n",
    )

    differences, counts = otherwise("nobody-answers-the-call", first, program="spravato-session")

    assert differences == []
    assert counts["not_given_again"] == 0


def test_another_rule_of_leaving_would_have_led_elsewhere(otherwise: Tell, line_of: LineOf) -> None:
    differences, _ = otherwise(
        STRAIGHT,
        ("intake.seizure_or_delirium is yes or", "intake.seizure_or_delirium is no or"),
    )

    (end,) = [x for x in differences if x.what == "other-end"]
    assert (end.about, end.at) == ("redirected", datetime(2026, 3, 2, 16, tzinfo=UTC))
    assert line_of(end) == "- {to: redirected, when: unsafe_here, at_once: true}"
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
