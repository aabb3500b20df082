"""neap sql: statements over Parquet files, every format, every way to fail, and how it ends when it is told to."""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from support import MIB, NEAP, needs_limit

DEADLINE = 120
ROWS = 200_000


def sql(*arguments, **options):
    options.setdefault("text", True)
    return subprocess.run([NEAP, "sql", *map(str, arguments)], capture_output=True, timeout=DEADLINE, **options)


def descendants(ancestor):
    """The names of the processes below this one."""
    names = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            pid, name = (folder / "stat").read_text().partition(")")[0].split(" (")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if parent == ancestor:
            names += [name, *descendants(int(pid))]
    return names


class SqlTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.data = pathlib.Path(cls.folder.name)
        small = pa.table(
            {
                "id": pa.array([1, 2, 3], pa.int64()),
                "name": pa.array(["one", 'tw"o, or 2', None], pa.string()),
                "price": pa.array([1, None, 350], pa.decimal128(9, 2)),
                "day": pa.array([0, 10471, None], pa.date32()),
            }
        )
        cls.small = cls.data / "small.parquet"
        pq.write_table(small, cls.small)
        many = cls.data / "many"
        many.mkdir()
        for part in range(2):
            numbers = [(i * 7919) % ROWS for i in range(part * ROWS // 2, (part + 1) * ROWS // 2)]
            texts = [f"a text that is too long to lie in place: {number}" for number in numbers]
            pq.write_table(pa.table({"n": numbers, "t": texts}), many / f"part-{part}.parquet")
        cls.many = many

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def rows(self, *arguments):
        result = sql("--format", "json", *arguments)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.returncode, 0)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def check_fails(self, code, words, *arguments, **options):
        result = sql(*arguments, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(words, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("neap sql: "), result.stderr)


class Statements(SqlTest):
    def test_a_table_by_its_option_and_by_its_path(self):
        self.assertEqual(self.rows("-t", f"t={self.small}", "SELECT sum(id) AS s FROM t"), [{"s": 6}])
        self.assertEqual(self.rows(f"SELECT sum(id) AS s FROM '{self.small}'"), [{"s": 6}])

    def test_folders_patterns_and_several_files(self):
        count = "SELECT count(*) AS c FROM t"
        parts = sorted(self.many.iterdir())
        self.assertEqual(self.rows("-t", f"t={self.many}", count), [{"c": ROWS}])
        self.assertEqual(self.rows("-t", f"t={self.many}/*.parquet", count), [{"c": ROWS}])
        self.assertEqual(self.rows("-t", f"t={parts[0]}", parts[1], count), [{"c": ROWS}])
        self.assertEqual(self.rows(count, "-t", f"t={parts[0]}", "-t", f"t={parts[1]}"), [{"c": ROWS}])
        self.assertEqual(self.rows(f"SELECT count(*) AS c FROM '{self.many}/*.parquet'"), [{"c": ROWS}])

    def test_several_statements_and_a_file_of_them(self):
        statements = "SELECT 1 AS a; -- one; two\nSELECT ';' AS b;"
        self.assertEqual(self.rows(statements), [{"a": 1}, {"b": ";"}])
        file = self.data / "statements.sql"
        file.write_text(statements)
        self.assertEqual(self.rows("-f", file), [{"a": 1}, {"b": ";"}])

    def test_explain_and_analyze(self):
        result = sql("--explain", "-t", f"t={self.small}", "SELECT sum(id) AS s FROM t WHERE id > 1")
        self.assertEqual(result.stdout.split("  [")[0], "aggregate sum(id) as s")
        self.assertIn("read t (id) where id > 1", result.stdout)
        result = sql("--analyze", "--json", "-t", f"t={self.many}", "SELECT n, count(*) FROM t GROUP BY n")
        report = json.loads(result.stdout)
        self.assertEqual(report["rows"], ROWS)
        scan = report["operators"][-1]
        self.assertEqual((scan["name"], scan["rows_out"]), ("scan", ROWS))
        self.assertGreater(report["arena"]["peak"], 1 << 20)


class Skew(SqlTest):
    """One key whose rows alone are several times the memory: it cannot be split by its hash."""

    ROWS = 600_000
    BOUND = "24M"  # of rows of some 130 bytes

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.skewed = cls.data / "skewed.parquet"
        texts = pa.array([f"{i * 7919 % cls.ROWS:0120}" for i in range(cls.ROWS)])
        pq.write_table(pa.table({"k": pa.array([7] * cls.ROWS, pa.int64()), "t": texts}), cls.skewed)
        cls.keys = cls.data / "keys.parquet"  # more rows, so that the other side is built
        pq.write_table(pa.table({"k": pa.array([7, 7, *range(8, 2 * cls.ROWS)], pa.int64())}), cls.keys)

    def spilled(self, query):
        """The rows of a query whose operators have written most of what they kept."""
        tables = ["-t", f"s={self.skewed}", "-t", f"keys={self.keys}", "--memory", self.BOUND]
        report = json.loads(sql("--analyze", "--json", *tables, query).stdout)
        self.assertEqual(report["rows"], 1)
        self.assertGreater(sum(operator["spilled_rows"] for operator in report["operators"]), self.ROWS // 2)
        return self.rows(*tables, query)

    def test_a_join_built_of_one_key(self):
        query = "SELECT count(*) AS c, min(t) AS a, max(t) AS z FROM keys JOIN s ON keys.k = s.k"
        expected = {"c": 2 * self.ROWS, "a": f"{0:0120}", "z": f"{self.ROWS - 1:0120}"}
        self.assertEqual(self.spilled(query), [expected])

    def test_a_group_of_more_distinct_values_than_fit(self):
        query = "SELECT k, count(DISTINCT t) AS c FROM s GROUP BY k"
        self.assertEqual(self.spilled(query), [{"k": 7, "c": self.ROWS}])

    def test_a_sort_of_equal_keys(self):
        query = "SELECT count(*) AS c, max(t) AS z FROM (SELECT t FROM s ORDER BY k LIMIT 590000)"
        self.assertEqual(self.spilled(query)[0]["c"], 590_000)

    def test_a_window_of_one_partition(self):
        query = """SELECT count(*) AS c, max(r) AS r, sum(CASE WHEN t < before THEN 1 ELSE 0 END) AS wrong FROM
            (SELECT t, row_number() OVER (PARTITION BY k ORDER BY t) AS r,
                    lag(t) OVER (PARTITION BY k ORDER BY t) AS before FROM s)"""
        self.assertEqual(self.spilled(query), [{"c": self.ROWS, "r": self.ROWS, "wrong": 0}])


class CachedTables(SqlTest):
    def test_one_is_read_from_its_blocks(self):
        table = ("-t", f"t={self.many}")
        count = "SELECT count(*) AS c FROM t"
        self.assertEqual(self.rows(*table, f"CACHE TABLE t; {count}; UNCACHE TABLE t; {count}"), [{"c": ROWS}] * 2)
        result = sql("--analyze", "--json", *table, f"CACHE TABLE t; {count}; CLEAR CACHE; {count}")
        reports = [json.loads(line) for line in result.stdout.splitlines()]
        scans = [report["operators"][-1]["name"] for report in reports]
        self.assertEqual([scans[i] for i in (0, 1, 3)], ["cached scan", "cached scan", "scan"])
        self.assertEqual(reports[0]["rows"], ROWS)

    def test_one_that_a_query_gives(self):
        statements = (
            "CACHE TABLE big OPTIONS ('storageLevel' 'MEMORY_ONLY_SER') AS SELECT n, t FROM t WHERE n >= 1000;"
            "CACHE LAZY TABLE few AS SELECT n % 10 AS d, count(*) AS c FROM big GROUP BY 1;"
            "SELECT count(*) AS c, sum(c) AS s FROM few; SELECT max(c) AS m FROM few"
        )
        wanted = [{"c": 10, "s": ROWS - 1000}, {"m": (ROWS - 1000) // 10}]
        for options in ((), ("--force-spill",), ("--memory", "64M", "--threads", "1")):
            self.assertEqual(self.rows("-t", f"t={self.many}", *options, statements), wanted)

    def test_one_larger_than_the_memory(self):
        query = "CACHE TABLE t OPTIONS ('storageLevel' '{}'); SELECT count(DISTINCT t) AS c FROM t; SELECT sum(n) AS s FROM t"
        wanted = [{"c": ROWS}, {"s": ROWS * (ROWS - 1) // 2}]
        for level in ("MEMORY_ONLY", "MEMORY_AND_DISK", "DISK_ONLY"):
            self.assertEqual(self.rows("-t", f"t={self.many}", "--memory", "12M", query.format(level)), wanted)

    def test_what_is_refused(self):
        table = ("-t", f"t={self.small}")
        self.check_fails(2, "CACHE TABLE: expected OPTIONS, AS and a query, or the end, found 'x'", *table, "CACHE TABLE t x")
        self.check_fails(2, "there is no table missing: name its files with -t missing=FILES", "CACHE TABLE missing")
        self.check_fails(2, "there is a table t already", *table, "CACHE TABLE t AS SELECT 1")
        self.check_fails(2, "'SOON' is no storage level", *table, "CACHE TABLE t OPTIONS ('storageLevel' 'SOON')")


# In the container: reads the rows of a query, and takes memory of its own meanwhile, some 70 MiB a second.
NEIGHBOUR = """
import json, subprocess, sys, time
size, *command = sys.argv[1:]
program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
taken, lines = [], 0
for _ in program.stdout:
    lines += 1
    if lines % 2000 == 0 and len(taken) < int(size):
        taken.append(bytearray(b"x") * (1 << 20))
        time.sleep(0.015)
print(json.dumps({"rows": lines - 1, "errors": program.stderr.read(), "code": program.wait()}))
"""


@needs_limit
class InAContainer(SqlTest):
    """With a bound that the container does not have, beside another process that grows: the kernel's figure decides."""

    LIMIT, NEIGHBOUR = 224 * MIB, 100  # MiB
    COPIES = 5
    # A sort gives its rows from memory, some 100 MiB, where it is not told to let go of it.
    QUERY = f"SELECT a.n * {COPIES} + b.n AS k, a.t FROM t a JOIN few b ON b.n < {COPIES} ORDER BY a.t, k"

    def beside_a_neighbour(self, statements):
        few = self.data / "few.parquet"
        pq.write_table(pa.table({"n": list(range(100))}), few)
        result = subprocess.run(
            [NEAP, "run", "--limit", str(self.LIMIT), "--", sys.executable, "-c", NEIGHBOUR, str(self.NEIGHBOUR)]
            + [NEAP, "sql", "--memory", "4G", "--threads", "2", "--format", "csv", "-t", f"t={self.many}"]
            + ["-t", f"few={few}", statements],
            capture_output=True, text=True, timeout=DEADLINE,
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        outcome = json.loads(result.stdout)
        self.assertEqual((outcome["code"], outcome["rows"]), (0, ROWS * self.COPIES), outcome["errors"])
        return outcome["errors"]

    def test_a_query_lets_go_of_its_memory_and_says_so(self):
        errors = self.beside_a_neighbour(self.QUERY)
        found = re.fullmatch(r"neap sql: container short of memory: (\d+) spills? freed ([0-9.]+) MiB\n", errors)
        self.assertTrue(found, errors)
        self.assertGreaterEqual(int(found[1]), 1)
        self.assertGreater(float(found[2]), 20)

    def test_cached_tables_leave_memory_first(self):
        errors = self.beside_a_neighbour(f"CACHE TABLE t; {self.QUERY}")
        found = re.search(r"container short of memory: .*, ([0-9.]+) MiB of cached tables left memory\n", errors)
        self.assertTrue(found, errors)
        self.assertGreater(float(found[1]), 5)


class Formats(SqlTest):
    QUERY = "SELECT * FROM t ORDER BY id"

    def text(self, *arguments):
        result = sql("-t", f"t={self.small}", self.QUERY, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_table(self):
        self.assertEqual(
            self.text(),
            " id | name       |  price | day\n"
            "----+------------+--------+------------\n"
            "  1 | one        |   1.00 | 1970-01-01\n"
            '  2 | tw"o, or 2 |   NULL | 1998-09-02\n'
            "  3 | NULL       | 350.00 | NULL\n"
            "(3 rows)\n",
        )

    def test_csv(self):
        self.assertEqual(
            self.text("--format", "csv"),
            'id,name,price,day\n1,one,1.00,1970-01-01\n2,"tw""o, or 2",,1998-09-02\n3,,350.00,\n',
        )

    def test_json(self):
        lines = [json.loads(line) for line in self.text("--format", "json").splitlines()]
        self.assertEqual(lines[1], {"id": 2, "name": 'tw"o, or 2', "price": None, "day": "1998-09-02"})

    def test_arrow_and_parquet_hold_the_types(self):
        raw = sql("-t", f"t={self.small}", self.QUERY, "--format", "arrow", text=False)
        table = pa.ipc.open_stream(raw.stdout).read_all()
        expected = pq.read_table(self.small)
        self.assertEqual(table.to_pylist(), expected.to_pylist())
        self.assertEqual(table.schema.types, expected.schema.types)
        file = self.data / "out.parquet"
        self.assertEqual(sql("-t", f"t={self.small}", self.QUERY, "--output", file).returncode, 0)
        self.assertEqual(pq.read_table(file).to_pylist(), expected.to_pylist())

    def test_a_failed_query_leaves_no_file(self):
        file = self.data / "broken.csv"
        self.check_fails(1, "division by zero", "-t", f"t={self.small}", "--output", file, "SELECT 1 / (id - 2) FROM t")
        self.assertFalse(file.exists())

    def test_a_reader_that_goes_away_ends_it(self):
        program = subprocess.Popen(
            [NEAP, "sql", "--format", "csv", "-t", f"t={self.many}", "SELECT a.n FROM t a, t b"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.assertEqual(program.stdout.readline(), b"n\n")
        program.stdout.close()
        self.assertEqual(program.wait(timeout=DEADLINE), 0)
        with program.stderr:
            self.assertEqual(program.stderr.read(), b"")


class Failures(SqlTest):
    def test_bad_calls(self):
        self.check_fails(2, "there is nothing to run")
        self.check_fails(2, "put the whole statement in quotes", "SELECT", "1")
        self.check_fails(2, "--format yaml", "--format", "yaml", "SELECT 1")
        self.check_fails(2, "--memory '5 apples' is not a size", "--memory", "5 apples", "SELECT 1")
        self.check_fails(2, "--json is the form of --analyze", "--json", "SELECT 1")
        self.check_fails(2, "hold the rows of one statement", "--format", "arrow", "SELECT 1; SELECT 2")

    def test_sql_that_cannot_be_planned(self):
        self.check_fails(2, "there is no table missing: name its files with -t missing=FILES", "SELECT * FROM missing")
        self.check_fails(2, "Expected: an SQL statement", "SELEC 1")
        table = ("-t", f"t={self.small}")
        self.check_fails(2, "No field named nothing", *table, "SELECT nothing FROM t")
        self.check_fails(2, "IGNORE NULLS", *table, "SELECT first_value(name) IGNORE NULLS OVER () FROM t")
        self.check_fails(2, "FILTER on a window", *table, "SELECT sum(id) FILTER (WHERE id > 1) OVER () FROM t")
        self.check_fails(2, "DDL not supported", "CREATE TABLE x (a INT)")

    def test_files_that_are_not_there(self):
        self.check_fails(3, "cannot be read", "-f", "/nowhere/statements.sql")
        self.check_fails(1, "no such file", "-t", "t=/nowhere/t.parquet", "SELECT 1")
        self.check_fails(3, "cannot be written", "--output", "/nowhere/rows.csv", "SELECT 1")

    def test_a_planner_that_cannot_run(self):
        environment = dict(os.environ, NEAP_ENGINE_PYTHON="/nowhere/python")
        self.check_fails(2, "set NEAP_ENGINE_PYTHON", "SELECT 1", env=environment)
        environment["NEAP_ENGINE_PYTHON"] = "/bin/false"
        self.check_fails(2, "ended early", "SELECT 1", env=environment)

    def test_a_plan_that_is_none(self):
        file = self.data / "noise.bin"
        file.write_bytes(b"\xff" * 100)
        self.check_fails(2, "is not a Substrait plan", "--plan", file)


class Ending(SqlTest):
    SPILLING = ["--memory", "64M", "--force-spill"]
    LONG = "SELECT a.t, b.n FROM t a, t b ORDER BY a.t, b.n"
    SHORT = "SELECT count(*) AS c FROM (SELECT t, n FROM t ORDER BY t LIMIT 10000) x"

    def setUp(self):
        self.spill = pathlib.Path(tempfile.mkdtemp(dir=self.data))

    def spilling(self, *before):
        """A query that would take very long, once it has files on disk."""
        program = subprocess.Popen(
            [*before, NEAP, "sql", *self.SPILLING, "--spill-dir", self.spill, "-t", f"t={self.many}", self.LONG],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + DEADLINE
        while not any(self.spill.glob("*/*")):
            self.assertLess(time.monotonic(), end, "it never spills")
            self.assertIsNone(program.poll(), "it ended by itself")
            time.sleep(0.02)
        return program

    @needs_limit
    def test_no_planner_waits_beside_a_query_in_a_small_container(self):
        program = self.spilling(NEAP, "run", "--limit", "128M", "--")
        self.assertEqual(descendants(program.pid), ["neap-sql"])
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=DEADLINE)

    def check_ends(self, which, code):
        program = self.spilling()
        program.send_signal(which)
        self.assertEqual(program.wait(timeout=DEADLINE), code)
        with program.stdout, program.stderr:
            self.assertEqual(program.stdout.read(), b"")
            self.assertEqual(program.stderr.read(), b"")

    def test_signals_end_it_and_remove_its_files(self):
        for which in (signal.SIGINT, signal.SIGTERM):
            self.check_ends(which, 128 + which)
            self.assertEqual(list(self.spill.iterdir()), [])

    def test_what_a_killed_one_left_is_removed_by_the_next(self):
        self.check_ends(signal.SIGKILL, -signal.SIGKILL)
        self.assertNotEqual(list(self.spill.glob("*/*")), [])
        table = ("-t", f"t={self.many}", "--spill-dir", self.spill)
        self.assertEqual(self.rows(*table, *self.SPILLING, self.SHORT), [{"c": 10000}])
        self.assertEqual(list(self.spill.iterdir()), [])

    def test_files_that_may_not_grow(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        arguments = ("-t", f"t={self.many}", "--spill-dir", self.spill, *self.SPILLING, self.SHORT)
        self.check_fails(1, "a folder with more space", *arguments, preexec_fn=small_files)
        self.assertEqual(list(self.spill.iterdir()), [])

    def test_a_spill_folder_that_is_none_or_is_memory(self):
        for folder, words in (("/nowhere", "no folder /nowhere"), ("/dev/shm", "lies in memory")):
            arguments = ("-t", f"t={self.many}", "--spill-dir", folder, *self.SPILLING, self.SHORT)
            self.check_fails(1, words, *arguments)

    def test_a_bound_that_the_data_does_not_fit_into(self):
        query = "SELECT count(*) AS c, sum(x) AS s FROM (SELECT t, sum(n) AS x FROM t GROUP BY t)"
        wanted = [{"c": ROWS, "s": ROWS * (ROWS - 1) // 2}]
        self.assertEqual(self.rows("-t", f"t={self.many}", query), wanted)
        self.assertEqual(self.rows("-t", f"t={self.many}", "--memory", "64M", "--force-spill", query), wanted)


if __name__ == "__main__":
    unittest.main()
