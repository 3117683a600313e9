SELECT id AS event_id, position, seq, prev, type, record_id, status, reason, channel, purposes, effective_from, recorded_at,
       recorded_by, actor, collection_method, capture_source, evidence, import_batch, consent_type, legal_basis, jurisdiction, notice,
       notice_version, notice_language, notice_sha256, contact_point_ref, implied_by, effective_to, expires_at, answer_by,
       requested_event, confirmed_at,
       CASE WHEN %(personal)s THEN contact_point END AS contact_point,
       CASE WHEN %(personal)s THEN display_name END AS display_name,
       CASE WHEN %(personal)s THEN ip_address END AS ip_address,
       CASE WHEN %(personal)s THEN user_agent END AS user_agent,
       CASE WHEN %(personal)s THEN remark END AS remark
  FROM views.consent_events
 WHERE firm_id = %(firm)s AND contact = %(contact)s AND seq > %(after)s
 ORDER BY seq
 LIMIT %(limit)s
