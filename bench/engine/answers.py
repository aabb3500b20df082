"""Whether two engines gave the same rows. Files are those that worker.py keeps.

Exact values are compared exactly, floating point and decimals of unlike scale by value: sums of doubles depend on their
order, and an average of decimals may be one of six digits. Without ORDER BY, and where a key is not unique, engines give
equal rows in any order: rows are compared as a multiset.
"""

import datetime
import decimal
import math
from pathlib import Path

RELATIVE, ABSOLUTE = 1e-9, 1.01e-6


def rows_of(path: Path) -> list[list]:
    import pyarrow.feather

    table = pyarrow.feather.read_table(path)
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns))]


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


def difference(expected: Path, got: Path) -> str | None:
    """What differs, in words; None where nothing does."""
    wanted = sorted(([plain(value) for value in row] for row in rows_of(expected)), key=key)
    found = sorted(([plain(value) for value in row] for row in rows_of(got)), key=key)
    if len(wanted) != len(found):
        return f"{len(found)} rows, not {len(wanted)}"
    for a, b in zip(wanted, found):
        if len(a) != len(b):
            return f"{len(b)} columns, not {len(a)}"
        for one, other in zip(a, b):
            if not same(one, other):
                return f"{other!r}, not {one!r}"
    return None
