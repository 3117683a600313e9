-- Firms, members, API keys, and when a key was last used (operational: outside the record, never projected).
SET lock_timeout = '5s';

CREATE TABLE views.firms (
    firm_id           uuid        NOT NULL,
    id                uuid        NOT NULL,
    version           bigint      NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    position          bigint      NOT NULL,
    name              text        NOT NULL,
    region            text        NOT NULL,
    locale            text        NOT NULL,
    time_zone         text        NOT NULL,
    currency          text        NOT NULL,
    country           text,
    first_weekday     text        NOT NULL,
    fiscal_year_start bigint      NOT NULL,
    double_opt_in     boolean     NOT NULL,
    retention_months  bigint,
    status            text        NOT NULL,
    suspended_because text,
    owners            uuid[]      NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CALL chancery.own_view('views.firms');

CREATE TABLE views.members (
    firm_id    uuid        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position   bigint      NOT NULL,
    name       text,
    email      text,
    roles      text[]      NOT NULL,
    status     text        NOT NULL,
    remark     text,
    keys       uuid[]      NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CALL chancery.own_view('views.members');

CREATE TABLE views.keys (
    firm_id         uuid        NOT NULL,
    id              uuid        NOT NULL,
    version         bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    position        bigint      NOT NULL,
    name            text        NOT NULL,
    public_id       text        NOT NULL,
    sha256          text        NOT NULL,
    roles           text[]      NOT NULL,
    member          uuid,
    scopes          text[],
    expires_at      timestamptz,
    status          text        NOT NULL,
    previous_sha256 text,
    previous_until  timestamptz,
    rotated_at      timestamptz,
    revoked_at      timestamptz,
    revoked_because text,
    remark          text,
    PRIMARY KEY (firm_id, id)
);
CALL chancery.own_view('views.keys');

CREATE TABLE chancery.key_uses (
    firm_id      uuid        NOT NULL,
    key_id       uuid        NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (firm_id, key_id)
) WITH (fillfactor = 50);
CALL chancery.fence('chancery.key_uses');
GRANT SELECT ON chancery.key_uses TO chancery_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.key_uses TO chancery_record;
