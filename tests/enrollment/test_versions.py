"""A patient goes on by another version of their program, or is refused with what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from bedside import MONDAY, Patient, program, source
from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.around import Past
from kat_workflow.enrollment.decide import Decision, decide
from kat_workflow.enrollment.reading import for_reader
from kat_workflow.enrollment.register import Register
from kat_workflow.enrollment.state import decode_row, encode_row, replay
from kat_workflow.errors import Refusal
from kat_workflow.language import compile_files
from kat_workflow.program.model import Program

HOUR = timedelta(hours=1)
FIRST = """
start: screening
decided_by: [doctor]
hold_by: [doctor]
phases:
  screening:
    steps:
      weigh: {by: [nurse], record: amount}
      talk: {by: [nurse], record: answer}
    next: [{to: stay, when: always}]
  stay:
    admits: true
    steps:
      baseline: {by: [nurse], record: vitals}
      plan: {by: [doctor], record: note, signed: true}
      call: {by: [nurse], record: score, due: 6 h, when_late: {tell: [doctor], answer_within: 1 h}}
      extra: {by: [nurse], record: answer, optional: true}
      drips: {by: [nurse], session: drip, may_be: [declined]}
      farewell: {by: [nurse], record: note}
    next: [{to: well, when: always}]
sessions:
  drip:
    by: [nurse]
    source: practice
    dose: {drug: NAD+, route: intravenous, amount: 500 mg}
    watch: {by: [nurse], record: vitals, at: [0 min], then_every: 30 min}
    release: {earliest: 30 min, signed_by: [nurse]}
alerts:
  - {when: vitals.systolic >= 200 mmHg, says: High, tell: [doctor], answer_within: 15 min,
     then: [{tell: [nurse], answer_within: 15 min}]}
"""


def second(changes: Mapping[str, str] | None = None) -> Program:
    """The next version, with these texts put in place of others."""
    text = source(FIRST)
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    text = text.replace('version: "1.0.0"', 'version: "1.1.0"')
    return compile_files({"x/x.yaml": text}, "x/x.yaml")


def staying() -> Patient:
    """A patient in the stay, of whom a weight and an answer were recorded before it."""
    p = Patient(program(FIRST))
    p.do("record weigh", weight="80")
    p.do("record talk", word="two")
    p.wait("1 h")
    return p


def ask(p: Patient, to: Program | None, by: str = "doctor", reason: str = "safer",
        version: str = "1.1.0") -> Decision | Refusal:  # fmt: skip
    p.look()
    around = replace(p.around, target=to, history=tuple(p.past))
    command = c.Command("v", c.ChangeVersion(version, reason), _person(by), p.now)
    answer = decide(p.program, p.s, around, command)
    assert isinstance(answer, Decision | Refusal)
    return answer


def _person(by: str) -> c.Actor:
    return c.Actor(by, {by})


def moved(p: Patient, to: Program) -> tuple[e.Event, ...]:
    """The patient goes on by another version; what that did."""
    answer = ask(p, to)
    assert isinstance(answer, Decision), answer
    p._take(answer)
    p.program = to
    return answer.events


def misfits(p: Patient, to: Program) -> list[str]:
    answer = ask(p, to)
    assert isinstance(answer, Refusal)
    assert {reason.code for reason in answer.reasons} == {"does-not-fit"}
    assert all(reason.unblock for reason in answer.reasons)
    return [reason.says.removeprefix("in 1.1.0 ") for reason in answer.reasons]


def test_where_somebody_is_and_what_is_open_stays_with_its_instants() -> None:
    p = staying()
    before = p.look()

    moved(p, second())

    assert (p.s.program_version, p.s.digest) == ("1.1.0", p.program.digest)
    assert p.s.visits == before.visits
    assert p.s.items == before.items
    (changed,) = p.events(e.VersionChanged)
    assert (changed.was, changed.person, changed.reason) == ("1.0.0", "doctor", "safer")
    assert decode_row(encode_row(p.s)) == p.s
    assert replay(e.decode(*e.encode(event)) for event in p.log) == p.s


def test_what_is_new_opens_and_what_is_gone_is_left() -> None:
    p = staying()

    moved(p, second({"      extra: {by: [nurse], record: answer, optional: true}":
                     "      sleep: {by: [nurse], record: answer}"}))  # fmt: skip

    assert p.is_open("sleep")
    assert not p.is_open("extra")
    (left,) = [x for x in p.log if isinstance(x, e.ItemSettled) and x.step == "extra"]
    assert (left.outcome, left.reason) == ("left", "not in 1.1.0")


def test_gates_of_the_other_version_read_what_this_one_let_be_forgotten() -> None:
    p = staying()
    p.do("retract talk", reason="another patient's")
    p.do("record baseline", systolic=120)
    p.do("correct baseline", systolic=130, reason="typed wrong")
    assert "amount" not in p.s.readings

    to = second({"[{to: well, when: always}]":
                 "[{to: well, when: last 1 of weigh.weight >= 50 kg and "
                 "last 1 of baseline.systolic >= 125 mmHg}]"})  # fmt: skip
    moved(p, to)

    assert [x.values for x in p.s.readings["amount"]] == [{"weight": "80"}]
    assert [x.values for x in p.s.readings["vitals"]] == [{"systolic": 130}]
    (change,) = [x for x in p.log if isinstance(x, e.VersionChanged)]
    recorded = {
        x.observation: x.recorded
        for x in p.log
        if isinstance(x, e.ObservationRecorded | e.ObservationCorrected)
    }
    brought = [x for kept in change.values.values() for x in kept]
    assert [x.recorded for x in brought] == [recorded[x.id] for x in brought]


def test_what_is_read_in_a_session_alone_is_forgotten_with_it_in_the_other_version_too() -> None:
    p = staying()
    p.do("start drip")
    p.do("dose drip", amount="500 mg")
    p.do("record drip.watch", systolic=120)
    p.wait("30 min")
    p.do("release drip")

    criteria = "release: {earliest: 30 min, when: watch.systolic < 160 mmHg,"
    cut = FIRST[FIRST.index("alerts:") :]
    moved(p, second({"release: {earliest: 30 min,": criteria, cut: ""}))

    assert "vitals" not in p.s.readings


def test_a_result_expires_as_the_other_version_says() -> None:
    talk = "      talk: {by: [nurse], record: answer}"
    gate = {
        "[{to: stay, when: always}]": "[{to: stay, when: pregnancy.result is negative}]",
        talk: f"      pregnancy: {{by: [nurse], record: test}}\n{talk}",
    }
    p = Patient(second(gate))
    p.do("record pregnancy", result="negative")

    to = second(
        {**gate, "valid_for: 72 h": "valid_for: 24 h", 'version: "1.0.0"': 'version: "1.2.0"'}
    )
    answer = ask(p, to, version="1.2.0")

    assert isinstance(answer, Decision)
    (reading,) = answer.enrollment.readings["test"]
    assert reading.valid_until == MONDAY + 24 * HOUR


def test_moving_back_is_the_same_act() -> None:
    p = staying()
    first = p.program
    moved(p, second({"      extra: {by: [nurse], record: answer, optional: true}\n": ""}))
    p.wait("1 h")

    answer = ask(p, first, version="1.0.0")

    assert isinstance(answer, Decision)
    assert answer.enrollment.digest == first.digest
    assert any(item.step == "extra" for item in answer.enrollment.items.values()) is False


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"  stay:\n": "  ward:\n", "to: stay": "to: ward"}, "there is no phase stay"),
        ({"      plan: {by: [doctor], record: note, signed: true}":
          "      plan: {by: [doctor], record: answer, signed: true}"}, "plan is another step"),
        ({"weight:": "grams:"}, ""),
        ({"systolic: {type: integer, unit: mmHg": "systolic: {type: integer, unit: kPa",
          "200 mmHg": "30 kPa"}, "vitals.systolic is of another type or unit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    changes: dict[str, str], says: str
) -> None:
    p = staying()
    if not says:
        assert isinstance(ask(p, second(changes)), Decision)
        return

    assert any(says in each for each in misfits(p, second(changes)))


def test_what_waits_for_a_signature_keeps_its_step() -> None:
    p = staying()
    p.do("record plan", text="rest", by="doctor")

    gone = second({"      plan: {by: [doctor], record: note, signed: true}\n": ""})

    assert misfits(p, gone) == ["plan is another step, or none"]


def test_a_booking_keeps_its_kind_of_session() -> None:
    p = staying()
    p.do("book drip", given={"for": p.now + HOUR})
    assert isinstance(ask(p, second()), Decision)
    other = second({"session: drip": "session: drop", "  drip:\n": "  drop:\n"})

    assert "there is no session drip" in misfits(p, other)


def test_nobody_is_moved_while_a_session_is_under_way() -> None:
    p = staying()
    p.do("start drip")

    answer = ask(p, second())

    assert isinstance(answer, Refusal)
    assert [r.code for r in answer.reasons] == ["session-under-way"]


def test_what_is_kept_apart_stays_apart() -> None:
    apart = {"      talk: {by: [nurse], record: answer}":
             "      talk: {by: [nurse], record: answer, read_by: [nurse]}"}  # fmt: skip
    p = Patient(second(apart))
    to = second({'version: "1.0.0"': 'version: "1.2.0"'})

    answer = ask(p, to, version="1.2.0")

    assert isinstance(answer, Refusal)
    assert "others may read talk" in answer.explanation
    p.do("record talk", word="two")
    answer = ask(p, second({**apart, 'version: "1.0.0"': 'version: "1.2.0"'}), version="1.2.0")
    assert isinstance(answer, Decision)
    (changed,) = [x for x in answer.events if isinstance(x, e.VersionChanged)]
    assert for_reader(p.program, c.Actor("d", {"doctor"}), changed) != changed or not changed.values


def test_a_version_is_asked_for_by_those_who_decide_with_a_reason_and_exists() -> None:
    p = staying()

    def codes(answer: Decision | Refusal) -> list[str]:
        assert isinstance(answer, Refusal)
        return [reason.code for reason in answer.reasons]

    assert codes(ask(p, second(), by="nurse")) == ["wrong-role"]
    assert codes(ask(p, second(), reason="")) == ["reason-missing"]
    assert codes(ask(p, None)) == ["unknown-version"]
    assert codes(ask(p, second(), version="2.0.0")) == ["unknown-version"]
    assert codes(ask(p, p.program, version="1.0.0")) == ["that-version"]
    p.around = replace(p.around, signed_only=True, program=Register())
    assert codes(ask(p, second())) == ["not-signed-off"]


def test_lateness_calls_as_the_other_version_says() -> None:
    p = staying()
    quiet = ", when_late: {tell: [doctor], answer_within: 1 h}"

    moved(p, second({quiet: ""}))
    p.wait("8 h")

    assert p.events(e.AlertRaised) == []


def test_a_call_that_the_other_version_does_not_know_goes_to_those_who_decide() -> None:
    p = staying()
    p.do("record baseline", systolic=210)
    cut = FIRST[FIRST.index("alerts:") :]

    moved(p, second({cut: ""}))
    p.wait("1 h")

    assert "unanswered-call" in [x.code for x in p.events(e.DeviationNoted)]


def test_what_was_decided_by_another_version_is_not_judged_again_by_this_one() -> None:
    p = staying()
    moved(p, second({"to: stay, when: always": "to: stay, when: weigh.weight >= 50 kg"}))

    p.do("correct weigh", weight="40", reason="typed wrong")

    assert p.events(e.DecisionQuestioned) == []


def test_a_record_whose_form_is_gone_stays_and_is_not_corrected_here() -> None:
    p = staying()
    gone = {"      talk: {by: [nurse], record: answer}\n": "",
            "      extra: {by: [nurse], record: answer, optional: true}\n": ""}  # fmt: skip
    text = source(FIRST)
    start = text.index("  answer:\n")
    form = text[start : text.index("  test:\n", start)]
    moved(p, second({**gone, form: ""}))

    assert p.codes("correct talk", word="one", reason="x") == ["unknown-record"]
    assert [x.step for x in p.log if isinstance(x, e.ObservationRecorded)] == ["weigh", "talk"]


def test_a_fault_of_a_version_is_looked_at_for_each_who_goes_by_it() -> None:
    p = staying()

    p.act(c.Flag("1.0.0", "the threshold was wrong"), by="doctor")
    p.act(c.Flag("0.9.0", "another fault"), by="doctor")

    assert [x.code for x in p.events(e.DeviationNoted)] == ["version-flagged"]
    assert p.is_open("version-flagged")
    answer = p.ask(c.Flag("1.0.0"), by="doctor")
    assert isinstance(answer, Refusal)
    assert answer.code == "reason-missing"


def test_history_of_an_earlier_change_is_no_history_of_settlements() -> None:
    p = staying()
    moved(p, second())
    p.past = [Past(x.recorded, x.event) for x in p.past]
    again = second({'version: "1.0.0"': 'version: "1.2.0"'})

    answer = ask(p, again, version="1.2.0")

    assert isinstance(answer, Decision)
    assert answer.enrollment.settled == p.s.settled


TRACKS = """
start: stay
decided_by: [doctor]
orders:
  calming: {drug: lorazepam, route: oral, by: [doctor], amount: {from: 1 mg, to: 4 mg}, lasts: 7 d, source: practice}
groups:
  circle: {capacity: 4, lasts: 1 h, by: [nurse], source: practice}
medicines:
  lorazepam: {by: [nurse], order: calming}
phases:
  stay:
    admits: true
    tracks:
      body:
        steps:
          baseline: {by: [nurse], record: vitals}
      mind:
        steps:
          talk: {by: [nurse], record: answer, group: circle}
    next: [{to: well, when: always}]
"""  # noqa: E501


def of_tracks(changes: Mapping[str, str]) -> Program:
    text = source(TRACKS)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    text = text.replace('version: "1.0.0"', 'version: "1.1.0"')
    return compile_files({"x/x.yaml": text}, "x/x.yaml")


def test_a_track_is_not_added_where_nobody_would_enter_it() -> None:
    p = Patient(program(TRACKS))
    more = (
        "    tracks:\n      sleep:\n        steps:\n          rest: {by: [nurse], record: note}\n"
    )

    assert misfits(p, of_tracks({"    tracks:\n": more})) == [
        "stay has another track, which nobody would enter"
    ]


def test_an_order_in_force_stays_an_order_of_the_same() -> None:
    p = Patient(program(TRACKS))
    p.do("order calming", by="doctor", amount="2 mg")

    other = {"drug: lorazepam": "drug: diazepam"}
    assert misfits(p, of_tracks(other)) == ["calming is an order of something else, or none"]
    assert isinstance(ask(p, of_tracks({"to: 4 mg": "to: 3 mg"})), Decision)


def test_a_seat_in_a_group_keeps_its_kind_of_group() -> None:
    p = Patient(program(TRACKS))
    p.look()
    waits = e.GroupWaitlisted("g-1", "circle", "stay.1/mind.1/talk.1", p.now)
    p.s = replay([waits], p.s)

    assert isinstance(ask(p, of_tracks({})), Decision)
    other = of_tracks({"circle": "ring"})
    assert "there is no group circle" in misfits(p, other)
