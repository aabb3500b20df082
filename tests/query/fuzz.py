"""Random statements on random tables, neap's answers beside DuckDB's: fuzz.py --program query_answer [--seconds N]

Each seed makes three tables and some statements, which run in several modes: as they are, on one thread, with every
operator spilling at every chance, and within a bound that is drawn from 64 KiB to 16 MiB. What differs is made smaller
and printed with the call that runs it again: fuzz.py --program ... --seed SEED --sql STATEMENT. Exit status: 0 all
agree, 1 some do not, 2 wrong call.
"""

import argparse
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import engines
import fuzz_statements
import fuzz_tables
import slt

STATEMENTS = 24  # a seed: one start of the planner serves them all
MOST_ROWS = 4000  # that are compared one by one; of more there are sums
DUCKDB_SECONDS = 3.0  # a statement that takes longer is left out
SMALLER_SECONDS = 40.0  # a statement is made smaller
# What neap's planner says that it cannot do; DuckDB can.
REFUSED = re.compile(r"not planned|not (yet )?(implemented|supported)|write NOT EXISTS|This feature is not|same grouping set|Cannot run range queries|duplicate unqualified field")


def modes_of(dice: random.Random) -> dict[str, str]:
    bound = 1 << dice.randrange(16, 25)
    threads = dice.randrange(2, 5)
    return {
        "as it is": "3,0,0",
        "one thread": "1,0,0",
        "forced spill": f"{dice.randrange(1, 4)},0,1",
        f"{bound >> 10} KiB on {threads} threads": f"{threads},{bound},0",
    }


class DuckDB(engines.DuckDB):
    def __init__(self, tables: dict[str, Path], threads: int):
        super().__init__(tables, threads)
        # Its reader of Parquet takes statistics for bounds of NaN too, and leaves out comparisons that NaN fails.
        for name, path in tables.items():
            self.connection.execute(f"DROP VIEW {name}; CREATE TABLE {name} AS SELECT * FROM read_parquet('{path}')")

    def answer_soon(self, sql: str):
        timer = threading.Timer(DUCKDB_SECONDS, self.connection.interrupt)
        timer.start()
        try:
            return self.answer(sql)
        finally:
            timer.cancel()


def summary(tree, columns):
    """One row that tells of all rows of a statement."""
    items = ["count(*)"]
    for column in columns:
        items.append(f"count({column.name})")
        if column.exact:
            items += [f"count(DISTINCT {column.name})"]
        if column.exact and column.kind not in "bzf":
            items += [f"min({column.name})", f"max({column.name})"]
        if column.kind in "imf":
            items.append(f"sum({column.name})")
    return ["SELECT ", fuzz_statements.Several(", ", items), " FROM (", tree, ") whole"]


def kind_of(column) -> str:
    return "R" if column == "float" or column == "double" else "T"


def record_of(sql: str, answer: engines.Answer) -> slt.Record:
    types = "".join(kind_of(str(column)) for column in answer.types)
    sort = "nosort" if is_ordered(sql, len(types)) else "rowsort"
    record = slt.Record(0, "query", sql, types=types, sort=sort)
    rows = [[slt.canonical(value, kind) for value, kind in zip(row, types)] for row in answer.rows]
    record.expected = ["\t".join(row) for row in rows]
    return record


def is_ordered(sql: str, columns: int) -> bool:
    """Whether the statement's rows come in one order alone: by all of its columns."""
    _, found, order = sql.rpartition(" ORDER BY ")
    return bool(found) and ")" not in order and order.count(" NULLS ") == columns


class Case:
    """The tables of one seed, and what both engines say of statements on them."""

    def __init__(self, program: Path, seed: int, folder: Path):
        self.dice = random.Random(seed)
        self.tables = fuzz_tables.make(self.dice, folder)
        self.modes = modes_of(self.dice)
        paths = {table.name: table.path for table in self.tables}
        self.duckdb = DuckDB(paths, 2)
        self.neap = engines.Neap(program, paths, list(self.modes.values()))

    def expected(self, sql: str) -> slt.Record | None:
        try:
            return record_of(sql, self.duckdb.answer_soon(sql))
        except engines.QueryError as problem:
            self.why = str(problem)
            return None

    def wrong(self, records: list[slt.Record]):
        """For each, by mode, what is not as expected; None where neap refuses the statement."""
        for record, by_mode in zip(records, self.neap.answer_all([(record.sql, True) for record in records])):
            problems = {}
            for mode, given in zip(self.modes, by_mode):
                if not isinstance(given, engines.QueryError):
                    if lines := slt.differences(record, given[0]):
                        problems[mode] = lines
                elif REFUSED.search(str(given)):
                    yield str(given)
                    break
                else:
                    problems[mode] = [f"error: {given}"]
            else:
                yield problems


def symptom(problems: dict[str, list[str]]) -> str:
    """What must stay as it is while a statement is made smaller."""
    first = next(iter(problems.values()))[0]
    return re.sub(r"\d+", "", first)[:40] if first.startswith("error") else "rows"


def smaller(case: Case, tree, problems: dict[str, list[str]]):
    """A smallest statement that goes wrong in the same way, and how."""
    wanted, end = symptom(problems), time.monotonic() + SMALLER_SECONDS
    while time.monotonic() < end:
        candidates = []
        for less in fuzz_statements.shorter(tree):
            if record := case.expected(fuzz_statements.text(less)):
                candidates.append((less, record))
            if len(candidates) == 16 or time.monotonic() > end:
                break
        for (less, _), found in zip(candidates, case.wrong([record for _, record in candidates])):
            if isinstance(found, dict) and found and symptom(found) == wanted:
                tree, problems = less, found
                break
        else:
            break
    return tree, problems


def report(seed: int, sql: str, problems: dict[str, list[str]]) -> None:
    print(f"seed {seed}: not as expected\n    {sql}")
    for mode, lines in problems.items():
        for line in lines[:3]:
            print(f"  {mode}: {line[:600]}")
    print(f"  again: {Path(__file__).name} --program ... --seed {seed} --sql \"{sql}\"", flush=True)


def run_seed(program: Path, seed: int, counts: Counter) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = Case(program, seed, Path(folder))
        statements = fuzz_statements.Statements(case.dice, case.tables)
        trees, records = [], []
        for _ in range(STATEMENTS):
            tree, columns = statements.statement()
            if case.dice.random() < 0.4:
                tree = summary(tree, columns)
            record = case.expected(fuzz_statements.text(tree))
            if record is not None and len(record.expected) > MOST_ROWS:
                tree = summary(tree, columns)
                record = case.expected(fuzz_statements.text(tree))
            if record is None:
                counts["left out: " + case.why[:100].split("\n")[0]] += 1
                continue
            trees.append(tree)
            records.append(record)
        for tree, record, problems in zip(trees, records, case.wrong(records)):
            if isinstance(problems, str):
                counts["refused: " + problems[:90]] += 1
            elif problems:
                counts["wrong"] += 1
                small, how = smaller(case, tree, problems)
                report(seed, fuzz_statements.text(small), how)
            else:
                counts["agree"] += 1


def run_one(program: Path, seed: int, sql: str, counts: Counter) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = Case(program, seed, Path(folder))
        record = case.expected(sql)
        if record is None:
            raise SystemExit(case.why)
        (problems,) = case.wrong([record])
        counts["wrong" if problems else "agree"] += 1
        if problems:
            report(seed, sql, problems if isinstance(problems, dict) else {"refused": [problems]})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--program", type=Path, required=True, help="query_answer, as it was built")
    long = 900 if "NEAP_TEST_ALL" in os.environ else 20
    parser.add_argument("--seconds", type=float, default=long, help=f"how long ({long})")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--first", type=int, default=1, help="the first of many seeds (1)")
    parser.add_argument("--sql", help="with --seed: this statement alone")
    options = parser.parse_args()
    counts = Counter()
    if options.sql:
        run_one(options.program, options.seed, options.sql, counts)
    elif options.seed is not None:
        run_seed(options.program, options.seed, counts)
    else:
        end, seed = time.monotonic() + options.seconds, options.first
        while time.monotonic() < end:
            run_seed(options.program, seed, counts)
            seed += 1
    for what, count in counts.most_common():
        print(f"{count:6} {what}")
    return 1 if counts["wrong"] or not counts["agree"] else 0


if __name__ == "__main__":
    sys.exit(main())
