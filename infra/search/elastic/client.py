"""Asking Elasticsearch: one connection pool, one place where its answers become errors of ours.

What a server says of a refused document may quote the document, so that nothing of it but its kind leaves this file.
"""

from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote

import elastic_transport
from elasticsearch import Elasticsearch
from elasticsearch.serializer import OrjsonSerializer

from infra.away import EngineUnusable
from infra.settings import Settings

TITLE = "Elasticsearch"
JSON = "application/json"
COMPATIBLE = "application/vnd.elasticsearch+json; compatible-with=9"
COMPATIBLE_LINES = "application/vnd.elasticsearch+x-ndjson; compatible-with=9"
NOT_NOW = frozenset({408, 429, 502, 503, 504})
RED = "Elasticsearch is red: parts of its indices are missing. Mend that first; its log says what it lacks."
FULL = (
    "Elasticsearch's disk is fuller than it allows for indices. Make room on it, or change its settings"
    " cluster.routing.allocation.disk.watermark.low, .high and .flood_stage; it goes on by itself."
)
BLOCKED = "cluster_block_exception"
MINIMUM = 9


class Unreachable(Exception):
    """Elasticsearch does not answer, or can't now; says which, in a few words."""


class Blocked(Unreachable):
    """Its indices take no writes: as a rule because their disk is full."""


class Refused(Exception):
    """Elasticsearch answers no; `status` and `kind` are what it says, without what it quotes."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(status, kind)
        self.status = status
        self.kind = kind


class TooLarge(Refused):
    """A request has more bytes than the server takes."""


def kind_of(body: Any) -> str:
    """What kind of error an answer names: the server's word for it, never its sentence."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return str(error.get("type", "unknown"))[:80]
    return "unknown"


class Elastic:
    """A connection pool; threads may share it."""

    def __init__(self, url: str, *, timeout: float = 30.0, connections: int = 16, ca: str | None = None) -> None:
        """EngineUnusable when the address can't be read."""
        given: dict[str, Any] = {"ca_certs": ca} if ca else {}
        serializer = OrjsonSerializer()
        try:
            client = Elasticsearch(
                url,
                max_retries=0,
                retry_on_timeout=False,
                connections_per_node=connections,
                serializers={JSON: serializer, "application/vnd.elasticsearch+json": serializer},
                **given,
            )
        except (ValueError, OSError):  # its text may show the password
            raise EngineUnusable(
                "CHANCERY_ELASTICSEARCH_URL can't be read. It looks like http://user:password@host:9200."
            ) from None
        self._transport = client.transport
        self._timeout = timeout

    @classmethod
    def of(cls, settings: Settings, **how: Any) -> "Elastic":
        """For the engine the settings name."""
        if settings.elasticsearch_url is None:
            raise EngineUnusable("CHANCERY_ELASTICSEARCH_URL is not set.")
        ca = str(settings.elasticsearch_ca) if settings.elasticsearch_ca else None
        return cls(settings.elasticsearch_url.get_secret_value(), ca=ca, **how)

    def close(self) -> None:
        self._transport.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout: float | None = None,
        fine: Collection[int] = (),
    ) -> Any:
        """What Elasticsearch answers. Unreachable when it does not or can't now; Refused for other errors whose status is not `fine`."""
        lines = isinstance(body, list)
        headers = {"accept": COMPATIBLE}
        if body is not None:
            headers["content-type"] = COMPATIBLE_LINES if lines else COMPATIBLE
            if lines:
                body = b"\n".join(body) + b"\n"
        try:
            answer = self._transport.perform_request(
                method, path, headers=headers, body=body, request_timeout=timeout or self._timeout, max_retries=0
            )
        except (elastic_transport.ConnectionError, elastic_transport.ConnectionTimeout) as e:
            raise Unreachable(type(e).__name__) from None
        except elastic_transport.TransportError as e:  # what answers is no Elasticsearch, or broke off
            raise Unreachable(type(e).__name__) from None
        status = answer.meta.status
        if status < 300 or status in fine:
            return answer.body
        if status in NOT_NOW:
            kind = kind_of(answer.body)
            raise (Blocked if kind == BLOCKED else Unreachable)(f"{status} {kind}")
        if status == 413:
            raise TooLarge(status, kind_of(answer.body))
        raise Refused(status, kind_of(answer.body))

    def names(self, *names: str) -> str:
        """Names of indices or aliases as they stand in a path."""
        return quote(",".join(names), safe=",")

    def check(self, timeout: float = 5.0) -> None:
        """EngineUnusable, in words, when it can't be used."""
        try:
            health = self.ask("GET", "/_cluster/health?timeout=2s", timeout=timeout)
            nodes = self.ask("GET", "/_nodes/_all/version?filter_path=nodes.*.version", timeout=timeout)
        except Unreachable:
            raise EngineUnusable(
                "Elasticsearch does not answer at CHANCERY_ELASTICSEARCH_URL. Check that it runs, and the host and port; or unset it to"
                " search in PostgreSQL."
            ) from None
        except Refused as e:
            if e.status in {401, 403}:
                raise EngineUnusable(
                    "Elasticsearch answers, but lets nobody in with the user and password of CHANCERY_ELASTICSEARCH_URL. Check them."
                ) from None
            raise EngineUnusable(
                f"What answers at CHANCERY_ELASTICSEARCH_URL answers {e.status} to a question for its health. Is it an Elasticsearch?"
            ) from None
        if not isinstance(health, dict) or health.get("status") == "red":
            raise EngineUnusable(FULL if self._lacks_room() else RED)
        for version in _versions(nodes):
            if int(version.partition(".")[0]) < MINIMUM:
                raise EngineUnusable(f"Elasticsearch {version} is too old. Chancery needs Elasticsearch {MINIMUM} or later.")

    def why(self, e: Exception) -> str:
        """Why it can't do now what it was asked to, in sentences for who runs it."""
        try:
            self.check(timeout=2.0)
        except EngineUnusable as unusable:
            return str(unusable)
        return (
            FULL
            if isinstance(e, Blocked)
            else f"Elasticsearch can't do now what it is asked to: {e}. It is asked again until it does."
        )

    def _lacks_room(self) -> bool:
        """Whether a missing part is missing because of the disk."""
        try:
            told = self.ask(
                "GET", "/_cluster/allocation/explain?filter_path=node_allocation_decisions.deciders.decider", timeout=2.0
            )
        except (Unreachable, Refused):
            return False
        nodes = told.get("node_allocation_decisions", ()) if isinstance(told, dict) else ()
        return any(d.get("decider") == "disk_threshold" for n in nodes for d in n.get("deciders", ()))


def _versions(nodes: Any) -> Sequence[str]:
    found = [str(n.get("version", "")) for n in nodes.get("nodes", {}).values()] if isinstance(nodes, dict) else []
    return [v for v in found if v.partition(".")[0].isdigit()]
