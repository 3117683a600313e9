SELECT least(e.source, e.target) AS a,
       min(CASE WHEN e.source <= e.target THEN e.source_kind ELSE e.target_kind END) AS a_kind,
       greatest(e.source, e.target) AS b,
       min(CASE WHEN e.source <= e.target THEN e.target_kind ELSE e.source_kind END) AS b_kind,
       sum(e.count) AS weight
  FROM views.graph_edges e
 WHERE /* in_scope */
 GROUP BY 1, 3
 ORDER BY 1, 3
 LIMIT %(limit)s
