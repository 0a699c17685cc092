"""What a program may not say about sedating sessions and about whoever has died."""

from __future__ import annotations

import pytest
from two_programs import TEXTS

from kat_workflow.language import Files, check

_WORK = """\
work_after_leaving:
  kit: {by: [nurse]}
"""


@pytest.mark.parametrize(
    ("code", "old", "new", "line"),
    [
        (
            "sedating-without-dose",
            "  walk:\n    by: [nurse]\n",
            "  walk:\n    by: [nurse]\n    sedating: true\n",
            "    sedating: true",
        ),
        (
            "work-after-death",
            "ends:\n",
            _WORK + "ends:\n  gone:\n    kind: died\n    work: [kit]\n",
            "    work: [kit]",
        ),
        (
            "work-after-death",
            "ends:\n",
            _WORK + "ends:\n  slip:\n    kind: entered_in_error\n    work: [kit]\n",
            "    work: [kit]",
        ),
    ],
)
def test_what_could_never_be_done_is_found_at_its_line(
    code: str, old: str, new: str, line: str
) -> None:
    text = TEXTS["house"].replace(old, new)

    checked = check("house", Files({"house/house.yaml": text}))

    (finding,) = checked.errors
    assert finding.code == code
    assert finding.hint
    assert text.splitlines()[finding.place.line - 1] == line
