"""Undoing what happened to contacts, organisations, relations, notes and fields."""

from typing import Any

from commands.organisations import path_of
from commands.undo import NotTheWay, Undo, final, undoing
from domain import contacts, fields, notes, organisations, relations
from domain.contacts import CONTACT
from domain.fields import FIELD
from domain.notes import NOTE
from domain.organisations import ORGANISATION
from domain.people import said
from domain.relations import RELATION

contact = undoing(CONTACT, "contacts:write", each=("tags",))
organisation = undoing(ORGANISATION, "contacts:write", each=("tags",))
relation = undoing(RELATION, "contacts:write")
note = undoing(NOTE, "contacts:write")
definition = undoing(FIELD, "firm:write")


def profile_before(u: Undo) -> dict[str, Any]:
    """The values that the event replaced: those it changed or cleared, and the issues that a new value settles."""
    named = {name for name in u.e.cleared if not name.startswith("custom.")}
    for part in (u.e.profile, getattr(u.e, "reach", None)):
        named |= set(said(part)) if part is not None else set()
    return {name: getattr(u.was.profile, name) for name in named}


def custom_before(u: Undo) -> dict[str, Any]:
    keys = {k.removeprefix("custom.") for k in u.e.cleared} | set(
        getattr(u.e, "custom", None) or getattr(u.e, "values", None) or ()
    )
    return {key: u.was.custom.get(key) for key in keys}


# --- contacts


@contact(contacts.ContactCreated)
def contact_created(u: Undo) -> Any:
    return contacts.archive(u.now, reason=u.reason)


@contact(contacts.ContactAmended)
def contact_amended(u: Undo) -> Any:
    return contacts.amend(u.now, changes=profile_before(u))


@contact(contacts.ContactCorrected)
def contact_corrected(u: Undo) -> Any:
    if u.e.field.startswith("custom."):
        return contacts.set_custom(
            u.now, values={u.e.field.removeprefix("custom."): u.was.custom.get(u.e.field.removeprefix("custom."))}
        )
    return contacts.amend(u.now, changes=profile_before(u))


@contact(contacts.ContactCustomSet)
def contact_custom(u: Undo) -> Any:
    return contacts.set_custom(u.now, values=custom_before(u))


@contact(contacts.ContactTagged)
def contact_tagged(u: Undo) -> Any:
    return contacts.untag(u.now, tags=u.e.tags or ())


@contact(contacts.ContactUntagged)
def contact_untagged(u: Undo) -> Any:
    return contacts.tag(u.now, tags=u.e.tags or ())


@contact(contacts.ContactOwnerAssigned)
def contact_assigned(u: Undo) -> Any:
    return contacts.assign(u.now, owner=u.was.owner)


@contact(contacts.ContactArchived)
def contact_archived(u: Undo) -> Any:
    return contacts.restore(u.now)


@contact(contacts.ContactRestored)
def contact_restored(u: Undo) -> Any:
    return contacts.archive(u.now, reason=u.reason)


@contact(contacts.ContactAbsorbed, over=True)
def contact_absorbed(u: Undo) -> Any:
    return contacts.release(u.now, other_id=u.e.other, reason=u.reason)


@contact(contacts.ContactMergedInto)
def contact_merged(u: Undo) -> Any:
    return contacts.unmerge(u.now)


# --- organisations


@organisation(organisations.OrganisationCreated)
def organisation_created(u: Undo) -> Any:
    return organisations.archive(u.now, reason=u.reason)


@organisation(organisations.OrganisationAmended)
def organisation_amended(u: Undo) -> Any:
    return organisations.amend(u.now, changes=profile_before(u))


@organisation(organisations.OrganisationCorrected)
def organisation_corrected(u: Undo) -> Any:
    if u.e.field.startswith("custom."):
        key = u.e.field.removeprefix("custom.")
        return organisations.set_custom(u.now, values={key: u.was.custom.get(key)})
    return organisations.amend(u.now, changes=profile_before(u))


@organisation(organisations.OrganisationCustomSet)
def organisation_custom(u: Undo) -> Any:
    return organisations.set_custom(u.now, values=custom_before(u))


@organisation(organisations.OrganisationPlaced)
async def organisation_placed(u: Undo) -> Any:
    return organisations.place(u.now, id=u.id, parent=u.was.parent, path=await path_of(u.w, u.was.parent))


@organisation(organisations.OrganisationTagged)
def organisation_tagged(u: Undo) -> Any:
    return organisations.untag(u.now, tags=u.e.tags)


@organisation(organisations.OrganisationUntagged)
def organisation_untagged(u: Undo) -> Any:
    return organisations.tag(u.now, tags=u.e.tags)


@organisation(organisations.OrganisationOwnerAssigned)
def organisation_assigned(u: Undo) -> Any:
    return organisations.assign(u.now, owner=u.was.owner)


@organisation(organisations.OrganisationArchived)
def organisation_archived(u: Undo) -> Any:
    return organisations.restore(u.now)


@organisation(organisations.OrganisationRestored)
def organisation_restored(u: Undo) -> Any:
    return organisations.archive(u.now, reason=u.reason)


@organisation(organisations.OrganisationAbsorbed, over=True)
def organisation_absorbed(u: Undo) -> Any:
    return organisations.release(u.now, other_id=u.e.other, reason=u.reason)


@organisation(organisations.OrganisationMergedInto, exact=False)
async def organisation_merged(u: Undo) -> Any:
    return organisations.unmerge(u.now, id=u.id, path=await path_of(u.w, u.now.parent))


# --- relations


@relation(relations.RelationRecorded)
def relation_recorded(u: Undo) -> Any:
    return relations.remove(u.now, reason=u.reason)


@relation(relations.RelationAmended)
def relation_amended(u: Undo) -> Any:
    named = set(u.e.cleared) | (set(said(u.e.particulars)) if u.e.particulars is not None else set())
    return relations.amend(u.now, changes={name: getattr(u.was.particulars, name) for name in named})


@relation(relations.RelationEnded)
def relation_ended(u: Undo) -> Any:
    return relations.amend(u.now, changes={"valid_to": u.was.particulars.valid_to})


@relation(relations.RelationRemoved)
def relation_removed(u: Undo) -> Any:
    told = u.before(relations.RelationRecorded)
    if told is None:
        raise NotTheWay
    source, target = relations.End(type=told.source_type, id=told.source), relations.End(type=told.target_type, id=told.target)
    return relations.record(u.now, source=source, target=target, particulars=u.was.particulars)


# --- notes


@note(notes.NoteWritten)
def note_written(u: Undo) -> Any:
    return notes.remove(u.now)


@note(notes.NoteEdited)
def note_edited(u: Undo) -> Any:
    return notes.edit(u.now, text=u.was.text or "")


@note(notes.NotePinned)
def note_pinned(u: Undo) -> Any:
    return notes.unpin(u.now)


@note(notes.NoteUnpinned)
def note_unpinned(u: Undo) -> Any:
    return notes.pin(u.now)


@note(notes.NoteRemoved)
def note_removed(u: Undo) -> Any:
    past = [r for r in u.past if r.version < u.version]
    written, edited = past[0], next((r for r in reversed(past) if isinstance(r.event, notes.NoteEdited)), None)
    return notes.reinstate(
        u.now,
        whole=notes.NoteReinstated(
            about_type=written.event.about_type,
            about=written.event.about,
            kind=written.event.kind,
            text=u.was.text,
            happened_at=written.occurred_at,
            written_by=written.actor,
            edited_by=edited.actor if edited else None,
            edited_at=edited.recorded_at if edited else None,
            pinned=u.was.pinned,
        ),
    )


@note(notes.NoteReinstated)
def note_reinstated(u: Undo) -> Any:
    return notes.remove(u.now)


# --- fields


@definition(fields.FieldDefined)
def field_defined(u: Undo) -> Any:
    return fields.retire(u.now, reason=u.reason)


@definition(fields.FieldAmended)
def field_amended(u: Undo) -> Any:
    named = set(u.e.cleared) | (set(said(u.e.settings)) if u.e.settings is not None else set())
    return fields.amend(u.now, changes={name: getattr(u.was.settings, name) for name in named})


@definition(fields.FieldRetired)
def field_retired(u: Undo) -> Any:
    return fields.reinstate(u.now)


@definition(fields.FieldReinstated)
def field_reinstated(u: Undo) -> Any:
    return fields.retire(u.now, reason=u.reason)


final(contacts.ContactReleased, "They are apart again. Merge them again if they are one.")
final(contacts.ContactUnmerged, "They are apart again. Merge them again if they are one.")
final(organisations.OrganisationReleased, "They are apart again. Merge them again if they are one.")
final(organisations.OrganisationUnmerged, "They are apart again. Merge them again if they are one.")
