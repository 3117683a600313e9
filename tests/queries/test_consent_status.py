"""The status that statements show is the one that decisions go by."""

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import orjson
import pytest

from domain.consent.deciding import Known, Material, Question, decide
from domain.consent.words import Channel, Status
from infra.database import Database
from queries.compliance import EXPIRING, GAPS, OVERVIEW
from queries.consent import STANDING_SQL
from queries.consent_status import COUNTS, LIST
from queries.day import CONSENTS
from queries.standing import DERIVED, standing

AT = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
MOMENTS = (None, AT - timedelta(microseconds=1), AT, AT + timedelta(microseconds=1))
FIRM, NOTICE = UUID(int=1), UUID(int=2)


@pytest.mark.invariant("CD8")
def test_statements_and_decisions_agree_on_what_time_and_newer_notices_have_ended(database: Database) -> None:
    versions = [
        (1, AT - timedelta(days=9), True, ("news",)),
        (2, AT - timedelta(days=1), False, ()),
        (3, AT, True, ("news",)),
        (4, AT, True, ("events",)),
        (5, AT + timedelta(microseconds=1), True, ("news", "events")),
    ]
    kept = [
        {"number": number, "published_at": published, "material": material, "new_purposes": new}
        for number, published, material, new in versions
    ]
    materials = {NOTICE: [Material(number, published, new) for number, published, material, new in versions if material]}
    asked = [
        *product(Status, MOMENTS, MOMENTS, ("news",), (None, 1, 3)),
        *product((Status.GIVEN, Status.REQUESTED, Status.WITHDRAWN), (None, AT), (None,), ("news", "events"), (1, 2, 3, 4, 5)),
    ]
    rows: list[dict[str, object]] = [
        {
            "firm_id": FIRM, "id": UUID(int=n), "contact": UUID(int=n), "channel": "email", "marks": [], "status": status, "expires_at": ends,
            "request_expires_at": open, "purpose": purpose, "notice": NOTICE if version else None, "notice_version": version,
        }
        for n, (status, ends, open, purpose, version) in enumerate(asked)
    ]  # fmt: skip
    given = "(SELECT r.* FROM jsonb_populate_recordset(NULL::views.consents, %(rows)s::jsonb) r)"
    with database.connect("record") as c, c.transaction(force_rollback=True):
        c.execute(
            "INSERT INTO views.notices (firm_id, id, version, created_at, updated_at, position, title, notice_version, published_at, material,"
            " purposes, languages, retired, versions) VALUES (%s, %s, 1, %s, %s, 1, 'P', 5, %s, true, '{news}', '{en}', false, %s)",
            (FIRM, NOTICE, AT, AT, AT, orjson.dumps(kept).decode()),
        )
        c.execute("SELECT set_config('chancery.as_of', %s, true)", (AT.isoformat(),))
        found = dict(
            c.execute(
                f"SELECT id, status FROM ({standing(given)}) t".encode(), {"firm": FIRM, "rows": orjson.dumps(rows).decode()}
            ).fetchall()
        )
    assert len(found) == len(asked) > 300
    for n, (status, ends, open, purpose, version) in enumerate(asked):
        known = Known(
            status=status, expires_at=ends, request_expires_at=open, notice=NOTICE if version else None, notice_version=version
        )
        decided = decide(Question(purpose=purpose, channel=Channel.EMAIL, at=AT), [known], (), materials)
        assert found[UUID(int=n)] == decided.status, asked[n]


def test_what_a_stored_status_may_become_is_all_that_it_becomes() -> None:
    """So that a filter may look for what is stored, by an index."""
    material = {NOTICE: [Material(2, AT, ("news",))]}
    for stored, ends, open, version in product(Status, MOMENTS, MOMENTS, (None, 1, 2)):
        known = Known(
            status=stored, expires_at=ends, request_expires_at=open, notice=NOTICE if version else None, notice_version=version
        )
        read = decide(Question(purpose="news", channel=Channel.EMAIL, at=AT), [known], (), material).status
        assert stored in DERIVED.stored(read), (stored, read)


def test_whoever_counts_or_lists_consents_reads_them_as_they_stand() -> None:
    for statement in (COUNTS, LIST, STANDING_SQL, GAPS, EXPIRING, OVERVIEW, CONSENTS):
        assert standing() in statement
        assert "{" not in statement.replace("'{}'", "")
