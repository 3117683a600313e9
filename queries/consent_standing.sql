SELECT id, purpose, dpv, purpose_version, channel, status, since, expires_at, request_expires_at, double_opt_in, consent_type,
       legal_basis, jurisdiction, notice, notice_version, notice_language, notice_sha256, contact_point_ref,
       CASE WHEN %(personal)s THEN contact_point END AS contact_point, last_event, last_record, last_seq
  FROM {consents} t
 WHERE firm_id = %(firm)s AND contact = %(contact)s
 ORDER BY purpose, channel
