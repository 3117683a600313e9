"""Page tokens: they work for the search they were made for and no other."""

import hashlib
import json
from uuid import UUID

from queries import cursors
from queries.kernel import Reader
from queries.search.port import Found
from queries.unusable import Unusable


class SearchTokenUnusable(Unusable):
    """The page token does not belong to this search."""


def binding(q: str, filter: str, r: Reader) -> str:
    """What a token of this search holds of it."""
    what = json.dumps([str(r.firm), q, filter, sorted(r.permissions)])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def seal(last: Found, bound: str) -> str:
    """What comes after is named by the last hit seen: its score, kind and id, which whoever holds the token has seen."""
    return cursors.write((bound, last.score, last.kind, last.id))


def unseal(token: str, bound: str) -> tuple[float, str, str]:
    try:
        made_for, score, kind, id = cursors.read(token, str, float, str, UUID)
    except cursors.PageTokenMalformed:
        made_for = score = kind = id = None
    if score is None or kind is None or id is None:
        raise SearchTokenUnusable("Begin again without one, or send next_page_token as it was answered.")
    if made_for != bound:
        raise SearchTokenUnusable("Send it with the same q and filter as before, or begin again without one.")
    return -score, kind, str(id)
