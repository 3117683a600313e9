"""The forms of an answer: JSON with nodes and edges for drawing, GraphML for tools of graphs, CSV for tables.

G8  A cell of a CSV that a spreadsheet would take for a formula begins with an apostrophe.
G9  GraphML holds no character that XML forbids.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID
from xml.sax.saxutils import escape, quoteattr

from queries.graph.port import Edge, Node

Format = Literal["json", "graphml", "csv"]
Plain = dict[str, Any]

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
NODE = ("kind", "label", "status", "archived", "amount", "currency", "closed_on", "distance", "value", "community")
EDGE = ("kind", "role", "since", "until", "count", "last_at", "last_event")
_OF_NODE = tuple(f.name for f in fields(Node))
_OF_EDGE = tuple(f.name for f in fields(Edge))
_TYPES = {
    "archived": "boolean",
    "distance": "int",
    "count": "long",
    "value": "double",
    "community": "int",
    "amount": "string",  # decimals; a double would round money
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An answer that is a document of its own."""

    media_type: str
    name: str
    text: str


@dataclass(slots=True, kw_only=True)
class Answer:
    """Nodes and edges to draw, and what else an answer says; `table` are the rows of its CSV, the edges where there is none."""

    nodes: list[Plain] = field(default_factory=list)
    edges: list[Plain] = field(default_factory=list)
    more: Plain = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] | None = None


def node_said(node: Node, **more: object) -> Plain:
    return {**{name: getattr(node, name) for name in _OF_NODE}, **more}


def edge_said(edge: Edge) -> Plain:
    return {name: getattr(edge, name) for name in _OF_EDGE}  # ten times as fast as asdict, which copies every value


def told(answer: Answer, form: Format, name: str) -> Plain | Written:
    """The answer in the form asked for."""
    if form == "graphml":
        text = graphml(answer.nodes, answer.edges)
        return Written(media_type="application/graphml+xml", name=f"{name}.graphml", text=text)
    if form == "csv":
        rows = _edge_rows(answer) if answer.table is None else answer.table
        return Written(media_type="text/csv", name=f"{name}.csv", text=table(rows))
    return {**answer.more, "nodes": answer.nodes, "edges": answer.edges}


def _edge_rows(answer: Answer) -> list[Plain]:
    labels = {n["id"]: n.get("label") for n in answer.nodes}
    return [
        {
            "source_kind": e["source_kind"],
            "source": e["source"],
            "source_label": labels.get(e["source"]),
            "target_kind": e["target_kind"],
            "target": e["target"],
            "target_label": labels.get(e["target"]),
            **{name: e.get(name) for name in EDGE},
        }
        for e in answer.edges
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def inert(value: object) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    text = _text(value)
    if isinstance(value, str) and _FORMULA.match(text.lstrip(" \u00a0\ufeff")):
        return f"'{text}"
    return text


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """RFC 4180, with a header of all names in the order in which they first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out)
    if names:
        writer.writerow(names)
    for row in rows:
        writer.writerow([inert(row.get(name)) for name in names])
    return out.getvalue()


def _xml(value: object) -> str:
    return _NOT_XML.sub("\ufffd", _text(value))


def _data(prefix: str, names: Iterable[str], said: Mapping[str, Any]) -> Iterable[str]:
    for name in names:
        value = said.get(name)
        if value is not None:
            yield f'<data key="{prefix}_{name}">{escape(_xml(value))}</data>'


def graphml(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> str:
    """GraphML 1.0 (http://graphml.graphdrawing.org); every end of an edge is a node."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns'
        ' http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">',
    ]
    for what, names in (("node", NODE), ("edge", EDGE)):
        lines += [f'<key id="{what}_{n}" for="{what}" attr.name="{n}" attr.type="{_TYPES.get(n, "string")}"/>' for n in names]
    lines.append('<graph id="activity" edgedefault="directed">')
    known = {n["id"] for n in nodes}
    ends = {e[end]: e[f"{end}_kind"] for e in edges for end in ("source", "target") if e[end] not in known}
    for said in (*nodes, *({"id": id, "kind": kind} for id, kind in ends.items())):
        lines.append(f"<node id={quoteattr(str(said['id']))}>{''.join(_data('node', NODE, said))}</node>")
    for e in edges:
        ids = " ".join(f"{name}={quoteattr(str(e[name]))}" for name in ("id", "source", "target"))
        lines.append(f"<edge {ids}>{''.join(_data('edge', EDGE, e))}</edge>")
    lines += ["</graph>", "</graphml>", ""]
    return "\n".join(lines)


def synthetic(id: str, source: UUID, target: UUID, kind: str, ends: str, **more: object) -> Plain:
    """An edge that stands for many."""
    said = {"id": id, "source_kind": ends, "source": source, "target_kind": ends, "target": target, "kind": kind}
    return {**said, **more}
