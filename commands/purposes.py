"""Commands of a firm's purposes: one tree, changed one purpose at a time."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from commands.kernel import Answer, Command, Entity, Work, command
from domain import purposes
from domain.consent.words import moment
from domain.purposes import PURPOSES, PurposeId, Tree

Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Dpv = Annotated[str, StringConstraints(pattern=r"^https://w3id\.org/dpv#[A-Z][A-Za-z]{1,80}$")]
Description = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]+$")]


async def _tree(w: Work) -> Entity[Tree, purposes.Event]:
    return await w.find(PURPOSES, w.firm)


class DefinePurpose(Command):
    key: Key
    name: Name
    dpv: Dpv
    description: Description | None = None
    parent: UUID | None = None
    occurred_at: AwareDatetime | None = Field(
        default=None, description="Since when it has been a purpose, if not now: before it came here."
    )


@command(
    "purposes.define",
    "POST /purposes",
    permission="consent:write",
    title="Define a purpose",
    target=PURPOSES,
    creates=True,
    undoable=False,
)
async def define(c: DefinePurpose, w: Work) -> Answer:
    """Add a purpose to the firm's tree. Its key is what consents name; it can't be changed or reused. `dpv` is the nearest purpose of
    the W3C Data Privacy Vocabulary."""
    tree = await _tree(w)
    id = PurposeId(w.new_id())
    parent = PurposeId(c.parent) if c.parent is not None else None
    w.record(
        tree,
        purposes.define(tree.state, id=id, key=c.key, name=c.name, dpv=c.dpv, description=c.description, parent=parent),
        occurred_at=moment(w.now, c.occurred_at),
    )
    return {"id": str(id)}


class AmendPurpose(Command):
    id: UUID
    name: Name
    dpv: Dpv
    description: Description | None = None


@command(
    "purposes.amend",
    "POST /purposes/{id}:amend",
    permission="consent:write",
    title="Publish a new version of a purpose",
    target=PURPOSES,
    undoable=False,
)
async def amend(c: AmendPurpose, w: Work) -> Answer:
    """Say anew what the purpose is. Consents given before go on naming the version they were given for."""
    tree = await _tree(w)
    w.record(tree, purposes.amend(tree.state, id=PurposeId(c.id), name=c.name, dpv=c.dpv, description=c.description))
    return None


class MovePurpose(Command):
    id: UUID
    parent: UUID | None = None


@command(
    "purposes.move",
    "POST /purposes/{id}:move",
    permission="consent:write",
    title="Put a purpose below another",
    target=PURPOSES,
    undoable=False,
)
async def move(c: MovePurpose, w: Work) -> Answer:
    """Give the purpose another parent, or none. From then on a withdrawal of the parent covers it."""
    tree = await _tree(w)
    parent = PurposeId(c.parent) if c.parent is not None else None
    w.record(tree, purposes.move(tree.state, id=PurposeId(c.id), parent=parent))
    return None


class RetirePurpose(Command):
    id: UUID


@command(
    "purposes.retire",
    "POST /purposes/{id}:retire",
    permission="consent:write",
    title="Retire a purpose",
    target=PURPOSES,
    undoable=False,
)
async def retire(c: RetirePurpose, w: Work) -> Answer:
    """Ask for no more consent to this purpose. What was given stays on the record and can be withdrawn."""
    tree = await _tree(w)
    w.record(tree, purposes.retire(tree.state, id=PurposeId(c.id)))
    return None
