"""Puts in place what the demo needs, each thing once, under build/demo: packages, the venv, Comet, the tables."""

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tools/demo.d"
BUILD = ROOT / "build"
DEMO = BUILD / "demo"

COMET = ("org.apache.datafusion", "comet-spark-spark3.5_2.12", "0.12.0")
COMET_SHA256 = "4ef25ed0da6816e18b0b7711b82e9807d62a0330a1e89aa3f09a1bbb005c9424"
SCALE_FACTOR = "1"


class CannotPrepare(Exception):
    """One line on what failed and what to do."""


def packages() -> None:
    _run("checking Debian packages", [ROOT / "tools/setup", "demo"], "install.log")


def library() -> Path:
    _run("building neap", [ROOT / "tools/build"], "build.log")
    return BUILD / "libneap.so"


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
        _run("installing pyarrow, pandas and Spark", [*pip, "-r", HERE / "requirements.txt"], "venv.log")
        stamp.write_text(wanted)
    return venv / "bin/python"


def tables(interpreter: Path) -> Path:
    """TPC-H orders and lineitem as Parquet."""
    target = DEMO / f"tpch-sf{SCALE_FACTOR}"
    if not target.exists():
        partial = DEMO / "tpch-partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _run("generating TPC-H tables", [interpreter, HERE / "data.py", partial, SCALE_FACTOR], "data.log")
        partial.rename(target)
    return target


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


def _run(what: str, command: list, log_name: str) -> None:
    log_path = DEMO / "logs" / log_name
    print(f"{what} ...", file=sys.stderr, flush=True)
    with open(log_path, "wb") as log:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT).returncode
    if status != 0:
        tail = log_path.read_text(errors="replace").splitlines()[-15:]
        raise CannotPrepare("\n".join([f"{what} failed; the end of {log_path}:", *tail]))
