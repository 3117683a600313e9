"""Purposes and notices, and the consent of every contact: asked, given, refused, put off, withdrawn, revoked, run out, ended anew."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from commands.consent import (
    ConfirmConsent,
    DeferConsent,
    EvidenceOf,
    ExpireConsent,
    GiveConsent,
    InvalidateConsent,
    LiftSuppression,
    NoticeSeen,
    RefuseConsent,
    RenewConsent,
    RequestConsent,
    RevokeConsent,
    SupersedeConsent,
    SuppressContact,
    WithdrawConsent,
)
from commands.documents import AddDocument, NewVersion
from commands.notices import CreateNotice, PublishNotice, RetireNotice, TranslateNotice
from commands.privacy import AnswerRequest, PlaceContactHold, RequestOfPerson
from commands.purposes import AmendPurpose, DefinePurpose, MovePurpose, RetirePurpose
from commands.sendings import DecideSending
from domain.consent.words import Channel, ConsentType, Suppression
from infra.demo.names import person
from infra.demo.papers import pdf
from infra.demo.people import CONTACTS, known_since
from infra.demo.stage import Stage, Story

DPV = "https://w3id.org/dpv#"
MATERIAL = 150  # days since the second version of the privacy notice
PURPOSES: list[tuple[str, str, str, str | None]] = [
    ("marketing", "Telling people what we offer", "Marketing", None),
    ("newsletter", "The quarterly letter", "DirectMarketing", "marketing"),
    ("offers", "Offers that fit", "DirectMarketing", "marketing"),
    ("partner-offers", "Offers of our partners", "Advertising", "offers"),
    ("events", "Invitations", "ProvideEventRecommendations", "marketing"),
    ("profiling", "Offers made to measure", "Personalisation", None),
    ("care", "Looking after clients", "CustomerCare", None),
    ("health", "Arrangements for those who need more care", "CommunicationForCustomerCare", "care"),
    ("fax-bulletin", "The bulletin by fax", "Marketing", "marketing"),
]
NAMED = ("newsletter", "offers", "partner-offers", "events", "profiling", "care", "health")
ENGLISH = (
    "We keep your details to look after your loan. If you agree, we also write to you about {more}."
    " You can take your consent back at any time, as easily as you gave it."
)
GERMAN = (
    "Wir bewahren Ihre Angaben auf, um Ihr Darlehen zu betreuen. Wenn Sie einverstanden sind, schreiben wir Ihnen auch über {more}."
    " Sie können Ihre Einwilligung jederzeit so leicht widerrufen, wie Sie sie gegeben haben."
)


async def rules(stage: Stage) -> Story:
    yield (at := stage.ago(377, 9))
    for key, name, dpv, parent in PURPOSES:
        above = None if parent is None else stage.id("purpose", parent)
        await stage.make("purpose", key, DefinePurpose(key=key, name=name, dpv=DPV + dpv, parent=above), at, "fitz")
    first: dict[str, Any] = {"title": "How we use your details", "language": "en", "text": ENGLISH.format(more="rates and fairs")}
    notice = await stage.make("notice", "privacy", CreateNotice(**first, purposes=NAMED), at, "fitz")
    german = GERMAN.format(more="Zinsen und Messen")
    await stage.do(TranslateNotice(id=notice, notice_version=1, language="de", text=german), at, "fitz")
    sha = await stage.keep(pdf(["When we ring you", "", "We record calls to get the figures right."]))
    calls = AddDocument(version=NewVersion(sha256=sha, file_name="calls.pdf"), title="When we ring you", tags=["notice"])
    paper = await stage.make("document", "calls", calls, at, "fitz")
    spoken: dict[str, Any] = {"title": "When we ring you", "language": "en", "media_type": "application/pdf"}
    spoken |= {"document": paper, "sha256": sha}
    await stage.make("notice", "calls", CreateNotice(**spoken, purposes=("care", "offers")), at, "fitz")
    fair: dict[str, Any] = {
        "title": "At the fair",
        "language": "en",
        "media_type": "text/markdown",
        "text": "# Leave us your *card*.",
    }
    old = await stage.make("notice", "fair", CreateNotice(**fair, purposes=("events",)), at, "fitz")
    yield (at := stage.ago(260))
    better = AmendPurpose(id=stage.id("purpose", "newsletter"), name="The monthly letter", dpv=DPV + "DirectMarketing")
    await stage.do(better, at, "fitz")
    await stage.do(RetirePurpose(id=stage.id("purpose", "fax-bulletin")), at, "fitz")
    await stage.do(MovePurpose(id=stage.id("purpose", "events"), parent=stage.id("purpose", "newsletter")), at, "fitz")
    yield (at := stage.ago(MATERIAL + 1))
    again: dict[str, Any] = {"title": "How we use your details", "language": "en", "purposes": NAMED}
    more = ENGLISH.format(more="rates, fairs and what a computer thinks would suit you")
    await stage.do(PublishNotice(id=notice, **again, text=more, new_purposes=("profiling",)), at, "fitz")
    german = GERMAN.format(more="Zinsen, Messen und was ein Rechner für passend hält")
    await stage.do(TranslateNotice(id=notice, notice_version=2, language="de", text=german), at, "fitz")
    yield (at := stage.ago(80))
    await stage.do(PublishNotice(id=notice, **again, text=more + " Write to us or ring.", material=False), at, "fitz")
    german += " Schreiben Sie uns oder rufen Sie an."
    await stage.do(TranslateNotice(id=notice, notice_version=3, language="de", text=german), at, "fitz")
    yield (at := stage.ago(30))
    await stage.do(RetireNotice(id=old), at, "fitz")


def stories(stage: Stage) -> list[Story]:
    kinds = (
        given,
        given,
        renewed,
        refused,
        given,
        withdrawn,
        deferred,
        superseded,
        given,
        pending,
        run_out,
        implied,
        revoked,
        silenced,
    )
    return [
        *(kinds[i % len(kinds)](stage, i) for i in range(CONTACTS - 8)),
        *(confirmed(stage, i) for i in range(CONTACTS - 8, CONTACTS)),
        false_start(stage),
        explicit(stage),
        lifted(stage),
        rights(stage),
    ]


def _point(i: int) -> str:
    return "{}.{}@example.com".format(*person(i)).lower()


def _web(stage: Stage, i: int) -> dict[str, Any]:
    """What a form on the website leaves as evidence; the addresses are those RFC 5737 keeps for documentation."""
    chance = stage.chance("web", i)
    return {
        "collection_method": "web_form",
        "capture_source": "https://www.quill-harrow.example/keep-in-touch",
        "ip_address": f"192.0.2.{chance.randint(1, 254)}",
        "user_agent": "Mozilla/5.0 (Demo) Lantern/4.2",
        "contact_point": _point(i),
        "display_name": " ".join(person(i)),
        "jurisdiction": "GB",
        "legal_basis": "uk-gdpr:A6-1-a",
    }


def _terms(stage: Stage, i: int, purposes: Sequence[str], channel: Channel = Channel.EMAIL, **more: Any) -> dict[str, Any]:
    notice = NoticeSeen(id=stage.id("notice", "privacy"), language="de" if i % 6 == 0 else "en")
    values = {"id": stage.id("contact", i), "purposes": tuple(purposes), "channel": channel, "notice": notice}
    return {**values, **_web(stage, i), **more}


def _when(stage: Stage, i: int) -> datetime:
    """A day or two after the contact was recorded, or later."""
    chance = stage.chance("when", i)
    since = min(known_since(i), 372) - 15
    return stage.ago(max(2.0, since - chance.randint(0, 40)), chance.randint(8, 21), chance.randint(0, 59))


async def given(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    await stage.do(GiveConsent(**_terms(stage, i, ("newsletter", "events"))), at, "fitz")
    yield (at := at + timedelta(days=9))
    channel = (Channel.SMS, Channel.PHONE, Channel.POST, Channel.PUSH, Channel.WEB)[i % 5]
    spoken = {"collection_method": "in_person", "contact_point": "07700 900123" if channel in {"sms", "phone"} else "by the app"}
    await stage.do(GiveConsent(**_terms(stage, i, ("offers",), channel, **spoken)), at, "clementine")


async def renewed(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    await stage.do(GiveConsent(**_terms(stage, i, ("newsletter",), expires_at=at + timedelta(days=365))), at, "fitz")
    yield (at := at + timedelta(days=60))
    again = _terms(stage, i, ("newsletter",), expires_at=at + timedelta(days=365), collection_method="preference_centre")
    await stage.do(RenewConsent(**again), at, "fitz")


async def refused(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    await stage.do(RequestConsent(**_terms(stage, i, ("offers", "partner-offers")), double_opt_in=False), at, "fitz")
    yield (at := at + timedelta(days=2))
    no = {"id": stage.id("contact", i), "purposes": ("offers", "partner-offers"), "channel": "email", "collection_method": "letter"}
    await stage.do(RefuseConsent.model_validate(no), at, "fitz")


async def withdrawn(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    await stage.do(GiveConsent(**_terms(stage, i, ("newsletter", "offers", "events"))), at, "fitz")
    yield (at := at + timedelta(days=40))
    if i % 2:
        gone = WithdrawConsent(id=stage.id("contact", i), purposes=("newsletter",), collection_method="one_click_unsubscribe")
    else:
        gone = WithdrawConsent(id=stage.id("contact", i), collection_method="phone_call", remark="Too many letters.")
    await stage.do(gone, at, "fitz")


async def deferred(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    asked = RequestConsent(**_terms(stage, i, ("events",)), double_opt_in=False, answer_within_hours=8760)
    await stage.do(asked, at, "fitz")
    yield (at := at + timedelta(days=3))
    later = {"id": stage.id("contact", i), "purposes": ("events",), "channel": "email", "remark": "Asks again after the harvest."}
    await stage.do(DeferConsent.model_validate(later), at, "clementine")


async def superseded(stage: Stage, i: int) -> Story:
    """Given on the first version of the notice; the second gave profiling another meaning."""
    yield (at := _when(stage, i))
    await stage.do(GiveConsent(**_terms(stage, i, ("profiling", "newsletter"))), at, "fitz")
    yield (at := max(at, stage.ago(MATERIAL - 20)))
    if i % 2:
        await stage.do(SupersedeConsent(id=stage.id("contact", i), notice=stage.id("notice", "privacy")), at, "fitz")


async def pending(stage: Stage, i: int) -> Story:
    """Asked by double opt-in in the last days, and not yet confirmed."""
    yield (at := stage.ago(2 + i % 4, 12, i % 60))
    await stage.do(RequestConsent(**_terms(stage, i, ("newsletter",))), at, "fitz")


async def confirmed(stage: Stage, i: int) -> Story:
    """Asked a day or two ago; the link in the message was followed today."""
    yield (at := stage.ago(i % 2, 12, i % 60))
    asked = await stage.do(RequestConsent(**_terms(stage, i, ("offers", "events")), resend=True), at, "fitz")
    web = _web(stage, i)
    seen = {name: web[name] for name in ("ip_address", "user_agent", "contact_point")}
    confirm = ConfirmConsent(id=stage.id("contact", i), token=asked.shown_once["token"], collection_method="double_opt_in", **seen)
    await stage.do(confirm, at + timedelta(hours=1), "operator")


async def run_out(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    short = _terms(stage, i, ("newsletter", "care"), expires_at=at + timedelta(days=30))
    await stage.do(GiveConsent(**short), at, "fitz")
    if i % 3:
        yield (at := at + timedelta(days=34))
        await stage.do(ExpireConsent(id=stage.id("contact", i)), at, "operator")


async def implied(stage: Stage, i: int) -> Story:
    """An inquiry or a purchase implies consent for a while, where the law says so."""
    yield (at := _when(stage, i))
    because = {"implied_by": "inquiry" if i % 2 else "purchase", "consent_type": ConsentType.IMPLIED}
    casl = {"legal_basis": "ca-casl:10-9-a", "jurisdiction": "CA", "notice": None, **because}
    await stage.do(GiveConsent(**{**_terms(stage, i, ("offers",)), **casl}), at, "fitz")


async def revoked(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    await stage.do(GiveConsent(**_terms(stage, i, ("partner-offers", "newsletter"))), at, "fitz")
    yield (at := at + timedelta(days=30))
    end = {
        "id": stage.id("contact", i),
        "purposes": ("partner-offers",),
        "channel": "email",
        "remark": "We parted with the partner.",
    }
    await stage.do(RevokeConsent.model_validate(end), at, "fitz")


async def silenced(stage: Stage, i: int) -> Story:
    yield (at := _when(stage, i))
    await stage.do(GiveConsent(**_terms(stage, i, ("newsletter",))), at, "fitz")
    yield (at := at + timedelta(days=12))
    id = stage.id("contact", i)
    why = tuple(Suppression)[i // 14 % len(Suppression)]
    if why is Suppression.BOUNCE:
        stop = SuppressContact(
            id=id, reason=why, channel=Channel.EMAIL, contact_point=_point(i), collection_method="provider_feedback"
        )
    elif why is Suppression.INVALID_ADDRESS:
        stop = SuppressContact(id=id, reason=why, channel=Channel.POST)
    else:
        stop = SuppressContact(
            id=id, reason=why, remark="As the person wished." if why in {"complaint", "global_opt_out"} else None
        )
    await stage.do(stop, at, "fitz")


async def lifted(stage: Stage) -> Story:
    """A full mailbox bounced for a week; a complaint was taken back in writing."""
    yield (at := stage.ago(70))
    bounce = {"id": stage.id("contact", 1), "reason": "bounce", "channel": "email", "contact_point": _point(1)}
    await stage.do(SuppressContact.model_validate(bounce), at, "operator")
    complaint = {"id": stage.id("contact", 4), "reason": "complaint", "channel": "sms"}
    await stage.do(SuppressContact.model_validate(complaint), at, "fitz")
    yield (at := stage.ago(62))
    await stage.do(LiftSuppression.model_validate(bounce), at, "fitz")
    letter = await stage.keep(b"I should like your messages again, please.\n")
    proof = EvidenceOf(sha256=letter, media_type="text/plain")
    await stage.do(LiftSuppression.model_validate({**complaint, "evidence": (proof,)}), at, "fitz")


async def false_start(stage: Stage) -> Story:
    """A consent that never was valid: the form had been filled in by a neighbour."""
    yield (at := stage.ago(110))
    await stage.do(GiveConsent(**_terms(stage, 8, ("care",))), at, "fitz")
    yield (at := stage.ago(100))
    wrong = {"id": stage.id("contact", 8), "purposes": ("care",), "channel": "email", "remark": "Filled in by a neighbour."}
    await stage.do(InvalidateConsent.model_validate(wrong), at, "fitz")


async def explicit(stage: Stage) -> Story:
    """Health is a special category: it needs consent in so many words, on paper."""
    yield (at := stage.ago(130))
    paper = await stage.keep(pdf(["I agree that you note how best to speak with me.", "", "Signed at Port Quillon"]))
    words = {"consent_type": ConsentType.EXPLICIT, "legal_basis": "uk-gdpr:A9-2-a", "collection_method": "paper"}
    proof = {"evidence": (EvidenceOf(sha256=paper, media_type="application/pdf"),), "contact_point": "1 Lantern Row, Ambermouth"}
    await stage.do(GiveConsent(**_terms(stage, 17, ("health",), Channel.POST, **words, **proof)), at, "fitz")


async def rights(stage: Stage) -> Story:
    """What people ask about their data, a hold that keeps some of it, and a letter that went to those who may get it."""
    yield (at := stage.ago(40))
    asked = await stage.do(RequestOfPerson(id=stage.id("contact", 9), kind="access", ground="uk-gdpr", received_at=at), at, "fitz")
    await stage.do(AnswerRequest(id=stage.id("contact", 9), request=asked.body["request"]), at + timedelta(days=3), "fitz")
    yield (at := stage.ago(12))
    await stage.do(PlaceContactHold(id=stage.id("contact", 3), reason="A complaint before the ombudsman"), at, "fitz")
    await stage.do(RequestOfPerson(id=stage.id("contact", 3), kind="erase", ground="uk-gdpr", received_at=at), at, "fitz")
    letter = DecideSending(
        purpose="newsletter",
        channel=Channel.EMAIL,
        contacts=tuple(stage.id("contact", i) for i in range(20)),
        message="autumn-letter",
    )
    await stage.do(letter, at + timedelta(hours=1), "fitz")
