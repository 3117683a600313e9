WITH mine AS MATERIALIZED (
    SELECT t.id, t.title, t.pipeline_id, t.stage_id, t.stage_name, t.amount, t.currency, t.expected_close, t.stage_since, t.contact_id,
           t.version,
           coalesce(CASE WHEN s.id IS NULL THEN t.stage_due ELSE t.stage_since + make_interval(days => s.time_limit_days::int) END
                    < %(now)s, false) AS rotting,
           coalesce(t.expected_close >= %(today)s AND t.expected_close < %(week_end)s, false) AS closing_this_week,
           coalesce(t.expected_close < %(today)s, false) AS overdue_to_close
      FROM views.deals t
      LEFT JOIN views.stages s ON s.firm_id = %(firm)s AND s.id = t.stage_id
     WHERE t.firm_id = %(firm)s AND t.owner_id = %(id)s AND t.status = 'open' AND NOT t.archived
), placed AS (
    SELECT m.*, g.name AS list, row_number() OVER (PARTITION BY g.name ORDER BY g.at, m.id) AS place,
           count(*) OVER (PARTITION BY g.name) AS deals
      FROM mine m
     CROSS JOIN LATERAL (VALUES ('rotting', m.rotting, m.stage_since),
                                ('closing_this_week', m.closing_this_week, m.expected_close::timestamp AT TIME ZONE 'UTC'),
                                ('overdue_to_close', m.overdue_to_close, m.expected_close::timestamp AT TIME ZONE 'UTC')) AS g(name, there, at)
     WHERE g.there
)
SELECT * FROM placed WHERE place <= %(limit)s ORDER BY list, place
