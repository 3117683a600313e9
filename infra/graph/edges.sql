SELECT e.id, e.source_kind, e.source, e.target_kind, e.target,
       CASE WHEN e.sealed AND NOT %(personal)s THEN %(sealed_kind)s ELSE coalesce(e.kind, %(sealed_kind)s) END AS kind,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.role END AS role,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.since END AS since,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.until END AS until,
       e.count, e.last_at, e.last_event, e.last_event_id
  FROM views.graph_edges e
 WHERE /* in_scope */
   AND (%(roles)s::text[] IS NULL OR (e.role = ANY (%(roles)s::text[]) AND (%(personal)s OR NOT e.sealed)))
 ORDER BY e.id
 LIMIT %(limit)s
