"""Times of whole suites: the engines take turns at every query, as often as asked; a cell is the median."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import answers
import prepare

REFERENCE = "duckdb"


class Worker:
    """An engine's process; started again when it has died."""

    def __init__(self, engine: str, folder: Path, threads: int):
        self.command = prepare.command(engine, folder, threads)
        self.process = None

    def ask(self, sql: str, keep: str) -> dict:
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self.process.stdout.readline()
        try:
            self.process.stdin.write(prepare.order(sql, keep))
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.process = None
        return {"error": f"died (exit status {status})"}

    def end(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


@dataclass
class Cell:
    seconds: list[float] = field(default_factory=list)
    error: str | None = None
    wrong: str | None = None  # how its result differs from the reference's

    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds and not self.error else None


def measure(suite: str, scale: str, engines: list[str], only: list[str], rounds: int, threads: int) -> dict:
    """{query: {engine: Cell}}. The first round of each warms the page cache and keeps the results to compare."""
    folder = prepare.tables(suite, scale)
    kept = prepare.WORK / "kept"
    kept.mkdir(exist_ok=True)
    workers = {engine: Worker(engine, folder, threads) for engine in engines}
    table = {}
    for name, sql in prepare.queries(suite).items():
        if only and name not in only:
            continue
        cells = table[name] = {engine: Cell() for engine in engines}
        for turn in range(rounds + 1):
            shift = turn % len(engines)
            for engine in engines[shift:] + engines[:shift]:
                cell = cells[engine]
                if cell.error:
                    continue
                answer = workers[engine].ask(sql, str(kept / f"{engine}.arrow") if turn == 0 else "-")
                if "error" in answer:
                    cell.error = answer["error"]
                elif turn > 0:
                    cell.seconds.append(answer["seconds"])
        for engine in engines:
            if engine != REFERENCE and not cells[engine].error and not cells[REFERENCE].error:
                files = (open(kept / f"{name}.arrow", "rb") for name in (REFERENCE, engine))
                cells[engine].wrong = answers.difference(*map(answers.rows_of, files))
        print(line_of(name, cells), file=sys.stderr, flush=True)
    for worker in workers.values():
        worker.end()
    return table


def line_of(name: str, cells: dict[str, Cell]) -> str:
    return f"  {name:6}" + "".join(f"{engine} {text_of(cell):>12}   " for engine, cell in cells.items())


def text_of(cell: Cell) -> str:
    if cell.error:
        return "error"
    return f"{cell.median():.3f}" + (" wrong" if cell.wrong else "")


def markdown(table: dict, title: str) -> str:
    engines = list(next(iter(table.values())))
    lines = [f"### {title}", "", f"| query | {' | '.join(engines)} |", "|---|" + "---:|" * len(engines)]
    for name, cells in table.items():
        lines.append(f"| {name} | " + " | ".join(text_of(cell) for cell in cells.values()) + " |")
    # Over the queries that all have finished.
    done = [cells for cells in table.values() if all(cell.median() is not None for cell in cells.values())]
    if done:
        totals = {engine: sum(cells[engine].median() for cells in done) for engine in engines}
        lines.append("| total | " + " | ".join(f"{totals[engine]:.2f}" for engine in engines) + " |")
        if REFERENCE in engines:
            base = totals[REFERENCE]
            lines.append(f"| total / {REFERENCE} | " + " | ".join(f"{totals[e] / base:.2f}" for e in engines) + " |")
            means = [statistics.geometric_mean([cells[e].median() / cells[REFERENCE].median() for cells in done]) for e in engines]
            lines.append(f"| geometric mean / {REFERENCE} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
        if len(done) != len(table):
            lines.append(f"\nTotals and means are over the {len(done)} queries that every engine finished.")
    causes = [
        f"- {name}, {engine}: " + (cell.error or f"wrong result: {cell.wrong}")
        for name, cells in table.items()
        for engine, cell in cells.items()
        if cell.error or cell.wrong
    ]
    return "\n".join(lines + ([""] + causes if causes else []))


def records(table: dict, suite: str, scale: str):
    """Rows for the CSV file."""
    for name, cells in table.items():
        for engine, cell in cells.items():
            for seconds in cell.seconds or [None]:
                yield [suite, scale, name, engine, seconds, cell.error or "", cell.wrong or ""]
