"""The engines that answer the queries, behind one interface: Engine.answer(sql) gives column names, Arrow types and rows.

DuckDB gives the expected results. DataFusion, whose planner neap uses, must agree with it before they are written.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


class QueryError(Exception):
    """The engine refused or failed the statement, as its text says."""


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

        settings = datafusion.SessionConfig().with_target_partitions(threads)
        settings = settings.set("datafusion.sql_parser.parse_float_as_decimal", "true")  # 0.1 is a decimal in SQL
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
