WITH worked AS MATERIALIZED (
    SELECT CASE WHEN e.source_kind = 'member' THEN e.source ELSE e.target END AS member,
           CASE WHEN e.source_kind = 'member' THEN e.target ELSE e.source END AS thing,
           min(CASE WHEN e.source_kind = 'member' THEN e.target_kind ELSE e.source_kind END) AS kind,
           min(e.since) AS since, max(e.last_at) AS last_at
      FROM views.graph_edges e
     WHERE (e.source_kind = 'member') <> (e.target_kind = 'member')
       AND /* in_scope */
     GROUP BY 1, 2
)
SELECT a.member AS first, b.member AS second, a.kind, count(*) AS shared,
       min(greatest(a.since, b.since)) AS since, max(greatest(a.last_at, b.last_at)) AS last_at
  FROM worked a
  JOIN worked b ON b.thing = a.thing AND b.member > a.member
 WHERE %(member)s::uuid IS NULL OR %(member)s = a.member OR %(member)s = b.member
 GROUP BY 1, 2, 3
 ORDER BY 1, 2, 3
 LIMIT %(limit)s
