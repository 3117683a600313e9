"""Consents that were given, refused and withdrawn elsewhere, added to the chains of the contacts they are about.

IC1  An import never overwrites a person's no: such a row is rejected with that reason, and kept; of a row with several purposes the
     others are carried and this one is reported.
IC2  It opens no suppression and closes none.
IC3  Every act has the time that the file says, its evidence, and the import as its batch; it never comes to be at the time of importing.
IC4  Nobody is created: a row whose person is not found, or is found twice, is rejected.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from commands.consent import GiveConsent, RefuseConsent, WithdrawConsent, give, refuse, withdraw
from commands.kernel import Work
from domain.consent import CONSENT
from domain.consent.refusals import ImportNeverOverwrites
from domain.consent.words import SAID_NO, VALID, Channel
from domain.contacts import CONTACT
from domain.kernel import FirmId
from domain.purposes import PURPOSES, Tree
from infra.imports.consents import ConsentRecord
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, RowUnusable, folded, line_of, slug, taken, text_of
from infra.imports.rows import Mapped

REMEMBERED = 50_000
PRIMARY_EMAIL = (
    "SELECT lower(c.email), c.id FROM views.contacts c WHERE c.firm_id = %s AND c.status IN ('active', 'archived')"
    " AND lower(c.email) = ANY(%s)"
)
PRIMARY_PHONE = (
    "SELECT ltrim(c.phone, '+'), c.id FROM views.contacts c WHERE c.firm_id = %s AND c.status IN ('active', 'archived')"
    " AND c.phone = ANY(SELECT '+' || x FROM unnest(%s::text[]) x)"
)
BY_EMAIL = (
    "SELECT lower(e ->> 'address'), c.id FROM views.contacts c, jsonb_array_elements(c.emails) e WHERE c.firm_id = %s"
    " AND c.status IN ('active', 'archived') AND lower(e ->> 'address') = ANY(%s)"
)
BY_PHONE = (
    "SELECT regexp_replace(p ->> 'number', '[^0-9]', '', 'g'), c.id FROM views.contacts c, jsonb_array_elements(c.phones) p"
    " WHERE c.firm_id = %s AND c.status IN ('active', 'archived') AND regexp_replace(p ->> 'number', '[^0-9]', '', 'g') = ANY(%s)"
)
THERE = "SELECT DISTINCT stream_id FROM record.events WHERE firm_id = %s AND stream_type = 'contact' AND stream_id = ANY(%s)"
STREETS = {Channel.EMAIL: "email", Channel.SMS: "phone", Channel.PHONE: "phone"}


class ConsentCarrier:
    """`source` is the namespace of the file's own ids, of acts and of contacts alike: import both with the same `--source`, or let people be
    found by their addresses."""

    notes: Sequence[str] = ()

    def __init__(self, names: Names, source: str, c: psycopg.Connection[Any], firm: FirmId) -> None:
        self._names = names
        self._source = source
        self._c = c
        self._firm = firm
        self._emails: dict[str, tuple[UUID, ...]] = {}
        self._phones: dict[str, tuple[UUID, ...]] = {}
        self._asked: set[UUID] = set()
        self._there: set[UUID] = set()
        self._wanted: tuple[set[str], set[str]] = (set(), set())

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        return ()

    def names(self, row: Mapped[Any]) -> Iterable[UUID]:
        r: ConsentRecord = taken(row)
        yield self._key(r)
        if r.contact_id:
            yield self._names.id("contact-row", self._source, r.contact_id)
            self._asked.add(self._names.id("contact", self._source, r.contact_id))
            if (id := _uuid(r.contact_id)) is not None:
                self._asked.add(id)
        if r.email:
            yield self._names.key("contact-email", r.email)
            if r.email.strip().lower() not in self._emails:
                self._wanted[0].add(r.email.strip().lower())
        if r.phone and (digits := _digits(r.phone)) and digits not in self._phones:
            self._wanted[1].add(digits)

    def _key(self, r: ConsentRecord) -> UUID:
        return self._names.id("consent-row", self._source, r.source_id)

    def _look(self) -> None:
        """Look up the addresses of a whole chunk at once: first those that contacts are reached by, then, of the rest, any that they have."""
        if self._asked:
            if len(self._there) > REMEMBERED:
                self._there.clear()
            self._there |= {id for (id,) in self._c.execute(THERE, (self._firm, list(self._asked))).fetchall()}
            self._asked.clear()
        for quick, slow, wanted, known in (
            (PRIMARY_EMAIL, BY_EMAIL, self._wanted[0], self._emails),
            (PRIMARY_PHONE, BY_PHONE, self._wanted[1], self._phones),
        ):
            if not wanted:
                continue
            if len(known) + len(wanted) > REMEMBERED:
                known.clear()
            found: dict[str, set[UUID]] = {}
            for sql in (quick, slow):
                rest = [a for a in wanted if a not in found]
                for address, id in self._c.execute(sql, (self._firm, rest)).fetchall() if rest else ():
                    found.setdefault(address, set()).add(id)
            known.update({a: tuple(found.get(a, ())) for a in wanted})
            wanted.clear()

    def _contact(self, r: ConsentRecord) -> UUID:
        self._look()
        if r.contact_id:
            found = self._names.find(self._names.id("contact-row", self._source, r.contact_id))
            if found is not None:
                return found[0]
            for id in (self._names.id("contact", self._source, r.contact_id), _uuid(r.contact_id)):
                if id is not None and id in self._there:
                    return id
        for address, known in ((r.email and r.email.strip().lower(), self._emails), (r.phone and _digits(r.phone), self._phones)):
            ids = known.get(address, ()) if address else ()
            if len(ids) > 1:
                raise RowUnusable(
                    "Several contacts have this address or number, so it is not known who said it. Merge them, or name the contact by id."
                )
            if ids:
                return ids[0]
        if r.email and (claimed := self._names.find(self._names.key("contact-email", r.email))) is not None:
            return claimed[0]
        raise RowUnusable("No contact has this id, address or number. Import the contacts first, with the same --source.")

    def place(self, row: Mapped[Any]) -> Carry:
        r: ConsentRecord = taken(row)
        contact = self._contact(r)
        if self._names.erased([a for a in (r.email, r.phone, r.contact_point) if a]):
            raise RowUnusable(
                "This is an address of a person whose data was erased at their wish. Nothing is imported about them again."
            )

        async def run(w: Work, c: Carrying) -> Outcome:
            return await self._act(r, w, c, contact)

        reads: list[Any] = [(CONSENT, contact), (CONTACT, contact), (PURPOSES, self._firm)]
        return Carry(
            stream=CONSENT, id=contact, source_key=self._key(r), subject=contact, run=run, reads=reads, rests_on=str(contact)
        )

    async def _act(self, r: ConsentRecord, w: Work, c: Carrying, contact: UUID) -> Outcome:
        person = await w.find(CONTACT, contact)
        while person.state.merged_into is not None:
            person = await w.find(CONTACT, person.state.merged_into)
        if person.version == 0:
            raise RowUnusable("No contact has this id, address or number. Import the contacts first, with the same --source.")
        if person.state.erased:
            raise RowUnusable("The contact was erased. Nothing is imported about them again.")
        keys = _keys((await w.find(PURPOSES, w.firm)).state, r.purposes)
        chain = await w.find(CONSENT, person.id)
        before = chain.state.seq
        channel = Channel(r.channel)
        about: dict[str, Any] = {
            "id": str(person.id),
            "channel": channel.value,
            "occurred_at": r.at,
            "collection_method": "import",
            "capture_source": line_of(r.capture_source, 200),
            "evidence": [{"sha256": sha, "media_type": media} for sha, media in r.evidence],
            "ip_address": r.ip_address,
            "contact_point": text_of(r.contact_point or getattr(r, STREETS.get(channel, ""), None), 500),
            "remark": text_of(r.remark, 2000),
        }
        about = {k: v for k, v in about.items() if v is not None}
        if r.said == "withdrawn":
            await withdraw(WithdrawConsent.model_validate({**about, "purposes": keys}), w)
        elif r.said == "refused":
            await refuse(RefuseConsent.model_validate({**about, "purposes": keys}), w)
        else:
            await self._give(r, w, c, chain.state, about, keys, channel)
        if chain.state.seq > before:
            return "created"
        c.doubt("status", r.said, "this stands already, so nothing was recorded")
        return "unchanged"

    async def _give(
        self, r: ConsentRecord, w: Work, c: Carrying, stands: Any, about: dict[str, Any], keys: list[str], channel: Channel
    ) -> None:
        said_no = [k for k in keys if stands.at(k, channel, r.at).status in SAID_NO]
        open_ = [k for k in keys if k not in said_no]
        if not open_:
            raise ImportNeverOverwrites(purposes=said_no)
        for k in said_no:
            c.doubt("purpose", k, "the person refused or withdrew this before, and an import never overwrites a no")
        later = [k for k in open_ if any(m.since > r.at and m.status in SAID_NO for m in stands.marks.get((k, channel), ()))]
        for k in later:
            c.doubt("purpose", k, "the person has said no since; the consent is recorded at its own time, and the no stands")
        terms = {
            "consent_type": r.consent_type,
            "legal_basis": r.legal_basis,
            "jurisdiction": r.jurisdiction,
            "implied_by": r.implied_by,
            "effective_to": r.effective_to,
            "expires_at": r.expires_at,
            "notice": _notice(r),
        }
        command = GiveConsent.model_validate({**about, **{k: v for k, v in terms.items() if v is not None}, "purposes": open_})
        for k in open_:
            standing = stands.at(k, channel, r.at)
            if standing.status in VALID:
                c.doubt(
                    "status",
                    r.said,
                    "the person had given this consent before; an import adds to what is missing and alters nothing",
                )
        await give(command, w)


def _keys(tree: Tree, named: Iterable[str]) -> list[str]:
    """Keys of purposes that a row names by key or by name; one that is unknown stays, and is refused by name."""
    by_name = {slug(p.name, 64).replace("_", "-"): p.key for p in tree.purposes.values()}
    return list(dict.fromkeys(k if k in tree.keys else by_name.get(k, k) for k in named))


def _notice(r: ConsentRecord) -> dict[str, Any] | None:
    if r.notice is None:
        return None
    id = _uuid(r.notice)
    if id is None:
        raise RowUnusable(
            "The notice is not named by its id here. Publish the text as a notice, and write a value table in the map that leads to its id."
        )
    said: dict[str, Any] = {"id": str(id), "version": r.notice_version, "language": r.notice_language}
    return {k: v for k, v in said.items() if v is not None}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(folded(text))
    except ValueError:
        return None


def _digits(text: str) -> str:
    return "".join(ch for ch in text if ch in "0123456789")
