"""The one way each value is written in notes and proofs: canonical base64 and decimals without leading zeroes."""

import binascii
import re

from infra.proofs.errors import Malformed

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
HASH_SIZE = 32
LARGEST = 2**63 - 1


def b64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def unb64(text: str) -> bytes:
    """The bytes of canonical base64 (RFC 4648, section 4): padded, no other bits, no white space."""
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError) as e:
        raise Malformed(f"not base64: {text[:60]!r}") from e
    if b64(raw) != text:
        raise Malformed(f"base64 with other bits than its bytes have: {text[:60]!r}")
    return raw


def unb64_hash(text: str) -> bytes:
    raw = unb64(text)
    if len(raw) != HASH_SIZE:
        raise Malformed(f"a hash has {HASH_SIZE} bytes, this has {len(raw)}")
    return raw


def decimal(text: str) -> int:
    """A number of leaves, or a place among them."""
    if not _DECIMAL.fullmatch(text) or int(text) > LARGEST:
        raise Malformed(f"not a decimal number without leading zeroes: {text[:40]!r}")
    return int(text)
