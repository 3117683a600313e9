"""A circle of dependencies in words: the tasks it goes through, by title for whoever may read titles."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from domain.projects import DependencyCycle
from infra.http.problems import HttpProblem, kebab
from infra.http.service import Principal, Service
from queries.listing import SEES_PERSONAL

_TITLES = "SELECT id, title FROM views.tasks WHERE firm_id = %(firm)s AND id = ANY (%(ids)s)"


async def _titles(service: Service, principal: Principal, ids: Sequence[UUID]) -> Mapping[UUID, str]:
    if not {"tasks:read", SEES_PERSONAL} <= principal.permissions:
        return {}
    async with service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
        return {row["id"]: row["title"] for row in await r.all(_TITLES, ids=list(ids))}


def _named(cycle: Sequence[str], titles: Mapping[UUID, str]) -> list[dict[str, str | None]]:
    return [{"id": id, "title": titles.get(UUID(id))} for id in cycle]


async def refused(service: Service, principal: Principal, e: DependencyCycle) -> HttpProblem:
    """The refusal, with `tasks`: the circle's tasks in order, each with its title; the title is null when it may not be read."""
    titles = await _titles(service, principal, e.cycle)
    about: dict[str, Any] = {**e.about, "tasks": _named([str(id) for id in e.cycle], titles)}
    return HttpProblem(409, kebab(type(e).__name__), e.why, **about)


async def told(service: Service, principal: Principal, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer that lists what was refused: each circle in it with its tasks. Titles stand in no stored answer."""
    circles = [one for one in body.get("refused", ()) if isinstance(one, dict) and one.get("cycle")]
    if not circles:
        return body
    titles = await _titles(service, principal, list({UUID(id) for one in circles for id in one["cycle"]}))
    named = [{**one, "tasks": _named(one["cycle"], titles)} if one in circles else one for one in body["refused"]]
    return {**body, "refused": named}
