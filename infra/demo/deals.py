"""Two pipelines, one of them redefined in summer, and a year of applications in them with their offers."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from commands.deals import (
    AddParty,
    AmendDeal,
    ArchiveDeal,
    AssignDeal,
    ItemiseDeal,
    LoseDeal,
    MoveDeal,
    NoteOnDeal,
    OpenDeal,
    RecordDealActivity,
    RemoveParty,
    ReopenDeal,
    TransferDeal,
    WinDeal,
)
from commands.offers import (
    AcceptOffer,
    CancelOffer,
    CreateOffer,
    DeclineOffer,
    ExpireOffer,
    ReturnOffer,
    SelectOffer,
    SendOffer,
)
from commands.pipelines import (
    ArchivePipeline,
    DefinePipeline,
    NewStage,
    RedefinePipeline,
    RenamePipeline,
    StageAsWished,
)
from infra.demo.firm import HANDED_OVER
from infra.demo.people import KNOWN, keeper, known_since
from infra.demo.stage import Stage, Story

DEALS = 84
REDEFINED = 210  # days ago

LENDING = (("Enquiry", 10, 10), ("Application", 30, 20), ("Assessment", 50, 15), ("Offer", 75, 21), ("Papers", 90, 14))
ADVICE = (("First meeting", 20, 14), ("Fact find", 45, 30), ("Recommendation", 70, 21))
SOURCES = ("website", "referral", "broker", "walk-in", "fair")
LOSSES = (
    ("rate", "Found a lower rate elsewhere."),
    ("affordability", "The sums do not carry the loan."),
    ("valuation", "The roof is older than the deeds."),
    ("withdrawn", "Decided to stay where they are."),
    ("no-answer", None),
)
LOANS = (
    "Loan for a workshop",
    "Mortgage of a cottage",
    "Bridging loan",
    "Remortgage",
    "Loan for a boatyard",
    "Loan for a bakery oven",
)
DONE = ("Call", "Credit check", "Site visit", "Valuation ordered", "Proof of income seen", "Solicitor instructed")


async def pipelines(stage: Stage) -> Story:
    yield (at := stage.ago(376))
    for name, opened, closing in (
        ("lending", LENDING, (("Completed", "won"), ("Declined", "lost"))),
        ("advice", ADVICE, (("Engaged", "won"), ("Not proceeding", "lost"))),
    ):
        stages = [NewStage(name=n, probability=p, time_limit_days=d) for n, p, d in opened]
        stages += [NewStage.model_validate({"name": n, "kind": k}) for n, k in closing]
        done = await stage.do(DefinePipeline(name=name.title(), description=f"How {name} goes here.", stages=stages), at)
        stage.ids[("pipeline", name)] = UUID(done.body["id"])
        for s, id in zip(stages, done.body["stages"], strict=True):
            stage.ids[("stage", (name, s.name))] = UUID(id)
    trial = DefinePipeline(name="Trial", stages=[NewStage(name="Thought of")])
    old = await stage.make("pipeline", "trial", trial, at)
    await stage.do(ArchivePipeline(id=old, reason="Was only to see how it works."), at + timedelta(hours=1))
    yield (at := stage.ago(REDEFINED))

    def kept(name: str, as_name: str, probability: int | None, days: int | None, kind: str = "open") -> StageAsWished:
        return StageAsWished.model_validate(
            {
                "stage_id": stage.id("stage", ("lending", name)),
                "name": as_name,
                "probability": probability,
                "time_limit_days": days,
                "kind": kind,
            }
        )

    wished = [
        kept("Enquiry", "Enquiry", 10, 7),
        kept("Application", "Application", 30, 20),
        kept("Assessment", "Underwriting", 45, 15),
        StageAsWished(name="Valuation", probability=60, time_limit_days=14),
        kept("Offer", "Offer", 80, 21),
        kept("Completed", "Completed", None, None, "won"),
        kept("Declined", "Declined", None, None, "lost"),
    ]
    reason = "A valuer looks before we offer; papers are drawn up with the offer."
    done = await stage.do(RedefinePipeline(id=stage.id("pipeline", "lending"), stages=wished, reason=reason), at)
    stage.ids[("stage", ("lending", "Valuation"))] = UUID(done.body["stages"][3])
    yield (at := stage.ago(100))
    await stage.do(RenamePipeline(id=stage.id("pipeline", "advice"), name="Advice and planning"), at)


def stories(stage: Stage) -> list[Story]:
    return [deal(stage, i) for i in range(DEALS)]


def opened(i: int) -> float:
    """How many days ago the i-th deal was opened: business has been growing."""
    left: float = (1 - i / DEALS) ** 1.4
    return 361 * left


def _borrower(i: int) -> int:
    return (i * 11) % KNOWN if i % 3 else KNOWN + i % 30


WAYS = {"lending": ("Application", "Assessment", "Valuation", "Offer"), "advice": ("Fact find", "Recommendation")}


async def deal(stage: Stage, i: int) -> Story:
    chance = stage.chance("deal", i)
    begun = opened(i)
    who = _borrower(i)
    if known_since(who) < begun + 14:
        who = i % KNOWN
    yield (at := stage.ago(begun, chance.randint(9, 16), chance.randint(0, 59)))
    kind = "advice" if i % 4 == 3 else "lending"
    amount = chance.randint(8, 480) * 1000 if kind == "lending" else chance.randint(4, 30) * 100
    by = keeper(stage, i, at)
    parties: list[dict[str, Any]] = [{"kind": "contact", "party_id": stage.id("contact", who), "role": "client"}]
    if i % 5 == 0:
        parties.append({"kind": "organisation", "party_id": stage.id("organisation", i % 16), "role": "borrower"})
    if i % 7 == 2:
        parties.append({"kind": "contact", "party_id": stage.id("contact", (who + 1) % KNOWN), "role": "guarantor"})
    values: dict[str, Any] = {
        "title": chance.choice(LOANS) if kind == "lending" else "Plan for the years ahead",
        "pipeline": stage.id("pipeline", kind),
        "amount": f"{amount}.00",
        "currency": "EUR" if i % 21 == 8 else "GBP",
        "expected_close": stage.on(chance.randint(30, 110) - int(begun)),
        "source": chance.choice(SOURCES),
        "owner": stage.id("member", by),
        "parties": parties,
        "attributes": {"product": "fixed" if i % 2 else "tracker", "term_years": str(chance.randint(2, 30))},
    }
    if kind == "advice":
        values["lines"] = [{"product": "Advice, by the hour", "quantity": str(amount // 100), "unit_price": "100.00"}]
    id = await stage.make("deal", i, OpenDeal(**values), at, by)

    fate = chance.random()
    losing = LOSSES[i % len(LOSSES)] if fate < 0.32 else None
    way = WAYS[kind]
    stops = chance.randint(1, len(way)) if losing else len(way)
    moves = 0
    for name in way[:stops]:
        yield (at := at + timedelta(days=chance.randint(6, 34), hours=chance.randint(0, 6), minutes=chance.randint(0, 59)))
        by = keeper(stage, i, at)
        if i % 4 == 2 and at > stage.ago(HANDED_OVER):
            await stage.do(AssignDeal(id=id, owner=stage.id("member", "clementine")), at)
        if name == "Valuation" and ("stage", ("lending", "Valuation")) not in stage.ids:
            continue
        if i % 3 == 0:
            done = RecordDealActivity(id=id, name=chance.choice(DONE), details={"result": chance.choice(("in order", "to follow"))})
            await stage.do(done, at, by)
        await stage.do(MoveDeal(id=id, stage=stage.id("stage", (kind, name))), at + timedelta(minutes=5), by)
        moves += 1
        if moves == 1 and i % 4 == 0:
            await stage.do(AmendDeal(id=id, amount=f"{amount + 5000}.00"), at + timedelta(minutes=9), by)
        if moves == 2 and i % 6 == 1:
            await stage.do(NoteOnDeal(id=id, note="The garden shed counts as security after all."), at + timedelta(minutes=9), by)
        if moves == 2 and i % 14 == 5:
            await stage.do(
                MoveDeal(id=id, stage=stage.id("stage", (kind, way[0])), reason="Papers missing."), at + timedelta(hours=1), by
            )
            yield (at := at + timedelta(days=4))
            await stage.do(MoveDeal(id=id, stage=stage.id("stage", (kind, name))), at, by)
    if i % 9 == 4:
        extra: dict[str, Any] = {
            "id": id,
            "kind": "contact",
            "party_id": stage.id("contact", (who + 2) % KNOWN),
            "role": "introducer",
        }
        await stage.do(AddParty(**extra), at + timedelta(hours=2), by)
        if i == 13:
            await stage.do(RemoveParty(**extra), at + timedelta(hours=3), by)
    if i % 16 == 7:
        lines = [{"product": "Advice, by the day", "quantity": "2", "unit_price": f"{amount // 2}.00"}]
        await stage.do(ItemiseDeal.model_validate({"id": id, "lines": lines}), at + timedelta(hours=2), by)
    if kind == "lending" and losing is None:
        async for due in offers(stage, i, id, amount, at):
            yield (at := due)
    yield (at := at + timedelta(days=chance.randint(2, 20)))
    by = keeper(stage, i, at)
    if losing is not None:
        await stage.do(LoseDeal(id=id, reason_code=losing[0], reason=losing[1]), at, by)
    elif i == 40:
        move = TransferDeal(id=id, pipeline=stage.id("pipeline", "advice"), reason="Wants advice first.")
        await stage.do(move, at, by)
        return
    else:
        final = {"amount": f"{amount - 500}.00"} if kind == "lending" and i % 5 == 2 else {}
        await stage.do(WinDeal.model_validate({"id": id, **final}), at, by)
    yield (at := at + timedelta(days=chance.randint(5, 40)))
    if losing is not None and i % 3 == 0:
        await stage.do(ReopenDeal(id=id, reason="They are back."), at, by)
        yield (at := at + timedelta(days=chance.randint(10, 60)))
        if i % 2:
            await stage.do(WinDeal(id=id), at, by)
    elif i % 11 == 6:
        await stage.do(ArchiveDeal(id=id, reason="Closed and filed."), at, by)


async def offers(stage: Stage, i: int, id: UUID, amount: int, at: datetime) -> Story:
    """Offers until one is accepted: some come back, lapse or are replaced first."""
    chance = stage.chance("offers", i)
    rounds = 1 + (i % 4 == 1) + (i % 8 == 4)
    for n in range(rounds):
        last = n == rounds - 1
        yield (at := at + timedelta(days=chance.randint(1, 5)))
        by = keeper(stage, i, at)
        done = await stage.do(
            SelectOffer(
                id=id,
                amount=f"{amount - n * 1000}.00",
                rate=f"{chance.randint(360, 690) / 100:.2f}",
                term_months=chance.choice((24, 36, 60, 120, 300)),
                terms="Fixed for the whole term; early repayment without charge on every first of April.",
                valid_until=(at + timedelta(days=30)).date(),
            ),
            at,
            by,
        )
        step: dict[str, Any] = {"id": id, "offer": done.body["offer"]}
        await stage.do(CreateOffer.model_validate(step), at + timedelta(hours=2), by)
        yield (at := at + timedelta(days=1))
        if not last and i % 8 == 4 and n == 0:
            await stage.do(
                CancelOffer.model_validate({**step, "reason_code": "replaced", "reason": "A better one follows."}), at, by
            )
            continue
        await stage.do(SendOffer.model_validate(step), at, by)
        yield (at := at + timedelta(days=chance.randint(2, 12)))
        if not last:
            if i % 3 == 0:
                await stage.do(ExpireOffer.model_validate(step), at, by)
            else:
                no = {**step, "reason_code": "rate", "reason": "Hoped for less."}
                await stage.do(DeclineOffer.model_validate(no), at, by)
            continue
        if i % 5 == 2:
            back = {**step, "remark": "Signed in the wrong place."}
            await stage.do(ReturnOffer.model_validate(back), at, by)
            yield (at := at + timedelta(days=1))
        await stage.do(AcceptOffer.model_validate(step), at, by)
