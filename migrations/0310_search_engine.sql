-- Where search is kept: which engine follows the record as `search`, where the index in PostgreSQL stands while another does,
-- and how often entries were made again, so that no indexer goes on from what it remembers of them.
SET lock_timeout = '5s';

CREATE TABLE chancery.search_engine (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    engine   text    NOT NULL DEFAULT 'postgres',
    position bigint  NOT NULL DEFAULT 0, -- of the index in PostgreSQL, while another engine is set
    version  int     NOT NULL DEFAULT 0,
    again    bigint  NOT NULL DEFAULT 0
);
INSERT INTO chancery.search_engine DEFAULT VALUES;
GRANT SELECT ON chancery.search_engine TO chancery_app;
GRANT SELECT, UPDATE ON chancery.search_engine TO chancery_record;

-- What was erased leaves the disk at once.
GRANT MAINTAIN ON chancery.search_entries, chancery.search_heads, chancery.search_words TO chancery_record;
