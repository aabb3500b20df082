-- IN and NOT IN with subqueries: NULLs on either side, empty sets, correlated sets, as a value.

SELECT k FROM left_few WHERE k IN (SELECT k FROM right_few);
SELECT k FROM left_few WHERE k IN (SELECT k FROM right_few WHERE k IS NOT NULL);
-- A NULL in the set: nothing is known not to be in it.
SELECT k FROM left_few WHERE k NOT IN (SELECT k FROM right_few);
SELECT k, v FROM left_few WHERE k NOT IN (SELECT k FROM right_few WHERE k IS NOT NULL);
-- Of an empty set everything is not in it, NULL too.
SELECT k, v FROM left_few WHERE k NOT IN (SELECT k FROM nothing);
SELECT k, v FROM left_few WHERE k IN (SELECT k FROM nothing);
SELECT k FROM left_few WHERE v NOT IN (SELECT w FROM right_few WHERE w > 1000);
SELECT v FROM left_few l WHERE v IN (SELECT w / 10 FROM right_few r WHERE r.k = l.k);
-- alone it does not run these
SELECT v FROM left_few l WHERE v NOT IN (SELECT w FROM right_few r WHERE r.k = l.k AND w IS NOT NULL);
-- alone it does not run these
SELECT k, v FROM left_few l WHERE v NOT IN (SELECT w FROM right_few r WHERE r.k = l.k);
-- alone it does not run these
SELECT k, v FROM left_few l WHERE k NOT IN (SELECT k FROM right_few r WHERE r.w = l.v);
-- alone it does not run these
SELECT k, v FROM left_few l WHERE k NOT IN (SELECT k FROM few f WHERE f.k = l.v) AND v NOT IN (SELECT w FROM right_few);
-- alone it does not run these
SELECT k, v FROM left_few l WHERE v + 0 NOT IN (SELECT w / 10 FROM right_few r WHERE r.k = l.k);
SELECT k, v FROM left_few l WHERE v NOT IN (SELECT w / 10 FROM right_few r WHERE r.k = l.k OR r.k > 2);
-- alone it does not run these
SELECT count(*) FROM events e WHERE qty NOT IN (SELECT size FROM groups g WHERE g.grp = e.grp);
-- alone it does not run these
SELECT count(*) FROM events e WHERE grp NOT IN (SELECT grp FROM groups g WHERE g.size = e.qty);
-- alone it does not run these
SELECT count(*) FROM events e WHERE id NOT IN (SELECT f.id + 1 FROM events f WHERE f.grp = e.grp);
-- alone it does not run these
SELECT count(*) FROM events e WHERE e.id NOT IN (SELECT coalesce(f.id, 1) + 1 FROM events f WHERE f.grp = e.grp AND f.note = e.note);
-- alone it has no IN as a value
SELECT k, k IN (SELECT k FROM few) FROM left_few WHERE k IS NOT NULL;
SELECT k, v FROM left_few WHERE k IN (SELECT k FROM few) OR v = 50;
SELECT k, v FROM left_few WHERE k IN (SELECT k FROM right_few WHERE k IS NOT NULL) OR v > 35;
-- alone it takes NULL IN (...) for false
SELECT k, v FROM left_few WHERE NOT (k IN (SELECT k FROM few)) OR v IS NULL;
SELECT k, v FROM left_few l WHERE EXISTS (SELECT 1 FROM few f WHERE f.k = l.k) OR v = 50;
SELECT k, v FROM left_few l WHERE EXISTS (SELECT 1 FROM nothing) OR NOT EXISTS (SELECT 1 FROM few f WHERE f.k = l.k);
SELECT count(*) FROM events WHERE grp NOT IN (SELECT grp FROM groups WHERE grp IS NOT NULL AND size < 50);
SELECT count(*) FROM events WHERE grp NOT IN (SELECT grp FROM groups);
SELECT count(*) FROM events WHERE id IN (SELECT id * 2 FROM events) AND qty IN (SELECT size FROM groups);
SELECT count(*) FROM events WHERE note IN (SELECT note FROM events WHERE qty < 100);
SELECT count(*) FROM texts WHERE word NOT IN (SELECT word FROM texts WHERE n = 3 AND word IS NOT NULL);
SELECT count(*) FROM events WHERE (CASE WHEN grp IN (SELECT grp FROM groups WHERE size = 7) THEN 1 ELSE 0 END) = 1;
