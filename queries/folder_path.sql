WITH RECURSIVE up AS (
    SELECT id, parent, name, archived, 0 AS step, ARRAY[id] AS met
    FROM views.folders
    WHERE firm_id = %(firm)s AND id = %(id)s
  UNION ALL
    SELECT f.id, f.parent, f.name, f.archived, up.step + 1, up.met || f.id
    FROM up
    JOIN views.folders f ON f.firm_id = %(firm)s AND f.id = up.parent
    WHERE up.step < 256 AND NOT f.id = ANY (up.met)
)
SELECT id, name, archived FROM up ORDER BY step DESC
