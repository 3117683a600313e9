-- What people ask about their data, the holds that keep it, and what an erasure leaves behind.
SET lock_timeout = '5s';

CREATE TABLE views.privacy_requests (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    contact uuid NOT NULL,
    kind text NOT NULL,
    ground text NOT NULL,
    status text NOT NULL,
    received_at timestamptz NOT NULL,
    due_by timestamptz NOT NULL,
    extended_because text,
    suppress boolean NOT NULL,
    refused_because text,
    holds uuid[] NOT NULL,
    asked_by text NOT NULL,
    decided_by text,
    decided_at timestamptz,
    keys_destroyed bigint,
    subjects uuid[] NOT NULL,
    purged jsonb NOT NULL,
    unreadable text[] NOT NULL,
    awaited jsonb NOT NULL,
    completed_at timestamptz,
    certificate text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX privacy_requests_by_contact ON views.privacy_requests (firm_id, contact);
CREATE INDEX privacy_requests_by_deadline ON views.privacy_requests (firm_id, due_by) WHERE status = 'open';
CALL chancery.own_view('views.privacy_requests');

CREATE TABLE views.contact_holds (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    contact uuid NOT NULL,
    active boolean NOT NULL,
    reason text,
    placed_by text NOT NULL,
    placed_at timestamptz NOT NULL,
    lifted_by text,
    lifted_at timestamptz,
    lifted_because text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX contact_holds_by_contact ON views.contact_holds (firm_id, contact);
CALL chancery.own_view('views.contact_holds');

-- Rows made anew behind a projector's back count the edition up; what it holds in memory of the rows before is then worth nothing.
ALTER TABLE chancery.projections ADD COLUMN edition bigint NOT NULL DEFAULT 0;

-- Addresses that nobody is imported under again: keyed digests, which tell nothing without the installation's key.
CREATE TABLE chancery.suppressed_addresses (
    firm_id uuid        NOT NULL,
    digest  bytea       NOT NULL,
    since   timestamptz NOT NULL,
    PRIMARY KEY (firm_id, digest)
);
CALL chancery.fence('chancery.suppressed_addresses');
GRANT SELECT ON chancery.suppressed_addresses TO chancery_app;
GRANT SELECT, INSERT, DELETE ON chancery.suppressed_addresses TO chancery_record;
