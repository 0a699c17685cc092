"""Stories of programs that exist only for tests: what the shipped programs do not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from kat_workflow.language import Folder, check, shipped
from kat_workflow.scenarios import load_scenario, run

CLINICS = Path(__file__).parent / "clinics"
STORIES = sorted(CLINICS.glob("*/scenarios/*.yaml"))


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_every_story_goes_as_it_says(story: Path) -> None:
    result = run(load_scenario(story), Folder(str(CLINICS), shipped()))

    assert not result.mismatches, "\n".join(map(str, result.mismatches))


@pytest.mark.parametrize("file", sorted(CLINICS.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_program_of_these_stories_is_right(file: Path) -> None:
    assert not check(file).errors
