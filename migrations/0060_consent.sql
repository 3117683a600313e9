SET lock_timeout = '5s';

CREATE TABLE views.purposes (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    dpv text NOT NULL,
    description text,
    parent uuid,
    purpose_version bigint NOT NULL,
    retired boolean NOT NULL,
    retired_at timestamptz,
    versions jsonb NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE UNIQUE INDEX purposes_by_key ON views.purposes (firm_id, key);
CALL chancery.own_view('views.purposes');

CREATE TABLE views.notices (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    title text NOT NULL,
    notice_version bigint NOT NULL,
    published_at timestamptz NOT NULL,
    material boolean NOT NULL,
    purposes text[] NOT NULL,
    languages text[] NOT NULL,
    retired boolean NOT NULL,
    retired_at timestamptz,
    versions jsonb NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CALL chancery.own_view('views.notices');

CREATE TABLE views.notice_texts (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    notice uuid NOT NULL,
    notice_version bigint NOT NULL,
    language text NOT NULL,
    sha256 text NOT NULL,
    media_type text NOT NULL,
    text text,
    document uuid,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX notice_texts_by_notice ON views.notice_texts (firm_id, notice, notice_version);
CALL chancery.own_view('views.notice_texts');

CREATE TABLE views.consents (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    contact uuid NOT NULL,
    purpose text NOT NULL,
    dpv text NOT NULL,
    purpose_version bigint NOT NULL,
    channel text NOT NULL,
    status text NOT NULL,
    since timestamptz,
    expires_at timestamptz,
    request_expires_at timestamptz,
    double_opt_in boolean NOT NULL,
    consent_type text,
    legal_basis text,
    jurisdiction text,
    notice uuid,
    notice_version bigint,
    notice_language text,
    notice_sha256 text,
    contact_point_ref uuid,
    contact_point text,
    last_event text NOT NULL,
    last_record uuid NOT NULL,
    last_seq bigint NOT NULL,
    decided_by uuid,
    decided_seq bigint,
    marks jsonb NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX consents_by_contact ON views.consents (firm_id, contact);
CREATE INDEX consents_by_purpose ON views.consents (firm_id, purpose, channel, status);
CREATE INDEX consents_by_expiry ON views.consents (firm_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX consents_by_change ON views.consents (firm_id, updated_at, id);
CALL chancery.own_view('views.consents');

CREATE TABLE views.suppressions (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    contact uuid NOT NULL,
    reason text NOT NULL,
    channel text,
    contact_point_ref uuid,
    contact_point text,
    active boolean NOT NULL,
    since timestamptz NOT NULL,
    last_record uuid NOT NULL,
    last_seq bigint NOT NULL,
    changes jsonb NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX suppressions_by_contact ON views.suppressions (firm_id, contact);
CREATE INDEX suppressions_by_change ON views.suppressions (firm_id, updated_at, id);
CALL chancery.own_view('views.suppressions');

CREATE TABLE views.consent_events (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    contact uuid NOT NULL,
    seq bigint NOT NULL,
    prev text,
    type text NOT NULL,
    record_id uuid NOT NULL,
    status text,
    reason text,
    channel text,
    purposes text[] NOT NULL,
    purpose_refs jsonb NOT NULL,
    effective_from timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    actor text NOT NULL,
    controller uuid NOT NULL,
    collection_method text,
    capture_source text,
    evidence jsonb NOT NULL,
    import_batch text,
    consent_type text,
    legal_basis text,
    jurisdiction text,
    notice uuid,
    notice_version bigint,
    notice_language text,
    notice_sha256 text,
    contact_point_ref uuid,
    implied_by text,
    effective_to timestamptz,
    expires_at timestamptz,
    answer_by timestamptz,
    requested_event uuid,
    confirmed_at timestamptz,
    contact_point text,
    display_name text,
    ip_address text,
    user_agent text,
    remark text,
    PRIMARY KEY (firm_id, id)
);
CREATE UNIQUE INDEX consent_events_by_contact ON views.consent_events (firm_id, contact, seq);
CREATE INDEX consent_events_by_record ON views.consent_events (firm_id, recorded_at, id);
CALL chancery.own_view('views.consent_events');
