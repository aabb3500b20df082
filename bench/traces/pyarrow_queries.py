"""Queries of pyarrow (Acero), one after the other; results are kept for four queries."""

import os
import time

os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"

import pyarrow
import pyarrow.compute as compute
import pyarrow.parquet as parquet

import tables

orders, customers = tables.orders(), tables.customers()


def stored():
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(orders, sink, row_group_size=50_000)
    return parquet.read_table(pyarrow.BufferReader(sink.getvalue()))


QUERIES = [
    lambda: orders.group_by("key").aggregate([("price", "sum"), ("note", "max")]),
    lambda: orders.join(customers, "customer").filter(compute.field("price") > 0.9),
    lambda: orders.sort_by([("note", "ascending"), ("price", "descending")]).slice(0, 1_000),
    lambda: orders.group_by("note").aggregate([("price", "mean")]).slice(0, 10_000),
    stored,
    lambda: pyarrow.Table.from_pylist(orders.slice(0, 30_000).to_pylist()),
]
kept = []
for query in QUERIES * 2:
    kept = [*kept[-3:], query()]
    time.sleep(0.1)
