WITH mine AS (
    SELECT r.id, r.kind, r.target_type AS other_type, r.target AS other, r.label, r.valid_from, r.valid_to, r."primary",
           r.remark, r.ended_because, r.version
      FROM views.relations r
     WHERE r.firm_id = %(firm)s AND r.source = ANY (%(ids)s::uuid[]) AND NOT r.target = ANY (%(ids)s::uuid[])
    UNION ALL
    SELECT r.id, r.inverse, r.source_type, r.source, r.label, r.valid_from, r.valid_to, r."primary",
           r.remark, r.ended_because, r.version
      FROM views.relations r
     WHERE r.firm_id = %(firm)s AND r.target = ANY (%(ids)s::uuid[]) AND NOT r.source = ANY (%(ids)s::uuid[])
)
SELECT m.*, COALESCE(c.name, o.name) AS other_name, COALESCE(c.merged_into, o.merged_into) AS other_merged_into
  FROM mine m
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = m.other AND m.other_type = 'contact'
  LEFT JOIN views.organisations o ON o.firm_id = %(firm)s AND o.id = m.other AND m.other_type = 'organisation'
 WHERE %(which)s = 'all' OR (%(which)s = 'ended') = (m.valid_to IS NOT NULL AND m.valid_to < %(today)s)
 ORDER BY m.valid_to DESC NULLS FIRST, m."primary" DESC NULLS LAST, m.valid_from DESC NULLS LAST, m.id
 LIMIT %(limit)s
