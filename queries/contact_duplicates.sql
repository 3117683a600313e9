WITH me AS (
    SELECT id, lower(name) AS name, lower(email) AS email, phone
      FROM views.contacts
     WHERE firm_id = %(firm)s AND id = %(id)s
), found AS (
    SELECT c.id, 'email' AS by, 3 AS weight
      FROM me JOIN views.contacts c ON c.firm_id = %(firm)s AND lower(c.email) = me.email
    UNION ALL
    SELECT c.id, 'phone', 2
      FROM me JOIN views.contacts c ON c.firm_id = %(firm)s AND c.phone = me.phone
    UNION ALL
    SELECT c.id, 'name', 1
      FROM me JOIN views.contacts c ON c.firm_id = %(firm)s AND lower(c.name) = me.name
), scored AS (
    SELECT id, array_agg(by ORDER BY weight DESC) AS same, sum(weight) AS weight FROM found GROUP BY id
)
SELECT c.id, c.name, c.email, c.phone, c.organisation_name, c.status, s.same
  FROM scored s
  JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = s.id
 WHERE c.merged_into IS NULL AND c.id <> %(id)s
 ORDER BY s.weight DESC, c.id
 LIMIT %(limit)s
