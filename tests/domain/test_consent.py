from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain import consent
from domain.consent.events import (
    ConsentConfirmed,
    ConsentDeferred,
    ConsentGiven,
    ConsentInvalidated,
    ConsentRefused,
    ConsentRequested,
    ConsentRevoked,
    ConsentWithdrawn,
)
from domain.consent.refusals import (
    ConsentStands,
    EndsBeforeItBegins,
    ImpliedIsNoConsent,
    ImpliedIsUndated,
    MustBeExplicit,
    NoLiveRequest,
    NotGiven,
    NothingAsked,
    NothingToWithdraw,
    NoticeMissing,
    NotImplied,
    RequestHasExpired,
    RequestIsPending,
    TokenNeedsAddress,
    TokenUnknown,
    TokenUsed,
)
from domain.consent.words import Channel, ConsentType, Status, token_digest
from tests.domain.chains import ADDRESS, CASL, DAY, EVENTS, IMPORT, NEWS, NOTICE, T0, TERMS, TOKEN, Chain


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
    assert isinstance(given, ConsentConfirmed)
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
    assert isinstance(renewed, ConsentConfirmed)
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
    assert isinstance(renewed, ConsentGiven)
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
    assert isinstance(given, ConsentGiven)
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
    assert isinstance(again, ConsentGiven)
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
