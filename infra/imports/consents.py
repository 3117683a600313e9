"""Consents out of table rows and lines of JSON: what a person said, for which purposes, over which channel, when, on what evidence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from infra.imports.binding import Bound
from infra.imports.contacts import digest
from infra.imports.rows import Mapped, RowError, doubt, refusal
from infra.imports.tables import TableRow

Said = Literal["given", "refused", "withdrawn"]
_SAID: dict[str, Said] = {
    **dict.fromkeys(
        (
            "given", "granted", "yes", "y", "true", "1", "opt in", "opted in", "optin", "subscribed", "subscribe", "active", "confirmed",
            "consented", "accepted", "ja", "oui", "si", "sí", "sim", "erteilt", "einwilligung", "angemeldet", "abonné", "inscrit", "renewed",
        ),
        "given",
    ),
    **dict.fromkeys(("refused", "declined", "denied", "rejected", "no", "n", "false", "0", "nein", "non", "nee", "abgelehnt"), "refused"),
    **dict.fromkeys(
        (
            "withdrawn", "withdrawal", "revoked by person", "opt out", "opted out", "optout", "unsubscribed", "unsubscribe", "cancelled",
            "canceled", "objected", "widerrufen", "abgemeldet", "désabonné", "desabonne", "retiré", "retire",
        ),
        "withdrawn",
    ),
}  # fmt: skip
_CHANNELS = {
    **dict.fromkeys(("email", "e mail", "mail", "newsletter", "courriel", "correo"), "email"),
    **dict.fromkeys(("sms", "text", "text message", "mobile"), "sms"),
    **dict.fromkeys(("phone", "telephone", "call", "telefon", "téléphone", "telefono"), "phone"),
    **dict.fromkeys(("post", "postal", "letter", "brief", "direct mail", "courrier"), "post"),
    **dict.fromkeys(("push", "app", "push notification"), "push"),
    **dict.fromkeys(("web", "website", "site"), "web"),
}
_TYPES = {
    **dict.fromkeys(("explicit", "explicitlyexpressedconsent", "ausdrücklich", "explicite"), "dpv:ExplicitlyExpressedConsent"),
    **dict.fromkeys(("express", "expressed", "expressedconsent", "opt in"), "dpv:ExpressedConsent"),
    **dict.fromkeys(("implied", "impliedconsent", "soft opt in", "implicit", "konkludent"), "dpv:ImpliedConsent"),
}
_IMPLIED = {
    **dict.fromkeys(("inquiry", "enquiry", "request", "application", "quote"), "inquiry"),
    **dict.fromkeys(("purchase", "order", "sale", "contract", "customer", "donation"), "purchase"),
}
_BASES = {
    **dict.fromkeys(("consent", "gdpr consent", "art 6 1 a", "6 1 a", "einwilligung"), "eu-gdpr:A6-1-a"),
    **dict.fromkeys(("explicit consent", "art 9 2 a", "9 2 a"), "eu-gdpr:A9-2-a"),
    **dict.fromkeys(("contract", "art 6 1 b", "6 1 b"), "eu-gdpr:A6-1-b"),
    **dict.fromkeys(("legitimate interest", "legitimate interests", "art 6 1 f", "6 1 f"), "eu-gdpr:A6-1-f"),
    **dict.fromkeys(("casl", "casl implied", "casl express"), "ca-casl:s10"),
}
_SHA = re.compile(r"[0-9a-f]{64}")
_MEDIA = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9.+_-]{0,100}")
_SUPPRESSED = frozenset(("bounced", "bounce", "complaint", "complained", "spam", "suppressed", "blocked", "cleaned", "hard bounce"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecord:
    """One act. The contact is known by the id of the file (`contact_id`, in the source of the contacts), by an address or by a number."""

    source_id: str
    contact_id: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    purposes: tuple[str, ...] = ()
    channel: str = "email"
    said: Said = "given"
    at: datetime
    legal_basis: str | None = None
    consent_type: str | None = None
    implied_by: str | None = None
    notice: str | None = None
    notice_version: int | None = None
    notice_language: str | None = None
    effective_to: datetime | None = None
    expires_at: datetime | None = None
    evidence: tuple[tuple[str, str], ...] = ()
    jurisdiction: str | None = None
    ip_address: str | None = field(default=None, repr=False)
    contact_point: str | None = field(default=None, repr=False)
    capture_source: str | None = None
    remark: str | None = field(default=None, repr=False)


class ConsentMapper:
    """Rows to acts, by a bound map. What decides whether somebody may be written to is never guessed at: a row whose status, purpose,
    channel or time can't be read is rejected."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound

    def map(self, row: TableRow) -> Mapped[ConsentRecord]:
        errors = list(row.errors)
        values, line = row.values, row.line
        record = None
        if not any(e.refused for e in errors):
            record = self._record(values, line, errors)
        if any(e.refused for e in errors):
            return Mapped(line=line, number=row.number, record=None, source=row.source, errors=tuple(errors))
        return Mapped(line=line, number=row.number, record=record, source=values, errors=tuple(errors))

    def _record(self, values: Mapping[str, str], line: int, errors: list[RowError]) -> ConsentRecord | None:
        b = self.bound

        def text(target: str) -> str | None:
            return b.text(values, target, line, errors)

        def refuse(target: str, value: object, reason: str) -> None:
            errors.append(refusal(line, target, value or "", reason))

        given: dict[str, Any] = {
            n: text(n) for n in ("contact_id", "email", "phone", "notice", "ip_address", "contact_point", "remark")
        }
        given["notice_language"] = text("notice_language")
        given["capture_source"] = text("source")
        if not (given["contact_id"] or given["email"] or given["phone"]):
            refuse("contact_id", "", "the row names nobody: it has neither an id of a contact, nor an email, nor a phone")
        given["purposes"] = tuple(_key(p) for p in b.texts(values, "purpose", line, errors))
        if not given["purposes"]:
            refuse("purpose", "", "the row names no purpose. Name a column for it in the map, or a constant")
        channel = text("channel") or ("email" if given["email"] or not given["phone"] else None)
        given["channel"] = _CHANNELS.get(_plain(channel or ""))
        if given["channel"] is None:
            refuse("channel", channel, "the channel is none of email, sms, phone, post, push, web")
        status = text("status")
        if _plain(status or "") in _SUPPRESSED:
            refuse(
                "status",
                status,
                "this is a suppression, not an act of consent. Imports open and close no suppression; suppress the contact",
            )
        else:
            given["said"] = _SAID.get(_plain(status or ""))
            if given["said"] is None:
                refuse("status", status, "the status is none of given, refused, withdrawn. Name it in a value table of the map")
        given["at"] = self._moment(values, "at", line, errors, needed=True)
        given["effective_to"] = self._moment(values, "effective_to", line, errors)
        given["expires_at"] = self._moment(values, "expires_at", line, errors)
        given["consent_type"] = self._known(text("consent_type"), _TYPES, "consent_type", "dpv:", line, errors)
        given["implied_by"] = self._known(text("implied_by"), _IMPLIED, "implied_by", "", line, errors)
        basis = text("legal_basis")
        given["legal_basis"] = _BASES.get(_plain(basis or ""), basis)
        country = text("jurisdiction")
        given["jurisdiction"] = country.upper() if country else None
        version = text("notice_version")
        if version and not re.fullmatch(r"[vV]?[1-9][0-9]{0,5}", version):
            refuse("notice_version", version, "the version of a notice is a number from 1")
        elif version:
            given["notice_version"] = int(version.lstrip("vV"))
        given["evidence"] = self._evidence(values, line, errors)
        if any(e.refused for e in errors):
            return None
        id = text("id")
        return ConsentRecord(source_id=id or digest(values), **given)

    def _moment(
        self, values: Mapping[str, str], target: str, line: int, errors: list[RowError], *, needed: bool = False
    ) -> datetime | None:
        """A time that was written and can't be read rejects its row: without it, consent would begin or end at another moment."""
        seen: list[RowError] = []
        found = self.bound.moment(values, target, line, seen)
        if found is None and seen:
            errors.extend(refusal(line, e.field, e.value, f"{target} is not a time that can be read") for e in seen)
        elif found is None and needed:
            errors.append(refusal(line, target, "", "the row does not say when it was"))
        return found

    def _known(
        self, value: str | None, words: Mapping[str, str], target: str, prefix: str, line: int, errors: list[RowError]
    ) -> str | None:
        if value is None or (prefix and value in words.values()):
            return value
        found = words.get(_plain(value.removeprefix(prefix)))
        if found is None:
            errors.append(refusal(line, target, value, f"{target} is none of {', '.join(sorted(set(words.values())))}"))
        return found

    def _evidence(self, values: Mapping[str, str], line: int, errors: list[RowError]) -> tuple[tuple[str, str], ...]:
        b = self.bound
        media = b.text(values, "evidence_media_type", line, errors) or "application/octet-stream"
        if not _MEDIA.fullmatch(media):
            errors.append(
                doubt(line, "evidence_media_type", media, "this is no media type; the evidence is kept as application/octet-stream")
            )
            media = "application/octet-stream"
        out = []
        for sha in b.texts(values, "evidence", line, errors)[:20]:
            if _SHA.fullmatch(sha.lower()):
                out.append((sha.lower(), media))
            else:
                errors.append(doubt(line, "evidence", sha, "this is no SHA-256; it was left out, and stays in the source row"))
        return tuple(out)


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", " ", word.casefold()).strip()


def _key(purpose: str) -> str:
    """The key of a purpose, however the other system writes it: `Product news` is `product-news`."""
    return re.sub(r"[^a-z0-9]+", "-", purpose.casefold()).strip("-")[:64].strip("-")
