"""Everything a firm holds about one person, for that person: JSON, or a ZIP of CSV files (GDPR Articles 15 and 20, CCPA 1798.100).

PO1  It holds every row and every event that is about the person, and names beside ids wherever there are names.
PO2  It holds nothing of another person but that they are named where both are: the other end of a relation, by id and name.
PO3  Making it is itself on the record: a request of kind `export` or `access` that is open is answered with it by whoever asks so.
"""

import csv
import io
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from domain.consent import CONSENT
from domain.contacts import CONTACT
from domain.kernel import NotFound
from domain.privacy import PRIVACY
from infra.http.commands import path_id
from infra.http.downloads import cell
from infra.http.problems import HttpProblem
from infra.http.reads import JSON_OPTIONS, parameters
from infra.http.routing import Endpoint
from infra.http.service import Service, json_default
from infra.record.codec import CODECS, unb64url
from infra.record.reader import read_stream

PAGE = 1_000
HIDDEN = frozenset({"firm_id", "version", "position", "marks", "changes", "versions"})
_OF = "SELECT t.* FROM views.{table} t WHERE t.firm_id = %(firm)s AND t.id > %(after)s AND {which} ORDER BY t.id LIMIT %(limit)s"
SETS: Mapping[str, tuple[str, str]] = {
    "contact": ("contacts", "(t.id = %(person)s OR t.merged_into = %(person)s)"),
    "relations": ("relations", "(t.source = %(person)s OR t.target = %(person)s)"),
    "notes": ("notes", "t.about = %(person)s"),
    "deals": (
        "deals",
        "t.id IN (SELECT p.deal_id FROM views.deal_parties p WHERE p.firm_id = %(firm)s AND p.party_id = %(person)s)",
    ),
    "tasks": ("tasks", "t.contact = %(person)s"),
    "documents": ("documents", "t.contacts @> ARRAY[%(person)s]::uuid[]"),
    "consents": ("consents", "t.contact = %(person)s"),
    "consent_events": ("consent_events", "t.contact = %(person)s"),
    "suppressions": ("suppressions", "t.contact = %(person)s"),
    "privacy_requests": ("privacy_requests", "t.contact = %(person)s"),
}
STREAMS = (CONTACT, CONSENT, PRIVACY)
NAMES = (
    "SELECT id, name FROM views.members WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
    " UNION ALL SELECT id, name FROM views.organisations WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
    " UNION ALL SELECT id, name FROM views.contacts WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
    " UNION ALL SELECT id, name FROM views.stages WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
    " UNION ALL SELECT id, name FROM views.pipelines WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
    " UNION ALL SELECT id, title FROM views.notices WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
    " UNION ALL SELECT id, name FROM views.folders WHERE firm_id = %(firm)s AND id = ANY(%(ids)s::uuid[])"
)
NOBODY = UUID(int=0)
Rows = AsyncIterator[dict[str, Any]]


class Portability:
    """The route of a person's data."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[tuple[str, str, str, Endpoint]]:
        return [("GET", "/v1/contacts/{id}/personal-data", "contacts.personal_data", self._answer)]

    async def _answer(self, request: Request) -> Response:
        principal = await self._service.principal(request)
        for permission in ("privacy:read", "personal:read", "history:read"):
            principal.need(permission)
        form = parameters(request, ("format",)).get("format", "json")
        if form not in {"json", "csv"}:
            raise HttpProblem(400, "parameter-malformed", "The parameter format is json or csv.", parameter="format")
        person = path_id(request)
        if person is None:
            raise NotFound(kind="contact")
        await self._service.wait_for(request, tuple(table for table, _ in SETS.values()))
        found = {name: [row async for row in self._rows(principal.firm, principal.permissions, name, person)] for name in SETS}
        if not found["contact"]:
            raise NotFound(kind="contact", id=str(person))
        found["events"] = [e async for e in self._events(principal.firm, person)]
        await self._name(principal.firm, principal.permissions, found)
        name = f"personal-data-{person}"
        if form == "json":
            body = orjson.dumps({"person": person, **found}, default=json_default, option=JSON_OPTIONS | orjson.OPT_INDENT_2)
            headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.json"'}
            return Response(body, media_type="application/json", headers=headers)
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.zip"'}
        return StreamingResponse(iter([_zipped(found)]), media_type="application/zip", headers=headers)

    async def _rows(self, firm: Any, permissions: frozenset[str], name: str, person: UUID) -> Rows:
        table, which = SETS[name]
        after = NOBODY
        while True:
            async with self._service.chancery.readers.reading(firm, permissions) as r:
                page = await r.all(_OF.format(table=table, which=which), person=person, after=after, limit=PAGE)
            for row in page:
                yield {k: v for k, v in row.items() if k not in HIDDEN and v not in (None, [], {}, "")}
            if len(page) < PAGE:
                return
            after = page[-1]["id"]

    async def _events(self, firm: Any, person: UUID) -> Rows:
        chancery = self._service.chancery
        async with await chancery.database.connect_async("record") as c:
            for stream in STREAMS:
                async for e in read_stream(c, chancery.vault, firm, stream.type, person):
                    data, sealed = CODECS.of(e.event).encode(e.event, e.stream_id)
                    shown = {k: v for k, v in data.items() if k not in {"_sd", "token_sha256"}}
                    for d in sealed:
                        _, field, value = orjson.loads(unb64url(d.text))
                        shown[field] = value
                    yield {
                        "position": e.position,
                        "type": e.name,
                        "occurred_at": e.occurred_at,
                        "recorded_at": e.recorded_at,
                        "by": e.actor,
                        "from": e.origin,
                        "said": shown,
                    }

    async def _name(self, firm: Any, permissions: frozenset[str], found: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        """Put the names of things beside their ids."""
        ids: set[UUID] = set()
        for rows in found.values():
            for row in rows:
                ids |= {v for k, v in row.items() if isinstance(v, UUID) and k != "id"}
        names: dict[UUID, str] = {}
        async with self._service.chancery.readers.reading(firm, permissions) as r:
            wanted = sorted(ids)
            for start in range(0, len(wanted), PAGE):
                for named in await r.all(NAMES, ids=wanted[start : start + PAGE]):
                    if named["name"]:
                        names[named["id"]] = named["name"]
        for rows in found.values():
            for row in rows:
                for key in [k for k, v in row.items() if isinstance(v, UUID) and v in names and k != "id"]:
                    row[f"{key}_name"] = names[row[key]]


def _zipped(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """One CSV file for each kind of thing, in a ZIP that is the same for the same data."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in found.items():
            columns = list(dict.fromkeys(k for row in rows for k in row))
            text = io.StringIO()
            writer = csv.writer(text)
            writer.writerow(columns)
            for row in rows:
                writer.writerow([cell(row[c]) if c in row else "" for c in columns])
            archive.writestr(zipfile.ZipInfo(f"{name}.csv", (1980, 1, 1, 0, 0, 0)), text.getvalue().encode())
    return out.getvalue()
