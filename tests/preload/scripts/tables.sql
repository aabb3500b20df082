-- Tables, indexes, joins, updates, deletes and a vacuum; what it prints is the same on every malloc, the last line "ok".
PRAGMA journal_mode = WAL;
PRAGMA cache_size = 200;
CREATE TABLE item (id INTEGER PRIMARY KEY, kind INTEGER, name TEXT, body BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
INSERT INTO item SELECT i, i * 7919 % 1009, printf('name %d', i * 104729 % 150001), zeroblob(i % 300) FROM n;
CREATE INDEX item_name ON item (name);
CREATE INDEX item_kind ON item (kind, name);
CREATE VIRTUAL TABLE text USING fts5(body);
INSERT INTO text SELECT name || ' in a text of ' || kind FROM item WHERE id % 5 = 0;
SELECT count(*) FROM text WHERE text MATCH 'text AND 77*';
SELECT kind, count(*), group_concat(id) FROM item WHERE kind < 3 GROUP BY kind;
SELECT count(*), sum(a.id), max(length(a.name || b.name)) FROM item a JOIN item b ON a.kind = b.kind AND a.id < b.id WHERE a.id % 50 = 0;
SELECT sum(length(json_group)) FROM (SELECT json_group_array(json_object('id', id, 'name', name)) json_group FROM item GROUP BY kind);
BEGIN;
UPDATE item SET name = name || ' changed', body = randomblob(400) WHERE id % 3 = 0;
DELETE FROM item WHERE id % 4 = 1;
SAVEPOINT here;
DELETE FROM item;
ROLLBACK TO here;
COMMIT;
SELECT count(*), sum(length(name)), sum(length(body)) FROM item;
SELECT name, row_number() OVER (ORDER BY name DESC) FROM item ORDER BY name LIMIT 5;
VACUUM;
PRAGMA integrity_check;
