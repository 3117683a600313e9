from datetime import timedelta
from uuid import UUID

from commands.consent import (
    ConfirmConsent,
    ExpireConsent,
    GiveConsent,
    LiftSuppression,
    RequestConsent,
    SupersedeConsent,
    SuppressContact,
    WithdrawConsent,
)
from commands.notices import PublishNotice, RetireNotice, TranslateNotice
from commands.purposes import AmendPurpose, MovePurpose, RetirePurpose
from domain.consent.words import Channel, Status, Suppression
from projections.consent import CONSENT_EVENTS, CONSENTS, SUPPRESSIONS, ConsentRow, consent_key, suppression_key
from projections.notices import NOTICE_TEXTS, NOTICES, text_key
from projections.purposes import PURPOSES
from queries.consent import suppressed_by
from tests.commands.test_consent import DIRECT, NEWS, Office


def row(office: Office, purpose: str = "news", channel: Channel = Channel.EMAIL, contact: UUID | None = None) -> ConsentRow:
    found: ConsentRow = office.rows(CONSENTS)[consent_key(contact or office.contact, purpose, channel)]
    return found


async def test_a_consent_stands_as_it_was_given() -> None:
    office = await Office.open()
    end = office.now + timedelta(days=30)
    await office.say(GiveConsent, **NEWS, contact_point="ann@example.org", jurisdiction="DE", expires_at=end)
    r = row(office)
    assert (r.contact, r.purpose, r.dpv, r.purpose_version, r.channel) == (office.contact, "news", DIRECT, 1, "email")
    assert (r.status, r.since, r.expires_at, r.legal_basis, r.jurisdiction) == ("given", office.now, end, "eu-gdpr:A6-1-a", "DE")
    assert (r.notice, r.notice_version, r.notice_language) == (office.notice, 1, "en")
    assert (r.contact_point, r.double_opt_in, r.last_event, r.last_seq) == ("ann@example.org", False, "consent.Given.v1", 1)


async def test_what_happens_to_one_purpose_or_contact_leaves_the_others_untouched() -> None:
    office = await Office.open()
    other = await office.someone()
    await office.say(GiveConsent, **NEWS)
    await office.say(GiveConsent, purposes=["advice"], channel="email")
    await office.say(GiveConsent, id=str(other), **NEWS)
    before = row(office, "advice"), row(office, contact=other)
    office.pass_time(days=1)
    await office.say(WithdrawConsent, purposes=["marketing"], channel="email")
    assert (row(office).status, row(office).since) == ("withdrawn", office.now)
    assert row(office, "events").status == "withdrawn"
    assert (row(office, "advice"), row(office, contact=other)) == before


async def test_a_double_opt_in_is_seen_from_the_request_to_the_confirmation() -> None:
    office = await Office.open()
    await office.say(RequestConsent, **NEWS, contact_point="ann@example.org", answer_within_hours=48)
    r = row(office)
    assert (r.status, r.request_expires_at, r.expires_at) == ("requested", office.now + timedelta(hours=48), None)
    await office.say(ConfirmConsent, token=office.tokens[-1])
    r = row(office)
    assert (r.status, r.double_opt_in, r.request_expires_at) == ("given", True, None)
    assert r.contact_point_ref is not None


async def test_a_late_withdrawal_does_not_hide_what_was_given_after_it() -> None:
    office = await Office.open()
    await office.say(GiveConsent, **NEWS)
    office.pass_time(days=5)
    await office.say(GiveConsent, **NEWS, legal_basis="eu-gdpr:A9-2-a", consent_type="dpv:ExplicitlyExpressedConsent")
    await office.say(WithdrawConsent, **NEWS, occurred_at=office.now - timedelta(days=2))
    r = row(office)
    assert (r.status, r.since, r.last_event) == ("renewed", office.now, "consent.Withdrawn.v1")
    assert [m.status for m in r.marks] == [Status.GIVEN, Status.WITHDRAWN, Status.RENEWED]


async def test_a_row_says_what_was_recorded_last_until_its_end_is_noted() -> None:
    """What time has ended is worked out when the row is read."""
    office = await Office.open()
    end = office.now + timedelta(days=3)
    await office.say(GiveConsent, **NEWS, expires_at=end)
    office.pass_time(days=9)
    assert (row(office).status, row(office).expires_at) == ("given", end)
    await office.say(ExpireConsent)
    assert (row(office).status, row(office).since) == ("expired", end)


async def test_a_superseded_consent_says_so() -> None:
    office = await Office.open()
    await office.say(GiveConsent, **NEWS)
    office.pass_time(days=1)
    await office.do(
        PublishNotice(id=office.notice, title="P", language="en", text="New.", purposes=("news",), new_purposes=("news",))
    )
    await office.say(SupersedeConsent, notice=str(office.notice))
    assert (row(office).status, row(office).notice_version) == ("superseded", 1)


async def test_a_suppression_stays_on_view_when_it_is_lifted_and_others_stay_active() -> None:
    office = await Office.open()
    await office.say(SuppressContact, reason="bounce", channel="email")
    await office.say(SuppressContact, reason="legal")
    office.pass_time(days=1)
    await office.say(LiftSuppression, reason="bounce", channel="email")
    rows = office.rows(SUPPRESSIONS)
    bounce = rows[suppression_key(office.contact, Suppression.BOUNCE, Channel.EMAIL, None)]
    legal = rows[suppression_key(office.contact, Suppression.LEGAL, None, None)]
    assert (bounce.active, bounce.since) == (False, office.now)
    assert (legal.active, legal.channel) == (True, None)
    consent = {"channel": "email", "contact_point_ref": None}
    assert suppressed_by(consent, [{"reason": "legal", "channel": None, "contact_point_ref": None}]) == ["legal"]
    assert suppressed_by(consent, [{"reason": "bounce", "channel": "sms", "contact_point_ref": None}]) == []


async def test_every_link_of_a_chain_is_a_row() -> None:
    office = await Office.open()
    await office.say(RequestConsent, **NEWS, contact_point="ann@example.org", ip_address="192.0.2.1", remark="at the fair")
    await office.say(ConfirmConsent, token=office.tokens[-1])
    await office.say(SuppressContact, reason="complaint")
    links = sorted(office.rows(CONSENT_EVENTS).values(), key=lambda x: x.seq)
    asked, given, silenced = links
    assert [x.seq for x in links] == [1, 2, 3]
    assert [x.prev for x in links] == [None, *[r.event_id.hex for r in office.chain()[:2]]]
    assert (asked.type, asked.status, asked.purposes, asked.ip_address, asked.remark) == (
        "consent.Requested.v1",
        "requested",
        ("news",),
        "192.0.2.1",
        "at the fair",
    )
    assert (given.requested_event, given.confirmed_at, given.notice) == (asked.record_id, office.now, office.notice)
    assert (silenced.reason, silenced.channel, silenced.status) == ("complaint", None, None)


async def test_a_purpose_keeps_all_its_versions_and_its_neighbour_stays_as_it_was() -> None:
    office = await Office.open()
    before = office.rows(PURPOSES)[office.ids["events"]]
    await office.do(AmendPurpose(id=office.ids["news"], name="Newsletter", dpv=DIRECT, description="Monthly"))
    await office.do(MovePurpose(id=office.ids["news"], parent=office.ids["advice"]))
    await office.do(RetirePurpose(id=office.ids["news"]))
    r = office.rows(PURPOSES)[office.ids["news"]]
    assert (r.key, r.name, r.parent, r.purpose_version, r.retired, r.retired_at) == (
        "news",
        "Newsletter",
        office.ids["advice"],
        2,
        True,
        office.now,
    )
    assert [(v.number, v.name) for v in r.versions] == [(1, "News"), (2, "Newsletter")]
    assert office.rows(PURPOSES)[office.ids["events"]] == before


async def test_a_notice_keeps_all_its_versions_and_texts() -> None:
    office = await Office.open()
    await office.do(TranslateNotice(id=office.notice, notice_version=1, language="de", text="Wir schreiben."))
    await office.do(
        PublishNotice(id=office.notice, title="Privacy 2", language="en", text="New.", material=False, purposes=("news",))
    )
    await office.do(RetireNotice(id=office.notice))
    r = office.rows(NOTICES)[office.notice]
    assert (r.title, r.notice_version, r.languages, r.purposes, r.retired) == ("Privacy 2", 2, ("en",), ("news",), True)
    assert [(v.number, v.languages) for v in r.versions] == [(1, ("en", "de")), (2, ("en",))]
    texts = office.rows(NOTICE_TEXTS)
    assert {t.text for t in texts.values()} == {"We write.", "Wir schreiben.", "New."}
    assert texts[text_key(office.notice, 1, "de")].sha256 == r.versions[0].sha256[1]
