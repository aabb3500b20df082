-- What must fail, and that the session goes on afterwards.

-- error
SELECT * FROM no_such_table;
-- error
SELECT no_such_column FROM few;
-- error
SELECT k FROM few WHERE;
-- error
SELEC k FROM few;
-- error
SELECT no_such_function(k) FROM few;
-- error
SELECT k + 'text' FROM few;
-- error
SELECT count(*) FROM few GROUP BY;
-- error
SELECT k FROM left_few JOIN right_few ON left_few.k = right_few.k;
-- error
SELECT sum(k) FROM few WHERE sum(k) > 1;
-- error
SELECT k FROM few UNION SELECT k, v FROM left_few;
-- error
SELECT abs(i32) FROM numbers;
-- error
SELECT i64 + 1 FROM numbers;
-- error
SELECT -i64 FROM numbers;
-- error
SELECT i64 * 2 FROM numbers;
-- error
SELECT CAST('abc' AS INTEGER) FROM few;
-- error
SELECT i64 + 9223372036854775807 FROM numbers WHERE id = 1;
SELECT count(*) FROM few;
