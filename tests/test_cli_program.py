"""The verbs about programs, as an author uses them: what is printed and written, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from short_detox import TEXT

from kat_workflow.cli import VERBS, main
from kat_workflow.errors import (
    HANDLING,
    Conflict,
    JournalError,
    KatError,
    ProgramError,
    Refused,
    handling,
)
from kat_workflow.language.library import Folder
from kat_workflow.scenarios import load_scenario, run

KAT = [sys.executable, "-m", "kat_workflow"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Author:
    """Somebody who works in a folder of programs."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.capsys = capsys
        self.folder = folder

    def __call__(self, *words: str) -> Said:
        with pytest.raises(SystemExit) as left:
            main(words)
        out, err = self.capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, out, err)

    def writes(self, text: str, program: str = "short-detox") -> Path:
        file = self.folder / "programs" / program / f"{program}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file


@pytest.fixture
def author(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Author:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAT_PROGRAMS", raising=False)
    (tmp_path / "programs").mkdir()
    return Author(capsys, tmp_path)


# help


def test_help_shows_every_verb_in_its_section_and_every_exit_code(author: Author) -> None:
    said = author("--help")

    assert said.code == 0
    for section, verbs in VERBS.items():
        assert f"{section}:" in said.out
        for name in verbs:
            assert f"\n  {name} " in said.out
    for row in HANDLING:
        assert f"\n  {row.exit_code} " in said.out


@pytest.mark.parametrize("verb", [name for verbs in VERBS.values() for name in verbs])
def test_every_verb_explains_itself_with_examples(author: Author, verb: str) -> None:
    said = author(verb, "--help")

    assert said.code == 0
    assert "Examples:" in said.out
    assert f"kat {verb}" in said.out


def test_a_misspelt_verb_is_suggested(author: Author) -> None:
    said = author("chek")

    assert said.code == 2
    assert 'did you mean "check"?' in said.err


def test_help_loads_no_verb_and_no_tables() -> None:
    loaded = "import sys; from kat_workflow.cli import main; sys.argv = ['kat', '--help']\n"
    loaded += "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"

    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )

    assert "kat_workflow.cli.programs" not in done.stderr.split()
    assert "rich" not in done.stderr.split()
    assert "yaml" not in done.stderr.split()


# check


def test_a_file_that_is_here_is_looked_at_though_one_that_ships_has_the_same_name(
    author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    author.writes("language: 1\n", "detox-4-day")
    drafts = (author.folder / "programs").rename(author.folder / "drafts")
    monkeypatch.chdir(drafts)  # in which there is no folder of programs: those that ship are found

    said = author("check", "detox-4-day/detox-4-day.yaml")

    assert said.code == 1
    assert "missing-key" in said.out


def test_a_sound_program_checks_clean(author: Author) -> None:
    author.writes(TEXT)

    said = author("check")

    assert said.code == 0
    assert said.out == "1 program checked: no errors, no warnings\n"


def test_a_fault_is_shown_at_its_place_with_a_mark_and_a_way_out(author: Author) -> None:
    author.writes(TEXT.replace("baseline: {by: [nurse]", "baseline: {by: [nurze]"))

    said = author("check", "short-detox")

    assert said.code == 1
    line = next(n for n, text in enumerate(TEXT.splitlines(), 1) if "baseline: {by" in text)
    assert f"programs/short-detox/short-detox.yaml:{line}:" in said.out
    assert "unknown-role" in said.out
    assert "^^^^^" in said.out
    assert 'did you mean "nurse"?' in said.out
    assert "1 program checked: 1 error, no warnings" in said.out
    assert "kat explain unknown-role" in said.out


def test_a_warning_lets_a_program_pass_unless_the_clinic_is_strict(author: Author) -> None:
    author.writes(
        TEXT.replace("    after:\n      meal", "    about: x\n    after:\n      meal").replace(
            "high_systolic: {is: 180 mmHg, source: practice}", "high_systolic: {is: 180 mmHg}"
        )
    )

    assert author("check").code == 0
    strict = author("check", "--strict")

    assert strict.code == 1
    assert "no-source" in strict.out


def test_findings_are_json_for_other_programs(author: Author) -> None:
    author.writes(TEXT.replace("by: [nurse], record: vitals}", "by: [nurze], record: vitals}"))

    said = author("check", "--json")

    found = json.loads(said.out)
    assert said.code == 1
    assert found["ok"] is False
    assert found["programs"] == [
        {"name": "short-detox", "ok": False, "id": None, "version": None, "digest": None}
    ]
    assert found["findings"][0]["code"] == "unknown-role"
    assert found["findings"][0]["line"] > 1
    assert set(found["findings"][0]) == {
        "code", "severity", "file", "line", "column", "width", "message", "hint", "source",
    }  # fmt: skip


def test_a_file_anywhere_can_be_checked_by_its_path(author: Author) -> None:
    file = author.folder / "short-detox.yaml"
    file.write_text(TEXT, encoding="utf-8")

    assert author("check", str(file)).code == 0


def test_what_is_no_text_is_a_finding_and_not_a_traceback(author: Author) -> None:
    author.writes("").write_bytes(b"\xff\xfe\x00title")

    said = author("check")

    assert said.code == 1
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "short-detoks"), 'did you mean "short-detox"?'),
        (("show", "no.yaml"), 'there is no file "no.yaml"'),
        (("show", "short-detox", "--role", "nurze"), 'did you mean "nurse"?'),
        (("show", "short-detox", "--json", "--markdown"), "shows the whole program"),
        (("explain", "unknown-rol"), 'did you mean "unknown-role"?'),
        (("new", "Bad Name"), "cannot be the id of a program"),
        (("new", "short-detox"), "is there already"),
        (("--programs", "nowhere", "check"), 'the folder of programs "nowhere" is not there'),
        (("draw", "short-detox", "-o", "nowhere/x.svg"), "nowhere"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong_and_ends_with_two(
    author: Author, words: tuple[str, ...], message: str
) -> None:
    author.writes(TEXT)

    said = author(*words)

    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err


# where programs are


def test_programs_are_found_by_option_before_or_after_the_verb_and_by_environment(
    author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    author.writes(TEXT)
    os.rename("programs", "elsewhere")

    assert author("--programs", "elsewhere", "check").code == 0
    assert author("check", "--programs", "elsewhere").code == 0
    monkeypatch.setenv("KAT_PROGRAMS", "elsewhere")
    assert author("show", "short-detox").code == 0


def test_the_shipped_programs_can_be_shown_from_anywhere(author: Author) -> None:
    said = author("show", "detox-4-day")

    assert said.code == 0
    assert "4-Day Jump-Start Detox" in said.out


# explain


def test_a_code_of_a_finding_a_refusal_and_a_deviation_is_explained(author: Author) -> None:
    assert "unknown-role (finding)" in author("explain", "unknown-role").out
    assert "gate-closed (refusal)" in author("explain", "gate-closed").out
    assert "over-cap (deviation)" in author("explain", "over-cap").out


def test_every_code_is_listed(author: Author) -> None:
    listed = author("explain")
    data = json.loads(author("explain", "--json").out)

    assert {each["kind"] for each in data} == {"finding", "refusal", "deviation"}
    for each in data:
        assert f"  {each['code']} " in listed.out
        assert each["text"]


# show and draw


def test_a_program_is_shown_as_text_markdown_and_json(author: Author) -> None:
    author.writes(TEXT)

    assert "Short detox\n  Version 1.0.0" in author("show", "short-detox").out
    assert "# Short detox\n" in author("show", "short-detox", "--markdown").out
    assert json.loads(author("show", "short-detox", "--json").out)["id"] == "short-detox"
    assert "What concerns the role" in author("show", "short-detox", "--role", "nurse").out


def test_nothing_but_plain_text_is_written_where_no_terminal_is(author: Author) -> None:
    author.writes(TEXT)

    for words in (("show", "short-detox"), ("check",), ("explain",), ("explain", "unknown-role")):
        assert "\x1b" not in author(*words).out


OURS = """\
language: 1
overlay: north
for: short-detox
sources: {north: {title: The north clinic's own practice, trust: C}}
limits: {LIMIT: {is: FIGURE, source: north}}
"""


def test_a_clinics_own_figures_are_shown_with_where_they_come_from(author: Author) -> None:
    author.writes(TEXT)
    plain = json.loads(author("check", "short-detox", "--json").out)["programs"][0]
    name, limit = next(
        iter(json.loads(author("show", "short-detox", "--json").out)["limits"].items())
    )
    figure = f"{limit['value']} {limit['unit']}".strip()
    ours = author.folder / "north.yaml"
    ours.write_text(OURS.replace("LIMIT", name).replace("FIGURE", figure), encoding="utf-8")

    checked = author("check", "short-detox", "--overlay", str(ours), "--json")
    shown = author("show", "short-detox", "--overlay", str(ours))

    (program,) = json.loads(checked.out)["programs"]
    assert checked.code == 0
    assert program["version"] == f"{plain['version']}+north"
    assert program["digest"] != plain["digest"]
    assert "Set by the overlay north." in shown.out
    assert "The north clinic's own practice" in shown.out


def test_an_overlay_needs_its_program_and_its_file(author: Author) -> None:
    author.writes(TEXT)

    assert (
        'there is no file "south.yaml"'
        in author("check", "short-detox", "--overlay", "south.yaml").err
    )
    assert "needs the PROGRAM" in author("check", "--overlay", str(author.writes(TEXT))).err


def test_a_program_with_findings_is_not_shown_but_its_findings_are(author: Author) -> None:
    author.writes(TEXT.replace("baseline: {by: [nurse]", "baseline: {by: [nurze]"))

    said = author("show", "short-detox")

    assert said.code == 1
    assert said.out == ""
    assert "unknown-role" in said.err


def test_a_drawing_goes_to_a_file_by_its_name_or_to_the_screen(author: Author) -> None:
    author.writes(TEXT)

    assert author("draw", "short-detox", "-o", "x.svg").code == 0
    assert Path("x.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert author("draw", "short-detox").out.startswith("stateDiagram-v2\n")
    assert author("draw", "short-detox", "--format", "svg").out.startswith("<svg ")
    assert sorted(os.listdir(".")) == ["programs", "x.svg"]  # nothing is left beside it


# new, fmt, schema, completion


def test_a_new_program_checks_clean_and_its_scenario_passes(author: Author) -> None:
    made = author("new", "smoking-cessation")

    assert made.code == 0
    assert author("check", "smoking-cessation", "--strict").out == (
        "1 program checked: no errors, no warnings\n"
    )
    (scenario,) = Path("programs/smoking-cessation/scenarios").glob("*.yaml")
    result = run(load_scenario(scenario), Folder("programs"))
    assert result.passed, result.mismatches


def test_a_new_program_is_laid_out_as_fmt_would(author: Author) -> None:
    author("new", "smoking-cessation")

    assert author("fmt", "--check", "programs/smoking-cessation/smoking-cessation.yaml").code == 0


def test_fmt_changes_the_layout_once_and_check_only_says_so(author: Author) -> None:
    file = author.writes(TEXT.replace("\nroles: {nurse:", "\nroles:   {nurse:"))

    assert author("fmt", "--check", str(file)).code == 1
    assert "roles:   {" in file.read_text(encoding="utf-8")
    assert author("fmt", str(file)).code == 0
    assert "roles: {nurse" in file.read_text(encoding="utf-8")
    assert author("fmt", "--check", str(file)).code == 0


def test_fmt_does_not_touch_a_file_that_cannot_be_read(author: Author) -> None:
    file = author.writes("a: [1\n")

    said = author("fmt", str(file))

    assert said.code == 1
    assert "yaml-syntax" in said.err
    assert file.read_text(encoding="utf-8") == "a: [1\n"


def test_the_schema_is_printed_and_written(author: Author) -> None:
    printed = json.loads(author("schema").out)

    author("schema", "--write", "programs/program.schema.json")

    written = json.loads(Path("programs/program.schema.json").read_text(encoding="utf-8"))
    assert printed == written
    assert printed["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(author: Author, shell: str) -> None:
    said = author("completion", shell)

    assert said.code == 0
    assert "_KAT_COMPLETE" in said.out


def test_completion_knows_verbs_and_programs(author: Author) -> None:
    author.writes(TEXT)
    asked = {
        **os.environ,
        "_KAT_COMPLETE": "bash_complete",
        "COMP_WORDS": "kat show sh",
        "COMP_CWORD": "2",
    }

    done = subprocess.run(KAT, env=asked, capture_output=True, text=True, check=False)

    assert "short-detox" in done.stdout


# how it ends


def test_each_kind_of_error_has_its_own_exit_code_and_status() -> None:
    assert {row.error for row in HANDLING} == {ProgramError, Refused, Conflict, JournalError}
    codes = [row.exit_code for row in HANDLING]
    assert len(set(codes)) == len(codes)
    assert not {0, 2} & set(codes)
    assert all(400 <= row.status < 600 for row in HANDLING)
    assert handling(Conflict()).exit_code == 4
    assert handling(KatError()).exit_code == 1


def test_a_reader_that_goes_away_is_no_error_to_tell() -> None:
    reader, writer = socket.socketpair()
    reader.close()

    with writer:
        done = subprocess.run(
            [*KAT, "explain"],
            stdout=writer.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.stderr == ""
    assert done.returncode == 141


def test_a_full_disk_is_said_and_not_traced(author: Author) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*KAT, "explain"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_an_interruption_ends_quietly(author: Author) -> None:
    pipe = author.folder / "slow.yaml"
    os.mkfifo(pipe)
    # Whoever starts the tests in the background has their children ignore interrupts.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    hears += "from kat_workflow.cli import main; main()"
    words = [sys.executable, "-c", hears, "fmt", str(pipe)]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        writes = opened_once_it_is_read(pipe, running)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
        os.close(writes)
    finally:  # whatever has failed: a child that reads on would be waited for without end
        running.kill()
        running.wait()
        assert running.stderr is not None
        running.stderr.close()

    assert (running.returncode, said.strip()) == (130, "Stopped.")


def test_a_program_that_ends_before_it_reads_is_not_waited_for(tmp_path: Path) -> None:
    """As the test above would, for ever, if the command line failed before it got to the file."""
    os.mkfifo(tmp_path / "pipe")
    with (
        subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as running,
        pytest.raises(AssertionError, match="ended with 3 before it read"),
    ):
        opened_once_it_is_read(tmp_path / "pipe", running)


def opened_once_it_is_read(pipe: Path, running: subprocess.Popen[Any]) -> int:
    """The writing end of a named pipe. To open it would wait for whoever reads, also for a process
    that has died: it is tried as long as that one lives."""
    while running.poll() is None:
        with suppress(OSError):  # nobody reads yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.01)
    raise AssertionError(f"it ended with {running.returncode} before it read")
