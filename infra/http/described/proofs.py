"""Proofs as people take them away, on paper or as a file, and their verification."""

from typing import Any

from infra.http.openapi.parts import BODY, BYTES, ID, JSON, READING, answer, in_path, in_query, open_to_all, problems, served, takes

_SHOWN = (
    ID,
    in_query("disclose", pattern="^[a-z][a-z0-9_,]{0,400}$"),
    in_query("old", pattern="^[1-9][0-9]{0,15}(,[1-9][0-9]{0,15}){0,19}$"),
    in_query("kept", pattern="^[A-Za-z0-9_-]{1,4000}=*$"),
    in_query("notices", enum=["true", "false"]),
)
_NEEDS = ("consent:read", "log:read")
_FAILS = problems(*READING, "404", "409", "500")
DESCRIBED: dict[str, Any] = {
    "/v1/contacts/{id}/consent:proof": {
        "get": served(
            "consent.proof",
            "consent",
            "The proof of a contact's consent, in one file",
            *_SHOWN,
            description="The whole chain with its proofs, as consent-chain-proof/v1. `disclose` is none, all, or names of personal fields;"
            " `old` are sizes of checkpoints kept here (one an hour) that the log is shown to go on from, `kept` is one that you kept yourself,"
            " base64url of its file; `notices` whether the texts come along.",
            needs=_NEEDS,
            answers={"200": answer("The bundle.", JSON), **_FAILS},
        )
    },
    "/v1/contacts/{id}/consent:paper": {
        "get": served(
            "consent.paper",
            "consent",
            "A contact's consent on paper",
            *_SHOWN,
            description="The chain as a PDF that a person reads, with the proof attached. Parameters as those of the proof.",
            needs=_NEEDS,
            answers={"200": answer("The PDF.", BYTES, "application/pdf"), **_FAILS},
        )
    },
    "/v1/documents/{id}/versions/{number}/certificate": {
        "get": served(
            "documents.certificate",
            "documents",
            "The certificate of authenticity of a version",
            ID,
            in_path("number", pattern="^[1-9][0-9]{0,5}$"),
            description="A signed statement with the version's SHA-256, the entry of the log that recorded it, and its proof.",
            needs=("documents:read", "log:read"),
            answers={"200": answer("The certificate.", JSON), **problems(*READING, "404", "500")},
        )
    },
    "/v1/verify": {
        "post": open_to_all(
            served(
                "verify",
                "log",
                "Verify a proof, a certificate or a document, without an account",
                description="Takes a bundle of consent, the certificate of a document (with `sha256` of the file), another certificate, or"
                " `sha256` of a file and the `log` of the firm. Nothing of it is kept.",
                body=takes(JSON),
                answers={
                    "200": answer("Whether it is proved, and why not.", JSON),
                    **problems("400", *BODY, "422", "429", "500", "503"),
                },
            )
        )
    },
}
