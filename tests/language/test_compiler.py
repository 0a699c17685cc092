"""A program file means one compiled Program, wherever its files are kept."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kat_workflow.errors import ProgramError
from kat_workflow.language import Files, Folder, check, compile_files, load, shipped
from kat_workflow.language.library import inside
from kat_workflow.program.clock import Duration
from kat_workflow.program.model import Anchor, Program, Retention
from programs import CLINIC, FILES, INNER, MAIN, SLEEP

CLINIC_PROGRAM = compile_files(FILES, MAIN)
PROGRAMS = ("detox-4-day", "ketamine-assisted-therapy", "residential-30-day")


def changed(old: str, new: str) -> Program:
    """The clinic with one text replaced by another."""
    assert CLINIC.count(old) == 1
    return compile_files({**FILES, MAIN: CLINIC.replace(old, new)}, MAIN)


# Where programs are found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_the_same_files_are_the_same_program_in_a_folder_and_in_a_journal(folder: Path) -> None:
    from_folder = load("clinic", Folder(folder))
    from_path = load(folder / MAIN)
    from_journal = compile_files(from_folder.files, "clinic")

    assert from_folder.digest == from_path.digest == from_journal.digest
    assert from_folder.files == from_journal.files == FILES
    assert next(iter(from_folder.files)) == MAIN


def test_a_changed_letter_in_any_file_is_another_digest() -> None:
    digests = {
        compile_files({**FILES, name: text + "# remark\n"}, MAIN).digest
        for name, text in FILES.items()
    }

    assert len(digests | {CLINIC_PROGRAM.digest}) == len(FILES) + 1


def test_a_file_that_nobody_names_does_not_count() -> None:
    more = compile_files({**FILES, "forms/other.yaml": "language: 1"}, MAIN)

    assert more.digest == CLINIC_PROGRAM.digest


def test_findings_call_files_as_they_can_be_opened_from_here(folder: Path) -> None:
    (folder / "clinic/clinic.yaml").write_text(CLINIC.replace("obtain: infusing", "obtain: x"))

    found = check(folder / MAIN).findings

    assert {each.place.file for each in found} == {str(folder / MAIN)}


def test_an_older_version_stands_beside_the_newest(folder: Path) -> None:
    older = CLINIC.replace('version: "1.2.0"', 'version: "1.1.0"')
    (folder / "clinic/clinic@1.1.0.yaml").write_text(older)

    assert load("clinic@1.1.0", Folder(folder)).version == "1.1.0"
    assert load("clinic@1.2.0", Folder(folder)).version == "1.2.0"
    assert load("clinic", Folder(folder)).version == "1.2.0"


def test_a_version_that_there_is_not_is_not_answered_by_the_one_that_there_is(
    folder: Path,
) -> None:
    (found,) = check("clinic@9.9.9", Folder(folder)).findings

    assert found.code == "unknown-file"
    assert found.place.file == str(folder / "clinic/clinic@9.9.9.yaml")
    assert found.hint == 'did you mean "clinic/clinic.yaml"?'


def test_an_older_version_says_its_own_version(folder: Path) -> None:
    (folder / "clinic/clinic@1.1.0.yaml").write_text(CLINIC)

    (found,) = check("clinic@1.1.0", Folder(folder)).findings

    assert (found.code, found.place.line, found.hint) == ("version-format", 3, 'write "1.1.0"')


def test_a_contained_program_can_be_named_with_its_version() -> None:
    older = SLEEP.replace('version: "1.0"', 'version: "0.9"').replace("6 h", "5 h")
    files = {
        **FILES,
        MAIN: CLINIC.replace("{program: inner,", '{program: inner, version: "0.9",'),
        "inner/inner@0.9.yaml": older,
    }

    program = compile_files(files, MAIN)

    assert program.limits["sleeping.enough"].value == 5
    assert "inner/inner@0.9.yaml" in program.files


def test_a_program_outside_any_folder_finds_what_ships(tmp_path: Path) -> None:
    lone = tmp_path / "lone.yaml"
    lone.write_text(
        'language: 1\nprogram: lone\nversion: "1.0"\ntitle: Lone\n'
        "files: [instruments/phq-9.yaml]\nstart: a\nroles: {nurse: Nurse}\n"
        "phases:\n  a: {steps: {b: {by: [nurse], record: phq9}}, next: [{to: c, when: always}]}\n"
        "ends: {c: {kind: completed, work: [d]}}\n"
        "leaving: {by: [nurse], work: [d]}\nwork_after_leaving: {d: {by: [nurse]}}\n"
    )

    checked = check(lone)

    assert checked.findings == ()


def test_what_is_not_there_is_told_with_the_nearest_name(folder: Path) -> None:
    for asked in ("clinik", folder / "clinic" / "clinik.yaml"):
        with pytest.raises(ProgramError) as caught:
            load(asked, Folder(folder))

        (found,) = caught.value.findings
        assert found.code == "unknown-file"

    assert check("clinik", Folder(folder)).findings[0].hint == (
        'did you mean "clinic/clinic.yaml"?'
    )


def test_a_file_that_cannot_be_read_has_the_findings_of_the_reader(folder: Path) -> None:
    (folder / MAIN).write_bytes(b"language: 1\nprogram: \xff")

    checked = check("clinic", Folder(folder))

    assert checked.program is None
    assert [(each.code, each.place.line) for each in checked.findings] == [("not-text", 2)]


def test_a_wheel_looks_for_the_programs_inside_itself() -> None:
    assert "detox-4-day/detox-4-day.yaml" in shipped().names()


@pytest.mark.parametrize("name", ["/etc/a.yaml", "../a.yaml", "a/./b", "a//b", "a\\b", "c:a", ""])
def test_no_name_leads_out_of_the_folder(name: str, folder: Path) -> None:
    assert not inside(name)
    assert Folder(folder).text(name) is None


# What a program means


def test_phases_are_flattened_with_their_ways_and_regions() -> None:
    phases = CLINIC_PROGRAM.phases

    assert phases["last_talk"].path == ("stay", "sides", "talk", "last_talk")
    assert [phases[name].region for name in ("days", "talk", "last_talk", "hospital")] == [
        "",
        "talk",
        "talk",
        "excursion",
    ]
    assert [phases[name].kind for name in ("stay", "sides", "rest", "talk", "sleeping")] == [
        "sequence",
        "tracks",
        "leaf",
        "sequence",
        "sequence",
    ]
    assert phases["sides"].children == ("rest", "talk")
    assert not phases["rest"].required
    assert phases["stay"].admits
    assert phases["last_talk"].title == "Last talk"


def test_the_only_phase_inside_need_not_be_named_as_the_first() -> None:
    inner = SLEEP.replace("    start: dark\n", "")

    assert compile_files({**FILES, INNER: inner}, MAIN).phases["sleeping.night"].start == (
        "sleeping.dark"
    )


def test_rows_are_kept_in_order_and_those_asked_all_the_time_are_marked() -> None:
    screening = CLINIC_PROGRAM.phases["screening"]

    assert [(row.name, row.to, row.to_kind) for row in screening.next] == [
        ("screening.next.1", "unfit", "end"),
        ("screening.next.2", "stay", "phase"),
        ("screening.next.3", "unfit", "end"),
    ]
    assert [row.name for row in screening.at_once] == ["screening.next.1"]
    assert screening.next[2].when is None


def test_a_kind_of_group_says_how_many_where_and_who() -> None:
    circle = CLINIC_PROGRAM.groups["circle"]

    assert (circle.title, circle.capacity, circle.minimum) == ("Circle", 6, 3)
    assert (circle.lasts, circle.rooms, circle.by) == (Duration(2, "h"), ("hall",), ("nurse",))
    assert [(each.role, each.one_per) for each in circle.staff] == [("nurse", 3)]
    assert (circle.override_by, circle.source) == (("doctor",), "book")
    assert CLINIC_PROGRAM.steps["closing"].group == "circle"
    alone = changed(", override: {by: [doctor]}, source: book}", ", source: book}")
    assert alone.groups["circle"].override_by == ()


def test_steps_that_recur_or_are_optional_hold_no_phase_open() -> None:
    stay = changed("nap: {by: [nurse]}", "nap: {by: [nurse], optional: true}").phases

    assert stay["stay"].required_steps == ()
    assert stay["rest"].required_steps == ()
    assert stay["days"].required_steps == ("morning", "drip")


def test_a_step_says_what_when_and_by_whom() -> None:
    steps = CLINIC_PROGRAM.steps
    morning, check_, closing = steps["morning"], steps["mood_check"], steps["closing"]

    assert (morning.title, morning.form, morning.by) == ("Morning", "vitals", ("nurse",))
    assert (morning.opens, morning.due) == (Duration(1, "h"), Duration(2, "h"))
    assert morning.at_most == 1
    assert [row.interval for row in check_.every] == [Duration(8, "h"), None]
    assert check_.every[1].daily_at == (time(9), time(21))
    assert check_.every[1].when is None
    assert check_.at_most > 1000
    assert (closing.on_day, closing.at) == (2, time(10))
    assert check_.alerts[0].when.side == "stop"
    assert check_.alerts[0].name == "mood_check.alert.1"


@pytest.mark.parametrize(
    ("written", "anchor"),
    [
        ("opening", Anchor("opening")),
        ("entering", Anchor("entering")),
        ("intake done", Anchor("step", "intake")),
        ("infusion dosed", Anchor("session", "infusion", "dosed")),
        ("infusion given", Anchor("session", "infusion", "dosed")),
        ("intake.last_use", Anchor("fact", "intake.last_use")),
    ],
)
def test_times_count_from_what_is_named(written: str, anchor: Anchor) -> None:
    program = changed("from: intake.last_use,", f"from: {written},")

    found = program.steps["talking"].counted_from

    assert (found.kind, found.name, found.event) == (anchor.kind, anchor.name, anchor.event)


def test_an_instant_may_be_named_by_the_step_that_records_it() -> None:
    text = CLINIC.replace("intake: {by", "asking: {by").replace("[intake]", "[asking]")
    text = text.replace("from: intake.last_use,", "from: asking.last_use,")

    program = compile_files({**FILES, MAIN: text}, MAIN)

    assert program.steps["talking"].counted_from.name == "intake.last_use"


def test_what_a_skipped_step_reads_as_is_kept_in_the_type_of_its_field() -> None:
    fields = "      accepted: {type: yes_no}\n"
    more = "      count: {type: integer}\n      signs: {type: choices, options: {cough: Cough}}\n"
    text = CLINIC.replace(fields, fields + more).replace(
        "intake, signed",
        "intake, if_skipped: {accepted: no, count: -2, kind: light, signs: cough}, signed",
    )

    step = compile_files({**FILES, MAIN: text}, MAIN).steps["intake"]

    assert step.if_skipped == {"accepted": False, "count": -2, "kind": "light", "signs": ["cough"]}


def test_a_session_has_its_watch_as_a_step_between_before_and_after() -> None:
    infusion = CLINIC_PROGRAM.sessions["infusion"]
    watch = CLINIC_PROGRAM.steps["infusion.watch"]

    assert infusion.steps == ("fasting", "infusion.watch", "looking_back")
    assert (watch.owner, watch.owner_kind, watch.part) == ("infusion", "session", "watch")
    assert (watch.form, watch.on_hold) == ("vitals", "runs")
    assert CLINIC_PROGRAM.steps["looking_back"].source == "book"
    assert infusion.watch is not None
    assert infusion.watch.late_after == Duration(10, "min")
    assert infusion.counts_when is not None
    assert [rule.when.side for rule in (*infusion.pause_when, *infusion.stop_when)] == [
        "stop",
        "stop",
    ]
    assert [test.gates for test in infusion.ready] == [("fit",), ("consented",)]


def test_doses_are_in_one_unit_and_rates_in_another() -> None:
    dose = CLINIC_PROGRAM.sessions["infusion"].dose

    assert dose is not None
    assert (dose.unit, dose.amount, dose.most) == ("mg", Decimal(500), Decimal(1000))
    assert (dose.rate_unit, dose.rate_from, dose.rate_to) == ("mg/h", Decimal(100), Decimal(200))


def test_a_session_without_a_dose_needs_no_watch() -> None:
    program = changed(
        "sessions:\n",
        "sessions:\n"
        "  talk_together:\n"
        "    {by: [nurse], source: book, release: {earliest: 1 h, signed_by: [nurse]}}\n",
    )

    session = program.sessions["talk_together"]

    assert (session.dose, session.watch, session.counts_when) == (None, None, None)


def test_a_dose_may_have_only_a_most_or_no_rate() -> None:
    program = changed(
        "amount: 500 mg, most: 1 g,\n       rate: {from: 100 mg/h, to: 0.2 g/h}", "most: 1 g"
    )

    dose = program.sessions["infusion"].dose

    assert dose is not None
    assert (dose.amount, dose.most, dose.unit, dose.rate_unit) == (None, Decimal(1), "g", "")


def test_names_of_a_contained_program_are_prefixed_and_its_ends_lead_on() -> None:
    dark = CLINIC_PROGRAM.phases["sleeping.dark"]

    assert dark.path == ("sleeping", "sleeping.night", "sleeping.dark")
    assert [(row.to, row.to_kind) for row in dark.next] == [
        ("sleeping", "finish"),  # not of its own parent, but of the phase that contains all
        ("unfit", "end"),
        ("", "finish"),
    ]
    assert [(r.to, r.to_kind) for r in CLINIC_PROGRAM.phases["sleeping.night"].next] == [
        ("", "finish")
    ]
    assert CLINIC_PROGRAM.phases["sleeping"].children == ("sleeping.night",)
    assert CLINIC_PROGRAM.gates["sleeping.slept"].says == "The patient slept"
    assert CLINIC_PROGRAM.phases["sleeping.dark"].decided_by == ()
    assert "call" not in CLINIC_PROGRAM.steps


def test_the_program_day_of_a_contained_program_is_that_of_the_program_around() -> None:
    assert not CLINIC_PROGRAM.phases["sleeping.night"].admits
    assert compile_files(FILES, INNER).phases["night"].admits


def test_the_inner_file_names_who_decides_inside() -> None:
    inner = SLEEP.replace("start: night\n", "start: night\ndecided_by: [nurse]\n")

    program = compile_files({**FILES, INNER: inner}, MAIN)

    assert program.phases["sleeping.dark"].decided_by == ("nurse",)


def test_every_program_has_the_ends_that_no_file_needs_to_name() -> None:
    ends = CLINIC_PROGRAM.ends

    assert {name for name, end in ends.items() if not end.declared} >= {
        "against_advice",
        "administrative",
        "withdrew_consent",
        "lost_to_follow_up",
        "died",
        "entered_in_error",
    }
    assert "transferred" not in ends  # "moved" is of that kind
    assert ends["against_advice"].work == ("letter",)
    assert ends["died"].work == ends["entered_in_error"].work == ()
    assert ends["died"].by == ends["moved"].by == ("nurse", "doctor")
    assert ends["well"].by == ()


def test_anybody_may_report_that_a_patient_left_where_no_file_says_who() -> None:
    text = CLINIC.replace("leaving: {by: [nurse, doctor], work: [letter]}\n", "")

    program = compile_files({**FILES, MAIN: text}, MAIN)

    assert program.ends["died"].by == ("nurse", "doctor")


def test_rules_of_contained_programs_stand_as_well() -> None:
    assert [(rule.start, rule.unless.gates) for rule in CLINIC_PROGRAM.never] == [
        ("infusion", ("consented",))
    ]
    assert [(rule.name, rule.source) for rule in CLINIC_PROGRAM.always_after] == [
        ("always_after.1", ("infusion", "given")),
        ("sleeping.always_after.1", ("sleeping.lying_down", "done")),
    ]
    assert CLINIC_PROGRAM.always_possible == ("well", "died")


def test_sources_of_instruments_are_their_own() -> None:
    mood = CLINIC_PROGRAM.forms["mood"]

    assert (mood.source, mood.fields["sad"].source) == ("mood.scale", "mood.scale")
    assert mood.computed[0].source == "mood.scale"
    assert CLINIC_PROGRAM.sources["mood.scale"].title == "The scale itself"


def test_only_what_gates_can_still_ask_for_is_kept() -> None:
    kept = CLINIC_PROGRAM.retention
    more = changed("when: mood.total >= low_mood,", "when: last 3 of mood.total >= low_mood,")

    assert kept["mood"].span == Duration(24, "h")
    assert not kept["mood"].all
    assert "note" not in kept
    assert more.retention["mood"].last == 3
    assert Retention().last == 1


def test_the_longest_look_back_decides_and_ever_keeps_all() -> None:
    program = changed(
        "when: mood.total >= low_mood,",
        "when: ever mood.total >= low_mood or any mood.total of last 2 h >= low_mood,",
    )

    assert program.retention["mood"].all
    assert program.retention["mood"].span == Duration(24, "h")


def test_what_is_read_from_elsewhere_is_remembered() -> None:
    steps = changed("to: sleeping, when: always", "to: sleeping, when: always").steps
    read = changed(
        "- {to: sleeping, when: always}",
        "- {to: sleeping, when: morning is done or count of drip done > 2}\n"
        "      - {to: sleeping, when: always}",
    ).steps

    assert not steps["morning"].remembered
    assert read["morning"].remembered
    assert read["drip"].tallied
    assert not read["morning"].tallied
    assert CLINIC_PROGRAM.steps["sleeping.lying_down"].remembered  # a rule follows it
    assert changed("from: intake.last_use,", "from: intake done,").steps["intake"].remembered


def test_a_session_in_two_phases_reads_what_is_around_both() -> None:
    text = CLINIC.replace(
        "talking: {by: [doctor], counted",
        "second_drip: {by: [nurse], session: infusion}\n"
        "                  talking: {by: [doctor], counted",
    )

    program = compile_files({**FILES, MAIN: text}, MAIN)

    assert program.steps["second_drip"].session == "infusion"


def test_what_does_not_change_what_is_recorded_may_be_said_twice() -> None:
    form = "forms:\n  bed: {title: Bed, fields: {number: {type: integer}}}\n"
    inner = SLEEP.replace("limits:", form + "limits:").replace(
        "lying_down: {by: [nurse]}", "lying_down: {by: [nurse], record: bed}"
    )

    program = compile_files({**FILES, INNER: inner, MAIN: CLINIC.replace("forms:\n", form)}, MAIN)

    assert program.forms["bed"].title == "Bed"


# Whatever a file says


def test_every_program_that_ships_has_no_finding() -> None:
    for name in PROGRAMS:
        assert check(name).findings == ()


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [found for key, each in inner for found in [(*path, key), *_paths(each, (*path, key))]]


SHIPPED = {name: file.read_text() for name in shipped().names() if (file := shipped().file(name))}
TREES = {name: yaml.safe_load(SHIPPED[f"{name}/{name}.yaml"]) for name in PROGRAMS}
CUTS = [(name, path) for name, tree in TREES.items() for path in _paths(tree)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cut=st.sampled_from(CUTS),
    word=st.sampled_from(
        ["", "always", "finish", "nurse", "0 min", "vitals", "a.b", "x y", None, 7]
    ),
    do=st.sampled_from(["delete", "rename", "replace", "empty", "list"]),
)
def test_a_file_with_one_part_amiss_gives_a_program_or_findings_and_never_fails(
    cut: tuple[str, tuple[str | int, ...]], word: object, do: str
) -> None:
    name, path = cut
    tree = yaml.safe_load(yaml.safe_dump(TREES[name]))
    at = tree
    for part in path[:-1]:
        at = at[part]
    last = path[-1]
    if do == "delete":
        del at[last]
    elif do == "rename" and isinstance(at, dict):
        at[f"{word}_{last}"] = at.pop(last)
    else:
        at[last] = {"empty": {}, "list": [word]}.get(do, word)
    main = f"{name}/{name}.yaml"
    files = {**SHIPPED, main: yaml.safe_dump(tree, sort_keys=False, width=10_000)}

    checked = check(main, Files(files))

    assert checked.program is not None or checked.errors
    for found in checked.findings:
        lines = files[found.place.file].split("\n")
        assert found.source == lines[found.place.line - 1]
        assert 1 <= found.place.column <= len(found.source) + 1
