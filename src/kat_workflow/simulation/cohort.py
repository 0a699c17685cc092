"""Many simulated clinics, on all cores, one after the other into one account.

A cohort is cut into clinics of the profile's size. Each clinic has its own chance, so that the
answer depends on the seed alone, never on how many processes share the work. What a clinic
answers is added to the account and written out at once: memory does not grow with the patients.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from signal import SIG_DFL, SIG_IGN, SIGINT, raise_signal, signal
from statistics import fmean
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any, Protocol, Self

from attrs import asdict, define, field, fields, frozen

from kat_workflow.errors import KatError
from kat_workflow.language import load, shipped
from kat_workflow.language.library import Folder
from kat_workflow.program.model import Program
from kat_workflow.scenarios import load_scenario
from kat_workflow.simulation.clinic import Clinic, Course, Tallies, Work
from kat_workflow.simulation.profile import BadProfile, Profile
from kat_workflow.simulation.story import Story

__all__ = ["Cohort", "Plan", "Tables", "compared", "opened", "simulate"]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MEASURES = (
    "enrolled",
    "hours_to_enrolling",
    "length_of_stay",
    "completed",
    "left_early",
    "wait",
    "late",
    "census",
)
"""What two cohorts are compared by: a share of those who arrived; hours that the enrolled waited
for it; days; shares of those discharged; minutes that work waited; a share of the work that had a
time by which it was due; patients at noon."""


@frozen
class Plan:
    """What is to be simulated. `programs` is a folder that goes before the programs that ship."""

    program: str
    profile: Path
    patients: int
    days: int
    seed: int
    programs: Path | None = None

    @property
    def clinics(self) -> int:
        """In how many clinics the patients are."""
        return -(-self.patients // _loaded(self).profile.clinic_size)


@frozen
class Answer:
    """What one clinic came to; `files` is the digest of those that it was made from."""

    number: int
    courses: list[Course]
    work: list[Work]
    tallies: Tallies
    files: str


@define
class Cohort:
    """The account of all clinics so far. Distributions are kept as how often each value was."""

    plan: Plan
    clinics: int = 0
    interrupted: bool = False
    arrived: int = 0
    enrolled: int = 0
    ends: Counter[str] = field(factory=Counter)
    stays: Counter[float] = field(factory=Counter)
    waits: dict[str, Counter[int]] = field(factory=dict)
    lates: dict[str, Counter[int]] = field(factory=dict)
    due: Counter[str] = field(factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(factory=Counter)
    sessions: Counter[str] = field(factory=Counter)
    waited: Counter[str] = field(factory=Counter)
    done: Counter[str] = field(factory=Counter)
    tallies: Tallies = field(factory=Tallies)
    measures: list[dict[str, float]] = field(factory=list)

    def add(self, answer: Answer) -> None:
        """Take in what one clinic came to."""
        self.clinics += 1
        for each in fields(Tallies):
            before = getattr(self.tallies, each.name)
            setattr(self.tallies, each.name, before + getattr(answer.tallies, each.name))
        for course in answer.courses:
            self.arrived += 1
            self.enrolled += course.enrolled is not None
            if course.enrolled is not None and course.discharged is not None:
                self.ends[course.end] += 1
                self.stays[round((course.discharged - course.enrolled) / DAY, 1)] += 1
            self.sessions["held"] += course.sessions
            self.sessions["aborted"] += course.aborted
        for work in answer.work:
            self.outcomes[work.what, work.outcome] += 1
            waited = int((work.begun - work.ready) / MINUTE)
            self.waits.setdefault(work.what, Counter())[waited] += 1
            self.waited[work.role] += waited
            self.done[work.role] += 1
            if work.due is not None:
                self.due[work.what] += 1
                if work.ended > work.due:
                    late = int((work.ended - work.due) / MINUTE)
                    self.lates.setdefault(work.what, Counter())[late] += 1
        self.measures.append(_measured(answer, self.plan.days))


def _measured(answer: Answer, days: int) -> dict[str, float]:
    """A clinic by the measures that cohorts are compared by."""
    gone = [x for x in answer.courses if x.discharged is not None and x.enrolled is not None]
    due = [x for x in answer.work if x.due is not None]
    begun = [x.enrolled - x.arrived for x in answer.courses if x.enrolled is not None]
    return {
        "enrolled": _mean(float(x.enrolled is not None) for x in answer.courses),
        "hours_to_enrolling": _mean(each / HOUR for each in begun),
        "length_of_stay": _mean((x.discharged - x.enrolled) / DAY for x in gone),  # type: ignore[operator]
        "completed": _mean(float(x.kind == "completed") for x in gone),
        "left_early": _mean(float(x.kind != "completed") for x in gone),
        "wait": _mean((x.begun - x.ready) / MINUTE for x in answer.work),
        "late": _mean(float(x.due is not None and x.ended > x.due) for x in due),
        "census": sum(answer.tallies.census.values()) / days,
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return fmean(found) if found else 0.0


def simulate(
    plan: Plan,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    tables: Tables | None = None,
    watch: Callable[[int], Iterator[None]] | None = None,
) -> Cohort:
    """Simulate a cohort.

    `executor` is any executor of `concurrent.futures`, such as one of a Dask or Ray cluster; its
    processes need the same files, and it is left as it is, but for what is not needed any more,
    which is called off. Without one, `workers` processes are started (1: none). `watch`
    is given the number of clinics and gone on with after each. Interrupted (Ctrl-C), what is done
    is kept. Raises BadProfile (also where another machine's files are not those here), and
    ProgramError for the program.
    """
    files = _loaded(plan).digest  # what is wrong with them is said before anything is started
    cohort = Cohort(plan)
    steps = watch(plan.clinics) if watch is not None else iter(())
    own = None
    if executor is None and workers > 1 and plan.clinics > 1:
        # Ctrl-C reaches every process of the terminal; the workers leave it to this one.
        own = executor = ProcessPoolExecutor(
            min(workers, plan.clinics), initializer=signal, initargs=(SIGINT, SIG_IGN)
        )
    answers = _answers(plan, executor)
    try:
        for answer in answers:
            if answer.files != files:
                raise BadProfile(
                    f"clinic {answer.number} was simulated from other files than those here: give"
                    f" every machine the same {plan.profile}, program and story"
                )
            with _whole():
                cohort.add(answer)
                if tables is not None:
                    tables.add(answer)
            next(steps, None)
    except KeyboardInterrupt:
        cohort.interrupted = True
    finally:
        answers.close()
        if own is not None:
            own.shutdown()
    return cohort


@contextmanager
def _whole() -> Iterator[None]:
    """Ctrl-C waits until the block is over, so that no clinic is told by half."""
    if current_thread() is not main_thread():
        yield  # signals come to the main thread alone
        return
    came: list[int] = []
    before = signal(SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal(SIGINT, before or SIG_DFL)
    if came:
        raise_signal(SIGINT)


def _answers(plan: Plan, executor: Executor | None) -> Generator[Answer, None, None]:
    """The clinics' answers in their order; only so many are asked for at once as are soon used.
    Closed, it calls off what was asked for and has not begun."""
    if executor is None:
        yield from (clinic(plan, number) for number in range(plan.clinics))
        return
    ahead: deque[Future[Answer]] = deque()
    try:
        for number in range(plan.clinics):
            ahead.append(executor.submit(clinic, plan, number))
            if len(ahead) >= AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for each in ahead:
            each.cancel()


AHEAD = 32
"""How many clinics are asked for before the first of them is waited for."""


def clinic(plan: Plan, number: int) -> Answer:
    """What one clinic of a plan comes to, in whatever process."""
    made = opened(plan, number)
    made.run()
    made.close()
    return Answer(number, made.courses, made.work, made.tallies, _loaded(plan).digest)


def opened(plan: Plan, number: int) -> Clinic:
    """One clinic of a plan, before anything has happened in it."""
    files = _loaded(plan)
    size = files.profile.clinic_size
    patients = min(size, plan.patients - number * size)
    return Clinic(
        files.program,
        _library(plan),
        files.profile,
        files.story,
        seed=plan.seed,
        number=number,
        patients=patients,
        days=plan.days,
    )


def _library(plan: Plan) -> Folder:
    return shipped() if plan.programs is None else Folder(plan.programs, shipped())


@frozen
class _Files:
    """What the files of a plan say, and a digest of all of them."""

    program: Program
    story: Story
    profile: Profile
    digest: str


@lru_cache(maxsize=4)
def _loaded(plan: Plan) -> _Files:
    """The files of a plan, read once in a process."""
    library = _library(plan)
    program, profile = load(plan.program, library), Profile.load(plan.profile)
    name = f"{program.id}/{program.id}.yaml"
    own, ships = library.file(name), shipped().file(name)
    found = next(
        (
            file
            for at in (own, ships)
            if at is not None
            and (file := at.parent / "scenarios" / f"{profile.story}.yaml").is_file()
        ),
        None,
    )
    if found is None:
        raise BadProfile(
            f'{profile.file}: {program.id} has no story "{profile.story}"; name one of its'
            " scenarios in story:"
        )
    story = Story.told_by(load_scenario(found), program)
    _known(program, profile)
    digest = sha256(program.digest.encode())
    for file in (found, plan.profile):
        digest.update(sha256(file.read_bytes()).digest())
    return _Files(program, story, profile, digest.hexdigest())


def _known(program: Program, profile: Profile) -> None:
    """Names in a profile that the program does not have are slips of the pen."""
    steps = {*program.steps, *program.forms}
    named: list[tuple[str, Iterable[str], Iterable[str]]] = [
        ("declines", profile.declines, program.steps),
        ("misses", profile.misses, program.sessions),
        ("leaves", profile.leaves, program.ends),
        ("answers", profile.answers, steps),
        ("befalls", (each.record for each in profile.befalls), program.forms),
        ("befalls", (each.by for each in profile.befalls), program.roles),
        ("ways", profile.ways, program.phases),
        ("ways", profile.ways.values(), {*program.phases, *program.ends}),
        ("takes", _acted_on(profile.takes), {*steps, *program.sessions, *program.orders}),
    ]
    named += [(f"crews: {x.name}", x.roles, program.roles) for x in profile.crews]
    named += [
        (f"resources: {name}", x.sessions, program.sessions)
        for name, x in profile.resources.items()
    ]
    for name, asked in profile.answers.items():
        form = program.forms.get(name) or program.forms.get(_form_of(program, name))
        if form is not None:
            named.append((f"answers: {name}", asked, form.fields))
        for answer in asked.values():
            named.append((f"answers: {name}", answer.per_session, program.sessions))
    for key, names, known in named:
        for name in names:
            if name not in known:
                raise BadProfile(f'{profile.file}: {key}: {program.id} has no "{name}"')


def _acted_on(takes: Iterable[str]) -> list[str]:
    """What the acts are about, such as `vitals` of `record vitals`; calls and choices are not
    about anything by name."""
    return [each.split()[-1] for each in takes if each.split()[0] not in ("answer", "choose")]


def _form_of(program: Program, step: str) -> str:
    return program.steps[step].form if step in program.steps else ""


# Tables


class Tables(Protocol):
    """Where the courses and the work of each clinic are written, in the order of clinics."""

    def add(self, answer: Answer) -> None:
        """Write one clinic's rows."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class NoTables(KatError):
    """The library that writes Parquet is not installed; the text says how to get it."""


_KINDS = {"patients": Course, "work": Work}


def _rows(answer: Answer) -> Mapping[str, list[dict[str, Any]]]:
    return {
        "patients": [_utc(each) for each in answer.courses],
        "work": [_utc(each) for each in answer.work],
    }


def _utc(each: Course | Work) -> dict[str, Any]:
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in asdict(each).items()
    }


class CsvTables:
    """`patients.csv` and `work.csv` in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {
            name: (folder / f"{name}.csv").open("w", newline="", encoding="utf-8")
            for name in _KINDS
        }
        columns = {name: [each.name for each in fields(kind)] for name, kind in _KINDS.items()}
        self._writers = {
            name: csv.DictWriter(file, columns[name], lineterminator="\n")
            for name, file in self._files.items()
        }
        for writer in self._writers.values():
            writer.writeheader()

    def add(self, answer: Answer) -> None:
        """Write one clinic's rows."""
        for name, rows in _rows(answer).items():
            self._writers[name].writerows(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()


class ParquetTables:
    """`patients.parquet` and `work.parquet` in a folder, a row group for each clinic."""

    def __init__(self, folder: Path) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415  # only who asks for Parquet needs it
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            raise NoTables(
                "Parquet needs pyarrow; install it with: pip install 'kat-workflow[reports]', or"
                " ask for --tables csv"
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        kinds = {"int": pa.int64(), "str": pa.string()}
        instant = pa.timestamp("us", tz="UTC")
        self._table = pa.Table
        self._schemas = {
            name: pa.schema(
                [(each.name, kinds.get(str(each.type), instant)) for each in fields(kind)]
            )
            for name, kind in _KINDS.items()
        }
        self._writers = {
            name: parquet.ParquetWriter(folder / f"{name}.parquet", schema)
            for name, schema in self._schemas.items()
        }

    def add(self, answer: Answer) -> None:
        """Write one clinic's rows."""
        for name, rows in _rows(answer).items():
            self._writers[name].write_table(
                self._table.from_pylist(rows, schema=self._schemas[name])
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()


# What if


def compared(one: Cohort, other: Cohort, draws: int = 2000) -> dict[str, dict[str, float]]:
    """How another cohort differs from one, clinic by clinic, with a 95 % interval.

    Clinics of the same number have the same chance, so that they are paired; the interval is
    that of the mean difference over draws of clinics with replacement (percentile bootstrap,
    seeded by the plan).
    """
    pairs = list(zip(one.measures, other.measures, strict=False))
    chance = Random(f"{one.plan.seed}/compared")
    found = {}
    for measure in MEASURES:
        differences = [after[measure] - before[measure] for before, after in pairs]
        means = sorted(fmean(chance.choices(differences, k=len(differences))) for _ in range(draws))
        found[measure] = {
            "before": fmean(before[measure] for before, _ in pairs),
            "after": fmean(after[measure] for _, after in pairs),
            "difference": fmean(differences),
            "low": means[int(draws * 0.025)],
            "high": means[int(draws * 0.975) - 1],
        }
    return found
