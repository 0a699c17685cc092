"""Time and what runs in it: a storm of timers, processes that freeze, clocks that jump."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from datetime import timedelta
from time import monotonic

from hammer import hammer
from walk_in import EIGHT

from .children import Child, Job, Trap
from .clinic import deed
from .suite import Ground, Row, Trial

LATER = EIGHT + timedelta(hours=49)
"""Two days during which nobody made a round: twelve timers are due for each patient."""


def storm(ground: Ground) -> Row:
    """Three workers run timers that are due all at once; two are killed on the way."""
    trial = Trial("kill -9 of 2 of 3 workers", ground, ground.fresh("storm"))
    patients = ground.times(20, 100)
    trial.do(deed(f"p{number}", 0).id for number in range(patients))
    job = Job(trial.where, due=LATER)

    with ExitStack() as stack:
        workers = [stack.enter_context(Child(job)) for _ in range(3)]
        for worker, share in zip(workers, (0.1, 0.3), strict=False):
            worker.hears(int(share * patients * 12 / 3))
            worker.kill()
        killed = monotonic()
        workers[2].ends()
    # What the killed ones had in hand is due as before; another worker finds it.
    with Child(job) as last:
        last.ends()
    trial.row.seconds = monotonic() - killed

    acknowledged = sum(worker.timers for worker in [*workers, last])
    return trial.ended(LATER, acknowledged, f"{patients} patients, {acknowledged} timers told")


def frozen(ground: Ground) -> Row:
    """A writer stops within its transaction, or just before; a worker with a timer in hand."""
    trial = Trial("process frozen and thawed", ground, ground.fresh("frozen"))
    within = Trap(statement="COMMIT", signal=signal.SIGSTOP)
    before = Trap(statement="BEGIN", signal=signal.SIGSTOP)

    # It holds the lock. Another one waits no longer than it may, and is told.
    with Child(trial.job("a", until=3, trap=within)) as holder:
        holder.freezes()
        with Child(trial.job("b", until=3, patience=0.3)) as other:
            other.ends()
            trial.told(other, "another process holds it")
            holder.thaws()
            thawed = monotonic()
            holder.ends()
            trial.recovers(holder, other, since=thawed)

    # It is about to write what its client has meanwhile sent again to another process.
    trial.do_until("a", 4)
    with Child(trial.job("a", until=5, trap=before)) as slow:
        slow.freezes()
        trial.do([deed("a", 4).id])
        slow.thaws()
        slow.ends()
        trial.recovers(slow)

    # It is about to run a timer; another worker runs all of them.
    with Child(Job(trial.where, due=LATER, trap=before)) as worker:
        worker.freezes()
        with Child(Job(trial.where, due=LATER)) as other:
            other.ends()
        worker.thaws()
        worker.ends()
    return trial.ended(LATER, other.timers + worker.timers, "writer within, before; worker")


def hammered(ground: Ground) -> Row:
    """No fault but the others: 4 processes of 8 threads at a hundred patients, for a minute."""
    seconds = min(60.0, max(1.0, ground.until - monotonic()))
    report = hammer(ground.fresh("hammer"), seconds)
    lost = [each for each in report.wrong if each.endswith("lost")]
    doubled = [each for each in report.wrong if each.endswith("times") or "twice" in each]
    return Row(
        "the hammer",
        ground.store,
        report.acknowledged - report.again + report.timers,
        len(lost),
        len(doubled),
        report.longest,
        f"{report.seconds:.0f} s, 4 processes of 8 threads; p99 {report.p99 * 1e3:.0f} ms",
        [each for each in report.wrong if each not in lost and each not in doubled],
    )


def clock(ground: Ground) -> Row:
    """A writer's clock jumps by days and back at every command; workers' clocks disagree."""
    trial = Trial("clock jumps back and forward", ground, ground.fresh("clock"), jumping=True)
    for _ in ground.rounds(2, 5):
        with Child(trial.job("w")) as child:
            child.hears(ground.times(35, 100))
            trial.recovers(child)

    far = LATER + timedelta(days=2)
    clocks = (far, EIGHT - timedelta(days=1000), LATER)
    with ExitStack() as stack:
        workers = [stack.enter_context(Child(Job(trial.where, due=at))) for at in clocks]
        for worker in workers:
            worker.ends()
    with Child(Job(trial.where, due=far)) as last:
        last.ends()
    acknowledged = sum(worker.timers for worker in [*workers, last])
    return trial.ended(far, acknowledged, "30 h ahead to 375 d back, at every command")
