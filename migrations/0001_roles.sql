-- Roles and schemas. The login that migrates owns nothing either: everything belongs to chancery_owner, which can't log in.
-- chancery_app serves reads of one firm at a time; chancery_record appends and projects for all firms. Neither owns a table,
-- neither can bypass row-level security.
SET lock_timeout = '5s';

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['chancery_owner', 'chancery_app', 'chancery_record'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of the cluster made it at the same moment
            END;
        END IF;
        -- Whoever made the roles beforehand has also granted them; then this login need not be able to.
        IF NOT (pg_has_role(current_user, wanted, 'SET') AND pg_has_role(current_user, wanted, 'USAGE')) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
END
$$;

ALTER SCHEMA chancery OWNER TO chancery_owner;
ALTER TABLE chancery.migrations OWNER TO chancery_owner;
CREATE SCHEMA record AUTHORIZATION chancery_owner;
CREATE SCHEMA vault AUTHORIZATION chancery_owner;
CREATE SCHEMA views AUTHORIZATION chancery_owner;
CREATE SCHEMA history AUTHORIZATION chancery_owner;
CREATE SCHEMA at AUTHORIZATION chancery_owner;
CREATE SCHEMA before AUTHORIZATION chancery_owner;
GRANT USAGE ON SCHEMA chancery, record, views, history, at, before TO chancery_app, chancery_record;
GRANT USAGE ON SCHEMA vault TO chancery_app, chancery_record;

GRANT SELECT ON chancery.migrations TO chancery_app, chancery_record;
SET ROLE chancery_owner;

-- The firm of this transaction; nobody when it was never set or was set by an earlier transaction (then it reads '').
CREATE FUNCTION chancery.firm() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('chancery.firm', true), '')::uuid;

-- Who reads, as the record names actors (`member/…`, `key/…`); nobody when it was not said.
CREATE FUNCTION chancery.actor() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('chancery.actor', true), '');

-- Row-level security as every table of a firm has it: an application session sees its own firm, the record's writer all.
CREATE PROCEDURE chancery.fence(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY own_firm ON %s TO chancery_app USING (firm_id = (SELECT chancery.firm()))', target);
    EXECUTE format('CREATE POLICY all_firms ON %s TO chancery_record USING (true) WITH CHECK (true)', target);
END
$$;

-- What a read may ask for: the business time and the position it wants to see; now and everything when not set.
CREATE FUNCTION chancery.as_of() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('chancery.as_of', true), '')::timestamptz, 'infinity');
CREATE FUNCTION chancery.known_at() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('chancery.known_at', true), '')::bigint, 9223372036854775806);
-- The present of this read: the business time it asks for, else the time at which it began.
CREATE FUNCTION chancery.present() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('chancery.as_of', true), '')::timestamptz, nullif(current_setting('chancery.now', true), '')::timestamptz, now());
-- The moment a read compares with.
CREATE FUNCTION chancery.vs_as_of() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('chancery.vs_as_of', true), '')::timestamptz, 'infinity');
CREATE FUNCTION chancery.vs_known_at() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('chancery.vs_known_at', true), '')::bigint, 9223372036854775806);

CREATE FUNCTION chancery.vs_present() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('chancery.vs_as_of', true), '')::timestamptz, nullif(current_setting('chancery.now', true), '')::timestamptz, now());

-- A view's table `views.x`: current rows, read by the application, written by its projection. With it come `history.x`, the rows that
-- were superseded, and `at.x`, the rows as of a business time and a known position (spec/decisions/0007); `before.x` is the same of
-- the moment that a read compares with.
-- A slice is visible from (updated_at, _known_from) until its successor's corner (_valid_to, _known_to), and while it was believed (_known_end).
CREATE PROCEDURE chancery.own_view(target regclass) LANGUAGE plpgsql AS $$
DECLARE
    name    text := (SELECT relname FROM pg_class WHERE oid = target);
    index   record;
BEGIN
    EXECUTE format('CREATE TABLE history.%I (LIKE %s, _known_from bigint NOT NULL, _valid_to timestamptz NOT NULL, _known_to bigint NOT NULL,'
        ' _known_end bigint NOT NULL, _gone boolean NOT NULL, PRIMARY KEY (firm_id, id, updated_at, _known_from))', name, target);
    FOR index IN SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
        AND attname NOT IN ('firm_id', 'id', 'position', 'version', 'created_at', 'updated_at') LOOP
        EXECUTE format('ALTER TABLE history.%I ALTER COLUMN %I DROP NOT NULL', name, index.attname);
    END LOOP;
    -- An index of the current table that orders a list orders it as of any moment too.
    FOR index IN SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
        WHERE indrelid = target AND NOT indisunique LOOP
        EXECUTE regexp_replace(index.definition, 'INDEX \S+ ON (ONLY )?\S+', format('INDEX ON history.%I', name));
    END LOOP;
    -- What is gone is asked for by whoever compares moments, and there is little of it.
    EXECUTE format('CREATE INDEX ON history.%I (firm_id, id) WHERE _gone', name);
    CALL chancery.serve_view(name);
END
$$;

-- A view whose rows have an owner, an actor, and say whether they are shared: the others are for the owner alone to see.
CREATE PROCEDURE chancery.keep_own(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM pg_attribute WHERE attrelid = target AND NOT attisdropped
        AND (attname, atttypid) IN (('owner', 'text'::regtype), ('shared', 'boolean'::regtype))) = 2 THEN
        EXECUTE format('CREATE POLICY own_or_shared ON %s AS RESTRICTIVE FOR SELECT TO chancery_app'
            ' USING (shared OR owner = (SELECT chancery.actor()))', target);
    END IF;
END
$$;

-- Lets a view's tables be read as they are and as of any moment; called again when a rebuild has put new tables in their place.
CREATE PROCEDURE chancery.serve_view(name text) LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    moment  record;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
        FROM pg_attribute WHERE attrelid = format('views.%I', name)::regclass AND attnum > 0 AND NOT attisdropped;
    -- In parentheses with SELECT the moment is asked for once, and not for each row.
    FOR moment IN SELECT * FROM (VALUES ('at', '(SELECT chancery.as_of())', '(SELECT chancery.known_at())'),
        ('before', '(SELECT chancery.vs_as_of())', '(SELECT chancery.vs_known_at())')) AS m (schema, as_of, known_at) LOOP
        EXECUTE format('CREATE VIEW %1$I.%2$I WITH (security_invoker = true) AS SELECT %3$s FROM views.%2$I'
            ' WHERE updated_at <= %4$s AND position <= %5$s'
            ' UNION ALL SELECT %3$s FROM history.%2$I WHERE updated_at <= %4$s AND _known_from <= %5$s'
            ' AND _known_end > %5$s AND (_valid_to > %4$s OR _known_to > %5$s) AND NOT _gone',
            moment.schema, name, columns, moment.as_of, moment.known_at);
        EXECUTE format('GRANT SELECT ON %I.%I TO chancery_app, chancery_record', moment.schema, name);
    END LOOP;
    CALL chancery.fence(format('views.%I', name)::regclass);
    CALL chancery.fence(format('history.%I', name)::regclass);
    CALL chancery.keep_own(format('views.%I', name)::regclass);
    CALL chancery.keep_own(format('history.%I', name)::regclass);
    EXECUTE format('GRANT SELECT ON views.%I, history.%I TO chancery_app', name, name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON views.%I, history.%I TO chancery_record', name, name);
END
$$;
