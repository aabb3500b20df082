"""What compare needs, each thing made once under build/engine-bench: a venv with the other engines, and the tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build/engine-bench"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
QUERIES = ROOT / "tests/query"

# The last DuckDB that brings TPC-DS's generator along.
DSDGEN = "duckdb==1.1.3"
DSDGEN_CODE = """
import sys, duckdb
connection = duckdb.connect()
connection.execute(f"LOAD tpcds; CALL dsdgen(sf = {sys.argv[2]})")
for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
    connection.execute(f"COPY {table} TO '{sys.argv[1]}/{table}.parquet'")
"""


class CannotPrepare(Exception):
    """One line on what failed and where the rest is."""


def run(what: str, command: list, **options) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)
    log = WORK / "prepare.log"
    with open(log, "ab") as out:
        if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, **options).returncode != 0:
            raise CannotPrepare(f"{what} failed; all of it: {log}")


def python() -> Path:
    """The venv's, made anew when requirements.txt has changed."""
    venv = WORK / "venv"
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        shutil.rmtree(venv, ignore_errors=True)
        WORK.mkdir(parents=True, exist_ok=True)
        run("making a venv", ["/usr/bin/python3", "-m", "venv", venv])
        pip = [venv / "bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
        run("installing DuckDB, DataFusion and Polars", [*pip, "-r", REQUIREMENTS])
        stamp.write_text(REQUIREMENTS.read_text())
    return venv / "bin/python"


def command(engine: str, folder: Path, threads: int, options: list[str] = []) -> list[str]:
    """The process of an engine over a folder of tables: worker.py says how to talk to it."""
    if engine == "neap":
        return [str(ROOT / "build/bench/engine/neap_worker"), str(folder), str(threads), *options]
    worker = ROOT / "bench/engine/worker.py"
    return [str(python()), "-B", str(worker), engine, str(folder), str(threads), *options]


def order(sql: str, keep: str = "-") -> bytes:
    text = sql.encode()
    return f"{len(text)} {keep}\n".encode() + text


def neap() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    run("configuring", ["cmake", "--preset", "test"], cwd=ROOT)
    run("building neap", ["cmake", "--build", "build", "--target", "neap_worker"], cwd=ROOT)


def tables(suite: str, scale: str) -> Path:
    """The folder of a suite's tables as Parquet: tpch by tpchgen-cli, tpcds by DuckDB's generator."""
    target = WORK / f"{suite}-sf{scale}"
    if target.exists():
        return target
    partial = WORK / f"{suite}-partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if suite == "tpch":
        generator = python().with_name("tpchgen-cli")
        options = ["--quiet", "--no-progress", "--scale-factor", scale, "--output-dir", partial]
        run(f"generating TPC-H at scale factor {scale}", [generator, "parquet", *options])
    else:
        own = WORK / "dsdgen"
        if not own.exists():
            run("installing TPC-DS's generator", [python(), "-m", "pip", "install", "--target", own, DSDGEN])
        command = [python(), "-c", DSDGEN_CODE, partial, scale]
        run(f"generating TPC-DS at scale factor {scale}", command, env=os.environ | {"PYTHONPATH": str(own)})
    partial.rename(target)
    return target


def queries(suite: str) -> dict[str, str]:
    """The texts by name: q01 to q22, or q01 to q99."""
    texts = {}
    for path in sorted((QUERIES / suite).glob("q*.sql")):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("--")]
        texts[path.stem] = "\n".join(lines).strip().removesuffix(";")
    return texts


# What no engine does in little memory: a group a row, an order of all columns, a wide build side.
LINEITEM = (
    "l_orderkey l_partkey l_suppkey l_linenumber l_quantity l_extendedprice l_discount l_tax l_returnflag l_linestatus "
    "l_shipdate l_commitdate l_receiptdate l_shipinstruct l_shipmode l_comment"
).split()
HARD = {
    "group": "SELECT l_orderkey, l_partkey, count(*) AS c, sum(l_quantity) AS q FROM lineitem GROUP BY l_orderkey, l_partkey",
    "order": f"SELECT * FROM lineitem ORDER BY {', '.join(LINEITEM)}",
    "join": "SELECT o.*, l_linenumber, l_extendedprice FROM orders o JOIN lineitem l ON o_orderkey = l_orderkey",
}
