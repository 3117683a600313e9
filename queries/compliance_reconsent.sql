WITH material AS (
    SELECT (v ->> 'number')::bigint AS number, (v ->> 'published_at')::timestamptz AS published_at, p AS purpose
      FROM views.notices n, jsonb_array_elements(n.versions) v, jsonb_array_elements_text(v -> 'new_purposes') p
     WHERE n.firm_id = %(firm)s AND n.id = %(notice)s AND (v ->> 'material')::boolean AND (v ->> 'published_at')::timestamptz <= %(now)s
)
SELECT t.id, t.contact, t.purpose, t.channel, t.since, t.notice_version AS on_version, max(m.number) AS newest_version,
       min(m.published_at) AS ended_at, t.status = 'superseded' AS noted, CASE WHEN %(personal)s THEN c.name END AS name
  FROM views.consents t
  JOIN material m ON m.purpose = t.purpose AND m.number > t.notice_version
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = t.contact
 WHERE t.firm_id = %(firm)s AND t.id > %(after)s AND t.notice = %(notice)s AND t.status IN ('given', 'renewed', 'superseded')
   AND NOT coalesce(t.expires_at <= %(now)s, false) AND NOT coalesce(t.request_expires_at > %(now)s, false)
   AND coalesce(c.status, 'active') = 'active'
   AND NOT EXISTS (SELECT FROM views.suppressions s
                    WHERE s.firm_id = %(firm)s AND s.contact = t.contact AND s.active AND s.since <= %(now)s
                      AND (s.channel IS NULL OR s.channel = t.channel)
                      AND (s.contact_point_ref IS NULL OR s.contact_point_ref = t.contact_point_ref))
 GROUP BY t.id, t.contact, t.purpose, t.channel, t.since, t.notice_version, t.status, c.name
 ORDER BY t.id
 LIMIT %(limit)s
