-- What a scan leaves out: columns, row groups, pages; dictionaries, all-NULL columns, several row groups.

SELECT count(*) FROM events;
SELECT min(id), max(id), count(*) FROM events WHERE id >= 28000;
SELECT count(*) FROM events WHERE id < 0;
SELECT id, note FROM events WHERE id IN (3999, 4000, 7999, 8000, 29999);
SELECT id, kind, day, amount, qty FROM events WHERE id BETWEEN 3995 AND 4005;
SELECT note FROM events WHERE id = 4000;
SELECT count(*) FROM events WHERE kind = 'no such kind';
SELECT count(*) FROM events WHERE day > DATE '2030-01-01';
SELECT count(note) FROM events WHERE kind IS NULL;
SELECT count(*), sum(id) FROM events WHERE kind IS NOT NULL AND qty IS NULL;
SELECT z FROM single;
SELECT count(z), count(*) FROM single;
SELECT id FROM events WHERE note = 'note 5 of event number 5' OR id = 29998;
SELECT e.id, e.note FROM events e JOIN few f ON e.id = f.k;
SELECT max(note) FROM events WHERE qty = 500 AND kind = 'read';
SELECT a.id, b.id, c.id FROM events a, events b, events c WHERE a.id = 1 AND b.id = a.id + 1 AND c.id = b.id * 2;
SELECT s FROM texts WHERE id = 14;
SELECT * FROM left_few;
SELECT k, k AS again, v AS other FROM left_few WHERE k = 1;
