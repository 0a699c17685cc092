"""Coverage-guided fuzzing of everything that reads bytes from outside: `make fuzz`.

    python tests/fuzz.py [DECODER] [SECONDS]

A decoder may answer, or raise what it documents; anything else is a crash, and atheris prints the
input that made it. Needs `pip install atheris` (which has no wheel for every platform); the same
decoders are tried by hypothesis in every `make test` (`test_decoders.py`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

try:
    import atheris
except ImportError:
    sys.exit("pip install atheris; where it has no wheel, KAT_RANDOM=1 make test tries new inputs")

with atheris.instrument_imports(include=["kat_workflow"]):
    from kat_workflow.enrollment import events as e
    from kat_workflow.enrollment.commands import BadPhrase, parse
    from kat_workflow.enrollment.state import decode_row
    from kat_workflow.errors import JournalError, ProgramError
    from kat_workflow.journal import open_journal
    from kat_workflow.journal.keeping import import_journal
    from kat_workflow.language import compile_files

RECORDED = sorted((Path(__file__).parent / "journals").rglob("*.jsonl"))
PROGRAMS = sorted((Path(__file__).parent.parent / "programs").rglob("*.yaml"))


def an_event(data: bytes) -> None:
    with suppress(JournalError):
        e.decode(data)


def a_state_row(data: bytes) -> None:
    with suppress(JournalError):
        decode_row(data)


def an_export(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file, open_journal() as journal:
        file.write(data)
        file.flush()
        with suppress(JournalError):
            import_journal(file.name, journal, lambda _: None)


def a_program(data: bytes) -> None:
    with suppress(ProgramError):
        compile_files({"p/p.yaml": data.decode("utf-8", "replace")}, "p/p.yaml")


def a_phrase(data: bytes) -> None:
    phrase, _, detail = data.decode("utf-8", "replace").partition("=")
    with suppress(BadPhrase):
        parse(phrase, {"reason": detail} if detail else {})


DECODERS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (an_event, a_state_row, an_export, a_program, a_phrase)
}


def seeds(name: str, folder: Path) -> None:
    """Inputs that are right, to begin from."""
    found: list[bytes] = []
    if name == "an_event":
        found = [line for file in RECORDED for line in file.read_bytes().splitlines()[:20]]
    elif name == "a_program":
        found = [file.read_bytes() for file in PROGRAMS[:20]]
    elif name == "a_phrase":
        found = [b"record look=x", b"hand over all to bo", b"admit 2026-03-02"]
    elif name == "an_export":
        head = b'{"header":{"format":1,"schema":2,"made":"2026-03-02T08:00:00Z","part2":{}}}\n'
        found = [head + b'{"end":{"entries":0,"position":0,"root":""}}\n']
    for number, each in enumerate(found):
        (folder / str(number)).write_bytes(each)


def main() -> None:
    if len(sys.argv) < 3:
        for name in DECODERS:
            print(f"--- {name}", flush=True)
            subprocess.run([sys.executable, __file__, name, *(sys.argv[1:] or ["15"])], check=True)
        return
    name, seconds = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        seeds(name, Path(folder))
        # Nobody needs all that libFuzzer says; a crash is printed all the same.
        options = [f"-max_total_time={seconds}", "-verbosity=0", "-max_len=65536"]
        atheris.Setup([sys.argv[0], *options, folder], DECODERS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
