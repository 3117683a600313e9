"""Contacts and organisations: created or amended, with who works where, parents, notes, tags and the firm's own fields.

An amendment sets what the row says and clears nothing: an empty cell does not tell that a value is wrong.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from commands.contacts import CreateContact, create_contact
from commands.contacts import read_fields as contact_fields
from commands.kernel import Work
from commands.notes import WriteNote, write_note
from commands.organisations import CreateOrganisation, create_organisation, path_of
from commands.organisations import read_fields as organisation_fields
from commands.people import COUNTRIES, custom, read
from domain import contacts, fields, organisations, relations
from domain.contacts import CONTACT
from domain.fields import FIELD, AppliesTo
from domain.kernel import Refused
from domain.notes import NOTE
from domain.organisations import ORGANISATION
from domain.people import Issue
from domain.relations import RELATION, End, Particulars
from infra.imports.contacts import ContactRecord
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, Read, folded, line_of, slug, taken, text_of
from infra.imports.into.people import Contacts, Members, Organisations
from infra.imports.rows import Mapped

MOST_FIELDS = 200


class ErasedPerson(Refused):
    """This is an address of a person whose data was erased at their wish, and nobody is imported under it again."""


class ContactCarrier:
    """`source` is the namespace of the file's own ids."""

    notes: Sequence[str] = ()

    def __init__(self, names: Names, members: Members, source: str, file: Any) -> None:
        self._names = names
        self._members = members
        self._source = source
        self._file = file
        self._organisations = Organisations(names)
        self._contacts = Contacts(names)
        self._cards = file.form in {"vcard", "jcard", "xcard"}

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        """Define the fields of the firm's own that the map names."""
        wanted = [t.removeprefix("custom.") for t in self._file.map.fields if t.startswith("custom.")][:MOST_FIELDS]
        kinds: tuple[AppliesTo, ...] = ("organisation",) if self._file.map.record == "organisation" else ("contact", "organisation")
        if "kind" not in self._file.map.fields and self._file.map.record == "person":
            kinds = ("contact",)
        for name in wanted:
            for kind in kinds:
                yield _definition(kind, name)

    def _key(self, r: ContactRecord) -> UUID:
        return self._names.id("organisation-row" if r.kind == "organisation" else "contact-row", self._source, r.source_id)

    def names(self, row: Mapped[Any]) -> Iterable[UUID]:
        r: ContactRecord = taken(row)
        yield self._key(r)
        for name in (r.organisation, r.parent, r.display_name if r.kind == "organisation" else None):
            if name:
                yield self._organisations.key(name)
        if r.kind != "organisation":
            yield from self._contacts.keys(r.display_name, None)
            for e in r.emails[:3]:
                yield from self._contacts.keys(None, e.value)

    def place(self, row: Mapped[Any]) -> Carry:
        r: ContactRecord = taken(row)
        key = self._key(r)
        owner = self._members.find(r.owner)
        if r.kind == "organisation":
            id = self._organisations.described(r.display_name, key)
            parent = self._organisations.named(r.parent) if r.parent and folded(r.parent) != folded(r.display_name) else None

            async def organisation(w: Work, c: Carrying) -> Outcome:
                return await self._organisation(r, w, c, id, owner, parent)

            reads: list[Read] = [(ORGANISATION, i) for i in (id, parent) if i is not None]
            return Carry(
                stream=ORGANISATION, id=id, source_key=key, subject=id, run=organisation, reads=reads, rests_on=f"{owner}{parent}"
            )
        found = self._names.find(key)
        id = found[0] if found else self._names.id("contact", self._source, r.source_id)
        self._contacts.claim(id, r.display_name, tuple(e.value for e in r.emails))
        employer = self._organisations.named(r.organisation) if r.organisation else None

        erased = not found and self._names.erased([*(e.value for e in r.emails), *(p.value for p in r.phones)])

        async def contact(w: Work, c: Carrying) -> Outcome:
            if erased:
                raise ErasedPerson
            return await self._contact(r, w, c, id, owner, employer)

        reads = [(CONTACT, id), *([(ORGANISATION, employer)] if employer else [])]
        return Carry(stream=CONTACT, id=id, source_key=key, subject=id, run=contact, reads=reads, rests_on=f"{owner}{employer}")

    # --- persons and groups

    async def _contact(
        self, r: ContactRecord, w: Work, c: Carrying, id: UUID, owner: UUID | None, employer: UUID | None
    ) -> Outcome:
        entity = await w.find(CONTACT, id)
        command = CreateContact.tolerant(_contact_values(r))
        before = len(w.made)
        if entity.version == 0:
            entity = await create_contact(command, w, id)
            if owner is not None:
                w.record(entity, contacts.assign(entity.state, owner=owner))
            self._say(c, entity.state.profile.issues)
            outcome: Outcome = "created"
        else:
            if c.undone and entity.state.archived:
                w.record(entity, contacts.restore(entity.state))
            reading = await read(w, lenient=True, addresses=command.addresses)
            given = contact_fields(command, command.model_fields_set, reading)
            changes = {k: v for k, v in given.items() if v not in {None, ()}}
            own = {k: v for k, v in (await custom(w, "contact", command.custom, reading)).items() if v is not None}
            self._say(c, (*(Issue(field=i.field, value=i.value, reason=i.reason) for i in command.issues), *reading.issues))
            changes = {k: v for k, v in changes.items() if not c.stays(k, getattr(entity.state.profile, k, None), v)}
            own = {k: v for k, v in own.items() if not c.stays(f"custom.{k}", entity.state.custom.get(k), v)}
            w.record(entity, contacts.amend(entity.state, changes=changes))
            if own:
                w.record(entity, contacts.set_custom(entity.state, values=own))
            if (tags := tuple(command.tags or ())) and not c.stays("tags", {*entity.state.tags}, {*entity.state.tags, *tags}):
                w.record(entity, contacts.tag(entity.state, tags=tags))
            if owner is not None and not c.stays("owner", entity.state.owner, owner):
                w.record(entity, contacts.assign(entity.state, owner=owner))
            outcome = "changed"
        if employer is not None and r.organisation:
            await self._works_at(r, w, c, id, employer)
        await self._note(r.notes, w, c, id, "contact", "note")
        if self._cards:
            await self._note(_leftovers(r), w, c, id, "contact", "leftovers")
        return outcome if len(w.made) > before else "unchanged"

    async def _works_at(self, r: ContactRecord, w: Work, c: Carrying, id: UUID, employer: UUID) -> None:
        at = await self._organisations.ensure(w, r.organisation or "", employer, restore=c.undone)
        relation = await w.find(RELATION, w.derive_id("relation", "works_at", "", str(id), str(at), "None"))
        if relation.version and not relation.state.removed:
            return
        if relation.state.removed and not c.undone:
            return  # somebody took it back
        title = line_of(r.title, 300)
        w.record(
            relation,
            relations.record(
                relation.state,
                source=End(type="contact", id=id),
                target=End(type="organisation", id=at),
                particulars=Particulars(kind="works_at", label=title),
            ),
        )

    async def _note(self, text: str | None, w: Work, c: Carrying, about: UUID, about_type: str, which: str) -> None:
        """A note of the row's, written once for each text; one that was taken back by an undo is written again."""
        said = text_of(text, 20_000)
        if said is None:
            return
        for again in range(100):
            id = w.derive_id("import", "note", str(about), which, said, str(again))
            note = await w.find(NOTE, id)
            if note.version == 0:
                command = WriteNote.model_validate({"about_type": about_type, "about": about, "text": said})
                await write_note(command, w, id)
                return
            if not (note.state.removed and c.undone):
                return

    # --- organisations

    async def _organisation(
        self, r: ContactRecord, w: Work, c: Carrying, id: UUID, owner: UUID | None, parent: UUID | None
    ) -> Outcome:
        entity = await w.find(ORGANISATION, id)
        if parent is not None:
            parent = await self._organisations.ensure(w, r.parent or "", parent, restore=c.undone)
        values = _organisation_values(r)
        command = CreateOrganisation.tolerant(values)
        before = len(w.made)
        if entity.version == 0:
            entity = await create_organisation(command, w, id)
            self._say(c, entity.state.profile.issues)
            outcome: Outcome = "created"
        else:
            if c.undone and entity.state.archived:
                w.record(entity, organisations.restore(entity.state))
            reading = await read(w, lenient=True, addresses=command.addresses)
            given = organisation_fields(command, command.model_fields_set, reading)
            changes = {k: v for k, v in given.items() if v not in {None, ()}}
            own = {k: v for k, v in (await custom(w, "organisation", command.custom, reading)).items() if v is not None}
            self._say(c, (*(Issue(field=i.field, value=i.value, reason=i.reason) for i in command.issues), *reading.issues))
            changes = {k: v for k, v in changes.items() if not c.stays(k, getattr(entity.state.profile, k, None), v)}
            own = {k: v for k, v in own.items() if not c.stays(f"custom.{k}", entity.state.custom.get(k), v)}
            w.record(entity, organisations.amend(entity.state, changes=changes))
            if own:
                w.record(entity, organisations.set_custom(entity.state, values=own))
            if (tags := tuple(command.tags or ())) and not c.stays("tags", {*entity.state.tags}, {*entity.state.tags, *tags}):
                w.record(entity, organisations.tag(entity.state, tags=tags))
            outcome = "changed"
        if owner is not None and not c.stays("owner", entity.state.owner, owner):
            w.record(entity, organisations.assign(entity.state, owner=owner))
        if parent is not None and not c.stays("parent", entity.state.parent, parent):
            try:
                w.record(entity, organisations.place(entity.state, id=id, parent=parent, path=await path_of(w, parent)))
            except Refused as e:
                c.doubt("parent", r.parent or "", f"{e.why} The organisation was carried without this parent")
        await self._note(r.notes, w, c, id, "organisation", "note")
        if self._cards:
            await self._note(_leftovers(r), w, c, id, "organisation", "leftovers")
        return outcome if len(w.made) > before else "unchanged"

    def _say(self, c: Carrying, found: tuple[Issue, ...] | None) -> None:
        for i in found or ():
            c.doubt(i.field, i.value, f"{i.reason}; it was kept as it came")


def _definition(kind: AppliesTo, name: str) -> Callable[[Work], Awaitable[None]]:
    async def define(w: Work) -> None:
        key = slug(name)
        field = await w.find(FIELD, w.derive_id("field", kind, key))
        if not field.state.defined:
            settings = fields.Settings(label=line_of(name, 100))
            w.record(field, fields.define(field.state, applies_to=kind, key=key, kind="text", settings=settings))
        elif field.state.retired:
            w.record(field, fields.reinstate(field.state))

    return define


# --- values


def _common(r: ContactRecord) -> dict[str, Any]:
    values: dict[str, Any] = {
        "emails": [{"address": e.value, "label": _label(e.label), "primary": e.preferred} for e in r.emails],
        "phones": [{"number": p.value, "label": _label(p.label), "primary": p.preferred} for p in r.phones],
        "addresses": [_address(a) for a in r.addresses],
        "websites": [{"url": u.value.strip(), "label": _label(u.label)} for u in r.urls]
        + [{"url": _handle(i.value, i.label), "label": _label(i.label)} for i in r.ims],
        "tags": [t for tag in dict.fromkeys((*r.tags, *r.categories)) if (t := line_of(tag, 100))],
        "custom": {slug(k): v for k, v in r.custom.items() if v},
    }
    return {k: v for k, v in values.items() if v}


def _contact_values(r: ContactRecord) -> dict[str, Any]:
    anniversary = next((d.value for d in r.dates if d.label == "anniversary"), None)
    one = {
        "display_name": r.full_name,
        "given": r.given_name,
        "middle": r.additional_name,
        "family": r.family_name,
        "prefix": r.prefix,
        "suffix": r.suffix,
        "nickname": r.nickname,
        "job_title": r.title,
        "role": r.role,
        "department": r.department,
        "organisation_name": r.organisation,
        "birthday": r.birthday,
        "anniversary": anniversary,
        "languages": [r.language] if r.language else None,
        "photo": r.photo if r.photo and not r.photo.startswith("inline ") else None,
    }
    values = {k: v for k, v in one.items() if v} | _common(r)
    if not any(values.get(k) for k in ("display_name", "given", "family", "nickname", "organisation_name", "emails", "phones")):
        values["display_name"] = r.display_name
    return values


def _organisation_values(r: ContactRecord) -> dict[str, Any]:
    values: dict[str, Any] = {"name": line_of(r.display_name, 300), **_common(r)}
    if r.categories:
        values["industry"] = line_of(r.categories[0], 300)
        values["tags"] = [t for tag in r.tags if (t := line_of(tag, 100))]
        if len(r.categories) > 1:
            values["tags"] += [t for tag in r.categories[1:] if (t := line_of(tag, 100))]
    return {k: v for k, v in values.items() if v}


def _label(label: str) -> str | None:
    return line_of(label, 100)


def _address(a: Any) -> dict[str, Any]:
    street = [
        s for part in (a.po_box and f"PO Box {a.po_box}", a.extended, a.street) if part for s in part.split("\n") if s.strip()
    ]
    if not street and a.formatted and not (a.city or a.postal_code):
        street = [s for s in a.formatted.split("\n") if s.strip()]
    country = (a.country or "").strip()
    values: dict[str, Any] = {
        "street": street[:10],
        "city": a.city,
        "state": a.region,
        "postal_code": a.postal_code,
        "country": country.upper() if country.upper() in COUNTRIES else None,
        "country_name": country or None if country.upper() not in COUNTRIES else None,
        "latitude": a.latitude,
        "longitude": a.longitude,
        "label": _label(a.label),
        "primary": a.preferred or None,
    }
    return {k: v for k, v in values.items() if v}


def _handle(value: str, label: str) -> str:
    """A messenger handle as a URI."""
    text = "".join(value.split())
    return text if ":" in text else f"{slug(label or 'im')}:{text}"


def _leftovers(r: ContactRecord) -> str | None:
    """What a card says and no field takes, as text for a note."""
    said: Mapping[str, Any] = {
        **{f"{x.label or 'related'}": x.value for x in r.relations},
        **{f"{x.label or 'date'}": x.value for x in r.dates if x.label != "anniversary"},
        "gender": r.gender,
        "timezone": r.timezone,
        "phonetic name": " ".join(filter(None, (r.phonetic_given_name, r.phonetic_family_name))),
        "members": ", ".join(r.members),
        "photo": r.photo if r.photo and r.photo.startswith("inline ") else None,
        **r.extra,
    }
    lines = [f"{k}: {v}" for k, v in said.items() if v]
    return "\n".join(["From the imported card", *lines]) if lines else None
