-- Tables that are cached: the same rows from blocks as from files, of every type, at every storage level, filled at once or
-- as they are read, and while queries evict them.

-- ok
CACHE TABLE events;
SELECT count(*), count(grp), sum(qty), sum(amount), min(day), max(note) FROM events;
SELECT kind, count(*), sum(amount), avg(qty) FROM events GROUP BY kind;
SELECT id, note FROM events WHERE qty = 17 AND kind = 'open' ORDER BY id;
SELECT e.kind, g.name, count(*) FROM events e JOIN groups g ON e.grp = g.grp WHERE g.size < 5 GROUP BY e.kind, g.name;
SELECT note FROM events ORDER BY amount DESC NULLS LAST, id LIMIT 5;

-- ok
CACHE LAZY TABLE groups OPTIONS ('storageLevel' 'DISK_ONLY_2');
SELECT size, count(*) FROM groups GROUP BY size;
SELECT count(*), count(DISTINCT name) FROM groups;
SELECT g.name, count(*) FROM groups g LEFT JOIN events e ON e.grp = g.grp WHERE g.grp < 20 GROUP BY g.name;

-- Every type, and NULLs.
-- ok
CACHE TABLE numbers OPTIONS ('storageLevel' 'MEMORY_ONLY_SER');
SELECT * FROM numbers WHERE id < 40;
SELECT count(*), sum(i8), sum(i16), sum(i32), sum(d9), sum(d18), max(d38) FROM numbers WHERE b;
-- ok
CACHE TABLE texts OPTIONS ('storageLevel' 'MEMORY_ONLY');
SELECT * FROM texts WHERE length(s) > 20;
-- ok
CACHE TABLE days OPTIONS ('storageLevel' 'OFF_HEAP');
SELECT * FROM days WHERE n > 15;
-- ok
CACHE TABLE nothing;
SELECT count(*), count(v) FROM nothing;
-- ok
CACHE TABLE floats;
SELECT * FROM floats;

-- What a query gives.
-- ok
-- duckdb CREATE VIEW per_kind AS SELECT kind, day, count(*) AS c, sum(amount) AS total FROM events GROUP BY kind, day
CACHE TABLE per_kind AS SELECT kind, day, count(*) AS c, sum(amount) AS total FROM events GROUP BY kind, day;
SELECT kind, sum(c), sum(total) FROM per_kind GROUP BY kind;
SELECT p.kind, p.c, e.id FROM per_kind p JOIN events e ON p.kind = e.kind AND p.day = e.day WHERE p.c = 1;
-- ok
-- duckdb CREATE VIEW wide AS SELECT id, note, upper(note) AS loud, amount * 2 AS twice FROM events WHERE qty IS NOT NULL
CACHE LAZY TABLE wide OPTIONS ('storageLevel' 'MEMORY_ONLY') SELECT id, note, upper(note) AS loud, amount * 2 AS twice FROM events WHERE qty IS NOT NULL;
SELECT count(*), max(loud), sum(twice) FROM wide;
SELECT loud FROM wide WHERE id % 5000 = 1;
SELECT count(*) FROM (SELECT DISTINCT a.loud FROM wide a JOIN wide b ON a.id = b.id + 1);
-- Of another cached table, and of none.
-- ok
-- duckdb CREATE VIEW days_of_open AS SELECT day FROM per_kind WHERE kind = 'open'
CACHE TABLE days_of_open AS SELECT day FROM per_kind WHERE kind = 'open';
SELECT count(*), min(day), max(day) FROM days_of_open;
-- ok
-- duckdb CREATE VIEW three AS SELECT * FROM (VALUES (1, 'a'), (2, NULL), (3, 'c')) AS v(x, y)
CACHE TABLE three AS SELECT * FROM (VALUES (1, 'a'), (2, NULL), (3, 'c')) AS v(x, y);
SELECT * FROM three;

-- And from where it comes from again.
-- ok
UNCACHE TABLE events;
-- ok
UNCACHE TABLE IF EXISTS never_there;
SELECT kind, count(*), sum(amount), avg(qty) FROM events GROUP BY kind;
SELECT kind, sum(c), sum(total) FROM per_kind GROUP BY kind;
-- ok
CLEAR CACHE;
SELECT kind, sum(c), sum(total) FROM per_kind GROUP BY kind;
SELECT count(*), max(loud), sum(twice) FROM wide;
SELECT count(*), count(DISTINCT name) FROM groups;

-- refused CACHE TABLE: expected TABLE, found 'events'
CACHE events;
-- refused there is no table never_there
UNCACHE TABLE never_there;
-- refused there is a table events already
CACHE TABLE events AS SELECT 1;
-- refused is no storage level
CACHE TABLE events OPTIONS ('storageLevel' 'CLOUD');
