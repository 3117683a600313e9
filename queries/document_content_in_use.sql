SELECT DISTINCT v.sha256
FROM views.document_versions v
JOIN views.documents d ON d.firm_id = v.firm_id AND d.id = v.document
WHERE v.firm_id = %(firm)s AND v.sha256 = ANY (%(sha256s)s) AND d.status <> 'discarded'
