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

__all__ = ["EXPLAINED", "Explanation", "closest", "finding", "render"]


@frozen
class Explanation:
    """What a code means: `text` says why it is a finding and what to do, with an example."""

    title: str
    text: str


def finding(
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
        "`24 h`, `3 d`. `24 h` is elapsed time; `1 d` is the same clock time on the next date. A "
        "cap counts over `program day`, `24 h`, `enrollment` or `course`.",
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
        "language-too-new",
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
        "unknown-escalation",
        "No chain of calls has this name.",
        "Chains of calls are listed under `escalations:` at the top of the program.",
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
        "unknown-group",
        "No kind of group has this name.",
        "Kinds of group are listed under `groups:`.",
    ),
    (
        "group-elsewhere",
        "Something is to be done in a group in a place that cannot be.",
        "A group is joined by what a phase asks for: a step of the phase itself says `group:`, or "
        "the kind of session that the step holds does. Steps inside a session, and work after "
        "leaving, are each patient's own.",
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
        "unknown-order",
        "No order has this name.",
        "What may be ordered is listed under `orders:`. A dose, a medicine and a step that places "
        "an order name one.",
    ),
    (
        "unknown-ledger",
        "No ledger has this name.",
        "Ledgers of controlled drugs are listed under `ledgers:`.",
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
        "name-taken",
        "Two things have the same name.",
        "Phases, steps, sessions, gates, limits, consents, ends and forms each have a name that "
        "is theirs alone in the whole program, because gates, commands and the record name them. "
        "Rename one; only a step and the form it records may share a name.",
    ),
    (
        "renamed-twice",
        "A name of older versions is said of two things.",
        "`renamed_from:` says what something was called before, so that patients who go on "
        "by this version keep their place in it. A name that is still there, or that two things "
        "claim, would leave it open where they are.",
    ),
    (
        "renamed-container",
        "A phase that contains a program keeps its name.",
        "The phases, steps and sessions of the program inside are called after it: with another "
        "name in front they would all be others. Give the phase another `title:` instead.",
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
        "type-mismatch",
        "The word is of another kind than what is asked here.",
        "Numbers are compared with `< <= > >= = !=`, choices with `is`, several choices with "
        "`has`; a gate stands alone, a limit is compared with a fact, a step `is done`. Text "
        "cannot be judged. The way out is written beside the finding.",
    ),
    (
        "gate-cycle",
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
        "unit-unknown",
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
        "never-recorded",
        "Nothing records this.",
        "A gate that reads what no step ever records would be unknown for ever, and unknown "
        "opens nothing. Add a step with `record:`, or take the comparison out.",
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
        "shared-differs",
        "Two files mean different things by one name.",
        "Roles, sources and forms are shared by name between a program and those it contains, so "
        "they must say the same. Make them alike, or rename one.",
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
        "endless-cycle",
        "Phases lead in a circle in which nothing waits.",
        "None of these phases has a required step or a time to wait for, so a patient would go "
        "round at once and for ever. Let one of them wait.",
    ),
    # --- files, and the head of a program -----------------------------------------------------
    (
        "file-outside",
        "The file lies outside of the folder of programs.",
        "Everything that a program relies on lies in the folder of programs, so that it can be "
        "kept with every patient's record. Copy the file there and name it from that folder on: "
        "`instruments/phq-9.yaml`. Absolute paths, `..` and backslashes are not used.",
    ),
    (
        "file-kind",
        "The file is of another kind than is needed here.",
        "`files:` names instruments and files of forms. A whole program is run inside a phase: "
        "`contains: {program: detox-4-day, ends: {…}}`.",
    ),
    (
        "program-id",
        "The program is not called as its file.",
        "`detox-4-day` stands in `detox-4-day/detox-4-day.yaml` (an older version in "
        "`detox-4-day@1.0.0.yaml`), so that whoever reads its name knows where to look.",
    ),
    (
        "version-format",
        "This is no version, or not the one in the name of the file.",
        'A version is two to four numbers in quotes, such as `"1.0.0"`. A new version gets a '
        "higher number; patients who began with an older one stay in it.",
    ),
    (
        "name-reserved",
        "The name is a word of the language.",
        "`watch`, `given`, `round`, `always` and some more mean something in gates and in `to:`. "
        "A step or gate of the same name could not be told from them.",
    ),
    (
        "contains-itself",
        "The program would contain itself.",
        "A program inside itself never comes to its own end. Contain another one, or lead back to "
        "an earlier phase with `next:`.",
    ),
    (
        "unused-session",
        "No step holds a session of this kind.",
        "A kind of session is only booked through a step of a phase with `session:`. Add the "
        "step, or take the session out.",
    ),
    # --- variants and overlays ---------------------------------------------------------------
    (
        "base-version",
        "The variant does not say which version it is based on.",
        "`based_on: ketamine-assisted-therapy@1.0.0` names one version, that very one: a change "
        "of the base must never change a variant that nobody has looked at again.",
    ),
    (
        "unknown-base",
        "The program that this is a variant of is not there.",
        "`based_on:` names a program and a version: the newest stands in `id/id.yaml`, older "
        "ones in `id/id@1.0.0.yaml`. Keep the version that variants are based on beside the new "
        "one.",
    ),
    (
        "base-chain",
        "The variant is based on itself, or on too many others.",
        "A variant may be based on a variant, eight deep at most, but in the end on a program "
        "that is written out. Whoever reads one has to open them all.",
    ),
    (
        "change-kind",
        "The change does not say one thing.",
        "A change is `{set: …, to: …}` for what is there, `{add: …, to: …}` for what is not, or "
        "`{remove: …}`. `before:` says in front of which entry of a list something is added.",
    ),
    (
        "change-head",
        "The variant says this of itself.",
        "Its id, version, title, `about:` and overlays stand at the top of the variant's own "
        "file, not among its changes.",
    ),
    (
        "change-nowhere",
        "The base has nothing at this path.",
        "A path leads from the top of the base down: "
        "`phases.approval.steps.second_evaluation.due`. An entry of a list is named by itself "
        "(`sessions.kat_session.ready.sober`), a row of `next` by where it leads "
        "(`phases.approval.next.deferred`), any entry by its place (`alerts.1`). All paths are "
        "those of the base, so that what another change adds is written inside that change.",
    ),
    (
        "change-there",
        "What is added is there already.",
        "`add:` is for what the base does not have. To give it another value write `set:`.",
    ),
    (
        "change-list",
        "A list would come to lie inside a list.",
        "Lists never merge, so that nobody has to guess what came of two. `add:` adds one "
        "entry; write a change for each, or `set:` the whole list.",
    ),
    (
        "change-ambiguous",
        "Several entries of the list may be meant.",
        "Two rows of `next` may lead to one place. Name the entry by its place instead: the "
        "first is 1.",
    ),
    (
        "change-twice",
        "Two changes touch the same part.",
        "All paths are those of the base, and the order of changes means nothing. Say in one "
        "change what is to become of a part.",
    ),
    (
        "source-kept",
        "A limit has a new number and its old source.",
        "The source of the base says where the number of the base comes from. Set the limit "
        "with both (`{set: limits.planned_sessions, to: {is: 6, source: …}}`), or its source "
        "too.",
    ),
    (
        "overlay-for",
        "The overlay is for another program.",
        "`for:` names the program whose limits the file sets: the program itself or, for a "
        "variant, what it is based on.",
    ),
    (
        "overlay-twice",
        "Two overlays of one program set the same limit.",
        "Which of them counts would depend on their order. Take the limit out of one of them.",
    ),
    # --- what a gate can know -----------------------------------------------------------------
    (
        "not-in-scope",
        "The word means nothing in this place.",
        "`watch` and `given` belong to the session around a gate, `round` to a phase with "
        "rounds, `entering` to the phase around it. A gate that uses them works only in such a "
        "place. Elsewhere name the phase, or read the form: `last 1 of vitals.pulse`.",
    ),
    (
        "never-obtained",
        "No step obtains this consent.",
        "A consent that nobody asks for is never in force. Add a step with `obtain:`.",
    ),
    (
        "wrong-outcome",
        "The step or session never ends so.",
        "A step is `done`, or what its `may_be:` lists; sessions are counted as `held`, "
        "`started`, `counted` or `aborted` and remembered as `started`, `given` or `released`.",
    ),
    (
        "no-fact",
        "The comparison reads nothing about the patient.",
        "Two numbers compare alike for everybody and for ever. One side must be a fact.",
    ),
    (
        "gate-too-long",
        "The gate is too long to be understood.",
        "Give its parts names of their own under `gates:` and a sentence each. Whoever asks why "
        "a patient waits is then told in those sentences.",
    ),
    # --- steps --------------------------------------------------------------------------------
    (
        "by-nobody",
        "Nobody is named.",
        "A step, a call or a release without a role could be done by nobody. Name at least one "
        "role.",
    ),
    (
        "bad-anchor",
        "This is no moment that can be counted from.",
        "Times count from `opening`, `entering`, a step (`intake done`), a session "
        "(`kat_session released`) or a recorded instant (`intake.last_use`); the moments of a "
        "rule are written `kat_session.given` and `integration.done`.",
    ),
    (
        "window-order",
        "The times of the step are not in order.",
        "A step opens, is then due and then closes. Equal times are allowed.",
    ),
    (
        "closes-without-missed",
        "The step closes, but it may not be missed.",
        "When a step closes undone it is settled as missed. A step that may not be missed would "
        "keep its phase open for ever: add `missed` to `may_be:`, or write `due:`, which only "
        "makes it late.",
    ),
    (
        "cadence-pace",
        "The row does not say one pace.",
        'A row of `every:` says either `interval: 4 h` (elapsed time) or `daily_at: ["09:00"]` '
        "(clock times of the site).",
    ),
    (
        "cadence-open",
        "The last row of `every` has a condition.",
        "The first row that holds sets the pace, and what is unknown is passed over. So that "
        "there always is a pace, the last row holds always, and it is the tightest.",
    ),
    (
        "after-cycle",
        "Steps wait for each other.",
        "Each of them opens only when the other is settled, so that none ever opens.",
    ),
    (
        "different-from-itself",
        "The step asks for a person different from its own.",
        "`different_person_from:` names another step, which somebody else must have done.",
    ),
    (
        "session-signed",
        "A step that holds a session asks for signatures.",
        "A session is signed for when the patient is released from it: `signed_by:` under its "
        "`release:` says by whom. A second person signs a step inside it, before or after.",
    ),
    (
        "not-for-patients",
        "A patient would answer what a clinician answers.",
        "The form says `answered_by: clinician`. The role `patient` belongs in the `by:` of steps "
        "whose form patients answer themselves.",
    ),
    (
        "session-elsewhere",
        "A session is held in a place that cannot hold one.",
        "Sessions belong to a visit: the step that holds one stands in a phase, not inside "
        "another session and not among the work after leaving.",
    ),
    (
        "leaving-recurs",
        "Work after leaving recurs.",
        "Once treatment has ended there is no stay that a rhythm could be measured by. Write a "
        "step for each time, with `due:`.",
    ),
    (
        "no-admission",
        "Program days are used, but no phase admits.",
        "Program day 1 is the local date of admission. Without `admits: true` on a phase the "
        "days count from enrolment.",
    ),
    # --- sessions, forms, ends ----------------------------------------------------------------
    (
        "dose-amount",
        "It is not said how much is given.",
        "A dose says its `amount:`, its `most:`, or the `order:` it is given on.",
    ),
    (
        "rate-times",
        "The two ends of a rate are per different times.",
        "`from: 25 mg/h, to: 200 mg/min` is a range of 25 to 12000 mg/h, and seldom meant. "
        "Write both ends per hour, or both per minute.",
    ),
    (
        "controlled-drug",
        "A controlled drug is given and stands in no ledger of its schedule.",
        "What is given of a drug that is known to be scheduled (21 CFR 1308) is accounted for: "
        "name a `ledger:` with its `schedule:`; where a pharmacy keeps that book, say so under "
        "`kept_by:`. A clinic may treat this warning as an error.",
    ),
    (
        "other-drug",
        "The order or the ledger is for another drug.",
        "What is given, what was ordered and the book it stands in must name the same drug.",
    ),
    (
        "order-by",
        "The step is for somebody who may not order.",
        "`by:` of a step that places an order must be among the roles in `by:` of the order.",
    ),
    (
        "order-endless",
        "Nothing says when the order ends.",
        "An order without an end would be given for ever. `times: 1` lets it be given once, "
        "`lasts: 30 d` lets it lapse.",
    ),
    (
        "order-weight",
        "The order and the body weight do not fit together.",
        "An amount per body weight (`mg/kg`) needs `weight:` (the field in which it is recorded), "
        "`weight_lasts:` (how old it may be) and `rounded_to:` (what the result is rounded down "
        "to). Any other amount needs none of them.",
    ),
    (
        "dose-without-monitoring",
        "Something is given, but nobody watches.",
        "From the first drug given until release somebody takes readings, whatever else happens. "
        "Add `watch:` with who, what and when.",
    ),
    (
        "sedating-without-dose",
        "A session sedates, but nothing is given in it.",
        "That a patient has one sedating session a day is watched where something is given. Write "
        "`dose:`, or leave `sedating:` out.",
    ),
    (
        "work-after-death",
        "Work is opened after an end that closes at once.",
        "Whoever has died, or was enrolled in error, leaves nothing open: such an enrollment is "
        "closed with its end. Take `work:` out; what the team has to do is not the patient's work.",
    ),
    (
        "half-a-call",
        "The row says only half of a call.",
        "A call names who is called (`tell:`) and by when they must answer (`answer_within:`). "
        "`then:` or `escalation:` say who is called after them. An alert of a session may instead, "
        "or besides, let the watch look again sooner (`recheck:`).",
    ),
    (
        "watch-order",
        "The readings of the watch are not in order.",
        "`at:` lists elapsed times since the first drug given, the earliest first, each once.",
    ),
    (
        "field-type",
        "The field cannot have this, being of its type.",
        "Units and ranges belong to numbers, options to choices, `allowed:` to integers; scores "
        "count integers and yes-or-no items, and to be counted reversed an item needs a highest "
        "value.",
    ),
    (
        "form-empty",
        "The form asks nothing.",
        "A step without anything to record is a task: leave `record:` out.",
    ),
    (
        "leaving-without-work",
        "Nothing is done for patients who leave early.",
        "Every program has the ends against advice, administrative, transferred, consent "
        "withdrawn and lost to follow-up. `leaving:` says who reports them and which work "
        "follows: a safety plan, naloxone, contacts.",
    ),
    # --- phases -------------------------------------------------------------------------------
    (
        "start-missing",
        "It is not said which phase is the first.",
        "The order of a mapping means nothing, so `start:` names the first of several phases.",
    ),
    (
        "repeat-open",
        "Nothing says after which round to stop.",
        "Between `at_least` and `at_most` rounds it is `until:` that stops. Without it the phase "
        "is gone through `at_least` times and never more.",
    ),
    (
        "nobody-decides",
        "There may be no way on.",
        "If no row of `next:` holds somebody has to choose. End with a row `when: always`, or "
        "say who chooses: `decided_by:`, in the phase or for the whole program.",
    ),
    (
        "unknown-stops",
        "Where something is not recorded, nobody is led on.",
        "Rows are asked from the top, and one that is unknown stops: those below it are not asked, "
        "and nobody is called to choose. A step that is declined or missed, or a question that is "
        "refused, leaves what it would have recorded unknown for good. Say above what follows "
        "then: `when: STEP is declined`, or `when: FORM.FIELD is not recorded`. Until it is said, "
        "only `move PHASE` or leaving helps.",
    ),
    (
        "never-possible",
        "The end is promised, but no way leads to it.",
        "`rules: always_possible:` names ends that patients must be able to reach. Lead to it in "
        "some `next:`.",
    ),
)
