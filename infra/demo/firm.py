"""The house itself: its name and settings, its members, their keys, its own fields."""

from datetime import timedelta
from uuid import UUID

from commands.fields import AmendField, DefineField, ReinstateField, RetireField
from commands.firms import ChangeFirmSettings, CreateFirm, RenameFirm
from commands.keys import IssueKey, RevokeKey, RotateKey
from commands.members import AddMember, ChangeMemberEmail, ChangeMemberRoles, DeactivateMember, RenameMember
from commands.saved_views import SaveView
from domain.firms import Region
from domain.keys import Revocation
from domain.members import Role
from infra.demo.stage import Stage, Story

LEFT = 56  # days since Elowen left the firm
HANDED_OVER = 72  # days since others look after what was hers
MEMBERS = {
    "clementine": ("Clementine Harrow-Finch", (Role.ADVISER,)),
    "dashiell": ("Dashiell Umberton", (Role.READ_ONLY,)),
    "elowen": ("Elowen Tarrybrook", (Role.ADVISER,)),
    "fitz": ("Fitzgerald Plumley", (Role.COMPLIANCE,)),
    "guinevere": ("Guinevere Sandpiper", (Role.AUDITOR,)),
    "hyacinth": ("Hyacinth Ottershaw", (Role.ANALYST,)),
    "ignatius": ("Ignatius Wimble", (Role.READ_ONLY,)),
}
FIELDS: list[tuple[str, str, str, str, dict[str, object]]] = [
    ("contact", "risk_profile", "choice", "Risk profile", {"choices": ["cautious", "balanced", "adventurous"]}),
    ("contact", "interests", "multi_choice", "Interests", {"choices": ["mortgages", "pensions", "bridging", "green homes"]}),
    ("contact", "identity_checked", "date", "Identity checked on", {}),
    ("contact", "vulnerable", "boolean", "Needs extra care", {"description": "Speak slowly, write plainly, allow more time."}),
    ("contact", "yearly_income", "number", "Yearly income", {"minimum": 0, "maximum": 10_000_000}),
    ("contact", "portal", "url", "Client portal", {}),
    ("contact", "met_at", "text", "Where we met", {}),
    ("contact", "fax", "text", "Fax number", {}),
    ("organisation", "credit_limit", "number", "Credit limit", {"minimum": 0}),
    ("organisation", "audited", "boolean", "Accounts are audited", {}),
    ("organisation", "year_end", "date", "Next year end", {}),
    ("organisation", "charter", "text", "Charter", {}),
]


def email(name: str) -> str:
    """An address at the firm's own domain, which is reserved for examples."""
    given, family = name.split(" ", 1)
    return f"{given}.{family}@quill-harrow.example".lower()


async def begin(stage: Stage) -> str:
    """The firm with its first owner and all its people; answers the text of the owner's key."""
    at = stage.start
    made = await stage.do(
        CreateFirm(
            name="Quill and Harrow",
            region=Region.UK,
            locale="en-GB",
            time_zone="Europe/London",
            currency="GBP",
            country="GB",
            owner_name="Ada Quillfeather",
            owner_email=email("Ada Quillfeather"),
        ),
        at,
        "operator",
    )
    stage.ids[("member", "ada")] = UUID(made.body["owner"])
    for name, (full, roles) in MEMBERS.items():
        await stage.make("member", name, AddMember(name=full, email=email(full), roles=roles), at + timedelta(hours=9))
    for applies_to, key, kind, label, more in FIELDS:
        await stage.make(
            "field",
            key,
            DefineField.model_validate({"applies_to": applies_to, "key": key, "kind": kind, "label": label, **more}),
            at,
        )
    issued = await stage.do(IssueKey(name="Owner", role=Role.OWNER), at, "operator")
    return issued.shown_once["api_key"]


async def story(stage: Stage) -> Story:
    """What became of the house in the year."""
    yield (at := stage.ago(360))
    await stage.do(ChangeFirmSettings(id=stage.firm, fiscal_year_start=4), at)
    for name in ("hyacinth", "elowen"):
        await stage.make("key", name, IssueKey(name=f"Desk of {name.title()}", member=stage.id("member", name)), at)
    await stage.make("key", "old", IssueKey(name="Address book of the old system", role=Role.ADVISER), at)
    await stage.make(
        "key",
        "web",
        IssueKey(name="Enquiry form of the website", role=Role.ADVISER, scopes=("contacts:write", "consent:write")),
        at,
    )
    yield (at := stage.ago(300))
    await stage.do(ChangeMemberRoles(id=stage.id("member", "dashiell"), roles=(Role.ADVISER,)), at)
    await stage.do(RenameMember(id=stage.id("member", "hyacinth"), name="Hyacinth Ottershaw-Bell"), at)
    await stage.do(ChangeMemberEmail(id=stage.id("member", "hyacinth"), email=email("Hyacinth Ottershaw-Bell")), at)
    yield (at := stage.ago(240))
    await stage.do(AmendField(id=stage.id("field", "met_at"), label="Where and when we met"), at)
    await stage.do(RetireField(id=stage.id("field", "fax"), reason="Nobody has one any more."), at)
    await stage.do(RetireField(id=stage.id("field", "portal"), reason="The portal was being replaced."), at)
    yield (at := stage.ago(231))
    await stage.do(ReinstateField(id=stage.id("field", "portal")), at)
    await stage.do(RenameFirm(id=stage.firm, name="Quill & Harrow Lending"), at)
    yield (at := stage.ago(190))
    await stage.do(
        RevokeKey(id=stage.id("key", "old"), reason=Revocation.LEAKED, remark="Found in a spreadsheet that had been mailed round."),
        at,
        "fitz",
    )
    await stage.do(ChangeFirmSettings(id=stage.firm, retention_months=72), at)
    yield (at := stage.ago(150))
    opened = SaveView(
        name="Open deals, largest first", collection="deals", filter='status = "open"', order_by="amount desc", shared=True
    )
    await stage.make("saved_view", "open", opened, at)
    yield (at := stage.ago(120))
    narrow = ("contacts:read", "deals:read", "consent:read", "documents:read", "history:read")
    auditor = stage.id("member", "guinevere")
    await stage.make("key", "audit", IssueKey(name="Audit without names", member=auditor, scopes=narrow), at)
    yield (at := stage.ago(LEFT))
    await stage.do(DeactivateMember(id=stage.id("member", "elowen"), remark="Left for the seaside."), at)
    yield (at := stage.ago(20))
    await stage.do(RotateKey(id=stage.id("key", "web"), overlap_hours=24), at, "fitz")
    await stage.make(
        "key",
        "valuer",
        IssueKey(name="Valuer, until the end of the month", role=Role.READ_ONLY, expires_at=stage.today + timedelta(days=12)),
        at,
    )
