import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import consent
from domain.consent import CONSENT, Consent
from domain.consent.events import (
    ConsentConfirmed,
    ConsentDeferred,
    ConsentExpired,
    ConsentGiven,
    ConsentInvalidated,
    ConsentRefused,
    ConsentRequested,
    ConsentRevoked,
    ConsentSuperseded,
    ConsentWithdrawn,
    ContactSuppressed,
    Event,
    SuppressionLifted,
)
from domain.consent.refusals import (
    ConsentStands,
    EndsBeforeItBegins,
    ImpliedIsNoConsent,
    ImpliedIsUndated,
    ImportNeverOverwrites,
    IsSuppressed,
    MustBeExplicit,
    NoLiveRequest,
    NotGiven,
    NothingAsked,
    NothingToWithdraw,
    NoticeMissing,
    NotImplied,
    PersonMustAsk,
    RequestHasExpired,
    RequestIsPending,
    TokenNeedsAddress,
    TokenUnknown,
    TokenUsed,
)
from domain.consent.words import (
    DPV,
    STATUS_DPV,
    Capture,
    Channel,
    ConsentType,
    Evidence,
    InTheFuture,
    Link,
    NoContactPoint,
    Notice,
    PurposeRef,
    RecordId,
    Status,
    Suppression,
    Terms,
    add_months,
    moment,
    same_point,
    token_digest,
)
from domain.kernel import Refused, fold
from tests.shared import shared

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


# --- the chain


@pytest.mark.invariant("CN1")
def test_every_event_carries_the_next_number_and_the_hash_of_the_one_before() -> None:
    chain = Chain()
    chain.ask(T0)
    chain.give(T0 + DAY)
    chain.suppress(T0 + 2 * DAY)
    chain.withdraw(T0 + 3 * DAY)
    chain.lift(T0 + 4 * DAY)
    assert [e.seq for e in chain.history] == [1, 2, 3, 4, 5]
    assert [e.prev for e in chain.history] == [None, "leaf1", "leaf2", "leaf3", "leaf4"]


@pytest.mark.invariant("CN7")
def test_an_event_takes_effect_when_the_act_took_place() -> None:
    chain = Chain()
    (given,) = chain.give(T0)
    assert given.effective_from == T0
    assert chain.stands(T0 - DAY) is Status.UNKNOWN
    assert chain.stands(T0) is Status.GIVEN


# --- asking and confirming


def test_asking_waits_for_an_answer() -> None:
    chain = Chain()
    (asked,) = chain.ask(T0)
    assert isinstance(asked, ConsentRequested)
    assert asked.token_sha256 is None
    assert chain.stands(T0) is Status.REQUESTED


@pytest.mark.invariant("CN14")
def test_a_token_is_on_the_record_only_as_a_digest_bound_to_its_address() -> None:
    chain = Chain()
    (asked,) = chain.ask(T0, token=TOKEN)
    assert isinstance(asked, ConsentRequested)
    assert asked.token_sha256 == token_digest(TOKEN, ADDRESS)
    assert asked.token_sha256 != token_digest(TOKEN, uuid4())
    assert TOKEN not in repr(asked)


def test_a_double_opt_in_without_an_address_is_refused() -> None:
    with pytest.raises(TokenNeedsAddress):
        Chain().ask(T0, token=TOKEN, terms=replace(TERMS, contact_point_ref=None))


@pytest.mark.invariant("CN2")
def test_a_confirmation_gives_what_was_asked_on_the_terms_that_were_asked() -> None:
    chain = Chain()
    (asked,) = chain.ask(T0, NEWS, EVENTS, token=TOKEN)
    (given,) = chain.confirm(T0 + DAY)
    assert isinstance(given, ConsentConfirmed)
    assert (given.purposes, given.notice, given.contact_point_ref, given.status) == ((NEWS, EVENTS), NOTICE, ADDRESS, "given")
    assert (given.double_opt_in.requested_event, given.double_opt_in.confirmed_at) == (asked.record_id, T0 + DAY)
    assert chain.stands(T0 + DAY) is chain.stands(T0 + DAY, EVENTS) is Status.GIVEN


@pytest.mark.invariant("CN2")
def test_a_token_works_once() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN)
    chain.confirm(T0 + DAY)
    with pytest.raises(TokenUsed):
        chain.confirm(T0 + DAY)
    chain.withdraw(T0 + 2 * DAY)
    with pytest.raises(TokenUsed):
        chain.confirm(T0 + 3 * DAY)


@pytest.mark.invariant("CN2")
def test_another_token_confirms_nothing() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN)
    with pytest.raises(TokenUnknown):
        chain.confirm(T0, token="u" * 32)


@pytest.mark.invariant("CN3")
def test_a_request_ends_when_its_time_is_over() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN, days=2)
    assert chain.stands(T0 + 2 * DAY - timedelta(seconds=1)) is Status.REQUESTED
    assert chain.stands(T0 + 2 * DAY) is Status.EXPIRED
    with pytest.raises(RequestHasExpired):
        chain.confirm(T0 + 2 * DAY)


@pytest.mark.invariant("CN3")
def test_an_answered_request_is_not_confirmed_any_more() -> None:
    chain = Chain()
    chain.ask(T0, NEWS, EVENTS, token=TOKEN)
    chain.withdraw(T0 + DAY, NEWS, EVENTS)
    with pytest.raises(NoLiveRequest):
        chain.confirm(T0 + 2 * DAY)


def test_a_confirmation_gives_only_what_was_not_answered_otherwise() -> None:
    chain = Chain()
    chain.ask(T0, NEWS, EVENTS, token=TOKEN)
    chain.refuse(T0 + DAY, EVENTS)
    (given,) = chain.confirm(T0 + 2 * DAY)
    assert given.purposes == (NEWS,)
    assert chain.stands(T0 + 2 * DAY, EVENTS) is Status.REFUSED


@pytest.mark.invariant("CN3")
def test_asking_again_voids_the_first_request_and_is_said_in_so_many_words() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN)
    with pytest.raises(RequestIsPending):
        chain.ask(T0 + DAY, token="u" * 32)
    chain.ask(T0 + DAY, token="u" * 32, resend=True)
    with pytest.raises(NoLiveRequest):
        chain.confirm(T0 + DAY)
    assert len(chain.confirm(T0 + DAY, token="u" * 32)) == 1


def test_asking_again_leaves_a_standing_consent_alone() -> None:
    chain = Chain()
    chain.give(T0)
    chain.ask(T0 + DAY, token=TOKEN, days=2)
    assert chain.stands(T0 + DAY) is Status.GIVEN
    assert chain.stands(T0 + 5 * DAY) is Status.GIVEN
    (renewed,) = chain.confirm(T0 + 2 * DAY)
    assert renewed.status == "renewed"


def test_a_request_must_leave_time_to_answer() -> None:
    with pytest.raises(EndsBeforeItBegins):
        Chain().ask(T0, days=0)


def test_a_deferred_request_stays_open_until_its_time_is_over() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN, days=5)
    (deferred,) = chain.defer(T0 + DAY)
    assert isinstance(deferred, ConsentDeferred)
    assert chain.defer(T0 + DAY) == []
    assert chain.stands(T0 + DAY) is Status.DEFERRED
    assert chain.stands(T0 + 5 * DAY) is Status.EXPIRED
    assert len(chain.confirm(T0 + 2 * DAY)) == 1


def test_nothing_is_deferred_that_was_not_asked() -> None:
    with pytest.raises(NothingAsked):
        Chain().defer(T0)


# --- giving


@pytest.mark.invariant("CN4")
def test_a_grant_covers_the_purposes_named_over_the_channel_named() -> None:
    chain = Chain()
    chain.give(T0, NEWS)
    assert chain.stands(T0, EVENTS) is Status.UNKNOWN
    assert chain.stands(T0, NEWS, Channel.SMS) is Status.UNKNOWN


@pytest.mark.invariant("CN13")
def test_the_same_terms_given_again_record_nothing_and_others_renew() -> None:
    chain = Chain()
    chain.give(T0)
    assert chain.give(T0 + DAY) == []
    (renewed,) = chain.give(T0 + DAY, terms=replace(TERMS, notice=replace(NOTICE, version=2)))
    assert renewed.status == "renewed"
    assert chain.stands(T0 + DAY) is Status.RENEWED


def test_a_new_version_of_a_purpose_is_given_anew() -> None:
    chain = Chain()
    chain.give(T0)
    assert len(chain.give(T0 + DAY, replace(NEWS, purpose_version=2))) == 1


def test_a_renewal_needs_a_standing_consent_and_is_recorded_on_the_same_terms_too() -> None:
    chain = Chain()
    with pytest.raises(NotGiven):
        chain.give(T0, renew=True)
    chain.give(T0)
    assert chain.give(T0, renew=True) == []
    (renewed,) = chain.give(T0 + DAY, renew=True)
    assert isinstance(renewed, ConsentGiven)
    assert renewed.status == "renewed"
    assert chain.give(T0 + DAY, renew=True) == []


@pytest.mark.invariant("CN15")
def test_consent_under_the_gdpr_names_its_notice_unless_it_is_imported() -> None:
    without = replace(TERMS, notice=None)
    with pytest.raises(NoticeMissing):
        Chain().give(T0, terms=without)
    assert len(Chain().give(T0, terms=without, capture=IMPORT)) == 1


def test_special_categories_need_explicit_consent() -> None:
    basis = replace(TERMS, legal_basis="eu-gdpr:A9-2-a")
    with pytest.raises(MustBeExplicit):
        Chain().give(T0, terms=basis)
    assert len(Chain().give(T0, terms=replace(basis, consent_type=ConsentType.EXPLICIT))) == 1


@pytest.mark.invariant("CN9")
@pytest.mark.parametrize(
    ("because", "end"), [("inquiry", datetime(2026, 9, 1, 12, tzinfo=UTC)), ("purchase", datetime(2028, 3, 1, 12, tzinfo=UTC))]
)
def test_implied_consent_is_dated_by_what_implied_it(because, end) -> None:
    chain = Chain()
    (given,) = chain.give(T0, terms=replace(CASL, implied_by=because, expires_at=end + 900 * DAY))
    assert given.expires_at == end
    assert chain.stands(end - timedelta(seconds=1)) is Status.GIVEN
    assert chain.stands(end) is Status.EXPIRED


@pytest.mark.invariant("CN9")
def test_implied_consent_without_an_end_or_under_the_gdpr_is_refused() -> None:
    with pytest.raises(ImpliedIsUndated):
        Chain().give(T0, terms=CASL)
    with pytest.raises(ImpliedIsNoConsent):
        Chain().give(T0, terms=replace(CASL, legal_basis="eu-gdpr:A6-1-a", implied_by="purchase"))
    with pytest.raises(NotImplied):
        Chain().give(T0, terms=replace(TERMS, implied_by="purchase"))


def test_a_consent_can_not_end_before_it_begins() -> None:
    with pytest.raises(EndsBeforeItBegins):
        Chain().give(T0, terms=replace(TERMS, expires_at=T0))


def test_the_earlier_of_two_ends_counts() -> None:
    chain = Chain()
    chain.give(T0, terms=replace(TERMS, expires_at=T0 + 9 * DAY, effective_to=T0 + 3 * DAY))
    assert chain.stands(T0 + 3 * DAY) is Status.EXPIRED


# --- saying no


def test_a_refusal_answers_a_request_and_stands() -> None:
    chain = Chain()
    chain.ask(T0)
    (refused,) = chain.refuse(T0 + DAY)
    assert isinstance(refused, ConsentRefused)
    assert chain.stands(T0 + DAY) is Status.REFUSED
    assert chain.refuse(T0 + 2 * DAY) == []


def test_what_was_given_is_withdrawn_and_not_refused() -> None:
    chain = Chain()
    chain.give(T0)
    with pytest.raises(ConsentStands):
        chain.refuse(T0 + DAY)


def test_a_withdrawal_ends_a_consent_and_is_recorded_once() -> None:
    chain = Chain()
    chain.give(T0)
    (withdrawn,) = chain.withdraw(T0 + DAY)
    assert isinstance(withdrawn, ConsentWithdrawn)
    assert chain.stands(T0 + DAY) is Status.WITHDRAWN
    assert chain.withdraw(T0 + 2 * DAY) == []


def test_a_withdrawal_binds_even_where_nothing_was_given() -> None:
    chain = Chain()
    assert len(chain.withdraw(T0)) == 1
    assert chain.stands(T0) is Status.WITHDRAWN


def test_a_withdrawal_everywhere_goes_where_anything_was_said() -> None:
    chain = Chain()
    with pytest.raises(NothingToWithdraw):
        consent.channels_known(chain.state, (NEWS,))
    chain.give(T0, channel=Channel.SMS)
    chain.ask(T0, EVENTS, channel=Channel.POST)
    assert consent.channels_known(chain.state, (NEWS, EVENTS)) == (Channel.POST, Channel.SMS)
    assert consent.channels_known(chain.state, (NEWS,)) == (Channel.SMS,)


@pytest.mark.invariant("CN5")
def test_a_revocation_is_the_controllers_and_never_reads_as_a_withdrawal() -> None:
    chain = Chain()
    with pytest.raises(NotGiven):
        chain.revoke(T0)
    chain.give(T0)
    (revoked,) = chain.revoke(T0 + DAY)
    assert isinstance(revoked, ConsentRevoked)
    assert chain.stands(T0 + DAY) is Status.REVOKED
    assert chain.revoke(T0 + 2 * DAY) == []


@pytest.mark.invariant("CN5")
def test_a_revocation_never_covers_up_the_persons_no_even_when_the_no_comes_to_light_later() -> None:
    chain = Chain()
    chain.give(T0)
    chain.revoke(T0 + 2 * DAY)
    chain.withdraw(T0 + DAY)
    assert chain.stands(T0 + 3 * DAY) is Status.WITHDRAWN
    with pytest.raises(NotGiven):
        chain.revoke(T0 + 4 * DAY)


def test_a_revocation_takes_back_a_request() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN)
    chain.revoke(T0 + DAY)
    assert chain.stands(T0 + DAY) is Status.REVOKED
    with pytest.raises(NoLiveRequest):
        chain.confirm(T0 + 2 * DAY)


def test_a_person_who_changes_their_mind_may_give_again() -> None:
    chain = Chain()
    chain.give(T0)
    chain.withdraw(T0 + DAY)
    (again,) = chain.give(T0 + 2 * DAY)
    assert again.status == "given"
    assert chain.stands(T0 + 2 * DAY) is Status.GIVEN


@pytest.mark.invariant("CN12")
def test_an_invalidated_consent_never_was_valid() -> None:
    chain = Chain()
    chain.give(T0)
    (invalid,) = chain.invalidate(T0 + 9 * DAY)
    assert isinstance(invalid, ConsentInvalidated)
    assert invalid.effective_from == T0
    assert chain.stands(T0 + DAY) is Status.INVALIDATED
    assert chain.invalidate(T0 + 9 * DAY) == []
    with pytest.raises(NotGiven):
        chain.invalidate(T0 + 9 * DAY, EVENTS)


# --- imports


@pytest.mark.invariant("CN6")
@pytest.mark.parametrize("no", ["refuse", "withdraw"])
def test_an_import_never_overwrites_a_no(no) -> None:
    chain = Chain()
    getattr(chain, no)(T0)
    for capture in (IMPORT, replace(DESK, collection_method="import")):
        with pytest.raises(ImportNeverOverwrites) as refused:
            chain.give(T0 + DAY, NEWS, EVENTS, capture=capture)
        assert refused.value.about == {"purposes": ["newsletter"]}
        with pytest.raises(ImportNeverOverwrites):
            chain.ask(T0 + DAY, capture=capture)


@pytest.mark.invariant("CN6")
def test_a_no_that_comes_to_light_after_an_import_still_outlives_it() -> None:
    chain = Chain()
    chain.give(T0 + 2 * DAY, capture=IMPORT)
    chain.withdraw(T0 + DAY)
    assert chain.stands(T0 + 3 * DAY) is Status.WITHDRAWN
    chain.give(T0 + 4 * DAY)
    assert chain.stands(T0 + 4 * DAY) is Status.GIVEN


def test_an_import_may_tell_what_was_before_a_no_and_alters_no_standing_consent() -> None:
    chain = Chain()
    chain.withdraw(T0)
    assert len(chain.give(T0 - DAY, capture=IMPORT)) == 1
    assert chain.stands(T0) is Status.WITHDRAWN
    chain.give(T0, EVENTS)
    assert chain.give(T0 + DAY, EVENTS, terms=replace(TERMS, notice=None), capture=IMPORT) == []


# --- time


@pytest.mark.invariant("CN7")
def test_a_late_withdrawal_has_its_own_time_and_leaves_what_came_after_it() -> None:
    chain = Chain()
    chain.give(T0)
    chain.give(T0 + 4 * DAY, terms=replace(TERMS, notice=replace(NOTICE, version=2)))
    chain.withdraw(T0 + 2 * DAY)
    assert [chain.stands(T0 + n * DAY) for n in (1, 2, 3, 4)] == [
        Status.GIVEN,
        Status.WITHDRAWN,
        Status.WITHDRAWN,
        Status.RENEWED,
    ]


@pytest.mark.invariant("CN8")
def test_time_ends_a_consent_whether_noted_or_not_and_noting_gives_it_its_own_time() -> None:
    chain = Chain()
    chain.give(T0, terms=replace(TERMS, expires_at=T0 + 3 * DAY))
    assert chain.expire(T0 + 2 * DAY) == []
    assert chain.stands(T0 + 3 * DAY) is Status.EXPIRED
    (expired,) = chain.expire(T0 + 9 * DAY)
    assert isinstance(expired, ConsentExpired)
    assert (expired.effective_from, expired.purposes) == (T0 + 3 * DAY, (NEWS,))
    assert chain.expire(T0 + 9 * DAY) == []


@pytest.mark.invariant("CN8")
def test_a_late_withdrawal_outlives_the_expiry_that_was_noted_after_it() -> None:
    chain = Chain()
    chain.give(T0, terms=replace(TERMS, expires_at=T0 + 3 * DAY))
    chain.expire(T0 + 4 * DAY)
    chain.withdraw(T0 + 2 * DAY)
    assert chain.stands(T0 + 5 * DAY) is Status.WITHDRAWN


def test_expiries_are_noted_one_after_the_other_in_their_order() -> None:
    chain = Chain()
    chain.give(T0, NEWS, terms=replace(TERMS, expires_at=T0 + 5 * DAY))
    chain.ask(T0, EVENTS, days=2)
    assert [e.effective_from for e in (*chain.expire(T0 + 9 * DAY), *chain.expire(T0 + 9 * DAY))] == [T0 + 2 * DAY, T0 + 5 * DAY]
    assert chain.expire(T0 + 9 * DAY) == []


def test_a_consent_that_ends_while_the_person_is_asked_anew_is_requested_until_that_ends_too() -> None:
    chain = Chain()
    chain.give(T0, terms=replace(TERMS, expires_at=T0 + 3 * DAY))
    chain.ask(T0 + DAY, days=7)
    assert [chain.stands(T0 + n * DAY) for n in (2, 3, 8)] == [Status.GIVEN, Status.REQUESTED, Status.EXPIRED]
    assert [e.effective_from for e in chain.expire(T0 + 4 * DAY)] == [T0 + 3 * DAY]
    assert [e.effective_from for e in chain.expire(T0 + 9 * DAY)] == [T0 + 8 * DAY]
    assert chain.expire(T0 + 9 * DAY) == []


# --- notices


@pytest.mark.invariant("CN10")
def test_a_new_notice_ends_what_was_given_on_an_earlier_one_for_its_new_purposes_only() -> None:
    chain = Chain()
    chain.give(T0, NEWS, EVENTS)
    (ended,) = chain.supersede(T0 + DAY, new=("newsletter", "other"))
    assert isinstance(ended, ConsentSuperseded)
    assert (ended.purposes, ended.notice_id, ended.notice_version) == ((NEWS,), NOTICE.id, 2)
    assert chain.stands(T0 + DAY) is Status.SUPERSEDED
    assert chain.stands(T0 + DAY, EVENTS) is Status.GIVEN
    assert chain.supersede(T0 + DAY, new=("newsletter", "other")) == []


@pytest.mark.invariant("CN10")
def test_consent_on_the_new_version_or_another_notice_is_not_superseded() -> None:
    chain = Chain()
    chain.give(T0)
    assert chain.supersede(T0 + DAY, notice=uuid4()) == []
    assert chain.supersede(T0 + DAY, version=1) == []
    chain.withdraw(T0 + DAY)
    assert chain.supersede(T0 + DAY) == []


# --- suppression


@pytest.mark.invariant("CN11")
def test_nobody_who_is_suppressed_is_asked_and_a_grant_does_not_lift_it() -> None:
    chain = Chain()
    (suppressed,) = chain.suppress(T0, Suppression.GLOBAL_OPT_OUT, channel=None)
    assert isinstance(suppressed, ContactSuppressed)
    with pytest.raises(IsSuppressed):
        chain.ask(T0 + DAY)
    chain.give(T0 + DAY)
    assert chain.state.suppressed(EMAIL, ADDRESS, T0 + DAY) == (Suppression.GLOBAL_OPT_OUT,)
    assert chain.suppress(T0 + DAY, Suppression.GLOBAL_OPT_OUT, channel=None) == []


@pytest.mark.invariant("CN11")
def test_a_complaint_or_opt_out_is_lifted_only_when_the_person_asks() -> None:
    proof = replace(DESK, evidence=(Evidence(sha256="cd" * 32, media_type="message/rfc822"),))
    for reason in (Suppression.COMPLAINT, Suppression.GLOBAL_OPT_OUT):
        chain = Chain()
        chain.suppress(T0, reason)
        for who in (DESK, replace(proof, import_batch="import/7")):
            with pytest.raises(PersonMustAsk):
                chain.lift(T0 + DAY, reason, capture=who)
        (lifted,) = chain.lift(T0 + DAY, reason, capture=proof)
        assert isinstance(lifted, SuppressionLifted)
        assert chain.state.suppressed(EMAIL, None, T0 + DAY) == ()
        assert chain.state.suppressed(EMAIL, None, T0) == (reason,)
        assert chain.lift(T0 + DAY, reason, capture=PERSON) == []


def test_a_bounce_silences_one_address_of_one_channel() -> None:
    chain = Chain()
    chain.suppress(T0, to=ADDRESS)
    assert chain.state.suppressed(EMAIL, ADDRESS, T0) == (Suppression.BOUNCE,)
    assert chain.state.suppressed(EMAIL, uuid4(), T0) == ()
    assert chain.state.suppressed(Channel.SMS, ADDRESS, T0) == ()
    assert chain.lift(T0 + DAY, to=uuid4()) == []
    assert len(chain.lift(T0 + DAY, to=ADDRESS)) == 1


# --- words


def test_statuses_and_types_are_those_of_the_data_privacy_vocabulary() -> None:
    def names(file: str) -> set[str]:
        with gzip.open(shared(f"data/consent-vocabulary-dpv/{file}.jsonld.gz"), "rt", encoding="utf-8") as f:
            return {entry["@id"] for entry in json.load(f)}

    assert {DPV + name for name in STATUS_DPV.values()} <= names("consent_status")
    assert set(STATUS_DPV) == set(Status)
    assert {t.replace("dpv:", DPV) for t in ConsentType} <= names("consent_types")


@given(st.integers(0, 36_500).map(lambda days: T0 + days * DAY), st.integers(0, 60))
def test_months_later_is_the_same_day_or_the_last_of_a_shorter_month(start, months) -> None:
    later = add_months(start, months)
    assert (later.year - start.year) * 12 + later.month - start.month == months
    assert later.day == start.day or (later.day < start.day and (later + DAY).day == 1)
    assert later.timetz() == start.timetz()


def test_an_act_lies_at_most_a_day_ahead() -> None:
    assert moment(T0, None) == T0
    assert moment(T0, T0 + DAY) == T0 + DAY
    with pytest.raises(InTheFuture):
        moment(T0, T0 + DAY + timedelta(seconds=1))


def test_two_spellings_of_a_contact_point_are_one() -> None:
    assert same_point(EMAIL, "  Ann@Example.ORG ") == same_point(EMAIL, "ann@example.org")
    assert same_point(Channel.SMS, "+49 (30) 12-34") == same_point(Channel.SMS, "+493012 34") == "+49301234"
    assert same_point(Channel.POST, "1  High St\nLeeds") == "1 high st leeds"
    for channel, nothing in ((Channel.PHONE, "+ - ()"), (EMAIL, "  ")):
        with pytest.raises(NoContactPoint):
            same_point(channel, nothing)


# --- whatever happens, in whatever order

ACTS = ["ask", "confirm", "give", "refuse", "defer", "withdraw", "revoke", "invalidate", "expire", "supersede", "suppress", "lift"]
PURPOSES = st.sampled_from([(NEWS,), (EVENTS,), (NEWS, EVENTS)])
LATE = st.integers(0, 12).map(lambda hours: timedelta(hours=hours))


@st.composite
def acts(draw):
    kind = draw(st.sampled_from(ACTS))
    about = kind in {"ask", "give", "refuse", "defer", "withdraw", "revoke", "invalidate"}
    how: dict[str, object] = {}
    if about:
        how["channel"] = draw(st.sampled_from([EMAIL, Channel.SMS]))
        how["capture"] = draw(st.sampled_from([DESK, PERSON, IMPORT]))
    if kind == "ask":
        how |= {
            "token": draw(st.sampled_from([None, "a" * 32, "b" * 32])),
            "resend": draw(st.booleans()),
            "days": draw(st.integers(1, 3)),
        }
    if kind == "confirm":
        how["token"] = draw(st.sampled_from(["a" * 32, "b" * 32]))
    if kind in {"ask", "give"}:
        end = draw(st.sampled_from([None, 30, 80]))
        notice = draw(st.sampled_from([NOTICE, replace(NOTICE, version=2)]))
        how["terms"] = replace(TERMS, notice=notice, expires_at=None if end is None else T0 + timedelta(hours=end))
    if kind == "give":
        how["renew"] = draw(st.booleans())
    if kind in {"suppress", "lift"}:
        how["reason"] = draw(st.sampled_from(list(Suppression)))
        how["channel"] = draw(st.sampled_from([None, EMAIL]))
    return kind, draw(PURPOSES) if about else (), draw(LATE), how


@pytest.mark.invariant("CN1")
@pytest.mark.invariant("CN13")
@given(st.lists(acts(), max_size=14))
def test_whatever_happens_the_chain_is_whole_and_every_repetition_changes_nothing(script) -> None:
    chain = Chain()
    for hour, (kind, purposes, late, how) in enumerate(script):
        at = T0 + timedelta(hours=6 * hour) - late
        for repetition in range(20):
            before = len(chain.history)
            try:
                getattr(chain, kind)(at, *purposes, **how)
            except Refused:
                break
            if len(chain.history) == before:
                break
            if kind == "ask" and how["resend"]:
                break
            assert repetition == 0 or kind in {"expire", "supersede", "invalidate"}
        else:
            raise AssertionError(f"{kind} never comes to rest")
        assert [e.seq for e in chain.history] == list(range(1, len(chain.history) + 1))
        assert [e.prev for e in chain.history] == [f"leaf{n}" if n else None for n in range(len(chain.history))]
    end = T0 + timedelta(hours=6 * len(script) + 200)
    for pair, marks in chain.state.marks.items():
        assert [(m.since, m.seq) for m in marks] == sorted((m.since, m.seq) for m in marks)
        no_since = None
        for m in marks:
            stands = chain.state.at(*pair, m.since)
            if stands.status in {Status.REFUSED, Status.WITHDRAWN}:
                no_since = m.since
            elif no_since is not None:
                assert any(
                    not x.imported and x.status in {Status.GIVEN, Status.RENEWED} for x in marks if no_since <= x.since <= m.since
                )
            assert stands.valid is (stands.status in {Status.GIVEN, Status.RENEWED})
        assert chain.state.at(*pair, end).request is None


def test_the_state_does_not_depend_on_how_the_history_is_cut() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN)
    chain.confirm(T0 + DAY)
    chain.withdraw(T0 + 2 * DAY)
    state = Consent()
    for e in chain.history:
        state = CONSENT.evolve(state, e)
    assert state == chain.state
    assert isinstance(next(iter(state.requests)), UUID)
