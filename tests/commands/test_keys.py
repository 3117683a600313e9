from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from commands.kernel import Actor, Work
from commands.keys import IssueKey, RenameKey, RevokeKey, RotateKey
from commands.keys import issue as issue_handler
from commands.keys import rotate as rotate_handler
from commands.members import DeactivateMember
from domain import keys
from domain.firms import FirmIsSuspended
from domain.kernel import NotFound
from domain.keys import KeyExceedsYourPermissions, KeyIsRevoked, KeyRevoked, Revocation, ScopeExceedsRole
from domain.members import PERMISSIONS, MemberIsInactive, MemberKeyLost, MemberKeyReceived, Role
from projections.keys import KEYS, KeyRow
from queries.keys import KeyCheck, KeyNotAccepted, admit
from tests.commands.test_members import OWNER, Office
from tests.desk import Desk


def work(desk: Desk, permissions: frozenset[str] = OWNER) -> Work:
    return Work(outside=desk, firm=desk.firm, actor=Actor("member", "x"), now=desk.now, command_id="c", permissions=permissions)


async def text_of(desk: Desk, command: IssueKey | RotateKey) -> str:
    """What the caller is shown, with the command's events on the desk's record."""
    shown: dict[str, str] = {}
    await desk.do(command, permissions=OWNER, shown_once=shown)
    return shown["api_key"]


def row_of(desk: Desk, text: str) -> KeyCheck:
    row: KeyRow = desk.rows(KEYS)[keys.parse(text).key]
    return KeyCheck(
        sha256=row.sha256,
        previous_sha256=row.previous_sha256,
        previous_until=row.previous_until,
        roles=row.roles,
        scopes=row.scopes,
        member=row.member,
        expires_at=row.expires_at,
        revoked=row.status == "revoked",
        firm_suspended=False,
    )


def lets_in(desk: Desk, text: str) -> frozenset[str]:
    return admit(keys.parse(text), row_of(desk, text), now=desk.now).permissions


@pytest.mark.invariant("AK1")
async def test_the_text_of_a_key_is_shown_once_and_nothing_recorded_holds_its_secret() -> None:
    desk = Desk()
    w = work(desk)
    answer = await issue_handler(IssueKey(name="Till", role=Role.ADVISER), w)
    parsed = keys.parse(w.shown_once["api_key"])
    assert answer == {"id": str(parsed.key)}
    assert parsed.firm == desk.firm
    assert parsed.secret not in repr(desk._pending)
    assert keys.digest(parsed.secret) in repr(desk._pending)


async def test_a_key_for_a_role_lets_in_with_what_the_role_gives() -> None:
    desk = Desk()
    text = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER))
    assert lets_in(desk, text) == PERMISSIONS[Role.ADVISER]


@pytest.mark.invariant("AK3")
async def test_scopes_narrow_what_a_key_is_good_for() -> None:
    desk = Desk()
    text = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER, scopes=["deals:read", "deals:write"]))
    assert lets_in(desk, text) == {"deals:read", "deals:write"}
    with pytest.raises(ScopeExceedsRole) as refused:
        await text_of(desk, IssueKey(name="Till", role=Role.ADVISER, scopes=["deals:read", "keys:write"]))
    assert refused.value.about == {"scopes": ["keys:write"]}


@pytest.mark.invariant("AK4")
async def test_a_key_that_may_issue_keys_issues_none_better_than_itself() -> None:
    desk = Desk()
    mine = frozenset({"keys:write", "deals:read"})
    with pytest.raises(KeyExceedsYourPermissions):
        await desk.do(IssueKey(name="Mine", role=Role.OWNER), permissions=mine)
    done = await desk.do(IssueKey(name="Mine", role=Role.OWNER, scopes=["deals:read"]), permissions=mine)
    assert done["events"][0].scopes == ("deals:read",)


@pytest.mark.invariant("AK4")
async def test_a_better_key_is_not_rotated_to_learn_its_secret() -> None:
    desk = Desk()
    text = await text_of(desk, IssueKey(name="Owner", role=Role.OWNER))
    w = work(desk, frozenset({"keys:write"}))
    with pytest.raises(KeyExceedsYourPermissions):
        await rotate_handler(RotateKey(id=keys.parse(text).key), w)
    assert w.shown_once == {}


async def test_a_key_for_a_member_has_the_members_roles_and_names_the_member() -> None:
    office = await Office.open()
    text = await text_of(office, IssueKey(name="Ann's", member=office.ann))
    admitted = admit(keys.parse(text), row_of(office, text), now=office.now)
    assert admitted.member == office.ann
    assert admitted.permissions == OWNER
    assert office.record[-2].event == MemberKeyReceived(key=admitted.key)


@pytest.mark.invariant("M5")
async def test_a_deactivated_members_key_stops_working_and_no_new_one_is_issued() -> None:
    office = await Office.open()
    ben = await office.add("ben@ash.example", Role.ADVISER)
    text = await text_of(office, IssueKey(name="Ben's", member=ben))
    await office.do(DeactivateMember(id=ben), permissions=OWNER)
    with pytest.raises(KeyIsRevoked):
        lets_in(office, text)
    with pytest.raises(MemberIsInactive):
        await text_of(office, IssueKey(name="Ben's", member=ben))


async def test_a_key_for_a_stranger_is_not_issued() -> None:
    office = await Office.open()
    with pytest.raises(NotFound):
        await office.do(IssueKey(name="Till", member=uuid4()), permissions=OWNER)


async def test_a_rotated_key_lets_in_with_the_new_secret_and_through_the_overlap_with_the_old() -> None:
    desk = Desk()
    old = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER))
    new = await text_of(desk, RotateKey(id=keys.parse(old).key, overlap_hours=2))
    assert lets_in(desk, old) == lets_in(desk, new) == PERMISSIONS[Role.ADVISER]
    desk.pass_time(hours=2)
    assert lets_in(desk, new)
    with pytest.raises(KeyNotAccepted):
        lets_in(desk, old)


async def test_without_an_overlap_the_old_secret_stops_at_once() -> None:
    desk = Desk()
    old = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER))
    await text_of(desk, RotateKey(id=keys.parse(old).key))
    with pytest.raises(KeyNotAccepted):
        lets_in(desk, old)


async def test_a_revoked_key_lets_nobody_in_and_leaves_the_members_hand() -> None:
    office = await Office.open()
    text = await text_of(office, IssueKey(name="Ann's", member=office.ann))
    key = keys.parse(text).key
    done = await office.do(RevokeKey(id=key, reason=Revocation.LEAKED, remark="On a screenshot"), permissions=OWNER)
    assert done["events"] == [KeyRevoked(reason=Revocation.LEAKED, remark="On a screenshot"), MemberKeyLost(key=key)]
    with pytest.raises(KeyIsRevoked):
        lets_in(office, text)


async def test_a_key_lets_nobody_in_from_its_end_on() -> None:
    desk = Desk()
    text = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER, expires_at=desk.now + timedelta(days=1)))
    assert lets_in(desk, text)
    desk.pass_time(days=1)
    with pytest.raises(keys.KeyHasExpired):
        lets_in(desk, text)


async def test_why_a_key_is_refused_is_not_told_without_its_secret() -> None:
    desk = Desk()
    text = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER))
    await desk.do(RevokeKey(id=keys.parse(text).key), permissions=OWNER)
    guess = keys.parse(keys.compose(keys.parse(text).public_id, "x" * 30))
    for row in (row_of(desk, text), None):
        with pytest.raises(KeyNotAccepted):
            admit(guess, row, now=desk.now)


async def test_no_key_of_a_suspended_firm_lets_in() -> None:
    desk = Desk()
    text = await text_of(desk, IssueKey(name="Till", role=Role.ADVISER))
    row = row_of(desk, text)
    suspended = KeyCheck(**{f: getattr(row, f) for f in row.__slots__} | {"firm_suspended": True})
    with pytest.raises(FirmIsSuspended):
        admit(keys.parse(text), suspended, now=desk.now)


@pytest.mark.invariant("AK7")
async def test_retrying_a_change_of_a_key_records_nothing_more() -> None:
    office = await Office.open()
    key = await office.key_of(office.ann)
    for command in (RenameKey(id=key, name="Shop"), RevokeKey(id=key)):
        assert (await office.do(command, permissions=OWNER))["events"]
        assert (await office.do(command, permissions=OWNER))["events"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": None},
        {"member": str(UUID(int=1))},
        {"role": "king"},
        {"name": ""},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["deals:read"] * 99},
        {"expires_at": "2026-03-01T00:00:00"},
        {"secret": "mine"},
    ],
)
def test_a_key_with_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IssueKey.model_validate({"name": "Till", "role": "adviser", **wrong})


def test_an_end_needs_an_offset() -> None:
    assert IssueKey(name="Till", role=Role.ADVISER, expires_at=datetime(2026, 3, 1, tzinfo=UTC))


def test_an_overlap_has_a_limit() -> None:
    with pytest.raises(ValidationError):
        RotateKey(id=uuid4(), overlap_hours=169)
