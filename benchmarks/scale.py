"""CPU microseconds for an event while so many patients are in the clinic: `scale PATIENTS`.

All patients are enrolled and live in memory. A thousand of them, spread evenly among all, then do
the first commands of the script, patient after patient within each command, so that none is still
at hand in a cache when its turn comes again. The same events at any number of patients.
"""

from __future__ import annotations

import sys
from time import process_time

from msgspec.structs import replace

from benchmarks.workload import PROGRAM, SITE, plan
from kat_workflow.enrollment.around import Around
from kat_workflow.enrollment.commands import Enroll
from kat_workflow.enrollment.decide import Decision, decide
from kat_workflow.enrollment.state import NOBODY
from kat_workflow.language import load

BUSY = 1_000
COMMANDS = 8


def per_event(patients: int) -> float:
    """CPU microseconds per event among so many patients."""
    program, around = load(PROGRAM), Around(SITE)
    enroll, *script = plan()[: COMMANDS + 1]
    clinic = []
    for number in range(patients):
        act = Enroll(f"e-{number}", f"patient:{number}")
        answer = decide(program, NOBODY, around, replace(enroll, act=act))
        assert isinstance(answer, Decision)
        clinic.append(answer.enrollment)
    busy = range(0, patients, max(1, patients // BUSY))
    events = 0
    began = process_time()
    for command in script:
        for number in busy:
            answer = decide(program, clinic[number], around, command)
            if isinstance(answer, Decision):
                clinic[number] = answer.enrollment
                events += len(answer.events)
    return (process_time() - began) / events * 1e6


if __name__ == "__main__":
    print(per_event(int(sys.argv[1])))
