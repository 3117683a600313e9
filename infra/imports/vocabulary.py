"""How target fields are called in the headers of other programs and languages, written as `tables.normal` writes them, without accents."""

NAMES: dict[str, dict[str, str]] = {
    "contacts": {
        "id": (
            "id|contact id|record id|rec id|uid|uuid|customer id|client id|person id|lead id|external id|kundennummer|"
            "kunden nr|numero client|klantnummer|contact record id"
        ),
        "full_name": (
            "name|full name|fullname|display name|displayname|contact name|file as|customer name|client name|"
            "company contact|nombre completo|nom complet|nome completo|vollstandiger name|anzeigename"
        ),
        "prefix": "name prefix|prefix|salutation|honorific|anrede|civilite|aanhef|tratamiento|titolo onorifico",
        "given_name": (
            "first name|firstname|given name|givenname|forename|first|vorname|prenom|voornaam|nombre|nome|primeiro nome|fname"
        ),
        "additional_name": (
            "middle name|middlename|additional name|middle|zweiter vorname|tussenvoegsel|segundo nombre|deuxieme prenom"
        ),
        "family_name": (
            "last name|lastname|surname|family name|familyname|last|nachname|familienname|nom|nom de famille|"
            "achternaam|apellido|apellidos|cognome|sobrenome|apelido|lname"
        ),
        "suffix": "name suffix|suffix|namenszusatz",
        "nickname": "nickname|nick name|spitzname|surnom|bijnaam|apodo|short name",
        "phonetic_given_name": "phonetic first name|given name yomi|first name phonetic",
        "phonetic_family_name": "phonetic last name|family name yomi|last name phonetic",
        "organisation": (
            "company|company name|companyname|organization|organisation|organization name|organization 1 name|org|"
            "employer|account name|firma|firmenname|unternehmen|societe|entreprise|bedrijf|bedrijfsnaam|empresa|"
            "azienda|societa|associated company"
        ),
        "department": (
            "department|organization department|organization 1 department|abteilung|service|afdeling|departamento|reparto"
        ),
        "title": (
            "job title|jobtitle|position|organization title|organization 1 title|berufsbezeichnung|funktion|fonction|"
            "poste|functie|cargo|puesto|qualifica"
        ),
        "role": "role|profession|occupation|beruf",
        "email": (
            "e mail|email|e mail address|email address|emailaddress|mail|e mail adresse|email adresse|courriel|"
            "adresse e mail|adresse mail|correo|correo electronico|e mailadres|e mail 1 address|indirizzo e mail|"
            "primary email|email 1"
        ),
        "email.2": "e mail 2 address|secondary email|email 2|other email|alternate email|additional email|zweite e mail",
        "email.3": "e mail 3 address|email 3|third email",
        "phone": (
            "phone|phone number|telephone|telephone number|primary phone|tel|telefon|telefonnummer|telephone 1|"
            "telefoon|telefono|telefone|contact number|phone 1"
        ),
        "phone.mobile": (
            "mobile|mobile phone|mobile number|mobile phone number|cell|cell phone|cellphone|handy|mobil|mobiltelefon|"
            "mobilnummer|portable|gsm|movil|cellulare|celular|telemovel"
        ),
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
        "url": (
            "website|web page|webpage|url|homepage|web site|website url|web page 1|webseite|site web|sitio web|sito web|internet"
        ),
        "url.2": "web page 2",
        "url.facebook": "facebook|facebook url",
        "url.twitter": "twitter|twitter handle|twitter username|x handle",
        "url.linkedin": "linkedin|linkedin url|linkedin profile",
        "im": "screen name|skype|im handle",
        "address.street": (
            "street|address|address 1|address1|street address|street 1|mailing street|strasse|anschrift|adresse|rue|"
            "straat|adres|direccion|calle|indirizzo|via|endereco|rua|address line 1|addr1"
        ),
        "address.street2": "address 2|address2|street 2|address line 2|adresszusatz|addr2",
        "address.street3": "address 3|address3|street 3|address line 3",
        "address.number": "street number|house number|hausnummer|huisnummer",
        "address.city": (
            "city|town|suburb|mailing city|ort|stadt|wohnort|ville|plaats|woonplaats|stad|ciudad|citta|cidade|"
            "localite|locality|companycity|company city"
        ),
        "address.region": (
            "state|region|province|county|mailing state|state province|state region|bundesland|provincie|provincia|"
            "estado|departement|companystate|company state"
        ),
        "address.postal_code": (
            "zip|zip code|zipcode|postal code|postalcode|postcode|post code|mailing zip|mailing postal code|plz|"
            "postleitzahl|code postal|codigo postal|cap|cep|zip postal code"
        ),
        "address.country": "country|country region|mailing country|land|pays|pais|paese|companycountry|company country",
        "address.latitude": "latitude|lat",
        "address.longitude": "longitude|lon|lng|long",
        "birthday": (
            "birthday|birth date|birthdate|date of birth|dob|geburtstag|geburtsdatum|date de naissance|naissance|"
            "geboortedatum|fecha de nacimiento|data di nascita|data de nascimento"
        ),
        "birthday.year": "birth year",
        "birthday.month": "birth month",
        "birthday.day": "birth day",
        "anniversary": "anniversary|wedding anniversary|jahrestag|hochzeitstag",
        "gender": "gender|sex|geschlecht|sexe|geslacht|genero|sesso",
        "language": "language|preferred language|sprache|langue|taal|idioma|lingua|locale",
        "timezone": "timezone|time zone|zeitzone|tijdzone",
        "notes": (
            "notes|note|comments|comment|remarks|description|notizen|bemerkung|bemerkungen|anmerkungen|remarques|"
            "commentaires|opmerkingen|notas|observaciones|commenti"
        ),
        "tags": "tags|tag|keywords|schlagworte|etiquetas|etiquettes",
        "categories": "categories|category|labels|group membership|groups|kategorien|kategorie|segment|segments",
        "owner": (
            "owner|contact owner|account owner|sales agent|salesperson|assigned to|betreuer|proprietaire|eigenaar|propietario"
        ),
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
        "title": (
            "title|deal name|dealname|opportunity name|opportunity|deal|name|subject|bezeichnung|titel|titre|titulo|"
            "nombre del negocio|betreff"
        ),
        "pipeline": "pipeline|sales process|vertriebsprozess",
        "stage": "stage|deal stage|dealstage|stage name|sales stage|phase|verkaufsphase|etape|fase|etapa",
        "status": "status|deal status|state|outcome|estado|statut",
        "amount": (
            "amount|value|deal value|close value|amount in company currency|deal amount|revenue|sum|price|betrag|wert|"
            "summe|montant|bedrag|importe|importo|valor|auftragswert"
        ),
        "currency": "currency|currency iso code|deal currency code|wahrung|devise|valuta|moneda|moeda",
        "probability": "probability|win probability|deal probability|wahrscheinlichkeit|probabilite|kans|probabilidad",
        "opened_at": (
            "created|created at|create date|created date|createdate|date created|open date|opened|opened at|"
            "engage date|start date|angelegt am|erstellt am|cree le|aangemaakt|fecha de creacion|dateadded"
        ),
        "expected_close": (
            "expected close|expected close date|forecast close|estimated close date|voraussichtlicher abschluss|closing date"
        ),
        "closed_at": (
            "close date|closed at|closed|closedate|closed date|won time|lost time|abschlussdatum|date de cloture|"
            "sluitingsdatum|fecha de cierre"
        ),
        "lost_reason": "lost reason|closed lost reason|loss reason|reason|verlustgrund|raison de perte|reden",
        "source": "source|lead source|deal source|quelle|herkunft|origine|bron|fuente|channel",
        "owner": (
            "owner|deal owner|opportunity owner|sales agent|salesperson|sales rep|assigned to|verantwortlich|betreuer|"
            "proprietaire|eigenaar|propietario"
        ),
        "contact": (
            "contact|contact name|primary contact|contact person|associated contact|kontakt|ansprechpartner|lead|"
            "customer|kunde|client|klant|cliente"
        ),
        "contact_email": "email|contact email|e mail|e mail address",
        "organisation": (
            "account|account name|company|company name|organization|organisation|associated company|firma|unternehmen|"
            "societe|bedrijf|empresa|azienda"
        ),
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
        "assignee": (
            "assignee|assigned to|owner|responsible|zugewiesen|bearbeiter|verantwortlich|assigne a|toegewezen aan|asignado a"
        ),
        "reporter": "reporter|created by|author|creator|requester|ersteller|melder",
        "created_at": (
            "created|created at|created date|opened|open date|openeddate|opened at|date created|erstellt|erstellt am|"
            "cree le|aangemaakt|creado"
        ),
        "started_at": "started|started at|start date|start|begin|beginn|startdatum|debut|inicio",
        "completed_at": (
            "completed|completed at|resolved|resolution date|closed|closed at|done|done date|finished|end date|"
            "erledigt|erledigt am|termine|afgerond|resolutiondate"
        ),
        "due": "due|due date|duedate|deadline|fallig|fallig am|falligkeit|echeance|vervaldatum|vencimiento|scadenza",
        "estimate": "estimate|original estimate|time estimate|estimated hours|hours|story points|aufwand|schatzung|duration|plan",
        "remaining": "remaining|remaining estimate|time left",
        "tags": "tags|labels|label|components|component|categories",
        "contact": "contact|customer|client|kunde|requester email",
        "organisation": "company|account|organization|organisation|firma",
    },
    "consents": {
        "id": "id|consent id|record id|receipt id|consent record id|event id",
        "contact_id": "contact id|contactid|person id|customer id|subscriber id|subject id|kundennummer|contact|individual id|lead id",
        "email": "email|e mail|email address|e mail address|subscriber|correo|courriel",
        "phone": "phone|mobile|telephone|phone number|mobile number|telefon|handy",
        "purpose": "purpose|purposes|purpose key|list|list name|topic|subscription|category|zweck|finalite|subscription type|data use purpose",
        "channel": "channel|medium|contact point type|kanal|canal|channel type",
        "status": "status|consent status|consent|opt in|optin|subscription status|opt in status|privacy consent status|zustimmung",
        "at": (
            "timestamp|date|at|time|consent date|consent time|captured at|created at|occurred at|opt in date|opt in time|optin time|event time|"
            "datum|signed at|consent captured date time|effective from|subscribed at|changed at"
        ),
        "legal_basis": "legal basis|lawful basis|basis|rechtsgrundlage|base legale",
        "consent_type": "consent type|type|form of consent|express or implied|einwilligungsart",
        "implied_by": "implied by|relationship|implied from",
        "notice": "notice|notice id|privacy notice|text id|form id|consent text id",
        "notice_version": "notice version|version|text version|form version|policy version",
        "notice_language": "notice language|language|sprache|langue|locale",
        "effective_to": "effective to|valid until|valid to",
        "expires_at": "expires|expires at|expiry|expiry date|expiration date|gultig bis",
        "evidence": "evidence|evidence sha256|sha256|proof hash|evidence hash|hash|document hash",
        "evidence_media_type": "media type|evidence media type|content type|mime type|evidence type",
        "jurisdiction": "jurisdiction|country|country code|region|land",
        "ip_address": "ip|ip address|opt in ip|optin ip|confirm ip|ip adresse",
        "contact_point": "contact point|address used|contact point value",
        "source": "source|capture source|form|origin|quelle|opt in source|consent captured source",
        "remark": "remark|notes|note|comment|bemerkung",
    },
}
BY_NAME = {kind: {n: target for target, names in table.items() for n in names.split("|")} for kind, table in NAMES.items()}
