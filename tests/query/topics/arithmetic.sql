-- Arithmetic on integers and floating point: results, precedence, NULLs, functions.

SELECT id, i32 + 1, i32 - 1, i32 * 2, -i32 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, i64 + i32, i64 - i16, CAST(i32 AS BIGINT) * i32 FROM numbers WHERE id BETWEEN 4 AND 20;
SELECT id, i32 % 7, i32 % -7, i64 % 1000 FROM numbers WHERE id BETWEEN 4 AND 30;
-- Integers divide as the planner's types say: towards zero.
-- duckdb SELECT id, i32 // 7, i32 // -7 FROM numbers WHERE id BETWEEN 4 AND 30
-- datafusion integer division is of integers
SELECT id, i32 / 7, i32 / -7 FROM numbers WHERE id BETWEEN 4 AND 30;
SELECT id, f64 + 0.5, f64 * 2, f64 / 4, f64 - f32 FROM numbers WHERE id BETWEEN 4 AND 30;
SELECT id, i32 + f64, i8 * f32 FROM numbers WHERE id BETWEEN 6 AND 30;
SELECT 1 + 2 * 3 AS a, (1 + 2) * 3 AS b, 2 - 3 - 4 AS c, -(-5) AS d, - 5 + 2 AS e;
SELECT 7 % 3, -7 % 3, 7 % -3, -7 % -3;
SELECT abs(i32), abs(f64) FROM numbers WHERE id BETWEEN 4 AND 30;
-- duckdb SELECT CAST(sign(f64) AS DOUBLE) FROM numbers WHERE id BETWEEN 0 AND 30 AND f64 IS NOT NULL
SELECT signum(f64) FROM numbers WHERE id BETWEEN 0 AND 30 AND f64 IS NOT NULL;
SELECT floor(f64), ceil(f64), round(f64), trunc(f64) FROM numbers WHERE id BETWEEN 4 AND 40;
SELECT round(f64, 1), round(f64, 3) FROM numbers WHERE id BETWEEN 6 AND 40;
SELECT sqrt(abs(f64)), exp(f32 / 1000), ln(abs(f64) + 1), log10(abs(f64) + 1) FROM numbers WHERE id BETWEEN 4 AND 40;
SELECT power(f32, 2), power(2, i8 % 10) FROM numbers WHERE id BETWEEN 4 AND 40;
SELECT i8 & 15, i8 | 64, i32 & 255, i64 & 4095 FROM numbers WHERE id BETWEEN 4 AND 40;
-- duckdb SELECT xor(CAST(i32 AS BIGINT), 12345) FROM numbers WHERE id BETWEEN 4 AND 40
-- datafusion ^ is power in DuckDB
SELECT CAST(i32 AS BIGINT) ^ 12345 FROM numbers WHERE id BETWEEN 4 AND 40;
SELECT 1 << 10, 1024 >> 3, CAST(5 AS BIGINT) << 40;
SELECT greatest(i8, i16), least(i8, i16), greatest(i8, i16, i32), least(f64, 0.0) FROM numbers WHERE id BETWEEN 6 AND 40;
SELECT sum(i32), sum(i32 * 2), sum(i32) * 2 FROM numbers WHERE id > 5;
SELECT count(*) FROM numbers WHERE i32 + 1 > i32 AND id > 5;
SELECT i32 + NULL, NULL * 2 FROM numbers WHERE id = 10;
SELECT x, y, x + 1, x * 0, x - x FROM floats WHERE id < 9;
SELECT CAST(127 AS TINYINT), CAST(-128 AS TINYINT), CAST(2147483647 AS INTEGER), CAST(9223372036854775807 AS BIGINT);
SELECT CAST(1 AS DOUBLE) / 3 AS a, CAST(2 AS DOUBLE) / 3 AS b, CAST('1e308' AS DOUBLE) AS c, CAST('-1e-308' AS DOUBLE) AS d;
SELECT sum(f64) FROM numbers WHERE abs(f64) < CAST('1e100' AS DOUBLE);
SELECT sum(i32 * i32 - i16) FROM numbers WHERE id > 5 AND i32 < 40000 AND i32 > -40000;
SELECT id, i32 * i16 + i8, (i32 + i16) * (i8 - 3) FROM numbers WHERE id > 480;
SELECT factorial_like FROM (SELECT k * (k + 1) * (k + 2) AS factorial_like FROM few) t;
SELECT qty * 3 + 1 AS a, count(*) FROM events WHERE qty < 8 GROUP BY qty * 3 + 1;
SELECT id, i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 + 5 * i8 + 6 * i8 + 0 * i8 + 1 * i8 + 2 * i8 + 3 * i8 + 4 * i8 FROM (SELECT id, CAST(i8 AS BIGINT) AS i8 FROM numbers WHERE id < 20) t;
