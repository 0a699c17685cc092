"""The profile: how simulated patients and a simulated clinic behave, written down in a YAML file.

It says who arrives how often, who works when, what is scarce, how long things take, what patients
answer, refuse and miss, and how often they leave. Where it says nothing, what is recorded and how a
session is held is taken from one of the program's own stories.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from kat_workflow.courses.typed import typed
from kat_workflow.errors import KatError
from kat_workflow.program.clock import Site, parse_duration, site_from

__all__ = ["Answer", "BadProfile", "Crew", "Profile", "Resource"]


class BadProfile(KatError):
    """A profile that cannot be used; the text names the file and the place."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What every part of a profile is: a mapping of known keys."""


class Crew(_Part, frozen=True):
    """People with the same roles and hours; `name` with a number is what each is called.

    They work from `start` to `end` (clock times of the site, perhaps over midnight) on the
    `weekdays` on which the shift begins, 1 being Monday.
    """

    name: str
    roles: tuple[str, ...]
    count: int = 1
    start: str = "00:00"
    end: str = "00:00"
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)

    def hours(self) -> tuple[time, timedelta]:
        """When a shift begins and how long it is."""
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        begins = datetime.combine(date.min, start)
        long = (datetime.combine(date.min, end) - begins) % timedelta(days=1)
        return start, long or timedelta(days=1)


class Resource(_Part, frozen=True):
    """Something scarce: held while a session of these kinds goes on, or, with `stay: true`, from
    enrolling until discharge."""

    count: int
    sessions: tuple[str, ...] = ()
    stay: bool = False


class Answer(_Part, frozen=True):
    """What is written into a field.

    A number: `mean` plus what is this patient's own (`between`, a standard deviation) plus
    `per_day` times the days since enrolling plus `per_session` (by kind) times the sessions that
    were held by then plus chance (`sd`), within `least` and `most`, to so many `digits`. Answers
    that name the same `trait` share what is the patient's own. A choice or yes-or-no: `options`
    with their weights. Or `always` one value.
    """

    mean: float | None = None
    between: float = 0.0
    sd: float = 0.0
    per_day: float = 0.0
    per_session: Mapping[str, float] = {}
    trait: str = ""
    least: float | None = None
    most: float | None = None
    digits: int = 0
    options: Mapping[str, float] = {}
    always: str | None = None

    def drawn(
        self, chance: Random, own: float, day: float, held: Mapping[str, int] | None = None
    ) -> Any:
        """A value, on a day since enrolling, after so many sessions of each kind; `own` is how far
        this patient is from the others, in standard deviations."""
        if self.options:
            return chance.choices(list(self.options), list(self.options.values()))[0]
        if self.mean is None:
            return self.always
        value = self.mean + own * self.between + self.per_day * day
        for kind, by in self.per_session.items():
            value += by * (held or {}).get(kind, 0)
        value += chance.gauss(0, self.sd)
        if self.least is not None:
            value = max(value, self.least)
        if self.most is not None:
            value = min(value, self.most)
        return round(value) if self.digits == 0 else round(value, self.digits)


class Events(_Part, frozen=True):
    """Something that befalls patients in treatment, so often a day, recorded with a form."""

    per_day: float
    record: str
    by: str
    answers: Mapping[str, Answer] = field(default={}, name="with")


class Profile(_Part, frozen=True):
    """A whole profile, as read. Durations are in the words of the language (`10 min`).

    Patients arrive by chance, `arrivals` a day in each clinic of `clinic_size` patients; clinics
    share nothing. `takes` says how long a step (a session's act: `start nad_infusion`) keeps a
    person; `declines` and `misses` how likely it is, each time, that a step is refused or that
    nobody comes to a session; `leaves` how often a day somebody in treatment leaves to an end.
    """

    simulation: int
    arrivals: float
    crews: tuple[Crew, ...]
    about: str = ""
    story: str = "straight-way-through"
    starts: str = "2026-03-02 00:00"
    zone: str = "UTC"
    clinic_size: int = 100
    takes: Mapping[str, str] = {}
    otherwise: str = "10 min"
    patience: str = "30 min"
    tries: int = 6
    resources: Mapping[str, Resource] = {}
    answers: Mapping[str, Mapping[str, Answer]] = {}
    declines: Mapping[str, float] = {}
    misses: Mapping[str, float] = {}
    leaves: Mapping[str, float] = {}
    befalls: tuple[Events, ...] = ()
    ways: Mapping[str, str] = {}
    file: str = ""

    @property
    def site(self) -> Site:
        """The simulated clinic's site."""
        return site_from("main", {"zone": self.zone})

    @property
    def start(self) -> datetime:
        """The instant at which the doors open."""
        return datetime.fromisoformat(self.starts).replace(tzinfo=ZoneInfo(self.zone))

    @property
    def waits(self) -> timedelta:
        """How long until something that was refused is tried again."""
        return _elapsed(self.patience)

    def time_for(self, what: str) -> timedelta:
        """How long something keeps a person."""
        return _elapsed(self.takes.get(what, self.otherwise))

    @staticmethod
    def load(path: str | Path) -> Profile:
        """Read a profile. Raises BadProfile, which names the place."""
        path = Path(path)
        profile, _ = typed(path, Profile, BadProfile, _plain)
        try:
            profile.start.utcoffset()
            for text in (profile.otherwise, profile.patience, *profile.takes.values()):
                _elapsed(text)
            if profile.arrivals <= 0 or profile.clinic_size < 1 or profile.tries < 1:
                raise ValueError("arrivals, clinic_size and tries are more than nothing")
            for crew in profile.crews:
                crew.hours()
        except (ValueError, KeyError) as error:
            raise BadProfile(f"{path}: {error}") from error
        if profile.simulation != 1:
            raise BadProfile(f"{path}: this release reads simulation: 1, not {profile.simulation}")
        return msgspec.structs.replace(profile, file=str(path))


def _elapsed(text: str) -> timedelta:
    found = parse_duration(text)
    if found is None:
        raise ValueError(f'"{text}" is no duration; write it as 10 min')
    return found.elapsed


def _plain(value: Any) -> Any:
    """Decimals as floats: a profile draws by chance, it decides nothing."""
    return value if isinstance(value, str | bool | int | None) else float(value)
