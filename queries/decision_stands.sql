SELECT k.asked, k.chain AS contact, c.status AS contact_status, c.merged_into, c.absorbed, t.id AS row, t.status, t.since, t.expires_at, t.request_expires_at,
       t.legal_basis, t.consent_type, t.notice, t.notice_version, t.contact_point_ref, t.decided_by, t.decided_seq,
       (SELECT p.retired FROM views.purposes p WHERE p.firm_id = %(firm)s AND p.key = %(purpose)s LIMIT 1) AS purpose_retired
  FROM unnest(%(asked)s::uuid[], %(chains)s::uuid[]) k(asked, chain)
  LEFT JOIN LATERAL (
    SELECT c.status, c.merged_into, c.absorbed FROM views.contacts c WHERE c.firm_id = %(firm)s AND c.id = k.chain OFFSET 0
  ) c ON true
  LEFT JOIN LATERAL (
    SELECT t.id, t.status, t.since, t.expires_at, t.request_expires_at, t.legal_basis, t.consent_type, t.notice, t.notice_version,
           t.contact_point_ref, t.decided_by, t.decided_seq, t.purpose, t.channel
      FROM views.consents t WHERE t.firm_id = %(firm)s AND t.contact = k.chain OFFSET 0
  ) t ON t.purpose = %(purpose)s AND t.channel = %(channel)s
