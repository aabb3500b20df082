"""The tables of the query tests: tables.py FOLDER makes the small ones as Parquet. Every value comes from a generator of
fixed seed, so that the expected results hold wherever the tables are made."""

import datetime
import decimal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet


class Dice:
    """Numerical Recipes' linear congruential generator: the same numbers in every version of Python."""

    def __init__(self, seed: int):
        self.state = seed

    def below(self, bound: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % bound

    def maybe(self, value, one_in: int = 10):
        """The value, or sometimes NULL."""
        return None if self.below(one_in) == 0 else value

    def pick(self, values):
        return values[self.below(len(values))]


def fixed(units: int, scale: int = 2) -> decimal.Decimal:
    return decimal.Decimal(units).scaleb(-scale, decimal.Context(prec=60))


def numbers():
    dice = Dice(1)
    edges = {
        0: (0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, False),
        1: (127, 32767, 2147483647, 9223372036854775807, 1.5, 1e300, 999999999, 10**18 - 1, 10**38 - 1, True),
        2: (-128, -32768, -2147483648, -9223372036854775808, -1.5, -1e300, -999999999, 1 - 10**18, 1 - 10**38, False),
        3: (None,) * 10,
        4: (1, 1, 1, 1, 0.25, 0.1, 1, 1, 1, True),
        5: (-1, -1, -1, -1, -0.25, -0.1, -1, -1, -1, False),
    }
    rows = []
    for i in range(500):
        if i in edges:
            row = edges[i]
        else:
            row = (
                dice.maybe(dice.below(200) - 100),
                dice.maybe(dice.below(2000) - 1000),
                dice.maybe(dice.below(100000) - 50000),
                dice.maybe(dice.below(2**31) * dice.below(1000) - 10**9),
                dice.maybe((dice.below(4000) - 2000) / 8),
                dice.maybe((dice.below(2000000) - 1000000) / 64),
                dice.maybe(dice.below(2 * 10**6) - 10**6),
                dice.maybe(dice.below(2**31) * 1000 - 10**12),
                dice.maybe(dice.below(2**31) * 10**12 - 10**20),
                dice.maybe(dice.below(2) == 1),
            )
        i8, i16, i32, i64, f32, f64, d9, d18, d38, b = row
        rows.append(
            {
                "id": i,
                "i8": i8,
                "i16": i16,
                "i32": i32,
                "i64": i64,
                "f32": f32,
                "f64": f64,
                "d9": None if d9 is None else fixed(d9, 2),
                "d18": None if d18 is None else fixed(d18, 4),
                "d38": None if d38 is None else fixed(d38, 6),
                "b": b,
            }
        )
    schema = {
        "id": pa.int32(),
        "i8": pa.int8(),
        "i16": pa.int16(),
        "i32": pa.int32(),
        "i64": pa.int64(),
        "f32": pa.float32(),
        "f64": pa.float64(),
        "d9": pa.decimal128(9, 2),
        "d18": pa.decimal128(18, 4),
        "d38": pa.decimal128(38, 6),
        "b": pa.bool_(),
    }
    return rows, schema


WORDS = (
    "ebb flood slack spring neap tide moon sun shore reef sand shell kelp gull tern cod herring anchor keel mast sail "
    "rope knot harbour lighthouse pier quay breakwater current undertow"
).split()


def texts():
    dice = Dice(2)
    special = ["", " ", "a", "A", "twelve bytes", "thirteen byte", "  padded  ", "100%", "under_score", "naïve café"]
    special += ["日本語", "🌊 wave", "a\tb", "O'Brien", "x" * 300, "back\\slash"]
    rows = []
    for i in range(400):
        if i < len(special):
            s = special[i]
        else:
            s = dice.maybe(" ".join(dice.pick(WORDS) for _ in range(1 + dice.below(4))), 12)
        rows.append({"id": i, "s": s, "word": dice.maybe(dice.pick(WORDS), 15), "n": dice.below(8)})
    return rows, {"id": pa.int32(), "s": pa.string(), "word": pa.string(), "n": pa.int32()}


def days():
    dice = Dice(3)
    epoch = datetime.date(1970, 1, 1)
    special = ["1970-01-01", "1969-12-31", "2000-02-29", "1999-12-31", "2024-02-29", "1900-03-01", "2100-12-31"]
    rows = []
    for i in range(300):
        if i < len(special):
            d = datetime.date.fromisoformat(special[i])
        else:
            d = dice.maybe(epoch + datetime.timedelta(days=dice.below(20000) - 3000), 12)
        since = datetime.timedelta(seconds=dice.below(10**9), microseconds=dice.below(10**6) * (i % 2))
        ts = dice.maybe(datetime.datetime(1995, 1, 1) + since, 12)
        rows.append({"id": i, "d": d, "ts": ts, "n": dice.below(40) - 20})
    return rows, {"id": pa.int32(), "d": pa.date32(), "ts": pa.timestamp("us"), "n": pa.int32()}


def left_few():
    values = [(1, 10, "one"), (2, 20, "two"), (2, 21, "two again"), (3, None, "three"), (None, 40, "no key")]
    values += [(5, 50, None), (None, None, None), (7, 70, "seven")]
    return [dict(zip(("k", "v", "t"), row)) for row in values], {"k": pa.int32(), "v": pa.int64(), "t": pa.string()}


def right_few():
    values = [(2, 200, "two"), (2, 201, "TWO"), (3, 300, None), (None, 400, "no key"), (7, None, "seven")]
    values += [(8, 800, "eight"), (None, None, None)]
    return [dict(zip(("k", "w", "u"), row)) for row in values], {"k": pa.int32(), "w": pa.int64(), "u": pa.string()}


def few():
    return [{"k": k} for k in (1, 2, 3, 4)], {"k": pa.int32()}


def nothing():
    return [], {"k": pa.int32(), "v": pa.int64(), "t": pa.string(), "d": pa.decimal128(15, 2)}


def single():
    return [{"x": 42, "y": "the only row", "z": None}], {"x": pa.int32(), "y": pa.string(), "z": pa.float64()}


def floats():
    values = [0.0, -0.0, 1.5, -1.5, float("nan"), float("nan"), float("inf"), float("-inf"), None, 1e-300]
    rows = [{"id": i, "x": x, "y": x} for i, x in enumerate(values)]
    return rows, {"id": pa.int32(), "x": pa.float64(), "y": pa.float32()}


def events():
    """Large enough that every operator has several batches on several threads, and something to spill."""
    dice = Dice(4)
    kinds = ["open", "close", "read", "write", "a kind with quite a long name, which does not lie in place"]
    rows = []
    for i in range(30000):
        rows.append(
            {
                "id": i,
                "grp": dice.maybe(dice.below(5000), 50),
                "kind": dice.maybe(dice.pick(kinds), 30),
                "day": datetime.date(2020, 1, 1) + datetime.timedelta(days=dice.below(400)),
                "amount": dice.maybe(fixed(dice.below(2000000) - 500000), 20),
                "qty": dice.maybe(dice.below(1000), 20),
                "note": f"note {dice.below(20000)} of event number {i}",
            }
        )
    schema = {
        "id": pa.int64(),
        "grp": pa.int32(),
        "kind": pa.string(),
        "day": pa.date32(),
        "amount": pa.decimal128(12, 2),
        "qty": pa.int32(),
        "note": pa.string(),
    }
    return rows, schema


def groups():
    """Joins events.grp: each key 0 to 6000 once, but key 17 fifty times and NULL twice."""
    dice = Dice(5)
    rows = [{"grp": g, "name": f"group number {g}", "size": dice.maybe(dice.below(100))} for g in range(0, 6001)]
    rows += [{"grp": 17, "name": f"seventeen, copy {i}", "size": i} for i in range(49)]
    rows += [{"grp": None, "name": "no group", "size": 1}, {"grp": None, "name": None, "size": None}]
    return rows, {"grp": pa.int32(), "name": pa.string(), "size": pa.int32()}


TABLES = {
    "numbers": (numbers, 100),
    "texts": (texts, 100),
    "days": (days, 100),
    "left_few": (left_few, 3),
    "right_few": (right_few, 100),
    "few": (few, 100),
    "nothing": (nothing, 100),
    "single": (single, 100),
    "floats": (floats, 4),
    "events": (events, 4000),
    "groups": (groups, 2000),
}


def of(data: Path, kind: str) -> dict[str, Path]:
    """Where the tables are that tests of this kind (topics, tpch, tpcds) read, by name."""
    return {path.stem: path for path in sorted((data / kind).glob("*.parquet"))}


def main(folder: Path) -> None:
    for name, (make, row_group) in TABLES.items():
        rows, types = make()
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(types.items())))
        parquet.write_table(table, folder / f"{name}.parquet", row_group_size=row_group, store_schema=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
