-- CASE: order of conditions, only what is needed is computed, types that meet, in aggregates and keys.

SELECT id, CASE WHEN i32 < 0 THEN 'negative' WHEN i32 = 0 THEN 'zero' WHEN i32 > 0 THEN 'positive' ELSE 'unknown' END FROM numbers WHERE id < 40;
SELECT id, CASE i8 % 3 WHEN 0 THEN 'fizz' WHEN 1 THEN 'one' ELSE 'other' END FROM numbers WHERE id BETWEEN 6 AND 40;
SELECT id, CASE WHEN i8 > 0 THEN i8 ELSE i64 END FROM numbers WHERE id BETWEEN 6 AND 40;
SELECT id, CASE WHEN i8 > 0 THEN d9 ELSE d18 END FROM numbers WHERE id BETWEEN 6 AND 40;
SELECT id, CASE WHEN i8 > 0 THEN d9 END FROM numbers WHERE id BETWEEN 6 AND 40;
SELECT id, CASE WHEN i8 <> 0 THEN 100 % i8 ELSE -1 END FROM numbers WHERE id < 40;
SELECT id, CASE WHEN i16 <> 0 THEN i32 % i16 END FROM numbers;
SELECT id, CASE WHEN b THEN s1 ELSE s2 END FROM (SELECT id, b, CAST(i8 AS VARCHAR) AS s1, CAST(i64 AS VARCHAR) AS s2 FROM numbers WHERE id BETWEEN 6 AND 40) t;
SELECT sum(CASE WHEN qty > 900 THEN amount ELSE 0 END), sum(CASE WHEN qty > 900 THEN 1 ELSE 0 END) FROM events;
SELECT CASE WHEN qty < 250 THEN 'q1' WHEN qty < 500 THEN 'q2' WHEN qty < 750 THEN 'q3' WHEN qty >= 750 THEN 'q4' END AS q, count(*) FROM events GROUP BY 1;
SELECT count(*) FROM events WHERE CASE WHEN kind = 'open' THEN qty > 500 WHEN kind = 'close' THEN qty < 100 ELSE false END;
SELECT CASE WHEN NULL THEN 1 ELSE 2 END, CASE NULL WHEN NULL THEN 1 ELSE 2 END, CASE WHEN true THEN NULL ELSE 1 END;
SELECT CASE WHEN k > 2 THEN CASE WHEN k > 3 THEN 'four' ELSE 'three' END ELSE 'few' END FROM few;
SELECT id, CASE WHEN word IS NULL THEN 'none' WHEN word LIKE 's%' THEN upper(word) ELSE word END FROM texts WHERE id < 60;
SELECT id, CASE WHEN d < DATE '1980-01-01' THEN d ELSE DATE '1980-01-01' END FROM days WHERE id < 40;
SELECT k FROM few ORDER BY CASE WHEN k = 3 THEN 0 ELSE k END;
