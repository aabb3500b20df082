"""One engine in a process of its own: worker.py ENGINE FOLDER THREADS [OPTION=VALUE...]. compare talks to it.

An order is a line `BYTES FILE` and so many bytes of SQL; it is answered by a line of JSON: {"seconds", "rows"} or
{"error"}. A result is read to its end as Arrow batches, which are written to FILE (or a pipe) as they come, unless that
is `-`.
"""

import io
import json
import os
import sys
import time
from pathlib import Path

ENGINE, FOLDER, THREADS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
OPTIONS = dict(option.split("=", 1) for option in sys.argv[4:])

# Before any engine counts the CPUs.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

TABLES = {path.stem: path for path in sorted(FOLDER.glob("*.parquet"))}


class DuckDB:
    def __init__(self):
        import duckdb

        self.connection = duckdb.connect(config={"threads": THREADS})
        for name, path in TABLES.items():
            self.connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")

    def batches(self, sql):
        yield from self.connection.sql(sql).to_arrow_reader()  # execute() would hold all of the result


class DataFusion:
    """Option `pool`: bytes of a fair spill pool; without it its memory has no bound."""

    def __init__(self):
        import datafusion

        runtime = datafusion.RuntimeEnvBuilder().with_disk_manager_os()
        if "pool" in OPTIONS:
            runtime = runtime.with_fair_spill_pool(int(OPTIONS["pool"]))
        settings = datafusion.SessionConfig().with_target_partitions(THREADS)
        self.context = datafusion.SessionContext(settings, runtime)
        for name, path in TABLES.items():
            self.context.register_parquet(name, str(path))

    def batches(self, sql):
        for batch in self.context.sql(sql).execute_stream():
            yield without_views(batch.to_pyarrow())


def without_views(batch):
    """Views into buffers that many batches share would each be written with all of these."""
    import pyarrow

    plain = {pyarrow.string_view(): pyarrow.string(), pyarrow.binary_view(): pyarrow.binary()}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in batch.schema]
    return batch.cast(pyarrow.schema(fields))


class Polars:
    def __init__(self):
        import polars

        self.polars = polars
        self.context = polars.SQLContext({name: polars.scan_parquet(path) for name, path in TABLES.items()})

    def batches(self, sql):
        for frame in self.context.execute(sql).collect_batches(engine="streaming"):
            yield from frame.to_arrow().to_batches()


ENGINES = {"duckdb": DuckDB, "datafusion": DataFusion, "polars": Polars}


class Sink(io.RawIOBase):
    """A file that knows its position, also where it is a pipe."""

    def __init__(self, path: str):
        self.file, self.position = open(path, "wb", buffering=0), 0

    def writable(self):
        return True

    def write(self, data):
        left = memoryview(data)
        while left:
            left = left[self.file.write(left) :]
        self.position += len(data)
        return len(data)

    def tell(self):
        return self.position

    def close(self):
        self.file.close()
        super().close()


class Keeper:
    """Writes batches as an Arrow stream."""

    def __init__(self, path: str):
        self.sink, self.writer = Sink(path), None

    def write(self, batch):
        if self.writer is None:
            import pyarrow.ipc

            self.writer = pyarrow.ipc.new_stream(self.sink, batch.schema)
        self.writer.write_batch(batch)

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.sink.close()


def run(engine, sql: str, keep: str) -> dict:
    start = time.monotonic()
    keeper = Keeper(keep) if keep != "-" else None
    rows = 0
    for batch in engine.batches(sql):
        rows += batch.num_rows
        if keeper:
            keeper.write(batch)
    if keeper:
        keeper.close()
    return {"seconds": time.monotonic() - start, "rows": rows}


def main() -> None:
    engine = ENGINES[ENGINE]()
    print(json.dumps({"ready": True}), flush=True)
    while line := sys.stdin.buffer.readline():
        size, keep = line.decode().split()
        sql = sys.stdin.buffer.read(int(size)).decode()
        try:
            answer = run(engine, sql, keep)
        except Exception as problem:  # whatever an engine throws is its answer
            answer = {"error": " ".join(str(problem).split())[:300] or type(problem).__name__}
        except BaseException as problem:
            if type(problem).__name__ != "PanicException":  # of Rust
                raise
            answer = {"error": " ".join(str(problem).split())[:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
