"""Everything that can be wrong with a program is found, at its place, with a way out."""

from __future__ import annotations

import pytest
from attrs import frozen

from kat_workflow.language import Files, check
from kat_workflow.language.findings import EXPLAINED
from programs import CLINIC, INNER, MAIN, SLEEP, broken
from programs import FILES as TEXTS

MOOD, SHARED = "instruments/mood.yaml", "forms/shared.yaml"


@frozen
class Case:
    """One way to break the program: `old` becomes `new`; what is wrong stands in «…».

    `mark` is the text with «…» where that is not in `new`.
    """

    code: str
    old: str
    new: str
    hint: str = ""
    file: str = MAIN
    mark: str = ""


NAMES = [
    Case("unknown-role", "intake: {by: [nurse]", "intake: {by: [«nurze»]", 'did you mean "nurse"?'),
    Case("unknown-role", "hold_by: [doctor]", "hold_by: [«letter»]", '"letter" is a step'),
    Case("unknown-phase", "start: screening", "start: «screning»", 'did you mean "screening"?'),
    Case("unknown-phase", "start: days", "start: «sleeping»", "known: days, sides"),
    Case("unknown-step", "after: [intake]", "after: [«intak»]", 'did you mean "intake"?'),
    Case("unknown-step", "completed, work: [letter]", "completed, work: [«nap»]", "known: letter"),
    Case("unknown-step", "from: intake.last_use,", "from: «intak done»,", "intake"),
    Case("unknown-step", "then: infusion.released", "then: «intak.done»", '"intake"?'),
    Case("unknown-form", "record: mood\n", "record: «moods»\n", 'did you mean "mood"?'),
    Case("unknown-form", "from: intake.last_use,", "from: «intak.last_use»,", '"intake"?'),
    Case("unknown-field", "from: intake.last_use,", "from: «intake.last_user»,", '"last_use"?'),
    Case("unknown-consent", "obtain: infusing", "obtain: «infusion»", 'did you mean "infusing"?'),
    Case("unknown-session", "session: infusion,", "session: «infusing»,", '"infusion"?'),
    Case("unknown-session", "start: infusion,", "start: «drip»,", '"drip" is a step'),
    Case("unknown-session", "from: infusion released", "from: «infus released»", '"infusion"?'),
    Case("unknown-name", "ready: [fit,", "ready: [«fitt»,", 'did you mean "fit"?'),
    Case("unknown-name", "pressure < high", "pressure < «hight»", 'did you mean "high"?'),
    Case("unknown-source", "8 points, source: book", "8 points, source: «bok»", '"book"?'),
    Case("unknown-end", "possible: [well", "possible: [«wel»", 'did you mean "well"?'),
    Case("name-taken", "  consented:\n", "  «high»:\n", "is used once"),
    Case("name-taken", "          morning:\n", "          «intake»:\n", "is used once"),
    Case("name-taken", "  hospital:\n", "  «stay»:\n", "is used once"),
    Case("name-taken", "consents:\n", "consents:\n  «intake»: {title: Twice}\n", "is used once"),
    Case("name-taken", "  sleeping:\n", "  «days»:\n", "is used once"),
    Case("name-taken", "  infusion:\n    by", "  «morning»:\n    by", "is used once"),
    Case("name-taken", "  moved: {kind: tr", "  «died»: {kind: tr", "kind: died"),
    Case("name-reserved", "  calm_time: {", "  «round»: {", "the_round"),
    Case("bad-anchor", "from: intake.last_use,", "from: «the weekend»,", "STEP done"),
    Case("bad-anchor", "then: infusion.released", "then: «infusion.over»", "SESSION.released"),
    Case("type-mismatch", "from: intake.last_use,", "from: «intake.kind»,", "type is instant"),
]

FILES = [
    Case("unknown-file", "[instruments/mood.yaml", "[«instruments/moods.yaml»", "mood.yaml"),
    Case("file-outside", "[instruments/mood.yaml", "[«../mood.yaml»", "from that folder on"),
    Case("file-outside", "[instruments/mood.yaml", "[«/etc/mood.yaml»", "from that folder on"),
    Case("file-kind", "[instruments", "[«inner/inner.yaml», instruments", "contains"),
    Case("program-id", "program: clinic", "program: «clinik»", 'write "clinic"'),
    Case("version-format", '"1.2.0"', '«"one"»', '"1.0.0"'),
    Case("language-too-new", "language: 1", "language: «2»", "newer release"),
    Case("language-too-new", "language: 1", "language: «2»", "newer release", MOOD),
    Case("language-too-new", "language: 1", "language: «0»", "write 1", SHARED),
    Case("unknown-program", "{program: inner,", "{program: «iner»,", 'did you mean "inner"?'),
    Case("unknown-program", "inner, ends", '«inner», version: "9.0", ends', "did you mean"),
    Case("unknown-program", "{program: inner,", "{program: «clinic-x»,"),
    Case("contains-itself", "{program: inner,", "{program: «clinic»,"),
    Case("shared-differs", "nurse: Nurse", "«nurse»: Night nurse", "rename one", INNER),
    Case("shared-differs", "book: {title: A", "«book»: {title: No", "rename one", INNER),
    Case(
        "shared-differs",
        "limits:",
        "forms:\n  «intake»: {title: Other, fields: {asleep: {type: yes_no}}}\nlimits:",
        "rename one",
        INNER,
    ),
]

STEPS = [
    Case(
        "ambiguous-step", "record: note, diff", "record: note, «obtain»: infusing, diff", "second"
    ),
    Case("by-nobody", "nap: {by: [nurse]}", "nap: {«by»: []}", "at least"),
    Case("window-order", "opens: 1 h, due: 2 h", "opens: 2 h, due: «1 h»", "opens comes first"),
    Case("window-order", "due: 2 h, closes: 3 h", "due: 2 h, closes: «90 min»", "then closes"),
    Case(
        "closes-without-missed",
        "may_be: [missed]",
        "may_be: []",
        "missed",
        mark="closes: «3 h», may_be",
    ),
    Case("different-from-itself", "from: [intake]", "from: [«second_look»]", "another step"),
    Case(
        "after-cycle",
        "signed: true, due",
        "signed: true, after: [second_look], due",
        mark="infusing, «after»: [intake]",
    ),
    Case("cadence-pace", "{interval: 8 h, ", '{interval: 8 h, «daily_at»: ["07:00"], ', "second"),
    Case("cadence-pace", "{interval: 8 h, when", "«{»when", "interval: 4 h"),
    Case("cadence-open", '"21:00"], when: always', '"21:00"], when: «calm»', "the tightest"),
    Case("session-elsewhere", "{fasting: {", "{fasting: {session: «infusion», ", "a phase"),
    Case(
        "leaving-recurs",
        "doctor], due: 7 d",
        "doctor], «every»: [{interval: 1 d, when: always}], due: 7 d",
    ),
    Case("unknown-field", "agreeing: {", "agreeing: {if_skipped: {«text»: x}, "),
    Case("unknown-field", "intake, signed", "intake, if_skipped: {«accept»: yes}, signed", '"acc'),
    Case("unknown-option", "intake, signed", "intake, if_skipped: {accepted: «ye»}, signed", "yes"),
    Case("unknown-option", "intake, signed", "intake, if_skipped: {kind: «ligt»}, signed", "light"),
    Case(
        "no-source",
        "due: 24 h, source: book}\n      agr",
        "due: «24 h»}\n      agr",
        "where it comes from",
    ),
    Case("no-source", "is: 160 mmHg, source: book", "is: «160 mmHg»", "where it comes from"),
]

PHASES = [
    Case("unknown-target", "to: stay, when: fit", "to: «stays», when: fit", '"stay"?'),
    Case("unknown-target", "to: stay, when: fit", "to: «days», when: fit", "beside this one"),
    Case("unknown-target", "to: stay, when: fit", "to: «back», when: fit", "only an excursion"),
    Case("unknown-target", "to: stay, when: fit", "to: «finish», when: fit", "by an end"),
    Case("unknown-target", "{to: back, when", "{to: «stay», when", "beside this one"),
    Case("unknown-target", "restless: unfit", "restless: «unfitt»", 'did you mean "unfit"?'),
    Case("unknown-target", "to: awake, when: slept", "to: «awak», when: slept", '"awake"', INNER),
    Case("unknown-end", "restless: unfit}", "restless: unfit, «awoke»: unfit}", '"awake"?'),
    Case(
        "unmapped-end",
        "finish, restless: unfit}",
        "finish}",
        "restless: finish",
        mark="{program: inner, «ends»: {awake",
    ),
    Case(
        "unmapped-end",
        ", ends: {awake: finish, restless: unfit}}",
        ", ends: {restless: unfit}}",
        "awake: finish",
        mark="{program: inner, «ends»: {rest",
    ),
    Case("ambiguous-phase", "  stay:\n", "  stay:\n    «tracks»: {aside: {}}\n", "its own"),
    Case("start-missing", "    start: days\n", "", "start: days", mark="  «stay»:\n    admits"),
    Case("impossible-range", "at_least: 2, at_most: 5", "at_least: 6, at_most: «5»", "not below"),
    Case("impossible-range", "at_least: 2, at_most: 5", "at_least: 0, at_most: «5»", "1 or more"),
    Case("repeat-open", "at_most: 5, until: calm", "at_most: «5»", "write until"),
    Case(
        "unreachable", "{to: stay, when: fit}", "{to: unfit, when: fit}", mark="  «stay»:\n    ad"
    ),
    Case(
        "unreachable",
        "{to: stay, when: fit}\n      - {to",
        "{to: stay, when: always}\n      - «{»to",
        "move it up",
    ),
    Case("no-way-out", "{to: well, when", "{to: stay, when", mark="  «stay»:\n    admits"),
    Case(
        "endless-cycle",
        "          rest:\n",
        "          turning:\n"
        "            start: left\n"
        "            phases:\n"
        "              «left»: {next: [{to: right, when: not calm}, {to: finish, when: always}]}\n"
        "              right: {next: [{to: left, when: always}]}\n"
        "          rest:\n",
        "let one of these phases wait",
    ),
]

_WATCH = "at: [0 min, 15 min], then_every: 30 min}"
_FAST = "says: Fast, tell: [doctor], answer_within: 5 min}"
_NEXT = "[{tell: [nurse], answer_within: 5 min}]"

CALLS = [
    Case("impossible-range", "then_every: 30 min", "then_every: 30 min, during_every: «0 min»"),
    Case("impossible-range", _WATCH, f"early_by: «15 min», {_WATCH}", "shortest time"),
    Case("impossible-range", _FAST, f"recheck: «0 min», {_FAST}", "5 min"),
    Case("impossible-range", "    at_most: {times: 1", "    no_shows: «0»\n    at_most: {times: 1"),
    Case(
        "impossible-range",
        "    at_most: {times: 1",
        "    apart: 7 d\n    plan_within: «6 d»\n    at_most: {times: 1",
    ),
    Case("half-a-call", _FAST, "says: Fast, «tell»: [doctor]}", "answer_within: 5 min"),
    Case("half-a-call", _FAST, "says: Fast, «answer_within»: 5 min}", "tell: [doctor]"),
    Case("half-a-call", _FAST, f"says: Fast, «then»: {_NEXT}}}", "write tell"),
    Case(
        "half-a-call",
        "answer_within: 15 min, escalation",
        f"answer_within: 15 min, then: {_NEXT}, «escalation»",
        "take then",
    ),
    Case(
        "half-a-call",
        "    release: {earliest: 30 min, when: w",
        "    alerts: [«{»when: watch.pulse > 110 /min}]\n    release: {earliest: 30 min, when: w",
        "recheck: 5 min",
    ),
    Case(
        "half-a-call",
        "    watch: {by: [nurse], record: vitals, at: [0 min, 15 min], then_every: 30 min}\n"
        "    pause_when:\n"
        "      - {when: watch.pulse > 130 /min, says",
        "    pause_when:\n      - {when: note.text is recorded, «recheck»: 5 min, says",
        "add watch",
    ),
    Case(
        "unknown-escalation",
        "answer_within: 15 min, escalation: duty",
        "answer_within: 15 min, escalation: «dutty»",
        '"duty"?',
    ),
    Case(
        "by-nobody",
        "    then: [{tell: [nurse]",
        "    «then»: []\n    # then: [{tell: [nurse]",
        "write then",
    ),
    Case("by-nobody", "then: [{tell: [nurse], ans", "then: [{«tell»: [], ans", "at least"),
    Case("impossible-range", "answer_within: 10 min}]", "answer_within: «0 min»}]", "5 min"),
    Case("bad-duration", "answer_within: 10 min}]", "answer_within: «soon»}]"),
    Case("impossible-range", "repeat_last: 1", "repeat_last: «101»", "0 to 100"),
    Case(
        "unused",
        "escalations:\n",
        "escalations:\n  «spare»: {source: book, then: [{tell: [nurse], answer_within: 1 h}]}\n",
        "take it out",
    ),
]

SESSIONS = [
    Case(
        "dose-without-monitoring",
        "    watch: {by: [nurse], record: vitals, at: [0 min, 15 min], then_every: 30 min}\n",
        "",
        "add watch",
        mark="    «dose»:\n",
    ),
    Case("watch-order", "at: [0 min, 15 min]", "«at»: [15 min, 0 min]", "the earliest first"),
    Case("impossible-range", "then_every: 30 min", "then_every: «0 min»", "15 min"),
    Case("unit-mismatch", "from: 100 mg/h", "from: «100 mL/h»", "such a unit"),
    Case("unit-mismatch", "most: 1 g", "most: «1 mL»", "such a unit"),
    Case("unit-unknown", "amount: 500 mg", "amount: «500 mgg»", "did you mean"),
    Case("unit-unknown", "is: 160 mmHg", "is: «160 mmhg»", 'did you mean "mmHg"?'),
    Case("unit-unknown", "is: 160 mmHg", "is: «160 xyzzy»"),
    Case("bad-quantity", "is: 160 mmHg", "is: «high»", "180 mmHg"),
    Case("impossible-range", "most: 1 g", "most: «400 mg»", "raise it"),
    Case("impossible-range", "to: 0.2 g/h", "to: «20 mg/h»", "lower one first"),
    Case("impossible-range", "amount: 500 mg", "amount: «0 mg»", "more than 0"),
    Case("dose-amount", "amount: 500 mg, most: 1 g,", "", "amount: 500 mg", mark="    «dose»:\n"),
    Case("by-nobody", "signed_by: [nurse]", "«signed_by»: []", "at least"),
]

FORMS = [
    Case("field-type", "accepted: {type: yes_no}", "accepted: {type: yes_no, «unit»: mg}"),
    Case("field-type", "accepted: {type: yes_no}", "accepted: {type: yes_no, «allowed»: [1]}"),
    Case("field-type", "accepted: {type: yes_no}", "accepted: {type: yes_no, «from»: 1}"),
    Case("field-type", "{type: instant}", "{type: instant, «options»: {a: A}}", "type: choice"),
    Case("field-type", "last_use: {type: instant}", "«last_use»: {type: choices}", "options"),
    Case("unit-unknown", "unit: mmHg,", "unit: «mmhg»,", 'did you mean "mmHg"?'),
    Case("unit-unknown", "unit: /min", "unit: «xyzzy»", "", SHARED),
    Case("impossible-range", "from: 50, to: 260", "from: 50, to: «26»", "lower end first"),
    Case("no-source", "unit: /min}", "unit: /min, from: «30»}", "source: …", SHARED),
    Case("unknown-field", "asked_if: {field: accepted", "asked_if: {field: «accept»", '"accepted"'),
    Case("unknown-field", "asked_if: {field: accepted", "asked_if: {field: «kind»", "above it"),
    Case("unknown-option", "is: [yes]}", "is: [«yess»]}", 'did you mean "yes"?'),
    Case("unknown-source", "source: scale\nfields", "source: «scal»\nfields", '"scale"', MOOD),
    Case("unknown-field", "reversed: [sad]", "reversed: [«sat»]", 'did you mean "sad"?', MOOD),
    Case(
        "field-type", "sad: {type: integer, from: 0, to: 3", "sad: {type: text", "", MOOD, "[«sad»]"
    ),
    Case("field-type", "from: 0, to: 3", "from: 0", "to: …", MOOD, "reversed: [«sad»]"),
    Case(
        "unknown-field",
        "reversed: [sad]",
        "items: [tense]\n    reversed: [«sad»]",
        "add it to items",
        MOOD,
    ),
    Case("unknown-field", "reversed: [sad]", "weights: {«sat»: 2}", '"sad"', MOOD),
    Case("impossible-range", "{from: 4, name: bad}", "{from: «0», name: bad}", "lowest", MOOD),
    Case("name-taken", "name: bad", "name: «good»", "rename it", MOOD),
    Case("name-taken", "  total:", "  «sad»:", "rename the score", MOOD),
    Case(
        "unknown-role",
        "    title: Intake\n",
        "    title: Intake\n    by: [«nurze»]\n",
        'did you mean "nurse"?',
    ),
    Case("name-reserved", "  vitals:\n", "  «watch»:\n", "the_watch", SHARED),
    Case("form-empty", "fields:\n      text: {type: text}", "«fields»: {}", "add a field", SHARED),
]

ENDS = [
    Case("leaving-without-work", "doctor], work: [letter]}", "doctor]}", mark="«leaving»: {"),
    Case(
        "leaving-without-work",
        "leaving: {by: [nurse, doctor], work: [letter]}\n",
        "",
        mark="«ends»:\n  well",
    ),
    Case("never-possible", "{to: well, when", "{to: unfit, when", mark="possible: [«well»"),
    Case("by-nobody", "leaving: {by: [nurse, doctor]", "leaving: {«by»: []", "at least"),
]

GROUPS = [
    Case("unknown-group", "group: circle", "group: «circel»", 'did you mean "circle"?'),
    Case(
        "unknown-group",
        "    source: book\n    ready",
        "    source: book\n    group: «infusion»\n    ready",
        "is a session",
    ),
    Case("group-elsewhere", "{fasting: {", "{fasting: {group: «circle», ", "on a step of a phase"),
    Case(
        "group-elsewhere", "session: infusion,", "session: infusion, group: «circle»,", "own kind"
    ),
    Case("impossible-range", "capacity: 6", "capacity: «0»", "write 1 or more"),
    Case("impossible-range", "minimum: 3", "minimum: «0»", "write 1 or more"),
    Case("impossible-range", "minimum: 3", "minimum: «7»", "lower it"),
    Case("impossible-range", "one_per: 3", "one_per: «0»", "write 1 or more"),
    Case("unknown-role", "{role: nurse, one", "{role: «nurze», one", 'did you mean "nurse"?'),
    Case("by-nobody", "override: {by: [doctor]}, s", "override: {«by»: []}, s", "at least"),
    Case("no-source", "{by: [doctor]}, source: book}", "{by: [doctor]}}", mark="{capacity: «6»"),
    Case("name-taken", "  circle:\n", "  «stay»:\n", "is used once"),
    Case("unused", "group: circle, ", "", "take it out", mark="  «circle»:\n"),
]

UNUSED = [
    Case("unused", "  doctor: Doctor\n", "  doctor: Doctor\n  «cook»: Cook\n", "take it out"),
    Case("unused", "high\n    over", "160 mmHg\n    over", "take it out", mark="  «high»: {is"),
    Case(
        "unused",
        "accepted is yes and intake.pressure < high",
        "accepted is yes",
        mark="«high»: {is",
    ),
    Case(
        "unused-session",
        "sessions:\n",
        "sessions:\n"
        "  «spare»: {by: [nurse], source: book, release: {earliest: 1 h, signed_by: [nurse]}}\n",
        "take it out",
    ),
    Case("unused", "  well: {kind", "  «better»: {kind: completed}\n  well: {kind", "take it out"),
    Case(
        "unused",
        "forms:\n  intake:",
        "forms:\n  «empty»: {title: Empty, fields: {text: {type: text}}}\n  intake:",
        "take it out",
    ),
    Case("unused", "infusing: {title", "«other»: {title: Other}\n  infusing: {title", "take it"),
    Case("unused", "  letter: {", "  «card»: {by: [nurse]}\n  letter: {", "name it in work"),
]


@pytest.mark.parametrize(
    "case",
    [*NAMES, *FILES, *STEPS, *PHASES, *SESSIONS, *CALLS, *FORMS, *ENDS, *GROUPS, *UNUSED],
    ids=lambda case: f"{case.code}-{case.new or case.old}".replace("\n", " ")[:60],
)
def test_what_is_wrong_is_told_at_its_place_with_a_way_out(case: Case) -> None:
    result = broken(case.old, case.new, case.file, case.mark)

    found = result.finding(case.code)

    assert (found.place.file, found.place.line, found.place.column, found.width) == result.marked
    assert case.hint in found.hint
    assert (result.checked.program is None) == (found.severity == "error")
    assert found.code in EXPLAINED


def test_a_clinic_without_faults_has_no_findings() -> None:
    checked = check(MAIN, Files(TEXTS))

    assert checked.findings == ()
    assert checked.program is not None


def test_all_that_is_wrong_in_all_files_is_told_at_once_the_own_file_first() -> None:
    files = {
        **TEXTS,
        MAIN: CLINIC.replace("obtain: infusing", "obtain: x").replace("[intake]", "[y]"),
        INNER: SLEEP.replace("time since lying_down done", "time since lying_dwn done"),
        MOOD: TEXTS[MOOD].replace("[sad]", "[mad]"),
    }

    codes = [(found.place.file, found.code) for found in check(MAIN, Files(files)).errors]

    assert codes == [
        (MAIN, "unknown-consent"),
        (MAIN, "unknown-step"),
        (MAIN, "unknown-step"),
        (MOOD, "unknown-field"),
        (INNER, "unknown-name"),
    ]


def test_where_no_row_holds_somebody_must_be_named_who_decides() -> None:
    text = CLINIC.replace("decided_by: [doctor]\n", "").replace(
        "- {to: sleeping, when: always}", "- {to: sleeping, when: calm}"
    )

    (found,) = check(MAIN, Files({**TEXTS, MAIN: text})).findings

    assert found.code == "nobody-decides"
    assert found.source[found.place.column - 1 :].startswith("calm}")


def test_program_days_without_an_admission_are_doubtful() -> None:
    files = {
        **TEXTS,
        MAIN: CLINIC.replace("    admits: true\n", ""),
        INNER: SLEEP.replace("    admits: true\n", ""),
    }

    checked = check(MAIN, Files(files))

    assert [found.code for found in checked.findings] == ["no-admission", "no-admission"]
    assert [found.severity for found in checked.findings] == ["warning", "warning"]
    assert checked.program is not None


def test_a_fault_in_a_gate_is_told_once_at_the_gate_however_often_it_is_used() -> None:
    text = CLINIC.replace("when: intake.accepted is yes and", "when: intake.acepted is yes and")

    (found,) = check(MAIN, Files({**TEXTS, MAIN: text})).findings

    assert (found.code, found.place.line) == ("unknown-name", 23)
    assert found.source[found.place.column - 1 :][: found.width] == "acepted"


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        ("  a: {says: A, when: b}\n  b: {says: B, when: a}\n", "gate-cycle"),
        ("  a: {says: A, when: fit and or}\n", "gate-syntax"),
    ],
)
def test_a_gate_that_nobody_uses_is_read_all_the_same(gates: str, code: str) -> None:
    text = CLINIC.replace("gates:\n", "gates:\n" + gates)

    checked = check(MAIN, Files({**TEXTS, MAIN: text}))

    assert code in {found.code for found in checked.errors}


def test_answers_of_a_number_are_not_looked_up() -> None:
    text = CLINIC.replace(
        "asked_if: {field: accepted, is: [yes]}", "asked_if: {field: pressure, is: [60]}"
    )

    assert check(MAIN, Files({**TEXTS, MAIN: text})).findings == ()


def test_amounts_that_cannot_be_read_are_told_and_nothing_is_compared_with_them() -> None:
    text = CLINIC.replace("amount: 500 mg, most: 1 g", "amount: some, most: more")

    found = check(MAIN, Files({**TEXTS, MAIN: text})).errors

    assert [each.code for each in found] == ["bad-quantity", "bad-quantity"]


LEFT = "              left: {next: [{to: right, when: not calm}, {to: finish, when: always}]}\n"
RIGHT = "              right: {LINE next: [{to: left, when: always}]}\n"
TURNING = "          turning:\n            start: left\n            phases:\n" + LEFT + RIGHT


@pytest.mark.parametrize(
    ("inside", "endless"),
    [
        ("", True),
        ("steps: {look: {by: [nurse]}},", False),
        ("steps: {look: {by: [nurse], only_if: calm}},", True),
        ("steps: {look: {by: [nurse], optional: true}},", True),
        ("repeat: {at_least: 2, at_most: 2, one_per: program day},", False),
        ("repeat: {at_least: 2, at_most: 2},", True),
        ("tracks: {alone: {steps: {look: {by: [nurse]}}}},", False),
        ("tracks: {alone: {optional: true, steps: {look: {by: [nurse]}}}},", True),
        ("phases: {one: {steps: {look: {by: [nurse]}}}},", False),
        ("phases: {one: {}},", True),
        ("start: one, phases: {one: {next: [{to: two, when: always}]}, two: {}},", True),
        (
            "start: one, phases: {one: {next: [{to: two, when: always}]}, "
            "two: {steps: {look: {by: [nurse]}}, next: [{to: finish, when: always}]}},",
            False,
        ),
    ],
)
def test_a_circle_is_endless_unless_something_in_it_always_waits(
    inside: str, endless: bool
) -> None:
    text = CLINIC.replace(
        "          rest:\n", TURNING.replace("LINE", inside) + "          rest:\n"
    )

    errors = check(MAIN, Files({**TEXTS, MAIN: text})).errors

    assert [found.code for found in errors] == (["endless-cycle"] if endless else [])


def test_a_row_that_always_goes_at_once_does_not_wait_for_the_steps_of_its_phase() -> None:
    left = LEFT.replace("{next:", "{steps: {look: {by: [nurse]}}, next:").replace(
        "not calm", "always, at_once: true"
    )
    text = CLINIC.replace(
        "          rest:\n", TURNING.replace(LEFT, left).replace("LINE", "") + "          rest:\n"
    )

    errors = check(MAIN, Files({**TEXTS, MAIN: text})).errors

    assert [found.code for found in errors] == ["endless-cycle"]


def test_a_gate_for_a_session_is_no_fault_while_nobody_uses_it() -> None:
    text = CLINIC.replace("gates:\n", "gates:\n  slow: {says: Slow, when: watch.pulse < 50 /min}\n")

    (found,) = check(MAIN, Files({**TEXTS, MAIN: text})).findings

    assert (found.code, found.severity) == ("unused", "warning")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[instruments/mood.yaml", "[instruments/gone.yaml"),
        ("is: 160 mmHg", "is: 160 mmhg"),
        ("amount: 500 mg", "amount: 500 mgg"),
        ("record: mood\n", "record: moods\n"),
        ("obtain: infusing", "obtain: x"),
        ("start: screening", "start: x"),
    ],
)
def test_one_fault_is_one_finding_not_also_all_that_follows_from_it(old: str, new: str) -> None:
    assert len(broken(old, new).checked.errors) == 1


@pytest.mark.parametrize("taken", ["consented", "sleeping", "well", "infusing"])
def test_who_uses_a_name_that_was_taken_is_not_at_fault(taken: str) -> None:
    text = CLINIC.replace(taken, "high")

    codes = {found.code for found in check(MAIN, Files({**TEXTS, MAIN: text})).errors}

    assert codes == {"name-taken"}


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("then_every: 30 min", "then_every: half an hour", "bad-duration"),
        ("lasts: 4 h", "lasts: long", "bad-duration"),
        ("asked_if: {field: accepted, ", "asked_if: {", "missing-key"),
        ("tell: [doctor], answer_within: 15 min", "tell: [doctor]", "missing-key"),
        ("steps: {nap: {by: [nurse]}}", "steps: {nap: {}}", "missing-key"),
        ("at_least: 2, at_most: 5", "at_least: 2", "missing-key"),
        ("start: screening\n", "", "missing-key"),
    ],
)
def test_what_was_told_while_reading_is_not_told_again(old: str, new: str, code: str) -> None:
    (found,) = broken(old, new).checked.errors

    assert found.code == code
