-- Strings: functions by code points, LIKE, lengths either side of what lies in place, Unicode.

SELECT id, s FROM texts WHERE id < 16;
SELECT id, upper(s), lower(s) FROM texts WHERE id < 40 AND id <> 9;
-- duckdb SELECT id, character_length(s), strlen(s) FROM texts WHERE id < 40
SELECT id, character_length(s), octet_length(s) FROM texts WHERE id < 40;
SELECT id, substring(s, 1, 3), substring(s, 4), substring(s, 2, 5) FROM texts WHERE id < 40;
SELECT id, substr(s, 3, 2) FROM texts WHERE id < 40;
SELECT id, left(s, 4), right(s, 4) FROM texts WHERE id < 40;
SELECT id, s || '!' , word || ' ' || s FROM texts WHERE id BETWEEN 2 AND 40;
SELECT id, concat(word, '-', n) FROM texts WHERE id < 40;
SELECT id, concat_ws(', ', word, CAST(n AS VARCHAR), s) FROM texts WHERE id < 40;
SELECT id, trim(s), ltrim(s), rtrim(s) FROM texts WHERE id < 12;
SELECT trim(BOTH 'x' FROM 'xxneapxx'), trim(LEADING 'x' FROM 'xxneapxx'), trim(TRAILING 'x' FROM 'xxneapxx');
SELECT id, replace(s, 'e', 'EE'), replace(s, 'tide', '') FROM texts WHERE id BETWEEN 5 AND 40;
SELECT id, strpos(s, 'e'), strpos(s, 'tide') FROM texts WHERE id < 40;
SELECT id, starts_with(s, 'n'), ends_with(s, 'e') FROM texts WHERE id < 40;
SELECT count(*) FROM texts WHERE contains(s, 'moon');
SELECT id, reverse(word), repeat(word, 2) FROM texts WHERE id < 30;
SELECT lpad('neap', 8, '*'), rpad('neap', 8, '*'), lpad('neap', 2, '*'), rpad('neap', 8, 'ab');
SELECT id, split_part(s, ' ', 1), split_part(s, ' ', 2) FROM texts WHERE id BETWEEN 16 AND 50;
SELECT id, s FROM texts WHERE s LIKE 'a%' AND id < 100;
SELECT count(*) FROM texts WHERE s LIKE '%moon%';
SELECT count(*) FROM texts WHERE s NOT LIKE '%moon%';
SELECT id FROM texts WHERE s LIKE '%tide';
SELECT id FROM texts WHERE s LIKE '_';
SELECT id FROM texts WHERE s LIKE '______ byte';
SELECT id FROM texts WHERE s LIKE '%moon%tide%';
SELECT count(*) FROM texts WHERE s LIKE '%o%o%';
SELECT count(*) FROM texts WHERE s LIKE '%a__e%';
SELECT id FROM texts WHERE s LIKE '日_語';
SELECT id FROM texts WHERE s LIKE '%café';
SELECT count(*) FROM texts WHERE s LIKE '%';
SELECT id FROM texts WHERE s LIKE '';
SELECT count(*) FROM texts WHERE s ILIKE '%MOON%';
SELECT count(*) FROM texts WHERE word LIKE 's%';
SELECT word, count(*) FROM texts WHERE word NOT LIKE '%a%' GROUP BY word;
-- duckdb SELECT count(*) FROM texts WHERE regexp_matches(s, '^(sun|moon).*tide$')
-- datafusion DuckDB calls it regexp_matches
SELECT count(*) FROM texts WHERE regexp_like(s, '^(sun|moon).*tide$');
SELECT min(s), max(s), min(word), max(word) FROM texts WHERE id > 15;
SELECT word, min(s), max(s), count(DISTINCT s) FROM texts WHERE id > 15 GROUP BY word;
SELECT s FROM texts WHERE id > 15 ORDER BY s LIMIT 12;
SELECT character_length(s) AS n, count(*) FROM texts GROUP BY character_length(s);
SELECT DISTINCT upper(word) FROM texts WHERE n < 2;
SELECT count(DISTINCT lower(s)) FROM texts;
SELECT count(*), sum(character_length(note)), min(note), max(note) FROM events;
SELECT substring(note, 1, 6) AS p, count(*) FROM events GROUP BY substring(note, 1, 6) ORDER BY p;
SELECT 'it''s', '', 'a' || 'b' || 'c', 'x' || NULL;
SELECT 'a' < 'b', 'a' < 'B', 'abc' < 'abcd', 'Z' < 'a', 'é' > 'z';
