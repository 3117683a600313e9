WITH RECURSIVE up AS (
    SELECT o.id, COALESCE(o.merged_into, o.parent) AS next, 0 AS depth, ARRAY[o.id] AS path
      FROM views.organisations o
     WHERE o.firm_id = %(firm)s AND o.id = %(id)s
    UNION ALL
    SELECT o.id, COALESCE(o.merged_into, o.parent), up.depth + CASE WHEN o.merged_into IS NULL THEN 1 ELSE 0 END, up.path || o.id
      FROM up JOIN views.organisations o ON o.firm_id = %(firm)s AND o.id = up.next
     WHERE NOT o.id = ANY (up.path) AND cardinality(up.path) < 100
)
SELECT o.id, o.name, o.status, up.depth
  FROM up JOIN views.organisations o ON o.firm_id = %(firm)s AND o.id = up.id
 WHERE o.merged_into IS NULL AND o.id <> %(id)s
 ORDER BY cardinality(up.path)
