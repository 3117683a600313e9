EXISTS (SELECT FROM views.suppressions s
         WHERE s.firm_id = %(firm)s AND s.contact = t.contact AND s.active AND s.since <= %(now)s
           AND (s.channel IS NULL OR s.channel = t.channel)
           AND (s.contact_point_ref IS NULL OR s.contact_point_ref = t.contact_point_ref)) AS suppressed
