"""The four ways in which things go wrong, and the plain values that explain them.

`ProgramError` is for the author of a program file, `Refused` for the person who asked for
something, `Conflict` for a caller who was overtaken, `JournalError` for operations.
`str()` of an error names codes, places, gates, fields and record ids, never a patient's value:
values are only in `.explanation`, which is rendered on purpose.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

__all__ = [
    "EXIT_INTERRUPTED",
    "EXIT_PIPE_CLOSED",
    "EXIT_USAGE",
    "HANDLING",
    "Clause",
    "Conflict",
    "Finding",
    "Handling",
    "JournalError",
    "KatError",
    "Place",
    "ProgramError",
    "Reason",
    "Refusal",
    "Refused",
    "handling",
]


class Place(Struct, frozen=True):
    """A place in a program file: line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Finding(Struct, frozen=True):
    """One thing that is wrong (or doubtful) in a program file.

    `code` is stable and explained by `kat explain CODE`; `source` is the line of the file and
    `width` how many columns of it, from `place.column` on, are meant; `hint` is a way out.
    """

    code: str
    place: Place
    message: str
    hint: str = ""
    source: str = ""
    width: int = 1
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.place} {self.code}: {self.message}{hint}"


class Clause(Struct, frozen=True):
    """One comparison of a gate, as it stood when it was judged.

    `truth` is None while it is unknown. `value` is rendered for people; `recorded` and `step`
    say when and by which step the value was recorded; `record` is the observation's id.
    `unblock` is what would make the clause true.
    """

    text: str
    truth: bool | None
    state: Literal["known", "unknown", "expired", "unsigned"] = "known"
    fact: str = ""
    value: str = ""
    recorded: datetime | None = None
    step: str = ""
    record: str = ""
    unblock: str = ""


class Reason(Struct, frozen=True):
    """One reason why a command is refused.

    `code` is stable (`kat explain CODE`); `says` is a sentence without any patient value;
    `gate` and `clauses` are set where a gate did not hold; `unblock` names ways out.
    """

    code: str
    says: str
    gate: str = ""
    clauses: tuple[Clause, ...] = ()
    unblock: tuple[str, ...] = ()


class Refusal(Struct, frozen=True):
    """Why a command was not carried out: every reason, in the order in which they are judged."""

    command: str
    reasons: tuple[Reason, ...]

    @property
    def code(self) -> str:
        """The code of the first reason."""
        return self.reasons[0].code

    @property
    def explanation(self) -> str:
        """The whole refusal as text for the person who asked; it may hold patient values."""
        lines = [f"Refused: {self.command}"]
        for reason in self.reasons:
            lines.append(f"- [{reason.code}] {reason.says}")
            for clause in reason.clauses:
                mark = {True: "holds", False: "does not hold", None: clause.state}[clause.truth]
                seen = f" (now {clause.value})" if clause.value else ""
                when = f", recorded {clause.recorded:%Y-%m-%d %H:%M %Z}" if clause.recorded else ""
                by = f" by step {clause.step}" if clause.step else ""
                lines.append(f"    {clause.text}: {mark}{seen}{when}{by}")
                if clause.unblock and clause.truth is not True:
                    lines.append(f"      way out: {clause.unblock}")
            lines.extend(f"    way out: {way}" for way in reason.unblock)
        return "\n".join(lines)


class KatError(Exception):
    """What every error of this library is."""


class ProgramError(KatError):
    """A program file cannot be used; `findings` says everything that is wrong with it."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        super().__init__("\n".join(str(finding) for finding in findings))

    def __reduce__(self) -> tuple[type[ProgramError], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)  # it comes whole out of another process


class Refused(KatError):
    """A command was refused; nothing was written. `refusal` says why and what would unblock it."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        gates = [r.gate for r in refusal.reasons if r.gate]
        named = f" (gates: {', '.join(gates)})" if gates else ""
        codes = ", ".join(dict.fromkeys(r.code for r in refusal.reasons))
        super().__init__(f"{refusal.command}: {codes}{named}")

    def __reduce__(self) -> tuple[type[Refused], tuple[Refusal]]:
        return type(self), (self.refusal,)  # it comes whole out of another process

    @property
    def code(self) -> str:
        """The code of the first reason."""
        return self.refusal.code

    @property
    def explanation(self) -> str:
        """The whole refusal as text; it may hold patient values."""
        return self.refusal.explanation


class Conflict(KatError):
    """Someone else wrote first and retrying did not help; read again and decide anew."""


class JournalError(KatError):
    """The record cannot be read or written; operations must look."""


class Handling(Struct, frozen=True):
    """How the command line and the web answer an error: exit code, HTTP status, what it means."""

    error: type[KatError]
    exit_code: int
    status: int
    about: str


HANDLING = (
    Handling(ProgramError, 1, 400, "a program (or a scenario) has findings: change its file"),
    Handling(Refused, 3, 422, "refused, nothing was written: choose otherwise"),
    Handling(Conflict, 4, 409, "someone else wrote first: look again and repeat"),
    Handling(JournalError, 5, 503, "the record cannot be read or written: operations must look"),
)
"""Each class of error, once. 0 is success; the codes below belong to the command line alone."""

EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED = 2, 130, 141


def handling(error: KatError) -> Handling:
    """The row of the table for an error; any other kind is the author's (exit code 1)."""
    return next((row for row in HANDLING if isinstance(error, row.error)), HANDLING[0])
