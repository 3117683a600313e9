-- The record: events in position order, the heads that order them, the commands that made them, the wrapped data keys.
SET lock_timeout = '5s';

CREATE TABLE record.events (
    position       bigint      NOT NULL,
    firm_id        uuid        NOT NULL,
    firm_position  bigint      NOT NULL,
    stream_type    text        NOT NULL,
    stream_id      uuid        NOT NULL,
    stream_version bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    occurred_at    timestamptz NOT NULL,
    command_id     uuid        NOT NULL,
    public         bytea       NOT NULL,
    sealed         bytea,
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);
ALTER TABLE record.events ALTER COLUMN public SET STORAGE MAIN;
CREATE INDEX events_stream ON record.events (firm_id, stream_id, stream_version);
CREATE INDEX events_firm ON record.events (firm_id, firm_position);
CREATE INDEX events_type ON record.events (type, position);
COMMENT ON COLUMN record.events.public IS 'RFC 8785 canonical JSON, CloudEvents-shaped: the leaf of the firm''s log, never re-encoded';
COMMENT ON COLUMN record.events.sealed IS 'personal values with their salts under the subjects'' data keys; nulled by erasure';

CREATE TABLE record.head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);
INSERT INTO record.head (position) VALUES (0);

CREATE TABLE record.firm_heads (
    firm_id       uuid PRIMARY KEY,
    firm_position bigint NOT NULL -- how many events the firm has; the next one's leaf index
) WITH (fillfactor = 50);

CREATE TABLE record.streams (
    firm_id     uuid   NOT NULL,
    stream_type text   NOT NULL,
    stream_id   uuid   NOT NULL,
    version     bigint NOT NULL,
    PRIMARY KEY (firm_id, stream_id, stream_type)
) WITH (fillfactor = 80);

CREATE TABLE record.commands (
    firm_id    uuid   NOT NULL,
    command_id uuid   NOT NULL,
    body_mac   bytea  NOT NULL,
    position   bigint NOT NULL, -- of its last event; of the head when it changed nothing
    answer     bytea  NOT NULL,
    PRIMARY KEY (firm_id, command_id)
);

CREATE TABLE vault.data_keys (
    firm_id    uuid  NOT NULL,
    key_id     uuid  NOT NULL,
    subject_id uuid  NOT NULL,
    purpose    text  NOT NULL,
    epoch      int   NOT NULL,
    wrapped    bytea NOT NULL,
    PRIMARY KEY (firm_id, key_id)
);
CREATE INDEX data_keys_subject ON vault.data_keys (firm_id, subject_id);

CREATE TABLE chancery.projections (
    name       text   PRIMARY KEY,
    version    int    NOT NULL,
    position   bigint NOT NULL DEFAULT 0,
    stopped_at bigint, -- the poisoned event's position, when an event could not be applied
    error      text,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CALL chancery.fence('record.events');
CALL chancery.fence('record.firm_heads');
CALL chancery.fence('record.streams');
CALL chancery.fence('record.commands');
CALL chancery.fence('vault.data_keys');

-- What was sealed may be nulled, by erasure, and nothing else may ever happen to an event: the grants below allow no other change.
CREATE FUNCTION record.only_null() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a sealed part can only be nulled' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER sealed_is_only_nulled BEFORE UPDATE ON record.events FOR EACH ROW WHEN (NEW.sealed IS NOT NULL)
    EXECUTE FUNCTION record.only_null();

GRANT SELECT ON record.events, record.head, record.firm_heads, record.streams, record.commands, vault.data_keys TO chancery_app;
GRANT SELECT, INSERT ON record.events, record.commands TO chancery_record;
GRANT UPDATE (sealed) ON record.events TO chancery_record;
GRANT SELECT, UPDATE ON record.head TO chancery_record;
GRANT SELECT, INSERT, UPDATE ON record.firm_heads, record.streams TO chancery_record;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault.data_keys TO chancery_record;
GRANT SELECT ON chancery.projections TO chancery_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.projections TO chancery_record;

-- Makes the partition that will hold `reached` when there is none. SECURITY DEFINER because the writer owns no table and
-- must not: it can add an empty range to the record and nothing else. Attaching takes no lock that stops readers.
-- A partition has no policies of its own, because COPY can't write to a table that has them; nobody may read one directly,
-- and only the writer may add to it.
CREATE FUNCTION record.extend(reached bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    size  constant bigint := 5000000;
    number bigint := reached / size;
    part  text := format('events_%s', lpad(number::text, 6, '0'));
BEGIN
    IF to_regclass('record.' || part) IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('record.extend'));
        IF to_regclass('record.' || part) IS NULL THEN
            EXECUTE format('CREATE TABLE record.%I (LIKE record.events INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)', part);
            EXECUTE format('GRANT INSERT ON record.%I TO chancery_record', part);
            EXECUTE format(
                'ALTER TABLE record.events ATTACH PARTITION record.%I FOR VALUES FROM (%s) TO (%s)', part, number * size, (number + 1) * size);
        END IF;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION record.extend(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record.extend(bigint) TO chancery_record;
SELECT record.extend(0);
SELECT record.extend(5000000);

-- The last position of the firm's record that was recorded up to a time; 0 when there was none yet.
CREATE FUNCTION chancery.position_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    firm  uuid   := chancery.firm();
    low   bigint := 0; -- events before this one were recorded in time
    high  bigint := coalesce((SELECT firm_position FROM record.firm_heads WHERE firm_id = firm), 0);
    half  bigint;
BEGIN
    WHILE low < high LOOP
        half := (low + high) / 2;
        IF (SELECT recorded_at <= moment FROM record.events WHERE firm_id = firm AND firm_position = half) THEN
            low := half + 1;
        ELSE
            high := half;
        END IF;
    END LOOP;
    RETURN coalesce((SELECT position FROM record.events WHERE firm_id = firm AND firm_position = low - 1), 0);
END
$$;
