"""The tables of the language manual, made from the code so that they cannot drift from it.

A table stands in the manual between `<!-- table: NAME -->` and `<!-- end -->`.
`python -m kat_workflow.manual programs/README.md` writes all of them anew; a test compares.
What the code does not say itself (what a verb means, what a key of a scenario is for) is said
here, once, and a word that is missing or too many is a KeyError.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from kat_workflow import scenarios
from kat_workflow.enrollment import commands
from kat_workflow.enrollment.refusals import DEVIATIONS, REFUSALS
from kat_workflow.language import schema
from kat_workflow.language.compiler import STANDARD_ENDS, WITHOUT_WORK
from kat_workflow.language.findings import EXPLAINED
from kat_workflow.language.grammar import PATTERNS
from kat_workflow.program import gates, units

__all__ = ["TABLES", "refreshed", "table"]

_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """A manual with all its tables made anew. Raises KeyError for a table that does not exist."""
    return _MARKED.sub(lambda found: f"{found[1]}{table(found[2])}{found[4]}", text)


def table(name: str) -> str:
    """One table as Markdown, with an empty line on either side."""
    made = re.sub(r"\n{3,}", "\n\n", TABLES[name]().strip())
    return f"\n{made}\n\n"


def _rows(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table: `head` holds the names of the columns with ` | ` between them."""
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _keys() -> Mapping[str, str]:
    """The table of each mapping with fixed keys, by its name in small letters with hyphens."""
    parts = re.split(r"^### (.+)$", schema.tables(), flags=re.MULTILINE)[1:]
    return {
        title.lower().replace(" ", "-"): f"### {title}\n{body}"
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }


def _key_table(name: str) -> Callable[[], str]:
    return lambda: _keys()[name]


def _kinds() -> str:
    said = {
        "duration": ("`15 min`, `24 h`, `3 d`", "A length of time: whole number, space, unit."),
        "clock": ('`"09:00"`', "A clock time of the site."),
        "span": ("`program day`, `24 h`", "The time over which a cap counts."),
        "name": ("`day_review`, `phq9`", "A name that you give: small letters, digits, `_`."),
        "id": ("`detox-4-day`", "The id of a program: a name that may hold hyphens."),
    }
    return _rows("kind | example | meaning", ((kind, *said[kind]) for kind in PATTERNS))


def _units() -> str:
    """Every unit by what it measures, with the clinic's other words for it."""
    also: dict[str, list[str]] = {}
    for word, code in units._ALIASES.items():
        also.setdefault(code, []).append(word)
    lines: dict[str, list[str]] = {}
    for code, unit in units._PARTS.items():
        words = [w for w in also.pop(code, []) if w != code]
        plain = not re.search(r"[\[{]", code)
        shown = [code, *words] if plain else [*words, code]
        lines.setdefault(unit.measures, []).append(" = ".join(f"`{word}`" for word in shown))
    for code, words in also.items():
        measured = units.unit(code) or units.NONE
        lines.setdefault(measured.measures, []).append(_code([code, *words]).replace(", ", " = "))
    return _rows("measures | units", ((what, "; ".join(shown)) for what, shown in lines.items()))


def _grammar() -> str:
    doc = gates.__doc__ or ""
    lines = [line[4:] for line in doc.splitlines() if line.startswith("    ")]
    return "\n".join(["```text", *lines, "```"])


def _reserved() -> str:
    own = _code(sorted(gates.RESERVED))
    return (
        "A name is made of small letters, digits and `_`, and begins with a letter. "
        f"These words cannot be names: {own}."
    )


def _session_words() -> str:
    return _rows(
        "after | words",
        [
            ("`count of SESSION …`", _code(gates.SESSION_COUNTS)),
            ("`time since SESSION …`", _code(gates.SESSION_MOMENTS)),
        ],
    )


def _ends() -> str:
    rows = (
        (f"`{kind}`", _END[kind], "no" if kind in WITHOUT_WORK else "yes") for kind in STANDARD_ENDS
    )
    return _rows("end | meaning | work after leaving", rows)


_END: Mapping[str, str] = {
    "against_advice": "The patient leaves against medical advice.",
    "administrative": "The clinic ends the stay: rules, money, closing.",
    "transferred": "The patient is treated elsewhere from now on.",
    "withdrew_consent": "The patient takes back consent to treatment.",
    "lost_to_follow_up": "The patient cannot be reached any more.",
    "other": "The patient has left for another reason, or nobody knows why.",
    "died": "The patient has died.",
    "entered_in_error": "The patient was enrolled by mistake.",
}


# What may be asked and told

_VERB: Mapping[str, str] = {
    "done": "report | A task is done, a consent is given, a call is answered.",
    "decline": "report | The patient refuses the step, or the consent.",
    "skip": "request | The step is left out this time.",
    "miss": "report | The step was not done in its time.",
    "waive": "request | The clinic does without the step.",
    "withhold": "request | The clinic does not give what was planned.",
    "unable": "report | The step could not be done.",
    "enroll": "request | A patient begins the program.",
    "record": "report | The form of a step is filled in. `with:` holds its fields.",
    "correct": "report | A record was wrong: `with:` holds what it says instead, and why. What is "
    "left out stays.",
    "retract": "report | A record was entered in error. Nothing reads it any more.",
    "addend": "report | Something is added to a record, and nothing in it contradicted.",
    "sign": "report | What was recorded is signed.",
    "claim": "request | Somebody takes an open item on. Others of the role may still do it.",
    "unclaim": "request | The item is nobody's in particular again.",
    "assign": "request | The item is given to a person: `assign vitals to bo`.",
    "hand over": "request | What one has taken on goes to another person: `hand over vitals to "
    "bo`, `hand over all to bo`.",
    "revoke": "report | The patient takes a consent back.",
    "book": "request | A session is booked, or its booking is moved. `for:` says when.",
    "cancel": "report | A session will not take place. Nothing was given. `cause:` is `patient`, "
    "`clinic`, `unfit` (on the day) or `no-show`.",
    "arrive": "report | The patient is there for the session.",
    "start": "request | The session starts. `present:` names further roles in the room.",
    "dose": "report | Something was given: `amount:`, `rate:` or both. "
    "`last: true` says that no more follows.",
    "pause": "report | Giving was paused.",
    "resume": "request | Giving goes on.",
    "end dosing": "report | No more is given. `amount:` is the whole amount.",
    "abort": "report | The session ended early.",
    "release": "request | The patient may leave the session. Whoever says so signs it.",
    "go": "request | Somebody chooses the way on, or sends the patient on an excursion.",
    "move": "report | The patient is in this phase, whatever the gates say.",
    "override": "request | A gate counts as true for a while.",
    "hold": "request | Nothing moves and nothing starts until the hold is lifted. "
    "`everywhere: true`: in none of the patient's programs.",
    "lift": "request | A hold is over. With one hold the name may be left out.",
    "leave": "report | The patient has left, was transferred, has died.",
    "change version": "request | The patient goes on by another version of the program.",
    "transfer": "request | The treatment goes on at another site. Nobody is discharged.",
    "admit": "report | The patient was admitted on this date in the past: `admit 2026-03-02`.",
    "attest": "report | What was found out elsewhere answers a step. `values:` holds its fields, "
    "`source:` where it stands; it is told with `occurred:`.",
    "adopt": "report | What another program handed over answers a step.",
    "offer": "request | Evaluations are handed over to a program: `offer residential-30-day`.",
    "join": "request | The patient gets a seat in a [group](#groups), or waits for one. "
    "`item:` names the step, where there are several.",
    "drop": "report | The patient will not take part in a group.",
    "cosign": "report | A second person signs.",
    "witness": "report | A second person has watched, and signs that.",
    "order": "request | A prescriber orders a drug: `amount:` in all, `bolus:` the part that goes "
    "first.",
    "stop order": "report | An order is no longer in force. `reason:` says why.",
    "check": "report | A second person has checked what is about to be given.",
    "draw": "report | Some of a controlled drug was drawn: `amount:`, from which `lot:`.",
    "waste": "report | Some of what was drawn was wasted.",
    "return": "report | Some of what was drawn went back into the cupboard, untouched.",
    "witness waste": "report | A second person saw what was wasted.",
    "give": "report | A medicine was given as needed: `amount:`, and why.",
}
_DETAIL = {"booked_for": "for"}
_NOT_WRITTEN = {
    "values",
    "signed",
    "also",
    "cosign",
    "witness",
    "outcome",
    "enrollment",
    "patient",
    "site",
    "on",
    "evaluations",
}


def _verbs() -> str:
    acts = {verb: act for act, verb in commands._VERB_OF_ACT.items()}
    rows = []
    for verb in commands.VERBS:
        kind, meaning = _VERB[verb].split(" | ")
        settles = verb in commands._OUTCOME_OF_VERB
        keys = _keys_of(commands.Settle if settles else acts.get(verb, commands.Sign))
        named = next((key for key in commands._NAMED if key in keys), "")
        details = [
            _DETAIL.get(key, key) for key in keys if key != named and key not in _NOT_WRITTEN
        ]
        rows.append((f"`{verb}`", kind, _code(details) or "nothing", meaning))
    return _rows("verb | kind | `with:` may hold | meaning", rows)


def _keys_of(act: type) -> list[str]:
    return [field.name for field in msgspec.structs.fields(act)]


# Scenarios

_TOP: Mapping[str, str] = {
    "scenario": "**Required.** What the story tells, in one sentence.",
    "about": "A remark for the reader.",
    "program": "The id of the program. Without it: the name of the folder around `scenarios/`.",
    "starts": "**Required.** Date and clock time of the first step: `2026-03-02 09:00`.",
    "site": "Where it plays: `{name: main, zone: America/Los_Angeles}`. Else the zone is UTC. "
    "`closed:` lists dates, `quiet:` the two clock times of the quiet hours.",
    "sites": "Other sites of the story: `{coast: {zone: America/New_York}}`. `day 2 08:00` is the "
    "clock of `site:`.",
    "people": "Who takes part: name, and a list of roles, or `{roles: […], name: …, until: {ROLE: "
    "…}, sites: […], covers: {ROLE: PERSON}}`. Else a role's name does as a person.",
    "steps": "**Required.** What happens, one thing after the other.",
}
_STEP: Mapping[str, str] = {
    "enroll": "Enrolls the patient; the value is the patient's number.",
    "program": "With `enroll`: another program than that of the story.",
    "do": "A phrase, verb and name: `record vitals`, `start nad_infusion`. See [verbs](#verbs).",
    "receive": "Some of a lot comes into the site's drug cupboard: `{drug: …, lot: …, "
    "amount: 500 mg, supplier: …, expires: 2027-01-31}`.",
    "merge": "Two numbers turn out to be one patient: `{duplicate: P-2, into: P-1, reason: …}`.",
    "unmerge": "And were two after all, said in the same way.",
    "pass": "Only time passes: `pass: 4 h` or `pass: until day 2 08:00`.",
    "at": "When it happens: `day 2 08:00` or `2026-03-03 08:00`. Day 1 is the date of `starts`.",
    "after": "How long after the step before: `after: 30 min`.",
    "by": "Who does it: a name from `people:`, or a role.",
    "role": "The role acted in, where a person has several.",
    "with": "The fields of the form, or the details of the verb.",
    "signed": "`true`: it is signed at once.",
    "emergency": "A reason to break the glass: it is acted first and documented after.",
    "occurred": "When it really happened, if it is written down later.",
    "expect": "What must be so afterwards. See below.",
    "as": "What the patient is called in this story; without it the number under `enroll`.",
    "for": "Which patient it is about from here on. Without it: the one before.",
    "group": "What is done with a group. See below.",
    "refused": "That it is refused, and why: a code, or `{code: …, gate: …, says: …}`.",
}
_GROUP: Mapping[str, str] = {
    "plan": "Plans a group of this kind: `{plan: circle, when: day 2 10:00, room: mats}`.",
    "as": "What the group is called in this story; without it the kind.",
    "when": "When it meets. Without it: now.",
    "room": "Where it meets.",
    "in": "Which group it is about from here on. Without it: the one before.",
    "join": "This patient joins.",
    "step": "The step that is joined for, where there are several.",
    "drop": "This patient drops out, for a `reason`.",
    "reason": "Why.",
    "move": "The group meets at another time (and in another `room`).",
    "start": "The group starts, with these persons present beside the one who does it.",
    "regardless": "Why it starts although it is too small or short of staff.",
    "do": "A phrase that is carried out for each member: `{do: arrive ketamine}`.",
    "call_off": "The group does not take place, for this reason.",
}
_EXPECT: Mapping[str, str] = {
    "phase": "The patient is in this phase, or in all of these: `stay`, `[stay, day]`.",
    "open": "These steps are open, or calls and reviews about these matters (others may be too).",
    "not_open": "These steps are not open.",
    "late": "Exactly these steps are late. `[]`: none is.",
    "settled": "How steps ended: `{craving_score: declined}`.",
    "missed": "These steps were missed since the last `expect:`.",
    "alerts": "These calls were made since the last `expect:`: `late.vitals`, or part of a name.",
    "escalated": "Exactly these calls went on to others since the last `expect:`. `[]`: none did.",
    "deviations": "These deviations were noted since the last `expect:`. `[]`: none.",
    "questioned": "These decisions came into question since the last `expect:`: "
    "`start nad_infusion`, `move screening`. `[]`: none did.",
    "sessions": "How many sessions: `{nad_infusion: {started: 1, held: 1, aborted: 0}}`.",
    "assigned": "Whose items are: `{vitals: bo}`. Empty: nobody's in particular.",
    "holds": "How many holds stand.",
    "day": "The program day.",
    "standing": "`applied`, `active`, `discharged` or `closed`.",
    "end": "The end that was reached. Empty: none.",
    "group": "How the group stands: `{state: started, members: 3, waiting: 1, offered: 0}`.",
    "facts": "The last recorded values, as corrected: `{vitals.systolic: 132}`.",
}


def _same(said: Mapping[str, str], known: Iterable[str]) -> str:
    if said.keys() != set(known):
        raise KeyError(*sorted(said.keys() ^ set(known)))
    return _rows("key | meaning", ((f"`{key}`", meaning) for key, meaning in said.items()))


# Codes


def _titles() -> Iterator[tuple[str, str]]:
    for code, explained in EXPLAINED.items():
        yield f"`{code}`", explained.title


def _explained(codes: Mapping[str, str]) -> str:
    return _rows("code | meaning", ((f"`{code}`", codes[code]) for code in sorted(codes)))


TABLES: Mapping[str, Callable[[], str]] = {
    **{f"keys-{name}": _key_table(name) for name in _keys()},
    "kinds": _kinds,
    "units": _units,
    "gate-grammar": _grammar,
    "gate-words": _reserved,
    "session-words": _session_words,
    "ends": _ends,
    "verbs": _verbs,
    "scenario": lambda: _same(_TOP, scenarios._TOP),
    "scenario-step": lambda: _same(_STEP, scenarios._STEP),
    "scenario-group": lambda: _same(_GROUP, scenarios._GROUP),
    "scenario-expect": lambda: _same(_EXPECT, scenarios._EXPECT),
    "findings": lambda: _rows("code | meaning", _titles()),
    "refusals": lambda: _explained(REFUSALS),
    "deviations": lambda: _explained(DEVIATIONS),
}
"""Every table by its name in the manual."""


if __name__ == "__main__":
    for given in sys.argv[1:]:
        manual = Path(given)
        manual.write_text(refreshed(manual.read_text(encoding="utf-8")), encoding="utf-8")
