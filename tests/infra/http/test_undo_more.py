"""Undoing offers, notes, starts of tasks, holds, members, keys and consent, over HTTP."""

from typing import Any
from uuid import uuid4

from tests.house import House


async def act(house: House, path: str, body: dict[str, Any], status: int = 200) -> tuple[dict[str, Any], str]:
    """The answer, and the id of the command."""
    command = str(uuid4())
    done = await house.client.post(f"/v1{path}", json=body, headers={"Idempotency-Key": command})
    assert done.status_code == status, done.text
    return dict(done.json()), command


async def undo(house: House, command: str, status: int = 200) -> dict[str, Any]:
    return (await act(house, "/undo", {"command_id": command, "reason": "By mistake"}, status))[0]


async def read(house: House, path: str, **params: str) -> dict[str, Any]:
    await house.settle()
    done = await house.client.get(f"/v1{path}", params=params)
    assert done.status_code == 200, done.text
    return dict(done.json())


async def a_deal(house: House) -> str:
    stages = [{"name": "One"}, {"name": "Won", "kind": "won"}]
    pipeline = (await act(house, "/pipelines", {"name": f"P {uuid4()}", "stages": stages}, 201))[0]["id"]
    made, _ = await act(house, "/deals", {"title": "D", "pipeline": pipeline, "amount": "10.00", "currency": "EUR"}, 201)
    return f"/deals/{made['id']}"


async def test_a_step_of_an_offer_is_taken_back_and_the_offer_stands_where_it_stood(house: House) -> None:
    deal = await a_deal(house)
    offer = (await act(house, f"{deal}/offers", {"amount": "9.00", "valid_until": "2030-01-01"}))[0]["offer"]
    another = (await act(house, f"{deal}/offers", {"amount": "8.00"}))[0]["offer"]
    place = f"{deal}/offers/{offer}"
    before = await read(house, f"/offers/{offer}")
    _, sent = await act(house, f"{place}:send", {"valid_until": "2031-01-01"})
    other_before = await read(house, f"/offers/{another}")
    await undo(house, sent)
    after = await read(house, f"/offers/{offer}")
    for name in ("status", "valid_until", "sent_at", "drawn_up_at", "settled_at"):
        assert after[name] == before[name], name
    assert await read(house, f"/offers/{another}") == other_before
    _, sent = await act(house, f"{place}:send", {})
    _, accepted = await act(house, f"{place}:accept", {})
    refused = await undo(house, sent, 409)
    assert refused["event"] == "deals.OfferAccepted.v1"
    await undo(house, accepted)
    shown = await read(house, f"/offers/{offer}")
    assert (shown["status"], shown["settled_at"]) == ("sent", None)
    listed = {o["id"]: o["status"] for o in (await read(house, deal))["offers"]}
    assert listed == {offer: "sent", another: "selected"}
    _, cancelled = await act(house, f"{deal}/offers/{another}:cancel", {"reason": "No"})
    await undo(house, cancelled)
    assert (await read(house, f"/offers/{another}"))["status"] == "selected"


async def test_an_offer_that_was_selected_is_cancelled(house: House) -> None:
    deal = await a_deal(house)
    made, command = await act(house, f"{deal}/offers", {"amount": "9.00"})
    await undo(house, command)
    assert (await read(house, f"/offers/{made['offer']}"))["status"] == "cancelled"


async def test_a_note_of_a_deal_is_taken_back_and_the_one_before_is_its_last(house: House) -> None:
    deal = await a_deal(house)
    await act(house, f"{deal}:note", {"note": "First said"})
    _, second = await act(house, f"{deal}:note", {"note": "Said of another"})
    await undo(house, second)
    shown = await read(house, deal)
    assert (shown["notes"], shown["last_note"]) == (1, "First said")
    mine = f"deal_id = {deal.rpartition('/')[2]}"
    assert [n["note"] for n in (await read(house, "/deal_activities", filter=mine))["items"]] == ["First said"]
    assert (await undo(house, second))["events"] == []
    taken_back = (await read(house, f"{deal}/history"))["items"][-1]["command_id"]
    await undo(house, taken_back)
    assert (await read(house, deal))["last_note"] == "Said of another"


async def test_a_removed_note_is_there_again_as_it_was(house: House) -> None:
    contact = (await act(house, "/contacts", {"display_name": "Ann"}, 201))[0]["id"]
    body = {"about_type": "contact", "about": contact, "kind": "call", "text": "Called", "occurred_at": "2026-01-05T10:00:00Z"}
    note = f"/notes/{(await act(house, '/notes', body, 201))[0]['id']}"
    await act(house, f"{note}:pin", {})
    await act(house, f"{note}:edit", {"text": "Called twice"})
    before = await read(house, note)
    _, removed = await act(house, f"{note}:remove", {})
    await house.settle()
    assert (await house.client.get(f"/v1{note}")).status_code == 404
    await undo(house, removed)
    after = await read(house, note)
    bookkeeping = {"version", "updated_at", "created_at", "position"}
    assert {k: v for k, v in after.items() if k not in bookkeeping} == {k: v for k, v in before.items() if k not in bookkeeping}


async def test_a_task_that_was_started_by_mistake_was_never_begun(house: House) -> None:
    task = f"/tasks/{(await act(house, '/tasks', {'title': 'T'}, 201))[0]['id']}"
    before = await read(house, task)
    _, started = await act(house, f"{task}:start", {})
    await undo(house, started)
    after = await read(house, task)
    for name in ("status", "started_at", "working_since", "sessions"):
        assert after[name] == before[name], name
    _, started = await act(house, f"{task}:start", {})
    await act(house, f"{task}:complete", {})
    assert (await undo(house, started, 409))["event"] == "tasks.Completed.v1"


async def test_holds_and_retention_are_undone_by_whoever_may_set_them(house: House) -> None:
    sha256 = (await house.client.post("/v1/uploads", content=b"held")).json()["sha256"]
    made, _ = await act(house, "/documents", {"title": "D", "version": {"sha256": sha256, "file_name": "d.txt"}}, 201)
    document = f"/documents/{made['id']}"
    holding, _ = await act(house, f"{document}:place-hold", {"name": "Case 7", "reason": "Suit"})
    _, lifted = await act(house, f"{document}:lift-hold", {"hold": holding["hold"], "reason": "Settled"})
    await undo(house, lifted)
    assert [str(h) for h in (await read(house, document))["holds"]] == [holding["hold"]]
    _, retained = await act(house, f"{document}:retain", {"until": "2040-01-01"})
    assert (await undo(house, retained, 409))["rule"] == "DocumentIsOnHold"
    _, lifted = await act(house, f"{document}:lift-hold", {"hold": holding["hold"], "reason": "Settled"})
    await undo(house, retained)
    assert (await read(house, document))["retain_until"] is None
    _, discarded = await act(house, f"{document}:discard", {"reason": "Done"})
    assert "gone" in (await undo(house, discarded, 409))["because"]


async def test_what_was_done_to_a_member_is_taken_back_and_revoked_keys_stay_revoked(house: House) -> None:
    made, added = await act(house, "/members", {"name": "Bo", "email": "bo@x.example", "roles": ["adviser"]}, 201)
    member = f"/members/{made['id']}"
    key, _ = await act(house, "/keys", {"name": "K", "member": made["id"]}, 201)
    _, promoted = await act(house, f"{member}:change-roles", {"roles": ["adviser", "compliance"]})
    await undo(house, promoted)
    assert (await read(house, member))["roles"] == ["adviser"]
    assert (await read(house, f"/keys/{key['id']}"))["roles"] == ["adviser"]
    _, renamed = await act(house, f"{member}:rename", {"name": "Beau"})
    _, moved = await act(house, f"{member}:change-email", {"email": "beau@x.example"})
    await undo(house, moved)
    await undo(house, renamed)
    assert ((await read(house, member))["name"], (await read(house, member))["email"]) == ("Bo", "bo@x.example")
    await act(house, "/members", {"name": "Beau", "email": "beau@x.example", "roles": ["adviser"]}, 201)  # free again
    _, left = await act(house, f"{member}:deactivate", {})
    await undo(house, left)
    assert (await read(house, member))["status"] == "active"
    assert (await read(house, f"/keys/{key['id']}"))["status"] == "revoked"
    _, left = await act(house, f"{member}:deactivate", {})
    assert (await undo(house, added, 409))["event"] == "members.Deactivated.v1"


async def test_a_member_who_was_added_by_mistake_is_deactivated_and_the_last_owner_stays(house: House) -> None:
    _, first = await act(house, "/members", {"name": "Di", "email": "di@x.example", "roles": ["owner"]}, 201)
    made, added = await act(house, "/members", {"name": "Cy", "email": "cy@x.example", "roles": ["owner"]}, 201)
    await undo(house, added)
    assert (await undo(house, first, 409))["rule"] == "LastOwner"
    assert (await read(house, f"/members/{made['id']}"))["status"] == "inactive"


async def test_a_key_that_was_issued_by_mistake_is_revoked_and_no_revocation_or_rotation_is_undone(house: House) -> None:
    made, issued = await act(house, "/keys", {"name": "K", "role": "read-only"}, 201)
    key = f"/keys/{made['id']}"
    _, rotated = await act(house, f"{key}:rotate", {})
    assert "secret before is gone" in (await undo(house, rotated, 409))["because"]
    other, issued = await act(house, "/keys", {"name": "Other", "role": "read-only"}, 201)
    await undo(house, issued)
    assert (await read(house, f"/keys/{other['id']}"))["status"] == "revoked"
    _, revoked = await act(house, f"{key}:revoke", {"reason": "leaked"})
    refused = await undo(house, revoked, 409)
    assert (refused["type"], refused["rule"]) == ("urn:chancery:problem:no-longer-possible", "RevocationStands")


async def test_the_firm_is_named_and_set_as_before(house: House) -> None:
    firm = f"/firms/{house.firm}"
    name = (await read(house, firm))["name"]
    _, renamed = await act(house, f"{firm}:rename", {"name": "Another name"})
    await undo(house, renamed)
    assert (await read(house, firm))["name"] == name


async def test_a_consent_that_was_recorded_by_mistake_is_declared_invalid_and_no_one_takes_back_a_no(house: House) -> None:
    contact = f"/contacts/{(await act(house, '/contacts', {'display_name': 'Ann'}, 201))[0]['id']}"
    await act(house, "/purposes", {"key": "news", "name": "News", "dpv": "https://w3id.org/dpv#Marketing"}, 201)
    about = {"purposes": ["news"], "channel": "email"}
    terms = {"legal_basis": "eu-gdpr:A6-1-a", "consent_type": "dpv:ExpressedConsent", "collection_method": "import"}
    _, command = await act(house, f"{contact}/consent:give", {**about, **terms})
    done = await undo(house, command)
    assert [e["type"] for e in done["events"]] == ["consent.Invalidated.v1"]
    assert (await undo(house, command))["events"] == []
    _, given_again = await act(house, f"{contact}/consent:give", {**about, **terms})
    _, withdrawn = await act(house, f"{contact}/consent:withdraw", about)
    assert (await undo(house, given_again, 409))["event"] == "consent.Withdrawn.v1"
    refused = await undo(house, withdrawn, 409)
    assert refused["type"] == "urn:chancery:problem:cant-be-undone"
    assert "nobody takes that back" in refused["because"]
    _, muted = await act(house, f"{contact}/consent:suppress", {"reason": "bounce", "channel": "email"})
    done = await undo(house, muted)
    assert [e["type"] for e in done["events"]] == ["consent.SuppressionLifted.v1"]
