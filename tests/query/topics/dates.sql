-- Dates and timestamps: comparison, parts, truncation, intervals, casts.

SELECT id, d, ts FROM days WHERE id < 15;
SELECT min(d), max(d), min(ts), max(ts), count(d), count(ts) FROM days;
SELECT id, extract(year FROM d), extract(month FROM d), extract(day FROM d) FROM days WHERE id < 40;
SELECT id, date_part('quarter', d), date_part('week', d), date_part('doy', d) FROM days WHERE id < 40;
SELECT id, date_part('dow', d) FROM days WHERE id < 40;
SELECT id, extract(hour FROM ts), extract(minute FROM ts) FROM days WHERE id < 40;
SELECT id, date_trunc('year', ts), date_trunc('month', ts), date_trunc('day', ts), date_trunc('hour', ts) FROM days WHERE id < 40;
SELECT id, date_trunc('minute', ts), date_trunc('second', ts) FROM days WHERE id < 40;
SELECT id, date_trunc('quarter', ts), date_trunc('week', ts) FROM days WHERE id BETWEEN 10 AND 60;
-- duckdb SELECT id, CAST(d + INTERVAL '1 day' AS DATE), CAST(d - INTERVAL '1 day' AS DATE) FROM days WHERE id < 40
SELECT id, d + INTERVAL '1 day', d - INTERVAL '1 day' FROM days WHERE id < 40;
-- duckdb SELECT id, CAST(d + INTERVAL '1 month' AS DATE), CAST(d - INTERVAL '3 month' AS DATE), CAST(d + INTERVAL '1 year' AS DATE) FROM days WHERE id < 60
SELECT id, d + INTERVAL '1 month', d - INTERVAL '3 month', d + INTERVAL '1 year' FROM days WHERE id < 60;
SELECT id, ts + INTERVAL '90 minute', ts - INTERVAL '36 hour' FROM days WHERE id < 40;
SELECT id, ts + INTERVAL '1 month' FROM days WHERE id < 40;
-- duckdb SELECT CAST(DATE '2024-01-31' + INTERVAL '1 month' AS DATE), CAST(DATE '2023-01-31' + INTERVAL '1 month' AS DATE), CAST(DATE '2024-02-29' + INTERVAL '1 year' AS DATE), CAST(DATE '2024-03-31' - INTERVAL '1 month' AS DATE)
SELECT DATE '2024-01-31' + INTERVAL '1 month', DATE '2023-01-31' + INTERVAL '1 month', DATE '2024-02-29' + INTERVAL '1 year', DATE '2024-03-31' - INTERVAL '1 month';
SELECT count(*) FROM days WHERE d < DATE '1998-12-01' - INTERVAL '90 day';
SELECT count(*) FROM days WHERE d BETWEEN DATE '1994-01-01' AND DATE '1994-01-01' + INTERVAL '1 year';
SELECT count(*) FROM days WHERE ts >= TIMESTAMP '2000-01-01 00:00:00' AND ts < TIMESTAMP '2001-01-01 00:00:00';
SELECT id, CAST(ts AS DATE) FROM days WHERE id < 40;
SELECT id, CAST(d AS TIMESTAMP) FROM days WHERE id < 40;
SELECT id, CAST(d AS VARCHAR) FROM days WHERE id < 20;
SELECT CAST('2020-05-17' AS DATE), CAST('1969-07-20' AS DATE), CAST('2020-05-17 10:11:12' AS TIMESTAMP);
SELECT count(*) FROM days WHERE d = CAST('2000-02-29' AS DATE);
SELECT count(*) FROM days WHERE CAST(ts AS DATE) > d;
SELECT count(*) FROM days WHERE d > ts;
SELECT extract(year FROM d) AS y, count(*) FROM days GROUP BY extract(year FROM d);
SELECT date_trunc('month', day) AS m, count(*), sum(qty) FROM events GROUP BY date_trunc('month', day) ORDER BY m;
SELECT day, count(*) FROM events WHERE extract(month FROM day) = 2 GROUP BY day ORDER BY day LIMIT 10;
SELECT d FROM days WHERE d IS NOT NULL ORDER BY d DESC LIMIT 5;
SELECT CASE WHEN d < DATE '1980-01-01' THEN 'old' WHEN d IS NULL THEN 'none' ELSE 'new' END AS age, count(*) FROM days GROUP BY 1;
-- error
SELECT CAST('2020-02-30' AS DATE);
-- error
SELECT CAST('no date' AS DATE);
SELECT coalesce(d, DATE '1970-01-01') FROM days WHERE id BETWEEN 10 AND 40;
SELECT TIMESTAMP '2020-01-01 00:00:00.000001' < TIMESTAMP '2020-01-01 00:00:00.000002', DATE '2020-01-01' = TIMESTAMP '2020-01-01 00:00:00';
