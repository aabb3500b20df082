"""Random tables for fuzz.py: every type, NULLs, NaN, keys that repeat and one that is half of all rows, empty tables; as
Parquet in row groups, pages, codecs and encodings that are drawn as well."""

import random
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as parquet

# The columns of every table: name, kind (see fuzz_statements.py) and SQL of `v`, a random number below the domain.
COLUMNS = {
    "id": ("i", "i"),
    "k": ("i", "v::INT"),
    "ks": ("s", "'key ' || CASE WHEN v % 3 = 0 THEN 'of more than twelve bytes ' ELSE '' END || v"),
    "kd": ("m", "CAST(v * 7 AS DECIMAL(12, 2))"),
    "i8": ("i", "(v % 256 - 128)::TINYINT"),
    "i16": ("i", "(v * 37 % 65536 - 32768)::SMALLINT"),
    "i32": ("i", "(v * 7919 % 2000000 - 1000000)::INT"),
    "i64": ("i", "v * 1000003 % 10000000000"),
    "x64": ("x", "CASE v % 5 WHEN 0 THEN 9223372036854775807 WHEN 1 THEN -9223372036854775808 ELSE v * 1000003 END"),
    "f32": ("f", "CASE WHEN v % 23 = 0 THEN {nan} ELSE (v % 64000 - 32000) / 8 END::FLOAT"),
    "f64": ("f", "CASE WHEN v % 19 = 0 THEN {nan} ELSE (v % 640000 - 320000) / 8 END::DOUBLE"),
    "d9": ("m", "CAST((v * 13 % 2000000 - 1000000) / 100 AS DECIMAL(9, 2))"),
    "d18": ("m", "CAST((v * 1009 % 10000000000) || '.' || (v % 10000) AS DECIMAL(18, 4))"),
    "d38": ("m", "CAST(v AS DECIMAL(38, 6)) * 1000000007"),
    "b": ("b", "v % 2 = 0"),
    "d": ("d", "DATE '1990-01-01' + (v % 15000)::INT"),
    "ts": ("t", "TIMESTAMP '1960-01-01' + to_microseconds(v * 77777777)"),
    "s": ("s", "CASE v % 17 WHEN 0 THEN '' WHEN 1 THEN 'naïve ☂ ' || v ELSE repeat(chr(97 + (v % 26)::INT), (v % 40)::INT)"
               " || ' a text ' || v END"),
    "c": ("s", "['one', 'two', 'three', 'a value with a rather long name', '']["
               "1 + (v % 5)::INT]"),
    "z": ("z", "encode(chr((v % 128)::INT) || v)"),
}
KEYS = ("k", "ks", "kd", "id")  # what is joined on: it repeats little, so that results stay small


@dataclass
class Table:
    name: str
    rows: int
    path: Path


def expression(dice: random.Random, name: str, sql: str, rows: int, skewed: bool) -> str:
    if name == "id":
        return "i"
    salt = dice.randrange(1 << 30)
    domain = max(1, dice.choice([rows // 2, rows, rows * 2]) if name in KEYS else dice.choice([1, 5, 300, rows, 10**9]))
    value = f"(hash(i * 31 + {salt}) % {domain})::BIGINT"
    if skewed and (name not in KEYS or name == "k"):
        value = f"CASE WHEN hash(i + {salt}) % 2 = 0 THEN 0 ELSE {value} END"
    nulls = dice.choice([0, 0, 50, 10, 2, 1])
    if nulls == 1 and name in KEYS:
        nulls = 10
    nan = dice.choice(["0.5", "'nan'::DOUBLE"])
    filled = f"(SELECT {sql.format(nan=nan)} FROM (SELECT {value} AS v))"
    return f"CASE WHEN hash(i * 17 + {salt}) % {nulls} = 0 THEN NULL ELSE {filled} END" if nulls else filled


def write(dice: random.Random, table, path: Path) -> None:
    rows = max(1, table.num_rows)
    plain = dice.random() < 0.3
    parquet.write_table(
        table,
        path,
        row_group_size=max(1, dice.choice([rows, rows // 3 + 1, rows // 20 + 1])),
        use_dictionary=not plain,
        compression=dice.choice(["none", "snappy", "snappy", "zstd", "gzip", "lz4", "brotli"]),
        data_page_version=dice.choice(["1.0", "2.0"]),
        data_page_size=dice.choice([1 << 10, 1 << 14, 1 << 20]),
        write_page_index=dice.random() < 0.5,
        write_statistics=dice.random() < 0.8,
        store_schema=False,
        store_decimal_as_integer=dice.random() < 0.3,
        column_encoding={"i32": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "f64": "BYTE_STREAM_SPLIT"}
        if plain and dice.random() < 0.5
        else None,
    )


def make(dice: random.Random, folder: Path, sizes=(0, 1, 60, 2000, 2000, 9000, 30000)) -> list[Table]:
    tables = []
    connection = duckdb.connect(config={"threads": 1})
    for number in range(3):
        rows = dice.choice(sizes)
        # One of the three alone, or a join of two has too many rows.
        columns = [
            f"{expression(dice, name, sql, rows, number == 0)} AS {name}" for name, (_, sql) in COLUMNS.items()
        ]
        table = connection.sql(f"SELECT {', '.join(columns)} FROM range({rows}) AS r(i)").to_arrow_table()
        path = folder / f"t{number}.parquet"
        write(dice, table, path)
        tables.append(Table(f"t{number}", rows, path))
    connection.close()
    return tables
