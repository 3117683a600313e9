"""Contacts and organisations, their relations, and what is noted about them."""

from datetime import datetime, timedelta
from typing import Any

from commands.contacts import (
    AmendContact,
    ArchiveContact,
    AssignContact,
    CorrectContact,
    CreateContact,
    MergeContact,
    RestoreContact,
    SetContactFields,
    TagContact,
    UnmergeContact,
    UntagContact,
)
from commands.notes import EditNote, PinNote, RemoveNote, WriteNote
from commands.organisations import (
    AmendOrganisation,
    ArchiveOrganisation,
    CorrectOrganisation,
    CreateOrganisation,
    MergeOrganisation,
    PlaceOrganisation,
    TagOrganisation,
)
from commands.relations import AmendRelation, EndRelation, RelateParties, RemoveRelation
from infra.demo.firm import HANDED_OVER
from infra.demo.names import COMPANIES, INDUSTRIES, address, person, phone
from infra.demo.stage import Stage, Story

CONTACTS = 120
KNOWN = 72  # were in the address book when the year began
ORGANISATIONS = len(COMPANIES)
TAGS = ("first-time buyer", "landlord", "self-employed", "returning", "newsletter", "VIP", "referral")
TALK = (
    ("call", "Rang to ask how long a decision takes. Told: ten working days once the papers are complete."),
    ("call", "Would like to fix the rate for longer. Sends last year's accounts."),
    ("meeting", "Met at the office. Plans to buy the workshop next door in spring."),
    ("meeting", "Went through the figures line by line. The garden is doing better than the till."),
    ("email", "Sent three payslips and a drawing of the extension."),
    ("letter", "Wrote to thank us for patience with the missing deed."),
    ("message", "Running late, moved to Thursday."),
    ("note", "Prefers letters to calls. Hard of hearing on the left."),
    ("note", "Two children at college; wants room in the budget for both."),
)


def stories(stage: Stage) -> list[Story]:
    return [
        *(organisation(stage, i) for i in range(ORGANISATIONS)),
        *(contact(stage, i) for i in range(CONTACTS)),
        *(duplicate(stage, i) for i in range(4)),
        double_company(stage),
        *(couple(stage, i) for i in range(12)),
        *(office(stage, i) for i in range(60)),
        *(tie(stage, i) for i in range(30)),
        *(remark(stage, i) for i in range(100)),
    ]


def known_since(i: int) -> float:
    """How many days ago the i-th contact was recorded."""
    return 376 if i < KNOWN else 350 - (i - KNOWN) * 7


def keeper(stage: Stage, i: int, at: datetime) -> str:
    """Which adviser looks after the i-th contact at that time."""
    name = ("clementine", "dashiell", "elowen", "clementine")[i % 4]
    if name == "elowen" and at > stage.ago(HANDED_OVER):
        return "clementine"
    return "clementine" if name == "dashiell" and at < stage.ago(299) else name


async def organisation(stage: Stage, i: int) -> Story:
    chance = stage.chance("organisation", i)
    name = COMPANIES[i]
    domain = name.lower().replace("&", "and").replace("the ", "").replace(" ", "-") + ".example"
    yield (at := stage.ago(377 if i < 6 else 361 if i < 16 else 340 - (i - 16) * 30, 9, i))
    about: dict[str, Any] = {
        "name": name,
        "legal_name": f"{name} {'PLC' if i % 7 == 0 else 'Limited'}",
        "kind": "trust" if "Trust" in name else "company",
        "registrations": [{"scheme": "Demo register", "number": f"DR-{4000 + i}", "country": "GB"}],
        "domains": [domain],
        "emails": [{"address": f"office@{domain}", "label": "office", "primary": True}],
        "phones": [phone(chance)],
        "addresses": [{**address(chance), "label": "head office"}],
        "websites": [{"url": f"https://www.{domain}"}],
        "industry": INDUSTRIES[i % len(INDUSTRIES)],
        "employees": chance.randint(2, 900),
        "annual_revenue": {"amount": f"{chance.randint(80, 24_000)}000", "currency": "GBP"},
        "founded": chance.randint(1790, 2019),
        "source": chance.choice(("address book", "referral", "fair")),
        "tags": chance.sample(("supplier", "borrower", "introducer", "valuer"), 1 + i % 2),
        "custom": {
            "credit_limit": chance.randint(10, 900) * 1000,
            "audited": i % 3 == 0,
            "year_end": stage.on(30 + i * 9).isoformat(),
            "charter": f"Charter of {name}",
        },
    }
    if i >= 5 and i % 3 == 0:
        about["parent"] = stage.id("organisation", i // 6)
    id = await stage.make("organisation", i, CreateOrganisation(**about), at, "clementine")
    yield (at := at + timedelta(days=chance.randint(20, 120)))
    if i % 4 == 0:
        await stage.do(AmendOrganisation(id=id, employees=chance.randint(2, 900), about="Grew since we met."), at, "clementine")
    if i % 5 == 1:
        await stage.do(TagOrganisation(id=id, tags=["watch"]), at, "fitz")
    if i == 7:
        reason = "The register says otherwise."
        await stage.do(CorrectOrganisation(id=id, field="founded", value=1811, reason=reason), at, "fitz")
    if i == 9:
        await stage.do(PlaceOrganisation(id=id, parent=stage.id("organisation", 2)), at, "clementine")
    if i == 24:
        await stage.do(ArchiveOrganisation(id=id, reason="Wound up."), at, "clementine")


async def contact(stage: Stage, i: int) -> Story:
    chance = stage.chance("contact", i)
    given, family = person(i)
    yield (at := stage.ago(known_since(i), 11, i % 60))
    by = keeper(stage, i, at)
    about: dict[str, Any] = {
        "given": given,
        "family": family,
        "emails": [{"address": f"{given}.{family}@example.com".lower(), "label": "home", "primary": True}],
        "phones": [phone(chance)],
        "addresses": [address(chance)],
        "languages": ["cy", "en"] if i % 9 == 0 else ["en"],
        "birthday": f"{chance.randint(1944, 2003)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "source": "address book" if i < KNOWN else chance.choice(("website", "referral", "walked in", "fair")),
        "lifecycle": "client" if i < 48 else chance.choice(("lead", "prospect", "prospect", "partner")),
        "owner": stage.id("member", by),
        "tags": chance.sample(TAGS, chance.randint(0, 3)),
        "custom": {
            "risk_profile": chance.choice(("cautious", "balanced", "adventurous")),
            "interests": chance.sample(("mortgages", "pensions", "bridging", "green homes"), chance.randint(1, 3)),
            "yearly_income": chance.randint(18, 190) * 1000,
            "vulnerable": i % 17 == 0,
        },
    }
    if i % 3 == 0:
        about["custom"] |= {"met_at": chance.choice(("At the fair", "In the queue", "Over the garden wall"))}
    if i % 4 == 0:
        about["emails"] += [{"address": f"{given[0]}{i}@example.net".lower(), "label": "work"}]
        about["job_title"] = chance.choice(("Miller", "Shipwright", "Bookkeeper", "Lamplighter", "Surveyor"))
    if i % 30 == 11:
        about["phones"] = [{"number": "ask at the bakery", "label": "none"}]
    id = await stage.make("contact", i, CreateContact(**about), at, by)
    yield (at := at + timedelta(days=chance.randint(2, 40), hours=chance.randint(0, 5)))
    checked = stage.on(-(stage.today - at).days).isoformat()
    portal = {} if i % 2 else {"portal": f"https://portal.example.com/{4000 + i}"}
    if at > stage.ago(230) or at < stage.ago(241):
        await stage.do(SetContactFields(id=id, values={"identity_checked": checked, **portal}), at, keeper(stage, i, at))
    yield (at := at + timedelta(days=chance.randint(10, 120), hours=chance.randint(0, 5)))
    by = keeper(stage, i, at)
    if i % 3 == 1:
        await stage.do(AmendContact(id=id, addresses=[address(chance)], nickname=given[:4]), at, by)
    if i % 8 == 2:
        wrong = f"{chance.randint(1944, 2003)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}"
        reason = "Month and day were swapped: seen on the passport."
        await stage.do(CorrectContact(id=id, field="birthday", value=wrong, reason=reason), at, "fitz")
    if i % 20 == 7:
        reason = "Misheard on the telephone."
        await stage.do(CorrectContact(id=id, field="custom.yearly_income", value=41_500, reason=reason), at, by)
    if i % 5 == 3:
        await stage.do(TagContact(id=id, tags=["annual review"]), at, by)
    yield (at := at + timedelta(days=chance.randint(10, 90)))
    if i % 10 == 3:
        await stage.do(UntagContact(id=id, tags=["annual review"]), at, keeper(stage, i, at))
    if i % 12 == 5:
        await stage.do(AmendContact(id=id, lifecycle="former_client"), at, keeper(stage, i, at))
    if i % 24 == 5:
        await stage.do(ArchiveContact(id=id, reason="Moved abroad and paid everything back."), at, keeper(stage, i, at))
        yield (at := at + timedelta(days=30))
        if i == 29:
            await stage.do(RestoreContact(id=id), at, keeper(stage, i, at))
    if i % 4 == 2:
        yield (at := max(at, stage.ago(HANDED_OVER)) + timedelta(hours=1))
        if i % 24 != 5:
            await stage.do(AssignContact(id=id, owner=stage.id("member", "clementine")), at)


async def duplicate(stage: Stage, i: int) -> Story:
    """The same person, recorded twice and merged; the third pair was not the same person after all."""
    given, family = person(i)
    yield (at := stage.ago(60 - i * 9))
    values: dict[str, Any] = {
        "given": given[:1] + ".",
        "family": family,
        "emails": [{"address": f"{family}{i}@example.org".lower(), "label": "private"}],
        "source": "website",
    }
    id = await stage.make("duplicate", i, CreateContact(**values), at, "dashiell")
    yield (at := at + timedelta(days=3))
    merged = MergeContact(id=stage.id("contact", i), other=id, reason="Same birthday, same street.")
    await stage.do(merged, at, "clementine")
    if i == 2:
        yield (at := at + timedelta(days=9))
        await stage.do(UnmergeContact(id=merged.id, other=id, reason="They are cousins."), at, "fitz")


async def double_company(stage: Stage) -> Story:
    yield (at := stage.ago(90))
    id = await stage.make("organisation", "double", CreateOrganisation(name="Quillon Papers", source="fair"), at, "dashiell")
    yield (at := at + timedelta(days=2))
    await stage.do(MergeOrganisation(id=stage.id("organisation", 4), other=id, reason="One S too many."), at, "clementine")


# --- relations


async def relate(stage: Stage, at: datetime, kind: str, source: tuple[str, int], target: tuple[str, int], **more: Any) -> str:
    values = {
        "kind": kind,
        "source_type": source[0],
        "source": stage.id(*source),
        "target_type": target[0],
        "target": stage.id(*target),
        **more,
    }
    done = await stage.do(RelateParties(**values), at, "clementine")
    return str(done.body["id"])


async def couple(stage: Stage, i: int) -> Story:
    yield (at := stage.ago(361 - i))
    id = await relate(stage, at, "spouse_of", ("contact", i * 4), ("contact", i * 4 + 1), valid_from=stage.on(-4000 + i * 17))
    yield (at := at + timedelta(days=100))
    if i == 3:
        await stage.do(EndRelation.model_validate({"id": id, "on": at.date(), "reason": "Parted as friends."}), at, "clementine")
    if i == 5:
        await stage.do(AmendRelation.model_validate({"id": id, "remark": "Married in Port Quillon."}), at, "clementine")


async def office(stage: Stage, i: int) -> Story:
    """Somebody works somewhere, and some of them are more than that."""
    where = ("organisation", i % 16)
    yield (at := stage.ago(346 - i))
    since = stage.on(-400 - i * 31)
    title = ("Clerk", "Foreman", "Bookkeeper", "Captain")[i % 4]
    id = await relate(stage, at, "works_at", ("contact", i), where, label=title, valid_from=since, primary=True)
    if i % 4 == 0:
        await relate(stage, at, "director_of", ("contact", i), where, valid_from=since)
    if i % 6 == 0:
        await relate(stage, at, "signatory_of", ("contact", i), where)
    if i % 10 == 0:
        await relate(stage, at, "beneficial_owner_of", ("contact", i), where, remark="A quarter of the shares or more.")
    if i % 15 == 4:
        yield (at := at + timedelta(days=120))
        await stage.do(EndRelation.model_validate({"id": id, "on": at.date(), "reason": "Retired."}), at, "clementine")


async def tie(stage: Stage, i: int) -> Story:
    kind = ("referred_by", "referred_by", "lawyer_of", "accountant_of", "other")[i % 5]
    yield (at := stage.ago(300 - i * 9))
    other = {"label": "plays chess with"} if kind == "other" else {}
    id = await relate(stage, at, kind, ("contact", i), ("contact", 71 - i), **other)
    if i == 14:
        yield (at := at + timedelta(days=1))
        await stage.do(RemoveRelation.model_validate({"id": id, "reason": "Entered for the wrong person."}), at, "clementine")


# --- notes


async def remark(stage: Stage, i: int) -> Story:
    chance = stage.chance("note", i)
    yield (at := stage.ago(346 - i * 3.4, chance.randint(9, 17)))
    about = ("organisation", chance.randrange(16)) if i % 6 == 0 else ("contact", chance.randrange(KNOWN))
    kind, text = TALK[i % len(TALK)]
    said = WriteNote.model_validate({"about_type": about[0], "about": stage.id(*about), "kind": kind, "text": text})
    id = await stage.make("note", i, said, at, keeper(stage, i, at))
    yield (at := at + timedelta(hours=chance.randint(1, 30)))
    if i % 9 == 4:
        await stage.do(EditNote(id=id, text=text + " (Confirmed in writing.)"), at, keeper(stage, i, at))
    if i % 13 == 2:
        await stage.do(PinNote(id=id), at, keeper(stage, i, at))
    if i % 33 == 8:
        await stage.do(RemoveNote(id=id), at, keeper(stage, i, at))
