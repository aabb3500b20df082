-- Scalar, correlated and derived subqueries, common table expressions, VALUES.

SELECT k, (SELECT max(w) FROM right_few) FROM left_few;
SELECT k, (SELECT max(w) FROM right_few r WHERE r.k = l.k) FROM left_few l;
SELECT k, (SELECT count(*) FROM right_few r WHERE r.k = l.k) FROM left_few l;
SELECT k, (SELECT sum(v) FROM nothing) FROM left_few;
SELECT k, v FROM left_few WHERE v > (SELECT avg(v) FROM left_few);
SELECT k, v FROM left_few l WHERE v >= (SELECT max(v) FROM left_few m WHERE m.k = l.k);
SELECT count(*) FROM events WHERE qty > (SELECT avg(qty) * 1.5 FROM events);
SELECT count(*), sum(qty) FROM events e WHERE qty > (SELECT avg(qty) FROM events f WHERE f.kind = e.kind);
SELECT count(*) FROM events e WHERE amount = (SELECT max(amount) FROM events f WHERE f.grp = e.grp);
SELECT (SELECT min(id) FROM events) + (SELECT max(id) FROM events);
SELECT * FROM (SELECT kind, count(*) AS c FROM events GROUP BY kind) t WHERE c > 5900;
WITH t AS (SELECT grp, sum(qty) AS s FROM events GROUP BY grp) SELECT count(*), max(s), min(s) FROM t WHERE s > (SELECT avg(s) FROM t);
WITH a AS (SELECT k FROM few WHERE k > 1), b AS (SELECT k FROM a WHERE k < 4) SELECT a.k, b.k FROM a LEFT JOIN b ON a.k = b.k;
WITH t AS (SELECT kind, day, sum(qty) AS s FROM events GROUP BY kind, day) SELECT a.kind, count(*) FROM t a JOIN t b ON a.kind = b.kind AND a.day < b.day AND a.s > b.s * 3 GROUP BY a.kind;
SELECT * FROM (VALUES (1, 'one', 1.5), (2, 'two', NULL), (NULL, 'a longer text for it', 3.5)) AS t(a, b, c);
SELECT a + 1 FROM (VALUES (1), (2), (3)) AS t(a) WHERE a > 1;
SELECT t.a, f.k FROM (VALUES (1), (3), (9)) AS t(a) LEFT JOIN few f ON t.a = f.k;
SELECT kind, (SELECT count(*) FROM groups g WHERE g.size = 5) AS c FROM events GROUP BY kind;
SELECT g.grp, g.name FROM groups g WHERE g.size = 99 AND EXISTS (SELECT 1 FROM events e WHERE e.grp = g.grp AND e.amount > 14900);
SELECT count(*) FROM groups g WHERE (SELECT count(*) FROM events e WHERE e.grp = g.grp) > 12;
SELECT count(*) FROM groups g WHERE (SELECT count(*) FROM events e WHERE e.grp = g.grp) = 0;
SELECT x + (SELECT max(k) FROM few) FROM single;
SELECT x FROM single WHERE x > ALL (SELECT k FROM few);
SELECT k FROM few WHERE k = ANY (SELECT k FROM left_few);
-- error
SELECT (SELECT k FROM few);
SELECT (SELECT k FROM few WHERE k = 3) AS a, (SELECT k FROM few WHERE k = 99) AS b;
