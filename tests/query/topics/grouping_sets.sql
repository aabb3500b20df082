-- GROUPING SETS, ROLLUP, CUBE, GROUPING().

SELECT kind, extract(year FROM day) AS y, count(*), sum(qty) FROM events GROUP BY ROLLUP (kind, extract(year FROM day));
SELECT kind, qty % 3 AS r, count(*) FROM events GROUP BY CUBE (kind, qty % 3);
SELECT kind, qty % 3 AS r, count(*) FROM events GROUP BY GROUPING SETS ((kind), (qty % 3), ());
SELECT kind, grp, count(*) FROM events WHERE grp < 12 GROUP BY GROUPING SETS ((kind, grp), (grp));
SELECT kind, count(*), grouping(kind) FROM events GROUP BY ROLLUP (kind);
SELECT kind, qty % 2 AS r, grouping(kind) AS a, grouping(qty % 2) AS b, sum(amount) FROM events GROUP BY CUBE (kind, qty % 2);
SELECT k, v, count(*) FROM left_few GROUP BY ROLLUP (k, v);
SELECT k, grouping(k) AS g, count(*) FROM left_few GROUP BY ROLLUP (k) ORDER BY g, k NULLS FIRST;
SELECT k, count(*) FROM nothing GROUP BY ROLLUP (k);
SELECT kind, count(*) FROM events GROUP BY GROUPING SETS ((kind), (kind), ());
SELECT kind, qty % 2 AS r, grouping(kind) AS g, grouping(qty % 2) AS h, count(DISTINCT grp) FROM events GROUP BY GROUPING SETS ((kind), (qty % 2), (kind), (kind, qty % 2), (), ());
SELECT k, count(*) FROM nothing GROUP BY GROUPING SETS ((), (k), ());
SELECT kind, count(DISTINCT grp) FROM events GROUP BY ROLLUP (kind);
SELECT grp, kind, sum(qty) AS s FROM events GROUP BY ROLLUP (grp, kind) ORDER BY s DESC NULLS LAST, grp, kind LIMIT 15;
SELECT count(*) FROM (SELECT grp, kind, day FROM events GROUP BY CUBE (grp, kind, day)) t;
