-- The activity graph: what there is, and who did what to which, since when and until when.
SET lock_timeout = '5s';

CREATE TABLE views.graph_nodes (
    firm_id    uuid        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position   bigint      NOT NULL,
    kind       text        NOT NULL,
    label      text,
    subject    uuid,
    names      jsonb,
    status     text        NOT NULL,
    archived   boolean     NOT NULL,
    amount     numeric,
    currency   text,
    closed_on  date,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX graph_nodes_by_kind ON views.graph_nodes (firm_id, kind, id);
CALL chancery.own_view('views.graph_nodes');

CREATE TABLE views.graph_edges (
    firm_id       uuid        NOT NULL,
    id            uuid        NOT NULL,
    version       bigint      NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    position      bigint      NOT NULL,
    source_kind   text        NOT NULL,
    source        uuid        NOT NULL,
    target_kind   text        NOT NULL,
    target        uuid        NOT NULL,
    kind          text,
    role          text,
    person        uuid,
    sealed        boolean     NOT NULL,
    since         timestamptz,
    until         timestamptz,
    count         bigint      NOT NULL,
    last_at       timestamptz NOT NULL,
    last_event    text        NOT NULL,
    last_event_id uuid        NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX graph_edges_by_source ON views.graph_edges (firm_id, source, target);
CREATE INDEX graph_edges_by_target ON views.graph_edges (firm_id, target);
CREATE INDEX graph_edges_by_kind ON views.graph_edges (firm_id, kind, id);
CALL chancery.own_view('views.graph_edges');
