"""Whether two engines gave the same rows. Results are the Arrow streams that worker.py writes.

Exact values are compared exactly, floating point and decimals of unlike scale by value: sums of doubles depend on their
order, and an average of decimals may be one of six digits. Without ORDER BY, and where a key is not unique, engines give
equal rows in any order: rows are compared as a multiset. Results too large for that are compared by a digest.
"""

import datetime
import decimal
import math

RELATIVE, ABSOLUTE = 1e-9, 1.01e-6


def rows_of(stream) -> list[list]:
    """Of a file or an open pipe; empty where an engine gave no batch."""
    import pyarrow.ipc

    try:
        table = pyarrow.ipc.open_stream(stream).read_all()
    except pyarrow.ArrowInvalid:
        return []
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns))]


def digest(stream, ordered: bool) -> tuple:
    """Rows, and a sum of hashes: of the rows, with their positions where these matter. Taken while the stream comes."""
    import duckdb
    import pyarrow
    import pyarrow.ipc

    reader = pyarrow.ipc.open_stream(stream)
    columns = [f'"{field.name}"::{common_type(field.type)}' for field in reader.schema]
    position = ["row_number() OVER ()"] if ordered else []
    connection = duckdb.connect(config={"threads": 1})
    connection.register("result", reader)
    query = f"SELECT count(*), sum(h) FROM (SELECT hash({', '.join(position + columns)})::HUGEINT AS h FROM result)"
    return connection.execute(query).fetchone()


def common_type(type) -> str:
    """What DuckDB is to make of a column, so that engines whose types differ give equal hashes."""
    from pyarrow import types

    if types.is_temporal(type):
        return "TIMESTAMP"
    return "DOUBLE" if types.is_integer(type) or types.is_floating(type) or types.is_decimal(type) else "VARCHAR"


def plain(value):
    """Numbers of any type as one, dates as timestamps: equal where SQL says so."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, decimal.Decimal)):
        return float(value) if isinstance(value, decimal.Decimal) or abs(value) < 2**53 else value
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    return value


def same(a, b) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b or abs(a - b) <= max(ABSOLUTE, RELATIVE * max(abs(a), abs(b)))
    return a == b


def key(row: list) -> tuple:
    """Exact values first, so that rows whose numbers differ in the last digits still meet; then numbers, rounded."""
    exact = [str(value) for value in row if not isinstance(value, float)]
    numbers = [value for value in row if isinstance(value, float)]
    return exact, [round(value, 4) if math.isfinite(value) else math.inf for value in numbers], numbers


def difference(expected: list[list], got: list[list]) -> str | None:
    """What differs, in words; None where nothing does."""
    wanted = sorted(([plain(value) for value in row] for row in expected), key=key)
    found = sorted(([plain(value) for value in row] for row in got), key=key)
    if len(wanted) != len(found):
        return f"{len(found)} rows, not {len(wanted)}"
    for a, b in zip(wanted, found):
        if len(a) != len(b):
            return f"{len(b)} columns, not {len(a)}"
        for one, other in zip(a, b):
            if not same(one, other):
                return f"{other!r}, not {one!r}"
    return None
