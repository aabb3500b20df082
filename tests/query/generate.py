"""Writes the expected results: generate.py DATA FILE.sql... makes FILE.test beside each FILE.sql, by DuckDB.

DATA is the folder that tests/query/prepare fills. A FILE.sql opens with comments, which head the file; its statements end
with `;` at the end of a line. Comments right before a statement go along, but for these:

    -- error [PATTERN]        the statement must fail; with PATTERN, neap's text must match it
    -- refused PATTERN        neap says that it cannot, in words that match
    -- ok                     a statement that gives no rows; with `duckdb SQL` both others run that, else they do not see it
    -- sort MODE              in place of rowsort, or of nosort where the statement ends with ORDER BY
    -- types TYPES            in place of those that DuckDB's result has (see slt.py)
    -- duckdb SQL             what DuckDB is to be asked instead, where it says the same in other words
    -- alone REASON           DuckDB's result stands although DataFusion fails or has another
    -- datafusion REASON      the expected result is DataFusion's: its planner decides the meaning, and DuckDB has another

DataFusion is asked too. Where the two do not agree nothing is written: the statement must say what it means.
"""

import re
import sys
from pathlib import Path

import pyarrow as pa

import engines
import slt
import tables

HASH_ABOVE = 300  # values: more are hashed, where none is real


def kind_of(column: pa.DataType) -> str:
    if pa.types.is_integer(column):
        return "I"
    return "R" if pa.types.is_floating(column) else "T"


def ends_ordered(sql: str) -> bool:
    while True:  # strip parentheses from the inside out
        shorter = re.sub(r"\([^()]*\)", "", sql)
        if shorter == sql:
            return re.search(r"\border\s+by\b", sql, re.I) is not None
        sql = shorter


def statements(text: str):
    """Pairs of comment lines and SQL; the last may have no SQL."""
    comment, sql = [], []
    for line in text.split("\n"):
        if line.startswith("--") and not sql:
            comment.append(line[2:].strip())
        elif line.strip() or sql:
            sql.append(line)
            if line.rstrip().endswith(";"):
                yield comment, "\n".join(sql).rstrip().removesuffix(";")
                comment, sql = [], []
        elif comment:
            yield comment, ""
            comment = []


def record_of(comment: list[str], sql: str, duckdb, datafusion) -> slt.Record:
    orders = {}
    for line in list(comment):
        word, _, rest = line.partition(" ")
        if word in ("error", "refused", "ok", "sort", "types", "duckdb", "datafusion", "alone"):
            orders[word] = rest
            comment.remove(line)
    if "ok" in orders:
        for other in (duckdb, datafusion):
            if "duckdb" in orders:
                other.run(orders["duckdb"])
        return slt.Record(0, "statement", sql, comment=comment)
    if "refused" in orders:
        return slt.Record(0, "statement", sql, error=True, pattern=orders["refused"], comment=comment)
    if "error" in orders:
        try:
            duckdb.answer(orders.get("duckdb", sql))
        except engines.QueryError:
            return slt.Record(0, "statement", sql, error=True, pattern=orders["error"], comment=comment)
        raise ValueError("DuckDB gives an answer, and an error is expected")
    first, second = (datafusion, duckdb) if "datafusion" in orders else (duckdb, datafusion)
    answer = first.answer(orders.get("duckdb", sql) if first is duckdb else sql)
    types = orders.get("types", "".join(kind_of(column) for column in answer.types))
    sort = orders.get("sort", "nosort" if ends_ordered(sql) else "rowsort")
    record = slt.Record(0, "query", sql, types=types, sort=sort, comment=comment)
    rows = [[slt.canonical(value, kind) for value, kind in zip(row, types)] for row in answer.rows]
    rows = slt.in_order(rows, sort)
    values = sum(len(row) for row in rows)
    record.expected = [slt.hashed(rows)] if values > HASH_ABOVE and "R" not in types else ["\t".join(r) for r in rows]
    if not {"datafusion", "alone"} & orders.keys():
        if wrong := slt.differences(record, second.answer(sql)):
            raise ValueError("DataFusion does not agree: " + "; ".join(wrong[:3]))
    return record


def main() -> int:
    data, failed = Path(sys.argv[1]), 0
    for path in map(Path, sys.argv[2:]):
        here = tables.of(data, path.parent.name)
        duckdb, datafusion = engines.DuckDB(here, 2), engines.DataFusion(here, 2)
        head, records, problems = [], [], 0
        for number, (comment, sql) in enumerate(statements(path.read_text())):
            if not sql:
                head += comment if number == 0 else []
                continue
            try:
                records.append(record_of(comment, sql, duckdb, datafusion))
            except (ValueError, engines.QueryError) as problem:
                problems += 1
                print(f"{path}: {problem}\n    {sql}", file=sys.stderr)
        if problems == 0:
            head += [f"Expected results by generate.py from {path.name}: do not edit."]
            slt.write(path.with_suffix(".test"), head, records)
        failed += problems
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
