from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from commands.firms import CreateFirm
from commands.keys import IssueKey
from commands.members import (
    AddMember,
    ChangeMemberEmail,
    ChangeMemberRoles,
    DeactivateMember,
    ReactivateMember,
    RenameMember,
)
from domain.firms import LastOwner, OwnerAdded, OwnerRemoved
from domain.kernel import NotFound
from domain.keys import KeyRevoked, KeyRolesChanged, Revocation
from domain.members import (
    PERMISSIONS,
    AddressClaimed,
    AddressReleased,
    AddressTaken,
    ExceedsYourPermissions,
    MemberDeactivated,
    MemberEmailChanged,
    MemberRolesChanged,
    Role,
)
from projections.firms import FIRMS
from tests.desk import Desk

OWNER = PERMISSIONS[Role.OWNER]


class Office(Desk):
    """A firm with its first owner, Ann."""

    ann: UUID

    @classmethod
    async def open(cls) -> "Office":
        office = cls()
        done = await office.do(CreateFirm(name="Ash", owner_name="Ann", owner_email="ann@ash.example"))
        office.ann = UUID(done["owner"])
        return office

    async def add(self, email: str, *roles: Role) -> UUID:
        done = await self.do(AddMember(name="Somebody", email=email, roles=roles), permissions=OWNER)
        return UUID(done["id"])

    async def key_of(self, member: UUID) -> UUID:
        done = await self.do(IssueKey(name="Till", member=member), permissions=OWNER)
        return UUID(done["id"])

    def owners(self) -> tuple[UUID, ...]:
        owners: tuple[UUID, ...] = self.rows(FIRMS)[self.firm].owners
        return owners


@pytest.mark.invariant("F3")
async def test_the_last_active_owner_is_neither_deactivated_nor_given_another_role() -> None:
    office = await Office.open()
    for command in (DeactivateMember(id=office.ann), ChangeMemberRoles(id=office.ann, roles=[Role.ADVISER])):
        before = len(office.record)
        with pytest.raises(LastOwner):
            await office.do(command, permissions=OWNER)
        assert len(office.record) == before


@pytest.mark.invariant("F3")
async def test_an_inactive_owner_does_not_count_as_one() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.OWNER)
    done = await office.do(DeactivateMember(id=ben), permissions=OWNER)
    assert done["events"] == [MemberDeactivated(), OwnerRemoved(member=ben)]
    with pytest.raises(LastOwner):
        await office.do(DeactivateMember(id=office.ann), permissions=OWNER)
    done = await office.do(ReactivateMember(id=ben), permissions=OWNER)
    assert done["events"][-1] == OwnerAdded(member=ben)
    await office.do(DeactivateMember(id=office.ann), permissions=OWNER)
    assert office.owners() == (ben,)


async def test_a_member_who_becomes_owner_or_ceases_to_be_is_counted_in_the_same_command() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    done = await office.do(ChangeMemberRoles(id=ben, roles=[Role.OWNER, Role.ADVISER]), permissions=OWNER)
    assert done["events"] == [MemberRolesChanged(roles=(Role.OWNER, Role.ADVISER)), OwnerAdded(member=ben)]
    done = await office.do(ChangeMemberRoles(id=ben, roles=[Role.ADVISER]), permissions=OWNER)
    assert done["events"][-1] == OwnerRemoved(member=ben)
    assert office.owners() == (office.ann,)


@pytest.mark.invariant("M4")
async def test_an_address_in_another_spelling_is_the_same_address() -> None:
    office = await Office.open()
    with pytest.raises(AddressTaken):
        await office.add("ANN@Ash.Example", Role.ADVISER)


@pytest.mark.invariant("M4")
async def test_the_address_of_an_inactive_member_stays_theirs() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    await office.do(DeactivateMember(id=ben), permissions=OWNER)
    with pytest.raises(AddressTaken):
        await office.add("ben@ash.example", Role.ADVISER)


async def test_a_changed_address_is_free_for_others_again() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    done = await office.do(ChangeMemberEmail(id=ben, email="ben@elm.example"), permissions=OWNER)
    assert done["events"] == [MemberEmailChanged(email="ben@elm.example"), AddressClaimed(member=ben), AddressReleased(member=ben)]
    assert await office.add("ben@ash.example", Role.ADVISER)
    with pytest.raises(AddressTaken):
        await office.add("ben@elm.example", Role.ADVISER)


async def test_a_new_spelling_of_an_address_is_recorded_and_keeps_the_claim() -> None:
    office = await Office.open()
    done = await office.do(ChangeMemberEmail(id=office.ann, email="Ann@Ash.example"), permissions=OWNER)
    assert done["events"] == [MemberEmailChanged(email="Ann@Ash.example")]


async def test_no_stream_id_tells_the_address() -> None:
    one, other = await Office.open(), await Office.open()
    claims = [{r.stream_id for r in o.record if r.stream_type == "member_address"} for o in (one, other)]
    assert not claims[0] & claims[1]


@pytest.mark.invariant("M5")
async def test_deactivating_a_member_revokes_every_key_of_theirs_and_no_other() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    held = {await office.key_of(ben), await office.key_of(ben)}
    await office.key_of(office.ann)
    await office.do(DeactivateMember(id=ben, remark="Left"), permissions=OWNER)
    ended = {r.stream_id: r.event for r in office.record if isinstance(r.event, KeyRevoked)}
    assert set(ended) == held
    assert {e.reason for e in ended.values()} == {Revocation.MEMBER_DEACTIVATED}


@pytest.mark.invariant("M5")
async def test_reactivating_a_member_brings_no_key_back() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    await office.key_of(ben)
    await office.do(DeactivateMember(id=ben), permissions=OWNER)
    done = await office.do(ReactivateMember(id=ben), permissions=OWNER)
    assert len(done["events"]) == 1


async def test_the_keys_of_a_member_follow_the_members_roles() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    key = await office.key_of(ben)
    done = await office.do(ChangeMemberRoles(id=ben, roles=[Role.ANALYST]), permissions=OWNER)
    assert done["events"] == [MemberRolesChanged(roles=(Role.ANALYST,)), KeyRolesChanged(roles=("analyst",))]
    assert office.record[-1].stream_id == key


@pytest.mark.invariant("M1")
async def test_a_key_with_few_scopes_does_not_make_an_owner() -> None:
    office = await Office.open()
    with pytest.raises(ExceedsYourPermissions) as refused:
        await office.do(
            AddMember(name="Eve", email="eve@ash.example", roles=[Role.OWNER]), permissions=frozenset({"members:write"})
        )
    assert "keys:write" in refused.value.about["missing"]  # type: ignore[operator]


async def test_the_operator_adds_an_owner() -> None:
    office = await Office.open()
    done = await office.do(AddMember(name="Ben", email="ben@ash.example", roles=[Role.OWNER]), permissions=frozenset({"operator"}))
    assert office.owners() == (office.ann, UUID(done["id"]))


@pytest.mark.invariant("M7")
async def test_retrying_a_change_of_a_member_records_nothing_more() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    await office.key_of(ben)
    for command in (
        RenameMember(id=ben, name="Ben"),
        ChangeMemberEmail(id=ben, email="b@elm.example"),
        ChangeMemberRoles(id=ben, roles=[Role.OWNER]),
        DeactivateMember(id=ben),
        ReactivateMember(id=ben),
    ):
        assert (await office.do(command, permissions=OWNER))["events"]
        assert (await office.do(command, permissions=OWNER))["events"] == []


async def test_somebody_who_is_no_member_is_not_found() -> None:
    office = await Office.open()
    with pytest.raises(NotFound):
        await office.do(DeactivateMember(id=uuid4()), permissions=OWNER)


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "ann"},
        {"email": "ann@"},
        {"email": "ann@host"},
        {"email": "a b@c.example"},
        {"email": "ann@c..example"},
        {"email": "Ann <ann@c.example>"},
        {"email": "a" * 65 + "@c.example"},
        {"name": ""},
        {"name": "a\nb"},
        {"roles": []},
        {"roles": ["king"]},
        {"roles": ["owner"] * 7},
        {"firm": "other"},
    ],
)
def test_a_member_with_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AddMember.model_validate({"name": "Ann", "email": "ann@ash.example", "roles": ["adviser"], **wrong})
