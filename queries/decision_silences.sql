SELECT s.contact, s.reason, s.channel, s.contact_point_ref, s.last_record, s.last_seq
  FROM views.suppressions s
 WHERE s.firm_id = %(firm)s AND s.contact = ANY(%(chains)s::uuid[]) AND s.active AND s.since <= %(now)s
   AND (s.channel IS NULL OR s.channel = %(channel)s)
 ORDER BY s.contact, s.since, s.id
