-- Looking words up by index. Under row-level security a comparison may use an index only if it is leakproof, and neither `@@` nor `&&` is:
-- as the application's role every search would read all entries of the firm. So two functions look up keys, and nothing but keys, with
-- the rights of the owner and the firm of the transaction written into them; what the keys stand for is read under the fence as ever.
SET lock_timeout = '5s';

CREATE POLICY looked_up ON chancery.search_entries FOR SELECT TO chancery_owner USING (true);
CREATE POLICY looked_up ON chancery.search_words FOR SELECT TO chancery_owner USING (true);

-- The entries of this transaction's firm whose words answer a query, at most so many. Planned anew each time: how common words are decides.
CREATE FUNCTION chancery.search_matches(of_build int, kinds text[], query tsquery, personal boolean, most int)
RETURNS TABLE (kind text, id uuid) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 500 AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT kind, id FROM chancery.search_entries WHERE firm_id = $1 AND build = $2 AND kind = ANY($3) AND %I @@ $4 LIMIT $5',
        CASE WHEN personal THEN 'words' ELSE 'open_words' END)
        USING chancery.firm(), of_build, kinds, query, most;
END
$$;

-- The words of this transaction's firm that share a typo key, of some length.
CREATE FUNCTION chancery.search_near(of_build int, asked int[], shortest int, longest int, personal boolean, most int)
RETURNS TABLE (word text) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 500 AS $$
BEGIN
    RETURN QUERY EXECUTE
        'SELECT word FROM chancery.search_words WHERE firm_id = $1 AND build = $2 AND keys && $3 AND length(word) BETWEEN $4 AND $5'
        ' AND ($6 OR open > 0) ORDER BY entries DESC, word LIMIT $7'
        USING chancery.firm(), of_build, asked, shortest, longest, personal, most;
END
$$;

REVOKE ALL ON FUNCTION chancery.search_matches(int, text[], tsquery, boolean, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION chancery.search_near(int, int[], int, int, boolean, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chancery.search_matches(int, text[], tsquery, boolean, int) TO chancery_app;
GRANT EXECUTE ON FUNCTION chancery.search_near(int, int[], int, int, boolean, int) TO chancery_app;
