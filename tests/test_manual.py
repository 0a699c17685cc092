"""The manual of the language says what the code does: its tables, its programs, its stories."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from doc_blocks import ROOT, Block, blocks, broken_links

from kat_workflow import manual
from kat_workflow.language import Folder, check, schema, shipped
from kat_workflow.language.findings import render
from kat_workflow.language.fmt import formatted
from kat_workflow.language.grammar import Program, keys_of
from kat_workflow.language.reader import read
from kat_workflow.language.structure import structure
from kat_workflow.program.gates import (
    RESERVED,
    Context,
    SessionInfo,
    StepInfo,
    Vocabulary,
    compile_test,
)
from kat_workflow.scenarios import load_scenario, run

MANUAL = ROOT / "programs" / "README.md"
TEXT = MANUAL.read_text(encoding="utf-8")
REFRESH = "run: python -m kat_workflow.manual programs/README.md"
FILE = re.compile(r"[a-z0-9-]+/[a-z0-9-]+\.yaml")
SHARED = shipped()


def yaml_blocks(*words: str) -> list[Block]:
    """The YAML blocks with these words after `yaml`."""
    return [b for b in blocks(MANUAL) if b.words == ("yaml", *words)]


def named(block: Block) -> str:
    return block.where.rpartition("/")[2]


PROGRAMS = yaml_blocks()
SCENARIOS = yaml_blocks("scenario")
FRAGMENTS = yaml_blocks("fragment")
SHARED_FILES = [b for b in blocks(MANUAL) if len(b.words) == 2 and FILE.fullmatch(b.words[1])]


def folder_at(block: Block, folder: Path) -> Folder:
    """The folder of somebody who has typed in everything up to a block, this one as well."""
    for each in [*SHARED_FILES, *PROGRAMS]:
        if each in PROGRAMS and each.line > block.line:
            continue
        found = re.search(r"^program: (\S+)$", each.text, re.MULTILINE)
        name = f"{found[1]}/{found[1]}.yaml" if found else each.words[1]
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(each.text, encoding="utf-8")
    return Folder(folder, SHARED)


# Tables


@pytest.mark.parametrize("name", manual.TABLES)
def test_every_table_stands_in_the_manual_once_and_says_what_the_code_says(name: str) -> None:
    found = re.findall(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", TEXT, re.DOTALL)

    assert found == [manual.table(name)], REFRESH


def test_no_table_stands_in_the_manual_that_the_code_does_not_make() -> None:
    assert set(re.findall(r"<!-- table: (\S+) -->", TEXT)) == set(manual.TABLES)
    assert TEXT.count("<!-- table: ") == TEXT.count("<!-- end -->") == len(manual.TABLES)


def test_making_the_tables_anew_changes_nothing_else() -> None:
    assert manual.refreshed(TEXT) == TEXT, REFRESH
    assert manual.refreshed("<!-- table: ends -->\nold\n<!-- end -->\nkept").endswith("\nkept")


def test_a_table_that_does_not_exist_is_no_table() -> None:
    with pytest.raises(KeyError):
        manual.refreshed("<!-- table: nothing -->\n<!-- end -->\n")


def test_every_key_of_the_language_is_in_a_table() -> None:
    for title in re.findall(r"^### (.+)$", schema.tables(), re.MULTILINE):
        assert f"\n### {title}\n" in TEXT


def test_every_link_leads_somewhere() -> None:
    assert not broken_links(MANUAL)


# Programs and their parts


def test_the_tutorial_has_five_steps() -> None:
    tutorial = TEXT.partition("## Files and folders")[0]

    assert re.findall(r"^### Step (\d)", tutorial, re.MULTILINE) == list("12345")
    assert tutorial.count("```yaml\n") == 5


@pytest.mark.parametrize("block", PROGRAMS, ids=named)
def test_every_program_of_the_manual_checks_clean(block: Block, tmp_path: Path) -> None:
    name = re.findall(r"^program: (\S+)$", block.text, re.MULTILINE)[0]

    checked = check(name, folder_at(block, tmp_path))

    said = "\n".join(render(finding) for finding in checked.findings)
    assert not checked.findings, f"{block.where} {said}"
    assert checked.program is not None
    assert formatted(block.text) == block.text, f"{block.where}: kat fmt sets it out otherwise"


@pytest.mark.parametrize("block", SHARED_FILES, ids=named)
def test_every_shared_file_of_the_manual_is_used_by_a_program_of_it(block: Block) -> None:
    named = (f"files: [{block.words[1]}]", f"overlays: [{block.words[1]}]")
    assert any(words in each.text for words in named for each in PROGRAMS)


@pytest.mark.parametrize("block", FRAGMENTS, ids=named)
def test_every_part_of_a_program_fits_the_language(block: Block) -> None:
    """A fragment shows keys from the top of a program; names that are not shown may be missing."""
    filled = {"language": "1", "program": "part", "version": '"1"', "title": "Part", "start": "one"}
    filled |= {"roles": "{}", "phases": "{}", "ends": "{}"}
    shown = {key.name for key in keys_of(Program) if re.search(rf"^{key.name}:", block.text, re.M)}
    rest = "".join(f"{key}: {value}\n" for key, value in filled.items() if key not in shown)
    document = read(str(block.file), block.text + rest)

    _, findings = structure(document, Program)

    said = "\n".join(f"{block.at(f.place.line - 1)} {f.message}" for f in findings)
    assert shown
    assert not document.findings
    assert not findings, said


def test_every_yaml_block_is_of_a_kind_that_is_looked_at() -> None:
    known = [*PROGRAMS, *SCENARIOS, *FRAGMENTS, *SHARED_FILES]

    assert [b.where for b in blocks(MANUAL) if b.kind == "yaml" and b not in known] == []
    assert {b.kind for b in blocks(MANUAL)} == {"yaml", "text"}


# Scenarios


@pytest.mark.parametrize("block", SCENARIOS, ids=named)
def test_every_scenario_of_the_manual_goes_as_it_says(block: Block, tmp_path: Path) -> None:
    folder = folder_at(block, tmp_path)

    result = run(load_scenario(Path(block.file), block.text), folder)

    said = [
        f"{block.at(found.line - 1)}: expected {found.expected}; found {found.found}"
        for found in result.mismatches
    ]
    assert not said, "\n".join(said)


# Gates


@cache
def vocabulary() -> tuple[Vocabulary, Context]:
    """The names of the 4-day detox, seen from its infusion on one of its days."""
    program = check("detox-4-day").program
    assert program is not None
    owners = {name: phase.path for name, phase in program.phases.items()}
    known = Vocabulary(
        forms=program.forms,
        steps={
            s.name: StepInfo(
                s.name,
                s.form,
                owners.get(s.owner, ()),
                s.owner if s.owner_kind == "session" else "",
                s.consent,
                s.session,
                s.signed,
                s.may_be,
            )
            for s in program.steps.values()
        },
        sessions={
            k.name: SessionInfo(
                k.name,
                k.dose.unit if k.dose else "",
                k.watch.step if k.watch else "",
                k.steps,
                ("stay", "day"),
            )
            for k in program.sessions.values()
        },
        limits=program.limits,
        gates=program.gates,
        consents=program.consents,
        phases=owners,
        repeated=[p.name for p in program.phases.values() if p.repeat],
    )
    return known, Context(path=("stay", "day"), session="nad_infusion")


SAID = TEXT.partition("### What a gate can say\n")[2].partition("\nJoin conditions")[0]
CONDITIONS = re.findall(r"^\| `([^`]+)` \| ", SAID, re.MULTILINE)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_of_the_manual_can_be_asked(condition: str) -> None:
    test, problems = compile_test(condition, *vocabulary())

    assert not problems
    assert test is not None


def test_the_manual_shows_every_word_of_the_gate_language() -> None:
    shown = {word for condition in CONDITIONS for word in condition.split()}
    joined = {"and", "or"}  # said in words below the table

    assert {word.partition(".")[0] for word in shown} | joined >= RESERVED
