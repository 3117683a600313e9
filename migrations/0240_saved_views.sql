-- Saved views: lists as somebody likes to see them.
SET lock_timeout = '5s';

CREATE TABLE views.saved_views (
    firm_id    uuid        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position   bigint      NOT NULL,
    collection text        NOT NULL,
    owner      text        NOT NULL,
    shared     boolean     NOT NULL,
    name       text,
    filter     text,
    order_by   text        NOT NULL,
    fields     text        NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX saved_views_by_collection ON views.saved_views (firm_id, collection, id);
CALL chancery.own_view('views.saved_views');
