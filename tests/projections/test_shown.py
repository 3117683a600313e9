"""What a command did is shown by the row of what it was done to, and every other row of the view stays as it was."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from projections.kernel import VIEWS
from tests.commands.test_undo_each import a_stage

Steps = list[tuple[str, dict[str, Any]]]
NOON = "2026-02-01T12:00:00Z"
OFFER = {"id": "@deal", "offer": "@offer"}

# What is done, in which view it is seen, at what, and how. A name with @ stands for its id.
SHOWN: list[tuple[Steps, str, str, dict[str, Any]]] = [
    ([("pipelines.archive", {"id": "@other", "reason": "Old"})], "pipelines", "other", {"archived": True, "reason": "Old"}),
    ([("pipelines.archive", {"id": "@other"}), ("pipelines.restore", {"id": "@other"})], "pipelines", "other", {"archived": False}),
    ([("pipelines.rename", {"id": "@other", "name": "New", "description": "D"})], "pipelines", "other", {"name": "New", "description": "D"}),
    ([("fields.amend", {"id": "@size", "label": "Size", "maximum": "300"})], "fields", "size", {"label": "Size", "maximum": Decimal(300)}),
    ([("fields.retire", {"id": "@size", "reason": "Unused"})], "fields", "size", {"retired": True, "retired_because": "Unused"}),
    ([("fields.retire", {"id": "@size"}), ("fields.reinstate", {"id": "@size"})], "fields", "size", {"retired": False}),
    ([("offers.create", OFFER)], "offers", "offer", {"status": "created"}),
    ([("offers.send", OFFER), ("offers.return", {**OFFER, "remark": "Unsigned"})], "offers", "offer", {"status": "returned", "remark": "Unsigned"}),
    ([("offers.send", OFFER), ("offers.decline", {**OFFER, "reason": "Dear"})], "offers", "offer", {"status": "declined", "reason": "Dear"}),
    ([("offers.cancel", {**OFFER, "reason": "Sold"})], "offers", "offer", {"status": "cancelled", "reason": "Sold"}),
    ([("offers.expire", {"id": "@deal", "offer": "@two"})], "offers", "two", {"status": "expired"}),
    ([("deals.archive", {"id": "@deal", "reason": "Twice"})], "deals", "deal", {"archived": True, "reason": "Twice"}),
    ([("deals.archive", {"id": "@deal"}), ("deals.restore", {"id": "@deal"})], "deals", "deal", {"archived": False}),
    ([("deals.assign", {"id": "@deal", "owner": "@mia"})], "deals", "deal", {"owner_id": "@mia"}),
    ([("deals.transfer", {"id": "@deal", "pipeline": "@other"})], "deals", "deal", {"pipeline_id": "@other", "stage_id": "@other.Only"}),
    ([("deals.amend", {"id": "@deal", "expected_close": "2026-06-01"})], "deals", "deal", {"expected_close": date(2026, 6, 1)}),
    ([("deals.amend", {"id": "@deal", "source": "Fair"})], "deals", "deal", {"source": "Fair"}),
    ([("projects.set_start", {"id": "@project", "start_on": "2026-02-02"})], "projects", "project", {"start_on": date(2026, 2, 2)}),
    ([("projects.amend", {"id": "@project", "description": "D"})], "projects", "project", {"name": "Move", "description": "D"}),
    ([("projects.cancel", {"id": "@project", "reason": "No"})], "projects", "project", {"status": "cancelled", "cancel_reason": "No"}),
    ([("projects.complete", {"id": "@project"})], "projects", "project", {"status": "completed"}),
    ([("projects.archive", {"id": "@project"})], "projects", "project", {"archived": True}),
    ([("tasks.change_due", {"id": "@a", "due_at": NOON})], "tasks", "a", {"due_at": datetime(2026, 2, 1, 12, tzinfo=UTC)}),
    ([("tasks.estimate", {"id": "@a", "estimate_minutes": 90})], "tasks", "a", {"estimate_minutes": 90}),
    ([("tasks.schedule", {"id": "@a", "starts_at": NOON})], "tasks", "a", {"status": "scheduled", "starts_at": datetime(2026, 2, 1, 12, tzinfo=UTC)}),
    ([("tasks.schedule", {"id": "@a", "starts_at": NOON}), ("tasks.unschedule", {"id": "@a"})], "tasks", "a", {"status": "open", "starts_at": None}),
    ([("tasks.assign", {"id": "@a", "assignee": "@max"})], "tasks", "a", {"assignee": "@max"}),
    ([("tasks.assign", {"id": "@a", "assignee": "@max"}), ("tasks.unassign", {"id": "@a"})], "tasks", "a", {"assignee": None}),
    ([("tasks.block", {"id": "@a", "reason": "Rain"})], "tasks", "a", {"blocked": True, "block_reason": "Rain"}),
    ([("tasks.block", {"id": "@a", "reason": "Rain"}), ("tasks.unblock", {"id": "@a"})], "tasks", "a", {"blocked": False, "block_reason": None}),
    ([("tasks.cancel", {"id": "@a", "reason": "No use"})], "tasks", "a", {"status": "cancelled", "cancel_reason": "No use"}),
    ([("tasks.amend", {"id": "@a", "kind": "visit", "priority": "high"})], "tasks", "a", {"kind": "visit", "priority": "high"}),
    ([("tasks.amend", {"id": "@a", "labels": ["x", "y"]})], "tasks", "a", {"labels": ("x", "y")}),
    ([("tasks.archive", {"id": "@a"})], "tasks", "a", {"archived": True}),
    ([("tasks.start", {"id": "@a"}), ("tasks.pause", {"id": "@a"})], "tasks", "a", {"status": "paused", "working_since": None}),
    ([("organisations.assign", {"id": "@acme", "owner": "@mia"})], "organisations", "acme", {"owner": "@mia"}),
    ([("organisations.place", {"id": "@acme", "parent": "@beta"})], "organisations", "acme", {"parent": "@beta"}),
    ([("organisations.tag", {"id": "@acme", "tags": ["big"]})], "organisations", "acme", {"tags": ("big",)}),
    ([("organisations.archive", {"id": "@acme", "reason": "Gone"})], "organisations", "acme", {"archived": True, "archived_because": "Gone"}),
    ([("contacts.assign", {"id": "@ann", "owner": "@mia"})], "contacts", "ann", {"owner": "@mia"}),
    ([("contacts.tag", {"id": "@ann", "tags": ["rider"]})], "contacts", "ann", {"tags": ("vip", "rider")}),
    ([("contacts.untag", {"id": "@ann", "tags": ["VIP"]})], "contacts", "ann", {"tags": ()}),
    ([("contacts.archive", {"id": "@ann", "reason": "Moved"})], "contacts", "ann", {"archived": True, "archived_because": "Moved"}),
    ([("folders.rename", {"id": "@under", "name": "Below"})], "folders", "under", {"name": "Below"}),
    ([("folders.move", {"id": "@under", "parent": "@top"})], "folders", "under", {"parent": "@top"}),
    ([("members.change_email", {"id": "@max", "email": "m@x.example"})], "members", "max", {"email": "m@x.example"}),
    ([("members.deactivate", {"id": "@max", "remark": "Left"})], "members", "max", {"status": "inactive", "remark": "Left"}),
    ([("keys.revoke", {"id": "@key", "remark": "Lost"})], "keys", "key", {"status": "revoked", "remark": "Lost"}),
]  # fmt: skip


@pytest.mark.parametrize(("done", "view", "at", "shown"), SHOWN, ids=[f"{d[-1][0]}-{n}" for n, (d, _, _, _) in enumerate(SHOWN)])
async def test_what_a_command_did_is_shown_where_it_was_done_and_nowhere_else(
    tmp_path: Path, done: Steps, view: str, at: str, shown: dict[str, Any]
) -> None:
    stage = await a_stage(tmp_path)
    before = stage.desk.rows(VIEWS[view])
    for name, body in done:
        await stage.do(name, body)
    after = stage.desk.rows(VIEWS[view])
    id = UUID(stage.ids[at])
    wanted = {n: UUID(stage.ids[v[1:]]) if isinstance(v, str) and v.startswith("@") else v for n, v in shown.items()}
    assert {n: getattr(after[id], n) for n in wanted} == wanted
    assert {k: row for k, row in after.items() if k != id} == {k: row for k, row in before.items() if k != id}
