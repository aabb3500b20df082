"""tools/demo: the call, the tables and the results; what is measured is in scenario.py, how in run.py."""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import prepare
import query
import run
from container import Container, NoCgroup
from scenario import ALWAYS, MIB, SPARK, Scenario

ALLOCATORS = ("glibc", "jemalloc", "neap")
RESULTS = prepare.DEMO / "results.json"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ABOUT = """\
Shows what the allocator decides for real executors in a real container: the same job on TPC-H Parquet data (SF 1) with
glibc, Debian's jemalloc and neap, each in a memory cgroup of its own; then one query on neap's engine, in ample memory
and in 128 MiB. Installs what is missing, builds neap, generates the data once, prints tables and writes
build/demo/results.json, one line a run."""

EXAMPLES = """\
examples:
  tools/demo
  tools/demo --spark --quick
  tools/demo --spark --limit 1100M --only jemalloc,neap

Needs root for the cgroups, 2 cores, 6 GiB of free memory and 3 GiB of disk. Under build/demo: the venv, the tables and
the logs.
Exit codes: 0 neap finished every run, and the others finished or were ended by their limit; 1 it cannot run here, or a run
ended otherwise; 2 bad call; 130 interrupted."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"tools/demo: {message} (see tools/demo --help)\n")


def size(text: str) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([MG])(?:i?B)?", text)
    value = int(float(match[1]) * MIB * (1024 if match[2] == "G" else 1)) if match else 0
    if value < 64 * MIB:
        raise argparse.ArgumentTypeError(f"takes a size from 64M on, such as 1200M or 1.5G, not '{text}'")
    return value


def rounds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"takes 1 to 100, not '{text}'")
    return int(text)


def allocators(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(ALLOCATORS):
        raise argparse.ArgumentTypeError(f"takes names of {', '.join(ALLOCATORS)} with commas, not '{text}'")
    return [name for name in ALLOCATORS if name in names]


def parse() -> argparse.Namespace:
    parser = Parser(
        prog="tools/demo",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--spark", action="store_true", help="also Spark with DataFusion Comet (some minutes more)")
    parser.add_argument("--quick", action="store_true", help="one round of each scenario")
    parser.add_argument("--rounds", type=rounds, metavar="N", help="rounds of queries in each scenario")
    parser.add_argument("--limit", type=size, metavar="SIZE", help="of the allocators' containers, instead of their own")
    parser.add_argument("--only", type=allocators, metavar="NAMES", default=ALLOCATORS, help="such as glibc,neap")
    options = parser.parse_args()
    if options.quick and options.rounds:
        parser.error("--quick is --rounds 1: give one of them")
    return options


def chosen(options: argparse.Namespace) -> list[Scenario]:
    changes = {}
    if options.quick or options.rounds:
        changes["rounds"] = options.rounds or 1
    if options.limit:
        changes["limit"] = options.limit
    return [dataclasses.replace(scenario, **changes) for scenario in ALWAYS + (SPARK if options.spark else ())]


def check_memory(scenarios: list[Scenario], allowed: int) -> None:
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(meminfo["MemAvailable"].split()[0]) * 1024
    limit = max(scenario.limit for scenario in scenarios)
    need = limit + 512 * MIB
    if free < need:
        raise prepare.CannotPrepare(
            f"{free // MIB} MiB of memory are free and {need // MIB} are needed, or the machine's own limit would end "
            "the runs: end something, or lower --limit"
        )
    if allowed < limit:
        raise prepare.CannotPrepare(
            f"this container may use {allowed // MIB} MiB and the runs' own are to have {limit // MIB}: raise its limit, "
            "or lower --limit"
        )


def machine() -> dict:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    thp = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    commit = None
    if shutil.which("git"):
        git = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(git, cwd=prepare.ROOT, capture_output=True, text=True).stdout.strip() or None
    return {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["tools/demo", *sys.argv[1:]]),
        "commit": commit,
        "kernel": platform.release(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": int(memory[1]) * 1024,
        "thp": re.search(r"\[(\w+)\]", thp.read_text())[1] if thp.exists() else None,
    }


def mib(value: int | None) -> str:
    return "-" if value is None else f"{value / MIB:,.0f}"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def print_head() -> None:
    columns = "".join(f"{name:>9}" for name in ("queries", "time", "CPU", "peak", "idle", "live"))
    print(f"\n  {'allocator':10}{'ended':14}{columns}")


def print_title(scenario: Scenario) -> None:
    print(f"\n{scenario.title}; container of {mib(scenario.limit)} MiB", flush=True)


def print_row(result: run.Result) -> None:
    figures = [f"{len(result.queries)}/{result.planned}", seconds(result.wall_s), seconds(result.cpu_s)]
    figures += [mib(result.peak), mib(result.idle), mib(result.live)]
    print(f"  {result.allocator:10}{result.ended:14}" + "".join(f"{figure:>9}" for figure in figures), flush=True)
    if result.ended in (run.FAILED, run.WRONG):
        print(f"            see {result.log}")


def print_ledger(ledger: dict) -> None:
    words = " + ".join(f"{name} {mib(ledger[name])}" for name in ("live", "cached", "dirty", "metadata"))
    print(
        f"            neap's ledger: {words} = resident {mib(ledger['resident'])}; foreign {mib(ledger['foreign'])}; "
        f"given back {mib(ledger['released'])}"
    )


LEGEND = f"""
time, CPU: seconds from the first query to the last answer, or to the end. peak, idle, live: MiB.
peak, idle: resident anonymous memory of the whole container, as the kernel counts it; idle: {run.IDLE_S:.0f} s after the last
query, every result dropped. live: bytes in blocks handed out and not yet freed, at that time or at the last reading
before the end, as the allocator tells (glibc and jemalloc cannot be asked from outside a JVM or a killed process).
foreign: memory that no malloc handed out, such as the JVM's heap, stacks and the program's own mappings.
The query's time has its planning in it; its ledger is that of the peak. spilled: what it wrote to disk and read again;
freed: resident memory that spilling gave back, as measured."""


def print_query_head() -> None:
    columns = "".join(f"{name:>9}" for name in ("time", "peak", "spilled", "freed"))
    print(f"\n{query.TITLE}\n  {'container':12}{'ended':14}{columns}", flush=True)


def print_query(result: query.Run) -> None:
    figures = [seconds(result.wall_s)] + [mib(value) for value in (result.peak, result.spilled, result.freed)]
    container = f"{mib(result.limit)} MiB"
    print(f"  {container:12}{result.ended:14}" + "".join(f"{figure:>9}" for figure in figures), flush=True)
    if result.ended in (run.FAILED, run.WRONG):
        print(f"              see {result.log}")
    if result.ledger:
        print_ledger(result.ledger)


def print_foot(about: dict) -> None:
    print(LEGEND)
    machine = f"{about['cpu']}, {about['cpus']} CPUs, {about['memory'] / MIB / 1024:.0f} GiB, Linux {about['kernel']}"
    print(f"{machine}, huge pages {about['thp']}; commit {about['commit']}; {about['command']}, {about['time']}")
    print(f"Every run as a line of JSON: {RESULTS.relative_to(prepare.ROOT)}")


def prepare_site(options: argparse.Namespace, interrupted: Callable[[], bool]) -> tuple[run.Site, dict]:
    prepare.packages()
    library, command = prepare.neap() if "neap" in options.only else (None, None)
    preloads = {"glibc": None, "jemalloc": prepare.jemalloc(), "neap": library}
    python = prepare.python()
    java = prepare.java_home()
    site = run.Site(
        python=python,
        worker=prepare.HERE / "worker.py",
        data=prepare.tables(python),
        logs=prepare.DEMO / "logs",
        neap=command,
        neap_sql=prepare.engine(python) if command else None,
        comet=prepare.comet(python, java) if options.spark else None,
        java_home=java,
        interrupted=interrupted,
    )
    return site, preloads


def measure_all(scenarios: list[Scenario], names: list[str], site: run.Site, preloads: dict) -> bool:
    """Whether neap finished every run and every other run finished or was ended by its limit."""
    sound, about = True, machine()
    print_head()
    with open(RESULTS, "w") as results:
        for scenario in scenarios:
            print_title(scenario)
            ledger, answers = None, {}
            for name in names:
                result = run.measure(scenario, name, preloads[name], site, answers)
                print_row(result)
                print(json.dumps(dataclasses.asdict(result) | about), file=results, flush=True)
                sound = sound and result.ended in ((run.FINISHED,) if name == "neap" else (run.FINISHED, run.KILLED))
                ledger = result.ledger or ledger
            if ledger:
                print_ledger(ledger)
        if site.neap_sql:
            print_query_head()
            rows = None
            for limit in query.LIMITS:
                result = query.measure(limit, site, rows)
                print_query(result)
                print(json.dumps({"scenario": "query"} | dataclasses.asdict(result) | about), file=results, flush=True)
                sound = sound and result.ended == run.FINISHED
                rows = rows or result.rows
    print_foot(about)
    return sound


def interrupt(*_) -> None:
    """Ends what prepares the runs. A second signal while it ends in order changes nothing."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    options = parse()
    scenarios = chosen(options)
    signals = []
    try:
        for signum in SIGNALS:
            signal.signal(signum, interrupt)
        with Container("probe", max(scenario.limit for scenario in scenarios)) as probe:  # before minutes of installing
            check_memory(scenarios, probe.allowed())
        (prepare.DEMO / "logs").mkdir(parents=True, exist_ok=True)
        prepare.check_disk()
        site, preloads = prepare_site(options, lambda: bool(signals))
        # A run is not torn: it asks for signals at each of its samples and ends the container in order.
        for signum in SIGNALS:
            signal.signal(signum, lambda received, _: signals.append(received))
        return 0 if measure_all(scenarios, options.only, site, preloads) else 1
    except NoCgroup as problem:
        print(
            f"tools/demo: no memory cgroup can be made here ({problem}): run it as root, in a container with --privileged",
            file=sys.stderr,
        )
    except prepare.CannotPrepare as problem:
        print(f"tools/demo: {problem}", file=sys.stderr)
    except OSError as problem:
        print(f"tools/demo: {problem.filename or 'here'}: {problem.strerror or problem}", file=sys.stderr)
    except (run.Interrupted, KeyboardInterrupt):
        print("\ntools/demo: interrupted", file=sys.stderr)
        return 130
    return 1


sys.exit(main())
