"""neap sql: statements over Parquet files, every format, every way to fail, and how it ends when it is told to."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import time
import unittest

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from support import NEAP, needs_limit

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
