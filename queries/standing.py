"""How consents stand at the moment asked: what time and newer notices have ended reads so at once, whether or not that was noted.

It is the rule of domain.consent.deciding (CD2), said in SQL for whoever reads many: whoever reads consents reads them through this.
"""

from dataclasses import fields

from projections.consent import ConsentRow
from queries.figures import sql
from queries.listing.derived import Derived
from queries.listing.fields import EVERY_ROW

STANDING = sql("consents_standing")
VIEWS = ("consents", "notices")
_OWN = tuple(name for name in ("firm_id", *EVERY_ROW, *(f.name for f in fields(ConsentRow))) if name != "status")


def standing(table: str = "views.consents", more: tuple[str, ...] = ()) -> str:
    """The SELECT that reads the rows of a table of consents, with the status they have at the moment asked."""
    return STANDING.replace("{columns}", ", ".join(f'c."{name}"' for name in (*_OWN, *more))).replace("{table}", table)


def stood(statement: str) -> str:
    """A named statement in which `{consents}` stands for the consents as they stand."""
    return statement.replace("{consents}", f"({standing()})")


DERIVED = Derived(
    column="status",
    rows=standing,
    drifts="n.status IN ('given', 'renewed', 'requested', 'deferred')",
    becomes={
        "given": ("requested", "expired", "superseded"),
        "renewed": ("requested", "expired", "superseded"),
        "requested": ("expired",),
        "deferred": ("expired",),
    },
    views=("notices",),
)
