SET lock_timeout = '5s';

CREATE TABLE views.folders (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    name text,
    parent uuid,
    archived boolean NOT NULL,
    archived_at timestamptz,
    archive_reason text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX folders_by_parent ON views.folders (firm_id, parent);
CALL chancery.own_view('views.folders');

CREATE TABLE views.documents (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    title text,
    status text NOT NULL,
    folder uuid,
    description text,
    tags text[] NOT NULL,
    language text,
    number bigint NOT NULL,
    latest uuid,
    sha256 text,
    size bigint,
    media_type text,
    file_name text,
    author text,
    comment text,
    source_time timestamptz,
    same_content_as bigint,
    restored_from bigint,
    contacts uuid[] NOT NULL,
    organisations uuid[] NOT NULL,
    deals uuid[] NOT NULL,
    tasks uuid[] NOT NULL,
    projects uuid[] NOT NULL,
    on_hold boolean NOT NULL,
    holds uuid[] NOT NULL,
    hold_name text,
    hold_reason text,
    retain_until date,
    retention_reason text,
    archived_at timestamptz,
    archive_reason text,
    discarded_at timestamptz,
    discard_reason text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX documents_by_folder ON views.documents (firm_id, folder);
CREATE INDEX documents_by_creation ON views.documents (firm_id, created_at, id);
CREATE INDEX documents_by_retention ON views.documents (firm_id, retain_until) WHERE retain_until IS NOT NULL;
CREATE INDEX documents_on_hold ON views.documents (firm_id) WHERE on_hold;
CALL chancery.own_view('views.documents');

CREATE TABLE views.document_versions (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    document uuid NOT NULL,
    number bigint NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    media_type text NOT NULL,
    file_name text,
    author text,
    comment text,
    source_time timestamptz,
    same_content_as bigint,
    restored_from bigint,
    added_at timestamptz NOT NULL,
    added_by text NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX document_versions_by_document ON views.document_versions (firm_id, document, number);
CREATE INDEX document_versions_by_content ON views.document_versions (firm_id, sha256);
CREATE INDEX document_versions_by_creation ON views.document_versions (firm_id, created_at, id);
CALL chancery.own_view('views.document_versions');

CREATE TABLE views.document_holds (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    document uuid NOT NULL,
    name text,
    reason text,
    standing boolean NOT NULL,
    placed_at timestamptz NOT NULL,
    placed_by text NOT NULL,
    lifted_at timestamptz,
    lifted_by text,
    lift_reason text,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX document_holds_by_document ON views.document_holds (firm_id, document);
CALL chancery.own_view('views.document_holds');

CREATE TABLE views.document_links (
    firm_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position bigint NOT NULL,
    document uuid NOT NULL,
    kind text NOT NULL,
    target uuid NOT NULL,
    linked_at timestamptz NOT NULL,
    linked_by text NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX document_links_by_target ON views.document_links (firm_id, target);
CREATE INDEX document_links_by_document ON views.document_links (firm_id, document);
CREATE INDEX document_links_by_creation ON views.document_links (firm_id, created_at, id);
CALL chancery.own_view('views.document_links');
