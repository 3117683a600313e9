SELECT x.id, min(x.kind) AS kind
  FROM (SELECT e.target AS id, e.target_kind AS kind, e.last_at FROM views.graph_edges e
         WHERE e.source = ANY (%(ids)s::uuid[]) AND NOT e.target = ANY (%(known)s::uuid[])
           AND /* in_scope */
         UNION ALL
        SELECT e.source, e.source_kind, e.last_at FROM views.graph_edges e
         WHERE e.target = ANY (%(ids)s::uuid[]) AND NOT e.source = ANY (%(known)s::uuid[])
           AND /* in_scope */) x
 GROUP BY x.id
 ORDER BY max(x.last_at) DESC, x.id
 LIMIT %(limit)s
