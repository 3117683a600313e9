"""What a firm asks for a person over HTTP: the links to their choices, a request for their consent, all that is held about them."""

from typing import Any

from infra.http.openapi.parts import BODY, BYTES, ID, JSON, READING, answer, in_query, problems, served, takes

DESCRIBED: dict[str, Any] = {
    "/v1/contacts/{id}/consent:links": {
        "post": served(
            "consent.links",
            "consent",
            "The links to a person's choices, for a message to them",
            ID,
            description="Signed links to the preference page and to unsubscribing from a purpose and channel, and the headers with which a mail"
            " lets its reader unsubscribe with one click (RFC 8058).",
            needs=("consent:write",),
            body=takes(JSON, required=False),
            answers={"200": answer("The links.", JSON), **problems(*READING, *BODY, "404", "500")},
        )
    },
    "/v1/contacts/{id}/consent:send-request": {
        "post": served(
            "consent.send_request",
            "consent",
            "Ask for consent by mail",
            ID,
            description="As `consent:request`, and the mail with the link to confirm is sent to the contact point."
            " `language` is that of the mail.",
            needs=("consent:write",),
            body=takes(JSON, required=False),
            answers={"200": answer("Recorded and sent.", JSON), **problems(*READING, *BODY, "404", "409", "500", "502")},
        )
    },
    "/v1/contacts/{id}/personal-data": {
        "get": served(
            "contacts.personal_data",
            "privacy",
            "Everything that is held about a person",
            ID,
            in_query("format", enum=["json", "csv"]),
            description="All rows and events about one person, with names beside ids: JSON, or a ZIP of CSV files.",
            needs=("privacy:read", "personal:read", "history:read"),
            answers={
                "200": {
                    "description": "The data.",
                    "content": {"application/json": {"schema": JSON}, "application/zip": {"schema": BYTES}},
                },
                **problems("400", "401", "403", "404", "429", "500", "503"),
            },
        )
    },
}
