"""Who takes part in which deal, and as what: one row for each contact or organisation and role."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from domain.deals import DealOpened, Party, PartyAdded, PartyRemoved
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class DealPartyRow:
    deal_id: UUID
    kind: str
    party_id: UUID
    role: str
    since: datetime


def party_key(deal: UUID, party: Party) -> UUID:
    """The row of a party in a role."""
    return uuid5(deal, f"{party.kind}/{party.id}/{party.role}")


def _named(r: Recorded) -> tuple[Party, ...]:
    match r.event:
        case DealOpened(parties=parties):
            return parties
        case PartyAdded(party=party) | PartyRemoved(party=party):
            return (party,)
        case _:
            return ()


def keys(r: Recorded) -> Iterable[UUID]:
    return [party_key(r.stream_id, p) for p in _named(r)]


def fold(row: DealPartyRow | None, key: UUID, r: Recorded) -> DealPartyRow | None:
    if isinstance(r.event, PartyRemoved):
        return None
    party = next((p for p in _named(r) if party_key(r.stream_id, p) == key), None)
    if party is None or row is not None:
        return row
    return DealPartyRow(deal_id=r.stream_id, kind=party.kind, party_id=party.id, role=party.role, since=r.occurred_at)


DEAL_PARTIES = view(View(name="deal_parties", version=1, table="views.deal_parties", row=DealPartyRow, keys=keys, fold=fold))
