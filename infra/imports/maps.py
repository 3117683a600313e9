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

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.imports.rows import MapProblem

MAX_MAP = 1 << 20
KINDS = ("contacts", "deals", "tasks")
RECORDS = ("person", "organisation")
ROLES = ("stage", "offer", "task", "won", "lost", "note", "created", "assigned", "started", "blocked", "completed", "reopened", "cancelled")
FORMATS = ("iso", "dmy", "mdy", "ymd", "unix", "unix_ms", "excel")
ADDRESS_PARTS = ("street", "street2", "street3", "number", "extended", "po_box", "city", "region", "postal_code", "country", "formatted", "label", "latitude", "longitude")

_CONTACT = (
    "id kind full_name prefix given_name additional_name family_name suffix nickname phonetic_given_name phonetic_family_name organisation department title role birthday birthday.year "
    "birthday.month birthday.day anniversary gender language timezone notes tags categories owner parent photo"
).split()
_DEAL = "id title pipeline stage status amount currency probability opened_at expected_close closed_at lost_reason source owner contact contact_email organisation product notes tags".split()
_TASK = "id title description status type priority project parent assignee reporter created_at started_at completed_at due estimate remaining tags contact organisation".split()
_SLOT = re.compile(
    r"(?:email|phone|url|im|date|relation)(?:\.[\w-]{1,40})?(?:\.label)?|custom\.[^\x00-\x1f]{1,100}|address(?:\.[\w-]{1,40})?\.(?:" + "|".join(ADDRESS_PARTS) + ")"
)
_PLAIN: dict[str, frozenset[str]] = {"contacts": frozenset(_CONTACT), "deals": frozenset(_DEAL), "tasks": frozenset(_TASK)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMap:
    """Where one target field comes from. Exactly one of `columns` and `constant` is given."""

    columns: tuple[str, ...] = ()
    join: str = " "
    constant: str | None = None
    default: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    decimal: str | None = None
    split: str | None = None
    required: bool = False
    expected: bool = False
    optional: bool = False
    one_of: tuple[str, ...] = ()
    check_file: str | None = None
    check_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRule:
    """What an activity means. `match` and `lifecycle` are patterns; `name` replaces the activity's name; `step` names an offer's step."""

    match: tuple[str, ...]
    role: str
    lifecycle: str | None = None
    name: str | None = None
    step: str | None = None
    reason: str | None = None

    def fits(self, activity: str, lifecycle: str | None) -> bool:
        if self.lifecycle is not None and not _glob(self.lifecycle.casefold(), (lifecycle or "").casefold()):
            return False
        folded = activity.casefold()
        return any(_glob(p.casefold(), folded) for p in self.match)


@lru_cache(maxsize=65536)
def _glob(pattern: str, text: str) -> bool:
    return pattern == text or (("*" in pattern or "?" in pattern) and fnmatchcase(text, pattern.replace("[", "[[]")))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMap:
    """Which attribute of an event log says what; None leaves it to the guess."""

    case: str | None = None
    activity: str | None = None
    timestamp: str | None = None
    start: str | None = None
    resource: str | None = None
    lifecycle: str | None = None
    event_id: str | None = None
    format: str | None = None
    object_type: str | None = None


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
    known = ("kind", "record", "encoding", "delimiter", "quote", "escape", "header", "columns", "timezone", "fields", "ignore", "log", "activity", "otherwise", "guessed")
    _only(data, known, "the map")
    kind = _choice(data, "kind", KINDS, "the map", required=True) or ""
    zone = _text(data, "timezone", "the map")
    if zone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as e:
            raise MapProblem(f"The timezone {zone[:60]!r} is unknown", "times could not be placed", "Name one such as Europe/Amsterdam or UTC") from e
    raw_fields = data.get("fields", {})
    if not isinstance(raw_fields, dict):
        raise MapProblem("[fields] is not a table", "each target field is one key of it", 'Write it as title = "column"')
    raw_log = data.get("log", {})
    if not isinstance(raw_log, dict):
        raise MapProblem("[log] is not a table", "each column of the log is one key of it", 'Write it as case = "column"')
    log_names = tuple(f.name for f in fields(LogMap))
    _only(raw_log, log_names, "[log]")
    log = LogMap(**{n: _text(raw_log, n, "[log]") for n in log_names})
    if log.format:
        _format(log.format, "[log]")
    rules = data.get("activity", [])
    if not isinstance(rules, list) or len(rules) > 2000:
        raise MapProblem("[[activity]] is not a list of rules", "each activity has its own [[activity]], at most 2,000", "Write [[activity]] before each")
    header = data.get("header")
    if header is not None and not isinstance(header, bool):
        raise MapProblem("header is neither true nor false", "it says whether the first row names the columns", "Write true or false")
    delimiter, quote, escape = (_text(data, n, "the map") for n in ("delimiter", "quote", "escape"))
    for name, sign in (("delimiter", delimiter), ("quote", quote), ("escape", escape)):
        if sign is not None and (len(sign) > 1 or sign in "\r\n") and not (sign == "" and name == "quote"):
            raise MapProblem(f"{name} is not one sign", "a table is divided by single signs", 'Write for example ";" or "\\t"')
    if delimiter == "" or (delimiter and delimiter in {quote, escape}):
        raise MapProblem("delimiter is empty or the same sign as the quote", "the columns could not be told apart", 'Write for example ";"')
    columns = _texts(data, "columns", "the map")
    return ImportMap(
        kind=kind,
        record=_choice(data, "record", RECORDS, "the map") or "person",
        encoding=_text(data, "encoding", "the map"),
        delimiter=delimiter,
        quote=quote,
        escape=escape,
        header=header,
        columns=columns or None,
        timezone=zone,
        fields={target: _field(kind, target, spec) for target, spec in raw_fields.items()},
        ignore=_texts(data, "ignore", "the map"),
        log=log,
        activities=tuple(_rule(r, n) for n, r in enumerate(rules, 1)),
        otherwise=_choice(data, "otherwise", (*ROLES, "guess"), "the map") or "guess",
        guessed=data.get("guessed") is True,
        folder=folder,
    )


def is_target(kind: str, target: str) -> bool:
    return target in _PLAIN[kind] or target.startswith("custom.") and len(target) > 7 or (kind == "contacts" and bool(_SLOT.fullmatch(target)))


def to_toml(m: ImportMap) -> str:
    """The map as TOML that `parse_map` reads back to an equal map."""
    out = [f"kind = {_quoted(m.kind)}"]
    if m.guessed:
        out.append("guessed = true")
    if m.record != "person":
        out.append(f"record = {_quoted(m.record)}")
    out += [f"{n} = {_quoted(v)}" for n in ("encoding", "delimiter", "quote", "escape", "timezone") if (v := getattr(m, n)) is not None]
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
        out += ["", "[[activity]]", f"match = {_quoted(r.match[0]) if len(r.match) == 1 else _array(r.match)}", f"as = {_quoted(r.role)}"]
        out += [f"{n} = {_quoted(v)}" for n in ("lifecycle", "name", "step", "reason") if (v := getattr(r, n)) is not None]
    return "\n".join(out) + "\n"


def closest(word: str, words: Iterable[str]) -> str | None:
    """The one that was probably meant."""
    folded: dict[str, str] = {}
    for w in words:
        folded.setdefault(re.sub(r"\W|_", "", w.casefold()), w)
    plain = re.sub(r"\W|_", "", word.casefold())
    if plain in folded:
        return folded[plain]
    near = difflib.get_close_matches(plain[:100], [k[:100] for k in list(folded)[:5000]], 1, 0.75)
    return folded.get(near[0]) if near else None


def _field(kind: str, target: str, spec: Any) -> FieldMap:
    if not is_target(kind, target):
        near = closest(target, _PLAIN[kind])
        hint = f"Did you mean {near!r}? " if near else ""
        raise MapProblem(f"{target[:80]!r} is no field of {kind}", "nothing could be put there", f"{hint}Write custom.{re.sub(r'[^a-z0-9_]', '_', target.lower())[:40]} to keep it as a field of your own")
    where = f"[fields] {target}"
    if isinstance(spec, str):
        return FieldMap(columns=(spec,))
    if not isinstance(spec, dict):
        raise MapProblem(f"{where} is neither a column nor a table", "its value could not be found", 'Write it as "column" or { column = "…" }')
    _only(spec, ("column", "columns", "join", "constant", "default", "values", "format", "decimal", "split", "required", "expected", "optional", "one_of", "check"), where)
    columns = _texts(spec, "columns", where) or ((_text(spec, "column", where) or "",) if "column" in spec else ())
    constant = _text(spec, "constant", where)
    if bool(columns) == (constant is not None):
        raise MapProblem(f"{where} names {'both' if columns else 'neither'} a column {'and' if columns else 'nor'} a constant", "exactly one of them gives the value", "Keep one")
    values = spec.get("values", {})
    if not isinstance(values, dict) or not all(isinstance(v, str | int | bool) for v in values.values()):
        raise MapProblem(f"{where}: values is not a table of texts", "it says which source value becomes which", 'Write { "2" = "Offer" }')
    check = spec.get("check")
    check_file = check_column = None
    if check is not None:
        if not isinstance(check, dict) or set(check) - {"file", "column"} or not isinstance(check.get("file"), str):
            raise MapProblem(f"{where}: check is not {{ file, column }}", "the allowed values are read from there", 'Write { file = "products.csv", column = "product" }')
        check_file, check_column = check["file"], _text(check, "column", where)
        if Path(check_file).name != check_file or check_file in {"", ".", ".."} or "\\" in check_file:
            raise MapProblem(f"{where}: the check file is not a plain name", "it is looked for beside the imported file and beside the map only", "Put it there and name it without folders")
    form, decimal = _text(spec, "format", where), _text(spec, "decimal", where)
    if form:
        _format(form, where)
    if decimal not in {None, ",", "."}:
        raise MapProblem(f"{where}: decimal is neither , nor .", "numbers could not be read", 'Write decimal = ","')
    flags = {n: spec.get(n, False) for n in ("required", "expected", "optional")}
    if not all(isinstance(v, bool) for v in flags.values()):
        raise MapProblem(f"{where}: required, expected and optional are true or false", "another value says nothing", "Write true or false")
    return FieldMap(
        columns=tuple(columns),
        join=_text(spec, "join", where) if "join" in spec else " ",  # type: ignore[arg-type]
        constant=constant,
        default=_text(spec, "default", where),
        values={str(k): str(v).lower() if isinstance(v, bool) else str(v) for k, v in values.items()},
        format=form,
        decimal=decimal,
        split=_text(spec, "split", where),
        one_of=_texts(spec, "one_of", where),
        check_file=check_file,
        check_column=check_column,
        **flags,
    )


def _rule(raw: Any, n: int) -> ActivityRule:
    where = f"[[activity]] number {n}"
    if not isinstance(raw, dict):
        raise MapProblem(f"{where} is not a table", "it needs match and as", 'Write match = "…" and as = "stage"')
    _only(raw, ("match", "as", "lifecycle", "name", "step", "reason"), where)
    match = _texts(raw, "match", where) if isinstance(raw.get("match"), list) else tuple(filter(None, (_text(raw, "match", where),)))
    if not match:
        raise MapProblem(f"{where} matches nothing", "it needs match", 'Write match = "O_*"')
    role = _choice(raw, "as", ROLES, where, required=True) or ""
    return ActivityRule(match=match, role=role, **{k: _text(raw, k, where) for k in ("lifecycle", "name", "step", "reason")})


def _only(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in data:
        if key not in known:
            near = closest(key, known)
            raise MapProblem(f"{where} has the unknown key {key[:60]!r}", "it would be ignored", f"Did you mean {near!r}?" if near else f"It knows {', '.join(known)}")


def _text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 2000:
        raise MapProblem(f"{where}: {key} is not a text", "a text in quotes is expected there", f'Write {key} = "…"')
    return value


def _texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or len(value) > 5000:
        raise MapProblem(f"{where}: {key} is not a list of texts", "a list in brackets is expected there", f'Write {key} = ["…", "…"]')
    return tuple(value)


def _choice(data: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str, *, required: bool = False) -> str | None:
    value = _text(data, key, where)
    if value is None and not required:
        return None
    if value not in choices:
        raise MapProblem(f"{where}: {key} is {value!r}" if value else f"{where} lacks {key}", f"it is one of {', '.join(choices)}", f'Write {key} = "{choices[0]}"')
    return value


def _format(form: str, where: str) -> None:
    if form not in FORMATS and "%" not in form:
        raise MapProblem(f"{where}: the date format {form[:40]!r} is unknown", f"it is one of {', '.join(FORMATS)} or a pattern such as %d.%m.%Y", "Correct it")


def _field_toml(f: FieldMap) -> str:
    parts: list[str] = []
    if f.columns:
        parts.append(f"column = {_quoted(f.columns[0])}" if len(f.columns) == 1 else f"columns = {_array(f.columns)}")
    parts += [f"{n} = {_quoted(v)}" for n in ("constant", "default", "format", "decimal", "split") if (v := getattr(f, n)) is not None]
    if f.join != " ":
        parts.append(f"join = {_quoted(f.join)}")
    parts += [f"{n} = true" for n in ("required", "expected", "optional") if getattr(f, n)]
    if f.values:
        parts.append("values = { " + ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in f.values.items()) + " }")
    if f.one_of:
        parts.append(f"one_of = {_array(f.one_of)}")
    if f.check_file:
        parts.append(f"check = {{ file = {_quoted(f.check_file)}" + (f", column = {_quoted(f.check_column)}" if f.check_column else "") + " }")
    return _quoted(f.columns[0]) if len(parts) == 1 and len(f.columns) == 1 else "{ " + ", ".join(parts) + " }"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _array(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, values)) + "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c[0]):04x}", escaped) + '"'
