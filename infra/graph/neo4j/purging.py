"""Rows of the graph made anew from what can still be opened, when a person's key has been destroyed."""

from typing import Any
from uuid import UUID

import psycopg

from infra.graph.neo4j.statements import node_sought
from infra.graph.neo4j.store import EDGES, NODES, VIEWS, Store
from infra.projector.routing import Router
from infra.projector.tables import Key
from infra.record.reader import EventRow, decode, fetch_keys
from infra.record.vault import Vault

_OF = (
    "SELECT position, firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at, occurred_at,"
    " command_id, public, sealed FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s) AND position <= %s ORDER BY position"
)


def made_anew(
    c: psycopg.Connection[Any], vault: Vault, store: Store, position: int, firm: UUID, concerned: dict[str, set[UUID]]
) -> None:
    """Replace rows by what the record says of them now, as far as the build has read it. Outrun when the build has moved meanwhile."""
    ids = [*concerned[NODES], *concerned[EDGES]]
    cursor = c.cursor(binary=True)
    streams = [*ids, *_streams_of(store, firm, concerned[NODES])]
    cursor.execute(_OF, (firm, streams, position))
    rows = [EventRow(*row) for row in cursor.fetchall()]
    router = Router(VIEWS)
    wanted = [row for row in rows if router.wanted(row)]
    keys = fetch_keys(c, vault, wanted)
    routed = router.route([decode(row, vault, keys) for row in wanted])
    said = []
    gone: dict[str, list[Key]] = {}
    for view in VIEWS:
        mine = concerned[view.name]
        gone[view.name] = [(firm, id) for id in mine]
        touched = [(r, [k for k in named if k in mine]) for r, named in routed.get(view.name, [])]
        folding = store.folding(view)
        lines = folding.fold([t for t in touched if t[1]], lambda _keys, _gone: {}, lambda _key: [])
        said.append((view, folding.writing(lines)))
    store.load(VIEWS[1], gone[EDGES], [])  # so that it is known what stands there
    store.replace(position, gone, store.batch(said))


def _streams_of(store: Store, firm: UUID, nodes: set[UUID]) -> list[UUID]:
    """An offer's events lie in the stream of its deal."""
    found = store.rows(
        f"UNWIND $ids AS id {node_sought('n', f'ChanceryNode{store.build}', '$firm', 'id')}"
        f" MATCH (n)<-[e:CHANCERY_EDGE_{store.build}]-() WHERE n.kind = 'offer' AND e.kind = 'offers' RETURN DISTINCT e.source",
        firm=str(firm),
        ids=[str(i) for i in nodes],
    )
    return [UUID(id) for id in found]
