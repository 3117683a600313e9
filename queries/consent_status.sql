WITH stands AS (
    SELECT t.purpose, t.dpv, t.channel,
           t.status, {suppressed}
      FROM {consents} t
     WHERE t.firm_id = %(firm)s AND (%(purpose)s::text IS NULL OR t.purpose = %(purpose)s)
       AND (%(channel)s::text IS NULL OR t.channel = %(channel)s)
)
SELECT purpose, dpv, channel, status, count(*) AS contacts, count(*) FILTER (WHERE suppressed) AS suppressed
  FROM stands
 GROUP BY 1, 2, 3, 4
 ORDER BY 1, 3, 5 DESC, 4
