"""Text of foreign files as values: dates in the forms people write them, decimal numbers, truth, and clean strings.

Each parser answers None for what it cannot read; nothing is guessed from one value that the column as a whole contradicts.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar januari enero ene janvier janv gennaio gen janeiro",
            "feb february februar februari febrero février fevrier févr febbraio fevereiro fev",
            "mar march märz maerz mrz maart mrt marzo mars março marco",
            "apr april abril avril avr aprile abr",
            "may mai mei mayo maggio mag maio",
            "jun june juni junio juin giugno giu junho",
            "jul july juli julio juillet juil luglio lug julho",
            "aug august augustus agosto août aout ago",
            "sep sept september septiembre septembre settembre set setembro",
            "oct october oktober okt octubre octobre ottobre ott outubro out",
            "nov november noviembre novembre novembro",
            "dec december dezember dez diciembre décembre decembre dicembre dic dezembro",
        ),
        1,
    )
    for name in names.split()
}
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})?(Z|[+-]\d{2}:?\d{2})?)?")
_NUMERIC = re.compile(r"(\d{1,4})([./-])\s?(\d{1,2})\2\s?(\d{1,4})")
_NAMED = re.compile(r"(?:[^\W\d_]+\.?,?\s+)?(\d{1,2})(?:st|nd|rd|th|\.)?[\s/-]*([^\W\d_]+)\.?,?[\s/-]*(\d{2,4})")
_NAMED_US = re.compile(r"(?:[^\W\d_]+,\s+)?([^\W\d_]{3,})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})")
_CLOCK = re.compile(
    r"[T,\s]+(\d{1,2})[:.h](\d{2})(?:[:.](\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp]\.?[Mm]\.?)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?$"
)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
_BARE = re.compile(r"[\ud800-\udfff]")

EMPTY = frozenset(("", "null", "none", "nan", "n/a", "na", "#n/a", "nil", "\\n", "-", "--", "?"))


def clean(text: str) -> str:
    """Without NUL and lone surrogates, which no database text can hold."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() or not _BARE.search(text) else _BARE.sub("\ufffd", text)


def is_empty(text: str) -> bool:
    """Whether a cell stands for nothing."""
    return text.strip().lower() in EMPTY


def number(text: str, decimal: str | None = None) -> Decimal | None:
    """`1,234.50`, `1.234,50`, `€ 1 234,5`, `(12.00)`, `12-`, `5%`. `decimal` names the decimal sign where one value cannot tell."""
    body = text.strip()
    negative = (body.startswith("(") and body.endswith(")")) or body.startswith(("-", "\u2212")) or body.endswith("-")
    body = re.sub(r"[^\d.,eE+-]", "", body.strip("()-\u2212 "))
    if not body or len(body) > 60 or not any(c.isdigit() for c in body):
        return None
    if decimal is None:
        comma, dot = body.rfind(","), body.rfind(".")
        if comma >= 0 and dot >= 0:
            decimal = "," if comma > dot else "."
        elif (body.count(",") == 1 and len(body) - comma != 4) or body.count(".") > 1:
            decimal = ","
        else:
            decimal = "."
    body = body.replace("." if decimal == "," else ",", "").replace(",", ".")
    try:
        value = Decimal(body)
    except InvalidOperation:
        return None
    if not value.is_finite() or value.adjusted() > 30 or value.as_tuple().exponent < -30:  # type: ignore[operator]
        return None
    return -value if negative else value


def moment(text: str, *, form: str = "iso", zone: tzinfo = UTC) -> datetime | None:
    """An aware instant. `form`: iso, dmy, mdy, ymd, unix, unix_ms, excel, or a strptime pattern with %. A bare date is its midnight."""
    body = text.strip()
    if not body or len(body) > 80:
        return None
    try:
        return _moment(body, form, zone)
    except (ValueError, OverflowError, OSError, ArithmeticError):
        return None


def day(text: str, *, form: str = "iso") -> date | None:
    """The calendar day a value names, whatever clock follows it."""
    found = moment(text, form=form)
    return found.date() if found else None


def _moment(body: str, form: str, zone: tzinfo) -> datetime | None:
    if "%" in form:
        found = datetime.strptime(body, form)  # noqa: DTZ007 (the zone is added below)
        return found if found.tzinfo else found.replace(tzinfo=zone)
    if form in {"unix", "unix_ms"}:
        return datetime.fromtimestamp(float(body) / (1000 if form == "unix_ms" else 1), UTC)
    if form == "excel":
        return datetime(1899, 12, 30, tzinfo=zone) + timedelta(days=float(body.replace(",", ".")))
    if body[4:5] == "-" or (body[:8].isdigit() and (len(body) == 8 or body[8:9] == "T")):
        try:
            found = datetime.fromisoformat(body)
        except ValueError:
            pass
        else:
            return found if found.tzinfo else found.replace(tzinfo=zone)
    parts, end = _calendar(body, form)
    if parts is None:
        return None
    rest = body[end:]
    if not rest:
        return datetime(*parts, tzinfo=zone)
    clock = _CLOCK.fullmatch(rest)
    if clock is None:
        return None
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    if clock[5]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock[5][0] in "Pp" else 0)
    micro = int(((clock[4] or "") + "000000")[:6])
    return datetime(*parts, hour, minute, second, micro, tzinfo=_zone(clock[6], zone))


def _calendar(body: str, form: str) -> tuple[tuple[int, int, int] | None, int]:
    if m := _ISO.match(body):
        return (int(m[1]), int(m[2]), int(m[3])), m.end()
    if (m := _COMPACT.fullmatch(body)) and not m[4]:
        return (int(m[1]), int(m[2]), int(m[3])), m.end()
    if m := _NUMERIC.match(body):
        a, b, c = int(m[1]), int(m[3]), int(m[4])
        if len(m[1]) == 4:
            return (a, b, c), m.end()
        if form == "ymd" and len(m[4]) <= 2:
            return (_century(a, m[1]), b, c), m.end()
        month_first = form == "mdy" or (form == "iso" and m[2] != "." and b > 12 >= a)
        first, second = (b, a) if month_first else (a, b)
        return (_century(c, m[4]), second, first), m.end()
    if (m := _NAMED.match(body)) and (month := MONTHS.get(m[2].lower())):
        return (_century(int(m[3]), m[3]), month, int(m[1])), m.end()
    if (m := _NAMED_US.match(body)) and (month := MONTHS.get(m[1].lower())):
        return (int(m[3]), month, int(m[2])), m.end()
    return None, 0


def _century(year: int, digits: str) -> int:
    if len(digits) > 2:
        return year
    return year + (2000 if year < 70 else 1900)


def _zone(text: str | None, zone: tzinfo) -> tzinfo:
    if not text:
        return zone
    m = _OFFSET.fullmatch(text)
    if m is None:
        return UTC
    offset = timedelta(hours=int(m[2]), minutes=int(m[3]))
    return timezone(-offset if m[1] == "-" else offset)


def date_form(values: Iterable[str]) -> tuple[str | None, bool]:
    """(form, sure) in which a column writes its dates; (None, True) when it holds none. Unsure means day and month cannot be told apart."""
    seen = [v.strip() for v in values if not is_empty(v)][:1000]
    if not seen:
        return None, True
    pairs = [(int(m[1]), int(m[3]), m[2]) for v in seen if (m := _NUMERIC.match(v)) and len(m[1]) < 3]
    if len(pairs) * 2 > len(seen):
        first, second = max(p[0] for p in pairs), max(p[1] for p in pairs)
        form = "ymd" if first > 31 else "mdy" if second > 12 >= first else "dmy"
        sure = first > 12 or second > 12 or pairs[0][2] == "."
    elif all(v.isdigit() and len(v) in {10, 13} for v in seen):
        form, sure = ("unix" if len(seen[0]) == 10 else "unix_ms"), True
    else:
        form, sure = "iso", True
    good = sum(1 for v in seen if moment(v, form=form))
    return (form, sure) if good * 10 >= len(seen) * 8 else (None, True)


def decimal_sign(values: Iterable[str]) -> str | None:
    """The decimal sign a column of numbers uses, None when nothing in it tells."""
    for value in values:
        body = re.sub(r"[^\d.,]", "", value)
        comma, dot = body.rfind(","), body.rfind(".")
        if comma >= 0 and dot >= 0:
            return "," if comma > dot else "."
        if comma >= 0 and len(body) - comma != 4:
            return ","
        if dot >= 0 and len(body) - dot != 4:
            return "."
    return None
