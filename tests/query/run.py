"""Runs sqllogictest files on an engine: run.py [OPTION...] FILE...; prints what differs, and how many records were right.

Exit status: 0 all right, 1 some are not, 2 wrong call.
"""

import argparse
import sys
import time
from pathlib import Path

import engines
import slt
import tables


def run_record(engine, record: slt.Record) -> list[str]:
    try:
        answer = engine.answer(record.sql)
    except engines.QueryError as problem:
        if record.error:
            return [] if slt.matches(record, str(problem)) else [f"another error: {problem}"]
        return [f"error: {problem}"]
    if record.error:
        return [f"an answer of {len(answer.rows)} rows, and an error is expected"]
    return slt.differences(record, answer) if record.kind == "query" else []


def run_file(engine, path: Path, verbose: bool) -> tuple[int, int]:
    """How many records were right, and how many there are."""
    records = slt.read(path)
    right = 0
    for record in records:
        start = time.monotonic()
        wrong = run_record(engine, record)
        if verbose:
            print(f"{path}:{record.line}: {time.monotonic() - start:.3f} s")
        right += not wrong
        if wrong:
            print(f"{path}:{record.line}: not as expected\n    " + record.sql.replace("\n", "\n    "))
            for line in wrong[:10]:
                print(f"  {line}")
            if len(wrong) > 10:
                print(f"  and {len(wrong) - 10} more")
    return right, len(records)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that tests/query/prepare has filled")
    parser.add_argument("--engine", choices=engines.ENGINES, default="neap")
    parser.add_argument("--neap", type=Path, help="folder with what was built")
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--memory", help="neap: the query's bound, such as 64M")
    parser.add_argument("--force-spill", action="store_true", help="neap: every operator spills at every chance")
    parser.add_argument("--verbose", action="store_true", help="the time of every record")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()

    right = total = 0
    kinds: dict[str, list[Path]] = {}
    for path in options.files:
        kinds.setdefault(path.resolve().parent.name, []).append(path)
    for kind, paths in kinds.items():
        with engines.ENGINES[options.engine](tables.of(options.data, kind), options) as engine:
            for path in paths:
                now_right, now_total = run_file(engine, path, options.verbose)
                right, total = right + now_right, total + now_total
    print(f"{right} of {total} records as expected")
    return 0 if right == total else 1


if __name__ == "__main__":
    sys.exit(main())
