"""Relations: recorded between contacts and organisations, amended, ended, removed."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from commands.kernel import Answer, Command, Work, command
from commands.people import Name, Reason, happened
from domain import contacts, organisations, relations
from domain.contacts import CONTACT
from domain.organisations import ORGANISATION
from domain.relations import RELATION, End, Particulars, Party

WRITE = "contacts:write"

Kind = Literal[
    "works_at", "employs", "director_of", "has_director", "signatory_of", "has_signatory", "shareholder_of", "has_shareholder",
    "beneficial_owner_of", "has_beneficial_owner", "member_of", "has_member", "founder_of", "has_founder", "contact_person_of",
    "has_contact_person", "spouse_of", "partner_of", "sibling_of", "relative_of", "friend_of", "colleague_of", "parent_of",
    "child_of", "manager_of", "reports_to", "assistant_of", "has_assistant", "emergency_contact_of", "has_emergency_contact",
    "guardian_of", "ward_of", "beneficiary_of", "has_beneficiary", "trustee_of", "has_trustee", "referred_by", "referred",
    "represented_by", "represents", "accountant_of", "has_accountant", "lawyer_of", "has_lawyer", "supplier_of", "has_supplier",
    "client_of", "has_client", "other",
]  # fmt: skip


class RelateParties(Command):
    kind: Kind = Field(description="Read as `source kind target`: Anna works_at Acme.")
    source_type: Party
    source: UUID
    target_type: Party
    target: UUID
    label: Name | None = Field(default=None, description="The title held, or, for `other`, what the relation is.")
    valid_from: date | None = None
    valid_to: date | None = None
    primary: bool | None = Field(default=None, description="Whether it is the main one of its kind.")
    remark: Reason | None = None
    occurred_at: AwareDatetime | None = None


async def standing(w: Work, type: Party, id: UUID) -> None:
    """The contact or organisation, which must exist and not be merged into another one."""
    if type == "contact":
        contact = (await w.load(CONTACT, id)).state
        if contact.merged_into is not None:
            raise contacts.ContactIsMerged(survivor=str(contact.merged_into))
    else:
        organisation = (await w.load(ORGANISATION, id)).state
        if organisation.merged_into is not None:
            raise organisations.OrganisationIsMerged(survivor=str(organisation.merged_into))


@command("relations.record", "POST /relations", permission=WRITE, title="Record a relation", target=RELATION, creates=True)
async def record(c: RelateParties, w: Work) -> Answer:
    """Say who stands in which relation to whom. The same relation from the same day is one, however often it is said."""
    kind, source, target = relations.directed(c.kind, End(type=c.source_type, id=c.source), End(type=c.target_type, id=c.target))
    for end in (source, target):
        await standing(w, end.type, end.id)
    label = c.label or "" if kind == "other" else ""
    parts = ("relation", kind, label, str(source.id), str(target.id), str(c.valid_from))
    relation = await w.find(RELATION, w.derive_id(*parts))
    particulars = Particulars(
        kind=kind, label=c.label, valid_from=c.valid_from, valid_to=c.valid_to, primary=c.primary, remark=c.remark
    )
    events = relations.record(relation.state, source=source, target=target, particulars=particulars)
    w.record(relation, events, occurred_at=happened(w, c.occurred_at))
    return {"id": str(relation.id)}


class AmendRelation(Command):
    id: UUID
    label: Name | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    primary: bool | None = None
    remark: Reason | None = None


@command("relations.amend", "POST /relations/{id}:amend", permission=WRITE, title="Amend a relation", target=RELATION)
async def amend(c: AmendRelation, w: Work) -> Answer:
    """Set label, dates, primary or remark; null clears one. What kind it is and whom it joins do not change."""
    relation = await w.load(RELATION, c.id)
    changes = {name: getattr(c, name) for name in c.model_fields_set - {"id"}}
    w.record(relation, relations.amend(relation.state, changes=changes))
    return None


class EndRelation(Command):
    id: UUID
    on: date | None = Field(default=None, description="The last day; today when not given.")
    reason: Reason | None = None


@command("relations.end", "POST /relations/{id}:end", permission=WRITE, title="End a relation", target=RELATION)
async def end(c: EndRelation, w: Work) -> Answer:
    """Say when the relation ended. It stays on record as one that was."""
    relation = await w.load(RELATION, c.id)
    w.record(relation, relations.end(relation.state, on=c.on or w.now.date(), reason=c.reason))
    return None


class RemoveRelation(Command):
    id: UUID
    reason: Reason | None = None


@command("relations.remove", "POST /relations/{id}:remove", permission=WRITE, title="Remove a relation", target=RELATION)
async def remove(c: RemoveRelation, w: Work) -> Answer:
    """Take back a relation that was recorded by mistake. One that was true and is over is ended instead."""
    relation = await w.load(RELATION, c.id)
    w.record(relation, relations.remove(relation.state, reason=c.reason))
    return None
