"""A pull of JSON values out of a file of any size: every value of the wanted depth, never the whole document.

ijson (C, no recursion) supplies the tokens; nesting, the length of one token and the size of one value are limited here.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ijson  # type: ignore[import-untyped]
from ijson.common import IncompleteJSONError, JSONError  # type: ignore[import-untyped]

from infra.imports.rows import FileDefect
from infra.imports.source import Source
from infra.imports.values import clean

MAX_VALUE_TOKENS = 2_000_000


def tokens(source: Source) -> Iterator[tuple[str, Any]]:
    """ijson's basic events. Raises FileDefect with the position for anything that is not JSON."""
    limits = source.limits
    out: Any = ijson.sendable_list()
    push = ijson.basic_parse_coro(out)
    since = depth = 0
    try:
        for piece in source.text():
            data = piece.encode("utf-8", "replace")
            if not data:
                continue
            push.send(data)
            since = since + len(data) if not out else 0
            if since > limits.token:
                raise FileDefect(
                    "One JSON value is too long",
                    f"a text or number has more than {limits.token:,} bytes",
                    "Check where the file comes from",
                )
            for kind, value in out:
                if kind in {"start_map", "start_array"}:
                    depth += 1
                    if depth > limits.depth:
                        raise FileDefect(
                            "The JSON is nested too deeply",
                            f"more than {limits.depth} values stand inside each other",
                            "Check where the file comes from",
                        )
                elif kind in {"end_map", "end_array"}:
                    depth -= 1
                yield kind, clean(value) if type(value) is str else value
            out.clear()
        push.close()
    except (IncompleteJSONError, JSONError, ValueError, ArithmeticError) as e:
        raise FileDefect("The file is not valid JSON", _reason(e), "Export it again, or repair it") from e
    for kind, value in out:
        yield kind, value


def values(source: Source, depth: int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(path, value) of every value that stands `depth` containers deep, built whole; shallower scalars come as well."""
    path: list[str | int] = []
    stack: list[Any] = []
    keys: list[str] = []
    count = 0
    for kind, value in tokens(source):
        if stack:
            count += 1
            if count > MAX_VALUE_TOKENS:
                raise FileDefect(
                    "One JSON record is too large",
                    f"it has more than {MAX_VALUE_TOKENS:,} parts",
                    "Check where the file comes from",
                )
            if kind == "map_key":
                keys[-1] = value
            elif kind in {"end_map", "end_array"}:
                done = stack.pop()
                keys.pop()
                if not stack:
                    yield tuple(path), done
                    _step(path)
            else:
                new: Any = {} if kind == "start_map" else [] if kind == "start_array" else value
                top = stack[-1]
                if type(top) is dict:
                    top[keys[-1]] = new
                else:
                    top.append(new)
                if kind in {"start_map", "start_array"}:
                    stack.append(new)
                    keys.append("")
        elif kind == "map_key":
            path[-1] = value
        elif kind in {"end_map", "end_array"}:
            path.pop()
            _step(path)
        elif kind in {"start_map", "start_array"}:
            if len(path) == depth:
                stack, keys, count = [{} if kind == "start_map" else []], [""], 0
            else:
                path.append("" if kind == "start_map" else 0)
        else:
            yield tuple(path), value
            _step(path)


def _step(path: list[str | int]) -> None:
    if path and isinstance(path[-1], int):
        path[-1] += 1


def plain(value: Any) -> Any:
    """The value with numbers as text, so that the source is kept exactly and stays JSON-able."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def _reason(e: Exception) -> str:
    text = str(e).strip().splitlines()
    return (
        text[0][:120].replace(".", "")
        if text and isinstance(e, JSONError) and "lexical" in text[0]
        else "it ends or breaks off where JSON goes on"
    )
