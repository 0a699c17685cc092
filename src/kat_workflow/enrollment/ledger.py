"""The controlled-drug ledger at the bedside: drawn = given + wasted + returned, with a witness.

What happened is kept with whatever it breaks (an expired lot, one that nobody knows). A release is
a request: it is refused while something drawn is unaccounted for. A session that ends in another
way leaves its imbalance flagged, and open in the site's cupboard, where it can still be settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from kat_workflow.enrollment import commands as c
from kat_workflow.enrollment import events as e
from kat_workflow.enrollment.cupboard import Out
from kat_workflow.enrollment.quantities import in_unit, plain, quantity
from kat_workflow.program.clock import local_date

if TYPE_CHECKING:
    from kat_workflow.enrollment.cupboard import Cupboard, Lot
    from kat_workflow.enrollment.judge import Judge
    from kat_workflow.enrollment.run import Run
    from kat_workflow.enrollment.state import Session
    from kat_workflow.program.forms import Raw
    from kat_workflow.program.model import DoseRule, Medicine, OrderRule, SessionKind

Moved = Literal["drawn", "given", "wasted", "returned", "witnessed", "used", "corrected"]


class _Book(Struct, frozen=True):
    """What a name is about that is in a ledger: a kind of session, or a medicine (no `kind`)."""

    name: str
    by: tuple[str, ...]
    drug: str
    unit: str
    ledger: str
    kind: SessionKind | None = None


def draw(j: Judge, act: c.Draw) -> None:
    """See `commands.Draw`."""
    book = _controlled(j, act.session)
    kind = book.kind
    over = _over(j, book, act.session)
    session = None if kind is None or over else j.run.session_of(kind.name)
    item = j.asks_for(kind) if kind is not None and not over and session is None else None
    j.actor_in(book.by, f"drawing {book.drug}")
    amount = _amount(j, act.amount, book.unit)
    if not act.lot:
        j.against("missing-value", "the lot is not named", "say which lot it was drawn from")
    j.end()
    if kind is not None and item is not None:
        session = j.open_session(kind, item)
    # What was drawn and nobody had asked for is out for that kind of session in general.
    id_ = over or (book.name if session is None else session.id)
    _handle(j, book, id_, "drawn", amount, act.lot)
    if j.run.s.end:
        j.run.unbalanced.append(id_)


def waste(j: Judge, act: c.Waste) -> None:
    """See `commands.Waste`."""
    _put_away(j, act, "wasted")


def give_back(j: Judge, act: c.Return) -> None:
    """See `commands.Return`."""
    _put_away(j, act, "returned")


def _put_away(j: Judge, act: c.Waste | c.Return, what: Literal["wasted", "returned"]) -> None:
    book = _controlled(j, act.session)
    id_ = _about(j, book, act.session)
    out = _out(j.run, id_)
    j.actor_in(book.by, f"accounting for {book.drug}")
    manner = act.manner if isinstance(act, c.Waste) else ""
    amount, left = _amount(j, act.amount, book.unit), Decimal(0) if out is None else out.left
    if amount > left:
        says = f"only {plain(max(left, Decimal(0)))} {book.unit} of {book.drug} can be {what}"
        j.against("implausible", f"{says}: {out or 'nothing is out'}", "record the draw first")
    j.end()
    lot = act.lot or _only_lot(out)
    _handle(j, book, id_, what, amount, lot, manner)
    if what == "wasted" and j.program.ledgers[book.ledger].schedule and not manner:
        says = f"it is not said how what was wasted of {book.drug} was disposed of"
        j.run.deviation("no-manner", says)


def witness(j: Judge, act: c.WitnessWaste) -> None:
    """See `commands.WitnessWaste`: always another person than whoever wasted it."""
    book = _controlled(j, act.session)
    id_ = _about(j, book, act.session)
    out = _out(j.run, id_)
    j.actor_in(j.program.ledgers[book.ledger].witnessed_by, f"witnessing waste of {book.drug}")
    if out is None or not out.unwitnessed:
        raise j.stop("nothing-to-sign", f"no waste of {id_} waits for a witness", f"waste {id_}")
    if j.actor.person in out.unwitnessed:
        j.against("same-person", "whoever wasted it does not witness it", "ask another person")
    j.end()
    _handle(j, book, id_, "witnessed", Decimal(0), "")


def _controlled(j: Judge, name: str) -> _Book:
    """What a name is about: a medicine, or the kind of a session (also of one that is over)."""
    program = j.program
    medicine = program.find("medicines", name)
    if medicine is not None and program.find("sessions", name) is None:
        its = program.medicines[medicine]
        rule = program.orders[its.order]
        if not its.ledger:
            says = f"{medicine} is in no ledger"
            raise j.stop("no-ledger", says, f"give {medicine}")
        return _Book(medicine, its.by, rule.drug, rule.unit, its.ledger)
    plain_name = name.rpartition(".")[0] if name.rpartition(".")[2].isdecimal() else name
    kind = j.kind_of(plain_name)
    dose = kind.dose
    if dose is None or not dose.ledger:
        says = f"what is given in {kind.name} is in no ledger"
        raise j.stop("no-ledger", says, f"dose {kind.name}")
    return _Book(kind.name, kind.by, dose.drug, dose.unit, dose.ledger, kind)


def _about(j: Judge, book: _Book, name: str) -> str:
    """The medicine; or the session that is meant: the open one, or one that is over and named by
    its number."""
    if book.kind is None:
        return book.name
    session = j.run.session_of(book.name)
    if over := _over(j, book, name):
        return over
    if session is None and _out(j.run, book.name) is not None:
        return book.name
    if session is None:
        says = f"no session {book.name} is open"
        raise j.stop("no-session", says, f"name one that is over: {book.name}.1")
    return session.id


def _over(j: Judge, book: _Book, name: str) -> str:
    """The session that a name means by its number, "" where it has none."""
    number = name.rpartition(".")[2]
    if book.kind is None or not number.isdecimal():
        return ""
    known = 0 < int(number) <= j.run.tally(book.name + ":booked")
    return f"{book.name}.{int(number)}" if known else ""


def _amount(j: Judge, text: str, unit: str) -> Decimal:
    amount = quantity(j, text, unit, "amount")
    if (amount is None and not text) or amount == 0:
        j.against("bad-value", "the amount is missing", f"write it as: 50 {unit}")
    return amount or Decimal(0)


def _handle(
    j: Judge,
    rule: _Book,
    session: str,
    what: Literal["drawn", "wasted", "returned", "witnessed"],
    amount: Decimal,
    lot: str,
    manner: str = "",
) -> None:
    run = j.run
    text, unit = (plain(amount), rule.unit) if what != "witnessed" else ("", "")
    run.emit(e.DrugHandled(session, what, j.at, j.actor.person, run.role, text, unit, lot, manner))
    stock, schedule = "", j.program.ledgers[rule.ledger].schedule
    if what == "drawn":
        stock = _lot_deviations(j, rule.drug, lot, -amount, rule.unit, known=True)
        kept = run.stream("cupboard").state.lot(rule.drug, lot)
        if schedule and kept is not None and not kept.product.strength:
            says = f"the cupboard does not know form and strength of lot {lot} of {rule.drug}"
            run.deviation("lot-undescribed", says)
    elif what == "returned" and lot:
        stock = _in_lot(run.stream("cupboard").state, rule.drug, lot, amount, rule.unit)
    witnesses = what == "wasted" and bool(j.program.ledgers[rule.ledger].witnessed_by)
    _tell(
        j,
        what,
        rule.drug,
        lot,
        amount,
        rule.unit,
        session,
        stock,
        witness=witnesses,
        schedule=schedule,
        manner=manner,
    )


# Of doses


def lot_of(run: Run, rule: DoseRule, session: Session) -> str:
    """The lot that a dose comes from, if all that is out for the session is of one."""
    return _only_lot(_out(run, session.id)) if rule.ledger else ""


def _only_lot(out: Out | None) -> str:
    return out.lots[0] if out is not None and len(out.lots) == 1 else ""


def given(j: Judge, rule: DoseRule, about: str, amount: Decimal, lot: str) -> None:
    """A dose in the book: out of what was drawn, or straight from a lot."""
    if rule.ledger:
        if amount:
            schedule = j.program.ledgers[rule.ledger].schedule
            _tell(j, "given", rule.drug, lot, amount, rule.unit, about, schedule=schedule)
    elif lot:
        used(j, rule.drug, lot, amount, rule.unit, about)


def medicine_given(j: Judge, its: Medicine, rule: OrderRule, amount: Decimal, lot: str) -> None:
    """A controlled medicine in the book: out of what was drawn for it."""
    run = j.run
    lot = lot or _only_lot(_out(run, its.name))
    schedule = j.program.ledgers[its.ledger].schedule
    _tell(j, "given", rule.drug, lot, amount, rule.unit, its.name, schedule=schedule)
    out = _out(run, its.name)
    if out is not None and out.left < 0:
        says = f"more of {its.name} was given than was drawn: {out}"
        run.deviation("ledger-imbalance", says)


def used(j: Judge, drug: str, lot: str, amount: Decimal, unit: str, about: str) -> None:
    """Some of a lot was used for a patient without having been drawn before."""
    stock = _lot_deviations(j, drug, lot, -amount, unit, known=False)
    _tell(j, "used", drug, lot, amount, unit, about, stock)


# Of what was recorded about a lot after it was given


def name_lot(
    j: Judge,
    step: str,
    place: str,
    before: Iterable[Mapping[str, Raw]],
    values: Mapping[str, Raw],
    record: str,
) -> None:
    """A recording of a lot came, or was corrected, after doses of its session were given: as of
    the lots that were recorded `before`, or of none. Whoever looks for a lot finds both."""
    session, run = place.rpartition("/")[2], j.run
    for kind in j.program.sessions.values():
        rule = kind.dose
        if rule is None or rule.lot is None or rule.lot[0] != step:
            continue
        field = rule.lot[1]
        lot = str(values.get(field) or "")
        doses = _by_lot(run, session)
        for was in dict.fromkeys(str(each.get(field) or "") for each in before):
            if lot and was != lot and was in doses:
                amount, at = doses[was]
                text = plain(amount)
                run.emit(e.LotCorrected(session, was, lot, text, rule.unit, record, run.now))
                _recount(j, rule, session, was, lot, amount, at)


def _by_lot(run: Run, session: str) -> dict[str, tuple[Decimal, datetime]]:
    """How much of which lot was given in a session, and since when, as far as it is known."""
    found: dict[str, tuple[Decimal, datetime]] = {}
    for event in (*(past.event for past in run.history()), *run.events):
        if isinstance(event, e.DoseGiven) and event.session == session:
            amount, since = found.get(event.lot, (Decimal(0), event.at))
            found[event.lot] = amount + Decimal(event.amount), min(since, event.at)
        elif isinstance(event, e.LotCorrected) and event.session == session:
            amount, since = found.pop(event.was)
            more, other = found.get(event.lot, (Decimal(0), since))
            found[event.lot] = amount + more, min(since, other)
    return found


def _recount(
    j: Judge, rule: DoseRule, about: str, was: str, lot: str, amount: Decimal, at: datetime
) -> None:
    """The cupboard counts one lot up and the other down; a ledger has counted what was drawn."""
    shelf, unit, back, taken = j.run.stream("cupboard"), rule.unit, "", ""
    if not rule.ledger:
        taken = _lot_deviations(j, rule.drug, lot, -amount, unit, known=False, at=at)
        back = _in_lot(shelf.state, rule.drug, was, amount, unit) if was else ""
    if was:
        manner = f"it was lot {lot}"
        _tell(j, "corrected", rule.drug, was, amount, unit, about, back, manner=manner, at=at)
    manner = f"recorded as lot {was}" if was else "recorded without a lot"
    _tell(j, "used", rule.drug, lot, amount, unit, about, taken, manner=manner, at=at)


def must_balance(j: Judge, rule: DoseRule, session: Session) -> None:
    """A release waits until the ledger balances."""
    out = _out(j.run, session.id)
    if out is None:
        return
    ways = []
    if out.left > 0:
        ways = [f"waste {session.id} or return {session.id}: {plain(out.left)} {out.unit}"]
    elif out.left < 0:
        ways = [f"draw {session.id}: {plain(-out.left)} {out.unit} were given undrawn"]
    if out.unwitnessed:
        roles = j.program.ledgers[rule.ledger].witnessed_by
        titles = ", ".join(j.program.roles.get(role, role) for role in roles)
        ways.append(f"witness waste {session.id} (another person: {titles})")
    j.against("ledger-open", f"the ledger of {rule.drug} does not balance: {out}", *ways)


def flag_imbalance(run: Run, id_: str) -> None:
    """Note a session that ended with an open ledger."""
    out = _out(run, id_)
    if out is not None:
        says = f"{id_} is over and its ledger does not balance: {out}"
        run.emit(e.DeviationNoted("ledger-imbalance", says, run.now, id_))
        if run.s.end_kind not in ("died", "entered_in_error"):  # these close at once
            run.review("ledger-imbalance")


# Of the cupboard


def _out(run: Run, session: str) -> Out | None:
    cupboard: Cupboard = run.stream("cupboard").state
    return cupboard.out.get(f"{run.s.id}/{session}")


def _lot_deviations(
    j: Judge,
    drug: str,
    lot: str,
    change: Decimal,
    unit: str,
    *,
    known: bool,
    at: datetime | None = None,
) -> str:
    """Note what is wrong with a lot that is used (`at` an instant other than the command's); how
    its count changes, in its own unit. Only what is drawn must be of a lot that the cupboard keeps
    (`known`)."""
    run = j.run
    cupboard: Cupboard = run.stream("cupboard").state
    kept = cupboard.lot(drug, lot)
    stock = _in_lot(cupboard, drug, lot, change, unit)
    if kept is None or not stock:
        if known:
            run.deviation("lot-unknown", f"the cupboard keeps no lot {lot} of {drug} in {unit}")
        return ""
    if kept.expires is not None and local_date(at or j.occurred, run.site) > kept.expires:
        run.deviation("lot-expired", f"lot {lot} of {drug} expired on {kept.expires}")
    if Decimal(kept.on_hand) + Decimal(stock) < 0:
        says = f"only {kept.on_hand} {kept.unit} of lot {lot} should have been there"
        run.deviation("stock-short", says)
    return stock


def _in_lot(cupboard: Cupboard, drug: str, lot: str, change: Decimal, unit: str) -> str:
    """A change of a lot's count in its own unit, "" where the cupboard does not keep it so."""
    kept = cupboard.lot(drug, lot)
    return "" if kept is None else in_unit(plain(change), unit, kept.unit) or ""


def _tell(
    j: Judge,
    what: Moved,
    drug: str,
    lot: str,
    amount: Decimal,
    unit: str,
    about: str,
    stock: str = "",
    *,
    witness: bool = False,
    schedule: str = "",
    manner: str = "",
    at: datetime | None = None,
) -> None:
    s, actor = j.s, j.actor
    kept: Lot | None = j.run.stream("cupboard").state.lot(drug, lot)
    product, text = e.NO_PRODUCT if kept is None else kept.product, plain(amount)
    if schedule and not product.schedule:
        product = replace(product, schedule=schedule)
    entry = e.LotUsed(
        what,
        drug,
        lot,
        text,
        unit,
        s.id,
        s.patient,
        about,
        at or j.occurred,
        actor.person,
        stock,
        witness,
        product,
        "" if kept is None or not amount else kept.volume(text, unit),
        manner,
        actor.name,
        j.run.role,
    )
    j.run.stream("cupboard").emit(entry)
