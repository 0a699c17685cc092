"""A transfer to another site of the same organisation: no discharge, one course that goes on.

Items and their instants stay as they are; what a clock of the wall says is told by the clock of
the new site. Bookings are called off, since room and staff are the old site's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import groups, opening
from kat_workflow.program.clock import local_date, program_day

if TYPE_CHECKING:
    from kat_workflow.enrollment import commands as c
    from kat_workflow.enrollment.judge import Judge


def transfer(j: Judge, act: c.Transfer) -> None:
    """See `commands.Transfer`."""
    j.treated()
    j.not_held()
    run, to = j.run, j.run.around.to
    if to is None or to.name != act.site:
        raise j.stop(
            "unknown-site", f'no site "{act.site}"', "name a site that the engine was opened with"
        )
    if act.site == j.s.site:
        j.against("at-that-site", f"the enrollment is at {act.site}", "name another site")
    j.actor_in(j.program.decided_by, "transferring a patient")
    j.none_under_way("release")
    j.end()
    for session in list(j.s.sessions.values()):
        run.cancel_session(session, "transferred")
    for group in j.s.groups:  # those that are done without a session, and waitlists
        groups.leave(run, group, held=False)
    admitted = j.s.admitted
    if admitted is not None:
        day = program_day(admitted, run.now, run.site)
        first = local_date(run.now, to) - timedelta(days=day - 1)
        admitted = first if first < admitted else None
    clock = run.site
    run.go_on_at(to)
    run.emit(e.SiteChanged(act.site, j.at, act.reason, admitted))
    if clock.zone != to.zone:
        for item in list(j.s.items.values()):
            opening.by_the_clock(run, item, clock)
    if j.s.id in (record := run.stream("patient")).state.known.enrollments:
        record.emit(e.EnrollmentMoved(j.s.id, act.site, j.at))
