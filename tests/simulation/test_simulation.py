"""Simulated cohorts: the same seed gives the same patients, whoever works on them."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from benchmarks.simulation_fixture import recorded
from kat_workflow.cli import courses, kat
from kat_workflow.engine import Engine
from kat_workflow.enrollment.commands import Enroll, Record
from kat_workflow.enrollment.events import Ordered
from kat_workflow.enrollment.state import encode_row, replay
from kat_workflow.errors import Refused
from kat_workflow.journal.memory import MemoryJournal
from kat_workflow.language import shipped
from kat_workflow.reporting import NoPlots
from kat_workflow.simulation import cohort
from kat_workflow.simulation.cohort import (
    CsvTables,
    NoTables,
    ParquetTables,
    Plan,
    compared,
    opened,
    simulate,
)
from kat_workflow.simulation.profile import Answer, BadProfile, Crew, Profile
from kat_workflow.simulation.report import difference_page, page, summary

EXAMPLES = Path(__file__).parents[2] / "examples" / "simulation"
DETOX, KETAMINE = EXAMPLES / "detox.yaml", EXAMPLES / "ketamine.yaml"
RESIDENTIAL = EXAMPLES / "residential.yaml"
OWN = Path(__file__).parent / "programs"


def profile(tmp_path: Path, /, of: Path = DETOX, **replaced: str) -> Path:
    """An example with some lines replaced by others."""
    lines = of.read_text(encoding="utf-8").splitlines()
    for key, value in replaced.items():
        lines = [f"{key}: {value}" if x.startswith(f"{key}:") else x for x in lines]
    file = tmp_path / f"profile-{len(list(tmp_path.iterdir()))}.yaml"
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


def plan(
    file: Path, patients: int = 6, days: int = 12, seed: int = 7, of: str = "detox-4-day"
) -> Plan:
    return Plan(of, file, patients, days, seed)


def made(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("tables", [CsvTables, ParquetTables])
def test_the_same_seed_gives_the_same_bytes_however_many_processes_share_the_work(
    tmp_path: Path, tables: type[CsvTables] | type[ParquetTables]
) -> None:
    of = plan(profile(tmp_path, clinic_size="2"))

    with tables(tmp_path / "one") as written:
        one = simulate(of, tables=written)
    with tables(tmp_path / "two") as written:
        two = simulate(of, workers=2, tables=written)
    with ThreadPoolExecutor(2) as executor:  # any executor of concurrent.futures
        three = simulate(of, executor=executor)

    assert made(tmp_path / "one") == made(tmp_path / "two")
    assert summary(one) == summary(two) == summary(three)
    assert one.clinics == 3
    assert summary(one) != summary(simulate(plan(profile(tmp_path, clinic_size="2"), seed=8)))


def test_patients_go_from_their_arrival_to_an_end_and_break_no_rule(tmp_path: Path) -> None:
    cohort = simulate(plan(profile(tmp_path, arrivals="20", leaves="{}"), days=25))

    found = summary(cohort)
    assert found["arrived"] == found["enrolled"] == found["discharged"] == 6
    assert found["ends"] == {"linked_to_care": 6}
    assert found["violations"] == {}
    assert found["sessions"]["held"] > 0
    assert sum(patients for _, patients in found["census"]) > 6


def test_a_bed_that_is_not_free_is_waited_for(tmp_path: Path) -> None:
    one_bed = profile(tmp_path, arrivals="20")
    one_bed.write_text(one_bed.read_text().replace("bed: {count: 8", "bed: {count: 1"))

    found = summary(simulate(plan(one_bed, days=9)))

    assert found["arrived"] == 6
    assert found["enrolled"] < 6
    assert max(patients for _, patients in found["census"]) == 1
    (bed,) = [each for each in found["bottlenecks"] if each["what"] == "bed"]
    assert bed["queued"] == 5


def test_nobody_works_outside_their_hours_and_what_waits_for_them_is_late(tmp_path: Path) -> None:
    file = profile(tmp_path, arrivals="20")
    cohort = simulate(plan(file, days=10))

    hours = {
        hour for (role, hour), busy in cohort.tallies.busy.items() if role == "counselor" and busy
    }
    assert hours <= set(range(8, 19))  # the last thing begun may end after the shift
    assert cohort.tallies.shift["counselor", 7] == 0
    assert any(each["late"] for each in summary(cohort)["work"])


def test_ketamine_is_drawn_checked_by_another_given_and_released_and_its_book_balances(
    tmp_path: Path,
) -> None:
    file = profile(tmp_path, of=KETAMINE, arrivals="3", misses="{}", leaves="{}")

    found = summary(simulate(plan(file, patients=3, days=40, of="ketamine-assisted-therapy")))

    assert found["ends"] == {"completed": 3}
    assert found["sessions"] == {"aborted": 0, "held": 9}
    assert "ledger-imbalance" not in found["deviations"]
    assert "unchecked" not in found["deviations"]


def test_what_no_story_tells_is_done_all_the_same_with_two_signatures_and_the_first_way(
    tmp_path: Path,
) -> None:
    untold = Plan("all-kinds", OWN / "all-kinds" / "profile.yaml", 4, 9, 7, OWN)

    clinic = opened(untold, 0)
    clinic.run()

    assert [course.end for course in clinic.courses] == ["gone"] * 4
    assert clinic.tallies.left_from == {("resting", "gone"): 4}
    assert not clinic.tallies.refusals
    signed = [x.outcome for x in clinic.work if x.what == "sign asked"]
    assert signed == ["done"] * 8
    happened = [x.event for id_ in clinic.engine.enrollments for x in clinic.engine.happened(id_)]
    assert {x.total for x in happened if isinstance(x, Ordered)} == {"2"}


def test_whoever_has_to_choose_a_way_takes_the_one_that_the_profile_names(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    told = (OWN / "all-kinds" / "profile.yaml").read_text(encoding="utf-8")
    file.write_text(told + "ways: {asking: gone}\n", encoding="utf-8")

    found = summary(simulate(Plan("all-kinds", file, 4, 9, 7, OWN)))

    assert found["leaving"] == [{"phase": "asking", "end": "gone", "count": 4}]


def test_residents_stay_their_weeks_and_break_no_rule() -> None:
    found = summary(simulate(Plan("residential-30-day", RESIDENTIAL, 3, 60, 7)))

    assert found["ends"] == {"completed": 2, "against_advice": 1}
    assert 20 < found["length_of_stay"]["50%"] < 35
    assert found["violations"] == {}


def test_a_cohort_of_which_nobody_came_is_told_as_well(tmp_path: Path) -> None:
    nobody = simulate(plan(profile(tmp_path, arrivals="0.001"), days=1))

    found = summary(nobody)
    assert found["arrived"] == 0
    assert found["stays"] == []
    assert "Nothing." in page(found)


def test_a_rule_that_is_broken_is_found_stands_on_the_page_and_ends_with_1(tmp_path: Path) -> None:
    """A program that keeps everybody half an hour and rules that nobody stays ten minutes."""
    folder = tmp_path / "programs" / "detox-4-day"
    shutil.copytree(shipped().root / "detox-4-day", folder)
    file = folder / "detox-4-day.yaml"
    text = file.read_text(encoding="utf-8")
    rule = "from: nad_infusion.given, then: nad_infusion.released, within: "
    file.write_text(text.replace(f"{rule}12 h", f"{rule}10 min"), encoding="utf-8")
    asked = ["--programs", str(tmp_path / "programs"), "simulate", "detox-4-day"]
    asked += ["--profile", str(DETOX), "--patients", "2", "--days", "9", "--workers", "1"]

    shown = CliRunner().invoke(kat, [*asked, "--html", str(tmp_path / "r.html")])

    assert shown.exit_code == 1, shown.output
    assert "rules broken" in shown.output
    made = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Rules broken" in made
    assert "No rule of the program was broken" not in made


def test_interrupted_at_the_command_line_what_is_done_is_shown_and_said_to_be_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(them: Iterable[int], said: str) -> Iterator[int]:
        yield next(iter(them))
        raise KeyboardInterrupt

    monkeypatch.setattr(courses, "watched", stopped)
    file = profile(tmp_path, clinic_size="2")
    asked = ["simulate", "detox-4-day", "--profile", str(file), "--patients", "6", "--days", "3"]

    shown = CliRunner().invoke(kat, [*asked, "--workers", "1"])

    assert shown.exit_code == 0, shown.output
    assert "interrupted after 2 of 3 clinics" in shown.output


def test_who_does_not_come_to_a_session_that_may_not_be_missed_is_asked_again_the_next_day(
    tmp_path: Path,
) -> None:
    told = (OWN / "all-kinds" / "profile.yaml").read_text(encoding="utf-8")
    file = tmp_path / "profile.yaml"
    file.write_text(told + "misses: {talk: 0.5}\n", encoding="utf-8")
    always = OWN / "all-kinds" / "profile.yaml"

    late, soon = (
        simulate(Plan("all-kinds", which, 8, 30, 7, OWN), tables=None) for which in (file, always)
    )

    missed = summary(late)["missed"]["talk (nobody came)"]
    assert missed > 0
    assert summary(late)["ends"] == summary(soon)["ends"] == {"gone": 8}
    stays = [sum(day * n for day, n in cohort.stays.items()) for cohort in (late, soon)]
    assert stays[0] - stays[1] == pytest.approx(missed, abs=0.5)  # a day for each time


def test_nobody_is_left_in_a_session_that_never_settles_nor_released_from_it(
    tmp_path: Path,
) -> None:
    file = profile(tmp_path, arrivals="20", leaves="{}", misses="{}")
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "  infusion_watch:\n    settled: {always: no}\n", encoding="utf-8")
    clinic = opened(plan(file, patients=2, days=6), 0)

    clinic.run()

    refused = {code for what, code in clinic.tallies.refusals if what == "release nad_infusion"}
    assert refused == {"not-ready-to-leave"}
    assert clinic.tallies.given_up["release nad_infusion"] > 1  # and it is tried again
    assert not any(x.sessions for x in clinic.courses)
    assert any(x.discharged is None for x in clinic.courses)


def test_only_so_many_clinics_are_asked_for_at_once_and_they_answer_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = plan(profile(tmp_path, clinic_size="1"), days=3)
    monkeypatch.setattr(cohort, "AHEAD", 2)

    with ThreadPoolExecutor(2) as executor, CsvTables(tmp_path / "ahead") as written:
        shared = simulate(of, executor=executor, tables=written)
    with CsvTables(tmp_path / "alone") as written:
        alone = simulate(of, tables=written)

    assert shared.clinics == 6
    assert summary(shared) == summary(alone)
    assert made(tmp_path / "ahead") == made(tmp_path / "alone")


def test_what_needs_an_extra_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = summary(simulate(plan(profile(tmp_path), patients=1, days=1)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(NoTables, match=r"kat-workflow\[reports\]"):
        ParquetTables(tmp_path / "tables")
    with pytest.raises(NoPlots, match=r"kat-workflow\[reports\]"):
        page(found)


def test_what_patients_refuse_and_miss_and_when_they_leave_is_as_the_profile_says(
    tmp_path: Path,
) -> None:
    always = profile(tmp_path, arrivals="20", declines="{nad_consent: 1}", leaves="{}")
    gone = profile(tmp_path, arrivals="20", leaves="{against_advice: 50}")
    absent = profile(tmp_path, arrivals="20", misses="{nad_infusion: 1}", leaves="{}")

    refused, left, missed = (summary(simulate(plan(x, days=20))) for x in (always, gone, absent))

    assert refused["sessions"]["held"] == missed["sessions"]["held"] == 0
    assert set(left["ends"]) == {"against_advice"}
    assert missed["missed"]["nad_infusion (nobody came)"] >= 6


def test_what_befalls_patients_is_recorded_and_calls_somebody(tmp_path: Path) -> None:
    file = profile(tmp_path, arrivals="20")
    text = file.read_text().replace("per_day: 0.01\n", "per_day: 3\n")
    file.write_text(text.replace("mild: 0.8, moderate: 0.18, severe: 0.02", "severe: 1"))

    found = summary(simulate(plan(file, patients=2, days=8)))

    assert any(each["what"] == "record adverse_event" for each in found["work"])
    assert sum(found["alerts"].values()) > 0


def test_what_cannot_be_done_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    file = profile(tmp_path, arrivals="20", leaves="{}")
    file.write_text(file.read_text().replace("systolic: {mean: 132", "systolic: {mean: 239"))

    found = summary(simulate(plan(file, patients=2, days=10)))

    codes = {(x["what"], x["code"]) for x in found["refusals"]}
    assert ("start nad_infusion", "gate-closed") in codes
    assert found["given_up"]["start nad_infusion"] > 0
    assert found["sessions"]["held"] == 0


def test_interrupted_what_is_done_is_kept(tmp_path: Path) -> None:
    of = plan(profile(tmp_path, clinic_size="2"))

    def stop_after_one(count: int) -> Iterator[None]:
        assert count == 3
        yield None
        raise KeyboardInterrupt

    cohort = simulate(of, watch=stop_after_one)

    found = summary(cohort)
    assert found["interrupted"]
    assert found["clinics"] == 2
    assert "Interrupted: 2 of 3 clinics" in page(found)


CHILD = """
import json, sys
from pathlib import Path
from kat_workflow.simulation.cohort import CsvTables, Plan, simulate
from kat_workflow.simulation.report import summary

def told(count):
    while True:
        print("one more", flush=True)
        yield

if __name__ == "__main__":
    plan = Plan("detox-4-day", Path(sys.argv[1]), 4000, 12, 7)
    with CsvTables(Path(sys.argv[2])) as tables:
        cohort = simulate(plan, workers=2, tables=tables, watch=told)
    print(json.dumps(summary(cohort)))
"""


def test_ctrl_c_to_all_processes_keeps_the_clinics_that_are_done_and_their_tables(
    tmp_path: Path,
) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    file = profile(tmp_path, clinic_size="2")
    child = subprocess.Popen(
        [sys.executable, str(script), str(file), str(tmp_path / "tables")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None

    assert child.stdout.readline() == "one more\n"
    os.killpg(child.pid, signal.SIGINT)
    said, wrong = child.communicate()

    found = json.loads(said.splitlines()[-1])
    with (tmp_path / "tables" / "patients.csv").open(encoding="utf-8") as kept:
        rows = list(csv.DictReader(kept))
    assert found["interrupted"]
    assert 1 <= found["clinics"] < found["clinics_planned"] == 2000
    assert len(rows) == found["arrived"]
    assert {int(row["clinic"]) for row in rows} == set(range(found["clinics"]))
    assert child.returncode == 0
    assert wrong == ""


def test_an_interrupt_while_a_clinic_is_written_waits_until_it_is_whole(tmp_path: Path) -> None:
    class Interrupting(CsvTables):
        def add(self, answer: cohort.Answer) -> None:
            signal.raise_signal(signal.SIGINT)
            super().add(answer)

    of = plan(profile(tmp_path, clinic_size="2"))

    with Interrupting(tmp_path / "tables") as tables:
        stopped = simulate(of, tables=tables)

    assert stopped.interrupted
    assert stopped.clinics == 1
    assert (tmp_path / "tables" / "patients.csv").read_text().count("\n") == 1 + stopped.arrived
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_may_simulate_as_well(tmp_path: Path) -> None:
    of = plan(profile(tmp_path, clinic_size="3"))

    with ThreadPoolExecutor(1) as executor:
        elsewhere = executor.submit(simulate, of).result()

    assert summary(elsewhere) == summary(simulate(of))


def test_what_if_there_were_more_beds_is_answered_with_an_interval(tmp_path: Path) -> None:
    few = profile(tmp_path, arrivals="20", clinic_size="3", leaves="{}")
    few.write_text(few.read_text().replace("bed: {count: 8", "bed: {count: 1"))
    many = profile(tmp_path, arrivals="20", clinic_size="3", leaves="{}")
    one, other = (simulate(plan(x, patients=12, days=6)) for x in (few, many))

    found = compared(one, other)

    assert found == compared(one, other)
    assert found["census"]["low"] > 0
    assert found["census"]["low"] <= found["census"]["difference"] <= found["census"]["high"]
    assert "<svg" in difference_page(one, other, ("one bed", "eight beds"))


def test_waits_and_what_was_late_are_told_as_histograms_that_hold_all_of_them(
    tmp_path: Path,
) -> None:
    found = summary(simulate(plan(profile(tmp_path, arrivals="20"), days=10)))

    work = found["work"]
    assert sum(x["count"] for x in found["waits"]) == sum(x["count"] for x in work)
    assert sum(x["count"] for x in found["overdue"]) == sum(x["late"] for x in work) > 0
    for each in work:
        assert sum(x["count"] for x in each["waits"]) == each["count"]
    assert [x["from"] for x in found["waits"][1:]] == [x["to"] for x in found["waits"][:-1]]
    assert found["waits"][-1]["to"] is None
    assert "How long work waited" in page(found)


def test_what_if_it_were_another_version_is_asked_by_id_and_version(tmp_path: Path) -> None:
    folder = tmp_path / "programs" / "detox-4-day"
    shutil.copytree(shipped().root / "detox-4-day", folder)
    file = folder / "detox-4-day.yaml"
    text = file.read_text().replace('version: "1.0.0"', 'version: "2.0.0"')
    text = text.replace("danger_time: {is: 96 h", "danger_time: {is: 48 h")
    file.write_text(text.replace("at_least: 4, at_most: 7", "at_least: 2, at_most: 7"))
    asked = ["--programs", str(tmp_path / "programs"), "simulate", "detox-4-day@2.0.0"]
    asked += ["--against", str(shipped().root / "detox-4-day" / "detox-4-day.yaml")]
    asked += ["--profile", str(DETOX), "--patients", "4", "--days", "9", "--workers", "1"]

    shown = CliRunner().invoke(kat, [*asked, "--json"])

    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    stay = found["compared"]["length_of_stay"]
    assert stay["before"] < stay["after"]


def test_the_page_is_the_same_each_time_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    found = summary(simulate(plan(profile(tmp_path, clinic_size="3"))))

    assert page(found) == page(found)
    assert "claims no effect" in page(found)
    assert "<script" not in page(found)


@pytest.mark.parametrize(
    ("of", "program", "patients"),
    [(DETOX, "detox-4-day", 4), (KETAMINE, "ketamine-assisted-therapy", 3)],
)
def test_an_engine_with_a_journal_is_told_the_same_and_writes_the_same_record(
    of: Path, program: str, patients: int
) -> None:
    clinic = opened(Plan(program, of, patients, 20, 7), 0)
    virtual = clinic.engine
    told = recorded(clinic)
    now = [clinic.begins]

    with Engine(MemoryJournal(), shipped(), lambda: now[0], (told.site,)) as engine:
        for stock in clinic.story.stock:
            engine.receive(stock["drug"], stock["lot"], "1000000 mg", by=clinic.steward)
        refused = 0
        for said in told.said:
            now[0] = said.at
            try:
                if said.act is None:
                    engine.run_due_in(said.enrollment)
                elif isinstance(said.act, Enroll):
                    patient = said.act.patient
                    engine.enroll(program, patient=patient, by=said.by, command_id=said.id)
                else:
                    engine.handle(said.enrollment, said.act, by=said.by, command_id=said.id)
            except Refused:
                refused += 1

        streams = engine.journal.streams("enrollment:")
        assert len(streams) == len(clinic.courses) > 0
        assert refused == sum(clinic.tallies.refusals.values())
        for stream in streams:
            enrollment = stream.partition(":")[2]
            past = virtual.happened(enrollment)
            row = engine.journal.row(stream)
            assert [x.event for x in engine.history(enrollment)] == [x.event for x in past]
            assert [x.recorded for x in engine.history(enrollment)] == [x.recorded for x in past]
            assert row == (past[-1].version, encode_row(replay(x.event for x in past)))


@pytest.mark.parametrize(
    ("answer", "low", "high"),
    [
        (Answer(mean=5, sd=2, least=0, most=7), 0, 7),
        (Answer(mean=5, per_day=-1), 2, 2),
        (Answer(mean=1.5, digits=1), 1.5, 1.5),
    ],
)
def test_a_number_stays_within_its_bounds_and_follows_its_course(
    answer: Answer, low: float, high: float
) -> None:
    drawn = [answer.drawn(Random(seed), 0.0, 3.0 if answer.per_day else 0.0) for seed in range(50)]

    assert all(low <= value <= high for value in drawn)
    assert Answer(always="x").drawn(Random(1), 0, 0) == "x"
    assert Answer(options={"a": 0, "b": 1}).drawn(Random(1), 0, 0) == "b"


def said_of_ciwa(file: Path, patients: int = 6) -> dict[str, list[dict[str, int]]]:
    """What was written into the withdrawal scale, by patient, in order."""
    found: dict[str, list[dict[str, int]]] = {}
    for said in recorded(opened(plan(file, patients=patients, days=9), 0)).said:
        if isinstance(said.act, Record) and "tremor" in said.act.values:
            values = said.act.values
            found.setdefault(said.enrollment, []).append(
                {"nausea": int(values["nausea"]), "tremor": int(values["tremor"])}
            )
    return found


def with_answers(tmp_path: Path, nausea: str, tremor: str) -> Path:
    file = profile(tmp_path, arrivals="20", leaves="{}")
    lines = [
        f"    nausea: {nausea}"
        if line.startswith("    nausea:")
        else f"    tremor: {tremor}"
        if line.startswith("    tremor:")
        else line
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


def test_scores_of_one_trait_go_together_and_others_do_not(tmp_path: Path) -> None:
    of_one = "{mean: 3, between: 1.5, trait: illness, least: 0, most: 7}"
    each = "{mean: 3, between: 1.5, least: 0, most: 7}"

    together = said_of_ciwa(with_answers(tmp_path, of_one, of_one), patients=12)
    apart = said_of_ciwa(with_answers(tmp_path, each, each), patients=12)

    firsts = [its[0] for its in together.values()]
    assert len(firsts) == 12
    assert len({x["nausea"] for x in firsts}) > 2  # patients differ,
    assert all(x["nausea"] == x["tremor"] for x in firsts)  # and each is as ill in both
    assert any(x["nausea"] != x["tremor"] for x in (its[0] for its in apart.values()))


def test_a_score_hears_of_the_sessions_that_were_held(tmp_path: Path) -> None:
    helped = "{mean: 4, per_session: {nad_infusion: -2}, least: 0, most: 7}"
    file = with_answers(tmp_path, helped, "{mean: 4, least: 0, most: 7}")

    found = said_of_ciwa(file)

    assert all(its[0]["nausea"] == 4 for its in found.values())  # nothing was given yet
    for its in found.values():
        assert sorted((x["nausea"] for x in its), reverse=True) == [x["nausea"] for x in its]
        assert {x["tremor"] for x in its} == {4}
    assert any(its[-1]["nausea"] < 4 for its in found.values())
    assert found == said_of_ciwa(file)


def test_what_somebody_no_longer_waits_for_goes_to_whoever_is_next(tmp_path: Path) -> None:
    clinic = opened(plan(profile(tmp_path)), 0)
    clinic._scarce.update(bed=0, chair=0)
    got: list[str] = []
    clinic._with(["bed", "chair"], lambda: got.append("both"))
    clinic._with(["bed"], lambda: got.append("bed"))

    clinic._scarce["bed"] = 1
    clinic._next_in_line("bed")
    while clinic._heap:
        heappop(clinic._heap)[2]()

    assert got == ["bed"]  # the first in line has to wait for a chair as well


def test_a_shift_may_go_over_midnight_and_round_the_clock() -> None:
    assert Crew("n", ("nurse",), start="19:00", end="07:00").hours()[1].total_seconds() == 12 * 3600
    assert Crew("n", ("nurse",)).hours()[1].total_seconds() == 24 * 3600


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("arrivals: 0", "more than nothing"),
        ("otherwise: soon", '"soon" is no duration'),
        ("zone: Nowhere/Land", "Nowhere/Land"),
        ("simulation: 2", "reads simulation: 1"),
        ("declines: {nothing: 1}", 'declines: detox-4-day has no "nothing"'),
        ("misses: {nothing: 1}", 'misses: detox-4-day has no "nothing"'),
        ("leaves: {nothing: 1}", 'leaves: detox-4-day has no "nothing"'),
        ("takes: {record nothing: 5 min}", 'takes: detox-4-day has no "nothing"'),
        ("story: nothing", 'no story "nothing"'),
        ("starts: never", "never"),
        ("about: [", "profile"),
        ("clinic_size: many", "clinic_size"),
    ],
)
def test_a_profile_that_says_nonsense_is_told_what(tmp_path: Path, line: str, says: str) -> None:
    key, _, value = line.partition(": ")
    replaced = {key: value}
    file = profile(tmp_path, **replaced)  # type: ignore[arg-type]

    with pytest.raises(BadProfile) as caught:
        simulate(plan(file))

    assert says in str(caught.value)
    assert file.name in str(caught.value)


@pytest.mark.parametrize(
    ("was", "wrong", "says"),
    [
        ("nausea:", "nausae:", 'answers: ciwa_ar: detox-4-day has no "nausae"'),
        ("vitals:", "vitalls:", 'answers: detox-4-day has no "vitalls"'),
        ("  vitals:", "  baseline:", ""),
        (
            "sd: 0.5",
            "per_session: {infusion: -1}",
            'answers: ciwa_ar: detox-4-day has no "infusion"',
        ),
        ("by: nurse", "by: nurrse", 'befalls: detox-4-day has no "nurrse"'),
        ("roles: [counselor]", "roles: [councelor]", "crews: counselor"),
        ("otherwise:", "ways: {day: nowhere}\notherwise:", 'ways: detox-4-day has no "nowhere"'),
    ],
)
def test_a_name_that_the_program_does_not_have_is_a_slip_of_the_pen(
    tmp_path: Path, was: str, wrong: str, says: str
) -> None:
    file = profile(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace(was, wrong), encoding="utf-8")

    if says:
        with pytest.raises(BadProfile, match=re.escape(says)):
            opened(plan(file), 0)
    else:
        opened(plan(file), 0)


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadProfile, match=r"none\.yaml: cannot be read"):
        Profile.load(tmp_path / "none.yaml")


def test_the_command_shows_the_account_and_writes_page_and_tables(tmp_path: Path) -> None:
    asked = ["simulate", "detox-4-day", "--profile", str(DETOX), "--patients", "4", "--days", "6"]
    files = ["--html", str(tmp_path / "r.html"), "--out", str(tmp_path / "t"), "--tables", "csv"]

    shown = CliRunner().invoke(kat, [*asked, *files, "--workers", "1"])
    plain = CliRunner().invoke(kat, [*asked, "--json", "--workers", "1"])

    assert shown.exit_code == 0, shown.output
    assert "no rule of the program was broken" in shown.output
    assert (tmp_path / "r.html").is_file()
    assert (tmp_path / "t" / "work.csv").is_file()
    assert json.loads(plain.output)["seed"] == 1


def test_the_command_compares_two_clinics(tmp_path: Path) -> None:
    other = profile(tmp_path, arrivals="3")
    asked = ["simulate", "detox-4-day", "--profile", str(DETOX), "--patients", "4", "--days", "6"]
    asked += ["--against-profile", str(other), "--workers", "1"]

    shown = CliRunner().invoke(kat, [*asked, "--html", str(tmp_path / "r.html")])
    plain = CliRunner().invoke(kat, [*asked, "--json"])

    assert shown.exit_code == 0, shown.output
    assert "95 % interval" in shown.output
    assert set(json.loads(plain.output)) == {"format", "before", "after", "compared"}
