"""API keys: what a program shows to act in a firm, and for how much it is good.

AK1  The secret of a key is shown once and never recorded; the record has its SHA-256.
AK2  A mistyped key is told from a wrong one by its checksum, before anything is looked up.
AK3  A key is good for no more than its roles give, and its scopes only narrow that.
AK4  Nobody issues or rotates a key that is good for more than they are themselves.
AK5  A revoked key stays revoked; a key past its end is not rotated back to life.
AK6  A key that ends does so within two years.
AK7  Nothing is recorded when nothing changes.

A key reads `chy_<public id>_<secret>_<checksum>`. The public id is the ids of firm and key as 43 digits of base 62: whoever checks
a key binds to its firm first and needs no look-up across firms. The secret has at least 160 bits; the checksum is the CRC-32 of
all before it, 8 hexadecimal digits. A key for a member carries the member's roles, kept up by the commands that change them.
"""

import hashlib
import hmac
import re
import string
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NewType, assert_never
from uuid import UUID

from domain.kernel import FirmId, Invalid, Personal, Refused, Stream, event

KeyId = NewType("KeyId", UUID)

LONGEST_LIFE = timedelta(days=731)
LONGEST_OVERLAP = timedelta(days=7)

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_PUBLIC_ID_LENGTH = 43
_FORM = re.compile(r"(chy_([0-9A-Za-z]{43})_([0-9A-Za-z]{27,128}))_([0-9a-f]{8})")


class Revocation(StrEnum):
    """Why a key was revoked."""

    LEAKED = "leaked"
    REPLACED = "replaced"
    NO_LONGER_NEEDED = "no-longer-needed"
    MEMBER_DEACTIVATED = "member-deactivated"


# --- the text of a key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """A key taken apart. Its `repr` does not show the secret."""

    firm: FirmId
    key: KeyId
    public_id: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyText(public_id={self.public_id!r})"


class NotAKey(Invalid):
    """This is not the form of an API key, chy_<id>_<secret>_<checksum>. Copy the whole key as it was shown when it was issued."""


class KeyIsMistyped(Invalid):
    """The checksum does not match, so part of the key is mistyped or missing. Copy the whole key as it was shown when issued."""


def public_id(firm: FirmId, key: KeyId) -> str:
    """43 digits of base 62 that name the firm and the key."""
    n = firm.int << 128 | key.int
    digits = []
    for _ in range(_PUBLIC_ID_LENGTH):
        n, value = divmod(n, 62)
        digits.append(_DIGITS[value])
    return "".join(reversed(digits))


def compose(public_id: str, secret: str) -> str:
    """The text of a key. ValueError for a secret that is too short or not letters and digits: a fault, not a caller's mistake."""
    body = f"chy_{public_id}_{secret}"
    text = f"{body}_{_checksum(body)}"
    if not _FORM.fullmatch(text):
        raise ValueError("a key needs a secret of 27 to 128 letters and digits and a public id of 43")
    return text


def parse(text: str) -> KeyText:
    """The parts of a key. NotAKey, or KeyIsMistyped when only the checksum is against it."""
    m = _FORM.fullmatch(text)
    if m is None:
        raise NotAKey
    body, name, secret, checksum = m.groups()
    if not hmac.compare_digest(_checksum(body), checksum):
        raise KeyIsMistyped
    n = 0
    for digit in name:
        n = n * 62 + _VALUE[digit]
    if n >> 256:
        raise NotAKey
    firm, key = UUID(int=n >> 128), UUID(int=n & ((1 << 128) - 1))
    return KeyText(firm=FirmId(firm), key=KeyId(key), public_id=name, secret=secret)


def digest(secret: str) -> str:
    """SHA-256 of the secret, hexadecimal. A secret of 160 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def check(secret: str, sha256: str) -> bool:
    """Whether the secret is the one that was digested, in a time that does not depend on where they differ."""
    return hmac.compare_digest(digest(secret), sha256)


def good_for(granted: frozenset[str], scopes: Collection[str] | None) -> frozenset[str]:
    """What a key may do: all that its roles give, or of that what its scopes name."""
    return granted if scopes is None else granted & frozenset(scopes)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode('ascii')):08x}"


# --- events


@event("keys.Issued.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIssued:
    """`scopes` absent means all that the roles give, whatever they come to give."""

    name: str
    public_id: str
    sha256: str
    roles: tuple[str, ...]
    member: UUID | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None


@event("keys.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRenamed:
    name: str


@event("keys.Rotated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotated:
    """`previous_until` is how long the secret before still works; absent, it stopped at once."""

    sha256: str
    previous_until: datetime | None = None
    expires_at: datetime | None = None


@event("keys.RolesChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRolesChanged:
    """The roles of the member whose key this is have changed."""

    roles: tuple[str, ...]


@event("keys.Revoked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked:
    reason: Revocation
    remark: Annotated[str | None, Personal()] = None


Event = KeyIssued | KeyRenamed | KeyRotated | KeyRolesChanged | KeyRevoked

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    name: str = ""
    public_id: str = ""
    roles: tuple[str, ...] = ()
    member: UUID | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    revoked: bool = False


# --- refusals


class ScopeExceedsRole(Refused):
    """A key is good for no more than its role. Leave out the scopes its role does not have, or choose another role."""


class KeyExceedsYourPermissions(Refused):
    """The key would be good for more than you are yourself. Narrow its scopes to permissions you have, or ask an owner."""


class ExpiryNotAcceptable(Invalid):
    """A key ends in the future, within two years of being issued or rotated. Choose another end; rotating can move it later."""


class OverlapNotAcceptable(Invalid):
    """The secret before may work on for seven days at most after a rotation."""


class RevokedForGood(Refused):
    """The key has been revoked, so it is neither renamed nor rotated. Issue a new one."""


class PastItsEnd(Refused):
    """The key has reached its end, so a new secret would not bring it back. Issue a new one."""


class KeyIsRevoked(Refused):
    """The key you show has been revoked. Use another, or ask an owner of the firm for a new one."""


class KeyHasExpired(Refused):
    """The key you show has reached its end. Use another, or ask an owner of the firm for a new one."""


# --- decisions: `granted` is what the key's roles give, `by` what the one who asks may do


def issue(
    _key: Key,
    *,
    name: str,
    public_id: str,
    sha256: str,
    roles: tuple[str, ...],
    granted: frozenset[str],
    by: frozenset[str],
    now: datetime,
    member: UUID | None = None,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> list[Event]:
    if beyond := sorted(frozenset(scopes or ()) - granted):
        raise ScopeExceedsRole(scopes=beyond)
    _within(by, good_for(granted, scopes))
    _ends_in_time(expires_at, now)
    return [
        KeyIssued(
            name=name,
            public_id=public_id,
            sha256=sha256,
            roles=roles,
            member=member,
            scopes=None if scopes is None else tuple(sorted(set(scopes))),
            expires_at=expires_at,
        )
    ]


def rename(key: Key, *, name: str) -> list[Event]:
    if key.revoked:
        raise RevokedForGood
    return [] if name == key.name else [KeyRenamed(name=name)]


def rotate(
    key: Key,
    *,
    sha256: str,
    granted: frozenset[str],
    by: frozenset[str],
    now: datetime,
    overlap: timedelta = timedelta(0),
    expires_at: datetime | None = None,
) -> list[Event]:
    """A new secret for the key. Its end stays as it was when `expires_at` is not given."""
    _within(by, good_for(granted, key.scopes))
    if key.revoked:
        raise RevokedForGood
    if key.expires_at is not None and key.expires_at <= now:
        raise PastItsEnd
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise OverlapNotAcceptable(days=LONGEST_OVERLAP.days)
    _ends_in_time(expires_at, now)
    return [KeyRotated(sha256=sha256, previous_until=now + overlap if overlap else None, expires_at=expires_at or key.expires_at)]


def change_roles(key: Key, *, roles: tuple[str, ...]) -> list[Event]:
    return [] if key.revoked or roles == key.roles else [KeyRolesChanged(roles=roles)]


def revoke(key: Key, *, reason: Revocation, remark: str | None = None) -> list[Event]:
    return [] if key.revoked else [KeyRevoked(reason=reason, remark=remark)]


def _within(by: frozenset[str], wanted: frozenset[str]) -> None:
    if missing := sorted(wanted - by):
        raise KeyExceedsYourPermissions(missing=missing)


def _ends_in_time(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and not now < expires_at <= now + LONGEST_LIFE:
        raise ExpiryNotAcceptable(latest=(now + LONGEST_LIFE).isoformat())


# --- evolve


def evolve(key: Key, e: Event) -> Key:
    match e:
        case KeyIssued():
            return replace(
                key,
                name=e.name,
                public_id=e.public_id,
                roles=e.roles,
                member=e.member,
                scopes=e.scopes,
                expires_at=e.expires_at,
            )
        case KeyRenamed():
            return replace(key, name=e.name)
        case KeyRotated():
            return replace(key, expires_at=e.expires_at)
        case KeyRolesChanged():
            return replace(key, roles=e.roles)
        case KeyRevoked():
            return replace(key, revoked=True)
        case _:
            assert_never(e)


KEY = Stream("key", Key(), evolve)
