-- Consumers of the bus: groups, where each stands in each firm's sequence, and the events that a group could not handle.
-- A group's place in a firm moves in the transaction of the handler, under the row's lock: that is what makes a redelivery harmless.
SET lock_timeout = '5s';

CREATE TABLE chancery.bus_groups (
    name       text        PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    start      bigint      NOT NULL, -- it is told of what comes after this position of the record
    firms      uuid[],               -- of these firms alone; of all when null
    stopped    text,                 -- what stopped it for good: it is ahead of the store, or the store's history is another
    seen_at    timestamptz,          -- when a consumer of it was last at work
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE chancery.bus_positions (
    firm_id    uuid        NOT NULL,
    group_name text        NOT NULL REFERENCES chancery.bus_groups ON DELETE CASCADE,
    next       bigint      NOT NULL,           -- the firm_position of the event that comes next
    furthest   bigint      NOT NULL,           -- the highest it ever stood at: below it, an event has been handled before
    last_event uuid,                           -- the last event that was handled, and its firm_position
    last_at    bigint,
    attempts   int         NOT NULL DEFAULT 0, -- how often the next event has failed
    retry_at   timestamptz,                    -- it is tried again then
    error      text,
    place      jsonb,                          -- where that event was first delivered from
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (firm_id, group_name)
) WITH (fillfactor = 50);
CREATE INDEX bus_positions_group ON chancery.bus_positions (group_name, firm_id);

CREATE TABLE chancery.bus_dead_letters (
    firm_id       uuid        NOT NULL,
    group_name    text        NOT NULL REFERENCES chancery.bus_groups ON DELETE CASCADE,
    event_id      uuid        NOT NULL,
    position      bigint      NOT NULL,
    firm_position bigint      NOT NULL,
    stream_type   text        NOT NULL,
    stream_id     uuid        NOT NULL,
    type          text        NOT NULL,
    state         text        NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'replaying', 'gone')),
    attempts      int         NOT NULL,           -- how often it was tried, replays included
    tries         int         NOT NULL DEFAULT 0, -- how often in the replay that goes on
    replays       int         NOT NULL DEFAULT 0,
    retry_at      timestamptz,
    error         text        NOT NULL, -- the kind of exception
    reason        text,                 -- what the handler said of it, where that is free of personal values by agreement
    trace         text[]      NOT NULL, -- places in the code, the innermost last
    place         jsonb       NOT NULL, -- where it was delivered from
    died_at       timestamptz NOT NULL DEFAULT now(),
    published     boolean     NOT NULL DEFAULT false, -- whether the group's dead-letter topic shows it as it is here
    PRIMARY KEY (firm_id, group_name, event_id)
);
CREATE INDEX bus_dead_letters_group ON chancery.bus_dead_letters (group_name, position);
CREATE INDEX bus_dead_letters_unpublished ON chancery.bus_dead_letters (group_name) WHERE NOT published;

CALL chancery.fence('chancery.bus_positions');
CALL chancery.fence('chancery.bus_dead_letters');
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.bus_groups, chancery.bus_positions, chancery.bus_dead_letters TO chancery_record;

-- The place in a firm's sequence of its first event after a position of the record.
CREATE FUNCTION chancery.bus_place(firm uuid, after bigint) RETURNS bigint LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    low  bigint := 0;
    high bigint := coalesce((SELECT firm_position FROM record.firm_heads WHERE firm_id = firm), 0);
    half bigint;
BEGIN
    WHILE low < high LOOP
        half := (low + high) / 2;
        IF (SELECT position <= after FROM record.events WHERE firm_id = firm AND firm_position = half) THEN
            low := half + 1;
        ELSE
            high := half;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- The place in a firm's sequence of its first event that was recorded at a time or later. Commands that ran at the same moment may be
-- recorded with times out of order by a little, so the last thousand before it are looked through.
CREATE FUNCTION chancery.bus_place(firm uuid, moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    low  bigint := 0;
    high bigint := coalesce((SELECT firm_position FROM record.firm_heads WHERE firm_id = firm), 0);
    half bigint;
BEGIN
    WHILE low < high LOOP
        half := (low + high) / 2;
        IF (SELECT recorded_at < moment FROM record.events WHERE firm_id = firm AND firm_position = half) THEN
            low := half + 1;
        ELSE
            high := half;
        END IF;
    END LOOP;
    RETURN coalesce((SELECT min(firm_position) FROM record.events
        WHERE firm_id = firm AND firm_position >= low - 1000 AND firm_position < low AND recorded_at >= moment), low);
END
$$;
