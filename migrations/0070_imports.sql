-- Imports: the view of them, every source row kept with what became of it, and the names under which imports know records.
SET lock_timeout = '5s';

CREATE TABLE views.imports (
    firm_id     uuid        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    position    bigint      NOT NULL,
    kind        text        NOT NULL,
    form        text        NOT NULL,
    source      text,
    status      text        NOT NULL,
    file_name   text,
    size        bigint      NOT NULL,
    sha256      text        NOT NULL,
    map         text,
    map_guessed boolean     NOT NULL,
    options     jsonb       NOT NULL,
    rows        bigint      NOT NULL,
    created     bigint      NOT NULL,
    changed     bigint      NOT NULL,
    unchanged   bigint      NOT NULL,
    rejected    bigint      NOT NULL,
    issues      bigint      NOT NULL,
    events      bigint      NOT NULL,
    notes       text[]      NOT NULL,
    reason      text,
    started_by  text        NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    resumed     bigint      NOT NULL,
    undone_at   timestamptz,
    undo_reason text,
    taken_back  bigint      NOT NULL,
    kept        bigint      NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX imports_by_start ON views.imports (firm_id, started_at, id);
CALL chancery.own_view('views.imports');

-- Not a view of the record: the rows as they came. `sealed` holds the row and what was wrong with it, under the data key of the
-- subject it is about (the import's own when it became nothing), so that erasing the subject erases the row; `issues` holds fields
-- and reasons without values. `source_key` is what identifies the row in its source, `digest` what it said: both keyed, telling nothing.
CREATE TABLE chancery.import_rows (
    firm_id     uuid        NOT NULL,
    import_id   uuid        NOT NULL,
    number      bigint      NOT NULL,
    line        bigint      NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('created', 'changed', 'unchanged', 'rejected')),
    stream_type text,
    stream_id   uuid,
    source_key  uuid,
    digest      bytea,
    issues      jsonb       NOT NULL DEFAULT '[]',
    undone      boolean     NOT NULL DEFAULT false,
    kept_for    text,
    at          timestamptz NOT NULL,
    subject_id  uuid        NOT NULL,
    key_id      uuid        NOT NULL,
    sealed      bytea,
    PRIMARY KEY (firm_id, import_id, number)
);
CREATE INDEX import_rows_source ON chancery.import_rows (firm_id, source_key, at DESC) WHERE source_key IS NOT NULL;
CREATE INDEX import_rows_stream ON chancery.import_rows (firm_id, stream_id) WHERE stream_id IS NOT NULL;
CREATE INDEX import_rows_subject ON chancery.import_rows (firm_id, subject_id);
CALL chancery.fence('chancery.import_rows');
GRANT SELECT ON chancery.import_rows TO chancery_app;
GRANT SELECT, INSERT, DELETE ON chancery.import_rows TO chancery_record;
GRANT UPDATE (undone, kept_for, sealed) ON chancery.import_rows TO chancery_record;

-- Under which name (keyed: it tells nothing) imports find a record again. `claimed_by` is the source row that owns the name.
CREATE TABLE chancery.import_names (
    firm_id    uuid NOT NULL,
    name_key   uuid NOT NULL,
    stream_id  uuid NOT NULL,
    claimed_by uuid,
    PRIMARY KEY (firm_id, name_key)
);
CREATE INDEX import_names_stream ON chancery.import_names (firm_id, stream_id);
CALL chancery.fence('chancery.import_names');
GRANT SELECT ON chancery.import_names TO chancery_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.import_names TO chancery_record;
