"""Who and what is erased with a contact: those merged into it, and the documents that are about nobody else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import psycopg

_PEOPLE = "SELECT c.id, c.absorbed FROM views.contacts c WHERE c.firm_id = %s AND c.id = ANY(%s)"
_DOCUMENTS = (
    "SELECT d.id, d.contacts <@ %(people)s AND d.organisations = '{}' AND d.deals = '{}' AND d.projects = '{}' AS alone, d.on_hold,"
    " coalesce(d.retain_until > %(today)s, false) AS retained"
    " FROM views.documents d WHERE d.firm_id = %(firm)s AND d.contacts && %(people)s ORDER BY d.id"
)
_CONTENTS = "SELECT DISTINCT v.sha256 FROM views.document_versions v WHERE v.firm_id = %s AND v.document = ANY(%s)"
ELSEWHERE = "SELECT DISTINCT v.sha256 FROM views.document_versions v WHERE v.firm_id = %s AND v.sha256 = ANY(%s) AND NOT v.document = ANY(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """`people` are the contact's own id first and those merged into it; `documents` are about them alone. `kept` are documents that name
    them and stay, with the reason; `contents` are the digests of the files that no other document holds."""

    firm: UUID
    people: tuple[UUID, ...]
    documents: tuple[UUID, ...]
    kept: tuple[tuple[UUID, str], ...]
    contents: tuple[str, ...]

    @property
    def ids(self) -> tuple[UUID, ...]:
        """Whose data keys go."""
        return (*self.people, *self.documents)


def of_contact(c: psycopg.Connection[Any], firm: UUID, contact: UUID, today: date) -> Subjects:
    """What is erased with a contact, as the views say at this moment."""
    people = [contact]
    look: Sequence[UUID] = people
    while look:
        found = {other for _, absorbed in c.execute(_PEOPLE, (firm, list(look))).fetchall() for other in absorbed}
        look = sorted(found - set(people))
        people += look
    documents, kept = [], []
    for id, alone, held, retained in c.execute(_DOCUMENTS, {"firm": firm, "people": people, "today": today}).fetchall():
        reason = "on_hold" if held else "retained" if retained else None if alone else "about_others_too"
        if reason is None:
            documents.append(id)
        else:
            kept.append((id, reason))
    contents = {s for (s,) in c.execute(_CONTENTS, (firm, documents)).fetchall()}
    contents -= {s for (s,) in c.execute(ELSEWHERE, (firm, list(contents), documents)).fetchall()}
    return Subjects(
        firm=firm,
        people=tuple(people),
        documents=tuple(documents),
        kept=tuple(kept),
        contents=tuple(sorted(contents)),
    )
