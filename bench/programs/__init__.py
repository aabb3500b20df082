"""Real programs to measure an allocator in: each is run with the variables that it is to be measured with, and what it
took comes back. What they work on is made from fixed seeds, so that all runs do the same."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

INPUTS = Path(__file__).resolve().parent
POSTGRES = next(reversed(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), Path("/usr/lib/postgresql"))
START_S = 60  # a server that takes longer is broken
LIMIT_S = 300  # the same of any program


class CannotRun(Exception):
    """One line on which program ended how."""


def clean(environment):
    """Nothing of the caller's may reach the program but what it needs to run."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | environment


def finish(child, what, start):
    """Waits; wall and CPU seconds of it and all that it waited for, and the highest resident size of any of them."""
    alarm = threading.Timer(LIMIT_S, os.killpg, (child.pid, signal.SIGKILL))
    alarm.daemon = True
    alarm.start()
    errors = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    alarm.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise CannotRun(f"{what} ended with {child.returncode}: {errors.decode(errors='replace')[-200:].strip()}")
    return {"time_s": time.monotonic() - start, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}


def command(*arguments, text=None, also=None):
    """A program that runs once; `text`: a file for its stdin."""

    def run(environment, work):
        start = time.monotonic()
        with open(INPUTS / text if text else os.devnull, "rb") as stdin:
            child = subprocess.Popen([str(a).format(inputs=INPUTS, work=work) for a in arguments], stdin=stdin, cwd=work,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                                     env=clean(environment | (also or {})))
        return finish(child, arguments[0], start)

    return run


@contextmanager
def server(command, ready, environment):
    """The process, once the command `ready` succeeds; whoever does not end it by itself has it killed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                               env=clean(environment))
    try:
        end = time.monotonic() + START_S
        while subprocess.run(ready, capture_output=True).returncode != 0:
            if time.monotonic() > end:
                raise CannotRun(f"{command[0]} does not answer")
            time.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def client(*command):
    """A helper that is not measured."""
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=LIMIT_S)


def redis(environment, work):
    """The server's CPU time and memory; the time of a client that is not measured."""
    socket = f"{work}/redis.sock"
    cli = ["redis-cli", "-s", socket]
    command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", work]
    with server(command, [*cli, "ping"], environment) as process:
        start = time.monotonic()
        client("redis-benchmark", "-s", socket, "-q", "-n", "200000", "-r", "100000", "-c", "20", "-P", "8", "-d", "300",
               "-t", "set,get,incr,lpush,lpop,sadd,hset,spop,zadd,mset")
        took = time.monotonic() - start
        client(*cli, "shutdown", "nosave")
        return finish(process, "redis-server", start) | {"time_s": took}


def postgres(environment, work):
    """All processes of the server; the time of a client that is not measured. Needs root, to become postgres."""
    become = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    data = f"{work}/data"
    os.chmod(work, 0o777)
    client("install", "-d", "-o", "postgres", data)
    client(*become, POSTGRES / "initdb", "-A", "trust", "-N", data)
    command = [*become, POSTGRES / "postgres", "-D", data, "-k", work, "-c", "listen_addresses=", "-c", "fsync=off",
               "-c", "work_mem=32MB"]
    with server(command, [POSTGRES / "pg_isready", "-q", "-h", work], environment) as process:
        bench = [*become, POSTGRES / "pgbench", "-h", work]
        client(*bench, "-q", "-i", "-s", "3", "postgres")
        start = time.monotonic()
        client(*bench, "-n", "-c", "4", "-t", "1500", "postgres")
        client(*bench, "-n", "-c", "2", "-t", "3", "-f", INPUTS / "queries.sql", "postgres")
        took = time.monotonic() - start
        process.send_signal(signal.SIGINT)  # a fast shutdown
        return finish(process, "postgres", start) | {"time_s": took}


# name: (what has to be installed, the run)
PROGRAMS = {
    "python": (["python3"], command("/usr/bin/python3", "{inputs}/objects.py")),
    "python, all by malloc": (["python3"], command("/usr/bin/python3", "{inputs}/objects.py", also={"PYTHONMALLOC": "malloc"})),
    "sqlite": (["sqlite3"], command("sqlite3", ":memory:", text="tables.sql")),
    "g++": (["g++"], command("g++", "-std=c++20", "-O1", "-c", "{inputs}/templates.c++", "-o", "{work}/out.o")),
    "lua": (["lua5.4"], command("lua5.4", "{inputs}/trees.lua")),
    "z3": (["z3"], command("z3", "{inputs}/puzzle.smt2")),
    "jvm": (["java"], command("java", "-Xmx256m", "-XX:+UseSerialGC", "{inputs}/Direct.java")),
    "redis": (["redis-server"], redis),
    "postgres": ([POSTGRES / "postgres"], postgres),
}


def available():
    """Names of those that are installed here."""
    return [name for name, (needed, _) in PROGRAMS.items() if all(shutil.which(str(command)) for command in needed)]


def run(name, environment):
    """{"time_s", "cpu_s", "peak_mib"} of one run with these variables."""
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as work:
        try:
            return PROGRAMS[name][1](environment, work)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            errors = (error.stderr or b"").decode(errors="replace")[-200:].strip()
            raise CannotRun(f"{name}: {error} {errors}") from error
