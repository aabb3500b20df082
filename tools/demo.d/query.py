"""The engine's part: one query by `neap sql` in ample memory and in a small container. demo.py calls measure."""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from container import Container
from run import FAILED, FINISHED, KILLED, SAMPLE_S, WRONG, Interrupted, Site, ledger_of, warm_page_cache
from scenario import MIB

TITLE = "One query by neap sql, nothing tuned: lineitem by order and part (6 million groups), joined with orders"
SQL = """
    SELECT o_orderpriority, count(*) AS parts, sum(quantity) AS quantity, max(price) AS dearest
    FROM orders
    JOIN (SELECT l_orderkey, l_partkey, sum(l_quantity) AS quantity, max(l_extendedprice) AS price
          FROM lineitem GROUP BY l_orderkey, l_partkey) AS parts ON o_orderkey = l_orderkey
    GROUP BY o_orderpriority
    ORDER BY o_orderpriority"""
LIMITS = (4096 * MIB, 128 * MIB)
TIME_LIMIT_S = 600.0


@dataclass
class Run:
    """Bytes and seconds; None where the run did not come that far."""

    limit: int
    log: str
    ended: str = FINISHED
    wall_s: float = 0.0  # of the whole process, its planner's included
    peak: int = 0  # of the container, as the kernel counts it
    spilled: int | None = None
    freed: int | None = None  # resident bytes, by spilling
    ledger: dict[str, int] | None = None  # the process's, at that peak
    rows: str | None = None


def measure(limit: int, site: Site, expected: str | None) -> Run:
    """`expected`: the rows of an earlier run, which these have to be."""
    name = f"query-{limit // MIB}"
    result = Run(limit, str(site.logs / f"{name}.log"))
    warm_page_cache(site.data)
    with (
        open(result.log, "wb") as log,
        tempfile.TemporaryDirectory(dir=site.logs, prefix="tmp-") as scratch,
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="neap-demo-") as pages,
        Container(name, limit) as container,
    ):
        rows, report = Path(scratch) / "rows.csv", Path(scratch) / "report.json"
        tables = [f"-t{table}={site.data / table}.parquet" for table in ("lineitem", "orders")]
        command = [str(site.neap_sql), *tables, "--analyze", "--json", "--output", str(rows), SQL]
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": scratch, "NEAP_STATS": f"{pages}/page"}
        start = time.monotonic()
        # Its report goes to a file: nobody reads a pipe while memory is sampled.
        program = container.start(["/bin/sh", "-c", f'exec "$@" >{report}', "sh", *command], environment, log)
        result.ended = _watch(program, container, site, Path(pages), result, start)
        result.wall_s = round(time.monotonic() - start, 1)
        if result.ended == FINISHED:
            told = json.loads(report.read_text())
            result.spilled = sum(operator["spilled"] for operator in told["operators"])
            result.freed = sum(operator["freed"] for operator in told["operators"])
            result.rows = rows.read_text()
            if expected is not None and result.rows != expected:
                result.ended = WRONG
    return result


def _watch(program: subprocess.Popen, container: Container, site: Site, pages: Path, result: Run, start: float) -> str:
    """Until it has ended; how."""
    while (status := program.poll()) is None:
        if site.interrupted():
            raise Interrupted
        anon = container.anon()
        if anon > result.peak:
            result.peak, result.ledger = anon, ledger_of(site.neap, pages)
        if time.monotonic() - start > TIME_LIMIT_S:
            return f"no end in {TIME_LIMIT_S:.0f} s"
        time.sleep(SAMPLE_S)
    if container.oom_kills():
        return KILLED
    return FINISHED if status == 0 else FAILED
