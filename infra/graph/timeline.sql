SELECT e.id, e.source_kind, e.source, e.target_kind, e.target,
       CASE WHEN e.sealed AND NOT %(personal)s THEN %(sealed_kind)s ELSE coalesce(e.kind, %(sealed_kind)s) END AS kind,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.role END AS role,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.since END AS since,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.until END AS until,
       e.count, e.last_at, e.last_event, e.last_event_id
  FROM (SELECT e.id, e.firm_id, e.source_kind, e.source, e.target_kind, e.target, e.kind, e.role, e.sealed, e.since, e.until,
               e.count, e.last_at, e.last_event, e.last_event_id
          FROM views.graph_edges e
         WHERE e.source = ANY (%(ids)s::uuid[]) AND e.target = ANY (%(ids)s::uuid[])
           AND /* in_scope */
         UNION
        SELECT e.id, e.firm_id, e.source_kind, e.source, e.target_kind, e.target, e.kind, e.role, e.sealed, e.since, e.until,
               e.count, e.last_at, e.last_event, e.last_event_id
          FROM history.graph_edges e
         WHERE e.source = ANY (%(ids)s::uuid[]) AND e.target = ANY (%(ids)s::uuid[])
           AND e.updated_at <= chancery.as_of() AND e._known_from <= chancery.known_at() AND e._known_end > chancery.known_at()
           AND NOT e._gone
           AND EXISTS (SELECT FROM views.graph_edges v WHERE v.firm_id = %(firm)s AND v.id = e.id)
           AND /* in_scope */) e
 WHERE (%(after)s::timestamptz IS NULL OR e.last_at >= %(after)s)
   AND (%(before)s::timestamptz IS NULL OR e.last_at <= %(before)s)
 ORDER BY e.last_at DESC, e.last_event_id, e.id
 LIMIT %(limit)s OFFSET %(offset)s
