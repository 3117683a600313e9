SELECT d.id, d.title, d.media_type, d.size, d.number AS versions, d.on_hold, d.updated_at, count(*) OVER () AS documents
  FROM (SELECT DISTINCT document FROM views.document_links WHERE firm_id = %(firm)s AND target = ANY (%(ids)s::uuid[])) AS l
  JOIN views.documents d ON d.firm_id = %(firm)s AND d.id = l.document
 WHERE d.status = 'active'
 ORDER BY d.updated_at DESC, d.id
 LIMIT %(limit)s
