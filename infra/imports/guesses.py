"""Maps guessed from a header, or from the values where there is none; a guess is an ordinary map, printed and stored like one.

Names are known in English, German, French, Dutch, Spanish, Italian and Portuguese, and as Google Contacts, Outlook, Thunderbird, HubSpot,
Salesforce, Mautic and Jira write them. A column that is not recognised is left to `extra`: a wrong guess is worse than none.
"""

import re
from collections.abc import Iterable, Mapping

from infra.imports.maps import FieldMap, ImportMap
from infra.imports.tables import Table, normal
from infra.imports.values import date_form, decimal_sign, is_empty, number

_NAMES: dict[str, dict[str, str]] = {
    "contacts": {
        "id": "id|contact id|record id|rec id|uid|uuid|customer id|client id|person id|lead id|external id|kundennummer|kunden nr|numero client|klantnummer|contact record id",
        "full_name": "name|full name|fullname|display name|displayname|contact name|file as|customer name|client name|company contact|nombre completo|nom complet|nome completo|vollstandiger name|anzeigename",
        "prefix": "name prefix|prefix|salutation|honorific|anrede|civilite|aanhef|tratamiento|titolo onorifico",
        "given_name": "first name|firstname|given name|givenname|forename|first|vorname|prenom|voornaam|nombre|nome|primeiro nome|fname",
        "additional_name": "middle name|middlename|additional name|middle|zweiter vorname|tussenvoegsel|segundo nombre|deuxieme prenom",
        "family_name": "last name|lastname|surname|family name|familyname|last|nachname|familienname|nom|nom de famille|achternaam|apellido|apellidos|cognome|sobrenome|apelido|lname",
        "suffix": "name suffix|suffix|namenszusatz",
        "nickname": "nickname|nick name|spitzname|surnom|bijnaam|apodo|short name",
        "phonetic_given_name": "phonetic first name|given name yomi|first name phonetic",
        "phonetic_family_name": "phonetic last name|family name yomi|last name phonetic",
        "organisation": "company|company name|companyname|organization|organisation|organization name|organization 1 name|org|employer|account name|firma|firmenname|unternehmen|societe|entreprise|bedrijf|bedrijfsnaam|empresa|azienda|societa|associated company",
        "department": "department|organization department|organization 1 department|abteilung|service|afdeling|departamento|reparto",
        "title": "job title|jobtitle|position|organization title|organization 1 title|berufsbezeichnung|funktion|fonction|poste|functie|cargo|puesto|qualifica",
        "role": "role|profession|occupation|beruf",
        "email": "e mail|email|e mail address|email address|emailaddress|mail|e mail adresse|email adresse|courriel|adresse e mail|adresse mail|correo|correo electronico|e mailadres|e mail 1 address|indirizzo e mail|primary email|email 1",
        "email.2": "e mail 2 address|secondary email|email 2|other email|alternate email|additional email|zweite e mail",
        "email.3": "e mail 3 address|email 3|third email",
        "phone": "phone|phone number|telephone|telephone number|primary phone|tel|telefon|telefonnummer|telephone 1|telefoon|telefono|telefone|contact number|phone 1",
        "phone.mobile": "mobile|mobile phone|mobile number|mobile phone number|cell|cell phone|cellphone|handy|mobil|mobiltelefon|mobilnummer|portable|gsm|movil|cellulare|celular|telemovel",
        "phone.pager": "pager|pager number",
        "phone.fax": "fax|fax number|telefax|faxnummer",
        "phone.car": "car phone",
        "phone.radio": "radio phone",
        "phone.isdn": "isdn",
        "phone.telex": "telex",
        "phone.tty": "tty tdd phone",
        "phone.callback": "callback",
        "phone.main": "company main phone|main phone",
        "phone.assistant": "assistant s phone|assistant phone",
        "url": "website|web page|webpage|url|homepage|web site|website url|web page 1|webseite|site web|sitio web|sito web|internet",
        "url.2": "web page 2",
        "url.facebook": "facebook|facebook url",
        "url.twitter": "twitter|twitter handle|twitter username|x handle",
        "url.linkedin": "linkedin|linkedin url|linkedin profile",
        "im": "screen name|skype|im handle",
        "address.street": "street|address|address 1|address1|street address|street 1|mailing street|strasse|anschrift|adresse|rue|straat|adres|direccion|calle|indirizzo|via|endereco|rua|address line 1|addr1",
        "address.street2": "address 2|address2|street 2|address line 2|adresszusatz|addr2",
        "address.street3": "address 3|address3|street 3|address line 3",
        "address.number": "street number|house number|hausnummer|huisnummer",
        "address.city": "city|town|suburb|mailing city|ort|stadt|wohnort|ville|plaats|woonplaats|stad|ciudad|citta|cidade|localite|locality|companycity|company city",
        "address.region": "state|region|province|county|mailing state|state province|state region|bundesland|provincie|provincia|estado|departement|companystate|company state",
        "address.postal_code": "zip|zip code|zipcode|postal code|postalcode|postcode|post code|mailing zip|mailing postal code|plz|postleitzahl|code postal|codigo postal|cap|cep|zip postal code",
        "address.country": "country|country region|mailing country|land|pays|pais|paese|companycountry|company country",
        "address.latitude": "latitude|lat",
        "address.longitude": "longitude|lon|lng|long",
        "birthday": "birthday|birth date|birthdate|date of birth|dob|geburtstag|geburtsdatum|date de naissance|naissance|geboortedatum|fecha de nacimiento|data di nascita|data de nascimento",
        "birthday.year": "birth year",
        "birthday.month": "birth month",
        "birthday.day": "birth day",
        "anniversary": "anniversary|wedding anniversary|jahrestag|hochzeitstag",
        "gender": "gender|sex|geschlecht|sexe|geslacht|genero|sesso",
        "language": "language|preferred language|sprache|langue|taal|idioma|lingua|locale",
        "timezone": "timezone|time zone|zeitzone|tijdzone",
        "notes": "notes|note|comments|comment|remarks|description|notizen|bemerkung|bemerkungen|anmerkungen|remarques|commentaires|opmerkingen|notas|observaciones|commenti",
        "tags": "tags|tag|keywords|schlagworte|etiquetas|etiquettes",
        "categories": "categories|category|labels|group membership|groups|kategorien|kategorie|segment|segments",
        "owner": "owner|contact owner|account owner|sales agent|salesperson|assigned to|betreuer|proprietaire|eigenaar|propietario",
        "parent": "parent|parent company|parent account|subsidiary of|muttergesellschaft|societe mere|moedermaatschappij",
        "photo": "photo|picture|image|bild",
        "relation.spouse": "spouse|ehepartner|conjoint|partner",
        "relation.child": "children|kinder|enfants",
        "relation.manager": "manager s name|manager name",
        "relation.assistant": "assistant s name|assistant name",
        "relation.referred_by": "referred by|empfohlen von",
    },
    "deals": {
        "id": "id|deal id|opportunity id|record id|lead id|quote id|angebotsnummer|auftragsnummer",
        "title": "title|deal name|dealname|opportunity name|opportunity|deal|name|subject|bezeichnung|titel|titre|titulo|nombre del negocio|betreff",
        "pipeline": "pipeline|sales process|vertriebsprozess",
        "stage": "stage|deal stage|dealstage|stage name|sales stage|phase|verkaufsphase|etape|fase|etapa",
        "status": "status|deal status|state|outcome|estado|statut",
        "amount": "amount|value|deal value|close value|amount in company currency|deal amount|revenue|sum|price|betrag|wert|summe|montant|bedrag|importe|importo|valor|auftragswert",
        "currency": "currency|currency iso code|deal currency code|wahrung|devise|valuta|moneda|moeda",
        "probability": "probability|win probability|deal probability|wahrscheinlichkeit|probabilite|kans|probabilidad",
        "opened_at": "created|created at|create date|created date|createdate|date created|open date|opened|opened at|engage date|start date|angelegt am|erstellt am|cree le|aangemaakt|fecha de creacion|dateadded",
        "expected_close": "expected close|expected close date|forecast close|estimated close date|voraussichtlicher abschluss|closing date",
        "closed_at": "close date|closed at|closed|closedate|closed date|won time|lost time|abschlussdatum|date de cloture|sluitingsdatum|fecha de cierre",
        "lost_reason": "lost reason|closed lost reason|loss reason|reason|verlustgrund|raison de perte|reden",
        "source": "source|lead source|deal source|quelle|herkunft|origine|bron|fuente|channel",
        "owner": "owner|deal owner|opportunity owner|sales agent|salesperson|sales rep|assigned to|verantwortlich|betreuer|proprietaire|eigenaar|propietario",
        "contact": "contact|contact name|primary contact|contact person|associated contact|kontakt|ansprechpartner|lead|customer|kunde|client|klant|cliente",
        "contact_email": "email|contact email|e mail|e mail address",
        "organisation": "account|account name|company|company name|organization|organisation|associated company|firma|unternehmen|societe|bedrijf|empresa|azienda",
        "product": "product|product name|produkt|produit|producto|prodotto",
        "notes": "notes|note|description|comments|next step|notizen|bemerkung|remarques|opmerkingen|notas",
        "tags": "tags|labels|categories",
    },
    "tasks": {
        "id": "issuekey|issue key|key|id|issue id|task id|ticket|ticket id|gid|nummer|case id",
        "title": "summary|title|name|task|task name|subject|issue|titel|betreff|titre|titulo|aufgabe|tache|taak",
        "description": "description|notes|details|beschreibung|body|descripcion|omschrijving",
        "status": "status|state|stage|column|list|zustand|statut|estado|phase",
        "type": "type|issue type|issuetype|tracker|typ|kind",
        "priority": "priority|priorite|prioritat|prioriteit|prioridad|priorita",
        "project": "project|project name|project key|projekt|projet|proyecto|progetto|board",
        "parent": "parent|parent task|parent id|parent key|epic link|epic",
        "assignee": "assignee|assigned to|owner|responsible|zugewiesen|bearbeiter|verantwortlich|assigne a|toegewezen aan|asignado a",
        "reporter": "reporter|created by|author|creator|requester|ersteller|melder",
        "created_at": "created|created at|created date|opened|open date|openeddate|opened at|date created|erstellt|erstellt am|cree le|aangemaakt|creado",
        "started_at": "started|started at|start date|start|begin|beginn|startdatum|debut|inicio",
        "completed_at": "completed|completed at|resolved|resolution date|closed|closed at|done|done date|finished|end date|erledigt|erledigt am|termine|afgerond|resolutiondate",
        "due": "due|due date|duedate|deadline|fallig|fallig am|falligkeit|echeance|vervaldatum|vencimiento|scadenza",
        "estimate": "estimate|original estimate|time estimate|estimated hours|hours|story points|aufwand|schatzung|duration|plan",
        "remaining": "remaining|remaining estimate|time left",
        "tags": "tags|labels|label|components|component|categories",
        "contact": "contact|customer|client|kunde|requester email",
        "organisation": "company|account|organization|organisation|firma",
    },
}
_BY_NAME = {kind: {n: target for target, names in table.items() for n in names.split("|")} for kind, table in _NAMES.items()}
_ACCENTS = str.maketrans("äöüàâáãçéèêëíìîïñóòôõúùûß", "aouaaaaceeeeiiiinoooouuus")
_PLACES = {"home": "home", "work": "work", "business": "work", "office": "work", "other": "other", "private": "home", "privat": "home", "geschaftlich": "work", "company": "work", "billing": "billing", "shipping": "shipping", "mailing": "mailing", "primary": "primary", "postal": "postal"}
_PLACE = "|".join(sorted(_PLACES, key=len, reverse=True))
_NUMBERED = re.compile(r"(e mail|email|phone|address|website|event|relation|im|telephone|tel) (\d{1,2})(?: (label|type|value|service|.*))?")
_PLACED = re.compile(rf"({_PLACE}) (phone|tel|telefon|fax|address|email|e mail|street|city|town|state|region|province|postal code|zip|zip code|zipcode|postcode|country|country region|address po box|po box|web page|website|mobile)(?: (\d))?")
_PARTS = {"street": "street", "formatted": "formatted", "city": "city", "po box": "po_box", "address po box": "po_box", "region": "region", "state": "region", "province": "region", "postal code": "postal_code", "zip": "postal_code", "zip code": "postal_code", "zipcode": "postal_code", "postcode": "postal_code", "country": "country", "country region": "country", "town": "city", "extended address": "extended"}
_BASES = {"e mail": "email", "email": "email", "phone": "phone", "telephone": "phone", "tel": "phone", "address": "address", "website": "url", "event": "date", "relation": "relation", "im": "im"}
_HONORIFICS = frozenset("mr mrs ms miss mx dr prof sir herr frau m mme mlle dhr mevr sr sra srta sig".split())
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
_PHONE = re.compile(r"[+(]?[\d][\d ()./-]{5,24}(?:\s?(?:x|ext)\.?\s?\d+)?")
_URL = re.compile(r"(?:https?://|www\.)\S+")
_DATES = frozenset("opened_at expected_close closed_at created_at started_at completed_at due birthday anniversary".split())
_AMOUNTS = frozenset("amount probability estimate remaining".split())


def guess_table(kind: str, table: Table, *, record: str = "person") -> ImportMap:
    """The map a table's header suggests; ambiguous dates are said in the source's notes."""
    targets = _by_content(table) if kind == "contacts" and not table.has_header else _by_header(kind, table)
    if kind == "deals" and "title" not in targets:
        made = tuple(targets[t] for t in ("organisation", "contact", "product") if t in targets) or ((targets["id"],) if "id" in targets else ())
        fields = {t: _field(kind, t, c, table) for t, c in targets.items()}
        if made:
            fields["title"] = FieldMap(columns=made, join=" · ")
    else:
        fields = {t: _field(kind, t, c, table) for t, c in targets.items()}
    if kind == "contacts" and record == "person" and not {"given_name", "family_name"} & set(fields) and "organisation" in fields and not {"full_name", "email"} & set(fields):
        record = "organisation"
    if kind == "contacts" and record == "organisation" and "full_name" not in fields and "organisation" in fields:
        fields["full_name"] = fields.pop("organisation")
    dialect = table.dialect
    return ImportMap(
        kind=kind,
        record=record,
        encoding=None if table.source.encoding == "utf-8" else table.source.encoding,
        delimiter=dialect.delimiter,
        quote=None if dialect.quote == '"' else dialect.quote,
        escape=dialect.escape,
        header=table.has_header,
        fields=fields,
        guessed=True,
    )


def _by_header(kind: str, table: Table) -> dict[str, str]:
    names = {c: normal(c).translate(_ACCENTS) for c in table.columns}
    taken: dict[str, str] = {}
    exact = _BY_NAME[kind]
    titled = any(exact.get(n) == "title" for n in names.values()) if kind == "contacts" else False
    for column, name in names.items():
        target = exact.get(name)
        if kind == "contacts":
            if name in {"title", "titel", "titre", "titulo", "titolo"}:
                target = "prefix" if titled or _honorific(table, column) else "title"
            elif name == "account":
                target = "organisation" if "account" == names[table.columns[0]] else None
            elif target is None or target == "address.street" and "address 1 street" in names.values():
                target = _contact_slot(name)
        if target and target not in taken:
            taken[target] = column
        elif target and kind == "contacts" and target.split(".")[0] in {"email", "phone", "url"}:
            base = target.split(".")[0]
            free = next((f"{target}-{n}" if "." in target else f"{base}.{n}" for n in range(2, 30) if (f"{target}-{n}" if "." in target else f"{base}.{n}") not in taken), None)
            if free:
                taken[free] = column
    return taken


def _contact_slot(name: str) -> str | None:
    """Google's numbered and Outlook's placed columns: `phone 2 value`, `business fax`, `home street 3`."""
    if m := _NUMBERED.fullmatch(name):
        base, what = _BASES[m[1]], m[3]
        if base == "address":
            if what in {"label", "type"}:
                return f"address.{m[2]}.label"
            return f"address.{m[2]}.{_PARTS[what]}" if what in _PARTS else None
        if what in {"label", "type", "service"}:
            return f"{base}.{m[2]}.label"
        return f"{base}.{m[2]}" if what in {"value", None} else None
    if m := _PLACED.fullmatch(name):
        place, what, n = _PLACES[m[1]], m[2], m[3]
        if what in {"phone", "tel", "telefon"}:
            return f"phone.{place}-{n}" if n else f"phone.{place}"
        if what in {"fax", "mobile"}:
            return f"phone.{place}_{what}"
        if what in {"email", "e mail"}:
            return f"email.{place}"
        if what in {"web page", "website"}:
            return f"url.{place}"
        if what in {"address", "street"}:
            return f"address.{place}.{'formatted' if what == 'address' and not n else 'street' + (n or '') if n != '1' else 'street'}"
        return f"address.{place}.{_PARTS[what]}"
    if m := re.fullmatch(rf"({_PLACE}) address (\d)", name):
        return f"address.{_PLACES[m[1]]}.street{m[2] if m[2] != '1' else ''}"
    return None


def _honorific(table: Table, column: str) -> bool:
    seen = [v for row in table.sample if (v := row.get(column, "").strip(" .").lower())]
    return bool(seen) and sum(v in _HONORIFICS for v in seen) * 2 > len(seen)


def _by_content(table: Table) -> dict[str, str]:
    cells = {c: [v for row in table.sample if (v := row.get(c, "").strip())] for c in table.columns}
    taken: dict[str, str] = {}
    for column, seen in cells.items():
        if not seen:
            continue
        for base, pattern in (("email", _EMAIL), ("url", _URL), ("phone", _PHONE)):
            if sum(bool(pattern.fullmatch(v)) for v in seen) * 10 >= len(seen) * 8 and not (base == "phone" and all(number(v) is not None and len(v) < 7 for v in seen)):
                target = next((t for t in (base, *(f"{base}.{n}" for n in range(2, 9))) if t not in taken), None)
                if target:
                    taken[target] = column
                break
    rest = [c for c in table.columns if c not in taken.values() and cells[c]]
    for whole in rest:
        for a in rest:
            for b in rest:
                if len({whole, a, b}) == 3 and "given_name" not in taken:
                    same = [row for row in table.sample if row.get(whole, "").strip()]
                    if same and all(row.get(whole, "").split() == f"{row.get(a, '')} {row.get(b, '')}".split() for row in same) and all(row.get(a, "").strip() for row in same):
                        taken |= {"full_name": whole, "given_name": a, "family_name": b}
        if len(rest) > 12:
            break
    if "full_name" not in taken:
        words = [c for c in rest if all(not any(ch.isdigit() for ch in v) and len(v) < 60 for v in cells[c])]
        if len(words) >= 2 and all(len(v.split()) == 1 for c in words[:2] for v in cells[c]):
            taken |= {"given_name": words[0], "family_name": words[1]}
        elif words:
            taken["full_name"] = words[0]
    return taken


def _field(kind: str, target: str, column: str, table: Table) -> FieldMap:
    base = target.split(".")[0]
    values = [row.get(column, "") for row in table.sample]
    if base in _DATES and not target.startswith("birthday."):
        form, sure = date_form(values)
        if not sure:
            table.source.note(f"Dates in {column!r} do not tell day from month; they were read as day/month. Name a format in the import map if not.")
        return FieldMap(columns=(column,), format=form if form not in {None, "iso"} else None)
    if base in _AMOUNTS and kind != "contacts":
        sign = decimal_sign(v for v in values if not is_empty(v))
        return FieldMap(columns=(column,), decimal="," if sign == "," else None)
    return FieldMap(columns=(column,))


def explain(m: ImportMap, columns: Iterable[str], sample: Iterable[Mapping[str, str]]) -> list[tuple[str, str, str]]:
    """(target, source, example) per field of a map, then every column nothing takes, as `extra`: what a dry run shows."""
    rows = list(sample)
    out = []
    for target, f in m.fields.items():
        example = next((v for r in rows for c in f.columns if (v := r.get(c, "").strip())), f.constant or "")
        out.append((target, " + ".join(f.columns) or "constant", example[:60]))
    used = m.named_columns()
    out += [("extra", c, next((v for r in rows if (v := r.get(c, "").strip())), "")[:60]) for c in columns if c not in used]
    return out
