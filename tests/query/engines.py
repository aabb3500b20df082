"""The engines that answer the queries. DuckDB gives the expected results; DataFusion, whose planner neap uses, must agree
with it before they are written.
"""

import importlib.util
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


class QueryError(Exception):
    """The engine refused or failed the statement, as its text says."""


def planner_settings() -> dict[str, str]:
    """How the engine's own planner is set, so that both mean the same by a statement."""
    path = Path(__file__).resolve().parents[2] / "engine/sql/planner.py"
    spec = importlib.util.spec_from_file_location("planner", path)
    planner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planner)
    return planner.CONFIG


@dataclass
class Answer:
    names: list[str]
    types: list[pa.DataType]
    rows: list[list]


def answer_of(table: pa.Table) -> Answer:
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us"))
        columns.append(column.to_pylist())
    rows = [list(row) for row in zip(*columns)] if columns else []
    return Answer(table.column_names, [field.type for field in table.schema], rows)


class DuckDB:
    def __init__(self, tables: dict[str, Path], threads: int):
        import duckdb

        self.failures = duckdb.Error
        self.connection = duckdb.connect(config={"threads": threads})
        for table, path in tables.items():
            self.connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{path}')")

    def answer(self, sql: str) -> Answer:
        try:
            return answer_of(self.connection.sql(sql).to_arrow_table())
        except self.failures as problem:
            raise QueryError(str(problem)) from problem


class DataFusion:
    def __init__(self, tables: dict[str, Path], threads: int):
        import datafusion

        settings = datafusion.SessionConfig()
        for name, value in planner_settings().items():
            settings = settings.set(name, value)
        settings = settings.with_target_partitions(threads)
        self.context = datafusion.SessionContext(settings)
        for table, path in tables.items():
            self.context.register_parquet(table, str(path))

    def answer(self, sql: str) -> Answer:
        try:
            return answer_of(self.context.sql(sql).to_arrow_table())
        except Exception as problem:  # its errors have no common class
            raise QueryError(str(problem)) from problem
        except BaseException as problem:
            if type(problem).__name__ != "PanicException":  # of its Rust side
                raise
            raise QueryError(str(problem)) from problem


@dataclass
class Figures:
    peak: int  # bytes of the query's arena
    spilled: int


class Neap:
    """Answers a file at a time, each statement in every mode: tests/query/answer.cc."""

    def __init__(self, program: Path, tables: dict[str, Path], modes: list[str]):
        self.command = [str(program), *(f"{name}={path}" for name, path in tables.items()), "--", *modes]
        self.modes = modes

    def answer_all(self, statements: list[tuple[str, bool]]):
        """Statements are SQL and whether it can be planned. For each a list, by mode, of (Answer, Figures) or QueryError."""
        text = b""
        for sql, can_be_planned in statements:
            sql = sql.encode()
            text += f"{len(sql)} {'together' if can_be_planned else 'alone'}\n".encode() + sql
        with tempfile.TemporaryFile() as given:
            given.write(text)
            given.seek(0)
            with subprocess.Popen(self.command, stdin=given, stdout=subprocess.PIPE) as process:
                for sql, _ in statements:
                    yield [self.read(process, sql) for _ in self.modes]

    def read(self, process, sql: str):
        head = process.stdout.readline().split()
        if not head:
            raise SystemExit(f"{self.command[0]} ended (exit status {process.wait()}) at\n{sql}")
        body = process.stdout.read(int(head[1]))
        if head[0] == b"error":
            return QueryError(body.decode())
        return answer_of(pa.ipc.open_stream(body).read_all()), Figures(int(head[2]), int(head[3]))
