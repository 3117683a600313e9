"""Import maps: a TOML file that says, per target field, where its value stands in the source and how it is written there.

A map is validated whole when it is read, against the file when it is bound to its columns, and can be written back as TOML, which is how
a guess is shown and stored.

    kind = "deals"                                   # contacts | deals | tasks
    encoding = "cp1252"                              # and delimiter, quote, escape, header, columns, timezone: only where a guess would be wrong
    [fields]
    title = "concept:name"                           # a column or XES attribute
    owner = { columns = ["first", "last"], join = " " }
    currency = { constant = "EUR" }
    stage = { column = "phase", values = { "2" = "Offer" }, required = true }
    product = { column = "product", check = { file = "products.csv", column = "product" } }
    opened_at = { column = "opened", format = "%d.%m.%Y" }   # or iso, dmy, mdy, ymd, unix, unix_ms, excel
    amount = { column = "sum", decimal = "," }
    [log]                                            # event logs: which column says what
    case = "case:concept:name"
    [[activity]]                                     # the first that matches counts; * and ? as in file names
    match = "O_*"
    as = "offer"                                     # stage | offer | task | won | lost | note
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.imports.mapparts import (
    KINDS,
    RECORDS,
    ROLES,
    ActivityRule,
    FieldMap,
    LogMap,
    check_format,
    choice,
    one_text,
    only,
    read_field,
    read_rule,
    some_texts,
)
from infra.imports.rows import MapProblem

MAX_MAP = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportMap:
    """A whole map. `guessed` is true while it rests on a guess; `folder` is where its check files are looked for."""

    kind: str
    record: str = "person"
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | None = None
    columns: tuple[str, ...] | None = None
    timezone: str | None = None
    fields: Mapping[str, FieldMap] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    log: LogMap = field(default_factory=LogMap)
    activities: tuple[ActivityRule, ...] = ()
    otherwise: str = "guess"
    guessed: bool = False
    folder: Path | None = None

    @property
    def zone(self) -> ZoneInfo | None:
        return ZoneInfo(self.timezone) if self.timezone else None

    def named_columns(self) -> set[str]:
        return {c for f in self.fields.values() for c in f.columns} | set(self.ignore)


def load_map(path: Path) -> ImportMap:
    """Read and validate a map. Raises MapProblem."""
    try:
        if path.stat().st_size > MAX_MAP:
            raise MapProblem("The import map is too large", f"it has more than {MAX_MAP:,} bytes", "Keep value tables in it short")
        text = path.read_text("utf-8-sig")
    except OSError as e:
        raise MapProblem("The import map cannot be opened", e.strerror or "the system refused", "Check its name") from e
    except UnicodeError as e:
        raise MapProblem("The import map is not UTF-8", "TOML is always UTF-8", "Save it as UTF-8") from e
    return parse_map(text, folder=path.parent)


def parse_map(text: str, *, folder: Path | None = None) -> ImportMap:
    """The same from text."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise MapProblem("The import map is not valid TOML", str(e)[:200] or "it is nested too deeply", "Correct that place") from e
    known = (
        "kind",
        "record",
        "encoding",
        "delimiter",
        "quote",
        "escape",
        "header",
        "columns",
        "timezone",
        "fields",
        "ignore",
        "log",
        "activity",
        "otherwise",
        "guessed",
    )
    only(data, known, "the map")
    kind = choice(data, "kind", KINDS, "the map", required=True) or ""
    zone = one_text(data, "timezone", "the map")
    if zone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as e:
            raise MapProblem(
                f"The timezone {zone[:60]!r} is unknown", "times could not be placed", "Name one such as Europe/Amsterdam or UTC"
            ) from e
    raw_fields = data.get("fields", {})
    if not isinstance(raw_fields, dict):
        raise MapProblem("[fields] is not a table", "each target field is one key of it", 'Write it as title = "column"')
    raw_log = data.get("log", {})
    if not isinstance(raw_log, dict):
        raise MapProblem("[log] is not a table", "each column of the log is one key of it", 'Write it as case = "column"')
    log_names = tuple(f.name for f in fields(LogMap))
    only(raw_log, log_names, "[log]")
    log = LogMap(**{n: one_text(raw_log, n, "[log]") for n in log_names})
    if log.format:
        check_format(log.format, "[log]")
    rules = data.get("activity", [])
    if not isinstance(rules, list) or len(rules) > 2000:
        raise MapProblem(
            "[[activity]] is not a list of rules",
            "each activity has its own [[activity]], at most 2,000",
            "Write [[activity]] before each",
        )
    header = data.get("header")
    if header is not None and not isinstance(header, bool):
        raise MapProblem(
            "header is neither true nor false", "it says whether the first row names the columns", "Write true or false"
        )
    delimiter, quote, escape = (one_text(data, n, "the map") for n in ("delimiter", "quote", "escape"))
    for name, sign in (("delimiter", delimiter), ("quote", quote), ("escape", escape)):
        if sign is not None and (len(sign) > 1 or sign in "\r\n") and not (sign == "" and name == "quote"):
            raise MapProblem(f"{name} is not one sign", "a table is divided by single signs", 'Write for example ";" or "\\t"')
    if delimiter == "" or (delimiter and delimiter in {quote, escape}):
        raise MapProblem(
            "delimiter is empty or the same sign as the quote", "the columns could not be told apart", 'Write for example ";"'
        )
    columns = some_texts(data, "columns", "the map")
    return ImportMap(
        kind=kind,
        record=choice(data, "record", RECORDS, "the map") or "person",
        encoding=one_text(data, "encoding", "the map"),
        delimiter=delimiter,
        quote=quote,
        escape=escape,
        header=header,
        columns=columns or None,
        timezone=zone,
        fields={target: read_field(kind, target, spec) for target, spec in raw_fields.items()},
        ignore=some_texts(data, "ignore", "the map"),
        log=log,
        activities=tuple(read_rule(r, n) for n, r in enumerate(rules, 1)),
        otherwise=choice(data, "otherwise", (*ROLES, "guess"), "the map") or "guess",
        guessed=data.get("guessed") is True,
        folder=folder,
    )


def to_toml(m: ImportMap) -> str:
    """The map as TOML that `parse_map` reads back to an equal map."""
    out = [f"kind = {_quoted(m.kind)}"]
    if m.guessed:
        out.append("guessed = true")
    if m.record != "person":
        out.append(f"record = {_quoted(m.record)}")
    out += [
        f"{n} = {_quoted(v)}" for n in ("encoding", "delimiter", "quote", "escape", "timezone") if (v := getattr(m, n)) is not None
    ]
    if m.header is not None:
        out.append(f"header = {'true' if m.header else 'false'}")
    if m.columns:
        out.append(f"columns = {_array(m.columns)}")
    if m.ignore:
        out.append(f"ignore = {_array(m.ignore)}")
    if m.otherwise != "guess":
        out.append(f"otherwise = {_quoted(m.otherwise)}")
    if m.fields:
        out += ["", "[fields]", *(f"{_key(target)} = {_field_toml(f)}" for target, f in m.fields.items())]
    log = [f"{f.name} = {_quoted(v)}" for f in fields(LogMap) if (v := getattr(m.log, f.name)) is not None]
    if log:
        out += ["", "[log]", *log]
    for r in m.activities:
        out += [
            "",
            "[[activity]]",
            f"match = {_quoted(r.match[0]) if len(r.match) == 1 else _array(r.match)}",
            f"as = {_quoted(r.role)}",
        ]
        out += [f"{n} = {_quoted(v)}" for n in ("lifecycle", "name", "step", "reason") if (v := getattr(r, n)) is not None]
    return "\n".join(out) + "\n"


def _field_toml(f: FieldMap) -> str:
    parts: list[str] = []
    if f.columns:
        parts.append(f"column = {_quoted(f.columns[0])}" if len(f.columns) == 1 else f"columns = {_array(f.columns)}")
    parts += [
        f"{n} = {_quoted(v)}" for n in ("constant", "default", "format", "decimal", "split") if (v := getattr(f, n)) is not None
    ]
    if f.join != " ":
        parts.append(f"join = {_quoted(f.join)}")
    parts += [f"{n} = true" for n in ("required", "expected", "optional") if getattr(f, n)]
    if f.values:
        parts.append("values = { " + ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in f.values.items()) + " }")
    if f.one_of:
        parts.append(f"one_of = {_array(f.one_of)}")
    if f.check_file:
        parts.append(
            f"check = {{ file = {_quoted(f.check_file)}"
            + (f", column = {_quoted(f.check_column)}" if f.check_column else "")
            + " }"
        )
    return _quoted(f.columns[0]) if len(parts) == 1 and len(f.columns) == 1 else "{ " + ", ".join(parts) + " }"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _array(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, values)) + "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c[0]):04x}", escaped) + '"'
