-- Pipelines, their stages, deals, the offers made in them, and what was noted and done.
SET lock_timeout = '5s';

CREATE TABLE views.pipelines (
    firm_id     uuid        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    position    bigint      NOT NULL,
    name        text        NOT NULL,
    description text,
    stages      jsonb       NOT NULL,
    is_default  boolean     NOT NULL,
    archived    boolean     NOT NULL,
    reason      text,
    PRIMARY KEY (firm_id, id)
);
CALL chancery.own_view('views.pipelines');

CREATE TABLE views.stages (
    firm_id         uuid        NOT NULL,
    id              uuid        NOT NULL,
    version         bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    position        bigint      NOT NULL,
    pipeline_id     uuid        NOT NULL,
    name            text        NOT NULL,
    kind            text        NOT NULL,
    place           bigint      NOT NULL,
    probability     bigint,
    time_limit_days bigint,
    retired         boolean     NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX stages_by_pipeline ON views.stages (firm_id, pipeline_id);
CALL chancery.own_view('views.stages');

CREATE TABLE views.deals (
    firm_id               uuid        NOT NULL,
    id                    uuid        NOT NULL,
    version               bigint      NOT NULL,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    position              bigint      NOT NULL,
    title                 text,
    pipeline_id           uuid        NOT NULL,
    stage_id              uuid        NOT NULL,
    stage_name            text        NOT NULL,
    probability           bigint,
    status                text        NOT NULL,
    archived              boolean     NOT NULL,
    amount                numeric,
    currency              text,
    expected_close        date,
    source                text,
    owner_id              uuid,
    contact_id            uuid,
    contact_ids           uuid[]      NOT NULL,
    organisation_ids      uuid[]      NOT NULL,
    parties               jsonb       NOT NULL,
    products              text[]      NOT NULL,
    lines                 jsonb       NOT NULL,
    attributes            jsonb       NOT NULL,
    offers                jsonb       NOT NULL,
    opened_at             timestamptz NOT NULL,
    stage_since           timestamptz NOT NULL,
    stage_until           timestamptz,
    stage_due             timestamptz,
    stage_seconds         jsonb       NOT NULL,
    moves                 bigint      NOT NULL,
    closed_at             timestamptz,
    closed_on             date,
    lost_code             text,
    reason                text,
    notes                 bigint      NOT NULL,
    last_note             text,
    activities            bigint      NOT NULL,
    last_activity         text,
    last_activity_details jsonb       NOT NULL,
    last_touched_at       timestamptz NOT NULL,
    performer_id          uuid,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX deals_by_creation ON views.deals (firm_id, created_at, id);
CREATE INDEX deals_by_stage ON views.deals (firm_id, pipeline_id, stage_id);
CREATE INDEX deals_by_status ON views.deals (firm_id, status, expected_close);
CREATE INDEX deals_by_owner ON views.deals (firm_id, owner_id);
CREATE INDEX deals_by_contact ON views.deals (firm_id, contact_id);
CALL chancery.own_view('views.deals');

CREATE TABLE views.offers (
    firm_id      uuid        NOT NULL,
    id           uuid        NOT NULL,
    version      bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    position     bigint      NOT NULL,
    deal_id      uuid        NOT NULL,
    contact_id   uuid,
    status       text        NOT NULL,
    amount       numeric,
    currency     text,
    rate         numeric,
    term_months  bigint,
    terms        text,
    valid_until  date,
    selected_at  timestamptz NOT NULL,
    drawn_up_at  timestamptz,
    sent_at      timestamptz,
    returned_at  timestamptz,
    settled_at   timestamptz,
    reason_code  text,
    reason       text,
    remark       text,
    performer_id uuid,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX offers_by_creation ON views.offers (firm_id, created_at, id);
CREATE INDEX offers_by_deal ON views.offers (firm_id, deal_id);
CALL chancery.own_view('views.offers');

CREATE TABLE views.deal_activities (
    firm_id      uuid        NOT NULL,
    id           uuid        NOT NULL,
    version      bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    position     bigint      NOT NULL,
    deal_id      uuid        NOT NULL,
    contact_id   uuid,
    kind         text        NOT NULL,
    name         text,
    note         text,
    details      jsonb       NOT NULL,
    happened_at  timestamptz NOT NULL,
    recorded_by  text        NOT NULL,
    performer_id uuid,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX deal_activities_by_creation ON views.deal_activities (firm_id, created_at, id);
CREATE INDEX deal_activities_by_deal ON views.deal_activities (firm_id, deal_id);
CALL chancery.own_view('views.deal_activities');
