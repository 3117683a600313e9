"""JSON Lines as rows of a table: an object a line, its members as columns, members of members with a dot between."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from infra.imports.rows import FileDefect, refusal
from infra.imports.source import Overlong, Source
from infra.imports.tables import Dialect, TableRow
from infra.imports.values import clean

MOST_MEMBERS = 500
MOST_DEPTH = 4
SAMPLED = 300


class JsonLines:
    """Read like a table. The columns are those of the first lines; a member that comes later is kept in its row."""

    dialect = Dialect()
    has_header = True

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sample: list[dict[str, str]] = []
        names: dict[str, None] = {}
        for row in self:
            names.update(dict.fromkeys(row.values))
            if row.values:
                self.sample.append(row.values)
            if row.number >= SAMPLED:
                break
        if not names:
            raise FileDefect("The file holds no objects", "JSON Lines has an object on each line", "Check the export")
        self.columns = tuple(names)

    def __iter__(self) -> Iterator[TableRow]:
        number = 0
        for line, text in enumerate(self.source.lines(), 1):
            if isinstance(text, Overlong):
                number += 1
                yield _fault(line, number, "", "the line is longer than a line may be")
                continue
            if not text.strip():
                continue
            number += 1
            try:
                found = orjson.loads(text)
            except orjson.JSONDecodeError:
                yield _fault(line, number, text, "the line is not JSON")
                continue
            if not isinstance(found, dict):
                yield _fault(line, number, text, "the line is JSON, but no object")
                continue
            values: dict[str, str] = {}
            _flat(found, "", values, 0)
            if len(values) > MOST_MEMBERS:
                yield _fault(line, number, text, f"the object has more than {MOST_MEMBERS} members")
                continue
            yield TableRow(line=line, number=number, values=values, raw=text.rstrip("\r\n"), errors=())


def _fault(line: int, number: int, text: str, reason: str) -> TableRow:
    return TableRow(line=line, number=number, values={}, raw=text[:100_000].rstrip("\r\n"), errors=(refusal(line, "", "", reason),))


def _flat(value: Mapping[str, Any], before: str, out: dict[str, str], depth: int) -> None:
    for key, v in value.items():
        name = clean(f"{before}{key}")[:200]
        if len(out) > MOST_MEMBERS:
            return
        if isinstance(v, dict) and depth < MOST_DEPTH:
            _flat(v, f"{name}.", out, depth + 1)
        elif isinstance(v, list) and all(isinstance(x, str | int) for x in v):
            out[name] = clean(" ::: ".join(map(str, v)))
        elif v is None:
            out[name] = ""
        elif isinstance(v, bool):
            out[name] = "true" if v else "false"
        else:
            out[name] = clean(v if isinstance(v, str) else orjson.dumps(v).decode())
