"""What a person's page shows: each purpose with the channels over which it can be agreed to, and how it stands."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.consent.deciding import Known, Question, decide
from domain.consent.words import VALID, Channel, Status
from infra.choices.words import day
from infra.reading import PgReader
from queries.standing import standing

PURPOSES = "SELECT id, key, name, description, parent, retired FROM views.purposes WHERE firm_id = %(firm)s ORDER BY created_at, id"
NOTICES = (
    "SELECT n.id, n.notice_version, n.purposes, t.language, t.text FROM views.notices n JOIN views.notice_texts t ON t.firm_id = %(firm)s"
    " AND t.notice = n.id AND t.notice_version = n.notice_version WHERE n.firm_id = %(firm)s AND NOT n.retired AND t.text IS NOT NULL"
    " ORDER BY n.published_at DESC, n.id, t.language"
)
STANDS = (
    f"SELECT contact, purpose, channel, status, since, expires_at, request_expires_at FROM ({standing()}) t"
    " WHERE firm_id = %(firm)s AND contact = ANY(%(chains)s::uuid[])"
)
CONTACT = "SELECT status, languages, merged_into, absorbed FROM views.contacts WHERE firm_id = %(firm)s AND id = %(contact)s"
MOST_MERGED = 100
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
    """`retired` are purposes that are no longer offered, so that a form made before still says no to them; `known` the channels over which
    anything was ever said."""

    firm: str
    erased: bool
    languages: tuple[str, ...]
    rows: tuple[Row, ...]
    retired: tuple[Row, ...] = ()
    known: tuple[Channel, ...] = ()


async def survivor(r: PgReader, contact: UUID) -> tuple[UUID, bool] | None:
    """Whom a link to this contact is about: the one into whom they were merged, and whether that one was erased; None when there is none."""
    for _ in range(MOST_MERGED):
        person = await r.one(CONTACT, contact=contact)
        if person is None:
            return None
        if person["merged_into"] is None:
            return contact, person["status"] == "erased"
        contact = person["merged_into"]
    return None


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
    stands: dict[tuple[str, str], list[Known]] = defaultdict(list)
    for s in await r.all(STANDS, chains=await _chains(r, contact, person["absorbed"] or ())):
        stands[s["purpose"], s["channel"]].append(
            Known(
                status=Status(s["status"]), since=s["since"], expires_at=s["expires_at"], request_expires_at=s["request_expires_at"],
                contact=s["contact"],
            )
        )  # fmt: skip
    notices = await r.all(NOTICES)
    known = {c for _, c in stands}
    used = known | {Channel.EMAIL.value, Channel.PHONE.value, Channel.POST.value, Channel.SMS.value}
    channels = [c.value for c in Channel if c.value in used]
    rows, retired = [], []
    for p in await r.all(PURPOSES):
        text, shown = _notice(notices, p["key"], language) if not p["retired"] else (None, None)
        boxes = [_box(p["key"], c, stands.get((p["key"], c), []), shown is not None, now) for c in channels]
        row = Row(p["key"], p["name"], p["description"], tuple(boxes), text, shown)
        if p["retired"]:
            retired.append(row)
        elif shown is not None or any(b.given for b in boxes):
            rows.append(row)
    return Page(firm["name"], False, languages, tuple(rows), tuple(retired), tuple(c for c in Channel if c.value in known))


async def _chains(r: PgReader, contact: UUID, absorbed: Sequence[UUID]) -> list[UUID]:
    """The contact and everybody who was merged into it, however often."""
    chains, look = [contact], list(absorbed)
    while look and len(chains) < MOST_MERGED:
        other = look.pop()
        if other not in chains:
            chains.append(other)
            found = await r.one(CONTACT, contact=other)
            look += (found["absorbed"] or ()) if found is not None else ()
    return chains


def _notice(notices: Sequence[Mapping[str, Any]], purpose: str, language: str) -> tuple[str | None, tuple[UUID, int, str] | None]:
    naming = [n for n in notices if purpose in n["purposes"]]
    if not naming:
        return None, None
    newest = [n for n in naming if n["id"] == naming[0]["id"]]
    chosen = next((n for n in newest if n["language"].partition("-")[0] == language), newest[0])
    return chosen["text"], (chosen["id"], chosen["notice_version"], chosen["language"])


def _box(purpose: str, channel: str, known: Sequence[Known], offered: bool, now: datetime) -> Box:
    """As the decision has it, of all that the person said; what no suppression, which is not theirs to tick, takes away."""
    value = f"{purpose}/{channel}"
    d = decide(Question(purpose=purpose, channel=Channel(channel), at=now), known)
    given = d.status in VALID
    return Box(channel, value, given, offered or given, day(d.since) if given and d.since is not None else None)
