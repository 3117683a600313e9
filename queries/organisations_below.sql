WITH RECURSIVE down AS (
    SELECT o.id, 0 AS depth, ARRAY[o.id] AS path
      FROM views.organisations o
     WHERE o.firm_id = %(firm)s AND o.id = %(id)s
    UNION ALL
    SELECT o.id, down.depth + CASE WHEN o.merged_into IS NULL THEN 1 ELSE 0 END, down.path || o.id
      FROM down
      JOIN views.organisations o
        ON o.firm_id = %(firm)s AND ((o.parent = down.id AND o.merged_into IS NULL) OR o.merged_into = down.id)
     WHERE NOT o.id = ANY (down.path) AND cardinality(down.path) < 100
)
SELECT o.id, o.name, o.parent, o.status, down.depth
  FROM down JOIN views.organisations o ON o.firm_id = %(firm)s AND o.id = down.id
 WHERE o.merged_into IS NULL AND o.id <> %(id)s
 ORDER BY down.depth, o.name, o.id
 LIMIT %(limit)s
