"""A chain of consent in the making, for tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from domain import consent
from domain.consent import CONSENT, Consent
from domain.consent.events import Event
from domain.consent.words import DPV, Capture, Channel, ConsentType, Link, Notice, PurposeRef, RecordId, Status, Suppression, Terms
from domain.kernel import fold

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EMAIL = Channel.EMAIL
NEWS = PurposeRef(key="newsletter", dpv=DPV + "DirectMarketing", purpose_version=1)
EVENTS = PurposeRef(key="events", dpv=DPV + "Marketing", purpose_version=1)
NOTICE = Notice(id=uuid4(), version=1, language="en", sha256="ab" * 32)
ADDRESS = uuid4()
TERMS = Terms(consent_type=ConsentType.EXPRESSED, legal_basis="eu-gdpr:A6-1-a", notice=NOTICE, contact_point_ref=ADDRESS)
CASL = Terms(consent_type=ConsentType.IMPLIED, legal_basis="ca-casl:10-9-a", jurisdiction="CA")
DESK = Capture(controller=uuid4(), actor="member")
PERSON = replace(DESK, actor="person")
IMPORT = replace(DESK, import_batch="import/7")
TOKEN = "t" * 32


class Chain:
    """A chain of consent in the making: each act is linked to the one before as a command would link it."""

    def __init__(self) -> None:
        self.history: list[Event] = []

    @property
    def state(self) -> Consent:
        return fold(CONSENT.initial, CONSENT.evolve, self.history)

    def _do(self, decide, at, capture, how) -> list[Event]:
        prev = f"leaf{len(self.history)}" if self.history else None
        events = decide(self.state, Link(at=at, capture=capture, record_id=RecordId(uuid4()), prev=prev), **how)
        assert len(events) <= 1
        self.history += events
        return events

    def _about(self, decide, at, *purposes, channel=EMAIL, capture=DESK, **how) -> list[Event]:
        return self._do(decide, at, capture, {"purposes": purposes or (NEWS,), "channel": channel, **how})

    def ask(self, at, *purposes, token=None, resend=False, days=7, terms=TERMS, **how) -> list[Event]:
        until = at + days * DAY
        return self._about(consent.request, at, *purposes, token=token, resend=resend, answer_by=until, terms=terms, **how)

    def confirm(self, at, token=TOKEN) -> list[Event]:
        return self._do(consent.confirm, at, PERSON, {"token": token})

    def give(self, at, *purposes, terms=TERMS, renew=False, **how) -> list[Event]:
        return self._about(consent.give, at, *purposes, terms=terms, renew=renew, **how)

    def refuse(self, at, *purposes, **how) -> list[Event]:
        return self._about(consent.refuse, at, *purposes, **how)

    def defer(self, at, *purposes, **how) -> list[Event]:
        return self._about(consent.defer, at, *purposes, **how)

    def withdraw(self, at, *purposes, **how) -> list[Event]:
        return self._about(consent.withdraw, at, *purposes, **how)

    def revoke(self, at, *purposes, **how) -> list[Event]:
        return self._about(consent.revoke, at, *purposes, **how)

    def invalidate(self, at, *purposes, **how) -> list[Event]:
        return self._about(consent.invalidate, at, *purposes, **how)

    def expire(self, at, capture=DESK) -> list[Event]:
        return self._do(consent.expire, at, capture, {})

    def supersede(self, at, version=2, new=("newsletter",), notice=NOTICE.id) -> list[Event]:
        how = {"notice_id": notice, "version": version, "new_purposes": frozenset(new)}
        return self._do(consent.supersede, at, DESK, how)

    def suppress(self, at, reason=Suppression.BOUNCE, channel=EMAIL, to=None, capture=DESK) -> list[Event]:
        return self._do(consent.suppress, at, capture, {"reason": reason, "channel": channel, "contact_point_ref": to})

    def lift(self, at, reason=Suppression.BOUNCE, channel=EMAIL, to=None, capture=DESK) -> list[Event]:
        return self._do(consent.lift, at, capture, {"reason": reason, "channel": channel, "contact_point_ref": to})

    def stands(self, at, purpose=NEWS, channel=EMAIL) -> Status:
        return self.state.at(purpose.key, channel, at).status
