"""Real courses are told to the engine, and every row of a source is accounted for."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources import COLUMNS, MAPPING, REAL, Rows, one_patient, told, visit, written

from kat_workflow.cli import kat
from kat_workflow.courses import conformance, driving
from kat_workflow.courses.conformance import account, adds_up, page, survival
from kat_workflow.courses.driving import replay
from kat_workflow.courses.mapping import BadMapping, SourceMapping
from kat_workflow.errors import ProgramError


def test_a_visit_that_was_held_and_one_that_was_missed_have_their_place_and_reason(
    tmp_path: Path,
) -> None:
    visits = [
        visit("WK1", "visit", "7"),
        visit("WK2", "no visit", is_no_show="1"),
        visit("WK2", "visit", "15"),
        visit("WK24", "visit", "400"),
    ]

    found = told(tmp_path, one_patient("27", "Methadone", visits=visits))

    its = found["programs"]["ctn-0027-methadone"]
    assert its["outcomes"]["wk1"] == {"done": 1}
    assert its["outcomes"]["wk2"] == {"missed": 1}
    assert its["missed_visits"]["did not come"] == 1
    assert its["deviations"] == {"after-discharge": 1}  # week 24, a year after treatment
    assert found["tables"]["visits.csv"]["applied"] == 4


def test_the_doses_of_the_source_are_those_of_the_journal_to_the_last_digit(tmp_path: Path) -> None:
    doses = [
        {"who": "1", "amount": amount, "when": when}
        for amount, when in (("8", "0"), ("2.05", "1"), ("36", "2"), ("0", "3"), ("NA", "4"))
    ]

    found = told(tmp_path, one_patient("27", "Outpatient BUP", doses=doses))

    (its,) = found["doses"]
    assert (its["source"], its["journal"], its["matches"]) == ("46.05", "46.05", True)
    assert found["tables"]["doses.csv"]["refused_because"] == {"bad-value": 2}
    assert found["programs"]["ctn-0027-buprenorphine"]["deviations"]["over-cap"] == 1


def test_an_injection_is_counted_and_what_is_no_injection_is_another_drug(tmp_path: Path) -> None:
    doses = [{"who": "1", "amount": amount, "when": "5"} for amount in ("1", "16")]

    found = told(tmp_path, one_patient("51", "Inpatient NR-NTX", doses=doses))

    (its,) = found["doses"]
    assert (its["unit"], its["source"], its["matches"]) == ("injection, mg", "17", True)
    assert found["programs"]["ctn-0051-naltrexone"]["deviations"] == {"no-order": 1}


def test_whoever_is_randomised_to_the_other_counselling_goes_on_in_the_other_program(
    tmp_path: Path,
) -> None:
    rows = one_patient("30", "Outpatient BUP + SMM")
    rows["randomizations"].append(
        {"who": "1", "treatment": "Outpatient BUP + EMM", "which": "2", "when": "40"}
    )
    rows["visits"] = [visit("P1Wk2", "visit", "14"), visit("P2Wk2", "visit", "54")]

    found = told(tmp_path, rows)

    first, second = found["programs"]["ctn-0030-smm"], found["programs"]["ctn-0030-emm"]
    assert first["ends"] == {"other_arm": 1}
    assert first["outcomes"]["p1_wk2"] == {"done": 1}
    assert second["ends"] == {"completed": 1}
    assert second["outcomes"]["p2_wk2"] == {"done": 1}
    assert "phase_2_treatment" in second["stages"]


def test_whoever_left_the_study_is_discharged_on_that_day(tmp_path: Path) -> None:
    visits = [visit("WK3", "no visit", is_left_study="1"), visit("WK4", "no visit")]

    found = told(tmp_path, one_patient("27", "Methadone", visits=visits))

    its = found["programs"]["ctn-0027-methadone"]
    assert its["ends"] == {"left_study": 1}
    assert its["stages"]["treatment"]["median_days"] == 21
    assert found["tables"]["visits.csv"]["applied"] == 2


def test_a_patient_without_an_arm_a_row_without_a_day_and_another_study_are_not_mapped(
    tmp_path: Path,
) -> None:
    rows = one_patient("30", "Outpatient BUP + EMM")
    rows["patients"].append({"who": "2", "project": "27"})
    rows["visits"] = [visit("Cross Active Study", "", "3"), visit("P2Wk5", "MISSING")]
    rows["doses"] = [{"who": "1", "amount": "8", "when": "NA"}]

    found = told(tmp_path, rows)

    assert found["not_mapped_because"] == {"crossing-study": 1, "no-arm": 1, "no-day": 2}
    assert adds_up(found) == []


def test_a_row_that_has_a_day_is_refused_where_nobody_knows_what_it_means(tmp_path: Path) -> None:
    rows = one_patient("30", "Outpatient BUP + EMM")
    rows["randomizations"].append(
        {"who": "1", "treatment": "Outpatient BUP + EMM", "which": "3", "when": "20"}
    )
    rows["visits"] = [visit("P1Wk2", "postponed", "9"), visit("P1Wk3", "visit", "2.5")]

    found = told(tmp_path, rows)

    assert found["not_mapped"] == 0
    assert found["refused_because"] == {"bad-day": 1, "no-rule": 2}
    assert adds_up(found) == []


@pytest.mark.parametrize(
    "arm", ["Outpatient BUP + SMM", "2.5", "../x", "x/y", "naltrexone@9.9.9", "x.yaml"]
)
def test_an_arm_that_no_program_is_of_refuses_the_patient_and_nobody_else(
    tmp_path: Path, arm: str
) -> None:
    rows = one_patient("51", arm, doses=[{"who": "1", "amount": "4", "when": "1"}])
    rows["patients"].append({"who": "2", "project": "27"})
    rows["randomizations"].append({"who": "2", "treatment": "Methadone", "which": "1", "when": "0"})
    rows["visits"] = [visit("WK1", "no visit")]

    found = told(tmp_path, rows)

    assert found["refused_because"]["unknown-program"] == 1
    assert found["tables"]["doses.csv"]["refused_because"] == {"not-enrolled": 1}
    assert found["programs"]["ctn-0027-methadone"]["patients"] == 1
    assert adds_up(found) == []


def test_numbers_written_with_a_point_and_flags_of_any_kind_mean_the_same(tmp_path: Path) -> None:
    """As other tools write the same tables: 1.0 for 1, NA for nothing, TRUE and FALSE."""
    plain = one_patient("51", "Inpatient NR-NTX", doses=[{"who": "1", "amount": "1", "when": "5"}])
    plain["visits"] = [visit("WK1", "no visit", "7", is_in_jail="1")]
    other = one_patient(
        "51.0", "Inpatient NR-NTX", doses=[{"who": "1", "amount": "1.0", "when": "5.0"}]
    )
    other["randomizations"][0].update({"which": "1.0", "when": "0.0"})
    other["visits"] = [
        visit("WK1", "no visit", "7.0", is_in_jail="TRUE", is_dead="NA", is_moved="FALSE")
    ]

    assert told(tmp_path, other) == told(tmp_path, plain)


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("who,amount,when", "who,dose,when", "doses.csv: it has no column amount"),
        ("who,amount,when", "who,amount,amount", "doses.csv: two columns have the same name"),
        ("1,8,2", "1,8,2,5", "doses.csv:2: 4 cells under 3 columns"),
        ("1,8,2", "1,8", "doses.csv:2: 2 cells under 3 columns"),
    ],
)
def test_a_table_out_of_shape_is_said_before_anything_is_told(
    tmp_path: Path, was: str, now: str, says: str
) -> None:
    folder = written(tmp_path, one_patient("27", "Methadone"))
    (folder / "doses.csv").write_text("who,amount,when\n1,8,2\n".replace(was, now))

    with pytest.raises(BadMapping, match=re.escape(says)):
        replay(SourceMapping.load(MAPPING), folder)


def test_a_table_from_a_spreadsheet_with_its_mark_and_empty_lines_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path, one_patient("27", "Methadone"))
    (folder / "doses.csv").write_bytes(b"\xef\xbb\xbfwho,amount,when\r\n1,8,2\r\n\r\n")
    mapping = SourceMapping.load(MAPPING)

    found = account(mapping, *replay(mapping, folder), 0.0)

    assert found["tables"]["doses.csv"]["applied"] == 1


def test_a_protocol_table_that_says_another_length_is_refused(tmp_path: Path) -> None:
    rows = one_patient("27", "Methadone")
    rows["protocol"] = [
        {"project": "27", "treatment": "Methadone", "phase": "1", "stage": "1", "weeks": weeks}
        for weeks in ("24", "12")
    ]

    found = told(tmp_path, rows)

    assert found["tables"]["protocol.csv"]["refused_because"] == {"differs": 1}


def test_a_row_that_ended_nowhere_or_a_dose_that_is_missing_does_not_add_up(tmp_path: Path) -> None:
    rows = one_patient("27", "Methadone", doses=[{"who": "1", "amount": "30", "when": "1"}])
    found = told(tmp_path, rows)

    found["tables"]["doses.csv"]["applied"] -= 1
    found["doses"][0]["matches"] = False

    assert [each.partition(":")[0] for each in adds_up(found)] == [
        "doses.csv",
        "doses of ctn-0027-methadone",
    ]


# What the 356 patients do not have and others may: anything of any table, in any order.
DAYS = st.sampled_from(
    [
        "",
        "NA",
        "0",
        "6",
        "7",
        "13.0",
        "15",
        "40",
        "40",
        "170",
        "-3",
        "-400",
        "9999999",
        "2.5",
        "x",
        "٣",
    ]
)
WHO = st.sampled_from(["1", "1", "1", "2", "2", "3", "nobody"])
ARMS = st.sampled_from(
    [
        *("Methadone", "Outpatient BUP", "Outpatient BUP + SMM", "Outpatient BUP + EMM"),
        *("Inpatient BUP", "Inpatient NR-NTX", "Placebo", "NA", ""),
        *("2.5", "../programs", "smm/x", "smm@9.9.9", "A B.yaml"),
    ]
)
FLAG = st.sampled_from(["", "", "0", "1", "NA", "yes"])
FLAGS = [name for name in COLUMNS["visits"].split(",") if name.startswith("is_")]
VISITS = ["BASELINE", "WK1", "WK2", "WK2", "WK24", "WK99", "EOT", "M1F", "P1Wk2", "P2Wk2", "P2Unsc"]
VISITS += ["Cross Active Study", "no such", ""]


def table(name: str, **what: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, str]]]:
    """Some rows of a table; some of them twice."""
    others = {
        each: st.sampled_from(["", "Yes", "No", "3", "x"]) for each in COLUMNS[name].split(",")
    }
    row = st.fixed_dictionaries({**others, "who": WHO, **what})
    rows = st.lists(row, max_size=5)
    return st.tuples(rows, rows).map(lambda both: [*both[0], *both[1], *both[0][:1]])


SOURCES = st.fixed_dictionaries(
    {
        "patients": table("patients", project=st.sampled_from(["27", "30", "51", "99", ""])),
        "sites": table("sites"),
        "demographics": table("demographics"),
        "psychiatric": table("psychiatric"),
        "screenings": table("screenings", screening_day=DAYS, day_zero=DAYS),
        "detox_stays": table(
            "detox_stays", what=st.sampled_from(["admission", "discharge", "x", ""]), when=DAYS
        ),
        "randomizations": table(
            "randomizations",
            treatment=ARMS,
            which=st.sampled_from(["1", "2", "2", "2.0", "3", ""]),
            when=DAYS,
        ),
        "visits": table(
            "visits",
            visit=st.sampled_from(VISITS),
            what=st.sampled_from(["visit", "no visit", "MISSING", "final", "", "NA", "x"]),
            when=DAYS,
            **dict.fromkeys(FLAGS, FLAG),
        ),
        "doses": table(
            "doses",
            amount=st.sampled_from(
                [
                    "",
                    "NA",
                    "1",
                    "1.0",
                    "4",
                    "2.05",
                    "32",
                    "33",
                    "0",
                    "-2",
                    "1e3",
                    "1_6",
                    "1e-30",
                    "x",
                ]
            ),
            when=DAYS,
        ),
        "withdrawal_ratings": table(
            "withdrawal_ratings", withdrawal=st.sampled_from(["0", "3", "4", "", "x"]), when=DAYS
        ),
        "urine_results": table(
            "urine_results", what=st.sampled_from(["Opioid", "Caffeine", ""]), when=DAYS
        ),
    }
)
FAIR = {
    "patients": [{"who": "1", "project": "30"}, {"who": "2", "project": "51"}],
    "randomizations": [
        {"who": "1", "treatment": "Outpatient BUP + SMM", "which": "1", "when": "0"},
        {"who": "2", "treatment": "Inpatient NR-NTX", "which": "1", "when": "5"},
    ],
}
NO_DAY = {"", "NA"}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SOURCES, st.booleans())
def test_however_rough_the_rows_each_ends_in_one_way_and_the_doses_match(
    tmp_path: Path, rough: Rows, fair: bool
) -> None:
    rows = {name: [*(FAIR.get(name, []) if fair else []), *its] for name, its in rough.items()}
    mapping = SourceMapping.load(MAPPING)

    source, replayed = replay(mapping, written(tmp_path, rows))

    assert adds_up(account(mapping, source, replayed, 0.0)) == []
    for name in ("doses", "withdrawal_ratings", "detox_stays", "randomizations", "visits"):
        for line in source.rows[f"{name}.csv"]:
            fate, because, _ = replayed.fates[line.table, line.number]
            columns, facts = line.columns, source.facts[line.columns["who"]]
            fits_floor = (
                facts["fact.arm"]
                and columns["when"] not in NO_DAY
                and columns.get("visit") != "Cross Active Study"
            )
            assert fate == "applied" or because
            if fits_floor:
                assert fate != "not_mapped", (columns, because)


@pytest.mark.parametrize("asked", [[], ["--json"]])
def test_the_command_ends_with_1_where_a_row_got_lost_or_a_dose_is_not_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    doses = [{"who": "1", "amount": "30", "when": str(day)} for day in range(3)]
    folder = written(tmp_path, one_patient("27", "Methadone", doses=doses))
    whole, amount = driving._Driver.row, conformance._amount

    def losing(self: Any, patient: str, task: Any, own: Any) -> None:
        if (task.line.table, task.day) != ("doses.csv", 1):
            whole(self, patient, task, own)

    command = ["replay", str(MAPPING), "--data", str(folder), *asked]
    sound = CliRunner().invoke(kat, command)
    monkeypatch.setattr(driving._Driver, "row", losing)
    lost = CliRunner().invoke(kat, command)
    monkeypatch.undo()
    monkeypatch.setattr(conformance, "_amount", lambda text: amount(text) + 1)
    otherwise = CliRunner().invoke(kat, command)

    assert (sound.exit_code, lost.exit_code, otherwise.exit_code) == (0, 1, 1)
    if asked:
        found = json.loads(lost.stdout)
        assert found["rows"] == 1 + found["applied"] + found["refused"] + found["not_mapped"]
    else:
        assert "does not add up: doses.csv: 3 rows, but [2, 0, 0] ended" in lost.output
        assert (
            "the source says 93 mg, of which 0 were refused, and the journal 90" in otherwise.output
        )


def test_the_share_still_seen_falls_to_nothing_on_the_last_day() -> None:
    assert survival([2.0, 5.0, 5.0, 9.0]) == [(0.0, 1.0), (2.0, 0.75), (5.0, 0.25), (9.0, 0.0)]


def test_the_page_shows_every_table_and_plot_and_is_the_same_each_time(tmp_path: Path) -> None:
    rows = one_patient("27", "Methadone", visits=[visit("WK1", "visit", "7")])
    found = told(tmp_path, rows)

    made = page(found)

    assert made == page(found)
    assert "<svg" in made
    assert "visits.csv" in made
    assert "not medical advice" in made
    assert "http-equiv" not in made
    assert "<script" not in made


BROKEN = {
    "rules: [{fact: true, do: record visit}]": "a rule says one of",
    "rules: [{}]": "a rule says one of",
    "rules: [{do: record visit, then: [{reason: none}]}]": "an action says do: or enroll:",
    "rules: [{dou: record visit}]": "object contains unknown field",
    "day: nowhere": "it has no column nowhere",
    "columns: 3": "expected `object`",
    "rules: [{do: record visit, with: {became: '{nothing}'}}]": "it has no column nothing",
}


@pytest.mark.parametrize("table", BROKEN)
def test_a_mapping_that_says_nonsense_is_told_where(tmp_path: Path, table: str) -> None:
    text = (
        "replay: 1\ntitle: T\npatient: who\nday_zero: 2026-01-05\nclock: '12:00'\nprogram: x\n"
        f"person: {{name: a, roles: [b]}}\ntables:\n  visits.csv:\n    {table}\n"
    )
    file = tmp_path / "mapping.yaml"
    file.write_text(text, encoding="utf-8")
    folder = written(tmp_path, {})

    with pytest.raises(BadMapping) as caught:
        replay(SourceMapping.load(file), folder)

    assert BROKEN[table] in str(caught.value)
    assert "mapping.yaml:" in str(caught.value) or "visits.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("replay: 2\n", "missing required field"),
        ("a: [", "mapping.yaml:1"),
        (MAPPING.read_text(encoding="utf-8").replace("replay: 1", "replay: 2"), "reads replay: 1"),
        (
            MAPPING.read_text(encoding="utf-8").replace('clock: "12:00"', 'clock: "25:00"'),
            "day_zero, clock or zone",
        ),
    ],
)
def test_a_mapping_that_cannot_be_read_is_told_why(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mapping.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(BadMapping, match=says):
        SourceMapping.load(file)


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (
            "site: {table: sites.csv,",
            "site: {table: places.csv,",
            "site is of no table that is read",
        ),
        ("column: site_masked}", "column: place}", "sites.csv: it has no column place"),
        ("rules: [{fact: true}]", "patient: false\n    rules: [{fact: true}]", "compare only"),
    ],
)
def test_a_mapping_of_what_is_not_there_is_said_before_anybody_is_told(
    tmp_path: Path, was: str, now: str, says: str
) -> None:
    text = MAPPING.read_text(encoding="utf-8")
    assert was in text
    file = tmp_path / "mapping.yaml"
    file.write_text(text.replace(was, now, 1), encoding="utf-8")
    folder = written(tmp_path, one_patient("27", "Methadone"))

    with pytest.raises(BadMapping, match=re.escape(says)):
        replay(SourceMapping.load(file), folder)


def test_a_stage_of_the_protocol_that_no_program_has_is_refused(tmp_path: Path) -> None:
    rows = one_patient("27", "Methadone")
    rows["protocol"] = [
        {"project": "30", "treatment": "Outpatient BUP + SMM", "phase": "3", "weeks": "2"},
        {"project": "27", "treatment": "Placebo", "weeks": "24"},
    ]

    found = told(tmp_path, rows)

    its = found["tables"]["protocol.csv"]
    assert its["refused_because"] == {"differs": 1, "no-rule": 1}


def test_a_program_that_is_there_and_broken_ends_the_replay(tmp_path: Path) -> None:
    programs = tmp_path / "programs" / "ctn-0027-methadone"
    programs.mkdir(parents=True)
    (programs / "ctn-0027-methadone.yaml").write_text("language: 1\n", encoding="utf-8")
    folder = written(tmp_path, one_patient("27", "Methadone"))

    with pytest.raises(ProgramError):
        replay(SourceMapping.load(MAPPING), folder, programs=tmp_path / "programs")


def test_a_source_whose_doses_are_not_compared_has_no_table_of_them(tmp_path: Path) -> None:
    doses = "doses: {table: doses.csv, amount: amount}\n"
    file = tmp_path / "mapping.yaml"
    file.write_text(MAPPING.read_text(encoding="utf-8").replace(doses, ""), encoding="utf-8")
    mapping = SourceMapping.load(file)

    found = account(mapping, *replay(mapping, written(tmp_path, {})), 0.0)

    assert found["doses"] == []
    assert adds_up(found) == []


def test_a_mapping_and_a_table_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadMapping, match=r"nothing\.yaml: cannot be read"):
        SourceMapping.load(tmp_path / "nothing.yaml")
    with pytest.raises(BadMapping, match=r"patients\.csv: cannot be read"):
        replay(SourceMapping.load(MAPPING), tmp_path)


def test_a_table_that_is_no_table_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path, one_patient("27", "Methadone"))
    (folder / "doses.csv").write_bytes(b"who,amount,when\n1,\xff,2\n")

    with pytest.raises(BadMapping, match=r"doses\.csv: it is no CSV table"):
        replay(SourceMapping.load(MAPPING), folder)


def test_the_command_prints_the_account_and_writes_the_page(tmp_path: Path) -> None:
    folder = written(tmp_path, one_patient("27", "Methadone", visits=[visit("WK1", "visit", "7")]))
    html = tmp_path / "report.html"

    asked = ["replay", str(MAPPING), "--data", str(folder)]
    shown = CliRunner().invoke(kat, [*asked, "--html", str(html)])
    plain = CliRunner().invoke(kat, [*asked, "--json"])

    assert shown.exit_code == 0, shown.output
    assert "ctn-0027-methadone" in shown.output
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    found = json.loads(plain.output)
    assert found["rows"] == found["applied"] + found["refused"] + found["not_mapped"]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real patients are not at {REAL}")
def test_every_row_of_the_real_patients_is_applied_or_said_why_not() -> None:
    mapping = SourceMapping.load(MAPPING)
    source, replayed = replay(mapping, REAL)

    found = account(mapping, source, replayed, 0.0)

    assert adds_up(found) == []
    assert found["patients"] == 356
    assert set(found["not_mapped_because"]) == {"crossing-study", "no-arm", "no-day"}
    for name in ("doses", "randomizations"):
        assert found["tables"][f"{name}.csv"]["not_mapped"] == 0
    for program in found["programs"].values():
        assert "under way" not in program["ends"]
    assert os.fspath(REAL) not in page(found)
