-- Window functions: ranking, offsets, aggregates over partitions and frames.

SELECT k, v, row_number() OVER (ORDER BY k NULLS LAST, v NULLS LAST) FROM left_few;
SELECT k, v, rank() OVER (ORDER BY k NULLS FIRST), dense_rank() OVER (ORDER BY k NULLS FIRST) FROM left_few;
SELECT k, v, percent_rank() OVER (ORDER BY k NULLS LAST), cume_dist() OVER (ORDER BY k NULLS LAST) FROM left_few;
SELECT id, ntile(4) OVER (ORDER BY id), ntile(7) OVER (ORDER BY id) FROM texts WHERE id < 18;
SELECT id, lag(id) OVER (ORDER BY id), lead(id) OVER (ORDER BY id), lag(word, 2) OVER (ORDER BY id), lead(n, 3, -1) OVER (ORDER BY id) FROM texts WHERE id BETWEEN 14 AND 40;
SELECT id, n, first_value(id) OVER (PARTITION BY n ORDER BY id), last_value(id) OVER (PARTITION BY n ORDER BY id) FROM texts WHERE id < 40;
SELECT id, n, last_value(id) OVER (PARTITION BY n ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM texts WHERE id < 40;
SELECT id, n, nth_value(id, 2) OVER (PARTITION BY n ORDER BY id) FROM texts WHERE id < 40;
SELECT id, n, sum(id) OVER (PARTITION BY n), count(*) OVER (PARTITION BY n), avg(id) OVER (PARTITION BY n) FROM texts WHERE id < 40;
SELECT id, sum(id) OVER (ORDER BY id), min(n) OVER (ORDER BY id), max(n) OVER (ORDER BY id) FROM texts WHERE id < 40;
SELECT id, n, sum(id) OVER (ORDER BY n) FROM texts WHERE id < 40;
SELECT id, sum(n) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING), count(*) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM texts WHERE id < 40;
SELECT id, min(n) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND CURRENT ROW), max(n) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND 3 FOLLOWING) FROM texts WHERE id < 40;
SELECT id, avg(n) OVER (ORDER BY id ROWS BETWEEN 5 PRECEDING AND 2 PRECEDING) FROM texts WHERE id < 40;
-- refused RANGE with an offset is not supported
SELECT id, sum(n) OVER (ORDER BY id RANGE BETWEEN 3 PRECEDING AND 3 FOLLOWING) FROM texts WHERE id < 40 AND n < 6;
SELECT id, sum(n) OVER (ORDER BY id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) FROM texts WHERE id < 40;
SELECT id, count(word) OVER (PARTITION BY n ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM texts WHERE id < 40;
SELECT k, v, sum(v) OVER (PARTITION BY k) FROM left_few;
SELECT k, sum(v) OVER () FROM left_few;
SELECT k, row_number() OVER (PARTITION BY t ORDER BY k) FROM nothing;
SELECT kind, qty, r FROM (SELECT kind, qty, id, row_number() OVER (PARTITION BY kind ORDER BY qty DESC NULLS LAST, id) AS r FROM events) t WHERE r <= 3;
SELECT count(*), sum(r), max(r) FROM (SELECT rank() OVER (PARTITION BY grp ORDER BY day) AS r FROM events) t;
SELECT count(*), sum(s), max(s) FROM (SELECT sum(qty) OVER (PARTITION BY grp ORDER BY id) AS s FROM events) t;
SELECT count(*), sum(s), sum(c) FROM (SELECT sum(amount) OVER (PARTITION BY kind ORDER BY id ROWS BETWEEN 10 PRECEDING AND 10 FOLLOWING) AS s, count(*) OVER (PARTITION BY kind, day) AS c FROM events) t;
SELECT count(*), sum(r), count(p), max(p) FROM (SELECT row_number() OVER (ORDER BY note, id) AS r, lag(note) OVER (ORDER BY id) AS p FROM events) t;
SELECT kind, sum(qty) AS s, rank() OVER (ORDER BY sum(qty) DESC) AS r FROM events GROUP BY kind;
SELECT kind, sum(qty), sum(sum(qty)) OVER () FROM events GROUP BY kind;
SELECT day, sum(qty), sum(sum(qty)) OVER (ORDER BY day) FROM events WHERE day < DATE '2020-01-20' GROUP BY day;
SELECT kind, amount * 100 / sum(amount) OVER (PARTITION BY kind) > 0.5 AS large, count(*) OVER (PARTITION BY kind) FROM events WHERE id < 40;
SELECT id, row_number() OVER (PARTITION BY n ORDER BY id) + 10 AS a, row_number() OVER (ORDER BY id DESC) AS b FROM texts WHERE id < 30 ORDER BY id;
SELECT id, d, lag(d) OVER (ORDER BY id), min(ts) OVER (ORDER BY id) FROM days WHERE id < 30;
SELECT id, d9, sum(d9) OVER (ORDER BY id), max(d9) OVER (PARTITION BY b) FROM numbers WHERE id BETWEEN 4 AND 40;
