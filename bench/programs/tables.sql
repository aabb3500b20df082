CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value REAL);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800000)
INSERT INTO t SELECT i, 'name ' || (i * 7919 % 800000), i * 0.5 FROM n;
CREATE INDEX by_name ON t (name);
SELECT count(*), sum(value) FROM (SELECT substr(name, 1, 8) AS k, sum(value) AS value FROM t GROUP BY k ORDER BY k);
SELECT count(*) FROM t a JOIN t b ON b.name = 'name ' || a.id WHERE a.value < 100000;
UPDATE t SET name = name || ' again' WHERE id % 3 = 0;
DELETE FROM t WHERE id % 5 = 0;
SELECT group_concat(name) FROM (SELECT name FROM t ORDER BY name DESC LIMIT 20000);
