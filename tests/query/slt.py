"""sqllogictest files (https://www.sqlite.org/sqllogictest): reading, writing, and whether an answer is the expected one.

A record is `statement ok`, `statement error [PATTERN]` or `query TYPES [nosort|rowsort|valuesort] [LABEL]`, the SQL up
to an empty line, and for a query after `----` its values: a row a line with tabs between, or a value a line, or
`N values hashing to MD5`. `skipif` and `onlyif` are passed over, `halt` ends the file, `hash-threshold` counts in writing.

Types: I integer, T text (of decimals, dates and booleans too: exact), R real. Reals are equal where they differ by no more
than REAL_RELATIVE or REAL_ABSOLUTE: sums of doubles depend on their order, and an engine may give an average of decimals
as a decimal of six digits or more.
"""

import datetime
import decimal
import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

REAL_RELATIVE, REAL_ABSOLUTE = 1e-9, 1.01e-6


@dataclass
class Record:
    line: int  # in the file, of its first line
    kind: str  # statement or query
    sql: str
    error: bool = False
    pattern: str = ""  # of the error's text
    types: str = ""
    sort: str = "nosort"
    expected: list[str] = field(default_factory=list)  # the lines
    comment: list[str] = field(default_factory=list)


def read(path: Path) -> list[Record]:
    records, comment = [], []
    lines = path.read_text().split("\n")
    at = 0
    while at < len(lines):
        start, words = at, lines[at].split()
        at += 1
        if not words or words[0] in ("skipif", "onlyif", "hash-threshold", "mode"):
            comment = comment if words else []
            continue
        if words[0].startswith("#"):
            comment.append(lines[start][1:].strip())
            continue
        if words[0] == "halt":
            break
        if words[0] not in ("statement", "query") or len(words) < 2:
            raise ValueError(f"{path}:{start + 1}: neither statement nor query: {lines[start]}")
        body = at
        while at < len(lines) and lines[at] and lines[at] != "----":
            at += 1
        record = Record(start + 1, words[0], "\n".join(lines[body:at]), comment=comment)
        comment = []
        if words[0] == "statement":
            record.error, record.pattern = words[1] == "error", " ".join(words[2:])
        else:
            record.types, record.sort = words[1], words[2] if len(words) > 2 else "nosort"
        if at < len(lines) and lines[at] == "----":
            body = at = at + 1
            while at < len(lines) and lines[at]:
                at += 1
            record.expected = lines[body:at]
        records.append(record)
    return records


def write(path: Path, head: list[str], records: list[Record]) -> None:
    text = [f"# {line}".rstrip() for line in head] + [""]
    for record in records:
        text += [f"# {line}" for line in record.comment]
        if record.kind == "statement":
            text += [f"statement {'error' if record.error else 'ok'} {record.pattern}".rstrip(), record.sql, ""]
        else:
            text += [f"query {record.types} {record.sort}", record.sql, "----", *record.expected, ""]
    path.write_text("\n".join(text))


def canonical(value, kind: str) -> str:
    if value is None:
        return "NULL"
    if kind == "I":
        return str(int(value))
    if kind == "R":
        real = float(value)
        return "0" if real == 0 else f"{real:.12g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    text = str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\0", "\\0")
    return text if text else "(empty)"


def in_order(rows: list[list[str]], sort: str) -> list[list[str]]:
    """Rows as they are compared; valuesort makes each value a row."""
    if sort == "rowsort":
        return sorted(rows)
    if sort == "valuesort":
        return sorted([value] for row in rows for value in row)
    return rows


def hashed(rows: list[list[str]]) -> str:
    digest = hashlib.md5()
    for row in rows:
        for value in row:
            digest.update(value.encode() + b"\n")
    return f"{sum(len(row) for row in rows)} values hashing to {digest.hexdigest()}"


def expected_rows(lines: list[str], columns: int, sort: str) -> list[list[str]]:
    if sort == "valuesort":
        return [[value] for line in lines for value in line.split("\t")]
    rows = [line.split("\t") for line in lines]
    if all(len(row) == columns for row in rows):
        return rows
    return [lines[at : at + columns] for at in range(0, len(lines), columns)]


def same(expected: str, got: str, kind: str) -> bool:
    if expected == got:
        return True
    if kind != "R" or "NULL" in (expected, got):
        return False
    a, b = float(expected), float(got)
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return a == b
    return abs(a - b) <= max(REAL_ABSOLUTE, REAL_RELATIVE * max(abs(a), abs(b)))


def matches(record: Record, error: str) -> bool:
    return re.search(record.pattern, error, re.DOTALL) is not None


def by_exact_values(kinds: str):
    """A key to sort rows by so that equal ones meet: the text of a real differs with its last digits."""

    def key(row):
        exact = [value for value, kind in zip(row, kinds) if kind != "R"]
        reals = [value for value, kind in zip(row, kinds) if kind == "R"]
        return exact, [(value in ("NULL", "nan"), value if value in ("NULL", "nan") else float(value)) for value in reals]

    return key


def differences(record: Record, answer) -> list[str]:
    """What is wrong with an answer, as lines; none where it is right."""
    columns = len(answer.types)
    if columns != len(record.types):
        return [f"{columns} columns, {len(record.types)} expected"]
    try:
        rows = [[canonical(value, kind) for value, kind in zip(row, record.types)] for row in answer.rows]
    except (TypeError, ValueError) as problem:
        return [f"values of other types than {record.types}: {problem}"]
    rows = in_order(rows, record.sort)
    if len(record.expected) == 1 and re.fullmatch(r"\d+ values hashing to [0-9a-f]{32}", record.expected[0]):
        got = hashed(rows)
        return [] if got == record.expected[0] else [f"{got}, expected {record.expected[0]}; first row {rows[:1]}"]
    expected = expected_rows(record.expected, columns, record.sort)
    kinds = record.types if record.sort != "valuesort" else "R" if set(record.types) == {"R"} else "T"
    if record.sort == "rowsort":
        rows, expected = sorted(rows, key=by_exact_values(kinds)), sorted(expected, key=by_exact_values(kinds))
    wrong = []
    if len(rows) != len(expected):
        wrong.append(f"{len(rows)} rows, {len(expected)} expected")
    for number, (want, got) in enumerate(zip(expected, rows)):
        if not all(same(a, b, kind) for a, b, kind in zip(want, got, kinds)):
            wrong.append(f"row {number}: {' | '.join(got)}, expected {' | '.join(want)}")
    return wrong
