"""The engine as a stranger has it: the component `python` beside pyarrow in a folder that moves, and, with
NEAP_TEST_ALL=1, the wheel that pip makes of it, in a venv.

    engine_test.py BUILD-FOLDER, by the Python that has pyarrow and datafusion
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import pyarrow

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
build = None

FILES = ["__init__.py", "_engine.abi3.so", "_planner.py", "include/engine/core/error.h", "include/neap.h",
         "include/neap_engine.h", "libneap.so.0", "libneap_engine.so", "neap-sql"]
ANSWER = "SELECT 40 + 2 AS answer"
IMPORTED = f'import neap; print(neap.__file__, neap.sql("{ANSWER}").to_pylist())'
FLAGS = """if True:
    import neap, pyarrow
    flags = ["-I" + neap.get_include(), "-I" + pyarrow.get_include(), "-l:libneap.so.0", "-lneap_engine"]
    for folder in neap.get_library_dirs():
        flags += ["-L" + folder, "-Wl,-rpath," + folder]
    print(*flags)
"""


def run(*command, status=0, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          **options)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout or done.stderr


class Uses:
    """What is tried of every installation: `python` finds the package `site`/neap."""

    def try_out(self, python, site, environment):
        self.assertEqual(run(python, "-c", IMPORTED, env=environment).split(),
                         [f"{site}/neap/__init__.py", *"[{'answer': 42}]".split()])
        told = run(site / "neap/neap-sql", "--format", "csv", ANSWER, env=environment)
        self.assertEqual(told, "answer\n42\n")
        self.compile(python, environment)

    def compile(self, python, environment):
        flags = run(python, "-c", FLAGS, env=environment).split()
        program = self.folder / "query"
        run("c++", "-std=c++20", HERE / "consumer/query.cc", "-o", program, *flags)
        self.assertEqual(run(program, env=environment), "42\n")

    def command(self, path):
        """`neap sql` of a neap that stands alone, with these folders before those of PATH."""
        shutil.copy(build / "neap", self.folder / "neap")
        return {"args": (self.folder / "neap", "sql", "--format", "csv", ANSWER),
                "env": {**os.environ, "PATH": ":".join(map(str, [*path, "/usr/bin", "/bin"]))}}

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()


class Component(Uses, unittest.TestCase):
    def setUp(self):
        super().setUp()
        first, self.site = self.folder / "first", self.folder / "moved/site-packages"
        run("cmake", "--install", build, "--component", "python", "--prefix", first)
        self.site.parent.mkdir()
        first.rename(self.site)
        (self.site / "pyarrow").symlink_to(pathlib.Path(pyarrow.__file__).parent)
        self.environment = {**os.environ, "PYTHONPATH": str(self.site)}

    def test_files(self):
        package = self.site / "neap"
        found = sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file())
        self.assertEqual(found, FILES)
        self.assertEqual([path.name for path in (self.site / "bin").iterdir()], ["neap-sql"])

    def test_use(self):
        self.try_out(sys.executable, self.site, self.environment)
        told = run(sys.executable, self.site / "bin/neap-sql", "--format", "csv", ANSWER, env=self.environment)
        self.assertEqual(told, "answer\n42\n")

    def test_neap_finds_it_in_the_path(self):
        found = self.command([self.site / "neap"])
        self.assertEqual(run(*found["args"], env=found["env"]), "answer\n42\n")
        missing = self.command([])
        told = run(*missing["args"], env=missing["env"], status=127)
        self.assertRegex(told, r"^neap sql: the engine is not installed, .*pip install.*\n$")


@unittest.skipUnless("NEAP_TEST_ALL" in os.environ, "builds the engine once more: NEAP_TEST_ALL=1")
class Wheel(Uses, unittest.TestCase):
    def test_pip(self):
        venv = self.folder / "venv"
        run("/usr/bin/python3", "-m", "venv", venv)
        run(venv / "bin/pip", "install", "--disable-pip-version-check", ROOT / "python", f"--config-settings=build-dir={build}/wheel",
            f"--config-settings=cmake.define.NEAP_DEPS_DIR={dependencies()}")
        [site] = venv.glob("lib/python3.*/site-packages")
        self.try_out(venv / "bin/python", site, os.environ)
        self.assertEqual(run(venv / "bin/neap-sql", "--format", "csv", ANSWER), "answer\n42\n")
        found = self.command([venv / "bin"])
        self.assertEqual(run(*found["args"], env=found["env"]), "answer\n42\n")


def dependencies():
    [line] = [line for line in (build / "CMakeCache.txt").read_text().splitlines() if line.startswith("NEAP_DEPS_DIR:")]
    return line.partition("=")[2]


if __name__ == "__main__":
    build = pathlib.Path(sys.argv.pop()).resolve()
    unittest.main()
