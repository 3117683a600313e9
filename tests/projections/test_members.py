from commands.members import ChangeMemberEmail, ChangeMemberRoles, DeactivateMember, ReactivateMember, RenameMember
from domain.members import Role
from projections.members import MEMBERS, MemberRow
from tests.commands.test_members import OWNER, Office


async def test_a_member_stands_as_the_record_says_and_another_stays_untouched() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    before = office.rows(MEMBERS)[office.ann]
    await office.do(RenameMember(id=ben, name="Ben"), permissions=OWNER)
    await office.do(ChangeMemberEmail(id=ben, email="ben@elm.example"), permissions=OWNER)
    await office.do(ChangeMemberRoles(id=ben, roles=[Role.AUDITOR, Role.COMPLIANCE]), permissions=OWNER)
    key = await office.key_of(ben)
    assert office.rows(MEMBERS) == {
        ben: MemberRow(name="Ben", email="ben@elm.example", roles=("compliance", "auditor"), keys=(key,)),
        office.ann: before,
    }


async def test_a_deactivated_member_is_inactive_without_keys_and_a_reactivated_one_active_again() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    await office.key_of(ben)
    await office.do(DeactivateMember(id=ben, remark="Left"), permissions=OWNER)
    row = office.rows(MEMBERS)[ben]
    assert (row.status, row.remark, row.keys) == ("inactive", "Left", ())
    await office.do(ReactivateMember(id=ben), permissions=OWNER)
    row = office.rows(MEMBERS)[ben]
    assert (row.status, row.remark, row.roles) == ("active", None, ("adviser",))


async def test_an_event_without_its_member_makes_no_row() -> None:
    office = await Office.open()
    await office.do(RenameMember(id=office.ann, name="Anna"), permissions=OWNER)
    assert MEMBERS.fold(None, office.ann, office.record[-1]) is None


async def test_the_claim_of_an_address_is_no_member() -> None:
    office = await Office.open()
    assert set(office.rows(MEMBERS)) == {office.ann}
