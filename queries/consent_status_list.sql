WITH stands AS (
    SELECT t.id, t.contact, t.purpose, t.channel, t.since, t.expires_at, t.request_expires_at, t.legal_basis, t.consent_type, t.double_opt_in,
           CASE WHEN t.status IN ('given', 'renewed') AND t.expires_at <= %(now)s
                THEN CASE WHEN t.request_expires_at > %(now)s THEN 'requested' ELSE 'expired' END
                WHEN t.status IN ('requested', 'deferred') AND NOT coalesce(t.request_expires_at > %(now)s, false) THEN 'expired'
                ELSE t.status END AS status,
           EXISTS (SELECT FROM views.suppressions s
                    WHERE s.firm_id = %(firm)s AND s.contact = t.contact AND s.active AND s.since <= %(now)s
                      AND (s.channel IS NULL OR s.channel = t.channel)
                      AND (s.contact_point_ref IS NULL OR s.contact_point_ref = t.contact_point_ref)) AS suppressed
      FROM views.consents t
     WHERE t.firm_id = %(firm)s AND t.purpose = %(purpose)s AND t.channel = %(channel)s AND t.contact > %(after)s
)
SELECT s.*, CASE WHEN %(personal)s THEN c.name END AS name
  FROM stands s
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = s.contact
 WHERE (%(status)s::text IS NULL OR s.status = %(status)s) AND (%(suppressed)s::boolean IS NULL OR s.suppressed = %(suppressed)s)
 ORDER BY s.contact
 LIMIT %(limit)s
