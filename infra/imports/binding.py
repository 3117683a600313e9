"""A map bound to the columns of one file: it takes the value of a target field out of a row, and says what is wrong with it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from pathlib import Path

from infra.imports.mapparts import FieldMap, closest
from infra.imports.maps import ImportMap
from infra.imports.rows import MapProblem, RowError, doubt, refusal
from infra.imports.source import Source
from infra.imports.tables import Table
from infra.imports.values import clean, day, is_empty, moment, number

MAX_VALUE = 100_000
MAX_CHECKED = 1_000_000


class Bound:
    """`Bound(map, columns, beside=folder of the file)`. Raises MapProblem when the map names columns the file does not have."""

    def __init__(self, map: ImportMap, columns: tuple[str, ...] | None, *, beside: Path | None = None) -> None:
        self.map = map
        self.zone: tzinfo = map.zone or UTC
        self.used = frozenset(map.named_columns())
        if columns is not None:
            have = set(columns)
            for target, f in map.fields.items():
                for column in f.columns:
                    if column not in have and not f.optional:
                        near = closest(column, columns)
                        raise MapProblem(
                            f"The file has no column {column[:80]!r}",
                            f"the import map takes {target} from it",
                            f"Did you mean {near!r}? If it may be missing, add optional = true"
                            if near
                            else f"Its columns are {', '.join(columns)[:500]}",
                        )
        self.folded = {t: {k.casefold(): v for k, v in f.values.items()} for t, f in map.fields.items() if f.values}
        self.allowed = {t: _allowed(f, map, beside) for t, f in map.fields.items() if f.one_of or f.check_file}
        self.near: dict[tuple[str, str], str | None] = {}

    def text(self, row: Mapping[str, str], target: str, line: int, errors: list[RowError]) -> str | None:
        """The value, trimmed; None when empty. Value tables, defaults and checks are applied here."""
        f = self.map.fields.get(target)
        if f is None:
            return None
        if f.constant is not None:
            return f.constant
        if len(f.columns) == 1:
            raw = row.get(f.columns[0], "").strip()
        else:
            raw = f.join.join(v for c in f.columns if (v := row.get(c, "").strip()) and not is_empty(v))
        name = f.columns[0]
        if f.values:
            raw = f.values.get(raw) or self.folded[target].get(raw.casefold(), raw)
        if is_empty(raw):
            if f.default is not None:
                return f.default
            if f.required:
                errors.append(refusal(line, name, raw, f"{target} is required but empty"))
            elif f.expected:
                errors.append(doubt(line, name, raw, f"{target} is empty"))
            return None
        if len(raw) > MAX_VALUE:
            errors.append(
                doubt(
                    line,
                    name,
                    raw,
                    f"the value is longer than {MAX_VALUE:,} characters and was cut; the whole stays in the source row",
                )
            )
            raw = raw[:MAX_VALUE]
        if target in self.allowed and raw not in self.allowed[target]:
            key = (target, raw)
            if key not in self.near and len(self.near) < 10_000:
                self.near[key] = closest(raw, self.allowed[target])
            near = self.near.get(key)
            errors.append(
                doubt(line, name, raw, "the value is not in the list of known ones" + (f"; {near!r} is near" if near else ""))
            )
        return clean(raw)

    def number(self, row: Mapping[str, str], target: str, line: int, errors: list[RowError]) -> Decimal | None:
        raw = self.text(row, target, line, errors)
        if raw is None:
            return None
        found = number(raw, self.map.fields[target].decimal)
        if found is None:
            errors.append(doubt(line, self._column(target), raw, f"{target} is not a number; it was left out"))
        return found

    def moment(self, row: Mapping[str, str], target: str, line: int, errors: list[RowError]) -> datetime | None:
        raw = self.text(row, target, line, errors)
        if raw is None:
            return None
        found = moment(raw, form=self.map.fields[target].format or "iso", zone=self.zone)
        if found is None:
            errors.append(doubt(line, self._column(target), raw, f"{target} is not a date that can be read; it was left out"))
        return found

    def day(self, row: Mapping[str, str], target: str, line: int, errors: list[RowError]) -> date | None:
        raw = self.text(row, target, line, errors)
        if raw is None:
            return None
        found = day(raw, form=self.map.fields[target].format or "iso")
        if found is None:
            errors.append(doubt(line, self._column(target), raw, f"{target} is not a date that can be read; it was left out"))
        return found

    def texts(self, row: Mapping[str, str], target: str, line: int, errors: list[RowError]) -> tuple[str, ...]:
        """Several values of one cell; divided at `split`, or at ; | and ::: where the map says nothing."""
        raw = self.text(row, target, line, errors)
        if raw is None:
            return ()
        f = self.map.fields[target]
        sign = f.split or next((s for s in (" ::: ", ";", "|", "\n", ",") if s in raw), None)
        parts = raw.split(sign) if sign else [raw]
        return tuple(dict.fromkeys(p for part in parts[:1000] if (p := part.strip(" *"))))

    def leftover(self, row: Mapping[str, str]) -> dict[str, str]:
        """Cells that no field of the map takes."""
        used = self.used
        return {k: clean(v.strip())[:MAX_VALUE] for k, v in row.items() if k not in used and v and not v.isspace()}

    def custom(self, row: Mapping[str, str], line: int, errors: list[RowError]) -> dict[str, str]:
        return {t[7:]: v for t in self.map.fields if t.startswith("custom.") and (v := self.text(row, t, line, errors))}

    def _column(self, target: str) -> str:
        columns = self.map.fields[target].columns
        return columns[0] if columns else target


def _allowed(f: FieldMap, map: ImportMap, beside: Path | None) -> frozenset[str]:
    allowed = set(f.one_of)
    if f.check_file:
        found = next((p for folder in (beside, map.folder) if folder and (p := folder / f.check_file).is_file()), None)
        if found is None:
            raise MapProblem(
                f"The check file {f.check_file!r} is missing",
                "the import map compares values with it",
                "Put it beside the imported file, or take the check out",
            )
        table = Table(Source(found))
        column = f.check_column or table.columns[0]
        if column not in table.columns:
            raise MapProblem(
                f"{f.check_file} has no column {column!r}",
                f"its columns are {', '.join(table.columns)[:300]}",
                "Correct check.column in the map",
            )
        for row in table:
            if value := row.values.get(column, "").strip():
                allowed.add(value)
            if len(allowed) > MAX_CHECKED:
                raise MapProblem(
                    f"{f.check_file} is too long", f"it has more than {MAX_CHECKED:,} values", "Check against a shorter list"
                )
    return frozenset(allowed)
