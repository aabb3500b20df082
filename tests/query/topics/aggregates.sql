-- Aggregates with and without groups, over nothing, NULLs, many groups, expressions, HAVING, FILTER.

SELECT count(*), count(qty), sum(qty), min(qty), max(qty), avg(qty) FROM events;
SELECT count(*), count(v), sum(v), min(v), max(v), min(t), avg(v) FROM nothing;
SELECT k, count(*) FROM nothing GROUP BY k;
SELECT count(*) FROM nothing HAVING count(*) > 0;
SELECT sum(d), min(d) FROM nothing;
SELECT kind, count(*), sum(qty), min(day), max(day) FROM events GROUP BY kind;
SELECT kind, avg(qty), avg(CAST(id AS DOUBLE)) FROM events GROUP BY kind;
SELECT grp, count(*), sum(qty) FROM events GROUP BY grp;
SELECT grp, kind, count(*), sum(amount) FROM events WHERE grp < 40 GROUP BY grp, kind;
SELECT count(*) FROM (SELECT grp, kind, day, count(*) AS c FROM events GROUP BY grp, kind, day) t;
SELECT count(*), sum(c), max(n) FROM (SELECT note, count(*) AS c, max(id) AS n FROM events GROUP BY note) t;
SELECT note, count(*) FROM events WHERE id < 20 GROUP BY note;
SELECT kind, min(note), max(note) FROM events GROUP BY kind;
SELECT kind, count(*) FROM events GROUP BY kind HAVING count(*) > 5800;
SELECT grp, sum(qty) AS s FROM events GROUP BY grp HAVING sum(qty) > 7000 AND grp IS NOT NULL;
SELECT qty % 10 AS r, count(*), sum(qty) FROM events GROUP BY qty % 10;
SELECT kind, qty > 500 AS large, count(*) FROM events GROUP BY kind, qty > 500;
SELECT kind, sum(qty) FILTER (WHERE qty > 900), count(*) FILTER (WHERE amount < 0) FROM events GROUP BY kind;
SELECT count(*) FILTER (WHERE id < 0), sum(qty) FILTER (WHERE id < 0) FROM events;
SELECT sum(CASE WHEN kind = 'open' THEN qty ELSE 0 END), sum(CASE WHEN kind = 'open' THEN 1 END) FROM events;
SELECT stddev(qty), stddev_pop(qty), var_samp(qty), var_pop(qty) FROM events;
SELECT kind, stddev(qty), var_pop(amount) FROM events GROUP BY kind;
SELECT stddev(k), var_pop(k), stddev_pop(k) FROM left_few WHERE k = 1;
SELECT bool_and(qty >= 0), bool_or(qty > 998), bool_and(qty > 0) FROM events;
SELECT bool_and(b), bool_or(b) FROM numbers WHERE b IS NULL;
SELECT sum(qty) + count(*) * 2, max(qty) - min(qty) FROM events;
SELECT max(k) FROM left_few GROUP BY v;
SELECT 1 FROM events GROUP BY kind;
SELECT kind FROM events GROUP BY kind ORDER BY count(*) DESC, kind LIMIT 3;
SELECT b, count(*), sum(i64), min(f64), max(d38) FROM numbers WHERE id > 5 GROUP BY b;
SELECT min(i8), max(i8), min(i16), max(i16), min(i32), max(i32), min(i64), max(i64) FROM numbers;
SELECT min(f32), max(f32), min(f64), max(f64), min(b), max(b) FROM numbers;
SELECT x, count(*), min(id) FROM floats GROUP BY x;
SELECT min(x), max(x), count(x) FROM floats WHERE id < 4;
SELECT sum(i64) FROM numbers WHERE id > 5;
SELECT day, count(*), sum(amount), avg(qty), min(note) FROM events GROUP BY day ORDER BY day LIMIT 20;
SELECT m, max(c) FROM (SELECT extract(month FROM day) AS m, kind, count(*) AS c FROM events GROUP BY 1, 2) t GROUP BY m;
SELECT grp, count(*) AS c FROM events GROUP BY grp ORDER BY c DESC, grp LIMIT 10;
-- error
SELECT kind, qty FROM events GROUP BY kind;
-- error
SELECT sum(note) FROM events;
