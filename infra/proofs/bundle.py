"""The one-file proof of a contact's consent (`consent-chain-proof/v1`): the whole chain, with what is chosen to be disclosed of it.

PB1  A bundle holds the whole chain up to the checkpoint, from its first link, and no entry of anybody else's.
PB2  Nothing personal stands in it but what was asked to be disclosed, by somebody who may see it.
PB3  It never carries a key: whom to trust, the reader decides.
PB4  What is handed out was verified first, by the same stand-alone file that a stranger uses.
PB5  Nothing stands in it for readers alone: what the log does not bind, as the title of a notice, is left out.
"""

import asyncio
import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from domain.kernel import NotFound
from infra.erasure.sealed import Listed, Spoilt, opened
from infra.proofs import heads
from infra.proofs.checkpoints import Checkpoint
from infra.proofs.encoding import b64
from infra.proofs.errors import NotProved
from infra.proofs.notes import Note
from infra.proofs.store import AsyncLogStore, Beyond, Log, RecordAltered
from infra.record.codec import unb64url
from infra.record.vault import SELECT_KEYS, Vault
from verifier import chancery_verify

FORMAT = chancery_verify.FORMAT
MOST = 10_000
DISCLOSABLE = ("contact_point", "display_name", "ip_address", "remark", "user_agent")
"""The personal fields of an event of consent."""
ASIDE = 200  # links from which on a proof is checked beside the event loop
_CHAIN = (
    "SELECT firm_position, event_id, public, sealed FROM record.events WHERE firm_id = %s AND stream_id = %s AND stream_type = 'consent'"
    " ORDER BY stream_version LIMIT %s"
)
_STAMPS = "SELECT response FROM chancery.log_timestamps WHERE firm_id = %s AND origin = %s AND size = %s ORDER BY stamped_at"
_NOTICE = (
    "SELECT t.text FROM views.notice_texts t"
    " WHERE t.firm_id = %s AND t.notice = %s AND t.notice_version = %s AND t.language = %s AND t.text IS NOT NULL"
)


class NotYetProvable(NotProved):
    """The log has not taken in this chain yet."""


class ChainTooLong(NotProved):
    """The chain has more links than one file takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`disclose` are names of personal fields (`contact_point`, `ip_address` …), or None for every one; `older` sizes of checkpoints that
    the bundle is to go on from; `notices` whether the texts come along."""

    disclose: Collection[str] | None = ()
    older: Sequence[int] = ()
    notices: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    event_id: UUID
    leaf: bytes
    sealed: bytes | None


async def bundle(store: AsyncLogStore, vault: Vault, firm: UUID, contact: UUID, wanted: Wanted) -> dict[str, Any]:
    """The proof of a contact's chain up to the newest checkpoint. Raises NotFound when there is no chain, NotYetProvable, ChainTooLong,
    RecordAltered when the record does not hold what the log was built over, Beyond for an older size that is not kept."""
    log = await store.log()
    checkpoint = log.checkpoint
    found = [Link(*row) for row in await _rows(store, _CHAIN, (firm, contact, MOST + 1))]
    if not found:
        raise NotFound(kind="consent", id=str(contact))
    chain = [link for link in found if link.index < checkpoint.size]
    if not chain:
        raise NotYetProvable("the log has not taken in this chain yet; ask again in a second")
    if len(found) > MOST:
        raise ChainTooLong(f"the chain has more than {MOST} links, which is more than one file takes")
    head, seal = await _head(store, firm, contact, chain)
    indexes = [link.index for link in chain] + ([seal[0]] if seal is not None else [])
    proofs = await store.inclusions(log, indexes, checkpoint.size, checkpoint.root)
    shown = await _disclosures(store, vault, firm, contact, chain, wanted.disclose)
    entries = [
        {"index": link.index, "leaf": b64(link.leaf), "inclusion": [b64(h) for h in proof], "disclosures": texts}
        for link, proof, texts in zip(chain, proofs, shown, strict=False)
    ]
    made: dict[str, Any] = {
        "format": FORMAT,
        "checkpoint": await store.with_cosignatures(log, checkpoint.size, str(log.note)),
        "entries": entries,
        "consistency": [await _older(store, log, checkpoint, size) for size in wanted.older],
        "timestamps": [b64(response) for (response,) in await _rows(store, _STAMPS, (firm, log.origin, checkpoint.size))],
        "notices": await _notices(store, firm, chain) if wanted.notices else [],
    }
    as_of = None
    if head is not None and seal is not None:
        as_of = head.seal.as_of_size
        entries.append({"index": seal[0], "leaf": b64(seal[1]), "inclusion": [b64(h) for h in proofs[-1]], "disclosures": []})
        made["heads"] = {
            "seal_entry": len(entries) - 1,
            "index": head.index,
            "head": head.head,
            "inclusion": [b64(h) for h in head.inclusion],
        }
    made["summary"] = {
        "log": log.origin,
        "contact": f"consent/{contact}",
        "size": checkpoint.size,
        "events": len(chain),
        "last_seq": len(chain),
        "complete_as_of": as_of,
    }
    raw = orjson.dumps(made)
    if len(raw) > chancery_verify.LARGEST:
        raise ChainTooLong(f"the proof has more than {chancery_verify.LARGEST:,} bytes, which is more than one file takes")
    if len(chain) > ASIDE:
        await asyncio.to_thread(_check, made, raw, log)
    else:
        _check(made, raw, log)
    return made


async def _rows(store: AsyncLogStore, sql: str, parameters: Sequence[object]) -> list[Any]:
    async with store.connection.cursor(binary=True) as cursor:
        await cursor.execute(sql, parameters)
        return await cursor.fetchall()


async def _head(
    store: AsyncLogStore, firm: UUID, contact: UUID, chain: Sequence[Link]
) -> tuple[heads.HeadProof | None, tuple[int, bytes] | None]:
    """The chain's head in the newest seal, with the seal's place and leaf; nothing when no seal speaks of the chain."""
    try:
        head = await heads.prove_async(store.connection, firm, f"consent/{contact}")
    except heads.NoHead:
        return None, None
    if head.seal.event is None or not any(link.index < head.seal.as_of_size for link in chain):
        return None, None
    leaf = (await store.leaves([head.seal.event])).get(head.seal.event)
    if leaf is None:
        raise RecordAltered("the event of the seal is gone from the record")
    return head, (head.seal.event, leaf)


async def _disclosures(
    store: AsyncLogStore, vault: Vault, firm: UUID, contact: UUID, chain: Sequence[Link], names: Collection[str] | None
) -> list[list[str]]:
    """What is disclosed of each link, of that which can still be opened. RecordAltered where it can't be though nobody was erased."""
    if names is not None and not names:
        return [[] for _ in chain]
    try:
        keys, missing = vault.held((firm, link.sealed) for link in chain)
        if missing:
            rows = await _rows(store, SELECT_KEYS, ([f for f, _ in missing], [k for _, k in missing]))
            keys |= {k.key_id: k.cipher for k in [vault.unwrap(*row) for row in rows]}
    except (ValueError, TypeError, AttributeError) as e:
        raise RecordAltered("personal values of the chain can't be read") from e
    out = []
    listed = Listed(vault.folder)
    for link in chain:
        try:
            texts = opened(
                firm, contact, link.event_id, public=link.leaf, sealed=link.sealed, vault=vault, keys=keys, erased=listed
            )
        except Spoilt as e:
            raise RecordAltered(f"entry {link.index}: {e}") from e
        out.append([t for t in texts if names is None or orjson.loads(unb64url(t))[1] in names])
    return out


async def _older(store: AsyncLogStore, log: Log, checkpoint: Checkpoint, size: int) -> dict[str, Any]:
    note = await store.kept(log, size)
    if note is None:
        raise Beyond(size, log.size)
    return {"checkpoint": note, "proof": [b64(h) for h in await store.consistency(log, size, checkpoint.size)]}


async def _notices(store: AsyncLogStore, firm: UUID, chain: Sequence[Link]) -> list[dict[str, Any]]:
    """The texts that the chain names, each once; a notice that is a file is a document, and is asked for as one."""
    named: dict[tuple[str, int, str, str], None] = {}
    for link in chain:
        notice = orjson.loads(link.leaf)["data"].get("notice")
        if notice:
            named[notice["id"], notice["version"], notice["language"], notice["sha256"]] = None
    out = []
    for id, version, language, sha256 in named:
        for (text,) in await _rows(store, _NOTICE, (firm, id, version, language)):
            content = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
            out.append({"id": id, "version": version, "language": language, "sha256": sha256, "content": content})
    return out


def _check(made: dict[str, Any], raw: bytes, log: Log) -> None:
    """Verify what is about to be handed out, as a stranger would who trusts this log's key."""
    try:
        Note.parse(made["checkpoint"].encode())
        chancery_verify.verify(raw, chancery_verify.of_keys(log.vkey))
    except chancery_verify.NotProved as e:
        raise RecordAltered(f"the proof does not verify: {e}") from e


__all__ = ["FORMAT", "ChainTooLong", "NotYetProvable", "Wanted", "bundle"]
