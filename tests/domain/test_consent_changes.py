"""What changes a consent beside the person's word: imports, time, notices, suppression."""

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.consent.events import ConsentExpired, ConsentSuperseded, ContactSuppressed, SuppressionLifted
from domain.consent.refusals import ImportNeverOverwrites, IsSuppressed, PersonMustAsk
from domain.consent.words import (
    DPV,
    STATUS_DPV,
    Channel,
    ConsentType,
    Evidence,
    InTheFuture,
    NoContactPoint,
    Status,
    Suppression,
    add_months,
    moment,
    same_point,
)
from tests.domain.chains import ADDRESS, DAY, DESK, EMAIL, EVENTS, IMPORT, NEWS, NOTICE, PERSON, T0, TERMS, Chain
from tests.shared import shared


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
