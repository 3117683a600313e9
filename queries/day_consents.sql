SELECT s.id, s.contact, c.name, s.purpose, s.channel, s.since, s.request_expires_at, count(*) OVER () AS requests
  FROM views.contacts c
  JOIN {consents} s ON s.firm_id = %(firm)s AND s.contact = c.id
 WHERE c.firm_id = %(firm)s AND c.owner = %(id)s AND s.status = 'requested'
 ORDER BY s.request_expires_at, s.id
 LIMIT %(limit)s
