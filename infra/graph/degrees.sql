SELECT x.id, min(x.kind) AS kind, count(*) AS degree,
       count(DISTINCT x.other) FILTER (WHERE x.other <> x.id) AS neighbours, sum(x.count) AS weight
  FROM (SELECT e.source AS id, e.source_kind AS kind, e.target AS other, e.count FROM views.graph_edges e
         WHERE /* in_scope */
         UNION ALL
        SELECT e.target, e.target_kind, e.source, e.count FROM views.graph_edges e
         WHERE /* in_scope */) x
 GROUP BY x.id
 ORDER BY degree DESC, x.id
 LIMIT %(limit)s OFFSET %(offset)s
