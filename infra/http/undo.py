"""Undo over HTTP: previews, imports, and the command itself.

A preview is made by the same decisions as the undo and written nowhere, because what it shows may be personal.
"""

import asyncio
import dataclasses
import typing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from commands.kernel import Actor, Work
from commands.undo import Step, UndoCommand, planned
from domain.hints import personal_mark
from domain.kernel import FirmId
from infra.http.commands import json_object, read_body
from infra.http.reads import json_response
from infra.http.routing import Endpoint
from infra.http.service import Principal, Service
from infra.imports.undo import undo as undo_import
from infra.plainly import fitted
from infra.record.codec import CODECS, json_codec
from infra.record.execute import now
from infra.record.explain import rows_along
from infra.record.history import Source, shape_of
from queries.kernel import COLLECTIONS
from queries.listing import SEES_PERSONAL


def route(service: Service, carry_out: Endpoint) -> Endpoint:
    """`POST /v1/undo {command_id | merged_id | import_id, reason, preview}`."""
    most = service.chancery.settings.max_body_bytes

    async def endpoint(request: Request) -> Response:
        await service.identify(request)  # before anything is read of a stranger
        body = await read_body(request, most)
        request._body = body  # noqa: SLF001 - the way Starlette itself keeps a body that was read
        given = json_object(request, body, most)
        if given.get("import_id") is None and given.get("preview") is not True:
            return await carry_out(request)
        principal = await service.principal(request)
        principal.need("history:read")
        c = fitted(UndoCommand, given)
        if c.import_id is not None:
            return json_response(await _import(service, principal, c))
        return json_response(await _preview(service, principal, c))

    return endpoint


async def _import(service: Service, principal: Principal, c: UndoCommand) -> dict[str, Any]:
    """What infra.imports.undo reports; it works on threads of its own and goes on where it stood when it was interrupted."""
    principal.need("imports:read" if c.preview else "imports:write")
    chancery = service.chancery
    report = await asyncio.to_thread(
        undo_import,
        chancery.database,
        chancery.vault,
        firm=principal.firm,
        actor=principal.actor,
        import_id=c.import_id,  # type: ignore[arg-type]  # the caller looked
        reason=c.reason,
        preview=c.preview,
    )
    return {
        "preview": c.preview,
        "import_id": report.import_id,
        "done": report.done,
        "taken_back": dict(report.taken_back),
        "put_back": dict(report.put_back),
        "kept_counts": dict(report.kept_counts),
        "kept": [dataclasses.asdict(k) for k in report.kept],
    }


async def _preview(service: Service, principal: Principal, c: UndoCommand) -> dict[str, Any]:
    executor = service.chancery.executor
    w = Work(
        outside=executor.unremembered(),
        firm=principal.firm,
        actor=principal.actor,
        now=now(),
        command_id="preview",
        permissions=principal.permissions,
    )
    steps = await planned(c, w)
    personal = SEES_PERSONAL in principal.permissions
    return {
        "preview": True,
        "undone": [{"id": s.undone.event_id, "type": s.undone.name} for s in steps],
        "would_record": [
            {"type": CODECS.of(e).name, "stream": f"{s.entity.stream.type}/{s.entity.id}", "data": _shown(e, personal=personal)}
            for s in steps
            for e in s.events
        ],
        "changes": await _changes(service, principal.firm, principal.actor, steps, w, personal=personal),
    }


def _shown(event: Any, *, personal: bool) -> dict[str, Any]:
    """An event as JSON, without what this caller may not see."""
    out: dict[str, Any] = {}
    hints = typing.get_type_hints(type(event), include_extras=True)
    for f in dataclasses.fields(event):
        value = getattr(event, f.name)
        if value is None:
            continue
        if personal_mark(hints[f.name]) is not None and not personal:
            out.setdefault("masked", []).append(f.name)
        else:
            out[f.name] = json_codec(hints[f.name])[0](value)
    return out


async def _changes(
    service: Service, firm: FirmId, actor: Actor, steps: list[Step], w: Work, *, personal: bool
) -> list[dict[str, Any]]:
    """The fields of each record that would differ, through the fold of its view."""
    fresh: dict[Any, list[Any]] = {}
    for s in steps:
        fresh.setdefault((s.entity.stream.type, s.entity.id), []).extend(s.events)
    out: list[dict[str, Any]] = []
    async with service.chancery.readers.reading(firm) as r:
        for (type, id), events in fresh.items():
            c = next((c for c in COLLECTIONS.values() if c.stream is not None and c.stream.type == type), None)
            if c is None:
                continue
            source = Source(firm=firm, view=c.view, stream_type=type, stream_id=id, id=id)
            along = [pair async for pair in rows_along(r.connection, service.chancery.vault, source)]
            last, row = along[-1]
            shape = shape_of(c.view.row)
            before = shape.values(row)
            for n, e in enumerate(events, 1):
                recorded = dataclasses.replace(
                    last,
                    event=e,
                    name=CODECS.of(e).name,
                    version=last.version + n,
                    actor=str(actor),
                    occurred_at=w.now,
                    recorded_at=w.now,
                )
                row = c.view.fold(row, id, recorded)
            after = shape.values(row)
            fields = [
                {"field": name, "masked": True}
                if marked and not personal
                else {"field": name, "old": before.get(name), "new": after.get(name)}
                for name, _, marked in shape.fields
                if before.get(name) != after.get(name)
            ]
            out.append({"collection": c.name, "id": id, "gone": row is None, "fields": fields})
    return out
