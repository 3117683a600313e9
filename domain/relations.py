"""Relations: who stands in which relation to whom, and from when to when.

R1  A kind of relation joins the kinds of record it is meant for: people work at organisations, people have spouses.
R2  A relation said the other way round (`employs`) is recorded once, in its first direction (`works_at`).
R3  Nothing is related to itself.
R4  A relation does not end before it begins.
R5  A relation of the kind `other` says in words what it is.
R6  Nothing is recorded when nothing changes; a relation that is on record already is not recorded twice.

`person` is the contact among the two (the source, where both are), whose key seals what the relation tells; ids alone are public.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Literal, assert_never
from uuid import UUID

from domain.kernel import Invalid, Personal, Refused, Stream, event
from domain.people import difference, overlay

Party = Literal["contact", "organisation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One kind of relation: the kinds of record it joins, and how it reads from the other side."""

    inverse: str
    joins: tuple[tuple[Party, Party], ...]

    @property
    def symmetric(self) -> bool:
        return self.inverse == ""


_PEOPLE: tuple[tuple[Party, Party], ...] = (("contact", "contact"),)
_PERSON_AT: tuple[tuple[Party, Party], ...] = (("contact", "organisation"),)
_BODIES: tuple[tuple[Party, Party], ...] = (("organisation", "organisation"),)
_FOR_ANYBODY: tuple[tuple[Party, Party], ...] = (*_PEOPLE, *_PERSON_AT)
_ANY: tuple[tuple[Party, Party], ...] = (*_FOR_ANYBODY, ("organisation", "contact"), *_BODIES)

MEANINGS: dict[str, Meaning] = {
    "works_at": Meaning(inverse="employs", joins=_PERSON_AT),
    "director_of": Meaning(inverse="has_director", joins=_PERSON_AT),
    "signatory_of": Meaning(inverse="has_signatory", joins=_FOR_ANYBODY),
    "shareholder_of": Meaning(inverse="has_shareholder", joins=(*_PERSON_AT, *_BODIES)),
    "beneficial_owner_of": Meaning(inverse="has_beneficial_owner", joins=_PERSON_AT),
    "member_of": Meaning(inverse="has_member", joins=(*_PERSON_AT, *_BODIES)),
    "founder_of": Meaning(inverse="has_founder", joins=_PERSON_AT),
    "contact_person_of": Meaning(inverse="has_contact_person", joins=_PERSON_AT),
    "spouse_of": Meaning(inverse="", joins=_PEOPLE),
    "partner_of": Meaning(inverse="", joins=(*_PEOPLE, *_BODIES)),
    "sibling_of": Meaning(inverse="", joins=_PEOPLE),
    "relative_of": Meaning(inverse="", joins=_PEOPLE),
    "friend_of": Meaning(inverse="", joins=_PEOPLE),
    "colleague_of": Meaning(inverse="", joins=_PEOPLE),
    "parent_of": Meaning(inverse="child_of", joins=_PEOPLE),
    "manager_of": Meaning(inverse="reports_to", joins=_PEOPLE),
    "assistant_of": Meaning(inverse="has_assistant", joins=_PEOPLE),
    "emergency_contact_of": Meaning(inverse="has_emergency_contact", joins=_PEOPLE),
    "guardian_of": Meaning(inverse="ward_of", joins=_PEOPLE),
    "beneficiary_of": Meaning(inverse="has_beneficiary", joins=_FOR_ANYBODY),
    "trustee_of": Meaning(inverse="has_trustee", joins=_FOR_ANYBODY),
    "referred_by": Meaning(inverse="referred", joins=_ANY),
    "represented_by": Meaning(inverse="represents", joins=_ANY),
    "accountant_of": Meaning(inverse="has_accountant", joins=_ANY),
    "lawyer_of": Meaning(inverse="has_lawyer", joins=_ANY),
    "supplier_of": Meaning(inverse="has_supplier", joins=_ANY),
    "client_of": Meaning(inverse="has_client", joins=_ANY),
    "other": Meaning(inverse="", joins=_ANY),
}
INVERSES: dict[str, str] = {m.inverse: kind for kind, m in MEANINGS.items() if m.inverse}
KINDS: tuple[str, ...] = (*MEANINGS, *INVERSES)


def seen_from_target(kind: str) -> str:
    """How the relation reads from its other end."""
    return (MEANINGS[kind].inverse or kind) if kind in MEANINGS else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What a relation says beyond who and whom. `label` is the title held, or what an `other` relation is."""

    kind: str | None = None
    label: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    primary: bool | None = None
    remark: str | None = None


# --- events


@event("relations.Recorded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRecorded:
    source_type: Party
    source: UUID
    target_type: Party
    target: UUID
    person: UUID
    particulars: Annotated[Particulars | None, Personal(subject="person")] = None


@event("relations.Amended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RelationAmended:
    person: UUID
    particulars: Annotated[Particulars | None, Personal(subject="person")] = None
    cleared: tuple[str, ...] = ()


@event("relations.Ended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RelationEnded:
    person: UUID
    on: Annotated[date | None, Personal(subject="person")] = None
    reason: Annotated[str | None, Personal(subject="person")] = None


@event("relations.Removed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRemoved:
    """It never was: recorded by mistake."""

    person: UUID
    reason: Annotated[str | None, Personal(subject="person")] = None


Event = RelationRecorded | RelationAmended | RelationEnded | RelationRemoved

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    person: UUID | None = None
    particulars: Particulars = Particulars()
    removed: bool = False


# --- refusals


class UnknownKind(Invalid):
    """There is no such kind of relation. Use one of the kinds, or `other` with a label that says what it is."""


class DoesNotJoin(Invalid):
    """This kind of relation does not join these kinds of record."""


class RelatedToItself(Invalid):
    """A record can't stand in relation to itself."""


class EndsBeforeItBegins(Invalid):
    """The relation would end before it begins."""


class LabelWanted(Invalid):
    """A relation of the kind `other` needs a label that says what it is."""


class RelationExists(Refused):
    """This relation is on record already, with other particulars. Amend it."""


class RelationIsRemoved(Refused):
    """The relation was removed. Record it again instead."""


# --- decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    type: Party
    id: UUID


def directed(kind: str, source: End, target: End) -> tuple[str, End, End]:
    """The relation in the direction it is recorded in."""
    if kind in INVERSES:
        kind, source, target = INVERSES[kind], target, source
    if kind not in MEANINGS:
        raise UnknownKind(kinds=KINDS)
    if (source.type, target.type) not in MEANINGS[kind].joins:
        if MEANINGS[kind].symmetric and (target.type, source.type) in MEANINGS[kind].joins:
            return kind, target, source
        raise DoesNotJoin(kind=kind, joins=MEANINGS[kind].joins)
    if source.id == target.id:
        raise RelatedToItself
    if MEANINGS[kind].symmetric and source.type == target.type and kind != "other" and target.id < source.id:
        source, target = target, source
    return kind, source, target


def record(relation: Relation, *, source: End, target: End, particulars: Particulars) -> list[Event]:
    """`source` and `target` as `directed` answered them."""
    _coherent(particulars)
    if relation.person is not None and not relation.removed:
        if relation.particulars == particulars:
            return []
        raise RelationExists
    person = target.id if source.type == "organisation" and target.type == "contact" else source.id
    return [
        RelationRecorded(
            source_type=source.type,
            source=source.id,
            target_type=target.type,
            target=target.id,
            person=person,
            particulars=particulars,
        )
    ]


def amend(relation: Relation, *, changes: Mapping[str, object]) -> list[Event]:
    person = _standing(relation)
    changed, cleared = difference(relation.particulars, changes)
    if changed is None and not cleared:
        return []
    _coherent(overlay(relation.particulars, changed, cleared))
    return [RelationAmended(person=person, particulars=changed, cleared=cleared)]


def end(relation: Relation, *, on: date, reason: str | None = None) -> list[Event]:
    person = _standing(relation)
    if relation.particulars.valid_to == on:
        return []
    _coherent(replace(relation.particulars, valid_to=on))
    return [RelationEnded(person=person, on=on, reason=reason)]


def remove(relation: Relation, *, reason: str | None = None) -> list[Event]:
    if relation.removed or relation.person is None:
        return []
    return [RelationRemoved(person=relation.person, reason=reason)]


def _standing(relation: Relation) -> UUID:
    if relation.removed or relation.person is None:
        raise RelationIsRemoved
    return relation.person


def _coherent(p: Particulars) -> None:
    if p.valid_from is not None and p.valid_to is not None and p.valid_to < p.valid_from:
        raise EndsBeforeItBegins
    if p.kind == "other" and not p.label:
        raise LabelWanted


# --- evolve


def evolve(relation: Relation, e: Event) -> Relation:
    match e:
        case RelationRecorded():
            return Relation(person=e.person, particulars=e.particulars or Particulars())
        case RelationAmended():
            return replace(relation, particulars=overlay(relation.particulars, e.particulars, e.cleared))
        case RelationEnded():
            return replace(relation, particulars=replace(relation.particulars, valid_to=e.on))
        case RelationRemoved():
            return replace(relation, removed=True)
        case _:
            assert_never(e)


RELATION = Stream("relation", Relation(), evolve)
