SELECT t.id, t.contact, t.purpose, t.channel, t.since, t.expires_at, t.legal_basis, t.consent_type, CASE WHEN %(personal)s THEN c.name END AS name
  FROM {consents} t
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = t.contact
 WHERE t.firm_id = %(firm)s AND t.id > %(after)s AND t.status IN ('given', 'renewed') AND t.expires_at <= %(until)s
 ORDER BY t.id
 LIMIT %(limit)s
