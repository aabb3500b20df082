"""SQL over Parquet files and Arrow tables, within a memory bound.

    import neap
    table = neap.sql("SELECT count(*) FROM 'data/*.parquet'", memory="256M")

    with_tables = neap.sql("SELECT * FROM t JOIN f ON t.id = f.id", tables={"t": a_pyarrow_table, "f": "f.parquet"})

Rows come as pyarrow tables, or, from `Session.execute`, as anything that reads Arrow's C stream interface. A table is a
path, a list of paths, a folder, a pattern, or an object that has `__arrow_c_stream__`, as tables of pyarrow, polars and
pandas do. SQL is planned by the package datafusion; what does not fit into the memory waits on disk. `neap.ledger()`
tells where the memory is.
"""

import os
import re
import threading

import pyarrow  # its libraries are those that the engine needs

from . import _planner
from ._engine import Error
from ._engine import Session as _Session
from ._engine import ledger

__all__ = ["Error", "Result", "Session", "get_include", "get_library_dirs", "ledger", "sql"]

_UNITS = "BKMGT"


def get_include():
    """The folder of neap_engine.h and neap.h, for programs in C++ and C."""
    return os.path.join(os.path.dirname(__file__), "include")


def get_library_dirs():
    """The folders of libneap_engine.so and libneap.so.0, and of Arrow's libraries, which the first needs."""
    return [os.path.dirname(__file__), *pyarrow.get_library_dirs()]


def _bytes(size):
    """A number of bytes, or a text such as "64M", "1.5GiB"; units are powers of two."""
    if size is None or isinstance(size, int):
        return size or 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([kmgt])(?:i?b)?|b)?", size.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"memory {size!r} is not a size: write bytes, or a number with K, M, G or T, such as '64M'")
    return int(float(found.group(1)) * 1024 ** _UNITS.index((found.group(2) or "B").upper()))


def _plan(declarations, statements):
    from datafusion import _internal

    planner = _planner.Planner(_internal, declarations)
    return [_planned(planner, statement) for statement in statements]


def _planned(planner, statement):
    try:
        plan, notes = planner.plan(statement)
    except Exception as error:
        refused = Error(_planner.one_line(error))
        refused.kind = "plan"
        raise refused from None
    return plan, notes


def _once(reader):
    """A reader goes on where the last scan ended: the second one would miss rows."""
    left = [reader]

    def open_stream():
        if not left:
            raise ValueError("a reader is read once: give a table to a statement that names it twice")
        return left.pop().__arrow_c_stream__()

    return open_stream


class Result:
    """The rows of a query that runs. Any reader of Arrow's C stream interface takes them, once."""

    def __init__(self, result):
        self._result = result

    def __arrow_c_stream__(self, requested_schema=None):
        return self._result.stream()

    def reader(self):
        """A pyarrow.RecordBatchReader, which gives batches while the query runs."""
        return pyarrow.RecordBatchReader.from_stream(self)

    def table(self):
        """All rows as a pyarrow.Table. Ctrl-C ends the query."""
        reader = self.reader()
        outcome = []

        def read():
            try:
                outcome.append(reader.read_all())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.1)
        except BaseException:
            self.cancel()
            thread.join()
            raise
        if isinstance(outcome[0], pyarrow.Table):
            return outcome[0]
        report = self.report()
        if report["failure"] is None:
            raise outcome[0]
        failed = Error(report["message"])
        failed.kind = report["failure"]
        raise failed from None

    def cancel(self):
        """Ends the query: who reads its rows gets an error."""
        self._result.cancel()

    def report(self):
        """What every operator did, and the memory that it took. Waits for the end: read the rows first."""
        return self._result.report()


class Session:
    """Tables by name, and how much a query may have.

    memory: the most resident bytes of its queries and of what CACHE TABLE keeps, as a number or as "256M"; by default
    what the container leaves.
    threads: by default as many as the container has CPUs.
    spill_dir: where files go; by default $NEAP_SPILL_DIR, $TMPDIR or /tmp, which must not be a tmpfs.
    analyze: measures the time of every operator for Result.report().
    """

    def __init__(self, tables=None, *, memory=None, threads=None, spill_dir=None, analyze=False):
        self._session = _Session(_bytes(memory), threads or 0, os.fspath(spill_dir or ""), analyze, False, _plan)
        for name, source in (tables or {}).items():
            self.add_table(name, source)

    def add_table(self, name, source):
        if hasattr(source, "__arrow_c_stream__"):
            rows = getattr(source, "num_rows", None)
            open_stream = _once(source) if isinstance(source, pyarrow.RecordBatchReader) else source.__arrow_c_stream__
            self._session.add_stream(name, open_stream, rows if isinstance(rows, int) else 0)
        elif isinstance(source, (str, os.PathLike)):
            self._session.add_files(name, [os.fspath(source)])
        else:
            self._session.add_files(name, [os.fspath(path) for path in source])

    def execute(self, query):
        """Starts a statement, or a Substrait plan as bytes.

        CACHE TABLE, UNCACHE TABLE and CLEAR CACHE give no rows; their Result need not be read or kept: what it has begun
        is done before it goes.
        """
        return Result(self._session.execute(*self._statement(query)))

    def explain(self, query):
        """How it would run, one relation a line."""
        return self._session.explain(*self._statement(query))

    def _statement(self, query):
        if isinstance(query, bytes):
            return query, "", ""
        statements = self._session.plan(query)
        if len(statements) != 1:
            raise ValueError(f"there are {len(statements)} statements: give one")
        return statements[0]


def sql(query, tables=None, **options):
    """The rows of a statement as a pyarrow.Table. The options are those of Session."""
    return Session(tables, **options).execute(query).table()
