"""Corrections, retractions and late entries: what they change from now on, and what they question.

No entry is ever changed. A recording that was wrong gets a further version, or a note that it was
entered in error, and from then on gates read what is so. Decisions that were taken stand; but each
is judged again at its own instant, by what was known then and by what is known now to have been
so. Where the two differ, `DecisionQuestioned` says so, and somebody must look.

Both judgements leave overrides out: an override answers for a person, not for what was so. What
was recorded counts as signed or not as it did then; what was not known then counts as signed,
since a missing signature makes nothing untrue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import events as e
from kat_workflow.enrollment import ledger, moving, opening, signing
from kat_workflow.enrollment.around import Past
from kat_workflow.enrollment.run import (
    EVERY_GATE,
    Run,
    consents_at,
    readable_of,
    retained,
    taken_by,
)
from kat_workflow.enrollment.state import NOBODY, Enrollment, Settlement, copy_of, fold
from kat_workflow.enrollment.state import replay as replayed
from kat_workflow.program.chart import Goes, NextRound, Undecided
from kat_workflow.program.forms import Form, Observation, Raw, accept, read

if TYPE_CHECKING:
    from kat_workflow.enrollment import commands as c
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.state import Item
    from kat_workflow.program.gates import Test
    from kat_workflow.program.model import Program, Step

Said = e.ObservationRecorded | e.ObservationCorrected


class Version(Struct, frozen=True):
    """What a recording said, by the `entry` of that number; all signatures it needed were there
    with the entry `signed` (0: not yet)."""

    entry: int
    said: Said
    signed: int = 0


class Record(Struct, frozen=True):
    """A recording with all that was said of it later: the original first, the newest last;
    `addenda` are what was added to it."""

    versions: tuple[Version, ...]
    retracted: e.ObservationRetracted | None = None
    addenda: tuple[e.ObservationAddended, ...] = ()

    @property
    def newest(self) -> Said:
        """What it says now."""
        return self.versions[-1].said

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids it has had, oldest first; the last one names it."""
        return tuple(each.said.observation for each in self.versions)


def records(history: Iterable[e.Event]) -> tuple[Record, ...]:
    """Every recording among the events of an enrollment, in order, with its corrections."""
    found: list[Record] = []
    at: dict[str, int] = {}
    missing: dict[str, set[str]] = {}
    for entry, event in enumerate(history, 1):
        if isinstance(event, e.ObservationRecorded | e.ObservationCorrected):
            missing[event.observation] = set(event.needs)
            version = Version(entry, event, 0 if event.needs else entry)
            if isinstance(event, e.ObservationRecorded):
                at[event.observation] = len(found)
                found.append(Record((version,)))
            else:
                here = at[event.observation] = at[event.corrects]
                found[here] = replace(found[here], versions=(*found[here].versions, version))
        elif isinstance(event, e.ObservationRetracted):
            here = at[event.observation]
            found[here] = replace(found[here], retracted=event)
        elif isinstance(event, e.ObservationAddended):
            here = at[event.observation]
            found[here] = replace(found[here], addenda=(*found[here].addenda, event))
        elif isinstance(event, e.Signed) and event.observation:
            waits = missing[event.observation]
            waits.discard(event.as_)
            here = at[event.observation]
            last = found[here].versions[-1]
            if not waits and not last.signed:
                signed = replace(last, signed=entry)
                found[here] = replace(found[here], versions=(*found[here].versions[:-1], signed))
    return tuple(found)


# Any past instant: as known, as true.


def as_known(history: Iterable[Past], at: datetime) -> Enrollment:
    """The enrollment as the journal knew it at an instant: by the entries recorded until then."""
    return replayed(past.event for past in _until(history, at))


def as_true(history: Iterable[Past], at: datetime) -> Enrollment:
    """The enrollment at an instant, its readings as they were in truth by all that is known today.

    Corrections and late entries that came later are there, what was retracted is not. Phases,
    sessions and items are those of `as_known`: what was done by what was known was done. All
    readings are there, not only those that gates ask for: it is to be looked at, not gone on from.
    """
    state = as_known(history, at)
    builder = copy_of(state)
    builder.wake = state.wake
    builder.readings = true_readings(records(past.event for past in history), at)
    return builder


def _until(history: Iterable[Past], at: datetime) -> Iterator[Past]:
    for past in history:
        if past.recorded > at:  # a clock that was set back later does not bring an entry forward
            return
        yield past


def true_readings(
    records: Iterable[Record], at: datetime, known: int | None = None
) -> dict[str, tuple[Observation, ...]]:
    """What had happened by an instant, by the newest versions. With `known`, what was recorded by
    the entry of that number is signed as it was then; of the rest only what happened before the
    instant is there, and counts as signed."""
    found: defaultdict[str, list[tuple[datetime, int, Observation]]] = defaultdict(list)
    for record in records:
        if record.retracted is not None:
            continue
        last = record.versions[-1]
        said = last.said
        late = known is not None and record.versions[0].entry > known
        if said.occurred > at or (late and said.occurred == at):
            continue
        if late:
            signed = True
        elif known is None:
            signed = last.signed > 0
        else:
            signed = any(0 < each.signed <= known for each in record.versions)
        found[said.form].append((said.occurred, last.entry, _reading(said, signed)))
    return {form: tuple(each[2] for each in sorted(all_)) for form, all_ in found.items()}


def _reading(said: Said, signed: bool) -> Observation:
    """A recording as gates read it, with all of its values."""
    return Observation(
        said.observation,
        said.form,
        said.step,
        said.place,
        said.values,
        said.occurred,
        said.recorded,
        signed,
        said.valid_until,
        said.kept_in,
    )


# Acts.


def correct(j: Judge, act: c.Correct) -> None:
    """See `commands.Correct`."""
    run, program = j.run, j.program
    before = records(past.event for past in run.history())
    record = _named(j, before, act.record, "correct")
    old = record.newest
    form, step = program.forms[old.form], program.steps.get(old.step)
    _may(j, form, step, f"correcting {old.step or old.form}")
    if not act.reason:
        j.against("reason-missing", "a correction needs a reason", "say why")
    values, slips = _merged(form, old.values, act.values)
    for slip in slips:
        j.against(slip.code, slip.says, slip.unblock)
    occurred = old.occurred if j.command.occurred is None else j.occurred
    if not slips and values == old.values and occurred == old.occurred:
        j.against("nothing-corrected", "it says so already", "name the value that was wrong")
    # What was signed of the old version is signed no longer.
    needs = () if step is None else signing.needs(step, act.signed)
    if act.signed and step is not None and run.role not in step.by:
        roles = ", ".join(program.roles.get(role, role) for role in step.by)
        j.against("wrong-role", f"signing {step.name} is for: {roles}", "leave it unsigned")
    j.end()
    plans = opening.anchored(run, form.name)
    item = _waiting(run, old.observation)
    if item is None and needs and step is not None:
        item = run.review(step.name, tuple(dict.fromkeys(_signers(step, needs))))
    last = run.s.settled.get(old.step)
    new = e.ObservationCorrected(
        f"o{run.s.version + 1}",
        old.observation,
        form.name,
        old.step,
        old.place,
        values,
        occurred,
        run.now,
        j.actor.person,
        run.role,
        act.reason,
        "" if item is None else item.id,
        needs,
        run.valid_until(form, occurred),
        kept_in=old.kept_in,
        settles=last is not None
        and (last.outcome, last.at, last.place) == ("done", old.occurred, old.place)
        and occurred != old.occurred
        and _opened_as(record.versions[0].said.item, last),
    )
    if step is not None and signing.asks_for_signatures(step):
        new = replace(new, content=signing.content_of(run.s.id, new))
    version = Version(run.s.version + 1, new, 0 if needs else run.s.version + 1)
    after = _with(before, record, replace(record, versions=(*record.versions, version)))
    drops, into = _readable(run, after, form.name)
    kept = next((each for each in into if each.id == new.observation), None)
    run.emit(
        replace(
            new,
            kept=() if kept is None else tuple(kept.values),
            drops=tuple(id_ for id_ in drops if id_ != old.observation),
            restored=tuple(each for each in into if each is not kept),
        )
    )
    if step is not None and act.signed and step.signed:
        signing.put(j, "signature", new.content, item=new.item, observation=new.observation)
    if item is not None and not needs:
        run.settle_item(item, "done", occurred)
    run.new.append((form.name, old.step, new.observation))
    ledger.name_lot(j, old.step, old.place, (old.values,), values, new.observation)
    _follow(run, form.name, new.observation, plans, before, after, min(occurred, old.occurred))


def retract(j: Judge, act: c.Retract) -> None:
    """See `commands.Retract`."""
    run = j.run
    before = records(past.event for past in run.history())
    record = _named(j, before, act.record, "retract")
    old = record.newest
    form, step = j.program.forms[old.form], j.program.steps.get(old.step)
    _may(j, form, step, f"retracting {old.step or old.form}")
    if not act.reason:
        j.against("reason-missing", "a retraction needs a reason", "say why")
    j.end()
    plans = opening.anchored(run, form.name)
    item = _waiting(run, old.observation)
    if item is not None and not item.step:
        run.settle_item(item, "cancelled", j.at, "retracted")
        item = None
    gone = e.ObservationRetracted(
        old.observation,
        form.name,
        old.step,
        run.now,
        j.actor.person,
        run.role,
        act.reason,
        "" if item is None else item.id,
    )
    after = _with(before, record, replace(record, retracted=gone))
    _, into = _readable(run, after, form.name)
    run.emit(replace(gone, restored=tuple(into)))
    if step is not None and _settled_it(run, record):
        opening.reopen(run, step, old.place)
    _follow(run, form.name, "", plans, before, after, old.occurred, old.observation)


def told_after_the_dose(j: Judge, new: e.ObservationRecorded) -> None:
    """What says of which lot a dose is was recorded after it: for the first time, or in place of
    what was entered in error."""
    found = records(past.event for past in j.run.history())
    before = [
        each.newest.values
        for each in found
        if each.retracted is not None
        and (each.newest.step, each.newest.place) == (new.step, new.place)
    ]
    ledger.name_lot(j, new.step, new.place, ({}, *before), new.values, new.observation)


def addend(j: Judge, act: c.Addend) -> None:
    """See `commands.Addend`."""
    run, program = j.run, j.program
    record = _named(j, records(past.event for past in run.history()), act.record, "addend")
    said = record.newest
    step = program.steps.get(said.step)
    own = program.forms[said.form].by if step is None else step.by
    j.actor_in((*own, *program.decided_by) if own else (), f"adding to {said.step or said.form}")
    if not act.text:
        j.against("missing-value", "there is nothing to add", "say what is added: text")
    j.end()
    run.emit(
        e.ObservationAddended(
            said.observation,
            said.form,
            said.step,
            {"text": act.text},
            j.occurred,
            run.now,
            j.actor.person,
            run.role,
        )
    )


def take_late(run: Run, observation: str, plans: opening.Plans) -> None:
    """What follows from a recording of what happened before a decision that had been taken.

    It has just been written; `plans` are what was planned before it.
    """
    after = records([*(past.event for past in run.history()), *run.events])
    record = next(each for each in after if observation in each.ids)
    before = tuple(each for each in after if each is not record)
    said = record.newest
    _follow(run, said.form, observation, plans, before, after, said.occurred)


def place_then(run: Run, owner: str, at: datetime) -> str:
    """The visit of a phase, or the session of a kind, in which something happened at an instant;
    "" for none."""
    place = session = ""
    for past in run.history():
        event = past.event
        match event:
            case e.PhaseEntered(phase=phase, at=since) if phase == owner and since <= at:
                place = event.place
            case e.PhaseLeft(phase=phase, at=since) if phase == owner and since <= at:
                place = ""
            case e.SessionBooked(kind=kind, at=since) if kind == owner and since <= at:
                place, session = event.place, event.session
            case (
                e.SessionReleased(session=id_, at=since) | e.SessionCancelled(session=id_, at=since)
            ) if id_ == session and since <= at:
                place = ""
            case _:
                pass
    return place


def _named(j: Judge, found: Sequence[Record], name: str, verb: str) -> Record:
    """The record of that id, or the newest one of that step or form; refused where there is none
    or where it has been dealt with."""
    record = next((each for each in found if name in each.ids), None)
    if record is None:
        step = j.program.find("steps", name)
        own = [each for each in found if each.newest.step == (step or name)]
        own = own or [each for each in found if each.newest.form == name]
        record = next((x for x in reversed(own) if x.retracted is None), own[-1] if own else None)
    if record is None:
        known = ", ".join(each.ids[-1] for each in found[-5:]) or "none"
        raise j.stop(
            "unknown-record", f'nothing was recorded as "{name}"', f"the last records: {known}"
        )
    newest = record.ids[-1]
    if record.newest.form not in j.program.forms:
        says = f"{newest} was recorded under a version of the program that had its form"
        raise j.stop("unknown-record", says, "record what is so with a form of this version")
    if record.retracted is not None:
        raise j.stop(
            "already-retracted",
            f"{newest} was retracted on {record.retracted.recorded:%Y-%m-%d %H:%M} UTC",
            "record what is so with a new recording",
        )
    if name in record.ids[:-1]:
        raise j.stop("already-corrected", f"{name} was corrected by {newest}", f"{verb} {newest}")
    return record


def _may(j: Judge, form: Form, step: Step | None, what: str) -> None:
    """Whoever may record it, or decides in the program; not who must differ from the recorder."""
    own = form.by if step is None else step.by
    j.actor_in((*own, *j.program.decided_by) if own else (), what)
    if step is not None:
        j.other_person(step)


def _signers(step: Step, needs: tuple[str, ...]) -> Iterator[str]:
    for as_ in needs:
        yield from signing.signers(step, as_)


def _waiting(run: Run, observation: str) -> Item | None:
    """The item that waits for a signature under a recording."""
    for item in run.s.items.values():
        if item.pending is not None and item.pending.observation == observation:
            return item
    return None


def _opened_as(item: str, last: Settlement) -> bool:
    """Whether an item of a step is the opening that was settled last."""
    place, _, name = item.rpartition("/")
    return place == last.place and name.rpartition(".")[2] == str(last.number)


def _settled_it(run: Run, record: Record) -> bool:
    """Whether a recording is what settled its step, in a place that is not over."""
    said = record.versions[0].said
    last = run.s.settled.get(said.step)
    return (
        last is not None
        and last.outcome == "done"
        and _opened_as(said.item, last)
        and run.is_active(last.place)
    )


def _merged(
    form: Form, old: Mapping[str, Raw], given: Mapping[str, Any]
) -> tuple[dict[str, Raw], tuple[Any, ...]]:
    """The old values with those that are given, as the form accepts them. What is no longer asked
    for, because of another answer, goes by itself."""
    values: dict[str, Any] = {}
    for name, field in form.fields.items():
        if name in given or name not in old:
            continue
        value = read(field, old[name])
        if isinstance(value, tuple):
            values[name] = list(value)
        else:
            values[name] = old.get(name + "?") or value
    kept, slips = accept(form, {**values, **given})
    out = {slip.field for slip in slips if slip.code == "not-asked" and slip.field in values}
    if out:
        left = {name: value for name, value in old.items() if name not in out}
        return _merged(form, left, given)
    return kept, slips


def _with(before: Sequence[Record], old: Record, new: Record) -> tuple[Record, ...]:
    return tuple(new if each is old else each for each in before)


def _readable(
    run: Run, after: Sequence[Record], form: str
) -> tuple[tuple[str, ...], list[Observation]]:
    """What gates should be able to read of a form now: ids that go, readings that come."""
    true = true_readings(after, run.now).get(form, ())
    alive = [each for each in true if not each.kept_in or run.is_active(each.kept_in)]
    wanted = [
        replace(each, values=values)
        for each in retained(run.program, alive)
        if (values := readable_of(run.program, each))
    ]
    held = {each.id for each in run.s.readings.get(form, ())}
    ids = {each.id for each in wanted}
    drops = tuple(each.id for each in run.s.readings.get(form, ()) if each.id not in ids)
    return drops, [each for each in wanted if each.id not in held]


# What follows.


def _follow(
    run: Run,
    form: str,
    new: str,
    plans: opening.Plans,
    before: Sequence[Record],
    after: Sequence[Record],
    since: datetime,
    record: str = "",
) -> None:
    """Question what was decided since then, plan anew what counts from it, and let the changed
    reading be tried against the alerts of its own instant."""
    for question in _questions(run, form, new or record, before, after, since):
        run.emit(question)
        run.review(f"questioned {question.decision}: {question.what}", question.roles)
        if question.decision == "skip":
            _void(run, question)
    opening.plan_anew(run, plans)
    if new:
        occurred = next(each.newest.occurred for each in after if new in each.ids)
        then = Run.of(run.program, run.s, run.around, occurred)
        then.s.readings = true_readings(after, occurred)
        run.late[new] = then


def _void(run: Run, question: e.DecisionQuestioned) -> None:
    """Nobody did what branching skipped: where the step can still be done, it is asked for again,
    and no longer reads as skipped. What a person settled is never undone."""
    step, last = run.program.steps[question.what], run.s.settled.get(question.what)
    if last is None or (last.outcome, last.number, last.at) != (
        "skipped", opening.SKIPPED, question.at,
    ):  # fmt: skip
        return
    if opening.is_time_for(run, step, last.place):
        run.emit(e.SkipVoided(step.name, run.now, question.record))


def _questions(
    run: Run,
    form: str,
    record: str,
    before: Sequence[Record],
    after: Sequence[Record],
    since: datetime,
) -> list[e.DecisionQuestioned]:
    """Every decision since an instant that would have been another one."""
    found: list[tuple[int, e.DecisionQuestioned]] = []
    asked: defaultdict[int, list[tuple[int, _Decision]]] = defaultdict(list)
    history = run.history()
    # By another version's gates nothing is judged again.
    since_entry = max(
        (n for n, past in enumerate(history, 1) if isinstance(past.event, e.VersionChanged)),
        default=0,
    )
    for entry, past in enumerate(history, 1):
        if entry <= since_entry:
            continue
        decision = _decision(run.program, past.event)
        if decision is None or decision.at < since or form not in decision.reads:
            continue
        judged = decision.judged or entry - 1
        asked[judged].append((entry, decision))
    builder = copy_of(NOBODY)
    for version in range(max(asked, default=0) + 1):
        if version:
            fold(builder, history[version - 1].event)
        for entry, decision in asked.get(version, ()):
            if decision.late:
                events = (past.event for past in history[:version])
                state = copy_of(builder)
                state.consents = consents_at(events, decision.at)
            else:
                state = builder
            known, was, now = (
                decision.judge(_then(run, state, decision.at, readings))
                for readings in (
                    None,
                    true_readings(before, decision.at, version),
                    true_readings(after, decision.at, version),
                )
            )
            gates = [at for at in known if now[at] != known[at] and now[at] != was[at]]
            if gates:
                question = e.DecisionQuestioned(
                    decision.kind,
                    decision.what,
                    decision.at,
                    entry,
                    _told([known[at] for at in gates]),
                    _told([now[at] for at in gates]),
                    record,
                    decision.roles,
                    tuple(at for at in gates if at),
                )
                found.append((entry, question))
    return [question for _, question in sorted(found, key=lambda each: each[0])]


def _then(
    run: Run,
    state: Enrollment,
    at: datetime,
    readings: dict[str, tuple[Observation, ...]] | None,
) -> Run:
    """A workbench of a past instant, with what was known to have been read by then, or with these
    readings."""
    then = Run.of(run.program, state, run.around, at)
    then.ignored = EVERY_GATE
    then.s.readings = taken_by(state, at) if readings is None else readings
    return then


def _told(truths: Sequence[str]) -> str:
    """Several gates together, as `and` joins them; a way is told by its own word."""
    return next((each for each in ("false", "unknown") if each in truths), truths[0])


class _Decision(Struct, frozen=True):
    """A decision that can be judged again: `reads` are the forms its gates ask for; `judge` gives
    what each gate answers, or "" → the way. `late`: it was told late, and judged by the consents
    of its own instant too."""

    kind: Literal["move", "end", "start", "stop", "release", "skip", "order"]
    what: str
    at: datetime
    judged: int
    roles: tuple[str, ...]
    reads: frozenset[str]
    judge: Callable[[Run], dict[str, str]]
    late: bool = False


def _decision(program: Program, event: e.Event) -> _Decision | None:
    """The decision that an entry tells of; None where no gate was asked."""
    match event:
        case e.PhaseEntered() | e.PhaseLeft() | e.Discharged() if event.judged:
            name = event.row.rpartition(".next.")[0]
            if not name and isinstance(event, e.PhaseEntered):  # another round
                name = event.phase
            phase = program.phases[name]
            return _Decision(
                "end" if isinstance(event, e.Discharged) else "move",
                name,
                event.at,
                event.judged,
                phase.decided_by or _deciders(program, ()),
                _ways_read(program, name),
                lambda run: {"": _way(run, name)},
            )
        case e.SessionStarted() if event.judged:
            kind = program.sessions[event.session.rpartition(".")[0]]
            unless = (rule.unless for rule in program.never if rule.start == kind.name)
            return _of_tests(
                program, "start", event.session, event.at, event.judged, (*kind.ready, *unless),
                kind.by, event.recorded is not None,
            )  # fmt: skip
        case e.SessionReleased() if event.judged:
            kind = program.sessions[event.session.rpartition(".")[0]]
            assert kind.release is not None  # the language asks for it
            tests = (kind.release.when, kind.counts_when)
            return _of_tests(
                program, "release", event.session, event.at, event.judged,
                tuple(test for test in tests if test is not None), kind.release.signed_by,
                event.recorded is not None,
            )  # fmt: skip
        case e.SessionAborted():
            kind = program.sessions[event.session.rpartition(".")[0]]
            stops = tuple(rule.when for rule in kind.stop_when if rule.name == event.rule)
            return _of_tests(program, "stop", event.session, event.at, 0, stops, kind.by)
        case e.ItemSettled() if event.outcome == "skipped" and event.step:
            step = program.steps[event.step]
            branches = step.only_if is not None and event.item.endswith(f".{opening.SKIPPED}")
            tests_ = (step.only_if,) if branches and step.only_if is not None else ()
            return _of_tests(program, "skip", event.step, event.at, 0, tests_, step.by)
        case e.Ordered() if event.evidence:
            weight = program.orders[event.order].weight
            assert weight is not None  # it was worked out with one
            return _Decision(
                "order", f"{event.order}.{event.number}", event.at, 0,
                _deciders(program, program.orders[event.order].by), frozenset([weight[0]]),
                lambda run: {"": _comes_to(run, event)},
            )  # fmt: skip
        case _:
            return None


def _comes_to(run: Run, event: e.Ordered) -> str:
    from kat_workflow.enrollment import ordering  # noqa: PLC0415  # see `decide`

    return ordering.comes_to(run, event)


def _deciders(program: Program, others: tuple[str, ...]) -> tuple[str, ...]:
    return program.decided_by or others or program.staff


def _of_tests(
    program: Program,
    kind: Literal["start", "stop", "release", "skip"],
    what: str,
    at: datetime,
    judged: int,
    tests: tuple[Test, ...],
    others: tuple[str, ...],
    late: bool = False,
) -> _Decision:
    reads = frozenset(read[0] for test in tests for read in test.reads)

    def judge(run: Run) -> dict[str, str]:
        return {test.text: _TRUTHS[test.truth(run)] for test in tests}

    return _Decision(kind, what, at, judged, _deciders(program, others), reads, judge, late)


_TRUTHS = {True: "true", False: "false", None: "unknown"}


@lru_cache(maxsize=1024)
def _ways_read(program: Program, phase: str) -> frozenset[str]:
    """The forms that the ways on from a phase ask for, those that go at once from anywhere
    included."""
    its = program.phases[phase]
    rows = [*its.next, *(row for each in program.phases.values() for row in each.at_once)]
    tests = [row.when for row in rows]
    if its.repeat is not None:
        tests.append(its.repeat.until)
    return frozenset(read[0] for test in tests if test is not None for read in test.reads)


def _way(run: Run, name: str) -> str:
    """Where the patient goes from a phase: at once, else when it is finished. Rows with one target
    are one way."""
    for outer in run.chart.outermost_first(tuple(run.s.visits)):
        phase = run.program.phases[outer]
        masked = run.masked(phase.excursion)
        outcome = (run.chart.safety if masked else run.chart.at_once)(outer).ask(run)
        if isinstance(outcome, Goes) and not moving.is_cut(run, phase, outcome.row):
            return outcome.row.to or outcome.row.to_kind
    phase, visit = run.program.phases[name], run.s.visits[name]
    if not moving.is_finished(run, phase, visit):
        return "nowhere yet"
    found = run.chart.finished(name).ask(run, visit.round)
    if isinstance(found, Goes):
        return found.row.to or found.row.to_kind
    if isinstance(found, Undecided):
        daily = found.row is None and phase.repeat is not None and phase.repeat.one_per
        return moving.NEXT_ROUND if daily else "unknown"  # a day that is over is not waited for
    return moving.NEXT_ROUND if isinstance(found, NextRound) else "nobody has said"
