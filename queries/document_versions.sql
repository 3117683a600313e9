SELECT v.id, v.number, v.sha256, v.size, v.media_type, v.file_name, v.author, v.comment, v.source_time,
       v.same_content_as, v.restored_from, v.added_at, v.added_by, d.status
FROM views.document_versions v
JOIN views.documents d ON d.firm_id = v.firm_id AND d.id = v.document
WHERE v.firm_id = %(firm)s AND v.document = %(id)s AND v.number > %(after)s
ORDER BY v.number
LIMIT %(most)s
