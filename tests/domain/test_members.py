from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import members
from domain.members import (
    ALL_PERMISSIONS,
    OPERATOR,
    PERMISSIONS,
    Address,
    AddressClaimed,
    AddressReleased,
    AddressTaken,
    ExceedsYourPermissions,
    Member,
    MemberAdded,
    MemberDeactivated,
    MemberEmailChanged,
    MemberIsInactive,
    MemberKeyLost,
    MemberKeyReceived,
    MemberReactivated,
    MemberRenamed,
    MemberRolesChanged,
    NoRole,
    Role,
    TooManyKeys,
    authority,
    evolve,
    evolve_address,
    permissions_of,
)
from tests.story import Story

OWNER = PERMISSIONS[Role.OWNER]
ADVISER = PERMISSIONS[Role.ADVISER]
ADDED = MemberAdded(roles=(Role.ADVISER,), name="Ann Ash", email="ann@ash.example")
OWNS = MemberAdded(roles=(Role.OWNER,), name="Ann Ash", email="ann@ash.example")
GONE = MemberDeactivated()
KEY = uuid4()
member = Story(Member(), evolve)
address = Story(Address(), evolve_address)


def test_a_member_is_added_with_roles_in_their_order_and_once_each() -> None:
    member.given().when(
        members.add, name="Ann", email="a@b.example", roles=[Role.ANALYST, Role.ADVISER, Role.ANALYST], by=OWNER
    ).then(MemberAdded(roles=(Role.ADVISER, Role.ANALYST), name="Ann", email="a@b.example"))


@pytest.mark.invariant("M2")
def test_a_member_without_a_role_is_refused() -> None:
    member.given().when(members.add, name="Ann", email="a@b.example", roles=[], by=OWNER).then_refused(NoRole)
    member.given(ADDED).when(members.change_roles, roles=[], by=OWNER).then_refused(NoRole)


@pytest.mark.invariant("M2")
def test_several_roles_add_up() -> None:
    both = permissions_of([Role.ADVISER, Role.COMPLIANCE])
    assert both == PERMISSIONS[Role.ADVISER] | PERMISSIONS[Role.COMPLIANCE]
    assert both > PERMISSIONS[Role.ADVISER]


@pytest.mark.invariant("M1")
def test_nobody_gives_a_role_with_permissions_they_lack() -> None:
    by = ADVISER | {"members:write"}
    member.given().when(members.add, name="B", email="b@b.example", roles=[Role.OWNER], by=by).then_refused(ExceedsYourPermissions)
    member.given(ADDED).when(members.change_roles, roles=[Role.COMPLIANCE], by=by).then_refused(ExceedsYourPermissions)
    member.given().when(members.add, name="B", email="b@b.example", roles=[Role.ADVISER], by=by).then(
        MemberAdded(roles=(Role.ADVISER,), name="B", email="b@b.example")
    )


@pytest.mark.invariant("M1")
@pytest.mark.parametrize(
    ("decide", "data"),
    [
        (members.rename, {"name": "B"}),
        (members.change_email, {"email": "mine@evil.example"}),
        (members.change_roles, {"roles": [Role.READ_ONLY]}),
        (members.deactivate, {}),
    ],
)
def test_nobody_changes_a_member_who_has_permissions_they_lack(decide, data) -> None:
    member.given(OWNS).when(decide, by=ADVISER | {"members:write"}, **data).then_refused(ExceedsYourPermissions)


@pytest.mark.invariant("M1")
def test_nobody_brings_back_a_member_who_has_permissions_they_lack() -> None:
    member.given(OWNS, GONE).when(members.reactivate, by=ADVISER).then_refused(ExceedsYourPermissions)


@pytest.mark.invariant("M1")
@given(st.sets(st.sampled_from(sorted(ALL_PERMISSIONS))), st.lists(st.sampled_from(Role), min_size=1, max_size=6))
def test_a_grant_never_exceeds_the_one_who_gives_it(by: set[str], roles: list[Role]) -> None:
    try:
        [added] = members.add(Member(), name="B", email="b@b.example", roles=roles, by=frozenset(by))
    except ExceedsYourPermissions:
        assert not permissions_of(roles) <= by
    else:
        assert evolve(Member(), added).permissions <= by


@pytest.mark.invariant("M3")
@pytest.mark.parametrize(
    ("decide", "data"),
    [
        (members.rename, {"name": "B"}),
        (members.change_email, {"email": "b@b.example"}),
        (members.change_roles, {"roles": [Role.READ_ONLY]}),
    ],
)
def test_an_inactive_member_is_not_changed_until_reactivated(decide, data) -> None:
    member.given(ADDED, GONE).when(decide, by=OWNER, **data).then_refused(MemberIsInactive)
    assert member.given(ADDED, GONE, MemberReactivated()).when(decide, by=OWNER, **data).run()


def test_a_member_changes_name_address_and_roles() -> None:
    member.given(ADDED).when(members.rename, name="Ann Elm", by=OWNER).then(MemberRenamed(name="Ann Elm"))
    member.given(ADDED).when(members.change_email, email="ann@elm.example", by=OWNER).then(
        MemberEmailChanged(email="ann@elm.example")
    )
    member.given(ADDED).when(members.change_roles, roles=[Role.OWNER], by=OWNER).then(MemberRolesChanged(roles=(Role.OWNER,)))


@pytest.mark.invariant("M7")
def test_what_a_member_already_is_is_not_recorded_again() -> None:
    member.given(ADDED).when(members.rename, name="Ann Ash", by=OWNER).then_nothing()
    member.given(ADDED).when(members.change_email, email="ann@ash.example", by=OWNER).then_nothing()
    member.given(ADDED).when(members.change_roles, roles=[Role.ADVISER], by=OWNER).then_nothing()
    member.given(ADDED).when(members.reactivate, by=OWNER).then_nothing()
    member.given(ADDED, GONE).when(members.deactivate, by=OWNER).then_nothing()
    member.given(ADDED, MemberKeyReceived(key=KEY)).when(members.receive_key, key=KEY).then_nothing()
    member.given(ADDED).when(members.lose_key, key=KEY).then_nothing()


@pytest.mark.invariant("M5")
def test_an_inactive_member_holds_no_key_and_receives_none_also_after_coming_back() -> None:
    held = (ADDED, MemberKeyReceived(key=KEY), GONE)
    member.given(*held).when(members.receive_key, key=uuid4()).then_refused(MemberIsInactive)
    member.given(*held, MemberReactivated()).when(members.lose_key, key=KEY).then_nothing()


@pytest.mark.invariant("M6")
def test_the_keys_of_a_member_have_a_limit_and_a_lost_one_makes_room() -> None:
    full = [MemberKeyReceived(key=uuid4()) for _ in range(members.MAX_KEYS)]
    member.given(ADDED, *full).when(members.receive_key, key=KEY).then_refused(TooManyKeys)
    member.given(ADDED, *full, MemberKeyLost(key=full[3].key)).when(members.receive_key, key=KEY).then(MemberKeyReceived(key=KEY))


@pytest.mark.invariant("M4")
def test_an_address_belongs_to_one_member_until_it_is_released() -> None:
    ann, ben = uuid4(), uuid4()
    address.given().when(members.claim, member=ann).then(AddressClaimed(member=ann))
    address.given(AddressClaimed(member=ann)).when(members.claim, member=ann).then_nothing()
    address.given(AddressClaimed(member=ann)).when(members.claim, member=ben).then_refused(AddressTaken)
    address.given(AddressClaimed(member=ann)).when(members.release, member=ben).then_nothing()
    address.given(AddressClaimed(member=ann), AddressReleased(member=ann)).when(members.claim, member=ben).then(
        AddressClaimed(member=ben)
    )


def test_only_an_owner_says_who_belongs_to_the_firm_and_what_keys_it_has() -> None:
    for permission in ("members:write", "keys:write", "firm:write", "pipelines:write"):
        assert [role for role, given in PERMISSIONS.items() if permission in given] == [Role.OWNER]


def test_analysts_and_readers_see_no_personal_value_and_auditors_change_nothing() -> None:
    masked = [role for role, given in PERMISSIONS.items() if "personal:read" not in given]
    assert masked == [Role.ANALYST, Role.READ_ONLY]
    for role in (Role.AUDITOR, Role.ANALYST, Role.READ_ONLY):
        reading = PERMISSIONS[role] - {"graph:cypher"}  # a question, which writes nothing but that it was asked
        assert all(permission.endswith(":read") for permission in reading)
    assert PERMISSIONS[Role.AUDITOR] == {p for p in ALL_PERMISSIONS if p.endswith(":read")}


def test_compliance_decides_about_consent_and_holds() -> None:
    assert {"consent:write", "holds:write", "personal:read"} <= PERMISSIONS[Role.COMPLIANCE]
    assert "holds:write" not in PERMISSIONS[Role.ADVISER]


def test_every_role_has_known_permissions_and_the_owner_all() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert PERMISSIONS[Role.OWNER] == ALL_PERMISSIONS
    assert OPERATOR not in ALL_PERMISSIONS


def test_a_role_that_is_no_longer_known_gives_nothing() -> None:
    assert permissions_of(["emperor"]) == frozenset()


def test_the_operator_hands_on_all_permissions_and_others_their_own() -> None:
    assert authority(frozenset({OPERATOR})) >= ALL_PERMISSIONS
    assert authority(ADVISER) == ADVISER
