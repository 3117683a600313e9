"""Undoing what happened to deals, their notes and offers, and pipelines.

A step of an offer that is undone was recorded by mistake: the offer stands where it stood. What a client was really sent can't be unsent;
cancel the offer then. An offer that was selected is cancelled, not removed.
"""

from typing import Any

from commands.undo import NotTheWay, Undo, undoing
from domain import deals, pipelines
from domain.deals import DEAL, offers
from domain.pipelines import DEFAULT, PIPELINE, StageDraft, StageId, stage_in_use

deal = undoing(DEAL, "deals:write", each=("parties", "offers"))
pipeline = undoing(PIPELINE, "pipelines:write")
default = undoing(DEFAULT, "pipelines:write")


async def stood(u: Undo) -> Any:
    """The stage the deal stood in, which must still be in use."""
    stage = u.was.stage
    stage_in_use((await u.w.load(PIPELINE, stage.pipeline)).state, StageId(stage.id))
    return stage


@deal(deals.DealOpened)
def opened(u: Undo) -> Any:
    return deals.archive(u.now, reason=u.reason)


@deal(deals.DealMoved)
async def moved(u: Undo) -> Any:
    return deals.move(u.now, target=await stood(u), reason=u.reason)


@deal(deals.DealTransferred)
async def transferred(u: Undo) -> Any:
    return deals.transfer(u.now, target=await stood(u), reason=u.reason)


@deal(deals.DealAmended)
def amended(u: Undo) -> Any:
    cleared: list[Any] = []
    values: dict[str, Any] = {}
    money = u.e.amount is not None or u.e.currency is not None or "amount" in u.e.cleared
    names = {"amount": money, "title": u.e.title is not None} | {
        n: getattr(u.e, n) is not None or n in u.e.cleared for n in ("expected_close", "source")
    }
    for name, was_changed in names.items():
        if was_changed and getattr(u.was, name) is not None:
            values[name] = getattr(u.was, name)
        elif was_changed:
            cleared.append(name)
    if money and u.was.currency is not None:
        values["currency"] = u.was.currency
    if "title" in cleared:
        raise NotTheWay
    attributes = {k: u.was.attributes.get(k) for k in (*u.e.attributes, *u.e.attributes_removed)}
    return deals.amend(u.now, **values, attributes=attributes, cleared=cleared)


@deal(deals.DealItemised)
def itemised(u: Undo) -> Any:
    return deals.itemise(u.now, lines=u.was.lines)


@deal(deals.DealAssigned)
def assigned(u: Undo) -> Any:
    return deals.assign(u.now, owner=u.was.owner)


@deal(deals.PartyAdded)
def party_added(u: Undo) -> Any:
    return deals.remove_party(u.now, party=u.e.party)


@deal(deals.PartyRemoved)
def party_removed(u: Undo) -> Any:
    return deals.add_party(u.now, party=u.e.party)


@deal(deals.DealWon, deals.DealLost)
async def closed(u: Undo) -> Any:
    events = deals.reopen(u.now, stage=await stood(u), reason=u.reason)
    if getattr(u.e, "amount", None) is None and getattr(u.e, "currency", None) is None:
        return events
    open_again = u.now
    for e in events:
        open_again = deals.evolve(open_again, e)
    if u.was.amount is None:
        return [*events, *deals.amend(open_again, cleared=["amount"])]
    return [*events, *deals.amend(open_again, amount=u.was.amount, currency=u.was.currency)]


@deal(deals.DealReopened)
def reopened(u: Undo) -> Any:
    closing = u.before(deals.DealWon, deals.DealLost)
    today = u.w.now.date()
    closed_in = u.was.stage if u.was.stage.kind == u.was.status else None  # it may have been closed where it stood
    if isinstance(closing, deals.DealWon):
        return deals.win(u.now, closed_on=closing.closed_on, today=today, stage=closed_in)
    if isinstance(closing, deals.DealLost):
        return deals.lose(
            u.now,
            closed_on=closing.closed_on,
            today=today,
            reason_code=closing.reason_code,
            reason=closing.reason,
            stage=closed_in,
        )
    raise NotTheWay


@deal(deals.DealArchived)
def archived(u: Undo) -> Any:
    return deals.restore(u.now)


@deal(deals.DealRestored)
def restored(u: Undo) -> Any:
    return deals.archive(u.now, reason=u.reason)


# --- notes and activities: what told them stays on the record


def _stands(u: Undo, *kinds: type) -> list[Any]:
    """What was told before and was not taken back."""
    gone = {getattr(r.event, "note", None) or getattr(r.event, "activity", None) for r in u.past if isinstance(r.event, kinds[1:])}
    return [r.event for r in u.past if isinstance(r.event, kinds[0]) and r.event_id not in gone and r.version != u.version]


@deal(deals.DealNoted)
def noted(u: Undo) -> Any:
    mine = u.past[u.version - 1].event_id
    if any(isinstance(r.event, deals.NoteTakenBack) and r.event.note == mine for r in u.past):
        return []
    before = _stands(u, deals.DealNoted, deals.NoteTakenBack)
    return deals.take_back_note(u.now, note=mine, last=before[-1].note if before else None)


@deal(deals.ActivityRecorded)
def activity_recorded(u: Undo) -> Any:
    mine = u.past[u.version - 1].event_id
    if any(isinstance(r.event, deals.ActivityTakenBack) and r.event.activity == mine for r in u.past):
        return []
    before = _stands(u, deals.ActivityRecorded, deals.ActivityTakenBack)
    if not before:
        return deals.take_back_activity(u.now, activity=mine)
    return deals.take_back_activity(u.now, activity=mine, name=before[-1].name, details=before[-1].details)


def _told(u: Undo, id: Any) -> Any:
    return next(r.event for r in u.past if r.event_id == id)


@deal(deals.NoteTakenBack)
def note_taken_back(u: Undo) -> Any:
    told = _told(u, u.e.note)
    return deals.note(u.now, text=told.note, performer=told.performer)


@deal(deals.ActivityTakenBack)
def activity_taken_back(u: Undo) -> Any:
    told = _told(u, u.e.activity)
    return deals.record_activity(u.now, name=told.name, details=told.details, performer=told.performer)


# --- offers

STEPS: dict[type, str] = {deals.OfferCreated: "drawn_up_at", deals.OfferSent: "sent_at", deals.OfferReturned: "returned_at"}


@deal(deals.OfferSelected, exact=False)
def offer_selected(u: Undo) -> Any:
    return offers.cancel(u.now, offer=u.e.offer, reason=u.reason)


@deal(
    deals.OfferCreated,
    deals.OfferSent,
    deals.OfferReturned,
    deals.OfferAccepted,
    deals.OfferDeclined,
    deals.OfferCancelled,
    deals.OfferExpired,
    deals.OfferSetBack,
)
def offer_stepped(u: Undo) -> Any:
    """Where it stood before, since when, the times of the steps that stand, and the day it was good until."""
    steps = [r for r in u.past if r.version < u.version and getattr(r.event, "offer", None) == u.e.offer]
    status = next(o.status for o in u.was.offers if o.id == u.e.offer)
    valid_until = None
    times: dict[str, Any] = {}
    for r in steps:
        said = getattr(r.event, "valid_until", None)
        if isinstance(r.event, deals.OfferSetBack):
            valid_until, times = said, {name: getattr(r.event, name) for name in STEPS.values()}
        else:
            valid_until = said or valid_until
            times |= {STEPS[type(r.event)]: r.occurred_at} if type(r.event) in STEPS else {}
    last = steps[-1]
    since = last.event.since if isinstance(last.event, deals.OfferSetBack) else last.occurred_at
    return offers.set_back(u.now, offer=u.e.offer, status=status, since=since, valid_until=valid_until, **times)


# --- pipelines


@pipeline(pipelines.PipelineDefined)
def defined(u: Undo) -> Any:
    return pipelines.archive(u.now, reason=u.reason)


@pipeline(pipelines.PipelineRenamed)
def renamed(u: Undo) -> Any:
    return pipelines.rename(u.now, name=u.was.name, description=u.was.description or "")


@pipeline(pipelines.PipelineRedefined, exact=False)
def redefined(u: Undo) -> Any:
    """Stages that were added are retired: a stage is never removed."""
    drafts = [
        StageDraft(id=s.id, name=s.name, kind=s.kind, probability=s.probability, time_limit_days=s.time_limit_days)
        for s in u.was.in_use
    ]
    return pipelines.redefine(u.now, stages=drafts, reason=u.reason)


@pipeline(pipelines.PipelineMadeDefault)
def made_default(u: Undo) -> Any:
    return pipelines.give_up_default(u.now, successor=u.e.previous)


@pipeline(pipelines.PipelineDefaultGivenUp)
def gave_up_default(u: Undo) -> Any:
    return pipelines.make_default(u.now, previous=u.e.successor)


@pipeline(pipelines.PipelineArchived)
def pipeline_archived(u: Undo) -> Any:
    return pipelines.restore(u.now)


@pipeline(pipelines.PipelineRestored)
def pipeline_restored(u: Undo) -> Any:
    return pipelines.archive(u.now, reason=u.reason)


@default(pipelines.DefaultChosen, exact=False)
def chosen(u: Undo) -> Any:
    was = None if u.version == 1 else u.was.pipeline
    return pipelines.choose_default(u.now, pipeline=was)
