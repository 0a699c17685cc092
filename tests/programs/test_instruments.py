"""The instruments that ship score as their published rules say."""

from __future__ import annotations

import types
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kat_workflow.language import grammar
from kat_workflow.language.forms import build_form
from kat_workflow.program.forms import Field, Form, Raw, accept, readable

FOLDER = Path(__file__).parents[2] / "programs" / "instruments"


def structured(hint: Any, raw: Any) -> Any:
    """A plain value of a file as the grammar types it; unknown and missing keys fail."""
    if attrs.has(hint):
        keys = {key.name: key for key in grammar.keys_of(hint)}
        assert not set(raw) - set(keys), f"{hint.__name__} has no {set(raw) - set(keys)}"
        names = {each.name.rstrip("_"): each.name for each in attrs.fields(hint)}
        return hint(**{names[k]: structured(keys[k].type, v) for k, v in raw.items()})
    if get_origin(hint) is list:
        return [structured(get_args(hint)[0], each) for each in raw]
    if get_origin(hint) is dict:
        return {key: structured(get_args(hint)[1], each) for key, each in raw.items()}
    if get_origin(hint) is types.UnionType:
        return structured(get_args(hint)[0], raw)
    if hint is bool:
        return {"true": True, "false": False}[raw]
    return hint(raw)


def written(path: Path) -> grammar.Instrument:
    # BaseLoader reads every scalar as text, so that `no` and `1.10` stay what they look like.
    raw = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    found: grammar.Instrument = structured(grammar.Instrument, raw)
    return found


FILES = {written(path).instrument: path for path in sorted(FOLDER.glob("*.yaml"))}
FORMS = {name: build_form(name, written(path)) for name, path in FILES.items()}
each_instrument = pytest.mark.parametrize("name", sorted(FORMS))


def scored(name: str, answers: Mapping[str, object]) -> dict[str, Raw]:
    values, slips = accept(FORMS[name], answers)
    assert slips == ()
    return values


def filled(name: str, value: object, **other: object) -> dict[str, object]:
    """Every item answered alike, except those named."""
    return dict.fromkeys(FORMS[name].fields, value) | other


def adding_to(form: Form, total: int) -> dict[str, object]:
    """Answers to a form of plain sums that add up to a total, filled from the first item on."""
    answers: dict[str, object] = {}
    reversed_items = form.computed[0].reversed
    for name, field in form.fields.items():
        counts = [value for value in possible(field) if value <= total]
        answers[name] = max(counts)
        total -= max(counts)
        if field.type == "yes_no":
            answers[name] = bool(answers[name]) != (name in reversed_items)
    assert total == 0
    return answers


def possible(field: Field) -> list[int]:
    if field.type == "yes_no":
        return [0, 1]
    if field.allowed:
        return list(field.allowed)
    assert field.low is not None
    assert field.high is not None
    return list(range(int(field.low), int(field.high) + 1))


def test_the_instruments_of_addiction_care_ship() -> None:
    assert set(FORMS) == {
        "aldrete",
        "audit",
        "bam",
        "ciwa_ar",
        "cows",
        "cssrs",
        "dast10",
        "gad7",
        "madrs",
        "pcl5",
        "phq9",
    }


@each_instrument
def test_every_item_and_every_score_of_an_instrument_names_a_source_with_its_trust(
    name: str,
) -> None:
    file = written(FILES[name])

    assert FILES[name].read_text().startswith("# yaml-language-server: $schema=../program.schema")
    assert all(source.trust in ("A", "B", "C") for source in file.sources.values())
    for field in file.fields.values():
        assert (field.source or file.source) in file.sources
    for score in file.scores.values():
        assert score.source in file.sources


@each_instrument
def test_an_instrument_says_its_period_who_answers_and_what_is_known_about_it(name: str) -> None:
    form = FORMS[name]

    assert form.recall
    assert form.about
    assert form.version
    assert form.answered_by in ("patient", "clinician")


RANGES = {
    ("aldrete", "total"): (0, 10),
    ("audit", "total"): (0, 40),
    ("bam", "use"): (0, 12),
    ("bam", "risk"): (0, 24),
    ("bam", "protective"): (0, 24),
    ("ciwa_ar", "total"): (0, 67),
    ("cows", "total"): (0, 48),
    ("cssrs", "risk"): (0, 3),
    ("dast10", "total"): (0, 10),
    ("gad7", "total"): (0, 21),
    ("madrs", "total"): (0, 60),
    ("pcl5", "total"): (0, 80),
    ("pcl5", "intrusion"): (0, 20),
    ("pcl5", "avoidance"): (0, 8),
    ("pcl5", "mood"): (0, 28),
    ("pcl5", "arousal"): (0, 24),
    ("phq9", "total"): (0, 27),
}


def test_every_score_has_its_published_range() -> None:
    found = {
        (name, score.name): (field.low, field.high)
        for name, form in FORMS.items()
        for score in form.computed
        for field in [readable(form)[score.name]]
    }

    assert found == {key: (Decimal(low), Decimal(high)) for key, (low, high) in RANGES.items()}


BOUNDARIES = {
    "aldrete": {0: "not_ready", 8: "not_ready", 9: "ready", 10: "ready"},
    "audit": {
        0: "low_risk",
        7: "low_risk",
        8: "hazardous",
        15: "hazardous",
        16: "harmful",
        19: "harmful",
        20: "dependence",
        40: "dependence",
    },
    "ciwa_ar": {
        0: "mild",
        9: "mild",
        10: "moderate",
        18: "moderate",
        19: "severe",
        67: "severe",
    },
    "cows": {
        0: "none",
        4: "none",
        5: "mild",
        12: "mild",
        13: "moderate",
        24: "moderate",
        25: "moderately_severe",
        36: "moderately_severe",
        37: "severe",
        48: "severe",
    },
    "dast10": {
        0: "none",
        1: "low",
        2: "low",
        3: "moderate",
        5: "moderate",
        6: "substantial",
        8: "substantial",
        9: "severe",
        10: "severe",
    },
    "gad7": {
        0: "minimal",
        4: "minimal",
        5: "mild",
        9: "mild",
        10: "moderate",
        14: "moderate",
        15: "severe",
        21: "severe",
    },
    "madrs": {
        0: "none",
        6: "none",
        7: "mild",
        19: "mild",
        20: "moderate",
        34: "moderate",
        35: "severe",
        60: "severe",
    },
    "pcl5": {
        0: "below",
        30: "below",
        31: "borderline",
        32: "borderline",
        33: "probable",
        80: "probable",
    },
    "phq9": {
        0: "minimal",
        4: "minimal",
        5: "mild",
        9: "mild",
        10: "moderate",
        14: "moderate",
        15: "moderately_severe",
        19: "moderately_severe",
        20: "severe",
        27: "severe",
    },
}


@pytest.mark.parametrize(
    ("name", "total", "band"),
    [(name, total, band) for name, bands in BOUNDARIES.items() for total, band in bands.items()],
)
def test_a_total_on_either_side_of_a_cut_off_has_its_published_band(
    name: str, total: int, band: str
) -> None:
    values = scored(name, adding_to(FORMS[name], total))

    assert (values["total"], values["total_band"]) == (total, band)


def test_dast_counts_a_no_to_its_third_item() -> None:
    assert scored("dast10", filled("dast10", "no"))["total"] == 1
    assert scored("dast10", filled("dast10", "no", item_3="yes"))["total"] == 0
    assert scored("dast10", filled("dast10", "yes"))["total"] == 9


@pytest.mark.parametrize("item", ["item_9", "item_10"])
@pytest.mark.parametrize("value", [1, 3])
def test_the_last_items_of_audit_count_nothing_between_0_2_and_4(item: str, value: int) -> None:
    _, slips = accept(FORMS["audit"], filled("audit", 0) | {item: value})

    assert [(each.code, each.field) for each in slips] == [("not-an-option", item)]


@pytest.mark.parametrize(
    ("item", "missing"),
    [("pulse", 3), ("restlessness", 2), ("restlessness", 4), ("gooseflesh", 1), ("gut", 4)],
)
def test_cows_refuses_values_that_its_items_skip(item: str, missing: int) -> None:
    _, slips = accept(FORMS["cows"], filled("cows", 0) | {item: missing})

    assert [(each.code, each.field) for each in slips] == [("not-an-option", item)]


def test_orientation_ends_at_4_where_the_other_items_of_ciwa_end_at_7() -> None:
    form = FORMS["ciwa_ar"]
    tops = [field.high for field in form.fields.values()]

    assert tops == [7] * 9 + [4]
    _, slips = accept(form, filled("ciwa_ar", 0, orientation=5))
    assert [(each.code, each.field) for each in slips] == [("implausible", "orientation")]


def test_a_patient_who_cannot_communicate_has_no_ciwa_total() -> None:
    values = scored("ciwa_ar", filled("ciwa_ar", 3, tactile="unable"))

    assert values["tremor"] == 3
    assert values["tactile?"] == "unable"
    assert "total" not in values
    assert "total_band" not in values


def test_the_clusters_of_the_pcl_add_up_to_its_total() -> None:
    values = scored("pcl5", {f"item_{n}": n % 5 for n in range(1, 21)})

    assert values["intrusion"] == 1 + 2 + 3 + 4 + 0
    assert values["avoidance"] == 1 + 2
    assert values["mood"] == 3 + 4 + 0 + 1 + 2 + 3 + 4
    assert values["arousal"] == 0 + 1 + 2 + 3 + 4 + 0
    assert values["total"] == 10 + 3 + 17 + 10


def test_a_refused_item_leaves_the_clusters_that_do_not_need_it() -> None:
    values = scored("pcl5", filled("pcl5", 1, item_6="refused"))

    assert values["intrusion"] == 5
    assert "avoidance" not in values
    assert "total" not in values


BAM_USE = ("item_4", "item_5", "item_6")
BAM_RISK = ("item_1", "item_2", "item_3", "item_8", "item_11", "item_15")
BAM_PROTECTIVE = ("item_9", "item_10", "item_12", "item_13", "item_14", "item_16")


def bam(**answers: int) -> dict[str, Raw]:
    return scored("bam", filled("bam", 0, item_7="") | answers)


def test_bam_has_three_scales_and_no_total() -> None:
    nothing = bam()
    assert "total" not in readable(FORMS["bam"])
    assert (nothing["use"], nothing["risk"], nothing["protective"]) == (0, 0, 0)

    for scale, items in (("use", BAM_USE), ("risk", BAM_RISK), ("protective", BAM_PROTECTIVE)):
        values = bam(**dict.fromkeys(items, 4))
        raised = {other for other in ("use", "risk", "protective") if values[other]}
        assert raised == {scale}
        assert values[scale] == 4 * len(items)


def test_bam_cut_offs() -> None:
    assert bam()["use_band"] == "none"
    assert bam(item_5=1)["use_band"] == "some"
    assert bam(item_1=4, item_2=4, item_3=3)["risk_band"] == "lower"
    assert bam(item_1=4, item_2=4, item_3=4)["risk_band"] == "raised"
    assert bam(item_9=4, item_10=4, item_12=4)["protective_band"] == "weak"
    assert bam(item_9=4, item_10=4, item_12=4, item_13=1)["protective_band"] == "strong"


def cssrs(*yes: str, **other: object) -> dict[str, Raw]:
    """The screener with some questions answered yes and every other one that is asked no."""
    asked = ["q1", "q2", "q6"]
    asked += ["q3", "q4", "q5"] if "q2" in yes else []
    asked += ["q6_recent"] if "q6" in yes else []
    return scored("cssrs", {name: "yes" if name in yes else "no" for name in asked} | other)


@pytest.mark.parametrize(
    ("yes", "risk"),
    [
        ((), "none"),
        (("q1",), "low"),
        (("q2",), "low"),
        (("q1", "q2"), "low"),
        (("q2", "q3"), "moderate"),
        (("q6",), "moderate"),
        (("q1", "q6"), "moderate"),
        (("q2", "q4"), "high"),
        (("q2", "q5"), "high"),
        (("q6", "q6_recent"), "high"),
        (("q1", "q2", "q3", "q4", "q5", "q6", "q6_recent"), "high"),
    ],
)
def test_the_suicide_screener_reads_the_risk_from_its_gravest_answer(
    yes: tuple[str, ...], risk: str
) -> None:
    assert cssrs(*yes)["risk_band"] == risk


def test_no_thoughts_of_suicide_leads_straight_to_the_question_about_behaviour() -> None:
    assert set(cssrs()) == {"q1", "q2", "q6", "risk", "risk_band"}

    _, slips = accept(FORMS["cssrs"], {"q1": "no", "q2": "yes", "q6": "no"})
    assert [(each.code, each.field) for each in slips] == [
        ("missing-value", "q3"),
        ("missing-value", "q4"),
        ("missing-value", "q5"),
    ]

    _, slips = accept(FORMS["cssrs"], {"q1": "no", "q2": "no", "q3": "yes", "q6": "no"})
    assert [(each.code, each.field) for each in slips] == [("not-asked", "q3")]


def test_a_refused_question_never_reads_as_no_risk() -> None:
    assert "risk" not in cssrs(q2="refused")
    assert "risk" not in cssrs("q1", q6="refused")
    assert cssrs("q6", "q6_recent", q1="refused")["risk_band"] == "high"


Answers = dict[str, object]


@st.composite
def answers_to(draw: st.DrawFn, name: str) -> Answers:
    """Complete answers: every question that is asked has one."""
    found: Answers = {}
    for key, field in FORMS[name].fields.items():
        if field.asked_if is not None and found.get(field.asked_if[0]) not in field.asked_if[1]:
            continue
        if field.type == "text":
            continue
        value = draw(st.sampled_from(possible(field)))
        found[key] = bool(value) if field.type == "yes_no" else value
    return found


@each_instrument
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_complete_answers_always_have_scores_within_their_range_and_a_band(
    name: str, data: st.DataObject
) -> None:
    values = scored(name, data.draw(answers_to(name)))

    for score in FORMS[name].computed:
        total = values[score.name]
        low, high = RANGES[name, score.name]
        assert isinstance(total, int)
        assert low <= total <= high
        if score.bands:
            reached = [band.name for band in score.bands if band.low <= total]
            assert values[score.name + "_band"] == reached[-1]


@each_instrument
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_graver_answer_never_lowers_a_score(name: str, data: st.DataObject) -> None:
    form = FORMS[name]
    answers = data.draw(answers_to(name))
    item = data.draw(st.sampled_from([key for key in answers if not governs(form, key)]))
    graver = max(possible(form.fields[item]))
    raised = answers | {item: bool(graver) if form.fields[item].type == "yes_no" else graver}

    before, after = scored(name, answers), scored(name, raised)

    for score in form.computed:
        less, more = before[score.name], after[score.name]
        assert isinstance(less, int)
        assert isinstance(more, int)
        assert more <= less if item in score.reversed else more >= less
    assert after[item] == graver


def governs(form: Form, name: str) -> bool:
    return any(field.asked_if and field.asked_if[0] == name for field in form.fields.values())


@each_instrument
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_one_answer_refused_is_kept_with_the_rest_and_takes_the_total(
    name: str, data: st.DataObject
) -> None:
    form = FORMS[name]
    answers = data.draw(answers_to(name))
    item = data.draw(st.sampled_from([key for key in answers if not governs(form, key)]))

    values = scored(name, answers | {item: "unable"})

    assert values[item] is None
    assert values[item + "?"] == "unable"
    assert set(answers) <= set(values)
    for score in form.computed:
        if item in score.items and score.method != "highest":
            assert score.name not in values
