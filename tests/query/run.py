"""Runs sqllogictest files on neap, each record in every mode: run.py --data FOLDER --program query_answer FILE...

The modes: as it is, on several threads; on one; with every operator spilling at every chance; and with 64 MiB. Prints what
differs and how many records were right. Exit status: 0 all right, 1 some are not, 2 wrong call.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import engines
import slt
import tables

BOUND = 64 << 20
THREADS = 3
MODES = {  # see answer.cc
    "as it is": f"{THREADS},0,0",
    "one thread": "1,0,0",
    "forced spill": f"{THREADS},0,1",
    "64 MiB": f"{THREADS},{BOUND},0",
}
# What must have gone to disk where every operator spills at every chance, or the mode tests nothing.
SPILLS = re.compile(r"\bGROUP BY\b|\bORDER BY\b|\bJOIN\b", re.IGNORECASE)


@dataclass
class Count:
    right: int = 0
    total: int = 0
    spilled: int = 0
    peak: int = 0


def problems_of(record: slt.Record, given) -> list[str]:
    if isinstance(given, engines.QueryError):
        if not record.error or "the program died" in str(given):
            return [f"error: {given}"]
        return [] if slt.matches(record, str(given)) else [f"another error: {given}"]
    answer, _ = given
    if record.error:
        return [f"an answer of {len(answer.rows)} rows, and an error is expected"]
    return slt.differences(record, answer) if record.kind == "query" else []


def report(path: Path, record: slt.Record, wrong: dict[str, list[str]]) -> None:
    print(f"{path}:{record.line}: not as expected\n    " + record.sql.replace("\n", "\n    "))
    if len(wrong) == len(MODES) and len(set(map(tuple, wrong.values()))) == 1:
        wrong = {"in every mode": next(iter(wrong.values()))}
    for mode, lines in wrong.items():
        for line in lines[:5]:
            print(f"  {mode}: {line}")
        if len(lines) > 5:
            print(f"  {mode}: and {len(lines) - 5} more")


def run_files(program: Path, data: Path, paths: list[Path], counts: dict[str, Count]) -> None:
    """Files of one folder, whose statements are planned together."""
    engine = engines.Neap(program, tables.of(data, paths[0].resolve().parent.name), list(MODES.values()))
    records = [(path, record) for path in paths for record in slt.read(path)]
    answers = engine.answer_all([(record.sql, not record.error) for _, record in records])
    for (path, record), by_mode in zip(records, answers):
        wrong = {}
        for mode, given in zip(MODES, by_mode):
            count = counts[mode]
            count.total += 1
            if problems := problems_of(record, given):
                wrong[mode] = problems
            else:
                count.right += 1
            if not isinstance(given, engines.QueryError):
                count.spilled += given[1].spilled
                count.peak = max(count.peak, given[1].peak)
        if wrong:
            report(path, record, wrong)
    if counts["forced spill"].spilled == 0 and any(SPILLS.search(record.sql) for _, record in records if not record.error):
        print("nothing was spilled where every operator should")
        counts["forced spill"].right -= 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that tests/query/prepare has filled")
    parser.add_argument("--program", type=Path, required=True, help="query_answer, as it was built")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="of one folder")
    options = parser.parse_args()
    counts = {mode: Count() for mode in MODES}
    run_files(options.program, options.data, options.files, counts)
    for mode, count in counts.items():
        figures = f"{count.spilled / 2**20:.1f} MiB spilled, peak {count.peak / 2**20:.1f} MiB"
        print(f"{mode}: {count.right} of {count.total} records as expected; {figures}")
    return 0 if all(count.right == count.total for count in counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
