"""What happened, in words: one short sentence for each event, or nothing for inner workings."""

from __future__ import annotations

from kat_workflow.enrollment import events as e

__all__ = ["said"]


def said(event: e.Event) -> str:  # one branch for each event, so that none is forgotten
    """An event in words; "" for what only the engine needs (timers, rechecks)."""
    match event:
        case e.Enrolled():
            return f"enrolled in {event.program} {event.version}"
        case e.Admitted():
            return f"admitted: program day 1 is {event.on}"
        case e.PhaseEntered():
            round_ = f", round {event.round}" if event.round > 1 else ""
            return f"entered {event.phase}{round_}"
        case e.PhaseLeft():
            return f"left {event.phase} ({event.reason})"
        case e.ItemOpened():
            return f"opened {event.step or event.kind + ' ' + event.about}"
        case e.ItemAssigned():
            return f"{event.item} given to {event.person or 'nobody in particular'}"
        case e.ItemAnswered():
            return f"{event.step}: done"
        case e.ItemReplanned():
            return f"planned {event.item} anew ({event.because})"
        case e.ItemSettled():
            why = f" ({event.reason})" if event.reason else ""
            whose = f", instead of {event.assigned}" if event.assigned else ""
            return f"{event.step or event.item}: {event.outcome}{why}{whose}"
        case e.ObservationRecorded():
            how = event.carried or "recorded"
            source = f" from {event.source}" if event.source else ""
            late = " (late entry)" if event.late else ""
            return f"{how} {event.step or event.form}{source}{late}"
        case e.ObservationCorrected():
            return (
                f"corrected {event.step or event.form}: {event.corrects} is now "
                f"{event.observation} ({event.reason})"
            )
        case e.ObservationRetracted():
            about = event.step or event.form
            return f"retracted {about}: {event.observation} was entered in error ({event.reason})"
        case e.DecisionQuestioned():
            return (
                f"{event.decision} of {event.what} (entry {event.entry}) is in question: was "
                f"{event.was}, would be {event.would_be}"
            )
        case e.Signed():
            what = event.item or event.session or event.observation
            for_ = f" for {event.acting_for}" if event.acting_for else ""
            return f"{event.as_} under {what}{for_}"
        case e.SkipVoided():
            return f"{event.step} is no longer skipped"
        case e.ConsentChanged():
            since = ", before what was told already" if event.superseded else ""
            return f"consent {event.consent} {event.state}{since}"
        case e.SessionBooked():
            return f"session {event.session} booked"
        case e.SessionMoved():
            return f"session {event.session} moved"
        case e.SessionArrived():
            return f"arrived for {event.session}"
        case e.SessionStarted():
            return f"session {event.session} started"
        case e.DoseGiven():
            rate = f" at {event.rate}" if event.rate else ""
            return (
                f"dose in {event.session}: {event.amount} {event.unit}{rate}, total {event.total}"
            )
        case e.LotCorrected():
            was = f"lot {event.was}" if event.was else "no lot was named"
            return f"what was given in {event.session} came from lot {event.lot} ({was} before)"
        case e.DosingPaused():
            return f"dosing paused in {event.session} ({event.because})"
        case e.DosingResumed():
            return f"dosing resumed in {event.session}"
        case e.DosingEnded():
            return f"dosing ended in {event.session}: {event.total} {event.unit} given"
        case e.SessionAborted():
            return f"session {event.session} aborted ({event.reason})"
        case e.SessionCancelled():
            why = ", ".join(filter(None, (event.cause, event.reason)))
            short = ", at short notice" if event.short else ""
            return f"session {event.session} cancelled ({why}{short})"
        case e.SessionReleased():
            counted = "counts" if event.counted else "does not count"
            return f"session {event.session} {event.final}; it {counted}"
        case e.Ordered():
            capped = ", the most that may be" if event.capped else ""
            weight = f" for {event.weight} {event.weight_unit}" if event.weight else ""
            return (
                f"ordered {event.order}.{event.number}: {event.drug} {event.amount} {event.basis}"
                f"{weight}, {event.total} {event.unit}{capped}"
            )
        case e.OrderStopped():
            return f"order {event.order}.{event.number} stopped ({event.reason})"
        case e.DoseChecked():
            return f"dose of {event.session} checked by {event.person}"
        case e.MedicineGiven():
            return f"gave {event.medicine}: {event.drug} {event.amount} {event.unit}"
        case e.DrugHandled():
            lot = f" (lot {event.lot})" if event.lot else ""
            manner = f", {event.manner}" if event.manner else ""
            moved = f"{event.what} for {event.session}: {event.amount} {event.unit}".rstrip()
            return f"{moved}{lot}{manner}"
        case e.AlertRaised():
            late = " (late)" if event.late else ""
            return f"called {', '.join(event.tell)}{late}: {event.says}"
        case e.AlertEscalated():
            return f"nobody answered; called {', '.join(event.tell)}: {event.says}"
        case e.ReadingAsked():
            return f"the watch of {event.session} looks again sooner"
        case e.DeviationNoted():
            return f"deviation {event.code}: {event.says}"
        case e.Held():
            look = "" if event.review_by is None else f", to be reviewed by {event.review_by}"
            return f"{event.hold} ({event.reason}){look}"
        case e.HoldLifted():
            return f"{event.hold} lifted"
        case e.VersionChanged():
            return f"goes on by version {event.version} instead of {event.was} ({event.reason})"
        case e.ObservationAddended():
            return f"added to {event.step or event.form} ({event.observation})"
        case e.OverrideGranted():
            return f"gate {event.gate} overridden ({event.code or event.reason})"
        case e.OverrideAsked():
            return f"override of {event.gate} asked for ({event.code or event.reason})"
        case e.OverrideUsed():
            return f"override of {event.gate} used"
        case e.ActedFor():
            return f"as {event.role} for {event.acting_for}"
        case e.GlassBroken():
            passed = f"; passed {', '.join(event.passed)}" if event.passed else ""
            return f"emergency: {event.reason}{passed}"
        case e.CoverGranted():
            return f"{event.person} covers {event.role} until {event.until}"
        case e.CoverRevoked():
            return f"{event.cover} ended"
        case e.Discharged():
            why = f": {event.reason}" if event.reason else ""
            return f"discharged as {event.end}{why}"
        case e.Erased():
            what = "patient" if event.wholly else f"entries {event.since} to {event.through}"
            return f"{what} erased ({event.ground})"
        case e.Closed():
            return "closed"
        case e.EnrollmentBegan():
            return f"began {event.program} as {event.enrollment}"
        case e.EnrollmentEnded():
            return f"{event.enrollment} ended as {event.end}"
        case e.ProgramSignedOff():
            return f"{event.program} {event.version} signed off by {event.name}: {event.meaning}"
        case e.ProgramRetired():
            return f"{event.program} retired ({event.reason})"
        case e.SiteChanged():
            return f"goes on at {event.site}"
        case e.OfferMade():
            return f"evaluations handed over to {event.to}"
        case e.EnrollmentMoved():
            return f"{event.enrollment} goes on at {event.site}"
        case e.SessionUnderWay():
            return f"session {event.session} of {event.program} under way"
        case e.SessionDosed():
            return f"first drug in {event.session}"
        case e.SessionOver():
            return f"session {event.session} over"
        case e.PatientHeld():
            return f"{event.hold} of {event.program} everywhere ({event.reason})"
        case e.PatientFreed():
            return f"{event.hold} lifted everywhere"
        case e.SeatGivenUp():
            return f"the seat in {event.group} is kept for one who waits"
        case e.HeldElsewhere():
            return "a hold of the patient was made or lifted in another program"
        case e.IdsChanged():
            if event.ids == "parted":
                return "the patient's ids are two patients again"
            return "two ids became one patient"
        case e.WarnedElsewhere() | e.PatientWarned():
            return f"called in {event.program}: {event.says}"
        case e.EvaluationsOffered():
            return f"{event.program} hands evaluations over to {event.to}"
        case e.PatientMerged():
            return f"{event.duplicate} merged into {event.survivor} ({event.reason})"
        case e.PatientUnmerged():
            return f"{event.duplicate} unmerged from {event.survivor} ({event.reason})"
        case e.StockReceived() | e.StockCounted() | e.LotUsed():
            return f"lot {event.lot} of {event.drug}: {_stock(event)}"
        case e.RecheckSet() | e.TimerElapsed():
            return ""
        case e.DrugReserved():
            return f"reserved {event.drug} for {event.enrollment}/{event.about}"
        case e.DrugFreed():
            return f"reserved no more {event.drug} for {event.enrollment}/{event.about}"
        case e.DrugGiven():
            return f"counted {event.drug} of {event.enrollment}/{event.about}"
        case e.GroupJoined():
            return f"seat {event.seat} in group {event.group}"
        case e.GroupWaitlisted():
            return f"on the waitlist of group {event.group}"
        case e.GroupLeft():
            return f"group {event.group}: {'held' if event.held else 'dropped out'}"
        case e.GroupPlanned():
            return f"group {event.group} planned"
        case e.GroupMoved():
            return "group moved"
        case e.MemberJoined():
            return f"seat {event.seat}: {event.enrollment}"
        case e.MemberWaitlisted():
            return f"waits for a seat: {event.enrollment}"
        case e.SeatOffered():
            return f"seat {event.seat} offered to {event.enrollment}"
        case e.MemberDropped():
            return f"dropped out: {event.enrollment}"
        case e.MemberDone():
            return f"through with it: {event.enrollment}"
        case e.GroupStarted():
            why = f", although {event.regardless}" if event.regardless else ""
            return f"group started with {event.members} members{why}"
        case e.GroupCalledOff():
            return f"group called off ({event.reason})"
        case e.GroupClosed():
            return "group closed"
        case e.RoomReserved():
            return f"{event.room or 'no room'} reserved for group {event.group}"
        case e.RoomTaken():
            return f"group {event.group} is in its room"
        case e.RoomFreed():
            return f"the room of group {event.group} is free"


def _stock(event: e.StockReceived | e.StockCounted | e.LotUsed) -> str:
    if isinstance(event, e.LotUsed):
        volume = f" ({event.volume})" if event.volume else ""
        manner = f": {event.manner}" if event.manner else ""
        return f"{event.amount} {event.unit}{volume} {event.what}{manner}"
    seen = f", before {event.witness}" if event.witness else ""
    if isinstance(event, e.StockReceived):
        whence = f" from {event.supplier}" if event.supplier else ""
        containers = f" in {event.containers} containers" if event.containers else ""
        return f"{event.amount} {event.unit} received{containers}{whence}{seen}"
    why = f" ({event.reason})" if event.reason else ""
    return f"{event.found} {event.unit} found, {event.expected} expected{why}{seen}"
