"""Foreign files as records to import: vCard, jCard, xCard, tables, XES, CSV logs and OCEL, with a map given or guessed.

    with open_import(Path("leads.csv"), "contacts") as file:
        print(file.map_toml())            # what was guessed; stored with the import
        for row in file:                  # Mapped[ContactRecord], one by one, in bounded memory
            row.record, row.source, row.errors
            file.progress()               # bytes read, total, rate, time left

`open_import` raises FileDefect (MapProblem for a map) when the file as a whole cannot be read, and so may iterating it; rows never raise.
Iterating again reads the file again. `notes` says what was assumed about the whole file; it is complete after iterating.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from infra.imports.activities import guess_log, merged
from infra.imports.binding import Bound
from infra.imports.cardcontacts import from_card
from infra.imports.cardtrees import JcardFile, XcardFile
from infra.imports.casetables import TableLog, guess_columns
from infra.imports.consents import ConsentMapper, ConsentRecord
from infra.imports.contacts import ContactMapper, ContactRecord
from infra.imports.deals import DealMapper, DealRecord
from infra.imports.eventlogs import EventLog, LogColumns, XesLog
from infra.imports.guesses import explain, guess_table
from infra.imports.jsonlines import JsonLines
from infra.imports.mapparts import LogMap
from infra.imports.maps import ImportMap, load_map, parse_map, to_toml
from infra.imports.objectlogs import ObjectLog
from infra.imports.rows import FileDefect, Mapped, MapProblem, RowError
from infra.imports.source import Limits, Progress, Source
from infra.imports.tables import Table
from infra.imports.tasks import TaskMapper, TaskRecord
from infra.imports.vcards import CardFile, VcardFile

__all__ = [
    "ConsentRecord",
    "ContactRecord",
    "DealRecord",
    "FileDefect",
    "ImportFile",
    "ImportMap",
    "Limits",
    "MapProblem",
    "Mapped",
    "Progress",
    "RowError",
    "TaskRecord",
    "explain",
    "form_of",
    "load_map",
    "open_import",
    "parse_map",
    "to_toml",
]

R = TypeVar("R", ContactRecord, DealRecord, TaskRecord, ConsentRecord)
Kind = Literal["contacts", "deals", "tasks", "consents"]
Form = Literal["table", "json-lines", "vcard", "jcard", "xcard", "xes", "csv-log", "ocel"]


class ImportFile(Generic[R]):
    """An opened file with its map. `form` says how it is read, `columns` what it has, `map` what is taken from where."""

    def __init__(
        self,
        source: Source,
        kind: Kind,
        form: Form,
        map: ImportMap,
        rows: Iterable[Any],
        mapper: Any,
        columns: tuple[str, ...],
        sample: list[dict[str, str]],
    ) -> None:
        self.source = source
        self.kind = kind
        self.form = form
        self.map = map
        self.columns = columns
        self.sample = sample
        self._rows = rows
        self._mapper = mapper
        self._open: list[Iterator[Any]] = []

    @property
    def notes(self) -> list[str]:
        return self.source.notes

    @property
    def size(self) -> int:
        return self.source.size

    def progress(self) -> Progress:
        return self.source.progress()

    def map_toml(self) -> str:
        return to_toml(self.map)

    def explained(self) -> list[tuple[str, str, str]]:
        """(target, source, example) lines for a dry run."""
        return explain(self.map, self.columns, self.sample)

    def __iter__(self) -> Iterator[Mapped[R]]:
        rows = iter(self._rows)
        self._open.append(rows)
        mapper = self._mapper
        for row in rows:
            yield mapper(row)

    def __enter__(self) -> "ImportFile[R]":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for rows in self._open:
            close = getattr(rows, "close", None)
            if close:
                close()
        self._open = []


@overload
def open_import(
    path: Path, kind: Literal["contacts"], *, map: ImportMap | None = None, log: bool | None = None, limits: Limits | None = None
) -> ImportFile[ContactRecord]: ...
@overload
def open_import(
    path: Path, kind: Literal["deals"], *, map: ImportMap | None = None, log: bool | None = None, limits: Limits | None = None
) -> ImportFile[DealRecord]: ...
@overload
def open_import(
    path: Path, kind: Literal["consents"], *, map: ImportMap | None = None, log: bool | None = None, limits: Limits | None = None
) -> ImportFile[ConsentRecord]: ...
@overload
def open_import(
    path: Path, kind: Literal["tasks"], *, map: ImportMap | None = None, log: bool | None = None, limits: Limits | None = None
) -> ImportFile[TaskRecord]: ...
def open_import(
    path: Path, kind: Kind, *, map: ImportMap | None = None, log: bool | None = None, limits: Limits | None = None
) -> ImportFile[Any]:
    """Look at the beginning of the file, choose the reader, and bind the map (or guess one).

    `log` says whether a table is an event log; unsaid, it is one when the map has a [log] section,
    or when there is no map and its columns are a log's.
    """
    if map is not None and map.kind != kind:
        raise MapProblem(
            f"The import map is for {map.kind}", f"{kind} are to be imported", f'Write kind = "{kind}", or import {map.kind}'
        )
    source = Source(path, encoding=map.encoding if map else None, limits=limits)
    if kind == "consents":
        return _consents(source, map, path)
    form = form_of(source)
    if form in {"vcard", "jcard", "xcard"}:
        if kind != "contacts":
            raise FileDefect("The file holds vCards", f"they are contacts, not {kind}", "Import it with `chancery import contacts`")
        cards: CardFile = VcardFile(source) if form == "vcard" else JcardFile(source) if form == "jcard" else XcardFile(source)
        given = map or ImportMap(kind="contacts", guessed=True)
        return ImportFile(source, kind, form, given, cards, lambda card: from_card(card, given), (), [])
    if form in {"xes", "ocel"}:
        if kind == "contacts":
            raise FileDefect(
                "The file is an event log",
                "its cases are deals or tasks, not contacts",
                "Import it with `chancery import event-log --as deals`",
            )
        return _log(_reader(source, form, map), kind, form, map, path)
    table = Table(
        source,
        delimiter=map.delimiter if map else None,
        quote=map.quote if map else None,
        escape=map.escape if map else None,
        header=map.header if map else None,
        columns=map.columns if map else None,
    )
    if kind != "contacts" and (
        log if log is not None else (map.log != LogMap() if map else guess_columns(table.columns) is not None and _log_like(table))
    ):
        columns = _columns(map.log, guess_columns(table.columns)) if map else None
        return _log(
            TableLog(table, columns=columns, zone=map.zone if map else None, form=map.log.format if map else None),
            kind,
            "csv-log",
            map,
            path,
        )
    used = map or guess_table(kind, table)
    if map is not None and not map.fields:
        used = replace(guess_table(kind, table, record=map.record), timezone=map.timezone, encoding=map.encoding)
    if kind == "contacts" and not used.fields:
        source.note(
            "No column was recognised; write an import map that says which column holds the names, or compose one of several columns."
        )
    bound = Bound(used, table.columns, beside=path.parent)
    mapper = {"contacts": ContactMapper, "deals": DealMapper, "tasks": TaskMapper}[kind](bound)
    return ImportFile(source, kind, "table", used, table, mapper.map, table.columns, table.sample)


def _consents(source: Source, map: ImportMap | None, path: Path) -> ImportFile[ConsentRecord]:
    """Acts of consent, from a table or from lines of JSON."""
    lines = source.head_text().lstrip().startswith("{")
    table: Any = (
        JsonLines(source)
        if lines
        else Table(
            source,
            delimiter=map.delimiter if map else None,
            quote=map.quote if map else None,
            escape=map.escape if map else None,
            header=map.header if map else None,
            columns=map.columns if map else None,
        )
    )
    used = map or guess_table("consents", table)
    if map is not None and not map.fields:
        used = replace(guess_table("consents", table), timezone=map.timezone, encoding=map.encoding)
    bound = Bound(used, table.columns, beside=path.parent)
    return ImportFile(
        source, "consents", "json-lines" if lines else "table", used, table, ConsentMapper(bound).map, table.columns, table.sample
    )


def form_of(source: Source) -> Form:
    """Which reader fits, by the beginning of the file. Raises FileDefect for JSON and XML of another kind."""
    head = source.head_text().lstrip()[: 1 << 16]
    start = head[:4000].lower()
    if re.match(r"begin\s*:\s*vcard", start) or (
        re.search(r"^begin\s*:\s*vcard\s*$", start, re.MULTILINE) and "," not in start.split("\n", 1)[0]
    ):
        return "vcard"
    if start.startswith("<"):
        if re.search(r"<(?:\w+:)?vcards?\b", start):
            return "xcard"
        if re.search(r"<!doctype html|<html", start):
            raise FileDefect(
                "The file is a web page", "it holds no records", "Perhaps the download asked for a sign-in; fetch it again"
            )
        return "xes"
    if start.startswith("["):
        if re.match(r'\[\s*(?:\[\s*)?"vcard"', start):
            return "jcard"
        if re.match(r"\[\s*[\]\[{\"\d]", start):
            raise FileDefect(
                "The JSON file is of an unknown kind",
                "jCards and object-centric logs (OCEL) are read from JSON",
                "Export the records as CSV, vCard or OCEL",
            )
    if re.match(r"\{\s*(?:\"|\})", start):
        if re.search(r'"(?:ocel:[\w-]+|objecttypes|eventtypes|events|objects)"\s*:', head.lower()):
            return "ocel"
        raise FileDefect(
            "The JSON file is of an unknown kind",
            "jCards and object-centric logs (OCEL) are read from JSON",
            "Export the records as CSV, vCard or OCEL",
        )
    if not start:
        raise FileDefect("The file is empty", "there is nothing in it to import", "Check the export")
    return "table"


def _reader(source: Source, form: Form, map: ImportMap | None) -> EventLog:
    zone = map.zone if map else None
    if form == "xes":
        return XesLog(source, columns=_columns(map.log, LogColumns()) if map else None, zone=zone)
    return ObjectLog(source, object_type=map.log.object_type if map else None, zone=zone)


def _columns(log: LogMap, otherwise: LogColumns | None) -> LogColumns | None:
    names = ("case", "activity", "timestamp", "start", "resource", "lifecycle", "event_id")
    values: dict[str, Any] = {n: getattr(log, n) or (getattr(otherwise, n) if otherwise else None) for n in names}
    if not (values["case"] and values["activity"] and values["timestamp"]):
        return None
    return LogColumns(**values)


def _log_like(table: Table) -> bool:
    """A table whose case repeats is a log; one row per case is a table of deals or tasks."""
    columns = guess_columns(table.columns)
    if columns is None:
        return False
    cases = [row.get(columns.case, "") for row in table.sample]
    return len(set(cases)) < len(cases) or normal_log(table.columns)


def normal_log(columns: tuple[str, ...]) -> bool:
    """Whether the names are those of a log beyond doubt."""
    return any(c.lower() in {"case:concept:name", "concept:name", "time:timestamp", "_case_key", "eventtime"} for c in columns)


def _log(log: EventLog, kind: Kind, form: Form, map: ImportMap | None, path: Path) -> ImportFile[Any]:
    if map is None or not map.activities:
        guess = guess_log(kind, log)
        map = merged(guess, map) if map else guess
    bound = Bound(map, None, beside=path.parent)
    mapper = DealMapper(bound, log.columns) if kind == "deals" else TaskMapper(bound, log.columns)
    return ImportFile(log.source, kind, form, map, log, mapper.trace, (), [])
