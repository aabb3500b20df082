-- DISTINCT of rows and in aggregates.

SELECT DISTINCT kind FROM events;
SELECT DISTINCT kind, qty > 500 FROM events;
SELECT DISTINCT k, v FROM left_few;
SELECT DISTINCT k FROM nothing;
SELECT count(*) FROM (SELECT DISTINCT grp FROM events) t;
SELECT count(*) FROM (SELECT DISTINCT grp, kind, day FROM events) t;
SELECT count(*) FROM (SELECT DISTINCT note FROM events) t;
SELECT count(DISTINCT grp), count(DISTINCT kind), count(DISTINCT day), count(DISTINCT note) FROM events;
SELECT kind, count(DISTINCT grp), count(DISTINCT qty), count(*) FROM events GROUP BY kind;
SELECT kind, sum(DISTINCT qty), count(DISTINCT qty), sum(qty) FROM events GROUP BY kind;
SELECT sum(DISTINCT qty), min(DISTINCT qty), count(DISTINCT qty) FROM events;
SELECT count(DISTINCT amount), sum(DISTINCT amount) FROM events;
SELECT count(DISTINCT k), sum(DISTINCT k) FROM left_few;
SELECT count(DISTINCT k) FROM nothing;
SELECT DISTINCT extract(month FROM day) FROM events;
SELECT DISTINCT x FROM floats;
SELECT count(DISTINCT x) FROM floats;
SELECT DISTINCT kind FROM events ORDER BY kind NULLS LAST LIMIT 2;
SELECT DISTINCT qty % 5 AS r, kind FROM events WHERE qty < 50 ORDER BY r NULLS LAST, kind NULLS LAST;
SELECT grp % 10 AS g, count(DISTINCT kind) AS c, avg(DISTINCT qty) FROM events GROUP BY grp % 10;
SELECT DISTINCT b FROM numbers;
SELECT DISTINCT d38 FROM numbers WHERE id < 20;
SELECT kind, count(DISTINCT grp), round(stddev(qty), 4), round(var_pop(qty), 4) FROM events GROUP BY kind;
SELECT count(DISTINCT grp), count(DISTINCT kind), round(stddev_pop(qty), 4), count(*), avg(qty), count(qty) FROM events;
SELECT kind, round(var_samp(qty) FILTER (WHERE qty > 100), 4), sum(DISTINCT qty), count(*) FROM events GROUP BY kind;
SELECT count(DISTINCT k), stddev(k) FROM nothing;
SELECT k, count(DISTINCT v), stddev(v), var_pop(v) FROM left_few GROUP BY k;
