from datetime import timedelta
from uuid import UUID

from commands.keys import IssueKey, RenameKey, RevokeKey, RotateKey
from commands.members import ChangeMemberRoles
from domain.keys import KeyId, Revocation, public_id
from domain.members import Role
from projections.keys import KEYS
from tests.commands.test_members import OWNER, Office


async def issue(office: Office, **how: object) -> UUID:
    done = await office.do(IssueKey.model_validate({"name": "Till", **how}), permissions=OWNER)
    return UUID(done["id"])


async def test_a_key_stands_as_it_was_issued() -> None:
    office = await Office.open()
    end = office.now + timedelta(days=30)
    key = await issue(office, role="adviser", scopes=["deals:read"], expires_at=end.isoformat())
    row = office.rows(KEYS)[key]
    assert (row.name, row.roles, row.scopes, row.expires_at, row.status) == ("Till", ("adviser",), ("deals:read",), end, "live")
    assert row.public_id == public_id(office.firm, KeyId(key))
    assert (row.member, row.previous_sha256, row.revoked_at) == (None, None, None)


async def test_what_happens_to_one_key_leaves_another_untouched() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    other = await issue(office, member=str(office.ann))
    key = await issue(office, member=str(ben))
    before, first = office.rows(KEYS)[other], office.rows(KEYS)[key]
    office.pass_time(hours=1)
    await office.do(RenameKey(id=key, name="Shop"), permissions=OWNER)
    await office.do(RotateKey(id=key, overlap_hours=1), permissions=OWNER)
    await office.do(ChangeMemberRoles(id=ben, roles=[Role.ANALYST]), permissions=OWNER)
    row = office.rows(KEYS)[key]
    assert (row.name, row.roles, row.member, row.rotated_at) == ("Shop", ("analyst",), ben, office.now)
    assert row.sha256 != first.sha256
    assert (row.previous_sha256, row.previous_until) == (first.sha256, office.now + timedelta(hours=1))
    await office.do(RevokeKey(id=key, reason=Revocation.LEAKED, remark="Seen"), permissions=OWNER)
    row = office.rows(KEYS)[key]
    assert (row.status, row.revoked_at, row.revoked_because, row.remark) == ("revoked", office.now, "leaked", "Seen")
    assert office.rows(KEYS)[other] == before


async def test_a_rotation_without_overlap_forgets_the_secret_before() -> None:
    office = await Office.open()
    key = await issue(office, role="adviser")
    await office.do(RotateKey(id=key, overlap_hours=1), permissions=OWNER)
    await office.do(RotateKey(id=key), permissions=OWNER)
    row = office.rows(KEYS)[key]
    assert (row.previous_sha256, row.previous_until) == (None, None)


async def test_an_event_without_its_key_makes_no_row() -> None:
    office = await Office.open()
    key = await issue(office, role="adviser")
    await office.do(RenameKey(id=key, name="Shop"), permissions=OWNER)
    assert KEYS.fold(None, key, office.record[-1]) is None
