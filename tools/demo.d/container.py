"""A container for one run: a memory cgroup of its own (v1 or v2), what the kernel counts in it, and its end.

run.py owns every Container. A Container owns its cgroup and every process in it: leaving the `with` block kills
what still runs and removes the cgroup, whatever happened inside.
"""

import os
import signal
import subprocess
import time
from pathlib import Path


class NoCgroup(Exception):
    """No memory cgroup can be made here."""


class Container:
    def __init__(self, name: str, limit: int):
        self.children = []
        self.path, self.version = _make_cgroup(f"neap-demo-{os.getpid()}-{name}")
        try:
            # No swap, as on a Kubernetes node: past the limit there is only the OOM kill.
            if self.version == 2:
                self._write("memory.max", limit)
                self._write("memory.swap.max", 0, optional=True)
                self._write("memory.oom.group", 1, optional=True)
            else:
                self._write("memory.limit_in_bytes", limit)
                self._write("memory.memsw.limit_in_bytes", limit, optional=True)
        except OSError:
            self.path.rmdir()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for _ in range(50):  # the kernel lets go of a dead process's cgroup a moment after its parent has waited for it
            try:
                return self.path.rmdir()
            except OSError:
                time.sleep(0.1)
        self.path.rmdir()

    def start(self, command: list[str], environment: dict[str, str], log) -> subprocess.Popen:
        """Runs `command` in the cgroup; the shell joins it before anything of the command exists."""
        child = subprocess.Popen(
            ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.path / "cgroup.procs"), *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends the container in order
        )
        self.children.append(child)
        return child

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def anon(self) -> int:
        """Resident anonymous bytes: what the kernel cannot reclaim, so what decides between finished and killed."""
        return self._stat("anon" if self.version == 2 else "total_rss")

    def allowed(self) -> int:
        """The tightest limit from here up to the root, in bytes: with an ancestor's, this one's own is not all."""
        if self.version == 1:
            return self._stat("hierarchical_memory_limit")
        limits = []
        path = self.path
        while (path / "memory.max").exists():
            text = (path / "memory.max").read_text().strip()
            limits += [] if text == "max" else [int(text)]
            path = path.parent
        return min(limits)

    def oom_kills(self) -> int:
        events = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in (self.path / events).read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0

    def cpu_seconds(self) -> float:
        """User and system time of the processes that run, and of their ended children."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        for child in self.children:
            child.stdin.close()
            child.stdout.close()
            child.wait()

    def _stat(self, key: str) -> int:
        for line in (self.path / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
        raise KeyError(f"{self.path}/memory.stat has no {key}")

    def _write(self, file: str, value: int, optional: bool = False) -> None:
        if not optional or (self.path / file).exists():
            (self.path / file).write_text(str(value))


def _make_cgroup(name: str) -> tuple[Path, int]:
    """A new child of this process's own cgroup, or of the nearest ancestor that may have one."""
    version, mount, own = _memory_hierarchy()
    parent = mount / own.lstrip("/")
    if not parent.is_dir():  # a cgroup namespace that hides the path above the mount
        parent = mount
    reason = "no memory controller"
    while True:
        path = parent / name
        try:
            if version == 2 and "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                (parent / "cgroup.subtree_control").write_text("+memory")
            path.mkdir()
            return path, version
        except OSError as error:
            reason = f"{parent}: {error.strerror}"
        if parent == mount:
            raise NoCgroup(reason)
        parent = parent.parent


def _memory_hierarchy() -> tuple[int, Path, str]:
    """Which hierarchy has the memory controller, where it is mounted, and this process's path in it."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own.update((controller, path) for controller in controllers.split(","))
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(",") and "memory" in own:
            return 1, Path(mount), own["memory"]
        if kind == "cgroup2" and "memory" in (Path(mount) / "cgroup.controllers").read_text().split():
            return 2, Path(mount), own[""]
    raise NoCgroup("neither a v1 nor a v2 memory controller is mounted")
