-- Decimals: exact sums and products, widths beyond 64 bits, rounding, comparisons across scales.

SELECT id, d9, d18, d38 FROM numbers WHERE id < 20;
SELECT id, d9 + 1, d9 - CAST(0.01 AS DECIMAL(3, 2)), -d9, d9 * 2 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, d9 + d18, d9 - d18 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, d9 * d9 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, d9 * d18 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, d9 * (1 - CAST(0.06 AS DECIMAL(3, 2))), d9 * (1 - d9 / 1000000000) IS NULL FROM numbers WHERE id BETWEEN 4 AND 20;
-- types IR
SELECT id, d9 / 7 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT sum(d9), sum(d18), min(d9), max(d9), min(d38), max(d38) FROM numbers;
SELECT sum(d38) FROM numbers WHERE id > 5;
-- types RRI
SELECT avg(d9), avg(d18), count(d38) FROM numbers;
SELECT count(*) FROM numbers WHERE d9 > d18;
SELECT count(*) FROM numbers WHERE d9 < d38;
SELECT count(*) FROM numbers WHERE d9 = CAST(d9 AS DECIMAL(18, 4));
SELECT count(*) FROM numbers WHERE d9 > i32;
SELECT count(*) FROM numbers WHERE d9 > 0.015e0;
SELECT CAST('1.005' AS DECIMAL(10, 2)), CAST('-1.005' AS DECIMAL(10, 2)), CAST('1.004' AS DECIMAL(10, 2));
SELECT CAST(2.5 AS DECIMAL(4, 0)), CAST(-2.5 AS DECIMAL(4, 0)), CAST(3.5 AS DECIMAL(4, 0));
SELECT id, CAST(d18 AS DECIMAL(20, 2)) AS a, CAST(d18 AS DECIMAL(20, 6)) AS b FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, CAST(d9 AS DOUBLE) AS real, CAST(round(d9, 0) AS BIGINT) AS whole FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, CAST(i32 AS DECIMAL(12, 2)), CAST(i64 AS DECIMAL(38, 3)) FROM numbers WHERE id BETWEEN 0 AND 20;
SELECT id, CAST(f32 AS DECIMAL(12, 3)) FROM numbers WHERE id BETWEEN 0 AND 20;
SELECT id, CAST(d38 AS VARCHAR) FROM numbers WHERE id < 10;
SELECT abs(d9), abs(d38) FROM numbers WHERE id < 10;
-- types RR
SELECT round(d18, 2), round(d9, 0) FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT d9, count(*) FROM numbers WHERE d9 IS NOT NULL GROUP BY d9 HAVING count(*) > 1;
SELECT kind, sum(amount), min(amount), max(amount), count(amount) FROM events GROUP BY kind;
SELECT sum(amount * (1 - CAST(0.1 AS DECIMAL(2, 1)))), sum(amount * amount) FROM events;
SELECT grp, sum(amount) AS total FROM events GROUP BY grp ORDER BY total DESC NULLS LAST, grp LIMIT 12;
SELECT CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)) - 1, CAST('0.1' AS DECIMAL(2, 1)) + CAST('0.20' AS DECIMAL(3, 2));
SELECT CAST('12345678901234567890.123456789' AS DECIMAL(38, 9)) + CAST('0.000000001' AS DECIMAL(38, 9));
SELECT CAST('123.456' AS DECIMAL(9, 3)), CAST('-0.001' AS DECIMAL(9, 3)), CAST('7' AS DECIMAL(9, 3));
-- error
SELECT CAST(123456 AS DECIMAL(5, 2));
-- error
SELECT CAST('12x' AS DECIMAL(5, 2));
SELECT day, sum(amount) FROM events WHERE day < DATE '2020-01-08' GROUP BY day;
SELECT CASE WHEN amount > 0 THEN amount ELSE 0 END AS positive, id FROM events WHERE id < 20;
