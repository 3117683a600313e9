from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import ValidationError

from commands.consent import (
    ConfirmConsent,
    DeferConsent,
    ExpireConsent,
    GiveConsent,
    InvalidateConsent,
    LiftSuppression,
    RefuseConsent,
    RenewConsent,
    RequestConsent,
    RevokeConsent,
    SupersedeConsent,
    SuppressContact,
    WithdrawConsent,
)
from commands.contacts import CreateContact
from commands.kernel import COMMANDS, Actor, Command, Work
from commands.notices import CreateNotice, PublishNotice, RetireNotice, TranslateNotice
from commands.purposes import AmendPurpose, DefinePurpose, MovePurpose, RetirePurpose
from domain.consent.events import (
    ConsentConfirmed,
    ConsentExpired,
    ConsentGiven,
    ConsentInvalidated,
    ConsentRequested,
    ConsentWithdrawn,
)
from domain.consent.refusals import ImportNeverOverwrites, TokenUsed
from domain.consent.words import InTheFuture
from domain.kernel import NotFound
from domain.notices import NoticeNamesOthers, NoticeOutdated
from domain.purposes import PurposeIsRetired
from tests.desk import Desk

DIRECT = "https://w3id.org/dpv#DirectMarketing"
PERSON = Actor("person", "p")


class Office(Desk):
    """A firm with a tree of purposes, a notice that names them, and contacts."""

    contact: UUID
    notice: UUID
    ids: dict[str, UUID]

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str] = []

    @classmethod
    async def open(cls) -> "Office":
        office = cls()
        office.ids = {}
        for key, parent in (("marketing", None), ("news", "marketing"), ("events", "marketing"), ("advice", None)):
            above = str(office.ids[parent]) if parent else None
            done = await office.do(DefinePurpose.model_validate({"key": key, "name": key.title(), "dpv": DIRECT, "parent": above}))
            office.ids[key] = UUID(done["id"])
        done = await office.do(
            CreateNotice(title="Privacy", language="en", text="We write.", purposes=("marketing", "news", "events", "advice"))
        )
        office.notice = UUID(done["id"])
        office.contact = await office.someone()
        office.pass_time(days=1)
        return office

    async def someone(self) -> UUID:
        return UUID((await self.do(CreateContact.model_validate({"given": "Ann", "family": "Ash"})))["id"])

    def new_secret(self) -> str:
        self.tokens.append(super().new_secret())
        return self.tokens[-1]

    async def say(self, model: type[Command], **how: Any) -> list[Any]:
        terms = {"notice": {"id": str(self.notice)}} if "notice" in model.model_fields and model is not SupersedeConsent else {}
        values = {"id": str(self.contact), **terms, **how}
        who = {"actor": values.pop("actor")} if "actor" in values else {}
        return (await self.do(model.model_validate_json(_json(values)), **who))["events"]

    def chain(self, contact: UUID | None = None) -> list[Any]:
        return [r for r in self.record if r.stream_type == "consent" and r.stream_id == (contact or self.contact)]


def _json(values: dict[str, Any]) -> bytes:
    return orjson.dumps(values)


NEWS = {"purposes": ["news"], "channel": "email"}


@pytest.mark.invariant("CN1")
async def test_the_chain_links_every_event_to_the_hash_of_the_one_before() -> None:
    office = await Office.open()
    await office.say(GiveConsent, **NEWS)
    await office.say(GiveConsent, purposes=["events"], channel="sms")
    office.pass_time(days=1)
    await office.say(WithdrawConsent)
    links = office.chain()
    assert [r.event.seq for r in links] == [1, 2, 3, 4]
    assert [r.event.prev for r in links] == [None, *[r.event_id.hex for r in links[:-1]]]


async def test_nobody_consents_who_is_not_a_contact_here() -> None:
    office = await Office.open()
    with pytest.raises(NotFound):
        await office.say(GiveConsent, id=str(uuid4()), **NEWS)


@pytest.mark.invariant("CN7")
async def test_an_act_is_recorded_with_the_time_it_took_place() -> None:
    office = await Office.open()
    then = office.now - timedelta(hours=3)
    (given,) = await office.say(GiveConsent, **NEWS, occurred_at=then)
    assert given.effective_from == office.record[-1].occurred_at == then
    with pytest.raises(InTheFuture):
        await office.say(WithdrawConsent, occurred_at=office.now + timedelta(days=2))


async def test_the_event_names_the_purpose_the_notice_and_who_acted() -> None:
    office = await Office.open()
    await office.do(AmendPurpose(id=office.ids["news"], name="Newsletter", dpv=DIRECT))
    (given,) = await office.say(
        GiveConsent,
        **NEWS,
        actor=PERSON,
        collection_method="web_form",
        capture_source="signup page",
        ip_address="2001:db8::1",
        user_agent="Browser/1",
        display_name="Ann",
        remark="ticked the box",
        evidence=[{"sha256": "ab" * 32, "media_type": "image/png"}],
    )
    assert isinstance(given, ConsentGiven)
    assert [(p.key, p.dpv, p.purpose_version) for p in given.purposes] == [("news", DIRECT, 2)]
    assert given.notice is not None
    assert (given.notice.id, given.notice.version, given.notice.language) == (office.notice, 1, "en")
    assert (given.controller, given.actor, given.ip_address) == (office.firm, "person", "2001:db8::1")


@pytest.mark.invariant("CN14")
@pytest.mark.invariant("CN2")
async def test_a_double_opt_in_shows_its_token_once_and_confirms_with_it_once() -> None:
    office = await Office.open()
    (asked,) = await office.say(RequestConsent, **NEWS, contact_point="Ann@Example.org")
    (token,) = office.tokens
    assert isinstance(asked, ConsentRequested)
    assert token not in repr(asked)
    assert asked.contact_point_ref is not None
    (given,) = await office.say(ConfirmConsent, token=token, actor=PERSON, ip_address="192.0.2.1")
    assert isinstance(given, ConsentConfirmed)
    assert given.double_opt_in.requested_event == asked.record_id
    with pytest.raises(TokenUsed):
        await office.say(ConfirmConsent, token=token)


async def test_the_token_reaches_the_caller_and_nobody_else() -> None:
    office = await Office.open()
    spec = COMMANDS["consent.request"]
    work = Work(outside=office, firm=office.firm, actor=PERSON, now=office.now, command_id="c")
    c = RequestConsent.model_validate_json(
        _json(
            {
                "id": office.contact,
                "purposes": ["news"],
                "channel": "email",
                "contact_point": "a@b.example",
                "notice": {"id": office.notice},
            }
        )
    )
    answer = await spec.handler(c, work)
    assert work.shown_once == {"token": office.tokens[-1]}
    assert office.tokens[-1] not in repr(answer)


async def test_a_contact_point_has_one_reference_however_it_is_spelt_and_none_in_common_with_another_contact() -> None:
    office = await Office.open()
    refs = []
    for contact, point in (
        (office.contact, "Ann@Example.org "),
        (office.contact, "ann@example.org"),
        (await office.someone(), "ann@example.org"),
    ):
        (event,) = await office.say(SuppressContact, id=str(contact), reason="bounce", channel="email", contact_point=point) or (
            None,
        )
        refs.append(event.contact_point_ref if event else None)
    assert refs[0] is not None
    assert refs[1] is None  # the same address: suppressed already
    assert refs[2] not in {None, refs[0]}


async def test_a_request_is_not_confirmed_when_its_purpose_or_notice_is_no_longer_what_was_asked() -> None:
    office = await Office.open()
    await office.say(RequestConsent, **NEWS, contact_point="a@b.example")
    await office.do(
        PublishNotice(id=office.notice, title="P", language="en", text="New.", purposes=("news",), new_purposes=("news",))
    )
    with pytest.raises(NoticeOutdated):
        await office.say(ConfirmConsent, token=office.tokens[-1])
    await office.say(RequestConsent, **NEWS, contact_point="a@b.example", resend=True)
    await office.do(RetirePurpose(id=office.ids["news"]))
    with pytest.raises(PurposeIsRetired):
        await office.say(ConfirmConsent, token=office.tokens[-1])


@pytest.mark.invariant("CN4")
async def test_a_withdrawal_goes_down_the_tree_and_a_grant_does_not() -> None:
    office = await Office.open()
    await office.say(GiveConsent, purposes=["marketing"], channel="email")
    await office.say(GiveConsent, **NEWS)
    await office.say(GiveConsent, purposes=["advice"], channel="email")
    assert [[p.key for p in r.event.purposes] for r in office.chain()] == [["marketing"], ["news"], ["advice"]]
    office.pass_time(hours=1)
    (withdrawn,) = await office.say(WithdrawConsent, purposes=["marketing"], channel="email")
    assert isinstance(withdrawn, ConsentWithdrawn)
    assert {p.key for p in withdrawn.purposes} == {"marketing", "news", "events"}


async def test_a_withdrawal_follows_the_tree_as_it_is() -> None:
    office = await Office.open()
    await office.do(MovePurpose(id=office.ids["advice"], parent=office.ids["news"]))
    (withdrawn,) = await office.say(WithdrawConsent, purposes=["news"], channel="email")
    assert {p.key for p in withdrawn.purposes} == {"news", "advice"}


async def test_a_notice_must_name_the_purposes() -> None:
    office = await Office.open()
    done = await office.do(CreateNotice(title="Other", language="en", text="x", purposes=("advice",)))
    with pytest.raises(NoticeNamesOthers):
        await office.say(GiveConsent, **NEWS, notice={"id": done["id"]})
    with pytest.raises(NotFound):
        await office.say(GiveConsent, **NEWS, notice={"id": str(uuid4())})


@pytest.mark.invariant("CN6")
async def test_what_comes_from_an_import_is_known_by_its_origin() -> None:
    office = await Office.open()
    await office.say(WithdrawConsent, purposes=["news"], channel="email")
    c = GiveConsent.model_validate_json(_json({"id": office.contact, **NEWS}))
    with pytest.raises(ImportNeverOverwrites):
        await office.do(c, origin="import/7")
    await office.do(
        GiveConsent.model_validate_json(_json({"id": office.contact, "purposes": ["events"], "channel": "email"})),
        origin="import/7",
    )
    assert office.chain()[-1].event.import_batch == "import/7"


@pytest.mark.invariant("CN8")
async def test_expiries_are_noted_each_at_its_own_time() -> None:
    office = await Office.open()
    ends = [office.now + timedelta(days=n) for n in (3, 2)]
    await office.say(GiveConsent, **NEWS, expires_at=ends[0])
    await office.say(GiveConsent, purposes=["events"], channel="sms", expires_at=ends[1])
    office.pass_time(days=9)
    noted = await office.say(ExpireConsent)
    assert all(isinstance(e, ConsentExpired) for e in noted)
    assert [r.occurred_at for r in office.chain()[-2:]] == [ends[1], ends[0]]
    assert await office.say(ExpireConsent) == []


@pytest.mark.invariant("CN10")
async def test_a_material_version_supersedes_from_its_publication() -> None:
    office = await Office.open()
    await office.say(GiveConsent, purposes=["news", "advice"], channel="email")
    await office.say(GiveConsent, purposes=["news"], channel="sms")
    office.pass_time(days=1)
    names = ("marketing", "news", "events", "advice")
    await office.do(PublishNotice(id=office.notice, title="P", language="en", text="New.", purposes=names, new_purposes=("news",)))
    published = office.now
    office.pass_time(days=1)
    ended = await office.say(SupersedeConsent, notice=str(office.notice))
    assert [(e.channel, [p.key for p in e.purposes], e.effective_from) for e in ended] == [
        ("email", ["news"], published),
        ("sms", ["news"], published),
    ]
    assert await office.say(SupersedeConsent, notice=str(office.notice)) == []


async def test_invalidation_reaches_every_grant_named() -> None:
    office = await Office.open()
    await office.say(GiveConsent, **NEWS)
    office.pass_time(days=1)
    await office.say(GiveConsent, purposes=["events"], channel="email")
    office.pass_time(days=1)
    ended = await office.say(InvalidateConsent, purposes=["news", "events"], channel="email", remark="minor")
    assert [type(e) for e in ended] == [ConsentInvalidated] * 2


async def test_every_act_repeated_records_nothing_more() -> None:
    office = await Office.open()
    repeatable: list[tuple[type[Command], dict[str, Any]]] = [
        (GiveConsent, NEWS),
        (RenewConsent, {**NEWS, "occurred_at": office.now + timedelta(hours=1)}),
        (RevokeConsent, {**NEWS, "occurred_at": office.now + timedelta(hours=2)}),
        (RefuseConsent, {"purposes": ["events"], "channel": "email"}),
        (WithdrawConsent, {"purposes": ["advice"], "channel": "email"}),
        (SuppressContact, {"reason": "bounce", "channel": "email"}),
        (LiftSuppression, {"reason": "bounce", "channel": "email"}),
    ]
    for model, how in repeatable:
        assert len(await office.say(model, **how)) == 1, model
        assert await office.say(model, **how) == [], model
    await office.say(RequestConsent, purposes=["marketing"], channel="post", double_opt_in=False)
    assert len(await office.say(DeferConsent, purposes=["marketing"], channel="post")) == 1
    assert await office.say(DeferConsent, purposes=["marketing"], channel="post") == []


async def test_notices_are_translated_and_retired() -> None:
    office = await Office.open()
    await office.do(TranslateNotice(id=office.notice, notice_version=1, language="de", text="Wir schreiben."))
    (given,) = await office.say(GiveConsent, **NEWS, notice={"id": str(office.notice), "language": "de"})
    assert given.notice.language == "de"
    await office.do(RetireNotice(id=office.notice))
    assert (await office.do(RetireNotice(id=office.notice)))["events"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"purposes": []},
        {"purposes": ["News Letter"]},
        {"purposes": ["p"] * 101},
        {"channel": "fax"},
        {"legal_basis": "because"},
        {"jurisdiction": "Germany"},
        {"ip_address": "300.1.1.1"},
        {"occurred_at": "2026-01-01T00:00:00"},
        {"evidence": [{"sha256": "AB", "media_type": "image/png"}]},
        {"remark": "\u0000"},
        {"unknown": 1},
    ],
)
def test_malformed_acts_are_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        GiveConsent.model_validate_json(_json({"id": str(uuid4()), **NEWS, **wrong}))


def test_a_suppressed_contact_point_names_its_channel() -> None:
    with pytest.raises(ValidationError):
        SuppressContact.model_validate_json(_json({"id": str(uuid4()), "reason": "bounce", "contact_point": "a@b.example"}))
