"""Who introduced whom, and what came of it: chains of referrals down to the deals of those who were introduced."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from queries.graph.asking import PERMISSION, VIEWS, Paged, drawn, end, graph_of, page_of, readable, scope_of, start
from queries.graph.forms import Answer, Plain, Written, edge_said, told
from queries.graph.port import Edge, Graph, GraphTooLarge, Node, Scope
from queries.kernel import Reader, query

INTRODUCERS = ("introducer", "referrer")  # the roles of a party to a deal that brought it
MOST_REFERRALS = 20_000
MOST_CHAINS = 10_000
MOST_DEALS = 20_000

Chain = tuple[UUID, ...]


class AskReferrals(Paged):
    referrer: Annotated[
        str, Field(max_length=80, description="Only chains that begin with this contact or organisation, as kind/id.")
    ] = ""
    max_depth: Annotated[int, Field(ge=1, le=10, description="The most referrals in a chain.")] = 4
    won_only: Annotated[bool, Field(description="Only chains that led to a deal won.")] = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A chain of referrals, or a party that introduced deals itself, and the deals at its end."""

    chain: Chain
    via: str
    deals: tuple[Node, ...]

    @property
    def won(self) -> tuple[Node, ...]:
        return tuple(d for d in self.deals if d.status == "won")

    @property
    def amounts(self) -> dict[str, Decimal]:
        """What was won, by currency."""
        sums: dict[str, Decimal] = {}
        for d in self.won:
            if d.amount is not None and d.currency is not None:
                sums[d.currency] = sums.get(d.currency, Decimal(0)) + d.amount
        return dict(sorted(sums.items()))


@query(
    "graph.referrals",
    "GET /graph/referrals",
    permission=PERMISSION,
    title="Who introduced whom, and what came of it",
    views=VIEWS,
)
async def referrals(q: AskReferrals, r: Reader) -> Plain | Written:
    """Chains of referrals, each with the deals of the one at its end and the amounts won; those that led to most deals won first.

    A chain begins with somebody who was referred by nobody, or with `referrer`. A party to a deal as its introducer is a chain of its
    own. Who referred whom is personal: without personal:read there are only the introducers of deals.
    """
    scope = replace(scope_of(q, r), edge_kinds=None)
    scope = replace(scope, node_kinds=tuple(k for k in scope.node_kinds if k in {"contact", "organisation", "deal"}))
    root: UUID | None = None
    if q.referrer:
        kind, root = end(q.referrer, "referrer")
        scope, _ = await start(r, scope, kind, root)
    graph = graph_of(r)
    referring = await graph.edges(replace(scope, edge_kinds=("referred_by",)), limit=MOST_REFERRALS + 1)
    introducing = await graph.edges(replace(scope, edge_kinds=("party_to",)), limit=MOST_REFERRALS + 1, roles=INTRODUCERS)
    if max(len(referring), len(introducing)) > MOST_REFERRALS:
        raise GraphTooLarge(measure="referrals", most_edges=MOST_REFERRALS)
    chains = list(itertools.islice(_chains(referring, root, q.max_depth), MOST_CHAINS + 1))
    truncated = len(chains) > MOST_CHAINS
    chains = chains[:MOST_CHAINS]
    parties, cut = await _parties(graph, scope, {c[-1] for c in chains})
    introducing = [e for e in introducing if root is None or e.source == root]
    deals = await graph.nodes({e.target for e in (*parties, *introducing)}, scope) if "deal" in readable(r.permissions) else {}
    outcomes = [*_outcomes(chains, parties, deals), *_introduced(introducing, deals)]
    if q.won_only:
        outcomes = [o for o in outcomes if o.won]
    outcomes.sort(key=lambda o: (-len(o.won), -len(o.deals), o.chain))
    shown, following = page_of(q, outcomes)
    return told(
        await _answer(r, scope, shown, [*referring, *parties, *introducing], truncated or cut, following), q.format, "referrals"
    )


def _chains(referring: Sequence[Edge], root: UUID | None, depth: int) -> Iterator[Chain]:
    """Each way down from a beginning, and each part of the way: nobody stands twice in a chain."""
    referred: dict[UUID, list[UUID]] = {}
    for e in referring:
        referred.setdefault(e.target, []).append(e.source)
    for those in referred.values():
        those[:] = sorted(set(those))
    was_referred = {e.source for e in referring}
    beginnings = sorted(referred.keys() - was_referred) if root is None else [root]
    stack: list[Chain] = [(id,) for id in reversed(beginnings)]
    while stack:
        chain = stack.pop()
        if len(chain) > 1:
            yield chain
        if len(chain) <= depth:
            stack += [(*chain, id) for id in reversed(referred.get(chain[-1], ())) if id not in chain]


async def _parties(graph: Graph, scope: Scope, ids: set[UUID]) -> tuple[list[Edge], bool]:
    """The deals these are parties to, otherwise than as introducers."""
    if not ids:
        return [], False
    found = await graph.touching(ids, replace(scope, edge_kinds=("party_to",)), limit=MOST_DEALS + 1)
    return [e for e in found[:MOST_DEALS] if e.role not in INTRODUCERS], len(found) > MOST_DEALS


def _deals(edges: Sequence[Edge], deals: Mapping[UUID, Node]) -> dict[UUID, tuple[Node, ...]]:
    of: dict[UUID, dict[UUID, Node]] = {}
    for e in edges:
        if e.target in deals:
            of.setdefault(e.source, {})[e.target] = deals[e.target]
    return {id: tuple(found[d] for d in sorted(found)) for id, found in of.items()}


def _outcomes(chains: Sequence[Chain], parties: Sequence[Edge], deals: Mapping[UUID, Node]) -> list[Outcome]:
    of = _deals(parties, deals)
    return [Outcome(c, "referred_by", of.get(c[-1], ())) for c in chains]


def _introduced(introducing: Sequence[Edge], deals: Mapping[UUID, Node]) -> list[Outcome]:
    return [Outcome((id,), "introducer", found) for id, found in sorted(_deals(introducing, deals).items())]


async def _answer(
    r: Reader, scope: Scope, shown: Sequence[Outcome], edges: Sequence[Edge], truncated: bool, following: str
) -> Answer:
    steps = {frozenset(step) for o in shown for step in itertools.pairwise(o.chain)}
    steps |= {frozenset((o.chain[-1], d.id)) for o in shown for d in o.deals}
    drawn_edges = {e.id: e for e in edges if frozenset((e.source, e.target)) in steps}
    kinds = {id: kind for e in drawn_edges.values() for id, kind in e.ends}
    nodes = await drawn(r, scope, kinds)
    labels = {n["id"]: n["label"] for n in nodes}
    items = [
        {
            "chain": list(o.chain),
            "via": o.via,
            "deals": [{"id": d.id, "status": d.status, "amount": d.amount, "currency": d.currency} for d in o.deals],
            "deals_won": len(o.won),
            "won": [{"currency": currency, "amount": amount} for currency, amount in o.amounts.items()],
        }
        for o in shown
    ]
    return Answer(
        nodes=nodes,
        edges=[edge_said(e) for e in drawn_edges.values()],
        more={"items": items, "truncated": truncated, "next_page_token": following},
        table=[row for number, o in enumerate(shown, 1) for row in _rows(number, o, labels)],
    )


def _rows(number: int, o: Outcome, labels: Mapping[UUID, str | None]) -> Iterator[Plain]:
    for deal in o.deals or (None,):
        yield {
            "chain": number,
            "via": o.via,
            "referrer": o.chain[0],
            "referrer_label": labels.get(o.chain[0]),
            "introduced": o.chain[-1] if len(o.chain) > 1 else None,
            "introduced_label": labels.get(o.chain[-1]) if len(o.chain) > 1 else None,
            "referrals": len(o.chain) - 1,
            "deal": deal and deal.id,
            "deal_label": deal and labels.get(deal.id),
            "status": deal and deal.status,
            "amount": deal and deal.amount,
            "currency": deal and deal.currency,
            "closed_on": deal and deal.closed_on,
        }
