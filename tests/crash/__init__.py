"""Faults, as a suite that anybody can run: `python -m tests.crash`.

Processes that write through the real engine are killed, frozen, cut off or starved of disk while
they do it. What a process was told ("done") it passes on through a pipe, which outlives it. Then
the store is opened again and judged: every command that was acknowledged is there exactly once,
none is there in part, and what was not acknowledged is sent again under the same id and has one
outcome.

- `clinic`: what the processes do; the same words from the same number, so that it can be repeated
- `children`: the processes, and where in a commit they meet their end
- `judge`: what should stand in the journal, against what does
- `suite`: a fault's row in the table, the stores, and the ground that a fault is tried on
- `killing`, `timing`, `disks`, `servers`: the faults; `line`: a network that can be cut
- `faults`: which fault befalls which store
"""

import sys
from pathlib import Path

# As pytest does it: programs and servers of the tests are found by their own names.
if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.append(_tests)
