"""Scenario files as pytest items: `<program>/scenarios/*.yaml` is collected wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> ScenarioFile | None:
    """Take a YAML file in a folder named `scenarios` beside a program."""
    if file_path.suffix != ".yaml" or file_path.parent.name != "scenarios":
        return None
    program = file_path.parent.parent
    if not (program / f"{program.name}.yaml").is_file():
        return None
    collected: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    return collected


class ScenarioFile(pytest.File):
    """One scenario file."""

    def collect(self) -> Iterator[pytest.Item]:
        """Its one scenario."""
        yield ScenarioItem.from_parent(self, name=self.path.stem)


class ScenarioFailed(Exception):  # what a test report calls it
    """A scenario went otherwise than it says."""


class ScenarioItem(pytest.Item):
    """A scenario, run through the real engine in virtual time."""

    def runtest(self) -> None:
        """Run it; every difference is reported at once."""
        from kat_workflow.language import Folder, shipped  # noqa: PLC0415
        from kat_workflow.scenarios import load_scenario, run  # noqa: PLC0415

        folder = self.path.parent.parent.parent
        result = run(load_scenario(self.path), Folder(folder, shipped()))
        if not result.passed:
            raise ScenarioFailed("\n".join(str(mismatch) for mismatch in result.mismatches))

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str:
        """The differences, without a traceback into the engine."""
        if isinstance(excinfo.value, ScenarioFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the scenario stands."""
        return self.path, 0, f"scenario: {self.name}"
