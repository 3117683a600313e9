"""The firm's log over HTTP: checkpoints, tiles, proofs, cosignatures, seals of heads and timestamps."""

from collections.abc import Mapping
from typing import Any

from infra.http.log import MOST_NOTE, READ, WRITE
from infra.http.openapi.parts import BODY, JSON, READING, answer, in_path, in_query, problems, served, takes


def _described(
    name: str,
    summary: str,
    media: str,
    *places: Mapping[str, Any],
    description: str = "",
    post: bool = False,
    body: Mapping[str, Any] | None = None,
    more: tuple[str, ...] = (),
    needs: tuple[str, ...] = (READ,),
) -> dict[str, Any]:
    schema = JSON if media == "application/json" else {"type": "string"}
    answers = {"200": answer("As it is.", schema, media), **problems(*READING, "500", *more)}
    about = served(name, "log", summary, *places, description=description, body=body, answers=answers, needs=needs)
    return {"post" if post else "get": about}


_NOTE = takes({"type": "string", "maxLength": MOST_NOTE}, "text/plain")
NUMBERED = {"pattern": "^(0|[1-9][0-9]{0,17})$"}
_LETTERS = "abcd"
DESCRIBED: dict[str, Any] = {
    "/v1/log/checkpoint": _described(
        "log.checkpoint", "The newest signed checkpoint of the firm's log", "text/plain", in_query("size", **NUMBERED),
        in_query("witnessed", enum=["true", "false"]), more=("404", "409"),
        description="A C2SP signed note: origin, size, root; with the cosignatures that witnesses have given it. `size` asks for an older"
        " one that is kept; `witnessed=true` for the newest that has the policy's quorum.",
    ),
    "/v1/log/vkey": _described("log.vkey", "The key that signs the log now, as a vkey", "text/plain"),
    "/v1/log/keys": _described(
        "log.keys", "Every key that has signed the log, and the checkpoint with which each began", "application/json",
        description="The checkpoint with which a key began is signed by the key before it too, unless that was lost or compromised.",
    ),
    **{
        "/v1/log/tile/{level}" + "".join(f"/{{{x}}}" for x in _LETTERS[:n]): _described(
            f"log.tile{n if n > 1 else ''}", "A tile of the log's tree, or a bundle of its entries", "application/octet-stream",
            in_path("level"), *[in_path(x) for x in _LETTERS[:n]], more=("404",),
            description="C2SP tlog-tiles: `tile/<level>/<place>[.p/<width>]`, `tile/entries/<place>[.p/<width>]`. It never changes.",
        )
        for n in range(1, 5)
    },
    "/v1/log/proofs": _described(
        "log.prove", "The proof of the event at a position of the record", "text/plain", in_query("position", **NUMBERED), more=("404",),
        description="A C2SP tlog-proof@v1 that leads to the newest checkpoint. Waits until the log has the event.",
    ),
    "/v1/log/proofs/{index}": _described(
        "log.proof", "The proof of a leaf of the log", "text/plain", in_path("index", **NUMBERED), more=("404",),
        description="A C2SP tlog-proof@v1 (`.tlog-proof`) that leads to the newest checkpoint.",
    ),
    "/v1/log/consistency": _described(
        "log.consistency", "The proof that the log still begins as it did at an older size", "text/plain", in_query("old", **NUMBERED),
        more=("409",), description="The body of C2SP tlog-witness `add-checkpoint`, to the newest checkpoint. From 0 it proves nothing.",
    ),
    "/v1/log/cosignatures": _described(
        "log.cosign", "Hand in a witness's cosignature", "application/json", post=True, body=_NOTE, more=(*BODY, "409"),
        description="The body is a checkpoint of this log with the cosignature's line behind it. It is verified, kept and served with it.",
    ),
    "/v1/log/heads": _described("log.heads", "The seals of heads", "application/json"),
    "/v1/log/heads/{contact}": _described(
        "log.head", "The proof of the last event of a contact's chain of consent in the newest seal", "application/json",
        in_path("contact", format="uuid"), more=("404",), needs=(READ, "consent:read"),
    ),
    "/v1/log/heads:seal": _described(
        "log.seal", "Seal the heads of all chains of consent now", "application/json", post=True, more=(*BODY, "409"),
        needs=(WRITE,),
    ),
    "/v1/log/timestamps": {
        **_described("log.timestamps", "The RFC 3161 timestamps of checkpoints", "application/json"),
        **_described(
            "log.stamp", "Ask for a timestamp over the newest checkpoint", "application/json", post=True,
            more=(*BODY, "409"), needs=(WRITE,),
        ),
    },
    "/v1/log/timestamps/{size}": _described(
        "log.timestamp", "The timestamp of a checkpoint", "application/timestamp-reply", in_path("size", **NUMBERED), more=("404",),
        description="A TimeStampResp (DER) over the SHA-256 of the checkpoint's note: `openssl ts -verify` reads it.",
    ),
}  # fmt: skip
