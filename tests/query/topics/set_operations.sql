-- UNION, INTERSECT, EXCEPT, with and without ALL: duplicates, NULLs, differing types.

SELECT k FROM left_few UNION ALL SELECT k FROM right_few;
SELECT k FROM left_few UNION SELECT k FROM right_few;
SELECT k FROM left_few INTERSECT SELECT k FROM right_few;
SELECT k FROM left_few EXCEPT SELECT k FROM right_few;
SELECT k FROM right_few EXCEPT SELECT k FROM left_few;
-- alone it keeps every equal row
SELECT k FROM left_few INTERSECT ALL SELECT k FROM right_few;
-- alone it drops every equal row
SELECT k FROM left_few EXCEPT ALL SELECT k FROM right_few;
-- alone
SELECT k, v FROM left_few INTERSECT ALL SELECT k, w FROM right_few;
-- alone
SELECT grp % 5 AS g, kind FROM events EXCEPT ALL SELECT size % 5, 'a' FROM groups ORDER BY g, kind LIMIT 20;
-- alone
SELECT g, count(*) FROM (SELECT grp % 7 AS g FROM events INTERSECT ALL SELECT size % 7 FROM groups) t GROUP BY g;
-- alone
SELECT i8 FROM numbers EXCEPT ALL SELECT i64 FROM numbers WHERE id > 250;
-- alone
SELECT i64 FROM numbers INTERSECT ALL SELECT i8 FROM numbers WHERE id > 250;
-- alone
SELECT k FROM left_few UNION ALL SELECT k FROM few INTERSECT ALL SELECT k FROM right_few EXCEPT ALL SELECT k FROM few;
-- alone
SELECT g FROM (SELECT grp % 7 AS g FROM events EXCEPT ALL SELECT size % 7 FROM groups) t WHERE g > 3;
-- alone
SELECT grp % 3 FROM events EXCEPT SELECT size % 2 FROM groups INTERSECT ALL SELECT grp % 3 FROM groups;
-- alone
SELECT k FROM left_few EXCEPT ALL SELECT k FROM nothing;
-- alone
SELECT k FROM nothing INTERSECT ALL SELECT k FROM left_few;
-- refused EXCEPT ALL beside IN
SELECT k FROM left_few WHERE k IN (SELECT k FROM few) EXCEPT ALL SELECT k FROM right_few;
SELECT k, v FROM left_few UNION SELECT k, w FROM right_few;
SELECT k, t FROM left_few INTERSECT SELECT k, u FROM right_few;
SELECT k FROM nothing UNION ALL SELECT k FROM few;
SELECT k FROM nothing UNION SELECT k FROM nothing;
SELECT k FROM few INTERSECT SELECT k FROM nothing;
SELECT k FROM few EXCEPT SELECT k FROM nothing;
SELECT i8 FROM numbers WHERE id < 10 UNION ALL SELECT i64 FROM numbers WHERE id < 6;
SELECT 'a' AS x, 1 AS y UNION ALL SELECT 'b', 2 UNION ALL SELECT 'c', NULL;
SELECT 1 AS x UNION SELECT 1 UNION SELECT 2 UNION ALL SELECT 2;
SELECT count(*), sum(id) FROM (SELECT id FROM events UNION ALL SELECT id + 1 FROM events) t;
SELECT count(*), sum(id) FROM (SELECT id FROM events UNION SELECT id + 1 FROM events) t;
SELECT count(*), sum(grp) FROM (SELECT grp FROM events INTERSECT SELECT size FROM groups) t;
SELECT count(*), sum(grp) FROM (SELECT grp FROM groups EXCEPT SELECT grp FROM events) t;
SELECT count(*) FROM (SELECT kind, grp FROM events WHERE qty < 500 INTERSECT SELECT kind, grp FROM events WHERE qty >= 500) t;
SELECT count(*) FROM (SELECT note FROM events WHERE qty < 500 EXCEPT SELECT note FROM events WHERE id % 2 = 0) t;
SELECT k FROM few UNION ALL SELECT k FROM few ORDER BY k LIMIT 3;
SELECT x FROM (SELECT k AS x FROM left_few UNION ALL SELECT x FROM single) t WHERE x > 4 ORDER BY x;
SELECT x FROM floats WHERE id < 4 UNION SELECT x FROM floats WHERE id > 1 AND id < 6;
SELECT kind, c FROM (SELECT kind, count(*) AS c FROM events GROUP BY kind UNION ALL SELECT 'all', count(*) FROM events) t ORDER BY c, kind NULLS LAST;
