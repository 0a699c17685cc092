"""Made-up sources in the tables of the opioid trials: no row of them is anybody's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from kat_workflow.courses.conformance import account
from kat_workflow.courses.driving import replay
from kat_workflow.courses.mapping import SourceMapping

ROOT = Path(__file__).parents[2]
MAPPING = ROOT / "examples" / "ctn0094" / "mapping.yaml"
REAL = ROOT.parent / "shared" / "data" / "ctn0094"

COLUMNS = {
    "patients": "who,project",
    "sites": "who,site_masked",
    "demographics": "who,age,is_hispanic,race,job,is_living_stable,education,marital,is_male",
    "psychiatric": "who,has_schizophrenia,has_major_dep,has_bipolar,has_anx_pan,has_brain_damage,"
    "has_epilepsy,depression,anxiety,schizophrenia,has_opiates_dx,has_alcol_dx,"
    "has_amphetamines_dx,has_cannabis_dx,has_cocaine_dx,has_sedatives_dx",
    "screenings": "who,screening_day,day_zero",
    "protocol": "project,treatment,phase,stage,weeks,description",
    "detox_stays": "who,what,when",
    "randomizations": "who,treatment,which,when",
    "visits": "who,visit,what,is_no_note,is_dead,is_no_show,is_no_funding,is_left_study,is_in_jail,"
    "is_forgot,is_in_hospital,is_illness,is_moved,is_missing_14_consecutive,is_window,is_unable,"
    "is_on_vacation,is_other,when",
    "doses": "who,amount,when",
    "withdrawal_ratings": "who,withdrawal,when",
    "urine_results": "who,what,when",
}
Rows = dict[str, list[dict[str, str]]]


def written(folder: Path, rows: Rows) -> Path:
    """The tables of a made-up source; columns that are not said are empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in COLUMNS.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns.split(","), restval="")
            writer.writeheader()
            writer.writerows(rows.get(name, []))
    return folder


def told(folder: Path, rows: Rows) -> dict[str, Any]:
    mapping = SourceMapping.load(MAPPING)
    source, replayed = replay(mapping, written(folder, rows))
    return account(mapping, source, replayed, 0.0)


def one_patient(project: str, treatment: str, **more: Any) -> Rows:
    return {
        "patients": [{"who": "1", "project": project}],
        "sites": [{"who": "1", "site_masked": "7"}],
        "randomizations": [{"who": "1", "treatment": treatment, "which": "1", "when": "0"}],
        **more,
    }


def visit(name: str, what: str, when: str = "", **flags: str) -> dict[str, str]:
    return {"who": "1", "visit": name, "what": what, "when": when, **flags}
