"""How collections hang together: a relation is declared beside the collections and lets a filter reach across."""

from collections.abc import Mapping
from dataclasses import dataclass

from queries.kernel import COLLECTIONS, Collection
from queries.listing.fields import SCALARS, Field, Kind, fields_of


@dataclass(frozen=True, slots=True)
class Relation:
    """`name` leads from a collection to the members of `collection` whose `remote_field` holds what `local_field` holds.

    Either field may be a value, a list of values (`contacts: tuple[UUID, ...]`) or a part of a list of records (`parties.id`).
    `many` says that several may be found; a comparison through the relation asks whether one of them passes.
    """

    name: str
    collection: str
    local_field: str
    remote_field: str = "id"
    many: bool = False


RELATIONS: dict[str, dict[str, Relation]] = {}


def relation(collection: str, r: Relation) -> Relation:
    """Register a relation of the collection with this name: `relation("deals", Relation("stage", "stages", "stage"))`."""
    ours = RELATIONS.setdefault(collection, {})
    if r.name in ours:
        raise ValueError(f"relation declared twice: {collection}.{r.name}")
    ours[r.name] = r
    return r


def relations_of(c: Collection) -> Mapping[str, Relation]:
    return RELATIONS.get(c.name, {})


def check_relations() -> None:
    """Every relation joins fields that exist and can be equal; to be called once everything is declared."""
    for name, ours in RELATIONS.items():
        for r in ours.values():
            for end in (name, r.collection):
                if end not in COLLECTIONS:
                    raise ValueError(f"relation {name}.{r.name}: no collection {end}")
            local = joined(COLLECTIONS[name], r.local_field)
            remote = joined(COLLECTIONS[r.collection], r.remote_field)
            if local.kind is not remote.kind:
                raise TypeError(f"relation {name}.{r.name}: {local.kind} can't equal {remote.kind}")


def joined(c: Collection, path: str) -> Field:
    """The value a relation's field holds: the field itself, the elements of a list, or a part of its records."""
    first, _, rest = path.partition(".")
    f = fields_of(c.view.row).get(first)
    if f is not None and f.kind is Kind.many:
        f = f.each
    if f is not None and rest:
        f = f.parts.get(rest)
    if f is None or f.kind not in SCALARS:
        raise ValueError(f"{c.name}.{path} can't carry a relation")
    return f
