"""An OpenAPI document with each parameter, header and response that stands in it often kept once, among its components.

Some thousand operations' worth of the same refusals and parameters make a document that browsers need many seconds to take apart.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson

OFTEN = 3
Place = tuple[dict[str, Any] | list[Any], Any, str]
"""Where something stands: what holds it, under which key or index, and how it is called."""


def compacted(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, shorter."""
    document = orjson.loads(orjson.dumps(document))  # parts of it are kept elsewhere, and stay as they are there
    for kind, places in (("headers", _headers), ("parameters", _parameters), ("responses", _responses)):
        shared = _share(document, kind, places)
        if shared:
            document["components"][kind] = shared
    return document


def _share(document: dict[str, Any], kind: str, places: Callable[[dict[str, Any]], Iterator[Place]]) -> dict[str, Any]:
    found = [(holder, at, name, orjson.dumps(holder[at], option=orjson.OPT_SORT_KEYS)) for holder, at, name in places(document)]
    often = Counter(text for *_, text in found)
    names: dict[bytes, str] = {}
    shared: dict[str, Any] = {}
    for holder, at, name, text in found:
        if often[text] < OFTEN:
            continue
        if text not in names:
            variants = sum(1 for n in shared if n.partition("_")[0] == name)
            names[text] = f"{name}_{variants + 1}" if variants else name
            shared[names[text]] = holder[at]
        holder[at] = {"$ref": f"#/components/{kind}/{names[text]}"}
    return dict(sorted(shared.items()))


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from item.values()


def _headers(document: dict[str, Any]) -> Iterator[Place]:
    for operation in _operations(document):
        for response in operation["responses"].values():
            headers = response.get("headers", {})
            yield from ((headers, name, name) for name in headers)


def _parameters(document: dict[str, Any]) -> Iterator[Place]:
    for operation in _operations(document):
        parameters = operation.get("parameters", [])
        yield from ((parameters, n, p["name"].replace("_", "-")) for n, p in enumerate(parameters))


def _responses(document: dict[str, Any]) -> Iterator[Place]:
    for operation in _operations(document):
        responses = operation["responses"]
        yield from ((responses, status, status) for status in responses)
