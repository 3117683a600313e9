SELECT k.asked, k.chain AS contact, c.status AS contact_status, c.merged_into, c.absorbed, t.id AS row, t.status, t.since, t.expires_at, t.request_expires_at,
       t.legal_basis, t.consent_type, t.notice, t.notice_version, t.contact_point_ref, t.decided_by, t.decided_seq
  FROM unnest(%(asked)s::uuid[], %(chains)s::uuid[]) k(asked, chain)
  LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = k.chain
  LEFT JOIN views.consents t ON t.firm_id = %(firm)s AND t.contact = k.chain AND t.purpose = %(purpose)s AND t.channel = %(channel)s
