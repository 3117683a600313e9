"""What a person's page shows: each purpose with the channels over which it can be agreed to, and how it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.consent.deciding import lapsed
from domain.consent.words import VALID, Channel, Status
from infra.choices.words import day
from infra.reading import PgReader

PURPOSES = (
    "SELECT id, key, name, description, parent FROM views.purposes WHERE firm_id = %(firm)s AND NOT retired ORDER BY created_at, id"
)
NOTICES = (
    "SELECT n.id, n.notice_version, n.purposes, t.language, t.text FROM views.notices n JOIN views.notice_texts t ON t.firm_id = %(firm)s"
    " AND t.notice = n.id AND t.notice_version = n.notice_version WHERE n.firm_id = %(firm)s AND NOT n.retired AND t.text IS NOT NULL"
    " ORDER BY n.published_at DESC, n.id, t.language"
)
STANDS = (
    "SELECT purpose, channel, status, since, expires_at, request_expires_at FROM views.consents"
    " WHERE firm_id = %(firm)s AND contact = %(contact)s"
)
CONTACT = "SELECT status, languages FROM views.contacts WHERE firm_id = %(firm)s AND id = %(contact)s"
FIRM = "SELECT name FROM views.firms WHERE firm_id = %(firm)s"


@dataclass(frozen=True, slots=True)
class Box:
    """One tick box: `offered` is False where it can't be agreed to now, because no notice names the purpose."""

    channel: str
    value: str
    given: bool
    offered: bool
    since: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """`notice` is the text in the person's language, or the first there is; `shown` names its id, version and language."""

    key: str
    name: str
    description: str | None
    channels: tuple[Box, ...]
    notice: str | None
    shown: tuple[UUID, int, str] | None


@dataclass(frozen=True, slots=True)
class Page:
    firm: str
    erased: bool
    languages: tuple[str, ...]
    rows: tuple[Row, ...]


async def page(r: PgReader, contact: UUID, language: str, now: datetime) -> Page | None:
    """What stands for this person now; None when the firm has no such contact."""
    person = await r.one(CONTACT, contact=contact)
    firm = await r.one(FIRM)
    if person is None or firm is None:
        return None
    erased = person["status"] == "erased"
    languages = tuple(person["languages"] or ())
    if erased:
        return Page(firm["name"], True, languages, ())
    stands = {(s["purpose"], s["channel"]): s for s in await r.all(STANDS, contact=contact)}
    notices = await r.all(NOTICES)
    used = {c for _, c in stands} | {Channel.EMAIL.value, Channel.PHONE.value, Channel.POST.value, Channel.SMS.value}
    channels = [c.value for c in Channel if c.value in used]
    rows = []
    for p in await r.all(PURPOSES):
        text, shown = _notice(notices, p["key"], language)
        boxes = [_box(p["key"], c, stands.get((p["key"], c)), shown is not None, now) for c in channels]
        if shown is not None or any(b.given for b in boxes):
            rows.append(Row(p["key"], p["name"], p["description"], tuple(boxes), text, shown))
    return Page(firm["name"], False, languages, tuple(rows))


def _notice(notices: Sequence[Mapping[str, Any]], purpose: str, language: str) -> tuple[str | None, tuple[UUID, int, str] | None]:
    naming = [n for n in notices if purpose in n["purposes"]]
    if not naming:
        return None, None
    newest = [n for n in naming if n["id"] == naming[0]["id"]]
    chosen = next((n for n in newest if n["language"].partition("-")[0] == language), newest[0])
    return chosen["text"], (chosen["id"], chosen["notice_version"], chosen["language"])


def _box(purpose: str, channel: str, stands: Mapping[str, Any] | None, offered: bool, now: datetime) -> Box:
    value = f"{purpose}/{channel}"
    if stands is None:
        return Box(channel, value, False, offered, None)
    status = lapsed(Status(stands["status"]), stands["expires_at"], stands["request_expires_at"], now)
    since = day(stands["since"]) if stands["since"] is not None else None
    return Box(channel, value, status in VALID, offered or status in VALID, since if status in VALID else None)
