"""The pieces of an import map: target fields, field maps, rules for activities, and how each is read out of TOML with a clear refusal."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra.imports.rows import MapProblem

KINDS = ("contacts", "deals", "tasks", "consents")
RECORDS = ("person", "organisation")
ROLES = (
    "stage",
    "offer",
    "task",
    "won",
    "lost",
    "note",
    "created",
    "assigned",
    "started",
    "blocked",
    "completed",
    "reopened",
    "cancelled",
)
FORMATS = ("iso", "dmy", "mdy", "ymd", "unix", "unix_ms", "excel")
ADDRESS_PARTS = (
    "street",
    "street2",
    "street3",
    "number",
    "extended",
    "po_box",
    "city",
    "region",
    "postal_code",
    "country",
    "formatted",
    "label",
    "latitude",
    "longitude",
)

_CONTACT = [
    "id",
    "kind",
    "full_name",
    "prefix",
    "given_name",
    "additional_name",
    "family_name",
    "suffix",
    "nickname",
    "phonetic_given_name",
    "phonetic_family_name",
    "organisation",
    "department",
    "title",
    "role",
    "birthday",
    "birthday.year",
    "birthday.month",
    "birthday.day",
    "anniversary",
    "gender",
    "language",
    "timezone",
    "notes",
    "tags",
    "categories",
    "owner",
    "parent",
    "photo",
]
_DEAL = [
    "id",
    "title",
    "pipeline",
    "stage",
    "status",
    "amount",
    "currency",
    "probability",
    "opened_at",
    "expected_close",
    "closed_at",
    "lost_reason",
    "source",
    "owner",
    "contact",
    "contact_email",
    "organisation",
    "product",
    "notes",
    "tags",
]
_TASK = [
    "id",
    "title",
    "description",
    "status",
    "type",
    "priority",
    "project",
    "parent",
    "assignee",
    "reporter",
    "created_at",
    "started_at",
    "completed_at",
    "due",
    "estimate",
    "remaining",
    "tags",
    "contact",
    "organisation",
]
_CONSENT = [
    "id",
    "contact_id",
    "email",
    "phone",
    "purpose",
    "channel",
    "status",
    "at",
    "legal_basis",
    "consent_type",
    "implied_by",
    "notice",
    "notice_version",
    "notice_language",
    "effective_to",
    "expires_at",
    "evidence",
    "evidence_media_type",
    "jurisdiction",
    "ip_address",
    "contact_point",
    "source",
    "remark",
]
_SLOT = re.compile(
    (
        r"(?:email|phone|url|im|date|relation)(?:\.[\w-]{1,40})?(?:\.label)?|custom\.[^\x00-\x1f]{1,100}|"
        r"address(?:\.[\w-]{1,40})?\.(?:"
    )
    + "|".join(ADDRESS_PARTS)
    + ")"
)
_PLAIN: dict[str, frozenset[str]] = {
    "contacts": frozenset(_CONTACT),
    "deals": frozenset(_DEAL),
    "tasks": frozenset(_TASK),
    "consents": frozenset(_CONSENT),
}


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


def is_target(kind: str, target: str) -> bool:
    return (
        target in _PLAIN[kind]
        or (target.startswith("custom.") and len(target) > 7 and kind != "consents")
        or (kind == "contacts" and bool(_SLOT.fullmatch(target)))
    )


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


def read_field(kind: str, target: str, spec: Any) -> FieldMap:
    if not is_target(kind, target):
        near = closest(target, _PLAIN[kind])
        hint = f"Did you mean {near!r}? " if near else ""
        raise MapProblem(
            f"{target[:80]!r} is no field of {kind}",
            "nothing could be put there",
            f"{hint}Write custom.{re.sub(r'[^a-z0-9_]', '_', target.lower())[:40]} to keep it as a field of your own",
        )
    where = f"[fields] {target}"
    if isinstance(spec, str):
        return FieldMap(columns=(spec,))
    if not isinstance(spec, dict):
        raise MapProblem(
            f"{where} is neither a column nor a table", "its value could not be found", 'Write it as "column" or { column = "…" }'
        )
    only(
        spec,
        (
            "column",
            "columns",
            "join",
            "constant",
            "default",
            "values",
            "format",
            "decimal",
            "split",
            "required",
            "expected",
            "optional",
            "one_of",
            "check",
        ),
        where,
    )
    columns = some_texts(spec, "columns", where) or ((one_text(spec, "column", where) or "",) if "column" in spec else ())
    constant = one_text(spec, "constant", where)
    if bool(columns) == (constant is not None):
        raise MapProblem(
            f"{where} names {'both' if columns else 'neither'} a column {'and' if columns else 'nor'} a constant",
            "exactly one of them gives the value",
            "Keep one",
        )
    values = spec.get("values", {})
    if not isinstance(values, dict) or not all(isinstance(v, str | int | bool) for v in values.values()):
        raise MapProblem(
            f"{where}: values is not a table of texts", "it says which source value becomes which", 'Write { "2" = "Offer" }'
        )
    check = spec.get("check")
    check_file = check_column = None
    if check is not None:
        if not isinstance(check, dict) or set(check) - {"file", "column"} or not isinstance(check.get("file"), str):
            raise MapProblem(
                f"{where}: check is not {{ file, column }}",
                "the allowed values are read from there",
                'Write { file = "products.csv", column = "product" }',
            )
        check_file, check_column = check["file"], one_text(check, "column", where)
        if Path(check_file).name != check_file or check_file in {"", ".", ".."} or "\\" in check_file:
            raise MapProblem(
                f"{where}: the check file is not a plain name",
                "it is looked for beside the imported file and beside the map only",
                "Put it there and name it without folders",
            )
    form, decimal = one_text(spec, "format", where), one_text(spec, "decimal", where)
    if form:
        check_format(form, where)
    if decimal not in {None, ",", "."}:
        raise MapProblem(f"{where}: decimal is neither , nor .", "numbers could not be read", 'Write decimal = ","')
    flags = {n: spec.get(n, False) for n in ("required", "expected", "optional")}
    if not all(isinstance(v, bool) for v in flags.values()):
        raise MapProblem(
            f"{where}: required, expected and optional are true or false", "another value says nothing", "Write true or false"
        )
    return FieldMap(
        columns=tuple(columns),
        join=one_text(spec, "join", where) if "join" in spec else " ",  # type: ignore[arg-type]
        constant=constant,
        default=one_text(spec, "default", where),
        values={str(k): str(v).lower() if isinstance(v, bool) else str(v) for k, v in values.items()},
        format=form,
        decimal=decimal,
        split=one_text(spec, "split", where),
        one_of=some_texts(spec, "one_of", where),
        check_file=check_file,
        check_column=check_column,
        **flags,
    )


def read_rule(raw: Any, n: int) -> ActivityRule:
    where = f"[[activity]] number {n}"
    if not isinstance(raw, dict):
        raise MapProblem(f"{where} is not a table", "it needs match and as", 'Write match = "…" and as = "stage"')
    only(raw, ("match", "as", "lifecycle", "name", "step", "reason"), where)
    match = (
        some_texts(raw, "match", where)
        if isinstance(raw.get("match"), list)
        else tuple(filter(None, (one_text(raw, "match", where),)))
    )
    if not match:
        raise MapProblem(f"{where} matches nothing", "it needs match", 'Write match = "O_*"')
    role = choice(raw, "as", ROLES, where, required=True) or ""
    return ActivityRule(match=match, role=role, **{k: one_text(raw, k, where) for k in ("lifecycle", "name", "step", "reason")})


def only(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in data:
        if key not in known:
            near = closest(key, known)
            raise MapProblem(
                f"{where} has the unknown key {key[:60]!r}",
                "it would be ignored",
                f"Did you mean {near!r}?" if near else f"It knows {', '.join(known)}",
            )


def one_text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 2000:
        raise MapProblem(f"{where}: {key} is not a text", "a text in quotes is expected there", f'Write {key} = "…"')
    return value


def some_texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or len(value) > 5000:
        raise MapProblem(
            f"{where}: {key} is not a list of texts", "a list in brackets is expected there", f'Write {key} = ["…", "…"]'
        )
    return tuple(value)


def choice(data: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str, *, required: bool = False) -> str | None:
    value = one_text(data, key, where)
    if value is None and not required:
        return None
    if value not in choices:
        raise MapProblem(
            f"{where}: {key} is {value!r}" if value else f"{where} lacks {key}",
            f"it is one of {', '.join(choices)}",
            f'Write {key} = "{choices[0]}"',
        )
    return value


def check_format(form: str, where: str) -> None:
    if form not in FORMATS and "%" not in form:
        raise MapProblem(
            f"{where}: the date format {form[:40]!r} is unknown",
            f"it is one of {', '.join(FORMATS)} or a pattern such as %d.%m.%Y",
            "Correct it",
        )
