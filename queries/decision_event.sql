-- One row: how large the log is, and the event of a chain with its place there, where there is such an event.
SELECT (SELECT l.size FROM chancery.logs l WHERE l.firm_id = %(firm)s) AS size, e.id, e.contact, e.seq, e.position, e.type, r.firm_position
  FROM (SELECT) one
  LEFT JOIN views.consent_events e ON e.firm_id = %(firm)s AND e.contact = %(contact)s AND e.seq = %(seq)s
  LEFT JOIN LATERAL (SELECT r.firm_position FROM record.events r WHERE r.firm_id = %(firm)s AND r.position = e.position OFFSET 0) r ON true
