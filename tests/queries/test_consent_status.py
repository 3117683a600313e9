"""The status that statements show is the one that decisions go by."""

from datetime import UTC, datetime, timedelta
from itertools import product

from domain.consent.deciding import lapsed
from domain.consent.words import Status
from infra.database import Database
from queries.consent_status import COUNTS, LIST, NOW

AT = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
MOMENTS = (None, AT - timedelta(microseconds=1), AT, AT + timedelta(microseconds=1))


def test_statements_and_decisions_agree_on_what_time_has_ended(database: Database) -> None:
    rule = NOW.partition(" AS status")[0]
    asked = list(product(Status, MOMENTS, MOMENTS))
    with database.connect("record") as c:
        for status, expires, request_expires in asked:
            row = c.execute(
                f"SELECT {rule} FROM (SELECT %(status)s::text, %(ends)s::timestamptz, %(open)s::timestamptz)"
                " AS t(status, expires_at, request_expires_at)".encode(),
                {"status": status, "ends": expires, "open": request_expires, "now": AT},
            ).fetchone()
            assert row == (lapsed(status, expires, request_expires, AT),), (status, expires, request_expires)


def test_the_rule_stands_in_both_statements() -> None:
    for statement in (COUNTS, LIST):
        assert NOW in statement
        assert "{" not in statement
