SELECT id, reason, channel, contact_point_ref, CASE WHEN %(personal)s THEN contact_point END AS contact_point, since, last_record,
       last_seq
  FROM views.suppressions
 WHERE firm_id = %(firm)s AND contact = %(contact)s AND active AND since <= %(now)s
 ORDER BY since, id
