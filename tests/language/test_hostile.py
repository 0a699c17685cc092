"""No text can crash the reader, keep it busy, or make it do anything but read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kat_workflow.errors import ProgramError
from kat_workflow.language import grammar, reader
from kat_workflow.language.fmt import formatted
from kat_workflow.language.reader import DEEPEST, FINDINGS, LONGEST, MOST, UNREAD, read
from kat_workflow.language.structure import structure

# Texts that have killed other readers, made in the child so that no argument is too long.
TEXTS = {
    "lists without end": "'[' * 200_000",
    "mappings without end": "'{a: ' * 100_000",
    "keys without end": "'? ' * 200_000",
    "items without end": "'- ' * 200_000",
    "nested blocks": "''.join(' ' * n + 'a:\\n' for n in range(900))",
    "a billion laughs": (
        "'a: &a [x, x]\\n' + ''.join(f'{c}: &{c} [*{p}, *{p}, *{p}]\\n' "
        "for p, c in zip('abcdefghij', 'bcdefghijk'))"
    ),
    "anchors without end": "''.join(f'a{n}: &a{n} x\\n' for n in range(20_000))",
    "ten megabytes": "'a' * 10_000_000",
    "a wide file": "''.join(f'a{n}: b\\n' for n in range(40_000))",
    "a long line": "'a: [' + 'b, ' * 100_000",
    "a long number": "'a: ' + '9' * 500_000",
    "a long decimal": "'a: 1e' + '9' * 400_000",
    "a quote without end": "'a: \"' + 'b' * 500_000",
    "quotes without end": "'a: ' + '\"' * 500_000",
    "a key without a colon": "'a' * 200_000 + '\\n' + 'b: c'",
    "colons": "':' * 500_000",
    "colons and spaces": "': ' * 200_000",
    "bars": "'|' * 500_000",
    "bangs": "'!' * 500_000",
    "unknown keys without end": "''.join(f'phaze{n}: b\\n' for n in range(20_000))",
    "wrong names without end": "'roles: {' + ''.join(f'A{n}: b, ' for n in range(10_000)) + '}'",
    "zeros": "'\\0' * 500_000",
    "tabs": "'\\t\\n' * 200_000",
    "bytes": "b'\\xff' * 500_000",
}

CHILD = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
import sys, yaml
from kat_workflow.language import grammar, reader
from kat_workflow.language.structure import structure
if sys.argv[1] == "python":
    reader.LOADER = yaml.SafeLoader
document = reader.read("a.yaml", eval(sys.argv[2]))
findings = document.findings or structure(document, grammar.Program)[1]
print(len(findings), findings[0].code)
"""


# Long but harmless; the parser in Python only takes its time.
ONLY_C = (
    "anchors without end",
    "a wide file",
    "unknown keys without end",
    "wrong names without end",
)
CASES = [
    pytest.param(text, loader, id=f"{name}, {loader}")
    for name, text in TEXTS.items()
    for loader in (("c",) if name in ONLY_C else ("c", "python"))
]


@pytest.mark.parametrize(("text", "loader"), CASES)
def test_a_hostile_file_ends_in_few_findings_soon(text: str, loader: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, loader, text],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    count, code = done.stdout.split()
    assert 1 <= int(count) <= FINDINGS
    assert code


def test_a_tag_makes_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"

    document = read("a.yaml", f"a: !!python/object/apply:os.mkdir [{made}]\n")

    assert [finding.code for finding in document.findings] == ["tag"]
    assert not made.exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a" * (LONGEST + 1), "too-long"),
        (b"a" * (LONGEST + 1), "too-long"),
        ("a: [" + "b, " * MOST + "]", "too-long"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "too-deep"),
        ("[" * 2_000, "too-deep"),
    ],
)
def test_a_file_has_bounds(text: str | bytes, code: str) -> None:
    document = read("a.yaml", text)

    assert [finding.code for finding in document.findings] == [code]
    assert document.tree is UNREAD


@pytest.mark.parametrize(
    "text", ["a" * LONGEST, "[" * DEEPEST + "]" * DEEPEST, "a: [" + "b, " * (MOST - 2) + "]"]
)
def test_a_file_within_the_bounds_is_read(text: str) -> None:
    assert read("a.yaml", text).findings == ()


@pytest.mark.parametrize("text", ["\t\n" * 500, "a: !x y\nb: !x y\n" * 200, "7: a\n" * 500])
def test_a_file_with_very_many_faults_shows_some(text: str) -> None:
    assert len(read("a.yaml", text).findings) == FINDINGS


def test_a_program_with_very_many_faults_shows_some() -> None:
    document = read("a.yaml", "".join(f"key{n}: x\n" for n in range(500)))

    written, findings = structure(document, grammar.Program)

    assert written is None
    assert len(findings) == FINDINGS


YAMLISH = st.text(
    alphabet=st.sampled_from(list("ab1:,-[]{}'\"#&*!|>%@? \n\t\\~<.é\0")), max_size=60
)


@given(YAMLISH)
@example("a: |+\n\n")
@example("? a\n: b\n")
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_the_same_by_both_parsers_or_refused_by_one(text: str) -> None:
    first = read("a.yaml", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "LOADER", yaml.SafeLoader)
        second = read("a.yaml", text)

    if not first.findings and not second.findings:
        assert first.data == second.data


@given(st.one_of(YAMLISH, st.text(max_size=40), st.binary(max_size=40)))
@settings(deadline=None, max_examples=300)
def test_any_text_ends_in_a_document_whose_findings_have_places(text: str | bytes) -> None:
    document = read("a.yaml", text)
    _, findings = structure(document, grammar.Program)

    for finding in document.findings + findings:
        assert 1 <= finding.place.line <= len(document.lines)
        assert 1 <= finding.place.column <= len(finding.source) + 1
        assert finding.width >= 1


@given(YAMLISH)
@settings(deadline=None, max_examples=300)
def test_setting_out_any_text_changes_nothing_it_says(text: str) -> None:
    try:
        once = formatted(text)
    except ProgramError:
        return

    assert read("a.yaml", once).tree == read("a.yaml", text).tree
    assert formatted(once) == once
