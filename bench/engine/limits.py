"""Who finishes in how much memory: each query of each engine in a container of its own with a hard limit, nothing tuned.

A container is a memory cgroup without swap. A run starts with the engine's process: import, opening of the tables, the
query, its result written to a pipe batch by batch and compared, outside, with DuckDB's in ample memory. It is finished, an
error of the engine's, killed by the kernel (137), or out of time. Times are of the query, from its text to the last of its
rows; a slowdown is against the same engine's time in a container with ample memory.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import answers
import prepare
import speed

sys.path.insert(0, str(prepare.ROOT / "tools/demo.d"))
from container import Container, NoCgroup  # noqa: E402, F401

MIB = 1 << 20
AMPLE = 16384  # MiB
SAMPLE_S = 0.01
POOL_SHARE = 0.7  # of the limit, as DataFusion's users set it


@dataclass
class Outcome:
    ended: str  # finished, error, killed, time
    seconds: float
    peak: int  # resident anonymous bytes of the container
    rows: int | None = None
    error: str = ""
    wrong: str | None = None  # how its result differs from the reference's

    def is_right(self) -> bool:
        return self.ended == "finished" and not self.wrong

    def slowdown(self, ample: "Outcome") -> float | None:
        return self.seconds / ample.seconds if self.is_right() and ample.is_right() else None

    def text(self, ample: "Outcome | None" = None) -> str:
        if self.ended != "finished":
            return {"killed": "killed", "error": "error", "time": "no end"}[self.ended]
        slowdown = ample and self.slowdown(ample)
        times = f" ({slowdown:.1f})" if slowdown else ""
        return f"{self.seconds:.2f} s{times}, {self.peak / MIB:.0f}" + (" wrong" if self.wrong else "")


class Result:
    """Takes a query's result through a pipe while it comes: its rows, or a digest where they are too many."""

    def __init__(self, name: str):
        self.name, self.path, self.taken = name, prepare.WORK / "result.pipe", None
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path)
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self) -> None:
        with open(self.path, "rb") as stream:
            try:
                if self.name in prepare.HARD:
                    self.taken = answers.digest(stream, ordered=self.name == "order")
                else:
                    self.taken = answers.rows_of(stream)
            except Exception:  # the engine has died: nobody asks then
                pass

    def end(self):
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))  # for one that nobody wrote to
        except OSError:
            pass
        self.thread.join()
        return self.taken

    def difference(self, reference) -> str | None:
        if self.name in prepare.HARD:
            return None if self.taken == reference else f"{self.taken}, not {reference}"
        return answers.difference(reference, self.taken)


def reference(name: str, sql: str, folder: Path, threads: int):
    result, worker = Result(name), speed.Worker(speed.REFERENCE, folder, threads)
    worker.ask(sql, str(result.path))
    worker.end()
    return result.end()


def command_of(engine: str, folder: Path, limit: int, threads: int) -> list[str]:
    """`datafusion+pool` is DataFusion with the pool that makes it spill, which it has not without being told."""
    name, _, pool = engine.partition("+")
    return prepare.command(name, folder, threads, [f"pool={int(limit * POOL_SHARE)}"] if pool else [])


def run(engine: str, sql: str, result: Result, folder: Path, limit: int, threads: int, patience: float) -> Outcome:
    start = time.monotonic()
    peak, text = 0, b""
    with Container(f"{engine.replace('+', '-')}", limit) as container:
        child = container.start(command_of(engine, folder, limit, threads), None, subprocess.DEVNULL)
        child.stdin.write(prepare.order(sql, str(result.path)))
        child.stdin.flush()
        while text.count(b"\n") < 2 and child.poll() is None and time.monotonic() - start < patience:
            peak = max(peak, container.anon())
            if select.select([child.stdout], [], [], SAMPLE_S)[0]:
                piece = child.stdout.read1(65536)
                if not piece:
                    child.wait()
                text += piece
        seconds = time.monotonic() - start
        killed = container.oom_kills() > 0
    if killed:
        return Outcome("killed", seconds, peak)
    answers = [json.loads(line) for line in text.splitlines()]
    if len(answers) < 2:
        if child.returncode in (None, -9):
            return Outcome("time", seconds, peak)
        return Outcome("error", seconds, peak, error=f"exit status {child.returncode}")
    if "error" in answers[1]:
        return Outcome("error", seconds, peak, error=answers[1]["error"])
    return Outcome("finished", answers[1]["seconds"], peak, answers[1]["rows"])


def together(rounds: list[Outcome]) -> Outcome:
    """The first that did not finish or was wrong, else the median time and the highest peak."""
    for outcome in rounds:
        if not outcome.is_right():
            return outcome
    seconds = statistics.median(outcome.seconds for outcome in rounds)
    return Outcome("finished", seconds, max(outcome.peak for outcome in rounds), rounds[0].rows)


def measure(
    scale: str, engines: list[str], only: list[str], limits: list[int], rounds: int, threads: int, patience: float
) -> dict:
    """{(query, limit in MiB): {engine: Outcome}}, ample memory first. The engines take turns until they fail."""
    folder = prepare.tables("tpch", scale)
    table = {}
    for name, sql in (prepare.queries("tpch") | prepare.HARD).items():
        if only and name not in only:
            continue
        expected = reference(name, sql, folder, threads)
        for limit in [AMPLE, *limits]:
            outcomes = {engine: [] for engine in engines}
            for turn in range(rounds):
                shift = turn % len(engines)
                for engine in engines[shift:] + engines[:shift]:
                    if any(not outcome.is_right() for outcome in outcomes[engine]):
                        continue
                    result = Result(name)
                    outcome = run(engine, sql, result, folder, limit * MIB, threads, patience)
                    result.end()
                    if outcome.ended == "finished":
                        outcome.wrong = result.difference(expected)
                    outcomes[engine].append(outcome)
            row = table[name, limit] = {engine: together(of) for engine, of in outcomes.items()}
            ample = table[name, AMPLE]
            cells = "   ".join(f"{engine} {outcome.text(ample[engine])}" for engine, outcome in row.items())
            print(f"  {name:6} {limit:5} MiB   {cells}", file=sys.stderr, flush=True)
    return table


def markdown(table: dict, title: str) -> str:
    engines = list(next(iter(table.values())))
    lines = [f"### {title}", ""]
    lines += ["Time, slowdown against ample memory, and peak of resident anonymous memory in MiB; or how it ended.", ""]
    lines += [f"| query | limit | {' | '.join(engines)} |", "|---|---:|" + "---|" * len(engines)]
    for (name, limit), row in table.items():
        ample = {} if limit == AMPLE else table[name, AMPLE]
        cells = [row[engine].text(ample.get(engine)) for engine in engines]
        lines.append(f"| {name} | {label(limit)} | " + " | ".join(cells) + " |")
    for limit in dict.fromkeys(limit for _, limit in table):
        rows = {name: row for (name, of), row in table.items() if of == limit}
        counts = [sum(row[engine].is_right() for row in rows.values()) for engine in engines]
        lines.append(f"| finished of {len(rows)} | {label(limit)} | " + " | ".join(map(str, counts)) + " |")
        if limit != AMPLE:
            means = [mean_slowdown([(row[e], table[name, AMPLE][e]) for name, row in rows.items()]) for e in engines]
            lines.append(f"| slowdown of these, geometric mean | {label(limit)} | " + " | ".join(means) + " |")
    causes = [
        f"- {name}, {limit} MiB, {engine}: {outcome.error or 'wrong: ' + outcome.wrong}"
        for (name, limit), row in table.items()
        for engine, outcome in row.items()
        if outcome.error or outcome.wrong
    ]
    return "\n".join(lines + ([""] + causes if causes else []))


def label(limit: int) -> str:
    return "ample" if limit == AMPLE else str(limit)


def mean_slowdown(pairs: list[tuple[Outcome, Outcome]]) -> str:
    slowdowns = [slowdown for outcome, ample in pairs if (slowdown := outcome.slowdown(ample))]
    return f"{statistics.geometric_mean(slowdowns):.2f}" if slowdowns else ""


def records(table: dict, scale: str):
    """Rows for the CSV file."""
    for (name, limit), row in table.items():
        for engine, outcome in row.items():
            yield [scale, name, limit, engine, outcome.ended, outcome.seconds, outcome.peak, outcome.rows, outcome.error, outcome.wrong]
