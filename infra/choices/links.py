"""Signed links: who, what for and until when, in one URL segment that tells nothing to others."""

import hmac
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from domain.consent.words import Channel
from infra.proofs.errors import Malformed
from infra.record.codec import b64url, unb64url
from infra.record.vault import Vault

YEAR = 365 * 86_400
_HEAD = struct.Struct(">BBIB16s16s")
CHANNELS = list(Channel)
SIGNATURE = 16


class Use(IntEnum):
    """What a link is for."""

    PREFERENCES = 1
    UNSUBSCRIBE = 2
    CONFIRM = 3


SECONDS = {Use.PREFERENCES: YEAR, Use.UNSUBSCRIBE: 10 * YEAR, Use.CONFIRM: YEAR}


class LinkUnusable(Malformed):
    """The link is not one that was made here, or it was cut short."""


class LinkExpired(Malformed):
    """The link was good until a time that is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """`purpose` and `channel` narrow an unsubscription; `token` is the single-use token of a confirmation."""

    use: Use
    firm: UUID
    contact: UUID
    channel: Channel | None = None
    purpose: str = ""
    token: str = ""


def sign(vault: Vault, link: Link, *, now: float | None = None) -> str:
    """The URL segment of a link."""
    until = int((time.time() if now is None else now) + SECONDS[link.use]) // 60
    channel = CHANNELS.index(link.channel) + 1 if link.channel is not None else 0
    head = _HEAD.pack(1, link.use, until, channel, link.firm.bytes, link.contact.bytes)
    said = head + link.purpose.encode() + (b"\x00" + link.token.encode() if link.token else b"")
    return b64url(said + vault.mac(link.firm, "choices", said)[:SIGNATURE])


def read(vault: Vault, segment: str, *, now: float | None = None) -> Link:
    """What a link says. Raises LinkUnusable, LinkExpired."""
    if len(segment) > 600:
        raise LinkUnusable("the link is too long")
    try:
        raw = unb64url(segment)
    except ValueError as e:
        raise LinkUnusable("the link is not whole") from e
    if len(raw) < _HEAD.size + SIGNATURE or b64url(raw) != segment:
        raise LinkUnusable("the link is not whole")
    said, signature = raw[:-SIGNATURE], raw[-SIGNATURE:]
    version, use, until, channel, firm, contact = _HEAD.unpack(said[: _HEAD.size])
    if version != 1 or not hmac.compare_digest(vault.mac(UUID(bytes=firm), "choices", said)[:SIGNATURE], signature):
        raise LinkUnusable("the link is not one that was made here")
    if until * 60 < (time.time() if now is None else now):
        raise LinkExpired("the link has expired")
    purpose, _, token = said[_HEAD.size :].decode().partition("\x00")
    return Link(
        use=Use(use),
        firm=UUID(bytes=firm),
        contact=UUID(bytes=contact),
        channel=CHANNELS[channel - 1] if channel else None,
        purpose=purpose,
        token=token,
    )
