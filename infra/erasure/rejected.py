"""Rows of imports that became nothing are sealed under the import's own key; one may still hold a person's address."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from domain.kernel import FirmId
from infra.erasure.addresses import addresses_of
from infra.imports.keep import RowStore, json_of
from infra.record.vault import Vault

_REJECTED = (
    "SELECT import_id, number, key_id, sealed FROM chancery.import_rows WHERE firm_id = %s AND outcome = 'rejected' AND sealed IS NOT NULL"
    " AND (import_id, number) > (%s, %s) ORDER BY import_id, number LIMIT %s"
)
_NULL = (
    "UPDATE chancery.import_rows r SET sealed = NULL FROM unnest(%s::uuid[], %s::bigint[]) n(import_id, number)"
    " WHERE r.firm_id = %s AND r.import_id = n.import_id AND r.number = n.number"
)
PIECE = 1_000


def forget_rejected(c: psycopg.Connection[Any], vault: Vault, firm: UUID, people: Sequence[UUID]) -> int:
    """Null the rejected rows that hold an address these people had; answers how many. To be done while the addresses are still known."""
    marks = [json_of(a).strip(b'"').lower() for a in addresses_of(c, firm, people)]
    if not marks:
        return 0
    rows = RowStore(c, vault, FirmId(firm))
    done, at = 0, (UUID(int=0), -1)
    while found := c.execute(_REJECTED, (firm, *at, PIECE)).fetchall():
        at = (found[-1][0], found[-1][1])
        naming = []
        for import_id, number, key_id, sealed in found:
            opened = rows.opened(import_id, number, key_id, bytes(sealed))
            said = b"" if opened is None else json_of(opened).lower()
            if any(mark in said for mark in marks):
                naming.append((import_id, number))
        c.execute(_NULL, ([i for i, _ in naming], [n for _, n in naming], firm))
        done += len(naming)
    return done
