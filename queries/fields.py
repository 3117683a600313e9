"""Lists of custom field definitions."""

from domain.fields import FIELD
from projections.fields import FIELDS
from queries.kernel import Collection, collection

collection(
    Collection(
        name="fields",
        view=FIELDS,
        stream=FIELD,
        permission="contacts:read",
        title="Custom fields of contacts and organisations",
        order="key",
        search=("key", "label", "description"),
    )
)
