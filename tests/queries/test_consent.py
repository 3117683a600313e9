import base64
import hashlib
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from commands.consent import ConfirmConsent, ExpireConsent, GiveConsent, RequestConsent, SuppressContact, WithdrawConsent
from commands.contacts import CreateContact
from commands.kernel import Actor, Command
from commands.notices import CreateNotice
from commands.purposes import DefinePurpose
from domain.consent import events, words
from domain.consent.refusals import TokenUsed
from domain.kernel import FirmId, NotFound
from infra import bootstrap
from infra.projector.engine import Projector
from infra.record import wire
from infra.record.codec import EventCodec
from projections.consent import CONSENT_EVENTS, CONSENTS, SUPPRESSIONS
from projections.contacts import CONTACTS
from projections.kernel import View
from projections.notices import NOTICE_TEXTS, NOTICES
from projections.purposes import PURPOSES
from queries.consent import ContactConsent, contact_consent

VIEWS: list[View[Any]] = [CONTACTS, CONSENTS, SUPPRESSIONS, CONSENT_EVENTS, NOTICES, NOTICE_TEXTS, PURPOSES]
ADVISER = Actor("member", str(UUID(int=1)))


class Office:
    """A firm in a real database."""

    def __init__(self, c: bootstrap.Chancery) -> None:
        self.c = c
        self.firm = FirmId(uuid4())

    async def do(self, model: type[Command], **how: Any) -> Any:
        command = model.model_validate_json(orjson.dumps(how))
        return await self.c.executor.execute(command, firm=self.firm, actor=ADVISER)

    def project(self) -> None:
        with self.c.database.connect("record") as connection:
            wire.register(connection)
            projector = Projector(self.c.database, self.c.vault, VIEWS)
            projector.prepare(connection)
            projector.catch_up(connection, threading.Event())

    async def read(self, contact: str, *permissions: str, firm: FirmId | None = None, **how: Any) -> Any:
        async with self.c.readers.reading(firm or self.firm, frozenset(permissions)) as r:
            return await contact_consent(ContactConsent(id=UUID(contact), **how), r)

    async def leaves(self, contact: str) -> list[bytes]:
        async with self.c.readers.reading(self.firm) as r:
            rows = await r.all(
                "SELECT public FROM record.events WHERE firm_id = %(firm)s AND stream_id = %(id)s AND stream_type = 'consent'"
                " ORDER BY stream_version",
                id=UUID(contact),
            )
        return [bytes(row["public"]) for row in rows]

    async def furnish(self) -> tuple[str, str]:
        """A contact, and a notice that names `news`, which stands below `marketing`."""
        dpv = "https://w3id.org/dpv#DirectMarketing"
        above = (await self.do(DefinePurpose, key="marketing", name="Marketing", dpv=dpv)).body["id"]
        await self.do(DefinePurpose, key="news", name="News", dpv=dpv, parent=above)
        notice = (await self.do(CreateNotice, title="Privacy", language="en", text="We write.", purposes=["news"])).body["id"]
        contact = (await self.do(CreateContact, given="Ann", family="Ash")).body["id"]
        return contact, notice


@pytest.mark.invariant("CN1")
@pytest.mark.invariant("CN14")
async def test_a_contacts_consent_is_read_back_with_its_chain_as_it_stands_on_the_record(settings) -> None:
    async with bootstrap.opened(settings) as c:
        office = Office(c)
        contact, notice = await office.furnish()
        news = {"id": contact, "purposes": ["news"], "channel": "email", "notice": {"id": notice}}
        asked = await office.do(RequestConsent, **news, contact_point="Ann@Example.org", ip_address="192.0.2.7")
        token = asked.shown_once["token"]
        assert token not in str(asked.body)
        await office.do(ConfirmConsent, id=contact, token=token)
        with pytest.raises(TokenUsed):
            await office.do(ConfirmConsent, id=contact, token=token)
        end = datetime.now(UTC) - timedelta(days=1)
        late = {"occurred_at": end - timedelta(days=30), "expires_at": end}
        sms = {**news, "channel": "sms", "notice": None, "import_batch": "import/1", **late}
        await office.do(GiveConsent, **sms)
        await office.do(SuppressContact, id=contact, reason="bounce", channel="email", contact_point="ann@example.org")
        office.project()

        told = await office.read(contact, "personal:read")
        (branch,) = told["purposes"]
        email, mobile = branch["channels"]
        assert (branch["purpose"], email["channel"], email["status"], email["double_opt_in"]) == ("news", "email", "given", True)
        assert (email["valid"], email["suppressed_by"]) == (False, ["bounce"])
        assert email["status_dpv"] == "https://w3id.org/dpv#ConsentGiven"
        assert (email["notice"], email["notice_version"], email["contact_point"]) == (UUID(notice), 1, "Ann@Example.org")
        assert (mobile["status"], mobile["valid"]) == ("expired", False)
        assert [e["seq"] for e in told["events"]] == [1, 2, 3, 4]
        assert told["events"][0]["ip_address"] == "192.0.2.7"
        assert [s["reason"] for s in told["suppressions"]] == ["bounce"]

        leaves = await office.leaves(contact)
        hashes = [base64.b64encode(hashlib.sha256(b"\x00" + leaf).digest()).decode() for leaf in leaves]
        data = [orjson.loads(leaf)["data"] for leaf in leaves]
        assert [d.get("prev") for d in data] == [None, *hashes[:-1]]
        assert [d["seq"] for d in data] == [1, 2, 3, 4]
        public = b"".join(leaves)
        assert all(secret not in public for secret in (token.encode(), b"xample.org", b"192.0.2.7"))
        assert [len(d.get("_sd", ())) for d in data] == [2, 0, 0, 1]

        masked = await office.read(contact, page_size=2)
        assert masked["events"][0]["ip_address"] is None
        assert masked["purposes"][0]["channels"][0]["contact_point"] is None
        assert masked["next_after_seq"] == 2
        assert [e["seq"] for e in (await office.read(contact, after_seq=2, page_size=2))["events"]] == [3, 4]


async def test_a_contact_without_consent_has_an_empty_chain_and_a_foreign_one_is_not_found(settings) -> None:
    async with bootstrap.opened(settings) as c:
        office = Office(c)
        contact, notice = await office.furnish()
        office.project()
        told = await office.read(contact)
        assert (told["purposes"], told["events"], told["suppressions"]) == ([], [], [])
        await office.do(GiveConsent, id=contact, purposes=["news"], channel="email", notice={"id": notice})
        office.project()
        for firm, id in ((FirmId(uuid4()), contact), (office.firm, str(uuid4()))):
            with pytest.raises(NotFound):
                await office.read(id, firm=firm)


@pytest.mark.invariant("CN7")
async def test_rows_written_in_pieces_are_those_written_at_once(settings) -> None:
    async with bootstrap.opened(settings) as c:
        office = Office(c)
        contact, _ = await office.furnish()
        start = datetime.now(UTC) - timedelta(days=10)
        news = {"id": contact, "purposes": ["news"], "channel": "email"}
        acts: list[tuple[type[Command], dict[str, Any]]] = [
            (GiveConsent, {**news, "import_batch": "import/1", "occurred_at": start, "expires_at": start + timedelta(days=5)}),
            (ExpireConsent, {"id": contact}),
            (WithdrawConsent, {**news, "occurred_at": start + timedelta(days=1)}),
            (GiveConsent, {**news, "import_batch": "import/2", "occurred_at": start - timedelta(days=1)}),
        ]
        for model, how in acts:
            await office.do(model, **how)
            office.project()
        (channel,) = (await office.read(contact))["purposes"][0]["channels"]
        assert (channel["status"], channel["since"], channel["last_seq"]) == ("withdrawn", start + timedelta(days=1), 4)


def test_every_event_of_consent_survives_its_stored_form() -> None:
    about: dict[str, Any] = {
        "record_id": uuid4(),
        "seq": 2,
        "prev": "x",
        "controller": uuid4(),
        "actor": "person",
        "effective_from": datetime(2026, 3, 1, tzinfo=UTC),
        "collection_method": "paper",
        "evidence": (words.Evidence(sha256="ab" * 32, media_type="image/png"),),
        "ip_address": "192.0.2.1",
        "remark": "r",
    }
    purposes: dict[str, Any] = {
        "purposes": (words.PurposeRef(key="news", dpv="d", purpose_version=1),),
        "channel": words.Channel.SMS,
    }
    terms: dict[str, Any] = {
        "consent_type": words.ConsentType.IMPLIED,
        "legal_basis": "ca-casl:10-9-a",
        "notice": words.Notice(id=uuid4(), version=1, language="en", sha256="cd" * 32),
        "contact_point_ref": uuid4(),
        "implied_by": "purchase",
        "expires_at": datetime(2028, 3, 1, tzinfo=UTC),
    }
    opted = words.DoubleOptIn(requested_event=words.RecordId(uuid4()), confirmed_at=datetime(2026, 3, 1, tzinfo=UTC))
    samples: list[Any] = [
        events.ConsentRequested(**about, **purposes, **terms, answer_by=datetime(2026, 4, 1, tzinfo=UTC), token_sha256="ef" * 32),
        events.ConsentConfirmed(**about, **purposes, **terms, status="renewed", double_opt_in=opted),
        events.ConsentGiven(**about, **purposes, **terms, status="given"),
        *(
            cls(**about, **purposes)
            for cls in (
                events.ConsentRefused,
                events.ConsentDeferred,
                events.ConsentWithdrawn,
                events.ConsentRevoked,
                events.ConsentExpired,
                events.ConsentInvalidated,
            )
        ),
        events.ConsentSuperseded(**about, **purposes, notice_id=uuid4(), notice_version=2),
        events.ContactSuppressed(**about, reason=words.Suppression.BOUNCE, channel=words.Channel.EMAIL, contact_point_ref=uuid4()),
        events.SuppressionLifted(**about, reason=words.Suppression.LEGAL),
    ]
    for sample in samples:
        codec = EventCodec("x", type(sample))
        data, disclosures = codec.encode(sample, uuid4())
        assert {d.purpose for d in disclosures} == {"statutory"}
        assert not {"ip_address", "remark"} & set(data)
        disclosed = {}
        for d in disclosures:
            _, name, value = orjson.loads(base64.urlsafe_b64decode(d.text + "=" * (-len(d.text) % 4)))
            disclosed[name] = value
        assert codec.decode(orjson.loads(orjson.dumps(data)), disclosed) == sample
        erased = codec.decode(data, {})
        assert (erased.ip_address, erased.remark, erased.seq) == (None, None, 2)
