-- Looking up two or three letters reads the lists of all words that begin so. Where the other words of a search are rare, the entries are
-- looked up by those alone, and each is asked for the rest.
SET lock_timeout = '5s';

DROP FUNCTION chancery.search_matches(int, text[], tsquery, boolean, int);

-- The entries of this transaction's firm whose words answer a query, at most so many; by index of the words `by` which it contains.
-- Planned anew each time: how common words are decides.
CREATE FUNCTION chancery.search_matches(of_build int, kinds text[], query tsquery, by tsquery, personal boolean, most int)
RETURNS TABLE (kind text, id uuid) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 500 AS $$
DECLARE
    words text := CASE WHEN personal THEN 'words' ELSE 'open_words' END;
BEGIN
    IF by IS NULL THEN
        RETURN QUERY EXECUTE format(
            'SELECT kind, id FROM chancery.search_entries WHERE firm_id = $1 AND build = $2 AND kind = ANY($3) AND %I @@ $4 LIMIT $5', words)
            USING chancery.firm(), of_build, kinds, query, most;
    ELSE -- IS TRUE keeps the index from being asked for that too
        RETURN QUERY EXECUTE format(
            'SELECT kind, id FROM chancery.search_entries WHERE firm_id = $1 AND build = $2 AND kind = ANY($3) AND %1$I @@ $6'
            ' AND (%1$I @@ $4) IS TRUE LIMIT $5', words)
            USING chancery.firm(), of_build, kinds, query, most, by;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION chancery.search_matches(int, text[], tsquery, tsquery, boolean, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chancery.search_matches(int, text[], tsquery, tsquery, boolean, int) TO chancery_app;
