WITH stands AS (
    SELECT t.id, t.contact, t.purpose, t.channel, t.since, t.expires_at, t.request_expires_at, t.legal_basis, t.consent_type, t.double_opt_in,
           t.status, {suppressed}
      FROM {consents} t
     WHERE t.firm_id = %(firm)s AND t.purpose = %(purpose)s AND t.channel = %(channel)s AND t.contact > %(after)s
)
SELECT s.*, CASE WHEN %(personal)s THEN c.name END AS name
  FROM stands s
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = s.contact
 WHERE (%(status)s::text IS NULL OR s.status = %(status)s) AND (%(suppressed)s::boolean IS NULL OR s.suppressed = %(suppressed)s)
 ORDER BY s.contact
 LIMIT %(limit)s
