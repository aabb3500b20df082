"""One executor process of the demo. Runs what each line on stdin names and answers with one line of JSON on stdout.

run.py starts it in a container, with the allocator preloaded: worker.py arrow|spark DATA_DIR
    the name of a query    runs it, drops its result, answers with the result's digest or rows, and with the seconds
    settle                 collects garbage
    live                   bytes in blocks handed out and not yet freed, where the allocator tells
"""

import ctypes
import gc
import json
import os
import sys
import time
import zlib

import tpch

ORDERS = ["o_orderkey", "o_custkey", "o_orderdate", "o_orderpriority", "o_clerk", "o_comment"]
LINES = ["l_orderkey", "l_partkey", "l_quantity", "l_extendedprice", "l_shipmode"]


class Arrow:
    """pyarrow on its system pool, which is libc's malloc (its default pool maps pages by itself), and pandas."""

    def __init__(self, data: str):
        import pandas
        import pyarrow
        import pyarrow.parquet

        if pyarrow.default_memory_pool().backend_name != "system":
            sys.exit("worker.py: ARROW_DEFAULT_MEMORY_POOL=system has no effect here")
        pyarrow.set_cpu_count(2)
        self.read = lambda table, columns: pyarrow.parquet.read_table(f"{data}/{table}.parquet", columns=columns)
        self.frame = lambda table, columns: pandas.read_parquet(f"{data}/{table}.parquet", columns=columns)

    def join(self) -> int:
        return self.read("lineitem", LINES).join(self.read("orders", ORDERS), "l_orderkey", "o_orderkey").num_rows

    def aggregate(self) -> int:
        groups = self.read("lineitem", LINES).group_by(["l_orderkey", "l_partkey"])
        return groups.aggregate([("l_quantity", "sum"), ("l_extendedprice", "sum"), ("l_shipmode", "max")]).num_rows

    def merge(self) -> int:
        lines, orders = self.frame("lineitem", LINES), self.frame("orders", ORDERS)
        return len(lines.merge(orders, left_on="l_orderkey", right_on="o_orderkey"))

    def settle(self) -> None:
        gc.collect()

    def live(self) -> int:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallctl"):  # jemalloc
            live, size, epoch = ctypes.c_size_t(), ctypes.c_size_t(8), ctypes.c_uint64(1)
            libc.mallctl(b"epoch", None, None, ctypes.byref(epoch), ctypes.c_size_t(8))
            libc.mallctl(b"stats.allocated", ctypes.byref(live), ctypes.byref(size), None, ctypes.c_size_t(0))
            return live.value
        libc.mallinfo2.restype = MallInfo2
        info = libc.mallinfo2()
        return info.uordblks + info.hblkhd


class MallInfo2(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


class Spark:
    """Spark with DataFusion Comet; its options come in PYSPARK_SUBMIT_ARGS."""

    def __init__(self, data: str):
        from pyspark.sql import SparkSession

        self.session = SparkSession.builder.getOrCreate()
        for table in tpch.TABLES:
            self.session.read.parquet(f"{data}/{table}.parquet").createOrReplaceTempView(table)
        for name, text in tpch.QUERIES.items():
            setattr(self, name, lambda text=text: zlib.crc32(repr(self.session.sql(text).collect()).encode()))

    def settle(self) -> None:
        self.session._jvm.System.gc()

    def live(self) -> None:
        return None  # no call into a JVM reaches its allocator


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library or the JVM prints goes to the log, and not between the answers
    engine = {"arrow": Arrow, "spark": Spark}[sys.argv[1]](sys.argv[2])
    print(json.dumps({"answer": "ready"}), file=answers)
    for line in sys.stdin:
        start = time.monotonic()
        answer = getattr(engine, line.strip())()
        print(json.dumps({"answer": answer, "seconds": round(time.monotonic() - start, 3)}), file=answers)


main()
