"""A cohort is the same whoever computes it: threads, processes, or a cluster that takes pickles."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import loky
import pytest

from kat_workflow.errors import KatError, ProgramError, Reason, Refusal, Refused
from kat_workflow.simulation import cohort
from kat_workflow.simulation.cohort import CsvTables, Plan, simulate
from kat_workflow.simulation.profile import BadProfile
from kat_workflow.simulation.report import page, summary

DETOX = Path(__file__).parents[2] / "examples" / "simulation" / "detox.yaml"


@pytest.fixture
def six_clinics(tmp_path: Path) -> Plan:
    lines = DETOX.read_text(encoding="utf-8").splitlines()
    file = tmp_path / "profile.yaml"
    smaller = ("clinic_size: 2" if x.startswith("clinic_size:") else x for x in lines)
    file.write_text("\n".join([*smaller, ""]), encoding="utf-8")
    return Plan("detox-4-day", file, 12, 9, 7)


class Elsewhere(Executor):
    """What any cluster does: work, answers and errors go there and back as plain pickles."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        sent = pickle.dumps((fn, args, kwargs))
        done: Future[Any] = Future()
        there, given, named = pickle.loads(sent)
        try:
            done.set_result(pickle.loads(pickle.dumps(there(*given, **named))))
        except Exception as error:
            done.set_exception(pickle.loads(pickle.dumps(error)))
        return done


class _Asked(Future[Any]):
    """Work that begins when somebody waits for it."""

    def __init__(self, wait: Callable[[_Asked], None], work: Callable[[], Any]) -> None:
        super().__init__()
        self._wait, self._work = wait, work

    def begin(self) -> None:
        if not self.done() and self.set_running_or_notify_cancel():
            self.set_result(self._work())

    def result(self, timeout: float | None = None) -> Any:
        self._wait(self)
        return super().result(timeout)


class WhenWaitedFor(Executor):
    """Nothing is done before somebody waits for it, and then nothing else."""

    def __init__(self) -> None:
        self.asked: list[_Asked] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.asked.append(_Asked(self._work_on, lambda: fn(*args, **kwargs)))
        return self.asked[-1]

    def _work_on(self, asked: _Asked) -> None:
        asked.begin()


class LastFirst(WhenWaitedFor):
    """Whatever was asked for last is done first."""

    def _work_on(self, asked: _Asked) -> None:
        for each in reversed(self.asked):
            each.begin()


def spawned() -> AbstractContextManager[Executor]:
    """Processes that have nothing of this one."""
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


@contextmanager
def of_dask() -> Iterator[Executor]:
    """A Dask cluster of two processes, on the loopback."""
    distributed: Any = import_module("distributed")  # its types are for others in part
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


def of_loky() -> AbstractContextManager[Executor]:
    """What joblib runs on."""
    made: AbstractContextManager[Executor] = loky.ProcessPoolExecutor(2)
    return made


@pytest.mark.filterwarnings("default")  # what a cluster's own code warns of is not ours
@pytest.mark.parametrize(
    "executors",
    [lambda: ThreadPoolExecutor(2), spawned, Elsewhere, LastFirst, of_dask, of_loky],
    ids=["threads", "spawned processes", "pickles", "last first", "Dask", "loky"],
)
def test_account_page_and_tables_are_the_same_to_the_byte(
    six_clinics: Plan, tmp_path: Path, executors: Callable[[], AbstractContextManager[Executor]]
) -> None:
    with CsvTables(tmp_path / "here") as written:
        here = summary(simulate(six_clinics, tables=written))

    with executors() as executor, CsvTables(tmp_path / "there") as written:
        there = summary(simulate(six_clinics, executor=executor, tables=written))

    assert there == here
    assert there["clinics"] == 6
    assert page(there) == page(here)
    for table in ("patients.csv", "work.csv"):
        made = [(tmp_path / where / table).read_bytes() for where in ("here", "there")]
        assert made[0] == made[1]
        assert made[0].count(b"\n") > 6


def test_interrupted_what_was_asked_of_a_cluster_ahead_is_called_off(
    six_clinics: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "AHEAD", 3)
    cluster = WhenWaitedFor()

    def stop_after_one(_: int) -> Iterator[None]:
        yield
        raise KeyboardInterrupt

    stopped = simulate(six_clinics, executor=cluster, watch=stop_after_one)

    assert (stopped.interrupted, stopped.clinics) == (True, 2)
    assert [each.cancelled() for each in cluster.asked] == [False, False, True, True]
    assert summary(stopped) == summary(simulate(six_clinics, watch=stop_after_one))


def test_a_cluster_is_left_to_whoever_started_it(six_clinics: Plan) -> None:
    with ThreadPoolExecutor(1) as executor:
        simulate(six_clinics, executor=executor)

        assert executor.submit(int, "7").result() == 7


class OtherFiles(Elsewhere):
    """A machine on which a file is not as it is here."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.text, self.here = file, text, file.read_text(encoding="utf-8")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.file.write_text(self.text, encoding="utf-8")
        cohort._loaded.cache_clear()
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            self.file.write_text(self.here, encoding="utf-8")
            cohort._loaded.cache_clear()


def test_what_another_machine_computed_from_other_files_is_not_mixed_in(six_clinics: Plan) -> None:
    text = six_clinics.profile.read_text(encoding="utf-8").replace("arrivals: ", "arrivals: 1")
    stale = OtherFiles(six_clinics.profile, text)

    with pytest.raises(BadProfile, match="clinic 0 was simulated from other files than those here"):
        simulate(six_clinics, executor=stale)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("simulation: 2\n", BadProfile, "missing required field"),
        ("", BadProfile, "profile.yaml"),
    ],
)
def test_what_is_wrong_on_another_machine_is_told_as_it_is_there(
    six_clinics: Plan, text: str, error: type[KatError], says: str
) -> None:
    broken = OtherFiles(six_clinics.profile, text)

    with pytest.raises(error, match=says):
        simulate(six_clinics, executor=broken)


def test_a_program_that_is_broken_on_another_machine_is_told_with_its_findings(
    six_clinics: Plan, tmp_path: Path
) -> None:
    own = tmp_path / "programs" / "detox-4-day" / "detox-4-day.yaml"
    own.parent.mkdir(parents=True)
    ships = DETOX.parents[2] / "programs" / "detox-4-day"
    own.write_bytes((ships / "detox-4-day.yaml").read_bytes())
    plan = Plan("detox-4-day", six_clinics.profile, 12, 9, 7, tmp_path / "programs")

    with pytest.raises(ProgramError) as caught:
        simulate(plan, executor=OtherFiles(own, "language: 1\n"))

    assert caught.value.findings
    assert str(caught.value) == "\n".join(str(each) for each in caught.value.findings)


def test_a_refusal_comes_whole_out_of_another_process() -> None:
    reason = Reason("gate-closed", "the pressure is too high", "pressure_allows", unblock=("wait",))
    refused = Refused(Refusal("start nad_infusion", (reason,)))

    told = pickle.loads(pickle.dumps(refused))

    assert (told.code, str(told), told.explanation) == (
        "gate-closed",
        str(refused),
        refused.explanation,
    )
