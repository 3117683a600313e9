-- The search index: what is found of each thing, the words that occur, and what may be typed to get at a title.
-- It is made of `build`s: one is live, another may be filled while that serves, and takes its place in one step.
-- No index here leads with firm_id where it is of words: each word carries six digits of its firm and build before it, so that one firm's
-- words never cost another's search anything; firm_id is compared besides.
SET lock_timeout = '5s';


CREATE TABLE chancery.search_builds (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    live     int     NOT NULL DEFAULT 1,
    filling  int,             -- the build that will take its place
    position bigint  NOT NULL DEFAULT 0 -- how far that one is
);
INSERT INTO chancery.search_builds DEFAULT VALUES;

CREATE TABLE chancery.search_entries (
    firm_id    uuid        NOT NULL,
    build      int         NOT NULL,
    kind       text        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    position   bigint      NOT NULL,
    changed_at timestamptz NOT NULL,
    archived   boolean     NOT NULL,
    title      text        NOT NULL,
    title_key  text        NOT NULL,
    title_open boolean     NOT NULL,
    texts      jsonb       NOT NULL, -- [[field, text, open, position]]
    facts      jsonb       NOT NULL,
    open_facts jsonb       NOT NULL,
    made       jsonb       NOT NULL, -- position: [event id, type, occurred at, recorded at]
    body       text,                 -- the text of a document
    unread     text,                 -- why a document has none
    words      tsvector    NOT NULL,
    open_words tsvector    NOT NULL, -- those that are not personal
    PRIMARY KEY (firm_id, build, kind, id)
);
CREATE INDEX search_entries_changed ON chancery.search_entries (firm_id, build, kind, changed_at DESC, id);
CREATE INDEX search_entries_words ON chancery.search_entries USING gin (words) WITH (fastupdate = off);
CREATE INDEX search_entries_open_words ON chancery.search_entries USING gin (open_words) WITH (fastupdate = off);

CREATE TABLE chancery.search_heads (
    firm_id uuid NOT NULL,
    build   int  NOT NULL,
    kind    text NOT NULL,
    head    text NOT NULL COLLATE "C",
    id      uuid NOT NULL,
    open    boolean NOT NULL,
    PRIMARY KEY (firm_id, build, open, kind, head, id)
);
CREATE INDEX search_heads_id ON chancery.search_heads (firm_id, build, kind, id);

CREATE TABLE chancery.search_words (
    firm_id uuid   NOT NULL,
    build   int    NOT NULL,
    word    text   NOT NULL COLLATE "C",
    entries bigint NOT NULL, -- how many hold it
    open    bigint NOT NULL, -- how many hold it where it is not personal
    keys    int[]  NOT NULL, -- typo keys, the firm in them
    PRIMARY KEY (firm_id, build, word)
);
CREATE INDEX search_words_keys ON chancery.search_words USING gin (keys) WITH (fastupdate = off);

-- What was read out of a content, kept so that a content is read once.
CREATE TABLE chancery.search_contents (
    firm_id uuid NOT NULL,
    sha256  text NOT NULL,
    reader  int  NOT NULL, -- the version of the extraction
    text    text NOT NULL,
    unread  text,
    PRIMARY KEY (firm_id, sha256)
);

CALL chancery.fence('chancery.search_entries');
CALL chancery.fence('chancery.search_heads');
CALL chancery.fence('chancery.search_words');
CALL chancery.fence('chancery.search_contents');
GRANT SELECT ON chancery.search_builds, chancery.search_entries, chancery.search_heads, chancery.search_words TO chancery_app;
GRANT SELECT, UPDATE ON chancery.search_builds TO chancery_record;
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.search_entries, chancery.search_heads, chancery.search_words, chancery.search_contents TO chancery_record;
