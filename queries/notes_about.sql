SELECT n.id, n.version, n.about, n.about_type, n.kind, n.text, n.happened_at, n.written_by, n.edited_by, n.edited_at, n.pinned
  FROM views.notes n
 WHERE n.firm_id = %(firm)s AND n.about = ANY (%(ids)s::uuid[])
 ORDER BY n.pinned DESC, n.happened_at DESC, n.id
 LIMIT %(limit)s
