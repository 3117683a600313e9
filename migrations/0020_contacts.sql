-- Contacts and organisations, how they are related, what was noted about them, and the custom fields they may have.
SET lock_timeout = '5s';

CREATE TABLE views.contacts (
    firm_id           uuid        NOT NULL,
    id                uuid        NOT NULL,
    version           bigint      NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    position          bigint      NOT NULL,
    name              text,
    display_name      text,
    given             text,
    middle            text,
    family            text,
    prefix            text,
    suffix            text,
    nickname          text,
    job_title         text,
    role              text,
    department        text,
    organisation_name text,
    email             text,
    emails            jsonb       NOT NULL,
    phone             text,
    phones            jsonb       NOT NULL,
    city              text,
    state             text,
    postal_code       text,
    country           text,
    addresses         jsonb       NOT NULL,
    websites          jsonb       NOT NULL,
    languages         text[]      NOT NULL,
    birthday          text,
    anniversary       text,
    photo             text,
    about             text,
    source            text,
    lifecycle         text,
    tags              text[]      NOT NULL,
    custom            jsonb       NOT NULL,
    owner             uuid,
    status            text        NOT NULL,
    archived          boolean     NOT NULL,
    archived_because  text,
    merged_into       uuid,
    absorbed          uuid[]      NOT NULL,
    merges            jsonb       NOT NULL,
    parting           jsonb,
    correction        jsonb,
    flagged           boolean     NOT NULL,
    issues            jsonb       NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX contacts_by_time ON views.contacts (firm_id, created_at, id);
CREATE INDEX contacts_by_name ON views.contacts (firm_id, name, id);
CREATE INDEX contacts_by_any_name ON views.contacts (firm_id, lower(name));
CREATE INDEX contacts_by_family ON views.contacts (firm_id, family, id);
CREATE INDEX contacts_by_email ON views.contacts (firm_id, lower(email));
CREATE INDEX contacts_by_phone ON views.contacts (firm_id, phone);
CREATE INDEX contacts_by_owner ON views.contacts (firm_id, owner);
CALL chancery.own_view('views.contacts');

CREATE TABLE views.organisations (
    firm_id          uuid        NOT NULL,
    id               uuid        NOT NULL,
    version          bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    position         bigint      NOT NULL,
    name             text        NOT NULL,
    legal_name       text,
    kind             text,
    registrations    jsonb       NOT NULL,
    domains          text[]      NOT NULL,
    email            text,
    emails           jsonb       NOT NULL,
    phone            text,
    phones           jsonb       NOT NULL,
    city             text,
    state            text,
    postal_code      text,
    country          text,
    addresses        jsonb       NOT NULL,
    websites         jsonb       NOT NULL,
    industry         text,
    employees        bigint,
    annual_revenue   jsonb,
    revenue          numeric,
    founded          bigint,
    about            text,
    source           text,
    parent           uuid,
    tags             text[]      NOT NULL,
    custom           jsonb       NOT NULL,
    owner            uuid,
    status           text        NOT NULL,
    archived         boolean     NOT NULL,
    archived_because text,
    merged_into      uuid,
    absorbed         uuid[]      NOT NULL,
    merges           jsonb       NOT NULL,
    parting          jsonb,
    correction       jsonb,
    flagged          boolean     NOT NULL,
    issues           jsonb       NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX organisations_by_time ON views.organisations (firm_id, created_at, id);
CREATE INDEX organisations_by_name ON views.organisations (firm_id, name, id);
CREATE INDEX organisations_by_any_name ON views.organisations (firm_id, lower(name));
CREATE INDEX organisations_by_parent ON views.organisations (firm_id, parent);
CREATE INDEX organisations_by_survivor ON views.organisations (firm_id, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX organisations_by_owner ON views.organisations (firm_id, owner);
CALL chancery.own_view('views.organisations');

CREATE TABLE views.relations (
    firm_id       uuid        NOT NULL,
    id            uuid        NOT NULL,
    version       bigint      NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    position      bigint      NOT NULL,
    source_type   text        NOT NULL,
    source        uuid        NOT NULL,
    target_type   text        NOT NULL,
    target        uuid        NOT NULL,
    kind          text,
    inverse       text,
    label         text,
    valid_from    date,
    valid_to      date,
    "primary"     boolean,
    remark        text,
    ended_because text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX relations_by_source ON views.relations (firm_id, source);
CREATE INDEX relations_by_target ON views.relations (firm_id, target);
CREATE INDEX relations_by_creation ON views.relations (firm_id, created_at, id);
CALL chancery.own_view('views.relations');

CREATE TABLE views.notes (
    firm_id     uuid        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    position    bigint      NOT NULL,
    about_type  text        NOT NULL,
    about       uuid        NOT NULL,
    kind        text        NOT NULL,
    text        text,
    happened_at timestamptz NOT NULL,
    written_by  text        NOT NULL,
    edited_by   text,
    edited_at   timestamptz,
    pinned      boolean     NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX notes_by_subject ON views.notes (firm_id, about, happened_at DESC);
CREATE INDEX notes_by_time ON views.notes (firm_id, happened_at, id);
CALL chancery.own_view('views.notes');

CREATE TABLE views.fields (
    firm_id         uuid        NOT NULL,
    id              uuid        NOT NULL,
    version         bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    position        bigint      NOT NULL,
    applies_to      text        NOT NULL,
    key             text        NOT NULL,
    kind            text        NOT NULL,
    label           text,
    description     text,
    choices         text[]      NOT NULL,
    minimum         numeric,
    maximum         numeric,
    retired         boolean     NOT NULL,
    retired_because text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX fields_by_key ON views.fields (firm_id, applies_to, key);
CALL chancery.own_view('views.fields');
