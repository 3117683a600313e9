"""Delimited tables (CSV, TSV, semicolons, bars) as rows, whatever their dialect, with the row as it was.

Delimiter, quotes, escapes, blanks after delimiters and the header are guessed from the beginning; what was guessed is said in
`source.notes` and may be given instead. A quote that is opened and never closed costs its own row, not the rest of the file. Cells are data: a
formula stays text.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from infra.imports.rows import FileDefect, RowError, doubt, refusal
from infra.imports.source import Overlong, Source
from infra.imports.values import clean, is_empty

MAX_COLUMNS = 2000
MAX_RECORD = 1 << 20
MAX_RECORD_LINES = 5000
SAMPLE_LINES = 300
RESCANNED = 64 << 20

csv.field_size_limit(1 << 30)  # one setting for the whole process; the limits above hold instead

_DATA = re.compile(
    r"[^@\s]+@[^@\s]+\.\w+|[+-]?[\d.,]*\d[\d.,]*%?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*|https?://\S+|"
    r"\+?[\d ()/-]{6,}|\d{4}-\d\d-\d\dT.*|(?i:true|false|null)"
)
_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    blanks: bool = False
    skip_lines: int = 0

    @property
    def options(self) -> dict[str, object]:
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape,
            "skipinitialspace": self.blanks,
            "doublequote": True,
            "strict": False,
        }


@dataclass(frozen=True, slots=True)
class TableRow:
    """`values` by column name, with missing cells as ''; `raw` is the text of the row as it stood in the file."""

    line: int
    number: int
    values: dict[str, str] = field(repr=False)
    raw: str = field(repr=False)
    errors: tuple[RowError, ...] = ()

    @property
    def source(self) -> dict[str, str]:
        """What is kept of it: its values; its text where it has none."""
        return self.values or {"": self.raw}


class _Runaway(Exception):
    """A record grew beyond every honest record: a quote was opened and never closed."""


class _Long(Exception):
    """The next line alone is longer than a record may be."""


class _Feed:
    """Hands lines to csv.reader, remembers those of the current record, and takes them back when the record was none."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.fresh = lines
        self.number = 0
        self.again: deque[tuple[int, str]] = deque()
        self.taken: list[tuple[int, str]] = []
        self.size = 0
        self.ended = False
        self.rescanned = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self.size > MAX_RECORD or len(self.taken) >= MAX_RECORD_LINES:
            raise _Runaway
        if self.again:
            number, line = self.again.popleft()
        else:
            try:
                line = next(self.fresh)
                self.number += 1
                while not self.taken and line in {"\n", "\r\n"}:
                    line = next(self.fresh)
                    self.number += 1
            except StopIteration:
                self.ended = True
                raise
            number = self.number
        if type(line) is Overlong:
            if self.taken:
                self.again.appendleft((number, line))
                raise _Runaway
            self.taken.append((number, line))
            raise _Long
        self.taken.append((number, line))
        self.size += len(line)
        return line

    def begin(self) -> None:
        self.taken = []
        self.size = 0
        self.ended = False

    def give_back(self) -> tuple[int, str]:
        """The first line of the failed record; the others will be read again as records of their own."""
        first, *others = self.taken
        self.again.extendleft(reversed(others))
        self.rescanned += self.size - len(first[1])
        return first


class Table:
    """A delimited file with a header (found, given or made up). Iterate for its rows; iterate again to start again."""

    def __init__(
        self,
        source: Source,
        *,
        delimiter: str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        header: bool | None = None,
        columns: tuple[str, ...] | None = None,
    ) -> None:
        self.source = source
        self.dialect, rows = _sniff(source, delimiter, quote, escape)
        self.has_header = header if header is not None else _has_header(rows)
        width = max(Counter(map(len, rows)).most_common(1)[0][0] if rows else 0, len(rows[0]) if rows else 0)
        if width > MAX_COLUMNS:
            raise FileDefect(
                f"The table has {width:,} columns",
                f"at most {MAX_COLUMNS:,} are read",
                "Check the delimiter, or export fewer columns",
            )
        if columns:
            self.columns = tuple(columns)
        elif self.has_header and rows:
            self.columns = _names(rows[0])
        else:
            self.columns = tuple(f"column {n}" for n in range(1, width + 1))
            if rows:
                source.note("No header was found; the columns are named column 1, column 2 …")
        self.sample: list[dict[str, str]] = [
            dict(zip(self.columns, r + [""] * (len(self.columns) - len(r)), strict=False))
            for r in rows[1 if self.has_header else 0 :]
        ]
        named = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(
            self.dialect.delimiter, repr(self.dialect.delimiter)
        )
        source.note(f"Read as a table with {len(self.columns)} columns separated by {named}.")

    def __iter__(self) -> Iterator[TableRow]:
        feed = _Feed(self.source.lines(MAX_RECORD))
        options = self.dialect.options
        reader = csv.reader(feed, **options)  # type: ignore[arg-type]
        header = self.has_header
        number = 0
        for _ in range(self.dialect.skip_lines):
            feed.begin()
            if next(feed, None) is None:
                return
        while True:
            feed.begin()
            problem = None
            try:
                cells = next(reader)
                if feed.ended and feed.size:
                    raise _Runaway
            except StopIteration:
                return
            except _Long:
                number += 1
                line, text = feed.taken[0]
                yield TableRow(
                    line, number, {}, str(text), (refusal(line, "", text, f"the line is longer than {MAX_RECORD:,} characters"),)
                )
                reader = csv.reader(feed, **options)  # type: ignore[arg-type]
                continue
            except (_Runaway, csv.Error):
                line, text = feed.give_back()
                feed.taken = [(line, text)]
                cells = text.rstrip("\r\n").split(self.dialect.delimiter)
                problem = refusal(
                    line, "", text.rstrip("\r\n"), "a quote is opened and never closed; the row cannot be divided into columns"
                )
                if feed.rescanned > RESCANNED:
                    options = options | {"quoting": csv.QUOTE_NONE, "quotechar": None}
                    self.source.note("Too many quotes are never closed; from there on quotes were read as ordinary characters.")
                reader = csv.reader(feed, **options)  # type: ignore[arg-type]
            if not any(cells) or (cells == ["\x1a"]):
                continue
            if header:
                header = False
                continue
            number += 1
            line = feed.taken[0][0]
            raw = "".join([text for _, text in feed.taken])
            yield self._row(line, number, cells, raw, problem)

    def _row(self, line: int, number: int, cells: list[str], raw: str, problem: RowError | None) -> TableRow:
        errors: list[RowError] = [problem] if problem else []
        columns = self.columns
        have, want = len(cells), len(columns)
        if "\0" in raw:
            errors.append(doubt(line, "", "", "the row holds NUL characters; they were left out"))
            cells = [clean(c) for c in cells]
            raw = clean(raw)
        if have == want:
            values = dict(zip(columns, cells, strict=True))
        elif have < want:
            values = dict(zip(columns, cells + [""] * (want - have), strict=True))
            if not problem:
                errors.append(
                    doubt(line, columns[have], "", f"the row has {have} of {want} columns; the missing ones are read as empty")
                )
        else:
            values = dict(zip(columns, cells[:want], strict=True))
            surplus = cells[want : want + MAX_COLUMNS]
            values |= {f"column {n}": c for n, c in enumerate(surplus, want + 1) if c}
            if any(surplus) and not problem:
                errors.append(
                    doubt(
                        line,
                        f"column {want + 1}",
                        next(filter(None, surplus)),
                        f"the row has {have} columns, the header {want}; the surplus is kept beside",
                    )
                )
        return TableRow(line, number, values, raw, tuple(errors))


def normal(name: str) -> str:
    """A column name for comparing: lower case, runs of other signs as one blank."""
    return _WORD.sub(" ", name).strip().lower()


def _names(cells: list[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    out = []
    for n, cell in enumerate(cells, 1):
        name = clean(" ".join(cell.split()))[:200] or f"column {n}"
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(out)


def _sniff(source: Source, delimiter: str | None, quote: str | None, escape: str | None) -> tuple[Dialect, list[list[str]]]:
    text = source.head_text()
    lines = [line for line in _split(text) if type(line) is str]
    if len(lines) > 1 and not lines[-1].endswith(("\n", "\r")) and len(source.head) >= (1 << 18):
        lines.pop()
    lines = lines[:SAMPLE_LINES]
    skip = 0
    if lines and (m := re.fullmatch(r'"?sep=(.)"?\s*', lines[0], re.IGNORECASE)):
        delimiter, skip, lines = delimiter or m[1], 1, lines[1:]
    body = "".join(lines)
    quotes = [quote] if quote is not None else ['"'] if '"' in body or "'" not in body else ['"', "'"]
    inner, outer = len(re.findall(r'\\"(?![,;\t|\r\n])', body)), len(re.findall(r'\\"(?=[,;\t|\r\n])', body))
    escapes = [escape] if escape else ["\\"] if inner > outer else [None]
    best, best_rows, best_score = Dialect(delimiter=delimiter or ",", quote=quotes[0], skip_lines=skip), [], -1.0
    for d in [delimiter] if delimiter else [",", ";", "\t", "|"]:
        for q in quotes:
            for e in escapes:
                dialect = Dialect(delimiter=d, quote=q, escape=e, skip_lines=skip)
                try:
                    rows = [r for r in csv.reader(lines, **dialect.options) if any(r)]  # type: ignore[arg-type]
                except csv.Error:
                    continue
                score = _score(rows, q)
                if score > best_score:
                    best, best_rows, best_score = dialect, rows, score
    later = [c for r in best_rows[1:] for c in r[1:] if c]
    if later and sum(c.startswith(" ") for c in later) * 10 >= len(later) * 8:
        best = Dialect(delimiter=best.delimiter, quote=best.quote, escape=best.escape, blanks=True, skip_lines=skip)
        best_rows = [r for r in csv.reader(lines, **best.options) if any(r)]  # type: ignore[arg-type]
    if len(best_rows) > 1 and len(lines) == SAMPLE_LINES:
        best_rows.pop()
    return best, best_rows


def _split(text: str) -> Iterator[str]:
    for m in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text):
        yield m[0]


def _score(rows: list[list[str]], quote: str) -> float:
    if not rows:
        return 0.0
    widths = Counter(map(len, rows))
    width, _ = widths.most_common(1)[0]
    same = sum(n for w, n in widths.items() if w == width) / len(rows)
    head = 0.25 if len(rows[0]) == width else 0.0
    torn = sum(1 for r in rows for c in r if quote and c.count(quote) % 2 == 1) / max(1, sum(map(len, rows)))
    if width == 1:
        return 0.3 * same
    return same + head + min(width, 40) * 0.002 - torn - (0.02 if quote == "'" else 0)


def _has_header(rows: list[list[str]]) -> bool:
    if not rows:
        return False
    first = [c.strip() for c in rows[0]]
    if not any(first):
        return False
    if any(_DATA.fullmatch(c) for c in first if c):
        data_like = sum(1 for c in first if c and _DATA.fullmatch(c))
        known = sum(1 for c in first if normal(c) in COMMON)
        return known > data_like
    if len(rows) == 1 or any(normal(c) in COMMON for c in first):
        return True
    filled = [c.lower() for c in first if c]
    if len(set(filled)) < len(filled):
        return False
    if any(len(c) > 60 for c in first):
        return False
    columns = list(zip(*[r for r in rows[1:] if len(r) == len(first)], strict=False))
    repeated = sum(
        1 for name, column in zip(first, columns, strict=False) if name in [c.strip() for c in column] and not is_empty(name)
    )
    return repeated == 0


COMMON = frozenset(
    [
        "name",
        "first",
        "name",
        "firstname",
        "given",
        "name",
        "last",
        "name",
        "lastname",
        "surname",
        "family",
        "name",
        "display",
        "name",
        "full",
        "name",
        "vorname",
        "nachname",
        "prénom",
        "prenom",
        "nom",
        "nombre",
        "apellido",
        "apellidos",
        "cognome",
        "achternaam",
        "voornaam",
        "email",
        "e",
        "mail",
        "e",
        "mail",
        "address",
        "primary",
        "email",
        "phone",
        "telephone",
        "mobile",
        "telefon",
        "tel",
        "company",
        "organization",
        "organisation",
        "firma",
        "account",
        "id",
        "key",
        "type",
        "status",
        "stage",
        "amount",
        "date",
        "title",
        "city",
        "country",
        "address",
        "street",
        "zip",
        "state",
        "notes",
        "case",
        "activity",
        "timestamp",
        "resource",
        "value",
        "product",
    ]
) | frozenset(
    (
        "first name",
        "last name",
        "given name",
        "family name",
        "display name",
        "full name",
        "e mail",
        "e mail address",
        "case id",
        "primary email",
        "deal stage",
    )
)
