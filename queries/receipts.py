"""Receipts of consent: what a person is given to keep, in the words of ISO/IEC TS 27560 (as DPV JSON-LD) and of Kantara's receipt 1.1.

RC1  A receipt says what the chain's event says, and nothing else; it names the event, so that its proof can be asked for.
RC2  What is personal stands in it only for those who may see it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain.consent.words import DPV, STATUS_DPV, Status
from domain.kernel import Invalid, NotFound
from queries.kernel import Query, Reader, query

LINK_SQL = (
    "SELECT e.*, f.name AS firm_name, f.region FROM views.consent_events e LEFT JOIN views.firms f ON f.firm_id = %(firm)s"
    " WHERE e.firm_id = %(firm)s AND e.contact = %(contact)s AND e.seq = %(seq)s"
)
NAMES_SQL = "SELECT key, name, description FROM views.purposes WHERE firm_id = %(firm)s AND key = ANY(%(keys)s)"
CONTEXT = {
    "dpv": DPV,
    "dct": "http://purl.org/dc/terms/",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
METHODS = {"web_form": "Web form", "preference_centre": "Preference centre", "double_opt_in": "Web form, confirmed by email"}


class NoReceipt(Invalid):
    """A receipt is given for a consent that was asked, given, refused, withdrawn or ended. This event of the chain is another."""


class ReadReceipt(Query):
    id: UUID
    seq: Annotated[int, Field(ge=1, le=2**53 - 1)]
    format: Literal["dpv", "kantara"] = "dpv"


@query(
    "consent.receipt",
    "GET /contacts/{id}/consent/receipts/{seq}",
    permission="consent:read",
    title="The receipt of a consent",
    views=("consent_events", "purposes", "firms"),
)
async def receipt(q: ReadReceipt, r: Reader) -> object:
    """The receipt of one event of a contact's chain, by its `seq`: as ISO/IEC TS 27560 in DPV JSON-LD, or as Kantara's consent receipt 1.1."""
    row = await r.one(LINK_SQL, contact=q.id, seq=q.seq)
    if row is None:
        raise NotFound(kind="consent_event", id=str(q.id))
    if row["status"] is None or not row["purposes"]:
        raise NoReceipt
    names = {p["key"]: p for p in await r.all(NAMES_SQL, keys=list(row["purposes"]))}
    personal = "personal:read" in r.permissions
    return _kantara(row, names, personal=personal) if q.format == "kantara" else _dpv(row, names, personal=personal)


def _time(moment: datetime | None) -> dict[str, str] | None:
    return None if moment is None else {"@type": "xsd:dateTime", "@value": moment.isoformat()}


def _dpv(row: Mapping[str, Any], names: Mapping[str, Mapping[str, Any]], *, personal: bool) -> dict[str, Any]:
    status = STATUS_DPV[Status(row["status"])]
    notice = None
    if row["notice"] is not None:
        notice = {
            "@type": "dpv:ConsentNotice",
            "dct:identifier": str(row["notice"]),
            "dct:hasVersion": str(row["notice_version"]),
            "dct:language": row["notice_language"],
            "dpv:hasHash": row["notice_sha256"],
        }
    made: dict[str, Any] = {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{row['record_id']}",
        "@type": ["dpv:ConsentRecord", "dpv:ConsentReceipt"],
        "dct:identifier": str(row["record_id"]),
        "dct:conformsTo": "ISO/IEC TS 27560:2023",
        "dct:issued": _time(row["recorded_at"]),
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": f"consent/{row['contact']}"},
        "dpv:hasDataController": {
            "@type": "dpv:DataController",
            "dct:identifier": str(row["controller"]),
            "dct:title": row["firm_name"],
        },
        "dpv:hasProcess": [
            {
                "@type": "dpv:Process",
                "dpv:hasPurpose": {
                    "@type": ref["dpv"].replace(DPV, "dpv:"),
                    "dct:identifier": ref["key"],
                    "dct:title": names.get(ref["key"], {}).get("name"),
                    "dct:description": names.get(ref["key"], {}).get("description"),
                    "dct:hasVersion": str(ref["purpose_version"]),
                },
                "dpv:hasServiceProvision": row["channel"],
            }
            for ref in row["purpose_refs"]
        ],
        "dpv:hasConsentStatus": {
            "@type": f"dpv:{status}",
            "dpv:isIndicatedAtTime": _time(row["effective_from"]),
            "dpv:isIndicatedBy": row["actor"],
            "dpv:hasIndicationMethod": METHODS.get(row["collection_method"] or "", row["collection_method"]),
        },
        "dpv:hasLegalBasis": row["legal_basis"],
        "dpv:hasConsentType": row["consent_type"],
        "dpv:hasJurisdiction": row["jurisdiction"],
        "dpv:hasNotice": notice,
        "dpv:hasExpiryTime": _time(row["expires_at"] or row["effective_to"]),
        "dpv:hasRecordOfActivity": {"dct:identifier": str(row["id"]), "chancery:seq": row["seq"], "chancery:prev": row["prev"]},
    }
    if personal and row["contact_point"]:
        made["dpv:hasDataSubject"]["dpv:hasContact"] = row["contact_point"]
    return _without_nothing(made)


def _kantara(row: Mapping[str, Any], names: Mapping[str, Mapping[str, Any]], *, personal: bool) -> dict[str, Any]:
    """The members of the Kantara Initiative's Consent Receipt Specification 1.1, section 4."""
    given = Status(row["status"]) in {Status.GIVEN, Status.RENEWED}
    made: dict[str, Any] = {
        "version": "KI-CR-v1.1.0",
        "jurisdiction": row["jurisdiction"] or row["region"],
        "consentTimestamp": int(row["effective_from"].timestamp()),
        "collectionMethod": METHODS.get(row["collection_method"] or "", row["collection_method"] or "not recorded"),
        "consentReceiptID": str(row["record_id"]),
        "language": row["notice_language"] or "en",
        "piiPrincipalId": (row["contact_point"] if personal else None) or f"consent/{row['contact']}",
        "piiControllers": [{"piiController": row["firm_name"], "onBehalf": False, "contact": str(row["controller"])}],
        "policyUrl": f"urn:uuid:{row['notice']}:{row['notice_version']}:{row['notice_language']}" if row["notice"] else None,
        "services": [
            {
                "service": row["channel"],
                "purposes": [
                    {
                        "purpose": names.get(ref["key"], {}).get("name") or ref["key"],
                        "purposeCategory": [ref["dpv"]],
                        "consentType": "EXPLICIT" if row["consent_type"] == "dpv:ExplicitlyExpressedConsent" else "EXPRESSED"
                        if row["consent_type"] == "dpv:ExpressedConsent" else "IMPLICIT" if row["consent_type"] else row["status"].upper(),
                        "piiCategory": ["contact"],
                        "primaryPurpose": False,
                        "termination": row["expires_at"].isoformat() if row["expires_at"] else "until withdrawn" if given else row["status"],
                        "thirdPartyDisclosure": "Sell" in ref["dpv"],
                    }
                    for ref in row["purpose_refs"]
                ],
            }
        ],
        "sensitive": row["legal_basis"] in {"eu-gdpr:A9-2-a", "uk-gdpr:A9-2-a"},
        "spiCat": [],
    }  # fmt: skip
    return _without_nothing(made)


def _without_nothing(value: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_nothing(v) if isinstance(v, dict) else v for k, v in value.items() if v is not None}
