"""The verbs about patients and for trying things out, run as a person runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner, Result
from walk_in import TEXT

from kat_workflow.cli import kat
from kat_workflow.cli.telling import said
from kat_workflow.enrollment import events as e
from kat_workflow.errors import EXIT_INTERRUPTED, Refused

NURSE = ["--by", "bo:nurse"]
NPR = ["--by", "ann:nurse_practitioner"]
NOW = ["--now", "2026-03-02T08:00"]
INTAKE = [
    "substances=alcohol", "last_drink=2026-03-01T20:00", "pawss=2", "seizure_or_delirium=no",
    "unstable=no", "could_be_pregnant=no", "medicines=none",
]  # fmt: skip

Kat = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kat:
    """`kat`, in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAT_DB", "KAT_BY", "KAT_SITES", "KAT_PROGRAMS"):
        monkeypatch.delenv(name, raising=False)

    def kat_(*words: str, lines: str | None = None) -> Result:
        return CliRunner().invoke(kat, list(words), input=lines, catch_exceptions=True)

    return kat_


@pytest.fixture
def patient(run: Kat) -> str:
    """The enrollment of a patient in the detox."""
    done = run("enroll", "detox-4-day", "--patient", "MRN-1", *NPR, "--command-id", "x", *NOW)
    assert done.exit_code == 0
    return done.output.strip()


def data(result: Result) -> Any:
    return json.loads(result.output)


def test_an_enrollment_sent_again_is_the_same(run: Kat, patient: str) -> None:
    again = run("enroll", "detox-4-day", "--patient", "MRN-1", *NPR, "--command-id", "x", "--json")

    assert data(again)["enrollment"] == patient


def test_a_recorded_form_opens_what_follows(run: Kat, patient: str) -> None:
    told = run("record", patient, "intake_evaluation", *INTAKE, "--signed", *NPR, *NOW)

    assert told.exit_code == 0
    assert "opened treatment_consent" in told.output


def test_values_may_come_from_a_file_and_leave_as_json(run: Kat, patient: str) -> None:
    Path("screen.json").write_text('{"q1": false, "q2": false, "q6": false}', encoding="utf-8")

    told = run("record", patient, "suicide_screen", "--values", "screen.json", "--json", *NPR, *NOW)

    assert data(told)["events"][0]["event"] == "observation-recorded"


def test_why_names_each_clause_and_writes_nothing(run: Kat, patient: str) -> None:
    before = data(run("history", patient, "--json"))
    asked = run("why", patient, "start nad_infusion", *NURSE, *NOW)

    assert asked.exit_code == 3
    assert "consent nad in force: unknown" in asked.output
    assert data(run("history", patient, "--json")) == before


def test_why_says_when_nothing_stands_in_the_way(run: Kat, patient: str) -> None:
    asked = run("why", patient, "hold", "reason=a bed", *NURSE, *NOW)

    assert (asked.exit_code, asked.output) == (0, "Nothing stands in the way.\n")
    assert data(run("why", patient, "hold", "reason=a bed", "--json", *NURSE))["refused"] is None


def test_a_refusal_is_json_for_programs_and_code_three(run: Kat, patient: str) -> None:
    refused = run("do", patient, "start nad_infusion", "--json", *NURSE, *NOW)

    assert refused.exit_code == 3
    assert data(refused)["refused"]["reasons"][0]["code"] == "not-open"


def test_a_refusal_reaches_the_person_as_its_explanation(run: Kat, patient: str) -> None:
    refused = run("do", patient, "start nad_infusion", *NURSE, *NOW)

    assert isinstance(refused.exception, Refused)
    assert "way out" in refused.exception.explanation


def test_the_lists_say_who_is_where_and_what_is_open(run: Kat, patient: str) -> None:
    worklist = run("worklist", "--role", "counselor", *NOW)
    census = run("census", *NOW)
    items = data(run("worklist", "--role", "nurse_practitioner", "--json", *NOW))["items"]

    assert "Suicide screen" in worklist.output
    assert "MRN-1" in census.output
    assert "screening" in census.output
    assert {item["step"] for item in items} == {"intake_evaluation", "tests", "suicide_screen"}
    assert data(run("census", "--json", *NOW))["residents"][0]["enrollment"] == patient


def test_a_short_list_says_that_there_is_more(run: Kat, patient: str) -> None:
    assert "There is more" in run("worklist", "--limit", "1", *NOW).output


def test_status_and_history_tell_the_whole_way(run: Kat, patient: str) -> None:
    run("do", patient, "hold", "reason=a bed", *NURSE, *NOW)
    status = run("status", patient, *NOW)
    history = run("history", patient, *NOW)

    assert "Hold: hold.1" in status.output
    assert "late" not in status.output
    assert "bo (nurse): hold.1 (a bed)" in history.output
    assert data(run("status", patient, "--json", *NOW))["standing"] == "applied"


def test_a_record_is_corrected_and_the_history_shows_what_became_of_it(
    run: Kat, patient: str
) -> None:
    run("record", patient, "intake_evaluation", *INTAKE, "--signed", *NPR, *NOW)
    record = next(
        line.rpartition("[")[2].rstrip("]")
        for line in run("history", patient).output.splitlines()
        if "recorded intake_evaluation" in line
    )
    later = ["--now", "2026-03-02T10:00"]
    told = run(
        "do", patient, f"correct {record}", "pawss=3", "last_drink=2026-03-01T19:00",
        "--reason", "misheard", "--signed", *NPR, *later,
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert f"corrected intake_evaluation: {record} is now" in told.output
    assert run("why", patient, "correct intake_evaluation", "pawss=4", *NPR, *later).exit_code == 3
    assert run(
        "do", patient, "retract intake_evaluation", "--reason", "another patient's", *NPR, *later
    ).exit_code == 0  # fmt: skip

    history = run("history", patient).output

    assert f"recorded intake_evaluation [{record}, corrected by" in history
    assert "entered in error]" in history
    assert "was entered in error (another patient's)" in history


def test_status_shows_a_past_instant(run: Kat, patient: str) -> None:
    run("record", patient, "intake_evaluation", *INTAKE, "--signed", *NPR, *NOW)
    later = ["--now", "2026-03-02T10:00"]
    run("do", patient, "leave against_advice", *NPR, *later)
    for option in ("--as-known-at", "--as-true-at"):
        then = run("status", patient, option, "2026-03-02T09:00", *later)
        assert "applied" in then.output, option
    both = run("status", patient, "--as-known-at", "2026-03-02", "--as-true-at", "2026-03-02")
    assert both.exit_code == 2


def test_late_work_is_said_to_be_late(run: Kat, patient: str) -> None:
    assert "[late] tests" in run("status", patient, "--now", "2026-03-09T08:00").output


def test_a_site_has_its_own_zone(run: Kat) -> None:
    Path("sites.yaml").write_text("west: {zone: America/Los_Angeles}\n", encoding="utf-8")
    done = run("enroll", "detox-4-day", "--patient", "M", *NPR, *NOW)

    assert "Mon 02 Mar 2026 08:00" in run("history", done.output.strip()).output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["status", "e-none"], "unknown-enrollment"),
        (["census", "--now", "yesterday"], "no instant"),
        (["census", "--sites", "no.yaml"], "No such file"),
        (["enroll", "detox-4-day", "--patient", "M", "--by", "ann"], "PERSON:ROLE"),
        (["enroll", "detox-4-dya", "--patient", "M", "--by", "a:b"], "did you mean"),
        (["try", "detox-4-day", "--zone", "Mars"], "is no zone"),
        (["test", "nothing"], "no program and no file"),
    ],
)
def test_bad_input_ends_in_a_sentence(run: Kat, words: list[str], says: str) -> None:
    result = run(*words)

    assert result.exit_code != 0
    assert says in result.output + str(result.exception)


def test_a_site_may_be_closed_and_quiet(run: Kat) -> None:
    Path("sites.yaml").write_text(
        'west: {zone: America/Los_Angeles, closed: [2026-12-25], quiet: ["22:00", "07:00"]}\n'
        "east: America/New_York\n",
        encoding="utf-8",
    )

    assert run("census").exit_code == 0
    assert run("census", "--site", "east").exit_code == 0


def test_what_a_hold_would_do_is_told_before_it_is_set(run: Kat, patient: str) -> None:
    foreseen = run("why", patient, "hold fever", "--foresee", *NPR, *NOW)
    as_json = run("why", patient, "hold fever", "--foresee", "--json", *NPR, *NOW)
    wrong = run("why", patient, "lift", "--foresee", *NPR, *NOW)

    assert (foreseen.exit_code, wrong.exit_code) == (0, 2)
    assert "intake_evaluation.1 due" in foreseen.output
    assert "pauses with" in foreseen.output
    assert {x["then"] for x in data(as_json)["times"]} == {"pauses"}
    assert not [x for x in data(run("history", patient, "--json"))["entries"] if "hold" in str(x)]


_WARD = Path(__file__).parent / "test_engine_time.py"


def test_an_outbox_is_read_from_where_it_was_left(run: Kat) -> None:
    ward = _WARD.read_text(encoding="utf-8").split('TEXT = """\\\n')[1].split('"""')[0]
    Path("programs/ward").mkdir(parents=True)
    Path("programs/ward/ward.yaml").write_text(ward, encoding="utf-8")
    nurse = ["--by", "bo:nurse"]
    id_ = run("enroll", "ward", "--patient", "M", *nurse, *NOW).output.strip()
    run("record", id_, "vitals", "systolic=203", *nurse, *NOW)

    first = run("outbox", *NOW)
    then = first.output.split()[-1]
    later = run("outbox", "--after", then, "--json", "--now", "2026-03-02T08:06")
    told = run("outbox", "--after", then, "--now", "2026-03-02T08:06")

    assert "nurse: High, until Mon 02 Mar 2026 08:05" in first.output
    (call,) = data(later)["notifications"]
    assert (call["roles"], call["level"]) == (["doctor"], 1)
    assert "doctor (call 2): High" in told.output
    assert "203" not in first.output + later.output + told.output


def test_each_fate_of_a_time_has_its_words(run: Kat) -> None:
    ward = _WARD.read_text(encoding="utf-8").split('TEXT = """\\\n')[1].split('"""')[0]
    changed = ward.replace(
        "      farewell: {by: [doctor]}",
        "      farewell: {by: [doctor], due: 3 h, on_hold: restarts, source: practice}\n"
        '      pills: {by: [nurse], every: [{daily_at: ["20:00"], when: always}]}',
    )
    Path("programs/ward").mkdir(parents=True)
    Path("programs/ward/ward.yaml").write_text(changed, encoding="utf-8")
    nurse, doctor = ["--by", "bo:nurse"], ["--by", "eve:doctor"]
    id_ = run("enroll", "ward", "--patient", "M", *nurse, *NOW).output.strip()
    run("do", id_, "start drip", *nurse, *NOW)
    run("do", id_, "dose drip", "rate=150 mg/h", *nurse, *NOW)

    told = run("why", id_, "hold fever", "--foresee", *doctor, *NOW).output

    assert "Stops the dose of drip.1" in told
    for words in ("runs on", "pauses with", "begins anew: 3:00:00", "keeps to the clock"):
        assert words in told


@pytest.mark.parametrize(
    "text", ["main: {zone: Mars}", "- a", "{}", "main: {zone: UTC, quiet: [dusk]}"]
)
def test_a_wrong_file_of_sites_is_told(run: Kat, text: str) -> None:
    Path("sites.yaml").write_text(text, encoding="utf-8")

    assert run("census").exit_code == 2


@pytest.mark.parametrize("values", ["[1]", "{"])
def test_values_that_are_no_object_are_told(run: Kat, patient: str, values: str) -> None:
    Path("v.json").write_text(values, encoding="utf-8")

    assert run("record", patient, "tests", "--values", "v.json", *NPR).exit_code == 2


def test_a_detail_without_a_value_is_told(run: Kat, patient: str) -> None:
    assert run("do", patient, "hold", "reason", *NURSE).exit_code == 2


def test_a_patient_is_walked_through_by_hand(run: Kat) -> None:
    lines = """
help
phrases
form suicide_screen
form nothing
why start nad_infusion
record suicide_screen q1=no q2=no q6=no
record intake_evaluation {intake} sign!
nurse: hold reason=waits for a bed
lift
override pressure_allows reason=x
leave against_advice
wait 2 h
wait long
until 2026-03-02T06:00
status
history
bogus
"""
    walked = run("try", "detox-4-day", lines=lines.replace("{intake}", " ".join(INTAKE)))

    assert walked.exit_code == 0
    for words in (
        "suicide_screen: done",
        "records no form",
        "opened treatment_consent",
        "hold.1 (waits for a bed)",
        "hold.1 lifted",
        "discharged as against_advice",
        "is no duration",
        "time does not go back",
        'there is no "bogus"',
    ):
        assert words in walked.output


def test_the_demo_takes_two_patients_from_yaml_to_discharge(run: Kat) -> None:
    shown = run("demo")

    assert shown.exit_code == 0
    assert "discharged as linked_to_care" in shown.output
    assert "discharged as completed" in shown.output
    assert "Not medical advice" in shown.output
    assert len(run("demo", "--brief").output) < len(shown.output)


def test_scenarios_are_run_and_what_they_have_not_seen_is_named(run: Kat) -> None:
    told = run("test", "detox-4-day", "--coverage")
    plain = data(run("test", "detox-4-day", "--json"))

    assert told.exit_code == 0
    assert "no scenario has seen" in told.output
    assert plain["ok"]
    assert all(scenario["passed"] for scenario in plain["scenarios"])


def test_a_scenario_that_goes_otherwise_fails_with_its_line(run: Kat) -> None:
    Path("wrong.yaml").write_text(
        """\
scenario: Wrong
program: detox-4-day
starts: 2026-03-02 08:00
steps:
  - enroll: M
    by: nurse_practitioner
    expect: {standing: closed}
""",
        encoding="utf-8",
    )

    told = run("test", "wrong.yaml")

    assert told.exit_code == 1
    assert "wrong.yaml:5: expected standing closed; found applied" in told.output
    assert "1 scenario, 1 failed" in told.output


def test_every_event_is_said_in_words_or_is_inner_working() -> None:
    """Made with words of the right type in every field; timers and rechecks say nothing."""
    silent = {e.RecheckSet, e.TimerElapsed}
    for kind in get_args(e.Event):
        fields = msgspec.structs.fields(kind)
        made = kind(**{field.name: "word" for field in fields if field.required})
        if kind is e.AlertRaised:
            made = e.AlertRaised("a", "says", ("nurse",), made.at, "x")
        if kind is e.ObservationRecorded:
            assert "late entry" in said(msgspec.structs.replace(made, late=True))
        if kind is e.PhaseEntered:
            made = msgspec.structs.replace(made, round=2)
        assert bool(said(made)) == (kind not in silent), kind


def test_timers_that_are_due_are_run_and_counted(run: Kat) -> None:
    Path("programs/walk-in").mkdir(parents=True)
    Path("programs/walk-in/walk-in.yaml").write_text(TEXT, encoding="utf-8")
    id_ = run("enroll", "walk-in", "--patient", "M", *NURSE, *NOW).output.strip()
    nine_hours_later = ["run-due", "--now", "2026-03-02T17:00"]

    assert run(*nine_hours_later).output == "2 timers were run\n"

    assert "missed" in run("history", id_).output
    assert run(*nine_hours_later).output == "0 timers were run\n"


def test_who_watches_goes_on_until_interrupted(tmp_path: Path) -> None:
    # Whoever starts the tests in the background has their children ignore interrupts.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from kat_workflow.cli import main; main(sys.argv[1:])"
    )
    words = [sys.executable, "-u", "-c", code, "run-due", "--watch", "--db"]

    with subprocess.Popen(
        [*words, str(tmp_path / "clinic.db")], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        said = [watching.stdout.readline() for _ in range(2)]
        watching.send_signal(signal.SIGINT)

    assert said == ["0 timers were run\n", "Watching; an interrupt ends it.\n"]
    assert watching.returncode == EXIT_INTERRUPTED
