SELECT number, line, outcome, stream_type, stream_id, issues, undone, kept_for
FROM chancery.import_rows
WHERE firm_id = %(firm)s AND import_id = %(id)s AND number > %(after)s
  AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s OR (%(outcome)s = 'kept' AND kept_for IS NOT NULL))
  AND (NOT %(issues)s OR jsonb_array_length(issues) > 0)
ORDER BY number
LIMIT %(limit)s
