"""Whatever bytes come in, a decoder reads them or says in the documented way that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walk_in import ANN, Clock, programs

from kat_workflow import Engine, KatError
from kat_workflow.engine.receiving import received
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.commands import Actor, Record
from kat_workflow.enrollment.state import NOBODY, decode_row, encode_row, evolve
from kat_workflow.errors import JournalError, ProgramError, Refused
from kat_workflow.journal import Cursor
from kat_workflow.language import compile_files

RECORDED = Path(__file__).parent / "journals"


@cache
def bodies() -> tuple[bytes, ...]:
    """The entries of every journal that a release has recorded."""
    found = []
    for file in sorted(RECORDED.rglob("*.jsonl")):
        for line in file.read_bytes().splitlines()[:60]:
            found.append(line)
    return tuple(found)


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were right, with some cut out, put in, doubled or changed."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        match draw(st.integers(0, 3)):
            case 0:
                del data[at:end]
            case 1:
                data[at:at] = draw(st.binary(max_size=12))
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:end] = draw(st.binary(min_size=end - at, max_size=end - at))
    return bytes(data)


def or_says(decode: Callable[[bytes], object], *errors: type[KatError]) -> Callable[[bytes], None]:
    def tried(data: bytes) -> None:
        with suppress(*errors):
            decode(data)

    return tried


decode_event = or_says(e.decode, JournalError)
decode_state = or_says(decode_row, JournalError)


@given(st.binary(max_size=300) | mutated(st.deferred(lambda: st.sampled_from(bodies()))))
def test_any_bytes_are_an_event_or_a_journal_error(data: bytes) -> None:
    decode_event(data)


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs(tmp_path_factory.mktemp("clinic"))


@cache
def rows() -> tuple[bytes, ...]:
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    state = evolve(NOBODY, e.Enrolled("e-1", "walk-in", "1", "d" * 64, "P", "main", at))
    return encode_row(state), encode_row(evolve(state, e.Admitted(at.date(), at)))


@given(st.binary(max_size=300) | mutated(st.deferred(lambda: st.sampled_from(rows()))))
def test_any_bytes_are_a_state_row_or_a_journal_error(data: bytes) -> None:
    decode_state(data)


@pytest.mark.parametrize("decode", [decode_event, decode_state])
@pytest.mark.parametrize("nest", [b"[", b'{"values":', b"\x91"])
def test_nesting_without_end_is_no_crash(decode: Callable[[bytes], None], nest: bytes) -> None:
    decode(nest * 100_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ANYTHING = JSON | st.binary() | st.just("\ud800") | st.just(object())


@given(step=ANYTHING, values=st.dictionaries(st.text() | st.just("\ud800"), ANYTHING), by=ANYTHING)
def test_any_command_is_received_or_refused(step: Any, values: dict[str, Any], by: Any) -> None:
    with suppress(Refused):
        received("e", Record(step, values), Actor(by, {"nurse"}), "c", None, "", "")


@given(
    at=st.datetimes(timezones=st.just(UTC)), stream=st.text(max_size=9), item=st.text(max_size=9)
)
def test_a_page_after_any_cursor_is_a_page(at: datetime, stream: str, item: str) -> None:
    with Engine.open(clock=Clock()) as engine:
        assert engine.worklist(after=Cursor(at, stream, item)).items == ()


@given(st.dictionaries(st.sampled_from(["a.yaml", "b.yaml"]), st.text(max_size=200), min_size=1))
def test_kept_files_of_any_text_are_a_program_or_its_findings(files: dict[str, str]) -> None:
    with suppress(ProgramError):
        compile_files(files, next(iter(files)))


@given(st.binary(max_size=64))
def test_an_entry_of_any_bytes_is_an_error_of_the_record_wherever_it_is_read(
    clinic: Path, data: bytes
) -> None:
    with Engine.open(programs=clinic, clock=Clock()) as engine:
        patient = engine.enroll("walk-in", patient="P", by=ANN)
        stream = f"enrollment:{patient}"
        journal: Any = engine.journal
        journal._rows.pop(stream)
        entries = journal._streams[stream]
        entries[0] = msgspec.structs.replace(entries[0], body=data)
        engine._states.clear()

        for ask in (engine.status, engine.history, engine.records):
            with pytest.raises(JournalError):
                ask(patient)
