"""May we contact this person for a purpose over a channel? Answered for one or for thousands, as of any moment, closed when unknown.

The rule stands in domain.consent.deciding; here it is asked of the views, so that `as_of` and `known_at` hold for every answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.consent.deciding import REASONS, Decision, Known, Material, Question, Silence, decide
from domain.consent.words import DPV, STATUS_DPV, Channel, Status, Suppression
from queries.kernel import Query, Reader, query

_HERE = Path(__file__).parent
STANDS_SQL = (_HERE / "decision_stands.sql").read_text()
SILENCES_SQL = (_HERE / "decision_silences.sql").read_text()
ONE_STANDS_SQL = STANDS_SQL.replace(  # planned once for everybody, as it does not depend on how many are asked for
    "unnest(%(asked)s::uuid[], %(chains)s::uuid[]) k(asked, chain)", "(SELECT %(asked)s::uuid AS asked, %(chain)s::uuid AS chain) k"
)
MATERIALS_SQL = "SELECT id, versions FROM views.notices WHERE firm_id = %(firm)s AND id = ANY(%(notices)s::uuid[])"
DECIDED_BY_SQL = (_HERE / "decision_event.sql").read_text()
MOST = 10_000
VIEWS = ("contacts", "consents", "suppressions", "consent_events", "notices", "purposes")
Purpose = Annotated[str, Field(min_length=1, max_length=200, description="The key of the purpose.")]
LIVES = frozenset({"active", "archived", "erased"})
STATUSES = {s.value: s for s in Status}


class Decide(Query):
    contact: UUID
    purpose: Purpose
    channel: Channel
    contact_point_ref: UUID | None = None


class DecideMany(Query):
    contacts: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MOST)]
    purpose: Purpose
    channel: Channel


@query(
    "consent.decision",
    "GET /consent/decision",
    permission="consent:read",
    title="May we contact this person?",
    views=VIEWS,
)
async def decision(q: Decide, r: Reader) -> object:
    """Whether a person may be contacted for a purpose over a channel, with all reasons and the event that decided it. Of a contact merged
    into another, and of one that absorbed others, every chain counts. Of a contact that is not there the answer is closed. With
    `contact_point_ref`, for that address alone. `checkpoint_size` is the size of the signed log; `proven` says whether it covers the
    deciding event, which `proof_url` proves."""
    found = await _decided(r, (q.contact,), q.purpose, q.channel, q.contact_point_ref)
    asked, d = found[0]
    row = await r.one(DECIDED_BY_SQL, contact=d.chain, seq=d.decided_seq)
    size = row["size"] or 0 if row is not None else 0
    event = row if row is not None and row["id"] is not None else None
    leaf = event["firm_position"] if event is not None else None
    return {
        **_plain(asked, d),
        "purpose": q.purpose,
        "channel": q.channel,
        "as_of": r.now,
        "because": [REASONS[reason] for reason in d.reasons],
        "deciding_event": event
        and {
            "id": event["id"],
            "type": event["type"],
            "contact": event["contact"],
            "seq": event["seq"],
            "record_id": d.decided_by,
            "position": event["position"],
            "leaf_index": leaf,
        },
        "checkpoint_size": size,
        "proven": leaf is not None and leaf < size,
        "proof_url": f"/v1/contacts/{event['contact'] if event is not None else q.contact}/consent:proof",
    }


@query(
    "consent.decisions",
    "POST /consent/decisions",
    permission="consent:read",
    title="Whom may we contact?",
    views=VIEWS,
)
async def decisions(q: DecideMany, r: Reader) -> object:
    """The decision for each of up to 10,000 contacts, in the order given, and how many are allowed. A contact that is not there is closed,
    as `contact_unknown`."""
    found = await _decided(r, q.contacts, q.purpose, q.channel, None)
    items = [_plain(asked, d) for asked, d in found]
    counts: dict[str, int] = {}
    for _, d in found:
        for reason in d.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    return {
        "purpose": q.purpose,
        "channel": q.channel,
        "as_of": r.now,
        "allowed": sum(d.allowed for _, d in found),
        "reasons": counts,
        "items": items,
    }


def _plain(asked: UUID, d: Decision) -> dict[str, Any]:
    return {
        "contact": asked,
        "allowed": d.allowed,
        "status": d.status,
        "status_dpv": DPV + STATUS_DPV[d.status],
        "reasons": d.reasons,
        "legal_basis": d.legal_basis,
        "consent_type": d.consent_type,
        "notice": {"id": d.notice, "version": d.notice_version} if d.notice is not None else None,
        "since": d.since,
        "expires_at": d.expires_at,
        "decided_by": d.decided_by,
        "chain": d.chain,
    }


async def _decided(
    r: Reader, asked: Sequence[UUID], purpose: str, channel: Channel, contact_point_ref: UUID | None
) -> list[tuple[UUID, Decision]]:
    rows = await _stands(r, [(one, one) for one in asked], purpose, channel)
    retired = rows[0]["purpose_retired"]
    purpose_state = None if retired is None else "retired" if retired else "active"
    rows = [*rows, *await _of_the_same_person(r, rows, purpose, channel)]
    states: dict[UUID, str] = {}
    known: dict[UUID, list[Known]] = defaultdict(list)
    chains: dict[UUID, list[UUID]] = defaultdict(list)
    for row in rows:
        one, contact = row["asked"], row["contact"]
        chains[one].append(contact)
        if row["contact_status"] in LIVES:  # the state of a merged contact is that of the one it was merged into
            states[one] = row["contact_status"]
        if row["row"] is not None:
            known[one].append(
                Known(
                    status=STATUSES[row["status"]],
                    since=row["since"],
                    expires_at=row["expires_at"],
                    request_expires_at=row["request_expires_at"],
                    legal_basis=row["legal_basis"],
                    consent_type=row["consent_type"],
                    notice=row["notice"],
                    notice_version=row["notice_version"],
                    contact_point_ref=row["contact_point_ref"],
                    decided_by=row["decided_by"],
                    decided_seq=row["decided_seq"],
                    contact=contact,
                )
            )
    silences: dict[UUID, list[Silence]] = defaultdict(list)
    for row in await r.all(SILENCES_SQL, chains=[c for of in chains.values() for c in of], channel=channel, now=r.now):
        over = Channel(row["channel"]) if row["channel"] is not None else None
        silences[row["contact"]].append(
            Silence(Suppression(row["reason"]), over, row["contact_point_ref"], row["last_record"], row["last_seq"])
        )
    materials = await _materials(r, {k.notice for of in known.values() for k in of if k.notice is not None})
    answers = []
    for one in asked:
        q = Question(
            purpose=purpose,
            channel=channel,
            at=r.now,
            contact_point_ref=contact_point_ref,
            purpose_state=purpose_state,
            contact_state=states.get(one),
        )
        over_all = [s for c in chains[one] for s in silences[c]] if silences else []
        answers.append((one, decide(q, known.get(one, ()), over_all, materials)))
    return answers


async def _stands(r: Reader, of: Sequence[tuple[UUID, UUID]], purpose: str, channel: Channel) -> Sequence[Mapping[str, Any]]:
    """How chains stand, each for the contact that was asked for."""
    if len(of) == 1:
        return await r.all(ONE_STANDS_SQL, asked=of[0][0], chain=of[0][1], purpose=purpose, channel=channel)
    return await r.all(STANDS_SQL, asked=[a for a, _ in of], chains=[c for _, c in of], purpose=purpose, channel=channel)


async def _of_the_same_person(
    r: Reader, rows: Sequence[Mapping[str, Any]], purpose: str, channel: Channel
) -> list[Mapping[str, Any]]:
    """The rows of those who were merged with the contacts asked for, whichever way, however often."""
    more: list[Mapping[str, Any]] = []
    seen = {(row["asked"], row["contact"]) for row in rows}
    look = rows
    while True:
        others: list[tuple[UUID, UUID]] = []
        for row in look:
            near: Iterable[UUID] = row["absorbed"] or ()
            if row["merged_into"] is not None:
                near = (*near, row["merged_into"])
            for other in near:
                if (row["asked"], other) not in seen:
                    seen.add((row["asked"], other))
                    others.append((row["asked"], other))
        if not others:
            return more
        look = await _stands(r, others, purpose, channel)
        more += look


async def _materials(r: Reader, used: set[UUID]) -> dict[UUID, list[Material]]:
    if not used:
        return {}
    return {
        row["id"]: [
            Material(v["number"], datetime.fromisoformat(v["published_at"]), tuple(v["new_purposes"]))
            for v in row["versions"]
            if v["material"]
        ]
        for row in await r.all(MATERIALS_SQL, notices=list(used))
    }
