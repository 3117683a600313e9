"""The people and organisations that rows name: members by name or address, organisations and contacts by name, found or made.

A file never makes members: whoever is a member may be let in, so only an owner adds one. A name of no member stays as text where
the record has a place for it, and in the kept row; importing the file again after the member was added assigns the work to them.
"""

from typing import Any
from uuid import UUID

import psycopg

from commands.contacts import CreateContact, create_contact
from commands.kernel import Work
from commands.organisations import CreateOrganisation, create_organisation
from domain import contacts, organisations
from domain.contacts import CONTACT
from domain.kernel import EVENTS, FirmId
from domain.members import MEMBER, Member, normalised
from domain.organisations import ORGANISATION
from infra.imports.into.kernel import Names, Read, folded
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import Vault

MOST_MEMBERS = 20_000
MOST_UNKNOWN = 10_000


class Members:
    """The firm's members by name and by address, as they stood when the import began."""

    def __init__(self, c: psycopg.Connection[Any], vault: Vault, firm: FirmId) -> None:
        states: dict[UUID, Member] = {}
        with c.cursor(binary=True) as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %s AND type = ANY(%s) AND stream_type = %s"
                " ORDER BY position LIMIT %s",
                (firm, [n for n in EVENTS if n.startswith("members.")], MEMBER.type, MOST_MEMBERS * 10),
            )
            while batch := cursor.fetchmany(1_000):
                rows = [EventRow(*r) for r in batch]
                keys = fetch_keys(c, vault, rows)
                for row in rows:
                    states[row.stream_id] = MEMBER.evolve(states.get(row.stream_id, MEMBER.initial), decode(row, vault, keys).event)
        self._by: dict[str, UUID | None] = {}
        for id, m in states.items():
            for name in {folded(m.name or ""), normalised(m.email or "")} - {""}:
                self._by[name] = None if name in self._by else id  # a name that two members share names neither
        self._unknown: set[str] = set()

    def find(self, name: str | None) -> UUID | None:
        """The member of this name or address."""
        if not name:
            return None
        found = self._by.get(folded(name)) or self._by.get(normalised(name))
        if found is None and len(self._unknown) < MOST_UNKNOWN:
            self._unknown.add(folded(name))
        return found

    def notes(self) -> tuple[str, ...]:
        n = len(self._unknown)
        if not n:
            return ()
        return (
            f"{n:,} names of people who own or did the work are no members; they were kept as text. Add them as members and import again.",
        )


# --- organisations


class Organisations:
    """Organisations that rows name. One that nobody described yet is made of its name alone."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def key(self, name: str) -> UUID:
        return self.names.key("organisation", name)

    def named(self, name: str) -> UUID:
        """The organisation of this name, found or to be."""
        key = self.key(name)
        found = self.names.find(key)
        if found is not None:
            return found[0]
        id = self.names.id("organisation", folded(name))
        self.names.claim(key, id)
        return id

    def described(self, name: str, source_key: UUID) -> UUID:
        """The organisation that a row describes: the one its source id stood for before, else the one of its name.

        A name that another source row describes already is another organisation's.
        """
        found = self.names.find(source_key)
        if found is not None:
            id = found[0]
        else:
            by_name = self.names.find(self.key(name))
            if by_name is None:
                id = self.names.id("organisation", folded(name))
            elif by_name[1] in {None, source_key}:
                id = by_name[0]
            else:
                id = self.names.id("organisation", str(source_key))
            self.names.claim(source_key, id, source_key)
        by_name = self.names.find(self.key(name))
        if by_name is None or by_name[1] is None:
            self.names.claim(self.key(name), id, source_key)
        return id

    def reads(self, name: str | None) -> list[Read]:
        return [] if name is None else [(ORGANISATION, self.named(name))]

    async def ensure(self, w: Work, name: str, id: UUID, *, restore: bool) -> UUID:
        """The organisation in the record: made of its name when there is none, out of the archive again when asked to."""
        entity = await w.find(ORGANISATION, id)
        if entity.version == 0:
            await create_organisation(CreateOrganisation.tolerant({"name": name[:300]}), w, id)
        elif restore and entity.state.archived and entity.state.merged_into is None:
            w.record(entity, organisations.restore(entity.state))
        return id if entity.state.merged_into is None else entity.state.merged_into


class Contacts:
    """Persons that rows of deals and tasks name, by address or by name."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def keys(self, name: str | None, email: str | None) -> list[UUID]:
        named = [self.names.key("contact-name", name)] if name else []
        return ([self.names.key("contact-email", email)] if email else []) + named

    def named(self, name: str | None, email: str | None) -> UUID | None:
        """The contact of this address, else of this name, found or to be."""
        keys = self.keys(name, email)
        if not keys:
            return None
        found = next((f for k in keys if (f := self.names.find(k)) is not None), None)
        id = found[0] if found else self.names.id("contact", "named", folded(email or name or ""))
        for k in keys:
            if self.names.find(k) is None:
                self.names.claim(k, id)
        return id

    def claim(self, id: UUID, name: str | None, emails: tuple[str, ...]) -> None:
        """The names under which a described contact is found."""
        for k in [
            *(self.names.key("contact-email", e) for e in emails[:3]),
            *([self.names.key("contact-name", name)] if name else []),
        ]:
            if self.names.find(k) is None:
                self.names.claim(k, id)

    async def ensure(self, w: Work, id: UUID, name: str | None, email: str | None, *, restore: bool) -> UUID:
        entity = await w.find(CONTACT, id)
        if entity.version == 0:
            given: dict[str, object] = {}
            if name:
                given["display_name"] = name[:300]
            if email:
                given["emails"] = [{"address": email, "primary": True}]
            await create_contact(CreateContact.tolerant(given), w, id)
        elif restore and entity.state.archived and entity.state.merged_into is None:
            w.record(entity, contacts.restore(entity.state))
        return id if entity.state.merged_into is None else entity.state.merged_into
