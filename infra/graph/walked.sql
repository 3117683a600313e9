WITH e AS MATERIALIZED (
    SELECT e.* FROM views.graph_edges e
     WHERE e.source = ANY (%(ids)s::uuid[]) AND e.target = ANY (%(ids)s::uuid[])
       AND /* in_scope */
)
SELECT e.id, e.source_kind, e.source, e.target_kind, e.target,
       CASE WHEN e.sealed AND NOT %(personal)s THEN %(sealed_kind)s ELSE coalesce(e.kind, %(sealed_kind)s) END AS kind,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.role END AS role,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.since END AS since,
       CASE WHEN e.sealed AND NOT %(personal)s THEN NULL ELSE e.until END AS until,
       e.count, e.last_at, e.last_event, e.last_event_id
  FROM e
  JOIN unnest(%(ids)s::uuid[], %(distances)s::int[]) a(id, distance) ON a.id = e.source
  JOIN unnest(%(ids)s::uuid[], %(distances)s::int[]) b(id, distance) ON b.id = e.target
 WHERE least(a.distance, b.distance) < %(depth)s
 ORDER BY least(a.distance, b.distance), e.last_at DESC, e.id
 LIMIT %(limit)s
