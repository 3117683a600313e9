"""Who is calling: the firm, the member or the key, what they may do and how much."""

from typing import Any

from infra.http.downloads import MOST_FOR_A_KEY
from infra.http.service import Principal, Service
from queries.kernel import COLLECTIONS

_FIRM = "SELECT name FROM views.firms WHERE firm_id = %(firm)s AND id = %(firm)s"
_KEY = "SELECT name, expires_at, roles FROM views.keys WHERE firm_id = %(firm)s AND id = %(id)s"
_MEMBER = "SELECT * FROM views.members WHERE firm_id = %(firm)s AND id = %(id)s"
_TODAY = "SELECT requests FROM chancery.quotas WHERE firm_id = %(firm)s AND day = (now() AT TIME ZONE 'UTC')::date"


async def of(service: Service, principal: Principal) -> dict[str, Any]:
    """What `/v1/me` answers. One is told one's own name, whatever one may see of others."""
    settings = service.chancery.settings
    async with service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
        firm = await r.one(_FIRM)
        key = await r.one(_KEY, id=principal.key)
        member = await r.one(_MEMBER, id=principal.member) if principal.member is not None else None
        today = await r.one(_TODAY)
    return {
        "firm_id": principal.firm,
        "firm_name": firm["name"] if firm else None,
        "member_id": principal.member,
        "member_name": member["name"] if member else None,
        "key_id": principal.key,
        "key_name": key["name"] if key else None,
        "key_expires_at": key["expires_at"] if key else None,
        "actor": str(principal.actor),
        "roles": list((member or key or {"roles": ()})["roles"]),
        "permissions": sorted(principal.permissions),
        "collections": sorted(c.name for c in COLLECTIONS.values() if c.permission in principal.permissions),
        "limits": {
            "requests_per_second": settings.rate_per_second,
            "burst": settings.rate_burst,
            "requests_per_day": settings.requests_per_day or None,
            "requests_today": int(today["requests"]) if today else 0,
            "streams_per_key": settings.max_streams_per_key,
            "downloads_per_key": MOST_FOR_A_KEY,
            "body_bytes": settings.max_body_bytes,
            "upload_bytes": settings.max_upload_bytes,
        },
    }
