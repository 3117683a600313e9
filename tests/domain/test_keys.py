from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain import keys
from domain.kernel import FirmId
from domain.keys import (
    ExpiryNotAcceptable,
    Key,
    KeyExceedsYourPermissions,
    KeyId,
    KeyIsMistyped,
    KeyIssued,
    KeyRenamed,
    KeyRevoked,
    KeyRolesChanged,
    KeyRotated,
    NotAKey,
    OverlapNotAcceptable,
    PastItsEnd,
    Revocation,
    RevokedForGood,
    ScopeExceedsRole,
    evolve,
)
from tests.story import Story

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
FIRM, ID = FirmId(uuid4()), KeyId(uuid4())
NAME = keys.public_id(FIRM, ID)
SECRET = "7Kq2mW9xT4vB8nR3sL6dF1gH5jP0cZ"
GRANTED = frozenset({"deals:read", "deals:write", "contacts:read"})
ISSUED = KeyIssued(name="Till", public_id=NAME, sha256=keys.digest(SECRET), roles=("adviser",))
ENDING = KeyIssued(
    name="Till", public_id=NAME, sha256="0" * 64, roles=("adviser",), scopes=("deals:read",), expires_at=NOW + timedelta(days=30)
)
REVOKED = KeyRevoked(reason=Revocation.LEAKED)
key = Story(Key(), evolve)
ISSUE = {
    "name": "Till",
    "public_id": NAME,
    "sha256": keys.digest(SECRET),
    "roles": ("adviser",),
    "granted": GRANTED,
    "by": GRANTED,
    "now": NOW,
}
ROTATE = {"sha256": "1" * 64, "granted": GRANTED, "by": GRANTED, "now": NOW}

uuids = st.integers(0, 2**128 - 1).map(lambda n: UUID(int=n))
secrets = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=27, max_size=64)


@given(uuids, uuids, secrets)
def test_a_key_is_read_back_as_it_was_composed(firm: UUID, id: UUID, secret: str) -> None:
    parsed = keys.parse(keys.compose(keys.public_id(FirmId(firm), KeyId(id)), secret))
    assert (parsed.firm, parsed.key, parsed.secret) == (firm, id, secret)


@pytest.mark.invariant("AK2")
@given(st.data())
def test_one_wrong_character_is_told_as_a_mistyped_key(data: st.DataObject) -> None:
    text = keys.compose(NAME, SECRET)
    at = data.draw(st.integers(4, len(text) - 1))
    other = data.draw(st.sampled_from("0123456789abcdef"))
    assume(text[at] not in {other, "_"})
    with pytest.raises(KeyIsMistyped):
        keys.parse(text[:at] + other + text[at + 1 :])


@pytest.mark.invariant("AK2")
@given(st.integers(4, 120))
def test_two_neighbours_exchanged_are_told_as_a_mistyped_key(at: int) -> None:
    text = keys.compose(NAME, SECRET)
    assume(at + 1 < len(text) - 9 and text[at] != text[at + 1] and "_" not in text[at : at + 2])
    with pytest.raises(KeyIsMistyped):
        keys.parse(text[:at] + text[at + 1] + text[at] + text[at + 2 :])


@pytest.mark.parametrize(
    "text",
    ["", "chy_", "chy_a_b_c", "Bearer x", keys.compose(NAME, SECRET) + "\n", keys.compose(NAME, SECRET)[4:], "chy_" + "é" * 90],
    ids=["nothing", "prefix", "parts", "scheme", "newline", "no-prefix", "accents"],
)
def test_what_does_not_have_the_form_of_a_key_is_told_so(text: str) -> None:
    with pytest.raises(NotAKey):
        keys.parse(text)


@given(st.text(max_size=150))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(NotAKey):
        keys.parse(text)


def test_a_public_id_beyond_two_ids_is_not_a_key() -> None:
    with pytest.raises(NotAKey):
        keys.parse(keys.compose("z" * 43, SECRET))


def test_a_short_secret_makes_no_key() -> None:
    with pytest.raises(ValueError, match="27"):
        keys.compose(NAME, "a" * 26)


@pytest.mark.invariant("AK1")
def test_the_parts_of_a_key_are_printed_without_the_secret() -> None:
    assert SECRET not in repr(keys.parse(keys.compose(NAME, SECRET)))
    assert SECRET not in str(keys.parse(keys.compose(NAME, SECRET)))


def test_a_secret_is_checked_against_its_digest() -> None:
    assert keys.check(SECRET, keys.digest(SECRET))
    assert not keys.check(SECRET[:-1] + "x", keys.digest(SECRET))


def test_a_key_is_issued_for_all_its_role_gives() -> None:
    key.given().when(keys.issue, **ISSUE).then(ISSUED)


def test_scopes_are_recorded_in_order_and_once_each() -> None:
    [e] = key.given().when(keys.issue, **ISSUE, scopes=["deals:write", "deals:read", "deals:write"]).run()
    assert e.scopes == ("deals:read", "deals:write")


@pytest.mark.invariant("AK3")
def test_scopes_beyond_the_role_are_refused() -> None:
    key.given().when(keys.issue, **{**ISSUE, "by": GRANTED | {"keys:write"}}, scopes=["deals:read", "keys:write"]).then_refused(
        ScopeExceedsRole
    )


@pytest.mark.invariant("AK3")
@given(st.frozensets(st.sampled_from("abcdef")), st.none() | st.frozensets(st.sampled_from("abcdef")))
def test_a_key_is_never_good_for_more_than_its_roles_give(granted: frozenset[str], scopes: frozenset[str] | None) -> None:
    good = keys.good_for(granted, scopes)
    assert good <= granted
    assert scopes is None or good <= scopes


@pytest.mark.invariant("AK4")
def test_nobody_issues_a_key_that_is_good_for_more_than_they_are() -> None:
    less = GRANTED - {"deals:write"}
    key.given().when(keys.issue, **{**ISSUE, "by": less}).then_refused(KeyExceedsYourPermissions)
    key.given().when(keys.issue, **{**ISSUE, "by": less}, scopes=["deals:write"]).then_refused(KeyExceedsYourPermissions)
    assert key.given().when(keys.issue, **{**ISSUE, "by": less}, scopes=["deals:read"]).run()


@pytest.mark.invariant("AK4")
def test_nobody_rotates_a_key_that_is_good_for_more_than_they_are() -> None:
    less = {**ROTATE, "by": frozenset({"deals:read"})}
    key.given(ISSUED).when(keys.rotate, **less).then_refused(KeyExceedsYourPermissions)
    assert key.given(ENDING).when(keys.rotate, **less).run()


@pytest.mark.invariant("AK6")
@pytest.mark.parametrize("end", [timedelta(0), timedelta(seconds=-1), timedelta(days=732)])
def test_a_key_ends_in_the_future_and_within_two_years(end: timedelta) -> None:
    key.given().when(keys.issue, **ISSUE, expires_at=NOW + end).then_refused(ExpiryNotAcceptable)
    key.given(ISSUED).when(keys.rotate, **ROTATE, expires_at=NOW + end).then_refused(ExpiryNotAcceptable)


def test_a_rotated_key_keeps_its_end_unless_another_is_given() -> None:
    key.given(ENDING).when(keys.rotate, **ROTATE).then(KeyRotated(sha256="1" * 64, expires_at=ENDING.expires_at))
    later = NOW + timedelta(days=400)
    key.given(ENDING).when(keys.rotate, **ROTATE, expires_at=later, overlap=timedelta(hours=2)).then(
        KeyRotated(sha256="1" * 64, previous_until=NOW + timedelta(hours=2), expires_at=later)
    )


def test_an_overlap_of_more_than_seven_days_is_refused() -> None:
    key.given(ISSUED).when(keys.rotate, **ROTATE, overlap=timedelta(days=8)).then_refused(OverlapNotAcceptable)


@pytest.mark.invariant("AK5")
def test_a_revoked_key_is_neither_rotated_nor_renamed() -> None:
    key.given(ISSUED, REVOKED).when(keys.rotate, **ROTATE).then_refused(RevokedForGood)
    key.given(ISSUED, REVOKED).when(keys.rename, name="Other").then_refused(RevokedForGood)


@pytest.mark.invariant("AK5")
def test_a_key_past_its_end_is_not_rotated_back_to_life() -> None:
    key.given(ENDING).when(keys.rotate, **{**ROTATE, "now": ENDING.expires_at}).then_refused(PastItsEnd)


def test_a_key_is_renamed_and_revoked() -> None:
    key.given(ISSUED).when(keys.rename, name="Shop").then(KeyRenamed(name="Shop"))
    key.given(ISSUED).when(keys.revoke, reason=Revocation.LEAKED).then(REVOKED)


@pytest.mark.invariant("AK7")
def test_what_a_key_already_is_is_not_recorded_again() -> None:
    key.given(ISSUED).when(keys.rename, name="Till").then_nothing()
    key.given(ISSUED).when(keys.change_roles, roles=("adviser",)).then_nothing()
    key.given(ISSUED, REVOKED).when(keys.revoke, reason=Revocation.REPLACED).then_nothing()
    key.given(ISSUED, REVOKED).when(keys.change_roles, roles=("owner",)).then_nothing()


def test_a_key_follows_the_roles_of_its_member() -> None:
    key.given(ISSUED).when(keys.change_roles, roles=("read-only",)).then(KeyRolesChanged(roles=("read-only",)))
