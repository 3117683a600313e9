SELECT g.*, CASE WHEN %(personal)s THEN c.name END AS name
  FROM (
    SELECT t.id, t.contact, t.purpose, t.channel, t.since, t.legal_basis,
           array_remove(ARRAY[
               CASE WHEN t.notice IS NULL THEN 'notice' END,
               CASE WHEN e.collection_method IS NULL THEN 'collection_method' END,
               CASE WHEN t.contact_point_ref IS NULL AND t.channel IN ('email', 'sms', 'phone') THEN 'contact_point' END,
               CASE WHEN e.collection_method = 'import' AND e.evidence = '[]' THEN 'evidence' END
           ], NULL) AS missing
      FROM {consents} t
      LEFT JOIN views.consent_events e ON e.firm_id = %(firm)s AND e.contact = t.contact AND e.seq = t.decided_seq
     WHERE t.firm_id = %(firm)s AND t.id > %(after)s AND t.status IN ('given', 'renewed')
  ) g
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = g.contact
 WHERE g.missing <> '{}'
 ORDER BY g.id
 LIMIT %(limit)s
