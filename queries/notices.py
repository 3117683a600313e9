"""Reads of notices and their texts."""

from domain.notices import NOTICE
from projections.notices import NOTICE_TEXTS, NOTICES
from queries.kernel import Collection, collection
from queries.listing.relations import Relation, relation

collection(
    Collection(
        name="notices",
        view=NOTICES,
        stream=NOTICE,
        permission="consent:read",
        title="Notices",
        order="title",
        search=("title",),
    )
)
collection(
    Collection(
        name="notice_texts",
        view=NOTICE_TEXTS,
        stream=None,
        permission="consent:read",
        title="Texts of notices, by version and language",
        order="-notice_version",
        search=("text",),
    )
)
relation("notice_texts", Relation("notice", "notices", "notice"))
