"""The bench programs and the libraries that they are watched with, built where they are not yet."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "build/bench-programs"


class CannotBuild(Exception):
    """What failed, and what it said."""


def programs():
    for command in (["cmake", "-S", ROOT / "bench", "-B", PROGRAMS, "-G", "Ninja"], ["cmake", "--build", PROGRAMS]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotBuild(f"{' '.join(map(str, command))} failed (needs cmake, ninja-build, g++ and libbenchmark-dev):\n"
                              f"{done.stdout}{done.stderr}")
