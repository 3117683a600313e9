"""Everything a firm holds about one person, for that person: JSON, or a ZIP of CSV files (GDPR Articles 15 and 20, CCPA 1798.100).

PO1  It holds every row and every event that is about the person, whatever it stands in, and of those merged into them; and names beside
     ids wherever there are names.
PO2  It holds nothing of another person but that they are named where both are: the other end of a relation, by id and name.
PO3  Making it is itself on the record: a request of kind `export` or `access` that is open is answered with it by whoever asks so.
"""

import asyncio
import csv
import io
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from domain.consent import CONSENT
from domain.contacts import CONTACT
from domain.kernel import NotFound
from domain.privacy import PRIVACY
from infra.erasure.keys import touched
from infra.erasure.subjects import Subjects, of_contact
from infra.http.commands import path_id
from infra.http.downloads import cell
from infra.http.problems import HttpProblem
from infra.http.reads import JSON_OPTIONS, parameters
from infra.http.routing import Endpoint
from infra.http.service import Service, json_default
from infra.record.codec import CODECS, unb64url
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from projections.kernel import Recorded
from queries.kernel import COLLECTIONS
from queries.listing import current
from queries.listing.derived import STORED

PAGE = 1_000
HIDDEN = frozenset({"firm_id", "version", "position", "marks", "changes", "versions", STORED})
_OF = "SELECT {columns} FROM {table} AS t WHERE t.firm_id = %(firm)s AND t.id > %(after)s AND {which} ORDER BY t.id LIMIT %(limit)s"
_PERSON = "t.contact = ANY(%(people)s)"
_DEALS = "(SELECT p.deal_id FROM views.deal_parties p WHERE p.firm_id = %(firm)s AND p.party_id = ANY(%(people)s))"
_DOCUMENTS = "(SELECT d.id FROM views.documents d WHERE d.firm_id = %(firm)s AND d.contacts && %(people)s)"
SETS: Mapping[str, tuple[str, str]] = {
    "contact": ("contacts", "t.id = ANY(%(people)s)"),
    "relations": ("relations", "(t.source = ANY(%(people)s) OR t.target = ANY(%(people)s))"),
    "notes": ("notes", "t.about = ANY(%(people)s)"),
    "deals": ("deals", f"t.id IN {_DEALS}"),
    "deal_activities": ("deal_activities", "t.contact_id = ANY(%(people)s)"),
    "offers": ("offers", "t.contact_id = ANY(%(people)s)"),
    "projects": ("projects", _PERSON),
    "tasks": ("tasks", _PERSON),
    "task_comments": ("task_comments", _PERSON),
    "documents": ("documents", "t.contacts && %(people)s"),
    "document_versions": ("document_versions", f"t.document IN {_DOCUMENTS}"),
    "consents": ("consents", _PERSON),
    "consent_events": ("consent_events", _PERSON),
    "suppressions": ("suppressions", _PERSON),
    "sendings": ("sendings", "t.contacts && %(people)s"),
    "privacy_requests": ("privacy_requests", _PERSON),
    "contact_holds": ("contact_holds", _PERSON),
}
COLUMNS_OF = {
    "sendings": "t.id, t.created_at, t.purpose, t.channel, t.message, t.decided_at"
}  # the others it went to are nobody's here
STREAMS = (CONTACT, CONSENT, PRIVACY)
_KEYS = "SELECT key_id FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s)"
_EVENTS = (
    f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %s AND (position = ANY(%s) OR stream_type = ANY(%s) AND stream_id = ANY(%s))"
    " ORDER BY position"
)
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
        subjects = await asyncio.to_thread(self._subjects, principal.firm, person)
        people = list(subjects.people)
        found = {name: [row async for row in self._rows(principal.firm, principal.permissions, name, people)] for name in SETS}
        if not found["contact"]:
            raise NotFound(kind="contact", id=str(person))
        found["events"] = await asyncio.to_thread(self._events, subjects)
        await self._name(principal.firm, principal.permissions, found)
        name = f"personal-data-{person}"
        if form == "json":
            body = orjson.dumps({"person": person, **found}, default=json_default, option=JSON_OPTIONS | orjson.OPT_INDENT_2)
            headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.json"'}
            return Response(body, media_type="application/json", headers=headers)
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.zip"'}
        return StreamingResponse(iter([_zipped(found)]), media_type="application/zip", headers=headers)

    async def _rows(self, firm: Any, permissions: frozenset[str], name: str, people: list[UUID]) -> Rows:
        table, which = SETS[name]
        columns = COLUMNS_OF.get(name, "t.*")
        after = NOBODY
        while True:
            async with self._service.chancery.readers.reading(firm, permissions) as r:
                page = await r.all(
                    _OF.format(columns=columns, table=current(COLLECTIONS[table]), which=which),
                    people=people,
                    after=after,
                    limit=PAGE,
                )
            for row in page:
                yield {k: v for k, v in row.items() if k not in HIDDEN and v not in (None, [], {}, "")}
            if len(page) < PAGE:
                return
            after = page[-1]["id"]

    def _subjects(self, firm: UUID, person: UUID) -> Subjects:
        with self._service.chancery.database.connect("record") as c:
            return of_contact(c, firm, person, datetime.now(UTC).date())

    def _events(self, subjects: Subjects) -> list[dict[str, Any]]:
        """The events of the person's own streams, and every other that was sealed under their keys; of each what is theirs."""
        vault, firm = self._service.chancery.vault, subjects.firm
        with self._service.chancery.database.connect("record") as c, c.cursor(binary=True) as cursor:
            keys = [k for (k,) in c.execute(_KEYS, (firm, list(subjects.ids))).fetchall()]
            elsewhere = [position for position, _ in touched(c, firm, keys)]
            cursor.execute(_EVENTS, (firm, elsewhere, [s.type for s in STREAMS], list(subjects.people)))
            shown = []
            while rows := [EventRow(*r) for r in cursor.fetchmany(PAGE)]:
                opening = fetch_keys(c, vault, rows)
                shown += [_said(decode(row, vault, opening), frozenset(subjects.ids)) for row in rows]
            return shown

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


def _said(e: Recorded, subjects: frozenset[UUID]) -> dict[str, Any]:
    """An event as the person is shown it: without what it says of others."""
    data, sealed = CODECS.of(e.event).encode(e.event, e.stream_id)
    said = {k: v for k, v in data.items() if k not in {"_sd", "token_sha256"}}
    for d in sealed:
        if d.subject in subjects:
            _, field, value = orjson.loads(unb64url(d.text))
            said[field] = value
    return {
        "position": e.position,
        "type": e.name,
        "about": f"{e.stream_type}/{e.stream_id}",
        "occurred_at": e.occurred_at,
        "recorded_at": e.recorded_at,
        "by": e.actor,
        "from": e.origin,
        "said": said,
    }


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
