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

    def run(self, sql: str) -> None:
        self.connection.execute(sql)

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

    def run(self, sql: str) -> None:
        self.context.sql(sql).collect()

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
        while statements:
            answered = 0
            for by_mode in self.answer_while_alive(statements):
                answered += 1
                yield by_mode
            statements = statements[answered:]

    def answer_while_alive(self, statements: list[tuple[str, bool]]):
        """Ends after a statement that the program has died of."""
        with tempfile.TemporaryFile() as given:
            for sql, can_be_planned in statements:
                text = sql.encode()
                given.write(f"{len(text)} {'together' if can_be_planned else 'alone'}\n".encode() + text)
            given.seek(0)
            with subprocess.Popen(self.command, stdin=given, stdout=subprocess.PIPE) as process:
                for _ in statements:
                    by_mode = []
                    while len(by_mode) < len(self.modes) and (answer := self.read(process.stdout)):
                        by_mode.append(answer)
                    if len(by_mode) < len(self.modes):
                        died = QueryError(f"the program died, exit status {process.wait()}")
                        yield by_mode + [died] * (len(self.modes) - len(by_mode))
                        return
                    yield by_mode

    def read(self, stream):
        """The next answer; None where there is none."""
        head = stream.readline().split()
        if not head:
            return None
        body = stream.read(int(head[1]))
        if head[0] == b"error":
            return QueryError(body.decode())
        return answer_of(pa.ipc.open_stream(body).read_all()), Figures(int(head[2]), int(head[3]))
