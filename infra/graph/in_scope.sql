e.firm_id = %(firm)s
   AND e.source_kind = ANY (%(node_kinds)s::text[])
   AND e.target_kind = ANY (%(node_kinds)s::text[])
   AND (%(edge_kinds)s::text[] IS NULL
        OR CASE WHEN e.sealed AND NOT %(personal)s THEN %(sealed_kind)s ELSE e.kind END = ANY (%(edge_kinds)s::text[]))
   AND (%(ended)s OR ((e.since IS NULL OR e.since <= %(now)s) AND (e.until IS NULL OR e.until > %(now)s)))
   AND (%(before)s::timestamptz IS NULL OR (e.sealed AND NOT %(personal)s) OR e.since IS NULL OR e.since <= %(before)s)
   AND (%(after)s::timestamptz IS NULL OR (e.sealed AND NOT %(personal)s)
        OR CASE WHEN e.kind = ANY (%(acts)s::text[]) THEN e.last_at >= %(after)s ELSE e.until IS NULL OR e.until >= %(after)s END)
