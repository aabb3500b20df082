"""Puts in place what the demo needs, each thing once, under build/demo: packages, the venv, Comet, the tables."""

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import tpch

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tools/demo.d"
DEMO = ROOT / "build/demo"

COMET = ("org.apache.datafusion", "comet-spark-spark3.5_2.12", "0.12.0")
COMET_SHA256 = "4ef25ed0da6816e18b0b7711b82e9807d62a0330a1e89aa3f09a1bbb005c9424"
SCALE_FACTOR = "1"
TABLES = DEMO / f"tpch-sf{SCALE_FACTOR}"

# What apt, pip and Ivy say when a registry cannot be reached.
OFFLINE = re.compile(
    r"resolv|unreachable|UnknownHost|Unknown ?Host|Could not connect|Unable to connect|Connection (refused|timed out)"
    r"|NewConnectionError|ConnectTimeout|ProxyError",
    re.IGNORECASE,
)


class CannotPrepare(Exception):
    """One line on what failed and what to do."""


def check_disk() -> None:
    need_mib = 512 if (DEMO / "venv").exists() and _tables_made() else 3072
    free_mib = shutil.disk_usage(DEMO).free >> 20
    if free_mib < need_mib:
        raise CannotPrepare(f"{free_mib} MiB of disk are free in {DEMO} and {need_mib} are needed: make room there")


def packages() -> None:
    # Those of the build too, so that apt runs here alone: it is never stopped half-way.
    _run("checking Debian packages", [ROOT / "tools/setup", "build", "demo"], "install.log", stop=False)


def neap() -> tuple[Path, Path]:
    """Library and command: copies, so that a build meanwhile changes nothing of what is measured."""
    _run("building neap", [ROOT / "tools/build"], "build.log")
    copies = DEMO / "neap"
    copies.mkdir(exist_ok=True)
    return tuple(shutil.copy2(ROOT / "build" / name, copies / name) for name in ("libneap.so", "neap"))


def engine(interpreter: Path) -> Path:
    """neap-sql in the venv, beside pyarrow: what `pip install ./python` puts there, from the build that there is."""
    [site] = (interpreter.parents[1] / "lib").glob("python3*/site-packages")
    install = ["cmake", "--install", ROOT / "build", "--component", "python", "--strip", "--prefix", site]
    _run("installing the engine", install, "engine.log")
    return site / "neap/neap-sql"


def jemalloc() -> Path:
    found = sorted(Path("/usr/lib").glob(f"{platform.machine()}-linux-gnu/libjemalloc.so.2"))
    if not found:
        raise CannotPrepare("libjemalloc2 is installed but libjemalloc.so.2 is not where Debian puts it")
    return found[0]


def java_home() -> Path:
    found = sorted(Path("/usr/lib/jvm").glob("java-17-openjdk-*"))
    if not found:
        raise CannotPrepare("openjdk-17 is installed but /usr/lib/jvm/java-17-openjdk-* is not there")
    return found[0]


def python() -> Path:
    """The venv's, made anew when requirements.txt has changed."""
    venv, wanted = DEMO / "venv", (HERE / "requirements.txt").read_text()
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(venv, ignore_errors=True)
        _run("making a venv", [sys.executable, "-m", "venv", venv], "venv.log")
        pip = [venv / "bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
        _run("installing pyarrow, datafusion, pandas and Spark", [*pip, "-r", HERE / "requirements.txt"], "venv.log")
        stamp.write_text(wanted)
    return venv / "bin/python"


def tables(interpreter: Path) -> Path:
    """TPC-H as Parquet."""
    if not _tables_made():
        partial = DEMO / "tpch-partial"
        shutil.rmtree(TABLES, ignore_errors=True)
        partial.mkdir(exist_ok=True)
        try:
            _run("generating TPC-H tables", [interpreter, HERE / "data.py", partial, SCALE_FACTOR], "data.log")
            partial.rename(TABLES)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return TABLES


def _tables_made() -> bool:
    return all((TABLES / f"{table}.parquet").exists() for table in tpch.TABLES)


def comet(interpreter: Path, java: Path) -> Path:
    """Comet's jar from Maven, by the Ivy that Spark brings along."""
    organisation, artifact, version = COMET
    jar = DEMO / f"comet/{artifact}-{version}.jar"
    if not jar.exists():
        ivy = next((interpreter.parents[1] / "lib").glob("python3*/site-packages/pyspark/jars/ivy-*.jar"))
        where = ["-cache", DEMO / "ivy", "-retrieve", f"{jar.parent}/[artifact]-[revision].[ext]"]
        what = ["-m2compatible", "-notransitive", "-types", "jar", "-dependency", organisation, artifact, version]
        _run("downloading Comet", [java / "bin/java", "-jar", ivy, *where, *what], "comet.log")
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    if digest != COMET_SHA256:
        raise CannotPrepare(f"{jar} is not Comet {version} as it was pinned (SHA-256 {digest}): remove it and try again")
    return jar


def _run(what: str, command: list, log_name: str, stop: bool = True) -> None:
    """Runs a step; when the person interrupts, what may be stopped half-way is stopped, the rest comes to its end."""
    log_path = DEMO / "logs" / log_name
    print(f"{what} ...", file=sys.stderr, flush=True)
    with open(log_path, "wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = child.wait()
        except KeyboardInterrupt:
            if stop:
                os.killpg(child.pid, signal.SIGTERM)
            else:
                print(f"\n{what}: this step ends first ...", file=sys.stderr, flush=True)
            child.wait()
            raise
    if status != 0:
        lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
        reason = lines[-1][:160] if lines else f"exit status {status}"
        if any(OFFLINE.search(line) for line in lines):
            reason = "the network cannot be reached"
        raise CannotPrepare(f"{what} failed: {reason}; all of it: {log_path}")
