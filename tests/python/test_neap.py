"""The Python package: rows out, tables in, errors, and a query that outlives or loses those who started it."""
import gc
import os
import pathlib
import signal
import tempfile
import threading
import time
import unittest

import neap
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 100_000


def numbers(count):
    for i in range(count):
        yield pa.record_batch({"x": [i]})


def reader(batches):
    return pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), batches)


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.file = pathlib.Path(cls.folder.name) / "t.parquet"
        texts = [f"a text that is too long to lie in place: {i}" for i in range(ROWS)]
        pq.write_table(pa.table({"n": list(range(ROWS)), "t": texts}), cls.file)
        cls.endless = "SELECT a.t, b.n FROM t a, t b ORDER BY a.t, b.n"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def session(self, **options):
        return neap.Session({"t": self.file}, **options)


class Ledger(PackageTest):
    def test_adds_up_and_shows_the_arenas_of_a_query(self):
        result = self.session(memory="64M").execute("SELECT a.n FROM t a, t b")
        rows_of_query = result.reader()
        rows_of_query.read_next_batch()
        ledger = neap.ledger()
        self.assertEqual(ledger["live"] + ledger["cached"] + ledger["dirty"] + ledger["metadata"], ledger["resident"])
        for rows in (ledger["arenas"], ledger["size_classes"]):
            for name in ("live", "requested", "cached"):
                self.assertEqual(sum(row[name] for row in rows), ledger[name], name)
        self.assertEqual(ledger["arenas"][0]["name"], "root")
        self.assertGreater(len(ledger["arenas"]), 1)
        self.assertIn(None, [arena["bound"] for arena in ledger["arenas"]])
        self.assertGreater(ledger["anon"], ledger["foreign"])
        rows_of_query.close()


class Rows(PackageTest):
    def test_a_file_by_its_path(self):
        table = neap.sql(f"SELECT count(*) AS c FROM '{self.file}'", memory="64M")
        self.assertEqual(table.to_pylist(), [{"c": ROWS}])

    def test_tables_of_arrow(self):
        table = pa.table({"a": [1, 2, None, 4], "s": ["x", "yy", None, "more than twelve letters"]})
        rows = neap.sql("SELECT l.a, r.s FROM t l JOIN t r ON l.a = r.a WHERE r.s <> 'x' ORDER BY 1", {"t": table})
        self.assertEqual(rows.to_pylist(), [{"a": 2, "s": "yy"}, {"a": 4, "s": "more than twelve letters"}])

    def test_paths_as_text_and_in_lists(self):
        query = "SELECT count(*) AS c FROM t"
        for source in (str(self.file), self.file, [self.file, str(self.file)]):
            count = ROWS * (2 if isinstance(source, list) else 1)
            self.assertEqual(neap.sql(query, {"t": source}).to_pylist(), [{"c": count}])

    def test_a_stream_is_read_once(self):
        self.assertEqual(neap.sql("SELECT sum(x) AS s FROM g", {"g": reader(numbers(4))}).to_pylist(), [{"s": 6}])
        with self.assertRaisesRegex(neap.Error, "a reader is read once"):
            neap.sql("SELECT sum(x) FROM g UNION ALL SELECT count(*) FROM g", {"g": reader(numbers(4))})

    def test_batches_while_the_query_runs(self):
        rows = sum(batch.num_rows for batch in self.session().execute("SELECT * FROM t").reader())
        self.assertEqual(rows, ROWS)

    def test_rows_outlive_the_query_and_the_session(self):
        session = self.session()
        result = session.execute("SELECT t FROM t ORDER BY n")
        table = result.table()
        del result, session
        gc.collect()
        self.assertEqual(table["t"][ROWS - 1].as_py(), f"a text that is too long to lie in place: {ROWS - 1}")

    def test_report_and_explain(self):
        session = self.session(analyze=True)
        result = session.execute("SELECT count(*) AS c FROM t WHERE n < 10")
        self.assertEqual(result.table().to_pylist(), [{"c": 10}])
        report = result.report()
        self.assertIsNone(report["failure"])
        self.assertEqual(report["operators"][-1]["rows_out"], 10)
        self.assertIn("read t () where n < 10", session.explain("SELECT count(*) AS c FROM t WHERE n < 10"))


class Cached(PackageTest):
    COUNT = "SELECT count(*) AS c FROM t"

    def scan(self, session, query):
        result = session.execute(query)
        rows = result.table().to_pylist()
        return rows, result.report()["operators"][-1]["name"]

    def test_a_table_from_a_file(self):
        session = self.session(memory="64M")
        self.assertEqual(session.execute("CACHE TABLE t").table().num_columns, 0)
        self.assertEqual(self.scan(session, self.COUNT), ([{"c": ROWS}], "cached scan"))
        session.execute("UNCACHE TABLE t")
        self.assertEqual(self.scan(session, self.COUNT), ([{"c": ROWS}], "scan"))

    def test_a_table_of_arrow_and_one_that_a_query_gives(self):
        reads = []

        class Source:
            def __arrow_c_stream__(self, requested_schema=None):
                reads.append(1)
                return pa.table({"x": list(range(1000))}).__arrow_c_stream__()

        session = neap.Session({"g": Source()})
        session.execute("CACHE TABLE even AS SELECT x FROM g WHERE x % 2 = 0")
        once = len(reads)
        for _ in range(3):
            self.assertEqual(self.scan(session, "SELECT sum(x) AS s FROM even"), ([{"s": 249500}], "cached scan"))
        self.assertEqual(len(reads), once)
        session.execute("CLEAR CACHE")
        self.assertEqual(self.scan(session, "SELECT sum(x) AS s FROM even"), ([{"s": 249500}], "scan"))
        self.assertEqual(len(reads), once + 1)

    def test_what_is_refused(self):
        for query, words in (("CACHE t", "expected TABLE, found 't'"), ("UNCACHE TABLE nothing", "there is no table")):
            with self.assertRaisesRegex(neap.Error, words) as caught:
                self.session().execute(query)
            self.assertEqual(caught.exception.kind, "plan")


class Errors(PackageTest):
    def check(self, kind, words, call):
        with self.assertRaisesRegex(neap.Error, words) as caught:
            call()
        self.assertEqual(caught.exception.kind, kind)

    def test_plans_and_data(self):
        self.check("plan", "there is no table missing", lambda: neap.sql("SELECT * FROM missing"))
        self.check("plan", "IGNORE NULLS", lambda: self.session().execute("SELECT lag(n) IGNORE NULLS OVER () FROM t"))
        self.check("plan", "is not a Substrait plan", lambda: self.session().execute(b"\xff" * 20))
        self.check("data", "division by zero", lambda: self.session().execute("SELECT 1 / (n - 5) FROM t").table())
        self.check("data", "no such file", lambda: neap.sql("SELECT 1", {"t": "/nowhere.parquet"}))

    def test_what_a_stream_of_python_raises(self):
        def fails():
            yield pa.record_batch({"x": [1]})
            raise ValueError("the source is gone")

        self.check("data", "the source is gone", lambda: neap.sql("SELECT sum(x) FROM g", {"g": reader(fails())}))

    def test_sizes(self):
        with self.assertRaisesRegex(ValueError, "is not a size"):
            neap.Session(memory="5 apples")
        with self.assertRaisesRegex(ValueError, "there are 2 statements"):
            neap.sql("SELECT 1; SELECT 2")


class Ending(PackageTest):
    def test_cancel(self):
        result = self.session(memory="64M").execute(self.endless)
        time.sleep(0.2)
        result.cancel()
        with self.assertRaisesRegex(neap.Error, "cancelled") as caught:
            result.table()
        self.assertEqual(caught.exception.kind, "cancelled")

    def test_a_result_that_nobody_keeps_ends(self):
        start = time.monotonic()
        result = self.session(memory="64M").execute(self.endless)
        del result
        self.assertLess(time.monotonic() - start, 30)

    def test_a_reader_that_is_left_ends_it(self):
        result = self.session().execute("SELECT a.n FROM t a, t b")
        rows = result.reader()
        del result
        self.assertGreater(rows.read_next_batch().num_rows, 0)
        start = time.monotonic()
        del rows
        gc.collect()
        self.assertLess(time.monotonic() - start, 30)

    def test_ctrl_c(self):
        timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            self.session(memory="64M").execute(self.endless).table()
        timer.join()


if __name__ == "__main__":
    unittest.main()
