"""Contents that nobody has any more: those of discarded documents, and what was sent and never became a version.

CO1  A content goes when no document that stands has it, as views say that have caught up with the record, and nobody sent, found or added
     it for a week; while a view has stopped or is behind, nothing goes.
"""

import structlog

from domain.kernel import FirmId
from infra.blobs.port import collect
from infra.bootstrap import Chancery
from infra.feed import Behind
from queries.document_versions import contents_in_use

log = structlog.get_logger()

UNTOUCHED = 7 * 86_400.0  # seconds
PATIENCE = 60.0
VIEWS = ("documents", "document_versions")
_HEAD = "SELECT position FROM record.head"
_FIRMS = "SELECT firm_id FROM record.firm_heads ORDER BY firm_id"


async def let_go(c: Chancery, *, untouched: float = UNTOUCHED, patience: float = PATIENCE) -> int | None:
    """Delete what nobody has; answers how many contents that were, None where the views could not say."""
    async with await c.database.connect_async("record") as connection:
        head = await (await connection.execute(_HEAD)).fetchone()
        firms = [FirmId(firm) for (firm,) in await (await connection.execute(_FIRMS)).fetchall()]
    try:
        await c.feed.wait(VIEWS, int(head[0]) if head else 0, patience)
    except Behind:
        log.warning("contents.views_behind")
        return None
    gone = 0
    for firm in firms:

        async def in_use(sha256s: list[str], firm: FirmId = firm) -> set[str]:
            async with c.readers.reading(firm) as r:
                return await contents_in_use(sha256s, r)

        gone += await collect(c.blobs, firm, in_use, older_than=untouched)
    if gone:
        log.info("contents.gone", contents=gone)
    return gone
