"""The reference pages of docs/reference, written from the registries: `python -m infra.reference`. A test regenerates them."""

import dataclasses
import re
import sys
import types
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic_core import PydanticUndefined

from commands.kernel import COMMANDS, Command, CommandSpec
from domain.hints import personal_mark
from domain.kernel import EVENTS, UPCASTERS
from infra import registry
from infra.http import openapi
from infra.http.app import VERSION
from infra.http.described import EXTRA
from infra.settings import PREFIX, Settings, is_secret
from projections.kernel import VIEWS
from queries.kernel import COLLECTIONS, QUERIES
from queries.listing.fields import is_hidden
from queries.listing.relations import relations_of

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
COMMON = ("id", "firm_id", "version", "created_at", "updated_at", "position")

# --- pieces of Markdown


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return [*lines, *(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows), ""]


def _own_doc(cls: type) -> str:
    """The docstring, unless it is the signature that dataclasses put there or the docstring of the base class."""
    text = " ".join((cls.__dict__.get("__doc__") or "").split())
    return "" if text.startswith(f"{cls.__name__}(") or text == " ".join((Command.__doc__ or "").split()) else text


# --- commands


def _schema_type(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """A JSON schema in a few words: the type, and the limits."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        target = shared[name]
        return (
            " or ".join(f"`{v}`" for v in target["enum"]) if "enum" in target else f"{{{', '.join(target.get('properties', {}))}}}"
        )
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_schema_type(s, shared) for s in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{v}`" for v in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "array":
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {_schema_type(schema.get('items', {}), shared)}{most}"
    if kind == "object":
        return "object"
    text = str(schema.get("format") or kind or "any value").replace("ipvanyaddress", "IP address")
    low, high = (schema.get(a, schema.get(b)) for a, b in (("minLength", "minimum"), ("maxLength", "maximum")))
    if low is None and high is None:
        return text
    return f"{text} ({f'{low} to {high}' if low and high else f'at most {high}' if high else f'at least {low}'})"


def _fields(spec: CommandSpec) -> list[str]:
    schema = spec.model.model_json_schema()
    shared = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    rows = [
        (f"`{name}`", _schema_type(s, shared), "yes" if name in required else "", s.get("description", ""))
        for name, s in schema.get("properties", {}).items()
    ]
    return _table(("field", "type", "required", ""), rows) if rows else []


def commands() -> str:
    lines = [
        "# Commands",
        "",
        "Every change is one of these. Each is one request, carried out wholly or not at all, and answers the position it was recorded",
        "at in `Chancery-Position`. Send `Idempotency-Key` to repeat a request safely and `If-Match` with a version to refuse a stale",
        "one. Commands of the `operator` are those of the command line; they have no address.",
        "",
    ]
    context = ""
    for name, spec in sorted(COMMANDS.items()):
        if name.partition(".")[0] != context:
            context = name.partition(".")[0]
            lines += [f"## {context}", ""]
        address = "" if spec.permission == "operator" else f"`{spec.method} /v1{spec.path}` · "
        lines += [f"### `{name}`", "", f"{spec.title}. {address}permission `{spec.permission}`", ""]
        if spec.description not in {spec.title, ""}:
            lines += [spec.description, ""]
        if about := _own_doc(spec.model):
            lines += [about, ""]
        lines += _fields(spec)
    return "\n".join(lines)


# --- events


def _type_name(hint: Any) -> str:
    """A type of an event or a row as a reader writes it down."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _type_name(get_args(hint)[0])
    if origin in {Union, types.UnionType}:
        return " or ".join(_type_name(a) for a in get_args(hint) if a is not types.NoneType)
    if origin is Literal:
        return " or ".join(f"`{a}`" for a in get_args(hint))
    if origin is tuple:
        return f"list of {_type_name(get_args(hint)[0])}"
    if origin is dict:
        return f"map to {_type_name(get_args(hint)[1])}"
    if hasattr(hint, "__supertype__"):
        return _type_name(hint.__supertype__)
    if dataclasses.is_dataclass(hint):
        return f"{{{', '.join(f.name for f in dataclasses.fields(hint))}}}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f"`{m.value}`" for m in hint)
    return {"str": "text", "bool": "true or false", "int": "whole number"}.get(
        getattr(hint, "__name__", ""), str(getattr(hint, "__name__", hint))
    )


def events() -> str:
    lines = [
        "# Events",
        "",
        "What is on the record. A stored name is permanent; a new meaning is a new version. Fields marked *sealed* are personal: the",
        "public leaf holds a salted digest of them, and their value is sealed under the key of the subject named.",
        "",
    ]
    context = ""
    for name, cls in sorted(EVENTS.items()):
        if name.partition(".")[0] != context:
            context = name.partition(".")[0]
            lines += [f"## {context}", ""]
        lines += [f"### `{name}`", ""]
        if about := _own_doc(cls):
            lines += [about, ""]
        hints = get_type_hints(cls, include_extras=True)
        rows = []
        for field in dataclasses.fields(cls):
            mark = personal_mark(hints[field.name])
            sealed = "" if mark is None else f"for {mark.subject or 'its own subject'}, {mark.purpose}"
            optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            rows.append((f"`{field.name}`", _type_name(hints[field.name]), "" if optional else "yes", sealed))
        if rows:
            lines += _table(("field", "type", "always", "sealed"), rows)
    if UPCASTERS:
        lines += [
            "## Retired versions",
            "",
            *_table(("was", "is read as"), ((f"`{o}`", f"`{n}`") for o, (n, _) in sorted(UPCASTERS.items()))),
        ]
    return "\n".join(lines)


# --- settings


def settings_table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        default = "" if value in {None, PydanticUndefined} else f"`{value}`"
        rows.append((f"`CHANCERY_{name.upper()}`", default, field.description or ""))
    return "\n".join(_table(("variable", "default", ""), rows)).rstrip()


def settings() -> str:
    secret = ", ".join(f"`{PREFIX}{name.upper()}_FILE`" for name, field in Settings.model_fields.items() if is_secret(field))
    about = f"Read once at start, from the environment; an empty variable is an unset one. Secrets can stand in files: {secret} name them."
    return f"# Settings\n\n{about}\n\n{settings_table()}\n"


# --- the command line


def cli() -> str:
    from infra.cli.main import app

    lines = ["# Command line", "", "Exit 0: done. 1: refused, or a check failed. 2: wrong usage. `--json` prints for scripts.", ""]

    def tell(command: Any, path: str) -> None:
        if getattr(command, "hidden", False):
            return
        lines.extend((f"{'##' if ' ' not in path else '###'} `{path}`", "", " ".join((command.help or "").split()), ""))
        rows = []
        for p in command.params:
            shown = ", ".join(f"`{o}`" for o in p.opts) if p.param_type_name == "option" else f"`{p.name.upper()}`"
            choices = getattr(p.bare_type, "__members__", {}).values()
            about = " ".join((getattr(p, "help", None) or "").split())
            allowed = " or ".join(f"`{c.value}`" for c in choices)
            rows.append((shown, "yes" if p.required else "", " ".join(x for x in (about, allowed) if x)))
        lines.extend(_table(("", "required", ""), rows) if rows else ())
        for name, sub in getattr(command, "commands", {}).items():
            tell(sub, f"{path} {name}")

    tell(typer.main.get_command(app), "chancery")
    return "\n".join(lines)


# --- views and addresses


def views() -> str:
    lines = [
        "# Views",
        "",
        f"What can be read. Every row has {', '.join(f'`{c}`' for c in COMMON)} beside the columns below. Fields marked *personal* are",
        "masked for whoever lacks `personal:read`. The filter language is described in [filter.md](../filter.md).",
        "",
    ]
    collections = {c.view.name: c for c in COLLECTIONS.values()}
    for name, v in sorted(VIEWS.items()):
        c = collections.get(name)
        lines += [f"## {name}", ""]
        if c is not None:
            history = f", history at `/v1/{c.name}/{{id}}/history`"
            words = f"; a bare word of a filter looks into {', '.join(f'`{s}`' for s in c.search)}" if c.search else ""
            lines += [f"{c.title}: `GET /v1/{c.name}`, `GET /v1/{c.name}/{{id}}`{history}. Permission `{c.permission}`{words}.", ""]
        if about := _own_doc(v.row):
            lines += [about, ""]
        hints = get_type_hints(v.row, include_extras=True)
        fields = [f for f in dataclasses.fields(v.row) if not is_hidden(hints[f.name])]
        rows = [(f"`{f.name}`", _type_name(hints[f.name]), "personal" if personal_mark(hints[f.name]) else "") for f in fields]
        lines += _table(("column", "type", ""), rows)
        if c is not None and (ways := relations_of(c)):
            lead = ", ".join(f"`{r.name}` to {r.collection}" for r in ways.values())
            lines += [f"In filters names lead on to other lists: {lead}.", ""]
    lines += ["## Other reads", ""]
    queries = [
        (f"`{q.name}`", f"`{q.method} /v1{q.path}`", f"`{q.permission}`", q.description)
        for q in sorted(QUERIES.values(), key=lambda q: q.name)
    ]
    return "\n".join([*lines, *_table(("query", "address", "permission", ""), queries)])


def routes() -> str:
    """Every address there is."""
    document = openapi.document(VERSION, EXTRA)
    rows = [
        (f"`{method.upper()} {path}`", operation.get("summary", ""))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    rows += [("`GET /docs`", "The API as a page, to try by hand"), ("`GET /docs/start.js`", "What that page runs")]
    rows += [
        ("`GET /p/choices/{link}`", "A person's own page: preferences, unsubscribing, confirming; opened with a signed link"),
        ("`GET /p/verify`", "A page for anybody to have a record or a certificate checked, in plain words"),
        ("`POST /p/verify`", "What the check found; a form with files (multipart), nothing of it is kept"),
        ("`POST /p/choices/{link}`", "What the person chose there; one click of a mail program (RFC 8058)"),
    ]
    head = ["# Addresses", "", "Everything that is served; `/openapi.json` says it in full for machines.", ""]
    return "\n".join([*head, *_table(("address", ""), sorted(rows))])


# --- all of them

PAGES = {
    "commands.md": commands,
    "events.md": events,
    "settings.md": settings,
    "cli.md": cli,
    "views.md": views,
    "routes.md": routes,
}


def pages() -> dict[str, str]:
    """Every page by file name, as it should stand in docs/reference."""
    registry.load()
    return {name: re.sub(r"\n{3,}", "\n\n", write()).rstrip() + "\n" for name, write in PAGES.items()}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}: {text.count(chr(10))} lines\n")


if __name__ == "__main__":
    main()
