"""What can be wrong with a program file: codes, their explanations, and findings as text.

Every code has its title and its paragraph in `EXPLAINED`, which is what `kat explain CODE`
prints. A finding with a code that is not explained cannot be made, so adding one is one entry
here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import frozen

from kat_workflow.errors import Finding, Place

__all__ = ["EXPLAINED", "Explanation", "closest", "explain", "finding", "render"]


@frozen
class Explanation:
    """What a code means: `text` says why it is a finding and what to do, with an example."""

    title: str
    text: str


def finding(  # noqa: PLR0917
    code: str,
    place: Place,
    message: str,
    hint: str = "",
    source: str = "",
    width: int = 1,
    severity: Literal["error", "warning"] = "error",
) -> Finding:
    """A finding; KeyError if its code is not explained here."""
    EXPLAINED[code]
    return Finding(code, place, message, hint, source, width, severity)


def closest(word: str, known: Iterable[str]) -> str:
    """`did you mean "nurse"?`, or "" where nothing known is near."""
    if len(word) > 60:
        return ""
    near = difflib.get_close_matches(word, list(known)[:500], n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def explain(code: str) -> str:
    """The title and the paragraph of a code; a near code is suggested where there is none."""
    found = EXPLAINED.get(code)
    if found is None:
        near = closest(code, EXPLAINED)
        return f"{code}: no finding has this code" + (f"; {near}" if near else "")
    return f"{code}: {found.title}\n\n{found.text}"


def render(found: Finding, mark: str = "^") -> str:
    """A finding as text: what is wrong, the line of the file, a mark under it, the way out."""
    label = "warning " if found.severity == "warning" else ""
    lines = [f"{found.place}: {label}{found.code}: {found.message}"]
    if found.source:
        source, column, width = _window(found)
        number = str(found.place.line)
        blank = " " * len(number)
        lines.append(f" {number} | {source}")
        lines.append(f" {blank} | {' ' * column}{mark * width}")
    if found.hint:
        lines.append(f"   {found.hint}")
    return "\n".join(lines)


def _window(found: Finding, widest: int = 120) -> tuple[str, int, int]:
    """The part of a long line around what is meant, where that begins in it, and its width."""
    source, column = found.source, found.place.column - 1
    first = 0 if column + found.width <= widest else max(column - 20, 0)
    shown = source[first : first + widest]
    start = column - first
    left = "…" if first else ""
    right = "…" if len(source) > first + widest else ""
    width = max(min(found.width, len(shown) - start), 1)
    return left + shown + right, start + len(left), width


def _explained(*entries: tuple[str, str, str]) -> Mapping[str, Explanation]:
    return {code: Explanation(title, text) for code, title, text in entries}


EXPLAINED: Mapping[str, Explanation] = _explained(
    # --- the text of a file -------------------------------------------------------------------
    (
        "too-long",
        "The file is too long.",
        "A program is a few hundred lines. A file of more than 512 KiB or 50000 keys and values "
        "is not read any further. Put instruments and forms into files of their own and name "
        "them under `files:`.",
    ),
    (
        "too-deep",
        "Too many lists and mappings lie inside each other.",
        "More than 32 levels are not read. The deepest program that makes sense, a phase with "
        "tracks with phases with steps, has fewer than 20; most often a bracket was not closed.",
    ),
    (
        "not-text",
        "The file is not UTF-8 text.",
        "Program files are UTF-8 text. A word processor's file, a picture or a text in an old "
        "encoding is not. Save it from a text editor as UTF-8.",
    ),
    (
        "tab",
        "A tab stands in the file.",
        "Editors show tabs in different widths, so that indentation would look different to "
        "each reader. Use spaces, two for each level.",
    ),
    (
        "invisible-character",
        "A character stands here that nobody can see.",
        "Control characters, characters without a width and characters that turn the direction "
        "of writing make a file read differently from how it looks. They often come with text "
        "that was copied from elsewhere. Delete the character and type the text anew.",
    ),
    (
        "empty-file",
        "The file holds nothing.",
        'A program begins with `language: 1`, `program: its-id`, `version: "1.0.0"` and '
        "`title: Its name`.",
    ),
    (
        "yaml-syntax",
        "The file is not valid YAML at this place.",
        "A key ends in a colon and a space, list items begin with `- `, and what belongs "
        "together has the same indentation. Text that holds `: `, or that begins with one of "
        "`[ { & * ! | > % @` or a quote, is put in quotes. Nothing below the place is read, so "
        "more findings may follow once it is mended.",
    ),
    (
        "duplicate-key",
        "A key stands twice in the same mapping.",
        "Only one of the two could count, and a reader could not see which. Keep one, or rename "
        "the other: two steps of a phase have two names.",
    ),
    (
        "key-not-text",
        "A key is not a name.",
        "Keys are words of the language or names that you chose, such as `vitals`. Numbers, "
        "`true`, `null` and brackets cannot be keys. If a text was meant that begins with a "
        "bracket, put it in quotes.",
    ),
    (
        "merge-key",
        "`<<` is not part of the language.",
        "YAML's merge key would bring in keys from another place. Everything a program relies on "
        "is written where it counts, so write the keys out.",
    ),
    (
        "anchor",
        "`&name` and `*name` are not part of the language.",
        "YAML's anchors repeat a part of a file elsewhere. A reader would have to look in two "
        "places. Write it out; numbers that are used several times belong under `limits:`, "
        "conditions under `gates:`. Text that begins with `&` or `*` is put in quotes.",
    ),
    (
        "tag",
        "`!name` is not part of the language.",
        "YAML's tags say what type a value has. Here the key says it. Remove the tag; text that "
        "begins with `!` is put in quotes.",
    ),
    (
        "directive",
        "A line that begins with `%` is not part of the language.",
        "YAML's directives change how a file is read. The language version is said by "
        "`language: 1`. Remove the line.",
    ),
    (
        "several-documents",
        "The file holds several documents.",
        "A file is one program, one instrument or one set of forms. Remove the line `---`, or "
        "put what follows into a file of its own.",
    ),
    (
        "odd-number",
        "This is no number that a program can use.",
        "Numbers are written as people do: `12`, `-3`, `0.5`. Not a number, infinite, "
        "hexadecimal and very long numbers are refused. If it is text, put it in quotes.",
    ),
    # --- keys and values ----------------------------------------------------------------------
    (
        "unknown-key",
        "The language has no such key here.",
        "Each mapping has fixed keys; the tables of the manual list them. A key that is not "
        "known is never ignored, because a mistyped `only_if` would open a step to everybody. "
        "Often it is mistyped, or belongs one level up or down.",
    ),
    (
        "missing-key",
        "A key is missing that cannot be left out.",
        "Some keys have no sensible default: a step without `by:` would have nobody who may do "
        "it. The message names what is missing; the tables of the manual say what it means.",
    ),
    (
        "wrong-type",
        "The value is of another type than the key asks for.",
        "Every key has one type. A list is written `[nurse, prescriber]` also when it has one "
        "item; yes or no is written `true` or `false`; a whole number stands without quotes and "
        "unit.",
    ),
    (
        "bad-duration",
        "This is no length of time.",
        "A length of time is a whole number, a space and `s`, `min`, `h`, `d` or `wk`: `15 min`, "
        "`24 h`, `3 d`. `24 h` is elapsed time; `1 d` is the same clock time on the next date.",
    ),
    (
        "bad-clock",
        "This is no clock time.",
        "A clock time of the site is written with two digits each, from `00:00` to `23:59`: "
        "`09:00`, `21:30`.",
    ),
    (
        "bad-name",
        "This cannot be a name.",
        "Names are small letters, digits and underscores and begin with a letter: `day_review`, "
        "`phq9`. The id of a program may also hold hyphens, as its file does: `detox-4-day`. "
        "`true`, `false` and `null` cannot be names.",
    ),
    (
        "bad-quantity",
        "This is no number with a unit.",
        "An amount is a number, a space and a unit: `180 mmHg`, `500 mg`, `8 points`.",
    ),
    (
        "not-one-of",
        "The value is not one of those that the key knows.",
        "Some keys know a few words only, such as `runs`, `pauses` and `restarts` for `on_hold:`. "
        "The message lists them.",
    ),
    (
        "not-executed-yet",
        "The language has this key, but this version does not carry it out yet.",
        "The key is read and explained so that programs can be written ahead. As long as it is "
        "not carried out a program that uses it is refused, so that nothing it says is silently "
        "left out. Say it with other keys, or wait for a later version.",
    ),
    (
        "wrong-language",
        "The file is written in a language version that this engine does not know.",
        "This engine reads `language: 1`. A newer number needs a newer engine.",
    ),
    # --- names --------------------------------------------------------------------------------
    (
        "unknown-name",
        "Nothing has this name.",
        "The name is looked up in the tables of the program (phases, steps, sessions, gates, "
        "limits, consents, ends, forms) and stands in none of them. Most often it is mistyped.",
    ),
    (
        "unknown-role",
        "No role has this name.",
        "Roles are listed under `roles:` with their titles. Add the role there, or use one of "
        "those that are listed.",
    ),
    (
        "unknown-phase",
        "No phase has this name.",
        "`start:` names one of the phases beside it.",
    ),
    (
        "unknown-target",
        "There is no way to this place.",
        "`to:` names a phase beside this one, an end, `finish` (the phase around is finished) "
        "or, in an excursion, `back`. A phase inside another phase is entered through that phase.",
    ),
    (
        "unknown-step",
        "No step has this name.",
        "Steps are named where they stand: in phases, tracks, sessions, excursions and "
        "`work_after_leaving:`.",
    ),
    (
        "unknown-form",
        "No form or instrument has this name.",
        "`record:` names a form under `forms:`, or one that stands in a file named under `files:`.",
    ),
    (
        "unknown-field",
        "The form has no such field or score.",
        "A gate reads `form.field` or `step.field`; the field or the score must stand in the "
        "form that the step records.",
    ),
    (
        "unknown-option",
        "The field has no such answer.",
        "`is` and `has` compare a choice with one of its options, a yes-or-no field with `yes` or "
        "`no`, a score with the name of one of its bands.",
    ),
    (
        "unknown-source",
        "No source has this name.",
        "Sources are listed under `sources:` with their title and trust. Name one of them.",
    ),
    (
        "unknown-consent",
        "No consent has this name.",
        "Consents are listed under `consents:`. `obtain:` and `consent … in force` name one.",
    ),
    (
        "unknown-session",
        "No kind of session has this name.",
        "Kinds of session are listed under `sessions:`.",
    ),
    (
        "unknown-gate",
        "No gate has this name.",
        "Gates are listed under `gates:` with their sentence and condition.",
    ),
    (
        "unknown-limit",
        "No limit has this name.",
        "Limits are listed under `limits:` with their number, unit and source.",
    ),
    (
        "unknown-end",
        "No end has this name.",
        "Ends are listed under `ends:`; those that every program has, such as `died`, need not be.",
    ),
    (
        "unknown-program",
        "The program that is named here is not found.",
        "`contains:` names the id of a program whose file is `<id>/<id>.yaml`, or "
        "`<id>/<id>@<version>.yaml` for an older version.",
    ),
    (
        "unknown-file",
        "The file that is named here is not found.",
        "`files:` names instruments and forms by their place in the programs folder: "
        "`instruments/ciwa-ar.yaml`.",
    ),
    (
        "duplicate-name",
        "Two things have the same name.",
        "Phases, steps, sessions, gates, limits, consents, ends and forms each have a name that "
        "is theirs alone in the whole program, because gates, commands and the record name them. "
        "Rename one; only a step and the form it records may share a name.",
    ),
    (
        "unused",
        "Nothing uses this.",
        "A limit, gate, consent, form or step that nothing refers to is most often a forgotten "
        "rule. Use it or take it out.",
    ),
    # --- gates --------------------------------------------------------------------------------
    (
        "gate-syntax",
        "The gate cannot be read.",
        "A gate is made of comparisons (`vitals.systolic < high_systolic`), `and`, `or`, `not` "
        "and brackets. The mark stands under the first word that does not fit.",
    ),
    (
        "mixed-and-or",
        "`and` and `or` are mixed without brackets.",
        "`a and b or c` could be read in two ways. Write `(a and b) or c`, or `a and (b or c)`.",
    ),
    (
        "gate-type",
        "The two sides of a comparison do not go together.",
        "Numbers are compared with `< <= > >= = !=`, choices with `is`, several choices with "
        "`has`. Text cannot be compared.",
    ),
    (
        "gate-loops",
        "Gates name each other in a circle.",
        "A gate may use other gates, but not itself by a detour.",
    ),
    (
        "unit-missing",
        "A number stands without its unit.",
        "A field with a unit is compared with a number with a unit: `vitals.systolic < 180 mmHg`. "
        "Better still, name the number under `limits:`.",
    ),
    (
        "unknown-unit",
        "This unit is not known.",
        "Units are those of UCUM, and the clinic's own words for some: mmHg, /min, mg, mcg, g, "
        "kg, mL, mg/h, mg/kg, points, %, Cel, cm, IU.",
    ),
    (
        "unit-mismatch",
        "The units measure different things.",
        "Millimetres of mercury cannot be compared with milligrams. Units of the same kind (mg "
        "and g) are converted exactly.",
    ),
    (
        "unread-fact",
        "Nothing in reach records this.",
        "A gate reads a field in the innermost place around it that has a step recording it. If "
        "no step does, the gate could never be known. Add the step, or read it with `last 1 of` "
        "if it is recorded elsewhere.",
    ),
    # --- figures ------------------------------------------------------------------------------
    (
        "no-source",
        "A clinical number has no source.",
        "Every number that decides says where it comes from: `source:` on the limit, the step, "
        "the session or the field names an entry of `sources:`. A clinic may treat this warning "
        "as an error.",
    ),
    (
        "impossible-range",
        "The range cannot be met.",
        "The lower end lies above the upper end, or a number lies outside what its field can hold.",
    ),
    # --- structure ----------------------------------------------------------------------------
    (
        "ambiguous-step",
        "The step says more than one thing to do.",
        "A step records a form, obtains a consent or holds a session, and only one of them; "
        "with none of them it is a task that is ticked off.",
    ),
    (
        "ambiguous-phase",
        "The phase says more than one thing about what is inside.",
        "A phase has `phases:` with a `start:`, or `tracks:`, or `contains:`, or none of them.",
    ),
    (
        "unmapped-end",
        "An end of the contained program leads nowhere.",
        "Every end that the contained program declares is mapped under `ends:` to a phase beside "
        "this one, an end, or `finish`.",
    ),
    (
        "forms-differ",
        "Two files define a form of the same name differently.",
        "Forms are shared by name through all files of a program, so they must be the same.",
    ),
    (
        "unreachable",
        "No way leads here.",
        "No `start:` and no row of `next:` leads to this phase, or a row above holds always, so "
        "that this row is never asked.",
    ),
    (
        "no-way-out",
        "No end can be reached from here.",
        "From every phase some rows must lead on to an end; otherwise a patient could never leave.",
    ),
    (
        "program-loops",
        "Phases lead in a circle in which nothing waits.",
        "None of these phases has a required step or a time to wait for, so a patient would go "
        "round at once and for ever. Let one of them wait.",
    ),
)
