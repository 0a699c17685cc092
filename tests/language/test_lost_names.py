"""One fault has one finding: whoever asks for a name that could not be given is not at fault."""

from __future__ import annotations

from kat_workflow.language import Files, check

PROGRAM = """\
language: 1
program: x
version: "1.0.0"
title: X
start: nap
roles: {nurse: Nurse}
phases:
  nap:
    steps:
      nap: {by: [nurse]}
      walk: {by: [nurse], after: [nap]}
    next: [{to: well, when: always}]
ends: {well: {kind: completed}}
leaving: {by: [nurse]}
"""


def test_a_step_named_like_its_phase_is_the_only_fault_of_a_file_that_waits_for_it() -> None:
    checked = check("x", Files({"x/x.yaml": PROGRAM}))

    assert [finding.code for finding in checked.errors] == ["name-taken"]
