"""Installs neap to a folder, and from its .deb into another, and uses what lies there.

    install_test.py BUILD-FOLDER
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
build = None


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


class Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.prefix = self.folder / "prefix"

    def expected(self, library_folder):
        return sorted([
            "bin/neap", "include/neap.h", "share/man/man1/neap.1", "share/doc/neap/copyright",
            "share/neap/grafana/neap.json", "share/neap/prometheus/neap.rules.yml",
            *(f"share/neap/schema/{name}.json" for name in (
                "cgroup", "doctor", "ledger", "report", "run", "shrink", "sql", "stat", "units")),
            *(f"{library_folder}/{name}" for name in (
                "libneap.so", "libneap.so.0", "pkgconfig/neap.pc", "cmake/neap/neapConfig.cmake",
                "cmake/neap/neapConfig-relwithdebinfo.cmake", "cmake/neap/neapConfigVersion.cmake")),
        ])

    def library_folder(self, prefix):
        [found] = prefix.rglob("libneap.so.0")
        return found.parent

    def try_out(self, prefix):
        """The command runs, finds its library, and a program runs on it."""
        library = self.library_folder(prefix) / "libneap.so"
        self.assertIn("--help", run(prefix / "bin/neap", "--help"))
        maps = run("cat", "/proc/self/maps", env={**os.environ, "LD_PRELOAD": str(library)})
        self.assertIn(str(library.resolve()), maps)
        maps = run(prefix / "bin/neap", "run", "--", "cat", "/proc/self/maps")
        self.assertIn(str(library.resolve()), maps)

    def install(self):
        run("cmake", "--install", build, "--prefix", self.prefix)

    def test_install(self):
        self.install()
        folder = self.library_folder(self.prefix).relative_to(self.prefix).as_posix()
        self.assertEqual(files(self.prefix), self.expected(folder))
        self.try_out(self.prefix)

    def test_moved(self):
        """Nothing of the prefix is written down in what was installed."""
        self.install()
        moved = self.folder / "moved"
        self.prefix.rename(moved)
        self.try_out(moved)
        self.consume_by_pkg_config(moved)

    def test_cmake_package(self):
        self.install()
        tree = self.folder / "consumer"
        run("cmake", "-S", HERE / "consumer", "-B", tree, f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", tree)
        run(tree / "c_program")
        run(tree / "cc_program")

    def consume_by_pkg_config(self, prefix):
        library = self.library_folder(prefix)
        flags = run("pkg-config", "--cflags", "--libs", "neap",
                    env={**os.environ, "PKG_CONFIG_PATH": str(library / "pkgconfig")}).split()
        for compiler, source in (("cc", "main.c"), ("c++", "main.cc")):
            program = self.folder / source.replace(".", "_")
            run(compiler, HERE / "consumer" / source, "-o", program, *flags)
            run(program, env={**os.environ, "LD_LIBRARY_PATH": str(library)})

    def test_pkg_config(self):
        self.install()
        self.consume_by_pkg_config(self.prefix)

    def test_manual(self):
        """The page names what the command's own help names, which prints alloc/config.h's table: subcommands, options
        (in the synopsis and each described), variables with their defaults, exit codes. And nothing else."""
        self.install()
        command = self.prefix / "bin/neap"
        page = (self.prefix / "share/man/man1/neap.1").read_text()
        section = {title: text for title, text in re.findall(r"^\.Sh ([^\n]+)\n(.*?)(?=^\.Sh|\Z)", page, re.M | re.S)}
        told = run(command, "--help")
        subcommands = set(re.findall(r"^  (\w+) ", told.partition("Subcommands:")[2], re.M))
        synopsis = dict(re.findall(r"^\.Cm (\w+)$(.*?)(?=^\.Nm|\Z)", section["SYNOPSIS"], re.M | re.S))
        described = dict(re.findall(r"^\.It Cm (\w+)$(.*?)(?=^\.It Cm|\Z)", section["DESCRIPTION"], re.M | re.S))
        ended = dict(re.findall(r"^\.It Cm (\w+)$(.*?)(?=^\.It Cm|\Z)", section["EXIT STATUS"], re.M | re.S))
        for named in (synopsis, described, ended):
            self.assertEqual(set(named), subcommands)
        general = self.options(told)
        self.assertEqual(set(re.findall(r"-(\w[\w-]*)", section["SYNOPSIS"].rpartition(".Nm")[2])), general)

        # neap-sql is another package's: see engine_test.py.
        environment = {**os.environ, "PATH": f"{build}:{os.environ['PATH']}"}
        for name in subcommands:
            told = run(command, name, "--help", env=environment)
            options = self.options(told) - general
            self.assertEqual(set(re.findall(r"Fl -(\w[\w-]*)", synopsis[name])), options, name)
            self.assertEqual(set(re.findall(r"^\.It Fl -(\w[\w-]*)", described[name], re.M)), options, name)
            codes = told.partition("Exit codes:")[2].partition("\n\n")[0]
            self.assertEqual(set(re.findall(r"\d+", ended[name])), set(re.findall(r"\d+", codes)), name)

        variables = dict(re.findall(r"^  (NEAP_\w+) +(\S+)", run(command, "run", "--help"), re.M))
        engine = set(re.findall(r"^  (NEAP_\w+) ", run(command, "sql", "--help", env=environment), re.M))
        explained = dict(re.findall(r"^\.It Ev (NEAP_\w+)\n(.*?)(?=^\.It|^\.El)", section["ENVIRONMENT"], re.M | re.S))
        self.assertEqual(set(explained), set(variables) | engine)
        self.assertGreaterEqual(len(variables), 5)
        self.assertEqual(len(engine), 2)
        for name, default in variables.items():
            if name != "NEAP_LIBRARY":  # it has none
                self.assertRegex(explained[name], rf"({re.escape(default)} [,;]\n(the )?default|by default\n\.Pa {default} )")

    def options(self, told):
        return set(re.findall(r"^  (?:-\w,)?--([\w-]+)", told, re.M))

    def test_package(self):
        run("cpack", "--config", build / "CPackConfig.cmake", "-B", self.folder)
        [package] = self.folder.glob("neap_*.deb")
        self.assertRegex(package.name, r"^neap_\d+\.\d+\.\d+_\w+\.deb$")

        depends = {name.split()[0] for name in run("dpkg-deb", "--field", package, "Depends").split(", ")}
        self.assertLessEqual({"libc6"}, depends)
        self.assertLessEqual(depends, {"libc6", "libcpp-httplib0.11", "libfmt9", "libgcc-s1", "libncursesw6", "libstdc++6", "libtinfo6"})
        scripts = self.folder / "control"
        run("dpkg-deb", "--control", package, scripts)
        self.assertIn("ldconfig", (scripts / "postinst").read_text())
        self.assertRegex((scripts / "shlibs").read_text(), r"^libneap 0 neap")

        root, state = self.folder / "root", self.folder / "state"
        if os.geteuid() == 0:
            for folder in (root, state / "info", state / "updates"):
                folder.mkdir(parents=True)
            (state / "status").touch()
            run("dpkg", f"--instdir={root}", f"--admindir={state}", "--force-depends", "--force-script-chrootless",
                "--install", package)
        else:
            run("dpkg-deb", "--extract", package, root)
        usr = root / "usr"
        folder = self.library_folder(usr).relative_to(usr).as_posix()
        # Debian's rule: what is not stripped is no package.
        self.assertNotIn(".debug_info", run("readelf", "-SW", usr / folder / "libneap.so.0"))
        self.assertEqual(files(usr), self.expected(folder))
        for path in usr.rglob("*"):
            if path.is_file() and not path.is_symlink():
                mode = 0o755 if path.parent.name == "bin" else 0o644
                self.assertEqual(oct(path.stat().st_mode & 0o777), oct(mode), path)
        self.try_out(usr)


if __name__ == "__main__":
    build = pathlib.Path(sys.argv.pop()).resolve()
    unittest.main()
