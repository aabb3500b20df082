"""One run: a scenario on one allocator, in a container of its own, watched until it ends. demo.py calls measure."""

import json
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from container import Container
from scenario import SPARK_OPTIONS, Scenario

SAMPLE_S = 0.02
IDLE_S = 10.0  # jemalloc's default decay is 10 s: it is given its time before idle memory is read
FINISHED, KILLED, WRONG, FAILED = "finished", "killed 137", "wrong result", "failed"


class Ended(Exception):
    """The run is over before its work is; the text says how."""


class Interrupted(Exception):
    """The person wants no more of it."""


@dataclass(frozen=True)
class Site:
    """Where everything is. `interrupted` tells whether a signal has asked for the end."""

    python: Path
    worker: Path
    data: Path
    logs: Path
    neap: Path | None  # the command, where neap is among the allocators
    neap_sql: Path | None  # and the engine's
    comet: Path | None
    java_home: Path
    interrupted: Callable[[], bool]


@dataclass
class Result:
    """Bytes and seconds; None where the run did not come that far or nobody can tell."""

    scenario: str
    allocator: str
    limit: int
    planned: int
    log: str
    ended: str = FINISHED
    wall_s: float = 0.0  # from the first query to the last answer, or to the end
    cpu_s: float | None = None  # of all the container's processes for that, where they finished
    peak: int = 0
    idle: int | None = None
    live: int | None = None
    ledger: dict[str, int] | None = None  # neap's at the end, over all processes of the container
    queries: list[dict] = field(default_factory=list)


class _Watch:
    """The container and its workers while they run: everything waits here, and every wait samples the memory."""

    def __init__(self, container: Container, site: Site, result: Result, time_limit_s: float):
        self.container, self.site, self.result = container, site, result
        self.time_limit_s = time_limit_s
        self.restart_clock()

    def restart_clock(self) -> None:
        self.start = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def ask(self, worker: subprocess.Popen, request: str) -> dict:
        try:
            worker.stdin.write(request.encode() + b"\n")
            worker.stdin.flush()
        except BrokenPipeError:
            raise Ended(self._why_gone()) from None
        return self.answer(worker)

    def answer(self, worker: subprocess.Popen) -> dict:
        while True:
            self._sample()
            if self.elapsed() > self.time_limit_s:
                raise Ended(f"no end in {self.time_limit_s:.0f} s")
            if select.select([worker.stdout], [], [], SAMPLE_S)[0]:
                line = worker.stdout.readline()
                if not line:
                    raise Ended(self._why_gone())
                return json.loads(line)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._sample()
            time.sleep(SAMPLE_S)

    def _sample(self) -> None:
        if self.site.interrupted():
            raise Interrupted
        self.result.peak = max(self.result.peak, self.container.anon())
        if self.container.oom_kills():
            raise Ended(KILLED)

    def _why_gone(self) -> str:
        time.sleep(0.1)  # the kernel counts the kill a moment after the pipe has closed
        return KILLED if self.container.oom_kills() else FAILED


def measure(scenario: Scenario, allocator: str, preload: Path | None, site: Site, answers: dict[str, int]) -> Result:
    """`answers`: of each query, as the first run of the scenario finds them and all others have to."""
    log_path = site.logs / f"{scenario.name}-{allocator}.log"
    result = Result(scenario.name, allocator, scenario.limit, scenario.planned, str(log_path))
    warm_page_cache(site.data)
    with (
        open(log_path, "wb") as log,
        tempfile.TemporaryDirectory(dir=site.logs, prefix="tmp-") as scratch,
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="neap-demo-") as pages,
        Container(f"{scenario.name}-{allocator}", scenario.limit) as container,
    ):
        watch = _Watch(container, site, result, scenario.time_limit_s)
        command = [str(site.python), str(site.worker), scenario.engine, str(site.data)]
        environment = _environment(scenario, preload, site, scratch, pages)
        workers = [container.start(command, environment, log) for _ in range(scenario.workers)]
        try:
            for worker in workers:
                watch.answer(worker)
            watch.restart_clock()
            cpu = container.cpu_seconds()
            _work(watch, scenario, workers, answers)
            result.cpu_s = round(container.cpu_seconds() - cpu, 1)
            watch.restart_clock()
            for worker in workers:
                watch.ask(worker, "settle")
            watch.wait(IDLE_S)
            result.idle = container.anon()
            if allocator != "neap":
                live = [watch.ask(worker, "live")["answer"] for worker in workers]
                result.live = None if None in live else sum(live)
        except Ended as end:
            result.ended = str(end)
            if len(result.queries) < result.planned:
                result.wall_s = round(watch.elapsed(), 1)
        if allocator == "neap":
            result.ledger = ledger_of(site.neap, Path(pages))
            result.live = result.ledger.get("live")
    return result


def _work(watch: _Watch, scenario: Scenario, workers: list[subprocess.Popen], answers: dict[str, int]) -> None:
    for _ in range(scenario.rounds):
        for worker in workers:
            for query in scenario.queries:
                if watch.result.queries:
                    watch.wait(scenario.pause_s)
                answer = watch.ask(worker, query)
                watch.result.queries.append({"query": query, **answer})
                watch.result.wall_s = round(watch.elapsed(), 1)
                if answers.setdefault(query, answer["answer"]) != answer["answer"]:
                    raise Ended(WRONG)


def _environment(scenario: Scenario, preload: Path | None, site: Site, scratch: str, pages: str) -> dict[str, str]:
    """All of it: a variable of the caller's shell, such as MALLOC_ARENA_MAX, has no say in the comparison."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": scratch,
        "PYTHONDONTWRITEBYTECODE": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "JAVA_HOME": str(site.java_home),
        "TMPDIR": scratch,
    }
    if preload:
        environment |= {"LD_PRELOAD": str(preload), "NEAP_STATS": f"{pages}/page"}
    if scenario.engine == "spark":
        options = SPARK_OPTIONS | {
            "spark.driver.extraClassPath": str(site.comet),
            "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData",
            "spark.local.dir": scratch,
        }
        words = " ".join(f"--conf {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        environment["PYSPARK_SUBMIT_ARGS"] = f"{words} pyspark-shell"
    return environment


def ledger_of(neap: Path, pages: Path) -> dict[str, int]:
    """What the processes that run, or were killed, wrote last on their pages of statistics, added up."""
    total = {}
    for page in sorted(pages.iterdir()):
        stat = subprocess.run([neap, "stat", "--json", page], capture_output=True, text=True, check=True)
        ledger = json.loads(stat.stdout)
        if not ledger["exited"]:
            for name in ("live", "cached", "dirty", "metadata", "resident", "foreign", "residual", "released", "regret"):
                total[name] = total.get(name, 0) + ledger[name]
    return total


def warm_page_cache(data: Path) -> None:
    """Reads the tables outside the container, so that no run pays for the disk or is charged for the page cache."""
    for table in data.glob("*.parquet"):
        with open(table, "rb") as file:
            while file.read(1 << 20):
                pass
