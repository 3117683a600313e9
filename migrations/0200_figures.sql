-- What the figures of pipelines and the timelines are read from.
SET lock_timeout = '5s';

CREATE TABLE views.stage_entries (
    firm_id      uuid        NOT NULL,
    id           uuid        NOT NULL,
    version      bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    position     bigint      NOT NULL,
    deal_id      uuid        NOT NULL,
    number       bigint      NOT NULL,
    how          text        NOT NULL,
    pipeline_id  uuid,
    stage_id     uuid,
    stage_name   text,
    stage_kind   text,
    entered_at   timestamptz NOT NULL,
    entered_by   text        NOT NULL,
    performer_id uuid,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX stage_entries_by_deal ON views.stage_entries (firm_id, deal_id, number) INCLUDE (entered_at);
CREATE INDEX stage_entries_by_pipeline ON views.stage_entries (firm_id, pipeline_id, entered_at) WHERE stage_id IS NOT NULL;
CREATE INDEX stage_entries_by_creation ON views.stage_entries (firm_id, created_at, id);
CALL chancery.own_view('views.stage_entries');

CREATE TABLE views.deal_parties (
    firm_id    uuid        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position   bigint      NOT NULL,
    deal_id    uuid        NOT NULL,
    kind       text        NOT NULL,
    party_id   uuid        NOT NULL,
    role       text        NOT NULL,
    since      timestamptz NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX deal_parties_by_party ON views.deal_parties (firm_id, party_id, deal_id);
CREATE INDEX deal_parties_by_deal ON views.deal_parties (firm_id, deal_id);
CALL chancery.own_view('views.deal_parties');

CREATE TABLE views.timeline (
    firm_id     uuid        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    position    bigint      NOT NULL,
    subject     uuid        NOT NULL,
    role        text        NOT NULL,
    event_id    uuid        NOT NULL,
    name        text        NOT NULL,
    stream_type text        NOT NULL,
    stream_id   uuid        NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    origin      text,
    facts       jsonb       NOT NULL,
    person      uuid,
    texts       jsonb       NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX timeline_by_subject ON views.timeline (firm_id, subject, created_at, position);
CREATE INDEX timeline_by_time ON views.timeline (firm_id, created_at) WHERE role = 'self';
CREATE INDEX timeline_by_record ON views.timeline (firm_id, recorded_at) WHERE role = 'self';
CREATE INDEX timeline_by_actor ON views.timeline (firm_id, actor, created_at, position) WHERE role = 'self';
CALL chancery.own_view('views.timeline');

-- The order of cards on a board, and what was closed when.
CREATE INDEX deals_on_board ON views.deals (firm_id, pipeline_id, stage_id, stage_since, id) WHERE NOT archived;
CREATE INDEX deals_by_closing ON views.deals (firm_id, pipeline_id, closed_on) WHERE closed_on IS NOT NULL;
CREATE INDEX ON history.deals (firm_id, pipeline_id, stage_id, stage_since, id) WHERE NOT archived;
CREATE INDEX ON history.deals (firm_id, pipeline_id, closed_on) WHERE closed_on IS NOT NULL;
