"""Custom fields: what a firm defines beyond the ordinary fields of contacts and organisations."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from commands.kernel import Answer, Command, Work, command
from commands.people import Key, Name, Reason, Short
from domain import fields
from domain.fields import FIELD, AppliesTo, Settings
from domain.people import FieldKind

Bound = Annotated[Decimal, Field(max_digits=30, decimal_places=10)]


class FieldSettings(Command):
    label: Name | None = None
    description: Annotated[Reason | None, Field()] = None
    choices: Annotated[list[Short], Field(max_length=500)] | None = Field(
        default=None, description="Of a choice or multi_choice. Taking one away leaves the values that were set with it."
    )
    minimum: Bound | None = Field(default=None, description="The smallest value of a number.")
    maximum: Bound | None = Field(default=None, description="The largest value of a number.")


def _settings(c: FieldSettings) -> dict[str, Any]:
    values = {name: getattr(c, name) for name in FieldSettings.model_fields if name in c.model_fields_set}
    if isinstance(values.get("choices"), list):
        values["choices"] = tuple(values["choices"])
    return values


class DefineField(FieldSettings):
    applies_to: AppliesTo
    key: Key = Field(description="By which values are set and filtered; it never changes.")
    kind: FieldKind


@command("fields.define", "POST /fields", permission="firm:write", title="Define a custom field", target=FIELD, creates=True)
async def define(c: DefineField, w: Work) -> Answer:
    """Define a field of the firm's own for contacts or organisations."""
    field = await w.find(FIELD, w.derive_id("field", c.applies_to, c.key))
    settings = Settings(**_settings(c))
    w.record(field, fields.define(field.state, applies_to=c.applies_to, key=c.key, kind=c.kind, settings=settings))
    return {"id": str(field.id)}


class AmendField(FieldSettings):
    id: UUID


@command("fields.amend", "POST /fields/{id}:amend", permission="firm:write", title="Amend a custom field", target=FIELD)
async def amend(c: AmendField, w: Work) -> Answer:
    """Change label, description, choices or bounds. Values that were set before stay as they are."""
    field = await w.load(FIELD, c.id)
    w.record(field, fields.amend(field.state, changes=_settings(c)))
    return None


class RetireField(Command):
    id: UUID
    reason: Reason | None = None


@command("fields.retire", "POST /fields/{id}:retire", permission="firm:write", title="Retire a custom field", target=FIELD)
async def retire(c: RetireField, w: Work) -> Answer:
    """Take no more values for the field. Those that were set stay."""
    field = await w.load(FIELD, c.id)
    w.record(field, fields.retire(field.state, reason=c.reason))
    return None


class ReinstateField(Command):
    id: UUID


@command("fields.reinstate", "POST /fields/{id}:reinstate", permission="firm:write", title="Reinstate a custom field", target=FIELD)
async def reinstate(c: ReinstateField, w: Work) -> Answer:
    """Take values for a retired field again."""
    field = await w.load(FIELD, c.id)
    w.record(field, fields.reinstate(field.state))
    return None
