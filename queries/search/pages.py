"""Page tokens: they work for the search they were made for and no other."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from queries.kernel import Reader
from queries.search.port import (
    Found,
)
from queries.unusable import Unusable


class SearchTokenUnusable(Unusable):
    """The page token does not belong to this search."""


def binding(q: str, filter: str, r: Reader) -> str:
    """What a token of this search holds of it."""
    what = json.dumps([str(r.firm), q, filter, sorted(r.permissions)])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def seal(last: Found, bound: str) -> str:
    """What comes after is named by the last hit seen: its score, kind and id, which whoever holds the token has seen."""
    text = json.dumps([bound, last.score, last.kind, str(last.id)], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unseal(token: str, bound: str) -> tuple[float, str, str]:
    try:
        made_for, score, kind, id = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        place = (-float(score), str(kind), str(UUID(id)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise SearchTokenUnusable("Begin again without one, or send next_page_token as it was answered.") from None
    if made_for != bound:
        raise SearchTokenUnusable("Send it with the same q and filter as before, or begin again without one.")
    return place
