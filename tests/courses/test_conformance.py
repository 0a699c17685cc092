"""What a report says of courses, reckoned by hand, and for rows of every kind and order."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources import COLUMNS, MAPPING, Rows, one_patient, told, visit

from kat_workflow.courses.conformance import account, adds_up, page
from kat_workflow.courses.driving import replay
from kat_workflow.courses.mapping import SourceMapping

VISITS = [
    visit("WK1", "visit", "8"),  # its window opened on day 4
    visit("WK2", "no visit", "14", is_no_show="1"),
    visit("WK3", "no visit", is_illness="1", is_no_show="1"),
    visit("WK4", "visit", "40"),  # its window closed on day 32
    visit("WK5", "no visit"),
    visit("WK5", "no visit", "36", is_in_jail="1"),  # told by a form: week 5 is settled already
    visit("WK6", "visit", "42"),  # its window opened on day 39
]
DOSES = [
    {"who": "1", "amount": amount, "when": when}
    for amount, when in (("30", "1"), ("400", "2"), ("12.5", "3"), ("x", "4"), ("10", ""))
]


@pytest.fixture
def of_one(tmp_path: Path) -> dict[str, Any]:
    rows = one_patient("27", "Methadone", visits=VISITS, doses=DOSES)
    rows["withdrawal_ratings"] = [{"who": "1", "withdrawal": "1", "when": "43"}]
    return told(tmp_path, rows)


def test_every_missed_visit_has_its_class_and_the_classes_are_all_that_were_missed(
    of_one: dict[str, Any],
) -> None:
    its = of_one["programs"]["ctn-0027-methadone"]

    assert its["missed_visits"] == {
        "not in the data": 22,  # weeks 7 to 24 and 4 more of which the source has no row
        "did not come": 1,
        "did not come, ill": 1,
        "held outside the program's window": 1,
        "no reason in the data": 1,
        "in jail": 1,
    }
    by_form = 1
    by_step = sum(each.get("missed", 0) for each in its["outcomes"].values())
    assert by_step + by_form == sum(its["missed_visits"].values())


def test_waits_deviations_and_stages_are_those_of_the_days_in_the_source(
    of_one: dict[str, Any],
) -> None:
    its = of_one["programs"]["ctn-0027-methadone"]

    assert its["waiting_days"] == {
        "randomised": {"count": 1, "median": 0.0, "most": 0.0},
        "wk1": {"count": 1, "median": 4.0, "most": 4.0},
        "wk6": {"count": 1, "median": 3.0, "most": 3.0},
    }
    assert its["deviations"] == {"over-order": 1}
    assert its["deviations_by_step"] == {"study_drug": {"over-order": 1}}
    treatment = its["stages"]["treatment"]
    assert (treatment["entered"], treatment["median_days"]) == (1, 168.0)
    assert treatment["median_days_seen"] == 43.0
    assert treatment["seen"] == [(0.0, 1.0), (43.0, 0.0)]


def test_doses_are_added_to_the_last_digit_and_without_what_was_refused(
    of_one: dict[str, Any],
) -> None:
    (its,) = of_one["doses"]

    assert (its["source"], its["refused"], its["journal"]) == ("442.5", "0.0", "442.5")
    table = of_one["tables"]["doses.csv"]
    assert (table["applied"], table["refused_because"]) == (3, {"bad-value": 1})
    assert table["not_mapped_because"] == {"no-day": 1}


def test_stages_and_waits_of_several_patients_have_their_middle_and_their_most(
    tmp_path: Path,
) -> None:
    rows: Rows = {"patients": [], "sites": [], "randomizations": [], "visits": []}
    for who, day, last in (("1", "4", "35"), ("2", "5", "70"), ("3", "9", "70")):
        rows["patients"].append({"who": who, "project": "27"})
        arm = {"who": who, "treatment": "Methadone", "which": "1", "when": "0"}
        rows["randomizations"].append(arm)
        rows["visits"] += [{**visit("WK1", "visit", day), "who": who}]
        rows["visits"] += [{**visit(f"WK{int(last) // 7}", "visit", last), "who": who}]

    its = told(tmp_path, rows)["programs"]["ctn-0027-methadone"]

    assert its["waiting_days"]["wk1"] == {"count": 3, "median": 1.0, "most": 5.0}
    assert its["outcomes"]["wk1"] == {"done": 3}
    assert its["ends"] == {"completed": 3}
    assert its["stages"]["treatment"]["median_days_seen"] == 70.0
    assert its["stages"]["treatment"]["seen"] == [(0.0, 1.0), (35.0, 0.6667), (70.0, 0.0)]


def test_the_page_has_what_the_account_has(of_one: dict[str, Any]) -> None:
    made = page(of_one)

    its = of_one["programs"]["ctn-0027-methadone"]
    for words in (*its["missed_visits"], *its["deviations"], *its["stages"], "wk6", "442.5"):
        assert words.replace("'", "&#x27;") in made or words in made, words
    assert "Every row is accounted for." in made


# Rows of four patients of three studies, from which those below are made. They are nobody's.
SEEN: Rows = {
    "patients": [
        {"who": w, "project": p} for w, p in zip("1234", ("27", "30", "51", "27"), strict=True)
    ],
    "sites": [{"who": who, "site_masked": "7"} for who in "1234"],
    "randomizations": [
        {"who": "1", "treatment": "Methadone", "which": "1", "when": "0"},
        {"who": "2", "treatment": "Outpatient BUP + SMM", "which": "1", "when": "1"},
        {"who": "2", "treatment": "Outpatient BUP + EMM", "which": "2", "when": "40"},
        {"who": "3", "treatment": "Inpatient NR-NTX", "which": "1", "when": "5"},
    ],
    "detox_stays": [
        {"who": "3", "what": "admission", "when": "-3"},
        {"who": "3", "what": "discharge", "when": "4"},
    ],
    "visits": [
        visit("WK1", "visit", "7"),
        visit("WK2", "no visit", is_no_show="1"),
        {**visit("P1Wk2", "visit", "15"), "who": "2"},
        {**visit("Cross Active Study", "visit", "16"), "who": "2"},
        {**visit("WK1", "MISSING", "12", is_in_jail="1"), "who": "3"},
        {**visit("WK1", "visit", "7"), "who": "4"},
    ],
    "doses": [
        *({"who": "1", "amount": "30.5", "when": str(day)} for day in range(3)),
        *({"who": "2", "amount": "8", "when": str(day)} for day in (1, 2, 41)),
        {"who": "3", "amount": "1", "when": "6"},
        {"who": "3", "amount": "16", "when": "9"},
        {"who": "4", "amount": "20", "when": "9"},
    ],
    "withdrawal_ratings": [{"who": who, "withdrawal": "2", "when": "3"} for who in "123"],
    "urine_results": [{"who": who, "what": "Opioid", "when": "7"} for who in "123"],
}
FLOORS = ("doses", "withdrawal_ratings", "detox_stays", "randomizations", "visits")


@frozen
class Hand:
    """How somebody else writes the same tables."""

    mark: bool = False
    ends: str = "\n"
    empty_lines: bool = False
    quoted: bool = False
    spaces: bool = False
    more_columns: bool = False
    order: int = 0

    def write(self, folder: Path, rows: Rows) -> Path:
        """All tables of a source by this hand."""
        folder.mkdir(parents=True, exist_ok=True)
        chance = Random(self.order)
        for name, columns in COLUMNS.items():
            known = [*columns.split(","), *(["of_no_use"] if self.more_columns else [])]
            chance.shuffle(known)
            encoding = "utf-8-sig" if self.mark else "utf-8"
            with (folder / f"{name}.csv").open("w", newline="", encoding=encoding) as file:
                writer = csv.writer(
                    file,
                    quoting=csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL,
                    lineterminator=self.ends,
                )
                writer.writerow(known)
                for row in rows.get(name, []):
                    cells = (row.get(column, "") for column in known)
                    writer.writerow([f" {x} " if self.spaces else x for x in cells])
                    if self.empty_lines:
                        file.write(self.ends)
        return folder


HANDS = st.builds(
    Hand,
    mark=st.booleans(),
    ends=st.sampled_from(["\n", "\r\n"]),
    empty_lines=st.booleans(),
    quoted=st.booleans(),
    spaces=st.booleans(),
    more_columns=st.booleans(),
    order=st.integers(0, 9),
)
ROUGH = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def replayed(folder: Path) -> dict[str, Any]:
    mapping = SourceMapping.load(MAPPING)
    return account(mapping, *replay(mapping, folder), 0.0)


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told(tmp_path_factory.mktemp("plain"), SEEN)


@ROUGH
@given(HANDS)
def test_by_whatever_hand_tables_are_written_the_account_is_the_same(
    tmp_path: Path, plainly: dict[str, Any], hand: Hand
) -> None:
    assert replayed(hand.write(tmp_path, SEEN)) == plainly
    assert plainly["applied"] > plainly["rows"] // 2


def given_to(rows: Rows) -> Decimal:
    """What the doses of a source come to: those that have a day and a patient with an arm."""
    arms = {x["who"] for x in rows["randomizations"] if x["which"] == "1" and x["treatment"]}
    found = Decimal()
    for row in rows["doses"]:
        if row["who"] in arms and row["when"]:
            try:
                found += Decimal(row["amount"])
            except InvalidOperation:
                continue
    return found


@ROUGH
@given(st.randoms(use_true_random=False), HANDS)
def test_shuffled_doubled_without_days_of_other_studies_and_with_unknown_codes_rows_add_up(
    tmp_path: Path, chance: Random, hand: Hand
) -> None:
    rough: Rows = {}
    for name, rows in SEEN.items():
        rough[name] = [dict(row) for row in rows for _ in range(chance.choice((1, 1, 1, 2)))]
        chance.shuffle(rough[name])
        for row in rough[name]:
            column = chance.choice([*row, *[""] * 12])
            if column not in ("", "who", "which"):
                row[column] = chance.choice(("", "99", "2.5", "unheard of", "-7"))

    mapping = SourceMapping.load(MAPPING)
    source, result = replay(mapping, hand.write(tmp_path, rough))
    found = account(mapping, source, result, 0.0)

    assert adds_up(found) == []
    assert found["rows"] == sum(map(len, rough.values()))
    assert found["rows"] == found["applied"] + found["refused"] + found["not_mapped"]
    assert sum(Decimal(x["source"]) for x in found["doses"]) == given_to(rough)
    assert all(
        Decimal(x["source"]) == Decimal(x["refused"]) + Decimal(x["journal"])
        for x in found["doses"]
    )
    for name in FLOORS:
        for line in source.rows[f"{name}.csv"]:
            fate, because, _ = result.fates[line.table, line.number]
            armed = source.facts[line.columns["who"]]["fact.arm"]
            crossing = line.columns.get("visit") == "Cross Active Study"
            if armed and line.columns["when"] and not crossing:
                assert fate == "applied" or (fate, bool(because)) == ("refused", True)
