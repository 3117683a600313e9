-- Decisions that were used to send something.
SET lock_timeout = '5s';

CREATE TABLE views.sendings (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    purpose text NOT NULL,
    channel text NOT NULL,
    message text,
    decided_at timestamptz NOT NULL,
    decided_by text NOT NULL,
    allowed_count bigint NOT NULL,
    withheld_count bigint NOT NULL,
    contacts uuid[] NOT NULL,
    allowed jsonb NOT NULL,
    withheld jsonb NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX sendings_by_time ON views.sendings (firm_id, decided_at, id);
CALL chancery.own_view('views.sendings');
