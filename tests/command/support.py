"""What the tests of the command share: calling it, and programs that hold memory as they are told."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest

NEAP = os.environ["NEAP_COMMAND"]
HOLD = os.environ["NEAP_HOLD"]
MIB = 1 << 20  # a page lags behind a program that only takes memory, by some MiB: figures here allow for it
DEADLINE = 60  # seconds for what happens soon: only a hang reaches it
SHARED_MEMORY = pathlib.Path("/dev/shm")


def neap(*arguments, **options):
    return subprocess.run([NEAP, *map(str, arguments)], capture_output=True, text=True, errors="replace",
                          timeout=DEADLINE, **options)


def eventually(condition, what):
    """The first true value of condition()."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE} s: {what}")


class Program:
    """hold.c, or another that says its pid, run by `prefix` (a command line that ends in a command)."""

    def __init__(self, *prefix, command=(HOLD,), environment=None, **options):
        self.process = subprocess.Popen([*map(str, prefix), *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=environment, **options)
        self.pid = int(self.line().split()[1])  # of the program itself, not of what runs it
        self.children = []

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"ended with {self.process.wait()}: {self.process.stderr.read()}")
        return line.strip()

    def send(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def tell(self, order):
        """Sends an order; the lines it answers with."""
        self.send(order)
        lines = []
        while (line := self.line()) != "ok":
            lines.append(line)
            if line.startswith("pid "):
                self.children.append(int(line.split()[1]))
        return lines

    def end(self):
        """Closes its stdin; (exit status, stderr)."""
        errors = self.process.communicate(timeout=DEADLINE)[1]
        return self.process.returncode, errors

    def page(self):
        """Where its page is kept if nothing else is asked for. Pids come again: others' pages may have the same."""
        return SHARED_MEMORY / f"neap.{self.pid}.{start_time(self.pid)}"

    def stat(self):
        result = neap("stat", self.pid, "--json")
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return json.loads(result.stdout)


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContextOf(tempfile.TemporaryDirectory()))

    def enterContextOf(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def program(self, *prefix, **options):
        program = Program(*prefix, **options)

        def stop():
            # Whoever runs it is left to end by itself, and to clear up.
            for pid in (*program.children, program.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                program.process.communicate(timeout=DEADLINE)
            except subprocess.TimeoutExpired:
                program.process.kill()
                program.process.communicate()

        self.addCleanup(stop)
        return program

    def preloaded(self, *command, **variables):
        """A program on neap that no `neap run` looks after."""
        return self.program(command=command or (HOLD,),
                            environment={**os.environ, "LD_PRELOAD": library(), **variables})

    def one_line(self, text, start):
        """The text is one line that begins so."""
        self.assertTrue(text.startswith(start), text)
        self.assertEqual(text.count("\n"), 1, text)
        return text


def library():
    """The libneap.so that the command itself would preload."""
    for finding in json.loads(neap("doctor", "--json").stdout)["findings"]:
        if finding["subject"] == "library" and finding["severity"] == "fine":
            return finding["what"].removesuffix(" loads")
    raise AssertionError("the command finds no libneap.so")


def start_time(pid):
    """Field 22; the command, field 2, may hold blanks."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def process_environment(pid):
    entries = pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def own_cgroup():
    """(version, folder) of the memory cgroup of this process."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return 1, pathlib.Path("/sys/fs/cgroup/memory" + path)
    return 2, pathlib.Path("/sys/fs/cgroup" + path)


def limit_words(line):
    """The sizes that a line of words names, in bytes, by the word before each."""
    units = {"B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}
    return {name: float(number) * units[unit]
            for name, number, unit in re.findall(r"(\w+) ([\d.]+) ([KMG]?i?B)\b", line)}


def can_limit():
    """Whether `neap run --limit` can make a cgroup here."""
    return "no limit" not in neap("run", "--limit", "64M", "--", "true").stderr


needs_limit = unittest.skipUnless(can_limit(), "no cgroup can be made here")
needs_root = unittest.skipUnless(os.geteuid() == 0, "needs root")
