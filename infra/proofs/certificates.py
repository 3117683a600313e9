"""Certificates: a statement in canonical JSON under the key of the firm's log, as a C2SP signed note.

The note's text is two lines: what kind of certificate it is, then the statement (RFC 8785). No line can be taken for a checkpoint: the
first one of a checkpoint is the log's origin.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
import rfc8785

from infra.proofs.errors import Malformed
from infra.proofs.notes import Note, Verifier, sign, verified
from infra.proofs.signing import SigningKeys
from infra.record.vault import Vault
from infra.settings import Settings


def certify(
    settings: Settings, vault: Vault, firm: UUID, kind: str, statement: Mapping[str, Any], *, origin: str | None = None
) -> str:
    """The signed note of a statement about a firm's record. `kind` is like `chancery.erasure/v1`; no floats, integers up to 2^53 - 1.
    `origin` is the firm's log when it is another than its first."""
    origin = origin or f"{settings.log_origin}/firms/{firm}"
    signer = SigningKeys(vault.folder, settings.signing_key).newest(origin)
    return str(sign(f"{kind}\n{rfc8785.dumps({**statement, 'log': origin}).decode()}\n", [signer]))


def read(note: str, verifiers: list[Verifier]) -> tuple[str, dict[str, Any]]:
    """The kind and the statement of a certificate that one of these keys has signed.

    Raises Malformed, and Unsigned when none has.
    """
    opened = Note.parse(note.encode())
    verified(opened, verifiers)
    lines = opened.text.split("\n")
    if len(lines) != 3 or lines[2]:
        raise Malformed("a certificate has two lines: its kind and its statement")
    try:
        statement = orjson.loads(lines[1])
    except orjson.JSONDecodeError as e:
        raise Malformed("the statement of the certificate is not JSON") from e
    if not isinstance(statement, dict):
        raise Malformed("the statement of the certificate is not an object")
    return lines[0], statement
