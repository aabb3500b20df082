SELECT count(*), sum(a.abalance) FROM pgbench_accounts a JOIN pgbench_accounts b ON a.aid = b.aid + 1;
SELECT length(string_agg(md5(aid::text), '' ORDER BY filler, aid)) FROM pgbench_accounts;
SELECT count(*) FROM (SELECT aid % 10007 AS k, array_agg(aid) FROM pgbench_accounts GROUP BY k) t;
