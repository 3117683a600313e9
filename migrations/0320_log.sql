-- The log of each firm: tiles of its Merkle tree, checkpoints, cosignatures of witnesses, timestamps, sealed heads.
-- Everything but checkpoints, cosignatures and timestamps can be made anew from the record; those are signed facts and are kept.
SET lock_timeout = '5s';

CREATE TABLE chancery.logs (
    firm_id    uuid        PRIMARY KEY,
    origin     text        NOT NULL UNIQUE,
    generation int         NOT NULL DEFAULT 1,  -- which log of the firm this is: a declared new one begins after a restore
    size       bigint      NOT NULL DEFAULT 0,  -- leaves in the tree
    position   bigint      NOT NULL DEFAULT 0,  -- of the last leaf in the record
    vkey       text        NOT NULL,            -- of the key that signs now
    note       text,                            -- the newest checkpoint, signed; none before the first leaf
    signed_at  timestamptz,
    stopped    text                             -- why nothing is signed any more
) WITH (fillfactor = 50);
COMMENT ON COLUMN chancery.logs.size IS 'moves by compare-and-set, in one transaction with the tiles and the checkpoint';

CREATE TABLE chancery.log_tiles (
    firm_id uuid     NOT NULL,
    level   smallint NOT NULL,
    place   bigint   NOT NULL,
    hashes  bytea    NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
    PRIMARY KEY (firm_id, level, place)
);
ALTER TABLE chancery.log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- A tile only grows: what was signed can't be signed differently, whatever a writer believes.
CREATE FUNCTION chancery.only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a tile of a log can only grow' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER tiles_only_grow BEFORE UPDATE ON chancery.log_tiles FOR EACH ROW
    WHEN (substring(NEW.hashes FOR length(OLD.hashes)) IS DISTINCT FROM OLD.hashes) EXECUTE FUNCTION chancery.only_grows();

CREATE TABLE chancery.log_keys (
    firm_id   uuid        NOT NULL,
    vkey      text        NOT NULL,
    from_size bigint      NOT NULL, -- the first checkpoint it signed
    note      text        NOT NULL, -- that checkpoint, which the key before it has signed too
    since     timestamptz NOT NULL,
    PRIMARY KEY (firm_id, vkey)
);

-- Checkpoints that are kept: one an hour, and those that a witness, a timestamp or a rotation of keys holds on to.
CREATE TABLE chancery.log_checkpoints (
    firm_id   uuid        NOT NULL,
    origin    text        NOT NULL,
    size      bigint      NOT NULL,
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (firm_id, origin, size)
);

CREATE TABLE chancery.log_cosignatures (
    firm_id     uuid        NOT NULL,
    origin      text        NOT NULL,
    size        bigint      NOT NULL,
    witness     text        NOT NULL, -- its vkey
    line        text        NOT NULL,
    cosigned_at timestamptz NOT NULL,
    PRIMARY KEY (firm_id, origin, size, witness),
    FOREIGN KEY (firm_id, origin, size) REFERENCES chancery.log_checkpoints
);

CREATE TABLE chancery.log_timestamps (
    firm_id    uuid        NOT NULL,
    origin     text        NOT NULL,
    size       bigint      NOT NULL,
    response   bytea       NOT NULL, -- RFC 3161 TimeStampResp over the SHA-256 of the checkpoint's note
    stamped_at timestamptz NOT NULL, -- the time it states
    PRIMARY KEY (firm_id, origin, size, stamped_at),
    FOREIGN KEY (firm_id, origin, size) REFERENCES chancery.log_checkpoints
);

-- Seals of heads, and of the newest ones the lines in order, 256 to a row, and the hashes above them.
CREATE TABLE chancery.log_seals (
    firm_id    uuid        NOT NULL,
    as_of_size bigint      NOT NULL,
    root       bytea       NOT NULL,
    count      bigint      NOT NULL,
    made_at    timestamptz NOT NULL,
    PRIMARY KEY (firm_id, as_of_size)
);
CREATE TABLE chancery.log_heads (
    firm_id    uuid   NOT NULL,
    as_of_size bigint NOT NULL,
    place      bigint NOT NULL,
    first      text COLLATE "C" NOT NULL, -- the tag of its first line
    lines      text COLLATE "C" NOT NULL,
    PRIMARY KEY (firm_id, as_of_size, place)
);
ALTER TABLE chancery.log_heads ALTER COLUMN lines SET STORAGE EXTERNAL; -- hashes do not get smaller
CREATE INDEX log_heads_first ON chancery.log_heads (firm_id, as_of_size, first);
CREATE TABLE chancery.log_head_tiles (
    firm_id    uuid     NOT NULL,
    as_of_size bigint   NOT NULL,
    level      smallint NOT NULL, -- from 1: the leaves' hashes are made of the lines
    place      bigint   NOT NULL,
    hashes     bytea    NOT NULL,
    PRIMARY KEY (firm_id, as_of_size, level, place)
);
ALTER TABLE chancery.log_head_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CALL chancery.fence('chancery.logs');
CALL chancery.fence('chancery.log_tiles');
CALL chancery.fence('chancery.log_keys');
CALL chancery.fence('chancery.log_checkpoints');
CALL chancery.fence('chancery.log_cosignatures');
CALL chancery.fence('chancery.log_timestamps');
CALL chancery.fence('chancery.log_seals');
CALL chancery.fence('chancery.log_heads');
CALL chancery.fence('chancery.log_head_tiles');
GRANT SELECT ON chancery.logs, chancery.log_tiles, chancery.log_keys, chancery.log_checkpoints, chancery.log_cosignatures,
    chancery.log_timestamps, chancery.log_seals, chancery.log_heads, chancery.log_head_tiles TO chancery_app;
GRANT SELECT, INSERT, UPDATE ON chancery.logs TO chancery_record;
GRANT SELECT, INSERT, DELETE ON chancery.log_tiles TO chancery_record;
GRANT UPDATE (hashes) ON chancery.log_tiles TO chancery_record;
GRANT SELECT, INSERT ON chancery.log_keys, chancery.log_checkpoints, chancery.log_cosignatures, chancery.log_timestamps TO chancery_record;
GRANT UPDATE (line, cosigned_at) ON chancery.log_cosignatures TO chancery_record;
GRANT SELECT, INSERT, DELETE ON chancery.log_seals, chancery.log_heads, chancery.log_head_tiles TO chancery_record;
