"""Addresses that nobody is imported under again: keyed digests, which tell nothing without the installation's key."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from infra.record.vault import Vault


def address_digest(vault: Vault, firm: UUID, address: str) -> bytes:
    """The keyed digest of an email address or a phone number, in one spelling."""
    plain = address.strip().casefold() if "@" in address else "".join(ch for ch in address if ch.isdigit())
    return vault.mac(firm, "suppressed-address", plain.encode())


def addresses_of(connection: psycopg.Connection[Any], firm: UUID, people: Sequence[UUID]) -> set[str]:
    """All email addresses and phone numbers these people ever had, as the view of contacts and its history have them."""
    found: set[str] = set()
    for emails, phones in connection.execute(
        "SELECT emails, phones FROM views.contacts WHERE firm_id = %(firm)s AND id = ANY(%(people)s)"
        " UNION ALL SELECT emails, phones FROM history.contacts WHERE firm_id = %(firm)s AND id = ANY(%(people)s)",
        {"firm": firm, "people": list(people)},
    ).fetchall():
        found |= {e["address"] for e in emails or () if e.get("address")}
        found |= {n for p in phones or () if (n := p.get("number") or p.get("raw"))}
    return found


def suppress_addresses(connection: psycopg.Connection[Any], vault: Vault, firm: UUID, people: Sequence[UUID]) -> int:
    """Keep the digests of all addresses these people ever had; answers how many."""
    digests = {address_digest(vault, firm, a) for a in addresses_of(connection, firm, people)}
    connection.execute(
        "INSERT INTO chancery.suppressed_addresses (firm_id, digest, since) SELECT %s, d, now() FROM unnest(%s::bytea[]) d"
        " ON CONFLICT DO NOTHING",
        (firm, sorted(digests)),
    )
    return len(digests)


def any_suppressed(connection: psycopg.Connection[Any], vault: Vault, firm: UUID, addresses: Iterable[str]) -> bool:
    """Whether one of these addresses was that of a person who was erased and asked not to be imported again."""
    digests = [address_digest(vault, firm, a) for a in addresses]
    return bool(digests) and (
        connection.execute(
            "SELECT FROM chancery.suppressed_addresses WHERE firm_id = %s AND digest = ANY(%s) LIMIT 1", (firm, digests)
        ).fetchone()
        is not None
    )
